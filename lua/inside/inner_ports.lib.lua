-- The ports at which the server inside finds the partners. Prosody's portmanager opens them, tells its own log where it cannot (the address may come
-- later than this server does, or be mistyped), and does not try again: that is done here.

local socket = require "socket";
local monotonic = require "util.time".monotonic;
local get_active_services = require "core.portmanager".get_active_services;

local SERVICE = "s2s_inside"; -- options s2s_inside_interfaces and s2s_inside_ports, by the name
local PAUSE = 60; -- seconds behind a try of portmanager's, which writes a line where it is in vain

local function list_of(value)
	return type(value) == "table" and value or { value };
end

-- `listener`: what takes connections there.
local function new_ports(listener)
	local ports = {};
	local wanted, provided, tried = {}, nil, -PAUSE;
	local told = {}; -- "interface|port" -> true: that it is not open

	local function name_of(interface, port)
		return ("%s|%d"):format(tostring(interface), tonumber(port) or 0);
	end

	local function is_open(place)
		return get_active_services():search(SERVICE, place.interface, place.port)[1] ~= nil;
	end

	-- { { interface, port }... }: those that are to be open and are not.
	function ports.closed()
		local closed = {};
		for _, place in ipairs(wanted) do
			if not is_open(place) then closed[#closed + 1] = place; end
		end
		return closed;
	end

	function ports.words(place)
		return ("the inner port %s port %d is not open, so the server inside does not get through to it: see portmanager in the log; is the address this "
			.."machine's? It is opened when it can be"):format(place.interface, place.port);
	end

	local function tell()
		for _, place in ipairs(wanted) do
			local name = name_of(place.interface, place.port);
			if is_open(place) then
				if told[name] then module:log("info", "The inner port %s port %d is open now", place.interface, place.port); end
				told[name] = nil;
			elseif not told[name] then
				told[name] = true;
				module:log("error", "%s", (ports.words(place):gsub("^t", "T")));
			end
		end
	end

	local function open()
		provided = { name = SERVICE; listener = listener; default_port = 5269 };
		module:add_item("net-provider", provided);
		tell();
	end

	local function close()
		if provided then module:remove_item("net-provider", provided); end
		provided = nil;
	end

	local function same(one, other)
		if #one ~= #other then return false; end
		for i, place in ipairs(one) do
			if place.interface ~= other[i].interface or place.port ~= other[i].port then return false; end
		end
		return true;
	end

	-- places: { { interface, port }... } of the settings that come into force.
	function ports.provide(places)
		if provided and same(places, wanted) then return ports.look(true); end
		close();
		wanted, told, tried = places, {}, -PAUSE;
		if #places > 0 then open(); end
	end

	-- portmanager goes by the configuration as it was read last. That may have errors, and not be in force.
	local function is_configured()
		local global, there, count = module:context("*"), {}, 0;
		for _, place in ipairs(wanted) do there[name_of(place.interface, place.port)] = true; end
		for _, interface in ipairs(list_of(global:get_option("s2s_inside_interfaces"))) do
			for _, port in ipairs(list_of(global:get_option("s2s_inside_ports", 5269))) do
				if not there[name_of(interface, port)] then return false; end
				count = count + 1;
			end
		end
		return count == #wanted;
	end

	local function can_be_opened(place)
		local server = socket.bind(place.interface, place.port, 1);
		if server then server:close(); end
		return server ~= nil;
	end

	-- Now and then: whether what is missing can be opened by now. `at_once`: without the pause. Connections that stand stay.
	function ports.look(at_once)
		tell();
		local now, closed = monotonic(), ports.closed();
		if #closed == 0 or not at_once and now - tried < PAUSE or not is_configured() then return; end
		for _, place in ipairs(closed) do
			if can_be_opened(place) then
				tried = now;
				close();
				return open();
			end
		end
	end

	return ports;
end

return new_ports;
