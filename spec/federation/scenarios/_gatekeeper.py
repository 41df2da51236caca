"""The gatekeeper of the bypass scenarios, inbound: what a peer may try on a stream that it opens.

The edge serves contoso.test, litware.test (the same list), tailspin.test (a list of its own, northwind.test
only) and a component.  fabrikam.test and northwind.test may use SASL EXTERNAL only."""

from dataclasses import dataclass

from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.remote import Remote
from lab.xmlstream import BIDI, DIALBACK, SASL, TLS

from scenarios._edge import (ALICE, HOST, any_method, configuration, edge_server, heard, lua, partner,
                             tcp_dialback, tls_dialback)

SHARED, OWN, ROOMS = "litware.test", "tailspin.test", "rooms.contoso.test"
FABRIKAM, NORTHWIND, EVIL = "fabrikam.test", "northwind.test", "evil.test"
IDN, IDN_ASCII = "bücher.test", "xn--bcher-kva.test"

PARTNERS = configuration(
    partner(FABRIKAM), partner(NORTHWIND, "corp.northwind.test"), partner(IDN),
    tls_dialback("wingtip.test"), tcp_dialback("plain.test"), any_method("any.test"))


@dataclass
class Bypass:
    lab: object
    edge: Prosody
    alice: Client
    remotes: dict       # domain -> the honest authority that DNS names for it

    def probe(self, domain=FABRIKAM, to=HOST, leaf="good", **more):
        certificate = self.lab.certificates.leaf(domain, leaf) if leaf else None
        return Probe(self.edge.address, from_=domain, to=to, leaf=certificate, **more)

    def authenticated(self, domain=FABRIKAM, to=HOST, **more):
        probe = self.probe(domain, to, **more)
        probe.authenticate()
        return probe


def setup(lab):
    hosts = {HOST: "", SHARED: "", OWN: f"s2s_partners = {lua([partner(NORTHWIND)])}"}
    edge = edge_server(lab, PARTNERS, hosts=hosts, components={ROOMS: ("muc", "")}, modules=["s2s_bidi"], direct_tls=True,
                       users=[ALICE, f"carol@{SHARED}", f"dave@{OWN}"]).start()
    domains = (FABRIKAM, NORTHWIND, EVIL, "wingtip.test", "plain.test", "any.test")
    remotes = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain)) for domain in domains}
    return Bypass(lab, edge, Client(ALICE, edge.address), remotes)


def teardown(fixture):
    fixture.alice.close()


class Untouched:
    """with Untouched(fixture, domain): nobody is looked up or dialled, and alice hears nothing."""

    def __init__(self, fixture, *domains):
        self.fixture, self.domains = fixture, domains

    def connections(self):
        return {domain: len(remote.connections) for domain, remote in self.fixture.remotes.items()}

    def __enter__(self):
        self.dns, self.before = self.fixture.lab.dns.mark(), self.connections()
        self.heard = self.fixture.alice.mark()

    def __exit__(self, kind, *_):
        if kind:
            return
        for domain in self.domains:
            assert not self.fixture.lab.dns.asked(domain, self.dns), f"{domain} was looked up"
        assert self.connections() == self.before, (self.connections(), self.before)
        assert heard(self.fixture.alice, self.heard) == []


def methods_in(features):
    """What features say about authentication; some versions say more."""
    return [child.name for child in features.children if child.name in ("starttls", "mechanisms", "dialback", "bidi")]


def dialback_error(probe):
    """The key is refused, and the stream goes on."""
    answer = probe.read_until("result")
    assert answer.xmlns == DIALBACK and answer.get("type") == "error", answer


def still_works(fixture, probe, domain, body):
    probe.message(f"eve@{domain}", ALICE, body)
    fixture.alice.wait_message(body)


HANDSHAKE = {
    "auth": f"<auth xmlns='{SASL}' mechanism='EXTERNAL' to='%s'>=</auth>",
    "starttls": f"<starttls xmlns='{TLS}' to='%s'/>",
    "bidi": f"<bidi xmlns='{BIDI}' to='%s'/>",
    "features": "<stream:features to='%s'><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>",
    "success": f"<success xmlns='{SASL}' to='%s'/>",
    "failure": f"<failure xmlns='{SASL}' to='%s'/>",
    "proceed": f"<proceed xmlns='{TLS}' to='%s'/>",
    "verify": f"<db:verify xmlns:db='{DIALBACK}' from='fabrikam.test' to='%s' id='1'>key</db:verify>",
}

STANZAS = {
    "message": "<message%s from='%s' to='%s' id='s1'><body>stolen</body></message>",
    "presence": "<presence%s from='%s' to='%s' type='subscribe' id='s2'/>",
    "iq": "<iq%s from='%s' to='%s' type='get' id='s3'><ping xmlns='urn:xmpp:ping'/></iq>",
}


def pipelined(element, domain):
    return {
        "auth": f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>",
        "key": f"<db:result xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}'>0123456789abcdef</db:result>",
        "stanza": STANZAS["message"] % ("", f"eve@{domain}", ALICE),
    }[element]
