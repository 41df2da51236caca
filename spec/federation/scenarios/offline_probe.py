"""prosodyctl mod_s2s_partners probe: what it sees of other servers, the row it chooses, and that nothing that answers can hold it up."""

import re
import time

from lab.prosody import Prosody
from lab.remote import Remote

from scenarios._edge import HOST, configuration, edge_server, partner

TIMEOUT = 120
QUIET = "s2s_require_encryption = true\ns2s_timeout = 90\n"
PARTNERS = configuration(partner("listed.test"))


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, options=QUIET, register=False)
    lab.edge.write_config()     # never started


def probe(lab, domain, status, *more):
    ran = lab.edge.ctl("mod_s2s_partners", "probe", domain, *more, timeout=100)
    output = re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout)
    assert ran.returncode == status, f"{domain}: {ran.returncode}\n{output}"
    assert "stack traceback" not in output and "internal error" not in output, output
    return output


def fits(output):
    """{ row number: what is said of it }"""
    return {int(number): words.strip() for number, words in
            re.findall(r"^ *(\d+) +(?:required|optional|not_supported) +\S+ +(?:true|false) +(.*)$", output, re.MULTILINE)}


def entry(output):
    found = re.search(r'tls = "(\w+)"; sasl = "(\w+)"; dialback = (\w+);', output)
    return found.groups() if found else None


# A server of each preset: the row, its method, and what the entry says.
PRESETS = {
    "external": (2, "SASL", ("required", "required", "false")), "any-tls-required": (2, "SASL", ("required", "required", "false")),
    "any": (2, "SASL", ("required", "required", "false")), "external-tls-optional": (2, "SASL", ("required", "required", "false")),
    "tls-dialback": (13, "TLS dialback", ("required", "not_supported", "true")),
    "dialback-tls-optional": (13, "TLS dialback", ("required", "not_supported", "true")),
    "tcp-dialback": (17, "TCP dialback", ("not_supported", "not_supported", "true")),
}


def of_preset(preset):
    def scenario(lab):
        domain = f"{preset}.test"
        server = Prosody(lab, preset, [domain], preset=preset).start()
        row, method, settings = PRESETS[preset]
        output = probe(lab, domain, 0)
        assert f"Row {row} is the one to choose; streams are then authenticated by {method}." in " ".join(output.split()), output
        assert entry(output) == settings and len(fits(output)) == 11 and fits(output)[row] == method, output
        if method != "TCP dialback":
            assert "sha256//" in output and "(matches)" in output and "verdict     valid" in output, output
        else:
            assert "s2s_require_encryption = false" in output, output
        if method == "SASL":
            assert "accepted: authenticated by SASL EXTERNAL" in output, output
        # What was printed is an entry.
        lab.edge.partners = f"s2s_partners = {{\n{output[output.rindex('{ domain'):]} }}\n"
        try:
            lab.edge.write_config()
            checked = lab.edge.ctl("mod_s2s_partners", "check").stdout
            # Without TLS Prosody's own option is in the way, which is said.
            assert f"1 partner, {int(method == 'TCP dialback')} error" in checked, checked
        finally:
            lab.edge.partners = PARTNERS
            lab.edge.write_config()
        server.stop()
    return scenario


for preset in PRESETS:
    globals()[f"scenario_preset_{preset.replace('-', '_')}"] = of_preset(preset)


def scenario_own_certificate_refused(lab):
    Remote(lab, ["refuses.test"], leaf=lab.certificates.leaf("refuses.test"), external="failure")
    output = probe(lab, "refuses.test", 0)
    assert "refused: not-authorized" in output and "Our own certificate is refused" in output, output
    assert entry(output) == ("required", "not_supported", "true"), output


def scenario_certificates(lab):
    """Not valid: no SASL; with dialback there is still a row, without there is none."""
    Remote(lab, ["self.test"], leaf=lab.certificates.leaf("self.test", "self-signed"))
    output = probe(lab, "self.test", 0)
    assert re.search(r"verdict +untrusted", output) and "with its authority in trust_anchors" in " ".join(output.split()), output
    assert entry(output) == ("required", "not_supported", "true"), output
    Remote(lab, ["only.test"], leaf=lab.certificates.leaf("only.test", "self-signed"), offer=["external"])
    output = probe(lab, "only.test", 1)
    assert "None fits" in output and entry(output) is None and all(words.startswith("no: ") for words in fits(output).values()), output
    assert fits(output)[2] == "no: certificate-untrusted", output


def scenario_nothing_fits(lab):
    Remote(lab, ["mute.test"], leaf=lab.certificates.leaf("mute.test"), offer=[])
    output = probe(lab, "mute.test", 1)
    assert "None fits" in output and len(fits(output)) == 11, output
    Remote(lab, ["plain.test"], offer=["dialback"])
    output = probe(lab, "plain.test", 0)
    assert fits(output)[13].startswith("no: tls-required") and entry(output) == ("not_supported", "not_supported", "true"), output


def scenario_required_and_old(lab):
    Remote(lab, ["demands.test"], leaf=lab.certificates.leaf("demands.test"), tls="required", offer=["dialback"])
    output = probe(lab, "demands.test", 0)
    assert "STARTTLS required" in output and fits(output)[17].startswith("no: "), output
    Remote(lab, ["old.test"], version=None)
    output = probe(lab, "old.test", 0)
    assert "from before XMPP 1.0" in " ".join(output.split()) and entry(output) == ("not_supported", "not_supported", "true"), output


def scenario_cannot_be_found_or_reached(lab):
    output = probe(lab, "nowhere.test", 1)
    assert "cannot be found" in output, output
    lab.dns.server("closed.test", lab.address())
    output = probe(lab, "closed.test", 1)
    assert "TCP" in output and "failed" in output and "No address of closed.test answers" in output, output
    lab.dns.record("_xmpp-server._tcp.none.test. 0 IN SRV 0 0 0 .")
    output = probe(lab, "none.test", 1)
    assert "says that there is no such service" in output and "cannot be found" in output, output


def scenario_several_addresses(lab):
    """The row has to fit all that answer; what does not answer is said."""
    lab.dns.record("_xmpp-server._tcp.two.test. 0 IN SRV 0 0 5269 a.two.test.")
    lab.dns.record("_xmpp-server._tcp.two.test. 0 IN SRV 10 0 5269 b.two.test.")
    lab.dns.record("_xmpp-server._tcp.two.test. 0 IN SRV 20 0 5269 c.two.test.")
    one = Remote(lab, ["two.test"], leaf=lab.certificates.leaf("two.test"), register=False)
    other = Remote(lab, ["two.test"], leaf=lab.certificates.leaf("two.test"), offer=["dialback"], register=False)
    for name, address in (("a", one.address), ("b", other.address), ("c", lab.address())):
        lab.dns.record(f"{name}.two.test. 0 IN A {address}")
    output = probe(lab, "two.test", 0)
    assert one.address in output and other.address in output and "failed" in output, output
    assert fits(output)[2].startswith("no: ") and entry(output) == ("required", "not_supported", "true"), output


def scenario_direct_tls(lab):
    server = Prosody(lab, "direct", ["direct.test"], preset="external", direct_tls=True).start()
    output = probe(lab, "direct.test", 0)
    assert "TLS from the first byte" in output and output.count("accepted: authenticated") == 2, output
    server.stop()
    server = Prosody(lab, "direct2", ["direct2.test"], preset="external", direct_tls=True, register=False).start()
    lab.dns.record("_xmpps-server._tcp.direct2.test. 0 IN SRV 0 0 5270 direct2.test.")
    lab.dns.record(f"direct2.test. 0 IN A {server.address}")
    output = probe(lab, "direct2.test", 0)
    assert entry(output) == ("required", "required", "false") and "no: tls-not-supported" in output, output
    server.stop()


def scenario_what_the_entry_has(lab):
    """A listed domain's proxy and anchors are used."""
    leaf = lab.certificates.leaf("proxied.test", "untrusted-ca")
    remote = Remote(lab, ["proxied.test"], leaf=leaf, register=False)
    lab.edge.partners = configuration(partner("proxied.test", proxy=remote.address + ":5269",
                                              trust_anchors=str(lab.certificates.issuer("other").certificate)))
    try:
        lab.edge.write_config()
        mark = lab.dns.mark()
        output = probe(lab, "proxied.test", 0)
        assert "It is listed: s2s_partners[1]" in output and "has proxy" in output and re.search(r"verdict +valid", output), output
        assert not lab.dns.asked("proxied.test", mark)
    finally:
        lab.edge.partners = PARTNERS
        lab.edge.write_config()


HOSTILE = {
    "endless": lambda connection: [connection.send("<x/>" * 4000) for _ in range(10000)],
    "large": lambda connection: [connection.send("<stream:features>" + "<a>x</a>" * 20000), time.sleep(30)],
    "deep": lambda connection: [connection.send("<stream:features>" + "<a>" * 20000), time.sleep(30)],
    "many": lambda connection: [connection.send("<stream:features>" + "<a/>" * 3000 + "</stream:features>"), time.sleep(30)],
    "noxml": lambda connection: [connection.send("\0\xff HTTP/1.1 400 no\r\n\r\n"), time.sleep(30)],
    "text": lambda connection: [connection.send("<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text "
                                                "xmlns='urn:ietf:params:xml:ns:xmpp-streams'>one\ntwo\x1b[31m" + "y" * 3000
                                                + "</text></stream:error>".replace("\x1b", "")), time.sleep(5)],
    "proceed": lambda connection: [connection.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" * 3), time.sleep(30)],
    "twice": lambda connection: [connection.send_features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
                                 connection.send_features("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), time.sleep(30)],
    "silent": lambda connection: time.sleep(60),
}


def hostile(name):
    def scenario(lab):
        def script(connection):
            connection.read_header()
            connection.answer_header()
            HOSTILE[name](connection)
        Remote(lab, [f"{name}.test"], script=script)
        started = time.monotonic()
        output = probe(lab, f"{name}.test", 1)
        assert time.monotonic() - started < 40, output
        assert "failed" in output and len(output) < 6000, output
        assert "\x1b" not in output and all(len(line) < 700 for line in output.splitlines()), output
    return scenario


for name in HOSTILE:
    globals()[f"scenario_hostile_{name}"] = hostile(name)


def scenario_wrong_usage(lab):
    for told, *words in (("takes one domain",), ("takes one domain", "a.test", "b.test"), ("is not a host of this server", "a.test", "--local", "b.test"),
                         ("has no value", "a.test", "--local"), ("unknown option", "a.test", "--fast"), ("is a host of this server", HOST),
                         ("is an IP address", "127.0.0.1")):
        ran = lab.edge.ctl("mod_s2s_partners", "probe", *words)
        assert ran.returncode == 2 and told in ran.stdout, ran.stdout
