-- What is in force: the policies and trust stores that C decides by. Nobody else writes guard.policies and guard.trust.

local function new_in_force(guard)
	local in_force = {
		running = false; -- whether any configuration has come into force; written here and by lua/reload
		inside = false; -- the settings of relay hosts, see inside/inner_settings; false: there are none
		stopped = false; -- whether the module has been taken down, after which nothing comes into force any more; written by lua/guard
	};

	-- { policies, trust, inside }
	function in_force.current()
		return { policies = guard.policies; trust = guard.trust; inside = in_force.inside };
	end

	-- As a whole, between two events. Takes what commit.compile_all gives, or in_force.current.
	function in_force.put(what)
		guard.policies, guard.trust, in_force.inside = what.policies, what.trust, what.inside or false;
	end

	-- A host that was activated later, with what commit.compile_host gives. What other hosts run with changes only when all of them
	-- are committed.
	function in_force.add(host, new)
		local trust = guard.trust;
		guard.policies[host] = new.policies[host];
		trust.hosts[host] = new.trust.hosts[host];
		trust.own[host] = new.trust.own[host];
		for path, store in pairs(new.trust.anchors) do
			trust.anchors[path] = trust.anchors[path] or store;
		end
		for _, kind in ipairs({ "crls"; "crl_wanted" }) do
			trust[kind] = trust[kind] or {};
			trust[kind][host] = new.trust[kind][host];
		end
		trust.crl_files = trust.crl_files or {};
		for path, entry in pairs(new.trust.crl_files) do
			trust.crl_files[path] = trust.crl_files[path] or entry;
		end
	end

	-- The primary domain of the partner, or "unlisted": what strangers send must not grow any table.
	function in_force.label(host, remote)
		local policy = guard.policies[host];
		return policy and remote and policy:label(remote) or "unlisted";
	end

	-- Seconds that a stream may take to be established, of any host.
	function in_force.longest_handshake()
		local longest = 0;
		for _, policy in pairs(guard.policies) do
			longest = math.max(longest, policy:limits().establishment_timeout);
		end
		return longest;
	end

	return in_force;
end

return new_in_force;
