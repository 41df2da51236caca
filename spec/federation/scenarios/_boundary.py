"""What the modules about relay hosts share: an edge with two sides, a server inside that knows nothing of partners, and its own view of DNS."""

import re

from lab.dns import Dns
from lab.ejabberd import Ejabberd
from lab.prosody import Prosody

HOST, ROOMS = "contoso.test", "conference.contoso.test"
ALICE, CAROL = f"alice@{HOST}", f"carol@{HOST}"
BOB = "bob@fabrikam.test"

DIALBACK = 's2s_inside = { server = "%s:5269"; sasl = "not_supported"; dialback = true }'

VIEW = """
unbound = {{ resolvconf = false; hoststxt = false; forward = "{address}@{port}"; options = {{ ["local-zone:"] = "test. transparent" }} }}
"""


def words(shown):
    """What the console has printed, without the line breaks that 80 columns make."""
    return re.sub(r"\s+", " ", shown)


class Boundary:
    """The edge and what is behind it. Partners' domains lead to the edge's inner address in `view`, the inner server's DNS."""

    def __init__(self, lab, partners, inside=None, domains=("fabrikam.test",), number=1, **more):
        self.lab = lab
        self.view = Dns(lab, address=f"127.0.53.{100 + number}", name=f"view{number}")
        self.inner_address, self.inside_address = lab.address(), lab.address()
        for domain in domains:
            self.partner(domain)
        options = inside or DIALBACK
        self.relay = options % self.inside_address if "%s" in options else options
        self.edge = Prosody(
            lab, more.pop("name", "edge"),
            {"edge.test": "", HOST: 'modules_disabled = { "c2s" }\n' + self.relay},
            components={ROOMS: ("s2s_inside", self.relay)},
            partners=partners + f'\ns2s_inside_interfaces = {{ "{self.inner_address}" }}\n', **more)

    def partner(self, domain):
        """The inner server finds it at the edge."""
        self.view.server(domain, self.inner_address)

    def prosody(self, preset="any", name="inside", options="", **more):
        """A Prosody inside, not started. It has the users and the rooms."""
        more.setdefault("users", [ALICE, CAROL])
        self.inside = Prosody(
            self.lab, name, [HOST], components={ROOMS: ("muc", "")}, preset=preset, register=False, address=self.inside_address,
            options=VIEW.format(address=self.view.address, port=self.view.port) + options, **more)
        return self.inside

    def ejabberd(self, preset="no-external", name="inside"):
        """An ejabberd inside, not started. It has the users and the rooms."""
        self.inside = Ejabberd(
            self.lab, name, {HOST: preset}, users=[ALICE, CAROL], register=False, address=self.inside_address, dns=self.view,
            options={"append_host_config": {HOST: {"modules": {"mod_muc": {"host": ROOMS}, "mod_version": {}, "mod_disco": {}}}}})
        return self.inside
