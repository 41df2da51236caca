"""A partner that dies, or falls silent, at each stage of a stream that we open to it.

Every stage is tried with every fault at once, each with a domain of its own; then all are healed and tried again."""

from lab.client import Client
from lab.remote import Remote, drop, reset, silence

from scenarios._edge import ALICE, partner, tcp_dialback, tls_dialback
from scenarios._faults import UNREACHABLE, bodies, impatient_edge, nothing_left, patient, send_each

TIMEOUT = 120
SASL, TLS, TCP = "sasl.test", "tls.test", "tcp.test"
ACTIONS = {"drop": drop, "reset": reset, "silent": silence}
OPENING = ("connected", "tcp opened", "tcp header", "tcp features")
HANDSHAKE = ("starttls", "proceed", "hello", "half", "tls opened", "tls header", "tls features")
STAGES = {
    SASL: (*OPENING, *HANDSHAKE, "auth", "success", "done opened"),
    TLS: (*OPENING, *HANDSHAKE, "result"),
    TCP: (*OPENING, "result"),
}


def setup(lab):
    entries = (partner(SASL, f"*.{SASL}"), tls_dialback(TLS, f"*.{TLS}"), tcp_dialback(TCP, f"*.{TCP}"))
    lab.edge = impatient_edge(lab, *entries).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    return lab


def faulty(lab, parent, stages, action, name=None):
    """{domain: Remote}, one for each stage."""
    leaf = lab.certificates.leaf(parent, also=[f"*.{parent}"])
    remotes = {}
    for stage in stages:
        domain = f"{name or action}-{stage.replace(' ', '-')}.{parent}"
        remotes[domain] = Remote(lab, [domain], leaf=leaf if parent != TCP else None, fault=(stage, ACTIONS[action]))
    return remotes


def told(lab, sent):
    """Each sender gets an error, of the kind that says: not reachable."""
    for domain, id_ in sent.items():
        condition, text, kind = lab.alice.wait_error(id_)
        assert condition in UNREACHABLE, (domain, condition, text, kind)


def everywhere(action):
    def scenario(lab):
        remotes = {}
        for parent, stages in STAGES.items():
            remotes |= faulty(lab, parent, stages, action)
        # At a reload core writes what waits into a stream that is authenticated and no more; then it is lost with that.
        late = [domain for domain, remote in remotes.items() if remote.fault[0] in ("success", "done opened")]
        with patient(lab.edge):     # until all the others have got to their stages
            sent = send_each(lab.alice, [domain for domain in remotes if domain not in late], "lost")
            for domain in sent:
                assert remotes[domain].struck.wait(20), f"{domain}: {remotes[domain].elements()}"
        told(lab, sent | send_each(lab.alice, late, "lost"))
        nothing_left(lab.edge)
        for domain, remote in remotes.items():
            assert remote.connections and not bodies(remote), (domain, bodies(remote))
            remote.heal()
        arrive(lab, remotes)
        nothing_left(lab.edge)
    return scenario


def arrive(lab, remotes):
    """The next attempt works, once."""
    with patient(lab.edge):
        send_each(lab.alice, remotes, "arrives")
        for domain, remote in remotes.items():
            remote.wait_element("message", timeout=40)
            assert bodies(remote) == [f"arrives {domain}"], bodies(remote)
            remote.hang_up()


def scenarios():
    for action in ACTIONS:
        yield f"{action}_at_each_stage", everywhere(action)


def scenario_again_and_again(lab):
    """A partner that never gets further: each sender is told, nothing adds up."""
    remotes = faulty(lab, SASL, ("tls features", "auth", "success"), "drop", "again")
    for number in range(8):
        told(lab, send_each(lab.alice, remotes, f"lost {number}"))
    nothing_left(lab.edge)
    for remote in remotes.values():
        remote.heal()
    arrive(lab, remotes)


def scenario_established_then_gone(lab):
    """What comes after the end goes over a new stream."""
    remotes = faulty(lab, SASL, ["stanza"], "drop") | faulty(lab, SASL, ["stanza"], "reset")
    with patient(lab.edge):
        send_each(lab.alice, remotes, "first")
        for remote in remotes.values():
            remote.wait_element("message")
        nothing_left(lab.edge)
        send_each(lab.alice, remotes, "second")
        for domain, remote in remotes.items():
            remote.wait_element(lambda element, domain=domain: element.find("body").text == f"second {domain}"
                                if element.name == "message" else False)
            assert bodies(remote) == [f"first {domain}", f"second {domain}"], bodies(remote)
            assert len(remote.connections) == 2
            remote.heal()
    nothing_left(lab.edge)
