-- lua/facts.lib.lua: each fact's words, and what is remembered.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local native = require "config_stub".native();

local HOST = "contoso.test";
local ALICE, BOB = "alice@"..HOST, "bob@fed.test";

describe("a fact", function ()
	local world, facts, memory, rosters, now, blocked, cancelled, roles, user_roles, guard;

	local function load_facts(saved)
		local subscriptions = { blocks = {
			has = function () if blocked == error then error("unreadable"); end return blocked; end;
			in_force = function () return blocked; end;
		}; is_cancelled = function () if cancelled == error then error("unreadable"); end return cancelled; end };
		facts, memory = world.load "facts" (guard, native, subscriptions, saved);
	end

	before_each(function ()
		rosters, now, blocked, cancelled, roles, user_roles = { alice = { [false] = {} } }, 1000, false, false, nil, {};
		world = lua_world.new {
			["util.time"] = { monotonic = function () return now; end };
			["core.rostermanager"] = { load_roster = function (user)
				if rosters[user] == error then error("disk"); end
				return rosters[user] or { [false] = {} };
			end };
			["core.usermanager"] = {
				user_exists = function (user) return rosters[user] ~= nil; end;
				get_user_role = function (user) return user_roles[user]; end;
				get_all_roles = function () return roles; end;
			};
		};
		world.prosody.hosts[HOST] = { type = "local"; modules = {} };
		world.prosody.hosts["rooms."..HOST] = { type = "component"; modules = {} };
		local partners = assert(native.compile_table { local_domains = { HOST }; lists = { { place = "s2s_partners"; list = {
			{ domain = "fed.test"; additional_domains = { "more.test" }; partner_type = "federated"; tls = "required"; sasl = "required" } } } } });
		guard = { policies = { [HOST] = assert(native.compile_policy { table = partners; external_access = { default = "allow" };
			limits = {}; options = {} }) } };
		load_facts();
	end);

	it("of an account is what core says", function ()
		assert.same({ "exists", "missing", "missing" }, { facts.account(HOST, "alice"), facts.account(HOST, "nobody"), facts.account(HOST, "") });
	end);

	it("of a contact in the roster holds in every spelling of its domain", function ()
		rosters.alice["carol@b\195\188cher.test"] = { subscription = "none" };
		rosters.alice[BOB] = { subscription = "none" };
		for contact, word in pairs { [BOB] = "yes"; [BOB.."/x"] = "yes"; ["eve@fed.test"] = "no"; ["carol@xn--bcher-kva.test"] = "yes" } do
			assert.equal(word, facts.listed(HOST, "alice", ALICE, contact), contact);
		end
	end);

	it("of a roster that cannot be read is that, and it is said once a minute", function ()
		for _, roster in ipairs { error, { [false] = { broken = "torn" } }, "text" } do
			rosters.alice = roster;
			assert.equal("unavailable", facts.listed(HOST, "alice", ALICE, BOB));
			assert.equal("unavailable", facts.standing(HOST, "alice", ALICE, BOB));
			assert.equal("many", facts.contacts(HOST, "alice", ALICE, BOB));
			assert.equal("full", facts.waiting(HOST, "alice", ALICE, BOB));
			assert.equal("no", facts.sees(HOST, "alice", ALICE, BOB));
		end
		assert.equal(1, #world.lines);
		now = now + 60;
		facts.listed(HOST, "alice", ALICE, BOB);
		assert.equal(2, #world.lines);
	end);

	it("of who sees presence follows the subscription", function ()
		for subscription, word in pairs { both = "yes"; from = "yes"; to = "no"; none = "no" } do
			rosters.alice[BOB] = { subscription = subscription };
			assert.equal(word, facts.sees(HOST, "alice", ALICE, BOB.."/x"), subscription);
		end
	end);

	it("of roles asks whether any denies anybody, then the user's", function ()
		local function role(answer) return { may = function () return answer; end }; end
		roles = { a = role(true), b = role(nil) };
		assert.equal("allowed", facts.access(HOST, "alice"));
		assert.truthy(memory.roles_scanned[HOST]);
		roles.c, user_roles.alice = role(false), role(false);
		assert.equal("denied", facts.access(HOST, "alice"));
		assert.is_nil(memory.roles_scanned[HOST]);
		assert.equal("allowed", facts.access(HOST, "bob"));
	end);

	it("of standing: blocked, cancelled, authorised, none, in that order of doubt", function ()
		assert.equal("none", facts.standing(HOST, "alice", ALICE, BOB));
		cancelled = true;
		assert.equal("cancelled", facts.standing(HOST, "alice", ALICE, BOB));
		rosters.alice[BOB] = { subscription = "from" };
		assert.equal("authorised", facts.standing(HOST, "alice", ALICE, BOB));
		blocked = true;
		assert.equal("blocked", facts.standing(HOST, "alice", ALICE, BOB));
		blocked = error;
		assert.equal("unavailable", facts.standing(HOST, "alice", ALICE, BOB));
		blocked, cancelled, rosters.alice[BOB] = false, error, nil;
		assert.equal("unavailable", facts.standing(HOST, "alice", ALICE, BOB));
	end);

	it("that fails is no word, and the log says why", function ()
		function memory.canonical() end
		facts.blocked = nil;
		load_facts();
		blocked = nil;
		roles = setmetatable({}, { __pairs = function () error("oops"); end });
		assert.is_nil(facts.access(HOST, "alice"));
		assert.truthy(world.lines[1]:find("^error: Could not find out about a local user %(access%)"));
	end);

	it("of contacts counts those of the partner, additional domains too, up to core's bound", function ()
		for i = 1, native.bounds.contacts - 2 do rosters.alice["c"..i.."@fed.test"] = {}; end
		rosters.alice["x@other.test"] = {};
		rosters.alice["x@"..HOST] = {};
		rosters.alice["x@more.test"] = {};
		assert.equal("few", facts.contacts(HOST, "alice", ALICE, BOB));
		rosters.alice["y@more.test"] = {};
		assert.equal("many", facts.contacts(HOST, "alice", ALICE, BOB));
	end);

	it("of waiting requests counts those that are not in the roster; who waits already may ask again", function ()
		local pending = {};
		rosters.alice[false].pending = pending;
		for i = 1, native.bounds.waiting - 1 do pending["c"..i.."@fed.test"] = true; end
		assert.equal("room", facts.waiting(HOST, "alice", ALICE, BOB));
		pending["more@fed.test"], rosters.alice["more@fed.test"] = true, {};
		assert.equal("room", facts.waiting(HOST, "alice", ALICE, BOB));
		pending["another@fed.test"] = true;
		assert.equal("full", facts.waiting(HOST, "alice", ALICE, BOB));
		assert.equal("room", facts.waiting(HOST, "alice", ALICE, "c1@fed.test/x"));
		assert.equal("room", facts.waiting(HOST, "alice", ALICE, "more@fed.test"));
	end);

	it("of directed presence holds until it is taken back, or its session ends", function ()
		local full, origin = ALICE.."/r", { directed = { [BOB] = true } };
		local stanza = { attr = { from = full; to = BOB } };
		memory.directed(stanza, {}); -- a broadcast
		assert.equal("no", facts.directed(HOST, "alice", ALICE, BOB));
		memory.directed(stanza, origin);
		assert.same({ "yes", "yes", "no" }, { facts.directed(HOST, "alice", ALICE, BOB.."/x"), facts.passed(HOST, "alice", full, BOB),
			facts.passed(HOST, "alice", ALICE.."/other", BOB) });
		memory.undirected(stanza);
		assert.equal("no", facts.directed(HOST, "alice", ALICE, BOB));
		memory.directed(stanza, origin);
		load_facts(memory.save());
		assert.equal("yes", facts.directed(HOST, "alice", ALICE, BOB));
		memory.session_ended(full);
		assert.equal("no", facts.directed(HOST, "alice", ALICE, BOB));
		assert.same({}, memory.directed_by);
	end);

	it("of directed presence is bounded for a session", function ()
		for i = 1, 1001 do
			local to = "c"..i.."@fed.test";
			memory.directed({ attr = { from = ALICE.."/r"; to = to } }, { directed = { [to] = true } });
		end
		assert.equal("yes", facts.directed(HOST, "alice", ALICE, "c1000@fed.test"));
		assert.equal("no", facts.directed(HOST, "alice", ALICE, "c1001@fed.test"));
	end);

	it("of an answer is that it was asked for, once, by the same user", function ()
		memory.request { attr = { from = ALICE.."/r"; to = "fed.test"; id = "7" } };
		assert.equal("no", facts.requested(HOST, "alice", "carol@"..HOST.."/r", "fed.test", "7"));
		assert.equal("yes", facts.requested(HOST, "alice", ALICE.."/r", "fed.test", "7"));
		assert.equal("no", facts.requested(HOST, "alice", ALICE.."/r", "fed.test", "7"));
	end);
end);
