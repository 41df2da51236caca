"""What is set on the server's own sockets: those of other servers write at once, all others are as Prosody makes them.

Asked of the kernel, not of the clock."""

import ctypes
import os
import re
import socket

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner

FABRIKAM = "fabrikam.test"
PIDFD_GETFD = 438       # syscall number, the same on every architecture


def setup(lab):
    # Nagle's algorithm as Prosody leaves it; the lab turns it off elsewhere.
    lab.edge = edge_server(lab, configuration(partner(FABRIKAM)), direct_tls=True, options="network_settings = {}").start()


def no_delay(server, peer):
    """Whether the server's end of the connection whose other end has that local address does without delay."""
    pid = server.process.popen.pid
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            descriptor = libc.syscall(PIDFD_GETFD, handle, int(name), 0)
            if descriptor < 0:
                continue
            with socket.socket(fileno=descriptor) as copy:
                try:
                    found = copy.getpeername() == peer
                except OSError:
                    continue
                if found:
                    return copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    finally:
        os.close(handle)
    raise AssertionError(f"no connection of {peer} at {server.name}")


def scenario_incoming(lab):
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST) as probe:
        probe.features()
        assert no_delay(lab.edge, probe.socket.getsockname())


def scenario_incoming_direct_tls(lab):
    """The handshake itself is written in pieces: the option is there before it is done."""
    with Probe(lab.edge.address, 5270, from_=FABRIKAM, to=HOST, direct_tls=True) as probe:
        wait_until(lambda: no_delay(lab.edge, probe.socket.getsockname()), 20, "no delay")


def scenario_outgoing(lab):
    """Also what the opening of a stream needs is gone when it is done."""
    remote = Remote(lab, [FABRIKAM], leaf=lab.certificates.leaf(FABRIKAM), tls="required", offer=["external"])
    with Client(ALICE, lab.edge.address) as alice:
        alice.send_message(f"bob@{FABRIKAM}", "hello")
        remote.wait_element("message")
        assert no_delay(lab.edge, remote.connections[0].socket.getsockname())
    lab.edge.wait_log("Established stream to fabrikam.test")
    handlers = lab.edge.shell(f'> prosody.hosts["{HOST}"].events._handlers["s2s-ondrain"] == nil')
    assert re.search(r"\btrue\b", handlers), handlers


def scenario_clients_are_left_alone(lab):
    with socket.create_connection((lab.edge.address, 5222), 10) as client:
        client.sendall(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
                       b"to='contoso.test' version='1.0'>")
        assert client.recv(100)
        assert not no_delay(lab.edge, client.getsockname())
