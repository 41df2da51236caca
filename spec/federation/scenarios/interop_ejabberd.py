"""ejabberd as the partner: the eleven valid rows, both directions, with each way that ejabberd can federate; and what it
does where a method is refused, ignored or stripped.

One ejabberd has a host KIND.ROW.test for each way (lab.ejabberd.PRESETS) and row; see scenarios/matrix.py for the rows.

INTEROP_OUT: a file that what was observed is written to, as a table in Markdown."""

import os
import pathlib
import re
import socket
import threading
import time
from dataclasses import dataclass, field

from lab.client import Client
from lab.ejabberd import PRESETS, Ejabberd
from lab.probe import Probe, mechanisms
from lab.remote import Remote
from lab.xmlstream import DIALBACK_FEATURE, TLS

from scenarios._edge import (ALICE, HOST, assert_not_established, configuration, edge_server, established, heard,
                             outbound_error)
from scenarios.matrix import SASL_TLS, TCP_DB, TLS_DB, VALID, entry, row_title

TIMEOUT = 90

# The methods each is able to use.  Once TLS is up ejabberd never goes back to plain TCP.
METHODS = {
    "required": [SASL_TLS, TLS_DB],
    "optional": [SASL_TLS, TLS_DB, TCP_DB],
    "external": [SASL_TLS],
    "no-external": [TLS_DB, TCP_DB],
    "none": [TCP_DB],
}
# What takes STARTTLS out of what the edge says stands between ejabberd and this host.
STRIPPED = "stripped.test"


@dataclass
class Interop:
    lab: object
    edge: object
    ejabberd: object
    alice: Client
    remotes: dict
    observed: list = field(default_factory=list)


def setup(lab):
    edge = edge_server(lab, configuration(*map(entry, VALID)), hosts=[HOST, STRIPPED],
                       users=[ALICE, f"carol@{STRIPPED}"], s2s_timeout=6).start()
    lab.dns.remove(STRIPPED)
    lab.dns.server(STRIPPED, StarttlsStripper(lab, edge.address).address)
    hosts = {f"{kind}.{row}.test": kind for row in VALID for kind in PRESETS}
    # For scenarios that want a stream of their own: hosts that nothing else has used.
    hosts.update({f"{name}.{row}.test": "optional" for name in ("strip", "peer") for row in VALID})
    users = [f"bob@{host}" for host in hosts]
    remotes = {
        # Partners of ejabberd's that are scripts, to see what it does by itself.
        "ignores": Remote(lab, ["ignores.test"], leaf=lab.certificates.leaf("ignores.test"), offer=["dialback"],
                          result="ignore"),
        "refuses": Remote(lab, ["refuses.test"], leaf=lab.certificates.leaf("refuses.test"), offer=["dialback"],
                          result="invalid"),
        "no-external": Remote(lab, ["no-external.test"], leaf=lab.certificates.leaf("no-external.test"),
                              offer=["dialback"]),
        "external-fails": Remote(lab, ["external-fails.test"], leaf=lab.certificates.leaf("external-fails.test"),
                                 external="failure"),
        "nothing": Remote(lab, ["nothing.test"], leaf=lab.certificates.leaf("nothing.test"), offer=[]),
        "no-tls": Remote(lab, ["no-tls.test"]),
    }
    ejabberd = Ejabberd(lab, "ejabberd", hosts, users=users).start()
    return Interop(lab, edge, ejabberd, Client(ALICE, edge.address), remotes)


def teardown(interop):
    interop.alice.close()
    if "INTEROP_OUT" in os.environ:
        pathlib.Path(os.environ["INTEROP_OUT"]).write_text(table(interop))


def table(interop):
    titles = ["tls/sasl/dialback", "ejabberd", "direction", "result", "why"]
    lines = [titles, ["---"] * len(titles), *interop.observed]
    return (f"Observed with Prosody {interop.lab.prosody.number} and ejabberd {interop.ejabberd.version}.\n\n" +
            "".join(f"| {' | '.join(line)} |\n" for line in lines))


# What is expected

def method_with(row, kind):
    """The method that the row and ejabberd settle on, the row's order of preference deciding; or None."""
    encrypted = kind != "none" and VALID[row] != [TCP_DB]
    for method in VALID[row]:
        if method in METHODS[kind] and not (method == TCP_DB and encrypted):
            return method
    return None


def refusal(row, kind, direction):
    """(reason we log, None where ejabberd gives up first; why they do not come together)."""
    outbound = direction == "outbound"
    if kind == "none":
        # Inbound we say that STARTTLS is required, and it closes.
        return "tls-required" if outbound else None, "the row wants TLS, this ejabberd has none"
    if VALID[row] == [TCP_DB]:
        assert PRESETS[kind]["starttls"] == "required"
        return "tls-not-supported" if outbound else None, "s2s_use_starttls: required, and the row has no TLS"
    if kind == "no-external":
        return "certificate-untrusted", "the row wants SASL, this ejabberd's certificate is not trusted"
    assert kind == "external" and SASL_TLS not in VALID[row], (row, kind)
    # Outbound our key gets no answer (dialback need not be advertised to be understood).
    return None, "the row wants dialback, this ejabberd has no mod_s2s_dialback"


def explanation(kind, method):
    """Why not a better method than this."""
    if kind == "no-external" and method == TLS_DB:
        return "its certificate is not trusted: dialback"
    return ""


# The rows

def delivered(interop, row, kind):
    domain, mark = f"{kind}.{row}.test", interop.edge.mark()
    with Client(f"bob@{domain}", interop.ejabberd.address) as bob:
        # To the full JID: ejabberd may not have got to his presence yet.
        interop.alice.send_message(bob.full_jid, f"out {domain}")
        bob.wait_message(f"out {domain}")
        bob.send_message(ALICE, f"in {domain}")
        interop.alice.wait_message(f"in {domain}")
    for direction, word in (("outbound", "to"), ("inbound", "from")):
        name, method, tls = established(interop.edge, word, domain, mark)
        interop.observed.append((row_title(row), kind, direction, f"{method}, {tls}", explanation(kind, method)))
        assert (name, method) == (f"{row}.test", method_with(row, kind)), (name, method)
        assert tls.startswith("TLSv1.") == (method != TCP_DB), tls


def refused_both_ways(interop, row, kind):
    domain = f"{kind}.{row}.test"
    mark = interop.edge.mark()
    condition, text, _ = outbound_error(interop.alice, f"bob@{domain}")
    outcome(interop, row, kind, "outbound", mark, condition)
    mark, seen = interop.edge.mark(), interop.alice.mark()
    with Client(f"bob@{domain}", interop.ejabberd.address) as bob:
        condition, text, _ = outbound_error(bob, ALICE)
    outcome(interop, row, kind, "inbound", mark, condition)
    assert not any(domain in stanza.get("from", "") for stanza in heard(interop.alice, seen))
    assert text or condition


def outcome(interop, row, kind, direction, mark, condition):
    domain, word = f"{kind}.{row}.test", "to" if direction == "outbound" else "from"
    reason, why = refusal(row, kind, direction)
    found = re.search(rf"Refused stream {word} {re.escape(domain)} \(.*\): ([\w-]+): ", interop.edge.log_since(mark))
    said = f"refused: {found[1]}" if found else "ejabberd gives up"
    interop.observed.append((row_title(row), kind, direction, f"{said}; the sender gets {condition}", why))
    assert (found and found[1]) == reason, (direction, found and found[0], reason)
    if direction == "outbound" and reason:
        assert condition == "not-allowed", condition
    assert_not_established(interop.edge, domain, mark)


def with_ejabberd(row, kind):
    run = delivered if method_with(row, kind) else refused_both_ways
    return lambda interop: run(interop, row, kind)


# What it does by itself

def bounce(interop, host, to, timeout=20):
    """bob of the host writes to where it cannot go: (condition, text, seconds)."""
    with Client(f"bob@{host}", interop.ejabberd.address) as bob:
        start = time.monotonic()
        condition, text, _ = outbound_error(bob, to, timeout)
    return condition, text or "", time.monotonic() - start


def note(interop, what, result):
    interop.observed.append(("-", "optional", what, result, ""))


def scenario_offers(interop):
    """Each way of ejabberd's federating, as a peer with a valid certificate sees it: the presets are what they say."""
    leaf = interop.lab.certificates.leaf(HOST)
    expected = {"required": ("required", True, True), "optional": ("optional", True, True),
                "external": ("required", True, False), "no-external": ("optional", True, True), "none": (None, False, True)}
    for kind, (starttls, external, dialback) in expected.items():
        with Probe(interop.ejabberd.address, from_=HOST, to=f"{kind}.oot.test", leaf=leaf) as probe:
            features = probe.features()
            offered = features.find("starttls", TLS)
            assert (offered and ("required" if offered.find("required") else "optional")) == starttls, (kind, features)
            if offered:
                assert probe.starttls() is None
                features = probe.features()
            assert ("EXTERNAL" in mechanisms(features)) == external, (kind, features)
            assert bool(features.find("dialback", DIALBACK_FEATURE)) == dialback, (kind, features)


def scenario_dialback_ignored(interop):
    """Its key gets no answer: it waits for its own time-out, then tells the sender."""
    condition, text, seconds = bounce(interop, "peer.oot.test", "eve@ignores.test")
    note(interop, "a partner ignores its key", f"{condition} after its negotiation_timeout")
    assert condition == "remote-server-timeout" and seconds > 2, (condition, text, seconds)
    assert not interop.remotes["ignores"].elements("message")


def scenario_dialback_refused(interop):
    condition, text, seconds = bounce(interop, "peer.oot.test", "eve@refuses.test")
    note(interop, "a partner says invalid", f"{condition} at once")
    # For that answer, and not by its time-out.
    assert condition.startswith("remote-server-") and "invalid dialback key" in text, (condition, text, seconds)
    assert not interop.remotes["refuses"].elements("message")


def scenario_external_stripped(interop):
    """Without EXTERNAL among the features it takes dialback over TLS."""
    with Client("bob@peer.oot.test", interop.ejabberd.address) as bob:
        bob.send_message("eve@no-external.test", "by dialback")
        remote = interop.remotes["no-external"]
        remote.wait_element("message")
    note(interop, "EXTERNAL is not offered", "TLS dialback")
    assert remote.elements("starttls") and remote.elements("result") and not remote.elements("auth")


def scenario_external_fails(interop):
    """Where EXTERNAL is refused it tries dialback on the same stream."""
    remote = interop.remotes["external-fails"]
    with Client("bob@peer.oot.test", interop.ejabberd.address) as bob:
        bob.send_message("eve@external-fails.test", "by dialback after all")
        remote.wait_element("message")
    note(interop, "EXTERNAL is refused", "TLS dialback")
    assert remote.elements("auth") and remote.elements("result")


def scenario_no_method_offered(interop):
    """Dialback is tried even if it is not among the features, as Prosody does."""
    remote = interop.remotes["nothing"]
    with Client("bob@peer.oot.test", interop.ejabberd.address) as bob:
        bob.send_message("eve@nothing.test", "by dialback that is not offered")
        remote.wait_element("message")
    note(interop, "no method is offered", "TLS dialback, tried all the same")
    assert remote.elements("result")


def scenario_starttls_stripped(interop):
    """With s2s_use_starttls: optional it says nothing and goes on in plain text."""
    remote = interop.remotes["no-tls"]
    with Client("bob@peer.oot.test", interop.ejabberd.address) as bob:
        bob.send_message("eve@no-tls.test", "in clear")
        remote.wait_element("message")
    note(interop, "STARTTLS is stripped", "TCP dialback, silently")
    assert remote.elements("result")


class StarttlsStripper:
    """The man in the middle: takes STARTTLS out of what the edge says, and leaves all else as it is."""

    def __init__(self, lab, target):
        self.address, self.target = lab.address(), target
        self.stripped = 0
        listener = socket.create_server((self.address, 5269))
        lab.cleanup(listener.close)
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                peer, _ = listener.accept()
                edge = socket.create_connection((self.target, 5269), 10)
            except OSError:
                return
            edge.settimeout(None)
            for source, sink, change in ((peer, edge, None), (edge, peer, self._strip)):
                threading.Thread(target=self._pump, args=[source, sink, change], daemon=True).start()

    def _strip(self, data):
        changed = re.sub(rb"<starttls[^>]*(/>|>.*?</starttls>)", b"", data, flags=re.DOTALL)
        self.stripped += changed != data
        return changed

    @staticmethod
    def _pump(source, sink, change):
        try:
            while data := source.recv(65536):
                sink.sendall(change(data) if change else data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def stripped(row):
    """ejabberd would go on in clear.  We do only where the row lets streams without TLS be."""
    def scenario(interop):
        domain, mark = f"strip.{row}.test", interop.edge.mark()
        with Client(f"bob@{domain}", interop.ejabberd.address) as bob, \
             Client(f"carol@{STRIPPED}", interop.edge.address) as carol:
            id_ = bob.send_message(carol.full_jid, f"in clear from {row}")
            if TCP_DB in VALID[row]:
                carol.wait_message(f"in clear from {row}")
                result = established(interop.edge, "from", domain, mark)[1]
                assert result == TCP_DB
            else:
                condition, _, _ = bob.wait_error(id_, 20)
                found = re.search(rf"Refused stream from {re.escape(domain)} \(.*\): ([\w-]+): ",
                                  interop.edge.log_since(mark))
                result = f"{f'refused: {found[1]}' if found else 'ejabberd gives up'}; the sender gets {condition}"
                assert_not_established(interop.edge, domain, mark)
                assert not any(domain in stanza.get("from", "") for stanza in carol.stanzas)
        # Where TLS is optional it could still come, so the key is ignored and the time-out decides.
        interop.observed.append((row_title(row), "optional", "inbound, STARTTLS stripped on the way", result,
                                 "the row has TCP dialback" if TCP_DB in VALID[row] else "the row has no method without TLS"))
    return scenario


def scenarios():
    for row in VALID:
        for kind in PRESETS:
            yield f"{row}_with_{kind}", with_ejabberd(row, kind)
        if VALID[row] != [TCP_DB]:
            yield f"{row}_starttls_stripped", stripped(row)
