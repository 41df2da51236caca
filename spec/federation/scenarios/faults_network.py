"""A bad network between the edge and real partners: late, in small pieces, at a standstill, cut anywhere; what becomes of every message.

A wire lies in each direction (lab.wire), since not every kernel has netem."""

import random
import threading
import time

from lab import machine
from lab.client import Client
from lab.prosody import Prosody
from lab.waiting import wait_until
from lab.wire import Wire

from scenarios._edge import ALICE, HOST, partner, tcp_dialback, tls_dialback
from scenarios._faults import Numbered, impatient_edge, in_short, losses, nothing_left, streams

TIMEOUT = 90
DOMAINS = {"sasl.test": partner, "keys.test": tls_dialback, "plain.test": tcp_dialback}
# What opens through a bad network takes a second or two where nobody else wants the processor; the console, which counts streams, another one.
LIMITS = {"establishment_timeout": 10, "inactivity_timeout": 12}


def setup(lab):
    lab.edge = impatient_edge(lab, *(row(domain) for domain, row in DOMAINS.items()), limits=LIMITS, register=False).start()
    lab.partner = Prosody(lab, "partner", list(DOMAINS), users=[f"bob@{domain}" for domain in DOMAINS], preset="any", s2s_timeout=10,
                          register=False).start()
    lab.wires = [Wire(lab, lab.partner.address, seed=1), Wire(lab, lab.edge.address, seed=2)]
    for domain in DOMAINS:
        lab.dns.server(domain, lab.wires[0].address)
    lab.dns.server(HOST, lab.wires[1].address)
    lab.alice = Client(ALICE, lab.edge.address)
    lab.bobs = {domain: Client(f"bob@{domain}", lab.partner.address) for domain in DOMAINS}
    for client in (lab.alice, *lab.bobs.values()):
        lab.cleanup(client.close)
    return lab


class Talk:
    """Messages both ways with each of the partners, each accounted for."""

    count = 0

    def __init__(self, lab):
        Talk.count += 1
        self.lab, self.ways = lab, []
        for domain, bob in lab.bobs.items():
            self.ways += [(Numbered(f"t{Talk.count} to {domain}", self.Named(lab.alice), bob.jid), bob, lab.alice),
                          (Numbered(f"t{Talk.count} from {domain}", self.Named(bob), ALICE), lab.alice, bob)]

    class Named:
        def __init__(self, client):
            self.client = client

        def send_message(self, to, body, id_):
            return self.client.send_message(to, body, id_=id_)

    def round(self):
        for numbered, _, _ in self.ways:
            numbered.send()

    def fates(self):
        return {numbered.name: numbered.fates(receiver.stanzas, sender.stanzas) for numbered, receiver, sender in self.ways}

    def early(self):
        return {numbered.name: numbered.early(receiver.stanzas) for numbered, receiver, _ in self.ways}

    def wait_delivered(self, timeout):
        try:
            wait_until(lambda: all(set(fate) == {"d"} for fate in self.fates().values()), timeout, "delivery of all", interval=0.2)
        except TimeoutError:
            raise AssertionError(f"not all delivered: { {name: in_short(fate) for name, fate in self.fates().items()} }") from None


def healed(lab):
    """After whatever it was: everything passes."""
    for wire in lab.wires:
        wire.heal()

    def goes():
        talk = Talk(lab)
        talk.round()
        try:
            wait_until(lambda: all("l" not in fate for fate in talk.fates().values()), 5, "fate of all", interval=0.1)
        except TimeoutError:    # written into a stream whose end was on its way
            return False
        return all(fate == "d" for fate in talk.fates().values())
    wait_until(goes, 40, "healthy network")


def cut_off(lab):
    """Both sides know that there is no stream."""
    for wire in lab.wires:
        wire.cut()
    nothing_left(lab.edge)
    wait_until(lambda: HOST not in lab.partner.shell("s2s:show()"), 15, "end of the partner's streams", interval=0.2)


def everything_arrives(**wire):
    def scenario(lab):
        cut_off(lab)        # so that all streams are opened through it
        for one in lab.wires:
            for name, value in wire.items():
                setattr(one, name, value)
        talk = Talk(lab)
        for _ in range(15):
            talk.round()
            time.sleep(0.02)
        talk.wait_delivered(40)
        # Over streams that are up nothing overtakes anything (before that, core lets it).
        settled = Talk(lab)
        for _ in range(10):
            settled.round()
        settled.wait_delivered(40)
        assert not any(settled.early().values()), settled.early()
        healed(lab)
    return scenario


def small_pieces(**wire):
    """Smaller than any network cuts. Where the XML parser looks at what it gets, everything arrives. Where it waits for more (see
    machine.parser_waits) a tag in clear may wait until its stream is out of time, with the module and without. Then nothing comes
    twice or out of order, and what goes over TLS, whose records are whole when they are parsed, comes or is returned."""
    def scenario(lab):
        if not machine.parser_waits():
            return everything_arrives(**wire)(lab)
        cut_off(lab)
        for one in lab.wires:
            for name, value in wire.items():
                setattr(one, name, value)
        talk = Talk(lab)
        for _ in range(15):
            talk.round()
            time.sleep(0.02)

        def all_known():
            return all("l" not in fate for name, fate in talk.fates().items() if "plain.test" not in name)
        wait_until(all_known, 40, "fate of all that goes over TLS", interval=0.2)
        print(f"# the parser waits: { {name: in_short(fate) for name, fate in talk.fates().items()} }", flush=True)
        healed(lab)
        nothing_twice = talk.fates()        # also what came late
        assert all("l" not in fate for name, fate in nothing_twice.items() if "plain.test" not in name), nothing_twice
        cut_off(lab)
    return scenario


def scenarios():
    yield "late", everything_arrives(delay=0.05)
    # As small as a segment of TCP has to be on any network (RFC 9293, 3.7.1).
    yield "in_segments", everything_arrives(segment=536)
    yield "late_and_in_segments", everything_arrives(delay=0.001, segment=536)
    yield "in_pieces", small_pieces(piece=40)
    yield "late_and_in_pieces", small_pieces(delay=0.001, piece=90)


def scenario_standstill(lab):
    """Shorter than any time-out: nobody notices but by the wait."""
    healed(lab)
    before = streams(lab.edge)
    fresh = Talk(lab)       # the console takes its time; no stream is to be near the end of its own
    fresh.round()
    fresh.wait_delivered(20)
    for wire in lab.wires:
        wire.stop()
    talk = Talk(lab)
    for _ in range(5):
        talk.round()
        time.sleep(0.3)
    assert all(fate == "lllll" for fate in talk.fates().values()), talk.fates()
    for wire in lab.wires:
        wire.go()
    talk.wait_delivered(20)
    assert not any(talk.early().values())
    after = streams(lab.edge)
    assert (after["s2sin"], after["s2sout"]) == (before["s2sin"], before["s2sout"]), (before, after)


def scenario_standstill_while_opening(lab):
    """Longer than establishment_timeout: senders are told, nothing is left, and what comes too late is of no use to anybody."""
    cut_off(lab)
    for wire in lab.wires:
        wire.stop()
    talk = Talk(lab)
    talk.round()
    wait_until(lambda: all(fate == "r" for fate in talk.fates().values()), 40, "return of all", interval=0.2)
    nothing_left(lab.edge)
    for wire in lab.wires:
        wire.go()
    time.sleep(0.5)
    assert all(fate == "r" for fate in talk.fates().values()), talk.fates()
    healed(lab)


def scenario_cut_anywhere(lab):
    """Connections end after some hundred bytes, wherever that is: nothing comes twice, what is lost is lost with a stream."""
    choice = random.Random(3)
    for wire in lab.wires:
        wire.cut_after = lambda: choice.randint(1, 12000)
        wire.cuts = 0
        wire.cut()
    talk, over = Talk(lab), threading.Event()

    def cutter():
        while not over.wait(0.35):
            choice.choice(lab.wires).cut()
    thread = threading.Thread(target=cutter, daemon=True)
    thread.start()
    for number in range(600):
        talk.round()
        time.sleep(0.05)
        # Sixty, and more where a busy machine gets few connections as far as that.
        if number >= 59 and sum(wire.cuts for wire in lab.wires) > 20 and "d" in "".join(talk.fates().values()):
            break
    over.set()
    thread.join(5)
    healed(lab)
    fates, cuts = talk.fates(), sum(wire.cuts for wire in lab.wires)
    print(f"# {cuts} connections cut: { {name: in_short(fate) for name, fate in fates.items()} }", flush=True)
    assert cuts > 20
    assert "d" in "".join(fates.values()), "nothing came through"
    for name, fate in fates.items():
        assert losses(fate) <= cuts, name
    cut_off(lab)
