-- The last established and the last refused stream of each listed partner, in each direction: for people who look back. Strangers have none,
-- so what is kept is bounded by the list; nothing is done per stanza.

local now = require "util.time".now;

local offers = module:require "offers";
local tls_info = module:require "tls_info";

local RULE_MAX = 300; -- bytes
local ADDRESS_MAX = 64;

local function new_recent(native)
	local latch = prosody.s2s_partners_latch;
	-- partner -> direction -> { established, refused }; survives module:reload, as the counters do.
	latch.recent = latch.recent or {};
	local recent = { kept = latch.recent };
	-- outgoing session -> { before, over }: what was offered, before TLS and over it
	local offered = setmetatable({}, { __mode = "k" });

	local function cut(text, limit)
		text = tostring(text);
		return #text > limit and text:sub(1, limit).."..." or text;
	end

	-- `kind`: "established" or "refused". Those whom only the policy for unlisted domains covers are told apart by nobody.
	local function remember(session, kind, view, reason, rule)
		local name = view and view.partner;
		if not name or name == "unlisted" then return; end
		local directions = recent.kept[name] or {};
		recent.kept[name] = directions;
		local kinds = directions[view.direction] or {};
		directions[view.direction] = kinds;
		local offer = offered[session] or {};
		kinds[kind] = {
			time = now(); address = session.ip and cut(session.ip, ADDRESS_MAX); remote = view.remote; host = view.local_host;
			method = kind == "established" and view.method or nil; reason = reason; rule = rule and cut(rule, RULE_MAX);
			tls = view.tls and (tls_info(session.conn).protocol or "TLS") or nil; certificate = view.tls and view.certificate or nil;
			before = offer.before; over = offer.over;
		};
	end

	-- `view`: see native.stream_view
	function recent.established(session, view) remember(session, "established", view); end
	function recent.refused(session, reason, rule)
		if reason == "unlisted-domain" then return; end -- most of those that are refused
		remember(session, "refused", native.stream_view(session), reason, rule);
	end

	-- { direction, kind, and what is kept }... of a partner, in a fixed order
	function recent.of(name)
		local list, directions = {}, recent.kept[name] or {};
		for _, direction in ipairs({ "in"; "out" }) do
			for _, kind in ipairs({ "established"; "refused" }) do
				list[#list + 1] = { direction = direction; kind = kind; kept = directions[direction] and directions[direction][kind] };
			end
		end
		return list;
	end

	-- The reason of the partner's last refused stream, nil when there was none.
	function recent.reason(name)
		local last;
		for _, entry in ipairs(recent.of(name)) do
			local kept = entry.kind == "refused" and entry.kept;
			if kept and (not last or kept.time > last.time) then last = kept; end
		end
		return last and last.reason;
	end

	-- What is offered is looked at before it is judged and cut down.
	local function note(event)
		local session = event.origin;
		if session.type ~= "s2sout_unauthed" then return; end
		local ok, err = pcall(function ()
			local offer = offered[session] or {};
			offered[session] = offer;
			offer[tls_info(session.conn).protocol and "over" or "before"] = offers.words(offers.read(event.stanza));
		end);
		if not ok then module:log("error", "Could not note what %s offers: %s", session.to_host or "a server", err); end
	end

	local watched = {};
	local function watch(host)
		local object = prosody.hosts[host];
		if not object or watched[host] == object then return; end
		watched[host] = object;
		module:context(host):hook("stanza/http://etherx.jabber.org/streams:features", note, 2001);
	end
	for host in pairs(prosody.hosts) do watch(host); end
	module:hook_global("host-activated", watch);
	module:hook_global("host-deactivated", function (host) watched[host] = nil; end);
	-- Core lets go of a session later than that.
	module:hook_global("s2s-destroyed", function (event) offered[event.session] = nil; end);

	return recent;
end

return new_recent;
