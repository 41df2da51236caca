-- The module's own answers to stanzas, and what else is done about a stanza that may pass. It decides nothing.

local st = require "util.stanza";
local jid = require "util.jid";

local jid_bare, jid_host, jid_node = jid.bare, jid.host, jid.node;
local hosts = prosody.hosts;

local xmlns_pubsub = "http://jabber.org/protocol/pubsub";
local xmlns_pubsub_owner = "http://jabber.org/protocol/pubsub#owner";
local DEPTH_MAX = 64; -- what is deeper is taken for something

local function new_answers(guard, with)
	local native, report, memory, subscriptions = with.native, with.report, with.memory, with.subscriptions;
	local partner_label, detached = with.partner_label, with.detached;
	local act, answers = guard.act, {};

	-- Sends what is the module's own word over the stream that the stanza came on.
	function answers.send(origin, reply)
		guard.answers[reply] = true;
		detached(function () origin.send(reply); end);
	end

	-- What core itself says to a contact whose request waits for the user.
	function answers.subscribe(stanza)
		local reply = st.presence({ from = jid_bare(stanza.attr.to), to = jid_bare(stanza.attr.from), type = "unavailable" });
		guard.answers[reply] = true;
		detached(function () prosody.core_route_stanza(hosts[jid_host(reply.attr.from)], reply); end);
	end

	-- Of a type that does not exist, or no iq by RFC 6120 8.2.3. What core makes of that depends on the user.
	function act.answer_malformed(origin, stanza)
		module:log("debug", "Dropped a malformed %s from %s", stanza.name, stanza.attr.from);
		local kind = stanza.attr.type;
		if stanza.name == "iq" and stanza.attr.id and kind ~= "result" and kind ~= "error" then
			answers.send(origin, st.error_reply(stanza, "cancel", "service-unavailable"));
		end
	end

	-- Something of what goes out was taken away, or is to be remembered. The copy without a note that was made for the first
	-- recipient of a broadcast goes to the others in silence.
	function act.passed(event, change, remember)
		if change then
			report.stanza_changed("to", event.to_host, event.from_host, change);
		end
		if remember then
			memory[remember](event.stanza, event.origin);
		end
	end

	-- Whether anything is told in an element, or in what it holds at any depth: a text, or an attribute that is no echo of the
	-- question. Ends at the first.
	local function tells(tag, depth)
		for _, child in ipairs(tag) do
			if type(child) == "string" then
				if child:find("%S") then return true; end
			elseif depth > DEPTH_MAX or tells(child, depth + 1) then
				return true;
			else
				for name in pairs(child.attr) do
					if name ~= "xmlns" and name ~= "node" then return true; end
				end
			end
		end
		return false;
	end

	-- Of a PEP service only what its user has published counts, and a subscription to that. It describes its own ways to anybody.
	local function tells_of_pep(payload)
		for _, child in ipairs(payload.tags) do
			local name = child.name;
			if name == "subscription" or (name == "items" or name == "subscriptions" or name == "affiliations") and #child.tags > 0 then
				return true;
			end
		end
		return false;
	end

	-- An answer that nothing is known from but that there is such a user: none at all, or one that any user gives.
	local function says_nothing(stanza)
		local payload = stanza.tags[1];
		if stanza.attr.type == "error" or payload == nil or payload.name == "time" then return true; end
		local xmlns = payload.attr.xmlns;
		if xmlns == "jabber:iq:time" or xmlns == xmlns_pubsub_owner then
			return true;
		elseif xmlns == xmlns_pubsub then
			return not tells_of_pep(payload);
		end
		return not tells(payload, 1);
	end

	-- Core answers iqs to a bare JID in the user's name. For a contact who may not see the user's presence that must be what a user
	-- who does not exist gives: service-unavailable (RFC 6121 8.5.1, 8.5.2.2.3).
	-- `events`: "all" when the answer is about personal events that the contact may not have, which then are not there; "some" when those
	-- have been taken out of it.
	function act.answer_alike(event, without_notes, events)
		local stanza = event.stanza;
		local from, to = stanza.attr.from, stanza.attr.to;
		local user = jid_node(from);
		if events then
			report.stanza_changed("to", event.to_host, event.from_host, "status-note-removed");
		end
		if events == "all" then
			event.stanza = st.error_reply(st.iq({ type = "get"; id = stanza.attr.id; from = to; to = from }), "cancel",
				memory.sees_presence(event.from_host, user, to) and "item-not-found" or "service-unavailable");
			without_notes = false;
		elseif says_nothing(stanza) and not memory.sees_presence(event.from_host, user, to) then
			event.stanza = st.error_reply(st.iq({ type = "get"; id = stanza.attr.id; from = to; to = from }),
				"cancel", "service-unavailable");
			without_notes = false;
		end
		local copy = without_notes and native.without_notes(stanza, guard);
		if copy then
			event.stanza = copy;
			report.stanza_changed("to", event.to_host, event.from_host, "status-note-removed");
		end
		native.count(guard, event.from_host, event.to_host, "out", (copy or events) and "status-note-removed" or "none");
	end

	function act.authorise_subscription(stanza)
		local remote, host = jid_host(stanza.attr.from), jid_host(stanza.attr.to);
		detached(function ()
			if subscriptions.authorise(stanza) then
				report.subscription_authorised(remote, host);
			else
				module:log("error", "The roster of %s cannot be written: no subscription is authorised", jid_bare(stanza.attr.to));
				report.stanza_refused("in", partner_label(host, remote), remote, host, "roster-unavailable", "the roster cannot be written");
				answers.subscribe(stanza);
			end
		end);
	end

	return answers;
end

return new_answers;
