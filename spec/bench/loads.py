"""What the servers are made to do.  Each load is made ready for a server, and then run as often as is asked."""

import base64
import queue
import socket

from lab.probe import Probe
from lab.remote import Remote
from lab.xmlstream import SASL, TLS, Closed, Stream, client_context
from lab.prosody import PASSWORD
from servers import CONTACTS
from variants import ALICE, BOB, GUARDED, LOCAL, REMOTE, STRANGER

BODY = "<body>The quick brown fox jumps over the lazy dog</body>"


class Raw:
    """Counts what comes in on a socket by a word that each stanza has once."""

    def __init__(self, sock, word):
        self.socket, self.word, self.left = sock, word.encode(), b""
        sock.settimeout(120)

    def wait(self, count):
        data = self.left
        while (found := data.count(self.word)) < count:
            count -= found
            data = data[-len(self.word) + 1:] if not data.endswith(self.word) else b""
            more = self.socket.recv(1 << 16)
            if not more:
                raise Closed()
            data += more
        self.left = b""


class User(Stream):
    """A client that logs in by hand and then reads as little as it can."""

    def __init__(self, server, jid=ALICE, secure=False):
        super().__init__(socket.create_connection((server.address, 5222), 120), 120)
        name = jid.partition("@")[0]
        self.start()
        if secure:
            self.send(f"<starttls xmlns='{TLS}'/>")
            assert self.read().name == "proceed"
            self.start_tls(client_context(), name=LOCAL)
            self.start()
        secret = base64.b64encode(f"\0{name}\0{PASSWORD}".encode()).decode()
        self.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>")
        assert self.read().name == "success"
        self.start()
        self.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>a</resource></bind></iq>")
        self.read_until(lambda element: element.get("id") == "b")

    def start(self):
        self.open(to=LOCAL, xmlns="jabber:client", dialback=False)
        self.read_header()
        self.read_until("features")

    def available(self):
        self.send("<presence/>")
        self.read_until("presence")


class Peer(Remote):
    """fabrikam.test; a connection that stanzas come over is handed out."""

    def __init__(self, lab, domain=REMOTE, leaf=None, **more):
        self.taken = queue.Queue()
        super().__init__(lab, [domain], leaf=leaf, offer=["dialback"], script=self.serve, timeout=600, **more)

    def serve(self, connection):
        self.greet(connection)
        while True:
            element = connection.read()
            if element.name in ("message", "presence", "iq"):
                connection.hold = queue.Queue()
                self.taken.put(connection)
                connection.hold.get()       # until the end
            self.react(connection, element)


class Load:
    """`ready` is called once; `run(count)` makes the server do `count` of what is measured. `arguments`: of the server."""

    arguments = {}

    @staticmethod
    def peer_of(lab):
        return Peer(lab)

    def __init__(self, lab, peer, server, batch):
        self.lab, self.peer, self.server, self.batch = lab, peer, server, batch
        self.ready()

    def batches(self, count):
        while count > 0:
            yield min(count, self.batch)
            count -= self.batch


class Inbound(Load):
    """a message from a partner to a local client, over one stream"""

    def ready(self):
        # Before the user's presence, which goes out to a connection that answers no more.
        self.stream = Probe(self.server.address, from_=REMOTE, to=LOCAL, timeout=120)
        self.stream.features()
        answer = self.stream.dialback()
        assert answer == "valid", answer
        self.user = User(self.server)
        self.user.available()
        self.raw = Raw(self.user.socket, "</message>")

    def run(self, count):
        message = f"<message from='{BOB}/home' to='{ALICE}/a' type='chat' id='m1'>{BODY}</message>".encode()
        for some in self.batches(count):
            self.stream.socket.sendall(message * some)
            self.raw.wait(some)


class Outbound(Load):
    """a message from a local client to a partner, over one stream"""

    def ready(self):
        self.user = User(self.server)
        self.user.send(self.text())
        self.raw = Raw(self.peer.taken.get(timeout=120).socket, "</message>")

    def text(self):
        return f"<message to='{BOB}/home' type='chat' id='m1'>{BODY}</message>"

    def run(self, count):
        for some in self.batches(count):
            self.user.send((self.text() * some).encode())
            self.user.sent.clear()
            self.raw.wait(some)


class Broadcast(Load):
    """a change of presence, with a note, to 100 contacts at a partner"""

    def ready(self):
        self.user = User(self.server)
        self.user.send("<presence/>")
        # Two to each contact: the presence and the probe; one of them is what the connection was taken at.
        self.raw = Raw(self.peer.taken.get(timeout=120).socket, "<presence ")
        self.run(1)
        self.raw.socket.settimeout(3)
        try:
            while self.raw.socket.recv(1 << 16):
                pass
        except TimeoutError:
            self.raw.socket.settimeout(120)

    def run(self, count):
        for _ in range(count):
            self.user.send("<presence><show>away</show><status>At lunch, back at two</status></presence>")
            self.user.sent.clear()
            self.raw.wait(CONTACTS)


class SetUp(Load):
    """opening a stream: TLS, SASL EXTERNAL, both certificates judged"""

    def ready(self):
        self.leaf = self.lab.certificates.leaf(REMOTE, label="long", to=300)    # of which no expiry has to be told
        self.run(2)

    def run(self, count):
        for _ in range(count):
            with Probe(self.server.address, from_=REMOTE, to=LOCAL, leaf=self.leaf, timeout=120) as stream:
                stream.authenticate()


class Newcomer(SetUp):
    """the same with a certificate that the server has not seen before, so that its chain is verified and looked up"""

    leaves = {}     # by number: every server is shown the same

    def ready(self):
        self.shown = 0
        self.run(2)

    def run(self, count):
        for _ in range(count):
            self.shown += 1
            if (self.lab.directory, self.shown) not in self.leaves:
                self.leaves[self.lab.directory, self.shown] = self.lab.certificates.leaf(REMOTE, label=f"new{self.shown}", to=300)
            self.leaf = self.leaves[self.lab.directory, self.shown]
            super().run(1)


class Stranger(Load):
    """a stream from a domain that is not listed, up to the refusal (or the features, where nothing refuses)"""

    def ready(self):
        self.run(2)

    def run(self, count):
        for _ in range(count):
            with Probe(self.server.address, from_=STRANGER, to=LOCAL, timeout=120) as stream:
                stream.open()
                try:
                    stream.read_until("features")
                except Closed:
                    pass


class DirectStranger(Stranger):
    """the same on a direct TLS port"""

    arguments = {"direct_tls": True}

    def run(self, count):
        for _ in range(count):
            with Probe(self.server.address, 5270, from_=STRANGER, to=LOCAL, timeout=120, direct_tls=True) as stream:
                stream.open()
                try:
                    stream.read_until("features")
                except Closed:
                    pass


class RelayIn(Load):
    """a message from a partner: to a local client, or on to the server inside, over one stream each"""

    secure = False      # TLS on every connection

    @classmethod
    def peer_of(cls, lab):
        """The partner; beside it the server inside, which knows nothing of a relay."""
        leaf = lab.certificates.leaf(LOCAL, label="inside") if cls.secure else None
        lab.inside = Peer(lab, LOCAL, leaf, register=False)
        return Peer(lab, REMOTE, lab.certificates.leaf(REMOTE, label="long", to=300) if cls.secure else None)

    def opened(self, address, from_, to):
        stream = Probe(address, from_=from_, to=to, timeout=120)
        stream.secure() if self.secure else stream.features()
        answer = stream.dialback()
        assert answer == "valid", answer
        return stream

    def ready(self):
        self.stream = self.opened(self.server.address, REMOTE, LOCAL)
        self.message = f"<message from='{BOB}/home' to='{ALICE}/a' type='chat' id='m1'>{BODY}</message>".encode()
        if self.server.variant.startswith("relay"):
            self.stream.send(self.message)
            sink = self.lab.inside.taken.get(timeout=120)
        else:
            sink = User(self.server, secure=self.secure)       # whose presence is not sent: the partner would be handed out for it
        self.raw = Raw(sink.socket, "</message>")

    def run(self, count):
        for some in self.batches(count):
            self.stream.socket.sendall(self.message * some)
            self.raw.wait(some)


class RelayInTls(RelayIn):
    """the same with TLS on every connection, the client's too"""

    secure = True


class RelayOut(RelayIn):
    """a message from the server inside on to a partner; bare Prosody, as before, has one of the partner's for a local client"""

    def ready(self):
        if not self.server.variant.startswith("relay"):
            super().ready()
            return
        self.stream = self.opened(self.server.inner_address, LOCAL, REMOTE)
        self.message = f"<message from='{ALICE}/a' to='{BOB}/home' type='chat' id='m1'>{BODY}</message>".encode()
        self.stream.send(self.message)
        self.raw = Raw(self.peer.taken.get(timeout=120).socket, "</message>")


class RelayOutTls(RelayOut):
    """the same with TLS on every connection"""

    secure = True


# name: (class, variants beside bare, runs under callgrind, runs by CPU time)
LOADS = {
    "inbound": (Inbound, ["timers", "partners-10", "partners-10000", "table-10000", "unverified", "firewall", "strangers", "ejabberd",
                          "ejabberd-access", *GUARDED], 600, 5000),
    "outbound": (Outbound, ["timers", "partners-10", "partners-10000", "unverified", "firewall", "ejabberd", "ejabberd-access", *GUARDED], 600, 5000),
    "broadcast": (Broadcast, ["partners-10", "verified", *GUARDED], 12, 100),
    "setup": (SetUp, ["partners-10", "crl-100000", "partners-10000", *GUARDED], 25, 200),
    "newcomer": (Newcomer, ["partners-10", "crl-100000"], 25, 100),
    "stranger": (Stranger, ["partners-10", "partners-10000", "ejabberd", "ejabberd-access"], 40, 500),
    "relay-in": (RelayIn, ["relay-10"], 600, 5000),
    "relay-out": (RelayOut, ["relay-10"], 600, 5000),
    "relay-in-tls": (RelayInTls, ["relay-10"], 600, 5000),
    "relay-out-tls": (RelayOutTls, ["relay-10"], 600, 5000),
    "stranger-tls": (DirectStranger, ["partners-10"], 20, 200),
}
