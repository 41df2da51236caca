-- partners:check: the configuration on disk, not applied, and whether this edge is ready for partners.

local layout = module:require "layout";
local host_certificate = module:require "host_certificate";
local readiness = module:require "readiness";
local service_lookup = module:require "service_lookup";
local disk = module:require "console/disk";
local difference = module:require "difference";

local promise = require "util.promise";

local PARTNERS_SHOWN = 200;

local function new_check(context)
	local guard, native = context.guard, context.native;
	local inner_check = module:require "console/inner_check" (context);

	-- Every partner of any host once; those with a proxy are not asked of DNS.
	local function all_partners(policies)
		local seen, list = {}, {};
		for _, policy in pairs(policies) do
			for _, partner in ipairs(policy:partners()) do
				if not seen[partner.name] then
					seen[partner.name] = true;
					list[#list + 1] = partner;
				end
			end
		end
		table.sort(list, function (a, b) return a.name < b.name; end);
		return list;
	end

	local function find_partner(partner, done)
		if not partner.proxy then return service_lookup.find(partner.name, done); end
		local target = { host = partner.proxy_host; port = partner.proxy_port };
		if partner.proxy_host:find(":", 1, true) or not partner.proxy_host:find("%a") then
			target.addresses = { partner.proxy_host };
			return done({ target; proxy = true });
		end
		service_lookup.addresses(partner.proxy_host, function (addresses, problem)
			target.addresses, target.problem = addresses, problem;
			done({ target; proxy = true });
		end);
	end

	local function check(self)
		local print = self.session.print;
		context.say_if_not_applied(print);
		local result, state, config = disk.try(native, context.latch.observes);
		local errors, warnings = layout.issues(print, state.issues);
		if errors + warnings == 0 then
			print("The configuration on disk has no errors and no warnings.");
		end
		layout.print(print, "", ("%s on disk; checked, not applied."):format(layout.count(state.partner_count, "partner")));
		local observing = guard.observing == true;
		if result then
			print("");
			print("What a commit would change");
			local outcome, will_observe = difference.compare(guard.policies, result.policies), context.latch.observes(config);
			outcome.mode = difference.change_of_mode(observing, will_observe);
			difference.print(print, outcome, difference.closing(native, context.latch, result, will_observe));
		elseif observing then
			difference.print_streams(print, difference.closing(native, context.latch, context.in_force.current(), observing));
		end

		local hosts = {};
		for host in pairs(guard.hosts) do hosts[#hosts + 1] = host; end
		table.sort(hosts);
		local function say(grade, text)
			if grade == "warning" then warnings = warnings + 1; end
			layout.print(print, ("  %-8s "):format(grade), text);
		end
		print("");
		print("Certificates of this server");
		for _, host in ipairs(hosts) do
			for _, found in ipairs(host_certificate.judge(native, host)) do
				say(found.grade, (found.grade == "ok" and "" or host..": ")..found.text);
			end
		end

		-- With errors on disk, the partners in force are those that there are to look for.
		local partners = all_partners(result and result.policies or guard.policies);
		local items = {};
		for _, host in ipairs(hosts) do items[#items + 1] = { host = host }; end
		for _, partner in ipairs(partners) do items[#items + 1] = { partner = partner }; end
		print("");
		print(("Asking DNS about %s of this server and %s ..."):format(layout.count(#hosts, "domain"),
			layout.count(#partners, "partner")));
		local ports, addresses, direct_ports = readiness.listening();
		local outcome, shown = { own = {}; partner = {} }, 0;

		return promise.new(function (resolve, reject)
			service_lookup.each(items, function (item, done, is_over)
				local function store(targets, problem)
					if is_over() then return; end
					if item.host then
						for _, found in ipairs(readiness.judge_own(item.host, targets, problem, ports, addresses, direct_ports)) do
							table.insert(outcome.own, found);
						end
					else
						local grade, text = readiness.judge_partner(item.partner.name, targets, problem);
						table.insert(outcome.partner, { grade = grade; text = text });
					end
					done();
				end
				if item.host then service_lookup.find(item.host, store); else find_partner(item.partner, store); end
			end, function (unfinished)
				local function by_text(a, b) return a.text < b.text; end
				table.sort(outcome.own, by_text);
				table.sort(outcome.partner, by_text);
				print("");
				print("How partners find this server");
				for _, found in ipairs(outcome.own) do say(found.grade, found.text); end
				print("");
				print("How this server finds partners");
				for _, found in ipairs(outcome.partner) do
					if found.grade ~= "ok" or shown < PARTNERS_SHOWN then
						shown = shown + 1;
						say(found.grade, found.text);
					end
				end
				if shown < #outcome.partner then
					print(("  and %d more that are in order"):format(#outcome.partner - shown));
				end
				if unfinished > 0 then
					say("warning", ("%s not looked up in time"):format(layout.count(unfinished, "domain")));
				end
				inner_check(result, print, say, function ()
					local text = ("%s, %s"):format(layout.count(errors, "error"), layout.count(warnings, "warning"));
					if errors > 0 then reject(text); else resolve(text); end
				end);
			end);
		end);
	end

	return { check = { desc = "The configuration on disk, without applying it; own certificates; DNS of this server and of partners; the servers inside "
		.."of relay hosts";
		args = {}; handler = check } };
end

return new_check;
