-- What the shared object for Prosody makes of the fixtures, a line each: GROUP, CASE, VERDICT with tabs between. verdicts.py holds it
-- against the other host.
--   verdicts_prosody.lua CERTIFICATES DOMAIN KIND...

local source = assert(os.getenv("S2S_PARTNERS_SOURCE"));
package.path = source.."/spec/prosody/?.lua;"..package.path;
local stub = require "config_stub";
local native = stub.native();

local function say(group, case, ...)
	print(table.concat({ group; case; table.concat({ ... }, " ") }, "\t"));
end

local function one(entry)
	local partners = native.compile_table({ lists = { { place = "s2s_partners"; list = { entry } } } });
	return partners and native.compile_policy({ table = partners; options = { require_encryption = false } });
end

for _, tls in ipairs { "required", "optional", "not_supported" } do
	for _, sasl in ipairs { "required", "optional", "not_supported" } do
		for _, dialback in ipairs { true, false } do
			local policy = one({ domain = "fabrikam.com"; partner_type = "federated"; tls = tls; sasl = sasl; dialback = dialback });
			say("negotiation", ("%s/%s/%s"):format(tls, sasl, dialback and "true" or "false"),
				policy and table.concat(policy:find("fabrikam.com").methods, " ") or "error");
		end
	end
end

local FACTS = { "access"; "account"; "listed"; "directed"; "requested"; "standing"; "blocked"; "contacts"; "waiting" };
local names, number;
for line in io.lines(source.."/fixtures/authorisation.tsv") do
	local fields = {};
	for field in (line.."\t"):gmatch("([^\t]*)\t") do fields[#fields+1] = field; end
	if not names then
		names, number = fields, 1;
	else
		number = number + 1;
		local row, asked = {}, {};
		for i, name in ipairs(names) do row[name] = fields[i]; end
		for _, name in ipairs { "partner_type"; "direction"; "stanza"; "local"; "group_chat" } do asked[name] = row[name]; end
		asked.presence_authorization = row.presence_authorization ~= "-" and row.presence_authorization
			or row.partner_type == "public_unverified" and "user" or "automatic";
		-- Prosody asks about blocks itself where an address can be written in several ways.
		asked.contact = row.blocked ~= "-" and "bob@xn--bcher-kva.fabrikam.com" or "bob@fabrikam.com";
		for _, name in ipairs(FACTS) do
			if row[name] ~= "-" then asked[name] = row[name]; end
		end
		local verdict, reason, _, change = native.authorise(asked);
		say("stanza", tostring(number), verdict, verdict == "refuse" and reason or "none", verdict == "refuse" and "none" or change or "none");
	end
end

for _, kind in ipairs { "bad"; "good" } do
	local pipe = assert(io.popen(("ls '%s/fixtures/config/%s'"):format(source, kind)));
	for file in pipe:lines() do
		local name = file:match("^(.*)%.cfg%.lua$");
		if name then
			local _, policy = stub.check(native, ("%s/fixtures/config/%s/%s"):format(source, kind, file));
			say("configuration", name, policy and "accepted" or "refused");
		end
	end
	pipe:close();
end

local store = assert(native.trust_store({ file = arg[1].."/issuers/ca.pem" }));
for i = 3, #arg do
	local file = assert(io.open(("%s/%s.%s.crt"):format(arg[1], arg[2], arg[i]), "rb"));
	local chain = {};
	for block in file:read("a"):gmatch("%-%-%-%-%-BEGIN.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-\n") do chain[#chain+1] = block; end
	file:close();
	say("certificate", arg[i], native.judge_certificate(chain, store, arg[2]).verdict);
end
