-- Certificate revocation lists: read at commit, and read anew when a file changes, without a reload. Which of them count for whom is decided in
-- core, what they say in ident; here are the files.

local lfs = require "lfs";

local options = module:require "options";

local LOOK_EVERY = 2; -- seconds between looks at the files, at least
local SETTLED = 1;    -- seconds without a change, after which nobody is still writing a file
local STEP_PAUSE = 0; -- the rest of the server has its turn between two steps

local function no_pause() end

local function base_folder()
	return prosody.paths.config or ".";
end

-- What tells one content of a file from the next without reading it; nil when there is no file. And when it was written.
local function signature_of(path)
	local attributes = lfs.attributes(path);
	if not attributes or attributes.mode ~= "file" then return nil; end
	return ("%s %s %s %s %s %s"):format(attributes.ino, attributes.size, attributes.modification, attributes.permissions, attributes.uid,
		attributes.gid), attributes.modification;
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
			this_update = this_update; lists = lists; entries = entries };
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

	-- The entries of the files that a pattern means; what cannot be read is an issue.
	local function load_pattern(stores, issues, place, pattern, pause)
		local names, bad = options.expand(base_folder(), pattern);
		local paths = {};
		for _, name in ipairs(bad) do
			add_issue(issues, "error", "crls", place, name, "is not a file, or a link that leads to none; mend or remove it");
		end
		if #names == 0 and #bad == 0 then
			if options.has_wildcard(pattern) then
				add_issue(issues, "warning", "no-match", place, pattern, "no file matches; what is put there is read without a reload");
			else
				add_issue(issues, "error", "crls", place, pattern, "there is no such file; fetch the revocation list into it, or remove its name");
			end
		end
		for _, name in ipairs(names) do
			local path = options.join(base_folder(), name);
			paths[#paths+1] = path;
			if stores.crl_files[path] == nil then
				local signature = signature_of(path);
				local entry = cache[path];
				if not entry or not signature or entry.signature ~= signature then
					local file, text = read(path, pause);
					entry = file and new_entry(name, signature, file, text) or false;
					if text and not file then add_lines(issues, "error", place, pattern, text); end
				end
				if entry and entry.warnings then add_lines(issues, "warning", place, pattern, entry.warnings); end
				stores.crl_files[path] = entry;
				pause();
			end
		end
		return { pattern = pattern; paths = paths };
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
			local key = place.."\0"..pattern;
			loaded[key] = loaded[key] or load_pattern(stores, issues, place, pattern, pause);
			return loaded[key];
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
		stores.crls = make_sets(stores);
	end

	--- While the server runs

	--[[
	Looks at the files that `guard.trust` is made of; `rooms` has latch, rejudge and expiry. watch.tick is to be called every few seconds: it asks
	for each file's times and no more. What has changed is read a step a turn of the event loop, and comes into force in one turn.
	]]
	function crls.watch(guard, rooms)
		local watch = {};
		local looked, job, stopped = 0, nil, false;
		local told = {};    -- path -> the signature (or false) that an error has been logged for
		local seen = {};    -- path -> { signature, since }: changed, and perhaps still being written
		local folders = {}; -- folder -> { its signature, the time } when its files were last counted

		local function tell(path, signature, text)
			if told[path] == (signature or false) then return; end
			told[path] = signature or false;
			module:log("error", "%s; the revocation lists that were read from it before stay in force", text);
		end

		-- Every file that is named or matched now: path -> name. A pattern is looked at again when its folder has changed.
		local function current_files(trust, now)
			local changed = {};
			local function folder_changed(folder)
				if changed[folder] == nil then
					local attributes = lfs.attributes(folder);
					local signature = attributes and ("%s %s"):format(attributes.ino, attributes.modification);
					local before = folders[folder];
					-- What has come in the second of the look may have come after it.
					changed[folder] = not before or not signature or signature ~= before.signature or attributes.modification >= before.at;
					folders[folder] = { signature = signature; at = now };
				end
				return changed[folder];
			end
			local files, visited = {}, {};
			local function visit(item)
				if visited[item] then return; end -- hosts and partners share them
				visited[item] = true;
				local folder, last = item.pattern:match("^(.*)/([^/]*)$");
				if not folder then folder, last = "", item.pattern; end
				if options.has_wildcard(last) and not options.has_wildcard(folder)
					and folder_changed(options.join(base_folder(), folder)) then
					local known = {};
					for _, path in ipairs(item.paths) do known[path] = true; end
					for _, name in ipairs((options.expand(base_folder(), item.pattern))) do
						local path = options.join(base_folder(), name);
						-- What is gone stays, until a reload.
						if not known[path] then item.paths[#item.paths+1] = path; end
					end
				end
				for _, path in ipairs(item.paths) do files[path] = true; end
			end
			for _, labels in pairs(trust.crl_wanted or {}) do
				for _, wanted in pairs(labels) do
					for _, item in ipairs(wanted) do visit(item); end
				end
			end
			return files;
		end

		-- The files to be read, in order.
		local function find_changed(trust, now)
			local list = {};
			for path in pairs(current_files(trust, now)) do
				local entry = trust.crl_files[path];
				local signature, written = signature_of(path);
				if not signature then
					seen[path] = nil;
					if entry then tell(path, nil, ("%s: is gone or no file any more; put a revocation list there"):format(path)); end
				elseif entry and entry.signature == signature then
					seen[path], told[path] = nil, nil;
				elseif told[path] ~= signature then
					local before = seen[path];
					if not before or before.signature ~= signature then
						before = { signature = signature; since = now };
						seen[path] = before;
					end
					-- Half written it would only make for an error.
					if written < now - SETTLED or now - before.since > SETTLED then
						list[#list+1] = { path = path; signature = signature };
					end
				end
			end
			table.sort(list, function (a, b) return a.path < b.path; end);
			return list;
		end

		-- All of them in one turn: whatever is judged from now on, and every stream that lives, is judged by the same lists.
		local function put_in_force(trust, entries)
			local before_files, before_sets = trust.crl_files, trust.crls;
			local files, new = setmetatable({}, { __index = before_files }), {};
			for path, entry in pairs(before_files) do files[path] = entry; end
			setmetatable(files, nil);
			for path, entry in pairs(entries) do
				files[path] = entry;
				new[#new+1] = entry.file;
			end
			local ok, found = pcall(function ()
				local set = native.crl_set(new);
				trust.crl_files = files;
				trust.crls = make_sets(trust);
				return native.take_up_crls(guard, rooms.latch.all_streams(), set);
			end);
			if not ok then
				-- The next look tries again.
				trust.crl_files, trust.crls = before_files, before_sets;
				error(found, 0);
			end
			for path, entry in pairs(entries) do
				cache[path] = entry;
				for line in (entry.warnings or ""):gmatch("[^\n]+") do module:log("warn", "%s", line); end
				module:log("info", "Revocation lists in %s have changed and are in force: %d %s, %d revoked", entry.name, entry.lists,
					entry.lists == 1 and "list" or "lists", entry.entries);
			end
			if #found > 0 then
				module:log("info", "%d live %s closed for what the new revocation lists say", #found, #found == 1 and "stream is" or "streams are");
			end
			rooms.rejudge.act({ found = found; queued = {} });
			rooms.expiry.crls_changed(trust);
		end

		-- One step of the file at hand. True while there is more to do.
		local function work()
			if stopped or job.trust ~= guard.trust then return false; end -- a reload has read everything meanwhile
			local item = job.files[job.at];
			if not item then
				if next(job.entries) then put_in_force(job.trust, job.entries); end
				return false;
			end
			local file, text;
			if not job.reader then
				job.reader, text = native.crl_reader(item.path);
				file = nil;
				if job.reader then return true; end
			else
				file, text = job.reader:step();
				if file == false then return true; end
			end
			job.reader, job.at = nil, job.at + 1;
			if file then
				job.entries[item.path] = new_entry(item.path, item.signature, file, text);
				local entry = job.trust.crl_files[item.path];
				if entry then job.entries[item.path].name = entry.name; end
				told[item.path] = nil;
			else
				tell(item.path, item.signature, text);
			end
			return true;
		end

		local function turn()
			local ok, more = xpcall(work, debug.traceback);
			if ok and more then return STEP_PAUSE; end
			job = nil;
			if not ok then module:log("error", "Revocation lists could not be read anew: %s", more); end
		end

		function watch.tick(now)
			now = now or os.time();
			if job or now - looked < LOOK_EVERY and now >= looked then return; end
			looked = now;
			local trust = guard.trust;
			if not next(trust.crl_wanted or {}) then return; end
			local files = find_changed(trust, now);
			if #files == 0 then return; end
			job = { trust = trust; files = files; at = 1; entries = {} };
			module:add_timer(STEP_PAUSE, turn);
		end

		function watch.stop()
			stopped = true;
		end

		return watch;
	end

	return crls;
end

return new_crls;
