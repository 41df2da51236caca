"""The soak of relay hosts: an edge without users, a Prosody and an ejabberd behind it, and both restarted now and then.

Every message is accounted for: what a user writes while both ways stand is delivered, or returned where a stream could not be made in time, what
comes while the server inside is gone is returned. For that traffic is held, and what is under way awaited, before a server inside ends or the module
is reloaded: what has been written to somebody who is just going is lost between any two servers."""

import collections
import contextlib
import itertools
import random
import re
import threading
import time

from lab.dns import Dns
from lab.edge_ejabberd import EdgeEjabberd
from lab.probe import Probe
from lab.prosody import Prosody
from lab.waiting import wait_until
from lab.xmlstream import TLS, Closed
from scenarios._edge import HOST, configuration

from federation import LIMITS, RESTLESS, STRANGER, Partners, bobs, domains, entries, steady
from ledger import Accounted
from traffic import LAST, MUC, PAUSE, PING, Works

OTHER = "litware.test"
INSIDES = {HOST: "prosody", OTHER: "ejabberd"}
INACTIVITY, CYCLE = 30, 5       # seconds; in the second of them every stream has something to carry, in the first on a busy machine too
ESTABLISHMENT = 10      # seconds: a server inside that has just started makes twenty streams at once, with a key to be asked about for each
DOWN = 3        # messages of each partner while the server inside is gone
RETURNED = {"remote-server-timeout"}


def rooms_of(host):
    return f"rooms.{host}"


def alice(host):
    return f"alice@{host}"


def text(**changes):
    """Automatic authorisation is an error at a relay host."""
    return configuration(*({**entry, "presence_authorization": "user"} for entry in entries(**changes)),
                         s2s_partners_limits={**LIMITS, "establishment_timeout": ESTABLISHMENT, "inactivity_timeout": INACTIVITY})


class Federation(Partners):
    """All servers, started."""

    def __init__(self, lab, version):
        super().__init__(lab)
        self.inner_address = lab.address()
        self.view = Dns(lab, address="127.0.54.1", name="view")
        self.view.redirect(self.inner_address)
        places = {host: lab.address() for host in INSIDES}
        relay = {host: f's2s_inside = {{ server = "{place}:5269"; sasl = "not_supported"; dialback = true }}\n' for host, place in places.items()}
        self.interfaces = f's2s_inside_interfaces = {{ "{self.inner_address}" }}\n'
        self.edge = Prosody(lab, "edge", {"edge.test": "", **{host: 'modules_disabled = { "c2s" }\n' + relay[host] for host in INSIDES}},
                            components={rooms_of(host): ("s2s_inside", relay[host]) for host in INSIDES}, partners=self.text(), version=version,
                            log_level="info", s2s_timeout=60, modules=["lab_measure", "s2s_bidi"], options='statistics = "internal"\n').start()
        self.insides = {}
        for host, kind in INSIDES.items():
            common = {"users": [alice(host), f"carol@{host}"], "components": {rooms_of(host): ("muc", "muc_room_locking = false\n")},
                      "address": places[host], "register": False, "log_level": "info"}
            if kind == "prosody":
                server = Prosody(lab, "inside-prosody", [host], preset="any", **common, options="unbound = { resolvconf = false; hoststxt = false; "
                                 f'forward = "{self.view.address}@{self.view.port}"; options = {{ ["local-zone:"] = "test. transparent" }} }}\n')
            else:
                server = EdgeEjabberd(lab, "inside-ejabberd", [host], **common, options="s2s_require_encryption = true\n",
                                      certificates=dict.fromkeys((host, rooms_of(host)), "self-signed"))
                server.dns = self.view
            server.set_roster(alice(host), {jid: "both" for jid in bobs() if "dialback" not in jid})
            self.insides[host] = server.start()
        self.start_partners([alice(host) for host in INSIDES])

    def text(self, **changes):
        return text(**changes) + self.interfaces

    def server_of(self, domain):
        return self.insides.get(domain) or super().server_of(domain)


class Gate:
    """Work goes through it; while it is held nobody is inside."""

    def __init__(self):
        self._changed = threading.Condition()
        self._held, self._inside = 0, 0

    @contextlib.contextmanager
    def through(self):
        with self._changed:
            self._changed.wait_for(lambda: not self._held)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def held(self, timeout):
        with self._changed:
            self._held += 1
            if not self._changed.wait_for(lambda: not self._inside, timeout):
                self._held -= 1
                self._changed.notify_all()
                raise TimeoutError("work that is under way does not end")
        try:
            yield
        finally:
            with self._changed:
                self._held -= 1
                self._changed.notify_all()


class Traffic(Works):
    """Ways are (direction, partner's domain, host)."""

    def __init__(self, federation, ledger):
        super().__init__(federation, ledger)
        self.gates = {host: Gate() for host in INSIDES}
        self.lost = collections.Counter()       # way: messages that nobody waits for any more

    def users(self):
        return (*map(alice, INSIDES), *bobs(), f"bob@{RESTLESS}", f"mallory@{STRANGER}", *self.eves(), *self.sues())

    def works(self):
        each = (self.outgoing, self.incoming, self.requests, self.presence, self.rooms, self.subscriptions)
        return [(self.strangers,), *((work, host) for work in each for host in INSIDES)]

    @contextlib.contextmanager
    def calm(self, *hosts, timeout=60):
        """Nobody writes to or from users of these hosts, and nothing is under way that has to come."""
        with contextlib.ExitStack() as held:
            for host in hosts:
                held.enter_context(self.gates[host].held(timeout))
            # Of others the partner's server may be the one that says nothing.
            ways = {way for way in self.ledger.sent if way[2] in hosts and (way[1] in steady() or way[0] != "in" and way[1] != RESTLESS)}
            try:
                wait_until(lambda: not self.ledger.open(ways) - self.lost, 20, "arrival of what is under way")
            except TimeoutError:        # told once; the other messages go on
                lost = self.ledger.open(ways) - self.lost
                self.lost += lost
                self.problems.append(f"{time.strftime('%H:%M:%S')} lost: {dict(lost)}, {self.ledger.open_ids(ways)}")
                print(f"# {self.problems[-1]}", flush=True)
            yield

    def outgoing(self, host):
        others = [other for other in INSIDES if other != host]
        for jid in itertools.cycle((*bobs(), f"bob@{RESTLESS}", f"mallory@{STRANGER}", *self.eves(), *map(alice, others))):
            domain = jid.partition("@")[2]
            if self.quiet(domain):
                continue
            kind = "not listed, out" if jid.startswith("eve@") else "between insides" if domain in INSIDES else "out"
            with self.gates[host].through():
                self._message((kind, domain, host), alice(host), jid)
            if self._pause(PAUSE):
                return

    def incoming(self, host):
        senders = [("in", jid) for jid in (*bobs(), f"mallory@{STRANGER}", f"bob@{RESTLESS}")] + [("not listed, in", jid) for jid in self.eves()]
        for kind, jid in itertools.cycle(senders):
            domain = jid.partition("@")[2]
            if self.quiet(domain):
                continue
            with self.gates[host].through():
                with self.leaving:
                    if jid in self.clients:     # who is being restarted has none
                        self._message((kind, domain, host), jid, alice(host))
            if self._pause(PAUSE):
                return

    def while_down(self, host):
        """What partners send to a server inside that is gone."""
        for _ in range(DOWN):
            for domain in steady():
                self._message(("down", domain, host), f"bob@{domain}", alice(host))
            time.sleep(0.3)
        ways = {("down", domain, host) for domain in steady()}
        wait_until(lambda: not self.ledger.open(ways), 30, "answer to everything that was sent to a server inside that is gone")

    def requests(self, host):
        for domain in itertools.cycle(domains("sasl", "tcp")):
            if self._pause(0.5):
                return
            with self.gates[host].through():
                bob = self.client(f"bob@{domain}")
                for client, to, inside in ((self.client(alice(host)), domain, PING), (self.client(alice(host)), bob.full_jid, LAST), (bob, host, PING)):
                    answer = client.iq(to, inside, timeout=20)
                    self.done["requests"] += 1
                    if inside == PING and answer.get("type") != "result":
                        self.problems.append(f"{client.jid} asked {to}: {answer}")

    def presence(self, host):
        for number in itertools.count():
            with self.gates[host].through():
                self.client(alice(host)).presence(status=f"note {number}")
                for domain in domains("sasl", "tcp", "come"):
                    self.client(f"bob@{domain}").presence(status=f"note {number}")
                if number % 5 == 0:
                    with Accounted(f"carol@{host}", self.federation.address_of(alice(host)), self.ledger) as carol:
                        carol.presence(to=f"bob@{domains('sasl')[0]}")
                        carol.iq(host, PING)
                    self.done["log-ins"] += 1
            self.done["presences"] += 1
            if self._pause(2):
                return

    def rooms(self, host):
        for number, domain in enumerate(itertools.cycle(domains("sasl"))):
            if self._pause(3):
                return
            with self.gates[host].through():
                bob, room = self.client(f"bob@{domain}"), f"room{number % 3}@{rooms_of(host)}"
                mark = bob.mark()
                bob.presence(to=f"{room}/bob", inside=MUC)
                bob.wait_stanza(lambda stanza, room=room: stanza.name == "presence" and stanza.get("from") == f"{room}/bob", 20, max(0, mark - bob.KEPT - 1))
                bob.presence(to=f"{room}/bob", type_="unavailable")
            self.done["rooms"] += 1

    def subscriptions(self, host):
        """Asked for, given by the user, taken back; the other way round, and taken back too."""
        sue = self.sues()[list(INSIDES).index(host) % len(self.sues())]
        client, user = self.client(sue), alice(host)

        def until(alices, hers):
            for _ in range(150):
                found = [one.roster().get(jid, {}).get("subscription") for one, jid in ((self.client(user), sue), (client, user))]
                if found == [alices, hers]:
                    return
                time.sleep(0.2)
            raise AssertionError(f"{user} and {sue} have {found}, not {alices}, {hers}")
        while not self._pause(1):
            with self.gates[host].through():
                one = self.client(user)
                one.forget()
                client.forget()
                client.subscribe(user)
                one.wait_presence(sue, "subscribe", 20)
                one.authorise(sue)
                until("from", "to")
                one.subscribe(sue)
                client.wait_presence(user, "subscribe", 20)
                client.authorise(user)
                until("both", "both")
                one.roster_set(sue, remove=True)
                client.wait_presence(user, "unsubscribed", 20)
                client.roster_set(user, remove=True)
                wait_until(lambda: sue not in self.client(user).roster() and user not in client.roster(), 20, "end of a subscription")
            self.done["subscription rounds"] += 1

    def strangers(self):
        """Raw peers at both sides: unlisted, no relay host, silent, half-open, gone in the middle, forgers."""
        edge, inner, listed = self.federation.edge.address, self.federation.inner_address, domains("sasl")[0]
        choice, held = random.Random(1), []
        tries = {
            "unlisted": lambda probe: probe.open(from_="evil.test"),
            "key": lambda probe: (probe.secure(), probe.send_result()),
            "stanza": lambda probe: (probe.features(), probe.message(f"bob@{listed}", alice(HOST), "stolen", id_="stolen")),
            "silent": lambda probe: None,
            "half-open": lambda probe: (probe.features(), probe.send(f"<starttls xmlns='{TLS}'/>")),
            "garbage": lambda probe: probe.send("<garbage" * 50),
        }
        while not self._pause(0.4):
            name, inside = choice.choice(sorted(tries)), choice.random() < 0.5
            ends = {"from_": choice.choice(list(INSIDES)), "to": listed} if inside else {"from_": listed, "to": HOST}
            try:
                probe = Probe(inner if inside else edge, **ends, timeout=2, source=f"127.9.0.{choice.randint(1, 20)}")
                held.append(probe)
                tries[name](probe)
            except (Closed, TimeoutError, OSError, AssertionError):
                pass
            self.done["strangers"] += 1
            while len(held) > choice.randint(0, 12):
                held.pop(0).close()
        while held:
            held.pop(0).close()


def inner_streams(edge):
    """How many streams and waiting stanzas there are of the inner side."""
    said = edge.shell("partners:inside()")
    found = re.search(r"relay hosts, (\d+) streams?", said)
    if not found:
        raise RuntimeError(f"partners:inside() does not tell its streams: {said}")
    return int(found[1]) + sum(map(int, re.findall(r"waiting\s+(\d+) stanza", said)))


def restart_inside(soak, host, number):
    """In turn: killed, and ended in good order."""
    traffic, server = soak.traffic, soak.federation.insides[host]
    began = time.monotonic()        # from now on less and less is written
    with traffic.calm(host):
        traffic.leave(alice(host))
        if number % 2:
            server.stop()
        else:
            if INSIDES[host] == "ejabberd":
                server.evaluate("mnesia:sync_log()")    # it would have forgotten the last changes of rosters
            server.kill()
        time.sleep(1)       # the edge knows that the connections are gone
        traffic.while_down(host)
        server.start()
        time.sleep(1.5)     # after a failure nothing is tried for a second
        traffic.client(alice(host))
        if time.monotonic() - began > INACTIVITY - CYCLE:
            time.sleep(INACTIVITY + 4)      # streams end about now without stanzas: what is written to one that does is lost


def must_arrive():
    return {(direction, domain, host) for domain in steady() for direction in ("in", "out") for host in INSIDES}


def judge_messages(checks, ledger):
    def told(way):
        return ", ".join(f"{number} {condition}" for condition, number in sorted(ledger.returned_on(way).items())) or "none"
    print(f"{'way':52}{'sent':>8}{'delivered':>11}{'silent':>8}  returned")
    silent = ledger.open()
    for way in sorted(ledger.sent):
        print(f"{' '.join(way):52}{ledger.sent[way]:8}{ledger.delivered[way]:11}{silent[way]:8}  {told(way)}")
    for way in sorted(must_arrive()):
        # On a busy machine a stream may take longer than the limits give it; the sender hears of it.
        back = sum(ledger.returned_on(way).values())
        checks.check(ledger.sent[way] and ledger.delivered[way] + back == ledger.sent[way] and set(ledger.returned_on(way)) <= RETURNED
                     and back <= ledger.sent[way] // 50, f"{' '.join(way)}: every message delivered, or returned ({back})")
    # An answer that cannot be handed over is dropped (docs/boundary.md): so few, and where nothing was to be delivered.
    refused = {way for way in ledger.sent if way[0].startswith("not listed") or way[1] == STRANGER or way[1] in domains("come")}
    lost = [way for way in ledger.sent if silent[way] > (max(1, ledger.sent[way] // 50) if way in refused else 0) and way[0] != "in" and way[1] != RESTLESS]
    checks.check(not lost, f"but for what partners' servers refuse and who is killed, nobody's message was lost without a word {lost or ''}")
    for kind in ("not listed, out", "not listed, in", "between insides"):
        ways = [way for way in ledger.sent if way[0] == kind]
        checks.check(ways and not any(ledger.delivered[way] for way in ways), f"{kind}: messages returned, none delivered")
    ways = [way for way in ledger.sent if way[1] == STRANGER]
    checks.check(ways and not any(ledger.delivered[way] for way in ways), "the stranger: messages returned, none delivered")
    for host, kind in INSIDES.items():
        ways = [way for way in ledger.sent if way[0] == "down" and way[2] == host]
        good = ways and all(sum(ledger.returned_on(way).values()) == ledger.sent[way] and set(ledger.returned_on(way)) <= RETURNED for way in ways)
        checks.check(good, f"to the {kind} inside while it was gone: every message returned")
        for domain in domains("come", "change"):
            wanted = RETURNED | {"not-allowed"} if domain.startswith("come") else RETURNED
            checks.check(set(ledger.returned_on(("out", domain, host))) <= wanted, f"out {domain} from {host}: returned only where it was not listed")
    checks.check(not ledger.twice, f"no message came twice {ledger.twice[:5] or ''}")
    for domain in (*domains("come", "change"), RESTLESS):
        some = all(ledger.delivered[direction, domain, host] for direction in ("in", "out") for host in INSIDES)
        checks.check(some, f"{domain}: some came through, both ways, to and from both insides")
