"""Ways around the policy, inbound: the handshake."""

import re

from lab.probe import Probe, mechanisms
from lab.waiting import wait_until
from lab.xmlstream import DIALBACK, SASL, TLS, Closed

from scenarios import _gatekeeper
from scenarios._edge import (ALICE, HOST, assert_not_established, closed_somehow, established, heard,
                             refused, wrong_sender)
from scenarios._gatekeeper import (EVIL, FABRIKAM, HANDSHAKE, NORTHWIND, OWN, ROOMS, SHARED, STANZAS, Untouched,
                                   dialback_error, methods_in, pipelined, still_works)

setup, teardown = _gatekeeper.setup, _gatekeeper.teardown


# Dialback on a stream that is another's (attacks 1, 2, 5)

def scenario_piggyback_unlisted(fixture):
    with fixture.authenticated() as probe, Untouched(fixture, EVIL):
        probe.send_result(from_=EVIL)
        refused(probe, "unlisted-domain")


def scenario_piggyback_listed(fixture):
    for domain in (NORTHWIND, "wingtip.test", "corp.northwind.test"):
        with fixture.authenticated() as probe:
            with Untouched(fixture, domain):
                probe.send_result(from_=domain)
                dialback_error(probe)
            still_works(fixture, probe, FABRIKAM, f"after {domain}")
            probe.message(f"eve@{domain}", ALICE, "as the other")
            wrong_sender(probe)


def scenario_piggyback_listed_on_dialback(fixture):
    with fixture.probe("wingtip.test") as probe:
        probe.secure()
        assert probe.dialback() == "valid"
        with Untouched(fixture, "any.test"):
            probe.send_result(from_="any.test")
            dialback_error(probe)
        still_works(fixture, probe, "wingtip.test", "still wingtip")


def scenario_piggyback_own_domain_listed_twice(fixture):
    """Another domain of the same partner is another domain all the same."""
    with fixture.authenticated(NORTHWIND) as probe, Untouched(fixture, "corp.northwind.test"):
        probe.message("eve@corp.northwind.test", ALICE, "as a subsidiary")
        wrong_sender(probe)


def scenario_piggyback_other_host(fixture):
    """Refused either way: by a dialback error, or with the stream."""
    for host in (SHARED, OWN, ROOMS):
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            with Untouched(fixture, "wingtip.test"):
                probe.send_result(to=host)
                try:
                    dialback_error(probe)
                except Closed as closed:
                    assert closed.error.condition == "policy-violation", closed
                    assert "(wrong-domain)" in closed.error.error_text, closed


def scenario_key_before_tls(fixture):
    for domain in (FABRIKAM, "wingtip.test"):
        with fixture.probe(domain) as probe, Untouched(fixture, domain):
            probe.features()
            probe.send_result()
            refused(probe, "tls-required")


def scenario_key_with_a_type(fixture):
    """A result is for the side that asks."""
    for type_ in ("valid", "invalid", "error"):
        with fixture.probe("wingtip.test") as probe, Untouched(fixture, "wingtip.test"):
            probe.secure()
            probe.send(f"<db:result xmlns:db='{DIALBACK}' from='wingtip.test' to='{HOST}' type='{type_}'/>")
            probe.message("eve@wingtip.test", ALICE, "by my own word")
            closed_somehow(probe)


def scenario_invalid_key(fixture):
    remote = fixture.remotes["wingtip.test"]
    for answer in ("invalid", "error"):
        remote.verify = answer
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            assert probe.dialback() in ("invalid", "error")
            seen = fixture.alice.mark()
            probe.message("eve@wingtip.test", ALICE, "with an invalid key")
            closed_somehow(probe)
        assert heard(fixture.alice, seen) == []
    remote.verify = "valid"


def scenario_without_from(fixture):
    """STARTTLS only; and nothing at all when the name is still missing after it."""
    with fixture.probe() as probe:
        features = probe.features(from_=None)
        assert features.find("starttls", TLS).find("required") and methods_in(features) == ["starttls"], features
        with Untouched(fixture, FABRIKAM):
            assert probe.starttls() is None
            probe.open(from_=None)
            probe.send_result()
            closed_somehow(probe)


def scenario_from_only_after_tls(fixture):
    with fixture.probe() as probe:
        probe.features(from_=None)
        assert probe.starttls() is None
        assert mechanisms(probe.features()) == ["EXTERNAL"]
        assert probe.external().name == "success"
        probe.features()
        still_works(fixture, probe, FABRIKAM, "named late")


def scenario_unlisted_from_only_after_tls(fixture):
    with fixture.probe(EVIL) as probe, Untouched(fixture, EVIL):
        probe.features(from_=None)
        assert probe.starttls() is None
        probe.open()
        refused(probe, "unlisted-domain")


def scenario_from_only_in_the_key(fixture):
    """A name that comes first with the key is judged as if it had come with the header."""
    for domain, reason in ((FABRIKAM, "tls-required"), (EVIL, "unlisted-domain")):
        with fixture.probe(domain) as probe, Untouched(fixture, domain):
            probe.features(from_=None)
            probe.send_result()
            refused(probe, reason)


def scenario_auth_without_from(fixture):
    with fixture.probe() as probe:
        probe.features(from_=None)
        assert probe.starttls() is None
        probe.open(from_=None)
        probe.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>ZmFicmlrYW0udGVzdA==</auth>")
        probe.message(f"eve@{FABRIKAM}", ALICE, "nobody's stream")
        closed_somehow(probe)


# Elements addressed to another host (attack 3)

def addressed_elsewhere(name, secure):
    def scenario(fixture):
        for host in (SHARED, OWN, ROOMS, "nowhere.test"):
            mark = fixture.edge.mark()
            with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
                probe.secure() if secure else probe.features()
                probe.send(HANDSHAKE[name] % host)
                refused(probe, "wrong-domain")
            assert_not_established(fixture.edge, FABRIKAM, mark)
    return scenario


# Streams of before XMPP 1.0, without 'to' (attacks 4, 6)

def scenario_pre_1_0(fixture):
    for version in (None, "0.9"):
        for domain, reason in ((FABRIKAM, "tls-required"), ("wingtip.test", "tls-required"), (EVIL, "unlisted-domain")):
            with fixture.probe(domain) as probe, Untouched(fixture, domain):
                probe.open(version=version)
                probe.send_result()
                refused(probe, reason)


def scenario_pre_1_0_unlisted_at_once(fixture):
    """Closed as soon as the domain is known, that is with the header."""
    with fixture.probe(EVIL) as probe:
        probe.open(version=None)
        probe.read_close("policy-violation", "unlisted-domain", timeout=20)


def scenario_pre_1_0_where_allowed(fixture):
    for domain in ("plain.test", "any.test"):
        mark = fixture.edge.mark()
        with fixture.probe(domain) as probe:
            probe.open(version=None)
            assert probe.dialback() == "valid"
            still_works(fixture, probe, domain, f"by an old {domain}")
        assert established(fixture.edge, "from", domain, mark)[1] == "TCP dialback"


def scenario_pre_1_0_stanza(fixture):
    with fixture.probe("plain.test") as probe, Untouched(fixture):
        probe.open(version=None)
        probe.message("eve@plain.test", ALICE, "no key at all")
        refused(probe, "no-method-left", "not-authorized")


def scenario_without_to(fixture):
    for version in ("1.0", None):
        with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
            probe.open(to=None, version=version)
            probe.send_result(to=HOST)
            closed_somehow(probe)


def scenario_without_any_address(fixture):
    for version in ("1.0", None):
        with fixture.probe() as probe, Untouched(fixture, FABRIKAM, EVIL):
            probe.open(to=None, from_=None, version=version)
            probe.send_result(from_=EVIL, to=HOST)
            closed_somehow(probe)


def scenario_to_somebody_else(fixture):
    with fixture.probe(to="nowhere.test") as probe:
        probe.open()
        probe.read_close("host-unknown")


def scenario_from_a_host_of_ours(fixture):
    for host in (HOST, SHARED, ROOMS):
        with fixture.probe(host) as probe, Untouched(fixture, host):
            probe.open()
            closed_somehow(probe)


# Everything at once

def scenario_pipelined_in_one_segment(fixture):
    """Header, key, <auth/> and a stanza before anything has been answered."""
    for domain in (FABRIKAM, EVIL, "wingtip.test"):
        mark = fixture.edge.mark()
        with fixture.probe(domain) as probe, Untouched(fixture, *([] if domain == FABRIKAM else [domain])):
            probe.send(probe.open_text(from_=domain, to=HOST) + pipelined("auth", domain) + pipelined("key", domain)
                       + pipelined("stanza", domain))
            closed_somehow(probe)
        assert_not_established(fixture.edge, domain, mark)


# Forged TLS, repeated and misplaced elements (attack 18)

def scenario_pipelined_starttls(fixture):
    """Core takes a second header behind <starttls/> for the one after a handshake."""
    for domain in (FABRIKAM, "wingtip.test", "any.test"):
        for element in ("auth", "key", "stanza"):
            mark = fixture.edge.mark()
            with fixture.probe(domain) as probe, Untouched(fixture, domain):
                probe.features()
                # Without an XML declaration, which the parser would not take there.
                header = probe.open_text(from_=domain, to=HOST, declaration=False)
                probe.send(f"<starttls xmlns='{TLS}'/>{header}{pipelined(element, domain)}")
                assert probe.read().name == "proceed"
                try:
                    clear = probe.read(3)
                except (Closed, TimeoutError):
                    clear = None
                assert clear is None, f"in clear after <proceed/>: {clear}"
            assert_not_established(fixture.edge, domain, mark)


def scenario_starttls_inside_tls(fixture):
    for domain in (FABRIKAM, "any.test"):
        with fixture.probe(domain) as probe:
            probe.secure()
            assert probe.starttls().name == "failure"
            refused(probe, "tls-not-supported")


def scenario_starttls_after_authentication(fixture):
    with fixture.authenticated() as probe:
        assert probe.starttls().name == "failure"
        refused(probe, "tls-not-supported")


def scenario_more_after_tcp_dialback(fixture):
    """An authenticated stream in clear: neither STARTTLS nor SASL comes any more."""
    for element in (f"<starttls xmlns='{TLS}'/>", f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>"):
        with fixture.probe("any.test") as probe:
            probe.features()
            assert probe.dialback() == "valid"
            probe.send(element)
            assert probe.read_until(lambda answer: answer.xmlns in (TLS, SASL)).name == "failure"
            probe.read_close("policy-violation")


def scenario_key_after_sasl(fixture):
    """A key for what is proven already changes nothing, and nobody is asked about it."""
    for domain in (FABRIKAM, "any.test"):
        with fixture.authenticated(domain) as probe:
            with Untouched(fixture, domain):
                probe.send_result()
            still_works(fixture, probe, domain, f"after the key of {domain}")
            assert not any(kind == "element" and element.name == "result" for kind, element in probe.seen)


def scenario_verification_by_a_third(fixture):
    """The key of one domain, confirmed over our stream to another."""
    wingtip, other = fixture.remotes["wingtip.test"], fixture.remotes["any.test"]
    fixture.alice.send_message("eve@any.test", "a stream of ours")
    other.wait_element(lambda element: element.name == "message")
    connection = next(one for one in other.connections if any(element.name == "message" for element in one.elements))
    wingtip.verify = "ignore"
    try:
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            mark, before = fixture.edge.mark(), len(wingtip.elements("verify"))
            probe.send_result()
            wait_until(lambda: len(wingtip.elements("verify")) > before, 20, "question about the key")
            connection.send(f"<db:verify xmlns:db='{DIALBACK}' from='wingtip.test' to='{HOST}' "
                            f"id='{probe.header.get('id')}' type='valid'/>")
            assert not answered(probe), probe.seen
        # To wingtip.test there is one, over which the key was asked about.
        assert "Established stream from wingtip.test" not in fixture.edge.log_since(mark)
    finally:
        wingtip.verify = "valid"


def answered(probe, seconds=1):
    try:
        return probe.read(seconds).get("type") == "valid"
    except (TimeoutError, Closed):
        return False


def scenario_misplaced_answers(fixture):
    """Elements that only the side that was called may send."""
    for element in ("features", "success", "failure", "proceed"):
        for secure in (False, True):
            mark = fixture.edge.mark()
            with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
                probe.secure() if secure else probe.features()
                probe.send(HANDSHAKE[element].replace(" to='%s'", ""))
                closed_somehow(probe)
            assert_not_established(fixture.edge, FABRIKAM, mark)


def scenario_restart_as_another(fixture):
    """The names of a stream cannot change at a restart."""
    leaf = fixture.lab.certificates.leaf(FABRIKAM, also=[NORTHWIND])
    nobody = [{"from_": None}] if fixture.edge.host == "prosody" else []     # ejabberd goes on as who has authenticated
    for changes in ({"from_": NORTHWIND}, {"to": OWN}, {"to": SHARED}, {"from_": EVIL}, *nobody, {"to": None}):
        with Probe(fixture.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
            probe.secure()
            assert probe.external().name == "success"
            probe.open(**changes)
            probe.message(f"eve@{changes.get('from_') or FABRIKAM}", ALICE, "changed")
            closed_somehow(probe)


def scenario_restart_as_another_after_tls(fixture):
    leaf = fixture.lab.certificates.leaf(FABRIKAM, also=[NORTHWIND])
    with Probe(fixture.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.features()
        assert probe.starttls() is None
        probe.open(from_=NORTHWIND)
        closed_somehow(probe)


def scenario_restart_unasked(fixture):
    """A header in the middle of a stream."""
    for as_ in (FABRIKAM, NORTHWIND):
        mark = fixture.edge.mark()
        with fixture.authenticated() as probe, Untouched(fixture):
            established(fixture.edge, "from", FABRIKAM, mark)
            probe.send(probe.open_text(from_=as_, to=HOST, declaration=False))
            probe.message(f"eve@{NORTHWIND}", ALICE, "as another")
            probe.send("</stream:stream>")      # ends what may be no more than an odd element
            probe.message(f"eve@{NORTHWIND}", ALICE, "as another")
            closed_somehow(probe)


def scenario_client_namespace(fixture):
    """A server stream that says it is a client's."""
    with fixture.probe() as probe, Untouched(fixture):
        probe.open(xmlns="jabber:client")
        probe.message(f"eve@{FABRIKAM}", ALICE, "as a client")
        closed_somehow(probe)


# What comes before, and after

def scenario_features_after_authentication(fixture):
    """An authenticated stream is offered no further way to authenticate."""
    with fixture.authenticated() as probe:
        features = next(element for kind, element in reversed(probe.seen) if kind == "element")
        assert features.name == "features" and not methods_in(features), features


def scenario_silence_before_the_header(fixture):
    for garbage in ("\x16\x03\x01", "<x/>", "</stream:stream>", "<?xml version='1.0'?><message/>"):
        with fixture.probe() as probe, Untouched(fixture):
            probe.send(garbage)
            probe.socket.shutdown(1)
            try:
                closed_somehow(probe)
            except Exception as problem:    # a parser of ours may not like what comes back
                assert not isinstance(problem, (TimeoutError, AssertionError)), problem


# The log: one line for each refused stream, one for each established one

def lines_about(fixture, domain, mark):
    return [line for line in fixture.edge.log_since(mark).splitlines()
            if f"Refused stream from {domain} " in line or f"Established stream from {domain} " in line]


def scenario_one_line_a_stream(fixture):
    flood = STANZAS["message"] % ("", f"eve@{FABRIKAM}", ALICE) * 500
    keys, auths = pipelined("key", FABRIKAM) * 500, pipelined("auth", FABRIKAM) * 500
    for name, text in (("stanzas", flood), ("keys", keys), ("auths", auths)):
        mark = fixture.edge.mark()
        with fixture.probe() as probe, Untouched(fixture, FABRIKAM):
            probe.features()
            probe.send(text)
            closed_somehow(probe)
        lines = lines_about(fixture, FABRIKAM, mark)
        assert len(lines) == 1 and re.search(r"\tinfo\t|\[info\]", lines[0]), (name, lines)
    mark = fixture.edge.mark()
    with fixture.authenticated() as probe:
        still_works(fixture, probe, FABRIKAM, "not a secret to log")
    assert len(lines_about(fixture, FABRIKAM, mark)) == 1
    # At debug ejabberd writes all that comes and goes itself.
    log = fixture.edge.log_since(mark) if fixture.edge.host == "prosody" else fixture.edge.module_log(mark)
    assert "not a secret to log" not in log


def scenarios():
    for name in HANDSHAKE:
        for secure in (False, True):
            if not (name == "starttls" and secure):
                yield f"{name}_to_another_host_{'over_tls' if secure else 'in_clear'}", addressed_elsewhere(name, secure)
