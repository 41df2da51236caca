"""A partner, and the edge itself, killed with SIGKILL under traffic: the same is lost as with a Prosody that has no module, all else
is delivered or returned, and the policy holds from the first moment of the new life."""

import contextlib
import signal
import threading
import time

from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.waiting import wait_until
from lab.xmlstream import Closed

from scenarios._edge import ALICE, HOST, configuration, edge_server, heard, partner
from scenarios._faults import Numbered, in_short, losses

TIMEOUT = 120
FABRIKAM, EVIL, BARE = "fabrikam.test", "evil.test", "bare.test"
BOB = f"bob@{FABRIKAM}"
KILLS = 3


def setup(lab):
    for domain, kind in ((EVIL, "good"), (FABRIKAM, "good"), (FABRIKAM, "expired")):
        lab.certificates.leaf(domain, kind)     # not by several threads at once
    lab.edge = edge_server(lab, configuration(partner(FABRIKAM)), log_level="info").start()
    lab.bare = Prosody(lab, "bare", [BARE], users=[f"alice@{BARE}"], preset="any", log_level="info").start()
    lab.partner = Prosody(lab, "partner", [FABRIKAM], users=[BOB], preset="any", log_level="info").start()
    return lab


class Session:
    """A client that logs in again when its server is back; what it has got in all its lives."""

    def __init__(self, jid, server):
        self.jid, self.server, self.stanzas = jid, server, []
        self.client = Client(jid, server.address)

    def end(self):
        if self.client:
            self.client.close()
            self.stanzas += self.client.stanzas
            self.client = None

    def again(self):
        self.end()
        self.client = Client(self.jid, self.server.address)

    def all(self):
        return self.stanzas + (self.client.stanzas if self.client else [])

    def send_message(self, to, body, id_):
        client = self.client
        try:
            if client:
                client.send_message(to, body, id_=id_)
        except RuntimeError:    # it has just been closed
            pass
        return id_


def passes(alice, bob, word):
    """One each way, however often it takes: a server that has just come up may still be refused by the other's memory."""
    for sender, to, receiver in ((alice, bob.jid, bob), (bob, alice.jid, alice)):
        def goes(sender=sender, to=to, receiver=receiver):
            id_ = sender.client.send_message(to, word)
            try:
                wait_until(lambda: any(id_ == stanza.get("id") and word in str(stanza) for stanza in receiver.client.stanzas) or
                           any(id_ == stanza.get("id") and stanza.get("type") == "error" for stanza in sender.client.stanzas), 5, "answer")
            except TimeoutError:    # written into a stream whose end was on its way
                return False
            return any(id_ == stanza.get("id") and stanza.get("type") != "error" for stanza in receiver.client.stanzas)
        wait_until(goes, 30, f"{word} from {sender.jid} to {to}")


# The partner

def partner_killed(lab, server, jid):
    """(fates of what was sent while it hung with a stream, without one, after its end, and when it was back)"""
    alice, bob = Session(jid, server), Session(BOB, lab.partner)
    passes(alice, bob, "before")
    told = []
    for name in ("with a stream", "without one"):
        hanging, gone = Numbered(f"{jid} {name}", alice, BOB), Numbered(f"{jid} {name} gone", alice, BOB)
        bob.end()
        lab.partner.process.signal(signal.SIGSTOP)
        for _ in range(5):
            hanging.send()
        alice.client.iq(None, "<query xmlns='jabber:iq:roster'/>")
        lab.partner.kill()
        wait_until(lambda: FABRIKAM not in server.shell("s2s:show()"), 15, "end of the streams", interval=0.2)
        for _ in range(3):
            gone.send()
        wait_until(lambda: returned(alice, gone) == 3, 15, "return of what was sent to nobody")
        told.append((hanging, gone))
        lab.partner.start()
        if name == "with a stream":     # and leave it without
            bob.again()
            passes(alice, bob, "in between")
            server.shell(f's2s:close("{server.domains[0]}", "{FABRIKAM}")')
            server.shell(f's2s:close("{FABRIKAM}", "{server.domains[0]}")')
            wait_until(lambda: FABRIKAM not in server.shell("s2s:show()"), 15, "end of the streams", interval=0.2)
    bob.again()
    passes(alice, bob, "after")
    fates = [(hanging.fates(bob.all(), alice.all()), gone.fates(bob.all(), alice.all())) for hanging, gone in told]
    alice.end()
    bob.end()
    return fates


def returned(alice, messages):
    return sum(stanza.get("type") == "error" and stanza.get("id") in messages.sent for stanza in list(alice.all()))


def scenario_partner_killed(lab):
    with_module = partner_killed(lab, lab.edge, ALICE)
    without = partner_killed(lab, lab.bare, f"alice@{BARE}")
    print(f"# partner killed, edge: {with_module}, bare Prosody: {without}", flush=True)
    assert with_module == without
    # What waited for a stream that never came is returned; what was written into one that hung nobody can know of.
    assert with_module == [("lllll", "rrr"), ("rrrrr", "rrr")]


# The edge

class Hammer(threading.Thread):
    """Tries without a pause to get in; what it may never see is in `got_in`."""

    def __init__(self, lab, name, attempt):
        super().__init__(daemon=True)
        self.lab, self.name, self.attempt = lab, name, attempt
        self.tries, self.answered, self.got_in = 0, 0, []
        self.over = threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.01):
            self.tries += 1
            try:
                self.attempt(self)
            except Closed as closed:
                self.answered += closed.error is not None
            except (OSError, TimeoutError, AssertionError):
                pass
            except Exception as problem:
                self.got_in.append(repr(problem))
                return

    def probe(self, domain, kind="good"):
        return Probe(self.lab.edge.address, from_=domain, to=HOST, leaf=self.lab.certificates.leaf(domain, kind), timeout=5)

    def stop(self):
        self.over.set()
        self.join(15)


def with_sasl(domain, kind):
    def attempt(hammer):
        with hammer.probe(domain, kind) as probe:
            probe.features()
            if domain == EVIL:
                hammer.got_in.append("features for an unlisted domain")
            probe.starttls()
            probe.features()
            probe.message(f"eve@{domain}", ALICE, f"stolen by {hammer.name}")
            if probe.external().name == "success":
                hammer.got_in.append("EXTERNAL")
    return attempt


def in_clear(hammer):
    with hammer.probe(FABRIKAM) as probe:
        probe.features()
        probe.send_result()
        probe.message(f"eve@{FABRIKAM}", ALICE, f"stolen by {hammer.name}")
        answer = probe.read()
        hammer.got_in.append(str(answer))


def lives(lab, server, jid, hammers=()):
    """The fates of a stream of messages each way over several lives of the server."""
    alice, bob = Session(jid, server), Session(BOB, lab.partner)
    passes(alice, bob, "before")
    out, in_, over = Numbered(f"{jid} out", alice, BOB), Numbered(f"{jid} in", bob, jid), threading.Event()

    def traffic():
        while not over.wait(0.02):
            in_.send()
            if alice.client:
                out.send()
    thread = threading.Thread(target=traffic, daemon=True)
    thread.start()
    try:
        for _ in range(KILLS):
            time.sleep(0.6)
            server.kill()
            alice.end()
            time.sleep(0.3)
            server.start()
            alice.again()
    finally:
        time.sleep(0.6)
        over.set()
        thread.join(10)
        for hammer in hammers:
            # However many times a busy machine has let it try in the short lives.
            with contextlib.suppress(TimeoutError):
                wait_until(lambda hammer=hammer: hammer.answered > 10 or hammer.got_in, 30, f"answers to {hammer.name}")
            hammer.stop()
    passes(alice, bob, "after")
    heard(alice.client, 0) if jid == ALICE else None
    fates = out.fates(bob.all(), alice.all()), in_.fates(alice.all(), bob.all())
    # Core puts what comes between <success/> and the features before what waits: with and without the module (0.12.3, 13.0.1).
    print(f"# {server.name}: overtaken {len(out.early(bob.all()))} times going out, {len(in_.early(alice.all()))} coming in", flush=True)
    stolen = [str(stanza) for stanza in alice.all() if "stolen" in str(stanza)]
    alice.end()
    bob.end()
    return fates, stolen


def scenario_edge_killed(lab):
    hammers = [Hammer(lab, "unlisted", with_sasl(EVIL, "good")), Hammer(lab, "expired", with_sasl(FABRIKAM, "expired")),
               Hammer(lab, "clear", in_clear)]
    fates, stolen = lives(lab, lab.edge, ALICE, hammers)
    bare, _ = lives(lab, lab.bare, f"alice@{BARE}")
    for name, (out, in_) in (("edge", fates), ("bare Prosody", bare)):
        print(f"# {name} killed {KILLS} times (delivered, returned, lost): out {in_short(out)}; in {in_short(in_)}", flush=True)
        # Each life can take with it what was under way at its end, and nothing else.
        assert losses(out) <= KILLS and losses(in_) <= KILLS, name
        assert out.endswith("d") and in_.endswith("d"), name
    for hammer in hammers:
        print(f"# {hammer.name}: {hammer.tries} tries, {hammer.answered} answered with a stream error", flush=True)
        assert not hammer.got_in, hammer.got_in[:3]
        assert hammer.answered > 10, f"{hammer.name}: {hammer.tries} tries, {hammer.answered} answered"
    assert not stolen, stolen[:3]
