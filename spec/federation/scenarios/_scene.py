"""An edge with alice logged in, and those who talk to it: what scenarios that want an edge of their own share."""

import itertools

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import BIDI

from scenarios._edge import ALICE, HOST, PING, edge_server, established, outbound_error, refusal_logged, refused

FABRIKAM = "fabrikam.test"
_NAMES = (f"edge{number}" for number in itertools.count())
_NUMBERS = itertools.count()


class Scene:
    """with Scene(lab, partners, files) as scene: `files` are written beside the configuration before the edge starts (see write)."""

    def __init__(self, lab, partners, files=None, **more):
        self.lab = lab
        self.edge = edge_server(lab, partners, name=next(_NAMES), **{"register": False, **more})
        for name, content in (files or {}).items():
            self.write(name, content)
        self.edge.start()
        self.alice = Client(ALICE, self.edge.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.alice.close()
        self.edge.stop()

    def write(self, name, content):
        """Bytes, or a list of issuers (names, or bytes) whose certificates make a bundle."""
        certificates = self.lab.certificates
        if not isinstance(content, bytes):
            content = b"".join(issuer if isinstance(issuer, bytes) else certificates.only(certificates.issuer(issuer)) for issuer in content)
        path = self.edge.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    def reload(self, partners=None):
        """The mark of the log before it."""
        mark = self.edge.mark()
        self.edge.partners = partners or self.edge.partners
        self.edge.reload()
        return mark

    # Partners that connect

    def probe(self, domain=FABRIKAM, kind="good", to=HOST, **more):
        return Probe(self.edge.address, from_=domain, to=to, leaf=self.lab.certificates.leaf(domain, kind), **more)

    def authenticated(self, domain=FABRIKAM, kind="good", **more):
        probe, mark = self.probe(domain, kind, **more), self.edge.mark()
        probe.authenticate()
        established(self.edge, "from", domain, mark)
        return probe

    def send_in(self, probe, domain=FABRIKAM):
        body = self.alice.new_id()
        probe.message(f"eve@{domain}", ALICE, body)
        self.alice.wait_message(body)

    def assert_refused_in(self, verdict, domain=FABRIKAM, kind="good"):
        with self.probe(domain, kind) as probe:
            probe.features()
            assert probe.starttls() is None
            probe.open()
            refused(probe, f"certificate-{verdict}", "not-authorized")

    # Partners that the edge connects to

    def remote(self, domain=FABRIKAM, kind="good", **more):
        """The only server of the domain: what an earlier scenario said about it is forgotten."""
        self.lab.dns.remove(domain)
        return Remote(self.lab, [domain], leaf=self.lab.certificates.leaf(domain, kind), **more)

    def connected(self, domain=FABRIKAM, kind="good", **more):
        """The same with one live stream to it."""
        remote = self.remote(domain, kind, **more)
        self.send_out(remote, domain)
        return remote

    def send_out(self, remote, domain=FABRIKAM):
        body = self.alice.new_id()
        self.alice.send_message(f"eve@{domain}", body)
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == body)

    def assert_refused_out(self, verdict, domain=FABRIKAM, kind="good", **more):
        remote, mark = self.remote(domain, kind, **more), self.edge.mark()
        condition, text, _ = outbound_error(self.alice, f"bob@{domain}")
        assert condition == "not-allowed" and text, (condition, text)
        refusal_logged(self.edge, "to", domain, f"certificate-{verdict}", mark)
        assert not remote.elements("message") and not remote.elements("auth") and not remote.elements("result")


def no_way_to(edge, domain, timeout=20):
    """Waits until no stream of the edge's leads to the domain: what it has sent there has come or come back, and what comes next takes a stream of its own.

    ejabberd opens, ends and forgets each in a process of its own, behind what its users are told; after a failure it returns everything for a second.
    Prosody does all that in the turn in which it is told."""
    if edge.host == "ejabberd":
        remote = f"<<{','.join(map(str, domain.encode()))}>>"
        wait_until(lambda: edge.evaluate(f"[Pid || {{s2s, {{_, To}}, Pid}} <- ets:tab2list(s2s), To =:= {remote}]") == "[]",
                   timeout, f"end of the streams to {domain}")


class Stream:
    """A partner's stream over which answers come back as well (XEP-0288); where the edge has no such thing (ejabberd 23.01), they come over a stream of its
    own, to a server of the domain. `leaf`: the domain that its certificate names, when it is spelled otherwise."""

    def __init__(self, lab, edge, domain, leaf=None):
        self.edge, self.domain = edge, domain
        self.remote, self.seen = None, {}
        certificate = lab.certificates.leaf(leaf or domain)
        if not getattr(edge, "bidi", True):
            name = domain.encode("idna").decode()       # in DNS there are A-labels only
            lab.dns.remove(name)
            self.remote = Remote(lab, [domain], leaf=certificate, register=False)
            lab.dns.server(name, self.remote.address)
        self.probe = Probe(edge.address, from_=domain, to=HOST, leaf=certificate)
        self.probe.secure()
        if self.remote is None:
            self.probe.send(f"<bidi xmlns='{BIDI}'/>")
        assert self.probe.external().name == "success"
        self.probe.features()
        if self.remote is not None:
            wait_until(self._is_answered, 20, f"stream of the edge's to {domain}", interval=0.2)

    def _is_answered(self):
        """A stream that has just ended may have left the edge in no hurry to open another; what it is to answer then is lost."""
        self.probe.send(f"<iq from='{self.domain}' to='{HOST}' id='first{next(_NUMBERS)}' type='get'>{PING}</iq>")
        return any((element.get("id") or "").startswith("first") for element in self.remote.elements())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.probe.close()
        if self.remote is not None:
            self.remote.close()
        no_way_to(self.edge, self.domain)       # or the next one's answers could take this one

    def ask(self, text):
        """All that has come by the time that a ping sent behind it is answered."""
        end = f"end{next(_NUMBERS)}"
        self.probe.send(text)
        self.probe.send(f"<iq from='{self.domain}' to='{HOST}' id='{end}' type='get'>{PING}</iq>")
        return self._over_its_own(end) if self.remote is not None else self._back(end)

    def _back(self, end):
        heard = []
        while True:
            element = self.probe.read(20)
            if element.get("id") == end:
                return heard
            heard.append(element)

    def _over_its_own(self, end):
        heard = []
        while True:
            for element in wait_until(self._next, 20, f"answer of the edge's to {self.domain}", interval=0.002):
                if element.get("id") == end:
                    return heard
                if element.name in ("message", "presence", "iq") and not (element.get("id") or "").startswith("first"):
                    heard.append(element)

    def _next(self):
        """What has come and has not been looked at, one at a time; each connection is one stream of the edge's."""
        for connection in list(self.remote.connections):
            seen = self.seen.get(connection, 0)
            if len(connection.elements) > seen:
                self.seen[connection] = seen + 1
                return [connection.elements[seen]]
        return None
