-- Files of revocation lists while the server runs: what has changed is read anew, without a reload.

local lfs = require "lfs";

local options = module:require "options";

local LOOK_EVERY = 2;  -- seconds between looks at the files, at least
local SETTLED = 1;     -- seconds without a change, after which nobody is still writing a file
local STEP_PAUSE = 0;  -- the rest of the server has its turn between two steps
local RETRY_MAX = 60;  -- seconds between attempts, of which the first has failed for no fault of a file

-- See crls.watch, which also gives `kept`.
local function new_watch(native, kept, guard, rooms)
	local base_folder, signature_of, new_entry = kept.base_folder, kept.signature_of, kept.new_entry;
	local make_sets, cache = kept.make_sets, kept.cache;
	local watch = {};
	local looked, job, stopped = 0, nil, false;
	local failed, wait = 0, nil; -- when a job has failed, and how long the next one waits
	local told = {};    -- path -> the signature (or false) that an error has been logged for
	local again = {};   -- path -> when a file that was refused may be taken after all
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
					if not known[path] and #item.paths < native.crl_files_max then item.paths[#item.paths+1] = path; end
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
				seen[path], told[path], again[path] = nil, nil, nil;
			elseif told[path] ~= signature or again[path] and now >= again[path] then
				local before = seen[path];
				-- Who has set the clock back is not waited for.
				if not before or before.signature ~= signature or before.since > now then
					before = { signature = signature; since = now };
					seen[path] = before;
				end
				-- Half written it would only make for an error.
				if written < now - SETTLED or now - before.since > SETTLED then
					list[#list+1] = { path = path; name = path; signature = signature };
				end
			end
		end
		table.sort(list, function (a, b) return a.path < b.path; end);
		return list;
	end

	-- What the streams that live are to be judged by anew: those with a certificate that one of these files mentions.
	local function take_up(new)
		return native.take_up_crls(guard, rooms.latch.all_streams(), native.crl_set(new));
	end

	local function close(found)
		if #found > 0 then
			module:log("info", "%d live %s closed for what the new revocation lists say", #found, #found == 1 and "stream is" or "streams are");
		end
		rooms.rejudge.act({ found = found; queued = {} });
	end

	-- All of them in one turn: whatever is judged from now on, and every stream that lives, is judged by the same lists.
	local function put_in_force(trust, entries)
		local before_files, before_sets = trust.crl_files, trust.crls;
		local files, new = {}, {};
		for path, entry in pairs(before_files) do files[path] = entry; end
		for path, entry in pairs(entries) do
			files[path] = entry;
			new[#new+1] = entry.file;
		end
		local ok, found = pcall(function ()
			trust.crl_files = files;
			trust.crls = make_sets(trust);
			return take_up(new);
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
		close(found);
		rooms.expiry.crls_changed(trust);
	end

	-- Lists that were there before their time and have come into it: nothing has changed but what they say of the streams that live.
	local function begin_due(trust, now)
		local due, new = {}, {};
		for _, entry in pairs(trust.crl_files) do
			if entry and entry.begins and now >= entry.begins then
				due[#due+1], new[#new+1] = entry, entry.file;
			end
		end
		if not due[1] then return; end
		local found = take_up(new);
		for _, entry in ipairs(due) do
			entry.begins = entry.file:begins(now);
			module:log("info", "A revocation list in %s is valid from now on", entry.name);
		end
		close(found);
	end

	-- A file has been read: into the job with it, unless it may not take the place of what is in force.
	local function read_whole(item, file, warnings)
		local before, now = job.trust.crl_files[item.path], os.time();
		if before and file:same(before.file) then
			before.signature = item.signature; -- touched, or written again
			if told[item.path] then module:log("info", "%s holds again what is in force", before.name); end
			return;
		end
		if before then
			local follows, why, later = file:follows(before.file, now);
			if not follows then
				again[item.path] = later;
				return tell(item.path, item.signature, ("%s: %s; fetch it from its authority, or reload if this is known to be right"):format(
					item.path, why));
			end
		end
		job.entries[item.path] = new_entry(before and before.name or item.name, item.signature, file, warnings);
		told[item.path], again[item.path] = nil, nil;
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
			read_whole(item, file, text);
		else
			tell(item.path, item.signature, text);
		end
		return true;
	end

	-- Want of memory, most likely: not to be tried and told without end.
	local function fail(why)
		failed, wait = looked, math.min(RETRY_MAX, (wait or LOOK_EVERY // 2) * 2);
		module:log("error", "Revocation lists could not be read anew, and what was in force stays so; the next attempt is in %d seconds: %s", wait, why);
	end

	local function turn()
		local ok, more = xpcall(work, debug.traceback);
		if ok and more then return STEP_PAUSE; end
		job = nil;
		if ok then
			wait = nil;
		else
			fail(more);
		end
	end

	function watch.tick(now)
		now = now or os.time();
		if job or now - looked < LOOK_EVERY and now >= looked then return; end
		if wait and now - failed < wait and now >= failed then return; end
		looked = now;
		local trust = guard.trust;
		if not next(trust.crl_wanted or {}) then return; end
		local ok, files = xpcall(function ()
			begin_due(trust, now);
			return find_changed(trust, now);
		end, debug.traceback);
		if not ok then return fail(files); end
		if #files == 0 then return; end
		job = { trust = trust; files = files; at = 1; entries = {} };
		module:add_timer(STEP_PAUSE, turn);
	end

	function watch.stop()
		stopped = true;
	end

	return watch;
end

return new_watch;
