-- partners:test the other way round: a partner's domain first, then a relay host. A stream to the server inside, and a ping over it, stage by stage.

local layout = module:require "layout";
local service_lookup = module:require "service_lookup";
local inner_leg = module:require "console/inner_leg";
local new_progress = module:require "console/progress".new;

local promise = require "util.promise";
local pton = require "util.net".pton;

local STREAM_SECONDS = 20; -- as long as a stanza would wait for the stream

local function new_inner_test(context)
	local guard, native = context.guard, context.native;
	local inner_test = {};

	-- The relay host as the configuration writes it, perhaps with U-labels; nil when it is none.
	local function relay_host(hosts, address)
		local name = native.canonical_domain(address);
		if not name or hosts[name] then return name; end
		for host in pairs(hosts) do
			if native.canonical_domain(host) == name then return host; end
		end
	end

	-- What is to be tested, nil when this is no question about an inner leg; nil and why it is not tested.
	function inner_test.read(domain, relay)
		local boundary = context.boundary and context.boundary();
		if type(domain) ~= "string" or type(relay) ~= "string" or guard.hosts[domain] or not (boundary and boundary.settings) then return nil; end
		local host = relay_host(boundary.settings.hosts, relay);
		local settings = host and boundary.settings.hosts[host];
		if not settings then return nil; end
		local name, fault = native.canonical_domain(domain);
		if not name then return nil, ("%q %s"):format(layout.plain(domain, 80), fault); end
		if guard.hosts[name] then return nil; end -- the ordinary test says that it is one
		local partner = guard.policies[host] and guard.policies[host]:find(name);
		if not partner then
			return nil, ("%s is no partner of %s (unlisted-domain): nothing of it is handed to the server inside, so there is no stream to test")
				:format(name, host);
		end
		return { boundary = boundary; relay = host; domain = name; settings = settings; partner = partner };
	end

	local function failure_words(outcome)
		local words = { layout.plain(outcome.why, 300) };
		if outcome.failed == "key" then words[1] = words[1].."; nobody has asked here about the key"; end
		if outcome.reply_refused then words[#words + 1] = "its own stream was refused: "..layout.plain(outcome.reply_refused, 300); end
		return table.concat(words, "; ");
	end

	function inner_test.run(print, question)
		local settings = question.settings;
		layout.print(print, "", ("Testing %s -> %s, the server inside (%s, %s), for at most %d s"):format(question.domain, question.relay,
			settings.server, layout.methods(settings.view.methods), STREAM_SECONDS + inner_leg.ANSWER_SECONDS));
		local progress = new_progress(print, inner_leg.stages);
		return promise.new(function (resolve, reject)
			local function fail(stage, text)
				progress.over = true;
				progress.print_failure(stage, text);
				layout.print(print, "  Likely remedy: ", inner_leg.remedy(question.boundary, stage, question.relay, question.domain));
				reject(("%s -> %s failed at %s: %s"):format(question.domain, question.relay, stage, text));
			end
			local function done(outcome)
				if outcome.failed then return fail(outcome.failed, failure_words(outcome)); end
				progress.over = true;
				resolve(("%s -> %s works%s; %s in all"):format(question.domain, question.relay,
					outcome.answer.attr.type == "error" and " (it refuses pings)" or "", progress.time()));
			end
			local function look()
				inner_leg.look(native, question.boundary, { relay = question.relay; domain = question.domain; view = settings.view;
					seconds = STREAM_SECONDS; payload = inner_leg.ping() }, progress.stage, done);
			end
			if pton(settings.server_host) then
				progress.stage("DNS", "not asked, s2s_inside has server = \""..layout.plain(settings.server, 100).."\"");
				return look();
			end
			service_lookup.addresses(settings.server_host, function (addresses, problem)
				if #addresses == 0 then
					return fail("DNS", ("%s has no address%s"):format(layout.plain(settings.server_host, 100), problem and " ("..problem..")" or ""));
				end
				progress.stage("DNS", ("%s (%s)"):format(layout.plain(settings.server, 100), table.concat(addresses, ", ")));
				look();
			end);
		end);
	end

	return inner_test;
end

return new_inner_test;
