-- Entries written by prosodyctl: flags, the text of a file, whose it is, where it is, and the disk as it would be with it.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
require "prosody_library";
local lfs = require "lfs";
local stub = require "config_stub";
local native = stub.native();

local folder = os.tmpname();
os.remove(folder);
local patterns = { "partners.d/*.cfg.lua" };
local entries = stub.library("offline/entries", {
	prosody = { paths = { config = folder } };
	module = { context = function () return { get_option = function () return patterns; end }; end };
});
local overlay = stub.library("offline/overlay");

local function put(path, text)
	local file = assert(io.open(path, "wb"));
	file:write(text);
	file:close();
end

local function get(path)
	local file = io.open(path, "rb");
	if not file then return nil; end
	local text = file:read("a");
	file:close();
	return text;
end

setup(function ()
	assert(lfs.mkdir(folder));
	assert(lfs.mkdir(folder.."/partners.d"));
end);

teardown(function ()
	for name in lfs.dir(folder.."/partners.d") do
		if not name:match("^%.%.?$") then os.remove(folder.."/partners.d/"..name); end
	end
	lfs.rmdir(folder.."/partners.d");
	os.remove(folder.."/link");
	lfs.rmdir(folder);
end);

local function flags(...)
	local list = {};
	for _, flag in ipairs({ ... }) do list[#list + 1] = { key = flag[1]; text = flag[2] }; end
	return entries.read_flags(list);
end

describe("flags", function ()
	it("are keys, each with a value of its kind", function ()
		local values, unset = flags({ "type", "federated" }, { "additional_domains", "a.example,b.example" }, { "dialback", "true" },
			{ "connection_limit", "20" }, { "proxy", "" }, { "unheard_of", "x" });
		assert.same({ partner_type = "federated"; additional_domains = { "a.example", "b.example" }; dialback = true; connection_limit = 20;
			unheard_of = "x" }, values);
		assert.same({ proxy = true }, unset);
	end);

	it("that are none are told with what is allowed", function ()
		for told, flag in pairs({
			['--dialback: got "yes"; must be true or false'] = { "dialback", "yes" };
			['--connection-limit: got "2.5"; must be a whole number'] = { "connection_limit", "2.5" };
			['--connection-limit: got "99999999999999999999"; must be a whole number'] = { "connection_limit", "99999999999999999999" };
			['--pinned-keys: got ","; must be one or more, with commas between'] = { "pinned_keys", "," };
			["--domain: the domain of an entry is the name of its file; remove the entry and add another"] = { "domain", "x" };
			["--external-access is a table; write this entry by hand, in a file of your own"] = { "external_access", "x" };
		}) do
			local values, problem = flags(flag);
			assert.is_nil(values);
			assert.equal(told, problem);
		end
		assert.equal("--partner-type is given twice", select(2, flags({ "type", "federated" }, { "partner_type", "federated" })));
		assert.equal("--proxy is given twice", select(2, flags({ "proxy", "" }, { "proxy", "x" })));
	end);
end);

describe("a file", function ()
	local entry = { domain = "fabrikam.com"; partner_type = "federated"; description = 'two\nlines "and" \\ more]]'; dialback = false;
		additional_domains = { "a.example" }; connection_limit = 3; odd = "x" };

	it("is read back as it was written", function ()
		local text = entries.write(entry);
		assert.equal("ours", entries.origin(text));
		assert.same(entry, entries.read(text));
		assert.equal(text, entries.write(entries.read(text)));
		assert.truthy(text:find('\tdomain = "fabrikam.com";\n\tdescription', 1, true));
	end);

	it("is known to have been changed, and to be another's", function ()
		local text = entries.write(entry);
		for _, changed in ipairs({ text.." ", text:gsub("federated", "public_verified"), (text:gsub("(%x)(%x)\n", "%2%1x\n", 1)), text:sub(1, -2) }) do
			assert.equal("changed", entries.origin(changed));
		end
		for _, foreign in ipairs({ "", "return {}\n", " "..text, "-- mine\n"..text }) do
			assert.equal("foreign", entries.origin(foreign));
		end
	end);

	it("that was changed is read with nothing to use", function ()
		for told, text in pairs({
			["cannot be read"] = "return {"; ["takes too long"] = "while true do end"; ["attempt to index a nil value"] = "return os.time()";
			["does not hold exactly one entry"] = "return { { domain = 'a' }, { domain = 'b' } }";
			["has users, which can only be written by hand"] = "return { { domain = 'a'; users = { x = 'y' } } }";
			["has f, which can only be written by hand"] = "return { { domain = 'a'; f = function () end } }";
		}) do
			local found, problem = entries.read(text);
			assert.is_nil(found);
			assert.truthy(problem:find(told, 1, true), problem);
		end
		assert.is_nil((entries.read("return { n = 1, { domain = 'a' } }")));
	end);
end);

describe("the place of a file", function ()
	it("is the folder of the first pattern", function ()
		local place = entries.place("fabrikam.com");
		assert.same({ name = "partners.d/fabrikam.com.cfg.lua"; path = folder.."/partners.d/fabrikam.com.cfg.lua"; folder = folder.."/partners.d" }, place);
		patterns = { folder.."/partners.d/*" };
		assert.equal(folder.."/partners.d/x.y.cfg.lua", entries.place("x.y").path);
	end);

	it("that is not one is told with what to write", function ()
		for told, value in pairs({
			['write s2s_partners_files = { "partners.d/*.cfg.lua" } there'] = false; ["has no pattern"] = {};
			["its folder must be one, without * and ?"] = { "*/x.cfg.lua" };
			['which x.y.cfg.lua would not match; make it "partners.d/*.cfg.lua"'] = { "partners.d/*.lst" };
			["none/partners.d, of the first pattern of s2s_partners_files, is not there; make it"] = { "none/partners.d/*" };
		}) do
			patterns = value or nil;
			local place, problem = entries.place("x.y");
			assert.is_nil(place);
			assert.truthy(problem:find(told, 1, true), problem);
		end
		patterns = { "partners.d/*.cfg.lua" };
	end);
end);

describe("saving", function ()
	it("puts a whole file in place, and leaves nothing beside", function ()
		local place = entries.place("saved.example");
		local text = entries.write({ domain = "saved.example"; partner_type = "federated" });
		assert.is_true(entries.save(native, place, text));
		assert.equal(text, get(place.path));
		assert.equal(text, entries.open(place));
		assert.equal("rw-r--r--", lfs.attributes(place.path, "permissions"));
		assert.is_true(entries.save(native, place, text.."-- by hand\n"));
		assert.is_nil((entries.open(place)));
		assert.equal(text.."-- by hand\n", entries.open(place, true));
		assert.is_true(entries.delete(native, place));
		for name in lfs.dir(place.folder) do assert.truthy(name:match("^%.%.?$"), name); end
	end);

	it("that fails leaves what was there", function ()
		local place = entries.place("kept.example");
		put(place.path, "before");
		local broken = { sync_file = function () return nil, "no space left"; end };
		local ok, problem = entries.save(broken, place, "after");
		assert.is_nil(ok);
		assert.equal("no space left", problem);
		assert.equal("before", get(place.path));
		for name in lfs.dir(place.folder) do assert.truthy(name:match("^%.%.?$") or name == "kept.example.cfg.lua", name); end
		assert.is_nil((entries.save(native, { name = "x"; folder = folder.."/none"; path = folder.."/none/x" }, "x")));
	end);

	it("of a new one takes the place of none", function ()
		local place = entries.place("kept.example");
		local ok, problem = entries.save(native, place, "after", true);
		assert.is_nil(ok);
		assert.truthy(problem:find("File exists", 1, true), problem);
		assert.equal("before", get(place.path));
		for name in lfs.dir(place.folder) do assert.truthy(name:match("^%.%.?$") or name == "kept.example.cfg.lua", name); end
		local new = entries.place("new.example");
		assert.is_true(entries.save(native, new, "new", true));
		assert.equal("new", get(new.path));
		assert.equal(1, lfs.attributes(new.path, "nlink"));
		os.remove(new.path);
	end);

	it("touches nobody's file", function ()
		local place = entries.place("kept.example");
		for _, force in ipairs({ false, true }) do
			local text, problem = entries.open(place, force);
			assert.is_nil(text);
			assert.truthy(problem:find("was not written here, and is not touched", 1, true));
		end
		os.remove(place.path);
		assert.equal("is not there", select(2, entries.open(place)));
		assert(lfs.link(folder.."/nowhere", place.path, true));
		assert.equal("is a link, which was not made here; change it by hand", select(2, entries.open(place, true)));
	end);

	it("asks the disk, and says when it cannot", function ()
		assert.is_true(native.sync_file(folder));
		local ok, problem = native.sync_file(folder.."/none");
		assert.is_nil(ok);
		assert.equal("No such file or directory", problem);
		assert.has_error(function () native.sync_file("a\0b"); end);
	end);
end);

describe("the disk as it would be", function ()
	local function names(files, path)
		local list = {};
		for name in files.dir(path) do
			if not name:match("^%.%.?$") then list[#list + 1] = name; end
		end
		table.sort(list);
		return list;
	end

	it("has a file more, less or changed, by whatever way it is reached", function ()
		local there, new = folder.."/partners.d/there.cfg.lua", folder.."/partners.d/new.cfg.lua";
		put(there, "there");
		os.remove(folder.."/partners.d/kept.example.cfg.lua");
		assert(lfs.link(folder.."/partners.d", folder.."/link", true));
		for _, by in ipairs({ folder.."/partners.d", folder.."//partners.d/.", folder.."/link" }) do
			local files, input = overlay.libraries(new, "new");
			assert.same({ "new.cfg.lua", "there.cfg.lua" }, names(files, by));
			assert.equal("file", files.attributes(by.."/new.cfg.lua", "mode"));
			assert.equal(3, files.attributes(by.."/new.cfg.lua").size);
			assert.equal("new", input.open(by.."/new.cfg.lua", "rb"):read("a"));
			assert.equal("there", input.open(by.."/there.cfg.lua", "rb"):read("a"));
			files, input = overlay.libraries(there, "other");
			assert.same({ "there.cfg.lua" }, names(files, by));
			assert.equal("other", input.open(by.."/there.cfg.lua", "rb"):read("a"));
			files, input = overlay.libraries(there, nil);
			assert.same({}, names(files, by));
			assert.is_nil((files.attributes(by.."/there.cfg.lua", "mode")));
			assert.is_nil((input.open(by.."/there.cfg.lua")));
		end
		assert.is_nil(get(new));
		assert.equal("there", get(there));
	end);
end);
