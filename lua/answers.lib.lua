-- The module's own answers to stanzas.

local st = require "util.stanza";
local jid = require "util.jid";

local jid_bare, jid_host = jid.bare, jid.host;
local hosts = prosody.hosts;

local function new_answers(guard, detached)
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

	-- `reply`: see the actions that refuse.
	function answers.give(origin, stanza, reply)
		if reply == "error" then
			answers.send(origin, st.error_reply(stanza, "cancel", "service-unavailable"));
		elseif reply == "unavailable" then
			answers.subscribe(stanza);
		end
	end

	-- What a user who does not exist gives (RFC 6121 8.5.1, 8.5.2.2.3), in the place of what core says for one.
	function answers.alike(event)
		local attr = event.stanza.attr;
		event.stanza = st.error_reply(st.iq({ type = "get"; id = attr.id; from = attr.to; to = attr.from }), "cancel", "service-unavailable");
	end

	return answers;
end

return new_answers;
