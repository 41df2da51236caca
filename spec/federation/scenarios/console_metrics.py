"""The metrics as mod_http_openmetrics shows them, and what is never logged."""

import pathlib
import re
import time
import urllib.request

from lab.client import Client
from lab.paths import FIXTURES
from lab.probe import Probe
from lab.prosody import Prosody
from lab.remote import Remote

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, established, partner, tls_dialback

TIMEOUT = 90
BOB, ERIN, DAVE = "bob@fabrikam.test", "erin@any.test", "dave@wingtip.test"
PARTNERS = configuration(partner("fabrikam.test", crls=["none-revoked.crl"]), any_method("any.test", partner_type="public_verified"),
                         tls_dialback("wingtip.test", partner_type="public_unverified"))
PREFIX = "prosody_mod_s2s_partners__"


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE], modules=["http_openmetrics"], options=f"""
statistics = "internal"
statistics_interval = "manual" -- with every request
http_ports = {{ 5280 }}
http_interfaces = {{ "127.0.0.1" }}
https_ports = {{}}
openmetrics_allow_ips = {{ "127.0.0.1" }}
""")
    (lab.edge.directory / "none-revoked.crl").write_bytes(lab.certificates.crl())
    lab.edge.start()
    lab.fabrikam = Prosody(lab, "fabrikam", ["fabrikam.test", "any.test"], users=[BOB, ERIN], preset="any").start()


def metrics():
    """{(family, (label=value, ...)): number} of the module's own families."""
    with urllib.request.urlopen("http://127.0.0.1:5280/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for name, labels, value in re.findall(rf"^{PREFIX}(\w+)(?:\{{(.*?)\}})? (\S+)$", text, re.MULTILINE):
        found[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(value)
    return found


def decisions(found, **labels):
    wanted = set(labels.items())
    return sum(value for (name, have), value in found.items() if name == "decisions_total" and wanted <= set(have))


def scenario_decisions(lab):
    before = metrics()
    with Client(ALICE, lab.edge.address) as alice, Client(BOB, lab.fabrikam.address) as bob:
        for number in range(5):
            alice.send_message(BOB, f"out {number}")
            bob.wait_message(f"out {number}")
            bob.send_message(ALICE, f"in {number}")
            alice.wait_message(f"in {number}")
        alice.wait_error(alice.send_message("eve@evil.test"))
        alice.wait_error(alice.send_message(DAVE))
        alice.presence(to=ERIN, status="a note")
    time.sleep(0.5)
    after = metrics()

    def more(**labels):
        return decisions(after, **labels) - decisions(before, **labels)
    for direction in ("in", "out"):
        assert more(host=HOST, partner="fabrikam.test", direction=direction, decision="allow", reason="none") >= 6, after
    assert more(partner="unlisted", direction="out", decision="refuse", reason="unlisted-domain") == 1, after
    assert more(partner="wingtip.test", direction="out", decision="refuse", reason="not-listed") == 1, after
    assert more(partner="any.test", direction="out", decision="change", reason="status-note-removed") >= 1, after


def scenario_streams_and_certificates(lab):
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_="any.test", to=HOST, leaf=lab.certificates.leaf("any.test")) as probe:
        probe.authenticate()
        established(lab.edge, "from", "any.test", mark)
        found = metrics()
        labels = (("direction", "in"), ("host", HOST), ("method", "sasl"), ("partner", "any.test"))
        assert found["streams", labels] >= 1, found
        left = found["certificate_expiry", (("partner", "any.test"),)]
        assert 29 * 86400 < left <= 30 * 86400, left


def scenario_reloads(lab):
    before = metrics()
    good = lab.edge.partners
    lab.edge.partners = PARTNERS + 's2s_partners_default = "perhaps"\n'
    lab.edge.reload()
    lab.edge.partners = good
    lab.edge.reload()
    after = metrics()
    for result in ("applied", "rejected"):
        key = ("reloads_total", (("result", result),))
        assert after[key] - before.get(key, 0) == 1, after


def scenario_module_reload_with_errors(lab):
    """The policy before stays in force, and so do the streams; the module that is new counts what goes over them."""
    good = lab.edge.partners
    with Client(ALICE, lab.edge.address) as alice, Client(BOB, lab.fabrikam.address) as bob:
        def talk(body):
            alice.send_message(BOB, f"out {body}")
            bob.wait_message(f"out {body}")
            bob.send_message(ALICE, f"in {body}")
            alice.wait_message(f"in {body}")
        talk("before")
        lab.edge.partners = PARTNERS + 's2s_partners_default = "perhaps"\n'
        lab.edge.reload()
        answer = lab.edge.shell('module:reload("s2s_partners")')
        assert "OK" in answer, answer
        before = metrics()
        talk("after")
        after = metrics()
    lab.edge.partners = good
    lab.edge.reload()
    for direction in ("in", "out"):
        labels = {"partner": "fabrikam.test", "direction": direction, "reason": "none"}
        assert decisions(after, **labels) - decisions(before, **labels) == 1, (direction, after)


def scenario_forgotten_partners(lab):
    """A partner that is no longer listed leaves no certificate behind that seems to expire."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_="any.test", to=HOST, leaf=lab.certificates.leaf("any.test")) as probe:
        probe.authenticate()
        established(lab.edge, "from", "any.test", mark)
    key = ("certificate_expiry", (("partner", "any.test"),))
    assert key in metrics()
    good = lab.edge.partners
    lab.edge.partners = configuration(partner("fabrikam.test"))
    lab.edge.reload()
    assert key not in metrics()
    lab.edge.partners = good
    lab.edge.reload()
    assert key not in metrics()
    lab.edge.shell('module:reload("s2s_partners")')
    assert re.search(r"contoso\.test +out +allow", lab.edge.shell('partners:show("fabrikam.test")'))


def scenario_strangers_cannot_grow_them(lab):
    metrics()
    for number in range(30):
        with Probe(lab.edge.address, from_=f"stranger{number}.test", to=HOST) as probe:
            probe.open()
            probe.read_close("policy-violation", "unlisted-domain")
    for number in range(5):
        with Probe(lab.edge.address, from_="fabrikam.test", to=f"nobody{number}.test") as probe:
            probe.open()
            probe.read_close()
    found = metrics()
    assert decisions(found, partner="unlisted", direction="in", reason="unlisted-domain") >= 30, found
    partners = {dict(labels).get("partner") for _, labels in found} - {None}
    assert partners <= {"fabrikam.test", "any.test", "wingtip.test", "unlisted"}, partners
    assert {dict(labels).get("host") for _, labels in found} - {None} == {HOST}, found


def scenario_dashboard_has_what_is_documented(lab):
    def names(page):
        return set(re.findall(rf"{PREFIX}(?:\|s2s_partners_\))?(\w+)", (FIXTURES.parent / "docs" / page).read_text()))
    with Probe(lab.edge.address, from_="fabrikam.test", to=HOST, leaf=lab.certificates.leaf("fabrikam.test")) as probe:
        probe.authenticate()
        assert {name.partition("_total")[0] for name in names("grafana-dashboard.json")} == \
            {name.partition("_total")[0] for name in names("metrics.md")}
        # Of relay hosts there are none here: boundary_console has those.
        shown = {name for name in names("grafana-dashboard.json") if not name.startswith("inside_")}
        assert shown <= {name for name, _ in metrics()}, metrics()


def scenario_no_body_and_no_note_is_logged(lab):
    """Whatever passes, is refused, or makes the peer fail: neither texts of users nor notes are in the module's lines."""
    body, note, peer = "Zanzibar body", "Zanzibar note", "Zanzibar peer"
    mark = lab.edge.mark()
    Remote(lab, ["wingtip.test"], leaf=lab.certificates.leaf("wingtip.test"))
    with Client(ALICE, lab.edge.address) as alice, Client(BOB, lab.fabrikam.address) as bob, Client(ERIN, lab.fabrikam.address) as erin:
        for to in (BOB, ERIN):
            alice.send_message(to, body)
            alice.presence(to=to, status=note)
        bob.wait_message(body)
        erin.wait_message(body)
        erin.send_message(ALICE, body)
        alice.wait_message(body)
        for to in (DAVE, "eve@evil.test"):
            alice.wait_error(alice.send_message(to, body))
            alice.presence(to=to, status=note)
        alice.subscribe(DAVE)
        with Probe(lab.edge.address, from_="any.test", to=HOST, leaf=lab.certificates.leaf("any.test")) as probe:
            probe.authenticate()
            probe.send(f"<message from='x@any.test' to='nobody@{HOST}'><body>{peer}</body></message>")
            probe.send(f"<presence from='x@any.test' to='{ALICE}' type='subscribe'><status>{peer}</status></presence>")
            probe.send(f"<message from='x@evil.test' to='{ALICE}'><body>{peer}</body></message>")
            probe.read_close("not-authorized")
    lab.edge.shell('partners:list()')
    lab.edge.shell(f'partners:explain("{ALICE}", "{ERIN}", "presence")')
    lines = [line for line in lab.edge.log_since(mark).splitlines() if "s2s_partners" in line]
    assert any("Refused a stanza" in line for line in lines) and any("Changed a stanza" in line for line in lines), lines
    assert not [line for line in lines if "Zanzibar" in line]


def scenario_sources_log_no_content(lab):
    """The module's own log calls are given no stanza, no child and no text of one."""
    lua = pathlib.Path(FIXTURES.parent / "lua")
    for path in lua.rglob("*.lua"):
        for call in re.findall(r"module:log(?:_status)?\((?:[^()]|\([^()]*\))*\)", path.read_text()):
            assert not re.search(r"get_text|get_child|tostring\(stanza|\bbody\b|top_tag|, stanza[,)]", call), f"{path.name}: {call}"
