"""Observe mode, one refusal after another: each would be made, is told by its name, and what it is about goes on."""

import re
import urllib.request

from lab.client import Client
from lab.probe import Probe, mechanisms
from lab.remote import Remote

from scenarios._edge import (ALICE, HOST, any_method, configuration, edge_server, outbound_error, partner, tcp_dialback,
                             tls_dialback)
from scenarios._types import DORA, MUC, note
from scenarios.observe import EVIL, FABRIKAM, NORTHWIND, OBSERVING, passes_in, probe_of, tells

ROOMS = f"rooms.{HOST}"
VER, UNV, QUIET, MANY = "ver.test", "unv.test", "quiet.test", "many.test"
METRICS = """
statistics = "internal"
statistics_interval = "manual" -- with every request
http_ports = { 5280 }
http_interfaces = { "127.0.0.1" }
https_ports = {}
openmetrics_allow_ips = { "127.0.0.1" }
"""


def setup(lab):
    leaf = lab.certificates.leaf
    entries = (
        partner(FABRIKAM), partner(NORTHWIND), partner("untrusted.test"), partner("expired.test"), partner("plain.test"), partner("keys.test"),
        tls_dialback("external.test"), tcp_dialback("cleartext.test"), partner("pinned.test", pinned_keys=[leaf("elsewhere.test").pin]),
        partner("crowd.test", connection_limit=1), partner("badcert.test"), partner("noexternal.test"), partner("notls.test"),
        any_method("proxied.test", proxy="127.0.0.1:1"),
        any_method("fed.test"), any_method(VER, partner_type="public_verified"), any_method(UNV, partner_type="public_unverified"),
        any_method(QUIET, group_chat="refuse"), any_method(MANY))
    options = {"s2s_partners_mode": "observe", "s2s_partners_external_access": {"users": {"dora": "deny"}}}
    lab.edge = edge_server(lab, configuration(*entries, **options), users=[ALICE, DORA, f"carol@{HOST}"], components={ROOMS: ("muc", "muc_room_locking = false\n")},
                           modules=["s2s_bidi", "http_openmetrics"], options=METRICS).start()
    lab.servers = {}
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    return lab


def teardown(lab):
    """After everything: nothing was refused, by no reason; and the numbers say so."""
    assert not re.search(r"Refused (a |stream|stanzas|\d)|Changed a stanza|internal-error", lab.edge.log_since(0))
    with urllib.request.urlopen("http://127.0.0.1:5280/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'decision="would-refuse"' in text and 'decision="would-change"' in text, text
    assert 'decision="refuse"' not in text and 'decision="change"' not in text, text
    assert re.search(r"^prosody_mod_s2s_partners__observing(\{\})? 1", text, re.MULTILINE), text


def server_of(lab, domain, **more):
    """One for each domain: with two, DNS would name both."""
    if domain not in lab.servers:
        lab.servers[domain] = Remote(lab, [domain], **more)
    return lab.servers[domain]


# Streams in

def dialback_over_tls(lab, domain, leaf):
    server_of(lab, domain, leaf=lab.certificates.leaf(domain))
    probe = probe_of(lab, lab.edge, domain, leaf)
    probe.secure()
    assert probe.dialback() == "valid"
    return probe


def dialback_in_clear(lab, domain):
    server_of(lab, domain)
    probe = probe_of(lab, lab.edge, domain, None)
    probe.features()
    assert probe.dialback() == "valid"
    return probe


def external(lab, domain):
    probe = probe_of(lab, lab.edge, domain)
    probe.authenticate()
    return probe


INCOMING = {        # domain: (how its stream comes about, the reason)
    EVIL: (external, "unlisted-domain"),
    "untrusted.test": (lambda lab, domain: dialback_over_tls(lab, domain, "self-signed"), "certificate-untrusted"),
    "expired.test": (lambda lab, domain: dialback_over_tls(lab, domain, "expired"), "certificate-expired"),
    "plain.test": (dialback_in_clear, "tls-required"),
    "keys.test": (lambda lab, domain: dialback_over_tls(lab, domain, "good"), "dialback-not-allowed"),
    "external.test": (external, "sasl-not-supported"),
    "cleartext.test": (external, "tls-not-supported"),
    "pinned.test": (external, "certificate-pin-mismatch"),
}


def incoming(domain):
    def scenario(lab):
        how, reason = INCOMING[domain]
        mark = lab.edge.mark()
        probe = how(lab, domain)
        tells(lab.edge, "from", domain, reason, mark)
        for number in range(2):
            passes_in(probe, domain, lab.alice, f"in {domain} {number}")
        assert len(re.findall(rf"Would refuse stream from {domain}", lab.edge.log_since(mark))) == 1        # not at each step again
        shown = lab.edge.shell("partners:streams()")
        assert OBSERVING in shown.splitlines()[0] and "refuse:" in shown, shown
        probe.close()
    return scenario


for _domain in INCOMING:
    globals()[f"scenario_in_{INCOMING[_domain][1].replace('-', '_')}"] = incoming(_domain)


def scenario_in_connection_limit(lab):
    mark = lab.edge.mark()
    with external(lab, "crowd.test") as one, external(lab, "crowd.test") as other:
        tells(lab.edge, "from", "crowd.test", "connection-limit", mark)
        passes_in(one, "crowd.test", lab.alice, "first of the crowd")
        passes_in(other, "crowd.test", lab.alice, "second of the crowd")


def scenario_in_wrong_domain(lab):
    """A second domain on one stream."""
    mark = lab.edge.mark()
    server_of(lab, NORTHWIND)
    with external(lab, FABRIKAM) as probe:
        assert probe.dialback(from_=NORTHWIND) == "valid"
        tells(lab.edge, "from", FABRIKAM, "wrong-domain", mark)
        passes_in(probe, FABRIKAM, lab.alice, "of the stream's domain")
        passes_in(probe, NORTHWIND, lab.alice, "of the other one")


def scenario_in_pre_1_0(lab):
    mark = lab.edge.mark()
    server_of(lab, "old.test")
    with probe_of(lab, lab.edge, "old.test", None) as probe:
        probe.open(version=None)
        probe.read_header()
        assert probe.dialback() == "valid"
        tells(lab.edge, "from", "old.test", "unlisted-domain", mark)
        passes_in(probe, "old.test", lab.alice, "from a peer before 1.0")


def scenario_offer_is_as_without_the_module(lab):
    """Nothing is taken out of features: a partner whose entry has dialback only is offered EXTERNAL, one without TLS is offered that."""
    for domain in ("external.test", "cleartext.test", EVIL):
        with probe_of(lab, lab.edge, domain) as probe:
            assert "EXTERNAL" in mechanisms(probe.secure()), domain


def scenario_language_is_left_alone(lab):
    """Not a language, and otherwise dropped."""
    long = "x" * 200
    with external(lab, FABRIKAM) as probe:
        probe.send(f"<message from='eve@{FABRIKAM}' to='{ALICE}' xml:lang='{long}'><body>long language</body></message>")
        assert long in lab.alice.wait_message("long language").attributes.values()


# Streams out

def arrives(lab, remote, domain, body):
    lab.alice.send_message(f"bob@{domain}", body)
    remote.wait_element(lambda element: element.name == "message" and element.find("body").text == body)


def scenario_out(lab):
    leaf = lab.certificates.leaf
    for domain, reason, more in (
            (EVIL, "unlisted-domain", {"leaf": leaf(EVIL)}),
            ("badcert.test", "certificate-untrusted", {"leaf": leaf("badcert.test", "self-signed")}),
            ("noexternal.test", "sasl-required", {"leaf": leaf("noexternal.test"), "offer": ("dialback",)}),
            ("notls.test", "tls-required", {})):
        remote = server_of(lab, domain, **more)
        mark = lab.edge.mark()
        arrives(lab, remote, domain, f"first to {domain}")
        tells(lab.edge, "to", domain, reason, mark)
        arrives(lab, remote, domain, f"second to {domain}")
        lab.edge.wait_log(rf"Would refuse a stanza to {domain} \(host {HOST}\): {reason}", 5, mark)


def scenario_proxy_is_not_used(lab):
    remote = server_of(lab, "proxied.test", leaf=lab.certificates.leaf("proxied.test"))
    arrives(lab, remote, "proxied.test", "by DNS")


# Stanzas

def scenario_stanzas_in(lab):
    mark = lab.edge.mark()
    for domain in (UNV, QUIET, "fed.test"):
        server_of(lab, domain, leaf=lab.certificates.leaf(domain))
    with external(lab, UNV) as probe, Client(DORA, lab.edge.address) as dora, external(lab, "fed.test") as fed, external(lab, QUIET) as quiet:
        passes_in(probe, UNV, lab.alice, "not listed")
        lab.edge.wait_log(rf"Would refuse a stanza from {UNV} \(host {HOST}\): not-listed", 5, mark)
        fed.message("eve@fed.test", DORA, "denied")
        dora.wait_message("denied")
        lab.edge.wait_log(r"Would refuse a stanza from fed.test \(host \S+\): external-access-denied", 5, mark)
        quiet.send(f"<presence from='eve@{QUIET}/x' to='room@{ROOMS}/eve'><x xmlns='{MUC}'/></presence>")
        lab.edge.wait_log(rf"Would refuse a stanza from {QUIET} \(host {ROOMS}\): group-chat-refused", 5, mark)
        with Client(f"carol@{HOST}", lab.edge.address) as carol:
            carol.presence(to=f"room@{ROOMS}/carol", inside=f"<x xmlns='{MUC}'/>")
            carol.wait_presence(f"room@{ROOMS}/eve")
        # Nobody is authorised for the user: she is asked.
        fed.send("<presence from='eve@fed.test' to='%s' type='subscribe' id='s'/>" % ALICE)
        lab.alice.wait_presence("eve@fed.test", "subscribe")
        lab.edge.wait_log(r"Would change a stanza from fed.test \(host \S+\): subscription-authorised", 5, mark)


def scenario_stanzas_out(lab):
    mark = lab.edge.mark()
    remotes = {domain: server_of(lab, domain, leaf=lab.certificates.leaf(domain)) for domain in (VER, UNV, MANY)}
    arrives(lab, remotes[UNV], UNV, "to one who is not listed")
    lab.edge.wait_log(rf"Would refuse a stanza to {UNV} \(host {HOST}\): not-listed", 5, mark)
    with Client(DORA, lab.edge.address) as dora:
        dora.send_message(f"bob@{MANY}", "of one who may not")
        remotes[MANY].wait_element("message")
        lab.edge.wait_log(rf"Would refuse a stanza to {MANY} \(host {HOST}\): external-access-denied", 5, mark)
    for number in range(3):     # the copy without a note is made once
        lab.alice.presence(to=f"bob@{VER}", status=f"a note {number}")
        remotes[VER].wait_element(lambda element, number=number: element.name == "presence" and note(element) == f"a note {number}")
    lab.edge.wait_log(rf"Would change a stanza to {VER} \(host {HOST}\): status-note-removed", 5, mark)


def scenario_core_refuses_as_ever(lab):
    """Prosody's own rules hold: a domain that nobody serves cannot be found."""
    condition, _, _ = outbound_error(lab.alice, "bob@nowhere.test")
    assert condition.startswith("remote-server"), condition
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        probe.features()
        probe.send(f"<message from='eve@{FABRIKAM}' to='{ALICE}'><body>too early</body></message>")
        lab.alice.assert_nothing(lambda stanza: stanza.find("body") is not None and stanza.find("body").text == "too early")
