"""The pages of the annex, which programs write, and the program that writes one of them."""

import importlib.machinery
import importlib.util
import os
import re


def annex_faults(root, page, text):
    """What programs write stands on the pages of the annex, each section with the program that writes it."""
    marks = re.findall(r"^<!-- (end of )?([\w-]+)(?:: (\S+).*)? -->$", text, re.MULTILINE)
    if not page.name.startswith("annex-"):
        if marks:
            yield f"figures that a program writes ({marks[0][1]}) belong on a page of the annex"
        return
    opened = [name for end, name, _ in marks if not end and name != "end"]
    closed = [name for end, name, _ in marks if end]
    if not opened:
        yield "there is nothing between marks"
    if page.name == "annex-assurance.md" and opened != closed:
        yield f"sections that do not begin or end: {sorted(set(opened) ^ set(closed))}"
    for program in [program for _, _, program in marks if program] + re.findall(r"^Written by `(\S+)`", text, re.MULTILINE):
        if not os.access(root / program, os.X_OK):
            yield f"there is no program {program}"


def annex(root):
    """spec/docs/annex as a module."""
    loader = importlib.machinery.SourceFileLoader("annex", str(root / "spec" / "docs" / "annex"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("annex", loader))
    loader.exec_module(module)
    return module


def annex_program_faults(root):
    """A section is replaced and nothing else; what cannot be a section is refused."""
    program = annex(root)
    page = "before\n<!-- a: spec/run -->\n\nold\n\n<!-- end of a -->\n<!-- b: spec/run -->\nkept\n<!-- end of b -->\nafter\n"
    for printed, expected in (("| x |\n|---|\n| 1 |\nnoise\n", "| x |\n|---|\n| 1 |"), ("plain \n", "```\nplain\n```")):
        found = program.written(page, "a", printed, "today")
        if found != page.replace("old", f"today\n\n{expected}"):
            yield f"not the page expected: {found!r}"
        if program.written(found, "a", printed, "today") != found:
            yield "another page when it is written a second time"
    for section, printed in (("c", "x"), ("a", "\n\n"), ("a", "x\n" * 1000)):
        try:
            program.written(page, section, printed, "today")
            yield f"section {section} with {len(printed)} bytes is not refused"
        except ValueError:
            pass
