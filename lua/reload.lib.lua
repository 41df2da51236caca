-- A configuration comes into force: at the start in one go, at a reload in several turns of the event loop.

local async = require "util.async";
local timer = require "util.timer";

local SUPERSEDED_MAX = 5; -- reloads in a row that give way to the next; who reloads without end would else have none of them

local function new_reload(in_force, rooms)
	local commit, limits, rejudge, expiry, report, observe = rooms.commit, rooms.limits, rooms.rejudge, rooms.expiry,
		rooms.report, rooms.observe;
	local hold_collector = module:require "collector".hold;
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
			-- Not even a refusal was possible, for want of memory. The policies come back first: that needs none.
			put_in_force(before);
			error(judged, 0);
		end
		rejudge.act(judged);
		return new ~= nil, judged;
	end

	-- Whether what the configuration says now has come into force. `pause` as commit.compile_all has it.
	function reload.now(pause)
		local applied, judged = apply(pause);
		in_force.running = in_force.running or applied;
		hold_collector(report.committed, commit.state, in_force.running, judged);
		observe.remind();
		if applied then
			-- Whatever comes next: this is in force, and what comes next may have errors.
			if pause then pcall(pause); end
			local now = in_force.current();
			if not in_force.stopped then hold_collector(expiry.committed, now.policies, now.trust); end
		end
		return applied;
	end

	local asked, done = 0, 0;

	-- COMPAT 0.12: a signal's handler runs between any two instructions, so also while a connection writes; what is written to that
	-- one meanwhile, such as our stream error, is lost. The next turn of the loop is soon enough.
	function reload.soon()
		asked = asked + 1;
		local this = asked;
		local function pause()
			local wait, go_on = async.waiter();
			timer.add_task(0, go_on);
			wait();
			-- What has been read may be the configuration before.
			if in_force.stopped or this ~= asked then error(commit.superseded, 0); end
		end
		timer.add_task(0, function ()
			local in_one_go = asked - done > SUPERSEDED_MAX;
			if in_force.stopped or this <= done or this ~= asked and not in_one_go then return; end
			module:log("debug", "Reading the partner configuration");
			async.runner(function ()
				local up_to = asked;
				reload.now(not in_one_go and pause or nil);
				done = math.max(done, up_to);
			end, {
				error = function (_, err)
					if err == commit.superseded then
						module:log("debug", "The partner configuration is to be read again: it was reloaded meanwhile");
					else
						module:log("error", "The partner configuration could not be applied: %s", err);
					end
				end;
			}):run(true);
		end);
	end

	return reload;
end

return new_reload;
