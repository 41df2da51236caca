-- lua/subscriptions.lib.lua: what users cancel and block is remembered, and a request is answered in their name.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local st = require "util.stanza";
local native = require "config_stub".native();

local HOST = "contoso.test";
local ALICE, BOB = "alice@"..HOST, "bob@fed.test";

describe("a user's subscriptions", function ()
	local world, subscriptions, context, stores, roster, fails, now, exists, guard;

	before_each(function ()
		stores, roster, fails, now, exists = {}, { [false] = {} }, {}, 1000, true;
		world = lua_world.new {
			["util.time"] = { monotonic = function () return now; end };
			["core.usermanager"] = { user_exists = function () return exists; end };
			["core.rostermanager"] = {
				load_roster = function () return roster; end;
				set_contact_pending_in = function () return not fails.pending; end;
				subscribed = function (_, _, contact)
					roster[contact] = roster[contact] or {};
					roster[contact].subscription = "from";
					return not fails.subscribed;
				end;
				roster_push = function () end;
			};
		};
		function world.open_store(host, name)
			stores[name] = stores[name] or {};
			return {
				get = function (_, user) if fails.get then return nil, "disk"; end return stores[name][user.."@"..host]; end;
				set = function (_, user, data) if fails.set then return nil, "full"; end stores[name][user.."@"..host] = data; return true; end;
			};
		end
		world.prosody.hosts[HOST] = { type = "local"; events = {}; modules = {} };
		guard = { observing = false };
		subscriptions = world.load "subscriptions" (native, guard);
		-- The handlers of the host, as they are hooked.
		context = { hooks = {}; wrapped = {} };
		function context:hook(event, handler) self.hooks[event] = handler; end
		function context:wrap_event(event, handler) self.wrapped[event] = handler; end
		subscriptions.guard_host(HOST, context);
	end);

	local function says(kind, to)
		return context.hooks["pre-presence/bare"] { origin = { username = "alice"; host = HOST };
			stanza = st.presence({ from = ALICE; to = to or BOB; type = kind }) };
	end

	local function is_cancelled(contact, listed) return subscriptions.is_cancelled(HOST, "alice", contact or BOB, listed); end

	it("are cancelled by a word of the user's, and no longer when the user adds the contact", function ()
		assert.is_false(is_cancelled());
		says "unsubscribed";
		assert.is_true(is_cancelled());
		says "subscribe";
		assert.is_false(is_cancelled());
		says "unsubscribed";
		says "subscribed";
		assert.is_false(is_cancelled());
		assert.same({}, stores.s2s_partners_cancelled);
	end);

	it("hold for every spelling of the contact's domain", function ()
		says("unsubscribed", "bob@b\195\188cher.test");
		assert.is_true(is_cancelled "bob@xn--bcher-kva.test");
	end);

	it("with local contacts are none of this module's business", function ()
		says("unsubscribed", "carol@"..HOST);
		assert.is_nil(stores.s2s_partners_cancelled);
	end);

	it("are not ended by core's own word to a partner", function ()
		local own = { origin = {}; stanza = st.presence({ to = BOB; type = "unsubscribed" }) };
		assert.is_true(context.hooks["pre-presence/bare"](own));
		guard.observing = true;
		assert.is_nil(context.hooks["pre-presence/bare"](own)); -- nothing is enforced
		guard.observing = "yes";
		assert.is_true(context.hooks["pre-presence/bare"](own));
		own.stanza.attr.to = "carol@"..HOST;
		assert.is_nil(context.hooks["pre-presence/bare"](own));
	end);

	local function roster_set(before, after)
		local origin = { username = "alice"; host = HOST; roster = { [BOB] = before } };
		local set = st.iq({ type = "set"; id = "1" }):tag("query"):tag("item", { jid = BOB });
		set:reset();
		return context.wrapped["iq/self/jabber:iq:roster:query"](function ()
			origin.roster[BOB] = after;
			return "handled";
		end, "iq/self/jabber:iq:roster:query", { origin = origin; stanza = set });
	end

	it("are cancelled by what a roster set has done, not by what it asks for", function ()
		local item = {};
		assert.equal("handled", roster_set(item, item));
		assert.is_false(is_cancelled());
		roster_set(item, nil);
		assert.is_true(is_cancelled());
		roster_set(nil, {});
		assert.is_false(is_cancelled());
	end);

	it("are cancelled when an item is removed, but not of a user who is being deleted", function ()
		local event = { username = "alice"; jid = BOB; origin = {} };
		exists = false;
		context.hooks["roster-item-removed"](event);
		assert.is_false(is_cancelled());
		exists = true;
		context.hooks["roster-item-removed"](event);
		assert.is_true(is_cancelled());
	end);

	it("that cannot be stored hold all the same, and are written later", function ()
		fails.set = true;
		says "unsubscribed";
		assert.truthy(world.lines[1]:find("^error: Cannot store that alice@contoso.test has cancelled a contact"));
		assert.is_true(is_cancelled());
		assert.is_nil(stores.s2s_partners_cancelled[ALICE]);
		fails.set = nil;
		assert.is_true(is_cancelled());
		assert.truthy(stores.s2s_partners_cancelled[ALICE].contacts[BOB]);
	end);

	it("that cannot be read are an error to who asks", function ()
		fails.get = true;
		assert.has_error(function () is_cancelled(); end, "disk");
	end);

	it("beyond a bound all count as cancelled but those in the roster", function ()
		for i = 1, 1001 do says("unsubscribed", "c"..i.."@fed.test"); end
		assert.is_true(is_cancelled "c1@fed.test");
		assert.is_true(is_cancelled("new@fed.test", false));
		assert.is_false(is_cancelled("new@fed.test", true));
		assert.equal(1, #world.lines);
	end);

	it("of a deleted user are nobody's", function ()
		fails.set = true;
		says "unsubscribed";
		subscriptions.user_deleted(HOST, "alice");
		fails.set = nil;
		assert.is_false(is_cancelled());
	end);

	local request = st.presence({ from = BOB.."/x"; to = ALICE; type = "subscribe" });

	it("are answered as core answers the user's own word, with presence", function ()
		assert.is_true(subscriptions.authorise(request));
		assert.equal("from", roster[BOB].subscription);
		assert.same({ "subscribed", "unavailable" }, { world.routed[1][2].attr.type, world.routed[2][2].attr.type });
		assert.same({ ALICE, BOB }, { world.routed[1][2].attr.from, world.routed[1][2].attr.to });
	end);

	it("are left as they were when the roster cannot be written", function ()
		fails.subscribed = true;
		assert.is_false(subscriptions.authorise(request));
		assert.is_nil(roster[BOB]);
		roster[BOB] = { subscription = "to" };
		assert.is_false(subscriptions.authorise(request));
		assert.equal("to", roster[BOB].subscription);
		fails = { pending = true };
		assert.is_false(subscriptions.authorise(request));
		assert.same({}, world.routed);
	end);

	it("are blocked in every spelling, by address, domain or resource, and read anew after a change", function ()
		local blocks = subscriptions.blocks;
		stores.blocklist = { [ALICE] = { ["bob@b\195\188cher.test"] = true; ["evil.test"] = true; ["eve@fed.test/x"] = true } };
		for contact, blocked in pairs { ["bob@xn--bcher-kva.test/r"] = true; ["any@evil.test"] = true; ["eve@fed.test/x"] = true;
			["eve@fed.test/y"] = false; [BOB] = false } do
			assert.equal(blocked, blocks.has(HOST, "alice", contact), contact);
		end
		assert.is_false(blocks.in_force(HOST, "alice", "any@evil.test"));
		world.prosody.hosts[HOST].modules.blocklist = {};
		assert.is_true(blocks.in_force(HOST, "alice", "any@evil.test"));
		local change = context.wrapped["iq-set/self/urn:xmpp:blocking:unblock"];
		change(function () stores.blocklist[ALICE] = {}; end, "unblock", { origin = { username = "alice"; host = HOST } });
		assert.is_false(blocks.has(HOST, "alice", "any@evil.test"));
	end);
end);
