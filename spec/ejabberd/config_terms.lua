-- fixtures/config as Erlang terms, with the messages that an administrator of ejabberd gets: the same cases, in the words and the
-- syntax of another host.
--   lua5.4 config_terms.lua FIXTURES > TERMS
-- One term a file: {Kind, Name, [{Option, Value}], [Message], [Unlike]}. Unlike: paths where YAML cannot hold what Lua does.

local fixtures = arg[1];

-- Cases about what Prosody's options, files or hosts are; those of ejabberd have tests of their own.
local OF_PROSODY = { files = true; mode = true; ["unknown-option"] = true; observe = true; ["local-domain"] = true };
local function of_prosody(name)
	return OF_PROSODY[name] or name:find("^host%-") or name:find("files", 1, true) or name:find("^mode");
end

local function quoted(text)
	return '<<"'..text:gsub(".", function (c)
		if c:find("[%w _.,:;/*@=+()'!?-]") then return c; end
		return ("\\x{%02X}"):format(c:byte());
	end)..'">>';
end

-- What the adapter says of itself: options of Prosody's own, files.
local function of_adapter(line)
	local option = line:match("^%l+: (s2s_[%l_]+)");
	return line:find("there is no such file", 1, true) or line:find("in different spellings", 1, true)
		or option and option ~= "s2s_partners" and option ~= "s2s_partners_default" and option ~= "s2s_partners_limits"
			and option ~= "s2s_partners_external_access";
end

-- Where Prosody's own options take a method from a partner of a fixture, which is then not warned of it.
local CONSTRAINED = { warnings = "modules.mod_s2s_partners.partners[2].partner_type" };

local unlike;

local function sorted(tab)
	local keys = {};
	for key in pairs(tab) do keys[#keys+1] = key; end
	table.sort(keys, function (a, b)
		if type(a) ~= type(b) then return type(a) == "number"; end
		return a < b;
	end);
	return keys;
end

local function is_list(tab)
	local count = 0;
	for key in pairs(tab) do
		if math.type(key) ~= "integer" then return false; end
		count = count + 1;
	end
	return count == #tab;
end

local term;
local function inside(tab, path)
	local parts, strings = {}, 0;
	for key in pairs(tab) do strings = strings + (type(key) == "string" and 1 or 0); end
	if is_list(tab) then
		for i, value in ipairs(tab) do parts[i] = term(value, ("%s[%d]"):format(path, i)); end
		return "{list, ["..table.concat(parts, ", ").."]}";
	end
	local mixed = false;
	for _, key in ipairs((pcall(sorted, tab)) and sorted(tab) or {}) do
		-- A file of users is read by the adapter.
		if key == "users" and type(tab[key]) == "string" and tab[key] ~= "" then unlike[#unlike+1] = path..".users"; end
		if type(key) == "string" then
			parts[#parts+1] = "{"..quoted(key)..", "..term(tab[key], path.."."..key).."}";
		else
			mixed = true;
		end
	end
	if mixed or #parts ~= strings or strings == 0 then unlike[#unlike+1] = path; end
	return "{mapping, ["..table.concat(parts, ", ").."]}";
end

function term(value, path)
	local kind = type(value);
	if kind == "table" then return inside(value, path); end
	if kind == "string" then return quoted(value); end
	if kind == "boolean" then return tostring(value); end
	if kind == "nil" then return "absent"; end
	if kind == "number" then
		if value ~= value or value == math.huge or value == -math.huge then
			unlike[#unlike+1] = path;
			return "{other, <<\"a number\">>}";
		end
		return math.type(value) == "integer" and tostring(value) or ("%.17e"):format(value);
	end
	return "{other, "..quoted("a "..kind).."}";
end

-- The longest first.
local WORDS = {
	{ 'put it in braces of its own: { { domain = ...; partner_type = ... } }', "put a dash in front of it: [{domain: ..., partner_type: ...}]" };
	{ "a table stands inside a table here: remove one pair of braces", "a list stands inside a list here: remove one dash or one pair of brackets" };
	{ '{ default = "allow"; users = { ["name"] = "deny" } }', "{default: allow, users: {name: deny}}" };
	{ '{ "corp.fabrikam.com", "*.it.fabrikam.com" }', '[corp.fabrikam.com, "*.it.fabrikam.com"]' };
	{ "{ domain = ...; partner_type = ... }", "{domain: ..., partner_type: ...}" };
	{ '{ "crls/fabrikam-*.crl" }', '["crls/fabrikam-*.crl"]' };
	{ "{ { domain = ... }; ... }", "[{domain: ..., ...}]" };
	{ "{ connections = 1000; ... }", "{connections: 1000, ...}" };
	{ '{ "sha256//BASE64=" }', '["sha256//BASE64="]' };
	{ '{ ["name"] = "deny" }', "{name: deny}" };
	{ '{ "first", "second" }', "[first, second]" };
	{ "prosodyctl mod_s2s_partners check", "ejabberdctl s2s_partners_check" };
	{ "s2s_partners_external_access", "modules.mod_s2s_partners.external_access" };
	{ "s2s_partners_default", "modules.mod_s2s_partners.default" };
	{ "s2s_partners_limits", "modules.mod_s2s_partners.limits" };
	{ "users = {name", "users: {name" };
	{ "must be a table", "must be a mapping" }; { "or a table", "or a mapping" };
	{ "keyed by a table", "keyed by a mapping" };
};

local function replace(text, from, to)
	local at = 1;
	while true do
		local first, last = text:find(from, at, true);
		if not first then return text; end
		text = text:sub(1, first - 1)..to..text:sub(last + 1);
		at = first + #to;
	end
end

local function translate(line)
	-- What the administrator wrote stays: it stands behind "got".
	for _, pair in ipairs(WORDS) do line = replace(line, pair[1], pair[2]); end
	line = line:gsub("%f[%w_]s2s_partners%f[^%w_]", "modules.mod_s2s_partners.partners");
	return (line:gsub('(%l[%l_]*) = "([%w_*./-]+)"', "%1: %2"):gsub("(%l[%l_]*) = (%l+)", "%1: %2"):gsub("(%l[%l_]*) = {", "%1: {"));
end

local function load_options(path)
	local env = setmetatable({ math = math; string = string; VirtualHost = function () end; Component = function () return function () end; end },
		{ __newindex = rawset });
	assert(loadfile(path, "t", env))();
	return env;
end

local OPTIONS = {
	{ "partners", "s2s_partners" }, { "default", "s2s_partners_default" }, { "limits", "s2s_partners_limits" },
	{ "external_access", "s2s_partners_external_access" },
};

for _, kind in ipairs { "bad", "good" } do
	local pipe = assert(io.popen(("ls '%s/%s'"):format(fixtures, kind)));
	for file in pipe:lines() do
		local name = file:match("^(.*)%.cfg%.lua$");
		if name and not of_prosody(name) then
			unlike = { CONSTRAINED[name] };
			local env = load_options(("%s/%s/%s"):format(fixtures, kind, file));
			local options, messages = {}, {};
			for i, pair in ipairs(OPTIONS) do
				options[i] = ("{%s, %s}"):format(pair[1], term(env[pair[2]], "modules.mod_s2s_partners."..pair[1]));
			end
			for line in io.lines(("%s/%s/%s.expected"):format(fixtures, kind, name)) do
				if not of_adapter(line) then messages[#messages+1] = quoted(translate(line)); end
			end
			for i, path in ipairs(unlike) do unlike[i] = quoted(path); end
			print(("{%s, %s,\n [%s],\n [%s],\n [%s]}."):format(kind, quoted(name), table.concat(options, ",\n  "),
				table.concat(messages, ",\n  "), table.concat(unlike, ", ")));
		end
	end
	pipe:close();
end
