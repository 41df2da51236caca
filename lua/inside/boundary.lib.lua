-- The boundary: this server stands in front of another one, whose users and rooms it has not. What its parts are; see docs/boundary.md. Nothing of
-- it is loaded where there is no relay host.

local jid = require "util.jid";
local monotonic = require "util.time".monotonic;

local hosts = prosody.hosts;

local SWEEP = 2; -- seconds
local LINE_EVERY = 10; -- seconds between two lines about one relay host that cannot be reached

-- `with`: guard, native, latch, limits, report, detached, features, unparsed, relays (host -> facts of its own, see facts), address, expiry
local function new_boundary(with)
	local guard, native = with.guard, with.native;
	local boundary = { settings = false };

	local function partner_of(host, domain)
		local policy = guard.policies[host];
		return policy and domain and policy:find(domain) or nil;
	end

	-- Whether an entry names the domain, or only covers it (and which).
	local function listing(host, domain)
		local partner = partner_of(host, domain);
		if not partner then return "unlisted"; end
		if partner.match == "primary" or partner.match == "additional" then return "named"; end
		return "covered", partner.match == "wildcard" and partner.name or "*";
	end

	local function type_of(host, domain)
		local partner = partner_of(host, domain);
		return partner and partner.partner_type;
	end

	local contacts = module:require "inside/contacts" (with.address.canonical, type_of);
	boundary.contacts = contacts;
	local directed = module:require "inside/directed" (with.guard.directed, with.address.canonical);
	boundary.directed = directed;

	local told = {}; -- relay host -> when

	local expiry = module:require "inside/inner_expiry" ({ native = native; expiry = with.expiry; own_files = function (host)
		return guard.trust.own[host] or {};
	end });

	-- A warning that cannot be given is no reason to pass nothing.
	local function protected(action, ...)
		local ok, err = xpcall(action, debug.traceback, ...);
		if not ok then module:log("error", "The expiry of inner certificates cannot be watched: %s", err); end
	end

	local relay = module:require "inside/relay" ({ guard = guard; native = native; report = with.report; detached = with.detached;
		contacts = contacts; directed = directed;
		log_failure = function (host, domain, why)
			local now = monotonic();
			if now - (told[host] or -LINE_EVERY) < LINE_EVERY then return; end
			told[host] = now;
			module:log("warn", "The server inside of %s cannot be reached for %s: %s", host, domain, why);
		end });
	boundary.relay = relay;

	-- What C reads, as of the outer side; but here partners are the relay hosts, and no host of ours is local.
	local inner = {};
	local border = module:require "border" ({ read_features = with.features.read; opened_for_key = function (session)
		return session.asks_about ~= nil;
	end });
	border.hosts, border.bare_sessions, border.full_sessions = {}, {}, {};
	border.key_is_ours = function (_, stanza) return inner.handshake.key_is_ours(nil, stanza); end;
	border.facts = {};

	local report = module:require "report" (native, border, "inner ");
	local function nothing() end
	border.act = module:require "actions" ({ guard = border; native = native; report = report; detached = with.detached; features = with.features;
		unparsed = with.unparsed; answers = module:require "answers" (border, with.detached); memory = {};
		limits = { in_handshake = function () return false; end; may_log = with.limits.may_log; settled = nothing;
			dismiss = function (session, condition, text) session:close({ condition = condition; text = text }); end };
		expiry = { seen = function (view) protected(expiry.seen, view); end }; subscriptions = { authorise = function () return false; end };
		partner_label = function (_, remote) return remote or "unlisted"; end;
		watch_header = nothing; connect_through = nothing;
		destroy_session = function (session, text) session:close(nil, text); end });
	border.would = {};

	-- Who looks on hears of each inner stream that is refused: function (session, reason, rule) -> true. The console's looks, while they last.
	boundary.onlookers = {};
	report.on("stream_refused", function (session, reason, rule)
		for onlooker in pairs(boundary.onlookers) do onlooker(session, reason, rule); end
	end);

	inner.no_delay = module:require "no_delay" (native, border);
	inner.native, inner.border, inner.latch, inner.act = native, border, with.latch, border.act;
	inner.deliver, inner.opened, inner.ended, inner.listing = relay.deliver, relay.opened, relay.ended, listing;
	local endpoint = module:require "inside/inner_endpoint" (inner);
	inner.handshake = module:require "inside/inner_handshake" (endpoint);
	boundary.endpoint = endpoint;
	relay.use(endpoint);
	endpoint.start();
	module:require "inside/inner_metrics" (boundary, native);

	--- The users of a relay host, for the guard: all there are, as far as anybody here knows

	local facts = { listed = contacts.listed; sees = contacts.sees };
	function facts.account(_, user) return user ~= "" and "exists" or "missing"; end
	function facts.note_presence(stanza)
		local attr = stanza.attr;
		directed.note(stanza, contacts.listed(jid.host(attr.from), jid.node(attr.from), attr.from, attr.to) == "yes");
	end
	function facts.take_back_presence(stanza) directed.take_back(stanza.attr.from, stanza.attr.to); end
	function facts.standing() return "none"; end -- blocked and cancelled are the users' server's
	function facts.blocked() return "no"; end
	function facts.contacts() return "few"; end
	function facts.waiting() return "room"; end -- nothing of a request waits here

	-- Marks the host for C's fast path, which then takes the user for one that exists, as facts.account does.
	local function mark_hosts(settings)
		for host in pairs(with.relays) do
			with.relays[host] = nil;
			if hosts[host] then hosts[host].s2s_partners_relay = nil; end
		end
		for host in pairs(settings and settings.hosts or {}) do
			with.relays[host] = facts;
			if hosts[host] then hosts[host].s2s_partners_relay = true; end
		end
	end

	local sweeper;

	-- While a host is active its contacts can be written.
	local function write_waiting(host)
		local ok, err = xpcall(contacts.flush, debug.traceback, true, host);
		if not ok then module:log("error", "Contacts that wait could not be written: %s", err); end
	end

	module:hook_global("server-stopping", function () write_waiting(); end);
	module:hook_global("host-deactivating", function (event) write_waiting(event.host); end);

	-- `settings`: what inner_settings.compile gave; false when there are no relay hosts (any more).
	function boundary.apply(settings)
		local before = boundary.settings and boundary.settings.hosts or {};
		boundary.settings = settings;
		contacts.forget_after(settings and settings.contacts_days);
		directed.apply(settings and settings.hosts or {});
		for host, of_host in pairs(settings and settings.hosts or {}) do
			if before[host] and before[host].server ~= of_host.server then directed.forget(host); end
		end
		mark_hosts(settings);
		relay.apply(settings and settings.hosts or {});
		endpoint.apply(settings);
		protected(expiry.committed, settings);
		if settings and not sweeper then
			sweeper = module:add_timer(SWEEP, function ()
				if not boundary.settings then sweeper = nil; return; end
				local ok, err = xpcall(function ()
					endpoint.sweep();
					protected(expiry.tick, endpoint);
					contacts.flush();
					contacts.retry();
					endpoint.ports.look();
				end, debug.traceback);
				if not ok then module:log("error", "Error in the look at the inner side's ports, streams' times and unsaved contacts: %s", err); end
				return SWEEP;
			end);
		end
	end

	-- Nothing passes from here on.
	function boundary.stop()
		boundary.settings = false;
		mark_hosts(false);
		relay.apply({});
		-- Before anything that another module's error could end: the next module goes by what is left of these.
		write_waiting();
		directed.apply({});
		if sweeper then sweeper:stop(); end
		sweeper = nil;
		endpoint.stop();
	end

	-- Relay host -> { server, settings, streams = { { domain, direction, view, established }... }, waiting, failure = { when, why } or nil }
	function boundary.view()
		local all = {};
		for host, settings in pairs(boundary.settings and boundary.settings.hosts or {}) do
			local count = relay.waiting(host);
			all[host] = { server = settings.server; settings = settings.view; streams = {}; waiting = count; failure = relay.failures[host] };
		end
		for _, session in ipairs(endpoint.sessions()) do
			local domain, host = endpoint.pair(session);
			local entry = host and all[host];
			if entry and not session.for_key then
				table.insert(entry.streams, { domain = domain; direction = session.direction; view = native.stream_view(session);
					established = session.established });
			end
		end
		return all;
	end

	-- What is to be said of inner ports that are not open: a list of texts.
	function boundary.closed_ports()
		local texts = {};
		for i, place in ipairs(endpoint.ports.closed()) do texts[i] = endpoint.ports.words(place); end
		return texts;
	end

	function boundary.host_of(address)
		local host = jid.host(address);
		return boundary.settings and boundary.settings.hosts[host] and host or nil;
	end

	return boundary;
end

return new_boundary;
