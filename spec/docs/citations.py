"""What code and pages cite: rules, pages, standards, functions. Each is there, and has the number that is due."""

import re

from markdown_parts import anchors

COMMENTS = {".c": r"/\*.*?\*/|//[^\n]*", ".h": r"/\*.*?\*/|//[^\n]*", ".lua": r"--[^\n]*", ".py": r"#[^\n]*|\"\"\".*?\"\"\""}


def comments(path, text):
    """Each comment of a file with the number of its line. A comment over several lines is one line here."""
    pattern = COMMENTS.get(path.suffix, COMMENTS[".py"])
    for match in re.finditer(pattern, text, re.DOTALL):
        yield text.count("\n", 0, match.start()) + 1, re.sub(r"\s*\n\s*(?:\*|--|#)?\s*", " ", match[0])


def reference_faults(root, path, text):
    """What the comments of a file cite is there: pages, headings; and it is a place that has a number."""
    for line, comment in comments(path, text):
        for page, anchor in re.findall(r"(?<![\w/])(docs/[\w./-]+\.md)(?:#([\w-]+))?", comment):
            if not (root / page).is_file():
                yield f"{path.relative_to(root)}, line {line}: there is no {page}"
            elif anchor and anchor not in anchors((root / page).read_text()):
                yield f"{path.relative_to(root)}, line {line}: {page} has no heading #{anchor}"
        for word in re.findall(r"\b(?:contract|specification)(?:'s)?\b(?! \d{4}\b)", comment, re.IGNORECASE):
            yield f"{path.relative_to(root)}, line {line}: \"{word}\" is no place that has a number: cite a rule (P12), a page (docs/) or a section of a standard"


def number_faults(path, text, rules):
    """The rules that comments cite by their numbers are there."""
    for line, comment in comments(path, text):
        for number in re.findall(r"(?<![\w-])P(\d{1,2})\b", comment):
            if number not in rules:
                yield f"{path}, line {line}: docs/partner-types.md has no P{number}"


def rule_faults(page, code):
    """Each row of the table of authorisation cites rules of docs/partner-types.md; they exist, and each rule is cited."""
    rules = re.findall(r"\*\*P(\d+)\*\*", page)
    for rule in sorted({rule for rule in rules if rules.count(rule) > 1}, key=int):
        yield f"two rules have the number P{rule}"
    cited = set()
    rows, group = 0, ""
    for line in code.split("/* clang-format off */")[1].split("/* clang-format on */")[0].splitlines():
        if re.match(r"\s*(?:/\*|\*)", line):
            group = line if "/*" in line else group + line
            cited |= set(re.findall(r"\bP(\d+)\b", line))
        elif line.startswith("\t{ WHERE("):
            rows += 1
            if not re.search(r"\bP\d+\b", group):
                yield f"a row cites no rule: {line.strip()}"
        elif re.match(r"\S", line):
            group = ""      # of another table
    if rows < 20:
        yield "the table of authorisation cannot be read"
    for rule in sorted(cited - set(rules), key=int):
        yield f"authorisation.c cites P{rule}, which docs/partner-types.md does not have"
    for rule in sorted(set(rules) - cited, key=int):
        yield f"no row of authorisation.c cites P{rule} of docs/partner-types.md"


def standards(root):
    """The standards of the glossary: name to whether citations need a section."""
    part = (root / "docs" / "glossary.md").read_text().split("\n## Standards\n")[1]
    return dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| (by section|whole) \|$", part, re.MULTILINE))


def standard_faults(path, text, known, code):
    """The standards that are cited are known; in code, with a section where one is due."""
    parts = comments(path, text) if code else enumerate(text.splitlines(), 1)
    for line, part in parts:
        for match in re.finditer(r"\bRFC ?(\d+)\b|\b(?:XEP|UTS|UAX)-\d+\b|\bX\.\d{3}\b", part):
            name = f"RFC {match[1]}" if match[1] else match[0]
            if name not in known:
                yield f"{path}, line {line}: {name} is not in the list of standards of docs/glossary.md"
            elif code and known[name] == "by section" and not re.match(r",? (?:sections? )?[A-Z\d][\d.]*\b| has no ", part[match.end():]):
                yield f"{path}, line {line}: {name} is cited without a section"


def defines(path, text, name):
    """Whether the file defines the function or table; to name it is not enough."""
    short = re.escape(name.rpartition(".")[2])
    if path.suffix == ".lua":
        return re.search(rf"\bfunction (?:\w+[.:])?{short}\b|\blocal {short} =|\b\w+\.{short} = function", text)
    return re.search(rf"^(?:\w[^;\n=]*\W|){short}(?:\([^;\n]*(?:\{{|,)$|\[\] = )", text, re.MULTILINE)


def step_faults(root, text):
    """Each `function` (`FILE`) of docs/walkthrough.md is defined in that file, each `act.NAME` is an action that the C code asks for, and each file is there."""
    steps = re.findall(r"`([\w.]+)`\s+\(`([\w./]+\.\w+)`\)", text)
    code = {path: path.read_text() for room in ("module", "lua") for path in sorted((root / room).rglob("*.[cl]*")) if path.suffix in (".c", ".lua")}
    if len(steps) < 20:
        yield "the steps cannot be read"
    for function, name in dict.fromkeys(steps):
        path = root / name
        if path not in code:
            yield f"there is no {name}"
        elif not defines(path, code[path], function):
            places = [str(other.relative_to(root)) for other in code if defines(other, code[other], function)]
            yield f"{function} is not in {name}{'; it is in ' + ' and '.join(places) if places else ', and nowhere else'}"
    asked = "".join(text for path, text in code.items() if path.is_relative_to(root / "module" / "prosody"))
    for action in sorted(set(re.findall(r"`act\.(\w+)`", text))):
        if f'"{action}"' not in asked:
            yield f"nothing in module/prosody asks for the action {action}"
