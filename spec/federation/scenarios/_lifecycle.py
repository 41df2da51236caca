"""What the modules about starting, reloading and unloading share: configurations, the scene, what shows that the guard is there."""

import itertools
import re

from lab.remote import Remote
from lab.waiting import wait_until

from scenarios import _scene
from scenarios._edge import configuration, outbound_error, partner, refused

FABRIKAM, NORTHWIND = "fabrikam.test", "northwind.test"
GOOD = configuration(partner(FABRIKAM), partner(NORTHWIND))
WITHOUT_FABRIKAM = configuration(partner(NORTHWIND))
BAD = configuration(partner(FABRIKAM, tls="requried"), partner(NORTHWIND))
NOT_APPLIED = r"partner configuration has errors and was not applied|Configuration reload aborted"   # ejabberd's own words
NAMES = (f"lone{number}" for number in itertools.count())


def remote_for(lab, domains, **more):
    """The only server for the domains: what an earlier scenario said about them is forgotten."""
    for domain in domains:
        lab.dns.remove(domain)
    return Remote(lab, domains, leaf=lab.certificates.leaf(domains[0], also=domains[1:]), **more)


class Scene(_scene.Scene):
    def assert_all_refused(self, reason, domain=FABRIKAM):
        with self.probe(domain) as probe:
            probe.open()
            refused(probe, reason)
        mark = self.lab.dns.mark()
        condition, text, kind = outbound_error(self.alice, f"bob@{domain}")
        assert (condition, kind) == ("internal-server-error", "wait") and text, (condition, kind, text)
        assert not self.lab.dns.asked(domain, mark)


def still_guarded(scene):
    with scene.probe("evil.test") as evil:
        evil.open()
        refused(evil, "unlisted-domain")


def first_line(edge):
    """Of what partners:list() prints."""
    return next(line for line in edge.shell("partners:list()").splitlines() if line.strip())


def remote_error(remote, condition, text):
    """The stream error that the edge has sent on one of the remote's connections."""
    def search():
        return [connection.error for connection in remote.connections if connection.error is not None]
    try:
        error = wait_until(search, 20, "stream error at the remote")[-1]
    except TimeoutError:
        raise AssertionError([connection.seen for connection in remote.connections]) from None
    assert error.condition == condition and re.search(text, error.error_text), error


def assert_listed(scene, domain, listed=True):
    with scene.probe(domain) as probe:
        probe.open()
        if listed:
            probe.read_until("features")
        else:
            refused(probe, "unlisted-domain")


def module_command(scene, command):
    mark = scene.edge.mark()
    print_out = scene.edge.shell(f'module:{command}("s2s_partners")')
    return mark, print_out
