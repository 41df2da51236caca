"""Elements that lack something, or have too much.

Core's own handlers raise at some of them, so tracebacks are let through; the module's handlers are not to raise at any."""

import re

from lab.probe import Probe
from lab.remote import Remote
from lab.xmlstream import BIDI, SASL, TLS

from scenarios._edge import (HOST, closed_somehow, configuration, edge_server, established, partner,
                             tls_dialback)

TRACEBACKS = True
DOMAINS = ("fabrikam.test", "wingtip.test")

MALFORMED = [
    "<db:result xmlns:db='jabber:server:dialback'>key</db:result>",
    "<db:result xmlns:db='jabber:server:dialback' from='fabrikam.test'>key</db:result>",
    "<db:result xmlns:db='jabber:server:dialback' to='contoso.test'>key</db:result>",
    "<db:result xmlns:db='jabber:server:dialback' from='' to=''/>",
    "<db:result xmlns:db='jabber:server:dialback' from='wingtip.test' to='contoso.test'/>",
    "<db:verify xmlns:db='jabber:server:dialback'>key</db:verify>",
    "<db:verify xmlns:db='jabber:server:dialback' from='wingtip.test' to='contoso.test'>key</db:verify>",
    "<db:verify xmlns:db='jabber:server:dialback' from='wingtip.test' to='contoso.test' id=''/>",
    "<db:verify xmlns:db='jabber:server:dialback' from='wingtip.test' to='contoso.test' id='1' type='valid'/>",
    "<db:other xmlns:db='jabber:server:dialback' from='wingtip.test' to='contoso.test'/>",
    f"<auth xmlns='{SASL}'/>", f"<auth xmlns='{SASL}' mechanism='EXTERNAL'><x/></auth>", f"<response xmlns='{SASL}'/>",
    f"<abort xmlns='{SASL}'/>", f"<starttls xmlns='{TLS}' to=''/>", f"<starttls xmlns='{TLS}'><x/></starttls>",
    f"<bidi xmlns='{BIDI}' to=''/>", "<stream:error/>", "<stream:features/>",
    "<x xmlns=''/>", "<message/>", "<iq/>", "<presence/>",
    "<iq from='fabrikam.test' to='contoso.test' type='get'/>", "<message from='@' to='@'/>", "<message from='/' to='/'/>",
]


def setup(lab):
    lab.edge = edge_server(lab, configuration(partner(DOMAINS[0]), tls_dialback(DOMAINS[1]))).start()
    lab.remotes_of = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain), verify="invalid")
                      for domain in DOMAINS}


def probe_of(lab, domain):
    return Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain))


def nothing_came_of_it(lab, element, mark):
    log = lab.edge.log_since(mark)
    assert not re.search(r"Error while handling|mod_s2s_partners/", log), element
    if "'EXTERNAL'" not in element:
        assert "Established stream from" not in log, element
    for remote in lab.remotes_of.values():
        assert not remote.elements("message")


def before_authentication(secure):
    def scenario(lab):
        for domain in DOMAINS:
            for element in MALFORMED:
                mark = lab.edge.mark()
                with probe_of(lab, domain) as probe:
                    probe.secure() if secure else probe.features()
                    probe.send(element + "</stream:stream>")
                    closed_somehow(probe)
                nothing_came_of_it(lab, element, mark)
    return scenario


scenario_in_clear = before_authentication(False)
scenario_after_tls = before_authentication(True)


def scenario_after_authentication(lab):
    for element in MALFORMED:
        with probe_of(lab, DOMAINS[0]) as probe:
            mark = lab.edge.mark()
            probe.authenticate()
            established(lab.edge, "from", DOMAINS[0], mark)
            mark = lab.edge.mark()
            probe.send(element + "</stream:stream>")
            closed_somehow(probe)
        nothing_came_of_it(lab, element, mark)


def scenario_still_serving(lab):
    """After all that."""
    probe = probe_of(lab, DOMAINS[0])
    probe.authenticate()
    probe.close()
