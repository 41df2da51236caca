"""A user with mcabber (libloudmouth, GnuTLS; none of it shared with the lab's own client): messages both ways, contacts added, and
what is read on the screen when something may not go out."""

from dataclasses import dataclass

from lab.client import Client
from lab.mcabber import Mcabber
from lab.prosody import Prosody
from lab.waiting import wait_until

from scenarios._edge import ALICE, any_method, configuration, edge_server

FEDERATED, UNVERIFIED = "federated.test", "unverified.test"


@dataclass
class Desk:
    partner: object
    alice: Mcabber


def setup(lab):
    partners = [any_method(FEDERATED), any_method(UNVERIFIED, partner_type="public_unverified")]
    edge = edge_server(lab, configuration(*partners)).start()
    users = [f"{name}@{domain}" for domain in (FEDERATED, UNVERIFIED) for name in ("bob", "eve")]
    partner = Prosody(lab, "partner", [FEDERATED, UNVERIFIED], users=users, preset="any").start()
    return Desk(partner, Mcabber(lab, ALICE, edge.address))


def talk(desk, bob, greeting):
    """A message each way."""
    desk.alice.command(f"/say_to {bob.jid} {greeting}, Bob")
    bob.wait_message(f"{greeting}, Bob")
    bob.send_message(ALICE, f"{greeting}, Alice")
    wait_until(lambda: f"{greeting}, Alice" in desk.alice.received(bob.jid), 15, f"the answer of {bob.jid}")


def add(desk, bob):
    """The contact is asked for a subscription, grants it, and is seen."""
    mark = bob.mark()
    desk.alice.command(f"/add {bob.jid}")
    bob.wait_presence(ALICE, "subscribe", 15, mark)
    bob.authorise(ALICE)
    desk.alice.wait_log(f"<{bob.jid}> has allowed you to receive their presence updates")


def refused(desk, to, text):
    mark = len(desk.alice.log)
    desk.alice.command(f"/say_to {to} Hello?")
    desk.alice.wait_log(f"Error message from server: {text}", mark)


def scenario_federated(desk):
    with Client(f"bob@{FEDERATED}", desk.partner.address) as bob:
        talk(desk, bob, "Good morning")
        add(desk, bob)
        talk(desk, bob, "Good afternoon")


def scenario_public_unverified(desk):
    with Client(f"bob@{UNVERIFIED}", desk.partner.address) as bob, Client(f"eve@{UNVERIFIED}", desk.partner.address) as eve:
        refused(desk, bob.jid, "Add this contact to your contact list first")
        add(desk, bob)
        talk(desk, bob, "Good evening")
        # Whom she has not added is still not heard.
        eve_said = eve.send_message(ALICE, "Hello from nobody you know")
        assert eve.wait_error(eve_said)[0] == "service-unavailable"
        assert not desk.alice.received(eve.jid)


def scenario_unlisted(desk):
    refused(desk, "bob@elsewhere.test", "This server does not exchange messages with that domain")
