"""Which local users may federate, with whom: the host's access, narrowed by an entry, and names from files.

sales.test is for those of a file alone; fed.test is for everybody whom the host does not deny."""

import time

from lab.client import Client
from lab.lab import Skipped
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server

SALES, FED = "sales.test", "fed.test"
SAM, INTERN = f"sam@{HOST}", f"intern@{HOST}"
# As docs/partner-types.md has it.
ROLE = 'custom_roles = { { name = "internal"; inherits = { "prosody:registered" }; deny = { "xmpp:federate" } } }\n'


def setup(lab):
    lab.edge = edge_server(lab, configuration(
        any_method(SALES, external_access={"default": "deny", "users": "users/sales.txt"}), any_method(FED),
        s2s_partners_external_access={"users": "users/denied.txt"}), users=[ALICE, SAM, INTERN],
        options="" if lab.version == "0.12" else ROLE)
    names(lab, "sales", "# sales and one who may not federate at all\nSam\nintern\n")
    names(lab, "denied", "intern\n")
    lab.edge.start()
    lab.partner = Prosody(lab, "partner", [SALES, FED], users=[f"bob@{SALES}", f"bob@{FED}"], preset="any").start()
    lab.clients = {jid: Client(jid, server.address) for server, jids in
                   ((lab.edge, (ALICE, SAM, INTERN)), (lab.partner, (f"bob@{SALES}", f"bob@{FED}"))) for jid in jids}
    for client in lab.clients.values():
        lab.cleanup(client.close)
    return lab


def names(lab, name, text):
    folder = lab.edge.directory / "users"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(text)


def goes(lab, from_, to):
    text = f"{from_} {to} {time.monotonic()}"
    lab.clients[from_].send_message(to, text)
    lab.clients[to].wait_message(text)


def refused(lab, from_, to):
    condition, _, kind = lab.clients[from_].wait_error(lab.clients[from_].send_message(to))
    assert (condition, kind) == ("not-allowed", "cancel"), (from_, to, condition)


def not_there(lab, from_, to):
    """Alike for one who is denied and one who does not exist."""
    answers = [lab.clients[from_].wait_error(lab.clients[from_].send_message(jid)) for jid in (to, f"nobody@{HOST}")]
    assert answers[0] == answers[1] and answers[0][0] == "service-unavailable", answers


def scenario_the_entry_narrows_the_host(lab):
    for user, domain, may in ((SAM, SALES, True), (ALICE, SALES, False), (INTERN, SALES, False),
                              (SAM, FED, True), (ALICE, FED, True), (INTERN, FED, False)):
        bob = f"bob@{domain}"
        if may:
            goes(lab, user, bob)
            goes(lab, bob, user)
        else:
            refused(lab, user, bob)
            not_there(lab, bob, user)


def scenario_nothing_is_authorised(lab):
    bob = lab.clients[f"bob@{SALES}"]
    mark = bob.mark()
    bob.subscribe(ALICE)
    bob.subscribe(SAM)
    bob.wait_presence(SAM, "subscribed", since=mark)
    assert SALES not in lab.edge.roster(ALICE)


def scenario_is_shown(lab):
    text = " ".join(lab.edge.shell(f'partners:show("{SALES}")').split())
    assert 'external_access default "deny", 2 users named' in text, text
    for user, verdict in ((SAM, "allow"), (ALICE, "refuse external-access-denied"), (INTERN, "refuse external-access-denied")):
        for way in ((user, f"bob@{SALES}"), (f"bob@{SALES}", user)):
            text = lab.edge.shell('partners:explain("{}", "{}")'.format(*way))
            assert f"verdict: {verdict}" in text, text
    ran = lab.edge.ctl("mod_s2s_partners", "explain", ALICE, f"bob@{SALES}")
    assert ran.returncode == 1 and "verdict: refuse external-access-denied" in ran.stdout, ran.stdout


def scenario_groups_by_role(lab):
    if lab.version == "0.12":
        raise Skipped("no roles before Prosody 13")
    for role, may in (("internal", False), ("prosody:registered", True)):
        ran = lab.edge.ctl("shell", "user", "set_role", ALICE, role)
        assert ran.returncode == 0, ran.stdout
        # Prosody ends the sessions of a user who gets another role; what is known of roles holds for two seconds.
        lab.clients[ALICE].close()
        time.sleep(2.5)
        lab.clients[ALICE] = Client(ALICE, lab.edge.address)
        lab.cleanup(lab.clients[ALICE].close)
        if may:
            goes(lab, ALICE, f"bob@{FED}")
        else:
            refused(lab, ALICE, f"bob@{FED}")
            not_there(lab, f"bob@{FED}", ALICE)


def scenario_a_file_is_read_at_commit(lab):
    bob = f"bob@{SALES}"
    try:
        names(lab, "sales", "alice\n# sam has left\n")
        refused(lab, ALICE, bob)
        assert "NOT in force" in lab.edge.shell("partners:list()")
        lab.edge.reload()
        goes(lab, ALICE, bob)
        refused(lab, SAM, bob)
        assert "NOT in force" not in lab.edge.shell("partners:list()")
        # A file that is wrong, or gone, changes nothing.
        for text, expected in (("alice\nsam@contoso.test\n", 'users/sales.txt:2: got "sam@contoso.test"; must be the name of a local user'),
                               (None, 'external_access.users: got "users/sales.txt"; there is no such file')):
            if text is None:
                (lab.edge.directory / "users" / "sales.txt").unlink()
            else:
                names(lab, "sales", text)
            mark = lab.edge.mark()
            lab.edge.reload()
            lab.edge.wait_log(expected.replace("(", r"\("), mark=mark)
            goes(lab, ALICE, bob)
            refused(lab, SAM, bob)
    finally:
        names(lab, "sales", "sam\nintern\n")
        lab.edge.reload()
