-- The lists of other servers that name only domains: s2s_whitelist of Prosody's mod_s2s_whitelist, s2s_access of ejabberd, the table
-- ofRemoteServerConf of Openfire as CSV. Nothing of them is run. What stands there says neither who the users are nor what the other
-- server can do: the entries are public_unverified, and federate over TLS as those servers do by default.

local layout = module:require "layout";
local exports = module:require "import/exports";

local DOMAINS_MAX = 20000;
local DEPTH_MAX, EVENTS_MAX = 32, 500000;
local TOKENS_MAX = 500000;

local allowlists = {};

--- Prosody

-- The next token of a Lua text from `position`: its kind ("name", "string", "mark", "other"; nil at the end), its value, where it ends.
local function next_token(text, position)
	while true do
		position = text:find("%S", position);
		if not position then return nil; end
		local equals = text:match("^%-%-%[(=*)%[", position);
		if equals then
			local _, stop = text:find("]"..equals.."]", position, true);
			position = (stop or #text) + 1;
		elseif text:sub(position, position + 1) == "--" then
			position = text:find("\n", position, true) or #text + 1;
		else
			break;
		end
	end
	local name = text:match("^[%a_][%w_]*", position);
	if name then return "name", name, position + #name; end
	local mark = text:sub(position, position);
	if mark == '"' or mark == "'" then
		local stop = position + 1;
		repeat
			local at = text:find('[\\\n'..mark..']', stop);
			if not at or text:sub(at, at) == "\n" then return "other", mark, #text + 1; end
			if text:sub(at, at) == mark then
				local content = text:sub(position + 1, at - 1);
				-- An escape is no part of a domain.
				return content:find("\\", 1, true) and "other" or "string", content, at + 1;
			end
			stop = at + 2;
		until false;
	end
	local long = text:match("^%[(=*)%[", position);
	if long then
		local content_start = position + #long + 2;
		local stop, after = text:find("]"..long.."]", content_start, true);
		return "string", (text:sub(content_start, (stop or #text + 1) - 1):gsub("^\r?\n", "")), (after or #text) + 1;
	end
	return "mark", mark, position + 1;
end

-- Where each s2s_whitelist is set, as { line, host, domains }; nil and what is wrong.
local function read_whitelist(text)
	local found, host, position, tokens = {}, nil, 1, 0;
	local depth, line_at, line = 0, 1, 1;
	local function line_of(at)
		local _, more = text:sub(line_at, at - 1):gsub("\n", "");
		line, line_at = line + more, at;
		return line;
	end
	local function take()
		tokens = tokens + 1;
		local kind, value, after = next_token(text, position);
		if kind then position = after; end
		return kind, value;
	end
	local kind, value = take();
	while kind do
		if tokens > TOKENS_MAX then return nil, "is too long for a configuration file of Prosody"; end
		if kind == "mark" and (value == "{" or value == "(") then depth = depth + 1; end
		if kind == "mark" and (value == "}" or value == ")") then depth = depth - 1; end
		if kind == "name" and (value == "VirtualHost" or value == "Host" or value == "Component") and depth == 0 then
			local next_kind, next_value = take();
			if next_kind == "mark" and next_value == "(" then next_kind, next_value = take(); depth = depth + 1; end
			if next_kind == "string" then host = next_value; end
			kind, value = take();
		elseif kind == "name" and value == "s2s_whitelist" then
			local place = line_of(position);
			local function refuse()
				return nil, ("line %d: s2s_whitelist has to be a plain list of quoted domains: s2s_whitelist = { \"fabrikam.com\"; ... }; nothing else "
					.."is read, since nothing is run"):format(place);
			end
			kind, value = take();
			if kind ~= "mark" or value ~= "=" or depth ~= 0 then return refuse(); end
			kind, value = take();
			if kind == "mark" and value == "{" then
				local domains = {};
				while true do
					kind, value = take();
					if kind == "string" then
						domains[#domains + 1] = value;
						if #domains > DOMAINS_MAX or tokens > TOKENS_MAX then return nil, ("has more than %d domains"):format(DOMAINS_MAX); end
						kind, value = take();
						if kind == "mark" and value == "}" then break; end
						if kind ~= "mark" or value ~= "," and value ~= ";" then return refuse(); end
					elseif kind == "mark" and value == "}" then
						break;
					else
						return refuse();
					end
				end
				found[#found + 1] = { line = place; host = host; domains = domains };
				kind, value = take();
				-- A list that goes on: set.new(...), .. and their like.
				if kind == "mark" and value:find("[%+%-%.%*/%[:]") then return refuse(); end
			else
				return refuse();
			end
		else
			kind, value = take();
		end
	end
	if #found == 0 then return nil, "sets no s2s_whitelist"; end
	return found;
end

local function from_prosody(text)
	local found, problem = read_whitelist(text);
	if not found then return nil, problem; end
	local rows = {};
	local seen = {};
	for _, list in ipairs(found) do
		for _, domain in ipairs(list.domains) do
			local where = list.host and ("s2s_whitelist of %s"):format(layout.plain(list.host, 80)) or "s2s_whitelist";
			if seen[domain:lower()] then
				table.insert(seen[domain:lower()].notes, ("also in %s, line %d"):format(where, list.line));
			else
				local row = { domain = domain; notes = { ("%s, line %d"):format(where, list.line) } };
				-- What only one host was allowed, the entry would allow all of them.
				if list.host then row.notes[1] = row.notes[1]..": for that host alone; put it into its VirtualHost section if others are not to have it"; end
				seen[domain:lower()] = row;
				rows[#rows + 1] = row;
			end
		end
	end
	return rows;
end

--- ejabberd

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

local function from_ejabberd(text)
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

--- Openfire

-- A line of CSV (RFC 4180) from `position`: its fields and where the next line begins; nil at the end, or what is wrong as third.
local function read_record(text, position)
	if position > #text then return nil; end
	local fields = {};
	while true do
		local field;
		if text:sub(position, position) == '"' then
			local stop = position;
			repeat
				stop = text:find('"', stop + 1, true);
				if not stop then return nil, nil, "has a quotation mark that is not closed"; end
				local doubled = text:sub(stop + 1, stop + 1) == '"';
				if doubled then stop = stop + 1; end
			until not doubled;
			field = text:sub(position + 1, stop - 1):gsub('""', '"');
			position = stop + 1;
		else
			field = text:match("^[^,;\t\r\n]*", position);
			position = position + #field;
		end
		fields[#fields + 1] = field;
		if #fields > 100 then return nil, nil, "has more than 100 columns"; end
		local mark = text:match("^\r?\n", position) or text:sub(position, position);
		position = position + #mark;
		if mark == "" or mark:sub(-1) == "\n" then return fields, position; end
		if not mark:match("[,;\t]") then return nil, nil, "has something behind a closing quotation mark"; end
	end
end

local columns = { xmppdomain = "domain"; remoteport = "port"; permission = "permission" };

local function from_openfire(text)
	local header, position, problem = read_record(text, 1);
	if not header then return nil, problem or "is empty"; end
	local places = {};
	for i, name in ipairs(header) do
		local column = columns[name:lower()];
		if column then places[column] = i; end
	end
	local rows, blocked, number = {}, 0, 1;
	while true do
		local fields, after, fault = read_record(text, position);
		if fault then return nil, ("line %d %s"):format(number + 1, fault); end
		if not fields then break; end
		position, number = after, number + 1;
		if #fields > 1 or fields[1] ~= "" then
			local domain, permission = fields[places.domain], fields[places.permission];
			local port = places.port and tonumber(fields[places.port]);
			permission = permission and permission:lower();
			if permission == "blocked" then
				blocked = blocked + 1;
			elseif permission == "allowed" and domain and domain ~= "" then
				local row = { domain = domain; notes = { ("ofRemoteServerConf, line %d"):format(number) } };
				if port and port ~= 5269 and port > 0 then
					table.insert(row.notes, ("port %d there, used when DNS has no SRV record: proxy = \"HOST:%d\" is its counterpart"):format(port, port));
				end
				rows[#rows + 1] = row;
			else
				rows[#rows + 1] = { domain = domain or ""; notes = {}; problems = { ("line %d: permission is %s; known are allowed and blocked")
					:format(number, exports.show(fields[places.permission])) } };
			end
			if #rows > DOMAINS_MAX then return nil, ("has more than %d domains"):format(DOMAINS_MAX); end
		end
	end
	if #rows == 0 then
		return nil, blocked > 0 and "only blocks domains, so there is no list to import: whoever is not listed is refused here anyway"
			or "has no domains in it";
	end
	return rows;
end

--- Which of them a text is

local readers = {
	{ name = "the table ofRemoteServerConf of Openfire"; read = from_openfire; knows = function (text)
		local header = read_record(text, 1);
		local found = {};
		for _, name in ipairs(header or {}) do found[columns[name:lower()] or ""] = true; end
		return found.domain and found.permission;
	end };
	{ name = "a configuration of ejabberd"; read = from_ejabberd; knows = function (text)
		return text:find("^s2s_access[ \t]*:") or text:find("\n[ \t]*s2s_access[ \t]*:");
	end };
	{ name = "a configuration of Prosody"; read = from_prosody; knows = function (text)
		return text:find("%f[%w_]s2s_whitelist%f[^%w_]");
	end };
};

-- The rows { domain, notes, problems } of a text and what it is; nil when it is none of these, or nil, what it is, and what is wrong.
function allowlists.parse(text)
	for _, reader in ipairs(readers) do
		if reader.knows(text) then
			local rows, problem = reader.read(text);
			if not rows then return nil, reader.name, problem; end
			return rows, reader.name;
		end
	end
end

-- A row as an object of Get-CsXmppAllowedPartner, which is what import/partners reads.
function allowlists.as_partner(row, notes_key, problems_key)
	return {
		Domain = row.domain; PartnerType = "PublicUnverified"; TlsNegotiation = "Required"; SaslNegotiation = "Optional";
		SupportDialbackNegotiation = true; EnableKeepAlive = false;
		[notes_key] = row.notes; [problems_key] = row.problems;
	};
end

return allowlists;
