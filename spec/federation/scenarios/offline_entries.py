"""prosodyctl mod_s2s_partners add, set and remove: what is saved, what is refused, and that nothing else is touched."""

import os
import re

from lab.client import Client
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner

BOB = "bob@fabrikam.test"
PARTNERS = configuration(partner("listed.test", "*.listed.test")) + 's2s_partners_files = { "partners.d/*.cfg.lua" }\n'
QUIET = "s2s_require_encryption = true\ns2s_timeout = 90\n"


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, options=QUIET)
    lab.edge.write_config()
    lab.folder = lab.edge.directory / "partners.d"
    lab.folder.mkdir()


def run(lab, *words, status):
    ran = lab.edge.ctl("mod_s2s_partners", *words)
    assert ran.returncode == status, f"{words}: {ran.returncode}\n{ran.stdout}"
    assert "stack traceback" not in ran.stdout, ran.stdout
    return re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout)


def folder(lab):
    """What is there: a refused command must not have left anything."""
    return {path.name: path.read_text() for path in lab.folder.iterdir()}


def unchanged(lab, told, *words, status=1):
    before = folder(lab)
    output = run(lab, *words, status=status)
    assert told in " ".join(output.split()), output
    assert folder(lab) == before, f"{words} has changed something"
    return output


def emptied(lab):
    for path in lab.folder.iterdir():
        path.unlink()


def scenario_add_set_remove(lab):
    emptied(lab)
    output = run(lab, "add", "Fabrikam.test", "--type", "federated", "--additional-domains", "a.test,b.test", "--description", "Fabrikam \"&\" sons",
                 status=0)
    assert "Saved " in output and "SASL" in output, output
    assert list(folder(lab)) == ["fabrikam.test.cfg.lua"]
    assert "2 partners, 0 errors" in run(lab, "check", status=0)
    assert "a.test, b.test" in run(lab, "list", status=0)
    output = run(lab, "set", "fabrikam.test", "--tls=required", "--sasl", "optional", "--dialback", "true", "--description", "", status=0)
    assert "TLS dialback" in output, output
    text = folder(lab)["fabrikam.test.cfg.lua"]
    assert "description" not in text and 'additional_domains = { "a.test", "b.test" }' in text, text
    run(lab, "remove", "fabrikam.test", status=0)
    assert folder(lab) == {}
    run(lab, "add", "bücher.example", "--type", "public_verified", status=0)
    assert list(folder(lab)) == ["xn--bcher-kva.example.cfg.lua"]


def scenario_not_saved_means_not_saved(lab):
    emptied(lab)
    run(lab, "add", "fabrikam.test", "--type", "federated", status=0)
    for told, *words in (
            ("listed already in", "add", "listed.test", "--type", "federated"),
            ("listed already in", "add", "other.test", "--type", "federated", "--additional-domains", "fabrikam.test"),
            ("SASL requires TLS", "add", "other.test", "--type", "federated", "--tls", "not_supported"),
            ("did you mean \"public_verified\"?", "add", "other.test", "--type", "public-verified"),
            ("did you mean \"description\"?", "add", "other.test", "--type", "federated", "--descripton", "x"),
            ("this server serves the domain itself", "add", HOST, "--type", "federated"),
            ("is there already; change it with set", "add", "fabrikam.test", "--type", "federated"),
            ("SASL or dialback must be enabled", "set", "fabrikam.test", "--sasl", "not_supported"),
            ("is not there", "set", "other.test", "--tls", "optional"),
            ("listed.test is listed in s2s_partners[1], change it there", "set", "listed.test", "--tls", "optional"), ("is not there", "remove", "other.test")):
        output = unchanged(lab, told, *words)
        assert "nothing has been saved" in " ".join(output.split()), output


def scenario_wrong_usage(lab):
    emptied(lab)
    for told, *words in (
            ("a domain is missing", "add"), ("add needs --type", "add", "a.test"), ("has no value", "add", "a.test", "--type"),
            ("is an IP address", "add", "127.0.0.1", "--type", "federated"), ("one domain at a time", "add", "a.test", "b.test", "--type", "federated"),
            ("", "add", "../../etc/passwd", "--type", "federated"), ("", "add", "*.a.test", "--type", "federated"),
            ("must be true or false", "set", "a.test", "--dialback", "perhaps"), ("at least one --KEY VALUE", "set", "a.test"),
            ("unknown option --tls", "remove", "a.test", "--tls"), ("the name of its file", "set", "a.test", "--domain", "b.test")):
        output = unchanged(lab, told, *words, status=2)
        assert "Error: " in output and "Usage: " in output, output


def scenario_dry_run(lab):
    emptied(lab)
    output = unchanged(lab, "would be written", "add", "fabrikam.test", "--type", "federated", "--dry-run", status=0)
    assert 'domain = "fabrikam.test";' in output, output
    unchanged(lab, "SASL requires TLS", "add", "fabrikam.test", "--type", "federated", "--dry-run", "--tls", "not_supported")
    run(lab, "add", "fabrikam.test", "--type", "federated", status=0)
    unchanged(lab, 'partner_type = "public_verified";', "set", "fabrikam.test", "--type", "public_verified", "--dry-run", status=0)
    unchanged(lab, "would be removed", "remove", "fabrikam.test", "--dry-run", status=0)


def scenario_files_of_others(lab):
    """Never touched; those written here and changed by hand only with --force."""
    emptied(lab)
    by_hand = lab.folder / "hand.test.cfg.lua"
    by_hand.write_text('return { { domain = "hand.test"; partner_type = "federated" } }\n')
    for force in ([], ["--force"]):
        unchanged(lab, "partners.d/hand.test.cfg.lua: was not written here, and is not touched", "set", "hand.test", "--sasl", "optional", *force)
        unchanged(lab, "was not written here, and is not touched", "remove", "hand.test", *force)
    unchanged(lab, "is there already", "add", "hand.test", "--type", "federated")
    by_hand.unlink()
    run(lab, "add", "fabrikam.test", "--type", "federated", status=0)
    ours = lab.folder / "fabrikam.test.cfg.lua"
    ours.write_text(ours.read_text().replace("federated", "public_verified") + "-- a note\n")
    unchanged(lab, "partners.d/fabrikam.test.cfg.lua: was changed by hand since it was written here", "set", "fabrikam.test", "--sasl", "optional")
    unchanged(lab, "was changed by hand", "remove", "fabrikam.test")
    run(lab, "set", "fabrikam.test", "--sasl", "optional", "--force", status=0)
    assert 'partner_type = "public_verified"' in ours.read_text(), ours.read_text()
    run(lab, "set", "fabrikam.test", "--sasl", "required", status=0)
    ours.write_text(ours.read_text().replace("} }", "}, { domain = \"two.test\" } }"))
    unchanged(lab, "does not hold exactly one entry", "set", "fabrikam.test", "--sasl", "optional", "--force")
    run(lab, "remove", "fabrikam.test", "--force", status=0)
    os.symlink("/etc/passwd", ours)
    unchanged(lab, "is a link", "remove", "fabrikam.test", "--force")
    emptied(lab)


def scenario_errors_elsewhere(lab):
    """The whole configuration is checked, not only the entry."""
    emptied(lab)
    lab.edge.partners = PARTNERS + 's2s_partners_default = "no"\n'
    try:
        lab.edge.write_config()
        unchanged(lab, "s2s_partners_default", "add", "fabrikam.test", "--type", "federated")
        lab.edge.partners = configuration(partner("listed.test"))
        lab.edge.write_config()
        unchanged(lab, "write s2s_partners_files = ", "add", "fabrikam.test", "--type", "federated")
    finally:
        lab.edge.partners = PARTNERS
        lab.edge.write_config()


def scenario_a_running_server_takes_it_up(lab):
    """Added, reloaded, used; removed, reloaded, refused."""
    emptied(lab)
    edge = edge_server(lab, PARTNERS, name="running", users=[ALICE])
    (edge.directory / "partners.d").mkdir()
    edge.start()
    fabrikam = Prosody(lab, "fabrikam", ["fabrikam.test"], users=[BOB], preset="any").start()

    def change(*words):
        ran = edge.ctl("mod_s2s_partners", *words)
        assert ran.returncode == 0, ran.stdout
        mark = edge.mark()
        edge.ctl("reload")
        edge.wait_log("Partner configuration applied", 10, mark)

    change("add", "fabrikam.test", "--type", "federated", "--sasl", "optional", "--dialback", "true")
    with Client(ALICE, edge.address) as alice, Client(BOB, fabrikam.address) as bob:
        alice.send_message(BOB, "listed")
        bob.wait_message("listed")
        change("remove", "fabrikam.test")
        alice.wait_error(alice.send_message(BOB, "gone"))
    edge.stop()
    fabrikam.stop()
