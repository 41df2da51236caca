"""The inner side by SASL EXTERNAL with a private authority, and no dialback: both servers prove themselves by certificates."""

import re

from lab.client import Client
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, Boundary
from ._edge import any_method, configuration

LOOP = "loop.test"
PARTNERS = configuration(any_method("fabrikam.test", presence_authorization="user"),
                         any_method("northwind.test", presence_authorization="user"), any_method(LOOP, presence_authorization="user"))


def setup(lab):
    authority = lab.certificates.trust
    inner = lab.certificates.leaf("edge-inner.test", also=["fabrikam.test", LOOP])
    options = ('s2s_inside = {{ server = "%s"; sasl = "required"; dialback = false; trust_anchors = "{}"; certificate = {{ certificate = "{}"; key = "{}" }} }}'
               .format(authority, inner.certificate, inner.key))
    lab.boundary = Boundary(lab, PARTNERS, inside=options, domains=["fabrikam.test", "northwind.test", LOOP])
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody(preset="external", certificates={"conference.contoso.test": "good"}).start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()
    lab.northwind = Prosody(lab, "northwind", ["northwind.test"], users=["nora@northwind.test"], preset="any").start()


def scenario_messages_both_ways(lab):
    mark = lab.edge.mark()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, "to alice")
        alice.wait_message("to alice")
        alice.send_message(BOB, "to bob")
        bob.wait_message("to bob")
    log = lab.edge.log_since(mark)
    for direction in ("to", "from"):
        assert f"Established inner stream {direction} contoso.test (host fabrikam.test, partner contoso.test): SASL EXTERNAL, TLSv1.3, certificate valid" in log, log


def scenario_partner_that_the_inner_certificate_does_not_name(lab):
    """The inside refuses the edge there, as its administrator wants; the sender outside may try again. A warning at commit says so."""
    warning = lab.edge.wait_log(r's2s_inside.certificate: \S+ does not name (.*): the server inside will refuse')
    assert warning[1] == "northwind.test", warning[0]
    with Client("nora@northwind.test", lab.northwind.address) as nora:
        assert nora.wait_error(nora.send_message(ALICE, "hello"), 30)[0] == "remote-server-timeout"


def scenario_partner_that_leads_the_edge_to_its_own_inner_port(lab):
    """Its DNS has the edge's inner address, and the edge's certificate outside is of the authority that counts inside: what the edge sent there would
    come back as the inside's, and go there again, without end."""
    lab.dns.server(LOOP, lab.boundary.inner_address)
    mark = lab.edge.mark()
    with Client(ALICE, lab.inside.address) as alice:
        id_ = alice.send_message(f"eve@{LOOP}", "round and round")
        assert alice.wait_error(id_, 30)[0].startswith("remote-server-"), alice.stanzas[-1]
    log = lab.edge.log_since(mark)
    assert log.count("Established inner stream from contoso.test (host loop.test") == 1, "only the server inside's own"


def scenario_inner_certificate_is_another_one(lab):
    """Streams that were made with the one before end; what is written goes over new ones, at which the inside sees the new one."""
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, "with the old one")
        alice.wait_message("with the old one")
        alice.send_message(BOB, "and back")
        bob.wait_message("and back")
        new = lab.certificates.leaf("edge-other.test", also=["fabrikam.test"])
        old, before = lab.edge.hosts["contoso.test"], lab.edge.mark()
        lab.edge.hosts["contoso.test"] = re.sub(r'certificate = "[^"]*"; key = "[^"]*"', f'certificate = "{new.certificate}"; key = "{new.key}"', old)
        lab.edge.reload()
        for direction in ("to", "from"):
            lab.edge.wait_log(rf"Refused inner stream {direction} contoso.test .*policy-changed: the relay host has another certificate now", 5, before)
        bob.send_message(ALICE, "with the new one")
        alice.wait_message("with the new one")
        lab.edge.hosts["contoso.test"] = old
        lab.edge.reload()


def scenario_inner_certificate_of_another_authority(lab):
    """Somebody at the inside's address, with a certificate for the domain from elsewhere."""
    lab.inside.stop()
    lab.inside.certificates = {"contoso.test": "self-signed", "conference.contoso.test": "self-signed"}
    lab.inside.start()
    mark = lab.edge.mark()
    with Client(BOB, lab.partner.address) as bob, Client(ALICE, lab.inside.address) as alice:
        assert bob.wait_error(bob.send_message(ALICE, "to an impostor"), 30)[0] == "remote-server-timeout"
        alice.wait_error(alice.send_message(BOB, "from an impostor"), 30)
    log = lab.edge.log_since(mark)
    assert "Refused inner stream to contoso.test" in log and "certificate-untrusted" in log, log
    assert "Refused inner stream from contoso.test" in log, log
