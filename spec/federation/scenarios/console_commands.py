"""The commands of prosodyctl shell: show, explain, check, test, streams, help; and list and explain as ad-hoc commands."""

import re

from lab.client import Client
from lab.lab import Skipped
from lab.probe import Probe
from lab.prosody import Prosody
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, established, partner, tls_dialback

TIMEOUT = 90
FABRIKAM = "fabrikam.test"
BOB = f"bob@{FABRIKAM}"
PARTNERS = configuration(
    partner(FABRIKAM, "corp.fabrikam.test", "*.it.fabrikam.test", description="contract 2231\nask for Böb"),
    any_method("any.test", partner_type="public_verified"),
    tls_dialback("wingtip.test", partner_type="public_unverified"),
    partner("nowhere.test"), partner("closed.test"), partner("plain.test"), partner("wrong.test"), partner("sasl.test"),
    partner("silent.test"), partner("bye.test"), partner("last.test"), partner("proxied.test", proxy="127.0.77.1:5299"),
    s2s_partners_limits={"establishment_timeout": 6})


def setup(lab):
    lab.edge = edge_server(lab, PARTNERS, users=[ALICE, f"carol@{HOST}"], modules=["adhoc"],
                           options=f'admins = {{ "{ALICE}" }}\n').start()
    lab.fabrikam = Prosody(lab, "fabrikam", [FABRIKAM], users=[BOB], preset="any").start()


def words(text):
    return re.sub(r"\s+", " ", text.replace("\n| ", "\n"))


def verdict(output):
    """The line before the one that the shell itself adds; with how wide it all is."""
    lines = [line for line in output.splitlines() if line.strip()]
    assert all(len(line) <= 80 for line in lines[:-1]), output
    assert lines[-1].startswith("OK: "), output
    return lines[-2]


def explain(lab, from_, to, kind=None):
    kind = f', "{kind}"' if kind else ""
    return lab.edge.shell(f'partners:explain("{from_}", "{to}"{kind})')


def scenario_show(lab):
    mark = lab.edge.mark()
    leaf = lab.certificates.leaf(FABRIKAM)
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
        probe.authenticate()
        established(lab.edge, "from", FABRIKAM, mark)
        output = lab.edge.shell(f'partners:show("{FABRIKAM}")')
        assert leaf.pin in output and f"dns:{FABRIKAM} (matches)" in output, output
        assert re.search(r"in +fabrikam\.test +contoso\.test +SASL +TLSv1\.\d +valid", output), output
        assert re.search(r"contoso\.test +in +allow +none +[1-9]", output), output
        for row in (r"tls +required +s2s_partners\[1\]", r"keepalive +false +default\b", r"group_chat +allow +default of federated",
                    r"connection_limit +200 +s2s_partners\[1\]"):
            assert re.search(row, output), output
        assert all(len(line) <= 80 or "sha256//" in line for line in output.splitlines()), output
    output = words(lab.edge.shell('partners:show("a.b.it.fabrikam.test")'))
    assert "covered by its additional_domains (a wildcard)" in output, output
    assert "is not a partner" in lab.edge.shell('partners:show("evil.test")')
    assert "give the partner's domain" in lab.edge.shell("partners:show()")


def scenario_show_counts_refusals(lab):
    with Probe(lab.edge.address, from_="wingtip.test", to=HOST, leaf=lab.certificates.leaf("wingtip.test")) as probe:
        probe.open()
        probe.read_until("features")
        probe.send("<message from='x@wingtip.test' to='alice@contoso.test'/>")
        probe.read_close("not-authorized")
    output = lab.edge.shell('partners:show("wingtip.test")')
    assert re.search(r"contoso\.test +in +refuse +tls-required +1", output), output


def found(lab, word):
    """The partners that list shows for a word."""
    output = lab.edge.shell(f"partners:list({word})")
    return re.findall(r"^(?:\| )?(\S+\.test) +(?:federated|public_\w+) ", output, re.MULTILINE), words(output)


def scenario_list_searches(lab):
    for word, partners in (('"2231"', [FABRIKAM]), ('"BöB"', [FABRIKAM]), ('"BÖB"', []), ('"ask for B"', [FABRIKAM]), ('"CORP."', [FABRIKAM]),
                           ('"it.fabrikam"', [FABRIKAM]), ('"public_verified"', ["any.test"]), ('"wingtip"', ["wingtip.test"]), ('"."', None),
                           ('"%"', []), ('"[a"', [])):
        listed, output = found(lab, word)
        assert (len(listed) == 12 if partners is None else listed == partners), f"{word}: {output}"
        assert (f"{len(listed)} partner" in output) if listed else "not a host of this server, and no partner has it" in output, output
    listed, output = found(lab, '"2231"')
    assert "contract 2231 ask for Böb also corp.fabrikam.test" in output, output
    for word in ('""', '"  "', "1", "{}", "true", f'"{"x" * 300}"'):
        output = lab.edge.shell(f"partners:list({word})")
        assert re.search(r"Error: .*(must be a host of this server or a word|are enough for any domain)", words(output)) and len(output) < 400, output


def scenario_show_last_streams(lab):
    """Established and refused, each direction: when, where from, why, what was offered."""
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_="last.test", to=HOST, leaf=lab.certificates.leaf("last.test")) as probe:
        probe.authenticate()
        established(lab.edge, "from", "last.test", mark)
    with Probe(lab.edge.address, from_="last.test", to=HOST, leaf=lab.certificates.leaf("other.test")) as probe:
        probe.features()
        probe.starttls()
        probe.open()
        probe.read_close("not-authorized", "certificate-identity-mismatch")
    output = words(lab.edge.shell('partners:show("last.test")'))
    when = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.search(rf"in established {when}, 127\.0\.0\.1, host contoso\.test, last\.test: SASL; TLSv1\.\d, certificate valid", output), output
    assert re.search(rf"in refused {when}, 127\.0\.0\.1, host contoso\.test, last\.test: certificate-identity-mismatch: .*; TLSv1\.\d, certificate "
                     "identity-mismatch", output), output
    assert "out established none" in output and "out refused none" in output, output
    Remote(lab, ["last.test"], leaf=lab.certificates.leaf("last.test"), external="failure")
    lab.edge.shell(f'partners:test("{HOST}", "last.test")')
    output = words(lab.edge.shell('partners:show("last.test")'))
    assert re.search(rf"out refused {when}, \S+, host contoso\.test, last\.test: sasl-required: .*it offered STARTTLS.*; over TLS SASL EXTERNAL", output), output
    listed, _ = found(lab, '"sasl-required"')
    assert "last.test" in listed, listed
    lab.edge.shell(f'partners:test("{HOST}", "{FABRIKAM}")')
    output = words(lab.edge.shell(f'partners:show("{FABRIKAM}")'))
    assert re.search(rf"out established {when}, .*{FABRIKAM}: SASL; TLSv1.3, certificate valid; it offered STARTTLS.*; over TLS SASL EXTERNAL", output), output
    lab.edge.shell('module:reload("s2s_partners")')
    assert "sasl-required" in lab.edge.shell('partners:show("last.test")')


def scenario_last_streams_are_bounded(lab):
    """Who is not listed leaves nothing, however often."""
    for number in range(20):
        with Probe(lab.edge.address, from_=f"{'s' * 60}{number}.evil.test", to=HOST) as probe:
            probe.open()
            probe.read_close("policy-violation", "unlisted-domain")
    kept = lab.edge.shell("> (function () local n = 0; for name in pairs(prosody.s2s_partners_latch.recent) do n = n + 1; "
                          "if name:find('evil') or name == 'unlisted' then return 'bad' end end return n end)()")
    assert re.search(r"Result: \d+\b", kept) and int(re.search(r"\d+", kept)[0]) <= 12, kept


def scenario_sheet(lab):
    output = words(lab.edge.shell(f'partners:sheet("{FABRIKAM}")'))
    pin = lab.certificates.leaf(HOST).pin
    for told in ("Federation of contoso.test with fabrikam.test", "SRV _xmpp-server._tcp.contoso.test leads to contoso.test port 5269", f"pin {pin}",
                 "issued by CN=", "our server listens on port 5269", "fabrikam.test, corp.fabrikam.test, *.it.fabrikam.test", "TLS required",
                 "authentication SASL EXTERNAL over TLS: your server presents a certificate that names fabrikam.test", "at most 200 at a time"):
        assert told in output, f"{told}: {output}"
    assert str(lab.directory) not in output and "wingtip" not in output and "2231" not in output, output
    output = words(lab.edge.shell('partners:sheet("x.it.fabrikam.test")'))
    assert "a certificate that names x.it.fabrikam.test" in output, output
    output = words(lab.edge.shell('partners:sheet("wingtip.test")'))
    assert "authentication dialback (XEP-0220) over TLS" in output and "SASL" not in output, output
    assert "we connect to 127.0.77.1:5299, not to" in words(lab.edge.shell('partners:sheet("proxied.test")'))
    for arguments, told in (('"evil.test"', "is not a partner"), ("", "give the partner's domain"), ("1", "give the partner's domain"),
                            ('"a..b"', "give the partner's domain"), (f'"{FABRIKAM}", "nobody.test"', "is not a host of this server")):
        output = words(lab.edge.shell(f"partners:sheet({arguments})"))
        assert told in output and "Error: " in output and "Federation of" not in output, output


def scenario_explain_streams(lab):
    assert verdict(explain(lab, BOB, ALICE, "stream")) == "verdict: allow"
    assert verdict(explain(lab, ALICE, BOB, "stream")) == "verdict: allow"
    assert verdict(explain(lab, "eve@evil.test", ALICE, "stream")) == "verdict: refuse unlisted-domain"
    assert verdict(explain(lab, ALICE, "eve@evil.test")) == "verdict: refuse unlisted-domain"
    output = words(explain(lab, "x@deep.it.fabrikam.test", ALICE, "stream"))
    assert "covered by a wildcard" in output and "SASL EXTERNAL" in output, output
    assert "without TLS: refused, tls-required" in output, output


def scenario_explain_stanzas(lab):
    wing, anyone = "dave@wingtip.test", "erin@any.test"
    cases = [
        (BOB, ALICE, None, "allow"), (BOB, "nobody@contoso.test", "message", "refuse no-such-user"),
        (wing, ALICE, "message", "refuse not-listed"), (ALICE, wing, "iq-set", "refuse not-listed"),
        (ALICE, wing, "subscribe", "allow"), (ALICE, wing, "groupchat", "refuse group-chat-refused"),
        (anyone, ALICE, "subscribe", "allow, changed: subscription-authorised"),
        (ALICE, anyone, "presence", "allow, changed: status-note-removed"), (ALICE, BOB, "presence", "allow"),
        (ALICE, anyone, "probe", "allow"), (ALICE, anyone, "iq-result", "allow"),
    ]
    for from_, to, kind, wanted in cases:
        output = explain(lab, from_, to, kind)
        assert verdict(output) == f"verdict: {wanted}", f"{from_} {to} {kind}: {output}"


def scenario_explain_wrong_questions(lab):
    for command in ('partners:explain("x", "y")', "partners:explain()", "partners:explain(1, {})", f'partners:explain("{ALICE}", "carol@{HOST}")',
                    f'partners:explain("{BOB}", "{ALICE}", "whatever")'):
        output = lab.edge.shell(command)
        assert "Error: " in output and "Usage: " in output and "verdict" not in output, output


def scenario_explain_agrees_with_traffic(lab):
    """What explain says of an unlisted contact is what happens."""
    with Client(f"carol@{HOST}", lab.edge.address) as carol:
        condition, _, kind = carol.wait_error(carol.send_message("dave@wingtip.test"))
        assert (condition, kind) == ("subscription-required", "auth")
    assert verdict(explain(lab, f"carol@{HOST}", "dave@wingtip.test")) == "verdict: refuse not-listed"


def scenario_test_works(lab):
    output = lab.edge.shell(f'partners:test("{HOST}", "{FABRIKAM}")')
    for stage in ("DNS", "TCP", "stream", "TLS", "certificate", "method", "round trip"):
        assert re.search(rf"{stage} +[\d.]+ m?s  ", output), output
    assert "TLSv1.3" in output and "method" in output and "works; " in output, output


def scenario_test_beside_a_stream(lab):
    """Every test opens a stream of its own; the one that stands keeps its place, and nothing is left behind."""
    with Client(ALICE, lab.edge.address) as alice, Client(BOB, lab.fabrikam.address) as bob:
        alice.send_message(BOB, "before")
        bob.wait_message("before")
        mark = lab.edge.mark()
        for _ in range(3):
            output = lab.edge.shell(f'partners:test("{HOST}", "{FABRIKAM}")')
            assert "There is a stream already" in output and re.search(r"TLS +[\d.]+ m?s +TLSv1\.3", output), output
            assert "works; " in output, output
        wait_until(lambda: len(re.findall(rf"out +{re.escape(FABRIKAM)}", lab.edge.shell("partners:streams()"))) == 1, 20, "one stream")
        alice.send_message(BOB, "after")
        bob.wait_message("after")
        assert len(re.findall(rf"Established stream to {re.escape(FABRIKAM)}", lab.edge.log_since(mark))) == 3


def failing(lab, domain, stage, *told):
    output = words(lab.edge.shell(f'partners:test("{HOST}", "{domain}")'))
    assert f"failed at {stage}: " in output and "Likely remedy: " in output, output
    for text in told:
        assert text in output, output
    return output


def scenario_test_dns(lab):
    failing(lab, "nowhere.test", "DNS", "no SRV record", "proxy = ")


def scenario_test_tcp(lab):
    lab.dns.server("closed.test", "127.0.66.6")
    failing(lab, "closed.test", "TCP", "connection refused")


def scenario_test_proxy(lab):
    output = words(lab.edge.shell(f'partners:test("{HOST}", "proxied.test")'))
    assert 'not asked, the entry has proxy = "127.0.77.1:5299"' in output and "failed at TCP" in output, output


def scenario_test_tls(lab):
    Remote(lab, ["plain.test"])
    failing(lab, "plain.test", "TLS", "tls-required")


def scenario_test_certificate(lab):
    Remote(lab, ["wrong.test"], leaf=lab.certificates.leaf("other.test"))
    output = failing(lab, "wrong.test", "method", "certificate-identity-mismatch")
    assert re.search(r"certificate +[\d.]+ m?s +identity-mismatch", output), output


def scenario_test_method(lab):
    Remote(lab, ["sasl.test"], leaf=lab.certificates.leaf("sasl.test"), external="failure")
    failing(lab, "sasl.test", "method", "sasl-required")


def scenario_test_says_what_the_peer_says(lab):
    def leave(connection):
        connection.read_header()
        connection.answer_header()
        connection.send("<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                        "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>we have moved</text></stream:error></stream:stream>")
    Remote(lab, ["bye.test"], script=leave)
    failing(lab, "bye.test", "stream", "host-unknown", "we have moved")


def scenario_test_is_bounded(lab):
    Remote(lab, ["silent.test"], leaf=lab.certificates.leaf("silent.test"))     # answers no ping
    failing(lab, "silent.test", "round trip")


def scenario_test_never_unlisted(lab):
    Remote(lab, ["evil.test"])
    mark = lab.dns.mark()
    output = words(lab.edge.shell(f'partners:test("{HOST}", "evil.test")'))
    assert "unlisted-domain" in output and "may not be connected to" in output, output
    assert not lab.dns.asked("evil.test", mark)
    assert "not a host" in lab.edge.shell('partners:test("nobody.test", "fabrikam.test")')
    assert "give a host" in lab.edge.shell("partners:test()")


def scenario_check(lab):
    output = words(lab.edge.shell("partners:check()"))
    assert "SRV contoso.test:5269, which leads here" in output, output
    assert "names contoso.test, EC 256, expires" in output, output
    assert f"ok {FABRIKAM}: SRV {FABRIKAM}:5269" in output, output
    assert "nowhere.test: no SRV record, so nowhere.test:5269, which has no address" in output, output
    assert "0 errors" in output, output


def scenario_check_reads_the_disk(lab):
    """A bad file is found before it is loaded; nothing is applied; a reload then says so first."""
    good = lab.edge.partners
    lab.edge.partners = PARTNERS + 's2s_partners_default = "refuse all"\n'
    lab.edge.write_config()
    try:
        output = lab.edge.shell("partners:check()")
        assert "s2s_partners_default" in output and "Error: 1 error" in output, output
        for command in ("partners:list()", f'partners:show("{FABRIKAM}")', "partners:check()"):
            first = lab.edge.shell(command).splitlines()[0]
            assert "NOT in force: it has changed since it was read" in first, first
        lab.edge.shell('module:reload("s2s_partners")')
        assert "NOT in force" in lab.edge.shell("partners:list()").splitlines()[0]
        lab.edge.reload()
        for command in ("partners:list()", f'partners:show("{FABRIKAM}")', "partners:check()"):
            first = lab.edge.shell(command).splitlines()[0]
            assert "NOT in force: 1 error; the one before still is" in first, first
    finally:
        lab.edge.partners = good
        lab.edge.reload()
    assert "NOT in force" not in lab.edge.shell("partners:list()")


def scenario_a_changed_partner_file_is_noticed(lab):
    (lab.edge.directory / "partners.d").mkdir()
    more = lab.edge.directory / "partners.d" / "more.cfg.lua"
    more.write_text("return { { domain = 'more.test'; partner_type = 'federated' } }\n")
    good = lab.edge.partners
    lab.edge.partners = PARTNERS + 's2s_partners_files = { "partners.d/*.cfg.lua" }\n'
    try:
        lab.edge.reload()
        assert "more.test" in lab.edge.shell("partners:list()")
        assert "NOT in force" not in lab.edge.shell("partners:list()")
        more.write_text("return { { domain = 'other.test'; partner_type = 'public_verified' } }\n")
        output = lab.edge.shell("partners:list()")
        assert "NOT in force" in output.splitlines()[0] and "more.test" in output and "other.test" not in output, output
    finally:
        lab.edge.partners = good
        lab.edge.reload()


def scenario_check_own_certificate(lab):
    edge = edge_server(lab, configuration(partner(FABRIKAM)), name="careless", users=(), hosts=["careless.test", "bare.test"],
                       certificates={"careless.test": lab.certificates.leaf("other.test"), "bare.test": None}, register=False).start()
    output = words(edge.shell("partners:check()"))
    assert "does not name careless.test (it names dns:other.test)" in output, output
    assert re.search(r"bare\.test: no certificate is configured", output), output
    assert "careless.test: no SRV record, so careless.test:5269, which has no address" in output, output
    edge.stop()


def scenario_streams(lab):
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_="any.test", to=HOST, leaf=lab.certificates.leaf("any.test")) as probe:
        probe.authenticate()
        established(lab.edge, "from", "any.test", mark)
        output = lab.edge.shell("partners:streams()")
        assert re.search(r"in +any\.test +contoso\.test +SASL +TLSv1\.\d +valid +127\.", output), output
        assert re.search(r"OK: \d+ streams?, \d+ established", output), output


def scenario_help(lab):
    for command in ("partners:help()", "help partners"):
        output = lab.edge.shell(command)
        for name in ("list", "show", "explain", "check", "commit", "test", "streams", "sheet"):
            assert f"partners:{name}(" in output or f"partners {name} " in output, output
    assert "partners" in lab.edge.shell("help")


def scenario_commands_survive_a_module_reload(lab):
    lab.edge.shell('module:reload("s2s_partners")')
    assert "OK: " in lab.edge.shell("partners:list()")
    assert verdict(explain(lab, BOB, ALICE)) == "verdict: allow"


def scenario_command_line(lab):
    """Prosody 13 knows the commands of the shell on the command line as well, with an exit status."""
    if lab.version == "0.12":
        raise Skipped("Prosody 0.12 has them in the shell alone")
    ran = lab.edge.ctl("shell", "partners", "explain", BOB, ALICE, "stream")
    assert ran.returncode == 0 and "verdict: allow" in ran.stdout, ran.stdout
    ran = lab.edge.ctl("shell", "partners", "show", "evil.test")
    assert ran.returncode != 0, ran.stdout


COMMANDS = "http://jabber.org/protocol/commands"
FORM = "jabber:x:data"


def run_adhoc(client, name, inside="", session=None):
    session = f" sessionid='{session}'" if session else ""
    return client.iq(HOST, f"<command xmlns='{COMMANDS}' node='urn:x-s2s-partners:{name}'{session}>{inside}</command>", "set")


def text_of(answer):
    field = next(field for field in answer.find("command").find("x").children if field.get("var") == "text")
    return [value.text for value in field.children if value.name == "value"]


def scenario_adhoc(lab):
    with Client(ALICE, lab.edge.address) as alice:
        lines = text_of(run_adhoc(alice, "list"))
        assert any(line.startswith(FABRIKAM) for line in lines), lines
        session = run_adhoc(alice, "explain").find("command").get("sessionid")
        fields = "".join(f"<field var='{name}'><value>{value}</value></field>"
                         for name, value in (("from", "eve@evil.test"), ("to", ALICE), ("kind", "message")))
        lines = text_of(run_adhoc(alice, "explain", f"<x xmlns='{FORM}' type='submit'>{fields}</x>", session))
        assert lines[-1] == "verdict: refuse unlisted-domain", lines


def submit(client, name, fields):
    session = run_adhoc(client, name).find("command").get("sessionid")
    fields = "".join(f"<field var='{key}'><value>{value}</value></field>" for key, value in fields.items())
    return run_adhoc(client, name, f"<x xmlns='{FORM}' type='submit'>{fields}</x>", session)


def scenario_adhoc_shows_and_tests(lab):
    with Client(ALICE, lab.edge.address) as alice:
        text = words("\n".join(text_of(submit(alice, "show", {"domain": FABRIKAM}))))
        assert "tls required s2s_partners[1]" in text and "Last streams" in text, text
        text = words("\n".join(text_of(submit(alice, "test", {"local": HOST, "remote": FABRIKAM}))))
        assert re.search(r"round trip [\d.]+ m?s pong from fabrikam\.test .*contoso\.test -> fabrikam\.test works; ", text), text
        text = words("\n".join(text_of(submit(alice, "test", {"local": HOST, "remote": "nowhere.test"}))))
        assert "Error: contoso.test -> nowhere.test failed at DNS" in text and "Likely remedy" in text, text
        text = words("\n".join(text_of(run_adhoc(alice, "check"))))
        assert "SRV contoso.test:5269, which leads here" in text and "0 errors" in text, text
        mark = lab.edge.mark()
        with Probe(lab.edge.address, from_="any.test", to=HOST, leaf=lab.certificates.leaf("any.test")) as probe:
            probe.authenticate()
            established(lab.edge, "from", "any.test", mark)
            text = words("\n".join(text_of(run_adhoc(alice, "streams"))))
            assert "in any.test contoso.test SASL" in text, text
        for name, fields, told in (("show", {"domain": "evil.test"}, "is not a partner"), ("show", {}, "The field domain is needed"),
                                   ("show", {"domain": "a..b"}, "give the partner"), ("test", {"local": HOST}, "The field remote is needed"),
                                   ("test", {"local": "nobody.test", "remote": FABRIKAM}, "not a host"), ("explain", {"from": BOB}, "The field to is needed")):
            answer = str(submit(alice, name, fields))
            assert told in answer and "note" in answer, answer
        # The server goes on, and so does this session.
        assert any(line.startswith(FABRIKAM) for line in text_of(run_adhoc(alice, "list")))


def scenario_adhoc_is_for_administrators(lab):
    with Client(f"carol@{HOST}", lab.edge.address) as carol:
        for name in ("list", "explain", "show", "check", "test", "streams"):
            answer = run_adhoc(carol, name)
            assert answer.get("type") == "error" and answer.condition == "forbidden", answer
        items = carol.iq(HOST, f"<query xmlns='http://jabber.org/protocol/disco#items' node='{COMMANDS}'/>")
        assert "s2s-partners" not in str(items), items
