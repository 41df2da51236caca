"""Partner types through a relay host: who is in whose roster is learned from what passes, and where it is not known it is refused."""

from lab.client import Client
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import ALICE, CAROL, Boundary
from ._edge import any_method, configuration

BOB, EVE, VERA = "bob@fabrikam.test", "eve@fabrikam.test", "vera@public.test"
PARTNERS = configuration(
    any_method("fabrikam.test", partner_type="public_unverified"),
    any_method("public.test", partner_type="public_verified", presence_authorization="user"),
    any_method("rooms.fabrikam.test", partner_type="public_unverified", group_chat="allow"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test", "public.test", "rooms.fabrikam.test"])
    lab.edge = lab.boundary.edge.start()
    inside = lab.boundary.prosody()
    inside.set_roster(CAROL, {"old@fabrikam.test": "both", "half@fabrikam.test": "from"})
    lab.inside = inside.start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], components={"rooms.fabrikam.test": ("muc", "")}, preset="any",
                          users=[BOB, EVE, "old@fabrikam.test", "half@fabrikam.test", "dan@fabrikam.test"]).start()
    lab.public = Prosody(lab, "public", ["public.test"], users=[VERA], preset="any").start()


def _is_message(stanza):
    return stanza.name == "message" and stanza.get("type") != "error"


def _refused(sender, to, receiver):
    id_ = sender.send_message(to, "from a stranger")
    assert sender.wait_error(id_)[0] == "service-unavailable"
    receiver.assert_nothing(_is_message, 0.5, receiver.mark())


def scenario_strangers_are_refused_alike(lab):
    """Whether there is such a user does not show."""
    with Client(ALICE, lab.inside.address) as alice, Client(EVE, lab.partner.address) as eve:
        _refused(eve, ALICE, alice)
        assert eve.wait_error(eve.send_message("nobody@contoso.test", "hello"))[0] == "service-unavailable"
        mark = alice.mark()
        eve.subscribe(ALICE)
        eve.presence(ALICE)
        eve.presence(ALICE, "probe")
        eve.presence(ALICE, "subscribed")
        alice.assert_nothing(lambda stanza: stanza.name == "presence" and (stanza.get("from") or "").startswith("eve@"), 1, mark)
        _refused(eve, ALICE, alice)


def scenario_first_the_contact_is_added(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        condition, _, kind = alice.wait_error(alice.send_message(BOB, "too early"))
        assert (condition, kind) == ("subscription-required", "auth"), (condition, kind)
        assert "verdict: refuse not-listed" in lab.edge.shell(f'partners:explain("{BOB}", "{ALICE}")')
        alice.subscribe(BOB)
        bob.wait_presence(ALICE, "subscribe")
        assert "verdict: allow" in lab.edge.shell(f'partners:explain("{BOB}", "{ALICE}")')
        bob.send_message(ALICE, "before the answer")
        alice.wait_message("before the answer")
        alice.send_message(BOB, "now you hear me")
        bob.wait_message("now you hear me")
        bob.authorise(ALICE)
        alice.wait_presence(BOB)
    lab.edge.restart()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, "known over a restart")
        alice.wait_message("known over a restart")
        mark = bob.mark()
        alice.roster_set(BOB, remove=True)
        bob.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.get("type") == "unsubscribe", since=mark)
        _refused(bob, ALICE, alice)
    lab.edge.restart()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        _refused(bob, ALICE, alice)


def scenario_rosters_of_before(lab):
    """The server inside probes whose presence the user has: so the edge learns of them when the user comes online. Of `from` alone it does not."""
    with Client("old@fabrikam.test", lab.partner.address) as old:
        assert old.wait_error(old.send_message(CAROL, "nobody is online"))[0] == "service-unavailable"
        with Client(CAROL, lab.inside.address) as carol, Client("half@fabrikam.test", lab.partner.address) as half:
            wait_until(lambda: "old@fabrikam.test" in lab.edge.shell(f'partners:contacts("{CAROL}")'), 20, "the contact that was probed for")
            old.send_message(CAROL, "an old friend")
            carol.wait_message("an old friend")
            _refused(half, CAROL, carol)


def scenario_refused_request_stays_a_contact(lab):
    with Client(CAROL, lab.inside.address) as carol, Client("dan@fabrikam.test", lab.partner.address) as dan:
        carol.subscribe("dan@fabrikam.test")
        dan.wait_presence(CAROL, "subscribe")
        dan.presence(CAROL, "unsubscribed")
        carol.wait_presence("dan@fabrikam.test", "unsubscribed")
        dan.send_message(CAROL, "no, but hello")
        carol.wait_message("no, but hello")


def scenario_status_notes(lab):
    """A public partner sees presence and no note."""
    with Client(ALICE, lab.inside.address) as alice, Client(VERA, lab.public.address) as vera:
        vera.subscribe(ALICE)
        alice.wait_presence(VERA, "subscribe")
        alice.authorise(VERA)
        vera.wait_presence(ALICE)
        mark = vera.mark()
        alice.presence(status="in a secret meeting", inside="<show>dnd</show>")
        seen = vera.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.find("show") is not None, since=mark)
        assert seen.find("status") is None, seen


def scenario_names_that_are_too_long_for_a_file(lab):
    """They are refused as users who have not listed the contact, and nothing of it is an error."""
    mark = lab.edge.mark()
    with Client(EVE, lab.partner.address) as eve, Client(VERA, lab.public.address) as vera:
        for name in ("a" * 300, "é" * 200):
            assert eve.wait_error(eve.send_message(f"{name}@contoso.test", "hello"))[0] == "service-unavailable"
            vera.subscribe(f"{name}@contoso.test")
        vera.wait_error(vera.send_message("nobody@contoso.test", "behind them"))
    log = lab.edge.log_since(mark)
    assert "too long" not in log.lower() and "Traceback" not in log and "cannot be read" not in log, log


def scenario_unreadable_relation_is_a_refusal(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.subscribe(BOB)
        bob.wait_presence(ALICE, "subscribe")
        bob.send_message(ALICE, "a contact again")
        alice.wait_message("a contact again")
    path = lab.edge._store_path(ALICE, "s2s_partners_contacts")
    lab.edge.stop()
    path.write_text("this is no Lua {{{")
    lab.edge.start()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        _refused(bob, ALICE, alice)
    # A restart, as what could not be read is read again some seconds later.
    lab.edge.stop()
    path.unlink()
    lab.edge.start()


def scenario_requests_make_no_files(lab):
    """A partner's requests, to users who are there and who are not, leave nothing at the edge."""
    before = set(lab.edge._store_path(ALICE, "s2s_partners_contacts").parent.glob("*"))
    with Client(VERA, lab.public.address) as vera, Client(CAROL, lab.inside.address) as carol:
        for i in range(50):
            vera.subscribe(f"nobody-{i}@contoso.test")
        vera.subscribe(CAROL)
        carol.wait_presence(VERA, "subscribe")
    after = set(lab.edge._store_path(ALICE, "s2s_partners_contacts").parent.glob("*"))
    assert after == before, after - before


def scenario_rooms_of_an_unverified_partner(lab):
    """Whom a user inside has sent presence to may answer (P17), for as long as the presence is there: nothing else of a room gets through."""
    room = "hall@rooms.fabrikam.test"

    def words(text):
        return lambda stanza: stanza.name == "message" and stanza.find("body") is not None and stanza.find("body").text == text

    def refused(text):
        mark = alice.mark()
        bob.send_raw(f"<message to='{room}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='{ALICE}'/></x></message>")
        alice.assert_nothing(lambda stanza: stanza.name == "message", 0.7, mark)
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_raw(f"<presence to='{room}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        bob.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.get("from") == f"{room}/bob")
        bob.iq(room, "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>", type_="set")
        refused("before")
        alice.send_raw(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        alice.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.get("from") == f"{room}/alice")
        bob.send_raw(f"<message to='{room}' type='groupchat'><body>to all</body></message>")
        alice.wait_stanza(words("to all"))
        alice.send_raw(f"<presence to='{room}/alice' type='unavailable'/>")
        bob.wait_stanza(lambda stanza: stanza.name == "presence" and stanza.get("from") == f"{room}/alice" and stanza.get("type") == "unavailable")
        refused("afterwards")
