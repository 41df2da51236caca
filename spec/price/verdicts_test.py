#!/usr/bin/python3
"""The judge of the price list, judged: rows that are planted.  Speaks TAP."""

import sys

sys.dont_write_bytecode = True

from verdicts import ELEMENT_MAX, KEPT_MAX, LOG_MAX, NOISE, RELAYED_MAX, complaints, growth, own  # noqa: E402

M = 1_000_000


def row(half=(100 * M, 110 * M), full=(200 * M, 220 * M), elements=1, **more):
    return {"half": dict(zip(("bare", "guarded"), half)), "full": dict(zip(("bare", "guarded"), full)), "elements": elements,
            "kept": {"bare": 0, "guarded": 0}, "left": {}, "log": 0, **more}


# (what, the row, a word of the complaint or None)
PLANTED = [
    ("in proportion", row(), None),
    ("quadratic", row(full=(200 * M, 240 * M)), "twice the size"),
    ("a tenth above the bar, which may be noise", row(full=(200 * M, 225 * M)), None),
    ("quadratic, far below what an element may cost", row(half=(5 * M, 7 * M), full=(10 * M, 18 * M)), "twice the size"),
    ("at the bar of growth", row(full=(200 * M, 224 * M)), None),
    ("nothing at half, much at the whole", row(half=(100 * M, 100 * M), full=(200 * M, 230 * M)), "twice the size"),
    ("too little to tell", row(half=(M, M), full=(2 * M, 2 * M + NOISE)), None),
    ("a percent of a large price", row(half=(500 * M, 500 * M), full=(1000 * M, 1010 * M)), None),
    ("cheaper than bare", row(half=(100 * M, 50 * M), full=(200 * M, 90 * M)), None),
    ("dear, in proportion, more than bare", row(half=(2 * M, 2 * M + ELEMENT_MAX), full=(4 * M, 4 * M + 2 * ELEMENT_MAX)), "one element"),
    ("dear, in proportion, less than bare", row(half=(M * 100, 180 * M), full=(200 * M, 360 * M)), None),
    ("dear altogether, cheap each", row(half=(M, 50 * M), full=(2 * M, 100 * M), elements=1000), None),
    ("each dear", row(half=(M, 500 * M), full=(2 * M, 1000 * M), elements=10), "one element"),
    ("log at the bar", row(log=LOG_MAX), None),
    ("log above", row(log=LOG_MAX + 1), "bytes of log"),
    ("no log asked for", row(log=None), None),
    ("relayed at the bar", row(relayed=RELAYED_MAX * 3, elements=3), None),
    ("relayed above", row(relayed=RELAYED_MAX + 1), "bytes relayed"),
    ("kept by both", row(kept={"bare": 500000, "guarded": 500000}), None),
    ("kept at the bar", row(kept={"bare": 0, "guarded": KEPT_MAX}), None),
    ("kept by the guard", row(kept={"bare": 0, "guarded": KEPT_MAX + 1}), "bytes kept"),
    ("kept by nobody, given back by a bare one", row(kept={"bare": -500000, "guarded": 0}), None),
    ("kept by the guard, given back by a bare one", row(kept={"bare": -500000, "guarded": KEPT_MAX + 1}), "bytes kept"),
    ("as much dearer at the whole as cheaper at half", row(half=(400 * M, 250 * M), full=(400 * M, 550 * M)), None),
    ("much dearer at the whole than cheaper at half", row(half=(400 * M, 350 * M), full=(400 * M, 700 * M)), "twice the size"),
    ("a place left", row(left={"places": 1}), "more places"),
    ("not done", row(over="full"), "not done in time"),
    ("not even half done", {"elements": 1, "over": "half", "half": {"bare": 1, "guarded": 2}}, "not done in time"),
    ("not measured", {"problem": "no answer"}, "no answer"),
]


def main():
    print(f"1..{len(PLANTED) + 2}")
    for number, (what, planted, word) in enumerate(PLANTED, 1):
        said = complaints(planted)
        fine = not said if word is None else any(word in text for text in said)
        print("ok" if fine else "not ok", number, "-", what + ("" if fine else f": {said}"))
    number = len(PLANTED)
    print("ok" if own(row()["full"]) == 20 * M else "not ok", number + 1, "- own price")
    print("ok" if growth(row()) == 2 else "not ok", number + 2, "- growth")


if __name__ == "__main__":
    main()
