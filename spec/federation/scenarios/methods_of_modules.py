"""A method that a host's modules cannot do is no method there: told at commit, not shown as working, and refused where it is the last one.

contoso.test loads everything; unspoken.test has no dialback."""

import re

from lab.probe import Probe

from scenarios._edge import HOST, any_method, configuration, edge_server, partner, tls_dialback

BOTH, SASL = "both.test", "sasl.test"
UNSPOKEN = "unspoken.test"
LIST = configuration(partner(BOTH, sasl="optional", dialback=True), partner(SASL))
OFF = 'modules_disabled = { "dialback" }\n'


def setup(lab):
    lab.edge = edge_server(lab, LIST, hosts={HOST: "", UNSPOKEN: OFF}, options="s2s_require_encryption = true\ns2s_timeout = 90\n").start()
    lab.dns.server(BOTH, "127.0.200.1")
    return lab


def methods(text, domain):
    return re.search(rf"^{re.escape(domain)} .*$", text, re.MULTILINE)[0]


def scenario_is_told_and_not_shown(lab):
    text = " ".join(lab.edge.shell("partners:check()").split())
    assert f'VirtualHost or Component "{UNSPOKEN}": modules_enabled: without "dialback", only SASL is left to 1 partner ("{BOTH}")' in text, text
    assert text.count('without "dialback"') == 1, text
    assert "TLS dialback" in methods(lab.edge.shell(f'partners:list("{HOST}")'), BOTH)
    line = methods(lab.edge.shell(f'partners:list("{UNSPOKEN}")'), BOTH)
    assert "SASL" in line and "TLS dialback" not in line, line
    text = " ".join(lab.edge.shell(f'partners:explain("{BOTH}", "{UNSPOKEN}", "stream")').split())
    assert "(modules_enabled) leave of these: SASL" in text, text


def scenario_is_not_waited_for(lab):
    """A peer without a certificate could only take dialback: it hears at once that nothing is left."""
    with Probe(lab.edge.address, from_=BOTH, to=UNSPOKEN) as probe:
        probe.features()
        assert probe.starttls() is None
        probe.open()
        probe.read_close("not-authorized", "certificate-no-certificate")
    with Probe(lab.edge.address, from_=BOTH, to=HOST) as probe:
        features = probe.secure()
        assert "dialback" in str(features), features


def scenario_nothing_left_is_an_error(lab):
    """Nothing is applied, whichever of the modules it is."""
    cases = {
        "dialback": (tls_dialback("c.test"), 'leaves only TLS dialback, which the missing module "dialback" forbids; add "dialback" to modules_enabled'),
        "saslauth": (partner("c.test"), 'leaves only SASL over TLS, which the missing module "saslauth" forbids; add "saslauth" to modules_enabled'),
        "tls": (any_method("c.test"), 'needs TLS, which the missing module "tls" switches off; add "tls" to modules_enabled'),
    }
    keep = lab.edge.partners, dict(lab.edge.hosts)
    try:
        for module, (entry, expected) in cases.items():
            lab.edge.partners = configuration(entry)
            lab.edge.hosts = {HOST: "", UNSPOKEN: f'modules_disabled = {{ "{module}" }}\n'}
            lab.edge.write_config()
            ran = lab.edge.ctl("mod_s2s_partners", "check")
            assert ran.returncode == 1, ran.stdout
            assert f'VirtualHost or Component "{UNSPOKEN}": s2s_partners[1] ("c.test").tls: ' in ran.stdout and expected in ran.stdout, ran.stdout
            assert "1 error," in ran.stdout, ran.stdout
    finally:
        lab.edge.partners, lab.edge.hosts = keep
        lab.edge.write_config()


def scenario_trust_over_the_bare_network_is_warned_of(lab):
    options, keep = lab.edge.options, lab.edge.partners
    try:
        lab.edge.options = "s2s_require_encryption = false\ns2s_timeout = 90\n"
        lab.edge.partners = configuration(any_method("c.test"), any_method("d.test", partner_type="public_unverified"),
                                          partner("e.test", "*.co.uk"))
        lab.edge.write_config()
        text = lab.edge.ctl("mod_s2s_partners", "check").stdout
        assert text.count('("c.test").partner_type: got "federated"; is trusted, and TCP dialback is among its methods') == 1, text
        assert '("d.test").partner_type' not in text, text
        assert 'got "*.co.uk"; is over a public suffix' in text, text
        # What the host rules out is not among the methods.
        lab.edge.options = "s2s_require_encryption = true\ns2s_timeout = 90\n"
        lab.edge.write_config()
        assert "is trusted" not in lab.edge.ctl("mod_s2s_partners", "check").stdout
    finally:
        lab.edge.options, lab.edge.partners = options, keep
        lab.edge.write_config()
