-- Relay hosts: what the guard has let in for their users goes on to the users' server, and what that server sends to partners goes to the guard as
-- any local user's would. Nothing is stored, and nothing passes while the guard does not enforce.

local st = require "util.stanza";
local jid = require "util.jid";
local new_cache = require "util.cache".new;
local monotonic = require "util.time".monotonic;

local hosts = prosody.hosts;
local match = string.match;

local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";

local BEHIND_THE_GUARD = 900; -- the guard is at 1000, core's own modules at 500 and less
local BEHIND_FEATURES = -2000; -- the guard takes from them what is not for the partner at -1000
local BEFORE_AUTHENTICATED = 0; -- behind the guard; core, at -1, ends the event
local QUEUE_MAX, QUEUE_BYTES = 100, 1024 * 1024; -- of a pair, while its stream is being opened
local ALL_QUEUES_BYTES = 32 * 1024 * 1024; -- of all pairs together
local PAUSE = 1; -- seconds after a failure in which no further stream is tried
local PAUSES_KEPT = 1000; -- pairs

-- `with`: guard, native, report (of the outer side), detached (see lua/guard), contacts, directed, log_failure(relay host, domain, why)
local function new_relay(with)
	local guard, contacts = with.guard, with.contacts;
	local relay = { bounces = {}; failures = {} }; -- bounces: relay host -> stanzas that came back to their senders
	local endpoint; -- given later, as each needs the other
	local pairs_of = {}; -- relay host -> domain we speak as -> outgoing session
	local queued_bytes = 0; -- in all queues
	local relays = {}; -- host -> true

	function relay.use(new_endpoint)
		endpoint = new_endpoint;
	end

	local function is_request(name, kind)
		return name == "message" and kind ~= "error" or name == "iq" and (kind == "get" or kind == "set");
	end

	-- What an answer needs of a stanza that is not kept.
	local function stub_of(stanza)
		local attr = stanza.attr;
		return is_request(stanza.name, attr.type) and st.stanza(stanza.name, { from = attr.from; to = attr.to; id = attr.id; type = attr.type }) or false;
	end

	local PASSES_NOTHING = "Nothing passes to other servers at the moment";
	local REASON = "inside-unreachable";
	local row = with.native.reasons[REASON];

	-- What cannot be handed over is refused as anything else is. The sender outside hears that it may try again, and not that there is a server behind
	-- this one; the answer is a stanza as others, which the guard judges. `stub` false: it is dropped. `condition`: another than the reason's.
	local function bounce(host, domain, stub, why, condition)
		local policy = guard.policies[host];
		with.report.stanza_refused("in", policy and policy:label(domain) or "unlisted", domain, host, REASON, why);
		if not stub then return; end
		relay.bounces[host] = (relay.bounces[host] or 0) + 1;
		local answer = st.error_reply(stub, row.stanza_type, condition or row.stanza_condition, row.peer_text);
		with.detached(function ()
			if hosts[host] then prosody.core_route_stanza(hosts[host], answer); end
		end);
	end

	local function take_queue(session)
		local queue = session.queue;
		queued_bytes = queued_bytes - (session.queued_bytes or 0);
		session.queue, session.queued_bytes = nil, nil;
		return queue;
	end

	local function bounce_all(host, domain, session, why)
		local queue = take_queue(session);
		for _, item in ipairs(queue or {}) do bounce(host, domain, item.stub, why); end
	end

	--- After a failure nothing is tried for a moment: a stream takes much more than the stanza that wants it

	local unreached, failed; -- relay host -> { at, why }: nobody answers there, for whichever domain; "relay host domain" -> the same, of a pair

	local function forget_failures()
		unreached, failed = {}, new_cache(PAUSES_KEPT);
	end
	forget_failures();

	local function note_failure(session, host, domain, why)
		local failure = { at = monotonic(); why = why };
		if session.unreached then
			unreached[host] = failure;
			with.directed.forget(host);
		end
		if not session.for_key then failed:set(host.." "..domain, failure); end
	end

	-- Why no stream is tried just now, nil when one may be.
	local function why_paused(host, domain)
		local now = monotonic();
		for _, failure in ipairs({ unreached[host] or false, failed:get(host.." "..domain) or false }) do
			if failure and now - failure.at < PAUSE then return failure.why; end
		end
	end

	-- The stream of a pair; nil and why there is none.
	local function stream_for(host, domain)
		local session = pairs_of[host] and pairs_of[host][domain];
		if session and not session.destroyed then return session; end
		local err = why_paused(host, domain);
		if err then return nil, err; end
		session, err = endpoint.open(domain, host);
		if not session then return nil, err; end
		-- It may be over already.
		if session.destroyed then return nil, "no connection"; end
		session.queue, session.queued_bytes = {}, 0;
		pairs_of[host] = pairs_of[host] or {};
		pairs_of[host][domain] = session;
		return session;
	end

	-- Until the stream is established.
	local function wait(session, host, domain, text, stub)
		local queue = session.queue;
		if #queue >= QUEUE_MAX or session.queued_bytes + #text > QUEUE_BYTES or queued_bytes + #text > ALL_QUEUES_BYTES then
			return bounce(host, domain, stub, "too many stanzas wait for the server inside", "resource-constraint");
		end
		session.queued_bytes, queued_bytes = session.queued_bytes + #text, queued_bytes + #text;
		queue[#queue + 1] = { text = text; stub = stub };
	end

	-- It is connected and takes no more.
	local function refuse_unread(host, domain, what, stub)
		if stub == nil then stub = stub_of(what); end
		return bounce(host, domain, stub, "the server inside does not read what it is sent", "resource-constraint");
	end

	-- `what`: a stanza, or its text and `stub`, see stub_of.
	local function hand_over(host, domain, what, stub)
		local of_host = pairs_of[host];
		local session, err = of_host and of_host[domain];
		if session and session.established and not session.destroyed then
			if not endpoint.has_room(session) then return refuse_unread(host, domain, what, stub); end
			if endpoint.send(session, what) then return; end
		end
		session, err = stream_for(host, domain); -- another one, if it has been refused just now
		if session and session.established and endpoint.send(session, what) then return; end
		if stub == nil then stub = stub_of(what); end
		if session then return wait(session, host, domain, tostring(what), stub); end
		with.log_failure(host, domain, err);
		return bounce(host, domain, stub, err);
	end

	--- For the endpoint

	function relay.opened(session)
		if session.direction ~= "outgoing" or not session.queue then return; end
		local texts = {};
		for i, item in ipairs(take_queue(session)) do texts[i] = item.text; end
		if texts[1] then session.sends2s(table.concat(texts)); end
	end

	-- `unanswered`: a key was to be asked about over it, and has not been.
	function relay.ended(session, why, unanswered)
		if session.direction ~= "outgoing" then return; end
		local host, domain = session.to_host, session.from_host;
		local of_host = pairs_of[host];
		if of_host and of_host[domain] == session then
			of_host[domain] = nil;
			if next(of_host) == nil then pairs_of[host] = nil; end
		end
		if session.moved and relays[host] then
			for _, item in ipairs(take_queue(session) or {}) do hand_over(host, domain, item.text, item.stub); end
			return;
		end
		if session.unread or not session.established and (unanswered or not session.for_key) then
			if relays[host] then
				why = session.unread or why;
				relay.failures[host] = { when = os.time(); why = why };
				note_failure(session, host, domain, why);
				with.log_failure(host, domain, why);
			end
		end
		bounce_all(host, domain, session, why);
	end

	-- A stanza of the inside, from a user of a relay host to a partner: a local user's, for the guard. Its refusals come back as stanzas to that
	-- user, and so go inside.
	function relay.deliver(session, stanza)
		local host = session.from_host;
		if not relays[host] or guard.observing == true or not hosts[host] then
			-- There is nobody who would judge it. The sender hears of it; the answer to that answer, if there is one, is none.
			if not is_request(stanza.name, stanza.attr.type) then return; end
			return hand_over(host, session.to_host, st.error_reply(stanza, "wait", "internal-server-error", PASSES_NOTHING), false);
		end
		if stanza.name == "presence" then
			contacts.sent(host, stanza);
			if stanza.attr.type == "unsubscribed" then with.directed.cancel(stanza.attr.from, stanza.attr.to); end
		end
		prosody.core_route_stanza(hosts[host], stanza);
	end

	--- The host's events

	-- Of an iq: what waits for an answer to a question of the host's own, as a console's ping, is asked first.
	local function is_for_the_host(event, host)
		local attr = event.stanza.attr;
		if attr.to ~= host or not attr.id or (attr.type ~= "result" and attr.type ~= "error") then return false; end
		return hosts[host].events.fire_event(("iq-%s/host/%s"):format(attr.type, attr.id), event) ~= nil;
	end

	local function handler_for(host)
		return function (event)
			if not relays[host] then return; end
			local stanza = event.stanza;
			local from, name = stanza.attr.from, stanza.name;
			local domain = from and match(from, "^[^@/]+@([^@/]+)") or jid.host(from); -- core has prepared it
			if guard.observing == true or not guard.policies[host] or not domain or hosts[domain] or not hosts[host] then
				-- Of a host of this server, which no guard judges; or for one that has been deactivated meanwhile.
				local stub = stub_of(stanza);
				if stub and event.origin.send and not event.origin.dummy then
					event.origin.send(st.error_reply(stub, "cancel", "service-unavailable", "The users of this host are not reached from here"));
				end
				return true;
			end
			if name == "iq" and is_for_the_host(event, host) then return true; end
			if name == "presence" then contacts.received(host, stanza); end
			hand_over(host, domain, stanza);
			return true;
		end;
	end

	--- The stream to the server inside is opened as soon as a partner has proven who it is, since what it comes for is to send something

	local function expect(host, domain)
		if not relays[host] or guard.observing == true or not guard.policies[host] or not domain or hosts[domain] then return; end
		stream_for(host, domain); -- why there is none is said when something has to go over it
	end

	-- Core goes on with the partner's stream, whatever becomes of this.
	local function protected(action)
		return function (event)
			local ok, err = pcall(action, event);
			if not ok then module:log("error", "Error while opening a stream to the server inside: %s", err); end
		end;
	end

	-- Its certificate is valid for its domain and the guard, which has gone through the features before, lets it authenticate by that.
	local function is_proven(session, features)
		return session.type == "s2sin_unauthed" and session.cert_chain_status == "valid" and session.cert_identity_status == "valid"
			and features:get_child("mechanisms", xmlns_sasl) ~= nil;
	end

	local function hook_proofs(host, context)
		context:hook("s2s-stream-features", protected(function (event)
			if is_proven(event.origin, event.features) then expect(host, event.origin.from_host); end
		end), BEHIND_FEATURES);
		context:hook("s2s-authenticated", protected(function (event)
			if event.session.direction == "incoming" then expect(host, event.host); end
		end), BEFORE_AUTHENTICATED);
	end

	local hooked = {}; -- host -> its events

	local function hook(host)
		local events = hosts[host] and hosts[host].events;
		if not events or hooked[host] == events then return; end
		hooked[host] = events;
		local handler, context = handler_for(host), module:context(host);
		hook_proofs(host, context);
		for _, name in ipairs({ "message"; "presence"; "iq" }) do
			for _, target in ipairs({ "bare"; "full"; "host" }) do
				context:hook(name.."/"..target, handler, BEHIND_THE_GUARD);
			end
		end
	end

	-- Which hosts are relay hosts now.
	function relay.apply(names)
		relays = {};
		forget_failures(); -- of other settings
		for name in pairs(names) do
			relays[name] = true;
			hook(name);
		end
		for name in pairs(relay.failures) do
			if not relays[name] then relay.failures[name] = nil; end
		end
	end

	function relay.is_relay(host)
		return relays[host] == true;
	end

	-- host -> { stanzas that wait, streams out }
	function relay.waiting(host)
		local count, streams = 0, 0;
		for _, session in pairs(pairs_of[host] or {}) do
			streams = streams + 1;
			count = count + #(session.queue or {});
		end
		return count, streams;
	end

	return relay;
end

return new_relay;
