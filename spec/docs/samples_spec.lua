-- Every sample of configuration in the documents is one that the validator accepts.
--
-- A sample is a fenced block marked lua, or an indented one that begins as configuration does. It is taken for what it looks like: a
-- piece of prosody.cfg.lua, a file of partners (return { ... }), or one partner.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local lfs = require "lfs";

local native = stub.native();

-- What may stand in a piece of prosody.cfg.lua: a misspelt option of Prosody's own would be ignored by everybody.
local options = {};
for name in ([[modules_enabled modules_disabled s2s_partners s2s_partners_files s2s_partners_default s2s_partners_limits
	s2s_partners_external_access s2s_partners_crls s2s_partners_mode
	s2s_require_encryption s2s_secure_auth s2s_secure_domains s2s_insecure_domains s2s_timeout
	s2s_allow_encryption dialback_secret plugin_paths statistics statistics_interval http_ports openmetrics_allow_ips
	installer_plugin_path gc]]):gmatch("%S+") do
	options[name] = true;
end

local function pages()
	local found = { "README.md" };
	for name in lfs.dir(source.."/docs") do
		if name:match("%.md$") then table.insert(found, "docs/"..name); end
	end
	table.sort(found);
	return found;
end

local function looks_like_configuration(text)
	local first = text:match("^%s*(%S+)");
	return text:match("^%s*s2s_[%w_]+%s*=") or text:match("^%s*modules_enabled%s*=") or first == "return"
		or text:match("^%s*{%s*domain%s*=") or text:match("^%s*VirtualHost%s");
end

-- { { line = , text = , fenced = } }
local function samples(text)
	local found, block, fence, number = {}, nil, nil, 0;
	local before_blank = true;
	for line in (text.."\n"):gmatch("(.-)\n") do
		number = number + 1;
		if fence then
			if line:match("^%s*```%s*$") then
				if fence == "lua" then table.insert(found, block); end
				block, fence = nil, nil;
			else
				table.insert(block, line);
			end
		elseif line:match("^%s*```") then
			fence = line:match("^%s*```(%S*)");
			block = { line = number + 1; fenced = true };
		elseif block and (line:match("^    ") or line == "") then
			table.insert(block, (line:gsub("^    ", "")));
		elseif line:match("^    %S") and before_blank then
			block = { line = number; (line:gsub("^    ", "")) };
			table.insert(found, block);
		else
			block = nil;
		end
		before_blank = line == "";
	end
	local kept = {};
	for _, sample in ipairs(found) do
		sample.text = table.concat(sample, "\n");
		if sample.fenced or looks_like_configuration(sample.text) then table.insert(kept, sample); end
	end
	return kept;
end

local function write(path, text)
	local file = assert(io.open(path, "w"));
	file:write(text, "\n");
	file:close();
end

-- The sample as a configuration in `folder`, with the files that it names outright.
local function lay_out(folder, text)
	lfs.mkdir(folder.."/partners.d");
	if text:match("^%s*return%s") then
		write(folder.."/partners.d/sample.cfg.lua", text);
		text = 's2s_partners_files = { "partners.d/*.cfg.lua" }';
	elseif text:match("^%s*{") then
		text = "s2s_partners = { "..text.." }";
	end
	for list in text:gmatch("s2s_partners_files%s*=%s*(%b{})") do
		for name in list:gmatch('"([^"]+)"') do
			if not name:find("[*?]") then write(folder.."/"..name, "return {}"); end
		end
	end
	for name in text:gmatch('%f[%w]users%s*=%s*"([^"]+)"') do
		write(folder.."/"..name, "somebody");
	end
	write(folder.."/prosody.cfg.lua", text);
	return folder.."/prosody.cfg.lua";
end

local function errors_of(messages)
	local errors = {};
	for _, message in ipairs(messages) do
		if message:match("^error") then table.insert(errors, message); end
	end
	return errors;
end

local function check(text)
	local folder = os.tmpname();
	os.remove(folder);
	assert(lfs.mkdir(folder));
	local ok, found, config = pcall(function ()
		local path = lay_out(folder, text);
		return (stub.check(native, path)), stub.load_config(path);
	end);
	for _, sub in ipairs({ "/partners.d", "" }) do
		for name in lfs.dir(folder..sub) do os.remove(folder..sub.."/"..name); end
		lfs.rmdir(folder..sub);
	end
	if not ok then return { found }; end
	local errors = errors_of(found);
	for _, section in pairs(config) do
		for name in pairs(section) do
			if not options[name] then table.insert(errors, tostring(name)..": no option that a sample may have"); end
		end
	end
	return errors;
end

local total = 0;
for _, page in ipairs(pages()) do
	local file = assert(io.open(source.."/"..page));
	local found = samples(file:read("a"));
	file:close();
	total = total + #found;
	if #found > 0 then
		describe("samples of "..page, function ()
			for _, sample in ipairs(found) do
				it("line "..sample.line, function ()
					assert.same({}, check(sample.text));
				end);
			end
		end);
	end
end

describe("the first sample of the README", function ()
	local file = assert(io.open(source.."/README.md"));
	local sample = samples(file:read("a"))[1];
	file:close();

	it("has 15 lines at most", function ()
		assert.is_true(#sample <= 15, #sample.." lines");
	end);

	it("is whole: modules, partners and a host", function ()
		for _, pattern in ipairs({ 'modules_enabled = {.*"s2s_partners"', "s2s_partners = {", 'VirtualHost "' }) do
			assert.truthy(sample.text:find(pattern), pattern);
		end
	end);
end);

describe("samples", function ()
	it("are many", function ()
		assert.is_true(total >= 8);
	end);

	it("that are wrong are found", function ()
		assert.equal(1, #check('s2s_partners = { { domain = "fabrikam.com"; partner_type = "friend" } }'));
		assert.equal(1, #check('{ domain = "fabrikam.com"; partner_type = "federated"; tsl = "required" };'));
		assert.equal(1, #check('return { { domain = "fabrikam.com" } }'));
		assert.equal(1, #check('s2s_require_encrypton = false'));
		assert.equal(1, #check('s2s_partners = {'));
		assert.equal(1, #samples("text\n\n    s2s_partners = {\n    }\n\ntext\n\n    openssl x509\n"));
		assert.equal(1, #samples("```lua\nx = 1\n```\n```sh\ny = 2\n```\n"));
	end);
end);
