-- What the administrator reads in the log. One line for each refused and each established stream; refused stanzas at debug,
-- summed up at most once a minute a partner. Never a message body, never a status text.

local SUMMARY_INTERVAL = 60; -- seconds
local NAME_MAX = 253; -- bytes, as many as a domain can have

local NAMES_SHOWN = 4;
local NAME_SHOWN = 80; -- bytes

local method_names = { sasl = "SASL EXTERNAL"; tls_dialback = "TLS dialback"; tcp_dialback = "TCP dialback" };

local function cut(text)
	return #text > NAME_SHOWN and text:sub(1, NAME_SHOWN).."..." or text;
end

-- `side`: what stands before the word "stream", such as "inner "; nil for streams with other servers.
local function new_report(native, guard, side)
	local report = {};

	-- What has been decided, in the words of what comes of it.
	local function verb(done, plain)
		return guard and guard.observing == true and "Would "..plain or done;
	end

	-- What is reported has been decided and is about to be acted on: who wants to know of it hears before the line is written, and what goes
	-- wrong there stops nothing.
	local listeners = {}; -- name of a report -> list of functions

	function report.on(name, listener)
		table.insert(listeners[name], listener);
	end

	-- Makes report[name], which calls `say`, one that can be listened to.
	local function announced(name, say)
		local list = {};
		listeners[name] = list;
		report[name] = function (...)
			for _, listener in ipairs(list) do
				local ok, err = pcall(listener, ...);
				if not ok then module:log("error", "Could not count %s: %s", name, err); end
			end
			return say(...);
		end;
	end

	-- Core's own formatting looks at each argument, and costs more than the rest of the line.
	local function log_line(line)
		module:log("info", "%s", line);
	end

	-- A name as a peer gives it may hold line breaks and be as long as the peer likes.
	local function printable(name)
		if not name then return nil; end
		name = name:gsub("[%c ]", "?");
		return #name > NAME_MAX and name:sub(1, NAME_MAX).."..." or name;
	end

	local function names_of(session)
		local outgoing = session.direction == "outgoing";
		local remote = outgoing and session.to_host or session.from_host;
		local host = outgoing and session.from_host or session.to_host;
		return outgoing and "to" or "from", printable(remote) or "(unknown domain)", printable(host) or "(unknown host)";
	end

	-- What helps against this verdict, and no more: the report has it all. Texts of the peer are printable ASCII, but long.
	local detail_of = {};

	detail_of["identity-mismatch"] = function (certificate)
		local names = {};
		for i, name in ipairs(certificate.names) do
			if i > NAMES_SHOWN then break; end
			names[i] = ("%s %s"):format(name.type, cut(name.name or ""));
		end
		local more = certificate.name_count - #names;
		return #names == 0 and "it has no names (the common name does not count)"
			or "its names: "..table.concat(names, ", ")..(more > 0 and (" and %d more"):format(more) or "");
	end;

	function detail_of.untrusted(certificate)
		return "issued by "..cut(certificate.issuer or "nobody");
	end

	function detail_of.expired(certificate)
		return certificate.chain_not_after and "on "..os.date("!%Y-%m-%d", certificate.chain_not_after);
	end

	detail_of["not-yet-valid"] = function (certificate)
		return certificate.not_before and "its own first day is "..os.date("!%Y-%m-%d", certificate.not_before);
	end;

	function detail_of.revoked(certificate)
		return certificate.issuer and "issued by "..cut(certificate.issuer)..", serial "..(certificate.serial or "?");
	end

	detail_of["revocation-unknown"] = function (certificate)
		return certificate.uncovered_issuer and "the issuer is "..cut(certificate.uncovered_issuer);
	end;

	detail_of["pin-mismatch"] = function (certificate)
		return certificate.pin and "its own is "..certificate.pin;
	end;

	local function certificate_cause(view)
		local certificate = view and view.report;
		if not certificate or not certificate.cause then return ""; end
		local detail = detail_of[certificate.verdict];
		detail = detail and detail(certificate);
		return (": %s%s%s"):format(certificate.cause,
			certificate.depth and (" (certificate %d of the chain)"):format(certificate.depth) or "", detail and "; "..detail or "");
	end

	-- `quiet`: it is summed up with others.
	announced("stream_refused", function (session, reason, rule, quiet)
		if session.destroyed or quiet then return; end
		local preposition, remote, host = names_of(session);
		local view = native.stream_view(session);
		log_line(("%s %sstream %s %s (host %s%s%s): %s: %s%s"):format(verb("Refused", "refuse"), side or "", preposition, remote, host,
			session.ip and (", address "..session.ip) or "",
			view and view.certificate ~= "unknown" and (", certificate "..view.certificate) or "",
			reason, rule, reason:find("^certificate%-") and certificate_cause(view) or ""));
	end);

	-- `view`: see native.stream_view
	announced("stream_established", function (session, view)
		local preposition, remote, host = names_of(session);
		log_line(("Established %sstream %s %s (host %s, partner %s): %s, %s, certificate %s"):format(side or "", preposition, remote, host,
			view.partner or "?", method_names[view.method] or view.method, view.tls and (view.protocol or "TLS") or "no TLS",
			view.tls and view.certificate or "not asked for"));
	end);

	function report.element_refused(session, reason)
		local preposition, remote, host = names_of(session);
		module:log("debug", "%s a handshake element on the stream %s %s (host %s): %s", verb("Refused", "refuse"), preposition, remote, host, reason);
	end

	-- partner label -> direction -> reason -> count; bounded by the partner list, since strangers share one label
	local refused = {};

	local function summarise()
		local any = false;
		for label, directions in pairs(refused) do
			for direction, reasons in pairs(directions) do
				local parts = {};
				for reason, count in pairs(reasons) do
					parts[#parts+1] = ("%s %d"):format(reason, count);
				end
				table.sort(parts);
				module:log("info", "%s stanzas %s %s in the last minute: %s", verb("Refused", "refuse"),
					direction == "in" and "from" or "to", label, table.concat(parts, ", "));
			end
			refused[label] = nil;
			any = true;
		end
		return any;
	end

	local timer_runs = false;

	announced("stanza_refused", function (direction, label, remote, host, reason, rule)
		module:log("debug", "%s a stanza %s %s (host %s): %s: %s", verb("Refused", "refuse"), direction == "in" and "from" or "to",
			printable(remote) or "(unknown domain)", printable(host) or "(unknown host)", reason, rule);
		local directions = refused[label];
		if not directions then
			directions = {};
			refused[label] = directions;
		end
		local reasons = directions[direction];
		if not reasons then
			reasons = {};
			directions[direction] = reasons;
		end
		reasons[reason] = (reasons[reason] or 0) + 1;
		if not timer_runs then
			timer_runs = true;
			module:add_timer(SUMMARY_INTERVAL, function ()
				timer_runs = summarise();
				return timer_runs and SUMMARY_INTERVAL or nil;
			end);
		end
	end);

	function report.stanza_changed(preposition, remote, host, reason)
		module:log("debug", "%s a stanza %s %s (host %s): %s", verb("Changed", "change"), preposition, remote, host, reason);
	end

	announced("subscription_authorised", function (remote, host)
		report.stanza_changed("from", remote, host, "subscription-authorised");
	end);

	local function number_of(count, thing)
		return ("%d %s%s"):format(count, thing, count == 1 and "" or "s");
	end

	-- What there is to say about the configuration: issues from `first` to `last`. There may be hundreds, and each line is written to a file.
	function report.issues(state, first, last)
		for i = first, math.min(last, #state.issues) do
			local issue = state.issues[i];
			module:log(issue.severity == "error" and "error" or "warn", "%s", issue.message);
		end
	end

	-- The outcome of reading the configuration, and of judging the live streams again, if that has been done.
	announced("committed", function (state, running, judged)
		if state.applied then
			local live = judged and judged.count > 0 and ("; %s judged again in %.0f ms, %d of them %s"):format(
				number_of(judged.count, "live stream"), judged.seconds * 1000, #judged.found, verb("closed", "be closed"):lower()) or "";
			module:log("info", "Partner configuration applied: %s%s", number_of(state.partner_count, "partner"), live);
		elseif running then
			module:log("error", "The partner configuration has errors and was not applied; the one before stays in force until they are corrected");
		else
			module:log("error", "The partner configuration has errors and none was in force before: every stream with "
				.."another server %s refused until they are corrected (config-invalid)", verb("is", "be"):lower());
		end
	end);

	return report;
end

return new_report;
