-- The TLS context of one of our hosts for streams between servers, of the options in the order in which mod_tls gives them.

local configmanager = require "core.configmanager";
local create_context = require "core.certmanager".create_context;

-- mode: "server" or "client"; first: options that count for more than what is configured. As core's create_context returns: the context, or nil
-- and what is wrong; and the options that came of it, if there are any.
return function (host, mode, first)
	local parent = host:match("%.(.*)$");
	local function get(section, option)
		return section and configmanager.rawget(section, option);
	end
	local host_ssl = get(host, "ssl") or get(parent, "ssl") or {};
	local host_s2s = get(host, "s2s_ssl") or get(parent, "s2s_ssl") or {};
	return create_context(host, mode, first or {}, host_s2s, host_ssl, get("*", "s2s_ssl") or {});
end;
