-- The console: prosodyctl shell. Registers the commands; each group of them has a file of its own. Shows, decides nothing.

local layout = module:require "layout";
local explain = module:require "explain";
local disk = module:require "console/disk";

local SECTION = "Federation partners: who may federate, and how";
local order = { "list"; "show"; "explain"; "check"; "commit"; "test"; "streams"; "sheet"; "suggest"; "inside"; "contacts"; "forget" };

-- boundary(): what there is of relay hosts, nil where there has been none.
local function init(guard, native, commit, latch, metrics, in_force, reload, observe, boundary)
	local context = {
		guard = guard; native = native; commit = commit; latch = latch; metrics = metrics; in_force = in_force; reload = reload; observe = observe;
		live = metrics.live; boundary = boundary;
	};

	-- A module that is reloaded reads its options anew, but not the files.
	local seen = prosody.s2s_partners_latch;
	seen.files = seen.files or disk.fingerprint();
	module:hook_global("config-reloaded", function () seen.files = disk.fingerprint(); end, -1);

	function context.say_observing(print)
		if guard.observing == true then print("OBSERVING: nothing is enforced"); end
	end

	-- While the configuration on disk is not the one in force, that is the first thing to be seen.
	function context.say_if_not_applied(print)
		context.say_observing(print);
		local state = commit.state;
		if state.applied then
			if seen.files and disk.fingerprint() ~= seen.files or disk.differ(state.user_files) then
				layout.print(print, "", "The configuration on disk is NOT in force: it has changed since it was read; partners:check() looks at it, "
					.."partners:commit() or a reload applies it");
			end
			return;
		end
		local errors = {};
		for _, issue in ipairs(state.issues) do
			if issue.severity == "error" then errors[#errors + 1] = issue.message; end
		end
		print(("The configuration on disk is NOT in force: %s; %s"):format(layout.count(#errors, "error"),
			in_force.running and "the one before still is" or guard.observing == true and "every stream with another server would be refused"
				or "every stream with another server is refused"));
		for _, message in ipairs(errors) do
			layout.print(print, "  ", message);
		end
	end

	-- Hosts by the policy they run, those that share one together: { { policy, hosts = { ... } }... }
	function context.policies(only)
		local groups, list, names = {}, {}, {};
		for host in pairs(guard.policies) do names[#names + 1] = host; end
		table.sort(names);
		for _, host in ipairs(names) do
			local policy = guard.policies[host];
			if not only or host == only then
				if not groups[policy] then
					groups[policy] = { policy = policy; hosts = {} };
					list[#list + 1] = groups[policy];
				end
				table.insert(groups[policy].hosts, host);
			end
		end
		return list;
	end

	context.explain = explain.new({
		native = native;
		is_local = function (host) return guard.hosts[host]; end;
		policy = function (host) return guard.policies[host]; end;
		has_accounts = function (host) return guard.hosts[host].type == "local"; end;
		fact = function (need, question)
			local own, policy = question.own, question.policy;
			if need == "access" and not policy:external_access(own.user or "", question.other.host) then return "denied"; end
			local look_up = guard.facts and guard.facts[need];
			return look_up and look_up(own.host, own.user or "", own.jid, question.other.jid, "");
		end;
		inner = module:require "console/inner_explain" (context);
	});

	local commands = {};
	context.commands = commands;
	for _, group in ipairs({ "console/list"; "console/check"; "console/apply"; "console/test"; "console/suggest"; "console/sheet";
		"console/inner_side" }) do
		for name, command in pairs((module:require(group))(context)) do
			commands[name] = command;
		end
	end

	commands.explain = {
		desc = "Why a stanza or stream between two addresses is allowed or refused, step by step ("..explain.kinds..")";
		args = { { name = "from"; type = "string" }; { name = "to"; type = "string" }; { name = "kind"; type = "string" } };
		handler = function (self, from, to, kind)
			local verdict, problem = context.explain(self.session.print, from, to, kind);
			if not verdict then
				return nil, problem..". Usage: partners:explain(\"bob@fabrikam.com\", \"alice@contoso.com\", \"message\")";
			end
			return true, "judged by the policy in force";
		end;
	};

	local function usage(name)
		local names = {};
		for i, arg in ipairs(commands[name].args) do names[i] = arg.name; end
		return ("partners:%s(%s)"):format(name, table.concat(names, ", "));
	end

	local function print_help(print)
		print(SECTION);
		print("");
		for _, name in ipairs(order) do
			layout.print(print, ("%-34s "):format(usage(name)), commands[name].desc);
		end
	end
	commands.help = { desc = "This list"; args = {}; handler = function (self)
		print_help(self.session.print);
		return true, layout.count(#order, "command");
	end };

	if module.get_option_period then
		for name, command in pairs(commands) do
			module:add_item("shell-command", {
				section = "partners"; section_desc = SECTION;
				name = name; desc = command.desc; args = command.args; handler = command.handler;
			});
		end
		return context;
	end

	-- COMPAT Prosody 0.12: the shell has no items; commands go into its shared environment. The table stays the same over
	-- reloads, since open shells look into it.
	local env = module:shared("/*/admin_shell/env");
	env.partners = env.partners or {};
	for name, command in pairs(commands) do
		env.partners[name] = command.handler;
	end

	-- COMPAT Prosody 0.12: its help is one function with a fixed list of sections.
	local shell_commands = module:shared("/*/admin_shell/commands");
	local help, original;
	local function extend_help()
		if shell_commands.help == help then return; end
		original = shell_commands.help;
		if not original then return; end
		help = function (session, data)
			if data:match("^help (%w+)") == "partners" then
				return print_help(session.print);
			end
			original(session, data);
			if not data:match("^help %w+") then
				session.print("");
				session.print("partners: "..SECTION.." ('help partners')");
			end
		end;
		shell_commands.help = help;
	end
	extend_help();
	module:hook_global("module-loaded", extend_help);

	function context.stop()
		for name, command in pairs(commands) do
			if env.partners[name] == command.handler then env.partners[name] = nil; end
		end
		if help and shell_commands.help == help then shell_commands.help = original; end
	end
	return context;
end

return init;
