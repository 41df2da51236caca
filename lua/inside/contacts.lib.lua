-- The contact relation of relay hosts: whom their users have in their rosters, as far as it shows in what passes. The rosters are inside. For
-- partners of the type public_unverified "listed" is asked here, and where this is not exact it has fewer contacts than the roster, not more; but
-- for a contact that was removed without a word, which is forgotten when nothing has confirmed it for a while. What comes from outside makes
-- no entry: it only changes one that the user has made.

local jid = require "util.jid";
local new_cache = require "util.cache".new;
local monotonic = require "util.time".monotonic;

local hosts = prosody.hosts;

local STORE = "s2s_partners_contacts";
local CONTACTS_MAX, CONTACT_BYTES = 1000, 1023; -- of a user; of an address
local NAME_BYTES = 200; -- of a user, as files are named: there are file systems that take no more than 255 with what comes behind
local COMPLAINT_EVERY = 60; -- seconds between lines about what cannot be read
local READ_AGAIN, UNREAD_KEPT = 2, 1000; -- seconds until what could not be read is tried again: it may be asked for by each stanza; users
local USERS_KEPT, ITEMS_KEPT = 1000, 100000; -- in memory; contacts of all of them
local WRITE_EVERY = 2; -- seconds between two writes of one user's contacts: each writes all of them
local LATE_MAX, LATE_ITEMS = 100, 1000; -- users whose contacts wait to be written; contacts that are written in one turn
local REMOVALS_AT_ONCE = 20; -- of a user, each written at once; one more with each WRITE_EVERY
local UNSAVED_MAX = 1000; -- users whose contacts could not be written
local RETRY_EVERY, RETRIES = 60, 100; -- seconds until those are tried again; how many at a time
local DAY = 86400; -- seconds
local FORGET_AFTER = 30; -- days since the last stanza that confirmed a contact
local STRICT = "public_unverified"; -- the partner type whose members reach only those in whose roster they are
local CONFIRM_EVERY = DAY; -- no more than one write a day for what only confirms

-- `canonical`: of an address, see address. `type_of(host, domain)`: the type of the partner whose domain it is, nil for nobody's.
local function new_contacts(canonical, type_of)
	local contacts = {};
	local stores = setmetatable({}, { __mode = "k" }); -- events of the host -> store
	local counts = setmetatable({}, { __mode = "k" }); -- data -> how many items it has
	local kept_items, is_kept = 0, setmetatable({}, { __mode = "k" }); -- in all that is kept; data -> true
	local function let_go(_, data)
		kept_items, is_kept[data] = kept_items - counts[data], nil;
	end
	local kept = new_cache(USERS_KEPT, let_go); -- user's bare JID -> data
	local unread = new_cache(UNREAD_KEPT); -- the same -> { at, why }, of those that could not be read
	local late, late_count, late_number = {}, 0, 0; -- the same -> { key, data, number }, of those that are to be written; the last number
	local written = setmetatable({}, { __mode = "k" }); -- data -> when
	local allowances = setmetatable({}, { __mode = "k" }); -- data -> { left, at }: removals that may be written at once
	local taken = setmetatable({}, { __mode = "k" }); -- data -> true: nothing is stored of it, until it is written
	local unsaved, unsaved_count = {}, 0; -- user's bare JID -> data, of those that could not be written: it counts all the same
	local lost = false; -- whether there were more of those than are kept: what is stored is then no longer to be believed

	local function store_of(host)
		local events = hosts[host].events;
		stores[events] = stores[events] or assert(module:context(host):open_store(STORE, "keyval"));
		return stores[events];
	end

	-- Nothing can be stored of users with longer names, so they have no contacts. Prosody's file storage writes most bytes as three.
	local function is_storable(user)
		local _, special = user:gsub("%W", "");
		return #user + 2 * special <= NAME_BYTES;
	end

	local complained = -COMPLAINT_EVERY;

	-- It may be so for each stanza that a stranger sends.
	local function complain(host, user, err)
		local now = monotonic();
		if now - complained < COMPLAINT_EVERY then return; end
		complained = now;
		module:log("error", "The contacts of %s@%s cannot be read; until they can, nothing is learned of them and they are refused: %s", user, host,
			tostring(err));
	end

	local function change_count(data, by)
		counts[data] = counts[data] + by;
		if is_kept[data] then kept_items = kept_items + by; end
	end

	local function count(list)
		local number = 0;
		for _ in pairs(list) do number = number + 1; end
		return number;
	end

	local function keep(key, data)
		kept:set(key, data);
		kept_items, is_kept[data] = kept_items + counts[data], true;
		while kept_items > ITEMS_KEPT do
			local other, its = kept:tail();
			if other == key then return; end
			kept:set(other, nil);
			let_go(other, its);
		end
	end

	local function whole(number)
		return type(number) == "number" and math.tointeger(number);
	end

	-- What is damaged in what has been stored counts for nothing.
	local function only_sound(items)
		local sound = {};
		for contact, item in pairs(type(items) == "table" and items or {}) do
			local seen = type(contact) == "string" and type(item) == "table" and whole(item.seen);
			if seen then
				item.seen, item.since = seen, whole(item.since) or seen;
				sound[contact] = item;
			end
		end
		return sound;
	end

	-- { items = { [contact] = { to, from, ask, seen, since, by } } }. Raises an error when it cannot be read.
	local function read(host, user)
		local key = jid.join(user, host);
		local data = unsaved[key] or late[key] and late[key].data or kept:get(key);
		if data then return data; end
		if lost then error("the contacts of too many users could not be stored; restart the server when they can", 0); end
		local failure = unread:get(key);
		if failure and monotonic() - failure.at < READ_AGAIN then error(failure.why, 0); end
		local stored, err = store_of(host):get(user);
		unread:set(key, stored == nil and err and { at = monotonic(); why = err } or nil);
		if stored == nil and err then error(err, 0); end
		data = { items = only_sound(type(stored) == "table" and stored.items) };
		counts[data] = count(data.items);
		keep(key, data);
		return data;
	end

	-- What has been stored takes the place of all that is in memory.
	local function replace(key, data)
		local old = kept:get(key);
		if old then
			kept:set(key, nil);
			let_go(key, old);
		end
		if late[key] then late[key], late_count = nil, late_count - 1; end
		if unsaved[key] then unsaved[key], unsaved_count = nil, unsaved_count - 1; end
		written[data] = monotonic();
		keep(key, data);
	end

	-- nil and why it could not be.
	local function set(key, data)
		local user, host = jid.split(key);
		if not hosts[host] then return nil, "the host is not active"; end
		local ok, stored, err = pcall(function () return store_of(host):set(user, data); end);
		if ok and stored then return true; end
		return nil, tostring(ok and err or stored);
	end

	local function write_out(key, data)
		if late[key] then late[key], late_count = nil, late_count - 1; end
		written[data] = monotonic();
		local stored, err = set(key, next(data.items) ~= nil and data or nil);
		if stored then
			taken[data] = nil;
			if unsaved[key] then unsaved_count = unsaved_count - 1; end
			unsaved[key] = nil;
		elseif not unsaved[key] and unsaved_count >= UNSAVED_MAX then
			lost = true;
		else
			if not unsaved[key] then
				unsaved_count = unsaved_count + 1;
				module:log("error", "The contacts of %s cannot be stored; what is known of them holds until the next restart: %s", key, err);
			end
			unsaved[key] = data;
		end
	end

	local function is_allowed(data, now)
		local allowance = allowances[data] or { left = REMOVALS_AT_ONCE; at = now };
		local more = (now - allowance.at) // WRITE_EVERY;
		allowance.left, allowance.at = math.min(REMOVALS_AT_ONCE, allowance.left + more), allowance.at + more * WRITE_EVERY;
		allowances[data] = allowance;
		if allowance.left < 1 then return false; end
		allowance.left = allowance.left - 1;
		return true;
	end

	-- Room for one more that waits.
	local function make_room()
		if late_count < LATE_MAX then return; end
		local oldest;
		for _, entry in pairs(late) do
			if not oldest or entry.number < oldest.number then oldest = entry; end
		end
		write_out(oldest.key, oldest.data);
	end

	-- At once, or a moment later when they have been written a moment ago. What is stored may only be stricter than what is known, in case that this
	-- server dies: a removal is written at once too, and beyond REMOVALS_AT_ONCE nothing of the user stays stored for the moment, which takes no more
	-- than one small write, however many removals follow.
	local function save(host, user, data, is_stricter)
		local key, now = jid.join(user, host), monotonic();
		local last = written[data];
		if not last or now - last >= WRITE_EVERY then return write_out(key, data); end
		if is_stricter and not taken[data] then
			if is_allowed(data, now) or not set(key, nil) then return write_out(key, data); end
			taken[data] = true;
		end
		if late[key] then return; end
		make_room();
		late_number = late_number + 1;
		late[key], late_count = { key = key; data = data; number = late_number }, late_count + 1;
	end

	-- Writes what is due, what waits the longest first. `all`: what is not due as well; of all hosts, or of one.
	function contacts.flush(all, host)
		local now, due, items = monotonic(), {}, 0;
		for key, entry in pairs(late) do
			if (not host or jid.host(key) == host) and (all or now - written[entry.data] >= WRITE_EVERY) then due[#due + 1] = entry; end
		end
		table.sort(due, function (a, b) return a.number < b.number; end);
		for _, entry in ipairs(due) do
			if not all and items >= LATE_ITEMS then return; end
			items = items + counts[entry.data];
			write_out(entry.key, entry.data);
		end
	end

	local tried = monotonic();

	-- What could not be written may be by now. It is not the end of `lost`: which users' changes those were is not known.
	function contacts.retry()
		local now = monotonic();
		if unsaved_count == 0 or now - tried < RETRY_EVERY then return; end
		tried = now;
		local due = {};
		for key, data in pairs(unsaved) do
			due[#due + 1] = { key, data };
			if #due == RETRIES then break; end
		end
		for _, entry in ipairs(due) do
			if hosts[jid.host(entry[1])] then
				write_out(entry[1], entry[2]);
				if unsaved[entry[1]] then return; end
			end
		end
	end

	local forget_after = FORGET_AFTER * DAY;

	function contacts.forget_after(days)
		forget_after = (days or FORGET_AFTER) * DAY;
	end

	local function is_old(item)
		return os.time() - (tonumber(item.seen) or 0) > forget_after;
	end

	local function remove(data, contact)
		data.items[contact] = nil;
		change_count(data, -1);
	end

	-- What has not been confirmed for too long is no contact.
	local function item_of(data, contact)
		local item = data.items[contact];
		if item and is_old(item) then
			remove(data, contact);
			return nil, true;
		end
		return item;
	end

	local function new_item(data, contact, by)
		if #contact > CONTACT_BYTES then return nil; end
		if counts[data] >= CONTACTS_MAX then
			for other, item in pairs(data.items) do
				if is_old(item) then remove(data, other); end
			end
			if counts[data] >= CONTACTS_MAX then return nil; end
		end
		local now = os.time();
		local item = { since = now; seen = now; by = by };
		data.items[contact] = item;
		change_count(data, 1);
		return item;
	end

	-- Each returns whether something is to be stored. `item` may be nil.
	local out, incoming = {}, {};

	local function confirm(item)
		local now = os.time();
		local due = now - (item.seen or 0) >= CONFIRM_EVERY;
		if due then item.seen = now; end
		return due;
	end

	-- RFC 6121 3.1: whom a user asks is in the roster from then on.
	function out.subscribe(data, contact, item)
		item = item or new_item(data, contact, "a request of the user's");
		if not item then return false; end
		if item.ask then return confirm(item); end
		item.ask, item.seen = true, os.time();
		return true;
	end

	-- RFC 6121 4.3.1: a server probes those whose presence the user has, each time the user comes online.
	function out.probe(data, contact, item)
		if item and item.to then return confirm(item); end
		item = item or new_item(data, contact, "a probe of the users' server");
		if not item then return false; end
		item.to, item.ask, item.seen = true, nil, os.time();
		return true;
	end

	-- RFC 6121 3.1.5. Where only contacts are let in no request of anybody else gets here, so that this would be an approval in advance: it may be
	-- in nobody's roster. Elsewhere it only tells who sees the user's presence.
	function out.subscribed(data, contact, item, partner_type)
		if not item and partner_type ~= STRICT then item = new_item(data, contact, "a request of the contact's that the user has approved"); end
		if not item then return false; end
		if item.from then return confirm(item); end
		item.from, item.seen = true, os.time();
		return true;
	end

	-- RFC 6121 2.5: who is removed gets one of these two, or both. A mere cancellation looks the same: then the contact stays inside and is
	-- forgotten here.
	local function lowered(data, contact, item)
		if item and not item.to and not item.from and not item.ask then remove(data, contact); end
	end

	function out.unsubscribe(data, contact, item)
		if not item or item.from and not item.to and not item.ask then return false; end
		item.to, item.ask = nil, nil;
		lowered(data, contact, item);
		return true;
	end

	function out.unsubscribed(data, contact, item)
		if not item or not item.from and (item.to or item.ask) then return false; end
		item.from = nil;
		lowered(data, contact, item);
		return true;
	end

	-- Presence that goes to a contact's bare JID confirms one that there is. It teaches none: directed presence looks the same.
	function out.available(_, _, item)
		return item ~= nil and item.from == true and confirm(item);
	end

	-- An approval that nobody has asked for makes nobody a contact.
	function incoming.subscribed(_, _, item)
		if not item or not item.ask then return false; end
		item.to, item.ask, item.seen = true, nil, os.time();
		return true;
	end

	-- RFC 6121 3.2.3: the item stays in the roster.
	function incoming.unsubscribed(_, _, item)
		if not item or not (item.to or item.ask) then return false; end
		item.to, item.ask = nil, nil;
		return true;
	end

	function incoming.unsubscribe(_, _, item)
		if not item or not item.from then return false; end
		item.from = nil;
		return true;
	end

	local stricter = { unsubscribe = true; unsubscribed = true };

	local function learn(steps, host, own, other, kind, partner_type)
		local user = jid.node(own);
		local step = steps[kind or "available"];
		if not step or not user or not is_storable(user) or not jid.node(other) then return; end
		local ok, data = pcall(read, host, user);
		if not ok then return complain(host, user, data); end
		local contact = canonical(jid.bare(other));
		local item, old = item_of(data, contact);
		if step(data, contact, item, partner_type) or old then save(host, user, data, stricter[kind]); end
	end

	-- A stanza that a user of the relay host sends, before the guard: it refuses what goes to somebody who is no contact yet, a probe too.
	function contacts.sent(host, stanza)
		if stanza.name ~= "presence" or not hosts[host] or hosts[host].type ~= "local" then return; end
		local attr = stanza.attr;
		if attr.type == "unavailable" or attr.type == "error" or attr.type == nil and jid.bare(attr.to) ~= attr.to then return; end
		local partner_type = type_of(host, jid.host(attr.to));
		if partner_type then learn(out, host, attr.from, attr.to, attr.type, partner_type); end
	end

	-- One that the guard has let in.
	function contacts.received(host, stanza)
		if stanza.name ~= "presence" or not hosts[host] or hosts[host].type ~= "local" or not incoming[stanza.attr.type] then return; end
		learn(incoming, host, stanza.attr.to, stanza.attr.from, stanza.attr.type);
	end

	--- For the guard, see facts

	local function find(host, user, contact)
		return (item_of(read(host, user), canonical(jid.bare(contact))));
	end

	-- The item or nil; false when the relation cannot be read, which is a refusal.
	local function look_up(host, user, contact)
		if not is_storable(user) then return nil; end
		local ok, item = pcall(find, host, user, contact);
		if ok then return item; end
		complain(host, user, item);
		return false;
	end

	function contacts.listed(host, user, _, contact)
		local item = look_up(host, user, contact);
		return item and "yes" or item == nil and "no" or "unavailable";
	end

	function contacts.sees(host, user, _, contact)
		local item = look_up(host, user, contact);
		return item and item.from and "yes" or "no";
	end

	--- For the import of rosters, see offline/roster_import

	-- Adds contacts to a user's: { [canonical address] = { to, from, ask } }. What is known already has been learned later than any export was made, and
	-- stays. How many were added, were known, and found no room; nil and why, with nothing changed. `store`: whether to store it.
	function contacts.import(host, user, items, store)
		if not is_storable(user) then return 0, 0, count(items); end
		local ok, before = pcall(read, host, user);
		if not ok then return nil, before; end
		local data, addresses, added, known, full = { items = {} }, {}, 0, 0, 0;
		for address, item in pairs(before.items) do data.items[address] = item; end
		counts[data] = counts[before];
		for address in pairs(items) do addresses[#addresses + 1] = address; end
		table.sort(addresses);
		for _, address in ipairs(addresses) do
			local item = not item_of(data, address) and new_item(data, address, "an import of rosters");
			if item then
				item.to, item.from, item.ask = items[address].to, items[address].from, items[address].ask;
				added = added + 1;
			elseif data.items[address] then
				known = known + 1;
			else
				full = full + 1;
			end
		end
		if store and added > 0 then
			local stored, err;
			ok, stored, err = pcall(function () return store_of(host):set(user, data); end);
			if not ok or not stored then return nil, tostring(ok and err or stored); end
			replace(jid.join(user, host), data);
		end
		return added, known, full;
	end

	--- For the console

	-- { since, seen, by, to, from, ask } of one contact, nil when it is none; nil and true when that cannot be read.
	function contacts.find(host, user, contact)
		local item = look_up(host, user, contact);
		return item or nil, item == false;
	end

	-- { { contact, to, from, ask, since, seen, by, old }... }, sorted; nil and what is wrong.
	function contacts.list(host, user)
		local ok, data = pcall(read, host, user);
		if not ok then return nil, tostring(data); end
		local list = {};
		for contact, item in pairs(data.items) do
			list[#list + 1] = { contact = contact; to = item.to; from = item.from; ask = item.ask; since = item.since; seen = item.seen; by = item.by;
				old = is_old(item) };
		end
		table.sort(list, function (a, b) return a.contact < b.contact; end);
		return list;
	end

	-- Whether there was such a contact; and whether that it is none any more could not be stored.
	function contacts.forget(host, user, contact)
		local data = read(host, user);
		contact = canonical(jid.bare(contact));
		if not data.items[contact] then return false; end
		remove(data, contact);
		save(host, user, data, true);
		return true, unsaved[jid.join(user, host)] ~= nil;
	end

	return contacts;
end

return new_contacts;
