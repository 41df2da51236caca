-- To whom users of relay hosts have sent presence: by whom it is noted, when it ends, and how much of it there may be.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local inside = require "inside_world";
local lua_world = require "lua_world";
local st = require "util.stanza";

local HOST, OTHER = "contoso.test", "other.test";
local PHONE, DESK, ROOM = "alice@contoso.test/phone", "alice@contoso.test/desk", "room@rooms.public.test";

describe("directed presence of users inside", function ()
	local directed, by_user;

	before_each(function ()
		by_user = { ["carol@edge.test"] = { ["carol@edge.test/x"] = { [ROOM] = true } } };
		directed = lua_world.new().load("inside/directed")(by_user, function (address) return address:lower(); end);
		directed.apply({ [HOST] = true; [OTHER] = true });
	end);

	local function note(from, to, is_contact) directed.note(st.presence({ from = from; to = to }), is_contact or false); end

	it("is noted by session, for those who are no contacts", function ()
		note(PHONE, ROOM);
		note(PHONE, ROOM);
		note(DESK, "bob@public.test", true);
		assert.same({ [PHONE] = { [ROOM] = true } }, by_user["alice@contoso.test"]);
		assert.equal(1, directed.count());
	end);

	it("ends with that session's unavailable", function ()
		note(PHONE, ROOM);
		note(DESK, ROOM);
		directed.take_back(PHONE, ROOM:upper());
		assert.same({ [DESK] = { [ROOM] = true } }, by_user["alice@contoso.test"]);
		directed.take_back(DESK, "somebody@public.test");
		directed.take_back("bob@contoso.test/x", ROOM);
		assert.equal(1, directed.count());
		directed.take_back(DESK, ROOM);
		assert.is_nil(by_user["alice@contoso.test"]);
		assert.equal(0, directed.count());
	end);

	it("ends for all sessions when the contact may not see the user any more", function ()
		note(PHONE, "bob@public.test");
		note(DESK, "bob@public.test");
		note(DESK, ROOM);
		directed.cancel("alice@contoso.test", "bob@public.test");
		assert.same({ [DESK] = { [ROOM] = true } }, by_user["alice@contoso.test"]);
		assert.equal(1, directed.count());
	end);

	it("ends with the server that the users have, and with the relay host", function ()
		note(PHONE, ROOM);
		note("dan@other.test/x", ROOM);
		directed.forget(HOST);
		assert.is_nil(by_user["alice@contoso.test"]);
		assert.equal(1, directed.count());
		directed.apply({ [HOST] = true });
		assert.equal(0, directed.count());
		assert.same({ "carol@edge.test" }, { (next(by_user)) }); -- one of this server's own is not touched
	end);

	it("is bounded for a user, whatever the session, and for all", function ()
		for i = 1, 1500 do note(("alice@contoso.test/%d"):format(i % 7), ("r%d@rooms.public.test"):format(i)); end
		assert.equal(1000, directed.count());
		for i = 1, 60000 do note(("u%d@contoso.test/x"):format(i), ROOM); end
		assert.equal(50000, directed.count());
		directed.forget(HOST);
		assert.equal(0, directed.count());
		note("alice@contoso.test/"..("x"):rep(1000), ROOM);
		assert.equal(0, directed.count());
	end);

	it("is forgotten when nobody answers at the server inside", function ()
		local edge = inside.new({ HOST }, { { domain = "fed.test"; partner_type = "public_unverified"; group_chat = "allow"; tls = "not_supported";
			sasl = "not_supported"; dialback = true } });
		edge.boundary.apply(inside.settings({ [HOST] = "10.1.0.10:5269" }));
		edge.boundary.directed.note(st.presence({ from = PHONE; to = "room@fed.test" }), false);
		assert.truthy(edge.guard.directed["alice@contoso.test"]);
		inside.arrive(edge, st.message({ from = "bob@fed.test"; to = PHONE }));
		inside.fail(edge);
		assert.is_nil(edge.guard.directed["alice@contoso.test"]);
		edge.boundary.directed.note(st.presence({ from = PHONE; to = "room@fed.test" }), false);
		edge.boundary.apply(inside.settings({ [HOST] = "10.1.0.11:5269" }));
		assert.is_nil(edge.guard.directed["alice@contoso.test"]);
		edge.boundary.directed.note(st.presence({ from = PHONE; to = "room@fed.test" }), false);
		edge.boundary.stop();
		assert.is_nil(edge.guard.directed["alice@contoso.test"]);
	end);
end);
