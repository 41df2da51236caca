"""Anybody may federate (s2s_partners_default is a table): all of them share one entry, and still none is another."""

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.xmlstream import BIDI

from scenarios._edge import (ALICE, HOST, closed_somehow, configuration, edge_server, ended, established, heard, lua, partner,
                             wrong_sender)

ONE, TWO, THREE, LISTED, CLOSED = "one.test", "two.test", "three.test", "listed.test", "closed.test"
DEFAULT = {"partner_type": "federated", "tls": "optional", "sasl": "optional", "dialback": True}


def setup(lab):
    hosts = {HOST: "", "second.test": "", CLOSED: 's2s_partners_default = "refuse"'}
    lab.edge = edge_server(lab, configuration(partner(LISTED), s2s_partners_default=DEFAULT), hosts=hosts, modules=["s2s_bidi"],
                           users=[ALICE, f"dave@{CLOSED}"]).start()
    lab.remotes_of = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain)) for domain in (ONE, TWO, LISTED)}


def probe_of(lab, domain, to=HOST):
    return Probe(lab.edge.address, from_=domain, to=to, leaf=lab.certificates.leaf(domain))


def untouched(lab, mark, domain):
    return not lab.dns.asked(domain, mark)


def scenario_one_after_the_other(lab):
    """A second domain on the stream, by dialback or by a stanza."""
    mark = lab.dns.mark()
    with probe_of(lab, ONE) as probe:
        probe.authenticate()
        probe.send_result(from_=TWO)
        probe.send_result(from_=LISTED)
        ended(probe, 1)
        assert untouched(lab, mark, TWO) and untouched(lab, mark, LISTED)
    for sender in (TWO, LISTED, HOST, "second.test", f"x.{ONE}"):
        with probe_of(lab, ONE) as probe:
            probe.authenticate()
            probe.message(f"eve@{sender}", ALICE, "as another")
            wrong_sender(probe)


def scenario_nobody_at_first(lab):
    """A stream whose header names nobody is the first's that is asked about."""
    mark = lab.dns.mark()
    with Probe(lab.edge.address, from_=None, to=HOST) as probe:
        probe.features()
        assert probe.dialback(from_=ONE) == "valid"
        probe.send_result(from_=TWO)
        ended(probe, 1)
        assert untouched(lab, mark, TWO)


def scenario_hosts_of_ours(lab):
    """Under whatever spelling: no stream from a host that this server serves."""
    for name in (HOST, "second.test", CLOSED, "CONTOSO.test", "contoso.test.", "second．test"):
        mark = lab.edge.mark()
        with Probe(lab.edge.address, from_=name, to="second.test" if "contoso" in name.lower() else HOST) as probe:
            probe.open()
            probe.send_result()
            closed_somehow(probe)
        assert "Established stream" not in lab.edge.log_since(mark), name


def scenario_closed_host(lab):
    """Open for one host is not open for another."""
    with Client(f"dave@{CLOSED}", lab.edge.address) as dave, Client(ALICE, lab.edge.address) as alice:
        seen = dave.mark()
        with probe_of(lab, ONE) as probe:
            probe.authenticate()
            probe.message(f"eve@{ONE}", f"dave@{CLOSED}", "to the closed host")
            probe.message(f"eve@{ONE}", ALICE, "to the open one")
            alice.wait_message("to the open one")
            assert heard(dave, seen) == []


def scenario_bidi_is_one_domain_s(lab):
    """What is for the second domain does not go over the stream of the first, though one entry covers both."""
    with probe_of(lab, THREE) as probe, Client(ALICE, lab.edge.address) as alice:
        mark = lab.edge.mark()
        probe.secure()
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        assert probe.external().name == "success"
        probe.features()
        established(lab.edge, "from", THREE, mark)
        alice.send_message(f"eve@{TWO}", "for the second")
        lab.remotes_of[TWO].wait_element(lambda element: element.find("body") and element.find("body").text == "for the second")
        alice.send_message(f"eve@{THREE}", "for the first")
        assert probe.read_until("message").find("body").text == "for the first"


def scenario_listed_means_its_entry(lab):
    """A listed domain has its own terms, not the default's laxer ones."""
    mark = lab.edge.mark()
    with probe_of(lab, LISTED) as probe:
        probe.features()
        probe.send_result()
        probe.read_close("policy-violation", "tls-required")
    assert "Established" not in lab.edge.log_since(mark)
