-- What a peer (or core, or another module) can put before the handlers: streams at any stage, stanzas and handshake elements with
-- any addresses, attributes and children, values of types that no parser gives. What must hold: no handler raises; what is
-- passed on is what P1 to P31 of docs/partner-types.md let pass, found out here a second time and in other words; the filter's quick look and its
-- long one agree.

local native, helpers = ...;
local record = helpers.record;

local HOST, ROOMS, OTHER, BARE = "contoso.test", "rooms.contoso.test", "other.test", "no-policy.test";
local FIELD = "s2s_partners_stream";
local AUTHENTICATED, ESTABLISHED = 3, 4;

--- Choices, read from the front of the input; what is read past its end is 0 and empty

local input, position;

local function choose(limit)
	local byte = input:byte(position) or 0;
	position = position + 1;
	return byte % limit;
end

local function pick(list) return list[choose(#list) + 1]; end

local function some_text()
	local length = choose(32);
	position = position + length;
	return input:sub(position - length, position - 1);
end

local odd_value;
local odd_makers = {
	function () return nil; end;
	function () return false; end;
	function () return true; end;
	function () return choose(256) - 128; end;
	function () return 0/0; end;
	function () return math.maxinteger; end;
	function () return ""; end;
	some_text;
	function () return (some_text().."x"):rep(1 + choose(256) * 64); end;
	function () return {}; end;
	function (depth) return { odd_value(depth + 1), odd_value(depth + 1), attr = odd_value(depth + 1), name = odd_value(depth + 1) }; end;
	function () return setmetatable({}, { __index = function () error("asked for a field"); end; __len = function () return 1e9; end }); end;
	function () local text = some_text(); return setmetatable({}, { __index = function () return text; end }); end;
	function () return setmetatable({}, { __index = { type = "s2sin", name = "message", attr = { from = "eve@fed.test" } } }); end;
	function () return print; end;
	function () return io.stdout; end;
	function () return coroutine.create(print); end;
};
function odd_value(depth)
	if depth and depth > 4 then return nil; end
	return pick(odd_makers)(depth or 0);
end

-- A value that may be, or (one in 16) any other.
local function maybe_odd(value)
	if choose(16) == 15 then return odd_value(); end
	return value;
end

local domains = { "fed.test", "ver.test", "unv.test", "rooms.test", "deep.sub.fed.test", "xn--bcher-kva.test", "evil.test", HOST, OTHER,
	ROOMS, "FED.test", "fed.test.", ".fed.test", "fed..test", "fed.test\0", "evilfed.test", "fed.test.evil.test", "b\195\188cher.test",
	"[::1]", "127.0.0.1", "sub.fed.test", "", " fed.test", "*.fed.test", ("a"):rep(64)..".fed.test", ("a."):rep(140).."fed.test" };
local partners = { "fed.test", "ver.test", "unv.test", "rooms.test", "sub.fed.test", "xn--bcher-kva.test" };

local function some_domain()
	local which = choose(#domains + 2);
	return domains[which + 1] or some_text();
end

local nodes = { "alice@", "", "eve@", "intern@", "@", "al@ice@", "\195\188@", "alice\0@" };
local resources = { "", "/x", "/", "/a@fed.test", "//fed.test", "/\0" };
local function jid(domain) return pick(nodes)..(domain or some_domain())..pick(resources); end

local names = { "message", "presence", "iq", "result", "verify", "features", "starttls", "auth", "db:verify", "pre-message", "Message", "" };
local types = { "chat", "groupchat", "error", "get", "set", "result", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe",
	"unavailable", "", "invalid", "valid" };
local namespaces = { "jabber:client", "jabber:server", "", "jabber:iq:last", "http://jabber.org/protocol/muc", "urn:xmpp:ping",
	"http://jabber.org/protocol/disco#info", "jabber:server:dialback", "urn:ietf:params:xml:ns:xmpp-tls",
	"urn:ietf:params:xml:ns:xmpp-sasl", "http://etherx.jabber.org/streams", "urn:xmpp:bidi", "urn:lab",
	"http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#event", "http://jabber.org/protocol/disco#items" };
local event_nodes = { "http://jabber.org/protocol/mood", "urn:xmpp:avatar:data", "" };
local children = { "status", "query", "x", "ping", "show", "forwarded", "presence", "message", "", "event", "items", "pubsub", "item", "body" };

-- Trees, as a parser makes them, with `tags` beside the list of all children.
local function add_children(element, depth)
	if depth > 5 then return; end
	for _ = 1, choose(4) do
		local child = choose(3) == 0 and some_text()
			or { name = maybe_odd(pick(children)), attr = { xmlns = choose(2) == 0 and pick(namespaces) or nil;
				node = choose(2) == 0 and maybe_odd(pick(event_nodes)) or nil }, tags = {} };
		if type(child) == "table" then
			add_children(child, depth + 1);
			table.insert(element.tags, child);
		end
		table.insert(element, child);
	end
end

-- A push of personal events, and perhaps something beside it.
local function events_child()
	local event = { name = "event", attr = { xmlns = "http://jabber.org/protocol/pubsub#event" }, tags = {} };
	for _ = 1, 1 + choose(3) do
		local items = { name = "items", attr = { node = pick(event_nodes) }, tags = {} };
		table.insert(event, items);
		table.insert(event.tags, items);
	end
	return event;
end

local function deep_child()
	local tree = { name = "status", attr = {}, tags = {}, "secret" };
	for _ = 1, choose(256) do tree = { name = "x", attr = {}, tags = { tree }, tree }; end
	return tree;
end

local function some_element(from, to)
	local attr = { from = maybe_odd(from or jid()), to = maybe_odd(to or jid()), id = choose(4) ~= 0 and maybe_odd("1") or nil };
	if choose(2) == 0 then attr.type = maybe_odd(pick(types)); end
	if choose(8) == 0 then attr.xmlns = maybe_odd(pick(namespaces)); end
	local element = { name = maybe_odd(pick(names)), attr = maybe_odd(attr), tags = {} };
	local shape = choose(16);
	if shape == 1 then
		element = odd_value();
	elseif shape == 2 then
		local child = deep_child();
		element[1], element.tags[1] = child, child;
	elseif shape == 3 then
		element.tags, element[1] = odd_value(), odd_value();
	elseif shape == 4 then
		for _ = 1, 1 + choose(2) do
			local child = events_child();
			table.insert(element, child);
			table.insert(element.tags, child);
		end
		add_children(element, 5);
	elseif shape > 7 then
		add_children(element, 1);
	end
	return element;
end

--- The world: one core, four hosts of ours, and what was asked and done

local done, actions_fail, facts;

local function action(name)
	return function ()
		done[#done + 1] = name;
		if actions_fail then error("an action fails"); end
		return odd_value(), odd_value(), odd_value(), odd_value(); -- of those that answer
	end
end

local core = dofile("spec/prosody/core_stub.lua").new(HOST, action);
local fire, guard = core.fire, core.guard;
guard.read_features = action("read_features");
local opened_for_key = false;
guard.opened_for_key = function () return opened_for_key; end;
guard.is_address = function (address) return not address:find("/\0", 1, true); end;
guard.facts = setmetatable({}, { __index = function (_, need)
	return function ()
		local token = facts[need];
		if token == error then error("a fact fails"); end
		return token;
	end
end });

local fact_tokens = {
	access = { "allowed", "denied" }; account = { "exists", "missing" }; listed = { "yes", "no", "unavailable" }; directed = { "no", "yes" };
	requested = { "no", "yes" }; standing = { "none", "blocked", "cancelled", "authorised", "unavailable" }; blocked = { "no", "yes" };
	contacts = { "few", "many" }; waiting = { "room", "full" };
};
local needs = { "access", "account", "listed", "directed", "requested", "standing", "blocked", "contacts", "waiting" };

-- Known partners and what this file needs to know of them.
local listed = {};

local function policy_for(list)
	local tables = {};
	for i, one in ipairs(list) do
		tables[i] = { domain = one[1]; partner_type = one[2]; group_chat = one[3]; additional_domains = one[4]; connection_limit = 1000;
			tls = "not_supported"; sasl = "not_supported"; dialback = true };
		listed[one[1]] = tables[i];
	end
	local compiled, issues = native.compile_table { lists = { { place = "s2s_partners"; list = tables } }; local_domains = { HOST } };
	local policy = native.compile_policy { table = compiled or error(issues[1].message); limits = { connections = 1000 };
		external_access = { default = "allow"; users = { intern = "deny" } }; options = { require_encryption = false } };
	return assert(policy);
end

guard.policies[OTHER] = policy_for { { "fed.test"; "federated" } };
guard.policies[HOST] = policy_for { { "fed.test"; "federated"; nil; { "*.sub.fed.test"; "sub.fed.test" } }; { "ver.test"; "public_verified" };
	{ "unv.test"; "public_unverified" }; { "rooms.test"; "public_unverified"; "allow" }; { "xn--bcher-kva.test"; "federated" } };
guard.policies[ROOMS] = guard.policies[HOST];
listed["sub.fed.test"], listed["deep.sub.fed.test"] = listed["fed.test"], listed["fed.test"];
guard.hosts[ROOMS] = { type = "component"; s2sout = {} };
guard.hosts[OTHER] = { type = "local"; s2sout = {} };
guard.hosts[BARE] = { type = "local"; s2sout = {} };

-- Each host has handlers of its own; events of one host are not those of another.
local events = {};
for _, host in ipairs { HOST, ROOMS, OTHER, BARE } do
	core.hooks = {};
	native.install_host(guard, core.context, host);
	events[host] = core.hooks;
end
core.hooks = {};
native.install_global(guard, core.context);
local global_events = core.hooks;
local filter = native.stanza_filter(guard);

-- Any error of a handler's goes through to fuzz_lua_call, which takes it for the finding that it is.
local function fire_at(host, event, data)
	core.hooks = host and events[host] or global_events;
	local already = #done;
	local passed = fire(event, data);
	assert(not (passed and actions_fail and #done > already), event.." went on after an action that failed");
	return passed;
end

--- Streams

local mutable = { "direction", "conn", "hosts", "from_host", "to_host", "dummy", "external_auth", "dialback_key", "version", FIELD };

-- A stream with a partner, taken through the handshake as far as `input` says.
local function some_stream(mostly_outgoing)
	local remote, outgoing, stage = pick(partners), (choose(4) == 0) ~= (mostly_outgoing or false), choose(6);
	local session = { type = outgoing and "s2sout_unauthed" or "s2sin_unauthed"; direction = outgoing and "outgoing" or "incoming";
		conn = {}; hosts = {};
		from_host = outgoing and HOST or remote; to_host = outgoing and remote or HOST };
	actions_fail = false;
	if stage > 0 then
		if outgoing then
			opened_for_key = choose(2) == 0;
			fire_at(HOST, "s2sout-created", { session = session });
		end
		fire_at(nil, "s2s-created", { session = session });
	end
	if stage > 1 and not outgoing then
		fire_at(HOST, "s2s-stream-features", { origin = session; features = { tags = {} } });
	end
	if stage > 2 and fire_at(HOST, "s2s-authenticated", { session = session; host = remote; mechanism = "dialback" }) then
		-- What core does, which never takes it back.
		session.type = outgoing and "s2sout" or "s2sin";
		if stage > 3 then fire_at(nil, outgoing and "s2sout-established" or "s2sin-established", { session = session }); end
		if outgoing then guard.hosts[HOST].s2sout[remote] = session; end
	elseif choose(8) == 0 then
		session.type = odd_value();
	end
	if choose(4) == 0 then session[pick(mutable)] = odd_value(); end
	if stage == 5 and choose(4) == 0 then session = odd_value(); end
	return session, remote;
end

--- The rules of docs/partner-types.md (P1 to P31), in other words

local function field(object, name)
	if type(object) ~= "table" then return nil; end
	local ok, value = pcall(function () return object[name]; end);
	return ok and value or nil;
end

local function text_of(value) return type(value) == "string" and value or ""; end

local function attribute(stanza, name) return field(field(stanza, "attr"), name); end

local function domain_of(address)
	local bare = text_of(address):match("^[^/]*");
	return (bare:match("^[^@]*@(.*)$") or bare);
end

local function canonical(name) return name ~= "" and native.canonical_domain(name) or nil; end

-- What metamethods say of a stanza is not what goes over the wire, and no parser gives any: with them it is only looked at that no
-- handler raises.
local function is_disguised(stanza)
	return getmetatable(stanza) ~= nil or getmetatable(field(stanza, "attr")) ~= nil;
end

local function is_stanza(stanza)
	local name = field(stanza, "name");
	return name == "message" or name == "presence" or name == "iq";
end

local function local_user(address)
	local bare = text_of(address):match("^[^/]*");
	return bare:match("^([^@]*)@");
end

local function has_spellings(address)
	local domain = domain_of(address);
	return domain:find("[\128-\255]") ~= nil or ("."..domain:lower()):find(".xn--", 1, true) ~= nil or domain:sub(-1) == ".";
end

local function check_in(host, origin, stanza)
	if is_disguised(stanza) or getmetatable(origin) then return; end
	local _, stage, remote = record(origin);
	if not stage then
		assert(text_of(field(origin, "type")):sub(1, 3) ~= "s2s" or field(origin, "dummy"), "passed without a record");
		return;
	end
	assert(stage == ESTABLISHED, "passed over a stream that is not established");
	assert(is_stanza(stanza), "passed, and is no stanza");
	assert(canonical(domain_of(attribute(stanza, "from"))) == remote, "passed from another domain");
	local partner = listed[remote];
	assert(partner and (host ~= OTHER or partner == listed["fed.test"] and remote == "fed.test") and host ~= BARE, "passed from an unlisted domain");
	local to, kind, name = text_of(attribute(stanza, "to")), attribute(stanza, "type"), field(stanza, "name");
	local answer = name == "iq" and (kind == "result" or kind == "error");
	local user = guard.hosts[host].type == "local" and local_user(to);
	if user then
		assert(user ~= "intern" or host == OTHER, "passed to a user without external access");
		assert(facts.account == "exists", "passed to a user that does not exist");
		assert(facts.blocked == "no" or not has_spellings(attribute(stanza, "from")), "passed from a contact that is blocked in another spelling");
		assert(name ~= "presence" or kind ~= "subscribe" or facts.waiting == "room"
			or partner.partner_type ~= "public_unverified" and facts.standing == "authorised", "a request that there is no room for");
	end
	if partner.partner_type ~= "public_unverified" then return; end
	if user then
		assert(facts.listed == "yes" or answer and facts.requested == "yes"
			or partner.group_chat == "allow" and facts.directed == "yes", "passed from a contact that is not listed");
	elseif partner.group_chat ~= "allow" or guard.hosts[host].type == "local" then
		assert(answer and facts.requested == "yes" or name == "iq" and kind == "get" and not to:find("[@/]"), "passed to a host");
	end
	assert(kind ~= "groupchat" or name ~= "message" or partner.group_chat == "allow", "group chat passed");
end

local stream_namespaces = { [""] = true; ["jabber:client"] = true; ["jabber:server"] = true; ["jabber:component:accept"] = true };

-- What a partner may not see: RFC 6121 4.7.2.2 and XEP-0012, wherever in a presence.
local function is_personal(element)
	local node = type(element) == "table" and field(field(element, "attr"), "node");
	return node ~= "urn:xmpp:avatar:data";
end

-- Whether a push, or items that were asked for, are of a node that is a personal event.
local function has_personal_event(stanza)
	for i = 1, rawlen(stanza) do
		local child = rawget(stanza, i);
		local xmlns = type(child) == "table" and field(field(child, "attr"), "xmlns");
		local name = type(child) == "table" and field(child, "name");
		local push = name == "event" and xmlns == "http://jabber.org/protocol/pubsub#event" and field(stanza, "name") == "message";
		local answer = name == "pubsub" and xmlns == "http://jabber.org/protocol/pubsub" and field(stanza, "name") == "iq";
		for j = 1, (push or answer) and rawlen(child) or 0 do
			local inner = rawget(child, j);
			if type(inner) == "table" and (push or field(inner, "name") == "items") and is_personal(inner) then return true; end
		end
	end
	return false;
end

local function has_note(element, xmlns)
	if type(element) ~= "table" then return false; end
	local own = field(field(element, "attr"), "xmlns");
	xmlns = type(own) == "string" and own or xmlns;
	local name = field(element, "name");
	if name == "status" and stream_namespaces[xmlns] then return true; end
	for i = 1, rawlen(element) do -- what goes onto the wire
		local child = rawget(element, i);
		if name == "query" and xmlns == "jabber:iq:last" and type(child) == "string" then return true; end
		if has_note(child, xmlns) then return true; end
	end
	return false;
end

local function check_route(host, event, route)
	if is_disguised(event.stanza) or getmetatable(route) then return; end
	local stanza, to_host = event.stanza, text_of(event.to_host);
	local name, kind, from = field(stanza, "name"), attribute(stanza, "type"), attribute(stanza, "from");
	assert(event.from_host == host, "routed on another host's event");
	local partner = listed[canonical(to_host)];
	assert(partner and (host ~= OTHER or canonical(to_host) == "fed.test") and host ~= BARE, "routed to an unlisted domain");
	assert(name == "db:verify" or is_stanza(stanza), "routed, and is no stanza");
	for address, expected in pairs { from = host, to = to_host } do
		local domain = domain_of(attribute(stanza, address));
		assert(domain == "" or domain == expected, "routed by other addresses than its own");
	end
	if route and (route.type == "s2sin" or route.type == "s2sout") then
		local _, stage, remote = record(route);
		assert(stage and stage >= AUTHENTICATED and listed[remote] == partner, "routed over a stream that is not authenticated");
	end
	if name == "db:verify" then return; end
	local user = guard.hosts[host].type == "local" and local_user(from);
	-- Core's bounce from an address that nobody can have is the host's.
	if kind == "error" and text_of(from):find("/\0", 1, true) and not text_of(from):match("^[^/]*/.*/\0") then user = nil; end
	local lowers = name == "presence" and (kind == "unavailable" or kind == "unsubscribe" or kind == "unsubscribed");
	assert(not user or lowers or facts.blocked == "no" or not has_spellings(attribute(stanza, "to")), "routed to a contact that is blocked");
	assert(user ~= "intern" or host == OTHER, "routed for a user without external access");
	if user and partner.partner_type == "public_unverified" and name == "message" then
		assert(facts.listed == "yes" or partner.group_chat == "allow" and facts.directed == "yes", "routed to a contact that is not listed");
		assert(kind ~= "groupchat" or partner.group_chat == "allow", "group chat routed");
	end
	if user and partner.partner_type ~= "federated" and (name == "message" or kind == "result") then
		assert(not has_personal_event(stanza), "a personal event went out");
	end
	local xmlns = text_of(attribute(stanza, "xmlns")); -- of any other, it is no presence, whatever its name
	if partner.partner_type ~= "federated" and name == "presence" and kind ~= "subscribe" and stream_namespaces[xmlns] then
		for i = 1, rawlen(stanza) do assert(not has_note(rawget(stanza, i), xmlns), "a status note went out"); end
	end
end

local handshake = { ["http://etherx.jabber.org/streams"] = "features"; ["jabber:server:dialback"] = "result verify";
	["urn:ietf:params:xml:ns:xmpp-tls"] = "starttls proceed failure"; ["urn:ietf:params:xml:ns:xmpp-sasl"] = "auth success failure";
	["urn:xmpp:bidi"] = "bidi" };

local function check_element(stanza, session)
	local _, stage, remote = record(session);
	assert(stage and stage > 0, "an element passed without a record, or over a refused stream");
	local xmlns, name = attribute(stanza, "xmlns"), text_of(field(stanza, "name"));
	if text_of(xmlns) == "" or xmlns == "jabber:client" then
		assert(stage >= AUTHENTICATED and (session.type == "s2sin" or session.type == "s2sout"), "a stanza before authentication");
		assert(is_stanza(stanza) and xmlns ~= "jabber:client", "no stanza of the stream's");
		assert(canonical(domain_of(attribute(stanza, "from"))) == remote, "from another domain");
	elseif stage < AUTHENTICATED then
		assert((" "..(handshake[xmlns] or "").." "):find(" "..name.." ", 1, true), "no element of a handshake");
	end
end

--- What happens

local stanza_events = { "message/bare", "message/full", "message/host", "presence/bare", "presence/full", "presence/host", "iq/bare",
	"iq/full", "iq/host" };
local hosts = { HOST, HOST, HOST, ROOMS, OTHER, BARE };

-- An ordinary message has come or gone before, and counted: only then there is a quick look.
local function incoming()
	local origin, remote = some_stream();
	local host = pick(hosts);
	local stanza = some_element(choose(4) ~= 0 and jid(remote) or nil, choose(4) ~= 0 and jid(host) or nil);
	if type(origin) == "table" then
		fire_at(host, "message/bare", { origin = origin; stanza = { name = "message"; attr = { from = "eve@"..remote; to = "alice@"..host }; tags = {} } });
	end
	actions_fail, done = choose(8) == 0, {};
	local event = pick(stanza_events);
	helpers.pass(5000);
	local passed = fire_at(host, event, { origin = origin; stanza = stanza });
	helpers.pass(-5000);
	if passed then check_in(host, origin, stanza); end
	return passed, table.concat(done, " "), record(origin);
end

local function outgoing()
	guard.hosts[HOST].s2sout = {};
	local _, remote = some_stream(true);
	local host, to_host = pick(hosts), choose(4) ~= 0 and remote or maybe_odd(some_domain());
	local from, to = choose(4) ~= 0 and jid(host) or nil, choose(4) ~= 0 and type(to_host) == "string" and jid(to_host) or nil;
	local event = { from_host = choose(8) ~= 0 and host or maybe_odd(some_domain()); to_host = to_host; stanza = some_element(from, to) };
	local routes = guard.hosts[host].s2sout;
	local can_be_key = to_host ~= nil and to_host == to_host;
	if choose(8) == 0 and can_be_key then routes[to_host] = odd_value(); end
	local route = can_be_key and routes[to_host] or nil;
	if type(to_host) == "string" then
		fire_at(host, "route/remote", { from_host = host; to_host = to_host;
			stanza = { name = "message"; attr = { from = "alice@"..host; to = "eve@"..to_host }; tags = {} } });
	end
	actions_fail, done = choose(8) == 0, {};
	helpers.pass(5000);
	local passed = fire_at(host, "route/remote", event);
	helpers.pass(-5000);
	if passed then check_route(host, event, type(route) == "table" and route or nil); end
	return passed, table.concat(done, " "), record(route);
end

-- Once with the quick look and once without: nothing is counted, so it has nowhere to count.
local function twice(way)
	return function ()
		local begin = position;
		guard.counters = {};
		local passed, what_was_done, what_is_recorded = way();
		local ends = position;
		position, guard.counters = begin, nil;
		local passed_then, done_then, recorded_then = way();
		position, guard.counters = ends, {};
		assert(passed == passed_then and what_was_done == done_then and what_is_recorded == recorded_then, "the quick look says something else");
	end
end

-- The element at another stream just like this one, in a form that only the long look can read.
local function filter_slowly(begin)
	position = begin;
	local session, remote = some_stream();
	local stanza = some_element(choose(4) ~= 0 and jid(remote) or nil, nil);
	if type(stanza) ~= "table" then return; end
	local looked = false;
	local shown = setmetatable({}, { __index = function (_, name) looked = true; return stanza[name]; end });
	actions_fail = choose(8) == 0;
	done = {};
	helpers.pass(5000); -- activity shows
	local passed = rawequal(filter(shown, session), shown);
	helpers.pass(-5000);
	assert(looked or not record(session), "the long look was not taken");
	return passed, table.concat(done, " "), record(session);
end

local function filtered()
	local begin = position;
	local session, remote = some_stream();
	local stanza = some_element(choose(4) ~= 0 and jid(remote) or nil, nil);
	actions_fail = choose(8) == 0;
	done = {};
	helpers.pass(5000);
	local result = filter(stanza, session);
	helpers.pass(-5000); -- the other one's time is the same
	assert(result == nil or rawequal(result, stanza), "the filter gives back something else");
	if type(stanza) ~= "table" or is_disguised(stanza) then return; end
	if result ~= nil then check_element(stanza, session); end
	local quick = { table.concat(done, " "), (record(session)) };
	local passed, then_done, then_record = filter_slowly(begin);
	assert(passed == (result ~= nil), "one look lets pass what the other does not");
	assert(then_done == quick[1] and then_record == quick[2], "the two looks do different things");
end

local steps = {
	{ "stanza/urn:ietf:params:xml:ns:xmpp-tls:starttls" }; { "stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth" };
	{ "stanza/urn:ietf:params:xml:ns:xmpp-sasl:failure" }; { "stanza/jabber:server:dialback:result" };
	{ "stanza/jabber:server:dialback:verify" }; { "stanza/http://etherx.jabber.org/streams:features" }; { "s2s-authenticated" };
	{ "s2s-stream-features" }; { "s2sout-authenticate-legacy" }; { "s2sout-created" }; { "s2s-created"; true };
	{ "s2s-check-certificate"; true }; { "s2sin-established"; true }; { "s2sout-established"; true }; { "s2s-partners-header"; true };
};

-- A step of the handshake, with anything in it. Only one of them may authenticate.
local function step()
	local session, remote = some_stream();
	local _, before = record(session);
	local host, one = pick(hosts), pick(steps);
	local data = { origin = session; session = session; stanza = some_element(choose(4) ~= 0 and remote or nil, choose(4) ~= 0 and host or nil);
		host = choose(2) == 0 and remote or maybe_odd(some_domain()); mechanism = choose(2) == 0 and "dialback" or maybe_odd("EXTERNAL");
		features = maybe_odd({ tags = {} }); cert = odd_value() };
	-- Core makes these itself.
	if type(session) ~= "table" and (one[1] == "s2s-created" or one[1] == "s2sout-created") then return; end
	actions_fail = choose(8) == 0;
	fire_at(not one[2] and host or nil, one[1], data);
	local _, after, now = record(session);
	if after and after >= AUTHENTICATED and (not before or before < AUTHENTICATED) then
		assert(one[1] == "s2s-authenticated" and data.mechanism == "dialback" and host == HOST, "authenticated by something else");
		assert(canonical(text_of(data.host)) == now and listed[now], "authenticated as somebody else");
	end
	assert(not before or before > 0 or after == 0, "a refused stream goes on");
end

local ways = { twice(incoming), twice(outgoing), filtered, step };

return function (text)
	input, position, done, actions_fail, facts = text, 1, {}, false, {};
	guard.places, guard.questions = { partners = {} }, {};
	guard.hosts[HOST].s2sout = {};
	for _, need in ipairs(needs) do
		local tokens = fact_tokens[need];
		local which = choose(#tokens + 4);
		if which <= #tokens + 1 then
			facts[need] = tokens[which + 1] or tokens[1];
		else
			facts[need] = which == #tokens + 2 and error or odd_value();
		end
	end
	for _ = 1, 8 do
		if position > #text then break; end
		pick(ways)();
		helpers.pass(1000 + choose(100) * 10);
	end
end
