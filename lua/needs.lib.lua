-- What this module needs of Prosody that no interface promises: a Prosody that lacks any of it is not one that it can guard, and
-- is told so at the start, not when the first stream comes. docs/host-adapters.md says of each what it is for; the docs ring
-- compares. What only the console uses is not here: there an error refuses nobody.

local TESTED = "0.12.3, 13.0.1 and 13.0.6";

local functions = {
	["core.certmanager"] = { "create_context"; "find_host_cert" };
	["core.configmanager"] = { "get"; "getconfig"; "rawget" };
	["core.portmanager"] = { "get_active_services" };
	["core.rostermanager"] = { "is_contact_subscribed"; "load_roster"; "roster_push"; "set_contact_pending_in"; "subscribed" };
	["core.s2smanager"] = { "destroy_session" };
	["core.usermanager"] = { "user_exists" };
	["lfs"] = { "attributes"; "dir"; "symlinkattributes" };
	["util.async"] = { "runner"; "waiter" };
	["util.cache"] = { "new" };
	["util.encodings"] = { "idna.to_unicode"; "stringprep.nameprep"; "stringprep.nodeprep" };
	["util.error"] = { "new" };
	["util.filters"] = { "add_filter"; "add_filter_hook"; "remove_filter"; "remove_filter_hook" };
	["util.hashes"] = { "sha1" };
	["util.id"] = { "medium"; "short" };
	["util.jid"] = { "bare"; "host"; "join"; "node"; "prep"; "split" };
	["util.net"] = { "pton" };
	["util.paths"] = { "resolve_relative_path" };
	["util.stanza"] = { "error_reply"; "iq"; "is_stanza"; "presence"; "stanza" };
	["util.time"] = { "monotonic"; "now" };
	["util.timer"] = { "add_task"; "stop" };
	["util.xml"] = { "parse" };
};

-- Of tables that core hands out: what is called must be a function, the rest tables.
local objects = {
	prosody = { tables = { "bare_sessions"; "events"; "full_sessions"; "hosts"; "paths" }; functions = { "core_route_stanza" } };
	["prosody.events"] = { functions = { "add_handler"; "fire_event"; "remove_handler" } };
	module = { tables = { "event_handlers" };
		functions = { "add_item"; "add_timer"; "context"; "get_option"; "get_option_boolean"; "handle_items"; "hook"; "hook_global"; "metric"; "send";
			"send_iq"; "shared"; "unhook"; "wrap_event" } };
	-- Of a stream, when it is made:
	session = { functions = { "close"; "data"; "filter"; "open_stream"; "reset_stream"; "sends2s" };
		strings = { "direction"; "type" }; tables = { "conn"; "stream"; "thread" } };
	["session.conn"] = { functions = { "close"; "ip"; "socket"; "write" } };
	["session.stream"] = { functions = { "feed" } };
	["session.thread"] = { functions = { "run" } };
};

local kinds = { tables = { table = true; userdata = true }; functions = { ["function"] = true }; strings = { string = true } };

local function at(value, path)
	for key in path:gmatch("[^.]+") do
		if type(value) ~= "table" and type(value) ~= "userdata" then return nil; end
		value = value[key];
	end
	return value;
end

local function lacks_of_object(lacks, name, object)
	for kind, keys in pairs(objects[name]) do
		for _, key in ipairs(keys) do
			if not kinds[kind][type(at(object, key))] then lacks[#lacks + 1] = name.."."..key; end
		end
	end
end

local function complaint(lacks, version)
	if #lacks == 0 then return nil; end
	table.sort(lacks);
	return ("this Prosody (%s) has no %s, which mod_s2s_partners needs; it was tested with Prosody %s: look for a version of it that "
		.."knows this Prosody"):format(version or "of no known version", table.concat(lacks, ", "), TESTED);
end

local needs = { functions = functions; objects = objects };

-- nil, or a text that names all that is missing. `find(name)` gives a library, or nil.
function needs.of_core(core, api, find)
	local lacks = {};
	for name, keys in pairs(functions) do
		local library = find(name);
		if not library then
			lacks[#lacks + 1] = name;
		else
			for _, key in ipairs(keys) do
				if type(at(library, key)) ~= "function" then lacks[#lacks + 1] = name.."."..key; end
			end
		end
	end
	lacks_of_object(lacks, "prosody", core);
	if core.events then lacks_of_object(lacks, "prosody.events", core.events); end
	lacks_of_object(lacks, "module", api);
	return complaint(lacks, core.version);
end

-- The same of the first stream.
function needs.of_stream(session, version)
	local lacks = {};
	lacks_of_object(lacks, "session", session);
	for _, part in ipairs({ "conn"; "stream"; "thread" }) do
		if session[part] then lacks_of_object(lacks, "session."..part, session[part]); end
	end
	return complaint(lacks, version);
end

return needs;
