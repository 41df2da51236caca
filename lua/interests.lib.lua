-- What mod_pep remembers of remote contacts: the events that each of their resources wants (XEP-0163, section 4.3.2). It keeps an entry
-- for every resource that says so until that resource is unavailable, and a contact can invent resources without end. Of one user
-- so many remote resources have an entry; with more, the one heard of longest ago gets no events until its next presence.

local cache = require "util.cache";
local jid = require "util.jid";

local RESOURCES_MAX = 1000;     -- of one user's remote contacts together
local USERS_MAX = 10000;        -- as mod_pep's own pep_info_cache_size

local xmlns_caps = "http://jabber.org/protocol/caps";

local hosts = prosody.hosts;

-- mod_pep's own table of a user's contacts: full JID -> what it wants. nil without mod_pep, or while it knows nobody.
local function known_to_pep(host, user)
	local pep = hosts[host] and hosts[host].modules and hosts[host].modules.pep;
	local saved = pep and pep.module and pep.module.save and pep.module.save();
	local recipients = type(saved) == "table" and saved.recipients;
	return recipients and recipients[user];
end

local function new_interests(guard)
	local interests = {};

	function interests.guard_host(host, context)
		local users = cache.new(USERS_MAX);

		local function forget(user)
			return function (resource)
				local known = guard.observing ~= true and known_to_pep(host, user);
				if known then known[resource] = nil; end
			end;
		end

		local function resources_of(user)
			local resources = users:get(user);
			if not resources then
				resources = cache.new(RESOURCES_MAX, forget(user));
				-- What mod_pep has kept from before this module was loaded counts as well.
				local before = {};
				for resource in pairs(known_to_pep(host, user) or {}) do
					if not hosts[jid.host(resource)] then before[#before + 1] = resource; end
				end
				for _, resource in ipairs(before) do resources:set(resource, true); end
				users:set(user, resources);
			end
			return resources;
		end

		-- Before mod_pep's own handlers, at 10 and 0.
		context:hook("presence/bare", function (event)
			local stanza = event.stanza;
			if event.origin.type ~= "s2sin" or not stanza.attr.to then return; end
			local user, kind = jid.node(stanza.attr.to), stanza.attr.type;
			if not user then return; end
			if kind == "unavailable" then
				local resources = users:get(user);
				if resources then resources:set(stanza.attr.from, nil); end
			elseif kind == nil and stanza:get_child("c", xmlns_caps) then
				resources_of(user):set(stanza.attr.from, true);
			end
		end, 11);
		context:hook("iq-result/bare/disco", function (event)
			local user = event.stanza.attr.to and event.origin.type == "s2sin" and jid.node(event.stanza.attr.to);
			if user then resources_of(user):set(event.stanza.attr.from, true); end
		end, 11);
	end

	return interests;
end

return new_interests;
