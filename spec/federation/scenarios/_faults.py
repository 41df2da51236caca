"""What the scenarios about faults share: an edge that is impatient, and what must be left when a fault is over: nothing."""

import re

from fedlab.waiting import wait_until

from scenarios._edge import HOST, configuration, edge_server

IMPATIENT = {"establishment_timeout": 2, "inactivity_timeout": 3}
UNREACHABLE = ("remote-server-timeout", "remote-server-not-found")
PING = "<ping xmlns='urn:xmpp:ping'/>"


def impatient_edge(lab, *entries, name="edge", limits=None, **more):
    """Not yet started."""
    more["modules"] = ["lab_measure", *more.get("modules", ())]
    return edge_server(lab, configuration(*entries, s2s_partners_limits=limits or IMPATIENT), name=name,
                       **{"s2s_timeout": 60, **more})


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


def settle(client):
    """What was sent until now has been judged."""
    client.iq(HOST, PING)
