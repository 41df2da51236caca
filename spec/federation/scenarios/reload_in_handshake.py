"""The configuration is reloaded, as each change of the list of partners wants it, while handshakes with the direct TLS port are open."""

import contextlib
import socket
import ssl

from lab.probe import Probe

from scenarios._edge import HOST, any_method, configuration, edge_server, refused

TIMEOUT = 120
SHARED = "shared.test"
HEADER = ("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' "
          f"from='evil.test' to='{HOST}'>")


def setup(lab):
    lab.edge = edge_server(lab, configuration(any_method(SHARED)), direct_tls=True, s2s_timeout=60).start()


class Handshake:
    """As far as the server's first words, and then on when it is told to."""

    def __init__(self, lab, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode, context.maximum_version = False, ssl.CERT_NONE, version
        self.theirs, self.ours = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.theirs, self.ours, server_hostname=HOST)
        self.socket = socket.create_connection((lab.edge.address, 5270), 10)
        assert not self.step()
        self.theirs.write(self.socket.recv(65536))

    def step(self):
        done = False
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            done = True
        self.socket.sendall(self.ours.read())
        return done

    def go_on(self):
        while not self.step():
            more = self.socket.recv(65536)
            assert more, "closed in the handshake"
            self.theirs.write(more)
        self.tls.write(HEADER.encode())
        self.socket.sendall(self.ours.read())
        said = b""
        while b"unlisted-domain" not in said:
            try:
                said += self.tls.read(65536)
            except ssl.SSLWantReadError:
                more = self.socket.recv(65536)
                assert more, said
                self.theirs.write(more)
        self.socket.close()


# What was let go of is freed, and something else is put there.
COLLECT = """> (function () collectgarbage(); collectgarbage(); local held = {};
    for size = 8, 240, 8 do for i = 1, 4000 do held[#held+1] = ("1"):rep(size - 6)..(os.time() % 1000 * 100000 + i); end end
    prosody.held = { held, prosody.held }; return #held end)()"""


def scenario_open_handshakes_outlive_a_reload(lab):
    open_ones = [Handshake(lab, version) for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3) for _ in range(10)]
    for _ in range(3):
        mark = lab.edge.mark()
        assert "OK" in lab.edge.shell("config:reload()")
        lab.edge.wait_log("Partner configuration applied", 10, mark)
        assert "120000" in lab.edge.shell(" ".join(COLLECT.split()))
    for handshake in open_ones:
        handshake.go_on()
    with Probe(lab.edge.address, from_="evil.test", to=HOST, port=5270, direct_tls=True) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
