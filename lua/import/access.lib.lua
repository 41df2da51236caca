-- What Get-CsExternalAccessPolicy exports, and who has been given which policy (Get-CsUser | Select-Object SipAddress,
-- ExternalAccessPolicy), as s2s_partners_external_access.
--
-- EnableXmppAccess of the Global policy is False unless somebody has changed it; here everybody may unless somebody says otherwise. What is
-- not known is read as the stricter of the two.

local layout = module:require "layout";
local exports = module:require "import/exports";
local lua_text = module:require "import/lua_text";

local jid_prep, jid_split = require "util.jid".prep, require "util.jid".split;

local access = {};
local quote = lua_text.quote;

local switches = { "EnableXmppAccess"; "EnableFederationAccess"; "EnableOutsideAccess"; "EnablePublicCloudAccess" };

function access.knows_policy(raw)
	for _, name in ipairs(switches) do
		if raw[name] ~= nil then return true; end
	end
	return false;
end

function access.knows_user(raw)
	return raw.SipAddress ~= nil;
end

local function as_boolean(value)
	if type(value) == "boolean" then return value; end
	local word = type(value) == "string" and value:lower();
	if word == "true" or word == "false" then return word == "true"; end
end

-- A policy's name as users have it: "Tag:Sales" and "Sales" are one; nil when it is neither text nor an object with one text in it.
local function policy_name(value)
	if type(value) == "table" then
		value = value.Name or value.Identity or select(2, exports.number_and_name(value));
	end
	local name = exports.as_text(value);
	if not name then return nil; end
	return (name:lower():gsub("^tag:", ""));
end

local function read_policies(raw_policies, lines)
	local policies = { sites = {}; own = {}; impossible = 0 };
	local function say(text) lines[#lines + 1] = "-- "..layout.plain(text); end
	for _, raw in ipairs(raw_policies) do
		local title = exports.show(raw.Identity);
		local name = policy_name(raw.Identity);
		local may = as_boolean(raw.EnableXmppAccess);
		if raw.EnableXmppAccess ~= nil and may == nil then
			policies.impossible = policies.impossible + 1;
			say(("IMPOSSIBLE: EnableXmppAccess of the policy %s is %s, which is neither True nor False; read as False"):format(title,
				exports.show(raw.EnableXmppAccess)));
		elseif may == nil then
			say(("EnableXmppAccess of the policy %s is not in the export; taken as False, its default"):format(title));
		elseif may and as_boolean(raw.EnableFederationAccess) == false then
			say(("verify: the policy %s has XMPP access and no federation access"):format(title));
		end
		if not name then
			policies.impossible = policies.impossible + 1;
			say("IMPOSSIBLE: a policy without an Identity");
		elseif name == "global" then
			policies.global = may or false;
		elseif name:match("^site:") then
			policies.sites[#policies.sites + 1] = { name = title; may = may or false };
		else
			policies.own[name] = may or false;
		end
	end
	return policies;
end

-- "sip:Alice@Contoso.com": alice, contoso.com
local function read_address(value)
	local address = exports.as_text(value);
	if not address then return nil; end
	address = address:gsub("^[sS][iI][pP]:", "");
	local prepared = jid_prep(address);
	if not prepared then return nil; end
	local user, host, resource = jid_split(prepared);
	if not user or resource then return nil; end
	return user, host;
end

--[[
Lines of configuration, and how much could not be carried over; or nil and what is missing to say anything at all. Several domains get a
section each, which therefore come last in a file.
]]
function access.convert(raw_policies, raw_users)
	if #raw_policies == 0 then
		return nil, "there are users, but no policies: who may is known only together with the export of Get-CsExternalAccessPolicy";
	end
	local lines = {};
	local policies = read_policies(raw_policies, lines);
	local impossible = policies.impossible;
	local function say(text) lines[#lines + 1] = "-- "..layout.plain(text); end
	if policies.global == nil then
		say("verify: the policy Global is not in the export; taken as False, its default");
		policies.global = false;
	end
	local default = policies.global;
	for _, site in ipairs(policies.sites) do
		if site.may ~= policies.global then
			impossible = impossible + 1;
			default = false;
			say(("IMPOSSIBLE: the policy %s %s XMPP access, Global %s it, and no export says whose site that is; those without a policy of their own "
				.."are denied until you name them"):format(site.name, site.may and "gives" or "denies", policies.global and "gives" or "denies"));
		end
	end

	local hosts, names, seen = {}, {}, {};
	for _, raw in ipairs(raw_users) do
		local user, host = read_address(raw.SipAddress);
		local policy = policy_name(raw.ExternalAccessPolicy);
		if not user then
			impossible = impossible + 1;
			say(("IMPOSSIBLE: SipAddress is %s, which is not an address such as sip:alice@contoso.com"):format(exports.show(raw.SipAddress)));
		elseif seen[user.."@"..host] then
			impossible = impossible + 1;
			say(("IMPOSSIBLE: %s is in the export twice; the first is taken"):format(exports.show(user.."@"..host)));
		else
			seen[user.."@"..host] = true;
			local may = default;
			if policy == "global" then
				may = policies.global;
			elseif policy and policies.own[policy] ~= nil then
				may = policies.own[policy];
			elseif policy then
				impossible, may = impossible + 1, false;
				say(("IMPOSSIBLE: %s has the policy %s, which is not in the export; denied"):format(exports.show(user.."@"..host), exports.show(policy)));
			end
			if not hosts[host] then
				hosts[host] = {};
				names[#names + 1] = host;
			end
			if may ~= default then table.insert(hosts[host], user); end
		end
	end
	if #raw_users == 0 then
		local other = {};
		for name, may in pairs(policies.own) do
			if may ~= default then other[#other + 1] = name; end
		end
		table.sort(other);
		if #other > 0 then
			impossible = impossible + 1;
			say(("IMPOSSIBLE: who has the policies %s is not in an export; give that of Get-CsUser | Select-Object SipAddress, ExternalAccessPolicy as well")
				:format(exports.show(table.concat(other, ", "))));
		end
	end

	local word, opposite = default and "allow" or "deny", default and "deny" or "allow";
	local function put(indent, users)
		lines[#lines + 1] = ("%ss2s_partners_external_access = { default = %s; users = {"):format(indent, quote(word));
		table.sort(users);
		for _, user in ipairs(users) do
			lines[#lines + 1] = ("%s\t[%s] = %s;"):format(indent, quote(user), quote(opposite));
		end
		lines[#lines + 1] = indent.."} }";
	end
	table.sort(names);
	say(("Get-CsExternalAccessPolicy: those without a policy of their own are %s XMPP access there."):format(default and "given" or "denied"));
	if #names <= 1 then
		if names[1] then say("For "..names[1].."."); end
		put("", names[1] and hosts[names[1]] or {});
	else
		say("Each has to be a host of this server; users of one name on several hosts are several people.");
		put("", {});
		for _, host in ipairs(names) do
			lines[#lines + 1] = "";
			lines[#lines + 1] = ("VirtualHost %s"):format(quote(host));
			put("\t", hosts[host]);
		end
	end
	return lines, impossible;
end

return access;
