-- The block lists of mod_blocklist (XEP-0191), by one spelling of each address. mod_blocklist compares what the user wrote with what
-- the contact writes, byte by byte, and keeps its own copy equal to the store.

local cache = require "util.cache";
local jid = require "util.jid";
local monotonic = require "util.time".monotonic;

local hosts = prosody.hosts;

local USERS = 256; -- lists that are held at once, as mod_blocklist does; the one used longest ago is read anew when it is needed
local SECONDS = 60; -- after that one is read anew: somebody else may have written the store

-- read(host, store, user) -> the table in the store, empty if there is none; raises an error
local function new_blocks(address, read)
	local blocks = {};
	local lists = cache.new(USERS); -- user's bare JID -> { [address] = true, when = ... }

	local function key_of(entry)
		local node, domain, resource = jid.split(entry);
		return domain and jid.join(node, address.canonical_domain(domain), resource) or entry;
	end

	local function list_of(host, user)
		local bare = jid.join(user, host);
		local held = lists:get(bare);
		if held and monotonic() - held.when <= SECONDS then return held.entries; end
		local entries = {};
		for entry in pairs(read(host, "blocklist", user)) do
			if type(entry) == "string" then entries[key_of(entry)] = true; end
		end
		lists:set(bare, { entries = entries; when = monotonic() });
		return entries;
	end

	-- Whether the user has blocked the address, bare or full, or its domain. Raises an error when the list cannot be read.
	function blocks.has(host, user, contact)
		local entries = list_of(host, user);
		if next(entries) == nil then return false; end
		local node, domain, resource = jid.split(contact);
		if not domain then return false; end
		domain = address.canonical_domain(domain);
		return entries[domain] or entries[jid.join(node, domain)] or entries[jid.join(node, domain, resource)] or false;
	end

	-- The same, where the list is in force: it is kept when mod_blocklist is no longer loaded.
	function blocks.in_force(host, user, contact)
		return hosts[host].modules.blocklist ~= nil and blocks.has(host, user, contact);
	end

	function blocks.forget(host, user)
		lists:set(jid.join(user, host), nil);
	end

	local function on_change(handlers, name, event)
		local origin = event.origin;
		-- Before as well: the store may be slow, and somebody may read it meanwhile.
		if origin.username then blocks.forget(origin.host, origin.username); end
		local result = handlers(name, event);
		if origin.username then blocks.forget(origin.host, origin.username); end
		return result;
	end

	function blocks.guard_host(_, context)
		context:wrap_event("iq-set/self/urn:xmpp:blocking:block", on_change);
		context:wrap_event("iq-set/self/urn:xmpp:blocking:unblock", on_change);
	end

	return blocks;
end

return new_blocks;
