-- Several exports at once, each known by its content; and the lists of other servers.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
require "prosody_library";
local stub = require "config_stub";
local native = stub.native();
local fixtures = source.."/fixtures/import/";
local sources = stub.library("import/sources");

local function fixture(name)
	return { name = fixtures..name; text = assert(sources.read_file(fixtures..name)) };
end

local function text(content, name)
	return { name = name or "file"; text = content };
end

-- The options that the configuration sets, those of hosts under their names, the text and how much is impossible.
local function import(...)
	local config, impossible, problem = sources.convert(native, { ... });
	assert(config, problem);
	assert.truthy(utf8.len(config));
	local hosts, current = { ["*"] = {} }, "*";
	local env = setmetatable({ VirtualHost = function (name)
		hosts[name], current = {}, name;
	end }, { __newindex = function (_, key, value) hosts[current][key] = value; end });
	assert(load(config, "=config", "t", env))();
	return hosts["*"], config, impossible, hosts;
end

local function refused(told, ...)
	local config, name, problem = sources.convert(native, { ... });
	assert.is_nil(config);
	assert.truthy(problem:find(told, 1, true), problem);
	assert.falsy(problem:find("%c"));
	return name;
end

local function has(config, ...)
	for _, wanted in ipairs({ ... }) do assert.truthy(config:find(wanted, 1, true), wanted.."\n"..config); end
end

describe("the gateway's configuration", function ()
	it("becomes limits, and its passphrase is not printed", function ()
		local options, config, impossible = import(fixture("gateway.xml"));
		assert.same({ s2s_partners_limits = { connections = 1200; partner_connections = 25; establishment_timeout = 45;
			inactivity_timeout = 900; keepalive_interval = 300 } }, options);
		assert.equal(0, impossible);
		assert.falsy(config:find("hunter2", 1, true));
		has(config, "DialbackPassphrase: is set there", "EnableLoggingAllMessageBodies: is True there");
	end);

	it("says what of it is impossible", function ()
		local options, config, impossible = import(text('{"Identity":"Global","ConnectionLimit":0,"PartnerConnectionLimit":"many",'
			..'"StreamEstablishmentTimeout":60,"KeepAliveInterval":1.5}'));
		assert.same({ s2s_partners_limits = { establishment_timeout = 60 } }, options);
		assert.equal(3, impossible);
		has(config, "PartnerConnectionLimit is many", "ConnectionLimit: s2s_partners_limits.connections: got 0",
			"StreamInactivityTimeout is not in the export");
	end);

	it("is one in an organisation", function ()
		assert.equal("other", refused("a second gateway configuration; first has one already", text('{"PartnerConnectionLimit":1}', "first"),
			text('{"PartnerConnectionLimit":2}', "other")));
	end);
end);

describe("policies and users", function ()
	it("become external access; users without a policy have what Global says", function ()
		local options, _, impossible = import(fixture("policies.json"), fixture("users.json"));
		assert.same({ s2s_partners_external_access = { default = "deny"; users = { ann = "allow"; ["eva.müller"] = "allow" } } }, options);
		assert.equal(0, impossible);
		assert.same(options, (import(fixture("users.json"), fixture("policies.json"))));
	end);

	it("are accepted by the validator", function ()
		local options = import(fixture("policies.json"), fixture("users.json"));
		local policy = native.compile_policy({ table = native.compile_table({}); external_access = options.s2s_partners_external_access });
		assert.is_false(policy:external_access("bob"));
		assert.is_true(policy:external_access("ann"));
	end);

	it("deny when nothing is known", function ()
		local options, config = import(text('[{"Identity":"Global","EnableFederationAccess":true}]'));
		assert.equal("deny", options.s2s_partners_external_access.default);
		has(config, "EnableXmppAccess of the policy Global is not in the export; taken as False");
		assert.equal("deny", import(text('[{"Identity":"Tag:x","EnableXmppAccess":true}]'),
			text('[{"SipAddress":"sip:a@contoso.com"}]')).s2s_partners_external_access.default);
		assert.equal("allow", import(text('[{"Identity":"Global","EnableXmppAccess":true}]')).s2s_partners_external_access.default);
	end);

	it("take the stricter where a site has another policy", function ()
		local options, config, impossible = import(
			text('[{"Identity":"Global","EnableXmppAccess":true},{"Identity":"Site:Redmond","EnableXmppAccess":false}]'),
			text('[{"SipAddress":"sip:a@contoso.com"},{"SipAddress":"sip:b@contoso.com","ExternalAccessPolicy":"Global"}]'));
		assert.same({ default = "deny"; users = { b = "allow" } }, options.s2s_partners_external_access);
		assert.equal(1, impossible);
		has(config, "no export says whose site that is");
	end);

	it("say who could not be carried over", function ()
		local options, config, impossible = import(
			text('[{"Identity":"Global","EnableXmppAccess":true},{"Identity":"Tag:odd","EnableXmppAccess":"perhaps"}]'),
			text('[{"SipAddress":"sip:a@contoso.com","ExternalAccessPolicy":"gone"},{"SipAddress":"tel:"},{"SipAddress":"sip:a@contoso.com"},'
				..'{"SipAddress":"sip:c\\nevil=1@contoso.com","ExternalAccessPolicy":"odd"}]'));
		assert.equal("deny", options.s2s_partners_external_access.users.a);
		assert.is_nil(options.evil);
		assert.truthy(impossible >= 4);
		has(config, "a@contoso.com has the policy gone, which is not in the export; denied", "SipAddress is tel:", "is in the export twice",
			"EnableXmppAccess of the policy Tag:odd is perhaps");
		local _, other, more = import(text('[{"Identity":"Global","EnableXmppAccess":false},{"Identity":"Tag:Sales","EnableXmppAccess":true}]'));
		assert.equal(1, more);
		has(other, "who has the policies sales is not in an export");
	end);

	it("of several domains have a section each", function ()
		local options, _, _, hosts = import(fixture("policies.json"), text('[{"SipAddress":"sip:a@contoso.com","ExternalAccessPolicy":"Sales"},'
			..'{"SipAddress":"sip:a@corp.contoso.com"}]'), fixture("gateway.xml"));
		assert.same({ default = "deny"; users = {} }, options.s2s_partners_external_access);
		assert.equal(1200, options.s2s_partners_limits.connections);
		assert.same({ default = "deny"; users = { a = "allow" } }, hosts["contoso.com"].s2s_partners_external_access);
		assert.same({ default = "deny"; users = {} }, hosts["corp.contoso.com"].s2s_partners_external_access);
	end);

	it("without policies say nothing", function ()
		refused("but no policies", fixture("users.json"));
	end);
end);

describe("partners", function ()
	it("of a remote session have their enumerations as number and name", function ()
		local options, config, impossible = import(fixture("remote_session.json"));
		assert.same({ domain = "fabrikam.com"; additional_domains = { "corp.fabrikam.com" }; partner_type = "federated"; tls = "required";
			sasl = "optional"; dialback = true; connection_limit = 20; keepalive = true }, options.s2s_partners[1]);
		assert.equal(0, impossible);
		assert.falsy(config:find("-- verify:", 1, true));
		local xml = '<Objs><Obj RefId="0"><Props><S N="Identity">a.example</S><Obj N="TlsNegotiation" RefId="1"><I32>1</I32><MS>'
			..'<S N="Value">Optional</S></MS></Obj></Props></Obj></Objs>';
		assert.equal("optional", import(text(xml)).s2s_partners[1].tls);
	end);

	it("whose number and name differ are impossible", function ()
		local options, config, impossible = import(text('{"Identity":"a.example","TlsNegotiation":{"value":2,"Value":"Required"}}'));
		assert.equal(0, #options.s2s_partners);
		assert.equal(1, impossible);
		has(config, "TlsNegotiation is both the number 2 and the name Required");
	end);

	it("come with everything else, in one configuration", function ()
		local options, config, impossible = import(fixture("partners.xml"), fixture("policies.json"), fixture("gateway.xml"), fixture("users.json"),
			fixture("openfire.csv"));
		assert.equal(10, #options.s2s_partners);
		assert.equal(2, impossible); -- the two of openfire.csv, which the export has already
		assert.truthy(options.s2s_partners_limits and options.s2s_partners_external_access);
		assert.falsy(config:find("Not carried over", 1, true));
		has(config, "Imported from partners.xml, policies.json, gateway.xml, users.json, openfire.csv");
	end);

	it("alone say what else there is to export, and which default is the other way round", function ()
		local _, config = import(fixture("partners.xml"));
		has(config, "Not carried over", "Get-CsXmppGatewayConfiguration", "NOBODY has XMPP access there, and EVERYBODY has it here");
	end);
end);

describe("lists of other servers", function ()
	local entry = { partner_type = "public_unverified"; tls = "required"; sasl = "optional"; dialback = true; keepalive = false };
	local function entries(...)
		local list = {};
		for i, domain in ipairs({ ... }) do
			list[i] = { domain = domain };
			for key, value in pairs(entry) do list[i][key] = value; end
		end
		return list;
	end

	it("are read of Prosody, without running anything", function ()
		local options, config, impossible = import(fixture("whitelist.cfg.lua"));
		assert.same(entries("fabrikam.com", "litware.com", "wingtip.example", "tailspin.example"), options.s2s_partners);
		assert.equal(0, impossible);
		has(config, "s2s_whitelist of contoso.com, line 9: for that host alone", "also in s2s_whitelist of contoso.com");
	end);

	it("of Prosody are plain lists", function ()
		for _, bad in ipairs({ 's2s_whitelist = require "x"', "s2s_whitelist = { domain() }", 's2s_whitelist = { "a.example" .. x }', "s2s_whitelist = nil",
			's2s_whitelist = { "a.example"', 's2s_whitelist = { "a\\046example" }', 's2s_whitelist = { "a.example" } + more',
			'x = { s2s_whitelist = { "a.example" } }', 's2s_whitelist', 's2s_whitelist = { x = "a.example" }', 's2s_whitelist = { "a\nb" }' }) do
			refused("has to be a plain list of quoted domains", text(bad));
		end
		refused("sets no s2s_whitelist", text('-- s2s_whitelist = { "a.example" }'));
	end);

	it("are read of ejabberd", function ()
		local options, _, impossible = import(fixture("ejabberd.yml"));
		assert.same(entries("fabrikam.com", "litware.com", "wingtip.example"), options.s2s_partners);
		assert.equal(0, impossible);
		assert.same(entries("a.example"), import(text("s2s_access:\n  - allow: f\nacl: {f: {server: a.example}}\n")).s2s_partners);
	end);

	it("of ejabberd are whole or refused", function ()
		refused("everybody may federate", text("s2s_access: all\n"));
		refused("nobody may federate", text("s2s_access: none\n"));
		refused("everybody else may federate", text("s2s_access:\n - deny: b\n - allow\nacl: {b: {server: b.example}}\n"));
		refused("access_rules.x, which s2s_access names, is not there", text("s2s_access: x\n"));
		refused("acl.f, which s2s_access uses, is not there", text("s2s_access:\n - allow: f\n"));
		refused("has to be the name of a rule", text("s2s_access:\n  allow: all\n"));
		refused("has to be the name of a rule", text("s2s_access:\n - {allow: f, deny: g}\n"));
		refused("has to be the name of a rule", text("f: &f x\ns2s_access: *f\n"));
		refused("cannot be read", text("s2s_access: [\n"));
		refused("has s2s_access twice", text("s2s_access: a\ns2s_access: b\n"));
		refused("nested too deeply", text("s2s_access: "..("["):rep(40)));
		local options, config, impossible = import(text("s2s_access:\n - allow: f\nacl:\n  f: {server: a.example, server_regexp: '.*'}\n"
			.."host_config:\n  contoso.com:\n    s2s_access: all\n"));
		assert.equal(1, #options.s2s_partners);
		assert.equal(2, impossible);
		has(config, "acl.f has server_regexp, which names no single domain", "host_config has an s2s_access of its own for contoso.com");
	end);

	it("are read of Openfire", function ()
		local options, config, impossible = import(fixture("openfire.csv"));
		assert.same(entries("fabrikam.com", "litware.com"), options.s2s_partners);
		assert.equal(0, impossible);
		has(config, 'port 5270 there, used when DNS has no SRV record: proxy = "HOST:5270"');
		assert.same(entries("a.example"), import(text('"PERMISSION";"XMPPDOMAIN"\n"ALLOWED";"A.example"\n')).s2s_partners);
	end);

	it("of Openfire have ports, or a comment that says what is there instead", function ()
		for _, port in ipairs({ "5270.5", "1e309", "65536", "nan", "-1", "0x10", "123456" }) do
			local options, config, impossible = import(text("xmppDomain,remotePort,permission\na.example,"..port..",allowed\n"));
			assert.same(entries("a.example"), options.s2s_partners);
			assert.equal(0, impossible);
			has(config, "its remotePort "..port.." is no port from 0 to 65535, and is left out");
		end
		for _, port in ipairs({ "", " ", "0", " 5269 " }) do
			local _, config = import(text("xmppDomain,remotePort,permission\na.example,"..port..",allowed\n"));
			assert.falsy(config:lower():find("port ", 1, true), config);
		end
	end);

	it("of Openfire are whole or refused", function ()
		refused("only blocks domains", text("xmppDomain,permission\nb.example,blocked\n"));
		refused("has no domains", text("xmppDomain,permission\n"));
		refused("line 2 has a quotation mark that is not closed", text('xmppDomain,permission\n"b.example,blocked\n'));
		local _, config, impossible = import(text("xmppDomain,permission\nb.example,perhaps\na.example,allowed\n,allowed\nc.example\n"));
		assert.equal(3, impossible);
		has(config, "line 2: permission is perhaps");
	end);

	it("carry nothing that could leave its line", function ()
		local options = import(text('xmppDomain,permission\n"a.example\nevil = 1 --[[",allowed\n"b.example","x\nevil=1"\nc.example,allowed\n'));
		assert.is_nil(options.evil);
		assert.equal(1, #options.s2s_partners);
	end);
end);

describe("what is not known", function ()
	it("is an error, and never an entry", function ()
		refused("object 1 of 1 with Identity, Name", text('{"Identity":"global","Name":"x"}'));
		refused("object 1 of 1 with Identity", text('{"Identity":"Global"}'));
		refused("object 2 of 2", text('[{"Identity":"a.example","PartnerType":0},{"Identity":"b.example","Kind":1}]'));
		refused("object 1 of 1", text('{"SipAddress":"sip:a@b.example","PartnerType":0}'));
		refused("has no objects", text("[]"));
		refused("is neither what Export-Clixml", text("hello"));
		refused("is neither what Export-Clixml", text("a,b\n1,2\n"));
		refused("is neither what Export-Clixml", text(""));
		assert.equal("second", refused("is neither", fixture("openfire.csv"), text("hello", "second")));
	end);

	it("is bounded", function ()
		refused("more than 20000 domains", text("s2s_whitelist = {"..('"a.example",'):rep(20001).."}"));
		refused("more than 20000 domains", text("xmppDomain,permission\n"..("a.example,allowed\n"):rep(20001)));
		refused("more than 100 columns", text("xmppDomain,permission\n"..(",x"):rep(100)));
		local started = os.clock();
		refused("sets no s2s_whitelist", text("-- s2s_whitelist\n"..("[[x]] --[[ "):rep(20000)));
		refused("has to be a plain list", text("s2s_whitelist = {"..("'"):rep(100001)));
		assert.truthy(os.clock() - started < 10);
	end);
end);
