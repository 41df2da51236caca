-- prosodyctl mod_s2s_partners contacts over files of an export and a store of tables: what is imported, and what odd files do.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local lua_world = require "lua_world";
local native = require "config_stub".native();
local lfs = require "lfs";

local HOST, BOB, DORA = "contoso.test", "bob@public.test", "dora@public.test";
local DAY = 86400;
local PIE, XI = "xmlns='urn:xmpp:pie:0'", "xmlns:xi='http://www.w3.org/2001/XInclude'";

describe("the import of rosters", function ()
	local world, folder, said, stored, days, opened;
	local print_before, open_before = print, io.open;

	before_each(function ()
		folder = os.tmpname();
		os.remove(folder);
		assert(lfs.mkdir(folder));
		said, stored, days, opened = {}, {}, 30, 0;
		world = lua_world.new({ ["core.configmanager"] = { rawget = function () end; get = function () end };
			["util.prosodyctl"] = { isrunning = function () return true, false; end };
			["core.storagemanager"] = { initialize_host = function () end }; ["core.usermanager"] = { initialize_host = function () end } });
		world.prosody.paths = { data = folder };
		world.prosody.hosts[HOST] = { type = "local"; events = {} };
		function world.open_store() return {
			get = function (_, user) return stored[user]; end;
			set = function (_, user, data) stored[user] = data; return true; end;
		}; end
		_G.print = function (text) said[#said + 1] = tostring(text); end; -- luacheck: ignore 122
		io.open = function (...) opened = opened + 1; return open_before(...); end; -- luacheck: ignore 122
	end);

	after_each(function ()
		_G.print, io.open = print_before, open_before; -- luacheck: ignore 122
		for name in lfs.dir(folder) do
			if not name:find("^%.") then os.remove(folder.."/"..name); end
		end
		lfs.rmdir(folder);
	end);

	local function export(name, text)
		local path = folder.."/"..name;
		local file = assert(open_before(path, "w"));
		file:write(text);
		file:close();
		return path;
	end

	-- The exit status, and all that was said.
	local function import(...)
		said = {};
		local commands = world.load("offline/roster_import")({ native = native; OK = 0; FAILED = 1; USAGE_ERROR = 2;
			complain = function (text) said[#said + 1] = text; end;
			wrong_usage = function (text) said[#said + 1] = text; return 2; end;
			parse = function (arg) return arg, {}; end; resolve = function (path) return path; end;
			compile = function ()
				return { inside = { hosts = { [HOST] = {} }; contacts_days = days };
					policies = { [HOST] = { find = function (_, domain) return domain == "public.test" or nil; end } } }, { issues = {} };
			end });
		local status = commands.contacts({ ... });
		return status, table.concat(said, "\n");
	end

	local function roster(items)
		return ("<server-data %s><host jid='%s'><user name='alice'><query xmlns='jabber:iq:roster'>%s</query></user></host></server-data>")
			:format(PIE, HOST, items);
	end

	it("adds contacts, once", function ()
		local path = export("one.xml", roster("<item jid='"..BOB.."' subscription='to'/>"));
		assert.same({ 0, "1 file, 1 user of relay hosts: 1 contact added, 0 known already" }, { import(path) });
		assert.is_true(stored.alice.items[BOB].to);
		assert.same({ 0, "1 file, 1 user of relay hosts: 0 contacts added, 1 known already" }, { import(path) });
	end);

	it("takes those for known that the server takes for that", function ()
		local path = export("one.xml", roster("<item jid='"..BOB.."' subscription='both'/><item jid='"..DORA.."' subscription='both'/>"));
		local function item(age) return { to = true; seen = os.time() - age * DAY; by = "a probe" }; end
		stored.alice, days = { items = { [BOB] = item(60); [DORA] = item(100) } }, 90;
		local _, text = import(path);
		assert.truthy(text:find("1 contact added, 1 known already", 1, true), text);
		assert.equal("a probe", stored.alice.items[BOB].by);
		assert.is_nil(stored.alice.items[BOB].from);
		stored.alice, days = { items = { [BOB] = item(10); [DORA] = item(2) } }, 5;
		_, text = import(path);
		assert.truthy(text:find("1 contact added, 1 known already", 1, true), text);
		assert.is_true(os.time() - stored.alice.items[BOB].seen < DAY);
	end);

	it("says of files that include themselves what is wrong with them", function ()
		local include = "<xi:include "..XI.." href='%s'/>";
		for level, text in pairs({ host = "<server-data %s>%s</server-data>";
			user = "<server-data %s><host jid='contoso.test'>%s</host></server-data>" }) do
			export("self.xml", include:format("self.xml"));
			opened = 0;
			local status, words = import(export("main.xml", text:format(PIE, include:format("self.xml"))));
			assert.equal(2, status, level);
			assert.truthy(words:find("self.xml: is no export by XEP-0227: it begins with include; nothing has been imported", 1, true), words);
			assert.equal(2, opened);
		end
		assert.equal(2, (import(folder.."/self.xml")));
		assert.same({}, stored);
	end);

	it("takes no pipe, which could be read only once", function ()
		local status, words = import("/dev/null");
		assert.equal(2, status);
		assert.truthy(words:find("/dev/null: is no file but a pipe or a device", 1, true), words);
	end);
end);
