-- partners:list, partners:show and partners:streams.

local layout = module:require "layout";
local search = module:require "partner_search";

local function new_list(context)
	local native = context.native;
	local guard, commit, live, metrics = context.guard, context.commit, context.live, context.metrics;
	local recent = metrics.recent;
	local commands = {};

	local function describe_streams(methods)
		local parts = {};
		for method, count in pairs(methods or {}) do
			parts[#parts + 1] = ("%d %s"):format(count, layout.method(method));
		end
		table.sort(parts);
		return #parts > 0 and table.concat(parts, ", ") or "none";
	end

	-- Warnings by the place of the entry they are about.
	local function warnings_by_place()
		local map = {};
		for _, issue in ipairs(commit.state.issues) do
			local place = issue.severity == "warning" and issue.path:match("^(.-%[%d+%])");
			if place then
				map[place] = map[place] or {};
				table.insert(map[place], issue.message);
			end
		end
		return map;
	end

	local columns = {
		{ title = "Partner"; min = 20 }; { title = "Type"; min = 17 }; { title = "tls/sasl/dialback"; min = 17 };
		{ title = "Methods"; min = 13 };
	};

	local function partners_of(policy, match)
		local list = policy:partners();
		if not match then return list; end
		local found = {};
		for _, partner in ipairs(list) do
			if match(partner) then found[#found + 1] = partner; end
		end
		return found;
	end

	local function print_partners(print, policy, counts, partners)
		local rows, notes = {}, {};
		local warnings = warnings_by_place();
		for i, partner in ipairs(partners) do
			rows[i] = { partner.name; partner.partner_type; layout.negotiation(partner); layout.methods(partner.methods) };
			local below = search.description(partner);
			if #partner.additional_domains > 0 then
				below[#below + 1] = { "  also "; table.concat(partner.additional_domains, ", ") };
			end
			local streams = counts[partner.name];
			if streams then
				below[#below + 1] = { "  "; ("streams in: %s; out: %s"):format(describe_streams(streams["in"]),
					describe_streams(streams.out)) };
			end
			for _, message in ipairs(warnings[partner.place] or {}) do
				below[#below + 1] = { "  warning: "; message };
			end
			notes[i] = below;
		end
		if #rows > 0 then
			layout.table(print, columns, rows, notes);
		end
		print("Domains not listed: "..policy:unlisted());
		return #rows;
	end

	local function no_host(host)
		return nil, ("%s is not a host of this server; give one of its hosts or nothing"):format(layout.plain(host, 80));
	end

	local function list(self, word)
		local print = self.session.print;
		local host, match;
		if type(word) == "string" and guard.hosts[word] then
			host = word;
		elseif word ~= nil then
			local good, problem = search.check(word);
			if not good then return nil, ("%s %s"):format(layout.plain(word, 80), problem); end
			match = search.matcher(native, word, recent.reason);
		end
		context.say_if_not_applied(print);
		local total = 0;
		for _, group in ipairs(context.policies(host)) do
			local partners = partners_of(group.policy, match);
			if not match or #partners > 0 then
				print("");
				layout.print(print, "Partners of ", table.concat(group.hosts, ", "));
				print("");
				total = total + print_partners(print, group.policy, live.counts(host), partners);
			end
		end
		if match and total == 0 then return nil, search.nothing(word); end
		return true, layout.count(total, "partner")..(match and " found" or "");
	end
	commands.list = { desc = "The partners: type, negotiation, methods, live streams, warnings; of one host, or those with a word in domains, "
		.."description, type or last refusal"; args = { { name = "host or word"; type = "string" } }; handler = list };

	--- show

	local function access_words(access)
		if not access then return "as the host"; end
		return ("default %q, %s named"):format(access.default, layout.count(access.users, "user"));
	end

	local type_meaning = {
		federated = "high trust: their users are trusted to be who they are";
		public_verified = "a public provider that verifies its users";
		public_unverified = "a public provider that does not: only listed contacts get through";
	};

	-- { setting, value, where it comes from }
	local function settings(partner)
		local place = partner.place;
		local function from(key, otherwise)
			return partner.given[key] and place or otherwise or "default";
		end
		local by_type = "default of "..partner.partner_type;
		local rows = {
			{ "partner_type"; partner.partner_type.." ("..type_meaning[partner.partner_type]..")"; place };
			{ "tls"; partner.tls; from("tls") };
			{ "sasl"; partner.sasl; from("sasl") };
			{ "dialback"; tostring(partner.dialback); from("dialback") };
			{ "methods"; layout.methods(partner.methods);
				#partner.methods < #partner.row_methods and "tls, sasl, dialback and Prosody's own options" or "tls, sasl, dialback" };
			{ "trust_anchors"; partner.trust_anchors or "what the host trusts"; partner.trust_anchors and place or "default" };
		};
		for _, pin in ipairs(partner.pinned_keys) do
			rows[#rows + 1] = { "pinned_keys"; pin; place };
		end
		if #partner.pinned_keys == 0 then
			rows[#rows + 1] = { "pinned_keys"; "none"; "default" };
		end
		for _, pattern in ipairs(partner.crls) do
			rows[#rows + 1] = { "crls"; pattern; place };
		end
		if partner.host_crls then
			rows[#rows + 1] = { "crls"; "those of the host"; "s2s_partners_crls" };
		elseif #partner.crls == 0 then
			rows[#rows + 1] = { "crls"; "none"; "default" };
		end
		rows[#rows + 1] = { "revocation"; partner.revocation; from("revocation") };
		for _, row in ipairs({
			{ "connection_limit"; tostring(partner.connection_limit); from("connection_limit", "s2s_partners_limits or its default") };
			{ "keepalive"; tostring(partner.keepalive); from("keepalive") };
			{ "proxy"; partner.proxy or "none, DNS is asked"; partner.proxy and place or "default" };
			{ "presence_authorization"; partner.presence_authorization; from("presence_authorization", by_type) };
			{ "group_chat"; partner.group_chat; from("group_chat", by_type) };
			{ "personal_events"; partner.personal_events; from("personal_events", by_type) };
			{ "external_access"; access_words(partner.external_access); from("external_access") };
		}) do
			rows[#rows + 1] = row;
		end
		return rows;
	end

	local stream_columns = {
		{ title = "Dir"; min = 3 }; { title = "Remote"; min = 16 }; { title = "Host"; min = 12 }; { title = "Method"; min = 12 };
		{ title = "TLS"; min = 7 }; { title = "Certificate"; min = 11 }; { title = "Address"; min = 9 };
	};

	-- Of streams with the server inside of a relay host.
	local inner_columns = { stream_columns[1]; { title = "Relay host"; min = 16 }; { title = "For"; min = 12 }; table.unpack(stream_columns, 4) };

	local function print_streams(print, views, columns_of)
		local rows = {};
		for i, view in ipairs(views) do
			rows[i] = {
				view.bidi and "in+out" or view.direction; view.remote or "(not known yet)"; view.local_host or "(not known yet)";
				view.stage == "established" and layout.method(view.method)
					or guard.observing == true and view.stage == "refused" and "(would refuse: "..view.reason..")" or "("..view.stage..")";
				view.tls_version or (view.tls and "yes" or "no"); view.tls and view.certificate or "-"; view.address or "-";
			};
		end
		layout.table(print, columns_of or stream_columns, rows);
	end

	local function print_certificate(print, report)
		local names = {};
		for i, name in ipairs(report.names or {}) do
			names[i] = ("%s:%s%s"):format(name.type or "other", name.name or "", name.finding == "match" and " (matches)" or "");
		end
		local function line(title, text)
			if text and text ~= "" then
				layout.print(print, ("  %-10s"):format(title), layout.plain(text));
			end
		end
		line("verdict", report.verdict..(report.cause and report.verdict ~= "valid" and ": "..report.cause or ""));
		line("subject", report.subject);
		line("issuer", report.issuer);
		line("serial", report.serial);
		line("names", #names > 0 and table.concat(names, ", ") or "none (subjectAltName is empty)");
		line("expires", report.not_after and layout.expiry(report.not_after));
		if report.chain_not_after and report.chain_not_after ~= report.not_after then
			line("chain", layout.expiry(report.chain_not_after));
		end
		if report.uncovered then
			line("revocation", ("not known: %s (certificate %d of the chain)"):format(report.uncovered, report.uncovered_depth or 1));
		end
		if report.pin then
			-- In one piece, to be copied.
			print("  pin       "..report.pin);
			for i = 2, #(report.pins or {}) do
				print("            "..report.pins[i].."  (of its chain)");
			end
		end
	end

	local function print_live(print, partner, hosts)
		local views = live.streams(function (view)
			return view.partner == partner.name and (not view.local_host or hosts[view.local_host]);
		end);
		print("");
		if #views == 0 then
			print("No live streams.");
		else
			print("Live streams");
			print_streams(print, views);
		end
		local seen = {};
		for _, view in ipairs(views) do
			local report = view.report;
			local key = report and (report.pin or report.verdict);
			if report and not seen[key] then
				seen[key] = true;
				print("");
				print("Certificate that "..(view.remote or "the peer").." presented");
				print_certificate(print, report);
			end
		end
		if not next(seen) then
			print("");
			layout.print(print, "", ("No certificate has been seen on a live stream; partners:test(\"%s\", \"%s\") fetches it.")
				:format(next(hosts) or "LOCAL", partner.name));
		end
	end

	local function recent_words(kept)
		local words = { kept.address or "address not known" };
		if kept.host then words[#words + 1] = "host "..kept.host; end
		if kept.remote then words[#words + 1] = kept.remote; end
		local text = ("%s, %s: "):format(os.date("!%Y-%m-%d %H:%M:%S UTC", math.floor(kept.time)), table.concat(words, ", "));
		text = text..(kept.reason and ("%s: %s"):format(kept.reason, kept.rule or "") or layout.method(kept.method));
		text = text..(kept.tls and ("; %s, certificate %s"):format(kept.tls, kept.certificate) or "; no TLS");
		if kept.before then text = text.."; it offered "..kept.before; end
		if kept.over then text = ("%s; over TLS %s"):format(text, kept.over); end
		return text;
	end

	local function print_recent(print, partner)
		print("");
		print("Last streams");
		for _, entry in ipairs(recent.of(partner.name)) do
			layout.print(print, ("  %-3s %-11s  "):format(entry.direction, entry.kind), entry.kept and layout.plain(recent_words(entry.kept), 1000) or "none");
		end
	end

	local function print_counters(print, partner, hosts)
		local rows = {};
		for _, entry in ipairs(metrics.totals(partner.name)) do
			if hosts[entry.host] then
				rows[#rows + 1] = { entry.host; entry.direction; entry.decision; entry.reason; ("%d"):format(entry.times) };
			end
		end
		print("");
		if #rows == 0 then
			print("Nothing has been decided about it since the server started.");
			return;
		end
		print("Decisions since the server started");
		layout.table(print, { { title = "Host"; min = 12 }; { title = "Dir" }; { title = "Decision" }; { title = "Reason"; min = 20 };
			{ title = "Times"; right = true } }, rows);
	end

	local function found_words(domain, partner)
		if partner.match == "default" then
			return ("%s is not listed; s2s_partners_default applies"):format(domain);
		elseif partner.match == "primary" then
			return ("%s, %s"):format(partner.name, partner.place);
		end
		return ("%s, %s: %s is covered by its additional_domains%s"):format(partner.name, partner.place, domain,
			partner.match == "wildcard" and " (a wildcard)" or "");
	end

	local function show(self, domain, host)
		local print = self.session.print;
		local name, fault = context.native.canonical_domain(type(domain) == "string" and domain or "");
		if not name then
			return nil, ("%q %s; give the partner's domain: partners:show(\"fabrikam.com\")"):format(layout.plain(domain, 80), fault);
		elseif host ~= nil and not (type(host) == "string" and guard.hosts[host]) then
			return no_host(host);
		end
		context.say_if_not_applied(print);
		local shown = 0;
		for _, group in ipairs(context.policies(host)) do
			local partner = group.policy:find(name);
			if partner then
				shown = shown + 1;
				local hosts = {};
				for _, each in ipairs(group.hosts) do hosts[each] = true; end
				print("");
				layout.print(print, "", found_words(name, partner));
				for _, line in ipairs(search.description(partner)) do layout.print(print, line[1], line[2]); end
				if #partner.additional_domains > 0 then
					layout.print(print, "  also ", table.concat(partner.additional_domains, ", "));
				end
				layout.print(print, "  hosts ", table.concat(group.hosts, ", "));
				print("");
				layout.table(print, { { title = "Setting"; min = 16 }; { title = "Value"; min = 24 }; { title = "From"; min = 16 } },
					settings(partner));
				for _, message in ipairs(warnings_by_place()[partner.place] or {}) do
					layout.print(print, "warning: ", message);
				end
				print_live(print, partner, hosts);
				if partner.match ~= "default" then print_recent(print, partner); end
				print_counters(print, partner, hosts);
			end
		end
		if shown == 0 then
			return nil, ("%s is not a partner: no entry covers it, and domains not listed are refused. Look at partners:list(), "
				.."or add it to s2s_partners and reload"):format(name);
		end
		return true, layout.count(shown, "policy", "policies").." with "..name;
	end
	commands.show = { desc = "All about one partner: settings and where they come from, streams, certificate, decisions";
		args = { { name = "domain"; type = "string" }; { name = "host"; type = "string" } }; handler = show };

	--- streams

	local function count_words(views)
		local established = 0;
		for _, view in ipairs(views) do
			if view.stage == "established" then established = established + 1; end
		end
		return ("%s, %d established"):format(layout.count(#views, "stream"), established);
	end

	-- The streams with the servers inside of relay hosts; nil where there is no relay host.
	local function inner_views()
		local boundary = context.boundary and context.boundary();
		if not boundary or not boundary.settings then return nil; end
		return live.streams(nil, function (visit)
			for _, session in ipairs(boundary.endpoint.sessions()) do visit(session); end
		end);
	end

	local function streams(self, side)
		local print = self.session.print;
		if side ~= nil and side ~= "outer" and side ~= "inner" then
			return nil, ("%s is no side; give \"outer\" (with partners), \"inner\" (with the servers inside of relay hosts), or nothing for both")
				:format(layout.plain(tostring(side), 40));
		end
		local outer, inner = side ~= "inner" and live.streams() or nil, side ~= "outer" and inner_views() or nil;
		if side == "inner" and not inner then return nil, "there is no relay host: see s2s_inside in docs/boundary.md"; end
		context.say_observing(print);
		if outer and inner then print("Streams with other servers"); end
		if outer and #outer > 0 then print_streams(print, outer); end
		if outer and inner then
			print("");
			print("Streams with the servers inside");
		end
		if inner and #inner > 0 then print_streams(print, inner, inner_columns); end
		local words = {};
		if outer then words[1] = count_words(outer); end
		if inner then words[#words + 1] = (outer and "inside " or "")..count_words(inner); end
		return true, table.concat(words, "; ");
	end
	commands.streams = { desc = "Live streams with partners: method, TLS, certificate; with relay hosts also those with the servers inside, or of one "
		.."side alone (\"outer\", \"inner\")"; args = { { name = "side"; type = "string" } }; handler = streams };

	return commands;
end

return new_list;
