#!/usr/bin/env python3
"""Compares a page with what its generator prints, or writes the pages.

    compare.py GENERATOR PAGE FILE         fails with a diff when they differ
    compare.py --update GENERATOR DIRECTORY
"""

import difflib
import pathlib
import subprocess
import sys


def printed(generator, page):
    return subprocess.run([generator, page], check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")


def main(arguments):
    if len(arguments) == 3 and arguments[0] == "--update":
        for page in ("negotiation", "reasons"):
            path = pathlib.Path(arguments[2], page + ".md")
            path.write_text(printed(arguments[1], page), encoding="utf-8")
        return 0
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    generator, page, file = arguments
    diff = list(difflib.unified_diff(
        pathlib.Path(file).read_text(encoding="utf-8").splitlines(keepends=True),
        printed(generator, page).splitlines(keepends=True),
        "docs/" + page + ".md", "the table"))
    sys.stdout.writelines(diff)
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
