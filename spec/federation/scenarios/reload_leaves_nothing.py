"""module:reload again and again leaves nothing of the module before behind: no handler, no timer, no policy."""

import contextlib
import re

from lab.probe import Probe
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, partner

MANY = configuration(*(partner(f"p{number}.test", description="x" * 200) for number in range(2000)), any_method("any.test"))
HANDLERS = ("> (function () local n = 0; local function count(events) for _, map in pairs(events._event_map) do for _ in pairs(map) do n = n + 1 end end end; "
            "count(prosody.events); for _, host in pairs(prosody.hosts) do count(host.events) end; return n end)()")
NOTE = ('> (function () local seen = prosody.lab_modules or setmetatable({}, { __mode = "k" }); prosody.lab_modules = seen; '
        'seen[require "core.modulemanager".get_module("*", "s2s_partners")] = true; return 1 end)()')
LEFT = ('> (function () collectgarbage() collectgarbage() local n = 0; for _ in pairs(prosody.lab_modules) do n = n + 1 end '
        'return n end)()')
STREAMS = ('> (function () local n = 0; for session in pairs(prosody.incoming_s2s) do n = n + (session.type == "s2sin" and 1 or 0) end '
           'return n end)()')
RELOADS = 6


def setup(lab):
    lab.edge = edge_server(lab, MANY, users=[ALICE]).start()


def number(output):
    return int(re.findall(r"(?:Result:|\|) *(\d+)", output)[-1])


def reload_noted(lab):
    lab.edge.shell(NOTE)
    answer = lab.edge.shell('module:reload("s2s_partners")')
    assert "OK" in answer, answer


def assert_gone(lab):
    left = number(lab.edge.shell(LEFT))
    assert left <= 2, f"{left} of {RELOADS} modules that were reloaded are still there"
    lab.edge.shell("> (function () prosody.lab_modules = nil; return 1 end)()")


def scenario_nothing_piles_up(lab):
    lab.edge.shell('module:reload("s2s_partners")')
    before = number(lab.edge.shell(HANDLERS))
    for _ in range(RELOADS):
        reload_noted(lab)
    assert number(lab.edge.shell(HANDLERS)) == before
    assert_gone(lab)


def scenario_streams_that_live_on_keep_nothing(lab):
    """Each of the modules has taken one."""
    with contextlib.ExitStack() as streams:
        for number_of_streams in range(1, RELOADS + 1):
            streams.enter_context(Probe(lab.edge.address, from_="any.test", to=HOST, leaf=lab.certificates.leaf("any.test"))).authenticate()
            wait_until(lambda expected=number_of_streams: number(lab.edge.shell(STREAMS)) == expected, 20, "a stream")
            reload_noted(lab)
        assert number(lab.edge.shell(STREAMS)) == RELOADS
        assert_gone(lab)


def scenario_timers_while_observing_keep_nothing(lab):
    lab.edge.partners = MANY + 's2s_partners_mode = "observe"\n'
    lab.edge.reload()
    for _ in range(RELOADS):
        reload_noted(lab)
    assert_gone(lab)
