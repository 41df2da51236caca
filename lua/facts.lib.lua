-- What the rules ask for about a local user and a contact, as the host knows it at the moment of the stanza. Each fact is a word;
-- what it means for the stanza is decided in C. Nothing that can change is kept here, but for what core forgets too early: whom a
-- session has sent directed presence to, and what was asked of a partner's bare domain.

local jid = require "util.jid";
local monotonic = require "util.time".monotonic;

local hosts = prosody.hosts;

local COMPLAINT_SECONDS, RETRY_SECONDS = 60, 10; -- between lines about rosters that cannot be read, and between attempts

local usermanager = require "core.usermanager";
local rostermanager = require "core.rostermanager";

local function new_facts(guard, native, subscriptions, saved)
	local facts, memory = {}, {};

	--- Addresses

	local address = module:require "address" (native);
	local canonical, spellings = address.canonical, address.spellings;
	memory.canonical = canonical;

	--- The roster

	local complained, forgotten = -COMPLAINT_SECONDS, -RETRY_SECONDS;
	local function complain(user, host, err)
		local now = monotonic();
		if now - complained >= COMPLAINT_SECONDS then
			complained = now;
			module:log("error", "The roster of %s@%s cannot be read, its public_unverified contacts are refused until it can "
				.."(roster-unavailable): %s", user, host, err);
		end
		-- Core keeps what it could not read as an empty roster, marked as broken. Let go of, it is read again, so that it is enough to
		-- repair the storage; not with each stanza, or a stranger could have core write an error for each of his.
		local kept = guard.observing ~= true and hosts[host] and hosts[host].roster_cache;
		if kept and now - forgotten >= RETRY_SECONDS then
			forgotten = now;
			kept:set(user.."@"..host, nil);
		end
	end

	-- nil when it cannot be read. Core says so once, and then hands out an empty roster marked as broken.
	local function roster_of(user, host)
		local ok, roster, err = pcall(rostermanager.load_roster, user, host);
		if not ok then
			roster, err = nil, roster;
		elseif not err and type(roster) == "table" and roster[false] and roster[false].broken then
			err = roster[false].broken;
		end
		if err or type(roster) ~= "table" then
			complain(user, host, err);
			return nil;
		end
		return roster;
	end

	local function is_listed(roster, contact)
		for _, spelling in ipairs(spellings(contact)) do
			if roster[spelling] then return true; end
		end
		return false;
	end

	local function is_authorised(roster, contact)
		for _, spelling in ipairs(spellings(contact)) do
			local item = roster[spelling];
			if item and (item.subscription == "both" or item.subscription == "from") then return true; end
		end
		return false;
	end

	-- Whether the contact may see the user's presence, and so knows that there is such a user.
	function facts.sees(host, user, _, contact)
		local roster = roster_of(user, host);
		return roster ~= nil and is_authorised(roster, contact) and "yes" or "no";
	end

	function facts.listed(host, user, _, contact)
		local roster = roster_of(user, host);
		if not roster then return "unavailable"; end
		return is_listed(roster, contact) and "yes" or "no";
	end

	--- The user

	-- An account must be known to exist before its roster is asked for: core keeps a roster for any name.
	function facts.account(host, user)
		return user ~= "" and usermanager.user_exists(user, host) and "exists" or "missing";
	end

	-- COMPAT Prosody 0.12: no roles. Most servers have none that denies anybody, which then need not be asked each time.
	memory.roles_scanned = usermanager.get_user_role and usermanager.get_all_roles and {} or nil;

	function facts.access(host, user)
		if not memory.roles_scanned then return "allowed"; end
		local denies = false;
		for _, role in pairs(usermanager.get_all_roles(host) or {}) do
			denies = denies or role:may("xmpp:federate") == false;
		end
		if not denies then
			memory.roles_scanned[host] = os.time();
			return "allowed";
		end
		memory.roles_scanned[host] = nil;
		local role = user ~= "" and usermanager.get_user_role(user, host);
		return role and role:may("xmpp:federate") == false and "denied" or "allowed";
	end

	--- Directed presence: user's bare JID -> full JID -> contact's bare JID. No more than DIRECTED_MAX of a session.

	local DIRECTED_MAX = 1000;
	local counts = setmetatable({}, { __mode = "k" }); -- the table of a session's contacts -> their number

	local directed = saved and saved.directed or {};
	memory.directed_by = directed;

	function facts.directed(_, _, own, contact)
		local sessions = directed[jid.bare(own)];
		if not sessions then return "no"; end
		contact = canonical(contact);
		for _, contacts in pairs(sessions) do
			if contacts[contact] then return "yes"; end
		end
		return "no";
	end

	-- Core has noted it by now; a broadcast it has not.
	function memory.directed(stanza, origin)
		local from, to = stanza.attr.from, stanza.attr.to;
		local relay = memory.relays[jid.host(from)];
		if relay then return relay.note_presence(stanza); end
		if not (origin and origin.directed and origin.directed[to]) then return; end
		local bare = jid.bare(from);
		directed[bare] = directed[bare] or {};
		directed[bare][from] = directed[bare][from] or {};
		local contacts, contact = directed[bare][from], canonical(to);
		if contacts[contact] then return; end
		local count = counts[contacts];
		if not count then
			count = 0;
			for _ in pairs(contacts) do count = count + 1; end
		end
		if count >= DIRECTED_MAX then
			module:log("debug", "%s has sent directed presence to %d contacts: one more does not count as listed", from, count);
			return;
		end
		contacts[contact], counts[contacts] = true, count + 1;
	end

	-- Whether that session's presence has gone to the contact and has not been taken back.
	function facts.passed(_, _, full, contact)
		local sessions = directed[jid.bare(full)];
		return sessions and sessions[full] and sessions[full][canonical(contact)] and "yes" or "no";
	end

	local function forget(full, contact)
		local bare = jid.bare(full);
		local sessions = directed[bare];
		if not (sessions and sessions[full]) then return; end
		local contacts = sessions[full];
		if contact and contacts[contact] then
			contacts[contact], counts[contacts] = nil, counts[contacts] and counts[contacts] - 1;
		end
		if not contact or next(sessions[full]) == nil then
			sessions[full] = nil;
		end
		if next(sessions) == nil then
			directed[bare] = nil;
		end
	end

	function memory.undirected(stanza)
		local relay = memory.relays[jid.host(stanza.attr.from)];
		if relay then
			relay.take_back_presence(stanza);
		elseif directed[jid.bare(stanza.attr.from)] then
			forget(stanza.attr.from, canonical(stanza.attr.to));
		end
	end

	function memory.session_ended(full)
		if full then forget(full); end
	end

	--- What was asked of a partner's bare domain, so that the answer comes back

	local requests = module:require "requests" ();

	-- A user has one share, whatever the resource; so has a component, which can invent addresses.
	local function asker(own)
		local host = jid.host(own);
		return hosts[host] and hosts[host].type == "local" and jid.bare(own) or host;
	end

	local function request_key(own, domain, id)
		return own.."\0"..address.canonical_domain(domain).."\0"..id;
	end

	function memory.request(stanza)
		local attr = stanza.attr;
		if attr.id then
			requests.remember(asker(attr.from), request_key(attr.from, attr.to, attr.id));
		end
	end

	function facts.requested(_, _, own, contact, id)
		return requests.answered(asker(own), request_key(own, contact, id)) and "yes" or "no";
	end

	--- The contact's standing with the user

	function facts.standing(host, user, _, contact)
		local ok, blocked = pcall(subscriptions.blocks.has, host, user, contact);
		if not ok then return "unavailable"; end
		if blocked then return "blocked"; end
		local roster = roster_of(user, host);
		if not roster then return "unavailable"; end
		if is_authorised(roster, contact) then return "authorised"; end
		local read, cancelled = pcall(subscriptions.is_cancelled, host, user, canonical(contact), is_listed(roster, contact));
		if not read then return "unavailable"; end
		return cancelled and "cancelled" or "none";
	end

	-- mod_blocklist compares one spelling; this is asked where there are more.
	function facts.blocked(host, user, _, contact)
		return subscriptions.blocks.in_force(host, user, contact) and "yes" or "no";
	end

	-- Whether as many of these addresses, or more, are of the contact's partner, its additional domains included. Those in `but` do
	-- not count.
	local function reaches(addresses, limit, host, contact, but)
		local policy, count, same = guard.policies[host], 0, {};
		local label = policy:label(jid.host(contact));
		for other in pairs(addresses) do
			local domain = type(other) == "string" and not (but and but[other]) and jid.host(other);
			if domain then
				if same[domain] == nil then same[domain] = not hosts[domain] and policy:label(domain) == label; end
				if same[domain] then count = count + 1; end
				if count >= limit then return true; end
			end
		end
		return false;
	end

	function facts.contacts(host, user, _, contact)
		local roster = roster_of(user, host);
		return (not roster or reaches(roster, native.bounds.contacts, host, contact)) and "many" or "few";
	end

	-- A request that waits already is replaced, and a contact in the roster may always ask: their number is the user's own doing.
	function facts.waiting(host, user, _, contact)
		local roster = roster_of(user, host);
		if not roster then return "full"; end
		local pending = roster[false] and roster[false].pending or {};
		if pending[jid.bare(contact)] or is_listed(roster, contact) then return "room"; end
		return reaches(pending, native.bounds.waiting, host, contact, roster) and "full" or "room";
	end

	-- Host -> facts of its own: those of a relay host, whose users and rosters are on another server; and what notes their presence, since core
	-- has no sessions of theirs. Filled in by inside/boundary.
	memory.relays = {};
	-- C takes a failure for one and refuses; the log is to say why.
	for name, fact in pairs(facts) do
		facts[name] = function (host, ...)
			local own = memory.relays[host];
			local ok, word = xpcall(own and own[name] or fact, debug.traceback, host, ...);
			if not ok then
				module:log("error", "Could not find out about a local user (%s): %s", name, word);
			end
			return ok and word or nil;
		end;
	end

	function memory.save()
		return { directed = directed };
	end

	function memory.guard_host(_, context)
		-- Behind everything that sends the unavailable.
		context:hook("resource-unbind", function (event)
			memory.session_ended(event.session.full_jid);
		end, -1000);
	end

	-- Is this one of ours? Local contacts are none of this module's business.
	function memory.is_local(own)
		return hosts[jid.host(own)] ~= nil;
	end

	return facts, memory;
end

return new_facts;
