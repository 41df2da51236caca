-- One stream to one address of another server, as far as it can be looked at from outside: what is offered, the certificate, whether ours is
-- accepted. No stanza is sent and no dialback key. Whatever answers is a stranger: bounded in time and bytes.

local server = require "net.server";
local timer = require "util.timer";
local now = require "util.time".now;
local st = require "util.stanza";
local base64 = require "util.encodings".base64;
local new_xmpp_stream = require "util.xmppstream".new;

local layout = module:require "layout";
local offers = module:require "offers";
local tls_info = module:require "tls_info";

local SECONDS_MAX = 20;
local BYTES_MAX = 256 * 1024;
local ELEMENT_MAX = 64 * 1024;
local CHILDREN_MAX = 100; -- of the features

local XMLNS_TLS = "urn:ietf:params:xml:ns:xmpp-tls";
local XMLNS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
local XMLNS_STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams";
local XMLNS_STREAMS = "http://etherx.jabber.org/streams";

-- "not-authorized: no such host"
local function error_words(stanza, xmlns)
	local condition, text;
	for child in stanza:childtags() do
		if child.name == "text" then
			text = child:get_text();
		elseif not condition and (child.attr.xmlns == xmlns or child.attr.xmlns == nil) then
			condition = child.name;
		end
	end
	return layout.plain(condition or "no reason", 60)..(text and text ~= "" and ": "..layout.plain(text, 200) or "");
end

--[[
visit(question, done): question has address, port, direct (TLS from the first byte), from, to, context (of TLS), has_certificate (of our own),
judge(chain) -> report, peer_chain(session), and say(stage, text, seconds) for each stage that is reached.
done(seen) once: { connected, opened, version, offered, required (STARTTLS), tls ({ protocol, cipher }), report, external, bidi,
dialback_plain, dialback_tls, own ("accepted", "refused", "not shown"), own_text, failed (the stage), why }.
]]
local function visit(question, done)
	local seen = { own = "not shown" };
	local conn, stream, over, received, stage, last = nil, nil, false, 0, "TCP", now();
	local session = {};

	local function finish(failed_at, why)
		if over then return; end
		over = true;
		seen.failed, seen.why = failed_at, why and layout.plain(why, 300) or nil;
		timer.stop(session.time_out);
		if conn then
			if seen.opened then pcall(conn.write, conn, "</stream:stream>"); end
			pcall(conn.close, conn);
		end
		done(seen);
	end

	local function reached(name, text, next_stage)
		local time = now();
		question.say(name, text, time - last);
		last, stage = time, next_stage;
	end

	local function protected(step)
		return function (...)
			if over then return; end
			local ok, err = xpcall(step, debug.traceback, ...);
			if not ok then finish(stage, "internal error: "..tostring(err)); end
		end;
	end

	local open;

	local function on_tls()
		local info = tls_info(conn);
		seen.tls = { protocol = info.protocol or "version not known", cipher = info.cipher or "cipher not known" };
		reached("TLS", ("%s, %s"):format(seen.tls.protocol, seen.tls.cipher), "certificate");
		session.conn = conn;
		seen.report = question.judge(question.peer_chain(session) or {});
		local cause = seen.report.verdict ~= "valid" and seen.report.cause;
		reached("certificate", seen.report.verdict..(cause and ": "..cause or ""), "stream over TLS");
		open();
	end

	local function on_features(stanza)
		if #stanza.tags > CHILDREN_MAX then return finish(stage, ("sends %d features; that is absurd"):format(#stanza.tags)); end
		local features = offers.read(stanza);
		reached(seen.tls and "features" or "stream", ("version %s, offers %s"):format(layout.plain(seen.version, 20), offers.words(features)),
			seen.tls and "authentication" or "TLS");
		if seen.tls then
			seen.dialback_tls, seen.external, seen.bidi = features.dialback, features.external, features.bidi;
			if not seen.external then return finish(); end
			if not question.has_certificate then
				seen.own_text = "none is configured";
				return finish();
			end
			conn:write(tostring(st.stanza("auth", { xmlns = XMLNS_SASL; mechanism = "EXTERNAL" }):text(base64.encode(question.from))));
			return;
		end
		seen.offered, seen.required = features.starttls, features.required;
		seen.dialback_plain = features.dialback;
		if not features.starttls then return finish(); end
		conn:write(tostring(st.stanza("starttls", { xmlns = XMLNS_TLS })));
	end

	local callbacks = { default_ns = "jabber:server"; stream_ns = XMLNS_STREAMS };
	function callbacks.streamopened(_, attr)
		session.notopen = nil;
		seen.opened, seen.version = true, attr.version;
		if not attr.version or not attr.version:match("^[1-9]") then
			-- RFC 6120 4.7.5: it has no features. Servers of that kind know dialback only.
			if seen.tls then seen.dialback_tls = true; else seen.dialback_plain = true; end
			seen.version = attr.version or "none";
			reached(seen.tls and "features" or "stream", ("version %s: a server from before XMPP 1.0, which knows dialback only")
				:format(layout.plain(seen.version, 20)), "authentication");
			finish();
		end
	end
	function callbacks.streamclosed() finish(stage, "the other server ends the stream"); end
	function callbacks.error(_, kind, detail)
		if kind == "stream-error" then
			return finish(stage, "the other server ends the stream with "..error_words(detail, XMLNS_STREAM_ERRORS));
		end
		finish(stage, "what it sends is no stream of XMPP ("..tostring(kind)..")");
	end
	function callbacks.handlestanza(_, stanza)
		local xmlns = stanza.attr.xmlns;
		if stanza.name == "features" and xmlns == XMLNS_STREAMS then
			if stage ~= "stream" and stage ~= "stream over TLS" then return finish(stage, "sends features when none are due"); end
			on_features(stanza);
		elseif xmlns == XMLNS_TLS and stage == "TLS" then
			if stanza.name ~= "proceed" then return finish(stage, "the other server offers STARTTLS and then refuses it"); end
			-- What the server has sent in clear behind <proceed/> is no part of the encrypted stream.
			stream = nil;
			conn:starttls(question.context, question.to);
		elseif xmlns == XMLNS_SASL and stage == "authentication" then
			if stanza.name == "success" then
				seen.own = "accepted";
				reached("our own", "accepted: authenticated by SASL EXTERNAL", "done");
			else
				seen.own, seen.own_text = "refused", error_words(stanza, XMLNS_SASL);
				reached("our own", "refused: "..seen.own_text, "done");
			end
			finish();
		elseif stanza.name == "features" then
			finish(stage, "its features are not of the namespace of streams");
		end
	end

	function open()
		session.notopen = true;
		stream = new_xmpp_stream(session, callbacks, ELEMENT_MAX);
		conn:write(("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='%s' from='%s' to='%s' "
			.."version='1.0'>"):format(XMLNS_STREAMS, st.xml_escape(question.from), st.xml_escape(question.to)));
	end

	local listener = { default_mode = "*a" };
	listener.onconnect = protected(function ()
		if seen.connected then return; end
		seen.connected = true;
		if question.direct then
			-- Connected means encrypted here.
			stage = "TLS";
			on_tls();
		else
			reached("TCP", "connected", "stream");
			open();
		end
	end);
	listener.onstatus = protected(function (_, status)
		if status == "ssl-handshake-complete" and not question.direct then on_tls(); end
	end);
	listener.onincoming = protected(function (_, data)
		received = received + #data;
		if received > BYTES_MAX then return finish(stage, ("sends more than %d KiB; no server does"):format(BYTES_MAX // 1024)); end
		if not stream then return; end
		local ok, err = stream:feed(data);
		if not ok and not over then finish(stage, "what it sends is no stream of XMPP ("..tostring(err)..")"); end
	end);
	function listener.ondisconnect(_, err)
		conn = nil;
		finish(question.direct and not seen.connected and "TLS" or stage, err and tostring(err) or "the other side ends the connection");
	end
	function listener.onreadtimeout() return true; end -- ours is shorter

	session.time_out = timer.add_task(SECONDS_MAX, function ()
		finish(stage, ("no answer within %d s"):format(SECONDS_MAX));
	end);
	local err;
	conn, err = server.addclient(question.address, question.port, listener, "*a", question.direct and question.context or nil, nil,
		{ servername = question.to });
	if not conn then finish("TCP", tostring(err)); end
end

return { visit = visit };
