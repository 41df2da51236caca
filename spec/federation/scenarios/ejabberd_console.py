"""The console of an ejabberd that guards: the six commands, what mod_http_api gives, WebAdmin's pages and the metrics."""

import base64
import os
import re
import subprocess
import urllib.error
import urllib.request

from lab.client import Client
from lab.ejabberd import HTTP_PORT
from lab.lab import Skipped
from lab.paths import ROOT
from lab.probe import Probe
from lab.prosody import PASSWORD, Prosody
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, established, partner, tls_dialback

TIMEOUT = 90
PICTURES = os.environ.get("S2S_PARTNERS_PICTURES")      # a directory: what docs show is made on the way
FABRIKAM = "fabrikam.test"
BOB = f"bob@{FABRIKAM}"
PARTNERS = configuration(
    partner(FABRIKAM, "corp.fabrikam.test", "*.it.fabrikam.test", description="contract 2231\nask for Böb"),
    any_method("any.test", partner_type="public_verified"),
    tls_dialback("wingtip.test", partner_type="public_unverified"),
    partner("nowhere.test"), partner("proxied.test", proxy="127.0.77.1:5299"),
    s2s_partners_limits={"establishment_timeout": 6})


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("Prosody's console has scenarios of its own: console_commands")
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE], modules=["http_openmetrics"])
    lab.edge.web_admin = ALICE
    lab.edge.start()
    lab.fabrikam = Prosody(lab, "fabrikam", [FABRIKAM], users=[BOB], preset="any").start()


def narrow(output):
    """All of it in 80 columns but for pins, which stay in one piece."""
    assert all(len(line) <= 80 or "sha256//" in line for line in output.splitlines()), output
    return output


def words(text):
    return re.sub(r"\s+", " ", text)


def run(lab, name, *arguments, status=0):
    output = lab.edge.command(f"s2s_partners_{name}", *arguments)
    assert lab.edge.status == status, (lab.edge.status, output)
    if PICTURES:
        with open(f"{PICTURES}/console.txt", "a", encoding="utf-8") as transcript:
            given = " ".join(argument or '""' for argument in arguments)
            transcript.write(f"$ ejabberdctl s2s_partners_{name} {given}\n{output}\n")
    return narrow(output)


def scenario_list(lab):
    for host in ("", HOST):
        output = run(lab, "list", host)
        for row in (rf"{re.escape(FABRIKAM)} +federated +required/required/no +SASL\n", r"any\.test +public_verified +optional/optional/yes +SASL, TLS dialback,",
                    r"Domains not listed: refused", r"^5 partners$", r"contract 2231 ask for Böb", r"also corp\.fabrikam\.test, \*\.it\.fabrikam\.test"):
            assert re.search(row, output, re.MULTILINE), (row, output)
        assert re.search(r'warning: modules\.mod_s2s_partners\.partners\[2\] \("any\.test"\)\.tls:', words(output)), output
    assert "is not a virtual host" in run(lab, "list", "elsewhere.test", status=1)


def scenario_show(lab):
    mark = lab.edge.mark()
    leaf = lab.certificates.leaf(FABRIKAM)
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.authenticate()
        established(lab.edge, "from", FABRIKAM, mark)
        # The list of streams hears of it behind the log; what its certificate is it has heard before.
        output = wait_until(lambda: re.search(r"SASL +TLSv1", text := run(lab, "show", FABRIKAM)) and leaf.pin in text and text, 20, "the stream in show")
        for row in (r"in +fabrikam\.test +contoso\.test +SASL +TLSv1\.\d +valid", r"contoso\.test +in +allow +none +[1-9]", r"keepalive +false +default\b",
                    r"tls +required +partners\[1\]", r"group_chat +allow +default of federated", r"in +established +\d{4}-",
                    r"out +refused +none"):
            assert re.search(row, re.sub(r"\n {20,}\S+", "", output)) or re.search(row, words(output)), (row, output)
        assert f"dns:{FABRIKAM} (matches)" in output, output
        streams = run(lab, "streams")
        assert re.search(r"in +fabrikam\.test +contoso\.test +SASL", streams) and streams.rstrip().endswith("1 stream, 1 established"), streams
    assert "covered by its additional_domains (a wildcard)" in words(run(lab, "show", "x.it.fabrikam.test"))
    assert "is not a partner" in run(lab, "show", "evil.test", status=1)
    assert "is an IP address" in run(lab, "show", "192.0.2.1", status=1)


def scenario_explain(lab):
    carol = f"carol@{HOST}"
    rows = [(BOB, ALICE, "message", "verdict: allow"), (BOB, carol, "message", "verdict: refuse no-such-user"),
            (ALICE, "dave@wingtip.test", "message", "verdict: refuse not-listed"), ("eve@evil.test", ALICE, "", "verdict: refuse unlisted-domain"),
            (ALICE, "x@any.test", "presence", "verdict: allow, changed: status-note-removed"), (FABRIKAM, HOST, "stream", "verdict: allow"),
            (HOST, "wingtip.test", "iq-get", "verdict: refuse not-listed")]
    for from_, to, kind, verdict in rows:
        output = run(lab, "explain", from_, to, kind, status=1 if "refuse" in verdict else 0)
        assert output.strip().splitlines()[-1] == verdict, output
        assert "{" not in output, output
    output = run(lab, "explain", BOB, ALICE, "message")
    assert re.search(r"TLS +allow: .*certificate valid", words(output)) and "Result: established by SASL." in output, output
    for arguments in ((BOB, "bob@evil.test", "message"), (ALICE, ALICE, "message"), ("@", ALICE, "message"), (BOB, ALICE, "call")):
        run(lab, "explain", *arguments, status=1)


def scenario_check(lab):
    output = run(lab, "check")
    assert "5 partners" in output, output
    for missing in ("no max_stanza_size; an element of more than 524288 bytes", "no shaper;"):
        assert f"note listen: port 5269 (ejabberd_s2s_in) has {missing}" in words(output), output
    lab.edge.yaml = {"partners": [{"domain": "fabrikam.test", "tsl": "required"}]}
    lab.edge.write_config()
    try:
        output = words(run(lab, "check", status=1))
        assert 'partners[1] ("fabrikam.test").tsl' in output and 'did you mean tls' in output.replace('"', ""), output
        assert run(lab, "list", "").count("fabrikam.test") > 0      # what is in force is shown as before
        lab.edge.reload()
        assert run(lab, "list", "").startswith("The configuration on disk is NOT in force: "), "it was rejected"
    finally:
        lab.edge.yaml = {}
        lab.edge.reload()
    assert "NOT in force" not in run(lab, "list", "")


def scenario_test(lab):
    output = run(lab, "test", HOST, FABRIKAM)
    for row in (r"DNS +[\d.]+ m?s +SRV ", r"TCP +[\d.]+ m?s", r"TLS +[\d.]+ m?s +TLSv1\.3, TLS_[A-Z0-9_]+\n",
                r"certificate +[\d.]+ m?s +valid, expires", r"method +[\d.]+ m?s +SASL",
                r"round trip +[\d.]+ m?s +pong from fabrikam\.test", r"contoso\.test -> fabrikam\.test works; "):
        assert re.search(row, output), (row, output)
    output = run(lab, "test", HOST, "proxied.test", status=1)
    assert re.search(r"DNS +[\d.]+ m?s +not asked, the entry has proxy: 127\.0\.77\.1:5299", words(output)), output
    assert "failed at TCP" in output, output
    assert "failed at DNS" in run(lab, "test", HOST, "nowhere.test", status=1)
    assert "unlisted-domain" in run(lab, "test", HOST, "evil.test", status=1)
    assert "is not a virtual host" in run(lab, "test", "elsewhere.test", FABRIKAM, status=1)


def fetch(lab, path, user=None, method="GET"):
    """(status, text) over HTTP."""
    request = urllib.request.Request(f"http://{lab.edge.address}:{HTTP_PORT}{path}", method=method)
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode())
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode(errors="replace")


def scenario_http_api(lab):
    assert "5 partners" in lab.edge.api("s2s_partners_list", host="")
    assert lab.edge.api("s2s_partners_explain", **{"from": BOB, "to": ALICE, "kind": "message"}).endswith("verdict: allow")
    try:
        lab.edge.api("s2s_partners_show", domain="evil.test")
    except RuntimeError as problem:
        assert "is not a partner" in str(problem), problem
    else:
        raise AssertionError("a domain that is no partner was shown")


def scenario_metrics(lab):
    bob, alice = Client(BOB, lab.fabrikam.address), Client(ALICE, lab.edge.address)
    with bob, alice:
        bob.send_message(ALICE, "counted")
        alice.wait_message("counted")
    status, text = fetch(lab, "/metrics")
    assert status == 200 and text.endswith("# EOF\n"), text
    for row in (r'^s2s_partners_decisions_total\{host="contoso\.test",partner="fabrikam\.test",direction="in",decision="allow",reason="none"\} [1-9]',
                r'^s2s_partners_streams\{host="contoso\.test",partner="fabrikam\.test",direction="in",method="sasl"\} [1-9]',
                r'^s2s_partners_reloads_total\{result="applied"\} [1-9]', r'^s2s_partners_certificate_expiry\{partner="fabrikam\.test"\} \d{5}'):
        assert re.search(row, text, re.MULTILINE), (row, text)
    dashboard = set(re.findall(r"\|s2s_partners_\)(\w+)", (ROOT / "docs" / "grafana-dashboard.json").read_text()))
    assert len(dashboard) >= 5
    for name in dashboard - {"crl_expiry", "reloads_total"}:
        assert f"\ns2s_partners_{name}" in text, (name, text)
    assert fetch(lab, "/metrics", method="DELETE")[0] == 405
    assert fetch(lab, "/metrics/more")[0] == 404


def scenario_web_admin(lab):
    page = f"/admin/server/{HOST}/s2s-partners/"
    assert fetch(lab, page)[0] == 401
    status, text = fetch(lab, page, ALICE)
    assert status == 200 and "Federation partners" in text, (status, text)
    for part in (FABRIKAM, "public_unverified", "required / required / no", "Warnings", f"href='{FABRIKAM}/'"):
        assert part in text.replace('"', "'"), (part, text)
    status, text = fetch(lab, f"{page}{FABRIKAM}/", ALICE)
    assert status == 200 and "connection_limit" in text and "Live streams" in text, (status, text)
    status, text = fetch(lab, f"{page}%3Cscript%3Ealert(1)/", ALICE)
    assert status == 200 and "is not a partner" in text and "<script>alert" not in text, (status, text)
    assert "s2s-partners" in fetch(lab, f"/admin/server/{HOST}/", ALICE)[1]


def browse(lab, path, *arguments):
    """What a browser makes of a page of WebAdmin."""
    user, host = ALICE.split("@")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--window-size=1280,1000", "--virtual-time-budget=3000",
               f"--user-data-dir={lab.edge.directory}/browser", *arguments,
               f"http://{user}%40{host}:{PASSWORD}@{lab.edge.address}:{HTTP_PORT}{path}"]
    return subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=True, env={"HOME": str(lab.edge.directory), "PATH": "/usr/bin:/bin"}).stdout.decode()


def scenario_web_admin_in_a_browser(lab):
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.authenticate()
        established(lab.edge, "from", FABRIKAM, mark)
        for path, parts in ((f"/admin/server/{HOST}/s2s-partners/", (r">fabrikam\.test</a>", "Streams in / out", "public_unverified")),
                            (f"/admin/server/{HOST}/s2s-partners/{FABRIKAM}/", ("connection_limit", "Live streams", r"<td>SASL</td>", r"sha256//"))):
            page = browse(lab, path, "--dump-dom")
            for part in parts:
                assert re.search(part, page), (part, page)
            if PICTURES:
                browse(lab, path, f"--screenshot={PICTURES}/webadmin-{'partner' if FABRIKAM in path else 'partners'}.png")
