"""How each party gets its input to the server.  ready() is not counted, send() is, end() leaves nothing behind of the sender itself."""

import select
import socket
import threading
import time

from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import Closed
from loads import User
from priced import ANSWERS, FEDERATED, INSIDE, LOCAL, NAMED, ROOMS, STRANGER, UNVERIFIED, VERIFIED, WITHIN


class Sender:
    """scene: server, lab, world; row: see inputs.py"""

    log_counts = False      # whether what is logged of it, and sent on to others, has a bar
    beside = 0              # bytes that ready() has made the server send to others

    def __init__(self, scene, row):
        self.scene, self.row, self.server = scene, row, scene.server
        self.sockets, self._taken = [], 0

    def ready(self, turn):
        pass

    def prepare(self, text):
        """What is not to be counted of an input."""

    def send(self, text, deadline):
        raise NotImplementedError

    def end(self):
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    def idle(self):
        """Reads what has come; whether anything had."""
        busy = self.scene.world.taken != self._taken
        self._taken = self.scene.world.taken
        for sock in self.sockets:
            busy = self._drain(sock) or busy
        return busy

    @staticmethod
    def _drain(sock):
        came = False
        try:
            sock.setblocking(False)
            while sock.recv(1 << 18):
                came = True
        except OSError:     # nothing there, or gone
            pass
        return came

    def pump(self, sock, data, deadline):
        """Sends it all, reading meanwhile, so that nobody waits for anybody; less when the server has closed."""
        view = memoryview(data if isinstance(data, bytes) else data.encode())
        sock.setblocking(False)
        while view:
            if time.monotonic() > deadline:
                raise TimeoutError
            readable, writable, _ = select.select([sock], [sock], [], 0.1)
            try:
                if readable and not sock.recv(1 << 18):
                    return
                if writable:
                    view = view[sock.send(view[:1 << 16]):]
            except BlockingIOError:
                pass
            except OSError:
                return


def header_text(header, from_, to):
    if header.get("none"):
        return ""
    return ("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
            f"xmlns:db='jabber:server:dialback' from='{header.get('from', from_)}' to='{header.get('to', to)}' "
            f"id='{header.get('id', '')}' version='{header.get('version', '1.0')}' xml:lang='{header.get('lang', 'en')}'{header.get('raw', '')}>")


class Stranger(Sender):
    """A connection of its own for each input, which is counted as a part of it."""

    log_counts = True
    from_, port = STRANGER, 5269

    def send(self, text, deadline):
        sock = socket.create_connection((self.server.address, self.port), 30)
        self.sockets.append(sock)
        self.pump(sock, header_text(text.header or {}, self.from_, LOCAL) + text.text, deadline)


class Pretender(Stranger):
    """The same in the name of a partner."""

    from_ = FEDERATED


class PretenderBesideStream(Pretender):
    """While there is a stream of ours to that partner."""

    def ready(self, turn):
        self.user = User(self.server, f"{self.row.user}@{LOCAL}")
        before = self.scene.world.taken
        self.user.send(f"<message to='someone@{FEDERATED}'><body>hello</body></message>")
        wait_until(lambda: self.scene.world.taken > before, 60, "stream to the partner")
        self.sockets.append(self.user.socket)
        self.server.settle(time.monotonic() + 60, self.idle)
        self.beside = self.scene.world.taken - before


class AtDirectTls(Stranger):
    port = 5270


class Certified(Stranger):
    """Shows a certificate that is not the partner's."""

    from_ = FEDERATED

    def prepare(self, text):
        changes = dict(text.leaf)
        self.leaf = self.scene.lab.certificates.leaf(self.from_, label=changes.pop("label"), **changes)

    def send(self, text, deadline):
        try:
            with Probe(self.server.address, from_=self.from_, to=LOCAL, leaf=self.leaf, timeout=max(1, deadline - time.monotonic())) as probe:
                probe.secure()
                probe.external()
        except (Closed, AssertionError):
            pass


class Partner(Sender):
    """An established stream; `domain` of the row, to the host of the row."""

    domain, host = FEDERATED, LOCAL
    online = True       # whether the row's user is

    def ready(self, turn):
        if self.online and self.row.user:
            user = User(self.server, f"{self.row.user}@{LOCAL}")
            user.send("<presence/>")
            self.sockets.append(user.socket)
        probe = Probe(self.server.address, from_=self.domain, to=self.host, timeout=60)
        probe.features()
        answer = probe.dialback()
        assert answer == "valid", answer
        self.stream = probe.socket
        self.sockets.append(self.stream)

    def send(self, text, deadline):
        self.pump(self.stream, text.text, deadline)


class Trusted(Partner):
    """public_verified"""

    domain = VERIFIED


class Guest(Partner):
    """One of the occupants, all of a public_verified partner, of a room of ours."""

    domain, host = VERIFIED, ROOMS
    occupants, online = 4, False

    def ready(self, turn):
        super().ready(turn)
        joins = "".join(f"<presence from='guest{n}@{VERIFIED}/a' to='hall@{ROOMS}/guest{n}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
                        for n in range(self.occupants))
        before = self.scene.world.taken
        self.stream.sendall(joins.encode())
        wait_until(lambda: self.scene.world.taken > before, 60, "presence of the room")

    def end(self):
        leaves = "".join(f"<presence from='guest{n}@{VERIFIED}/a' to='hall@{ROOMS}/guest{n}' type='unavailable'/>" for n in range(self.occupants))
        try:
            self.pump(self.stream, leaves, time.monotonic() + 30)
            self.server.settle(time.monotonic() + 30, self.idle)
        finally:
            super().end()


BEGINNING = "x" * 2000     # of the stanza that opens a stream: more than all else on its way


class UserInside(User):

    def start(self):
        self.open(to=INSIDE, xmlns="jabber:client", dialback=False)
        self.read_header()
        self.read_until("features")


class ToInside(Partner):
    """A partner's established stream to the relay host, whose server has a stream; on the bare server to a user of that host."""

    host, online = INSIDE, False
    begin = f"<message from='bob@{{domain}}/b' to='alice@{INSIDE}'><body>{BEGINNING}</body></message>"
    reaches = True      # whether that is let in

    def ready(self, turn):
        super().ready(turn)
        if not self.server.guarded:
            user = UserInside(self.server, f"alice@{INSIDE}")
            user.send("<presence/>")
            self.sockets.append(user.socket)
        elif self.reaches:
            before = self.scene.world.taken
            self.stream.sendall(self.begin.format(domain=self.domain).encode())
            wait_until(lambda: self.scene.world.taken > before + len(BEGINNING), 60, "stream to the inside")
        self.server.settle(time.monotonic() + 60, self.idle)


class UnverifiedToInside(ToInside):
    """public_unverified. What is kept of users is there before: its number has a bound, and the row is not to show how it is reached."""

    domain, reaches = UNVERIFIED, False

    def ready(self, turn):
        super().ready(turn)
        if turn == 1:
            text = self.row.shape(self.row.full(self.server.version), 0).text
            self.pump(self.stream, text, time.monotonic() + 60)
            self.server.settle(time.monotonic() + 60, self.idle)


class Inner(Sender):
    """The server inside, or who passes for it, at the inner port; for the bare server a partner at its ordinary one, with the names swapped."""

    domain = FEDERATED

    def place(self):
        return self.server.inner_address if self.server.guarded else self.server.address

    def names(self):
        return (INSIDE, self.domain) if self.server.guarded else (self.domain, INSIDE)

    def swapped(self, text):
        if self.server.guarded:
            return text
        return text.replace(INSIDE, "\0").replace(self.domain, INSIDE).replace("\0", self.domain)


class InnerStranger(Inner):
    """A connection of its own for each input."""

    log_counts = True

    def send(self, text, deadline):
        sock = socket.create_connection((self.place(), 5269), 30)
        self.sockets.append(sock)
        header = {name: self.swapped(value) for name, value in (text.header or {}).items() if name != "none"}
        begin = "" if (text.header or {}).get("none") else header_text(header, *self.names())
        self.pump(sock, begin + self.swapped(text.text), deadline)


class InnerServer(Inner):
    """An authenticated stream, and one that leads on."""

    def ready(self, turn):
        from_, to = self.names()
        if not self.server.guarded:
            user = UserInside(self.server, f"alice@{INSIDE}")
            user.send("<presence/>")
            self.sockets.append(user.socket)
        probe = Probe(self.place(), from_=from_, to=to, timeout=60)
        probe.features()
        answer = probe.dialback()
        assert answer == "valid", answer
        self.stream = probe.socket
        self.sockets.append(self.stream)
        if self.server.guarded:
            before = self.scene.world.taken
            # Always possible, whatever the partner's type.
            self.stream.sendall(f"<presence from='alice@{INSIDE}' to='first@{self.domain}' type='subscribe'><status>{BEGINNING}</status></presence>".encode())
            wait_until(lambda: self.scene.world.taken > before + len(BEGINNING), 60, "stream to the partner")
        self.server.settle(time.monotonic() + 60, self.idle)

    def send(self, text, deadline):
        self.pump(self.stream, self.swapped(text.text), deadline)


class InnerServerUnverified(InnerServer):
    """A user has nearly as many contacts as are kept."""

    domain, contacts = UNVERIFIED, 900

    def ready(self, turn):
        super().ready(turn)
        if turn == 1 and self.server.guarded:
            text = "".join(f"<presence from='alice@{INSIDE}' to='p{n}@{UNVERIFIED}' type='subscribe'/>" for n in range(self.contacts))
            self.pump(self.stream, text, time.monotonic() + 60)
            self.server.settle(time.monotonic() + 60, self.idle)


class LocalUser(Sender):
    """A client of ours; the row says who."""

    def ready(self, turn):
        self.user = User(self.server, f"{self.row.user}@{LOCAL}")
        self.user.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
        self.user.read_until(lambda element: element.get("id") == "r")
        self.sockets.append(self.user.socket)

    def send(self, text, deadline):
        self.pump(self.user.socket, text.text, deadline)


class Answerer(Sender):
    """The peer that answers our connection, up to the row's stage, where the input is sent: "header", "features" (their header has been sent),
    "tcp" (and STARTTLS has been offered), "key" (ours is there), "live" (it was good)."""

    stage = "features"

    def ready(self, turn):
        self.expect()
        self.user = User(self.server, f"{self.row.user}@{LOCAL}")
        self.sockets.append(self.user.socket)
        self.scene.answering(self)

    def expect(self):
        """A connection may be there before anything is asked: the edge opens inner streams early."""
        self.given, self.sent = threading.Event(), threading.Event()

    def send(self, text, deadline):
        self.text, self.deadline = text, deadline
        self.given.set()
        self.ask()
        if not self.sent.wait(max(0.1, deadline - time.monotonic())):
            raise TimeoutError

    def ask(self):
        self.user.send(f"<message to='someone@{ANSWERS}'><body>hello</body></message>")

    def names(self):
        return ANSWERS, LOCAL

    def script(self, connection):
        """For the remote's thread."""
        try:
            connection.read_header()
            if not self.given.wait(600):
                return
            begin = header_text({"id": "lab1", **(self.text.header or {})}, *self.names())
            if self.stage in ("key", "live"):
                connection.send(begin)
                connection.send_features("<dialback xmlns='urn:xmpp:features:dialback'/>")
                key = connection.read()
                if self.stage == "live":
                    connection.send(f"<db:result from='{key.get('to')}' to='{key.get('from')}' type='valid'/>")
                    connection.read_until("message")
                begin = ""
            self.pump(connection.socket, begin + self.text.text, self.deadline)
        finally:
            self.sent.set()
        self.sockets.append(connection.socket)
        self.scene.over.wait(600)

    def end(self):
        super().end()
        self.scene.hang_up()


class AnswererOfKey(Answerer):
    stage = "key"


class AnswererAlive(Answerer):
    stage = "live"


class AnswererInside(Answerer):
    """The server behind a relay host, which a partner's stanza has to go to; for the bare server who answers a user."""

    PAUSE = 1.2     # seconds: what the edge leaves between a failure and the next stream

    def ready(self, turn):
        if not self.server.guarded:
            super().ready(turn)
            return
        self.expect()
        time.sleep(self.PAUSE)
        self.scene.answering(self)
        probe = Probe(self.server.address, from_=FEDERATED, to=WITHIN, timeout=60)
        probe.features()
        answer = probe.dialback()
        assert answer == "valid", answer
        self.stream = probe.socket
        self.sockets.append(self.stream)

    def ask(self):
        if self.server.guarded:
            self.stream.sendall(f"<message from='bob@{FEDERATED}/b' to='alice@{WITHIN}'><body>hello</body></message>".encode())
        else:
            super().ask()

    def names(self):
        return (WITHIN, FEDERATED) if self.server.guarded else super().names()


class Resolver(Sender):
    """What DNS says of a partner that a user writes to."""

    domain = NAMED

    def ready(self, turn):
        self.user = User(self.server, f"{self.row.user}@{LOCAL}")
        self.sockets.append(self.user.socket)

    def send(self, text, deadline):
        self.user.send(f"<message to='someone@{self.domain}'><body>hello</body></message>")

    def prepare(self, text):
        dns = self.scene.lab.dns
        dns.remove(self.domain)
        dns.records(text.text)


class Answering(Remote):
    """The server of answers.test, for the server that is measured."""

    def __init__(self, lab):
        self.sender = None
        super().__init__(lab, [ANSWERS], tls=None, script=lambda connection: self.sender.script(connection), timeout=600)
