-- The edge's own readiness: certificates of our hosts, and what DNS says of them and of the partners.

local layout = module:require "layout";

local configmanager = require "core.configmanager";
local create_context = require "core.certmanager".create_context;
local timer = require "util.timer";
local net = require "util.net";
local local_addresses, pton = net.local_addresses, net.pton;

local LOOKUP_SECONDS = 5;   -- for one name
local TOTAL_SECONDS = 30;   -- for all of them
local PARALLEL = 16;
local EXPIRY_WARNING = 14 * 86400; -- what renews itself has done so by then
local FILE_SIZE_MAX = 1024 * 1024;

local readiness = {};

--- Certificates

-- The file that mod_tls would present for the host, and where the authorities are that the host trusts; nil and why there is none.
local function certificate_file(host)
	local parent = host:match("%.(.*)$");
	local function get(section, option)
		return section and configmanager.rawget(section, option);
	end
	local host_ssl = get(host, "ssl") or get(parent, "ssl") or {};
	local host_s2s = get(host, "s2s_ssl") or get(parent, "s2s_ssl") or {};
	local context, err, config = create_context(host, "server", host_s2s, host_ssl, get("*", "s2s_ssl") or {});
	if not config then
		return nil, tostring(err);
	elseif type(config.certificate) ~= "string" then
		return nil, "no certificate is configured";
	elseif not context then
		return nil, ("%s cannot be used: %s"):format(config.certificate, tostring(err));
	end
	return config.certificate, config;
end

local function read_file(path)
	local file, err = io.open(path, "rb");
	if not file then return nil, err; end
	local text = file:read(FILE_SIZE_MAX + 1);
	file:close();
	if not text then return nil, path.." cannot be read"; end
	if #text > FILE_SIZE_MAX then return nil, path.." is too large for a certificate"; end
	return text;
end

-- The text of the file that mod_tls would present for the host; nil and why there is none.
function readiness.certificate_text(host)
	local path, problem = certificate_file(host);
	if not path then return nil, problem; end
	return read_file(path);
end

-- What there is to say of a finding of native.own_chain: text; and whether it is only worth knowing.
local chain_words = {};

chain_words["missing-issuer"] = function (found)
	return ("certificate %d (%s) is the last, and its issuer %s is neither in the file nor an authority that this server trusts: partners "
		.."cannot follow the chain; put the certificate of that issuer behind it%s"):format(found.certificate, found.subject, found.issuer,
		found.source ~= "" and (", it is to be had from %s"):format(found.source) or " (full chain)");
end;

chain_words["unknown-authority"] = function (found)
	return ("the chain ends at %s, an authority that this server does not trust; only partners that have it among their own anchors will "
		.."accept it"):format(found.subject);
end;

chain_words["self-signed"] = function ()
	return "is self-signed; only partners that have it among their own anchors will accept it";
end;

chain_words["wrong-order"] = function (found)
	return ("certificate %d (%s) has not issued the one before it; some partners cannot follow such a chain: put each certificate behind the one "
		.."that it has issued"):format(found.certificate, found.subject);
end;

function chain_words.stranger(found)
	return ("certificate %d (%s) is in no chain from the first one; remove it"):format(found.certificate, found.subject);
end

chain_words["key-usage"] = function ()
	return "may not be used for signatures (key usage); partners refuse it: get one whose key usage has digitalSignature, or none";
end;

chain_words["not-for-servers"] = function ()
	return "is not for servers (extended key usage); many partners refuse it: get one that has serverAuth";
end;

chain_words["servers-only"] = function ()
	return "is for servers only (extended key usage serverAuth), as public authorities issue them now; a partner that asks for clientAuth on the "
		.."streams that this server opens will not take it for SASL EXTERNAL", true;
end;

function chain_words.expired(found)
	if found.certificate == 0 then return "the authority that the chain ends at has expired; get a certificate of a newer one"; end
	return ("certificate %d (%s) has expired on %s; put the issuer's new one in its place"):format(found.certificate, found.subject,
		layout.date(found.not_after));
end

chain_words["not-yet-valid"] = function (found)
	return ("certificate %d (%s) is valid only from %s"):format(found.certificate, found.subject, layout.date(found.not_before));
end;

function chain_words.other(found, chain)
	return ("partners refuse it: %s%s"):format(chain.cause, found.certificate > 0
		and (" (certificate %d, %s)"):format(found.certificate, found.subject) or "");
end

-- The whole chain, as a partner would see it that trusts what this host does.
local function judge_chain(native, host, path, text, config, now, warn, note)
	local store = native.trust_store({ cafile = type(config.cafile) == "string" and config.cafile or nil;
		capath = type(config.capath) == "string" and config.capath or nil });
	if not store then return; end -- an error of the configuration
	local chain, problem = native.own_chain(text, host, store, now);
	if not chain then return warn("%s %s", path, problem); end
	for _, found in ipairs(chain.findings) do
		local words, only_to_know = chain_words[found.fault](found, chain);
		if found.certificate ~= 1 or words:find("^certificate") then words = ": "..words; else words = " "..words; end
		(only_to_know and note or warn)("%s%s", path, words);
	end
end

-- { grade = "ok", "note" or "warning", text } for each thing there is to say of the host's own certificate
function readiness.certificate(native, host, now)
	local path, config = certificate_file(host);
	local problem = config;
	if not path then
		return { { grade = "warning"; text = problem.."; partners that require TLS or SASL cannot be reached" } };
	end
	local text, own;
	text, problem = read_file(path);
	if text then
		own, problem = native.own_certificate(text, host);
		if not own then problem = path.." "..problem; end
	end
	if not own then
		return { { grade = "warning"; text = problem } };
	end
	local found, notes = {}, {};
	local function warn(...)
		found[#found + 1] = { grade = "warning"; text = (...):format(select(2, ...)) };
	end
	now = now or os.time();
	if not own.names_domain then
		warn("%s does not name %s (it names %s); get one whose subjectAltName has the domain", path, host,
			own.names ~= "" and own.names or "nothing: a common name does not count");
	end
	if not own.key_strong then
		warn("%s has a %s key of %d bits; at least RSA 2048 or EC 256 is needed", path, own.key_type, own.key_bits);
	end
	if own.not_after <= now then
		warn("%s has expired: %s; renew it", path, layout.expiry(own.not_after, now));
	elseif own.not_after - now < EXPIRY_WARNING then
		warn("%s expires soon: %s; renew it", path, layout.expiry(own.not_after, now));
	elseif own.not_before > now then
		warn("%s is valid only from %s", path, layout.date(own.not_before));
	end
	judge_chain(native, host, path, text, config, now, warn, function (...)
		notes[#notes + 1] = { grade = "note"; text = (...):format(select(2, ...)) };
	end);
	if #found == 0 then
		found[1] = { grade = "ok"; text = ("names %s, %s %d, expires %s"):format(host, own.key_type, own.key_bits,
			layout.expiry(own.not_after, now)) };
	end
	table.move(notes, 1, #notes, #found + 1, found);
	return found;
end

--- DNS

-- done(answer, problem): the records, nil when there are none; problem is a text when it is not known.
local function lookup(name, record_type, done)
	local settled = false;
	local function settle(answer, problem)
		if settled then return; end
		settled = true;
		done(answer, problem);
	end
	local adns = require "net.adns";
	timer.add_task(LOOKUP_SECONDS, function () settle(nil, "no answer within "..LOOKUP_SECONDS.." s"); end);
	local ok, err = pcall(function ()
		adns.resolver():lookup(function (answer, problem)
			if answer and answer.bogus then
				return settle(nil, "DNSSEC: "..tostring(answer.bogus));
			end
			settle(answer and #answer > 0 and answer or nil, not answer and problem and tostring(problem) or nil);
		end, name, record_type, "IN");
	end);
	if not ok then settle(nil, tostring(err)); end
end
readiness.lookup = lookup;

-- done({ address... }, problem)
local function lookup_addresses(name, done)
	lookup(name, "A", function (four, problem4)
		lookup(name, "AAAA", function (six, problem6)
			local list = {};
			for _, record in ipairs(four or {}) do list[#list + 1] = record.a; end
			for _, record in ipairs(six or {}) do list[#list + 1] = record.aaaa; end
			done(list, #list == 0 and (problem4 or problem6) or nil);
		end);
	end);
end

-- The targets that the records name, in the order in which they are tried; those that say that there is no such service name none.
local function targets_of(answer, direct)
	local list = {};
	for _, record in ipairs(answer or {}) do
		if record.srv and record.srv.target ~= "." then
			list[#list + 1] = { host = (record.srv.target:gsub("%.$", "")); port = record.srv.port; priority = record.srv.priority; direct = direct };
		end
	end
	table.sort(list, function (a, b) return a.priority < b.priority; end);
	return list;
end

--[[
done(targets, problem): { { host, port, addresses, direct }... } as a server that connects to the domain would find them: those of
_xmpps-server first (`direct`, TLS from the first byte; XEP-0368), as core tries them, then those of _xmpp-server, or the domain itself where
that has no record. `srv`: there is a record of _xmpp-server.
]]
function readiness.find(domain, done)
	local answers, left = {}, 2;
	local function answered()
		local targets = targets_of(answers.direct, true);
		targets.srv = answers.plain ~= nil;
		if answers.problem and #targets == 0 then return done(nil, answers.problem); end
		for _, target in ipairs(targets_of(answers.plain)) do targets[#targets + 1] = target; end
		if answers.plain and #targets == 0 then
			return done(nil, "its SRV record says that there is no such service");
		elseif not answers.plain then
			targets[#targets + 1] = { host = domain; port = 5269 };
		end
		left = #targets;
		for _, target in ipairs(targets) do
			lookup_addresses(target.host, function (addresses, address_problem)
				target.addresses, target.problem = addresses, address_problem;
				left = left - 1;
				if left == 0 then done(targets); end
			end);
		end
	end
	for kind, service in pairs({ direct = "_xmpps-server"; plain = "_xmpp-server" }) do
		lookup(service.."._tcp."..domain, "SRV", function (answer, problem)
			answers[kind] = answer;
			if kind == "plain" then answers.problem = problem; end
			left = left - 1;
			if left == 0 then answered(); end
		end);
	end
end

-- "SRV a:5269, b:5269; direct TLS a:5270"
function readiness.words(targets)
	local plain, direct = {}, {};
	for _, target in ipairs(targets) do
		table.insert(target.direct and direct or plain, ("%s:%d"):format(layout.plain(target.host, 100), target.port));
	end
	local parts = {};
	if #plain > 0 then parts[1] = (targets.srv and "SRV " or targets.proxy and "proxy " or "no SRV record, so ")..table.concat(plain, ", "); end
	if #direct > 0 then parts[#parts + 1] = "direct TLS "..table.concat(direct, ", "); end
	return table.concat(parts, "; ");
end
readiness.addresses = lookup_addresses;

-- Runs job(domain, done) for each domain, some at a time and all for a limited time; then finished().
function readiness.each(items, job, finished)
	local position, running, over = 0, 0, false;
	local function finish()
		if not over then
			over = true;
			finished(#items - position + running);
		end
	end
	local more;
	local function start()
		position = position + 1;
		running = running + 1;
		local called = false;
		local item = items[position];
		job(item, function ()
			if called then return; end
			called = true;
			running = running - 1;
			more();
		end, function () return over; end);
	end
	function more()
		while not over and running < PARALLEL and position < #items do start(); end
		if running == 0 and position >= #items then finish(); end
	end
	timer.add_task(TOTAL_SECONDS, finish);
	more();
end

-- The ports our S2S service listens on, the addresses that are ours, and the ports for direct TLS.
function readiness.listening()
	local ports, direct_ports, addresses, any = {}, {}, {}, false;
	for service, found in pairs({ s2s = ports; s2s_direct_tls = direct_ports }) do
		local ok, services = pcall(function () return require "core.portmanager".get_active_services():get(service); end);
		for interface, by_port in pairs(ok and services or {}) do
			if interface == "*" or interface == "::" or interface == "0.0.0.0" then
				any = true;
			else
				addresses[interface] = true;
			end
			for port in pairs(by_port) do found[tonumber(port)] = true; end
		end
	end
	if any then
		for _, family in ipairs({ "ipv4"; "ipv6" }) do
			for _, address in ipairs(local_addresses(family, true) or {}) do addresses[address] = true; end
		end
	end
	return ports, addresses, direct_ports;
end

local function sorted_keys(set)
	local list = {};
	for key in pairs(set) do list[#list + 1] = tostring(key); end
	table.sort(list);
	return table.concat(list, ", ");
end

-- The same as the configuration has it, for where no server runs: ports, addresses of this machine, ports for direct TLS.
function readiness.configured()
	local function ports_of(option, default)
		local value, found = configmanager.get("*", option), {};
		if value == nil then value = default; end
		for _, port in ipairs(type(value) == "table" and value or { value }) do
			if math.tointeger(tonumber(port)) then found[math.tointeger(tonumber(port))] = true; end
		end
		return found;
	end
	local addresses = {};
	for _, family in ipairs({ "ipv4"; "ipv6" }) do
		for _, address in ipairs(local_addresses(family, true) or {}) do addresses[address] = true; end
	end
	-- Not all that it may listen on need be an address of an interface by itself.
	for _, option in ipairs({ "interfaces"; "s2s_interfaces"; "s2s_direct_tls_interfaces" }) do
		local value = configmanager.get("*", option);
		for _, address in ipairs(type(value) == "table" and value or { value }) do addresses[address] = true; end
	end
	return ports_of("s2s_ports", 5269), addresses, ports_of("s2s_direct_tls_ports");
end

-- Has all that follows asked of one resolver: "192.0.2.53", "192.0.2.53@5353", "2001:db8::53". True, or nil and what is wrong. Only where no
-- server runs: it would ask that one, too.
function readiness.ask(resolver)
	local address, port = resolver:match("^([%x:.]+)@(%d+)$");
	address = address or resolver:match("^[%x:.]+$");
	port = math.tointeger(tonumber(port or 53));
	if not address or not pton(address) or not port or port < 1 or port > 65535 then
		return nil, ("%s is not the address of a resolver, such as 192.0.2.53, 192.0.2.53@5353 or 2001:db8::53"):format(layout.plain(resolver, 60));
	elseif not pcall(require, "lunbound") then
		return nil, "Prosody asks DNS by itself here, and always the resolver of the system; to ask another one takes the package lua-unbound";
	end
	local known, options = configmanager.get("*", "unbound"), {};
	for key, value in pairs(type(known) == "table" and known or {}) do options[key] = value; end
	options.resolvconf, options.hoststxt, options.forward = false, false, ("%s@%d"):format(address, port);
	configmanager.set("*", "unbound", options);
	-- Core's resolver reads it when it is loaded, which may have been before.
	for _, name in ipairs({ "net.unbound"; "net.adns" }) do
		package.loaded[name], package.loaded["prosody."..name] = nil, nil;
	end
	-- COMPAT 13: that core's resolver is libunbound is said of this name alone.
	if package.preload["prosody.net.adns"] then require "prosody.net.adns"; end
	return true;
end

local function judge_targets(domain, targets, ports, addresses, words)
	local port_fits, address_fits, any_address = false, false, false;
	for _, target in ipairs(targets) do
		for _, address in ipairs(target.addresses or {}) do
			any_address = true;
			if ports[target.port] then port_fits = true; end
			if addresses[address] and ports[target.port] then address_fits = true; end
		end
	end
	if not any_address then
		return "warning", ("%s: %s, which has no address; partners cannot find this server"):format(domain, words);
	elseif not port_fits then
		return "warning", ("%s: %s, but this server listens on %s"):format(domain, words,
			next(ports) and "port "..sorted_keys(ports) or "no port for "..(targets[1].direct and "direct TLS" or "server-to-server streams"));
	elseif not address_fits then
		return "note", ("%s: %s, which is no address of this machine; in order if that is a router or proxy that leads here")
			:format(domain, words);
	end
	return "ok", ("%s: %s, which leads here"):format(domain, words);
end

-- What others find of one of our domains: { grade, text }... `ports`, `addresses`, `direct_ports` as listening gives them.
function readiness.judge_own(domain, targets, problem, ports, addresses, direct_ports)
	if not targets then
		return { { grade = "warning"; text = ("%s: %s"):format(domain, problem) } };
	end
	local plain, direct, found = { srv = targets.srv }, {}, {};
	for _, target in ipairs(targets) do table.insert(target.direct and direct or plain, target); end
	local function add(list, own_ports)
		local grade, text = judge_targets(domain, list, own_ports, addresses, readiness.words(list));
		found[#found + 1] = { grade = grade; text = text };
	end
	if #plain > 0 then
		add(plain, ports);
	else
		found[1] = { grade = "warning"; text = domain..": _xmpp-server says that there is no such service; partners without direct TLS cannot find "
			.."this server" };
	end
	if #direct > 0 then
		add(direct, direct_ports);
	elseif next(direct_ports) then
		found[#found + 1] = { grade = "note"; text = ("%s: this server listens for direct TLS on port %s, and no _xmpps-server record says so")
			:format(domain, sorted_keys(direct_ports)) };
	end
	return found;
end

-- What we find of a partner: grade, text
function readiness.judge_partner(name, targets, problem)
	if not targets then
		return "warning", ("%s: %s"):format(name, problem);
	end
	local any, first_problem = false, nil;
	for _, target in ipairs(targets) do
		any = any or #(target.addresses or {}) > 0;
		first_problem = first_problem or target.problem;
	end
	local found = readiness.words(targets);
	if not any then
		return "warning", ("%s: %s, which has no address: it cannot be reached%s"):format(name, found,
			first_problem and " ("..first_problem..")" or "");
	end
	return "ok", ("%s: %s"):format(name, found);
end

return readiness;
