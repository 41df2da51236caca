#!/usr/bin/python3
"""What the C core costs must not grow: its instructions, as ratios to a fixed loop of arithmetic, and its sizes, against bounds.

    guard.py CORE_BENCH VALGRIND

Speaks TAP.  Instruction counts, not times: the same on a busy machine."""

import re
import subprocess
import sys

# One of each to one turn of the yardstick (100 steps of a generator).  Measured: see docs/performance.md.
RATIOS = {"decision": 1.05, "compile": 7.0, "rejudge": 0.6}
# Bytes: a domain beyond its strings, a stream's record.
SIZES = {"bytes/10000": 200, "bytes/30000": 200, "record": 256}


def instructions(program, valgrind, what):
    run = subprocess.run(
        [valgrind, "--tool=callgrind", f"--toggle-collect=bench_{what}", "--callgrind-out-file=/dev/null",
         program, "count", what], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    found = re.search(r"Collected : (\d+)", run.stdout)
    if run.returncode != 0 or not found or found[1] == "0":
        raise RuntimeError(f"no count of {what}:\n{run.stdout}")
    return int(found[1])


def main():
    program, valgrind = sys.argv[1:3]
    print(f"1..{len(RATIOS) + len(SIZES)}")
    reference = instructions(program, valgrind, "reference")
    figures = {what: instructions(program, valgrind, what) / reference for what in RATIOS}
    sizes = subprocess.run([program, "sizes"], stdout=subprocess.PIPE, text=True, check=True, timeout=100).stdout
    figures.update((name, float(value)) for name, value in re.findall(r"^(\S+)\t(\S+)", sizes, re.MULTILINE))
    for number, (what, bound) in enumerate({**RATIOS, **SIZES}.items(), 1):
        print(f"# {what}: {figures[what]:.3f}, bound {bound}")
        print("ok" if figures[what] <= bound else "not ok", number, "-", what)


if __name__ == "__main__":
    main()
