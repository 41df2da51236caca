-- So many live streams (bench_streams), each with a domain of its own and none with a connection. They have been through the events
-- of real ones without TLS that dialback has authenticated.

module:set_global();

local s2smanager = require "core.s2smanager";
local st = require "util.stanza";

local wanted = module:get_option_number("bench_streams", 0);
local host = module:get_option_string("bench_host");
local sessions = module:shared("/*/s2s/sessions");

local function nothing() end
local function socket() return {}; end

local function open_stream(number)
	local conn = { ip = function () return "127.0.0.1"; end; port = nothing; serverport = nothing; close = nothing; write = nothing; socket = socket };
	local session = s2smanager.new_incoming(conn);
	sessions[conn] = session;
	session.sends2s, session.open_stream = nothing, nothing;
	session.stream = { set_stanza_size_limit = nothing; feed = nothing };
	session.data, session.filter, session.reset_stream, session.thread = nothing, nothing, nothing, { run = nothing };
	function session.close(_, reason)
		module:log("error", "Stream %d was closed: %s", number, reason and reason.text);
		sessions[conn] = nil;
		s2smanager.destroy_session(session);
	end
	prosody.events.fire_event("s2s-created", { session = session });
	session.from_host, session.to_host, session.version = ("xmpp-%07d.department.example"):format(number), host, 1;
	local events = prosody.hosts[host].events;
	events.fire_event("s2s-stream-features", { origin = session; features = st.stanza("stream:features") });
	events.fire_event("s2s-authenticated", { session = session; host = session.from_host; mechanism = "dialback" });
end

local function live()
	local count = 0;
	for _, session in pairs(sessions) do
		if session.type == "s2sin" then count = count + 1; end
	end
	return count;
end

module:hook("server-started", function ()
	for number = 1, wanted do open_stream(number); end
	module:log("info", "%d live streams", live());
end, -1000);
