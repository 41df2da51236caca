-- What changes when one set of policies takes the place of another: partners, their settings and methods, limits, live streams.

local layout = module:require "layout";

local SHOWN = 200; -- lines of each kind
local AT_A_TIME = 500; -- partners between two pauses

-- Of a partner's view: what its name and place say already, and what other fields follow from.
local not_compared = { name = true; place = true; match = true; given = true; pins = true; proxy_host = true; proxy_port = true; row_methods = true;
	methods = true };

local function words(value)
	if type(value) == "table" then
		local list = {};
		for i, item in ipairs(value) do list[i] = tostring(item); end
		return #list > 0 and table.concat(list, ", ") or "none";
	elseif value == nil or value == "" then
		return "none";
	end
	return (tostring(value):gsub("%s+", " "));
end

-- Items of `list` that `other` has not.
local function lacking(list, other)
	local set, found = {}, {};
	for _, item in ipairs(other) do set[item] = true; end
	for _, item in ipairs(list) do
		if not set[item] then found[#found + 1] = item; end
	end
	return found;
end

-- Whether two views are alike, without a word: nearly all are.
local function is_same(old, new)
	for key, value in pairs(new) do
		local before = old[key];
		if value ~= before and not not_compared[key] then
			if type(value) ~= "table" or type(before) ~= "table" or #value ~= #before then return false; end
			for i, item in ipairs(value) do
				if item ~= before[i] then return false; end
			end
		end
	end
	for key in pairs(old) do
		if new[key] == nil and not not_compared[key] then return false; end
	end
	return #lacking(old.methods, new.methods) + #lacking(new.methods, old.methods) == 0;
end

-- { { key, text }... } in the order of keys; empty when nothing has changed.
local function compare_values(old, new)
	local keys, seen, changes = {}, {}, {};
	for _, view in ipairs({ old; new }) do
		for key in pairs(view) do
			if not seen[key] and not not_compared[key] then
				seen[key] = true;
				keys[#keys + 1] = key;
			end
		end
	end
	table.sort(keys);
	for _, key in ipairs(keys) do
		local from, to = words(old[key]), words(new[key]);
		if from ~= to then changes[#changes + 1] = ("%s: %s, was %s"):format(key, to, from); end
	end
	return changes;
end

local function compare_partner(old, new)
	local changes = compare_values(old, new);
	local gained, lost = lacking(new.methods, old.methods), lacking(old.methods, new.methods);
	if #gained > 0 then changes[#changes + 1] = "methods gained: "..layout.methods(gained); end
	if #lost > 0 then changes[#changes + 1] = "methods lost: "..layout.methods(lost); end
	return changes;
end

-- As a list, and by name.
local function views(policy)
	local by_name, list = {}, policy and policy:partners() or {};
	for _, partner in ipairs(list) do by_name[partner.name] = partner; end
	return by_name, list;
end

local function by_name(a, b) return a.name < b.name; end

local function compare_policies(old, new, group, pause)
	local old_views, old_list = views(old);
	pause();
	local new_views, new_list = views(new);
	pause();
	for i, partner in ipairs(new_list) do
		if i % AT_A_TIME == 0 then pause(); end
		local before = old_views[partner.name];
		if not before then
			table.insert(group.added, partner);
		elseif not is_same(before, partner) then
			local changes = compare_partner(before, partner);
			if #changes > 0 then table.insert(group.changed, { name = partner.name; changes = changes }); end
		end
	end
	for _, partner in ipairs(old_list) do
		if not new_views[partner.name] then table.insert(group.removed, partner); end
	end
	for _, list in ipairs({ group.added; group.removed; group.changed }) do table.sort(list, by_name); end
	if old and new then
		local default_before, default_now = old:default(), new:default();
		if default_before and default_now then
			group.default = compare_partner(default_before, default_now);
		elseif old:unlisted() ~= new:unlisted() then
			group.default = { ("%s, was %s"):format(new:unlisted(), old:unlisted()) };
		end
		group.limits = compare_values(old:limits(), new:limits());
	end
end

--[[
compare(before, after, pause), each host -> policy: { groups, added, removed, changed }: the numbers of partners, each counted once a group, and
groups of hosts that had the same and get the same: { hosts, added, removed = { views }, changed = { { name, changes }... }, default,
limits = { texts } }. A host without a policy, before or after, has no partners. `pause` (or nil) is called between steps of a long list.
]]
local function compare(before, after, pause)
	local names, seen = {}, {};
	for _, policies in ipairs({ before; after }) do
		for host in pairs(policies) do
			if not seen[host] then
				seen[host] = true;
				names[#names + 1] = host;
			end
		end
	end
	table.sort(names);
	local outcome, by_pair = { groups = {}; added = 0; removed = 0; changed = 0 }, {};
	for _, host in ipairs(names) do
		local old, new = before[host] or false, after[host] or false;
		by_pair[old] = by_pair[old] or {};
		local group = by_pair[old][new];
		if not group then
			group = { hosts = {}; added = {}; removed = {}; changed = {}; default = {}; limits = {} };
			by_pair[old][new] = group;
			compare_policies(old or nil, new or nil, group, pause or function () end);
			table.insert(outcome.groups, group);
			for _, kind in ipairs({ "added"; "removed"; "changed" }) do outcome[kind] = outcome[kind] + #group[kind]; end
		end
		table.insert(group.hosts, host);
	end
	return outcome;
end

-- What outcome.mode is; nil where the mode stays. A commit can leave the list as it is and change the mode: then the same list refuses everything
-- from now on, or nothing.
local function change_of_mode(before_observing, after_observing)
	if before_observing == after_observing then return nil; end
	return after_observing and "observe" or "enforce";
end

-- The live streams that would be closed: { view, rule }... and of how many. `result` as commit.compile_all gives it. `observing`: nothing is
-- going to be enforced, so that it is what enforcing it would close.
local function closing(native, latch, result, observing)
	local streams = latch.all_streams();
	local found = native.foresee({ policies = result.policies; trust = result.trust; places = { total = 0; partners = {} };
		observing = observing }, streams);
	local list = { count = #streams; observing = observing };
	for i, entry in ipairs(found) do
		list[i] = { view = native.stream_view(entry[1]) or {}; rule = observing and entry[3]..": "..entry[5] or entry[5] };
	end
	return list;
end

local function put(print, kind, name, text)
	layout.print(print, ("  %-8s %s: "):format(kind, name), text);
end

-- { kind, list, function that prints an item }: at most so many of them.
local function put_all(kind, list, put_one)
	for i, item in ipairs(list) do
		if i > SHOWN then return put_one(nil, #list - SHOWN, kind); end
		put_one(item, nil, kind);
	end
end

local function print_group(print, group)
	print("");
	layout.print(print, "Partners of ", table.concat(group.hosts, ", "));
	local function more(count, kind) print(("  %-8s and %d more"):format(kind, count)); end
	local function put_partner(partner, count, kind)
		if count then return more(count, kind); end
		put(print, kind, partner.name, ("%s, %s: %s"):format(partner.partner_type, layout.negotiation(partner), layout.methods(partner.methods)));
	end
	put_all("added", group.added, put_partner);
	put_all("removed", group.removed, put_partner);
	put_all("changed", group.changed, function (item, count, kind)
		if count then return more(count, kind); end
		put(print, kind, item.name, table.concat(item.changes, "; "));
	end);
	if #group.default > 0 then put(print, "changed", "domains not listed", table.concat(group.default, "; ")); end
	if #group.limits > 0 then put(print, "changed", "limits", table.concat(group.limits, "; ")); end
end

-- What closing has found.
local function print_streams(print, streams)
	if #streams == 0 and not streams.observing then
		return print(("  no live stream is closed: %s"):format(layout.count(streams.count, "stream")));
	end
	print((streams.observing and "Live streams, if this were enforced: %d of %d would be closed" or "Live streams that it closes: %d of %d")
		:format(#streams, streams.count));
	put_all("", streams, function (item, count)
		if count then return print(("  and %d more"):format(count)); end
		local view = item.view;
		layout.print(print, ("  %-3s "):format(view.direction or "?"), ("%s, host %s: %s"):format(view.remote or "(no domain yet)",
			view.local_host or "(not known yet)", item.rule));
	end);
end

local MODES = {
	enforce = "\"enforce\", was \"observe\": what the list does not allow is refused from then on";
	observe = "\"observe\", was \"enforce\": NOTHING is refused any more, whatever the list says";
};

-- Prints both: what compare and closing have found.
local function print_difference(print, outcome, streams)
	local any = outcome.mode ~= nil;
	if any then
		print("");
		put(print, "changed", "s2s_partners_mode", MODES[outcome.mode]);
	end
	for _, group in ipairs(outcome.groups) do
		if #group.added + #group.removed + #group.changed + #group.default + #group.limits > 0 then
			any = true;
			print_group(print, group);
		end
	end
	if not any then print("  no partner, no setting of one and no limit"); end
	if #streams > 0 or any and streams.count > 0 then print(""); end
	if streams.count > 0 then print_streams(print, streams); end
end

-- "1 partner added, 2 removed, 3 changed", or that there is nothing of it, and the mode where it is another.
local function summary(outcome)
	return ("%s added, %d removed, %d changed%s"):format(layout.count(outcome.added, "partner"), outcome.removed, outcome.changed,
		outcome.mode and (", mode %q"):format(outcome.mode) or "");
end

return { compare = compare; change_of_mode = change_of_mode; closing = closing; print = print_difference; print_streams = print_streams;
	summary = summary };
