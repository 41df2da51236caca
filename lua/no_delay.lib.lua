-- Two servers set up a stream by small pieces in turn, and TLS puts session tickets between them. Two habits of TCP turn that into waits of 40 ms.
-- The writer keeps a piece back until the piece before is acknowledged (Nagle's algorithm, which Prosody leaves on). The reader puts its
-- acknowledgement off, since an answer may carry it. So what this server writes to another server goes out at once (TCP_NODELAY). While it opens
-- a stream, it also acknowledges at once (TCP_QUICKACK), because the other server may keep pieces back as well. Connections of clients,
-- components and HTTP stay as Prosody makes them.

local hosts = prosody.hosts;

-- A connection whose socket says nothing of itself is left as it is: that is slow, not unsafe.
local function descriptor(conn)
	local sock = type(conn) == "table" and conn.socket and conn:socket();
	local fd = sock and sock.getfd and math.tointeger(sock:getfd()); -- LuaSocket's is a float
	return fd and fd >= 0 and fd or nil;
end

-- While nothing is enforced connections are as Prosody makes them.
local function new_no_delay(native, guard)
	local failed = false;

	local function on_writing(conn)
		if guard.observing == true then return; end
		local fd = descriptor(conn);
		if not fd then return; end
		local ok, err = native.no_delay(fd);
		if not ok and not failed then
			failed = true; -- once is enough
			module:log("warn", "TCP_NODELAY cannot be set on connections of other servers, streams take longer to set up: %s", err);
		end
	end

	-- See above. For streams that core does not have, too.
	local function acknowledge(conn)
		local fd = descriptor(conn);
		if fd then native.quick_ack(fd); end
	end

	-- What they write matters while a stream is being opened, and an event for each piece of what we write, which the acknowledgements have to follow,
	-- would cost every message. So the handler is there only meanwhile.
	local opening, users = setmetatable({}, { __mode = "k" }), {}; -- session -> the events of its host; events -> how many

	local function on_written(event)
		if opening[event.session] then acknowledge(event.session.conn); end
	end

	local function opened(session)
		local events = opening[session];
		if not events then return; end
		opening[session] = nil;
		users[events] = users[events] > 1 and users[events] - 1 or nil;
		if not users[events] then events.remove_handler("s2s-ondrain", on_written); end
	end

	local function on_created(event)
		local session = event.session;
		on_writing(session.conn);
		local host = guard.observing ~= true and session.direction == "outgoing" and hosts[session.host];
		local events = host and host.events;
		if not events or opening[session] then return; end
		if not users[events] then events.add_handler("s2s-ondrain", on_written); end
		opening[session], users[events] = events, (users[events] or 0) + 1;
	end

	local function on_end(event)
		opened(event.session);
	end

	-- Core goes on with the stream after these events, whatever becomes of its speed.
	local function protected(handler)
		return function (event)
			local ok, err = pcall(handler, event);
			if not ok then module:log("error", "Error while setting options of a connection: %s", err); end
		end;
	end

	local function start()
		module:hook_global("s2s-created", protected(on_created));
		module:hook_global("s2sout-established", protected(on_end));
		module:hook_global("s2s-destroyed", protected(on_end));
	end

	-- Whatever has become of the sessions: a handler that stays would keep this module for as long as the host is there.
	local function stop()
		for events in pairs(users) do events.remove_handler("s2s-ondrain", on_written); end
		opening, users = setmetatable({}, { __mode = "k" }), {};
	end

	return { on_writing = on_writing; acknowledge = acknowledge; start = start; stop = stop };
end

return new_no_delay;
