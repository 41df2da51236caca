"""A contact of an internationalised domain is the same contact in every spelling: as A-labels, as U-labels, mixed.

Prosody keeps rosters and block lists as their user wrote them, and compares byte by byte."""

import itertools

from lab.client import Client
from lab.waiting import wait_until

from scenarios import _scene
from scenarios._edge import ALICE, HOST, PING, any_method, configuration, edge_server

# bücher.bücher.test, federated; the same for köln.köln.test, public_unverified
FED = ("xn--bcher-kva.xn--bcher-kva.test", "bücher.bücher.test", "xn--bcher-kva.bücher.test")
UNV = ("xn--kln-sna.xn--kln-sna.test", "köln.köln.test", "xn--kln-sna.köln.test")
CAROL, DAVE, ERIN, FRANK = (f"{name}@{HOST}" for name in ("carol", "dave", "erin", "frank"))


def setup(lab):
    lab.edge = edge_server(lab, configuration(any_method(FED[0]), any_method(UNV[1], partner_type="public_unverified")),
                           users=[ALICE, CAROL, DAVE, ERIN, FRANK], modules=["s2s_bidi"])
    lab.edge.set_roster(ALICE, {f"{name}@{domain}": "both" for name, domain in zip(("ann", "ulf", "mia"), UNV)})
    lab.edge.start()
    for domain in (FED[0], UNV[0]):
        lab.dns.server(domain, "127.0.200.1")
    return lab


def Stream(lab, domain):
    return _scene.Stream(lab, lab.edge, domain, leaf=FED[0] if domain in FED else UNV[0])


def stanzas(domain, to, name="eve"):
    return {
        "message": f"<message from='{name}@{domain}/x' to='{to}' id='m' type='chat'><body>hello</body></message>",
        "headline": f"<message from='{name}@{domain}/x' to='{to}' id='h' type='headline'><body>hello</body></message>",
        "presence": f"<presence from='{name}@{domain}/x' to='{to}'/>",
        "unavailable": f"<presence from='{name}@{domain}/x' to='{to}' type='unavailable'/>",
        "subscribe": f"<presence from='{name}@{domain}' to='{to}' type='subscribe'/>",
        "iq": f"<iq from='{name}@{domain}/x' to='{to}' id='i' type='get'>{PING}</iq>",
    }


def block(client, jid, what="block"):
    answer = client.iq(None, f"<{what} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{what}>", "set")
    assert answer.get("type") == "result", answer


def remote(client, since):
    return [str(stanza) for stanza in client.stanzas[since:] if HOST not in stanza.get("from", HOST)]


def scenario_blocked_in_one_spelling_is_blocked_in_all(lab):
    with Client(CAROL, lab.edge.address) as carol:
        for domain in FED:
            with Stream(lab, domain) as stream:
                mark = carol.mark()
                stream.ask(stanzas(domain, CAROL)["message"])
                wait_until(lambda mark=mark: len(remote(carol, mark)) == 1, 10, "what is not blocked to come through")
                for written in FED:
                    for entry in (f"eve@{written}", written, f"eve@{written}/x"):
                        block(carol, entry)
                        mark = carol.mark()
                        for name, text in stanzas(domain, CAROL).items():
                            if name == "subscribe" and "/" in entry:
                                continue    # from the bare JID, which is not blocked
                            heard = stream.ask(text)
                            assert remote(carol, mark) == [], (domain, entry, name)
                            if name in ("message", "iq") and domain != written:
                                assert [stanza.get("type") for stanza in heard] == ["error"], (domain, entry, name, heard)
                        for name, text in stanzas(domain, carol.full_jid).items():
                            if name != "subscribe":
                                stream.ask(text)
                        assert remote(carol, mark) == [], (domain, entry)
                        block(carol, entry, "unblock")
                        mark = carol.mark()
                        stream.ask(stanzas(domain, CAROL)["message"])
                        wait_until(lambda mark=mark: len(remote(carol, mark)) == 1, 10, f"a message from {domain}: {entry} is blocked no more")
        assert not any(word in lab.edge.roster(CAROL) for word in ("eve@xn--", "eve@b"))


def scenario_nothing_goes_to_who_is_blocked(lab):
    with Client(DAVE, lab.edge.address) as dave, Stream(lab, FED[0]) as stream:
        block(dave, f"eve@{FED[1]}")
        condition, _, _ = dave.wait_error(dave.send_message(f"eve@{FED[0]}"))
        assert condition, condition
        dave.presence(f"eve@{FED[0]}")
        dave.send_raw(f"<iq to='eve@{FED[0]}/x' id='q' type='get'>{PING}</iq>")
        dave.roster()
        assert stream.ask(stanzas(FED[0], HOST)["iq"].replace("id='i'", "id='own'"))[0].get("id") == "own", "nothing else has come"
        dave.presence(f"eve@{FED[0]}", "unavailable")
        dave.roster()
        assert any(stanza.get("type") == "unavailable" for stanza in stream.ask("<presence from='%s' to='%s' type='error'/>" % (FED[0], HOST))), \
            "what lowers the contact's view goes out"


def scenario_cancelled_in_one_spelling_is_cancelled_in_all(lab):
    with Client(ERIN, lab.edge.address) as erin:
        for number, (domain, written) in enumerate(itertools.product(FED, FED)):
            contact = f"c{number}"
            erin.presence(f"{contact}@{written}", "unsubscribed")
            erin.roster()
            # ejabberd tells the contact's server; that must not be taken for an answer to what that asks for next.
            _scene.no_way_to(lab.edge, written)
            with Stream(lab, domain) as stream:
                heard = stream.ask(f"<presence from='{contact}@{domain}' to='{ERIN}' type='subscribe'/>")
                # What the host itself says while a request waits for the user; ejabberd says nothing.
                said = ["unavailable"] if lab.host == "prosody" else []
                assert [stanza.get("type") for stanza in heard] == said, (domain, written, heard)
        assert "c0" not in erin.roster()


def scenario_listed_in_one_spelling_is_listed(lab):
    with Client(ALICE, lab.edge.address) as alice:
        for domain in UNV[:2]:
            with Stream(lab, domain) as stream:
                for contact in ("ann", "ulf"):
                    mark = alice.mark()
                    assert stream.ask(stanzas(domain, ALICE, contact)["message"]) == []
                    wait_until(lambda mark=mark: len(remote(alice, mark)) == 1, 10, f"a message from {domain} for {contact}")
                block(alice, f"ann@{UNV[1 - UNV.index(domain)]}")
                mark = alice.mark()
                stream.ask(stanzas(domain, ALICE, "ann")["message"])
                assert remote(alice, mark) == []
                block(alice, f"ann@{UNV[1 - UNV.index(domain)]}", "unblock")


def scenario_survives_a_restart(lab):
    """The list is read from the store, not from what was seen."""
    with Client(FRANK, lab.edge.address) as frank:
        block(frank, f"eve@{FED[1]}")
    lab.edge.restart()
    with Client(FRANK, lab.edge.address) as frank, Stream(lab, FED[0]) as stream:
        mark = frank.mark()
        stream.ask(stanzas(FED[0], FRANK)["message"])
        stream.ask(stanzas(FED[0], FRANK)["subscribe"])
        assert remote(frank, mark) == []
        assert FED[0] not in lab.edge.roster(FRANK)
