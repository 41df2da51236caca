-- The module's own answers to stanzas.

local st = require "util.stanza";
local jid = require "util.jid";

local jid_bare, jid_host, jid_node = jid.bare, jid.host, jid.node;
local hosts = prosody.hosts;

local xmlns_pubsub = "http://jabber.org/protocol/pubsub";
local xmlns_pubsub_owner = "http://jabber.org/protocol/pubsub#owner";
local DEPTH_MAX = 64; -- what is deeper is taken for something

local function new_answers(guard, with)
	local native, report, memory, detached = with.native, with.report, with.memory, with.detached;
	local answers = {};

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
	function answers.alike(event, without_notes)
		local stanza = event.stanza;
		local from, to = stanza.attr.from, stanza.attr.to;
		local user = jid_node(from);
		if says_nothing(stanza) and not memory.sees_presence(event.from_host, user, to) then
			event.stanza = st.error_reply(st.iq({ type = "get"; id = stanza.attr.id; from = to; to = from }),
				"cancel", "service-unavailable");
			without_notes = false;
		end
		local copy = without_notes and native.without_notes(stanza, guard);
		if copy then
			event.stanza = copy;
			report.stanza_changed("to", event.to_host, event.from_host, "status-note-removed");
		end
		native.count(guard, event.from_host, event.to_host, "out", copy and "status-note-removed" or "none");
	end

	return answers;
end

return new_answers;
