-- A pretended edge for lua/inside: its real parts over the shared object, a stub of a guard outside, and connections that are tables.

local lua_world = require "lua_world";
local native = require "config_stub".native();

local inside_world = { native = native };

local function entry(host, server, more)
	local made = { domain = host; partner_type = "federated"; presence_authorization = "user"; tls = "not_supported"; sasl = "not_supported";
		dialback = true; keepalive = true; proxy = server };
	for key, value in pairs(more or {}) do made[key] = value; end
	return made;
end

-- Settings as inner_settings.compile gives them. `servers`: relay host -> "host:port". `more`: relay host -> other keys of its entry.
function inside_world.settings(servers, more)
	local list, hosts = {}, {};
	for host, server in pairs(servers) do list[#list + 1] = entry(host, server, more and more[host]); end
	local compiled = assert(native.compile_table({ lists = { { place = "s2s_inside"; list = list } }; issues = {}; local_domains = {} }));
	local policy = assert(native.compile_policy({ table = compiled; options = { require_encryption = false; allow_encryption = true }; issues = {};
		limits = { connections = 10000; partner_connections = 10000 } }));
	for host, server in pairs(servers) do
		local name, port = server:match("^(.*):(%d+)$");
		hosts[host] = { server = server; server_host = name; server_port = tonumber(port); view = policy:find(host);
			tls = more and more[host] and { server = {}; client = {} } or {} };
	end
	return { hosts = hosts; policy = policy; anchors = {}; places = { { interface = "10.1.0.2"; port = 5269 } } };
end

-- The policy of a host. `default`: that of unlisted domains, or nil.
function inside_world.policy(partners, hosts, default)
	local compiled = assert(native.compile_table({ lists = { { place = "s2s_partners"; list = partners } }; issues = {}; local_domains = hosts }));
	return assert(native.compile_policy({ table = compiled; options = { require_encryption = false }; issues = {}; default = default }));
end

-- `hosts`: relay hosts, each a VirtualHost; `partners`: the outer list; `backend`: of connections, as net.server says. What is made has
--   refused (what the outer side's report was told of stanzas), installed (domains for which C has installed handlers, { domain, events }),
--   border (of the inner side), native (the shared object, whose functions may be replaced),
--   unopened ("interface|port" -> true: cannot be opened),
--   world, boundary, dialled (connections that were begun, { host, port, listener, data }), clock (seconds; the monotonic clock)
function inside_world.new(hosts, partners, backend)
	local edge = { dialled = {}; clock = 1000 };
	local world = lua_world.new({
		["util.async"] = { runner = function (action, watchers)
			return { run = function (_, item)
				local ok, err = pcall(action, item);
				if not ok then watchers.error(nil, err); end
			end };
		end };
		["util.time"] = { monotonic = function () return edge.clock; end; now = os.time };
		["net.connect"] = { connect = function (place, listener, _, data)
			table.insert(edge.dialled, { host = place.host; port = place.port; listener = listener; data = data });
		end };
		["prosody.net.connect"] = { connect = function (place, listener, _, data)
			table.insert(edge.dialled, { host = place.host; port = place.port; listener = listener; data = data });
		end };
		["net.resolvers.basic"] = { new = function (host, port) return { host = host; port = port }; end };
		["net.server"] = { get_backend = function () return backend or "tables"; end };
		["prosody.net.server"] = { get_backend = function () return backend or "tables"; end };
		["prosody.net.resolvers.basic"] = { new = function (host, port) return { host = host; port = port }; end };
		["core.s2smanager"] = {}; ["core.configmanager"] = { get = function () end };
		-- Every port can be opened but those of which edge.unopened["interface|port"] is true when the service is added.
		["core.portmanager"] = { get_active_services = function () return { search = function (_, name, interface, port)
			local item = edge.world.items["net-provider"][1];
			if not item or item.name ~= name then return {}; end
			if not item.missing then
				item.missing = {};
				for place in pairs(edge.unopened) do item.missing[place] = true; end
			end
			return { not item.missing[interface.."|"..port] and item or nil };
		end }; end };
		["socket"] = { bind = function (interface, port)
			if edge.unopened[interface.."|"..port] then return nil, "cannot assign requested address"; end
			return { close = function () end };
		end };
	});
	world.config["*"] = { s2s_inside_interfaces = { "10.1.0.2" } };
	edge.world, edge.unopened = world, {};
	world.open_store = function () return { get = function () end; set = function () return true; end }; end;
	local policy = inside_world.policy(partners, hosts);
	local guard = { policies = {}; observing = false; directed = {}; hosts = world.prosody.hosts; trust = { own = {} } };
	edge.expiry = world.load("expiry")(native, { all_streams = function () return {}; end });
	local listeners = {};
	edge.guard, edge.events = guard, listeners;
	for _, host in ipairs(hosts) do
		world.prosody.hosts[host] = { type = "local"; events = { fire_event = function () end } };
		guard.policies[host] = policy;
	end
	edge.refused, edge.installed = {}, {};
	edge.native = setmetatable({ install_global = function (border, context)
		edge.border = border;
		return native.install_global(border, context);
	end; install_host = function (border, context, domain)
		local events = {};
		table.insert(edge.installed, { domain = domain; events = events });
		return native.install_host(border, { hook = function (_, event, handler, priority)
			events[event] = true;
			return context:hook(event, handler, priority);
		end }, domain);
	end }, { __index = native });
	edge.boundary = world.load("inside/boundary")({ guard = guard; native = edge.native; relays = {};
		latch = { kill = function (conn) conn:close(); end }; limits = { may_log = function () return true; end };
		report = { stanza_refused = function (...) table.insert(edge.refused, { ... }); end };
		detached = function (action) action(); end;
		features = { read = function () return false, false, false, true; end; fill = function () end; trim = function () end };
		unparsed = function () return ""; end;
		address = { canonical = function (address) return address; end }; expiry = edge.expiry });
	return edge;
end

-- A stanza that the guard has let in.
function inside_world.arrive(edge, stanza)
	local to = stanza.attr.to;
	local host = to:match("^[^/]*"):match("[^@]*$");
	local event = ("%s/%s"):format(stanza.name, to:find("/", 1, true) and "full" or to:find("@", 1, true) and "bare" or "host");
	for _, hooked in ipairs(edge.world.contexts) do
		if hooked[1] == host and hooked[2].hooks[event] then
			return hooked[2].hooks[event][1][1]({ stanza = stanza; origin = { type = "s2sin"; send = function () end } });
		end
	end
end

-- A connection of that address: what is written to it is in `sent`.
function inside_world.connection(ip)
	local conn = { sent = ""; closed = false };
	function conn.ip() return ip or "10.1.0.10"; end
	function conn.setoption() end
	function conn.socket() return nil; end
	function conn.pause() end
	function conn.resume() end
	function conn:write(data)
		self.sent = self.sent..data;
		return #data;
	end
	function conn:close() self.closed = true; end
	return conn;
end

local function tell(listener, conn, event)
	if listener[event] then listener[event](conn); end
end

-- The server inside opens a connection; what is given back takes what it says, and by written(all) that something could be written, or all of it.
function inside_world.accept(edge, ip)
	local conn, listener = inside_world.connection(ip), edge.world.items["net-provider"][1].listener;
	listener.onconnect(conn);
	function conn.say(_, data) listener.onincoming(conn, data); end
	function conn.drop() listener.ondisconnect(conn, "gone"); end
	function conn.written(_, all) tell(listener, conn, all and "ondrain" or "onpredrain"); end
	return conn;
end

-- The connection that we began last is there, or that of `number`.
function inside_world.answer(edge, number)
	local begun = edge.dialled[number or #edge.dialled];
	local conn = inside_world.connection();
	begun.listener.onattach(conn, begun.data);
	begun.listener.onconnect(conn);
	function conn.say(_, data) begun.listener.onincoming(conn, data); end
	function conn.drop() begun.listener.ondisconnect(conn, "gone"); end
	function conn.written(_, all) tell(begun.listener, conn, all and "ondrain" or "onpredrain"); end
	return conn;
end

function inside_world.fail(edge, number)
	local begun = edge.dialled[number or #edge.dialled];
	begun.listener.onfail(begun.data, "connection refused");
end

inside_world.FEATURES = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";

function inside_world.header(from, to, id)
	return ("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
		.."xmlns:db='jabber:server:dialback' version='1.0' from='%s' to='%s'%s>"):format(from, to, id and (" id='%s'"):format(id) or "");
end

-- An outgoing stream of ours gets as far as stanzas.
function inside_world.establish(conn, relay, domain)
	conn:say(inside_world.header(relay, domain, "id1")..inside_world.FEATURES);
	conn:say(("<db:result from='%s' to='%s' type='valid'/>"):format(relay, domain));
end

-- The server inside opens a stream and proves itself by dialback.
function inside_world.prove(edge, relay, domain)
	local conn = inside_world.accept(edge);
	conn:say(inside_world.header(relay, domain));
	conn:say(("<db:result from='%s' to='%s'>key</db:result>"):format(relay, domain));
	local question = inside_world.answer(edge);
	question:say(inside_world.header(relay, domain, "id2")..inside_world.FEATURES);
	local id = conn.sent:match("<stream:stream[^>]* id='([^']+)'") or conn.sent:match('<stream:stream[^>]* id="([^"]+)"');
	question:say(("<db:verify from='%s' to='%s' id='%s' type='valid'/>"):format(relay, domain, id));
	return conn, question;
end

return inside_world;
