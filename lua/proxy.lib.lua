-- Connecting to a partner's proxy instead of asking DNS for its servers: address records of the proxy's name (or none, for an
-- IP address), no SRV records, no direct TLS. For whom the certificate has to be is not changed by it.

local function new_proxy(guard)
	-- session -> { host, port } from s2sout-created until core asks for a resolver
	local routes = setmetatable({}, { __mode = "k" });
	local proxy = {};

	local function first_of(...)
		for i = 1, select("#", ...) do
			local ok, library = pcall(require, (select(i, ...)));
			if ok then return library; end
		end
	end

	local basic = first_of("prosody.net.resolvers.basic", "net.resolvers.basic");

	local function resolver_for(route)
		return basic.new(route.host, route.port, "tcp", {
			use_ipv4 = module:get_option_boolean("use_ipv4", true);
			use_ipv6 = module:get_option_boolean("use_ipv6", true);
			use_dane = false;
		});
	end

	-- Prosody 13 lets the resolver be replaced.
	function proxy.on_pre_connect(event)
		local route = routes[event.session];
		if route and guard.observing ~= true then
			routes[event.session] = nil;
			event.resolver = resolver_for(route);
		end
	end

	-- COMPAT Prosody 0.12: core makes its resolvers right behind s2sout-created, and nobody is asked. For these calls, one or two, and
	-- for this domain only, the function that makes them is another.
	-- Which it is can be told only when mod_s2s is there: core loads modules in any order.
	local function unasked_service()
		return not rawget(package.loaded, "prosody.net.resolvers.service") and rawget(package.loaded, "net.resolvers.service");
	end

	local none = { next = function (_, callback) callback(nil); end };

	local function stand_in(service, session, route)
		local new = service.new;
		local domain = session.to_host;
		local function restore()
			service.new = new;
		end
		function service.new(hostname, name, ...)
			if hostname ~= domain or session.destroyed then
				restore();
				return new(hostname, name, ...);
			end
			if name == "xmpps-server" then
				restore();
				return none;
			end
			if not session.ssl_ctx then restore(); end -- else one for direct TLS comes next
			return resolver_for(route);
		end
	end

	function proxy.connect_through(session, host, port)
		local route = { host = host; port = port };
		local service = unasked_service();
		if service then
			stand_in(service, session, route);
		else
			routes[session] = route;
		end
	end

	return proxy;
end

return new_proxy;
