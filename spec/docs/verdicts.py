#!/usr/bin/python3
"""The verdicts on the fixtures of both hosts, side by side: docs/both-hosts.md.

    verdicts.py PAGE PROSODY... -- EJABBERD...    fails with a diff where the page is another, or where the hosts differ
    verdicts.py --update PAGE ...                 writes it

PROSODY and EJABBERD are the commands that print what each host says (verdicts_prosody.lua, s2s_partners_verdicts.erl)."""

import collections
import difflib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DOMAIN = "im.fabrikam.test"
WIDTH = 160     # of the names of configurations in a line


def printed(command, directory, kinds):
    """{group: {case: verdict}}"""
    ran = subprocess.run([*command, str(directory), DOMAIN, *kinds], check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    groups = collections.defaultdict(dict)
    for line in ran.stdout.splitlines():
        group, case, verdict = line.split("\t")
        groups[group][case] = verdict
    return groups


def rows(titles, cells):
    yield "| " + " | ".join(titles) + " |"
    yield "|---" * len(titles) + "|"
    for row in cells:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def differences(one, other, group):
    cases = one[group].keys() | other[group].keys()
    return [case for case in sorted(cases) if one[group].get(case) != other[group].get(case)]


def names(found):
    line = ", ".join(f"`{name}`" for name in sorted(found))
    while len(line) > WIDTH:
        cut = line.rindex(", ", 0, WIDTH) + 1
        yield line[:cut]
        line = line[cut + 1:]
    yield line


def stanza_types():
    lines = (SOURCE / "fixtures" / "authorisation.tsv").read_text().splitlines()
    return {str(number): line.split("\t")[:2] for number, line in enumerate(lines[1:], 2)}


def page(prosody, ejabberd):
    yield "# The same verdicts on both hosts"
    yield ""
    yield ("What Prosody's module and ejabberd's say to the same fixtures. Each loads its own library and is asked through it, as the server asks "
           "it. This page is printed from")
    yield "their answers (`meson compile -C build update-both-hosts`); the build's tests print it again, and fail where a line of it is another, or where the two differ."
    yield ""
    total = sum(len(prosody[group]) for group in ("negotiation", "stanza", "certificate"))
    shared = [case for case in prosody["configuration"] if case in ejabberd["configuration"]]
    count = sum(len(differences(prosody, ejabberd, group)) for group in ("negotiation", "stanza", "certificate"))
    count += sum(prosody["configuration"][case] != ejabberd["configuration"][case] for case in shared)
    yield f"{total + len(shared)} cases, {count} differences."
    yield ""
    yield "## Negotiation"
    yield ""
    yield "The 18 combinations of [negotiation.md](negotiation.md): what may authenticate a stream, or that the entry is an error."
    yield ""
    yield from rows(("tls", "sasl", "dialback", "on Prosody", "on ejabberd"),
                    ([*case.split("/"), methods(verdict), methods(ejabberd["negotiation"].get(case))] for case, verdict in prosody["negotiation"].items()))
    yield "## Stanzas"
    yield ""
    yield (f"Every row of [fixtures/authorisation.tsv](../fixtures/authorisation.tsv), {len(prosody['stanza'])} in number: partner type, direction, "
           "stanza, settings, and all that is known of the")
    yield "two sides. Compared row by row; here they are counted."
    yield ""
    yield from stanza_table(prosody, ejabberd)
    yield "## Certificates"
    yield ""
    yield ("One of each kind of [fixtures/certificates/kinds.json](../fixtures/certificates/kinds.json), made for "
           f"`{DOMAIN}`, with all that its chain has, against one trusted authority. On the")
    yield "wire ejabberd's TLS library gives out the first certificate alone; what that changes stands in [ejabberd.md](ejabberd.md#certificates-of-partners)."
    yield ""
    yield from rows(("kind", "on Prosody", "on ejabberd"),
                    ((f"`{kind}`", verdict, ejabberd["certificate"].get(kind, "none")) for kind, verdict in prosody["certificate"].items()))
    yield "## Configurations"
    yield ""
    yield ("Those of `fixtures/config`, for ejabberd as YAML holds them. That the messages are the same, each in the words of its host, is compared by "
           "the tests of the two libraries.")
    yield ""
    yield from rows(("configurations", "on Prosody", "on ejabberd"),
                    ((number, *verdicts) for verdicts, number in sorted(
                        collections.Counter((prosody["configuration"][case], ejabberd["configuration"][case]) for case in shared).items())))
    yield "Not for ejabberd, since they are about options, files or hosts of Prosody's; those of ejabberd have tests of their own:"
    yield from names(case for case in prosody["configuration"] if case not in ejabberd["configuration"])


def methods(words):
    return {"sasl": "SASL", "tls_dialback": "TLS dialback", "tcp_dialback": "TCP dialback"}.get(words, words) if words is None or " " not in words \
        else ", ".join(methods(word) for word in words.split(" "))


def stanza_table(prosody, ejabberd):
    types = stanza_types()
    counts = collections.Counter()
    for host, found in enumerate((prosody, ejabberd)):
        for case, verdict in found["stanza"].items():
            counts[(*types[case], verdict), host] += 1
    cells = []
    for type_, direction, verdict in sorted({key for key, _ in counts}):
        word, reason, change = verdict.split(" ")
        text = word + (f", `{reason}`" if reason != "none" else "") + (f", changed: `{change}`" if change != "none" else "")
        cells.append((type_, direction, text, *(counts[(type_, direction, verdict), host] for host in (0, 1))))
    return rows(("partner type", "direction", "verdict", "rows on Prosody", "rows on ejabberd"), cells)


def main(arguments):
    update = arguments[:1] == ["--update"]
    if update:
        arguments = arguments[1:]
    if "--" not in arguments:
        print(__doc__, file=sys.stderr)
        return 2
    path, split = pathlib.Path(arguments[0]), arguments.index("--")
    kinds = list(json.loads((SOURCE / "fixtures" / "certificates" / "kinds.json").read_text())["kinds"])
    with tempfile.TemporaryDirectory() as directory:
        made = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        subprocess.run([SOURCE / "spec" / "lab" / "make-certificates", directory, *(f"{DOMAIN}:{kind}" for kind in kinds)],
                       check=True, stdout=subprocess.DEVNULL, env=made, timeout=300)
        prosody, ejabberd = (printed(command, directory, kinds) for command in (arguments[1:split], arguments[split + 1:]))
    text = "\n".join(page(prosody, ejabberd)) + "\n"
    if update:
        path.write_text(text, encoding="utf-8")
        return 0
    failed = 0
    for group in ("negotiation", "stanza", "certificate", "configuration"):
        for case in differences(prosody, ejabberd, group):
            if group == "configuration" and case not in ejabberd[group]:
                continue
            failed = 1
            print(f"{group} {case}: {prosody[group].get(case)} on Prosody, {ejabberd[group].get(case)} on ejabberd")
    diff = list(difflib.unified_diff(path.read_text(encoding="utf-8").splitlines(keepends=True), text.splitlines(keepends=True),
                                     "docs/" + path.name, "what the hosts say"))
    sys.stdout.writelines(diff)
    return 1 if diff else failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
