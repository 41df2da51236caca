#!/usr/bin/python3
"""Runs the unit tests of ejabberd's NIF in an ordinary emulator under Valgrind, and says what Valgrind says of the NIF's own code.

    spec/ejabberd/memcheck.py BUILD [MODULE...]

Speaks TAP: one line a module.  BUILD is a build directory with -Dejabberd=enabled.

An emulator that was not built for Valgrind works under it if its code generator maps its memory once (it does for perf), and the emulator
takes memory from malloc.  Valgrind then has much to say of the emulator, which lays out memory in ways of its own; what counts here is
each report with the library of the module in its stack, and each block that was lost by it."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

LIBRARY = "s2s_partners.so"
MODULES = ["s2s_partners_nif_tests", "s2s_partners_nif_config_tests", "s2s_partners_nif_fault_tests", "s2s_partners_nif_certificate_tests",
           "s2s_partners_fast_path_tests"]
SECONDS = 1500      # a module; a quarter of that on a quiet machine
VALGRIND = ["valgrind", "--smc-check=all", "--num-callers=30", "--error-limit=no", "--leak-check=full", "--show-leak-kinds=definite",
            "--max-stackframe=30000000", "--fair-sched=yes"]
EMULATOR = ["-S", "1:1", "-SDcpu", "1:1", "-SDio", "1", "-A", "1", "-JPperf", "true", "-Mea", "min", "-sbwt", "none"]


def roots():
    """(the emulator's own directory, that of its programs)."""
    said = subprocess.run(["erl", "-noshell", "-eval", 'io:format("~s~n~s", [code:root_dir(), erlang:system_info(version)]), halt().'],
                          capture_output=True, text=True, check=True, timeout=60)
    root, version = said.stdout.split("\n")
    return root, f"{root}/erts-{version}/bin"


def reports(text):
    """What Valgrind has written, one report after the other, without its numbers of processes."""
    lines = [re.sub(r"^==\d+== ?", "", line) for line in text.splitlines() if re.match(r"==\d+==", line)]
    return [report for report in re.split(r"\n\s*\n", "\n".join(lines)) if report.strip()]


def about_library(text):
    return [report for report in reports(text) if LIBRARY in report and not report.startswith(("Command", "Memcheck"))]


def run(build, module):
    """(what the tests print, the emulator's status, what Valgrind says of the library, how often it was met in all)"""
    root, programs = roots()
    here = build / "spec" / "ejabberd"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "ROOTDIR": root, "BINDIR": programs, "EMU": "beam", "PROGNAME": "erl", "HOME": folder,
                       "ERL_LIBS": str(build / "erlang" / "libraries"), "S2S_PARTNERS_PRIV": str(here),
                       "S2S_PARTNERS_SOURCE": str(pathlib.Path(__file__).resolve().parents[2]),
                       "S2S_PARTNERS_CONFIG_TERMS": str(here / "config_terms.eterm"), "ERL_CRASH_DUMP_BYTES": "0",
                       "S2S_PARTNERS_PATIENCE": "30"}
        command = [*VALGRIND, f"--log-file={folder}/valgrind.%p", f"{programs}/beam.smp", *EMULATOR, "--", "-root", root, "-bindir", programs,
                   "-progname", "erl", "--", "-home", folder, "--", "-noshell", "-pa", str(build / "erlang"), str(here),
                   "-run", "eunit_tap", "main", module]
        with subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace") as emulator:
            try:
                said = emulator.communicate(timeout=SECONDS)[0]
            except subprocess.TimeoutExpired:
                emulator.kill()
                said = f"not ended after {SECONDS} s"
            pathlib.Path(f"/tmp/perf-{emulator.pid}.map").unlink(missing_ok=True)       # what perf would read
        logs = [path.read_text(errors="replace") for path in pathlib.Path(folder).glob("valgrind.*")]
    loaded = "ERROR SUMMARY" in "".join(logs)
    return said, emulator.returncode if loaded else 99, [report for log in logs for report in about_library(log)]


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    modules = sys.argv[2:] or MODULES
    print(f"1..{len(modules)}", flush=True)
    failed = 0
    for number, module in enumerate(modules, 1):
        said, status, found = run(build, module)
        passed = len(re.findall(r"^ok ", said, re.MULTILINE))
        good = status == 0 and passed > 0 and not found
        failed += not good
        for line in [] if good else [*said.splitlines()[-30:], *"\n\n".join(found[:10]).splitlines()]:
            print("#", line)
        print("ok" if good else "not ok", number, "-", f"{module} under Valgrind: {passed} tests, {len(found)} reports of the library", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
