-- The console as ad-hoc commands (XEP-0050), for administrators of the server who work from a client. Forms and sessions are those of Prosody's
-- own API; what is asked and answered is the console's.

local dataforms = require "util.dataforms".new;
local new_simple_form = require "util.adhoc".new_simple_form;
local async = require "util.async";
local is_promise = require "util.promise".is_promise;

local NODE = "urn:x-s2s-partners:";
local TEXT_MAX = 100000;

local function question_form(name, title, instructions, fields)
	table.insert(fields, 1, { name = "FORM_TYPE"; type = "hidden"; value = NODE..name });
	fields.title, fields.instructions = title, instructions;
	return dataforms(fields);
end

local explain_form = question_form("explain", "Explain a federation decision", "One address has to be of this server, the other of another.", {
	{ name = "from"; type = "text-single"; label = "From (user@domain or domain)"; required = true };
	{ name = "to"; type = "text-single"; label = "To (user@domain or domain)"; required = true };
	{ name = "kind"; type = "list-single"; label = "Kind"; options = {
		{ value = "message"; default = true }; "stream"; "groupchat"; "presence"; "subscribe"; "probe"; "iq-get"; "iq-set"; "iq-result"; "iq-error";
	} };
});
local show_form = question_form("show", "Show a federation partner", "Any domain of the partner.", {
	{ name = "domain"; type = "text-single"; label = "Domain of the partner"; required = true };
});
local test_form = question_form("test", "Test the way to a federation partner",
	"Opens a real stream and pings. It may take as long as a stream may take to be established; this session waits for it.", {
	{ name = "local"; type = "text-single"; label = "Host of this server"; required = true };
	{ name = "remote"; type = "text-single"; label = "Domain of the partner"; required = true };
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

-- What a command of the console prints, and its last line. One that takes its time is waited for: the answer to the request comes then.
local function run_command(command, ...)
	local arguments = table.pack(...);
	return collect(function (print)
		local ok, text = command.handler({ session = { print = print } }, table.unpack(arguments, 1, arguments.n));
		if is_promise(ok) then
			if not async.ready() then return nil, "this takes too long for an ad-hoc command here; use prosodyctl shell"; end
			ok, text = async.wait_for(ok);
			print("");
			if ok then print(tostring(ok)); else print("Error: "..tostring(text)); end
			return true;
		end
		return ok, text;
	end);
end

local function init(console)
	local commands = console.commands;

	-- A command without a question.
	local function plain(title, name)
		return function ()
			return completed(title, run_command(commands[name]));
		end;
	end

	-- One that asks first. `keys`: the fields that are its arguments, all of them needed.
	local function asking(title, form, keys, run)
		return new_simple_form(form, function (fields, faults)
			local values = {};
			for i, key in ipairs(keys) do
				if faults and faults[key] or not fields[key] then
					return completed("", false, ("The field %s is needed%s"):format(key, faults and faults[key] and ": "..tostring(faults[key]) or ""));
				end
				values[i] = fields[key];
			end
			return completed(title, run(fields, table.unpack(values)));
		end);
	end

	local explain = asking("Federation decision", explain_form, { "from"; "to" }, function (fields, from, to)
		return collect(function (print) return console.explain(print, from, to, fields.kind); end);
	end);
	local show = asking("Federation partner", show_form, { "domain" }, function (_, domain) return run_command(commands.show, domain); end);
	local test = asking("Way to a federation partner", test_form, { "local"; "remote" }, function (_, host, remote)
		return run_command(commands.test, host, remote);
	end);

	-- The commands show what holds for the whole server: for its administrators only. mod_adhoc asks for the permission.
	local adhoc_new = module:require "adhoc".new;
	local items = {
		adhoc_new("List federation partners", NODE.."list", plain("Federation partners", "list"), "global_admin");
		adhoc_new("Show a federation partner", NODE.."show", show, "global_admin");
		adhoc_new("Check the configuration of federation", NODE.."check", plain("Configuration of federation", "check"), "global_admin");
		adhoc_new("Test the way to a federation partner", NODE.."test", test, "global_admin");
		adhoc_new("List streams with federation partners", NODE.."streams", plain("Streams with partners", "streams"), "global_admin");
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
