-- Settings of relay hosts: what is an error or a warning, and what it costs to find out.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local native = require "config_stub".native();

local HOST = "contoso.test";

describe("settings of relay hosts", function ()
	local world, config, asked, named, accounts, certificate;

	setup(function ()
		certificate = os.tmpname();
		local file = assert(io.open(certificate, "wb"));
		file:write("a certificate");
		file:close();
	end);
	teardown(function () os.remove(certificate); end);

	before_each(function ()
		asked, named, accounts = 0, {}, {};
		config = {
			["*"] = { s2s_inside_interfaces = { "10.1.0.2" }; s2s_interfaces = { "203.0.113.5" }; c2s_interfaces = { "203.0.113.5" }; modules_enabled = {} };
			[HOST] = { s2s_inside = { server = "10.1.0.10:5269"; sasl = "not_supported"; dialback = true }; modules_disabled = { "c2s" } };
		};
		for name, section in pairs(config) do
			if name ~= "*" then setmetatable(section, { __index = config["*"] }); end
		end
		world = lua_world.new({
			["core.configmanager"] = { getconfig = function () return config; end; rawget = function (host, name)
				return config[host] and rawget(config[host], name);
			end };
			["core.usermanager"] = { users = function (host) return next, accounts[host] or {}; end };
			["core.certmanager"] = { create_context = function () return {}, nil, { certificate = certificate }; end };
		});
		world.config = config;
		world.prosody.paths = { config = "/nonexistent" };
		world.prosody.hosts[HOST] = { type = "local"; modules = {}; sessions = {} };
	end);

	-- In words, sorted; and what was compiled.
	local function compile(partners, more)
		more = more or {};
		local watched = setmetatable({ own_certificate = function (_, domain)
			asked = asked + 1;
			return { names_domain = named[domain] == true };
		end }, { __index = native });
		local policies = {};
		if partners then
			local compiled = assert(native.compile_table({ lists = { { place = "s2s_partners"; list = partners } }; issues = {}; local_domains = { HOST } }));
			local policy = assert(native.compile_policy({ table = compiled; options = { require_encryption = true }; issues = {} }));
			for name in pairs(config) do policies[name] = name ~= "*" and policy or nil; end
		end
		local issues, messages = {}, {};
		local result = world.load("inside/inner_settings")(watched).compile(policies, issues, more.observes, more.pause or function () end);
		for _, issue in ipairs(issues) do table.insert(messages, issue.severity..": "..issue.message); end
		table.sort(messages);
		return table.concat(messages, "\n"), result;
	end

	local function partner(domain, additional)
		return { domain = domain; additional_domains = additional; partner_type = "federated"; presence_authorization = "user"; tls = "required";
			sasl = "required"; dialback = false };
	end

	it("are compiled", function ()
		local messages, result = compile({ partner "fabrikam.test" });
		assert.equal("", messages);
		assert.equal("10.1.0.10", result.hosts[HOST].server_host);
		assert.equal(0, asked);
	end);

	describe("with certificates alone", function ()
		before_each(function ()
			config[HOST].s2s_inside = { server = "10.1.0.10:5269"; trust_anchors = "inside-ca.pem" };
		end);

		it("warn of the first partners that the inner certificate does not name", function ()
			named["fabrikam.test"], named["any.northwind.test"] = true, true;
			local messages = compile({ partner "fabrikam.test", partner("northwind.test", { "*.northwind.test" }) });
			assert.truthy(messages:find("does not name northwind.test: the server", 1, true), messages);
			local list = {};
			for i = 1, 400 do list[i] = partner(("p%d.test"):format(i)); end
			asked = 0;
			messages = compile(list);
			assert.truthy(messages:find("does not name p1.test, p2.test, p3.test, p4.test, p5.test and more: the server", 1, true), messages);
			assert.equal(6, asked);
		end);

		it("look for no more than a thousand domains, each once, and let others have their turns", function ()
			local list, pauses, before, longest = {}, 0, 0, 0;
			for i = 1, 30 do
				local additional = {};
				for j = 1, 99 do
					additional[j] = ("a%d.p%d.test"):format(j, i);
					named[additional[j]] = true;
				end
				list[i], named[("p%d.test"):format(i)] = partner(("p%d.test"):format(i), additional), true;
			end
			for i = 1, 20 do
				local host = ("h%d.test"):format(i);
				config[host] = setmetatable({ s2s_inside = config[HOST].s2s_inside; modules_disabled = { "c2s" } }, { __index = config["*"] });
			end
			local messages = compile(list, { pause = function ()
				pauses, longest, before = pauses + 1, math.max(longest, asked - before), asked;
			end });
			assert.is_nil(messages:find("does not name", 1, true), messages);
			assert.equal(1000, asked);
			assert.equal(50, pauses);
			assert.equal(20, longest);
		end);
	end);

	it("need the authority of the inner server where dialback is not left, or keys are pinned", function ()
		local needed = "error: VirtualHost or Component \"contoso.test\": s2s_inside.trust_anchors: is needed where ";
		local function with(more)
			config[HOST].s2s_inside = { server = "10.1.0.10:5269" };
			for key, value in pairs(more) do config[HOST].s2s_inside[key] = value; end
			return compile();
		end
		for _, sasl in ipairs({ "required"; "optional" }) do
			for _, tls in ipairs({ "required"; "optional" }) do
				local messages = with({ tls = tls; sasl = sasl });
				assert.truthy(messages:find(needed.."sasl is required (the default), or there is no dialback: ", 1, true), messages);
				assert.is_nil(with({ tls = tls; sasl = sasl; trust_anchors = "inside-ca.pem" }):find("is needed", 1, true));
			end
		end
		local pinned = { sasl = "not_supported"; dialback = true; pinned_keys = { "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } };
		local messages = with(pinned);
		assert.truthy(messages:find(needed.."there are pinned_keys, ", 1, true), messages);
		pinned.trust_anchors = "inside-ca.pem";
		assert.is_nil(with(pinned):find("is needed", 1, true));
	end);

	-- Else who tries it all the same hears of an internal error, since there is nothing to judge the certificate by.
	it("have no SASL without the authority of the inner server", function ()
		for tls, methods in pairs({ required = { "tls_dialback" }; optional = { "tls_dialback"; "tcp_dialback" } }) do
			config[HOST].s2s_inside = { server = "10.1.0.10:5269"; tls = tls; sasl = "optional"; dialback = true };
			local messages, result = compile();
			assert.truthy(messages:find("^warning: [^\n]*SASL EXTERNAL is never used inside, only dialback$"), messages);
			assert.same(methods, result.hosts[HOST].view.methods);
		end
	end);

	it("do not make a relay host of one that has clients", function ()
		local object = world.prosody.hosts[HOST];
		object.sessions.alice = { sessions = {} };
		local messages = compile();
		assert.truthy(messages:find('"contoso.test": s2s_inside: clients are logged in at this host', 1, true), messages);
		object.sessions = {};
		for _, name in ipairs({ "c2s"; "bosh"; "websocket" }) do
			object.modules = { [name] = {} };
			messages = compile();
			assert.truthy(messages:find(('modules_disabled: got %q; the module is still loaded'):format(name), 1, true), messages);
		end
		object.modules = { tls = {} };
		assert.equal("", (compile()));
		world.prosody.hosts[HOST] = nil; -- prosodyctl has none that runs
		assert.equal("", (compile()));
	end);

	it("have addresses of the inner side alone to listen on", function ()
		for _, bad in ipairs({ { "localhost" }; { { "10.1.0.2" } }; { "10.1.0.2"; "inner" }; { 10 }; { true }; "10.1.0"; { "fe80::1%eth0" }; { "" } }) do
			config["*"].s2s_inside_interfaces = bad;
			local messages = compile();
			assert.truthy(messages:find("error: s2s_inside_interfaces: got ", 1, true), messages);
			assert.truthy(messages:find("must be a list of addresses of this machine, such as { \"10.1.0.2\" }", 1, true), messages);
		end
		for _, bad in ipairs({ "*"; "::"; "0.0.0.0"; "0:0::0"; "::ffff:0.0.0.0" }) do
			config["*"].s2s_inside_interfaces = { "10.1.0.2"; bad };
			local messages = compile();
			assert.truthy(messages:find(("got %q; must be addresses of the inner side alone"):format(bad), 1, true), messages);
		end
		for _, good in ipairs({ "10.1.0.2"; { "10.1.0.2"; "fd00::2" }; { "::1" }; { "::ffff:10.1.0.2" } }) do
			config["*"].s2s_inside_interfaces = good;
			assert.equal("", (compile()));
		end
		config["*"].s2s_interfaces = { "0:0::0" };
		assert.truthy(compile():find("overlaps with another service", 1, true));
	end);

	it("have ports to listen on", function ()
		for _, bad in ipairs({ 0; -1; 65536; 5269.5; "x"; true; { 5269; 0 }; { {} } }) do
			config["*"].s2s_inside_ports = bad;
			local messages = compile();
			assert.truthy(messages:find("error: s2s_inside_ports: got ", 1, true), messages);
			assert.truthy(messages:find("must be a list of ports from 1 to 65535", 1, true), messages);
		end
		-- A list without any would open nothing, and nobody would be told.
		config["*"].s2s_inside_ports = {};
		local told = compile();
		assert.truthy(told:find("error: s2s_inside_ports: got {}; must name at least one port, or be left out", 1, true), told);
		for _, good in ipairs({ 5299; { 5269; 65535 }; { 1 } }) do
			config["*"].s2s_inside_ports = good;
			assert.equal("", (compile()));
		end
	end);

	it("name the files of a certificate that cannot be used", function ()
		local readable = certificate;
		local function try(cert, key, err)
			world.library("core.certmanager").create_context = function () return nil, err; end;
			config[HOST].s2s_inside.certificate = { certificate = cert; key = key };
			return (compile());
		end
		local WORDS = "the certificate for the inner side cannot be used: ";
		local messages = try("certs/none.crt", readable);
		assert.truthy(messages:find('"contoso.test": s2s_inside.certificate: got "certs/none.crt"; '..WORDS.."cannot be read (", 1, true), messages);
		assert.truthy(messages:find("the path starts at the configuration file's directory", 1, true), messages);
		messages = try(readable, "certs/none.key");
		assert.truthy(messages:find('s2s_inside.certificate: got "certs/none.key"; '..WORDS.."cannot be read (", 1, true), messages);
		messages = try(readable, readable, "error loading private key ((null))");
		assert.truthy(messages:find(("got %q and %q; %serror loading private key"):format(readable, readable, WORDS), 1, true), messages);
	end);

	it("do not make a relay host of one that has accounts", function ()
		accounts[HOST] = { mallory = true };
		local messages = compile();
		assert.truthy(messages:find('this host has accounts ("mallory", for one)', 1, true), messages);
	end);

	it("say for how many days a contact is known", function ()
		local messages, result = compile();
		assert.equal(30, result.contacts_days, messages);
		for _, good in ipairs({ 1; 90; 3650; 7.0 }) do
			config["*"].s2s_inside_contacts_days = good;
			messages, result = compile();
			assert.equal("", messages);
			assert.equal(good, result.contacts_days);
		end
		for _, bad in ipairs({ 0; -1; 3651; 1.5; "30"; {}; true; math.huge; 0/0 }) do
			config["*"].s2s_inside_contacts_days = bad;
			messages = compile();
			assert.truthy(messages:find("error: s2s_inside_contacts_days: got ", 1, true), messages);
			assert.truthy(messages:find("must be a whole number of days from 1 to 3650", 1, true), messages);
		end
	end);

	it("that are misspelt are told of, whether there is a relay host or not", function ()
		config[HOST].s2s_insides = {};
		local messages = compile();
		assert.truthy(messages:find('error: VirtualHost or Component "contoso.test": s2s_insides: unknown option', 1, true), messages);
		config[HOST].s2s_inside, config[HOST].s2s_insides, config[HOST].s2s_insid = nil, nil, {};
		local result;
		messages, result = compile();
		assert.is_false(result);
		assert.truthy(messages:find('error: VirtualHost or Component "contoso.test": s2s_insid: unknown option', 1, true), messages);
	end);

	it("that have no effect are told of", function ()
		config["*"].s2s_inside, config[HOST].s2s_inside = config[HOST].s2s_inside, nil;
		local messages, result = compile();
		assert.is_false(result);
		assert.truthy(messages:find("warning: s2s_inside: has no effect", 1, true), messages);
		assert.truthy(messages:find("warning: s2s_inside_interfaces: has no effect", 1, true), messages);
		config["*"].s2s_inside, config["*"].s2s_inside_interfaces = nil, nil;
		assert.equal("", (compile()));
	end);
end);
