"""The six commands of ejabberdctl as docs/ejabberd-console.md shows them: what a real server says is what stands there, but for times, keys and the like.
TRANSCRIPT_OUT=FILE writes the page instead."""

import os
import pathlib
import re

from lab.client import Client
from lab.lab import Skipped
from lab.paths import ROOT
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, partner, tls_dialback

TIMEOUT = 120
PAGE = ROOT / "docs" / "ejabberd-console.md"
FABRIKAM = "fabrikam.test"
BOB = f"bob@{FABRIKAM}"
PARTNERS = configuration(
    partner(FABRIKAM, "corp.fabrikam.test", description="Fabrikam, contract 2231"),
    any_method("any.test", partner_type="public_verified"), tls_dialback("wingtip.test", partner_type="public_unverified"),
    partner("nowhere.test"))
INTRODUCTION = f"""# The commands on ejabberd, as they answer

One of each, as an ejabberd said it whose only virtual host is `{HOST}`, with four partners and a stream to one of them.
`spec/federation/run --host ejabberd --module ejabberd_transcript` runs them again and compares, but for times, dates, addresses, keys, versions and
what follows from them; with `TRANSCRIPT_OUT=docs/ejabberd-console.md` it writes this page. What each command is for stands in
[ejabberd.md](ejabberd.md#console), what its lines mean in [console.md](console.md). The exit status is 0 where nothing is said of it.
"""
# (title, what is said before, [arguments]), by command
COMMANDS = [
    ("list", "", [[""]]),
    ("show", "", [[FABRIKAM], ["evil.test"]]),
    ("explain", "", [[BOB, ALICE, "message"], [ALICE, "dave@wingtip.test", "message"], [ALICE, "erin@any.test", "presence"],
                     ["eve@evil.test", ALICE, "stream"]]),
    ("check", "", [[]]),
    ("check", "With a mistake in an entry on disk, which nobody has reloaded:", [[]]),
    ("test", "", [[HOST, FABRIKAM], [HOST, "nowhere.test"], [HOST, "evil.test"]]),
    ("streams", "", [[]]),
]
VARIES = (
    (r"\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?)?(?: UTC)?", "DATE"), (r"\bin \d+ (?:days?|hours?)", "in some days"),
    (r"sha256//[\w+/]{43}=", "PIN"), (r"\b[0-9A-F]{30,}\b", "SERIAL"), (r"\b[\d.]+ m?s\b", "TIME"), (r"127(?:\.\d+){3}", "ADDRESS"),
    (r"ejabberd \d[\w.~+-]*", "ejabberd VERSION"), (r"OpenSSL \d[^;]*?\d{4}", "OPENSSL"), (r"mod_s2s_partners \d[\d.]*", "MODULE"),
    (r"TLSv1\.\d", "TLS"), (r"\b(?:TLS_[A-Z0-9_]+|ECDHE-[A-Z0-9-]+)\b", "CIPHER"), (r"learned: \d+ kept", "learned: some kept"), (r"-{2,}", "-"),
    (r"\s+", " "),
)


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("Prosody's console has a transcript of its own: console_transcript")
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE]).start()
    lab.fabrikam = Prosody(lab, "fabrikam", [FABRIKAM], users=[BOB], preset="external").start()


def plain(text):
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return text.strip()


def answers(lab):
    """[(command, words, what it says with its exit status)]"""
    found = []
    for name, before, calls in COMMANDS:
        if name == "check" and before:
            lab.edge.yaml = {"partners": [{"domain": FABRIKAM, "partner_type": "federated", "tsl": "required"}]}
            lab.edge.write_config()
        for words in calls:
            output = lab.edge.command(f"s2s_partners_{name}", *words).rstrip("\n").replace(f"{lab.edge.directory}/", "/etc/ejabberd/")
            given = "".join(f" {word or chr(34) * 2}" for word in words)
            status = f"\n[exit status {lab.edge.status}]" if lab.edge.status else ""
            found.append((name + before, f"$ ejabberdctl s2s_partners_{name}{given}\n{output}{status}"))
        if name == "check" and before:
            lab.edge.yaml = {}
            lab.edge.write_config()
    return found


def scenario_page(lab):
    with Client(ALICE, lab.edge.address) as alice, Client(BOB, lab.fabrikam.address) as bob:
        alice.send_message(BOB, "hello")
        bob.wait_message("hello")
        found = answers(lab)
    if "TRANSCRIPT_OUT" in os.environ:
        parts = [INTRODUCTION]
        for name, before, _ in COMMANDS:
            texts = [text for of, text in found if of == name + before]
            parts.append(f"{before or '## ' + name}\n\n```\n" + "\n\n".join(texts) + "\n```\n")
        pathlib.Path(os.environ["TRANSCRIPT_OUT"]).write_text("\n".join(parts), encoding="utf-8")
        return
    shown = [text for block in re.findall(r"^```\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
             for text in re.split(r"\n\n(?=\$ ejabberdctl )", block.strip("\n"))]
    assert [text.splitlines()[0] for text in shown] == [text.splitlines()[0] for _, text in found]
    for before, (_, now) in zip(shown, found):
        assert plain(now) == plain(before), f"{now}\n\nstands in {PAGE.name} as\n\n{before}"
