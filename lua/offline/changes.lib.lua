-- prosodyctl mod_s2s_partners add, set and remove: what is asked for, the check, and what is said. The files are those of offline/entries.

local lfs = require "lfs";

local layout = module:require "layout";
local entries = module:require "offline/entries";

-- As `parse`, of a command that changes an entry: the domain, what is switched on, and { key, text }... of the rest. A flag's value is the next
-- word, or stands behind "=".
local function parse_entry(arg, known)
	local domain, switches, flags = nil, {}, {};
	local position = 1;
	while position <= #arg do
		local word = arg[position];
		position = position + 1;
		local name, value = word:match("^%-%-([^=]+)=?(.*)$");
		if not name then
			if domain then return nil, ("one domain at a time, and not %q as well"):format(layout.plain(word, 80)); end
			domain = word;
		elseif known[word] then
			switches[word] = true;
		elseif known.keys then
			if not word:find("=", 1, true) then
				value = arg[position];
				position = position + 1;
				if not value then return nil, ("--%s has no value"):format(layout.plain(name, 60)); end
			end
			flags[#flags + 1] = { key = name:gsub("-", "_"); text = value };
		else
			return nil, "unknown option "..layout.plain(word, 80);
		end
	end
	if not domain then return nil, "a domain is missing"; end
	return domain, switches, flags;
end

local function new_changes(shared)
	local native, complain, wrong_usage = shared.native, shared.complain, shared.wrong_usage;
	local OK, FAILED = shared.OK, shared.FAILED;
	local commands = {};

	local change_options = { ["--dry-run"] = true; ["--force"] = true; keys = true };

	-- What a change of an entry begins with: the domain, switches, values, and where its file is; or an exit status.
	local function begin_change(arg, known)
		local domain, switches, flags = parse_entry(arg, known);
		if not domain then return nil, wrong_usage(switches); end
		local name, fault = native.canonical_domain(domain);
		if not name then return nil, wrong_usage(("%q %s"):format(layout.plain(domain, 80), fault)); end
		local values, unset = entries.read_flags(flags);
		if not values then return nil, wrong_usage(unset); end
		local place, problem = entries.place(name);
		if not place then
			complain("Error: "..problem.."; nothing has been saved");
			return nil, FAILED;
		end
		return { domain = name; switches = switches; values = values; unset = unset; place = place; count = #flags };
	end

	local function refuse(change, problem)
		complain(("Error: %s: %s; nothing has been saved"):format(change.place.name, problem));
		return FAILED;
	end

	-- Checks the configuration with this text in place of the file (nil: without the file), says what is wrong, and saves.
	local function finish_change(change, text, entry)
		local result, state = entries.check(native, change.place, text, shared.observes);
		local errors = layout.issues(result and print or complain, state.issues);
		if not result then
			return refuse(change, ("the configuration would have %s"):format(layout.count(errors, "error")));
		end
		-- What has been checked is what would be saved: the entry is found, in this file.
		local partner;
		for _, policy in pairs(result.policies) do
			local found = policy:find(change.domain);
			if found and found.place:sub(1, #change.place.name) == change.place.name then partner = found; end
		end
		if (partner ~= nil) ~= (text ~= nil) then
			return refuse(change, "no host would use it: each that has the list has its own s2s_partners_files, or the file is none of the patterns'");
		end
		if change.switches["--dry-run"] then
			print(("%s would be %s:"):format(change.place.path, text and "written" or "removed"));
			if text then io.stdout:write(text); end
			return OK;
		end
		local ok, problem;
		if text then
			ok, problem = entries.save(native, change.place, text, change.new);
		else
			ok, problem = entries.delete(native, change.place);
		end
		if not ok then
			return refuse(change, ("%s; it has to be possible to write into %s (prosodyctl runs as Prosody's own user; prosodyctl --root does not)")
				:format(problem, change.place.folder));
		end
		if text then
			layout.print(print, "", ("Saved %s: %s, %s, %s: %s."):format(change.place.path, entry.domain, partner.partner_type, layout.negotiation(partner),
				layout.methods(partner.methods)));
		else
			layout.print(print, "", ("Removed %s."):format(change.place.path));
		end
		layout.print(print, "", "A running server applies it with prosodyctl mod_s2s_partners commit, or reload.");
		return OK;
	end

	-- Why an entry's file cannot be changed. Where there is none, the domain may be listed in another place.
	local function not_open(change, problem)
		local result = not lfs.symlinkattributes(change.place.path, "mode") and entries.check(native, change.place, nil, shared.observes);
		for _, policy in pairs(result and result.policies or {}) do
			local found = policy:find(change.domain);
			if found and found.match ~= "default" then
				return refuse(change, ("%s; %s is listed in %s, change it there"):format(problem, change.domain, found.place));
			end
		end
		return refuse(change, problem);
	end

	function commands.add(arg)
		local change, status = begin_change(arg, { ["--dry-run"] = true; keys = true });
		if not change then return status; end
		if not change.values.partner_type then
			return wrong_usage("add needs --type federated, public_verified or public_unverified");
		end
		if lfs.symlinkattributes(change.place.path, "mode") then
			return refuse(change, "is there already; change it with set");
		end
		local entry = change.values;
		change.new = true;
		entry.domain = change.domain;
		return finish_change(change, entries.write(entry), entry);
	end

	function commands.set(arg)
		local change, status = begin_change(arg, change_options);
		if not change then return status; end
		if change.count == 0 then return wrong_usage("set needs at least one --KEY VALUE"); end
		local text, problem = entries.open(change.place, change.switches["--force"]);
		if not text then return not_open(change, problem); end
		local entry;
		entry, problem = entries.read(text);
		if not entry then return refuse(change, problem); end
		if native.canonical_domain(entry.domain) ~= change.domain then return refuse(change, "is not about "..change.domain); end
		for key, value in pairs(change.values) do entry[key] = value; end
		for key in pairs(change.unset) do entry[key] = nil; end
		return finish_change(change, entries.write(entry), entry);
	end

	function commands.remove(arg)
		local change, status = begin_change(arg, { ["--dry-run"] = true; ["--force"] = true });
		if not change then return status; end
		local text, problem = entries.open(change.place, change.switches["--force"]);
		if not text then return not_open(change, problem); end
		return finish_change(change, nil);
	end

	return commands;
end

return new_changes;
