-- pin: the values for pinned_keys of the certificates in a file.

local layout = module:require "layout";
local read_file = module:require "bounded_file";

local FILE_SIZE_MAX = 1024 * 1024;
local CERTIFICATES_MAX = 1000;
local BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----";

local pin = {};

-- The certificates of a text, each as PEM or DER: a PEM text may have anything between them.
local function split(text)
	if text:byte(1) == 0x30 then return { text }; end -- a SEQUENCE: DER
	local found, position = {}, 1;
	while #found <= CERTIFICATES_MAX do
		local first = text:find(BEGIN, position, true);
		local _, last = text:find(END, first or #text + 1, true);
		if not last then break; end
		found[#found + 1] = text:sub(first, last).."\n";
		position = last + 1;
	end
	return found;
end

function pin.read_file(path)
	return read_file(path, FILE_SIZE_MAX, ("is larger than %d MiB; no file of certificates is"):format(FILE_SIZE_MAX // 1048576));
end

-- { { pin, subject, issuer, not_after }... } of the certificates in a text; nil and what is wrong with it.
function pin.find(native, text)
	local certificates = split(text);
	if #certificates == 0 then
		return nil, text:find("-----BEGIN ", 1, true)
			and ("holds no certificate, but %s; the pin of a key is that of its certificate"):format(layout.plain(text:match("%-%-%-%-%-BEGIN ([^%-]*)"), 60))
			or "holds no certificate in PEM or DER form";
	elseif #certificates > CERTIFICATES_MAX then
		return nil, ("holds more than %d certificates"):format(CERTIFICATES_MAX);
	end
	-- Whether anybody trusts them is not asked here.
	local store = native.trust_store({});
	if not store then return nil, "cannot be looked at: OpenSSL's default trust store cannot be read"; end
	local found = {};
	for i, certificate in ipairs(certificates) do
		local report = native.judge_certificate({ certificate }, store, "pin.invalid");
		if not report.pin then
			return nil, ("holds something that is no certificate (number %d of %d%s)"):format(i, #certificates,
				report.cause and ": "..report.cause or "");
		end
		found[i] = { pin = report.pin; subject = report.subject; issuer = report.issuer; not_after = report.not_after };
	end
	return found;
end

return pin;
