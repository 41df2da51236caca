-- lua/options.lib.lua: what it reads, from where, and which hosts share it.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local lfs = require "lfs";

local function host(options, global)
	return setmetatable(options, { __index = global });
end

local function messages(spec)
	local texts = {};
	for i, issue in ipairs(spec.issues) do
		texts[i] = ("%s %s: %s%s"):format(issue.severity, issue.path, issue.got ~= "" and issue.got.."; " or "", issue.expected);
	end
	return texts;
end

describe("options", function ()
	local list, files = { { domain = "fabrikam.com" } }, { "*.none" };

	it("are shared by the hosts that inherit them", function ()
		local global = { s2s_partners = list; s2s_partners_files = files };
		local config = { ["*"] = global; a = host({}, global); b = host({}, global); c = host({ s2s_partners = { list[1] } }, global);
			d = host({ s2s_partners_limits = { connections = 1 } }, global); e = host({ s2s_require_encryption = false }, global) };
		local options = stub.options(config, "/nowhere");
		local run = options.begin();
		local a, b, c = options.collect("a", run), options.collect("b", run), options.collect("c", run);
		local d, e = options.collect("d", run), options.collect("e", run);
		assert.equal(a.table_key, b.table_key);
		assert.equal(a.policy_key, b.policy_key);
		assert.not_equal(a.table_key, c.table_key);
		assert.not_equal(a.policy_key, c.policy_key);
		assert.equal(a.table_key, d.table_key);
		assert.not_equal(a.policy_key, d.policy_key);
		assert.equal(a.table_key, e.table_key);
		assert.equal(list, a.table().lists[1].list);
	end);

	it("tell scalars apart by value and type", function ()
		local config = { ["*"] = {}; a = { s2s_partners = "1" }; b = { s2s_partners = 1 }; c = { s2s_partners = "1" } };
		local options = stub.options(config, "/nowhere");
		local run = options.begin();
		assert.not_equal(options.collect("a", run).table_key, options.collect("b", run).table_key);
		assert.equal(options.collect("a", run).table_key, options.collect("c", run).table_key);
	end);

	it("know every host of the server", function ()
		local options = stub.options({ ["*"] = {}; ["b.example"] = { enabled = false } }, "/nowhere", { ["a.example"] = {}, ["b.example"] = {} });
		assert.same({ "a.example", "b.example" }, options.collect("b.example").table().local_domains);
	end);

	it("of core are read where core reads them", function ()
		local global = { s2s_secure_domains = { "a.example" }; s2s_insecure_domains = "b.example"; s2s_timeout = 30 };
		local config = { ["*"] = global; plain = host({}, global); open = host({ s2s_require_encryption = false }, global);
			closed = host({ s2s_allow_encryption = false; s2s_secure_auth = true; s2s_secure_domains = { "x.example" }; s2s_timeout = 1 }, global) };
		local options = stub.options(config, "/nowhere");
		local expected = { require_encryption = true; allow_encryption = true; secure_auth = false;
			secure_domains = { "a.example" }; insecure_domains = { "b.example" }; s2s_timeout = 30; crls = false };
		assert.same(expected, options.collect("plain").policy.options);
		-- The global section still requires it.
		assert.same(expected, options.collect("open").policy.options);
		expected.allow_encryption, expected.secure_auth = false, true;
		assert.same(expected, options.collect("closed").policy.options);
		global.s2s_require_encryption = false;
		assert.is_false(options.collect("plain").policy.options.require_encryption);
		config.plain.s2s_require_encryption = true;
		assert.is_true(options.collect("plain").policy.options.require_encryption);
	end);

	it("of core say which modules a host lacks", function ()
		local global = { modules_enabled = { "tls", "saslauth", "s2s_partners" }; modules_disabled = { "tls" } };
		local config = { ["*"] = global; plain = host({}, global); more = host({ modules_enabled = { "tls", "dialback" } }, global);
			fewer = host({ modules_enabled = { "tls", "dialback" }; modules_disabled = { "tls", "saslauth" } }, global) };
		local options = stub.options(config, "/nowhere");
		local run = options.begin();
		local function missing(name)
			local collected = options.collect(name, run);
			local found = collected.policy.options;
			return { found.without_tls or false, found.without_saslauth or false, found.without_dialback or false, collected.modules };
		end
		assert.same({ true, false, true, false }, missing("plain"));
		assert.same({ false, false, false, true }, missing("more"));
		assert.same({ true, true, false, true }, missing("fewer"));
		assert.not_equal(options.collect("plain", run).policy_key, options.collect("more", run).policy_key);
		-- Where nobody says what is loaded, nothing is missing but what is taken out.
		config = { ["*"] = {}; plain = {}; fewer = { modules_disabled = { "dialback" } } };
		options = stub.options(config, "/nowhere");
		run = options.begin();
		assert.same({ false, false, false, false }, missing("plain"));
		assert.same({ false, false, true, true }, missing("fewer"));
	end);

	it("that are nearly ours are errors", function ()
		local config = { ["*"] = { s2s_partner = {}; s2s_partners_file = "x"; s2s_timeout = 5 }; a = { s2s_partners_limit = {} } };
		local collected = stub.options(config, "/nowhere").collect("a");
		assert.equal(2, #collected.table().issues);
		assert.equal("s2s_partner", collected.table().issues[1].path);
		assert.equal(1, #collected.policy.issues);
		assert.equal("unknown-option", collected.policy.issues[1].code);
	end);
end);

describe("user names", function ()
	local function access_of(access)
		local collected = stub.options({ ["*"] = { s2s_partners_external_access = access } }, "/nowhere").collect("*");
		return collected.policy.external_access, collected.policy;
	end

	it("are prepared as core does", function ()
		local access = { default = "deny"; users = { ["Üwe"] = "allow"; bob = "deny" } };
		assert.same({ default = "deny"; users = { ["üwe"] = "allow"; bob = "deny" } }, (access_of(access)));
		assert.equal("allow", access.users["Üwe"]); -- what was written stays as it is
	end);

	it("stay as they are otherwise", function ()
		for _, access in ipairs({ "deny", { users = { bob = "deny" } }, { users = 1 }, {}, { users = { "bob" } }, { users = "" }, { users = "a\0b" } }) do
			assert.equal(access, (access_of(access)));
		end
	end);

	it("come from files as well, each read once", function ()
		local folder = os.tmpname();
		os.remove(folder);
		assert(lfs.mkdir(folder));
		local function write(text)
			local file = assert(io.open(folder.."/users", "wb"));
			file:write(text);
			file:close();
		end
		write("# comment\r\n\r\n  Alice\t# with a word\nbob#2\n\195\156we");
		local access = { default = "deny"; users = "users" };
		local list = { { domain = "a.example"; external_access = { users = folder.."/users" } }, { domain = "b.example" } };
		local options = stub.options({ ["*"] = { s2s_partners_external_access = access; s2s_partners = list } }, folder);
		local run = options.begin();
		local collected = options.collect("*", run);
		assert.same({ default = "deny"; users = { alice = "allow"; ["bob#2"] = "allow"; ["\195\188we"] = "allow" } }, collected.policy.external_access);
		assert.equal("users", access.users);
		write("eve\n");
		local spec = collected.table();
		assert.same({ alice = "deny"; ["bob#2"] = "deny"; ["\195\188we"] = "deny" }, spec.lists[1].list[1].external_access.users);
		assert.equal(list[2], spec.lists[1].list[2]);
		assert.equal(folder.."/users", list[1].external_access.users);
		assert.same({}, spec.issues);
		assert.same({ folder.."/users" }, { (next(run.user_files)) });
		-- Beside its place: a file of names is cut short, too large, none.
		write(("no good\n"):rep(30));
		assert.equal(21, #options.collect("*").policy.issues);
		os.remove(folder.."/users");
		assert.same({ 'error s2s_partners_external_access.users: "users"; there is no such file; create it, or name another' },
			messages(options.collect("*").policy));
		assert(os.execute("mkfifo '"..folder.."/users'")); -- nobody will ever write to it
		assert.same({ 'error s2s_partners_external_access.users: "users"; is a named pipe; name a file, one user a line' },
			messages(options.collect("*").policy));
		os.remove(folder.."/users");
		lfs.rmdir(folder);
	end);

	it("are not taken twice", function ()
		local _, policy = access_of({ users = { ["Üwe"] = "allow"; ["üwe"] = "deny" } });
		assert.same({ 'error s2s_partners_external_access.users["üwe"]: this user is named twice, in different spellings; remove one of the two' },
			messages(policy));
	end);
end);

describe("files", function ()
	local folder;

	local function write(name, content)
		local file = assert(io.open(folder.."/"..name, "w"));
		file:write(content);
		file:close();
	end

	local function spec_of(files)
		return stub.options({ ["*"] = { s2s_partners_files = files } }, folder).collect("*").table();
	end

	local function places(spec)
		local names = {};
		for i, list in ipairs(spec.lists) do names[i] = list.place; end
		return names;
	end

	before_each(function ()
		folder = os.tmpname();
		os.remove(folder);
		assert(lfs.mkdir(folder));
		assert(lfs.mkdir(folder.."/p1.d"));
		assert(lfs.mkdir(folder.."/p2.d"));
		for _, name in ipairs({ "p1.d/b.lua", "p1.d/a.lua", "p1.d/.hidden.lua", "p1.d/a.lua~", "p2.d/c+1.lua" }) do
			write(name, ("return { { domain = %q } }"):format(name));
		end
	end);

	after_each(function ()
		for _, sub in ipairs({ "/p1.d", "/p2.d", "" }) do
			for name in lfs.dir(folder..sub) do os.remove(folder..sub.."/"..name); end
			lfs.rmdir(folder..sub);
		end
	end);

	it("are found by patterns, sorted, each once", function ()
		assert.same({ "p1.d/a.lua", "p1.d/b.lua" }, places(spec_of({ "p1.d/*.lua" })));
		assert.same({ "p1.d/a.lua", "p1.d/b.lua", "p2.d/c+1.lua" }, places(spec_of({ "p?.d/*.lua", "p1.d/a.lua" })));
		assert.same({ "p1.d/b.lua", "p1.d/a.lua" }, places(spec_of({ "p1.d/b.lua", "p1.d/?.lua" })));
		assert.same({ "p2.d/c+1.lua" }, places(spec_of({ "p2.d/c+*" })));
		assert.same({ "p1.d/.hidden.lua" }, places(spec_of({ "p1.d/.*.lua" })));
		assert.same({ folder.."/p1.d/a.lua" }, places(spec_of({ folder.."/p1.d/a*.lua" })));
		assert.equal("p1.d/a.lua", spec_of({ "p1.d/a.lua" }).lists[1].list[1].domain);
	end);

	it("that are named must be there, those of a pattern need not", function ()
		local spec = spec_of({ "p1.d/none.lua", "p1.d/x*.lua", "none.d/*.lua", "p1.d", "*.d" });
		assert.same({
			'error s2s_partners_files[1]: "p1.d/none.lua"; there is no such file; create it or remove its name',
			'warning s2s_partners_files[2]: "p1.d/x*.lua"; no file matches',
			'warning s2s_partners_files[3]: "none.d/*.lua"; no file matches',
			'error s2s_partners_files[4]: "p1.d"; is not a file, or a link that leads to none; name a file',
			'warning s2s_partners_files[5]: "*.d"; no file matches',
		}, messages(spec));
		assert.same({}, spec.lists);
	end);

	it("that a pattern matches must be files or folders", function ()
		assert(lfs.link("gone.lua", folder.."/p1.d/c.lua", true));
		local spec = spec_of({ "p1.d/*.lua" });
		assert.same({ 'error p1.d/c.lua: is not a file, or a link that leads to none; correct or remove it' }, messages(spec));
		assert.same({ "p1.d/a.lua", "p1.d/b.lua" }, places(spec));
	end);

	it("must come to an end", function ()
		write("p1.d/a.lua", "while true do end");
		write("p1.d/b.lua", "return (('x'):gsub('x', function () repeat until false end))");
		write("p2.d/c+1.lua", "\xEF\xBB\xBFreturn { { domain = 'after a byte order mark' } }");
		local spec = spec_of({ "p1.d/*.lua", "p2.d/*.lua" });
		assert.equal(2, #spec.issues);
		for _, issue in ipairs(spec.issues) do assert.truthy(issue.expected:find("takes too long", 1, true)); end
		assert.equal("after a byte order mark", spec.lists[1].list[1].domain);
		assert.is_nil((debug.gethook()));
	end);

	it("cannot do anything but return a list", function ()
		write("p1.d/a.lua", "-- one\nreturn os.execute('true')");
		write("p1.d/b.lua", "return {\n\n");
		write("p2.d/c+1.lua", string.dump(function () return {}; end));
		local spec = spec_of({ "p1.d/*.lua", "p2.d/*.lua" });
		assert.equal("error p1.d/a.lua:2: attempt to index a nil value (global 'os'); correct the file", messages(spec)[1]);
		assert.is_truthy(messages(spec)[2]:find("^error p1.d/b.lua:3: .*<eof>; correct the file$"));
		assert.is_truthy(messages(spec)[3]:find("^error p2.d/c%+1.lua: attempt to load a binary chunk"));
		assert.same({}, spec.lists);
	end);

	it("are gone from memory with the spec", function ()
		write("p1.d/a.lua", "return {"..('{ domain = "x" };'):rep(20000).."}");
		local options = stub.options({ ["*"] = { s2s_partners_files = { "p1.d/a.lua" } } }, folder);
		collectgarbage(); collectgarbage();
		local before = collectgarbage("count");
		local collected = options.collect("*");
		assert.equal(20000, #collected.table().lists[1].list);
		collectgarbage(); collectgarbage();
		assert.is_true(collectgarbage("count") - before < 50);
		assert.is_string(collected.table_key);
	end);
end);
