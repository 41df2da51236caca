-- Certificates of the inner side nearing their end, as lua/expiry has it of the outer one: what this server shows inside, and what the servers inside
-- show. Each is warned about once a day. Nobody's metric: there is a line in the log, and partners:check().

local bounded_file = module:require "bounded_file";

local DAY = 86400; -- seconds
local FILE_SIZE_MAX = 1024 * 1024;

-- `with`: native, expiry (of the outer side), own_files(host) (list of those that the outer side warns about)
local function new_inner_expiry(with)
	local native, expiry = with.native, with.expiry;
	local watch = {};
	local shown = {}; -- file -> { not_after, hosts }: as it was when the settings came into force, which is what is shown until the next ones
	local checked;

	local function check(now)
		checked = now;
		for path, entry in pairs(shown) do
			if expiry.due("inner_own", path, tostring(entry.not_after), entry.not_after, now) then
				module:log("warn", "The certificate of this server in %s, which is shown inside (for %s), %s; renew it and reload, or the servers inside "
					.."will refuse it", path, table.concat(entry.hosts, ", "), expiry.describe(entry.not_after, now));
			end
		end
	end

	local function contains(list, item)
		for _, other in ipairs(list) do
			if other == item then return true; end
		end
		return false;
	end

	-- `settings`: see boundary.apply
	function watch.committed(settings, now)
		shown = {};
		local hosts = settings and settings.hosts or {};
		for host, found in pairs(hosts) do
			local path = found.tls and found.tls.certificate;
			if path and not contains(with.own_files(host), path) then
				local entry = shown[path] or { hosts = {} };
				local text = not entry.not_after and bounded_file(path, FILE_SIZE_MAX, "");
				local own = text and native.own_certificate(text, host);
				entry.not_after = entry.not_after or own and own.not_after;
				table.insert(entry.hosts, host);
				table.sort(entry.hosts);
				shown[path] = entry.not_after and entry or nil;
			end
		end
		-- What is warned about is the configuration's, and goes with it.
		for kind, still in pairs({ inner = hosts; inner_own = shown }) do
			for subject in pairs(expiry.state.warned[kind]) do
				if not still[subject] then expiry.state.warned[kind][subject] = nil; end
			end
		end
		check(now or os.time());
	end

	-- An established inner stream, as native.stream_view describes it. What is not valid is not used, so its end changes nothing.
	function watch.seen(view, now)
		local report, relay = view and view.report, view and view.remote;
		now = now or os.time();
		if not report or not relay or view.certificate ~= "valid" or not report.not_after then return; end
		local not_after = math.min(report.not_after, report.chain_not_after or report.not_after);
		if not expiry.due("inner", relay, (report.serial or "").." "..(report.issuer or ""), not_after, now) then return; end
		module:log("warn", "The certificate that the server inside shows for %s %s; from then on it counts for nothing here (certificate-expired). "
			.."Issued by %s, serial %s", relay, expiry.describe(not_after, now), report.issuer or "?", report.serial or "?");
	end

	-- Every few seconds: looks once a day, at one stream of each relay host.
	function watch.tick(endpoint, now)
		now = now or os.time();
		if checked and now >= checked and now - checked < DAY then return; end
		check(now);
		local one_of = {};
		for _, session in ipairs(endpoint.sessions()) do
			local _, relay = endpoint.pair(session);
			if session.established and relay then one_of[relay] = session; end
		end
		for _, session in pairs(one_of) do watch.seen(native.stream_view(session), now); end
	end

	return watch;
end

return new_inner_expiry;
