-- Prosody's collector starts a cycle at each twentieth that the heap grows, and works the harder the more is allocated. What
-- allocates much at a time and keeps little of it would have everything marked many times over, while nothing else runs.

-- Calls it with the collector held meanwhile. An error goes on, with the traceback of its place.
local function hold(action, ...)
	local collecting = collectgarbage("isrunning");
	collectgarbage("stop");
	local results = table.pack(xpcall(action, debug.traceback, ...));
	if collecting then
		collectgarbage("restart");
	end
	if not results[1] then error(results[2], 0); end
	return table.unpack(results, 2, results.n);
end

-- Whatever others do in this turn of the event loop. The next one, for which `soon` keeps a function, lets the collector go on, whatever becomes of
-- them.
local function hold_this_turn(soon)
	if not collectgarbage("isrunning") then return; end
	soon(function () collectgarbage("restart"); end);
	collectgarbage("stop");
end

local STEPS_MAX = 5000; -- of a few milliseconds

-- Two cycles, which is what it takes for what has just been let go and what that refers to. An idle server may not begin one for hours. `pause` lets
-- others have a turn between the steps; false: it is not to go on. `gc`: Prosody's option of that name; in generational mode a step would be a whole
-- collection, which is left to Prosody.
local function through(pause, gc)
	if type(gc) == "table" and gc.mode == "generational" then return; end
	local cycles = 0;
	for _ = 1, STEPS_MAX do
		if cycles == 2 or not pause() then return; end
		if collectgarbage("step") then cycles = cycles + 1; end
	end
end

return { hold = hold; hold_this_turn = hold_this_turn; through = through };
