-- Certificates nearing their end: our own, the anchors, and what partners show on their streams; revocation lists that are not renewed; and
-- pins that nobody shows any more. Each is warned about once a day. All that is kept is bounded by the partner list: strangers share one label.

local DAY = 86400; -- seconds
local AHEAD = 14 * DAY;
local REPEAT = DAY - 600; -- not after the day's check, or that would come too early every time
local STREAMS_AT_ONCE, STREAMS_PAUSE = 10, 0.02; -- seconds
local CRL_SHARE = 4; -- a list is due when less than this part of its time is left, and never before AHEAD
local PIN_AHEAD = 30 * DAY; -- the only pin is that of a certificate which ends so soon
local PIN_UNSEEN = 30 * DAY;
local PER_PARTNER = 8; -- certificates warned about by name a day

local function new_expiry(native, latch)
	local expiry = {
		-- Survives module:reload, else that would warn anew.
		state = {
			seen = {}; -- partner label -> when what it showed last expires
			-- what is warned about (file or label) -> certificate -> when that was done
			warned = { own = {}; anchors = {}; partners = {}; crls = {}; uncovered = {}; pins = {}; inner = {}; inner_own = {} };
			-- partner label -> { pins, at }: when one of them was last seen, or they were set. A restart begins anew: nothing of it is on disk.
			pins = {};
		};
	};
	local policies, trust = {}, { anchors = {}; hosts = {}; own = {} };
	local loaded = {}; -- own file -> when what the server has read from it expires: a newer one in the file is of no use yet

	local function date(time)
		return os.date("!%Y-%m-%d %H:%M UTC", time);
	end

	-- "expires in 5 days, on DATE", "has expired on DATE"
	local function describe(not_after, now)
		local left = not_after - now;
		if left <= 0 then
			return "has expired on "..date(not_after);
		end
		local number, unit = left // DAY, "day";
		if number == 0 then
			number, unit = left // 3600, "hour";
		end
		return ("expires in %d %s%s, on %s"):format(number, unit, number == 1 and "" or "s", date(not_after));
	end

	-- Whether it is time to say this about a subject: once a day, and not more than so much of each.
	local function once_a_day(kind, subject, certificate, now)
		local subjects = expiry.state.warned[kind];
		local warned = subjects[subject];
		if not warned then
			warned = {};
			subjects[subject] = warned;
		end
		local count = 0;
		for key, time in pairs(warned) do
			if now - time >= REPEAT or now < time then
				warned[key] = nil;
			else
				count = count + 1;
			end
		end
		if warned[certificate] or count >= PER_PARTNER then return false; end
		warned[certificate] = now;
		return true;
	end

	-- Whether it is time to warn about this certificate.
	local function due(kind, subject, certificate, not_after, now)
		if not not_after or not_after - now > AHEAD then return false; end
		return once_a_day(kind, subject, certificate, now);
	end

	-- For the inner side (inside/inner_expiry), whose subjects are relay hosts and files of the configuration.
	expiry.due, expiry.describe = due, describe;

	-- The end of what was presented: the first of its chain to expire, the anchor included.
	local function end_of(report)
		local first, own = report.chain_not_after, report.not_after;
		return first and own and math.min(first, own) or first or own;
	end

	-- What no current list covers goes on with revocation = "if_known"; that is said, and once for each issuer.
	local function say_uncovered(view, label, report, now)
		if not report.uncovered or not once_a_day("uncovered", label, report.uncovered_issuer or "", now) then return; end
		module:log("warn", "The certificate of %s (partner %s) goes on without an answer about its revocation: %s (certificate %d of the chain, "
			.."issued by %s)", view.remote or "?", label, report.uncovered, report.uncovered_depth or 1, report.uncovered_issuer or "?");
	end

	local function see_pins(view, label, report, now)
		local kept = expiry.state.pins[label];
		if not kept then return; end
		kept.at = now;
		if kept.pins[2] or kept.pins[1] ~= report.pin or not report.not_after or report.not_after - now > PIN_AHEAD
			or not once_a_day("pins", label, kept.pins[1], now) then return; end
		module:log("warn", "Only one key is pinned for partner %s, and it is that of the certificate of %s itself, which %s. If the partner changes "
			.."its key then, it is refused (certificate-pin-mismatch): pin its next key, or its authority's, as well", label, view.remote or "?",
			describe(report.not_after, now));
	end

	local function seen(view, now)
		local report = view and view.report;
		local not_after = report and end_of(report);
		if not not_after or view.certificate ~= "valid" then return; end
		local label = view.partner or "unlisted";
		expiry.state.seen[label] = not_after;
		say_uncovered(view, label, report, now);
		see_pins(view, label, report, now);
		if not due("partners", label, (report.serial or "").." "..(report.issuer or ""), not_after, now) then return; end
		local which = not_after == report.not_after and "" or " (a certificate above its own)";
		module:log("warn", "The certificate of %s (partner %s) %s%s; from then on it is refused (certificate-expired). "
			.."Issued by %s, serial %s", view.remote or "?", label, describe(not_after, now), which,
			report.issuer or "?", report.serial or "?");
	end

	local function read_chain(path)
		local file = io.open(path, "rb");
		local text = file and file:read(4 * 1024 * 1024);
		if file then file:close(); end
		local chain = {};
		for block in (text or ""):gmatch("%-%-%-%-%-BEGIN CERTIFICATE%-%-%-%-%-.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-") do
			chain[#chain+1] = block;
			if #chain == 20 then break; end
		end
		return chain;
	end

	-- { { host =, file =, report = judge_certificate's }... } for every local host, in order. What cannot be read is missing:
	-- Prosody itself says so.
	function expiry.own_certificates(now)
		local list = {};
		for host, files in pairs(trust.own) do
			for _, path in ipairs(files) do
				local chain = read_chain(path);
				if chain[1] and trust.hosts[host] then
					local report = native.judge_certificate(chain, trust.hosts[host], host, nil, now);
					list[#list+1] = { host = host; file = path; report = report };
				end
			end
		end
		table.sort(list, function (a, b)
			return a.host == b.host and a.file < b.file or a.host < b.host;
		end);
		return list;
	end

	local function check_own(now)
		local files = {}; -- hosts often share one
		for _, own in ipairs(expiry.own_certificates(now)) do
			local entry = files[own.file] or { hosts = {}; not_after = own.report.not_after };
			files[own.file] = entry;
			entry.hosts[#entry.hosts+1] = own.host;
		end
		for path, entry in pairs(files) do
			loaded[path] = loaded[path] or entry.not_after;
			local not_after = loaded[path];
			if due("own", path, tostring(not_after), not_after, now) then
				module:log("warn", "The certificate of this server in %s (for %s) %s; %s, or partners will refuse it",
					path, table.concat(entry.hosts, ", "), describe(not_after, now),
					entry.not_after > not_after and "a newer one is in the file already: reload" or "renew it and reload");
			end
		end
	end

	local function check_anchors(now)
		for path, store in pairs(trust.anchors) do
			local not_after = store:not_after();
			if due("anchors", path, tostring(not_after), not_after, now) then
				module:log("warn", "The last certificate of the trust_anchors %s %s; from then on every certificate of these partners "
					.."is refused (certificate-expired)", path, describe(not_after, now));
			end
		end
	end

	-- How long before its end a list is to be renewed: most are published anew long before.
	local function crl_ahead(entry)
		local span = entry.next_update - (entry.this_update or entry.next_update);
		return math.min(AHEAD, math.max(0, span // CRL_SHARE));
	end

	local crls_due; -- when the next list will be worth a warning; nil: none will

	local function check_crls(now)
		crls_due = nil;
		for path, entry in pairs(trust.crl_files or {}) do
			if entry and entry.next_update then
				local begins = entry.next_update - crl_ahead(entry);
				-- That it has ended is another thing to say than that it will.
				local ended = now >= entry.next_update;
				if now >= begins and once_a_day("crls", path, (ended and "ended " or "")..entry.next_update, now) then
					module:log("warn", "A revocation list in %s %s; %s", entry.name, describe(entry.next_update, now), ended
						and "it counts for nothing any more. Fetch a new one; until then certificates of its issuer are refused where revocation is "
						.."\"required\", and go on elsewhere" or "fetch a new one, or it counts for nothing from then on");
				end
				local next_time = now < begins and begins or not ended and entry.next_update or nil;
				if next_time and (not crls_due or next_time < crls_due) then crls_due = next_time; end
			end
		end
	end

	local function check_pins(now)
		for label, kept in pairs(expiry.state.pins) do
			if now - kept.at >= PIN_UNSEEN and once_a_day("pins", label, "unseen", now) then
				module:log("warn", "No key that is pinned for partner %s has been seen for %d days: ask the partner whether it still has one of them, "
					.."before its next stream is refused (certificate-pin-mismatch)", label, (now - kept.at) // DAY);
			end
		end
	end

	-- Pins that are new, or others than before, begin to count now.
	local function take_pins(now)
		local before, pins, asked = expiry.state.pins, {}, {};
		for _, policy in pairs(policies) do
			if not asked[policy] and native.pinned_partners then
				asked[policy] = true;
				for _, partner in ipairs(native.pinned_partners(policy)) do
					local old = before[partner.name];
					local same = old and table.concat(old.pins, " ") == table.concat(partner.pins, " ");
					pins[partner.name] = { pins = partner.pins; at = same and old.at or now };
				end
			end
		end
		expiry.state.pins = pins;
	end

	-- A warning that cannot be given is no reason to refuse anything.
	local function protect(action)
		return function (...)
			local ok, result = xpcall(action, debug.traceback, ...);
			if ok then return result; end
			module:log("error", "The expiry of certificates cannot be watched: %s", result);
		end
	end

	-- A few at a time, and the rest later: a view of a stream is a large table, and with thousands of them, and the collector at
	-- their heels, the server would stand still.
	local rest; -- the timer for them
	local function check_streams(now)
		local streams = latch.all_streams();
		local function check_some()
			for _ = 1, STREAMS_AT_ONCE do
				local session = table.remove(streams);
				if not session then return; end
				local view = native.stream_view(session);
				if view and view.stage == "established" then
					seen(view, now);
				end
			end
			return STREAMS_PAUSE;
		end
		if rest then rest:stop(); end
		rest = check_some() and module:add_timer(STREAMS_PAUSE, protect(check_some)) or nil;
	end

	local checked = os.time();

	local function check(now)
		checked = now;
		check_own(now);
		check_anchors(now);
		check_crls(now);
		check_pins(now);
		check_streams(now);
	end

	local function is_listed(label)
		if label == "unlisted" then return true; end
		for _, policy in pairs(policies) do
			if policy:label(label) == label then return true; end
		end
		return false;
	end

	local function forget(kept, still)
		for subject in pairs(kept) do
			if not still(subject) then kept[subject] = nil; end
		end
	end

	local function prune()
		local own = {};
		for _, files in pairs(trust.own) do
			for _, path in ipairs(files) do own[path] = true; end
		end
		local state = expiry.state;
		forget(state.seen, is_listed);
		for _, kind in ipairs({ "partners"; "uncovered"; "pins" }) do forget(state.warned[kind], is_listed); end
		forget(state.warned.crls, function (path) return trust.crl_files and trust.crl_files[path]; end);
		forget(state.warned.own, function (path) return own[path]; end);
		forget(state.warned.anchors, function (path) return trust.anchors[path]; end);
	end

	-- An established stream, as native.stream_view describes it.
	expiry.seen = protect(function (view, now)
		seen(view, now or os.time());
	end);

	-- All there is to warn about now.
	expiry.check = protect(function (now)
		check(now or os.time());
	end);

	-- A configuration is in force.
	expiry.committed = protect(function (new_policies, new_trust, now)
		policies, trust, loaded = new_policies, new_trust, {};
		prune();
		take_pins(now or os.time());
		check(now or os.time());
	end);

	-- Revocation lists have been read anew.
	expiry.crls_changed = protect(function (new_trust, now)
		trust = new_trust;
		check_crls(now or os.time());
	end);

	-- What module:reload has saved; another version may have known less.
	function expiry.restore(state)
		if state and state.seen and state.warned then
			for kind, empty in pairs(expiry.state.warned) do state.warned[kind] = state.warned[kind] or empty; end
			state.pins = state.pins or {};
			expiry.state = state;
		end
	end

	-- { [partner label] = seconds left of what it showed last, negative when that has expired }, for the metrics
	function expiry.snapshot(now)
		now = now or os.time();
		local left = {};
		for label, not_after in pairs(expiry.state.seen) do
			left[label] = not_after - now;
		end
		return left;
	end

	-- { [file as written] = seconds left until its first list is out of date, negative when it is }, for the metrics
	function expiry.crl_snapshot(now)
		now = now or os.time();
		local left = {};
		for _, entry in pairs(trust.crl_files or {}) do
			if entry and entry.next_update then left[entry.name] = entry.next_update - now; end
		end
		return left;
	end

	local tick_crls = protect(check_crls);

	-- To be called every few seconds: does the day's check when there has been none for a day, or the clock has been set. No timer of
	-- its own: Prosody moves time-outs among its timers with each message, and one more costs as much as the rest of this module.
	function expiry.tick(now)
		now = now or os.time();
		if crls_due and now >= crls_due then tick_crls(now); end
		if now - checked < DAY and now >= checked then return; end
		expiry.check(now);
	end

	-- Core lets the timers of a module that is gone run out, with all that they hold on to.
	function expiry.stop()
		if rest then rest:stop(); end
	end

	return expiry;
end

return new_expiry;
