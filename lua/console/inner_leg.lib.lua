-- A look at the inner leg of a relay host: a stream to the server inside, in the name of a partner's domain, as one that a stanza would want, but of
-- its own; nobody's stanzas wait for it or take it. It is closed afterwards.

local offers = module:require "offers";
local progress_of = module:require "console/progress";
local layout = module:require "layout";
local tls_info = module:require "tls_info";

local timer = require "util.timer";
local nameprep = require "util.encodings".stringprep.nameprep;
local st = require "util.stanza";

local FEATURES_SEEN = 2000; -- before they are judged
local ANSWER_SECONDS = 10;

local inner_leg = { stages = { "DNS"; "TCP"; "stream"; "TLS"; "certificate"; "key"; "method"; "round trip" }; ANSWER_SECONDS = ANSWER_SECONDS };

-- What mostly helps where the stage fails: of "contoso.test" (relay host) and "fabrikam.test" (whom the stream is for).
local remedies = {
	DNS = "correct server in s2s_inside, or the address record of that name";
	TCP = "start the server inside, see that this machine may open connections to that port, or correct server in s2s_inside";
	stream = "something answers there, but not as the XMPP server of {relay}: server in s2s_inside has to name its port for other servers, and "
		.."it has to serve {relay}";
	TLS = "have the server inside offer TLS with other servers, with a certificate for {relay}";
	certificate = "have the server inside show a certificate for {relay}, of the authority in trust_anchors of s2s_inside, or correct "
		.."trust_anchors";
	key = "in its view of DNS {domain} has to lead to {places}, and it has to get through to there; prosodyctl mod_s2s_partners inside prints what "
		.."it needs";
	method = "compare s2s_inside with how the server inside authenticates others: for SASL EXTERNAL it has to trust this server's certificate "
		.."for {domain}, for dialback it has to support that";
	["round trip"] = "the server inside answers over a stream of its own: {domain} has to lead it to {places}, and it has to prove there that "
		.."it is {relay}";
};

-- Where the inside finds the partners' domains, in words.
local function places_words(boundary)
	local words = {};
	for i, place in ipairs(boundary.settings and boundary.settings.places or {}) do
		if i > 3 then break; end
		words[i] = ("%s port %d"):format(place.interface, place.port);
	end
	return #words > 0 and table.concat(words, " or ") or "an address of s2s_inside_interfaces";
end

function inner_leg.remedy(boundary, stage, relay, domain)
	local words = { relay = relay; domain = domain; places = places_words(boundary) };
	return (remedies[stage]:gsub("{(%l+)}", words));
end

-- The elements of what may be asked over it.
function inner_leg.ping()
	return st.stanza("ping", { xmlns = "urn:xmpp:ping" });
end

function inner_leg.services()
	return st.stanza("query", { xmlns = "http://jabber.org/protocol/disco#items" });
end

--[[
`question`: relay, domain (the partner's whom the stream is for), seconds (until it has to be established), payload (of a request to the relay host
over it, or nil). stage(name, text): when a stage is reached. done(outcome), once:
  failed (the stage, nil when all were reached), why (text, with the code in it where the guard has refused the stream), reason (that code),
  view (see native.stream_view), asked_from (address from where our key was asked about), answer (stanza, to the request), reply_refused (why the
  stream for the answer was refused).
]]
function inner_leg.look(native, boundary, question, stage, done)
	local endpoint, watcher = boundary.endpoint, {};
	local outcome, reached, unhooks, over = {}, {}, {}, false;
	local session, forget_request, time_out;

	local function reach(name, text)
		if over or reached[name] then return; end
		reached[name] = true;
		-- It is printed while a stream is being read, and who reads it may have gone.
		local ok, err = pcall(stage, name, text);
		if not ok then module:log("debug", "A stage of a look at the inner leg could not be shown: %s", err); end
	end

	local function is_for_certificate(view)
		return view.reason ~= nil and view.reason:find("^certificate") ~= nil;
	end

	-- Of a stream that has just ended, too.
	local function look_at_tls(stream)
		local view = native.stream_view(stream);
		if not view then return; end
		outcome.view = view;
		if not view.tls then return; end
		if stream.conn and tls_info(stream.conn).protocol then reach("TLS", progress_of.tls_words(stream.conn)); end
		if view.certificate ~= "unknown" and not is_for_certificate(view) then reach("certificate", progress_of.certificate_words(view)); end
	end

	-- The first stage that was not reached, of those that there are for such a stream.
	local function failed_at(stream)
		local view = outcome.view or {};
		local without = { DNS = true; TLS = question.view.tls == "not_supported" or reached.method and not view.tls;
			key = reached.method or not (stream and stream.dialback_key); ["round trip"] = not question.payload };
		without.certificate = without.TLS or view.certificate == "unknown";
		if is_for_certificate(view) then return "certificate"; end
		for _, name in ipairs(inner_leg.stages) do
			if not reached[name] and not without[name] then return name; end
		end
	end

	local function finish(why)
		if over then return; end
		if session then look_at_tls(session); end
		if why then
			local view = outcome.view or {};
			outcome.failed, outcome.why = failed_at(session) or "method", why;
			if view.stage == "refused" then outcome.reason = view.reason; end
			local cause = outcome.failed == "certificate" and view.report and view.report.cause;
			if cause then outcome.why = ("%s: %s"):format(why, cause); end
			if outcome.reason and not why:find("("..outcome.reason..")", 1, true) then outcome.why = ("%s (%s)"):format(outcome.why, outcome.reason); end
		end
		over = true;
		for _, unhook in ipairs(unhooks) do unhook(); end
		if forget_request then forget_request(); end
		if time_out then timer.stop(time_out); end
		-- Not under the feet of what is on its way through it.
		timer.add_task(0, function ()
			if session and not session.destroyed then session:close(nil, "it was only looked at"); end
		end);
		-- It may be the end of a stream under way, which has more to put in order.
		local ok, err = pcall(done, outcome);
		if not ok then module:log("error", "What a look at the inner leg has found could not be shown: %s", err); end
	end

	local function set_time_out(seconds, why)
		if time_out then timer.stop(time_out); end
		time_out = timer.add_task(seconds, function ()
			time_out = nil;
			finish(why:format(seconds));
		end);
	end

	local function is_ours(other)
		return other ~= nil and other.watcher == watcher;
	end

	local function hook(events, event, handler, priority)
		if not events then return; end
		events.add_handler(event, handler, priority);
		unhooks[#unhooks + 1] = function () events.remove_handler(event, handler); end;
	end

	local function on_features(event)
		local stream = event.origin;
		if not is_ours(stream) then return; end
		local words = offers.words(offers.read(event.stanza));
		if tls_info(stream.conn).protocol then
			look_at_tls(stream);
			if stream.type == "s2sout_unauthed" then reach("features", "over TLS it offers "..words); end
		else
			reach("stream", "the server inside answers, and offers "..words);
		end
	end

	-- It asks whether a key is ours over a stream that it opens.
	local function on_question(event)
		local attr, stream = event.stanza.attr, event.origin;
		if not session or over or stream.direction ~= "incoming" or attr.id ~= session.streamid
			or nameprep(attr.from or "") ~= question.relay then return; end
		outcome.asked_from = stream.ip;
		reach("key", ("the server inside asks here whether the key is %s's (from %s)"):format(question.domain, stream.ip or "an address not known"));
	end

	local function on_refused(stream, reason, rule)
		local ours, theirs = endpoint.pair(stream);
		if stream.direction == "incoming" and ours == question.domain and theirs == question.relay then
			outcome.reply_refused = ("%s (%s)"):format(rule, reason);
		end
	end

	local function on_answer(answer)
		if over or answer.attr.type ~= "result" and answer.attr.type ~= "error" then return; end
		outcome.answer = answer;
		local words = "pong from "..question.relay;
		if answer.attr.type == "error" then
			local _, condition = answer:get_error();
			words = ("%s answers the ping with %s"):format(question.relay, layout.plain(condition or "an error", 60));
		end
		reach("round trip", words);
		finish();
	end

	function watcher.connected(stream)
		reach("TCP", (progress_of.connected_words(stream.conn, "the server inside")));
	end

	function watcher.opened(stream)
		if over then return; end
		look_at_tls(stream);
		reach("method", layout.method((outcome.view or {}).method));
		if not question.payload then return finish(); end
		set_time_out(ANSWER_SECONDS, "no answer within %d s");
		forget_request = endpoint.request(stream, question.payload, on_answer);
	end

	function watcher.ended(stream, why)
		session = session or stream;
		finish(why);
	end

	boundary.onlookers[on_refused] = true;
	unhooks[1] = function () boundary.onlookers[on_refused] = nil; end;
	set_time_out(question.seconds, "no stream within %d s");
	local opened, err = endpoint.open(question.domain, question.relay, nil, watcher);
	session = opened or session;
	if not opened then return finish(err); end
	if over then return; end
	local events = endpoint.events(question.domain);
	hook(events, "stanza/http://etherx.jabber.org/streams:features", on_features, FEATURES_SEEN);
	hook(events, "stanza/jabber:server:dialback:verify", on_question, FEATURES_SEEN);
	hook(endpoint.events(), "s2s-check-certificate", function (event)
		if is_ours(event.session) then look_at_tls(event.session); end
	end, -0.5);
end

return inner_leg;
