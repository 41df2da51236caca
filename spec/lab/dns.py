"""A name server on loopback that the test fills, and that tells what it was asked."""

import re
import socket
import struct
import subprocess
import threading
import time

from .paths import FIXTURES
from .waiting import wait_until

_QUERY = re.compile(r"info: [0-9a-f.:]+ (\S+) (\S+) IN$")


class Dns:
    """Holds records by owner name; changes take effect at once.  `more`: of its configuration file, from a clause on."""

    def __init__(self, lab, address="127.0.53.53", port=5353, name="dns", more=""):
        self.address, self.port = address, port
        directory = lab.directory / name
        directory.mkdir()
        self._config = directory / "unbound.conf"
        self._config.write_text((FIXTURES / "dns" / "unbound.conf.in").read_text().format(
            address=address, port=port, directory=directory) + more)
        self._process = lab.spawn(["unbound", "-d", "-c", self._config], "unbound" if name == "dns" else f"unbound-{name}")
        wait_until((directory / "unbound.ctl").exists, 30, "unbound control socket")
        wait_until(lambda: self._control("status", check=False), 30, "answer from unbound")

    def record(self, line):
        """Adds one record in zone file syntax, such as "a.test. 0 IN A 127.0.1.1"."""
        self._control("local_data", line)

    def records(self, lines):
        """Adds many at once, a record a line."""
        self._control("local_datas", input=lines)

    def server(self, domain, address, port=5269, target=None, direct_tls_port=None, srv=True):
        """Says that `domain` is served at address:port.

        srv=False: only an address record.  target: the SRV record's host name; any
        domain's own name otherwise."""
        target = target or domain
        if srv:
            self.record(f"_xmpp-server._tcp.{domain}. 0 IN SRV 0 0 {port} {target}.")
        if direct_tls_port:
            self.record(f"_xmpps-server._tcp.{domain}. 0 IN SRV 0 0 {direct_tls_port} {target}.")
        self.record(f"{target}. 0 IN A {address}")

    def redirect(self, address):
        """Every name has this address, and no SRV record."""
        for zone in (".", "test."):     # which has one of its own
            self._control("local_zone", zone, "redirect")
            self.record(f"{zone} 0 IN A {address}")

    def remove(self, domain):
        """Forgets all that server() said about the domain."""
        for owner in (f"_xmpp-server._tcp.{domain}", f"_xmpps-server._tcp.{domain}", domain):
            self._control("local_data_remove", f"{owner}.")

    def mark(self):
        """The place in the log of queries up to now, for queries()."""
        return self._process.log.stat().st_size

    def queries(self, since=0):
        """[(name, type)] asked since the mark, names in lower case without final dot."""
        with open(self._process.log, "rb") as log:
            log.seek(since)
            lines = log.read().decode(errors="replace").splitlines()
        found = [_QUERY.search(line) for line in lines]
        return [(match[1].rstrip(".").lower(), match[2]) for match in found if match]

    def asked(self, domain, since=0):
        """Whether anything was asked about the domain or a name below it."""
        return any(name == domain or name.endswith("." + domain) for name, _ in self.queries(since))

    def _control(self, *words, check=True, input=None):
        ran = subprocess.run(["unbound-control", "-c", self._config, *words],
                             capture_output=True, text=True, input=input, timeout=30)
        if check and ran.returncode != 0:
            raise RuntimeError(f"unbound-control {words}: {ran.stdout}{ran.stderr}")
        return ran.returncode == 0


TYPES = {"A": 1, "AAAA": 28, "SRV": 33}


def lookup(address, port, name, type_, timeout=5):
    """What a server answers: the code of RFC 1035 4.1.1 (3 is "no such name") and the records of that type as text, sorted."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout)
        asking.sendto(b"\x12\x34\x01\0\0\1" + b"\0" * 6 + labels + struct.pack(">HH", TYPES[type_], 1), (address, port))
        answer = asking.recv(4096)

    def read_name(at):
        read, end = [], None
        while answer[at]:
            if answer[at] >= 0xc0:
                end = end or at + 2
                at = struct.unpack_from(">H", answer, at)[0] & 0x3fff
            else:
                read.append(answer[at + 1:at + 1 + answer[at]].decode())
                at += 1 + answer[at]
        return ".".join(read), end or at + 1
    found, (_, at) = [], read_name(12)
    at += 4
    for _ in range(struct.unpack_from(">H", answer, 6)[0]):
        _, at = read_name(at)
        kind, _, _, length = struct.unpack_from(">HHIH", answer, at)
        at += 10
        if kind == TYPES[type_] and kind == TYPES["SRV"]:
            found.append("%d %d %d %s" % (*struct.unpack_from(">HHH", answer, at), read_name(at + 6)[0]))
        elif kind == TYPES[type_]:
            found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, answer[at:at + length]))
        at += length
    return answer[3] & 15, sorted(found)


class FaultyDns:
    """A resolver in front of the lab's name server that misbehaves on demand; servers are told to ask it with `options`.

    rules: {domain: behaviour}, for the domain and all below it, or {None: behaviour} for everything:
        "silence"               no answer at all
        ("slow", seconds)       the right answer, late
        "servfail", "nxdomain", "refused"
        "truncated"             says that the answer does not fit, and TCP does not work either
        "garbage"               no DNS message; "other": the answer to another question; "loop": a compression pointer to itself"""

    CODES = {"servfail": 2, "nxdomain": 3, "refused": 5}

    def __init__(self, lab, address="127.0.53.54", port=5353):
        self.rules, self.asked = {}, []
        self._to = (lab.dns.address, lab.dns.port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._closed = False
        lab.cleanup(self.close)
        # A resolver of the server's own takes seconds to give up, and remembers who did not answer.
        self.options = (f'unbound = {{ resolvconf = false; hoststxt = false; forward = "{address}@{port}"; options = {{ '
                        '["local-zone:"] = "test. transparent"; ["infra-host-ttl:"] = "1"; ["cache-max-negative-ttl:"] = "0" } }\n')
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._closed = True
        self._socket.close()

    def _serve(self):
        while not self._closed:
            try:
                query, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            threading.Thread(target=self._answer, args=[query, peer], daemon=True).start()

    @staticmethod
    def _name(query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode(errors="replace").lower())
            at += 1 + query[at]
        return ".".join(labels), at + 5     # and the end of the question

    def _rule(self, name):
        for domain, behaviour in self.rules.items():
            if domain is None or name == domain or name.endswith("." + domain):
                return behaviour
        return None

    def _answer(self, query, peer):
        name, end = self._name(query)
        self.asked.append(name)
        rule = self._rule(name)
        head, question = query[:2], query[12:end]
        none = b"\0\0" * 3
        if rule is None:
            answer = self._honest(query)
        elif rule == "silence":
            return
        elif rule == "truncated":
            answer = head + b"\x83\x80" + b"\0\1" + none + question
        elif rule == "garbage":
            answer = head + b"\xff" * 40
        elif rule == "other":
            answer = head + b"\x81\x80" + b"\0\1\0\1\0\0\0\0" + b"\4evil\4test\0\0\1\0\1" + b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1"
        elif rule == "loop":
            answer = head + b"\x81\x80" + b"\0\1\0\1\0\0\0\0" + question + b"\xc0" + bytes([end]) + b"\0\x21\0\1\0\0\0\0\0\4\xc0\x0c\xc0\x0c"
        elif isinstance(rule, tuple):
            answer = self._honest(query)
            time.sleep(rule[1])
        else:
            answer = head + b"\x81" + bytes([0x80 | self.CODES[rule]]) + b"\0\1" + none + question
        try:
            self._socket.sendto(answer, peer)
        except OSError:
            pass

    def _honest(self, query):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.settimeout(5)
            upstream.sendto(query, self._to)
            return upstream.recv(4096)
