"""Partner types, one to one: messages, requests and presence between users, both directions, by real clients on real servers."""

import itertools

from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST
from scenarios._types import DOMAINS, DORA, FED, MANUAL, OPEN, QUIET, UNV, VER, bob, start

CAROL = f"carol@{HOST}"     # has nobody in the roster
EVE = f"eve@{UNV}"
TRUSTED = (FED, VER, MANUAL, QUIET)
UNVERIFIED = (UNV, OPEN)
VERSION = "<query xmlns='jabber:iq:version'/>"
_numbers = itertools.count()


def setup(lab):
    return start(lab, users=[CAROL], rosters={ALICE: {bob(domain): "none" for domain in DOMAINS}},
                 partner_users=[EVE, *(bob(domain) for domain in DOMAINS)],
                 partner_rosters={bob(domain): {ALICE: "none", CAROL: "none"} for domain in DOMAINS})


def teardown(fixture):
    fixture.close()


def words():
    return f"words {next(_numbers)}"


def delivered(sender, receiver, to, **more):
    body = words()
    sender.send_message(to, body, **more)
    return receiver.wait_message(body)


def refused(sender, receiver, to, condition, **more):
    body = words()
    seen = receiver.mark()
    error = sender.wait_error(sender.send_message(to, body, **more))
    assert error[0] == condition, error
    assert not any(stanza.find("body") is not None and stanza.find("body").text == body for stanza in receiver.stanzas[seen:])
    return error


def scenario_messages_between_listed(fixture):
    alice = fixture.client(ALICE)
    for domain in DOMAINS:
        other = fixture.client(bob(domain))
        for type_ in ("chat", "normal", "headline"):
            delivered(other, alice, ALICE, type_=type_)
            delivered(alice, other, bob(domain), type_=type_)
        delivered(other, alice, alice.full_jid)
        delivered(alice, other, other.full_jid)


def scenario_messages_trusted_unlisted(fixture):
    carol = fixture.client(CAROL)
    for domain in TRUSTED:
        other = fixture.client(bob(domain))
        delivered(other, carol, CAROL)
        delivered(carol, other, bob(domain))


def scenario_messages_unverified_unlisted(fixture):
    carol = fixture.client(CAROL)
    for domain in UNVERIFIED:
        other = fixture.client(bob(domain))
        for to in (CAROL, carol.full_jid):
            for type_ in ("chat", "normal", "headline"):
                condition, text, kind = refused(other, carol, to, "service-unavailable", type_=type_)
                assert (text, kind) == ("", "cancel")
        for to in (bob(domain), other.full_jid):
            condition, text, kind = refused(carol, other, to, "subscription-required")
            assert kind == "auth" and "contact list" in text, text


def scenario_requests(fixture):
    alice, carol = fixture.client(ALICE), fixture.client(CAROL)
    for domain in DOMAINS:
        other = fixture.client(bob(domain))
        for user in (alice, carol):
            may = domain in TRUSTED or user is alice
            # slixmpp answers what it does not know with feature-not-implemented: it was asked.
            for sender, receiver, condition in ((other, user, "service-unavailable"), (user, other, "subscription-required")):
                for type_ in ("get", "set"):
                    answer = sender.iq(receiver.full_jid, "<query xmlns='urn:lab:request'/>", type_)
                    assert answer.get("type") == "error"
                    assert (answer.condition != condition) == may, (domain, user.jid, type_, answer)


def scenario_presence_and_errors_unverified_unlisted(fixture):
    """What has no answer is dropped: presence, results, errors, in both directions."""
    carol = fixture.client(CAROL)
    other = fixture.client(EVE)
    marks = carol.mark(), other.mark()
    for sender, to in ((other, CAROL), (other, carol.full_jid), (carol, EVE), (carol, other.full_jid)):
        sender.send_raw(f"<iq to='{to}' type='result' id='x'/>")
        sender.send_raw(f"<iq to='{to}' type='error' id='x'><error type='cancel'/></iq>")
        sender.send_raw(f"<message to='{to}' type='error' id='x'><error type='cancel'/></message>")
        sender.presence(to, "error", inside="<error type='cancel'/>")
    for type_ in (None, "subscribed", "unsubscribe", "unsubscribed", "probe", "unavailable"):
        other.presence(CAROL, type_)
    carol.presence(EVE, "probe")
    fixture.edge.shell("> 1")
    carol.assert_nothing(lambda stanza: (stanza.get("from") or "").startswith(EVE), 1, marks[0])
    other.assert_nothing(lambda stanza: (stanza.get("from") or "").startswith(CAROL), 0.1, marks[1])


def scenario_directed_presence_unverified_unlisted(fixture):
    carol = fixture.client(CAROL)
    other = fixture.client(bob(UNV))
    carol.presence(bob(UNV), id_="directed1")
    condition, text, kind = carol.wait_error("directed1")
    assert (condition, kind) == ("subscription-required", "auth") and text
    # With group chat allowed it may be sent, and then the contact counts as listed, until the unavailable has gone out.
    friend = fixture.client(bob(OPEN))
    seen = friend.mark()
    carol.presence(bob(OPEN))
    friend.wait_presence(CAROL, since=seen)
    delivered(friend, carol, CAROL)
    delivered(carol, friend, bob(OPEN))
    carol.presence(bob(OPEN), "unavailable")
    friend.wait_presence(CAROL, "unavailable", since=seen)
    refused(carol, friend, bob(OPEN), "subscription-required")
    refused(friend, carol, CAROL, "service-unavailable")
    assert other.jid == bob(UNV)


def scenario_directed_presence_ends_with_the_session(fixture):
    friend = fixture.client(bob(OPEN))
    carol = fixture.client(CAROL)
    seen = friend.mark()
    carol.presence(bob(OPEN))
    friend.wait_presence(CAROL, since=seen)
    fixture.leave(CAROL)
    friend.wait_presence(CAROL, "unavailable", since=seen)
    carol = fixture.client(CAROL)
    refused(friend, carol, CAROL, "service-unavailable")


def scenario_directed_presence_survives_a_reload(fixture):
    carol, friend = fixture.client(CAROL), fixture.client(bob(OPEN))
    seen = friend.mark()
    carol.presence(bob(OPEN))
    friend.wait_presence(CAROL, since=seen)
    fixture.edge.shell('module:reload("s2s_partners")')
    if fixture.edge.host == "ejabberd":
        # Its streams are closed then, and what the other server writes before it knows is lost.
        session = f'prosody.hosts["{OPEN}"].s2sout["{HOST}"]'
        wait_until(lambda: "Result: nil" in fixture.partner.shell(f"> {session}"), 20, "the other server to know that its stream is closed")
    delivered(friend, carol, CAROL)
    carol.presence(bob(OPEN), "unavailable")
    friend.wait_presence(CAROL, "unavailable", since=seen)
    refused(friend, carol, CAROL, "service-unavailable")


def scenario_adding_makes_the_next_message_pass(fixture):
    carol = fixture.client(CAROL)
    other = fixture.client(bob(UNV))
    refused(carol, other, bob(UNV), "subscription-required")
    carol.subscribe(bob(UNV))
    other.wait_presence(CAROL, "subscribe")
    delivered(carol, other, bob(UNV))
    delivered(other, carol, CAROL)
    # A removal takes effect on the next stanza.
    seen = other.mark()
    carol.roster_set(bob(UNV), remove=True)
    if fixture.lab.home == "prosody":       # ejabberd takes back what was granted, and no mere request
        other.wait_presence(CAROL, "unsubscribe", since=seen)
    else:
        carol.roster()
    refused(other, carol, CAROL, "service-unavailable")
    refused(carol, other, bob(UNV), "subscription-required")
    # A roster item is enough, whatever its subscription.
    carol.roster_set(bob(UNV))
    delivered(other, carol, CAROL)
    carol.roster_set(bob(UNV), remove=True)
    refused(other, carol, CAROL, "service-unavailable")


def scenario_unverified_subscription_request(fixture):
    alice, carol = fixture.client(ALICE), fixture.client(CAROL)
    other = fixture.client(bob(UNV))
    seen = alice.mark(), carol.mark()
    other.subscribe(CAROL)
    other.subscribe(ALICE)
    alice.wait_presence(bob(UNV), "subscribe", since=seen[0])
    carol.assert_nothing(lambda stanza: stanza.name == "presence" and stanza.get("from") == bob(UNV), 0.5, seen[1])
    # A pending request is no item.
    assert "unv" not in fixture.edge.roster(CAROL)


def scenario_services(fixture):
    """Bare domains answer five requests, and the answers come back."""
    carol, dora = fixture.client(CAROL), fixture.client(DORA)
    services = [f"<query xmlns='http://jabber.org/protocol/disco#{what}'/>" for what in ("info", "items")]
    services += [VERSION, "<ping xmlns='urn:xmpp:ping'/>", "<time xmlns='urn:xmpp:time'/>"]
    for domain in DOMAINS:
        other = fixture.client(bob(domain))
        for service in services:
            for asked in (HOST, "rooms.contoso.test"):
                answer = other.iq(asked, service)
                assert answer.get("type") == "result" or asked != HOST and "disco" not in service, answer
            answer = carol.iq(domain, service)
            assert answer.get("type") == "result", answer
            assert dora.iq(domain, service).condition == "not-allowed"
    for domain in UNVERIFIED:
        other = fixture.client(bob(domain))
        assert other.iq(HOST, "<query xmlns='jabber:iq:last'/>").condition == "service-unavailable"
        assert carol.iq(domain, "<query xmlns='jabber:iq:last'/>").condition == "subscription-required"


def scenario_denied_user(fixture):
    dora = fixture.client(DORA)
    for domain in DOMAINS:
        other = fixture.client(bob(domain))
        condition, text, kind = refused(dora, other, bob(domain), "not-allowed")
        assert kind == "cancel" and text
        assert dora.iq(other.full_jid, VERSION).condition == "not-allowed"
        seen = dora.mark()
        dora.presence(bob(domain), "subscribe", id_=f"sub-{domain}")
        assert dora.wait_error(f"sub-{domain}")[0] == "not-allowed"
        dora.presence(bob(domain), id_=f"directed-{domain}")
        assert dora.wait_error(f"directed-{domain}")[0] == "not-allowed"
        for type_ in ("unavailable", "unsubscribe", "unsubscribed"):
            dora.presence(bob(domain), type_)
        refused(other, dora, DORA, "service-unavailable")
        refused(other, dora, dora.full_jid, "service-unavailable")
        other.assert_nothing(lambda stanza: (stanza.get("from") or "").startswith(DORA) and stanza.get("type") != "error", 0.2)
        assert not any((stanza.get("from") or "") == bob(domain) and stanza.get("type") != "error" for stanza in dora.stanzas[seen:])


def scenario_unavailable_always_goes(fixture):
    carol = fixture.client(CAROL)
    for domain in (UNV, OPEN):
        other = fixture.client(bob(domain))
        seen = other.mark()
        carol.presence(bob(domain), "unavailable")
        other.wait_presence(CAROL, "unavailable", since=seen)


def scenario_roster_removed_at_the_store(fixture):
    """No verdict is kept: the roster as it is at the moment of the stanza."""
    alice = fixture.client(ALICE)
    other = fixture.client(bob(UNV))
    # Without the request that has come before: ejabberd keeps it in the place of the item (docs/ejabberd.md).
    alice.roster_set(bob(UNV), remove=True)
    alice.roster_set(bob(UNV), name="before")
    delivered(other, alice, ALICE)
    alice.roster_set(bob(UNV), remove=True)
    refused(other, alice, ALICE, "service-unavailable")
    alice.roster_set(bob(UNV), name="again")
    delivered(other, alice, ALICE)
    item = "again" if fixture.lab.host == "prosody" else bob(UNV)
    wait_until(lambda: item in fixture.edge.roster(ALICE), 20, "the item in the store")
