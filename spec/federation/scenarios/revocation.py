"""Revocation lists: a table of them with the verdict in both directions, and what happens to streams that live when one changes.

REVOCATION_OUT names a file to write the observed table to."""

import itertools
import os
import pathlib
import re
import time
import urllib.request
from dataclasses import dataclass

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios._edge import (ALICE, HOST, PING, configuration, edge_server, established, outbound_error, partner, refusal_logged,
                             refused, tls_dialback)

TIMEOUT = 150
FABRIKAM, NORTHWIND, WINGTIP = "fabrikam.test", "northwind.test", "wingtip.test"
V, R, U = "valid", "revoked", "revocation-unknown"
NAMES = (f"edge{number}" for number in itertools.count())


@dataclass
class Row:
    """crl: a row of kinds.json's crls, which revokes the partner's certificate if `revoked`; the two verdicts are those of the two modes."""
    crl: str
    if_known: str
    required: str
    revoked: bool = True
    kind: str = "good"
    above: bool = False         # a good list of the root beside it, for a certificate of an intermediate
    name: str = None

    def __post_init__(self):
        self.name = self.name or self.crl or "none"


ROWS = [
    Row("good", R, R, name="revoked"),
    Row("good", V, V, revoked=False, name="not-revoked"),
    Row("der", R, R),
    Row(None, V, U),
    Row("expired", V, U),
    Row("future", V, U),
    Row("forged", V, U),
    Row("of-other", V, U),
    Row("delta", R, R, name="delta-revoked"),
    Row("delta", V, U, revoked=False),
    Row("indirect", V, U),
    Row("users-only", V, V, revoked=False),
    Row("authorities-only", V, U, revoked=False),
    Row("another-point", V, U, revoked=False),
    Row("unknown-critical", V, U),
    Row("sha1", V, U),
    Row("of-no-crl-sign", V, U, kind="no-crl-sign", above=True),
    Row("of-intermediate", R, R, kind="intermediate", name="revoked-by-intermediate"),
    Row("of-intermediate", V, V, kind="intermediate", revoked=False, above=True, name="not-revoked-by-intermediate"),
    Row("of-intermediate", V, U, kind="intermediate", revoked=False, name="nothing-of-the-root"),
]
MODES = ("if_known", "required")


class Table:
    def __init__(self, lab):
        self.lab, make = lab, lab.certificates
        self.leaves, self.remotes, self.ids, self.observed, entries = {}, {}, {}, {}, []
        for row, mode in itertools.product(ROWS, MODES):
            domain = domain_of(row, mode)
            self.leaves[domain] = leaf = make.leaf(domain, row.kind)
            lists = []
            if row.crl:
                lists.append(make.crl(row.crl, [leaf] if row.revoked else []))
            if row.above:
                lists.append(make.crl())
            options = {}
            if lists:
                options["crls"] = []
                for number, text in enumerate(lists):
                    path = lab.directory / f"{domain}.{number}.crl"
                    path.write_bytes(text)
                    options["crls"].append(str(path))
            entries.append(partner(domain, revocation=mode, **options))
        self.edge = edge_server(lab, configuration(*entries), register=False, s2s_timeout=30).start()
        self.edge.wait_log("Partner configuration applied", 5)
        self.mark = self.edge.mark()
        self.alice = Client(ALICE, self.edge.address)
        for row, mode in itertools.product(ROWS, MODES):
            domain = domain_of(row, mode)
            self.remotes[domain] = Remote(lab, [domain], leaf=self.leaves[domain], offer=["external"])
            self.ids[domain] = self.alice.send_message(f"eve@{domain}", domain)

    def logged(self, direction, domain, mark, timeout=10):
        name = re.escape(domain)
        found = self.edge.wait_log(
            rf"Established stream {direction} {name} .*: SASL EXTERNAL, TLSv[\d.]+, certificate (?P<established>\S+)$|"
            rf"Refused stream {direction} {name} \(.*certificate (?P<refused>[a-z-]+)\): certificate-(?P=refused): ", timeout, mark)
        return found["established"] or found["refused"]

    def inbound(self, domain, verdict):
        mark = self.edge.mark()
        with Probe(self.edge.address, from_=domain, to=HOST, leaf=self.leaves[domain]) as probe:
            if verdict == V:
                probe.authenticate()
            else:
                probe.features()
                assert probe.starttls() is None
                probe.open()
                refused(probe, f"certificate-{verdict}", "not-authorized")
            return self.logged("from", domain, mark)

    def outbound(self, domain):
        def outcome():
            return next((stanza for stanza in list(self.alice.stanzas)
                         if stanza.get("id") == self.ids[domain] and stanza.get("type") == "error"), None) \
                or next(iter(self.remotes[domain].elements("message")), None)
        stanza = wait_until(outcome, 30, f"outcome of the message to {domain}")
        verdict = self.logged("to", domain, self.mark)
        assert (stanza.get("type") == "error") == (verdict != V), stanza
        if verdict != V:
            assert stanza.condition == "not-allowed", stanza
        return verdict


def domain_of(row, mode):
    return f"{row.name}.{mode.replace('_', '-')}.test"


def setup(lab):
    return Table(lab)


def teardown(table):
    table.alice.close()
    if "REVOCATION_OUT" in os.environ:
        lines = ["| list | `if_known` in, out | `required` in, out |", "|---|---|---|"]
        for row in ROWS:
            seen = [table.observed.get(domain_of(row, mode), ("?", "?")) for mode in MODES]
            lines.append(f"| {row.name} | {', '.join(seen[0])} | {', '.join(seen[1])} |")
        pathlib.Path(os.environ["REVOCATION_OUT"]).write_text("\n".join(lines) + "\n")


def judged(row, mode):
    def scenario(table):
        domain, wanted = domain_of(row, mode), getattr(row, mode)
        seen = table.inbound(domain, wanted), table.outbound(domain)
        table.observed[domain] = seen
        assert seen == (wanted, wanted), seen
        warning = rf"warn\tThe certificate of {re.escape(domain)} .* goes on without an answer about its revocation: "
        if mode == "if_known" and row.required == U:
            table.edge.wait_log(warning)        # ejabberd writes it behind the line that the stream is established
        else:
            assert not re.search(warning, table.edge.log_since())
    return scenario


def scenarios():
    for row, mode in itertools.product(ROWS, MODES):
        yield f"{row.name}_{mode}", judged(row, mode)
