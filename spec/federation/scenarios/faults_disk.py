"""The disk with rosters and block lists is full, read-only or damaged: what cannot be stored or read is not allowed, and works again
when the disk is corrected."""

import time

from lab.client import Client
from lab.disk import Disk
from lab.prosody import Prosody
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, heard

FED, UNV = "fed.test", "unv.test"
USERS = [f"{name}@{HOST}" for name in ("anna", "berta", "carla", "doris", "erna", "frida")]
FRIENDS = [f"{name}@{FED}" for name in ("bob", "ben", "bill", "bert", "bruno", "bernd")]
GRETA = f"greta@{HOST}"
PARTNERS = configuration(any_method(FED), any_method(UNV, partner_type="public_unverified"))


def setup(lab):
    lab.disk = Disk(lab, lab.directory / "edge" / "data")
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE, *USERS], modules=["lab_failing_store"])
    lab.edge.add_user(GRETA)
    for user in (ALICE, GRETA):
        lab.edge.set_roster(user, {f"bob@{UNV}": "both"})
    for user, friend in zip(USERS, FRIENDS):
        lab.edge.set_roster(user, {friend: "from"} if user.startswith(("berta", "carla")) else {f"nobody@{FED}": "none"})
    lab.edge.start()
    lab.partner = Prosody(lab, "partner", [FED, UNV], users=[*FRIENDS, f"bob@{UNV}", f"eve@{UNV}"], preset="any")
    for user, friend in zip(USERS, FRIENDS):
        lab.partner.set_roster(friend, {user: "to" if user.startswith(("berta", "carla")) else "none"})
    lab.partner.start()
    return lab


class Pair:
    """with Pair(lab, number) as (user, contact): two clients, and how they stand."""

    def __init__(self, lab, number):
        self.user, self.contact = Client(USERS[number], lab.edge.address), Client(FRIENDS[number], lab.partner.address)

    def __enter__(self):
        return self.user, self.contact

    def __exit__(self, *_):
        self.user.close()
        self.contact.close()


def ask(lab, contact, user):
    """The contact asks for the user's presence; what it is told, once all has been said: the types of presence."""
    mark, log = contact.mark(), lab.edge.mark()
    contact.subscribe(user.jid)
    lab.edge.wait_log(r"(subscription-authorised|roster-unavailable|cancelled-by-user|inbound presence subscribe)", 10, log)
    contact.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    user.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    contact.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    return [stanza.get("type") for stanza in contact.stanzas[mark:]
            if stanza.name == "presence" and (stanza.get("from") or "").startswith(user.jid)]


def authorised(lab, contact, user):
    assert "subscribed" in ask(lab, contact, user)
    contact.wait_presence(user.jid)     # and sees the user


def refused(lab, contact, user, reason="roster-unavailable"):
    mark = lab.edge.mark()
    said = ask(lab, contact, user)
    assert "subscribed" not in said, said
    assert reason in lab.edge.log_since(mark), reason


def unseen(contact, user):
    """The user's presence does not reach the contact."""
    mark = contact.mark()
    user.presence(status=f"here {mark}")
    user.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    contact.assert_nothing(lambda stanza: stanza.name == "presence" and stanza.get("type") is None and
                           (stanza.get("from") or "").startswith(user.jid), 0.5, mark)


def scenario_full(lab):
    """A subscription that cannot be stored is not authorised; nor is it when asked for again."""
    with Pair(lab, 0) as (user, contact):
        lab.disk.fill()
        try:
            for _ in range(2):
                refused(lab, contact, user)
            unseen(contact, user)
        finally:
            lab.disk.free()
        authorised(lab, contact, user)
    assert contact.jid in lab.edge.roster(user.jid)


def scenario_full_in_the_middle(lab):
    """The request can be stored, the authorisation cannot: core has it in memory by then, and the contact would see presence."""
    with Pair(lab, 3) as (user, contact):
        lab.edge.shell('> prosody.lab_fail_store("roster", 1)')
        try:
            refused(lab, contact, user)
            unseen(contact, user)
        finally:
            lab.edge.shell('> prosody.lab_fail_store("roster")')
        assert user.roster().get(contact.jid, {}).get("subscription") in (None, "none")
        authorised(lab, contact, user)


def scenario_read_only(lab):
    with Pair(lab, 4) as (user, contact):
        lab.disk.read_only()
        try:
            refused(lab, contact, user)
            unseen(contact, user)
        finally:
            lab.disk.read_only(False)
        authorised(lab, contact, user)


def cancels(user, contact):
    """The user ends the contact's subscription; what core could not store it has done in memory."""
    user.presence(contact.jid, "unsubscribed")
    user.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")


def scenario_cancelled_on_a_full_disk(lab):
    """The user's word stands, though it could not be stored; and it is stored as soon as that is possible."""
    with Pair(lab, 1) as (user, contact):
        lab.disk.fill()
        try:
            cancels(user, contact)
            lab.edge.wait_log("Cannot store that berta@contoso.test has cancelled a contact", 5)
            refused(lab, contact, user, "cancelled-by-user")
            assert "OK" in lab.edge.shell('module:reload("s2s_partners")')
            refused(lab, contact, user, "cancelled-by-user")
        finally:
            lab.disk.free()
        refused(lab, contact, user, "cancelled-by-user")
    store = lab.edge._store_path(user.jid, "s2s_partners_cancelled")
    assert contact.jid in store.read_text()


def scenario_added_again_on_a_full_disk(lab):
    """What was cancelled is taken back while nothing can be stored: that counts as well."""
    with Pair(lab, 2) as (user, contact):
        cancels(user, contact)
        refused(lab, contact, user, "cancelled-by-user")
        lab.edge.shell('> prosody.lab_fail_store("s2s_partners_cancelled", 0)')
        try:
            user.roster_set(contact.jid)
            authorised(lab, contact, user)
        finally:
            lab.edge.shell('> prosody.lab_fail_store("s2s_partners_cancelled")')


def scenario_what_was_cancelled_cannot_be_read(lab):
    """Nobody knows whom the user has cancelled: nobody is authorised."""
    with Pair(lab, 5) as (user, contact):
        path = lab.edge._store_path(user.jid, "s2s_partners_cancelled")
        path.parent.mkdir(exist_ok=True)
        path.write_text("return { this is no list\n")
        refused(lab, contact, user)
        path.unlink()
        authorised(lab, contact, user)


def scenario_unverified_partner(lab):
    """Who is in the roster may write, who is not may not; a contact that could not be added is not in it."""
    eve, bob = f"eve@{UNV}", f"bob@{UNV}"
    with Client(ALICE, lab.edge.address) as alice, Client(eve, lab.partner.address) as stranger, \
         Client(bob, lab.partner.address) as friend:
        for name, begin, end in (("full", lab.disk.fill, lab.disk.free),
                                 ("read-only", lab.disk.read_only, lambda: lab.disk.read_only(False))):
            begin()
            try:
                friend.send_message(ALICE, f"still a friend, {name}")
                alice.wait_message(f"still a friend, {name}")
                answer = alice.roster_set(eve)
                assert answer.get("type") == "error", answer
                mark = alice.mark()
                assert stranger.wait_error(stranger.send_message(ALICE))[0] == "service-unavailable"
                assert alice.wait_error(alice.send_message(eve))[0] == "subscription-required"
                assert not [stanza for stanza in heard(alice, mark) if eve in (stanza.get("from") or "") and stanza.get("type") != "error"]
            finally:
                end()
        assert alice.roster_set(eve).get("type") == "result"
        stranger.send_message(ALICE, "now a friend")
        alice.wait_message("now a friend")
        assert alice.roster_set(eve, remove=True).get("type") == "result"
        time.sleep(0.2)
        assert stranger.wait_error(stranger.send_message(ALICE))[0] == "service-unavailable"


def is_unavailable(lab, stranger):
    """Whether a message of his is refused without the roster; if not, there is nobody there to get it."""
    mark = lab.edge.mark()
    stranger.send_message(GRETA)
    stranger.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")      # behind it, over the same stream
    return "roster-unavailable" in lab.edge.log_since(mark)


def scenario_roster_cannot_be_read(lab):
    """Not even who is in it may write. It is read again some seconds after it has been corrected (facts.lib.lua: RETRY_SECONDS)."""
    path = lab.edge._store_path(GRETA, "roster")
    good = path.read_text()
    path.write_text("return { this is no roster\n")
    bob = Client(f"bob@{UNV}", lab.partner.address)
    try:
        for _ in range(2):
            mark = lab.edge.mark()
            assert bob.wait_error(bob.send_message(GRETA))[0] == "service-unavailable"
            lab.edge.wait_log("roster-unavailable", 5, mark)
        path.write_text(good)
        wait_until(lambda: not is_unavailable(lab, bob), 25, "roster that has been read again", interval=1)
        with Client(GRETA, lab.edge.address) as greta:
            bob.send_message(GRETA, "read again")
            greta.wait_message("read again")
    finally:
        bob.close()
