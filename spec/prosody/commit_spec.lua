-- lua/commit.lib.lua: all or nothing, also when it takes its time over a long list.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local native = stub.native();

local function partner(domain) return { domain = domain; partner_type = "federated"; tls = "required"; sasl = "required"; dialback = false }; end

describe("a commit", function ()
	local config, hosts, lists, reads, files;

	local function new_commit()
		local options = {
			begin = function () return {}; end;
			collect = function (host)
				return { table_key = "list of "..(config[host].list or "*"); policy_key = host;
					policy = { options = { require_encryption = true; allow_encryption = true } };
					table = function ()
						reads = reads + 1;
						local all = { { place = "s2s_partners"; list = lists[config[host].list or "*"] } };
						for _, file in ipairs(files) do table.insert(all, file); end
						return { local_domains = {}; issues = {}; lists = all };
					end };
			end;
		};
		local trust = { load = function () return { anchors = {}; hosts = {}; own = {} }; end };
		local function require_stub(name)
			return (name:match("configmanager$") and { getconfig = function () return config; end }) or require(name);
		end
		local module_stub = { log = function () end };
		function module_stub.require(_, name) return stub.library(name); end
		local env = setmetatable({ module = module_stub; prosody = { hosts = hosts }; require = require_stub }, { __index = _G });
		return assert(loadfile(source.."/lua/commit.lib.lua", "t", env))()(native, options, trust);
	end

	before_each(function ()
		config = { ["*"] = {}; ["a.test"] = {}; ["b.test"] = { list = "own" } };
		hosts = { ["a.test"] = {}; ["b.test"] = {} };
		lists = { ["*"] = { partner "fabrikam.com" }; own = { partner "litware.com", partner "other.com" } };
		reads, files = 0, {};
	end);

	local function names(result)
		local list = {};
		for host in pairs(result.policies) do list[#list+1] = host; end
		table.sort(list);
		return table.concat(list, " ");
	end

	it("pauses after each step that may be long, with the collector at work, and comes to the same", function ()
		local commit, pauses = new_commit(), 0;
		local result = commit.compile_all(function (seconds)
			if not seconds then pauses = pauses + 1; end -- else it waits for a thread
			assert.is_true(collectgarbage("isrunning"));
		end);
		assert.equal("a.test b.test", names(result));
		assert.equal(8, pauses); -- for each list, its table and its policy, one before and one behind the trust stores
		assert.equal(2, reads);
		assert.same({ applied = true; issues = {}; partner_count = 3 }, commit.state);
		assert.equal("litware.com", result.policies["b.test"]:label("litware.com"));
		assert.equal("a.test b.test", names(new_commit().compile_all()));
	end);

	it("begins again, without a pause, where a host has come meanwhile", function ()
		local commit, pauses = new_commit(), 0;
		local result = commit.compile_all(function (seconds)
			if not seconds then pauses = pauses + 1; end
			if pauses == 8 then
				config["new.test"], hosts["new.test"] = {}, {};
			end
		end);
		assert.equal("a.test b.test new.test", names(result));
		assert.equal(8, pauses);
		assert.equal(4, reads);
	end);

	it("leaves everything as it was when another has come before it was through", function ()
		local commit = new_commit();
		commit.compile_all();
		local before, pauses = commit.state, 0;
		lists.own = { partner "litware" };
		local ok, err = pcall(commit.compile_all, function ()
			pauses = pauses + 1;
			if pauses == 5 then error(commit.superseded, 0); end
		end);
		assert.is_false(ok);
		assert.equal(commit.superseded, err);
		assert.equal(before, commit.state);
	end);

	it("has Lua read what is no plain list, and nothing else, in the order of the files", function ()
		local paths, read_by_lua = {}, {};
		for i, text in ipairs {
			"return { { domain = 'one.example'; partner_type = 'federated' } }", "local list = {} return list",
			"return { { domain = 'three.example'; partner_type = 'federated' }, { domain = 'one.example'; partner_type = 'federated' } }",
		} do
			paths[i] = os.tmpname();
			local file = assert(io.open(paths[i], "w"));
			file:write(text);
			file:close();
		end
		local function entry(i)
			return { place = "file "..i; path = paths[i]; read = function ()
				table.insert(read_by_lua, i);
				return { partner "two.example" }, { { severity = "warning"; code = "w"; path = "file "..i; got = ""; expected = "something" } };
			end };
		end
		files = { entry(1), entry(2) };
		for _, pause in ipairs { false, function () end } do
			local commit = new_commit();
			local result = commit.compile_all(pause or nil);
			assert.equal("a.test b.test", names(result));
			assert.equal("one.example two.example fabrikam.com", table.concat({ result.policies["a.test"]:label("one.example"),
				result.policies["a.test"]:label("two.example"), result.policies["a.test"]:label("fabrikam.com") }, " "));
			assert.same({ 2, 2 }, read_by_lua); -- for each of two tables
			assert.equal("file 2: something", commit.state.issues[1].message);
			read_by_lua = {};
		end
		files = { entry(1), entry(2), entry(3) };
		local commit = new_commit();
		assert.is_nil(commit.compile_all());
		assert.matches("^file 3%[2%].*listed already in file 1%[1%]", commit.state.issues[2].message);
		for _, path in ipairs(paths) do os.remove(path); end
	end);

	it("lets go of its draft at once when another has come", function ()
		local commit, dropped = new_commit(), 0;
		local drop = native.drop_draft;
		native.drop_draft = function (...) dropped = dropped + 1; return drop(...); end; -- luacheck: ignore 122
		local ok = pcall(commit.compile_all, function () error(commit.superseded, 0); end);
		native.drop_draft = drop; -- luacheck: ignore 122
		assert.is_false(ok);
		assert.equal(1, dropped);
	end);

	it("is nothing when one list has an error", function ()
		local commit = new_commit();
		lists.own = { partner "litware.com", partner "litware.com" };
		assert.is_nil(commit.compile_all(function () end));
		assert.is_false(commit.state.applied);
		assert.equal("duplicate-domain", commit.state.issues[1].code);
	end);

	it("is nothing when something fails in the middle, and the collector goes on", function ()
		local commit = new_commit();
		assert.is_nil(commit.compile_all(function () error("out of memory"); end));
		assert.matches("out of memory", commit.state.issues[1].message);
		assert.is_true(collectgarbage("isrunning"));
	end);
end);
