-- probe: what another server can do, seen from outside and without a running server, and the entry that fits.

local promise = require "util.promise";
local async = require "util.async";
local now = require "util.time".now;
local resolve_relative_path = require "util.paths".resolve_relative_path;

local layout = module:require "layout";
local service_lookup = module:require "service_lookup";
local tls_context = module:require "host_tls";
local peer = module:require "offline/peer";
local lua_text = module:require "import/lua_text";

local ENDPOINTS_MAX = 8;
local SECONDS_MAX = 90; -- for all of them
local NAMES_SHOWN = 10;

local quote = lua_text.quote;

--- Who we are

-- The TLS context we connect with, as mod_tls would have it, but that the certificate is judged afterwards; nil and what is wrong.
local function our_side(native, host, entry)
	local context, err, config = tls_context(host, "client", { verify = "none" });
	if not context then return nil, tostring(err); end
	local function resolve(path)
		return type(path) == "string" and resolve_relative_path(prosody.paths.config or ".", path) or nil;
	end
	local store, problem;
	if entry and entry.trust_anchors then
		store, problem = native.trust_store({ file = resolve(entry.trust_anchors) });
	else
		store, problem = native.trust_store({ cafile = resolve(config.cafile); capath = resolve(config.capath) });
	end
	if not store then return nil, problem; end
	return { context = context; store = store; has_certificate = type(config.certificate) == "string"; certificate = config.certificate };
end

--- Where the other server is

local function lookup(name, record_type)
	return async.wait_for(promise.new(function (resolve)
		service_lookup.lookup(name, record_type, function (answer, problem) resolve({ answer = answer; problem = problem }); end);
	end));
end

local function find_addresses(name)
	if name:match("^%[?[%x:]+:[%x:.]*%]?$") or name:match("^%d+%.%d+%.%d+%.%d+$") then return { (name:gsub("[%[%]]", "")) }; end
	local found = async.wait_for(promise.new(function (resolve)
		service_lookup.addresses(name, function (addresses, problem) resolve({ addresses = addresses; problem = problem }); end);
	end));
	return found.addresses, found.problem;
end

-- Endpoints { address, port, host, direct } in the order in which they would be tried, and lines about DNS.
local function find_endpoints(domain, entry, say)
	local targets = {};
	local function add_service(service, direct)
		local found = lookup(("_%s._tcp.%s"):format(service, domain), "SRV");
		local words = {};
		local list = {};
		for _, record in ipairs(found.answer or {}) do
			if record.srv and record.srv.target ~= "." then
				list[#list + 1] = { host = (record.srv.target:gsub("%.$", "")); port = record.srv.port; priority = record.srv.priority; direct = direct };
			end
		end
		table.sort(list, function (a, b) return a.priority < b.priority; end);
		for _, target in ipairs(list) do
			targets[#targets + 1] = target;
			if #words < 4 then words[#words + 1] = ("%s:%d"):format(layout.plain(target.host, 100), target.port); end
		end
		if #list > #words then words[#words + 1] = ("and %d more"):format(#list - #words); end
		say("DNS", ("_%s SRV: %s"):format(service, found.problem and "not known, "..found.problem or not found.answer and "none"
			or #list == 0 and "says that there is no such service" or table.concat(words, ", ")));
		return found.answer ~= nil, #list == 0 and found.answer ~= nil;
	end
	if entry and entry.proxy then
		targets[1] = { host = entry.proxy_host; port = entry.proxy_port };
		say("DNS", ("not asked for SRV: the entry at %s has proxy = %q"):format(entry.place, entry.proxy));
	else
		local has_plain, none = add_service("xmpp-server", false);
		local has_direct = add_service("xmpps-server", true);
		if not has_plain and not has_direct then
			targets[1] = { host = domain; port = 5269 };
			say("DNS", ("so %s:5269, by its address"):format(domain));
		elseif none and not has_direct then
			return {};
		end
	end
	local endpoints, left_out = {}, 0;
	for _, target in ipairs(targets) do
		if #endpoints >= ENDPOINTS_MAX then
			left_out = left_out + 1;
		else
			local addresses, problem = find_addresses(target.host);
			if #addresses == 0 then
				say("DNS", ("%s has no address%s"):format(layout.plain(target.host, 100), problem and " ("..layout.plain(problem, 100)..")" or ""));
			end
			for _, address in ipairs(addresses) do
				if #endpoints < ENDPOINTS_MAX then
					endpoints[#endpoints + 1] = { address = address; port = target.port; host = target.host; direct = target.direct };
				else
					left_out = left_out + 1;
				end
			end
		end
	end
	if left_out > 0 then say("DNS", ("%d more addresses are not tried"):format(left_out)); end
	return endpoints;
end

--- Which of the 18 fit

-- What Prosody's own options take away is not asked here: they can be changed, the other server cannot.
local UNHINDERED = { require_encryption = false; allow_encryption = true; secure_auth = false; secure_domains = {}; insecure_domains = {} };

-- What a row would do with this peer: judged by the code that judges streams. The method, or nil and the reason code.
local function try_row(native, domain, row, seen)
	local compiled = native.compile_table({ lists = { { place = "probe"; list = { { domain = domain; partner_type = "federated"; tls = row.tls;
		sasl = row.sasl; dialback = row.dialback } } } }; local_domains = {} });
	local policy = compiled and native.compile_policy({ table = compiled; options = UNHINDERED });
	if not policy then return nil, "config-invalid"; end
	local with_tls = row.tls ~= "not_supported" and (seen.offered or seen.direct);
	if seen.direct and not with_tls then return nil, "tls-not-supported"; end
	if with_tls and not seen.tls then return nil, "certificate-unknown"; end
	local dialback = seen.dialback_plain;
	if with_tls then dialback = seen.dialback_tls; end
	local result = native.simulate_stream(policy, { direction = "out"; domain = domain; starttls = (seen.offered or seen.direct) or false;
		starttls_required = seen.required or seen.direct or false; sasl = seen.external and seen.own ~= "refused" or false; dialback = dialback or false;
		certificate = seen.report and seen.report.verdict or "valid" });
	if result.verdict == "allow" then return result.method; end
	return nil, result.reason;
end

-- { row, number, method } of each valid row, `method` nil and `reason` where it does not fit all of what was seen.
local function judge_rows(native, domain, all_seen)
	local rows = {};
	for number, row in ipairs(native.negotiation_rows()) do
		if row.verdict ~= "error" then
			local judged = { row = row; number = number };
			for _, seen in ipairs(all_seen) do
				local method, reason = try_row(native, domain, row, seen);
				if not method then
					judged.method, judged.reason = nil, reason;
					break;
				end
				judged.method = judged.method or method;
			end
			rows[#rows + 1] = judged;
		end
	end
	return rows;
end

-- No warning before a warning, then what leaves the least besides the method that was seen, then the stricter, which is the order of the table.
local function choose(rows)
	local best, best_cost;
	for _, judged in ipairs(rows) do
		if judged.method then
			local cost = (judged.row.verdict == "warning" and 100 or 0) + #judged.row.methods;
			if not best or cost < best_cost then best, best_cost = judged, cost; end
		end
	end
	return best;
end

--- Words

local function names_words(report)
	local words = {};
	for i, name in ipairs(report.names or {}) do
		if i > NAMES_SHOWN then break; end
		words[i] = ("%s:%s%s"):format(name.type or "?", layout.plain(name.name, 80), name.finding == "match" and " (matches)" or "");
	end
	local more = (report.name_count or 0) - #words;
	if more > 0 then words[#words + 1] = ("and %d more"):format(more); end
	return #words > 0 and table.concat(words, ", ") or "none";
end

local function print_certificate(print, report)
	local function put(name, text) layout.print(print, ("  %-12s"):format(name), text); end
	print("Certificate");
	put("verdict", report.verdict..(report.verdict ~= "valid" and report.cause and ": "..report.cause or ""));
	if not report.subject and report.presented == 0 then return; end
	put("subject", report.subject or "none");
	put("issuer", report.issuer or "none");
	put("names", names_words(report));
	if report.not_after then put("expires", layout.expiry(report.not_after)); end
	put("chain", layout.count(report.presented or 0, "certificate").." presented");
	-- A pin is to be copied: one piece, one line.
	for i, pin in ipairs(report.pins or {}) do
		if i > NAMES_SHOWN then break; end
		print(("  %-12s%s%s"):format(i == 1 and "pin" or "", pin, i > 1 and "  (of its chain)" or ""));
	end
end

local function entry_lines(domain, chosen, seen)
	local row = chosen.row;
	local lines = {
		"{ domain = "..quote(domain)..";";
		"  -- who they are is yours to say: \"federated\" if it is a business partner";
		"  -- who vouches for its users";
		"  partner_type = \"public_unverified\";";
		("  tls = %s; sasl = %s; dialback = %s;"):format(quote(row.tls), quote(row.sasl), tostring(row.dialback));
	};
	if seen.report and seen.report.pin then
		lines[#lines + 1] = "  -- only after having compared it with them over another channel:";
		lines[#lines + 1] = ("  -- pinned_keys = { %s };"):format(quote(seen.report.pin));
	end
	lines[#lines + 1] = "};";
	return lines;
end

--[[
probe(native, print, domain, host, entry) -> true when one of the valid rows fits, false when none does; nil and what keeps it from
beginning. `entry` is the one that covers the domain in the configuration, or nil. Called in a runner: it waits.
]]
local function probe(native, print, domain, host, entry)
	local ours, problem = our_side(native, host, entry);
	if not ours then return nil, problem; end
	local function say(stage, text, seconds)
		layout.print(print, ("  %-16s %9s  "):format(stage, seconds and layout.duration(seconds) or ""), text);
		io.stdout:flush();
	end
	layout.print(print, "", ("Probing %s from %s (%s)"):format(domain, host, ours.has_certificate and "showing "..ours.certificate
		or "which has no certificate to show"));
	if entry then layout.print(print, "", ("It is listed: %s, %s."):format(entry.place, layout.negotiation(entry))); end
	local started = now();
	local endpoints = find_endpoints(domain, entry, say);
	local reached, best, pins = {}, nil, entry and entry.pinned_keys or {};
	for _, endpoint in ipairs(endpoints) do
		if now() - started > SECONDS_MAX then
			layout.print(print, "", "The other addresses are not tried: it has taken long enough.");
			break;
		end
		layout.print(print, "", ("%s port %d (%s%s)"):format(endpoint.address, endpoint.port, layout.plain(endpoint.host, 100),
			endpoint.direct and ", TLS from the first byte" or ""));
		local seen = async.wait_for(promise.new(function (resolve)
			peer.visit({
				address = endpoint.address; port = endpoint.port; direct = endpoint.direct; from = host; to = domain;
				context = ours.context; has_certificate = ours.has_certificate; say = say; peer_chain = native.peer_chain;
				judge = function (chain) return native.judge_certificate(chain, ours.store, domain, pins); end;
			}, resolve);
		end));
		seen.direct = endpoint.direct;
		if seen.failed then say(seen.failed, "failed: "..(seen.why or "no reason is given")); end
		if seen.opened or seen.tls then
			reached[#reached + 1] = seen;
			if not best or seen.report and not best.report then best = seen; end
		end
	end
	print("");
	if #endpoints == 0 then
		layout.print(print, "", ("%s cannot be found: ask for its SRV record, or set proxy = \"HOST:5269\" in its entry."):format(domain));
		return false;
	elseif #reached == 0 then
		layout.print(print, "", ("No address of %s answers as an XMPP server for it: no combination of tls, sasl and dialback can work."):format(domain));
		return false;
	end
	if best.report then print_certificate(print, best.report); end
	if best.own == "refused" then
		layout.print(print, "", ("Our own certificate is refused (%s): they do not trust its authority, or it does not name %s.")
			:format(best.own_text, host));
	end

	-- A server is one where it listens in plain and with TLS at once: the first is where streams go that are told nothing else.
	local plain = {};
	for _, seen in ipairs(reached) do
		if not seen.direct then plain[#plain + 1] = seen; end
	end
	local judged_of = #plain > 0 and plain or reached;
	local rows = judge_rows(native, domain, judged_of);
	local lines = {};
	for i, judged in ipairs(rows) do
		lines[i] = { tostring(judged.number); judged.row.tls; judged.row.sasl; judged.row.dialback and "true" or "false";
			judged.method and layout.method(judged.method) or "no: "..tostring(judged.reason) };
	end
	print("");
	print("Which of the valid combinations fit what was seen, and the method they end in");
	layout.table(print, { { title = "Row"; right = true }; { title = "tls"; min = 13 }; { title = "sasl"; min = 13 }; { title = "dialback" };
		{ title = "Fits"; min = 20 } }, lines);
	print("");
	local chosen = choose(rows);
	if not chosen then
		layout.print(print, "", "None fits. "..(best.report and best.report.verdict ~= "valid" and best.external
			and "It offers SASL EXTERNAL: with its authority in trust_anchors its certificate could be used."
			or "The other server has to offer more."));
		return false;
	end
	layout.print(print, "", ("Row %d is the one to choose; streams are then authenticated by %s."):format(chosen.number, layout.method(chosen.method)));
	if chosen.method == "tcp_dialback" then
		layout.print(print, "", "Nothing is encrypted. s2s_require_encryption = false is needed as well: otherwise Prosody lets no stream "
			.."without TLS pass.");
	end
	if chosen.method ~= "sasl" then
		layout.print(print, "", "Dialback needs the module \"dialback\", and that they can reach this server.");
		if best.external and best.report and best.report.verdict ~= "valid" then
			layout.print(print, "", "It offers SASL EXTERNAL as well: with its authority in trust_anchors, sasl = \"required\" may do.");
		end
	end
	layout.print(print, "", "Only streams that this server opens can be seen from here; what they demand of those they open may be more.");
	print("");
	for _, line in ipairs(entry_lines(domain, chosen, best)) do print(line); end
	return true;
end

return { probe = probe; judge_rows = judge_rows; choose = choose };
