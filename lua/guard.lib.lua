-- The guard: what the C handlers act through, and the running policy of every host.
-- It may know Prosody; it decides nothing.

local filters = require "util.filters";
local async = require "util.async";
local jid = require "util.jid";
local nameprep = require "util.encodings".stringprep.nameprep;

local hosts = prosody.hosts;

local function new_guard(native, latch)
	local guard = {
		policies = {}; -- host -> policy userdata; a host without one refuses everything
		trust = { anchors = {}; hosts = {}; own = {} }; -- see trust.load
		hosts = hosts;
		native = native;
		-- What LuaSec's own info() begins with; the rest of it takes a description of the cipher to pieces.
		tls_info = (package.loaded["ssl.core"] or {}).info;
		bare_sessions = prosody.bare_sessions;
		full_sessions = prosody.full_sessions;
		is_address = function (address) return jid.prep(address) ~= nil; end;
		answers = setmetatable({}, { __mode = "k" }); -- stanzas of our own, not to be judged again
		notes = setmetatable({}, { __mode = "k" }); -- stanza -> its copy without status notes
		questions = {}; -- host -> keys that partners are being asked about; counted by C, at most so many that their bounds allow
	};
	local options = module:require "options";
	-- Whether nothing is enforced. Exactly true, here and in C: whatever else it may come to be means that everything is.
	guard.observing = latch.observes() == true;
	local farewell, contexts = module:require "farewell" (latch.in_handshake, guard), module:require "contexts";
	local report = module:require "report" (native, guard);
	local trust = module:require "trust" (native);
	local commit = module:require "commit" (native, options, trust);
	local limits = module:require "limits" (guard, native, latch);
	local proxy = module:require "proxy" (guard);
	limits.keepalive = module:require "keepalive" (guard, native);
	guard.limits = limits;
	local subscriptions = module:require "subscriptions" (native, guard);
	local facts, memory = module:require "facts" (guard, subscriptions, module.saved_state and module.saved_state.memory);
	guard.facts, guard.roles_scanned, guard.directed = facts, memory.roles_scanned, memory.directed_by;
	local expiry = module:require "expiry" (native, latch);
	guard.expiry = expiry;

	-- Actions run in a runner of their own: closing a stream bounces its queue, and whoever gets those bounces may wait.
	local function detached(action)
		async.runner(action, {
			error = function (_, err)
				module:log("error", "Error while refusing: %s", err);
			end;
		}):run(true);
	end

	local rejudge = module:require "rejudge" (guard, native, latch, limits, module:require "queue", detached);

	local crl_watch = trust.crls.watch(guard, { latch = latch; rejudge = rejudge; expiry = expiry });
	limits.tick = function ()
		guard.observed.tick();
		expiry.tick();
		crl_watch.tick();
	end;

	-- The primary domain of the partner, or "unlisted": what strangers send must not grow any table.
	local function partner_label(host, remote)
		local policy = guard.policies[host];
		return policy and remote and policy:label(remote) or "unlisted";
	end

	local reload = module:require "reload" (guard, { commit = commit; limits = limits; rejudge = rejudge; expiry = expiry; report = report });

	local answers = module:require "answers" (guard, detached);
	local features = module:require "features";
	guard.read_features = features.read;
	guard.act = module:require "actions" ({ guard = guard; native = native; limits = limits; report = report; memory = memory; expiry = expiry;
		subscriptions = subscriptions; answers = answers; features = features; unparsed = module:require "unparsed"; detached = detached;
		partner_label = partner_label; watch_header = module:require "header" (module:require "needs");
		connect_through = proxy.connect_through });

	-- Whether mod_dialback would say that a key is of its making. What cannot be found out is left to it.
	function guard.key_is_ours(host, stanza)
		local dialback = hosts[host] and hosts[host].modules.dialback;
		local verify = dialback and dialback.verify_dialback; -- the same in 0.12 and 13
		if type(verify) ~= "function" then return true; end
		local attr = stanza.attr;
		local ok, ours = pcall(verify, attr.id, attr.from, attr.to, stanza[1]);
		return not ok or ours;
	end

	-- The domains of a stanza's own addresses. Core answers malformed addresses as they stand: nil of what is none.
	function guard.own_way(event)
		local attr = event.stanza.attr;
		return nameprep(jid.host(attr.from) or event.from_host), nameprep(jid.host(attr.to) or event.to_host);
	end

	-- While nothing is enforced each action has one in its place that only tells.
	guard.observed = module:require "observe" (guard, { native = native; report = report; limits = limits; memory = memory;
		partner_label = partner_label; latch = latch; act = guard.act });
	guard.would = guard.observed.would;
	function guard.acting()
		return guard.observing == true and guard.would or guard.act;
	end

	--- Policies

	-- Virtual hosts and components alike: core hands global modules on to no component.
	local installed = {};
	local function guard_host(host)
		local events = hosts[host] and hosts[host].events;
		if not events or installed[host] == events then return; end
		installed[host] = events;
		native.install_host(guard, module:context(host), host);
		module:context(host):hook("s2sout-pre-connect", proxy.on_pre_connect);
		subscriptions.guard_host(host, module:context(host));
		memory.guard_host(host, module:context(host));
	end

	-- Core takes a module's hooks away when the module goes, not when a host does; with its events they hold all that the host had.
	local function forget_host(host)
		local events, hooked = installed[host], module.event_handlers;
		installed[host] = nil;
		if not events then return; end
		for _, object in ipairs({ events, events.wrappers }) do
			for _, event, handler in hooked:iter(object, nil, nil) do
				object.remove_handler(event, handler);
			end
			hooked:set(object, nil);
		end
	end

	local function on_host_activated(host)
		guard_host(host);
		if guard.policies[host] == nil and guard.running then
			local new = commit.compile_host(host);
			if new then
				guard.policies[host] = new.policies[host];
				guard.trust.hosts[host] = new.trust.hosts[host];
				guard.trust.own[host] = new.trust.own[host];
				for path, store in pairs(new.trust.anchors) do
					-- What other hosts run with changes only when all of them are committed.
					guard.trust.anchors[path] = guard.trust.anchors[path] or store;
				end
				for _, kind in ipairs({ "crls"; "crl_wanted" }) do
					guard.trust[kind] = guard.trust[kind] or {};
					guard.trust[kind][host] = new.trust[kind][host];
				end
				guard.trust.crl_files = guard.trust.crl_files or {};
				for path, entry in pairs(new.trust.crl_files) do
					guard.trust.crl_files[path] = guard.trust.crl_files[path] or entry;
				end
				limits.configure(guard.policies);
				expiry.committed(guard.policies, guard.trust);
			end
		end
	end

	local function add_filter(session)
		if type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			filters.add_filter(session, "stanzas/in", guard.filter, 1000);
		end
	end

	function guard.save()
		local saved = guard.running and { policies = guard.policies; trust = guard.trust;
			waiting = limits.save(); keepalives = guard.keepalives } or {};
		saved.memory = memory.save();
		if guard.running then saved.expiry = expiry.state; end
		return saved;
	end

	local function keep_contexts()
		local longest = 0;
		for _, policy in pairs(guard.policies) do
			longest = math.max(longest, policy:limits().establishment_timeout);
		end
		local ok, err = pcall(contexts.keep, longest);
		if not ok then module:log("error", "Cannot keep the TLS contexts of handshakes under way: %s", err); end
	end

	local metrics = module:require "metrics" (guard, native, latch, report);
	local console, remove_adhoc;

	-- The mode as the configuration has it now. Whether it is another.
	function guard.take_mode()
		local observing = latch.observes() == true;
		if observing == guard.observing then return false; end
		local ok, err = pcall(metrics.drain); -- what has been counted was of the mode before
		if not ok then module:log("error", "Could not count: %s", err); end
		guard.observing = observing;
		module:log("info", observing and "From now on nothing is enforced" or "From now on the list of partners is enforced");
		return true;
	end

	function guard.start(saved)
		native.install_global(guard, module);
		for host in pairs(hosts) do
			guard_host(host);
		end
		module:hook_global("host-activated", on_host_activated, 1000);
		module:hook_global("host-deactivated", forget_host);
		-- Core's own are at -1 and 0.
		module:hook_global("config-reloaded", keep_contexts, 1000);
		module:hook_global("host-deactivated", keep_contexts, 1000);
		module:hook_global("s2s-created", farewell, 1000);
		module:hook_global("user-deleted", function (event) subscriptions.user_deleted(event.host, event.username); end);
		guard.filter = native.stanza_filter(guard);
		filters.add_filter_hook(add_filter);
		latch.each_stream(function (session)
			if session.filter then add_filter(session); end
		end);
		if saved and saved.policies then
			guard.running = true;
			guard.policies, guard.trust = saved.policies, saved.trust;
			guard.keepalives = saved.keepalives or guard.keepalives;
			limits.configure(guard.policies);
			expiry.restore(saved.expiry);
		end
		limits.start(saved and saved.waiting);
		-- Streams that live on have their numbers, and their places, with the module before.
		if not reload.now() then
			rejudge.act(rejudge.judge());
		end
		module:hook_global("config-reloaded", reload.soon);
		console = module:require "console/shell" (guard, native, commit, latch, metrics);
		remove_adhoc = module:require "console/adhoc" (console);
	end

	function guard.stop()
		limits.stop();
		expiry.stop();
		crl_watch.stop();
		guard.stopped = true;
		metrics.drain();
		if console and console.stop then console.stop(); end
		if remove_adhoc then remove_adhoc(); end
		filters.remove_filter_hook(add_filter);
		latch.each_stream(function (session)
			if session.filters then filters.remove_filter(session, "stanzas/in", guard.filter); end
		end);
	end

	return guard;
end

return new_guard;
