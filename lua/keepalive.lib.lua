-- Keepalives. Over a stream that may carry stanzas to the partner a ping (XEP-0199): its answer proves that the other server is
-- there and hears us, which nothing written into a socket does. The answer may come over another stream of the same pair. A stream that
-- only the partner may send on gets a blank, which keeps the path open.

local st = require "util.stanza";
local new_id = require "util.id".medium;

local function new_keepalive(guard, native)
	return function (session)
		local outgoing = session.direction == "outgoing";
		if outgoing or session.outgoing then
			local from = outgoing and session.from_host or session.to_host;
			local to = outgoing and session.to_host or session.from_host;
			local id = new_id();
			guard.keepalives[id] = session;
			native.keepalive_sent(session, true);
			session.sends2s(st.iq({ type = "get"; from = from; to = to; id = id }):tag("ping", { xmlns = "urn:xmpp:ping" }));
		else
			native.keepalive_sent(session, false);
			session.sends2s(" ");
		end
	end
end

return new_keepalive;
