-- Prosody runs every module in an environment of its own: what that offers is listed here, nothing else is global.
std = "lua54";
cache = false;
codes = true;
max_line_length = 150;
ignore = {
	"212/self"; -- methods need not use self
};

-- What of Prosody is used, by name: a slip of the pen, or something that no version has, is a warning. Functions of our own that
-- Prosody calls, and what we hang on its tables, are the only ones that are written.
local function read(...)
	local fields = {};
	for _, name in ipairs({ ... }) do fields[name] = { other_fields = true }; end
	return fields;
end
local function written(fields, ...)
	for _, name in ipairs({ ... }) do fields[name] = { read_only = false; other_fields = true }; end
	return fields;
end
local module_environment = {
	read_globals = {
		module = { fields = written(read("add_item", "add_timer", "context", "event_handlers", "get_option_boolean", "get_option_number",
			"get_option_period", "get_option_string", "handle_items", "hook", "hook_global", "log", "metric", "name", "path", "reload", "reloading",
			"remove_item", "require", "saved_state", "send_iq", "set_global", "shared", "default_permission"), "command", "load", "save", "unload") };
		prosody = { fields = written(read("bare_sessions", "config_file", "core", "core_route_stanza", "events", "full_sessions", "incoming_s2s", "net", "paths",
			"process_type", "reload_config", "version"), "hosts", "s2s_partners_latch") };
	};
};
local laboratory = {
	read_globals = {
		module = module_environment.read_globals.module;
		prosody = { fields = written(read("bare_sessions", "core_route_stanza", "events", "full_sessions", "hosts", "incoming_s2s", "paths"),
			"lab_fail_store", "lab_largest", "lab_measure", "lab_price_free", "lab_price_rest", "lab_price_sessions", "bench") };
	};
};
files["lua/"] = module_environment;
files["spec/lab/plugins/"] = laboratory;
files["spec/bench/plugins/"] = laboratory;
files["spec/price/plugins/"] = laboratory;

-- Configuration files assign freely: that is what they are.
files["**/*.cfg.lua"] = { std = "lua54"; allow_defined_top = true; ignore = { "111"; "112"; "113"; "131" } };
files["spec/"] = { std = "+busted" };
