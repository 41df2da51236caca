-- lua/metrics.lib.lua: what is reported is counted once, by names that are in the list, and what cannot be counted stops nothing.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local native = require "config_stub".native();

local HOST = "contoso.test";

local function new_policy(...)
	local list = {};
	for i, domain in ipairs { ... } do list[i] = { domain = domain; partner_type = "federated"; tls = "required"; sasl = "required" }; end
	local compiled = assert(native.compile_table { local_domains = { HOST }; lists = { { place = "s2s_partners"; list = list } } });
	return (assert(native.compile_policy { table = compiled; external_access = { default = "allow" }; limits = {}; options = {} }));
end

describe("metrics", function ()
	local world, metrics, report, guard, left, views;

	before_each(function ()
		world = lua_world.new {};
		world.prosody.hosts[HOST] = {};
		left, views = { partners = {}; files = {} }, {};
		guard = { counters = {}; hosts = world.prosody.hosts; policies = { [HOST] = new_policy("fed.test", "gone.test") } };
		local pretended = setmetatable({ stream_view = function (session) return views[session]; end }, { __index = native });
		report = world.load "report" (pretended);
		local latch = { each_stream = function (visit) for session in pairs(views) do visit(session); end end };
		metrics = world.load "metrics" (guard, pretended, latch, report,
			{ snapshot = function () return left.partners; end; crl_snapshot = function () return left.files; end });
	end);

	local function decisions()
		metrics.drain();
		return world.metrics.decisions.values;
	end

	local function stream() return { direction = "incoming"; from_host = "fed.test"; to_host = HOST; conn = {} }; end

	it("count a refused stream once, however often it is refused", function ()
		local session = stream();
		for _ = 1, 3 do report.stream_refused(session, "tls-required", "a rule", true); end
		assert.same({ [HOST.." fed.test in refuse tls-required"] = 1 }, decisions());
	end);

	it("tell what would have been done from what was done", function ()
		local session = stream();
		guard.observing = true;
		report.stream_refused(session, "tls-required", "a rule", true);
		report.subscription_authorised("fed.test", HOST);
		metrics.drain(); -- as the switch does
		guard.observing = false;
		for _ = 1, 2 do report.stream_refused(session, "tls-required", "a rule", true); end
		assert.same({ [HOST.." fed.test in would-refuse tls-required"] = 1; [HOST.." fed.test in would-change subscription-authorised"] = 1;
			[HOST.." fed.test in refuse tls-required"] = 1 }, decisions());
		local list = metrics.totals("fed.test");
		assert.equal(3, #list);
		for _, entry in ipairs(list) do assert.truthy(entry.reason == "tls-required" or entry.reason == "subscription-authorised"); end
	end);

	it("count what is established, refused, changed by name, direction and reason", function ()
		local session = stream();
		session.direction, session.from_host, session.to_host = "outgoing", HOST, "fed.test";
		report.stream_established(session, { method = "sasl"; tls = true; protocol = "TLSv1.3"; certificate = "valid"; partner = "fed.test" });
		report.stanza_refused("out", "fed.test", "fed.test", HOST, "not-listed", "a rule");
		report.subscription_authorised("fed.test", HOST);
		assert.same({ [HOST.." fed.test out allow none"] = 1; [HOST.." fed.test out refuse not-listed"] = 1;
			[HOST.." fed.test in change subscription-authorised"] = 1 }, decisions());
		assert.truthy(table.concat(world.lines, "\n"):find("Established stream to fed.test (host contoso.test, partner fed.test): SASL EXTERNAL, TLSv1.3, "
			.."certificate valid", 1, true));
	end);

	it("have one name for all strangers, and none for hosts that are not ours", function ()
		for i = 1, 100 do report.stanza_refused("in", "unlisted", "evil"..i..".test", HOST, "unlisted-domain", "a rule"); end
		report.stanza_refused("in", "unlisted", "evil.test", "foreign.test", "unlisted-domain", "a rule");
		assert.same({ [HOST.." unlisted in refuse unlisted-domain"] = 100 }, decisions());
	end);

	it("count a host without a policy too", function ()
		guard.policies = {};
		report.stanza_refused("in", "unlisted", "fed.test", HOST, "config-invalid", "a rule");
		assert.same({ [HOST.." unlisted in refuse config-invalid"] = 1 }, decisions());
	end);

	it("that cannot be counted stop no report", function ()
		guard.policies[HOST] = {};
		report.on("stanza_refused", function () error("oops"); end);
		report.stanza_refused("in", "fed.test", "fed.test", HOST, "not-listed", "a rule");
		local lines = table.concat(world.lines, "\n");
		assert.truthy(lines:find("error: Could not count stanza_refused: ", 1, true));
		assert.truthy(lines:find("debug: Refused a stanza from fed.test (host contoso.test): not-listed: a rule", 1, true));
	end);

	it("of partners that are no longer listed are forgotten when that is in force", function ()
		for _, domain in ipairs { "fed.test", "gone.test" } do report.stanza_refused("in", domain, domain, HOST, "not-listed", "a rule"); end
		guard.policies[HOST] = new_policy "fed.test";
		report.committed({ applied = false; issues = {} }, true);
		assert.equal(1, #metrics.totals "gone.test");
		report.committed({ applied = true; issues = {}; partner_count = 1 }, true);
		assert.equal(0, #metrics.totals "gone.test");
		assert.same({ { host = HOST; direction = "in"; decision = "refuse"; reason = "not-listed"; times = 1 } }, metrics.totals "fed.test");
		assert.same({ applied = 1; rejected = 1 }, world.metrics.reloads.values);
	end);

	it("show live streams and what runs out, and no longer what is gone", function ()
		views[stream()] = { stage = "established"; partner = "fed.test"; local_host = HOST; direction = "in"; method = "sasl" };
		views[stream()] = { stage = "identified"; partner = "fed.test"; local_host = HOST; direction = "in"; method = "none" };
		left = { partners = { ["fed.test"] = 60; ["gone.test"] = 5 }; files = { ["a.crl"] = 7 } };
		world.fire "stats-update";
		assert.same({ [HOST.." fed.test in sasl"] = 1 }, world.metrics.streams.values);
		assert.same({ ["fed.test"] = 60; ["gone.test"] = 5 }, world.metrics.certificate_expiry.values);
		assert.same({ ["a.crl"] = 7 }, world.metrics.crl_expiry.values);
		left = { partners = { ["fed.test"] = 59 }; files = {} };
		world.fire "stats-update";
		assert.same({ ["fed.test"] = 59 }, world.metrics.certificate_expiry.values);
		assert.same({}, world.metrics.crl_expiry.values);
	end);
end);
