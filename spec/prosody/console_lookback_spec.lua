-- What the console finds and looks back on: lua/partner_search.lib.lua, lua/offers.lib.lua, lua/recent.lib.lua.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local native = stub.native();

describe("a search in the list", function ()
	local search = stub.library("partner_search");
	local partner = { name = "xn--bcher-kva.example"; description = "Contract 2231\nask for\27 Bob"; partner_type = "federated";
		additional_domains = { "*.corp.example" } };

	it("is for domains in any spelling, the description, the type and the last refusal", function ()
		for word, expected in pairs({ ["2231"] = true; CONTRACT = true; ["corp.ex"] = true; ["Bücher.example"] = true; federated = true;
			["tls-required"] = true; ["%."] = false; ["."] = true; ["tls-requiredx"] = false; other = false }) do
			local match = search.matcher(native, word, function (name) return name == partner.name and "tls-required"; end);
			assert.equal(expected, match(partner), word);
		end
		assert.is_false(search.matcher(native, "tls", function () end)(partner));
	end);

	it("takes words alone", function ()
		assert.is_true(search.check("x"));
		for _, word in ipairs({ "", " \t", 1, true, {}, ("x"):rep(254) }) do
			local good, problem = search.check(word);
			assert.is_nil(good);
			assert.is_string(problem);
		end
		assert.is_nil((search.check(nil)));
	end);

	it("shows a description line by line", function ()
		assert.same({ { "  "; "Contract 2231" }, { "  "; "ask for  Bob" } }, search.description(partner));
		assert.same({}, search.description({ description = "" }));
		assert.same({ { "  "; "a" } }, search.description({ description = "\n\na\n  \n" }));
	end);
end);

-- A session's record, as much of it as recent asks for.
local with_tls = { ssl_info = function () return { protocol = "TLSv1.3" }; end };

local function new_recent(view, latch)
	local hooks = {};
	local module_stub = { log = function () end; hook_global = function () end;
		context = function () return { hook = function (_, event, handler) hooks[event] = handler; end }; end };
	function module_stub.require(_, name) return stub.library(name); end
	local environment = setmetatable({ module = module_stub; prosody = { s2s_partners_latch = latch; hosts = { ["a.test"] = {} } };
		require = function (name) return name == "util.time" and { now = function () return 1.5; end } or require(name); end }, { __index = _G });
	local recent = assert(loadfile(source.."/lua/recent.lib.lua", "t", environment))()({ stream_view = function () return view; end });
	return recent, hooks["stanza/http://etherx.jabber.org/streams:features"];
end

describe("the last streams", function ()
	local function element(name, xmlns, children)
		local tag = { name = name; attr = { xmlns = xmlns }; tags = children or {} };
		function tag.get_child(_, child_name, child_xmlns)
			for _, child in ipairs(tag.tags) do
				if child.name == child_name and (child.attr.xmlns or xmlns) == (child_xmlns or xmlns) then return child; end
			end
		end
		function tag.childtags() return function () end; end
		return tag;
	end

	it("are one of each kind and direction, however many there were, and survive a reload", function ()
		local latch = {};
		local view = { partner = "x.test"; direction = "in"; remote = "y.x.test"; local_host = "a.test"; stage = "established"; method = "sasl"; tls = true;
			certificate = "valid" };
		local recent = new_recent(view, latch);
		for i = 1, 100 do
			recent.refused({ ip = ("9"):rep(500) }, "tls-required", ("r"):rep(10000)..i);
			recent.established({ ip = "192.0.2.1"; conn = with_tls }, view);
		end
		local list = new_recent(view, latch).of("x.test");
		assert.equal(4, #list);
		assert.same({ "in established", "in refused", "out established", "out refused" }, { list[1].direction.." "..list[1].kind,
			list[2].direction.." "..list[2].kind, list[3].direction.." "..list[3].kind, list[4].direction.." "..list[4].kind });
		assert.is_nil(list[3].kept);
		assert.same({ time = 1.5; address = "192.0.2.1"; remote = "y.x.test"; host = "a.test"; method = "sasl"; tls = "TLSv1.3"; certificate = "valid" },
			list[1].kept);
		assert.is_true(#list[2].kept.rule < 400 and #list[2].kept.address < 100);
		assert.equal("tls-required", recent.reason("x.test"));
		assert.is_nil(recent.reason("z.test"));
	end);

	it("are of listed partners alone", function ()
		for _, view in ipairs({ { direction = "in" }, { direction = "in"; partner = "unlisted" } }) do
			local latch = {};
			local recent = new_recent(view, latch);
			recent.refused({}, "unlisted-domain", "rule");
			assert.same({}, latch.recent);
		end
		local recent = new_recent(nil, {});
		recent.refused({}, "internal-error", "rule");
		assert.same({}, recent.kept);
	end);

	it("have what was offered before TLS and over it, and nothing that the peer wrote", function ()
		local view = { partner = "x.test"; direction = "out" };
		local recent, note = new_recent(view, {});
		local session = { type = "s2sout_unauthed" };
		local tls = "urn:ietf:params:xml:ns:xmpp-tls";
		assert.is_nil(note({ origin = session; stanza = element("features", "s", { element("starttls", tls, { element("required", tls) }),
			element("evil", "x", {}) }) }));
		session.conn = with_tls;
		note({ origin = session; stanza = element("features", "s", { element("dialback", "urn:xmpp:features:dialback") }) });
		recent.refused(session, "sasl-required", "rule");
		local kept = recent.of("x.test")[4].kept;
		assert.same({ "STARTTLS required", "dialback" }, { kept.before, kept.over });
		-- Neither what is no stanza nor a stream that is through stops anything.
		assert.is_nil(note({ origin = session; stanza = {} }));
		assert.is_nil(note({ origin = { type = "s2sout" }; stanza = {} }));
	end);
end);
