-- COMPAT 0.12.3, 13.0.1 with LuaSec 1.2.0: the TLS contexts that a port has for each host's name belong to nobody but a table, in which
-- a reload puts new ones. A handshake that has taken one up, and waits for the client's next word, goes on with what the collector has
-- freed: a handshake that is open while the configuration is reloaded ends the server. Here they live on for as long as a
-- handshake may take. Changes to the list of partners come by reloads.

local portmanager = require "core.portmanager";
local timer = require "util.timer";

local HOLD_TIME = 300; -- seconds, at least; core gives a handshake one minute between two words

-- The contexts by host name of a listening socket, or nil.
local function names_of(server)
	if type(server) ~= "table" then return nil; end
	local context = rawget(server, "tls_ctx");
	local names = type(context) == "table" and context._sni_contexts or rawget(server, "hosts"); -- 13, 0.12
	return type(names) == "table" and names or nil;
end

-- Before core replaces or removes any. `longest`: seconds that a handshake of an S2S stream may take in all.
local function keep(longest)
	local kept = {};
	for _, _, _, _, service in portmanager.get_active_services():iter(nil, nil, nil, nil) do
		for _, context in pairs(names_of(service.server) or {}) do
			kept[#kept+1] = context;
		end
	end
	if #kept > 0 then
		timer.add_task(math.max(HOLD_TIME, 2 * longest), function () kept = nil; end);
	end
	return kept;
end

return { keep = keep };
