-- The inner side's own S2S endpoint: streams of pairs (a partner's domain, a relay host), in which we speak for the partner. Core's endpoint cannot
-- have them: prosody.hosts has one meaning for a domain, and here it is the other way round. Whether a stream may be, by which method, and
-- for how long is decided by the guard's own C handlers, on a border of their own, whose partners are the relay hosts.

local new_events = require "util.events".new;
local new_xmpp_stream = require "util.xmppstream".new;
local async = require "util.async";
local st = require "util.stanza";
local jid = require "util.jid";
local nameprep = require "util.encodings".stringprep.nameprep;
local random_id = require "util.uuid".generate;
local short_id = require "util.id".short;
local timer = require "util.timer";
local monotonic = require "util.time".monotonic;

local function first_of(...)
	for i = 1, select("#", ...) do
		local ok, library = pcall(require, (select(i, ...)));
		if ok then return library; end
	end
end

local connect = first_of("prosody.net.connect", "net.connect").connect;
local basic = first_of("prosody.net.resolvers.basic", "net.resolvers.basic");
local server = first_of("prosody.net.server", "net.server");
local holds = server.get_backend() == "epoll"; -- which says so before it writes

local hosts = prosody.hosts;
local match = string.match;

local STANZA_MAX, ELEMENTS_MAX = 512 * 1024, 25000; -- bytes, as core has it; elements in a stanza
local EARLY_STANZA_MAX, EARLY_ELEMENTS_MAX = 10000, 200; -- the same, before anybody has authenticated
local READ_SIZE = 8192; -- bytes at a time
local JUDGED = 1000; -- the priority at which stanzas are judged
local PING = "s2s-inside-"; -- what ids of our pings begin with
local STRANGERS_MAX = 200; -- streams in the names of domains that are nobody's: to refuse a stanza there takes four
-- Streams of a relay host in the names of domains that no entry names, but a wildcard or the default covers; those by one wildcard, or the default.
local COVERED_MAX, ENTRY_MAX = 2000, 1000;
local ORPHANS_MAX = 100; -- streams to ask about a key whose stream has ended
local LINE_EVERY = 10; -- seconds between two lines about what cannot be
local USED_EVERY = 0.5; -- seconds: less than the shortest inactivity_timeout, which is one
local HELD_MAX = 64 * 1024; -- bytes of stanzas, see endpoint.send
local OPENING_MAX = 20; -- seconds until an outgoing stream has to be established

local xmlns_errors = "urn:ietf:params:xml:ns:xmpp-streams";

-- `with`: native, border, latch (see mod_s2s_partners), no_delay, act (functions of the guard's border), deliver(session, stanza): of an established
-- stream, opened(session), ended(session, why, unanswered), listing(relay host, domain): "named", "covered" and by which partner, or "unlisted".
-- Filled in by others: handshake.
local function new_endpoint(with)
	local native, border, no_delay = with.native, with.border, with.no_delay;
	local endpoint = {};
	local sessions = {}; -- connection -> session
	local live = {}; -- session -> true, connected or not
	local newcomers = module:require "inside/newcomers" ();
	local unwritten = module:require "inside/unwritten" ();
	local globals = new_events();
	local known = {}; -- domain we speak as -> { events, count of its sessions }
	local current = false; -- what inner_settings.compile gave
	local counts, last_line = {}, -LINE_EVERY; -- counts: see bounds_for
	local orphans = 0; -- see leave_alone
	local requests = {}; -- id -> { relay, answered }: see endpoint.request
	local filter;

	-- What installs handlers through "module:hook" gets our events instead: those of the handshake. Those of stanzas, "message/bare" and the like, are
	-- the outer side's alone, and would double what a domain costs; but for the one before them all, which takes answers to pings.
	local function context_of(events)
		return { hook = function (_, event, handler, priority)
			if not event:find("^%l+/%l+$") or (priority or 0) > JUDGED then events.add_handler(event, handler, priority); end
		end };
	end

	--- The domains that we speak as: known as long as they have streams

	local function know(session, domain)
		local entry = known[domain];
		if not entry then
			entry = { events = new_events(); count = 0 };
			border.policies[domain] = current and current.policy or nil;
			native.install_host(border, context_of(entry.events), domain);
			with.handshake.install(entry.events);
			known[domain] = entry;
		end
		entry.count = entry.count + 1;
		session.known = domain;
	end

	-- What a stream of that pair counts for: name -> bound. The inside can make up any number of domains, and so can strangers outside where they
	-- are covered; what is in the list has its bound there.
	local function bounds_for(ours, relay)
		local listing, partner = with.listing(relay, ours);
		if listing == "named" then return {}; end
		if listing == "covered" then return { [relay] = COVERED_MAX; [relay.." "..partner] = ENTRY_MAX }; end
		return { [""] = STRANGERS_MAX };
	end

	-- Whether there is room for one more stream of that pair. One that has not proven anything is a newcomer, and is bounded as that; if it were
	-- counted here, somebody who cannot prove anything could take the places of the relay host's server.
	local function claim(session, ours, relay)
		if session.counted then return true; end
		session.counted = bounds_for(ours, relay);
		local room = true;
		for name, bound in pairs(session.counted) do
			counts[name] = (counts[name] or 0) + 1;
			if counts[name] > bound then room = false; end
		end
		return room;
	end

	local function let_go(session)
		for name in pairs(session.counted or {}) do
			counts[name] = counts[name] > 1 and counts[name] - 1 or nil;
		end
		session.counted = {};
		local domain = session.known;
		local entry = domain and known[domain];
		session.known = nil;
		if not entry then return; end
		entry.count = entry.count - 1;
		if entry.count > 0 then return; end
		known[domain], border.policies[domain], border.questions[domain] = nil, nil, nil;
		-- What was counted for it is nobody's metric: the outer side counts each stanza.
		border.counters = {};
	end

	-- The domain that we speak as, and the relay host.
	function endpoint.pair(session)
		if session.direction == "incoming" then return session.to_host, session.from_host; end
		return session.from_host, session.to_host;
	end

	function endpoint.fire(domain, event, data)
		local entry = known[domain];
		if not entry then return false; end
		return entry.events.fire_event(event, data);
	end

	function endpoint.fire_global(event, data)
		return globals.fire_event(event, data);
	end

	-- Where a relay host's server is now and by which certificate we are known there, nil where there is none.
	local function place_of(relay)
		local host = current and current.hosts[relay];
		return host and ("%s:%d %s"):format(host.server_host, host.server_port, host.tls and host.tls.certificate or "");
	end

	function endpoint.context(relay, mode)
		local host = current and current.hosts[relay];
		return host and host.tls and host.tls[mode];
	end

	--- Sessions

	-- What endpoint.send has held back goes into the connection's own buffer, before anything else does. writing: it is about to be written.
	local function flush(session, writing)
		local held, count = session.held, session.held_count;
		session.held_count, session.held_bytes = nil, nil;
		if not count or count == 0 then return; end
		if writing then
			-- Each is no more than one entry in the buffer then; put together they would be there twice.
			for i = 1, count do
				if not session.destroyed then session.conn:write(held[i]); end -- its buffer may be full
			end
		else
			session.conn:write(table.concat(held, "", 1, count));
		end
		for i = count, 1, -1 do held[i] = nil; end
	end

	-- The stream over which somebody is asked about the key of one that has ended. It goes on, since it may tell why nobody is reached; but the
	-- bound on newcomers holds these no more.
	local function leave_alone(asking)
		if orphans < ORPHANS_MAX then
			asking.orphan, orphans = true, orphans + 1;
			return;
		end
		asking.asks_about = nil;
		asking:close(nil, "the stream that has shown the key is gone");
	end

	local function destroy(session, why)
		if session.destroyed then return; end
		session.destroyed, session.type = true, "s2s_destroyed";
		newcomers.remove(session);
		unwritten.clear(session);
		native.place_release(border, session);
		live[session] = nil;
		if session.opening then timer.stop(session.opening); end
		local question = session.asks_about;
		session.asks_about = nil;
		if session.conn then sessions[session.conn] = nil; end
		function session.sends2s() return false; end
		if session.watcher then session.watcher.ended(session, why or "the stream has ended");
		else with.ended(session, why or "the stream has ended", question ~= nil); end
		if question and not question.session.destroyed then question.session:close("remote-connection-failed"); end
		let_go(session);
		if session.orphan then orphans = orphans - 1; end
		if session.asking and not session.asking.destroyed then leave_alone(session.asking); end
	end

	local function header(session)
		local ours, theirs = endpoint.pair(session);
		local known_pair = session.known ~= nil;
		return "<?xml version='1.0'?>"..st.stanza("stream:stream", { xmlns = "jabber:server"; ["xmlns:stream"] = "http://etherx.jabber.org/streams";
			["xmlns:db"] = "jabber:server:dialback"; version = "1.0"; ["xml:lang"] = "en"; id = session.direction == "incoming" and session.streamid or nil;
			from = known_pair and ours or nil; to = known_pair and theirs or nil }):top_tag();
	end

	local function in_handshake(session)
		if not session.tls_pending then return false; end
		local socket = session.conn and session.conn:socket();
		return not (socket and socket.info and socket:info("protocol"));
	end

	-- reason: a stream error, as core's sessions take it: a condition or { condition, text }; nil: none. why: for the log and for what waits.
	local function close(session, reason, why)
		if session.destroyed then return; end
		local conn = session.conn;
		local condition = type(reason) == "table" and reason.condition or reason;
		local text = type(reason) == "table" and reason.text or nil;
		why = why or text or condition or "closed";
		if not conn then return destroy(session, why); end
		if in_handshake(session) then
			-- Nothing that could be said would be protected.
			destroy(session, why);
			with.latch.kill(conn);
			return;
		end
		local words = "";
		if session.notopen and not session.header_sent then
			session.streamid = session.streamid or random_id();
			words = header(session);
		end
		if condition then
			local stanza = st.stanza("stream:error"):tag(condition, { xmlns = xmlns_errors }):up();
			if text then stanza:text_tag("text", text, { xmlns = xmlns_errors }); end
			words = words..tostring(stanza);
		end
		session.sends2s(words.."</stream:stream>");
		destroy(session, why);
		conn:close();
	end

	-- Anything that goes wrong ends the stream.
	local function failed(session, err)
		module:log("error", "Error on an inner stream, closed: %s", err);
		close(session, "internal-server-error");
	end

	local stream_callbacks = { default_ns = "jabber:server" };
	local step = {};

	local function new_session(direction)
		local session = { type = direction == "incoming" and "s2sin_unauthed" or "s2sout_unauthed"; direction = direction; hosts = {}; notopen = true;
			version = 1; id = "inside"..short_id(); inner = true; close = close; held = {} };
		function session.log(level, ...) module:log(level, ...); end
		live[session] = true;
		return session;
	end

	local function attach(session, conn)
		session.conn, session.ip = conn, conn:ip();
		sessions[conn] = session;
		no_delay.on_writing(conn);
		local stream = new_xmpp_stream(session, stream_callbacks, EARLY_STANZA_MAX);
		stream:set_stanza_size_limit(EARLY_STANZA_MAX, EARLY_ELEMENTS_MAX); -- 13.0.1 has no bound on elements
		session.stream = stream;
		function session.open_stream(self)
			self.header_sent = true;
			self.sends2s(header(self));
		end
		function session.reset_stream()
			session.notopen, session.header_sent = true, nil;
			stream:reset();
		end
		function session.sends2s(what)
			if session.held_count then flush(session); end
			local text = tostring(what);
			unwritten.add(session, #text);
			return conn:write(text);
		end
		session.send = session.sends2s;
		function session.data(data)
			local ok, err = stream:feed(data);
			if ok or session.destroyed then return; end
			close(session, err == "stanza-too-large" and "policy-violation" or "not-well-formed");
		end
		session.thread = async.runner(function (item)
			if session.destroyed then return; end
			if st.is_stanza(item) then return step.element(session, item); end
			return step[item.step](session, item.attr);
		end, {
			ready = function () if session.conn and not session.destroyed then conn:resume(); end end;
			waiting = function () if session.conn then conn:pause(); end end;
			error = function (_, err) failed(session, err); end;
		});
		globals.fire_event("s2s-created", { session = session });
	end

	--- What the parser says. In clear, behind <starttls/> or <proceed/>, it may say nothing more.

	local function behind_starttls(session)
		if not in_handshake(session) then return false; end
		local conn = session.conn;
		destroy(session, "something in clear after STARTTLS had begun");
		with.latch.kill(conn);
		return true;
	end

	function stream_callbacks.streamopened(session, attr)
		if session.destroyed or behind_starttls(session) then return; end
		session.thread:run({ step = "opened"; attr = attr });
	end

	function stream_callbacks.streamclosed(session)
		if session.destroyed then return; end
		session.thread:run({ step = "closed" });
	end

	function stream_callbacks.handlestanza(session, stanza)
		if session.destroyed or behind_starttls(session) then return; end
		stanza = filter(stanza, session);
		if stanza and not session.destroyed then session.thread:run(stanza); end
	end

	function stream_callbacks.error(session, err, data)
		if session.destroyed then return; end
		if err == "stream-error" then
			local said = data.tags[1] and data.tags[1].name or "no reason";
			local text = data:get_child_text("text", xmlns_errors);
			close(session, nil, ("the inside has closed the stream: %s"):format((said..(text and " ("..text..")" or "")):sub(1, 200):gsub("%c", " ")));
		elseif err == "parse-error" and data == "resource-constraint" then
			close(session, "policy-violation"); -- too many elements
		else
			close(session, err == "no-stream" and "invalid-namespace" or "not-well-formed");
		end
	end

	function step.closed(session)
		close(session, nil, "the inside has closed the stream");
	end

	local function checked_tls(session)
		if not session.tls_done or session.tls_checked then return true; end
		session.tls_checked = true;
		local _, theirs = endpoint.pair(session);
		return globals.fire_event("s2s-check-certificate", { session = session; host = theirs }) ~= false and not session.destroyed;
	end

	-- Whether the other end is this server: where a partner's DNS leads to the inner port, what goes to that partner would come in here as the server
	-- inside's, go to the partner again, and so on without end. By dialback such a stream proves nothing; with a certificate for the domain that
	-- both sides trust it would.
	local function comes_from_here(session, ours, theirs)
		local out = hosts[theirs] and hosts[theirs].s2sout and hosts[theirs].s2sout[ours];
		local conn = out and out.conn;
		return conn and conn.sockname and tonumber(conn.sockport) == tonumber(session.conn:clientport())
			and conn.sockname:gsub("^::ffff:", "") == session.ip:gsub("^::ffff:", "") or false;
	end

	-- The header of a stream that the inside opens: `to` a domain that is not ours, `from` one that is.
	function step.opened(session, attr)
		session.version = tonumber(attr.version) or 0;
		if session.version < 1 then return close(session, "unsupported-version"); end
		if session.direction == "outgoing" then return step.answered(session, attr); end
		local ours, theirs = attr.to and nameprep(attr.to), attr.from and nameprep(attr.from);
		session.streamid = random_id();
		if not ours or not theirs or not native.canonical_domain(ours) or not native.canonical_domain(theirs)
			or (session.to_host or ours) ~= ours or (session.from_host or theirs) ~= theirs then
			return close(session, "improper-addressing");
		end
		if hosts[ours] then
			local now = monotonic();
			module:log(now - last_line >= LINE_EVERY and "info" or "debug",
				"Refused inner stream from %s to %s, which is a host of this server (address %s)", theirs, ours, session.ip);
			if now - last_line >= LINE_EVERY then last_line = now; end
			return close(session, { condition = "host-unknown"; text = "This is no domain of a partner" });
		end
		if not (current and current.hosts[theirs]) then
			session.to_host, session.from_host = ours, theirs;
			return with.act.close(session, "unlisted-domain", native.reasons["unlisted-domain"].stream_condition, "it is no relay host");
		end
		if comes_from_here(session, ours, theirs) then
			module:log("warn", "The DNS of %s leads to the inner port of this server; nothing is sent there", ours);
			return close(session, { condition = "policy-violation"; text = "This is a connection of this server's own" });
		end
		if not session.known then know(session, ours); end
		session.to_host, session.from_host, session.host = ours, theirs, ours;
		session.place = session.place or place_of(theirs);
		if not checked_tls(session) then return; end
		session:open_stream();
		session.notopen = nil;
		local features = st.stanza("stream:features");
		endpoint.fire(ours, "s2s-stream-features", { origin = session; features = features });
		if not session.destroyed then session.sends2s(features); end
	end

	-- The header that answers ours.
	function step.answered(session, attr)
		session.notopen = nil;
		if not attr.id or attr.id == "" or #attr.id > 256 then return close(session, "undefined-condition"); end
		session.streamid = attr.id;
		checked_tls(session);
	end

	function step.element(session, stanza)
		local xmlns = stanza.attr.xmlns;
		if xmlns then
			local ours = endpoint.pair(session);
			if not endpoint.fire(ours, ("stanza/%s:%s"):format(xmlns, stanza.name), { origin = session; stanza = stanza }) and not session.destroyed
				and not (session.type == "s2sin" or session.type == "s2sout") then
				module:log("debug", "Nobody takes <%s/> on an inner stream", stanza.name);
			end
			return;
		end
		if session.direction ~= "incoming" or not session.established then return close(session, "not-authorized"); end
		return step.stanza(session, stanza);
	end

	-- The address as core prepares them, nil when it is none. Conversations have the same two many times over.
	local function prepared(session, which, address)
		local known_addresses = session[which];
		if known_addresses and known_addresses[1] == address then return known_addresses[2]; end
		local result = address and jid.prep(address) or nil;
		if result then session[which] = { address, result }; end
		return result;
	end

	-- Of an address that has been prepared.
	local function domain_of(address)
		return match(address, "^[^@/]+@([^@/]+)") or jid.host(address);
	end

	-- A stanza of the inside: for the stream's own pair. That the stream is established, and that the stanza is from its domain, has been judged with
	-- the element; under new settings all streams are judged again.
	function step.stanza(session, stanza)
		local attr = stanza.attr;
		local to, from = prepared(session, "last_to", attr.to), prepared(session, "last_from", attr.from);
		if not to or not from then
			module:log("debug", "Dropped a stanza of the inside with an address that is malformed");
			return;
		end
		if domain_of(to) ~= session.to_host or hosts[session.to_host] then
			return close(session, { condition = "host-unknown"; text = "A stanza for another domain than the stream's" });
		end
		-- The guard compares domains, core the letters: of another spelling it knows no host, and writes the whole stanza into the log as an error.
		if jid.host(from) ~= session.from_host then
			return close(session, { condition = "invalid-from"; text = "The domain is not written as the stream has it" });
		end
		attr.to, attr.from = to, from;
		-- An answer that comes too late is nobody's any more.
		if stanza.name == "iq" and attr.id and attr.id:sub(1, #PING) == PING and to == session.to_host then
			local request = requests[attr.id];
			if not request then
				endpoint.fire(to, "iq/host", { origin = session; stanza = stanza });
			elseif from == request.relay then
				request.answered(stanza);
			end
			return;
		end
		with.deliver(session, stanza);
	end

	--- Streams that the inside opens

	-- Read piece by piece: the parser's bound on a stanza counts what one reading leaves unfinished.
	local listener = { default_mode = READ_SIZE; default_port = 5269 };

	function listener.onconnect(conn)
		if not current then return conn:close(); end
		local session = new_session("incoming");
		attach(session, conn);
		local one_too_many = newcomers.add(session, session.ip or "?");
		if one_too_many then
			module:log("debug", "Too many inner connections wait to authenticate: one from %s is closed", one_too_many.ip);
			close(one_too_many, "resource-constraint");
		end
	end

	-- Nothing of what waits to be written to it will be, nor of what could be said; Prosody would keep it for three minutes more.
	local function end_unread(session)
		local conn, why = session.conn, "it reads no answers";
		if session.direction == "outgoing" then
			why = ("the server inside does not read: %d bytes that were handed to it are lost"):format(unwritten.of(session));
			session.unread = why;
		end
		with.act.close(session, "inside-unreachable", native.reasons["inside-unreachable"].stream_condition, why);
		with.latch.kill(conn);
	end

	local function on_data(conn, data)
		local session = sessions[conn];
		if not session then return; end
		session.data(data);
		if session.direction == "incoming" and unwritten.too_many_answers(session) then end_unread(session); end
	end

	local function on_disconnect(conn, err)
		local session = sessions[conn];
		if session then destroy(session, err or "the connection was closed"); end
	end

	local function on_status(conn, status)
		local session = sessions[conn];
		if not session or status ~= "ssl-handshake-complete" then return; end
		session.tls_pending, session.tls_done = nil, true;
		no_delay.acknowledge(conn); -- TLS has been writing
		if session.direction == "outgoing" then session:open_stream(); end
	end

	-- The buffer is about to be written.
	local function on_writing(conn)
		local session = sessions[conn];
		if not session then return; end
		unwritten.moves(session);
		flush(session, true);
	end

	-- It has been written. While a stream is being opened the server inside may keep pieces of what it says back until it hears that we have the one
	-- before: see lua/no_delay.
	local function on_written(conn)
		local session = sessions[conn];
		if not session then return; end
		unwritten.clear(session);
		if not session.established then no_delay.acknowledge(conn); end
	end

	listener.onincoming, listener.ondisconnect, listener.onstatus, listener.onpredrain = on_data, on_disconnect, on_status, on_writing;
	listener.ondrain = on_written;

	--- Streams that we open

	local dialled = { onincoming = on_data; ondisconnect = on_disconnect; onstatus = on_status; onpredrain = on_writing;
		ondrain = on_written };

	function dialled.onattach(conn, data)
		local session = data and data.session;
		if session and session.destroyed then conn:close();
		elseif session then attach(session, conn); end
	end

	function dialled.onconnect(conn)
		local session = sessions[conn];
		if not session or session.destroyed then return; end
		if session.watcher then session.watcher.connected(session); end
		session:open_stream();
	end

	function dialled.onfail(data, err)
		data.session.unreached = true;
		destroy(data.session, err or "no connection");
	end

	-- A stream from `ours` (a partner's domain) to the relay host's server. question: { session, id, key } where it is only to verify a key.
	-- watcher: { connected, opened, ended(session, why) } of one that carries nobody's stanzas, and is closed by who has opened it; nil otherwise.
	-- The session, or nil and why not: it may be gone already when this returns.
	function endpoint.open(ours, relay, question, watcher)
		local host = current and current.hosts[relay];
		if not host then return nil, "the host is no relay host"; end
		if hosts[ours] or not native.canonical_domain(ours) then return nil, "not the domain of another server"; end
		local session = new_session("outgoing");
		session.from_host, session.to_host, session.host, session.asks_about = ours, relay, ours, question;
		session.for_key, session.place, session.watcher = question ~= nil, place_of(relay), watcher;
		if not question and not claim(session, ours, relay) then
			local why = "too many streams in the names of domains that the list does not name";
			destroy(session, why);
			return nil, why;
		end
		know(session, ours);
		session.opening = timer.add_task(OPENING_MAX, function ()
			session.opening = nil;
			if not session.established then close(session, "connection-timeout", ("no stream after %d seconds"):format(OPENING_MAX)); end
		end);
		endpoint.fire(ours, "s2sout-created", { session = session });
		local view = native.stream_view(session);
		if session.destroyed or not view or view.stage == "refused" then
			destroy(session, view and view.reason or "refused");
			return nil, view and view.reason or "refused";
		end
		connect(basic.new(host.server_host, host.server_port, "tcp", { use_ipv4 = module:get_option_boolean("use_ipv4", true);
			use_ipv6 = module:get_option_boolean("use_ipv6", true) }), dialled, { pattern = READ_SIZE }, { session = session });
		return session;
	end

	-- A key that a stream of the inside has shown: the configured server is asked whether it is its own.
	function endpoint.ask(session, key)
		local asking, err = endpoint.open(session.to_host, session.from_host, { session = session; id = session.streamid; key = key });
		session.asking = asking;
		if err and not session.destroyed then
			close(session, "remote-connection-failed", err);
		end
	end

	-- A stanza goes out over it. The record counts what comes in; of what goes out it is told now and then, or a stream in use would be idle.
	function endpoint.used(session)
		local now = monotonic();
		if now - (session.used or 0) < USED_EVERY then return; end
		session.used = now;
		globals.fire_event("s2sout-established", { session = session });
	end

	-- Hands a stanza, or its text, to an established stream; false when that has been refused just now, and the stanza is not sent. For each write the
	-- connection asks the kernel to be told when it may, and moves its time-out: so the first of several does that, and those that follow before it
	-- is on its way are held and go with it.
	function endpoint.send(session, what)
		local count = session.held_count;
		if not count then
			endpoint.used(session);
			if session.destroyed then return false; end
			if holds then session.held_count, session.held_bytes = 0, 0; end
			local text = tostring(what);
			unwritten.add(session, #text);
			session.conn:write(text);
			return true;
		end
		local text = tostring(what);
		unwritten.add(session, #text);
		local bytes = session.held_bytes + #text;
		session.held[count + 1] = text;
		session.held_count, session.held_bytes = count + 1, bytes;
		if bytes > HELD_MAX then flush(session); end
		return true;
	end

	-- Whether an established stream takes one stanza more.
	endpoint.has_room = unwritten.has_room;

	-- For the handshake, before stanzas may move: whether there is room for a stream that has just been proven; it is closed where there is none.
	function endpoint.admit(session)
		if claim(session, endpoint.pair(session)) then return true; end
		close(session, "resource-constraint", "too many streams in the names of domains that the list does not name");
		return false;
	end

	-- For the handshake: stanzas may move.
	function endpoint.established(session)
		newcomers.prove(session);
		session.stream:set_stanza_size_limit(STANZA_MAX, ELEMENTS_MAX);
		if session.opening then timer.stop(session.opening); end
		session.opening = nil;
		if session.watcher then session.watcher.opened(session); else with.opened(session); end
	end

	-- A request of our own to the relay host, over an established stream of its that goes out: answered(stanza) for what the relay host sends with
	-- its id, over a stream of its own. What is given back forgets it, which the caller has to do in time.
	function endpoint.request(session, payload, answered)
		local id = PING..short_id();
		requests[id] = { relay = session.to_host; answered = answered };
		session.sends2s(st.iq({ type = "get"; from = session.from_host; to = session.to_host; id = id }):add_child(payload));
		return function () requests[id] = nil; end;
	end

	-- Where one may look on: the events of a domain that we speak as, while it has streams; without a domain those of all streams.
	function endpoint.events(domain)
		if not domain then return globals; end
		return known[domain] and known[domain].events;
	end

	--- Ports

	local ports = module:require "inside/inner_ports" (listener);
	endpoint.ports = ports;

	--- Life

	-- Whether it was done without an error.
	local function protected(action, ...)
		local ok, err = xpcall(action, debug.traceback, ...);
		if not ok then module:log("error", "Error while the inner side was being closed: %s", err); end
		return ok;
	end

	local function list()
		local all = {};
		for session in pairs(live) do all[#all + 1] = session; end
		return all;
	end
	endpoint.sessions = list;

	-- As lua/keepalive does it outside: where stanzas go out, a ping proves that somebody hears us. Over a stream in the name of an unlisted domain,
	-- which carries refusals, the server inside is not to open one more of these for its answer.
	local function keep_alive(session)
		local _, relay = endpoint.pair(session);
		local asks = session.direction == "outgoing" and session.established and with.listing(relay, session.from_host) ~= "unlisted";
		native.keepalive_sent(session, asks);
		if not asks then return session.sends2s(" "); end
		local id = PING..short_id();
		border.keepalives[id] = session;
		session.sends2s(st.iq({ type = "get"; from = session.from_host; to = session.to_host; id = id }):tag("ping", { xmlns = "urn:xmpp:ping" }));
	end

	local function act_on(found)
		for _, entry in ipairs(found) do
			local session, due, reason, condition, rule = table.unpack(entry, 1, 5);
			if due == "refuse" and not session.destroyed then
				with.act.close(session, reason, condition, rule);
			elseif due == "keepalive" and not session.destroyed then
				keep_alive(session);
			end
		end
	end

	-- A stream was proven at the server that the settings named then, or leads there. Under another one it is nobody's; what waits for it waits for
	-- one to the new server.
	local function end_moved(session, place)
		session.moved = true;
		local same = session.place:match("^%S+") == place:match("^%S+");
		with.act.close(session, "policy-changed", native.reasons["policy-changed"].stream_condition,
			same and "the relay host has another certificate now" or "the relay host has another server now");
	end

	-- Settings come into force (false: there are none any more). Streams are judged again by them, as outer ones are.
	function endpoint.apply(settings)
		current = settings or false;
		for domain in pairs(known) do
			border.policies[domain] = current and current.policy or nil;
		end
		border.trust = { anchors = current and current.anchors or {}; hosts = {}; own = {} };
		ports.provide(current and current.places or {});
		local servers = {};
		for _, host in pairs(current and current.hosts or {}) do servers[#servers + 1] = host.server_host; end
		newcomers.name(servers);
		-- What is closed may be followed by a stream that is opened.
		for _, session in ipairs(list()) do
			local _, relay = endpoint.pair(session);
			local place = relay and place_of(relay);
			if not current or relay and not place then
				close(session, "host-unknown", "the host is no relay host any more"); -- or will be none, where no header has said which
			elseif relay and session.place and session.place ~= place then
				end_moved(session, place);
			end
		end
		if current then act_on((native.rejudge(border, list()))); end
	end

	function endpoint.sweep()
		if not current then return; end
		local streams, now = list(), monotonic();
		for _, session in ipairs(streams) do
			if not session.destroyed and unwritten.is_stuck(session, now) then end_unread(session); end
		end
		streams = list();
		local found, agree = native.sweep(border, streams, current.policy);
		if not agree then
			border.places = { total = 0; partners = {} };
			native.count_held(border, streams);
		end
		act_on(found);
	end

	function endpoint.start()
		native.install_global(border, context_of(globals));
		filter = native.stanza_filter(border);
	end

	function endpoint.stop()
		current = false;
		protected(ports.provide, {});
		for _, session in ipairs(list()) do
			-- A connection that takes no word any more is closed all the same.
			if not protected(close, session, "system-shutdown", "mod_s2s_partners is being unloaded") then
				protected(destroy, session, "mod_s2s_partners is being unloaded");
				if session.conn then protected(session.conn.close, session.conn); end
			end
		end
	end

	return endpoint;
end

return new_endpoint;
