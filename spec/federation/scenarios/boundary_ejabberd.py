"""The same with an ejabberd inside, by dialback over TLS."""

from lab.client import Client
from lab.ejabberd import installed
from lab.lab import Skipped
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, ROOMS, Boundary, words
from ._edge import any_method, configuration

PARTNERS = configuration(any_method("fabrikam.test", partner_type="public_unverified", group_chat="allow"))


def setup(lab):
    if not installed():
        raise Skipped("no ejabberd here")
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test", "evil.test"])
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.ejabberd().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB, "eve@fabrikam.test"], preset="any").start()


def scenario_contact_and_messages(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        assert bob.wait_error(bob.send_message(ALICE, "too early"), 30)[0] == "service-unavailable"
        alice.subscribe(BOB)
        bob.wait_presence(ALICE, "subscribe", 30)
        bob.authorise(ALICE)
        alice.wait_presence(BOB, timeout=30)
        bob.send_message(ALICE, "to alice")
        alice.wait_message("to alice")
        alice.send_message(BOB, "to bob")
        bob.wait_message("to bob")


def scenario_known_after_a_log_in(lab):
    lab.edge.restart()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.wait_presence(BOB, timeout=30)
        bob.send_message(ALICE, "still a contact")
        alice.wait_message("still a contact")


def scenario_unlisted(lab):
    with Client(ALICE, lab.inside.address) as alice:
        condition, _, _ = alice.wait_error(alice.send_message("eve@evil.test", "to nobody"), 30)
        assert condition == "not-allowed", condition


def scenario_room_inside(lab):
    room = f"town@{ROOMS}"
    join = "<x xmlns='http://jabber.org/protocol/muc'/>"
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.presence(f"{room}/alice", inside=join)
        alice.wait_presence(f"{room}/alice")
        answer = alice.iq(room, "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", "set")
        assert answer.get("type") == "result", answer
        bob.presence(f"{room}/bob", inside=join)
        bob.wait_presence(f"{room}/bob", timeout=30)
        bob.send_message(room, "to all", "groupchat")
        alice.wait_message("to all")


def scenario_console_looks_inside(lab):
    shown = words(lab.edge.shell('partners:test("fabrikam.test", "contoso.test")', timeout=60))
    for text in ("the server inside answers, and offers STARTTLS", "the server inside asks here whether the key is fabrikam.test's",
                 "method", ": fabrikam.test -> contoso.test works"):
        assert text in shown, f"{text!r} is not in {shown}"
    shown = words(lab.edge.shell("partners:check()", timeout=60))
    for text in ("takes this one for fabrikam.test: TLS dialback", "it asks here about keys",
                 "services of the server inside that have a relay host: conference.contoso.test"):
        assert text in shown, f"{text!r} is not in {shown}"


def scenario_inside_gone_and_back(lab):
    lab.inside.stop()
    with Client(BOB, lab.partner.address) as bob:
        assert bob.wait_error(bob.send_message(ALICE, "to nobody at home"), 30)[0] == "remote-server-timeout"
    lab.inside.users = []       # they are there already
    lab.inside.start()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, "at home again")
        alice.wait_message("at home again", 30)
