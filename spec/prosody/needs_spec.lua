-- A Prosody that lacks what the module relies on is refused at the start, by name. (In a server: spec/federation/scenarios/platforms.py.)

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
local needs = assert(loadfile(source.."/lua/needs.lib.lua"))();

local function nothing() end

local function set(into, path, value)
	local key, rest = path:match("^([^.]+)%.(.+)$");
	if not key then into[path] = value; return; end
	into[key] = into[key] or {};
	set(into[key], rest, value);
end

local values = { tables = {}; functions = nothing; strings = "s2sin_unauthed" };

local function object(name)
	local made = {};
	for kind, keys in pairs(needs.objects[name]) do
		for _, key in ipairs(keys) do made[key] = kind == "tables" and {} or values[kind]; end
	end
	return made;
end

-- A Prosody that has everything.
local function whole()
	local libraries = {};
	for name, keys in pairs(needs.functions) do
		libraries[name] = {};
		for _, key in ipairs(keys) do set(libraries[name], key, nothing); end
	end
	local core, session = object("prosody"), object("session");
	core.version, core.events = "13.0.99", object("prosody.events");
	for _, part in ipairs({ "conn"; "stream"; "thread" }) do session[part] = object("session."..part); end
	return { libraries = libraries; prosody = core; module = object("module"); session = session };
end

local function complaint(host)
	return needs.of_core(host.prosody, host.module, function (name) return host.libraries[name]; end)
		or needs.of_stream(host.session, host.prosody.version);
end

describe("needs", function ()
	it("are met by a Prosody that has everything", function ()
		assert.is_nil(complaint(whole()));
	end);

	it("name each library and each function that is missing", function ()
		for name, keys in pairs(needs.functions) do
			local host = whole();
			host.libraries[name] = nil;
			assert.truthy(complaint(host):find("has no "..name..",", 1, true), name);
			for _, key in ipairs(keys) do
				host = whole();
				set(host.libraries[name], key, nil);
				assert.truthy(complaint(host):find("has no "..name.."."..key..",", 1, true), name.."."..key);
			end
		end
	end);

	it("name each field of core's objects that is missing or something else", function ()
		for name, kinds in pairs(needs.objects) do
			for _, keys in pairs(kinds) do
				for _, key in ipairs(keys) do
					local host = whole();
					set(host, (name.."."..key), 7);
					assert.truthy(complaint(host):find("has no "..name.."."..key..",", 1, true), name.."."..key);
				end
			end
		end
	end);

	it("say which Prosody it is, which were tested, and all that is missing at once", function ()
		local host = whole();
		host.libraries["util.xml"], host.module.hook = nil, nil;
		local said = complaint(host);
		assert.truthy(said:find("this Prosody (13.0.99) has no module.hook, util.xml, which mod_s2s_partners needs", 1, true), said);
		assert.truthy(said:find("tested with Prosody 0.12.3, 13.0.1", 1, true), said);
		host.prosody.version = nil;
		assert.truthy(complaint(host):find("(of no known version)", 1, true));
	end);
end);
