-- Files of partners that are read without Lua: what comes of them is what would come of them through Lua, or they are left to it.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local native = require "config_stub".native();

local CASES = 3000;

-- A generator of our own: the same cases in every run.
local state = 5;
local function draw(list)
	state = (state * 1103515245 + 12345) & 0x7fffffff;
	return list[(state >> 8) % #list + 1];
end

local function often(piece, other)
	state = (state * 1103515245 + 12345) & 0x7fffffff;
	return (state >> 8) % 40 ~= 0 and piece or draw(other);
end
local function space() return often("", { " ", "\n", "\t\r\n", "-- words } \n", "--[[ long ]]", "--[ short\n", "\v\f", "--" }); end

local STRINGS = { '"fabrikam.com"', "'litware.com'", '"required"', '"optional"', '"federated"', '"public_verified"', '"A \u{e9} \'quoted\'"', '""',
	'"*.b.example"', '"not a domain"', '"a\\tb"', '"a\nb"', '"open', "[[long]]", '"b\u{fc}cher.example"', '"fabrikam.com."' };
local KEYS = { "domain", "domain", "description", "partner_type", "tls", "sasl", "dialback", "additional_domains", "pinned_keys", "crls", "keepalive",
	"connection_limit", "connection_limits", "external_access", "end", "proxy", "_", "trust_anchors" };
local OTHER = { "nil", "-1", "1.5", "0x10", "1e3", "12345678901", "5x", "truer", "{}", "{ default = 'deny' }", "os", "true and false", "{ 1 }",
	"(true)", "'a'..'b'", "" };

local function list()
	local items = {};
	for i = 1, draw { 0, 1, 2, 3 } do items[i] = space()..draw(STRINGS)..space(); end
	return "{"..table.concat(items, draw { ",", ";" })..(items[1] and draw { "", ",", ";" } or "")..space().."}";
end

local function value(key)
	if key:find("s$") then return often(list(), STRINGS); end
	return often(key == "dialback" and draw { "true", "false" } or key == "connection_limit" and draw { "20", "007", "0" } or draw(STRINGS), OTHER);
end

local function entry()
	local fields = {};
	for i = 1, draw { 1, 2, 3, 4, 5 } do
		local key = i == 1 and "domain" or draw(KEYS);
		local name = often(key, { "['"..key.."']", "1", "" });
		fields[i] = space()..name..space()..often("=", { "", "==" })..space()..value(key)..space();
	end
	return "{"..table.concat(fields, draw { ",", ";" })..draw { "", ",", ";" }..space().."}";
end

local function text()
	local entries = {};
	for i = 1, draw { 0, 1, 2, 3 } do entries[i] = space()..often(entry(), { "7", "{}", "'x'", "entry" })..space(); end
	return often("", { "\xEF\xBB\xBF", "#!lua\n", "local a\n" })..space().."return"..often(" ", { "", "s ", "--\n" })
		.."{"..table.concat(entries, draw { ",", ";" })..(entries[1] and draw { "", ",", ";" } or "").."}"
		..space()..often("", { ";", ";;", " x", "}", ", 1" })..space();
end

describe("a file of partners", function ()
	local path;

	before_each(function () path = os.tmpname(); end);
	after_each(function () os.remove(path); end);

	local function write(content)
		local file = assert(io.open(path, "wb"));
		file:write(content);
		file:close();
	end

	local function contents(compiled)
		local policy = compiled and native.compile_policy({ table = compiled; options = { require_encryption = false } });
		return policy and policy:partners() or nil;
	end

	-- What comes of the file without Lua: nil when it is left to it.
	local function without_lua(background)
		local draft = native.begin_table({ local_domains = { "local.example" } });
		native.feed_files(draft, { { place = "p.lua"; path = path } }, 1, background);
		local at = native.draft_done(draft);
		while not at do at = native.draft_done(draft); end
		if at == 1 then return nil; end
		assert.equal(2, at);
		native.seal_table(draft, background);
		while not native.draft_done(draft) do end
		local compiled, issues = native.take_table(draft);
		return { contents = contents(compiled); issues = issues };
	end

	local function through_lua(content)
		local chunk = load(content:gsub("^\xEF\xBB\xBF", ""), "=file", "t", {});
		local ok, result = pcall(chunk or error);
		if not ok or result == nil then return nil; end
		local compiled, issues = native.compile_table({ local_domains = { "local.example" }; lists = { { place = "p.lua"; list = result } } });
		return { contents = contents(compiled); issues = issues };
	end

	it("comes to the same as through Lua, or is left to it", function ()
		local read, clean, left, faulty = 0, 0, 0, 0;
		for number = 1, CASES do
			local content = text();
			write(content);
			local mine, luas = without_lua(number % 50 == 0), through_lua(content);
			if mine then
				read = read + 1;
				assert.same(luas, mine, content);
				if #mine.issues == 0 then clean = clean + 1; else faulty = faulty + 1; end
			else
				left = left + 1;
			end
		end
		assert.is_true(read > CASES / 4 and clean > CASES / 20 and faulty > CASES / 20 and left > CASES / 4,
			("%d read (%d clean, %d with issues), %d left"):format(read, clean, faulty, left));
	end);

	it("is read when it is as the manual has it", function ()
		for _, content in ipairs {
			"return {}", "return { };", "\xEF\xBB\xBFreturn {}",
			[[
-- Partners of the edge
return {
	{ domain = "fabrikam.com"; description = "Fabrikam, contract 2231"; additional_domains = { "corp.fabrikam.com", "it.fabrikam.com", };
	  partner_type = "federated"; tls = "required"; sasl = "required"; dialback = false; -- the default
	  trust_anchors = "certs/fabrikam-ca.pem"; connection_limit = 20; keepalive = true; proxy = "xmpp-edge.fabrikam.com:5269";
	  presence_authorization = "automatic"; group_chat = "allow" };
	{ domain = 'litware.com', partner_type = 'public_verified' },
}
]],
		} do
			write(content);
			assert.same(through_lua(content), without_lua(), content);
		end
	end);

	it("is left to Lua when it is more than a list", function ()
		for _, content in ipairs {
			"", "return", "return {", "return {} {}", "return { { domain = 'a' } }()", "local t = {} return t", "#return {}", "return { { 'a' } }",
			"return { { domain = 'a'; domain = 'b' } }", "return { { ['domain'] = 'a' } }", "return { { domain = 'a\\' } }", "return { { domain = [[a]] } }",
			"return { { external_access = { default = 'deny' } } }", "return { { end = 'a' } }", "return { { a = nil } }", "return { { a = -1 } }",
			"return { { a = 1.5 } }", "return { { a = 0x1 } }", "return { { a = 1234567890 } }", "--[[ ]] return {}", "return { [2] = {} }", "return --",
			"return { {"..("a = 1;"):rep(20).."} }", "\27Lua", "return { { tls = { 'required' } } }", "return { , }", "return { { , } }", "return { {}; ; }",
		} do
			write(content);
			assert.is_nil(without_lua(), content);
		end
	end);

	it("that is not a file is left to Lua", function ()
		os.remove(path);
		assert.is_nil(without_lua());
		path = "/dev/null";
		assert.is_nil(without_lua());
		path = "/";
		assert.is_nil(without_lua());
	end);

	it("stops a run of files where it is not plain, which goes on behind it", function ()
		local plain, other = os.tmpname(), os.tmpname();
		local function put(name, content) path = name; write(content); end
		put(plain, "return { { domain = 'plain.example'; partner_type = 'federated' } }");
		put(other, "local list = {}; return list");
		local lists = { { place = "1"; path = plain }, { place = "2"; path = other }, { place = "3"; list = {} }, { place = "4"; path = plain } };
		local draft, stops = native.begin_table({}), {};
		for from = 1, 5 do
			native.feed_files(draft, lists, from, from % 2 == 0);
			local at = native.draft_done(draft);
			while not at do at = native.draft_done(draft); end
			stops[from] = at;
		end
		assert.same({ 2, 2, 3, 5, 5 }, stops);
		native.seal_table(draft);
		local compiled, issues = native.take_table(draft);
		assert.is_nil(compiled); -- the first was fed twice
		assert.truthy(issues[1].message:find("listed already in 1[1]", 1, true), issues[1].message);
		os.remove(other);
	end);

	it("is let go of with its draft, also while it is being read", function ()
		write("return {"..("{ domain = 'a.example'; partner_type = 'federated' };"):rep(200000).."}");
		for _ = 1, 3 do
			local draft = native.begin_table({});
			native.feed_files(draft, { { place = "p"; path = path } }, 1, true);
			draft = nil; -- luacheck: ignore 311
			collectgarbage();
			collectgarbage();
		end
	end);

	it("is in the table also when nobody has asked how far the reading has come", function ()
		write("return { { domain = 'a.example'; partner_type = 'federated' } }");
		local draft = native.begin_table({});
		native.feed_files(draft, { { place = "p"; path = path } }, 1);
		native.seal_table(draft);
		assert.equal(1, (native.take_table(draft)):count());
	end);

	it("is dropped with its draft at once, whatever that is at", function ()
		write("return {"..("{ domain = 'a.example'; partner_type = 'federated' };"):rep(200000).."}");
		for _, background in ipairs { true, false } do
			local draft = native.begin_table({});
			native.feed_files(draft, { { place = "p"; path = path } }, 1, background);
			native.drop_draft(draft);
			native.drop_draft(draft);
			assert.has_error(function () native.feed_list(draft, "q", {}); end);
			assert.has_error(function () native.seal_table(draft); end);
		end
		assert.has_error(function () native.drop_draft({}); end);
	end);

	it("is not touched while a thread is at work, nor a draft that is done with", function ()
		write("return {"..("{ domain = 'a.example'; partner_type = 'federated' };"):rep(200000).."}");
		local draft = native.begin_table({});
		native.feed_files(draft, { { place = "p"; path = path } }, 1, true);
		assert.has_error(function () native.feed_list(draft, "q", {}); end);
		assert.has_error(function () native.seal_table(draft); end);
		assert.has_error(function () native.take_table(draft); end);
		while not native.draft_done(draft) do end
		assert.has_error(function () native.take_table(draft); end);
		native.seal_table(draft);
		assert.has_error(function () native.feed_list(draft, "q", {}); end);
		native.take_table(draft);
		assert.has_error(function () native.take_table(draft); end);
		assert.has_error(function () native.draft_done({}); end);
	end);
end);
