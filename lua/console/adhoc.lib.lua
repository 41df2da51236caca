-- partners:list and partners:explain as ad-hoc commands (XEP-0050), for administrators of the server who work from a client.

local dataforms = require "util.dataforms".new;

local NODE = "urn:x-s2s-partners:";
local TEXT_MAX = 100000;

local explain_form = dataforms({
	title = "Explain a federation decision";
	instructions = "One address has to be of this server, the other of another.";
	{ name = "FORM_TYPE"; type = "hidden"; value = NODE.."explain" };
	{ name = "from"; type = "text-single"; label = "From (user@domain or domain)"; required = true };
	{ name = "to"; type = "text-single"; label = "To (user@domain or domain)"; required = true };
	{ name = "kind"; type = "list-single"; label = "Kind"; options = {
		{ value = "message"; default = true }; "stream"; "groupchat"; "presence"; "subscribe"; "probe"; "iq-get"; "iq-set"; "iq-result"; "iq-error";
	} };
});

local function result_form(title)
	return dataforms({
		title = title;
		{ name = "FORM_TYPE"; type = "hidden"; value = NODE.."result" };
		{ name = "text"; type = "text-multi"; label = "Result" };
	});
end

local function collect(run)
	local lines, size, cut = {}, 0, false;
	local function print(line)
		if size > TEXT_MAX then
			cut = true;
			return;
		end
		lines[#lines + 1] = line;
		size = size + #line + 1;
	end
	local ok, problem = run(print);
	if cut then lines[#lines + 1] = "(cut: prosodyctl shell has the rest)"; end
	return ok, ok and table.concat(lines, "\n") or problem;
end

local function completed(title, ok, text)
	if not ok then
		return { status = "completed"; error = { message = text } };
	end
	return { status = "completed"; result = { layout = result_form(title); values = { text = text } } };
end

local function init(console)
	local function list()
		return completed("Federation partners", collect(function (print)
			return console.commands.list.handler({ session = { print = print } });
		end));
	end

	local function explain(_, data, state)
		if data.action == "cancel" then
			return { status = "canceled" };
		elseif not state then
			return { status = "executing"; actions = { "complete"; default = "complete" }; form = explain_form }, "asked";
		end
		local fields, faults = explain_form:data(data.form or require "util.stanza".stanza("x"));
		if faults or not fields.from or not fields.to then
			return completed("", false, "Both addresses are needed");
		end
		return completed("Federation decision", collect(function (print)
			return console.explain(print, fields.from, fields.to, fields.kind);
		end));
	end

	-- The commands show what holds for the whole server: for its administrators only. mod_adhoc asks for the permission.
	local adhoc_new = module:require "adhoc".new;
	local items = {
		adhoc_new("List federation partners", NODE.."list", list, "global_admin");
		adhoc_new("Explain a federation decision", NODE.."explain", explain, "global_admin");
	};

	-- A global module has no items on a host; mod_adhoc, which is there or comes later, is told by its own events.
	local function tell(host, event)
		for _, item in ipairs(items) do
			prosody.hosts[host].events.fire_event(event, { source = module; item = item });
		end
	end

	local offered = {};
	local function offer(host)
		local session = prosody.hosts[host];
		if not session or offered[host] == session or session.type ~= "local" then return; end
		offered[host] = session;
		local context = module:context(host);
		if module.default_permission then -- Prosody 13
			for _, item in ipairs(items) do
				context:default_permission("prosody:operator", "adhoc:"..item.node);
			end
		end
		tell(host, "item-added/adhoc");
		context:hook("module-loaded", function (event)
			if event.module == "adhoc" then tell(host, "item-added/adhoc"); end
		end);
	end
	for host in pairs(prosody.hosts) do offer(host); end
	module:hook_global("host-activated", offer);
	module:hook_global("host-deactivated", function (host) offered[host] = nil; end);

	return function ()
		for host, session in pairs(offered) do
			if prosody.hosts[host] == session then tell(host, "item-removed/adhoc"); end
		end
	end;
end

return init;
