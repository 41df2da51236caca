-- mod_s2s_inside: a component that is a relay host without users, such as the rooms of a server inside:
-- Component "conference.contoso.com" "s2s_inside". mod_s2s_partners does all of it. This file is there so that core does not make an external
-- component (XEP-0114) of the host; by itself it takes nothing.

module:log("debug", "A relay host: what comes here passes only while mod_s2s_partners lets it");
