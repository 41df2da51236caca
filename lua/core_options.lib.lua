-- What core's own options and modules leave of a host's methods.

-- A list of domains as core reads it: one string is a list of one.
local function read_domains(context, name)
	local value = context:get_option(name);
	if type(value) == "string" then return { value }; end
	if type(value) ~= "table" then return {}; end
	local list = {};
	for _, domain in ipairs(value) do
		if type(domain) == "string" then table.insert(list, domain); end
	end
	return list;
end

local function lists(value, name)
	if type(value) == "string" then return value == name; end
	for _, item in ipairs(type(value) == "table" and value or {}) do
		if item == name then return true; end
	end
	return false;
end

-- Whether core loads a module into the host: as its modulemanager reckons, where a host's own modules_enabled counts for more than the
-- global modules_disabled. `anyway`: whether it does where nothing says so.
local function loads(global, context, name, anyway)
	local own, everywhere = context:get_option("modules_disabled"), global:get_option("modules_disabled");
	if own ~= everywhere and lists(own, name) then return false; end
	local enabled, enabled_everywhere = context:get_option("modules_enabled"), global:get_option("modules_enabled");
	return enabled ~= enabled_everywhere and lists(enabled, name)
		or (anyway or lists(enabled_everywhere, name)) and not lists(everywhere, name);
end

-- Whether the administrator has switched S2S off for the host.
local function is_without_s2s(global, context)
	return context:get_option_boolean("disallow_s2s", false) or not loads(global, context, "s2s", true);
end

-- Whether the host lacks a module that methods need. Where modules_enabled is nowhere to be seen, nothing is known of modules: it is
-- a piece of a configuration, since without that option nobody would ask.
local function is_without(global, context, name)
	if context:get_option("modules_enabled") == nil and context:get_option("modules_disabled") == nil then return nil; end
	return not loads(global, context, name, global:get_option("modules_enabled") == nil) or nil;
end

local function differ_in_modules(global, options)
	for _, name in ipairs({ "tls", "saslauth", "dialback" }) do
		if options["without_"..name] ~= is_without(global, global, name) then return true; end
	end
	return false;
end

-- mod_s2s reads its options globally, mod_tls those of the host: the stricter one counts.
local function read(global, context)
	local timeout = global.get_option_period and global:get_option_period("s2s_timeout", 90)
		or not global.get_option_period and global:get_option_number("s2s_timeout", 90);
	return {
		require_encryption = global:get_option_boolean("s2s_require_encryption", true) ~= false
			or context:get_option_boolean("s2s_require_encryption", true) ~= false;
		allow_encryption = context:get_option_boolean("s2s_allow_encryption", true) ~= false;
		secure_auth = global:get_option_boolean("s2s_secure_auth", false) == true
			or context:get_option_boolean("s2s_secure_auth", false) == true;
		secure_domains = read_domains(global, "s2s_secure_domains");
		insecure_domains = read_domains(global, "s2s_insecure_domains");
		without_tls = is_without(global, context, "tls");
		without_saslauth = is_without(global, context, "saslauth");
		without_dialback = is_without(global, context, "dialback");
		out_of_reach = is_without_s2s(global, context) or nil;
		s2s_timeout = type(timeout) == "number" and timeout or nil;
	};
end

return { read = read; differ_in_modules = differ_in_modules; loads = loads };
