"""The inner side has the time-outs of the outer one."""

import re
import signal
import time

from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import ALICE, BOB, HOST, Boundary
from ._edge import any_method, configuration

PARTNERS = configuration(
    any_method("fabrikam.test", presence_authorization="user"),
    s2s_partners_limits={"establishment_timeout": 5, "inactivity_timeout": 5})


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS)
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


def scenario_silence_before_and_after_the_header(lab):
    start = time.monotonic()
    with Probe(lab.boundary.inner_address, from_=HOST, to="fabrikam.test") as mute, \
         Probe(lab.boundary.inner_address, from_=HOST, to="fabrikam.test") as silent:
        silent.secure()
        silent.read_close("connection-timeout", "establishment-timeout", timeout=20)
        mute.read_close("connection-timeout", "establishment-timeout", timeout=20)
    assert time.monotonic() - start >= 4.5


def scenario_half_open_handshake(lab):
    """TLS has been agreed upon and does not begin: the connection is cut, and nothing is said in clear."""
    with Probe(lab.boundary.inner_address, from_=HOST, to="fabrikam.test") as probe:
        probe.features()
        probe.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        assert probe.read().name == "proceed"
        probe.socket.settimeout(20)
        assert probe.socket.recv(100) == b"", "something was said in clear"


def scenario_stream_in_use_is_not_idle(lab):
    """Longer than inactivity_timeout, with a stanza each second."""
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        mark = lab.edge.mark()
        for number in range(9):
            bob.send_message(ALICE, f"in use {number}")
            alice.wait_message(f"in use {number}")
            time.sleep(1)
        assert not re.search(r"Refused inner stream to contoso.test .*inactivity-timeout", lab.edge.log_since(mark))


def scenario_idle_streams_end_and_come_again(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        for words in ("first", "after a pause"):
            mark = lab.edge.mark()
            bob.send_message(ALICE, f"{words}, in")
            alice.wait_message(f"{words}, in")
            alice.send_message(BOB, f"{words}, out")
            bob.wait_message(f"{words}, out")
            for direction in ("to", "from"):
                lab.edge.wait_log(rf"Refused inner stream {direction} contoso.test .*inactivity-timeout", 20, mark)
            # Those outside end at about the same time, and what the partner writes into one that does is lost.
            for server, other in ((lab.partner, HOST), (lab.inside, "fabrikam.test")):
                wait_until(lambda server=server, other=other: other not in server.shell("s2s:show()"), 20, f"end of the streams of {server.name}")


def scenario_server_inside_vanishes(lab):
    """Its machine is gone without a word: the ping over the stream gets no answer, and the next stanza is answered."""
    lab.edge.partners = lab.edge.partners.replace('["inactivity_timeout"] = 5;', '["inactivity_timeout"] = 60; ["keepalive_interval"] = 3;')
    for name in list(lab.edge.hosts):
        lab.edge.hosts[name] = lab.edge.hosts[name].replace("dialback = true", "dialback = true; keepalive = true")
    lab.edge.reload()
    with Client(BOB, lab.partner.address) as bob:
        with Client(ALICE, lab.inside.address) as alice:
            bob.send_message(ALICE, "here")
            alice.wait_message("here")
            mark = lab.edge.mark()
            time.sleep(8)
            assert "inactivity-timeout" not in lab.edge.log_since(mark), "a server that answers is not kept"
        mark = lab.edge.mark()
        lab.inside.process.signal(signal.SIGSTOP)
        try:
            lab.edge.wait_log(r"Refused inner stream to contoso.test .*inactivity-timeout: the partner did not answer a keepalive", 20, mark)
            id_ = bob.send_message(ALICE, "to nobody")
            assert bob.wait_error(id_, 30)[0] == "remote-server-timeout"
        finally:
            lab.inside.process.signal(signal.SIGCONT)
