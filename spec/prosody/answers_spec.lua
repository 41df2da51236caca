-- lua/answers.lib.lua: the module's own words, marked so that they are not judged again.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local st = require "util.stanza";

local HOST = "contoso.test";

describe("an answer of the module's own", function ()
	local world, answers, guard, sent, origin;

	before_each(function ()
		world = lua_world.new {};
		world.prosody.hosts[HOST] = { name = HOST };
		guard, sent = { answers = {} }, {};
		origin = { send = function (stanza) table.insert(sent, stanza); end };
		answers = world.load "answers" (guard, function (action) action(); end);
	end);

	local function request() return st.iq({ type = "get"; id = "1"; from = "bob@fed.test/r"; to = "alice@"..HOST }):tag("query"); end

	it("goes over the stream the stanza came on, and is marked", function ()
		answers.give(origin, request(), "error");
		assert.same({ "error", "bob@fed.test/r", "alice@"..HOST }, { sent[1].attr.type, sent[1].attr.to, sent[1].attr.from });
		local error_type, condition, text = sent[1]:get_error();
		assert.same({ "cancel", "service-unavailable" }, { error_type, condition });
		assert.is_nil(text);
		assert.is_true(guard.answers[sent[1]]);
	end);

	it("to a subscription is what core says while the user is asked, from and to bare addresses", function ()
		answers.give(nil, st.presence({ type = "subscribe"; from = "bob@fed.test/r"; to = "alice@"..HOST.."/x" }), "unavailable");
		local host, presence = table.unpack(world.routed[1]);
		assert.same({ HOST, "unavailable", "bob@fed.test", "alice@"..HOST }, { host.name, presence.attr.type, presence.attr.to, presence.attr.from });
		assert.is_true(guard.answers[presence]);
		assert.same({}, sent);
	end);

	it("is none when there is none to give, or the word is not known", function ()
		for _, reply in ipairs { "none", "perhaps" } do answers.give(origin, request(), reply); end
		answers.give(origin, request(), nil);
		assert.same({ {}, {} }, { sent, world.routed });
	end);
end);
