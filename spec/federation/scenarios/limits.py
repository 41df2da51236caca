"""How many streams there may be and how long they may take: limits, time-outs, keepalives.

Partners are probes (in) and scripted remotes (out); each scenario has an edge of its own."""

import contextlib
import re
import time

from lab.probe import Probe
from lab.waiting import wait_until
from lab.xmlstream import Closed

from scenarios._edge import (HOST, any_method, configuration, ended, outbound_error, partner,
                             refusal_logged, refused, tls_dialback)
from scenarios._scene import Scene

TIMEOUT = 60
FABRIKAM, CORP, NORTHWIND = "fabrikam.test", "corp.fabrikam.test", "northwind.test"


def limited(*entries, **limits):
    return configuration(*entries, s2s_partners_limits=limits)


def few(domain, *additional, limit=2, **more):
    return partner(domain, *additional, **{"connection_limit": limit, **more})


def said_limit(error):
    assert error.condition == "resource-constraint" and re.search(r"\(connection-limit\)$", error.error_text), error


# Limits

def scenario_connection_limit(lab):
    """Of a partner, its other domains included; who comes too late is refused, and a place that is given up is free."""
    with Scene(lab, configuration(few(FABRIKAM, CORP), partner(NORTHWIND))) as scene:
        first, second = scene.authenticated(), scene.authenticated(CORP)
        with scene.probe() as third:
            third.open()
            refused(third, "connection-limit", "resource-constraint")
        with scene.authenticated(NORTHWIND):
            pass
        scene.send_in(first, FABRIKAM)
        scene.send_in(second, CORP)
        first.close()
        wait_until(lambda: "fabrikam" in scene.edge.log_since(0) and not busy(scene), 20, "free place")
        second.close()


def busy(scene):
    try:
        scene.authenticated().close()
    except Closed:
        return True
    return False


def scenario_module_reload_with_errors(lab):
    """The policy before stays, with its limits and with the streams that count."""
    good = configuration(few(FABRIKAM, limit=1))
    with Scene(lab, good) as scene, scene.authenticated() as first:
        scene.edge.partners = good + 's2s_partners_default = "perhaps"\n'
        scene.edge.reload()
        answer = scene.edge.shell('module:reload("s2s_partners")')
        assert "OK" in answer, answer
        with scene.probe() as second:
            second.open()
            refused(second, "connection-limit", "resource-constraint")
        scene.send_in(first, FABRIKAM)


def scenario_both_directions_count(lab):
    with Scene(lab, configuration(few(FABRIKAM))) as scene:
        remote = scene.remote(FABRIKAM)
        scene.send_out(remote, FABRIKAM)
        with scene.authenticated() as probe, scene.probe() as late:
            late.open()
            refused(late, "connection-limit", "resource-constraint")
            scene.send_in(probe, FABRIKAM)
            scene.send_out(remote, FABRIKAM)
            assert len(remote.connections) == 1


def scenario_outgoing_refused(lab):
    """Nothing is looked up; the sender is told."""
    with Scene(lab, configuration(few(FABRIKAM, limit=1))) as scene:
        scene.remote(FABRIKAM)
        with scene.authenticated():
            mark = lab.dns.mark()
            condition, text, kind = outbound_error(scene.alice, f"bob@{FABRIKAM}")
            assert (condition, kind) == ("not-allowed", "cancel") and "too many connections" in text.lower(), text
            assert not lab.dns.asked(FABRIKAM, mark)


def scenario_being_established_counts(lab):
    """A stream whose certificate proves the domain, not yet authenticated."""
    with Scene(lab, configuration(few(FABRIKAM))) as scene:
        with scene.probe() as first, scene.probe() as second, scene.probe() as third:
            first.secure()
            second.secure()
            third.open()
            refused(third, "connection-limit", "resource-constraint")
            assert first.external().name == "success"


def scenario_places_cannot_be_taken_by_a_name(lab):
    """Strangers who write the partner's name into their headers take none of its places."""
    with Scene(lab, configuration(few(FABRIKAM), tls_dialback(NORTHWIND, connection_limit=2))) as scene:
        strangers = []
        for domain in [FABRIKAM] * 5 + [NORTHWIND] * 5:
            probe = Probe(scene.edge.address, from_=domain, to=HOST)
            probe.features()
            strangers.append(probe)
        remote = scene.remote(NORTHWIND, verify="valid")
        with scene.authenticated() as probe, scene.probe(NORTHWIND) as northwind:
            scene.send_in(probe, FABRIKAM)
            northwind.secure()
            assert northwind.dialback() == "valid"
            assert not remote.failures
        for probe in strangers:
            probe.close()


def scenario_verifying_does_not_count(lab):
    """One place, and dialback all the same: neither the stream on which a key is verified nor the one that asks takes any."""
    with Scene(lab, configuration(tls_dialback(FABRIKAM, connection_limit=1))) as scene:
        scene.remote(FABRIKAM)
        with scene.probe() as probe:
            probe.secure()
            assert probe.dialback() == "valid"
            scene.send_in(probe, FABRIKAM)
            # The stream that verified the key is no way around the limit.
            assert outbound_error(scene.alice, f"bob@{FABRIKAM}")[0] == "not-allowed"
            # Asking us about a key is possible still.
            with scene.probe() as asking:
                asking.secure()
                assert asking.verify("00", "someid") == "invalid"
            with scene.probe() as second:
                second.secure()
                second.send_result()
                refused(second, "connection-limit", "resource-constraint")


def scenario_bidi_counts_once(lab):
    bidi = {"modules": ["s2s_bidi"]}
    with Scene(lab, configuration(few(FABRIKAM)), **bidi) as scene:
        with scene.probe() as first, scene.probe() as second, scene.probe() as third:
            for probe in (first, second):
                probe.secure()
                probe.send("<bidi xmlns='urn:xmpp:bidi'/>")
                assert probe.external().name == "success"
                probe.features()
            third.open()
            refused(third, "connection-limit", "resource-constraint")
            scene.alice.send_message(f"eve@{FABRIKAM}", "over bidi")
            wait_until(lambda: any("over bidi" in str(event) for probe in (first, second) for event in read_some(probe)), 10,
                       "message over a bidi stream")


def read_some(probe):
    try:
        return [probe.read(0.2)]
    except TimeoutError:
        return []


def scenario_partner_connections(lab):
    """The limit of those that have none of their own."""
    entry = partner(FABRIKAM)
    del entry["connection_limit"]
    with Scene(lab, limited(entry, partner_connections=1)) as scene:
        with scene.authenticated(), scene.probe() as second:
            second.open()
            refused(second, "connection-limit", "resource-constraint")


def scenario_connections(lab):
    """All partners together."""
    entries = [partner(FABRIKAM, connection_limit=5), partner(NORTHWIND, connection_limit=5)]
    with Scene(lab, limited(*entries, connections=2, partner_connections=1)) as scene:
        with scene.authenticated(), scene.authenticated(), scene.probe(NORTHWIND) as late:
            late.open()
            refused(late, "connection-limit", "resource-constraint")


def scenario_default_policy_counts_each_domain(lab):
    default = {"partner_type": "federated", "connection_limit": 1}
    with Scene(lab, configuration(partner(FABRIKAM), s2s_partners_default=default)) as scene:
        with scene.authenticated("one.test"), scene.authenticated("two.test"), scene.probe("one.test") as second:
            second.open()
            refused(second, "connection-limit", "resource-constraint")


def scenario_lower_limit_at_reload(lab):
    """The oldest keep their places; the others are closed as any stream that no longer conforms."""
    with Scene(lab, configuration(few(FABRIKAM, limit=3), partner(NORTHWIND))) as scene:
        probes = [scene.authenticated() for _ in range(3)]
        time.sleep(0.5)     # 0.12 can lose the last words on a connection that has only just been established
        scene.edge.partners = configuration(few(FABRIKAM, limit=1), partner(NORTHWIND))
        scene.edge.reload()
        for probe in probes[1:]:
            refused(probe, "policy-changed")
        scene.send_in(probes[0], FABRIKAM)
        scene.edge.partners = configuration(few(FABRIKAM, limit=2), partner(NORTHWIND))
        scene.edge.reload()
        with scene.authenticated(), scene.probe() as late:
            late.open()
            refused(late, "connection-limit", "resource-constraint")
        if scene.edge.host == "ejabberd":
            return      # a stopped module closes all streams
        scene.edge.shell('module:reload("s2s_partners")')
        time.sleep(0.5)
        scene.send_in(probes[0], FABRIKAM)
        with scene.authenticated(), scene.probe() as late:
            late.open()
            refused(late, "connection-limit", "resource-constraint")


def scenario_counts_are_exact(lab):
    """After a hundred streams that came and went in every way, there are as many places as at first."""
    with Scene(lab, configuration(few(FABRIKAM))) as scene:
        for number in range(100):
            probe = scene.probe()
            try:
                if number % 4 == 0:
                    probe.authenticate()
                elif number % 4 == 1:
                    probe.secure()
                elif number % 4 == 2:
                    probe.features()
                    probe.starttls()
                else:
                    probe.authenticate()
                    probe.send("</stream:stream>")
            except Closed:
                pass
            probe.socket.close()
            time.sleep(0.03)

        def all_free():
            try:
                with scene.authenticated(), scene.authenticated(), scene.probe() as late:
                    late.open()
                    refused(late, "connection-limit", "resource-constraint")
            except Closed:
                return False
            return True
        wait_until(all_free, 20, "two free places", 0.3)


# Time-outs

def as_far_as(step):
    """Or until it is closed on the way, which is what comes of it anyway: a busy machine may be as slow as the time is short."""
    with contextlib.suppress(Closed):
        step()


def scenario_establishment_timeout(lab):
    """Silent at every stage: before the header, after it, in the middle of the TLS handshake, after it, with a key nobody
    verifies. The same for streams of ours."""
    limits = {"establishment_timeout": 2}
    with Scene(lab, limited(any_method(FABRIKAM), tls_dialback(NORTHWIND), **limits), s2s_timeout=60) as scene:
        mark = scene.edge.mark()
        start = time.monotonic()
        # Each goes as far as it goes before the next one's time begins.
        silent, header = scene.probe(), scene.probe()
        as_far_as(header.features)
        after_tls = scene.probe()
        as_far_as(after_tls.secure)
        half_open = scene.probe()
        as_far_as(half_open.features)
        half_open.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        for probe in (silent, header, after_tls):
            refused(probe, "establishment-timeout", "connection-timeout", timeout=20)
        assert time.monotonic() - start < 30        # core would wait 60
        refusal_logged(scene.edge, "from", FABRIKAM, "establishment-timeout", mark)
        wait_until(lambda: not socket_open(half_open), 30, "end of the half-open connection")


def socket_open(probe):
    """Whether the peer has not closed the connection (whatever it sends)."""
    import socket
    probe.socket.settimeout(0.1)
    try:
        return probe.socket.recv(4096) != b""
    except (TimeoutError, socket.timeout):
        return True
    except OSError:
        return False


def scenario_establishment_timeout_direct_tls(lab):
    """A direct TLS handshake that is never finished (XEP-0368): core has no session for it."""
    with Scene(lab, limited(partner(FABRIKAM), establishment_timeout=2), direct_tls=True) as scene:
        import socket
        start = time.monotonic()
        with socket.create_connection((scene.edge.address, 5270), 5) as half_open:
            half_open.settimeout(30)
            assert half_open.recv(1) == b""
            assert 1.5 < time.monotonic() - start < 30, time.monotonic() - start       # core would wait 60, or for ever
        with scene.probe(port=5270, direct_tls=True) as probe:
            as_far_as(probe.features)
            refused(probe, "establishment-timeout", "connection-timeout", timeout=20)


def scenario_establishment_timeout_outgoing(lab):
    """A server that accepts and says nothing, one that stops in the middle, and one that nobody can reach."""
    with Scene(lab, limited(partner(FABRIKAM), partner(NORTHWIND), partner("unreachable.test"), establishment_timeout=2),
               s2s_timeout=60) as scene:
        def mute(connection):
            connection.read_header()
            time.sleep(20)

        def stops(connection):
            connection.read_header()
            connection.answer_header()
            time.sleep(20)
        scene.remote(FABRIKAM, script=mute)
        scene.remote(NORTHWIND, script=stops)
        # Nobody answers there: in the network of the lab there is no route, so a full backlog does it.
        full = blackhole(lab)
        lab.dns.server("unreachable.test", full)
        for domain in (FABRIKAM, NORTHWIND, "unreachable.test"):
            mark, start = scene.edge.mark(), time.monotonic()
            condition, text, kind = outbound_error(scene.alice, f"bob@{domain}")
            assert (condition, kind) == ("remote-server-timeout", "wait"), (domain, condition, kind, text)
            assert time.monotonic() - start < 20       # the scripts hang up then, core would wait 60
            refusal_logged(scene.edge, "to", domain, "establishment-timeout", mark)


def blackhole(lab):
    """An address whose port 5269 accepts no connection and refuses none."""
    import socket
    address = lab.address()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 5269))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((address, 5269))
        waiting.append(filler)
    lab.cleanup(lambda: [sock.close() for sock in (listener, *waiting)])
    return address


def scenario_inactivity_timeout(lab):
    """Stanzas keep a stream, blanks and pings do not."""
    with Scene(lab, limited(partner(FABRIKAM), partner(NORTHWIND), inactivity_timeout=5)) as scene:
        remote = scene.remote(NORTHWIND)
        mark = scene.edge.mark()
        scene.send_out(remote, NORTHWIND)
        with scene.authenticated() as used, scene.authenticated() as blank, scene.authenticated() as pinging:
            for _ in range(12):
                scene.send_in(used, FABRIKAM)
                for probe, text in ((blank, " "), (pinging, f"<iq type='get' id='p1' from='{FABRIKAM}' to='{HOST}'>"
                                                            "<ping xmlns='urn:xmpp:ping'/></iq>")):
                    probe.send(text)
                time.sleep(0.5)
            refused(blank, "inactivity-timeout", "connection-timeout", timeout=20)
            refused(pinging, "inactivity-timeout", "connection-timeout", timeout=20)
            scene.send_in(used, FABRIKAM)
            refusal_logged(scene.edge, "to", NORTHWIND, "inactivity-timeout", mark)
            # The next stanza opens a new stream.
            scene.send_out(remote, NORTHWIND)
            assert len(remote.connections) == 2
            refused(used, "inactivity-timeout", "connection-timeout", timeout=20)


# Keepalives

def ping_of(element):
    return element.name == "iq" and element.get("type") == "get" and element.find("ping") is not None


def scenario_keepalive(lab):
    """A partner that answers keeps its stream, one that does not loses it; without keepalive nobody is asked."""
    entries = [partner(FABRIKAM, keepalive=True), partner(NORTHWIND, keepalive=True), partner("litware.test")]
    with Scene(lab, limited(*entries, keepalive_interval=2, inactivity_timeout=60)) as scene:
        silent, quiet = scene.remote(NORTHWIND), scene.remote("litware.test")
        answers = AnsweringRemote(lab, scene)
        mark = scene.edge.mark()
        for remote, domain in ((answers.remote, FABRIKAM), (silent, NORTHWIND), (quiet, "litware.test")):
            scene.send_out(remote, domain)
        silent.wait_element(ping_of)
        refusal_logged(scene.edge, "to", NORTHWIND, "inactivity-timeout", mark)
        # The line is in the log before the error has come through.
        wait_until(lambda: silent.connections[-1].error is not None, 20, "the stream error")
        assert silent.connections[-1].error.condition == "connection-timeout"
        wait_until(lambda: len([e for e in answers.remote.elements("iq") if ping_of(e)]) >= 3, 20, "third ping")
        assert len(answers.remote.connections) == 1, "the partner that answers keeps its stream"
        assert not any(map(ping_of, quiet.elements("iq")))
        answers.close()


class AnsweringRemote:
    """fabrikam.test's server: answers each ping over a stream of its own."""

    def __init__(self, lab, scene):
        self.probe = scene.authenticated()
        self.remote = scene.remote(FABRIKAM)
        react = self.remote.react

        def answering(connection, element):
            if ping_of(element):
                self.probe.send(f"<iq type='result' id='{element.get('id')}' from='{FABRIKAM}' to='{HOST}'/>")
            else:
                react(connection, element)
        self.remote.react = answering

    def close(self):
        self.probe.close()


def scenario_keepalive_incoming(lab):
    """A stream that only the partner may send on gets blanks, and is not asked for what it could not answer."""
    with Scene(lab, limited(partner(FABRIKAM, keepalive=True), keepalive_interval=1, inactivity_timeout=60)) as scene:
        with scene.authenticated() as probe:
            mark = scene.edge.mark()
            probe.assert_open(4)
            scene.edge.wait_log(r"Sending\[s2sin\]:\s*$", mark=mark)
            scene.send_in(probe, FABRIKAM)


def scenario_keepalive_is_no_activity(lab):
    """Answered or not: without a stanza the stream is closed in the end."""
    with Scene(lab, limited(partner(FABRIKAM, keepalive=True), keepalive_interval=2, inactivity_timeout=7)) as scene:
        answers = AnsweringRemote(lab, scene)
        mark = scene.edge.mark()
        scene.send_out(answers.remote, FABRIKAM)
        scene.edge.wait_log(rf"Refused stream to {FABRIKAM} .*: inactivity-timeout: no stanza", 20, mark)
        assert len([e for e in answers.remote.elements("iq") if ping_of(e)]) >= 2
        answers.close()


def scenario_keepalive_over_a_module_reload(lab):
    """An answer that comes after the module has been loaded anew is an answer."""
    # It may take as long as the interval; on a busy machine the shell takes some seconds.
    with Scene(lab, limited(partner(FABRIKAM, keepalive=True), keepalive_interval=7, inactivity_timeout=60)) as scene:
        remote = scene.remote(FABRIKAM)
        scene.send_out(remote, FABRIKAM)
        with scene.authenticated() as probe:
            ping = remote.wait_element(ping_of)
            scene.edge.shell('module:reload("s2s_partners")')
            probe.send(f"<iq type='result' id='{ping.get('id')}' from='{FABRIKAM}' to='{HOST}'/>")
            wait_until(lambda: len([e for e in remote.elements("iq") if ping_of(e)]) >= 2, 20, "second ping")
            assert len(remote.connections) == 1


def scenario_waiting_over_a_module_reload(lab):
    """Connections that wait are bounded, and timed, after the module has been loaded anew as before."""
    with Scene(lab, limited(partner(FABRIKAM), establishment_timeout=10), s2s_timeout=60) as scene:
        crowd = [Probe(scene.edge.address, source="127.0.201.1") for _ in range(90)]
        scene.edge.shell('module:reload("s2s_partners")')
        more = [Probe(scene.edge.address, source="127.0.201.1") for _ in range(20)]
        said_limit(crowd[0].read_close())
        assert not ended(crowd[-1], 0.1)
        for probe in (crowd[-1], more[-1]):
            refused(probe, "establishment-timeout", "connection-timeout", timeout=25)
        for probe in crowd + more:
            probe.close()


# Unauthenticated connections

def scenario_waiting_connections(lab):
    """At most so many from one address; the oldest goes, so that the partner at the same address still comes in; one line
    sums them up."""
    with Scene(lab, configuration(partner(FABRIKAM), partner(NORTHWIND)), log_level="info") as scene:
        with scene.authenticated(NORTHWIND, source="127.0.200.1") as before:
            mark = scene.edge.mark()
            crowd = [Probe(scene.edge.address, source="127.0.200.1") for _ in range(400)]
            said_limit(crowd[0].read_close())
            with scene.authenticated(source="127.0.200.1") as probe:
                scene.send_in(probe, FABRIKAM)
            scene.send_in(before, NORTHWIND)
            open_now = sum(not ended(probe, 0.01) for probe in crowd)
            assert 90 <= open_now <= 100, open_now
            lines = [line for line in scene.edge.log_since(mark).splitlines() if "connection-limit" in line]
            assert len(lines) <= 2, lines[:5]
            # ejabberd has lines of its own for each connection.
            log = scene.edge.module_log(mark) if scene.edge.host == "ejabberd" else scene.edge.log_since(mark)
            assert len(log.splitlines()) < 40, "not a line for each"
            for probe in crowd:
                probe.close()
