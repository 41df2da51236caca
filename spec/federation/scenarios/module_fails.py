"""A module that fails on the way out or back in: nothing opens, nothing is left behind, and the log says what to do.

The servers' logs have tracebacks here, on purpose."""

from lab.client import Client
from lab.probe import Probe

from scenarios._edge import ALICE, HOST, closed_somehow, configuration, edge_server, established, partner
from scenarios.failures import assert_all_refused, copy_of_module

TRACEBACKS = True
FABRIKAM = "fabrikam.test"
GOOD = configuration(partner(FABRIKAM))
REFUSED = r"error.*Federation is refused in both directions"


def edge_of(lab, name, partners=GOOD, **more):
    return edge_server(lab, partners, name=name, register=False, **more)


def probe_of(lab, edge):
    return Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM))


def works(lab, edge):
    mark = edge.mark()
    with probe_of(lab, edge) as probe:
        probe.authenticate()
        established(edge, "from", FABRIKAM, mark)


def scenario_entry_file_raises_at_reload(lab):
    """Core has unloaded the one and cannot load the other: closed, and the log says that it is and what to do."""
    copy = copy_of_module(lab, "raises")
    entry = copy / "mod_s2s_partners" / "mod_s2s_partners.lua"
    edge = edge_of(lab, "raises", under_test=copy).start()
    whole = entry.read_text()
    with Client(ALICE, edge.address) as alice, probe_of(lab, edge) as probe:
        probe.authenticate()
        mark = edge.mark()
        entry.write_text("error('a fault at run time')\n" + whole)
        edge.shell('module:reload("s2s_partners")')
        edge.wait_log(REFUSED, 5, mark)
        closed_somehow(probe)
        assert_all_refused(lab, edge, alice, "internal-error")
        entry.write_text(whole)
        edge.shell('module:load("s2s_partners")')
        works(lab, edge)
    edge.stop()


def scenario_guard_cannot_stop(lab):
    """Unloading must close, whatever fails on the way."""
    copy = copy_of_module(lab, "stop")
    guard = copy / "mod_s2s_partners" / "guard.lib.lua"
    text = guard.read_text()
    guard.write_text(text.replace("function guard.stop()", "function guard.stop() error('cannot stop');"))
    edge = edge_of(lab, "stop", under_test=copy).start()
    with Client(ALICE, edge.address) as alice, probe_of(lab, edge) as probe:
        probe.authenticate()
        mark = edge.mark()
        edge.shell('module:unload("s2s_partners")')
        edge.wait_log(REFUSED, 5, mark)
        closed_somehow(probe)
        assert_all_refused(lab, edge, alice, "internal-error")
    edge.stop()


def scenario_failed_start_leaves_nothing(lab):
    """What a start that failed has hooked is gone when the next one succeeds."""
    copy = copy_of_module(lab, "late")
    console = copy / "mod_s2s_partners" / "console" / "shell.lib.lua"
    whole = console.read_text()
    console.write_text("error('the last library')\n")
    edge = edge_of(lab, "late", under_test=copy).start()
    edge.wait_log(REFUSED)
    console.write_text(whole)
    edge.shell('module:reload("s2s_partners")')
    with probe_of(lab, edge) as probe:
        probe.authenticate()
        counted = edge.shell("> (function () for s in pairs(prosody.incoming_s2s) do return 'filters: '..#s.filters['stanzas/in'] end end)()")
        assert "filters: 1" in counted, counted
    edge.stop()


def scenario_console_of_an_unloaded_module(lab):
    """It must not go on telling of partners while everything is refused."""
    edge = edge_of(lab, "console").start()
    assert FABRIKAM in edge.shell("partners:list()")
    edge.shell('module:unload("s2s_partners")')
    assert FABRIKAM not in edge.shell("partners:list()")
    edge.shell('module:load("s2s_partners")')
    assert FABRIKAM in edge.shell("partners:list()")
    edge.stop()


BREAK = ("> (function () for s in pairs(prosody.incoming_s2s) do if s.from_host == 'fabrikam.test' then "
         "s.conn = setmetatable({}, { __index = function () error('a trap') end }) end end return 'broken' end)()")


def scenario_one_stream_cannot_be_judged(lab):
    """At a reload: the others are judged all the same, and the rest of the server gets its reload."""
    pinned = partner(FABRIKAM, pinned_keys=[lab.certificates.leaf(FABRIKAM).pin])
    edge = edge_of(lab, "judged", configuration(pinned, partner("northwind.test"))).start()
    broken = [probe_of(lab, edge) for _ in range(4)]
    for probe in broken:
        probe.authenticate()
    with Probe(edge.address, from_="northwind.test", to=HOST, leaf=lab.certificates.leaf("northwind.test")) as probe:
        probe.authenticate()
        assert "broken" in edge.shell(BREAK)
        edge.partners = configuration(pinned)
        mark = edge.mark()
        edge.reload()
        probe.read_close("policy-violation", "policy-changed")
        edge.wait_log("Partner configuration applied", 5, mark)
    edge.stop()
