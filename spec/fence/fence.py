#!/usr/bin/env python3
"""Holds the walls between the rooms: forbidden includes, symbols and words, files nobody builds.

    fence.py --source ROOT --core LIBRARY --ident LIBRARY

Knowledge points inward only: prosody -> ident -> core, ejabberd -> ident -> core, and core knows nobody. Both hosts use core and
ident unchanged; what this script lets through is what they have to live with. Output is TAP.
"""

import argparse
import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.MULTILINE)
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*', re.DOTALL)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')

CORE_SYSTEM = {"string.h", "stdint.h", "stdbool.h", "stddef.h", "limits.h"}
# A header's beginning, and the files that may know it, in words and as an expression. The public header of either noun
# is not among them: who includes it must not need the library.
LIBRARY = [
    ("openssl/", "module/ident/certificate.c and its private parts, and module/ejabberd/learned_*",
     re.compile(r"^module/(ident/(certificate(_\w+)?\.c|certificate_\w+\.h)|ejabberd/learned_\w+\.[ch])$")),
    ("libpsl.h", "module/ident/public_suffix.c", re.compile(r"^module/ident/public_suffix\.c$")),
    ("idn2.h", "module/ident/idna.c", re.compile(r"^module/ident/idna\.c$")),
]
LUA_HEADERS = {"lua.h", "lauxlib.h", "lualib.h", "luaconf.h", "lua.hpp"}
EMULATOR_HEADERS = {"erl_nif.h", "erl_driver.h", "ei.h", "ei_connect.h"}
FORBIDDEN_IN_IDENT = {"syslog.h", "sys/socket.h", "netdb.h", "pthread.h", "signal.h"}

# What a core object may leave to others: its own functions, what a freestanding compiler may call, what instruments it.
CORE_SYMBOL = re.compile(r"^(s2sp_\w+|bcmp|mem(cpy|move|set|cmp|chr)|str(len|cmp|ncmp|chr|rchr|spn|cspn|pbrk|str|nlen)"
                         r"|__(mem|str)\w+_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_"
                         r"|__(asan|ubsan|sanitizer|sancov|gcov|llvm)_?\w*|__start_\w+|__stop_\w+|_Unwind_Resume|__gcc_personality_v0)$")
IDENT_FORBIDDEN_SYMBOL = re.compile(r"^(lua_|luaL_|luaopen_|(v?printf|puts|putchar|syslog|socket|connect|getaddrinfo)$)")
# No global state in the core: nothing writable, named or not.
WRITABLE = set("BbDdCGgSs")
INSTRUMENTATION = re.compile(r"^(__|\.L|\.?asan|_?\.str|l?___unnamed|DW\.ref)")

# Hosts, their languages, their commands and options: core and ident have no word of them, in code, strings or comments.
HOST_WORD = re.compile(r"(?<![a-z])(prosody|prosodyctl|ejabberd|ejabberdctl|openfire|mongooseim|lua[a-z]*|erlang|elixir|erl|nif|beam"
                       r"|yaml|nil|metatables?|metamethods?|userdata|coroutines?|upvalues?)(?![a-z])"
                       r"|\b(s2s_\w+|mod_\w+|partners:\w+|\w+\.cfg\.lua|xmpp:federate)", re.IGNORECASE)
# What a string of the core may have in braces: a slot of the vocabulary, of a constraint, or a setting.
SLOT_TABLE = re.compile(r'\[S2SP_WORD_\w+\] = "([a-z_.]+)"')
SLOT = re.compile(r"\{([^{}]*)\}")
SETTING = re.compile(r"^\w+ = \w+$")
CONSTRAINT_SLOTS = {"domain", "partners"}
WRITTEN_SETTING = re.compile(r'\w = (\\"|true|false|\d)')

# Words that readers stumble over, and what to write: texts of the project are read at night, and by people whose language is another.
DIALECT = [
    (re.compile(r"\b[Mm]end(s|ed|ing)?\b"), "correct, repair or fix; remedy"),
    (re.compile(r"\b[Ww]hoever\b"), "the noun: the peer, the user, the caller"),
    (re.compile(r"\bfor want of\b"), "because there is no; without"),
    (re.compile(r"\bthat is none\b"), "that is not a ..."),
]
LINE_MAX = 170      # clang-format and luacheck want less of most lines; this is for all
PROSE = ("*.md", "*.c", "*.h", "*.lua", "*.py", "*.cfg.lua", "*.json", "*.erl", "run", "install")


def includes(text):
    """The headers a C text includes, each with whether it stands in angle brackets."""
    for match in INCLUDE.finditer(COMMENT.sub(" ", text)):
        yield match.group(2), match.group(1) == "<"


def basename(header):
    return header.rsplit("/", 1)[-1]


def include_faults(path, text, own):
    """What is wrong with the includes of `path` (relative to the root); `own` is what own_headers() gives."""
    room = path.split("/")[1]
    may_use = {"core": ["core"], "ident": ["ident", "core"], "prosody": ["prosody", "ident", "core"],
               "ejabberd": ["ejabberd", "ident", "core"]}[room]
    for header, system in includes(text):
        name = basename(header)
        for beginning, words, owner in LIBRARY:
            through = any(h.startswith(beginning) for h in own.get("libraries", {}).get(name, ())) and not system
            if (header.startswith(beginning) or through) and not owner.match(path):
                yield "<%s> belongs to %s alone" % (header, words)
        if name in LUA_HEADERS and room != "prosody":
            yield "<%s> belongs to module/prosody alone" % header
        if name in EMULATOR_HEADERS and room != "ejabberd":
            yield "<%s> belongs to module/ejabberd alone" % header
        if not system:
            if not any(name in own[other] for other in may_use):
                yield '"%s" is not a header of %s' % (header, " or ".join(may_use))
        elif room == "core" and header not in CORE_SYSTEM:
            yield "<%s>: the core includes only %s" % (header, ", ".join("<%s>" % h for h in sorted(CORE_SYSTEM)))
        elif room == "ident" and header in FORBIDDEN_IN_IDENT:
            yield "<%s>: ident reads certificates and names, it logs nothing and dials nobody" % header
        elif any(name in own[other] for other in may_use):
            yield "<%s>: own headers stand in quotes" % header


# Writing to Prosody's objects, which observe mode must not do, is the business of bridge/host_objects. What is made anew stands on top of the
# stack (a negative index); what has a name there may be an object of Prosody's, but for the guard itself and the record in its session.
HOST_WRITE = re.compile(r"\b(lua_setfield|lua_settable|lua_seti|lua_setmetatable)\(L, (?!-\d)(?!ARG_GUARD, )(?!session, S2SP_LUA_STREAM_FIELD\))|\bs2sp_raw_set\(")
NO_RESULT = re.compile(r"\blua_call\(L, [^,]+, 0\)")


def write_faults(text):
    """What a handler does to the host beside its action, past the functions that leave it alone in observe mode."""
    for number, line in enumerate(text.splitlines(), 1):
        if HOST_WRITE.search(line):
            yield "line %d writes to what may be Prosody's: use the functions of host_objects.h" % number
        if NO_RESULT.search(line):
            yield "line %d calls a function for its effect: make it an action of the guard's" % number


def mode_faults(text):
    """The mode is one field, set in one place; what it is compared with is true itself."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("--")[0]
        for match in re.finditer(r"\bguard\.observing\b(.{0,8})", code):
            if not re.match(r" (==|~=) true", match.group(1)) and not re.match(r" = (latch|obser)", match.group(1)) and "observing == guard.observing" not in code:
                yield "line %d: compare guard.observing with true: whatever else it is means that everything is enforced" % number


def switch_faults(text):
    """Switches over our enums name every value; the one `default` over a foreign int says so in a comment."""
    for match in re.finditer(r"^\s*default\s*:(.*)$", text, re.MULTILINE):
        if "/*" not in match.group(1):
            yield "a switch has a default: name every value, or say in a comment on its line what foreign int this is"


def word_faults(text):
    """Words of a host: a second one will use core and ident unchanged, and so would its administrators read them."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in HOST_WORD.finditer(line):
            yield "line %d has a host's word: %s" % (number, match.group(0))


# Lua carries decisions out: it names no reason and looks at no stanza's type, but where this says why. The console explains, import and offline
# have no traffic before them.
LUA_TALKS = re.compile(r"^lua/(console|import|offline)/|^lua/(explain|layout|suggestion|host_certificate|rosters)\.lib\.lua$")
LUA_COMMENT = re.compile(r"--[^\n]*")
LUA_TYPE = "a stanza's type"
LUA_MAY = {
    "lua/mod_s2s_partners.lua": {"internal-error": "the latch stands where the core may not be there", LUA_TYPE: "the same"},
    "lua/actions.lib.lua": {"internal-error": "a handler has failed: there is no decision", "roster-unavailable": "an authorisation could not be written",
                            "establishment-timeout": "a longer line in the log", "inactivity-timeout": "a longer line in the log"},
    "lua/limits.lib.lua": {"connection-limit": "a connection without a stream has no record", "establishment-timeout": "the same"},
    "lua/commit.lib.lua": {"internal-error": "an issue of the configuration"},
    "lua/report.lib.lua": {"subscription-authorised": "a line in the log"},
    "lua/metrics.lib.lua": {"subscription-authorised": "a label"},
    "lua/observe.lib.lua": dict.fromkeys(("internal-error", "sasl-not-supported", "tls-not-supported", "sasl-required",
                                           "dialback-not-allowed"), "a longer line in the log"),
    "lua/inside/contacts.lib.lua": {LUA_TYPE: "what passes tells who is in whose roster; what follows from that is decided in C"},
    "lua/inside/inner_endpoint.lib.lua": {"inside-unreachable": "nothing can be written to it any more: there is no decision",
                                          "unlisted-domain": "who is no relay host has no record", "policy-changed": "another server: the record knows no places"},
    "lua/inside/inner_handshake.lib.lua": {LUA_TYPE: "the answer of dialback, which the guard has let pass"},
    "lua/inside/relay.lib.lua": {"inside-unreachable": "the server inside is not there: there is no decision",
                                 LUA_TYPE: "what cannot be handed over is answered where it is a request; a ping of our own is"},
    "lua/recent.lib.lua": {"unlisted-domain": "strangers have no entry"},
    "lua/subscriptions.lib.lua": {LUA_TYPE: "what the host's own users say is remembered"},
}
REASON_ROW = re.compile(r'\[S2SP_REASON_\w+\] = { "([a-z-]+)", (?:REFUSAL|CHANGE),')


def reasons(text):
    """The tokens of module/core/reason.c."""
    return set(REASON_ROW.findall(text))


def lua_faults(path, text, tokens):
    """What a file of lua/ would decide by: reasons, and the types of stanzas."""
    if LUA_TALKS.match(path):
        return
    may, met = LUA_MAY.get(path, {}), set()
    for number, line in enumerate(LUA_COMMENT.sub("", text).splitlines(), 1):
        found = [token for token in re.findall(r'"([a-z-]+)"', line) if token in tokens]
        if re.search(r"\battr\.type\b", line):
            found.append(LUA_TYPE)
        met.update(found)
        for word in found:
            if word not in may:
                yield "line %d names %s: what follows from it is decided in module/core" % (number, word)
    for word in sorted(set(may) - met):
        yield "%s is allowed here and does not occur" % word


# Erlang carries decisions out as well. These name reasons, and say why; no other module does.
ERLANG_MAY = {
    "s2s_partners_clock": "nothing was said in time, so that there is no record",
    "s2s_partners_element": "an element that the library cannot read, told in the log",
    "s2s_partners_explain": "tells changes apart for people",
    "s2s_partners_in": "what only the wire shows is told the record: another domain, too many waiting, stanzas that wait for a stream that ends",
    "s2s_partners_in_authentication": "the same: authentication as somebody else, a key for another pair",
    "s2s_partners_in_header": "the same: another host, a domain of this server's",
    "s2s_partners_nif": "the words of the border, in comments and types",
    "s2s_partners_out": "a handler has failed: there is no decision",
    "s2s_partners_out_answers": "what only the wire shows is told the record: answers that nobody asked for",
    "s2s_partners_out_features": "the same: the host lacks the module for the only method left",
    "s2s_partners_out_queue": "what comes to a stream that a new policy has ended is routed, and decided, once more",
    "s2s_partners_places": "a handler has failed: there is no decision",
    "s2s_partners_report": "labels of counters, and of lines in the log",
    "s2s_partners_route": "carries changes out; a handler has failed, an authorisation could not be written, a stanza is for nobody here",
    "s2s_partners_standing": "a new policy's refusal is told the record",
    "s2s_partners_stanza": "carries a refusal out that closes the stream; a stanza without addresses",
    "s2s_partners_stream": "a handler has failed: there is no decision",
}
ERLANG_COMMENT = re.compile(r"%[^\n]*")


def erlang_faults(path, text, tokens):
    """What a module of erlang/ would decide by: reasons."""
    if pathlib.PurePath(path).stem in ERLANG_MAY:
        return
    for number, line in enumerate(ERLANG_COMMENT.sub("", text).splitlines(), 1):
        for token in re.findall(r"'([a-z-]+)'", line):
            if token in tokens:
                yield "line %d names %s: what follows from it is decided in module/core" % (number, token)


def vocabulary_slots(text):
    """The slots of module/core/vocabulary.c."""
    return set(SLOT_TABLE.findall(text))


def string_faults(text, slots):
    """The syntax of a host in a text of the core, or a slot that nobody fills."""
    for match in STRING.finditer(COMMENT.sub(" ", text)):
        string = match.group(0)
        for slot in SLOT.findall(string):
            if slot not in slots and slot not in CONSTRAINT_SLOTS and not SETTING.match(slot):
                yield "%s: {%s} is no slot of the vocabulary" % (string, slot)
        rest = SLOT.sub("", string)
        if "{" in rest or "}" in rest:
            yield "%s: braces are for slots; a sample in a host's syntax belongs into its vocabulary" % string
        if WRITTEN_SETTING.search(rest):
            yield "%s: a setting is written in one host's way; put it in braces: {key = value}" % string


def symbols(library):
    """(symbol, type, section) of every symbol of the objects of `library`, as nm has them."""
    listing = subprocess.run(["nm", "--format=sysv", library], check=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, universal_newlines=True).stdout
    for line in listing.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) == 7 and fields[0] != "Name":
            yield fields[0], fields[2], fields[6]


def calls(library):
    """{object: the other objects of `library` it calls}."""
    listing = subprocess.run(["nm", "-A", "--format=posix", library], check=True, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, universal_newlines=True).stdout
    owner, wanted = {}, {}
    for line in listing.splitlines():
        place, symbol, kind = line.split()[:3]
        name = re.sub(r"^.*\[|\]?:$", "", place)
        wanted.setdefault(name, set())
        if kind in "TDBR":
            owner[symbol] = name
        elif kind == "U":
            wanted[name].add(symbol)
    return {name: {owner[symbol] for symbol in symbols if symbol in owner} - {name} for name, symbols in wanted.items()}


def circle_faults(graph):
    """Files that need each other: neither can be read, or tested, without the other."""
    left = dict(graph)
    while True:
        done = {name for name, needs in left.items() if not needs & left.keys()}
        if not done:
            break
        left = {name: needs for name, needs in left.items() if name not in done}
    # What only leads into a circle is none.
    while True:
        needed = set().union(*left.values()) if left else set()
        if needed >= left.keys():
            break
        left = {name: needs for name, needs in left.items() if name in needed}
    if left:
        yield "these need each other: " + ", ".join(sorted(left))


def core_symbol_faults(listing):
    listing = list(listing)
    defined = {symbol for symbol, kind, _ in listing if kind not in "Uw"}
    for symbol, kind, section in listing:
        if kind in "Uw" and symbol not in defined and not CORE_SYMBOL.match(symbol):
            yield "uses %s" % symbol
        # Constant tables with pointers are relocated once, then read-only: .data.rel.ro. A D there is still const.
        if kind in WRITABLE and not section.startswith((".data.rel.ro", "asan_", ".init_array", ".fini_array")) \
                and not INSTRUMENTATION.match(symbol):
            yield "has writable state: %s" % symbol
        if kind in "TDBRC" and not symbol.startswith("s2sp_") and not INSTRUMENTATION.match(symbol):
            yield "gives out %s, which has not the prefix s2sp_" % symbol


def ident_symbol_faults(listing):
    for symbol, kind, _ in listing:
        if kind in "Uw" and IDENT_FORBIDDEN_SYMBOL.match(symbol):
            yield "uses %s" % symbol
        if kind in "TDBRC" and not symbol.startswith("s2sp_") and not INSTRUMENTATION.match(symbol):
            yield "gives out %s, which has not the prefix s2sp_" % symbol


def forgotten(root):
    """Source and test files that no inventory names: nobody would build or run them."""
    # folder, files, where their inventory is, what it leaves away of a name, and what it puts before it
    kinds = [
        ("module/core", "**/*.c", "module/core", "", ""), ("module/ident", "*.c", "module/ident", "", ""),
        ("module/prosody", "**/*.c", "module/prosody", "", ""), ("lua", "**/*.lua", "lua", "", ""),
        ("spec/core", "*_test.c", "spec/core", "_test.c", ""), ("spec/ident", "*_test.c", "spec/ident", "_test.c", ""),
        ("spec/prosody", "*_test.c", "spec/prosody", "_test.c", ""), ("spec/fuzz", "*_fuzz.c", "spec/fuzz", "_fuzz.c", ""),
        ("module/ejabberd", "*.c", "module/ejabberd", "", ""), ("erlang/src", "*.erl", "erlang", ".erl", ""),
        ("spec/ejabberd", "*_tests.erl", "spec/ejabberd", ".erl", ""),
        ("spec/prosody", "*_spec.lua", "spec/prosody", "_spec.lua", "prosody/"), ("spec/docs", "*_spec.lua", "spec/docs", "", ""),
    ]
    for folder, pattern, inventory, suffix, prefix in kinds:
        build = root / inventory / "meson.build"
        names = re.sub(r"#[^\n]*", "", build.read_text(encoding="utf-8")) if build.exists() else ""
        paths = sorted((root / folder).glob(pattern))
        if not paths:
            yield "%s/%s is nowhere: this inventory watches over nothing" % (folder, pattern)
        for path in paths:
            name = str(path.relative_to(root / folder))
            stem = prefix + (name[:-len(suffix)] if suffix else name)
            if "'%s'" % stem not in names and "'%s'" % name not in names:
                yield "%s is not in %s/meson.build" % (path.relative_to(root), inventory)


# What tests alone call, and why it is there all the same.
FOR_OTHERS = {
    "s2sp_stanza_kind_token": "an adapter names kinds by it", "s2sp_local_kind_token": "the same",
    "s2sp_handshake_row_at": "tests have to see that the table has no other row", "s2sp_crl_reader_from": "fuzzers have bytes and no file",
    "s2sp_certificate_pins": "an adapter that does not count the blocks of a file itself, as lua/offline/pin does to name a damaged one",
}
DECLARED = re.compile(r"^[a-z][^;={()\n]*?\b(s2sp_\w+)\(", re.MULTILINE)


def unused(root):
    """Functions of a header that nothing but tests calls."""
    programs = [path.read_text(encoding="utf-8") for path in (root / "docs").glob("*.c")]
    texts = [re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL) for text in programs + [
        path.read_text(encoding="utf-8") for path in sorted((root / "module").rglob("*.[ch]"))]]
    called = {name for text in texts for name in re.findall(r"\bs2sp_\w+", DECLARED.sub("", text))}
    for path in sorted((root / "module").rglob("*.h")):
        for name in DECLARED.findall(re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)):
            if name not in called and name not in FOR_OTHERS:
                yield "%s: nothing but tests calls %s" % (path.relative_to(root), name)


def by_path(root):
    """Lua specs that look for Prosody's libraries themselves: what works with one version does not with another."""
    for path in sorted((root / "spec/prosody").glob("*.lua")):
        if path.name != "prosody_library.lua" and "lib/prosody/" in path.read_text(encoding="utf-8"):
            yield "%s names Prosody's folder; require \"prosody_library\"" % path.relative_to(root)


def doubled(root):
    """Files of one name in two folders: a log line, an include and a reader would not know which is meant."""
    seen = {}
    for path in sorted([*(root / "lua").rglob("*.lua"), *(root / "module").rglob("*.[ch]")]):
        other = seen.setdefault(path.name, path)
        if other is not path:
            yield "%s has the name of %s" % (path.relative_to(root), other.relative_to(root))


def dialect_faults(text):
    for number, line in enumerate(text.splitlines(), 1):
        for word, instead in DIALECT:
            if word.search(line):
                yield "line %d: %r; write %s" % (number, word.search(line).group(0), instead)


def long_lines(text):
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LINE_MAX:
            yield "line %d has %d characters, %d are allowed" % (number, len(line), LINE_MAX)


def prose(root):
    """Every text of the project but this check and its test, which name the words."""
    pages = [root / "README.md", root / "CHANGELOG.md"]
    for folder in ("module", "lua", "erlang", "spec", "fixtures", "docs"):
        for pattern in PROSE:
            pages += sorted((root / folder).rglob(pattern))
    for path in pages:
        if path.is_file() and path.parent.name != "fence":
            yield str(path.relative_to(root)), path.read_text(encoding="utf-8", errors="replace")


def sources(root):
    for room in ("core", "ident", "prosody", "ejabberd"):
        for path in sorted((root / "module" / room).rglob("*.[ch]")):
            yield str(path.relative_to(root)), path.read_text(encoding="utf-8")


def own_headers(root):
    """Each room's headers by name, and under "libraries" what foreign headers each of them brings along."""
    rooms = ("core", "ident", "prosody", "ejabberd")
    own = {room: {path.name for path in (root / "module" / room).rglob("*.h")} for room in rooms}
    own["libraries"] = {basename(path): {header for header, system in includes(text) if system}
                        for path, text in sources(root) if path.endswith(".h")}
    return own


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = False

    def case(self, name, faults):
        faults = list(faults)
        self.count += 1
        print("%s %d - %s" % ("not ok" if faults else "ok", self.count, name))
        for fault in faults:
            print("# %s" % fault)
        self.failed = self.failed or bool(faults)

    def end(self):
        print("1..%d" % self.count)
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--core", required=True)
    parser.add_argument("--ident", required=True)
    arguments = parser.parse_args()

    tap = Tap()
    own = own_headers(arguments.source)
    slots = vocabulary_slots((arguments.source / "module/core/vocabulary.c").read_text(encoding="utf-8"))
    for path, text in sources(arguments.source):
        tap.case("includes of " + path, include_faults(path, text, own))
        if path.endswith(".c"):
            tap.case("switches of " + path, switch_faults(text))
        if path.endswith(".c") and path.split("/")[2] in ("stream", "stanza", "certificate"):
            tap.case("writes of " + path, write_faults(text))
        if path.split("/")[1] in ("core", "ident"):
            tap.case("words of " + path, [*word_faults(text), *string_faults(text, slots)])
    for path in sorted((arguments.source / "lua").rglob("*.lua")):
        text = path.read_text(encoding="utf-8")
        if "guard.observing" in text:
            tap.case("mode in " + path.name, mode_faults(text))
    tokens = reasons((arguments.source / "module/core/reason.c").read_text(encoding="utf-8"))
    tap.case("reasons are found", [] if len(tokens) > 25 else ["only %d" % len(tokens)])
    for path in sorted((arguments.source / "lua").rglob("*.lua")):
        name = str(path.relative_to(arguments.source))
        tap.case("decisions of " + name, lua_faults(name, path.read_text(encoding="utf-8"), tokens))
    modules = sorted((arguments.source / "erlang/src").glob("*.erl"))
    for path in modules:
        name = str(path.relative_to(arguments.source))
        tap.case("decisions of " + name, erlang_faults(name, path.read_text(encoding="utf-8"), tokens))
    tap.case("modules that name reasons exist", sorted(set(ERLANG_MAY) - {path.stem for path in modules}))
    tap.case("symbols of the core", core_symbol_faults(symbols(arguments.core)))
    tap.case("circles of the core", circle_faults(calls(arguments.core)))
    tap.case("symbols of ident", ident_symbol_faults(symbols(arguments.ident)))
    tap.case("every file is in an inventory", forgotten(arguments.source))
    tap.case("every function of a header is called", unused(arguments.source))
    tap.case("Prosody's libraries come through spec/prosody/prosody_library.lua", by_path(arguments.source))
    tap.case("no two files of Lua, and none of C, have one name", doubled(arguments.source))
    texts = list(prose(arguments.source))
    code = [(path, text) for path, text in texts if not path.endswith((".md", ".json"))]
    tap.case("no line too long", ["%s, %s" % (path, fault) for path, text in code for fault in long_lines(text)] if code else ["no code"])
    tap.case("plain words in every text", ["%s, %s" % (path, fault) for path, text in texts for fault in dialect_faults(text)] if texts else ["no text"])
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
