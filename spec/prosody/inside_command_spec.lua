-- prosodyctl mod_s2s_partners inside over a list that is made up: which domains are printed, once each, and that nothing is kept of a long list.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";

local HOST = "contoso.test";

-- What the command needs of a policy, over `domains(position)`.
local function policy_of(count, domains, default)
	local partners = {};
	return {
		table = function () return partners; end;
		count = function () return count; end;
		domains = function (_, position) return domains(position); end;
		default = function () return default; end;
		find = function (_, name)
			for position = 1, count do
				for _, other in ipairs(domains(position)) do
					if other == name then return { match = "primary" }; end
				end
			end
		end;
	};
end

describe("what the server inside needs", function ()
	local world, said, policies, state;

	before_each(function ()
		local own = { [HOST] = { s2s_inside = { server = "10.1.0.10"; sasl = "not_supported"; dialback = true } }; ["other.test"] = { s2s_inside = {} };
			["edge.test"] = {} };
		world = lua_world.new({ ["core.configmanager"] = { rawget = function (host, name) return own[host] and own[host][name]; end } });
		world.prosody.hosts = { [HOST] = {}; ["other.test"] = {}; ["edge.test"] = {} };
		world.config["*"] = { s2s_inside_interfaces = { "10.1.0.2" } };
		world.config[HOST] = own[HOST];
		said, state = {}, { issues = {} };
	end);

	-- The exit status; each piece of what is printed goes to `write`.
	local function run(write, ...)
		local commands = world.load("offline/inside") ({ write = write; OK = 0; FAILED = 1;
			native = { canonical_domain = function (name) return name; end };
			complain = function (text) table.insert(said, text); end;
			wrong_usage = function (text) table.insert(said, text); return 2; end;
			parse = function (arg) return arg, {}; end;
			sorted_hosts = function () return { HOST; "edge.test"; "other.test" }; end;
			compile = function ()
				return policies and { policies = policies }, state,
					{ compile_host = function (host) return { policies = { [host] = policy_of(1, function () return { "b.test" }; end) } }; end };
			end });
		return commands.inside({ ... });
	end

	local function printed(...)
		local pieces = {};
		local status = run(function (...) table.insert(pieces, table.concat({ ... })); end, ...);
		return table.concat(pieces), status;
	end

	it("is each domain once, whichever lists have it, and none below a wildcard", function ()
		local shared = policy_of(2, function (position)
			return position == 1 and { "a.test"; "*.trunk.test"; "*.eu.trunk.test" } or { "x.trunk.test"; "trunk.test"; "b.test" };
		end);
		policies = { [HOST] = shared; ["other.test"] = policy_of(1, function () return { "c.test"; "a.test" }; end) };
		local text, status = printed("unbound");
		assert.equal(0, status);
		local count = {};
		for name in text:gmatch("\n\tlocal%-zone: \"([^\"]+)%.\" %a+") do count[name] = (count[name] or 0) + 1; end
		assert.same({ ["trunk.test"] = 1; ["a.test"] = 1; ["b.test"] = 1; ["c.test"] = 1;
			["_xmpp-server._tcp.a.test"] = 1; ["_xmpps-server._tcp.a.test"] = 1; ["_xmpp-server._tcp.b.test"] = 1; ["_xmpps-server._tcp.b.test"] = 1;
			["_xmpp-server._tcp.c.test"] = 1; ["_xmpps-server._tcp.c.test"] = 1 }, count);
		-- A certificate's wildcard stands for one label, so that all are needed.
		text = printed("san", HOST);
		for _, name in ipairs({ "*.trunk.test"; "*.eu.trunk.test"; "x.trunk.test"; "a.test" }) do
			assert.truthy(text:find(" = "..name.."\n", 1, true), name);
		end
		assert.falsy(text:find("c.test", 1, true)); -- the other host's
	end);

	it("is not kept while it is printed, however long the list is", function ()
		local many = 10000;
		policies = { [HOST] = policy_of(many, function (position) return { ("partner-%d.many.test"):format(position) }; end);
			["other.test"] = policy_of(0, function () end) };
		for _, word in ipairs({ "unbound"; "dnsmasq"; "prosody"; "openfire"; "san" }) do
			collectgarbage();
			local before, most, pieces, bytes = collectgarbage("count"), 0, 0, 0;
			run(function (...)
				pieces = pieces + 1;
				for i = 1, select("#", ...) do bytes = bytes + #select(i, ...); end
				if pieces % 2000 == 0 then
					collectgarbage();
					most = math.max(most, collectgarbage("count") - before);
				end
			end, word, HOST);
			assert.truthy(bytes > many * 20, word);
			assert.truthy(most > 0 and most < 200, ("%s: %.0f KiB"):format(word, most));
		end
	end);

	it("needs no files of the inner side, and no list that has errors", function ()
		policies = nil;
		state.issues = { { severity = "error"; code = "inside"; path = "s2s_inside.certificate"; message = "no such file" } };
		local text, status = printed("unbound");
		assert.equal(0, status);
		assert.truthy(text:find("b.test", 1, true));
		assert.truthy(table.concat(said, "\n"):find("no such file", 1, true));
		for _, issue in ipairs({ { severity = "error"; code = "inside"; path = "s2s_inside.server"; message = "bad" },
			{ severity = "error"; code = "domain"; path = "s2s_inside.certificate"; message = "bad" } }) do
			state.issues[2] = issue;
			text, status = printed("unbound");
			assert.equal(1, status);
			assert.equal("", text);
		end
	end);
end);
