-- The handshake on the inner side: STARTTLS, SASL EXTERNAL, dialback, of both roles. What core's modules do for the outer streams, for streams that
-- core cannot have: there a partner's domain is ours, and ours is the peer's. The C handlers of the guard stand before each of these (at 1000): what
-- comes here may go on, and is only carried out.

local st = require "util.stanza";
local base64 = require "util.encodings".base64;
local nameprep = require "util.encodings".stringprep.nameprep;
local hashes = require "util.hashes";
local random_id = require "util.uuid".generate;

local xmlns_tls = "urn:ietf:params:xml:ns:xmpp-tls";
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
local xmlns_dialback_feature = "urn:xmpp:features:dialback";
local xmlns_edge = "urn:x-s2s-partners:edge"; -- what the inner port of an edge says of itself
local FEATURES = "stanza/http://etherx.jabber.org/streams:features";

local CORE = 0; -- where core's own handlers are, behind the guard's

-- `endpoint`: see inner_endpoint.
local function new_handshake(endpoint)
	local handshake = {};

	--- Dialback keys (XEP-0185): the secret of the server if it has one, so that a second edge makes the same

	local secret = hashes.sha256("s2s_inside "..(module:context("*"):get_option_string("dialback_secret") or random_id()..random_id()), true);

	-- `ours` is the domain we speak as, `theirs` the relay host.
	local function key_for(theirs, ours, id)
		return hashes.hmac_sha256(secret, theirs.." "..ours.." "..id, true);
	end

	-- Whether a key we are asked about is of our making.
	function handshake.key_is_ours(_, stanza)
		local attr = stanza.attr;
		local theirs, ours = attr.from and nameprep(attr.from), attr.to and nameprep(attr.to);
		if not theirs or not ours or not attr.id then return false; end
		return hashes.equals(key_for(theirs, ours, attr.id), stanza:get_text() or "");
	end

	local function has_tls(session)
		local socket = session.conn and session.conn:socket();
		return socket and socket.info and socket:info("protocol") ~= nil;
	end

	local function offer_features(event)
		local session, features = event.origin, event.features;
		if session.type ~= "s2sin_unauthed" then return; end
		if has_tls(session) then
			features:tag("mechanisms", { xmlns = xmlns_sasl }):text_tag("mechanism", "EXTERNAL"):up();
		elseif session.ssl_ctx ~= false then
			features:tag("starttls", { xmlns = xmlns_tls }):up();
		end
		features:tag("dialback", { xmlns = xmlns_dialback_feature }):up();
		features:tag("edge", { xmlns = xmlns_edge }):up();
	end

	-- Two edges whose inner ports are one another's `server` would confirm each other's keys, and a stanza between the two would go round without
	-- end: nothing in it says where it has been. So an inner port that leads to an inner port leads nowhere.
	local function refuse_edge(event)
		local session = event.origin;
		if session.direction ~= "outgoing" or not event.stanza:get_child("edge", xmlns_edge) then return; end
		session:close({ condition = "policy-violation"; text = "This is the inner side of an edge, and so are you" },
			"the place that s2s_inside names as server is the inner port of another edge; name the server that has the users");
		return true;
	end

	--- TLS

	local function begin_tls(session, context)
		session.ssl_ctx = context; -- for as long as the session lives: a reload makes others
		session.tls_pending = true;
		session.reset_stream();
		session.conn:starttls(context);
		return true;
	end

	local function on_starttls(event)
		local session = event.origin;
		local context = session.ssl_ctx ~= false and endpoint.context(session.from_host, "server");
		if not context then
			session.sends2s(st.stanza("failure", { xmlns = xmlns_tls }));
			session:close("policy-violation");
			return true;
		end
		session.sends2s(st.stanza("proceed", { xmlns = xmlns_tls }));
		return begin_tls(session, context);
	end

	local function on_proceed(event)
		local session = event.origin;
		local context = session.starttls_sent and not has_tls(session) and session.ssl_ctx ~= false and endpoint.context(session.to_host, "client");
		if not context then
			session:close("policy-violation");
			return true;
		end
		return begin_tls(session, context);
	end

	local function on_tls_failure(event)
		event.origin:close("policy-violation", nil, "the inside refuses STARTTLS");
		return true;
	end

	local function take_up_tls(event)
		local session = event.origin;
		if session.type ~= "s2sout_unauthed" or session.ssl_ctx == false or has_tls(session) then return; end
		if not event.stanza:get_child("starttls", xmlns_tls) then return; end
		session.starttls_sent = true;
		session.sends2s(st.stanza("starttls", { xmlns = xmlns_tls }));
		return true;
	end

	--- Authentication, the one place where a stream of either role gets it

	local function authenticate(session, mechanism)
		local incoming = session.direction == "incoming";
		local ours, theirs = endpoint.pair(session);
		local result = endpoint.fire(ours, "s2s-authenticated", { session = session; host = theirs; mechanism = mechanism });
		if result == false or session.destroyed then return false; end
		session.type = incoming and "s2sin" or "s2sout";
		session.hosts[theirs] = { authed = true };
		return true;
	end

	local function established(session)
		if session.established then return true; end
		if not endpoint.admit(session) then return false; end
		local name = session.direction == "incoming" and "s2sin-established" or "s2sout-established";
		if endpoint.fire_global(name, { session = session }) ~= nil or session.destroyed then return false; end
		session.established = true;
		endpoint.established(session);
		return true;
	end

	--- SASL EXTERNAL (XEP-0178)

	local function sasl_failure(session, condition)
		session.sends2s(st.stanza("failure", { xmlns = xmlns_sasl }):tag(condition));
		session:close("not-authorized");
		return true;
	end

	local function on_auth(event)
		local session, stanza = event.origin, event.stanza;
		if stanza.attr.mechanism ~= "EXTERNAL" then return sasl_failure(session, "invalid-mechanism"); end
		local text = stanza:get_text() or "";
		local identity = text ~= "" and text ~= "=" and base64.decode(text) or nil;
		if text ~= "" and text ~= "=" and nameprep(identity or "") ~= session.from_host then
			return sasl_failure(session, "invalid-authzid");
		end
		if not authenticate(session, "EXTERNAL") or not established(session) then return true; end
		session.sends2s(st.stanza("success", { xmlns = xmlns_sasl }));
		session.reset_stream();
		return true;
	end

	local function take_up_sasl(event)
		local session = event.origin;
		if session.type ~= "s2sout_unauthed" or session.asks_about or not has_tls(session) then return; end
		local mechanisms = event.stanza:get_child("mechanisms", xmlns_sasl);
		for mechanism in mechanisms and mechanisms:childtags("mechanism") or function () end do
			if mechanism:get_text() == "EXTERNAL" then
				session.external_auth = "attempting";
				session.sends2s(st.stanza("auth", { xmlns = xmlns_sasl; mechanism = "EXTERNAL" }):text(base64.encode(session.from_host)));
				return true;
			end
		end
	end

	local function on_success(event)
		local session = event.origin;
		if session.external_auth ~= "attempting" then
			session:close("policy-violation");
			return true;
		end
		session.external_auth = "succeeded";
		if not authenticate(session, "EXTERNAL") then return true; end
		session.reset_stream();
		session:open_stream(session.from_host, session.to_host);
		return true;
	end

	--- Dialback (XEP-0220)

	local function send_key(session)
		if session.asks_about then
			local question = session.asks_about;
			session.sends2s(st.stanza("db:verify", { from = session.from_host; to = session.to_host; id = question.id }):text(question.key));
		elseif not session.dialback_key then
			session.dialback_key = key_for(session.to_host, session.from_host, session.streamid);
			session.sends2s(st.stanza("db:result", { from = session.from_host; to = session.to_host }):text(session.dialback_key));
		end
		return true;
	end

	local function take_up_dialback(event)
		local session = event.origin;
		if session.type == "s2sout_unauthed" then return send_key(session); end
	end

	-- The guard has said (300) that dialback is left.
	local function on_sasl_failure(event)
		local session = event.origin;
		session.external_auth = "failed";
		return send_key(session);
	end

	local function answer_key(session, kind)
		local ours, theirs = endpoint.pair(session);
		session.sends2s(st.stanza("db:result", { from = ours; to = theirs; type = kind }));
	end

	-- A key of the inside: asked about at the configured server, never where DNS would lead. Of our own: the answer to it.
	local function on_result(event)
		local session, stanza = event.origin, event.stanza;
		if session.direction == "incoming" then
			endpoint.ask(session, stanza:get_text() or "");
			return true;
		end
		if stanza.attr.type == "valid" then
			if authenticate(session, "dialback") then established(session); end
		else
			session:close("not-authorized", nil, "the inside does not accept our dialback key");
		end
		return true;
	end

	local function on_verify(event)
		local session, stanza = event.origin, event.stanza;
		local attr = stanza.attr;
		if session.direction == "incoming" then
			local valid = handshake.key_is_ours(nil, stanza);
			session.sends2s(st.stanza("db:verify", { from = attr.to; to = attr.from; id = attr.id; type = valid and "valid" or "invalid" }));
			return true;
		end
		local question = session.asks_about;
		if not question or question.id ~= attr.id then return true; end
		session.asks_about = nil;
		local asked = question.session;
		if not asked.destroyed and asked.streamid == question.id then
			if attr.type ~= "valid" then
				answer_key(asked, "invalid");
				asked:close("not-authorized");
			elseif authenticate(asked, "dialback") and established(asked) then
				answer_key(asked, "valid");
			end
		end
		session:close();
		return true;
	end

	-- Features of an authenticated stream: now stanzas may go.
	local function on_later_features(event)
		if event.origin.type == "s2sout" then
			established(event.origin);
			return true;
		end
	end

	--- For the endpoint

	-- Priorities are core's: the guard looks once more between SASL and dialback (120).
	function handshake.install(events)
		events.add_handler("s2s-stream-features", offer_features, CORE);
		events.add_handler("stanza/"..xmlns_tls..":starttls", on_starttls, CORE);
		events.add_handler("stanza/"..xmlns_tls..":proceed", on_proceed, CORE);
		events.add_handler("stanza/"..xmlns_tls..":failure", on_tls_failure, CORE);
		events.add_handler("stanza/"..xmlns_sasl..":auth", on_auth, CORE);
		events.add_handler("stanza/"..xmlns_sasl..":success", on_success, CORE);
		events.add_handler("stanza/"..xmlns_sasl..":failure", on_sasl_failure, 100);
		events.add_handler("stanza/jabber:server:dialback:result", on_result, CORE);
		events.add_handler("stanza/jabber:server:dialback:verify", on_verify, CORE);
		events.add_handler(FEATURES, refuse_edge, 700);
		events.add_handler(FEATURES, on_later_features, 600);
		events.add_handler(FEATURES, take_up_tls, 500);
		events.add_handler(FEATURES, take_up_sasl, 150);
		events.add_handler(FEATURES, take_up_dialback, 100);
	end

	return handshake;
end

return new_handshake;
