-- What outlives the module: streams, and the events of hosts. A module that was reloaded is not to live on with them.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";

describe("a module that was reloaded", function ()
	local kept; -- name -> what is not to be kept

	before_each(function () kept = setmetatable({}, { __mode = "v" }); end);

	local function new_world()
		-- What is core's lives as long as the server, and leads to no module.
		local world = lua_world.new { ["core.s2smanager"] = { destroy_session = function (session) session.destroyed = true; end };
			["util.timer"] = { add_task = function () end; stop = function () end } };
		world.prosody.core_route_stanza = nil;
		local guard = { observing = false };
		kept.module, kept.guard = world.module, guard;
		return world, guard;
	end

	local function assert_gone()
		collectgarbage();
		collectgarbage();
		assert.is_nil(next(kept));
	end

	it("is not kept by what it has put into a stream", function ()
		local said, closed = {}, {};
		local session = { log = function (level, ...) table.insert(said, { level, ... }); end;
			close = function (_, reason) table.insert(closed, reason); end;
			open_stream = function () return "opened"; end; thread = { run = function () return "run"; end } };
		local lasting = {};
		local function live()
			local world;
			world, lasting.guard = new_world();
			world.load "farewell" (function () return false; end, lasting) { session = session };
			world.load "header" { of_stream = function () end } (session);
		end
		live();
		lasting.guard = nil; -- as it is stopped
		assert_gone();
		-- It still does what it is there for, by the guard that there is then.
		local long = ("x"):rep(400);
		session.log("info", "%s", long);
		assert.truthy(#said[1][3] < 400);
		lasting.guard = { observing = true };
		session.log("info", "%s", long);
		assert.equal(long, said[2][3]);
		session:close("a reason");
		assert.same({ "a reason" }, closed);
		assert.equal("opened", session:open_stream());
		assert.equal("run", session.thread:run({ event = "streamopened"; attr = { from = "fabrikam.test" } }));
		assert.equal("fabrikam.test", session.s2s_partners_written);
	end);

	it("is not kept by hosts whose streams core has lost", function ()
		local handlers = {};
		local events = {
			add_handler = function (event, handler) handlers[event] = handler; end;
			remove_handler = function (event, handler) if handlers[event] == handler then handlers[event] = nil; end end;
		};
		local function live()
			local world, guard = new_world();
			world.prosody.hosts["contoso.test"] = { events = events };
			local no_delay = world.load "no_delay" ({ no_delay = function () return true; end; quick_ack = function () end }, guard);
			no_delay.start();
			world.fire("s2s-created", { session = { direction = "outgoing"; host = "contoso.test" } });
			assert.is_function(handlers["s2s-ondrain"]);
			collectgarbage();
			collectgarbage();
			no_delay.stop();
		end
		live();
		assert.same({}, handlers);
		assert_gone();
	end);
end);
