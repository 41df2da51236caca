"""Ways around the policy, outbound: what a server that the edge connects to may try.

sasl.test may use SASL EXTERNAL only, tlsdb.test TLS dialback only, both.test either, any.test everything and
tcp.test TCP dialback only; all with their subdomains, so that each scenario has a name, and a server, of its own."""

import socket
import time
from dataclasses import dataclass

from lab.client import Client
from lab.prosody import Prosody
from lab.remote import Remote
from lab.waiting import wait_until
from lab.xmlstream import DIALBACK, DIALBACK_FEATURE, SASL, TLS, server_context

from scenarios._edge import (ALICE, HOST, any_method, assert_not_established, configuration, edge_server, established,
                             heard, lua, partner, refusal_logged, tcp_dialback, tls_dialback)

TIMEOUT = 60
EVIL, OWN, ROOMS = "evil.test", "tailspin.test", "rooms.contoso.test"
DAVE = f"dave@{OWN}"
EXTERNAL_FEATURE = f"<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"

PARTNERS = configuration(
    partner("sasl.test", "*.sasl.test"), tls_dialback("tlsdb.test", "*.tlsdb.test"),
    tls_dialback("both.test", "*.both.test", sasl="optional"), any_method("any.test", "*.any.test"),
    tcp_dialback("tcp.test", "*.tcp.test"), partner("exact.test"), partner("bücher.test"))


@dataclass
class Bypass:
    lab: object
    edge: Prosody
    alice: Client


def setup(lab):
    hosts = {HOST: "", OWN: f"s2s_partners = {lua([partner('exact.test')])}"}
    edge = edge_server(lab, PARTNERS, hosts=hosts, components={ROOMS: ("muc", "")}, modules=["s2s_bidi"],
                       users=[ALICE, DAVE]).start()
    return Bypass(lab, edge, Client(ALICE, edge.address))


def teardown(fixture):
    fixture.alice.close()


def remote_for(fixture, domain, leaf="good", **more):
    certificate = fixture.lab.certificates.leaf(domain, leaf) if leaf else None
    return Remote(fixture.lab, [domain], leaf=certificate, **more)


def assert_nothing_leaked(remote):
    """Neither a stanza nor a dialback key has come."""
    leaked = [element for element in remote.elements() if element.name in ("message", "presence", "iq", "result")]
    assert not leaked, leaked


def refused_outbound(fixture, domain, reason=None):
    """Alice's message to the domain comes back; one that is queued behind it as well."""
    mark = fixture.edge.mark()
    ids = [fixture.alice.send_message(f"eve@{domain}", f"{n} to {domain}") for n in range(2)]
    for id_ in ids:
        condition, text, kind = fixture.alice.wait_error(id_, 30)     # some are told by s2s_timeout, 10 seconds
        if reason:
            assert (condition, kind) == ("not-allowed", "cancel") and text, (condition, kind, text)
    if reason:
        refusal_logged(fixture.edge, "to", domain, reason, mark)
    assert_not_established(fixture.edge, domain, mark)


def delivered_outbound(fixture, remote, domain, method):
    mark = fixture.edge.mark()
    fixture.alice.send_message(f"eve@{domain}", f"to {domain}")
    remote.wait_element(lambda element: element.name == "message" and element.find("body").text == f"to {domain}")
    assert established(fixture.edge, "to", domain, mark)[1] == method


# An answer that nobody asked for (attack 12)

def valid(domain):
    return f"<db:result xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}' type='valid'/>"


def forged_stanza(domain, body="forged"):
    return f"<message from='eve@{domain}' to='{ALICE}' id='forged'><body>{body}</body></message>"


def greet_and_say(*before, after=()):
    """A script: header, `before`, features, `after`, in one go and in clear; then whatever comes is only read."""
    def script(connection):
        connection.read_header()
        connection.answer_header()
        connection.send("".join(before))
        connection.send_features(f"<starttls xmlns='{TLS}'/>", f"<dialback xmlns='{DIALBACK_FEATURE}'/>")
        connection.send("".join(after))
        while True:
            connection.read()
    return script


def unsolicited_in_clear(place):
    def scenario(fixture):
        for name in ("sasl", "tlsdb", "both", "any"):
            domain = f"unsolicited-{place}.{name}.test"
            said = (valid(domain), forged_stanza(domain))
            script = greet_and_say(*said) if place == "before-features" else greet_and_say(after=said)
            remote = remote_for(fixture, domain, script=script)
            seen = fixture.alice.mark()
            refused_outbound(fixture, domain)
            assert not remote.elements("message"), remote.elements()
            assert all(stanza.get("type") == "error" for stanza in heard(fixture.alice, seen))
    return scenario


scenario_unsolicited_before_features = unsolicited_in_clear("before-features")
scenario_unsolicited_behind_features = unsolicited_in_clear("behind-features")


def scenario_unsolicited_while_sasl_is_pending(fixture):
    for name in ("sasl", "both", "any"):
        domain = f"pending.{name}.test"
        remote = remote_for(fixture, domain, external="ignore", after_features=valid(domain) + forged_stanza(domain))
        refused_outbound(fixture, domain, "dialback-not-allowed")
        assert_nothing_leaked(remote)


def scenario_unsolicited_instead_of_an_answer(fixture):
    """<auth/> is answered with db:result."""
    for name in ("sasl", "both"):
        domain = f"instead.{name}.test"
        remote = remote_for(fixture, domain, external="ignore")
        react = remote.react

        def answer(connection, element, domain=domain, react=react):
            react(connection, element)
            if element.name == "auth":
                connection.send(valid(domain))
        remote.react = answer
        refused_outbound(fixture, domain, "dialback-not-allowed")
        assert_nothing_leaked(remote)


def scenario_answer_for_another_domain(fixture):
    """Valid, but not for what we asked."""
    domain = "elsewhere.tlsdb.test"
    remote = remote_for(fixture, domain, result="ignore")
    react = remote.react

    def answer(connection, element):
        react(connection, element)
        if element.name == "result":
            for other in ("both.test", EVIL):
                connection.send(valid(other))
    remote.react = answer
    refused_outbound(fixture, domain, "unlisted-domain")
    assert not remote.elements("message")


def scenario_invalid_answer(fixture):
    for result in ("invalid", "error"):
        domain = f"{result}.tlsdb.test"
        remote = remote_for(fixture, domain, result=result)
        refused_outbound(fixture, domain)
        assert not remote.elements("message")


# SASL (attack 15)

def scenario_sasl_failure_without_fallback(fixture):
    remote = remote_for(fixture, "failure.sasl.test", external="failure")
    refused_outbound(fixture, "failure.sasl.test", "sasl-required")
    assert remote.elements("auth")
    assert_nothing_leaked(remote)


def scenario_sasl_failure_with_fallback(fixture):
    for name in ("both", "any"):
        domain = f"failure.{name}.test"
        delivered_outbound(fixture, remote_for(fixture, domain, external="failure"), domain, "TLS dialback")


def scenario_sasl_not_offered(fixture):
    remote = remote_for(fixture, "mute.sasl.test", offer=["dialback", "bidi"])
    refused_outbound(fixture, "mute.sasl.test", "sasl-required")
    assert_nothing_leaked(remote)


def scenario_sasl_success_unasked(fixture):
    """<success/> in clear, and over TLS before <auth/>."""
    for domain, script in (("success-clear.sasl.test", greet_and_say(f"<success xmlns='{SASL}'/>")),
                           ("success-clear.tlsdb.test", greet_and_say(after=[f"<success xmlns='{SASL}'/>"]))):
        remote = remote_for(fixture, domain, script=script)
        refused_outbound(fixture, domain)
        assert_nothing_leaked(remote)
    domain = "success.tlsdb.test"
    remote = remote_for(fixture, domain, result="ignore", after_features=f"<success xmlns='{SASL}'/>" + forged_stanza(domain))
    refused_outbound(fixture, domain)
    assert not remote.elements("message")


# STARTTLS (attack 16)

def scenario_starttls_stripped(fixture):
    for name in ("sasl", "tlsdb", "both"):
        domain = f"stripped.{name}.test"
        remote = remote_for(fixture, domain, leaf=None, offer=["external", "dialback", "bidi"])
        refused_outbound(fixture, domain, "tls-required")
        assert_nothing_leaked(remote)


def answers_starttls(*words):
    """A script that offers STARTTLS and answers it with the words, and then goes on in clear."""
    def script(connection):
        connection.read_header()
        connection.answer_header()
        connection.send_features(f"<starttls xmlns='{TLS}'><required/></starttls>")
        connection.read_until("starttls")
        connection.send("".join(words))
        while True:
            connection.read()
    return script


def scenario_starttls_fails(fixture):
    for name in ("sasl", "tlsdb", "both", "any"):
        for end in ("</stream:stream>", ""):
            domain = f"failing{len(end)}.{name}.test"
            remote = remote_for(fixture, domain, script=answers_starttls(f"<failure xmlns='{TLS}'/>", end))
            refused_outbound(fixture, domain)
            assert_nothing_leaked(remote)


def scenario_proceed_in_clear(fixture):
    """<proceed/>, and then no handshake but a stream in clear, pipelined."""
    for name in ("sasl", "tlsdb", "any"):
        domain = f"forged.{name}.test"
        # Without an XML declaration, which the parser would not take there.
        header = ("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
                  f"xmlns:db='{DIALBACK}' from='{domain}' to='{HOST}' id='x' version='1.0'>")
        features = f"<stream:features>{EXTERNAL_FEATURE}<dialback xmlns='{DIALBACK_FEATURE}'/></stream:features>"
        remote = remote_for(fixture, domain, script=answers_starttls(
            f"<proceed xmlns='{TLS}'/>", header, features, valid(domain), forged_stanza(domain)))
        refused_outbound(fixture, domain)
        assert_nothing_leaked(remote)


def scenario_proceed_unasked(fixture):
    domain = "eager.sasl.test"
    remote = remote_for(fixture, domain, script=greet_and_say(f"<proceed xmlns='{TLS}'/>"))
    refused_outbound(fixture, domain)
    assert_nothing_leaked(remote)


def scenario_starttls_from_the_wrong_side(fixture):
    domain = "reverse.sasl.test"
    remote = remote_for(fixture, domain, script=greet_and_say(f"<starttls xmlns='{TLS}'/>"))
    refused_outbound(fixture, domain, "tls-not-supported")
    assert_nothing_leaked(remote)


def scenario_auth_from_the_wrong_side(fixture):
    for name in ("sasl", "any"):
        domain = f"reverse-auth.{name}.test"
        remote = remote_for(fixture, domain, external="ignore",
                            after_features=f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>" + forged_stanza(domain))
        refused_outbound(fixture, domain, "sasl-not-supported")
        assert_nothing_leaked(remote)


# Elements for another host; before 1.0

def scenario_features_for_another_host(fixture):
    features = f"<starttls xmlns='{TLS}'/><dialback xmlns='{DIALBACK_FEATURE}'/>"
    for host in (OWN, ROOMS, "nowhere.test"):
        for name in ("sasl", "tcp"):
            domain = f"for-{host.partition('.')[0]}.{name}.test"
            remote = remote_for(fixture, domain, script=features_with_to(host, features))
            refused_outbound(fixture, domain, "wrong-domain")
            assert_nothing_leaked(remote)


def features_with_to(host, features):
    def script(connection):
        connection.read_header()
        connection.answer_header()
        connection.send(f"<stream:features to='{host}'>{features}</stream:features>")
        while True:
            connection.read()
    return script


def scenario_pre_1_0(fixture):
    for name in ("sasl", "tlsdb", "both"):
        domain = f"old.{name}.test"
        remote = remote_for(fixture, domain, version=None)
        refused_outbound(fixture, domain, "tls-required")
        assert_nothing_leaked(remote)
    for name in ("any", "tcp"):
        domain = f"old.{name}.test"
        delivered_outbound(fixture, remote_for(fixture, domain, version=None), domain, "TCP dialback")


def scenario_pre_1_0_after_tls(fixture):
    """A peer that forgets its version, and with it the features, once TLS is on."""
    for name in ("sasl", "tlsdb"):
        domain = f"forgets.{name}.test"
        remote = remote_for(fixture, domain)
        greet = remote.greet

        def forgetful(connection, remote=remote, greet=greet):
            remote.version = None if connection.tls else "1.0"
            greet(connection)
        remote.greet = forgetful
        if name == "sasl":
            refused_outbound(fixture, domain, "sasl-required")
            assert_nothing_leaked(remote)
        else:
            delivered_outbound(fixture, remote, domain, "TLS dialback")


# Certificates of the server that was called

def certificate_refused(kind, verdict):
    def scenario(fixture):
        domain = f"{kind}.sasl.test"
        remote = remote_for(fixture, domain, leaf=kind, offer=["external", "dialback", "bidi"])
        refused_outbound(fixture, domain, f"certificate-{verdict}")
        assert not remote.elements("auth")
        assert_nothing_leaked(remote)
    return scenario


def scenario_certificate_falls_back_to_dialback(fixture):
    for name in ("both", "any"):
        domain = f"self-signed.{name}.test"
        remote = remote_for(fixture, domain, leaf="self-signed")
        delivered_outbound(fixture, remote, domain, "TLS dialback")
        assert not remote.elements("auth")


# Stanzas that come back over our own stream, bidi (attack 13)

def scenario_stanza_over_our_stream(fixture):
    """Without bidi nothing comes in over a stream that we opened."""
    domain = "backwards.sasl.test"
    remote = remote_for(fixture, domain)
    delivered_outbound(fixture, remote, domain, "SASL EXTERNAL")
    seen = fixture.alice.mark()
    remote.connections[-1].send(forged_stanza(domain))
    wait_until(lambda: "forged" in str(fixture.alice.stanzas[seen:]) or ended_or_quiet(remote), 20, "end of the stream")
    assert heard(fixture.alice, seen) == []


def ended_or_quiet(remote):
    connection = remote.connections[-1]
    return connection.closed or connection.error is not None


def scenario_stanza_before_authentication(fixture):
    for name in ("sasl", "tlsdb"):
        domain = f"hasty.{name}.test"
        remote = remote_for(fixture, domain, external="ignore", result="ignore", offer=["external", "dialback", "bidi"],
                            after_features=forged_stanza(domain))
        seen = fixture.alice.mark()
        refused_outbound(fixture, domain)
        assert not remote.elements("message")
        assert all(stanza.get("type") == "error" for stanza in heard(fixture.alice, seen))


def scenario_bidi(fixture):
    domain = "bidi.sasl.test"
    remote = remote_for(fixture, domain, offer=["external", "bidi"])
    delivered_outbound(fixture, remote, domain, "SASL EXTERNAL")
    assert remote.elements("bidi")
    remote.connections[-1].send(forged_stanza(domain, "in over bidi"))
    fixture.alice.wait_message("in over bidi")


def scenario_bidi_second_domain(fixture):
    for sender in ("sasl.test", "exact.test", EVIL, HOST):
        domain = f"bidi-as-{sender.partition('.')[0]}.sasl.test"
        remote = remote_for(fixture, domain, offer=["external", "bidi"])
        delivered_outbound(fixture, remote, domain, "SASL EXTERNAL")
        seen = fixture.alice.mark()
        remote.connections[-1].send(forged_stanza(sender))
        wait_until(lambda: remote.connections[-1].error is not None, 20, "stream error")
        assert remote.connections[-1].error.condition == "not-authorized"
        assert heard(fixture.alice, seen) == []


def scenario_bidi_other_host(fixture):
    """To a host whose list does not have the partner: as if nobody was there."""
    domain = "bidi-dave.sasl.test"
    remote = remote_for(fixture, domain, offer=["external", "bidi"])
    with Client(DAVE, fixture.edge.address) as dave:
        delivered_outbound(fixture, remote, domain, "SASL EXTERNAL")
        seen = dave.mark()
        remote.connections[-1].send(f"<message from='eve@{domain}' to='{DAVE}' id='d1'><body>to dave</body></message>"
                                    + forged_stanza(domain, "behind dave's"))
        fixture.alice.wait_message("behind dave's")
        assert heard(dave, seen) == []


def scenario_bidi_self_signed(fixture):
    domain = "bidi-self-signed.sasl.test"
    remote = remote_for(fixture, domain, leaf="self-signed", offer=["external", "dialback", "bidi"],
                        after_features=forged_stanza(domain))
    seen = fixture.alice.mark()
    refused_outbound(fixture, domain, "certificate-untrusted")
    assert_nothing_leaked(remote)
    assert all(stanza.get("type") == "error" for stanza in heard(fixture.alice, seen))


def scenario_key_over_our_stream(fixture):
    """The server we called asks to be let in by dialback over our stream."""
    for domain, key_for in (("asks.sasl.test", "asks.sasl.test"), ("asks.tlsdb.test", "both.test")):
        remote = remote_for(fixture, domain, offer=["external", "dialback", "bidi"])
        fixture.alice.send_message(f"eve@{domain}", "first")
        remote.wait_element("message")
        mark, connections, seen = fixture.lab.dns.mark(), len(remote.connections), fixture.alice.mark()
        remote.connections[-1].send(f"<db:result xmlns:db='{DIALBACK}' from='{key_for}' to='{HOST}'>key</db:result>"
                                    + forged_stanza("both.test"))
        wait_until(lambda: ended_or_quiet(remote), 20, "end of the stream")
        assert not fixture.lab.dns.asked(key_for, mark) and len(remote.connections) == connections
        assert heard(fixture.alice, seen) == []


# Direct TLS (XEP-0368)

def direct_remote(fixture, domain, leaf="good", **more):
    """A server that DNS names for direct TLS only."""
    remote = remote_for(fixture, domain, leaf, register=False, port=5270, **more)
    fixture.lab.dns.server(domain, remote.address, direct_tls_port=5270, srv=False)

    def script(connection):
        if fixture.edge.host == "ejabberd":
            # From 24.10 on an answer that is there before ejabberd has turned to waiting for it is overlooked, and the handshake fails 5 s later
            # (xmpp 1.9: what comes between xmpp_socket:starttls/2 and finish_tls_handshake/1 goes into the mailbox, where nobody looks).
            connection.socket.recv(1, socket.MSG_PEEK)
            time.sleep(1)
        connection.start_tls(server_context(remote.leaf, remote.request_from), server_side=True)
        remote.play(connection)
    remote.script = script
    return remote


def scenario_direct_tls(fixture):
    for name, method in (("sasl", "SASL EXTERNAL"), ("tlsdb", "TLS dialback")):
        domain = f"direct.{name}.test"
        delivered_outbound(fixture, direct_remote(fixture, domain), domain, method)


def scenario_direct_tls_self_signed(fixture):
    domain = "direct-self-signed.sasl.test"
    remote = direct_remote(fixture, domain, "self-signed")
    refused_outbound(fixture, domain, "certificate-untrusted")
    assert_nothing_leaked(remote)


def scenario_direct_tls_where_there_is_to_be_none(fixture):
    domain = "direct.tcp.test"
    remote = direct_remote(fixture, domain)
    refused_outbound(fixture, domain)
    assert_nothing_leaked(remote)


CERTIFICATES = {
    "expired": "expired", "not-yet-valid": "not-yet-valid", "wrong-name": "identity-mismatch", "self-signed": "untrusted",
    "untrusted-ca": "untrusted", "cn-only": "identity-mismatch",
}


def scenarios():
    for kind, verdict in CERTIFICATES.items():
        yield f"certificate_{kind}", certificate_refused(kind, verdict)
