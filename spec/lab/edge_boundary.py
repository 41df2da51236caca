"""The edge in front of another server: every host of it is a relay host, and the users and rooms are on an unmodified Prosody or ejabberd inside.

It takes the place of lab.prosody.Prosody for scenarios that know of one server only: clients log in at the same address, where the server inside has its
client port, partners find the edge there, and what is asked of a shell or a log is asked of the edge. What has no counterpart raises Skipped."""

import re
import time

from .dns import Dns
from .edge_ejabberd import EdgeEjabberd
from .lab import Skipped
from .prosody import Prosody

# The defaults of two partner types are an error at a relay host (docs/boundary.md). A key that is written twice keeps its last value.
_BY_THE_USER = 'presence_authorization = "user"; '
_ENTRY = re.compile(r"(?<!" + re.escape(_BY_THE_USER) + r')(?:\["domain"\]|\["partner_type"\]|\b(?:domain|partner_type))\s*=\s*"')
_VIEW = 'unbound = {{ resolvconf = false; hoststxt = false; forward = "{0.address}@{0.port}"; options = {{ ["local-zone:"] = "test. transparent" }} }}\n'
_OF_USERS = {"smacks", "csi", "mam", "groups"}      # modules of the server that has the users


class _InsideEjabberd(EdgeEjabberd):
    """Without the module."""

    clients = None      # one more address for them

    def config(self):
        config = super().config()
        config["listen"].append({"ip": self.clients, "port": 5222, "module": "ejabberd_c2s"})
        return config


class EdgeBoundary(Prosody):
    """See lab.prosody.Prosody. `inside`: the server behind it, a Prosody or an EdgeEjabberd that has no module."""

    _count = 0

    def __init__(self, lab, name, hosts, components=None, users=(), partners=None, options="", modules=(), plugins=(), certificates=None, **more):
        if partners is None or more.get("preset") or more.get("under_test"):
            raise Skipped("an edge with files of its own")
        for module, _ in (components or {}).values():
            if module != "muc":
                raise Skipped(f"a component {module} of the edge's own")
        EdgeBoundary._count += 1
        self.inner_address, self.inside_address = lab.address(), lab.address()
        super().__init__(lab, name, hosts, components, (), partners=partners, options=options, plugins=plugins,
                         modules=[module for module in modules if module not in _OF_USERS], certificates=certificates, **more)
        self.view = Dns(lab, address=f"127.0.{54 + EdgeBoundary._count // 250}.{1 + EdgeBoundary._count % 250}", name=f"view-{name}")
        self.view.redirect(self.inner_address)
        self.rosters = {}
        common = {"components": self.components, "users": users, "register": False, "address": self.inside_address, "log_level": "info",
                  "modules": [module for module in modules if module in _OF_USERS], "s2s_timeout": 10}
        if lab.inside == "prosody":
            self.inside = Prosody(lab, f"{name}-in", list(self.hosts), preset="any", **common, options=_VIEW.format(self.view) +
                                  f'c2s_interfaces = {{ "{self.inside_address}", "{self.address}" }}\n')
        else:
            self.inside = _InsideEjabberd(lab, f"{name}-in", list(self.hosts), **common, options="s2s_require_encryption = true\n",
                                          certificates=dict.fromkeys(self.domains, "self-signed"))
            self.inside.dns, self.inside.clients = self.view, self.address

    # Configuration

    def config(self):
        """Its users are inside, so every host is a relay host."""
        hosts, components, partners, options = self.hosts, self.components, self.partners, self.options
        try:
            self.hosts = {host: f'modules_disabled = {{ "c2s" }}\n{self._inside(host)}{_by_the_user(text)}' for host, text in hosts.items()}
            self.components = {domain: ("s2s_inside", self._inside(domain)) for domain in components}
            self.partners = f'{_by_the_user(partners)}\ns2s_inside_interfaces = {{ "{self.inner_address}" }}\n'
            self.options = _by_the_user(options)
            return super().config()
        finally:
            self.hosts, self.components, self.partners, self.options = hosts, components, partners, options

    def _inside(self, domain):
        leaf = self.lab.certificates.leaf(domain, "good")
        return (f's2s_inside = {{ server = "{self.inside_address}:5269"; sasl = "not_supported"; dialback = true; '
                f'certificate = {{ certificate = "{leaf.certificate}"; key = "{leaf.key}" }} }}\n')

    def write_config(self):
        super().write_config()
        for path in self.directory.glob("**/*.cfg.lua"):
            if path != self.config_file and path.is_file() and path.stat().st_size < 1 << 20:
                text = path.read_text(errors="surrogateescape")
                if _by_the_user(text) != text:
                    path.write_text(_by_the_user(text), errors="surrogateescape")

    # Life

    @property
    def _is_inside_up(self):
        return self.inside.process is not None and self.inside.process.running

    def start(self, timeout=45):
        if not self._is_inside_up:
            self.inside.start()
        return super().start(timeout)

    def stop(self):
        status = super().stop()
        if self._is_inside_up:
            self.inside.stop()
        return status

    def restart(self):
        """Of the edge alone: what is behind it has not noticed."""
        super().stop()
        return super().start()

    def shell(self, command, timeout=30):
        """Sessions of users are inside."""
        return (self.inside.shell if command.startswith("c2s:") else super().shell)(command, timeout)

    def evaluate(self, text, timeout=30):
        """An Erlang expression, where the users are on an ejabberd."""
        return self.inside.evaluate(text, timeout)

    # Accounts and rosters: inside. The edge knows of contacts what it would have learned of them.

    def add_user(self, jid):
        self.inside.add_user(jid)

    def set_roster(self, jid, items):
        self.inside.set_roster(jid, items)
        known = self.rosters.setdefault(jid, {})
        for contact, item in items.items():
            local, _, domain = contact.rpartition("@")
            known[f"{local}@{_a_labels(domain)}"] = _learned(item)
        text = "".join(f'\t\t["{contact}"] = {{ {item}seen = {int(time.time())}; since = {int(time.time())} }};\n' for contact, item in known.items())
        self._store(jid, "s2s_partners_contacts", f"return {{\n\titems = {{\n{text}\t}};\n}};\n")

    def roster(self, jid):
        return self.inside.roster(jid)


def _by_the_user(text):
    return _ENTRY.sub(lambda found: _BY_THE_USER + found[0], text or "")


def _a_labels(domain):
    return domain if domain.isascii() else domain.encode("idna").decode()


def _learned(item):
    if item not in ("none", "to", "from", "both"):
        raise Skipped("a roster item as Prosody writes it, of which the edge would have learned something else")
    return {"none": "", "to": "to = true; ", "from": "from = true; ", "both": "to = true; from = true; "}[item]
