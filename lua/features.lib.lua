-- The <stream:features/> of our streams and of peers': read for C, and cut down to what C has decided to offer or to take up.

local st = require "util.stanza";

local xmlns_tls = "urn:ietf:params:xml:ns:xmpp-tls";
local xmlns_sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
local xmlns_dialback_feature = "urn:xmpp:features:dialback";
local xmlns_bidi_feature = "urn:xmpp:features:bidi";

local features = {};

local function conforms(tag, offer)
	local name, xmlns = tag.name, tag.attr.xmlns;
	if name == "starttls" and xmlns == xmlns_tls then
		return offer.starttls and (not tag.tags[1]) == not offer.starttls_required;
	elseif name == "mechanisms" and xmlns == xmlns_sasl then
		return offer.sasl;
	elseif name == "dialback" and xmlns == xmlns_dialback_feature then
		return offer.dialback;
	elseif name == "bidi" and xmlns == xmlns_bidi_feature then
		return offer.bidi;
	end
	return true;
end

-- What stands in the place of a feature, nil when it is to go.
local function conforming(tag, offer)
	if conforms(tag, offer) then return tag; end
	if tag.name ~= "starttls" or not offer.starttls then return nil; end
	-- Core shares one element among all streams: never change it in place.
	local starttls = st.stanza("starttls", { xmlns = xmlns_tls });
	return offer.starttls_required and starttls:tag("required"):up() or starttls;
end

-- Cuts a <stream:features/> down to what `offer` allows. In one pass: util.stanza takes children out one by one, and moves all that
-- are behind each time.
function features.trim(element, offer)
	local good = true;
	for _, tag in ipairs(element.tags) do
		good = good and conforms(tag, offer);
	end
	if good then return; end -- nearly always; to build a list anew is what costs
	local tags, count, kept = {}, #element, 0;
	for i = 1, count do
		local child = element[i];
		if type(child) == "table" then
			child = conforming(child, offer);
			tags[#tags+1] = child;
		end
		if child ~= nil then
			kept = kept + 1;
			element[kept] = child;
		end
	end
	for i = kept + 1, count do element[i] = nil; end
	element.tags = tags;
end

-- Core warns of empty features, though the stream they are for is closed.
function features.fill(element)
	if not element.tags[1] then element:tag("refused"):up(); end
end

-- What a peer's <stream:features/> offers: starttls, required, EXTERNAL, dialback.
function features.read(element)
	local starttls = element:get_child("starttls", xmlns_tls);
	local mechanisms = element:get_child("mechanisms", xmlns_sasl);
	local external = false;
	for mechanism in (mechanisms or st.stanza("none")):childtags("mechanism") do
		external = external or mechanism:get_text() == "EXTERNAL";
	end
	return starttls ~= nil, starttls ~= nil and starttls:get_child("required") ~= nil, external,
		element:get_child("dialback", xmlns_dialback_feature) ~= nil;
end

return features;
