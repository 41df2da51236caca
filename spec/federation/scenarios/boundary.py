"""A relay host in front of an unmodified server: messages, presence, rooms both ways; what a stranger, a user inside and a partner are refused."""

from lab.client import Client
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, CAROL, ROOMS, Boundary
from ._edge import configuration, any_method

PARTNERS = configuration(
    any_method("fabrikam.test", presence_authorization="user"),
    any_method("trunk.test", "*.trunk.test", presence_authorization="user"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test", "evil.test", "x.trunk.test"])
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()
    lab.evil = Prosody(lab, "evil", ["evil.test"], users=["eve@evil.test"], preset="any").start()


def scenario_messages_both_ways(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, "to alice")
        alice.wait_message("to alice")
        alice.send_message(BOB, "to bob")
        bob.wait_message("to bob")


def scenario_presence_both_ways(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.subscribe(BOB)
        bob.wait_presence(ALICE, "subscribe")
        bob.authorise(ALICE)
        alice.wait_presence(BOB, "subscribed")
        alice.wait_presence(BOB)
        bob.subscribe(ALICE)
        alice.wait_presence(BOB, "subscribe")
        alice.authorise(BOB)
        bob.wait_presence(ALICE)
        bob.presence(status="lunch")
        alice.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.find("status") and stanza.find("status").text == "lunch")
        mark = bob.mark()
        alice.presence(type_="unavailable")
        bob.wait_presence(ALICE, "unavailable", since=mark)
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.wait_presence(BOB)        # the probe of the server inside is answered
        bob.wait_presence(ALICE)


def scenario_requests_both_ways(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        answer = bob.iq("contoso.test", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        assert answer.get("type") == "result", answer
        answer = bob.iq(alice.full_jid, "<query xmlns='jabber:iq:version'/>")
        assert answer.get("type") in ("result", "error"), answer
        answer = alice.iq("fabrikam.test", "<ping xmlns='urn:xmpp:ping'/>")
        assert answer.get("type") == "result", answer


def _joined(client, room, nick):
    client.presence(f"{room}/{nick}", inside="<x xmlns='http://jabber.org/protocol/muc'/>")
    return client.wait_presence(f"{room}/{nick}")


def scenario_room_inside(lab):
    room = f"town@{ROOMS}"
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        _joined(alice, room, "alice")
        answer = alice.iq(room, "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", "set")
        assert answer.get("type") == "result", answer
        _joined(bob, room, "bob")
        bob.send_message(room, "to all", "groupchat")
        alice.wait_message("to all")
        alice.send_message(room, "to all of you", "groupchat")
        bob.wait_message("to all of you")


def scenario_unlisted_outgoing_is_refused_with_the_reason(lab):
    mark = lab.dns.mark()
    with Client(ALICE, lab.inside.address) as alice:
        id_ = alice.send_message("eve@evil.test", "to nobody")
        condition, text, _ = alice.wait_error(id_)
        assert condition == "not-allowed", (condition, text)
    assert not lab.dns.asked("evil.test", mark), "the edge looked an unlisted domain up"


def scenario_unlisted_incoming_is_refused(lab):
    with Client(ALICE, lab.inside.address) as alice, Client("eve@evil.test", lab.evil.address) as eve:
        id_ = eve.send_message(ALICE, "from nobody")
        eve.wait_error(id_)
        alice.assert_nothing(lambda stanza: stanza.name == "message", 0.5)


def scenario_wildcard_domains(lab):
    trunk = Prosody(lab, "trunk", ["x.trunk.test"], users=["dora@x.trunk.test"], preset="any").start()
    with Client(ALICE, lab.inside.address) as alice, Client("dora@x.trunk.test", trunk.address) as dora:
        dora.send_message(ALICE, "from a subdomain")
        alice.wait_message("from a subdomain")
        alice.send_message("dora@x.trunk.test", "to a subdomain")
        dora.wait_message("to a subdomain")


def scenario_users_of_the_edge_do_not_reach_inside(lab):
    lab.edge.add_user("local@edge.test")
    with Client(CAROL, lab.inside.address) as carol, Client("local@edge.test", lab.edge.address) as local:
        id_ = local.send_message(CAROL, "past the border")
        assert local.wait_error(id_)[0] == "service-unavailable"
        carol.assert_nothing(lambda stanza: stanza.name == "message", 0.5)


def scenario_nobody_logs_in_at_a_relay_host(lab):
    lab.edge.add_user("mallory@contoso.test")
    try:
        Client("mallory@contoso.test", lab.edge.address, timeout=3).close()
    except (RuntimeError, TimeoutError):
        return
    raise AssertionError("a client has logged in")


def scenario_console(lab):
    with Client(CAROL, lab.inside.address) as carol, Client(BOB, lab.partner.address) as bob:
        carol.subscribe(BOB)
        bob.wait_presence(CAROL, "subscribe")
        shown = lab.edge.shell("partners:inside()")
        for words in ("contoso.test: the server inside is", "conference.contoso.test: the server inside is", "for fabrikam.test: TLS dialback, TLSv1.3",
                      "2 relay hosts"):
            assert words in shown, shown
        shown = lab.edge.shell(f'partners:contacts("{CAROL}")')
        assert "bob@fabrikam.test: none, asked" in shown and "1 known contact" in shown, shown
        assert "forgotten" in lab.edge.shell(f'partners:forget("{CAROL}", "{BOB}")')
        assert "0 known contacts" in lab.edge.shell(f'partners:contacts("{CAROL}")')
        assert "is no user of a relay host" in lab.edge.shell('partners:contacts("x@edge.test")')
