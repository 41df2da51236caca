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

return { hold = hold };
