"""Collects the scenarios for pytest; spec/federation/run starts it.

A module of scenarios/ has functions scenario_*(fixture), or scenarios() that yields
(name, function), or both.  The fixture is what its setup(lab) returns, made once for the module
(the lab itself if there is no setup or it returns None); teardown(fixture) comes last.  All servers
end with the lab.  TIMEOUT: seconds for each scenario (60), for setup and for teardown, on a machine that does nothing else;
PATIENCE times as much is waited.  The lab has ENDING to end.
A scenario also fails when a server of the lab ends by itself, a log has a traceback (unless the module says
TRACEBACKS = True, or its HOST_FAULTS = {series of Prosody: pattern} matches the lines next to it: what is documented of the host) or a
sanitizer's report, or a remote's script raises.  Nothing is passed over: what has come in setup or between two scenarios fails the one
that comes next, what comes while the servers end fails the module.  There a traceback counts
that leads through the code under test: a server that is just stopping has some of its own.
lab.Skipped, raised by a scenario or by setup, says what is not there to test it with: it counts as skipped."""

import importlib
import os
import pathlib
import re
import signal
import sys
import threading

import pytest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
pytest.register_assert_rewrite("scenarios")

import not_behind_relay  # noqa: E402 (needs the path above)
import not_on_ejabberd  # noqa: E402
from lab import machine  # noqa: E402
from lab.lab import Lab, Skipped, enter_network  # noqa: E402

BUILT = {"prosody": ("S2S_PARTNERS_PLUGINS", "mod_s2s_partners"), "ejabberd": ("S2S_PARTNERS_ERLANG", "s2s_partners-VERSION")}
TAIL = 25
PATIENCE = 3
ENDING = 90    # seconds for the servers of a lab to end, each of which is killed after some
BEFORE, FRAMES = 12, 14    # lines around a traceback
REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "Sanitizer: ")
# What an Erlang node writes when one of its processes dies of a fault, or ejabberd when a hook does.
CRASHES = re.compile(r"CRASH REPORT|^\*\* Generic server .* terminating|^\*\* State machine .* terminating|Hook \S+ crashed|Error in process <")
# COMPAT Prosody 0.12.3: in net.server_epoll, when a connection ends while the server stops: all are closed then, and what the kernel has said of one
# in the same breath is still looked at.
OURS = re.compile(r"mod_s2s_partners/|\bs2s_partners_\w+[:,/]")
SHUT_DOWN, STARTED = re.compile(r"\tShutdown complete$"), re.compile(r"\tHello and welcome to Prosody version ")
DATED = re.compile(r"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[ T]")


def is_ours(lines, number, before):
    """Whether the traceback there, with so many lines of message before it, names a file or a module of the code under test."""
    end = next((at for at in range(number + 1, len(lines)) if DATED.match(lines[at])), len(lines))
    return any(map(OURS.search, lines[max(0, number - before):end]))


class Overdue(BaseException):
    """Not an Exception, so that no scenario takes it for a failure it expects."""


def bounded(seconds, function, *arguments):
    def overdue(*_):
        raise Overdue(f"still running after {seconds} s")
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(seconds)
    try:
        return function(*arguments)
    except Overdue as late:     # as one of pytest's own: it takes no other BaseException for a failure, and would leave out what is to be done behind it
        raise pytest.fail.Exception(str(late)).with_traceback(late.__traceback__) from None
    except Skipped as lacking:
        pytest.skip(str(lacking))
    except SystemExit:      # what the lab makes of SIGTERM
        pytest.exit("told to end", 1)
    finally:
        signal.alarm(0)


class Logs:
    """What the servers have logged: since the last mark, and what nobody has looked through yet."""

    def __init__(self, lab):
        self.lab = lab
        self.read = {}          # path: how far complaints() has come
        self.over = {}          # path: whether that Prosody has shut down there
        self.mark()

    def mark(self):
        self.sizes = {path: path.stat().st_size for path in self.lab.logs()}

    def since(self, sizes):
        for path in self.lab.logs():
            with open(path, "rb") as log:
                log.seek(sizes.get(path, 0))
                yield path, log.read()

    def complaints(self, tracebacks, ending=False, host_fault=None):
        for path, data in self.since(self.read):
            data = data[:data.rfind(b"\n") + 1]         # a line that is just being written comes next time
            self.read[path] = self.read.get(path, 0) + len(data)
            lines = data.decode(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if SHUT_DOWN.search(line):
                    self.over[path] = True
                elif STARTED.search(line):
                    self.over[path] = False
                if any(report in line for report in REPORTS):
                    yield f"{path.name}: {line.strip()}"
                if not tracebacks and ("Traceback" in line or "traceback:" in line or (self.lab.host == "ejabberd" and CRASHES.search(line))):
                    if (ending or self.over.get(path)) and not is_ours(lines, number, 2 if self.lab.host == "prosody" else 0):
                        continue
                    around = [line.rstrip() for line in lines[max(0, number - BEFORE):number + FRAMES]]
                    # What it is about first: the lines next to it, those around it behind.
                    about = " / ".join(near.strip() for near in lines[max(0, number - 2):number + 2])
                    if host_fault and re.search(host_fault, about):
                        continue
                    yield "\n    ".join([f"{path.parent.name}: {about}", *around])
        for process in self.lab.processes:
            if not process.running and not process.stopped:
                process.stopped = True      # reported once
                yield f"{process.log.stem} ended with status {process.popen.returncode}"
        for remote in self.lab.remotes:
            while remote.failures:
                yield f"script of {remote.domains}: {remote.failures.pop()!r}"

    def tails(self):
        for path, data in self.since(self.sizes):
            text = data.decode(errors="replace")
            # At debug ejabberd writes several lines for each hook.
            lines = [line for line in text.splitlines() if self.lab.host != "ejabberd" or "[debug]" not in line][-TAIL:]
            if lines:
                yield str(path.relative_to(self.lab.directory)), "\n".join(line[:400] for line in lines)


class ScenarioFile(pytest.File):
    def collect(self):
        self.module = importlib.import_module(f"scenarios.{self.path.stem}")
        for name, function in list(vars(self.module).items()):
            if name.startswith("scenario_") and callable(function):
                yield Scenario.from_parent(self, name=name.removeprefix("scenario_"), function=function)
        for name, function in getattr(self.module, "scenarios", tuple)():
            yield Scenario.from_parent(self, name=name, function=function)

    def bounded(self, function, *arguments):
        return bounded(PATIENCE * getattr(self.module, "TIMEOUT", 60), function, *arguments)

    def complaints(self, **more):
        host_fault = getattr(self.module, "HOST_FAULTS", {}).get(self.lab.version) if self.lab.host == "prosody" else None
        return "\n".join(self.logs.complaints(getattr(self.module, "TRACEBACKS", False), host_fault=host_fault, **more))

    def setup(self):
        enter_network()
        option = self.config.option
        self.lab = Lab(keep=option.keep, version=option.prosody, host=option.host, ejabberd=option.ejabberd, inside=option.inside).__enter__()
        self.addfinalizer(self.lab.close)
        self.logs = Logs(self.lab)
        self.addfinalizer(self.end)
        made = self.bounded(self.module.setup, self.lab) if hasattr(self.module, "setup") else None
        self.fixture = self.lab if made is None else made
        if hasattr(self.module, "teardown"):
            self.addfinalizer(lambda: self.bounded(self.module.teardown, self.fixture))

    def end(self):
        try:
            bounded(ENDING, self.lab.stop)
        except BaseException:
            self.lab.kill()
            raise
        complaints = self.complaints(ending=True)
        if complaints:
            pytest.fail(f"behind the last scenario:\n{complaints}", pytrace=False)


class Scenario(pytest.Item):
    def __init__(self, *, function, **more):
        super().__init__(**more)
        self.function = function

    def runtest(self):
        self.parent.logs.mark()
        complaints = ""
        try:
            self.parent.bounded(self.function, self.parent.fixture)
        finally:
            # Read here whether it has failed or not: the next one is not to answer for it.
            complaints = self.parent.complaints()
            if complaints:
                self.add_report_section("call", "complaints", complaints)
        if complaints:
            pytest.fail(complaints, pytrace=False)

    def repr_failure(self, excinfo):
        excinfo.traceback = excinfo.traceback.cut(path=self.path)
        return super().repr_failure(excinfo)

    def reportinfo(self):
        return self.path, 0, f"{self.path.stem}/{self.name}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if hasattr(item.parent, "lab"):
        report.user_properties.append(("lab", str(item.parent.lab.directory)))
    if report.failed and call.when != "teardown" and hasattr(item.parent, "logs"):
        report.sections += item.parent.logs.tails()


def pytest_addoption(parser):
    parser.addoption("--prosody", metavar="VERSION", help="a number or series; the installed one if absent, others through PROSODY_DIRS")
    parser.addoption("--host", choices=["prosody", "ejabberd"], default="prosody", help="what the edge is")
    parser.addoption("--inside", choices=["prosody", "ejabberd"], help="the edge stands in front of such a server, which has the users and the rooms")
    parser.addoption("--ejabberd", metavar="VERSION", help="a number; the installed one if absent, another through EJABBERD_DIR")
    parser.addoption("--module", metavar="NAME", help="only this module, or several with commas between")
    parser.addoption("--only", metavar="SUBSTRING", default="", help="of MODULE/SCENARIO")
    parser.addoption("--keep", action="store_true", help="leave the labs' directories")


def pytest_collect_file(file_path, parent):
    wanted = (parent.config.option.module or file_path.stem).split(",")
    # What is about ejabberd alone is left out where the edge is a Prosody, unless it is named.
    apart = parent.config.option.host == "prosody" and not parent.config.option.module and file_path.name.startswith("ejabberd_")
    if file_path.suffix == ".py" and not file_path.name.startswith("_") and file_path.stem in wanted and not apart:
        return ScenarioFile.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(config, items):
    names = {item: f"{item.path.stem}/{item.name}" for item in items}
    modules = {item.path.stem for item in items}
    missing = set((config.option.module or "").split(",")) - modules - {""}
    if missing and not config.option.only:
        raise pytest.UsageError(f"no such module: {', '.join(sorted(missing))}")
    applying = []       # tables of what does not apply, and what it is asked for
    if config.option.host == "ejabberd":
        applying.append((not_on_ejabberd.TABLES, machine.choose_ejabberd(config.option.ejabberd).number))
    if config.option.inside:
        applying.append((not_behind_relay.TABLES, config.option.inside))
    for tables, kind in applying:
        if not config.option.only:
            stale = [pattern for pattern in tables.stale(list(names.values()))
                     if not config.option.module or pattern.partition("/")[0] in modules]
            if stale:
                raise pytest.UsageError(f"{tables.name} names what no scenario is called: {', '.join(stale)}")
        for item, name in names.items():
            reason = tables.reason(name, kind)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))
    items[:] = [item for item in items if config.option.only in names[item]]


def pytest_report_teststatus(report):
    """A line for each scenario, where pytest would have a letter."""
    name = report.nodeid.rpartition("/")[2].replace(".py::", "/")
    if report.failed:
        return "failed", f"FAIL {name}{'' if report.when == 'call' else ' (' + report.when + ')'}\n", "FAILED"
    if report.skipped:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        return "skipped", f"skip {name}: {reason}\n", "SKIPPED"
    if report.when == "call":
        return "passed", f"ok {name} ({report.duration:.1f} s)\n", "PASSED"


def in_short(report):
    """Where it has failed, by the scenario's own line, and what was said."""
    where, said = "", str(report.longrepr).strip()
    if hasattr(report.longrepr, "reprcrash") and report.longrepr.reprcrash:
        places = [entry.reprfileloc for entry in report.longrepr.reprtraceback.reprentries if getattr(entry, "reprfileloc", None)]
        place = ([place for place in places if "scenarios" in place.path] or places or [None])[-1]
        where = f"{os.path.basename(place.path)}:{place.lineno}: " if place else ""
        said = report.longrepr.reprcrash.message
    return (where + " | ".join(line.strip() for line in said.splitlines()[:3]))[:400]


def pytest_terminal_summary(terminalreporter, config):
    # A line for each, for spec/run to say once more at its end; pytest's own summary is switched off (-rN).
    for kind in ("failed", "error"):
        for report in terminalreporter.stats.get(kind, ()):
            when = f" ({report.when})" if getattr(report, "when", "call") != "call" else ""
            terminalreporter.line(f"FAILED {report.nodeid.rpartition('/')[2].replace('.py::', '/')}{when}: {in_short(report)}")
    if config.option.keep:
        reports = [report for kind in ("passed", "failed", "skipped") for report in terminalreporter.stats.get(kind, ())]
        for lab in sorted({value for report in reports for _, value in report.user_properties}):
            terminalreporter.line(f"kept: {lab}")


def pytest_configure(config):
    if config.option.inside and config.option.host != "prosody":
        raise pytest.UsageError("--inside: only a Prosody has relay hosts")
    variable, content = BUILT[config.option.host]
    if not config.option.collectonly and not os.path.isdir(os.environ.get(variable, "")):
        raise pytest.UsageError(f"{variable} must name the directory that contains {content}/")
    # COMPAT execnet 1.9 (Debian 12): a worker's main thread answers the first question alone, and with --verbose xdist asks one before the tests.
    if threading.current_thread() is not threading.main_thread():
        raise pytest.UsageError("leave out --verbose with -n: time-outs are signals, which reach a main thread alone")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(config, "workerinput"):
        passed, failed, errors, skipped = (len(reporter.stats.get(kind, ())) for kind in ("passed", "failed", "error", "skipped"))
        print(f"{passed} passed, {failed + errors} failed" + (f", {skipped} skipped" if skipped else ""))
