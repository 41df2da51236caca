"""A scripted remote server: what DNS names as a domain's server, and what then answers.

By default it is an honest authoritative dialback server for all of its domains.  It can offer
and answer what it is told to, or be replaced by a script of the test's own."""

import socket
import ssl
import struct
import threading
from xml.parsers import expat

from .waiting import wait_until
from .xmlstream import (BIDI_FEATURE, DIALBACK, DIALBACK_FEATURE, SASL, TLS, Closed, Stream,
                        server_context)


class Connection(Stream):
    """One connection that was made to a Remote: its elements, in order, in `elements`. `over`: nothing more will come of it."""

    over = False

    def __init__(self, remote, sock, peer):
        super().__init__(sock, remote.timeout)
        self.remote, self.peer = remote, peer
        self.elements = []
        self.headers = []
        self.authenticated = False

    def read_header(self, timeout=None):
        header = super().read_header(timeout)
        self.headers.append(header)
        return header

    def read(self, timeout=None):
        element = super().read(timeout)
        self.elements.append(element)
        return element

    def answer_header(self, **changes):
        """Our header: from and to swapped, with an id.  Arguments as Stream.open_text()."""
        header = {"from_": self.header.get("to"), "to": self.header.get("from"), "id_": "lab1", **changes}
        self.send(self.open_text(**header))

    def send_features(self, *features):
        self.send(f"<stream:features>{''.join(features)}</stream:features>")


# What may befall a connection; each ends the script.

def drop(connection):
    """The connection ends, as when the process on the other side does."""
    connection.close()
    raise Closed()


def reset(connection):
    """The same with RST, as when the machine on the other side has started anew."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    drop(connection)


def silence(connection):
    """Nothing more is heard of us, until the remote is closed or healed."""
    connection.remote.healed.wait(60)
    raise Closed()


class Remote:
    """Listens from the start until the lab ends.

    domains         known to DNS as served here (with register)
    leaf            its TLS certificate; None: no TLS at all
    tls             "required", "optional" or None: what is said in the features
    offer           features besides STARTTLS: any of "external", "dialback", "bidi"
    external        its answer to <auth/>: "success", "failure", "ignore"
    result          its answer to our db:result: "valid", "invalid", "error", "ignore"
    verify          its answer to db:verify: the same, or a function (element) -> answer
    version         of its stream headers; None leaves it out, and then no features are sent
    after_features  raw text sent straight behind the features, once no STARTTLS is left to be done
    script          script(connection) instead of all this
    fault           (stage, action): action(connection), such as drop, reset or silence, when a connection gets there; heal() ends
                    it; `struck` is set when one is there.  Stages: "connected", "starttls", "proceed", "hello" (theirs is there), "half" (and half of ours sent),
                    "auth", "success", "result", "verify", "stanza"; and, each in a state ("tcp", "tls" or "done"), "tcp opened" (their
                    header is there), "tcp header" (ours was sent), "tcp features"
    elements(), connections: what has come in"""

    def __init__(self, lab, domains, leaf=None, tls="optional", offer=("external", "dialback"),
                 external="success", result="valid", verify="valid", version="1.0", after_features="",
                 script=None, fault=None, address=None, port=5269, timeout=20, request_from=None, register=True):
        self.fault, self.struck, self.healed = fault, threading.Event(), threading.Event()
        self.domains = list(domains)
        self.leaf, self.tls = leaf, tls if leaf else None
        self.offer, self.external, self.result, self.verify = list(offer), external, result, verify
        self.version, self.after_features, self.script = version, after_features, script
        self.timeout = timeout
        self.request_from = request_from or lab.certificates.trust
        self.address, self.port = address or lab.address(), port
        self.connections = []
        self._over = False
        self.failures = []          # exceptions in scripts; the runner counts them as the scenario's
        self._listener = socket.create_server((self.address, port), backlog=100)
        lab.cleanup(self.close)
        lab.remotes.append(self)
        if register:
            for domain in self.domains:
                lab.dns.server(domain, self.address, port)
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self):
        """From now on as if there had never been a fault; what was silent is cut."""
        self.fault = None
        self.healed.set()

    def hang_up(self):
        """All connections there are end; new ones are taken."""
        for connection in list(self.connections):
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)    # wakes who reads from it, as close() would not
            except OSError:
                pass

    def _reached(self, connection, stage):
        if self.fault and self.fault[0] == stage:
            self.struck.set()
            self.fault[1](connection)

    @staticmethod
    def _state(connection):
        return "done" if connection.authenticated else "tls" if connection.tls else "tcp"

    def close(self):
        self._over = True
        self.healed.set()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)   # wakes accept()
        except OSError:
            pass
        self._listener.close()
        # Each socket is closed by the thread that reads from it (_serve): closed here, its descriptor would be another connection's by the
        # time that the thread reads on, and the peer would hear of the end only then.
        self.hang_up()

    def elements(self, name=None):
        """All elements from all connections, or those so named."""
        return [element for connection in list(self.connections)
                for element in list(connection.elements) if name in (None, element.name)]

    def wait_element(self, wanted, timeout=20):
        """The first element so named, or for which wanted(element) is true, that comes or has come."""
        def search():
            for element in self.elements():
                if element.name == wanted if isinstance(wanted, str) else wanted(element):
                    return [element]
            return None
        return wait_until(search, timeout, f"{wanted} at {self.domains}")[0]

    def _accept(self):
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            connection = Connection(self, sock, peer)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        try:
            (self.script or self.play)(connection)
        except (Closed, TimeoutError, OSError, expat.ExpatError):
            pass
        except Exception as problem:
            if not self._over:      # what hanging up has done to a script is no failure of its own
                self.failures.append(problem)
        finally:
            connection.close()
            connection.over = True

    # The usual server, step by step; scripts may call these

    def greet(self, connection):
        """Reads their header, sends ours and the features for this state."""
        connection.restart()
        connection.read_header()
        self._reached(connection, f"{self._state(connection)} opened")
        connection.answer_header(version=self.version)
        self._reached(connection, f"{self._state(connection)} header")
        if self.version:
            connection.send_features(*self.features(connection))
        self._reached(connection, f"{self._state(connection)} features")
        if self.after_features and (connection.tls or not self.tls):
            connection.send(self.after_features)

    def features(self, connection):
        if self.tls and not connection.tls:
            required = "<required/>" if self.tls == "required" else ""
            yield f"<starttls xmlns='{TLS}'>{required}</starttls>"
            if self.tls == "required":
                return
        if "external" in self.offer and connection.tls and not connection.authenticated:
            yield f"<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
        if "bidi" in self.offer and not connection.authenticated:
            yield f"<bidi xmlns='{BIDI_FEATURE}'/>"
        if "dialback" in self.offer and not connection.authenticated:
            yield f"<dialback xmlns='{DIALBACK_FEATURE}'/>"

    def play(self, connection):
        self._reached(connection, "connected")
        self.greet(connection)
        while True:
            self.react(connection, connection.read())

    def react(self, connection, element):
        if element.xmlns == TLS and element.name == "starttls":
            if not self.leaf:
                connection.send(f"<failure xmlns='{TLS}'/></stream:stream>")
                return
            self._reached(connection, "starttls")
            connection.send(f"<proceed xmlns='{TLS}'/>")
            self._reached(connection, "proceed")
            if self.fault and self.fault[0] in ("hello", "half"):
                self._handshake_in_part(connection)
            connection.start_tls(server_context(self.leaf, self.request_from), server_side=True)
            self.greet(connection)
        elif element.xmlns == SASL and element.name == "auth":
            self._reached(connection, "auth")
            if self.external == "success":
                connection.send(f"<success xmlns='{SASL}'/>")
                self._reached(connection, "success")
                connection.authenticated = True
                self.greet(connection)
            elif self.external == "failure":
                connection.send(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        elif element.xmlns == DIALBACK and element.get("type") is None:
            self._reached(connection, element.name)
            answer = self.result if element.name == "result" else self.verify
            if callable(answer):
                answer = answer(element)
            if answer != "ignore":
                connection.send(dialback_answer(element, answer))
                if element.name == "result":
                    connection.authenticated = answer == "valid"
        elif element.name in ("message", "presence", "iq"):
            self._reached(connection, "stanza")


    def _handshake_in_part(self, connection):
        """Their ClientHello is read; for "half" some of what answers it is sent."""
        theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = server_context(self.leaf, self.request_from).wrap_bio(theirs, ours, server_side=True)
        connection.socket.settimeout(connection.timeout)
        while not ours.pending:
            data = connection.socket.recv(65536)
            if not data:
                raise Closed()
            theirs.write(data)
            try:
                handshake.do_handshake()
            except ssl.SSLWantReadError:
                pass
        if self.fault and self.fault[0] == "half":
            connection.send(ours.read(ours.pending // 2))
        self._reached(connection, "half")
        self._reached(connection, "hello")


def dialback_answer(element, answer):
    """The answer to a db:result or db:verify, as text."""
    id_ = f" id='{element.get('id')}'" if element.get("id") else ""
    inside = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" \
        if answer == "error" else ""
    return (f"<db:{element.name} xmlns:db='{DIALBACK}' from='{element.get('to')}' to='{element.get('from')}'"
            f"{id_} type='{answer}'>{inside}</db:{element.name}>")
