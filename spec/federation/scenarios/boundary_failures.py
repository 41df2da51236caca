"""What becomes of stanzas when the inside is gone, when the configuration changes, and when there is no guard."""

import signal
import socket
import time

from lab.client import Client
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import ALICE, BOB, HOST, ROOMS, Boundary
from ._edge import PING, any_method, configuration

PAUSE = 1.1     # seconds: after a failure the edge tries nothing for one

PARTNERS = configuration(any_method("fabrikam.test", presence_authorization="user"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS)
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


def _both_ways(lab, words):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.send_message(ALICE, f"{words}, in")
        alice.wait_message(f"{words}, in")
        alice.send_message(BOB, f"{words}, out")
        bob.wait_message(f"{words}, out")


def scenario_inside_gone_and_back(lab):
    _both_ways(lab, "before")
    lab.inside.stop()
    with Client(BOB, lab.partner.address) as bob:
        id_ = bob.send_message(ALICE, "to nobody at home")
        condition, text, kind = bob.wait_error(id_)
        assert (condition, kind) == ("remote-server-timeout", "wait"), (condition, text, kind)
        assert text == "This domain cannot be reached at the moment", text
        mark = bob.mark()
        bob.presence(ALICE)
        bob.send_raw(f"<message to='{ALICE}' type='error' id='e1'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
        bob.assert_nothing(lambda stanza: stanza.get("type") == "error", 1, mark)
    lab.inside.start()
    time.sleep(PAUSE)
    _both_ways(lab, "after")


def scenario_no_attempt_for_each_stanza(lab):
    """While nobody answers inside, what many partners' users send is refused without a look-up, a connection or a line for each."""
    lab.inside.stop()
    try:
        with Client(BOB, lab.partner.address) as bob:
            bob.wait_error(bob.send_message(ALICE, "nobody at home"))
            mark = lab.edge.mark()
            start = time.monotonic()
            for i in range(50):
                bob.wait_error(bob.send_message(ALICE, f"still nobody {i}"))
            took = time.monotonic() - start
        log = lab.edge.log_since(mark)
        assert log.count("cannot be reached for") <= 1 + took / 10, log
        assert log.count(f"Next target to try is {lab.boundary.inside_address}:5269") <= 2 + took, log
    finally:
        lab.inside.start()
        time.sleep(PAUSE)
    _both_ways(lab, "after")


def scenario_inside_silent(lab):
    """It accepts connections and says nothing: what waits is bounded in number and time."""
    lab.inside.stop()

    listening = socket.create_server((lab.boundary.inside_address, 5269))
    try:
        with Client(BOB, lab.partner.address) as bob:
            ids = [bob.send_message(ALICE, f"number {i}") for i in range(120)]
            errors = {}
            wait_until(lambda: sum(1 for stanza in bob.stanzas if stanza.get("type") == "error") == 120, 40, "all of them back")
            for stanza in bob.stanzas:
                if stanza.get("type") == "error":
                    errors[stanza.condition] = errors.get(stanza.condition, 0) + 1
            assert errors == {"resource-constraint": 20, "remote-server-timeout": 100}, errors
            assert len(ids) == 120
    finally:
        listening.close()
        lab.inside.start()
        time.sleep(PAUSE)
    _both_ways(lab, "after silence")


def scenario_inside_reads_no_more(lab):
    """It hangs, and its machine still answers: what the kernels and 4 MiB here do not take comes back to the sender."""
    _both_ways(lab, "before")
    body = "x" * 100000

    def attempt(send, came):
        """What has come a second after it was sent, if anything."""
        def result():
            send()
            try:
                return came()
            except TimeoutError:
                return None
        return result

    with Client(BOB, lab.partner.address) as bob, Client(ALICE, lab.inside.address) as alice:
        def more():
            """No more than his server keeps up with: what waits before it would have to come through first, later on."""
            for _ in range(20):
                bob.send_message(ALICE, body)
            bob.iq("fabrikam.test", PING, timeout=60)

        lab.inside.process.signal(signal.SIGSTOP)
        try:
            condition, _, kind = wait_until(attempt(more, lambda: bob.wait_error(timeout=1)), 60, "refusal")
            assert (condition, kind) == ("resource-constraint", "wait"), (condition, kind)
        finally:
            lab.inside.process.signal(signal.SIGCONT)
        wait_until(attempt(lambda: bob.send_message(ALICE, "after"), lambda: alice.wait_message("after", timeout=1)), 60, "message")
        alice.send_message(BOB, "after, out")
        bob.wait_message("after, out")


def scenario_edge_restarted(lab):
    _both_ways(lab, "before")
    lab.edge.restart()
    _both_ways(lab, "after a restart of the edge")


def scenario_list_with_errors(lab):
    """A bad list changes nothing, an empty one closes the border."""
    good = lab.edge.partners
    lab.edge.partners = good.replace("partner_type", "partner_tipe")
    lab.edge.reload()
    _both_ways(lab, "with the list before")
    lab.edge.partners = good.replace("fabrikam.test", "northwind.test")
    lab.edge.reload()
    with Client(ALICE, lab.inside.address) as alice:
        id_ = alice.send_message(BOB, "to nobody")
        assert alice.wait_error(id_)[0] == "not-allowed"
    lab.edge.partners = good
    lab.edge.reload()
    _both_ways(lab, "listed again")


def scenario_settings_of_the_inside_change(lab):
    """Inner streams are judged again."""
    _both_ways(lab, "before")
    text = lab.edge.hosts[HOST]
    mark = lab.edge.mark()
    wrong = f'trust_anchors = "{lab.certificates.trust}"; pinned_keys = {{ "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }}'
    lab.edge.hosts[HOST] = text.replace("dialback = true", f"dialback = true; {wrong}")
    lab.edge.reload()
    lab.edge.wait_log(r"Refused inner stream (to|from) contoso.test .*policy-changed", 5, mark)
    with Client(BOB, lab.partner.address) as bob:
        assert bob.wait_error(bob.send_message(ALICE, "to the wrong key"))[0] == "remote-server-timeout"
    lab.edge.hosts[HOST] = text
    lab.edge.reload()
    _both_ways(lab, "after")


def scenario_server_inside_moves(lab):
    """The settings name another server: nothing goes to the one before any more, and nothing of it is taken."""
    _both_ways(lab, "before")
    boundary, old, text, rooms = lab.boundary, lab.inside, lab.edge.hosts[HOST], lab.edge.components[ROOMS]
    before, boundary.inside_address = boundary.inside_address, lab.address()
    moved = boundary.prosody(name="moved").start()
    mark = lab.edge.mark()
    lab.edge.hosts[HOST] = text.replace(before, boundary.inside_address)
    lab.edge.components[ROOMS] = (rooms[0], rooms[1].replace(before, boundary.inside_address))
    lab.edge.reload()
    try:
        for direction in ("to", "from"):
            lab.edge.wait_log(rf"Refused inner stream {direction} contoso.test .*policy-changed: the relay host has another server now", 5, mark)
        with Client(ALICE, old.address) as left, Client(ALICE, moved.address) as alice, Client(BOB, lab.partner.address) as bob:
            bob.send_message(ALICE, "to the new one")
            alice.wait_message("to the new one")
            alice.send_message(BOB, "from the new one")
            bob.wait_message("from the new one")
            left.send_message(BOB, "from the old one")
            bob.assert_nothing(lambda stanza: stanza.name == "message" and stanza.find("body") and stanza.find("body").text == "from the old one", 2)
            left.assert_nothing(lambda stanza: stanza.name == "message" and stanza.get("type") != "error", 0.2)
    finally:
        moved.stop()
        boundary.inside, boundary.inside_address = old, before
        lab.edge.hosts[HOST], lab.edge.components[ROOMS] = text, rooms
        lab.edge.reload()
    _both_ways(lab, "after")


def scenario_module_reloaded(lab):
    _both_ways(lab, "before")
    lab.edge.shell('module:reload("s2s_partners")')
    _both_ways(lab, "after a reload of the module")


def scenario_no_guard(lab):
    """Nothing passes either way while the module is unloaded, not over streams that were there and not over new ones."""
    _both_ways(lab, "before")
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        mark = lab.inside.mark()
        lab.edge.shell('module:unload("s2s_partners", "*")')
        # What is written into a stream that ends is lost, as between any two servers.
        lab.inside.wait_log(r"Outgoing s2s stream contoso\.test->fabrikam\.test closed: system-shutdown", mark=mark)
        out = alice.send_message(BOB, "out without a guard")
        bob.send_message(ALICE, "in without a guard")
        time.sleep(1)
        alice.assert_nothing(lambda stanza: stanza.name == "message" and stanza.get("type") != "error", 0.5)
        bob.assert_nothing(lambda stanza: stanza.name == "message" and stanza.get("type") != "error", 0.5)
        alice.wait_error(out, 30)
    lab.edge.shell('module:load("s2s_partners", "*")')
    _both_ways(lab, "guarded again")


def scenario_no_policy(lab):
    """The server starts with a list that has errors: it comes up, and nothing passes."""
    good = lab.edge.partners
    lab.edge.partners = good.replace("partner_type", "partner_tipe")
    lab.edge.stop()
    lab.edge.start()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.wait_error(bob.send_message(ALICE, "in without a policy"), 30)
        alice.wait_error(alice.send_message(BOB, "out without a policy"), 30)
        alice.assert_nothing(lambda stanza: stanza.name == "message" and stanza.get("type") != "error", 0.5)
    lab.edge.partners = good
    lab.edge.reload()
    _both_ways(lab, "with a policy")


def scenario_no_relay_host_any_more(lab):
    text = lab.edge.hosts[HOST]
    rooms = lab.edge.components.pop("conference.contoso.test")
    lab.edge.hosts[HOST] = 'modules_disabled = { "c2s" }'
    lab.edge.reload()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        bob.wait_error(bob.send_message(ALICE, "in to nobody"))
        alice.wait_error(alice.send_message(BOB, "out of nowhere"), 30)
    lab.edge.hosts[HOST], lab.edge.components["conference.contoso.test"] = text, rooms
    lab.edge.reload()
    _both_ways(lab, "a relay host again")


def scenario_observe_mode(lab):
    """While nothing is enforced a relay host passes nothing: it would be an open relay."""
    _both_ways(lab, "before")
    lab.edge.options += 's2s_partners_mode = "observe"\n'
    lab.edge.reload()
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        mark = bob.mark()
        alice.send_message(BOB, "out, observed")
        assert bob.wait_error(bob.send_message(ALICE, "in, observed"))[0] == "service-unavailable"
        bob.assert_nothing(lambda stanza: stanza.name == "message" and stanza.get("type") != "error", 1, mark)
        alice.assert_nothing(lambda stanza: stanza.name == "message" and stanza.get("type") != "error", 0.2)
    lab.edge.options = lab.edge.options.replace('s2s_partners_mode = "observe"\n', "")
    lab.edge.reload()
    _both_ways(lab, "enforced again")
