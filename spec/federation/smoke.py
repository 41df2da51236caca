#!/usr/bin/python3
"""Does the lab itself work?  Bare Prosody servers and clients, without the module under test.

    spec/federation/smoke.py [VERSION]"""

import pathlib
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path[:0] = map(str, pathlib.Path(__file__).resolve().parents[:2])

from lab.client import Client
from lab.lab import Lab, ensure_namespace
from lab.probe import Probe, mechanisms
from lab.prosody import Prosody
from lab.remote import Remote

# What the log of a receiving server says about the method.
EXTERNAL = r"Accepting SASL EXTERNAL identity from \S+"
DIALBACK = r"asking \S+ if key"

# The presets of both sides, the method they settle on, and whether over TLS.
PAIRS = [
    ("external", "external", EXTERNAL, True),
    ("any", "any", EXTERNAL, True),
    ("external", "any", EXTERNAL, True),
    ("external", "external-tls-optional", EXTERNAL, True),
    ("tls-dialback", "tls-dialback", DIALBACK, True),
    ("any", "tls-dialback", DIALBACK, True),
    ("any-tls-required", "dialback-tls-optional", DIALBACK, True),
    ("tcp-dialback", "tcp-dialback", DIALBACK, False),
    ("any", "tcp-dialback", DIALBACK, False),
    ("dialback-tls-optional", "tcp-dialback", DIALBACK, False),
]


def pair(lab, number, left, right, pattern, encrypted):
    a, b = f"a{number}.test", f"b{number}.test"
    servers = [Prosody(lab, f"a{number}-{left}", [a], users=[f"alice@{a}"], preset=left),
               Prosody(lab, f"b{number}-{right}", [b], users=[f"bob@{b}"], preset=right)]
    for server in servers:
        server.start()
    with Client(f"alice@{a}", servers[0].address) as alice, Client(f"bob@{b}", servers[1].address) as bob:
        alice.send_message(f"bob@{b}", "to bob")
        bob.wait_message("to bob")
        bob.send_message(f"alice@{a}", "to alice")
        alice.wait_message("to alice")
    for server, host in zip(servers, (a, b)):
        server.wait_log(pattern, 1)
        assert pattern == EXTERNAL or not re.search(EXTERNAL, server.log_since())
        shown = server.shell("s2s:show()")
        assert ("TLSv1" in shown) == encrypted, shown
    for server in servers:
        server.stop()


def probe(lab):
    server = Prosody(lab, "server", ["server.test"], users=["alice@server.test"], preset="any")
    server.start()
    remote = Remote(lab, ["peer.test"], leaf=lab.certificates.leaf("peer.test"))
    with Client("alice@server.test", server.address) as alice:
        with Probe(server.address, from_="peer.test", to="server.test",
                   leaf=lab.certificates.leaf("peer.test"), source="127.0.99.1") as peer:
            assert "EXTERNAL" in mechanisms(peer.secure())
            assert peer.external().name == "success"
            peer.features()
            peer.message("eve@peer.test", "alice@server.test", "by EXTERNAL")
            alice.wait_message("by EXTERNAL")
            peer.message("eve@evil.test", "alice@server.test", "forged")
            peer.read_close("not-authorized")
        for leaf in (None, lab.certificates.leaf("peer.test", "expired")):
            with Probe(server.address, from_="peer.test", to="server.test", leaf=leaf) as peer:
                assert not mechanisms(peer.secure())
                assert peer.dialback() == "valid"
                peer.message("eve@peer.test", "alice@server.test", f"by dialback with {leaf}")
                alice.wait_message(f"by dialback with {leaf}")
        assert len(remote.elements("verify")) == 2, remote.elements()
        remote.verify = "invalid"
        with Probe(server.address, from_="peer.test", to="server.test") as peer:
            peer.features()
            assert peer.dialback() == "invalid"
        # The other direction: the scripted remote as the partner.
        alice.send_message("eve@peer.test", "to eve")
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == "to eve")
        # And a name that nobody has asked about.
        mark = lab.dns.mark()
        condition, text, _ = alice.wait_error(alice.send_message("nobody@absent.test"))
        assert condition == "remote-server-not-found", (condition, text)
        assert lab.dns.asked("absent.test", mark) and not lab.dns.asked("evil.test")
    assert not remote.failures, remote.failures


def main(version=None):
    failed = 0
    with Lab(version=version) as lab:
        steps = [(f"{row[0]} with {row[1]}", lambda n=n, row=row: pair(lab, n, *row))
                 for n, row in enumerate(PAIRS)]
        for name, step in [*steps, ("probe and remote", lambda: probe(lab))]:
            start = time.monotonic()
            try:
                step()
                print(f"ok {name} ({time.monotonic() - start:.1f} s)", flush=True)
            except Exception as problem:
                failed += 1
                print(f"FAIL {name}: {problem!r}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    ensure_namespace()
    sys.exit(main(*sys.argv[1:]))
