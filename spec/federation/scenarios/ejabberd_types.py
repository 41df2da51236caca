"""Partner types where the edge is an ejabberd, as far as there is no such thing on Prosody: users over BOSH, external components, a database for
cancellations."""

import base64
import hashlib
import re
import socket
import urllib.request
from dataclasses import dataclass, field

from lab.client import Client
from lab.edge_ejabberd import EdgeEjabberd
from lab.ejabberd import HTTP_PORT
from lab.lab import Skipped
from lab.prosody import PASSWORD, Prosody
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST
from scenarios._types import FED, PARTNERS, UNV, bob

CAROL, DAVE, ERIN = (f"{name}@{HOST}" for name in ("carol", "dave", "erin"))
COMPONENT, SECRET, COMPONENT_PORT = "echo.component.test", "component secret", 5275
SID = r"""sid=['"]([^'"]+)"""
PING = "<ping xmlns='urn:xmpp:ping'/>"


class Edge(EdgeEjabberd):
    """With a port for components, BOSH, and cancellations in SQL where there is a library for it."""

    sql = None          # the file of an SQLite database

    def config(self):
        found = super().config()
        found["listen"].append({"ip": self.address, "port": COMPONENT_PORT, "module": "ejabberd_service", "access": "all",
                                "hosts": {COMPONENT: {"password": SECRET}}})
        found["modules"]["mod_bosh"] = {}
        found["certfiles"].append(str(self._pem(self.lab.certificates.leaf(COMPONENT))))
        if self.sql:
            found.update(sql_type="sqlite", sql_database=str(self.sql), sql_start_interval="1 seconds", sql_query_timeout="2 seconds")
            found["modules"]["mod_s2s_partners"]["db_type"] = "sql"
        return found

    def handlers(self):
        return {**super().handlers(), "/bosh": "mod_bosh"}


@dataclass
class Servers:
    lab: object
    edge: Edge
    partner: Prosody
    clients: dict = field(default_factory=dict)

    def client(self, jid):
        if jid not in self.clients:
            self.clients[jid] = Client(jid, (self.edge if jid.endswith(f"@{HOST}") else self.partner).address)
        return self.clients[jid]


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("an edge that is no ejabberd")
    edge = Edge(lab, "edge", [HOST], users=[ALICE, CAROL, DAVE, ERIN], partners=PARTNERS)
    lab.dns.server(COMPONENT, edge.address)
    edge.start()
    users = [f"{name}@{domain}" for domain in (FED, UNV) for name in ("bob", "eve")]
    partner = Prosody(lab, "partner", [FED, UNV], users=users, preset="any").start()
    return Servers(lab, edge, partner)


def teardown(servers):
    for client in servers.clients.values():
        client.close()


class Component:
    """XEP-0114, no more than is needed."""

    def __init__(self, edge):
        self.socket = socket.create_connection((edge.address, COMPONENT_PORT), 10)
        self.socket.settimeout(10)
        self.said = ""
        self.send(f"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='{COMPONENT}'>")
        stream = re.search(r"""id=['"]([^'"]+)['"]""", self.wait(r"<stream:stream[^>]+>"))[1]
        self.send(f"<handshake>{hashlib.sha1((stream + SECRET).encode()).hexdigest()}</handshake>")
        self.wait(r"<handshake */>")

    def send(self, text):
        self.socket.sendall(text.encode())

    def wait(self, pattern):
        """What fits the pattern, and is not looked at again."""
        while True:
            found = re.search(pattern, self.said, re.DOTALL)
            if found:
                self.said = self.said[found.end():]
                return found[0]
            more = self.socket.recv(65536)
            assert more, self.said
            self.said += more.decode()

    def close(self):
        self.socket.close()


def scenario_external_component(servers):
    """A host without rosters: trusted partners may use it, and it them; everybody may ping it."""
    component = Component(servers.edge)
    try:
        fed, unv = servers.client(bob(FED)), servers.client(bob(UNV))
        component.send(f"<message from='user@{COMPONENT}' to='{bob(FED)}'><body>from the component</body></message>")
        fed.wait_message("from the component")
        component.send(f"<message from='user@{COMPONENT}' to='{bob(UNV)}' id='refused'><body>never</body></message>")
        error = component.wait(r"<message [^>]*id='refused'.*?</message>")
        assert "<not-allowed" in error and "type='error'" in error, error
        fed.send_message(f"user@{COMPONENT}", "to the component")
        component.wait("to the component")
        mark = unv.mark()
        unv.send_raw(f"<message to='user@{COMPONENT}' id='none'><body>not to the component</body></message>")
        stanza = unv.wait_stanza(lambda stanza: stanza.get("id") == "none", since=mark)
        assert stanza.condition == "service-unavailable", stanza
        for client in (fed, unv):
            mark = client.mark()
            client.send_raw(f"<iq to='{COMPONENT}' type='get' id='ping'>{PING}</iq>")
            asked = component.wait(r"<iq [^>]*id='ping'.*?</iq>")
            sender = re.search(r"from='([^']+)'", asked)[1]
            component.send(f"<iq from='{COMPONENT}' to='{sender}' type='result' id='ping'/>")
            assert client.wait_stanza(lambda stanza: stanza.get("id") == "ping", since=mark).get("type") == "result"
        assert "not to the component" not in component.said
    finally:
        component.close()


class Bosh:
    """XEP-0206, no more than is needed: one request after the other."""

    def __init__(self, edge, jid):
        self.url = f"http://{edge.address}:{HTTP_PORT}/bosh"
        self.rid, self.sid, self.said = 1000, "", ""
        user, host = jid.split("@")
        answer = self.send("", f" to='{host}' wait='1' hold='1' ver='1.6' xml:lang='en' xmpp:version='1.0'")
        self.sid = f" sid='{re.search(SID, answer)[1]}'"
        token = base64.b64encode(f"\0{user}\0{PASSWORD}".encode()).decode()
        said = self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{token}</auth>")
        assert "<success" in said, said
        self.send("", f" to='{host}' xmpp:restart='true'")
        said = self.send("<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        while "<jid>" not in said:
            said += self.send("")

    def send(self, text, attributes=""):
        self.rid += 1
        body = (f"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='{self.rid}'{self.sid}{attributes}>"
                f"{text}</body>")
        request = urllib.request.Request(self.url, body.encode(), {"Content-Type": "text/xml"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            said = answer.read().decode()
            self.said += said
            return said

    def wait(self, pattern):
        for _ in range(20):
            found = re.search(pattern, self.said, re.DOTALL)
            if found:
                return found[0]
            self.send("")
        raise AssertionError(self.said)


def scenario_over_bosh(servers):
    """What a client sends that way is judged like all else."""
    bosh = Bosh(servers.edge, CAROL)
    fed = servers.client(bob(FED))
    bosh.send(f"<message xmlns='jabber:client' to='{bob(FED)}' type='chat'><body>over http</body></message>")
    fed.wait_message("over http")
    bosh.send("<message xmlns='jabber:client' to='bob@unlisted.test' type='chat' id='unlisted'><body>never</body></message>")
    assert "<not-allowed" in bosh.wait(r"<message [^>]*id='unlisted'.*?</message>")
    bosh.send(f"<message xmlns='jabber:client' to='{bob(UNV)}' type='chat' id='unknown'><body>never</body></message>")
    assert "<subscription-required" in bosh.wait(r"<message [^>]*id='unknown'.*?</message>")
    mark = servers.edge.mark()
    bosh.send(f"<presence xmlns='jabber:client' to='{bob(UNV)}' id='directed'/>")
    assert "<subscription-required" in bosh.wait(r"<presence [^>]*id='directed'.*?</presence>")
    servers.edge.wait_log("not-listed", 5, mark)


def authorised(servers, contact, user):
    """Asks anew; whether that was granted, by what the edge says."""
    other, mark, log = servers.client(contact), None, servers.edge.mark()
    other.roster_set(user, remove=True)
    mark = other.mark()
    other.subscribe(user)
    wait_until(lambda: re.search("subscription-authorised|cancelled-by-user", servers.edge.log_since(log)), 20, "a decision")
    if "cancelled-by-user" in servers.edge.log_since(log):
        return False
    other.wait_presence(user, "subscribed", since=mark)
    return True


def cancelled_over_a_restart(servers, contact, user):
    assert authorised(servers, contact, user)
    servers.client(user).presence(contact, "unsubscribed")
    servers.client(user).roster()       # behind it
    assert not authorised(servers, contact, user)
    for jid in [jid for jid in servers.clients if jid.endswith(f"@{HOST}")]:
        servers.clients.pop(jid).close()
    servers.edge.restart()
    assert not authorised(servers, contact, user)
    servers.client(user).subscribe(contact)
    servers.client(user).roster()
    assert authorised(servers, contact, user)
    # Removed from the roster.
    servers.client(user).roster_set(contact, remove=True)
    servers.client(user).roster()
    assert not authorised(servers, contact, user)
    servers.client(user).roster_set(contact, name="again")
    servers.client(user).roster()
    assert authorised(servers, contact, user)


def scenario_cancelled_in_mnesia(servers):
    cancelled_over_a_restart(servers, bob(FED), DAVE)


def restart_with_sql(servers, path):
    try:
        servers.edge.evaluate("{module, sqlite3} = code:ensure_loaded(sqlite3)")
    except RuntimeError:
        raise Skipped("no library for SQLite (erlang-p1-sqlite3)") from None
    for jid in [jid for jid in servers.clients if jid.endswith(f"@{HOST}")]:
        servers.clients.pop(jid).close()
    servers.edge.sql = path
    servers.edge.restart()


def scenario_cancelled_in_sql(servers):
    restart_with_sql(servers, servers.edge.directory / "ejabberd.sqlite")
    cancelled_over_a_restart(servers, f"eve@{FED}", ERIN)
    rows = servers.edge.evaluate(f'ejabberd_sql:sql_query(<<"{HOST}">>, "select jid from s2s_partners_cancelled")')
    assert "{selected" in rows and "eve" not in rows, rows


def scenario_a_database_that_comes_later(servers):
    """Nobody is authorised automatically without it; once it is there it is used, without a restart."""
    mark = servers.edge.mark()
    late = servers.edge.directory / "late"
    late.write_text("no folder yet")
    restart_with_sql(servers, late / "ejabberd.sqlite")
    log = servers.edge.wait_log("The table of cancelled contacts of contoso.test cannot be used", 10, mark)
    assert log
    contact, user = f"bob@{FED}", CAROL
    servers.client(user)
    other = servers.client(contact)
    other.roster_set(user, remove=True)
    before = servers.edge.mark()
    other.subscribe(user)
    servers.edge.wait_log("cancellation-unknown|roster-unavailable|subscription", 10, before)
    assert "subscription-authorised" not in servers.edge.log_since(before)
    late.unlink()       # ejabberd makes it
    servers.edge.wait_log("The table of cancelled contacts of contoso.test can be used", 30, mark)
    assert authorised(servers, contact, user)
