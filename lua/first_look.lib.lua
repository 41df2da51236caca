-- A connection that another server has opened has no session before its first bytes are there. Where these are a plain header from a domain that is
-- not listed, it is refused at once: core's session, its parser and its way of closing would be nine tenths of what a stranger costs.
-- Everything else goes to core as it came, which then makes the session and reads the header: no more is decided here than that refusal.
-- What waits for its first bytes has a place among those that wait, and its time, as every other stream.

local new_id = require "util.id".short;

local hosts = prosody.hosts;

local REFUSAL = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
	.." from='%s' to='%s' id='%s' version='1.0'>"
	.."<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
	.."<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>%s</text></stream:error></stream:stream>";

local function new_first_look(guard, native, limits, report)
	local first_look = {};
	local mute = setmetatable({}, { __mode = "k" }); -- connection that has said nothing -> what core does about a new one
	local listeners = {}; -- listener -> { core's functions, ours }
	local stopped = false;

	local function is_incoming(conn)
		return conn.server and conn:server() ~= conn;
	end

	-- Whether that was all: the connection is refused.
	local function refuse_stranger(conn, data)
		if guard.observing == true then return false; end
		local remote, host, reason, condition, rule = native.first_look(guard, data);
		local here = remote and hosts[host];
		-- What core itself says no to is core's.
		if not here or not here.modules.s2s or hosts[remote] then return false; end
		local seen = { conn = conn; direction = "incoming"; type = "s2sin_unauthed"; from_host = remote; to_host = host; ip = conn:ip() };
		limits.leave(conn);
		report.stream_refused(seen, reason, rule, not limits.may_log(seen, reason));
		-- Both names are letters, digits, hyphens and dots; our own texts are what XML takes as it is.
		conn:write(REFUSAL:format(host, remote, new_id(), condition, ("%s (%s)"):format(native.reasons[reason].peer_text, reason)));
		conn:close();
		return true;
	end

	-- Core makes the session. Where it cannot, the connection has none, and goes with its time.
	local function hand_over(conn)
		local on_connect = mute[conn];
		mute[conn] = nil;
		if not on_connect or conn.socket and conn:socket() == nil then return; end -- nil: closed meanwhile
		local ok, err = xpcall(on_connect, debug.traceback, conn);
		if not ok then module:log("error", "Error while core took a connection: %s", err); end
	end

	local function is_refused(conn, data)
		local ok, refused = xpcall(refuse_stranger, debug.traceback, conn, data);
		if not ok then
			module:log("error", "Error at the first look at a connection, which is read by core instead: %s", refused);
		end
		return ok and refused;
	end

	local function watch(listener)
		if listeners[listener] or type(listener.onconnect) ~= "function" or type(listener.onincoming) ~= "function" then return; end
		local on_connect, on_incoming = listener.onconnect, listener.onincoming;
		local ours = { on_connect = on_connect; on_incoming = on_incoming };

		function ours.onconnect(conn)
			-- While nothing is enforced core has it, and its own clock runs, from the start.
			if stopped or guard.observing == true or not is_incoming(conn) or module:shared("/*/s2s/sessions")[conn] then return on_connect(conn); end
			mute[conn] = on_connect;
			local ok, err = xpcall(limits.enter, debug.traceback, conn);
			if ok then return; end
			-- What has no place has no time either.
			module:log("error", "Error while a connection took its place: %s", err);
			hand_over(conn);
		end

		function ours.onincoming(conn, data, ...)
			if mute[conn] then
				if not stopped and is_refused(conn, data) then
					mute[conn] = nil;
					return;
				end
				hand_over(conn);
			end
			return on_incoming(conn, data, ...);
		end

		listener.onconnect, listener.onincoming = ours.onconnect, ours.onincoming;
		listeners[listener] = ours;
	end

	function first_look.is_mute(conn)
		return mute[conn] ~= nil;
	end

	function first_look.forget(conn)
		mute[conn] = nil;
	end

	-- Its time is up: it gets a session, and with that is told so as every other stream.
	first_look.hand_over = hand_over;

	-- Before the module is unloaded, while its handlers are still there: each connection that has said nothing becomes a stream like any other.
	function first_look.hand_over_all()
		for conn in pairs(mute) do hand_over(conn); end
	end

	first_look.watch = watch;

	function first_look.stop()
		stopped = true;
		for listener, ours in pairs(listeners) do
			if listener.onconnect == ours.onconnect then listener.onconnect = ours.on_connect; end
			if listener.onincoming == ours.onincoming then listener.onincoming = ours.on_incoming; end
		end
		first_look.hand_over_all();
	end

	return first_look;
end

return new_first_look;
