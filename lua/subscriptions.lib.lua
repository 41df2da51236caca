-- Contacts' subscriptions to the user's presence: what the user has cancelled, whom the user has blocked, and the authorisation of
-- a request on the user's behalf. Whether a request is authorised is decided in C.

local st = require "util.stanza";
local jid = require "util.jid";

local hosts = prosody.hosts;

local rostermanager = require "core.rostermanager";
local usermanager = require "core.usermanager";

-- Cancelled contacts kept for one user. Beyond that everyone who is not in the user's roster counts as cancelled: to forget the
-- oldest would undo what the user has decided.
local CANCELLED_MAX, CANCELLED_BYTES_MAX = 1000, 100000;

local function new_subscriptions(native, guard)
	local subscriptions = {};

	local address = module:require "address" (native);
	local canonical = address.canonical;

	--- Stores

	local stores = setmetatable({}, { __mode = "k" }); -- events object of the host -> name -> store

	local function store_of(host, name)
		local events = hosts[host].events;
		stores[events] = stores[events] or {};
		if not stores[events][name] then
			stores[events][name] = assert(module:context(host):open_store(name, "keyval"));
		end
		return stores[events][name];
	end

	local function read(host, name, user)
		local data, err = store_of(host, name):get(user);
		if data == nil and err then error(err, 0); end
		return type(data) == "table" and data or {};
	end

	subscriptions.blocks = module:require "blocks" (address, read);

	--- What the user has cancelled: { contacts = { [bare JID] = when }, all = true when there were too many }

	local CANCELLED = "s2s_partners_cancelled";

	-- What a full disk has kept out of the store: bare JID -> data. It counts, and is written at the next occasion. Held by the
	-- table of ours that lives as long as the server, so that a reload of the module does not lose it.
	local kept = module:shared("latch");
	local unsaved = kept.unsaved or {};
	kept.unsaved = unsaved;

	local function save(host, user, data)
		local new = next(data.contacts) and { contacts = data.contacts; all = data.all } or data.all and { all = true } or nil;
		local stored, err = store_of(host, CANCELLED):set(user, new);
		unsaved[jid.join(user, host)] = not stored and data or nil;
		return stored, err;
	end

	-- Raises an error when the store cannot be read.
	local function read_cancelled(host, user)
		local data = unsaved[jid.join(user, host)];
		if data then
			save(host, user, data);
		else
			data = read(host, CANCELLED, user);
			data.contacts = data.contacts or {};
		end
		return data;
	end

	-- Raises an error when the store cannot be read.
	function subscriptions.is_cancelled(host, user, contact, listed)
		local data = read_cancelled(host, user);
		if data.contacts[contact] then return true; end
		return data.all == true and not listed;
	end

	local function change(host, user, contact, cancelled)
		contact = contact and jid.prep(contact);
		if not contact or hosts[jid.host(contact)] then return; end
		contact = canonical(contact);
		local ok, data = pcall(read_cancelled, host, user);
		if not ok then
			module:log("error", "Cannot read which contacts %s@%s has cancelled: %s", user, host, data);
			return;
		end
		local contacts = data.contacts;
		if (contacts[contact] ~= nil) == cancelled then return; end
		if cancelled then
			local count, bytes = 0, #contact;
			for other in pairs(contacts) do count, bytes = count + 1, bytes + #other; end
			if count >= CANCELLED_MAX or bytes > CANCELLED_BYTES_MAX then
				if data.all then return; end
				module:log("warn", "%s@%s has cancelled %d contacts; from now on only contacts in the roster are authorised automatically",
					user, host, count);
				data.all = true;
			else
				contacts[contact] = os.time();
			end
		else
			contacts[contact] = nil;
		end
		local stored, err = save(host, user, data);
		if not stored then
			module:log("error", "Cannot store that %s@%s has %s a contact; it holds until the next restart, or longer when it can be "
				.."stored by then: %s", user, host, cancelled and "cancelled" or "added", err);
		end
	end

	--- What the user does

	local function on_presence(event)
		local origin, stanza = event.origin, event.stanza;
		local kind = stanza.attr.type;
		if not stanza.attr.to then return; end
		if not origin.username then
			-- Core's own word, to a probe: only where a request waits for the user does it get out (0.12.3, 13.0.1), and it takes the
			-- request with it. The contact would learn that there is such a user, and the user would not be asked.
			return kind == "unsubscribed" and not hosts[jid.host(stanza.attr.to)] and guard.observing ~= true and true or nil;
		end
		if kind == "unsubscribed" then
			change(origin.host, origin.username, stanza.attr.to, true);
		elseif kind == "subscribe" or kind == "subscribed" then
			change(origin.host, origin.username, stanza.attr.to, false);
		end
	end

	-- A roster set is told by what it has done, not by what it asks for: core refuses one with several items, or that cannot be stored.
	-- It puts a new item into the place of the old one, and the old one back when it cannot store it (0.12.3, 13.0.1).
	local setting = setmetatable({}, { __mode = "k" }); -- session -> true while core looks at its set

	local function on_roster(handlers, name, event)
		local origin, stanza = event.origin, event.stanza;
		local query = stanza.tags[1];
		local item = query and query.tags[1];
		if stanza.attr.type ~= "set" or not origin.username or not item or query.tags[2] or not item.attr.jid then
			return handlers(name, event);
		end
		local contact = jid.prep(item.attr.jid);
		local before = origin.roster and contact and origin.roster[contact];
		setting[origin] = true;
		local ok, result = pcall(handlers, name, event);
		setting[origin] = nil;
		if not ok then error(result, 0); end
		local after = origin.roster and contact and origin.roster[contact];
		if after ~= before then
			change(origin.host, origin.username, contact, after == nil);
		end
		return result;
	end

	-- Also fired for every contact of a user who is being deleted, and before a roster set has removed anything.
	local function on_removed(host)
		return function (event)
			if event.username and event.jid and not setting[event.origin] and usermanager.user_exists(event.username, host) then
				change(host, event.username, event.jid, true);
			end
		end;
	end

	function subscriptions.guard_host(host, context)
		if hosts[host].type ~= "local" then return; end
		for _, target in ipairs({ "bare", "full", "host" }) do
			context:hook("pre-presence/"..target, on_presence, 1000);
		end
		context:wrap_event("iq/self/jabber:iq:roster:query", on_roster);
		context:hook("roster-item-removed", on_removed(host), 1000);
		subscriptions.blocks.guard_host(host, context);
	end

	-- A name that is given to somebody else later has nobody's lists.
	function subscriptions.user_deleted(host, user)
		subscriptions.blocks.forget(host, user);
		unsaved[jid.join(user, host)] = nil;
	end

	--- What is done for the user

	local function send_presence(user, host, contact)
		local presence = hosts[host].modules and hosts[host].modules.presence;
		local count = 0;
		if presence and presence.send_presence_of_available_resources then
			count = presence.send_presence_of_available_resources(user, host, contact, hosts[host]);
		end
		if count == 0 then
			prosody.core_route_stanza(hosts[host], st.presence({ from = user.."@"..host, to = contact, type = "unavailable" }));
		end
	end

	-- What core does for a user's own "subscribed" (RFC 6121 3.1.5). Its way for a request that was approved in advance leaves the
	-- roster as it is and sends no presence (0.12.3, 13.0.1). Returns false when the roster cannot be written.
	function subscriptions.authorise(stanza)
		local user, host = jid.split(stanza.attr.to);
		local contact = jid.bare(stanza.attr.from);
		local roster = rostermanager.load_roster(user, host);
		local item = roster[contact];
		local subscription = item and item.subscription;
		if not rostermanager.set_contact_pending_in(user, host, contact, stanza) then return false; end
		if not rostermanager.subscribed(user, host, contact) then
			-- Core has it in memory all the same: the contact would see presence.
			if item then item.subscription = subscription; else roster[contact] = nil; end
			return false;
		end
		rostermanager.roster_push(user, host, contact);
		prosody.core_route_stanza(hosts[host], st.presence({ from = user.."@"..host, to = contact, type = "subscribed" }));
		send_presence(user, host, contact);
		return true;
	end

	return subscriptions;
end

return new_subscriptions;
