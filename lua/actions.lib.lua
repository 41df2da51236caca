-- What follows from a decision: guard.act, whose functions the C handlers call by name when they have decided (bridge/handler.c).
-- Nothing is decided in here.

local st = require "util.stanza";
local errors = require "util.error";
local jid_bare, jid_host = require "util.jid".bare, require "util.jid".host;
local s2smanager = require "core.s2smanager";
local nameprep = require "util.encodings".stringprep.nameprep;

local hosts = prosody.hosts;

local xmlns_tls = "urn:ietf:params:xml:ns:xmpp-tls";
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
local xmlns_muc = "http://jabber.org/protocol/muc";
local xmlns_stanzas = "urn:ietf:params:xml:ns:xmpp-stanzas";

local ID_MAX = 256; -- bytes; a longer one is not sent back

-- `with`: native, limits, report, memory, subscriptions, expiry, answers, features, unparsed, detached, partner_label, watch_header,
-- connect_through. Returns a table of functions, for guard.act.
local function new_actions(with)
	local native, limits, report, memory = with.native, with.limits, with.report, with.memory;
	local answers, features, detached, partner_label = with.answers, with.features, with.detached, with.partner_label;
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
				s2smanager.destroy_session(session, text, bounce);
			elseif session.conn and session.close then
				session:close({ condition = condition, text = text }, nil, bounce);
			elseif session.direction == "outgoing" then
				-- Not connected yet: core has nothing to close, but a queue to return.
				s2smanager.destroy_session(session, text, bounce);
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
	function refusals.dialback_error(session, reason, stanza)
		report.element_refused(session, reason);
		local attr = stanza.attr;
		if attr.type then return; end -- an answer is not answered
		local full = reason == "connection-limit";
		session.sends2s(st.stanza("db:"..stanza.name, { from = attr.to, to = attr.from, type = "error",
				id = attr.id and #attr.id <= ID_MAX and attr.id or nil })
			:tag("error", { type = full and "wait" or "cancel" })
				:tag(full and "resource-constraint" or "not-acceptable", { xmlns = xmlns_stanzas }));
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

	-- Nothing in a refusal tells a stranger why. `reply`: "error" | "unavailable" | "none"; nil: by the kind of stanza.
	function refusals.refuse_stanza(origin, reason, rule, stanza, reply)
		local remote, host = jid_host(stanza.attr.from), jid_host(stanza.attr.to);
		report.stanza_refused("in", partner_label(host, remote), remote, host, reason, rule);
		local kind = stanza.attr.type;
		if reply == "unavailable" then
			answers.subscribe(stanza);
		elseif reply == "error" or reply == nil
			and (stanza.name == "message" and kind ~= "error" or stanza.name == "iq" and (kind == "get" or kind == "set")) then
			answers.send(origin, st.error_reply(stanza, "cancel", "service-unavailable"));
		end
	end

	-- Whether the sender of a stanza is to hear that it could not go out. Core notes whom a session has sent presence to.
	local function deserves_answer(stanza, origin)
		local kind = stanza.attr.type;
		if stanza.name == "message" then
			return kind ~= "error";
		elseif stanza.name == "iq" then
			return kind == "get" or kind == "set";
		elseif stanza.name == "presence" then
			return kind == "subscribe" or kind == nil and (stanza:get_child("x", xmlns_muc) ~= nil
				or origin and origin.directed and origin.directed[stanza.attr.to]);
		end
	end

	-- Presence refused for these is not expected to have been allowed before. Limits and the like come and go.
	local never_seen = { ["unlisted-domain"] = true; ["not-listed"] = true; ["roster-unavailable"] = true;
		["external-access-denied"] = true };

	function refusals.refuse_route(event, reason, rule, session)
		local stanza, from_host = event.stanza, event.from_host;
		report.stanza_refused("out", partner_label(from_host, event.to_host), event.to_host, from_host, reason, rule);
		if session then
			refuse("close", session, reason, native.reasons[reason].stream_condition, rule);
		end
		if hosts[from_host] and deserves_answer(stanza, event.origin) then
			local row = native.reasons[reason];
			local reply = st.error_reply(stanza, row.stanza_type, row.stanza_condition, row.user_text);
			detached(function () prosody.core_route_stanza(hosts[from_host], reply); end);
		end
		-- It has not seen the user come; it need not see the user go. Whoever has, before this one was refused, does see that.
		local origin = event.origin;
		if stanza.name == "presence" and stanza.attr.type == nil and origin and origin.directed and never_seen[reason]
			and not memory.has_directed(stanza.attr.from, stanza.attr.to) then
			origin.directed[stanza.attr.to] = nil;
		end
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

	-- Core answers a stanza over the stream it came on. Where the answer is from another of our hosts, or for another domain,
	-- than that stream's, it has to take its own way.
	function changes.reroute(event)
		local stanza = event.stanza;
		-- Core answers malformed addresses as they stand: one that is none, or that is not prepared, must neither come back
		-- here nor make for a stream of its own.
		local from_host = nameprep(jid_host(stanza.attr.from) or event.from_host);
		local to_host = nameprep(jid_host(stanza.attr.to) or event.to_host);
		if not from_host or not to_host or not hosts[from_host] or hosts[to_host]
			or from_host == event.from_host and to_host == event.to_host then
			refuse("refuse_route", event, "wrong-domain", "routed by other addresses than its own");
		else
			hosts[from_host].events.fire_event("route/remote", {
				origin = event.origin; from_host = from_host; to_host = to_host; stanza = stanza;
			});
		end
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

	changes.answer_alike = answers.alike;

	-- Of a type that does not exist, or no iq by RFC 6120 8.2.3. What core makes of that depends on the user.
	function changes.answer_malformed(origin, stanza)
		module:log("debug", "Dropped a malformed %s from %s", stanza.name, stanza.attr.from);
		local kind = stanza.attr.type;
		if stanza.name == "iq" and stanza.attr.id and kind ~= "result" and kind ~= "error" then
			answers.send(origin, st.error_reply(stanza, "cancel", "service-unavailable"));
		end
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
			refuse("refuse_route", event, "internal-error", "an error in the handler");
		elseif session and type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			refuse("close", session, "internal-error", "policy-violation", "an error in the handler");
		end
	end

	return act;
end

return new_actions;
