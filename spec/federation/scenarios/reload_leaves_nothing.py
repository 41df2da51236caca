"""module:reload again and again leaves nothing of the module before behind: no handler, no timer, no policy."""

import re

from scenarios._edge import ALICE, any_method, configuration, edge_server, partner

MANY = configuration(*(partner(f"p{number}.test", description="x" * 200) for number in range(2000)), any_method("any.test"))
HANDLERS = ("> (function () local n = 0; local function count(events) for _, map in pairs(events._event_map) do for _ in pairs(map) do n = n + 1 end end end; "
            "count(prosody.events); for _, host in pairs(prosody.hosts) do count(host.events) end; return n end)()")
NOTE = ('> (function () local seen = prosody.lab_modules or setmetatable({}, { __mode = "k" }); prosody.lab_modules = seen; '
        'seen[require "core.modulemanager".get_module("*", "s2s_partners")] = true; return 1 end)()')
LEFT = ('> (function () collectgarbage() collectgarbage() local n = 0; for _ in pairs(prosody.lab_modules) do n = n + 1 end '
        'return n end)()')
RELOADS = 6


def setup(lab):
    lab.edge = edge_server(lab, MANY, users=[ALICE]).start()


def number(output):
    return int(re.findall(r"(?:Result:|\|) *(\d+)", output)[-1])


def scenario_nothing_piles_up(lab):
    lab.edge.shell('module:reload("s2s_partners")')
    before = number(lab.edge.shell(HANDLERS))
    for _ in range(RELOADS):
        lab.edge.shell(NOTE)
        answer = lab.edge.shell('module:reload("s2s_partners")')
        assert "OK" in answer, answer
    assert number(lab.edge.shell(HANDLERS)) == before
    left = number(lab.edge.shell(LEFT))
    assert left <= 2, f"{left} of {RELOADS} modules that were reloaded are still there"
