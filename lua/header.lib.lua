-- The header of an incoming stream: what core does not tell of it.

local timer = require "util.timer";

-- What is put into a session holds nothing of the module, and no global: see farewell.
local type, prosody = type, prosody;

local function new_header(needs)
	local stream_is_known = false; -- the first one is looked at

	return function (session)
		if not stream_is_known then
			local lacking = needs.of_stream(session, prosody.version);
			if lacking then error(lacking, 0); end
			stream_is_known = true;
		end
		-- COMPAT 0.12.3, 13.0: no event tells of the header of a stream before XMPP 1.0, to which no features are sent. Our answer
		-- to it does; what is to be done waits until core is through with the header.
		local open_stream = session.open_stream;
		function session.open_stream(...)
			if session.version and session.version < 1 then -- none: closed before there was a header
				timer.add_task(0, function ()
					if not session.destroyed then
						prosody.events.fire_event("s2s-partners-header", { session = session });
					end
				end);
			end
			return open_stream(...);
		end
		-- COMPAT 13.0.6: core prepares the header's `from`, which takes the last dot off; "fabrikam.test.." then looks like a domain
		-- with a trailing dot. The domain of a stream is what was written. Gone again as soon as one is known.
		local thread = session.thread;
		local run = thread.run;
		function thread.run(self, item, ...)
			if type(item) == "table" and (item.event == "streamopened" or item.stream == "opened") and not session.from_host then
				session.s2s_partners_written = item.attr.from;
				if item.attr.from then thread.run = nil; end
			end
			return run(self, item, ...);
		end
	end;
end

return new_header;
