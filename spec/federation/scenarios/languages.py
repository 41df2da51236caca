"""The language of a stream's header goes to every stanza of the stream (RFC 6120 4.7.4)."""

from lab import machine
from lab.client import Client
from lab.probe import Probe

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner

TIMEOUT = 60
FABRIKAM = "fabrikam.test"
LONG, FEW = 200000, 20


def setup(lab):
    lab.edge = edge_server(lab, configuration(partner(FABRIKAM))).start()
    lab.alice = Client(ALICE, lab.edge.address)


def teardown(lab):
    lab.alice.close()


def messages_in(lab, language):
    """What alice gets of a stream whose last header has the language."""
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.secure()
        assert probe.external().name == "success"
        probe.open(attributes={"xml:lang": language})
        if machine.parser_waits():      # for an incomplete tag to double
            probe.send(" " * len(language))
        probe.read_header()
        probe.read_until("features")
        for number in range(FEW):
            probe.message(f"bob@{FABRIKAM}/b", ALICE, body=f"{language[:5]} {number}")
        return [lab.alice.wait_message(f"{language[:5]} {number}") for number in range(FEW)]


XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def scenario_language(lab):
    assert all(message.get(XML_LANG) == "de-CH-1996" for message in messages_in(lab, "de-CH-1996"))


def scenario_endless_language(lab):
    assert all(len(message.get(XML_LANG) or "") < 100 for message in messages_in(lab, "x" * LONG))
