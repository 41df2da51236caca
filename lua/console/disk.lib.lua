-- The configuration as it stands on disk now, read beside the one in force: nothing that runs hears of it.

local lfs = require "lfs";

-- A configmanager of our own: core's holds what was loaded last, and loading there would be a reload without its events.
local function private_configmanager()
	local path = assert(package.searchpath("core.configmanager", package.path));
	return assert(loadfile(path))("core.configmanager");
end

local load_with;

-- The module API of a host, over those options.
local function stand_in(config, host)
	return setmetatable({
		host = host;
		get_option = function (_, name, default)
			local value = config.get(host, name);
			if value == nil then return default; end
			return value;
		end;
		context = function (_, other) return stand_in(config, other); end;
		require = function (_, library)
			-- What reads options when it is asked, and not when it is loaded.
			if library == "inside/inner_settings" then return load_with(config, library); end
			return module:require(library);
		end;
	}, { __index = module });
end

-- Files of this module, loaded so that they see those options and no others.
function load_with(config, name)
	local environment = setmetatable({
		module = stand_in(config, "*");
		require = function (library)
			if library == "core.configmanager" or library == "prosody.core.configmanager" then return config; end
			return require(library);
		end;
	}, { __index = _G });
	environment.prosody = prosody;
	local code, err = require "core.modulemanager".loader:load_code_ext(module.name, name, "lib.lua", environment);
	return assert(code, err)();
end

local fingerprint;

-- The outcome of compiling what is on disk: result (nil with any error) and state, as commit has them; the configuration, and the fingerprint
-- of its files before the last of them was read. `observes`: the latch's; `pause` (or nil) as commit.compile_all has it.
local function try(native, observes, pause)
	local config = private_configmanager();
	local ok, level, err = config.load(prosody.config_file, "lua");
	if not ok then
		return nil, { applied = false; partner_count = 0; issues = { { severity = "error"; code = "bad-file"; path = prosody.config_file;
			got = ""; expected = ""; nearest = ""; message = ("%s: %s"):format(level == "file" and "the file cannot be read"
			or "the file cannot be parsed", tostring(err)) } } };
	end
	local commit = load_with(config, "commit")(native, load_with(config, "options"), load_with(config, "trust")(native),
		function () return observes(config); end);
	local stamps = fingerprint(config);
	return commit.compile_all(pause), commit.state, config, stamps;
end

--- Whether the files are still those that were read

local function stamp(path)
	local attributes = lfs.attributes(path);
	return attributes and ("%s:%d:%d"):format(path, attributes.modification, attributes.size) or path..":none";
end

-- Tells one state of all the files from another. `configmanager`: what has read them; core's when left out.
function fingerprint(configmanager)
	configmanager = configmanager or require "core.configmanager";
	local base = prosody.paths.config or ".";
	local expand = module:require "options".expand;
	local stamps, seen = {}, {};
	for _, path in ipairs(configmanager.files()) do -- each as often as it has been loaded
		if not seen[path] then stamps[#stamps + 1] = stamp(path); end
		seen[path] = true;
	end
	for _, section in pairs(configmanager.getconfig()) do
		local patterns = rawget(section, "s2s_partners_files");
		for _, pattern in ipairs(type(patterns) == "table" and patterns or {}) do
			for _, path in ipairs(type(pattern) == "string" and expand(base, pattern) or {}) do
				stamps[#stamps + 1] = stamp(path:sub(1, 1) == "/" and path or base.."/"..path);
			end
		end
	end
	table.sort(stamps);
	return table.concat(stamps, "\n");
end

-- Whether any of these files ({ [path] = stamp }, as options has read them) is another by now.
local function differ(files)
	local users = module:require "users";
	for path, was in pairs(files or {}) do
		if users.stamp(path) ~= was then return true; end
	end
	return false;
end

return { try = try; fingerprint = fingerprint; differ = differ };
