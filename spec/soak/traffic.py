"""What goes on during a soak, each kind in a thread of its own."""

import collections
import itertools
import random
import threading
import time
import traceback

from lab.probe import Probe
from lab.xmlstream import TLS, Closed
from scenarios._edge import ALICE, HOST

from federation import CAROL, QUIET, RESTLESS, ROOMS, STRANGER, bobs, domains, families
from ledger import Accounted

PING = "<ping xmlns='urn:xmpp:ping'/>"
LAST = "<query xmlns='jabber:iq:last'/>"
PAUSE = 0.1     # seconds between messages, each way
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"


class Works:
    """start() ... stop(); `done` counts what was done, `problems` what went wrong in it."""

    def __init__(self, federation, ledger):
        self.federation, self.ledger = federation, ledger
        self.done = collections.Counter()
        self.problems = []
        self.clients = {}
        self.leaving = threading.Lock()
        self._stop = threading.Event()
        self._begun = time.monotonic()
        self._threads = []

    def client(self, jid):
        if jid not in self.clients:
            self.clients[jid] = Accounted(jid, self.federation.address_of(jid), self.ledger)
        return self.clients[jid]

    def leave(self, jid):
        with self.leaving:      # nobody is to take it for one that has not logged in yet
            client = self.clients.pop(jid, None)
        if client:
            client.close()

    def start(self):
        for jid in self.users():
            self.client(jid)
        self._stop.clear()
        self._begun = time.monotonic()
        self._threads = [threading.Thread(target=self._work, args=work, daemon=True) for work in self.works()]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            if thread.is_alive():
                self.problems.append(f"{thread.name} does not end")
        self._threads = []

    def close(self):
        for jid in list(self.clients):
            self.leave(jid)

    def _work(self, work, *arguments):
        try:
            work(*arguments)
        except Exception:   # in a thread nobody else would see it
            self.problems.append(traceback.format_exc())

    def quiet(self, domain):
        """Not at first: the shortest of soaks has something of everybody."""
        return domain.startswith("dialback") and int((time.monotonic() - self._begun) / QUIET) % 2 == 1

    def _pause(self, seconds):
        return self._stop.wait(seconds)

    @staticmethod
    def sues():
        return [f"sue@sasl.{top}" for top in families()]

    @staticmethod
    def eves():
        return [f"eve@{domain}" for domain in domains("unv")]

    def _message(self, way, sender, to):
        id_ = self.ledger.enter(way)
        self.client(sender).send_message(to, id_, id_=id_)


class Traffic(Works):
    """Ways are (direction, partner's domain)."""

    def users(self):
        return (ALICE, *bobs(), f"bob@{RESTLESS}", f"mallory@{STRANGER}", *self.eves(), *self.sues())

    def works(self):
        return [*((work,) for work in (self.outgoing, self.incoming, self.requests, self.presence, self.strangers, self.rooms)),
                *((self.subscriptions, sue) for sue in self.sues())]

    def outgoing(self):
        """alice writes to everybody, in turn."""
        for jid in itertools.cycle((*bobs(), f"bob@{RESTLESS}", f"mallory@{STRANGER}", *self.eves())):
            domain = jid.partition("@")[2]
            if self.quiet(domain):
                continue
            self._message(("out", domain) if not jid.startswith("eve@") else ("not listed, out", domain), ALICE, jid)
            if self._pause(PAUSE):
                return

    def incoming(self):
        senders = [(("in", jid.partition("@")[2]), jid) for jid in (*bobs(), f"mallory@{STRANGER}", f"bob@{RESTLESS}")]
        senders += [(("not listed, in", jid.partition("@")[2]), jid) for jid in self.eves()]
        for way, jid in itertools.cycle(senders):
            if self.quiet(way[1]):
                continue
            with self.leaving:
                if jid in self.clients:     # who is being restarted has none
                    self._message(way, jid, ALICE)
            if self._pause(PAUSE):
                return

    def requests(self):
        """Both ways, to domains and to users."""
        rounds = itertools.cycle(domains("sasl", "tcp"))
        while not self._pause(0.5):
            domain = next(rounds)
            bob = self.client(f"bob@{domain}")
            for client, to, inside in ((self.client(ALICE), domain, PING), (self.client(ALICE), bob.full_jid, LAST),
                                       (bob, HOST, PING)):
                answer = client.iq(to, inside, timeout=20)
                self.done["requests"] += 1
                if inside == PING and answer.get("type") != "result":
                    self.problems.append(f"{client.jid} asked {to}: {answer}")

    def presence(self):
        """Notes to everybody; carol comes and goes, with presence to a contact that is not told when she leaves."""
        for number in itertools.count():
            self.client(ALICE).presence(status=f"note {number}")
            for domain in domains("sasl", "tcp", "come"):
                self.client(f"bob@{domain}").presence(status=f"note {number}")
            if number % 5 == 0:
                with Accounted(CAROL, self.federation.edge.address, self.ledger) as carol:
                    carol.presence(to=f"bob@{domains('unv')[0]}")
                    carol.presence(to=f"bob@{domains('sasl')[0]}")
                    carol.iq(HOST, PING)
                self.done["log-ins"] += 1
            self.done["presences"] += 1
            if self._pause(2):
                return

    def rooms(self):
        for number, domain in enumerate(itertools.cycle(domains("sasl"))):
            if self._pause(3):
                return
            bob, room = self.client(f"bob@{domain}"), f"room{number % 3}@{ROOMS}"
            mark = bob.mark()
            bob.presence(to=f"{room}/bob", inside=MUC)
            bob.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.get("from") == f"{room}/bob", 20, max(0, mark - bob.KEPT - 1))
            bob.presence(to=f"{room}/bob", type_="unavailable")
            self.done["rooms"] += 1

    def subscriptions(self, sue):
        """Asked for and given without the user; taken back; the other way round, and taken back too."""
        client, alice = self.client(sue), self.client(ALICE)

        def until(alices, hers):
            wanted = (alices, hers)
            for _ in range(150):
                found = [one.roster().get(jid, {}).get("subscription") for one, jid in ((alice, sue), (client, ALICE))]
                if tuple(found) == wanted:
                    return
                time.sleep(0.2)
            raise AssertionError(f"alice and {sue} have {found}, not {wanted}")
        while not self._pause(1):
            client.forget()
            alice.roster_set(sue)       # she had removed, that is cancelled, it
            client.subscribe(ALICE)
            until("from", "to")
            alice.subscribe(sue)
            client.wait_presence(ALICE, "subscribe", 20)
            client.authorise(ALICE)
            until("both", "both")
            alice.presence(sue, "unsubscribe")
            client.presence(ALICE, "unsubscribe")
            until("none", "none")
            alice.roster_set(sue, remove=True)
            client.roster_set(ALICE, remove=True)
            self.done["subscription rounds"] += 1

    def strangers(self):
        """Raw peers: unlisted, without certificate, with a bad one, silent, half-open, gone in the middle."""
        edge, certificates = self.federation.edge, self.federation.lab.certificates
        listed = domains("sasl")[0]
        held = collections.deque()
        choice = random.Random(1)
        tries = {
            "unlisted": lambda probe: probe.secure(from_="evil.test"),
            "no certificate": lambda probe: probe.secure(),
            "key": lambda probe: (probe.secure(), probe.send_result()),
            "key in clear": lambda probe: (probe.features(), probe.send_result()),
            "stanza": lambda probe: (probe.features(), probe.message(f"bob@{listed}", ALICE, "stolen", id_="stolen")),
            "silent": lambda probe: None,
            "half-open": lambda probe: (probe.features(), probe.send(f"<starttls xmlns='{TLS}'/>")),
            "no from": lambda probe: probe.features(from_=None),
            "garbage": lambda probe: probe.send("<garbage" * 50),
        }
        while not self._pause(0.4):
            name = choice.choice(sorted(tries))
            leaf = certificates.leaf(listed, choice.choice(("expired", "self-signed", "good"))) if name == "unlisted" else None
            try:
                probe = Probe(edge.address, from_=listed, to=HOST, leaf=leaf, timeout=2, source=f"127.9.0.{choice.randint(1, 20)}")
                held.append(probe)
                tries[name](probe)
            except (Closed, TimeoutError, OSError, AssertionError):
                pass
            self.done["strangers"] += 1
            while len(held) > choice.randint(0, 12):
                held.popleft().close()
        while held:
            held.popleft().close()
