"""What an input may cost: the bars, and whether a row of the price list keeps them.  Knows no server.

Prices are instructions.  A row is a dict:

    half, full        {"bare": ..., "guarded": ...}: instructions for the input at half of its size and at the whole of it
    elements          how many elements the whole input has
    over              "half" or "full" when the guarded server had not done within the time; what is there is then a lower bound
    log               bytes that the guarded server wrote for the whole input beyond core's own first line, None where it does not matter
    relayed           bytes that went on to other servers for it, None where that is what it is for
    kept              {"bare": ..., "guarded": ...}: bytes in use after one more input and the end of its stream
    left              what the guarded server counts more of than before: {"places": 1, ...}
    problem           why there is no measurement, or None"""

# An instruction is what does not depend on the machine. On one of today's, Prosody does 2.5 of them in a nanosecond (see price-list.md).
PER_MS = 2_500_000
ELEMENT_MAX = 20 * PER_MS
GROWTH_MAX = 2.4
# Two servers, or the same one twice, differ by this much for the same input: where a table of Lua's doubles, when a timer falls. What is
# less than that is too little to tell what it grows with.
NOISE = 1_250_000
NOISE_SHARE = 0.01
LOG_MAX = 1024
RELAYED_MAX = 1024      # for each element of a stranger's: a db:verify is less
# One input more must not be kept. A table that doubles, of strings for one, adds half of this now and then; an input has several times as much.
KEPT_MAX = 24576


def own(prices):
    """The guard's own share of a price; negative where it spares core something."""
    return prices["guarded"] - prices["bare"]


def noise(prices):
    return max(NOISE, NOISE_SHARE * prices["bare"])


def doubt(row):
    """What the two servers differ by for other reasons than the guard: where it spares core work at half the size, as much may come back."""
    return max(noise(row["full"]), -own(row["half"]))


def growth(row):
    """How many times the guard's own price at half the size is that at the whole; None where it is too small to say."""
    whole = own(row["full"])
    if whole <= doubt(row):
        return None
    return whole / max(own(row["half"]), noise(row["half"]))


def grows(row):
    """Whether that is too much even with the whole of the doubt taken off."""
    return own(row["full"]) - doubt(row) > GROWTH_MAX * max(own(row["half"]), noise(row["half"]))


def per_element(row):
    """(the guard's own price of one element, what it may be)"""
    return own(row["full"]) / row["elements"], max(ELEMENT_MAX, row["full"]["bare"] / row["elements"])


def kept(row):
    """What the guarded server keeps and a bare one does not. One whose tables have just become smaller makes up for nothing."""
    return row["kept"]["guarded"] - max(row["kept"]["bare"], 0)


def complaints(row):
    """What is wrong with the row, in words; empty when it keeps every bar."""
    found = []
    if row.get("problem"):
        return [row["problem"]]
    if row.get("over"):
        found.append(f"not done in time at {'half the' if row['over'] == 'half' else 'the whole'} size")
    if "full" in row:
        price, most = per_element(row)
        if price > most:
            found.append(f"one element costs {price / 1e6:.1f} million of the guard's own, {most / 1e6:.1f} are allowed")
        if not row.get("over") and grows(row):
            found.append(f"twice the size costs {growth(row):.1f} times, {GROWTH_MAX} are allowed")
    if row.get("log") is not None and row["log"] > LOG_MAX:
        found.append(f"{row['log']} bytes of log, {LOG_MAX} are allowed")
    if row.get("relayed") is not None and row["relayed"] / row["elements"] > RELAYED_MAX:
        found.append(f"{row['relayed'] / row['elements']:.0f} bytes relayed for an element, {RELAYED_MAX} are allowed")
    if row.get("kept") and kept(row) > KEPT_MAX:
        found.append(f"{kept(row)} bytes kept, {KEPT_MAX} are allowed")
    found += [f"{number} more {what} than before" for what, number in sorted(row.get("left", {}).items())]
    return found
