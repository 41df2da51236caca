"""Ways around the policy, inbound: SASL, certificates, keys to verify, direct TLS."""

import ssl

from lab.probe import Probe, mechanisms
from lab.xmlstream import DIALBACK, SASL, Closed

from scenarios import _gatekeeper
from scenarios._edge import HOST, assert_not_established, closed_somehow, established, refused
from scenarios._gatekeeper import EVIL, FABRIKAM, NORTHWIND, Untouched, still_works

setup, teardown = _gatekeeper.setup, _gatekeeper.teardown


# SASL (attacks 11, 20, 25)

def scenario_sasl_authzid(fixture):
    for authzid in (NORTHWIND, EVIL, HOST, f"eve@{FABRIKAM}", "sub.fabrikam.test", b"%%%%", b"PQ==", b"Zm9v=Zm9v"):
        mark = fixture.edge.mark()
        with fixture.probe() as probe, Untouched(fixture, EVIL):
            probe.secure()
            try:
                assert probe.external(authzid).name == "failure", authzid
            except Closed:
                pass
        assert_not_established(fixture.edge, FABRIKAM, mark)


def scenario_sasl_authzid_of_its_own(fixture):
    """Its own name, or none: "=" is RFC 6120's empty response, and core takes more of them for the same."""
    for authzid in ("", FABRIKAM, b"=", b"===="):
        with fixture.probe() as probe:
            probe.secure()
            assert probe.external(authzid).name == "success"


def scenario_sasl_twice(fixture):
    with fixture.authenticated() as probe, Untouched(fixture):
        probe.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>bm9ydGh3aW5kLnRlc3Q=</auth>")
        refused(probe, "sasl-not-supported")


def scenario_sasl_other_mechanism(fixture):
    for mechanism in ("PLAIN", "ANONYMOUS", "SCRAM-SHA-1", ""):
        mark = fixture.edge.mark()
        with fixture.probe() as probe:
            probe.secure()
            probe.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>AGV2ZQBldmU=</auth>")
            try:
                assert probe.read_until(lambda e: e.name in ("success", "failure")).name == "failure"
            except Closed:
                pass
        assert_not_established(fixture.edge, FABRIKAM, mark)


def certificate_refused(kind, verdict):
    def scenario(fixture):
        with fixture.probe(leaf=kind) as probe, Untouched(fixture, FABRIKAM):
            probe.features()
            assert probe.starttls() is None
            probe.open()
            refused(probe, f"certificate-{verdict}", "not-authorized")
    return scenario


def scenario_certificate_of_another_partner(fixture):
    leaf = fixture.lab.certificates.leaf(NORTHWIND)
    with Probe(fixture.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.features()
        assert probe.starttls() is None
        probe.open()
        refused(probe, "certificate-identity-mismatch", "not-authorized")


def scenario_no_certificate_on_tls_1_2_and_1_3(fixture):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with fixture.probe(leaf=None, tls_maximum=version) as probe:
            probe.features()
            assert probe.starttls() is None
            assert probe.tls == version.name.replace("_", ".")
            probe.open()
            refused(probe, "certificate-no-certificate", "not-authorized")


# Certificates (attacks 20 to 23)

def certificate_accepted(kind, domain=FABRIKAM):
    def scenario(fixture):
        with fixture.probe(domain, leaf=kind) as probe:
            assert mechanisms(probe.secure()) == ["EXTERNAL"]
            assert probe.external().name == "success"
            probe.features()
            still_works(fixture, probe, domain, f"with a certificate {kind}")
    return scenario


scenario_certificate_wildcard = certificate_accepted("wildcard", "corp.northwind.test")

GOOD_CERTIFICATES = ("upper-case", "srvname-only", "xmppaddr-only", "intermediate", "server-only", "client-only")
CERTIFICATES = {
    "expired": "expired", "not-yet-valid": "not-yet-valid", "wrong-name": "identity-mismatch", "self-signed": "untrusted",
    "untrusted-ca": "untrusted", "cn-only": "identity-mismatch", "srvname-client": "identity-mismatch",
    "expired-issuer": "expired", "constrained": "untrusted", "issuer-not-a-ca": "untrusted", "no-sign-key-usage": "untrusted",
    "wildcard": "identity-mismatch",    # *.test, which is too wide
}


# db:verify: we are the authority

def scenario_verify_unlisted(fixture):
    with fixture.probe(EVIL) as probe, Untouched(fixture, EVIL):
        probe.open()
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{EVIL}' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "unlisted-domain")
    with fixture.probe(EVIL) as probe, Untouched(fixture, EVIL):
        probe.features(from_=None)
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{EVIL}' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "unlisted-domain")


def unanswered(probe):
    """Whatever becomes of the stream, the key is not answered."""
    try:
        answer = probe.verify("key", "1", timeout=1)
    except (Closed, TimeoutError):
        return
    raise AssertionError(f"db:verify was answered: {answer}")


def scenario_verify_sasl_only(fixture):
    with fixture.probe() as probe:
        probe.features()
        unanswered(probe)
    with fixture.probe() as probe:
        probe.secure()
        unanswered(probe)
    with fixture.authenticated() as probe:
        unanswered(probe)
        still_works(fixture, probe, FABRIKAM, "behind the unanswered key")


def scenario_verify_by_state_of_tls(fixture):
    with fixture.probe("wingtip.test") as probe:
        probe.features()
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='wingtip.test' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "tls-required")
    with fixture.probe("wingtip.test") as probe:
        probe.secure()
        assert probe.verify("key", "1") == "invalid"
    for domain in ("plain.test", "any.test"):
        with fixture.probe(domain) as probe:
            probe.features()
            assert probe.verify("key", "1") == "invalid"


def scenario_verify_for_another(fixture):
    with fixture.probe("wingtip.test") as probe:
        probe.secure()
        for domain in (NORTHWIND, EVIL):
            probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "unlisted-domain")
        assert not any(kind == "element" and element.name == "verify" and element.get("type") in ("valid", "invalid")
                       for kind, element in probe.seen)


# Direct TLS (XEP-0368) counts as TLS

def direct(fixture, domain=FABRIKAM, leaf="good"):
    return fixture.probe(domain, leaf=leaf, port=5270, direct_tls=True)


def scenario_direct_tls(fixture):
    mark = fixture.edge.mark()
    with direct(fixture) as probe:
        features = probe.features()
        assert mechanisms(features) == ["EXTERNAL"] and not features.find("starttls"), features
        assert probe.external().name == "success"
        probe.features()
        still_works(fixture, probe, FABRIKAM, "by direct TLS")
    assert established(fixture.edge, "from", FABRIKAM, mark)[2].startswith("TLS")


def scenario_direct_tls_dialback(fixture):
    with direct(fixture, "wingtip.test", leaf=None) as probe:
        probe.features()
        assert probe.dialback() == "valid"
        still_works(fixture, probe, "wingtip.test", "by direct TLS and dialback")


def scenario_direct_tls_refused(fixture):
    for domain, leaf, reason, condition in (
            ("plain.test", "good", "tls-not-supported", "policy-violation"),
            (EVIL, "good", "unlisted-domain", "policy-violation"),
            (FABRIKAM, "self-signed", "certificate-untrusted", "not-authorized"),
            (FABRIKAM, None, "certificate-no-certificate", "not-authorized")):
        with direct(fixture, domain, leaf) as probe, Untouched(fixture, domain):
            probe.open()
            refused(probe, reason, condition)


def scenario_direct_tls_without_from(fixture):
    with direct(fixture) as probe, Untouched(fixture, FABRIKAM):
        probe.open(from_=None)
        probe.send_result()
        closed_somehow(probe)


def scenarios():
    for kind in GOOD_CERTIFICATES:
        yield f"certificate_{kind}", certificate_accepted(kind)
    for kind, verdict in CERTIFICATES.items():
        yield f"certificate_{kind}_refused", certificate_refused(kind, verdict)
