-- partners:test: a real stream through the host's own S2S code, and a ping (XEP-0199) over it, stage by stage.

local layout = module:require "layout";
local service_lookup = module:require "service_lookup";
local offers = module:require "offers";
local tls_info = module:require "tls_info";
local progress_of = module:require "console/progress";
local new_progress, certificate_words, tls_words, connected_words = progress_of.new, progress_of.certificate_words, progress_of.tls_words,
	progress_of.connected_words;

local promise = require "util.promise";
local timer = require "util.timer";
local st = require "util.stanza";
local new_id = require "util.id".medium;
local errors = require "util.error";
local is_error = errors.is_error;

local SECONDS_MAX = 60;
local SECONDS_SPARE = 5; -- for the ping, once the stream stands

local stages = { "DNS"; "TCP"; "stream"; "TLS"; "certificate"; "method"; "round trip" };

-- What mostly helps when a stage fails and nothing more is known.
local remedies = {
	DNS = "Ask the partner for its SRV record, or set proxy = \"host:5269\" in its entry.";
	TCP = "Nothing answers there, or a firewall is between: compare address and port with the partner, and look whether this machine "
		.."may open connections to it.";
	stream = "Something answers, but not as an XMPP server for this domain: compare address and port with the partner.";
	TLS = "The other server does not offer TLS, or the handshake failed: have the partner look at its certificate and TLS versions, and "
		.."look at our own with partners:check().";
	certificate = "Have the partner correct its certificate, or name its authority in trust_anchors.";
	method = "The two sides expect different methods: compare the entry (partners:show) with what the partner has configured for us, and "
		.."whether it trusts our certificate.";
	["round trip"] = "The stream stands, but the ping is not answered: the partner may not answer pings, or refuses stanzas from this domain.";
};

local function new_test(context)
	local guard, native = context.guard, context.native;
	local inner_test = module:require "console/inner_test" (context);

	local function read_question(local_host, remote)
		if type(local_host) ~= "string" or type(remote) ~= "string" then
			return nil, "give a host of this server and the partner's domain: partners:test(\"contoso.com\", \"fabrikam.com\")";
		elseif not guard.hosts[local_host] then
			return nil, ("%s is not a host of this server"):format(layout.plain(local_host, 80));
		end
		local domain, fault = native.canonical_domain(remote);
		if not domain then
			return nil, ("%q %s"):format(layout.plain(remote, 80), fault);
		elseif guard.hosts[domain] then
			return nil, domain.." is a host of this server, too: there is no stream to test";
		end
		local policy = guard.policies[local_host];
		-- The gate of every route; before it is passed nothing is looked up.
		local gate = native.simulate_stream(policy, { direction = "out"; domain = domain });
		if gate.steps[1].verdict ~= "allow" then
			return nil, ("%s may not be connected to: %s (%s). %s"):format(domain, gate.steps[1].rule, gate.steps[1].reason,
				native.reasons[gate.steps[1].reason].text);
		end
		return { host = local_host; domain = domain; policy = policy; partner = policy:find(domain) };
	end

	local function describe_targets(targets)
		local words = {};
		for i = 1, math.min(#targets, 4) do
			local target = targets[i];
			words[i] = ("%s%s:%d (%s)"):format(target.direct and "direct TLS " or i > 1 and targets[i - 1].direct and "then " or "",
				layout.plain(target.host, 100), target.port, #(target.addresses or {}) > 0 and table.concat(target.addresses, ", ") or "no address");
		end
		return (targets.srv and "SRV " or #targets > 1 and "no SRV record of _xmpp-server; " or "no SRV record; ")..table.concat(words, "; ");
	end

	-- Follows one stream through core's events until forget() is called.
	local function watch(question, progress, print)
		local watched = {};
		local hooks = {};
		local function hook(api, event, handler, priority)
			api:hook(event, handler, priority);
			hooks[#hooks + 1] = function () api:unhook(event, handler); end;
		end
		local function is_ours(session)
			return session ~= nil and session == watched.session;
		end
		local function view_of(session)
			local view = native.stream_view(session);
			if not view then return; end
			if view.tls then
				local first, direct = not progress.reached.TLS, not progress.reached.stream;
				progress.stage("TLS", tls_words(session.conn));
				if first and watched.peer then
					-- LuaSec (1.3.2) tells neither group nor curve, and nothing else here has seen the handshake. In one line, to be copied.
					layout.print(print, (" "):rep(26), "LuaSec does not tell the group of the key exchange; to see which one this server takes:");
					print((" "):rep(26)..("openssl s_client -brief -connect %s -servername %s%s"):format(watched.peer,
						question.domain, direct and "" or " -starttls xmpp-server -xmpphost "..question.domain));
				end
				if view.certificate ~= "unknown" then
					progress.stage("certificate", certificate_words(view));
				end
			end
			watched.view = view;
			return view;
		end
		hook(module, "s2sout-connected", function (event)
			if not is_ours(event.session) then return; end
			local text, peer = connected_words(event.session.conn, "the other server");
			watched.peer = peer;
			progress.stage("TCP", text);
		end);
		hook(module:context(question.host), "stanza/http://etherx.jabber.org/streams:features", function (event)
			if not is_ours(event.origin) then return; end
			local session = event.origin;
			local words = offers.words(offers.read(event.stanza));
			if not tls_info(session.conn).protocol then
				progress.stage("stream", "the other server answers, and offers "..words);
			else
				progress.stage("stream", "the other server answers over TLS from the first byte");
				view_of(session);
				if session.type == "s2sout_unauthed" then progress.stage("features", "over TLS it offers "..words); end
			end
			view_of(session);
		end, 2000); -- before it is judged
		hook(module, "s2s-check-certificate", function (event)
			if is_ours(event.session) then view_of(event.session); end
		end, -0.5);
		hook(module, "s2sout-established", function (event)
			if not is_ours(event.session) then return; end
			local view = view_of(event.session);
			progress.without = not view.tls and { TLS = true; certificate = true } or nil;
			progress.stage("method", layout.method(view.method));
		end);
		hook(module, "s2s-destroyed", function (event)
			local session = event.session;
			if not is_ours(session) then return; end
			view_of(session);
			watched.restore();
			watched.why = is_error(event.reason) and event.reason.text or type(event.reason) == "string" and event.reason or watched.why;
		end);
		-- The last look before the stream's queue is bounced: core tells of the end only after that.
		function watched.last_look()
			if watched.session and not watched.session.destroyed then view_of(watched.session); end
		end
		function watched.forget()
			for _, unhook in ipairs(hooks) do unhook(); end
		end
		return watched;
	end

	local function time_limit(policy)
		return math.min(SECONDS_MAX, policy:limits().establishment_timeout + SECONDS_SPARE);
	end

	-- The words and the reason code of what went wrong.
	local function failure_text(progress, watched, err)
		local stage = progress.failed_at();
		local words = {};
		local text = is_error(err) and (err.text and ("%s (%s)"):format(err.text, err.condition) or err.condition) or tostring(err);
		text = text:gsub("^Server%-to%-server connection failed: ", "");
		words[1] = ("failed at %s: %s"):format(stage, layout.plain(watched.why or text, 300));
		local view = watched.view;
		local reason = view and view.stage == "refused" and view.reason;
		if watched.why and text ~= "" and not text:find(watched.why, 1, true) then
			words[#words + 1] = "the sender was told: "..layout.plain(text, 300);
		end
		return stage, table.concat(words, "; "), reason;
	end

	--[[
	Sends a ping over a stream of its own. Core opens a stream when it finds none for a route, so the one that stands is taken out of
	its table for the moment of sending, and put back at once: no stanza of anybody else's is affected.
	COMPAT 0.12, 13: core clears the table's place whichever stream ends, so it has to be put back then as well.
	]]
	local function ping(question, print, progress, resolve, reject)
		local watched = watch(question, progress, print);
		local routes = guard.hosts[question.host].s2sout;
		local standing = routes[question.domain];
		local function restore()
			if standing and not standing.destroyed and (routes[question.domain] == nil or routes[question.domain] == watched.session) then
				routes[question.domain] = standing;
			end
		end
		watched.restore = restore;
		local function finish()
			watched.last_look();
			-- A stream that was needed only for this is not left behind.
			local session = watched.session;
			if standing and not standing.destroyed and session and not session.destroyed and session.close then
				timer.add_task(0, function ()
					if not session.destroyed then session:close(); end
					restore();
					watched.forget();
				end);
			else
				restore();
				watched.forget();
			end
			progress.over = true;
		end
		if standing then
			layout.print(print, "  ", "There is a stream already; this opens another beside it and closes it afterwards.");
		end
		local iq = st.iq({ from = question.host; to = question.domain; type = "get"; id = new_id() })
			:tag("ping", { xmlns = "urn:xmpp:ping" });
		local function answered(answer)
			progress.stage("round trip", "pong from "..layout.plain(answer.attr.from or question.domain));
			finish();
			resolve(("%s -> %s works; %s in all"):format(question.host, question.domain, progress.time()));
		end
		local function failed(err)
			watched.last_look();
			if progress.reached.method and not (err.condition or ""):find("^remote%-server") then
				-- An answer is an answer: the peer is there and says that it does not do pings.
				progress.stage("round trip", ("the other server answers the ping with %s%s"):format(err.condition,
					err.text and ": "..layout.plain(err.text, 200) or ""));
				finish();
				return resolve(("%s -> %s works (it refuses pings); %s in all"):format(question.host, question.domain,
					progress.time()));
			end
			local stage, text, reason = failure_text(progress, watched, err);
			finish();
			progress.print_failure(stage, (text:gsub("^failed at [^:]+: ", "")));
			layout.print(print, "  Likely remedy: ", reason and native.reasons[reason].text or remedies[stage]);
			reject(("%s -> %s %s%s"):format(question.host, question.domain, text, reason and " ["..reason.."]" or ""));
		end

		-- Not module:send_iq, which sends only at the next turn of the loop.
		local own, over = module:context(question.host), false;
		local function settle(handler)
			return function (event)
				local stanza = event.stanza;
				if stanza.attr.from ~= question.domain or over then return; end
				over = true;
				watched.done();
				handler(stanza);
				return true;
			end;
		end
		local on_result = settle(answered);
		local on_error = settle(function (stanza) failed(errors.from_stanza(stanza)); end);
		local time_out = timer.add_task(time_limit(question.policy), function ()
			if over then return; end
			over = true;
			watched.done();
			failed(errors.new({ type = "wait"; condition = "remote-server-timeout";
				text = ("no answer within %d s"):format(time_limit(question.policy)) }));
		end);
		own:hook("iq-result/host/"..iq.attr.id, on_result, 1);
		own:hook("iq-error/host/"..iq.attr.id, on_error, 1);
		function watched.done()
			own:unhook("iq-result/host/"..iq.attr.id, on_result);
			own:unhook("iq-error/host/"..iq.attr.id, on_error);
			timer.stop(time_out);
		end
		local host_session = guard.hosts[question.host];
		routes[question.domain] = nil;
		-- Whatever becomes of the ping, the stream that stands goes back to its place.
		local sent, problem = pcall(own.send, own, iq, setmetatable({ send = function (reply) -- core's own refusals
			if reply.attr.type == "error" then on_error({ stanza = reply }); end
			return true;
		end }, { __index = host_session }));
		if routes[question.domain] ~= standing then watched.session = routes[question.domain]; end
		restore();
		if not sent and not over then
			over = true;
			watched.done();
			failed(errors.new({ type = "wait"; condition = "internal-server-error"; text = tostring(problem) }));
		end
	end

	local function test(self, local_host, remote)
		local print = self.session.print;
		local inner, inner_problem = inner_test.read(local_host, remote);
		if inner then return inner_test.run(print, inner); end
		if inner_problem then return nil, inner_problem; end
		local question, problem = read_question(local_host, remote);
		if not question then return nil, problem; end
		layout.print(print, "", ("Testing %s -> %s (%s, %s), for at most %d s"):format(question.host, question.domain,
			question.partner.name, layout.methods(question.partner.methods), time_limit(question.policy) + 10));
		local progress = new_progress(print, stages);
		return promise.new(function (resolve, reject)
			local function fail(text)
				progress.over = true;
				progress.print_failure("DNS", text);
				layout.print(print, "  Likely remedy: ", remedies.DNS);
				reject(("%s -> %s failed at DNS: %s"):format(question.host, question.domain, text));
			end
			if question.partner.proxy then
				progress.stage("DNS", "not asked, the entry has proxy = \""..question.partner.proxy.."\"");
				return ping(question, print, progress, resolve, reject);
			end
			service_lookup.find(question.domain, function (targets, lookup_problem)
				local any = false;
				for _, target in ipairs(targets or {}) do any = any or #(target.addresses or {}) > 0; end
				if not targets then
					return fail(lookup_problem);
				elseif not any then
					return fail(describe_targets(targets));
				end
				-- Core tries direct TLS first, but not where TLS may not be used.
				if question.partner.tls == "not_supported" then
					local plain = { srv = targets.srv };
					for _, target in ipairs(targets) do
						if not target.direct then plain[#plain + 1] = target; end
					end
					targets = plain;
				end
				progress.stage("DNS", describe_targets(targets));
				ping(question, print, progress, resolve, reject);
			end);
		end);
	end

	return { test = { desc = "Opens a real stream to a partner, or in a partner's name to the server inside of a relay host, and pings; names the stage "
		.."that fails";
		args = { { name = "local"; type = "string" }; { name = "remote"; type = "string" } }; handler = test } };
end

return new_test;
