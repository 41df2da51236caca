-- By what connections of one address are counted together.

local pton = require "util.net".pton;

-- An IPv4 address; the /64 of an IPv6 one, which is what one customer has.
local function address_key(ip)
	local packed = ip and pton(ip);
	if not packed then return ip or "?"; end
	if #packed == 16 then
		if packed:sub(1, 12) == ("\0"):rep(10).."\255\255" then
			return packed:sub(13); -- IPv4 in IPv6
		end
		return packed:sub(1, 8);
	end
	return packed;
end

return address_key;
