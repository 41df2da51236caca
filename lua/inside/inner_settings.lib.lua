-- s2s_inside: which hosts are relay hosts, where their users' server is, and how it authenticates. It is compiled by the code that compiles a
-- partner, as a list whose partners are the relay hosts. What only this side can see is looked at here: modules, accounts, ports, files.

local configmanager = require "core.configmanager";
local usermanager = require "core.usermanager";
local resolve_relative_path = require "util.paths".resolve_relative_path;
local pton = require "util.net".pton;

local host_tls = module:require "host_tls";
local core_options = module:require "core_options";

local hosts = prosody.hosts;

local COMPONENT = "s2s_inside"; -- the component module of a relay host without users
local PARTNERS_TOLD = 5; -- of those about whom there is the same to say
local NAMES_LOOKED_AT, NAMES_IN_A_TURN = 1000, 20; -- in certificates, of all relay hosts together: each takes a tenth of a millisecond
local CONTACTS_DAYS, CONTACTS_DAYS_MAX = 30, 3650; -- how long a contact is known that nothing confirms
local CERTIFICATE_MAX = 1024 * 1024; -- bytes of a file
local STREAMS_MAX = 10000; -- inner ones, in all: a pair of domains takes two

-- Keys of a partner that say how to authenticate, and what is the endpoint's own.
local partner_keys = { tls = true; sasl = true; dialback = true; trust_anchors = true; pinned_keys = true; keepalive = true };
local own_keys = { server = true; certificate = true };
local KEYS = "server, tls, sasl, dialback, trust_anchors, pinned_keys, keepalive, certificate";

-- What sessions of clients come by.
local client_modules = { { "c2s"; true }, { "bosh"; false }, { "websocket"; false } };

local known_options = { s2s_inside = true; s2s_inside_interfaces = true; s2s_inside_ports = true; s2s_inside_contacts_days = true };

local function quote(value)
	if type(value) == "string" then return ("%q"):format(#value > 60 and value:sub(1, 57).."..." or value); end
	return type(value) == "table" and "a table" or tostring(value);
end

local function section(host)
	return rawget(configmanager.getconfig(), host) or {};
end

local function own_option(host, name)
	return rawget(section(host), name);
end

local function list_of(value)
	if value == nil then return nil; end
	return type(value) == "table" and value or { value };
end

local function new_settings(native)
	local settings = {};

	-- The hosts that are to be relay hosts, sorted. There is nothing more to do where there are none.
	local function relay_hosts()
		local names = {};
		for name, values in pairs(configmanager.getconfig()) do
			if name ~= "*" and values.enabled ~= false and (rawget(values, "s2s_inside") ~= nil or rawget(values, "component_module") == COMPONENT) then
				names[#names + 1] = name;
			end
		end
		table.sort(names);
		return names;
	end

	local function new_issues(issues)
		return function (host, severity, path, got, expected)
			local place = host and ("VirtualHost or Component %q: "):format(host) or "";
			issues[#issues + 1] = { severity = severity; code = "inside"; path = path; got = got or ""; expected = expected; nearest = ""; host = host;
				message = ("%s%s: %s%s"):format(place, path, got and "got "..got.."; " or "", expected) };
		end;
	end

	-- The entry of a partner that the option stands for; nil when it is none at all.
	local function entry_of(host, value, add)
		if type(value) ~= "table" then
			add(host, "error", "s2s_inside", value ~= nil and quote(value) or nil,
				"must be a table that says where the users' server is: { server = \"xmpp.corp.example:5269\" }");
			return nil;
		end
		local entry = { domain = host; partner_type = "federated"; presence_authorization = "user" };
		for key, what in next, value do
			if partner_keys[key] then
				entry[key] = what;
			elseif not own_keys[key] then
				add(host, "error", ("s2s_inside.%s"):format(tostring(key)), nil, "unknown key; the keys are "..KEYS);
			end
		end
		if type(value.server) ~= "string" or value.server == "" then
			add(host, "error", "s2s_inside.server", value.server ~= nil and quote(value.server) or nil,
				"must name the users' server: \"host\", \"host:port\" or \"[IPv6]:port\". It never comes from DNS records of the domain, which lead here");
			return nil;
		end
		entry.proxy = value.server;
		-- EXTERNAL can never be used then, so it is none of the methods; see check_methods.
		if entry.sasl == "optional" and entry.trust_anchors == nil and entry.dialback == true and entry.tls ~= "not_supported" then
			entry.sasl = "not_supported";
		end
		return entry;
	end

	-- In the words of the option: its place, and "server" for what a partner calls its proxy.
	local function add_compiled(issues, new, host)
		for _, issue in ipairs(new or {}) do
			issue.message = ("VirtualHost or Component %q: %s"):format(host, (issue.message:gsub("s2s_inside%[1%]%s*%b()", "s2s_inside")
				:gsub("^s2s_inside%[1%]", "s2s_inside"):gsub("%.proxy", ".server")));
			issue.host = host;
			issues[#issues + 1] = issue;
		end
	end

	local function compile_list(list)
		return native.compile_table({ lists = { { place = "s2s_inside"; list = list } }; issues = {}; local_domains = {} });
	end

	local options = { require_encryption = false; allow_encryption = true };

	local function compile_policy(compiled, issues)
		local limits = { connections = STREAMS_MAX; partner_connections = STREAMS_MAX };
		-- Times are those of the outer side. What is wrong with them is told there.
		local outer = module:context("*"):get_option("s2s_partners_limits");
		for _, name in ipairs({ "establishment_timeout"; "inactivity_timeout"; "keepalive_interval" }) do
			local value = type(outer) == "table" and math.tointeger(rawget(outer, name));
			if value and value >= 1 and value <= 1000000000 then limits[name] = value; end
		end
		local policy, new = native.compile_policy({ table = compiled; options = options; issues = {}; limits = limits });
		for _, issue in ipairs(new or {}) do
			if issue.severity == "error" then issues[#issues + 1] = issue; end
		end
		return policy;
	end

	--- What makes a host a bad relay host

	local function check_clients(host, add)
		local global, context = module:context("*"), module:context(host);
		local loaded, sessions = hosts[host] and hosts[host].modules or {}, hosts[host] and hosts[host].sessions or {};
		for _, which in ipairs(client_modules) do
			if core_options.loads(global, context, which[1], which[2]) then
				add(host, "error", "modules_enabled", quote(which[1]), ("clients could log in here, but the users of a relay host are inside; "
					.."write modules_disabled = { %q }, for this host or for all"):format(which[1]));
			elseif loaded[which[1]] then
				add(host, "error", "modules_disabled", quote(which[1]), "the module is still loaded, and only a restart takes it from a host that has had "
					.."clients; restart the server");
			end
		end
		-- What is known of them, as their rosters, would go on to be believed.
		if next(sessions) ~= nil then
			add(host, "error", "s2s_inside", nil, "clients are logged in at this host, but the users of a relay host are inside; restart the server");
		end
		if own_option(host, "authentication") ~= nil then
			add(host, "error", "authentication", quote(own_option(host, "authentication")), "a relay host has no accounts; remove the option");
		end
		local ok, some = pcall(function ()
			if not hosts[host] then return nil; end
			local iterate, state, first = usermanager.users(host);
			return (iterate(state, first));
		end);
		if ok and some then
			add(host, "error", "s2s_inside", nil, ("this host has accounts (%s, for one), but the users of a relay host are inside; move or delete them")
				:format(quote(some)));
		end
	end

	-- The edge would answer "subscribed", the users' server would never hear of it, and the contact would never see presence.
	local function check_authorisation(host, policy, add)
		if not policy then return; end
		local told, count = policy:automatic(PARTNERS_TOLD);
		local default = policy:default();
		if default and default.presence_authorization == "automatic" then
			count = count + 1;
			if count <= PARTNERS_TOLD then told[count] = "s2s_partners_default"; end
		end
		if count > 0 then
			add(host, "error", "presence_authorization", "\"automatic\"", ("for a relay host the users' server keeps the rosters, so nothing can be "
				.."authorised here; write presence_authorization = \"user\" for %s%s"):format(table.concat(told, ", "),
				count > PARTNERS_TOLD and (" and %d more"):format(count - PARTNERS_TOLD) or ""));
		end
	end

	local function same_address(a, b)
		local one, other = pton(a), pton(b);
		return a == b or one ~= nil and one == other;
	end

	-- Where the users' server would be this one.
	local function check_server(host, view, inside, outside, add)
		local name, port = view.proxy_host, view.proxy_port;
		if hosts[name] or rawget(configmanager.getconfig(), name) then
			add(host, "error", "s2s_inside.server", quote(name), "is a domain of this server, and its address records lead here; name the "
				.."users' server itself");
			return;
		end
		for _, one in ipairs(inside) do
			if port == one.port and same_address(name, one.interface) then
				add(host, "error", "s2s_inside.server", quote(view.proxy), "is where this server listens for the inside; name the users' server");
				return;
			end
		end
		for _, one in ipairs(outside) do
			if port == one.port and same_address(name, one.interface) then
				add(host, "error", "s2s_inside.server", quote(view.proxy), "is where this server listens for other servers; name the users' server");
				return;
			end
		end
	end

	-- Nothing but trust_anchors makes a certificate of the inner server valid.
	local function check_methods(host, value, view, add)
		if view.trust_anchors then return; end
		local AUTHORITY = "the file of the authority that has issued the inner server's certificate";
		if value.pinned_keys ~= nil then
			add(host, "error", "s2s_inside.trust_anchors", nil, ("is needed where there are pinned_keys, because a pin does not make a certificate valid: %s; "
				.."or remove pinned_keys"):format(AUTHORITY));
		elseif view.sasl ~= "not_supported" then
			add(host, "error", "s2s_inside.trust_anchors", nil, ("is needed where sasl is required (the default), or there is no dialback: %s; or write "
				.."sasl = \"not_supported\" and dialback = true"):format(AUTHORITY));
		elseif value.sasl == "optional" then
			add(host, "warning", "s2s_inside.trust_anchors", nil, "without the authority of the inner server's certificate SASL EXTERNAL is never used "
				.."inside, only dialback");
		end
	end

	--- Ports

	-- Every address, in whatever spelling.
	local function is_wildcard(interface)
		local packed = pton(interface);
		return interface == "*" or packed ~= nil and not packed:gsub("^"..("\0"):rep(10).."\xff\xff", ""):find("[^%z]");
	end

	local function places(interfaces, ports)
		local list = {};
		for _, interface in ipairs(interfaces) do
			for _, port in ipairs(ports) do
				list[#list + 1] = { interface = tostring(interface); port = tonumber(port) };
			end
		end
		return list;
	end

	local function outer_places()
		local global = module:context("*");
		local function of(name, default)
			local interfaces = list_of(global:get_option(name.."_interfaces")) or list_of(global:get_option("interfaces")) or { "*"; "::" };
			return places(interfaces, list_of(global:get_option(name.."_ports")) or default);
		end
		local all = of("s2s", { 5269 });
		for _, name in ipairs({ "s2s_direct_tls"; "c2s" }) do
			for _, place in ipairs(of(name, name == "c2s" and { 5222 } or {})) do all[#all + 1] = place; end
		end
		return all;
	end

	local function inner_places(outside, add)
		local global = module:context("*");
		local interfaces = list_of(global:get_option("s2s_inside_interfaces"));
		local ports = list_of(global:get_option("s2s_inside_ports")) or { 5269 };
		if not interfaces or not interfaces[1] then
			add(nil, "error", "s2s_inside_interfaces", nil, "is needed where there are relay hosts: the addresses at which the users' server finds the "
				.."partners' domains, such as { \"10.1.0.2\" }");
			return {};
		end
		if not ports[1] then
			add(nil, "error", "s2s_inside_ports", "{}", "must name at least one port, or be left out: then the edge listens on 5269");
			return {};
		end
		for _, port in ipairs(ports) do
			if not math.tointeger(tonumber(port)) or tonumber(port) < 1 or tonumber(port) > 65535 then
				add(nil, "error", "s2s_inside_ports", quote(port), "must be a list of ports from 1 to 65535");
				return {};
			end
		end
		for _, interface in ipairs(interfaces) do
			-- A name could lead elsewhere with the next look-up, and the server inside is told an address.
			if type(interface) ~= "string" or interface ~= "*" and not pton(interface) then
				add(nil, "error", "s2s_inside_interfaces", quote(interface), "must be a list of addresses of this machine, such as { \"10.1.0.2\" }");
				return {};
			end
		end
		local inside = places(interfaces, ports);
		for _, one in ipairs(inside) do
			if is_wildcard(one.interface) then
				add(nil, "error", "s2s_inside_interfaces", quote(one.interface), "must be addresses of the inner side alone; a port for all addresses is one for "
					.."strangers");
				return {};
			end
			for _, other in ipairs(outside) do
				if one.port == other.port and (is_wildcard(other.interface) or same_address(one.interface, other.interface)) then
					add(nil, "error", "s2s_inside_interfaces", quote(("%s port %d"):format(one.interface, one.port)), ("overlaps with another service of this "
						.."server (%s port %d); give s2s_interfaces and c2s_interfaces the outer addresses, or s2s_inside_ports another port")
						:format(other.interface, other.port));
					return {};
				end
			end
		end
		return inside;
	end

	--- Certificates

	local verify = { verify = { "peer", "client_once" }; verifyext = { "lsec_continue", "lsec_ignore_purpose" } };

	local function contexts_of(host, value, view, add)
		local tls = {};
		if view.tls == "not_supported" then return tls; end
		local first = { verify = verify.verify; verifyext = verify.verifyext };
		local own, files = value.certificate, nil;
		if own ~= nil then
			if type(own) ~= "table" or type(own.certificate or own[1]) ~= "string" or type(own.key or own[2]) ~= "string" then
				add(host, "error", "s2s_inside.certificate", quote(own), "must be two files: { certificate = \"certs/inner.crt\"; "
					.."key = \"certs/inner.key\" }");
				return nil;
			end
			files = { own.certificate or own[1], own.key or own[2] };
			for i, name in ipairs(files) do
				local path = resolve_relative_path(prosody.paths.config or ".", name);
				local file, why = io.open(path, "rb");
				if not file then
					add(host, "error", "s2s_inside.certificate", quote(name), ("the certificate for the inner side cannot be used: cannot be read (%s); "
						.."the path starts at the configuration file's directory"):format((why:gsub("^.*: ", ""))));
					return nil;
				end
				file:close();
				first[i == 1 and "certificate" or "key"] = path;
			end
		end
		for _, mode in ipairs({ "server"; "client" }) do
			local context, err, config = host_tls(host, mode, first);
			if not context or not config or not config.certificate then
				add(host, "error", files and "s2s_inside.certificate" or "ssl", files and quote(files[1]).." and "..quote(files[2]),
					("the certificate for the inner side cannot be used: %s"):format(context and "none is configured" or tostring(err)));
				return nil;
			end
			tls[mode], tls.certificate = context, config.certificate;
		end
		return tls;
	end

	-- Whether certificates name domains: each is asked once a domain, and not about more domains than NAMES_LOOKED_AT. `pause`: see settings.compile.
	local function new_names(pause)
		local texts, named, looked_at = {}, {}, 0;
		-- nil when it is not known.
		return function (path, domain)
			if texts[path] == nil then
				local file = io.open(path, "rb");
				texts[path] = file and file:read(CERTIFICATE_MAX) or false;
				if file then file:close(); end
				named[path] = {};
			end
			local known = named[path];
			if known[domain] == nil and texts[path] and looked_at < NAMES_LOOKED_AT then
				looked_at = looked_at + 1;
				if looked_at % NAMES_IN_A_TURN == 0 then pause(); end
				local own = native.own_certificate(texts[path], (domain:gsub("^%*", "any")));
				if own then known[domain] = own.names_domain; else texts[path] = false; end
			end
			return known[domain];
		end;
	end

	-- Where nothing but certificates proves the edge inside, it can speak for the partners that its certificate names, and for nobody else.
	local function check_names(host, found, policy, names, add)
		local methods = found.view.methods;
		if not policy or #methods ~= 1 or methods[1] ~= "sasl" or not found.tls or not found.tls.certificate then return; end
		local missing, more, position, domains = {}, false, 1, policy:domains(1);
		while domains and not more and position <= NAMES_LOOKED_AT do
			for _, domain in ipairs(domains) do
				if not more and names(found.tls.certificate, domain) == false then
					more = #missing == PARTNERS_TOLD;
					if not more then missing[#missing + 1] = domain; end
				end
			end
			position = position + 1;
			domains = policy:domains(position);
		end
		if #missing > 0 then
			add(host, "warning", "s2s_inside.certificate", nil, ("%s does not name %s%s: the server inside will refuse this one there; have one made whose "
				.."subjectAltName has the partners, or allow dialback"):format(found.tls.certificate, table.concat(missing, ", "),
				more and " and more" or ""));
		end
	end

	local function anchors_of(host, view, anchors, add)
		local path = view.trust_anchors;
		if not path or anchors[path] then return; end
		local store, message = native.trust_store({ file = resolve_relative_path(prosody.paths.config or ".", path) });
		anchors[path] = store;
		if message then add(host, store and "warning" or "error", "s2s_inside.trust_anchors", quote(path), message); end
	end

	local function contacts_days(add)
		local given = module:context("*"):get_option("s2s_inside_contacts_days");
		local days = given == nil and CONTACTS_DAYS or type(given) == "number" and math.tointeger(given);
		if days and days >= 1 and days <= CONTACTS_DAYS_MAX then return days; end
		add(nil, "error", "s2s_inside_contacts_days", quote(given), ("must be a whole number of days from 1 to %d: how long a contact is known that "
			.."nothing confirms; the default is %d"):format(CONTACTS_DAYS_MAX, CONTACTS_DAYS));
		return CONTACTS_DAYS;
	end

	local function find_unknown(add)
		for host, values in pairs(configmanager.getconfig()) do
			for name in next, values do
				if type(name) == "string" and name:match("^s2s_insid") and not known_options[name] then
					add(host ~= "*" and host or nil, "error", name, nil, "unknown option; the options are s2s_inside, "
						.."s2s_inside_interfaces, s2s_inside_ports and s2s_inside_contacts_days");
				end
			end
		end
	end

	-- Where there is no relay host. Every host is an ordinary one then, whose users nobody has heard of.
	local function find_useless(add)
		for name in pairs(known_options) do
			if own_option("*", name) ~= nil then
				add(nil, "warning", name, nil, "has no effect, because there is no relay host: a VirtualHost needs an s2s_inside of its own, and a component is "
					.."written Component \"conference.contoso.com\" \"s2s_inside\"");
			end
		end
	end

	--[[
	What the configuration says of the inside: { hosts = { [relay host] = { server_host, server_port, server, tls = { server, client }, view } },
	policy, anchors, places = { { interface, port }... }, contacts_days }; false where there are no relay hosts. `policies`: those of the hosts, by
	name. Issues are added to `issues`; with an error among them nothing of it may come into force. `observes`: whether nothing is to be enforced.
	`pause`: called between steps, see commit.compile_all.
	]]
	function settings.compile(policies, issues, observes, pause)
		local names = relay_hosts();
		local add = new_issues(issues);
		find_unknown(add);
		if #names == 0 then
			find_useless(add);
			return false;
		end
		if observes then
			add(nil, "error", "s2s_partners_mode", "\"observe\"", "a relay host without a policy would be an open relay, so nothing passes one while nothing "
				.."is enforced; write s2s_partners_mode = \"enforce\", or remove the relay hosts");
		end
		local outside = outer_places();
		local inside = inner_places(outside, add);
		local found = { hosts = {}; anchors = {}; places = inside; contacts_days = contacts_days(add) };
		local list, values, names_domain = {}, {}, new_names(pause);
		for _, host in ipairs(names) do
			local component = own_option(host, "component_module");
			if component and component ~= COMPONENT then
				add(host, "error", "s2s_inside", nil, ("a relay host has no rooms or services of its own; write Component %q %q")
					:format(host, COMPONENT));
			end
			local value = module:context(host):get_option("s2s_inside");
			local entry = entry_of(host, value, add);
			if entry then
				local compiled, new = compile_list({ entry });
				add_compiled(issues, new, host);
				if compiled then list[#list + 1], values[host] = entry, value; end
			end
			if not component then check_clients(host, add); end
			check_authorisation(host, not component and policies[host] or nil, add);
		end
		if #list == 0 then return found; end
		local compiled = compile_list(list);
		local policy = compiled and compile_policy(compiled, issues);
		if not policy then
			add(nil, "error", "s2s_inside", nil, "the relay hosts could not be compiled together");
			return found;
		end
		found.policy = policy;
		for host, value in pairs(values) do
			local view = policy:find(host);
			if not view then
				add(host, "error", "s2s_inside", nil, "is nobody's domain");
				return found;
			end
			check_server(host, view, inside, outside, add);
			check_methods(host, value, view, add);
			anchors_of(host, view, found.anchors, add);
			found.hosts[host] = { server = view.proxy; server_host = view.proxy_host; server_port = view.proxy_port; view = view;
				tls = contexts_of(host, value, view, add) };
			check_names(host, found.hosts[host], policies[host], names_domain, add);
		end
		return found;
	end

	return settings;
end

return new_settings;
