"""Outbound to domains that are not listed: nobody is asked and nobody is called.

exact.test and bücher.test are listed for contoso.test, and exact.test alone for tailspin.test."""

from dataclasses import dataclass

from lab.client import Client
from lab.prosody import Prosody
from lab.remote import Remote

from scenarios._edge import (ALICE, HOST, PING, configuration, edge_server, established, lua, outbound_error, partner)

EVIL, OWN, ROOMS = "evil.test", "tailspin.test", "rooms.contoso.test"
ERIN, DAVE = f"erin@{HOST}", f"dave@{OWN}"
GONE = "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
MUC = "<x xmlns='http://jabber.org/protocol/muc'/>"

PARTNERS = configuration(partner("exact.test"), partner("wide.test", "*.wide.test"), partner("bücher.test"))


@dataclass
class Outbound:
    lab: object
    edge: Prosody
    alice: Client
    evil: Remote        # a server that nobody may turn to


def setup(lab):
    hosts = {HOST: "", OWN: f"s2s_partners = {lua([partner('exact.test')])}"}
    edge = edge_server(lab, PARTNERS, hosts=hosts, components={ROOMS: ("muc", "")}, users=[ALICE, ERIN, DAVE])
    edge.set_roster(ERIN, {f"friend@{EVIL}": "both", f"watcher@{EVIL}": "from", f"watched@{EVIL}": "to"})
    edge.start()
    evil = Remote(lab, [EVIL], leaf=lab.certificates.leaf(EVIL))
    return Outbound(lab, edge, Client(ALICE, edge.address), evil)


def teardown(fixture):
    fixture.alice.close()


def remote_for(fixture, domain):
    return Remote(fixture.lab, [domain], leaf=fixture.lab.certificates.leaf(domain))


class Unlisted:
    """with Unlisted(fixture): neither a query about evil.test nor a connection to it."""

    def __init__(self, fixture):
        self.fixture = fixture

    def __enter__(self):
        self.mark = self.fixture.lab.dns.mark()

    def __exit__(self, kind, *_):
        if not kind:
            assert not self.fixture.lab.dns.asked(EVIL, self.mark), self.fixture.lab.dns.queries(self.mark)
            assert not self.fixture.evil.connections


ANSWERED = {
    "message": "<message to='%s' id='%s' type='chat'><body>x</body></message>",
    "message_normal": "<message to='%s' id='%s'><body>x</body></message>",
    "message_headline": "<message to='%s' id='%s' type='headline'><body>x</body></message>",
    "message_groupchat": "<message to='%s' id='%s' type='groupchat'><body>x</body></message>",
    "message_without_body": "<message to='%s' id='%s' type='chat'><x xmlns='jabber:x:event'/></message>",
    "iq_get": "<iq to='%s' id='%s' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
    "iq_set": "<iq to='%s' id='%s' type='set'><query xmlns='jabber:iq:register'/></iq>",
    "subscribe": "<presence to='%s' id='%s' type='subscribe'/>",
    "directed_presence": "<presence to='%s' id='%s'/>",
    "room_join": f"<presence to='%s' id='%s'>{MUC}</presence>",
}
DROPPED = {
    "unavailable": "<presence to='%s' type='unavailable'/>",
    "subscribed": "<presence to='%s' type='subscribed'/>",
    "unsubscribe": "<presence to='%s' type='unsubscribe'/>",
    "unsubscribed": "<presence to='%s' type='unsubscribed'/>",
    "probe": "<presence to='%s' type='probe'/>",
    "presence_error": f"<presence to='%s' type='error'>{GONE}</presence>",
    "iq_result": "<iq to='%s' id='r1' type='result'/>",
    "iq_error": f"<iq to='%s' id='r2' type='error'>{GONE}</iq>",
    "message_error": f"<message to='%s' id='r3' type='error'>{GONE}</message>",
}


def answered(name):
    def scenario(fixture):
        for to in (f"x@{EVIL}", f"x@{EVIL}/r", EVIL):
            id_ = fixture.alice.new_id()
            with Unlisted(fixture):
                seen = fixture.alice.mark()
                fixture.alice.send_raw(ANSWERED[name] % (to, id_))
                answer = fixture.alice.wait_stanza(lambda stanza: stanza.get("type") == "error", since=seen)
            assert (answer.condition, answer.get("id")) == ("not-allowed", id_), answer
            # Prosody's core sends that from and to bare JIDs.
            sender = to.partition("/")[0] if name == "subscribe" and fixture.lab.home == "prosody" else to
            assert answer.error_text and answer.get("from") == sender, answer
    return scenario


def dropped(name):
    def scenario(fixture):
        with Unlisted(fixture):
            seen = fixture.alice.mark()
            fixture.alice.send_raw(DROPPED[name] % f"x@{EVIL}")
            # What is answered later shows that the other was not.
            fixture.alice.iq(HOST, PING)
        assert not [stanza for stanza in fixture.alice.stanzas[seen:] if stanza.get("from") != HOST and
                    (stanza.get("from") or "").endswith(EVIL)]
        assert not any(stanza.get("type") == "error" for stanza in fixture.alice.stanzas[seen:])
    return scenario


def scenario_broadcast(fixture):
    """Log-in, a new status and log-out of a user who has contacts there."""
    with Unlisted(fixture):
        with Client(ERIN, fixture.edge.address) as erin:
            erin.presence(status="here")
            erin.iq(HOST, PING)
            assert not any(stanza.get("type") == "error" for stanza in erin.stanzas)
        fixture.alice.iq(HOST, PING)


def scenario_names(fixture):
    """Only what is listed, and that in any spelling."""
    names = ("sub.exact.test", "exact.test.evil.test", "notexact.test", "ex\u0430ct.test", "bucher.test", "exact.tes",
             *([] if fixture.lab.inside else ["127.0.0.1"]))     # a server inside needs no DNS for that
    mark = fixture.lab.dns.mark()
    for domain in names:
        condition, _, _ = outbound_error(fixture.alice, f"x@{domain}")
        assert condition == "not-allowed", (domain, condition)
    asked = fixture.lab.dns.queries(mark)
    assert not asked, asked


def scenario_listed_names(fixture):
    remote = remote_for(fixture, "exact.test")
    idn = Remote(fixture.lab, ["xn--bcher-kva.test"], leaf=fixture.lab.certificates.leaf("xn--bcher-kva.test"))
    for server, names in ((remote, ["exact.test", "EXACT.Test"]), (idn, ["bücher.test", "xn--bcher-kva.test"])):
        for name in names:
            fixture.alice.send_message(f"x@{name}", f"to {name}")
            server.wait_element(lambda element: element.name == "message" and element.find("body").text == f"to {name}")


def scenario_for_one_host_only(fixture):
    with Client(DAVE, fixture.edge.address) as dave:
        mark = fixture.lab.dns.mark()
        condition, text, _ = outbound_error(dave, "eve@host-only.wide.test")
        assert condition == "not-allowed" and text
        assert not fixture.lab.dns.asked("host-only.wide.test", mark)


def invitation(domain):
    return f"<x xmlns='http://jabber.org/protocol/muc#user'><invite to='x@{domain}'/></x>"


def scenario_through_a_room(fixture):
    """A room invites somebody at an unlisted domain: the component is guarded like a host."""
    room = f"hall@{ROOMS}"
    fixture.alice.presence(f"{room}/alice", inside=MUC)
    fixture.alice.wait_presence(f"{room}/alice")
    with Unlisted(fixture):
        fixture.alice.send_raw(f"<message to='{room}'>{invitation(EVIL)}</message>")
        fixture.alice.iq(ROOMS, "<query xmlns='http://jabber.org/protocol/disco#info'/>")


def scenario_listed_through_a_room(fixture):
    """The component has a stream of its own, under the same policy."""
    domain, room = "invited.wide.test", f"lobby@{ROOMS}"
    remote = remote_for(fixture, domain)
    fixture.alice.presence(f"{room}/alice", inside=MUC)
    fixture.alice.wait_presence(f"{room}/alice")
    mark = fixture.edge.mark()
    fixture.alice.send_raw(f"<message to='{room}'>{invitation(domain)}</message>")
    assert remote.wait_element("message").get("from") == room
    assert established(fixture.edge, "to", domain, mark)[1] == "SASL EXTERNAL"
    assert remote.connections[-1].headers[0].get("from") == ROOMS


def scenario_unreachable(fixture):
    """Not a refusal: a partner that cannot be reached."""
    condition, _, _ = outbound_error(fixture.alice, "x@absent.wide.test", 20)
    assert condition in ("remote-server-not-found", "remote-server-timeout"), condition


def scenarios():
    for name in ANSWERED:
        yield name, answered(name)
    for name in DROPPED:
        yield name, dropped(name)
