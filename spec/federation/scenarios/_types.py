"""What the scenarios about partner types share: an edge with partners of every type, and their users.

fed.test is federated, ver.test public_verified, unv.test public_unverified; manual.test is federated and leaves subscriptions to
the user, quiet.test federated without group chat, open.test public_unverified with it. All have rooms at rooms.DOMAIN."""

from dataclasses import dataclass, field

from lab.client import Client
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server

ROOMS = "rooms.contoso.test"
FED, VER, UNV = "fed.test", "ver.test", "unv.test"
MANUAL, QUIET, OPEN = "manual.test", "quiet.test", "open.test"
DOMAINS = (FED, VER, UNV, MANUAL, QUIET, OPEN)
DORA = f"dora@{HOST}"       # may not federate
MUC = "http://jabber.org/protocol/muc"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"


def typed(domain, type_, **more):
    return any_method(domain, f"*.{domain}", partner_type=type_, **more)


PARTNERS = configuration(
    typed(FED, "federated"), typed(VER, "public_verified"), typed(UNV, "public_unverified"),
    typed(MANUAL, "federated", presence_authorization="user"), typed(QUIET, "federated", group_chat="refuse"),
    typed(OPEN, "public_unverified", group_chat="allow"),
    s2s_partners_external_access={"users": {"dora": "deny"}})


def bob(domain):
    return f"bob@{domain}"


def note(stanza):
    found = stanza.find("status")
    return found.text if found else None


@dataclass
class Types:
    lab: object
    edge: Prosody
    partner: Prosody = None
    clients: dict = field(default_factory=dict)

    def client(self, jid):
        """The client of that user, logged in at its first use."""
        if jid not in self.clients:
            server = self.edge if jid.endswith(f"@{HOST}") else self.partner
            self.clients[jid] = Client(jid, server.address)
        return self.clients[jid]

    def leave(self, jid):
        self.clients.pop(jid).close()

    def close(self):
        for client in self.clients.values():
            client.close()
        self.clients.clear()


def start(lab, users=(), rosters=None, partner_users=(), partner_rosters=None, modules=(), edge_options="", hosts=None, rooms=(), roles=False):
    if roles and lab.version != "0.12":
        edge_options += 'custom_roles = { { name = "lab:inside"; inherits = { "prosody:registered" }; deny = { "xmpp:federate" } } }\n'
    edge = edge_server(lab, PARTNERS, users=[ALICE, DORA, *users], components={ROOMS: ("muc", "muc_room_locking = false\n")},
                       modules=["s2s_bidi", *modules], options=edge_options, **({"hosts": hosts} if hosts else {}))
    for jid, items in (rosters or {}).items():
        edge.set_roster(jid, items)
    edge.start()
    partner = None
    if partner_users:
        partner = Prosody(lab, "partner", list(DOMAINS), users=partner_users, preset="any",
                          components={f"rooms.{domain}": ("muc", "muc_room_locking = false\n") for domain in rooms})
        for jid, items in (partner_rosters or {}).items():
            partner.set_roster(jid, items)
        partner.start()
    return Types(lab, edge, partner)
