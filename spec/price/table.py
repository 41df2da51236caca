"""The price list as text and as a page."""

from verdicts import complaints, growth, kept, own

COLUMNS = ("input", "size", "bare", "guarded", "own, half", "own, whole", "times", "log", "relayed", "kept", "verdict")


def _millions(number):
    return f"{number / 1e6:.1f}"


def _size(row):
    return f"{row['size'] / 1024:.0f} KiB" if row["unit"] == "bytes" else f"{row['size']} {row['unit']}"


def cells(row):
    """The row's columns, as text."""
    if "full" in row:
        over = ">" if row.get("over") == "full" else ""
        times = growth(row)
        prices = [_millions(row["full"]["bare"]), over + _millions(row["full"]["guarded"]), _millions(own(row["half"])) if "half" in row else "",
                  over + _millions(own(row["full"])), "" if times is None else f"{over}{times:.1f}"]
    elif "half" in row:
        prices = ["", "", ">" + _millions(own(row["half"])), "", ""]
    else:
        prices = [""] * 5
    wrong = complaints(row)
    return [row["name"], _size(row), *prices, *("" if row.get(what) is None else str(row[what]) for what in ("log", "relayed")),
            str(kept(row)) if row.get("kept") else "", "FAIL" if wrong else "ok"]


def text(rows):
    """For a terminal, in columns; prices in millions of instructions."""
    lines = [COLUMNS, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(line, widths)))
                     for line in lines)


def page(rows):
    """For Markdown: a table of each party."""
    parties = dict.fromkeys(row["party"] for row in rows)
    blocks = []
    for party in parties:
        lines = [f"| {party} | " + " | ".join(COLUMNS[1:]) + " |", "|---" * len(COLUMNS) + "|"]
        for row in rows:
            if row["party"] == party:
                name, *rest = cells(row)
                lines.append(f"| {row['what'].replace('<', '`<').replace('>', '>`')} (`{name}`) | " + " | ".join(rest) + " |")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)
