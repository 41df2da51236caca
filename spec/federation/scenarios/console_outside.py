"""What check and test find of both services, _xmpp-server and _xmpps-server, and the view of another resolver."""

import re

from lab.dns import FaultyDns
from lab.prosody import Prosody

from scenarios._edge import HOST, configuration, edge_server, partner, tcp_dialback, tls_dialback

TIMEOUT = 90
DIRECT, PLAIN, OLD = "direct.test", "plain.test", "old.test"
PARTNERS = configuration(partner(DIRECT), tls_dialback(PLAIN), tcp_dialback(OLD), partner("nodirect.test"))
RESOLVER = "127.0.53.54@5353"


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, users=(), direct_tls=True).start()
    lab.direct = Prosody(lab, "direct", [DIRECT], preset="external", direct_tls=True).start()
    lab.plain = Prosody(lab, "plain", [PLAIN], preset="tls-dialback").start()
    # That server has no TLS; the record is there all the same.
    lab.old = Prosody(lab, "old", [OLD], preset="tcp-dialback", register=False).start()
    lab.dns.server(OLD, lab.old.address, direct_tls_port=5270)
    lab.faulty = FaultyDns(lab)


def words(text):
    return re.sub(r"\s+", " ", text.replace("\n| ", "\n"))


def shell(lab, command):
    return words(lab.edge.shell(command))


def scenario_test_over_direct_tls(lab):
    output = shell(lab, f'partners:test("{HOST}", "{DIRECT}")')
    assert re.search(rf"DNS [\d.]+ m?s SRV direct TLS {DIRECT}:5270 \(\S+\); then {DIRECT}:5269 \(\S+\)", output), output
    assert re.search(r"TCP [\d.]+ m?s connected to \S+ port 5270", output), output
    assert "the other server answers over TLS from the first byte" in output, output
    assert re.search(r"features [\d.]+ m?s over TLS it offers SASL EXTERNAL", output) and "works; " in output, output


def scenario_test_over_starttls(lab):
    """What is offered before TLS and over it."""
    output = shell(lab, f'partners:test("{HOST}", "{PLAIN}")')
    assert re.search(rf"DNS [\d.]+ m?s SRV {PLAIN}:5269", output) and "direct TLS" not in output, output
    assert re.search(r"stream [\d.]+ m?s the other server answers, and offers STARTTLS", output), output
    assert re.search(r"features [\d.]+ m?s over TLS it offers (?!SASL)[\w, ]*dialback", output) and "works; " in output, output


def scenario_test_without_tls(lab):
    """Where TLS may not be used there is no direct TLS either."""
    output = shell(lab, f'partners:test("{HOST}", "{OLD}")')
    assert "direct TLS" not in output and re.search(rf"DNS [\d.]+ m?s SRV {OLD}:5269", output), output
    assert re.search(r"the other server answers, and offers dialback", output) and "works; " in output, output
    assert "features" not in output, output


def scenario_check(lab):
    output = shell(lab, "partners:check()")
    assert f"ok {HOST}: SRV {HOST}:5269, which leads here" in output, output
    assert f"ok {HOST}: direct TLS {HOST}:5270, which leads here" in output, output
    assert f"ok {DIRECT}: SRV {DIRECT}:5269; direct TLS {DIRECT}:5270" in output, output
    output = shell(lab, f'partners:sheet("{DIRECT}")')
    assert "SRV _xmpp-server._tcp.contoso.test leads to contoso.test port 5269" in output, output
    assert "direct TLS _xmpps-server._tcp.contoso.test leads to contoso.test port 5270" in output and "5270 (direct TLS)" in output, output


def scenario_check_finds_what_is_wrong(lab):
    """A port of direct TLS that nobody is told of; records that lead to a port without it, and to no address."""
    owner = f"_xmpps-server._tcp.{HOST}."
    try:
        lab.dns.remove(HOST)
        lab.dns.server(HOST, lab.edge.address)
        output = shell(lab, "partners:check()")
        assert f"note {HOST}: this server listens for direct TLS on port 5270, and no _xmpps-server record says so" in output, output
        lab.dns.record(f"{owner} 0 IN SRV 0 0 5269 {HOST}.")
        output = shell(lab, "partners:check()")
        assert f"warning {HOST}: direct TLS {HOST}:5269, but this server listens on port 5270" in output, output
        lab.dns.remove(HOST)
        lab.dns.record(f"_xmpp-server._tcp.{HOST}. 0 IN SRV 0 0 5269 {HOST}.")
        lab.dns.record(f"{owner} 0 IN SRV 0 0 5270 nowhere.{HOST}.")
        lab.dns.record(f"{HOST}. 0 IN A {lab.edge.address}")
        output = shell(lab, "partners:check()")
        assert f"warning {HOST}: direct TLS nowhere.{HOST}:5270, which has no address" in output, output
        assert f"ok {HOST}: SRV {HOST}:5269, which leads here" in output, output
        lab.dns.remove(HOST)
        lab.dns.record(f"_xmpp-server._tcp.{HOST}. 0 IN SRV 0 0 0 .")
        lab.dns.server(HOST, lab.edge.address, direct_tls_port=5270, srv=False)
        output = shell(lab, "partners:check()")
        assert "_xmpp-server says that there is no such service; partners without direct TLS cannot find this server" in output, output
        assert f"ok {HOST}: direct TLS {HOST}:5270, which leads here" in output, output
    finally:
        lab.dns.remove(HOST)
        lab.dns.server(HOST, lab.edge.address, direct_tls_port=5270)


def check(lab, *options, status):
    ran = lab.edge.ctl("mod_s2s_partners", "check", *options)
    assert ran.returncode == status and "traceback" not in ran.stdout, ran.stdout
    return words(ran.stdout)


def scenario_resolver(lab):
    """The server's own resolver finds what the other does not, and the other way round."""
    output = check(lab, "--resolver", RESOLVER, status=0)
    assert f"How partners find this server, asked of {RESOLVER}" in output, output
    assert f"ok {HOST}: SRV {HOST}:5269, which leads here" in output, output
    assert f"ok {HOST}: direct TLS {HOST}:5270, which leads here" in output, output
    before = int(re.search(r"(\d+) warnings?", output)[1])
    try:
        lab.faulty.rules[HOST] = "nxdomain"
        lab.faulty.asked.clear()
        output = check(lab, f"--resolver={RESOLVER}", status=0)
        assert f"warning {HOST}: no SRV record, so {HOST}:5269, which has no address; partners cannot find this server" in output, output
        assert f"{before + 1} warning" in output, output
        assert "asked of" not in check(lab, status=0)
        check(lab, "--strict", "--resolver", RESOLVER, status=1)
    finally:
        lab.faulty.rules.clear()
    assert {f"_xmpp-server._tcp.{HOST}", f"_xmpps-server._tcp.{HOST}", HOST} <= set(lab.faulty.asked), lab.faulty.asked


def scenario_resolver_used_wrongly(lab):
    for options in (["--resolver"], ["--resolver", "dns.example"], ["--resolver="], ["--resolver", "127.0.0.1@0"], ["--resolver", "127.0.0.1@99999"],
                    ["--resolver", "1.2.3"], ["--resolver", "127.0.0.1@5353", "--resolver", "127.0.0.2"], ["--resolver", "127.0.0.1", "more"],
                    ["--resolver", "x" * 5000]):
        output = check(lab, *options, status=2)
        assert "Error: " in output and "Usage: " in output and "How partners find" not in output, output
