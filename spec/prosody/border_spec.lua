-- lua/border.lib.lua: the fields that C reads of the table between the two are those that it has.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";

local function read(path)
	local file = assert(io.open(path, "rb"));
	local text = file:read("*a");
	file:close();
	return text;
end

local function new_border()
	local env = setmetatable({
		prosody = { hosts = {}; bare_sessions = {}; full_sessions = {} };
		require = function (name)
			if name ~= "util.jid" then return { stringprep = {} }; end
			return { prep = function (address) return not address:find(" ", 1, true) and address or nil; end };
		end;
	}, { __index = _G });
	local make = assert(loadfile(source.."/lua/border.lib.lua", "t", env))();
	return make({ read_features = function () end; opened_for_key = function () end }), env.prosody;
end

-- Of the table that C calls guard: by literal names, and by the keys that are names already.
local function read_by_c()
	local names = {};
	local listing = assert(io.popen("find '"..source.."/module/prosody' -name '*.c'"));
	local texts = {};
	for path in listing:lines() do texts[#texts+1] = read(path); end
	listing:close();
	local all = table.concat(texts, "\n");
	for _, where in ipairs { "ARG_GUARD", "PASS_GUARD", "FILTER_GUARD", "guard", "question%->guard", "lua_upvalueindex%(S2SP_UP_GUARD%)",
		"lua_upvalueindex%(UP_GUARD%)" } do
		for name in all:gmatch("[sg]etfield?%(L, "..where..', "([%w_]+)"') do names[name] = true; end
		for name in all:gmatch("s2sp_lua_field%(L, "..where..', "([%w_]+)"') do names[name] = true; end
	end
	for name in all:match("of_guard%[%] = {(.-)}"):gmatch('"([%w_]+)"') do names[name] = true; end
	for key in read(source.."/module/prosody/bridge/keys.h"):match("/%* of the guard %*/(.-)S2SP_KEY_COUNT"):gmatch("S2SP_KEY_([A-Z_]+)") do
		names[all:match("%[S2SP_KEY_"..key..'%] = "([%w_]+)"')] = true;
	end
	return names;
end

describe("the border", function ()
	it("has what C reads, and nothing else", function ()
		local border, known = new_border(), {};
		for name in pairs(border) do known[name] = true; end
		assert.same(known, read_by_c());
	end);

	it("has no field that is nil, and takes no other", function ()
		local border = new_border();
		for _, name in ipairs { "act", "facts", "directed", "roles_scanned" } do assert.is_false(border[name]); end
		border.act = {};
		assert.has_error(function () border.opening_to_verify = true; end, "the border has no field opening_to_verify");
	end);

	it("keeps nobody alive by its marks", function ()
		local border = new_border();
		border.answers[{}], border.notes[{}], border.keepalives.id = true, {}, {};
		collectgarbage(); collectgarbage();
		assert.same({}, border.answers);
		assert.same({}, border.notes);
		assert.same({}, border.keepalives);
	end);

	it("leaves it to core's dialback whose a key is, and to core when that cannot tell", function ()
		local border, prosody = new_border();
		local key = { attr = { id = "1"; from = "a"; to = "b" }; "key" };
		assert.is_true(border.key_is_ours("contoso.test", key));
		prosody.hosts["contoso.test"] = { modules = {} };
		assert.is_true(border.key_is_ours("contoso.test", key));
		local asked;
		prosody.hosts["contoso.test"].modules.dialback = { verify_dialback = function (...) asked = { ... }; return false; end };
		assert.is_false(border.key_is_ours("contoso.test", key));
		assert.same({ "1", "a", "b", "key" }, asked);
		prosody.hosts["contoso.test"].modules.dialback.verify_dialback = function () error("x"); end;
		assert.is_true(border.key_is_ours("contoso.test", key));
	end);

	it("knows what is an address", function ()
		local border = new_border();
		assert.is_true(border.is_address("alice@contoso.test"));
		assert.is_false(border.is_address("no address"));
	end);
end);
