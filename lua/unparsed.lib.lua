-- What a peer has sent that has not become an element yet. The XML parser may keep it. Since the fix of CVE-2023-52425 (libexpat 2.6.0, and
-- 2.5.0-1+deb12u2 in Debian 12) the parser looks at an unfinished tag again only when twice as many bytes are there. So a tag that comes in
-- many small pieces can be complete and still wait. These functions are called only for a stream that is out of time.

-- The bytes, or nil when that is not known. COMPAT 0.12, 13: xmppstream counts them, and tells nobody.
local function unparsed(session)
	local feed = session.stream and session.stream.feed;
	if type(feed) ~= "function" then return nil; end
	for i = 1, 100 do
		local name, value = debug.getupvalue(feed, i);
		if not name then return nil; end
		if name == "n_outstanding_bytes" then
			return math.type(value) == "integer" and value > 0 and value or nil;
		end
	end
end

-- What to add to the reason of a time-out: "" or a text.
return function (session)
	local bytes = unparsed(session);
	if not bytes then return ""; end
	return ("; %d bytes came that are the beginning of an element and no more: the other server did not send the rest, or it came in small "
		.."pieces and the XML parser (libexpat) waits for more before it looks at them again"):format(bytes);
end;
