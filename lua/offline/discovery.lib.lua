-- prosodyctl mod_s2s_partners probe and suggest: who is out there, before there is an entry.

local configmanager = require "core.configmanager";

local layout = module:require "layout";

local function new_discovery(shared)
	local native, complain, wrong_usage, parse = shared.native, shared.complain, shared.wrong_usage, shared.parse;
	local compile, sorted_hosts = shared.compile, shared.sorted_hosts;
	local OK, FAILED = shared.OK, shared.FAILED;
	local commands = {};

	-- The first of our hosts that is no component.
	local function first_host()
		for _, host in ipairs(sorted_hosts()) do
			if not configmanager.rawget(host, "component_module") then return host; end
		end
		return sorted_hosts()[1];
	end

	function commands.probe(arg)
		local words, host = {}, nil;
		local position = 1;
		while position <= #arg do
			local word = arg[position];
			position = position + 1;
			if word == "--local" then
				host = arg[position];
				position = position + 1;
				if not host then return wrong_usage("--local has no value"); end
			elseif word:match("^%-%-local=") then
				host = word:sub(#"--local=" + 1);
			elseif word:sub(1, 2) == "--" then
				return wrong_usage("unknown option "..layout.plain(word, 80));
			else
				words[#words + 1] = word;
			end
		end
		if #words ~= 1 then return wrong_usage("probe takes one domain"); end
		local domain, fault = native.canonical_domain(words[1]);
		if not domain then return wrong_usage(("%q %s"):format(layout.plain(words[1], 80), fault)); end
		if host and not prosody.hosts[host] then
			return wrong_usage(("--local: %s is not a host of this server; they are %s"):format(layout.plain(host, 80),
				layout.plain(table.concat(sorted_hosts(), ", "), 400)));
		end
		host = host or first_host();
		if not host then return wrong_usage("this server has no host to probe from"); end
		if prosody.hosts[domain] then return wrong_usage(domain.." is a host of this server: there is nothing to probe"); end
		local result = compile();
		if not result then complain("The configuration has errors (see check), so what it may say of "..domain.." is not used."); end
		local entry = result and result.policies[host] and result.policies[host]:find(domain);
		if entry and entry.match == "default" then entry = nil; end
		local fits, problem = module:require "offline/probe".probe(native, print, domain, host, entry);
		if fits == nil then
			complain(("Error: the certificate and authorities of %s cannot be used: %s"):format(host, problem));
			return FAILED;
		end
		return fits and OK or FAILED;
	end

	function commands.suggest(arg)
		local words, options = parse(arg, {});
		if not words then return wrong_usage("unknown option "..options); end
		if #words > 1 then return wrong_usage("suggest takes one host"); end
		local only = words[1];
		if only and not prosody.hosts[only] then
			return wrong_usage(("%s is not a host of this server"):format(layout.plain(only, 80)));
		end
		local result = compile();
		local suggestion = module:require "suggestion".new({
			native = native;
			is_local = function (domain) return prosody.hosts[domain] ~= nil; end;
			listed = function (domain)
				for _, policy in pairs(result and result.policies or {}) do
					local partner = policy:find(domain);
					if partner and partner.match ~= "default" then return partner.place; end
				end
			end;
		});
		if not result then
			suggestion.add_problem("the configuration has errors (see check), so who is listed already is not known");
		end
		local rosters = module:require "rosters";
		for _, host in ipairs(sorted_hosts()) do
			if (not only or host == only) and not configmanager.rawget(host, "component_module") then
				rosters.prepare(host);
				local stored, problem = rosters.open(host);
				if not stored then
					complain(("Error: %s: %s"):format(host, problem));
					suggestion.add_problem(host..": "..problem);
				end
				for _, user in ipairs(stored and stored.names or {}) do
					local contacts, fault = stored.contacts(user);
					if contacts then
						suggestion.add_user(contacts, stored.rooms(user));
					else
						suggestion.add_problem(("the roster of %s@%s cannot be read: %s"):format(user, host, fault));
					end
				end
			end
		end
		suggestion.print(print);
		return suggestion.complete() and OK or FAILED;
	end

	return commands;
end

return new_discovery;
