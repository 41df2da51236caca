-- add, set, remove: one partner a file, in the folder of the first pattern of s2s_partners_files. A file is written whole and put in place
-- by renaming it, after the configuration has been checked with it; files that were not written here are never touched, and those that
-- were changed by hand since only when told to.

local lfs = require "lfs";
local sha256 = require "util.hashes".sha256;

local layout = module:require "layout";
local read_file = module:require "bounded_file";
local lua_text = module:require "import/lua_text";
local overlay = module:require "offline/overlay";

local SUFFIX = ".cfg.lua";
local FILE_SIZE_MAX = 1024 * 1024;
local INSTRUCTIONS_MAX = 10000000;

local TITLE = "-- A partner of mod_s2s_partners, written by prosodyctl mod_s2s_partners. Change it with";
local HINT = "-- prosodyctl mod_s2s_partners set %s --KEY VALUE; after a change by hand, set and remove ask for --force.";
local CHECKSUM = "-- sha256 of what follows: ";

-- The keys in the order in which they are written, and what a flag's text means; a key that is not here is a text, and the validator's.
local order = { "domain"; "description"; "additional_domains"; "partner_type"; "tls"; "sasl"; "dialback"; "trust_anchors"; "crls"; "revocation";
	"pinned_keys"; "connection_limit"; "keepalive"; "proxy"; "presence_authorization"; "group_chat"; "personal_events" };
local is_list = { additional_domains = true; pinned_keys = true; crls = true };
local is_boolean = { dialback = true; keepalive = true };
local is_number = { connection_limit = true };
local place_of = {};
for i, key in ipairs(order) do place_of[key] = i; end

local entries = {};

--- Values

local function flag_of(key)
	return "--"..key:gsub("_", "-");
end

local function read_value(key, text)
	if is_boolean[key] then
		if text == "true" or text == "false" then return text == "true"; end
		return nil, ("%s: got %q; must be true or false"):format(flag_of(key), layout.plain(text, 60));
	elseif is_number[key] then
		local number = text:match("^%d+$") and math.tointeger(tonumber(text));
		if number then return number; end
		return nil, ("%s: got %q; must be a whole number"):format(flag_of(key), layout.plain(text, 60));
	elseif is_list[key] then
		local list = {};
		for item in text:gmatch("[^,%s]+") do list[#list + 1] = item; end
		if #list == 0 then return nil, ("%s: got %q; must be one or more, with commas between"):format(flag_of(key), layout.plain(text, 60)); end
		return list;
	end
	return text;
end

-- { [key] = value or nothing } and the keys to take out, of { key, text }...; nil and what is wrong with one.
function entries.read_flags(flags)
	local values, unset = {}, {};
	for _, flag in ipairs(flags) do
		local key = flag.key == "type" and "partner_type" or flag.key;
		if key == "domain" then
			return nil, "--domain: the domain of an entry is the name of its file; remove the entry and add another";
		elseif key == "external_access" then
			return nil, "--external-access is a table; write this entry by hand, in a file of your own";
		elseif values[key] ~= nil or unset[key] then
			return nil, ("%s is given twice"):format(flag_of(key));
		elseif flag.text == "" then
			unset[key] = true;
		else
			local value, problem = read_value(key, flag.text);
			if value == nil then return nil, problem; end
			values[key] = value;
		end
	end
	return values, unset;
end

local function write_value(value)
	if type(value) == "table" then return lua_text.list(value); end
	if type(value) == "string" then return lua_text.quote(value); end
	return tostring(value);
end

-- The text of a file with this entry.
function entries.write(entry)
	local keys = {};
	for key in pairs(entry) do keys[#keys + 1] = key; end
	table.sort(keys, function (a, b)
		local place_a, place_b = place_of[a] or #order + 1, place_of[b] or #order + 1;
		if place_a ~= place_b then return place_a < place_b; end
		return a < b;
	end);
	local lines = { "return { {" };
	for _, key in ipairs(keys) do
		local name = key:match("^[%a_][%w_]*$") and key or "["..lua_text.quote(key).."]";
		lines[#lines + 1] = ("\t%s = %s;"):format(name, write_value(entry[key]));
	end
	lines[#lines + 1] = "} }\n";
	local body = table.concat(lines, "\n");
	return table.concat({ TITLE, HINT:format(entry.domain), CHECKSUM..sha256(body, true), body }, "\n");
end

-- Whose text it is: "ours", "changed" by hand since, or "foreign".
function entries.origin(text)
	if text:sub(1, #TITLE) ~= TITLE then return "foreign"; end
	local sum, body = text:match("^[^\n]*\n[^\n]*\n"..CHECKSUM:gsub("%p", "%%%0").."(%x+)\n(.*)$");
	return sum and sum == sha256(body, true) and "ours" or "changed";
end

-- The one entry of a text; nil and what is wrong. It may have been changed by hand, so it is run as partner files are: with nothing to use,
-- and not for long.
function entries.read(text)
	local chunk, err = load(text, "=file", "t", {});
	if not chunk then return nil, "cannot be read: "..layout.plain(err, 200); end
	local old_hook, old_mask, old_count = debug.gethook();
	debug.sethook(function () error("takes too long", 0); end, "", INSTRUCTIONS_MAX);
	local ok, list = pcall(chunk);
	debug.sethook(old_hook, old_mask, old_count);
	if not ok then return nil, "cannot be read: "..layout.plain(list, 200); end
	if type(list) ~= "table" or #list ~= 1 or next(list, 1) ~= nil or type(list[1]) ~= "table" then
		return nil, "does not hold exactly one entry";
	end
	local entry = {};
	for key, value in next, list[1] do
		local is_plain = type(value) == "string" or type(value) == "number" or type(value) == "boolean";
		if type(value) == "table" then
			is_plain = #value > 0;
			for position, item in next, value do
				is_plain = is_plain and math.type(position) == "integer" and type(item) == "string";
			end
		end
		if type(key) ~= "string" or not is_plain then
			return nil, ("has %s, which can only be written by hand"):format(layout.plain(tostring(key), 60));
		end
		entry[key] = value;
	end
	return entry;
end

--- Places

local function join(base, path)
	return path:sub(1, 1) == "/" and path or base.."/"..path;
end

-- Where the file of a domain is: { name (as the configuration would name it), path, folder }; nil and what is wrong.
function entries.place(domain)
	local patterns = module:context("*"):get_option("s2s_partners_files");
	local pattern = type(patterns) == "table" and patterns[1];
	if type(pattern) ~= "string" or pattern == "" then
		return nil, "there is no folder for entries: s2s_partners_files in the global section has no pattern; write s2s_partners_files = { \"partners.d/*"
			..SUFFIX.."\" } there and make that folder";
	end
	local folder, glob = pattern:match("^(.*)/([^/]*)$");
	folder, glob = folder or "", glob or pattern;
	if folder:find("[*?]") then
		return nil, ("the first pattern of s2s_partners_files is %q: its folder must be one, without * and ?"):format(pattern);
	end
	local file = domain..SUFFIX;
	local fits = file:match("^"..glob:gsub("%p", function (c)
		return c == "*" and ".*" or c == "?" and "." or "%"..c;
	end).."$");
	if not fits then
		return nil, ("the first pattern of s2s_partners_files is %q, which %s would not match; make it %q"):format(pattern, file,
			(folder ~= "" and folder.."/" or "").."*"..SUFFIX);
	end
	local base = prosody.paths.config or ".";
	local path = folder == "" and pattern:sub(1, 1) == "/" and "/" or folder == "" and base or join(base, folder);
	if lfs.attributes(path, "mode") ~= "directory" then
		return nil, ("the folder %s, of the first pattern of s2s_partners_files, is not there; make it"):format(path);
	end
	return { name = folder ~= "" and folder.."/"..file or file; path = path.."/"..file; folder = path };
end

-- The text of the file at a place and its entry, when it may be changed; nil and why not.
function entries.open(place, force)
	local mode = lfs.symlinkattributes(place.path, "mode");
	if not mode then return nil, "is not there"; end
	if mode ~= "file" then return nil, ("is a %s, which was not made here; change it by hand"):format(mode); end
	local text, problem = read_file(place.path, FILE_SIZE_MAX, "is too large to have been written here");
	if not text then return nil, problem; end
	local origin = entries.origin(text);
	if origin == "foreign" then
		return nil, "was not written here, and is not touched; change it by hand";
	elseif origin == "changed" and not force then
		return nil, "was changed by hand since it was written here; change it by hand again, or say --force, and comments in it are lost";
	end
	return text;
end

-- The file gets its name, but takes it from no other: a link fails where a renaming would replace. Not every file system has links.
local function put_new(temporary, path)
	local ok, problem = lfs.link(temporary, path);
	if not ok and not lfs.symlinkattributes(path, "mode") then return os.rename(temporary, path); end
	os.remove(temporary);
	return ok, problem;
end

-- Puts the text in place of the file, whole or not at all: nil and what went wrong. `new`: there must be no such file yet.
function entries.save(native, place, text, new)
	local temporary = ("%s/.%s.%s.new"):format(place.folder, place.name:match("[^/]*$"), require "util.id".short());
	local pposix = require "util.pposix";
	-- Prosody has to be able to read it, whichever user runs this; who may look into the folder is the folder's matter.
	local old_mask = pposix.umask("022");
	local file, err = io.open(temporary, "wb");
	pposix.umask(old_mask);
	if not file then return nil, err; end
	local ok, problem = file:write(text);
	local closed, close_problem = file:close();
	if ok and not closed then ok, problem = nil, close_problem; end
	if ok then ok, problem = native.sync_file(temporary); end
	if ok then ok, problem = (new and put_new or os.rename)(temporary, place.path); end
	if not ok then
		os.remove(temporary);
		return nil, tostring(problem);
	end
	-- It is in place; a file system that cannot sync a folder does not undo that.
	native.sync_file(place.folder);
	return true;
end

function entries.delete(native, place)
	local ok, problem = os.remove(place.path);
	if not ok then return nil, problem; end
	native.sync_file(place.folder);
	return true;
end

--- The whole configuration, with it

-- Compiles everything as it would be with this text in place (nil: without the file): the result, nil with any error, and the state. `observes`: see
-- commit.
function entries.check(native, place, text, observes)
	local options = overlay.options(place.path, text);
	local commit = module:require "commit" (native, options, module:require "trust" (native), observes);
	return commit.compile_all(), commit.state;
end

return entries;
