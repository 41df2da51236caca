"""Start and reload: which policy is in force, and what becomes of live streams.

Each scenario has an edge of its own; partners are probes (in) and scripted remotes (out)."""

import re
import signal

from scenarios._edge import HOST, any_method, configuration, lua, outbound_error, partner, refused, tls_dialback
from scenarios._lifecycle import (BAD, FABRIKAM, GOOD, NORTHWIND, NOT_APPLIED, WITHOUT_FABRIKAM, Scene, assert_listed,
                                  first_line, remote_error, remote_for)

TIMEOUT = 60

# Start and reload

def scenario_start_with_errors(lab):
    with Scene(lab, BAD) as scene:
        scene.edge.wait_log(r"error.*tls.*requried.*did you mean \"?required")
        scene.assert_all_refused("config-invalid")
        scene.assert_all_refused("config-invalid", NORTHWIND)
        assert "not in force" in first_line(scene.edge).lower()
        scene.reload(GOOD)
        with scene.authenticated() as probe:
            scene.send_in(probe, FABRIKAM)
        assert "not in force" not in scene.edge.shell("partners:list()").lower()


def scenario_start_with_errors_of_one_host(lab):
    """A configuration with any error is not applied: not for the other hosts either."""
    hosts = {HOST: "", "second.test": f"s2s_partners = {lua([partner(FABRIKAM, tls='requried')])}"}
    with Scene(lab, GOOD, hosts=hosts) as scene:
        scene.assert_all_refused("config-invalid")
        with scene.probe(to="second.test") as probe:
            probe.open()
            refused(probe, "config-invalid")
        scene.edge.hosts["second.test"] = ""
        scene.edge.reload()
        scene.authenticated(to="second.test").close()


def scenario_reload_to_errors_of_one_host(lab):
    with Scene(lab, GOOD, hosts={HOST: "", "second.test": ""}) as scene, scene.authenticated(to="second.test") as probe:
        scene.edge.hosts["second.test"] = f"s2s_partners = {lua([partner(FABRIKAM, tls='requried')])}"
        mark = scene.reload(WITHOUT_FABRIKAM)
        scene.edge.wait_log(NOT_APPLIED, 5, mark)
        scene.send_in(probe, FABRIKAM)
        scene.authenticated().close()


def scenario_start_without_any_list(lab):
    """No option at all: nobody is listed."""
    with Scene(lab, "") as scene:
        with scene.probe() as probe:
            probe.open()
            assert "(unlisted-domain)" in probe.read_close("policy-violation").error_text
        assert outbound_error(scene.alice, f"bob@{FABRIKAM}")[0] == "not-allowed"


def scenario_all_errors_are_reported(lab):
    entries = [partner(FABRIKAM, tls="requried"), partner(NORTHWIND, partner_typ="federated"), partner(FABRIKAM),
               partner("a..b"), partner("192.0.2.1")]
    with Scene(lab, configuration(*entries)) as scene:
        for pattern in (r"requried", r"partner_typ\b.*partner_type", r"fabrikam\.test.*(twice|already|before|also)",
                        r"a\.\.b", r"192\.0\.2\.1"):
            scene.edge.wait_log(rf"error.*{pattern}", 3)


def scenario_reload_to_errors(lab):
    """The old policy stays, live streams too, and the log and the console say so until it is corrected."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        remote = scene.connected("northwind.test")
        mark = scene.reload(BAD)
        scene.edge.wait_log(NOT_APPLIED, 5, mark)
        scene.edge.wait_log(r"error.*requried", 5, mark)
        scene.send_in(probe, FABRIKAM)
        scene.send_out(remote, NORTHWIND)
        assert len(remote.connections) == 1
        with scene.authenticated(NORTHWIND):
            pass
        with scene.probe("evil.test") as evil:
            evil.open()
            refused(evil, "unlisted-domain")
        assert "not in force" in first_line(scene.edge).lower()
        mark = scene.reload(GOOD)
        assert "not in force" not in scene.edge.shell("partners:list()").lower()
        scene.send_in(probe, FABRIKAM)
        assert not re.search(NOT_APPLIED, scene.edge.log_since(mark))


def scenario_reload_with_a_broken_file(lab):
    """The configuration file itself cannot be read as Lua: Prosody keeps what it has, and so does the module."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        scene.edge.partners = GOOD + "\n this is = not Lua ="
        scene.edge.write_config()
        mark = scene.edge.mark()
        if scene.edge.host == "prosody":
            scene.edge.process.signal(signal.SIGHUP)
            scene.edge.wait_log("Received SIGHUP", 5, mark)
        else:
            scene.edge.reload()
            assert scene.edge.answer != "ok"
        scene.send_in(probe, FABRIKAM)


def scenario_reload_without_a_partner(lab):
    """Its streams are closed, both directions, and nobody else's."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays:
        remote_gone, remote_stays = scene.connected(FABRIKAM), scene.connected(NORTHWIND)
        mark = scene.reload(WITHOUT_FABRIKAM)
        refused(gone, "policy-changed")
        remote_error(remote_gone, "policy-violation", r"\(policy-changed\)")
        scene.edge.wait_log(rf"Refused stream from {FABRIKAM} .*: policy-changed: ", 5, mark)
        scene.edge.wait_log(rf"Refused stream to {FABRIKAM} .*: policy-changed: ", 5, mark)
        scene.send_in(stays, NORTHWIND)
        scene.send_out(remote_stays, NORTHWIND)
        assert len(remote_stays.connections) == 1
        with scene.probe() as probe:
            probe.open()
            refused(probe, "unlisted-domain")
        assert outbound_error(scene.alice, f"bob@{FABRIKAM}")[0] == "not-allowed"


def scenario_reload_during_a_reload(lab):
    """A configuration is read in several turns of the loop: the one that was changed meanwhile never comes into force."""
    later = (' require"util.timer".add_task(0, function () os.rename("%s", "%s"); prosody.reload_config() end)')
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        next_file = scene.edge.directory / "next.cfg.lua"
        scene.edge.partners = configuration(partner(FABRIKAM), partner("later.test"))
        next_file.write_text(scene.edge.config())
        scene.edge.partners = WITHOUT_FABRIKAM
        scene.edge.write_config()
        mark = scene.edge.mark()
        scene.edge.shell("> (function () prosody.reload_config()" + later % (next_file, scene.edge.config_file) + " end)()")
        scene.edge.wait_log("Partner configuration applied", 5, mark)
        assert "The partner configuration is to be read again" in scene.edge.log_since(mark), scene.edge.log_since(mark)
        scene.send_in(probe, FABRIKAM)      # never judged by what was there for a moment
        assert_listed(scene, "later.test")
        assert_listed(scene, NORTHWIND, False)
        assert len(re.findall("Partner configuration applied", scene.edge.log_since(mark))) == 1


def scenario_reload_with_other_words(lab):
    """A change that does not concern the method leaves the stream alone."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        scene.reload(configuration(any_method(FABRIKAM, description="as before", connection_limit=3)))
        scene.send_in(probe, FABRIKAM)


def scenario_reload_takes_sasl_away(lab):
    with Scene(lab, GOOD) as scene, scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays:
        remote = scene.connected(FABRIKAM)
        scene.reload(configuration(tls_dialback(FABRIKAM), any_method(NORTHWIND)))
        refused(gone, "policy-changed")
        remote_error(remote, "policy-violation", r"\(policy-changed\)")
        scene.send_in(stays, NORTHWIND)


def scenario_reload_takes_dialback_away(lab):
    with Scene(lab, configuration(any_method(FABRIKAM), any_method(NORTHWIND))) as scene:
        remote = remote_for(lab, [FABRIKAM, NORTHWIND], offer=["dialback"])
        with scene.probe() as plain, scene.probe(NORTHWIND) as tls:
            plain.features()
            assert plain.dialback() == "valid"
            tls.secure()
            assert tls.dialback() == "valid"
            scene.send_in(plain, FABRIKAM)
            scene.send_in(tls, NORTHWIND)
            scene.reload(configuration(tls_dialback(FABRIKAM), tls_dialback(NORTHWIND)))
            refused(plain, "policy-changed")
            scene.send_in(tls, NORTHWIND)
            scene.reload(GOOD)
            refused(tls, "policy-changed")
        assert not remote.failures


def scenario_reload_in_mid_handshake(lab):
    """A stream that has not got to the end is judged anew as well (attack 35)."""
    with Scene(lab, GOOD, s2s_timeout=60) as scene, scene.probe() as early, scene.probe() as late, scene.probe(NORTHWIND) as stays:
        early.features()
        late.secure()
        stays.secure()
        scene.reload(WITHOUT_FABRIKAM)
        refused(early, "policy-changed")
        refused(late, "policy-changed")
        assert stays.external().name == "success"


def scenario_reload_with_stanzas_queued(lab):
    """What waits for a partner that has been removed is returned, never sent."""
    with Scene(lab, GOOD, s2s_timeout=60) as scene:
        remote = remote_for(lab, [FABRIKAM], external="ignore")
        id_ = scene.alice.send_message(f"bob@{FABRIKAM}", "queued")
        remote.wait_element("auth")
        scene.reload(WITHOUT_FABRIKAM)
        condition, text, kind = scene.alice.wait_error(id_)
        assert (condition, kind) == ("not-allowed", "cancel") and text, (condition, kind, text)
        assert not remote.elements("message")


def scenario_reload_of_the_default(lab):
    """A policy for unlisted domains, given and taken away."""
    default = {"partner_type": "federated", "tls": "required", "sasl": "required", "dialback": False}
    with Scene(lab, GOOD) as scene:
        assert_listed(scene, "stranger.test", False)
        scene.reload(configuration(partner(FABRIKAM), s2s_partners_default=default))
        with scene.authenticated("stranger.test") as stranger, scene.authenticated() as stays:
            scene.send_in(stranger, "stranger.test")
            scene.reload(GOOD)
            refused(stranger, "policy-changed")
            scene.send_in(stays, FABRIKAM)


# Files of partners

def partner_file(scene, name, *entries, text=None):
    folder = scene.edge.directory / "partners.d"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"return {lua(entries)}\n" if text is None else text)


FILES = GOOD + 's2s_partners_files = { "partners.d/*.cfg.lua" }\n'


def scenario_files(lab):
    with Scene(lab, FILES) as scene:
        # A pattern without a match is a warning.
        scene.edge.wait_log(r"warn.*partners\.d/\*\.cfg\.lua")
        partner_file(scene, "a.cfg.lua", partner("wingtip.test"), partner("adatum.test"))
        partner_file(scene, "b.cfg.lua", partner("proseware.test"))
        partner_file(scene, "ignored.lua", partner("ignored.test"))
        scene.edge.reload()
        for domain in (FABRIKAM, "wingtip.test", "adatum.test", "proseware.test"):
            assert_listed(scene, domain)
        assert_listed(scene, "ignored.test", False)


def scenario_file_replaced(lab):
    with Scene(lab, FILES) as scene:
        partner_file(scene, "a.cfg.lua", partner("wingtip.test"))
        scene.edge.reload()
        with scene.authenticated("wingtip.test") as gone, scene.authenticated() as stays:
            partner_file(scene, "a.cfg.lua", partner("adatum.test"))
            scene.edge.reload()
            refused(gone, "policy-changed")
            scene.send_in(stays, FABRIKAM)
            assert_listed(scene, "adatum.test")
            assert_listed(scene, "wingtip.test", False)


def scenario_file_removed(lab):
    with Scene(lab, FILES) as scene:
        partner_file(scene, "a.cfg.lua", partner("wingtip.test"))
        partner_file(scene, "b.cfg.lua", partner("adatum.test"))
        scene.edge.reload()
        assert_listed(scene, "wingtip.test")
        (scene.edge.directory / "partners.d" / "a.cfg.lua").unlink()
        scene.edge.reload()
        assert_listed(scene, "wingtip.test", False)
        assert_listed(scene, "adatum.test")


BROKEN_FILES = {
    "syntax": "return { { domain = \n",
    "raises": 'error("no")\n',
    "no_list": 'return "wingtip.test"\n',
    "nothing": "\n",
    "bad_entry": 'return { { domain = "wingtip.test"; partner_type = "friend" } }\n',
    "listed_twice": 'return { { domain = "fabrikam.test"; partner_type = "federated" } }\n',
}


def broken_file(name):
    def scenario(lab):
        with Scene(lab, FILES) as scene, scene.authenticated() as probe:
            partner_file(scene, "a.cfg.lua", partner("adatum.test"))
            scene.edge.reload()
            partner_file(scene, "b.cfg.lua", text=BROKEN_FILES[name])
            mark = scene.edge.mark()
            scene.edge.reload()
            scene.edge.wait_log(NOT_APPLIED, 5, mark)
            scene.edge.wait_log(r"error.*b\.cfg\.lua", 5, mark)
            scene.send_in(probe, FABRIKAM)
            assert_listed(scene, "adatum.test")
            assert_listed(scene, "wingtip.test", False)
            assert "not in force" in first_line(scene.edge).lower()
    return scenario


def scenario_file_named_outright_is_missing(lab):
    with Scene(lab, GOOD + 's2s_partners_files = { "partners.d/absent.cfg.lua" }\n') as scene:
        scene.edge.wait_log(r"error.*absent\.cfg\.lua")
        scene.assert_all_refused("config-invalid")


def scenarios():
    for name in BROKEN_FILES:
        yield f"file_broken_{name}", broken_file(name)
