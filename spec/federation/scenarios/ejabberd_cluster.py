"""Nodes of ejabberd that are one server: limits that hold for all of them, stanzas that leave through another node's stream, what each
node shows, and nodes that are killed, that lose one another, and that run another version of the module.

Three nodes, a, b and c, and a user on each. In this order: c is killed, a and b are cut apart, then exchanged one after the other."""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess
import time
import urllib.request
from dataclasses import dataclass

from lab.client import Client
from lab.edge_ejabberd import HTTP_PORT, Cluster, beams_under_test
from lab.lab import Skipped
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import Closed

from scenarios._edge import configuration, partner, refused

HOST = "contoso.test"
ALICE, CAROL, DAVE, INTERN = (f"{user}@{HOST}" for user in ("alice", "carol", "dave", "intern"))
FABRIKAM, NORTHWIND, WINGTIP, WOODGROVE, PINGED, LONELY, EXTRA, EVIL = (
    f"{name}.test" for name in ("fabrikam", "northwind", "wingtip", "woodgrove", "pinged", "lonely", "extra", "evil"))
LIMIT = 3
ENTRIES = [partner(FABRIKAM), partner(NORTHWIND, connection_limit=LIMIT), partner(WINGTIP, partner_type="public_unverified"),
           partner(WOODGROVE), partner(PINGED, keepalive=True), partner(LONELY, connection_limit=1)]
# The interval is also as long as a ping is waited for.
OPTIONS = {"s2s_partners_limits": {"keepalive_interval": 4, "connections": 1000},
           "s2s_partners_external_access": {"default": "allow", "users": {"intern": "deny"}}}
TIMEOUT = 90
AGAIN = 10
NUMBERS = itertools.count()
PROTOCOL = "-define(VERSION, 1)."


@dataclass
class Site:
    lab: object
    cluster: Cluster
    alice: Client       # at a
    carol: Client       # at b
    dave: Client        # at c
    remotes: dict       # domain -> Remote

    def probe(self, node, domain):
        return Probe(node.address, from_=domain, to=HOST, leaf=self.lab.certificates.leaf(domain))

    def stream(self, node, domain):
        """One more stream of the partner's to that node, which is to be taken."""
        probe = self.probe(node, domain)
        probe.authenticate()
        return probe

    def has_place(self, node, domain):
        """Whether the partner would get one more place there."""
        with self.probe(node, domain) as probe:
            try:
                probe.secure()
                return True
            except Closed:
                assert probe.error is not None and probe.error.condition == "resource-constraint", probe.error
                return False

    def arrives(self, sender, domain):
        """A message gets there; the connection over which it has come."""
        remote = self.remotes[domain]
        body = f"number {next(NUMBERS)} from {sender.jid}"
        sender.send_message(f"eve@{domain}", body)
        remote.wait_element(lambda element: is_message(element, body), 15)
        connection, = [one for one in remote.connections if any(is_message(element, body) for element in one.elements)]
        return connection

    def open_connections(self, domain):
        return [one for one in self.remotes[domain].connections if not (one.closed or one.over)]


def is_message(element, body):
    return element.name == "message" and element.find("body") is not None and element.find("body").text == body


def soon(condition, what):
    """Within a second, the documentation says; a machine that is busy with other things may take longer."""
    return wait_until(condition, 20, what, interval=0.1)


def no_stream_known(*nodes, of=None, to=None):
    """Until none of the nodes has a stream of that node, or to that domain, in ejabberd's table: what finds one there that is over goes to nobody, or comes
    back. Each node hears of its end behind who counts places, and behind the partner."""
    those = f"node(Pid) =:= '{Cluster.node_name(of)}'" if of else f"To =:= <<\"{to}\">>"
    for node in nodes:
        soon(lambda node=node: node.evaluate(f"[Pid || {{s2s, {{_, To}}, Pid}} <- ets:tab2list(s2s), {those}]") == "[]",
             f"end of the streams {'of ' + of.name if of else 'to ' + to} at {node.name}")


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("it is about ejabberd")
    # None hangs up by itself: streams of before are to be there still.
    remotes = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain), timeout=TIMEOUT)
               for domain in (FABRIKAM, NORTHWIND, WINGTIP, WOODGROVE, PINGED, LONELY, EXTRA)}
    cluster = Cluster(lab, "abc", [HOST], users=[ALICE, CAROL, DAVE, INTERN], partners=configuration(*ENTRIES, **OPTIONS),
                      modules=["http_openmetrics"], log_level="info").start()
    return Site(lab, cluster, Client(ALICE, cluster.a.address), Client(CAROL, cluster.b.address), Client(DAVE, cluster.c.address), remotes)


def teardown(site):
    for client in (site.alice, site.carol, site.dave):
        client.close()


def one_server(site):
    site.carol.send_message(ALICE, "from b to a")
    site.alice.wait_message("from b to a")
    for node in site.cluster.nodes:
        assert site.cluster.seen_from(node) == ["a", "b", "c"]


# Limits

def one_limit_for_all_nodes(site):
    nodes = site.cluster.nodes
    with contextlib.ExitStack() as streams:
        held = [streams.enter_context(site.stream(node, NORTHWIND)) for node in nodes]
        for node in nodes:
            soon(lambda node=node: not site.has_place(node, NORTHWIND), f"end of the places at {node.name}")
        with site.probe(nodes[0], NORTHWIND) as late:
            late.open()
            refused(late, "connection-limit", "resource-constraint")
        # One that goes out takes a place as well.
        error = site.carol.wait_error(site.carol.send_message(f"eve@{NORTHWIND}", "no place"), 15)
        assert error[0] == "not-allowed", error
        held[1].close()
        for node in nodes:
            soon(lambda node=node: site.has_place(node, NORTHWIND), f"a place at {node.name}")
    no_place_held(NORTHWIND, *nodes)


def no_place_held(domain, *nodes):
    for node in nodes:
        soon(lambda node=node: domain not in node.evaluate("maps:get(partners, s2s_partners_places:counts(), #{})"), f"no place that is still held at {node.name}")


# A stream on another node

def stream_of_another_node(site):
    """What b's users send goes out over the stream that a has opened; each sender is judged by the own node."""
    first = site.arrives(site.alice, FABRIKAM)
    for sender in (site.carol, site.dave, site.alice):
        assert site.arrives(sender, FABRIKAM) is first
    assert len(site.open_connections(FABRIKAM)) == 1
    with Client(INTERN, site.cluster.b.address) as intern:
        error = intern.wait_error(intern.send_message(f"eve@{FABRIKAM}", "denied"), 15)
        assert error[0] == "not-allowed", error
    # The rules of the partner's type, by a roster that both nodes have.
    error = site.carol.wait_error(site.carol.send_message(f"eve@{WINGTIP}", "not listed"), 15)
    assert error[0] == "subscription-required", error
    site.cluster.a.set_roster(ALICE, {f"eve@{WINGTIP}": "both"})
    stream = site.arrives(site.alice, WINGTIP)
    error = site.carol.wait_error(site.carol.send_message(f"eve@{WINGTIP}", "still not listed"), 15)
    assert error[0] == "subscription-required", error
    site.cluster.b.set_roster(CAROL, {f"eve@{WINGTIP}": "both"})
    assert site.arrives(site.carol, WINGTIP) is stream
    assert not any(is_message(element, body) for remote in site.remotes.values() for element in remote.elements()
                   for body in ("denied", "not listed", "still not listed"))


def answer_to_another_node(site):
    """A partner's domain is asked by b's user; the answer comes to a."""
    site.arrives(site.carol, FABRIKAM)
    asked = site.carol.new_id()
    site.carol.send_raw(f"<iq type='get' to='{FABRIKAM}' id='{asked}'><query xmlns='jabber:iq:version'/></iq>")
    got = site.remotes[FABRIKAM].wait_element(lambda element: element.name == "iq" and element.get("id") == asked)
    with site.stream(site.cluster.a, FABRIKAM) as stream:
        answer = f"<iq type='result' from='{FABRIKAM}' to='{got.get('from')}' id='{asked}'><query xmlns='jabber:iq:version'/></iq>"
        stream.send(answer)
        site.carol.wait_stanza(lambda stanza: stanza.get("id") == asked and stanza.get("type") == "result")


COUNT = "erlang:trace_pattern({s2s_partners_live, answered_here, 3}, true, [call_count])"
COUNTED = "element(2, erlang:trace_info({s2s_partners_live, answered_here, 3}, call_count))"


def is_ping(element):
    return element.name == "iq" and element.find("ping") is not None


def keepalive_answered_at_another_node(site):
    # First, so that no ping has to wait for it.
    with site.stream(site.cluster.b, PINGED) as stream:
        site.arrives(site.alice, PINGED)
        remote = site.remotes[PINGED]
        answered = set()
        seen = site.alice.mark()
        for _ in range(2):
            ping = remote.wait_element(lambda element: is_ping(element) and element.get("id") not in answered)
            answered.add(ping.get("id"))
            stream.send(f"<iq type='result' id='{ping.get('id')}' from='{PINGED}' to='{HOST}'/>")
        ping = remote.wait_element(lambda element: is_ping(element) and element.get("id") not in answered)
        answered.add(ping.get("id"))
        assert not remote.connections[-1].closed and len(remote.connections) == 1, answered
    assert len(site.alice.stanzas) == seen
    # Who remembers the pings has died: the one that was sent counts as answered.
    site.cluster.a.evaluate("exit(whereis(s2s_partners_live), kill)")
    remote.wait_element(lambda element: is_ping(element) and element.get("id") not in answered)
    assert not remote.connections[-1].closed and len(remote.connections) == 1


def forged_keepalives_are_told_to_nobody(site):
    """Whatever a partner sends as an id costs the node that gets it, and no other."""
    for node in site.cluster.nodes:
        node.evaluate(COUNT)
    with site.stream(site.cluster.b, FABRIKAM) as stream:
        for number in range(200):
            id_ = "keepalive-" + (f"{number:04}" * 8 if number % 2 else f"{number:04}" * 5)
            stream.send(f"<iq type='result' id='{id_}' from='{FABRIKAM}' to='{HOST}'/>")
        stream.message(f"eve@{FABRIKAM}", CAROL, "behind the forged ones")
        site.carol.wait_message("behind the forged ones")
    time.sleep(0.3)
    for node in (site.cluster.a, site.cluster.c):
        assert int(node.evaluate(COUNTED)) == 0, (node.name, node.evaluate(COUNTED))


# Reload and console

def console_of_each_node(site):
    site.arrives(site.alice, FABRIKAM)
    with site.stream(site.cluster.c, WOODGROVE):
        # ejabberd establishes it once the last features have gone out. Each node asks c.
        soon(lambda: re.search(rf"^in +{WOODGROVE} +\S+ +SASL ", site.cluster.c.command("s2s_partners_streams"), re.MULTILINE), "the stream as an established one")
        for node in site.cluster.nodes:
            said = node.command("s2s_partners_streams")
            for address, domain in ((site.cluster.a.address, FABRIKAM), (site.cluster.c.address, WOODGROVE)):
                assert re.search(rf"^(in|out) +{domain} .* {re.escape(address)}$", said, re.MULTILINE), said
            said = node.command("s2s_partners_list", "")
            assert re.search(rf"^{WOODGROVE} .*\n  streams in: 1 SASL; out: none$", said, re.MULTILINE), said
            said = node.command("s2s_partners_show", WOODGROVE)
            assert node.status == 0 and re.search(r"\bin\b.*SASL", said), said
        for node, here in zip(site.cluster.nodes, (False, False, True)):
            with urllib.request.urlopen(f"http://{node.address}:{HTTP_PORT}/metrics", timeout=10) as page:
                text = page.read().decode()
            assert bool(re.search(rf's2s_partners_streams{{[^}}]*partner="{WOODGROVE}"[^}}]*}} 1$', text, re.MULTILINE)) == here, text


def reload(node, entries):
    node.partners = configuration(*entries, **OPTIONS)
    node.reload()
    assert node.answer == "ok", node.answer


def each_node_has_the_list_that_it_has_read(site):
    """Where the lists differ the stricter one counts."""
    a, b = site.cluster.a, site.cluster.b
    reload(a, [*ENTRIES, partner(EXTRA)])
    stream = site.arrives(site.alice, EXTRA)
    assert site.carol.wait_error(site.carol.send_message(f"eve@{EXTRA}", "not on b's list"), 15)[0] == "not-allowed"
    with site.probe(b, EXTRA) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    reload(b, [*ENTRIES, partner(EXTRA)])
    assert site.arrives(site.carol, EXTRA) is stream
    reload(a, ENTRIES)
    wait_until(lambda: stream.closed, 20, "end of the stream")
    no_stream_known(a, b, to=EXTRA)     # through a, whose list does not have it, carol's message would come back
    assert site.alice.wait_error(site.alice.send_message(f"eve@{EXTRA}", "no more"), 15)[0] == "not-allowed"
    assert site.arrives(site.carol, EXTRA) is not stream
    reload(b, ENTRIES)
    assert site.carol.wait_error(site.carol.send_message(f"eve@{EXTRA}", "no more"), 15)[0] == "not-allowed"


def streams_closed_on_one_node(site):
    """`ejabberdctl stop_s2s_connections` closes the streams of its node, and has ejabberd forget those of all: one that goes on keeps the
    only place that the partner has."""
    with site.stream(site.cluster.b, FABRIKAM) as of_b:
        stream = site.arrives(site.alice, LONELY)
        site.cluster.b.command("stop_s2s_connections")
        wait_until(lambda: closed(of_b), 20, "end of b's stream")
        everywhere_known(site, LONELY)
        assert site.arrives(site.alice, LONELY) is stream
        assert site.arrives(site.carol, LONELY) is stream
        # Each node empties the table for itself, one sooner than the other.
        for _ in range(AGAIN):
            site.cluster.b.evaluate("ejabberd_s2s:stop_s2s_connections()")
            everywhere_known(site, LONELY)
        assert site.arrives(site.carol, LONELY) is stream


def everywhere_known(site, domain):
    for node in site.cluster.nodes:
        soon(lambda node=node: domain in node.evaluate("mnesia:dirty_all_keys(s2s)"), f"the stream known again at {node.name}")


def closed(probe):
    try:
        probe.read(0.1)
    except Closed:
        return True
    except TimeoutError:
        return False


# A node that is killed

def node_killed(site):
    """Its places are given back, and what went over its streams goes over others."""
    a, b, c = site.cluster.nodes
    no_place_held(NORTHWIND, a, b, c)
    with contextlib.ExitStack() as streams:
        for node in (a, a, c):
            streams.enter_context(site.stream(node, NORTHWIND))
        through_c = site.arrives(site.dave, WOODGROVE)
        assert site.arrives(site.alice, WOODGROVE) is through_c
        soon(lambda: not site.has_place(b, NORTHWIND), "end of the places")
        c.kill()
        # Erlang's own look at its nodes would take three quarters of a minute, at least.
        wait_until(lambda: site.has_place(b, NORTHWIND), 20, "place of the node that is gone", interval=0.05)
        site.cluster.wait_whole([a, b])
        no_stream_known(a, b, of=c)
        assert site.arrives(site.alice, WOODGROVE) is not through_c
        assert site.arrives(site.carol, WOODGROVE) is site.open_connections(WOODGROVE)[-1]
        said = a.command("s2s_partners_streams")
        assert "does not answer" not in said and c.address not in said, said


def without_c(site):
    if site.cluster.c.process.running:
        site.cluster.c.kill()
        site.cluster.wait_whole([site.cluster.a, site.cluster.b])


# Nodes that do not see one another

def cut_apart(site):
    """Each part counts for itself, and refuses as ever; together again, they count together, and nobody is closed for it."""
    without_c(site)
    a, b, _ = site.cluster.nodes
    a.set_roster(CAROL, {f"eve@{WINGTIP}": "both"})
    over_a = site.arrives(site.alice, FABRIKAM)
    site.cluster.cut(a, b)
    for node in (a, b):
        wait_until(lambda node=node: site.cluster.seen_from(node, "[node() | s2s_partners_places:others()]") == [node.name], 20, "the cut")
    no_stream_known(a, of=b)
    no_stream_known(b, of=a)
    no_place_held(NORTHWIND, a, b)
    with contextlib.ExitStack() as streams:
        held = [streams.enter_context(site.stream(node, NORTHWIND)) for node in (a, b) for _ in range(LIMIT)]
        for node in (a, b):
            assert not site.has_place(node, NORTHWIND)
            with site.probe(node, EVIL) as probe:
                probe.open()
                refused(probe, "unlisted-domain")
        for client in (site.alice, site.carol):
            assert client.wait_error(client.send_message(f"eve@{EVIL}", "nowhere"), 15)[0] == "not-allowed"
        # Each node has a stream of its own now.
        assert site.arrives(site.alice, FABRIKAM) is over_a
        assert site.arrives(site.carol, FABRIKAM) is not over_a
        assert site.carol.wait_error(site.carol.send_message(f"eve@{EXTRA}", "nowhere"), 15)[0] == "not-allowed"
        b.set_roster(CAROL, {f"only-b@{FABRIKAM}": "both"})
        site.cluster.heal(a, b)
        for node in (a, b):
            wait_until(lambda node=node: site.cluster.seen_from(node, "[node() | s2s_partners_places:others()]") == ["a", "b"], 20, "both")
        for stream, node in zip(held, (a, a, a, b, b, b)):
            stream.message(f"eve@{NORTHWIND}", ALICE if node is a else CAROL, f"over a stream to {node.name}")
        site.alice.wait_message("over a stream to a")
        site.carol.wait_message("over a stream to b")
        for stream in held[:3]:
            stream.close()
        time.sleep(0.5)
        assert not site.has_place(a, NORTHWIND)     # b has as many as there may be
        held[3].close()
        soon(lambda: site.has_place(a, NORTHWIND), "a place at a")
    # Mnesia joins the two no more by itself: one of them is to be restarted, and takes over what the other has.
    assert [site.cluster.seen_from(node) for node in (a, b)] == [["a"], ["b"]]
    assert "only-b@" in b.roster(CAROL) and "only-b@" not in a.roster(CAROL)
    site.carol.close()
    b.restart()
    site.carol = Client(CAROL, b.address)
    site.cluster.wait_whole([a, b])
    assert "only-b@" not in b.roster(CAROL) and f"eve@{WINGTIP}" in b.roster(CAROL)


# Another version of the module

def other_beams(lab):
    """A directory with the module as an older or newer one: S2S_PARTNERS_ERLANG_BEFORE names one; else its nodes speak a protocol of
    another version to one another."""
    if "S2S_PARTNERS_ERLANG_BEFORE" in os.environ:
        return os.environ["S2S_PARTNERS_ERLANG_BEFORE"]
    source, = pathlib.Path(beams_under_test()).glob("s2s_partners-*")
    copy = lab.directory / "other-version" / source.name
    shutil.copytree(source, copy)
    module = pathlib.Path(__file__).resolve().parents[3] / "erlang/src/s2s_partners_elsewhere.erl"
    text = module.read_text()
    assert PROTOCOL in text
    changed = lab.directory / "other-version" / module.name
    changed.write_text(text.replace(PROTOCOL, PROTOCOL.replace("1", "2")))
    subprocess.run(["erlc", "-o", copy / "ebin", changed], check=True, capture_output=True, timeout=60)
    return copy.parent


class Flow:
    """Messages of one user to a partner, one after the other, until the end of the with. Each has to arrive or to come back."""

    def __init__(self, site, sender, domain):
        self.site, self.sender, self.domain, self.ids = site, sender, domain, {}

    def send(self, number):
        for _ in range(number):
            body = f"number {len(self.ids)} of {self.sender.jid} at {id(self)}"
            self.ids[self.sender.send_message(f"eve@{self.domain}", body)] = body
            time.sleep(0.01)

    def lost(self):
        there = {element.find("body").text for element in list(self.site.remotes[self.domain].elements("message")) if element.find("body")}
        back = {stanza.get("id") for stanza in self.sender.stanzas if stanza.get("type") == "error"}
        return [body for id_, body in self.ids.items() if body not in there and id_ not in back]

    def settle(self):
        wait_until(lambda: not self.lost(), 20, f"end of what is neither there nor back: {len(self.lost())} of {len(self.ids)}", interval=0.2)


def exchanged_node_by_node(site):
    """Each is stopped, gets the other version, and is started, while users of the other one write to a partner."""
    without_c(site)
    a, b, _ = site.cluster.nodes
    beams = other_beams(site.lab)
    for node, rest, name, jid in ((b, a, "carol", CAROL), (a, b, "alice", ALICE)):
        stays = site.alice if rest is a else site.carol
        flow = Flow(site, stays, FABRIKAM)
        flow.send(20)
        getattr(site, name).close()
        node.stop()
        flow.send(20)
        node.beams = beams
        node.write_config()
        node.launch()
        flow.send(100)
        node.started()
        setattr(site, name, Client(jid, node.address))
        flow.send(20)
        flow.settle()
        wait_until(lambda node=node: site.cluster.seen_from(node) == ["a", "b"], 20, "the cluster")
        # Its users' messages go out over the other node's stream, and the other way round.
        moved = getattr(site, name)
        assert site.arrives(moved, FABRIKAM) is site.arrives(stays, FABRIKAM)
        assert len(site.open_connections(FABRIKAM)) == 1
        for client in (moved, stays):
            assert client.wait_error(client.send_message(f"eve@{EVIL}", "nowhere"), 15)[0] == "not-allowed"
        for one in (a, b):
            said = one.command("s2s_partners_streams")
            assert one.status == 0 and FABRIKAM in said and "does not answer" not in said, said
            with site.stream(one, WOODGROVE) as stream:
                stream.message(f"eve@{WOODGROVE}", ALICE, f"to alice through {one.name} and {node.name}")
                site.alice.wait_message(f"to alice through {one.name} and {node.name}")
        if node is b:       # a is as it was
            a_holds = [site.stream(a, NORTHWIND) for _ in range(LIMIT)]
            soon(lambda: not site.has_place(a, NORTHWIND), "end of the places")
            for stream in a_holds:
                stream.close()
    site.cluster.wait_whole([a, b])
    with contextlib.ExitStack() as streams:
        for node in (a, b, a):
            streams.enter_context(site.stream(node, NORTHWIND))
        soon(lambda: not site.has_place(b, NORTHWIND), "end of the places")


def scenarios():
    for function in (one_server, one_limit_for_all_nodes, stream_of_another_node, answer_to_another_node, keepalive_answered_at_another_node,
                     forged_keepalives_are_told_to_nobody, console_of_each_node, each_node_has_the_list_that_it_has_read,
                     streams_closed_on_one_node, node_killed, cut_apart, exchanged_node_by_node):
        yield function.__name__, function
