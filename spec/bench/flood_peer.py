#!/usr/bin/python3
"""Strangers by the thousand: connections to one S2S port at a steady rate, one half of them a header of an unlisted domain, the other half
nothing, or the beginning of a header, for as long as the server lets them.

    flood_peer.py ADDRESS RATE SECONDS

Prints what became of them as JSON. One process, one thread; a connection that the server does not end is given up when the flood is over."""

import errno
import json
import random
import resource
import select
import socket
import sys
import time

from variants import LOCAL, STRANGER

PORT = 5269
HEADER = (f"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "
          f"from='{STRANGER}' to='{LOCAL}' version='1.0'>").encode()
BEGINNINGS = (b"", b"<?xml version='1.0'?>", b"<stream:stream xmlns='jabber:server'")
AT_ONCE = 20            # connections in one go, so that what comes back is read as well
SPARE = 100             # descriptors
IP_BIND_ADDRESS_NO_PORT = 24


class Flood:

    def __init__(self, address, rate, seconds):
        self.address, self.rate, self.seconds = address, rate, seconds
        self.poll, self.open = select.epoll(), {}
        self.count = {"attempted": 0, "failed": 0, "refused": 0, "offered": 0, "closed": 0, "full": 0}
        self.random = random.Random(1)
        self.room = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - SPARE
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.room + SPARE, self.room + SPARE))

    def connect(self):
        self.count["attempted"] += 1
        if len(self.open) >= self.room:
            self.count["full"] += 1
            return
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((f"127.{self.random.randint(64, 127)}.{self.random.randint(0, 255)}.{self.random.randint(1, 254)}", 0))
        if sock.connect_ex((self.address, PORT)) not in (0, errno.EINPROGRESS):
            self.count["failed"] += 1
            sock.close()
            return
        number = self.count["attempted"]
        self.open[sock.fileno()] = [sock, HEADER if number % 2 else BEGINNINGS[number // 2 % len(BEGINNINGS)], b""]
        self.poll.register(sock, select.EPOLLOUT)

    def end(self, descriptor, how):
        sock = self.open.pop(descriptor)[0]
        self.count[how] += 1
        sock.close()

    def serve(self, descriptor, events):
        entry = self.open[descriptor]
        sock, first, got = entry
        try:
            if events & select.EPOLLOUT and not events & select.EPOLLERR:
                if first:
                    sock.send(first)
                self.poll.modify(descriptor, select.EPOLLIN)
                return
            data = sock.recv(4096)
        except OSError:
            self.end(descriptor, "closed" if got else "failed")
            return
        entry[2] = got = (got + data)[-1000:]
        if b"stream:error" in got:
            self.end(descriptor, "refused")
        elif b"stream:features" in got:
            self.end(descriptor, "offered")
        elif not data:
            self.end(descriptor, "closed")

    def run(self):
        begin = time.monotonic()
        while (now := time.monotonic() - begin) < self.seconds:
            for _ in range(min(AT_ONCE, int(now * self.rate) - self.count["attempted"])):
                self.connect()
            for descriptor, events in self.poll.poll(0.001, 200):
                self.serve(descriptor, events)
        self.count["rate"] = self.count["attempted"] / (time.monotonic() - begin)
        self.count["left"] = len(self.open)
        for entry in self.open.values():
            entry[0].close()
        return self.count


if __name__ == "__main__":
    print(json.dumps(Flood(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])).run()))
