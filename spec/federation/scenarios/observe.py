"""The mode "observe": whatever would be refused is told and counted, and passes; and what it takes to get out of the mode, and into it."""

import re
import time

from fedlab.client import Client
from fedlab.probe import Probe
from fedlab.prosody import Prosody
from fedlab.remote import Remote

from scenarios._edge import ALICE, HOST, PING, any_method, closed_somehow, configuration, edge_server, outbound_error, partner, tls_dialback
from scenarios.failures import assert_all_refused, copy_of_module, without_object

TRACEBACKS = True       # where the module's own files are damaged
FABRIKAM, NORTHWIND, EVIL = "fabrikam.test", "northwind.test", "evil.test"
OBSERVING = "OBSERVING: nothing is enforced"
OBSERVE, ENFORCE = {"s2s_partners_mode": "observe"}, {"s2s_partners_mode": "enforce"}
BAD = 's2s_partners = { { domain = "fabrikam.test"; partner_type = "friendly" } }\n'


def observing(*entries, **options):
    return configuration(*entries, **OBSERVE, **options)


def tells(edge, direction, domain, reason, mark, timeout=10):
    """The line about a stream that would be refused; nothing is refused."""
    edge.wait_log(rf"Would refuse stream {direction} {re.escape(domain)} \(.*\): {reason}: ", timeout, mark)
    assert "Refused stream" not in edge.log_since(mark)


def probe_of(lab, edge, domain=EVIL, leaf="good", **more):
    return Probe(edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain, leaf) if leaf else None, **more)


def passes_in(probe, domain, alice, body):
    probe.message(f"eve@{domain}", ALICE, body)
    alice.wait_message(body)


def is_open(lab, edge, alice, domain=EVIL):
    """A stranger is let in."""
    with probe_of(lab, edge, domain) as probe:
        probe.authenticate()
        passes_in(probe, domain, alice, f"from {domain} {time.monotonic()}")


def is_closed(lab, edge, domain=EVIL):
    with probe_of(lab, edge, domain) as probe:
        probe.open()
        probe.read_close("policy-violation")


# From open federation to a list, with servers as they are

class Conversation:
    """Numbered messages both ways between alice and a user elsewhere; each has to arrive."""

    def __init__(self, alice, other):
        self.alice, self.other, self.count = alice, other, 0

    def go_on(self, times=3):
        for _ in range(times):
            self.send()
        self.arrived()

    def send(self):
        self.count += 1
        self.alice.send_message(self.other.jid, f"to {self.other.jid} {self.count}")
        self.other.send_message(self.alice.jid, f"from {self.other.jid} {self.count}")

    def arrived(self):
        self.other.wait_message(f"to {self.other.jid} {self.count}")
        self.alice.wait_message(f"from {self.other.jid} {self.count}")
        for number in range(1, self.count + 1):
            for client, body in ((self.other, f"to {self.other.jid} {number}"), (self.alice, f"from {self.other.jid} {number}")):
                assert any(stanza.find("body") and stanza.find("body").text == body for stanza in client.stanzas), f"{body} is lost"


def entries_of(suggestion):
    """{domain: its entry in Lua}, of what partners:suggest() prints."""
    lines = [line.lstrip("| ").strip() for line in suggestion.splitlines()]
    return {re.search(r'domain = "([^"]+)"', line)[1]: line.rstrip(";") for line in lines if line.startswith("{ domain =")}


def scenario_the_whole_way(lab):
    """Open federation with three partners and a stranger; observe, suggest, observe with the list, enforce. No message is lost."""
    users = {"fabrikam.test": "any-tls-required", "northwind.test": "tls-dialback", "litware.test": "any", EVIL: "any"}
    servers = {domain: Prosody(lab, domain, [domain], users=[f"bob@{domain}"], preset=preset).start() for domain, preset in users.items()}
    edge = edge_server(lab, observing(), name="way")
    edge.set_roster(ALICE, {f"bob@{domain}": "both" for domain in users})
    edge.start()
    clients = {domain: Client(f"bob@{domain}", server.address) for domain, server in servers.items()}
    alice = Client(ALICE, edge.address)
    talks = {domain: Conversation(alice, client) for domain, client in clients.items()}
    for talk in talks.values():
        talk.go_on()
    for domain in users:
        for direction in ("from", "to"):
            tells(edge, direction, domain, "unlisted-domain", 0)
    suggestion = edge.shell("partners:suggest()", timeout=60)
    entries = entries_of(suggestion)
    assert set(entries) == set(users), suggestion
    assert "Observed since" in suggestion and re.search(r"observed: .*stanzas? in, \d+ out", suggestion), suggestion
    assert 'sasl = "required"' in entries[FABRIKAM] and 'sasl = "not_supported"; dialback = true' in entries[NORTHWIND], suggestion
    # With the list, still observing: what was opened before is judged by it.
    chosen = ", ".join(entry for domain, entry in entries.items() if domain != EVIL)
    edge.partners = f"s2s_partners = {{ {chosen} }}\ns2s_partners_mode = \"observe\"\n"
    mark = edge.mark()
    edge.reload()
    checked = edge.shell("partners:check()", timeout=60)
    assert re.search(rf"{OBSERVING}", checked.splitlines()[0]), checked
    found = re.search(r"if this were enforced: (\d+) of (\d+) would be closed", checked)
    assert (found[1], found[2]) == ("2", "8"), checked
    assert len(re.findall(rf"(?:from|to) {EVIL} \(host {HOST}\): unlisted-domain", checked)) == 2, checked
    for domain in (FABRIKAM, NORTHWIND, "litware.test"):
        assert not re.search(rf"(from|to) {domain} \(host", checked), checked
    for talk in talks.values():
        talk.go_on()
    # In force, while everybody goes on writing.
    edge.partners = edge.partners.replace("observe", "enforce")
    mark = edge.mark()
    for _ in range(20):
        for domain in users:
            if domain != EVIL:
                talks[domain].send()
        if _ == 10:
            edge.reload()
    for domain in users:
        if domain != EVIL:
            talks[domain].go_on()
    for direction in ("from", "to"):
        edge.wait_log(rf"Refused stream {direction} {EVIL} \(.*\): unlisted-domain", 10, mark)
    log = edge.log_since(mark)
    assert "8 live streams judged again" in log and "2 of them closed" in log, log[-3000:]
    assert not re.search(r"Refused stream (from|to) (fabrikam|northwind|litware)", log), log[-3000:]
    assert outbound_error(alice, f"bob@{EVIL}")[0] == "not-allowed"
    assert OBSERVING not in edge.shell("partners:list()")
    for client in [alice, *clients.values()]:
        client.close()
    for server in [edge, *servers.values()]:
        server.stop()
