"""prosodyctl mod_s2s_partners: check, list, matrix, explain and import without a running server, with their exit status."""

import os
import pathlib
import pty
import re
import subprocess

from lab.paths import FIXTURES

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner, tls_dialback

BOB, DAVE = "bob@fabrikam.test", "dave@wingtip.test"
PARTNERS = configuration(partner("fabrikam.test", "*.it.fabrikam.test"), tls_dialback("wingtip.test", partner_type="public_unverified"))
# What the lab's own options would be warned about.
QUIET = "s2s_require_encryption = true\ns2s_timeout = 90\n"


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, components={f"rooms.{HOST}": ("muc", "")}, options=QUIET)
    lab.edge.write_config()     # never started


def run(lab, *words, status):
    ran = lab.edge.ctl("mod_s2s_partners", *words)
    assert ran.returncode == status, f"{words}: {ran.returncode}\n{ran.stdout}"
    # What prosodyctl itself finds to say about the configuration comes before.
    return re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout)


def configured(lab, partners, options=QUIET):
    lab.edge.partners, lab.edge.options = partners, options
    lab.edge.write_config()


def scenario_check(lab):
    output = run(lab, "check", status=0)
    assert "2 partners, 0 errors, 0 warnings" in output, output
    run(lab, "check", "--strict", status=0)
    try:
        configured(lab, PARTNERS + 's2s_partners_files = { "none/*.cfg.lua" }\n')
        assert "warning: " in run(lab, "check", status=0)
        run(lab, "check", "--strict", status=1)
        configured(lab, PARTNERS + 's2s_partners_default = "no"\ns2s_partner = {}\n')
        output = run(lab, "check", status=1)
        assert "2 errors" in output and "error: s2s_partners_default" in output and "error: s2s_partner: " in output, output
        for words in (["list"], ["explain", BOB, ALICE]):
            run(lab, *words, status=1)
    finally:
        configured(lab, PARTNERS)


def scenario_list_and_matrix(lab):
    output = run(lab, "list", status=0)
    assert re.search(r"fabrikam\.test +federated +required/required/no +SASL", output), output
    assert f"Partners of {HOST}, rooms.{HOST}" in output, output
    assert "Partners of contoso.test\n" in run(lab, "list", HOST, status=0)
    output = run(lab, "matrix", status=0)
    rows = re.findall(r"^(?:required|optional|not_supported) +(?:required|optional|not_supported) +(?:true|false)", output, re.MULTILINE)
    assert len(rows) == len(set(rows)) == 18, output
    assert any(len(line) > 80 for line in output.splitlines()), output


def scenario_lines_are_wrapped_for_terminals_alone(lab):
    """Another program gets each message and each row in one line."""
    ours, terminal = pty.openpty()
    ran = subprocess.Popen(list(map(str, lab.edge._command("prosodyctl", "mod_s2s_partners", "matrix"))), env=lab.edge.env,
                           stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal)
    os.close(terminal)
    output = b""
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:
        pass        # the other end is closed
    os.close(ours)
    assert ran.wait(timeout=20) == 0, output
    # What prosodyctl itself has to say of the lab's configuration is longer.
    lines = [line for line in output.decode().splitlines() if not line.startswith("startup ")]
    assert lines[0].startswith("tls ") and len(lines) > 30 and all(len(line) <= 80 for line in lines), output.decode()
    output = run(lab, "matrix", status=0)
    rows = [line for line in output.splitlines() if re.match("required|optional|not_supported", line)]
    assert len(rows) == 18 and "error: SASL or dialback must be enabled" in rows[-1], output


def scenario_explain(lab):
    for words, status, verdict in (
            ([BOB, ALICE], 0, "allow"), ([BOB, ALICE, "stream"], 0, "allow"), ([ALICE, "x@evil.test"], 1, "refuse unlisted-domain"),
            ([DAVE, ALICE], 1, "refuse not-listed"), ([DAVE, ALICE, "--listed"], 0, "allow"),
            (["--listed", ALICE, DAVE, "presence"], 0, "allow, changed: status-note-removed"),
            ([BOB, ALICE, "subscribe"], 0, "allow, changed: subscription-authorised"),
            ([DAVE, f"room@rooms.{HOST}", "groupchat"], 1, "refuse group-chat-refused"), ([BOB, f"room@rooms.{HOST}", "groupchat"], 0, "allow")):
        output = run(lab, "explain", *words, status=status)
        assert output.splitlines()[-1] == f"verdict: {verdict}", output


def scenario_wrong_usage(lab):
    for words in ([], ["what"], ["check", "more"], ["check", "--fast"], ["list", "nowhere.test"], ["matrix", "x"], ["version", "x"], ["explain"],
                  ["explain", BOB], ["explain", BOB, ALICE, "message", "more"], ["explain", BOB, ALICE, "whatever"],
                  ["explain", BOB, DAVE], ["import"], ["import", "/does/not/exist"], ["import", "/"]):
        output = run(lab, *words, status=2)
        assert "Error: " in output and "Traceback" not in output and "stack traceback" not in output, output
    assert "Usage: " in run(lab, "help", status=0)


def scenario_version(lab):
    assert re.search(r"^mod_s2s_partners \d+\.\d+\.\d+\n\Z", run(lab, "version", status=0), re.MULTILINE)


def imported(lab, name, status):
    output = run(lab, "import", FIXTURES / "import" / name, status=status)
    return output


def scenario_import_is_accepted_by_check(lab):
    """The ten partners of an export, in either format, as configuration that has no errors."""
    for name in ("partners.xml", "partners.json"):
        output = imported(lab, name, 0)
        try:
            configured(lab, output, "s2s_timeout = 90\n")
            checked = run(lab, "check", status=0)
            assert "10 partners, 0 errors" in checked, checked
            assert "gmail.com" in run(lab, "list", status=0)
        finally:
            configured(lab, PARTNERS)


def scenario_import_with_impossible_rows(lab):
    output = imported(lab, "impossible.json", 1)
    assert output.count("IMPOSSIBLE, commented out") == 7, output
    try:
        configured(lab, output)
        assert "2 partners, 0 errors" in run(lab, "check", status=0)
    finally:
        configured(lab, PARTNERS)


def scenario_import_of_everything(lab):
    """Partners, gateway, policies and users at once; what comes out has no errors and does what was meant."""
    names = ["partners.xml", "gateway.xml", "policies.json", "users.json"]
    output = run(lab, "import", *(FIXTURES / "import" / name for name in names), status=0)
    assert "hunter2" not in output, output
    try:
        configured(lab, output, "s2s_timeout = 90\n")
        checked = run(lab, "check", status=0)
        assert "10 partners, 0 errors" in checked, checked
        for user, status in (("ann", 0), ("bob", 1), ("intern", 1)):
            told = run(lab, "explain", f"{user}@{HOST}", "x@fabrikam.com", status=status)
            assert ("external-access-denied" in told) == (status == 1), told
    finally:
        configured(lab, PARTNERS)


def scenario_import_of_a_gateway_is_no_partner(lab):
    """It was read as a partner with the domain "global" once."""
    output = run(lab, "import", FIXTURES / "import" / "gateway.xml", status=0)
    assert "s2s_partners_limits = {" in output and "domain =" not in output, output
    path = pathlib.Path(lab.directory) / "export"
    path.write_text('{"Identity": "Global", "SomethingElse": 1}')
    output = run(lab, "import", path, FIXTURES / "import" / "partners.xml", status=2)
    assert "is not known, object 1 of 1 with Identity, SomethingElse" in output and "s2s_partners" not in output.split("known are")[0], output


def scenario_import_of_other_servers(lab):
    """Lists of Prosody, ejabberd and Openfire, as configuration that has no errors."""
    for name, count in (("whitelist.cfg.lua", 4), ("ejabberd.yml", 3), ("openfire.csv", 2)):
        output = imported(lab, name, 0)
        try:
            configured(lab, output)
            assert f"{count} partners, 0 errors" in run(lab, "check", status=0), name
        finally:
            configured(lab, PARTNERS)


def scenario_import_of_something_else(lab):
    for text, told in ((b"", "is empty"), (b"hello", "neither"), (b"<html/>", "Export-Clixml"), (b"[1]", "list of objects"),
                       (b"[" * 100000, "nested too deeply"), (b"<a>" * 1000, "nested too deeply"), (b"{\"Identity\":", "not JSON"),
                       (b"<!DOCTYPE a [<!ENTITY b 'c'>]><Objs/>", "document type"), (b"\xff\xfe<", "cut off"), (b"[]", "no objects")):
        path = pathlib.Path(lab.directory) / "export"
        path.write_bytes(text)
        output = run(lab, "import", path, status=2)
        assert told in output, f"{text[:30]}: {output}"


def scenario_nothing_is_installed(lab):
    """The module loads under prosodyctl without guarding anything, and says nothing of its own."""
    output = run(lab, "matrix", status=0)
    assert "mod_s2s_partners" not in output and "refused in both directions" not in output, output
