"""A scripted remote server: what DNS names as a domain's server, and what then answers.

By default it is an honest authoritative dialback server for all of its domains.  It can offer
and answer what it is told to, or be replaced by a script of the test's own."""

import socket
import threading
from xml.parsers import expat

from .waiting import wait_until
from .xmlstream import (BIDI_FEATURE, DIALBACK, DIALBACK_FEATURE, SASL, TLS, Closed, Stream,
                        server_context)


class Connection(Stream):
    """One connection that was made to a Remote: its elements, in order, in `elements`."""

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
    elements(), connections: what has come in"""

    def __init__(self, lab, domains, leaf=None, tls="optional", offer=("external", "dialback"),
                 external="success", result="valid", verify="valid", version="1.0", after_features="",
                 script=None, address=None, port=5269, timeout=20, request_from=None, register=True):
        self.domains = list(domains)
        self.leaf, self.tls = leaf, tls if leaf else None
        self.offer, self.external, self.result, self.verify = list(offer), external, result, verify
        self.version, self.after_features, self.script = version, after_features, script
        self.timeout = timeout
        self.request_from = request_from or lab.certificates.trust
        self.address, self.port = address or lab.address(), port
        self.connections = []
        self.failures = []          # exceptions in scripts; the runner counts them as the scenario's
        self._listener = socket.create_server((self.address, port), backlog=100)
        lab.cleanup(self.close)
        lab.remotes.append(self)
        if register:
            for domain in self.domains:
                lab.dns.server(domain, self.address, port)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)   # wakes accept()
        except OSError:
            pass
        self._listener.close()
        for connection in self.connections:
            connection.close()

    def elements(self, name=None):
        """All elements from all connections, or those so named."""
        return [element for connection in list(self.connections)
                for element in list(connection.elements) if name in (None, element.name)]

    def wait_element(self, wanted, timeout=10):
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
            self.failures.append(problem)
        finally:
            connection.close()

    # The usual server, step by step; scripts may call these

    def greet(self, connection):
        """Reads their header, sends ours and the features for this state."""
        connection.restart()
        connection.read_header()
        connection.answer_header(version=self.version)
        if self.version:
            connection.send_features(*self.features(connection))
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
        self.greet(connection)
        while True:
            self.react(connection, connection.read())

    def react(self, connection, element):
        if element.xmlns == TLS and element.name == "starttls":
            if not self.leaf:
                connection.send(f"<failure xmlns='{TLS}'/></stream:stream>")
                return
            connection.send(f"<proceed xmlns='{TLS}'/>")
            connection.start_tls(server_context(self.leaf, self.request_from), server_side=True)
            self.greet(connection)
        elif element.xmlns == SASL and element.name == "auth":
            if self.external == "success":
                connection.send(f"<success xmlns='{SASL}'/>")
                connection.authenticated = True
                self.greet(connection)
            elif self.external == "failure":
                connection.send(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        elif element.xmlns == DIALBACK and element.get("type") is None:
            answer = self.result if element.name == "result" else self.verify
            if callable(answer):
                answer = answer(element)
            if answer != "ignore":
                connection.send(dialback_answer(element, answer))
                if element.name == "result":
                    connection.authenticated = answer == "valid"


def dialback_answer(element, answer):
    """The answer to a db:result or db:verify, as text."""
    id_ = f" id='{element.get('id')}'" if element.get("id") else ""
    inside = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" \
        if answer == "error" else ""
    return (f"<db:{element.name} xmlns:db='{DIALBACK}' from='{element.get('to')}' to='{element.get('from')}'"
            f"{id_} type='{answer}'>{inside}</db:{element.name}>")
