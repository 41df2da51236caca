"""Group chat: rooms on the edge and on partners, with group_chat = "allow" and "refuse"."""

import itertools

from scenarios._edge import ALICE, HOST
from scenarios._types import DOMAINS, DORA, FED, MANUAL, MUC, OPEN, QUIET, ROOMS, UNV, VER, bob, start

CAROL = f"carol@{HOST}"
ALLOWED, REFUSED = (FED, VER, MANUAL, OPEN), (UNV, QUIET)
JOIN = f"<x xmlns='{MUC}'/>"
_numbers = itertools.count()


def setup(lab):
    return start(lab, users=[CAROL], rosters={ALICE: {f"room@rooms.{UNV}": "both", bob(UNV): "none"}},
                 partner_users=[bob(domain) for domain in DOMAINS], rooms=DOMAINS)


def teardown(fixture):
    fixture.close()


def said(sender, room, receivers):
    body = f"said {next(_numbers)}"
    sender.send_message(room, body, type_="groupchat")
    for receiver in receivers:
        receiver.wait_message(body)


def scenario_rooms_of_partners(fixture):
    carol = fixture.client(CAROL)
    for domain in ALLOWED:
        other, room = fixture.client(bob(domain)), f"room@rooms.{domain}"
        other.presence(f"{room}/bob", inside=JOIN)
        other.wait_presence(f"{room}/bob")
        carol.presence(f"{room}/carol", inside=JOIN)
        carol.wait_presence(f"{room}/bob")
        other.wait_presence(f"{room}/carol")
        said(carol, room, (carol, other))
        said(other, room, (carol, other))
        carol.presence(f"{room}/carol", "unavailable")
        other.wait_presence(f"{room}/carol", "unavailable")
        error = carol.wait_error(carol.send_message(room, "no longer", type_="groupchat"))
        assert error[0] == ("subscription-required" if domain == OPEN else "not-acceptable"), error


def scenario_rooms_of_partners_refused(fixture):
    alice, carol, dora = fixture.client(ALICE), fixture.client(CAROL), fixture.client(DORA)
    for domain in REFUSED:
        room = f"room@rooms.{domain}"
        for user in (alice, carol):
            for to in (room, f"{room}/nick"):
                user.presence(to, inside=JOIN, id_=f"join{to}")
                condition, text, kind = user.wait_error(f"join{to}")
                assert (condition, kind) == ("not-allowed", "cancel") and "roup chat" in text, (condition, kind, text)
            error = user.wait_error(user.send_message(room, type_="groupchat"))
            assert (error[0], error[2]) == ("not-allowed", "cancel"), error
        assert "room" not in fixture.partner.log_since() or not any(
            (stanza.get("from") or "").startswith(room) and stanza.get("type") != "error" for stanza in carol.stanzas)
    dora.presence(f"room@rooms.{FED}/dora", inside=JOIN, id_="denied")
    assert dora.wait_error("denied")[0] == "not-allowed"


def scenario_rooms_of_ours(fixture):
    alice = fixture.client(ALICE)
    room = f"ours@{ROOMS}"
    alice.presence(f"{room}/alice", inside=JOIN)
    alice.wait_presence(f"{room}/alice")
    for domain in ALLOWED:
        other = fixture.client(bob(domain))
        other.presence(f"{room}/{domain}", inside=JOIN)
        other.wait_presence(f"{room}/alice")
        said(alice, room, (alice, other))
        said(other, room, (alice, other))
        answer = other.iq(room, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        assert answer.get("type") == "result", answer
    for domain in REFUSED:
        other = fixture.client(bob(domain))
        seen = alice.mark()
        other.presence(f"{room}/{domain}", inside=JOIN)
        error = other.wait_error(other.send_message(room, "let me in", type_="groupchat"))
        assert error == ("service-unavailable", "", "cancel"), error
        for to in (room, f"{room}/alice", ROOMS):
            assert other.iq(to, "<query xmlns='jabber:iq:register'/>").condition == "service-unavailable"
        assert other.iq(ROOMS, "<query xmlns='http://jabber.org/protocol/disco#info'/>").get("type") == "result"
        other.send_message(room, None, type_="normal", inside=f"<x xmlns='{MUC}#user'><invite to='{CAROL}'/></x>")
        alice.assert_nothing(lambda stanza: domain in (stanza.get("from") or ""), 0.3, seen)
        other.assert_nothing(lambda stanza: stanza.name == "presence" and ROOMS in (stanza.get("from") or ""), 0.1)


def scenario_groupchat_to_a_user(fixture):
    alice = fixture.client(ALICE)
    for domain in REFUSED:
        other = fixture.client(bob(domain))
        for to in (ALICE, alice.full_jid):
            error = other.wait_error(other.send_message(to, "many", type_="groupchat"))
            assert error == ("service-unavailable", "", "cancel"), error
    # One-to-one traffic as ever.
    body = "one to one"
    fixture.client(bob(UNV)).send_message(ALICE, body)
    alice.wait_message(body)
