-- What DNS says of a domain, as a server finds it that connects there; and many such questions within a limited time.

local layout = module:require "layout";

local configmanager = require "core.configmanager";
local timer = require "util.timer";
local pton = require "util.net".pton;

local LOOKUP_SECONDS = 5;   -- for one name
local TOTAL_SECONDS = 30;   -- for all of them
local PARALLEL = 16;

local service_lookup = {};

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
service_lookup.lookup = lookup;

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
function service_lookup.find(domain, done)
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
function service_lookup.words(targets)
	local plain, direct = {}, {};
	for _, target in ipairs(targets) do
		table.insert(target.direct and direct or plain, ("%s:%d"):format(layout.plain(target.host, 100), target.port));
	end
	local parts = {};
	if #plain > 0 then parts[1] = (targets.srv and "SRV " or targets.proxy and "proxy " or "no SRV record, so ")..table.concat(plain, ", "); end
	if #direct > 0 then parts[#parts + 1] = "direct TLS "..table.concat(direct, ", "); end
	return table.concat(parts, "; ");
end
service_lookup.addresses = lookup_addresses;

-- Runs job(domain, done) for each domain, some at a time and all for a limited time; then finished().
function service_lookup.each(items, job, finished)
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

-- Has all that follows asked of one resolver: "192.0.2.53", "192.0.2.53@5353", "2001:db8::53". True, or nil and what is wrong. Only where no
-- server runs: it would ask that one, too.
function service_lookup.ask(resolver)
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

return service_lookup;
