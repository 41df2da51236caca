"""Prosody servers: the installed one, and others from unpacked packages (see machine.py)."""

import json
import os
import pathlib
import re
import signal
import string
import subprocess

from . import machine
from .paths import FIXTURES
from .waiting import PATIENCE, answers, knock, wait_until

PASSWORD = "secret"
PLUGINS = pathlib.Path(__file__).resolve().parent / "plugins"
PRESETS = json.loads((FIXTURES / "servers" / "presets.json").read_text())
_TEMPLATE = string.Template((FIXTURES / "servers" / "prosody.cfg.lua.in").read_text())

# Answered by any client port, if only with an error.
GREETING = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='lab.test' version='1.0'>"

# The options a server under test has, so that every row can be exercised: what
# then keeps it closed is the module.
GATEKEEPER_OPTIONS = "s2s_require_encryption = false\ns2s_secure_auth = false\n"

# Says whether there is a module that reads the configuration: one that has been loaded, and neither failed nor unloaded.
NEXT_TURN = ("> (function () %s require 'util.timer'.add_task(0, function () "
             "require 'util.logger'.init('lab')('info', 'The next turn has come') end) "
             "local latch = prosody.s2s_partners_latch; "
             "return latch and not latch.armed and not latch.aside and 'somebody reads' or 'nobody reads' end)()")
# What a signal does.
RELOAD = "prosody.main_thread:run(function () prosody.reload_config() end);"

# What core says of a configuration file that it cannot read at a reload; nobody else hears of it then.
UNREAD = r"There was an error parsing the configuration file|Couldn't read the config file"


def plugins_under_test():
    """The plugin path with mod_s2s_partners/, from the environment."""
    return os.environ["S2S_PARTNERS_PLUGINS"]


class Prosody:
    """One server.  Nothing runs before start().

    name         names its directory and log files
    hosts        {domain: option text in Lua} or a list of domains
    components   {domain: (component module, option text)}, ("muc", "") for rooms
    users        bare JIDs, all with the password PASSWORD
    preset       a row of fixtures/servers/presets.json: how it federates
    partners     the module's configuration, verbatim, in the global section; the module is
                 then loaded.  None: a server without it
    options      more of the global section, after everything else (an option set twice
                 keeps its last value)
    modules      more global modules; plugins: more plugin paths
    under_test   a directory with mod_s2s_partners/ to take instead of the built one
    certificates {domain: kind or Leaf}; "good" if absent, None for a host without any
    direct_tls   also listens on port 5270 for XEP-0368
    register     tell the lab's DNS about its hosts and components
    version      another Prosody than the lab's: a number or series, see machine.choose"""

    host, bidi = "prosody", True

    def __init__(self, lab, name, hosts, components=None, users=(), preset=None, partners=None,
                 options="", modules=(), plugins=(), certificates=None, direct_tls=False,
                 version=None, address=None, s2s_timeout=10, log_level="debug", env=None,
                 register=True, trust=None, under_test=None):
        self.lab, self.name = lab, name
        self.installation = machine.choose(version) if version else lab.prosody
        self.hosts = dict(hosts) if isinstance(hosts, dict) else {host: "" for host in hosts}
        self.components = dict(components or {})
        self.preset, self.partners, self.options = preset, partners, options
        self.modules, self.plugins = list(modules), list(plugins)
        self.certificates = dict(certificates or {})
        self.direct_tls, self.s2s_timeout, self.log_level = direct_tls, s2s_timeout, log_level
        self.address = address or lab.address()
        self.env = {**os.environ, **(env or {})}
        loads_it = partners is not None or os.environ.get("S2S_PARTNERS_PLUGINS") in self.plugins
        if loads_it and "S2S_PARTNERS_PRELOAD" in os.environ:
            # A sanitizer's runtime must come first, and only into what loads the module.
            self.env["LD_PRELOAD"] = " ".join([os.environ["S2S_PARTNERS_PRELOAD"], *filter(None, [(env or {}).get("LD_PRELOAD")])])
        self.trust = trust or lab.certificates.trust
        self.under_test = under_test
        self.directory = lab.directory / name
        (self.directory / "certs").mkdir(parents=True)
        self.config_file = self.directory / "prosody.cfg.lua"
        self.log_file = self.directory / "prosody.log"
        self.process = None
        for user in users:
            self.add_user(user)
        if register:
            for domain in self.domains:
                lab.dns.server(domain, self.address, direct_tls_port=5270 if direct_tls else None)

    @property
    def domains(self):
        return [*self.hosts, *self.components]

    @property
    def version(self):
        """The series, "0.12" or "13": what differs between versions differs between those."""
        return self.installation.series

    # Configuration

    def config(self):
        preset = PRESETS[self.preset] if self.preset else {"modules": [], "options": []}
        modules, plugins = [*preset["modules"], *self.modules], [*self.plugins]
        options = "\n".join(preset["options"])
        if self.partners is not None:
            if not self.preset:
                modules.append("dialback")
                options = GATEKEEPER_OPTIONS
            modules.append("s2s_partners")
            plugins.insert(0, self.under_test or plugins_under_test())
            options += "\n" + self.partners
        text = _TEMPLATE.substitute(
            directory=self.directory, address=self.address, log_level=self.log_level,
            plugin_paths=_list([*plugins, PLUGINS]), modules=_list(modules),
            dns_address=self.lab.dns.address, dns_port=self.lab.dns.port,
            trust=self.trust, s2s_timeout=self.s2s_timeout,
            direct_tls=self._direct_tls(),
            options=f"{options}\n{self.options}")
        for host, more in self.hosts.items():
            text += f"\nVirtualHost {_quote(host)}\n{self._certificate(host)}{more}\n"
        for host, (module, more) in self.components.items():
            text += f"\nComponent {_quote(host)} {_quote(module)}\n{self._certificate(host)}{more}\n"
        return text

    def _leaf(self, host):
        leaf = self.certificates.get(host, "good")
        return self.lab.certificates.leaf(host, leaf) if isinstance(leaf, str) else leaf

    def _certificate(self, host):
        leaf = self._leaf(host)
        if leaf is None:
            return ""
        # By these names the direct TLS port finds them, for every host that is asked for.
        for suffix, path in (("crt", leaf.certificate), ("key", leaf.key)):
            link = self.directory / "certs" / f"{host}.{suffix}"
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        return f"ssl = {_ssl(leaf)}\n"

    def _direct_tls(self):
        if not self.direct_tls:
            return ""
        # For clients that do not name the host in the handshake: the first host's.
        leaf = self._leaf(self.domains[0])
        return f"s2s_direct_tls_ports = {{ 5270 }}\ns2s_direct_tls_ssl = {_ssl(leaf)}"

    def write_config(self):
        self.config_file.write_text(self.config())

    # Accounts and rosters, written as files: quick, and no process per user

    def add_user(self, jid):
        self._store(jid, "accounts", f"return {{ password = {_quote(PASSWORD)} }};\n")

    def set_roster(self, jid, items):
        """Writes the roster {contact: subscription, or option text in Lua}.

        To be done before the server has loaded it, that is before the user's first use."""
        lines = ["return {\n\t[false] = { version = 1; pending = {} };\n"]
        for contact, subscription in items.items():
            if subscription in ("none", "to", "from", "both"):
                subscription = f"subscription = {_quote(subscription)}; groups = {{}}"
            lines.append(f"\t[{_quote(contact)}] = {{ {subscription} }};\n")
        self._store(jid, "roster", "".join([*lines, "};\n"]))

    def roster(self, jid):
        """The roster file's text, "" if there is none."""
        path = self._store_path(jid, "roster")
        return path.read_text() if path.exists() else ""

    def _store_path(self, jid, store):
        user, _, host = jid.partition("@")
        return self.directory / "data" / _encode(host) / store / f"{_encode(user)}.dat"

    def _store(self, jid, store, text):
        path = self._store_path(jid, store)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    # Life

    def _command(self, program, *words):
        return ["lua5.4", self.installation.root / "usr/bin" / program, "--config", self.config_file, *words]

    def start(self, timeout=45):
        self.write_config()
        self.process = self.lab.spawn(self._command("prosody", "-F"), self.name, env=self.env)
        try:
            # Port 5269 comes last, and once: scenarios count what has come there since start().
            wait_until(lambda: not self.process.running or (
                (self.directory / "prosody.sock").exists() and answers(self.address, 5222, GREETING) and knock(self.address, 5269)),
                timeout, f"sign of life from {self.name}")
            if not self.process.running:
                raise RuntimeError(f"{self.name} ended at once")
        except (TimeoutError, RuntimeError) as problem:
            raise RuntimeError(f"{problem}\n{self.log_tail(15)}") from None
        return self

    def stop(self):
        """The exit status, negative for a signal."""
        return self.process.stop(15)    # Prosody itself waits 6 seconds for streams to end

    def kill(self):
        """With SIGKILL; what it has left behind that start() would take for a sign of life is removed."""
        self.process.stopped = True
        self.process.popen.kill()
        self.process.popen.wait(10)
        (self.directory / "prosody.sock").unlink(missing_ok=True)

    def restart(self):
        self.stop()
        return self.start()

    def reload(self, timeout=30):
        """Writes the configuration, reloads it, and waits until that has happened.

        COMPAT Prosody 0.12: without a signal, whose handler runs there between any two instructions and now and then damages what the server is
        busy with, such as its list of timers (see docs/operating.md). reload_under_load is about that."""
        self.write_config()
        mark = self.mark()
        by_signal = self.version != "0.12"
        if by_signal:
            self.process.signal(signal.SIGHUP)
            self.wait_log(r"Received SIGHUP", timeout, mark)
        # The module reads in a later turn than that of the signal. In which the shell may have been answered too, if the server was late.
        reads = "somebody reads" in self.shell(NEXT_TURN % ("" if by_signal else RELOAD))
        self.wait_log(r"The next turn has come", timeout, mark)
        has_begun = reads and self.log_level == "debug" and not re.search(UNREAD, self.log_since(mark))
        wait_until(lambda: self.has_committed(mark, has_begun), timeout, "commit")

    def has_committed(self, mark, has_begun=False):
        """Whether the module's last commit has ended, one way or another; true as well where none has begun, unless one certainly does."""
        _, begun, since = self.log_since(mark).rpartition("Reading the partner configuration")
        if not begun:
            return not has_begun
        return re.search(r"Partner configuration applied|The partner configuration (has|could not|is to be)", since)

    def ctl(self, *words, timeout=30):
        """prosodyctl WORDS: subprocess.CompletedProcess, output and errors in stdout."""
        return subprocess.run(list(map(str, self._command("prosodyctl", *words))), env=self.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=timeout)

    def shell(self, command, timeout=30):
        """What the administration shell prints for the command, failed or not."""
        return self.ctl("shell", command, timeout=timeout).stdout

    # Log

    def mark(self):
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def log_since(self, mark=0):
        if not self.log_file.exists():
            return ""
        with open(self.log_file, "rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def wait_log(self, pattern, timeout=PATIENCE, mark=0):
        """The match of the pattern in what is logged after the mark."""
        def search():
            log = self.log_since(mark)
            return re.search(pattern, log[:log.rfind("\n") + 1], re.MULTILINE)      # a line that is just being written comes next time
        return wait_until(search, max(timeout, PATIENCE), f"{pattern!r} in the log of {self.name}")

    def log_tail(self, lines=40):
        text = self.log_since()
        if self.process:
            text += self.process.log.read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def _quote(value):
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _ssl(leaf):
    return f"{{ certificate = {_quote(leaf.certificate)}; key = {_quote(leaf.key)} }}"


def _list(values):
    return ", ".join(map(_quote, values))


def _encode(name):
    """A file name as Prosody's internal storage makes it."""
    return "".join(c if c.isascii() and c.isalnum() else "".join(f"%{b:02x}" for b in c.encode())
                   for c in name)
