"""A resolver that is slow, wrong or dead, and healthy again: senders are told, nobody else's server gets anything, nothing is left."""

import time

from lab.client import Client
from lab.dns import FaultyDns
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import Closed

from scenarios._edge import ALICE, HOST, heard, partner, tls_dialback
from scenarios._faults import UNREACHABLE, bodies, impatient_edge, nothing_left, patient, send_each
from scenarios._gatekeeper import pipelined

SASL, KEYS, OTHER = "sasl.test", "keys.test", "other.test"
FAULTS = {"silent": "silence", "slow": ("slow", 4), "servfail": "servfail", "nxdomain": "nxdomain", "refused": "refused",
          "truncated": "truncated", "garbage": "garbage", "another": "other", "loop": "loop"}


def setup(lab):
    lab.resolver = FaultyDns(lab)
    lab.edge = impatient_edge(lab, partner(SASL, f"*.{SASL}"), tls_dialback(KEYS, f"*.{KEYS}"), partner(OTHER),
                              options=lab.resolver.options).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    lab.leaves = {parent: lab.certificates.leaf(parent, also=[f"*.{parent}"]) for parent in (SASL, KEYS)}
    return lab


def remotes_of(lab, parent, names, **more):
    domains = [f"{name}.{parent}" for name in names]
    return {domain: Remote(lab, [domain], leaf=lab.leaves[parent], **more) for domain in domains}


def healthy(lab, remotes, body):
    """However long the server's own resolver takes to believe it."""
    deadline = time.monotonic() + 25
    missing = dict(remotes)
    while missing:
        sent = send_each(lab.alice, missing, body)
        for domain, remote in list(missing.items()):
            if wait_until(lambda: fate(lab, remote, f"{body} {domain}", sent[domain]), 20, f"fate of what was sent to {domain}") == "arrived":
                missing.pop(domain).hang_up()
        assert not missing or time.monotonic() < deadline, f"still not reached: {list(missing)}"
        time.sleep(0.2 if missing else 0)       # what is remembered comes back at once


def fate(lab, remote, body, id_):
    if body in bodies(remote):
        return "arrived"
    return any(stanza.get("type") == "error" and stanza.get("id") == id_ for stanza in list(lab.alice.stanzas)) and "returned"


def scenario_every_fault_and_healthy_again(lab):
    remotes = remotes_of(lab, SASL, FAULTS)
    lab.resolver.rules = {f"{name}.{SASL}": rule for name, rule in FAULTS.items()}
    sent = send_each(lab.alice, remotes, "lost")
    for domain, id_ in sent.items():
        condition, text, _ = lab.alice.wait_error(id_)
        assert condition in UNREACHABLE, (domain, condition, text)
    nothing_left(lab.edge)
    time.sleep(2.5)     # answers that come now are for streams that are no more
    for domain, remote in remotes.items():
        assert not bodies(remote), domain
    nothing_left(lab.edge)
    lab.resolver.rules = {}
    healthy(lab, remotes, "healthy")
    nothing_left(lab.edge)


def scenario_dead_for_everybody(lab):
    """Live streams do not notice; streams come in all the same."""
    live = Remote(lab, [OTHER], leaf=lab.certificates.leaf(OTHER))
    remotes = remotes_of(lab, SASL, ["dead"])
    with patient(lab.edge):     # or the live stream might end, and another could not be opened
        send_each(lab.alice, [OTHER], "before")
        live.wait_element("message")
        lab.resolver.rules = {None: "silence"}
        sent = send_each(lab.alice, remotes, "lost")
        send_each(lab.alice, [OTHER], "meanwhile")
        live.wait_element(lambda element: element.name == "message" and element.find("body").text == f"meanwhile {OTHER}")
        with Probe(lab.edge.address, from_=OTHER, to=HOST, leaf=lab.certificates.leaf(OTHER)) as probe:
            probe.authenticate()
            probe.message(f"bob@{OTHER}", ALICE, "in without DNS")
            lab.alice.wait_message("in without DNS")
    assert lab.alice.wait_error(*sent.values())[0] in UNREACHABLE
    lab.resolver.rules = {}
    healthy(lab, remotes, "healthy")
    live.hang_up()
    nothing_left(lab.edge)


def scenario_key_cannot_be_asked_about(lab):
    """Without DNS there is nobody to ask: no key is good.  With it the next one is."""
    names = ("silent", "servfail", "nxdomain", "slow")
    remotes = remotes_of(lab, KEYS, names)
    lab.resolver.rules = {f"{name}.{KEYS}": FAULTS[name] for name in names}
    mark, probes = lab.alice.mark(), {}
    with patient(lab.edge):
        for domain in remotes:
            probes[domain] = Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.leaves[KEYS], timeout=12)
            probes[domain].secure()
            probes[domain].send(pipelined("key", domain) + pipelined("stanza", domain))
        for probe in probes.values():
            probe.read_close("not-authorized")      # for the stanza, sent before the answer
            probe.close()
    nothing_left(lab.edge)
    assert heard(lab.alice, mark) == []
    lab.resolver.rules = {}
    for domain in remotes:
        wait_until(lambda domain=domain: good_key(lab, domain), 25, f"good key of {domain}")


def good_key(lab, domain):
    with Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.leaves[KEYS], timeout=12) as probe:
        try:
            probe.secure()
            return probe.dialback() == "valid"
        except Closed:      # the failure is remembered still; nobody was asked
            return False


def scenario_led_to_somebody_else(lab):
    """SRV names another partner's server, or one that nobody knows: it proves neither domain, and gets nothing."""
    other = Remote(lab, ["elsewhere.test"], leaf=lab.certificates.leaf(OTHER))
    thief = Remote(lab, ["thief.test"], leaf=lab.certificates.leaf(f"stolen.{SASL}", "untrusted-ca"))
    wanted = {f"misled.{SASL}": other, f"stolen.{SASL}": thief}
    for domain, remote in wanted.items():
        lab.dns.server(domain, remote.address, target=f"server.{domain}")
    sent = send_each(lab.alice, wanted, "lost")
    for id_ in sent.values():
        condition, text, _ = lab.alice.wait_error(id_)
        assert condition == "not-allowed" and "certificate" in text, (condition, text)
    assert other.connections and thief.connections and not bodies(other) and not bodies(thief)
    # DNS is repaired: the right server is found at the next attempt.
    for domain in wanted:
        lab.dns.remove(domain)
    remotes = remotes_of(lab, SASL, ["misled", "stolen"])
    healthy(lab, remotes, "repaired")
    nothing_left(lab.edge)
