"""What nobody may do at the inner port, and that the edge relays for nobody: no forged domain, no other pair, no loop, nothing unjudged."""

import time

from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.xmlstream import TLS, Closed

from ._boundary import ALICE, BOB, HOST, Boundary
from ._edge import any_method, configuration, ended

PARTNERS = configuration(
    any_method("fabrikam.test", presence_authorization="user"),
    any_method("northwind.test", presence_authorization="user"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test", "northwind.test"])
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()
    lab.northwind = Prosody(lab, "northwind", ["northwind.test"], users=["nora@northwind.test"], preset="any").start()


def _inner(lab, from_=HOST, to="fabrikam.test", source=None):
    return Probe(lab.boundary.inner_address, from_=from_, to=to, source=source)


def scenario_key_that_the_inside_does_not_confirm(lab):
    with _inner(lab) as probe:
        probe.secure()
        assert probe.dialback("0123456789abcdef") == "invalid"
        probe.read_close("not-authorized")


def scenario_stanza_before_authentication(lab):
    mark = lab.partner.mark()
    with _inner(lab) as probe:
        probe.secure()
        probe.message(ALICE, BOB, "forged")
        probe.read_close("not-authorized")
    with _inner(lab) as probe:
        probe.features()
        probe.message(ALICE, BOB, "forged")
        probe.read_close("not-authorized")
    time.sleep(0.3)
    assert "forged" not in lab.partner.log_since(mark)


def scenario_key_before_tls_is_not_looked_at(lab):
    mark = lab.inside.mark()
    with _inner(lab) as probe:
        probe.features()
        probe.send_result()
        probe.read_close()
    assert "fabrikam.test" not in lab.inside.log_since(mark), "the inside was asked about a key in clear"


def scenario_from_no_relay_host(lab):
    for name in ("fabrikam.test", "evil.test", "edge.test", "sub.contoso.test"):
        with _inner(lab, from_=name, to="northwind.test") as probe:
            probe.open()
            probe.read_close("policy-violation", "unlisted-domain")


def scenario_to_a_host_of_the_edge(lab):
    for name in (HOST, "conference.contoso.test", "edge.test"):
        with _inner(lab, to=name) as probe:
            probe.open()
            probe.read_close("host-unknown")


def scenario_header_without_addresses_or_version(lab):
    for change in ({"to": None}, {"from_": None}, {"to": "a b"}):
        with _inner(lab) as probe:
            probe.open(**change)
            probe.read_close("improper-addressing")
    with _inner(lab) as probe:
        probe.open(version=None)
        probe.read_close("unsupported-version")


def scenario_external_without_a_certificate(lab):
    with _inner(lab) as probe:
        probe.secure()
        try:
            answer = probe.external(HOST)
            assert answer.name == "failure", answer
        except Closed:
            pass


def scenario_something_in_clear_behind_starttls(lab):
    mark = lab.inside.mark()
    with _inner(lab) as probe:
        probe.features()
        probe.send(f"<starttls xmlns='{TLS}'/><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "
                   "xmlns:stream='http://etherx.jabber.org/streams' from='contoso.test' to='fabrikam.test' version='1.0'>"
                   "<db:result from='contoso.test' to='fabrikam.test'>0123</db:result>"
                   f"<message from='{ALICE}' to='{BOB}'><body>forged</body></message>")
        time.sleep(1)
    assert "fabrikam.test" not in lab.inside.log_since(mark), "what came in clear was looked at"


def scenario_element_for_another_pair(lab):
    with _inner(lab) as probe:
        probe.secure()
        probe.send_result(to="northwind.test")
        probe.read_close()
    with _inner(lab) as probe:
        probe.secure()
        probe.send_result(from_="conference.contoso.test")
        assert probe.read_until("result").get("type") == "error"


def scenario_partner_does_not_reach_a_partner(lab):
    """The outer side takes no stanza for a domain that is not its own."""
    leaf = lab.certificates.leaf("fabrikam.test", "good")
    with Probe(lab.edge.address, from_="fabrikam.test", to=HOST, leaf=leaf) as probe:
        probe.authenticate()
        probe.message(BOB, "nora@northwind.test", "through you")
        probe.read_close("host-unknown")


def scenario_partner_does_not_speak_for_the_inside(lab):
    leaf = lab.certificates.leaf("fabrikam.test", "good")
    with Client(ALICE, lab.inside.address) as alice:
        with Probe(lab.edge.address, from_="fabrikam.test", to=HOST, leaf=leaf) as probe:
            probe.authenticate()
            probe.message("carol@contoso.test", ALICE, "from a colleague")
            probe.read_close("not-authorized")
        alice.assert_nothing(lambda stanza: stanza.name == "message", 0.5)


def scenario_outer_stream_to_a_partner(lab):
    """Nor is there a stream for it: no partner's domain is a host here."""
    leaf = lab.certificates.leaf("fabrikam.test", "good")
    mark = lab.northwind.mark()
    with Probe(lab.edge.address, from_="fabrikam.test", to="northwind.test", leaf=leaf) as probe:
        probe.open()
        probe.read_close("host-unknown")
    assert "fabrikam.test" not in lab.northwind.log_since(mark)


def scenario_outer_stream_from_a_relay_host(lab):
    """Nobody outside is the inside, not with its own certificate."""
    leaf = lab.certificates.leaf(HOST, "good")
    with Client(ALICE, lab.inside.address) as alice:
        for to in (HOST, "edge.test", "conference.contoso.test"):
            for from_ in (HOST, "conference.contoso.test"):
                with Probe(lab.edge.address, from_=from_, to=to, leaf=leaf) as probe:
                    try:
                        probe.secure()
                        probe.external()
                        probe.message(f"carol@{from_}", ALICE, "from a colleague outside")
                    except (AssertionError, Closed):
                        pass
                    probe.read_close(timeout=15)
        alice.assert_nothing(lambda stanza: stanza.name == "message", 0.5)


def scenario_outer_key_of_a_relay_host(lab):
    with Probe(lab.edge.address, from_=HOST, to="edge.test") as probe:
        try:
            probe.features()
            probe.send_result()
        except Closed:
            pass
        probe.read_close(timeout=15)


def scenario_names_that_begin_or_end_like_a_relay_host(lab):
    for name in ("contoso.test.evil.test", "xcontoso.test", "contoso.tes", "contoso.test.test", "fabrikam.contoso.test"):
        with _inner(lab, from_=name) as probe:
            probe.open()
            probe.read_close("policy-violation", "unlisted-domain")


def scenario_partner_that_leads_back_to_the_edge(lab):
    """Its DNS has one of the edge's own addresses. Nothing goes round."""
    lab.edge.partners = lab.edge.partners.replace("s2s_partners = {", 's2s_partners = { { domain = "back.test"; sasl = "optional"; dialback = true; '
                                                  'tls = "optional"; presence_authorization = "user"; partner_type = "federated" },', 1)
    lab.edge.reload()
    lab.boundary.partner("back.test")
    with Client(ALICE, lab.inside.address) as alice:
        for address in (lab.edge.address, lab.boundary.inner_address):
            lab.dns.remove("back.test")
            lab.dns.server("back.test", address)
            mark = lab.edge.mark()
            id_ = alice.send_message("eve@back.test", "back and forth")
            assert alice.wait_error(id_, 40)[0].startswith("remote-server-")
            assert lab.edge.log_since(mark).count("Established inner stream from contoso.test (host back.test") <= 1


def scenario_many_that_do_not_authenticate(lab):
    """Connections that wait have a bound, and so has an address; a server that authenticates comes through."""
    probes = [_inner(lab, source="127.0.66.1") for _ in range(130)]
    try:
        for probe in probes:
            probe.open()
        with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
            alice.send_message(BOB, "past the crowd")
            bob.wait_message("past the crowd")
        for probe in probes[:30]:       # as many as are too many, the oldest
            probe.read_close()
        assert not ended(probes[30], 1)
    finally:
        for probe in probes:
            probe.close()


def scenario_large_before_authentication(lab):
    """What may come before anybody has proven anything is small."""
    with _inner(lab) as probe:
        probe.features()
        probe.send("<db:result from='contoso.test' to='fabrikam.test'>" + "0" * 30000)
        probe.read_close("policy-violation")


def scenario_malformed(lab):
    for text in ("<a", "garbage", "<stream:stream", "\0\0\0", "<?xml version='1.0'?><!DOCTYPE x>"):
        with _inner(lab) as probe:
            probe.send(text + ">" * 3)
            try:
                probe.read_close(timeout=3)
            except (AssertionError, TimeoutError):
                pass
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.send_message(BOB, "still here")
        bob.wait_message("still here")
    assert "Traceback" not in lab.edge.log_since()
