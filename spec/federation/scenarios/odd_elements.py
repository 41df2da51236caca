"""Elements that are nearly stanzas, and addresses that are nearly addresses, from a partner's stream."""

import re

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, configuration, edge_server, established, heard, lua, partner

TRACEBACKS = True
FABRIKAM, NORTHWIND, OWN = "fabrikam.test", "northwind.test", "tailspin.test"
# What core fires for a stanza of a client before it goes out, and only for that.
WITNESS = """
for _, kind in ipairs({ "message", "presence", "iq" }) do
    for _, to in ipairs({ "bare", "full", "host" }) do
        module:hook("pre-"..kind.."/"..to, function (event)
            if event.origin.type ~= "c2s" then module:log("error", "witness: %s of %s", event.stanza.name, event.stanza.attr.from); end
        end, 100000);
    end
end
"""


def setup(lab):
    folder = lab.directory / "witness"
    folder.mkdir()
    (folder / "mod_witness.lua").write_text(WITNESS)
    hosts = {HOST: "", OWN: f"s2s_partners = {lua([partner(NORTHWIND)])}"}
    lab.edge = edge_server(lab, configuration(partner(FABRIKAM), partner(NORTHWIND)), hosts=hosts, users=[ALICE, f"dave@{OWN}"],
                           plugins=[folder], modules=["witness", "mam"]).start()
    lab.remote = Remote(lab, [FABRIKAM], leaf=lab.certificates.leaf(FABRIKAM))


def authenticated(lab):
    probe, mark = Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)), lab.edge.mark()
    probe.authenticate()
    established(lab.edge, "from", FABRIKAM, mark)
    return probe


def works(lab, probe):
    with Client(ALICE, lab.edge.address) as alice:
        body = alice.new_id()
        probe.message(f"eve@{FABRIKAM}", ALICE, body)
        alice.wait_message(body)


def texts(remote):
    return [element.find("body").text for element in remote.elements("message") if element.find("body")]


def scenario_events_of_clients(lab):
    """<pre-message/> would fire what core fires for clients' own stanzas: archives, rosters, another host's, unguarded."""
    for name in ("pre-message", "pre-presence", "pre-iq", "pre-stanza", "message-x"):
        for to in (ALICE, f"{ALICE}/x", HOST, f"dave@{OWN}"):
            with authenticated(lab) as probe:
                mark = lab.edge.mark()
                probe.send(f"<{name} from='eve@{FABRIKAM}' to='{to}' type='subscribe' id='p1'><body>as a client</body></{name}>")
                works(lab, probe)
            log = lab.edge.log_since(mark)
            assert "witness: " not in log, (name, to)
            assert not re.search(r"Traceback|Error while handling", log), (name, to)


def scenario_archive(lab):
    """With the message archive: nothing gets into alice's own conversations."""
    with authenticated(lab) as probe:
        probe.send(f"<pre-message from='eve@{FABRIKAM}' to='{ALICE}' type='chat' id='p2'><body>note to myself</body></pre-message>")
        works(lab, probe)
    with Client(ALICE, lab.edge.address) as alice:
        alice.iq(ALICE, "<query xmlns='urn:xmpp:mam:2' queryid='q'/>", type_="set")
        assert not any("note to myself" in str(stanza) for stanza in alice.stanzas)


def scenario_malformed_addresses(lab):
    """Core answers them itself; the answer's own address is no address of ours. Nothing loops, nothing is an error of ours."""
    with authenticated(lab) as probe, Client(ALICE, lab.edge.address) as alice:
        mark = lab.edge.mark()
        for number, (from_, to) in enumerate((
                (f"eve@{FABRIKAM}", f"a@b@{HOST}"), (f"eve@{FABRIKAM}", f"Alice@CONTOSO.test/"), (f"eve@{FABRIKAM}", f"{HOST}/"),
                (f"eve@{FABRIKAM}", f"@{HOST}"), (f"eve@{FABRIKAM}", f"a@b@c/d@{HOST}"), (f"eve@{FABRIKAM}", f"/x@{HOST}"),
                (f"eve@{FABRIKAM.upper()}/", ALICE), (f"@{FABRIKAM}", ALICE), (f"{FABRIKAM}/", ALICE),
                (f"eve@{FABRIKAM}", f"a b@{HOST}"),
                (f"a b@{FABRIKAM.upper()}", ALICE), (f"a b@{FABRIKAM.title()}", ALICE))):
            probe.send(f"<message from='{from_}' to='{to}' id='m{number}'><body>x</body></message>")
        probe.message(f"eve@{FABRIKAM}", ALICE, "behind the malformed")
        alice.wait_message("behind the malformed")
        log = lab.edge.log_since(mark)
        assert not re.search(r"Error while handling|stack overflow|Traceback|mod_s2s_partners/", log)
        # Each is answered, or the refusal of the answer is logged.
        answers = r"Sending\[s2sout\]: <message[^\n]*type='error'|Refused a stanza to fabrikam.test[^\n]*: wrong-domain"
        malformed = len(re.findall("Received stanza with invalid", log))
        lab.edge.wait_log(f"(?s)(({answers}).*){{{malformed}}}", 10, mark)
        assert len({domain for domain in re.findall("Resolve _xmpp-server._tcp.(\\S+)", log)}) <= 1, log


def scenario_established_once(lab):
    """A peer of ours that repeats its features: established is said once."""
    remote = Remote(lab, [NORTHWIND], leaf=lab.certificates.leaf(NORTHWIND))
    with Client(ALICE, lab.edge.address) as alice:
        mark = lab.edge.mark()
        alice.send_message(f"eve@{NORTHWIND}", "open the stream")
        wait_until(lambda: "open the stream" in texts(remote), 10, "the first message")
        connection = next(one for one in remote.connections if any(e.name == "message" for e in one.elements))
        for _ in range(20):
            connection.send("<stream:features/>")
        alice.send_message(f"eve@{NORTHWIND}", "all features read")
        wait_until(lambda: "all features read" in texts(remote), 10, "the message behind the features")
        alice.iq(HOST, "<ping xmlns='urn:xmpp:ping'/>")
    assert len(re.findall(r"Established stream to northwind", lab.edge.log_since(mark))) == 1
