"""A wire between two servers: it listens in the place of one, and carries, delays, breaks up, stops and cuts what goes through it.

For what the kernel's netem would do below TCP: loss and reordering show above it as delay, as a standstill, or as the end."""

import random
import socket
import struct
import threading
import time


class Wire:
    """wire = Wire(lab, server.address); lab.dns.server(domain, wire.address)

    delay     seconds each piece is late, and up to as much again at random
    piece     bytes that go through at once, 1 to as many as this at random; None: as it comes
    segment   bytes that go through at once, always as many but for the last of what came together; None: as it comes
    cut_after bytes after which a new connection is cut (in both directions together), or a function -> bytes; None: never
    stop(), go()    a standstill; cut(): all connections end, with RST
    cuts      how many have been cut"""

    def __init__(self, lab, target, port=5269, address=None, seed=1):
        self.address, self._target, self._port = address or lab.address(), target, port
        self.delay, self.piece, self.segment, self.cut_after = 0, None, None, None
        self.cuts = 0
        self._choice = random.Random(seed)
        self._moving = threading.Event()
        self._moving.set()
        self._lock = threading.Lock()
        self._pairs = []
        self._closed = False
        self._listener = socket.create_server((self.address, port), backlog=50)
        lab.cleanup(self.close)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._moving.clear()

    def go(self):
        self._moving.set()

    def heal(self):
        self.delay, self.piece, self.segment, self.cut_after = 0, None, None, None
        self.go()

    def cut(self):
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            self._end(pair)

    def close(self):
        self._closed = True
        self._moving.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut()

    def _end(self, pair):
        self.cuts += 1
        for one in pair:
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                one.shutdown(socket.SHUT_RDWR)      # wakes who reads from it
            except OSError:
                pass
            one.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection((self._target, self._port), 10)
            except OSError:
                near.close()
                continue
            for one in (near, far):
                one.settimeout(None)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair, limit = (near, far), self.cut_after
            left = [limit() if callable(limit) else limit]
            with self._lock:
                self._pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._carry, args=[pair, source, sink, left], daemon=True).start()

    def _carry(self, pair, source, sink, left):
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                while data:
                    size = self._choice.randint(1, self.piece) if self.piece else self.segment or len(data)
                    if self.delay:
                        time.sleep(self.delay + self._choice.random() * self.delay)
                    self._moving.wait()
                    if left[0] is not None:
                        size = min(size, left[0])
                        left[0] -= size
                    sink.sendall(data[:size])
                    data = data[size:]
                    if left[0] == 0:
                        raise OSError("cut")
        except OSError:
            with self._lock:
                known = pair in self._pairs
                if known:
                    self._pairs.remove(pair)
            if known:
                self._end(pair)
