"""A relay host in front of an unmodified server: messages, presence, rooms both ways; what a stranger, a user inside and a partner are refused."""

from lab.client import Client
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, CAROL, ROOMS, Boundary
from ._edge import configuration, any_method

PARTNERS = configuration(
    any_method("fabrikam.test", presence_authorization="user"),
    any_method("trunk.test", "*.trunk.test", presence_authorization="user"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test", "evil.test", "x.trunk.test"])
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()
    lab.evil = Prosody(lab, "evil", ["evil.test"], users=["eve@evil.test"], preset="any").start()


def scenario_messages_both_ways(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, "to alice")
        alice.wait_message("to alice")
        alice.send_message(BOB, "to bob")
        bob.wait_message("to bob")
