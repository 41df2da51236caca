"""What crosses the border by ways that ejabberd has and Prosody has not: services that send on in a partner's name, names of elements that
ejabberd does not resolve, elements without a bound in size."""

import base64
import re
import socket
from dataclasses import dataclass

from lab.client import Client
from lab.edge_ejabberd import EdgeEjabberd
from lab.lab import Skipped
from lab.probe import Probe
from lab.prosody import PASSWORD
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import SASL, Stream, server_context

from scenarios._edge import ALICE, HOST, ended, heard
from scenarios._types import DORA, FED, MANUAL, MUC, OPEN, PARTNERS, QUIET, VER, bob
from scenarios.ejabberd_types import Bosh

CAROL = f"carol@{HOST}"
MULTICAST = f"multicast.{HOST}"
ADDRESSES = "http://jabber.org/protocol/address"
EVENT = "http://jabber.org/protocol/pubsub#event"


class Edge(EdgeEjabberd):
    """With BOSH, and a service for stanzas to several addresses."""

    def config(self):
        found = super().config()
        found["modules"]["mod_bosh"] = {}
        found["modules"]["mod_multicast"] = {}
        return found

    def handlers(self):
        return {**super().handlers(), "/bosh": "mod_bosh"}


class RawClient(Stream):
    """A user whose stream says what it likes; header: more of the attributes of each stream header."""

    def __init__(self, edge, jid, header=None):
        super().__init__(socket.create_connection((edge.address, 5222), 10))
        self.jid, (user, self.host) = jid, jid.split("@")
        self.more = header
        self.greet()
        token = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
        self.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{token}</auth>")
        self.read_until("success")
        self.greet()
        self.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        assert self.read_until("iq").get("type") == "result"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def greet(self):
        self.open(to=self.host, xmlns="jabber:client", dialback=False, attributes=self.more)
        self.read_until("features")


@dataclass
class Servers:
    lab: object
    edge: Edge
    remote: Remote

    def probe(self, domain):
        return Probe(self.edge.address, from_=domain, to=HOST, leaf=self.lab.certificates.leaf(domain))

    def refused_in(self):
        """How many stanzas of each partner that came in were refused, by reason."""
        return self.edge.evaluate("[{P, R, N} || {{_, P, in, refuse, R}, N} <- s2s_partners_report:counters()]")


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("an edge that is no ejabberd")
    edge = Edge(lab, "edge", [HOST], users=[ALICE, CAROL, DORA], partners=PARTNERS, direct_tls=True)
    remote = Remote(lab, [FED, VER, OPEN, QUIET, MANUAL, f"rooms.{QUIET}"], leaf=lab.certificates.leaf(FED))
    return Servers(lab, edge.start(), remote)


# XEP-0033

def copied(sender, *recipients, name="message", type_="chat", inside="<body>copied</body>"):
    addresses = "".join(f"<address type='{kind}' jid='{jid}'/>" for jid, kind in recipients)
    return (f"<{name} from='{sender}' to='{MULTICAST}' type='{type_}' id='copy'><addresses xmlns='{ADDRESSES}'>{addresses}</addresses>"
            f"{inside}</{name}>")


def scenario_copies_are_judged_for_each_recipient(servers):
    """Whom a partner's stanza may not reach, it does not reach by way of a service of ours."""
    with Client(ALICE, servers.edge.address) as alice, Client(DORA, servers.edge.address) as dora:
        with servers.probe(FED) as fed:
            fed.authenticate()
            fed.send(copied(bob(FED), (ALICE, "to"), (DORA, "cc"), (f"nobody@{HOST}", "bcc")))
            alice.wait_message("copied")
            for name, type_ in (("message", "normal"), ("message", "headline"), ("presence", "unavailable")):
                mark = alice.mark()
                fed.send(copied(bob(FED), (ALICE, "to"), (DORA, "bcc"), name=name, type_=type_, inside="<status>copied</status>"))
                alice.wait_stanza(lambda stanza: stanza.get("from") == bob(FED), since=mark)
            assert not [stanza for stanza in heard(dora, 0) if stanza.get("from") == bob(FED)], dora.stanzas
        mark = alice.mark()
        with servers.probe(OPEN) as stranger:
            stranger.authenticate()
            for type_ in ("chat", "headline", "error"):
                stranger.send(copied(bob(OPEN), (ALICE, "to"), type_=type_))
            stranger.send(copied(bob(OPEN), (ALICE, "bcc"), name="presence", type_="unavailable", inside="<status>copied</status>"))
            wait_until(lambda: f"{{<<\"{OPEN}\">>,'not-listed',4}}" in servers.refused_in(), 20, "four that are refused")
            stranger.assert_open()
            assert not [stanza for stanza in heard(alice, mark) if stanza.get("from") == bob(OPEN)], alice.stanzas[mark:]


def scenario_rooms_and_errors_of_ejabberd_pass(servers):
    """What ejabberd says under a partner's name, or passes on to the user it was for, is no copy."""
    with Client(ALICE, servers.edge.address) as alice:
        mark = alice.mark()
        alice.send_message("bob@unlisted.test", "never", id_="unlisted")
        assert alice.wait_error("unlisted", since=mark)[0] == "not-allowed"
    with servers.probe(FED) as fed:
        fed.authenticate()
        fed.message(bob(FED), CAROL, "while she is away")
        wait_until(lambda: servers.edge.evaluate(f'mod_offline:count_offline_messages(<<"carol">>, <<"{HOST}">>)') == "1", 20, "the message in the store")
    with Client(CAROL, servers.edge.address) as carol:
        carol.wait_message("while she is away")


def scenario_domains_that_are_not_ours_answer_nothing(servers):
    """An answer in their name could not be sent: ejabberd would log each in a dozen lines."""
    mark = servers.edge.mark()
    with Client(ALICE, servers.edge.address) as alice, servers.probe(FED) as fed:
        fed.authenticate()
        for to in (f"nowhere.{HOST}", f"user@nowhere.{HOST}/x", "user@unlisted.test", bob(VER)):
            fed.message(bob(FED), to)
            fed.send(f"<iq from='{bob(FED)}' to='{to}' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>"
                     f"<iq from='{bob(FED)}' to='{to}' type='get' id='none'/>")
        fed.message(bob(FED), ALICE, "behind them")
        alice.wait_message("behind them")
    assert "Failed to route" not in servers.edge.log_since(mark)


# Names

def scenario_prefixes_hide_nothing(servers):
    """Over HTTP an element keeps the prefix that the client has written."""
    bosh = Bosh(servers.edge, CAROL)
    client = "xmlns='jabber:client'"
    bosh.send(f"<presence {client} to='room@rooms.{QUIET}/carol' id='join'><m:x xmlns:m='{MUC}'/></presence>")
    bosh.send(f"<presence {client} to='{bob(VER)}' id='note'><c:status xmlns:c='jabber:client'>hidden note</c:status></presence>")
    bosh.send(f"<message {client} to='{bob(VER)}' id='event' type='headline'><p:event xmlns:p='{EVENT}'>"
              "<p:items node='http://jabber.org/protocol/mood'><p:item><mood xmlns='http://jabber.org/protocol/mood'/></p:item></p:items>"
              "</p:event></message>")
    bosh.send(f"<message {client} xmlns:q='urn:example' to='{bob(VER)}' id='lost' type='chat'><x xmlns='urn:example' q:a='1'/></message>")
    for id_ in ("event", "lost"):
        assert "<bad-request" in bosh.wait(rf"<message [^>]*id='{id_}'.*?</message>")
    bosh.send(f"<message {client} to='{bob(VER)}' type='chat'><body>behind it</body></message>")
    servers.remote.wait_element(lambda element: element.find("body") is not None and element.find("body").text == "behind it")
    said = [element for element in servers.remote.elements() if element.get("id") in ("join", "note", "event", "lost")]
    assert not said, said
    assert not [element for element in servers.remote.elements("presence") if element.get("to") == f"room@rooms.{QUIET}/carol"]


def scenario_prefixes_of_a_header_end_no_stream(servers):
    """What a client declares in its header is declared nowhere else; the partner's parser would end the stream of everybody."""
    with RawClient(servers.edge, CAROL, {"xmlns:m": MUC}) as carol, Client(ALICE, servers.edge.address) as alice:
        alice.send_message(bob(FED), "before")
        servers.remote.wait_element(lambda element: element.find("body") is not None and element.find("body").text == "before")
        streams = len(servers.remote.connections)
        carol.send(f"<message to='{bob(FED)}' type='chat' id='m'><m:x/></message>")
        assert carol.read_until(lambda element: element.get("id") == "m").condition == "bad-request"
        carol.send(f"<message to='{bob(FED)}' type='chat' id='a'><x xmlns='urn:example' m:a='1'/></message>")
        assert carol.read_until(lambda element: element.get("id") == "a").condition == "bad-request"
        carol.send(f"<presence to='{bob(FED)}'><y xmlns='urn:example'><m:x/></y></presence>")
        alice.send_message(bob(FED), "after")
        servers.remote.wait_element(lambda element: element.find("body") is not None and element.find("body").text == "after")
        assert len(servers.remote.connections) == streams
        # One that the stanza itself declares is resolved, and is as good as any.
        carol.send(f"<message to='{bob(FED)}' type='chat' id='good'><q:x xmlns:q='urn:example' q:a='1'><q:y/></q:x></message>")
        good = servers.remote.wait_element(lambda element: element.get("id") == "good")
        assert good.find("x", "urn:example") is not None, good


def scenario_prefixes_of_a_partner_end_no_client(servers):
    with RawClient(servers.edge, ALICE) as alice, servers.probe(FED) as fed:
        alice.send("<presence/>")
        fed.features()
        assert fed.starttls() is None
        fed.authenticate(attributes={"xmlns:m": "urn:example"})
        fed.send(f"<message from='{bob(FED)}' to='{ALICE}' id='m'><m:x/><body>never</body></message>"
                 f"<message from='{bob(FED)}' to='{ALICE}' id='a'><x xmlns='urn:other' m:a='1'/><body>never</body></message>"
                 f"<iq from='{bob(FED)}' to='{HOST}' id='i' type='get'><m:query/></iq>")
        fed.message(bob(FED), ALICE, "and on")
        said = alice.read_until("message")
        assert said.find("body").text == "and on", said
        assert servers.remote.wait_element(lambda element: element.get("id") == "i").condition == "service-unavailable"


# Sizes

ELEMENT_MAX = 524288


def closed_for_size(stream, start):
    """Sends an element without an end, a little more of it than is taken; whether the other side closes then."""
    stream.send(start)
    stream.send(b"a" * (ELEMENT_MAX + 65536))
    return ended(stream, 8)     # and not by negotiation_timeout, 10 seconds


def scenario_an_element_of_a_stranger_has_a_bound(servers):
    """The listener has none."""
    for start in ("<stream:stream ", "<stream:stream a='", "<a>", "<a b='", "<!--"):
        with servers.probe("evil.test") as probe:
            if not start.startswith("<stream"):
                probe.from_ = None
                probe.features()
            assert closed_for_size(probe, start), start


def scenario_an_element_over_direct_tls_has_a_bound(servers):
    for start in ("<stream:stream ", "<stream:stream a='"):
        with Probe(servers.edge.address, 5270, from_="evil.test", to=HOST, leaf=servers.lab.certificates.leaf(FED), direct_tls=True) as probe:
            assert closed_for_size(probe, start), start


def scenario_a_stanza_of_a_partner_has_a_bound(servers):
    with Client(ALICE, servers.edge.address) as alice, servers.probe(FED) as fed:
        fed.authenticate()
        for _ in range(3):
            body = "a" * (ELEMENT_MAX - 1000)
            fed.message(bob(FED), ALICE, body)
            alice.wait_message(body)
        fed.message(bob(FED), ALICE, "b" * ELEMENT_MAX)
        fed.read_close("policy-violation")
        assert not [stanza for stanza in heard(alice, 0) if stanza.find("body") is not None and "b" in stanza.find("body").text]


def scenario_what_we_connect_to_has_a_bound(servers):
    closed = []

    def script(stage):
        def play(connection):
            if stage == "header":
                closed.append(closed_for_size(connection, "<stream:stream a='"))
            elif stage == "element":
                connection.read_header()
                connection.answer_header()
                closed.append(closed_for_size(connection, "<stream:features><a>"))
            else:
                connection.remote.greet(connection)
                assert connection.read().name == "starttls"
                connection.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
                connection.start_tls(server_context(connection.remote.leaf, connection.remote.request_from), server_side=True)
                connection.read_header()
                connection.answer_header()
                closed.append(closed_for_size(connection, "<stream:features><a>"))
        return play

    with Client(ALICE, servers.edge.address) as alice:
        for number, stage in enumerate(("header", "element", "over TLS")):
            domain = f"sub{number}.{FED}"
            Remote(servers.lab, [domain], leaf=servers.lab.certificates.leaf(domain), script=script(stage))
            alice.send_message(f"bob@{domain}", "never", id_=stage)
            alice.wait_error(stage)
            wait_until(lambda number=number: len(closed) > number, 10, stage)
            assert closed[-1], stage


# Prices

def rosters_read(servers, act):
    """How often whole rosters were read from the disk meanwhile."""
    function = "{mod_roster_mnesia, get_roster, 2}"
    servers.edge.evaluate(f"erlang:trace_pattern({function}, true, [call_count])")
    try:
        act()
        return int(servers.edge.evaluate(f"element(2, erlang:trace_info({function}, call_count))"))
    finally:
        servers.edge.evaluate(f"erlang:trace_pattern({function}, false, [call_count])")


def scenario_invented_senders_read_no_roster(servers):
    """Each is another one, of whom ejabberd has not kept that the user does not know it."""
    servers.edge.set_roster(CAROL, {f"friend{number}@{FED}": "both" for number in range(20)})

    def strangers():
        with servers.probe(OPEN) as probe:
            probe.authenticate()
            for number in range(30):
                sender = f"stranger{number}@{OPEN}"
                probe.message(sender, CAROL)
                probe.send(f"<presence from='{sender}/x' to='{CAROL}'/><presence from='{sender}/x' to='{CAROL}' type='probe'/>")
            probe.send("</stream:stream>")
            assert ended(probe, 20)

    read = rosters_read(servers, strangers)
    assert read <= 2, read
    before = servers.edge.roster(CAROL)
    assert "stranger" not in before and before.count("friend") == 20, before


def scenario_requests_read_the_roster_once(servers):
    """Each changes it, so that ejabberd keeps nothing of it."""
    def requests(domain):
        with servers.probe(domain) as probe:
            probe.authenticate()
            for number in range(20):
                probe.send(f"<presence from='new{number}@{domain}' to='{CAROL}' type='subscribe'/>")
            probe.send("</stream:stream>")
            assert ended(probe, 20)

    for domain in (MANUAL, FED):        # they wait for her; they are granted
        read = rosters_read(servers, lambda domain=domain: requests(domain))
        roster = servers.edge.roster(CAROL)
        assert len(re.findall(rf"new\d+@{domain}", roster)) == 20, roster
        assert read <= 3, (domain, read)
