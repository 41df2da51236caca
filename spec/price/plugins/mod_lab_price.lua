-- A door into the server whose work is counted: each line that comes in on its port is run, and answered with a line.
-- The administration shell would do, but it is a client of its own and much dearer than what is asked for here.

module:set_global();

local server = require "net.server";

local function answer(conn, line)
	local chunk, problem = load("return "..line, "=price", "t");
	if chunk then
		local fine, value = pcall(chunk);
		problem = not fine and value;
		line = tostring(value);
	end
	conn:write((problem and "error: "..tostring(problem) or line):gsub("\n", " ").."\n");
end

local waiting = {};
local listener = { onconnect = function () end };

function listener.onincoming(conn, data)
	data = (waiting[conn] or "")..data;
	local line, rest = data:match("^([^\n]*)\n(.*)$");
	while line do
		answer(conn, line);
		data = rest;
		line, rest = data:match("^([^\n]*)\n(.*)$");
	end
	waiting[conn] = data ~= "" and data or nil;
end

function listener.ondisconnect(conn) waiting[conn] = nil; end

-- What is in use after all garbage has gone. The collector then rests until lab_price_free(): when it comes, and with it what it costs,
-- would hang on everything that came before.
function prosody.lab_price_rest()
	collectgarbage("restart");
	collectgarbage();
	collectgarbage();
	collectgarbage("stop");
	return ("%.0f"):format(collectgarbage("count") * 1024);
end

function prosody.lab_price_free()
	collectgarbage("restart");
	return "free";
end

local address = module:get_option_string("lab_price_address");
assert(server.addserver(address, module:get_option_number("lab_price_port", 5290), listener, "*a"));

local function count(list)
	local number = 0;
	for _ in pairs(list) do number = number + 1; end
	return number;
end

-- The streams that there are, where mod_lab_measure has nothing to measure.
function prosody.lab_price_sessions()
	local out = 0;
	for _, host in pairs(prosody.hosts) do out = out + count(host.s2sout); end
	return ("s2sin=%d s2sout=%d c2s=%d"):format(count(prosody.incoming_s2s), out, count(prosody.full_sessions));
end
