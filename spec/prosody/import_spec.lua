-- The import of exports from Lync and Skype for Business: formats, encodings, values, and what is hostile.

local source = os.getenv("S2S_PARTNERS_SOURCE") or ".";
package.path = source.."/spec/prosody/?.lua;"..package.path;
require "prosody_library";
local stub = require "config_stub";
local native = stub.native();
local fixtures = source.."/fixtures/import/";

local import = stub.library("import/partners");

local function read(name)
	local file = assert(io.open(fixtures..name, "rb"));
	local text = file:read("a");
	file:close();
	return text;
end

local function convert(text, name)
	return import.convert(native, assert(import.parse(text)), name or "export");
end

-- What the output means: the options it sets.
local function run(config)
	local options = {};
	assert(load(config, "=config", "t", options))();
	return options;
end

local function to_utf16(text, format, mark)
	local parts = { mark };
	for _, code in utf8.codes(text) do
		if code >= 0x10000 then
			code = code - 0x10000;
			parts[#parts + 1] = string.pack(format, 0xd800 + (code >> 10))..string.pack(format, 0xdc00 + (code & 0x3ff));
		else
			parts[#parts + 1] = string.pack(format, code);
		end
	end
	return table.concat(parts);
end

local function from_utf16(text)
	local parts = {};
	for position = 3, #text, 2 do
		parts[#parts + 1] = utf8.char((string.unpack("<I2", text, position)));
	end
	return table.concat(parts);
end

describe("an export of ten partners", function ()
	local partners = run((convert(read("partners.xml")))).s2s_partners;

	it("has all of them, with every value", function ()
		assert.equal(10, #partners);
		assert.same({ domain = "fabrikam.com"; description = "Fabrikam, contract 2231";
			additional_domains = { "corp.fabrikam.com", "it.fabrikam.com" }; partner_type = "federated";
			tls = "required"; sasl = "required"; dialback = false; connection_limit = 20; keepalive = true }, partners[1]);
		assert.same({ domain = "northwindtraders.com"; description = 'Northwind "Traders" & Söhne';
			additional_domains = { "northwindtraders.co.uk" }; partner_type = "federated"; tls = "required"; sasl = "optional";
			dialback = true; connection_limit = 10; keepalive = true; proxy = "xmpp-edge.northwindtraders.com" }, partners[4]);
		assert.equal("Set up by hand_ ask Ann", partners[6].description);
		assert.equal("xn--bcher-kva.example", partners[9].domain);
		assert.is_false(partners[3].keepalive);
	end);

	it("is accepted by the validator", function ()
		local compiled, issues = native.compile_table({ lists = { { place = "s2s_partners"; list = partners } } });
		assert.truthy(compiled);
		for _, issue in ipairs(issues) do assert.equal("warning", issue.severity); end
	end);

	it("means the same in either format", function ()
		assert.same(partners, run((convert(read("partners.json")))).s2s_partners);
	end);

	it("is marked for verification where enumerations are numbers", function ()
		assert.truthy(convert(read("partners.json")):find("10 to verify", 1, true));
		assert.truthy(convert(read("partners.json")):find("-- verify: TlsNegotiation is the number 2 in the export, read as NotSupported", 1, true));
		assert.falsy(convert(read("partners.xml")):find("-- verify:", 1, true));
	end);

	it("says what a partner without TLS needs", function ()
		local options = run((convert(read("partners.xml"))));
		assert.is_false(options.s2s_require_encryption);
		assert.is_nil(run((convert('{"Identity":"a.example"}'))).s2s_require_encryption);
	end);

	it("may be in any encoding that PowerShell writes", function ()
		local xml, json = from_utf16(read("partners.xml")), read("partners.json"):sub(4);
		for _, text in ipairs({ xml, json }) do
			for _, encoded in ipairs({ text, "\239\187\191"..text, to_utf16(text, "<I2", "\255\254"), to_utf16(text, ">I2", "\254\255"),
				to_utf16(text, "<I2", ""), to_utf16(text, ">I2", "") }) do
				assert.same(partners, run((convert(encoded))).s2s_partners);
			end
		end
		assert.same(partners, run((convert('<?xml version="1.0" encoding="utf-16"?>'..xml))).s2s_partners);
	end);
end);

describe("rows", function ()
	local rows = native.negotiation_rows();

	it("that are impossible come with the row that comes closest", function ()
		local cases = {
			{ "not_supported", "required", true, "not_supported", "not_supported", true };
			{ "not_supported", "required", false, "required", "required", false };
			{ "not_supported", "optional", true, "not_supported", "not_supported", true };
			{ "not_supported", "optional", false, "required", "optional", false };
			{ "required", "not_supported", false, "required", "required", false };
			{ "optional", "not_supported", false, "optional", "not_supported", true };
			{ "not_supported", "not_supported", false, "not_supported", "not_supported", true };
		};
		for _, case in ipairs(cases) do
			local closest = import.closest(rows, { tls = case[1]; sasl = case[2]; dialback = case[3] });
			assert.same({ case[4], case[5], case[6] }, { closest.tls, closest.sasl, closest.dialback });
			assert.not_equal("error", closest.verdict);
		end
	end);

	it("that are impossible are commented out, the others stay", function ()
		local text, impossible = convert(read("impossible.json"));
		assert.equal(7, impossible);
		local options = run(text);
		assert.equal(2, #options.s2s_partners);
		assert.equal("five.example", options.s2s_partners[1].domain);
		assert.same({ "corp.five.example", "one.example" }, options.s2s_partners[1].additional_domains);
		assert.equal("eight.example", options.s2s_partners[2].domain);
		assert.is_nil(options.evil);
		for _, wanted in ipairs({ "not carried over: Zone = EMEA", "IMPOSSIBLE, commented out: one.example", "is an IP address, not a domain",
			'closest is tls = "not_supported"; sasl = "not_supported"; dialback = true', "five.example is already a domain of five.example",
			"PartnerType is 7", "TlsNegotiation is Sometimes", "taken as PublicUnverified, the cmdlet's default" }) do
			assert.truthy(text:find(wanted, 1, true), wanted);
		end
	end);

	it("of every combination are possible exactly when the table says so", function ()
		local words = { required = "Required"; optional = "Optional"; not_supported = "NotSupported" };
		for _, row in ipairs(rows) do
			local _, impossible = convert(('[{"Identity":"a.example","TlsNegotiation":"%s","SaslNegotiation":"%s","SupportDialbackNegotiation":%s}]')
				:format(words[row.tls], words[row.sasl], tostring(row.dialback)));
			assert.equal(row.verdict == "error" and 1 or 0, impossible);
		end
	end);

	it("carry nothing that could leave its line", function ()
		local text = convert([==[[{"Identity":"a.example","Description":"x\"\n}\nevil = 1 --[[","Odd\nkey = 1":"\r\nevil = 2"},
			{"Identity":"b\n.example\nevil = 3"}]]==]);
		assert.is_nil(run(text).evil);
		assert.equal(1, #run(text).s2s_partners);
	end);

	it("show what is false as that", function ()
		local text = convert('{"Identity":"a.example","Zone":false,"SupportDialbackNegotiation":true,"PartnerType":false,"Site":true}');
		for _, wanted in ipairs({ "not carried over: Zone = false", "not carried over: Site = true", "PartnerType is false; known are Federated, " }) do
			assert.truthy(text:find(wanted, 1, true), wanted.." in\n"..text);
		end
	end);

	it("may be one object, a wrapped list, or a list in one text", function ()
		assert.equal(1, #run((convert('{"Identity":"a.example"}'))).s2s_partners);
		assert.equal(2, #run((convert('{"value":[{"Identity":"a.example"},{"Identity":"b.example"}],"Count":2}'))).s2s_partners);
		assert.same({ "b.example", "c.example" },
			run((convert('{"Identity":"a.example","AdditionalDomains":"b.example c.example"}'))).s2s_partners[1].additional_domains);
		assert.same({ "b.example" },
			run((convert('{"Identity":"a.example","AdditionalDomains":{"value":["b.example"],"Count":1}}'))).s2s_partners[1].additional_domains);
	end);
end);

describe("what is no export", function ()
	local function refuses(text, told)
		local found, problem = import.parse(text);
		assert.is_nil(found);
		assert.truthy(problem:find(told, 1, true), problem);
	end

	it("is told apart", function ()
		refuses("", "neither what Export-Clixml");
		refuses("Identity : fabrikam.com", "neither what Export-Clixml");
		refuses("<Objs>", "not well-formed XML");
		refuses("<html/>", "not what Export-Clixml writes");
		refuses("<Objs/>", "no partners");
		refuses("{", "not JSON");
		refuses("[1,2]", "not a list of objects");
		refuses("\255\254<", "cut off");
		refuses("\255\254\0\220", "damaged UTF-16");
		refuses("<Objs>\255</Objs>", "neither UTF-8 nor UTF-16");
	end);

	it("is bounded in depth, size and number", function ()
		refuses(("<Obj>"):rep(40), "nested too deeply");
		refuses(("["):rep(1000000), "nested too deeply");
		refuses('{"a":'..("["):rep(40), "nested too deeply");
		refuses("<Objs>"..("<S/>"):rep(600000).."</Objs>", "too many elements");
		refuses("["..('{"Identity":"a"},'):rep(20000)..'{"Identity":"a"}]', "more than 20000 partners");
		assert.truthy(import.parse('{"Identity":"a.example","Description":"'..("[{"):rep(100)..'"}'));
	end);

	it("has no entities", function ()
		refuses('<!DOCTYPE Objs [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><Objs><S>&b;</S></Objs>', "document type");
		refuses('<!DOCTYPE Objs SYSTEM "file:///etc/passwd"><Objs/>', "document type");
	end);

	it("does not follow references in circles", function ()
		local text = '<Objs><Obj RefId="0"><Props><S N="Identity">a.example</S><Ref N="Description" RefId="0"/>'
			..'<Obj N="AdditionalDomains" RefId="1"><LST><Ref RefId="1"/><S>b.example</S></LST></Obj></Props></Obj></Objs>';
		local partner = run((convert(text))).s2s_partners[1];
		assert.equal("a.example", partner.domain);
	end);

	it("does not multiply by references", function ()
		local objects = { '<Obj RefId="0"><LST><S>x.example</S></LST></Obj>' };
		for i = 1, 20 do
			objects[#objects + 1] = ('<Obj RefId="%d"><LST>%s</LST></Obj>'):format(i, ('<Ref RefId="%d"/>'):format(i - 1):rep(20));
		end
		local started = os.clock();
		refuses("<Objs>"..table.concat(objects)..'<Obj RefId="99"><Props><S N="Identity">a.example</S>'
			..'<Ref N="AdditionalDomains" RefId="20"/></Props></Obj></Objs>', "too many values");
		assert.truthy(os.clock() - started < 10);
	end);
end);
