-- Certificate revocation lists as a configuration names them, read at commit. Which of them count for whom is decided in core, what they say in
-- ident; here are the files. What becomes of them while the server runs is in crl_watch.

local lfs = require "lfs";

local options = module:require "options";

local function no_pause() end

local function base_folder()
	return prosody.paths.config or ".";
end

-- What tells one content of a file from the next without reading it; nil when there is no file. And when it was last changed: the second time
-- is the system's own, which nobody sets back as `cp -p` does the first.
local function signature_of(path)
	local attributes = lfs.attributes(path);
	if not attributes or attributes.mode ~= "file" then return nil; end
	return ("%s %s %s %s"):format(attributes.ino, attributes.size, attributes.modification, attributes.change), math.max(
		attributes.modification, attributes.change);
end

-- Why a path without wildcard names no file.
local function no_file(path)
	local mode, err = lfs.attributes(path, "mode");
	if mode == "directory" then
		return "is a folder; name the files in it, as \"crls/*.crl\" does";
	elseif mode then
		return "is no ordinary file; name a file of revocation lists";
	elseif err and not err:find("No such file", 1, true) then
		return ("cannot be read (%s)"):format(err:match("([^:]*)$"):gsub("^ ", ""));
	end
	return "there is no such file; fetch the revocation list into it, or remove its name";
end

-- Why the files of a folder cannot be seen; nil when they can, or when it is one of many. Nothing in it would count, and nobody would know.
local function closed_folder(path)
	local folder = path:match("^(.*)/[^/]*$");
	if not folder or options.has_wildcard(folder) or lfs.attributes(folder, "mode") ~= "directory" then return nil; end
	local ok, err = pcall(lfs.dir, folder);
	return not ok and ("the folder cannot be read (%s)"):format(tostring(err):match("([^:]*)$"):gsub("^ ", "")) or nil;
end

local function new_crls(native)
	local crls = {};
	local cache = {}; -- path -> entry of the last commit that read it: a reload reads what has changed

	-- One file, in steps: its userdata and warnings, or nil and what is wrong.
	local function read(path, pause)
		local reader, problem = native.crl_reader(path);
		if not reader then return nil, problem; end
		while true do
			local file, text = reader:step();
			if file == nil then
				return nil, text;
			elseif file then
				return file, text;
			end
			pause();
		end
	end

	local function new_entry(name, signature, file, warnings)
		local next_update, this_update = file:next_update();
		local lists, entries = file:counts();
		return { name = name; signature = signature; file = file; warnings = warnings; next_update = next_update;
			this_update = this_update; lists = lists; entries = entries; begins = file:begins(os.time()) };
	end

	local function add_issue(issues, severity, code, place, got, text)
		issues[#issues+1] = { severity = severity; code = code; path = place; got = got; expected = text; nearest = "";
			message = ("%s: got %q; %s"):format(place, got, text) };
	end

	local function add_lines(issues, severity, place, got, text)
		for line in text:gmatch("[^\n]+") do
			add_issue(issues, severity, "crls", place, got, line);
		end
	end

	-- The entry of a file that the configuration names, false when it cannot be read; what there is to say of it is added to `issues`.
	local function load_file(issues, place, pattern, name, path, pause)
		local signature, written = signature_of(path);
		local before, now = cache[path], os.time();
		local entry = before;
		if not before or not signature or before.signature ~= signature then
			local file, text = read(path, pause);
			if not file then
				add_lines(issues, "error", place, pattern, text);
				return false;
			end
			if before and file:same(before.file) then file = before.file; end -- which knows who has signed it
			entry = new_entry(name, signature, file, text);
			local follows, why = true, nil;
			if before then follows, why = file:follows(before.file, now); end
			if not follows then
				add_issue(issues, "warning", "crls", place, pattern, ("%s; what it has revoked may pass again. Fetch it from its authority, unless "
					.."this is known to be right"):format(why));
			end
			-- What is written in the second in which it was read may have been written after that: such a file is looked at again.
			if written and written >= now then entry.signature = signature.." and perhaps more"; end
		end
		if entry.warnings then add_lines(issues, "warning", place, pattern, entry.warnings); end
		return entry;
	end

	-- The entries of the files that a pattern means; what cannot be read is an issue.
	local function load_pattern(stores, issues, place, pattern, pause)
		local names, bad = options.expand(base_folder(), pattern);
		local paths, problem = {}, nil;
		for _, name in ipairs(bad) do
			add_issue(issues, "error", "crls", place, name, "is not a file, or a link that leads to none; correct or remove it");
		end
		if #names == 0 and #bad == 0 then
			local path = options.join(base_folder(), pattern);
			local closed = closed_folder(path);
			problem = { severity = "error"; code = "crls"; text = closed or no_file(path) };
			if options.has_wildcard(pattern) and not closed then
				problem = { severity = "warning"; code = "no-match"; text = "no file matches; what is put there is read without a reload" };
			end
			add_issue(issues, problem.severity, problem.code, place, pattern, problem.text);
		end
		for _, name in ipairs(names) do
			local path = options.join(base_folder(), name);
			paths[#paths+1] = path;
			if stores.crl_files[path] == nil then
				stores.crl_files[path] = load_file(issues, place, pattern, name, path, pause);
				pause();
			end
		end
		return { pattern = pattern; paths = paths; problem = problem };
	end

	local function set_of(stores, wanted, made)
		local files, names, seen = {}, {}, {};
		for _, item in ipairs(wanted) do
			for _, path in ipairs(item.paths) do
				local entry = stores.crl_files[path];
				if entry and not seen[path] then
					seen[path] = true;
					files[#files+1], names[#names+1] = entry.file, path;
				end
			end
		end
		local key = table.concat(names, "\0");
		made[key] = made[key] or native.crl_set(files);
		return made[key];
	end

	local function make_sets(stores)
		local made, sets = {}, {};
		for host, labels in pairs(stores.crl_wanted) do
			sets[host] = {};
			for label, wanted in pairs(labels) do
				sets[host][label] = set_of(stores, wanted, made);
			end
		end
		return sets;
	end

	--[[
	Adds to `stores`, for policies by host and the patterns of s2s_partners_crls by host:
		crls        host -> partner -> the set that counts for it; for a partner without lists of its own that of ""
		crl_files   path -> { name, signature, file, next_update, this_update, lists, entries }, false where it cannot be read
		crl_wanted  host -> partner -> { { pattern, paths }... }
	]]
	function crls.load(stores, policies, patterns, issues, pause)
		pause = pause or no_pause;
		stores.crl_files, stores.crl_wanted = {}, {};
		local partners_of, loaded = {}, {}; -- hosts share policies and options
		local function load(place, pattern)
			local item = loaded[pattern];
			if not item then
				item = load_pattern(stores, issues, place, pattern, pause);
				loaded[pattern], item.told = item, { [place] = true };
			elseif item.problem and not item.told[place] then
				item.told[place] = true;
				add_issue(issues, item.problem.severity, item.problem.code, place, pattern, item.problem.text);
			end
			return item;
		end
		for host, policy in pairs(policies) do
			local labels, hosts_own = {}, {};
			for i, pattern in ipairs(patterns and patterns[host] or {}) do
				hosts_own[i] = load(("s2s_partners_crls[%d]"):format(i), pattern);
			end
			if hosts_own[1] then labels[""] = hosts_own; end
			partners_of[policy] = partners_of[policy] or native.partner_crls(policy);
			for _, partner in ipairs(partners_of[policy]) do
				local place = partner.place..(partner.partner ~= "unlisted" and (" (%q)"):format(partner.partner) or "");
				if partner.revocation == "required" and #partner.patterns == 0 and not partner.host_crls then
					add_issue(issues, "warning", "no-crls", place..".revocation", "required", "no revocation list counts for this partner, so "
						.."every certificate is refused; name its lists in crls"..(hosts_own[1] and " (those of the host do not count beside "
						.."trust_anchors)" or " or s2s_partners_crls"));
				end
				if #partner.patterns > 0 then
					local wanted = partner.host_crls and { table.unpack(hosts_own) } or {};
					for i, pattern in ipairs(partner.patterns) do
						wanted[#wanted+1] = load(("%s.crls[%d]"):format(place, i), pattern);
					end
					labels[partner.partner] = wanted;
				end
			end
			if next(labels) then stores.crl_wanted[host] = labels; end
		end
		for path, entry in pairs(stores.crl_files) do cache[path] = entry or nil; end
		for path in pairs(cache) do
			if stores.crl_files[path] == nil then cache[path] = nil; end
		end
		local most = 0;
		for _, labels in pairs(stores.crl_wanted) do
			for _, wanted in pairs(labels) do
				local count = 0;
				for _, item in ipairs(wanted) do count = count + #item.paths; end
				most = math.max(most, count);
			end
		end
		if most > native.crl_files_max then
			add_issue(issues, "error", "crls", "crls", tostring(most), ("of so many files no more than %d can count for a partner; put several lists "
				.."into one file"):format(native.crl_files_max));
			stores.crls = {};
			return;
		end
		stores.crls = make_sets(stores);
	end

	-- What a watch needs to know of all this.
	local files = { base_folder = base_folder; signature_of = signature_of; new_entry = new_entry; make_sets = make_sets; cache = cache };

	--[[
	Looks at the files that `guard.trust` is made of; `rooms` has latch, rejudge and expiry. watch.tick is to be called every few seconds: it asks
	for each file's times and no more. What has changed is read a step a turn of the event loop, and comes into force in one turn.
	]]
	function crls.watch(guard, rooms)
		return module:require "crl_watch" (native, files, guard, rooms);
	end

	return crls;
end

return new_crls;
