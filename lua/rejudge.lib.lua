-- What a commit means for the streams that live: all of them are judged again, under the policies now in force.

local function new_rejudge(guard, native, latch, queue, detached)
	-- Where there are now fewer places than streams, some come before others.
	local function streams_in_order()
		local streams = {};
		latch.each_stream(function (session) streams[#streams+1] = session; end);
		return native.streams_in_order(streams);
	end

	local function judge(session)
		local verdict, reason, rule = native.rejudge(guard, session);
		local place, place_reason, place_rule = native.place_recount(guard, session);
		if verdict == "none" then
			return "refuse", "policy-changed", "opened while mod_s2s_partners was not guarding";
		elseif verdict == "allow" and place then
			return place, place_reason, place_rule;
		end
		return verdict, reason, rule;
	end

	local function judge_safely(session)
		local ok, verdict, reason, rule = pcall(judge, session);
		if ok then return verdict, reason, rule; end
		module:log("error", "Error while judging a stream again, refused: %s", verdict);
		-- In the old count it has a place, in the new one it must not give back any.
		pcall(native.place_recount, guard, session);
		return "refuse", "internal-error", "an error while the stream was judged again";
	end

	local rejudge = {};

	-- Judges them and counts their places anew; what follows from that is to be given to rejudge.act. Streams that no longer conform
	-- are to be closed; those opened before the module was loaded have no record and go as well. What is queued is judged again too.
	function rejudge.judge()
		local outcome = { refused = {}; queued = {} };
		guard.places = { total = 0; partners = {} };
		for _, session in ipairs(streams_in_order()) do
			local verdict, reason, rule = judge_safely(session);
			if verdict ~= "allow" then
				table.insert(outcome.refused, { session, reason, native.reasons[reason].stream_condition, rule });
			end
			if session.sendq then queue.take(session, outcome.queued); end
		end
		return outcome;
	end

	function rejudge.act(outcome)
		for _, arguments in ipairs(outcome.refused) do
			guard.act.close(table.unpack(arguments));
		end
		if #outcome.queued > 0 then
			detached(function () queue.route(outcome.queued); end);
		end
	end

	return rejudge;
end

return new_rejudge;
