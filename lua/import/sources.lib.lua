-- Several files of other servers, each known by its content, as one configuration for Prosody. What is not known is an error: nothing may be
-- taken for something that it is not, and nothing left out in silence.

local layout = module:require "layout";
local exports = module:require "import/exports";
local partners = module:require "import/partners";
local gateway = module:require "import/gateway";
local access = module:require "import/access";
local allowlists = module:require "import/allowlists";

local sources = { read_file = exports.read_file };

local KNOWN = "known are exports (Export-Clixml or ConvertTo-Json) of Get-CsXmppAllowedPartner, Get-CsXmppGatewayConfiguration, "
	.."Get-CsExternalAccessPolicy and Get-CsUser | Select-Object SipAddress, ExternalAccessPolicy; configurations with s2s_whitelist (Prosody) "
	.."or s2s_access (ejabberd); the table ofRemoteServerConf (Openfire) as CSV";

local kinds = {
	{ name = "users"; knows = access.knows_user };
	{ name = "policies"; knows = access.knows_policy };
	{ name = "gateway"; knows = gateway.knows };
	{ name = "partners"; knows = partners.knows };
};

-- The kind of an object; nil and its properties in words when it is none, or more than one.
local function kind_of(raw)
	local found;
	for _, kind in ipairs(kinds) do
		if kind.knows(raw) then
			if found then found = nil; break; end
			found = kind.name;
		end
	end
	if found then return found; end
	local names = {};
	for name in pairs(raw) do names[#names + 1] = tostring(name); end
	-- An Identity alone is a partner with nothing but defaults, unless it is a name that every other cmdlet's single object has.
	local identity = exports.as_text(raw.Identity);
	if identity and #names == 1 and identity:lower() ~= "global" then return "partners"; end
	table.sort(names);
	return nil, layout.plain(table.concat(names, ", ", 1, math.min(#names, 8)), 200)..(#names > 8 and ", ..." or "");
end

-- What is in one file, added to `all`; nil and what is wrong with it.
local function read_one(all, name, text)
	local utf8_text, mark = exports.decode(text);
	if not utf8_text then return nil, mark; end
	if mark ~= "<" and mark ~= "[" and mark ~= "{" then
		local rows, what, problem = allowlists.parse(utf8_text);
		if not rows then
			if what then return nil, ("is %s, and %s"):format(what, problem); end
			return nil, "is neither what Export-Clixml nor what ConvertTo-Json writes, nor any other list that is known; "..KNOWN;
		end
		for _, row in ipairs(rows) do
			table.insert(all.partners, allowlists.as_partner(row, partners.NOTES, partners.PROBLEMS));
		end
		all.lists = all.lists + 1;
		return true;
	end
	local found, problem = exports.parse(text);
	if not found then return nil, problem; end
	if #found == 0 then return nil, "has no objects in it; "..KNOWN; end
	for i, raw in ipairs(found) do
		local kind, properties = kind_of(raw);
		if not kind then
			return nil, ("has something that is not known, object %d of %d with %s; %s"):format(i, #found,
				properties ~= "" and properties or "no properties", KNOWN);
		end
		if kind == "gateway" and #all.gateway > 0 then
			return nil, ("has a second gateway configuration; %s has one already, and there is one in an organisation"):format(all.gateway_of);
		end
		if kind == "gateway" then all.gateway_of = layout.plain(name, 80); end
		table.insert(all[kind], raw);
		if kind == "partners" then all.exported = all.exported + 1; end
	end
	return true;
end

-- files: { { name, text }... }. The configuration and how much is impossible in it (and commented out); or nil, the name of a file and what
-- is wrong with it.
function sources.convert(native, files)
	local all = { partners = {}; gateway = {}; policies = {}; users = {}; exported = 0; lists = 0 };
	local names = {};
	for i, file in ipairs(files) do
		local ok, problem = read_one(all, file.name, file.text);
		if not ok then return nil, file.name, problem; end
		names[i] = layout.plain(file.name:match("[^/]*$"), 80);
	end
	if #all.partners > partners.PARTNERS_MAX then
		return nil, files[#files].name, ("makes more than %d partners"):format(partners.PARTNERS_MAX);
	end
	local parts, impossible = {}, 0;
	local function add(text, count)
		parts[#parts + 1] = text;
		impossible = impossible + count;
	end
	if #all.partners > 0 then
		local given = all.exported > 0 and { gateway = #all.gateway > 0; access = #all.policies > 0 };
		local text, count = partners.convert(native, all.partners, table.concat(names, ", "), given);
		if all.lists > 0 then
			text = "-- The lists of other servers name only domains. Those entries are public_unverified (only contacts in a user's own list get\n"
				.."-- through) and federate over TLS, by certificate or dialback. prosodyctl mod_s2s_partners probe DOMAIN says what a domain can do.\n"..text;
		end
		add(text, count);
	else
		parts[1] = ("-- Imported from %s.\n"):format(table.concat(names, ", "));
	end
	if all.gateway[1] then
		local lines, count = gateway.convert(native, all.gateway[1]);
		add(table.concat(lines, "\n").."\n", count);
	end
	if #all.policies > 0 or #all.users > 0 then
		local lines, count = access.convert(all.policies, all.users);
		if not lines then return nil, files[#files].name, count; end
		add(table.concat(lines, "\n").."\n", count);
	end
	return table.concat(parts, "\n"), impossible;
end

return sources;
