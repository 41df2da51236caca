-- Contacts' addresses: one spelling to compare and to keep them by, and all spellings that a user may have written them in.

local jid = require "util.jid";

local idna = require "util.encodings".idna;

local function new_address(native)
	local address = {};

	local function canonical_domain(domain)
		return native.canonical_domain(domain) or domain;
	end
	address.canonical_domain = canonical_domain;

	-- The bare JID with the domain as A-labels.
	function address.canonical(contact)
		local node, domain = jid.split(contact);
		return domain and jid.join(node, canonical_domain(domain)) or jid.bare(contact) or contact;
	end

	-- Rosters hold what their user wrote: as it came, as A-labels, as U-labels.
	function address.spellings(contact)
		local node, domain = jid.split(contact);
		if not domain then return {}; end
		local list = { jid.bare(contact) };
		local name = native.canonical_domain(domain);
		if name and name ~= domain then
			table.insert(list, jid.join(node, name));
		end
		if name and name:find("xn--", 1, true) then
			local unicode = idna.to_unicode(name);
			if unicode and unicode ~= domain then
				table.insert(list, jid.join(node, unicode));
			end
		end
		return list;
	end

	return address;
end

return new_address;
