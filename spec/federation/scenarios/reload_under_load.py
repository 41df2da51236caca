"""Reloads under traffic, with streams in every stage: what becomes of every single message.

S2SP_RELOADS says how many (30). Each message is delivered, or its sender is told; what the policy in force does not allow is
never delivered; what waits for a partner that is allowed throughout is neither lost nor returned."""

import itertools
import os
import re
import signal
import threading
import time

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import Closed

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner, tls_dialback

RELOADS = int(os.environ.get("S2SP_RELOADS", "30"))
TIMEOUT = 120 + RELOADS * 6
STEADY, COMING, CHANGING, SLOW = "steady.test", "coming.test", "changing.test", "slow.test"
SLOWLY = [f"s{number}.{SLOW}" for number in range(RELOADS // 3 + 1)]     # a new stream, with messages waiting, at every third
# In turn: everybody; one partner gone; another authenticated in another way; both; and a file that is not applied.
POLICIES = [
    [partner(STEADY), partner(COMING), partner(CHANGING), partner(SLOW, "*." + SLOW)],
    [partner(STEADY), partner(CHANGING), partner(SLOW, "*." + SLOW)],
    [partner(STEADY), partner(COMING), tls_dialback(CHANGING), partner(SLOW, "*." + SLOW)],
    [partner(STEADY), tls_dialback(CHANGING), partner(SLOW, "*." + SLOW)],
    [partner(STEADY, tls="requried")],
]
PING, ANSWER, AHEAD = "<ping xmlns='urn:xmpp:ping'/>", 60, 20
APPLIED = r"Partner configuration applied|has errors and was not applied"
READ_ONCE_MORE = 20     # seconds after which at the latest a reload is looked for of which nothing has come (docs/operating.md)
HOST_FAULTS = {"0.12": r"Error in timer: attempt to call a nil value"}     # that is how one is lost; see there


def message_id(element):
    return element.get("id") if element.name == "message" and element.get("type") != "error" else None


class Traffic:
    """Messages both ways until stop(); what became of each."""

    def __init__(self, lab, edge, alice, remotes):
        self.lab, self.edge, self.alice, self.remotes = lab, edge, alice, remotes
        self.slow = SLOWLY[0]
        self.forbidden_since = None         # of COMING: set while it is certainly not listed
        self.sent_out, self.sent_in = {}, {}
        self.must_not_pass = set()
        self.stream_ends = []
        self.problems = []
        self.judging = threading.Lock()     # around what is numbered by what is allowed, and sent
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self.threads = [threading.Thread(target=self.outgoing, daemon=True)]
        self.threads += [threading.Thread(target=self.incoming, args=[domain], daemon=True)
                         for domain in (STEADY, COMING, CHANGING)]
        for thread in self.threads:
            thread.start()

    def new_id(self, way, domain):
        id_ = f"{way}-{domain.partition('.')[0]}-{next(self._numbers)}"
        if domain == COMING and self.forbidden_since:
            self.must_not_pass.add(id_)
        return id_

    def outgoing(self):
        try:
            for number, domain in enumerate(itertools.cycle((STEADY, COMING, CHANGING, SLOW))):
                if self._stop.is_set():
                    return
                domain = self.slow if domain == SLOW else domain
                with self.judging:
                    id_ = self.new_id("out", domain)
                    self.sent_out[id_] = domain
                    self.alice.send_message(f"bob@{domain}", id_, id_=id_)
                time.sleep(0.01)
                if number % AHEAD == 0:     # a busy machine's server is not to have ever more before it
                    self.alice.iq(HOST, PING, timeout=ANSWER)
        except TimeoutError as problem:
            self.problems.append(problem)

    def incoming(self, domain):
        """One stream after the other; each ends when the edge closes it."""
        leaf = self.lab.certificates.leaf(domain)
        while not self._stop.is_set():
            sent = []
            try:
                with Probe(self.edge.address, from_=domain, to=HOST, leaf=leaf) as probe:
                    self.authenticate(probe)
                    while not self._stop.is_set():
                        id_ = self.new_id("in", domain)
                        probe.message(f"bob@{domain}", ALICE, id_, id_=id_)
                        sent.append(id_)
                        self.sent_in[id_] = None
                        try:
                            probe.read(0.02)
                        except TimeoutError:
                            pass
            except Closed as closed:
                reason = closed.error.error_text if closed.error is not None else "closed without a word"
                self.stream_ends.append((domain, reason))
                for id_ in sent:
                    self.sent_in[id_] = reason
                time.sleep(0.05)
            except (OSError, TimeoutError, AssertionError) as problem:
                for id_ in sent:
                    self.sent_in[id_] = repr(problem)
                time.sleep(0.05)

    @staticmethod
    def authenticate(probe):
        features = probe.secure()
        if features.find("mechanisms"):
            if probe.external().name == "success":
                probe.features()
        else:
            assert probe.dialback() == "valid"

    def stop(self):
        self._stop.set()
        for thread in self.threads:
            thread.join(15)


class Stages:
    """Streams that stop at each stage of the handshake, both ways."""

    def __init__(self, lab, edge):
        self.lab, self.edge = lab, edge
        self.probes = []

    def renew(self, domain):
        for probe in self.probes:
            probe.close()
        self.probes = []
        for steps in (("connected",), ("features",), ("secure",), ("secure", "external")):
            probe = Probe(self.edge.address, from_=domain, to=HOST, leaf=self.lab.certificates.leaf(domain), timeout=3)
            self.probes.append(probe)
            try:
                for step in steps:
                    if step != "connected":
                        getattr(probe, step)()
            except (Closed, TimeoutError, AssertionError, OSError):
                pass


def setup(lab):
    lab.edge = edge_server(lab, configuration(*POLICIES[0]), s2s_timeout=60).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    lab.remotes_by_domain = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain))
                             for domain in (STEADY, COMING, CHANGING)}
    slow = Remote(lab, SLOWLY, leaf=lab.certificates.leaf(SLOW, also=["*." + SLOW]))
    greet = slow.greet

    def slowly(connection):
        time.sleep(0.7)
        greet(connection)
    slow.greet = slowly
    lab.remotes_by_domain[SLOW] = slow
    return lab


def reload_edge(edge, entries):
    edge.partners = configuration(*entries)
    if edge.host == "ejabberd":     # which a signal would end; by its command, one that is not applied has an answer too
        edge.reload()
        return
    edge.write_config()
    mark = edge.mark()
    edge.process.signal(signal.SIGHUP)
    edge.wait_log(APPLIED, READ_ONCE_MORE + 20, mark)


def scenario_every_message_is_accounted_for(lab):
    edge, alice = lab.edge, lab.alice
    traffic = Traffic(lab, edge, alice, lab.remotes_by_domain)
    stages = Stages(lab, edge)
    listed = True
    try:
        for number in range(RELOADS):
            entries = POLICIES[number % len(POLICIES)]
            stages.renew((STEADY, COMING, CHANGING)[number % 3])
            traffic.slow = SLOWLY[number // 3]
            broken = any(entry["tls"] == "requried" for entry in entries)
            if not broken and any(entry["domain"] == COMING for entry in entries):
                with traffic.judging:
                    traffic.forbidden_since = None
                time.sleep(0.2)     # what was sent before is to be judged before
                alice.iq(HOST, PING, timeout=ANSWER)
            reload_edge(edge, entries)
            if not broken:
                listed = any(entry["domain"] == COMING for entry in entries)
                traffic.forbidden_since = None if listed else time.monotonic()
            time.sleep(0.25)
    finally:
        with traffic.judging:
            traffic.forbidden_since = None
        time.sleep(0.2)
        alice.iq(HOST, PING, timeout=ANSWER)
        reload_edge(edge, POLICIES[0])
        time.sleep(0.5)
        traffic.stop()
        for probe in stages.probes:
            probe.close()
    account(lab, traffic)


def account(lab, traffic):
    alice = lab.alice

    def delivered_out():
        # Errors are left out: what came in over a stream whose end was on its way may be answered with one.
        return [id_ for remote in lab.remotes_by_domain.values() for id_ in map(message_id, remote.elements("message")) if id_]

    def bounced():
        return {stanza.get("id"): (stanza.condition, stanza.error_text) for stanza in list(alice.stanzas)
                if stanza.name == "message" and stanza.get("type") == "error"}

    def missing():
        return set(traffic.sent_out) - set(delivered_out()) - set(bounced())

    def came():
        return {message_id(stanza) for stanza in list(alice.stanzas)}

    def unaccounted():
        return {id_ for id_, reason in traffic.sent_in.items() if reason is None} - came()
    try:
        # The last ones may be on their way, in both directions.
        wait_until(lambda: not missing() and not unaccounted(), 15, "end of all messages")
    except TimeoutError:
        pass
    lost = missing()
    arrived = delivered_out()
    twice = {id_ for id_ in arrived if arrived.count(id_) > 1}
    came_in, in_unaccounted = came(), unaccounted()
    reasons = sorted({re.sub(r".*\((.*)\)$", r"\1", reason or "") for reason in traffic.sent_in.values() if reason})
    told = sorted({condition for condition, _ in bounced().values()})
    slow_returned = {id_: text for id_, text in bounced().items() if traffic.sent_out.get(id_) in (STEADY, *SLOWLY)}
    changing_returned = {id_: text for id_, text in bounced().items() if traffic.sent_out.get(id_) == CHANGING}
    print(f"# {RELOADS} reloads: out {len(traffic.sent_out)} sent, {len(set(arrived))} delivered, {len(bounced())} returned {told}, "
          f"{len(lost)} lost, {len(twice)} twice; in {len(traffic.sent_in)} sent, "
          f"{sum(id_ in traffic.sent_in for id_ in set(came_in))} delivered, "
          f"{sum(id_ not in came_in for id_ in traffic.sent_in)} on streams that were closed {reasons}, "
          f"{len(in_unaccounted)} unaccounted; {len(traffic.stream_ends)} incoming streams closed; "
          f"{len(traffic.must_not_pass)} sent while not allowed", flush=True)
    assert not traffic.problems, traffic.problems
    assert not lost, sorted(lost)[:10]
    assert not twice, sorted(twice)[:10]
    assert not in_unaccounted, sorted(in_unaccounted)[:10]
    passed = traffic.must_not_pass & (set(arrived) | set(came_in))
    assert not passed, f"delivered although not allowed: {sorted(passed)[:10]}"
    assert not slow_returned, dict(list(slow_returned.items())[:5])
    assert not changing_returned, dict(list(changing_returned.items())[:5])
    assert all(condition in ("not-allowed",) for condition in told), told
