-- Certificates for specs, made by the fixture recipe into a directory that goes away with the process.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";

local certificates = {};
local directory;

local function run(command)
	local pipe = assert(io.popen(command.." 2>&1"));
	local output = pipe:read("a");
	assert(pipe:close(), command..": "..output);
	return output;
end

local function quote(text)
	return "'"..text:gsub("'", "'\\''").."'";
end

function certificates.read(path)
	local file = assert(io.open(path, "rb"));
	local text = file:read("a");
	file:close();
	return text;
end

-- make{ "fabrikam.test:good", ... } -> { ["fabrikam.test:good"] = path }
-- The servers' sanitizer is none of the tools': LD_PRELOAD stays here.
function certificates.make(wanted)
	local words, paths = {}, {};
	directory = directory or run("mktemp -d"):match("%S+");
	for i, name in ipairs(wanted) do
		words[i] = quote(name);
	end
	run(("env -u LD_PRELOAD %s %s %s"):format(quote(source.."/spec/lab/make-certificates"), quote(directory), table.concat(words, " ")));
	for _, name in ipairs(wanted) do
		local domain, kind = name:match("^([^:]*):(.*)$");
		paths[name] = domain == "crl" and ("%s/%s.crl"):format(directory, kind:match("^[^:]*"))
			or ("%s/%s.%s.crt"):format(directory, domain, kind);
	end
	return paths;
end

function certificates.issuer(name)
	return ("%s/issuers/%s.pem"):format(directory, name);
end

-- The PEM blocks of a file, one a certificate.
function certificates.chain(path)
	local chain = {};
	for block in certificates.read(path):gmatch("%-%-%-%-%-BEGIN.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-\n") do
		chain[#chain+1] = block;
	end
	return chain;
end

function certificates.write(name, text)
	local path = directory.."/"..name;
	local file = assert(io.open(path, "wb"));
	file:write(text);
	file:close();
	return path;
end

function certificates.clean()
	if directory then
		run("rm -r "..quote(directory));
		directory = nil;
	end
end

return certificates;
