-- Metrics of the inner side, beside those of lua/metrics. All labels are relay hosts and words of our own, so nobody inside or outside can add one.

-- `boundary`: see there; `native`
local function new_inner_metrics(boundary, native)
	local families = {
		streams = module:metric("gauge", "inside_streams", "", "Established streams with the servers inside of relay hosts",
			{ "host"; "direction"; "method" });
		queue = module:metric("gauge", "inside_queue", "", "Stanzas that wait for a stream to the server inside", { "host" });
		bounces = module:metric("counter", "inside_bounces", "", "Stanzas that could not be handed to the server inside and came back to the sender",
			{ "host" });
	};
	local told = {}; -- relay host -> bounces that the counter has

	local function update()
		families.streams:clear();
		families.queue:clear();
		for host, count in pairs(boundary.relay.bounces) do
			families.bounces:with_labels(host):add(count - (told[host] or 0));
			told[host] = count;
		end
		for host in pairs(boundary.settings and boundary.settings.hosts or {}) do
			families.queue:with_labels(host):set((boundary.relay.waiting(host)));
			families.bounces:with_labels(host):add(0);
		end
		if not boundary.settings then return; end
		for _, session in ipairs(boundary.endpoint.sessions()) do
			local view = session.established and native.stream_view(session);
			local _, host = boundary.endpoint.pair(session);
			if view and boundary.settings.hosts[host] then families.streams:with_labels(host, view.direction, view.method):add(1); end
		end
	end

	module:hook_global("stats-update", update);
end

return new_inner_metrics;
