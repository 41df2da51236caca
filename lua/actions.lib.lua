-- What follows from a decision: guard.act, whose functions the C handlers call by name when they have decided (bridge/handler.c).
-- Nothing is decided in here.

local st = require "util.stanza";
local errors = require "util.error";
local jid_bare, jid_host = require "util.jid".bare, require "util.jid".host;
local s2smanager = require "core.s2smanager";

local hosts = prosody.hosts;

local xmlns_tls = "urn:ietf:params:xml:ns:xmpp-tls";
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
local xmlns_stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas";

local ID_MAX = 256; -- bytes; a longer one is not sent back

-- `with`: guard, native, limits, report, memory, subscriptions, expiry, answers, features, unparsed, detached, partner_label, watch_header,
-- connect_through; destroy_session where streams are not core's. Returns a table of functions, for guard.act.
local function new_actions(with)
	local native, limits, report, memory = with.native, with.limits, with.report, with.memory;
	local answers, features, detached, partner_label = with.answers, with.features, with.detached, with.partner_label;
	local destroy_session = with.destroy_session or s2smanager.destroy_session;
	local refusals, changes = {}, {};

	-- The one door of whatever refuses. `subject` is what is refused: a stream (its session), a stanza (where it came from) or
	-- a route (its event); `reason` a token of the table of reasons.
	local function refuse(name, subject, reason, ...)
		return refusals[name](subject, reason, ...);
	end

	--- Refusals: of a stream

	local function close_stream(session, condition, text, bounce)
		if session.destroyed then return; end
		detached(function ()
			if limits.in_handshake(session) then
				-- Nothing that could be said would be protected. Its connection is cut in a moment, see limits.
				destroy_session(session, text, bounce);
			elseif session.conn and session.close then
				session:close({ condition = condition, text = text }, nil, bounce);
			elseif session.direction == "outgoing" then
				-- Not connected yet: core has nothing to close, but a queue to return.
				destroy_session(session, text, bounce);
			end
		end);
	end

	local timed_out = { ["establishment-timeout"] = true; ["inactivity-timeout"] = true };

	function refusals.close(session, reason, condition, rule)
		if session.destroyed then return; end
		local row = native.reasons[reason];
		local text = ("%s (%s)"):format(row.peer_text, reason);
		local quiet = not limits.may_log(session, reason);
		if not quiet and timed_out[reason] then rule = rule..with.unparsed(session); end
		report.stream_refused(session, reason, rule, quiet);
		if quiet and session.conn then
			limits.dismiss(session, condition, text);
			return;
		end
		close_stream(session, condition, text, errors.new({
			type = row.stanza_type;
			condition = row.stanza_condition;
			text = row.user_text;
		}));
	end

	-- In the middle of offering features.
	function refusals.close_offering(session, reason, condition, rule, element)
		features.fill(element);
		refusals.close(session, reason, condition, rule);
	end

	-- The peer gets the protocol's own <failure/>, then the stream error that says why.
	function refusals.close_starttls(session, reason, condition, rule)
		session.sends2s(st.stanza("failure", { xmlns = xmlns_tls }));
		refusals.close(session, reason, condition, rule);
	end

	function refusals.close_sasl(session, reason, condition, rule)
		session.sends2s(st.stanza("failure", { xmlns = xmlns_sasl }):tag("not-authorized"));
		refusals.close(session, reason, condition, rule);
	end

	--- Refusals: of an element, while the stream goes on

	-- XEP-0220 2.4: the request is refused, the stream goes on. Nothing of it comes back but what is short.
	function refusals.dialback_error(session, reason, stanza, error_type, condition)
		report.element_refused(session, reason);
		local attr = stanza.attr;
		session.sends2s(st.stanza("db:"..stanza.name, { from = attr.to, to = attr.from, type = "error",
				id = attr.id and #attr.id <= ID_MAX and attr.id or nil })
			:tag("error", { type = error_type }):tag(condition, { xmlns = xmlns_stanzas }));
	end

	-- What core answers to a key that is not ours, without its warning.
	function refusals.deny_key(session, reason, stanza)
		report.element_refused(session, reason);
		local attr = stanza.attr;
		session.sends2s(st.stanza("db:verify", { from = attr.to, to = attr.from, id = attr.id, type = "invalid" }));
	end

	-- A stanza in the namespace of clients, or something that core would take for one: no stanza of this stream at all.
	function refusals.drop_element(session, reason)
		report.element_refused(session, reason);
	end

	--- Refusals: of a stanza

	-- Nothing in a refusal tells a stranger why. `reply`: "error", "unavailable" (what core itself says while a request waits), "none".
	function refusals.refuse_stanza(origin, reason, rule, stanza, reply)
		local remote, host = jid_host(stanza.attr.from), jid_host(stanza.attr.to);
		report.stanza_refused("in", partner_label(host, remote), remote, host, reason, rule);
		answers.give(origin, stanza, reply);
	end

	-- `reply`: "error" or "none". `forget`: the contact has not seen the user come and is not to see the user go. `session`: a stream
	-- that is to be closed as well, or nil.
	function refusals.refuse_route(event, reason, rule, reply, forget, session)
		local stanza, from_host = event.stanza, event.from_host;
		report.stanza_refused("out", partner_label(from_host, event.to_host), event.to_host, from_host, reason, rule);
		local row = native.reasons[reason];
		if session then
			refuse("close", session, reason, row.stream_condition, rule);
		end
		if reply == "error" and hosts[from_host] then
			local answer = st.error_reply(stanza, row.stanza_type, row.stanza_condition, row.user_text);
			detached(function () prosody.core_route_stanza(hosts[from_host], answer); end);
		end
		if forget then event.origin.directed[stanza.attr.to] = nil; end
	end

	--- What is changed, noted or said about what goes on

	changes.watch_header = with.watch_header;
	changes.connect_through = with.connect_through;

	function changes.established(session)
		limits.settled(session);
		local view = native.stream_view(session);
		report.stream_established(session, view);
		with.expiry.seen(view);
	end

	-- `offer`: which of starttls, starttls_required, sasl, dialback and bidi may stay.
	changes.trim_features = features.trim;

	-- By its own addresses.
	function changes.reroute(event, from_host, to_host)
		hosts[from_host].events.fire_event("route/remote", {
			origin = event.origin; from_host = from_host; to_host = to_host; stanza = event.stanza;
		});
	end

	-- Something of what goes out was taken away, or is to be remembered. The copy without a note that was made for the first
	-- recipient of a broadcast goes to the others in silence.
	function changes.passed(event, change, remember)
		if change then
			report.stanza_changed("to", event.to_host, event.from_host, change);
		end
		if remember then
			memory[remember](event.stanza, event.origin);
		end
	end

	function changes.answer_alike(event, condition, change)
		if change then report.stanza_changed("to", event.to_host, event.from_host, change); end
		answers.alike(event, condition);
	end

	-- Of a type that does not exist, or no iq by RFC 6120 8.2.3. What core makes of that depends on the user.
	function changes.answer_malformed(origin, stanza, reply)
		module:log("debug", "Dropped a malformed %s from %s", stanza.name, stanza.attr.from);
		answers.give(origin, stanza, reply);
	end

	function changes.authorise_subscription(stanza)
		detached(function ()
			if with.subscriptions.authorise(stanza) then
				report.subscription_authorised(jid_host(stanza.attr.from), jid_host(stanza.attr.to));
			else
				module:log("error", "The roster of %s cannot be written: no subscription is authorised", jid_bare(stanza.attr.to));
				refuse("refuse_stanza", nil, "roster-unavailable", "the roster cannot be written", stanza, "unavailable");
			end
		end);
	end

	local act = changes;
	for name in pairs(refusals) do
		act[name] = function (...) return refuse(name, ...); end;
	end

	-- A handler has failed. Whatever it was about goes no further.
	function act.internal_error(event, err, name)
		module:log("error", "Error while handling %s, refused: %s", name, err);
		local session = event.origin or event.session;
		if event.to_host and event.from_host then
			local ok, reply, forget = pcall(native.refused_route, with.guard, event, "internal-error");
			refuse("refuse_route", event, "internal-error", "an error in the handler", ok and reply or "none", ok and forget);
		elseif session and type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			refuse("close", session, "internal-error", "policy-violation", "an error in the handler");
		end
	end

	return act;
end

return new_actions;
