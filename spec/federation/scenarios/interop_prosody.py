"""Two versions of Prosody as partners of each other, both with the module: the eleven valid rows on one side with each of the eleven
on the other, in both directions.

The edge is of the version that is asked for, the partner of another: 0.12 and 13 where both are here, else two of 13.  The partner has a host THEIRS.OURS.test for each
pair of rows: the edge lists it under OURS, and it lists the edge under THEIRS; see scenarios/matrix.py for the rows.
Needs a second Prosody, see PROSODY_DIRS."""

import re
from dataclasses import dataclass

from lab import machine
from lab.client import Client
from lab.lab import Skipped
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, configuration, edge_server, established, heard, outbound_error, partner
from scenarios.matrix import SASL_TLS, TCP_DB, TLS_DB, VALID, entry, row_settings, row_title

TIMEOUT = 120
# How long a key goes unanswered where the other side has SASL alone: it ignores the key, and waits for SASL.
SECONDS = 4
REFUSED = re.compile(r"Refused stream (?:from|to) \S+ \(.*\): ([a-z-]+): ")


@dataclass
class Pair:
    edge: object
    partner: object
    alice: Client


def domain_of(ours, theirs):
    return f"{theirs}.{ours}.test"


def setup(lab):
    version = machine.other(lab.prosody)
    if not version:
        raise Skipped(f"Prosody {lab.prosody.number} has no other version to meet here")
    edge = edge_server(lab, configuration(*map(entry, VALID)), s2s_timeout=SECONDS).start()
    hosts = {domain_of(ours, theirs): configuration(partner(HOST, **row_settings(theirs))) for ours in VALID for theirs in VALID}
    other = Prosody(lab, "partner", hosts, users=[f"bob@{host}" for host in hosts], partners="", s2s_timeout=SECONDS,
                    version=version)
    return Pair(edge, other.start(timeout=150), Client(ALICE, edge.address))


def teardown(pair):
    pair.alice.close()


def method_between(ours, theirs):
    """TLS is used whenever both have it; then the first method that both have."""
    tls = "n" not in (ours[0], theirs[0])
    for method in (SASL_TLS, TLS_DB) if tls else (TCP_DB,):
        if method in VALID[ours] and method in VALID[theirs]:
            return method
    return None


def delivered(pair, domain, method):
    mark, their_mark = pair.edge.mark(), pair.partner.mark()
    with Client(f"bob@{domain}", pair.partner.address) as bob:
        pair.alice.send_message(f"bob@{domain}", f"out {domain}")
        bob.wait_message(f"out {domain}")
        bob.send_message(ALICE, f"in {domain}")
        pair.alice.wait_message(f"in {domain}")
    for server, other, since in ((pair.edge, domain, mark), (pair.partner, HOST, their_mark)):
        for direction in ("from", "to"):
            assert established(server, direction, other, since)[1] == method, (server.name, direction)


def refused(pair, domain):
    """Either sender is told, and one of the two servers has said which of its rules it was."""
    mark, their_mark, seen = pair.edge.mark(), pair.partner.mark(), pair.alice.mark()
    with Client(f"bob@{domain}", pair.partner.address) as bob:
        for sender, to in ((pair.alice, f"bob@{domain}"), (bob, ALICE)):
            condition, text, _ = outbound_error(sender, to)
            assert condition in ("not-allowed", "remote-server-timeout", "remote-server-not-found") and text, (condition, text)
        assert not any(stanza.name == "message" and not stanza.get("type") == "error" for stanza in heard(bob, 0))
    assert not any(domain in stanza.get("from", "") and stanza.get("type") != "error" for stanza in heard(pair.alice, seen))
    logs = pair.edge.log_since(mark), pair.partner.log_since(their_mark)
    assert not any(" Established stream " in log for log in logs)
    reasons = {reason for log in logs for reason in REFUSED.findall(log)}
    assert reasons and "internal-error" not in reasons and "config-invalid" not in reasons, reasons


def our_row(ours):
    def scenario(pair):
        for theirs in VALID:
            method = method_between(ours, theirs)
            try:
                if method:
                    delivered(pair, domain_of(ours, theirs), method)
                else:
                    refused(pair, domain_of(ours, theirs))
            except Exception as problem:
                raise AssertionError(f"with {row_title(theirs)}, expected {method}: {problem!r}") from problem
    return scenario


def scenarios():
    for ours in VALID:
        yield f"{ours}_with_every_row", our_row(ours)
