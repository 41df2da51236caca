-- What the rules ask for about a local user and a contact, as the host knows it at the moment of the stanza. Each fact is a word;
-- what it means for the stanza is decided in C. Nothing that can change is kept here, but for what core forgets too early: whom a
-- session has sent directed presence to, and what was asked of a partner's bare domain.

local cache = require "util.cache";
local jid = require "util.jid";
local monotonic = require "util.time".monotonic;

local hosts = prosody.hosts;

local REQUESTS = 10000; -- remembered at once; the oldest is forgotten, and its answer then not delivered
local REQUEST_SECONDS = 600;
local COMPLAINT_SECONDS, RETRY_SECONDS = 60, 10; -- between lines about rosters that cannot be read, and between attempts

local usermanager = require "core.usermanager";
local rostermanager = require "core.rostermanager";
local idna = require "util.encodings".idna;

local function new_facts(native, subscriptions, saved)
	local facts, memory = {}, {};

	--- Addresses

	-- The contact's bare JID with the domain as A-labels: one spelling for what this module keeps.
	local function canonical(contact)
		local node, domain = jid.split(contact);
		local name = domain and native.canonical_domain(domain);
		return name and jid.join(node, name) or jid.bare(contact) or contact;
	end
	memory.canonical = canonical;

	-- Rosters and block lists hold what their user wrote: as it came, as A-labels, as U-labels.
	local function spellings(contact)
		local node, domain = jid.split(contact);
		if not domain then return {}; end
		local list = { jid.bare(contact) };
		local name = native.canonical_domain(domain);
		if name and name ~= domain then
			table.insert(list, jid.join(node, name));
		end
		if name and name:find("xn--", 1, true) then
			local unicode = idna.to_unicode(name);
			if unicode and unicode ~= domain then
				table.insert(list, jid.join(node, unicode));
			end
		end
		return list;
	end
	memory.spellings = spellings;

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
		-- mend the storage; not with each stanza, or a stranger could have core write an error for each of his.
		local kept = hosts[host] and hosts[host].roster_cache;
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

	local function item_of(roster, contact)
		for _, spelling in ipairs(spellings(contact)) do
			if roster[spelling] then return roster[spelling]; end
		end
	end

	local function is_authorised(item)
		return item ~= nil and (item.subscription == "both" or item.subscription == "from");
	end

	-- Whether the contact may see the user's presence, and so knows that there is such a user.
	function memory.sees_presence(host, user, contact)
		local roster = roster_of(user, host);
		return roster ~= nil and is_authorised(item_of(roster, contact));
	end

	function facts.listed(host, user, _, contact)
		local roster = roster_of(user, host);
		if not roster then return "unavailable"; end
		return item_of(roster, contact) and "yes" or "no";
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

	--- Directed presence: user's bare JID -> full JID -> contact's bare JID

	local directed = saved and saved.directed or {};
	memory.directed_by = directed;

	function facts.directed(_, _, address, contact)
		local sessions = directed[jid.bare(address)];
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
		if not (origin and origin.directed and origin.directed[to]) then return; end
		local bare = jid.bare(from);
		directed[bare] = directed[bare] or {};
		directed[bare][from] = directed[bare][from] or {};
		directed[bare][from][canonical(to)] = true;
	end

	-- Whether that session's presence has gone to the contact and has not been taken back.
	function memory.has_directed(full, contact)
		local sessions = full and directed[jid.bare(full)];
		return sessions ~= nil and sessions[full] ~= nil and sessions[full][canonical(contact)] ~= nil;
	end

	local function forget(full, contact)
		local bare = jid.bare(full);
		local sessions = directed[bare];
		if not (sessions and sessions[full]) then return; end
		if contact then sessions[full][contact] = nil; end
		if not contact or next(sessions[full]) == nil then
			sessions[full] = nil;
		end
		if next(sessions) == nil then
			directed[bare] = nil;
		end
	end

	function memory.undirected(stanza)
		if directed[jid.bare(stanza.attr.from)] then
			forget(stanza.attr.from, canonical(stanza.attr.to));
		end
	end

	function memory.session_ended(full)
		if full then forget(full); end
	end

	--- What was asked of a partner's bare domain, so that the answer comes back

	local requests = cache.new(REQUESTS);

	local function request_key(address, domain, id)
		return address.."\0"..(native.canonical_domain(domain) or domain).."\0"..id;
	end

	function memory.request(stanza)
		local attr = stanza.attr;
		if attr.id then
			requests:set(request_key(attr.from, attr.to, attr.id), monotonic());
		end
	end

	function facts.requested(_, _, address, contact, id)
		local key = request_key(address, contact, id);
		local asked = requests:get(key);
		if not asked then return "no"; end
		requests:set(key, nil);
		return monotonic() - asked <= REQUEST_SECONDS and "yes" or "no";
	end

	--- The contact's standing with the user

	function facts.standing(host, user, _, contact)
		local ok, blocked = pcall(subscriptions.is_blocked, host, user, contact, spellings(contact));
		if not ok then return "unavailable"; end
		if blocked then return "blocked"; end
		local roster = roster_of(user, host);
		if not roster then return "unavailable"; end
		local item = item_of(roster, contact);
		if is_authorised(item) then return "authorised"; end
		local read, cancelled = pcall(subscriptions.is_cancelled, host, user, canonical(contact), item ~= nil);
		if not read then return "unavailable"; end
		return cancelled and "cancelled" or "none";
	end

	-- C takes a failure for one and refuses; the log is to say why.
	for name, fact in pairs(facts) do
		facts[name] = function (...)
			local ok, word = xpcall(fact, debug.traceback, ...);
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
	function memory.is_local(address)
		return hosts[jid.host(address)] ~= nil;
	end

	return facts, memory;
end

return new_facts;
