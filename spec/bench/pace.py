"""How fast streams come about, by the clock: set-ups one after the other, and the first message to a partner to whom there is no stream yet.

Prosody's own network settings (Nagle's algorithm on), which the other measurements do not have. The peer is an ordinary one, which
acknowledges late what it has nothing to answer to, or one that acknowledges at once. Servers of all variants run at the same time, and take turns."""

import queue
import socket
import statistics
import time

from lab.lab import Lab
from lab.probe import Probe
from lab.remote import Remote
from loads import BODY, User
from servers import Counted
from variants import ALICE, LOCAL, REMOTE, TITLES

CHOSEN = ["bare", "partners-10"]
SETUPS, MESSAGES = 20, 10       # of each variant in a round
STOCK = "network_settings = {}\n"


def _prompt(sock):
    """Acknowledges at once, until it is written to again."""
    if hasattr(socket, "TCP_QUICKACK"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class PromptProbe(Probe):
    def send(self, data):
        super().send(data)
        _prompt(self.socket)


class Partner(Remote):
    """fabrikam.test with TLS and EXTERNAL; hands out when a connection came, when its message did, and closes it."""

    def __init__(self, lab, leaf, prompt):
        self.prompt, self.taken = prompt, queue.Queue()
        super().__init__(lab, [REMOTE], leaf=leaf, tls="required", offer=["external"], script=self.serve, timeout=60)

    def serve(self, connection):
        begun = time.monotonic()
        if self.prompt:
            send = connection.send

            def send_and_acknowledge(data):
                send(data)
                _prompt(connection.socket)
            connection.send = send_and_acknowledge
        self.greet(connection)
        while True:
            element = connection.read()
            if element.name == "message":
                self.taken.put((begun, time.monotonic()))
                connection.send("</stream:stream>")
                return
            self.react(connection, element)


class Inbound:
    """TLS + EXTERNAL set-up by a partner, one after the other"""

    def __init__(self, lab, server, leaf, prompt):
        self.server, self.leaf, self.kind = server, leaf, PromptProbe if prompt else Probe

    def run(self):
        """[seconds a set-up]"""
        taken = []
        for _ in range(SETUPS):
            begun = time.monotonic()
            with self.kind(self.server.address, from_=REMOTE, to=LOCAL, leaf=self.leaf, timeout=60) as stream:
                stream.authenticate()
                taken.append(time.monotonic() - begun)
        return {"inbound": taken}


class Outbound:
    """a message to a partner to whom there is no stream: from the client's socket to the partner's"""

    def __init__(self, lab, server, partner):
        self.server, self.partner = server, partner
        self.user = User(server)

    def run(self):
        whole, setup = [], []
        for _ in range(MESSAGES):
            mark = self.server.mark()
            begun = time.monotonic()
            self.user.send(f"<message to='bob@{REMOTE}/home' type='chat'>{BODY}</message>")
            accepted, arrived = self.partner.taken.get(timeout=60)
            whole.append(arrived - begun)
            setup.append(arrived - accepted)
            self.server.wait_log(r"Outgoing s2s stream .* closed", 60, mark)      # the next one needs a new stream
        return {"first": whole, "outbound": setup}


def measure(version, options):
    """{peer: {load: {variant: figures}}}; rates a second, milliseconds, CPU microseconds of the server for each."""
    result = {}
    for prompt in (False, True):
        taken, spent = {}, {}
        with Lab(version=version) as lab:
            leaf = lab.certificates.leaf(REMOTE, label="long", to=300)
            partner = Partner(lab, leaf, prompt)
            runs = {}
            for variant in [v for v in CHOSEN if not options.variants or v in options.variants or v == "bare"]:
                server = Counted(lab, variant, False, version, options.build, more=STOCK).start(timeout=300)
                runs[variant] = [Inbound(lab, server, leaf, prompt), Outbound(lab, server, partner)]
                for load in runs[variant]:
                    load.run()          # the first only warms up
            for _ in range(options.rounds):
                for variant, loads in runs.items():
                    for load in loads:
                        before = load.server.spent()
                        found = load.run()
                        cost = (load.server.spent() - before) / len(next(iter(found.values())))
                        for name, times in found.items():
                            taken.setdefault(name, {}).setdefault(variant, []).extend(times)
                            spent.setdefault(name, {}).setdefault(variant, []).append(cost)
        peer = "prompt" if prompt else "ordinary"
        result[peer] = {}
        for name, rows in taken.items():
            for variant, times in rows.items():
                times.sort()
                figures = {"title": TITLES[variant], "median": statistics.median(times) * 1000, "low": times[0] * 1000, "high": times[-1] * 1000,
                           "rate": len(times) / sum(times), "cpu": statistics.median(spent[name][variant]), "times": len(times)}
                result[peer].setdefault(name, {})[variant] = figures
                print(f"pace       {version:5} {peer:8} {name:9} {variant:12} {figures['rate']:7.1f} a second, median {figures['median']:6.1f} ms "
                      f"({figures['low']:.1f} to {figures['high']:.1f}), {figures['cpu']:.0f} us of CPU", flush=True)
    return result
