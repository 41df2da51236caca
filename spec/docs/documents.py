#!/usr/bin/env python3
"""Documents: links lead somewhere, versions agree, the manual page can be read, nothing of somebody's machine is in a file.

    documents.py --source ROOT

Output is TAP."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from annex_pages import annex_faults, annex_program_faults  # noqa: E402 (needs the path above)
from citations import number_faults, reference_faults, rule_faults, standard_faults, standards, step_faults  # noqa: E402
from markdown_parts import CODE, FENCE, LINK, anchors  # noqa: E402

# Where an absolute link or name may lead. Any other host in a file is somebody's own: a mirror, a registry, a build machine.
HOSTS = re.compile(r"^(etherx\.jabber\.org|jabber\.org|www\.xmpp\.org|prosody\.im|www\.debian\.org|semver\.org|keepachangelog\.com|www\.w3\.org"
                   r"|xmpp\.org|www\.rfc-editor\.org|schemas\.microsoft\.com|learn\.microsoft\.com|[A-Z]+"
                   r"|(\S+\.)?(example|test|invalid|localhost)|(\S+\.)?example\.(com|net|org)|localhost|127(\.\d+){3}|\[::1\])$")
URL = re.compile(r"\b(?:https?|ftp)://([^/\s\"'<>`)\]:{}$%]+)")
# Folders that are on no other machine. Written so that they do not find themselves.
PRIVATE = re.compile(r"(?<![\w.$}])/(?:home|Users|work|tmp/wt|builds?/\w+-\w+)/(?=[A-Za-z])")
SKIPPED = re.compile(r"^(build.*|obj-.*|\.git|\.debhelper|prosody-mod-s2s-partners|__pycache__|meson-.*)$")


def files(root):
    """The text files of the source tree, whatever it was unpacked from."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not SKIPPED.match(name))
        for name in sorted(names):
            path = pathlib.Path(folder, name)
            content = path.read_bytes() if path.is_file() and not path.is_symlink() and name != ".git" else b"\0"
            if b"\0" not in content:
                yield path, content.decode(errors="replace")


def link_faults(root, page, text):
    for target in LINK.findall(CODE.sub("", FENCE.sub("", text))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.is_relative_to(root.resolve()):
            yield f"{target} leads out of the tree"
        elif not to.exists():
            yield f"{target} leads nowhere"
        elif anchor and to.suffix == ".md" and anchor not in anchors(to.read_text()):
            yield f"{target}: no such heading"


def word_faults(text):
    for number, line in enumerate(text.splitlines(), 1):
        for host in URL.findall(line):
            if not HOSTS.match(host.rpartition("@")[2]):
                yield f"line {number}: the host {host} is nobody's business, or missing in the list of hosts of this test"
        for match in PRIVATE.finditer(line):
            yield f"line {number}: a folder of one machine: {line[match.start():][:40]}"


def version_faults(root):
    version = re.search(r"^  version: '([^']+)'", (root / "meson.build").read_text(), re.MULTILINE)[1]
    rocks = list(root.glob("*.rockspec"))
    if len(rocks) != 1:
        yield f"{len(rocks)} rockspecs, and one is due"
    for rock in rocks:
        text = rock.read_text()
        said = re.search(r'^version = "([^"]+)-\d+"', text, re.MULTILINE)
        if not said or said[1] != version or not rock.name.startswith(f"mod_s2s_partners-{version}-"):
            yield f"{rock.name} is not for {version}"
        if f"mod_s2s_partners-{version}.tar.gz" not in text:
            yield f"{rock.name} does not name the tarball of {version}"
    changelog = root / "debian" / "changelog"
    if changelog.exists():
        said = re.match(r"\S+ \(([^)]+)-[^-)]+\)", changelog.read_text())
        # A version before this one is built by who tests upgrades.
        if not said or said[1] != version and "S2SP_ANY_VERSION" not in os.environ:
            yield f"debian/changelog is not for {version}"
    changes = re.findall(r"^## \[([^\]]+)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    if version not in changes or changes.index(version) != (changes[0] == "Unreleased"):
        yield f"the newest version of CHANGELOG.md is not {version}"
    for name, pattern in (("lua/mod_s2s_partners.lua", r'^local VERSION = "([^"]+)"'),
                          ("docs/mod_s2s_partners.1", r'^\.TH MOD_S2S_PARTNERS 1 "" "mod_s2s_partners (\S+)"')):
        said = re.search(pattern, (root / name).read_text(), re.MULTILINE)
        if not said or said[1] != version:
            yield f"{name} is not of {version}"
    page = (root / "docs" / "installing.md").read_text()
    for said in re.findall(r"mod_s2s_partners-(\d[\w.]*?)-\d\.src\.rock", page):
        if said != version:
            yield f"docs/installing.md names the rock of {said}"


def table(text, heading):
    """The first column of the first table below the heading."""
    part = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    rows = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE)[0].splitlines()[2:]
    return [row.split(" |")[0].lstrip("| ") for row in rows]


def need_faults(root):
    """What is checked at the start stands in the tables of docs/host-adapters.md, library by library, and nothing else does."""
    code = (root / "lua" / "needs.lib.lua").read_text()
    part = (root / "docs" / "host-adapters.md").read_text().split("### Functions, checked at the start")[1].split("### Fields that cannot")[0]
    said = {row[0]: set(re.findall(r"`([\w.]+)`", row[1])) for row in re.findall(r"^\| `([\w.]+)` \| (.*?) \|", part, re.MULTILINE)}
    needed = {}
    for name, keys in re.findall(r'^\t\["([\w.]+)"\] = \{ ((?:"[\w.]+";? ?)+)\};', code, re.MULTILINE):
        needed[name] = set(re.findall(r'"([\w.]+)"', keys))
    objects = code.split("local objects = {")[1].split("\n};")[0]
    for name, body in re.findall(r'^\t(?:\["([\w.]+)"\]|(?=\w+ = ))(.*?)(?=^\t\S|\Z)', objects, re.MULTILINE | re.DOTALL):
        name = name or re.match(r"\w+", body)[0]
        needed[name] = set(re.findall(r'"([\w.]+)"', body))
    if len(needed) < 20:
        yield "lua/needs.lib.lua cannot be read"
    for name in sorted(set(needed) | set(said)):
        if needed.get(name, set()) != said.get(name, set()):
            yield f"{name}: needed {sorted(needed.get(name, []))}, in docs/host-adapters.md {sorted(said.get(name, []))}"


def event_faults(root):
    """What is hooked in core stands in the table of events; the events of stanzas and handshakes stand there in short."""
    part = (root / "docs" / "host-adapters.md").read_text().split("### Events")[1].split("### ")[0]
    said = set(re.findall(r"`([^`]+)`", part))
    code = "".join(re.sub(r"--.*", "", path.read_text()) for path in sorted((root / "lua").glob("*.lua")))
    hooked = set(re.findall(r'\b(?:hook|hook_global|wrap_event|add_handler)\(\s*"([^"]+)"', code))
    for path in sorted((root / "module" / "prosody").rglob("*.c")):
        hooked |= set(re.findall(r'(?:\{ |STANZA_IN\()"([^"]+)"(?:\)|, (?:s2sp_hook|on)_)', path.read_text()))
    if len(hooked) < 30:
        yield f"only {len(hooked)} events were found in lua/ and module/prosody"
    for event in sorted(hooked - {"s2s-partners-header"}):
        short = event
        if event.startswith("stanza/"):
            short = re.sub(r"^.*[:/](?=[\w-]+:[\w-]+$)", "", event)
        elif re.fullmatch(r"(message|presence|iq)/(bare|full|host)", event):
            short = event.split("/")[0]
        elif event == "pre-presence/":
            short = "pre-presence/*"
        if short not in said:
            yield f"docs/host-adapters.md has no row for the event {event}"


def message_faults(root):
    """What the validator says is in the reference, and what is in the reference it can say."""
    page = (root / "docs" / "configuration.md").read_text()
    said = "".join(path.read_text() for path in sorted((root / "fixtures" / "config").rglob("*.expected")))
    code = "".join(path.read_text() for room in ("module", "lua") for path in sorted((root / room).rglob("*.[cl]*"))).replace('\\"', '"')
    for severity, heading in (("error", "Errors"), ("warning", "Warnings")):
        phrases = [phrase for row in table(page, heading) for phrase in CODE.findall(row)]
        phrases = [phrase.strip("`") for phrase in phrases]
        for line in re.findall(rf"^{severity}: (.*)$", said, re.MULTILINE):
            if not any(phrase in line for phrase in phrases):
                yield f"docs/configuration.md does not have: {line}"
        for phrase in phrases:
            if phrase not in said and phrase not in code:
                yield f"docs/configuration.md has \"{phrase}\", which nothing says"


def key_faults(root):
    """Every key and its default."""
    page = (root / "docs" / "configuration.md").read_text()
    core = root / "module" / "core"
    keys = re.findall(r'\[S2SP_PARTNER_KEY_\w+\] = "(\w+)"', (core / "config/config_partner.c").read_text())
    documented = [name.strip("`") for name in table(page, "Partners")]
    for key in sorted(set(keys) ^ set(documented)):
        yield f"the key {key} is only in {'the code' if key in keys else 'docs/configuration.md'}"
    limits = re.findall(r"^\t\t\.(\w+) = (\d+),$", (core / "config/config_limits.c").read_text(), re.MULTILINE)
    if len(limits) != len(table(page, "Limits")):
        yield "the tables of limits differ"
    for key, default in limits:
        if f"| `{key}` | {default} |" not in page:
            yield f"the default of {key} is {default}"


def name_faults(root):
    """What the pages say of the code is there: functions, types, files."""
    rooms = [path for room in ("module", "lua") for path in (root / room).rglob("*") if path.is_file()]
    code = "".join(path.read_text(errors="replace") for path in rooms)
    for page in sorted([*root.glob("*.md"), *(root / "docs").glob("*.md")]):
        text = page.read_text()
        for name in sorted(set(re.findall(r"\bs2sp_(?!noun_verb)\w+", text))):
            if name not in code and name.removeprefix("s2sp_") not in code:
                yield f"{page.relative_to(root)}: there is no {name}"
        # A folder, a file, or one without its last suffix; what a program writes is not there.
        for name in sorted(set(re.findall(r"(?<![\w/.])(?:lua|module|spec|fixtures|debian)/[\w./-]*\w", text))):
            if not name.endswith("/results.json") and not (root / name).exists() and not list(root.glob(name + ".*")):
                yield f"{page.relative_to(root)}: there is no {name}"


def offline_commands(root):
    return sorted({command for path in (root / "lua" / "offline").glob("*.lua")
                   for command in re.findall(r"^\tfunction commands\.(\w+)", path.read_text(), re.MULTILINE)})


def manual_faults(root):
    page = root / "docs" / "mod_s2s_partners.1"
    text = page.read_text()
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS", "EXAMPLES"):
        if not re.search(rf"^\.SH {section}$", text, re.MULTILINE):
            yield f"no section {section}"
    if shutil.which("groff"):
        ran = subprocess.run(["groff", "-man", "-ww", "-z", page], stderr=subprocess.PIPE, text=True)
        yield from (line for line in ran.stderr.splitlines() if line)
    for command in offline_commands(root):
        if not re.search(rf"^\.B prosodyctl mod_s2s_partners {command}\b", text, re.MULTILINE):
            yield f"the command {command} is not in the synopsis"


def complete(root, *words):
    """What bash would offer for the last of these words behind prosodyctl."""
    script = f"source {root / 'docs' / 'prosodyctl.completion'}; COMP_WORDS=(prosodyctl \"$@\"); COMP_CWORD=$#; _prosodyctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    ran = subprocess.run(["bash", "-c", script, "bash", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    return set(ran.stdout.split())


def completion_faults(root):
    """Every command, option and key can be completed, and nothing else is offered."""
    if not shutil.which("bash"):
        return
    commands = {*offline_commands(root), "help"}
    offered = complete(root, "mod_s2s_partners", "")
    for command in sorted(commands ^ offered):
        yield f"the command {command} is only in {'lua/offline' if command in commands else 'the completion'}"
    keys = {name.strip("`") for name in table((root / "docs" / "configuration.md").read_text(), "Partners")}
    keys = {"--" + key.replace("_", "-") for key in keys - {"domain", "partner_type", "external_access"}}
    for key in sorted(keys - complete(root, "mod_s2s_partners", "add", "x.test", "--")):
        yield f"the key {key} is not completed"
    for words, expected in (
            (["mod_s"], {"mod_s2s_partners"}), (["--config", "x", "mod_s2s_partners", "ch"], {"check"}),
            (["mod_s2s_partners", "check", "--s"], {"--strict"}), (["mod_s2s_partners", "add", "x.test", "--type", "fed"], {"federated"}),
            (["mod_s2s_partners", "set", "x.test", "--fo"], {"--force"}), (["mod_s2s_partners", "explain", "a@b", "c@d", "iq-g"], {"iq-get"}),
            (["mod_s2s_partners", "pin", str(root / "LICEN")], {str(root / "LICENSE")}), (["mod_s2s_partners", "version", ""], set()),
            (["shell", ""], set())):
        found = complete(root, *words)
        if found != expected:
            yield f"{' '.join(words)}: {sorted(found)}, not {sorted(expected)}"


def reachable(root):
    """Pages that nobody finds from the README."""
    seen, todo = set(), [root / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            path = target.partition("#")[0]
            if path.endswith(".md") and ":" not in path:
                todo.append((page.parent / path).resolve())
    return seen


def planted(root):
    """What each check has to find: a name, and what the check says of a planted fault."""
    page, code = "**P1** one **P2** two", "/* clang-format off */\n" + "\t/* P1, P2 */\n" + "\t{ WHERE(A) },\n" * 20 + "%s/* clang-format on */\n"
    source = root / "module" / "core" / "planted.c"
    known = {"RFC 6120": "by section", "XEP-0220": "whole"}
    steps = "`arm` (`lua/mod_s2s_partners.lua`) " * 20
    return {
        "a link to nowhere": link_faults(root, root / "README.md", "see [it](nowhere.md)"),
        "a heading that is not there": link_faults(root, root / "README.md", "see [it](#nothing)"),
        "somebody's host": word_faults("apt from http://" + "mirror.corp.internal/debian"),
        "somebody's folder": word_faults("see /" + "home/somebody/notes"),
        "a rule that is not there": rule_faults(page, code % "\t/* P3 */\n\t{ WHERE(A) },\n"),
        "a rule that nothing cites": rule_faults(page + " **P3** three", code % ""),
        "two rules with one number": rule_faults(page + " **P2** three", code % ""),
        "a row without a rule": rule_faults(page, code % "};\n\t{ WHERE(A) },\n"),
        "a row with a quotation": rule_faults(page, code % "\t/* \"always\" */\n\t{ WHERE(A) },\n"),
        "a page that a comment names": reference_faults(root, source, "/* see docs/" + "nowhere.md */"),
        "a heading that a comment names": reference_faults(root, source, "/*\n * See docs/reasons.md" + "#nothing */"),
        "a contract that nobody has": reference_faults(root, source, "/* as the " + "contract says */"),
        "a rule that a comment cites": number_faults(source, "/* P2, P" + "9 */", ["1", "2"]),
        "an unknown standard": standard_faults(source, "/* RFC " + "1149 2 */", known, True),
        "an unknown recommendation": standard_faults(source, "/* X" + ".121 */", known, True),
        "a standard without a section": standard_faults(source, "/* as RFC " + "6120 says */", known, True),
        "a function that is not there": step_faults(root, steps + "`no_such_function` (`lua/mod_s2s_partners.lua`)"),
        "a function that is only called there": step_faults(root, steps + "`s2sp_stream_identify` (`module/prosody/stream/record.c`)"),
        "a file that is not there": step_faults(root, steps + "`arm` (`lua/nothing.lua`)"),
        "a table of figures outside of the annex": annex_faults(root, root / "docs/performance.md", "<!-- measured -->\n| 1 |\n<!-- end -->"),
        "a section of the annex without an end": annex_faults(root, root / "docs/annex-assurance.md", "<!-- a: spec/run -->\n| 1 |"),
        "a section that no program writes": annex_faults(root, root / "docs/annex-assurance.md", "<!-- a: spec/none -->\n<!-- end of a -->"),
        "an action that is not there": step_faults(root, steps + "`act.nothing`"),
    }


def sound(root):
    """The same checks on what is right: they find nothing."""
    code = "/* clang-format off */\n\t/*\n\t * P1,\n\t * P2 */\n" + "\t{ WHERE(A) },\n" * 20 + "/* clang-format on */\n"
    known = {"RFC 6120": "by section", "XEP-0220": "whole"}
    yield from rule_faults("**P1** one **P2** two", code)
    yield from standard_faults(pathlib.Path("planted.c"), "/* RFC 6120 8.1, RFC 6120, section 4, XEP-0220 */", known, True)
    yield from reference_faults(root, root / "planted.lua", "-- docs/partner-types.md#status-notes")
    yield from step_faults(root, "`arm` (`lua/mod_s2s_partners.lua`) `act.close` " * 20)
    yield from annex_faults(root, root / "docs/annex-assurance.md", "<!-- a: spec/run -->\n| 1 |\n<!-- end of a -->")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, type=pathlib.Path)
    root = parser.parse_args().source.resolve()
    count = failed = 0

    def case(name, faults):
        nonlocal count, failed
        faults = list(faults)
        count += 1
        failed += bool(faults)
        print(f"{'not ' if faults else ''}ok {count} - {name}")
        for fault in faults:
            print(f"# {fault}")

    print("TAP version 13")
    texts = dict(files(root))
    for path, text in texts.items():
        if path.suffix == ".md":
            case(f"links of {path.relative_to(root)}", link_faults(root, path, text))
    case("the annex", (f"{path.relative_to(root)}: {fault}" for path, text in texts.items() if path.suffix == ".md" for fault in annex_faults(root, path, text)))
    case("the program that writes the annex", annex_program_faults(root))
    case("no host or folder of one machine in any file",
         (f"{path.relative_to(root)}: {fault}" for path, text in texts.items() for fault in word_faults(text)))
    case("one version everywhere", version_faults(root))
    case("the manual page", manual_faults(root))
    case("the completion of commands", completion_faults(root))
    case("every error and warning of the configuration", message_faults(root))
    case("all that is needed of Prosody, in docs/host-adapters.md", need_faults(root))
    case("every event that is hooked, in docs/host-adapters.md", event_faults(root))
    case("every key of the configuration", key_faults(root))
    case("what the pages say of the code is there", name_faults(root))
    page, table_of_rules = (root / "docs/partner-types.md").read_text(), (root / "module/core/authorisation.c").read_text()
    case("the rules that authorisation cites", rule_faults(page, table_of_rules))
    rules = re.findall(r"\*\*P(\d+)\*\*", page)
    case("the rules that comments cite", (fault for path, text in texts.items() if path.suffix != ".md"
                                          for fault in number_faults(path.relative_to(root), text, rules)))
    case("the pages that comments name", (fault for path, text in texts.items() if path.suffix != ".md" for fault in reference_faults(root, path, text)))
    known = standards(root)
    for rooms, code in ((("module", "lua"), True), (("docs", "README.md", "spec", "fixtures"), False)):
        case(f"the standards that {rooms[0]} and others cite",
             (fault for path, text in texts.items() if path.relative_to(root).parts[0] in rooms and path.name != "generate.c"
              for fault in standard_faults(path.relative_to(root), text, known, code)))
    walkthrough = (root / "docs/walkthrough.md").read_text()
    case("the steps of docs/walkthrough.md", step_faults(root, walkthrough))
    index = {(root / "docs" / target.partition("#")[0]).resolve() for target in LINK.findall((root / "docs" / "README.md").read_text())}
    case("every page is in docs/README.md",
         (f"{page.relative_to(root)} is not" for page in sorted((root / "docs").glob("*.md")) if page not in index and page.name != "README.md"))
    found = reachable(root)
    case("every page is found from the README",
         (f"{page.relative_to(root)} is linked from nowhere" for page in sorted((root / "docs").glob("*.md")) if page not in found))
    for name, faults in planted(root).items():
        faults = list(faults)
        case(f"{name} is found", [] if len(faults) == 1 else faults or ["it was not"])
    case("what is right is left alone", sound(root))
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
