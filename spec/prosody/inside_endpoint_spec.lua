-- Streams of the inner side: whom they are with when the settings change, what they cost before anybody has proven anything.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local inside = require "inside_world";
local st = require "util.stanza";
local jid = require "util.jid";

local HOST, ROOMS = "contoso.test", "rooms.contoso.test";
local ALICE, BOB = "alice@contoso.test", "bob@fed.test";
local partners = {};
for i, domain in ipairs({ "fed.test"; "trunk.test" }) do
	partners[i] = { domain = domain; additional_domains = { "*."..domain }; partner_type = "federated"; tls = "not_supported"; sasl = "not_supported";
		dialback = true };
end

describe("the inner side", function ()
	local edge;

	-- `servers`: relay host -> "host:port"; nil: both at one server.
	local function apply(servers)
		edge.boundary.apply(inside.settings(servers or { [HOST] = "10.1.0.10:5269"; [ROOMS] = "10.1.0.10:5269" }));
	end

	before_each(function ()
		edge = inside.new({ HOST; ROOMS }, partners);
		apply();
	end);

	local function arrive(stanza) return inside.arrive(edge, stanza); end
	local function message(from, to, text) return st.message({ from = from; to = to; type = "chat" }, text); end

	it("opens a stream for a pair, and one for a stanza of the inside to come over", function ()
		arrive(message(BOB, ALICE, "hello"));
		assert.equal(1, #edge.dialled);
		local conn = inside.answer(edge);
		inside.establish(conn, HOST, "fed.test");
		assert.truthy(conn.sent:find("hello", 1, true), conn.sent);
		local incoming = inside.prove(edge, HOST, "fed.test");
		assert.truthy(incoming.sent:find("valid", 1, true), incoming.sent);
		incoming:say(tostring(message(ALICE, BOB, "hello yourself")));
		assert.equal(1, #edge.world.routed);
	end);

	for why, change in pairs({
		["nothing is enforced"] = function () edge.guard.observing = true; end;
		["its host is deactivated"] = function () edge.world.prosody.hosts[HOST] = nil; end;
	}) do
		it("answers what it cannot pass on while "..why, function ()
			local incoming = inside.prove(edge, HOST, "fed.test");
			change();
			local begun = #edge.dialled;
			for _, more in ipairs({ "type='error'"; "type='result'" }) do
				incoming:say(("<iq from='%s' to='%s' id='a' %s/>"):format(ALICE, BOB, more));
			end
			incoming:say(("<presence from='%s' to='%s'/>"):format(ALICE, BOB));
			assert.equal(begun, #edge.dialled);
			incoming:say(("<message from='%s' to='%s' id='m1'><body>hello</body></message>"):format(ALICE, BOB));
			incoming:say(("<iq from='%s' to='%s' id='i1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"):format(ALICE, BOB));
			assert.equal(begun + 1, #edge.dialled);
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "fed.test");
			for _, id in ipairs({ "m1"; "i1" }) do
				assert.truthy(conn.sent:find(" id=['\"]"..id.."['\"]"), conn.sent);
			end
			assert.equal(2, select(2, conn.sent:gsub("<internal%-server%-error", "")));
			assert.truthy(conn.sent:find("Nothing passes to other servers at the moment", 1, true));
			assert.equal(0, #edge.world.routed);
			assert.is_false(incoming.closed);
		end);
	end

	it("opens no stream to the inner port of an edge, which says so of itself", function ()
		local theirs = inside.accept(edge);
		theirs:say(inside.header(HOST, "fed.test"));
		local offered = theirs.sent:match("<stream:features>.*</stream:features>");
		assert.truthy(offered, theirs.sent);
		arrive(message(BOB, ALICE, "hello"));
		local conn = inside.answer(edge);
		conn:say(inside.header(HOST, "fed.test", "id1")..offered);
		assert.is_true(conn.closed);
		assert.is_nil(conn.sent:find("db:result", 1, true));
		assert.truthy(conn.sent:find("policy-violation", 1, true), conn.sent);
		assert.truthy(edge.boundary.relay.failures[HOST].why:find("the inner port of another edge", 1, true));
		assert.equal(1, #edge.refused);
		-- Nor is one opened to ask about a key.
		theirs:say("<db:result from='contoso.test' to='fed.test'>key</db:result>");
		local question = inside.answer(edge);
		question:say(inside.header(HOST, "fed.test", "id2")..offered);
		assert.is_true(question.closed);
		assert.is_true(theirs.closed);
		assert.is_nil(question.sent:find("db:verify", 1, true));
	end);

	it("leaves no stream with the server before when a relay host has another one", function ()
		arrive(message(BOB, ALICE, "hello"));
		local old = inside.answer(edge);
		inside.establish(old, HOST, "fed.test");
		local incoming = inside.prove(edge, HOST, "fed.test");
		local rooms = inside.prove(edge, ROOMS, "fed.test");
		apply({ [HOST] = "10.1.0.11:5269"; [ROOMS] = "10.1.0.10:5269" });
		assert.is_true(old.closed);
		assert.is_true(incoming.closed);
		assert.truthy(incoming.sent:find("policy-changed", 1, true), incoming.sent);
		assert.is_false(rooms.closed);
		arrive(message(BOB, ALICE, "moved"));
		assert.equal("10.1.0.11", edge.dialled[#edge.dialled].host);
		assert.is_nil(old.sent:find("moved", 1, true));
	end);

	it("leaves no connection when there is no relay host any more", function ()
		local silent, incoming = inside.accept(edge), inside.prove(edge, HOST, "fed.test");
		edge.boundary.apply(false);
		assert.is_true(silent.closed);
		assert.is_true(incoming.closed);
	end);

	it("keeps its streams when the server is only written another way", function ()
		local incoming = inside.prove(edge, HOST, "fed.test");
		local settings = inside.settings({ [HOST] = "10.1.0.10:5269"; [ROOMS] = "10.1.0.10:5269" });
		settings.hosts[HOST].server = "10.1.0.10";
		edge.boundary.apply(settings);
		assert.is_false(incoming.closed);
	end);

	it("leaves no stream with the certificate before when a relay host has another one", function ()
		arrive(message(BOB, ALICE, "hello"));
		local old = inside.answer(edge);
		inside.establish(old, HOST, "fed.test");
		local rooms = inside.prove(edge, ROOMS, "fed.test");
		local settings = inside.settings({ [HOST] = "10.1.0.10:5269"; [ROOMS] = "10.1.0.10:5269" });
		settings.hosts[HOST].tls.certificate = "/etc/prosody/certs/new.crt";
		edge.boundary.apply(settings);
		assert.is_true(old.closed);
		assert.truthy(old.sent:find("policy-changed", 1, true), old.sent);
		assert.truthy(table.concat(edge.world.lines, "\n"):find("the relay host has another certificate now", 1, true));
		assert.is_false(rooms.closed);
		arrive(message(BOB, ALICE, "hello again"));
		assert.equal(3, #edge.dialled);
	end);

	it("takes what waits for the server before to the new one", function ()
		arrive(message(BOB, ALICE, "first"));
		arrive(message(BOB, ALICE, "second"));
		local begun = inside.answer(edge);
		apply({ [HOST] = "10.1.0.11:5270"; [ROOMS] = "10.1.0.10:5269" });
		assert.is_true(begun.closed);
		assert.equal(2, #edge.dialled);
		local conn = inside.answer(edge);
		assert.equal(5270, edge.dialled[2].port);
		inside.establish(conn, HOST, "fed.test");
		assert.truthy(conn.sent:find("first.*second"), conn.sent);
		assert.is_nil(begun.sent:find("first", 1, true));
		assert.equal(0, #edge.refused);
	end);

	it("asks nobody at the server before about a key", function ()
		local conn = inside.accept(edge);
		conn:say(inside.header(HOST, "fed.test"));
		conn:say("<db:result from='contoso.test' to='fed.test'>key</db:result>");
		local question = inside.answer(edge);
		apply({ [HOST] = "10.1.0.11:5269"; [ROOMS] = "10.1.0.10:5269" });
		assert.is_true(question.closed);
		assert.is_true(conn.closed);
	end);

	-- Core looks for the host by the letters, and writes the whole stanza into the log as an error when there is none.
	it("takes a stanza from its relay host, as core writes that host", function ()
		local host, spellings = "bücher.test", { "alice@xn--bcher-kva.test"; "xn--bcher-kva.test" };
		edge = inside.new({ HOST; host }, partners);
		apply({ [HOST] = "10.1.0.10:5269"; [host] = "10.1.0.10:5269" });
		local function said(from)
			local conn = inside.prove(edge, host, "fed.test");
			local before = #edge.world.routed;
			conn:say(("<message from='%s' to='%s'><body>x</body></message>"):format(from, BOB));
			return conn, #edge.world.routed - before;
		end
		for _, from in ipairs(spellings) do
			local conn, routed = said(from);
			assert.equal(0, routed, from);
			assert.is_true(conn.closed, from);
			assert.truthy(conn.sent:find("<invalid-from", 1, true), conn.sent);
		end
		for _, from in ipairs({ "alice@bücher.test"; "alice@BÜCHER.test."; "bücher.test/x@fed.test"; "alice@bücher.test/x@fed.test" }) do
			local conn, routed = said(from);
			assert.is_false(conn.closed, from);
			assert.equal(1, routed, from);
			assert.equal(host, jid.host(edge.world.routed[#edge.world.routed][2].attr.from));
		end
	end);

	it("makes nothing for a domain that no relay host has named", function ()
		for _, from in ipairs({ "fed.test"; "evil.test"; "sub.contoso.test" }) do
			local conn = inside.accept(edge);
			conn:say(inside.header(from, "trunk.test"));
			assert.is_true(conn.closed);
			assert.truthy(conn.sent:find("policy-violation", 1, true), conn.sent);
			assert.truthy(conn.sent:find("unlisted-domain", 1, true), conn.sent);
		end
		assert.same({}, edge.installed);
	end);

	it("takes a small stanza at most before anybody has authenticated, and a large one then", function ()
		local large = ("<message from='%s' to='%s'><body>%s</body></message>"):format(ALICE, BOB, ("x"):rep(100000));
		local conn = inside.accept(edge);
		conn:say(inside.header(HOST, "fed.test"));
		for i = 1, #large, 8192 do
			if conn.closed then break; end
			conn:say(large:sub(i, i + 8191));
		end
		assert.is_true(conn.closed);
		assert.truthy(conn.sent:find("policy-violation", 1, true), conn.sent);
		local proven = inside.prove(edge, HOST, "fed.test");
		for i = 1, #large, 8192 do proven:say(large:sub(i, i + 8191)); end
		assert.is_false(proven.closed);
		assert.equal(1, #edge.world.routed);
	end);

	-- The parser of Prosody 13 has no such bound.
	it("takes few elements at most before anybody has authenticated, where the parser can count them", function ()
		local xmppstream = assert(io.open(assert(package.searchpath("util.xmppstream", package.path)))):read("a");
		local counts = xmppstream:find("set_max_elements", 1, true) ~= nil;
		local conn = inside.accept(edge);
		conn:say(inside.header(HOST, "fed.test"));
		conn:say("<foo>"..("<a/>"):rep(300));
		assert.equal(counts, conn.closed);
		local proven = inside.prove(edge, HOST, "fed.test");
		proven:say(("<message from='%s' to='%s'>%s</message>"):format(ALICE, BOB, ("<a/>"):rep(1000)));
		assert.is_false(proven.closed);
		assert.equal(1, #edge.world.routed);
	end);

	describe("while connections wait to authenticate", function ()
		local function crowd(number, address)
			local conns = {};
			for i = 1, number do conns[i] = inside.accept(edge, address); end
			return conns;
		end
		local function closed(conns)
			local count = 0;
			for _, conn in ipairs(conns) do count = count + (conn.closed and 1 or 0); end
			return count;
		end

		it("lets no address have more than its share", function ()
			local own = inside.accept(edge, "10.1.0.10");
			local conns = crowd(300, "10.1.0.66");
			assert.equal(200, closed(conns));
			assert.is_true(conns[200].closed);
			assert.is_false(conns[201].closed);
			assert.is_false(own.closed);
		end);

		it("counts the addresses of one network of IPv6 together, and the same address in both spellings", function ()
			local all = {};
			for i = 1, 150 do all[i] = inside.accept(edge, ("2001:db8::%x"):format(i)); end
			assert.equal(50, closed(all));
			local other = crowd(10, "2001:db8:0:1::1");
			assert.equal(0, closed(other));
			local mapped = {};
			for i = 1, 60 do mapped[i] = inside.accept(edge, i % 2 == 0 and "10.9.9.9" or "::ffff:10.9.9.9"); end
			assert.equal(0, closed(mapped));
			for i = 61, 110 do mapped[i] = inside.accept(edge, i % 2 == 0 and "10.9.9.9" or "::ffff:10.9.9.9"); end
			assert.truthy(closed(mapped) >= 10);
		end);

		it("closes one of the address that has most when there are too many", function ()
			local own = crowd(5, "10.1.0.11");
			local others = {};
			for i = 1, 30 do others[i] = crowd(10, ("10.1.1.%d"):format(i)); end
			assert.equal(0, closed(own));
			local open = 0;
			for _, conns in ipairs(others) do open = open + #conns - closed(conns); end
			assert.equal(195, open);
		end);

		it("has room of its own for an address that somebody has authenticated from", function ()
			apply({ [HOST] = "inside.contoso.test:5269"; [ROOMS] = "inside.contoso.test:5269" });
			inside.prove(edge, HOST, "fed.test");
			local strangers, gone = {}, 0;
			for i = 1, 4 do strangers[i] = crowd(100, ("10.1.1.%d"):format(i)); end
			for _, conns in ipairs(strangers) do gone = gone + closed(conns); end
			assert.equal(200, gone);
			local own = crowd(1001, "10.1.0.10");
			assert.equal(1, closed(own));
			assert.is_true(own[1].closed);
			for _, conn in ipairs(own) do conn:drop(); end
			assert.equal(0, closed(crowd(500, "10.1.0.10")));
		end);

		it("and for one that a stream of ours has led to, or that the settings name", function ()
			local function room(address)
				local conns = crowd(150, address);
				for _, conn in ipairs(conns) do conn:drop(); end
				return 150 - closed(conns);
			end
			assert.equal(100, room("10.1.1.66"));
			assert.equal(150, room("10.1.0.10"));
			assert.equal(150, room("::ffff:10.1.0.10"));
			local settings = inside.settings({ [HOST] = "inside.contoso.test:5269"; [ROOMS] = "[2001:db8::1]:5269" });
			settings.hosts[ROOMS].server_host = "2001:db8::1";
			edge.boundary.apply(settings);
			assert.equal(100, room("10.1.0.10"));
			assert.equal(150, room("2001:db8::2"));
			local waiting = crowd(80, "10.1.0.10");
			arrive(message(BOB, ALICE, "hello"));
			inside.establish(inside.answer(edge), HOST, "fed.test"); -- a connection to 10.1.0.10
			assert.equal(150, room("10.1.0.10"));
			assert.equal(0, closed(waiting));
		end);

		it("counts those no more that are gone", function ()
			for _ = 1, 500 do inside.accept(edge, "10.1.0.66"):drop(); end
			assert.equal(0, closed(crowd(100, "10.1.0.66")));
		end);

		it("closes the one that has waited longest, with others gone before and behind it", function ()
			local conns = crowd(100, "10.1.0.66");
			for i = 1, 100 do
				if i <= 10 or i % 2 == 0 then conns[i]:drop(); end
			end
			local others = crowd(56, "10.1.0.66");
			assert.is_true(conns[11].closed);
			assert.is_false(conns[13].closed);
			assert.equal(0, closed(others));
		end);
	end);

	describe("bounds streams in the names of domains", function ()
		before_each(function () inside.prove(edge, HOST, "fed.test"); end); -- there is room for connections

		it("that are nobody's", function ()
			local function many(number, name)
				local refused = 0;
				for i = 1, number do
					local conn, question = inside.prove(edge, HOST, name:format(i));
					assert.is_true(question.closed);
					if conn.closed then
						refused = refused + 1;
						assert.truthy(conn.sent:find("resource-constraint", 1, true), conn.sent);
						assert.is_nil(conn.sent:find("'valid'", 1, true), conn.sent);
					end
				end
				return refused;
			end
			assert.equal(50, many(250, "d%d.evil.test"));
			assert.equal(0, many(10, "fed.test"));
			assert.equal(0, many(10, "d%d.fed.test"));
		end);

		it("when they have proven something, and others by what bounds newcomers", function ()
			local function strangers(address, name)
				for i = 1, 100 do
					local conn = inside.accept(edge, address);
					conn:say(inside.header(HOST, name:format(i)));
					conn:say(("<db:result from='contoso.test' to='%s'>key</db:result>"):format(name:format(i)));
				end
			end
			strangers("10.1.0.66", "x%d.evil.test");
			strangers("10.1.0.67", "y%d.evil.test");
			local conn = inside.prove(edge, HOST, "nobody.test");
			assert.is_false(conn.closed);
			assert.truthy(conn.sent:find("'valid'", 1, true), conn.sent);
		end);

		it("to ask about keys of those who are gone", function ()
			local function open()
				local count = 0;
				for _, session in ipairs(edge.boundary.endpoint.sessions()) do count = count + (session.for_key and 1 or 0); end
				return count;
			end
			local function ask(domain)
				local conn = inside.accept(edge, "10.1.0.66");
				conn:say(inside.header(HOST, domain));
				conn:say(("<db:result from='contoso.test' to='%s'>key</db:result>"):format(domain));
				conn:drop();
			end
			for i = 1, 300 do ask(("x%d.evil.test"):format(i)); end
			assert.equal(100, open());
			assert.same({}, edge.boundary.relay.failures); -- which pause the partners' streams
			for i = 2, 101 do inside.fail(edge, i); end
			assert.equal(0, open());
			for i = 1, 300 do ask(("x%d.evil.test"):format(i)); end
			assert.equal(100, open());
		end);

		it("that a wildcard covers, and none that an entry names", function ()
			for i = 1, 1100 do arrive(message(("bob@d%d.fed.test"):format(i), ALICE, "hello")); end
			assert.equal(1000, #edge.dialled - 1);
			assert.equal(100, #edge.refused);
			arrive(message(BOB, ALICE, "hello"));
			arrive(message("bob@d1.trunk.test", ALICE, "hello"));
			assert.equal(1002, #edge.dialled - 1);
			for i = 2, 1001 do inside.fail(edge, i); end -- the first one was of a key
			edge.clock = edge.clock + 1;
			arrive(message("bob@more.fed.test", ALICE, "hello"));
			assert.equal(1003, #edge.dialled - 1);
		end);

		it("that are unlisted where the default covers them", function ()
			edge.guard.policies[HOST] = inside.policy(partners, { HOST; ROOMS }, { partner_type = "federated"; tls = "not_supported"; sasl = "not_supported";
				dialback = true });
			for i = 1, 1100 do arrive(message(("bob@d%d.evil.test"):format(i), ALICE, "hello")); end
			assert.equal(1000, #edge.dialled - 1);
			for i = 1, 1100 do arrive(message(("bob@d%d.fed.test"):format(i), ALICE, "hello")); end
			assert.equal(2000, #edge.dialled - 1);
			arrive(message(BOB, ALICE, "hello"));
			arrive(message("bob@d1.trunk.test", ALICE, "hello"));
			assert.equal(2001, #edge.dialled - 1);
		end);
	end);

	describe("after a failure", function ()
		it("tries nobody's stream for a second where nobody answers", function ()
			arrive(message(BOB, ALICE, "first"));
			inside.fail(edge);
			assert.equal(1, #edge.refused);
			for i = 1, 50 do arrive(message(("bob@d%d.fed.test"):format(i), ALICE, "more")); end
			arrive(message(BOB, ALICE, "more"));
			assert.equal(1, #edge.dialled);
			assert.equal(52, #edge.refused);
			assert.equal(52, #edge.world.routed); -- the senders have heard of it
			local answer = edge.world.routed[1][2];
			assert.equal("remote-server-timeout", select(2, answer:get_error()));
			assert.is_nil(tostring(answer):find("inside", 1, true), tostring(answer));
			arrive(message(BOB, "room@"..ROOMS, "another relay host"));
			assert.equal(2, #edge.dialled);
			edge.clock = edge.clock + 1;
			arrive(message(BOB, ALICE, "again"));
			assert.equal(3, #edge.dialled);
		end);

		it("of one partner's stream, tries those of the others", function ()
			arrive(message(BOB, ALICE, "first"));
			local conn = inside.answer(edge);
			conn:say(inside.header(HOST, "fed.test", "id1").."<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
			arrive(message(BOB, ALICE, "more"));
			assert.equal(1, #edge.dialled);
			arrive(message("tom@trunk.test", ALICE, "hello"));
			assert.equal(2, #edge.dialled);
		end);

		it("tries at once under other settings", function ()
			arrive(message(BOB, ALICE, "first"));
			inside.fail(edge);
			apply();
			arrive(message(BOB, ALICE, "more"));
			assert.equal(2, #edge.dialled);
		end);

		it("of an established stream, opens another", function ()
			arrive(message(BOB, ALICE, "first"));
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "fed.test");
			conn:drop();
			arrive(message(BOB, ALICE, "more"));
			assert.equal(2, #edge.dialled);
			assert.equal(0, #edge.refused);
		end);
	end);

	describe("of a server inside that does not read", function ()
		local PIECE, KEPT = 100000, 4 * 1024 * 1024;
		local conn;

		local function open(domain)
			arrive(message("bob@"..domain, ALICE, "first"));
			local opened = inside.answer(edge);
			inside.establish(opened, HOST, domain);
			opened:written(true);
			return opened;
		end
		local function send(count, from)
			for _ = 1, count do arrive(message(from or BOB, ALICE, ("x"):rep(PIECE))); end
		end
		before_each(function () conn = open("fed.test"); end);

		it("hands 4 MiB of a stream over, and tells the senders of more that there is no room", function ()
			send(41);
			assert.equal(0, #edge.refused);
			send(59);
			assert.truthy(#conn.sent > KEPT and #conn.sent < KEPT + 2 * PIECE, #conn.sent);
			assert.equal(58, #edge.refused);
			assert.equal(58, #edge.world.routed);
			assert.equal("resource-constraint", select(2, edge.world.routed[1][2]:get_error()));
			assert.equal(1, #edge.dialled);
			conn:written(true);
			send(1);
			assert.equal(58, #edge.refused);
		end);

		it("counts what is held until the next writing as well", function ()
			edge = inside.new({ HOST, ROOMS }, partners, "epoll");
			apply();
			conn = open("fed.test");
			for _ = 1, 10000 do arrive(message(BOB, ALICE, ("x"):rep(1000))); end
			assert.truthy(#conn.sent > KEPT - PIECE and #conn.sent < KEPT + PIECE, #conn.sent);
			assert.truthy(#edge.refused > 5000 and #edge.refused < 7000, #edge.refused);
			conn:written(false);
			conn:written(true);
			local refused = #edge.refused;
			arrive(message(BOB, ALICE, "behind"));
			conn:written(false);
			assert.truthy(conn.sent:find("behind", 1, true));
			assert.equal(refused, #edge.refused);
		end);

		it("hands 32 MiB of all streams over", function ()
			local conns, bytes = {}, 0;
			for i = 1, 10 do
				conns[i] = open(("d%d.fed.test"):format(i));
				send(45, ("bob@d%d.fed.test"):format(i));
			end
			for i = 1, 10 do bytes = bytes + #conns[i].sent; end
			assert.truthy(bytes > 8 * KEPT and bytes < 8 * KEPT + 2 * PIECE, bytes);
			local refused = #edge.refused;
			send(1);
			assert.equal(refused + 1, #edge.refused);
			conns[1]:written(true);
			send(1);
			assert.equal(refused + 1, #edge.refused);
			-- What is gone takes no room.
			for i = 1, 10 do conns[i]:drop(); end
			refused = #edge.refused;
			send(30);
			assert.equal(refused, #edge.refused);
		end);

		it("ends the stream after a minute in which nothing could be written, and says so", function ()
			local function sweep(seconds)
				for _ = 1, seconds // 2 do
					edge.clock = edge.clock + 2;
					edge.boundary.endpoint.sweep();
				end
			end
			edge.native.sweep = function () return {}, true; end; -- C has its own clock
			send(50);
			sweep(50);
			conn:written(false); -- it is slow, not dead
			sweep(60);
			assert.is_false(conn.closed);
			sweep(4);
			assert.is_true(conn.closed);
			local why = edge.boundary.relay.failures[HOST].why;
			assert.truthy(why:find("the server inside does not read: 42%d%d%d%d%d bytes that were handed to it are lost"), why);
			local lines = table.concat(edge.world.lines, "\n");
			assert.truthy(lines:find("contoso.test cannot be reached for fed.test: the server inside does not read", 1, true), lines);
			assert.truthy(lines:find("Refused inner stream to contoso.test .*inside%-unreachable"), lines);
			edge.clock = edge.clock + 1;
			send(1);
			assert.equal(2, #edge.dialled);
		end);

		it("and asks without end, ends the stream at 64 KiB of answers", function ()
			local incoming = inside.prove(edge, HOST, "fed.test");
			incoming:written(true);
			local before = #incoming.sent;
			local question = "<db:verify from='contoso.test' to='fed.test' id='no'>key</db:verify>";
			for _ = 1, 2000 do
				if incoming.closed then break; end
				incoming:say(question);
			end
			assert.is_true(incoming.closed);
			assert.truthy(#incoming.sent - before < 80000, #incoming.sent);
		end);
	end);

	it("loses no stanza when a stream is refused on its way out", function ()
		arrive(message(BOB, ALICE, "first"));
		local conn = inside.answer(edge);
		inside.establish(conn, HOST, "fed.test");
		edge.clock = edge.clock + 60;
		for _, session in ipairs(edge.boundary.endpoint.sessions()) do
			-- C refuses it when it looks next.
			local used = edge.boundary.endpoint.used;
			edge.boundary.endpoint.used = function (other)
				edge.boundary.endpoint.used = used;
				assert.equal(session, other);
				session:close("policy-violation");
			end;
		end
		arrive(message(BOB, ALICE, "second"));
		assert.is_true(conn.closed);
		assert.equal(2, #edge.dialled);
		local other = inside.answer(edge);
		inside.establish(other, HOST, "fed.test");
		assert.truthy(other.sent:find("second", 1, true));
		assert.equal(0, #edge.refused);
	end);

	describe("opens its port", function ()
		local PLACE = "10.1.0.2|5269";
		local opened;

		local function provider() return edge.world.items["net-provider"][1]; end
		local function lines(text)
			local count = 0;
			for _, line in ipairs(edge.world.lines) do
				if line:find(text, 1, true) then count = count + 1; end
			end
			return count;
		end
		-- A look, as long after the last one as the sweeper's.
		local function look()
			local first = provider();
			edge.clock = edge.clock + 2;
			edge.boundary.endpoint.ports.look();
			if provider() ~= first then opened = opened + 1; end
		end

		before_each(function ()
			edge, opened = inside.new({ HOST }, partners), 0;
			edge.unopened[PLACE] = true;
			apply({ [HOST] = "10.1.0.10:5269" });
		end);

		it("as soon as it can be, and says so once", function ()
			for _ = 1, 20 do look(); end
			assert.equal(0, opened);
			assert.equal(1, lines("error: The inner port 10.1.0.2 port 5269 is not open"));
			assert.truthy(edge.boundary.closed_ports()[1]:find("10.1.0.2 port 5269 is not open", 1, true));
			edge.unopened[PLACE] = nil;
			look();
			assert.equal(1, opened);
			assert.equal(1, lines("info: The inner port 10.1.0.2 port 5269 is open now"));
			assert.same({}, edge.boundary.closed_ports());
			for _ = 1, 20 do look(); end
			assert.equal(1, opened);
			assert.equal(2, lines("inner port"));
			assert.equal(1, #edge.world.items["net-provider"]);
		end);

		it("when the same settings come into force again", function ()
			edge.unopened[PLACE] = nil;
			apply({ [HOST] = "10.1.0.10:5269" });
			assert.same({}, edge.boundary.closed_ports());
		end);

		it("once in a minute where it is in vain for another reason", function ()
			local bind = edge.world.library("socket");
			bind.bind = function () return { close = function () end }; end;
			for _ = 1, 90 do look(); end
			assert.equal(3, opened);
		end);

		it("never by a configuration that is not in force", function ()
			edge.unopened[PLACE] = nil;
			for _, options in ipairs({ { s2s_inside_interfaces = { "*" } }; { s2s_inside_interfaces = { "10.1.0.2"; "10.1.0.3" } }; {};
				{ s2s_inside_interfaces = { "10.1.0.2" }; s2s_inside_ports = { 5299 } } }) do
				edge.world.config["*"] = options;
				look();
				apply({ [HOST] = "10.1.0.10:5269" });
				assert.equal(0, opened);
			end
			edge.world.config["*"] = { s2s_inside_interfaces = { "10.1.0.2" }; s2s_inside_ports = { 5269 } };
			look();
			assert.equal(1, opened);
			edge.boundary.apply(false);
			look();
			assert.equal(0, #edge.world.items["net-provider"]);
		end);
	end);

	describe("leaves nothing unwritten", function ()
		local files;

		before_each(function ()
			files = {};
			edge.world.open_store = function () return { get = function () end; set = function (_, user, data)
				local names = {};
				for name in pairs(data and data.items or {}) do names[#names + 1] = name; end
				table.sort(names);
				files[user] = table.concat(names, " ");
				return true;
			end }; end;
			for _, contact in ipairs({ BOB; "dora@fed.test" }) do
				edge.boundary.contacts.sent(HOST, st.presence({ type = "subscribe"; from = ALICE; to = contact }));
				edge.boundary.directed.note(st.presence({ from = ALICE.."/x"; to = contact }), false);
			end
			assert.same({ alice = BOB }, files);
			assert.truthy(edge.guard.directed[ALICE]);
		end);

		it("when it ends, even if a connection can no longer be used", function ()
			arrive(message(BOB, ALICE, "hello"));
			arrive(message("bob@trunk.test", ALICE, "hello"));
			local first, second = inside.answer(edge, 1), inside.answer(edge, 2);
			local third = inside.accept(edge);
			for _, conn in ipairs({ first; second; third }) do
				function conn.write() error("not for you"); end
			end
			function second.close() error("not for you either"); end
			edge.boundary.stop();
			assert.same({ alice = BOB.." dora@fed.test" }, files);
			assert.is_nil(edge.guard.directed[ALICE]);
			assert.same({ true; true }, { first.closed; third.closed });
			assert.same({}, edge.boundary.endpoint.sessions());
			assert.equal(0, #edge.world.items["net-provider"]);
		end);

		it("when a host is deactivated, and what comes for it then is no error", function ()
			for _, entry in ipairs(edge.world.hooks["host-deactivating"]) do entry[1]({ host = ROOMS }); end
			assert.same({ alice = BOB }, files);
			for _, entry in ipairs(edge.world.hooks["host-deactivating"]) do entry[1]({ host = HOST }); end
			assert.same({ alice = BOB.." dora@fed.test" }, files);
			edge.world.prosody.hosts[HOST] = nil;
			edge.boundary.contacts.sent(HOST, st.presence({ type = "unsubscribe"; from = ALICE; to = BOB }));
			assert.is_true(arrive(st.iq({ type = "result"; from = BOB; to = HOST; id = "x" })));
			assert.is_true(arrive(st.presence({ type = "subscribed"; from = BOB; to = ALICE })));
			assert.same({}, edge.dialled);
		end);
	end);

	-- Where the connection says so before it writes, as epoll's do. `written` makes it so: what comes in is all of what has been sent then.
	describe("writes what comes in one turn of the loop at once", function ()
		local conn, begun, writes;

		before_each(function ()
			edge = inside.new({ HOST, ROOMS }, partners, "epoll");
			apply();
			arrive(message(BOB, ALICE, "first"));
			conn, begun = inside.answer(edge), edge.dialled[1];
			inside.establish(conn, HOST, "fed.test");
			begun.listener.onpredrain(conn);
			conn.sent, writes = "", 0;
			local write = conn.write;
			function conn:write(data)
				writes = writes + 1;
				return write(self, data);
			end
		end);

		local function written()
			begun.listener.onpredrain(conn);
			local words = {};
			for word in conn.sent:gmatch("<body>(.-)</body>") do words[#words + 1] = word; end
			return table.concat(words, " ");
		end

		it("in order, and asks for it once", function ()
			for i = 1, 5 do arrive(message(BOB, ALICE, tostring(i))); end
			assert.equal(1, writes);
			assert.equal("1 2 3 4 5", written());
			arrive(message(BOB, ALICE, "6"));
			assert.equal("1 2 3 4 5 6", written());
			assert.equal("1 2 3 4 5 6", written());
		end);

		it("and holds no more than 64 KiB back", function ()
			local large = ("x"):rep(40000);
			for _ = 1, 3 do arrive(message(BOB, ALICE, large)); end
			assert.equal(2, writes);
			assert.truthy(#conn.sent > 120000);
			arrive(message(BOB, ALICE, "behind"));
			assert.truthy(written():find("behind$"));
		end);

		it("and before anything else that is said over the stream", function ()
			for i = 1, 3 do arrive(message(BOB, ALICE, tostring(i))); end
			edge.boundary.endpoint.sessions()[1]:close("policy-violation");
			assert.truthy(conn.sent:find("1</body>.*2</body>.*3</body>.*<stream:error>.*</stream:stream>$"));
			assert.is_true(conn.closed);
			begun.listener.onpredrain(conn);
			assert.truthy(conn.sent:find("</stream:stream>$"));
		end);
	end);

	describe("opens a stream for what a partner will send", function ()
		local function fire(event, data, host)
			for _, hooked in ipairs(edge.world.contexts) do
				for _, entry in ipairs(hooked[1] == (host or HOST) and hooked[2].hooks[event] or {}) do assert.is_nil(entry[1](data)); end
			end
		end

		local function features(session, offered)
			local stanza = st.stanza("stream:features");
			for _, xmlns in ipairs(offered) do stanza:tag("mechanisms", { xmlns = xmlns }):up(); end
			fire("s2s-stream-features", { origin = session; features = stanza });
		end

		local function visitor(more)
			local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = "fed.test"; cert_chain_status = "valid";
				cert_identity_status = "valid" };
			for key, value in pairs(more or {}) do session[key] = value; end
			return session;
		end

		local SASL = "urn:ietf:params:xml:ns:xmpp-sasl";

		it("when it has authenticated, once", function ()
			fire("s2s-authenticated", { session = visitor(); host = "fed.test"; mechanism = "dialback" });
			assert.equal(1, #edge.dialled);
			fire("s2s-authenticated", { session = visitor(); host = "fed.test"; mechanism = "dialback" });
			arrive(message(BOB, ALICE, "first"));
			assert.equal(1, #edge.dialled);
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "fed.test");
			assert.truthy(conn.sent:find("<body>first</body>", 1, true));
		end);

		it("when its certificate is valid and it may authenticate by that", function ()
			features(visitor(), { SASL });
			assert.equal(1, #edge.dialled);
		end);

		it("and none before it has proven who it is", function ()
			features(visitor(), {});
			features(visitor({ cert_identity_status = "invalid" }), { SASL });
			features(visitor({ cert_chain_status = "invalid" }), { SASL });
			features({ type = "s2sin_unauthed"; direction = "incoming"; from_host = "fed.test" }, { SASL });
			fire("s2s-authenticated", { session = visitor({ direction = "outgoing" }); host = "fed.test" });
			assert.equal(0, #edge.dialled);
		end);

		it("and none where nothing would pass", function ()
			edge.guard.observing = true;
			features(visitor(), { SASL });
			edge.guard.observing, edge.guard.policies[HOST] = false, nil;
			features(visitor(), { SASL });
			fire("s2s-authenticated", { session = visitor(); host = "fed.test" });
			assert.equal(0, #edge.dialled);
		end);
	end);

	describe("keeps streams alive", function ()
		-- What is to be kept alive by the next look: all that is established.
		local function sweep()
			edge.native.sweep = function (_, streams)
				local found = {};
				for _, session in ipairs(streams) do
					if session.established then table.insert(found, { session, "keepalive", "none", "", "" }); end
				end
				return found, true;
			end;
			edge.boundary.endpoint.sweep();
		end
		local PATTERN = "<iq[^>]*>";
		local function ping_of(conn) return conn.sent:match(PATTERN) and conn.sent:match("id=['\"](s2s%-inside%-[^'\"]+)['\"]"); end
		local function awaits_answer(domain)
			for _, session in ipairs(edge.boundary.endpoint.sessions()) do
				if session.direction == "outgoing" and session.from_host == domain then return edge.pinged[session]; end
			end
		end

		before_each(function ()
			edge.pinged = {};
			edge.native.keepalive_sent = function (session, answer) edge.pinged[session] = answer; return inside.native.keepalive_sent(session, answer); end;
		end);

		it("by a ping where stanzas go out, whose answer comes over another stream and goes no further", function ()
			arrive(message(BOB, ALICE, "hello"));
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "fed.test");
			local incoming = inside.prove(edge, HOST, "fed.test");
			local before = incoming.sent;
			sweep();
			local id = ping_of(conn);
			assert.truthy(id, conn.sent);
			assert.is_true(awaits_answer("fed.test"));
			assert.equal(before.." ", incoming.sent);
			assert.truthy(edge.border.keepalives[id]);
			incoming:say(("<iq type='result' from='contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.equal(0, #edge.world.routed);
			assert.is_nil(edge.border.keepalives[id]);
			-- A late one neither.
			incoming:say(("<iq type='result' from='contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.equal(0, #edge.world.routed);
			incoming:say("<iq type='result' from='contoso.test' to='fed.test' id='other'/>");
			assert.equal(1, #edge.world.routed);
			assert.is_false(incoming.closed);
		end);

		it("and the answer of another relay host is none", function ()
			arrive(message(BOB, ALICE, "hello"));
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "fed.test");
			local rooms = inside.prove(edge, ROOMS, "fed.test");
			sweep();
			local id = ping_of(conn);
			rooms:say(("<iq type='result' from='rooms.contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.equal(0, #edge.world.routed);
			assert.truthy(edge.border.keepalives[id]);
			local own = inside.prove(edge, HOST, "fed.test");
			own:say(("<iq type='result' from='contoso.test' to='fed.test' id='%s'/>"):format(id));
			assert.is_nil(edge.border.keepalives[id]);
			assert.equal(0, #edge.world.routed);
		end);

		it("by a blank where they carry refusals for an unlisted domain", function ()
			arrive(message("eve@evil.test", ALICE, "a refusal"));
			local conn = inside.answer(edge);
			inside.establish(conn, HOST, "evil.test");
			sweep();
			assert.is_nil(ping_of(conn));
			assert.is_false(awaits_answer("evil.test"));
			assert.equal(" ", conn.sent:sub(-1));
		end);
	end);
end);
