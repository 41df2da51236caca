-- lua/difference.lib.lua: what changes from one set of policies to another.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local native = stub.native();
local difference = stub.library("difference");

local function partner(domain, more)
	local entry = { domain = domain; partner_type = "federated" };
	for key, value in pairs(more or {}) do entry[key] = value; end
	return entry;
end

local function policy(list, limits, default)
	local compiled = assert(native.compile_table({ lists = { { place = "s2s_partners"; list = list } } }));
	return assert(native.compile_policy({ table = compiled; limits = limits; default = default; options = { require_encryption = false } }));
end

local function printed(before, after)
	local lines = {};
	local outcome = difference.compare(before, after);
	difference.print(function (line) lines[#lines + 1] = line; end, outcome, { count = 0 });
	return (table.concat(lines, "\n"):gsub("\n%s%s%s+", " ")), difference.summary(outcome);
end

describe("the difference of policies", function ()
	it("is nothing where nothing changes but places and order", function ()
		local one = { ["a.test"] = policy { partner "x.test", partner("y.test", { description = "two lines" }) } };
		local other = { ["a.test"] = policy { partner("y.test", { description = "two lines" }), partner "x.test" } };
		local text, summary = printed(one, other);
		assert.equal("  no partner, no setting of one and no limit", text);
		assert.equal("0 partners added, 0 removed, 0 changed", summary);
	end);

	it("is each partner added, removed and changed, with the methods that come and go", function ()
		local before = policy { partner "x.test", partner "gone.test", partner("y.test", { sasl = "optional"; dialback = true; tls = "optional" }) };
		local after = policy({ partner("x.test", { additional_domains = { "*.x.test" }; connection_limit = 3 }), partner "new.test",
			partner("y.test", { sasl = "optional"; dialback = true }) }, { connections = 7 });
		local text, summary = printed({ ["a.test"] = before; ["b.test"] = before }, { ["a.test"] = after; ["b.test"] = after });
		assert.equal([[

Partners of a.test, b.test
  added    new.test: federated, required/required/no: SASL
  removed  gone.test: federated, required/required/no: SASL
  changed  x.test: additional_domains: *.x.test, was none; connection_limit: 3, was 20
  changed  y.test: tls: required, was optional; methods lost: TCP dialback
  changed  limits: connections: 7, was 1000]], text);
		assert.equal("1 partner added, 1 removed, 2 changed", summary);
	end);

	it("tells hosts apart, and knows those that come and go", function ()
		local one, two = policy { partner "x.test" }, policy { partner "x.test", partner "y.test" };
		local text = printed({ ["a.test"] = one; ["b.test"] = one; ["old.test"] = one }, { ["a.test"] = one; ["b.test"] = two; ["new.test"] = two });
		assert.matches("Partners of b.test\n  added    y.test", text);
		assert.matches("Partners of new.test\n  added    x.test.-\n  added    y.test", text);
		assert.matches("Partners of old.test\n  removed  x.test", text);
		assert.is_nil(text:find("Partners of a.test", 1, true));
	end);

	it("has the policy for domains that are not listed", function ()
		local refuse, open = policy {}, policy({}, nil, { partner_type = "public_unverified" });
		local strict = policy({}, nil, { partner_type = "public_unverified"; connection_limit = 2 });
		assert.matches("changed  domains not listed: .*, was refused", (printed({ a = refuse }, { a = open })));
		assert.matches("changed  domains not listed: connection_limit: 2, was 20", (printed({ a = open }, { a = strict })));
	end);

	it("is not longer than can be read", function ()
		local list = {};
		for i = 1, 1000 do list[i] = partner(("p%d.test"):format(i)); end
		local text = printed({}, { ["a.test"] = policy(list) });
		assert.matches("added    and 800 more$", text);
	end);
end);
