-- The partners that Get-CsXmppAllowedPartner exports, as configuration for Prosody. What is read comes from elsewhere and is held
-- within limits; what is written is Lua, so nothing of it goes out but quoted or in one line of a comment.

local layout = module:require "layout";

local FILE_SIZE_MAX = 8 * 1024 * 1024;
local DEPTH_MAX = 32;
local NODES_MAX = 500000;
local PARTNERS_MAX = 20000;
local LIST_MAX = 1000;
local TEXT_MAX = 1000; -- of one value

local import = {};

function import.read_file(path)
	local file, err = io.open(path, "rb");
	if not file then return nil, (tostring(err):gsub("^.*: ", "")); end
	local text = file:read(FILE_SIZE_MAX + 1);
	file:close();
	if not text then return nil, "is empty or cannot be read"; end
	if #text > FILE_SIZE_MAX then return nil, ("is larger than %d MiB; no export is"):format(FILE_SIZE_MAX // 1048576); end
	return text;
end

--- Encodings

local function utf16_to_utf8(text, format)
	if #text % 2 ~= 0 then return nil, "is cut off within a UTF-16 character"; end
	local parts, count, position = {}, 0, 1;
	local unpack = string.unpack;
	while position < #text do
		local unit;
		unit, position = unpack(format, text, position);
		if unit >= 0xd800 and unit <= 0xdbff and position < #text then
			local low, after = unpack(format, text, position);
			if low < 0xdc00 or low > 0xdfff then return nil, "is damaged UTF-16"; end
			unit, position = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), after;
		elseif unit >= 0xd800 and unit <= 0xdfff then
			return nil, "is damaged UTF-16";
		end
		count = count + 1;
		parts[count] = utf8.char(unit);
	end
	return table.concat(parts);
end

-- PowerShell writes UTF-16 with a byte order mark, UTF-8 with or without.
local function to_utf8(text)
	if text:sub(1, 3) == "\239\187\191" then
		text = text:sub(4);
	elseif text:sub(1, 2) == "\255\254" then
		return utf16_to_utf8(text:sub(3), "<I2");
	elseif text:sub(1, 2) == "\254\255" then
		return utf16_to_utf8(text:sub(3), ">I2");
	elseif text:match("^[<%[{%s]%z") then
		return utf16_to_utf8(text, "<I2");
	elseif text:match("^%z[<%[{%s]") then
		return utf16_to_utf8(text, ">I2");
	end
	if not utf8.len(text) then return nil, "is neither UTF-8 nor UTF-16"; end
	return text;
end

--- Export-Clixml: the elements of PowerShell's serialisation ([MS-PSRP] 2.2.5)

-- Strings hide what XML cannot hold: "_x000A_".
local function unhide(text)
	return (text:gsub("_x(%x%x%x%x)_", function (digits)
		local code = tonumber(digits, 16);
		return (code < 0xd800 or code > 0xdfff) and utf8.char(code) or "?";
	end));
end

local function parse_tree(text)
	local lxp = require "lxp";
	local root = { name = ""; children = {} };
	local stack, nodes = { root }, 0;
	local problem;
	local parser;
	local function stop(why)
		problem = problem or why;
		if parser.stop then parser:stop(); end
	end
	parser = lxp.new({
		StartElement = function (_, name, attributes)
			if problem then return; end
			nodes = nodes + 1;
			if #stack > DEPTH_MAX then return stop("is nested too deeply"); end
			if nodes > NODES_MAX then return stop("has too many elements"); end
			local element = { name = name:match("[^|]*$"); key = attributes.N; id = attributes.RefId; children = {}; text = "" };
			table.insert(stack[#stack].children, element);
			stack[#stack + 1] = element;
		end;
		EndElement = function () if not problem then stack[#stack] = nil; end end;
		CharacterData = function (_, data)
			local element = stack[#stack];
			if problem or #stack == 1 then return; end
			if #element.text <= TEXT_MAX * 8 then element.text = element.text..data; end
		end;
		-- Entities are declared there: nobody exports any, and they can be made to grow without end.
		StartDoctypeDecl = function () stop("has a document type; an export has none"); end;
	}, "|");
	local ok, err, line = parser:parse((text:gsub("^%s*<%?xml.-%?>", "", 1)));
	if ok and not problem then ok, err, line = parser:parse(); end
	if problem then return nil, problem; end
	if not ok then return nil, ("is not well-formed XML (line %s: %s)"):format(tostring(line), tostring(err)); end
	pcall(parser.close, parser);
	return root;
end

local scalar = { S = true; SS = true; ToString = true; URI = true; G = true; Version = true; C = true };
local number = { I32 = true; U32 = true; I64 = true; U64 = true; I16 = true; U16 = true; By = true; SB = true; Db = true };
local list = { LST = true; IE = true; STK = true; QUE = true };

local function child_of(element, wanted)
	for _, child in ipairs(element.children) do
		if wanted == child.name or type(wanted) == "table" and wanted[child.name] then return child; end
	end
end

-- The value of a property: text, number, boolean, list of values, or nil.
local function read_value(element, by_id, depth)
	if depth > DEPTH_MAX then return nil; end
	if scalar[element.name] then
		return unhide(element.text);
	elseif number[element.name] then
		return tonumber(element.text);
	elseif element.name == "B" then
		return element.text == "true";
	elseif element.name == "Ref" then
		local target = by_id[element.id];
		return target and target ~= element and read_value(target, by_id, depth + 1) or nil;
	elseif element.name == "Obj" then
		local items = child_of(element, list);
		if items then
			local values = {};
			for i = 1, math.min(#items.children, LIST_MAX + 1) do
				values[#values + 1] = read_value(items.children[i], by_id, depth + 1);
			end
			return values;
		end
		-- An enumeration has its name and its number; the name says it.
		local words = child_of(element, "ToString");
		if words and words.text ~= "" then return unhide(words.text); end
		local value = child_of(element, number);
		return value and tonumber(value.text) or nil;
	end
	return nil;
end

local function read_clixml(text)
	local root, problem = parse_tree(text);
	if not root then return nil, problem; end
	if not root.children[1] or root.children[1].name ~= "Objs" then
		return nil, "is XML, but not what Export-Clixml writes (no <Objs>)";
	end
	local by_id, found = {}, {};
	local function index(element)
		if element.id and element.name == "Obj" then by_id[element.id] = element; end
		for _, child in ipairs(element.children) do index(child); end
	end
	index(root);
	local function search(element)
		local properties, any = {}, false;
		for _, holder in ipairs(element.children) do
			if holder.name == "Props" or holder.name == "MS" then
				for _, child in ipairs(holder.children) do
					if child.key then
						properties[unhide(child.key)] = read_value(child, by_id, 0);
						any = true;
					end
				end
			end
		end
		if any and element.name == "Obj" and (properties.Identity or properties.Domain) then
			found[#found + 1] = properties;
			return;
		end
		for _, child in ipairs(element.children) do search(child); end
	end
	search(root);
	return found;
end

--- ConvertTo-Json

-- The decoder calls itself for each level.
local function json_depth(text)
	local depth, deepest, position = 0, 0, 1;
	while true do
		local at, _, mark = text:find('(["%[%]{}])', position);
		if not at then return deepest; end
		position = at + 1;
		if mark == '"' then
			repeat
				local stop, _, c = text:find('(["\\])', position);
				if not stop then return deepest; end
				position = stop + (c == "\\" and 2 or 1);
			until c == '"';
		elseif mark == "[" or mark == "{" then
			depth = depth + 1;
			if depth > deepest then deepest = depth; end
			if deepest > DEPTH_MAX then return deepest; end
		else
			depth = depth - 1;
		end
	end
end

local function read_json(text)
	if json_depth(text) > DEPTH_MAX then return nil, "is nested too deeply"; end
	local ok, json = pcall(require, "prosody.util.json");
	if not ok then json = require "util.json"; end -- COMPAT Prosody 0.12: no prefix
	local value, problem;
	ok, value, problem = pcall(json.decode, text);
	if not ok or value == nil then
		return nil, ("is not JSON (%s)"):format(layout.plain(ok and problem or value, 80));
	end
	if type(value) ~= "table" then return nil, "is JSON, but neither an object nor a list of them"; end
	-- Windows PowerShell wraps a list that came out of a variable.
	if type(value.value) == "table" and value.Count then value = value.value; end
	if value.Identity or value.Domain then value = { value }; end
	local found = {};
	for _, item in ipairs(value) do
		if type(item) ~= "table" then return nil, "is JSON, but not a list of partners"; end
		local properties = {};
		for key, content in pairs(item) do
			if type(content) == "table" and type(content.value) == "table" then content = content.value; end
			if content ~= json.null then properties[tostring(key)] = content; end
		end
		found[#found + 1] = properties;
	end
	return found;
end

-- The partners of an export as tables of properties; nil and what is wrong with it.
function import.parse(text)
	local problem, found;
	text, problem = to_utf8(text);
	if not text then return nil, problem; end
	local first = text:match("^%s*(.)");
	if first == "<" then
		found, problem = read_clixml(text);
	elseif first == "[" or first == "{" then
		found, problem = read_json(text);
	else
		return nil, "is neither what Export-Clixml nor what ConvertTo-Json writes";
	end
	if not found then return nil, problem; end
	if #found == 0 then return nil, "has no partners in it (objects with an Identity)"; end
	if #found > PARTNERS_MAX then return nil, ("has more than %d partners"):format(PARTNERS_MAX); end
	return found;
end

--- From properties to an entry

-- Values in the order in which the cmdlets' documentation lists them: numbers stand for places in it, from 0.
local enumerations = {
	PartnerType = { key = "partner_type"; default = "PublicUnverified"; "Federated"; "PublicVerified"; "PublicUnverified";
		Federated = "federated"; PublicVerified = "public_verified"; PublicUnverified = "public_unverified" };
	TlsNegotiation = { key = "tls"; default = "Required"; "Required"; "Optional"; "NotSupported";
		Required = "required"; Optional = "optional"; NotSupported = "not_supported" };
	SaslNegotiation = { key = "sasl"; default = "Required"; "Required"; "Optional"; "NotSupported";
		Required = "required"; Optional = "optional"; NotSupported = "not_supported" };
};
local enumeration_order = { "PartnerType"; "TlsNegotiation"; "SaslNegotiation" };

local handled = {
	Identity = true; Domain = true; AdditionalDomains = true; PartnerType = true; TlsNegotiation = true; SaslNegotiation = true;
	SupportDialbackNegotiation = true; ProxyFqdn = true; ConnectionLimit = true; EnableKeepAlive = true; Description = true;
	-- What every object of that kind has beside.
	Element = true; Anchor = true; ScopeClass = true; XsAnyElements = true; XsAnyAttributes = true; TypedIdentity = true; Key = true;
	PSComputerName = true; RunspaceId = true; PSShowComputerName = true;
};

local function as_text(value)
	if type(value) == "string" then
		value = value:match("^%s*(.-)%s*$");
		return value ~= "" and value or nil;
	elseif type(value) == "number" then
		return tostring(value);
	end
end

local function show(value)
	if type(value) == "table" then return "a list or object"; end
	return layout.plain(value, 60);
end

local function read_boolean(raw, name, default, row)
	local value = raw[name];
	if type(value) == "boolean" then return value; end
	if type(value) == "string" and (value:lower() == "true" or value:lower() == "false") then return value:lower() == "true"; end
	if value == nil then
		table.insert(row.notes, ("%s is not in the export; taken as %s, the cmdlet's default"):format(name, default and "True" or "False"));
	else
		table.insert(row.problems, ("%s is %s, which is neither True nor False"):format(name, show(value)));
	end
	return default;
end

local function read_enumeration(raw, name, row)
	local meaning, value = enumerations[name], raw[name];
	if value == nil then
		table.insert(row.notes, ("%s is not in the export; taken as %s, the cmdlet's default"):format(name, meaning.default));
		return meaning[meaning.default];
	end
	if type(value) == "string" and value:match("^%d+$") then value = tonumber(value); end
	if type(value) == "number" then
		local word = meaning[math.tointeger(value) and math.tointeger(value) + 1 or 0];
		if word then
			table.insert(row.notes, ("verify: %s is the number %d in the export, read as %s"):format(name, value, word));
			row.verify = true;
			return meaning[word];
		end
	elseif type(value) == "string" then
		for _, word in ipairs(meaning) do
			if word:lower() == value:lower() then return meaning[word]; end
		end
	end
	table.insert(row.problems, ("%s is %s; known are %s"):format(name, show(value), table.concat(meaning, ", ")));
	return meaning[meaning.default];
end

local function read_domains(value)
	if type(value) == "string" then
		local domains = {};
		for domain in value:gmatch("[^%s,;]+") do domains[#domains + 1] = domain; end
		return domains;
	elseif type(value) == "table" then
		local domains = {};
		for _, domain in ipairs(value) do domains[#domains + 1] = as_text(domain); end
		return domains;
	end
	return {};
end

-- Which of ours a domain as exported is; a wildcard as additional_domains has them.
local function canonical(native, domain, wildcard)
	local below = wildcard and domain:match("^%*%.(.+)$");
	local name, fault = native.canonical_domain(below or domain);
	return name and (below and "*."..name or name), fault;
end

local function read_row(native, raw, taken)
	local row = { notes = {}; problems = {} };
	local domain = as_text(raw.Domain) or as_text(raw.Identity);
	row.title = domain and layout.plain(domain, 80) or "(no domain)";
	local name, fault = canonical(native, domain or "");
	if not domain then
		table.insert(row.problems, "neither Domain nor Identity is a text");
	elseif not name then
		table.insert(row.problems, ("%q %s"):format(layout.plain(domain, 80), fault));
	elseif taken[name] then
		table.insert(row.problems, ("%s is already a domain of %s; a domain may be named once"):format(name, taken[name]));
	end
	row.domain = name or layout.plain(domain, 253);
	for _, key in ipairs(enumeration_order) do
		row[enumerations[key].key] = read_enumeration(raw, key, row);
	end
	row.dialback = read_boolean(raw, "SupportDialbackNegotiation", true, row);
	row.keepalive = read_boolean(raw, "EnableKeepAlive", true, row);
	row.description = as_text(raw.Description) and layout.plain(as_text(raw.Description), TEXT_MAX);
	row.proxy = as_text(raw.ProxyFqdn) and layout.plain(as_text(raw.ProxyFqdn), 260);
	local limit = tonumber(raw.ConnectionLimit);
	if limit and limit >= 1 and math.tointeger(limit) then
		row.connection_limit = math.tointeger(limit);
	elseif raw.ConnectionLimit ~= nil and limit ~= 0 then
		table.insert(row.notes, ("ConnectionLimit is %s; left out, so s2s_partners_limits.partner_connections applies")
			:format(show(raw.ConnectionLimit)));
	end
	row.additional = {};
	local own = { [row.domain] = true };
	local domains = read_domains(raw.AdditionalDomains);
	for i = 1, math.min(#domains, LIST_MAX) do
		local other, why = canonical(native, domains[i], true);
		if not other then
			table.insert(row.notes, ("additional domain left out: %s %s"):format(layout.plain(domains[i], 80), why));
		elseif taken[other] or own[other] then
			table.insert(row.notes, ("additional domain left out: %s is already a domain of %s"):format(other, taken[other] or row.domain));
		else
			own[other] = true;
			table.insert(row.additional, other);
		end
	end
	if #domains > LIST_MAX then
		table.insert(row.notes, ("only the first %d additional domains are read"):format(LIST_MAX));
	end
	local rest = {};
	for key, value in pairs(raw) do
		if not handled[key] and value ~= "" then
			rest[#rest + 1] = ("not carried over: %s = %s"):format(layout.plain(key, 60), show(value));
		end
	end
	table.sort(rest);
	for i = 1, math.min(#rest, 20) do table.insert(row.notes, rest[i]); end
	return row, own;
end

--- Which row comes closest

local function find_row(rows, row)
	for position, candidate in ipairs(rows) do
		if candidate.tls == row.tls and candidate.sasl == row.sasl and candidate.dialback == row.dialback then
			return candidate, position;
		end
	end
end

-- The fewest changes first. Between equals one without a warning, and what the other side can do weighs: a partner that has no TLS
-- is not given any by our demanding it. Then the stricter, which is the order of the table.
local change_costs = { tls = 12; sasl = 10; dialback = 11 };

function import.closest(rows, row)
	local best, best_cost;
	for _, candidate in ipairs(rows) do
		if candidate.verdict ~= "error" then
			local cost = candidate.verdict == "warning" and 2 or 0;
			for key, change in pairs(change_costs) do
				if candidate[key] ~= row[key] then cost = cost + change; end
			end
			if not best or cost < best_cost then best, best_cost = candidate, cost; end
		end
	end
	return best;
end

--- Writing

local function quote(text)
	return '"'..text:gsub('[%c"\\]', function (c)
		return c == '"' and '\\"' or c == "\\" and "\\\\" or ("\\%03d"):format(c:byte());
	end)..'"';
end

local function entry_lines(row)
	local lines = { ("{ domain = %s;"):format(quote(row.domain)) };
	local function add(key, value) lines[#lines + 1] = ("  %s = %s;"):format(key, value); end
	if row.description then add("description", quote(row.description)); end
	if #row.additional > 0 then
		local names = {};
		for i, name in ipairs(row.additional) do names[i] = quote(name); end
		add("additional_domains", "{ "..table.concat(names, ", ").." }");
	end
	add("partner_type", quote(row.partner_type));
	lines[#lines + 1] = ("  tls = %s; sasl = %s; dialback = %s;"):format(quote(row.tls), quote(row.sasl), tostring(row.dialback));
	if row.connection_limit then add("connection_limit", ("%d"):format(row.connection_limit)); end
	add("keepalive", tostring(row.keepalive));
	if row.proxy then add("proxy", quote(row.proxy)); end
	lines[#lines] = lines[#lines]:gsub(";$", "").." };";
	return lines;
end

local function to_option(row)
	return { domain = row.domain; description = row.description; additional_domains = #row.additional > 0 and row.additional or nil;
		partner_type = row.partner_type; tls = row.tls; sasl = row.sasl; dialback = row.dialback;
		connection_limit = row.connection_limit; keepalive = row.keepalive; proxy = row.proxy };
end

-- Asks the validator about the entry alone.
local function validate(native, row)
	local compiled, issues = native.compile_table({ lists = { { place = "import"; list = { to_option(row) } } }; local_domains = {} });
	for _, issue in ipairs(issues or {}) do
		if issue.severity == "error" then
			local text = issue.message:gsub('^import%[1%] %b()%.?', ""):gsub("^import%[1%]%.?", "");
			table.insert(row.problems, layout.plain(text, 200));
		end
	end
	return compiled;
end

local HEADER = [[
-- Not carried over, since nothing of it is in an export of the partners:
--   Get-CsXmppGatewayConfiguration   s2s_partners_limits: ConnectionLimit = connections, PartnerConnectionLimit =
--                                    partner_connections, StreamEstablishmentTimeout = establishment_timeout,
--                                    StreamInactivityTimeout = inactivity_timeout, KeepAliveInterval = keepalive_interval
--                                    (all in seconds). DialbackPassphrase: Prosody's dialback_secret; it is made by itself.
--                                    EnableLoggingAllMessageBodies: bodies are never logged. SubscriptionRefreshInterval:
--                                    not needed here.
--   Get-CsExternalAccessPolicy       s2s_partners_external_access: which users may federate
]];

-- Configuration for the partners, and how many of them are impossible (and commented out). `source` names the export.
function import.convert(native, raw_partners, source)
	local rows, out = native.negotiation_rows(), {};
	local taken, impossible, to_verify, plain_rows, dialback = {}, 0, 0, {}, false;
	local function put(indent, text) out[#out + 1] = indent..text; end
	for i, raw in ipairs(raw_partners) do
		local row, own = read_row(native, raw, taken);
		local found, position = find_row(rows, row);
		if found.verdict == "error" then
			local closest = import.closest(rows, row);
			table.insert(row.problems, ("tls %s, sasl %s, dialback %s cannot work (row %d): %s; closest is tls = %q; sasl = %q; dialback = %s")
				:format(row.tls, row.sasl, tostring(row.dialback), position, found.text, closest.tls, closest.sasl, tostring(closest.dialback)));
		elseif #row.problems == 0 then
			validate(native, row);
		end
		if i > 1 then put("", ""); end
		for _, note in ipairs(row.notes) do put("\t-- ", note); end
		if #row.problems > 0 then
			impossible = impossible + 1;
			put("\t-- ", ("IMPOSSIBLE, commented out: %s"):format(row.title));
			for _, problem in ipairs(row.problems) do put("\t--   ", problem); end
			for _, line in ipairs(entry_lines(row)) do put("\t-- ", line); end
		else
			for name in pairs(own) do taken[name] = row.domain; end
			if row.verify then to_verify = to_verify + 1; end
			if found.text ~= "" then put("\t-- ", found.verdict..": "..found.text); end
			for _, method in ipairs(found.methods) do dialback = dialback or method ~= "sasl"; end
			if found.methods[1] == "tcp_dialback" then table.insert(plain_rows, row.domain); end
			for _, line in ipairs(entry_lines(row)) do put("\t", line); end
		end
	end

	local head = {
		("-- Imported from %s: %s, %d impossible (commented out), %d to verify."):format(source, layout.count(#raw_partners, "partner"),
			impossible, to_verify);
		HEADER;
	};
	if dialback then
		head[#head + 1] = "-- Some partners use dialback: \"dialback\" has to be among modules_enabled.\n";
	end
	if #plain_rows > 0 then
		head[#head + 1] = "-- Without TLS: "..layout.plain(table.concat(plain_rows, ", "), 500)
			.."\n-- They need the following; what keeps others from coming without TLS is then this module alone.\n"
			.."s2s_require_encryption = false\n";
	end
	head[#head + 1] = "s2s_partners = {";
	return table.concat(head, "\n").."\n"..table.concat(out, "\n").."\n}\n", impossible;
end

return import;
