"""Every command once, as an administrator would type it. TRANSCRIPT_OUT=FILE keeps the transcript (two versions append to it)."""

import os
import pathlib
import re
import tempfile
import time
import urllib.request

from lab.client import Client
from lab.paths import FIXTURES
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, partner, tcp_dialback, tls_dialback

TIMEOUT = 120
FABRIKAM = "fabrikam.test"
BOB = f"bob@{FABRIKAM}"
PARTNERS = configuration(
    partner(FABRIKAM, "corp.fabrikam.test", description="Fabrikam, contract 2231"),
    any_method("any.test", partner_type="public_verified"), tls_dialback("wingtip.test", partner_type="public_unverified"),
    tcp_dialback("plain.test"), partner("nowhere.test"))
CHANGED = configuration(
    partner(FABRIKAM, "corp.fabrikam.test", description="Fabrikam, contract 2231"),
    tls_dialback("any.test", partner_type="public_verified"), tls_dialback("wingtip.test", partner_type="public_unverified"),
    tcp_dialback("plain.test"), partner("litware.test"))

SHELL = [
    "help partners", "partners:list()", f'partners:list("{HOST}")', 'partners:list("2231")', f'partners:show("{FABRIKAM}")', 'partners:show("evil.test")',
    f'partners:explain("{BOB}", "{ALICE}")', f'partners:explain("{ALICE}", "dave@wingtip.test", "message")',
    f'partners:explain("{ALICE}", "erin@any.test", "presence")', 'partners:explain("eve@evil.test", "alice@contoso.test", "stream")',
    f'partners:test("{HOST}", "{FABRIKAM}")', f'partners:test("{HOST}", "nowhere.test")', f'partners:test("{HOST}", "evil.test")',
    f'partners:sheet("{FABRIKAM}")', "partners:streams()", "partners:check()", "partners:commit()", "partners:suggest()",
]
COMMAND_LINE = [["shell", "partners", "list", HOST], ["shell", "partners", "explain", BOB, ALICE, "stream"]]
OFFLINE = [
    ["check"], ["check", "--strict"], ["check", "--resolver", "127.0.53.53@5353"], ["list"], ["matrix"], ["explain", BOB, ALICE], ["explain", "dave@wingtip.test", ALICE],
    ["explain", "dave@wingtip.test", ALICE, "--listed"], ["import", FIXTURES / "import" / "partners.xml"],
    ["import", FIXTURES / "import" / "impossible.json"],
    ["import", *(FIXTURES / "import" / name for name in ("gateway.xml", "policies.json", "users.json"))],
    ["import", FIXTURES / "import" / "ejabberd.yml"], ["suggest"], ["probe", FABRIKAM], ["probe", "nowhere.test"],
    ["add", "new.test", "--type", "federated"], ["commit", "--yes"], ["pin", FIXTURES / "import" / "users.json"],
    ["import", "/does/not/exist"], ["help"],
]


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE], modules=["http_openmetrics", "adhoc"], options=f"""
admins = {{ "{ALICE}" }}
statistics = "internal"
statistics_interval = "manual"
http_ports = {{ 5280 }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{}}
""").start()
    lab.fabrikam = Prosody(lab, "fabrikam", [FABRIKAM], users=[BOB], preset="any").start()


def scenario_every_command(lab):
    parts = [f"==== Prosody {lab.prosody.number} ===="]
    with Client(ALICE, lab.edge.address) as alice, Client(BOB, lab.fabrikam.address) as bob:
        alice.send_message(BOB, "hello")
        bob.wait_message("hello")
        alice.wait_error(alice.send_message("eve@evil.test"))
        for command in SHELL:
            if command == "partners:commit()":
                lab.edge.partners = CHANGED
                lab.edge.write_config()
            output = lab.edge.shell(command, timeout=60)
            parts.append(f"prosody> {command}\n{output}")
            assert re.search(r"^(OK|Result|Error): ", output, re.MULTILINE) or command.startswith("help"), output
            assert "traceback" not in output.lower() and "Fatal error" not in output, output
        if lab.version != "0.12":
            for words in COMMAND_LINE:
                ran = lab.edge.ctl(*words)
                parts.append(f"$ prosodyctl {' '.join(map(str, words))}\n{ran.stdout}[exit status {ran.returncode}]\n")
                assert ran.returncode == 0, ran.stdout
        time.sleep(0.2)
        with urllib.request.urlopen("http://127.0.0.1:5280/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if "s2s_partners" in line]
        parts.append("GET /metrics (what is of this module)\n" + "\n".join(lines) + "\n")
        assert any("decisions_total" in line for line in lines), lines
    for words in OFFLINE:
        ran = lab.edge.ctl("mod_s2s_partners", *words)
        parts.append(f"$ prosodyctl mod_s2s_partners {' '.join(map(str, words))}\n{ran.stdout}[exit status {ran.returncode}]\n")
        assert ran.returncode in (0, 1, 2) and "traceback" not in ran.stdout, ran.stdout
    text = "\n".join(parts)
    # What differs from run to run says nothing.
    for path in (lab.directory, FIXTURES, tempfile.gettempdir()):
        text = text.replace(f"{path}/", "")
    if "TRANSCRIPT_OUT" in os.environ:
        with open(pathlib.Path(os.environ["TRANSCRIPT_OUT"]), "a", encoding="utf-8") as file:
            file.write(text + "\n")
