-- Trust stores: what the hosts trust, and the anchors of single partners. Read at commit, so that a reload picks up a
-- replaced file and a bad one is an error of the configuration.

local configmanager = require "core.configmanager";
local find_host_cert = require "core.certmanager".find_host_cert;
local tls_context = module:require "host_tls";
local resolve_relative_path = require "util.paths".resolve_relative_path;

local function new_trust(native)
	local crls = module:require "crls" (native);

	local function resolve(path)
		return resolve_relative_path(prosody.paths.config or ".", path);
	end

	-- What the contexts of mod_tls trust, our stores must trust.
	local function host_options(host)
		local _, err, config = tls_context(host, "client");
		return config, err;
	end

	-- The store and, when there is something to correct, warnings; or nil and what is wrong. Never a default that nobody has chosen.
	local function host_store(config, err)
		if not config then return nil, tostring(err); end
		return native.trust_store({
			cafile = type(config.cafile) == "string" and resolve(config.cafile) or nil;
			capath = type(config.capath) == "string" and resolve(config.capath) or nil;
		});
	end

	-- The files this host shows itself with: that of STARTTLS (mod_tls), and where the direct TLS port picks by name, that one.
	local function own_certificates(host, config)
		local files = {};
		if type(config.certificate) == "string" then
			files[1] = resolve(config.certificate);
		end
		local found = configmanager.get("*", "s2s_direct_tls_ports") and find_host_cert(host);
		if found and resolve(found.certificate) ~= files[1] then
			files[#files+1] = resolve(found.certificate);
		end
		return files;
	end

	local function add(issues, severity, path, got, text)
		for line in text:gmatch("[^\n]+") do
			issues[#issues+1] = {
				severity = severity; code = "trust-anchors"; path = path; got = got; expected = line; nearest = "";
				message = ("%s: got %q; %s"):format(path, got, line);
			};
		end
	end

	local trust = { crls = crls };

	-- { anchors = { [path as written] = store }, hosts = { [host] = store }, own = { [host] = files }, and what crls.load adds } for these
	-- policies, issues added to `issues`. `patterns`: host -> what it names in s2s_partners_crls. `pause` (or nil): see commit.
	function trust.load(policies, issues, patterns, pause)
		local stores = { anchors = {}; hosts = {}; own = {} };
		local seen = {};
		for host, policy in pairs(policies) do
			local config, config_err = host_options(host);
			local store, err = host_store(config, config_err);
			stores.own[host] = own_certificates(host, config or {});
			stores.hosts[host] = store;
			if not store then
				issues[#issues+1] = { severity = "error"; code = "trust-store"; path = host; got = ""; expected = err; nearest = "";
					message = ("%s: the trust store of this host cannot be read: %s"):format(host, err) };
			elseif err then
				for line in err:gmatch("[^\n]+") do
					issues[#issues+1] = { severity = "warning"; code = "trust-store"; path = host; got = ""; expected = line; nearest = "";
						message = ("%s: the trust store of this host lacks something: %s"):format(host, line) };
				end
			end
			if not seen[policy] then
				seen[policy] = true;
				for _, anchor in ipairs(native.trust_anchors(policy)) do
					local name = anchor.partner ~= "unlisted" and (' ("%s")'):format(anchor.partner) or "";
					local place = anchor.place..name..".trust_anchors";
					local message;
					if not stores.anchors[anchor.path] then
						stores.anchors[anchor.path], message = native.trust_store({ file = resolve(anchor.path) });
					end
					if message then
						add(issues, stores.anchors[anchor.path] and "warning" or "error", place, anchor.path, message);
					end
				end
			end
		end
		crls.load(stores, policies, patterns, issues, pause);
		return stores;
	end

	return trust;
end

return new_trust;
