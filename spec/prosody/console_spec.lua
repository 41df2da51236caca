-- What the console stands on: text that fits, simulated streams, counters.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local native = stub.native();
local layout = stub.library("layout");

local function policy_of(list, default)
	local compiled = assert(native.compile_table({ lists = { { place = "s2s_partners"; list = list } } }));
	return assert(native.compile_policy({ table = compiled; default = default; options = { require_encryption = false } }));
end

describe("layout", function ()
	it("wraps at words, and within words that are too long", function ()
		assert.same({ "one two", "three" }, layout.wrap("one two  three", 8));
		assert.same({ "required/", "not_suppor", "ted/yes" }, layout.wrap("required/not_supported/yes", 10));
		assert.same({ "" }, layout.wrap("", 10));
		for width = 1, 30 do
			for _, line in ipairs(layout.wrap("a.very.long.domain.name.example and some words, ünïcödé "..("x"):rep(50).." \255\254bad", width)) do
				assert.is_true((utf8.len(line) or #line) <= width);
			end
		end
	end);

	it("never makes a table wider than the terminal", function ()
		local lines = {};
		local function print(line) lines[#lines + 1] = line; end
		local rows = {};
		for i = 1, 5 do
			rows[i] = { ("label%d."):format(i):rep(30); "public_unverified"; "not_supported/not_supported/yes"; "SASL, TLS dialback, TCP dialback" };
		end
		layout.table(print, { { title = "Partner"; min = 20 }, { title = "Type"; min = 17 }, { title = "tls/sasl/dialback"; min = 17 },
			{ title = "Methods"; min = 13 } }, rows, { { { "  also ", ("d.example, "):rep(50) } } });
		for _, line in ipairs(lines) do
			assert.is_true(#line <= 78, line);
			assert.equal(line:match("^(.-)%s*$"), line);
		end
	end);

	it("lines up columns", function ()
		local lines = {};
		layout.table(function (line) lines[#lines + 1] = line; end, { { title = "A" }, { title = "B"; right = true } },
			{ { "ä", "1" }, { "long", "22" } });
		assert.same({ "A      B", "----  --", "ä      1", "long  22" }, lines);
	end);

	it("makes text from outside harmless", function ()
		assert.equal("a b", layout.plain("a\n\27\0b"));
		assert.equal("a??", layout.plain("a\255\254"));
		assert.equal("äää...", layout.plain(("ä"):rep(10), 6));
	end);
end);

describe("simulate_stream", function ()
	local policy = policy_of({
		{ domain = "fabrikam.com"; partner_type = "federated" };
		{ domain = "any.example"; partner_type = "federated"; tls = "optional"; sasl = "optional"; dialback = true };
		{ domain = "plain.example"; partner_type = "federated"; tls = "not_supported"; sasl = "not_supported"; dialback = true };
		{ domain = "dialback.example"; partner_type = "federated"; sasl = "not_supported"; dialback = true };
	});

	local function outcome(facts)
		local result = native.simulate_stream(policy, facts);
		assert.equal(result.steps[#result.steps].verdict, result.verdict);
		for _, step in ipairs(result.steps) do assert.is_string(step.rule); end
		return result.verdict == "allow" and result.method or result.reason;
	end

	it("gives the verdict of the real steps, both ways", function ()
		local cases = {
			{ "fabrikam.com", {}, "sasl", "sasl" };
			{ "fabrikam.com", { starttls = false }, "tls-required", "tls-required" };
			{ "fabrikam.com", { certificate = "untrusted" }, "certificate-untrusted", "certificate-untrusted" };
			{ "fabrikam.com", { certificate = "expired" }, "certificate-expired", "certificate-expired" };
			{ "fabrikam.com", { sasl = false }, "dialback-not-allowed", "sasl-required" };
			{ "any.example", {}, "sasl", "sasl" };
			{ "any.example", { starttls = false }, "tcp_dialback", "tcp_dialback" };
			{ "any.example", { certificate = "untrusted" }, "tls_dialback", "tls_dialback" };
			{ "any.example", { sasl = false }, "tls_dialback", "tls_dialback" };
			{ "plain.example", {}, "tcp_dialback", "tcp_dialback" };
			{ "plain.example", { starttls_required = true }, "tls-not-supported", "tls-not-supported" };
			{ "dialback.example", {}, "tls_dialback", "tls_dialback" };
			{ "dialback.example", { starttls = false }, "tls-required", "tls-required" };
			{ "evil.example", {}, "unlisted-domain", "unlisted-domain" };
			{ "not a domain", {}, "unlisted-domain", "unlisted-domain" };
		};
		for _, case in ipairs(cases) do
			for i, direction in ipairs({ "in", "out" }) do
				local facts = { domain = case[1]; direction = direction };
				for key, value in pairs(case[2]) do facts[key] = value; end
				assert.equal(case[2 + i], outcome(facts), case[1].." "..direction);
			end
		end
	end);

	it("refuses a stream without domain, and a host without policy", function ()
		assert.equal("no-method-left", outcome({ domain = "fabrikam.com"; direction = "in"; anonymous = true }));
		assert.equal("config-invalid", native.simulate_stream(nil, { domain = "fabrikam.com"; direction = "in" }).reason);
		assert.equal("config-invalid", native.simulate_stream(nil, { domain = "fabrikam.com"; direction = "out" }).reason);
	end);

	it("takes nothing else", function ()
		assert.has_error(function () native.simulate_stream({}, {}); end);
		assert.has_error(function () native.simulate_stream(policy, 1); end);
		assert.equal("unlisted-domain", native.simulate_stream(policy, {}).reason);
	end);
end);

describe("negotiation_rows", function ()
	it("are the 18", function ()
		local rows, seen = native.negotiation_rows(), {};
		for _, row in ipairs(rows) do
			seen[("%s %s %s"):format(row.tls, row.sasl, row.dialback)] = true;
			assert.equal(row.verdict == "error", #row.methods == 0);
		end
		local count = 0;
		for _ in pairs(seen) do count = count + 1; end
		assert.equal(18, count);
	end);
end);

describe("counters", function ()
	local first = policy_of({ { domain = "fabrikam.com"; partner_type = "federated"; additional_domains = { "*.fabrikam.com" } };
		{ domain = "litware.com"; partner_type = "federated" } });

	local function drained(guard)
		local list = {};
		for key, block in pairs(guard.counters) do
			native.drain_counters(block, function (...)
				list[#list + 1] = table.concat({ ... }, " ");
			end);
			if type(key) == "number" then guard.counters[key] = nil; end
		end
		table.sort(list);
		return list;
	end

	it("tell host, partner, direction, decision and reason, and start anew when drained", function ()
		local guard = { counters = {}; policies = { ["a.test"] = first; ["b.test"] = first } };
		for _ = 1, 3 do native.count(guard, "a.test", "x.fabrikam.com", "in", "none"); end
		native.count(guard, "a.test", "litware.com", "out", "status-note-removed");
		native.count(guard, "b.test", "litware.com", "out", "not-listed");
		native.count(guard, "b.test", "evil.example", "in", "unlisted-domain");
		native.count(guard, "b.test", "", "in", "unlisted-domain");
		assert.same({ "a.test fabrikam.com in allow none 3", "a.test litware.com out change status-note-removed 1",
			"b.test litware.com out refuse not-listed 1", "b.test unlisted in refuse unlisted-domain 2" }, drained(guard));
		assert.same({}, drained(guard));
	end);

	it("survive a change of policy", function ()
		local guard = { counters = {}; policies = { ["a.test"] = first } };
		native.count(guard, "a.test", "litware.com", "in", "none");
		guard.policies["a.test"] = policy_of({ { domain = "litware.com"; partner_type = "federated" } });
		collectgarbage();
		native.count(guard, "a.test", "litware.com", "in", "none");
		native.count(guard, "a.test", "fabrikam.com", "in", "unlisted-domain");
		assert.same({ "a.test litware.com in allow none 1", "a.test litware.com in allow none 1",
			"a.test unlisted in refuse unlisted-domain 1" }, drained(guard));
	end);

	it("put the policy for unlisted domains under one name", function ()
		local guard = { counters = {}; policies = { ["a.test"] = policy_of({}, { partner_type = "federated" }) } };
		for i = 1, 100 do native.count(guard, "a.test", ("p%d.example"):format(i), "in", "none"); end
		assert.same({ "a.test unlisted in allow none 100" }, drained(guard));
	end);

	it("ignore what cannot be counted", function ()
		local guard = { counters = {}; policies = {} };
		native.count(guard, "a.test", "litware.com", "in", "none");
		native.count({ policies = { ["a.test"] = first } }, "a.test", "litware.com", "in", "none");
		guard.policies["a.test"] = first;
		native.count(guard, "a.test", "litware.com", "in", "no such reason");
		assert.same({}, drained(guard));
		assert.has_error(function () native.drain_counters({}, print); end);
		assert.has_error(function () native.count(guard, nil); end);
	end);
end);

describe("own_certificate", function ()
	it("says what is wrong with a file", function ()
		local own, problem = native.own_certificate("", "contoso.com");
		assert.is_nil(own);
		assert.equal("holds no certificate in PEM form", problem);
		own, problem = native.own_certificate("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "contoso.com");
		assert.is_nil(own);
		assert.is_string(problem);
		assert.has_error(function () native.own_certificate(("x"):rep(2000000), "contoso.com"); end);
	end);
end);
