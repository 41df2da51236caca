-- prosodyctl mod_s2s_partners inside: what the server inside needs, so that it finds the partners' domains at the inner address of the edge, for the
-- list as it is on disk. Printed a domain at a time: nothing is kept of a long list but its wildcards. The forms are in offline/inside_forms.

local configmanager = require "core.configmanager";
local pton = require "util.net".pton;

local layout = module:require "layout";

local DEFAULT_PORT = 5269;
local COMPONENT = "s2s_inside"; -- the component module of a relay host without users

-- Errors about files of the inner side: they are often made with what is printed here.
local files_of_the_inner_side = { ["s2s_inside.certificate"] = true; ["s2s_inside.trust_anchors"] = true; ssl = true };

local function list_of(value)
	if value == nil then return {}; end
	return type(value) == "table" and value or { value };
end

local function new_inside(shared)
	local native, complain, wrong_usage, parse = shared.native, shared.complain, shared.wrong_usage, shared.parse;
	local OK, FAILED = shared.OK, shared.FAILED;
	local forms = module:require "offline/inside_forms";

	local function relay_hosts()
		local names = {};
		for _, host in ipairs(shared.sorted_hosts()) do
			if configmanager.rawget(host, "s2s_inside") ~= nil or configmanager.rawget(host, "component_module") == COMPONENT then
				names[#names + 1] = host;
			end
		end
		return names;
	end

	-- Host -> policy. The files of the inner side need not be there yet; with any other error there is no list.
	local function policies_of(hosts)
		local result, state, commit = shared.compile();
		if result then return result.policies; end
		local others, told = {}, {};
		for _, issue in ipairs(state.issues) do
			if issue.severity == "error" then
				table.insert(issue.code == "inside" and files_of_the_inner_side[issue.path] and told or others, issue);
			end
		end
		if #others > 0 then
			layout.issues(complain, others);
			complain(("The configuration has %s, so there is no list that the server inside could be told of."):format(
				layout.count(#others, "error")));
			return nil;
		end
		local policies = {};
		for _, host in ipairs(hosts) do
			local one = commit.compile_host(host);
			policies[host] = one and one.policies[host];
			if not policies[host] then
				complain(("The list of %s cannot be compiled; see check."):format(host));
				return nil;
			end
		end
		layout.issues(complain, told);
		complain("What is printed does not depend on that.");
		return policies;
	end

	-- Where the edge listens for the inside: { ipv4 = { ... }, ipv6 = { ... }, first, port }; nil and what is wrong.
	local function place()
		local global = module:context("*");
		local found = { ipv4 = {}; ipv6 = {} };
		for _, interface in ipairs(list_of(global:get_option("s2s_inside_interfaces"))) do
			local address = tostring(interface);
			local packed = pton(address);
			if not packed or address:find("%%") then
				return nil, ("s2s_inside_interfaces: %s is no address that another server could be told; write addresses, such as { \"10.1.0.2\" }"):format(
					layout.plain(("%q"):format(address), 80));
			elseif not packed:find("[^%z]") then
				return nil, ("s2s_inside_interfaces: %s is every address; name those of the inner side"):format(address);
			end
			table.insert(#packed == 4 and found.ipv4 or found.ipv6, address);
			found.first = found.first or address;
		end
		if not found.first then
			return nil, "s2s_inside_interfaces is needed: the addresses at which the server inside finds the partners' domains, such as { \"10.1.0.2\" }";
		end
		local ports = list_of(global:get_option("s2s_inside_ports"));
		for _, port in ipairs(ports) do
			port = math.tointeger(tonumber(port));
			-- Where there is a choice, the one that is found without SRV records.
			if port and (not found.port or port == DEFAULT_PORT) then found.port = port; end
		end
		found.port = found.port or DEFAULT_PORT;
		return found;
	end

	-- How the relay hosts and the server inside prove themselves: what any of them says.
	local function methods_of(hosts)
		local ways = { tls = "not_supported"; secure = true };
		for _, host in ipairs(hosts) do
			local value = module:context(host):get_option("s2s_inside");
			value = type(value) == "table" and value or {};
			local tls = value.tls or "required";
			if tls == "required" or ways.tls == "not_supported" then ways.tls = tls; end
			if tls ~= "required" then ways.secure = false; end
			if (value.sasl or "required") ~= "not_supported" then ways.sasl = true; end
			if value.dialback then ways.dialback = true; end
		end
		return ways;
	end

	-- Whether one of its parents has a wildcard; with `itself`, or it itself.
	local function is_below(wildcards, name, itself)
		local at = itself and name or name:match("^[^.]*%.(.*)$");
		while at do
			if wildcards[at] then return true; end
			at = at:match("^[^.]*%.(.*)$");
		end
		return false;
	end

	-- The lists of the hosts, each once: hosts that share the global one have one table of partners.
	local function distinct(hosts, policies)
		local lists, seen = {}, {};
		for _, host in ipairs(hosts) do
			local policy = policies[host];
			local partners = policy:table();
			if not seen[partners] then lists[#lists + 1] = policy; end
			seen[partners] = true;
		end
		return lists;
	end

	-- The domains of all lists: wildcards without "*.", sorted, all of them and those that no other one covers; what visits the others.
	local function domains_of(lists)
		local wildcards = {};
		for _, policy in ipairs(lists) do
			for position = 1, policy:count() do
				for _, name in ipairs(policy:domains(position)) do
					if name:sub(1, 2) == "*." then wildcards[name:sub(3)] = true; end
				end
			end
		end
		local sorted, highest = {}, {};
		for name in pairs(wildcards) do sorted[#sorted + 1] = name; end
		table.sort(sorted);
		for _, name in ipairs(sorted) do
			if not is_below(wildcards, name) then highest[#highest + 1] = name; end
		end
		local function each_exact(visit)
			local count = 0;
			for number, policy in ipairs(lists) do
				for position = 1, policy:count() do
					for _, name in ipairs(policy:domains(position)) do
						local told = name:sub(1, 2) == "*.";
						for earlier = 1, number - 1 do
							local found = not told and lists[earlier]:find(name);
							told = told or found and found.match ~= "default" and found.match ~= "wildcard" or false;
						end
						if not told then
							count = count + 1;
							visit(name);
						end
					end
				end
			end
			return count;
		end
		return { wildcards = highest; all_wildcards = sorted; each_exact = each_exact;
			is_below = function (name, itself) return is_below(wildcards, name, itself); end };
	end

	local commands = {};

	function commands.inside(arg)
		local words, options = parse(arg, {});
		if not words then return wrong_usage("unknown option "..layout.plain(options, 80)); end
		local form = words[1] and forms[words[1]];
		if not form then
			local takes = "inside takes unbound, dnsmasq, prosody, ejabberd, openfire or san";
			return wrong_usage(words[1] and ("%q is nothing that can be printed; %s"):format(layout.plain(words[1], 40), takes) or takes);
		end
		if #words > 2 then return wrong_usage("inside takes one relay host"); end
		local hosts = relay_hosts();
		if #hosts == 0 then
			complain("Error: there is no relay host, so no server inside that needs anything: see s2s_inside in docs/boundary.md");
			return FAILED;
		end
		if words[2] then
			local only = native.canonical_domain(words[2]);
			local is_one = false;
			local function is_it(host) return host == words[2] or only ~= nil and native.canonical_domain(host) == only; end
			for _, host in ipairs(hosts) do is_one = is_one or is_it(host); end
			if not is_one then
				return wrong_usage(("%s is no relay host; they are %s"):format(layout.plain(words[2], 80),
					layout.plain(table.concat(hosts, ", "), 400)));
			end
			for i = #hosts, 1, -1 do
				if not is_it(hosts[i]) then table.remove(hosts, i); end
			end
		end
		-- The places first: of both it says what to write, and the other one would say it as an error of the whole configuration.
		local where, problem = place();
		if not where then
			complain("Error: "..problem);
			return FAILED;
		end
		local policies = policies_of(hosts);
		if not policies then return FAILED; end
		local lists, covers_all = distinct(hosts, policies), false;
		for _, host in ipairs(hosts) do covers_all = covers_all or policies[host]:default() ~= nil; end
		local own = {};
		for _, host in ipairs(hosts) do own[#own + 1] = native.canonical_domain(host) or host; end
		local what = domains_of(lists);
		what.hosts, what.own, what.place, what.ways, what.default = hosts, own, where, methods_of(hosts), covers_all;
		local lacks = form(what, shared.write);
		if not lacks then return OK; end
		for _, text in ipairs(lacks) do complain("Not complete: "..text); end
		return FAILED;
	end

	return commands;
end

return new_inside;
