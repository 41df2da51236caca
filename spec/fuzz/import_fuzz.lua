-- What must hold for any file that is given to `import`: either one line that says what is wrong with it, or a configuration that
-- loads, sets nothing but its two options, has every partner of the export (impossible ones commented out), passes the validator
-- as a whole, and asks for no less than the export does. The same text as one of several sources, which may be of any kind: one line, or a
-- configuration that loads, sets nothing but what an import may set, and passes the validator.

local native = ...;

package.path = "spec/prosody/?.lua;"..package.path;
require "prosody_library";
local import = require "config_stub".library("import/partners");
local sources = require "config_stub".library("import/sources");

local exported = {
	tls = { property = "TlsNegotiation"; required = "required"; optional = "optional"; notsupported = "not_supported" };
	sasl = { property = "SaslNegotiation"; required = "required"; optional = "optional"; notsupported = "not_supported" };
	partner_type = { property = "PartnerType"; federated = "federated"; publicverified = "public_verified"; publicunverified = "public_unverified" };
};

local function trim(text)
	return type(text) == "string" and text:match("^%s*(.-)%s*$") or type(text) == "number" and tostring(text) or "";
end

-- Whether the entry can be what became of these properties.
local function is_of(entry, properties)
	local domain = trim(properties.Domain);
	if domain == "" then domain = trim(properties.Identity); end
	if native.canonical_domain(domain) ~= entry.domain then return false; end
	for key, words in pairs(exported) do
		local word = properties[words.property];
		word = type(word) == "string" and words[word:lower()];
		if word and entry[key] ~= word then return false; end
	end
	local dialback = properties.SupportDialbackNegotiation;
	return type(dialback) ~= "boolean" or entry.dialback == dialback;
end

local function check_partners(entries, partners)
	local position = 1;
	for _, properties in ipairs(partners) do
		if entries[position] and is_of(entries[position], properties) then position = position + 1; end
	end
	assert(position == #entries + 1, "an entry that no partner of the export can be");
	local compiled, issues = native.compile_table({ lists = { { place = "s2s_partners"; list = entries } }; local_domains = {} });
	for _, issue in ipairs(issues or {}) do assert(issue.severity ~= "error", issue.message); end
	assert(compiled, "not accepted");
end

local settable = { s2s_partners = "table"; s2s_partners_limits = "table"; s2s_partners_external_access = "table";
	s2s_require_encryption = "boolean" };

local function check_sources(text)
	local config, _, problem = sources.convert(native, { { name = "export"; text = text } });
	if not config then
		assert(type(problem) == "string" and problem ~= "" and not problem:find("%c") and #problem < 1500, "no one line of text");
		return;
	end
	assert(utf8.len(config), "no UTF-8");
	local options = {};
	local env = setmetatable({ VirtualHost = function () end }, { __newindex = function (_, key, value)
		assert(type(value) == settable[key], key);
		options[key] = value;
	end });
	assert(load(config, "=config", "t", env))();
	if options.s2s_partners then
		assert(native.compile_table({ lists = { { place = "s2s_partners"; list = options.s2s_partners } }; local_domains = {} }), "not accepted");
	end
	local policy, issues = native.compile_policy({ table = native.compile_table({}); limits = options.s2s_partners_limits;
		external_access = options.s2s_partners_external_access });
	assert(policy, issues and issues[1] and issues[1].message);
end

return function (text)
	check_sources(text);
	local partners, problem = import.parse(text);
	if not partners then
		assert(type(problem) == "string" and problem ~= "" and not problem:find("%c") and #problem < 500, "no one line of text");
		return;
	end
	assert(#partners > 0, "no partners and no problem");
	local config, impossible = import.convert(native, partners, "export");
	assert(utf8.len(config), "no UTF-8");
	local options = {};
	assert(load(config, "=config", "t", options))();
	local _, commented = config:gsub("\n\t%-%- IMPOSSIBLE, commented out: ", "");
	assert(commented == impossible, "comments and count differ");
	assert(#options.s2s_partners + impossible == #partners, "a partner is lost");
	check_partners(options.s2s_partners, partners);
	for name, value in pairs(options) do
		assert(name == "s2s_partners" or name == "s2s_require_encryption" and value == false, name);
	end
end
