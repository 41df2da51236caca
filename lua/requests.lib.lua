-- What was asked of a partner's bare domain, so that the answer comes back. Each asker has a share: one who asks without
-- end loses his own answers and nobody else's.

local monotonic = require "util.time".monotonic;
local sha1 = require "util.hashes".sha1;

local SHARE, TOTAL = 100, 10000; -- remembered at once for one address, for all; the oldest is forgotten, its answer not delivered
local SECONDS = 600;
local KEY_MAX = 256; -- bytes: what is longer (ids may be) is remembered by its hash

local function new_requests()
	local requests = { total = 0 };
	local askers = {}; -- who -> { entries = { [key] = entry }, count, queue = { [first] = entry ... [last] = entry }, first, last }
	local swept = -SECONDS;

	local function short(key)
		return #key > KEY_MAX and sha1(key, true) or key;
	end

	local function drop(who, entry)
		local asker = askers[who];
		asker.entries[entry.key], asker.count = nil, asker.count - 1;
		requests.total = requests.total - 1;
		if asker.count == 0 then askers[who] = nil; end
	end

	-- The queue also holds what has been answered meanwhile, and what has been asked again.
	local function drop_oldest(who)
		local asker = askers[who];
		while asker.first <= asker.last do
			local entry = asker.queue[asker.first];
			asker.queue[asker.first] = nil;
			asker.first = asker.first + 1;
			if asker.entries[entry.key] == entry then
				return drop(who, entry);
			end
		end
	end

	-- Room for one more of everybody's: what is too old goes, else the oldest of the asker with the most.
	local function make_room(now)
		if now - swept >= SECONDS / 10 then
			swept = now;
			for who, asker in pairs(askers) do
				for _, entry in pairs(asker.entries) do
					if now - entry.at > SECONDS then drop(who, entry); end
				end
			end
		end
		if requests.total < TOTAL then return; end
		local found, most = nil, 0;
		for who, asker in pairs(askers) do
			if asker.count > most then found, most = who, asker.count; end
		end
		drop_oldest(found);
	end

	local function append(asker, entry)
		if asker.last - asker.first >= 2 * SHARE then
			local queue, last = {}, 0;
			for i = asker.first, asker.last do
				if asker.entries[asker.queue[i].key] == asker.queue[i] then
					last = last + 1;
					queue[last] = asker.queue[i];
				end
			end
			asker.queue, asker.first, asker.last = queue, 1, last;
		end
		asker.last = asker.last + 1;
		asker.queue[asker.last] = entry;
		asker.entries[entry.key], asker.count = entry, asker.count + 1;
	end

	function requests.remember(who, key)
		local entry = { key = short(key); at = monotonic() };
		local asker = askers[who];
		if asker and asker.entries[entry.key] then
			drop(who, asker.entries[entry.key]);
		elseif asker and asker.count >= SHARE then
			drop_oldest(who);
		elseif requests.total >= TOTAL then
			make_room(entry.at);
		end
		if not askers[who] then
			askers[who] = { entries = {}; count = 0; queue = {}; first = 1; last = 0 };
		end
		append(askers[who], entry);
		requests.total = requests.total + 1;
	end

	-- Whether it was asked, and not too long ago. Each answer is delivered once.
	function requests.answered(who, key)
		local asker = askers[who];
		local entry = asker and asker.entries[short(key)];
		if not entry then return false; end
		drop(who, entry);
		return monotonic() - entry.at <= SECONDS;
	end

	return requests;
end

return new_requests;
