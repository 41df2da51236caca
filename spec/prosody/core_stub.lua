-- A pretended core for what runs the shared object without a server: handlers are hooked and fired as util.events does it, and
-- there is a guard with what the shared object asks Lua for.

local stub = {};

local function sorted_insert(list, entry)
	local at = #list + 1;
	while at > 1 and list[at - 1].priority < entry.priority do at = at - 1; end
	table.insert(list, at, entry);
end

-- `action(name)` gives the function for an action of the guard's.
function stub.new(host, action)
	local core = { hooks = {}; context = {} };

	function core.context:hook(event, handler, priority)
		local hooks = core.hooks;
		hooks[event] = hooks[event] or {};
		sorted_insert(hooks[event], { handler = handler, priority = priority });
	end

	-- The first answer ends it, an error too. True when core's own handler would have its turn.
	function core.fire(event, data)
		for _, entry in ipairs(core.hooks[event] or {}) do
			local answer = entry.handler(data);
			if answer ~= nil then return false; end
		end
		return true;
	end

	core.guard = {
		act = setmetatable({}, { __index = function (_, name) return action(name); end });
		policies = {}; trust = { anchors = {}; hosts = {}; own = {} };
		hosts = { [host] = { type = "local"; s2sout = {} } };
		bare_sessions = {}; full_sessions = {}; places = { total = 0; partners = {} }; questions = {}; keepalives = {}; counters = {};
		answers = setmetatable({}, { __mode = "k" }); notes = setmetatable({}, { __mode = "k" });
		roles_scanned = true;
		read_features = function () return false, false, false, true; end;
		key_is_ours = function () return true; end;
		facts = {
			access = function () return "allowed"; end; account = function () return "exists"; end;
			listed = function () return "no"; end; directed = function () return "no"; end;
			requested = function () return "no"; end; standing = function () return "none"; end;
		};
	};
	return core;
end

return stub;
