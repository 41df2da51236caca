"""A server inside that has proven itself and then says what it may not: other domains, other pairs, domains without end, nothing at all."""

import time

from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.remote import Remote
from lab.xmlstream import Closed

from ._boundary import ALICE, BOB, HOST, Boundary
from ._edge import any_method, configuration

PARTNERS = configuration(
    any_method("fabrikam.test", presence_authorization="user"),
    any_method("northwind.test", presence_authorization="user"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test"])
    lab.edge = lab.boundary.edge.start()
    lab.inside = Remote(lab, [HOST], leaf=lab.certificates.leaf(HOST, "good"), address=lab.boundary.inside_address, offer=["dialback"], register=False)
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


def _authenticated(lab, to="fabrikam.test"):
    probe = Probe(lab.boundary.inner_address, from_=HOST, to=to)
    probe.secure()
    assert probe.dialback() == "valid"
    return probe


def scenario_what_it_may_say(lab):
    with _authenticated(lab) as probe, Client(BOB, lab.partner.address) as bob:
        probe.message(ALICE, BOB, "in order")
        bob.wait_message("in order")


def scenario_for_another_partner(lab):
    with _authenticated(lab) as probe:
        probe.message(ALICE, "nora@northwind.test", "another pair")
        probe.read_close("host-unknown")


def scenario_for_a_host_of_the_edge(lab):
    for to in (ALICE, "x@edge.test", "room@conference.contoso.test"):
        with _authenticated(lab) as probe:
            probe.message("carol@contoso.test", to, "a loop")
            probe.read_close("host-unknown")


def scenario_from_another_domain(lab):
    mark = lab.partner.mark()
    for from_ in (BOB, "room@conference.contoso.test", "eve@evil.test", "x@edge.test"):
        with _authenticated(lab) as probe:
            probe.message(from_, BOB, "not mine")
            probe.read_close("not-authorized")
    assert "not mine" not in lab.partner.log_since(mark)


def scenario_without_addresses(lab):
    with _authenticated(lab) as probe, Client(BOB, lab.partner.address) as bob:
        probe.send("<message to='bob@fabrikam.test'><body>nobody's</body></message>")
        probe.read_close("not-authorized")
        bob.assert_nothing(lambda stanza: stanza.name == "message", 0.5)
    with _authenticated(lab) as probe, Client(BOB, lab.partner.address) as bob:
        probe.send("<message from='alice@contoso.test'><body>to nobody</body></message>")
        probe.message(ALICE, BOB, "and on")
        bob.wait_message("and on")


def scenario_no_stanza(lab):
    with _authenticated(lab) as probe:
        probe.send("<foo xmlns='bar'/>")
        probe.read_close("unsupported-stanza-type")
    with _authenticated(lab) as probe:
        probe.send("<message xmlns='jabber:client' from='alice@contoso.test' to='bob@fabrikam.test'/>")
        probe.message(ALICE, BOB, "dropped, and on")
        probe.assert_open(0.3)


def scenario_domains_without_end(lab):
    """It makes up domains and proves nothing: that takes no place from who does, and listed domains are not touched by it."""
    _authenticated(lab).close()     # from then on its address has room for connections
    probes = []
    try:
        for i in range(450):
            probe = Probe(lab.boundary.inner_address, from_=HOST, to=f"d{i}.invented.test")
            probe.open()
            probes.append(probe)
            if i % 150 == 149:
                time.sleep(0.2)
        with _authenticated(lab) as probe, Client(BOB, lab.partner.address) as bob:
            probe.message(ALICE, BOB, "past them")
            bob.wait_message("past them")
        with Probe(lab.boundary.inner_address, from_=HOST, to="proven.invented.test") as probe:
            probe.features()
            assert probe.starttls() is None
            probe.features()
            assert probe.dialback() == "valid"
        for probe in (probes[0], probes[-1]):
            probe.read_header()
            probe.read_until("features")
            probe.assert_open(0.2)
    finally:
        for probe in probes:
            probe.close()


def scenario_domains_without_end_proven(lab):
    """The same over streams that are authenticated."""
    probes = []
    try:
        for i in range(210):
            probe = Probe(lab.boundary.inner_address, from_=HOST, to=f"d{i}.invented.test")
            probes.append(probe)
            probe.open()
            try:
                probe.read_until("features")
                assert probe.starttls() is None
                probe.features()
                assert probe.dialback() == "valid"
            except Closed as closed:    # there is no room for it, or for the question about its key
                assert closed.error.condition in ("resource-constraint", "remote-connection-failed"), closed.error
                break
        assert 195 <= len(probes) <= 201, len(probes)
        with _authenticated(lab) as probe, Client(BOB, lab.partner.address) as bob:
            probe.message(ALICE, BOB, "past all of them")
            bob.wait_message("past all of them")
    finally:
        for probe in probes:
            probe.close()


def scenario_large_stanza(lab):
    with _authenticated(lab) as probe:
        probe.message(ALICE, BOB, "x" * 600_000)
        probe.read_close("policy-violation")
