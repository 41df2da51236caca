-- Limits and times: counts what C decides by, closes what C says is due. The rules are in docs/streams.md.

local timer = require "util.timer";
local monotonic = require "util.time".monotonic;
local address_key = module:require "address_key";
local s2smanager = require "core.s2smanager";

local MINUTE = 60;
local SWEEP_MAX = 5; -- seconds between looks at the times of all streams
local LINES_PER_ADDRESS, LINES = 200, 1000; -- refused streams that get a line of their own in a minute

local HEADER = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"
	.." id='' version='1.0'>";
local ERROR = "<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
	.."<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>%s</text></stream:error></stream:stream>";

-- First in, first out; anything in between can be taken out as well.
local function new_line()
	return { first = 1; last = 0; count = 0 };
end

local function line_add(line, node)
	line.last = line.last + 1;
	line.count = line.count + 1;
	line[line.last] = node;
	return line.last;
end

local function line_remove(line, at)
	line[at] = nil;
	line.count = line.count - 1;
end

local function line_oldest(line)
	while line.first <= line.last do
		if line[line.first] then return line[line.first]; end
		line.first = line.first + 1;
	end
end

local function new_limits(guard, native, latch)
	local limits = {};
	-- Connections accepted and not authenticated: conn -> node.
	local nodes, everybody, by_address = {}, new_line(), {};
	local room_total, room_address = native.waiting_room(); -- until a policy says
	local shortest; -- the policy with the least patience: for streams that do not say which host they are for
	local sweep_interval = 1;

	local function leave(conn)
		local node = conn and nodes[conn];
		if not node then return; end
		nodes[conn] = nil;
		line_remove(everybody, node.at);
		local line = by_address[node.key];
		line_remove(line, node.at_address);
		if line.count == 0 then by_address[node.key] = nil; end
		return node;
	end

	local function kill(conn)
		leave(conn);
		latch.kill(conn);
	end

	limits.in_handshake = latch.in_handshake;
	limits.leave = leave;

	--- Refusing without a word in the log, and with few on the wire

	local muted = { count = 0; reasons = {}; addresses = {}; lines = {}; all_lines = 0 };

	-- Whether a refused stream gets a line of its own; if not, it is counted and summed up.
	function limits.may_log(session, reason)
		if session.direction ~= "incoming" or session.type ~= "s2sin_unauthed" then return true; end
		local ip = session.conn and session.conn:ip() or session.ip or "?";
		local lines = muted.lines[ip] or 0;
		if lines < LINES_PER_ADDRESS and muted.all_lines < LINES then
			muted.lines[ip] = lines + 1;
			muted.all_lines = muted.all_lines + 1;
			return true;
		end
		limits.count_muted(ip, reason);
		return false;
	end

	function limits.count_muted(ip, reason)
		muted.count = muted.count + 1;
		muted.reasons[reason] = (muted.reasons[reason] or 0) + 1;
		local addresses = muted.addresses;
		if addresses[ip] or muted.count <= LINES then
			addresses[ip] = (addresses[ip] or 0) + 1;
		end
	end

	local function sum_up()
		if muted.count > 0 then
			local most, at_most, reasons = "?", 0, {};
			for ip, count in pairs(muted.addresses) do
				if count > at_most then most, at_most = ip, count; end
			end
			for reason, count in pairs(muted.reasons) do
				reasons[#reasons+1] = ("%s %d"):format(reason, count);
			end
			table.sort(reasons);
			module:log("info", "%s %d more connections in the last minute: %s; most of them from %s (%d)",
				guard.observing == true and "Would refuse" or "Refused", muted.count,
				table.concat(reasons, ", "), most, at_most);
		end
		muted = { count = 0; reasons = {}; addresses = {}; lines = {}; all_lines = 0 };
	end

	-- Closes an unauthenticated incoming stream. Core would write a line for each.
	function limits.dismiss(session, condition, text)
		local conn = session.conn;
		leave(conn);
		if session.connect_timeout then
			timer.stop(session.connect_timeout);
			session.connect_timeout = nil;
		end
		local handshake = limits.in_handshake(session);
		if not handshake then
			conn:write((session.notopen and HEADER or "")..ERROR:format(condition, text));
		end
		s2smanager.destroy_session(session, text);
		if handshake then kill(conn); else conn:close(); end
	end

	local limit_row = native.reasons["connection-limit"];
	local limit_text = limit_row.peer_text.." (connection-limit)";

	-- Makes room. The oldest goes: it has had the most time, and a newcomer may be a partner.
	local function make_room(line)
		local node = line_oldest(line);
		local ip = node.conn:ip() or "?";
		limits.count_muted(ip, "connection-limit");
		if guard.observing == true then
			-- As if it were gone. One that waits for its first look has come before the mode was read: from here on core's clock is its only one.
			if limits.first_look.is_mute(node.conn) then limits.first_look.hand_over(node.conn); end
			leave(node.conn);
		elseif node.session and not node.session.destroyed then
			limits.dismiss(node.session, limit_row.stream_condition, limit_text);
		elseif limits.first_look.is_mute(node.conn) then
			leave(node.conn);
			limits.first_look.forget(node.conn); -- what it has sent meanwhile is nobody's
			node.conn:write(HEADER..ERROR:format(limit_row.stream_condition, limit_text));
			node.conn:close();
		else
			kill(node.conn);
		end
	end

	local function enter(conn, session)
		local node = nodes[conn];
		if node then -- it was there before its session
			if not session then return; end
			node.session = session;
			native.stream_accepted(session, monotonic() - node.since);
			return;
		end
		local key = address_key(conn:ip());
		node = { conn = conn; session = session; key = key; since = monotonic() };
		local line = by_address[key];
		if not line then
			line = new_line();
			by_address[key] = line;
		end
		nodes[conn] = node;
		node.at = line_add(everybody, node);
		node.at_address = line_add(line, node);
		local crowded = native.waiting_crowded(room_total, room_address, everybody.count, line.count);
		if crowded then make_room(crowded == "address" and line or everybody); end
	end

	limits.enter = enter;

	-- The stream is established: it waits no longer.
	function limits.settled(session)
		leave(session.conn);
	end

	function limits.waiting()
		local addresses = 0;
		for _ in pairs(by_address) do addresses = addresses + 1; end
		return everybody.count, addresses;
	end

	-- Gives nothing back: of an event's handler that would keep all that come behind it from hearing of the event.
	local function guarded(name, action)
		return function (...)
			local ok, err = xpcall(action, debug.traceback, ...);
			if not ok then
				module:log("error", "Error in %s: %s", name, err);
			end
		end;
	end

	local on_connected = guarded("s2s-connected", function (event)
		local session = event.session;
		if session.destroyed then
			-- Given up while core was still connecting.
			if session.conn and guard.observing ~= true then session.conn:close(); end
		elseif session.direction == "incoming" and session.conn then
			enter(session.conn, session);
		end
	end);

	local on_destroyed = guarded("s2s-destroyed", function (event)
		local session = event.session;
		native.place_release(guard, session);
		local conn = session.conn;
		leave(conn);
		if conn and guard.observing ~= true and limits.in_handshake(session) then
			latch.kill_soon(conn);
		end
	end);

	local on_closed = guarded("s2s-closed", function (event)
		if not event.conn then return; end
		leave(event.conn);
		limits.first_look.forget(event.conn);
	end);

	--- Direct TLS: core has no session, and tells nobody, until the handshake is done

	local listeners = {};

	local begin_handshake = guarded("starttls", function (conn)
		if conn.server and conn:server() ~= conn and not module:shared("/*/s2s/sessions")[conn] then
			enter(conn);
			limits.no_delay(conn);
		end
	end);

	local function watch_listener(event)
		local item = event.item;
		local listener = item and (item.name == "s2s" or item.name == "s2s_direct_tls") and item.listener;
		if not listener then return; end
		limits.first_look.watch(listener);
		if listener.onstarttls == nil then
			listener.onstarttls = begin_handshake;
			listeners[listener] = true;
		end
	end

	--- Time

	-- The times of all policies: how often to look, and who has the least patience.
	function limits.configure(policies)
		local least = SWEEP_MAX * 10;
		shortest, room_total, room_address = nil, 0, 0;
		for _, policy in pairs(policies) do
			local values = policy:limits();
			least = math.min(least, values.establishment_timeout, values.inactivity_timeout, values.keepalive_interval);
			if not shortest or values.establishment_timeout < shortest:limits().establishment_timeout then
				shortest = policy;
			end
			local total, address = native.waiting_room(policy);
			room_total, room_address = math.max(room_total, total), math.max(room_address, address);
		end
		if not shortest then room_total, room_address = native.waiting_room(); end
		sweep_interval = math.max(0.5, math.min(SWEEP_MAX, least / 10));
	end

	-- What native.sweep and its like have found: { session, "refuse" or "keepalive", reason, condition, rule, error }.
	local act_on = guarded("closing a stream or keeping it alive", function (session, due, reason, condition, rule, err)
		if err then module:log("error", "Error while looking at a stream, refused: %s", err); end
		if session.destroyed then return; end
		if due == "refuse" then
			local actions = guard.observing == true and guard.would or guard.act;
			actions.close(session, reason, condition, rule);
		elseif due == "keepalive" and guard.observing ~= true then
			limits.keepalive(session);
		end
	end);
	limits.act_on = act_on;

	-- A place that nobody has given back: core has forgotten a stream without a word.
	local function count_anew(streams)
		local before = guard.places;
		guard.places = { total = 0; partners = {} };
		local ok, found = xpcall(native.count_held, debug.traceback, guard, streams);
		if not ok then guard.places = before; error(found, 0); end
		return found;
	end

	local last_summary = monotonic();

	-- A connection that has said nothing gets a session when its time is up, and the session is refused below.
	local function end_silence(now, patience)
		for conn, node in pairs(nodes) do
			if not node.session and now - node.since >= patience and limits.first_look.is_mute(conn) then
				limits.first_look.hand_over(conn);
			end
		end
	end

	local function sweep()
		local patience = shortest and shortest:limits().establishment_timeout or MINUTE;
		-- While nothing is enforced that is at once: the mode may have changed since it connected.
		end_silence(monotonic(), guard.observing == true and 0 or patience);
		local streams = latch.all_streams();
		local found, agree = native.sweep(guard, streams, shortest);
		for _, entry in ipairs(agree and {} or count_anew(streams)) do
			found[#found+1] = entry;
		end
		for _, entry in ipairs(found) do
			act_on(table.unpack(entry, 1, 6));
		end
		local now = monotonic();
		for conn, node in pairs(nodes) do
			if not node.session and native.waiting_due(shortest, now - node.since) and not limits.first_look.is_mute(conn) then
				limits.count_muted(conn:ip() or "?", "establishment-timeout");
				if guard.observing == true then leave(conn); else kill(conn); end
			end
		end
		limits.tick();
		if now - last_summary >= MINUTE then
			last_summary = now;
			sum_up();
		end
	end

	local sweeper;

	function limits.start(saved)
		guard.places = { total = 0; partners = {} };
		local waiting = {};
		for _, node in pairs(saved or {}) do
			waiting[#waiting+1] = node;
		end
		table.sort(waiting, function (a, b) return a.at < b.at; end);
		for _, node in ipairs(waiting) do
			if node.conn.socket and node.conn:socket() then
				enter(node.conn, node.session);
				if nodes[node.conn] then nodes[node.conn].since = node.since; end
			end
		end
		latch.each_stream(function (session)
			if session.type == "s2sin_unauthed" and session.conn and not nodes[session.conn] then
				enter(session.conn, session);
			end
		end);
		module:hook_global("s2s-connected", on_connected);
		module:hook_global("s2s-destroyed", on_destroyed);
		module:hook_global("s2s-closed", on_closed);
		module:handle_items("net-provider", watch_listener, function () end, true);
		local guarded_sweep = guarded("the look at all streams' times", sweep);
		sweeper = module:add_timer(sweep_interval, function ()
			guarded_sweep();
			return sweep_interval;
		end);
	end

	function limits.save()
		return nodes;
	end

	function limits.stop()
		if sweeper then sweeper:stop(); end
		for listener in pairs(listeners) do
			if listener.onstarttls == begin_handshake then listener.onstarttls = nil; end
		end
	end

	return limits;
end

return new_limits;
