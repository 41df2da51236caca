"""The first message over two new legs: a partner opens a stream to the edge (TLS, SASL EXTERNAL) and sends a message, for which the edge opens one to
the server inside; and the other way round. From the sender's first packet to the recipient's socket, by the clock, and the CPU time of the edge.

All servers have Prosody's own network settings (Nagle's algorithm on). The partner is an ordinary peer; the server inside is a Prosody without the module."""

import statistics
import time

from lab.dns import Dns
from lab.lab import Lab
from lab.probe import Probe
from lab.prosody import Prosody
from lab.xmlstream import client_context
from loads import BODY, User
from pace import STOCK, Partner
from servers import Counted, circumstances
from variants import ALICE, BOB, LOCAL, REMOTE, relay

# name: (title, keys of s2s_inside, options of the server inside)
LEGS = {
    "plain": ("dialback without TLS", 'tls = "not_supported"; sasl = "not_supported"; dialback = true',
              "s2s_require_encryption = false; s2s_secure_auth = false; modules_disabled = { 's2s_bidi' }"),
    "dialback": ("dialback over TLS", 'sasl = "not_supported"; dialback = true', "s2s_secure_auth = false"),
    "external": ("SASL EXTERNAL", 'sasl = "required"; trust_anchors = "%(trust)s"; certificate = { certificate = "%(leaf)s"; key = "%(key)s" }',
                 "s2s_secure_auth = true"),
}
MESSAGES = 8        # in a round


class Ready(Probe):
    """Has read its certificate and key before, as a server has."""

    def __init__(self, context, *where, **more):
        self.context = context
        super().__init__(*where, **more)

    def _handshake(self, protocols=None):
        self.start_tls(self.context, name=self.to)


class Way:
    """One edge with a server inside of its own."""

    def __init__(self, lab, number, name, partner, leaf, options, version):
        self.lab, self.partner, self.context = lab, partner, client_context(leaf)
        _, keys, more = LEGS[name]
        view = Dns(lab, address=f"127.0.53.{100 + number}", name=f"view{number}")
        inner, inside = lab.address(), lab.address()
        view.server(REMOTE, inner)
        shown = lab.certificates.leaf(REMOTE, label="shown-inside", to=300)
        keys %= {"trust": lab.certificates.trust, "leaf": shown.certificate, "key": shown.key} if "%(" in keys else {}
        self.edge = Counted(lab, "bare", False, version, options.build, more=STOCK, **relay(10, inside, inner, keys)).start(timeout=100)
        self.inside = Prosody(lab, f"inside{number}", [LOCAL], users=[ALICE], register=False, address=inside, version=version, log_level="info",
                              modules=["dialback"], s2s_timeout=120, options=f'{STOCK}{more}\nunbound = {{ resolvconf = false; hoststxt = false; '
                              f'forward = "{view.address}@{view.port}"; options = {{ ["local-zone:"] = "test. transparent" }} }}\n').start(timeout=100)
        self.user = User(self.inside)

    def _ended(self, side, mark, pattern):
        side.wait_log(pattern, 60, mark)

    def inward(self):
        """Seconds."""
        begun = time.monotonic()
        with Ready(self.context, self.edge.address, from_=REMOTE, to=LOCAL, timeout=60) as stream:
            stream.authenticate()
            proven = time.monotonic()
            stream.send(f"<message from='{BOB}/home' to='{ALICE}/a' type='chat' id='m1'>{BODY}</message>")
            self.user.read_until("message")
            arrived = time.monotonic()
            stream.send("</stream:stream>")
        self.close_inside()
        return arrived - begun, arrived - proven

    def outward(self):
        begun = time.monotonic()
        self.user.send(f"<message to='{BOB}/home' type='chat' id='m1'>{BODY}</message>")
        accepted, arrived = self.partner.taken.get(timeout=60)
        self.close_inside()
        return arrived - begun, arrived - accepted

    def close_inside(self):
        """Every stream between edge and inside ends."""
        self.inside.shell("s2s:closeall()")
        time.sleep(0.2)


def measure(version, options):
    result = {}
    with Lab(version=version) as lab:
        leaf = lab.certificates.leaf(REMOTE, label="long", to=300)
        partner = Partner(lab, leaf, False)
        ways = {name: Way(lab, number, name, partner, leaf, options, version) for number, name in enumerate(LEGS, 1)}
        taken, spent = {}, {}
        for turn in range(options.rounds + 1):
            for name, way in ways.items():
                for direction in ("inward", "outward"):
                    before = way.edge.spent()
                    found = [getattr(way, direction)() for _ in range(MESSAGES if turn else 1)]
                    if turn:        # the first only warms up
                        taken.setdefault((name, direction), []).extend(found)
                        spent.setdefault((name, direction), []).append((way.edge.spent() - before) / len(found))
        for (name, direction), times in taken.items():
            whole = sorted(time for time, _ in times)
            figures = {"median": statistics.median(whole) * 1000, "low": whole[0] * 1000, "high": whole[-1] * 1000,
                       "second": statistics.median(time for _, time in times) * 1000, "cpu": statistics.median(spent[name, direction]),
                       "times": len(whole), **circumstances()}
            result.setdefault(name, {})[direction] = figures
            print(f"first      {version:5} {LEGS[name][0]:24} {direction:8} median {figures['median']:6.1f} ms ({figures['low']:.1f} to "
                  f"{figures['high']:.1f}), of it behind the first leg {figures['second']:.1f}; {figures['cpu']:.0f} us of the edge's CPU", flush=True)
    return result
