-- What is said when a stream ends.
--
-- By the peer (RFC 6120 4.9): core passes the text to the log, twice, and to every sender whose stanza still waits for the stream. No filter
-- sees it, its length has no bound, and it can come again and again (0.12.3, 13.0.1).
--
-- By us: a word during the TLS handshake would go out in clear. Core's own time-outs do not look whether there is one.
--
-- What is put into a session stays there for as long as it lives, which may be for many reloads of the module. So it holds nothing of the module, and
-- no global either (it would hold the module's environment); who guards now is asked for.

local s2smanager = require "core.s2smanager";

local type, pack, unpack = type, table.pack, table.unpack;

local SAID_MAX = 300; -- bytes

-- One line, cut where a character of UTF-8 begins: in a text that is not UTF-8, Prosody's logger escapes every byte.
local function cut(text)
	if type(text) ~= "string" then return text; end
	if #text > SAID_MAX then
		local last = SAID_MAX;
		for _ = 1, 3 do
			local byte = text:byte(last + 1);
			if byte < 128 or byte > 191 then break; end
			last = last - 1;
		end
		text = text:sub(1, last).."...";
	end
	return (text:gsub("%c+", " "));
end

local function cut_all(...)
	local said = pack(...);
	for i = 1, said.n do said[i] = cut(said[i]); end
	return unpack(said, 1, said.n);
end

local function text_of(reason)
	if type(reason) == "table" then reason = reason.text or reason.condition; end
	return type(reason) == "string" and reason or nil;
end

-- in_handshake(session): see the latch. `lasting`: a table that lives as long as the server; lasting.guard is who guards now. Returns the handler of
-- s2s-created, before the peer has said anything. While nothing is enforced both functions are as core has them.
local function new_farewell(in_handshake, lasting)
	local function is_observing()
		local guard = lasting.guard;
		return guard ~= nil and guard.observing == true;
	end

	return function (event)
		local session = event.session;
		local log, close = session.log, session.close;
		if not log or not close then return; end

		function session.log(level, message, ...)
			if (level == "info" or level == "warn") and not is_observing() then
				-- What has ended goes on saying so for as long as the parser has something left to read.
				if session.destroyed then level = "debug"; end
				return log(level, message, cut_all(...));
			end
			return log(level, message, ...);
		end

		function session.close(self, reason, remote_reason, bounce_reason, ...)
			if is_observing() then return close(self, reason, remote_reason, bounce_reason, ...); end
			remote_reason = cut(remote_reason);
			if in_handshake(self) then
				s2smanager.destroy_session(self, remote_reason or text_of(reason), bounce_reason); -- its connection is cut in a moment, see limits
				return;
			end
			return close(self, reason, remote_reason, bounce_reason, ...);
		end
	end;
end

return new_farewell;
