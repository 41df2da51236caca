-- Metrics: through Prosody's own API, so that mod_http_openmetrics shows them. Allowed stanzas are counted in C and only fetched here.

local function new_metrics(guard, native, latch, report, expiry)
	local metrics = { live = module:require "live" (native, latch) };
	local recent = module:require "recent" (native);
	metrics.recent = recent;

	local families = {
		decisions = module:metric("counter", "decisions", "", "Decisions about streams and stanzas with other servers",
			{ "host"; "partner"; "direction"; "decision"; "reason" });
		streams = module:metric("gauge", "streams", "", "Established streams with partners", { "host"; "partner"; "direction"; "method" });
		reloads = module:metric("counter", "reloads", "", "Attempts to read the configuration", { "result" });
		certificate_expiry = module:metric("gauge", "certificate_expiry", "",
			"Seconds until the first certificate of the chain that the partner presented last expires", { "partner" });
		observing = module:metric("gauge", "observing", "", "1 while nothing is enforced (s2s_partners_mode = \"observe\"), else 0", {});
		crl_expiry = module:metric("gauge", "crl_expiry", "", "Seconds until the first revocation list in the file is out of date", { "file" });
	};

	-- partner -> host -> direction -> reason -> { decision, times }. The partner is one of the list or "unlisted", the host one of
	-- ours, so strangers cannot make it grow.
	-- They survive module:reload, as the counters of Prosody's statistics do.
	local totals = prosody.s2s_partners_latch.totals or {};
	prosody.s2s_partners_latch.totals = totals;

	local function child(map, key)
		local value = map[key];
		if not value then
			value = {};
			map[key] = value;
		end
		return value;
	end

	-- What was decided while nothing is enforced is told apart from what was done.
	local function add(host, partner, direction, decision, reason, times)
		local key = reason;
		if guard.observing == true and decision ~= "allow" then
			decision = "would-"..decision;
			key = decision.." "..reason;
		end
		families.decisions:with_labels(host, partner, direction, decision, reason):add(times);
		local entry = child(child(child(child(totals, partner), host), direction), key);
		entry.decision, entry.reason, entry.times = decision, reason, (entry.times or 0) + times;
	end

	-- Fetches what C has counted.
	local function drain()
		for key, block in pairs(guard.counters) do
			native.drain_counters(block, add);
			if type(key) == "number" or not guard.hosts[key] then guard.counters[key] = nil; end
		end
	end

	metrics.drain = drain;

	-- { { host, direction, decision, reason, times }... } of one partner
	function metrics.totals(partner)
		drain();
		local list = {};
		for host, directions in pairs(totals[partner] or {}) do
			for direction, reasons in pairs(directions) do
				for key, entry in pairs(reasons) do
					list[#list + 1] = { host = host; direction = direction; decision = entry.decision; reason = entry.reason or key; times = entry.times };
				end
			end
		end
		table.sort(list, function (a, b)
			if a.host ~= b.host then return a.host < b.host; end
			if a.direction ~= b.direction then return a.direction < b.direction; end
			if a.reason ~= b.reason then return a.reason < b.reason; end
			return a.decision < b.decision;
		end);
		return list;
	end

	-- A decision that Lua acts on. Refusals of a host without a policy have no partner.
	local function count(host, remote, direction, reason)
		if not host or not guard.hosts[host] then return; end
		if guard.policies[host] then
			native.count(guard, host, remote or "", direction, reason);
		else
			add(host, "unlisted", direction, "refuse", reason, 1);
		end
	end
	metrics.count = count;

	local refused = setmetatable({}, { __mode = "k" }); -- a stream may be refused for more than one element before it is closed

	local function ends_of(session)
		if session.direction == "outgoing" then
			return session.from_host, session.to_host, "out";
		end
		return session.to_host, session.from_host, "in";
	end

	report.on("stream_refused", function (session, reason, rule, quiet)
		local mode = guard.observing == true and "would" or "did";
		if session.destroyed or refused[session] == mode then return; end
		refused[session] = mode;
		local host, remote, direction = ends_of(session);
		count(host, remote, direction, reason);
		if not quiet then recent.refused(session, reason, rule); end
	end);

	report.on("stream_established", function (session, view)
		local host, remote, direction = ends_of(session);
		count(host, remote, direction, "none");
		recent.established(session, view);
	end);

	report.on("stanza_refused", function (direction, _, remote, host, reason)
		count(host, remote, direction, reason);
	end);

	report.on("subscription_authorised", function (remote, host)
		count(host, remote, "in", "subscription-authorised");
	end);

	report.on("committed", function (state)
		families.reloads:with_labels(state.applied and "applied" or "rejected"):add(1);
		drain();
		-- Partners that are no longer listed are forgotten: a list that changes every day must not grow these tables.
		if not state.applied then return; end
		local policies = {};
		for _, policy in pairs(guard.policies) do policies[policy] = true; end -- hosts share them
		local function is_listed(name)
			for policy in pairs(policies) do
				if policy:label(name) == name then return true; end
			end
			return name == "unlisted";
		end
		for _, kept in ipairs({ totals, recent.kept }) do
			for name in pairs(kept) do
				if not is_listed(name) then kept[name] = nil; end
			end
		end
	end);

	local shown = { certificate_expiry = {}; crl_expiry = {} }; -- family -> label
	local function show_expiry(name, left)
		local family, labels = families[name], shown[name];
		for label in pairs(labels) do
			if not left[label] then
				labels[label] = nil;
				-- Core can only set a gauge to 0, which would mean that it expires now.
				family.data:remove(label);
			end
		end
		for label, seconds in pairs(left) do
			family:with_labels(label):set(seconds);
			labels[label] = true;
		end
	end

	module:hook_global("stats-update", function ()
		drain();
		families.observing:with_labels():set(guard.observing == true and 1 or 0);
		families.streams:clear();
		for _, view in ipairs(metrics.live.streams()) do
			if view.stage == "established" and view.partner and view.local_host and guard.hosts[view.local_host] then
				families.streams:with_labels(view.local_host, view.partner, view.direction, view.method):add(1);
			end
		end
		local now = os.time();
		show_expiry("certificate_expiry", expiry.snapshot(now));
		show_expiry("crl_expiry", expiry.crl_snapshot(now));
	end);

	return metrics;
end

return new_metrics;
