"""Ways around the policy, inbound: names that look like a partner's (attacks 7, 8, 9)."""

from lab.probe import Probe, mechanisms
from lab.waiting import wait_until
from lab.xmlstream import Closed

from scenarios import _gatekeeper
from scenarios._edge import ALICE, HOST, ended, wrong_sender
from scenarios._gatekeeper import FABRIKAM, IDN, IDN_ASCII, Untouched, still_works

setup, teardown = _gatekeeper.setup, _gatekeeper.teardown


CANONICAL = ["FABRIKAM.test", "Fabrikam.Test"]
FOLDED = ["fabrikam.test.", "fabri\u00adkam.test", "fabri\u200bkam.test", "fabrikam\uff0etest", "\uff46abrikam.test"]
LOOKALIKES = [
    "f\u0430brikam.test", "xn--fbrikam-2fg.test", "fabrikam%2etest", "fabrikam.test ", "fabrikam.test\u00a0", " fabrikam.test",
    "fabrikam\u3002test", "fabrikam.test..", ".fabrikam.test", "fabrikam..test", "fabrikam.test/x", "x@fabrikam.test",
    "fabrikam\\2etest", "sub.fabrikam.test", "fabrikam.test.evil.test", "evilfabrikam.test", "fabrikam.tes", "fabrikam", "test",
    "brikam.test", "fabrikam.test:5269", "127.0.0.1", "[::1]", "x" * 64 + ".fabrikam.test",
]


def authenticates_as(fixture, name, leaf_domain=FABRIKAM):
    """The name is in the stream header, the certificate is the partner's: the partner that results, or None."""
    mark = fixture.edge.mark()
    leaf = fixture.lab.certificates.leaf(leaf_domain)
    with Probe(fixture.edge.address, from_=name, to=HOST, leaf=leaf) as probe:
        try:
            if "EXTERNAL" not in mechanisms(probe.secure()) or probe.external().name != "success":
                return None
            probe.features()
        except Closed:
            return None
    return fixture.edge.wait_log(r"Established stream from \S+ \(host \S+, partner (\S+)\)", 10, mark)[1]


def scenario_names_canonical(fixture):
    for name in CANONICAL:
        assert authenticates_as(fixture, name) == FABRIKAM, name


def scenario_names_folded(fixture):
    """What core's nameprep folds to the partner is the partner, or is nobody; never a third thing."""
    for name in FOLDED:
        assert authenticates_as(fixture, name) in (FABRIKAM, None), name


def scenario_names_lookalike(fixture):
    for name in LOOKALIKES:
        with Untouched(fixture, FABRIKAM):
            assert authenticates_as(fixture, name) is None, name


def scenario_names_idn(fixture):
    """The U-label, its A-label and other spellings of either are one partner."""
    for name in (IDN, IDN_ASCII, "BÜCHER.test", "XN--BCHER-KVA.test", "bu\u0308cher.test"):
        assert authenticates_as(fixture, name, IDN_ASCII) == IDN_ASCII, name
    for name in ("bucher.test", "xn--bcher-kvb.test", "b\u00fccher.test.evil.test"):
        assert authenticates_as(fixture, name, IDN_ASCII) is None, name


def scenario_names_idn_stanza(fixture):
    """Spelled as in the stream header.  Core knows nothing of the other spelling, and may end the stream for it."""
    for stream, sender in ((IDN, IDN), (IDN_ASCII, IDN_ASCII), (IDN, IDN_ASCII)):
        with Probe(fixture.edge.address, from_=stream, to=HOST, leaf=fixture.lab.certificates.leaf(IDN_ASCII)) as probe:
            probe.authenticate()
            body = f"{sender} over {stream}"
            probe.message(f"eve@{sender}", ALICE, body)
            if stream == sender:
                fixture.alice.wait_message(body)
            else:
                wait_until(lambda body=body, probe=probe: ended(probe, 0.1) or body in str(fixture.alice.stanzas), 20, "either")
                assert not probe.closed or probe.error.condition == "not-authorized", probe.error


def scenario_names_stanza_case(fixture):
    with fixture.authenticated() as probe:
        still_works(fixture, probe, "FABRIKAM.Test", "in capitals")
        with Untouched(fixture):
            probe.message("eve@sub.fabrikam.test", ALICE, "from below")
            wrong_sender(probe)
