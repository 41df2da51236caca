-- The life cycle of the guard: what it is made of, how it starts, what it hands on, how it stops. What C reads is in lua/border, what is
-- in force in lua/in_force, what follows from a decision in lua/actions.

local filters = require "util.filters";
local async = require "util.async";
local timer = require "util.timer";

local hosts = prosody.hosts;

local LOOK_FOR_RELOAD = 10; -- seconds, see reload.look

local function new_guard(native, latch)
	local life = {};
	local features, queue, collector = module:require "features", module:require "queue", module:require "collector";
	local guard = module:require "border" ({ read_features = features.read; opened_for_key = queue.is_for_key });
	local in_force = module:require "in_force" (guard);
	local options = module:require "options";
	guard.observing = latch.observes() == true;
	local observe; -- comes when there are actions
	local farewell, contexts = module:require "farewell" (latch.in_handshake, prosody.s2s_partners_latch), module:require "contexts";
	local report = module:require "report" (native, guard);
	local trust = module:require "trust" (native);
	local commit = module:require "commit" (native, options, trust, latch.observes);
	local limits = module:require "limits" (guard, native, latch);
	local proxy = module:require "proxy" (guard);
	limits.keepalive = module:require "keepalive" (guard, native);
	local no_delay = module:require "no_delay" (native, guard);
	limits.no_delay = no_delay.on_writing;
	limits.first_look = module:require "first_look" (guard, native, limits, report);
	local subscriptions = module:require "subscriptions" (native, guard);
	local interests = module:require "interests" (guard);
	local facts, memory = module:require "facts" (guard, native, subscriptions, module.saved_state and module.saved_state.memory);
	guard.facts, guard.roles_scanned, guard.directed = facts, memory.roles_scanned or false, memory.directed_by;
	local expiry = module:require "expiry" (native, latch);

	-- Actions run in a runner of their own: closing a stream bounces its queue, and the receiver of a bounce may wait.
	local function detached(action)
		async.runner(action, {
			error = function (_, err)
				module:log("error", "Error while refusing: %s", err);
			end;
		}):run(true);
	end

	local rejudge = module:require "rejudge" (guard, native, latch, limits, queue, detached);

	local crl_watch = trust.crls.watch(guard, { latch = latch; rejudge = rejudge; expiry = expiry });
	limits.tick = function ()
		observe.tick();
		expiry.tick();
		crl_watch.tick();
	end;

	guard.act = module:require "actions" ({ guard = guard; native = native; limits = limits; report = report; memory = memory; expiry = expiry;
		subscriptions = subscriptions; answers = module:require "answers" (guard, detached); features = features;
		unparsed = module:require "unparsed"; detached = detached; partner_label = in_force.label;
		watch_header = module:require "header" (module:require "needs"); connect_through = proxy.connect_through });

	local metrics = module:require "metrics" (guard, native, latch, report, expiry);

	-- While nothing is enforced each action has one in its place that only tells.
	observe = module:require "observe" (guard, { native = native; report = report; limits = limits; partner_label = in_force.label; latch = latch;
		act = guard.act; drain = metrics.drain });
	guard.would = observe.would;

	--- Relay hosts: what there is of them is loaded when there is one

	local boundary;

	local function stop_boundary()
		if not boundary then return; end
		local ok, err = pcall(boundary.stop);
		if not ok then module:log("error", "The inner side could not be closed: %s", err); end
	end

	-- The settings that are in force by now. What goes wrong leaves nothing that passes.
	local function apply_inside()
		if in_force.stopped or not boundary and not in_force.inside then return; end
		local ok, err = xpcall(function ()
			boundary = boundary or module:require "inside/boundary" ({ guard = guard; native = native; latch = latch; limits = limits; report = report;
				detached = detached; features = features; unparsed = module:require "unparsed"; relays = memory.relays; expiry = expiry;
				address = module:require "address" (native) });
			boundary.apply(in_force.inside);
		end, debug.traceback);
		if not ok then
			module:log("error", "Relay hosts pass nothing, because the inner side could not be set up: %s", err);
			stop_boundary();
		end
	end

	local reload = module:require "reload" (native, in_force, { commit = commit; limits = limits; rejudge = rejudge; expiry = expiry; report = report;
		observe = observe; apply_inside = apply_inside });

	--- Hosts

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
		interests.guard_host(host, module:context(host));
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
		if guard.policies[host] ~= nil or not in_force.running then return apply_inside(); end
		local new = commit.compile_host(host);
		if new then
			in_force.add(host, new);
			limits.configure(guard.policies);
			expiry.committed(guard.policies, guard.trust);
		end
		apply_inside();
	end

	--- Streams

	local filter; -- made at the start

	local function add_filter(session)
		if type(session.type) == "string" and session.type:sub(1, 3) == "s2s" then
			filters.add_filter(session, "stanzas/in", filter, 1000);
		end
	end

	local function keep_contexts()
		local ok, err = pcall(contexts.keep, in_force.longest_handshake());
		if not ok then module:log("error", "Cannot keep the TLS contexts of handshakes under way: %s", err); end
	end

	local function hold_collector()
		collector.hold_this_turn(function (action) timer.add_task(0, action); end);
	end

	--- The life cycle

	local console, remove_adhoc, reload_look;

	-- `saved`: what the guard before has handed on, or nil.
	function life.start(saved)
		prosody.s2s_partners_latch.guard = guard; -- see farewell
		native.install_global(guard, module);
		for host in pairs(hosts) do
			guard_host(host);
		end
		module:hook_global("host-activated", on_host_activated, 1000);
		module:hook_global("host-deactivated", forget_host);
		-- What Prosody does itself with a new configuration would be paid for with dozens of steps of the collector, each longer than all that.
		module:hook_global("config-reloaded", hold_collector, 1001);
		-- Core's own are at -1 and 0.
		module:hook_global("config-reloaded", keep_contexts, 1000);
		module:hook_global("host-deactivated", keep_contexts, 1000);
		module:hook_global("s2s-created", farewell, 1000);
		no_delay.start();
		module:hook_global("user-deleted", function (event) subscriptions.user_deleted(event.host, event.username); end);
		filter = native.stanza_filter(guard);
		filters.add_filter_hook(add_filter);
		latch.each_stream(function (session)
			if session.filter then add_filter(session); end
		end);
		if saved and saved.policies then
			in_force.running = true;
			in_force.put(saved);
			guard.keepalives = saved.keepalives or guard.keepalives;
			limits.configure(guard.policies);
			expiry.restore(saved.expiry);
			apply_inside();
		end
		limits.start(saved and saved.waiting);
		-- Streams that live on have their numbers, and their places, with the module before.
		if not reload.now() then
			rejudge.act(rejudge.judge());
		end
		module:hook_global("config-reloaded", reload.soon);
		reload_look = module:add_timer(LOOK_FOR_RELOAD, function ()
			reload.look();
			return LOOK_FOR_RELOAD;
		end);
		console = module:require "console/shell" (guard, native, commit, latch, metrics, in_force, reload, observe,
			function () return boundary; end);
		remove_adhoc = module:require "console/adhoc" (console);
	end

	-- What a reload of the module hands on.
	function life.save()
		limits.first_look.hand_over_all();
		local saved = {};
		if in_force.running then
			saved = in_force.current();
			saved.waiting, saved.keepalives, saved.expiry = limits.save(), guard.keepalives, expiry.state;
		end
		saved.memory = memory.save();
		return saved;
	end

	function life.stop()
		prosody.s2s_partners_latch.guard = { observing = guard.observing == true };
		limits.stop();
		if reload_look then reload_look:stop(); end
		limits.first_look.stop();
		no_delay.stop();
		expiry.stop();
		crl_watch.stop();
		in_force.stopped = true;
		stop_boundary();
		metrics.drain();
		if console and console.stop then console.stop(); end
		if remove_adhoc then remove_adhoc(); end
		filters.remove_filter_hook(add_filter);
		latch.each_stream(function (session)
			if session.filters then filters.remove_filter(session, "stanzas/in", filter); end
		end);
	end

	return life;
end

return new_guard;
