-- What the administrator wrote, as it stands: the options of a host, the files they name, and what core's own options say.
-- Nothing is judged here but what only this side can see: files and folders.

local lfs = require "lfs";

local configmanager = require "core.configmanager";
local core_options = module:require "core_options";
local new_users = module:require "users".new;

local known_options = {
	s2s_partners = true; s2s_partners_files = true; s2s_partners_default = true;
	s2s_partners_limits = true; s2s_partners_external_access = true; s2s_partners_crls = true; s2s_partners_mode = true;
};
local known_options_text =
	"s2s_partners, s2s_partners_files, s2s_partners_default, s2s_partners_limits, s2s_partners_external_access, s2s_partners_crls "
	.."and s2s_partners_mode";

-- Far more than 10 000 partners take, and far less than anybody would wait for.
local FILE_SIZE_MAX = 64 << 20; -- bytes
local INSTRUCTIONS_MAX, INSTRUCTIONS_STEP = 100000000, 100000;

local function quote(text)
	return ('"%s"'):format(#text > 60 and text:sub(1, 57).."..." or text);
end

local function show(value)
	if type(value) == "string" then
		return quote(value);
	elseif type(value) == "table" or type(value) == "function" or type(value) == "userdata" then
		return "a "..type(value);
	end
	return ("%s (a %s)"):format(tostring(value), type(value));
end

local function add_issue(issues, severity, code, path, got, expected)
	table.insert(issues, { severity = severity; code = code; path = path; got = got; expected = expected });
end

--- Files

local function is_absolute(path)
	return path:sub(1, 1) == "/";
end

local function join(folder, name)
	if folder == "" or is_absolute(name) then return name; end
	return folder:sub(-1) == "/" and folder..name or folder.."/"..name;
end

local function has_wildcard(text)
	return text:find("[*?]") ~= nil;
end

local function glob_to_pattern(glob)
	return "^"..glob:gsub("%p", function (c)
		return c == "*" and ".*" or c == "?" and "." or "%"..c;
	end).."$";
end

-- The names in a folder that a glob matches, sorted; hidden ones only if it asks for them.
local function matching_names(folder, glob)
	local names = {};
	local pattern = glob_to_pattern(glob);
	local ok, iterate, state = pcall(lfs.dir, folder == "" and "." or folder);
	if not ok then return names; end
	for name in iterate, state do
		if name ~= "." and name ~= ".." and name:match(pattern) and (name:sub(1, 1) ~= "." or glob:sub(1, 1) == ".") then
			table.insert(names, name);
		end
	end
	table.sort(names);
	return names;
end

-- The files a pattern means, as written (relative to `base` unless absolute), in a stable order. And what has such a name but is
-- neither file nor folder: a link whose target is gone must not take its partners along in silence.
local function expand(base, pattern)
	local bad = {};
	local found = { is_absolute(pattern) and "/" or "" };
	local parts = {};
	for part in pattern:gmatch("[^/]+") do
		table.insert(parts, part);
	end
	for i, part in ipairs(parts) do
		local next_found = {};
		for _, folder in ipairs(found) do
			for _, name in ipairs(has_wildcard(part) and matching_names(join(base, folder), part) or { part }) do
				local path = join(folder, name);
				local mode = lfs.attributes(join(base, path), "mode");
				if mode == "directory" and i < #parts or mode == "file" and i == #parts then
					table.insert(next_found, path);
				elseif mode ~= "file" and mode ~= "directory" and has_wildcard(part) then
					table.insert(bad, path);
				end
			end
		end
		found = next_found;
	end
	return #parts > 0 and found or {}, bad;
end

-- Calls a chunk of somebody else's, which must not keep the whole server waiting: as pcall does.
local function call_bounded(chunk)
	local left = INSTRUCTIONS_MAX / INSTRUCTIONS_STEP;
	local function count()
		left = left - 1;
		if left < 0 then error("takes too long; a partner file is to return a list, not to compute", 0); end
	end
	local old_hook, old_mask, old_count = debug.gethook();
	debug.sethook(count, "", INSTRUCTIONS_STEP);
	local ok, result = pcall(chunk);
	debug.sethook(old_hook, old_mask, old_count);
	return ok, result;
end

-- Runs a partner file, which may use nothing but its own text. Returns what it returns, or nil and what went wrong.
local function load_file(path)
	if (lfs.attributes(path, "size") or 0) > FILE_SIZE_MAX then
		return nil, ("is larger than %d MiB"):format(FILE_SIZE_MAX >> 20);
	end
	local file, err = io.open(path, "rb");
	if not file then return nil, err; end
	local content, read_err = file:read("a");
	file:close();
	if not content then return nil, read_err or "cannot be read"; end
	-- As Lua does with files of its own.
	content = content:gsub("^\xEF\xBB\xBF", "");
	local chunk, load_err = load(content, "=file", "t", {});
	if not chunk then return nil, load_err; end
	local ok, result = call_bounded(chunk);
	if not ok then return nil, tostring(result); end
	return result;
end

local function read_file(issues, lists, base, name)
	local path = join(base, name);
	local list, err = load_file(path);
	if err then
		local line, text = err:match("^file:(%d+): (.*)$");
		text = text or err;
		if text:sub(1, #path + 2) == path..": " then
			text = text:sub(#path + 3);
		end
		add_issue(issues, "error", "bad-file", line and name..":"..line or name, "", text.."; correct the file");
	elseif list == nil then
		add_issue(issues, "error", "bad-file", name, "", "returns nothing; must return a list of partners: return { { domain = ... } }");
	else
		table.insert(lists, { place = name; list = list });
	end
end

-- `later`: what to do with a file instead of reading it.
local function read_pattern(issues, lists, seen, base, place, pattern, later)
	if type(pattern) ~= "string" or pattern == "" then
		add_issue(issues, "error", "wrong-type", place, show(pattern), "must be the name of a file or a pattern such as \"partners.d/*.cfg.lua\"");
		return;
	end
	local names, bad = expand(base, pattern);
	for _, name in ipairs(bad) do
		add_issue(issues, "error", "bad-file", name, "", "is not a file, or a link that leads to none; correct or remove it");
	end
	if #names == 0 and #bad == 0 then
		if has_wildcard(pattern) then
			add_issue(issues, "warning", "no-match", place, quote(pattern), "no file matches");
		elseif lfs.symlinkattributes(join(base, pattern), "mode") then
			add_issue(issues, "error", "no-file", place, quote(pattern), "is not a file, or a link that leads to none; name a file");
		else
			add_issue(issues, "error", "no-file", place, quote(pattern), "there is no such file; create it or remove its name");
		end
	end
	for _, name in ipairs(names) do
		-- A file that two patterns match is read once.
		if not seen[join(base, name)] then
			seen[join(base, name)] = true;
			(later or read_file)(issues, lists, base, name);
		end
	end
end

-- How many items the list has that an option is; nil, and an issue, when it is none.
local function length_of(issues, option, list, example)
	if type(list) ~= "table" then
		add_issue(issues, "error", "wrong-type", option, show(list), ("must be a list of files or patterns: { %q }"):format(example));
		return nil;
	end
	local count, last = 0, 0;
	for key in next, list do
		if math.type(key) == "integer" and key >= 1 then
			count, last = count + 1, math.max(last, key);
		else
			add_issue(issues, "error", "stray-key", option, show(key), "a list has no keys; write its items one after the other");
		end
	end
	if count ~= last then
		add_issue(issues, "error", "hole", option, "", "a list must have no holes");
		return nil;
	end
	return last;
end

-- The patterns of s2s_partners_crls as they stand; what is none is an issue. One path is a list of one, as with a partner's crls.
local function read_crls(issues, patterns)
	local list = {};
	if patterns == nil then return list; end
	if type(patterns) == "string" then patterns = { patterns }; end
	for i = 1, length_of(issues, "s2s_partners_crls", patterns, "crls/*.crl") or 0 do
		local pattern = rawget(patterns, i);
		if type(pattern) == "string" and pattern ~= "" and not pattern:find("\0", 1, true) then
			table.insert(list, pattern);
		else
			add_issue(issues, "error", "wrong-type", ("s2s_partners_crls[%d]"):format(i), show(pattern),
				"must be the path of a file of revocation lists, or a pattern such as \"crls/*.crl\"");
		end
	end
	return list;
end

local function read_files(issues, lists, base, patterns, later)
	if patterns == nil then return; end
	local seen = {};
	for i = 1, length_of(issues, "s2s_partners_files", patterns, "partners.d/*.cfg.lua") or 0 do
		read_pattern(issues, lists, seen, base, ("s2s_partners_files[%d]"):format(i), rawget(patterns, i), later);
	end
end

--- The configuration around it

local function local_domains()
	local names = {};
	for name in pairs(configmanager.getconfig()) do
		if name ~= "*" then names[name] = true; end
	end
	for name in pairs(prosody.hosts) do
		names[name] = true;
	end
	local list = {};
	for name in pairs(names) do
		table.insert(list, name);
	end
	table.sort(list);
	return list;
end

-- An option that is nearly one of ours would be ignored by everybody.
local function find_unknown_options(issues, section)
	local names = {};
	for name in pairs(rawget(configmanager.getconfig(), section) or {}) do
		if type(name) == "string" and name:match("^s2s_partner") and not known_options[name] then
			table.insert(names, name);
		end
	end
	table.sort(names);
	for _, name in ipairs(names) do
		add_issue(issues, "error", "unknown-option", name, "", "unknown option; the options are "..known_options_text);
	end
end

-- What it says is read in mod_s2s_partners.lua, which takes whatever is wrong here for "enforce".
local function check_mode(issues, section)
	local value = rawget(rawget(configmanager.getconfig(), section) or {}, "s2s_partners_mode");
	if value == nil then return; end
	if section ~= "*" then
		add_issue(issues, "error", "wrong-place", "s2s_partners_mode", show(value), "holds for the whole server, which enforces until this is corrected; "
			.."write it into the global section, before the first VirtualHost or Component");
	elseif value ~= "observe" and value ~= "enforce" then
		add_issue(issues, "error", "wrong-value", "s2s_partners_mode", show(value), "must be \"enforce\" or \"observe\"; until this is corrected the "
			.."server enforces");
	end
end

--- Keys: two hosts that were told the same have the same one

-- Tables are told apart by identity: hosts that inherit one share it. Keys are good within one run.
local function identify(run, value)
	local kind = type(value);
	if kind == "string" or kind == "number" or kind == "boolean" or kind == "nil" then
		return ("%s:%q"):format(kind, tostring(value));
	end
	if not run.ids[value] then
		run.next_id = run.next_id + 1;
		run.ids[value] = run.next_id;
	end
	return "#"..run.ids[value];
end

local function option_key(run, options)
	local secure, insecure = {}, {};
	for i, domain in ipairs(options.secure_domains) do secure[i] = ("%q"):format(domain); end
	for i, domain in ipairs(options.insecure_domains) do insecure[i] = ("%q"):format(domain); end
	return table.concat({
		identify(run, options.require_encryption), identify(run, options.allow_encryption), identify(run, options.secure_auth),
		identify(run, options.without_tls), identify(run, options.without_saslauth), identify(run, options.without_dialback),
		identify(run, options.s2s_timeout), identify(run, options.out_of_reach), identify(run, options.crls), table.concat(secure, ","),
		table.concat(insecure, ","),
	}, "|");
end

--- For others

-- A run is one look at the whole configuration; what the hosts have in common is looked at once. user_files: the files of user names that
-- were read, with their stamps.
local function begin()
	return { ids = {}; next_id = 0; local_domains = local_domains(); user_files = {} };
end

--[[
What the configuration says for `host`:
	table_key   the same string for hosts that share one partner table (within one run)
	table       function that returns the spec for native.compile_table; it reads the files, so call it once a key and let
	            go of the spec when it is compiled. With true it leaves the files to native.feed_files: each is { place, path, read } in
	            `lists` (no path: not for C), and read() returns its list (or nil) and issues
	policy_key  the same string for hosts that share the whole policy (within one run)
	policy      the spec for native.compile_policy, but for its `table`
	crls        the files and patterns of revocation lists for the authorities that the host trusts, as written
	modules     whether the host's own modules_enabled or modules_disabled makes a difference to its methods
]]
local function collect(host, run)
	run = run or begin();
	local global, context = module:context("*"), module:context(host);
	local partners = context:get_option("s2s_partners");
	local files = context:get_option("s2s_partners_files");
	local default = context:get_option("s2s_partners_default");
	local limits = context:get_option("s2s_partners_limits");
	local access = context:get_option("s2s_partners_external_access");
	local options = core_options.read(global, context);
	local issues = {};
	run.users = run.users or new_users(prosody.paths.config or ".", join, add_issue, quote, run.user_files);
	if host ~= "*" then
		find_unknown_options(issues, host);
		check_mode(issues, host);
		if options.out_of_reach then
			add_issue(issues, "warning", "out-of-reach", "modules_disabled of "..quote(host), "\"s2s\"", "no partner reaches this host, over no stream, "
				.."and its users reach none; remove it if the host is to federate");
		end
	end
	local crls = read_crls(issues, context:get_option("s2s_partners_crls"));
	options.crls = #crls > 0;

	local table_key = identify(run, partners).."|"..identify(run, files);
	local policy_key = table.concat({ table_key, identify(run, default), identify(run, limits), identify(run, access),
		option_key(run, options), #issues > 0 and host or "" }, "|");

	local function read_later(_, files_found, base, name)
		local function read()
			local found, own = {}, {};
			read_file(own, found, base, name);
			if not found[1] then return nil, own; end
			return run.users.prepare_entries(own, found[1].list, name), own;
		end
		-- C reads what is on disk. Who looks at a file that is not there yet has an `io` of his own (offline/overlay), and so reads it himself.
		table.insert(files_found, { place = name; path = io == _G.io and join(base, name) or nil; read = read });
	end

	local function table_spec(without_files)
		local spec = { lists = {}; issues = {}; local_domains = run.local_domains };
		find_unknown_options(spec.issues, "*");
		check_mode(spec.issues, "*");
		if partners ~= nil then
			table.insert(spec.lists, { place = "s2s_partners"; list = partners });
		end
		read_files(spec.issues, spec.lists, prosody.paths.config or ".", files, without_files and read_later);
		for _, item in ipairs(spec.lists) do
			if not item.read then item.list = run.users.prepare_entries(spec.issues, item.list, item.place); end
		end
		return spec;
	end

	return {
		table_key = table_key; table = table_spec;
		policy_key = policy_key;
		crls = crls;
		modules = core_options.differ_in_modules(global, options);
		policy = {
			default = default; limits = limits; external_access = run.users.prepare(issues, access, "s2s_partners_external_access");
			options = options; issues = issues;
		};
	};
end

return { begin = begin; collect = collect; expand = expand; has_wildcard = has_wildcard; join = join };
