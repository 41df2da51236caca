-- Suggested lists: who is counted, in which order, what live streams say, and what users write into their rosters to do harm.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
require "prosody_library";
local stub = require "config_stub";
local native = stub.native();
local new_suggestion = stub.library("suggestion").new;

local function suggestion(listed)
	return new_suggestion({ native = native; is_local = function (domain) return domain == "contoso.com"; end;
		listed = function (domain) return listed and listed[domain]; end });
end

local function printed(one)
	local lines = {};
	local count = one.print(function (line)
		assert(not line:find("[\n\r]"), line);
		lines[#lines + 1] = line;
	end);
	local text = table.concat(lines, "\n").."\n";
	local options = {};
	assert(load(text, "=suggestion", "t", options))();
	for name in pairs(options) do assert.equal("s2s_partners", name); end
	assert.equal(count, #options.s2s_partners);
	assert.truthy(native.compile_table({ lists = { { place = "s2s_partners"; list = options.s2s_partners } }; local_domains = {} }));
	return options.s2s_partners, text;
end

local function both(...)
	local contacts = {};
	for _, jid in ipairs({ ... }) do contacts[jid] = { subscription = "both" }; end
	return contacts;
end

describe("a suggestion", function ()
	it("is sorted by users, then by name", function ()
		local one = suggestion();
		one.add_user(both("a@b.example", "b@b.example", "a@c.example", "x@contoso.com"));
		one.add_user(both("a@C.example", "d@a.example"));
		local list, text = printed(one);
		assert.same({ "c.example", "a.example", "b.example" }, { list[1].domain, list[2].domain, list[3].domain });
		assert.same({ domain = "c.example"; partner_type = "public_unverified"; tls = "required"; sasl = "optional"; dialback = true }, list[1]);
		assert.truthy(text:find("1 user: 2 contacts (2 both)", 1, true), text);
		assert.is_true(one.complete());
	end);

	it("counts a user once, with contacts and rooms", function ()
		local one = suggestion();
		one.add_user(both("a@b.example"), { "room@b.example", "other@b.example", "room@contoso.com" });
		local list, text = printed(one);
		assert.equal("allow", list[1].group_chat);
		assert.truthy(text:find("1 user: 1 contact (1 both); 2 bookmarked rooms of 1 user", 1, true), text);
	end);

	it("has what was observed, and takes its methods for evidence", function ()
		local one = suggestion({ ["listed.example"] = "s2s_partners[1]" });
		one.add_user(both("a@b.example"));
		local function counts(method, stanzas) return { stanzas = { ["in"] = stanzas; out = 2 }; streams = { ["in"] = { [method] = 3 }; out = {} } }; end
		one.add_observed("b.example", counts("sasl", 1));
		one.add_observed("c.example", counts("tls_dialback", 5));
		one.add_observed("listed.example", counts("sasl", 9));
		one.observed = { since = 0; left_out = 7 };
		local list, text = printed(one);
		assert.same({ "b.example", "c.example" }, { list[1].domain, list[2].domain });
		assert.same({ "required", "not_supported" }, { list[1].sasl, list[2].sasl });
		assert.truthy(text:find("Observed since 1970-01-01 00:00 UTC: what would have been refused, by domain (INCOMPLETE: 7 more", 1, true), text);
		assert.truthy(text:find("observed: 3 streams in by SASL, 1 stanza in, 2 out", 1, true), text);
		assert.truthy(text:find("observed: 3 streams in by TLS dialback, 5 stanzas in, 2 out", 1, true), text);
	end);

	it("names what is listed, and leaves it out", function ()
		local one = suggestion({ ["b.example"] = "s2s_partners[1]" });
		one.add_user(both("a@b.example"));
		local list, text = printed(one);
		assert.equal(0, #list);
		assert.truthy(text:find("Listed already: b.example (s2s_partners[1])", 1, true));
	end);

	it("asks what the weakest of the streams can do", function ()
		for _, case in ipairs({ { { "sasl" }, "required", "required", false }; { { "sasl", "tls_dialback" }, "required", "not_supported", true };
			{ { "tcp_dialback", "sasl" }, "not_supported", "not_supported", true }; { { "none" }, "required", "optional", true } }) do
			local one = suggestion();
			for _, method in ipairs(case[1]) do
				one.add_stream("b.example", { method = method; direction = "in"; certificate = "valid"; pin = "sha256//x" });
			end
			local list, text = printed(one);
			assert.same({ case[2], case[3], case[4] }, { list[1].tls, list[1].sasl, list[1].dialback });
			assert.equal(1, select(2, text:gsub("sha256//x", "")));
			assert.truthy(text:find("no user has contacts there", 1, true));
		end
	end);

	it("is not led astray by what users write", function ()
		local one = suggestion();
		one.add_user({ ["a@b.example\n} evil = 1 --[["] = { subscription = "both" }; ['"]@x'] = { subscription = "\n" }; ["@"] = {}; ["a@127.0.0.1"] = {};
			["a@c.example/r"] = { subscription = "\nevil" }; ["*.d.example"] = {}; [("x"):rep(3000)] = {}; [""] = {} }, { "", "\0", "r@e.example" });
		local list, text = printed(one);
		for _, entry in ipairs(list) do assert.truthy(entry.domain:match("^[%w.-]+$"), entry.domain); end
		assert.truthy(text:find("Left out, since no domain: ", 1, true));
		assert.truthy(text:find("of unknown subscription", 1, true));
	end);

	it("has a bound, and says what is left out", function ()
		local one = suggestion();
		for user = 0, 20 do
			local contacts = {};
			for i = 1, 1000 do contacts[("a@d%d.example"):format(user * 1000 + i)] = { subscription = "none" }; end
			one.add_user(contacts);
		end
		local list, text = printed(one);
		assert.equal(20000, #list);
		assert.truthy(text:find("INCOMPLETE: only 20000 domains are counted; 1000 contacts more are left out", 1, true));
		assert.is_false(one.complete());
	end);

	it("is incomplete when something could not be read", function ()
		local one = suggestion();
		one.add_problem("the roster of x\n@y");
		local _, text = printed(one);
		assert.truthy(text:find("-- INCOMPLETE: the roster of x @y", 1, true));
		assert.is_false(one.complete());
	end);
end);
