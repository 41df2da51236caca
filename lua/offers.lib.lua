-- What another server offers, read from its <stream:features/> and put into words. How many features there may be is for the caller to bound.

local XMLNS_TLS = "urn:ietf:params:xml:ns:xmpp-tls";
local XMLNS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl";
local XMLNS_DIALBACK = "urn:xmpp:features:dialback";
local XMLNS_BIDI = "urn:xmpp:features:bidi";

local offers = {};

-- { starttls, required (STARTTLS is), external, dialback, bidi }, each true or false
function offers.read(stanza)
	local starttls = stanza:get_child("starttls", XMLNS_TLS);
	local mechanisms = stanza:get_child("mechanisms", XMLNS_SASL);
	local external = false;
	if mechanisms then
		for mechanism in mechanisms:childtags("mechanism") do
			external = external or mechanism:get_text() == "EXTERNAL";
		end
	end
	return {
		starttls = starttls ~= nil; required = starttls ~= nil and starttls:get_child("required") ~= nil; external = external;
		dialback = stanza:get_child("dialback", XMLNS_DIALBACK) ~= nil; bidi = stanza:get_child("bidi", XMLNS_BIDI) ~= nil;
	};
end

-- Nothing of what the peer has written is in it.
function offers.words(features)
	local words = {};
	if features.starttls then words[#words + 1] = features.required and "STARTTLS required" or "STARTTLS"; end
	if features.external then words[#words + 1] = "SASL EXTERNAL"; end
	if features.dialback then words[#words + 1] = "dialback"; end
	if features.bidi then words[#words + 1] = "bidi"; end
	return #words > 0 and table.concat(words, ", ") or "nothing that would authenticate a server";
end

return offers;
