-- Prosody's collector starts a cycle at each twentieth that the heap grows, and works the harder the more is allocated. What
-- allocates much at a time and keeps little of it would have everything marked many times over, while nothing else runs.

-- As xpcall does, with the collector held meanwhile.
local function hold(action, ...)
	local collecting = collectgarbage("isrunning");
	collectgarbage("stop");
	local results = table.pack(xpcall(action, debug.traceback, ...));
	if collecting then
		collectgarbage("restart");
	end
	return table.unpack(results, 1, results.n);
end

return { hold = hold };
