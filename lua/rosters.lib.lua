-- Whom local users know, as it is stored: through Prosody's own stores, of whatever kind they are. Read only, and past all caches.

local storagemanager = require "core.storagemanager";
local usermanager = require "core.usermanager";
local new_events = require "util.events".new;
local st = require "util.stanza";

local ROOMS_MAX = 1000; -- of one user

local rosters = {};

-- prosodyctl has hosts that are none. Each gets events of its own: with common ones the drivers of the last host would be taken for those of
-- all.
function rosters.prepare(host)
	prosody.hosts[host].events = new_events();
	storagemanager.initialize_host(host);
	usermanager.initialize_host(host);
end

-- A store; nil and what is wrong with it. Core takes a driver that cannot be loaded for one that holds nothing.
local function open(host, name, kind)
	local _, driver_name = storagemanager.get_driver(host, name);
	local configured = require "core.configmanager".get(host, "storage");
	if type(configured) == "table" then configured = configured[name]; end
	configured = configured or require "core.configmanager".get(host, "default_storage") or "internal";
	if driver_name == "null" and configured ~= "null" then
		return nil, ("the storage driver %s cannot be loaded"):format(tostring(configured));
	end
	local ok, store, err = pcall(storagemanager.open, host, name, kind);
	if not ok then return nil, tostring(store); end
	if not store then return nil, tostring(err); end
	return store;
end

-- Adds the names that iterate() gives to `names`; nil and why it gives none.
local function add_names(names, list, iterate)
	local ok, err = pcall(function ()
		for name in iterate() do
			if type(name) == "string" and not names[name] then
				names[name] = true;
				list[#list + 1] = name;
			end
		end
	end);
	return ok or nil, tostring(err);
end

-- What is stored of a host's users: { names, contacts(user), rooms(user) }; nil and what is wrong.
function rosters.open(host)
	local store, problem = open(host, "roster");
	if not store then return nil, "its rosters cannot be read: "..problem; end
	local seen, names = {}, {};
	-- Accounts that cannot be listed (LDAP, say) may have rosters that can, and the other way round.
	local by_store = store.users and add_names(seen, names, function () return store:users(); end);
	local by_accounts, why = add_names(seen, names, function () return usermanager.users(host); end);
	if not by_store and not by_accounts then
		return nil, "its users cannot be listed: "..why;
	end
	table.sort(names);
	local private = open(host, "private");
	local bookmarks = open(host, "pep_urn:xmpp:bookmarks:1", "archive");
	local stored = { names = names };

	-- { [JID] = item }; nil and what is wrong.
	function stored.contacts(user)
		local ok, roster, err = pcall(store.get, store, user);
		if not ok then return nil, tostring(roster); end
		if roster == nil and err then return nil, tostring(err); end
		if roster ~= nil and type(roster) ~= "table" then return nil, "is no roster"; end
		local contacts = {};
		for jid, item in pairs(roster or {}) do
			-- Of old rosters: those who have asked.
			if type(jid) == "string" and jid ~= "pending" and type(item) == "table" then contacts[jid] = item; end
		end
		return contacts;
	end

	-- Addresses of the rooms in the user's bookmarks (XEP-0048 in private storage, XEP-0402); what cannot be read is left out.
	function stored.rooms(user)
		local rooms = {};
		local function add(jid)
			if type(jid) == "string" and #rooms < ROOMS_MAX then rooms[#rooms + 1] = jid; end
		end
		pcall(function ()
			local data = private and private:get(user);
			local tag = data and data["storage:storage:bookmarks"];
			for conference in (tag and st.deserialize(tag) or st.stanza("none")):childtags("conference") do add(conference.attr.jid); end
		end);
		pcall(function ()
			if not bookmarks then return; end
			for id in bookmarks:find(user, { limit = ROOMS_MAX }) do add(id); end
		end);
		return rooms;
	end
	return stored;
end

return rosters;
