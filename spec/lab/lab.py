"""The lab: a private network, a working directory, and processes that do not outlive it."""

import atexit
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from . import machine
from .certificates import Certificates
from .dns import Dns

_MARK = "FEDLAB_NAMESPACE"


def ensure_namespace():
    """Re-executes the running program in a network namespace of its own, with lo up.

    To be called first of all.  Where that is not permitted the program goes on in
    the machine's own network; then two labs at once would share addresses."""
    if os.environ.get(_MARK) == "yes":
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
        return
    if _MARK in os.environ:
        return
    for flags in (["-n"], ["-r", "-n"]):
        try:
            permitted = subprocess.run(["unshare", *flags, "true"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, timeout=10).returncode == 0
        except OSError:
            permitted = False
        if permitted:
            os.environ[_MARK] = "yes"
            sys.stdout.flush()
            os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.orig_argv[1:]])
    os.environ[_MARK] = "no"


def enter_network():
    """Takes this thread, and the threads and processes that it starts from now on, into a new network, with lo up.

    Where that is not permitted it stays where it is."""
    CLONE_NEWNET = 0x40000000
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)


def die_with_parent(number=signal.SIGKILL):
    """To be called in a new child: the signal comes when the *thread* that forked ends.

    So nothing survives the lab, not even when that is killed with SIGKILL."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


class Skipped(Exception):
    """Raised by a scenario, or by a module's setup: this machine, or this version of Prosody, has not got what it is about."""


class Process:
    """A child whose output goes to a file."""

    def __init__(self, argv, log, **more):
        self.log = pathlib.Path(log)
        self.stopped = False    # by us, and not by itself
        with open(self.log, "ab") as output:
            # Not from other threads: the child would die when that thread ends.
            main = threading.current_thread() is threading.main_thread()
            self.popen = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=die_with_parent if main else None, **more)

    @property
    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.running:
            self.popen.send_signal(number)

    def stop(self, timeout=5):
        """Asks the process to end, then ends it and the children it may have left."""
        self.stopped = True
        if self._waited_for():
            return self.popen.returncode
        self.signal(signal.SIGTERM)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        self._kill_session()
        self.popen.wait(timeout)
        return self.popen.returncode

    def kill(self):
        if not self._waited_for():
            self._kill_session()

    def _waited_for(self):
        """Then its number may long be that of another lab's server, or of the program that runs us: the kernel begins anew behind some 30 000."""
        return self.popen.returncode is not None

    def _kill_session(self):
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)   # its own session, so ours alone
        except ProcessLookupError:
            pass


class Lab:
    """with Lab() as lab: ...

    lab.directory     a new temporary directory, removed at the end unless keep=True
    lab.certificates  Certificates (see there); lab.dns  the name server, started at its first use
    lab.address()     a loopback address that nobody in this lab has yet
    lab.spawn(...)    a Process, stopped at the end
    lab.cleanup(f)    f() is called at the end, last registered first
    lab.prosody       the machine.Installation that servers are of, unless they say otherwise
    lab.version       its series: "0.12" or "13"
    lab.host          what guards the edge: "prosody", or "ejabberd" (edge_ejabberd.py), then lab.ejabberd is its machine.Ejabberd
    lab.inside        None; "prosody" or "ejabberd": the edge's users are on such a server behind it (edge_boundary.py)
    lab.home          what kind of server has those users: the one inside, or the edge
    lab.remotes       every scripted remote server (remote.Remote)"""

    def __init__(self, keep=False, version=None, host="prosody", ejabberd=None, inside=None):
        self.keep, self.prosody = keep, machine.choose(version)
        self.version = self.prosody.series
        self.host, self.inside, self.home = host, inside, inside or host
        self.ejabberd = machine.choose_ejabberd(ejabberd) if "ejabberd" in (host, inside) else None
        self.remotes = []
        self.processes = []
        self._addresses = 0
        self._cleanups = []
        self._dns = None

    def __enter__(self):
        # A short path: it holds UNIX sockets, whose path may have 107 bytes.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="s2slab-"))
        self.certificates = Certificates(self.directory / "certificates")
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, lambda received, _: sys.exit(128 + received))
        atexit.register(self.close)
        return self

    def __exit__(self, *_):
        self.close()

    def stop(self):
        """All that runs ends; the logs stay, until close()."""
        while self._cleanups:
            try:
                self._cleanups.pop()()
            except Exception as problem:    # the others must be cleaned up all the same
                print(f"lab: while cleaning up: {problem!r}", file=sys.stderr)

    def kill(self):
        """The same for when stop() does not end."""
        self._cleanups.clear()
        for process in self.processes:
            process.stopped = True
            process.kill()

    def close(self):
        self.stop()
        atexit.unregister(self.close)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def cleanup(self, function):
        self._cleanups.append(function)

    def address(self):
        self._addresses += 1
        return f"127.0.{self._addresses}.1"

    @property
    def dns(self):
        if self._dns is None:
            self._dns = Dns(self)
        return self._dns

    def spawn(self, argv, name, **more):
        process = Process(argv, self.directory / f"{name}.out", **more)
        self.processes.append(process)
        self.cleanup(process.stop)
        return process

    def logs(self):
        """All log files, the servers' and the processes' own output."""
        return sorted([*self.directory.glob("*.out"), *self.directory.glob("*/*.log")])
