-- What goes out to other servers is written by module/prosody/stanza/stanza_text.c, as long as that writes what Prosody's own function would.

local st = require "util.stanza";

-- One of each that it writes itself.
local function samples()
	return {
		st.message({ from = "a@b.test/c"; to = "d@e.test"; type = "chat"; id = "'\"<>&" }, "5 > 4 & '3' < \"4\""),
		st.presence():text_tag("show", "away"):text_tag("status", "\u{e4} \n\t"),
		st.iq({ type = "get"; id = "1" }):tag("query", { xmlns = "urn:x" }):tag("item", { xmlns = "urn:x" }):up()
			:tag("item", { xmlns = "urn:y" }):tag("deep"):up():text("text"):tag("last", { xmlns = "" }):reset(),
	};
end

-- The filter for "stanzas/out" of streams; nil where Prosody writes in some way that we do not know.
local function new_writer(guard, native)
	local metatable = getmetatable(st.stanza("message"));
	local same, err = pcall(function ()
		local write = native.stanza_writer({ observing = false }, metatable);
		for _, sample in ipairs(samples()) do
			assert(write(sample) == tostring(sample), "something is written in another way");
		end
	end);
	if not same then
		module:log("debug", "Stanzas are left to Prosody to be written: %s", err);
		return nil;
	end
	return native.stanza_writer(guard, metatable);
end

return new_writer;
