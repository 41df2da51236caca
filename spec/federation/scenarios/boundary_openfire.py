"""Openfire inside, or rather a stand-in that does what Openfire's sources say (lab/openfire.py): the authentication that works, and what those hear where it does not."""

from lab.client import Client
from lab.openfire import Openfire, Refused
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, DIALBACK, HOST, ROOMS, Boundary
from ._edge import any_method, configuration

PARTNERS = configuration(any_method("fabrikam.test", presence_authorization="user"))
EXTERNAL = ('s2s_inside = {{ server = "%s:5269"; sasl = "required"; dialback = false; trust_anchors = "{0}"; '
            'certificate = {{ certificate = "{1.certificate}"; key = "{1.key}" }} }}')
WITH_CERTIFICATE = (DIALBACK.replace("{", "{{").replace("}", "}}")
                    .replace(" }}", '; certificate = {{ certificate = "{0.certificate}"; key = "{0.key}" }} }}'))


def setup(lab):
    lab.authority = lab.certificates.trust
    lab.inner = lab.certificates.leaf("edge-inner.test", also=["fabrikam.test"])
    lab.unknown = lab.certificates.leaf("edge-unknown.test", "self-signed")
    lab.boundary = Boundary(lab, PARTNERS)
    lab.edge = lab.boundary.edge.start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


class Inside:
    """with Inside(lab, leaf kind, s2s_inside of the edge) as openfire"""

    def __init__(self, lab, kind, relay, **more):
        boundary = lab.boundary
        relay = relay % boundary.inside_address
        lab.edge.hosts[HOST] = 'modules_disabled = { "c2s" }\n' + relay
        lab.edge.components[ROOMS] = ("s2s_inside", relay)
        lab.edge.reload()
        self.openfire = Openfire(lab, HOST, boundary.inside_address, boundary.inner_address, lab.certificates.leaf(HOST, kind), components=[ROOMS], **more)

    def __enter__(self):
        return self.openfire

    def __exit__(self, *_):
        self.openfire.close()


def _in(lab, openfire, body, to=ALICE):
    with Client(BOB, lab.partner.address) as bob:
        bob.send_message(to, body)
        return openfire.wait_message(body)


def _out(lab, openfire, body, sender=ALICE):
    with Client(BOB, lab.partner.address) as bob:
        method = openfire.message(sender, BOB, body)
        bob.wait_message(body)
        return method


def _established(lab, direction, method, mark, host=HOST):
    lab.edge.wait_log(rf"Established inner stream {direction} {host} \(host fabrikam.test, partner {host}\): {method},", 20, mark)


def scenario_external_with_a_private_authority(lab):
    mark = lab.edge.mark()
    with Inside(lab, "good", EXTERNAL.format(lab.authority, lab.inner), trust=lab.authority) as openfire:
        _in(lab, openfire, "by certificate, in")
        assert _out(lab, openfire, "by certificate, out") == "EXTERNAL"
        for direction in ("to", "from"):
            _established(lab, direction, "SASL EXTERNAL", mark)
        assert not openfire.asked, openfire.asked


def scenario_dialback_with_self_signed_certificates(lab):
    mark = lab.edge.mark()
    with Inside(lab, "self-signed", WITH_CERTIFICATE.format(lab.unknown), accept_self_signed=True) as openfire:
        assert openfire.offers_dialback()
        _in(lab, openfire, "by key, in")
        assert openfire.asked == [("fabrikam.test", True, "valid")], openfire.asked
        assert _out(lab, openfire, "by key, out") == "dialback"
        for direction in ("to", "from"):
            _established(lab, direction, "TLS dialback", mark)


def scenario_dialback_that_is_not_offered(lab):
    """Its certificate is an authority's, so that it does not offer dialback behind TLS. It takes a key all the same, and the edge sends one."""
    mark = lab.edge.mark()
    trusted = lab.certificates.leaf("edge-trusted.test")
    with Inside(lab, "good", WITH_CERTIFICATE.format(trusted), trust=lab.authority) as openfire:
        assert not openfire.offers_dialback()
        _in(lab, openfire, "not offered, in")
        assert _out(lab, openfire, "not offered, out") == "dialback"
        for direction in ("to", "from"):
            _established(lab, direction, "TLS dialback", mark)


def scenario_dialback_that_is_offered(lab):
    """As pull request 3042 would have it."""
    trusted = lab.certificates.leaf("edge-trusted.test")
    with Inside(lab, "good", WITH_CERTIFICATE.format(trusted), trust=lab.authority, offer_dialback=True) as openfire:
        _in(lab, openfire, "offered, in")
        assert _out(lab, openfire, "offered, out") == "dialback"


def scenario_rooms(lab):
    """Another domain of its own: the header behind TLS is from the main one."""
    mark = lab.edge.mark()
    with Inside(lab, "self-signed", WITH_CERTIFICATE.format(lab.unknown), accept_self_signed=True) as openfire:
        _in(lab, openfire, "to a room", f"room@{ROOMS}")
        assert _out(lab, openfire, "from a room", f"room@{ROOMS}") == "dialback"
        for direction in ("to", "from"):
            _established(lab, direction, "TLS dialback", mark, ROOMS)


def _refused_in(lab):
    """What partners:inside() says of it: the log has a line in ten seconds."""
    with Client(BOB, lab.partner.address) as bob:
        assert bob.wait_error(bob.send_message(ALICE, "to nobody"), 30)[0] == "remote-server-timeout"
    said = lab.edge.shell("partners:inside()")
    return " ".join(said[said.index("failure"):].split())


def scenario_inner_certificate_that_it_does_not_trust(lab):
    """There is no TLS then, neither way; the key is not asked about in clear."""
    with Inside(lab, "self-signed", WITH_CERTIFICATE.format(lab.unknown), trust=lab.authority) as openfire:
        _refused_in(lab)
        try:
            openfire.message(ALICE, BOB, "out")
            raise AssertionError("a session with somebody that it does not trust")
        except OSError:     # ssl.SSLError is one
            pass
        assert not any(answer == "valid" for _, _, answer in openfire.asked), openfire.asked


def scenario_dialback_switched_off(lab):
    trusted = lab.certificates.leaf("edge-trusted.test")
    with Inside(lab, "good", WITH_CERTIFICATE.format(trusted), trust=lab.authority, dialback=False) as openfire:
        said = _refused_in(lab)
        assert "policy-violation (Dialback has been disabled by configuration.)" in said, said
        try:
            openfire.message(ALICE, BOB, "out")
            raise AssertionError("a session without any method")
        except Refused as refused:
            assert str(refused) == "No applicable authentication mechanism available.", refused
