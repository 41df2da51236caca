"""proxy: where a partner's server is found without asking DNS for it."""

import socket
import threading
import time

from lab.client import Client
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios._edge import (ALICE, HOST, any_method, configuration, edge_server, established, outbound_error, partner,
                             refusal_logged)
from scenarios._scene import no_way_to

TIMEOUT = 60
NAMED, DEFAULT_PORT, LITERAL, WRONG, DIRECT, GONE = (
    f"{name}.test" for name in ("named", "defaultport", "literal", "wrong", "direct", "gone"))
PORT = 5777


def setup(lab):
    lab.proxies = {domain: lab.address() for domain in (NAMED, DEFAULT_PORT, LITERAL, WRONG, DIRECT, GONE)}
    for domain, address in lab.proxies.items():
        lab.dns.server("x", address, target=f"edge.{domain}", srv=False)
    entries = [
        partner(NAMED, "sub." + NAMED, proxy=f"edge.{NAMED}:{PORT}"),
        any_method(DEFAULT_PORT, proxy=f"edge.{DEFAULT_PORT}"),
        partner(LITERAL, proxy=f"{lab.proxies[LITERAL]}:{PORT}"),
        partner(WRONG, proxy=f"edge.{WRONG}:{PORT}"),
        partner(DIRECT, proxy=f"edge.{DIRECT}:{PORT}"),
        partner(GONE, proxy="nowhere.test"),
        partner("plain.test"),
    ]
    # Direct TLS is what core tries first where the host has a certificate.
    lab.edge = edge_server(lab, configuration(*entries), direct_tls=True).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    return lab


def behind_proxy(lab, domain, port=PORT, **more):
    more.setdefault("leaf", lab.certificates.leaf(domain))
    return Remote(lab, [domain], address=lab.proxies[domain.removeprefix("sub.")], port=port, register=False, **more)


def delivered(lab, remote, domain):
    body, mark = lab.alice.new_id(), lab.edge.mark()
    lab.alice.send_message(f"bob@{domain}", body)
    remote.wait_element(lambda element: element.name == "message" and element.find("body").text == body)
    return mark


def assert_only_the_proxy_was_asked_for(lab, domain, mark):
    asked = [query for query in lab.dns.queries(mark) if query[0].endswith(domain)]
    assert not any(kind == "SRV" for _, kind in asked), asked
    assert all(name == f"edge.{domain}" for name, _ in asked), asked


def scenario_by_name_and_port(lab):
    mark = lab.dns.mark()
    remote = behind_proxy(lab, NAMED)
    log = delivered(lab, remote, NAMED)
    established(lab.edge, "to", NAMED, log)
    assert_only_the_proxy_was_asked_for(lab, NAMED, mark)
    assert len(remote.connections) == 1


def scenario_additional_domain(lab):
    """A stream of its own, to the same place, with a certificate for that domain."""
    remote = next(remote for remote in lab.remotes if remote.domains == [NAMED])
    remote.leaf = lab.certificates.leaf("sub." + NAMED)
    mark = lab.dns.mark()
    delivered(lab, remote, "sub." + NAMED)
    assert_only_the_proxy_was_asked_for(lab, NAMED, mark)


def scenario_by_name_alone(lab):
    """Port 5269; dialback through the proxy as well."""
    mark = lab.dns.mark()
    remote = behind_proxy(lab, DEFAULT_PORT, 5269, leaf=None)
    log = delivered(lab, remote, DEFAULT_PORT)
    assert established(lab.edge, "to", DEFAULT_PORT, log)[1] == "TCP dialback"
    assert_only_the_proxy_was_asked_for(lab, DEFAULT_PORT, mark)


def scenario_by_address(lab):
    mark = lab.dns.mark()
    remote = behind_proxy(lab, LITERAL, timeout=60)     # it is not to hang up before the reload below
    delivered(lab, remote, LITERAL)
    assert not lab.dns.asked(LITERAL, mark)


def scenario_certificate_is_the_domains(lab):
    """That of the proxy's own name is not enough."""
    remote = behind_proxy(lab, WRONG, leaf=lab.certificates.leaf(f"edge.{WRONG}"))
    mark = lab.edge.mark()
    assert outbound_error(lab.alice, f"bob@{WRONG}")[0] == "not-allowed"
    refusal_logged(lab.edge, "to", WRONG, "certificate-identity-mismatch", mark)
    assert not remote.elements("message")


def scenario_no_direct_tls(lab):
    """The first byte is a stream header, whatever DNS says about direct TLS."""
    address = lab.proxies[DIRECT]
    lab.dns.record(f"_xmpps-server._tcp.{DIRECT}. 0 IN SRV 0 0 {PORT} edge.{DIRECT}.")
    lab.dns.record(f"_xmpp-server._tcp.{DIRECT}. 0 IN SRV 0 0 {PORT + 1} edge.{DIRECT}.")
    first = []

    def accept(listener):
        sock, _ = listener.accept()
        with sock:
            first.append(sock.recv(16))

    with socket.create_server((address, PORT)) as listener:
        threading.Thread(target=accept, args=[listener], daemon=True).start()
        lab.alice.send_message(f"bob@{DIRECT}")
        wait_until(lambda: first, 10, "connection to the proxy")
        assert first[0].startswith(b"<?xml"), first


def scenario_unknown_proxy(lab):
    assert outbound_error(lab.alice, f"bob@{GONE}")[0] in ("remote-server-not-found", "remote-server-timeout")


def scenario_others_are_not_affected(lab):
    """A partner without one is looked up as ever, also right behind one with a proxy."""
    remote = Remote(lab, ["plain.test"], leaf=lab.certificates.leaf("plain.test"))
    mark = lab.dns.mark()
    lab.alice.send_message(f"bob@{GONE}")
    delivered(lab, remote, "plain.test")
    assert ("_xmpp-server._tcp.plain.test", "SRV") in lab.dns.queries(mark)
    lab.alice.send_message(f"bob@{GONE}")
    time.sleep(0.2)


def scenario_reload_of_the_proxy(lab):
    """Streams that live go on; the next one takes the new way."""
    old = next(remote for remote in lab.remotes if remote.domains == [LITERAL])
    lab.edge.partners = lab.edge.partners.replace(f"{lab.proxies[LITERAL]}:{PORT}", f"{lab.proxies[LITERAL]}:{PORT + 1}")
    lab.edge.reload()
    delivered(lab, old, LITERAL)
    assert len(old.connections) == 1
    new = behind_proxy(lab, LITERAL, PORT + 1)
    mark = lab.edge.mark()
    old.connections[0].socket.shutdown(socket.SHUT_RDWR)
    # What the edge sends before it knows of the end is lost.
    if lab.edge.host == "prosody":
        lab.edge.wait_log(rf"s2s disconnected: {HOST}->{LITERAL} ", mark=mark)
    no_way_to(lab.edge, LITERAL)
    delivered(lab, new, LITERAL)
