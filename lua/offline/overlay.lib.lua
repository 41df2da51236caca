-- The configuration as it would be with one partner file more, less or changed, while the disk stays as it is: what is written is
-- checked before it is put in place.

local lfs = require "lfs";

local function split(path)
	local folder, name = path:match("^(.*)/([^/]*)$");
	return folder == "" and "/" or folder or ".", name or path;
end

-- Patterns may lead to one folder in several spellings, through links, too.
local function same_folder(one, other)
	if one == other then return true; end
	local a, b = lfs.attributes(one), lfs.attributes(other);
	return a and b and a.dev == b.dev and a.ino == b.ino;
end

-- lfs and io.open as they would be if the file at `path` had this content; nil: if it were not there.
local function libraries(path, content)
	local folder, name = split(path);
	local function is_it(other)
		if type(other) ~= "string" then return false; end
		local other_folder, other_name = split(other);
		return other_name == name and same_folder(other_folder, folder);
	end
	local files = setmetatable({}, { __index = lfs });
	local function attributes(original)
		return function (other, what)
			if not is_it(other) then return original(other, what); end
			if not content then return nil, "No such file or directory"; end
			local values = { mode = "file"; size = #content; modification = os.time() };
			if type(what) == "string" then return values[what]; end
			return values;
		end;
	end
	files.attributes = attributes(lfs.attributes);
	files.symlinkattributes = attributes(lfs.symlinkattributes);
	function files.dir(other)
		local names = {};
		for found in lfs.dir(other) do names[#names + 1] = found; end
		if same_folder(other, folder) then
			for i = #names, 1, -1 do
				if names[i] == name then table.remove(names, i); end
			end
			if content then names[#names + 1] = name; end
		end
		local position = 0;
		return function ()
			position = position + 1;
			return names[position];
		end;
	end
	local input = setmetatable({}, { __index = io });
	function input.open(other, mode)
		if not is_it(other) then return io.open(other, mode); end
		if not content then return nil, other..": No such file or directory"; end
		local rest = content;
		return {
			read = function (_, what)
				local text = rest:sub(1, type(what) == "number" and what or #rest);
				rest = rest:sub(#text + 1);
				return text;
			end;
			close = function () return true; end;
		};
	end
	return files, input;
end

-- The options reader of this module, over such files.
local function load_options(path, content)
	local files, input = libraries(path, content);
	local environment = setmetatable({
		module = module; prosody = prosody; io = input;
		require = function (library)
			if library == "lfs" then return files; end
			return require(library);
		end;
	}, { __index = _G });
	local code, err = require "core.modulemanager".loader:load_code_ext(module.name, "options", "lib.lua", environment);
	return assert(code, err)();
end

return { options = load_options; libraries = libraries };
