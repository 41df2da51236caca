"""Certificates replaced while servers run: of a real partner, and our own; what was opened goes on, what is opened is judged anew, and when
it is corrected it works again without anybody touching the other side."""

import os

from lab.client import Client
from lab.prosody import Prosody

from scenarios import _scene
from scenarios._edge import ALICE, HOST, configuration, edge_server, partner
from scenarios._faults import UNREACHABLE

FABRIKAM, PINNED, ANCHORED = "fabrikam.test", "pinned.test", "anchored.test"
DOMAINS = (FABRIKAM, PINNED, ANCHORED)


def setup(lab):
    make = lab.certificates
    anchors = lab.directory / "anchors.pem"
    anchors.write_bytes(make.only(make.issuer("ca")))
    pin = make.leaf(PINNED).pin
    entries = (partner(FABRIKAM), partner(PINNED, pinned_keys=[pin]), partner(ANCHORED, trust_anchors=str(anchors)))
    lab.edge = edge_server(lab, configuration(*entries)).start()
    lab.partner = Prosody(lab, "partner", DOMAINS, users=[f"bob@{domain}" for domain in DOMAINS], preset="external",
                          trust=bundle(lab, "ca", "other")).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.bobs = {domain: Client(f"bob@{domain}", lab.partner.address) for domain in DOMAINS}
    for client in (lab.alice, *lab.bobs.values()):
        lab.cleanup(client.close)
    for domain in DOMAINS:
        passes(lab, domain)
    return lab


def bundle(lab, *issuers):
    """What the partner trusts: more than the edge, so that it is always the edge that refuses."""
    path = lab.directory / "bundle.pem"
    path.write_bytes(b"".join(lab.certificates.only(lab.certificates.issuer(name)) for name in issuers))
    return path


def passes(lab, domain):
    """Both ways, over whatever stream there is or a new one."""
    bob, body = lab.bobs[domain], f"to and from {domain} {os.urandom(4).hex()}"
    lab.alice.send_message(f"bob@{domain}", body)
    bob.wait_message(body)
    bob.send_message(ALICE, body)
    lab.alice.wait_message(body)


def cut(lab, domain):
    """All streams with the domain end; the next stanza opens a new one."""
    lab.edge.shell(f's2s:closeall("{domain}")')


def swap(lab, server, domain, leaf):
    """A new certificate for the host, read at a reload."""
    server.certificates[domain] = leaf
    server.reload()


def blocked(lab, domain, verdict):
    """Neither direction opens a stream, and each sender is told."""
    bob, body = lab.bobs[domain], f"blocked {os.urandom(4).hex()}"
    mark, alices, bobs = lab.edge.mark(), lab.alice.mark(), bob.mark()
    condition, text, _ = lab.alice.wait_error(lab.alice.send_message(f"bob@{domain}", body))
    assert condition == "not-allowed" and "certificate" in text, (condition, text)
    bob.wait_error(bob.send_message(ALICE, body))
    for direction in ("to", "from"):
        lab.edge.wait_log(rf"Refused stream {direction} {domain} .*: certificate-{verdict}: ", 5, mark)
    for client, since in ((lab.alice, alices), (bob, bobs)):
        assert not [stanza for stanza in client.stanzas[since:] if stanza.name == "message" and stanza.get("type") != "error"]


def replaced(domain, kind, verdict):
    def scenario(lab):
        make = lab.certificates
        swap(lab, lab.partner, domain, make.leaf(domain, kind) if isinstance(kind, str) else make.leaf(domain, **kind))
        passes(lab, domain)     # over the streams there are
        cut(lab, domain)
        blocked(lab, domain, verdict)
        for other in DOMAINS:
            if other != domain:
                passes(lab, other)
        swap(lab, lab.partner, domain, "good")
        passes(lab, domain)
    return scenario


REPLACED = {
    "expired": (FABRIKAM, "expired", "expired"),
    "of_the_wrong_name": (FABRIKAM, "wrong-name", "identity-mismatch"),
    "of_another_issuer": (FABRIKAM, "untrusted-ca", "untrusted"),
    "with_another_key": (PINNED, {"label": "renewed"}, "pin-mismatch"),
    "of_an_issuer_that_is_not_an_anchor": (ANCHORED, "untrusted-ca", "untrusted"),
}


def scenarios():
    for name, row in REPLACED.items():
        yield f"partner_{name}", replaced(*row)


def scenario_anchors_replaced_and_back(lab):
    """At the reload the live streams go; a file that cannot be read changes nothing."""
    anchors = lab.directory / "anchors.pem"
    good = anchors.read_bytes()
    anchors.write_bytes(lab.certificates.only(lab.certificates.issuer("other")))
    passes(lab, ANCHORED)       # not read before a reload
    mark = lab.edge.mark()
    lab.edge.reload()
    lab.edge.wait_log(rf"Refused stream (to|from) {ANCHORED} .*: policy-changed", 5, mark)
    blocked(lab, ANCHORED, "untrusted")
    for broken in (b"", b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n", None):
        if broken is None:
            anchors.unlink()
        else:
            anchors.write_bytes(broken)
        mark = lab.edge.mark()
        lab.edge.reload()
        lab.edge.wait_log("has errors and was not applied", 5, mark)
        blocked(lab, ANCHORED, "untrusted")
        passes(lab, FABRIKAM)
    anchors.write_bytes(good)
    lab.edge.reload()
    passes(lab, ANCHORED)


def scenario_our_own(lab):
    """Partners refuse us then, our users are told; the module says in time whose fault it is."""
    mark = lab.edge.mark()
    swap(lab, lab.edge, HOST, "expired")
    lab.edge.wait_log(rf"The certificate of this server in \S+ \(for {HOST}\) has expired", 5, mark)
    passes(lab, FABRIKAM)
    cut(lab, FABRIKAM)
    condition, text, _ = lab.alice.wait_error(lab.alice.send_message(f"bob@{FABRIKAM}", "lost"))
    assert condition in (*UNREACHABLE, "not-allowed"), (condition, text)
    bob = lab.bobs[FABRIKAM]
    bob.wait_error(bob.send_message(ALICE, "lost too"))
    swap(lab, lab.edge, HOST, "good")
    _scene.no_way_to(lab.edge, FABRIKAM)    # what could not connect returns everything until it has ended
    for domain in DOMAINS:
        passes(lab, domain)
