-- The inner side of a relay host: all of lua/inside over connections that are tables, with Prosody's own parser. Anybody connects to the inner port
-- and says any bytes; the server inside answers, honestly or with any bytes; partners' stanzas arrive; time passes; settings change. What must hold:
-- nothing raises an error; a stanza goes on to the guard only over a stream whose key the honest server has confirmed, and only for that stream's
-- pair; what waits for the inside is written nowhere but to a stream that has accepted our key; afterwards nothing of any of it is left.

local native, helpers = ...;

package.path = "spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
function stub.native() return native; end
local inside = require "inside_world";
local st = require "util.stanza";
local jid = require "util.jid";

local HOST, ROOMS = "contoso.test", "rooms.contoso.test";
local relays = { HOST, ROOMS };
local domains = { "fed.test", "unv.test", "sub.wild.test", "stranger.test", "fed.test", HOST, "FED.test", "xn--bcher-kva.test" };
local SECRET = "for nobody but the inside";

local partners = {};
for i, domain in ipairs({ "fed.test"; "unv.test"; "wild.test" }) do
	partners[i] = { domain = domain; additional_domains = { "*."..domain }; partner_type = domain == "unv.test" and "public_unverified" or "federated";
		presence_authorization = "user"; tls = "not_supported"; sasl = "not_supported"; dialback = true };
end

--- The edge: one for all inputs, since what one leaves behind would show

local edge = inside.new({ HOST; ROOMS }, partners);
local timers = {};
do
	local timer = edge.world.library("util.timer");
	function timer.add_task(seconds, action)
		local task = { due = edge.clock + seconds, action = action };
		timers[task] = true;
		return task;
	end
	function timer.stop(task) timers[task] = nil; end
end

-- Of the relay hosts the first takes no TLS, the second offers it.
local function settings(server, only)
	local servers = { [HOST] = server..":5269"; [ROOMS] = not only and server..":5269" or nil };
	return inside.settings(servers, { [ROOMS] = { tls = "optional"; sasl = "optional" } });
end
local known_settings = { settings("10.1.0.10"), settings("10.1.0.11"), settings("10.1.0.10", true) };

-- A local of some function of the endpoint or of the relay, however deep.
local function find_local(name, from, seen)
	seen = seen or {};
	if seen[from] then return; end
	seen[from] = true;
	for i = 1, 255 do
		local its_name, value = debug.getupvalue(from, i);
		if not its_name then return; end
		if its_name == name then return function () return (select(2, debug.getupvalue(from, i))); end; end
		if type(value) == "function" and debug.getinfo(value, "S").source:find("/lua/inside/", 1, true) then
			local found = find_local(name, value, seen);
			if found then return found; end
		end
	end
end

local endpoint, relay = edge.boundary.endpoint, edge.boundary.relay;
edge.boundary.apply(known_settings[1]);
local newcomers = assert(find_local("newcomers", endpoint.established))();
local left = {
	known = assert(find_local("known", endpoint.fire)); counts = assert(find_local("counts", endpoint.open));
	sessions = assert(find_local("sessions", endpoint.open)); live = assert(find_local("live", endpoint.sessions));
	lists = assert(find_local("lists", newcomers.add)); places = assert(find_local("places", newcomers.add));
	pairs_of = assert(find_local("pairs_of", relay.waiting));
};
local numbers = { strangers = assert(find_local("strangers", newcomers.add)); others = assert(find_local("others", newcomers.add));
	queued_bytes = assert(find_local("queued_bytes", relay.opened)) };

--- Choices, read from the front of the input; what is read past its end is 0 and empty

local input, position;

local function choose(limit)
	local byte = input:byte(position) or 0;
	position = position + 1;
	return byte % limit;
end

local function pick(list) return list[choose(#list) + 1]; end

local function some_text()
	local length = choose(256);
	position = position + length;
	return input:sub(position - length, position - 1);
end

--- Who is there

local came, answered; -- connections to the inner port; those that we began and the server has taken
local honest; -- whether the server says of no key that it is good but of its own

local function session_of(conn)
	return left.sessions()[conn];
end

-- A connection may come to have TLS.
local function equip(conn)
	function conn.starttls() conn.begins_tls = true; end
	function conn.ssl_info() return conn.tls and { protocol = "TLSv1.3" } or nil; end
	function conn.socket()
		return conn.tls and { info = function (_, what) return what == "protocol" and "TLSv1.3" or nil; end } or nil;
	end
	return conn;
end

--- What must hold

local routed_before;

local function check_routed(conn)
	for i = routed_before + 1, #edge.world.routed do
		local host, stanza = table.unpack(edge.world.routed[i]);
		local attr = stanza.attr;
		assert(st.is_stanza(stanza) and (stanza.name == "message" or stanza.name == "presence" or stanza.name == "iq"), "no stanza");
		if conn and conn.incoming then
			assert(conn.pair, "a stanza of a stream that nobody has proven");
			assert(host == edge.world.prosody.hosts[conn.pair[1]], "at another host");
			assert(jid.host(attr.from) == conn.pair[1] and jid.host(attr.to) == conn.pair[2], "a stanza of another pair");
			assert(attr.xmlns == nil, "a stanza of another namespace");
		else
			assert(attr.type == "error" and jid.host(attr.from) ~= nil and edge.world.prosody.hosts[jid.host(attr.from)], "the edge's own words");
		end
	end
	routed_before = #edge.world.routed;
end

local function check_written()
	for _, conn in ipairs(came) do assert(not conn.sent:find(SECRET, 1, true), "to somebody who has connected"); end
	for _, conn in ipairs(answered) do
		assert(conn.accepts or not conn.sent:find(SECRET, 1, true), "before our key was accepted");
		assert(not conn.question or not conn.sent:find(SECRET, 1, true), "where a key was to be asked about");
	end
end

local function check_log()
	for _, line in ipairs(edge.world.lines) do
		-- Nothing judges certificates here, so that none is valid or invalid.
		local unjudged = line:find("internal-error: SASL EXTERNAL needs a valid certificate", 1, true);
		assert(not line:find("^error: ") and (unjudged or not line:find("internal-error", 1, true)), line);
	end
end

local function say(conn, text)
	if conn.gone or text == "" then return; end
	conn:say(text);
	check_routed(conn);
end

--- What is said

local function key_of(id) return "the server's key for "..id; end

local function id_of(conn)
	local id;
	for one in conn.sent:gmatch("<stream:stream[^>]-%sid=['\"]([^'\"]+)") do id = one; end
	return id;
end

local kinds = { "chat", "error", "result", "get", "set", "subscribe", "unavailable", "groupchat", "" };

local function words(from, to)
	local pieces = {
		function () return inside.header(from, to, choose(2) == 0 and "id"..choose(4) or nil); end;
		function () return ("<db:result from='%s' to='%s'>%s</db:result>"):format(from, to, key_of("x")); end;
		function () return ("<db:result from='%s' to='%s' type='%s'/>"):format(from, to, pick({ "valid", "invalid", "error" })); end;
		function () return ("<db:verify from='%s' to='%s' id='id%d'>%s</db:verify>"):format(from, to, choose(4), key_of("x")); end;
		function () return ("<db:verify from='%s' to='%s' id='id%d' type='%s'/>"):format(from, to, choose(4), pick({ "valid", "invalid", "error" })); end;
		function ()
			local name, type = pick({ "message", "presence", "iq" }), pick(kinds);
			local own, other = pick({ "alice@", "" })..from, pick({ "bob@", "" })..to;
			return ("<%s from='%s' to='%s' id='s2s-inside-%d'%s><body>hello</body></%s>"):format(name, own, other, choose(4),
				type ~= "" and " type='"..type.."'" or "", name);
		end;
		function () return inside.FEATURES; end;
		function ()
			return "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
				.."<mechanism>EXTERNAL</mechanism></mechanisms></stream:features>";
		end;
		function () return ("<%s xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"):format(pick({ "starttls", "proceed", "failure" })); end;
		function () return ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>%s</auth>"):format(pick({ "=", "", "eA==" })); end;
		function () return ("<%s xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"):format(pick({ "success", "failure", "challenge" })); end;
		function () return "</stream:stream>"; end;
		function () return "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"; end;
		some_text;
		function () return (some_text().." "):rep(1 + choose(64)); end;
		function () return "<a>"..("<a/>"):rep(choose(256) * 4); end;
	};
	return pick(pieces)();
end

--- What happens

local ways = {};

function ways.connect()
	if #came >= 40 then return; end
	local conn = equip(inside.accept(edge, "10.1.0."..(10 + choose(3))));
	conn.incoming = true;
	table.insert(came, conn);
	check_routed(conn);
	if choose(2) == 0 then say(conn, inside.header(pick(relays), pick(domains))); end
end

function ways.speak()
	if #came == 0 then return; end
	local conn = pick(came);
	local session = session_of(conn);
	say(conn, words(choose(4) ~= 0 and session and session.from_host or pick(relays), choose(4) ~= 0 and session and session.to_host or pick(domains)));
end

function ways.speak_freely()
	if #came == 0 then return; end
	say(pick(came), some_text());
end

-- The server inside itself: its key, which it will confirm.
function ways.show_key()
	if #came == 0 then return; end
	local conn = pick(came);
	local session, id = session_of(conn), id_of(conn);
	if not session or not id or not session.from_host or id ~= session.streamid then return; end
	conn.pair = conn.pair or { session.from_host, session.to_host };
	say(conn, ("<db:result from='%s' to='%s'>%s</db:result>"):format(session.from_host, session.to_host, key_of(id)));
end

-- A connection that we have begun is there, or is not.
function ways.answer()
	local number = #edge.dialled > 0 and choose(#edge.dialled) + 1;
	local begun = number and edge.dialled[number];
	if not begun or begun.done then return; end
	begun.done = true;
	if choose(8) == 0 then
		inside.fail(edge, number);
	else
		local conn = equip(inside.answer(edge, number));
		conn.session, conn.question = begun.data.session, begun.data.session.asks_about ~= nil;
		table.insert(answered, conn);
	end
	check_routed();
end

-- What a server says that knows its own keys and takes ours.
function ways.reply()
	if #answered == 0 then return; end
	local conn = pick(answered);
	local theirs, ours = conn.session.to_host, conn.session.from_host;
	if not conn.replied or conn.restarted then
		conn.replied, conn.restarted = true, nil;
		say(conn, inside.header(theirs, ours, "id"..choose(4))..inside.FEATURES);
	elseif conn.question then
		local id, key = conn.sent:match("<db:verify[^>]-id=['\"]([^'\"]+)['\"][^>]*>([^<]*)<");
		if id then
			local good = key:gsub("&apos;", "'") == key_of(id);
			say(conn, ("<db:verify from='%s' to='%s' id='%s' type='%s'/>"):format(theirs, ours, id, good and "valid" or "invalid"));
		end
	else
		local type = choose(4) ~= 0 and "valid" or "invalid";
		conn.accepts = conn.accepts or type == "valid";
		say(conn, ("<db:result from='%s' to='%s' type='%s'/>"):format(theirs, ours, type));
	end
end

-- Any bytes, from where a connection of ours leads.
function ways.lie()
	if #answered == 0 then return; end
	local conn = pick(answered);
	if honest and conn.question then return; end
	conn.accepts = true;
	say(conn, choose(4) == 0 and some_text() or words(conn.session.to_host or HOST, conn.session.from_host or "fed.test"));
end

function ways.tls()
	local conn = choose(2) == 0 and #came > 0 and pick(came) or #answered > 0 and pick(answered);
	if not conn or not conn.begins_tls then return; end
	conn.begins_tls, conn.tls, conn.restarted = nil, true, true;
	if choose(8) == 0 then conn.tls = nil; end
	local begun = edge.dialled[1];
	local listener = conn.incoming and edge.world.items["net-provider"][1].listener or begun and begun.listener;
	if listener then listener.onstatus(conn, "ssl-handshake-complete"); end
	check_routed();
end

function ways.drop()
	local conn = choose(2) == 0 and #came > 0 and pick(came) or #answered > 0 and pick(answered);
	if not conn or conn.gone then return; end
	conn.gone = true;
	conn:drop();
	check_routed();
end

-- A partner's stanza that the guard has let in.
function ways.arrive()
	local host, domain, name = pick(relays), pick({ "fed.test", "unv.test", "sub.wild.test" }), pick({ "message", "presence", "iq" });
	local stanza = st.stanza(name, { from = "bob@"..domain; to = pick({ "alice@", "" })..host; type = pick(kinds); id = "1" }):text_tag("body", SECRET);
	if stanza.attr.type == "" then stanza.attr.type = nil; end
	inside.arrive(edge, stanza);
	check_routed();
end

local function pass(seconds)
	helpers.pass(seconds * 1000);
	edge.clock = edge.clock + seconds;
	local due = {};
	for task in pairs(timers) do
		if task.due <= edge.clock then table.insert(due, task); end
	end
	for _, task in ipairs(due) do
		if timers[task] then
			timers[task] = nil;
			task.action();
		end
	end
	endpoint.sweep();
	check_routed();
end

function ways.time() pass(pick({ 1, 2, 7, 30, 400 })); end

function ways.settings()
	edge.boundary.apply(pick({ known_settings[1], known_settings[2], known_settings[3], known_settings[1] }));
	check_routed();
end

local order = { "speak"; "connect"; "speak_freely"; "show_key"; "answer"; "reply"; "lie"; "tls"; "drop"; "arrive"; "time"; "settings";
	"speak"; "answer"; "reply"; "show_key" };

--- Afterwards

local function end_all()
	for i, begun in ipairs(edge.dialled) do
		if not begun.done then
			begun.done = true;
			inside.fail(edge, i);
		end
	end
	for _, conns in ipairs({ came, answered }) do
		for _, conn in ipairs(conns) do
			if not conn.gone then conn:drop(); end
			conn.gone = true;
		end
	end
end

local function check_left()
	for name, get in pairs(left) do assert(next(get()) == nil, name.." has something left"); end
	for name, get in pairs(numbers) do assert(get() == 0, name.." is not zero"); end
	local border = edge.border;
	assert(next(border.policies) == nil, "a policy is left");
	for domain in pairs(border.questions) do error("a question is left: "..tostring(domain), 0); end
	assert(next(timers) == nil, "a timer is left");
end

return function (text)
	input, position, came, answered, routed_before = text, 1, {}, {}, 0;
	edge.world.lines, edge.world.routed, edge.dialled, edge.refused, edge.installed = {}, {}, {}, {}, {};
	edge.boundary.apply(known_settings[1]);
	honest = choose(4) ~= 0;
	for _ = 1, 200 do
		if position > #text then break; end
		ways[pick(order)]();
		check_written();
	end
	-- What is ended may be followed by a stream that is opened.
	for _ = 1, 3 do end_all(); end
	check_routed();
	check_written();
	check_log();
	-- The sweep would put that right.
	assert((edge.border.places.total or 0) == 0 and next(edge.border.places.partners or {}) == nil, "places are left");
	pass(1000);
	for _ = 1, 3 do end_all(); end
	check_left();
end
