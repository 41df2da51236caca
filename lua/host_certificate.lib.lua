-- The certificate of one of our hosts, as core would present it, and what partners would make of it.

local layout = module:require "layout";
local tls_context = module:require "host_tls";

local EXPIRY_WARNING = 14 * 86400; -- what renews itself has done so by then
local FILE_SIZE_MAX = 1024 * 1024;

-- The file that mod_tls would present for the host, and where the authorities are that the host trusts; nil and why there is none.
local function certificate_file(host)
	local context, err, config = tls_context(host, "server");
	if not config then
		return nil, tostring(err);
	elseif type(config.certificate) ~= "string" then
		return nil, "no certificate is configured";
	elseif not context then
		return nil, ("%s cannot be used: %s"):format(config.certificate, tostring(err));
	end
	return config.certificate, config;
end

local function read_file(path)
	local file, err = io.open(path, "rb");
	if not file then return nil, err; end
	local text = file:read(FILE_SIZE_MAX + 1);
	file:close();
	if not text then return nil, path.." cannot be read"; end
	if #text > FILE_SIZE_MAX then return nil, path.." is too large for a certificate"; end
	return text;
end

-- The text of the file that mod_tls would present for the host; nil and why there is none.
local function certificate_text(host)
	local path, problem = certificate_file(host);
	if not path then return nil, problem; end
	return read_file(path);
end

-- What there is to say of a finding of native.own_chain: text; and whether it is only worth knowing.
local chain_words = {};

chain_words["missing-issuer"] = function (found)
	return ("certificate %d (%s) is the last, and its issuer %s is neither in the file nor an authority that this server trusts: partners "
		.."cannot follow the chain; put the certificate of that issuer behind it%s"):format(found.certificate, found.subject, found.issuer,
		found.source ~= "" and (", it is to be had from %s"):format(found.source) or " (full chain)");
end;

chain_words["unknown-authority"] = function (found)
	return ("the chain ends at %s, an authority that this server does not trust; only partners that have it among their own anchors will "
		.."accept it"):format(found.subject);
end;

chain_words["self-signed"] = function ()
	return "is self-signed; only partners that have it among their own anchors will accept it";
end;

chain_words["wrong-order"] = function (found)
	return ("certificate %d (%s) has not issued the one before it; some partners cannot follow such a chain: put each certificate behind the one "
		.."that it has issued"):format(found.certificate, found.subject);
end;

function chain_words.stranger(found)
	return ("certificate %d (%s) is in no chain from the first one; remove it"):format(found.certificate, found.subject);
end

chain_words["key-usage"] = function ()
	return "may not be used for signatures (key usage); partners refuse it: get one whose key usage has digitalSignature, or none";
end;

chain_words["not-for-servers"] = function ()
	return "is not for servers (extended key usage); many partners refuse it: get one that has serverAuth";
end;

chain_words["servers-only"] = function ()
	return "is for servers only (extended key usage serverAuth), as public authorities issue them now; a partner that asks for clientAuth on the "
		.."streams that this server opens will not take it for SASL EXTERNAL", true;
end;

function chain_words.expired(found)
	if found.certificate == 0 then return "the authority that the chain ends at has expired; get a certificate of a newer one"; end
	return ("certificate %d (%s) has expired on %s; put the issuer's new one in its place"):format(found.certificate, found.subject,
		layout.date(found.not_after));
end

chain_words["not-yet-valid"] = function (found)
	return ("certificate %d (%s) is valid only from %s"):format(found.certificate, found.subject, layout.date(found.not_before));
end;

function chain_words.other(found, chain)
	return ("partners refuse it: %s%s"):format(chain.cause, found.certificate > 0
		and (" (certificate %d, %s)"):format(found.certificate, found.subject) or "");
end

-- The whole chain, as a partner would see it that trusts what this host does.
local function judge_chain(native, host, path, text, config, now, warn, note)
	local store = native.trust_store({ cafile = type(config.cafile) == "string" and config.cafile or nil;
		capath = type(config.capath) == "string" and config.capath or nil });
	if not store then return; end -- an error of the configuration
	local chain, problem = native.own_chain(text, host, store, now);
	if not chain then return warn("%s %s", path, problem); end
	for _, found in ipairs(chain.findings) do
		local words, only_to_know = chain_words[found.fault](found, chain);
		if found.certificate ~= 1 or words:find("^certificate") then words = ": "..words; else words = " "..words; end
		(only_to_know and note or warn)("%s%s", path, words);
	end
end

-- { grade = "ok", "note" or "warning", text } for each thing there is to say of the host's own certificate
local function judge(native, host, now)
	local path, config = certificate_file(host);
	local problem = config;
	if not path then
		return { { grade = "warning"; text = problem.."; partners that require TLS or SASL cannot be reached" } };
	end
	local text, own;
	text, problem = read_file(path);
	if text then
		own, problem = native.own_certificate(text, host);
		if not own then problem = path.." "..problem; end
	end
	if not own then
		return { { grade = "warning"; text = problem } };
	end
	local found, notes = {}, {};
	local function warn(...)
		found[#found + 1] = { grade = "warning"; text = (...):format(select(2, ...)) };
	end
	now = now or os.time();
	if not own.names_domain then
		warn("%s does not name %s (it names %s); get one whose subjectAltName has the domain", path, host,
			own.names ~= "" and own.names or "nothing: a common name does not count");
	end
	if not own.key_strong then
		warn("%s has a %s key of %d bits; at least RSA 2048 or EC 256 is needed", path, own.key_type, own.key_bits);
	end
	if own.not_after <= now then
		warn("%s has expired: %s; renew it", path, layout.expiry(own.not_after, now));
	elseif own.not_after - now < EXPIRY_WARNING then
		warn("%s expires soon: %s; renew it", path, layout.expiry(own.not_after, now));
	elseif own.not_before > now then
		warn("%s is valid only from %s", path, layout.date(own.not_before));
	end
	judge_chain(native, host, path, text, config, now, warn, function (...)
		notes[#notes + 1] = { grade = "note"; text = (...):format(select(2, ...)) };
	end);
	if #found == 0 then
		found[1] = { grade = "ok"; text = ("names %s, %s %d, expires %s"):format(host, own.key_type, own.key_bits,
			layout.expiry(own.not_after, now)) };
	end
	table.move(notes, 1, #notes, #found + 1, found);
	return found;
end

return { text = certificate_text; judge = judge };
