-- lua/actions.lib.lua: what is done about each decision, and that every refusal is reported for its reason.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local st = require "util.stanza";
local native = require "config_stub".native();

local HOST = "contoso.test";

describe("an action", function ()
	local world, act, said, guard, with, in_handshake, may_log, destroyed, authorised;

	-- Every function of a report, a memory and the like notes that it was called.
	local function noting(name)
		return setmetatable({}, { __index = function (_, what)
			return function (...) table.insert(said, { name.."."..what, ... }); end;
		end });
	end

	before_each(function ()
		said, in_handshake, may_log, destroyed, authorised = {}, false, true, {}, true;
		world = lua_world.new { ["core.s2smanager"] = { destroy_session = function (session, text, bounce)
			table.insert(destroyed, { session, text, bounce });
		end } };
		world.prosody.hosts[HOST] = { events = { fire_event = function (event, data) table.insert(said, { event, data }); end } };
		guard = { answers = {}; facts = {} };
		local limits = noting "limits";
		limits.in_handshake = function () return in_handshake; end;
		limits.may_log = function () return may_log; end;
		local function detached(action) action(); end
		with = { guard = guard; native = native; limits = limits; report = noting "report"; memory = noting "memory"; expiry = noting "expiry";
			subscriptions = { authorise = function () return authorised; end }; answers = world.load "answers" (guard, detached);
			features = world.load "features"; unparsed = function () return " (unparsed)"; end; detached = detached;
			partner_label = function (_, remote) return "label of "..tostring(remote); end };
		act = world.load "actions" (with);
	end);

	local function stream()
		local closed = {};
		return { direction = "incoming"; type = "s2sin"; conn = {}; from_host = "fed.test"; to_host = HOST;
			close = function (_, reason, _, bounce) table.insert(closed, { reason, bounce }); end;
			sends2s = function (stanza) table.insert(closed, tostring(stanza)); end; send = function (stanza) table.insert(closed, tostring(stanza)); end;
		}, closed;
	end

	it("closes a stream with the texts of its reason", function ()
		local session, closed = stream();
		act.close(session, "unlisted-domain", "policy-violation", "a rule");
		assert.same({ "report.stream_refused", session, "unlisted-domain", "a rule", false }, said[1]);
		assert.same({ condition = "policy-violation"; text = native.reasons["unlisted-domain"].peer_text.." (unlisted-domain)" }, closed[1][1]);
		assert.equal("not-allowed", closed[1][2].condition);
	end);

	it("says nothing to a stream in a TLS handshake, and nothing again to one that is gone", function ()
		local session, closed = stream();
		in_handshake = true;
		act.close(session, "unlisted-domain", "policy-violation", "a rule");
		assert.same({}, closed);
		assert.equal(session, destroyed[1][1]);
		session.destroyed = true;
		act.close(session, "unlisted-domain", "policy-violation", "a rule");
		assert.equal(1, #destroyed);
	end);

	it("returns the queue of a stream that has no connection", function ()
		act.close({ direction = "outgoing" }, "unlisted-domain", "policy-violation", "a rule");
		assert.equal("not-allowed", destroyed[1][3].condition);
	end);

	it("dismisses in silence what may not be logged", function ()
		may_log = false;
		local session, closed = stream();
		act.close(session, "unlisted-domain", "policy-violation", "a rule");
		assert.is_true(said[1][5]);
		assert.same({ "limits.dismiss", session, "policy-violation" }, { table.unpack(said[2], 1, 3) });
		assert.same({}, closed);
	end);

	it("says what had not been read of a stream that ran out of time", function ()
		act.close(stream(), "establishment-timeout", "connection-timeout", "a rule");
		assert.equal("a rule (unparsed)", said[1][4]);
	end);

	it("gives the protocol's own failure before it closes", function ()
		local session, closed = stream();
		act.close_starttls(session, "tls-not-supported", "policy-violation", "a rule");
		assert.truthy(closed[1]:find("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", 1, true));
		assert.equal("policy-violation", closed[2][1].condition);
		session, closed = stream();
		act.close_sasl(session, "sasl-not-supported", "policy-violation", "a rule");
		assert.truthy(closed[1]:find("not-authorized", 1, true));
		local features = st.stanza("features");
		act.close_offering(stream(), "unlisted-domain", "policy-violation", "a rule", features);
		assert.equal(1, #features.tags);
	end);

	it("answers a dialback element, with nothing of it that is long", function ()
		local session, closed = stream();
		act.dialback_error(session, "connection-limit", st.stanza("result", { from = "a"; to = "b"; id = ("x"):rep(257) }), "wait", "resource-constraint");
		assert.same({ "report.element_refused", session, "connection-limit" }, said[1]);
		assert.truthy(closed[1]:find("<error type='wait'><resource-constraint", 1, true));
		assert.is_nil(closed[1]:find("xxx", 1, true));
		act.deny_key(session, "dialback-not-allowed", st.stanza("verify", { from = "a"; to = "b"; id = "1" }));
		assert.truthy(closed[2]:find("type='invalid'", 1, true));
		act.drop_element(session, "wrong-domain");
		assert.equal(2, #closed);
		assert.same({ "report.element_refused", session, "wrong-domain" }, said[3]);
	end);

	local function message(kind) return st.message({ from = "bob@fed.test/r"; to = "alice@"..HOST; type = kind; id = "1" }); end

	it("replies to a refused stanza as it is told, whatever the stanza is", function ()
		for reply, expected in pairs { error = "service-unavailable"; unavailable = false; none = false } do
			local session, closed = stream();
			said, world.routed = {}, {};
			act.refuse_stanza(session, "not-listed", "a rule", message("error" ~= reply and "chat" or nil), reply);
			assert.same({ "report.stanza_refused", "in", "label of fed.test", "fed.test", HOST, "not-listed", "a rule" }, said[1]);
			assert.equal(expected and 1 or 0, #closed);
			if expected then assert.truthy(closed[1]:find(expected, 1, true)); end
			assert.equal(reply == "unavailable" and 1 or 0, #world.routed);
		end
		assert.truthy(next(guard.answers), "its own answers are marked");
	end);

	it("tells the local sender why a stanza has not gone out, when it is told to", function ()
		local event = { from_host = HOST; to_host = "fed.test"; origin = { directed = { ["bob@fed.test"] = true } };
			stanza = st.message({ from = "alice@"..HOST; to = "bob@fed.test" }) };
		act.refuse_route(event, "not-listed", "a rule", "none", false);
		assert.same({}, world.routed);
		assert.is_true(event.origin.directed["bob@fed.test"]);
		act.refuse_route(event, "not-listed", "a rule", "error", true);
		assert.equal(1, #world.routed);
		local _, condition = world.routed[1][2]:get_error();
		assert.equal(native.reasons["not-listed"].stanza_condition, condition);
		assert.is_nil(event.origin.directed["bob@fed.test"]);
		local session, closed = stream();
		act.refuse_route(event, "internal-error", "a rule", "none", false, session);
		assert.equal(1, #closed);
	end);

	it("of a failed handler refuses what the event was about", function ()
		guard.facts.passed = function () return "no"; end;
		local event = { from_host = HOST; to_host = "fed.test"; stanza = st.message({ from = "alice@"..HOST; to = "bob@fed.test"; type = "chat" }) };
		act.internal_error(event, "oops", "route/remote");
		assert.equal("error: Error while handling route/remote, refused: oops", world.lines[1]);
		assert.equal(1, #world.routed);
		local session, closed = stream();
		act.internal_error({ origin = session }, "oops", "message/bare");
		assert.equal("policy-violation", closed[1][1].condition);
		act.internal_error({ origin = { type = "c2s" } }, "oops", "message/bare");
		-- A stanza about which nothing can be found out is refused in silence.
		act.internal_error({ from_host = HOST; to_host = "fed.test" ; stanza = st.message() }, "oops", "route/remote");
		assert.equal(1, #closed);
	end);

	it("authorises, or refuses when the roster cannot be written", function ()
		local request = st.presence({ from = "bob@fed.test"; to = "alice@"..HOST; type = "subscribe" });
		act.authorise_subscription(request);
		assert.same({ "report.subscription_authorised", "fed.test", HOST }, said[1]);
		authorised, said = false, {};
		act.authorise_subscription(request);
		assert.same({ "report.stanza_refused", "in", "label of fed.test", "fed.test", HOST, "roster-unavailable" }, { table.unpack(said[1], 1, 6) });
		assert.equal("unavailable", world.routed[1][2].attr.type);
	end);

	it("remembers and reports what has passed changed", function ()
		local event = { from_host = HOST; to_host = "fed.test"; stanza = "stanza"; origin = "origin" };
		act.passed(event, "status-note-removed", "directed");
		assert.same({ { "report.stanza_changed", "to", "fed.test", HOST, "status-note-removed" }, { "memory.directed", "stanza", "origin" } }, said);
	end);

	it("sends a stanza its own way", function ()
		act.reroute({ origin = "origin"; stanza = "stanza" }, HOST, "fed.test");
		assert.same({ { "route/remote", { origin = "origin"; from_host = HOST; to_host = "fed.test"; stanza = "stanza" } } }, said);
	end);

	it("replaces an answer by that of nobody", function ()
		local event = { stanza = st.iq({ type = "result"; id = "7"; from = "alice@"..HOST; to = "bob@fed.test/r" }):tag("query") };
		act.answer_alike(event);
		assert.same({ "alice@"..HOST, "bob@fed.test/r", "7", "error" },
			{ event.stanza.attr.from, event.stanza.attr.to, event.stanza.attr.id, event.stanza.attr.type });
		assert.is_nil(event.stanza:get_child("query"));
	end);

	it("cuts features down to what is offered, and leaves alone what is as it should be", function ()
		local tls = "urn:ietf:params:xml:ns:xmpp-tls";
		local function offered(offer)
			local features = st.stanza("features"):tag("starttls", { xmlns = tls }):up():tag("mechanisms", { xmlns = "urn:ietf:params:xml:ns:xmpp-sasl" }):up()
				:tag("dialback", { xmlns = "urn:xmpp:features:dialback" }):up():tag("bidi", { xmlns = "urn:xmpp:features:bidi" }):up():tag("other"):up();
			local before = features.tags[1];
			act.trim_features(features, offer);
			local names = {};
			for i, tag in ipairs(features.tags) do names[i] = tag.name; end
			assert.same(#features.tags, #features);
			return table.concat(names, " "), features.tags[1], before;
		end
		assert.equal("other", (offered {}));
		assert.equal("mechanisms other", (offered { sasl = true }));
		local names, now, before = offered { starttls = true; starttls_required = true; sasl = true; dialback = true; bidi = true };
		assert.equal("starttls mechanisms dialback bidi other", names);
		assert.not_equal(before, now);
		assert.truthy(now:get_child("required"));
		names, now, before = offered { starttls = true; sasl = true; dialback = true; bidi = true };
		assert.equal("starttls mechanisms dialback bidi other", names);
		assert.equal(before, now);
	end);
end);
