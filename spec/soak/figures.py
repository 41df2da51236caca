"""Samples of a server's size, and whether they stay level."""

import os
import pathlib
import re
import time

# Of the mean: how much the fitted line may rise over the second half; and in absolute terms, where that is more.
BOUNDS = {
    "rss_kb": (0.03, 1500),
    "lua_kb": (0.03, 300),
    "files": (0.05, 12),
    "sessions": (0.05, 12),
    "entries": (0.05, 150),
}
# What is there when nobody is connected, at the end and after warming up: by so much it may differ. Core's caches go on filling for
# some minutes.
AT_REST = {"rss_kb": (0.10, 4000), "lua_kb": (0.30, 0), "files": (0, 0), "s2sin": (0, 0), "s2sout": (0, 0), "c2s": (0, 0),
           "places": (0, 0), "inner": (0, 0), "waiting": (0, 0), "directed": (0, 0), "entries": (0.15, 400)}
HELD = 75       # seconds: core's timers (s2s_timeout is 60) hold sessions that are over


def grown(before, after):
    """[(name, allowed, whether it is no more than that)] of two states at rest."""
    bounds = [(name, max(share * before[name], absolute)) for name, (share, absolute) in AT_REST.items()]
    return [(name, allowed, after[name] - before[name] <= allowed) for name, allowed in bounds]


COLUMNS = ("rss_kb", "lua_kb", "files", "sessions", "s2sin", "s2sout", "places", "inner", "waiting", "directed", "entries")


def open_files(process):
    time.sleep(0.05)        # the shell's own connection may not be closed yet
    return len(os.listdir(process / "fd"))


def sample(server):
    """{name: number} of a running edge, now."""
    process = pathlib.Path("/proc") / str(server.process.popen.pid)
    output = server.shell("> prosody.lab_measure()")
    found = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", output)}
    if "lua_kb" not in found:
        raise RuntimeError(f"the edge does not tell its size: {output}")
    found["inner"] = 0      # streams, and stanzas that wait, of relay hosts; see boundary.py
    found["sessions"] = found["s2sin"] + found["s2sout"]
    found["files"] = min(open_files(process) for _ in range(10))
    found["rss_kb"] = int(re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())[1])
    return found


def line_of(points):
    """(value at the first point, value at the last) of the line fitted to [(x, y)]."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0
    return tuple(mean_y + slope * (x - mean_x) for x in (points[0][0], points[-1][0]))


class Series:
    def __init__(self):
        self.start = time.monotonic()
        self.rows = []      # (seconds, sample)

    def add(self, found):
        self.rows.append((time.monotonic() - self.start, found))
        return self.rows[-1]

    def verdicts(self):
        """(name, first, last, allowed, good) of the second half, for each bound."""
        half = self.rows[-1][0] / 2
        rows = [row for row in self.rows if row[0] >= half]
        for name, (share, absolute) in BOUNDS.items():
            first, last = line_of([(seconds, found[name]) for seconds, found in rows])
            allowed = max(share * (first + last) / 2, absolute)
            yield name, first, last, allowed, last - first <= allowed


def header():
    return f"{'seconds':>8}" + "".join(f"{name:>10}" for name in COLUMNS)


def row(seconds, found):
    return f"{seconds:8.0f}" + "".join(f"{found[name]:10}" for name in COLUMNS)
