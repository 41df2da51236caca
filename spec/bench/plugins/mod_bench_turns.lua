-- Says of each turn of the event loop that takes long how much CPU its thread took: what a client waits for when nothing else runs on the machine,
-- whatever does. A turn lasts from one look at the sockets to the next.

module:set_global();

local LONG = 0.003; -- seconds

local monotonic = require "util.time".monotonic;

local poller = require "util.poll".new();
local methods = debug.getmetatable(poller).__index;
local wait, since, begun = methods.wait, nil, nil;

function methods.wait(...)
	-- os.clock() counts all threads of the process, which is too much where there are others; the time by the clock is too much on a busy machine.
	local taken = since and math.min(os.clock() - since, monotonic() - begun) or 0;
	if taken >= LONG then module:log("info", "turn of %.1f ms", taken * 1000); end
	return (function (...)
		since, begun = os.clock(), monotonic();
		return ...;
	end)(wait(...));
end
