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

	-- What a file takes of core's libraries: { ["util.jid.bare"] = true }, by its own text.
	local function taken(text, into)
		text = text:gsub("%-%-[^\n]*", ""):gsub('core_library "', 'require "');
		for before, library, field in text:gmatch('([:%w_]?)require "([%w_.]+)"([%w_.]*)') do
			if before ~= ":" and field ~= "" then into[library..field] = true; end
		end
		for names, rest in text:gmatch("local ([%w_, ]+) = ([^;\n]*);") do
			local value = rest:gmatch("[^,]+");
			for name in names:gmatch("[%w_]+") do
				local library, field = (value() or ""):match('^%s*require "([%w_.]+)"([%w_.]*)');
				if library then
					for key in text:gmatch("%f[%w_.]"..name.."%.([%a_]+)") do into[library..field.."."..key] = true; end
				end
			end
		end
	end

	-- The module's own files and what they load themselves; what only the console or prosodyctl loads refuses nobody when it fails.
	local function text_of_the_guard()
		local texts, waiting = {}, { "mod_s2s_partners.lua" };
		while #waiting > 0 do
			local name = table.remove(waiting);
			if not texts[name] then
				local file = assert(io.open(source.."/lua/"..name));
				texts[name] = file:read("a");
				file:close();
				for other in texts[name]:gmatch('module:require "([%w_/]+)"') do
					if not other:find("/", 1, true) then waiting[#waiting + 1] = other..".lib.lua"; end
				end
			end
		end
		return texts;
	end

	-- Asked for where they are used: one of them is in each version, or nothing is lost without it.
	local optional = { ["core.usermanager.get_user_role"] = true; ["core.usermanager.get_all_roles"] = true };

	it("are all that the guard takes of core's libraries, and nothing else", function ()
		local uses, files = {}, 0;
		for _, text in pairs(text_of_the_guard()) do
			files = files + 1;
			taken(text, uses);
		end
		assert.truthy(files > 30, files);
		local needed = {};
		for library, keys in pairs(needs.functions) do
			for _, key in ipairs(keys) do needed[library.."."..key] = true; end
		end
		local function covers(paths, path)
			for one in pairs(paths) do
				if one == path or one:sub(1, #path + 1) == path.."." or path:sub(1, #one + 1) == one.."." then return true; end
			end
		end
		local faults = {};
		for path in pairs(uses) do
			if not optional[path] and not covers(needed, path) then faults[#faults + 1] = path.." is used and not checked"; end
		end
		for path in pairs(needed) do
			if not covers(uses, path) then faults[#faults + 1] = path.." is checked and not used"; end
		end
		table.sort(faults);
		assert.same({}, faults);
	end);

	it("have the methods of module that the guard calls", function ()
		local known = { log = true; require = true; set_global = true; -- used before anything is checked
			load = true; reload = true; -- only in what the log says
			get_option_number = true; get_option_period = true }; -- one of them
		for _, kind in pairs(needs.objects.module) do
			for _, key in ipairs(kind) do known[key] = true; end
		end
		local faults = {};
		for name, text in pairs(text_of_the_guard()) do
			for receiver, method in text:gsub("%-%-[^\n]*", ""):gmatch("%f[%w_](%w+):([%a_]+)%(") do
				if (receiver == "module" or receiver == "context" or receiver == "global") and not known[method] then
					faults[#faults + 1] = name..": "..receiver..":"..method;
				end
			end
		end
		assert.same({}, faults);
	end);
end);
