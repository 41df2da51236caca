"""A table of certificates, each shown by a real TLS peer in both directions: the verdict, and what the peer gets to see.

One edge; every row is a partner of its own, SASL EXTERNAL only.  CERTIFICATES_OUT names a file to write the observed table to."""

import os
import pathlib
import re
import ssl
from dataclasses import dataclass, field

from lab.certificates import pin
from lab.client import Client
from lab.probe import Probe, mechanisms
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import Closed, client_context

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner

TIMEOUT = 150
REASON = re.compile(r"\((certificate-[a-z-]+)\)$")


@dataclass
class Row:
    """kind: a row of kinds.json, None for a peer without certificate; anchors: issuers, or "leaf" for itself; pins: "leaf", or issuers, or "?" for a key nobody has.

    verdict: what the module finds.  inbound, outbound: instead of that, where TLS itself ends it: "TLS"."""
    kind: str
    verdict: str
    domain: str = None          # default: after the name
    anchors: tuple = ()
    pins: tuple = ()
    name: str = None            # default: the kind's
    inbound: str = None
    outbound: str = None
    more: dict = field(default_factory=dict)

    def __post_init__(self):
        self.name = self.name or self.kind or "no-certificate"
        self.domain = self.domain or f"{self.name}.test"


V, U, I, M = "valid", "untrusted", "identity-mismatch", "malformed"
E, N, P = "expired", "not-yet-valid", "pin-mismatch"

ROWS = [
    Row("good", V),
    Row(None, "no-certificate", outbound="-"),
    # dates
    Row("expiring", V),
    Row("expired", E),
    Row("not-yet-valid", N),
    Row("expired-wrong-name", E),
    Row("expired-untrusted", U),
    Row("expired-issuer", E),
    Row("future-issuer", N),
    # who signs
    Row("self-signed", U),
    Row("self-signed-ca", U),
    Row("untrusted-ca", U),
    Row("namesake-ca", U),
    Row("intermediate", V),
    Row("sub-intermediate", V),
    Row("missing-intermediate", U),
    Row("reversed-chain", V),
    Row("doubled-chain", V),
    Row("strangers-in-chain", V),
    Row("long-chain", M),
    Row("path-length", V),
    Row("beyond-path-length", U),
    Row("issuer-cannot-sign", U),
    Row("issuer-not-a-ca", U),
    Row("constrained", V, "permitted.test"),
    Row("constrained", V, "eu.permitted.test", name="constrained-below"),
    Row("constrained", U, "unpermitted.test", name="constrained-other"),
    Row("constrained-srvname", V, "srv.permitted.test"),
    Row("constrained-srvname", U, "srv.unpermitted.test", name="constrained-srvname-other"),
    Row("constrained-xmppaddr", U, "addr.unpermitted.test", name="constrained-xmppaddr-other"),
    Row("excluding", V, "open.excluded.test"),
    Row("excluding", U, "secret.excluded.test", name="excluded"),
    Row("excluding-wildcard", V, "public.excluded.test"),
    Row("excluding-wildcard", U, "hidden.excluded.test", name="excluded-by-wildcard"),
    # anchors of the partner's own
    Row("untrusted-ca", V, anchors=("other",), name="own-anchor"),
    Row("good", U, anchors=("other",), name="own-anchor-replaces-the-hosts"),
    Row("third-ca", U, anchors=("other",), name="ca-of-another-partner"),
    Row("third-ca", V, anchors=("other", "third"), name="second-of-two-anchors"),
    Row("untrusted-ca", I, anchors=("other",), name="own-anchor-wrong-name", more={"names": ["DNS:own-anchor.test"]}),
    Row("intermediate", V, anchors=("intermediate",), name="anchor-is-intermediate"),
    Row("missing-intermediate", V, anchors=("intermediate",), name="anchor-is-the-missing-intermediate"),
    Row("sibling", U, anchors=("intermediate",), name="sibling-of-the-anchor"),
    Row("self-signed-ca", V, anchors=("leaf",), name="anchor-is-the-leaf"),
    Row("expired-ca", E, anchors=("expired-ca", "other"), name="expired-anchor"),
    # pins
    Row("good", V, pins=("leaf",), name="pin-leaf"),
    Row("intermediate", V, pins=("intermediate",), name="pin-intermediate"),
    Row("intermediate", V, pins=("ca",), name="pin-anchor"),
    Row("good", V, pins=("?", "leaf"), name="pin-one-of-two"),
    Row("good", P, pins=("?",), name="pin-of-another-key"),
    Row("strangers-in-chain", P, pins=("other",), name="pin-of-a-stranger-in-the-chain"),
    Row("expired", E, pins=("leaf",), name="pin-expired"),
    Row("untrusted-ca", U, pins=("leaf",), name="pin-untrusted"),
    Row("wrong-name", I, pins=("leaf",), name="pin-wrong-name"),
    Row("untrusted-ca", V, anchors=("other",), pins=("other",), name="anchor-and-pin"),
    # names
    Row("wrong-name", I),
    Row("cn-only", I),
    Row("upper-case", V),
    Row("second-name", V),
    Row("trailing-dot", I),
    Row("leading-dot", I),
    Row("nul-in-name", I),
    Row("nul-beside-good", V),
    Row("space-in-name", I),
    Row("empty-name", I),
    Row("wildcard", V, "im.wildcard.test"),
    Row("wildcard-of-itself", I),
    Row("wildcard", I, "a.im.deep.test", name="wildcard-two-labels", more={"names": ["DNS:*.deep.test"]}),
    Row("wildcard-top", I),
    Row("wildcard-alone", I),
    Row("wildcard-partial", I, "im.partial.test"),
    Row("wildcard-inner", I, "im.inner.test"),
    Row("ip-only", I),
    Row("email-only", I),
    Row("uri-only", I),
    Row("good", V, "xn--bcher-kva.test", name="a-label"),
    Row("u-label", I, "xn--mnchen-3ya.test"),
    Row("srvname-only", V),
    Row("srvname-client", I),
    Row("srvname-wildcard", I, "im.srvname.test"),
    Row("srvname-utf8", I),
    Row("xmppaddr-only", V),
    Row("xmppaddr-user", I),
    Row("xmppaddr-resource", I),
    Row("xmppaddr-u-label", V, "xn--kln-sna.test"),
    Row("xmppaddr-bmp", I),
    Row("xmppaddr-ia5", I),
    # what it may be used for
    Row("no-key-usage", V),
    Row("no-sign-key-usage", U),
    Row("client-only", V),
    Row("server-only", V),
    Row("mail-only", V),
    Row("unknown-critical", U),
    # keys and signatures
    Row("p-384", V),
    Row("ed25519", V),
    Row("rsa-2048", V),
    Row("rsa-1024", U),
    Row("sha1", U),
    Row("sha1-issuer", U),
    Row("weak-ca", U),
    # damaged, and too much
    Row("damaged-names", M),
    Row("damaged-constraints", M),
    Row("damaged-key-usage", M),
    Row("doubled-names", M),
    Row("names-2000", V),
    Row("names-2500", M),
    Row("names-10000", M, inbound="TLS", outbound="TLS"),
]


class Table:
    def __init__(self, lab):
        self.lab = lab
        self.leaves, entries, self.remotes, self.ids, self.observed = {}, [], {}, {}, {}
        for row in ROWS:
            self.leaves[row.name] = leaf = lab.certificates.leaf(row.domain, row.kind, label=row.name, **row.more) \
                if row.kind else None
            options = {}
            if row.anchors:
                options["trust_anchors"] = self.bundle(row)
            if row.pins:
                options["pinned_keys"] = [self.pin(name, leaf) for name in row.pins]
            entries.append(partner(row.domain, **options))
        self.edge = edge_server(lab, configuration(*entries), register=False, s2s_timeout=30).start()
        self.edge.wait_log("Partner configuration applied", 5)
        self.mark = self.edge.mark()
        self.alice = Client(ALICE, self.edge.address)
        for row in ROWS:
            if row.kind:
                self.remotes[row.name] = Remote(lab, [row.domain], leaf=self.leaves[row.name], offer=["external"])
                # All at once: the edge has one stream to a domain.
                self.ids[row.name] = self.alice.send_message(f"eve@{row.domain}", row.name)

    def bundle(self, row):
        files = [self.leaves[row.name] if name == "leaf" else self.lab.certificates.issuer(name) for name in row.anchors]
        path = self.lab.directory / f"{row.name}.anchors.pem"
        path.write_bytes(b"".join(self.lab.certificates.only(leaf) for leaf in files))
        return str(path)

    def pin(self, name, leaf):
        if name == "?":
            return "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        return leaf.pin if name == "leaf" else pin(self.lab.certificates.issuer(name).certificate)

    # What is observed

    def logged(self, direction, domain, mark, timeout=10):
        """The verdict as the log of the edge has it."""
        name = re.escape(domain)
        found = self.edge.wait_log(
            rf"Established stream {direction} {name} .*: SASL EXTERNAL, TLSv[\d.]+, certificate (?P<established>\S+)$|"
            rf"Refused stream {direction} {name} \(.*certificate (?P<refused>[a-z-]+)\): certificate-(?P=refused): ",
            timeout, mark)
        return found["established"] or found["refused"]

    def inbound(self, row):
        """(verdict, what the peer sees)"""
        mark = self.edge.mark()
        client_context(self.leaves[row.name])   # an error in here would be the lab's
        try:
            with Probe(self.edge.address, from_=row.domain, to=HOST, leaf=self.leaves[row.name]) as probe:
                features = probe.secure()
                assert mechanisms(features) == ["EXTERNAL"], features
                answer = probe.external()
                assert answer.name == "success", answer
                probe.features()
                return self.logged("from", row.domain, mark), "EXTERNAL offered and accepted"
        except Closed as closed:
            if closed.error is None:
                return "TLS", "the handshake fails"
            return self.logged("from", row.domain, mark), shown(closed.error)
        except (ssl.SSLError, ConnectionError):
            return "TLS", "the handshake fails"

    def outbound(self, row):
        """(verdict, what the peer sees; what the local sender gets)"""
        remote, id_ = self.remotes[row.name], self.ids[row.name]

        def outcome():
            for stanza in list(self.alice.stanzas):
                if stanza.get("id") == id_ and stanza.get("type") == "error":
                    return stanza
            return next(iter(remote.elements("message")), None)

        stanza = wait_until(outcome, 30, f"outcome of the message to {row.domain}")
        if stanza.get("type") != "error":
            assert any(element.name == "auth" for element in remote.elements())
            return self.logged("to", row.domain, self.mark), "message delivered over EXTERNAL"
        assert not remote.elements("auth") and not remote.elements("message"), remote.elements()
        bounce = f"sender: `{stanza.condition}`"
        connection = remote.connections[-1]
        wait_until(lambda: connection.error is not None or connection.over, 20, "stream error, or the end of the connection")
        if connection.error is None:
            assert not connection.tls, "closed without a stream error"
            return "TLS", f"the handshake fails; {bounce}"
        assert stanza.condition == "not-allowed", stanza
        return self.logged("to", row.domain, self.mark), f"{shown(connection.error)}; {bounce}"


def shown(error):
    """A stream error in short; its reason is certificate-<verdict>."""
    reason = REASON.search(error.error_text)
    assert reason and error.condition == "not-authorized", error
    return f"`{error.condition}`, `{reason[1]}`"


def setup(lab):
    return Table(lab)


def teardown(table):
    table.alice.close()
    if "CERTIFICATES_OUT" in os.environ:
        write(table, pathlib.Path(os.environ["CERTIFICATES_OUT"]))


def write(table, path):
    lines = ["| certificate | anchors, pins | verdict | inbound | outbound |", "|---|---|---|---|---|"]
    for row in ROWS:
        if row.name not in table.observed:
            continue
        (verdict, seen_in), (out_verdict, seen_out) = table.observed[row.name]
        needs = ", ".join([*(f"anchor {name}" for name in row.anchors), *(f"pin {name}" for name in row.pins)])
        verdicts = verdict if out_verdict in (verdict, "-") else f"{verdict} / {out_verdict}"
        lines.append(f"| {row.name} | {needs} | {verdicts} | {seen_in} | {seen_out} |")
    path.write_text("\n".join(lines) + "\n")


def judged(row):
    def scenario(table):
        inbound = table.inbound(row)
        outbound = table.outbound(row) if row.name in table.remotes else ("-", "-")
        table.observed[row.name] = (inbound, outbound)
        assert inbound[0] == (row.inbound or row.verdict), f"inbound: {inbound}"
        if row.name in table.remotes:
            assert outbound[0] == (row.outbound or row.verdict), f"outbound: {outbound}"
        for verdict, seen in (inbound, outbound):
            if verdict in ("TLS", "-"):
                continue
            if verdict == "valid":
                assert "EXTERNAL" in seen, seen
            else:
                assert f"`certificate-{verdict}`" in seen, seen
    return scenario


def scenarios():
    for key in ("name", "domain"):
        values = [getattr(row, key) for row in ROWS]
        assert len(set(values)) == len(values), f"two rows of one {key}"
    for row in ROWS:
        yield row.name, judged(row)
