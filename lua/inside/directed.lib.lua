-- To whom users of relay hosts have sent available presence, and have not taken it back: for partners of the type public_unverified with group chat
-- it counts as listed (P17). What goes out is all that shows here, so a broadcast is noted too, but for those who are known contacts anyway: these
-- are listed without it. Nothing of this outlives the module.

local jid = require "util.jid";

local USER_MAX, ALL_MAX = 1000, 50000; -- of a user, of all
local BYTES_MAX = 1023; -- of the two addresses together

-- `by_user`: user's bare JID -> full JID -> contact -> true, as lua/facts has it of users here: C looks in there for users, and facts.directed for
-- contacts. `canonical`: of an address, see address.
local function new_directed(by_user, canonical)
	local directed = {};
	local relays = {}; -- host -> true
	local counts, total = {}, 0; -- user's bare JID -> number

	local function change(bare, by)
		counts[bare], total = (counts[bare] or 0) + by, total + by;
		if counts[bare] == 0 then counts[bare] = nil; end
	end

	local function drop_session(bare, full)
		local number = 0;
		for _ in pairs(by_user[bare][full]) do number = number + 1; end
		change(bare, -number);
		by_user[bare][full] = nil;
		if next(by_user[bare]) == nil then by_user[bare] = nil; end
	end

	function directed.note(stanza, is_contact)
		local full, to = stanza.attr.from, stanza.attr.to;
		local bare, contact = jid.bare(full), canonical(to);
		local sessions = by_user[bare];
		if sessions and sessions[full] and sessions[full][contact] or is_contact then return; end
		if total >= ALL_MAX or (counts[bare] or 0) >= USER_MAX or #full + #contact > BYTES_MAX then
			module:log("debug", "%s has sent available presence to many: one more does not count as listed", full);
			return;
		end
		sessions = sessions or {};
		sessions[full] = sessions[full] or {};
		sessions[full][contact], by_user[bare] = true, sessions;
		change(bare, 1);
	end

	-- The user's resource is gone for the contact.
	function directed.take_back(full, to)
		local bare, contact = jid.bare(full), canonical(to);
		local contacts = by_user[bare] and by_user[bare][full];
		if not contacts or not contacts[contact] then return; end
		contacts[contact] = nil;
		change(bare, -1);
		if next(contacts) == nil then drop_session(bare, full); end
	end

	-- The contact may not see the user any more, whichever resource.
	function directed.cancel(own, to)
		local resources = {};
		for full in pairs(by_user[jid.bare(own)] or {}) do resources[#resources + 1] = full; end
		for _, full in ipairs(resources) do directed.take_back(full, to); end
	end

	-- The host's server is gone, and with it every session of its users.
	function directed.forget(host)
		if total == 0 then return; end
		local users = {};
		for bare in pairs(counts) do
			if jid.host(bare) == host then users[#users + 1] = bare; end
		end
		for _, bare in ipairs(users) do
			total, counts[bare], by_user[bare] = total - counts[bare], nil, nil;
		end
	end

	-- names: relay host -> anything. Of a host that is an ordinary one now nothing stays.
	function directed.apply(names)
		for host in pairs(relays) do
			if not names[host] then directed.forget(host); end
		end
		relays = {};
		for host in pairs(names) do relays[host] = true; end
	end

	function directed.count() return total; end

	return directed;
end

return new_directed;
