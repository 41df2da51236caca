-- lua/crls.lib.lua over files that change as told: what is read when, what is put in force, what is said.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local certificates = require "certificates_stub";
local lfs = require "lfs";

local native = stub.native();

local function temporary_folder()
	local pipe = assert(io.popen("env -u LD_PRELOAD mktemp -d"));
	local path = pipe:read("l");
	pipe:close();
	return path;
end

describe("revocation lists", function ()
	local folder, paths, lines, timers, guard, watch, crls, taken, now;

	setup(function ()
		paths = certificates.make({ "fabrikam.test:good", "crl:good:good", "crl:revoking:good:fabrikam.test:good", "crl:indirect:indirect" });
		folder = temporary_folder();
	end);

	teardown(function ()
		os.execute("env -u LD_PRELOAD rm -rf '"..folder.."'");
		certificates.clean();
	end);

	local function write(name, from, age)
		local file = assert(io.open(folder.."/"..name, "wb"));
		file:write(from and certificates.read(paths[from]) or "rubbish");
		file:close();
		lfs.touch(folder.."/"..name, now - (age or 100), now - (age or 100));
	end

	-- Runs the timers until there are none; how many turns that took.
	local function turns()
		local count = 0;
		while #timers > 0 do
			count = count + 1;
			assert.is_true(count < 1000);
			local action = table.remove(timers, 1);
			if action() then table.insert(timers, action); end
		end
		return count;
	end

	local function load(partners, hosts)
		local issues, stores = {}, {};
		local compiled = assert(native.compile_table({ lists = { { place = "s2s_partners"; list = partners } } }));
		local policy = assert(native.compile_policy({ table = compiled;
			options = { require_encryption = true; allow_encryption = true; crls = hosts ~= nil } }));
		crls.load(stores, { ["contoso.test"] = policy; ["rooms.contoso.test"] = policy },
			{ ["contoso.test"] = hosts or {}; ["rooms.contoso.test"] = hosts or {} }, issues);
		local texts = {};
		for i, issue in ipairs(issues) do texts[i] = issue.severity..": "..issue.message; end
		guard.trust = stores;
		return texts;
	end

	local function partner(more)
		local entry = { domain = "fabrikam.test"; partner_type = "federated"; tls = "required" };
		for key, value in pairs(more) do entry[key] = value; end
		return entry;
	end

	before_each(function ()
		lines, timers, taken, guard, now = {}, {}, {}, {}, os.time();
		for name in lfs.dir(folder) do
			if name:sub(1, 1) ~= "." then os.remove(folder.."/"..name); end
		end
		local env = setmetatable({ prosody = { paths = { config = folder } } }, { __index = _G });
		env.module = {
			log = function (_, level, format, ...) table.insert(lines, level..": "..format:format(...)); end;
			add_timer = function (_, _, action) table.insert(timers, action); end;
			require = function () return stub.options({ ["*"] = {} }, folder); end;
		};
		crls = assert(loadfile(source.."/lua/crls.lib.lua", "t", env))()(setmetatable({
			take_up_crls = function (_, _, set) table.insert(taken, set); return {}; end;
		}, { __index = native }));
		watch = crls.watch(guard, { latch = { all_streams = function () return {}; end }; rejudge = { act = function () end };
			expiry = { crls_changed = function () end } });
	end);

	local function verdict(host, label)
		local store = native.trust_store({ file = certificates.issuer("ca") });
		return native.judge_certificate(certificates.chain(paths["fabrikam.test:good"]), store, "fabrikam.test", nil, nil, "if_known",
			guard.trust.crls[host][label]).verdict;
	end

	it("count for whom they are named, on each host", function ()
		write("own.crl", "crl:good:good");
		write("host.crl", "crl:revoking:good:fabrikam.test:good");
		assert.same({}, load({ partner { crls = "own.crl" }, partner { domain = "b.test"; crls = "own.crl"; trust_anchors = "ca.pem" } }, { "*.crl" }));
		for _, host in ipairs({ "contoso.test", "rooms.contoso.test" }) do
			assert.equal("revoked", verdict(host, ""));
			assert.equal("revoked", verdict(host, "fabrikam.test"));
			assert.equal("valid", verdict(host, "b.test"));
		end
		assert.equal(guard.trust.crls["contoso.test"]["b.test"], guard.trust.crls["rooms.contoso.test"]["b.test"]); -- shared
	end);

	it("that cannot be read are errors, with the place and the remedy", function ()
		write("bad.crl");
		write("indirect.crl", "crl:indirect:indirect");
		assert.same({
			's2s_partners_crls[1]: got "none.crl"; there is no such file; fetch the revocation list into it, or remove its name',
		}, { (load({}, { "none.crl" })[1]:gsub("^error: ", "")) });
		assert.matches('^error: s2s_partners%[1%] %("fabrikam%.test"%)%.crls%[1%]: got "bad%.crl"; .*bad%.crl: holds no revocation list',
			load({ partner { crls = { "bad.crl" } } })[1]);
		assert.matches('^warning: .*indirect%.crl: revocation list 1 .* counts for nothing', load({ partner { crls = { "ind*.crl" } } })[1]);
		assert.matches('^warning: .*got "%*%.none"; no file matches', load({ partner { crls = { "*.none" } } })[1]);
		assert.matches('^warning: s2s_partners%[1%] %("fabrikam%.test"%)%.revocation: got "required"; no revocation list counts',
			load({ partner { revocation = "required" } })[1]);
	end);

	it("are read once as long as they do not change", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		local file = guard.trust.crl_files[folder.."/x.crl"].file;
		load({ partner { crls = "x.crl" } });
		assert.equal(file, guard.trust.crl_files[folder.."/x.crl"].file);
		watch.tick(now);
		assert.equal(0, turns());
		write("x.crl", "crl:good:good", 50);
		load({ partner { crls = "x.crl" } });
		assert.not_equal(file, guard.trust.crl_files[folder.."/x.crl"].file);
	end);

	it("are read anew when they change, a step a turn, and come into force together", function ()
		write("x.crl", "crl:good:good");
		write("y.crl", "crl:good:good");
		load({ partner { crls = { "x.crl", "y.crl" } } });
		local before = guard.trust.crls["contoso.test"]["fabrikam.test"];
		write("x.crl", "crl:revoking:good:fabrikam.test:good", 50);
		write("y.crl", "crl:good:good", 50);
		watch.tick(now);
		assert.equal(before, guard.trust.crls["contoso.test"]["fabrikam.test"]);
		assert.is_true(turns() > 4);
		assert.equal(1, #taken);
		assert.not_equal(before, guard.trust.crls["contoso.test"]["fabrikam.test"]);
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
		assert.equal(2, #lines);
		assert.matches("^info: Revocation lists in [xy]%.crl have changed and are in force: 1 list, [01] revoked$", lines[1]);
		watch.tick(now + 10);
		assert.equal(0, turns());
	end);

	it("are left alone while somebody writes them", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:good:fabrikam.test:good", 0);
		watch.tick(now);
		assert.equal(0, turns());
		watch.tick(now + 3);
		assert.is_true(turns() > 0);
		-- A time to come is no reason to wait for it.
		write("x.crl", "crl:good:good", -1000);
		watch.tick(now + 6);
		assert.equal(0, turns());
		watch.tick(now + 9);
		assert.is_true(turns() > 0);
		assert.equal(2, #taken);
	end);

	it("that are damaged or gone stay as they were, and one line says so", function ()
		write("x.crl", "crl:revoking:good:fabrikam.test:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", nil, 50);
		for i = 1, 5 do
			watch.tick(now + 3 * i);
			turns();
		end
		assert.equal(1, #lines);
		assert.matches("^error: .*x%.crl: holds no revocation list.*; the revocation lists that were read from it before stay in force$", lines[1]);
		os.remove(folder.."/x.crl");
		for i = 6, 9 do
			watch.tick(now + 3 * i);
			turns();
		end
		assert.equal(2, #lines);
		assert.matches("^error: .*x%.crl: is gone", lines[2]);
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
		assert.equal(0, #taken);
		write("x.crl", "crl:good:good", 50);
		watch.tick(now + 30);
		turns();
		assert.equal("valid", verdict("contoso.test", "fabrikam.test"));
	end);

	it("of a pattern may come later", function ()
		load({ partner {} }, { "*.crl" });
		assert.equal("valid", verdict("contoso.test", ""));
		write("new.crl", "crl:revoking:good:fabrikam.test:good");
		watch.tick(now);
		turns();
		assert.equal("revoked", verdict("contoso.test", ""));
		assert.equal("revoked", verdict("rooms.contoso.test", ""));
		write("newer.crl", nil);
		watch.tick(now + 3);
		turns();
		assert.matches("^error: .*newer%.crl: holds no revocation list", lines[#lines]);
	end);

	it("are given up when a reload has come meanwhile", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:good:fabrikam.test:good", 50);
		watch.tick(now);
		load({ partner { crls = "x.crl" } });
		assert.equal(1, turns());
		assert.equal(0, #taken);
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
	end);

	it("change nothing when the streams cannot be judged, and are tried again", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:good:fabrikam.test:good", 50);
		local before = guard.trust.crls;
		local fails = true;
		taken = setmetatable({}, { __newindex = function (t, k, v) if fails then error("no memory"); end rawset(t, k, v); end });
		watch.tick(now);
		turns();
		assert.equal(before, guard.trust.crls);
		assert.matches("^error: Revocation lists could not be read anew", lines[1]);
		fails = false;
		watch.tick(now + 3);
		turns();
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
	end);
end);
