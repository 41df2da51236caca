-- The lists of other servers that name only domains: s2s_whitelist of Prosody's mod_s2s_whitelist, s2s_access of ejabberd, the table
-- ofRemoteServerConf of Openfire as CSV. Nothing of them is run. What stands there says neither who the users are nor what the other
-- server can do: the entries are public_unverified, and federate over TLS as those servers do by default.

local layout = module:require "layout";
local exports = module:require "import/exports";
local ejabberd = module:require "import/ejabberd";

local DOMAINS_MAX = 20000;
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
			local written = (places.port and fields[places.port] or ""):match("^%s*(.-)%s*$");
			-- Digits alone: tonumber() also takes 5269.5 and 1e309.
			local port = written:match("^%d%d?%d?%d?%d?$") and tonumber(written);
			permission = permission and permission:lower();
			if permission == "blocked" then
				blocked = blocked + 1;
			elseif permission == "allowed" and domain and domain ~= "" then
				local row = { domain = domain; notes = { ("ofRemoteServerConf, line %d"):format(number) } };
				if written ~= "" and (not port or port > 65535) then
					table.insert(row.notes, ("its remotePort %s is no port from 0 to 65535, and is left out"):format(exports.show(written)));
				elseif port and port ~= 5269 and port > 0 then
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
		return nil, blocked > 0 and "only blocks domains, so there is no list to import: a domain that is not listed is refused here anyway"
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
	{ name = "a configuration of ejabberd"; read = ejabberd.read; knows = function (text)
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
