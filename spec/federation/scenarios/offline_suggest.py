"""A list of partners from rosters: prosodyctl mod_s2s_partners suggest, and partners:suggest() in a running server."""

import re

from lab.probe import Probe

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner

ANN, OWN = f"ann@{HOST}", "tailspin.test"
CARL = f"carl@{OWN}"
LISTED = "listed.test"
PARTNERS = configuration(partner(LISTED, "*.listed.test"))
QUIET = "s2s_require_encryption = true\ns2s_timeout = 90\n"
BOOKMARKS = """return { ["storage:storage:bookmarks"] = { name = "storage"; attr = { xmlns = "storage:bookmarks" };
    { name = "conference"; attr = { jid = "room@rooms.fabrikam.test" } }; { name = "conference"; attr = { jid = "x@rooms.contoso.test" } } } };
"""


def build(lab, name, **more):
    edge = edge_server(lab, PARTNERS, name=name, hosts={HOST: "", OWN: ""}, users=[ALICE, ANN, CARL],
                       components={f"rooms.{HOST}": ("muc", "")}, **more)
    edge.set_roster(ALICE, {"bob@fabrikam.test": "both", "eve@Fabrikam.test": "to", "x@wingtip.test": "none", ANN: "both", f"x@{LISTED}": "both",
                            "a@b.listed.test": "from"})
    edge.set_roster(ANN, {"bob@fabrikam.test": "from", "only.test": "both", "y@127.0.0.1": "both", f"x@{OWN}": "both"})
    edge.set_roster(CARL, {"bob@fabrikam.test": "both", "d@\"]evil.test": "both"})
    edge._store(ALICE, "private", BOOKMARKS)
    return edge


def setup(lab):
    lab.edge = build(lab, "edge", options=QUIET)
    lab.edge.write_config()


def suggest(edge, status, *words):
    ran = edge.ctl("mod_s2s_partners", "suggest", *words)
    output = re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout)
    assert ran.returncode == status and "traceback" not in output, f"{ran.returncode}\n{ran.stdout}"
    return output


def domains(output):
    return re.findall(r'\{ domain = "([^"]+)"; partner_type = "public_unverified";', output)


def scenario_offline(lab):
    output = suggest(lab.edge, 0)
    assert domains(output) == ["fabrikam.test", "only.test", "rooms.fabrikam.test", "wingtip.test"], output
    assert "3 users: 4 contacts (2 both, 1 to, 1 from)" in output, output
    assert "1 user: 1 bookmarked room of 1 user" in output and 'group_chat = "allow"' in output, output
    assert "Listed already: b.listed.test (s2s_partners[1]), listed.test (s2s_partners[1])" in output, output
    assert "no domain: " in output and "127.0.0.1" in output and "evil.test" in output, output
    output = suggest(lab.edge, 0, OWN)
    assert domains(output) == ["fabrikam.test"] and "1 user: 1 contact (1 both)" in output, output
    assert "is not a host" in lab.edge.ctl("mod_s2s_partners", "suggest", "nowhere.test").stdout
    for words in (["nowhere.test"], [HOST, OWN], ["--all"]):
        assert lab.edge.ctl("mod_s2s_partners", "suggest", *words).returncode == 2


def scenario_what_is_suggested_is_accepted(lab):
    output = suggest(lab.edge, 0)
    lab.edge.partners = output
    try:
        lab.edge.write_config()
        checked = lab.edge.ctl("mod_s2s_partners", "check").stdout
        assert "4 partners, 0 errors" in checked, checked
    finally:
        lab.edge.partners = PARTNERS
        lab.edge.write_config()


def scenario_another_storage(lab):
    """Through Prosody's API, whatever it is; hosts do not get each other's."""
    lab.edge.hosts = {HOST: 'storage = { roster = "xep0227" }', OWN: ""}
    data = lab.edge.directory / "data"
    (data / f"{ALICE}.xml").write_text(
        f"<server-data xmlns='urn:xmpp:pie:0'><host jid='{HOST}'><user name='alice'><query xmlns='jabber:iq:roster'>"
        "<item jid='k@adatum.test' subscription='both'/></query></user></host></server-data>")
    try:
        lab.edge.write_config()
        output = suggest(lab.edge, 0)
        assert domains(output) == ["adatum.test", "fabrikam.test", "rooms.fabrikam.test"], output
    finally:
        lab.edge.hosts = {HOST: "", OWN: ""}
        lab.edge.write_config()


def scenario_what_cannot_be_read(lab):
    """Said, with exit status 1, and the rest is there all the same."""
    roster = lab.edge.directory / "data" / "contoso%2etest" / "roster" / "ann.dat"
    whole = roster.read_text()
    roster.write_text("return {")
    try:
        output = suggest(lab.edge, 1)
        assert f"INCOMPLETE: the roster of {ANN} cannot be read" in output, output
        assert domains(output) == ["fabrikam.test", "rooms.fabrikam.test", "wingtip.test"], output
    finally:
        roster.write_text(whole)
    lab.edge.hosts = {HOST: 'storage = "does_not_exist"', OWN: ""}
    try:
        lab.edge.write_config()
        output = suggest(lab.edge, 1)
        assert f"INCOMPLETE: {HOST}: its rosters cannot be read: the storage driver does_not_exist cannot be loaded" in output, output
        assert domains(output) == ["fabrikam.test"], output
    finally:
        lab.edge.hosts = {HOST: "", OWN: ""}
        lab.edge.write_config()


def scenario_configuration_with_errors(lab):
    lab.edge.partners = PARTNERS + 's2s_partners_default = "no"\n'
    try:
        lab.edge.write_config()
        output = suggest(lab.edge, 1)
        assert "the configuration has errors" in output and LISTED in domains(output), output
    finally:
        lab.edge.partners = PARTNERS
        lab.edge.write_config()


def scenario_in_a_running_server(lab):
    edge = build(lab, "running").start()
    with Probe(edge.address, from_=LISTED, to=HOST, leaf=lab.certificates.leaf(LISTED)) as probe:
        probe.authenticate()
        output = edge.shell("partners:suggest()")
    assert domains(output) == ["fabrikam.test", "only.test", "rooms.fabrikam.test", "wingtip.test"], output
    assert "4 partners suggested; nothing is changed" in output and "Listed already: " in output, output
    assert domains(edge.shell(f'partners:suggest("{OWN}")')) == ["fabrikam.test"]
    assert "not a host" in edge.shell('partners:suggest("nowhere.test")')
    edge.stop()


def scenario_streams_are_evidence(lab):
    """By the policy for unlisted domains a stream stands: its method and the pin are in the suggestion."""
    edge = build(lab, "open")
    edge.partners = PARTNERS + 's2s_partners_default = { partner_type = "public_unverified"; tls = "required"; sasl = "required" }\n'
    edge.start()
    leaf = lab.certificates.leaf("wingtip.test")
    with Probe(edge.address, from_="wingtip.test", to=HOST, leaf=leaf) as probe:
        probe.authenticate()
        output = edge.shell("partners:suggest()")
    assert "a stream from there used SASL, certificate valid" in output and f"pin of that certificate: {leaf.pin}" in output, output
    assert re.search(r'domain = "wingtip\.test"; .*tls = "required"; sasl = "required"; dialback = false', output), output
    edge.stop()
