-- What relay hosts learn of their users' contacts: from whom, for whom it counts, and that nobody outside makes it grow.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local st = require "util.stanza";

local HOST, ALICE = "contoso.test", "alice@contoso.test";
local BOB, TRUDY = "bob@public.test", "trudy@fed.test"; -- of an unverified partner, of a trusted one
local DAY = 86400;
local types = { ["public.test"] = "public_unverified"; ["fed.test"] = "federated" };

describe("contacts of a relay host", function ()
	local world, contacts, files, writes, broken, clock;
	local time = os.time;

	-- As on the disk: what changes later is not in it.
	local function copy_of(value)
		if type(value) ~= "table" then return value; end
		local copy = {};
		for key, part in pairs(value) do copy[key] = copy_of(part); end
		return copy;
	end

	-- Anew, with what is on the disk.
	local function start()
		if contacts then contacts.flush(true); end
		contacts = world.load("inside/contacts")(function (address) return address; end, function (_, domain) return types[domain]; end);
	end

	before_each(function ()
		contacts, clock = nil, 1000;
		world = lua_world.new({ ["util.time"] = { monotonic = function () return clock; end } });
		world.prosody.hosts[HOST] = { type = "local"; events = {} };
		files, writes, broken = {}, 0, false;
		function world.open_store()
			return {
				get = function (_, user)
					if broken then return nil, "broken"; end
					return copy_of(files[user]);
				end;
				set = function (_, user, data)
					if broken then return nil, "broken"; end
					writes, files[user] = writes + 1, copy_of(data);
					return true;
				end;
			};
		end
		start();
	end);

	after_each(function () os.time = time; end); -- luacheck: ignore 122

	local function sent(kind, to, from) contacts.sent(HOST, st.presence({ type = kind; from = from or ALICE; to = to })); end
	local function received(kind, from, to) contacts.received(HOST, st.presence({ type = kind; from = from; to = to or ALICE })); end
	local function listed(contact) return contacts.listed(HOST, "alice", ALICE, contact); end
	local function sees(contact) return contacts.sees(HOST, "alice", ALICE, contact); end
	local function later(seconds)
		local now = time() + seconds;
		os.time = function () return now; end; -- luacheck: ignore 122
		clock = clock + seconds;
	end

	it("are not made by requests from outside, in whatever number and name", function ()
		for i = 1, 500 do
			received("subscribe", TRUDY, ("made-up-%d@%s"):format(i, HOST));
			received("subscribe", ("t%d@fed.test"):format(i));
			received("subscribe", ("b%d@public.test"):format(i));
		end
		for _, kind in ipairs({ "subscribed"; "unsubscribe"; "unsubscribed"; "probe"; "unknown" }) do
			received(kind, TRUDY);
			received(kind, BOB);
		end
		assert.same({}, files);
		assert.equal(0, writes);
		assert.equal("no", listed(BOB));
		assert.equal("no", sees(TRUDY));
	end);

	it("cannot be kept from being learned by requests that nobody answers", function ()
		for i = 1, 300 do received("subscribe", ("t%d@fed.test"):format(i)); end
		received("subscribe", TRUDY);
		sent("subscribed", TRUDY);
		assert.equal("yes", sees(TRUDY));
		assert.equal("no", sees("t1@fed.test"));
	end);

	it("are those whom the user asks, over a restart", function ()
		sent("subscribe", BOB);
		assert.equal("yes", listed(BOB));
		assert.equal("no", sees(BOB));
		start();
		assert.equal("yes", listed(BOB));
		received("subscribed", BOB);
		sent("subscribed", BOB);
		assert.equal("yes", sees(BOB));
		received("unsubscribe", BOB);
		assert.equal("no", sees(BOB));
		received("unsubscribed", BOB);
		assert.equal("yes", listed(BOB)); -- a contact who refuses stays in the roster
		sent("unsubscribe", BOB);
		assert.equal("no", listed(BOB));
		contacts.flush(true);
		assert.same({}, files);
	end);

	it("are those whom the users' server probes", function ()
		sent("probe", BOB);
		assert.equal("yes", listed(BOB));
	end);

	it("are no strangers who are approved in advance, where only contacts are let in", function ()
		sent("subscribed", BOB);
		assert.equal("no", listed(BOB));
		assert.equal("no", sees(BOB));
		assert.equal(0, writes);
	end);

	it("are nobody's from outside the list, and none of directed presence", function ()
		sent("subscribe", "eve@evil.test");
		sent(nil, BOB);
		sent(nil, BOB.."/phone");
		sent("unavailable", BOB);
		assert.same({}, files);
	end);

	it("are no more than a thousand of a user", function ()
		for i = 1, 1001 do sent("subscribe", ("b%d@public.test"):format(i)); end
		assert.equal("yes", listed("b1000@public.test"));
		assert.equal("no", listed("b1001@public.test"));
	end);

	it("are forgotten when nothing has confirmed them, and confirmed with one write a day", function ()
		sent("subscribe", BOB);
		sent("probe", BOB);
		contacts.flush(true);
		local before = writes;
		for _ = 1, 50 do sent("probe", BOB); end
		assert.equal(before, writes);
		later(2 * DAY);
		for _ = 1, 50 do sent("probe", BOB); end
		assert.equal(before + 1, writes);
		later(33 * DAY);
		assert.equal("no", listed(BOB));
	end);

	it("are forgotten after as many days as are set", function ()
		contacts.forget_after(2);
		sent("subscribe", BOB);
		later(2 * DAY - 10);
		assert.equal("yes", listed(BOB));
		later(2 * DAY + 10);
		assert.equal("no", listed(BOB));
		contacts.forget_after();
		sent("subscribe", BOB);
		later(29 * DAY);
		assert.equal("yes", listed(BOB));
	end);

	it("are written at once, and then no more than once in two seconds however many come", function ()
		sent("subscribe", BOB);
		assert.equal(1, writes);
		for i = 1, 300 do sent("subscribe", ("b%d@public.test"):format(i)); end
		assert.equal("yes", listed("b300@public.test"));
		contacts.flush();
		assert.equal(1, writes);
		clock = clock + 2;
		contacts.flush();
		contacts.flush();
		assert.equal(2, writes);
		for i = 1, 300 do sent("unsubscribe", ("b%d@public.test"):format(i)); end
		assert.equal(2 + 20 + 1, writes); -- of which the last takes what is stored away
		assert.equal("no", listed("b300@public.test"));
		start();
		assert.equal(2 + 20 + 2, writes);
		assert.equal("no", listed("b300@public.test"));
		assert.equal("yes", listed(BOB));
	end);

	-- What is there when this server is killed now.
	local function kill()
		contacts = nil;
		start();
	end

	it("are removed at once, so that nobody is listed again when the server is killed", function ()
		local function of_alice() return listed(BOB), sees(BOB); end
		sent("subscribe", BOB);
		sent("subscribe", "dora@public.test");
		sent("subscribed", BOB);
		assert.same({ "yes"; "yes" }, { of_alice() });
		sent("unsubscribe", BOB);
		sent("unsubscribed", BOB);
		assert.same({ "no"; "no" }, { of_alice() });
		kill();
		assert.same({ "no"; "no" }, { of_alice() });
		assert.equal("yes", listed("dora@public.test"));
		sent("subscribed", "dora@public.test");
		contacts.flush(true);
		received("unsubscribe", "dora@public.test");
		kill();
		assert.same({ "yes"; "no" }, { listed("dora@public.test"); sees("dora@public.test") });
		sent("subscribe", BOB);
		contacts.flush(true);
		assert.is_true(contacts.forget(HOST, "alice", BOB));
		kill();
		assert.equal("no", listed(BOB));
	end);

	it("are stricter when the server is killed, and cost few writes, however many are removed and added", function ()
		for i = 1, 1000 do sent("subscribe", ("b%d@public.test"):format(i)); end
		contacts.flush(true);
		writes = 0;
		for i = 1, 1000 do sent("unsubscribe", ("b%d@public.test"):format(i)); end
		for _ = 1, 1000 do
			sent("subscribe", BOB);
			sent("unsubscribe", BOB);
		end
		sent("subscribe", "dora@public.test");
		assert.equal(21, writes);
		clock = clock + 2;
		contacts.flush();
		assert.equal(22, writes);
		assert.same({ ["dora@public.test"] = true }, (function ()
			local names = {};
			for name in pairs(files.alice.items) do names[name] = true; end
			return names;
		end)());
		-- One more removal is free with each two seconds.
		sent("unsubscribe", "dora@public.test");
		assert.equal(23, writes);
		sent("subscribe", BOB);
		sent("subscribe", "dora@public.test");
		sent("unsubscribe", "dora@public.test");
		assert.equal("yes", listed(BOB));
		kill();
		assert.equal("no", listed(BOB)); -- forgotten with all the others
		assert.equal("no", listed("dora@public.test"));
	end);

	it("that change nothing are not written", function ()
		sent("subscribe", BOB);
		sent("subscribed", BOB);
		sent("unsubscribe", BOB);
		contacts.flush(true);
		writes = 0;
		for _ = 1, 100 do
			sent("unsubscribe", BOB);
			received("unsubscribed", BOB);
			clock = clock + 2;
		end
		contacts.flush(true);
		assert.equal(0, writes);
		assert.equal("yes", sees(BOB));
	end);

	it("are written in the order in which they began to wait, however busy others are", function ()
		for i = 1, 8 do
			for _, contact in ipairs({ BOB; "dora@public.test" }) do sent("subscribe", contact, ("u%d@%s"):format(i, HOST)); end
			-- Each of these would fill a turn by itself.
			for j = 1, 1000 do sent("subscribe", ("b%d@public.test"):format(j), ("busy%d@%s"):format(i, HOST)); end
		end
		for _ = 1, 8 do
			clock = clock + 2;
			contacts.flush();
			for i = 1, 8 do
				for j = 1, 3 do sent(j % 2 == 1 and "unsubscribed" or "subscribed", "b1@public.test", ("busy%d@%s"):format(i, HOST)); end
			end
		end
		for i = 1, 8 do
			assert.truthy(files["u"..i].items["dora@public.test"], "u"..i);
		end
	end);

	it("are not lost when their host is deactivated", function ()
		sent("subscribe", BOB);
		sent("subscribe", "dora@public.test");
		local object = world.prosody.hosts[HOST];
		world.prosody.hosts[HOST] = nil;
		sent("subscribe", "eve@public.test"); -- too late, and no error
		received("subscribed", BOB);
		clock = clock + 3;
		contacts.flush();
		assert.equal(1, writes);
		clock = clock + 60;
		contacts.retry();
		assert.equal(1, writes);
		world.prosody.hosts[HOST] = object;
		clock = clock + 60;
		contacts.retry();
		assert.equal(2, writes);
		kill();
		assert.equal("yes", listed("dora@public.test"));
		assert.equal("no", listed("eve@public.test"));
	end);

	it("are written a few in a turn when many wait, and the first of them when there are too many for that", function ()
		for i = 1, 120 do
			for j = 1, 30 do sent("subscribe", ("b%d@public.test"):format(j), ("u%d@%s"):format(i, HOST)); end
		end
		assert.equal(120 + 20, writes);
		clock, writes = clock + 2, 0;
		contacts.flush();
		assert.equal(34, writes);
		for _ = 1, 3 do contacts.flush(); end
		assert.equal(100, writes);
		start();
		assert.equal("yes", contacts.listed(HOST, "u7", nil, "b30@public.test"));
		assert.equal("yes", contacts.listed(HOST, "u117", nil, "b30@public.test"));
	end);

	it("are kept in memory for a number of contacts, of whichever users", function ()
		local reads = {};
		world.open_store = function () return { get = function (_, user)
			reads[user] = (reads[user] or 0) + 1;
			return files[user];
		end; set = function (_, user, data)
			files[user] = data;
			return true;
		end }; end;
		start();
		local items = {};
		for i = 1, 1000 do items[("b%d@public.test"):format(i)] = { to = true; seen = os.time() }; end
		for i = 1, 150 do files["u"..i] = { items = items }; end
		for i = 1, 150 do assert.equal("yes", contacts.listed(HOST, "u"..i, nil, "b7@public.test")); end
		assert.equal("yes", contacts.listed(HOST, "u150", nil, "b8@public.test"));
		assert.equal("yes", contacts.listed(HOST, "u51", nil, "b8@public.test"));
		assert.same({ 1, 1 }, { reads.u150, reads.u51 });
		assert.equal("yes", contacts.listed(HOST, "u1", nil, "b8@public.test"));
		assert.equal(2, reads.u1);
	end);

	it("are none of a user whose name is too long for a file, without a look at the disk", function ()
		local reads = 0;
		world.open_store = function () return { get = function () reads = reads + 1; error("File name too long"); end }; end;
		start();
		for _, name in ipairs({ ("a"):rep(201), ("é"):rep(34), ("a"):rep(1023) }) do
			local own = name.."@"..HOST;
			sent("subscribe", BOB, own);
			received("subscribed", BOB, own);
			assert.equal("no", contacts.listed(HOST, name, own, BOB));
			assert.equal("no", contacts.sees(HOST, name, own, BOB));
		end
		assert.equal(0, reads);
		assert.same({}, world.lines);
	end);

	it("are those of a user with a long name too", function ()
		local name = ("a"):rep(200);
		sent("subscribe", BOB, name.."@"..HOST);
		assert.equal("yes", contacts.listed(HOST, name, name.."@"..HOST, BOB));
	end);

	it("are written as soon as they can be", function ()
		world.open_store = function () return { get = function (_, user) return files[user]; end; set = function (_, user, data)
			writes = writes + 1;
			if broken then return nil, "disk full"; end
			files[user] = data;
			return true;
		end }; end;
		start();
		broken = true;
		for i = 1, 150 do sent("subscribe", BOB, ("u%d@%s"):format(i, HOST)); end
		assert.equal("yes", contacts.listed(HOST, "u7", nil, BOB));
		writes = 0;
		clock = clock + 60;
		contacts.retry();
		assert.equal(1, writes); -- still full
		broken, writes = false, 0;
		contacts.retry();
		assert.equal(0, writes);
		for _ = 1, 3 do
			clock = clock + 60;
			contacts.retry();
		end
		assert.equal(150, writes);
		start();
		assert.equal("yes", contacts.listed(HOST, "u7", nil, BOB));
	end);

	it("are all refused when more could not be written than can be kept", function ()
		broken = true;
		world.open_store = function () return { get = function (_, user) return files[user]; end; set = function () return nil, "disk full"; end }; end;
		start();
		for i = 1, 1001 do sent("subscribe", BOB, ("u%d@%s"):format(i, HOST)); end
		assert.equal("yes", contacts.listed(HOST, "u7", nil, BOB)); -- it is kept
		assert.equal("unavailable", listed(BOB));
	end);

	it("are imported beside those that are known, which stay as they are", function ()
		sent("subscribe", BOB);
		local items = { [BOB] = { to = true; from = true }, ["dora@public.test"] = { from = true }, ["eve@public.test"] = {} };
		assert.same({ 2, 1, 0 }, { contacts.import(HOST, "alice", items, false) });
		assert.equal("no", listed("dora@public.test")); -- only looked at
		assert.same({ 2, 1, 0 }, { contacts.import(HOST, "alice", items, true) });
		start();
		for contact, answers in pairs({ [BOB] = { "yes"; "no" }, ["dora@public.test"] = { "yes"; "yes" }, ["eve@public.test"] = { "yes"; "no" } }) do
			assert.same(answers, { listed(contact); sees(contact) });
		end
		assert.same({ 0, 3, 0 }, { contacts.import(HOST, "alice", items, true) });
		later(31 * DAY);
		assert.equal("no", listed("eve@public.test"));
		assert.same({ 3, 0, 0 }, { contacts.import(HOST, "alice", items, true) }); -- forgotten ones are known no longer
		assert.equal("yes", sees(BOB));
	end);

	it("are imported beside what waits to be written, or could not be", function ()
		sent("subscribe", BOB);
		sent("subscribe", "dora@public.test");
		assert.same({ 1, 0, 0 }, { contacts.import(HOST, "alice", { ["eve@public.test"] = {} }, true) });
		start();
		for _, contact in ipairs({ BOB; "dora@public.test"; "eve@public.test" }) do assert.equal("yes", listed(contact), contact); end
		clock, broken = clock + 10, true;
		sent("subscribe", "finn@public.test");
		broken = false;
		assert.same({ 1, 0, 0 }, { contacts.import(HOST, "alice", { ["gus@public.test"] = {} }, true) });
		sent("unsubscribe", "finn@public.test");
		assert.equal("no", listed("finn@public.test"));
		start();
		for contact, answer in pairs({ ["finn@public.test"] = "no"; ["gus@public.test"] = "yes" }) do assert.equal(answer, listed(contact), contact); end
	end);

	it("are imported up to a thousand of a user, and none of one that nothing can be stored of", function ()
		local items = {};
		for i = 1, 1100 do items[("b%04d@public.test"):format(i)] = { to = true }; end
		assert.same({ 1000, 0, 100 }, { contacts.import(HOST, "alice", items, true) });
		assert.equal("yes", listed("b1000@public.test"));
		assert.equal("no", listed("b1001@public.test"));
		assert.same({ 0, 0, 1100 }, { contacts.import(HOST, ("a"):rep(201), items, true) });
		assert.same({ 0, 0, 1 }, { contacts.import(HOST, "carol", { [("x"):rep(1020).."@y.test"] = {} }, true) });
		assert.is_nil(files.carol);
	end);

	it("are not imported, not even in memory, where they cannot be read or stored", function ()
		broken = true;
		local added, why = contacts.import(HOST, "alice", { [BOB] = {} }, true);
		assert.is_nil(added);
		assert.equal("broken", why);
		broken, clock = false, clock + 2;
		assert.equal("no", listed(BOB));
		broken = true; -- what has been read is kept
		added, why = contacts.import(HOST, "alice", { [BOB] = {} }, true);
		assert.is_nil(added);
		assert.equal("broken", why);
		broken = false;
		assert.equal("no", listed(BOB));
	end);

	it("are refused while the relation cannot be read", function ()
		sent("subscribe", BOB);
		start();
		broken = true;
		for _ = 1, 100 do
			assert.equal("unavailable", listed(BOB));
			assert.equal("no", sees(BOB));
			sent("subscribe", BOB);
		end
		assert.equal(1, #world.lines);
		assert.truthy(world.lines[1]:find("The contacts of alice@contoso.test cannot be read", 1, true));
		broken, clock = false, clock + 2;
		assert.equal("yes", listed(BOB));
	end);

	it("are looked for once in two seconds while they cannot be read, however many stanzas ask", function ()
		local reads = 0;
		world.open_store = function () return { get = function ()
			reads = reads + 1;
			return nil, "broken";
		end }; end;
		start();
		for _ = 1, 100 do assert.equal("unavailable", listed(BOB)); end
		assert.equal(1, reads);
		clock = clock + 2;
		for _ = 1, 100 do assert.equal("unavailable", listed(BOB)); end
		assert.equal(2, reads);
		assert.equal("unavailable", contacts.listed(HOST, "carol", nil, BOB));
		assert.equal(3, reads);
	end);

	it("are none where what is stored is damaged, and the others stay", function ()
		local now = time();
		for _, stored in ipairs({ 5; "text"; {}; { items = true }; { items = { "x"; [BOB] = true } }; { items = { [BOB] = { to = true } } };
			{ items = { [BOB] = { to = true; seen = "now"; since = {} } } }; { items = { [BOB] = { to = true; seen = 0 / 0 } } } }) do
			local items = type(stored) == "table" and type(stored.items) == "table" and stored.items;
			if items then items["dora@public.test"] = { from = true; seen = now; since = "?" }; end
			files.alice = stored;
			contacts = nil;
			start();
			assert.equal("no", listed(BOB));
			sent("probe", "eve@public.test");
			received("subscribed", BOB);
			for _, contact in ipairs(contacts.list(HOST, "alice")) do assert.equal("integer", math.type(contact.since)); end
			assert.equal("yes", listed("eve@public.test"));
			assert.equal(items and "yes" or "no", listed("dora@public.test"));
			sent("subscribe", BOB);
			assert.equal("yes", listed(BOB));
		end
		assert.equal("yes", sees("dora@public.test"));
	end);

	it("that are forgotten by the administrator say whether that could be stored", function ()
		sent("subscribe", BOB);
		sent("subscribe", "dora@public.test");
		assert.same({ true, false }, { contacts.forget(HOST, "alice", BOB) });
		clock, broken = clock + 10, true;
		assert.same({ true, true }, { contacts.forget(HOST, "alice", "dora@public.test") });
		assert.truthy(world.lines[1]:find("cannot be stored", 1, true));
		assert.equal("no", listed("dora@public.test"));
		assert.is_false(contacts.forget(HOST, "alice", "dora@public.test"));
	end);
end);
