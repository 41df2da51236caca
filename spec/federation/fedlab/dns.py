"""A name server on loopback that the test fills, and that tells what it was asked."""

import re
import subprocess

from .paths import FIXTURES
from .waiting import wait_until

_QUERY = re.compile(r"info: [0-9a-f.:]+ (\S+) (\S+) IN$")


class Dns:
    """Holds records by owner name; changes take effect at once."""

    def __init__(self, lab, address="127.0.53.53", port=5353):
        self.address, self.port = address, port
        directory = lab.directory / "dns"
        directory.mkdir()
        self._config = directory / "unbound.conf"
        self._config.write_text((FIXTURES / "dns" / "unbound.conf.in").read_text().format(
            address=address, port=port, directory=directory))
        self._process = lab.spawn(["unbound", "-d", "-c", self._config], "unbound")
        wait_until((directory / "unbound.ctl").exists, 10, "unbound control socket")
        wait_until(lambda: self._control("status", check=False), 10, "answer from unbound")

    def record(self, line):
        """Adds one record in zone file syntax, such as "a.test. 0 IN A 127.0.1.1"."""
        self._control("local_data", line)

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

    def _control(self, *words, check=True):
        ran = subprocess.run(["unbound-control", "-c", self._config, *words],
                             capture_output=True, text=True, timeout=10)
        if check and ran.returncode != 0:
            raise RuntimeError(f"unbound-control {words}: {ran.stdout}{ran.stderr}")
        return ran.returncode == 0
