-- prosodyctl mod_s2s_partners contacts: writes the rosters that the server inside has exported (XEP-0227) into the contact relation of the relay
-- hosts. All files are read to their end first, and written only when there is nothing wrong with any of them: then they are read once more, so that
-- no list of all contacts has to be kept.

local configmanager = require "core.configmanager";
local lfs = require "lfs";
local jid = require "util.jid";
local resolve_relative_path = require "util.paths".resolve_relative_path;

local layout = module:require "layout";

local EXAMPLES = 5; -- of what is left out

-- RFC 6121 2.1.2.5. An item with none of these has "none".
local states = {
	none = {}; to = { to = true }; from = { from = true }; both = { to = true; from = true };
};

-- Whether the server runs, so that it has contacts in memory and would write over what is imported. Its pid file and the socket of its shell tell.
local function is_running()
	local ok, running = require "util.prosodyctl".isrunning();
	if ok and running then return true; end
	local path = configmanager.get("*", "admin_socket");
	path = resolve_relative_path(prosody.paths.data or ".", type(path) == "string" and path or "prosody.sock");
	if lfs.attributes(path, "mode") ~= "socket" then return false; end
	local found, unix = pcall(require, "socket.unix");
	local new = found and (type(unix) == "table" and (unix.stream or unix) or unix);
	if not new then return true; end -- somebody made that socket
	local connection = new();
	local connected = connection:connect(path);
	connection:close();
	return connected and true or false;
end

local function new_contacts_command(shared)
	local native, complain, wrong_usage, parse = shared.native, shared.complain, shared.wrong_usage, shared.parse;
	local OK, FAILED, USAGE_ERROR = shared.OK, shared.FAILED, shared.USAGE_ERROR;
	local commands = {};

	-- What is left out, by its reason: how often, and the first few of it.
	local function new_tally()
		local tally, order = {}, {};
		local function add(reason, example, number)
			local entry = tally[reason];
			if not entry then
				entry = { count = 0; examples = {}; seen = {} };
				tally[reason] = entry;
				order[#order + 1] = reason;
			end
			entry.count = entry.count + (number or 1);
			if #entry.examples < EXAMPLES and not entry.seen[example] then
				entry.seen[example] = true;
				table.insert(entry.examples, layout.plain(example, 80));
			end
		end
		local function print_all()
			table.sort(order);
			for _, reason in ipairs(order) do
				local entry = tally[reason];
				layout.print(print, "  left out: ", ("%d %s (%s%s)"):format(entry.count, reason, table.concat(entry.examples, ", "),
					entry.count > #entry.examples and ", …" or ""));
			end
		end
		return add, print_all, function (reason) return tally[reason] ~= nil; end;
	end

	local NOT_OURS, NO_PARTNER = "users of hosts that are no relay hosts with users", "contacts at domains that no partner has";
	local harmless = { [NOT_OURS] = true; [NO_PARTNER] = true };

	-- One reading of all files. `write`: whether to store. What it has counted; nil, a file and what is wrong with it.
	local function run(paths, policies, store, write)
		local portable = module:require "import/portable";
		local canonical = module:require "address" (native).canonical;
		local relays, found = {}, { users = 0; added = 0; known = 0; complete = true };
		for host in pairs(policies) do relays[native.canonical_domain(host) or host] = host; end
		local tell, print_left_out = new_tally();
		found.print_left_out = print_left_out;
		local function leave_out(reason, example, number)
			if not harmless[reason] then found.complete = false; end
			tell(reason, example, number);
		end
		local function visit(domain, user, items, more)
			local host = relays[native.canonical_domain(domain) or domain];
			if not host then return leave_out(NOT_OURS, domain); end
			if found.failure then return; end
			found.users = found.users + 1;
			local own = jid.join(user, host);
			local new = {};
			for _, item in ipairs(items) do
				local contact = type(item.jid) == "string" and #item.jid <= 3071 and jid.prep(item.jid) or nil;
				local state = states[item.subscription or "none"];
				if not contact or not jid.node(contact) then
					-- Rosters have transports and rooms of their own server in them, too.
					if not contact or policies[host]:find(jid.host(contact)) then
						leave_out("contacts whose address is none of a user", tostring(item.jid));
					else
						leave_out(NO_PARTNER, jid.host(contact));
					end
				elseif not policies[host]:find(jid.host(contact)) then
					leave_out(NO_PARTNER, jid.host(contact));
				elseif not state then
					leave_out("contacts whose subscription is another word than none, to, from and both", jid.bare(contact));
				else
					local address = canonical(jid.bare(contact));
					new[address] = new[address] or { to = state.to; from = state.from; ask = item.ask == "subscribe" and not state.to or nil };
				end
			end
			if more > 0 then leave_out(("contacts beyond the %d of a user that are read"):format(portable.ITEMS_MAX), own, more); end
			if next(new) == nil then return; end
			local added, known, full = store.import(host, user, new, write);
			if not added then
				found.failure = ("the contacts of %s cannot be kept: %s"):format(layout.plain(own, 200), layout.plain(tostring(known), 200));
				return;
			end
			found.added, found.known = found.added + added, found.known + known;
			if full > 0 then leave_out("contacts beyond the 1000 that are kept of a user, or with addresses that are too long", own, full); end
		end
		local total = {};
		for _, path in ipairs(paths) do
			local ok, file, problem = portable.read(path, visit, total);
			if not ok then return nil, file, problem; end
		end
		found.files = total.files;
		return found;
	end

	-- Whether there was nothing that a partner's contact would miss.
	local function tell(found, what)
		print(("%s, %s of relay hosts: %s %s, %d known already"):format(layout.count(found.files, "file"), layout.count(found.users, "user"),
			layout.count(found.added, "contact"), what, found.known));
		found.print_left_out();
	end

	function commands.contacts(arg)
		local words, options = parse(arg, { ["--dry-run"] = true });
		if not words then return wrong_usage("unknown option "..layout.plain(options, 80)); end
		if #words == 0 then return wrong_usage("contacts takes one or more files"); end
		local result, state = shared.compile();
		if not result then
			layout.issues(complain, state.issues);
			complain("The configuration has errors, so whose contacts count is not known.");
			return FAILED;
		end
		local rosters, policies = module:require "rosters", {};
		for host in pairs(result.inside and result.inside.hosts or {}) do
			if not configmanager.rawget(host, "component_module") then
				policies[host] = result.policies[host];
				rosters.prepare(host);
			end
		end
		if next(policies) == nil then
			complain("Error: there is no relay host with users, so nobody whose contacts count: see s2s_inside in docs/boundary.md");
			return FAILED;
		end
		if not options["--dry-run"] and is_running() then
			complain("Error: the server is running. It has contacts in memory and would write over what is imported: stop it, import, and start it. --dry-run "
				.."shows what would be imported.");
			return FAILED;
		end
		local store = module:require "inside/contacts" (module:require "address" (native).canonical, function () end);
		store.forget_after(result.inside.contacts_days); -- as the server has it, or other contacts would be known here than there
		local paths = {};
		for i, word in ipairs(words) do paths[i] = shared.resolve(word); end
		local found, file, problem = run(paths, policies, store, false);
		if not found then
			complain(("Error: %s: %s; nothing has been imported"):format(layout.plain(file, 200), problem));
			return USAGE_ERROR;
		elseif found.failure then
			complain(("Error: %s; nothing has been imported"):format(found.failure));
			return FAILED;
		end
		if options["--dry-run"] then
			tell(found, "would be added");
			return found.complete and OK or FAILED;
		end
		found, file, problem = run(paths, policies, store, true);
		if not found or found.failure then
			complain(("Error: %s; the contacts of some users have been imported before that, of others not; import once more when it is corrected")
				:format(found and found.failure or ("%s: %s"):format(layout.plain(file, 200), problem)));
			return FAILED;
		end
		tell(found, "added");
		return found.complete and OK or FAILED;
	end

	return commands;
end

return new_contacts_command;
