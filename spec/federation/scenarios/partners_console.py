"""partners:list() in prosodyctl shell: the partners, their settings and their live streams."""

import re

from lab.client import Client
from lab.lab import Skipped
from lab.probe import Probe
from lab.remote import Remote

from scenarios._edge import (ALICE, HOST, any_method, configuration, edge_server, established, lua, partner, tcp_dialback,
                             tls_dialback)

FABRIKAM, OWN = "fabrikam.test", "tailspin.test"
PARTNERS = configuration(
    partner(FABRIKAM, "corp.fabrikam.test", "*.it.fabrikam.test", description="contract 2231"),
    any_method("any.test", partner_type="public_verified"), tls_dialback("wingtip.test", partner_type="public_unverified"),
    tcp_dialback("plain.test"))


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE],
                           hosts={HOST: "", OWN: f"s2s_partners = {lua([partner('northwind.test')])}"}).start()


def entry_of(output, domain):
    """The lines about one partner: its own, and those below it that are indented."""
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if re.search(rf"(^|\| ){re.escape(domain)}\s", line))
    rest = lines[start + 1:]
    more = next((number for number, line in enumerate(rest) if not re.match(r"(\| )?  ", line)), len(rest))
    return "\n".join(lines[start:start + 1 + more])


def words_of(text):
    """All of an entry's words, each column by itself: cells may be wrapped."""
    return re.sub(r"\s+", " ", text)


def shown(lab, domain, command="partners:list()"):
    return entry_of(lab.edge.shell(command), domain)


def scenario_settings(lab):
    output = lab.edge.shell("partners:list()")
    rows = {
        FABRIKAM: ("federated", "required/required/no", "SASL"),
        "any.test": ("public_verified", "optional/optional/yes", "SASL, TLS dialback,", "TCP dialback"),
        "wingtip.test": ("public_unverified", "required/", "TLS dialback", "not_supported/yes"),
        "plain.test": ("federated", "not_supported/", "TCP dialback", "not_supported/yes"),
    }
    for domain, words in rows.items():
        text = words_of(entry_of(output, domain))
        assert re.search(".*".join(words), text), text
    assert all(len(line) <= 80 for line in output.splitlines()), output
    assert "corp.fabrikam.test" in entry_of(output, FABRIKAM) and "*.it.fabrikam.test" in entry_of(output, FABRIKAM)
    assert "SASL needs TLS" in words_of(entry_of(output, "any.test"))     # its warning
    assert "NOT in force" not in output


def scenario_per_host(lab):
    output = lab.edge.shell(f'partners:list("{OWN}")')
    assert "northwind.test" in output and FABRIKAM not in output, output
    output = lab.edge.shell(f'partners:list("{HOST}")')
    assert "northwind.test" not in output and FABRIKAM in output, output
    assert "not a host" in lab.edge.shell('partners:list("nowhere.test")')


def scenario_live_streams(lab):
    mark = lab.edge.mark()
    Remote(lab, ["plain.test", "any.test"])
    remote = Remote(lab, [FABRIKAM], leaf=lab.certificates.leaf(FABRIKAM))
    with Client(ALICE, lab.edge.address) as alice, \
         Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as sasl, \
         Probe(lab.edge.address, from_="plain.test", to=HOST) as plain:
        sasl.authenticate()
        plain.features()
        assert plain.dialback() == "valid"
        alice.send_message(f"eve@{FABRIKAM}")
        remote.wait_element("message")
        for direction, domain in (("from", FABRIKAM), ("to", FABRIKAM), ("from", "plain.test")):
            established(lab.edge, direction, domain, mark)
        output = lab.edge.shell("partners:list()")
        assert re.search(r"in: 1 SASL.*out: 1 SASL", entry_of(output, FABRIKAM)), output
        assert re.search(r"in: 1 TCP dialback", entry_of(output, "plain.test")), output
        assert "streams in" not in entry_of(output, "wingtip.test")
    lab.edge.wait_log(rf"s2sin.*{re.escape(FABRIKAM)}.*(disconnected|closed)|s2s disconnected: {re.escape(FABRIKAM)}", 10, mark)
    assert "in: 1" not in shown(lab, FABRIKAM)


def scenario_command_line(lab):
    """Prosody 13 knows the commands of the shell on the command line as well."""
    if lab.version == "0.12":
        raise Skipped("Prosody 0.12 has them in the shell alone")
    ran = lab.edge.ctl("shell", "partners", "list", HOST)
    assert ran.returncode == 0 and FABRIKAM in ran.stdout, ran.stdout
    assert "partners" in lab.edge.ctl("shell", "help").stdout
