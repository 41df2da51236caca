"""Ways around the policy, inbound: stanzas, with bidi and without."""

from lab.client import Client
from lab.xmlstream import BIDI

from scenarios import _gatekeeper
from scenarios._edge import (ALICE, HOST, closed_somehow, ended, established, heard, refusal_logged,
                             refused, wrong_sender)
from scenarios._gatekeeper import EVIL, FABRIKAM, NORTHWIND, OWN, ROOMS, SHARED, STANZAS, Untouched, still_works

setup, teardown = _gatekeeper.setup, _gatekeeper.teardown


# Stanzas (attacks 10, 17)

def scenario_stanza_of_somebody_else(fixture):
    senders = [f"eve@{domain}" for domain in (NORTHWIND, EVIL, HOST, SHARED, "evilfabrikam.test", f"{FABRIKAM}.evil.test")]
    for sender in [*senders, EVIL, ALICE]:
        for stanza in STANZAS.values():
            with fixture.authenticated() as probe, Untouched(fixture, EVIL):
                probe.send(stanza % ("", sender, ALICE))
                wrong_sender(probe)


def scenario_stanza_of_somebody_else_to_anybody(fixture):
    for to in (HOST, f"carol@{SHARED}", f"dave@{OWN}", f"hall@{ROOMS}", ROOMS, f"nobody@{HOST}", f"x@{EVIL}"):
        with fixture.authenticated() as probe, Untouched(fixture, EVIL):
            probe.send(STANZAS["iq"] % ("", f"eve@{NORTHWIND}", to))
            wrong_sender(probe)


def scenario_stanza_in_another_namespace(fixture):
    """No stanza of this stream at all: not delivered, and not answered to whom it says it is from."""
    for xmlns in ("jabber:client", "jabber:component:accept", "urn:example", "http://etherx.jabber.org/streams"):
        for stanza in STANZAS.values():
            for sender in (f"eve@{FABRIKAM}", f"eve@{NORTHWIND}", f"eve@{EVIL}"):
                with fixture.authenticated() as probe, Untouched(fixture, FABRIKAM, NORTHWIND, EVIL):
                    probe.send(stanza % (f" xmlns='{xmlns}'", sender, ALICE) + "</stream:stream>")
                    closed_somehow(probe)


def scenario_stanza_to_nobody(fixture):
    with fixture.authenticated() as probe, Untouched(fixture):
        probe.send(f"<message from='eve@{FABRIKAM}' id='n1'><body>to nobody</body></message>")
        ended(probe)


def scenario_stanza_of_somebody_else_has_its_reason(fixture):
    """Every refusal has a reason, in the stream error and in the module's own line."""
    mark = fixture.edge.mark()
    with fixture.authenticated() as probe:
        probe.message(f"eve@{NORTHWIND}", ALICE, "stolen")
        refused(probe, "wrong-domain", "not-authorized")
    refusal_logged(fixture.edge, "from", FABRIKAM, "wrong-domain", mark)


def scenario_stanza_without_from(fixture):
    for name in STANZAS:
        with fixture.authenticated() as probe, Untouched(fixture):
            probe.send(f"<{name} to='{ALICE}' type='get' id='s4'><body>anonymous</body></{name}>")
            closed_somehow(probe)


def scenario_stanza_too_early(fixture):
    for xmlns in ("", " xmlns='jabber:client'", " xmlns='jabber:server'"):
        for stanza in STANZAS.values():
            for to in (ALICE, HOST, f"nobody@{HOST}", f"hall@{ROOMS}", f"dave@{OWN}", f"x@{EVIL}"):
                with fixture.probe() as probe, Untouched(fixture, EVIL):
                    probe.features()
                    probe.send(stanza % (xmlns, f"eve@{FABRIKAM}", to))
                    refused(probe, "tls-required", "not-authorized")


def scenario_stanza_after_tls(fixture):
    for stanza in STANZAS.values():
        with fixture.probe() as probe, Untouched(fixture):
            probe.secure()
            probe.send(stanza % ("", f"eve@{FABRIKAM}", ALICE))
            refused(probe, "sasl-required", "not-authorized")


def scenario_stanza_while_the_key_is_verified(fixture):
    remote = fixture.remotes["wingtip.test"]
    remote.verify = "ignore"
    try:
        with fixture.probe("wingtip.test") as probe:
            probe.secure()
            seen = fixture.alice.mark()
            probe.send_result()
            probe.message("eve@wingtip.test", ALICE, "not yet")
            probe.read_close("not-authorized")
        assert heard(fixture.alice, seen) == []
    finally:
        remote.verify = "valid"


def scenario_stanza_to_other_hosts(fixture):
    """Allowed where that host's policy lists the partner with this method; else as if nobody was there."""
    with Client(f"carol@{SHARED}", fixture.edge.address) as carol, Client(f"dave@{OWN}", fixture.edge.address) as dave:
        with fixture.authenticated() as probe:
            probe.message(f"eve@{FABRIKAM}", f"carol@{SHARED}", "to carol")
            carol.wait_message("to carol")
            seen = dave.mark()
            probe.message(f"eve@{FABRIKAM}", f"dave@{OWN}", "to dave", id_="dave1")
            still_works(fixture, probe, FABRIKAM, "behind the refused one")
            assert heard(dave, seen) == []
        with fixture.authenticated(NORTHWIND) as probe:
            probe.message(f"eve@{NORTHWIND}", f"dave@{OWN}", "to dave")
            dave.wait_message("to dave")


def scenario_stanza_to_the_component(fixture):
    remote = fixture.remotes[FABRIKAM]
    with fixture.authenticated() as probe:
        probe.send(f"<iq from='eve@{FABRIKAM}' to='{ROOMS}' type='get' id='rooms1'>"
                   "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
        answer = remote.wait_element(lambda element: element.get("id") == "rooms1")
        assert answer.get("type") == "result", answer


def scenario_stream_to_the_component(fixture):
    with fixture.probe(EVIL, to=ROOMS) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    mark = fixture.edge.mark()
    with fixture.authenticated(to=ROOMS):
        established(fixture.edge, "from", FABRIKAM, mark)


def scenario_stream_to_a_host_with_a_list_of_its_own(fixture):
    with fixture.probe(to=OWN) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    fixture.authenticated(NORTHWIND, to=OWN).close()


def scenario_not_relayed(fixture):
    """The edge is no way from one domain to another."""
    with fixture.authenticated() as probe, Untouched(fixture, EVIL, NORTHWIND):
        for to in (f"x@{EVIL}", f"x@{NORTHWIND}"):
            probe.message(f"eve@{FABRIKAM}", to, "pass it on")
        ended(probe)


def scenario_answer_takes_the_way_of_its_own_address(fixture):
    """A request to one host over the stream to another: the answer comes over a stream from the host that was asked."""
    remote = fixture.remotes[FABRIKAM]
    with fixture.authenticated() as probe:
        probe.send(f"<iq from='eve@{FABRIKAM}' to='{SHARED}' type='get' id='way1'><ping xmlns='urn:xmpp:ping'/></iq>")
        answer = remote.wait_element(lambda element: element.get("id") == "way1")
    assert answer.get("type") == "result" and answer.get("from") == SHARED, answer
    connection = next(one for one in remote.connections if answer in one.elements)
    assert connection.headers[0].get("from") == SHARED, connection.headers


def scenario_stream_to_one_host_stanza_to_another(fixture):
    with fixture.authenticated(NORTHWIND, to=OWN) as probe:
        still_works(fixture, probe, NORTHWIND, "by way of tailspin")
    with fixture.authenticated(to=ROOMS) as probe:
        still_works(fixture, probe, FABRIKAM, "by way of the rooms")


# Bidi, inbound (attack 14)

def bidi(fixture, domain=FABRIKAM, leaf="good"):
    probe = fixture.probe(domain, leaf=leaf)
    probe.secure()
    probe.send(f"<bidi xmlns='{BIDI}'/>")
    return probe


def scenario_bidi_both_ways(fixture):
    with bidi(fixture) as probe:
        assert probe.external().name == "success"
        probe.features()
        still_works(fixture, probe, FABRIKAM, "in over bidi")
        with Untouched(fixture, FABRIKAM):
            fixture.alice.send_message(f"eve@{FABRIKAM}", "out over bidi")
            assert probe.read_until("message").find("body").text == "out over bidi"


def scenario_bidi_second_domain(fixture):
    for sender in (NORTHWIND, EVIL, HOST):
        with bidi(fixture) as probe:
            assert probe.external().name == "success"
            probe.features()
            with Untouched(fixture, EVIL):
                probe.message(f"eve@{sender}", ALICE, "as a second domain")
                wrong_sender(probe)


def scenario_bidi_other_hosts(fixture):
    with Client(f"carol@{SHARED}", fixture.edge.address) as carol, Client(f"dave@{OWN}", fixture.edge.address) as dave:
        with bidi(fixture) as probe:
            assert probe.external().name == "success"
            probe.features()
            probe.message(f"eve@{FABRIKAM}", f"carol@{SHARED}", "bidi to carol")
            carol.wait_message("bidi to carol")
            seen = dave.mark()
            probe.message(f"eve@{FABRIKAM}", f"dave@{OWN}", "bidi to dave")
            still_works(fixture, probe, FABRIKAM, "behind bidi to dave")
            assert heard(dave, seen) == []


def scenario_bidi_before_authentication(fixture):
    """Asking for bidi gives no right to what is queued for the partner."""
    with bidi(fixture) as probe:
        fixture.alice.send_message(f"eve@{FABRIKAM}", "not for the unproven")
        fixture.remotes[FABRIKAM].wait_element(
            lambda element: element.name == "message" and element.find("body").text == "not for the unproven")
        assert not any(kind == "element" and element.name == "message" for kind, element in probe.seen)


def scenario_bidi_self_signed(fixture):
    probe = fixture.probe(leaf="self-signed")
    with probe:
        probe.features()
        assert probe.starttls() is None
        probe.open()
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        refused(probe, "certificate-untrusted", "not-authorized")


def scenario_bidi_in_clear(fixture):
    with fixture.probe() as probe, Untouched(fixture):
        assert not probe.features().find("bidi")
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        probe.message(f"eve@{FABRIKAM}", ALICE, "bidi in clear")
        refused(probe, "tls-required", "not-authorized")
