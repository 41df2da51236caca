-- A timer, as mod_s2s_partners has one, and nothing else: with each message Prosody moves time-outs in a table that has all of them.
local SECONDS = 5;
module:add_timer(SECONDS, function () return SECONDS; end);
