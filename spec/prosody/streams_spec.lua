-- Passes over all live streams: what a commit does to them and to their places, and what the sweep finds.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();
local core_stub = require "core_stub";

local HOST = "contoso.test";

local function partner(domain, more)
	local entry = { domain = domain; partner_type = "federated"; tls = "not_supported"; sasl = "not_supported"; dialback = true };
	for key, value in pairs(more or {}) do entry[key] = value; end
	return entry;
end

local function policy(list, limits, default)
	local partners = assert(native.compile_table { local_domains = { HOST }; lists = { { place = "s2s_partners"; list = list } } });
	return assert(native.compile_policy { table = partners; limits = limits; default = default;
		options = { require_encryption = false; secure_auth = false } });
end

describe("all streams at a time", function ()
	local core, guard;

	-- An established stream, as core and its events make one.
	local function open(domain)
		local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = domain; to_host = HOST; conn = {}; hosts = {} };
		core.fire("s2s-created", { session = session });
		core.fire("s2s-stream-features", { origin = session; features = { tags = {} } });
		assert(core.fire("s2s-authenticated", { session = session; host = domain; mechanism = "dialback" }));
		session.type = "s2sin";
		core.fire("s2sin-established", { session = session });
		assert.same("established", native.stream_view(session).stage);
		return session;
	end

	local function stage(session) return native.stream_view(session).stage; end

	local function commit(new) guard.policies = { [HOST] = new }; end

	before_each(function ()
		core = core_stub.new(HOST, function () return function () end; end);
		guard = core.guard;
		native.install_host(guard, core.context, HOST);
		native.install_global(guard, core.context);
		commit(policy { partner "a.test", partner "b.test" });
	end);

	it("goes on where nothing has changed, and counts nothing anew", function ()
		local streams = { open "a.test", open "b.test", open "a.test" };
		local places = guard.places;
		assert.same({ total = 3; partners = { ["a.test"] = 2; ["b.test"] = 1 } }, places);
		commit(policy { partner "b.test", partner "a.test" });
		local found, queued, settled = native.rejudge(guard, streams);
		assert.same({}, found);
		assert.same({}, queued);
		assert.is_true(settled);
		assert.same({ total = 3; partners = { ["a.test"] = 2; ["b.test"] = 1 } }, places);
		assert.same({ {}, true }, { native.sweep(guard, streams, guard.policies[HOST]) });
	end);

	-- How far a stream gets whose header says `written` and whose from_host core has prepared from that.
	local function named(prepared, written)
		local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = prepared; to_host = HOST; conn = {}; hosts = {};
			s2s_partners_written = written };
		core.fire("s2s-created", { session = session });
		core.fire("s2s-stream-features", { origin = session; features = { tags = {} } });
		local view = native.stream_view(session);
		return view.stage, view.reason;
	end

	it("takes the domain as it was written, whatever core has prepared", function ()
		assert.same({ "identified" }, { named("a.test", "a.test") });
		assert.same({ "identified" }, { named("a.test", "A.test.") });
		assert.same({ "identified" }, { named("a.test.", "a.test.") });
		assert.same({ "identified" }, { named("a.test", nil) }); -- named by a key, not by a header
		assert.same({ "refused", "unlisted-domain" }, { named("a.test.", "a.test..") });
		assert.same({ "refused", "unlisted-domain" }, { named("a.test", "a\u{ff0e}test") });
		assert.same({ "refused", "wrong-domain" }, { named("b.test", "a.test") });
	end);

	it("refuses who is no longer listed, and his place is free", function ()
		local gone, stays = open "a.test", open "b.test";
		commit(policy { partner "b.test" });
		local found, _, settled = native.rejudge(guard, { gone, stays });
		assert.equal(1, #found);
		assert.equal(gone, found[1][1]);
		assert.same({ "refuse", "policy-changed", "policy-violation", "the domain is no longer listed" }, { table.unpack(found[1], 2) });
		assert.is_false(settled);
		guard.places = { total = 0; partners = {} };
		assert.same({}, native.recount(guard, { gone, stays }));
		assert.same({ total = 1; partners = { ["b.test"] = 1 } }, guard.places);
		native.place_release(guard, gone);
		assert.same({ total = 1; partners = { ["b.test"] = 1 } }, guard.places);
	end);

	-- What foresee says, and that it is what a commit then does; nothing is changed by having looked.
	local function foreseen(new, streams)
		local next_one = { policies = { [HOST] = new }; trust = guard.trust; places = { total = 0; partners = {} } };
		local function told(list)
			local rules = {};
			for i, entry in ipairs(list) do
				for number, session in ipairs(streams) do
					if session == entry[1] then rules[i] = ("%d %s: %s"):format(number, entry[3], entry[5]); end
				end
			end
			table.sort(rules);
			return rules;
		end
		local places, views = guard.places, {};
		for i, session in ipairs(streams) do views[i] = native.stream_view(session); end
		local expected = told(native.foresee(next_one, streams));
		assert.equal(places, guard.places);
		for i, session in ipairs(streams) do assert.same(views[i], native.stream_view(session)); end
		commit(new);
		local found, _, settled = native.rejudge(guard, streams);
		if not settled then
			guard.places = { total = 0; partners = {} };
			for _, entry in ipairs(native.recount(guard, streams)) do found[#found + 1] = entry; end
		end
		assert.same(told(found), expected);
		return expected;
	end

	it("foresees what a commit does, and changes nothing", function ()
		local streams = { open "a.test", open "b.test", open "a.test" };
		assert.same({}, foreseen(policy { partner "b.test", partner "a.test" }, streams));
		streams[4] = { type = "s2sin"; direction = "incoming"; from_host = "a.test"; to_host = HOST; conn = {} };
		assert.same({ "2 policy-changed: the domain is no longer listed", "4 policy-changed: opened while mod_s2s_partners was not guarding" },
			foreseen(policy { partner "a.test" }, streams));
		streams[4] = nil;
		table.remove(streams, 2); -- refused
		local rules = foreseen(policy { partner("a.test", { connection_limit = 1 }) }, streams);
		assert.equal(1, #rules);
		assert.matches("^[12] policy%-changed: ", rules[1]);
		guard.places = { total = 0; partners = {} };
		commit(policy { partner "a.test" });
		assert.same({ "1 config-invalid: no valid partner configuration is running for this host" }, foreseen(nil, { open "a.test" }));
	end);

	it("says of a stream that cannot be looked at that it is closed, and leaves it open", function ()
		local one = open "a.test";
		-- There are no places: an error of ours, not of the stream.
		local found = native.foresee({ policies = guard.policies; trust = guard.trust }, { one });
		assert.equal("internal-error", found[1][3]);
		assert.equal("established", stage(one));
		assert.has_error(function () native.foresee(nil, {}); end);
		assert.has_error(function () native.foresee({}, nil); end);
	end);

	it("ends what core has named as a route and then left", function ()
		local stranded = { type = "s2sout_unauthed"; direction = "outgoing"; from_host = HOST; to_host = "a.test" };
		local connecting = { type = "s2sout_unauthed"; direction = "outgoing"; from_host = HOST; to_host = "b.test" };
		core.fire("s2sout-created", { session = connecting });
		local strange = { type = "s2sin_unauthed"; direction = "incoming"; conn = {} };
		local gone = setmetatable({}, { __index = { destroyed = true, direction = "destroyed" } });
		local found = native.sweep(guard, { stranded, connecting, strange, gone }, guard.policies[HOST]);
		assert.equal(1, #found);
		assert.equal(stranded, found[1][1]);
		assert.same({ "refuse", "internal-error" }, { table.unpack(found[1], 2, 3) });
	end);

	-- db:result on a new stream each time, in clear; what the filter and the handler have done about it.
	it("asks a partner about so many keys, and about more when they are answered", function ()
		local filter = native.stanza_filter(guard);
		local function ask(domain)
			local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = domain; to_host = HOST; conn = {}; hosts = {} };
			core.fire("s2s-created", { session = session });
			local key = { name = "result"; attr = { xmlns = "jabber:server:dialback"; from = domain; to = HOST }; tags = {}; "key" };
			assert.equal(key, filter(key, session));
			return core.fire("stanza/jabber:server:dialback:result", { origin = session; stanza = key });
		end
		for _ = 1, 32 do assert.is_true(ask "a.test"); end
		assert.is_false(ask "a.test");
		assert.is_true(ask "b.test");
		local route = { type = "s2sout_unauthed"; direction = "outgoing"; from_host = HOST; to_host = "a.test" };
		core.fire("s2sout-created", { session = route });
		local answer = { name = "verify"; attr = { xmlns = "jabber:server:dialback"; from = "a.test"; to = HOST; id = "1"; type = "invalid" };
			tags = {} };
		core.fire("stanza/jabber:server:dialback:verify", { origin = route; stanza = answer });
		assert.is_true(ask "a.test");
		assert.is_false(ask "a.test");
		for _ = 1, 100 do core.fire("stanza/jabber:server:dialback:verify", { origin = route; stanza = answer }); end
		assert.same({ ["b.test"] = 1 }, guard.questions[HOST].routes);
		assert.same({ ["b.test"] = 1 }, guard.questions[HOST].partners);
	end);

	it("asks the partners of a default policy so much together, whatever they are called", function ()
		commit(policy({ partner "a.test" }, nil, { partner_type = "public_verified"; tls = "not_supported"; sasl = "not_supported"; dialback = true }));
		local filter, asked = native.stanza_filter(guard), 0;
		for number = 1, 400 do
			local domain = ("n%d.test"):format(number);
			local session = { type = "s2sin_unauthed"; direction = "incoming"; from_host = domain; to_host = HOST; conn = {}; hosts = {} };
			core.fire("s2s-created", { session = session });
			local key = { name = "result"; attr = { xmlns = "jabber:server:dialback"; from = domain; to = HOST }; tags = {}; "key" };
			asked = asked + (filter(key, session) and core.fire("stanza/jabber:server:dialback:result", { origin = session; stanza = key }) and 1 or 0);
		end
		assert.equal(256, asked);
	end);

	it("counts a stream for the partner that it has come to be of", function ()
		local streams = { open "a.test", open "b.test" };
		commit(policy { partner("b.test", { additional_domains = { "a.test" } }) });
		local found, _, settled = native.rejudge(guard, streams);
		assert.same({}, found);
		assert.is_false(settled);
		guard.places = { total = 0; partners = {} };
		assert.same({}, native.recount(guard, streams));
		assert.same({ total = 2; partners = { ["b.test"] = 2 } }, guard.places);
		assert.is_true(select(3, native.rejudge(guard, streams)));
	end);

	-- Each limit that can take a place away: the least at which none is taken, and the streams' domains.
	local three = { partner "a.test", partner "b.test", partner "c.test" };
	local limits = {
		{ "the partner's own", 3, { "a.test", "a.test", "a.test" }, function (n) return policy { partner("a.test", { connection_limit = n }) }; end };
		{ "partner_connections", 3, { "a.test", "a.test", "a.test" }, function (n) return policy(three, { partner_connections = n }); end };
		{ "connections, the last quarter left alone", 4, { "a.test", "b.test", "c.test" }, function (n)
			return policy(three, { connections = n; partner_connections = 1 });
		end };
	};
	for _, case in ipairs(limits) do
		local name, enough, domains, limited_to = table.unpack(case);
		it("keeps the oldest where there are fewer places: "..name, function ()
			commit(policy(three));
			local streams = {};
			for number, domain in ipairs(domains) do
				streams[number] = open(domain);
				native.stream_accepted(streams[number], 10 - number);
			end
			commit(limited_to(enough));
			assert.is_true(select(3, native.rejudge(guard, streams)));
			commit(limited_to(2));
			local found, _, settled = native.rejudge(guard, streams);
			assert.same({}, found);
			assert.is_false(settled);
			guard.places = { total = 0; partners = {} };
			found = native.recount(guard, { streams[3], streams[2], streams[1] });
			assert.equal(1, #found);
			assert.equal(streams[3], found[1][1]);
			assert.same({ "refuse", "policy-changed" }, { found[1][2], found[1][3] });
			assert.equal(2, guard.places.total);
			assert.equal("refused", stage(streams[3]));
		end);
	end

	it("keeps an established stream rather than an older one that is not", function ()
		local waiting = { type = "s2sout_unauthed"; direction = "outgoing"; from_host = HOST; to_host = "b.test" };
		core.fire("s2sout-created", { session = waiting });
		native.stream_accepted(waiting, 10);
		local established = open "b.test";
		assert.same({ total = 2; partners = { ["b.test"] = 2 } }, guard.places);
		commit(policy { partner("b.test", { connection_limit = 1 }) });
		assert.is_false(select(3, native.rejudge(guard, { waiting, established })));
		guard.places = { total = 0; partners = {} };
		local found = native.recount(guard, { waiting, established });
		assert.equal(1, #found);
		assert.equal(waiting, found[1][1]);
	end);

	it("asks one by one where strangers could be too many", function ()
		local open_default = { partner_type = "federated"; tls = "not_supported"; sasl = "not_supported"; dialback = true };
		commit(policy({ partner "a.test" }, { connections = 8; partner_connections = 8 }, open_default));
		local streams = {};
		for number = 1, 6 do streams[number] = open(number.."stranger.test"); end
		assert.is_true(select(3, native.rejudge(guard, streams)));
		commit(policy({ partner "a.test" }, { connections = 7; partner_connections = 7 }, open_default)); -- one in four is not for them
		assert.is_true(select(3, native.rejudge(guard, streams)));
		commit(policy({ partner "a.test" }, { connections = 6; partner_connections = 6 }, open_default));
		assert.is_false(select(3, native.rejudge(guard, streams)));
		guard.places = { total = 0; partners = {} };
		assert.equal(1, #native.recount(guard, streams));
		assert.equal(5, guard.places.total);
	end);

	it("refuses streams without a record, and what is none", function ()
		local found, _, settled = native.rejudge(guard, { { type = "s2sin" }, 7 });
		assert.equal(2, #found);
		for _, entry in ipairs(found) do
			assert.same({ "refuse", "policy-changed", "policy-violation", "opened while mod_s2s_partners was not guarding" },
				{ table.unpack(entry, 2) });
		end
		assert.is_true(settled);
	end);

	it("has nothing to say about a stream that is no more, whose connection is still being closed", function ()
		local resting = setmetatable({ conn = {} }, { __index = { destroyed = true; type = "s2s_destroyed" } });
		assert.same({ {}, {}, true }, { native.rejudge(guard, { resting }) });
	end);

	-- A session whose tables raise: nothing of the kind is known, but one stream must not keep the others from being judged.
	local function poisoned(session, at)
		local record = session.s2s_partners_stream;
		session.s2s_partners_stream = nil;
		local reads = 0;
		return setmetatable(session, { __index = function (_, key)
			if key ~= "s2s_partners_stream" then return nil; end
			reads = reads + 1;
			if reads == at then error("poison"); end
			return record;
		end });
	end

	for _, pass in ipairs { "rejudge", "recount", "sweep", "count_held" } do
		it("refuses a stream that raises an error, and looks at the others: "..pass, function ()
			local streams = { open "a.test", open "b.test", open "a.test", open "b.test" };
			if pass ~= "sweep" and pass ~= "rejudge" then guard.places = { total = 0; partners = {} }; end
			if pass == "rejudge" then commit(policy { partner "b.test" }); end
			poisoned(streams[2], pass == "recount" and 2 or 1); -- the first time it is only put in order
			local found = native[pass](guard, streams, guard.policies[HOST]);
			local reasons = {};
			for _, entry in ipairs(found) do
				for number, session in ipairs(streams) do
					if session == entry[1] then reasons[number] = entry[3]; end
				end
			end
			if pass == "rejudge" then
				assert.same({ "policy-changed", "internal-error", "policy-changed" }, reasons);
				assert.same("refused", stage(streams[2]));
				assert.matches("poison", found[2][6]);
			else
				assert.same({ [2] = "internal-error" }, reasons);
				if pass ~= "sweep" then assert.same({ total = 3; partners = { ["a.test"] = 2; ["b.test"] = 1 } }, guard.places); end
				assert.same("refused", stage(streams[2]));
				assert.same("established", stage(streams[4]));
			end
		end);
	end

	it("tells streams that something waits for", function ()
		local session = open "a.test";
		session.sendq = {}; -- an incoming one has none of ours
		local waiting = { type = "s2sout_unauthed"; direction = "outgoing"; from_host = HOST; to_host = "b.test"; sendq = {} };
		core.fire("s2sout-created", { session = waiting });
		local _, queued = native.rejudge(guard, { session, waiting });
		assert.equal(1, #queued);
		assert.equal(waiting, queued[1]);
	end);

	it("finds in the sweep what time demands, and counts that do not agree", function ()
		local streams = { open "a.test", open "b.test" };
		guard.places.partners["a.test"] = 2; -- as when core has forgotten one
		guard.places.total = 3;
		assert.same({ {}, false }, { native.sweep(guard, streams, guard.policies[HOST]) });
		guard.places = { total = 0; partners = {} };
		assert.same({}, native.count_held(guard, streams));
		assert.same({ total = 2; partners = { ["a.test"] = 1; ["b.test"] = 1 } }, guard.places);
		assert.is_true(select(2, native.sweep(guard, streams, guard.policies[HOST])));
		local late = { type = "s2sin_unauthed"; direction = "incoming"; conn = {}; hosts = {} };
		core.fire("s2s-created", { session = late });
		native.stream_accepted(late, 61);
		local found = native.sweep(guard, { late, streams[1] }, guard.policies[HOST]);
		assert.equal(1, #found);
		assert.same({ late, "refuse", "establishment-timeout" }, { table.unpack(found[1], 1, 3) });
		assert.same({}, (native.sweep(guard, { late }, nil))); -- without any limits there is nothing to be late for
	end);
end);
