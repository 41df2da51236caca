-- What partners:check says of relay hosts: the certificate that is shown inside, and the server inside as a stream in a partner's name finds it.

local layout = module:require "layout";
local service_lookup = module:require "service_lookup";
local inner_leg = module:require "console/inner_leg";
local bounded_file = module:require "bounded_file";

local jid = require "util.jid";
local pton = require "util.net".pton;

local HOSTS_MAX = 50; -- relay hosts looked at
local PARTNERS_MAX = 5; -- in whose names each of them is looked at
local STREAM_SECONDS = 8; -- a stream of a look; service_lookup.each bounds all of them together
local NAMES_MAX, NAMES_TOLD = 500, 5; -- domains looked for in certificates; told of those that one lacks
local SERVICES_MAX, ITEMS_MAX = 20, 200; -- of a server inside; of the items of its answer
local FILE_SIZE_MAX = 1024 * 1024;
local EXPIRY_WARNING = 14 * 86400; -- seconds

local stage_words = {
	TCP = "cannot be reached"; stream = "gives no stream for other servers"; TLS = "offers no TLS, or its handshake failed";
	certificate = "shows a certificate that does not do"; key = "has not asked here about the key of %s"; method = "does not take this server for %s";
	["round trip"] = "gives %s no answer";
};

local function new_inner_check(context)
	local guard, native = context.guard, context.native;

	local function has(list, item)
		for _, other in ipairs(list) do
			if other == item then return true; end
		end
		return false;
	end

	-- The partners of a policy, made once: there may be many.
	local function new_partners()
		local made = {};
		return function (policy)
			if not policy then return {}; end
			made[policy] = made[policy] or policy:partners();
			return made[policy];
		end;
	end

	--- The certificate that is shown inside

	-- Which partners' domains it does not name; how many were looked for.
	local function missing_names(text, partners, budget)
		local missing, looked_for = {}, 0;
		for _, partner in ipairs(partners) do
			for _, domain in ipairs({ partner.name; table.unpack(partner.additional_domains) }) do
				if budget.left == 0 then return missing, looked_for, true; end
				budget.left, looked_for = budget.left - 1, looked_for + 1;
				local own = native.own_certificate(text, (domain:gsub("^%*", "any")));
				if own and not own.names_domain then missing[#missing + 1] = domain; end
			end
		end
		return missing, looked_for, false;
	end

	local function judge_validity(host, path, own, say)
		local now, left = os.time(), layout.expiry(own.not_after);
		if own.not_after <= now then
			say("warning", ("%s: %s, which is shown inside, has expired: %s; renew it"):format(host, path, left));
		elseif own.not_after - now < EXPIRY_WARNING then
			say("warning", ("%s: %s, which is shown inside, expires soon: %s; renew it"):format(host, path, left));
		else
			say("ok", ("%s: %s is shown inside, %s %d, expires %s"):format(host, path, own.key_type, own.key_bits, left));
		end
	end

	local function judge_own(host, found, partners, budget, say)
		local path = found.tls and found.tls.certificate;
		if not path then return; end
		local text, problem = bounded_file(path, FILE_SIZE_MAX, "is too large for a certificate");
		local own;
		if text then own, problem = native.own_certificate(text, host); end
		if not own then return say("warning", ("%s: %s, which is shown inside, %s"):format(host, path, problem)); end
		-- The host's own has been looked at as that.
		if not has(guard.trust.own[host] or {}, path) then judge_validity(host, path, own, say); end
		if not has(found.view.methods, "sasl") then return; end
		local missing, looked_for, cut = missing_names(text, partners, budget);
		if cut and looked_for == 0 then
			return say("note", ("%s: whether %s names its partners has not been looked at: %d domains of all relay hosts are"):format(host, path, NAMES_MAX));
		end
		local all = ("%s %s"):format(cut and "the first" or "all", layout.count(looked_for, "partner domain"));
		if #missing == 0 then
			if looked_for > 0 then say("ok", ("%s: %s names %s"):format(host, path, all)); end
			return;
		end
		-- Where nothing but the certificate counts inside, that is a warning of the configuration already.
		say("note", ("%s: %s does not name %s%s: %s"):format(host, path, table.concat(missing, ", ", 1, math.min(#missing, NAMES_TOLD)),
			#missing > NAMES_TOLD and (" and %d more"):format(#missing - NAMES_TOLD) or "",
			#found.view.methods > 1 and "only dialback is left inside for them"
				or "the server inside refuses this one there; have one made whose subjectAltName has them"));
	end

	--- The server inside

	-- The services that it tells of, against the relay hosts there are.
	local function judge_services(host, answer, relays, say)
		local query = answer.attr.type == "result" and answer:get_child("query", "http://jabber.org/protocol/disco#items");
		if not query then
			return say("note", ("%s: the server inside does not tell of its services; whether its rooms have a relay host is not known"):format(host));
		end
		local bare, relayed, seen, count, items = {}, {}, {}, 0, 0;
		for item in query:childtags("item") do
			items = items + 1;
			if items > ITEMS_MAX then break; end
			local address = jid.prep(item.attr.jid);
			local service = address and not jid.node(address) and jid.host(address);
			if service and service ~= host and not seen[service] and native.canonical_domain(service) then
				if count == SERVICES_MAX then break; end
				seen[service], count = true, count + 1;
				table.insert(relays[service] and relayed or bare, service);
			end
		end
		if #bare > 0 then
			table.sort(bare);
			say("warning", ("%s: %s of the server inside and no relay host: partners do not reach %s; write Component %q \"s2s_inside\" with an "
				.."s2s_inside, if it is for them"):format(host, table.concat(bare, ", ")..(#bare == 1 and " is a service" or " are services"),
				#bare == 1 and "it" or "them", bare[1]));
		end
		if #relayed > 0 then
			table.sort(relayed);
			say("ok", ("%s: services of the server inside that have a relay host: %s"):format(host, table.concat(relayed, ", ")));
		end
	end

	-- Its certificate, where SASL EXTERNAL may be used.
	local function judge_theirs(host, view, methods, say)
		local report = view.report;
		if not view.tls or not has(methods, "sasl") or view.certificate == "unknown" then return; end
		if view.certificate ~= "valid" then
			return say("warning", ("%s: the certificate of the server inside is %s%s: SASL EXTERNAL is not used, only dialback; have it show one for "
				.."%s of the authority in trust_anchors of s2s_inside"):format(host, view.certificate,
				report and report.cause and " ("..report.cause..")" or "", host));
		end
		local not_after = report and report.not_after;
		if not_after and not_after - os.time() < EXPIRY_WARNING then
			say("warning", ("%s: the certificate of the server inside expires soon: %s; have it renewed"):format(host, layout.expiry(not_after)));
		end
	end

	local function failure_words(item, domain, outcome)
		local words = ("%s: the server inside, %s, %s: %s"):format(item.host, item.settings.server, stage_words[outcome.failed]:format(domain),
			layout.plain(outcome.why, 200));
		if outcome.reply_refused then words = words.."; its own stream was refused: "..layout.plain(outcome.reply_refused, 200); end
		return words.."; "..inner_leg.remedy(context.boundary(), outcome.failed, item.host, domain);
	end

	local function success_words(item, domain, outcome)
		local view = outcome.view;
		local certificate = view.certificate == "unknown" and "its certificate does not count for that" or "certificate "..view.certificate;
		return ("%s: the server inside, %s, takes this one for %s: %s, %s%s"):format(item.host, item.settings.server, domain, layout.method(view.method),
			view.tls and ("%s, %s"):format(view.protocol or "TLS", certificate) or "no TLS", outcome.asked_from and "; it asks here about keys" or "");
	end

	-- Looks in the name of one partner after the other. Once it fails before the partner counts, it would for each of them.
	local function look_at(item, done, is_over)
		local boundary, names = context.boundary(), {};
		for i = 1, math.min(#item.partners, PARTNERS_MAX) do names[i] = item.partners[i].name; end
		if #names == 0 then
			item.say("note", ("%s: no partner is listed, so there is nobody in whose name the server inside could be asked"):format(item.host));
			return done();
		end
		local is_users = guard.hosts[item.host] and guard.hosts[item.host].type == "local";
		local taken = 0;
		local function look(number)
			local domain = names[number];
			if not domain or is_over() or not boundary.settings then
				if taken > 0 and #item.partners > #names then
					item.say("note", ("%s: looked at for %d of %d partners; partners:test(\"PARTNER\", %q) looks at one"):format(item.host, #names, #item.partners,
						item.host));
				end
				return done();
			end
			-- The first one shows whether it answers at all.
			local payload = number == 1 and (is_users and inner_leg.services() or inner_leg.ping()) or nil;
			inner_leg.look(native, boundary, { relay = item.host; domain = domain; view = item.settings.view; seconds = STREAM_SECONDS; payload = payload },
				function () end, function (outcome)
					if is_over() then return; end
					local stands = not outcome.failed or outcome.failed == "round trip";
					if stands then
						taken = taken + 1;
						item.say("ok", success_words(item, domain, outcome));
						if number == 1 then judge_theirs(item.host, outcome.view, item.settings.view.methods, item.say); end
					end
					if outcome.failed then item.say("warning", failure_words(item, domain, outcome)); end
					if outcome.answer and is_users then judge_services(item.host, outcome.answer, item.relays, item.say); end
					if not stands and outcome.failed ~= "key" and outcome.failed ~= "method" then return done(); end
					look(number + 1);
				end);
		end
		look(1);
	end

	-- What cannot be looked at by a stream, as it is not in force: its address at least.
	local function look_up(item, done)
		local function find(name, found)
			if pton(name) then return found({ name }); end
			service_lookup.addresses(name, found);
		end
		find(item.settings.server_host, function (addresses, problem)
			if #addresses == 0 then
				item.say("warning", ("%s: the server inside, %s, has no address%s; %s"):format(item.host, layout.plain(item.settings.server, 100),
					problem and " ("..problem..")" or "", inner_leg.remedy(context.boundary() or {}, "DNS", item.host, "")));
			else
				item.say("note", ("%s: the server inside is to be %s, which is not in force yet: it is looked at after partners:commit()"):format(item.host,
					layout.plain(item.settings.server, 100)));
			end
			done();
		end);
	end

	local function is_elsewhere(one, other)
		return one.server_host ~= other.server_host or one.server_port ~= other.server_port;
	end

	--[[
	`result`: of disk.try, nil with any error. say(grade, text). done(), when all has been said.
	]]
	return function (result, print, say, done)
		local boundary = context.boundary and context.boundary();
		local running = boundary and boundary.settings and boundary.settings.hosts or {};
		local on_disk = result and (result.inside and result.inside.hosts or {}) or running;
		local names, seen = {}, {};
		for _, list in ipairs({ running; on_disk }) do
			for host in pairs(list) do
				if not seen[host] then names[#names + 1] = host; end
				seen[host] = true;
			end
		end
		if #names == 0 then return done(); end
		table.sort(names);
		local partners_of = new_partners();
		local function policy_of(host)
			return result and result.policies[host] or guard.policies[host];
		end

		local budget, any = { left = NAMES_MAX }, false;
		local function say_of_own(grade, text)
			if not any then
				print("");
				print("Certificates shown to the servers inside");
			end
			any = true;
			say(grade, text);
		end
		for _, host in ipairs(names) do
			if on_disk[host] then judge_own(host, on_disk[host], partners_of(policy_of(host)), budget, say_of_own); end
		end

		local items, found = {}, {};
		for i, host in ipairs(names) do
			if i > HOSTS_MAX then break; end
			local item = { host = host; relays = on_disk; partners = partners_of(policy_of(host)); settings = running[host] or on_disk[host] };
			function item.say(grade, text) table.insert(found[host], { grade = grade; text = text }); end
			found[host], items[i] = {}, item;
			if running[host] and not on_disk[host] then
				item.say("note", host.." is no relay host on disk any more");
			elseif running[host] and is_elsewhere(running[host], on_disk[host]) then
				item.say("note", ("%s: on disk its server is %s; here the one in force is looked at"):format(host, layout.plain(on_disk[host].server, 100)));
			end
		end
		print("");
		print(("Looking at the servers inside of %s ..."):format(layout.count(#items, "relay host")));
		service_lookup.each(items, function (item, job_done, is_over)
			if running[item.host] and not is_over() then return look_at(item, job_done, is_over); end
			look_up(item, job_done);
		end, function (unfinished)
			print("");
			print("Servers inside");
			for _, text in ipairs(next(running) and boundary.closed_ports() or {}) do say("warning", text); end
			for _, item in ipairs(items) do
				for _, one in ipairs(found[item.host]) do say(one.grade, one.text); end
			end
			if unfinished > 0 then say("warning", ("%s not looked at to the end in time"):format(layout.count(unfinished, "relay host"))); end
			if #names > #items then say("note", ("%d more relay hosts are not looked at"):format(#names - #items)); end
			done();
		end);
	end;
end

return new_inner_check;
