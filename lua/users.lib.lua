-- Names of local users under external access: from the table that was written, or from a file, one a line; prepared as core prepares
-- them (RFC 6122). What a name must not be is core's to say; ASCII is folded there as well.

local lfs = require "lfs";

local nodeprep = require "util.encodings".stringprep.nodeprep;

local FILE_SIZE_MAX = 16 << 20; -- bytes; names of a million users
local LINES_TOLD = 20; -- of those that are no names

local function stamp(path)
	local attributes = lfs.attributes(path);
	return attributes and ("%d:%d"):format(attributes.modification, attributes.size) or "none";
end

-- The text of a file; nil and what is wrong.
local function read_text(path)
	local mode = lfs.attributes(path, "mode");
	if not mode then return nil, "there is no such file; create it, or name another"; end
	-- A pipe would keep the whole server waiting for a writer.
	if mode ~= "file" then return nil, ("is a %s; name a file, one user a line"):format(mode == "directory" and "folder" or mode); end
	if (lfs.attributes(path, "size") or 0) > FILE_SIZE_MAX then
		return nil, ("is larger than %d MiB"):format(FILE_SIZE_MAX >> 20);
	end
	local file, err = io.open(path, "rb");
	local text = file and file:read("a");
	if file then file:close(); end
	return text, text == nil and ("cannot be read: %s"):format(err or "no file") or nil;
end

-- { [name] = line } of the names in a text. A comment begins with a "#" at the start of a line or behind a space: a name may hold one.
local function names_of(text, report)
	local names, count, number, bad = {}, 0, 0, 0;
	for line in (text:gsub("^\xEF\xBB\xBF", "").."\n"):gmatch("(.-)\r?\n") do
		number = number + 1;
		local name = (" "..line):gsub("%s#.*$", ""):match("^%s*(.-)%s*$");
		if name ~= "" then
			local prepared = not name:find("[%c \"&'/:<>@\127]") and nodeprep(name:lower());
			if not prepared or prepared == "" then
				bad = bad + 1;
				if bad <= LINES_TOLD then
					report("error", "bad-user", number, name, name:find("@", 1, true) and "must be the name of a local user, without \"@\" and domain"
						or "must be the name of a local user, one a line");
				end
			elseif names[prepared] then
				report("warning", "duplicate-user", number, name, ("is named in line %d already; remove one of the two"):format(names[prepared]));
			else
				names[prepared], count = number, count + 1;
			end
		end
	end
	if bad > LINES_TOLD then
		report("error", "bad-user", number, "", ("and %d more lines that are no names"):format(bad - LINES_TOLD));
	end
	return names, count + bad;
end

-- Makes the functions that put the users of a file in the place of its name, wherever the configuration has an external access. `join(base, name)`
-- and `add(issues, severity, code, path, got, expected)` are those of options. `read` receives the stamp of each file that was read, by its path.
local function new_users(base, join, add, quote, read)
	local texts = {};

	-- The map that a file stands for: each user that it names has the opposite of the default.
	local function from_file(issues, access, path)
		local name = rawget(access, "users");
		local file = join(base, name);
		if not texts[file] then
			read[file] = stamp(file);
			texts[file] = { read_text(file) };
		end
		local text, err = texts[file][1], texts[file][2];
		if not text then
			add(issues, "error", "bad-file", path..".users", quote(name), err);
			return {};
		end
		local names, count = names_of(text, function (severity, code, line, got, expected)
			add(issues, severity, code, ("%s:%d"):format(name, line), got ~= "" and quote(got) or "", expected);
		end);
		if count == 0 then
			add(issues, "warning", "no-users", path..".users", quote(name), "names nobody, so the default holds for all users");
		end
		local word = rawget(access, "default") == "deny" and "allow" or "deny";
		for user in pairs(names) do
			names[user] = word;
		end
		return names;
	end

	-- The same map, its names prepared; nil where there is nothing to prepare.
	local function from_table(issues, users, path)
		local prepared, changed = {}, false;
		for name, value in next, users do
			local new_name = name;
			if type(name) == "string" and name:find("[\128-\255]") then
				new_name = nodeprep(name) or name;
				changed = true;
			end
			if prepared[new_name] ~= nil then
				add(issues, "error", "duplicate-user", ("%s.users[%s]"):format(path, quote(tostring(new_name))), "",
					"this user is named twice, in different spellings; remove one of the two");
			end
			prepared[new_name] = value;
		end
		return changed and prepared or nil;
	end

	-- What was written, or a copy with other users; what is no external access is left to core.
	local function prepare(issues, access, path)
		local users = type(access) == "table" and rawget(access, "users") or nil;
		local prepared;
		if type(users) == "string" and users ~= "" and not users:find("\0", 1, true) then
			prepared = from_file(issues, access, path);
		elseif type(users) == "table" then
			prepared = from_table(issues, users, path);
		end
		if not prepared then return access; end
		local copy = {};
		for key, value in next, access do
			copy[key] = value;
		end
		copy.users = prepared;
		return copy;
	end

	-- The same of the entries of a list; most have none, and the list then stays what it is.
	local function prepare_entries(issues, list, place)
		if type(list) ~= "table" then return list; end
		local copy;
		for index, entry in next, list do
			local access = type(entry) == "table" and rawget(entry, "external_access");
			if type(access) == "table" then
				local domain = rawget(entry, "domain");
				local prepared = prepare(issues, access, ("%s[%s]%s.external_access"):format(place, tostring(index),
					type(domain) == "string" and (" (%s)"):format(quote(domain)) or ""));
				if prepared ~= access then
					if not copy then
						copy = {};
						for key, value in next, list do copy[key] = value; end
					end
					copy[index] = {};
					for key, value in next, entry do copy[index][key] = value; end
					copy[index].external_access = prepared;
				end
			end
		end
		return copy or list;
	end

	return { prepare = prepare; prepare_entries = prepare_entries };
end

return { new = new_users; stamp = stamp };
