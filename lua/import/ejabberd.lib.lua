-- The domains that s2s_access of an ejabberd.yml allows, where that is a list: import/allowlists says what becomes of them.

local layout = module:require "layout";

local DOMAINS_MAX = 20000;
local DEPTH_MAX, EVENTS_MAX = 32, 500000;

local ejabberd = {};

-- A tree of the first document: texts, lists { list = true, ... } and mappings { keys = { name... }, [name] = value }; nil and what is
-- wrong. Anchors are not followed, so that nothing can be multiplied.
local function parse_yaml(text)
	local ok, yaml = pcall(require, "yaml");
	if not ok or type(yaml) ~= "table" or not yaml.parser then
		return nil, "is YAML, and the library that reads it is missing: install the package lua-yaml";
	end
	local events = 0;
	local next_event;
	local function read_event()
		events = events + 1;
		if events > EVENTS_MAX then error("is too long for a configuration file of ejabberd", 0); end
		return next_event() or { type = "STREAM_END" };
	end
	local function read_node(event, depth)
		if depth > DEPTH_MAX then error("is nested too deeply", 0); end
		if event.type == "SCALAR" then
			return event.value;
		elseif event.type == "ALIAS" then
			return { alias = true };
		elseif event.type == "SEQUENCE_START" then
			local list = { list = true };
			while true do
				local item = read_event();
				if item.type == "SEQUENCE_END" then return list; end
				list[#list + 1] = read_node(item, depth + 1);
			end
		elseif event.type == "MAPPING_START" then
			local mapping = { keys = {} };
			while true do
				local key = read_event();
				if key.type == "MAPPING_END" then return mapping; end
				local name = read_node(key, depth + 1);
				local value = read_node(read_event(), depth + 1);
				if type(name) == "string" then
					if mapping["="..name] ~= nil then error(("has %s twice"):format(layout.plain(name, 60)), 0); end
					table.insert(mapping.keys, name);
					mapping["="..name] = value;
				end
			end
		end
		error("ends too early", 0);
	end
	local parsed, tree = pcall(function ()
		next_event = yaml.parser(text);
		local event;
		repeat event = read_event(); until event.type ~= "STREAM_START" and event.type ~= "DOCUMENT_START";
		return read_node(event, 0);
	end);
	if not parsed then return nil, "is YAML that cannot be read: "..layout.plain(tree, 200); end
	return tree;
end

local function get(mapping, name)
	return type(mapping) == "table" and mapping.keys and mapping["="..name] or nil;
end

-- The domains that an acl names, and what it has beside; nil and what is wrong.
local function read_acl(tree, name)
	local acl = get(get(tree, "acl"), name);
	if acl == nil then return nil, ("acl.%s, which s2s_access uses, is not there"):format(layout.plain(name, 60)); end
	local domains, other = {}, {};
	local function read_part(part)
		if type(part) ~= "table" or not part.keys then
			return nil, ("acl.%s is not a mapping such as server: [fabrikam.com]"):format(layout.plain(name, 60));
		end
		for _, kind in ipairs(part.keys) do
			local value = get(part, kind);
			if kind == "server" and type(value) == "string" then
				domains[#domains + 1] = value;
			elseif kind == "server" and type(value) == "table" and value.list then
				for _, domain in ipairs(value) do
					if type(domain) == "string" then domains[#domains + 1] = domain; else other[#other + 1] = "server (not a text)"; end
				end
			else
				other[#other + 1] = kind;
			end
		end
		return true;
	end
	for _, part in ipairs(type(acl) == "table" and acl.list and acl or { acl }) do
		local ok, problem = read_part(part);
		if not ok then return nil, problem; end
	end
	return domains, other;
end

local SHAPE = "s2s_access has to be the name of a rule in access_rules, or such a rule: a list of - allow: ACL and - deny: ACL, each ACL "
	.."with server: [fabrikam.com, ...]";

-- Rows { domain, notes, problems }; nil and what is wrong with the text.
function ejabberd.read(text)
	local tree, problem = parse_yaml(text);
	if not tree then return nil, problem; end
	local rule = get(tree, "s2s_access");
	if rule == nil then return nil, "sets no s2s_access"; end
	local rule_name = "s2s_access";
	if type(rule) == "string" then
		if rule == "all" then
			return nil, "has s2s_access: all: everybody may federate there; there is no list to import, but suggest makes one of rosters";
		end
		if rule == "none" then return nil, "has s2s_access: none: nobody may federate there; there is no list to import"; end
		rule_name = "access_rules."..layout.plain(rule, 60);
		rule = get(get(tree, "access_rules"), rule);
		if rule == nil then return nil, rule_name..", which s2s_access names, is not there"; end
	end
	if type(rule) ~= "table" or not rule.list then return nil, SHAPE; end
	local rows, denied, seen, open = {}, {}, {}, false;
	for _, step in ipairs(rule) do
		-- "allow" alone is allow: all
		local verdict = type(step) == "string" and step or type(step) == "table" and step.keys and #step.keys == 1 and step.keys[1];
		local who = type(step) == "string" and "all" or verdict and get(step, verdict);
		if verdict ~= "allow" and verdict ~= "deny" or type(who) ~= "string" then return nil, SHAPE; end
		if who == "all" then
			open = verdict == "allow";
			break;
		elseif who ~= "none" then
			local domains, other = read_acl(tree, who);
			if not domains then return nil, other; end
			for _, domain in ipairs(domains) do
				local key = domain:lower();
				if verdict == "deny" then
					denied[key] = denied[key] or not seen[key];
				elseif not seen[key] and not denied[key] then
					seen[key] = true;
					rows[#rows + 1] = { domain = domain; notes = { ("%s, acl.%s"):format(rule_name, layout.plain(who, 60)) } };
				end
			end
			for _, kind in ipairs(other) do
				rows[#rows + 1] = { domain = who; notes = {}; problems = { ("acl.%s has %s, which names no single domain; write the entries for what it %s")
					:format(layout.plain(who, 60), layout.plain(kind, 60), verdict == "allow" and "allows" or "denies") } };
			end
		end
	end
	if open then
		return nil, ("ends with allow: all (%s): everybody else may federate there, so there is no list to import, but suggest makes one of rosters")
			:format(rule_name);
	end
	for _, section in ipairs({ "host_config"; "append_host_config" }) do
		local hosts = get(tree, section);
		for _, host in ipairs(type(hosts) == "table" and hosts.keys or {}) do
			if get(get(hosts, host), "s2s_access") ~= nil then
				rows[#rows + 1] = { domain = host; notes = {}; problems = { ("%s has an s2s_access of its own for %s, which is not read; "
					.."write it into that VirtualHost"):format(section, layout.plain(host, 80)) } };
			end
		end
	end
	if #rows > DOMAINS_MAX then return nil, ("has more than %d domains"):format(DOMAINS_MAX); end
	return rows;
end

return ejabberd;
