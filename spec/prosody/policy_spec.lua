-- Tables and policies through the shared object: every configuration of fixtures/config with its exact messages, and what
-- Lua gets to see of a policy.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local lfs = require "lfs";

local native = stub.native();
local fixtures = source.."/fixtures/config/";
local PIN = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

local function read_lines(path)
	local lines = {};
	for line in io.lines(path) do table.insert(lines, line); end
	return lines;
end

local function config_files(kind)
	local files = {};
	for name in lfs.dir(fixtures..kind) do
		local base = name:match("^(.*)%.cfg%.lua$");
		if base then table.insert(files, base); end
	end
	table.sort(files);
	return files;
end

local function compile(list, spec)
	spec = spec or {};
	local partners, issues = native.compile_table({ lists = { { place = "s2s_partners"; list = list } }; local_domains = spec.local_domains });
	if not partners then return nil, issues; end
	return native.compile_policy({
		table = partners; default = spec.default; limits = spec.limits; external_access = spec.external_access;
		options = spec.options or { require_encryption = false };
	});
end

local function messages(issues)
	local texts = {};
	for i, issue in ipairs(issues) do texts[i] = issue.message; end
	return texts;
end

describe("configurations", function ()
	for _, base in ipairs(config_files("good")) do
		it("accepts "..base, function ()
			local found, policy = stub.check(native, fixtures.."good/"..base..".cfg.lua");
			assert.same(read_lines(fixtures.."good/"..base..".expected"), found);
			assert.truthy(policy);
		end);
	end

	local cases = 0;
	for _, base in ipairs(config_files("bad")) do
		local expected = read_lines(fixtures.."bad/"..base..".expected");
		cases = cases + #expected;
		it("refuses "..base, function ()
			local found, policy, failed = stub.check(native, fixtures.."bad/"..base..".cfg.lua");
			assert.same(expected, found);
			assert.is_nil(policy);
			assert.is_true(failed);
		end);
	end

	it("are many", function ()
		assert.is_true(cases >= 60);
	end);

	it("give messages of one line without control bytes", function ()
		for _, base in ipairs(config_files("bad")) do
			for _, line in ipairs(read_lines(fixtures.."bad/"..base..".expected")) do
				assert.is_nil(line:find("[%z\1-\31\127]"), base);
				assert.is_nil(line:find("\u{202E}", 1, true), base);
			end
		end
	end);
end);

describe("issues", function ()
	it("have all their parts", function ()
		local _, issues = native.compile_table({ lists = { { place = "partners.d/eu.cfg.lua"; list = {
			{ domain = "fabrikam.com"; partner_type = "public-verified" } } } } });
		assert.same({ {
			severity = "error"; code = "unknown-value"; path = 'partners.d/eu.cfg.lua[1] ("fabrikam.com").partner_type';
			got = '"public-verified"'; expected = 'must be "federated", "public_verified" or "public_unverified"';
			nearest = "public_verified";
			message = 'partners.d/eu.cfg.lua[1] ("fabrikam.com").partner_type: got "public-verified"; must be "federated", '
				..'"public_verified" or "public_unverified"; did you mean "public_verified"?';
		} }, issues);
	end);

	it("of the caller come first and are made harmless", function ()
		local partners, issues = native.compile_table({ issues = {
			{ severity = "warning"; code = "no-match"; path = "s2s_partners_files[1]"; got = '"a\27b"'; expected = "no file matches" },
			{ code = "bad-file"; path = "x" },
		}; lists = { { place = "s2s_partners"; list = 1 } } });
		assert.is_nil(partners);
		assert.same({ 's2s_partners_files[1]: got "a\\x1bb"; no file matches', "x: ",
			"s2s_partners: got 1 (a number); must be a list of partners: { { domain = ... }; ... }" }, messages(issues));
		assert.equal("warning", issues[1].severity);
		assert.equal("error", issues[2].severity);
	end);

	it("are capped", function ()
		local list = {};
		for i = 1, 2000 do list[i] = { domain = "a.example"; partner_type = "federated" }; end
		local _, issues = compile(list);
		assert.equal(501, #issues);
		assert.equal("and 1499 more errors", issues[501].message);
	end);

	it("come in the same order every time", function ()
		local first;
		for _ = 1, 20 do
			local partner = { domain = "a.example" };
			for i = 1, 50 do partner["key"..i] = i; end
			local _, issues = compile({ partner });
			first = first or messages(issues);
			assert.same(first, messages(issues));
		end
	end);
end);

describe("words", function ()
	it("of reasons and rules are Prosody's", function ()
		for token, row in pairs(native.reasons) do
			assert.is_nil(row.text:find("[{}]"), token);
			assert.is_nil(row.peer_text:find("[{}]"), token);
			assert.is_nil(row.user_text:find("[{}]"), token);
		end
		assert.truthy(native.reasons["config-invalid"].text:find('Run "prosodyctl mod_s2s_partners check"', 1, true));
		assert.truthy(native.reasons["tls-required"].text:find('set tls = "optional" with dialback = true', 1, true));
		local policy = assert(compile({ { domain = "a.example"; partner_type = "federated" } }));
		local judged = native.simulate_stream(policy, { direction = "in"; domain = "b.example" });
		assert.equal('no entry covers the domain and s2s_partners_default is "refuse"', judged.steps[#judged.steps].rule);
	end);

	it("of a partner that Prosody's options leave nothing name each of them", function ()
		local _, issues = compile({ { domain = "a.example"; partner_type = "federated"; tls = "not_supported"; sasl = "not_supported";
			dialback = true } }, { options = { require_encryption = true; secure_auth = true; secure_domains = { "A.example." } } });
		assert.same({ 's2s_partners[1] ("a.example").tls: got "not_supported"; leaves only TCP dialback, which '
			.."s2s_require_encryption = true (its default), s2s_secure_auth = true and s2s_secure_domains forbid; set "
			..'s2s_require_encryption = false, add "a.example" to s2s_insecure_domains and remove "a.example" from s2s_secure_domains, '
			..'or tls = "required" here' }, messages(issues));
	end);

	it("of dubious options come after those about our own", function ()
		local _, issues = compile({ { domain = "a.example"; partner_type = "federated"; tls = "optional"; sasl = "optional"; dialback = true } },
			{ options = { require_encryption = false; s2s_timeout = 30; secure_domains = { "a.example" } };
				limits = { establishment_timeout = 90; connections = 5 } });
		assert.same({
			"s2s_partners_limits.partner_connections: got 20; never reached, all partners together may have 5; lower it, or raise connections",
			"s2s_require_encryption: got false; streams without TLS are then kept out by this module alone; remove it unless a partner has no TLS",
			"s2s_timeout: got 30; ends streams before s2s_partners_limits.establishment_timeout = 90 does; raise it, or lower that",
			's2s_secure_domains: takes TCP dialback away from 1 partner ("a.example"); remove their domains from it, or set tls = "required" for them',
			's2s_secure_domains: allows TLS dialback only with a valid certificate to 1 partner ("a.example"); remove their domains from it '
				.."where dialback alone must do",
		}, messages(issues));
	end);
end);

describe("tables", function ()
	-- Of few keys and of many, which are read in different ways.
	it("of any number of keys are read alike", function ()
		for count = 1, 40 do
			local partner, expected = { domain = "a.example"; partner_type = "federated" }, {};
			for number = count, 1, -1 do
				partner[("key%02d"):format(number)], expected[number] = number, ('s2s_partners[1] ("a.example").key%02d'):format(number);
			end
			local _, issues = compile({ partner });
			for number, issue in ipairs(issues) do
				assert.equal(expected[number], issue.path);
				assert.equal(tostring(number), issue.got);
			end
			assert.equal(count, #issues);
		end
	end);

	it("of any number of partners are read alike", function ()
		for count = 1, 40 do
			local list = {};
			for number = 1, count do
				list[number] = { domain = ("p%d.example"):format(number); partner_type = "federated"; additional_domains = {} };
				for extra = 1, number do list[number].additional_domains[extra] = ("a%d.p%d.example"):format(extra, number); end
			end
			local policy = assert(compile(list));
			for number, partner in ipairs(policy:partners()) do
				assert.equal(list[number].domain, partner.name);
				assert.same(list[number].additional_domains, partner.additional_domains);
			end
			assert.equal(count, policy:count());
		end
	end);
end);

describe("values", function ()
	local trap = setmetatable({}, { __index = function () error("metamethod") end; __len = function () error("metamethod") end;
		__pairs = function () error("metamethod") end; __tostring = function () error("metamethod") end });

	it("are read raw", function ()
		local list = setmetatable({ setmetatable({ domain = "a.example"; partner_type = "federated"; description = trap }, getmetatable(trap)) },
			getmetatable(trap));
		local policy, issues = compile(list);
		assert.is_nil(policy);
		assert.same({ 's2s_partners[1] ("a.example").description: got a table; must be text' }, messages(issues));
	end);

	it("of every type are refused everywhere without an error", function ()
		local values = { true, false, 0, -1, 1.5, 0/0, 1/0, math.maxinteger, "", "\0", ("x"):rep(100000), {}, { {} }, { { { {} } } },
			print, coroutine.create(print), io.stdout, trap, { [1] = 1; [3] = 3 }, { [{}] = {} }, { [true] = false }, { [math.mininteger] = 1 },
			{ [math.maxinteger] = 1 }, { [0/1] = 1, [-0.5] = 2, [1/0] = 3 } };
		local keys = { "domain", "additional_domains", "description", "partner_type", "tls", "sasl", "dialback", "trust_anchors",
			"pinned_keys", "connection_limit", "keepalive", "proxy", "presence_authorization", "group_chat", "personal_events", "external_access", "unknown" };
		for _, value in ipairs(values) do
			assert.is_nil((compile({ value })));
			for _, key in ipairs(keys) do
				local _, issues = compile({ { domain = "a.example"; [key] = value } });
				assert.is_table(issues);
				_, issues = compile({}, { default = { partner_type = "federated"; [key] = value } });
				assert.is_table(issues);
			end
			for _, option in ipairs({ "default", "limits", "external_access" }) do
				assert.is_nil((compile({}, { [option] = { [1] = value; users = value; connections = value; tls = value } })));
			end
			assert.is_table(select(2, compile(value)));
		end
	end);

	it("may be a table that contains itself", function ()
		local list = {};
		list[1] = list;
		list.domain = list;
		assert.is_nil((compile(list)));
	end);
end);

describe("a policy", function ()
	local list = {
		{ domain = "Fabrikam.com"; description = "Fabrikam, contract 2231"; additional_domains = { "*.fabrikam.com", "corp.example" };
			partner_type = "federated"; tls = "optional"; sasl = "optional"; dialback = true; trust_anchors = "certs/ca.pem";
			pinned_keys = { PIN }; connection_limit = 7; keepalive = true; proxy = "[2001:db8::1]"; group_chat = "refuse" };
		{ domain = "bücher.example"; partner_type = "public_unverified" };
	};

	it("shows every setting of a partner", function ()
		local policy = compile(list);
		assert.same({
			name = "fabrikam.com"; description = "Fabrikam, contract 2231"; place = "s2s_partners[1]";
			additional_domains = { "*.fabrikam.com", "corp.example" }; partner_type = "federated";
			tls = "optional"; sasl = "optional"; dialback = true;
			methods = { "sasl", "tls_dialback", "tcp_dialback" }; row_methods = { "sasl", "tls_dialback", "tcp_dialback" };
			match = "wildcard"; trust_anchors = "certs/ca.pem"; pins = 1; pinned_keys = { PIN };
			crls = {}; revocation = "off"; host_crls = false;
			connection_limit = 7; keepalive = true; proxy = "[2001:db8::1]:5269"; proxy_host = "2001:db8::1"; proxy_port = 5269;
			presence_authorization = "automatic"; group_chat = "refuse"; personal_events = "allow";
			given = { tls = true; sasl = true; dialback = true; connection_limit = true; keepalive = true; group_chat = true };
		}, policy:find("a.b.FABRIKAM.com."));
		assert.same({
			name = "xn--bcher-kva.example"; description = ""; place = "s2s_partners[2]"; additional_domains = {};
			partner_type = "public_unverified"; tls = "required"; sasl = "required"; dialback = false;
			methods = { "sasl" }; row_methods = { "sasl" }; match = "primary"; pins = 0; pinned_keys = {};
			crls = {}; revocation = "off"; host_crls = false;
			connection_limit = 20; keepalive = false; presence_authorization = "user"; group_chat = "refuse"; personal_events = "refuse";
			given = {};
		}, policy:find("BÜCHER.example"));
		assert.equal("additional", policy:find("corp.example").match);
	end);

	it("looks at revocation where there are lists for it", function ()
		local cases = {
			{ {}, "off", "if_known" }, { { crls = "a.crl" }, "if_known", "if_known" },
			{ { trust_anchors = "ca.pem" }, "off", "off" }, { { trust_anchors = "ca.pem"; crls = { "a.crl" } }, "if_known", "if_known" },
			{ { revocation = "off"; crls = "a.crl" }, "off", "off" }, { { revocation = "required" }, "required", "required" },
			{ { revocation = "if_known" }, "if_known", "if_known" },
		};
		for i, case in ipairs(cases) do
			local partner = { domain = "fabrikam.com"; partner_type = "federated"; tls = "required" };
			for key, value in pairs(case[1]) do partner[key] = value; end
			for j, crls in ipairs({ false, true }) do
				local view = compile({ partner }, { options = { require_encryption = true; allow_encryption = true; crls = crls } }):find("fabrikam.com");
				assert.equal(case[j + 1], view.revocation, i);
				assert.equal(crls and not partner.trust_anchors, view.host_crls, i);
				assert.equal(partner.revocation ~= nil or nil, view.given.revocation);
				assert.same(partner.crls and { "a.crl" } or {}, view.crls);
			end
		end
	end);

	it("tells who has lists, and who has pins", function ()
		local policy = compile({
			{ domain = "a.example"; partner_type = "federated"; crls = { "a.crl", "b/*.crl" } },
			{ domain = "b.example"; partner_type = "federated"; pinned_keys = { PIN } },
			{ domain = "c.example"; partner_type = "federated"; revocation = "required"; trust_anchors = "ca.pem" },
		}, { options = { require_encryption = true; allow_encryption = true; crls = true };
			default = { partner_type = "public_unverified"; crls = "d.crl"; pinned_keys = { PIN } } });
		assert.same({
			{ partner = "a.example"; place = "s2s_partners[1]"; revocation = "if_known"; host_crls = true; patterns = { "a.crl", "b/*.crl" } },
			{ partner = "c.example"; place = "s2s_partners[3]"; revocation = "required"; host_crls = false; patterns = {} },
			{ partner = "unlisted"; place = "s2s_partners_default"; revocation = "if_known"; host_crls = true; patterns = { "d.crl" } },
		}, native.partner_crls(policy));
		assert.same({ { name = "b.example"; pins = { PIN } }, { name = "unlisted"; pins = { PIN } } }, native.pinned_partners(policy));
	end);

	it("finds nobody else", function ()
		local policy = compile(list, { local_domains = { "own.fabrikam.com" } });
		for _, name in ipairs({ "", ".", "com", "afabrikam.com", "fabrikam.com\0", "fabrikam.com.evil.example", "fabrikam。com",
			"bob@fabrikam.com", "fabrikam.com/x", "192.0.2.1", "own.fabrikam.com", ("a."):rep(200).."fabrikam.com" }) do
			assert.is_nil(policy:find(name), name);
			assert.equal("unlisted", policy:label(name));
		end
		assert.equal("fabrikam.com", policy:label("x.fabrikam.com"));
		assert.equal("refused", policy:unlisted());
		assert.is_nil(policy:default());
	end);

	it("lists its partners in order", function ()
		local policy = compile(list);
		assert.equal(2, policy:count());
		assert.equal(2, policy:table():count());
		local partners = policy:partners();
		assert.equal(2, #partners);
		assert.equal("fabrikam.com", partners[1].name);
		assert.equal("xn--bcher-kva.example", partners[2].name);
		for position, partner in ipairs(partners) do
			assert.same({ partner.name, table.unpack(partner.additional_domains) }, policy:domains(position));
		end
		for _, position in ipairs({ 0, -1, 3, math.maxinteger, math.mininteger }) do assert.is_nil(policy:domains(position)); end
	end);

	it("says whose users' requests are authorised automatically", function ()
		local some = {};
		for i, which in ipairs({ "user"; "automatic"; "automatic"; "user"; "automatic" }) do
			some[i] = { domain = ("p%d.example"):format(i); partner_type = "federated"; presence_authorization = which };
		end
		some[6] = { domain = "p6.example"; partner_type = "public_verified" }; -- the default of its type
		some[7] = { domain = "p7.example"; partner_type = "public_unverified" };
		local policy = assert(compile(some));
		assert.same({ { "p2.example"; "p3.example"; "p5.example"; "p6.example" }; 4 }, { policy:automatic(5) });
		assert.same({ { "p2.example"; "p3.example" }; 4 }, { policy:automatic(2) });
		for _, most in ipairs({ 0, -1, math.mininteger }) do assert.same({ {}; 4 }, { policy:automatic(most) }); end
	end);

	it("may have one for unlisted domains", function ()
		local policy = compile({}, { default = { partner_type = "public_verified"; sasl = "optional"; dialback = true } });
		assert.equal("default", policy:find("stranger.example").match);
		assert.equal("unlisted", policy:find("stranger.example").name);
		assert.equal("unlisted", policy:label("stranger.example"));
		assert.equal("public_verified, tls required, sasl optional, dialback yes", policy:unlisted());
		assert.equal("s2s_partners_default", policy:default().place);
	end);

	it("has limits and external access", function ()
		local policy = compile({}, { limits = { connections = 5; partner_connections = 2 };
			external_access = { default = "deny"; users = { alice = "allow" } } });
		assert.same({ connections = 5; partner_connections = 2; establishment_timeout = 60; inactivity_timeout = 600;
			keepalive_interval = 300 }, policy:limits());
		assert.is_true(policy:external_access("alice"));
		assert.is_false(policy:external_access("bob"));
	end);

	it("lets personal events go where status notes go, unless it says otherwise", function ()
		for _, case in ipairs({ { "federated", nil, "allow" }, { "public_verified", nil, "refuse" }, { "public_unverified", nil, "refuse" },
			{ "federated", "refuse", "refuse" }, { "public_verified", "allow", "allow" }, { "public_unverified", "allow", "allow" } }) do
			local partner = compile({ { domain = "a.example"; partner_type = case[1]; personal_events = case[2] } }):find("a.example");
			assert.equal(case[3], partner.personal_events);
			assert.equal(case[2] and true or nil, partner.given.personal_events);
		end
	end);

	it("has the external access of a partner", function ()
		local policy = compile({ { domain = "a.example"; partner_type = "federated"; external_access = { default = "deny"; users = { bob = "allow" } } };
			{ domain = "b.example"; partner_type = "federated" } }, { external_access = { users = { carol = "deny" } } });
		assert.is_true(policy:external_access("bob", "a.example"));
		assert.is_false(policy:external_access("dave", "a.example"));
		assert.is_true(policy:external_access("dave", "b.example"));
		assert.is_false(policy:external_access("carol", "b.example"));
		assert.is_true(policy:external_access("dave"));
		assert.same({ default = "deny"; users = 1 }, policy:find("a.example").external_access);
		assert.is_true(policy:find("a.example").given.external_access);
		assert.is_nil(policy:find("b.example").external_access);
	end);

	it("says what the host's options leave", function ()
		local policy, issues = compile({ { domain = "a.example"; partner_type = "federated"; tls = "optional"; sasl = "optional"; dialback = true } },
			{ options = {} });
		assert.same({ "sasl", "tls_dialback" }, policy:find("a.example").methods);
		assert.same({ "sasl", "tls_dialback", "tcp_dialback" }, policy:find("a.example").row_methods);
		assert.equal("fallback-lost", issues[1].code);
	end);

	it("keeps its table", function ()
		local policy = compile(list);
		for _ = 1, 5 do collectgarbage(); end
		assert.equal("fabrikam.com", policy:find("fabrikam.com").name);
		local partners = policy:table();
		policy = nil; -- luacheck: ignore 311
		collectgarbage();
		assert.equal(2, partners:count());
	end);

	it("cannot be had of anything else", function ()
		local policy = compile(list);
		assert.has_error(function () policy.find({}, "fabrikam.com"); end);
		assert.has_error(function () policy.find(policy:table(), "fabrikam.com"); end);
		assert.has_error(function () policy:find(nil); end);
		assert.has_error(function () native.compile_policy({ table = policy }); end);
		assert.has_error(function () native.compile_policy({}); end);
		assert.has_error(function () native.compile_table(); end);
		assert.is_false(getmetatable(policy));
	end);
end);

describe("canonical_domain", function ()
	it("gives A-labels or says what is wrong", function ()
		assert.equal("xn--bcher-kva.example", (native.canonical_domain("BÜCHER.example.")));
		local name, fault = native.canonical_domain("192.0.2.1");
		assert.is_nil(name);
		assert.equal("is an IP address, not a domain", fault);
	end);
end);

describe("memory", function ()
	it("holds under a collector that never rests", function ()
		local mode = collectgarbage("generational");
		collectgarbage("incremental", 0, 1000, 0);
		for _ = 1, 20 do
			local policy = compile({ { domain = "a.example"; partner_type = "federated"; additional_domains = { "b.example", "*.c.example" } } });
			collectgarbage();
			assert.equal("a.example", policy:find("x.c.example").name);
			compile({ { domain = 1; [{}] = {}; additional_domains = { 1, 2 } } });
		end
		collectgarbage(mode, 0, 0, 0);
	end);

	it("of a list is not Lua's once it is compiled", function ()
		local function large()
			local big = {};
			for i = 1, 10000 do big[i] = { domain = ("p%d.example"):format(i); partner_type = "federated" }; end
			return (compile(big));
		end
		collectgarbage(); collectgarbage();
		local before = collectgarbage("count");
		local policy = large();
		collectgarbage(); collectgarbage();
		assert.is_true(collectgarbage("count") - before < 100);
		assert.equal(10000, policy:count());
	end);
end);
