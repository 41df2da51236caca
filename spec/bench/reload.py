"""How long a reload keeps everybody waiting: a client pings without pause while the configuration is read again."""

import os
import pathlib
import re
import signal
import statistics
import time

from lab.lab import Lab
from lab.waiting import wait_until
from loads import Raw, User
from servers import Counted, circumstances
from variants import COLLECTOR, LOCAL, PLUGINS, VARIANTS

ROUNDS = 7
QUIET, WATCHED = 0.3, 1.2       # seconds before and after the signal
PATIENCE = 60                   # more of them, on a busy machine
STALL = 3                       # milliseconds: what a ping takes at most when nothing is in its way
REST = 15                       # seconds without anything, in which the times of all streams are looked at now and then
PING = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"


def _streams(partners, streams, more=""):
    """Partners that may do without TLS, and streams of so many of them that have no connection."""
    def make(lab):
        path = lab.directory / f"partners-{streams}-streams.cfg.lua"
        path.write_text("return {\n" + "".join(
            f'{{ domain = "xmpp-{number:07d}.department.example"; partner_type = "federated"; '
            'tls = "optional"; sasl = "optional"; dialback = true };\n' for number in range(1, partners + 1)) + "}\n")
        return {"partners": f's2s_partners_files = {{ "{path}" }}', "modules": ["bench_streams", "bench_turns"], "plugins": [PLUGINS],
                "options": f's2s_partners_limits = {{ connections = 20000 }}\nbench_streams = {streams}\nbench_host = "{LOCAL}"\n{more}'}
    return make


FILES, EACH = 100, 10000
SETTLED = 20                    # seconds at most, until the memory of the list before is back


def _million(lab):
    """A million partners of one domain each, in files of ten thousand."""
    folder = lab.directory / "partners.d"
    if not folder.exists():
        folder.mkdir()
        for file in range(FILES):
            (folder / f"{file:03}.cfg.lua").write_text("return {\n" + "".join(
                f'{{ domain = "xmpp-{number:07d}.department.example"; description = "Partner {number}"; partner_type = "federated" }};\n'
                for number in range(file * EACH, file * EACH + EACH)) + "}\n")
    return {"partners": 's2s_partners_files = { "../partners.d/*.cfg.lua" }', "modules": ["dialback", "bench_turns"], "plugins": [PLUGINS]}


VARIANTS["million"] = ("s2s_partners, 1 000 000 partners in 100 files", _million)
VARIANTS["live-0"] = ("s2s_partners, 10 000 partners that may do without TLS", _streams(10000, 0))
VARIANTS["live-10000"] = ("the same with a live stream of each", _streams(10000, 10000))
VARIANTS["live-10000-collector"] = ("the same, small steps of the collector", _streams(10000, 10000, COLLECTOR))
CHOSEN = ["bare", "partners-10", "partners-10000", "live-0", "live-10000", "live-10000-collector", "million"]


class Watch:
    """What one client sees, and what the server spends on it, while nothing else happens but a reload."""

    def __init__(self, server, user):
        self.server, self.user, self.raw = server, user, Raw(user.socket, "<iq ")

    def pings(self, seconds):
        """[(milliseconds waited, CPU milliseconds of the server meanwhile)]"""
        answers, begin = [], time.monotonic()
        while time.monotonic() < begin + seconds:
            start, before = time.monotonic(), self.server.spent()
            self.user.send(PING)
            self.user.sent.clear()
            self.raw.wait(1)
            answers.append(((time.monotonic() - start) * 1000, (self.server.spent() - before) / 1000))
            time.sleep(0.001)
        return answers

    def status(self, name):
        """Megabytes."""
        return int(re.search(rf"{name}:\s+(\d+)", pathlib.Path(f"/proc/{self.server.pid}/status").read_text())[1]) / 1024

    def on_other_threads(self):
        """Seconds of CPU time so far on all threads, those that have ended included, but for the one that serves."""
        clock = os.sysconf("SC_CLK_TCK")
        fields = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()
        own = int(pathlib.Path(f"/proc/{self.server.pid}/schedstat").read_text().split()[0]) / 1e9
        return (int(fields[11]) + int(fields[12])) / clock - own

    def weigh(self):
        """The same with what it takes of CPU time off the loop and of memory, at the peak and when it is through."""
        pathlib.Path(f"/proc/{self.server.pid}/clear_refs").write_text("5")     # the peak begins anew
        before, spent = self.status("VmRSS"), self.on_other_threads()
        result = self.reload()
        result["off"] = self.on_other_threads() - spent
        result["peak"] = self.status("VmHWM") - before
        begin = time.monotonic()
        while self.status("VmRSS") > before + 20 and time.monotonic() < begin + SETTLED:
            time.sleep(0.2)
        result["settled"] = self.status("VmRSS")
        return result

    def reload(self):
        self.pings(QUIET)
        mark = self.server.mark()
        self.server.process.signal(signal.SIGHUP)
        answers, begin = self.pings(WATCHED), time.monotonic()
        while "Partner configuration applied" not in (log := self.server.log_since(mark)) and self.server.variant != "bare" and \
                time.monotonic() < begin + PATIENCE:
            answers += self.pings(0.5)
        assert "SIGHUP" in log
        assert "Partner configuration applied" in log or self.server.variant == "bare"
        longest, longest_cpu = max(answers)
        result = {"wait": longest, "wait_cpu": longest_cpu, "stalls": sum(wait for wait, _ in answers if wait > STALL)}
        if turns := re.findall(r"turn of ([\d.]+) ms", log):
            result["turn"] = max(map(float, turns))
        if judged := re.search(r"judged again in (\d+) ms", log):
            result["judged"] = float(judged[1])
        return result


def measure(version, options):
    result = {}
    with Lab(version=version) as lab:
        for variant in [v for v in CHOSEN if not options.variants or v in options.variants]:
            server = Counted(lab, variant, False, version, options.build).start(timeout=300)
            if variant.startswith("live"):
                streams = variant.split("-")[1]
                wait_until(lambda: f"\t{streams} live streams" in server.log_file.read_text(), 300, "streams")
            user = User(server)
            rest = {}
            if variant.startswith("live"):
                spent = server.spent()
                time.sleep(REST)
                rest["rest"] = (server.spent() - spent) / 1000 / REST
            watch = Watch(server, user)
            watch.reload()      # the first one only warms up
            rounds = [watch.weigh() if variant == "million" else watch.reload() for _ in range(ROUNDS)]
            result[variant] = {figure: statistics.median(one[figure] for one in rounds) for figure in rounds[0]}
            if "settled" in result[variant]:
                rest["bytes"] = (result[variant]["settled"] - result["partners-10"]["resident"] / 1024) * 2**20 / FILES / EACH if "partners-10" in result else None
            if "turn" in rounds[0]:
                rest["turn_worst"] = max(one["turn"] for one in rounds)
            result[variant].update(rest, title=VARIANTS[variant][0], wait_worst=max(one["wait"] for one in rounds), **circumstances(), resident=server.resident())
            print(f"reload     {version:5} {variant:16}", ", ".join(
                f"{figure} {value:.1f}" for figure, value in result[variant].items() if isinstance(value, float)), flush=True)
            user.close()
            server.stop()
    return result
