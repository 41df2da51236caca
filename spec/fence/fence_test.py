#!/usr/bin/env python3
"""Shows that the fence holds: each forbidden thing, fed to it, is caught; the allowed ones are not.

    fence_test.py FENCE COMPILER...
"""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
specification = importlib.util.spec_from_file_location("fence", sys.argv[1])
fence = importlib.util.module_from_spec(specification)
specification.loader.exec_module(fence)
compiler = sys.argv[2:]

OWN = {"core": {"domain.h", "text.h"}, "ident": {"idna.h", "certificate.h", "certificate_private.h"}, "prosody": {"aux.h"}, "ejabberd": {"nif.h", "learned_pool.h"},
       "libraries": {"certificate_private.h": {"openssl/x509.h"}, "aux.h": {"lua.h"}, "nif.h": {"erl_nif.h"}, "learned_pool.h": {"openssl/x509.h"}}}

# file, its text, whether the fence must object
INCLUDES = [
    ("module/core/a.c", '#include "domain.h"\n#include <string.h>\n', False),
    ("module/core/a.c", "#include <stdio.h>\n", True),
    ("module/core/a.c", "#include <stdlib.h>\n", True),
    ("module/core/a.c", "#include <time.h>\n", True),
    ("module/core/a.c", "#  include <lua.h>\n", True),
    ("module/core/a.c", "#include <openssl/x509.h>\n", True),
    ("module/core/a.c", "#include <idn2.h>\n", True),
    ("module/core/a.c", '#include "idna.h"\n', True),
    ("module/core/a.c", '#include "../ident/idna.h"\n', True),
    ("module/core/a.c", '#include "aux.h"\n', True),
    ("module/core/a.c", '#include "nobody.h"\n', True),
    ("module/core/a.c", "/* #include <stdio.h> */\n", False),
    ("module/core/a.c", "int a; /* x */ \n#include <stdio.h>\n", True),
    ("module/core/a.h", "#include <lua5.4/lua.h>\n", True),
    ("module/ident/idna.c", '#include "idna.h"\n#include "domain.h"\n#include <idn2.h>\n#include <stdlib.h>\n', False),
    ("module/ident/idna.c", "#include <openssl/evp.h>\n", True),
    ("module/ident/idna.h", "#include <idn2.h>\n", True),
    ("module/ident/certificate.c", "#include <openssl/x509v3.h>\n", False),
    ("module/ident/certificate.h", "#include <openssl/x509v3.h>\n", True),
    ("module/ident/certificate_names.c", '#include <openssl/asn1.h>\n#include "certificate_private.h"\n', False),
    ("module/ident/certificate_private.h", "#include <openssl/asn1.h>\n", False),
    ("module/ident/certificates.c", "#include <openssl/asn1.h>\n", True),
    ("module/ident/certificate.h", '#include "certificate_private.h"\n', True),
    ("module/prosody/bridge/values.c", '#include "certificate_private.h"\n', True),
    ("module/prosody/bridge/values.c", '#include "certificate.h"\n', False),
    ("module/ident/certificate.c", "#include <idn2.h>\n", True),
    ("module/ident/certificate.c", "#include <lauxlib.h>\n", True),
    ("module/ident/certificate.c", '#include "aux.h"\n', True),
    ("module/ident/certificate.c", "#include <stdio.h>\n", False),
    ("module/ident/certificate.c", "#include <sys/socket.h>\n", True),
    ("module/prosody/bridge/values.c", '#include <lua.h>\n#include "idna.h"\n#include "domain.h"\n#include "aux.h"\n', False),
    ("module/prosody/bridge/values.c", "#include <openssl/ssl.h>\n", True),
    ("module/prosody/bridge/values.c", "#include <idn2.h>\n", True),
    ("module/prosody/bridge/values.c", "#include <domain.h>\n", True),
    ("module/ejabberd/a.c", '#include <erl_nif.h>\n#include "nif.h"\n#include "certificate.h"\n#include "domain.h"\n#include <stdlib.h>\n', False),
    ("module/ejabberd/a.c", '#include "aux.h"\n', True),
    ("module/ejabberd/a.c", "#include <lua.h>\n", True),
    ("module/ejabberd/a.c", "#include <openssl/x509.h>\n", True),
    ("module/ejabberd/a.c", '#include "learned_pool.h"\n', True),
    ("module/ejabberd/learned_pool.c", '#include "learned_pool.h"\n#include <openssl/err.h>\n', False),
    ("module/core/a.c", "#include <erl_nif.h>\n", True),
    ("module/ident/certificate.c", "#include <erl_nif.h>\n", True),
    ("module/ident/certificate.c", '#include "nif.h"\n', True),
    ("module/prosody/bridge/values.c", "#include <erl_nif.h>\n", True),
]

MODULES = [
    ("erlang/src/s2s_partners_guard.erl", "f('not-listed') -> drop.\n", True),
    ("erlang/src/s2s_partners_guard.erl", "f() -> ok. % 'not-listed'\n", False),
    ("erlang/src/s2s_partners_guard.erl", "f('other-word') -> drop.\n", False),
    ("erlang/src/s2s_partners_report.erl", "f('not-listed') -> drop.\n", False),
]

SWITCHES = [
    ("switch (a) {\n\tcase A:\n\t\tbreak;\n}\n", False),
    ("switch (a) {\n\tdefault:\n\t\tbreak;\n}\n", True),
    ("switch (a) {\n\tdefault: /* of libidn2's int */\n\t\tbreak;\n}\n", False),
]

# What handlers do beside their action.
WRITES = [
    ("lua_setfield(L, session, \"ssl_ctx\");", True),
    ("lua_setfield(L, 2, \"ssl_ctx\");", True),
    ("s2sp_raw_set(L, ARG_EVENT, S2SP_KEY_STANZA);", True),
    ("lua_seti(L, element, 1);", True),
    ("lua_call(L, 2, 0);", True),
    ("lua_call(L, 2, 1);", False),
    ("lua_setfield(L, -2, \"tls\");", False),
    ("lua_setfield(L, session, S2SP_LUA_STREAM_FIELD);", False),
    ("lua_setfield(L, ARG_GUARD, \"opening_to_verify\");", False),
    ("s2sp_host_set(L, ARG_GUARD, session, \"ssl_ctx\");", False),
    ("s2sp_host_raw_set(L, ARG_GUARD, ARG_EVENT, S2SP_KEY_STANZA);", False),
]

MODES = [
    ("if guard.observing == true then return end", False),
    ("if guard.observing ~= true then conn:close(); end", False),
    ("guard.observing = observing;", False),
    ("if guard.observing then return end", True),
    ("if not guard.observing then close() end", True),
    ("guard.observing = true;", True),
    ("guard.observing == other", True),
]

# A text of core or ident, whether the fence must object to a word in it.
WORDS = [
    ("/* Evaluates what the host has told; s2sp_config_set, lunar, manila, erlaubt, unbeamed. */", False),
    ("/* Prosody refuses this later. */", True),
    ("// as in Lua", True),
    ("static const char text[] = \"run prosodyctl\";", True),
    ("static const char text[] = \"got nil\";", True),
    ("enum { S2SP_VALUE_NIL };", True),
    ("bool lua_strings;", True),
    ("\"s2s_partners_default\"", True),
    ("\"partners:streams()\"", True),
    ("\"partners: 3\"", False),
    ("/* what ejabberd's mod_s2s does */", True),
    ("/* An Erlang NIF. */", True),
    ("/* YAML */", True),
]

# A text of core or ident, whether the fence must object to the syntax in its strings. {check} is a slot.
STRINGS = [
    ('f("run {check}, set {tls = required} or {dialback = true}, in {partners}");', False),
    ('int a = 1; struct s b = { 1 }; f("x");', False),
    ('/* "{ }" */', False),
    ('f("run {chek}");', True),
    ('f("write { a = b }");', True),
    ('f("write { \\"a\\" }");', True),
    ('f("the end }");', True),
    ('f("set tls = \\"required\\"");', True),
    ('f("set dialback = true");', True),
    ('f("{ = 1");', True),
]

# Who needs whom, and the circle the fence must name.
GRAPHS = [
    ({"a": {"b"}, "b": {"c"}, "c": set()}, None),
    ({"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": set()}, "a, b"),
    ({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}, "a, b, c"),
    ({}, None),
]

# room, C text, whether the fence must object
OBJECTS = [
    ("core", '#include <string.h>\nsize_t s2sp_a(const char *s) { return strlen(s); }\n', False),
    ("core", "int s2sp_b(void);\nint s2sp_a(void) { return s2sp_b(); }\n", False),
    ("core", "static const char *const names[] = { \"a\", \"b\" };\n"
             "const char *s2sp_a(unsigned i) { return names[i & 1]; }\n", False),
    ("core", "#include <stdlib.h>\nvoid *s2sp_a(void) { return malloc(8); }\n", True),
    ("core", "#include <stdio.h>\nvoid s2sp_a(int i) { printf(\"%d\", i); }\n", True),
    ("core", "#include <time.h>\ntime_t s2sp_a(void) { return time(NULL); }\n", True),
    ("core", "void lua_settop(void *, int);\nvoid s2sp_a(void *l) { lua_settop(l, 0); }\n", True),
    ("core", "static int calls;\nint s2sp_a(void) { return ++calls; }\n", True),
    ("core", "int s2sp_limit = 3;\n", True),
    ("core", "static const char *name = \"a\";\nconst char *s2sp_a(void) { return name; }\n"
             "void s2sp_b(const char *to) { name = to; }\n", True),
    ("core", "const int table[] = { 1 };\n", True),
    ("core", "int helper(void) { return 1; }\n", True),
    ("ident", "#include <stdlib.h>\nvoid *s2sp_a(void) { return malloc(8); }\n", False),
    ("ident", "#include <stdio.h>\nvoid s2sp_a(void) { puts(\"a\"); }\n", True),
    ("ident", "void lua_settop(void *, int);\nvoid s2sp_a(void *l) { lua_settop(l, 0); }\n", True),
    ("ident", "void luaL_error(void *, int);\nvoid s2sp_a(void *l) { luaL_error(l, 0); }\n", True),
    ("ident", "int helper(void) { return 1; }\n", True),
]

# file of lua/, its text, whether the fence must object
DECISIONS = [
    ("lua/answers.lib.lua", 'send(st.error_reply(stanza, "cancel", "service-unavailable"));', False),
    ("lua/answers.lib.lua", 'if reason == "not-listed" then', True),
    ("lua/answers.lib.lua", '-- if reason == "not-listed" then', False),
    ("lua/answers.lib.lua", "local never_seen = { [\"not-listed\"] = true };", True),
    ("lua/answers.lib.lua", "local kind = stanza.attr.type;", True),
    ("lua/console/test.lib.lua", 'if reason == "not-listed" then', False),
    ("lua/commit.lib.lua", 'code = "internal-error"', False),
    ("lua/commit.lib.lua", 'code = "other"', True),
    ("lua/commit.lib.lua", 'code = "internal-error", "not-listed"', True),
]


def outcome(faults, must_object):
    faults = list(faults)
    if must_object:
        return [] if faults else ["was let through"]
    return ["was caught: " + fault for fault in faults]


def object_faults(room, text, folder):
    source, object_file = folder / "a.c", folder / "a.o"
    source.write_text(text, encoding="utf-8")
    subprocess.run(compiler + ["-std=c11", "-O1", "-fPIC", "-c", str(source), "-o", str(object_file)], check=True)
    check = fence.core_symbol_faults if room == "core" else fence.ident_symbol_faults
    return list(check(fence.symbols(str(object_file))))


def tree(folder):
    """A small project in which one file of each kind is in no inventory."""
    for path, text in {
            "module/core/meson.build": "core_sources = files(\n  'domain.c',\n  # 'commented.c',\n)\n",
            "module/core/domain.c": "", "module/core/commented.c": "", "module/ident/forgotten.c": "",
            "spec/core/meson.build": "core_tests = [\n  'domain',\n]\n",
            "spec/core/domain_test.c": "", "spec/core/forgotten_test.c": "",
            "module/prosody/meson.build": "", "module/prosody/forgotten.c": "",
            "module/ejabberd/meson.build": "", "module/ejabberd/unlisted.c": "", "erlang/meson.build": "  'shown',\n", "erlang/src/shown.erl": "",
            "erlang/src/forgotten.erl": "", "spec/ejabberd/meson.build": "", "spec/ejabberd/forgotten_tests.erl": "",
            "spec/ident/meson.build": "", "spec/ident/forgotten_test.c": "",
            "spec/prosody/meson.build": "specs = [\n  'prosody/shown',\n  'forgotten',\n  'program',\n]\n",
            "spec/prosody/shown_spec.lua": "", "spec/prosody/forgotten_spec.lua": "", "spec/prosody/program_test.c": "",
            "spec/docs/meson.build": "args: files('shown_spec.lua')\n",
            "spec/docs/shown_spec.lua": "", "spec/docs/forgotten_spec.lua": "",
            "spec/fuzz/meson.build": "  'shown': [],\n", "spec/fuzz/shown_fuzz.c": "", "spec/fuzz/forgotten_fuzz.c": "",
            "lua/meson.build": "  'room/shown.lib.lua',\n", "lua/room/shown.lib.lua": "", "lua/room/forgotten.lib.lua": "",
            "lua/forgotten.lib.lua": ""}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def main():
    tap = fence.Tap()
    for path, text, must_object in INCLUDES:
        name = "%s with %s" % (path, " ".join(text.split()).replace("#", ""))
        tap.case(name, outcome(fence.include_faults(path, text, OWN), must_object))
    for text, must_object in SWITCHES:
        tap.case(" ".join(text.split()), outcome(fence.switch_faults(text), must_object))
    for text, must_object in WRITES:
        tap.case("writes: " + text, outcome(fence.write_faults(text), must_object))
    for text, must_object in MODES:
        tap.case("mode: " + text, outcome(fence.mode_faults(text), must_object))
    for text, must_object in WORDS:
        tap.case("words: " + text.replace("#", ""), outcome(fence.word_faults(text), must_object))
    for text, must_object in STRINGS:
        tap.case("strings: " + text.replace("#", ""), outcome(fence.string_faults(text, {"check"}), must_object))
    for path, text, must_object in DECISIONS:
        tap.case("decisions of %s: %s" % (path, text.replace("#", "")), outcome(fence.lua_faults(path, text, {"not-listed", "internal-error"}), must_object))
    for path, text, must_object in MODULES:
        tap.case("decisions of %s: %s" % (path, text.strip().replace("#", "")), outcome(fence.erlang_faults(path, text, {"not-listed", "internal-error"}), must_object))
    tap.case("reasons are read from the table", [] if fence.reasons('	[S2SP_REASON_A] = { "a-b", REFUSAL, X,\n	[S2SP_REASON_N] = { "none", Y,') == {"a-b"} else ["others"])
    for text, must_object in (("Correct the file.", False), ("amend it; a commendation; somebody", False), ("Mend the file.", True), ("it is mended", True),
                              ("whoever comes", True), ("fails for want of memory", True), ("a name that is none", True)):
        tap.case("dialect: " + text, outcome(fence.dialect_faults(text), must_object))
    tap.case("long lines", [] if [len(list(fence.long_lines("x\n" + "y" * size))) for size in (170, 171)] == [0, 1] else ["not found"])
    for graph, circle in GRAPHS:
        faults = list(fence.circle_faults(graph))
        expected = ["these need each other: " + circle] if circle else []
        tap.case("circles: %s" % circle, [] if faults == expected else ["found " + str(faults)])
    tap.case("slots are read from the table", [] if fence.vocabulary_slots('\t[S2SP_WORD_A] = "a.b_c",\n') == {"a.b_c"} else ["none"])
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for room, text, must_object in OBJECTS:
            tap.case("%s object of %s" % (room, " ".join(text.split()).replace("#", "")),
                     outcome(object_faults(room, text, folder), must_object))
        for name, text in (("a", "int s2sp_b(void);\nint s2sp_a(void) { return s2sp_b(); }\n"),
                           ("b", "int s2sp_a(void);\nint s2sp_b(void) { return s2sp_a(); }\n")):
            (folder / (name + ".c")).write_text(text, encoding="utf-8")
            subprocess.run(compiler + ["-std=c11", "-c", str(folder / (name + ".c")), "-o", str(folder / (name + ".o"))], check=True)
        subprocess.run(["ar", "rcs", str(folder / "ab.a"), str(folder / "a.o"), str(folder / "b.o")], check=True)
        tap.case("a library with a circle", outcome(fence.circle_faults(fence.calls(str(folder / "ab.a"))), True))
        found = sorted(fault.split()[0] for fault in fence.forgotten(tree(folder)))
        expected = ["erlang/src/forgotten.erl", "lua/forgotten.lib.lua", "lua/room/forgotten.lib.lua", "module/core/commented.c",
                    "module/ejabberd/unlisted.c", "module/ident/forgotten.c", "module/prosody/forgotten.c",
                    "spec/core/forgotten_test.c", "spec/docs/forgotten_spec.lua", "spec/ejabberd/forgotten_tests.erl", "spec/fuzz/forgotten_fuzz.c",
                    "spec/ident/forgotten_test.c", "spec/prosody/forgotten_spec.lua"]
        tap.case("files in no inventory", [] if found == expected else ["found " + " ".join(found)])
        (folder / "spec/prosody/shown_spec.lua").write_text('package.path = "/usr/lib/prosody/?.lua";\n', encoding="utf-8")
        found = [fault.split()[0] for fault in fence.by_path(folder)]
        tap.case("a spec that looks for Prosody itself", [] if found == ["spec/prosody/shown_spec.lua"] else ["found " + " ".join(found)])
        found = [fault.split()[0] for fault in fence.doubled(folder)]
        tap.case("files of one name", [] if found == ["lua/room/forgotten.lib.lua", "module/prosody/forgotten.c"] else ["found " + " ".join(found)])
        (folder / "module/core/planted.h").write_text("int s2sp_called(int a);\n/* s2sp_tested() */\nint s2sp_tested(\n\tint a);\n", encoding="utf-8")
        (folder / "module/core/planted.c").write_text("int s2sp_called(int a) {\n\treturn a;\n}\nint s2sp_tested(int a) {\n\treturn s2sp_called(a);\n}\n",
                                                      encoding="utf-8")
        found = [fault.rsplit(" ", 1)[1] for fault in fence.unused(folder)]
        tap.case("a function that only tests call", [] if found == ["s2sp_tested"] else ["found " + " ".join(found)])
        for path in folder.glob("spec/prosody/*_spec.lua"):
            path.unlink()
        tap.case("an inventory of nothing", outcome([fault for fault in fence.forgotten(folder) if "watches over nothing" in fault], True))
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
