#!/usr/bin/python3
"""What a second node of ejabberd adds: messages in a second through one node and through a cluster of two, with 8 partners at once.

    S2S_PARTNERS_ERLANG=DIR spec/bench/cluster.py [--ejabberd 24.12] [--messages 500] [--rounds 5]

Each partner has a stream of its own to a node (TLS, SASL EXTERNAL), a user at that node who gets its messages, and one who writes to it; all at once,
fifty messages before each wait.  "across": the user who gets a partner's messages is at the other node.  Rounds are interleaved.  All that was sent
has to arrive, or a round does not end.  Wall-clock time, so the machine has to be quiet; CPU time is that of all nodes together."""

import argparse
import os
import pathlib
import queue
import statistics
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "federation")]

from lab.edge_ejabberd import Cluster  # noqa: E402 (needs the path above)
from lab.lab import Lab, ensure_namespace  # noqa: E402
from lab.probe import Probe  # noqa: E402
from lab.remote import Remote  # noqa: E402
from loads import BODY, Raw, User  # noqa: E402
from scenarios._edge import configuration, partner  # noqa: E402
from servers import Timed  # noqa: E402
from variants import LOCAL  # noqa: E402

PARTNERS, BATCH = [f"partner{number}.test" for number in range(8)], 50


class Peer(Remote):
    """A partner's server; the connection that messages come over is handed out."""

    def __init__(self, lab, domain):
        self.taken = queue.Queue()
        super().__init__(lab, [domain], leaf=lab.certificates.leaf(domain), script=self.serve, timeout=600)

    def serve(self, connection):
        self.greet(connection)
        while True:
            element = connection.read()
            if element.name == "message":
                self.taken.put(connection)
                threading.Event().wait()        # until the end
            self.react(connection, element)


class Pair:
    """One partner, and the user who talks to it: a message in, and a message out."""

    def __init__(self, lab, peer, number, node, users):
        domain, jid = PARTNERS[number], f"user{number}@{LOCAL}"
        self.user = User(users, jid)
        self.user.available()
        self.user.send(f"<message to='bob@{domain}' type='chat' id='m1'>{BODY}</message>")
        self.out = Raw(peer.taken.get(timeout=120).socket, "</message>")
        self.stream = Probe(node.address, from_=domain, to=LOCAL, leaf=lab.certificates.leaf(domain), timeout=120)
        self.stream.authenticate()
        self.into = Raw(self.user.socket, "</message>")
        self.text_in = f"<message from='bob@{domain}/home' to='{jid}/a' type='chat' id='m1'>{BODY}</message>".encode()
        self.text_out = f"<message to='bob@{domain}/home' type='chat' id='m1'>{BODY}</message>".encode()

    def run(self, send, text, raw, count):
        while count > 0:
            some = min(count, BATCH)
            send(text * some)
            raw.wait(some)
            count -= some


def begin(lab, name, count, across, version):
    """A cluster, with its pairs ready."""
    names = [f"{name}{number}" for number in range(count)]
    peers = [Peer(lab, domain) for domain in PARTNERS]
    cluster = Cluster(lab, names, [LOCAL], users=[f"user{number}@{LOCAL}" for number in range(len(PARTNERS))], version=version, s2s_timeout=120,
                      log_level="warning", partners=configuration(*[partner(domain) for domain in PARTNERS])).start()
    nodes = cluster.nodes
    pairs = [Pair(lab, peers[number], number, nodes[number % count], nodes[(number + across) % count]) for number in range(len(PARTNERS))]
    for peer in peers:      # the next cluster's partners are served elsewhere
        lab.dns.remove(peer.domains[0])
    return cluster, pairs


def spent(cluster):
    """Microseconds of CPU time of all its nodes."""
    class Node(Timed):
        def __init__(self, node):
            self.process = node.process
    return sum(Node(node).spent() for node in cluster.nodes)


def measure(cluster, pairs, messages):
    """(messages in a second, microseconds of CPU time for each)"""
    failures = []

    def guarded(*arguments):
        try:
            Pair.run(*arguments)
        except Exception as problem:        # of a thread; told below
            failures.append(problem)
    threads = [threading.Thread(target=guarded, args=arguments, daemon=True) for pair in pairs for arguments in (
        (pair, pair.stream.socket.sendall, pair.text_in, pair.into, messages), (pair, pair.user.socket.sendall, pair.text_out, pair.out, messages))]
    before, start = spent(cluster), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    took = time.monotonic() - start
    if failures or any(thread.is_alive() for thread in threads):
        raise RuntimeError(f"not all has arrived: {failures}")
    total = messages * len(threads)
    return total / took, (spent(cluster) - before) / total


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ejabberd")
    parser.add_argument("--messages", type=int, default=500, help="of each partner and user, in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ensure_namespace()
    with Lab(host="ejabberd", ejabberd=options.ejabberd) as lab:
        kinds = {"one node": (1, 0), "two nodes": (2, 0), "two nodes, across": (2, 1)}
        running = {title: begin(lab, f"n{number}", *kind, options.ejabberd) for number, (title, kind) in enumerate(kinds.items())}
        figures = {title: [] for title in kinds}
        for title in kinds:
            measure(*running[title], 100)       # warm
        for _ in range(options.rounds):
            for title in kinds:
                figures[title].append(measure(*running[title], options.messages))
        load = os.getloadavg()[0]
        for title, found in figures.items():
            rates, costs = zip(*found)
            print(f"{title:20} {statistics.median(rates):8.0f} messages/s (from {min(rates):.0f} to {max(rates):.0f}), "
                  f"{statistics.median(costs):6.0f} us CPU each (lowest {min(costs):.0f})", flush=True)
        print(f"{2 * options.messages * len(PARTNERS)} messages in each of {options.rounds} rounds, none lost; load average {load:.1f}")


if __name__ == "__main__":
    main()
