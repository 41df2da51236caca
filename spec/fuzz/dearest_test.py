#!/usr/bin/python3
"""The judge of dear inputs, judged: prices that are planted.  Speaks TAP."""

import sys

sys.dont_write_bytecode = True

from dearest import SHORT, complaints  # noqa: E402

# (what, [(price of a byte, size)], a word of the complaint or None); the bound is 1000
PLANTED = [
    ("cheap", [(900, 20), (900, 300), (900, 3000)], None),
    ("above the bound", [(900, 20), (1001, 300)], "1000 are allowed"),
    ("dearer the longer", [(400, 300), (600, 700), (900, 3000)], "in what is shorter"),
    ("cheaper the longer", [(900, 300), (600, 700), (100, 3000)], None),
    ("short ones are one class", [(100, 10), (900, 200)], None),
]


def main():
    print(f"1..{len(PLANTED)}")
    for number, (what, planted, word) in enumerate(PLANTED, 1):
        said = list(complaints([(price * (size + SHORT), size, None) for price, size in planted], 1000))
        fine = not said if word is None else any(word in text for text in said)
        print("ok" if fine else "not ok", number, "-", what + ("" if fine else f": {said}"))


if __name__ == "__main__":
    main()
