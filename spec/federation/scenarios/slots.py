"""The place core keeps for a stream to a domain: nobody else gets it, and who leaves takes nobody along."""

import re
import socket
import time

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, configuration, edge_server, established, outbound_error, partner

TIMEOUT = 60
FABRIKAM, LATE, SLOW, DYING, ROTATING = "fabrikam.test", "late.test", "slow.test", "dying.test", "rotating.test"


def setup(lab):
    entries = [partner(domain) for domain in (FABRIKAM, LATE, SLOW, DYING, ROTATING)]
    lab.edge = edge_server(lab, configuration(*entries, s2s_partners_limits={"establishment_timeout": 2}), s2s_timeout=60,
                           modules=["s2s_bidi"]).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    return lab


def send(lab, domain):
    body = lab.alice.new_id()
    lab.alice.send_message(f"bob@{domain}", body)
    return body


def reaches(remote, body):
    remote.wait_element(lambda element: element.name == "message" and element.find("body").text == body)


def scenario_bidi_does_not_take_a_live_route(lab):
    """A second stream, bidirectional, comes and goes: ours stays, and so does what goes over it."""
    remote = Remote(lab, [FABRIKAM], leaf=lab.certificates.leaf(FABRIKAM))
    reaches(remote, send(lab, FABRIKAM))
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.secure()
        probe.send("<bidi xmlns='urn:xmpp:bidi'/>")
        assert probe.external().name == "success"
        probe.features()
        established(lab.edge, "from", FABRIKAM, mark)
        reaches(remote, send(lab, FABRIKAM))
    time.sleep(0.3)
    reaches(remote, send(lab, FABRIKAM))
    assert len(remote.connections) == 1


def scenario_given_up_and_begun_anew(lab):
    """The end of a stream that was given up is not the end of the one that took its place."""
    speak = []

    def mute_at_first(connection):
        if not speak:
            connection.read_header()
            time.sleep(8)
        else:
            remote.play(connection)
    remote = Remote(lab, [SLOW], leaf=lab.certificates.leaf(SLOW), script=mute_at_first)
    condition, _, kind = outbound_error(lab.alice, f"bob@{SLOW}")
    assert (condition, kind) == ("remote-server-timeout", "wait")
    speak.append(True)
    reaches(remote, send(lab, SLOW))
    for connection in remote.connections[:1]:
        connection.close()
    time.sleep(0.5)
    reaches(remote, send(lab, SLOW))
    assert len(remote.connections) == 2


def everything(sock):
    """What is said until the connection ends."""
    said = b""
    sock.settimeout(10)
    try:
        while data := sock.recv(4096):
            said += data
    except ConnectionError:
        pass
    return said


def scenario_connected_too_late(lab):
    """A connection that comes about after the stream was given up is closed, with nothing said on it."""
    address = lab.address()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 5269))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((address, 5269))
        fillers.append(filler)
    own = {filler.getsockname() for filler in fillers}
    lab.dns.server(LATE, address)
    mark = lab.edge.mark()
    try:
        assert outbound_error(lab.alice, f"bob@{LATE}")[0] == "remote-server-timeout"
        # Now there is room, and the edge's next attempt comes through. Should its end come first, the kernel has nothing to hand out.
        said, deadline = b"", time.monotonic() + 25
        listener.settimeout(0.5)
        while True:
            through = re.search(r"\[pending connection \S+\] Successfully connected", lab.edge.log_since(mark))
            try:
                sock, peer = listener.accept()
            except TimeoutError:
                if through:
                    break
                assert time.monotonic() < deadline, "no attempt has come through"
                continue
            with sock:
                said += b"" if peer in own else everything(sock)
        assert b"lab" not in said and b"message" not in said, said
        assert not re.search(r"Sending\[s2s\w+\]: <(message|presence|iq|db)", lab.edge.log_since(mark))
    finally:
        for sock in (listener, *fillers):
            sock.close()


def scenario_dies_at_once(lab):
    """Closed in the middle, over and over: each sender is told, and then it works."""
    def dying(connection):
        if len(remote.connections) <= 5:
            connection.read_header()
            connection.close()
        else:
            remote.play(connection)
    remote = Remote(lab, [DYING], leaf=lab.certificates.leaf(DYING), script=dying)
    for _ in range(5):
        assert outbound_error(lab.alice, f"bob@{DYING}")[0] in ("remote-server-not-found", "remote-server-timeout")
    reaches(remote, send(lab, DYING))
    wait_until(lambda: len(remote.connections) == 6, 20, "sixth connection")


def scenario_certificate_rotates(lab):
    """Attack 24: a stream is judged when it is opened; the next one is judged by the certificate of its own day."""
    remote = Remote(lab, [ROTATING], leaf=lab.certificates.leaf(ROTATING))
    reaches(remote, send(lab, ROTATING))
    remote.leaf = lab.certificates.leaf(ROTATING, "expired")
    reaches(remote, send(lab, ROTATING))
    assert len(remote.connections) == 1, "the live stream is not touched"
    remote.connections[-1].send("</stream:stream>")
    wait_until(lambda: ROTATING not in lab.edge.shell("s2s:show()"), 10, "the end of the old stream")
    condition, text, _ = outbound_error(lab.alice, ROTATING)
    assert condition == "not-allowed" and "certificate" in text, (condition, text)
    remote.leaf = lab.certificates.leaf(ROTATING, label="renewed")
    reaches(remote, send(lab, ROTATING))
