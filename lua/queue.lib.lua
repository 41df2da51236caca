-- What waits for an outgoing stream to be established has been judged when it was put there. After a reload it is taken out and
-- routed again: what is no longer allowed is refused, and what is still allowed goes on, over a new stream if its own was closed.

local async = require "util.async";
local st = require "util.stanza";
local timer = require "util.timer";
local xml_parse = require "util.xml".parse;

-- COMPAT Prosody 0.12: the queue holds { text, reply }, not stanzas.
local function stanza_of(item)
	if st.is_stanza(item) then return item; end
	local text = item[1];
	if text:sub(1, 10) == "<db:verify" then
		local parsed = xml_parse((text:gsub("^<db:verify", "<verify", 1):gsub("</db:verify>$", "</verify>", 1)));
		return parsed and st.stanza("db:verify", { from = parsed.attr.from; to = parsed.attr.to; id = parsed.attr.id })
			:text(parsed:get_text());
	end
	return xml_parse(text);
end

local function items_of(sendq)
	local items = {};
	if sendq.consume then
		for stanza in sendq:consume() do
			items[#items+1] = stanza;
		end
	else
		for i, item in ipairs(sendq) do
			items[i] = item;
		end
	end
	return items;
end

local queue = {};

-- Whether an outgoing stream is being opened to have a key verified: then only core's question waits for it. Where that
-- cannot be told it is for stanzas, and takes a place.
function queue.is_for_key(session)
	local sendq = session.sendq;
	local first = sendq and sendq.peek and sendq:peek() or sendq and sendq[1];
	if type(first) ~= "table" then return false; end
	if st.is_stanza(first) then return first.name == "db:verify"; end
	return type(first[1]) == "string" and first[1]:sub(1, 10) == "<db:verify"; -- COMPAT Prosody 0.12
end

-- Takes everything out; what is returned is to be given to queue.route.
function queue.take(session, taken)
	if session.direction ~= "outgoing" or not session.sendq then return; end
	for _, item in ipairs(items_of(session.sendq)) do
		local ok, stanza = pcall(stanza_of, item);
		if ok and stanza then
			taken[#taken+1] = { host = session.from_host; stanza = stanza };
		else
			-- Not with the parser's error: it may quote what was said.
			module:log("error", "A queued stanza to %s cannot be read again and is lost", session.to_host);
		end
	end
	session.sendq = nil;
end

-- To be called in a runner.
function queue.route(taken)
	if module:shared("latch").armed then
		-- The module is starting, and until it has started the deny latch refuses every route.
		local wait, done = async.waiter();
		timer.add_task(0, done);
		wait();
	end
	for _, item in ipairs(taken) do
		if prosody.hosts[item.host] then
			-- What goes wrong with one must not cost the others.
			local ok = pcall(prosody.core_route_stanza, prosody.hosts[item.host], item.stanza);
			if not ok then
				module:log("error", "A queued stanza from %s could not be routed again and is lost", item.host);
			end
		end
	end
end

return queue;
