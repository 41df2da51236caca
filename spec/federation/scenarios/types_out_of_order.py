"""What users and administrators do in an order that nobody had in mind: directed presence that is refused the second time, a
partner whose type changes in between, and explain against what really happens."""

import concurrent.futures
import re
import time

from scenarios._edge import ALICE, HOST
from scenarios._types import DOMAINS, FED, OPEN, PARTNERS, QUIET, UNV, VER, bob, start

TIMEOUT = 120 # a console for each question
CAROL, ERIN, FRANK = (f"{name}@{HOST}" for name in ("carol", "erin", "frank"))
SAMPLE = (FED, VER, UNV, QUIET, OPEN)
KINDS = {
    "message": "<message {} type='chat' id='{}'><body>x</body></message>",
    "groupchat": "<message {} type='groupchat' id='{}'><body>x</body></message>",
    "presence": "<presence {} id='{}'><status>note</status></presence>",
    "probe": "<presence {} id='{}' type='probe'/>",
    "iq-get": "<iq {} type='get' id='{}'><query xmlns='urn:lab:x'/></iq>",
    "iq-set": "<iq {} type='set' id='{}'><query xmlns='urn:lab:x'/></iq>",
    "iq-result": "<iq {} type='result' id='{}'/>",
    "iq-error": "<iq {} type='error' id='{}'><error type='cancel'/></iq>",
    "subscribe": "<presence {} id='{}' type='subscribe'/>",
}


def setup(lab):
    return start(lab, users=[CAROL, ERIN, FRANK], rosters={ALICE: {bob(domain): "none" for domain in DOMAINS},
                                                    ERIN: {bob(UNV): "none"}},
                 partner_users=[bob(domain) for domain in DOMAINS])


def teardown(fixture):
    fixture.close()


def scenario_seen_coming_is_seen_going(fixture):
    """A contact who was sent directed presence while listed hears of the end, also when an update in between was refused."""
    erin, other = fixture.client(ERIN), fixture.client(bob(UNV))
    seen = other.mark()
    erin.presence(bob(UNV))
    other.wait_presence(ERIN, since=seen)
    full = erin.full_jid
    erin.roster_set(bob(UNV), remove=True)
    erin.presence(bob(UNV), id_="update")
    assert erin.wait_error("update")[0] == "subscription-required"
    fixture.leave(ERIN)
    other.wait_presence(full, "unavailable", since=seen)


def scenario_refused_from_the_start_is_not_told_of_the_end(fixture):
    carol, other = fixture.client(CAROL), fixture.client(bob(UNV))
    seen = other.mark()
    carol.presence(bob(UNV), id_="never")
    assert carol.wait_error("never")[0] == "subscription-required"
    fixture.leave(CAROL)
    fixture.edge.shell("> 1")
    other.assert_nothing(lambda stanza: (stanza.get("from") or "").startswith(CAROL), 1, seen)


def scenario_directed_ends_while_the_type_is_another(fixture):
    """What a user took back counts as taken back, whatever the partner was at that moment."""
    frank, friend = fixture.client(FRANK), fixture.client(bob(OPEN))
    seen = friend.mark()
    frank.presence(bob(OPEN))
    friend.wait_presence(FRANK, since=seen)
    friend.send_message(FRANK, "while directed")
    frank.wait_message("while directed")
    fixture.edge.partners = re.sub(r'(\["domain"\] = "open.test";.*?\["partner_type"\] = )"public_unverified"', r'\1"federated"', PARTNERS)
    assert fixture.edge.partners != PARTNERS
    fixture.edge.reload()
    frank.presence(bob(OPEN), "unavailable")
    friend.wait_presence(FRANK, "unavailable", since=seen)
    fixture.edge.partners = PARTNERS
    fixture.edge.reload()
    assert friend.wait_error(friend.send_message(FRANK, "too late"))[0] == "service-unavailable"


def happened(fixture, sender, text, domain, direction, number):
    """The reason of what the edge refused, or none."""
    mark = fixture.edge.mark()
    sender.send_raw(text)
    # Behind it, over the same streams.
    sender.iq(HOST if direction == "in" else domain, "<ping xmlns='urn:xmpp:ping'/>")
    word = "from" if direction == "in" else "to"
    written = rf"(Refused|Changed) a stanza {word} {re.escape(domain)} \(host {re.escape(HOST)}\): ([a-z-]+)"
    for _ in range(1 if fixture.lab.host == "prosody" else 10):     # ejabberd's log is written by another process
        lines = re.findall(written, fixture.edge.log_since(mark))
        if lines:
            break
        time.sleep(0.03)
    found = [reason for what, reason in lines if what == "Refused"]
    changed = [reason for what, reason in lines if what == "Changed"]
    if found:
        return f"verdict: refuse {found[0]}"
    return "verdict: allow" + (f", changed: {changed[0]}" if changed else "")


def scenario_explain_and_traffic_agree(fixture):
    questions = []
    alice, carol = fixture.client(ALICE), fixture.client(CAROL)
    number = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for domain in SAMPLE:
            other = fixture.client(bob(domain))
            for kind, text in KINDS.items():
                if kind == "subscribe" and domain in (FED, VER, QUIET):
                    continue        # changes the rosters that the others are judged by
                for user in (alice, carol):
                    for sender, receiver, direction in ((other, user, "in"), (user, other, "out")):
                        if kind == "subscribe" and direction == "out":
                            continue
                        if kind == "presence" and direction == "out" and domain == OPEN:
                            continue        # makes the contact count as listed
                        number += 1
                        answer = pool.submit(fixture.edge.shell, f'partners:explain("{sender.jid}", "{receiver.jid}", "{kind}")')
                        said = re.findall(r"verdict: .*", answer.result())[-1].strip()
                        was = happened(fixture, sender, text.format(f"to='{receiver.jid}'", f"diff{number}"), domain, direction, number)
                        questions.append((sender.jid, receiver.jid, kind, said, was))
    wrong = [question for question in questions if question[3] != question[4]]
    assert len(questions) > 100 and not wrong, (len(questions), wrong)
