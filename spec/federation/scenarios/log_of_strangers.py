"""The log under strangers' hands, and what it keeps from the administrator."""

from lab.probe import Probe

from scenarios._edge import HOST, closed_somehow, configuration, edge_server, partner

FABRIKAM = "fabrikam.test"
GOOD = configuration(partner(FABRIKAM))


def setup(lab):
    lab.edge = edge_server(lab, GOOD).start()


# These hand every name on to the module. Later ones refuse by themselves, and without a line that has it, what is no domain at all.
TAKES_ANY_NAME = ("0.12.3", "13.0.1")


def refused_lines(lab, from_, by_core=False):
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_="evil.test", to=HOST) as probe:
        probe.send("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
                   f"version='1.0' to='{HOST}' from='{from_}'>")
        closed_somehow(probe)
    if by_core:
        assert probe.error.condition == "improper-addressing", probe.error
    lab.edge.wait_log("s2s stream .* closed" if by_core else "Refused stream", 5, mark)
    return lab.edge.log_since(mark)


def scenario_lines_in_a_name(lab):
    """A domain with line breaks and tabs in it makes one line, whose rest stands where it belongs."""
    by_core = lab.prosody.number not in TAKES_ANY_NAME
    log = refused_lines(lab, "evil&#10;Jan 01 00:00:00 mod_s2s_partners&#9;info&#9;Established stream from x", by_core)
    if by_core:
        assert "stablished" not in log, log
        return
    line = next(line for line in log.splitlines() if "\tRefused stream from evil" in line)
    assert "established stream from x" not in line and "unlisted-domain" in line, line
    assert "established?stream?from?x (host" in line, line


def scenario_endless_name(lab):
    by_core = lab.prosody.number not in TAKES_ANY_NAME
    log = refused_lines(lab, "e." * 450 + "test", by_core)
    if by_core:
        assert "e.e.e." not in log, log
        return
    line = next(line for line in log.splitlines() if "Refused stream from" in line)
    assert len(line) < 600, len(line)


def scenario_no_false_alarm(lab):
    """A stranger is refused with the module's own line; core has nothing to warn of."""
    assert "No stream features to offer" not in refused_lines(lab, "evil.test")


def scenario_missing_bundle(lab):
    """A CA file of the host that is not there: said by name, not left to be found out by every partner's refusal."""
    edge = edge_server(lab, GOOD, name="bundle", register=False, options='s2s_ssl = { cafile = "missing.pem" }').start()
    edge.wait_log(r"warn.*contoso.test: the trust store.*missing.pem")
    edge.shell("> 1")       # only then does it take signals
    edge.stop()


def scenario_unreadable_tls_options(lab):
    """When core cannot say what the host trusts, nothing else is trusted in its place."""
    edge = edge_server(lab, GOOD, name="options", register=False, options='s2s_ssl = { dhparam = "missing.pem" }').start()
    if lab.version == "0.12":
        edge.wait_log(r"error.*contoso.test: the trust store of this host cannot be read")
        edge.wait_log(r"none was in force before")
    edge.shell("> 1")
    edge.stop()
