"""What a peer says when it ends the stream (RFC 6120 4.9) goes past all filters. It is for the log, which it must not fill."""

import contextlib
import re

from lab import machine
from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote

from scenarios._edge import ALICE, HOST, any_method, configuration, closed_somehow, edge_server, outbound_error

TIMEOUT = 90
STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
SHARED, RUDE = "shared.test", "rude.test"
LOG_MAX = 1024      # bytes of a connection, beyond the first line
CLOSED = "s2s stream .* closed|Closing inbound s2s connection|Failed to establish outbound s2s connection"


def setup(lab):
    # At debug an ejabberd writes each element as it came.
    level = {"log_level": "info"} if lab.host == "ejabberd" else {}
    lab.edge = edge_server(lab, configuration(any_method(SHARED), any_method(RUDE)), s2s_timeout=60, **level).start()
    lab.alice = Client(ALICE, lab.edge.address)


def teardown(lab):
    lab.alice.close()


def lines(lab, mark):
    """What an administrator sees with the level `info`."""
    lab.edge.shell("> 1")       # one loop does it all
    return [line for line in lab.edge.log_since(mark).splitlines() if not re.search("\tdebug\t", line)]


def modest(lab, mark, what):
    seen = lines(lab, mark)
    size = sum(map(len, seen[1:]))
    assert seen and size <= LOG_MAX and all(len(line) <= LOG_MAX for line in seen), (what, len(seen), size, seen[0][:200], seen[-1][:200])
    return seen


def error(condition="undefined-condition", text=""):
    return f"<stream:error><{condition} xmlns='{STREAMS}'/><text xmlns='{STREAMS}'>{text}</text></stream:error>"


LONG = 400000
HUGE = {
    "text": error(text="x" * LONG),
    "text in another script": error(text="\u00fc" * (LONG // 2)),
    "lines": error(text="\n" * LONG),
    "condition": error("c" * LONG),
    "many conditions": "<stream:error>" + f"<c xmlns='{STREAMS}'/>" * 5000 + "</stream:error>",
}


def scenario_long_farewell_of_a_stranger(lab):
    for what, said in HUGE.items():
        mark = lab.edge.mark()
        with Probe(lab.edge.address, from_=SHARED, to=HOST) as probe:
            probe.features()
            probe.send(said)
            if machine.parser_waits():      # for an incomplete element to double; core may have closed the stream before
                with contextlib.suppress(OSError):
                    probe.send(" " * LONG)
            lab.edge.wait_log(CLOSED, 10, mark)
            modest(lab, mark, what)


def scenario_farewells_without_end(lab):
    """A peer that has said that the stream is at an end is not listened to any more."""
    for what, said in (("errors", "<stream:error/>" * 5000), ("errors, with a reason", error("reset", "again") * 500)):
        mark = lab.edge.mark()
        with Probe(lab.edge.address, from_=SHARED, to=HOST) as probe:
            probe.features()
            probe.send(said)
            lab.edge.wait_log(CLOSED, 10, mark)
            closed_somehow(probe, 2)
            modest(lab, mark, what)


def scenario_long_farewell_of_whom_we_called(lab):
    """The local sender hears of it, in short."""
    def script(connection):
        connection.restart()
        connection.read_header()
        connection.answer_header()
        connection.send(error(text="x" * 9000))     # 0.12 reads no more of whom it has not authenticated
        while True:
            connection.read(60)
    Remote(lab, [RUDE], leaf=lab.certificates.leaf(RUDE), script=script, timeout=60)
    mark = lab.edge.mark()
    _, text, _ = outbound_error(lab.alice, f"eve@{RUDE}")
    assert "xxx" in text and len(text) <= LOG_MAX, (len(text), text[:200])
    modest(lab, mark, "of whom we called")


def scenario_farewell_is_understood(lab):
    """What is short comes through as it was said, with its condition, and the stream ends at once."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=SHARED, to=HOST) as probe:
        probe.features()
        probe.send(error("system-shutdown", "back at ten, gr\u00fc\u00dfe"))
        lab.edge.wait_log(CLOSED, 10, mark)
        closed_somehow(probe, 2)
    said = "\n".join(modest(lab, mark, "short"))
    if lab.edge.host == "ejabberd":
        assert "back at ten, gr\u00fc\u00dfe (system-shutdown)" in said, said
    else:
        assert said.count("system-shutdown (back at ten, gr\u00fc\u00dfe)") == 2, said
