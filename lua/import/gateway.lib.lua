-- What Get-CsXmppGatewayConfiguration exports, as s2s_partners_limits. There is one such object in an organisation.

local layout = module:require "layout";
local exports = module:require "import/exports";

local gateway = {};

-- The property and our key: Set-CsXmppGatewayConfiguration, whose documentation says seconds of the times and the defaults that are ours,
-- too.
local limits = {
	{ "ConnectionLimit", "connections" };
	{ "PartnerConnectionLimit", "partner_connections" };
	{ "StreamEstablishmentTimeout", "establishment_timeout" };
	{ "StreamInactivityTimeout", "inactivity_timeout" };
	{ "KeepAliveInterval", "keepalive_interval" };
};

-- What only an object of that cmdlet has: the partners have a ConnectionLimit as well.
local telling = { "PartnerConnectionLimit"; "StreamEstablishmentTimeout"; "StreamInactivityTimeout"; "KeepAliveInterval";
	"DialbackPassphrase"; "EnableLoggingAllMessageBodies"; "SubscriptionRefreshInterval" };

function gateway.knows(raw)
	for _, name in ipairs(telling) do
		if raw[name] ~= nil then return true; end
	end
	return false;
end

-- Asks the validator about one limit.
local function problem_of(native, key, value)
	local _, issues = native.compile_policy({ table = native.compile_table({}); limits = { [key] = value } });
	for _, issue in ipairs(issues or {}) do
		if issue.severity == "error" then return issue.message; end
	end
end

-- Lines of configuration, and how many values could not be carried over (and are commented out).
function gateway.convert(native, raw)
	local set, said, impossible = {}, {}, 0;
	for _, limit in ipairs(limits) do
		local name, key = limit[1], limit[2];
		local text = exports.as_text(raw[name]);
		local value = text and math.tointeger(tonumber(text));
		if raw[name] == nil then
			said[#said + 1] = ("%s is not in the export; %s keeps its default, which is the same on both sides"):format(name, key);
		elseif not value then
			impossible = impossible + 1;
			said[#said + 1] = ("IMPOSSIBLE, left out: %s is %s, which is no whole number"):format(name, exports.show(raw[name]));
		else
			local problem = problem_of(native, key, value);
			if problem then
				impossible = impossible + 1;
				said[#said + 1] = ("IMPOSSIBLE, left out: %s: %s"):format(name, exports.show(problem));
			else
				set[#set + 1] = ("\t%s = %d;"):format(key, value);
			end
		end
	end
	-- A secret is not printed.
	if exports.as_text(raw.DialbackPassphrase) then
		said[#said + 1] = "DialbackPassphrase: is set there; not printed. dialback_secret is its counterpart, needed only when several servers answer "
			.."for one domain";
	end
	if raw.EnableLoggingAllMessageBodies == true or exports.as_text(raw.EnableLoggingAllMessageBodies) == "True" then
		said[#said + 1] = "EnableLoggingAllMessageBodies: is True there; bodies are never logged here";
	end
	local lines = {};
	for _, text in ipairs(said) do lines[#lines + 1] = "-- "..layout.plain(text); end
	lines[#lines + 1] = "s2s_partners_limits = {";
	for _, line in ipairs(set) do lines[#lines + 1] = line; end
	lines[#lines + 1] = "}";
	return lines, impossible;
end

return gateway;
