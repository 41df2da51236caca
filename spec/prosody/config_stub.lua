-- Prosody's configuration as far as lua/options.lib.lua sees it: a file is run the way Prosody runs its own, and the options
-- are handed out through stand-ins for module and configmanager.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";

local stub = { source = source };

function stub.native()
	local path = assert(os.getenv("S2S_PARTNERS_SO"), "S2S_PARTNERS_SO names the shared object");
	return assert(package.loadlib(path, "luaopen_s2s_partners"))();
end

-- { ["*"] = options, [host] = options }: hosts see the global options behind their own.
function stub.load_config(path)
	local config = { ["*"] = {} };
	local current = "*";
	local function start_host(name)
		config[name] = config[name] or setmetatable({}, { __index = config["*"] });
		current = name;
	end
	local env = setmetatable({
		VirtualHost = start_host;
		Component = function (name)
			start_host(name);
			return function () end;
		end;
		math = math; string = string;
	}, { __newindex = function (_, key, value) config[current][key] = value; end });
	assert(loadfile(path, "t", env))();
	return config;
end

local module_methods = {};
module_methods.__index = module_methods;

function module_methods:context(host)
	return setmetatable({ host = host; config = self.config }, module_methods);
end

function module_methods:get_option(name, default)
	local value = (self.config[self.host] or self.config["*"])[name];
	if value == nil then return default; end
	return value;
end

function module_methods:get_option_boolean(name, default)
	local value = self:get_option(name, default);
	if type(value) ~= "boolean" then return default; end
	return value;
end

function module_methods:get_option_number(name, default)
	return tonumber(self:get_option(name, default)) or default;
end

local function in_environment(name, env)
	return assert(loadfile(source.."/lua/"..name..".lib.lua", "t", env))();
end

-- lua/options.lib.lua as it would be loaded for `config`; `hosts` are those that run, by name.
function stub.options(config, folder, hosts)
	local libraries = {
		["core.configmanager"] = { getconfig = function () return config; end };
		["util.encodings"] = { stringprep = { nodeprep = function (name)
			return not name:find("\194\160", 1, true) and name:gsub("\195\156", "\195\188") or nil;
		end } };
	};
	local env = setmetatable({
		module = setmetatable({ host = "*"; config = config }, module_methods);
		prosody = { hosts = hosts or {}; paths = { config = folder } };
		require = function (name)
			if libraries[name] then return libraries[name]; end
			return require(name);
		end;
	}, { __index = _G });
	env.module.require = function (_, name) return in_environment(name, env); end;
	return in_environment("options", env);
end

-- A file of lua/ that needs no more of the module API than to find others of its kind.
function stub.library(name, more)
	local env;
	env = setmetatable({
		module = setmetatable({ require = function (_, other) return stub.library(other, more); end }, { __index = more and more.module });
		prosody = more and more.prosody;
	}, { __index = _G });
	return assert(loadfile(source.."/lua/"..name..".lib.lua", "t", env))();
end

-- Compiles for each host in turn (or the global section when there is none): all messages, and the last policy.
function stub.check(native, path)
	local config = stub.load_config(path);
	local options = stub.options(config, (path:gsub("/[^/]*$", "")));
	local hosts, messages = {}, {};
	for host in pairs(config) do
		if host ~= "*" then table.insert(hosts, host); end
	end
	table.sort(hosts);
	local run, tables, policy, failed = options.begin(), {}, nil, false;
	local function note(issues)
		for _, issue in ipairs(issues) do
			table.insert(messages, issue.severity..": "..issue.message);
			failed = failed or issue.severity == "error";
		end
	end
	for _, host in ipairs(#hosts > 0 and hosts or { "*" }) do
		local collected = options.collect(host, run);
		if tables[collected.table_key] == nil then
			local compiled, issues = native.compile_table(collected.table());
			tables[collected.table_key] = compiled or false;
			note(issues);
		end
		if tables[collected.table_key] then
			collected.policy.table = tables[collected.table_key];
		else
			-- A list that is refused does not hide what else is wrong.
			collected.policy.table = native.compile_table({});
		end
		local issues;
		policy, issues = native.compile_policy(collected.policy);
		note(issues);
	end
	return messages, not failed and policy or nil, failed;
end

return stub;
