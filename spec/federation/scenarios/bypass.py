"""Ways around the policy, inbound: what a peer may try on a stream that it opens.

The edge serves contoso.test, litware.test (the same list), tailspin.test (a list of its own, northwind.test
only) and a component.  fabrikam.test and northwind.test may use SASL EXTERNAL only."""

import ssl
from dataclasses import dataclass

from fedlab.client import Client
from fedlab.probe import Probe, mechanisms
from fedlab.prosody import Prosody
from fedlab.remote import Remote
from fedlab.waiting import wait_until
from fedlab.xmlstream import BIDI, DIALBACK, SASL, TLS, Closed

from scenarios._edge import (ALICE, HOST, any_method, assert_not_established, closed_somehow, configuration, edge_server,
                             ended, established, heard, lua, partner, refusal_logged, refused, tcp_dialback, tls_dialback, wrong_sender)

TIMEOUT = 60
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


# Dialback on a stream that is another's (attacks 1, 2, 5)

def scenario_piggyback_unlisted(fixture):
    with fixture.authenticated() as probe, Untouched(fixture, EVIL):
        probe.send_result(from_=EVIL)
        refused(probe, "unlisted-domain")


def scenario_piggyback_listed(fixture):
    for domain in (NORTHWIND, "wingtip.test", "corp.northwind.test"):
        with fixture.authenticated() as probe:
            with Untouched(fixture, domain):
                probe.send_result(from_=domain)
                dialback_error(probe)
            still_works(fixture, probe, FABRIKAM, f"after {domain}")
            probe.message(f"eve@{domain}", ALICE, "as the other")
            wrong_sender(probe)


def scenario_piggyback_listed_on_dialback(fixture):
    with fixture.probe("wingtip.test") as probe:
        probe.secure()
        assert probe.dialback() == "valid"
        with Untouched(fixture, "any.test"):
            probe.send_result(from_="any.test")
            dialback_error(probe)
        still_works(fixture, probe, "wingtip.test", "still wingtip")


def scenario_piggyback_own_domain_listed_twice(fixture):
    """Another domain of the same partner is another domain all the same."""
    with fixture.authenticated(NORTHWIND) as probe, Untouched(fixture, "corp.northwind.test"):
        probe.message("eve@corp.northwind.test", ALICE, "as a subsidiary")
        wrong_sender(probe)


def scenario_piggyback_other_host(fixture):
    """Refused either way: by a dialback error, or with the stream."""
    for host in (SHARED, OWN, ROOMS):
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            with Untouched(fixture, "wingtip.test"):
                probe.send_result(to=host)
                try:
                    dialback_error(probe)
                except Closed as closed:
                    assert closed.error.condition == "policy-violation", closed
                    assert "(wrong-domain)" in closed.error.error_text, closed


def scenario_key_before_tls(fixture):
    for domain in (FABRIKAM, "wingtip.test"):
        with fixture.probe(domain) as probe, Untouched(fixture, domain):
            probe.features()
            probe.send_result()
            refused(probe, "tls-required")


def scenario_key_with_a_type(fixture):
    """A result is for the side that asks."""
    for type_ in ("valid", "invalid", "error"):
        with fixture.probe("wingtip.test") as probe, Untouched(fixture, "wingtip.test"):
            probe.secure()
            probe.send(f"<db:result xmlns:db='{DIALBACK}' from='wingtip.test' to='{HOST}' type='{type_}'/>")
            probe.message("eve@wingtip.test", ALICE, "by my own word")
            closed_somehow(probe)


def scenario_invalid_key(fixture):
    remote = fixture.remotes["wingtip.test"]
    for answer in ("invalid", "error"):
        remote.verify = answer
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            assert probe.dialback() in ("invalid", "error")
            seen = fixture.alice.mark()
            probe.message("eve@wingtip.test", ALICE, "with an invalid key")
            closed_somehow(probe)
        assert heard(fixture.alice, seen) == []
    remote.verify = "valid"


def scenario_without_from(fixture):
    """STARTTLS only; and nothing at all when the name is still missing after it."""
    with fixture.probe() as probe:
        features = probe.features(from_=None)
        assert features.find("starttls", TLS).find("required") and methods_in(features) == ["starttls"], features
        with Untouched(fixture, FABRIKAM):
            assert probe.starttls() is None
            probe.open(from_=None)
            probe.send_result()
            closed_somehow(probe)


def scenario_from_only_after_tls(fixture):
    with fixture.probe() as probe:
        probe.features(from_=None)
        assert probe.starttls() is None
        assert mechanisms(probe.features()) == ["EXTERNAL"]
        assert probe.external().name == "success"
        probe.features()
        still_works(fixture, probe, FABRIKAM, "named late")


def scenario_unlisted_from_only_after_tls(fixture):
    with fixture.probe(EVIL) as probe, Untouched(fixture, EVIL):
        probe.features(from_=None)
        assert probe.starttls() is None
        probe.open()
        refused(probe, "unlisted-domain")


def scenario_from_only_in_the_key(fixture):
    """A name that comes first with the key is judged as if it had come with the header."""
    for domain, reason in ((FABRIKAM, "tls-required"), (EVIL, "unlisted-domain")):
        with fixture.probe(domain) as probe, Untouched(fixture, domain):
            probe.features(from_=None)
            probe.send_result()
            refused(probe, reason)


def scenario_auth_without_from(fixture):
    with fixture.probe() as probe:
        probe.features(from_=None)
        assert probe.starttls() is None
        probe.open(from_=None)
        probe.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>ZmFicmlrYW0udGVzdA==</auth>")
        probe.message(f"eve@{FABRIKAM}", ALICE, "nobody's stream")
        closed_somehow(probe)


# Elements addressed to another host (attack 3)

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


def addressed_elsewhere(name, secure):
    def scenario(fixture):
        for host in (SHARED, OWN, ROOMS, "nowhere.test"):
            mark = fixture.edge.mark()
            with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
                probe.secure() if secure else probe.features()
                probe.send(HANDSHAKE[name] % host)
                refused(probe, "wrong-domain")
            assert_not_established(fixture.edge, FABRIKAM, mark)
    return scenario


# Streams of before XMPP 1.0, without 'to' (attacks 4, 6)

def scenario_pre_1_0(fixture):
    for version in (None, "0.9"):
        for domain, reason in ((FABRIKAM, "tls-required"), ("wingtip.test", "tls-required"), (EVIL, "unlisted-domain")):
            with fixture.probe(domain) as probe, Untouched(fixture, domain):
                probe.open(version=version)
                probe.send_result()
                refused(probe, reason)


def scenario_pre_1_0_unlisted_at_once(fixture):
    """Closed as soon as the domain is known, that is with the header."""
    with fixture.probe(EVIL) as probe:
        probe.open(version=None)
        probe.read_close("policy-violation", "unlisted-domain", timeout=3)


def scenario_pre_1_0_where_allowed(fixture):
    for domain in ("plain.test", "any.test"):
        mark = fixture.edge.mark()
        with fixture.probe(domain) as probe:
            probe.open(version=None)
            assert probe.dialback() == "valid"
            still_works(fixture, probe, domain, f"by an old {domain}")
        assert established(fixture.edge, "from", domain, mark)[1] == "TCP dialback"


def scenario_pre_1_0_stanza(fixture):
    with fixture.probe("plain.test") as probe, Untouched(fixture):
        probe.open(version=None)
        probe.message("eve@plain.test", ALICE, "no key at all")
        refused(probe, "no-method-left", "not-authorized")


def scenario_without_to(fixture):
    for version in ("1.0", None):
        with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
            probe.open(to=None, version=version)
            probe.send_result(to=HOST)
            closed_somehow(probe)


def scenario_without_any_address(fixture):
    for version in ("1.0", None):
        with fixture.probe() as probe, Untouched(fixture, FABRIKAM, EVIL):
            probe.open(to=None, from_=None, version=version)
            probe.send_result(from_=EVIL, to=HOST)
            closed_somehow(probe)


def scenario_to_somebody_else(fixture):
    with fixture.probe(to="nowhere.test") as probe:
        probe.open()
        probe.read_close("host-unknown")


def scenario_from_a_host_of_ours(fixture):
    for host in (HOST, SHARED, ROOMS):
        with fixture.probe(host) as probe, Untouched(fixture, host):
            probe.open()
            closed_somehow(probe)


# Names (attacks 7, 8, 9)

CANONICAL = ["FABRIKAM.test", "Fabrikam.Test"]
FOLDED = ["fabrikam.test.", "fabri\u00adkam.test", "fabri\u200bkam.test", "fabrikam\uff0etest", "\uff46abrikam.test"]
LOOKALIKES = [
    "f\u0430brikam.test", "xn--fbrikam-2fg.test", "fabrikam%2etest", "fabrikam.test ", "fabrikam.test\u00a0", " fabrikam.test",
    "fabrikam\u3002test", "fabrikam.test..", ".fabrikam.test", "fabrikam..test", "fabrikam.test/x", "x@fabrikam.test",
    "fabrikam\\2etest", "sub.fabrikam.test", "fabrikam.test.evil.test", "evilfabrikam.test", "fabrikam.tes", "fabrikam", "test",
    "brikam.test", "fabrikam.test:5269", "127.0.0.1", "[::1]", "x" * 64 + ".fabrikam.test",
]


def authenticates_as(fixture, name, leaf_domain=FABRIKAM):
    """The name is in the stream header, the certificate is the partner's: the partner that results, or None."""
    mark = fixture.edge.mark()
    leaf = fixture.lab.certificates.leaf(leaf_domain)
    with Probe(fixture.edge.address, from_=name, to=HOST, leaf=leaf) as probe:
        try:
            if "EXTERNAL" not in mechanisms(probe.secure()) or probe.external().name != "success":
                return None
            probe.features()
        except Closed:
            return None
    return fixture.edge.wait_log(r"Established stream from \S+ \(host \S+, partner (\S+)\)", 10, mark)[1]


def scenario_names_canonical(fixture):
    for name in CANONICAL:
        assert authenticates_as(fixture, name) == FABRIKAM, name


def scenario_names_folded(fixture):
    """What core's nameprep folds to the partner is the partner, or is nobody; never a third thing."""
    for name in FOLDED:
        assert authenticates_as(fixture, name) in (FABRIKAM, None), name


def scenario_names_lookalike(fixture):
    for name in LOOKALIKES:
        with Untouched(fixture, FABRIKAM):
            assert authenticates_as(fixture, name) is None, name


def scenario_names_idn(fixture):
    """The U-label, its A-label and other spellings of either are one partner."""
    for name in (IDN, IDN_ASCII, "BÜCHER.test", "XN--BCHER-KVA.test", "bu\u0308cher.test"):
        assert authenticates_as(fixture, name, IDN_ASCII) == IDN_ASCII, name
    for name in ("bucher.test", "xn--bcher-kvb.test", "b\u00fccher.test.evil.test"):
        assert authenticates_as(fixture, name, IDN_ASCII) is None, name


def scenario_names_idn_stanza(fixture):
    """Spelled as in the stream header.  Core knows nothing of the other spelling, and may end the stream for it."""
    for stream, sender in ((IDN, IDN), (IDN_ASCII, IDN_ASCII), (IDN, IDN_ASCII)):
        with Probe(fixture.edge.address, from_=stream, to=HOST, leaf=fixture.lab.certificates.leaf(IDN_ASCII)) as probe:
            probe.authenticate()
            body = f"{sender} over {stream}"
            probe.message(f"eve@{sender}", ALICE, body)
            if stream == sender:
                fixture.alice.wait_message(body)
            elif ended(probe):
                assert probe.error.condition == "not-authorized", probe.error
            else:
                fixture.alice.wait_message(body)


def scenario_names_stanza_case(fixture):
    with fixture.authenticated() as probe:
        still_works(fixture, probe, "FABRIKAM.Test", "in capitals")
        with Untouched(fixture):
            probe.message("eve@sub.fabrikam.test", ALICE, "from below")
            wrong_sender(probe)


# Stanzas (attacks 10, 17)

STANZAS = {
    "message": "<message%s from='%s' to='%s' id='s1'><body>stolen</body></message>",
    "presence": "<presence%s from='%s' to='%s' type='subscribe' id='s2'/>",
    "iq": "<iq%s from='%s' to='%s' type='get' id='s3'><ping xmlns='urn:xmpp:ping'/></iq>",
}


def scenario_stanza_of_somebody_else(fixture):
    senders = [f"eve@{domain}" for domain in (NORTHWIND, EVIL, HOST, SHARED, "evilfabrikam.test", f"{FABRIKAM}.evil.test")]
    for sender in [*senders, EVIL, ALICE]:
        for stanza in STANZAS.values():
            with fixture.authenticated() as probe, Untouched(fixture, EVIL):
                probe.send(stanza % ("", sender, ALICE))
                wrong_sender(probe)


def scenario_stanza_of_somebody_else_to_anybody(fixture):
    for to in (HOST, f"carol@{SHARED}", f"dave@{OWN}", f"hall@{ROOMS}", ROOMS, f"nobody@{HOST}", f"x@{EVIL}"):
        with fixture.authenticated() as probe, Untouched(fixture, EVIL):
            probe.send(STANZAS["iq"] % ("", f"eve@{NORTHWIND}", to))
            wrong_sender(probe)


def scenario_stanza_in_another_namespace(fixture):
    """No stanza of this stream at all: not delivered, and not answered to whom it says it is from."""
    for xmlns in ("jabber:client", "jabber:component:accept", "urn:example", "http://etherx.jabber.org/streams"):
        for stanza in STANZAS.values():
            for sender in (f"eve@{FABRIKAM}", f"eve@{NORTHWIND}", f"eve@{EVIL}"):
                with fixture.authenticated() as probe, Untouched(fixture, FABRIKAM, NORTHWIND, EVIL):
                    probe.send(stanza % (f" xmlns='{xmlns}'", sender, ALICE) + "</stream:stream>")
                    closed_somehow(probe)


def scenario_stanza_to_nobody(fixture):
    with fixture.authenticated() as probe, Untouched(fixture):
        probe.send(f"<message from='eve@{FABRIKAM}' id='n1'><body>to nobody</body></message>")
        ended(probe)


def scenario_stanza_of_somebody_else_has_its_reason(fixture):
    """Every refusal has a reason, in the stream error and in the module's own line."""
    mark = fixture.edge.mark()
    with fixture.authenticated() as probe:
        probe.message(f"eve@{NORTHWIND}", ALICE, "stolen")
        refused(probe, "wrong-domain", "not-authorized")
    refusal_logged(fixture.edge, "from", FABRIKAM, "wrong-domain", mark)


def scenario_stanza_without_from(fixture):
    for name in STANZAS:
        with fixture.authenticated() as probe, Untouched(fixture):
            probe.send(f"<{name} to='{ALICE}' type='get' id='s4'><body>anonymous</body></{name}>")
            closed_somehow(probe)


def scenario_stanza_too_early(fixture):
    for xmlns in ("", " xmlns='jabber:client'", " xmlns='jabber:server'"):
        for stanza in STANZAS.values():
            for to in (ALICE, HOST, f"nobody@{HOST}", f"hall@{ROOMS}", f"dave@{OWN}", f"x@{EVIL}"):
                with fixture.probe() as probe, Untouched(fixture, EVIL):
                    probe.features()
                    probe.send(stanza % (xmlns, f"eve@{FABRIKAM}", to))
                    refused(probe, "tls-required", "not-authorized")


def scenario_stanza_after_tls(fixture):
    for stanza in STANZAS.values():
        with fixture.probe() as probe, Untouched(fixture):
            probe.secure()
            probe.send(stanza % ("", f"eve@{FABRIKAM}", ALICE))
            refused(probe, "sasl-required", "not-authorized")


def scenario_stanza_while_the_key_is_verified(fixture):
    remote = fixture.remotes["wingtip.test"]
    remote.verify = "ignore"
    try:
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            seen = fixture.alice.mark()
            probe.send_result()
            probe.message("eve@wingtip.test", ALICE, "not yet")
            probe.read_close("not-authorized")
        assert heard(fixture.alice, seen) == []
    finally:
        remote.verify = "valid"


def scenario_stanza_to_other_hosts(fixture):
    """Allowed where that host's policy lists the partner with this method; else as if nobody was there."""
    with Client(f"carol@{SHARED}", fixture.edge.address) as carol, Client(f"dave@{OWN}", fixture.edge.address) as dave:
        with fixture.authenticated() as probe:
            probe.message(f"eve@{FABRIKAM}", f"carol@{SHARED}", "to carol")
            carol.wait_message("to carol")
            seen = dave.mark()
            probe.message(f"eve@{FABRIKAM}", f"dave@{OWN}", "to dave", id_="dave1")
            still_works(fixture, probe, FABRIKAM, "behind the refused one")
            assert heard(dave, seen) == []
        with fixture.authenticated(NORTHWIND) as probe:
            probe.message(f"eve@{NORTHWIND}", f"dave@{OWN}", "to dave")
            dave.wait_message("to dave")


def scenario_stanza_to_the_component(fixture):
    remote = fixture.remotes[FABRIKAM]
    with fixture.authenticated() as probe:
        probe.send(f"<iq from='eve@{FABRIKAM}' to='{ROOMS}' type='get' id='rooms1'>"
                   "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        answer = remote.wait_element(lambda element: element.get("id") == "rooms1")
        assert answer.get("type") == "result", answer


def scenario_stream_to_the_component(fixture):
    with fixture.probe(EVIL, to=ROOMS) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    mark = fixture.edge.mark()
    with fixture.authenticated(to=ROOMS):
        established(fixture.edge, "from", FABRIKAM, mark)


def scenario_stream_to_a_host_with_a_list_of_its_own(fixture):
    with fixture.probe(to=OWN) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    fixture.authenticated(NORTHWIND, to=OWN).close()


def scenario_not_relayed(fixture):
    """The edge is no way from one domain to another."""
    with fixture.authenticated() as probe, Untouched(fixture, EVIL, NORTHWIND):
        for to in (f"x@{EVIL}", f"x@{NORTHWIND}"):
            probe.message(f"eve@{FABRIKAM}", to, "pass it on")
        ended(probe)


def scenario_answer_takes_the_way_of_its_own_address(fixture):
    """A request to one host over the stream to another: the answer comes over a stream from the host that was asked."""
    remote = fixture.remotes[FABRIKAM]
    with fixture.authenticated() as probe:
        probe.send(f"<iq from='eve@{FABRIKAM}' to='{SHARED}' type='get' id='way1'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer = remote.wait_element(lambda element: element.get("id") == "way1")
    assert answer.get("type") == "result" and answer.get("from") == SHARED, answer
    connection = next(one for one in remote.connections if answer in one.elements)
    assert connection.headers[0].get("from") == SHARED, connection.headers


def scenario_stream_to_one_host_stanza_to_another(fixture):
    with fixture.authenticated(NORTHWIND, to=OWN) as probe:
        still_works(fixture, probe, NORTHWIND, "by way of tailspin")
    with fixture.authenticated(to=ROOMS) as probe:
        still_works(fixture, probe, FABRIKAM, "by way of the rooms")


# Everything at once

def scenario_pipelined_in_one_segment(fixture):
    """Header, key, <auth/> and a stanza before anything has been answered."""
    for domain in (FABRIKAM, EVIL, "wingtip.test"):
        mark = fixture.edge.mark()
        with fixture.probe(domain) as probe, Untouched(fixture, *([] if domain == FABRIKAM else [domain])):
            probe.send(probe.open_text(from_=domain, to=HOST) + pipelined("auth", domain) + pipelined("key", domain)
                       + pipelined("stanza", domain))
            closed_somehow(probe)
        assert_not_established(fixture.edge, domain, mark)


# SASL (attacks 11, 20, 25)

def scenario_sasl_authzid(fixture):
    for authzid in (NORTHWIND, EVIL, HOST, f"eve@{FABRIKAM}", "sub.fabrikam.test", b"%%%%", b"PQ==", b"Zm9v=Zm9v"):
        mark = fixture.edge.mark()
        with fixture.probe() as probe, Untouched(fixture, EVIL):
            probe.secure()
            try:
                assert probe.external(authzid).name == "failure", authzid
            except Closed:
                pass
        assert_not_established(fixture.edge, FABRIKAM, mark)


def scenario_sasl_authzid_of_its_own(fixture):
    """Its own name, or none: "=" is RFC 6120's empty response, and core takes more of them for the same."""
    for authzid in ("", FABRIKAM, b"=", b"===="):
        with fixture.probe() as probe:
            probe.secure()
            assert probe.external(authzid).name == "success"


def scenario_sasl_twice(fixture):
    with fixture.authenticated() as probe, Untouched(fixture):
        probe.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>bm9ydGh3aW5kLnRlc3Q=</auth>")
        refused(probe, "sasl-not-supported")


def scenario_sasl_other_mechanism(fixture):
    for mechanism in ("PLAIN", "ANONYMOUS", "SCRAM-SHA-1", ""):
        mark = fixture.edge.mark()
        with fixture.probe() as probe:
            probe.secure()
            probe.send(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>AGV2ZQBldmU=</auth>")
            try:
                assert probe.read_until(lambda e: e.name in ("success", "failure")).name == "failure"
            except Closed:
                pass
        assert_not_established(fixture.edge, FABRIKAM, mark)


def certificate_refused(kind, verdict):
    def scenario(fixture):
        with fixture.probe(leaf=kind) as probe, Untouched(fixture, FABRIKAM):
            probe.features()
            assert probe.starttls() is None
            probe.open()
            refused(probe, f"certificate-{verdict}", "not-authorized")
    return scenario


def scenario_certificate_of_another_partner(fixture):
    leaf = fixture.lab.certificates.leaf(NORTHWIND)
    with Probe(fixture.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.features()
        assert probe.starttls() is None
        probe.open()
        refused(probe, "certificate-identity-mismatch", "not-authorized")


def scenario_no_certificate_on_tls_1_2_and_1_3(fixture):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with fixture.probe(leaf=None, tls_maximum=version) as probe:
            probe.features()
            assert probe.starttls() is None
            assert probe.tls == version.name.replace("_", ".")
            probe.open()
            refused(probe, "certificate-no-certificate", "not-authorized")


# Forged TLS, repeated and misplaced elements (attack 18)

def scenario_pipelined_starttls(fixture):
    """Core takes a second header behind <starttls/> for the one after a handshake."""
    for domain in (FABRIKAM, "wingtip.test", "any.test"):
        for element in ("auth", "key", "stanza"):
            mark = fixture.edge.mark()
            with fixture.probe(domain) as probe, Untouched(fixture, domain):
                probe.features()
                # Without an XML declaration, which the parser would not take there.
                header = probe.open_text(from_=domain, to=HOST, declaration=False)
                probe.send(f"<starttls xmlns='{TLS}'/>{header}{pipelined(element, domain)}")
                assert probe.read().name == "proceed"
                try:
                    clear = probe.read(3)
                except (Closed, TimeoutError):
                    clear = None
                assert clear is None, f"in clear after <proceed/>: {clear}"
            assert_not_established(fixture.edge, domain, mark)


def pipelined(element, domain):
    return {
        "auth": f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>",
        "key": f"<db:result xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}'>0123456789abcdef</db:result>",
        "stanza": STANZAS["message"] % ("", f"eve@{domain}", ALICE),
    }[element]


def scenario_starttls_inside_tls(fixture):
    for domain in (FABRIKAM, "any.test"):
        with fixture.probe(domain) as probe:
            probe.secure()
            assert probe.starttls().name == "failure"
            refused(probe, "tls-not-supported")


def scenario_starttls_after_authentication(fixture):
    with fixture.authenticated() as probe:
        assert probe.starttls().name == "failure"
        refused(probe, "tls-not-supported")


def scenario_more_after_tcp_dialback(fixture):
    """An authenticated stream in clear: neither STARTTLS nor SASL comes any more."""
    for element in (f"<starttls xmlns='{TLS}'/>", f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>"):
        with fixture.probe("any.test") as probe:
            probe.features()
            assert probe.dialback() == "valid"
            probe.send(element)
            assert probe.read_until(lambda answer: answer.xmlns in (TLS, SASL)).name == "failure"
            probe.read_close("policy-violation")


def scenario_key_after_sasl(fixture):
    """A key for what is proven already changes nothing, and nobody is asked about it."""
    for domain in (FABRIKAM, "any.test"):
        with fixture.authenticated(domain) as probe:
            with Untouched(fixture, domain):
                probe.send_result()
            still_works(fixture, probe, domain, f"after the key of {domain}")
            assert not any(kind == "element" and element.name == "result" for kind, element in probe.seen)


def scenario_verification_by_a_third(fixture):
    """The key of one domain, confirmed over our stream to another."""
    wingtip, other = fixture.remotes["wingtip.test"], fixture.remotes["any.test"]
    fixture.alice.send_message("eve@any.test", "a stream of ours")
    other.wait_element(lambda element: element.name == "message")
    connection = next(one for one in other.connections if any(element.name == "message" for element in one.elements))
    wingtip.verify = "ignore"
    try:
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            mark, before = fixture.edge.mark(), len(wingtip.elements("verify"))
            probe.send_result()
            wait_until(lambda: len(wingtip.elements("verify")) > before, 5, "question about the key")
            connection.send(f"<db:verify xmlns:db='{DIALBACK}' from='wingtip.test' to='{HOST}' "
                            f"id='{probe.header.get('id')}' type='valid'/>")
            assert not answered(probe), probe.seen
        assert_not_established(fixture.edge, "wingtip.test", mark)
    finally:
        wingtip.verify = "valid"


def answered(probe, seconds=1):
    try:
        return probe.read(seconds).get("type") == "valid"
    except (TimeoutError, Closed):
        return False


def scenario_misplaced_answers(fixture):
    """Elements that only the side that was called may send."""
    for element in ("features", "success", "failure", "proceed"):
        for secure in (False, True):
            mark = fixture.edge.mark()
            with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
                probe.secure() if secure else probe.features()
                probe.send(HANDSHAKE[element].replace(" to='%s'", ""))
                closed_somehow(probe)
            assert_not_established(fixture.edge, FABRIKAM, mark)


def scenario_restart_as_another(fixture):
    """The names of a stream cannot change at a restart."""
    leaf = fixture.lab.certificates.leaf(FABRIKAM, also=[NORTHWIND])
    for changes in ({"from_": NORTHWIND}, {"to": OWN}, {"to": SHARED}, {"from_": EVIL}, {"from_": None}, {"to": None}):
        with Probe(fixture.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
            probe.secure()
            assert probe.external().name == "success"
            probe.open(**changes)
            probe.message(f"eve@{changes.get('from_') or FABRIKAM}", ALICE, "changed")
            closed_somehow(probe)


def scenario_restart_as_another_after_tls(fixture):
    leaf = fixture.lab.certificates.leaf(FABRIKAM, also=[NORTHWIND])
    with Probe(fixture.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.features()
        assert probe.starttls() is None
        probe.open(from_=NORTHWIND)
        closed_somehow(probe)


def scenario_restart_unasked(fixture):
    """A header in the middle of a stream."""
    for as_ in (FABRIKAM, NORTHWIND):
        mark = fixture.edge.mark()
        with fixture.authenticated() as probe, Untouched(fixture):
            established(fixture.edge, "from", FABRIKAM, mark)
            probe.send(probe.open_text(from_=as_, to=HOST, declaration=False))
            probe.message(f"eve@{NORTHWIND}", ALICE, "as another")
            probe.send("</stream:stream>")      # ends what may be no more than an odd element
            probe.message(f"eve@{NORTHWIND}", ALICE, "as another")
            closed_somehow(probe)


def scenario_client_namespace(fixture):
    """A server stream that says it is a client's."""
    with fixture.probe() as probe, Untouched(fixture):
        probe.open(xmlns="jabber:client")
        probe.message(f"eve@{FABRIKAM}", ALICE, "as a client")
        closed_somehow(probe)


# db:verify: we are the authority

def scenario_verify_unlisted(fixture):
    with fixture.probe(EVIL) as probe, Untouched(fixture, EVIL):
        probe.open()
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{EVIL}' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "unlisted-domain")
    with fixture.probe(EVIL) as probe, Untouched(fixture, EVIL):
        probe.features(from_=None)
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{EVIL}' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "unlisted-domain")


def unanswered(probe):
    """Whatever becomes of the stream, the key is not answered."""
    try:
        answer = probe.verify("key", "1", timeout=1)
    except (Closed, TimeoutError):
        return
    raise AssertionError(f"db:verify was answered: {answer}")


def scenario_verify_sasl_only(fixture):
    with fixture.probe() as probe:
        probe.features()
        unanswered(probe)
    with fixture.probe() as probe:
        probe.secure()
        unanswered(probe)
    with fixture.authenticated() as probe:
        unanswered(probe)
        still_works(fixture, probe, FABRIKAM, "behind the unanswered key")


def scenario_verify_by_state_of_tls(fixture):
    with fixture.probe("wingtip.test") as probe:
        probe.features()
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='wingtip.test' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "tls-required")
    with fixture.probe("wingtip.test") as probe:
        probe.secure()
        assert probe.verify("key", "1") == "invalid"
    for domain in ("plain.test", "any.test"):
        with fixture.probe(domain) as probe:
            probe.features()
            assert probe.verify("key", "1") == "invalid"


def scenario_verify_for_another(fixture):
    with fixture.probe("wingtip.test") as probe:
        probe.secure()
        for domain in (NORTHWIND, EVIL):
            probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}' id='1'>key</db:verify>")
        refused(probe, "unlisted-domain")
        assert not any(kind == "element" and element.name == "verify" and element.get("type") in ("valid", "invalid")
                       for kind, element in probe.seen)


# Bidi, inbound (attack 14)

def bidi(fixture, domain=FABRIKAM, leaf="good"):
    probe = fixture.probe(domain, leaf=leaf)
    probe.secure()
    probe.send(f"<bidi xmlns='{BIDI}'/>")
    return probe


def scenario_bidi_both_ways(fixture):
    with bidi(fixture) as probe:
        assert probe.external().name == "success"
        probe.features()
        still_works(fixture, probe, FABRIKAM, "in over bidi")
        with Untouched(fixture, FABRIKAM):
            fixture.alice.send_message(f"eve@{FABRIKAM}", "out over bidi")
            assert probe.read_until("message").find("body").text == "out over bidi"


def scenario_bidi_second_domain(fixture):
    for sender in (NORTHWIND, EVIL, HOST):
        with bidi(fixture) as probe:
            assert probe.external().name == "success"
            probe.features()
            with Untouched(fixture, EVIL):
                probe.message(f"eve@{sender}", ALICE, "as a second domain")
                wrong_sender(probe)


def scenario_bidi_other_hosts(fixture):
    with Client(f"carol@{SHARED}", fixture.edge.address) as carol, Client(f"dave@{OWN}", fixture.edge.address) as dave:
        with bidi(fixture) as probe:
            assert probe.external().name == "success"
            probe.features()
            probe.message(f"eve@{FABRIKAM}", f"carol@{SHARED}", "bidi to carol")
            carol.wait_message("bidi to carol")
            seen = dave.mark()
            probe.message(f"eve@{FABRIKAM}", f"dave@{OWN}", "bidi to dave")
            still_works(fixture, probe, FABRIKAM, "behind bidi to dave")
            assert heard(dave, seen) == []


def scenario_bidi_before_authentication(fixture):
    """Asking for bidi gives no right to what is queued for the partner."""
    with bidi(fixture) as probe:
        fixture.alice.send_message(f"eve@{FABRIKAM}", "not for the unproven")
        fixture.remotes[FABRIKAM].wait_element(
            lambda element: element.name == "message" and element.find("body").text == "not for the unproven")
        assert not any(kind == "element" and element.name == "message" for kind, element in probe.seen)


def scenario_bidi_self_signed(fixture):
    probe = fixture.probe(leaf="self-signed")
    with probe:
        probe.features()
        assert probe.starttls() is None
        probe.open()
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        refused(probe, "certificate-untrusted", "not-authorized")


def scenario_bidi_in_clear(fixture):
    with fixture.probe() as probe, Untouched(fixture):
        assert not probe.features().find("bidi")
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        probe.message(f"eve@{FABRIKAM}", ALICE, "bidi in clear")
        refused(probe, "tls-required", "not-authorized")


# Direct TLS (XEP-0368) counts as TLS

def direct(fixture, domain=FABRIKAM, leaf="good"):
    return fixture.probe(domain, leaf=leaf, port=5270, direct_tls=True)


def scenario_direct_tls(fixture):
    mark = fixture.edge.mark()
    with direct(fixture) as probe:
        features = probe.features()
        assert mechanisms(features) == ["EXTERNAL"] and not features.find("starttls"), features
        assert probe.external().name == "success"
        probe.features()
        still_works(fixture, probe, FABRIKAM, "by direct TLS")
    assert established(fixture.edge, "from", FABRIKAM, mark)[2].startswith("TLS")


def scenario_direct_tls_dialback(fixture):
    with direct(fixture, "wingtip.test", leaf=None) as probe:
        probe.features()
        assert probe.dialback() == "valid"
        still_works(fixture, probe, "wingtip.test", "by direct TLS and dialback")


def scenario_direct_tls_refused(fixture):
    for domain, leaf, reason, condition in (
            ("plain.test", "good", "tls-not-supported", "policy-violation"),
            (EVIL, "good", "unlisted-domain", "policy-violation"),
            (FABRIKAM, "self-signed", "certificate-untrusted", "not-authorized"),
            (FABRIKAM, None, "certificate-no-certificate", "not-authorized")):
        with direct(fixture, domain, leaf) as probe, Untouched(fixture, domain):
            probe.open()
            refused(probe, reason, condition)


def scenario_direct_tls_without_from(fixture):
    with direct(fixture) as probe, Untouched(fixture, FABRIKAM):
        probe.open(from_=None)
        probe.send_result()
        closed_somehow(probe)


# What comes before, and after

def scenario_features_after_authentication(fixture):
    """An authenticated stream is offered no further way to authenticate."""
    with fixture.authenticated() as probe:
        features = next(element for kind, element in reversed(probe.seen) if kind == "element")
        assert features.name == "features" and not methods_in(features), features


def scenario_silence_before_the_header(fixture):
    for garbage in ("\x16\x03\x01", "<x/>", "</stream:stream>", "<?xml version='1.0'?><message/>"):
        with fixture.probe() as probe, Untouched(fixture):
            probe.send(garbage)
            probe.socket.shutdown(1)
            try:
                closed_somehow(probe)
            except Exception as problem:    # a parser of ours may not like what comes back
                assert not isinstance(problem, (TimeoutError, AssertionError)), problem


CERTIFICATES = {
    "expired": "expired", "not-yet-valid": "not-yet-valid", "wrong-name": "identity-mismatch", "self-signed": "untrusted",
    "untrusted-ca": "untrusted", "cn-only": "identity-mismatch", "srvname-client": "identity-mismatch",
}


def scenarios():
    for name in HANDSHAKE:
        for secure in (False, True):
            if not (name == "starttls" and secure):
                yield f"{name}_to_another_host_{'over_tls' if secure else 'in_clear'}", addressed_elsewhere(name, secure)
    for kind, verdict in CERTIFICATES.items():
        yield f"certificate_{kind}", certificate_refused(kind, verdict)
