-- lua/crls.lib.lua and lua/crl_watch.lib.lua over files that change as told: what is read when, what is put in force, what is said.

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
		-- The revoking one is the older one, so that the good one may follow it.
		paths = certificates.make({ "fabrikam.test:good", "crl:good:good", "crl:revoking:ending:fabrikam.test:good", "crl:indirect:indirect",
			"crl:forged:forged", "crl:future:future:fabrikam.test:good" });
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

	-- The looks come after os.time(), not after the beginning of a test: the system itself says when a file was changed, and a test may take long.

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
			require = function (_, name)
				if name == "crl_watch" then return assert(loadfile(source.."/lua/crl_watch.lib.lua", "t", env))(); end
				return stub.options({ ["*"] = {} }, folder);
			end;
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
		write("host.crl", "crl:revoking:ending:fabrikam.test:good");
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
		-- Written again, it is the same.
		write("x.crl", "crl:good:good", 50);
		load({ partner { crls = "x.crl" } });
		assert.equal(file, guard.trust.crl_files[folder.."/x.crl"].file);
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", 40);
		load({ partner { crls = "x.crl" } });
		assert.not_equal(file, guard.trust.crl_files[folder.."/x.crl"].file);
	end);

	it("are read anew when they change, a step a turn, and come into force together", function ()
		write("x.crl", "crl:good:good");
		write("y.crl", "crl:forged:forged");
		load({ partner { crls = { "x.crl", "y.crl" } } });
		local before = guard.trust.crls["contoso.test"]["fabrikam.test"];
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", 50);
		write("y.crl", "crl:good:good", 50);
		watch.tick(os.time() + 3);
		assert.equal(before, guard.trust.crls["contoso.test"]["fabrikam.test"]);
		assert.is_true(turns() > 4);
		assert.equal(1, #taken);
		assert.not_equal(before, guard.trust.crls["contoso.test"]["fabrikam.test"]);
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
		assert.equal(2, #lines);
		assert.matches("^info: Revocation lists in [xy]%.crl have changed and are in force: 1 list, [01] revoked$", lines[1]);
		watch.tick(os.time() + 10);
		assert.equal(0, turns());
	end);

	it("are left alone while somebody writes them", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", 0);
		watch.tick(now);
		assert.equal(0, turns());
		watch.tick(os.time() + 3);
		assert.is_true(turns() > 0);
		-- A time to come is no reason to wait for it.
		write("x.crl", "crl:good:good", -1000);
		watch.tick(os.time() + 6);
		assert.equal(0, turns());
		watch.tick(os.time() + 9);
		assert.is_true(turns() > 0);
		assert.equal(2, #taken);
	end);

	it("that are damaged or gone stay as they were, and one line says so", function ()
		write("x.crl", "crl:revoking:ending:fabrikam.test:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", nil, 50);
		for i = 1, 5 do
			watch.tick(os.time() + 3 * i);
			turns();
		end
		assert.equal(1, #lines);
		assert.matches("^error: .*x%.crl: holds no revocation list.*; the revocation lists that were read from it before stay in force$", lines[1]);
		os.remove(folder.."/x.crl");
		for i = 6, 9 do
			watch.tick(os.time() + 3 * i);
			turns();
		end
		assert.equal(2, #lines);
		assert.matches("^error: .*x%.crl: is gone", lines[2]);
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
		assert.equal(0, #taken);
		write("x.crl", "crl:good:good", 50);
		watch.tick(os.time() + 30);
		turns();
		assert.equal("valid", verdict("contoso.test", "fabrikam.test"));
	end);

	it("of a pattern may come later", function ()
		load({ partner {} }, { "*.crl" });
		assert.equal("valid", verdict("contoso.test", ""));
		write("new.crl", "crl:revoking:ending:fabrikam.test:good");
		lfs.touch(folder, now - 60, now - 60);
		watch.tick(os.time() + 3);
		turns();
		assert.equal("revoked", verdict("contoso.test", ""));
		assert.equal("revoked", verdict("rooms.contoso.test", ""));
		write("newer.crl", nil);
		lfs.touch(folder, now - 50, now - 50); -- in another second than the one before, however long all this takes
		watch.tick(os.time() + 6);
		turns();
		assert.matches("^error: .*newer%.crl: holds no revocation list", lines[#lines]);
	end);

	it("that nobody but their authority can replace stay while they are current, and one line says so", function ()
		write("x.crl", "crl:revoking:ending:fabrikam.test:good");
		load({ partner { crls = "x.crl" } });
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test")); -- from now on its key is known
		for i, from in ipairs({ "crl:forged:forged", "crl:future:future:fabrikam.test:good" }) do
			write("x.crl", from);
			for j = 1, 4 do
				watch.tick(os.time() + 20 * i + 3 * j);
				turns();
			end
			assert.equal(i, #lines);
			assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
		end
		assert.matches("^error: .*x%.crl: the revocation list of CN=Test CA is not signed any more by the key that has signed it before; "
			.."fetch it from its authority, or reload if this is known to be right; the revocation lists that were read", lines[1]);
		assert.matches("^error: .*x%.crl: the revocation list of CN=Test CA is not valid yet;", lines[2]);
		-- Who reloads gets what is there, and is told.
		write("x.crl", "crl:forged:forged");
		assert.matches("^warning: .*the revocation list of CN=Test CA is not signed any more .*; what it has revoked may pass again",
			load({ partner { crls = "x.crl" } })[1]);
		assert.equal("valid", verdict("contoso.test", "fabrikam.test"));
	end);

	it("that are written again as they were are no news", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		local before = guard.trust.crls["contoso.test"]["fabrikam.test"];
		write("x.crl", "crl:good:good", 50);
		watch.tick(os.time() + 3);
		assert.is_true(turns() > 1);
		assert.equal(before, guard.trust.crls["contoso.test"]["fabrikam.test"]);
		watch.tick(os.time() + 6);
		assert.equal(0, turns());
		assert.same({}, lines);
	end);

	it("are seen to change where neither size nor time of writing tell", function ()
		local one, other = certificates.read(paths["crl:good:good"]), certificates.read(paths["crl:revoking:ending:fabrikam.test:good"]);
		local size = math.max(#one, #other);
		local function put(text)
			local file = assert(io.open(folder.."/x.crl", "wb"));
			file:write(text, ("\n"):rep(size - #text));
			file:close();
			lfs.touch(folder.."/x.crl", now - 100, now - 100);
		end
		put(one);
		load({ partner { crls = "x.crl" } });
		put(other); -- within the same second, most likely: what was read then is looked at again
		watch.tick(os.time() + 3);
		turns();
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
	end);

	it("come into force for the streams that live when their time comes", function ()
		write("x.crl", "crl:future:future:fabrikam.test:good");
		load({ partner { crls = "x.crl" } });
		local entry = guard.trust.crl_files[folder.."/x.crl"];
		assert.is_true(entry.begins > now);
		local begins = entry.begins;
		watch.tick(begins - 1);
		turns();
		assert.equal(0, #taken);
		watch.tick(begins + 1);
		turns();
		assert.equal(1, #taken);
		assert.matches("^info: A revocation list in x%.crl is valid from now on$", lines[1]);
		watch.tick(begins + 4);
		assert.equal(1, #taken);
	end);

	it("are not waited for because the clock has been set back", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", -1000);
		watch.tick(now);
		watch.tick(now - 5000);
		assert.equal(0, turns());
		watch.tick(now - 4997);
		turns();
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
	end);

	it("are let go when others have taken their place", function ()
		local files = setmetatable({}, { __mode = "k" });
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		for i = 1, 20 do
			files[guard.trust.crl_files[folder.."/x.crl"].file] = i;
			write("x.crl", i % 2 == 1 and "crl:revoking:ending:fabrikam.test:good" or "crl:good:good", 90 - i);
			watch.tick(os.time() + 3 * i);
			turns();
		end
		assert.is_true(#taken >= 10, tostring(#taken));
		taken = {};
		collectgarbage();
		collectgarbage();
		local left = 0;
		for _ in pairs(files) do left = left + 1; end
		assert.is_true(left <= 1, tostring(left));
	end);

	it("say what is wrong with a path", function ()
		lfs.mkdir(folder.."/crls");
		assert.matches('got "crls"; is a folder; name the files in it', load({}, { "crls" })[1], 1, true);
		assert(os.execute("env -u LD_PRELOAD mkfifo '"..folder.."/pipe.crl'"));
		assert.matches('got "pipe.crl"; is no ordinary file', load({}, { "pipe.crl" })[1], 1, true);
		assert.matches('^error: s2s_partners_crls%[1%]: got "%*%.crl"; is not a file, or a link', (load({}, { "*.crl" })[1]:gsub("pipe", "*")));
		-- Each place is told, the second one too.
		assert.equal(2, #load({ partner { crls = "none.crl" } }, { "none.crl" }));
		os.remove(folder.."/pipe.crl");
		lfs.rmdir(folder.."/crls");
	end);

	it("are given up when a reload has come meanwhile", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", 50);
		watch.tick(os.time() + 3);
		load({ partner { crls = "x.crl" } });
		assert.equal(1, turns());
		assert.equal(0, #taken);
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
	end);

	it("change nothing when the streams cannot be judged, and are tried again", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", 50);
		local before = guard.trust.crls;
		local fails = true;
		taken = setmetatable({}, { __newindex = function (t, k, v) if fails then error("no memory"); end rawset(t, k, v); end });
		watch.tick(os.time() + 3);
		turns();
		assert.equal(before, guard.trust.crls);
		assert.matches("^error: Revocation lists could not be read anew", lines[1]);
		fails = false;
		watch.tick(os.time() + 6);
		turns();
		assert.equal("revoked", verdict("contoso.test", "fabrikam.test"));
	end);

	it("are tried less and less often while it fails", function ()
		write("x.crl", "crl:good:good");
		load({ partner { crls = "x.crl" } });
		write("x.crl", "crl:revoking:ending:fabrikam.test:good", 50);
		taken = setmetatable({}, { __newindex = function () error("no memory"); end });
		for i = 1, 300 do
			watch.tick(now + i);
			turns();
		end
		assert.is_true(#lines >= 5 and #lines <= 10, tostring(#lines));
	end);
end);
