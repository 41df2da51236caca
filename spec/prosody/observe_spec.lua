-- Observe mode: whatever comes, no handler answers an event, no object of core's is another afterwards, no action is asked for.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();
local core_stub = require "core_stub";
local lua_world = require "lua_world";

local HOST = "contoso.test";
local OWN = "^s2s_partners"; -- fields of ours in a session
local EVENTS = 3000;

local function pick(list) return list[math.random(#list)]; end

local function partner(domain, more)
	local entry = { domain = domain; partner_type = "federated" };
	for key, value in pairs(more or {}) do entry[key] = value; end
	return entry;
end

local partners = assert(native.compile_table { local_domains = { HOST }; lists = { { place = "s2s_partners"; list = {
	partner("sasl.test"); partner("keys.test", { sasl = "not_supported"; dialback = true });
	partner("plain.test", { tls = "not_supported"; sasl = "not_supported"; dialback = true });
	partner("any.test", { tls = "optional"; sasl = "optional"; dialback = true; partner_type = "public_unverified"; group_chat = "refuse" });
	partner("ver.test", { tls = "optional"; sasl = "optional"; dialback = true; partner_type = "public_verified"; proxy = "proxy.test:1" });
} } } });
local policy = assert(native.compile_policy { table = partners; limits = { connections = 20; partner_connections = 2 };
	options = { require_encryption = false; secure_auth = false } });

local DOMAINS = { "sasl.test"; "keys.test"; "plain.test"; "any.test"; "ver.test"; "evil.test"; "x..test"; HOST };

-- A copy of all that can be reached, and whether something has become another. Fields of ours in sessions do not count.
local function copy(value, seen)
	if type(value) ~= "table" then return value; end
	if seen[value] then return seen[value]; end
	local new = {};
	seen[value] = new;
	for key, inside in pairs(value) do
		if not (type(key) == "string" and key:match(OWN)) then new[key] = copy(inside, seen); end
	end
	return new;
end

local function connection(tls)
	return { socket = function () return "a socket"; end; ssl_info = function () return tls and { protocol = "TLSv1.3" } or nil; end };
end

local function session()
	local incoming = math.random() < 0.6;
	local domain = pick(DOMAINS);
	return {
		type = pick(incoming and { "s2sin_unauthed"; "s2sin" } or { "s2sout_unauthed"; "s2sout" });
		direction = incoming and "incoming" or "outgoing";
		from_host = incoming and (math.random() < 0.9 and domain or nil) or not incoming and HOST or nil;
		to_host = incoming and HOST or not incoming and domain or nil;
		conn = connection(math.random() < 0.5); hosts = {}; ssl_ctx = "a context"; external_auth = "offered"; ip = "127.0.0.9";
		cert_chain_status = "valid"; cert_identity_status = "valid"; secure = math.random() < 0.5; version = 1;
	};
end

local function element(name, attr, children)
	local tag = { name = name; attr = attr or {}; tags = {} };
	for i, child in ipairs(children or {}) do
		tag[i] = child;
		if type(child) == "table" then table.insert(tag.tags, child); end
	end
	return tag;
end

local function features()
	local list = {};
	for name, xmlns in pairs({ starttls = "urn:ietf:params:xml:ns:xmpp-tls"; mechanisms = "urn:ietf:params:xml:ns:xmpp-sasl";
		dialback = "urn:xmpp:features:dialback"; bidi = "urn:xmpp:features:bidi" }) do
		if math.random() < 0.6 then list[#list+1] = element(name, { xmlns = xmlns }); end
	end
	return element("features", { xmlns = "http://etherx.jabber.org/streams" }, list);
end

local function stanza(from, to)
	local note = element("status", {}, { "a note" });
	return element(pick { "message"; "presence"; "iq"; "pre-message" },
		{ from = from; to = to; id = "1"; type = pick { "get"; "result"; "error"; "groupchat"; "subscribe"; "unavailable"; "odd"; false } or nil;
			["xml:lang"] = math.random() < 0.1 and ("x"):rep(200) or nil }, math.random() < 0.5 and { note } or {});
end

local function address(domain) return math.random() < 0.7 and "alice@"..domain or domain; end

local function dialback(name, from, to)
	return element(name, { from = from; to = to; type = pick { "valid"; "invalid"; false } or nil; xmlns = "jabber:server:dialback"; id = "1" },
		{ "a key" });
end

describe("observe mode", function ()
	local core, guard, called, filter, answered;

	local function start(observing)
		called, answered = {}, 0;
		core = core_stub.new(HOST, function (name)
			return function () called[name] = (called[name] or 0) + 1; end;
		end);
		guard = core.guard;
		local acts = guard.act;
		guard.would = setmetatable({}, { __index = function (_, name) return function () called["would "..name] = true; end; end });
		guard.observing = observing;
		guard.policies = { [HOST] = policy };
		for _, name in ipairs({ "fill_features"; "trim_features"; "send_starttls_failure"; "send_sasl_failure" }) do
			if guard[name] then guard[name] = acts[name]; end
		end
		native.install_host(guard, core.context, HOST);
		native.install_global(guard, core.context);
		filter = native.stanza_filter(guard);
	end

	local function event_for(name, sessions)
		local one = pick(sessions);
		local domain = one.direction == "incoming" and one.from_host or one.to_host or "evil.test";
		local event = { origin = one; session = one; host = domain; mechanism = pick { "EXTERNAL"; "dialback"; "other" } };
		if name == "route/remote" then
			event.from_host, event.to_host = HOST, domain;
			event.stanza = stanza(address(pick { HOST; HOST; "elsewhere.test" }), address(domain));
			if math.random() < 0.1 then event.stanza.name = "db:verify"; end
			event.origin = pick { one; { type = "c2s"; directed = { [event.stanza.attr.to] = true } } };
			guard.hosts[HOST].s2sout[domain] = pick { one; false } or nil;
		elseif name:find("dialback") then
			event.stanza = dialback(name:match("[^:]+$"), pick { domain; "sasl.test" }, pick { HOST; "other.test" });
		elseif name:find("features") then
			event.stanza, event.features = features(), features();
		else
			event.stanza = stanza(address(domain), address(HOST));
		end
		return event;
	end

	local function run(check)
		math.randomseed(20260611);
		local names = {};
		for name in pairs(core.hooks) do names[#names+1] = name; end
		table.sort(names);
		local sessions = {};
		for i = 1, EVENTS do
			if i % 25 == 1 then
				sessions = {};
				for j = 1, 4 do
					sessions[j] = session();
					core.fire("s2s-created", { session = sessions[j] });
				end
			end
			local name = pick(names);
			if name ~= "s2s-created" then
				local event = event_for(name, sessions);
				local before = check and copy(event, {});
				if not core.fire(name, event) then answered = answered + 1; end
				if check then assert.same(before, copy(event, {}), name); end
			end
			local one = pick(sessions);
			local domain = one.from_host or "evil.test";
			local parsed = pick { stanza(address(domain), address(HOST)); dialback("result", domain, HOST); features() };
			local before = check and copy(parsed, {});
			local passed = filter(parsed, one);
			if check then
				assert.equal(parsed, passed);
				assert.same(before, copy(parsed, {}));
			elseif passed == nil then
				answered = answered + 1;
			end
		end
	end

	it("changes nothing and answers nothing, whatever comes", function ()
		start(true);
		run(true);
		assert.equal(0, answered);
		for name in pairs(called) do assert.truthy(name:match("^would "), name); end
		for _, name in ipairs({ "close"; "refuse_route"; "refuse_stanza" }) do assert.truthy(called["would "..name], name); end
	end);

	-- An established stream to ver.test, which must not see notes; the same stanza goes out twice, so that the second is a copy at hand.
	local function broadcast()
		local one = { type = "s2sin_unauthed"; direction = "incoming"; from_host = "ver.test"; to_host = HOST; conn = connection(false); hosts = {} };
		core.fire("s2s-created", { session = one });
		core.fire("s2s-stream-features", { origin = one; features = features() });
		core.fire("s2s-authenticated", { session = one; host = "ver.test"; mechanism = "dialback" });
		one.type = "s2sin";
		core.fire("s2sin-established", { session = one });
		assert.equal("established", native.stream_view(one).stage);
		guard.hosts[HOST].s2sout["ver.test"] = one;
		local presence = element("presence", { from = "alice@"..HOST.."/r"; to = "bob@ver.test" }, { element("status", {}, { "a note" }) });
		local sent = {};
		for i = 1, 3 do
			local event = { origin = { type = "c2s" }; stanza = presence; from_host = HOST; to_host = "ver.test" };
			assert.truthy(core.fire("route/remote", event));
			sent[i] = event.stanza == presence;
		end
		return sent;
	end

	it("leaves notes where they are, on the fast path too", function ()
		start(false);
		assert.same({ false, false, false }, broadcast());
		start(true);
		assert.same({ true, true, true }, broadcast());
		assert.is_true(called["would passed"]);
	end);

	it("lets pass what a handler fails at", function ()
		for _, observing in ipairs({ true, false }) do
			start(observing);
			local one = setmetatable({ type = "s2sin_unauthed"; direction = "incoming"; hosts = {} }, { __index = function (_, name)
				if name == "to_host" then error("a fault"); end
			end });
			core.fire("s2s-created", { session = one });
			assert.equal(observing, core.fire("s2s-stream-features", { origin = one; features = features() }));
			assert.truthy(called[observing and "would internal_error" or "internal_error"]);
			local parsed = dialback("result", "sasl.test", HOST);
			assert.equal(observing and parsed or nil, (filter(parsed, one)));
		end
	end);

	-- Nothing but true is observing: the same events have their answers.
	for _, value in ipairs({ false; 1; "observe"; "true"; {} }) do
		it("is not what is on with "..tostring(value):gsub(" .*", ""), function ()
			start(value);
			run(false);
			assert.truthy(answered > EVENTS / 4, answered);
			for name in pairs(called) do assert.falsy(name:match("^would "), name); end
		end);
	end

	it("leaves a session's own functions as core has them", function ()
		local said, closed = {}, {};
		local one = { log = function (level, ...) said[#said+1] = { level, ... }; end; close = function (_, ...) closed[#closed+1] = { ... }; end };
		local farewell = lua_world.new({ ["core.s2smanager"] = { destroy_session = function () closed[#closed+1] = "destroyed"; end } })
			.load "farewell" (function () return true; end, { guard = guard });
		farewell { session = one };
		local long = ("x"):rep(400);
		guard.observing = true;
		one.log("info", "%s", long);
		one:close("a reason", long);
		assert.same({ { "info", "%s", long } }, said);
		assert.same({ { "a reason", long } }, closed);
		guard.observing = false;
		one.log("info", "%s", long);
		one:close("a reason", long);
		assert.truthy(#said[2][3] < 400);
		assert.equal("destroyed", closed[2]);
	end);

	it("has a word for each action, and for no other", function ()
		local defined, told = {}, {};
		local function scan(path, names, into)
			local file = io.open(source.."/lua/"..path..".lib.lua");
			for line in file:lines() do
				local left = line:match("^\t(.-) = [^=]") or line:match("^\tfunction ([%w_.]+)") or "";
				for name in left:gmatch("[%w_.]+") do
					for _, prefix in ipairs(names) do
						local found = name:match("^"..prefix.."%.([%w_]+)$");
						if found then into[found] = true; end
					end
				end
			end
			file:close();
		end
		scan("actions", { "refusals"; "changes"; "act" }, defined);
		scan("observe", { "would" }, told);
		assert.truthy(defined.close and defined.trim_features and defined.internal_error);
		assert.same(defined, told);
	end);
end);
