"""Two edges for one domain, behind SRV records, with the same partner list and the same dialback_secret.

The partners look contoso.test up and find the first edge (priority 0), the second (10) when that one is not there. So whatever
the second edge sends by dialback is verified at the first one. docs/multi-edge.md is about this."""

from dataclasses import dataclass

from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.waiting import port_open, wait_until

from scenarios._edge import (ALICE, HOST, assert_not_established, configuration, edge_server, established, outbound_error,
                             partner, refused, tcp_dialback, tls_dialback)

TIMEOUT = 90
SECRET = 'dialback_secret = "the same on every edge"\n'
LIST = configuration(partner("fabrikam.test"), tls_dialback("northwind.test"), tcp_dialback("wingtip.test"))
PRESETS = {"fabrikam.test": "external", "northwind.test": "tls-dialback", "wingtip.test": "tcp-dialback"}
METHODS = {"fabrikam.test": "SASL EXTERNAL", "northwind.test": "TLS dialback", "wingtip.test": "TCP dialback"}


@dataclass
class Site:
    lab: object
    first: Prosody
    second: Prosody
    partners: dict      # domain -> Prosody

    def edge(self, name, options, partners=LIST):
        """One more edge, that DNS does not name."""
        return edge_server(self.lab, partners, name=name, register=False, options=options).start()


def setup(lab):
    edges = []
    for priority, name in ((0, "first"), (10, "second")):
        edge = edge_server(lab, LIST, name=name, register=False, options=SECRET)
        lab.dns.record(f"_xmpp-server._tcp.{HOST}. 0 IN SRV {priority} 0 5269 {name}.edges.test.")
        lab.dns.record(f"{name}.edges.test. 0 IN A {edge.address}")
        edges.append(edge.start())
    partners = {domain: Prosody(lab, domain.partition(".")[0], [domain], users=[f"bob@{domain}"], preset=preset).start()
                for domain, preset in PRESETS.items()}
    return Site(lab, *edges, partners)


def send(sender_jid, sender, receiver_jid, receiver):
    """A message from a user of one server to a user of another."""
    with Client(sender_jid, sender.address) as one, Client(receiver_jid, receiver.address) as other:
        body = one.new_id() + " from " + sender.name
        one.send_message(receiver_jid, body)
        other.wait_message(body, 20)


def out_of(domain, edge_name):
    """The edge sends, and the partner asks the first edge about the key."""
    def scenario(site):
        edge, mark, asked = getattr(site, edge_name), getattr(site, edge_name).mark(), site.first.mark()
        send(ALICE, edge, f"bob@{domain}", site.partners[domain])
        assert established(edge, "to", domain, mark)[:2] == (domain, METHODS[domain])
        if "dialback" in METHODS[domain]:
            site.first.wait_log("verifying that dialback key is ours", 5, asked)
    return scenario


def into_first(domain):
    def scenario(site):
        send(f"bob@{domain}", site.partners[domain], ALICE, site.first)
        # Perhaps the stream that the partner has opened before, to ask about a key.
        assert established(site.first, "from", domain, 0)[:2] == (domain, METHODS[domain])
    return scenario


def another_secret_does_not_pass(site):
    """An edge that was forgotten when the secret was changed: its keys are not known at the edge that is asked."""
    other = site.edge("forgotten", 'dialback_secret = "the old one"')
    try:
        mark = other.mark()
        with Client(ALICE, other.address) as alice:
            outbound_error(alice, "bob@northwind.test", 30)
        assert_not_established(other, "northwind.test", mark)
        # SASL does not depend on it.
        send(ALICE, other, "bob@fabrikam.test", site.partners["fabrikam.test"])
    finally:
        other.stop()


def verified_only_for_whom_dialback_is_a_method(site):
    """The key of another edge is no way round the list: each edge answers by its own."""
    with Probe(site.first.address, from_="fabrikam.test", to=HOST, leaf=site.lab.certificates.leaf("fabrikam.test")) as probe:
        probe.authenticate()
        try:
            assert probe.verify("0123", "some-id", 2) != "valid"
        except TimeoutError:
            pass        # no answer is none
    with Probe(site.first.address, from_="evil.test", to=HOST) as probe:
        probe.open()
        refused(probe, "unlisted-domain")


def each_edge_has_the_list_that_it_has_read(site):
    """A change that has reached one edge only holds there only."""
    site.second.partners = configuration(tls_dialback("northwind.test"))
    site.second.reload()
    try:
        with Client(ALICE, site.second.address) as alice:
            assert outbound_error(alice, "bob@fabrikam.test")[0] == "not-allowed"
        send(ALICE, site.first, "bob@fabrikam.test", site.partners["fabrikam.test"])
    finally:
        site.second.partners = LIST
        site.second.reload()
    send(ALICE, site.second, "bob@fabrikam.test", site.partners["fabrikam.test"])


def the_first_edge_is_gone(site):
    """Partners go on to the second, both ways, dialback included."""
    site.first.stop()
    try:
        for domain, server in site.partners.items():
            # What they still have in hand of the first edge ends with it.
            wait_until(lambda: site.first.address not in server.shell('s2s:show(nil, "dir ip")'), 20, "the streams' end")
            mark = site.second.mark()
            send(f"bob@{domain}", server, ALICE, site.second)
            established(site.second, "from", domain, mark)
            send(ALICE, site.second, f"bob@{domain}", server)
    finally:
        site.first.start()


def the_first_edge_is_back(site):
    """And nothing has to be carried over to it."""
    for domain, server in site.partners.items():
        send(ALICE, site.first, f"bob@{domain}", server)


def scenarios():
    """In this order: a partner keeps the stream that it has, so the edges come and go at the end."""
    for domain, method in METHODS.items():
        for edge in ("first", "second"):
            yield f"out_of_{edge}_{method.replace(' ', '_')}", out_of(domain, edge)
        yield f"into_first_{method.replace(' ', '_')}", into_first(domain)
    for function in (another_secret_does_not_pass, verified_only_for_whom_dialback_is_a_method,
                     each_edge_has_the_list_that_it_has_read, the_first_edge_is_gone, the_first_edge_is_back):
        yield function.__name__, function
