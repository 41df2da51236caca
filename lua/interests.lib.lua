-- What mod_pep remembers of remote contacts: the events that each of their resources wants (XEP-0163, section 4.3.2). It keeps an entry
-- for every resource that says so until that resource is unavailable, and a contact can invent resources without end. Of one user
-- so many remote resources have an entry; with more, the one heard of longest ago gets no events until its next presence.

local cache = require "util.cache";
local jid = require "util.jid";
local is_contact_subscribed = require "core.rostermanager".is_contact_subscribed;

local RESOURCES_MAX = 1000;     -- of one user's remote contacts together
local USERS_MAX = 10000;        -- as mod_pep's own pep_info_cache_size

local hosts = prosody.hosts;

-- Of either direction: a stream that we have opened carries what the partner sends as well (XEP-0288).
local function of_a_stream(origin)
	return origin.type == "s2sin" or origin.type == "s2sout";
end

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

		-- What mod_pep keeps of one who is not among this host's own users, after it has looked at what has come. What it has let pass by
		-- takes no place from those whose presence counts.
		local function note(event)
			local stanza = event.stanza;
			local user = of_a_stream(event.origin) and stanza.attr.to and jid.node(stanza.attr.to);
			if not user then return; end
			local known = known_to_pep(host, user);
			if known and known[stanza.attr.from] then
				resources_of(user):set(stanza.attr.from, true);
			else
				local resources = users:get(user);
				if resources then resources:set(stanza.attr.from, nil); end
			end
		end

		-- Behind mod_pep's own handlers, at 10 and 0.
		context:hook("presence/bare", note, 9);
		context:hook("iq-result/bare/disco", note, -1);

		-- Before it. It asks contacts who may see the user's presence, but takes an answer from anybody, for anybody.
		context:hook("iq-result/bare/disco", function (event)
			local stanza = event.stanza;
			if guard.observing == true or not of_a_stream(event.origin) or not stanza.attr.to then return; end
			local user = jid.node(stanza.attr.to);
			if user and not is_contact_subscribed(user, host, jid.bare(stanza.attr.from)) then return true; end
		end, 11);
	end

	return interests;
end

return new_interests;
