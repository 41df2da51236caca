"""XMPP streams on a blocking socket, for peers that do as they like.

Nothing here follows a protocol: what is sent is what the caller says, and what
comes in is only taken apart."""

import ctypes
import re
import socket
import ssl
import time
import warnings
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

SERVER = "jabber:server"
DIALBACK = "jabber:server:dialback"
STREAMS = "http://etherx.jabber.org/streams"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
STANZA_ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIDI = "urn:xmpp:bidi"
BIDI_FEATURE = "urn:xmpp:features:bidi"
DIALBACK_FEATURE = "urn:xmpp:features:dialback"

DEFAULT = object()


class Closed(Exception):
    """The peer has closed the stream or the connection; `error` is its stream error, or None."""

    def __init__(self, error=None):
        super().__init__(f"closed by the peer with {error}" if error is not None else "closed by the peer")
        self.error = error


class Element:
    """An XML element: name, xmlns, attributes (a namespaced one is "{ns}name"), children, text."""

    def __init__(self, name, xmlns="", attributes=None):
        self.name, self.xmlns = name, xmlns
        self.attributes = attributes or {}
        self.children = []
        self.text = ""

    def get(self, attribute, default=None):
        return self.attributes.get(attribute, default)

    def find(self, name, xmlns=None):
        """The first child so named, in any namespace if none is given; or None."""
        for child in self.children:
            if child.name == name and xmlns in (None, child.xmlns):
                return child
        return None

    @property
    def condition(self):
        """The defined condition of a stream error or of a stanza's <error/>."""
        error = self if self.name == "error" else self.find("error")
        for child in error.children if error else ():
            if child.xmlns in (STREAM_ERRORS, STANZA_ERRORS) and child.name != "text":
                return child.name
        return None

    @property
    def error_text(self):
        error = self if self.name == "error" else self.find("error")
        text = error.find("text") if error else None
        return text.text if text else ""

    def __str__(self):
        attributes = "".join(f" {name}={quoteattr(value)}" for name, value in self.attributes.items())
        inside = escape(self.text) + "".join(map(str, self.children))
        xmlns = f" xmlns={quoteattr(self.xmlns)}" if self.xmlns else ""
        return f"<{self.name}{xmlns}{attributes}>{inside}</{self.name}>" if inside \
            else f"<{self.name}{xmlns}{attributes}/>"

    __repr__ = __str__


class Parser:
    """Bytes in; ("header", Element), ("element", Element), ("end", None) out.

    A stream that restarts within is followed: at an XML declaration, which can stand nowhere else,
    and at a stream header where an element is expected."""

    DECLARATION = b"<?xml"

    def __init__(self):
        self._held = b""            # the end of the input that may begin a declaration
        self._events = []
        self._begin()

    def _begin(self):
        self._expat = expat.ParserCreate(namespace_separator=" ")
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._text
        self._open = []
        self._fed = False

    def feed(self, data):
        data = self._held + data
        self._held = b""
        for length in range(min(len(data), len(self.DECLARATION) - 1), 0, -1):
            if data.endswith(self.DECLARATION[:length]):
                data, self._held = data[:-length], data[-length:]
                break
        first, *others = data.split(self.DECLARATION)
        self._parse(first)
        for part in others:
            if self._fed:
                self._begin()
            self._parse(self.DECLARATION + part)
        events, self._events = self._events, []
        return events

    def _parse(self, data):
        if data:
            self._fed = True
            self._expat.Parse(data, False)

    @staticmethod
    def _split(name):
        xmlns, _, local = name.rpartition(" ")
        return xmlns, local

    def _start(self, name, attributes):
        xmlns, local = self._split(name)
        named = {}
        for key, value in attributes.items():
            space, plain = self._split(key)
            named[f"{{{space}}}{plain}" if space else plain] = value
        element = Element(local, xmlns, named)
        if not self._open or (len(self._open) == 1 and name == f"{STREAMS} stream"):
            self._events.append(("header", element))
            self._open.clear()
        elif len(self._open) > 1:
            self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, _):
        element = self._open.pop()
        if len(self._open) == 1:
            self._events.append(("element", element))
        elif not self._open:
            self._events.append(("end", None))

    def _text(self, text):
        if len(self._open) > 1:
            self._open[-1].text += text


def client_context(leaf=None, minimum=None, maximum=None):
    """TLS that accepts any server, with leaf (a certificates.Leaf) as our certificate or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _context(context, leaf, minimum, maximum)


def server_context(leaf, request_from=None, minimum=None, maximum=None):
    """TLS for the accepting side.  request_from: ask for a client certificate of this CA file;
    the handshake fails when another is presented."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if request_from:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(request_from)
    return _context(context, leaf, minimum, maximum)


def _context(context, leaf, minimum, maximum):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are asked for on purpose
        if minimum:
            context.minimum_version = minimum
        if maximum:
            context.maximum_version = maximum
    if leaf and leaf.weak:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if leaf and leaf.twin:
        _show_damaged(context, leaf)
    elif leaf:
        context.load_cert_chain(leaf.certificate, leaf.key)
    return context


def _show_damaged(context, leaf):
    """Loads what Python refuses to: OpenSSL itself would show it.  The context's first field is the library's."""
    context.load_cert_chain(leaf.twin, leaf.key)
    der = ssl.PEM_cert_to_DER_cert(leaf.certificate.read_text())
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    use = ctypes.CDLL("libssl.so.3").SSL_CTX_use_certificate_ASN1
    use.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    if use(pointer, len(der), der) != 1:
        raise RuntimeError(f"{leaf.certificate} cannot be shown")
    ctypes.CDLL("libcrypto.so.3").ERR_clear_error()


class Stream:
    """One end of a stream, over a connected socket.

    read_* raise TimeoutError, and Closed when the peer has ended the stream or the connection.
    `seen` keeps every event for the test's message; `sent` all that was sent."""

    def __init__(self, sock, timeout=10):
        self.socket, self.timeout = sock, timeout
        self.parser = Parser()
        self.seen, self.sent = [], []
        self.header = None          # the peer's last stream header
        self.error = None           # the stream error it has sent
        self.tls = None             # the negotiated version, such as "TLSv1.3"
        self.closed = False
        self._events = []

    # Sending

    def send(self, data):
        """Sends text, bytes or an Element.  A peer that is gone shows at the next read."""
        data = data if isinstance(data, bytes) else str(data).encode()
        self.sent.append(data)
        self.socket.settimeout(self.timeout)
        try:
            self.socket.sendall(data)
        except (ConnectionError, ssl.SSLError) as problem:
            self.seen.append(("send failed", repr(problem)))

    def open_text(self, from_=None, to=None, version="1.0", xmlns=SERVER, id_=None, attributes=None,
                  dialback=True, declaration=True):
        """A stream header as text; what is None is left out."""
        shown = {"from": from_, "to": to, "version": version, "id": id_, **(attributes or {})}
        words = "".join(f" {name}={quoteattr(value)}" for name, value in shown.items() if value is not None)
        prefix = f" xmlns:db='{DIALBACK}'" if dialback else ""
        start = "<?xml version='1.0'?>" if declaration else ""
        return f"{start}<stream:stream xmlns='{xmlns}' xmlns:stream='{STREAMS}'{prefix}{words}>"

    def open(self, **header):
        """Sends a stream header (arguments of open_text) on a fresh parser."""
        self.restart()
        self.send(self.open_text(**header))

    def restart(self):
        """What comes next is a new stream.  Only between streams: unread events are lost."""
        self.parser = Parser()
        self._events = []
        self.header = None

    def start_tls(self, context, server_side=False, name=None, session=None):
        """Handshake on the socket, without any XML.  session: of the same context, to be taken up again if the server agrees."""
        self.socket.settimeout(self.timeout)
        self.socket = context.wrap_socket(self.socket, server_side=server_side,
                                          server_hostname=None if server_side else name, session=session)
        self.tls = self.socket.version()
        self.restart()

    def close(self):
        try:
            self.socket.close()
        except OSError:
            pass

    # Receiving

    def _next(self, timeout):
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not self._events:
            if self.closed:
                raise Closed(self.error)
            # What is there is read, however late it is when a busy machine lets us look.
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except (TimeoutError, socket.timeout):
                if time.monotonic() < deadline:
                    continue
                raise TimeoutError(f"nothing from the peer; seen so far: {self.seen}") from None
            # ValueError, AttributeError: TLS that another thread shuts down just now.
            except (ConnectionError, ssl.SSLError, ValueError, AttributeError) as problem:
                self.seen.append(("connection", repr(problem)))
                data = b""
            if not data:
                self.closed = True
                continue
            self._events += self.parser.feed(data)
        event = self._events.pop(0)
        self.seen.append(event)
        return event

    def read_header(self, timeout=None):
        kind, element = self._next(timeout)
        if kind != "header":
            raise AssertionError(f"a stream header was expected, not {element}")
        self.header = element
        return element

    def read(self, timeout=None):
        """The next top-level element; stream errors are kept in `error` and raise Closed."""
        kind, element = self._next(timeout)
        if kind == "header":
            self.header = element
            return self.read(timeout)
        if kind == "end":
            self.closed = True
            raise Closed(self.error)
        if element.name == "error" and element.xmlns == STREAMS:
            self.error = element
            self._read_to_end()
            raise Closed(element)
        return element

    def read_until(self, wanted, timeout=None):
        """The first element that is so named, or for which wanted(element) is true."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            element = self.read(max(0.001, deadline - time.monotonic()))
            if element.name == wanted if isinstance(wanted, str) else wanted(element):
                return element

    def _read_to_end(self):
        try:
            while True:
                self._next(1)
        except (Closed, TimeoutError, expat.ExpatError):
            self.closed = True

    def read_close(self, condition=DEFAULT, text=None, timeout=None):
        """Reads on until the peer closes, and returns its stream error (or None).

        Fails unless that has the condition (None: closed without any) and its text matches."""
        try:
            self.read_until(lambda _: False, timeout)
        except Closed as closed:
            error = closed.error
        if condition is not DEFAULT:
            found = error.condition if error is not None else None
            assert found == condition, f"closed with {found} ({error}), not with {condition}"
        if text is not None:
            said = error.error_text if error is not None else ""
            assert re.search(text, said), f"the stream error's text is {said!r}, not like {text!r}"
        return error

    def assert_open(self, seconds=0.5):
        """Fails if the peer closes, or says anything, within the time."""
        try:
            said = self.read(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"silence was expected, not {said}")
