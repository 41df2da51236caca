-- Says of each turn of the event loop that takes long how much CPU it took: what a client waits for when nothing else runs on the machine, whatever
-- does. A turn lasts from one look at the sockets to the next.

module:set_global();

local LONG = 0.003; -- seconds

local poller = require "util.poll".new();
local methods = debug.getmetatable(poller).__index;
local wait, since = methods.wait, nil;

function methods.wait(...)
	local taken = since and os.clock() - since or 0;
	if taken >= LONG then module:log("info", "turn of %.1f ms", taken * 1000); end
	return (function (...)
		since = os.clock();
		return ...;
	end)(wait(...));
end
