"""What the scenarios about faults share: an edge that is impatient, and what must be left when a fault is over: nothing."""

import contextlib
import re

from lab.waiting import wait_until

from scenarios._edge import configuration, edge_server

IMPATIENT = {"establishment_timeout": 2, "inactivity_timeout": 3}
PATIENT = {"establishment_timeout": 50, "inactivity_timeout": 50}
UNREACHABLE = ("remote-server-timeout", "remote-server-not-found")


def impatient_edge(lab, *entries, name="edge", limits=None, **more):
    """Not yet started."""
    more["modules"] = ["lab_measure", *more.get("modules", ())]
    edge = edge_server(lab, configuration(*entries, s2s_partners_limits=limits or IMPATIENT), name=name,
                       **{"s2s_timeout": 60, **more})
    edge.when_patient = configuration(*entries, s2s_partners_limits=PATIENT)
    return edge


@contextlib.contextmanager
def patient(edge):
    """Time-outs are for faults. What works again has to arrive, however long a busy machine takes to open thirty streams at once."""
    edge.partners, impatient = edge.when_patient, edge.partners
    edge.reload()
    try:
        yield
    finally:
        edge.partners = impatient
        edge.reload()


def streams(edge):
    """{s2sin, s2sout, places, waiting, ...} as the edge counts them."""
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", edge.shell("> prosody.lab_measure()"))}


def nothing_left(edge, timeout=20, **others):
    """No stream, no place, nobody in the waiting room; or as many as said."""
    wanted = {"s2sin": 0, "s2sout": 0, "places": 0, "waiting": 0, **others}
    seen = {}

    def level():
        found = streams(edge)
        seen.update({name: found.get(name) for name in wanted})
        return seen == wanted
    try:
        wait_until(level, timeout, "end of all streams", interval=0.2)
    except TimeoutError:
        raise AssertionError(f"left behind: {seen}, wanted {wanted}") from None


def bodies(remote):
    return [element.find("body").text for element in remote.elements("message") if element.find("body")]


def send_each(client, domains, prefix):
    """{domain: id} of a message to bob at each, whose body is PREFIX DOMAIN."""
    return {domain: client.send_message(f"bob@{domain}", f"{prefix} {domain}") for domain in domains}


class Numbered:
    """Messages from one client to another, each with its number; what became of each."""

    def __init__(self, name, sender, to):
        self.name, self.sender, self.to = name, sender, to
        self.sent = []

    def send(self):
        body = f"{self.name} {len(self.sent)}"
        self.sent.append(self.sender.send_message(self.to, body, id_=body.replace(" ", "-")))

    def came(self, stanzas):
        """Those among the stanzas, in order."""
        return [stanza.get("id") for stanza in stanzas if stanza.name == "message" and stanza.get("type") != "error" and
                stanza.get("id") in self.sent]

    def early(self, received):
        """Those that came before one that was sent earlier."""
        numbers = [self.sent.index(id_) for id_ in self.came(received)]
        return [number for number, later in zip(numbers, numbers[1:]) if later < number]

    def fates(self, received, returned):
        """A letter for each message: delivered, returned, lost. Fails when one came twice, or came and was returned too."""
        came = self.came(received)
        back = {stanza.get("id") for stanza in returned if stanza.get("type") == "error"}
        assert len(set(came)) == len(came), f"{self.name}: twice: {[id_ for id_ in came if came.count(id_) > 1][:5]}"
        assert not back & set(came), f"{self.name}: delivered and returned: {sorted(back & set(came))[:5]}"
        return "".join("d" if id_ in came else "r" if id_ in back else "l" for id_ in self.sent)


def losses(fates):
    """How many times in a row something was lost."""
    return len(re.findall("l+", fates))


def in_short(fates):
    return " ".join(f"{len(run[0])}{run[1]}" for run in re.finditer(r"(.)\1*", fates))
