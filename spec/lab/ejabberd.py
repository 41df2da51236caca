"""ejabberd as a partner: one Erlang process, its hosts federating each in its own way."""

import json
import os
import re
import socket
import threading
import urllib.error
import urllib.request

from . import machine
from .prosody import PASSWORD
from .waiting import port_open, wait_until

HTTP_PORT = 5280

# How a host federates: the options of host_config, dialback or not, the kind of certificate (None: no TLS).
# EXTERNAL cannot be switched off in ejabberd: it is offered to every peer whose certificate is valid, and tried with every
# peer that offers it.  A host without it is one whose certificate nobody trusts, and that trusts nobody's.
PRESETS = {
    "required": {"starttls": "required", "dialback": True, "certificate": "good"},
    "optional": {"starttls": "optional", "dialback": True, "certificate": "good"},
    "external": {"starttls": "required", "dialback": False, "certificate": "good"},
    "no-external": {"starttls": "optional", "dialback": True, "certificate": "self-signed"},
    "none": {"starttls": False, "dialback": True, "certificate": None},
}


def installed():
    return bool(machine.ejabberds())


class Ejabberd:
    """One server.  Nothing runs before start().

    hosts    {domain: a row of PRESETS}
    users    bare JIDs, all with the password PASSWORD
    options  more of the global section, as a dictionary
    dns      another name server than the lab's

    options: more of the top level; None takes out one that stands there.
    EJABBERD_DIR: an unpacked one (.ci/install --ejabberd DIR) to take instead of the installed one.
    Users are made through its HTTP interface; so is everything else that ejabberdctl does: api()."""

    def __init__(self, lab, name, hosts, users=(), options=None, s2s_timeout=6, address=None, register=True, dns=None):
        self.dns = dns or lab.dns
        self.lab, self.name, self.hosts, self.users = lab, name, dict(hosts), list(users)
        self.options, self.s2s_timeout = dict(options or {}), s2s_timeout
        self.address = address or lab.address()
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.log_file = self.directory / "ejabberd.log"
        self.process = None
        if register:
            for domain in self.hosts:
                lab.dns.server(domain, self.address)

    # Configuration: JSON is YAML

    def config(self):
        leaves = [self.lab.certificates.leaf(domain, PRESETS[preset]["certificate"])
                  for domain, preset in self.hosts.items() if PRESETS[preset]["certificate"]]
        files = [str(self._pem(leaf)) for leaf in leaves]
        config = {
            "hosts": list(self.hosts),
            "loglevel": "debug",
            "certfiles": files,
            "ca_file": str(self.lab.certificates.trust),
            "negotiation_timeout": self.s2s_timeout,    # what Prosody calls s2s_timeout; ejabberd's is for idle streams
            "s2s_max_retry_delay": 1,       # after a failure it bounces everything for up to that long
            "s2s_dns_retries": 1,
            "listen": [
                {"ip": self.address, "port": 5222, "module": "ejabberd_c2s"},
                {"ip": self.address, "port": 5269, "module": "ejabberd_s2s_in"},
                {"ip": self.address, "port": HTTP_PORT, "module": "ejabberd_http",
                 "request_handlers": {"/api": "mod_http_api"}},
            ],
            "api_permissions": {"lab": {"who": "all", "what": ["*"]}},
            "modules": {"mod_http_api": {}},
            "host_config": {domain: self._host(preset) for domain, preset in self.hosts.items()},
            **self.options,
        }
        return {name: value for name, value in config.items() if value is not None}

    @staticmethod
    def _host(preset):
        row = PRESETS[preset]
        more = {"mod_s2s_dialback": {}} if row["dialback"] else {}
        return {"s2s_use_starttls": row["starttls"], "modules": {"mod_roster": {}, **more}}

    def _pem(self, leaf):
        """It wants chain and key in one file."""
        path = self.directory / f"{leaf.certificate.stem}.pem"
        path.write_bytes(leaf.certificate.read_bytes() + leaf.key.read_bytes())
        return path

    # Process

    def libraries(self):
        """For ERL_LIBS, which comes before Erlang's own. EJABBERD_DIR: an unpacked one comes first."""
        return machine.ejabberds()[-1].libraries

    def arguments(self):
        """More for erl, before ejabberd is started."""
        return []

    def _environment(self, libraries):
        inetrc, address = self.directory / "inetrc", self.dns.address.replace(".", ",")
        inetrc.write_text('{resolv_conf,"/dev/null"}.\n{hosts_file,"/dev/null"}.\n'
                          f"{{nameserver,{{{address}}},{self.dns.port}}}.\n")
        return {**os.environ, "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"), "EJABBERD_LOG_PATH": str(self.log_file),
                "ERL_INETRC": str(inetrc), "ERL_LIBS": ":".join(map(str, libraries)), "HOME": str(self.directory),
                "ERL_CRASH_DUMP_SECONDS": "0", "ERL_EPMD_ADDRESS": "127.0.0.1"}

    def launch(self):
        """The process; nothing is waited for."""
        # It looks SRV records up by Erlang's resolver and the hosts they name by the system's, whatever `lookup` says.
        # The latter cannot be told a port, and knows one file: a private one is put over it.
        resolv_conf = self.directory / "resolv.conf"
        if not resolv_conf.exists():
            resolv_conf.write_text(f"nameserver {self._name_server()}\noptions timeout:2 attempts:2\n")
        # Few schedulers that do not spin: it shares the machine.
        self.process = self.lab.spawn(
            ["unshare", "-m", "sh", "-c", 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"', "sh", resolv_conf,
             "erl", "-noinput", "+S", "2", "+sbwt", "none", *self.arguments(), "-mnesia", "dir", f'"{self.directory}/mnesia"',
             "-s", "ejabberd"],
            self.name, env=self._environment(self.libraries()), cwd=self.directory)

    def start(self, timeout=60):
        (self.directory / "ejabberd.yml").write_text(json.dumps(self.config(), indent=1))
        self.launch()
        try:
            for port in (5222, 5269, HTTP_PORT):
                wait_until(lambda port=port: not self.process.running or port_open(self.address, port), timeout,
                           f"port {port} of {self.name}")
            if not self.process.running:
                raise RuntimeError(f"{self.name} ended")
            for user in self.users:
                self.register(user)
        except (TimeoutError, RuntimeError, OSError) as problem:
            raise RuntimeError(f"{problem}\n{self.log_tail(15)}") from None
        return self

    def _name_server(self):
        """An address where the lab's DNS answers on port 53."""
        address = self.lab.address()
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # A thread that waits keeps a socket that is closed; the next lab has the same addresses.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, 53))
        self.lab.cleanup(server.close)

        def forward(query, peer):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
                upstream.settimeout(5)
                try:
                    upstream.sendto(query, (self.dns.address, self.dns.port))
                    server.sendto(upstream.recv(4096), peer)
                except OSError:     # in time, or no more
                    pass

        def serve():
            while True:
                try:
                    query, peer = server.recvfrom(4096)
                except OSError:
                    return
                threading.Thread(target=forward, args=[query, peer], daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        return address

    def stop(self):
        return self.process.stop()

    def register(self, jid):
        user, host = jid.split("@")
        self.api("register", user=user, host=host, password=PASSWORD)

    def api(self, command, **arguments):
        """One of ejabberd's administration commands; what it returns."""
        request = urllib.request.Request(f"http://{self.address}:{HTTP_PORT}/api/{command}",
                                         json.dumps(arguments).encode(), {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as problem:
            raise RuntimeError(f"{command}: {problem.read().decode(errors='replace')}") from None

    @property
    def version(self):
        """As it says itself."""
        return re.search(r"ejabberd (\d\S*) is running", self.api("status"))[1]

    # Log

    def log_tail(self, lines=40):
        text = self.process.log.read_text(errors="replace") if self.process else ""
        if self.log_file.exists():
            text += self.log_file.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
