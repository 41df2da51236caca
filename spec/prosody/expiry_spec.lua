-- lua/expiry.lib.lua over days that pass as told: what is warned about, how often, and that nothing grows.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local certificates = require "certificates_stub";

local native = stub.native();
local DAY = 86400;
local now = os.time();

local lines, streams, timer, expiry;

-- A policy that lists these domains and what is below them.
local function policy(...)
	local listed = { ... };
	return { label = function (_, domain)
		for _, name in ipairs(listed) do
			if domain == name or domain:sub(-#name - 1) == "."..name then return name; end
		end
		return "unlisted";
	end };
end

local function start(state)
	lines, streams = {}, {};
	local env = setmetatable({ module = {
		log = function (_, level, format, ...) table.insert(lines, level..": "..format:format(...)); end;
		add_timer = function (_, delay, action)
			timer = { delay = delay; action = action; stop = function (self) self.stopped = true; end };
			return timer;
		end;
	} }, { __index = _G });
	local new_expiry = assert(loadfile(source.."/lua/expiry.lib.lua", "t", env))();
	expiry = new_expiry(setmetatable({ stream_view = function (session) return session; end;
			pinned_partners = function (of) return of.pinned or {}; end }, { __index = native }),
		{ all_streams = function () return { table.unpack(streams) }; end });
	expiry.restore(state);
	expiry.committed({ ["contoso.test"] = policy("fabrikam.test", "northwind.test") }, { anchors = {}; hosts = {}; own = {} }, now);
end

local function view(days, fields)
	local seen = { stage = "established"; certificate = "valid"; partner = "fabrikam.test"; remote = "fabrikam.test";
		report = { not_after = now + days * DAY; chain_not_after = now + days * DAY; serial = "0A"; issuer = "CN=CA" } };
	for name, value in pairs(fields or {}) do seen[name] = value; end
	return seen;
end

describe("expiry", function ()
	before_each(function () start(); end);

	it("looks at many streams a few at a time", function ()
		start();
		for number = 1, 25 do streams[number] = view(3, { partner = "partner"..number..".test" }); end
		expiry.check(now);
		local first = timer;
		assert.is_true(first.delay < 1 and #lines > 0 and #lines < 25);
		local before = #lines;
		assert.equal(first.delay, first.action());
		assert.is_true(#lines > before);
		expiry.check(now + DAY); -- what is not through yet begins anew
		assert.is_true(first.stopped);
		assert.are_not.equal(first, timer);
		repeat until not timer.action();
		assert.is_true(#lines >= 25 + before);
		for number = 1, 25 do
			assert.truthy(table.concat(lines, "\n"):find("partner"..number..".test", 1, true));
		end
	end);

	it("warns fourteen days ahead", function ()
		expiry.seen(view(14.01), now);
		assert.same({}, lines);
		expiry.seen(view(13.99), now);
		assert.equal(1, #lines);
		assert.matches("^warn: The certificate of fabrikam%.test %(partner fabrikam%.test%) expires in 13 days, on 20", lines[1]);
		assert.matches("Issued by CN=CA, serial 0A$", lines[1]);
	end);

	it("says hours, and that it is over", function ()
		expiry.seen(view(0.99), now);
		assert.matches("expires in 23 hours, on", lines[1]);
		expiry.seen(view(0, { report = { not_after = now - 1; serial = "0B" } }), now);
		assert.matches("has expired on", lines[2]);
	end);

	it("warns once a day for each certificate", function ()
		for _ = 1, 100 do expiry.seen(view(5), now); end
		assert.equal(1, #lines);
		expiry.seen(view(5, { report = { not_after = now + DAY; serial = "0B"; issuer = "CN=CA" } }), now + 10);
		assert.equal(2, #lines);
		expiry.seen(view(5), now + DAY - 3600);
		assert.equal(2, #lines);
		expiry.seen(view(5), now + DAY);
		assert.equal(3, #lines);
	end);

	it("does not fall silent when the clock is set back", function ()
		expiry.seen(view(5), now);
		expiry.seen(view(5), now - 100 * DAY);
		assert.equal(1, #lines); -- not near, seen from there
		expiry.seen(view(-90), now - 100 * DAY);
		assert.equal(2, #lines);
	end);

	it("looks at live streams every day", function ()
		streams = { view(5), view(200, { partner = "northwind.test" }), view(5, { stage = "identified" }) };
		expiry.check(now);
		assert.equal(1, #lines);
		expiry.tick(now + DAY - 1);
		assert.equal(1, #lines);
		expiry.tick(now + DAY);
		assert.equal(2, #lines);
		expiry.tick(now + DAY + 5);
		assert.equal(2, #lines);
		streams = {};
		expiry.tick(now + 2 * DAY);
		assert.equal(2, #lines);
		streams = { view(5) };
		expiry.tick(now); -- the clock has been set
		assert.equal(3, #lines);
	end);

	it("names what stands above", function ()
		expiry.seen(view(5, { report = { not_after = now + 300 * DAY; chain_not_after = now + 2 * DAY } }), now);
		assert.matches("expires in 2 days.* %(a certificate above its own%)", lines[1]);
	end);

	it("is silent about what is refused anyway, and about streams without certificate", function ()
		for _, verdict in ipairs({ "expired", "untrusted", "unknown", "no-certificate" }) do
			expiry.seen(view(5, { certificate = verdict }), now);
		end
		local plain = view(5);
		plain.report = nil;
		expiry.seen(plain, now);
		expiry.seen(nil, now);
		expiry.seen(view(5, { report = {} }), now);
		assert.same({}, lines);
		assert.same({}, expiry.snapshot(now));
	end);

	it("keeps what each partner showed last, for the metrics", function ()
		expiry.seen(view(100), now);
		expiry.seen(view(90, { remote = "im.fabrikam.test" }), now);
		expiry.seen(view(80, { partner = "northwind.test" }), now);
		expiry.seen(view(50, { partner = "unlisted"; remote = "a.test" }), now);
		assert.same({ ["fabrikam.test"] = 89 * DAY; ["northwind.test"] = 79 * DAY; unlisted = 49 * DAY }, expiry.snapshot(now + DAY));
	end);

	it("is bounded by the partner list, for any number of strangers", function ()
		for i = 1, 500 do
			expiry.seen(view(5, { partner = "unlisted"; remote = "n"..i..".test";
				report = { not_after = now + DAY; serial = ("%X"):format(i); issuer = "CN=CA" } }), now);
		end
		assert.equal(8, #lines);
		local kept = 0;
		for _, certificate in pairs(expiry.state.warned.partners) do
			for _ in pairs(certificate) do kept = kept + 1; end
		end
		assert.equal(8, kept);
	end);

	it("forgets partners that are no longer listed", function ()
		expiry.seen(view(5), now);
		expiry.seen(view(5, { partner = "northwind.test" }), now);
		expiry.committed({ ["contoso.test"] = policy("northwind.test") }, { anchors = {}; hosts = {}; own = {} }, now);
		assert.same({ ["northwind.test"] = 5 * DAY }, expiry.snapshot(now));
		assert.is_nil(expiry.state.warned.partners["fabrikam.test"]);
	end);

	it("survives a reload of the module", function ()
		expiry.seen(view(5), now);
		start(expiry.state);
		expiry.seen(view(5), now + 60);
		assert.same({}, lines);
		start({ nonsense = true });
		expiry.seen(view(5), now + 60);
		assert.equal(1, #lines);
	end);

	it("never raises an error", function ()
		expiry.seen({ certificate = "valid"; report = { not_after = "soon" } }, now);
		assert.equal(1, #lines);
		assert.matches("^error: ", lines[1]);
	end);
end);

describe("own certificates and anchors", function ()
	local paths;

	setup(function ()
		paths = certificates.make({ "contoso.test:good", "late.test:expiring", "gone.test:expired", "fabrikam.test:expiring-ca" });
	end);
	teardown(certificates.clean);
	before_each(function () start(); end);

	local function commit(own, anchors)
		local store = native.trust_store({ file = certificates.issuer("ca") });
		local trust = { anchors = anchors or {}; hosts = {}; own = own };
		for host in pairs(own) do trust.hosts[host] = store; end
		expiry.committed({}, trust, now);
	end

	it("are warned about once for each file", function ()
		local own = {
			["contoso.test"] = { paths["contoso.test:good"] };
			["late.test"] = { paths["late.test:expiring"] }; ["rooms.late.test"] = { paths["late.test:expiring"] };
			["gone.test"] = { paths["gone.test:expired"], "/nowhere/at/all" };
			["bare.test"] = {};
		};
		commit(own);
		table.sort(lines);
		assert.equal(2, #lines);
		assert.matches("gone%.test%.expired%.crt %(for gone%.test%) has expired on", lines[1]);
		assert.matches("%(for late%.test, rooms%.late%.test%) expires in [45] days, on", lines[2]);
		commit(own);
		assert.equal(2, #lines);
		expiry.check(now + DAY);
		assert.equal(4, #lines);
	end);

	it("are what the server has loaded, not what is in the file since", function ()
		local own = { ["late.test"] = { certificates.write("late.crt", certificates.read(paths["late.test:expiring"])) } };
		commit(own);
		certificates.write("late.crt", certificates.read(paths["contoso.test:good"]));
		expiry.check(now + DAY);
		assert.equal(2, #lines);
		assert.matches("renew it and reload", lines[1]);
		assert.matches("expires in [34] days.*a newer one is in the file already: reload", lines[2]);
		commit(own);
		expiry.check(now + 2 * DAY);
		assert.equal(2, #lines);
	end);

	it("can be had with the verdict, for the edge's own readiness", function ()
		commit({ ["contoso.test"] = { paths["contoso.test:good"] }; ["gone.test"] = { paths["contoso.test:good"] } });
		local list = expiry.own_certificates(now);
		assert.equal("contoso.test", list[1].host);
		assert.equal("valid", list[1].report.verdict);
		assert.equal("gone.test", list[2].host);
		assert.equal("identity-mismatch", list[2].report.verdict);
	end);

	it("include anchors that end", function ()
		local anchors = { ["certs/ca.pem"] = native.trust_store({ file = certificates.issuer("expiring-ca") });
			["certs/good.pem"] = native.trust_store({ file = certificates.issuer("ca") }) };
		commit({}, anchors);
		commit({}, anchors);
		assert.equal(1, #lines);
		assert.matches("^warn: The last certificate of the trust_anchors certs/ca%.pem expires in [45] days", lines[1]);
	end);
end);

describe("revocation lists", function ()
	local HOUR = 3600;

	local function list(begun, ends, name)
		return { name = name or "x.crl"; signature = tostring(ends); this_update = now + begun; next_update = now + ends };
	end

	local function commit(files)
		expiry.committed({}, { anchors = {}; hosts = {}; own = {}; crl_files = files }, now);
	end

	before_each(function () start(); end);

	it("are warned about when a quarter of their time is left, and when it is over", function ()
		commit({ ["/x"] = list(-2 * DAY, 2 * DAY); ["/gone"] = false; ["/endless"] = { name = "endless.crl"; signature = "1" } });
		assert.same({}, lines);
		expiry.tick(now + DAY - 1);
		assert.same({}, lines);
		expiry.tick(now + DAY);
		assert.equal(1, #lines);
		assert.matches("^warn: A revocation list in x%.crl expires in 1 day, on .*; fetch a new one, or it counts for nothing", lines[1]);
		expiry.tick(now + DAY + HOUR);
		assert.equal(1, #lines);
		expiry.tick(now + 2 * DAY);
		assert.equal(2, #lines);
		assert.matches("^warn: A revocation list in x%.crl has expired on .*Fetch a new one; until then .* refused where", lines[2]);
		for hour = 1, 23 do expiry.tick(now + 2 * DAY + hour * HOUR); end
		assert.equal(2, #lines);
		expiry.check(now + 3 * DAY);
		assert.equal(3, #lines);
	end);

	it("are warned about fourteen days ahead at most", function ()
		commit({ ["/x"] = list(-200 * DAY, 14 * DAY + 1) });
		assert.same({}, lines);
		expiry.tick(now + 1);
		assert.equal(1, #lines);
	end);

	it("that have been renewed are good again", function ()
		commit({ ["/x"] = list(-7 * DAY, DAY) });
		assert.equal(1, #lines);
		expiry.crls_changed({ anchors = {}; hosts = {}; own = {}; crl_files = { ["/x"] = list(0, 7 * DAY) } }, now);
		expiry.tick(now + 2 * DAY);
		assert.equal(1, #lines);
		assert.same({ ["x.crl"] = 5 * DAY }, expiry.crl_snapshot(now + 2 * DAY));
	end);

	it("that do not cover a certificate are named once a day for each issuer", function ()
		local uncovered = view(100, { report = { not_after = now + 100 * DAY; serial = "0A"; uncovered = "there is no revocation list of its issuer";
			uncovered_depth = 2; uncovered_issuer = "CN=Root" } });
		for _ = 1, 50 do expiry.seen(uncovered, now); end
		assert.equal(1, #lines);
		assert.matches("^warn: The certificate of fabrikam%.test %(partner fabrikam%.test%) goes on without an answer about its revocation: "
			.."there is no revocation list of its issuer %(certificate 2 of the chain, issued by CN=Root%)$", lines[1]);
		for i = 1, 100 do
			uncovered.report.uncovered_issuer = "CN="..i;
			expiry.seen(uncovered, now);
		end
		assert.equal(8, #lines); -- capped
		expiry.seen(uncovered, now + DAY);
		assert.equal(9, #lines);
	end);
end);

describe("pins", function ()
	local function commit(pins, at)
		local listed = policy("fabrikam.test");
		listed.pinned = pins and { { name = "fabrikam.test"; pins = pins } } or nil;
		expiry.committed({ ["contoso.test"] = listed }, { anchors = {}; hosts = {}; own = {} }, at or now);
	end

	local function shown(days, pin)
		return view(days, { report = { not_after = now + days * DAY; serial = "0A"; pin = pin } });
	end

	before_each(function () start(); end);

	it("are warned about when the only one is of a certificate that ends soon", function ()
		commit({ "A" });
		expiry.seen(shown(31, "A"), now);
		expiry.seen(shown(29, "B"), now); -- pinned is its authority's
		assert.same({}, lines);
		expiry.seen(shown(29, "A"), now);
		expiry.seen(shown(29, "A"), now);
		assert.equal(1, #lines);
		assert.matches("^warn: Only one key is pinned for partner fabrikam%.test, .* which expires in 29 days, on", lines[1]);
		commit({ "A", "B" });
		expiry.seen(shown(29, "A"), now + DAY);
		assert.equal(1, #lines);
	end);

	it("are warned about when none has been seen for thirty days", function ()
		commit({ "A" });
		expiry.check(now + 30 * DAY - 1);
		assert.same({}, lines);
		expiry.check(now + 30 * DAY);
		assert.equal(1, #lines);
		assert.matches("^warn: No key that is pinned for partner fabrikam%.test has been seen for 30 days", lines[1]);
		expiry.seen(shown(300, "A"), now + 31 * DAY);
		expiry.check(now + 32 * DAY);
		assert.equal(1, #lines);
		commit({ "B" }, now + 60 * DAY); -- others: counted anew
		expiry.check(now + 62 * DAY);
		assert.equal(1, #lines);
		commit({ "B" }, now + 63 * DAY); -- the same: counted on
		expiry.check(now + 90 * DAY);
		assert.equal(2, #lines);
		commit(nil, now + 91 * DAY);
		assert.same({}, expiry.state.pins);
	end);
end);
