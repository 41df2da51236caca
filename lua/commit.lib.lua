-- Commit: reads the configuration of every host and compiles all of it, or nothing.

local WAIT = 0.01; -- seconds between looks at what a thread has done

-- `observes`: whether the configuration wants nothing to be enforced, see mod_s2s_partners.lua.
local function new_commit(native, options, trust, observes)
	local hold_collector = module:require "collector".hold;
	local inner_settings; -- loaded when there is an option about relay hosts
	local function no_pause() end
	local commit = {
		superseded = {}; -- what `pause` throws when nobody wants the outcome any more
		-- The outcome of the last attempt: what is on disk may not be what is in force.
		state = { applied = false; issues = {}; partner_count = 0 };
	};

	local configmanager = require "core.configmanager";

	-- Every host that is or may become active: one that is activated later must find its policy.
	local function all_hosts()
		local names = {};
		for name in pairs(prosody.hosts) do
			names[name] = true;
		end
		for name, section in pairs(configmanager.getconfig()) do
			if name ~= "*" and section.enabled ~= false then names[name] = true; end
		end
		local list = {};
		for name in pairs(names) do
			list[#list+1] = name;
		end
		table.sort(list);
		return list;
	end

	-- Whether there is anything about relay hosts, if only a misspelt option.
	local function speaks_of_inside()
		for _, section in pairs(configmanager.getconfig()) do
			if rawget(section, "component_module") == "s2s_inside" then return true; end
			for name in next, section do
				if type(name) == "string" and name:match("^s2s_insid") then return true; end
			end
		end
		return false;
	end

	-- What the configuration says of the inside, false for nothing; see inside/inner_settings.
	local function compile_inside(policies, issues, pause)
		if not speaks_of_inside() then return false; end
		inner_settings = inner_settings or module:require "inside/inner_settings" (native);
		return inner_settings.compile(policies, issues, observes and observes() == true, pause);
	end

	-- The hosts whose own section sets one of our options: their issues need the host's name to be found.
	local function speaks_for_itself(host)
		for name in pairs(rawget(configmanager.getconfig(), host) or {}) do
			if type(name) == "string" and name:match("^s2s_") and not name:match("^s2s_insid") then return true; end
		end
	end

	-- Files that are plain lists are read and compiled without Lua, while others have their turns if there is a `pause`. What is no plain list,
	-- or has an error, Lua reads: one file in a turn. What it has read is let go at once, so the collector waits, but never over a pause: there is
	-- other work then.
	local function compile_table(spec, pause)
		local in_background = pause ~= no_pause;
		local draft = native.begin_table(spec);
		local function done()
			local at = native.draft_done(draft);
			while not at do
				pause(WAIT);
				at = native.draft_done(draft);
			end
			return at;
		end
		local function feed(list)
			local content = list.list;
			if list.read then
				local issues;
				content, issues = list.read();
				native.feed_issues(draft, issues);
			end
			if content ~= nil then native.feed_list(draft, list.place, content); end
		end
		local function make()
			local at, lists = 1, spec.lists;
			while at <= #lists do
				native.feed_files(draft, lists, at, in_background);
				at = done();
				if lists[at] then
					hold_collector(feed, lists[at]);
					lists[at] = false;
					at = at + 1;
					pause();
				end
			end
			native.seal_table(draft, in_background);
			done();
			return native.take_table(draft);
		end
		local ok, compiled, issues = pcall(make);
		if not ok then
			native.drop_draft(draft); -- the next one may be on its way, and the collector not for hours
			error(compiled, 0);
		end
		return compiled, issues;
	end

	-- What hosts share is compiled once, and its issues are told once.
	local function compile(hosts, pause, relays)
		local run = options.begin();
		local tables, by_key, policies, crls = {}, {}, {}, {};
		local issues, failed, seen = {}, false, {};
		local function add_issues(new, host, different)
			for _, issue in ipairs(new or {}) do
				if host and (different or speaks_for_itself(host)) then
					issue.host = host;
					issue.message = ("VirtualHost or Component %q: %s"):format(host, issue.message);
				end
				if not seen[issue.message] then
					seen[issue.message] = true;
					issues[#issues+1] = issue;
				end
				failed = failed or issue.severity == "error";
			end
		end
		for _, host in ipairs(hosts) do
			local spec = options.collect(host, run);
			if by_key[spec.policy_key] == nil then
				local compiled = tables[spec.table_key];
				if compiled == nil then
					local new;
					compiled, new = compile_table(spec.table(true), pause);
					pause();
					compiled = compiled or false;
					tables[spec.table_key] = compiled;
					add_issues(new, host);
				end
				-- Over an empty table where there is none: the other options are to be told about as well.
				spec.policy.table = compiled or native.compile_table({});
				-- It may have a warning about each of a thousand partners.
				local policy, new = hold_collector(native.compile_policy, spec.policy);
				pause();
				add_issues(new, host, spec.modules);
				by_key[spec.policy_key] = compiled and policy or false;
			end
			policies[host] = by_key[spec.policy_key] or nil;
			crls[host] = spec.crls;
			failed = failed or policies[host] == nil;
		end
		local count = 0;
		for _, compiled in pairs(tables) do
			count = count + (compiled and compiled:count() or 0);
		end
		pause();
		local found = {};
		local stores = trust.load(policies, found, crls, pause);
		add_issues(found);
		pause();
		found = {};
		local inside = relays and compile_inside(policies, found, pause) or false;
		add_issues(found);
		if failed then
			return nil, issues, count, run.user_files;
		end
		return { policies = policies; trust = stores; inside = inside }, issues, count, run.user_files;
	end

	-- Not even want of memory may end in anything but a refusal.
	local function try_compile(hosts, pause, relays)
		local ok, result, issues, count, user_files = pcall(compile, hosts, pause or no_pause, relays);
		if ok then
			return result, issues, count, user_files;
		elseif result == commit.superseded then
			error(result, 0);
		end
		return nil, { { severity = "error"; code = "internal-error"; path = ""; got = ""; expected = ""; nearest = "";
			message = "the configuration could not be read: "..tostring(result) } }, 0;
	end

	-- { policies = { [host] = policy }, trust = stores, inside = settings of relay hosts or false } for all hosts, or nil when there is any
	-- error; commit.state tells which. `pause`
	-- (or nil) is called between steps that take long with a long list, with the seconds that there is nothing to do for (nil: none); it may throw
	-- commit.superseded, which goes on.
	function commit.compile_all(pause)
		local hosts = all_hosts();
		local result, issues, count, user_files = try_compile(hosts, pause, true);
		if pause and table.concat(all_hosts(), " ") ~= table.concat(hosts, " ") then
			-- Hosts have come or gone meanwhile. Once more, in one go.
			result, issues, count, user_files = try_compile(all_hosts(), nil, true);
		end
		commit.state = { applied = result ~= nil; issues = issues; partner_count = count;
			user_files = user_files and next(user_files) and user_files or nil };
		return result;
	end

	-- The same for one host that has appeared since.
	function commit.compile_host(host)
		local result, issues = try_compile({ host });
		for _, issue in ipairs(issues) do
			module:log(issue.severity == "error" and "error" or "warn", "%s", issue.message);
		end
		if not result then
			module:log("error", "The partner configuration for %s has errors: every stream with another server is refused "
				.."there until they are corrected", host);
		end
		return result;
	end

	return commit;
end

return new_commit;
