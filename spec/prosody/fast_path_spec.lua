-- The quick look at stanzas against the handlers it stands for: whatever a stanza is like, what comes of it is the same. Where nothing
-- is counted the fast path never concludes, so that one of two servers that are otherwise alike goes the long way with each stanza.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();

local HOST, ROOMS = "contoso.test", "rooms.contoso.test";
local DOMAINS = { "fed.test", "quiet.test", "ver.test", "unv.test", "open.test", "xn--bcher-kva.test" };
local CASES = 12000;
-- Every look into the environment of a test is a call too.
local sethook, getinfo, getlocal, max = debug.sethook, debug.getinfo, debug.getlocal, math.max;
-- What a handler that is called with an event may have on its stack without asking (LUA_MINSTACK), and what it calls a function with.
local SLOTS, CALL = 20 + 1, 1 + 3;

local function partner(domain, partner_type, group_chat)
	return { domain = domain; partner_type = partner_type; group_chat = group_chat; tls = "not_supported"; sasl = "not_supported"; dialback = true };
end

local partners = assert(native.compile_table { local_domains = { HOST, ROOMS }; lists = { { place = "s2s_partners"; list = {
	partner("fed.test", "federated"), partner("quiet.test", "federated", "refuse"), partner("ver.test", "public_verified"),
	partner("unv.test", "public_unverified"), partner("open.test", "public_unverified", "allow"),
	partner("xn--bcher-kva.test", "federated"),
} } } });
local function new_policy()
	return assert(native.compile_policy { table = partners; limits = { connections = 100; partner_connections = 10 };
		external_access = { default = "allow"; users = { intern = "deny" } };
		options = { require_encryption = false; secure_auth = false } });
end
local policy = new_policy();

-- A generator of our own: the same cases in every run.
local state = 20;
local function draw(list)
	state = (state * 1103515245 + 12345) & 0x7fffffff;
	return list[(state >> 8) % list.n + 1];
end
local function any(...) return table.pack(...); end

local function show(value, seen)
	if type(value) ~= "table" then return tostring(value); end
	seen = seen or {};
	if seen[value] then return "..."; end
	seen[value] = true;
	local parts = {};
	for key, entry in pairs(value) do parts[#parts+1] = tostring(key).."="..show(entry, seen); end
	table.sort(parts);
	seen[value] = nil;
	return "{"..table.concat(parts, ",").."}";
end

-- One pretended server with an established stream of each partner, which what goes out uses too (as bidi does).
-- `relay`: whether the host with users is a relay host, whose users are all taken to exist.
local function new_server(counters, roles_scanned, relay)
	local server, hooks = { actions = {}, deepest = 0 }, {};
	local guard = { policies = { [HOST] = policy; [ROOMS] = policy }; trust = { anchors = {}; hosts = {}; own = {} }; counters = counters;
		hosts = { [HOST] = { type = "local"; s2sout = {}; s2s_partners_relay = relay or nil }; [ROOMS] = { type = "component"; s2sout = {} } };
		places = { total = 0; partners = {} }; questions = {}; keepalives = {}; roles_scanned = roles_scanned;
		answers = setmetatable({}, { __mode = "k" }); notes = setmetatable({}, { __mode = "k" });
		full_sessions = { ["alice@"..HOST.."/r"] = {}; ["carol@"..HOST.."/r"] = {}; ["intern@"..HOST.."/r"] = {} };
		bare_sessions = {
			["alice@"..HOST] = { roster = { [false] = {}; ["bob@unv.test"] = {}; ["bob@open.test"] = {}; ["bob@ver.test"] = {} } };
			["carol@"..HOST] = { roster = { [false] = { broken = true }; ["bob@unv.test"] = {} } };
			["intern@"..HOST] = { roster = { [false] = {} } };
		};
		directed = { ["alice@"..HOST] = { ["alice@"..HOST.."/r"] = { ["eve@open.test"] = true } } };
		is_address = function (address) return not address:find("/gone", 1, true); end;
		own_way = function (event)
			local function domain(address) return address and address:match("^[^/]*"):match("[^@]*$"); end
			return domain(event.stanza.attr.from) or event.from_host, domain(event.stanza.attr.to) or event.to_host;
		end;
		facts = {
			access = function (_, user)
				server.asked = (server.asked or 0) + 1;
				return user == "intern" and "denied" or server.access or "allowed";
			end;
			account = function (_, user)
				local known = relay and user ~= "" or user == "alice" or user == "carol" or user == "dave" or user == "intern";
				return known and "exists" or "missing";
			end;
			listed = function (_, user, _, contact)
				if user == "carol" then return "unavailable"; end
				contact = contact:lower():match("^[^/]*");
				return (user == "alice" or user == "dave") and contact:match("^bob@") and contact ~= "bob@fed.test" and contact ~= "bob@quiet.test"
					and "yes" or "no";
			end;
			directed = function (_, user, _, contact)
				return user == "alice" and contact:match("^[^/]*") == "eve@open.test" and "yes" or "no";
			end;
			requested = function (_, _, _, _, id) return id == "asked" and "yes" or "no"; end;
			standing = function () return "none"; end;
			blocked = function (_, user, _, contact) return user == "alice" and contact:match("^eve@") and "yes" or "no"; end;
			contacts = function (_, _, _, contact) return contact:match("^eve@") and "many" or "few"; end;
			sees = function (_, user) return user == "dave" and "yes" or "no"; end;
			passed = function (_, _, _, contact) return contact:match("^bob@") and "yes" or "no"; end;
			waiting = function (_, user) return user == "dave" and "full" or "room"; end;
		};
	};
	guard.act = setmetatable({}, { __index = function (_, name)
		return function (...)
			local arguments = table.pack(...);
			-- Only told to the log, of the first recipient.
			if name == "passed" and arguments[2] == "status-note-removed" then server.changed = (server.changed or 0) + 1; end
			if name == "passed" and arguments[2] == "status-note-removed" and arguments[3] == nil then return; end
			for i = 1, arguments.n do
				if type(arguments[i]) == "table" then arguments[i] = arguments[i].name or "table"; end
			end
			table.insert(server.actions, name..show(arguments));
		end;
	end });
	for _, host in ipairs { HOST, ROOMS } do
		hooks[host] = {};
		native.install_host(guard, { hook = function (_, event, handler, priority)
			hooks[host][event] = hooks[host][event] or {};
			table.insert(hooks[host][event], { handler = handler; priority = priority });
			table.sort(hooks[host][event], function (a, b) return a.priority > b.priority; end);
		end }, host);
	end
	hooks[""] = {};
	native.install_global(guard, { hook = function (_, event, handler, priority)
		hooks[""][event] = hooks[""][event] or {};
		table.insert(hooks[""][event], { handler = handler; priority = priority });
	end });
	local filter = native.stanza_filter(guard);

	-- As util.events does it, up to core's own handler of a route, which finds a stream at -1.
	-- server.calls: of functions in C; a fast path that concludes is part of the one that is called.
	local function fire(host, event, data)
		server.calls = 0;
		for _, entry in ipairs(hooks[host][event] or {}) do
			if entry.priority < -1 then break; end
			local handler = entry.handler;
			sethook(function ()
				server.calls = server.calls + 1;
				if getinfo(3, "f").func ~= handler then return; end
				local slots = 0;
				while getlocal(3, slots + 1) do slots = slots + 1; end
				server.deepest = max(server.deepest, slots);
			end, "c");
			local answer = handler(data);
			sethook();
			if answer ~= nil then return answer; end
		end
	end

	function server.open()
		guard.places, guard.questions = { total = 0; partners = {} }, {};
		for _, domain in ipairs(DOMAINS) do
			for _, host in ipairs { HOST, ROOMS } do
				local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = domain; to_host = host; conn = {}; hosts = {} };
				fire("", "s2s-created", { session = session });
				fire(host, "s2s-stream-features", { origin = session; features = { tags = {} } });
				local key = { name = "result"; attr = { xmlns = "jabber:server:dialback"; from = domain; to = host }; tags = {}; "key" };
				assert(filter(key, session), show(server.actions));
				assert(fire(host, "stanza/jabber:server:dialback:result", { origin = session; stanza = key }) == nil, show(server.actions));
				assert(fire(host, "s2s-authenticated", { session = session; host = domain; mechanism = "dialback" }) == nil, show(server.actions));
				session.type = "s2sin";
				fire("", "s2sin-established", { session = session });
				guard.hosts[host].s2sout[domain] = session;
			end
		end
		server.actions = {};
	end

	-- What becomes of a stanza: by itself, by what the module does about it, and as what it goes on.
	local function outcome(answer, event)
		local result = show { tostring(answer), server.actions, event.stanza };
		server.actions = {};
		return result;
	end

	function server.incoming(host, domain, kind, stanza, roles, parsed, over)
		guard.roles_scanned = roles;
		local origin = guard.hosts[over or host].s2sout[domain];
		local passed = not parsed or filter(stanza, origin); -- what a module makes does not come by the parser
		if not passed then return outcome("filtered", { stanza = stanza }); end
		local event = { origin = origin; stanza = stanza };
		return outcome(fire(host, stanza.name.."/"..kind, event), event);
	end

	function server.outgoing(host, domain, stanza, case)
		if case and case.own then guard.answers[stanza] = true; end
		local event = { from_host = case and case.from_host or host; to_host = domain; stanza = stanza };
		return outcome(fire(host, "route/remote", event), event);
	end

	-- As the guard does when a configuration has been read.
	function server.adopt(other)
		guard.policies = { [HOST] = other; [ROOMS] = other };
		for _, host in ipairs { HOST, ROOMS } do
			for _, session in pairs(guard.hosts[host].s2sout) do assert.same({}, (native.rejudge(guard, { session }))); end
		end
	end

	-- A policy that the streams have not been judged by.
	function server.stray(other)
		guard.policies = { [HOST] = other; [ROOMS] = other };
	end

	function server.refused()
		for _, host in ipairs { HOST, ROOMS } do
			for _, domain in ipairs(DOMAINS) do
				if native.stream_view(guard.hosts[host].s2sout[domain]).stage ~= "established" then return true; end
			end
		end
	end

	return server;
end

local function element(name, xmlns, ...)
	local result = { name = name; attr = { xmlns = xmlns }; tags = {} };
	for _, child in ipairs { ... } do
		table.insert(result, child);
		if type(child) == "table" then table.insert(result.tags, child); end
	end
	return result;
end

local PUBSUB = "http://jabber.org/protocol/pubsub";

local function node(name, value)
	local result = element(name);
	result.attr.node = value;
	return result;
end

local children = any(
	function () end,
	function () return element("body", nil, "hello"); end,
	function () return element("status", nil, "lunch"); end,
	function () return element("show", nil, "away"), element("status", nil, "lunch"); end,
	function () return element("x", "http://jabber.org/protocol/muc"); end,
	function () return element("query", "http://jabber.org/protocol/disco#info"); end,
	function () return element("ping", "urn:xmpp:ping"); end,
	function () return element("query", "jabber:iq:last", "lunch"); end,
	function () return element("query", "jabber:iq:last", element("x", nil, element("status", "jabber:client", "lunch"))); end,
	function () return element("query", "jabber:iq:last", element("query", nil, "lunch")); end,
	function () return element("idle", "urn:xmpp:idle:1", element("status", "jabber:client", "lunch")); end,
	function () return element("ping", "urn:xmpp:ping"), element("ping", "urn:xmpp:ping"); end,
	function () return element("event", PUBSUB.."#event", node("items", "http://jabber.org/protocol/mood")); end,
	function () return element("event", PUBSUB.."#event", node("items", "urn:xmpp:avatar:data"), node("items", "urn:lab:x")); end,
	function () return element("event", PUBSUB.."#event", node("items", "urn:xmpp:avatar:data")), element("body", nil, "hello"); end,
	function () return element("pubsub", PUBSUB, node("items", "http://jabber.org/protocol/mood")); end,
	function () return element("query", "http://jabber.org/protocol/disco#items", node("item", "http://jabber.org/protocol/mood")); end
);
local names = any("message", "presence", "iq", "message", "presence");
local types = any(nil, nil, nil, "chat", "groupchat", "error", "normal", "", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed",
	"probe", "get", "set", "result", "bogus");
local locals = any("alice", "alice", "alice", "carol", "dave", "nobody", "intern", "");
local resources = any("", "/r", "/r", "/gone", "/a@b");
local contacts = any("bob@", "bob@", "eve@", "", "@");
local ids = any("1", nil, "asked");
local domains = any(table.unpack(DOMAINS));
local hosts = any(HOST, HOST, HOST, ROOMS);

-- A stanza twice, so that neither server sees what the other has done to it. Now and then an address is not what it should be.
local function new_case()
	local host, domain, incoming = draw(hosts), draw(domains), draw(any(true, false));
	local ours = draw(locals);
	local mine = (ours == "" and host or ours.."@"..host)..draw(resources);
	local theirs = draw(contacts)..domain..draw(resources);
	local odd = draw(any(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
	if odd == 1 then theirs = "bob@elsewhere.test"; elseif odd == 2 then theirs = theirs:upper(); elseif odd == 3 then theirs = nil;
	elseif odd == 4 then mine = nil; elseif odd == 5 then mine = "alice@elsewhere.test"; end
	local name, kind, id, make = draw(names), draw(types), draw(ids), draw(children);
	local function stanza()
		local result = element(name, nil, make());
		result.attr.type, result.attr.id = kind, id;
		result.attr.from, result.attr.to = incoming and theirs or mine, incoming and mine or theirs;
		return result;
	end
	local answers = not incoming and (kind == "error" or name == "presence" and kind == "unavailable");
	return { host = host; domain = domain; incoming = incoming; stanza = stanza; own = answers and draw(any(true, false));
		from_host = odd == 6 and "elsewhere.test" or nil;
		kind = mine and mine:find("@") and (mine:find("/") and "full" or "bare") or "host" };
end

describe("the fast path", function ()
	local function compare(relay, cases)
		local counters = {};
		local quick, long = new_server(counters, nil, relay), new_server(nil, nil, relay);
		quick.open();
		long.open();
		local looks, passes, alike, own, kept = { ["in"] = 0; out = 0 }, 0, 0, 0, 0;
		for _ = 1, cases do
			local case = new_case();
			local mine, other = case.stanza(), case.stanza();
			local roles, parsed = draw(any(nil, nil, {})), draw(any(true, true, true, false));
			for _ = 1, draw(any(1, 1, 2)) do -- as a broadcast has one stanza for many
				local function went(server, stanza)
					if case.incoming then return server.incoming(case.host, case.domain, case.kind, stanza, roles, parsed); end
					return server.outgoing(case.host, case.domain, stanza, case);
				end
				local changed = quick.changed;
				local answer = went(quick, mine);
				if answer:find("^{1=true") and quick.changed ~= changed then kept = kept + 1; end
				if answer:find("^{1=nil") then
					passes = passes + 1;
					if answer:find("answer_alike", 1, true) then alike = alike + 1; end
					if case.own then own = own + 1; end
					if quick.calls == 2 then -- the handler, and the end of the hook
						local way = case.incoming and "in" or "out";
						looks[way] = looks[way] + 1;
					end
				end
				assert.same(went(long, other), answer, ("%s %s %s"):format(case.incoming and "in" or "out", case.domain, show(mine)));
			end
			if quick.refused() then
				quick.open();
				long.open();
			end
		end
		local counted = 0;
		for _, block in pairs(counters) do
			native.drain_counters(block, function (_, _, _, _, _, times) counted = counted + times; end);
		end
		assert.same(passes + kept - own, counted);
		assert.is_true(relay or alike > 0, "no answer of core's was replaced");
		assert.is_true(kept > (relay and 0 or cases / 1000), kept.." kept back"); -- a relay host answers less itself
		assert.is_true(own > cases / 200, own.." answers of the module's own");
		assert.is_true(quick.deepest + CALL <= SLOTS, quick.deepest.." slots of the stack");
		assert.is_true(quick.deepest > SLOTS / 2, quick.deepest.." slots of the stack: no fast path has called anything");
		assert.is_true(passes > cases / 10, passes.." passed");
		for way, times in pairs(looks) do assert.is_true(times > cases / 100, times.." passed by the fast path, "..way); end
		return looks["in"];
	end

	local start, without = state, nil;

	it("says of every stanza what the long way says", function () without = compare(false, CASES); end);

	it("says so of a relay host too, for users without sessions", function ()
		state = start;
		assert.is_true(compare(true, CASES // 4) * 4 > without);
	end);

	it("finds in an answer about last activity all that is taken out of one", function ()
		local quick, long = new_server({}), new_server(nil);
		quick.open();
		long.open();
		for text, inside in pairs {
			["no text"] = element("x", nil, element("show", nil, "away")), ["the text itself"] = "lunch",
			["a status further in"] = element("x", nil, element("status", "jabber:client", "lunch")),
			["the same once more inside"] = element("query", nil, "lunch"),
		} do
			local function went(server)
				local answer = element("iq", nil, element("query", "jabber:iq:last", inside));
				answer.attr.type, answer.attr.id, answer.attr.from, answer.attr.to = "result", "1", "alice@"..HOST.."/r", "bob@ver.test/r";
				local before = server.changed;
				return { server.outgoing(HOST, "ver.test", answer), changed = server.changed ~= before };
			end
			local expected = went(long);
			assert.equal(text ~= "no text", expected.changed, text);
			assert.same(expected, went(quick), text);
		end
	end);

	local function message(server)
		return server.outgoing(HOST, "fed.test", { name = "message"; attr = { from = "alice@"..HOST.."/r"; to = "bob@fed.test" }; tags = {} });
	end

	it("asks for roles unless it is known since a second ago that none denies anybody", function ()
		for away, asked in pairs { [0] = 0; [-10] = 1; [10] = 1; never = 1 } do
			local scanned = {};
			local server = new_server({}, scanned);
			server.open();
			message(server); -- the first is what finds the numbers that later ones are counted in
			server.asked = 0;
			scanned[HOST] = away ~= "never" and os.time() + away or nil; -- at last: all before may take seconds
			message(server);
			assert.same(asked, server.asked, tostring(away));
		end
		local server = new_server({}, {});
		server.open();
		local allowed = message(server);
		server.access = "denied";
		assert.are_not.same(allowed, message(server));
	end);

	it("is for the policy that the stream has been judged by", function ()
		local server = new_server({});
		server.open();
		local function answer()
			return server.incoming(HOST, "fed.test", "full", { name = "message"; attr = { from = "bob@fed.test"; to = "alice@"..HOST.."/r" }; tags = {} });
		end
		local sent, received = message(server), answer();
		assert.same({ sent, received }, { message(server), answer() });
		server.stray(assert(native.compile_policy { table = assert(native.compile_table { local_domains = { HOST, ROOMS };
			lists = { { place = "s2s_partners"; list = { partner("other.test", "federated") } } } });
			limits = { connections = 100; partner_connections = 10 }; external_access = { default = "allow"; users = {} };
			options = { require_encryption = false; secure_auth = false } }));
		assert.are_not.same(sent, message(server));
		assert.are_not.same(received, answer());
	end);

	it("counts for the host that a stanza is for, whichever the stream is of", function ()
		local counters, counted = {}, {};
		local server = new_server(counters);
		server.open();
		for _ = 1, 5 do
			for _, host in ipairs { HOST, ROOMS } do
				for _, over in ipairs { HOST, ROOMS } do
					local stanza = { name = "message"; attr = { from = "bob@fed.test"; to = host }; tags = {} };
					server.incoming(host, "fed.test", "host", stanza, nil, false, over);
				end
			end
		end
		for _, block in pairs(counters) do
			native.drain_counters(block, function (host, _, _, _, _, times) counted[host] = (counted[host] or 0) + times; end);
		end
		assert.same({ [HOST] = 10; [ROOMS] = 10 }, counted);
	end);

	it("keeps nothing of a policy that has been replaced", function ()
		local counters = {};
		local server = new_server(counters);
		local seen = setmetatable({}, { __mode = "k" });
		local function serve_with(other)
			seen[other] = true;
			server.adopt(other);
			assert.same(message(server), message(server));
		end
		server.open();
		serve_with(new_policy());
		server.adopt(policy);
		for key in pairs(counters) do counters[key] = nil; end -- they have been fetched
		collectgarbage();
		collectgarbage();
		assert.is_nil(next(seen));
	end);

	it("leaves no numbers about when the policy of a host is not the stream's", function ()
		local counters = {};
		local server = new_server(counters);
		server.open();
		server.stray(new_policy());
		for _ = 1, 10 do server.incoming(HOST, "fed.test", "full", { name = "message"; tags = {};
			attr = { from = "bob@fed.test/r"; to = "alice@"..HOST.."/r" } }); end
		assert.is_true(#counters <= 1, #counters.." old blocks");
	end);
end);
