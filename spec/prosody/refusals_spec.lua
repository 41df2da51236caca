-- Refused stanzas from the fixture to the action: every refusal in fixtures/authorisation.tsv, made a stanza between a local address and a
-- partner, is refused for its reason, and the action is told the reply that the fixture has. What Lua makes of that is in actions_spec.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();

local HOST, ROOMS = "contoso.test", "rooms.contoso.test";

local function rows()
	local list, names = {}, nil;
	for line in io.lines(source.."/fixtures/authorisation.tsv") do
		local fields = {};
		for field in (line.."\t"):gmatch("([^\t]*)\t") do fields[#fields+1] = field; end
		if not names then
			names = fields;
		else
			local row = {};
			for i, name in ipairs(names) do row[name] = fields[i]; end
			if row.verdict == "refuse" then list[#list+1] = row; end
		end
	end
	return list;
end

-- One partner for each type and pair of settings, with a second domain that can be written in several ways.
local function domain_of(row, automatic)
	return ("%s-%s-%s.test"):format(row.partner_type:gsub("_", "-"), row.group_chat, automatic and "automatic" or "user");
end

local partners = {};
for _, partner_type in ipairs { "federated", "public_verified", "public_unverified" } do
	for _, group_chat in ipairs { "allow", "refuse" } do
		for _, automatic in ipairs { true, false } do
			local domain = domain_of({ partner_type = partner_type; group_chat = group_chat }, automatic);
			partners[#partners+1] = { domain = domain; additional_domains = { "xn--bcher-kva."..domain }; partner_type = partner_type;
				group_chat = group_chat; presence_authorization = automatic and partner_type ~= "public_unverified" and "automatic" or "user";
				tls = "not_supported"; sasl = "not_supported"; dialback = true };
		end
	end
end

local function element(name, attr, ...)
	local tag = { name = name; attr = attr or {}; tags = {} };
	for _, child in ipairs { ... } do
		table.insert(tag, child);
		table.insert(tag.tags, child);
	end
	return tag;
end

-- kind -> name, type, payload
local kinds = {
	message = { "message", "chat" }; groupchat = { "message", "groupchat" }; ["message-error"] = { "message", "error" };
	presence = { "presence" }; join = { "presence", nil, { "x", "http://jabber.org/protocol/muc" } };
	unavailable = { "presence", "unavailable" }; ["presence-error"] = { "presence", "error" }; probe = { "presence", "probe" };
	subscribe = { "presence", "subscribe" }; subscribed = { "presence", "subscribed" }; unsubscribe = { "presence", "unsubscribe" };
	unsubscribed = { "presence", "unsubscribed" }; ["iq-get"] = { "iq", "get", { "query", "urn:lab" } };
	["iq-set"] = { "iq", "set", { "query", "urn:lab" } }; ["iq-result"] = { "iq", "result" }; ["iq-error"] = { "iq", "error" };
	service = { "iq", "get", { "ping", "urn:xmpp:ping" } };
};
local locals = { user = "alice@"..HOST.."/r"; host = HOST; component = ROOMS; room = "room@"..ROOMS };

local guard, hooks, done, row_facts;

local function install(host)
	hooks[host] = {};
	native.install_host(guard, { hook = function (_, event, handler, priority)
		local list = hooks[host][event] or {};
		hooks[host][event] = list;
		table.insert(list, { handler = handler; priority = priority });
		table.sort(list, function (a, b) return a.priority > b.priority; end);
	end }, host);
end

-- Up to core's own handlers.
local function fire(host, event, data)
	for _, entry in ipairs(hooks[host][event] or {}) do
		if entry.priority < 0 then break; end
		local answer = entry.handler(data);
		if answer ~= nil then return answer; end
	end
end

setup(function ()
	local compiled, issues = native.compile_table { local_domains = { HOST, ROOMS }; lists = { { place = "s2s_partners"; list = partners } } };
	assert(compiled, issues and issues[1] and issues[1].message);
	local policy = assert(native.compile_policy { table = compiled; limits = { connections = 1000 };
		external_access = { default = "allow" }; options = { require_encryption = false } });
	local function fact(name)
		return function () return row_facts[name]; end;
	end
	local facts = {};
	for _, name in ipairs { "access", "account", "listed", "directed", "requested", "standing", "blocked", "contacts", "waiting", "passed", "sees" } do
		facts[name] = fact(name);
	end
	guard = { policies = { [HOST] = policy; [ROOMS] = policy }; trust = { anchors = {}; hosts = {}; own = {} };
		hosts = { [HOST] = { type = "local"; s2sout = {} }; [ROOMS] = { type = "component"; s2sout = {} } };
		places = { total = 0; partners = {} }; questions = {}; keepalives = {}; counters = {}; roles_scanned = {};
		answers = {}; notes = {}; full_sessions = {}; bare_sessions = {}; facts = facts;
		is_address = function () return true; end;
		act = setmetatable({}, { __index = function (_, name)
			return function (...) done[#done+1] = { name, ... }; end;
		end });
	};
	hooks = {};
	install(HOST);
	install(ROOMS);
	hooks[""] = {};
	native.install_global(guard, { hook = function (_, event, handler) hooks[""][event] = { { handler = handler; priority = 1 } }; end });
end);

-- An established stream from that domain to the host, as bidi would have it for what goes out too.
local function stream_of(host, domain)
	local session = guard.hosts[host].s2sout[domain];
	if session and native.stream_view(session).stage == "established" then return session; end
	session = { type = "s2sin_unauthed"; direction = "incoming"; conn = {}; hosts = {}; from_host = domain; to_host = host; version = 1 };
	fire("", "s2s-created", { session = session });
	fire(host, "s2s-stream-features", { origin = session; features = { tags = {} } });
	fire(host, "stanza/jabber:server:dialback:result", { origin = session; stanza = element("result", { from = domain; to = host }, nil) });
	fire(host, "s2s-authenticated", { session = session; host = domain; mechanism = "dialback" });
	session.type = "s2sin";
	fire("", "s2sin-established", { session = session });
	assert.same("established", native.stream_view(session).stage);
	guard.hosts[host].s2sout[domain] = session;
	return session;
end

local function stanza_of(row, domain, outgoing)
	local name, kind, payload = table.unpack(kinds[row.stanza], 1, 3);
	local ours, theirs = locals[row["local"]], "bob@"..domain;
	if row.stanza == "service" and outgoing then theirs = domain; end
	return element(name, { type = kind; id = "1"; from = outgoing and ours or theirs; to = outgoing and theirs or ours },
		payload and element(payload[1], { xmlns = payload[2] }));
end

-- What a row leaves open has no influence; an adapter has to answer with something when it is asked.
local usual = { access = "allowed"; account = "exists"; listed = "no"; directed = "no"; requested = "no"; standing = "none"; blocked = "no";
	contacts = "few"; waiting = "room"; passed = "yes" };

local function run(row, automatic, noted)
	local outgoing, host = row.direction == "out", (row["local"] == "user" or row["local"] == "host") and HOST or ROOMS;
	local domain = domain_of(row, automatic);
	if row.blocked ~= "-" then domain = "xn--bcher-kva."..domain; end
	local session, stanza = stream_of(host, domain), stanza_of(row, domain, outgoing);
	row_facts = {};
	for name, word in pairs(usual) do row_facts[name] = row[name] ~= nil and row[name] ~= "-" and row[name] or word; end
	done = {};
	local stopped;
	if outgoing then
		local origin = { type = "c2s"; directed = noted and { [stanza.attr.to] = true } or nil };
		stopped = fire(host, "route/remote", { origin = origin; from_host = host; to_host = domain; stanza = stanza });
	else
		local target = row["local"] == "user" and "full" or row["local"] == "room" and "bare" or "host";
		stopped = fire(host, stanza.name.."/"..target, { origin = session; stanza = stanza });
	end
	return stopped, done[1] or {}, stanza;
end

describe("a refused stanza", function ()
	it("is refused for the fixture's reason, and its sender hears what the fixture says", function ()
		local checked = 0;
		for number, row in ipairs(rows()) do
			-- A request to a room or user is no service for who reads it off the stanza.
			if not (row.stanza == "service" and row.direction == "in" and (row["local"] == "user" or row["local"] == "room")) then
				for _, automatic in ipairs { true, false } do
					local possible = row.presence_authorization ~= (automatic and "user" or "automatic")
						and not (automatic and row.partner_type == "public_unverified");
					for _, noted in ipairs { true, false } do
						if possible then
							local stopped, action, stanza = run(row, automatic, noted);
							local what = ("refusal %d: %s %s %s %s"):format(number, row.partner_type, row.direction, row.stanza, row["local"]);
							local reply = row.reply;
							if reply == "error-if-directed" then reply = noted and "error" or "none"; end
							assert.is_true(stopped, what);
							assert.same(1, #done, what);
							if row.direction == "out" then
								assert.same({ "refuse_route", row.reason, reply, false }, { action[1], action[3], action[5], action[6] }, what);
							else
								assert.same({ "refuse_stanza", row.reason, reply }, { action[1], action[3], action[6] }, what);
								assert.equal(stanza, action[5]);
							end
							checked = checked + 1;
						end
					end
				end
			end
		end
		assert.is_true(checked > 2000, checked.." refusals");
	end);

	local function route(to_host, stanza, origin)
		done = {};
		local event = { origin = origin; from_host = HOST; to_host = to_host; stanza = stanza };
		assert.is_true(fire(HOST, "route/remote", event));
		return done[1], event;
	end

	local function presence(to, ...)
		return element("presence", { from = "alice@"..HOST.."/r"; to = to }, ...);
	end

	it("to an unlisted domain is taken off core's notes, unless its like has passed", function ()
		local to = "eve@elsewhere.test";
		local origin = { directed = { [to] = true } };
		for passed, forget in pairs { yes = false; no = true; [""] = false } do
			row_facts = { passed = passed };
			local action = route("elsewhere.test", presence(to), origin);
			assert.same({ "refuse_route", "unlisted-domain", "error", forget }, { action[1], action[3], action[5], action[6] });
		end
		row_facts = { passed = "no" };
		assert.same({ "none", false }, { table.unpack(route("elsewhere.test", presence(to), {}), 5, 6) });
		local join = presence(to, element("x", { xmlns = "http://jabber.org/protocol/muc" }));
		assert.same({ "error", false }, { table.unpack(route("elsewhere.test", join, {}), 5, 6) });
	end);

	it("is none of them when it is core's question about a key", function ()
		local action = route("elsewhere.test", element("db:verify", { from = HOST; to = "elsewhere.test"; id = "1" }));
		assert.same({ "refuse_route", "unlisted-domain", "none" }, { action[1], action[3], action[5] });
	end);

	it("of a failed handler is answered by the same table", function ()
		row_facts = { passed = "no" };
		local function failed(stanza, origin)
			return native.refused_route(guard, { origin = origin; from_host = HOST; to_host = "elsewhere.test"; stanza = stanza }, "internal-error");
		end
		assert.same({ "error", false }, { failed(element("message", { type = "chat" })) });
		assert.same({ "none", false }, { failed(element("message", { type = "error" })) });
		local to = "eve@elsewhere.test";
		assert.same({ "error", false }, { failed(presence(to), { directed = { [to] = true } }) });
		assert.has_error(function () native.refused_route(guard, {}, "no-such-reason"); end);
	end);

	it("that is malformed is answered when it can be a request", function ()
		local domain = domain_of({ partner_type = "federated"; group_chat = "allow" }, false);
		local session = stream_of(HOST, domain);
		local function sent(kind, id)
			done = {};
			local stanza = element("iq", { type = kind; id = id; from = "bob@"..domain; to = locals.user });
			assert.is_true(fire(HOST, "iq/full", { origin = session; stanza = stanza }));
			return done[1][1], done[1][4];
		end
		assert.same({ "answer_malformed", "error" }, { sent("get", "1") });
		assert.same({ "answer_malformed", "error" }, { sent("nonsense", "1") });
		assert.same({ "answer_malformed", "none" }, { sent("result", nil) });
		assert.same({ "answer_malformed", "none" }, { sent("set", nil) });
	end);
end);

describe("an answer that core gives in a user's name", function ()
	local domain = domain_of({ partner_type = "federated"; group_chat = "allow" }, false);

	local function text(name, attr, words)
		local tag = element(name, attr);
		tag[1] = words;
		return tag;
	end

	local function deep(levels)
		local inner = element("x");
		for _ = 1, levels do inner = element("x", {}, inner); end
		return inner;
	end

	-- What is done about the answer: nothing, or the action that replaces it.
	local function routed(kind, payload, sees)
		stream_of(HOST, domain);
		done, row_facts = {}, { access = "allowed"; sees = sees };
		local stanza = element("iq", { type = kind; id = "1"; from = "alice@"..HOST; to = "bob@"..domain.."/r" }, payload);
		assert.is_nil(fire(HOST, "route/remote", { from_host = HOST; to_host = domain; stanza = stanza }));
		return done[1] and done[1][1];
	end

	local pubsub = "http://jabber.org/protocol/pubsub";
	local nothing = {
		error = function () return "error", element("error"); end;
		empty = function () return "result"; end;
		time = function () return "result", element("time", { xmlns = "urn:xmpp:time" }, text("utc", {}, "now")); end;
		["old time"] = function () return "result", text("query", { xmlns = "jabber:iq:time" }, "now"); end;
		["the owner's"] = function () return "result", element("pubsub", { xmlns = pubsub.."#owner" }, text("configure", {}, "x")); end;
		["no items"] = function () return "result", element("pubsub", { xmlns = pubsub }, element("items", { node = "x" })); end;
		["ways of the service"] = function () return "result", element("pubsub", { xmlns = pubsub }, element("configure", {}, text("x", {}, "y"))); end;
		["an echo"] = function () return "result", element("query", { xmlns = "urn:lab" }, element("x", { node = "y"; xmlns = "urn:lab" })); end;
		["white space"] = function () return "result", element("query", { xmlns = "urn:lab" }, text("x", {}, " \t\r\n\v\f")); end;
		["what is as deep as may be"] = function () return "result", element("query", { xmlns = "urn:lab" }, deep(63)); end;
	};
	local something = {
		text = function () return "result", text("query", { xmlns = "urn:lab" }, "words"); end;
		["text inside"] = function () return "result", element("query", { xmlns = "urn:lab" }, text("x", {}, " words ")); end;
		["an attribute"] = function () return "result", element("query", { xmlns = "urn:lab" }, element("x", { var = "y" })); end;
		items = function () return "result", element("pubsub", { xmlns = pubsub }, element("items", {}, element("item"))); end;
		["a subscription"] = function () return "result", element("pubsub", { xmlns = pubsub }, element("subscription")); end;
		["what is too deep"] = function () return "result", element("query", { xmlns = "urn:lab" }, deep(64)); end;
	};

	it("is replaced when there is nothing of the user's in it and the contact may not see the user", function ()
		for name, answer in pairs(nothing) do
			local kind, payload = answer();
			assert.same("answer_alike", routed(kind, payload, "no"), name);
			assert.is_nil(routed(kind, payload, "yes"), name);
			-- It cannot be found out.
			assert.same("answer_alike", routed(kind, payload, nil), name);
		end
	end);

	it("stays when there is anything of the user's in it", function ()
		for name, answer in pairs(something) do
			local kind, payload = answer();
			assert.is_nil(routed(kind, payload, "no"), name);
		end
	end);
end);
