-- mod_s2s_partners: who may federate with this server, and how.
--
-- This file is small on purpose. It holds the deny latch and loads everything else under its protection: whatever fails to
-- load, or fails while it starts, leaves every server-to-server stream and every remote route refused.

module:set_global();

local VERSION = "1.0.0"; -- of the Lua files; the shared object says its own

-- Raises an error; a table when it is so plain that no traceback helps.
local function load_native()
	local folder = module.path and module.path:match("^(.*)[/\\][^/\\]*$") or ".";
	local path = folder.."/s2s_partners.so";
	local open, err = package.loadlib(path, "luaopen_s2s_partners");
	if not open then
		error(("the shared object %s cannot be loaded: %s"):format(path, err), 0);
	end
	local native = open();
	-- Each side trusts the other to keep what it checks only itself, so a mixture could let through what either version refuses.
	if native.version ~= VERSION then
		error({ text = ("the Lua files in %s are of version %s and the shared object is of version %s; install one version, all of it, "
			.."and restart the server (a running one keeps the shared object that it has loaded)"):format(folder, VERSION,
			native.version or "unknown") });
	end
	return native;
end

-- A library of core's by either of its names, or nil: the latch below has to stand on whatever Prosody this is.
local function core_library(name)
	for _, full in ipairs({ "prosody."..name, name }) do
		local ok, library = pcall(require, full);
		if ok then return library; end
	end
end

local configmanager = core_library "core.configmanager";

-- Whether the configuration wants nothing to be enforced: that very word, in the global section, and no word of a host's. Anything else is
-- "enforce", also what cannot be read. Asked before anything is loaded, so that it depends on nothing that could fail to be. `config`: a
-- configmanager that has read something else than core's, or nil.
local function observes(config)
	local ok, answer = pcall(function ()
		config = config or configmanager;
		if config.get("*", "s2s_partners_mode") ~= "observe" then return false; end
		for name, section in pairs(config.getconfig()) do
			if name ~= "*" and rawget(section, "s2s_partners_mode") ~= nil then return false; end
		end
		return true;
	end);
	return ok and answer == true;
end

-- prosodyctl mod_s2s_partners: there is no server here to be guarded.
if prosody.process_type == "prosodyctl" then
	function module.command(arg)
		local ok, native = pcall(load_native);
		if not ok then
			io.stderr:write("Error: ", type(native) == "table" and native.text or native, "\n");
			return 1;
		end
		return module:require "offline/commands" (native, observes)(arg);
	end
	return;
end

local hosts = prosody.hosts;

local st = core_library "util.stanza";
local filters = core_library "util.filters" or {};
local timer = core_library "util.timer";
local s2smanager = core_library "core.s2smanager";

--- The deny latch
-- Registered on the events objects themselves, not through module:hook, so that it outlives this module when it is unloaded.
-- It is installed only while it is needed: a guarded server pays nothing for it.

local latch = module:shared("latch");
prosody.s2s_partners_latch = latch; -- shared tables are weak; this one must live as long as the server

local HIGHEST = math.huge;
local DENIED_TEXT = "Federation is not available at the moment (%s)";

local function is_stream(session)
	return session and not session.dummy and type(session.type) == "string" and session.type:sub(1, 3) == "s2s";
end

local FLUSH_TIME = 2; -- seconds a closed connection has for its last bytes while it may be in a TLS handshake

-- Whether TLS has begun and is not up yet. What is written then goes out in clear, behind a <proceed/> that is still to be sent.
-- session.secure alone does not tell: a second header in clear makes core set it. Sessions keep it, see farewell: it uses no global.
local function in_handshake(session)
	local conn = session.conn;
	if not conn then return false; end
	if session.secure == false then return true; end
	if conn.starttls ~= false then return false; end
	local socket = conn.socket and conn:socket();
	return not (socket and socket.info and socket:info("protocol"));
end

-- A connection in the middle of a TLS handshake: nothing but this ends it for sure (seen on 13.0.1; 0.12 waits for its own
-- time-outs).
local function kill(conn)
	if conn.socket and conn:socket() == nil then return; end -- gone already
	if conn.on and conn.destroy then
		conn:on("disconnect", "connection-timeout");
		conn:destroy();
	else
		conn:close();
	end
end

-- Once what has been written before is out.
local function kill_soon(conn)
	if timer then
		timer.add_task(FLUSH_TIME, function () kill(conn); end);
	else
		kill(conn);
	end
end

local function deny_stream(session)
	if not is_stream(session) or session.destroyed then return; end
	if in_handshake(session) and s2smanager then
		-- Nothing that could be said would be protected.
		kill_soon(session.conn);
		s2smanager.destroy_session(session, DENIED_TEXT:format(latch.reason or "internal-error"));
	elseif session.close then
		session:close({ condition = "policy-violation", text = DENIED_TEXT:format(latch.reason or "internal-error") });
	end
end

local function deny_stream_event(event)
	local session = event.origin or event.session;
	if is_stream(session) then
		deny_stream(session);
		return true;
	end
end

local function deny_stream_check(event)
	deny_stream(event.session);
	return false; -- what core takes for a refusal in these events
end

local function deny_route(event)
	local stanza = event.stanza;
	local kind = stanza.attr.type;
	if st and hosts[event.from_host] and (stanza.name == "message" and kind ~= "error"
		or stanza.name == "iq" and (kind == "get" or kind == "set")
		or stanza.name == "presence" and kind == "subscribe") then
		prosody.core_route_stanza(hosts[event.from_host], st.error_reply(stanza, "wait", "internal-server-error",
			"Messages to and from other servers are suspended on this server; tell its administrator"));
	end
	return true;
end

local host_events = {
	["route/remote"] = deny_route;
	["s2s-stream-features"] = deny_stream_event;
	["s2sout-created"] = deny_stream_event;
	["s2sout-authenticate-legacy"] = deny_stream_event;
	["s2s-authenticated"] = deny_stream_check;
	["stanza/urn:ietf:params:xml:ns:xmpp-tls:starttls"] = deny_stream_event;
	["stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth"] = deny_stream_event;
	["stanza/urn:ietf:params:xml:ns:xmpp-sasl:success"] = deny_stream_event;
	["stanza/jabber:server:dialback:result"] = deny_stream_event;
	["stanza/jabber:server:dialback:verify"] = deny_stream_event;
	["stanza/http://etherx.jabber.org/streams:features"] = deny_stream_event;
};
for _, name in ipairs({ "message", "presence", "iq" }) do
	for _, target in ipairs({ "bare", "full", "host" }) do
		host_events[name.."/"..target] = deny_stream_event;
	end
end

local global_events = {
	["s2s-check-certificate"] = deny_stream_check;
	["s2sin-established"] = deny_stream_event;
	["s2sout-established"] = deny_stream_event;
};

local function deny_element(_, session)
	deny_stream(session);
	return nil;
end

local function deny_elements_of(session)
	if is_stream(session) then
		filters.add_filter(session, "stanzas/in", deny_element, 10000);
	end
end

--- Observe mode

local DAY = 86400; -- seconds
local OBSERVING = "OBSERVING: nothing is enforced (s2s_partners_mode = \"observe\"): every stream and stanza passes by Prosody's own rules, and the "
	.."log says what would be refused. To enforce: s2s_partners_mode = \"enforce\", and reload";

local function warn_observing()
	module:log("warn", "%s", OBSERVING);
end

local function install(events, handlers)
	for event, handler in pairs(handlers) do
		events.add_handler(event, handler, HIGHEST);
		table.insert(latch.installed, { events = events, event = event, handler = handler });
	end
end

local function deny_host(host)
	if hosts[host] then
		install(hosts[host].events, host_events);
	end
end

-- Every live stream, connected or not, once. The table of sessions belongs to mod_s2s.
local function all_streams()
	local sessions = module:shared("/*/s2s/sessions");
	local streams, unconnected = {}, {};
	for _, session in pairs(sessions) do
		streams[#streams+1] = session;
	end
	for _, host in pairs(hosts) do
		for _, session in pairs(host.s2sout or {}) do
			if not (session.conn and sessions[session.conn] == session) and not unconnected[session] then
				unconnected[session] = true;
				streams[#streams+1] = session;
			end
		end
	end
	return streams;
end

local function each_stream(visit)
	for _, session in ipairs(all_streams()) do
		visit(session);
	end
end

local function deny_all_streams()
	if not latch.armed then return; end -- it stands aside
	each_stream(function (session)
		local ok, err = pcall(deny_stream, session);
		if not ok then
			module:log("error", "Could not close stream %s: %s", session.id or "?", err);
		end
	end);
end

local function let_go()
	latch.armed = nil;
	for _, entry in ipairs(latch.installed or {}) do
		entry.events.remove_handler(entry.event, entry.handler);
	end
	latch.installed = nil;
	if latch.filter_hook then filters.remove_filter_hook(latch.filter_hook); end
	latch.filter_hook = nil;
end

local function step_back_in()
	if not latch.aside then return; end
	prosody.events.remove_handler("config-reloaded", latch.aside);
	if latch.reminder then timer.stop(latch.reminder); end -- it would keep this module until it is due
	latch.aside, latch.reminder = nil, nil;
end

-- In observe mode the latch denies nothing. It waits for a configuration that says otherwise: there may be no guard that would hear of it.
local function stand_aside(level, text, arm_again)
	module:log(level, "Nothing is judged, and because of the mode \"observe\" nothing is refused either: %s", text);
	if level ~= "debug" then warn_observing(); end
	if latch.armed then let_go(); end
	latch.text = text;
	if latch.aside then return; end
	local function on_reloaded()
		if observes() then
			warn_observing();
			return;
		end
		step_back_in();
		arm_again("internal-error", "error", latch.text);
		deny_all_streams();
	end
	latch.aside = on_reloaded;
	prosody.events.add_handler("config-reloaded", on_reloaded, HIGHEST);
	if timer then
		latch.reminder = timer.add_task(DAY, function ()
			if latch.aside ~= on_reloaded then return; end
			warn_observing();
			return DAY;
		end);
	end
end

local function arm(reason, level, text)
	latch.reason = reason;
	latch.reloading = nil;
	if observes() then return stand_aside(level, text, arm); end
	step_back_in();
	module:log(level, "Federation is refused in both directions: %s", text);
	if latch.armed then return; end
	latch.armed = true;
	latch.installed = {};
	for host in pairs(hosts) do
		deny_host(host);
	end
	install(prosody.events, global_events);
	install(prosody.events, { ["host-activated"] = deny_host });
	if filters.add_filter_hook and filters.remove_filter_hook then
		latch.filter_hook = deny_elements_of;
		filters.add_filter_hook(deny_elements_of);
	end
end

local function disarm()
	step_back_in();
	latch.reloading = nil;
	if not latch.armed then return; end
	let_go();
	module:log("info", "mod_s2s_partners guards again");
end

-- A reload ends at once, one way or the other, but for one: core cannot load what it has just unloaded.
local function watch_reload()
	latch.reloading = true;
	if not timer then return; end
	timer.add_task(0, function ()
		if not latch.reloading then return; end
		arm("internal-error", "error", "mod_s2s_partners was unloaded for a reload and could not be loaded again; when the errors above "
			.."are corrected: module:load(\"s2s_partners\") in the shell, or restart the server");
		deny_all_streams();
	end);
end

--- Loading

local guard;

-- Core compiles a library anew for each file that asks for it, and each copy is kept: of some there would be twenty. Prosody's collector goes through
-- all code every few hundred messages, so that each costs more. No library keeps anything of its own outside what it returns a maker of.
local function load_libraries_once()
	local libraries, load = {}, module.require;
	rawset(module, "require", function (self, name)
		if libraries[name] == nil then libraries[name] = load(self, name); end
		return libraries[name];
	end);
end

local function start()
	local native = load_native();
	load_libraries_once();
	local lacking = module:require "needs".of_core(prosody, module, core_library);
	if lacking then error({ text = lacking }); end
	local new_guard = module:require "guard";
	guard = new_guard(native, { each_stream = each_stream; all_streams = all_streams;
		in_handshake = in_handshake; kill = kill; kill_soon = kill_soon;
		observes = observes; warn_observing = warn_observing });
	guard.start(module.saved_state);
end

-- What it has hooked outside core's own book-keeping goes, whatever state it is in.
local function stop_guard()
	if not guard then return; end
	local ok, err = pcall(guard.stop);
	if not ok then
		module:log("error", "Could not take the guard down: %s", err);
	end
	guard = nil;
end

function module.save()
	return guard and guard.save() or {};
end

function module.unload()
	-- First of all: nothing that fails below may keep the latch open.
	if module.reloading then
		arm("internal-error", "debug", "mod_s2s_partners is being reloaded");
		watch_reload();
	else
		arm("internal-error", "error", "mod_s2s_partners has been unloaded while the server runs; to load it "
			.."again: module:load(\"s2s_partners\") in the shell, or restart the server");
	end
	stop_guard();
	if not module.reloading then
		deny_all_streams();
	end
end

local ok, err = xpcall(start, debug.traceback);
if ok then
	module:log("info", "Version %s", VERSION);
	disarm();
else
	stop_guard();
	if type(err) == "table" then
		arm("internal-error", "error", "mod_s2s_partners could not start: "..err.text);
	else
		arm("internal-error", "error", ("mod_s2s_partners could not start: %s; when it is corrected: module:reload(\"s2s_partners\") in the "
			.."shell, or restart the server"):format(err));
	end
	deny_all_streams();
end
