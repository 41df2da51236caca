-- What spec/prosody/memory_test.c lets run while memory is short: the shared object between a pretended core and pretended
-- streams. Called with the module, the partner's domain and what there is to judge certificates by ({ chain, anchors, revoking, empty,
-- socket }: a PEM text, the names of files, and any userdata); returns functions and what they found out.

local open, listed, lists = ...;

local HOST, STRANGER = "contoso.test", "stranger.test";
local ALICE = "alice@"..HOST;
local CAROL = "the-longest-name-of-a-user-that-one-can-think-of-carol@"..HOST; -- who has listed eve of public.test
local REVOKED = "revoked.test";
local world = { violations = {}, delivered = 0, routed = 0, refused = 0, errors = 0, trusted = 0 };

-- Noted before anything can fail: the note itself must not need memory.
local violations = world.violations;
for _, name in ipairs { "stranger delivered", "stranger routed", "unlisted contact delivered", "unauthenticated delivered",
		"stranger authenticated", "other policy", "revoked authenticated", "revoked judged valid" } do
	violations[name] = false;
end

local native;

local function refuse() world.refused = world.refused + 1; end

local core = dofile("spec/prosody/core_stub.lua").new(HOST, function () return refuse; end);
local context, guard = core.context, core.guard;
guard.bare_sessions = { [ALICE] = { roster = { [false] = {} } }; [CAROL] = { roster = { [false] = {}; ["eve@public.test"] = {} } } };
guard.directed = {};

local function fire(event, data)
	local ok, passed = pcall(core.fire, event, data);
	if not ok then world.errors = world.errors + 1; end
	return ok and passed;
end

function world.open() native = open(); end

function world.install()
	core.hooks = {};
	native.install_host(guard, context, HOST);
	native.install_global(guard, context);
	world.filter = native.stanza_filter(guard);
end

local function partner(domain, partner_type)
	return { domain = domain; partner_type = partner_type; description = "Contract 1"; additional_domains = { "*."..domain };
		tls = "not_supported"; sasl = "not_supported"; dialback = true; connection_limit = 5; proxy = "edge."..domain..":5269" };
end

function world.compile_table()
	local list = { partner(listed, "federated"), partner("public.test", "public_unverified"),
		{ domain = "pinned.test", partner_type = "public_verified";
			pinned_keys = { "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" } },
		{ domain = REVOKED; partner_type = "federated"; crls = "x.crl" } };
	local partners, issues = native.compile_table {
		lists = { { place = "s2s_partners"; list = list } }; local_domains = { HOST };
	};
	world.table = partners or error(issues[1].message);
	-- And one that is refused, with its messages.
	native.compile_table { lists = { { place = "s2s_partners"; list = { { domain = "*.com"; tsl = 1; tls = "reqired" } } } } };
end

-- The same of a draft that reads a plain file, without and with a thread, and of one that is given up.
function world.draft()
	local files = { { place = "eu"; path = "fixtures/config/good/partners.d/eu.cfg.lua" }, { place = "none"; path = "/nowhere" } };
	for _, background in ipairs { false, true } do
		local draft = native.begin_table({ local_domains = { HOST } });
		native.feed_files(draft, files, 1, background);
		local at = native.draft_done(draft);
		while not at do at = native.draft_done(draft); end
		if at ~= 2 then error("the file was not read"); end
		native.feed_list(draft, "more", { partner(listed, "federated") });
		native.feed_issues(draft, { { severity = "warning"; code = "file"; path = "none"; got = ""; expected = "a file" } });
		native.seal_table(draft, background);
		while not native.draft_done(draft) do end
		local partners, issues = native.take_table(draft);
		if not partners then error(issues[1].message); end
	end
	native.feed_files(native.begin_table({}), files, 1, true);
end

function world.compile_policy()
	local policy, issues = native.compile_policy {
		table = world.table; limits = { connections = 10 }; external_access = { default = "allow"; users = { intern = "deny" } };
		options = { require_encryption = false; secure_domains = { "a.test" }; insecure_domains = { "b.test" }; s2s_timeout = 90 };
		issues = { { severity = "warning"; code = "file"; path = "partners.d"; got = "nothing"; expected = "a file" } };
	};
	guard.policies[HOST] = policy or error(issues[1].message);
	native.compile_policy { table = world.table; default = { partner_type = "nobody" }; limits = 5 };
	-- Leaves its builder to the collector.
	assert(not pcall(native.compile_policy, {}));
end

local function element(name, xmlns, from, to, more)
	local stanza = { name = name; attr = { xmlns = xmlns; from = from; to = to; id = "1" }; tags = {} };
	for key, value in pairs(more or {}) do stanza.attr[key] = value; end
	return stanza;
end

-- What core does about every stream in the end: s2s-destroyed. A failure has left the last one as it was.
function world.forget()
	if world.session then native.place_release(guard, world.session); end
	world.session = nil;
end

-- One stream from the domain, by dialback in clear, and a message over it. True when that was delivered.
local function incoming(from, keep)
	world.forget();
	local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = from; to_host = HOST; conn = {}; hosts = {} };
	world.session = session;
	if not fire("s2s-created", { session = session }) then return false; end
	if not fire("s2s-stream-features", { origin = session; features = { tags = {} } }) then return false; end
	local key = element("result", "jabber:server:dialback", from, HOST);
	key[1] = "key";
	guard.questions[HOST] = nil; -- or soon no more could be asked
	key = world.filter(key, session);
	local authenticated = key and fire("stanza/jabber:server:dialback:result", { origin = session; stanza = key }) and
		fire("s2s-authenticated", { session = session; host = from; mechanism = "dialback" });
	if authenticated then
		session.type = "s2sin";
		fire("s2sin-established", { session = session });
		if from == STRANGER then violations["stranger authenticated"] = true; end
	end
	-- The peer does not wait to be told. What is not the first, and for one who is online, passes at a look where it may.
	local delivered = true;
	for _, user in ipairs { CAROL, CAROL, ALICE } do
		local message = world.filter(element("message", nil, "eve@"..from.."/x", user), session);
		delivered = message and fire("message/bare", { origin = session; stanza = message });
		if delivered and not authenticated then violations["unauthenticated delivered"] = true; end
	end
	native.rejudge(guard, { session });
	native.sweep(guard, { session }, guard.policies[HOST]);
	if not keep then native.place_release(guard, session); end
	return delivered;
end

-- A stream that stays, and has its place beside those that come and go.
function world.stay()
	assert(incoming(listed, true));
	world.staying, world.session = world.session, nil;
	guard.hosts[HOST].s2sout[listed] = world.staying;
end

-- Places are taken by the stream that stays and by no other.
function world.places()
	local partners = guard.places.partners;
	return next(partners) == listed and next(partners, listed) == nil and partners[listed] == 1 and guard.places.total == 1;
end

local function outgoing(to)
	local passed = true;
	for _ = 1, 2 do
		local stanza = element("message", nil, ALICE, "eve@"..to);
		passed = fire("route/remote", { from_host = HOST; to_host = to; stanza = stanza }) and passed;
	end
	return passed;
end

function world.traffic()
	if world.staying then native.rejudge(guard, { world.staying }); end
	if incoming(STRANGER) then violations["stranger delivered"] = true; end
	if outgoing(STRANGER) then violations["stranger routed"] = true; end
	if incoming("public.test") then violations["unlisted contact delivered"] = true; end
	if incoming(listed) then world.delivered = world.delivered + 1; end
	if outgoing(listed) then world.routed = world.routed + 1; end
end

local function read_list(path)
	local reader = native.crl_reader(path);
	while true do
		local file = reader:step();
		if file then return file; end
	end
end

-- What the certificate of a partner is judged by, with this file of lists: the guard has it and nothing else.
local function trust_list(path)
	local file = read_list(path);
	local set = native.crl_set { file };
	local store = native.trust_store { file = lists.anchors };
	guard.trust = { anchors = {}; hosts = { [HOST] = store }; own = {}; crls = { [HOST] = { [REVOKED] = set } } };
	return file, set, store;
end

-- As LuaSec's: a userdata. `collecting`: what is garbage goes while a stream is being judged.
local collecting = false;
local socket = debug.setmetatable(lists.socket, { __index = {
	info = function () return { protocol = "TLSv1.3" }; end;
	getpeercertificate = function (_, number)
		if collecting then collectgarbage(); end
		return number == 1 and { pem = function () return lists.chain; end } or nil;
	end;
} });

-- A stream from the partner with the certificate, over TLS: whether EXTERNAL authenticates it. It is closed then.
local function external()
	world.forget();
	local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = REVOKED; to_host = HOST; hosts = {};
		conn = { socket = function () return socket; end } };
	world.session = session;
	local authenticated = fire("s2s-created", { session = session })
		and fire("s2s-check-certificate", { session = session; host = REVOKED })
		and fire("s2s-stream-features", { origin = session; features = { tags = {} } })
		and fire("s2s-authenticated", { session = session; host = REVOKED; mechanism = "EXTERNAL" });
	local view = native.stream_view(session);
	return authenticated and view and view.stage ~= "new" and view.certificate == "valid", session;
end

-- A list that revokes is read and put in force; it must hold whatever fails, and no longer than it is there.
function world.revocation()
	local empty = trust_list(lists.empty);
	local passed, session = external();
	if passed then world.trusted = world.trusted + 1; end
	local file, set, store = trust_list(lists.revoking);
	file:counts();
	file:next_update();
	file:begins(0);
	file:same(empty);
	file:follows(empty, 0);
	native.partner_crls(guard.policies[HOST]);
	native.take_up_crls(guard, { session }, set);
	-- Of a set that nobody else has.
	collecting = true;
	local ok, err = pcall(native.take_up_crls, guard, { session, session, session }, native.crl_set { read_list(lists.revoking) });
	collecting = false;
	if not ok then error(err, 0); end
	if external() then violations["revoked authenticated"] = true; end
	if native.judge_certificate({ lists.chain }, store, REVOKED, nil, nil, "if_known", set).verdict == "valid" then
		violations["revoked judged valid"] = true;
	end
	world.forget();
end

-- Everything at the record of one stream, over and over, while its policy is replaced under it.
function world.replace()
	world.forget();
	local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = listed; to_host = HOST; conn = {}; hosts = {} };
	world.session = session;
	fire("s2s-created", { session = session });
	fire("s2s-stream-features", { origin = session; features = { tags = {} } });
	world.compile_table();
	world.compile_policy();
	native.rejudge(guard, { session });
	fire("s2s-stream-features", { origin = session; features = { tags = {} } });
	native.place_release(guard, session);
end

-- Whether the policy in force is this world's own.
function world.own_policy(other)
	local policy = guard.policies[HOST];
	if policy:label(other) ~= nil and policy:label(other) ~= "unlisted" then violations["other policy"] = true; end
	return policy:label(listed) == listed;
end

return world;
