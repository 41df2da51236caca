-- What was asked of a partner's bare domain, so that the answer comes back. Each asker has a share: one who asks without
-- end loses his own answers and nobody else's.

local cache = require "util.cache";
local monotonic = require "util.time".monotonic;
local sha1 = require "util.hashes".sha1;

local SHARE, TOTAL = 100, 10000; -- remembered at once for one address, for all; the oldest is forgotten, its answer not delivered
local SECONDS = 600;
local KEY_MAX = 256; -- bytes: what is longer (ids may be) is remembered by its hash

local function new_requests()
	local requests, swept = { total = 0 }, -SECONDS;
	local askers = {}; -- who -> cache of at most SHARE questions: key -> when; no entry without questions

	local function short(key)
		return #key > KEY_MAX and sha1(key, true) or key;
	end

	local function drop(who, key)
		local asked = askers[who];
		asked:set(key, nil);
		requests.total = requests.total - 1;
		if asked:count() == 0 then askers[who] = nil; end
	end

	-- Room for one more of everybody's: what is too old goes, else the oldest of the asker with the most.
	local function make_room(now)
		if now - swept >= SECONDS / 10 then
			swept = now;
			local old = {};
			for who, asked in pairs(askers) do
				for key, at in asked:items() do
					if now - at > SECONDS then old[#old + 1] = { who, key }; end
				end
			end
			for _, one in ipairs(old) do drop(one[1], one[2]); end
		end
		if requests.total < TOTAL then return; end
		local found, most = nil, 0;
		for who, asked in pairs(askers) do
			local count = asked:count();
			if count > most then found, most = who, count; end
		end
		drop(found, (askers[found]:tail()));
	end

	function requests.remember(who, key)
		key = short(key);
		local asked, now = askers[who], monotonic();
		if asked and asked:get(key) then
			asked:set(key, now); -- and so it is the newest again
			return;
		elseif asked and asked:count() >= SHARE then
			requests.total = requests.total - 1; -- its own oldest gives way
		elseif requests.total >= TOTAL then
			make_room(now);
			asked = askers[who];
		end
		if not asked then
			asked = cache.new(SHARE);
			askers[who] = asked;
		end
		asked:set(key, now);
		requests.total = requests.total + 1;
	end

	-- Whether it was asked, and not too long ago. Each answer is delivered once.
	function requests.answered(who, key)
		key = short(key);
		local at = askers[who] and askers[who]:get(key);
		if not at then return false; end
		drop(who, key);
		return monotonic() - at <= SECONDS;
	end

	return requests;
end

return new_requests;
