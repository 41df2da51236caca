-- Prosody runs every module in an environment of its own: what that offers is listed here, nothing else is global.
std = "lua54";
cache = false;
codes = true;
max_line_length = 150;
ignore = {
	"212/self"; -- methods need not use self
};

local module_environment = {
	read_globals = { "hosts" };
	-- Prosody means modules to hang load, unload, save and restore on it.
	globals = { "module"; "prosody" };
};
files["lua/"] = module_environment;
files["spec/lab/plugins/"] = module_environment;
files["spec/bench/plugins/"] = module_environment;
files["spec/price/plugins/"] = module_environment;

-- Configuration files assign freely: that is what they are.
files["**/*.cfg.lua"] = { std = "lua54"; allow_defined_top = true; ignore = { "111"; "112"; "113"; "131" } };
files["spec/"] = { std = "+busted" };
