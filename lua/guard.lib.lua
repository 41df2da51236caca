-- The guard: what the C handlers act through, and the running policy of every host.
-- It may know Prosody; it decides nothing.

local st = require "util.stanza";
local filters = require "util.filters";
local errors = require "util.error";
local async = require "util.async";
local timer = require "util.timer";
local jid_host, jid_prep = require "util.jid".host, require "util.jid".prep;
local s2smanager = require "core.s2smanager";
local nameprep = require "util.encodings".stringprep.nameprep;

local hosts = prosody.hosts;

local xmlns_tls = "urn:ietf:params:xml:ns:xmpp-tls";
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
local xmlns_dialback_feature = "urn:xmpp:features:dialback";
local xmlns_bidi_feature = "urn:xmpp:features:bidi";

local xmlns_muc = "http://jabber.org/protocol/muc";

local ID_MAX = 256; -- bytes; a longer one is not sent back

local function new_guard(native, latch)
	local act = {};
	local guard = {
		act = act;
		policies = {}; -- host -> policy userdata; a host without one refuses everything
		trust = { anchors = {}; hosts = {}; own = {} }; -- see trust.load
		hosts = hosts;
		native = native;
		-- What LuaSec's own info() begins with; the rest of it takes a description of the cipher to pieces.
		tls_info = (package.loaded["ssl.core"] or {}).info;
		bare_sessions = prosody.bare_sessions;
		full_sessions = prosody.full_sessions;
		is_address = function (address) return jid_prep(address) ~= nil; end;
		answers = setmetatable({}, { __mode = "k" }); -- stanzas of our own, not to be judged again
		notes = setmetatable({}, { __mode = "k" }); -- stanza -> its copy without status notes
		questions = {}; -- host -> keys that partners are being asked about; counted by C, at most so many that their bounds allow
	};
	local options = module:require "options";
	local needs, unparsed = module:require "needs", module:require "unparsed";
	-- Whether nothing is enforced. Exactly true, here and in C: whatever else it may come to be means that everything is.
	guard.observing = latch.observes() == true;
	local farewell, contexts = module:require "farewell" (latch.in_handshake, guard), module:require "contexts";
	local report = module:require "report" (native, guard);
	local trust = module:require "trust" (native);
	local commit = module:require "commit" (native, options, trust);
	local limits = module:require "limits" (guard, native, latch);
	local proxy = module:require "proxy" (guard);
	limits.keepalive = module:require "keepalive" (guard, native);
	guard.limits = limits;
	local subscriptions = module:require "subscriptions" (native, guard);
	local facts, memory = module:require "facts" (guard, subscriptions, module.saved_state and module.saved_state.memory);
	guard.facts, guard.roles_scanned, guard.directed = facts, memory.roles_scanned, memory.directed_by;
	local expiry = module:require "expiry" (native, latch);
	guard.expiry = expiry;

	-- Actions run in a runner of their own: closing a stream bounces its queue, and whoever gets those bounces may wait.
	local function detached(action)
		async.runner(action, {
			error = function (_, err)
				module:log("error", "Error while refusing: %s", err);
			end;
		}):run(true);
	end

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

	local rejudge = module:require "rejudge" (guard, native, latch, limits, module:require "queue", detached);

	local crl_watch = trust.crls.watch(guard, { latch = latch; rejudge = rejudge; expiry = expiry });
	limits.tick = function ()
		guard.observed.tick();
		expiry.tick();
		crl_watch.tick();
	end;

	-- The primary domain of the partner, or "unlisted": what strangers send must not grow any table.
	local function partner_label(host, remote)
		local policy = guard.policies[host];
		return policy and remote and policy:label(remote) or "unlisted";
	end

	local reload = module:require "reload" (guard, { commit = commit; limits = limits; rejudge = rejudge; expiry = expiry; report = report });

	-- The module's own answers, and what else is done about a stanza that may pass.
	local answers = module:require "answers" (guard, { native = native; report = report; memory = memory;
		subscriptions = subscriptions; partner_label = partner_label; detached = detached });

	local timed_out = { ["establishment-timeout"] = true; ["inactivity-timeout"] = true };
	local stream_is_known = false; -- the first one is looked at

	--- What C asks for after it has decided

	function act.close(session, reason, condition, rule)
		if session.destroyed then return; end
		local row = native.reasons[reason];
		local text = ("%s (%s)"):format(row.peer_text, reason);
		local quiet = not limits.may_log(session, reason);
		if not quiet and timed_out[reason] then rule = rule..unparsed(session); end
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

	-- COMPAT 0.12.3, 13.0: no event tells of the header of a stream before XMPP 1.0, to which no features are sent. Our answer
	-- to it does; what is to be done waits until core is through with the header.
	function act.watch_header(session)
		if not stream_is_known then
			local lacking = needs.of_stream(session, prosody.version);
			if lacking then error(lacking, 0); end
			stream_is_known = true;
		end
		local open_stream = session.open_stream;
		function session.open_stream(...)
			if session.version and session.version < 1 then -- none: closed before there was a header
				timer.add_task(0, function ()
					if not session.destroyed then
						prosody.events.fire_event("s2s-partners-header", { session = session });
					end
				end);
			end
			return open_stream(...);
		end
		-- COMPAT 13.0.6: core prepares the header's `from`, which takes the last dot off; "fabrikam.test.." then looks like a domain
		-- with a trailing dot. The domain of a stream is what was written. Gone again as soon as one is known.
		local thread = session.thread;
		local run = thread.run;
		function thread.run(self, item, ...)
			if type(item) == "table" and (item.event == "streamopened" or item.stream == "opened") and not session.from_host then
				session.s2s_partners_written = item.attr.from;
				if item.attr.from then thread.run = nil; end
			end
			return run(self, item, ...);
		end
	end

	act.connect_through = proxy.connect_through;

	function act.established(session)
		limits.settled(session);
		local view = native.stream_view(session);
		report.stream_established(session, view);
		expiry.seen(view);
	end

	-- XEP-0220 2.4: the request is refused, the stream goes on. Nothing of it comes back but what is short.
	function act.dialback_error(session, stanza, reason)
		report.element_refused(session, reason);
		local attr = stanza.attr;
		if attr.type then return; end -- an answer is not answered
		local full = reason == "connection-limit";
		session.sends2s(st.stanza("db:"..stanza.name, { from = attr.to, to = attr.from, type = "error",
				id = attr.id and #attr.id <= ID_MAX and attr.id or nil })
			:tag("error", { type = full and "wait" or "cancel" })
				:tag(full and "resource-constraint" or "not-acceptable", { xmlns = "urn:ietf:params:xml:ns:xmpp-stanzas" }));
	end

	-- What core answers to a key that is not ours, without its warning.
	function act.deny_key(session, stanza)
		report.element_refused(session, "dialback-not-allowed");
		local attr = stanza.attr;
		session.sends2s(st.stanza("db:verify", { from = attr.to, to = attr.from, id = attr.id, type = "invalid" }));
	end

	-- A stanza in the namespace of clients, or something that core would take for one: no stanza of this stream at all.
	function act.drop_element(session, reason)
		report.element_refused(session, reason);
	end

	-- Nothing in a refusal tells a stranger why. `reply`: "error" | "unavailable" | "none"; nil: by the kind of stanza.
	function act.refuse_stanza(origin, stanza, reason, rule, reply)
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

	function act.refuse_route(event, reason, rule, session)
		local stanza, from_host = event.stanza, event.from_host;
		report.stanza_refused("out", partner_label(from_host, event.to_host), event.to_host, from_host, reason, rule);
		if session then
			act.close(session, reason, native.reasons[reason].stream_condition, rule);
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

	-- Core answers a stanza over the stream it came on. Where the answer is from another of our hosts, or for another domain,
	-- than that stream's, it has to take its own way.
	function act.reroute(event)
		local stanza = event.stanza;
		-- Core answers malformed addresses as they stand: one that is none, or that is not prepared, must neither come back
		-- here nor make for a stream of its own.
		local from_host = nameprep(jid_host(stanza.attr.from) or event.from_host);
		local to_host = nameprep(jid_host(stanza.attr.to) or event.to_host);
		if not from_host or not to_host or not hosts[from_host] or hosts[to_host]
			or from_host == event.from_host and to_host == event.to_host then
			act.refuse_route(event, "wrong-domain", "routed by other addresses than its own");
		else
			hosts[from_host].events.fire_event("route/remote", {
				origin = event.origin; from_host = from_host; to_host = to_host; stanza = stanza;
			});
		end
	end

	--- Small reads and writes on Prosody's objects

	local function conforms(tag, offer)
		local name, xmlns = tag.name, tag.attr.xmlns;
		if name == "starttls" and xmlns == xmlns_tls then
			return offer.starttls and (not tag.tags[1]) == not offer.starttls_required;
		elseif name == "mechanisms" and xmlns == xmlns_sasl then
			return offer.sasl;
		elseif name == "dialback" and xmlns == xmlns_dialback_feature then
			return offer.dialback;
		elseif name == "bidi" and xmlns == xmlns_bidi_feature then
			return offer.bidi;
		end
		return true;
	end

	-- What stands in the place of a feature, nil when it is to go.
	local function conforming(tag, offer)
		if conforms(tag, offer) then return tag; end
		if tag.name ~= "starttls" or not offer.starttls then return nil; end
		-- Core shares one element among all streams: never change it in place.
		local starttls = st.stanza("starttls", { xmlns = xmlns_tls });
		return offer.starttls_required and starttls:tag("required"):up() or starttls;
	end

	-- Cuts a <stream:features/> down to what `offer` allows. In one pass: util.stanza takes children out one by one, and moves all that
	-- are behind each time.
	function guard.trim_features(features, offer)
		local good = true;
		for _, tag in ipairs(features.tags) do
			good = good and conforms(tag, offer);
		end
		if good then return; end -- nearly always; to build a list anew is what costs
		local tags, count, kept = {}, #features, 0;
		for i = 1, count do
			local child = features[i];
			if type(child) == "table" then
				child = conforming(child, offer);
				tags[#tags+1] = child;
			end
			if child ~= nil then
				kept = kept + 1;
				features[kept] = child;
			end
		end
		for i = kept + 1, count do features[i] = nil; end
		features.tags = tags;
	end

	-- Whether mod_dialback would say that a key is of its making. What cannot be found out is left to it.
	function guard.key_is_ours(host, stanza)
		local dialback = hosts[host] and hosts[host].modules.dialback;
		local verify = dialback and dialback.verify_dialback; -- the same in 0.12 and 13
		if type(verify) ~= "function" then return true; end
		local attr = stanza.attr;
		local ok, ours = pcall(verify, attr.id, attr.from, attr.to, stanza[1]);
		return not ok or ours;
	end

	-- Core warns of empty features, though the stream they are for is closed.
	function guard.fill_features(features)
		if not features.tags[1] then features:tag("refused"):up(); end
	end

	-- What a peer's <stream:features/> offers: starttls, required, EXTERNAL, dialback.
	function guard.read_features(features)
		local starttls = features:get_child("starttls", xmlns_tls);
		local mechanisms = features:get_child("mechanisms", xmlns_sasl);
		local external = false;
		for mechanism in (mechanisms or st.stanza("none")):childtags("mechanism") do
			external = external or mechanism:get_text() == "EXTERNAL";
		end
		return starttls ~= nil, starttls ~= nil and starttls:get_child("required") ~= nil, external,
			features:get_child("dialback", xmlns_dialback_feature) ~= nil;
	end

	function guard.send_starttls_failure(session)
		session.sends2s(st.stanza("failure", { xmlns = xmlns_tls }));
	end

	function guard.send_sasl_failure(session)
		session.sends2s(st.stanza("failure", { xmlns = xmlns_sasl }):tag("not-authorized"));
	end

	-- A handler has failed. Whatever it was about goes no further.
	function guard.internal_error(event, err, name)
		module:log("error", "Error while handling %s, %s: %s", name, guard.observing == true and "would be refused" or "refused", err);
		local session = event.origin or event.session;
		if event.to_host and event.from_host then
			guard.acting().refuse_route(event, "internal-error", "an error in the handler");
		elseif session and type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			guard.acting().close(session, "internal-error", "policy-violation", "an error in the handler");
		end
	end

	-- While nothing is enforced each action has one in its place that only tells.
	guard.observed = module:require "observe" (guard, { native = native; report = report; limits = limits; memory = memory;
		partner_label = partner_label; latch = latch; act = act });
	guard.would = guard.observed.would;
	function guard.acting()
		return guard.observing == true and guard.would or act;
	end

	--- Policies

	-- Virtual hosts and components alike: core hands global modules on to no component.
	local installed = {};
	local function guard_host(host)
		local events = hosts[host] and hosts[host].events;
		if not events or installed[host] == events then return; end
		installed[host] = events;
		native.install_host(guard, module:context(host), host);
		module:context(host):hook("s2sout-pre-connect", proxy.on_pre_connect);
		subscriptions.guard_host(host, module:context(host));
		memory.guard_host(host, module:context(host));
	end

	-- Core takes a module's hooks away when the module goes, not when a host does; with its events they hold all that the host had.
	local function forget_host(host)
		local events, hooked = installed[host], module.event_handlers;
		installed[host] = nil;
		if not events then return; end
		for _, object in ipairs({ events, events.wrappers }) do
			for _, event, handler in hooked:iter(object, nil, nil) do
				object.remove_handler(event, handler);
			end
			hooked:set(object, nil);
		end
	end

	local function on_host_activated(host)
		guard_host(host);
		if guard.policies[host] == nil and guard.running then
			local new = commit.compile_host(host);
			if new then
				guard.policies[host] = new.policies[host];
				guard.trust.hosts[host] = new.trust.hosts[host];
				guard.trust.own[host] = new.trust.own[host];
				for path, store in pairs(new.trust.anchors) do
					-- What other hosts run with changes only when all of them are committed.
					guard.trust.anchors[path] = guard.trust.anchors[path] or store;
				end
				for _, kind in ipairs({ "crls"; "crl_wanted" }) do
					guard.trust[kind] = guard.trust[kind] or {};
					guard.trust[kind][host] = new.trust[kind][host];
				end
				guard.trust.crl_files = guard.trust.crl_files or {};
				for path, entry in pairs(new.trust.crl_files) do
					guard.trust.crl_files[path] = guard.trust.crl_files[path] or entry;
				end
				limits.configure(guard.policies);
				expiry.committed(guard.policies, guard.trust);
			end
		end
	end

	local function add_filter(session)
		if type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			filters.add_filter(session, "stanzas/in", guard.filter, 1000);
		end
	end

	function guard.save()
		local saved = guard.running and { policies = guard.policies; trust = guard.trust;
			waiting = limits.save(); keepalives = guard.keepalives } or {};
		saved.memory = memory.save();
		if guard.running then saved.expiry = expiry.state; end
		return saved;
	end

	local function keep_contexts()
		local longest = 0;
		for _, policy in pairs(guard.policies) do
			longest = math.max(longest, policy:limits().establishment_timeout);
		end
		local ok, err = pcall(contexts.keep, longest);
		if not ok then module:log("error", "Cannot keep the TLS contexts of handshakes under way: %s", err); end
	end

	local metrics = module:require "metrics" (guard, native, latch, report);
	local console, remove_adhoc;

	-- The mode as the configuration has it now. Whether it is another.
	function guard.take_mode()
		local observing = latch.observes() == true;
		if observing == guard.observing then return false; end
		local ok, err = pcall(metrics.drain); -- what has been counted was of the mode before
		if not ok then module:log("error", "Could not count: %s", err); end
		guard.observing = observing;
		module:log("info", observing and "From now on nothing is enforced" or "From now on the list of partners is enforced");
		return true;
	end

	function guard.start(saved)
		native.install_global(guard, module);
		for host in pairs(hosts) do
			guard_host(host);
		end
		module:hook_global("host-activated", on_host_activated, 1000);
		module:hook_global("host-deactivated", forget_host);
		-- Core's own are at -1 and 0.
		module:hook_global("config-reloaded", keep_contexts, 1000);
		module:hook_global("host-deactivated", keep_contexts, 1000);
		module:hook_global("s2s-created", farewell, 1000);
		module:hook_global("user-deleted", function (event) subscriptions.user_deleted(event.host, event.username); end);
		guard.filter = native.stanza_filter(guard);
		filters.add_filter_hook(add_filter);
		latch.each_stream(function (session)
			if session.filter then add_filter(session); end
		end);
		if saved and saved.policies then
			guard.running = true;
			guard.policies, guard.trust = saved.policies, saved.trust;
			guard.keepalives = saved.keepalives or guard.keepalives;
			limits.configure(guard.policies);
			expiry.restore(saved.expiry);
		end
		limits.start(saved and saved.waiting);
		-- Streams that live on have their numbers, and their places, with the module before.
		if not reload.now() then
			rejudge.act(rejudge.judge());
		end
		module:hook_global("config-reloaded", reload.soon);
		console = module:require "console/shell" (guard, native, commit, latch, metrics);
		remove_adhoc = module:require "console/adhoc" (console);
	end

	function guard.stop()
		limits.stop();
		expiry.stop();
		crl_watch.stop();
		guard.stopped = true;
		metrics.drain();
		if console and console.stop then console.stop(); end
		if remove_adhoc then remove_adhoc(); end
		filters.remove_filter_hook(add_filter);
		latch.each_stream(function (session)
			if session.filters then filters.remove_filter(session, "stanzas/in", guard.filter); end
		end);
	end

	return guard;
end

return new_guard;
