-- lua/requests.lib.lua: what is remembered of questions, for whom, and that nobody's questions cost another his answers.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";

package.path = source.."/spec/prosody/?.lua;"..package.path;
require "prosody_library";

local now, requests;

local function load_requests()
	local libraries = {
		["util.cache"] = require "util.cache";
		["util.time"] = { monotonic = function () return now; end };
		["util.hashes"] = { sha1 = function (text) return ("%d:%s"):format(#text, text:sub(-20)); end };
	};
	local env = setmetatable({ require = function (name) return assert(libraries[name], name); end }, { __index = _G });
	return assert(loadfile(source.."/lua/requests.lib.lua", "t", env))()();
end

-- Everything in a table, by its own weight in entries: what could grow.
local function weight(value, seen)
	seen = seen or {};
	if type(value) == "string" then return #value; end
	if type(value) ~= "table" or seen[value] then return 0; end
	seen[value] = true;
	local sum = 1;
	for key, entry in pairs(value) do sum = sum + weight(key, seen) + weight(entry, seen) + 1; end
	return sum;
end

local function inside(name)
	for i = 1, 20 do
		local found, value = debug.getupvalue(requests.remember, i);
		if found == name then return value; end
	end
end

describe("questions", function ()
	before_each(function ()
		now = 1000;
		requests = load_requests();
	end);

	it("are answered once", function ()
		requests.remember("alice", "a");
		assert.is_false(requests.answered("bob", "a"));
		assert.is_true(requests.answered("alice", "a"));
		assert.is_false(requests.answered("alice", "a"));
		assert.equal(0, requests.total);
	end);

	it("are answered within ten minutes", function ()
		requests.remember("alice", "a");
		requests.remember("alice", "b");
		now = now + 600;
		assert.is_true(requests.answered("alice", "a"));
		now = now + 1;
		assert.is_false(requests.answered("alice", "b"));
	end);

	it("of one do not cost another his answer", function ()
		requests.remember("bob", "kept");
		for i = 1, 10000 do requests.remember("alice", "q"..i); end
		assert.is_true(requests.answered("bob", "kept"));
		assert.is_false(requests.answered("alice", "q1"));
		assert.is_false(requests.answered("alice", "q9900"));
		for i = 9901, 10000 do assert.is_true(requests.answered("alice", "q"..i)); end
		assert.equal(0, requests.total);
	end);

	it("of many at once cost those who ask the most", function ()
		for i = 1, 120 do
			for j = 1, 100 do requests.remember("user"..i, "q"..j); end
		end
		assert.equal(10000, requests.total);
		requests.remember("late", "once");
		assert.equal(10000, requests.total);
		assert.is_true(requests.answered("late", "once"));
	end);

	it("that nobody answers make room in the end", function ()
		for i = 1, 10000 do requests.remember("user"..i, "q"); end
		now = now + 601;
		requests.remember("late", "q");
		assert.equal(1, requests.total);
	end);

	it("weigh the same, however long they are and however often they are asked and answered", function ()
		local askers = inside("askers");
		for _ = 1, 1000 do
			requests.remember("alice", "again");
			requests.remember("alice", "other");
			requests.answered("alice", "other");
		end
		requests.remember("alice", ("x"):rep(100000));
		assert.truthy(weight(askers) < 20000);
		assert.is_true(requests.answered("alice", ("x"):rep(100000)));
		for i = 1, 100000 do
			requests.remember("alice", "q"..i);
			if i % 3 == 0 then requests.answered("alice", "q"..i); end
		end
		assert.truthy(weight(askers) < 20000);
		assert.truthy(requests.total <= 100);
	end);
end);
