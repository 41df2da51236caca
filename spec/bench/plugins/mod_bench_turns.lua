-- Says of each turn of the event loop that takes long how much CPU its thread took: what a client waits for when nothing else runs on the machine,
-- whatever does. A turn lasts from one look at the sockets to the next.

module:set_global();

local LONG = 0.003; -- seconds

-- os.clock() counts all threads of the process.
local function clock()
	local file <close> = io.open("/proc/thread-self/schedstat");
	return file and (file:read("n") or 0) / 1000000000 or os.clock();
end

local poller = require "util.poll".new();
local methods = debug.getmetatable(poller).__index;
local wait, since = methods.wait, nil;

function methods.wait(...)
	local taken = since and clock() - since or 0;
	if taken >= LONG then module:log("info", "turn of %.1f ms", taken * 1000); end
	return (function (...)
		since = clock();
		return ...;
	end)(wait(...));
end
