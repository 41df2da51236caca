-- The text of what goes out, written in C, against Prosody's own: whatever a stanza is like, it is either that text or left to Prosody.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();
local lua_world = require "lua_world";
local st = require "util.stanza";

local CASES = 20000;
local METATABLE = getmetatable(st.stanza("message"));

-- A generator of our own: the same cases in every run.
local state = 7;
local function draw(list)
	state = (state * 1103515245 + 12345) & 0x7fffffff;
	return list[(state >> 8) % #list + 1];
end

local NAMES = { "message", "presence", "iq", "body", "show", "x", "stream:features", "db:result" };
local TEXTS = { "", " ", "text", "a&b", "<", ">", "''", "\"quoted\"", "&amp;", "\u{fc}\u{1f600}", "\0", "\1", "a\r\n\tb",
	("long & "):rep(40), "]]>" };
local SPACES = { "jabber:client", "urn:x", "urn:'y'", "", "jabber:server" };
local KEYS = { "from", "to", "type", "id", "xml:lang", "stamp" };

local function element(levels)
	-- Past Prosody's functions, which take no control characters.
	local stanza = st.stanza(draw(NAMES));
	for _ = 1, draw { 0, 1, 2, 3 } do stanza.attr[draw(KEYS)] = draw(TEXTS); end
	if draw { true, false, false } then stanza.attr.xmlns = draw(SPACES); end
	if draw { true, false, false, false, false, false, false, false } then stanza.attr["urn:x\1name"] = draw(TEXTS); end
	for _ = 1, levels > 0 and draw { 0, 1, 1, 2, 3 } or 0 do
		if draw { true, false } then table.insert(stanza, draw(TEXTS)); else stanza:add_child(element(levels - 1)); end
	end
	return stanza;
end

describe("the writer of stanzas", function ()
	local guard, write;

	before_each(function ()
		guard = { observing = false };
		write = native.stanza_writer(guard, METATABLE);
	end);

	it("writes what Prosody would write, or leaves it", function ()
		local written, left = 0, 0;
		for number = 1, CASES do
			local stanza = element(draw { 0, 1, 2, 3, 4 });
			local before, result = tostring(stanza), write(stanza, {});
			if result == stanza then
				left = left + 1;
			else
				written = written + 1;
				assert.equal(before, result, "case "..number);
			end
			assert.equal(before, tostring(stanza));
		end
		-- Namespaced attributes and what is long are left, and no more.
		assert.is_true(written > CASES / 2, written);
		assert.is_true(left > CASES / 100, left);
	end);

	it("writes ordinary stanzas itself", function ()
		for _, stanza in ipairs {
			st.message({ from = "alice@contoso.test/a", to = "bob@fed.test", type = "chat", id = "1" }, "It's <b>\"5 & 6\"</b>"),
			st.presence():text_tag("show", "away"):text_tag("status", "At lunch"),
			st.iq({ type = "result", id = "1" }):query("http://jabber.org/protocol/disco#info"):tag("feature", { var = "urn:xmpp:ping" }):reset(),
			st.reply(st.iq({ type = "get", id = "1", from = "a@b" })), st.error_reply(st.iq({ type = "get", id = "1" }), "cancel", "not-allowed", "no"),
			st.stanza("db:result", { from = "a", to = "b" }):text("key"), st.clone(st.presence()), st.deserialize(st.preserialize(st.presence())),
		} do
			assert.equal(tostring(stanza), write(stanza, {}));
		end
	end);

	it("leaves what is not plain as it is", function ()
		local deep = st.stanza("a");
		for _ = 1, 10 do deep = st.stanza("a"):add_child(deep); end
		local function with(change) local stanza = st.message({ to = "a" }, "text"); change(stanza); return stanza; end
		for what, value in pairs {
			["text"] = "<message/>", ["a number"] = 7, ["no metatable"] = { name = "message"; attr = {} },
			["another metatable"] = setmetatable({ name = "message"; attr = {} }, { __tostring = function () return "other"; end }),
			["deep"] = deep, ["long"] = st.message({}, ("x"):rep(4096)), ["long by escapes"] = st.message({}, ("&"):rep(1024)),
			["a namespaced attribute"] = st.message({ ["urn:x\1y"] = "z" }),
			["no name"] = with(function (stanza) stanza.name = nil; end),
			["no attributes"] = with(function (stanza) stanza.attr = nil; end),
			["attributes with a metatable"] = with(function (stanza) setmetatable(stanza.attr, { __pairs = function () return next, {}, nil; end }); end),
			["an attribute that is a number"] = with(function (stanza) stanza.attr.id = 7; end),
			["an attribute by number"] = with(function (stanza) stanza.attr[1] = "x"; end),
			["a child that is a number"] = with(function (stanza) stanza[1] = 7; end),
			["a child of another kind"] = with(function (stanza)
				stanza[1] = setmetatable({ name = "b"; attr = {} }, { __len = function () return 3; end });
			end),
			["a child without a name"] = with(function (stanza) stanza[1] = {}; end),
		} do
			assert.equal(value, write(value, {}), what);
		end
		assert.is_nil(write(nil, {}));
	end);

	it("writes to the last byte of what it has room for", function ()
		local empty = #tostring(st.message({}, "x")) - 1;
		local full = st.message({}, ("x"):rep(4096 - empty));
		assert.equal(tostring(full), write(full, {}));
		local more = st.message({}, ("x"):rep(4096 - empty + 1));
		assert.equal(more, write(more, {}));
	end);

	it("leaves all when somebody has taken the writing over", function ()
		local stanza, before = st.presence(), METATABLE.__tostring;
		METATABLE.__tostring = function () return "other"; end;
		local result = write(stanza, {});
		METATABLE.__tostring = before;
		assert.equal(stanza, result);
	end);

	it("leaves all while nothing is enforced", function ()
		local stanza = st.presence();
		guard.observing = true;
		assert.equal(stanza, write(stanza, {}));
		guard.observing = false;
		assert.equal("<presence/>", write(stanza, {}));
	end);

	describe("is not used where Prosody writes otherwise:", function ()
		local world;
		before_each(function () world = lua_world.new {}; end);

		it("it is used here", function ()
			assert.equal("<presence/>", world.load "writer" (guard, native)(st.presence(), {}));
		end);

		it("with an error", function ()
			assert.is_nil(world.load "writer" (guard, { stanza_writer = function () error("no"); end }));
		end);

		it("with another text", function ()
			local before = METATABLE.__tostring;
			METATABLE.__tostring = function (stanza) return before(stanza):gsub("&apos;", "&#39;"); end;
			local made = world.load "writer" (guard, native);
			METATABLE.__tostring = before;
			assert.is_nil(made);
		end);
	end);
end);
