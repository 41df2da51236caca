"""Stanzas of hostile size and number, by users and by partners: what is kept for them has a bound, and they cost in proportion."""

import base64
import hashlib
import re

from lab.remote import Remote

from scenarios import _scene
from scenarios._edge import ALICE, HOST, PING
from scenarios._types import FED, MANUAL, QUIET, UNV, VER, bob, note, start

FULL, WAITING, CAROL, DAVE, ERIN, INTERESTED, CURIOUS = (
    f"{name}@{HOST}" for name in ("full", "waiting", "carol", "dave", "erin", "interested", "curious"))
DISCO = "http://jabber.org/protocol/disco#info"
RESOURCES = 1000        # docs/threat-model.md
CONTACTS, REQUESTS = 500, 200       # docs/partner-types.md
CROWD = 8

def setup(lab):
    many = {f"c{number}@{FED if number % 2 else 'sub.' + FED}": "from" for number in range(CONTACTS - 2)}
    fixture = start(lab, users=[FULL, WAITING, CAROL, DAVE, ERIN, INTERESTED, CURIOUS],
                    rosters={FULL: {**many, **{f"c{number}@{VER}": "to" for number in range(20)}},
                             WAITING: {f"old@{MANUAL}": "to"},
                             CAROL: {f"friend@{UNV}": "to"},
                             INTERESTED: {f"friend@{FED}": "both"},
                             CURIOUS: {f"friend@{QUIET}": "both"},
                             DAVE: {f"c{number}@{UNV}": "both" for number in range(CROWD)}})
    for domain in (FED, VER, MANUAL, UNV):
        lab.dns.server(domain, "127.0.200.1")
    return fixture


def teardown(fixture):
    fixture.close()


class Stream(_scene.Stream):
    def __init__(self, fixture, domain):
        super().__init__(fixture.lab, fixture.edge, domain)

    def subscribe(self, name, to, inside=""):
        return [stanza.get("type") for stanza in
                self.ask(f"<presence from='{name}@{self.domain}' to='{to}' type='subscribe'>{inside}</presence>") if stanza.name == "presence"]


def asked_by(client, since=0):
    return [stanza.get("from") for stanza in client.stanzas[since:] if stanza.name == "presence" and stanza.get("type") == "subscribe"]


def waits(fixture):
    """What the host says while a request waits for the user; ejabberd says nothing."""
    return ["unavailable"] if fixture.lab.home == "prosody" else []


def scenario_automatic_authorisation_ends(fixture):
    """The additional domains of one partner count together; another partner's contacts go on."""
    full = fixture.client(FULL)
    with Stream(fixture, FED) as fed, Stream(fixture, VER) as ver:
        assert "subscribed" in fed.subscribe("last", FULL)
        assert "subscribed" in fed.subscribe("verylast", FULL)
        mark = full.mark()
        assert fed.subscribe("toomany", FULL) == waits(fixture), "as for anybody who waits for the user"
        full.roster()
        assert asked_by(full, mark) == [f"toomany@{FED}"]
        assert f"toomany@{FED}" not in full.roster()
        assert "subscribed" in ver.subscribe("other", FULL)
        full.authorise(f"toomany@{FED}")
        full.roster()
        assert full.roster()[f"toomany@{FED}"]["subscription"] == "from"
    log = fixture.edge.shell(f'partners:explain("one@{FED}", "{FULL}", "subscribe")')
    assert "verdict: allow" in log and "changed" not in log, log


def scenario_requests_that_wait(fixture):
    """No partner can fill a roster with requests of made-up senders."""
    waiting = fixture.client(WAITING)
    with Stream(fixture, MANUAL) as manual, Stream(fixture, FED) as fed:
        for number in range(REQUESTS):
            manual.probe.send(f"<presence from='s{number}@{MANUAL}' to='{WAITING}' type='subscribe'/>")
        manual.ask("")
        waiting.roster()
        assert len(set(asked_by(waiting))) == REQUESTS
        mark, log = waiting.mark(), fixture.edge.mark()
        assert manual.subscribe("onemore", WAITING) == waits(fixture), "as for anybody else"
        fixture.edge.wait_log("not-listed: no more of the partner's requests can wait", mark=log)
        assert manual.subscribe("s5", WAITING) == waits(fixture), "who waits already (core tells the user once)"
        assert manual.subscribe("old", WAITING) == waits(fixture), "and who is in the roster"
        waiting.roster()
        assert asked_by(waiting, mark) == [f"old@{MANUAL}"]
        assert f"onemore@{MANUAL}" not in fixture.edge.roster(WAITING)
        assert "subscribed" in fed.subscribe("friend", WAITING), "others are not concerned"
        waiting.presence(f"s7@{MANUAL}", "unsubscribed")
        waiting.roster()
        mark = waiting.mark()
        manual.subscribe("onemore", WAITING)
        waiting.roster()
        assert asked_by(waiting, mark) == [f"onemore@{MANUAL}"], "there is room again"


def scenario_large_requests_do_not_wait(fixture):
    carol = fixture.client(CAROL)
    with Stream(fixture, MANUAL) as manual:
        mark = carol.mark()
        for inside in ("<status>%s</status>" % ("x" * 100000), "<x/>" * 20000, "<x>" * 200 + "</x>" * 200):
            assert manual.subscribe("large", CAROL, inside) == waits(fixture)
        assert manual.subscribe("small", CAROL, "<status>please</status>") == waits(fixture)
        carol.roster()
        assert asked_by(carol, mark) == [f"small@{MANUAL}"]
    with Stream(fixture, UNV) as unverified:
        mark = carol.mark()
        assert unverified.subscribe("friend", CAROL, "<x/>" * 20000) == []
        carol.roster()
        assert asked_by(carol, mark) == [], "who is in the roster is asked for, but not with anything"
        unverified.subscribe("friend", CAROL)
        carol.roster()
        assert asked_by(carol, mark) == [f"friend@{UNV}"]
        assert "large" not in fixture.edge.roster(CAROL)


def interest_in(node):
    """A client that wants to hear of it: what it answers when asked, and its caps."""
    features = f"<identity category='client' type='pc'/><feature var='{node}+notify'/>"
    ver = base64.b64encode(hashlib.sha1(f"client/pc//<{node}+notify<".encode()).digest()).decode()
    return features, f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:example:client' ver='{ver}'/>"


def interests_kept(fixture, user, resource=""):
    """How many resources' interests mod_pep keeps for that user, and whether the one is among them."""
    counted = fixture.edge.shell("> local n, known = 0, {} for jid in pairs(prosody.hosts['%s'].modules.pep.module.save().recipients['%s'] or {}) do "
                                 "n = n + 1 known[jid:match('/(.*)') or ''] = true end return n .. ' ' .. tostring(known['%s'])"
                                 % (HOST, user.split("@", maxsplit=1)[0], resource))
    found = re.search(r"(\d+) (true|nil)", counted)
    return int(found[1]), found[2] == "true"


def scenario_interests_over_our_own_stream(fixture):
    """What comes back over a stream that we opened counts as what comes over the partner's."""
    features, _ = interest_in("urn:example:mood")
    client = fixture.client(CURIOUS)
    remote = Remote(fixture.lab, [QUIET], leaf=fixture.lab.certificates.leaf(QUIET), offer=["external", "bidi"])
    client.send_message(f"friend@{QUIET}", "hello")
    remote.wait_element(lambda element: element.name == "message")
    remote.connections[-1].send("".join(
        f"<iq from='friend@{QUIET}/b{number}' to='{CURIOUS}' type='result' id='disco'><query xmlns='{DISCO}'>{features}</query></iq>"
        for number in range(RESOURCES + 60)) + f"<message from='friend@{QUIET}' to='{CURIOUS}' type='chat'><body>that is all</body></message>")
    client.wait_message("that is all")
    assert interests_kept(fixture, CURIOUS, f"b{RESOURCES + 59}") == (RESOURCES, True)
    remote.close()


def scenario_interests_of_invented_resources(fixture):
    """mod_pep keeps what each resource of a contact wants until it goes; a contact can invent resources."""
    features, caps = interest_in("urn:example:tune")
    ver = re.search("ver='(.*?)'", caps)[1]

    def kept(name):
        return interests_kept(fixture, INTERESTED, name)
    fixture.client(INTERESTED)
    with Stream(fixture, FED) as fed:
        def present(number):
            return f"<presence from='friend@{FED}/r{number}' to='{INTERESTED}'>{caps}</presence>"
        asked = fed.ask(present(0))
        request = next(stanza for stanza in asked if stanza.find("query", DISCO) is not None)
        fed.ask(f"<iq from='friend@{FED}/r0' to='{INTERESTED}' type='result' id='{request.get('id')}'>"
                f"<query xmlns='{DISCO}' node='urn:example:client#{ver}'>{features}</query></iq>")
        assert kept("r0") == (1, True), "core has taken it up"
        fed.ask("".join(present(number) for number in range(1, RESOURCES)) + present(0))
        assert kept("r1") == (RESOURCES, True)
        fed.ask("".join(present(number) for number in range(RESOURCES, RESOURCES + 50)))
        assert kept("r1") == (RESOURCES, False), "the one heard of longest ago has gone"
        assert kept("r0") == (RESOURCES, True), "who is heard of again has not"
        # Who may not see the user's presence takes no place from those who may: neither with presence nor with answers that nobody has asked for.
        fed.ask("".join(f"<presence from='other@{FED}/o{number}' to='{INTERESTED}'>{caps}</presence>" for number in range(RESOURCES + 10)))
        fed.ask("".join(f"<iq from='other@{FED}/a{number}' to='{to}' type='result' id='disco'><query xmlns='{DISCO}'>{features}</query></iq>"
                        for number in range(60) for to in (INTERESTED, f"nobody@{HOST}")))
        assert kept("a0") == (RESOURCES, False) and kept("r0") == (RESOURCES, True)
        assert interests_kept(fixture, f"nobody@{HOST}") == (0, False)
        for number in range(RESOURCES + 50):
            fed.probe.send(f"<presence from='friend@{FED}/r{number}' to='{INTERESTED}' type='unavailable'/>")
        fed.ask("")
        assert kept("r0")[1] is False


def scenario_a_refused_roster_set_changes_nothing(fixture):
    """Core takes a set of one item only: what it refuses must not undo what the user has cancelled."""
    erin = fixture.client(ERIN)
    contact = f"eve@{FED}"
    erin.presence(contact, "unsubscribed")
    erin.roster()
    with Stream(fixture, FED) as fed:
        items = "".join(f"<item jid='{jid}'/>" for jid in (contact, *(f"x{number}@{FED}" for number in range(3000))))
        sets = [items, f"<item jid='{contact}'/>" * 2, f"<item xmlns='urn:lab' jid='{contact}'/>", f"<other jid='{contact}'/>"]
        if fixture.edge.host == "prosody":      # an ejabberd takes that for the contact itself
            sets.append(f"<item jid='{contact}/x'/>")
        for inside in sets:
            answer = erin.iq(None, f"<query xmlns='jabber:iq:roster'>{inside}</query>", "set")
            assert answer.get("type") == "error", (inside[:80], answer)
            assert fed.subscribe("eve", ERIN) == waits(fixture), inside[:80]
        expected = "error" if fixture.edge.host == "prosody" else "result"
        assert erin.roster_set(contact, remove=True).get("type") == expected, "there is nothing to remove"
        assert fed.subscribe("eve", ERIN) == waits(fixture)
        assert erin.roster_set(contact).get("type") == "result"
        assert "subscribed" in fed.subscribe("eve", ERIN)
        assert erin.roster_set(contact, remove=True).get("type") == "result"
        seen = fed.subscribe("eve", ERIN)
        assert "subscribed" not in seen and (seen[-1] == "unavailable" or fixture.edge.host != "prosody"), seen
        assert contact not in erin.roster()


def broadcast(fixture, client, stream, inside):
    """What each contact of dave's gets of his presence."""
    client.presence(inside=inside + "<x xmlns='urn:lab:end'/>")
    heard = {}
    while len(heard) < CROWD:
        element = stream.probe.read(30)
        if element.name == "presence" and element.find("x", "urn:lab:end") is not None:
            heard[element.get("to")] = element
    return heard


def scenario_deep_and_wide_presence(fixture):
    """Notes at the bottom of deep trees, and after thousands of children, are taken out for everybody."""
    dave = fixture.client(DAVE)
    secret = "secret"
    leaf = f"<status xmlns='jabber:client'>{secret}</status>"
    shapes = {
        "deep": "<x xmlns='urn:lab'>" * 60 + leaf + "</x>" * 60,
        "each level": "".join("<x xmlns='urn:lab'>" + "<y/>" * 60 for _ in range(50)) + leaf + "</x>" * 50,
        "wide": "<y xmlns='urn:lab'/>" * 1500 + leaf,
        "below the depth that is sent": "<x xmlns='urn:lab'>" * 300 + leaf + "</x>" * 300,
        "text": "<x xmlns='urn:lab'>" + "word<y/>" * 1000 + leaf + "</x>",
    }
    with Stream(fixture, UNV) as stream:
        for name, inside in shapes.items():
            for element in broadcast(fixture, dave, stream, inside).values():
                assert secret not in str(element), name
        plain = broadcast(fixture, dave, stream, "<show>away</show><status>secret</status><x xmlns='urn:lab'><y/></x>")
        for element in plain.values():
            assert element.find("show").text == "away" and note(element) is None and element.find("x", "urn:lab") is not None


def scenario_answers_of_others_come_back(fixture):
    """One user asks without end; another still gets his answer."""
    alice, carol = fixture.client(ALICE), fixture.client(CAROL)
    with Stream(fixture, UNV) as stream:
        carol.send_raw(f"<iq to='{UNV}' type='get' id='carols'>{PING}</iq>")
        asked = stream.probe.read(10)
        while asked.get("id") != "carols":
            asked = stream.probe.read(10)
        for block in range(0, 10050, 150):
            alice.send_raw("".join(f"<iq to='{UNV}' type='get' id='a{number}'>{PING}</iq>" for number in range(block, block + 150)))
            while stream.probe.read(20).get("id") != f"a{block + 149}":
                pass
        for user, id_ in ((carol, "carols"), (alice, "a10049"), (alice, "a1")):
            stream.probe.send(f"<iq from='{UNV}' to='{user.full_jid}' type='result' id='{id_}'/>")
        carol.wait_stanza(lambda stanza: stanza.get("id") == "carols" and stanza.get("type") == "result")
        alice.wait_stanza(lambda stanza: stanza.get("id") == "a10049" and stanza.get("type") == "result")
        alice.assert_nothing(lambda stanza: stanza.get("id") == "a1" and stanza.get("type") == "result", 0.3)


def scenario_who_is_asked_may_be_there(fixture):
    """The bounds are of what would be kept: bob of a partner with room is asked for as ever."""
    carol = fixture.client(CAROL)
    mark = carol.mark()
    with Stream(fixture, MANUAL) as manual:
        manual.subscribe("bob", CAROL)
    carol.wait_presence(bob(MANUAL), "subscribe", since=mark)
