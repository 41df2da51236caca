"""Rosters that cannot be read, where the edge is an ejabberd: who depends on them is refused, and nobody else is."""

from lab.client import Client
from lab.lab import Skipped
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, edge_server
from scenarios._types import FED, PARTNERS, UNV, bob

TRACEBACKS = True       # ejabberd's own: its hook that asks the roster dies of a table that is gone


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("an edge that is no ejabberd")
    edge = edge_server(lab, PARTNERS, users=[ALICE]).start()
    partner = Prosody(lab, "partner", [FED, UNV], users=[bob(FED), bob(UNV)], preset="any").start()
    return lab, edge, [Client(ALICE, edge.address), Client(bob(UNV), partner.address), Client(bob(FED), partner.address)]


def teardown(servers):
    for client in servers[-1]:
        client.close()


def scenario_roster_that_cannot_be_read(servers):
    _, edge, (alice, other, trusted) = servers
    mark = edge.mark()
    edge.evaluate("{atomic, ok} = mnesia:delete_table(roster)")
    seen, hers = other.mark(), alice.mark()
    other.send_raw(f"<message to='{ALICE}' id='unreadable'><body>never</body></message>")
    assert other.wait_stanza(lambda stanza: stanza.get("id") == "unreadable", since=seen).condition == "service-unavailable"
    alice.send_raw(f"<message to='bob@{UNV}' id='mine'><body>never</body></message>")
    error = alice.wait_stanza(lambda stanza: stanza.get("id") == "mine", since=hers)
    assert error.condition == "internal-server-error" and error.find("error").get("type") == "wait", error
    edge.wait_log("roster of alice@contoso.test cannot be read", 5, mark)
    edge.wait_log("roster-unavailable", 5, mark)
    trusted.send_message(ALICE, "trusted with its users")
    alice.wait_message("trusted with its users")
