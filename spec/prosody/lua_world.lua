-- A pretended server for files of lua/: they run with Prosody's own util.*, while core.* and the module are what a spec says.

require "prosody_library";

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";

local lua_world = {};

-- `core`: library name -> library, in the place of Prosody's. What is made has
--   lines       what was logged, "level: text"
--   hooks       event -> list of { handler, priority } of the global module; of a host's context(host).hooks
--   timers      { seconds, function }... as they were added; run() runs and clears them
--   routed      { host, stanza }... that prosody.core_route_stanza got
--   config      host or "*" -> options, for context:get_option
--   contexts    { host, context }... that module:context has given
--   items       name -> list of what module:add_item has added
--   module      as the files have it
function lua_world.new(core)
	local world = { lines = {}; hooks = {}; timers = {}; routed = {}; items = {}; contexts = {}; config = {}; shared = {}; metrics = {}; wrapped = {} };
	world.prosody = { hosts = {}; bare_sessions = {}; full_sessions = {}; s2s_partners_latch = world.shared;
		core_route_stanza = function (host, stanza) table.insert(world.routed, { host; stanza }); end };

	local function hook(hooks)
		return function (_, event, handler, priority)
			hooks[event] = hooks[event] or {};
			table.insert(hooks[event], { handler; priority or 0 });
		end;
	end

	local env;
	local module = {
		log = function (_, level, text, ...) table.insert(world.lines, level..": "..text:format(...)); end;
		require = function (_, name) return world.load(name); end;
		hook_global = hook(world.hooks);
		add_timer = function (_, seconds, action)
			table.insert(world.timers, { seconds, action });
			return { stop = function () end };
		end;
		shared = function () return world.shared; end;
		handle_items = function () end;
		add_item = function (_, name, item)
			world.items[name] = world.items[name] or {};
			table.insert(world.items[name], item);
		end;
		remove_item = function (_, name, item)
			for i, other in ipairs(world.items[name] or {}) do
				if other == item then table.remove(world.items[name], i); end
			end
		end;
		get_option = function (_, _, default) return default; end;
		get_option_boolean = function (self, name, default) return self:get_option(name, default); end;
		get_option_number = function (self, name, default) return tonumber(self:get_option(name, default)); end;
		metric = function (_, _, name)
			local metric = { values = {} };
			world.metrics[name] = metric;
			local function set(labels) return {
				add = function (_, by) metric.values[labels] = (metric.values[labels] or 0) + by; end;
				set = function (_, to) metric.values[labels] = to; end;
			}; end
			metric.data = { remove = function (_, label) metric.values[label] = nil; end };
			function metric:with_labels(...) return set(table.concat({ ... }, " ")); end
			function metric:clear() self.values = {}; end
			return metric;
		end;
	};
	function module.context(_, host)
		local context = { hooks = {}; wrapped = {} };
		context.hook = hook(context.hooks);
		function context:wrap_event(event, wrapper) self.wrapped[event] = wrapper; end
		table.insert(world.contexts, { host, context });
		function context:get_option(name, default)
			local value = (world.config[host] or world.config["*"] or {})[name];
			if value == nil then return default; end
			return value;
		end
		function context:get_option_string(_, default) return default; end
		function context:open_store(name) return world.open_store(host, name); end
		return context;
	end

	local libraries = {
		["util.async"] = { runner = function (action, watchers)
			return { run = function ()
				local ok, err = pcall(action);
				if not ok then watchers.error(nil, err); end
			end };
		end; waiter = function () return function () end, function () end; end };
		["util.timer"] = { add_task = function (seconds, action) table.insert(world.timers, { seconds, action }); end; stop = function () end };
	};
	for name, library in pairs(core or {}) do libraries[name] = library; end

	env = setmetatable({ module = module; prosody = world.prosody;
		require = function (name) return libraries[name] or require(name); end }, { __index = _G });

	world.module = module;

	function world.library(name) return libraries[name]; end

	function world.load(name)
		return assert(loadfile(source.."/lua/"..name..".lib.lua", "t", env))();
	end

	function world.run()
		local now = world.timers;
		world.timers = {};
		for _, timer in ipairs(now) do timer[2](); end
	end

	function world.fire(event, data)
		for _, entry in ipairs(world.hooks[event] or {}) do entry[1](data); end
	end

	return world;
end

return lua_world;
