-- lua/reload.lib.lua: what is read in several turns of the loop, and what a reload meanwhile makes of it.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";

describe("a reload", function ()
	local told, tasks, guard, reload, config, committed, known_to_expiry, configured, lines, judge, mode, other_mode, reminded, returned, gc;

	-- It runs what the turn before has put off.
	local function turn()
		local now = tasks;
		tasks = {};
		for _, task in ipairs(now) do task(); end
	end

	local function turns() for _ = 1, 20 do turn(); end end

	before_each(function ()
		told, tasks, committed, lines = {}, {}, {}, {};
		mode, other_mode, reminded, returned, gc = {}, false, 0, 0, nil;
		guard, config, known_to_expiry = { running = true; policies = "first"; trust = {} }, { name = "first"; good = true }, "first";
		function guard.current() return { policies = guard.policies; trust = guard.trust }; end
		function guard.put(what) guard.policies, guard.trust = what.policies, what.trust; end
		function judge() return {}; end
		local observe = { remind = function () reminded = reminded + 1; end };
		function observe.take_mode()
			mode[#mode+1] = guard.policies;
			return other_mode;
		end
		-- util.timer and util.async, as far as they are needed
		local watchers_of = setmetatable({}, { __mode = "k" });
		local function resume(thread)
			local ok, err = coroutine.resume(thread);
			if not ok then watchers_of[thread].error(nil, err); end
		end
		local libraries = {
			["util.timer"] = { add_task = function (_, task) tasks[#tasks+1] = task; end };
			["util.async"] = {
				waiter = function ()
					local thread = coroutine.running();
					return coroutine.yield, function () resume(thread); end;
				end;
				runner = function (action, watchers)
					return { run = function ()
						local thread = coroutine.create(action);
						watchers_of[thread] = watchers;
						resume(thread);
					end };
				end;
			};
		};
		local commit = { superseded = {}; state = { issues = {} } };
		-- Three pauses, and what it comes to is what was there before the first.
		function commit.compile_all(pause)
			local read = config;
			for _ = 1, pause and 3 or 0 do pause(); end
			commit.state = { applied = read.good; issues = read.issues or {}; partner_count = read.count or 0 };
			return read.good and { policies = read.name; trust = {} } or nil;
		end
		local env = setmetatable({
			module = { log = function (_, level, text, ...) lines[#lines+1] = level..": "..text:format(...); end;
				require = function (_, name) return stub.library(name); end;
				context = function () return { get_option = function (_, name) return name == "gc" and gc or nil; end }; end };
			require = function (name) return libraries[name] or require(name); end;
		}, { __index = _G });
		local native = { return_memory = function () returned = returned + 1; end };
		reload = assert(loadfile(source.."/lua/reload.lib.lua", "t", env))()(native, guard, {
			commit = commit; observe = observe; apply_inside = function () end;
			limits = { configure = function (policies) configured = policies; end };
			rejudge = { judge = function () return judge(); end; act = function () end };
			expiry = { committed = function (policies) known_to_expiry = policies; end };
			report = {
				issues = function (_, first, last) told[#told+1] = { first, last, #committed }; end;
				committed = function (state) committed[#committed+1] = state.applied and guard.policies or "errors"; end;
			};
		});
	end);

	local function change(name, good)
		config = { name = name; good = good ~= false };
		reload.soon();
	end

	-- A timer that a signal has made the server lose.
	it("is begun once more when nothing has come of it", function ()
		change("second");
		tasks = {};
		reload.look();
		turns();
		assert.equal("first", guard.policies);
		reload.look();
		turns();
		assert.equal("second", guard.policies);
		assert.matches("warn: .*nothing has come of it", table.concat(lines, "\n"));
	end);

	it("is begun once more when it stands still in the middle, and only one comes into force", function ()
		change("second");
		turn();
		turn();
		local lost = tasks;
		tasks = {};
		reload.look();
		reload.look();
		turns();
		assert.equal("second", guard.policies);
		assert.equal(1, #committed);
		for _, task in ipairs(lost) do task(); end
		turns();
		assert.equal(1, #committed);
	end);

	it("is not begun again while it goes on, when it is through, and when it has failed", function ()
		change("second");
		for _ = 1, 20 do turn(); reload.look(); end
		reload.look();
		judge = function () error("no memory"); end;
		reload.soon();
		turns();
		for _ = 1, 3 do reload.look(); end
		assert.equal(0, #tasks);
		assert.not_matches("nothing has come of it", table.concat(lines, "\n"));
	end);

	it("can hold the collector for one turn of the loop", function ()
		local collector, later = stub.library "collector", {};
		local function soon(action) later[#later+1] = action; end
		collector.hold_this_turn(soon);
		local held = collectgarbage("isrunning");
		collector.hold_this_turn(soon);
		for _, action in ipairs(later) do action(); end
		assert.is_false(held);
		assert.is_true(collectgarbage("isrunning"));
		assert.equal(1, #later);
		assert.has_error(function () collector.hold_this_turn(function () error("no memory"); end); end);
		assert.is_true(collectgarbage("isrunning"));
	end);

	it("gives the memory of a long list back, some turns later", function ()
		local function commit_of(count, turns_at_most)
			config = { name = "of "..count; good = true; count = count };
			returned = 0;
			reload.soon();
			turns();
			for _ = 1, turns_at_most do turn(); end
			return returned;
		end
		local gone = setmetatable({ {} }, { __mode = "v" });
		assert.equal(0, commit_of(10, 200));
		assert.equal(0, #tasks); -- the collector is left alone
		assert.equal(1, commit_of(60000, 20000));
		assert.is_nil(gone[1]);
		assert.equal(1, commit_of(10, 20000)); -- the one before was long
		assert.equal(0, commit_of(10, 200));
		gc = { mode = "generational" };
		local before = collectgarbage("count");
		assert.equal(1, commit_of(60000, 0));
		assert.is_true(collectgarbage("count") > before);
	end);

	it("takes the mode with the list, whether that is good or not", function ()
		local judged = 0;
		function judge() judged = judged + 1; return {}; end
		change "second";
		assert.same({}, mode); -- not before it comes into force
		turns();
		assert.same({ { "first" }, 1, 1 }, { mode, judged, reminded });
		change("third", false);
		turns();
		assert.same({ { "first", "second" }, 1 }, { mode, judged });
		other_mode = true;
		change("fourth", false);
		turns();
		assert.same({ { "first", "second", "second" }, 2, 3 }, { mode, judged, reminded });
		assert.same({ "second", "errors" }, { guard.policies, committed[#committed] });
	end);

	it("comes into force some turns later", function ()
		change "second";
		assert.equal("first", guard.policies);
		turns();
		assert.same({ "second", "second", "second" }, { guard.policies, known_to_expiry, committed[1] });
		assert.equal(1, #committed);
	end);

	for number = 1, 8 do
		it("gives way to the next, which has errors, or is in force with all that follows: turn "..number, function ()
			change "second";
			for _ = 1, number do turn(); end
			change("third", false);
			turns();
			assert.equal("errors", committed[#committed]);
			assert.equal(guard.policies, known_to_expiry);
			assert.equal(#committed == 2 and "second" or "first", guard.policies);
		end);

		it("does nothing any more when the module has been stopped: turn "..number, function ()
			change "second";
			for _ = 1, number do turn(); end
			guard.stopped = true;
			local policies, expiry = guard.policies, known_to_expiry;
			turns();
			assert.same({ policies, expiry }, { guard.policies, known_to_expiry });
			for _, line in ipairs(lines) do assert.matches("^debug", line); end
		end);
	end

	it("is read in the end though there is no end of reloads", function ()
		for number = 1, 30 do
			change("number "..number);
			turn();
		end
		assert.is_true(#committed >= 2);
		assert.not_equal("first", guard.policies);
		turns();
		assert.same({ "number 30", "number 30" }, { guard.policies, known_to_expiry });
	end);

	it("tells who waits for it what became of it", function ()
		local heard = {};
		local function wait(name) reload.when_done(function (applied, judged, problem)
			heard[#heard + 1] = ("%s %s %s %s"):format(name, tostring(applied), type(judged), problem or "");
		end); end
		change "second";
		wait "a";
		turn();
		change("third", false); -- before the second is through: both hear of the third
		wait "b";
		turns();
		assert.same({ "a false nil ", "b false nil " }, heard);
		heard = {};
		change "fourth";
		wait "c";
		turns();
		assert.same({ "c true table " }, heard);
		heard = {};
		function judge() error("not enough memory", 0); end
		change "fifth";
		wait "d";
		turns();
		assert.equal(1, #heard);
		assert.matches("^d false nil .*not enough memory", heard[1]);
		heard = {};
		change "sixth";
		wait "e";
		guard.stopped = true;
		turns();
		assert.same({ "e false nil mod_s2s_partners is being unloaded" }, heard);
	end);

	it("puts back what was in force when the streams cannot be judged", function ()
		guard.trust = { "first" };
		local trust = guard.trust;
		function judge()
			assert.equal("second", guard.policies);
			error("not enough memory", 0);
		end
		change "second";
		turns();
		assert.same({ "first", "first", "first" }, { guard.policies, configured, known_to_expiry });
		assert.equal(trust, guard.trust);
		assert.matches("^error: The partner configuration could not be applied: .*not enough memory", lines[#lines]);
	end);

	it("is told in portions, each in a turn of its own", function ()
		config = { name = "second"; good = true; issues = {} };
		for number = 1, 120 do config.issues[number] = number; end
		reload.soon();
		local most, before = 0, 0;
		for _ = 1, 20 do
			turn();
			most, before = math.max(most, #told - before), #told;
		end
		assert.same({ { 1, 50, 0 }, { 51, 100, 0 }, { 101, 150, 0 } }, told);
		assert.equal(1, most);
		assert.same({ "second" }, committed);
	end);

	it("is told to the end before the next is in force", function ()
		local issues = {};
		for number = 1, 120 do issues[number] = number; end
		config = { name = "second"; good = true; issues = issues };
		reload.soon();
		repeat turn(); until told[1];
		change("third", false);
		turns();
		assert.same({ { 1, 50, 0 }, { 51, 100, 0 }, { 101, 150, 0 } }, told);
		assert.same({ "second", "errors" }, committed);
	end);

	it("is read once when several come at a time", function ()
		for number = 1, 10 do change("number "..number); end
		turns();
		assert.same({ "number 10" }, committed);
	end);
end);
