"""A peer that connects to an S2S port and says what it likes.

As a program it shows what a server offers and how it answers:

    python3 -m lab.probe HOST[:PORT] FROM TO [--certificate PEM --key PEM] [--auth] [--direct-tls]"""

import argparse
import base64
import pathlib
import socket
import sys

from .certificates import Leaf
from .xmlstream import DIALBACK, SASL, TLS, Closed, Stream, client_context


class Probe(Stream):
    """with Probe(address, from_="evil.test", to="a.test") as probe: ...

    from_, to    what open(), external() and dialback() say unless told otherwise
    leaf         client certificate for TLS, or None
    source       the local address to connect from
    direct_tls   TLS from the first byte (XEP-0368)"""

    def __init__(self, host, port=5269, from_=None, to=None, leaf=None, source=None, timeout=20,
                 direct_tls=False, tls_maximum=None):
        self.from_, self.to, self.leaf, self.tls_maximum = from_, to, leaf, tls_maximum
        source_address = (source, 0) if source else None
        super().__init__(socket.create_connection((host, port), timeout, source_address), timeout)
        if direct_tls:
            self._handshake(["xmpp-server"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _handshake(self, protocols=None):
        context = client_context(self.leaf, maximum=self.tls_maximum)
        if protocols:
            context.set_alpn_protocols(protocols)
        self.start_tls(context, name=self.to)

    def _header(self, changes):
        return {"from_": self.from_, "to": self.to, **changes}

    def open(self, **changes):
        """Sends a header, from and to its own unless changed (None leaves one out)."""
        super().open(**self._header(changes))

    def features(self, **changes):
        """Opens a stream and returns the <stream:features/>."""
        self.open(**changes)
        self.read_header()
        return self.read_until("features")

    def starttls(self, command=f"<starttls xmlns='{TLS}'/>"):
        """STARTTLS; afterwards a new stream is to be opened.  Returns the peer's answer if that
        is not <proceed/>."""
        self.send(command)
        answer = self.read()
        if answer.name != "proceed":
            return answer
        self._handshake()
        return None

    def secure(self, **changes):
        """features(), STARTTLS, and the features after it."""
        self.features(**changes)
        refused = self.starttls()
        if refused is not None:
            raise AssertionError(f"no TLS: {refused}")
        return self.features(**changes)

    def external(self, authzid="", attributes=""):
        """SASL EXTERNAL; the answer (success, failure).  authzid None: no initial response;
        bytes: sent as they are, without base64."""
        if authzid is None:
            response = ""
        elif isinstance(authzid, bytes):
            response = authzid.decode()
        else:
            response = base64.b64encode(authzid.encode()).decode() or "="
        self.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'{attributes}>{response}</auth>")
        return self.read_until(lambda element: element.name in ("success", "failure"))

    def authenticate(self, **changes):
        """The whole way to an EXTERNAL stream, over TLS already begun or not."""
        self.features(**changes) if self.tls else self.secure(**changes)
        answer = self.external()
        if answer.name != "success":
            raise AssertionError(f"EXTERNAL was refused: {answer}")
        return self.features(**changes)

    def send_result(self, key="0123456789abcdef", **changes):
        """Sends a db:result with our key (no waiting)."""
        header = self._header(changes)
        self.send(f"<db:result xmlns:db='{DIALBACK}'{_address(header)}>{key}</db:result>")

    def dialback(self, key="0123456789abcdef", timeout=None, **changes):
        """Asks to be accepted by dialback; the answer's type (valid, invalid, error)."""
        self.send_result(key, **changes)
        return self.read_until(_is_dialback("result"), timeout).get("type")

    def verify(self, key, id_, timeout=None, **changes):
        """Asks the authoritative server about a key; the answer's type."""
        header = self._header(changes)
        self.send(f"<db:verify xmlns:db='{DIALBACK}'{_address(header)} id='{id_}'>{key}</db:verify>")
        return self.read_until(_is_dialback("verify"), timeout).get("type")

    def message(self, from_, to, body="hello", type_="chat", id_="m1"):
        self.send(f"<message from='{from_}' to='{to}' type='{type_}' id='{id_}'><body>{body}</body></message>")


def _address(header):
    return "".join(f" {name}='{header[key]}'" for name, key in (("from", "from_"), ("to", "to"))
                   if header[key] is not None)


def _is_dialback(name):
    return lambda element: element.xmlns == DIALBACK and element.name == name


def mechanisms(features):
    """The SASL mechanisms in <stream:features/>."""
    offered = features.find("mechanisms", SASL)
    return [child.text for child in offered.children] if offered else []


def main():
    parser = argparse.ArgumentParser(prog="lab.probe", description="shows how an S2S port answers")
    parser.add_argument("host", help="HOST or HOST:PORT")
    parser.add_argument("from_", metavar="FROM")
    parser.add_argument("to", metavar="TO")
    parser.add_argument("--certificate", type=pathlib.Path)
    parser.add_argument("--key", type=pathlib.Path)
    parser.add_argument("--auth", action="store_true", help="try SASL EXTERNAL")
    parser.add_argument("--direct-tls", action="store_true")
    options = parser.parse_args()
    host, _, port = options.host.partition(":")
    leaf = Leaf(options.certificate, options.key) if options.certificate else None
    with Probe(host, int(port or 5269), options.from_, options.to, leaf,
               direct_tls=options.direct_tls) as probe:
        try:
            features = probe.features()
            print("header:", probe.header)
            print("features:", features)
            if features.find("starttls", TLS):
                refused = probe.starttls()
                print("starttls:", refused or probe.tls)
                if refused is None:
                    print("features:", probe.features())
            if options.auth:
                print("auth:", probe.external())
        except (Closed, TimeoutError) as end:
            print(end)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
