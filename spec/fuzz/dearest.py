#!/usr/bin/python3
"""Prices the inputs that a fuzzer has kept: dearest.py TARGET BUILD BOUND

Prints the dearest, in instructions for each byte, and copies them to BUILD/TARGET.dearest. Fails when one costs more than BOUND a byte, or when
long inputs cost more for each byte than short ones: twice the size would then be more than twice as dear."""

import os
import pathlib
import platform
import shutil
import subprocess
import sys

SHORT = 64              # as in price.c
SHOWN = 8
AT_ONCE = 400           # files in a command
GROWTH_MAX = 1.2        # of the price of a byte, from one class of sizes to the next: 2.4 for twice the size
SMALLEST = 256          # below, what comes in whole stanzas and steps says nothing about sizes


def priced(program, plugin, files, scratch):
    """[(instructions, size)] of the files, in order."""
    prices, counter = scratch / f"{program.name}.prices", scratch / f"{program.name}.counter"
    prices.unlink(missing_ok=True)
    environment = {**os.environ, "S2SP_COUNTER": str(counter), "S2SP_PRICES": str(prices)}
    ran = subprocess.run(["setarch", "--addr-no-randomize", f"qemu-{platform.machine()}", "-plugin", f"{plugin},into={counter}",
                          str(program), "-timeout=60", *map(str, files)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if ran.returncode != 0:
        raise RuntimeError(ran.stdout.decode(errors="replace")[-2000:])
    return [tuple(map(int, line.split())) for line in prices.read_text().splitlines()]


def per_byte(price, size):
    return price / (size + SHORT)


def class_of(size):
    return max(size, SMALLEST).bit_length()


def complaints(rows, bound):
    """rows: [(instructions, size, file)]"""
    dearest = {}
    for price, size, _ in rows:
        dearest[class_of(size)] = max(dearest.get(class_of(size), 0), per_byte(price, size))
    for number, price in sorted(dearest.items()):
        if price > bound:
            yield f"{price:.0f} instructions a byte at less than {2 ** number} bytes, {bound} are allowed"
        below = [before for smaller, before in dearest.items() if smaller < number]
        if below and price > GROWTH_MAX * max(below):
            yield f"a byte costs {price:.0f} instructions at less than {2 ** number} bytes, {max(below):.0f} in what is shorter"


def main():
    target, build, bound = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    files = sorted([*(build / f"{target}.corpus").iterdir(), *(build / f"{target}.seeds").iterdir()])
    rows = []
    for begin in range(0, len(files), AT_ONCE):
        some = files[begin:begin + AT_ONCE]
        got = priced(build / f"spec/fuzz/{target}_fuzz", build / "spec/price/count.so", some, build)
        got = got[-len(some):]      # the first may be the empty input, by which libFuzzer starts
        if [size for _, size in got] != [file.stat().st_size for file in some]:
            raise RuntimeError("the prices are not those of the files")
        rows += [(price, size, file) for (price, size), file in zip(got, some)]
    rows.sort(key=lambda row: -per_byte(row[0], row[1]))
    kept = build / f"{target}.dearest"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    print(f"# {target}: {len(rows)} inputs; instructions a byte (of {SHORT} more than it has), bytes, instructions, file")
    for number, (price, size, file) in enumerate(rows[:SHOWN]):
        shutil.copy(file, kept / f"{number}")
        print(f"# {per_byte(price, size):10.0f} {size:6} {price:10} {file.name}")
    most = max(rows)
    print(f"# the dearest altogether: {most[0]} instructions, {most[1]} bytes, {most[2].name}")
    wrong = list(complaints(rows, bound))
    for text in wrong:
        print(f"# {text}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
