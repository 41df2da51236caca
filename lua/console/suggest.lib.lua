-- partners:suggest: the list that the rosters and the live streams make. A few rosters at a time: the server has others to serve.

local async = require "util.async";
local promise = require "util.promise";
local timer = require "util.timer";
local now = require "util.time".now;

local layout = module:require "layout";
local new_suggestion = module:require "suggestion".new;
local rosters = module:require "rosters";

local SLICE_SECONDS = 0.005;
local LOOKED_AT_MAX = 200; -- certificates of observed streams: a tenth of a millisecond each

local function new_suggest(context)
	local guard, native, live = context.guard, context.native, context.live;

	local function entry_of(domain)
		for _, policy in pairs(guard.policies) do
			local partner = policy:find(domain);
			if partner and partner.match ~= "default" then return partner.place; end
		end
	end

	-- { host, stored, user }... of every host with accounts, in the order of names
	local function all_users(suggestion, only)
		local list, names = {}, {};
		for host, session in pairs(guard.hosts) do
			if session.type == "local" and (not only or host == only) then names[#names + 1] = host; end
		end
		table.sort(names);
		for _, host in ipairs(names) do
			local stored, problem = rosters.open(host);
			if not stored then suggestion.add_problem(host..": "..problem); end
			for _, user in ipairs(stored and stored.names or {}) do list[#list + 1] = { host = host; stored = stored; user = user }; end
		end
		return list;
	end

	-- Of a domain that nobody has listed no certificate was judged. Prosody's own verdict, and the pin, are there to compare even so.
	local function look_at(view, store)
		local session, chain = view.session, native.peer_chain(view.session);
		local leaf = type(chain) == "table" and chain[1];
		local report = leaf and native.judge_certificate({ leaf }, store, "pin.invalid");
		local valid = session.cert_chain_status == "valid" and session.cert_identity_status == "valid";
		return leaf and (valid and "valid" or "not valid") or nil, report and report.pin;
	end

	local function add_streams(suggestion)
		local function is_up(view) return view.stage == "established" or view.observed; end
		local looked_at, store = 0, nil;
		for _, view in ipairs(live.streams(is_up)) do
			local certificate, pin = view.tls and view.certificate or nil, view.report and view.report.pin;
			if view.observed and view.tls and not view.report and looked_at < LOOKED_AT_MAX then
				looked_at = looked_at + 1;
				store = store or native.trust_store({});
				if store then certificate, pin = look_at(view, store); end
			end
			suggestion.add_stream(view.remote, { method = view.observed or view.method; direction = view.direction;
				certificate = certificate; pin = pin });
		end
	end

	-- What observe mode has seen of those that would not be let in, since the first of them.
	local function add_observed(suggestion)
		local seen = context.observe.seen();
		if not seen then return; end
		for domain, record in pairs(seen.domains) do suggestion.add_observed(domain, record); end
		suggestion.observed = { since = seen.since; left_out = seen.left_out };
	end

	local function handler(self, host)
		if host ~= nil and (type(host) ~= "string" or not guard.hosts[host]) then
			return nil, ("%s is not a host of this server"):format(layout.plain(host, 80));
		end
		local print = self.session.print;
		local suggestion = new_suggestion({ native = native; is_local = function (domain) return guard.hosts[domain]; end; listed = entry_of });
		local users = all_users(suggestion, host);
		return promise.new(function (resolve, reject)
			local position = 0;
			local function finish()
				add_streams(suggestion);
				add_observed(suggestion);
				local count = suggestion.print(print);
				resolve(("%s suggested%s; nothing is changed"):format(layout.count(count, "partner"), suggestion.complete() and "" or ", INCOMPLETE"));
			end
			local runner;
			local function step()
				local stop = now() + SLICE_SECONDS;
				repeat
					position = position + 1;
					local one = users[position];
					if not one then return finish(); end
					local contacts, problem = one.stored.contacts(one.user);
					if contacts then
						suggestion.add_user(contacts, one.stored.rooms(one.user));
					else
						suggestion.add_problem(("the roster of %s@%s cannot be read: %s"):format(one.user, one.host, problem));
					end
				until now() > stop;
				timer.add_task(0, function () runner:run(true); end);
			end
			-- A storage driver may have to wait for its answer.
			runner = async.runner(step, { error = function (_, err) reject(tostring(err)); end });
			runner:run(true);
		end);
	end

	return { suggest = { desc = "A list of partners as rosters and live streams make it, to copy from; changes nothing";
		args = { { name = "host"; type = "string" } }; handler = handler } };
end

return new_suggest;
