"""Strangers whose first bytes say so get no session; nobody else notices that connections without a word have none."""

import re
import socket
import time

from lab.probe import Probe
from lab.waiting import wait_until
from lab.xmlstream import DIALBACK

from scenarios._edge import HOST, closed_somehow, configuration, edge_server, partner, refused

FABRIKAM, EVIL = "fabrikam.test", "evil.test"
GOOD = configuration(partner(FABRIKAM), s2s_partners_limits={"establishment_timeout": 8})


def setup(lab):
    lab.edge = edge_server(lab, GOOD, direct_tls=True, components={f"rooms.{HOST}": ("muc", "")}, s2s_timeout=60).start()


def sessions_of(edge, mark):
    """How many sessions core has made for who connects to us."""
    return edge.log_since(mark).count("Incoming s2s connection")


def sessions(lab, mark):
    return sessions_of(lab.edge, mark)


def refused_without_session(lab, probe):
    mark = lab.edge.mark()
    probe.open()
    refused(probe, "unlisted-domain")
    assert probe.header.get("from") == HOST and probe.header.get("to") == EVIL and probe.header.get("id"), probe.header
    lab.edge.wait_log("Refused stream from evil.test", 5, mark)
    log = lab.edge.log_since(mark)
    assert sessions(lab, mark) == 0, log
    assert len(re.findall(r"\tinfo\t.*evil\.test", log)) == 1, log


def scenario_plain(lab):
    """One line, and no session, with which a stranger would cost three times as much."""
    with Probe(lab.edge.address, from_=EVIL, to=HOST) as probe:
        refused_without_session(lab, probe)


def scenario_direct_tls(lab):
    with Probe(lab.edge.address, 5270, from_=EVIL, to=HOST, direct_tls=True) as probe:
        refused_without_session(lab, probe)


def scenario_component(lab):
    with Probe(lab.edge.address, from_=EVIL, to=f"rooms.{HOST}") as probe:
        probe.open()
        refused(probe, "unlisted-domain")


def scenario_read_by_core(lab):
    """Headers that are not plain are no way around: core reads them, and the guard refuses."""
    def header(from_=EVIL, to=HOST, more=""):
        return (f"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='{from_}' to='{to}'{more}>")
    for pieces in ([header(more=" a='b'")], [header(from_="EVIL.test")], [header(from_="evil&#46;test")], [header(from_="evil.test&#46;")],
                   ["<?xml version='1.0' encoding='utf-8'?>", header()], [header()[:40], header()[40:]], list(header()[:8]) + [header()[8:]],
                   [header().replace("version='1.0' ", "")], ["\n\n" + header()]):
        with Probe(lab.edge.address, from_=EVIL, to=HOST) as probe:
            for piece in pieces:
                probe.send(piece)
                time.sleep(0.05)    # or two pieces would be read as one
            error = closed_somehow(probe)
            assert error is not None and error.condition in ("policy-violation", "not-well-formed"), (pieces, error)


def scenario_what_core_refuses(lab):
    """A host that is not ours, and a stranger by our own name: core's own words."""
    with Probe(lab.edge.address, from_=EVIL, to="elsewhere.test") as probe:
        probe.open()
        probe.read_close("host-unknown")
    with Probe(lab.edge.address, from_=HOST, to=HOST) as probe:
        probe.open()
        closed_somehow(probe)


def scenario_more_behind_the_header(lab):
    """Nothing behind a refused header is looked at."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=EVIL, to=HOST) as probe:
        probe.send(probe.open_text(from_=EVIL, to=HOST) +
                   f"<db:result xmlns:db='{DIALBACK}' from='{FABRIKAM}' to='{HOST}'>key</db:result><message from='{EVIL}' to='alice@{HOST}'/>")
        refused(probe, "unlisted-domain")
    log = lab.edge.log_since(mark)
    assert FABRIKAM not in log and "alice" not in log, log


def scenario_partner(lab):
    """A partner's header goes to core as it came, with what was sent behind it."""
    leaf = lab.certificates.leaf(FABRIKAM)
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.send(probe.open_text(from_=FABRIKAM, to=HOST) + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        assert probe.read_until("proceed")
    with Probe(lab.edge.address, 5270, from_=FABRIKAM, to=HOST, leaf=leaf, direct_tls=True) as probe:
        probe.authenticate()


def scenario_silence(lab):
    """Who says nothing has no session, but a place and a time; then it is told why."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as silent, Probe(lab.edge.address, 5270, to=HOST, direct_tls=True) as hidden:
        with Probe(lab.edge.address, from_=EVIL, to=HOST) as stranger:      # who comes behind them, and has no session either
            stranger.open()
            refused(stranger, "unlisted-domain")
        assert sessions(lab, mark) == 0
        for probe in (silent, hidden):
            refused(probe, "establishment-timeout", "connection-timeout", timeout=20)
    ended = r"Destroying incoming session .*establishment-timeout"
    wait_until(lambda: len(re.findall(ended, lab.edge.log_since(mark))) == sessions(lab, mark) == 2, 20, "end of the sessions")


def scenario_gone_without_a_word(lab):
    mark = lab.edge.mark()
    for _ in range(5):
        socket.create_connection((lab.edge.address, 5269), 5).close()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        probe.features()
    assert "Error" not in lab.edge.log_since(mark), lab.edge.log_since(mark)


def scenario_over_a_module_reload(lab):
    """What has said nothing when the module is loaded anew goes on as if nothing had been; what comes then is looked at as before."""
    leaf = lab.certificates.leaf(FABRIKAM)
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as silent, Probe(lab.edge.address, from_=EVIL, to=HOST) as stranger:
        lab.edge.shell('module:reload("s2s_partners")')
        stranger.open()
        refused(stranger, "unlisted-domain")
        silent.authenticate()
    with Probe(lab.edge.address, from_=EVIL, to=HOST) as probe:
        refused_without_session(lab, probe)


def scenario_over_core_reload(lab):
    """mod_s2s with another listener: looked at as well."""
    lab.edge.shell('module:reload("s2s")')
    with Probe(lab.edge.address, from_=EVIL, to=HOST) as probe:
        refused_without_session(lab, probe)


def scenario_while_observing(lab):
    """Nothing is put off while nothing is enforced: Prosody has its session, and its time, from the connection on."""
    edge = edge_server(lab, configuration(partner(FABRIKAM), s2s_partners_mode="observe"), name="observing", register=False, s2s_timeout=3).start()
    mark = edge.mark()
    with Probe(edge.address, from_=FABRIKAM, to=HOST) as silent:
        error = closed_somehow(silent)
        assert error is not None and error.condition == "connection-timeout", error
    assert sessions_of(edge, mark) == 1
    edge.partners = configuration(partner(FABRIKAM))
    edge.reload()
    mark = edge.mark()
    with Probe(edge.address, from_=FABRIKAM, to=HOST) as silent:
        edge.shell("> 1")
        assert sessions_of(edge, mark) == 0
        edge.partners = configuration(partner(FABRIKAM), s2s_partners_mode="observe")
        edge.reload()
        error = closed_somehow(silent, 12)
        assert error is not None and error.condition == "connection-timeout", error


def scenario_without_the_module(lab):
    """The module goes: nothing that has said nothing stays, and the latch answers what comes."""
    edge = edge_server(lab, GOOD, name="unloaded", register=False).start()
    with Probe(edge.address, from_=FABRIKAM, to=HOST) as silent:
        edge.shell('module:unload("s2s_partners")')
        assert closed_somehow(silent) is not None
    with Probe(edge.address, from_=FABRIKAM, to=HOST) as probe:
        probe.open()
        refused(probe, "internal-error")
