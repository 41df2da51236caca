-- lua/console/disk.lib.lua with relay hosts: they are judged as they are written on disk now.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local native = require "config_stub".native();

describe("the configuration on disk", function ()
	local world, path;

	before_each(function ()
		path = os.tmpname();
		world = lua_world.new({
			["core.modulemanager"] = { loader = { load_code_ext = function (_, _, name, _, env)
				return loadfile(source.."/lua/"..name..".lib.lua", "t", env);
			end } };
			["core.certmanager"] = { create_context = function () return {}, nil, { certificate = "none" }; end; find_host_cert = function () end };
			["core.configmanager"] = { getconfig = function () return { ["*"] = {} }; end; rawget = function () end };
			["core.usermanager"] = { users = function () return next, {}; end };
		});
		world.prosody.paths, world.prosody.config_file = { config = "/nonexistent" }, path;
		-- Libraries that "disk" loads take those of the world as well.
		for _, name in ipairs({ "core.modulemanager"; "core.certmanager"; "core.usermanager" }) do
			package.loaded[name] = package.loaded[name] or world.library(name);
		end
	end);
	after_each(function ()
		os.remove(path);
		for _, name in ipairs({ "core.modulemanager"; "core.certmanager"; "core.usermanager" }) do package.loaded[name] = nil; end
	end);

	local function check(text)
		local file = assert(io.open(path, "wb"));
		file:write(text);
		file:close();
		local result, state = world.load("console/disk").try(native, function (config) return config.get("*", "s2s_partners_mode") == "observe"; end);
		local messages = {};
		for _, issue in ipairs(state.issues) do table.insert(messages, issue.message); end
		return table.concat(messages, "\n"), result;
	end

	local TEXT = [[
		modules_enabled = { "tls"; "saslauth"; "dialback"; "s2s_partners" }
		modules_disabled = { "c2s" }
		s2s_partners = { { domain = "fabrikam.test"; partner_type = "federated"; presence_authorization = "user"; tls = "required"; sasl = "required" } }
		s2s_interfaces = { "203.0.113.5" }
		c2s_interfaces = { "203.0.113.5" }
		s2s_inside_interfaces = { "10.1.0.2" }
		%s
		VirtualHost "contoso.test"
			s2s_inside = { server = "%s"; sasl = "not_supported"; dialback = true }
	]];

	it("has its relay hosts", function ()
		local messages, result = check(TEXT:format("", "10.1.0.10"));
		assert.truthy(result, messages);
		assert.equal("10.1.0.10", result.inside.hosts["contoso.test"].server_host);
	end);

	it("has their errors", function ()
		local messages, result = check(TEXT:format("", "10.1.0.2"));
		assert.is_nil(result);
		assert.truthy(messages:find("is where this server listens for the inside", 1, true), messages);
	end);

	it("has none of them in observe mode", function ()
		local messages, result = check(TEXT:format('s2s_partners_mode = "observe"', "10.1.0.10"));
		assert.is_nil(result);
		assert.truthy(messages:find("nothing passes one while nothing", 1, true), messages);
	end);
end);
