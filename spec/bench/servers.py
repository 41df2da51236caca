"""A Prosody whose work is counted: by callgrind (instructions) or by the kernel (CPU time)."""

import os
import pathlib
import re
import subprocess
import time

from lab.edge_ejabberd import EdgeEjabberd
from lab.ejabberd import Ejabberd
from lab.prosody import GATEKEEPER_OPTIONS, Prosody
from variants import ALICE, BOB, EJABBERD, GUARDED, LOCAL, REMOTE, VARIANTS, partner_list

CONTACTS = 100
EXTRA = os.environ.get("BENCH_OPTIONS", "")     # more of every server's configuration, for experiments


def circumstances():
    """What else the machine did meanwhile; ahead: at real-time priority (chrt), so that all else had to wait."""
    return {"load": os.getloadavg()[0], "ahead": os.sched_getscheduler(0) != os.SCHED_OTHER}


class Timed:
    """Of a server with a process: what it costs, in microseconds of CPU time."""

    @property
    def pid(self):
        return self.process.popen.pid

    def spent(self):
        """Microseconds of CPU time so far, of threads that have ended too."""
        # The process's own clock, CPUCLOCK_SCHED of the kernel: nanoseconds, where /proc/PID/stat has ticks of ten milliseconds.
        return time.clock_gettime((~self.pid << 3) | 2) * 1e6

    def cost(self, work):
        """What the server spends while work() runs."""
        before = self.spent()
        work()
        return self.spent() - before

    def resident(self):
        """Kilobytes."""
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1])


class TimedEjabberd(Timed, Ejabberd):

    def __init__(self, lab, variant):
        super().__init__(lab, variant, {LOCAL: "none"}, users=[ALICE], s2s_timeout=120, register=False,
                         options={"loglevel": "warning", **EJABBERD[variant][1]})


class GuardedEjabberd(Timed, EdgeEjabberd):

    def __init__(self, lab, variant, version):
        count = GUARDED[variant][1]
        super().__init__(lab, variant, [LOCAL], users=[ALICE], version=version, s2s_timeout=120, log_level="warning", register=False,
                         partners=count and f"s2s_partners = {partner_list(count)}")
        contacts = {f"contact{number}@{REMOTE}": "both" for number in range(CONTACTS)}
        self.set_roster(ALICE, {BOB: "both", **contacts})

    def config(self):
        return {**super().config(), "s2s_use_starttls": "optional"}


class Counted(Timed, Prosody):
    """with callgrind: costs are instructions; without: microseconds of CPU time, user and system."""

    count = 0

    def __init__(self, lab, variant, callgrind, version, build, seed=0, more="", **arguments):
        self.variant, self.callgrind = variant, callgrind
        arguments = {**VARIANTS[variant][1](lab), **arguments}
        self.inner_address = arguments.pop("inner_address", None)      # of a relay host
        arguments["options"] = GATEKEEPER_OPTIONS + arguments.get("options", "") + more + EXTRA
        # The name is part of the arguments, their length of where the stack begins, and that of the seed of Lua's hashes.
        Counted.count += 1
        env = {"LD_PRELOAD": str(build / "spec/bench/steady.so"), "BENCH_SEED": f"{seed:04}"} if callgrind else {}
        arguments = {"hosts": [LOCAL], "users": [ALICE], **arguments}
        super().__init__(lab, f"server{Counted.count:03}", env=env, version=version, log_level="info", s2s_timeout=120,
                         register=False, **arguments)
        contacts = {f"contact{number}@{REMOTE}": "both" for number in range(CONTACTS)}
        for user in arguments["users"]:
            self.set_roster(user, {BOB: "both", **contacts})

    def _command(self, program, *words):
        command = super()._command(program, *words)
        if program == "prosody" and self.callgrind:
            out = self.directory / "callgrind.out"
            command = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no",
                       f"--callgrind-out-file={out}", *command]
        return command

    def _control(self, *words):
        subprocess.run(["vgdb", f"--pid={self.pid}", *words], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=True, timeout=120)

    def cost(self, work):
        """What the server spends while work() runs."""
        if not self.callgrind:
            return super().cost(work)
        self._control("instrumentation", "on")
        work()
        self._control("instrumentation", "off")
        known = set(self.directory.glob("callgrind.out*"))
        self._control("dump", "part")
        new = set(self.directory.glob("callgrind.out*")) - known
        if len(new) != 1:
            raise RuntimeError(f"callgrind wrote {new}")
        self.profile = new.pop()
        return int(re.search(r"^totals: (\d+)", self.profile.read_text(), re.MULTILINE)[1])

    def own(self):
        """The instructions, of those counted last, that were spent in the module's handlers and filter and whatever these call.

        The rest of what a server spends varies by a percent from one process to the next; this does not."""
        table = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--auto=no", self.profile], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, check=True, timeout=120).stdout
        rows = re.findall(r"^\s*([\d,]+) .*:(?:handle|filter) \[.*/s2s_partners\.so\]", table, re.MULTILINE)
        return sum(int(row.replace(",", "")) for row in rows)
