"""Status notes: federated partners and local users see them, nobody else does, on whatever way they travel."""

from lab.client import Client
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST
from scenarios._types import FED, MUC, OPEN, ROOMS, UNV, VER, bob, note, start

CAROL, DAVE = f"carol@{HOST}", f"dave@{HOST}"
DOMAINS = (FED, VER, UNV, OPEN)
NOTES = ("<status>{0}</status><status xml:lang='de'>{0}</status><status xmlns='jabber:client'>{0}</status>"
         "<status xmlns='jabber:server'>{0}</status><x xmlns='urn:lab:x'><status xmlns='jabber:client'>{0}</status></x>"
         "<query xmlns='jabber:iq:last' seconds='9'>{0}</query>")


def setup(lab):
    everyone = {bob(domain): "both" for domain in DOMAINS}
    fixture = start(lab, users=[CAROL, DAVE], partner_users=[bob(domain) for domain in DOMAINS],
                    rosters={ALICE: {**everyone, CAROL: "both"}, CAROL: {**everyone, ALICE: "both"}, DAVE: dict(everyone)},
                    partner_rosters={bob(domain): {ALICE: "both", CAROL: "both", DAVE: "both"} for domain in DOMAINS})
    for jid in (CAROL, *(bob(domain) for domain in DOMAINS)):
        fixture.client(jid)
    return fixture


def teardown(fixture):
    fixture.close()


def check(fixture, send, wanted, secret):
    """`send` makes presence go to everybody: those who may see the secret do, and nobody else does."""
    marks = {jid: client.mark() for jid, client in fixture.clients.items()}
    send()
    for domain in DOMAINS:
        jid = bob(domain)
        stanza = fixture.clients[jid].wait_stanza(wanted, since=marks[jid])
        assert (secret in str(stanza)) == (domain == FED), (domain, stanza)
    stanza = fixture.clients[CAROL].wait_stanza(wanted, since=marks[CAROL])
    assert secret in str(stanza), stanza


def presence_with(mark, type_=None):
    return lambda stanza: stanza.name == "presence" and stanza.get("type") == type_ and f"urn:lab:{mark}" in str(stanza)


def scenario_broadcast(fixture):
    alice = fixture.client(ALICE)
    secret = "broadcast secret"
    check(fixture, lambda: alice.presence(inside=NOTES.format(secret) + "<x xmlns='urn:lab:one'/>"), presence_with("one"), secret)


def scenario_broadcast_of_a_note_and_no_more(fixture):
    """What was made of it for the first who may not see it goes to the others too, and to nobody who may."""
    alice = fixture.client(ALICE)
    for turn in ("first", "second", "third"):
        secret = f"{turn} secret"
        presence = f"<status>{secret}</status><x xmlns='urn:lab:{turn}'/>"
        check(fixture, lambda inside=presence: alice.presence(inside=inside), presence_with(turn), secret)


def scenario_directed(fixture):
    alice = fixture.client(ALICE)
    secret = "directed secret"

    def send():
        for to in (CAROL, *(bob(domain) for domain in DOMAINS)):
            alice.presence(to, inside=NOTES.format(secret) + "<x xmlns='urn:lab:two'/>")
    check(fixture, send, presence_with("two"), secret)


def scenario_unavailable(fixture):
    secret = "goodbye secret"
    alice = fixture.client(ALICE)
    alice.presence()
    check(fixture, lambda: alice.presence(type_="unavailable", inside=NOTES.format(secret) + "<x xmlns='urn:lab:three'/>"),
          presence_with("three", "unavailable"), secret)
    alice.presence()


def scenario_probe_reply(fixture):
    """Also after core has added to what it keeps."""
    alice = fixture.client(ALICE)
    secret = "kept secret"
    alice.presence(inside=f"<status>{secret}</status><x xmlns='urn:lab:four'/>")
    for domain in DOMAINS:
        fixture.clients[bob(domain)].wait_stanza(presence_with("four"))
    for domain in DOMAINS:
        jid = bob(domain)
        fixture.leave(jid)
        client = fixture.clients[jid] = Client(jid, fixture.partner.address)
        stanza = client.wait_stanza(presence_with("four"))
        assert (secret in str(stanza)) == (domain == FED), stanza
        assert stanza.find("delay") is not None, stanza


def scenario_connection_lost(fixture):
    """Core says why a session ended, in a note."""
    dave = fixture.client(DAVE)
    dave.presence()
    for domain in DOMAINS:
        fixture.clients[bob(domain)].wait_presence(DAVE)
    marks = {domain: fixture.clients[bob(domain)].mark() for domain in DOMAINS}
    fixture.edge.shell(f'c2s:close("{DAVE}", "for reasons of ours")')
    for domain in DOMAINS:
        stanza = fixture.clients[bob(domain)].wait_presence(DAVE, "unavailable", since=marks[domain])
        assert (note(stanza) is not None) == (domain == FED), stanza
    fixture.leave(DAVE)


def scenario_last_activity(fixture):
    """XEP-0012: core keeps the note of the last unavailable presence, and clients answer for themselves."""
    alice = fixture.client(ALICE)
    secret = "last secret"
    alice.presence(type_="unavailable", status=secret)
    alice.roster()      # when that is answered, the presence has been seen
    if fixture.lab.home == "ejabberd":      # which says no more of a user who has a session
        fixture.leave(ALICE)
        wait_until(lambda: fixture.edge.evaluate(f'ejabberd_sm:get_user_resources(<<"alice">>, <<"{HOST}">>)') == "[]", 20, "end of the session")
    for domain in DOMAINS:
        answer = fixture.clients[bob(domain)].iq(ALICE, "<query xmlns='jabber:iq:last'/>")
        assert answer.get("type") == "result", answer
        assert answer.find("query").get("seconds") is not None
        assert (answer.find("query").text == secret) == (domain == FED), answer
    alice = fixture.client(ALICE)
    alice.presence()
    for domain in DOMAINS:
        jid = fixture.clients[bob(domain)].full_jid
        mark = fixture.clients[bob(domain)].mark()
        alice.send_raw(f"<iq to='{jid}' type='result' id='own'><query xmlns='jabber:iq:last' seconds='3'>{secret}</query></iq>")
        stanza = fixture.clients[bob(domain)].wait_stanza(lambda stanza: stanza.get("id") == "own", since=mark)
        assert (secret in str(stanza)) == (domain == FED), stanza


def scenario_subscription_requests_keep_theirs(fixture):
    alice = fixture.client(ALICE)
    secret = "please accept me"
    for domain in DOMAINS:
        jid = f"new@{domain}"
        log = fixture.partner.mark()
        alice.presence(jid, "subscribe", inside=f"<status>{secret}</status>")
        fixture.partner.wait_log(rf"inbound presence subscribe from {ALICE} for {jid}", 10, log)
        assert alice.roster()[jid]["ask"] == "subscribe"


def scenario_others_types(fixture):
    """subscribed, unsubscribed and so on have no note either."""
    alice = fixture.client(ALICE)
    secret = "typed secret"
    marks = {domain: fixture.clients[bob(domain)].mark() for domain in DOMAINS}
    for domain in DOMAINS:
        alice.presence(bob(domain), "error", inside=f"<status>{secret}</status><x xmlns='urn:lab:five'/>")
    for domain in DOMAINS:
        stanza = fixture.clients[bob(domain)].wait_stanza(presence_with("five", "error"), since=marks[domain])
        assert (secret in str(stanza)) == (domain == FED), stanza


def scenario_room(fixture):
    """A note that goes through a room of ours: the event is on the room's host."""
    alice = fixture.client(ALICE)
    room = f"notes@{ROOMS}"
    join = f"<x xmlns='{MUC}'/>"
    occupants = [CAROL, *(bob(domain) for domain in (FED, VER, OPEN))]
    alice.presence(f"{room}/alice", inside=join)
    alice.wait_presence(f"{room}/alice")
    for number, jid in enumerate(occupants):
        fixture.clients[jid].presence(f"{room}/n{number}", inside=join)
        fixture.clients[jid].wait_presence(f"{room}/n{number}")
    secret = "room secret"
    for sender, inside in ((alice, "six"), (fixture.clients[bob(FED)], "seven")):
        marks = {jid: fixture.clients[jid].mark() for jid in occupants}
        nick = "alice" if sender is alice else "n1"
        sender.presence(f"{room}/{nick}", inside=NOTES.format(secret) + f"<x xmlns='urn:lab:{inside}'/>")
        for jid in occupants:
            stanza = fixture.clients[jid].wait_stanza(presence_with(inside), since=marks[jid])
            assert (secret in str(stanza)) == (jid in (CAROL, bob(FED))), (jid, stanza)
            # What is no note stays: the status codes of XEP-0045.
    stanza = fixture.clients[bob(VER)].wait_stanza(
        lambda stanza: stanza.name == "presence" and stanza.get("from") == f"{room}/n2" and stanza.find("x", f"{MUC}#user"))
    codes = [child.get("code") for child in stanza.find("x", f"{MUC}#user").children if child.name == "status"]
    assert "110" in codes, stanza
