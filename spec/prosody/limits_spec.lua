-- lua/limits.lib.lua: the waiting room of connections, the lines that strangers may cause in the log, and what the sweep does.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local native = require "config_stub".native();

describe("limits", function ()
	local world, limits, guard, latch, now, killed, closed, streams, found, destroyed;

	local function new_policy(connections, establishment)
		local empty = native.compile_table { lists = {}; local_domains = {} };
		return (assert(native.compile_policy { table = empty; external_access = { default = "allow" }; options = {};
			limits = { connections = connections; establishment_timeout = establishment } }));
	end

	before_each(function ()
		now, killed, closed, streams, found, destroyed = 1000, {}, {}, {}, {}, {};
		world = lua_world.new {
			["util.time"] = { monotonic = function () return now; end };
			["core.s2smanager"] = { destroy_session = function (session) session.destroyed = true; table.insert(destroyed, session); end };
		};
		guard = { places = { total = 0; partners = {} }; act = { close = function (...) table.insert(closed, { ... }); end } };
		latch = { in_handshake = function () return false; end; kill = function (conn) table.insert(killed, conn); end;
			kill_soon = function (conn) table.insert(killed, conn); end; all_streams = function () return streams; end;
			each_stream = function (visit) for _, session in ipairs(streams) do visit(session); end end };
		-- What C finds is what a spec says.
		local pretended = setmetatable({ sweep = function () return found, true; end; place_release = function () end;
			stream_accepted = function (session, seconds) session.waited = seconds; end }, { __index = native });
		limits = world.load "limits" (guard, pretended, latch);
		limits.tick = function () end;
		limits.first_look = { is_mute = function () return false; end; forget = function () end; watch = function () end };
		limits.start();
	end);

	local function connect(ip, session)
		local conn = { ip = function () return ip; end; write = function (self, data) self.written = data; end;
			close = function (self) self.closed = true; end };
		session = session or { direction = "incoming"; type = "s2sin_unauthed"; notopen = true };
		session.conn = conn;
		world.fire("s2s-connected", { session = session });
		return session;
	end

	-- What gives something back ends the event, and others at the same priority come in any order.
	it("leave events of core's to all who hear them", function ()
		for _, event in ipairs { "s2s-connected", "s2s-destroyed", "s2s-closed" } do
			for _, direction in ipairs { "incoming", "outgoing" } do
				local conn = { ip = function () return "192.0.2.1"; end };
				for _, entry in ipairs(world.hooks[event]) do
					assert.is_nil((entry[1] { session = { direction = direction; type = "s2sin_unauthed"; conn = conn }; conn = conn }));
				end
			end
		end
		assert.same({}, world.lines);
	end);

	it("let the oldest of an address make room for the newest", function ()
		limits.configure { new_policy(100, 30) };
		local first = connect "192.0.2.1";
		for _ = 2, 32 do connect "192.0.2.1"; end
		assert.is_nil(first.destroyed);
		connect "192.0.2.1";
		assert.is_true(first.destroyed);
		assert.is_true(first.conn.closed);
		assert.truthy(first.conn.written:find("<stream:stream", 1, true));
		assert.truthy(first.conn.written:find("resource-constraint", 1, true));
		assert.same({ 32, 1 }, { limits.waiting() });
	end);

	it("take nothing more from a connection without a session that has made room", function ()
		limits.configure { new_policy(100, 30) };
		local forgotten = {};
		limits.first_look.is_mute = function () return true; end;
		limits.first_look.forget = function (conn) table.insert(forgotten, conn); end;
		local first = connect "192.0.2.1".conn;
		limits.leave(first);
		limits.enter(first);
		for _ = 2, 33 do connect "192.0.2.1"; end
		assert.same({ true, 1, true }, { first.closed, #forgotten, first == forgotten[1] });
		assert.truthy(first.written:find("resource-constraint", 1, true));
	end);

	it("let the oldest of all make room when there are too many addresses", function ()
		limits.configure { new_policy(100, 30) };
		local first = connect "192.0.2.1";
		for i = 2, 101 do connect("192.0.2."..i); end
		assert.is_true(first.destroyed);
		assert.same({ 100, 100 }, { limits.waiting() });
	end);

	it("take the /64 of an IPv6 address for one, and IPv4 in IPv6 for IPv4", function ()
		for _, ip in ipairs { "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "192.0.2.1" } do connect(ip); end
		assert.same({ 5, 3 }, { limits.waiting() });
	end);

	it("let those go that are established, destroyed or closed", function ()
		local one, two, three = connect "192.0.2.1", connect "192.0.2.2", connect "192.0.2.3";
		limits.settled(one);
		world.fire("s2s-destroyed", { session = two });
		world.fire("s2s-closed", { conn = three.conn });
		assert.same({ 0, 0 }, { limits.waiting() });
	end);

	it("close a connection that core made too late", function ()
		local session = connect("192.0.2.1", { destroyed = true; direction = "outgoing" });
		assert.is_true(session.conn.closed);
		assert.same({ 0, 0 }, { limits.waiting() });
	end);

	it("give a stranger's address a bounded number of lines a minute, a partner's streams all", function ()
		local stranger, logged = connect "192.0.2.1", 0;
		for _ = 1, 300 do logged = logged + (limits.may_log(stranger, "unlisted-domain") and 1 or 0); end
		assert.equal(200, logged);
		assert.is_true(limits.may_log({ direction = "incoming"; type = "s2sin" }, "policy-changed"));
		assert.is_true(limits.may_log({ direction = "outgoing"; type = "s2sout_unauthed" }, "unlisted-domain"));
		for i = 1, 10 do
			local other = connect("192.0.2.1"..i);
			for _ = 1, 200 do logged = logged + (limits.may_log(other, "unlisted-domain") and 1 or 0); end
		end
		assert.equal(1000, logged);
		now = now + 61;
		world.run();
		assert.equal(1, #world.lines);
		assert.truthy(world.lines[1]:find("^info: Refused 1300 more connections in the last minute: unlisted%-domain 1300; most of them from"));
		assert.is_true(limits.may_log(stranger, "unlisted-domain"));
	end);

	it("act on what a sweep has found, and on nothing of a stream that is gone", function ()
		local kept, one, gone = {}, {}, { destroyed = true };
		limits.keepalive = function (session) table.insert(kept, session); end;
		found = { { one, "refuse", "inactivity-timeout", "connection-timeout", "a rule" }, { one, "keepalive", "none" },
			{ gone, "refuse", "x", "y", "z" } };
		world.run();
		assert.same({ { one, "inactivity-timeout", "connection-timeout", "a rule" } }, closed);
		assert.same({ one }, kept);
	end);

	it("go on with the others when one cannot be closed", function ()
		local count = 0;
		guard.act.close = function () count = count + 1; error("oops"); end;
		found = { { {}, "refuse", "x", "y", "z" }, { {}, "refuse", "x", "y", "z" } };
		world.run();
		assert.equal(2, count);
		assert.equal(2, #world.lines);
	end);

	it("end a TLS handshake that no session has come of", function ()
		limits.configure { new_policy(100, 5) };
		local listener = {};
		local watch;
		world = lua_world.new { ["util.time"] = { monotonic = function () return now; end }; ["core.s2smanager"] = {} };
		world.prosody.s2s_partners_latch = world.shared;
		local pretended = setmetatable({ sweep = function () return {}, true; end }, { __index = native });
		local module_env = world.load "limits";
		limits = module_env(guard, pretended, latch);
		limits.tick = function () end;
		limits.first_look = { is_mute = function () return false; end; forget = function () end; watch = function () end };
		for i = 1, 60 do
			local name, value = debug.getupvalue(limits.start, i);
			if name == "watch_listener" then watch = value; end
		end
		watch { item = { name = "s2s_direct_tls"; listener = listener } };
		limits.configure { new_policy(100, 5) };
		limits.start();
		local conn = { ip = function () return "192.0.2.1"; end; server = function () return {}; end };
		listener.onstarttls(conn);
		assert.same({ 1, 1 }, { limits.waiting() });
		now = now + 4;
		world.run();
		assert.same({}, killed);
		now = now + 1;
		limits.start();
		world.run();
		assert.same({ conn }, killed);
		limits.stop();
	end);

	it("end nobody while nothing is enforced, and count as if they did", function ()
		guard.observing, guard.would = true, { close = function (session, reason) table.insert(closed, { session, reason, "would" }); end };
		limits.configure { new_policy(100, 30) };
		local first = connect "192.0.2.1";
		for _ = 2, 40 do connect "192.0.2.1"; end
		assert.is_nil(first.destroyed or first.conn.closed or first.conn.written);
		assert.same({ 32, 1 }, { limits.waiting() });
		local late = connect("192.0.2.2", { destroyed = true; direction = "outgoing" });
		assert.is_nil(late.conn.closed);
		latch.in_handshake = function () return true; end;
		world.fire("s2s-destroyed", { session = first });
		limits.keepalive = function () error("a keepalive"); end;
		found = { { first, "refuse", "inactivity-timeout", "connection-timeout", "a rule" }, { late, "keepalive", "none" } };
		now = now + 61;
		world.run();
		assert.same({ { first, "inactivity-timeout", "would" } }, closed);
		assert.same({}, killed);
		assert.same({}, destroyed);
		assert.equal(1, #world.lines);
		assert.truthy(world.lines[1]:find("^info: Would refuse 8 more connections in the last minute: connection%-limit 8"), world.lines[1]);
	end);

	it("take what is beyond any clock for too long", function ()
		for seconds, due in pairs { [59] = false; [60] = true; [-1] = false; [1e12] = true; [math.huge] = true } do
			assert.equal(due, native.waiting_due(nil, seconds), seconds);
		end
		assert.is_true(native.waiting_due(nil, 0/0));
	end);

	it("hand the waiting on to the module after", function ()
		local session = connect "192.0.2.1";
		session.conn.socket = function () return {}; end;
		local saved = limits.save();
		now = now + 7;
		limits = world.load "limits" (guard, native, latch);
		limits.start(saved);
		assert.same({ 1, 1 }, { limits.waiting() });
		assert.equal(1000, limits.save()[session.conn].since);
	end);
end);
