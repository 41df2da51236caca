-- Streams of the inner side: whom they are with when the settings change, what they cost before anybody has proven anything.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local inside = require "inside_world";
local st = require "util.stanza";

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

	it("keeps its streams when the server is only written another way", function ()
		local incoming = inside.prove(edge, HOST, "fed.test");
		local settings = inside.settings({ [HOST] = "10.1.0.10:5269"; [ROOMS] = "10.1.0.10:5269" });
		settings.hosts[HOST].server = "10.1.0.10";
		edge.boundary.apply(settings);
		assert.is_false(incoming.closed);
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
end);
