-- partners:list WORD: the partners about whom something says that word.

local layout = module:require "layout";

local WORD_MAX = 253; -- bytes, as a domain

local search = {};

-- Whether there can be such a word; nil and what is wrong.
function search.check(word)
	if type(word) ~= "string" or not word:find("%S") then return nil, "must be a host of this server or a word to search for"; end
	if #word > WORD_MAX then return nil, ("has %d bytes; %d are enough for any domain"):format(#word, WORD_MAX); end
	return true;
end

-- match(partner): whether the word stands in a domain, the description, the type or the reason of the last refusal. Small and capital letters
-- of ASCII are alike; a domain is found in each of its spellings. `reason_of(name)` -> reason or nil.
function search.matcher(native, word, reason_of)
	local needles = { word:lower() };
	local canonical = native.canonical_domain(word);
	if canonical and canonical ~= needles[1] then needles[2] = canonical; end
	local function has(text)
		if not text then return false; end
		text = text:lower();
		for _, needle in ipairs(needles) do
			if text:find(needle, 1, true) then return true; end
		end
		return false;
	end
	return function (partner)
		if has(partner.name) or has(partner.description) or has(partner.partner_type) or has(reason_of(partner.name)) then return true; end
		for _, domain in ipairs(partner.additional_domains) do
			if has(domain) then return true; end
		end
		return false;
	end;
end

function search.nothing(word)
	return ("%s is not a host of this server, and no partner has it in its domains, description, type or the reason of its last refusal")
		:format(layout.plain(word, 80));
end

-- { { first, text }... } for layout: a description may have several lines.
function search.description(partner)
	local lines = {};
	for line in partner.description:gmatch("[^\n]+") do
		if line:find("%S") then lines[#lines + 1] = { "  "; layout.plain(line) }; end
	end
	return lines;
end

return search;
