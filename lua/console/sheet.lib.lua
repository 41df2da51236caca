-- partners:sheet: what to send to the administrator of a partner, to be copied. Nothing in it is of another partner, and no path of ours.

local promise = require "util.promise";

local layout = module:require "layout";
local host_certificate = module:require "host_certificate";
local readiness = module:require "readiness";
local service_lookup = module:require "service_lookup";
local pin = module:require "offline/pin";

local METHODS = {
	sasl = "SASL EXTERNAL over TLS: your server presents a certificate that names %s, in both directions";
	tls_dialback = "dialback (XEP-0220) over TLS";
	tcp_dialback = "dialback (XEP-0220) without TLS";
};
local TLS = { required = "required (STARTTLS, or direct TLS where SRV says so)"; optional = "taken where you offer it"; not_supported = "not used" };

local function new_sheet(context)
	local guard, native = context.guard, context.native;

	-- Lines of one of our hosts: where it is found, and what it shows.
	local function describe_host(print, host, found)
		local function put(title, text) layout.print(print, ("    %-13s "):format(title), text); end
		print("  "..host);
		for _, target in ipairs(found.targets or {}) do
			local lead = (target.direct or found.targets.srv) and ("_%s._tcp.%s leads to"):format(target.direct and "xmpps-server" or "xmpp-server", host)
				or "none, so";
			put(target.direct and "direct TLS" or "SRV", ("%s %s port %d"):format(lead, target.host, target.port));
		end
		if not found.targets then put("SRV", "not known: "..layout.plain(found.problem, 200)); end
		local text = host_certificate.text(host);
		local certificates = text and pin.find(native, text);
		local own = certificates and certificates[1];
		if not own then return put("certificate", "none"); end
		put("certificate", ("%s, issued by %s%s"):format(layout.plain(own.subject), layout.plain(own.issuer),
			own.not_after and ", expires "..layout.expiry(own.not_after) or ""));
		-- In one piece, to be copied.
		print("    pin           "..own.pin);
	end

	local function print_sheet(print, domain, partner, hosts, found)
		local ports, _, direct_ports = readiness.listening();
		print("");
		layout.print(print, "", ("Federation of %s with %s: for the administrator of %s"):format(table.concat(hosts, ", "), domain, domain));
		print("");
		print("Our domains, each of which your server has to list and let in");
		for _, host in ipairs(hosts) do describe_host(print, host, found[host]); end
		local listening = {};
		for port in pairs(ports) do listening[#listening + 1] = ("%d"):format(port); end
		for port in pairs(direct_ports) do listening[#listening + 1] = ("%d (direct TLS)"):format(port); end
		table.sort(listening);
		layout.print(print, "  our server listens on port ", #listening > 0 and table.concat(listening, ", ") or "(none)");
		print("");
		print("Your domains, as we have listed them");
		layout.print(print, "  ", table.concat({ partner.name; table.unpack(partner.additional_domains) }, ", "));
		print("");
		print("What we expect of your server");
		layout.print(print, "  TLS            ", TLS[partner.tls]);
		for i, method in ipairs(partner.methods) do
			layout.print(print, i == 1 and "  authentication " or "    or else      ", METHODS[method]:format(domain));
		end
		if partner.trust_anchors then
			layout.print(print, "  certificate    ", "of the authority that we have agreed upon, and of no other");
		elseif partner.tls ~= "not_supported" and partner.methods[1] == "sasl" then
			layout.print(print, "  certificate    ", "of an authority that is publicly trusted, or tell us yours");
		end
		for i, key in ipairs(partner.pinned_keys) do print((i == 1 and "  pinned key     " or "                 ")..key); end
		layout.print(print, "  streams        ", ("at most %d at a time, both directions together"):format(partner.connection_limit));
		if partner.proxy then layout.print(print, "  we connect to  ", partner.proxy..", not to what your SRV records say"); end
		layout.print(print, "  our answer     ", "who is refused is told why, with a word in brackets such as (tls-required): send us that word");
		print("");
	end

	local function handler(self, domain, host)
		local print = self.session.print;
		local name, fault = native.canonical_domain(type(domain) == "string" and domain or "");
		if not name then
			return nil, ("%q %s; give the partner's domain: partners:sheet(\"fabrikam.com\")"):format(layout.plain(domain, 80), fault);
		elseif host ~= nil and not (type(host) == "string" and guard.hosts[host]) then
			return nil, ("%s is not a host of this server; give one of its hosts or nothing"):format(layout.plain(host, 80));
		end
		local sheets, all = {}, {};
		for _, group in ipairs(context.policies(host)) do
			local partner = group.policy:find(name);
			if partner and partner.match ~= "default" and #partner.methods > 0 and not group.policy:out_of_reach() then
				sheets[#sheets + 1] = { partner = partner; hosts = group.hosts };
				for _, each in ipairs(group.hosts) do all[#all + 1] = each; end
			end
		end
		if #sheets == 0 then
			return nil, ("%s is not a partner%s: there is nothing to tell. Add an entry for it first"):format(name,
				host and " of "..host or "");
		end
		context.say_if_not_applied(print);
		return promise.new(function (resolve)
			local found = {};
			service_lookup.each(all, function (each, done, is_over)
				service_lookup.find(each, function (targets, problem)
					if is_over() then return; end
					found[each] = { targets = targets; problem = problem };
					done();
				end);
			end, function ()
				for _, sheet in ipairs(sheets) do
					for _, each in ipairs(sheet.hosts) do found[each] = found[each] or { problem = "no answer from DNS in time" }; end
					print_sheet(print, name, sheet.partner, sheet.hosts, found);
				end
				resolve(("to send to the administrator of %s"):format(name));
			end);
		end);
	end

	return { sheet = { desc = "What to send to a partner's administrator: our domains, SRV, port, certificate, pin, and what is expected";
		args = { { name = "domain"; type = "string" }; { name = "host"; type = "string" } }; handler = handler } };
end

return new_sheet;
