"""What the rules go by, as it is at the moment of the stanza: rosters (shared groups, damaged ones, other spellings), roles, the
type of the partner; and stanzas that wait for a stream."""

from lab.lab import Skipped
from lab.probe import Probe
from lab.remote import Remote
from lab.xmlstream import BIDI

from scenarios._edge import ALICE, HOST, configuration, partner
from scenarios._types import FED, OPEN, PARTNERS, UNV, VER, bob, start, typed

BRUNO, CAROL, ERIN = (f"{name}@{HOST}" for name in ("bruno", "carol", "erin"))
IDN, IDN_ASCII = "bücher.test", "xn--bcher-kva.test"
LATE = ("late.ver.test", "later.ver.test")
CONFIGURATION = PARTNERS.replace("s2s_partners = { ", 's2s_partners = { { domain = "bücher.test"; partner_type = "public_unverified"; '
                                 'connection_limit = 200 }, ', 1)


def setup(lab):
    groups = lab.directory / "groups.txt"
    groups.write_text(f"[Sales]\n{ERIN}\n{bob(UNV)}=Bob of sales\n")
    fixture = start(lab, users=[BRUNO, CAROL, ERIN], modules=["groups"], edge_options=f'groups_file = "{groups}"\n',
                    rosters={ALICE: {f"eve@{IDN}": "none", bob(UNV): "both"}}, partner_users=[bob(FED), bob(UNV), bob(OPEN)],
                    roles=True)
    fixture.edge.stop()
    fixture.edge.partners = CONFIGURATION
    fixture.edge._store(BRUNO, "roster", "return { this is no roster\n")
    fixture.edge.start()
    return fixture


def teardown(fixture):
    fixture.close()


def scenario_shared_group(fixture):
    """What an administrator puts into the roster counts as the host shows it."""
    erin, other = fixture.client(ERIN), fixture.client(bob(UNV))
    other.send_message(ERIN, "to sales")
    erin.wait_message("to sales")
    erin.send_message(bob(UNV), "from sales")
    other.wait_message("from sales")


def scenario_roster_unavailable(fixture):
    other, friend = fixture.client(bob(UNV)), fixture.client(bob(OPEN))
    mark = fixture.edge.mark()
    # Core says so, and then has an empty roster marked as broken, with which the user can log in. The module makes it forget the first
    # of these, but not the next within some seconds.
    for _ in range(2):
        error = other.wait_error(other.send_message(BRUNO))
        assert error == ("service-unavailable", "", "cancel"), error
    bruno = fixture.client(BRUNO)
    for _ in range(2):
        error = bruno.wait_error(bruno.send_message(bob(UNV)))
        assert (error[0], error[2]) == ("internal-server-error", "wait") and error[1], error
        assert bruno.iq(bob(UNV), "<query xmlns='urn:lab'/>").condition == "internal-server-error"
        error = other.wait_error(other.send_message(BRUNO))
        assert error == ("service-unavailable", "", "cancel"), error
    fixture.edge.wait_log("roster-unavailable", 5, mark)
    fixture.edge.wait_log(r"\terror\t.*roster of bruno@contoso.test cannot be read", 5)
    # Directed presence asks no roster.
    bruno.presence(bob(OPEN))
    friend.wait_presence(BRUNO)
    friend.send_message(BRUNO, "all the same")
    bruno.wait_message("all the same")
    # Trusted partners' messages do not either.
    fixture.client(bob(FED)).send_message(BRUNO, "trusted")
    bruno.wait_message("trusted")
    # What core says to that is core's own affair; nothing is authorised.
    seen = fixture.client(bob(FED)).mark()
    fixture.client(bob(FED)).subscribe(BRUNO)
    fixture.client(bob(FED)).assert_nothing(lambda stanza: stanza.get("type") == "subscribed", 0.5, seen)


def scenario_international_domain(fixture):
    """The roster has the name as people write it, the stream has A-labels."""
    alice, carol = fixture.client(ALICE), fixture.client(CAROL)
    fixture.lab.dns.server(IDN_ASCII, "127.0.200.1")
    with Probe(fixture.edge.address, from_=IDN_ASCII, to=HOST, leaf=fixture.lab.certificates.leaf(IDN_ASCII)) as probe:
        probe.secure()
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        assert probe.external().name == "success"
        probe.features()
        probe.message(f"eve@{IDN_ASCII}", ALICE, "from afar")
        alice.wait_message("from afar")
        probe.message(f"eve@{IDN_ASCII}", CAROL, "to nobody")
        assert probe.read().condition == "service-unavailable"
        alice.send_message(f"eve@{IDN_ASCII}", "back")
        assert probe.read_until("message").find("body").text == "back"
        assert not any("to nobody" in str(stanza) for stanza in carol.stanzas)


def scenario_waiting_for_a_stream(fixture):
    """What waits in the queue has been judged: a note is gone, what is refused opens nothing."""
    alice = fixture.client(ALICE)
    remote = Remote(fixture.lab, [LATE[0]], leaf=fixture.lab.certificates.leaf(LATE[0]))
    for number in range(3):
        alice.presence(f"eve{number}@{LATE[0]}", status="waiting secret")
    alice.send_message(f"eve@{LATE[0]}", "waiting words")
    remote.wait_element(lambda element: element.name == "message")
    presences = [element for element in remote.elements("presence")]
    assert len(presences) == 3 and "secret" not in str(presences), presences
    never = Remote(fixture.lab, ["never.unv.test"], leaf=fixture.lab.certificates.leaf("never.unv.test"))
    mark = fixture.lab.dns.mark()
    assert alice.wait_error(alice.send_message("eve@never.unv.test"))[0] == "subscription-required"
    assert not fixture.lab.dns.asked("never.unv.test", mark) and not never.connections


def scenario_unreachable(fixture):
    """Core's own bounce of what could not be sent arrives."""
    carol = fixture.client(CAROL)
    error = carol.wait_error(carol.send_message(f"eve@{LATE[1]}"), 30)
    assert error[0].startswith("remote-server-"), error


def scenario_role(fixture):
    if fixture.lab.version == "0.12":
        raise Skipped("Prosody 0.12 has no roles")
    carol, other = fixture.client(CAROL), fixture.client(bob(FED))
    other.send_message(CAROL, "before")
    carol.wait_message("before")
    answer = fixture.edge.shell(f'user:set_role("{CAROL}", "lab:inside")')
    assert "inside" in answer, answer
    carol = fixture.clients.pop(CAROL)
    carol.close()
    carol = fixture.client(CAROL)
    error = carol.wait_error(carol.send_message(bob(FED)))
    assert (error[0], error[2]) == ("not-allowed", "cancel"), error
    error = other.wait_error(other.send_message(CAROL))
    assert error == ("service-unavailable", "", "cancel"), error
    alice = fixture.client(ALICE)
    alice.send_message(bob(FED), "as ever")
    other.wait_message("as ever")
    fixture.edge.shell(f'user:set_role("{CAROL}", "prosody:registered")')
    carol = fixture.clients.pop(CAROL)
    carol.close()
    carol = fixture.client(CAROL)
    carol.send_message(bob(FED), "again")
    other.wait_message("again")


def scenario_type_changes(fixture):
    """Live streams stay, and what moves on them is judged by the new type from the next stanza on."""
    carol, other = fixture.client(CAROL), fixture.client(bob(UNV))
    assert other.wait_error(other.send_message(CAROL))[0] == "service-unavailable"
    mark = fixture.edge.mark()
    fixture.edge.partners = CONFIGURATION.replace("public_unverified", "public_verified")
    fixture.edge.reload()
    other.send_message(CAROL, "now trusted")
    carol.wait_message("now trusted")
    carol.send_message(bob(UNV), "so are you")
    other.wait_message("so are you")
    fixture.edge.partners = CONFIGURATION
    fixture.edge.reload()
    assert other.wait_error(other.send_message(CAROL))[0] == "service-unavailable"
    assert carol.wait_error(carol.send_message(bob(UNV)))[0] == "subscription-required"
    assert "Refused stream" not in fixture.edge.log_since(mark)


def scenario_type_by_default(fixture):
    """s2s_partners_default is a type like any other."""
    carol = fixture.client(CAROL)
    fixture.edge.partners = configuration(partner(FED), typed(UNV, "federated"), s2s_partners_default={
        "partner_type": "public_unverified", "tls": "optional", "sasl": "optional", "dialback": True})
    fixture.edge.reload()
    assert carol.wait_error(carol.send_message("eve@unheard-of.test"))[0] == "subscription-required"
    friend = fixture.client(bob(OPEN))
    assert friend.wait_error(friend.send_message(CAROL))[0] == "service-unavailable"
    fixture.edge.partners = CONFIGURATION
    fixture.edge.reload()
    assert VER in CONFIGURATION
