"""The mode "observe": whatever would be refused is told and counted, and passes; and what it takes to get out of the mode, and into it."""

import re
import socket
import time

from lab.client import Client
from lab.clock import Clock
from lab.probe import Probe
from lab.prosody import Prosody
from lab.remote import Remote

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
    edge.wait_log(rf"Would refuse stream {direction} {re.escape(domain)} \(.*\): {reason}\b", timeout, mark)
    assert "Refused stream" not in edge.log_since(mark)


def words(text):
    return re.sub(r"\s+(\| )?", " ", text)


def probe_of(lab, edge, domain=EVIL, leaf="good", **more):
    return Probe(edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain, leaf) if leaf else None, **more)


def stranger(lab, name):
    """A server of its own for each scenario, and its domain."""
    domain = f"{name}.stranger.test"
    return Remote(lab, [domain], leaf=lab.certificates.leaf(domain), timeout=60), domain     # its streams are there until they are closed


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
            tells(edge, direction, domain, "unlisted-domain: no entry covers the domain", 0)
    suggestion = edge.shell("partners:suggest()", timeout=60)
    entries = entries_of(suggestion)
    assert set(entries) == set(users), suggestion
    assert "Observed since" in suggestion and re.search(r"observed: .*stanzas? in, \d+ out", suggestion), suggestion
    pins = [lab.certificates.leaf(domain).pin for domain in users]
    assert suggestion.count("used SASL, certificate valid") == 6 and all(pin in suggestion for pin in pins), suggestion
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
    assert len(re.findall(rf"(?:in|out) +{EVIL}, host {HOST}: unlisted-domain", checked)) == 2, checked
    for domain in (FABRIKAM, NORTHWIND, "litware.test"):
        assert not re.search(rf"(in|out) +{domain}, host", checked), checked
    for talk in talks.values():
        talk.go_on()
    # In force, while everybody goes on writing.
    edge.partners = edge.partners.replace("observe", "enforce")
    mark = edge.mark()
    edge.write_config()
    shown = words(edge.shell('partners:commit("preview")', timeout=60))
    assert 's2s_partners_mode: "enforce", was "observe"' in shown and "Live streams that it closes: 2 of 8" in shown, shown
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


# What cannot be used, and what cannot be read

def scenario_bad_list(lab):
    """A list with errors refuses nothing while observing, at the start and after; with "enforce" it refuses everything."""
    edge = edge_server(lab, BAD + 's2s_partners_mode = "observe"\n', name="bad").start()
    with Client(ALICE, edge.address) as alice:
        edge.wait_log(rf"warn.*{OBSERVING}")
        is_open(lab, edge, alice)
        tells(edge, "from", EVIL, "config-invalid", 0)
        remote, domain = stranger(lab, "bad")
        alice.send_message(f"bob@{domain}", "out with a bad list")
        remote.wait_element("message")
        for command in ("list", "check"):
            shown = edge.shell(f"partners:{command}()", timeout=60)
            assert OBSERVING in shown.splitlines()[0] and "friendly" in shown, shown
        shown = edge.ctl("mod_s2s_partners", "check")
        assert shown.stdout.startswith(OBSERVING) and shown.returncode == 1, shown.stdout
        edge.partners = BAD + 's2s_partners_mode = "enforce"\n'
        mark = edge.mark()
        edge.reload()
        edge.wait_log(rf"Refused stream to {domain} .*: config-invalid", 5, mark)
        assert_all_refused(lab, edge, alice, "config-invalid")
        # And back, with the same errors.
        edge.partners = BAD + 's2s_partners_mode = "observe"\n'
        edge.reload()
        is_open(lab, edge, alice)
    edge.stop()


def scenario_no_shared_object(lab):
    """Nothing can judge: while observing nothing is refused, it is said at the start and at each reload; "enforce" closes, without a reload of the module."""
    copy = copy_of_module(lab, "noobject")
    without_object(copy)
    edge = edge_server(lab, observing(partner(FABRIKAM)), name="noobject", under_test=copy).start()
    with Client(ALICE, edge.address) as alice:
        edge.wait_log(r"error.*Nothing is judged.*shared object")
        edge.wait_log(rf"warn.*{OBSERVING}")
        is_open(lab, edge, alice)
        remote, domain = stranger(lab, "noobject")
        alice.send_message(f"bob@{domain}", "out without a judge")
        remote.wait_element("message")
        mark = edge.mark()
        edge.reload()
        edge.wait_log(rf"warn.*{OBSERVING}", 5, mark)
        with probe_of(lab, edge) as probe:
            probe.authenticate()
            edge.partners = configuration(partner(FABRIKAM), **ENFORCE)
            mark = edge.mark()
            edge.reload()
            edge.wait_log(r"error.*Federation is refused in both directions: .*shared object", 5, mark)
            # With an error, unless something of the probe's is on its way: then the system drops what was written last.
            closed_somehow(probe)
        assert_all_refused(lab, edge, alice, "internal-error")
        # To observe then, the module has to be loaded by hand: nobody else looks at the mode.
        edge.partners = observing(partner(FABRIKAM))
        edge.reload()
        assert_all_refused(lab, edge, alice, "internal-error")
        edge.shell('module:reload("s2s_partners")')
        is_open(lab, edge, alice)
    edge.stop()


def scenario_unloaded(lab):
    """Unloaded or reloaded while observing: nothing is refused; enforce is heard of even so."""
    edge = edge_server(lab, observing(partner(FABRIKAM)), name="unloaded").start()
    with Client(ALICE, edge.address) as alice, probe_of(lab, edge) as probe:
        probe.authenticate()
        for command in ("reload", "unload"):
            mark = edge.mark()
            edge.shell(f'module:{command}("s2s_partners")')
            edge.wait_log(rf"warn.*{OBSERVING}", 5, mark)
            passes_in(probe, EVIL, alice, f"after {command}")
            is_open(lab, edge, alice)
        edge.partners = configuration(partner(FABRIKAM), **ENFORCE)
        edge.reload()
        probe.read_close("policy-violation")
        assert_all_refused(lab, edge, alice, "internal-error")
        edge.shell('module:load("s2s_partners")')
        is_open(lab, edge, alice, FABRIKAM)
        is_closed(lab, edge)
    edge.stop()


UNREADABLE = ('"Observe"', '"observe "', "true", "1", "{ 'observe' }", '"observe\\0"', "function () return 'observe' end")


def scenario_unreadable_mode(lab):
    """Anything but the one word is "enforce": at a reload of a server that observes, and at the start."""
    edge = edge_server(lab, observing(partner(FABRIKAM)), name="words").start()
    with Client(ALICE, edge.address) as alice:
        for value in UNREADABLE:
            edge.partners = observing(partner(FABRIKAM))
            edge.reload()
            is_open(lab, edge, alice)
            edge.partners = configuration(partner(FABRIKAM)) + f"s2s_partners_mode = {value}\n"
            mark = edge.mark()
            edge.reload()
            is_closed(lab, edge)
            is_open(lab, edge, alice, FABRIKAM)     # the list before holds
            edge.wait_log("error.*s2s_partners_mode.*until this is corrected the server enforces", 5, mark)
        edge.restart()
        is_closed(lab, edge)
    edge.stop()


def scenario_mode_of_a_host(lab):
    """Written below a VirtualHost, where it is easily put by mistake: enforce, and an error."""
    edge = edge_server(lab, configuration(partner(FABRIKAM)), name="host", hosts={HOST: 's2s_partners_mode = "observe"'}).start()
    edge.wait_log("error.*s2s_partners_mode.*global section")
    is_closed(lab, edge)
    edge.hosts = {HOST: 's2s_partners_mode = "enforce"'}
    edge.partners = observing(partner(FABRIKAM))
    edge.reload()
    is_closed(lab, edge)
    edge.stop()


def scenario_handler_raises(lab):
    """An error in a handler of the module's is told, and costs nobody a stream."""
    folder = lab.directory / "raising"
    folder.mkdir()
    (folder / "mod_raising.lua").write_text("""
-- What the module reads first raises; core, which comes later, finds it as it was.
module:set_global();
module:add_timer(0.5, function ()
    for _, host in pairs(prosody.hosts) do
        host.events.add_handler("s2s-stream-features", function (event)
            local session = event.origin;
            local real = session.to_host;
            session.to_host = nil;
            setmetatable(session, { __index = function (_, key)
                if key == "to_host" then
                    setmetatable(session, nil);
                    session.to_host = real;
                    error("a fault");
                end
            end });
        end, 1001);
    end
end);
""")
    edge = edge_server(lab, observing(partner(FABRIKAM)), name="raising", plugins=[folder], modules=["raising"]).start()
    time.sleep(1)
    with Client(ALICE, edge.address) as alice:
        is_open(lab, edge, alice)
        is_open(lab, edge, alice, FABRIKAM)
    edge.wait_log(r"error.*Error while handling s2s-stream-features, would be refused: .*a fault", 5)
    edge.stop()


# In and out of it

def scenario_switch_judges_all(lab):
    """Streams of both directions, in the handshake too, when the mode changes; and the other way, nobody is closed."""
    edge = edge_server(lab, "", name="switch", s2s_timeout=60)       # what is halfway stays so, however long a busy machine takes
    northwind, listed = stranger(lab, "listed")
    evil, unlisted = stranger(lab, "unlisted")
    edge.partners = observing(partner(FABRIKAM), tls_dialback(listed))
    edge.start()
    with Client(ALICE, edge.address) as alice, probe_of(lab, edge) as evil_probe, probe_of(lab, edge, FABRIKAM) as good, \
            probe_of(lab, edge, "third.test") as halfway, probe_of(lab, edge, FABRIKAM) as begun:
        evil_probe.authenticate()
        good.authenticate()
        halfway.secure()
        begun.features()
        for domain, remote in ((listed, northwind), (unlisted, evil)):
            alice.send_message(f"bob@{domain}", f"first to {domain}")
            remote.wait_element("message")
        # The listed one's stream came about by EXTERNAL, which its entry does not have.
        checked = edge.shell("partners:check()", timeout=60)
        assert re.search(rf"out +{listed}, host {HOST}: sasl-not-supported", re.sub(r"\s+(\| )?", " ", checked)), checked
        edge.partners = edge.partners.replace("observe", "enforce")
        mark = edge.mark()
        edge.reload()
        for probe in (evil_probe, halfway):
            probe.read_close("policy-violation")
        passes_in(good, FABRIKAM, alice, "of one that conforms")
        assert begun.starttls() is None
        begun.authenticate()
        edge.wait_log(rf"Refused stream to {listed} \(.*sasl-not-supported", 5, mark)
        edge.wait_log(rf"Refused stream to {unlisted} \(.*unlisted-domain", 5, mark)
        alice.send_message(f"bob@{listed}", "second")
        northwind.wait_element(lambda element: element.name == "message" and element.find("body").text == "second")
        edge.wait_log(rf"Established stream to {listed} .*TLS dialback", 5, mark)
        edge.partners = edge.partners.replace("enforce", "observe")
        edge.write_config()
        checked = words(edge.shell("partners:check()", timeout=60))
        assert "NOTHING is refused any more" in checked and "Live streams that it closes" not in checked, checked
        applied = words(edge.shell("partners:commit()", timeout=60))
        assert "NOTHING is refused any more" in applied and 'mode "observe"; 0 live streams closed' in applied, applied
        passes_in(good, FABRIKAM, alice, "while observing again")
        is_open(lab, edge, alice)
    edge.stop()


def scenario_listed_meanwhile(lab):
    """A stream of a domain that is listed only later conforms then; one over which a second domain was authenticated does not."""
    edge = edge_server(lab, observing(), name="meanwhile").start()
    _, second = stranger(lab, "second")     # whose server vouches for the key below
    with Client(ALICE, edge.address) as alice, probe_of(lab, edge, FABRIKAM) as good, probe_of(lab, edge, "two.test") as two, \
            probe_of(lab, edge, "pinned.test") as pinned:
        good.authenticate()
        two.authenticate()
        assert two.dialback(from_=second) == "valid"
        pinned.authenticate()
        edge.partners = configuration(partner(FABRIKAM), any_method("two.test"), any_method(second),
                                      partner("pinned.test", pinned_keys=[lab.certificates.leaf("elsewhere.test").pin]), **ENFORCE)
        mark = edge.mark()
        edge.reload()
        passes_in(good, FABRIKAM, alice, "listed meanwhile")
        closed_somehow(two)
        pinned.read_close("not-authorized", r"\(certificate-pin-mismatch\)")
        edge.wait_log(r"Refused stream from two.test .*wrong-domain", 5, mark)
        assert "Refused stream from fabrikam.test" not in edge.log_since(mark)
    edge.stop()


def scenario_silent_connection(lab):
    """Who connects and says nothing meets Prosody's own clock, as if the module were not there."""
    edge = edge_server(lab, observing(partner(FABRIKAM)), name="silent", s2s_timeout=2).start()
    with socket.create_connection((edge.address, 5269), 5) as connection:
        connection.settimeout(8)
        while connection.recv(4096):
            pass
    edge.stop()


def scenario_said_daily(lab):
    """At the start, at each reload, and once a day."""
    clock = Clock(lab)
    edge = edge_server(lab, observing(partner(FABRIKAM)), name="daily", env=clock.env).start()
    edge.wait_log(rf"warn.*{OBSERVING}")
    mark = edge.mark()
    edge.reload()
    edge.wait_log(rf"warn.*{OBSERVING}", 5, mark)
    for days in (2, 4):
        mark = edge.mark()
        clock.set(days)
        edge.wait_log(rf"warn.*{OBSERVING}", 15, mark)
    edge.stop()
