"""What a partner notices of a flood of strangers: how long its messages take, before, while and after 2000 strangers a second connect.

The server has a processor of its own where there is more than one; strangers, partner and client share the others. Each server has its flood by itself;
what the machine does besides is in the figures of both."""

import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys
import threading
import time

from lab.lab import Lab
from loads import BODY, Inbound, Peer
from servers import Counted, circumstances
from variants import ALICE, BOB, TITLES

CHOSEN = ["bare", "bare-collector", "partners-10", "partners-10-collector"]
RATE, FLOOD = 2000, 30          # strangers a second, seconds
QUIET, AFTER = 15, 20           # seconds before and after
EVERY = 0.02                    # seconds between messages
LOST = 10                       # seconds; a message that takes longer counts as so long
END = b"</message>"
PEER = pathlib.Path(__file__).with_name("flood_peer.py")


class Messages(threading.Thread):
    """A message every so often from a partner to a local client: when each was sent, and how long it took."""

    def __init__(self, load):
        super().__init__(daemon=True)
        self.load, self.taken, self.stopped, self.lost = load, [], False, False
        self.sent, self.begin, self.rest = queue.Queue(), time.monotonic(), b""
        load.user.socket.settimeout(LOST)

    def run(self):
        threading.Thread(target=self.send, daemon=True).start()
        try:
            while not self.stopped or not self.sent.empty():
                self.read()
        except OSError:
            self.lost = not self.stopped

    def read(self):
        """Whatever has come: several messages, one, or a part of one."""
        data = self.load.user.socket.recv(1 << 16)
        if not data:
            raise OSError("closed")
        now = time.monotonic()
        self.rest += data
        for _ in range(self.rest.count(END)):
            at = self.sent.get(timeout=1)
            self.taken.append((at - self.begin, now - at))
        self.rest = self.rest[self.rest.rfind(END) + len(END):] if END in self.rest else self.rest

    def send(self):
        message = f"<message from='{BOB}/home' to='{ALICE}/a' type='chat' id='m1'>{BODY}</message>".encode()
        due = time.monotonic()
        try:
            while not self.stopped:
                self.sent.put(time.monotonic())
                self.load.stream.socket.sendall(message)
                due = max(due + EVERY, time.monotonic())
                time.sleep(max(0, due - time.monotonic()))
        except OSError:
            self.lost = True

    def since(self):
        return time.monotonic() - self.begin

    def stop(self):
        """What is still on its way after LOST seconds is counted with that."""
        self.stopped = True
        self.join(LOST)
        return [*self.taken, *((at - self.begin, LOST) for at in list(self.sent.queue))]


def _open(server):
    return len(list(pathlib.Path(f"/proc/{server.pid}/fd").iterdir()))


def _apart(server):
    """The server on the first processor, everything else on the others. Returns whether there are any."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) < 2:
        return False
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), processors[:1])
    os.sched_setaffinity(0, processors[1:])
    return True


def _quantile(taken, part):
    taken = sorted(taken)
    return taken[min(len(taken) - 1, int(len(taken) * part))] * 1000


def _flood(server, load, seconds):
    before, resident, spent = _open(server), server.resident(), server.spent()
    messages = Messages(load)
    messages.start()
    time.sleep(QUIET)
    first = messages.since()
    peer = subprocess.Popen([sys.executable, PEER, server.address, str(RATE), str(seconds)], stdout=subprocess.PIPE, text=True)
    held, grown = [], []
    while peer.poll() is None:
        time.sleep(1)
        held.append(_open(server) - before)
        grown.append(server.resident() - resident)
    last = messages.since()
    counts = json.loads(peer.stdout.read())
    time.sleep(AFTER)
    taken = messages.stop()
    during = [took for at, took in taken if first <= at < last]
    quiet = [took for at, took in taken if 2 < at < first]
    return {"quiet": _quantile(quiet, 0.99), "flood": _quantile(during, 0.99), "quiet_median": statistics.median(quiet) * 1000,
            "flood_median": statistics.median(during) * 1000, "worst": max(during) * 1000, "held": max(held), "left": _open(server) - before,
            "lost": messages.lost, "grown": max(grown) / 1024, "settled": (server.resident() - resident) / 1024, "first": first, "last": last,
            **circumstances(), "cpu": (server.spent() - spent) / 1e6, "peer": counts,
            "taken": [(round(at, 2), round(took * 1000, 2)) for at, took in taken]}


def measure(version, options):
    """{variant: figures}; latencies in milliseconds, memory in megabytes, `held` and `left` in descriptors of the server."""
    result, before = {}, os.sched_getaffinity(0)
    with Lab(version=version) as lab:
        peer, servers = Peer(lab), {}
        for variant in CHOSEN:
            servers[variant] = Counted(lab, variant, False, version, options.build).start(timeout=300)
        for variant, server in servers.items():
            load = Inbound(lab, peer, server, 1)
            load.run(200)
            apart = _apart(server)
            figures = {**_flood(server, load, FLOOD * options.scale), "apart": apart, "title": TITLES[variant]}
            result[variant] = figures
            print(f"flood      {version:5} {variant:12} p99 {figures['quiet']:.1f} ms when quiet, {figures['flood']:.1f} ms in the flood "
                  f"(medians {figures['quiet_median']:.1f}, {figures['flood_median']:.1f}; worst {figures['worst']:.0f}), "
                  f"{figures['peer']['rate']:.0f} strangers a second, {figures['peer']}, {figures['held']} held, {figures['left']} left, "
                  f"{figures['grown']:+.1f} MB, load average {figures['load']:.1f}", flush=True)
            os.sched_setaffinity(0, before)
            server.stop()
    return result
