-- The mode "observe": everything is judged, counted and logged, nothing is done. This file has what takes the place of guard.act in that mode: one
-- function for each action. It reports what the action would do, and changes nothing of Prosody's. It also keeps what partners:suggest() needs.

local jid_host = require "util.jid".host;

local DAY = 86400; -- seconds
local DOMAINS_MAX = 2000; -- remembered by name; users, and peers with names of their own making, can come up with any number

-- Reasons that depend on what was offered: with another offer the other side might have chosen a method that its entry allows.
local by_choice = { ["sasl-not-supported"] = true; ["tls-not-supported"] = true; ["sasl-required"] = true; ["dialback-not-allowed"] = true };
local CHOICE = " (negotiated as Prosody alone does it; when enforced it is offered only what the entry allows)";

-- with: native, report, limits, partner_label, latch, act (the actions themselves), drain (of the metrics)
local function new_observe(guard, with)
	local native, report, limits, latch = with.native, with.report, with.limits, with.latch;
	local observe, would = {}, {};
	observe.would = would;

	--- What has been seen, by canonical domain

	-- It survives module:reload.
	local seen = prosody.s2s_partners_latch.observed or { domains = {}; count = 0; left_out = 0 };
	prosody.s2s_partners_latch.observed = seen;

	local function see(remote, direction, what, key)
		local domain = remote and native.canonical_domain(remote);
		if not domain or guard.hosts[domain] then return; end
		seen.since = seen.since or os.time();
		local record = seen.domains[domain];
		if not record then
			if seen.count >= DOMAINS_MAX then
				seen.left_out = seen.left_out + 1;
				return;
			end
			record = { stanzas = { ["in"] = 0; out = 0 }; streams = { ["in"] = {}; out = {} } };
			seen.domains[domain] = record;
			seen.count = seen.count + 1;
		end
		if what == "stanza" then
			record.stanzas[direction] = record.stanzas[direction] + 1;
		else
			record.streams[direction][key] = (record.streams[direction][key] or 0) + 1;
		end
	end

	-- { domains = { [domain] = { stanzas = { in, out }, streams = { in = { [method] = count }, out } } }, left_out, since }: what would have
	-- been refused. nil when nothing has been observed.
	function observe.seen()
		return next(seen.domains) and seen or nil;
	end

	--- In the place of the actions

	local told = setmetatable({}, { __mode = "k" }); -- stream -> reason -> true: it lives on, and is refused again with each step
	local established = setmetatable({}, { __mode = "k" }); -- streams that have been seen
	local judged = setmetatable({}, { __mode = "k" }); -- events and stanzas: they go on, to the next handler that would refuse them

	local function once(set, key)
		if set[key] then return false; end
		set[key] = true;
		return true;
	end

	function would.close(session, reason, _, rule)
		if session.destroyed then return; end
		local view = native.stream_view(session);
		if view and view.observed and (session.type == "s2sin" or session.type == "s2sout") and once(established, session) then
			see(view.remote, view.direction, "stream", view.observed);
		end
		told[session] = told[session] or {};
		if not once(told[session], reason) then return; end
		if view and view.stage == "refused" then native.place_release(guard, session); end -- it would be gone
		if by_choice[reason] and view and view.partner then rule = rule..CHOICE; end
		report.stream_refused(session, reason, rule, not limits.may_log(session, reason));
	end

	-- What comes before a stream is closed is left out as well: core goes on with it.
	would.close_offering, would.close_starttls, would.close_sasl = would.close, would.close, would.close;

	function would.dialback_error(session, reason)
		report.element_refused(session, reason);
	end
	would.deny_key, would.drop_element = would.dialback_error, would.dialback_error;

	function would.refuse_stanza(_, reason, rule, stanza)
		if not once(judged, stanza) then return; end
		local remote, host = jid_host(stanza.attr.from), jid_host(stanza.attr.to);
		see(remote, "in", "stanza");
		report.stanza_refused("in", with.partner_label(host, remote), remote, host, reason, rule);
	end

	function would.refuse_route(event, reason, rule, _, _, session)
		if session then would.close(session, reason, nil, rule); end
		if event.stanza.name == "db:verify" or not once(judged, event) then return; end
		see(event.to_host, "out", "stanza");
		report.stanza_refused("out", with.partner_label(event.from_host, event.to_host), event.to_host, event.from_host, reason, rule);
	end

	-- These look, and remember; they change nothing.
	would.watch_header, would.established, would.passed = with.act.watch_header, with.act.established, with.act.passed;

	-- And these would change what is core's.
	function would.connect_through() end
	function would.trim_features() end
	function would.answer_alike() end

	function would.reroute(event)
		module:log("debug", "Would route a stanza to %s (host %s) by its own addresses", event.to_host, event.from_host);
	end

	function would.answer_malformed(_, stanza)
		module:log("debug", "Would drop a malformed %s from %s", stanza.name, stanza.attr.from);
	end

	function would.authorise_subscription(stanza)
		report.subscription_authorised(jid_host(stanza.attr.from), jid_host(stanza.attr.to));
	end

	function would.internal_error(event, err, name)
		module:log("error", "Error while handling %s, would be refused: %s", name, err);
		local session = event.origin or event.session;
		if event.to_host and event.from_host then
			would.refuse_route(event, "internal-error", "an error in the handler");
		elseif session and type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			would.close(session, "internal-error", nil, "an error in the handler");
		end
	end

	--- The mode

	-- As the configuration has it now. Whether it is another than before.
	function observe.take_mode()
		local observing = latch.observes() == true;
		if observing == guard.observing then return false; end
		local ok, err = pcall(with.drain); -- what has been counted was of the mode before
		if not ok then module:log("error", "Could not count: %s", err); end
		guard.observing = observing;
		module:log("info", observing and "From now on nothing is enforced" or "From now on the list of partners is enforced");
		return true;
	end

	local warned = os.time();

	-- To be called when a configuration has been read.
	function observe.remind()
		if guard.observing ~= true then return; end
		warned = os.time();
		latch.warn_observing();
	end

	-- To be called every few seconds.
	function observe.tick()
		local now = os.time();
		if now - warned >= DAY or now < warned then observe.remind(); end
	end

	return observe;
end

return new_observe;
