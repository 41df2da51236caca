-- Lua files and shared object of one version, or nothing runs. (In a server: spec/federation/scenarios/upgrade.py.)

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();

local function project_version()
	local file = assert(io.open(source.."/meson.build"));
	local version = file:read("a"):match("\n  version: '([^']+)'");
	file:close();
	return version;
end

-- The entry file as prosodyctl runs it, with `opened` for what the shared object gives: status, what it said, whether the
-- commands were reached.
local function run(opened)
	local said, reached = {}, false;
	local module = {
		path = "/plugins/mod_s2s_partners/mod_s2s_partners.lua";
		set_global = function () end;
		require = function ()
			return function ()
				return function () reached = true; return 0; end;
			end;
		end;
	};
	local env = setmetatable({
		module = module;
		prosody = { process_type = "prosodyctl" };
		package = { loadlib = function (path, name)
			assert.equal("/plugins/mod_s2s_partners/s2s_partners.so", path);
			assert.equal("luaopen_s2s_partners", name);
			if not opened then return nil, "no such file"; end
			return function () return opened; end;
		end };
		io = { stderr = { write = function (_, ...) table.insert(said, table.concat({ ... })); end } };
	}, { __index = _G });
	assert(loadfile(source.."/lua/mod_s2s_partners.lua", "t", env))();
	return module.command({}), table.concat(said), reached;
end

describe("version", function ()
	it("is the project's, in the shared object", function ()
		assert.equal(project_version(), native.version);
	end);

	it("of the Lua files is that of the shared object", function ()
		assert.same({ 0, "", true }, { run(native) });
	end);

	for name, other in pairs({ ["another"] = "0.9.0"; ["a longer"] = native.version..".1"; ["no"] = false }) do
		it("refuses a shared object with "..name.." version", function ()
			local status, said, reached = run({ version = other or nil });
			assert.equal(1, status);
			assert.is_false(reached);
			assert.truthy(said:find("the Lua files in /plugins/mod_s2s_partners are of version "..native.version, 1, true), said);
			assert.truthy(said:find("the shared object is of version "..(other or "unknown")..";", 1, true), said);
			assert.truthy(said:find("restart the server", 1, true), said);
		end);
	end

	it("does not hide that there is no shared object", function ()
		local status, said, reached = run(nil);
		assert.equal(1, status);
		assert.is_false(reached);
		assert.truthy(said:find("s2s_partners.so cannot be loaded: no such file", 1, true), said);
	end);
end);
