"""What depends on the system beneath: a Prosody that lacks something, an XML parser that waits, key exchange that OpenSSL has or has not."""

import re
import subprocess
import time

from lab import machine
from lab.client import Client
from lab.lab import Skipped
from lab.probe import Probe
from lab.prosody import Prosody
from lab.xmlstream import Closed

from scenarios._edge import ALICE, HOST, configuration, edge_server, established, outbound_error, partner, tcp_dialback

FABRIKAM, PLAIN = "fabrikam.test", "plain.test"
PARTNERS = configuration(partner(FABRIKAM), tcp_dialback(PLAIN), s2s_partners_limits={"establishment_timeout": 6})
HYBRID = "X25519MLKEM768"


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS).start()


def scenario_a_prosody_that_lacks_something(lab):
    """Refused at the start, by name, with everything that federates; users of this server still reach each other."""
    carol = f"carol@{HOST}"
    # Used by nobody else; the configuration file is a program in the server's own Lua.
    edge = edge_server(lab, PARTNERS, name="lacking", register=False, users=[ALICE, carol],
                       options='require "util.filters".remove_filter_hook = nil\n').start()
    line = edge.wait_log(r"\terror\tFederation is refused in both directions: (.*)")[1]
    assert (f"mod_s2s_partners could not start: this Prosody ({lab.prosody.number}) has no util.filters.remove_filter_hook, which "
            "mod_s2s_partners needs; it was tested with Prosody 0.12.3") in line, line
    assert "Partner configuration applied" not in edge.log_since() and "raceback" not in edge.log_since()
    with Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.open()
        probe.read_close("policy-violation")
    mark = lab.dns.mark()
    with Client(ALICE, edge.address) as alice, Client(carol, edge.address) as other:
        condition, _, _ = outbound_error(alice, f"bob@{FABRIKAM}")
        assert condition == "internal-server-error", condition
        alice.send_message(carol, "inside")
        other.wait_message("inside")
    assert not lab.dns.asked(FABRIKAM, mark)
    edge.stop()


# XML in pieces

HEADER = ("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
          f"xmlns:db='jabber:server:dialback' version='1.0' from='{FABRIKAM}' to='{HOST}'>")


def send_in_pieces(probe, text, size):
    for at in range(0, len(text), size):
        probe.send(text[at:at + size])
        time.sleep(0.05)        # each is read by itself


def answered(probe, seconds):
    try:
        return probe.read_until("features", timeout=seconds)
    except TimeoutError:
        return None


def timed_out(lab, mark):
    return lab.edge.wait_log(rf"Refused stream from .*: establishment-timeout: (.*)", 10, mark)[1]


def scenario_header_in_pieces(lab):
    """Answered at once, or when as much again has come: nothing is lost by it. A blank alone is not enough."""
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        send_in_pieces(probe, HEADER, 20)
        if not machine.parser_waits():
            assert answered(probe, 5)
            return
        assert not answered(probe, 0.5)
        probe.send(" ")                     # between elements, and so no part of any
        assert not answered(probe, 0.3)
        probe.send(" " * len(HEADER))
        assert answered(probe, 5)


def scenario_time_out_says_what_it_waited_for(lab):
    """The same without more bytes: closed in time, and the reason says that there was something."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        send_in_pieces(probe, HEADER[:-1], 20)      # one byte is missing, whatever the parser does
        probe.read_close("connection-timeout", "establishment-timeout", timeout=20)
    text = timed_out(lab, mark)
    assert f"{len(HEADER) - 1} bytes came that are the beginning of an element and no more" in text and "libexpat" in text, text


def scenario_time_out_of_a_waiting_parser(lab):
    if not machine.parser_waits():
        raise Skipped("the XML parser here does not wait")
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        send_in_pieces(probe, HEADER, 20)           # all of it
        probe.read_close("connection-timeout", "establishment-timeout", timeout=20)
    text = timed_out(lab, mark)
    assert f"{len(HEADER)} bytes came that are the beginning" in text, text


def scenario_time_out_with_nothing_pending(lab):
    """Who has said whole sentences and stopped is not told of XML."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        probe.features()
        probe.read_close("connection-timeout", "establishment-timeout", timeout=20)
    assert "beginning of an element" not in timed_out(lab, mark)


# Post-quantum key exchange

def hybrid_or_skip():
    listed = subprocess.run(["openssl", "list", "-tls-groups"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if HYBRID not in listed.stdout:
        raise Skipped(f"OpenSSL here has no {HYBRID}")


def groups(*names):
    return "s2s_ssl = { curveslist = { " + ", ".join(f'"{name}"' for name in names) + " } }\n"


def negotiated(address, offered):
    """The group that an outside client settles on with the server, as openssl names it; None if they find none."""
    ran = subprocess.run(["openssl", "s_client", "-connect", f"{address}:5269", "-starttls", "xmpp-server", "-xmpphost", HOST, "-groups", offered],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    found = re.search(r"(?:Negotiated TLS1.3 group|Peer Temp Key|Server Temp Key): (\w+)", ran.stdout)
    return found and found[1]


def scenario_hybrid_key_exchange(lab):
    """With curveslist on both sides a stream comes about over the hybrid group alone, in both directions."""
    hybrid_or_skip()
    lab.dns.remove(HOST)
    edge = edge_server(lab, PARTNERS, name="hybrid", options=groups(HYBRID)).start()
    other = Prosody(lab, "hybrid-partner", [FABRIKAM], users=[f"bob@{FABRIKAM}"], preset="external", options=groups(HYBRID, "X25519")).start()
    try:
        assert negotiated(edge.address, f"{HYBRID}:X25519") == HYBRID
        assert negotiated(edge.address, "X25519") is None
        mark = edge.mark()
        with Client(ALICE, edge.address) as alice, Client(f"bob@{FABRIKAM}", other.address) as bob:
            alice.send_message(bob.jid, "out")
            bob.wait_message("out")
            bob.send_message(ALICE, "in")
            alice.wait_message("in")
        for direction in ("from", "to"):
            assert established(edge, direction, FABRIKAM, mark)[2] == "TLSv1.3"
        shown = edge.shell(f'partners:test("{HOST}", "{FABRIKAM}")')
        command = re.search(r"^.*?(openssl s_client .*)$", shown, re.MULTILINE)
        assert command, shown
        ran = subprocess.run(command[1].split(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=20, check=False)
        assert HYBRID in ran.stdout, (command[1], ran.stdout)
    finally:
        for server in (edge, other):
            server.stop()
        lab.dns.remove(HOST)
        lab.dns.server(HOST, lab.edge.address)


def scenario_hybrid_only_against_classic_only(lab):
    """No common group: no stream, and the sender is told. Nothing falls back to less than the list."""
    hybrid_or_skip()
    edge = edge_server(lab, PARTNERS, name="strict", options=groups(HYBRID), register=False).start()
    other = Prosody(lab, "classic", [FABRIKAM], users=[f"bob@{FABRIKAM}"], preset="external", options=groups("X25519")).start()
    try:
        mark = edge.mark()
        with Client(ALICE, edge.address) as alice:
            condition, text, _ = outbound_error(alice, f"bob@{FABRIKAM}")
        assert condition.startswith("remote-server") or condition == "not-allowed", (condition, text)
        assert "Established stream" not in edge.log_since(mark)
    finally:
        for server in (edge, other):
            server.stop()
