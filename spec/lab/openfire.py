"""A stand-in for Openfire as the server inside: the S2S side of it, as far as an edge notices it, and no users.

Openfire itself is in no package source here. What it does was read in its sources (igniterealtime/Openfire, July 2026): LocalIncomingServerSession,
LocalOutgoingServerSession, ServerStanzaHandler, RespondingServerStanzaHandler, NettySessionInitializer, ServerDialback, OpenfireX509TrustManager,
SASLAuthentication.
  * Before TLS it offers STARTTLS and dialback, behind TLS always <mechanisms/>, with EXTERNAL for whom its trust store knows, or empty; and dialback only where
    its own certificate is self-signed and it accepts self-signed ones (pull request 3042 would add an option). What it does not offer it takes all the same:
    a key is looked at whenever dialback is not switched off as a whole.
  * Its header behind TLS is from its main domain, whichever was asked for.
  * A peer whose certificate its trust store does not know gets no TLS, neither way; a key is then asked about once more without TLS.
  * A key of somebody whose certificate is valid for the domain is not asked about. Otherwise it opens a connection of its own and wants the prefix "db", declared in
    the header that answers, and on the answer itself.
  * A connection for each pair of domains. Before each comes another one, which is closed without a byte.
  * Outgoing: EXTERNAL if that is offered, dialback if that fails or only that is offered, else a stream error. Behind <success/> stanzas
    go at once.
  * Stanzas of a stream: the sender's domain has to be one of those proven on it; the pair does not count."""

import base64
import hashlib
import re
import secrets
import socket
import ssl
import threading

from .remote import Connection
from .waiting import wait_until
from .xmlstream import DIALBACK, DIALBACK_FEATURE, SASL, STREAM_ERRORS, TLS, Closed, Stream, server_context

_DECLARED = re.compile(rb"""xmlns:db=["']jabber:server:dialback["']""")


class Refused(Exception):
    """An outgoing session that did not come about, in Openfire's words."""


class _Raw:
    """A socket that keeps what has come: prefixes are not in what the parser says."""

    def __init__(self, sock):
        self._socket, self.data = sock, b""

    def recv(self, size):
        data = self._socket.recv(size)
        self.data += data
        return data

    def __getattr__(self, name):
        return getattr(self._socket, name)


class _Outgoing(Stream):
    def __init__(self, openfire, local, remote):
        self.openfire, self.local, self.remote = openfire, local, remote
        address = (openfire.edge, 5269)
        socket.create_connection(address, 10).close()       # SocketUtil tries whether anybody is there
        super().__init__(socket.create_connection(address, 10), 15)

    def greeting(self):
        """Header and features."""
        self.restart()
        self.socket = _Raw(getattr(self.socket, "_socket", self.socket))
        self.send(self.open_text(from_=self.local, to=self.remote, declaration=False))
        header = self.read_header()
        if not header.get("id"):
            raise Refused("Expected a stream ID value, but none was received.")
        return self.read_until("features")

    def encrypt(self):
        """STARTTLS, and the second greeting; raises ssl.SSLError for a peer that is not trusted."""
        self.send(f"<starttls xmlns='{TLS}'/>")
        answer = self.read()
        if answer.name != "proceed":
            raise Refused(f"Got {answer.name} instead of proceed for starttls")
        self.socket = self.socket._socket
        self.start_tls(self.openfire.trusting(), name=self.remote)
        return self.greeting()

    def fail(self, condition, text):
        self.send(f"<stream:error><{condition} xmlns='{STREAM_ERRORS}'/><text xmlns='{STREAM_ERRORS}'>{text}</text></stream:error></stream:stream>")
        self.close()
        raise Refused(text)


class Openfire:
    """Listens from the start until the lab ends, at the address for the main domain.

    edge             the address at which it finds every other domain (dnsutil.dnsOverride)
    leaf             its TLS certificate
    components       domains of its own besides the main one
    trust            the file with the authorities of its trust store, or None
    accept_self_signed, dialback     options of Openfire's; offer_dialback: that of pull request 3042
    stanzas          what has come in and was let in, as xmlstream.Element"""

    def __init__(self, lab, domain, address, edge, leaf, components=(), trust=None, accept_self_signed=False, dialback=True, offer_dialback=False):
        self.domain, self.domains, self.address, self.edge = domain, [domain, *components], address, edge
        self.leaf, self.trust, self.accept_self_signed = leaf, trust, accept_self_signed
        self.dialback, self.offer_dialback = dialback, offer_dialback
        self.timeout, self.secret = 20, secrets.token_hex(16)
        self.stanzas, self.connections, self.sessions, self.failures = [], [], {}, []
        self.asked = []         # (domain, with TLS or without, the answer) of each key that it has asked about
        self._listener = socket.create_server((address, 5269), backlog=100)
        lab.cleanup(self.close)
        lab.remotes.append(self)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.hang_up()

    def hang_up(self):
        for stream in [*self.connections, *self.sessions.values()]:
            try:
                stream.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sessions.clear()

    def is_self_signed(self):
        return self.leaf.certificate.name.endswith("self-signed.crt") or "self-signed" in self.leaf.certificate.name

    def takes_keys(self):
        return self.dialback or self.accept_self_signed

    def offers_dialback(self):
        return self.offer_dialback or (self.is_self_signed() and self.accept_self_signed)

    def trusting(self):
        """TLS of the side that connects: the chain counts, not the name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        if self.trust:
            context.load_verify_locations(self.trust)
        if self.accept_self_signed:
            context.verify_mode = ssl.CERT_NONE     # more than Openfire lets pass; scenarios have no use for the difference
        context.load_cert_chain(self.leaf.certificate, self.leaf.key)
        return context

    @staticmethod
    def names(stream):
        """Of the peer's certificate, where that is trusted."""
        try:
            found = stream.socket.getpeercert() or {}
        except (ValueError, AttributeError):
            found = {}
        return [name for kind, name in found.get("subjectAltName", ()) if kind == "DNS"]

    def proves(self, stream, domain):
        return any(name == domain or name.startswith("*.") and domain.partition(".")[2] == name[2:] for name in self.names(stream))

    # Incoming

    def _accept(self):
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            connection = Connection(self, sock, peer)
            connection.proven = set()
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        try:
            self._greet(connection)
            while True:
                self._react(connection, connection.read())
        except (Closed, TimeoutError, OSError):
            pass
        except Exception as problem:
            self.failures.append(problem)
        finally:
            connection.close()

    def _greet(self, connection):
        connection.restart()
        connection.read_header()
        connection.id = secrets.token_hex(5)
        # Behind TLS getStreamHeader() takes the server's own domain.
        from_ = self.domain if connection.tls else connection.header.get("to") or self.domain
        connection.answer_header(from_=from_, id_=connection.id, dialback=self.dialback or (not connection.tls and self.accept_self_signed))
        limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>1048576</max-bytes></limits>"
        dialback = f"<dialback xmlns='{DIALBACK_FEATURE}'><errors/></dialback>"
        if not connection.tls:
            connection.send_features(f"<starttls xmlns='{TLS}'/>", dialback if self.dialback else "", limits)
            return
        external = "<mechanism>EXTERNAL</mechanism>" if self.proves(connection, connection.header.get("from")) else ""
        mechanisms = "" if connection.proven else f"<mechanisms xmlns='{SASL}'>{external}</mechanisms>"
        connection.send_features(mechanisms, dialback if self.offers_dialback() and not connection.proven else "", limits)

    def _react(self, connection, element):
        kind = (element.xmlns, element.name)
        if kind == (TLS, "starttls"):
            connection.send(f"<proceed xmlns='{TLS}'/>")
            connection.start_tls(server_context(self.leaf, self.trust), server_side=True)
            self._greet(connection)
        elif kind == (SASL, "auth"):
            text = element.text.strip()
            domain = base64.b64decode(text).decode() if text not in ("", "=") else connection.header.get("from")
            if self.proves(connection, domain):
                connection.proven.add(domain)
                connection.send(f"<success xmlns='{SASL}'/>")
                self._greet(connection)
            else:
                connection.send(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        elif kind == (DIALBACK, "result"):
            self._validate(connection, element)
        elif kind == (DIALBACK, "verify"):
            right = secrets.compare_digest(self.key(element.get("id", "")), element.text.strip())
            self._answer(connection, element, ("valid" if right else "invalid") if self.takes_keys() else "error")
        elif element.name in ("message", "presence", "iq"):
            if not element.get("from") or not element.get("to"):
                self._end(connection, "improper-addressing")
            if element.get("from").partition("/")[0].rpartition("@")[2] not in connection.proven:
                self._end(connection, "invalid-from")
            self.stanzas.append(element)

    def _end(self, connection, condition, text=""):
        said = f"<text xmlns='{STREAM_ERRORS}'>{text}</text>" if text else ""
        connection.send(f"<stream:error><{condition} xmlns='{STREAM_ERRORS}'/>{said}</stream:error></stream:stream>")
        raise Closed()

    @staticmethod
    def _answer(connection, element, answer, error="item-not-found"):
        inside = f"<error type='cancel'><{error} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" if answer == "error" else ""
        id_ = f" id='{element.get('id')}'" if element.get("id") else ""
        connection.send(f"<db:{element.name} from='{element.get('to')}' to='{element.get('from')}'{id_} type='{answer}'>{inside}</db:{element.name}>")

    def _validate(self, connection, element):
        """validateRemoteDomain"""
        ours, theirs = element.get("to"), element.get("from")
        if not self.takes_keys():
            self._end(connection, "policy-violation", "Dialback has been disabled by configuration.")
        if ours not in self.domains:
            return self._answer(connection, element, "error")
        if not self.proves(connection, theirs):
            answer = self._ask(element.text.strip(), connection.id, ours, theirs)
            if answer != "valid":
                self._answer(connection, element, answer, "remote-server-timeout")
                if answer == "invalid":
                    raise Closed()
                return None
        connection.proven.add(theirs)
        return self._answer(connection, element, "valid")

    def _ask(self, key, id_, ours, theirs):
        """verifyKey: with TLS, and without where that fails."""
        for encrypted in (True, False):
            stream = _Outgoing(self, ours, theirs)
            answer = "error"
            try:
                features = stream.greeting()
                if encrypted and features.find("starttls"):
                    stream.encrypt()
                if not _DECLARED.search(stream.socket.data):
                    stream.fail("invalid-namespace", "")
                stream.send(f"<db:verify from='{ours}' to='{theirs}' id='{id_}'>{key}</db:verify>")
                said = stream.read()
                if said.get("id") == id_ and said.get("to") == ours and said.get("from") == theirs and b"<db:verify" in stream.socket.data:
                    answer = said.get("type")
            except ssl.SSLError:
                self.asked.append((theirs, encrypted, "no TLS"))
                continue
            except (Refused, Closed, TimeoutError, OSError):
                pass
            finally:
                stream.close()
            self.asked.append((theirs, encrypted, answer))
            return answer if answer in ("valid", "invalid") else "error"
        return "error"

    # Outgoing

    def key(self, id_):
        return hashlib.sha256((id_ + self.secret).encode()).hexdigest()

    def session(self, local, remote):
        """The outgoing session of the pair, made when there is none. Refused: why there is none."""
        session = self.sessions.get((local, remote))
        if session is None or session.closed:
            session = self.sessions[local, remote] = self._open(local, remote)
        return session

    def _open(self, local, remote):
        stream = _Outgoing(self, local, remote)
        features = stream.greeting()
        if features.find("starttls"):
            features = stream.encrypt()
        stream.method = None
        mechanisms = features.find("mechanisms", SASL)
        if mechanisms and any(child.text == "EXTERNAL" for child in mechanisms.children):
            stream.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{base64.b64encode(local.encode()).decode()}</auth>")
            if stream.read().name == "success":
                stream.method = "EXTERNAL"
                stream.restart()
                stream.send(stream.open_text(from_=local, to=remote, declaration=False, dialback=False))
            elif not self.takes_keys():
                raise Refused("EXTERNAL SASL failed")
        elif not (features.find("dialback") and self.takes_keys()):
            stream.fail("policy-violation", "No applicable authentication mechanism available.")
        if stream.method is None:
            stream.send(f"<db:result from='{local}' to='{remote}'>{self.key(stream.header.get('id'))}</db:result>")
            said = stream.read_until("result")
            if said.get("type") != "valid":
                raise Refused(f"Dialback failed: {said}")
            stream.method = "dialback"
        threading.Thread(target=self._listen, args=[stream], daemon=True).start()
        return stream

    @staticmethod
    def _listen(stream):
        try:
            while True:
                stream.read(600)
        except (Closed, TimeoutError, OSError):
            stream.closed = True

    def message(self, sender, to, body):
        """How the stream that took it was authenticated."""
        session = self.session(sender.rpartition("@")[2], to.rpartition("@")[2])
        session.send(f"<message from='{sender}' to='{to}' type='chat'><body>{body}</body></message>")
        return session.method

    def wait_message(self, body, timeout=20):
        def search():
            return next((stanza for stanza in list(self.stanzas) if stanza.find("body") and stanza.find("body").text == body), None)
        return wait_until(search, timeout, f"message {body!r} at {self.domain}")
