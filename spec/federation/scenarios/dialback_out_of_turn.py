"""Dialback: answers that come too early, keys without end."""

import time

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.xmlstream import DIALBACK

from scenarios._edge import (ALICE, HOST, any_method, assert_not_established, configuration, edge_server, ended, heard,
                             tls_dialback)

WINGTIP, ADATUM, ANY = "wingtip.test", "adatum.test", "any.test"
KEYS = 300


def setup(lab):
    lab.edge = edge_server(lab, configuration(tls_dialback(WINGTIP), tls_dialback(ADATUM), any_method(ANY)), s2s_timeout=30).start()
    lab.stream_id = None


def says_valid(lab, domain):
    return (f"<db:verify xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}' id='{lab.stream_id}' type='valid'>"
            "0123456789abcdef</db:verify>")


def impostor(lab, domain):
    """Somebody on the way to the domain's server, who can do nothing but answer in clear; the stream is the impostor's, too."""
    def script(connection):
        connection.restart()
        connection.read_header()
        connection.answer_header()
        connection.send(says_valid(lab, domain))
        time.sleep(3)
    return Remote(lab, [domain], script=script)


def scenario_answer_before_tls(lab):
    """tls = "required": nothing that is said in clear on our own stream counts, the word on a key least of all."""
    remote = impostor(lab, WINGTIP)
    mark = lab.edge.mark()
    with Client(ALICE, lab.edge.address) as alice, \
         Probe(lab.edge.address, from_=WINGTIP, to=HOST, leaf=lab.certificates.leaf(WINGTIP, "self-signed")) as probe:
        probe.secure()
        lab.stream_id = probe.header.get("id")
        seen = alice.mark()
        probe.send_result()
        try:
            answer = probe.read_until("result", 5).get("type")
        except Exception:
            answer = None
        assert answer != "valid", "authenticated by a word in clear"
        assert remote.connections
        assert heard(alice, seen) == []
    assert_not_established(lab.edge, WINGTIP, mark)


def scenario_keys_without_end(lab):
    """Of one stream one key is asked about: else anybody fills the queue for a partner that does not answer."""
    remote = Remote(lab, [ADATUM], leaf=lab.certificates.leaf(ADATUM), verify="ignore")
    with Probe(lab.edge.address, from_=ADATUM, to=HOST, leaf=lab.certificates.leaf(ADATUM, "self-signed")) as probe:
        probe.secure()
        for number in range(KEYS):
            probe.send_result(key=f"key{number}")
        remote.wait_element("verify")
        ended(probe, 2)
        assert len(remote.elements("verify")) == 1, len(remote.elements("verify"))


def scenario_answer_after_tls(lab):
    """The same word where it belongs."""
    remote = Remote(lab, [ANY], leaf=lab.certificates.leaf(ANY))
    with Probe(lab.edge.address, from_=ANY, to=HOST, leaf=lab.certificates.leaf(ANY)) as probe:
        probe.secure()
        assert probe.dialback() == "valid"
    assert len(remote.elements("verify")) == 1
