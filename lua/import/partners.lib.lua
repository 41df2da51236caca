-- The partners that Get-CsXmppAllowedPartner exports, as configuration for Prosody. What is written is Lua, so nothing of what was
-- read goes out but quoted or in one line of a comment.

local layout = module:require "layout";
local exports = module:require "import/exports";
local lua_text = module:require "import/lua_text";

local LIST_MAX, TEXT_MAX = exports.LIST_MAX, exports.TEXT_MAX;
local PARTNERS_MAX = 20000;

local partners = { PARTNERS_MAX = PARTNERS_MAX };
local quote = lua_text.quote;

-- What only the objects of that cmdlet have. An Identity alone is one as well: other cmdlets write what tells them apart.
local telling = { "PartnerType"; "TlsNegotiation"; "SaslNegotiation"; "SupportDialbackNegotiation"; "AdditionalDomains"; "ProxyFqdn";
	"EnableKeepAlive" };

function partners.knows(raw)
	for _, name in ipairs(telling) do
		if raw[name] ~= nil then return true; end
	end
	return raw.Domain ~= nil;
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

local as_text = exports.as_text;

local show = exports.show;

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
	if type(value) == "table" then
		-- Over a remote session: both its number and its name.
		local number, name_of_it = exports.number_and_name(value);
		value = name_of_it or number or value;
		if number and name_of_it then
			local place = math.tointeger(number) and meaning[math.tointeger(number) + 1];
			if not place or place:lower() ~= name_of_it:lower() then
				table.insert(row.problems, ("%s is both the number %s and the name %s, which are not of one value; known are %s"):format(name,
					show(number), show(name_of_it), table.concat(meaning, ", ")));
				return meaning[meaning.default];
			end
		end
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

-- Under these keys, which are no text, who makes partners of another source says what is to be said of each.
partners.NOTES, partners.PROBLEMS = {}, {};

local function read_row(native, raw, taken)
	local row = { notes = {}; problems = {} };
	for _, note in ipairs(raw[partners.NOTES] or {}) do table.insert(row.notes, layout.plain(note)); end
	for _, problem in ipairs(raw[partners.PROBLEMS] or {}) do table.insert(row.problems, layout.plain(problem)); end
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
		if type(key) == "string" and not handled[key] and value ~= "" then
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

function partners.closest(rows, row)
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

local function entry_lines(row)
	local lines = { ("{ domain = %s;"):format(quote(row.domain)) };
	local function add(key, value) lines[#lines + 1] = ("  %s = %s;"):format(key, value); end
	if row.description then add("description", quote(row.description)); end
	if #row.additional > 0 then
		add("additional_domains", lua_text.list(row.additional));
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

local elsewhere = {
	{ kind = "gateway"; text = [[
--   Get-CsXmppGatewayConfiguration   s2s_partners_limits: give its export to import as well
]] };
	{ kind = "access"; text = [[
--   Get-CsExternalAccessPolicy       s2s_partners_external_access, which users may federate: give its export and that of
--                                    Get-CsUser | Select-Object SipAddress, ExternalAccessPolicy to import as well. By default
--                                    NOBODY has XMPP access there, and EVERYBODY has it here.
]] };
};

local function header(given)
	local lines = {};
	for _, one in ipairs(elsewhere) do
		if not given[one.kind] then lines[#lines + 1] = one.text; end
	end
	if #lines == 0 then return nil; end
	return "-- Not carried over, since nothing of it is in an export of the partners:\n"..table.concat(lines);
end

-- Configuration for the partners, and how many of them are impossible (and commented out). `source` names the export; `given`
-- (or nil) has the kinds of exports that are read beside it, or is false when they are none of Lync's.
function partners.convert(native, raw_partners, source, given)
	local rows, out = native.negotiation_rows(), {};
	local taken, impossible, to_verify, plain_rows, dialback = {}, 0, 0, {}, false;
	local function put(indent, text) out[#out + 1] = indent..text; end
	for i, raw in ipairs(raw_partners) do
		local row, own = read_row(native, raw, taken);
		local found, position = find_row(rows, row);
		if found.verdict == "error" then
			local closest = partners.closest(rows, row);
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
	};
	if given ~= false then head[#head + 1] = header(given or {}); end
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

-- The partners of one export as tables of properties; nil and what is wrong with it.
function partners.parse(text)
	local found, problem = exports.parse(text);
	if not found then return nil, problem; end
	if #found == 0 then return nil, "has no partners in it (objects with an Identity)"; end
	if #found > PARTNERS_MAX then return nil, ("has more than %d partners"):format(PARTNERS_MAX); end
	return found;
end

return partners;
