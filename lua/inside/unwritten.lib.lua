-- What has been handed to the connections of inner streams and is not written yet. Prosody keeps that in memory, 0.12 without a bound, 13 up to
-- 32 MiB of each connection; and a server inside that hangs still looks connected. A connection says before it writes, which it does when the kernel
-- takes something again, and when all of it is out.

local STREAM_MAX = 4 * 1024 * 1024; -- bytes, of a stream
local ALL_MAX = 32 * 1024 * 1024; -- of all streams
local ANSWERS_MAX = 64 * 1024; -- of a stream that the inside has opened, over which it gets answers alone
local STILL_MAX = 60; -- seconds in which nothing of a stream's could be written

local function new_unwritten()
	local unwritten = {};
	local bytes = {}; -- session -> since all was written
	local still_since = {}; -- session -> when that was seen first
	local moving = {}; -- session -> true: something could be written since the last look
	local total = 0;

	function unwritten.add(session, count)
		if session.destroyed then return; end
		bytes[session], total = (bytes[session] or 0) + count, total + count;
	end

	-- Something is about to be written.
	function unwritten.moves(session)
		if bytes[session] then moving[session] = true; end
	end

	-- All is written, or nothing of it will be.
	function unwritten.clear(session)
		local count = bytes[session];
		if not count then return; end
		bytes[session], moving[session], still_since[session], total = nil, nil, nil, total - count;
	end

	function unwritten.of(session)
		return bytes[session] or 0;
	end

	-- For one stanza more, of any size. What is handed over first is counted then, so that a bound is passed by one stanza at most.
	function unwritten.has_room(session)
		return total < ALL_MAX and (bytes[session] or 0) < STREAM_MAX;
	end

	-- Whether it asks and asks, and reads no answer.
	function unwritten.too_many_answers(session)
		return (bytes[session] or 0) > ANSWERS_MAX;
	end

	-- Whether nothing could be written for too long: to be asked every few seconds.
	function unwritten.is_stuck(session, now)
		if not bytes[session] or moving[session] then
			moving[session], still_since[session] = nil, nil;
			return false;
		end
		still_since[session] = still_since[session] or now;
		return now - still_since[session] >= STILL_MAX;
	end

	return unwritten;
end

return new_unwritten;
