"""The configuration of an ejabberd as the edge: what is told of errors, all at once, and that a reload with errors changes nothing."""

import contextlib
import json
import os
import re
from dataclasses import dataclass

from lab.client import Client
from lab.edge_ejabberd import EdgeEjabberd
from lab.lab import Skipped
from lab.probe import Probe
from lab.waiting import wait_until

from scenarios._edge import outbound_error, refused

HOST, ALICE = "contoso.test", "alice@contoso.test"
PARTNER, STRANGER = "fabrikam.test", "evil.test"
OPTION = "modules.mod_s2s_partners."
TIMEOUT = 60
GOOD = {"partners": [{"domain": PARTNER, "partner_type": "federated"}]}
REFUSED = "Invalid value of option modules->mod_s2s_partners->"


@dataclass
class Fixture:
    lab: object
    edge: EdgeEjabberd
    alice: Client


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("it is about the options of ejabberd's module")
    edge = EdgeEjabberd(lab, "edge", [HOST], users=[ALICE], partners="")
    edge.yaml = GOOD
    edge.start()
    return Fixture(lab, edge, Client(ALICE, edge.address))


def teardown(fixture):
    fixture.alice.close()


# What the server says

def warned(edge, since, words):
    """A warning with these words is logged; the server writes its log some time later."""
    def logged():
        return any("[warning]" in line and words in line for line in edge.log_file.read_text()[since:].splitlines())
    wait_until(logged, 20, f"warning: {words}")


def mark(edge):
    return len(edge.log_file.read_text())


def reloaded(edge, **options):
    """Reloads with these options of the module; the lines of the answer, [] when it was taken."""
    edge.yaml = options
    edge.reload()
    return [] if edge.answer == "ok" else edge.answer.splitlines()


def raw(edge, text):
    """The same of a file that is written as it is."""
    edge.config_file.write_text(text)
    answer = edge.evaluate('case ejabberd_admin:reload_config() of ok -> <<"ok">>; {error, Why} -> iolist_to_binary(Why) end')
    return [] if answer == "ok" else answer.splitlines()


def yaml_with(edge, partners):
    """The whole file, with `partners` as text."""
    edge.yaml = {"partners": ["HERE"]}
    return re.sub(r'\[\s*"HERE"\s*\]', lambda _: partners, json.dumps(edge.config()))


def errors(lines):
    """The errors alone: ejabberd's own words come first, the sum last."""
    assert lines and lines[0].startswith(REFUSED) and lines[-1].endswith("nothing has been changed"), lines
    number = len(lines) - 2
    assert lines[-1].startswith(f"{number} error"), lines
    return lines[1:-1]


def still_good(fixture):
    """The policy of before is in force."""
    listed = fixture.edge.command("s2s_partners_list", "")
    assert PARTNER in listed and "in force" not in listed.splitlines()[-1], listed
    assert outbound_error(fixture.alice, f"bob@{STRANGER}")[0] == "not-allowed"


@contextlib.contextmanager
def good_again(fixture):
    try:
        yield
    finally:
        assert reloaded(fixture.edge, **GOOD) == []


# Scenarios

def scenario_everything_is_told_at_once(fixture):
    """Of all options, those in files too, with the paths that an administrator finds."""
    lines = errors(reloaded(fixture.edge, partners=[
        {"domain": PARTNER, "partner_type": "federatd", "tls": "requird"}, {"domain": HOST, "partner_type": "federated"}],
        limits={"conections": 3}, default="allow", files=["nothere.yml", "nowhere.d/*.yml"], external_access={"default": "perhaps"}))
    assert lines == [
        f'{OPTION}files[1]: got "nothere.yml"; there is no such file; create it or remove its name',
        f'{OPTION}partners[1] ("{PARTNER}").partner_type: got "federatd"; must be "federated", "public_verified" or "public_unverified"; '
        'did you mean "federated"?',
        f'{OPTION}partners[1] ("{PARTNER}").tls: got "requird"; must be "required", "optional" or "not_supported"; did you mean "required"?',
        f'{OPTION}partners[2] ("{HOST}").domain: got "{HOST}"; this server serves the domain itself, so it cannot be a partner\'s; remove it',
        f'{OPTION}default: got "allow"; must be "refuse" or a mapping of settings for unlisted domains',
        f'{OPTION}limits.conections: got 3; unknown key; did you mean "connections"?',
        f'{OPTION}external_access.default: got "perhaps"; must be "allow" or "deny"'], "\n".join(lines)
    still_good(fixture)
    listed = " ".join(fixture.edge.command("s2s_partners_list", "").split())
    assert "The configuration on disk is NOT in force: 7 errors" in listed, listed
    assert fixture.edge.evaluate("maps:get(result, s2s_partners_guard:last_reload())") == "rejected"
    assert reloaded(fixture.edge, **GOOD) == []
    assert "on disk" not in fixture.edge.command("s2s_partners_list", "")


def scenario_words_of_yaml(fixture):
    """Words may be quoted; what is quoted is no boolean and no number. A key that comes twice is an error."""
    edge = fixture.edge
    with good_again(fixture):
        assert raw(edge, yaml_with(edge, f'[{{domain: {PARTNER}, "partner_type": "federated", tls: "required", sasl: required, dialback: false}}]')) == []
        lines = errors(raw(edge, yaml_with(
            edge, f'[{{domain: {PARTNER}, partner_type: federated, dialback: "true", keepalive: yes, connection_limit: "20"}}]')))
        assert lines == [f'{OPTION}partners[1] ("{PARTNER}").dialback: got "true" (a string); must be true or false, without quotes',
                         f'{OPTION}partners[1] ("{PARTNER}").keepalive: got "yes" (a string); must be true or false, without quotes',
                         f'{OPTION}partners[1] ("{PARTNER}").connection_limit: got "20" (a string); must be a whole number from 1 to 1000000000, without quotes'], \
            "\n".join(lines)
        lines = errors(raw(edge, yaml_with(edge, f'[{{domain: {PARTNER}, partner_type: federated, tls: required, tls: optional}}]')))
        assert len(lines) == 1 and lines[0].startswith(f'{OPTION}partners[1] ("{PARTNER}").tls: ') and "twice" in lines[0] or "second" in lines[0], lines
        lines = errors(raw(edge, yaml_with(edge, '[{domain: ~, partner_type: , tls: 1, description: [a, b]}]')))
        assert [line.split(": ")[0].removeprefix(f"{OPTION}partners[1]") for line in lines] == [".domain", ".partner_type", ".tls", ".description"] \
            or len(lines) == 4, lines
        lines = errors(raw(edge, yaml_with(edge, f"{{domain: {PARTNER}, partner_type: federated}}")))
        assert len(lines) == 1 and "one partner stands where" in lines[0], lines
        deep = "[" * 40 + "]" * 40
        assert errors(raw(edge, yaml_with(edge, deep)))
        still_good(fixture)


def scenario_idn_is_one_partner(fixture):
    with good_again(fixture):
        lines = errors(reloaded(fixture.edge, partners=[{"domain": "bücher.test", "partner_type": "federated"},
                                                        {"domain": "xn--bcher-kva.test", "partner_type": "federated"}]))
        assert len(lines) == 1 and "listed already" in lines[0], lines


def scenario_files(fixture):
    """partners.d/*.yml beside ejabberd.yml: sorted, read at each reload, and what cannot be read is named."""
    edge, folder = fixture.edge, fixture.edge.directory / "partners.d"
    folder.mkdir()
    with good_again(fixture):
        (folder / "b.yml").write_text("# those of Europe\n- domain: b.test\n  partner_type: federated\n- {domain: c.test, partner_type: federated}\n")
        (folder / "a.yml").write_text("- domain: a.test\n  partner_type: federated\n  dialback: no\n")
        (folder / ".hidden.yml").write_text("this is: no list\n")
        (folder / "notes.txt").write_text("nor is this\n")
        lines = errors(reloaded(edge, files=["partners.d/*.yml"], **GOOD))
        assert lines == ['partners.d/a.yml[1] ("a.test").dialback: got "no" (a string); must be true or false, without quotes'], lines
        (folder / "a.yml").write_text("- domain: a.test\n  partner_type: federated\n")
        os.symlink("b.yml", folder / "link-to-a-file.yml")
        lines = errors(reloaded(edge, files=["partners.d/*.yml"], **GOOD))
        assert len(lines) == 2 and all("listed already" in line and line.startswith("partners.d/link") for line in lines), lines
        (folder / "link-to-a-file.yml").unlink()
        assert reloaded(edge, files=["partners.d/*.yml", "partners.d/b.yml"], **GOOD) == []
        listed = edge.command("s2s_partners_list", "")
        assert [listed.index(f"{name}.test") for name in "abc"] == sorted(listed.index(f"{name}.test") for name in "abc"), listed
        # A file alone has changed: its content counts at the next reload.
        (folder / "a.yml").write_text("- domain: d.test\n  partner_type: federated\n")
        assert reloaded(edge, files=["partners.d/*.yml"], **GOOD) == []
        listed = edge.command("s2s_partners_list", "")
        assert "d.test" in listed and "a.test" not in listed, listed
        os.mkfifo(folder / "pipe.yml")
        (folder / "folder.yml").mkdir()
        os.symlink("gone.yml", folder / "link.yml")
        (folder / "broken.yml").write_text("- domain: e.test\n  partner_type: [\n- domain: f.test\n")
        (folder / "two.yml").write_text("- {domain: g.test, partner_type: federated}\n---\n- {domain: h.test, partner_type: federated}\n")
        (folder / "none.yml").write_text("# nothing yet\n")
        (folder / "latin.yml").write_bytes(b"- domain: \xe9.test\n")
        (folder / "mapping.yml").write_text("domain: i.test\npartner_type: federated\n")
        with open(folder / "large.yml", "wb") as large:
            large.truncate((64 << 20) + 1)
        lines = errors(reloaded(edge, files=["partners.d/*.yml"], **GOOD))
        told = {re.match(r"partners\.d/(\w+)\.yml", line)[1]: line for line in lines}
        assert set(told) == {"pipe", "link", "broken", "two", "none", "latin", "mapping", "large"}, lines
        assert "is not a file, or a link that leads to none" in told["pipe"] and "is not a file, or a link" in told["link"], lines
        assert re.search(r"broken\.yml:[23]: .*; correct the file$", told["broken"]), told["broken"]
        assert "several documents" in told["two"] and "holds nothing" in told["none"] and "not UTF-8" in told["latin"], lines
        assert "larger than 64 MiB" in told["large"] and "one partner stands where" in told["mapping"], lines
        still_good(fixture)


def scenario_long_files_in_pieces(fixture):
    """A long list is parsed some entries at a time: lines of errors, comments, and what is no list in block style stay right."""
    edge, file = fixture.edge, fixture.edge.directory / "long.yml"
    with good_again(fixture):
        entries = [f"- domain: p{number}.test\n  # a comment\n\n  partner_type: federated\n" for number in range(200)]
        file.write_text("# head\n" + "".join(entries))
        assert reloaded(edge, files=["long.yml"]) == []
        assert "200 partners" in edge.command("s2s_partners_list", "")
        broken = list(entries)
        broken[150] = "- domain: [\n  partner_type: federated\n"
        file.write_text("# head\n" + "".join(broken))
        line, = errors(reloaded(edge, files=["long.yml"]))
        number = int(re.match(r"long\.yml:(\d+): ", line)[1])
        assert 1 + 150 * 4 <= number <= 1 + 150 * 4 + 8, line
        broken[150] = "- domain: p7.test\n  partner_type: federated\n"
        file.write_text("".join(broken))
        line, = errors(reloaded(edge, files=["long.yml"]))
        assert line.startswith('long.yml[151] ("p7.test").domain: got "p7.test"; listed already') and "long.yml[8]" in line, line
        file.write_text("[" + ", ".join(f"{{domain: p{number}.test, partner_type: federated}}" for number in range(200)) + "]\n")
        assert reloaded(edge, files=["long.yml"]) == []
        file.write_text("".join(f"  - domain: p{number}.test\n    partner_type: federated\n" for number in range(200)))
        assert reloaded(edge, files=["long.yml"]) == []
        assert "200 partners" in edge.command("s2s_partners_list", "")


def scenario_users_in_a_file(fixture):
    edge, users = fixture.edge, fixture.edge.directory / "users.txt"
    with good_again(fixture):
        users.write_text("# who may not\nAlice   # the intern\n\nbob\n")
        assert reloaded(edge, external_access={"default": "allow", "users": "users.txt"}, **GOOD) == []
        text = edge.command("s2s_partners_explain", ALICE, f"bob@{PARTNER}", "message")
        assert "external-access-denied" in text, text
        users.write_text("alice@contoso.test\nbob\nBob\n")
        line, = errors(reloaded(edge, external_access={"default": "allow", "users": "users.txt"}, **GOOD))
        assert line == 'users.txt:1: got "alice@contoso.test"; must be the name of a local user, without "@" and domain', line
        line, = errors(reloaded(edge, external_access={"users": "nobody.txt"}, **GOOD))
        assert line.startswith(f'{OPTION}external_access.users: got "nobody.txt"; there is no such file'), line


def scenario_certificate_files(fixture):
    """Anchors, revocation lists and intermediates that cannot be read."""
    edge = fixture.edge
    (edge.directory / "no.pem").write_text("no certificate\n")
    with good_again(fixture):
        lines = errors(reloaded(edge, partners=[
            {"domain": PARTNER, "partner_type": "federated", "trust_anchors": "gone.pem", "crls": ["gone.crl", "gone/*.crl"]}],
            crls=["no.pem"], intermediates=["no.pem", 3]))
        text = "\n".join(lines)
        assert f'{OPTION}partners[1] ("{PARTNER}").trust_anchors: got "gone.pem"' in text, text
        assert f'{OPTION}partners[1] ("{PARTNER}").crls[1]: got "gone.crl"; there is no such file' in text, text
        assert f'{OPTION}crls[1]: got "no.pem"' in text and f'{OPTION}intermediates: got "no.pem"; holds no certificate' in text, text
        assert f'{OPTION}intermediates[2]: got 3 (a number); must be the path of a PEM file' in text, text


def scenario_options_of_ejabberd(fixture):
    """They can be stricter than an entry: named in the error where no method is left, else in a warning."""
    edge = fixture.edge
    tcp = {"domain": "tcp.test", "partner_type": "federated", "tls": "not_supported", "sasl": "not_supported", "dialback": True}
    both = {"domain": "both.test", "partner_type": "federated", "tls": "optional", "sasl": "optional", "dialback": True}
    with good_again(fixture):
        with options(edge, s2s_use_starttls="required"):
            line, = errors(reloaded(edge, partners=[tcp]))
            assert "s2s_use_starttls: required" in line and "set s2s_use_starttls: optional" in line, line
            since = mark(edge)
            assert reloaded(edge, partners=[both]) == []
            warned(edge, since, " s2s_use_starttls: got required; takes TCP dialback away from 1 partner")
        with options(edge, acl={"friends": {"server": PARTNER}}, access_rules={"few": [{"allow": "friends"}]}, s2s_access="few"):
            line, = errors(reloaded(edge, partners=[*GOOD["partners"], both]))
            assert line.startswith(f'{OPTION}partners[2] ("both.test")') and "s2s_access" in line and 'allow "both.test" in s2s_access' in line, line
            assert reloaded(edge, **GOOD) == []
        with options(edge, s2s_access="none"):
            line, = errors(reloaded(edge, **GOOD))
            assert "s2s_access" in line, line
        with modules(edge, mod_s2s_dialback=None):
            line, = errors(reloaded(edge, partners=[tcp]))
            assert "the missing mod_s2s_dialback" in line and "add mod_s2s_dialback to modules" in line, line
            since = mark(edge)
            assert reloaded(edge, partners=[both]) == []
            warned(edge, since, "without mod_s2s_dialback, only SASL is left to")
        with modules(edge, mod_s2s_dialback={"access": "none"}):
            line, = errors(reloaded(edge, partners=[tcp]))
            assert "modules.mod_s2s_dialback.access" in line, line
        with options(edge, shaper_rules={"max_s2s_connections": 5}):
            since = mark(edge)
            assert reloaded(edge, partners=[{**GOOD["partners"][0], "connection_limit": 2}]) == []
            warned(edge, since, " shaper_rules.max_s2s_connections: got 5; opens more streams than the limit of 2")


@contextlib.contextmanager
def options(edge, **more):
    plain = type(edge).config
    edge.config = lambda: {**plain(edge), **more}
    try:
        yield
    finally:
        del edge.config


@contextlib.contextmanager
def modules(edge, **more):
    plain = type(edge).config

    def config():
        whole = plain(edge)
        found = {**whole["modules"], **more}
        return {**whole, "modules": {name: value for name, value in found.items() if value is not None}}
    edge.config = config
    try:
        yield
    finally:
        del edge.config


def scenario_check_applies_nothing(fixture):
    """s2s_partners_check: what is on disk, as a reload would judge it; then whether the server is ready."""
    edge = fixture.edge
    with good_again(fixture):
        edge.yaml = {"partners": [{"domain": "new.test", "partner_type": "federated"}]}
        edge.write_config()
        said = edge.command("s2s_partners_check")
        assert edge.status == 0 and "1 partner on disk; checked, not applied." in said and "new.test" in said, said
        assert "Certificates of this server" in said and f"names {HOST}" in said and said.rstrip().splitlines()[-1].startswith("0 errors, "), said
        assert "new.test" not in edge.command("s2s_partners_list", "")
        edge.yaml = {"partners": [{"domain": "new.test", "partner_type": "federatd"}], "limits": {"conections": 1}}
        edge.write_config()
        said = edge.command("s2s_partners_check")
        assert edge.status == 1 and "did you mean \"federated\"?" in " ".join(said.split()) and "limits.conections" in said, said
        assert said.rstrip().splitlines()[-1].startswith("2 errors, "), said
        edge.config_file.write_text("hosts: [contoso.test\n")
        said = edge.command("s2s_partners_check")
        assert edge.status == 1 and "ejabberd says: " in said, said
        with options(edge, s2s_use_starttls="perhaps"):
            edge.yaml = GOOD
            edge.write_config()
            said = edge.command("s2s_partners_check")
            assert edge.status == 1 and "s2s_use_starttls" in said, said
        with modules(edge, mod_roster={"nonsense": 1}):
            edge.write_config()
            said = edge.command("s2s_partners_check")
            assert edge.status == 1 and "mod_roster" in said, said
        still_good(fixture)


def scenario_check_of_a_server_that_is_not_ready(fixture):
    edge = fixture.edge
    with good_again(fixture):
        with options(edge, listen=[entry for entry in edge.config()["listen"] if entry["module"] != "ejabberd_s2s_in"]):
            edge.yaml = GOOD
            edge.write_config()
            said = " ".join(edge.command("s2s_partners_check").split())
            assert edge.status == 0 and "there is no listener with module: ejabberd_s2s_in" in said, said


def scenario_hosts(fixture):
    """A host that a reload adds is guarded at once. One whose own modules lack the module refuses everything, and the log says so."""
    edge = fixture.edge
    plain = type(edge).config

    def config():
        whole = plain(edge)
        bare = {name: value for name, value in whole["modules"].items() if name != "mod_s2s_partners"}
        return {**whole, "hosts": [HOST, "second.test", "bare.test"], "host_config": {"bare.test": {"modules": bare}}}
    edge.config = config
    edge.yaml = GOOD
    since = mark(edge)
    try:
        edge.reload()
        assert edge.answer == "ok", edge.answer
        warned(edge, since, 'host_config."bare.test".modules: lacks mod_s2s_partners, so every stream')
        edge.evaluate('[ejabberd_auth:try_register(<<"dora">>, H, <<"secret">>) || H <- [<<"second.test">>, <<"bare.test">>]]')
        with Client("dora@second.test", edge.address, password="secret") as dora:
            assert outbound_error(dora, f"bob@{STRANGER}")[0] == "not-allowed"
        with Client("dora@bare.test", edge.address, password="secret") as dora:
            assert outbound_error(dora, f"bob@{PARTNER}")[0] == "internal-server-error"
        with Probe(edge.address, from_=STRANGER, to="second.test") as probe:
            probe.open()
            refused(probe, "unlisted-domain")
        with Probe(edge.address, from_=PARTNER, to="bare.test") as probe:
            probe.open()
            refused(probe, "config-invalid")
        lines = edge.command("s2s_partners_list", "bare.test")
        assert "no valid configuration is in force" in lines, lines
    finally:
        del edge.config
        assert reloaded(edge, **GOOD) == []
    assert "is not a virtual host" in " ".join(edge.command("s2s_partners_list", "second.test").split())


def scenario_stopped_and_started(fixture):
    """A module that is stopped while the server runs lets nothing through, until it is started again."""
    edge = fixture.edge
    assert reloaded(edge, **GOOD) == []
    edge._module("unload", HOST)
    try:
        assert outbound_error(fixture.alice, f"bob@{PARTNER}")[0] == "internal-server-error"
        with Probe(edge.address, from_=PARTNER, to=HOST) as probe:
            probe.open()
            refused(probe, "config-invalid")
    finally:
        edge._module("load", HOST)
    still_good(fixture)
    # A module that a reload takes away leaves the host guarded as well.
    with modules(edge, mod_s2s_partners=None):
        edge.reload()
        assert edge.answer == "ok", edge.answer
        assert outbound_error(fixture.alice, f"bob@{PARTNER}")[0] == "internal-server-error"
    assert reloaded(edge, **GOOD) == []
    still_good(fixture)
