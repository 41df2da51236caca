"""Each of the 18 combinations of docs/negotiation.md#the-18-combinations, both directions, with real partners and with probes.

Every partner server has one virtual host for each valid row, SERVER.ROW.test, and the edge lists ROW.test with
*.ROW.test below it; so one edge and one server of each kind serve for all.  A row is named by its three settings:
"orf" is tls optional, sasl required, dialback false.

MATRIX_OUT: a file that the observed matrix is written to, as a table in Markdown."""

import os
import pathlib
from dataclasses import dataclass, field

from lab.client import Client
from lab.probe import Probe, mechanisms
from lab.prosody import Prosody
from lab.remote import Remote
from lab.xmlstream import DIALBACK_FEATURE, TLS

from scenarios._edge import (ALICE, HOST, assert_not_established, configuration, edge_server, established, heard,
                             outbound_error, partner, refusal_logged, refused)

TIMEOUT = 60
WORDS = {"r": "required", "o": "optional", "n": "not_supported"}
SASL_TLS, TLS_DB, TCP_DB = "SASL EXTERNAL", "TLS dialback", "TCP dialback"

# docs/negotiation.md#the-18-combinations once more: the methods of the valid rows, the error of the others.
VALID = {
    "rrt": [SASL_TLS],
    "rrf": [SASL_TLS],
    "ort": [SASL_TLS, TLS_DB, TCP_DB],
    "orf": [SASL_TLS],
    "rot": [SASL_TLS, TLS_DB],
    "rof": [SASL_TLS],
    "oot": [SASL_TLS, TLS_DB, TCP_DB],
    "oof": [SASL_TLS],
    "rnt": [TLS_DB],
    "ont": [TLS_DB, TCP_DB],
    "nnt": [TCP_DB],
}
INVALID = {
    "nrt": "SASL requires TLS",
    "nrf": "SASL requires TLS",
    "not": "SASL requires TLS",
    "nof": "SASL requires TLS",
    "rnf": "SASL or dialback must be enabled",
    "onf": "SASL or dialback must be enabled",
    "nnf": "SASL or dialback must be enabled",
}

# Partner servers: the preset, the kind of their certificates, and the methods they are able to use.
SERVERS = {
    "external": ("external", "good", [SASL_TLS]),
    "self-signed": ("any", "self-signed", [TLS_DB, TCP_DB]),
    "tls-dialback": ("tls-dialback", "good", [TLS_DB]),
    "tcp-dialback": ("tcp-dialback", None, [TCP_DB]),
    "any": ("any", "good", [SASL_TLS, TLS_DB, TCP_DB]),
}
DEMANDS_TLS = ("external", "tls-dialback")


@dataclass
class Matrix:
    lab: object
    edge: object
    alice: Client
    servers: dict
    probes: dict                                    # row -> the honest authority for probe.ROW.test
    observed: list = field(default_factory=list)    # rows of the table
    offered: dict = field(default_factory=dict)     # (row or server, leaf) -> what probes were offered, in words


def row_settings(row):
    return {"tls": WORDS[row[0]], "sasl": WORDS[row[1]], "dialback": row[2] == "t"}


def row_title(row):
    return "/".join([WORDS[row[0]], WORDS[row[1]], "true" if row[2] == "t" else "false"])


def entry(row):
    return partner(f"{row}.test", f"*.{row}.test", **row_settings(row))


# Set-up

def partner_server(lab, kind):
    preset, certificate, _ = SERVERS[kind]
    hosts = [f"{kind}.{row}.test" for row in VALID]
    return Prosody(lab, kind, hosts, users=[f"bob@{host}" for host in hosts], preset=preset, s2s_timeout=3,
                   certificates={host: certificate for host in hosts}).start()


def setup(lab):
    edge = edge_server(lab, configuration(*map(entry, VALID))).start()
    servers = {kind: partner_server(lab, kind) for kind in SERVERS}
    probes = {row: Remote(lab, [f"probe.{row}.test"], leaf=lab.certificates.leaf(f"probe.{row}.test"))
              for row in VALID}
    matrix = Matrix(lab, edge, Client(ALICE, edge.address), servers, probes)
    for kind, server in servers.items():
        note_offers(matrix, kind, "good", *offered_by(lab, kind, server))
    return matrix


def offered_by(lab, kind, server):
    """What a partner server offers to the edge, in clear and after TLS."""
    leaf = lab.certificates.leaf(HOST)
    with Probe(server.address, from_=HOST, to=server.domains[0], leaf=leaf) as probe:
        clear = in_words(probe.features())
        if SERVERS[kind][1] is None:
            return clear, None
        assert probe.starttls() is None
        return clear, in_words(probe.features())


def teardown(matrix):
    matrix.alice.close()
    if "MATRIX_OUT" in os.environ:
        pathlib.Path(os.environ["MATRIX_OUT"]).write_text(table(matrix))


def table(matrix):
    titles = ["tls/sasl/dialback", "direction", "partner", "offered to the side that calls, in clear", "after TLS",
              "method used", "result"]
    lines = [titles, ["---"] * len(titles)]
    for row, direction, kind, method, result in matrix.observed:
        offers_of = (row, SERVERS[kind][1]) if direction == "inbound" else (kind, "good")
        lines.append([row_title(row), direction, kind, *matrix.offered.get(offers_of, ("", "")), method, result])
    return f"Observed with Prosody {matrix.lab.prosody.number}.\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


# What is expected

def method_with(row, kind):
    """The method that the row and the server settle on, the row's order of preference deciding; or None."""
    for method in VALID[row]:
        if method in SERVERS[kind][2] and not (method == TCP_DB and tls_is_used(row, kind)):
            return method
    return None


def tls_is_used(row, kind):
    """Whether a stream between the two ends up encrypted: whenever both are able to."""
    return SERVERS[kind][1] is not None and VALID[row] != [TCP_DB]


def outbound_reason(row, kind):
    """Why the edge refuses to go on with such a server; None where the server gives up by itself."""
    if SERVERS[kind][1] is None:
        return "tls-required"
    if VALID[row] == [TCP_DB]:
        return "tls-not-supported" if kind in DEMANDS_TLS else None
    if VALID[row] == [SASL_TLS]:
        return {"self-signed": "certificate-untrusted", "tls-dialback": "sasl-required"}.get(kind)
    return None


def inbound_reason(row, kind):
    """The same for a stream that the server opens."""
    if SERVERS[kind][1] is None:
        return "tls-required" if WORDS[row[0]] == "required" else None
    return "certificate-untrusted" if kind == "self-signed" and VALID[row] == [SASL_TLS] else None


# Real partners

def assert_method(matrix, row, kind, direction, mark):
    """The stream's method, as the edge's own line says, and whether it was encrypted."""
    domain = f"{kind}.{row}.test"
    word = "from" if direction == "inbound" else "to"
    name, method, version = established(matrix.edge, word, domain, mark)
    matrix.observed.append((row, direction, kind, method, f"delivered, {version}"))
    assert (name, method) == (f"{row}.test", method_with(row, kind)), (name, method)
    assert version.startswith("TLSv1.") == (method != TCP_DB), version


def delivered(matrix, row, kind):
    """A message each way.  One mark for both: a stream may serve to verify a key first, and be used for stanzas later."""
    domain = f"{kind}.{row}.test"
    mark = matrix.edge.mark()
    with Client(f"bob@{domain}", matrix.servers[kind].address) as bob:
        matrix.alice.send_message(f"bob@{domain}", f"out {domain}")
        bob.wait_message(f"out {domain}")
        bob.send_message(ALICE, f"in {domain}")
        matrix.alice.wait_message(f"in {domain}")
    for direction in ("outbound", "inbound"):
        assert_method(matrix, row, kind, direction, mark)


def outbound_refused(matrix, row, kind):
    domain = f"{kind}.{row}.test"
    mark = matrix.edge.mark()
    condition, text, _ = outbound_error(matrix.alice, f"bob@{domain}")
    reason = outbound_reason(row, kind)
    if reason:
        assert condition == "not-allowed" and text, (condition, text)
        refusal_logged(matrix.edge, "to", domain, reason, mark)
    else:
        assert condition.startswith("remote-server-") or condition == "not-allowed", condition
    assert_not_established(matrix.edge, domain, mark)
    matrix.observed.append((row, "outbound", kind, "none", f"refused: {reason or 'the partner gives up'}"))


def inbound_refused(matrix, row, kind):
    domain = f"{kind}.{row}.test"
    mark, seen = matrix.edge.mark(), matrix.alice.mark()
    with Client(f"bob@{domain}", matrix.servers[kind].address) as bob:
        outbound_error(bob, ALICE)      # the partner learns that it did not go
    reason = inbound_reason(row, kind)
    if reason:
        refusal_logged(matrix.edge, "from", domain, reason, mark)
    assert_not_established(matrix.edge, domain, mark)
    assert not any(domain in stanza.get("from", "") for stanza in heard(matrix.alice, seen))
    matrix.observed.append((row, "inbound", kind, "none", f"refused: {reason or 'the partner gives up'}"))


# Probes: what is offered

def in_words(features):
    words = []
    starttls = features.find("starttls", TLS)
    if starttls:
        words.append("STARTTLS required" if starttls.find("required") else "STARTTLS")
    words += mechanisms(features)
    if features.find("dialback", DIALBACK_FEATURE):
        words.append("dialback")
    return words


def expected_in_clear(row):
    words = []
    if VALID[row] != [TCP_DB]:
        words.append("STARTTLS" if TCP_DB in VALID[row] else "STARTTLS required")
    return words + (["dialback"] if TCP_DB in VALID[row] else [])


def expected_after_tls(row, certificate_valid):
    return (["EXTERNAL"] if SASL_TLS in VALID[row] and certificate_valid else []) + \
        (["dialback"] if TLS_DB in VALID[row] else [])


def probe_of(matrix, row, leaf="good"):
    domain = f"probe.{row}.test"
    certificate = matrix.lab.certificates.leaf(domain, leaf) if leaf else None
    return Probe(matrix.edge.address, from_=domain, to=HOST, leaf=certificate)


def note_offers(matrix, key, leaf, clear, secure):
    """For the table; secure None: no TLS."""
    after = "no TLS" if secure is None else ", ".join(secure) or "nothing"
    matrix.offered[key, leaf] = (", ".join(clear) or "nothing", after)


def offers(matrix, row):
    with probe_of(matrix, row) as probe:
        clear = in_words(probe.features())
        assert clear == expected_in_clear(row), clear
        note_offers(matrix, row, None, clear, None)
        for leaf in ("good", "self-signed") if VALID[row] == [TCP_DB] else ():
            note_offers(matrix, row, leaf, clear, None)
        if VALID[row] == [TCP_DB]:
            return
        assert probe.starttls() is None
        secure = in_words(probe.features())
        assert secure == expected_after_tls(row, True), secure
        note_offers(matrix, row, "good", clear, secure)


def offers_without_valid_certificate(matrix, row):
    for leaf, verdict in (("self-signed", "untrusted"), (None, "no-certificate"), ("wrong-name", "identity-mismatch")):
        expected = expected_after_tls(row, False)
        with probe_of(matrix, row, leaf) as probe:
            clear = in_words(probe.features())
            assert probe.starttls() is None
            probe.open()
            if expected:
                assert in_words(probe.read_until("features")) == expected
                assert probe.external().name == "failure"
                refused(probe, certificate_or_sasl(row, verdict), certificate_or_sasl_condition(row))
            else:
                refused(probe, f"certificate-{verdict}", "not-authorized")
        if leaf:
            note_offers(matrix, row, leaf, clear, expected)


def offers_after_authentication(matrix, row):
    """No method that the row does not have, and none of those that come before authentication."""
    with probe_of(matrix, row) as probe:
        features = probe.authenticate()
        offered = in_words(features)
        assert offered in ([], ["dialback"] if TLS_DB in VALID[row] else []), features


def certificate_or_sasl(row, verdict):
    return f"certificate-{verdict}" if SASL_TLS in VALID[row] else "sasl-not-supported"


def certificate_or_sasl_condition(row):
    return "not-authorized" if SASL_TLS in VALID[row] else "policy-violation"


# Probes: each method that the row has, and what it excludes

def methods_by_probe(matrix, row):
    for method in VALID[row]:
        mark = matrix.edge.mark()
        with probe_of(matrix, row) as probe:
            if method == SASL_TLS:
                probe.authenticate()
            else:
                probe.secure() if method == TLS_DB else probe.features()
                assert probe.dialback() == "valid"
            probe.message(f"eve@probe.{row}.test", ALICE, f"{method} by probe of {row}")
            matrix.alice.wait_message(f"{method} by probe of {row}")
        assert established(matrix.edge, "from", f"probe.{row}.test", mark)[1] == method


def excluded_starttls(matrix, row):
    with probe_of(matrix, row) as probe:
        probe.features()
        assert probe.starttls().name == "failure"
        refused(probe, "tls-not-supported")


def excluded_dialback_in_clear(matrix, row):
    """Closed where nothing is accepted before TLS, ignored where TLS may still come; in neither case verified."""
    with probe_of(matrix, row) as probe:
        assert_no_dialling(matrix, row, lambda: unanswered_key(probe, WORDS[row[0]] == "required" and "tls-required"))


def excluded_dialback_over_tls(matrix, row):
    """Ignored: EXTERNAL could still come, and does."""
    with probe_of(matrix, row) as probe:
        probe.secure()

        def key_then_external():
            probe.send_result()
            assert probe.external().name == "success"
        assert_no_dialling(matrix, row, key_then_external)


def excluded_sasl(matrix, row):
    with probe_of(matrix, row) as probe:
        probe.secure() if TLS_DB in VALID[row] else probe.features()
        assert probe.external().name == "failure"
        refused(probe, "sasl-not-supported")


def excluded_sasl_in_clear(matrix, row):
    with probe_of(matrix, row) as probe:
        probe.features()
        assert probe.external().name == "failure"
        refused(probe, "tls-required")


def unanswered_key(probe, reason):
    probe.features()
    probe.send_result()
    if reason:
        refused(probe, reason)
    else:
        # The answer to something later shows that the key has been seen and passed over.
        assert probe.starttls() is None


def assert_no_dialling(matrix, row, step):
    remote, mark = matrix.probes[row], matrix.lab.dns.mark()
    connections = len(remote.connections)
    step()
    assert not matrix.lab.dns.asked(f"probe.{row}.test", mark)
    assert len(remote.connections) == connections


def stanza_in_clear(matrix, row):
    """A peer that skips STARTTLS and all the rest."""
    reason = "no-method-left" if TCP_DB in VALID[row] else "tls-required"
    seen = matrix.alice.mark()
    with probe_of(matrix, row) as probe:
        probe.features()
        probe.message(f"eve@probe.{row}.test", ALICE, "too early")
        refused(probe, reason, "not-authorized")
    assert heard(matrix.alice, seen) == []


def unusable_remotes(matrix, row):
    """Outbound, remotes that offer only what the row excludes; they must not see a key or a stanza."""
    lab = matrix.lab
    for name, reason, remote in excluded_remotes(lab, row):
        domain = f"{name}.{row}.test"
        mark = matrix.edge.mark()
        condition, text, kind = outbound_error(matrix.alice, f"eve@{domain}")
        assert (condition, kind) == ("not-allowed", "cancel") and text, (condition, kind, text)
        refusal_logged(matrix.edge, "to", domain, reason, mark)
        assert not remote.elements("message") and not remote.elements("result"), remote.elements()


def excluded_remotes(lab, row):
    def remote(name, **more):
        domain = f"{name}.{row}.test"
        leaf = lab.certificates.leaf(domain) if more.pop("tls_able", True) else None
        return Remote(lab, [domain], leaf=leaf, **more)
    if TCP_DB not in VALID[row]:
        yield "no-tls", "tls-required", remote("no-tls", tls_able=False)
    if VALID[row] == [TCP_DB]:
        yield "tls-only", "tls-not-supported", remote("tls-only", tls="required")
    if VALID[row] == [SASL_TLS]:
        yield "no-sasl", "sasl-required", remote("no-sasl", offer=["dialback"])
        yield "no-features", "sasl-required", remote("no-features", offer=[])
        yield "sasl-fails", "sasl-required", remote("sasl-fails", external="failure")


def sasl_left_alone(matrix, row):
    """Outbound, SASL is not attempted where it is not among the methods, even if offered."""
    domain = f"offers-sasl.{row}.test"
    remote = Remote(matrix.lab, [domain], leaf=matrix.lab.certificates.leaf(domain))
    matrix.alice.send_message(f"eve@{domain}", "without SASL")
    remote.wait_element("message")
    assert remote.elements("result") and not remote.elements("auth"), remote.elements()
    assert bool(remote.elements("starttls")) == (TLS_DB in VALID[row])


# The rows that are no rows

def invalid_rows(matrix):
    """Refused at commit: with no policy before them, everything is refused."""
    rows = iter(INVALID)
    edge = edge_server(matrix.lab, configuration(entry(next(rows))), name="invalid", register=False).start()
    with Client(ALICE, edge.address) as alice:
        for row, message in INVALID.items():
            mark = edge.mark()
            if row != "nrt":
                edge.partners = configuration(entry(row))
                edge.reload()
            refused_at_commit(matrix, edge, alice, row, message, mark if row != "nrt" else 0)
    edge.stop()


def refused_at_commit(matrix, edge, alice, row, message, mark):
    edge.wait_log(rf"error.*{row}\.test.*{message}", 10, mark)
    with Probe(edge.address, from_=f"{row}.test", to=HOST) as probe:
        probe.open()
        refused(probe, "config-invalid")
    condition, _, kind = outbound_error(alice, f"bob@{row}.test")
    assert (condition, kind) == ("internal-server-error", "wait"), (condition, kind)
    matrix.observed.append((row, "both", "", "none", f"error at commit: {message}"))


def warnings(matrix):
    """Rows that are valid and deserve a warning, and those that do not."""
    lines = [line for line in matrix.edge.log_since().splitlines() if "mod_s2s_partners\twarn" in line]
    without_tls = [line for line in lines if "is trusted, and TCP dialback is among its methods" in line]
    assert {row for row in VALID if any(f'"{row}.test"' in line for line in without_tls)} == {row for row in VALID if TCP_DB in VALID[row]}
    lines = [line for line in lines if line not in without_tls]
    for row in VALID:
        warned = any(f'"{row}.test"' in line for line in lines)
        assert warned == (row in ("rrt", "ort", "orf", "oot", "oof")), (row, warned)


def real_partner(row, kind):
    def with_partner(matrix):
        if method_with(row, kind):
            delivered(matrix, row, kind)
        else:
            outbound_refused(matrix, row, kind)
            inbound_refused(matrix, row, kind)
    return with_partner


def steps(row):
    """The probes that fit the row."""
    yield offers
    if VALID[row] != [TCP_DB]:
        yield offers_without_valid_certificate
    if SASL_TLS in VALID[row]:
        yield offers_after_authentication
    yield methods_by_probe
    yield stanza_in_clear
    if VALID[row] == [TCP_DB]:
        yield excluded_starttls
    if TCP_DB not in VALID[row]:
        yield excluded_dialback_in_clear
    if SASL_TLS not in VALID[row]:
        yield excluded_sasl
        yield sasl_left_alone
    else:
        yield excluded_sasl_in_clear
    if VALID[row] == [SASL_TLS]:
        yield excluded_dialback_over_tls
    yield unusable_remotes


def scenarios():
    for row in VALID:
        for step in steps(row):
            yield f"{row}_{step.__name__}", lambda matrix, row=row, step=step: step(matrix, row)
        for kind in SERVERS:
            yield f"{row}_with_{kind}", real_partner(row, kind)
    yield "invalid_rows", invalid_rows
    yield "warnings", warnings
