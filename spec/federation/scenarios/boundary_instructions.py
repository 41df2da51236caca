"""prosodyctl mod_s2s_partners inside: what it prints is what the other programs take, and what they then do leads the inside to the edge."""

import re
import subprocess

from lab.client import Client
from lab.dns import Dns, lookup
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import ALICE, BOB, DIALBACK, HOST, ROOMS, Boundary
from ._edge import any_method, configuration

LONG = ".".join(["a" * 60] * 4)     # 243 bytes: too long for the names of its SRV records
PARTNERS = configuration(
    any_method("fabrikam.test", "corp.fabrikam.test", "b\u00fccher.test", presence_authorization="user"),
    any_method("trunk.test", "*.trunk.test", "*.eu.trunk.test", "*.example.test", presence_authorization="user"),
    any_method("x.trunk.test", LONG, presence_authorization="user"))
EDGE = "127.0.77.1"
NO_C2S = 'modules_disabled = { "c2s" }\n'
SERVICE, DIRECT = "_xmpp-server._tcp.", "_xmpps-server._tcp."
# Below a partner's wildcard, but ours.
OURS = "ours.example.test"


def setup(lab):
    lab.edge = Prosody(lab, "edge", {"edge.test": "", HOST: NO_C2S + DIALBACK % "127.0.77.9", OURS: NO_C2S + DIALBACK % "127.0.77.9"},
                       components={ROOMS: ("s2s_inside", DIALBACK % "127.0.77.9")}, register=False)
    configured(lab)
    # One that runs, with one server inside after the other.
    lab.relay = Boundary(lab, configuration(any_method("fabrikam.test", presence_authorization="user"),
                                            any_method("trunk.test", "*.trunk.test", presence_authorization="user")), domains=[], name="relay")
    lab.relay.edge.start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()
    lab.trunk = Prosody(lab, "trunk", ["x.trunk.test"], users=["dora@x.trunk.test"], preset="any").start()


def configured(lab, partners=PARTNERS, options=f's2s_inside_interfaces = {{ "{EDGE}" }}\n', host=None):
    lab.edge.partners, lab.edge.options = partners, options
    lab.edge.hosts[HOST] = NO_C2S + (host or DIALBACK % "127.0.77.9")
    lab.edge.write_config()     # never started


def printed(edge, word, *more, status=0):
    """What goes into the file, without what prosodyctl has to say of the lab's own configuration; and what is said beside it."""
    ran = subprocess.run(list(map(str, edge._command("prosodyctl", "mod_s2s_partners", "inside", word, *more))), env=edge.env,
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert ran.returncode == status, f"{word}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout), ran.stderr


def checked(*command):
    ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=20)
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout + ran.stderr


def leads_to_the_edge(address, port, at=5269):
    """What any view answers."""
    here = [EDGE]
    for name in ("fabrikam.test", "corp.fabrikam.test", "xn--bcher-kva.test", "x.trunk.test", "deep.er.eu.trunk.test", "trunk.test"):
        assert lookup(address, port, name, "A") == (0, here), name
        assert lookup(address, port, name, "AAAA")[1] == [], name
        assert lookup(address, port, DIRECT + name, "SRV")[1] == [], name
    assert lookup(address, port, LONG, "A") == (0, here)
    for name in ("fabrikam.test", "corp.fabrikam.test", "xn--bcher-kva.test"):
        assert lookup(address, port, SERVICE + name, "SRV") == (0, [f"0 0 {at} {name}"]), name
    # By the address alone, at port 5269, as RFC 6120 3.2.2 has it.
    for name in ("x.trunk.test", "deep.er.eu.trunk.test"):
        assert lookup(address, port, SERVICE + name, "SRV")[1] == [], name


def scenario_unbound(lab):
    text, _ = printed(lab.edge, "unbound")
    path = lab.directory / "inside.conf"
    path.write_text(text)
    checked("unbound-checkconf", path)
    view = Dns(lab, address="127.0.53.60", name="printed", more=text)
    leads_to_the_edge(view.address, view.port)
    # What is not a partner's is looked for as ever; here there is nothing.
    for name in ("stranger.test", "unlisted.fabrikam.test", OURS):
        assert lookup(view.address, view.port, name, "A")[1] == [], name


def scenario_dnsmasq(lab):
    text, _ = printed(lab.edge, "dnsmasq")
    path = lab.directory / "dnsmasq.conf"
    path.write_text(text)
    assert "syntax check OK" in checked("/usr/sbin/dnsmasq", "--test", "-C", path)
    for name in ("fabrikam.test", "x.trunk.test", OURS):        # the world outside
        lab.dns.server(name, "127.0.99.9", direct_tls_port=5270)
    mark = lab.dns.mark()
    address, port = "127.0.53.61", 5354
    lab.spawn(["/usr/sbin/dnsmasq", "--keep-in-foreground", "-C", path, "--user=root", "--pid-file=", f"--port={port}", "--bind-interfaces",
               f"--listen-address={address}", "--no-resolv", "--no-hosts", "--log-facility=-", f"--server={lab.dns.address}#{lab.dns.port}"], "dnsmasq")
    wait_until(lambda: answers(address, port), 10, "answer from dnsmasq")
    leads_to_the_edge(address, port)
    assert not lab.dns.asked("fabrikam.test", mark) and not lab.dns.asked("trunk.test", mark), lab.dns.queries(mark)
    assert "127.0.99.9" in lookup(address, port, OURS, "A")[1]
    assert lookup(address, port, "unlisted.fabrikam.test", "A") == (0, [EDGE])


def answers(address, port):
    try:
        return lookup(address, port, "fabrikam.test", "A", timeout=1)
    except OSError:
        return None


def scenario_another_port(lab):
    """Records give exact domains a port, and wildcards none: that is said, and nothing that would lead elsewhere is printed."""
    try:
        configured(lab, options=f's2s_inside_interfaces = {{ "{EDGE}"; "::1" }}\ns2s_inside_ports = {{ 5299 }}\n')
        text, said = printed(lab.edge, "unbound", status=1)
        assert "*.example.test and others" in said and "5299" in said, said
        assert "redirect" not in text and '"fabrikam.test. 60 IN AAAA ::1"' in text, text
        view = Dns(lab, address="127.0.53.62", name="port", more=text)
        assert lookup(view.address, view.port, SERVICE + "x.trunk.test", "SRV") == (0, ["0 0 5299 x.trunk.test"])
        assert lookup(view.address, view.port, "fabrikam.test", "AAAA") == (0, ["::1"])
        text, said = printed(lab.edge, "dnsmasq", status=1)
        assert "address=/fabrikam.test/::1" in text and f"srv-host={SERVICE}fabrikam.test,fabrikam.test,5299" in text, text
        assert "{fabrikam.test," + EDGE + ":5299}" in printed(lab.edge, "openfire")[0]
        assert "outgoing_s2s_port: 5299" in printed(lab.edge, "ejabberd")[0]
        # With 5269 as well there is no need for any of that.
        configured(lab, options=f's2s_inside_interfaces = {{ "{EDGE}" }}\ns2s_inside_ports = {{ 5299, 5269 }}\n')
        assert "redirect" in printed(lab.edge, "unbound")[0]
        configured(lab, options='s2s_inside_interfaces = { "::1" }\n')
        assert "cannot hold an IPv6 address" in printed(lab.edge, "openfire", status=1)[1]
        assert '"tcp://[::1]:5269"' in printed(lab.edge, "prosody")[0]
    finally:
        configured(lab)


def scenario_prosody(lab):
    text, _ = printed(lab.edge, "prosody")
    path = lab.directory / "inside.cfg.lua"
    path.write_text(text + "for name, target in pairs(s2sout_override) do print(name, target) end\n"
                    "print('s2s_secure_auth', s2s_secure_auth)\nprint('s2s_require_encryption', s2s_require_encryption)\n")
    lines = set(checked("lua5.4", path).splitlines())
    for name in ("fabrikam.test", "corp.fabrikam.test", "xn--bcher-kva.test", "b\u00fccher.test", "*.trunk.test", "*.eu.trunk.test", "x.trunk.test"):
        assert f"{name}\ttcp://{EDGE}:5269" in lines, (name, lines)
    assert "s2s_secure_auth\tfalse" in lines and "s2s_require_encryption\ttrue" in lines and not any(line.startswith("*\t") for line in lines), lines


def scenario_openfire(lab):
    """As DNSUtil of Openfire reads it: cut at braces, commas and colons, three at a time."""
    text, _ = printed(lab.edge, "openfire")
    value = text.splitlines()[-1]
    words = [word for word in re.split("[{},:]", value) if word]
    read = {words[i]: (words[i + 1], words[i + 2]) for i in range(0, len(words), 3)}
    assert set(read.values()) == {(EDGE, "5269")}, read
    assert set(read) == {"fabrikam.test", "corp.fabrikam.test", "xn--bcher-kva.test", "b\u00fccher.test", "*.trunk.test", "*.example.test", "trunk.test",
                         "x.trunk.test", LONG}, read


def scenario_certificate_request(lab):
    """Also before the certificate is there, which is when it is needed."""
    try:
        configured(lab, host=f's2s_inside = {{ server = "127.0.77.9"; trust_anchors = "{lab.certificates.trust}"; '
                   'certificate = { certificate = "none.crt"; key = "none.key" } }')
        text, said = printed(lab.edge, "san", HOST)
        assert "s2s_inside.certificate" in said and "does not depend on that" in said, said
        path = lab.directory / "inner.cnf"
        path.write_text(text)
        checked("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", lab.directory / "inner.key", "-out", lab.directory / "inner.csr",
                "-config", path)
        names = set(re.findall(r"DNS:([^,\s]+)", checked("openssl", "req", "-in", lab.directory / "inner.csr", "-noout", "-text")))
        assert names == {"fabrikam.test", "corp.fabrikam.test", "xn--bcher-kva.test", "trunk.test", "x.trunk.test", "*.trunk.test", "*.eu.trunk.test",
                         "*.example.test", LONG}, names
        text, _ = printed(lab.edge, "prosody", HOST)
        assert "s2s_secure_auth = true" in text, text
    finally:
        configured(lab)


def scenario_default_policy(lab):
    """Where nobody is unlisted: what can name all domains does, what cannot says so."""
    try:
        configured(lab, PARTNERS + 's2s_partners_default = { partner_type = "federated"; presence_authorization = "user"; sasl = "optional"; dialback = true }\n')
        assert "s2s_partners_default" in printed(lab.edge, "unbound", status=1)[1]
        assert "s2s_partners_default" in printed(lab.edge, "san", status=1)[1]
        assert f"{{*,{EDGE}:5269}}" in printed(lab.edge, "openfire")[0]
        assert f'["*"] = "tcp://{EDGE}:5269"' in printed(lab.edge, "prosody")[0]
    finally:
        configured(lab)


def scenario_errors(lab):
    _, said = printed(lab.edge, "bind", status=2)
    assert '"bind" is nothing that can be printed; inside takes unbound, dnsmasq' in said, said
    assert "is no relay host; they are conference.contoso.test, contoso.test" in printed(lab.edge, "san", "edge.test", status=2)[1]
    assert "takes one relay host" in printed(lab.edge, "san", HOST, ROOMS, status=2)[1]
    try:
        for interface, words in (("*", '"*" is no address that another server could be told'), ("0.0.0.0", "is every address"), ("::", "is every address"),
                                 ("fe80::1%lo", "is no address"), ("edge.corp.test", "is no address")):
            configured(lab, options=f's2s_inside_interfaces = {{ "{interface}" }}\n')
            text, said = printed(lab.edge, "unbound", status=1)
            assert words in said and text == "", (interface, text, said)
        configured(lab, options="")
        assert "s2s_inside_interfaces is needed" in printed(lab.edge, "san", status=1)[1]
        configured(lab, PARTNERS.replace('"federated"', '"federate"'))
        text, said = printed(lab.edge, "unbound", status=1)
        assert "did you mean" in said and "there is no list" in said and text == "", said
        lab.edge.hosts[HOST], components = "", lab.edge.components
        ours, lab.edge.hosts = lab.edge.hosts, {"edge.test": ""}
        lab.edge.components, lab.edge.partners, lab.edge.options = {}, PARTNERS, ""
        lab.edge.write_config()
        try:
            assert "there is no relay host" in printed(lab.edge, "unbound", status=1)[1]
        finally:
            lab.edge.hosts, lab.edge.components = ours, components
    finally:
        configured(lab)


def scenario_long_list(lab):
    """All of it, and a certificate for so many is not promised. That nothing is kept of it: spec/prosody/inside_command_spec.lua."""
    many = 5000
    (lab.edge.directory / "many.cfg.lua").write_text("return {\n" + "".join(
        f'{{ domain = "p{n}.many.test"; partner_type = "federated"; presence_authorization = "user" }};\n' for n in range(many)) + "}\n")
    try:
        configured(lab, 's2s_partners_files = { "many.cfg.lua" }\n')
        assert printed(lab.edge, "unbound")[0].count("IN SRV") == many
        assert "more than servers take" in printed(lab.edge, "san", status=1)[1]
    finally:
        configured(lab)


def both_ways(lab, inside):
    """The server inside asks an unbound that has what was printed, and nothing else about partners."""
    with Client(ALICE, inside.address) as alice, Client(BOB, lab.partner.address) as bob, Client("dora@x.trunk.test", lab.trunk.address) as dora:
        for contact, client in ((BOB, bob), ("dora@x.trunk.test", dora)):
            alice.send_message(contact, f"to {contact}")
            client.wait_message(f"to {contact}")
            client.send_message(ALICE, f"from {contact}")
            alice.wait_message(f"from {contact}")


def scenario_prosody_with_a_real_view(lab):
    lab.relay.view = Dns(lab, address="127.0.53.63", name="real", more=printed(lab.relay.edge, "unbound")[0])
    inside = lab.relay.prosody().start()
    both_ways(lab, inside)
    inside.stop()


def scenario_then_ejabberd_with_a_real_view(lab):
    """It does not start with an option that it does not know."""
    text, _ = printed(lab.relay.edge, "ejabberd")
    for line in ("s2s_use_starttls: required", "s2s_max_retry_delay: 10 ", "outgoing_s2s_families: [ipv4]", "modules:\n  mod_s2s_dialback: {}"):
        assert line in text, text
    path = lab.directory / "inside.yml"
    path.write_text(text)
    lab.relay.view = Dns(lab, address="127.0.53.64", name="real-ejabberd", more=printed(lab.relay.edge, "unbound")[0])
    inside = lab.relay.ejabberd(name="inside-ejabberd")
    inside.options = {"include_config_file": str(path), "s2s_max_retry_delay": None, **inside.options}
    inside.start()
    both_ways(lab, inside)
