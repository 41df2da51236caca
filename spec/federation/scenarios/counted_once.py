"""Every stanza that passes is counted once, also what core answers on a user's behalf."""

import re

from scenarios._edge import ALICE, HOST
from scenarios._types import VER, bob, start


def setup(lab):
    return start(lab, rosters={ALICE: {bob(VER): "both"}}, partner_users=[bob(VER)], partner_rosters={bob(VER): {ALICE: "both"}})


def teardown(fixture):
    fixture.close()


def passed(fixture):
    output = fixture.edge.shell(f'partners:show("{VER}")')
    found = re.search(rf"{re.escape(HOST)}\s+out\s+allow\s+none\s+(\d+)", output)
    return int(found.group(1)) if found else 0


def scenario_answers_in_a_users_name(fixture):
    alice, other = fixture.client(ALICE), fixture.client(bob(VER))
    other.wait_presence(ALICE)
    other.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    alice.roster()      # behind what has come for her up to then: on ejabberd it is her session that answers probes
    before = passed(fixture)
    for _ in range(5):
        answer = other.iq(ALICE, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
        assert answer.get("type") == "result", answer
    assert passed(fixture) == before + 5, (before, passed(fixture))
    assert alice.roster()
