-- Whether partners can find this server, and this server them: what DNS says, beside what the server listens on.

local words = module:require "service_lookup".words;

local configmanager = require "core.configmanager";
local local_addresses = require "util.net".local_addresses;

local readiness = {};

-- The ports our S2S service listens on, the addresses that are ours, and the ports for direct TLS.
function readiness.listening()
	local ports, direct_ports, addresses, any = {}, {}, {}, false;
	for service, found in pairs({ s2s = ports; s2s_direct_tls = direct_ports }) do
		local ok, services = pcall(function () return require "core.portmanager".get_active_services():get(service); end);
		for interface, by_port in pairs(ok and services or {}) do
			if interface == "*" or interface == "::" or interface == "0.0.0.0" then
				any = true;
			else
				addresses[interface] = true;
			end
			for port in pairs(by_port) do found[tonumber(port)] = true; end
		end
	end
	if any then
		for _, family in ipairs({ "ipv4"; "ipv6" }) do
			for _, address in ipairs(local_addresses(family, true) or {}) do addresses[address] = true; end
		end
	end
	return ports, addresses, direct_ports;
end

local function sorted_keys(set)
	local list = {};
	for key in pairs(set) do list[#list + 1] = tostring(key); end
	table.sort(list);
	return table.concat(list, ", ");
end

-- The same as the configuration has it, for where no server runs: ports, addresses of this machine, ports for direct TLS.
function readiness.configured()
	local function ports_of(option, default)
		local value, found = configmanager.get("*", option), {};
		if value == nil then value = default; end
		for _, port in ipairs(type(value) == "table" and value or { value }) do
			if math.tointeger(tonumber(port)) then found[math.tointeger(tonumber(port))] = true; end
		end
		return found;
	end
	local addresses = {};
	for _, family in ipairs({ "ipv4"; "ipv6" }) do
		for _, address in ipairs(local_addresses(family, true) or {}) do addresses[address] = true; end
	end
	-- Not all that it may listen on need be an address of an interface by itself.
	for _, option in ipairs({ "interfaces"; "s2s_interfaces"; "s2s_direct_tls_interfaces" }) do
		local value = configmanager.get("*", option);
		for _, address in ipairs(type(value) == "table" and value or { value }) do addresses[address] = true; end
	end
	return ports_of("s2s_ports", 5269), addresses, ports_of("s2s_direct_tls_ports");
end

local function judge_targets(domain, targets, ports, addresses, found)
	local port_fits, address_fits, any_address = false, false, false;
	for _, target in ipairs(targets) do
		for _, address in ipairs(target.addresses or {}) do
			any_address = true;
			if ports[target.port] then port_fits = true; end
			if addresses[address] and ports[target.port] then address_fits = true; end
		end
	end
	if not any_address then
		return "warning", ("%s: %s, which has no address; partners cannot find this server"):format(domain, found);
	elseif not port_fits then
		return "warning", ("%s: %s, but this server listens on %s"):format(domain, found,
			next(ports) and "port "..sorted_keys(ports) or "no port for "..(targets[1].direct and "direct TLS" or "server-to-server streams"));
	elseif not address_fits then
		return "note", ("%s: %s, which is no address of this machine; in order if that is a router or proxy that leads here")
			:format(domain, found);
	end
	return "ok", ("%s: %s, which leads here"):format(domain, found);
end

-- What others find of one of our domains: { grade, text }... `ports`, `addresses`, `direct_ports` as listening gives them.
function readiness.judge_own(domain, targets, problem, ports, addresses, direct_ports)
	if not targets then
		return { { grade = "warning"; text = ("%s: %s"):format(domain, problem) } };
	end
	local plain, direct, found = { srv = targets.srv }, {}, {};
	for _, target in ipairs(targets) do table.insert(target.direct and direct or plain, target); end
	local function add(list, own_ports)
		local grade, text = judge_targets(domain, list, own_ports, addresses, words(list));
		found[#found + 1] = { grade = grade; text = text };
	end
	if #plain > 0 then
		add(plain, ports);
	else
		found[1] = { grade = "warning"; text = domain..": _xmpp-server says that there is no such service; partners without direct TLS cannot find "
			.."this server" };
	end
	if #direct > 0 then
		add(direct, direct_ports);
	elseif next(direct_ports) then
		found[#found + 1] = { grade = "note"; text = ("%s: this server listens for direct TLS on port %s, and no _xmpps-server record says so")
			:format(domain, sorted_keys(direct_ports)) };
	end
	return found;
end

-- What we find of a partner: grade, text
function readiness.judge_partner(name, targets, problem)
	if not targets then
		return "warning", ("%s: %s"):format(name, problem);
	end
	local any, first_problem = false, nil;
	for _, target in ipairs(targets) do
		any = any or #(target.addresses or {}) > 0;
		first_problem = first_problem or target.problem;
	end
	local found = words(targets);
	if not any then
		return "warning", ("%s: %s, which has no address: it cannot be reached%s"):format(name, found,
			first_problem and " ("..first_problem..")" or "");
	end
	return "ok", ("%s: %s"):format(name, found);
end

return readiness;
