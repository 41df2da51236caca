-- A configuration comes into force: at the start in one go, at a reload in several turns of the event loop.

local async = require "util.async";
local timer = require "util.timer";

local ISSUES_AT_ONCE = 50; -- lines of the log in one turn
local MANY_PARTNERS = 50000; -- what the memory of the list before is worth the collector's work
local SUPERSEDED_MAX = 5; -- reloads in a row that give way to the next; who reloads without end would else have none of them

local function new_reload(native, in_force, rooms)
	local commit, limits, rejudge, expiry, report, observe = rooms.commit, rooms.limits, rooms.rejudge, rooms.expiry,
		rooms.report, rooms.observe;
	local collector = module:require "collector";
	local hold_collector = collector.hold;
	local reload = {};

	-- It is read with pauses, but comes into force in one turn: nothing is ever judged half by the old and half by the new.
	local function apply(pause)
		local new = commit.compile_all(pause);
		-- The mode counts for itself, whatever the list is: else a list with errors would keep a server from being guarded again.
		local other_mode = observe.take_mode();
		if not new and not other_mode then return false; end
		local before = in_force.current();
		local function put_in_force(what)
			in_force.put(what);
			limits.configure(what.policies);
		end
		local ok, judged = pcall(hold_collector, function ()
			put_in_force(new or before);
			return rejudge.judge();
		end);
		if not ok then
			-- Memory ran out even for a refusal. First the policies of before are put back, which needs no memory.
			put_in_force(before);
			error(judged, 0);
		end
		rejudge.act(judged);
		rooms.apply_inside();
		return new ~= nil, judged;
	end

	-- Lets others have a turn. Returns `pause`, or nil when it is not to be asked again: this is in force, or has errors that are to be told,
	-- whatever the configuration that comes next will have.
	local function rest(pause)
		return pause and pcall(pause) and pause or nil;
	end

	-- In turns of their own: a long list may have hundreds of issues, and the streams have just been judged.
	local function tell(state, judged, pause)
		for first = 1, #state.issues, ISSUES_AT_ONCE do
			pause = rest(pause);
			if in_force.stopped then return; end
			hold_collector(report.issues, state, first, first + ISSUES_AT_ONCE - 1);
		end
		rest(pause);
		if in_force.stopped then return; end
		hold_collector(report.committed, state, in_force.running, judged);
	end

	-- Whether what the configuration says now has come into force. `pause` as commit.compile_all has it.
	function reload.now(pause)
		local partners_before = commit.state.partner_count or 0;
		local applied, judged = apply(pause);
		in_force.running = in_force.running or applied;
		tell(commit.state, judged, pause);
		observe.remind();
		if applied then
			rest(pause);
			local now = in_force.current();
			if not in_force.stopped then hold_collector(expiry.committed, now.policies, now.trust); end
			if pause and math.max(commit.state.partner_count or 0, partners_before) >= MANY_PARTNERS then
				collector.through(function () return rest(pause) and not in_force.stopped; end, module:context("*"):get_option("gc"));
				native.return_memory();
			end
		end
		return applied, judged;
	end

	local asked, done, ended = 0, 0, 0; -- the last one that was asked for, that is through, and that is through or has failed
	local steps, steps_seen = 0, 0;
	local waiting = {}; -- { number, handler }: who wants to hear what became of the reload of that number

	-- `up_to`: the last one that what has been read is an answer to.
	local function answer(up_to, applied, judged, problem)
		local told = waiting;
		waiting = {};
		for _, one in ipairs(told) do
			if one.number <= up_to then
				one.handler(applied, judged, problem);
			else
				waiting[#waiting + 1] = one;
			end
		end
	end

	-- handler(applied, judged, problem) when the reload that has been asked for last, or a later one, is through. `judged` as rejudge.judge
	-- gives it, when applied; `problem`: why it could not even be read.
	function reload.when_done(handler)
		waiting[#waiting + 1] = { number = asked; handler = handler };
	end

	-- COMPAT 0.12: a signal's handler runs between any two instructions, so also while a connection writes; what is written to that
	-- one meanwhile, such as our stream error, is lost. The next turn of the loop is soon enough.
	function reload.soon()
		asked, steps = asked + 1, steps + 1;
		local this = asked;
		local function pause(seconds)
			local wait, go_on = async.waiter();
			timer.add_task(seconds or 0, go_on);
			wait();
			steps = steps + 1;
			-- What has been read may be the configuration before.
			if in_force.stopped or this ~= asked then error(commit.superseded, 0); end
		end
		timer.add_task(0, function ()
			local in_one_go = asked - done > SUPERSEDED_MAX;
			if in_force.stopped then return answer(asked, false, nil, "mod_s2s_partners is being unloaded"); end
			if this <= done or this ~= asked and not in_one_go then return; end
			module:log("debug", "Reading the partner configuration");
			async.runner(function ()
				local up_to = asked;
				local applied, judged = reload.now(not in_one_go and pause or nil);
				done, ended = math.max(done, up_to), math.max(ended, up_to);
				answer(up_to, applied, judged);
			end, {
				error = function (_, err)
					if err == commit.superseded then
						module:log("debug", "The partner configuration is to be read again: it was reloaded meanwhile");
						if in_force.stopped then answer(asked, false, nil, "mod_s2s_partners is being unloaded"); end
					else
						ended = asked;
						module:log("error", "The partner configuration could not be applied: %s", err);
						answer(asked, false, nil, tostring(err));
					end
				end;
			}):run(true);
		end);
	end

	-- To be called now and then. COMPAT 0.12: for the same reason a signal can damage the server's own list of timers while it changes, and one is
	-- lost. It may be the one that this waits for, and a partner who is no longer listed would go on being served.
	function reload.look()
		if asked > ended and steps == steps_seen and not in_force.stopped then
			module:log("warn", "The configuration was reloaded, and nothing has come of it: the partner configuration is read once more");
			reload.soon();
		end
		steps_seen = steps;
	end

	return reload;
end

return new_reload;
