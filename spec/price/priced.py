"""A Prosody whose instructions are counted around what is sent to it, and the world around it."""

import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys
import time

from lab.prosody import GATEKEEPER_OPTIONS, Prosody
from lab.remote import Remote
from lab.xmlstream import Closed
from servers import Counted

HERE = pathlib.Path(__file__).resolve().parent
LOCAL, ROOMS = "contoso.test", "rooms.contoso.test"
FEDERATED, VERIFIED, UNVERIFIED, ABSENT, ANSWERS = "fabrikam.test", "verified.test", "unverified.test", "absent.test", "answers.test"
STRANGER, NAMED = "evil.test", "dns.test"
INSIDE = "inside.test"      # a relay host of the guarded server, an ordinary host of the bare one
WITHIN = "within.test"      # the same, whose server answers as the row says
DOOR = 5290


class Overdue(Exception):
    """The server had not done within the time."""

    def __init__(self, spent):
        super().__init__(f"not done after {spent / 1e6:.0f} million instructions")
        self.spent = spent


def entry(domain, type_, more=""):
    return (f'{{ domain = "{domain}"; partner_type = "{type_}"; tls = "optional"; sasl = "optional"; dialback = true; '
            f'connection_limit = 1000; {more}}};')


def relay_host(server):
    """The users' server is where all partners are."""
    entries = [entry(domain, type_, 'presence_authorization = "user" ') for domain, type_ in (
        (FEDERATED, "federated"), (VERIFIED, "public_verified"), (UNVERIFIED, "public_unverified"))]
    return ('modules_disabled = { "c2s" }\ns2s_partners = {\n' + "\n".join(entries) + "\n}\n"
            f's2s_inside = {{ server = "{server}:5269"; tls = "optional"; sasl = "not_supported"; dialback = true }}\n')


def partner_list():
    return ("s2s_partners = {\n" + "\n".join([entry(FEDERATED, "federated"), entry(VERIFIED, "public_verified"),
            entry(UNVERIFIED, "public_unverified"), entry(ABSENT, "federated"), entry(ANSWERS, "federated"), entry(NAMED, "federated")]) + "\n}\n"
            's2s_partners_limits = { establishment_timeout = 600; inactivity_timeout = 3600 }\n')


class Priced(Counted):
    """guarded: with the module; else bare.  `users`: {name: {contact: subscription}}, names without domain.  `inside`: {relay host: address
    of the server behind it}."""

    def __init__(self, lab, guarded, build, users, stores, patience, counter="qemu", inside=None):
        self.callgrind, self.variant, self.patience, self.guarded = counter == "callgrind", "guarded" if guarded else "bare", patience, guarded
        self.build = build
        Counted.count += 1
        env = {"BENCH_SEED": "0001"}
        if self.callgrind:
            env["LD_PRELOAD"] = str(build / "spec/bench/steady.so")
        self.inner_address = lab.address()      # nobody listens there where there is no guard
        inner = f's2s_inside_interfaces = {{ "{self.inner_address}" }}\n'
        relays = {host: relay_host(inside[host]) if guarded else "" for host in (INSIDE, WITHIN)}
        Prosody.__init__(self, lab, f"server{Counted.count:03}", {LOCAL: "", **relays},
                         components={ROOMS: ("muc", "")}, env=env,
                         users=[f"{name}@{LOCAL}" for name in users] + ([] if guarded else [f"alice@{INSIDE}"]),
                         log_level="info", s2s_timeout=600, register=False,
                         partners=partner_list() + inner if guarded else None, direct_tls=True,
                         modules=["lab_price", "lab_measure"] if guarded else ["dialback", "lab_price"], plugins=[HERE / "plugins"])
        self.options = f'lab_price_address = "{self.address}"; lab_price_port = {DOOR}\n' + ("" if guarded else GATEKEEPER_OPTIONS)
        for name, roster in users.items():
            if roster:
                self.set_roster(f"{name}@{LOCAL}", roster)
        for name, kept in stores.items():
            for store, text in kept.items():
                self._store(f"{name}@{LOCAL}", store, text)

    def _command(self, program, *words):
        command = super()._command(program, *words)
        if program == "prosody" and not self.callgrind:
            # Always the same addresses, of which Lua makes the seed of its hashes as well.
            self.counter = self.directory / "instructions"
            command = ["setarch", "--addr-no-randomize", f"qemu-{platform.machine()}", "-E", f"LD_PRELOAD={self.build / 'spec/bench/steady.so'}",
                       "-plugin", f"{self.build / 'spec/price/count.so'},into={self.counter}", shutil.which(command[0]), *command[1:]]
        return command

    def start(self, timeout=120):
        super().start(timeout)
        if self.guarded and "Partner configuration applied" not in self.log_since():
            raise RuntimeError(f"the partner list is not in force\n{self.log_tail(15)}")
        if self.callgrind:
            self._control("instrumentation", "on")
        return self

    def ask(self, what):
        """The value of an expression of Lua in the server, as text."""
        with socket.create_connection((self.address, DOOR), self.patience) as door:
            door.sendall(what.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                more = door.recv(1 << 16)
                if not more:
                    raise Closed()
                answer += more
        text = answer.decode().strip()
        if text.startswith("error: "):
            raise RuntimeError(f"{what}: {text}")
        return text

    def instructions(self):
        """So far, of all threads."""
        if not self.callgrind:
            return int.from_bytes(self.counter.read_bytes(), sys.byteorder)
        said = subprocess.run(["vgdb", f"--pid={self.pid}", "--max-invoke-ms=5", "status", "internal"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=True, timeout=60).stdout
        return sum(map(int, re.findall(r"^events-\d+: (\d+)", said, re.MULTILINE)))

    def _at_rest(self):
        """Whether every thread waits for something."""
        try:
            return all(pathlib.Path(task, "stat").read_text().rpartition(")")[2].split()[0] == "S"
                       for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir())
        except OSError:
            return False

    def _has_mail(self):
        """Whether bytes are under way to the server or from it, or a connection is there that it has not taken: it may sleep for a while in
        between, as it does after each piece."""
        own = [socket.inet_aton(address)[::-1].hex().upper() for address in (self.address, self.inner_address)]
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines():
            words = line.split()
            if any(address in line for address in own) and words[4] != "00000000:00000000":
                return True
        return False

    def settle(self, deadline, idle=lambda: None):
        """Waits until the server has nothing to do: asleep at several looks in a row, with nobody having anything for it."""
        looks = 0
        while looks < 5:
            if time.monotonic() > deadline:
                raise TimeoutError
            busy = idle()
            looks = looks + 1 if not busy and self._at_rest() and not self._has_mail() else 0
            time.sleep(0.01)

    def price(self, work, idle):
        """The instructions that work(deadline) makes the server spend, up to where it rests again."""
        before = self.instructions()
        deadline = time.monotonic() + self.patience
        try:
            work(deadline)
            self.settle(deadline, idle)
        except TimeoutError:
            raise Overdue(self.instructions() - before) from None
        return self.instructions() - before

    def counts(self):
        """What is there of the guard's and of core's streams, numbers by name."""
        said = self.ask("prosody.lab_measure()" if self.guarded else "prosody.lab_price_sessions()")
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", said)}

    def in_use(self):
        """Bytes of Lua, after all garbage has gone; there is no collection from here to the next time."""
        return int(self.ask("prosody.lab_price_rest()"))


class World(Remote):
    """All partners' domains but those that do not answer: keys are good, what else comes is dropped, nearly unread."""

    ASKED = re.compile(rb"<db:(verify|result)\b([^>]*)>")

    def __init__(self, lab):
        super().__init__(lab, [FEDERATED, VERIFIED, UNVERIFIED], tls=None, offer=["dialback"], script=self.serve, timeout=600)
        self.taken = 0          # bytes

    def serve(self, connection):
        self.greet(connection)
        data = b""
        while True:
            got = connection.socket.recv(1 << 18)
            if not got:
                raise Closed()
            self.taken += len(got)
            data += got
            begin = 0
            for asked in self.ASKED.finditer(data):
                said = dict(re.findall(rb"(\w+)='([^']*)'", asked[2]))
                if b"type" not in said:
                    id_ = b" id='" + said[b"id"] + b"'" if b"id" in said else b""
                    connection.socket.sendall(b"<db:%s from='%s' to='%s'%s type='valid'/>" % (asked[1], said[b"to"], said[b"from"], id_))
                begin = asked.end()
            data = data[max(begin, len(data) - 4096):]      # the end may be the beginning of one
