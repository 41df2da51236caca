"""Two edges: before one server inside, with one secret; and two that are each other's inside, between which a stanza would go round without end."""

from lab.client import Client
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, DIALBACK, HOST, Boundary
from ._edge import any_method, configuration

PARTNERS = configuration(any_method("fabrikam.test", presence_authorization="user"))
OTHER_PARTNERS = configuration(any_method(HOST, presence_authorization="user"))
SECRET = 'dialback_secret = "the same in both"\n'


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, options=SECRET)
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()
    lab.second_inner = lab.address()
    lab.second = Prosody(
        lab, "second", {"second.test": "", HOST: 'modules_disabled = { "c2s" }\n' + lab.boundary.relay}, register=False, options=SECRET,
        partners=PARTNERS + f'\ns2s_inside_interfaces = {{ "{lab.second_inner}" }}\n').start()


def scenario_key_of_the_other_edge(lab):
    """Partners come by way of the second edge; the inside, which finds them at the first, asks that one about the second one's keys."""
    lab.dns.remove(HOST)
    lab.dns.server(HOST, lab.second.address)
    mark = lab.second.mark()
    with Client(BOB, lab.partner.address) as bob, Client(ALICE, lab.inside.address) as alice:
        bob.send_message(ALICE, "by the second edge")
        alice.wait_message("by the second edge")
        alice.send_message(BOB, "by the first")
        bob.wait_message("by the first")
    assert "Established inner stream to contoso.test" in lab.second.log_since(mark)


def scenario_other_secret(lab):
    """Without the same secret the second edge's keys are not good."""
    lab.dns.remove(HOST)
    lab.dns.server(HOST, lab.second.address)
    lab.second.stop()
    lab.second.options = 'dialback_secret = "another one"\n'
    lab.second.start()
    mark = lab.second.mark()
    with Client(BOB, lab.partner.address) as bob:
        assert bob.wait_error(bob.send_message(ALICE, "with another secret"), 30)[0] == "remote-server-timeout"
    assert "Established inner stream to contoso.test" not in lab.second.log_since(mark)


def scenario_each_the_inside_of_the_other(lab):
    """The second one's relay host is the first one's partner, and each names the other's inner port as its server."""
    lab.partner.stop()
    lab.dns.remove("fabrikam.test")
    lab.dns.server("fabrikam.test", lab.second.address)
    lab.dns.remove(HOST)
    lab.dns.server(HOST, lab.edge.address)
    lab.second.stop()
    lab.second.hosts = {"second.test": "", "fabrikam.test": 'modules_disabled = { "c2s" }\n' + DIALBACK % lab.boundary.inner_address}
    lab.second.partners = OTHER_PARTNERS + f'\ns2s_inside_interfaces = {{ "{lab.second_inner}" }}\n'
    lab.second.start()
    lab.edge.stop()
    lab.edge.hosts[HOST] = 'modules_disabled = { "c2s" }\n' + DIALBACK % lab.second_inner
    lab.edge.start()
    marks = lab.edge.mark(), lab.second.mark()
    lab.second.shell(f'partners:test("fabrikam.test", "{HOST}")')
    lab.edge.wait_log(r"The server inside of contoso.test cannot be reached for fabrikam.test: .* is the inner port of another edge", 20, marks[0])
    for server, mark in zip((lab.edge, lab.second), marks):
        assert "Established inner stream" not in server.log_since(mark), server.name
