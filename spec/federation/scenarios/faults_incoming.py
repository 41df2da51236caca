"""A partner that dies, or falls silent, at each stage of a stream that it opens to us; and the authority for a key that does so."""

import contextlib
import ssl
import threading

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote, drop, reset, silence
from lab.xmlstream import SASL as SASL_XMLNS
from lab.xmlstream import TLS as TLS_XMLNS
from lab.xmlstream import Closed, client_context

from scenarios._edge import ALICE, HOST, heard, partner, tcp_dialback, tls_dialback
from scenarios._faults import impatient_edge, nothing_left, patient, streams

FABRIKAM, KEYS, PLAIN = "fabrikam.test", "keys.test", "plain.test"
ACTIONS = {"drop": drop, "reset": reset, "silent": silence}
OPENING = ("connected", "tcp opened", "tcp header", "tcp features")
VERIFYING = {
    KEYS: (*OPENING, "starttls", "proceed", "hello", "half", "tls opened", "tls header", "tls features", "verify"),
    PLAIN: (*OPENING, "verify"),
}
AUTH = f"<auth xmlns='{SASL_XMLNS}' mechanism='EXTERNAL'>=</auth>"
HALF_A_STANZA = f"<message from='bob@{FABRIKAM}' to='{ALICE}' type='chat'><body>half a"


def setup(lab):
    lab.edge = impatient_edge(lab, partner(FABRIKAM), tls_dialback(KEYS, f"*.{KEYS}"), tcp_dialback(PLAIN, f"*.{PLAIN}")).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    return lab


def in_handshake(probe):
    """STARTTLS agreed upon, and a ClientHello cut in the middle."""
    probe.features()
    probe.send(f"<starttls xmlns='{TLS_XMLNS}'/>")
    probe.read_until("proceed")
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = client_context(None).wrap_bio(theirs, ours, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    probe.send(ours.read(ours.pending // 2))


STAGES = {
    "connected": lambda probe: None,
    "opened": lambda probe: (probe.open(), probe.read_header()),
    "features": lambda probe: probe.features(),
    "starttls": lambda probe: (probe.features(), probe.send(f"<starttls xmlns='{TLS_XMLNS}'/>")),
    "handshake": in_handshake,
    "tls": lambda probe: (probe.features(), probe.starttls()),
    "tls opened": lambda probe: (probe.features(), probe.starttls(), probe.open()),
    "tls features": lambda probe: probe.secure(),
    "auth": lambda probe: (probe.secure(), probe.send(AUTH)),
    "success": lambda probe: (probe.secure(), probe.external()),
    "done opened": lambda probe: (probe.secure(), probe.external(), probe.open()),
    "established": lambda probe: probe.authenticate(),
    "half a stanza": lambda probe: (probe.authenticate(), probe.send(HALF_A_STANZA)),
}


def probe(lab, domain=FABRIKAM):
    return Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain))


def still_works(lab, body):
    with patient(lab.edge), probe(lab) as partner_again:
        partner_again.authenticate()
        partner_again.message(f"bob@{FABRIKAM}", ALICE, body)
        lab.alice.wait_message(body)


def scenario_gone_at_each_stage(lab):
    mark = lab.alice.mark()
    with patient(lab.edge):
        for action in (drop, reset):
            for reach in STAGES.values():
                with probe(lab) as dying:
                    reach(dying)
                    with contextlib.suppress(Closed):
                        action(dying)
    nothing_left(lab.edge)
    assert heard(lab.alice, mark) == []
    still_works(lab, "after all that")


def scenario_silent_at_each_stage(lab):
    """Each is closed by us: by the establishment time-out, and by that for idleness once established."""
    mark = lab.alice.mark()
    with contextlib.ExitStack() as held:
        silent = {}
        with patient(lab.edge):     # until all are where they are to fall silent
            for stage, reach in STAGES.items():
                silent[stage] = held.enter_context(probe(lab))
                reach(silent[stage])
            found = streams(lab.edge)
            # The one that has only connected has a place among those that wait, and a session with its first bytes.
            # On ejabberd each connection is a stream.
            assert found["s2sin"] == len(STAGES) - (lab.edge.host == "prosody") and found["waiting"] >= 1, found
        nothing_left(lab.edge)
        for stage, one in silent.items():
            error = one.read_close()
            # In a handshake there is nothing that could be said.
            assert stage in ("starttls", "handshake", "tls") or error.condition == "connection-timeout", (stage, error)
    assert heard(lab.alice, mark) == []
    still_works(lab, "after all the silence")


def verifying(action):
    """The domain's own server dies while we ask it about a key: the key is not good, and the next one is asked about anew."""
    def scenario(lab):
        remotes = {}
        for parent, stages in VERIFYING.items():
            leaf = lab.certificates.leaf(parent, also=[f"*.{parent}"]) if parent == KEYS else None
            for stage in stages:
                domain = f"{action}-{stage.replace(' ', '-')}.{parent}"
                remotes[domain] = Remote(lab, [domain], leaf=leaf, fault=(stage, ACTIONS[action]))
        mark, failures = lab.alice.mark(), []
        threads = [threading.Thread(target=ask, args=[lab, domain, failures]) for domain in remotes]
        with patient(lab.edge):     # until all have got to their stages
            for thread in threads:
                thread.start()
            for domain, remote in remotes.items():
                assert remote.struck.wait(20), f"{domain}: {remote.elements()}, {failures}"
        for thread in threads:
            thread.join(60)
        assert not failures, failures
        nothing_left(lab.edge)
        assert heard(lab.alice, mark) == []
        with patient(lab.edge):
            for domain, remote in remotes.items():
                remote.heal()
                with key(lab, domain) as again:
                    assert again.dialback() == "valid"
                    again.message(f"bob@{domain}", ALICE, f"good key of {domain}")
                    lab.alice.wait_message(f"good key of {domain}")
                remote.hang_up()
        nothing_left(lab.edge)
    return scenario


def key(lab, domain):
    """A probe that has come as far as it may send its key."""
    parent = domain.partition(".")[2]
    asking = Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(parent, also=[f"*.{parent}"]), timeout=15)
    asking.secure() if parent == KEYS else asking.features()
    return asking


def ask(lab, domain, failures):
    """Its key is never taken for valid, and a stanza sent with it goes nowhere."""
    try:
        with key(lab, domain) as asking:
            answer = asking.dialback(timeout=40)
            if answer == "valid":
                failures.append(f"{domain}: valid")
            asking.message(f"bob@{domain}", ALICE, f"stolen by {domain}")
            asking.read_close(timeout=40)
    except Closed:
        pass
    except Exception as problem:
        failures.append(f"{domain}: {problem!r}")


def scenarios():
    for action in ACTIONS:
        yield f"authority_{action}", verifying(action)
