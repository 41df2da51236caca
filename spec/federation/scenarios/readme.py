"""The configuration that stands in the README, run: the partners get through, each by its method, and nobody else."""

import pathlib
import re

from lab.client import Client
from lab.prosody import Prosody

from scenarios._edge import ALICE, edge_server, established, refusal_logged

README = pathlib.Path(__file__).resolve().parents[3] / "README.md"


def sample():
    """Without its host, which the lab adds with a certificate; and in the domains of the lab."""
    text = re.search(r"^```lua\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)[1]
    text, hosts = re.subn(r'(?m)^VirtualHost "contoso\.com"\n', "", text)
    assert hosts == 1, text
    return text.replace(".com", ".test")


def setup(lab):
    # What the sample leaves out is as absent, not as the lab likes it.
    lab.edge = edge_server(lab, sample(), options="s2s_require_encryption = true\ns2s_secure_auth = false\n").start()


def both_ways(lab, domain, preset, method, unverified=False):
    other = f"bob@{domain}"
    server = Prosody(lab, domain.replace(".", "_"), [domain], users=[other], preset=preset).start()
    mark = lab.edge.mark()
    with Client(ALICE, lab.edge.address) as alice, Client(other, server.address) as bob:
        if unverified:
            assert alice.wait_error(alice.send_message(other))[0] == "subscription-required"
            alice.subscribe(other)
            bob.wait_presence(ALICE, "subscribe")
        for sender, receiver in ((alice, bob), (bob, alice)):
            sender.send_message(receiver.jid, f"from {sender.jid}")
            receiver.wait_message(f"from {sender.jid}")
    for direction in ("to", "from"):
        assert established(lab.edge, direction, domain, mark)[1] == method


def scenario_sasl_external(lab):
    both_ways(lab, "fabrikam.test", "external", "SASL EXTERNAL")


def scenario_wildcard(lab):
    both_ways(lab, "sales.eu.fabrikam.test", "external", "SASL EXTERNAL")


def scenario_dialback(lab):
    both_ways(lab, "litware.test", "tls-dialback", "TLS dialback", unverified=True)


def scenario_anybody_else(lab):
    stranger = Prosody(lab, "stranger", ["evil.test"], users=["eve@evil.test"], preset="any").start()
    mark = lab.edge.mark()
    with Client(ALICE, lab.edge.address) as alice, Client("eve@evil.test", stranger.address) as eve:
        alice.wait_error(alice.send_message("eve@evil.test"), 20)
        eve.wait_error(eve.send_message(ALICE), 20)
    refusal_logged(lab.edge, "from", "evil.test", "unlisted-domain", mark)
