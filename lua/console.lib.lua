-- The console: prosodyctl shell. Shows, decides nothing.

local new_table = require "util.human.io".table;

local method_short = { sasl = "SASL"; tls_dialback = "TLS dialback"; tcp_dialback = "TCP dialback" };

local function init(guard, native, commit, latch)
	local commands = {};

	-- Counts of live streams: partner name -> direction -> method -> count.
	local function live_streams(host)
		local live = {};
		latch.each_stream(function (session)
			local view = native.stream_view(session);
			if view and view.stage == "established" and view.partner and (not host or view.local_host == host) then
				local directions = live[view.partner] or { ["in"] = {}, ["out"] = {} };
				live[view.partner] = directions;
				local methods = directions[view.direction];
				methods[view.method] = (methods[view.method] or 0) + 1;
			end
		end);
		return live;
	end

	local function describe_streams(methods)
		local parts = {};
		for method, count in pairs(methods or {}) do
			parts[#parts+1] = ("%d %s"):format(count, method_short[method] or method);
		end
		table.sort(parts);
		return #parts > 0 and table.concat(parts, ", ") or "none";
	end

	local function short_methods(methods)
		local parts = {};
		for i, method in ipairs(methods) do
			parts[i] = method_short[method] or method;
		end
		return table.concat(parts, ", ");
	end

	local function warn_if_not_applied(print)
		local state = commit.state;
		if not state.applied then
			local errors = 0;
			for _, issue in ipairs(state.issues) do
				if issue.severity == "error" then errors = errors + 1; end
			end
			print(("The configuration on disk is NOT in force: %d error%s%s"):format(errors, errors == 1 and "" or "s",
				guard.running and "; the one before still is" or "; every stream with another server is refused"));
			for _, issue in ipairs(state.issues) do
				if issue.severity == "error" then print("  "..issue.message); end
			end
		end
	end

	-- Hosts by the policy they run: those that inherit the same lists share one.
	local function hosts_by_policy(only)
		local groups, order = {}, {};
		local names = {};
		for host in pairs(guard.policies) do names[#names+1] = host; end
		table.sort(names);
		for _, host in ipairs(names) do
			if not only or host == only then
				local policy = guard.policies[host];
				if not groups[policy] then
					groups[policy] = {};
					order[#order+1] = policy;
				end
				table.insert(groups[policy], host);
			end
		end
		return groups, order;
	end

	local columns = {
		{ title = "Partner"; width = "32%" };
		{ title = "Type"; width = "17" };
		{ title = "tls/sasl/dialback"; width = "31" };
		{ title = "Methods"; width = "68%" };
	};

	local function list(self, host)
		local print = self.session.print;
		if host ~= nil and not guard.hosts[host] then
			return nil, ("%s is not a host of this server; give one of its hosts or nothing"):format(tostring(host));
		end
		warn_if_not_applied(print);
		local groups, order = hosts_by_policy(host);
		local total = 0;
		for _, policy in ipairs(order) do
			print("");
			print("Partners of "..table.concat(groups[policy], ", "));
			local live = live_streams(host);
			local row = new_table(columns, 130);
			print(row());
			for _, partner in ipairs(policy:partners()) do
				total = total + 1;
				print(row({ partner.name, partner.partner_type,
					("%s/%s/%s"):format(partner.tls, partner.sasl, partner.dialback and "yes" or "no"),
					short_methods(partner.methods) }));
				if #partner.additional_domains > 0 then
					print("  also "..table.concat(partner.additional_domains, ", "));
				end
				local streams = live[partner.name];
				if streams then
					print(("  streams in: %s; out: %s"):format(describe_streams(streams["in"]), describe_streams(streams.out)));
				end
				for _, issue in ipairs(commit.state.issues) do
					if issue.severity == "warning" and issue.path:find(partner.place, 1, true) == 1
						and not issue.path:sub(#partner.place + 1):match("^%d") then
						print("  warning: "..issue.message);
					end
				end
			end
			print("Domains not listed: "..policy:unlisted());
		end
		return true, ("%d partners"):format(total);
	end
	commands.list = {
		desc = "The partner list: type, negotiation, methods, live streams";
		args = { { name = "host"; type = "string" } };
		handler = list;
	};

	-- COMPAT Prosody 0.12: the shell has no items; commands go into its shared environment.
	local env = module:shared("/*/admin_shell/env");
	env.partners = env.partners or {};
	for name, command in pairs(commands) do
		env.partners[name] = command.handler;
		module:add_item("shell-command", {
			section = "partners"; section_desc = "Federation partners: who may federate, and how";
			name = name; desc = command.desc; args = command.args; handler = command.handler;
		});
	end

	-- Core takes its items back itself, not what stands in the shell's environment.
	return function ()
		env.partners = nil;
	end
end

return init;
