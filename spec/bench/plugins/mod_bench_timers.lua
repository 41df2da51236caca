-- As many timers as mod_s2s_partners has, and nothing else: each message moves time-outs in a table that Prosody has all of them in.
for _, seconds in ipairs { 5 } do
	module:add_timer(seconds, function () return seconds; end);
end
