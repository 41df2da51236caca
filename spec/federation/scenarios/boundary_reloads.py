"""module:reload of an edge again and again, with streams of both sides, leaves nothing of the module before behind."""

import itertools

from lab.client import Client
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import ALICE, BOB, Boundary
from ._edge import any_method, configuration
from .reload_leaves_nothing import LEFT, NOTE, number

RELOADS = 6


def setup(lab):
    lab.boundary = Boundary(lab, configuration(any_method("fabrikam.test", presence_authorization="user")))
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


def scenario_nothing_piles_up(lab):
    counter = itertools.count()

    def arrives(sender, receiver, to):
        """Not always: what is written to a stream that is just being closed is lost."""
        text = f"message {next(counter)}"
        sender.send_message(to, text)
        try:
            return receiver.wait_message(text, timeout=2)
        except TimeoutError:
            return None

    def exchange(alice, bob):
        wait_until(lambda: arrives(alice, bob, BOB), 20, "a message out")
        wait_until(lambda: arrives(bob, alice, ALICE), 20, "a message in")

    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        exchange(alice, bob)
        for _ in range(RELOADS):
            lab.edge.shell(NOTE)
            answer = lab.edge.shell('module:reload("s2s_partners")')
            assert "OK" in answer, answer
            exchange(alice, bob)
        left = number(lab.edge.shell(LEFT))
        assert left <= 2, f"{left} of {RELOADS} modules that were reloaded are still there"
