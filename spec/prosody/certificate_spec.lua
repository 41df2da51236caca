-- Certificates and trust stores as Lua sees them, and how a chain is taken from a connection.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local certificates = require "certificates_stub";

local native = stub.native();
local OTHER_PIN = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
local DAY = 86400;

local paths, store;

setup(function ()
	paths = certificates.make({ "fabrikam.test:good", "fabrikam.test:intermediate", "fabrikam.test:untrusted-ca",
		"fabrikam.test:names-2000", "fabrikam.test:damaged-names", "im.fabrikam.test:wildcard", "fabrikam.test:expired-ca",
		"crl:good:good", "crl:revoking:good:fabrikam.test:good", "crl:forged:forged:fabrikam.test:good", "crl:der:der:fabrikam.test:good",
		"crl:indirect:indirect", "crl:other:of-other" });
	store = assert(native.trust_store({ file = certificates.issuer("ca") }));
end);

teardown(certificates.clean);

local function judge(name, domain, pins, now)
	return native.judge_certificate(certificates.chain(paths[name]), store, domain or "fabrikam.test", pins, now);
end

-- A session whose connection has shown `chain`, the way LuaSec hands it out.
local function session_with(chain, protocol)
	local socket = {
		info = function () return { protocol = protocol or "TLSv1.3" }; end;
		getpeercertificate = function (_, number)
			return chain[number] and { pem = function () return chain[number]; end } or nil;
		end;
	};
	return { conn = { socket = function () return socket; end } };
end

-- Collects after every few instructions: what C has let go of does not survive.
local function stressed(action)
	collectgarbage("setpause", 0);
	debug.sethook(function () collectgarbage(); end, "", 7);
	local ok, err = pcall(action);
	debug.sethook();
	collectgarbage("setpause", 200);
	assert(ok, err);
end

describe("judge_certificate", function ()
	it("tells what it has seen", function ()
		local report = judge("fabrikam.test:intermediate");
		assert.equal("valid", report.verdict);
		assert.equal("CN=fabrikam.test", report.subject);
		assert.equal("CN=Test intermediate CA", report.issuer);
		assert.same({ { type = "dns"; name = "fabrikam.test"; finding = "match" } }, report.names);
		assert.equal(1, report.name_count);
		assert.equal(2, report.presented);
		assert.matches("^%x+$", report.serial);
		assert.equal(3, #report.pins); -- the anchor's as well
		assert.equal(report.pins[1], report.pin);
		assert.matches("^sha256//[%w+/]+=$", report.pin);
		assert.is_true(math.abs(report.not_after - os.time() - 30 * DAY) < 600);
		assert.equal(report.not_after, report.chain_not_after);
		assert.is_nil(report.depth);
	end);

	it("takes DER as well as PEM", function ()
		local pem = certificates.read(paths["fabrikam.test:good"]);
		local base64 = pem:match("%-\n(.*)\n%-"):gsub("\n", "");
		local pipe = assert(io.popen("echo '"..base64.."' | env -u LD_PRELOAD openssl base64 -d -A"));
		local der = pipe:read("a");
		pipe:close();
		assert.equal("valid", native.judge_certificate({ der }, store, "fabrikam.test").verdict);
	end);

	it("knows the verdicts", function ()
		local good = certificates.chain(paths["fabrikam.test:good"]);
		assert.equal("no-certificate", native.judge_certificate({}, store, "fabrikam.test").verdict);
		assert.equal("no-certificate", native.judge_certificate(nil, store, "fabrikam.test").verdict);
		assert.equal("unknown", native.judge_certificate(42, store, "fabrikam.test").verdict);
		assert.equal("untrusted", judge("fabrikam.test:untrusted-ca").verdict);
		assert.equal("identity-mismatch", judge("fabrikam.test:good", "contoso.test").verdict);
		assert.equal("identity-mismatch", judge("fabrikam.test:good", "").verdict);
		assert.equal("valid", judge("im.fabrikam.test:wildcard", "im.fabrikam.test").verdict);
		assert.equal("malformed", judge("fabrikam.test:damaged-names").verdict);
		assert.equal("expired", judge("fabrikam.test:good", nil, nil, os.time() + 60 * DAY).verdict);
		assert.equal("not-yet-valid", judge("fabrikam.test:good", nil, nil, os.time() - 3 * DAY).verdict);
		for _, damaged in ipairs({ "", "x", "\0", "0", ("0"):rep(200000), good[1]:sub(1, -40), { }, true, 12 }) do
			local report = native.judge_certificate({ damaged }, store, "fabrikam.test");
			assert.equal("malformed", report.verdict);
			assert.equal("malformed", native.judge_certificate({ good[1], damaged }, store, "fabrikam.test").verdict);
		end
		local many = {};
		for i = 1, 10000 do many[i] = good[1]; end
		assert.equal("malformed", native.judge_certificate(many, store, "fabrikam.test").verdict);
	end);

	it("wants a pinned key where there are pins", function ()
		local own = judge("fabrikam.test:good").pin;
		assert.equal("valid", judge("fabrikam.test:good", nil, { OTHER_PIN, own }).verdict);
		assert.equal("pin-mismatch", judge("fabrikam.test:good", nil, { OTHER_PIN }).verdict);
		assert.equal("untrusted", judge("fabrikam.test:untrusted-ca", nil, { judge("fabrikam.test:untrusted-ca").pin }).verdict);
		for _, wrong in ipairs({ "x", "sha256//", OTHER_PIN.." ", OTHER_PIN:upper(), 1, {}, true }) do
			assert.has_error(function () judge("fabrikam.test:good", nil, { wrong }); end);
		end
		local many = {};
		for i = 1, 65 do many[i] = OTHER_PIN; end
		assert.has_error(function () judge("fabrikam.test:good", nil, many); end);
	end);

	it("bounds what it hands on", function ()
		local report = judge("fabrikam.test:names-2000");
		assert.equal("valid", report.verdict);
		assert.equal(2000, report.name_count);
		assert.equal(64, #report.names);
	end);

	it("is not led astray by wrong arguments", function ()
		assert.has_error(function () native.judge_certificate({}, nil, "fabrikam.test"); end);
		assert.has_error(function () native.judge_certificate({}, io.stdout, "fabrikam.test"); end);
		assert.has_error(function () native.judge_certificate({}, store); end);
		local trap = setmetatable({}, { __index = function () error("metamethod"); end; __len = function () error("metamethod"); end });
		assert.equal("no-certificate", native.judge_certificate(trap, store, "fabrikam.test").verdict);
	end);

	it("leaves nothing to the collector that is in use", function ()
		local chain = certificates.chain(paths["fabrikam.test:intermediate"]);
		stressed(function ()
			for _ = 1, 5 do
				local own = native.trust_store({ file = certificates.issuer("ca") });
				assert(native.judge_certificate(chain, own, "fabrikam.test").verdict == "valid");
				assert(native.peer_chain(session_with(chain))[2] == chain[2]);
			end
		end);
	end);
end);

describe("peer_chain", function ()
	local chain;
	setup(function () chain = certificates.chain(paths["fabrikam.test:intermediate"]); end);

	it("is what the connection holds", function ()
		assert.same(chain, native.peer_chain(session_with(chain)));
		assert.same({}, native.peer_chain(session_with({})));
	end);

	it("is nothing without a finished handshake", function ()
		local session = session_with(chain);
		session.conn.socket().info = function () return nil; end;
		assert.is_nil(native.peer_chain(session));
		assert.is_nil(native.peer_chain({}));
		assert.is_nil(native.peer_chain({ conn = { socket = function () return {}; end } }));
		assert.is_nil(native.peer_chain(nil));
		assert.is_nil(native.peer_chain(io.stdout));
	end);

	it("ends after one more than is judged", function ()
		local endless = setmetatable({}, { __index = function () return chain[1]; end });
		assert.equal(21, #native.peer_chain(session_with(endless)));
	end);

	it("ends at what is no certificate", function ()
		local session = session_with(chain);
		session.conn.socket().getpeercertificate = function (_, number)
			return number == 1 and { pem = function () return chain[1]; end } or 42;
		end;
		assert.same({ chain[1] }, native.peer_chain(session));
	end);
end);

describe("revocation lists", function ()
	local lists;

	setup(function () lists = paths; end);

	local function read(name)
		local reader = assert(native.crl_reader(lists[name]));
		local file, text;
		repeat file, text = reader:step(); until file ~= false;
		return file, text;
	end

	local function verdict(revocation, ...)
		local files = {};
		for i, name in ipairs({ ... }) do files[i] = assert(read(name)); end
		return native.judge_certificate(certificates.chain(paths["fabrikam.test:good"]), store, "fabrikam.test", nil, nil, revocation,
			native.crl_set(files)).verdict;
	end

	it("revoke, or leave it open", function ()
		for _, revoking in ipairs({ "crl:revoking:good:fabrikam.test:good", "crl:der:der:fabrikam.test:good" }) do
			assert.equal("revoked", verdict("if_known", "crl:good:good", revoking));
			assert.equal("revoked", verdict("required", revoking));
			assert.equal("valid", verdict("off", revoking));
		end
		assert.equal("valid", verdict("required", "crl:good:good"));
		assert.equal("valid", verdict("if_known", "crl:forged:forged:fabrikam.test:good", "crl:other:of-other"));
		assert.equal("revocation-unknown", verdict("required", "crl:forged:forged:fabrikam.test:good"));
		assert.equal("revocation-unknown", verdict("required"));
		local chain = certificates.chain(paths["fabrikam.test:good"]);
		assert.equal("valid", native.judge_certificate(chain, store, "fabrikam.test", nil, nil, "if_known").verdict);
		assert.has_error(function () native.judge_certificate(chain, store, "fabrikam.test", nil, nil, "if known"); end);
		assert.has_error(function () native.judge_certificate(chain, store, "fabrikam.test", nil, nil, "required", {}); end);
	end);

	it("are told about in the report", function ()
		local chain = certificates.chain(paths["fabrikam.test:good"]);
		local report = native.judge_certificate(chain, store, "fabrikam.test", nil, nil, "if_known", native.crl_set({ (read("crl:other:of-other")) }));
		assert.equal("there is no revocation list of its issuer", report.uncovered);
		assert.equal(1, report.uncovered_depth);
		assert.equal("CN=Test CA", report.uncovered_issuer);
		assert.is_nil(report.revocation_until);
		report = native.judge_certificate(chain, store, "fabrikam.test", nil, nil, "if_known", native.crl_set({ (read("crl:good:good")) }));
		assert.is_nil(report.uncovered);
		assert.is_true(math.abs(report.revocation_until - os.time() - 7 * DAY) < 600);
		assert.is_true(#report.links > 5);
	end);

	it("come from files, in steps", function ()
		local file, warnings = read("crl:revoking:good:fabrikam.test:good");
		local count, entries, size = file:counts();
		assert.same({ 1, 1, true, nil }, { count, entries, size > 300, warnings });
		local next_update, this_update = file:next_update();
		assert.is_true(math.abs(next_update - this_update - 8 * DAY) < 600);
		file, warnings = read("crl:indirect:indirect");
		assert.truthy(file);
		assert.matches("indirect%.crl: revocation list 1 %(of CN=Test CA%) counts for nothing: .*indirect", warnings);
		local reader, problem = native.crl_reader("/nonexistent.crl");
		assert.is_nil(reader);
		assert.matches("^/nonexistent%.crl: cannot be read", problem);
		lists.rubbish = certificates.write("rubbish.crl", "rubbish");
		file, problem = read("rubbish");
		assert.is_nil(file);
		assert.matches("rubbish%.crl: holds no revocation list", problem);
		for _, wrong in ipairs({ "", "a\0b", {}, true }) do
			assert.has_error(function () native.crl_reader(wrong); end);
		end
	end);

	it("cannot be tampered with", function ()
		local file = read("crl:good:good");
		local reader = native.crl_reader(lists["crl:good:good"]);
		assert.is_false(getmetatable(file));
		assert.is_false(getmetatable(reader));
		assert.is_false(getmetatable(native.crl_set({})));
		assert.has_error(function () file.counts(reader); end);
		assert.has_error(function () reader.step(file); end);
		assert.has_error(function () native.crl_set({ file, reader }); end);
		assert.has_error(function () native.crl_set({ file, 1 }); end);
		repeat until reader:step();
		assert.has_error(function () reader:step(); end);
	end);

	it("are kept by their set", function ()
		local set;
		stressed(function ()
			set = native.crl_set({ (read("crl:revoking:good:fabrikam.test:good")) });
		end);
		collectgarbage();
		collectgarbage();
		local chain = certificates.chain(paths["fabrikam.test:good"]);
		assert.equal("revoked", native.judge_certificate(chain, store, "fabrikam.test", nil, nil, "if_known", set).verdict);
	end);
end);

describe("trust_store", function ()
	it("counts its anchors and knows their end", function ()
		assert.equal(1, store:count());
		assert.is_true(math.abs(store:not_after() - os.time() - 365 * DAY) < 600);
		local path = certificates.write("two.pem", certificates.read(certificates.issuer("other"))
			..certificates.read(certificates.issuer("ca")));
		assert.equal(2, native.trust_store({ file = path }):count());
	end);

	it("says which file and which certificate is wrong", function ()
		local ca = certificates.read(certificates.issuer("other"));
		local leaf = certificates.read(paths["fabrikam.test:good"]);
		for _, case in ipairs({
			{ "missing.pem", nil, "cannot be read" },
			{ "", nil, "is not a file" },
			{ "empty.pem", "", "holds no certificate" },
			{ "text.pem", "no PEM at all\n", "holds no certificate" },
			{ "damaged.pem", ca..ca:sub(1, 200)..ca:sub(260), "certificate 2 is damaged" },
			{ "leaf.pem", ca..leaf, "certificate 2 %(CN=fabrikam%.test%) is not a CA certificate" },
			{ "expired.pem", certificates.read(certificates.issuer("expired-ca")), "none of its certificates is valid now" },
		}) do
			local path = case[2] and certificates.write(case[1], case[2]) or certificates.write("x", ""):gsub("x$", case[1]);
			local made, message = native.trust_store({ file = path });
			assert.is_nil(made, case[1]);
			assert.matches(case[3], message);
			assert.truthy(message:find(path, 1, true), message);
		end
	end);

	it("warns of one among several that has expired", function ()
		local path = certificates.write("mixed.pem", certificates.read(certificates.issuer("expired-ca"))
			..certificates.read(certificates.issuer("ca")));
		local made, message = native.trust_store({ file = path });
		assert.truthy(made);
		assert.matches("certificate 1 %(CN=Expired CA%)", message);
	end);

	it("takes paths and nothing else", function ()
		for _, wrong in ipairs({ 1, true, {}, "", "a\0b" }) do
			assert.has_error(function () native.trust_store({ file = wrong }); end);
		end
		assert.has_error(function () native.trust_store(); end);
	end);

	it("cannot be tampered with", function ()
		assert.is_false(getmetatable(store));
		assert.has_error(function () store.count({}); end);
		assert.has_error(function () store.count(io.stdout); end);
	end);
end);
