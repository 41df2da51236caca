"""Hostile sizes and odd shapes of what is no stanza: each costs in proportion to its size, and nobody but its sender.

SIZES_OUT=FILE appends what each costs the edge: scenario, version, seconds of CPU, bytes of log."""

import contextlib
import os
import re
import socket
import ssl
import time

from lab import machine
from lab.client import Client
from lab.probe import Probe
from lab.prosody import Prosody
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import BIDI, BIDI_FEATURE, DIALBACK, SASL, TLS, Closed, server_context

from scenarios._edge import (ALICE, HOST, any_method, assert_not_established, configuration, edge_server, ended, heard, outbound_error,
                             partner, refusal_logged, refused, tls_dialback)

TIMEOUT = 120
SHARED, FRESH, SILENT, SASL_ONLY, STRANDED = "shared.test", "fresh.test", "silent.test", "sasl.test", "stranded.test"
UNREACHABLE, PARTNER, VERIFYING, ASKING = "unreachable.test", "partner.test", "verifying.test", "asking.test"
FEATURES = ("f100.test", "f101.test", "endless.test", "endless-tls.test", "deep.test")
ROUTE_MAX = 32      # keys that one partner's server may be asked about at a time
FAULTS_MAX = 20     # what an unauthenticated stream may get wrong
LOG_MAX = 30000     # bytes of log, at level debug, of one stream and what it is refused for


def setup(lab):
    entries = [any_method(domain) for domain in (SHARED, FRESH, SILENT, STRANDED, UNREACHABLE, PARTNER, ASKING, *FEATURES)]
    lab.edge = edge_server(lab, configuration(*entries, partner(SASL_ONLY), tls_dialback(VERIFYING),
                                              s2s_partners_limits={"establishment_timeout": 50}),
                           direct_tls=True, s2s_timeout=60).start()
    lab.alice = Client(ALICE, lab.edge.address)
    return lab


def teardown(lab):
    lab.alice.close()


def ticks(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextlib.contextmanager
def cost(lab, name, log_max=None):
    """What is done inside costs the edge that much; `log_max`: and no more bytes of log."""
    def logged():
        # ejabberd writes whole stanzas at debug; what the module adds is what counts.
        return len(lab.edge.module_log()) if lab.edge.host == "ejabberd" else lab.edge.mark()

    def now():
        return ticks(lab.edge.process.popen.pid) / os.sysconf("SC_CLK_TCK"), logged()
    before = now()
    yield
    lab.edge.shell("> 1")       # one loop does it all
    seconds, log = (after - then for after, then in zip(now(), before))
    if "SIZES_OUT" in os.environ:
        with open(os.environ["SIZES_OUT"], "a") as out:
            out.write(f"{name}\t{lab.version}\t{seconds:.2f} s\t{log} bytes of log\n")
    assert log_max is None or log < log_max, f"{log} bytes of log"


def stranger(lab, domain, **more):
    """Somebody who says that he is the domain, with a certificate of his own making."""
    return Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain, "self-signed"), **more)


def answer_to(probe, name="result"):
    return probe.read_until(lambda element: element.xmlns == DIALBACK and element.name == name, 30)


def answer_unless_too_large(probe, name="result"):
    """None when core has ended the stream first: its own limit counts what a waiting parser (machine.parser_waits) has not read yet."""
    try:
        return answer_to(probe, name)
    except Closed as closed:
        if machine.parser_waits() and "XML stanza is too big" in str(closed):
            return None
        raise


# Features

def features_from(lab, domain, features, after_tls=False):
    """The domain's server offers them, before or after TLS."""
    plain = f"<stream:features><starttls xmlns='{TLS}'/></stream:features>"

    def script(connection):
        connection.restart()
        connection.read_header()
        connection.answer_header()
        if after_tls:
            connection.send(plain)
            connection.read_until("starttls")
            connection.send(f"<proceed xmlns='{TLS}'/>")
            connection.start_tls(server_context(lab.certificates.leaf(domain)), server_side=True)
            connection.read_header()
            connection.answer_header()
        connection.send(features)
        while True:
            connection.read(60)
    return Remote(lab, [domain], leaf=lab.certificates.leaf(domain), script=script, timeout=60)


def many(count, first=""):
    return f"<stream:features>{first}{f'<bidi xmlns={BIDI_FEATURE!r}/>' * count}</stream:features>"


def compact(count, first=""):
    """As much as fits into a stanza's size limit."""
    return f"<stream:features xmlns:b='{BIDI_FEATURE}'>{first}{'<b:bidi/>' * count}</stream:features>"


STARTTLS = f"<starttls xmlns='{TLS}'/>"


def scenario_features_without_end(lab):
    """The peer that answers our connection sends 513 kB of features before TLS. The user gets an error, the stream ends."""
    for domain, after_tls in (("endless.test", False), ("endless-tls.test", True)):
        features_from(lab, domain, compact(57000, "" if after_tls else STARTTLS), after_tls)
        mark = lab.edge.mark()
        with cost(lab, f"57000 features, {'after' if after_tls else 'before'} TLS"):
            condition = told(lab, domain, 60)
        # On 0.12 core's own limit for what comes before authentication may have been first: that depends on how the bytes were cut.
        by_core = "(stanza-too-large)" in lab.edge.log_since(mark)
        assert condition == ("remote-server-timeout" if by_core else "not-allowed"), condition
        assert_not_established(lab.edge, domain, mark)


def told(lab, domain, timeout=15):
    return outbound_error(lab.alice, f"bob@{domain}", timeout)[0]


def scenario_features_at_the_bound(lab):
    """100 children are read, one more ends the stream."""
    features_from(lab, "f101.test", many(100, STARTTLS))
    mark = lab.edge.mark()
    assert told(lab, "f101.test") == "not-allowed"
    refusal_logged(lab.edge, "to", "f101.test", "no-method-left", mark)
    remote = features_from(lab, "f100.test", many(99, STARTTLS))
    id_ = lab.alice.send_message("bob@f100.test")
    remote.wait_element("starttls")
    remote.close()
    lab.alice.wait_error(id_)       # or it would come, and the refusal of the stream be logged, in the middle of a later scenario


def scenario_deep_features(lab):
    """One child, and one in it, and so on."""
    features_from(lab, "deep.test", f"<stream:features>{STARTTLS}{'<x>' * 5000}{'</x>' * 5000}</stream:features>")
    with cost(lab, "features 5000 deep"):
        assert told(lab, "deep.test", 60) == "not-allowed"


# Keys

def shared(lab, domain, **more):
    """A partner with a live stream of ours, over which alice's messages go; its connection."""
    remote = Remote(lab, [domain], leaf=lab.certificates.leaf(domain), timeout=60, **more)
    say(lab, remote, "first")
    return remote


def say(lab, remote, body):
    lab.alice.send_message(f"bob@{remote.domains[0]}", body)
    remote.wait_element(lambda element: element.name == "message" and element.find("body").text == body, 20)


ODD_KEYS = {"apostrophes": "'" * 100000, "text": "x" * 257, "nothing": "", "child": "<x/>", "key and child": "0123<x>y</x>",
            "deep": "<x>" * 3000 + "</x>" * 3000}


def scenario_keys_that_are_none(lab):
    """A key of 100 000 bytes, or a tree: nobody is asked about it, the partner's stream stays, its sender is told."""
    remote, answered = shared(lab, SHARED), 0
    for name, key in ODD_KEYS.items():
        with cost(lab, f"key: {name}", LOG_MAX), stranger(lab, SHARED, timeout=30) as probe:
            probe.secure()
            probe.send_result(key=key)
            answer = answer_unless_too_large(probe)
            if answer is None and len(key) > 10000:
                continue
            assert answer.get("type") == "error", name
            probe.assert_open(0.2)
            probe.send_result()
            assert answer_to(probe).get("type") == "valid"      # the stream goes on
            answered += 1
    assert [element.text for element in remote.elements("verify")] == ["0123456789abcdef"] * answered
    assert answered >= len(ODD_KEYS) - 2
    say(lab, remote, "last")
    # An ejabberd opens another one for each key.
    asked = answered if lab.edge.host == "ejabberd" else 0
    assert len(remote.connections) == 1 + asked, "the stream that users' stanzas go over has ended"


def scenario_key_as_a_deep_tree(lab):
    """60 000 deep, and there is no stream to the partner yet: the route is not left half made, messages arrive."""
    with cost(lab, "key 60 000 deep"), stranger(lab, FRESH, timeout=60) as probe:
        probe.secure()
        with contextlib.suppress(Closed):
            probe.send_result(key="<x>" * 60000 + "</x>" * 60000)
            probe.read(20)
    remote = Remote(lab, [FRESH], leaf=lab.certificates.leaf(FRESH))
    say(lab, remote, "after the tree")


def scenario_odd_keys_have_an_end(lab):
    """Unauthenticated, a stream may get it wrong so often."""
    mark = lab.edge.mark()
    with stranger(lab, SHARED, timeout=20) as probe:
        probe.secure()
        for _ in range(FAULTS_MAX * 3):
            probe.send_result(key="")
        refused(probe, "dialback-not-allowed")
        errors = [element for kind, element in probe.seen if kind == "element" and element.name == "result"]
        assert len(errors) == FAULTS_MAX - 1, len(errors)
    assert len(re.findall(f"Refused stream from {SHARED} ", lab.edge.log_since(mark))) == 1


def scenario_keys_that_wait(lab):
    """A partner that reads and does not answer is asked about so many keys, and no more; users' stanzas still go."""
    remote = shared(lab, SILENT, verify="ignore")
    answers = []
    for number in range(ROUTE_MAX + 8):
        with stranger(lab, SILENT) as probe:
            probe.secure()
            probe.send_result(key=f"key{number}")
            if number >= ROUTE_MAX:
                answers.append(answer_to(probe))
            else:       # or the stream could end before its key has been read, and one more would be asked about
                wait_until(lambda: len(remote.elements("verify")) > number, 30, f"question about key {number}")
    assert [answer.get("type") for answer in answers] == ["error"] * 8
    assert {answer.condition for answer in answers} == {"resource-constraint"}
    say(lab, remote, "behind the keys")
    assert len(remote.elements("verify")) == ROUTE_MAX and len(remote.connections) == 1


def scenario_keys_that_queue(lab):
    """The same while there is no stream yet: the queue that users' stanzas wait in stays short."""
    def mute(connection):
        connection.read_header(60)
        time.sleep(60)
    remote = Remote(lab, [UNREACHABLE], script=mute, timeout=60)
    session = f"prosody.hosts[{HOST!r}].s2sout[{UNREACHABLE!r}]"

    def waiting():
        return lab.edge.shell(f"> local q = {session} and {session}.sendq; return 'waiting:'..(q and (q.count and q.count() or #q) or 0)")
    with contextlib.ExitStack() as streams:     # one that ended before its key has been read would have one more wait
        for number in range(ROUTE_MAX + 8):
            probe = streams.enter_context(stranger(lab, UNREACHABLE))
            probe.secure()
            probe.send_result(key=f"key{number}")
            if number == ROUTE_MAX - 1:
                wait_until(lambda: f"waiting:{ROUTE_MAX}" in waiting(), 30, "keys in the queue")
            if number >= ROUTE_MAX:
                assert answer_to(probe).get("type") == "error"
    count = waiting()
    assert re.search(rf"waiting:{ROUTE_MAX}\b", count), count
    remote.close()


def scenario_answers_make_room(lab):
    """Many more keys than may wait, each answered: nobody is turned away."""
    remote = shared(lab, PARTNER)
    for number in range(ROUTE_MAX * 2):
        with stranger(lab, PARTNER) as probe:
            probe.secure()
            assert probe.dialback(f"key{number}") == "valid"
    assert len(remote.elements("verify")) == ROUTE_MAX * 2


# Keys we are asked about

def verify(domain, attributes, inside):
    return f"<db:verify xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}'{attributes}>{inside}</db:verify>"


def scenario_odd_questions(lab):
    """Without id, without text, with a child: an error to the sender, none of core's, and the stream goes on."""
    for attributes, inside in (("", "key"), (" id='1'", ""), (" id='1'", "<x/>"), (" id=''", "key"), (f" id='{'1' * 300}'", "key"),
                               (" id='1'", "k" * 100000)):
        with cost(lab, f"db:verify{attributes[:10]}: {inside[:10]}", LOG_MAX), stranger(lab, VERIFYING, timeout=20) as probe:
            probe.secure()
            probe.send(verify(VERIFYING, attributes, inside))
            answer = answer_unless_too_large(probe, "verify")
            if answer is None and len(inside) > 10000:
                continue
            assert answer.get("type") == "error" and len(str(answer)) < 1000, answer
            assert probe.verify("key", "1") == "invalid"


def wrong_keys(lab, probe, count, mark):
    for number in range(count):
        probe.send(verify(probe.from_, f" id='{number}'", "key"))
    with contextlib.suppress(Closed):
        while answer_to(probe, "verify").get("id") != str(count - 1):
            pass
    warnings = re.findall("Asked to verify a dialback key that was incorrect", lab.edge.log_since(mark))
    assert len(warnings) <= 3, f"{len(warnings)} warnings"


def scenario_wrong_keys(lab):
    mark = lab.edge.mark()
    with stranger(lab, VERIFYING) as probe:
        probe.secure()
        wrong_keys(lab, probe, 200, mark)
        refused(probe, "dialback-not-allowed")


def scenario_wrong_keys_from_a_partner(lab):
    """The partner passes on what strangers send it: its stream is not closed for it, and our own keys are still good."""
    remote = Remote(lab, [ASKING], leaf=lab.certificates.leaf(ASKING), offer=["dialback"])
    say(lab, remote, "by a key of ours")
    key = remote.elements("result")[0].text
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=ASKING, to=HOST, leaf=lab.certificates.leaf(ASKING)) as probe:
        probe.authenticate()
        wrong_keys(lab, probe, 200, mark)
        probe.send(verify(ASKING, "", "key") * 100)
        assert probe.verify(key, "lab1") in ("valid", "error")
        while probe.verify(key, "lab1") == "error":
            pass
        seen = lab.alice.mark()
        probe.message(f"eve@{ASKING}", ALICE, "still here")
        lab.alice.wait_message("still here", since=seen)


# From the wrong side

def scenario_answers_to_the_accepting_side(lab):
    """400 kB in an element that only the other side may send: the stream ends, and the log does not hold it."""
    text = "x" * 400000
    for element in (f"<success xmlns='{SASL}'>{text}</success>", f"<failure xmlns='{SASL}'><x/><text>{text}</text></failure>",
                    f"<proceed xmlns='{TLS}'>{text}</proceed>", f"<failure xmlns='{TLS}'>{text}</failure>",
                    f"<db:result xmlns:db='{DIALBACK}' from='{SASL_ONLY}' to='{HOST}' type='valid'>{text}</db:result>",
                    f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{text}</auth>", f"<bidi xmlns='{BIDI}'>{text}</bidi>",
                    f"<bidi xmlns='{BIDI}' x='{text}'/>"):
        for domain in (SASL_ONLY, SHARED):
            with cost(lab, f"{element[:30]} from {domain}", LOG_MAX), stranger(lab, domain, timeout=30) as probe:
                probe.features()
                probe.send(element)
                if machine.parser_waits():      # for an incomplete tag to double; the stream may be at its end already
                    with contextlib.suppress(OSError):
                        probe.send(" " * len(text))
                assert ended(probe, 30), element[:60]


def scenario_unknown_elements_of_a_partner(lab):
    """Core would write all of it into the log."""
    text = "x" * 400000
    for element in (f"<x xmlns='urn:example'>{text}</x>", f"<success xmlns='{SASL}'>{text}</success>",
                    f"<r xmlns='urn:xmpp:sm:3'>{text}</r>"):
        with Probe(lab.edge.address, from_=SASL_ONLY, to=HOST, leaf=lab.certificates.leaf(SASL_ONLY), timeout=30) as probe:
            probe.authenticate()
            with cost(lab, f"{element[:30]}, authenticated", LOG_MAX):
                probe.send(element)
                assert ended(probe, 30), element[:60]


def scenario_bidirectional_questions(lab):
    """Over a stream of a partner's that is used both ways, its answers to what we ask pass without effect and do not end it."""
    with Probe(lab.edge.address, from_=PARTNER, to=HOST, leaf=lab.certificates.leaf(PARTNER)) as probe:
        probe.authenticate()
        probe.send(f"<db:verify xmlns:db='{DIALBACK}' from='{PARTNER}' to='{HOST}' id='1' type='valid'/>" * 3)
        seen = lab.alice.mark()
        probe.message(f"eve@{PARTNER}", ALICE, "after an answer")
        lab.alice.wait_message("after an answer", since=seen)


# What core leaves behind

def scenario_stranded_route(lab):
    """Core fails while it opens a stream, after it has named it as the route: what waits there comes back, and the route is free."""
    # All at once, or the sweep may come between.
    route = f"prosody.hosts[{HOST!r}].s2sout[{STRANDED!r}]"
    said = lab.edge.shell(
        f"> local st = require 'util.stanza'; local m = st.message({{ from = 'x@{HOST}', to = 'y@{STRANDED}' }}); m.tags[1] = {{}}; m[1] = {{}}; "
        f"pcall(prosody.hosts[{HOST!r}].events.fire_event, 'route/remote', {{ from_host = {HOST!r}, to_host = {STRANDED!r}, stanza = m }}); "
        f"prosody.core_route_stanza(prosody.hosts[{HOST!r}], st.message({{ from = '{lab.alice.full_jid}', to = 'y@{STRANDED}', id = 'waits' }})); "
        f"return 'stranded: '..tostring({route} ~= nil and {route}.conn == nil and {route}.s2s_partners_stream == nil)")
    assert "stranded: true" in said, f"core has not failed where it is to fail: {said}"
    lab.alice.wait_error("waits", 20)
    route = f"> return 'route: '..tostring({route} ~= nil)"
    wait_until(lambda: "route: false" in lab.edge.shell(route), 15, "end of the stranded route")
    say(lab, Remote(lab, [STRANDED], leaf=lab.certificates.leaf(STRANDED)), "a new stream")


# In clear

def in_clear(sock, seconds=5):
    """All that is read until the end."""
    sock.settimeout(seconds)
    data = b""
    with contextlib.suppress(OSError):
        while more := sock.recv(65536):
            data += more
    return data


def scenario_nothing_in_clear_behind_proceed(lab):
    """STARTTLS, and what makes the edge refuse the stream in the same segment."""
    for element in ("<message from='eve@%s' to='alice@contoso.test'/>" % SHARED, f"<success xmlns='{SASL}'/>", "<x xmlns='urn:x'/>",
                    f"<db:result xmlns:db='{DIALBACK}' from='evil.test' to='{HOST}'>key</db:result>"):
        with Probe(lab.edge.address, from_=SHARED, to=HOST) as probe:
            probe.features()
            header = probe.open_text(from_=SHARED, to=HOST, declaration=False)
            probe.send(f"<starttls xmlns='{TLS}'/>{header}{element}")
            _, _, behind = in_clear(probe.socket, 4).partition(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            assert b"<" not in behind, behind


def scenario_nothing_in_clear_on_the_direct_port(lab):
    """A ClientHello, and no more; nothing at all; something else; a handshake as an unlisted domain that is evicted or refused."""
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    handshake = context.wrap_bio(theirs, ours, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    hello = ours.read()
    sockets = []
    for said in (b"", hello[:20], hello, b"<?xml version='1.0'?><stream:stream>" * 3):
        sock = socket.create_connection((lab.edge.address, 5270), 5)
        sock.sendall(said)
        sockets.append(sock)
    crowd = []
    for _ in range(150):        # more than may wait from one address
        crowd.append(socket.create_connection((lab.edge.address, 5270), 5))
        crowd[-1].sendall(hello)
    for sock in (*sockets, *crowd[:20]):
        data = in_clear(sock, 0.5)
        assert b"<" not in data[:1] and b"stream:error" not in data, data[:200]
    for sock in (*sockets, *crowd):
        sock.close()
    with stranger(lab, "evil.test", port=5270, direct_tls=True) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    assert heard(lab.alice, lab.alice.mark()) == []


# Certificates

def scenario_two_thousand_names(lab):
    """Of a certificate that leads to no anchor no name is converted."""
    leaf = lab.certificates.leaf(SASL_ONLY, issuer="self", label="names", raw_names=[["xmpp:utf8", "b\u00fccher{n}.test", 1999]])
    with cost(lab, "self-signed, 1999 names in another script"), \
         Probe(lab.edge.address, from_=SASL_ONLY, to=HOST, leaf=leaf) as probe:
        probe.features()
        assert probe.starttls() is None
        probe.open()
        refused(probe, "certificate-untrusted", "not-authorized")



# What is in the table still works

def scenario_stream_management_both_ways(lab):
    """XEP-0198 and XEP-0288 between two servers that know both: all of it passes, and no stream ends."""
    modules = ["smacks", "s2s_bidi"]
    edge = edge_server(lab, configuration(any_method("managed.test")), name="managing", hosts=["managing.test"],
                       users=["alice@managing.test"], modules=modules).start()
    other = Prosody(lab, "managed", ["managed.test"], users=["bob@managed.test"], preset="any", modules=modules).start()
    mark = edge.mark()
    with Client("alice@managing.test", edge.address) as alice, Client("bob@managed.test", other.address) as bob:
        for number in range(20):
            alice.send_message("bob@managed.test", f"to bob {number}")
            bob.wait_message(f"to bob {number}")
            bob.send_message("alice@managing.test", f"to alice {number}")
            alice.wait_message(f"to alice {number}")
    log = edge.log_since(mark)
    assert "Refused" not in log, re.search("Refused.*", log)[0]
    assert re.search(r"Received\[s2s\w+\]: <(enable|enabled|r|a) ", log), "no stream management was seen"
