"""The mode "observe" of an ejabberd: whatever would be refused is told and counted, and passes; and the ways into the mode and out of it."""

import itertools
import re
import time

from lab.client import Client
from lab.lab import Skipped
from lab.probe import Probe, mechanisms
from lab.remote import Remote

from scenarios._edge import ALICE, HOST, configuration, edge_server, established, partner, tls_dialback

TIMEOUT = 90
FABRIKAM, WINGTIP, EVIL = "fabrikam.test", "wingtip.test", "evil.test"
OBSERVING = "OBSERVING: nothing is enforced"
_NAMES = (f"observing{number}" for number in itertools.count())
ENTRIES = (partner(FABRIKAM), tls_dialback(WINGTIP, partner_type="public_unverified"))


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("Prosody has scenarios of its own: observe, observe_classes")


class Scene:
    def __init__(self, lab, mode="observe"):
        self.lab = lab
        self.edge = edge_server(lab, configuration(*ENTRIES), users=[ALICE], modules=["http_openmetrics"], name=next(_NAMES))
        written = self.edge.config
        # While nothing is enforced it is ejabberd that offers TLS.
        self.edge.config = lambda: {**written(), "s2s_use_starttls": "optional"}
        self.mode(mode, start=True)
        self.edge.start()
        self.alice = Client(ALICE, self.edge.address)

    def mode(self, word, start=False, **more):
        """Written to the configuration, and reloaded."""
        self.edge.yaml = {"mode": word, **more} if word is not None else dict(more)
        if not start:
            self.edge.reload()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.alice.close()
        self.edge.stop()

    def probe(self, domain=EVIL, leaf="good"):
        return Probe(self.edge.address, from_=domain, to=HOST, leaf=self.lab.certificates.leaf(domain, leaf) if leaf else None)

    def passes(self, probe, domain=EVIL):
        body = f"from {domain} {time.monotonic()}"
        probe.message(f"eve@{domain}", ALICE, body)
        self.alice.wait_message(body)

    def is_open(self, domain=EVIL):
        with self.probe(domain) as probe:
            probe.authenticate()
            self.passes(probe, domain)

    def is_closed(self, domain=EVIL, reason="unlisted-domain"):
        with self.probe(domain) as probe:
            probe.open()
            probe.read_close("policy-violation", reason)


def scenario_strangers_pass_and_are_told(lab):
    with Scene(lab) as scene:
        mark = scene.edge.mark()
        assert "OBSERVING" in scene.edge.log_since(0)
        scene.is_open()
        scene.edge.wait_log(rf"Would refuse stream from {EVIL} \(host {HOST}, address [^)]*\): unlisted-domain: ", 5, mark)
        scene.edge.wait_log(rf"Would refuse a stanza from {EVIL} \(host {HOST}\): unlisted-domain: ", 5, mark)
        remote = Remote(lab, [EVIL], leaf=lab.certificates.leaf(EVIL))
        mark = scene.edge.mark()
        scene.alice.send_message(f"eve@{EVIL}", "out to a stranger")
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == "out to a stranger")
        scene.edge.wait_log(rf"Would refuse stream to {EVIL} \(.*\): unlisted-domain: ", 5, mark)
        scene.edge.wait_log(rf"Would refuse a stanza to {EVIL} \(host {HOST}\): unlisted-domain: ", 5, mark)
        assert "Refused " not in scene.edge.log_since(0)
        for name in ("list", "show", "check", "streams"):
            words = {"list": [""], "show": [FABRIKAM]}.get(name, [])
            assert scene.edge.command(f"s2s_partners_{name}", *words).startswith(f"{OBSERVING}\n"), name


def scenario_partners_are_judged(lab):
    """What conforms is established, what does not is told with its reason: method, certificate, partner type."""
    with Scene(lab) as scene:
        mark = scene.edge.mark()
        scene.is_open(FABRIKAM)
        established(scene.edge, "from", FABRIKAM, mark)
        assert "Would refuse" not in scene.edge.log_since(mark)
        with scene.probe(WINGTIP) as probe:     # its entry has no SASL; enforced, it would not be offered that
            assert "EXTERNAL" in mechanisms(probe.secure())
            assert probe.external().name == "success"
        remote = Remote(lab, [WINGTIP], leaf=lab.certificates.leaf(WINGTIP))
        scene.alice.send_message(f"eve@{WINGTIP}", "to somebody in no roster")
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == "to somebody in no roster")
        scene.edge.wait_log(rf"Would refuse a stanza to {WINGTIP} \(host {HOST}\): not-listed: ", 5, mark)
        scene.edge.wait_log(rf"Would refuse stream from {WINGTIP} \(.*\): (?:sasl-not-supported|dialback-not-allowed|no-method-left): ", 5, mark)


def scenario_enforced_and_back(lab):
    """The switch closes what came about while nothing was enforced; the other way nobody is closed, and guarded streams are let go."""
    with Scene(lab) as scene:
        with scene.probe(EVIL) as stranger, scene.probe(FABRIKAM) as known:
            for probe, domain in ((stranger, EVIL), (known, FABRIKAM)):
                probe.authenticate()
                scene.passes(probe, domain)
            mark = scene.edge.mark()
            scene.mode("enforce")
            scene.edge.wait_log("From now on the list of partners is enforced", 5, mark)
            stranger.read_close("policy-violation")
            scene.is_closed()
            assert OBSERVING not in scene.edge.command("s2s_partners_list", "")
        with scene.probe(FABRIKAM) as known:
            known.authenticate()
            scene.passes(known, FABRIKAM)
            mark = scene.edge.mark()
            scene.mode("observe")
            scene.edge.wait_log("From now on nothing is enforced", 5, mark)
            scene.passes(known, FABRIKAM)
            time.sleep(6)                       # over the time of its clock
            scene.passes(known, FABRIKAM)
            assert "Unexpected info" not in scene.edge.log_since(mark)
            scene.is_open()
            scene.mode("enforce")
            known.read_close("policy-violation")


def scenario_only_the_word_observes(lab):
    """Anything else is enforced, at the start; a reload with it is refused, and changes nothing."""
    for word in ("Observe", "observing", True, ["observe"], ""):
        with Scene(lab, word) as scene:
            scene.is_closed(reason="config-invalid")
            scene.edge.wait_log(r'error\ts2s_partners_mode: got .*must be "enforce" or "observe"', 5)
    with Scene(lab) as scene:
        scene.mode("observ")
        assert "must be" in scene.edge.answer, scene.edge.answer
        scene.is_open()
        scene.mode(None)                        # left out: enforced
        scene.is_closed()


def scenario_errors_stop_nothing(lab):
    """A list with errors refuses nothing at the start; enforced, it refuses everything."""
    bad = [{"domain": FABRIKAM, "partner_type": "friendly"}]
    with Scene(lab) as scene:
        scene.edge.stop()
        scene.mode("observe", start=True, partners=bad)
        mark = scene.edge.mark()
        scene.edge.start()
        scene.alice.close()
        scene.alice = Client(ALICE, scene.edge.address)
        scene.edge.wait_log("Nothing is judged by what is on disk, which has errors", 5, mark)
        scene.is_open()
        scene.edge.wait_log(rf"Would refuse stream from {EVIL} \(.*\): config-invalid: ", 5, mark)
        assert re.search(r"NOT in force", scene.edge.command("s2s_partners_list", ""))


def scenario_numbers(lab):
    with Scene(lab) as scene:
        scene.is_open()
        text = scene.edge.evaluate("s2s_partners_metrics:text(erlang:system_time(second))")
        for row in (r"^s2s_partners_observing 1$",
                    rf'^s2s_partners_decisions_total\{{host="{HOST}",partner="unlisted",direction="in",decision="would-refuse",reason="unlisted-domain"\}} [2-9]'):
            assert re.search(row, text, re.MULTILINE), text
        assert 'decision="refuse"' not in text
