-- What a commit means for the streams that live: all of them are judged again, under the policies now in force.

local function new_rejudge(guard, native, latch, limits, queue, detached)
	local rejudge = {};

	-- Judges them, and counts their places anew where there might be too few; what follows from that is to be given to rejudge.act.
	-- Streams that no longer conform are to be closed; those opened before the module was loaded have no record and go as well.
	-- What is queued is judged again too. `count` streams took `seconds` of CPU.
	function rejudge.judge()
		local start, streams = os.clock(), latch.all_streams();
		local found, with_queue, settled = native.rejudge(guard, streams);
		if not settled then
			-- Where there are now fewer places than streams, some come before others.
			guard.places = { total = 0; partners = {} };
			for _, entry in ipairs(native.recount(guard, streams)) do
				found[#found+1] = entry;
			end
		end
		local outcome = { found = found; queued = {}; count = #streams };
		-- Nothing is refused, so nothing is taken out either.
		for _, session in ipairs(guard.observing == true and {} or with_queue) do
			queue.take(session, outcome.queued);
		end
		outcome.seconds = os.clock() - start;
		return outcome;
	end

	function rejudge.act(outcome)
		for _, entry in ipairs(outcome.found) do
			limits.act_on(table.unpack(entry, 1, 6));
		end
		if #outcome.queued > 0 then
			detached(function () queue.route(outcome.queued); end);
		end
	end

	return rejudge;
end

return new_rejudge;
