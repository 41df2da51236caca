-- Connections at the inner port that have not authenticated yet. Their number has a bound, and so has each address's share. An address where
-- somebody has authenticated, over a stream of either direction, or that the settings name, has more room, since a server that starts again opens
-- streams for all its partners at once; strangers cannot take it.

local new_cache = require "util.cache".new;
local pton = require "util.net".pton;
local address_key = module:require "address_key";

local STRANGERS_MAX = 200; -- of all addresses that nobody has authenticated from
local ADDRESS_MAX = 100; -- of one of these
local PROVEN_MAX = 1000; -- of all addresses that somebody has authenticated from
local PROVEN_KEPT = 100; -- addresses

local function new_newcomers()
	local newcomers = {};
	local lists = {}; -- address -> { first, last, count, proven; [number] = session }
	local places = {}; -- session -> { list, number, address, order }
	local total = 0; -- of those that have ever come
	local proven = new_cache(PROVEN_KEPT); -- address -> true
	local named = {}; -- the same, of the settings
	local strangers, others = 0, 0;

	local function add_to_count(list, by)
		list.count = list.count + by;
		if list.proven then others = others + by; else strangers = strangers + by; end
	end

	-- The one that has waited longest. There is one: a list has its sessions from list[first] to list[last], in order; behind the first one some of
	-- them are gone.
	local function oldest(list)
		return list[list.first];
	end

	local function largest()
		local most;
		for _, list in pairs(lists) do
			local more = not most and 1 or list.count - most.count;
			if not list.proven and (more > 0 or more == 0 and places[oldest(list)].order < places[oldest(most)].order) then most = list; end
		end
		return most;
	end

	-- The one that has to go for it, perhaps itself; nil where there is room.
	function newcomers.add(session, ip)
		local address = address_key(ip);
		local list = lists[address];
		if not list then
			list = { first = 1; last = 0; count = 0; proven = named[address] or proven:get(address) or false };
			lists[address] = list;
		end
		total, list.last = total + 1, list.last + 1;
		list[list.last], places[session] = session, { list = list; number = list.last; address = address; order = total };
		add_to_count(list, 1);
		if list.proven then return others > PROVEN_MAX and oldest(list) or nil; end
		if list.count > ADDRESS_MAX then return oldest(list); end
		return strangers > STRANGERS_MAX and oldest(largest()) or nil;
	end

	-- It is gone, or waits no more.
	function newcomers.remove(session)
		local place = places[session];
		if not place then return; end
		local list = place.list;
		places[session], list[place.number] = nil, nil;
		add_to_count(list, -1);
		if list.count == 0 then
			lists[place.address] = nil;
			return;
		end
		while list[list.first] == nil do list.first = list.first + 1; end
	end

	local function give_room(address)
		local list = lists[address];
		if not list or list.proven then return; end
		list.proven, strangers, others = true, strangers - list.count, others + list.count;
	end

	-- Somebody has authenticated over it: it has come in or, where it is none of these, we have opened it.
	function newcomers.prove(session)
		if session.ip then
			local address = address_key(session.ip);
			proven:set(address, true);
			give_room(address);
		end
		newcomers.remove(session);
	end

	-- The settings name these servers inside; what is no address is left out.
	function newcomers.name(servers)
		named = {};
		for _, server in ipairs(servers) do
			if pton(server) then
				local address = address_key(server);
				named[address] = true;
				give_room(address);
			end
		end
	end

	return newcomers;
end

return new_newcomers;
