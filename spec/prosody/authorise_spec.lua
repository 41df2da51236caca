-- What the shared object tells Lua about stanzas: decisions as words, and copies without status notes.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();

-- Stanzas as util.stanza builds them, without Prosody.
local stanza_mt = { __name = "stanza" };

local function element(name, attr, ...)
	local result = setmetatable({ name = name; attr = attr or {}; tags = {} }, stanza_mt);
	for _, child in ipairs({ ... }) do
		table.insert(result, child);
		if type(child) == "table" then table.insert(result.tags, child); end
	end
	return result;
end

local function show(stanza)
	if type(stanza) == "string" then return stanza; end
	local inside = {};
	for i, child in ipairs(stanza) do inside[i] = show(child); end
	return ("%s(%s)"):format(stanza.name, table.concat(inside, ","));
end

local function note(text, attr) return element("status", attr, text); end

describe("decisions in words", function ()
	local function facts(more)
		local result = { partner_type = "public_unverified"; direction = "in"; stanza = "message"; ["local"] = "user";
			group_chat = "refuse"; presence_authorization = "user" };
		for name, value in pairs(more) do result[name] = value; end
		return result;
	end

	it("names the fact that is missing", function ()
		assert.same({ "wait", "access" }, { native.authorise(facts {}) });
		assert.same({ "wait", "account" }, { native.authorise(facts { access = "allowed" }) });
		assert.same({ "wait", "listed" }, { native.authorise(facts { access = "allowed"; account = "exists" }) });
	end);

	it("decides as for traffic", function ()
		local verdict, reason, rule, change = native.authorise(facts { access = "allowed"; account = "exists"; listed = "no" });
		assert.same({ "refuse", "not-listed", "none" }, { verdict, reason, change });
		assert.truthy(rule:find("public_unverified", 1, true));
		assert.same("allow", (native.authorise(facts { access = "allowed"; account = "exists"; listed = "yes" })));
		local _, _, _, removed = native.authorise(facts { direction = "out"; stanza = "presence"; access = "allowed"; listed = "yes" });
		assert.same("status-note-removed", removed);
	end);

	it("knows no other words", function ()
		for name, value in pairs({ partner_type = "friend"; stanza = "letter"; ["local"] = "moon"; access = "perhaps"; listed = "exists" }) do
			assert.has_error(function () native.authorise(facts { [name] = value }); end);
		end
	end);
end);

describe("personal events", function ()
	local MOOD, AVATAR = "http://jabber.org/protocol/mood", "urn:xmpp:avatar:metadata";
	local ALICE = "alice@contoso.test";

	local function event(...) return element("event", { xmlns = "http://jabber.org/protocol/pubsub#event" }, ...); end
	local function items(node, name) return element(name or "items", { node = node }, element("item")); end
	local function message(...) return element("message", { from = ALICE; type = "headline" }, ...); end
	local function from_client(...) return element("message", { from = ALICE.."/phone" }, ...); end
	local function answer(...) return element("iq", { from = ALICE; type = "result" }, ...); end
	local function pubsub(...) return element("pubsub", { xmlns = "http://jabber.org/protocol/pubsub" }, ...); end
	local function nodes(what, node, ...) return element("query", { xmlns = "http://jabber.org/protocol/disco#"..what; node = node }, ...); end
	local function item(node) return element("item", { jid = ALICE; node = node }); end
	local function outcome(stanza)
		local before = show(stanza);
		local word, copy = native.without_events(stanza);
		assert.equal(before, show(stanza));
		return copy and word.." "..show(copy) or word;
	end

	it("are not sent when nothing else is", function ()
		for _, name in ipairs({ "items", "purge", "delete", "configuration", "whatever" }) do
			assert.equal("all", outcome(message(event(items(MOOD, name)))));
		end
		assert.equal("all", outcome(message(event(items(nil)))));
		assert.equal("all", outcome(message(event(items(MOOD)), event(items("urn:lab:other")))));
		-- Headers of delivery go with it (XEP-0131 names the node).
		assert.equal("all", outcome(message(event(items(MOOD)), element("headers", { xmlns = "http://jabber.org/protocol/shim" }))));
		assert.equal("all", outcome(from_client(event(items(MOOD)))));
	end);

	it("are taken out of what else there is", function ()
		assert.equal("some message(event(items(item())))", outcome(message(event(items(MOOD), items(AVATAR)))));
		assert.equal("some message(event(items(item())),x())", outcome(message(event(items(MOOD)), event(items(AVATAR)), element("x"))));
		assert.equal("some message(body(hello))", outcome(message(event(items(MOOD)), element("body", nil, "hello"))));
		assert.equal("some message(encrypted())", outcome(from_client(element("encrypted"), event(items(MOOD)))));
		local _, copy = native.without_events(message(event(items(MOOD)), event(items(AVATAR))));
		assert.equal(1, #copy.tags);
		assert.equal(AVATAR, copy.tags[1].tags[1].attr.node);
	end);

	it("are no more than that", function ()
		assert.equal("none", outcome(message()));
		assert.equal("none", outcome(message(element("body", nil, "hello"))));
		assert.equal("none", outcome(message(event())));
		assert.equal("none", outcome(message(event(items(AVATAR)))));
		assert.equal("none", outcome(message(element("event", { xmlns = "urn:lab" }, items(MOOD)))));
		assert.equal("none", outcome(message(element("event", {}, items(MOOD)))));
		-- What a user quotes is written to the contact.
		assert.equal("none", outcome(message(element("forwarded", { xmlns = "urn:xmpp:forward:0" }, message(event(items(MOOD)))))));
		assert.equal("none", outcome(message("text", event("text"))));
	end);

	it("are not in answers", function ()
		assert.equal("all", outcome(answer(pubsub(items(MOOD)))));
		assert.equal("all", outcome(answer(pubsub(items(nil)))));
		assert.equal("all", outcome(answer(pubsub(items(AVATAR), items(MOOD)))));
		assert.equal("none", outcome(answer(pubsub(items(AVATAR)))));
		assert.equal("none", outcome(answer(pubsub(element("subscriptions", {}, element("subscription", { node = MOOD }))))));
		assert.equal("none", outcome(answer()));
		assert.equal("all", outcome(element("iq", { from = ALICE.."/phone"; type = "result" }, pubsub(items(MOOD)))));
		assert.equal("none", outcome(answer(event(items(MOOD)))));
	end);

	it("are not listed", function ()
		assert.equal("some iq(query(item()))", outcome(answer(nodes("items", nil, item(MOOD), item(AVATAR)))));
		assert.equal("some iq(query())", outcome(answer(nodes("items", nil, item(MOOD)))));
		assert.equal("none", outcome(answer(nodes("items", nil, item(nil), item(AVATAR)))));
		for _, what in ipairs({ "items", "info" }) do
			assert.equal("all", outcome(answer(nodes(what, MOOD))));
			assert.equal("none", outcome(answer(nodes(what, AVATAR))));
			assert.equal("none", outcome(answer(nodes(what, nil, element("feature")))));
			-- A client's own nodes are those of its software.
			assert.equal("none", outcome(element("iq", { from = ALICE.."/phone"; type = "result" }, nodes(what, "urn:lab:client#1.0"))));
		end
	end);

	it("cost one pass, however many there are", function ()
		local many = {};
		for i = 1, 3000 do many[i] = items(i % 2 == 0 and MOOD or AVATAR); end
		local _, copy = native.without_events(message(event(table.unpack(many))));
		assert.equal(1500, #copy.tags[1].tags);
	end);
end);

describe("copies without status notes", function ()
	local cache;
	before_each(function () cache = { notes = setmetatable({}, { __mode = "k" }) }; end);

	local function without(stanza) return native.without_notes(stanza, cache); end

	it("are not made when there is nothing to remove", function ()
		assert.is_nil(without(element("presence", {}, element("show", nil, "away"))));
		assert.is_nil(without(element("presence", {})));
		-- Status codes of XEP-0045 inherit the namespace of what they stand in.
		assert.is_nil(without(element("presence", {}, element("x", { xmlns = "http://jabber.org/protocol/muc#user" }, note(nil, { code = "110" })))));
		assert.is_nil(without(element("presence", {}, note("x", { xmlns = "urn:lab" }))));
		assert.is_nil(without(element("iq", { type = "result" }, note("x"))));
		assert.is_nil(without(element("iq", { type = "result" }, element("query", { xmlns = "jabber:iq:last", seconds = "3" }))));
	end);

	it("have no note of any spelling", function ()
		local show_tag = element("show", nil, "away");
		local presence = element("presence", { to = "bob@ver.test" }, note("a"), show_tag, note("b", { ["xml:lang"] = "de" }),
			note("c", { xmlns = "jabber:client" }), "text", note("d", { xmlns = "jabber:server" }), note(nil));
		local before = show(presence);
		local copy = without(presence);
		assert.same("presence(show(away),text)", show(copy));
		assert.same(1, #copy.tags);
		assert.equal(stanza_mt, getmetatable(copy));
		assert.equal(show_tag, copy[1]);
		assert.same({ to = "bob@ver.test" }, copy.attr);
		assert.same(before, show(presence));
	end);

	it("have none whatever namespace a module has given the stanza itself", function ()
		local stanza = element("presence", { xmlns = "urn:lab" }, element("show", {}, "away"), note("lunch"));
		assert.same("presence(show(away))", show(without(stanza)));
	end);

	it("have none inside anything else", function ()
		local inside = element("forwarded", { xmlns = "urn:xmpp:forward:0" }, element("presence", { xmlns = "jabber:client" }, note("a"), element("show")));
		local presence = element("presence", {}, inside, element("x", { xmlns = "urn:lab" }, note("stays")));
		assert.same("presence(forwarded(presence(show())),x(status(stays)))", show(without(presence)));
		assert.same("forwarded(presence(status(a),show()))", show(inside));
	end);

	it("have no text of last activity", function ()
		local last = element("query", { xmlns = "jabber:iq:last", seconds = "3" }, "gone fishing");
		assert.same("iq(query())", show(without(element("iq", { type = "result" }, last))));
		assert.same("presence(query())", show(without(element("presence", {}, last))));
		assert.same("query(gone fishing)", show(last));
	end);

	it("are one for all recipients of a broadcast", function ()
		local presence = element("presence", { to = "a@ver.test" }, note("secret"), element("show", nil, "away"));
		local first = without(presence);
		presence.attr.to = "b@ver.test";
		local second = without(presence);
		assert.equal(first, second);
		assert.same("b@ver.test", second.attr.to);
		-- Core adds to what it keeps once it has sent it.
		table.insert(presence, element("delay"));
		table.insert(presence.tags, presence[3]);
		local third = without(presence);
		assert.not_equal(first, third);
		assert.same("presence(show(away),delay())", show(third));
		presence[1] = element("priority", nil, "1");
		assert.is_nil(without(presence));
	end);

	it("are made anew when a child was exchanged for another", function ()
		local inside = element("x", { xmlns = "urn:lab" }, element("presence", { xmlns = "jabber:client" }, note("a")));
		local presence = element("presence", { to = "a@ver.test" }, inside, element("show", nil, "away"), "text");
		local first = without(presence);
		assert.equal(first, without(presence));
		presence[3] = note("b");
		assert.same("presence(x(presence()),show(away))", show(without(presence)));
		presence[2] = note("c");
		assert.same("presence(x(presence()))", show(without(presence)));
		table.remove(presence);
		assert.same("presence(x(presence()))", show(without(presence)));
		local second = without(presence);
		presence.attr = { to = "b@ver.test" };
		assert.not_equal(second, without(presence));
		assert.same("b@ver.test", without(presence).attr.to);
	end);

	-- What a copy is, said in the plainest way.
	local function model(tag, inherited, depth)
		if depth > 64 then return nil; end
		local xmlns = depth > 0 and tag.attr.xmlns or inherited;
		local ours = not xmlns or xmlns == "jabber:client" or xmlns == "jabber:server";
		if depth > 0 and tag.name == "status" and ours then return nil; end
		local last = depth > 0 and tag.name == "query" and xmlns == "jabber:iq:last";
		local inside = {};
		for _, child in ipairs(tag) do
			if type(child) == "table" then
				table.insert(inside, model(child, xmlns, depth + 1));
			elseif not last then
				table.insert(inside, child);
			end
		end
		return ("%s(%s)"):format(tag.name, table.concat(inside, ","));
	end

	local state = 7;
	local function draw(n)
		state = (state * 1103515245 + 12345) & 0x7fffffff;
		return (state >> 8) % n + 1;
	end

	local function random_tree(depth)
		local names = { "status", "query", "show", "x" };
		local spaces = { "jabber:client", "jabber:iq:last", "urn:lab", false, false, false };
		local tag = element(names[draw(#names)], { xmlns = spaces[draw(#spaces)] or nil });
		for _ = 1, depth > 0 and draw(4) - 1 or 0 do
			local child = draw(3) == 1 and "text" or random_tree(depth - 1);
			table.insert(tag, child);
			if type(child) == "table" then table.insert(tag.tags, child); end
		end
		return tag;
	end

	it("are what remains of a stanza, whatever it is made of", function ()
		local changed = 0;
		for _ = 1, 3000 do
			local presence = element("presence", {}, random_tree(5), random_tree(3), random_tree(0));
			local before, expected = show(presence), model(presence, nil, 0);
			local copy = without(presence);
			assert.same(expected, show(copy or presence));
			assert.same(before == expected, copy == nil);
			assert.same(before, show(presence));
			changed = changed + (copy and 1 or 0);
			for i, tag in ipairs(copy and copy.tags or {}) do
				local elements = {};
				for _, child in ipairs(copy) do if type(child) == "table" then table.insert(elements, child); end end
				assert.equal(elements[i], tag);
			end
		end
		assert.truthy(changed > 500 and changed < 2900);
	end);

	it("end where nesting goes beyond reason", function ()
		local deep = note("deep");
		for _ = 1, 10000 do deep = element("x", nil, deep); end
		local copy = without(element("presence", {}, deep));
		assert.falsy(show(copy):find("deep", 1, true));
	end);

	it("let go of what is no longer sent", function ()
		for _ = 1, 100 do
			without(element("presence", {}, note("x")));
		end
		collectgarbage(); collectgarbage();
		assert.is_nil(next(cache.notes));
	end);
end);
