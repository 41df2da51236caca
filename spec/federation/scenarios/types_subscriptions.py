"""Automatic presence authorisation: what the contact gets, and that it never overrides the user."""

from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST
from scenarios._types import DORA, FED, MANUAL, VER, bob, start

USERS = [f"{name}@{HOST}" for name in ("carol", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "offline")]
CAROL, ERIN, FRANK, GRACE, HEIDI, IVAN, JUDY, KIM, OFFLINE = USERS
CONTACTS = [f"{name}@{domain}" for domain in (FED, VER, MANUAL) for name in ("bob", "eve")]


def setup(lab):
    return start(lab, users=USERS, partner_users=CONTACTS)


def teardown(fixture):
    fixture.close()


def authorised(fixture, contact, user, since):
    other = fixture.client(contact)
    other.wait_presence(user, "subscribed", since=since)


def not_authorised(fixture, contact, user, since, seconds=1):
    fixture.client(contact).assert_nothing(
        lambda stanza: stanza.name == "presence" and (stanza.get("from") or "").startswith(user) and
        stanza.get("type") in (None, "subscribed"), seconds, since)


def again(fixture, contact, user):
    """The contact's server asks only where it thinks that there is nothing yet."""
    other = fixture.client(contact)
    other.roster_set(user, remove=True)
    mark = other.mark()
    other.subscribe(user)
    return mark


def scenario_authorised(fixture):
    for domain, user in ((FED, CAROL), (VER, ERIN)):
        other, local = fixture.client(bob(domain)), fixture.client(user)
        local.presence(status="about me")
        seen, mark = local.mark(), other.mark()
        other.subscribe(user)
        authorised(fixture, bob(domain), user, mark)
        presence = other.wait_presence(user, None, since=mark)
        assert (presence.find("status") is not None) == (domain == FED), presence
        push = local.wait_stanza(lambda stanza: stanza.name == "iq" and stanza.find("query", "jabber:iq:roster") is not None and
                                 stanza.get("type") == "set", since=seen)
        item = push.find("query").find("item")
        assert (item.get("jid"), item.get("subscription")) == (bob(domain), "from")
        assert local.roster()[bob(domain)]["subscription"] == "from"
        assert not any(stanza.get("type") == "subscribe" for stanza in local.stanzas[seen:]), "the user is not asked"
        mark = other.mark()
        local.presence(inside="<show>away</show>")
        assert other.wait_presence(user, None, since=mark).find("show").text == "away"


def scenario_offline_user(fixture):
    other = fixture.client(bob(FED))
    mark = other.mark()
    other.subscribe(OFFLINE)
    authorised(fixture, bob(FED), OFFLINE, mark)
    other.wait_presence(OFFLINE, "unavailable", since=mark)
    wait_until(lambda: '"from"' in fixture.edge.roster(OFFLINE), 20, "the item")


def scenario_left_to_the_user(fixture):
    other, local = fixture.client(bob(MANUAL)), fixture.client(CAROL)
    mark, seen = other.mark(), local.mark()
    other.subscribe(CAROL)
    local.wait_presence(bob(MANUAL), "subscribe", since=seen)
    not_authorised(fixture, bob(MANUAL), CAROL, mark, 0.3)
    local.authorise(bob(MANUAL))
    authorised(fixture, bob(MANUAL), CAROL, mark)


def scenario_nothing_for_those_who_do_not_exist(fixture):
    other = fixture.client(f"eve@{FED}")
    for user in (f"nobody@{HOST}", DORA):
        mark = other.mark()
        other.subscribe(user)
        not_authorised(fixture, f"eve@{FED}", user, mark, 0.5)
    assert fixture.edge.roster(f"nobody@{HOST}") == ""
    assert "eve" not in fixture.edge.roster(DORA)


def block(local, contact, what="block"):
    answer = local.iq(None, f"<{what} xmlns='urn:xmpp:blocking'><item jid='{contact}'/></{what}>", "set")
    assert answer.get("type") == "result", answer


def scenario_blocked(fixture):
    local = fixture.client(FRANK)
    for number, (contact, blocked) in enumerate(((bob(FED), bob(FED)), (bob(VER), VER))):
        other = fixture.client(contact)
        block(local, blocked)
        mark, log = other.mark(), fixture.edge.mark()
        other.subscribe(FRANK)
        not_authorised(fixture, contact, FRANK, mark)
        fixture.edge.wait_log("blocked-by-user", 5, log)
        assert contact not in local.roster()
        block(local, blocked, "unblock")
        mark = again(fixture, contact, FRANK)
        authorised(fixture, contact, FRANK, mark)


def cancelled_then_added(fixture, user, cancel, add):
    contact = bob(FED)
    local, other = fixture.client(user), fixture.client(contact)
    mark = again(fixture, contact, user)
    authorised(fixture, contact, user, mark)
    wait_until(lambda: local.roster().get(contact), 20, "the item")
    cancel(local, contact)
    other.wait_presence(user, "unsubscribed", since=mark)
    log = fixture.edge.mark()
    mark = again(fixture, contact, user)
    fixture.edge.wait_log("cancelled-by-user", 5, log)
    not_authorised(fixture, contact, user, mark)
    add(local, contact)
    local.roster()          # behind it
    mark = again(fixture, contact, user)
    authorised(fixture, contact, user, mark)


def unsubscribed(local, contact):
    local.presence(contact, "unsubscribed")


def scenario_cancelled_then_subscribe(fixture):
    cancelled_then_added(fixture, GRACE, unsubscribed, lambda local, contact: local.subscribe(contact))


def scenario_cancelled_then_subscribed(fixture):
    cancelled_then_added(fixture, HEIDI, unsubscribed, lambda local, contact: local.authorise(contact))


def scenario_removed_then_roster_set(fixture):
    cancelled_then_added(fixture, IVAN, lambda local, contact: local.roster_set(contact, remove=True),
                         lambda local, contact: local.roster_set(contact, name="Bob"))


def scenario_cancelled_without_request(fixture):
    contact = f"eve@{VER}"
    local = fixture.client(KIM)
    local.presence(contact, "unsubscribed")
    log, mark = fixture.edge.mark(), fixture.client(contact).mark()
    local.roster()          # behind it
    fixture.client(contact).subscribe(KIM)
    fixture.edge.wait_log("cancelled-by-user", 5, log)
    not_authorised(fixture, contact, KIM, mark, 0.5)


def scenario_cancelled_over_a_restart(fixture):
    contact = bob(VER)
    local, other = fixture.client(JUDY), fixture.client(contact)
    mark = other.mark()
    other.subscribe(JUDY)
    authorised(fixture, contact, JUDY, mark)
    local.presence(contact, "unsubscribed")
    other.wait_presence(JUDY, "unsubscribed", since=mark)
    for jid in [jid for jid in fixture.clients if jid.endswith(f"@{HOST}")]:
        fixture.leave(jid)
    fixture.edge.restart()
    log = fixture.edge.mark()
    mark = again(fixture, contact, JUDY)
    fixture.edge.wait_log("cancelled-by-user", 20, log)
    not_authorised(fixture, contact, JUDY, mark, 0.5)
    fixture.client(JUDY).subscribe(contact)
    # The item is there already: her request is through when something she sends after it has been answered.
    assert fixture.client(JUDY).roster()[contact]["ask"] == "subscribe"
    mark = again(fixture, contact, JUDY)
    authorised(fixture, contact, JUDY, mark)
    assert fixture.client(ALICE).roster() == {}
