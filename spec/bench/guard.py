#!/usr/bin/python3
"""The C decision path must not grow: its instructions, as a ratio to a fixed loop of arithmetic, against a bound.

    guard.py CORE_BENCH VALGRIND

Speaks TAP.  Instruction counts, not times: the same on a busy machine."""

import re
import subprocess
import sys

# One decision to one turn of the yardstick (100 steps of a generator).  Measured: see docs/performance.md.
BOUND = 1.25


def instructions(program, valgrind, what):
    run = subprocess.run(
        [valgrind, "--tool=callgrind", f"--toggle-collect=bench_{what}", "--callgrind-out-file=/dev/null",
         program, "count", what], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    found = re.search(r"Collected : (\d+)", run.stdout)
    if run.returncode != 0 or not found or found[1] == "0":
        raise RuntimeError(f"no count of {what}:\n{run.stdout}")
    return int(found[1])


def main():
    print("1..1")
    program, valgrind = sys.argv[1:3]
    reference = instructions(program, valgrind, "reference")
    decision = instructions(program, valgrind, "decision")
    ratio = decision / reference
    print(f"# decision {decision / 1000:.0f} instructions, reference {reference / 1000:.0f}, ratio {ratio:.3f}, bound {BOUND}")
    print("ok 1 - decision path" if ratio <= BOUND else "not ok 1 - decision path")


if __name__ == "__main__":
    main()
