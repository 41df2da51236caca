"""Start, reload, unload: which policy is in force, and what becomes of live streams.

Each scenario has an edge of its own; partners are probes (in) and scripted remotes (out)."""

import itertools
import re
import signal
import threading

from lab.probe import Probe, mechanisms
from lab.prosody import plugins_under_test
from lab.remote import Remote
from lab.waiting import wait_until

from scenarios import _scene
from scenarios._edge import (ALICE, HOST, any_method, assert_not_established, configuration, edge_server,
                             lua, outbound_error, partner, refused, tls_dialback, wrong_sender)

TIMEOUT = 60
FABRIKAM, NORTHWIND = "fabrikam.test", "northwind.test"
GOOD = configuration(partner(FABRIKAM), partner(NORTHWIND))
WITHOUT_FABRIKAM = configuration(partner(NORTHWIND))
BAD = configuration(partner(FABRIKAM, tls="requried"), partner(NORTHWIND))
NOT_APPLIED = r"partner configuration has errors and was not applied|Configuration reload aborted"   # ejabberd's own words
NAMES = (f"lone{number}" for number in itertools.count())


def remote_for(lab, domains, **more):
    """The only server for the domains: what an earlier scenario said about them is forgotten."""
    for domain in domains:
        lab.dns.remove(domain)
    return Remote(lab, domains, leaf=lab.certificates.leaf(domains[0], also=domains[1:]), **more)


class Scene(_scene.Scene):
    def assert_all_refused(self, reason, domain=FABRIKAM):
        with self.probe(domain) as probe:
            probe.open()
            refused(probe, reason)
        mark = self.lab.dns.mark()
        condition, text, kind = outbound_error(self.alice, f"bob@{domain}")
        assert (condition, kind) == ("internal-server-error", "wait") and text, (condition, kind, text)
        assert not self.lab.dns.asked(domain, mark)


def still_guarded(scene):
    with scene.probe("evil.test") as evil:
        evil.open()
        refused(evil, "unlisted-domain")


def first_line(edge):
    """Of what partners:list() prints."""
    return next(line for line in edge.shell("partners:list()").splitlines() if line.strip())


def remote_error(remote, condition, text):
    """The stream error that the edge has sent on one of the remote's connections."""
    def search():
        return [connection.error for connection in remote.connections if connection.error is not None]
    try:
        error = wait_until(search, 5, "stream error at the remote")[-1]
    except TimeoutError:
        raise AssertionError([connection.seen for connection in remote.connections]) from None
    assert error.condition == condition and re.search(text, error.error_text), error


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
    with Scene(lab, GOOD) as scene, scene.probe() as early, scene.probe() as late, scene.probe(NORTHWIND) as stays:
        early.features()
        late.secure()
        stays.secure()
        scene.reload(WITHOUT_FABRIKAM)
        refused(early, "policy-changed")
        refused(late, "policy-changed")
        assert stays.external().name == "success"


def scenario_reload_with_stanzas_queued(lab):
    """What waits for a partner that has been removed is returned, never sent."""
    with Scene(lab, GOOD) as scene:
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


def assert_listed(scene, domain, listed=True):
    with scene.probe(domain) as probe:
        probe.open()
        if listed:
            probe.read_until("features")
        else:
            refused(probe, "unlisted-domain")


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


# The module itself

def module_command(scene, command):
    mark = scene.edge.mark()
    print_out = scene.edge.shell(f'module:{command}("s2s_partners")')
    return mark, print_out


def scenario_module_reload(lab):
    """The policy and the live streams survive."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        remote = scene.connected(NORTHWIND)
        for _ in range(2):
            module_command(scene, "reload")
            scene.send_in(probe, FABRIKAM)
            scene.send_out(remote, NORTHWIND)
        assert len(remote.connections) == 1
        with scene.authenticated(NORTHWIND) as other:
            scene.send_in(other, NORTHWIND)
        with scene.probe("evil.test") as evil:
            evil.open()
            refused(evil, "unlisted-domain")
        probe.message("eve@evil.test", ALICE, "still watched")
        wrong_sender(probe)


def scenario_module_reload_in_mid_handshake(lab):
    with Scene(lab, GOOD) as scene, scene.probe() as clear, scene.probe() as secure:
        clear.features()
        secure.secure()
        module_command(scene, "reload")
        assert secure.external().name == "success"
        secure.features()
        scene.send_in(secure, FABRIKAM)
        clear.send_result()
        refused(clear, "tls-required")


def scenario_module_reload_with_stanzas_queued(lab):
    """What waits for a stream goes on waiting, though everything is refused while the module is being loaded."""
    released = threading.Event()
    with Scene(lab, GOOD) as scene:
        remote = remote_for(lab, [FABRIKAM], fault=("auth", lambda _: released.wait(10)))
        mark = scene.alice.mark()
        for number in range(3):
            scene.alice.send_message(f"bob@{FABRIKAM}", f"queued {number}")
        remote.wait_element("auth")
        module_command(scene, "reload")
        released.set()
        for number in range(3):
            remote.wait_element(lambda element, number=number: element.name == "message" and
                                element.find("body").text == f"queued {number}")
        assert not [stanza for stanza in scene.alice.stanzas[mark:] if stanza.get("type") == "error"]


def scenario_module_reload_with_another_policy(lab):
    with Scene(lab, GOOD) as scene, scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays:
        scene.edge.partners = WITHOUT_FABRIKAM
        scene.edge.write_config()
        # Core reads the file only when told to.
        scene.edge.shell("config:reload()")
        module_command(scene, "reload")
        refused(gone, "policy-changed")
        scene.send_in(stays, NORTHWIND)


def scenario_module_reload_with_errors(lab):
    """Errors on disk: policy and streams survive all the same."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        remote = scene.connected(NORTHWIND)
        scene.reload(BAD)
        for _ in range(2):
            mark, _ = module_command(scene, "reload")
            scene.edge.wait_log(NOT_APPLIED, 5, mark)
            scene.send_in(probe, FABRIKAM)
            scene.send_out(remote, NORTHWIND)
        assert len(remote.connections) == 1
        assert_listed(scene, NORTHWIND)
        assert_listed(scene, "evil.test", False)
        assert "not in force" in first_line(scene.edge).lower()


def scenario_module_reload_without_policy(lab):
    """Errors on disk, and none was ever in force: still refused."""
    with Scene(lab, BAD) as scene:
        module_command(scene, "reload")
        scene.assert_all_refused("config-invalid")


def scenario_module_unload(lab):
    """Streams are closed and everything is refused until it is loaded again."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        remote = scene.connected(NORTHWIND)
        mark, _ = module_command(scene, "unload")
        scene.edge.wait_log(r"error.*mod_s2s_partners has been unloaded", 5, mark)
        probe.read_close("policy-violation", r"\(internal-error\)")
        remote_error(remote, "policy-violation", r"\(internal-error\)")
        for domain in (FABRIKAM, NORTHWIND, "evil.test"):
            scene.assert_all_refused("internal-error", domain)
        scene.edge.reload()
        scene.assert_all_refused("internal-error")
        module_command(scene, "load")
        with scene.authenticated() as again:
            scene.send_in(again, FABRIKAM)
        scene.send_out(remote, NORTHWIND)
        assert_listed(scene, "evil.test", False)


def scenario_module_unloaded_in_mid_handshake(lab):
    with Scene(lab, GOOD) as scene, scene.probe() as clear, scene.probe() as secure:
        clear.features()
        secure.secure()
        mark, _ = module_command(scene, "unload")
        for probe in (clear, secure):
            probe.send_result()
            probe.read_close("policy-violation", r"\(internal-error\)")
        assert_not_established(scene.edge, FABRIKAM, mark)


def scenario_module_loaded_late(lab):
    """A server that has run without the module: streams from before it go."""
    with Scene(lab, GOOD + 'modules_disabled = { "s2s_partners" }\n') as scene, scene.probe("evil.test") as evil:
        evil.authenticate()
        scene.send_in(evil, "evil.test")
        module_command(scene, "load")
        evil.read_close("policy-violation")
        assert_listed(scene, "evil.test", False)
        with scene.authenticated() as probe:
            scene.send_in(probe, FABRIKAM)


def scenario_module_commands_for_a_host(lab):
    """The module is global, and so are they."""
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        scene.edge.shell(f'module:reload("s2s_partners", "{HOST}")')
        scene.send_in(probe, FABRIKAM)
        assert_listed(scene, "evil.test", False)
        scene.edge.shell(f'module:unload("s2s_partners", "{HOST}")')
        scene.assert_all_refused("internal-error")
        scene.edge.shell(f'module:load("s2s_partners", "{HOST}")')
        scene.authenticated().close()
        assert_listed(scene, "evil.test", False)


def scenario_module_disabled_on_a_host(lab):
    """A global module guards every host, whatever one host's own list of modules says."""
    disabled = 'modules_disabled = { "s2s_partners" }'
    hosts, components = {HOST: "", "open.test": disabled}, {"rooms.open.test": ("muc", disabled)}
    with Scene(lab, GOOD, hosts=hosts, components=components) as scene:
        for to in ("open.test", "rooms.open.test"):
            with scene.probe("evil.test", to=to) as evil:
                evil.open()
                refused(evil, "unlisted-domain")
            scene.authenticated(to=to).close()


def scenario_module_enabled_on_one_host_only(lab):
    """Loaded from a host's section it becomes global all the same."""
    edge = edge_server(lab, None, name=next(NAMES), register=False, modules=["dialback"], plugins=[plugins_under_test()],
                       hosts={HOST: 'modules_enabled = { "s2s_partners" }', "second.test": ""},
                       options=f"s2s_require_encryption = false\ns2s_secure_auth = false\n{GOOD}").start()
    for to in (HOST, "second.test"):
        with Probe(edge.address, from_="evil.test", to=to) as evil:
            evil.open()
            refused(evil, "unlisted-domain")
        with Probe(edge.address, from_=FABRIKAM, to=to, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
            probe.authenticate()
    edge.stop()


def scenario_core_modules_reloaded(lab):
    """Core's own part of the handshake, loaded anew behind the module's back."""
    with Scene(lab, configuration(partner(FABRIKAM), tls_dialback(NORTHWIND)), modules=["s2s_bidi"]) as scene:
        remote_for(lab, [NORTHWIND])
        for name in ("dialback", "tls", "saslauth", "s2s_bidi", "s2s_auth_certs", "s2s"):
            scene.edge.shell(f'module:reload("{name}")')
            assert_listed(scene, "evil.test", False)
            with scene.probe() as early:
                early.features()
                early.send_result()
                refused(early, "tls-required")
            with scene.probe(NORTHWIND) as dialback:
                assert not mechanisms(dialback.secure()), name
                assert dialback.dialback() == "valid"
                scene.send_in(dialback, NORTHWIND)
            with scene.authenticated() as probe:
                scene.send_in(probe, FABRIKAM)
            assert outbound_error(scene.alice, "bob@evil.test")[0] == "not-allowed"


# Hosts that come and go

def activate(scene, host, action="activate"):
    return scene.edge.shell(f'host:{action}("{host}")')


def scenario_host_activated(lab):
    with Scene(lab, GOOD) as scene:
        scene.edge.hosts["late.test"] = ""
        scene.edge.reload()
        activate(scene, "late.test")
        with scene.probe("evil.test", to="late.test") as evil:
            evil.open()
            refused(evil, "unlisted-domain")
        with scene.probe(to="late.test") as probe:
            probe.features()
            probe.send_result()
            refused(probe, "tls-required")
        scene.authenticated(to="late.test").close()
        with scene.authenticated() as elsewhere:
            elsewhere.message(f"eve@{FABRIKAM}", "late.test", "to the new host")
            scene.send_in(elsewhere, FABRIKAM)


def scenario_host_activated_with_errors(lab):
    """A list of its own that is wrong: that host is closed, the others go on."""
    with Scene(lab, GOOD) as scene:
        scene.edge.hosts["late.test"] = f"s2s_partners = {lua([partner(FABRIKAM, tls='requried')])}"
        scene.edge.reload()
        activate(scene, "late.test")
        with scene.probe(to="late.test") as probe:
            probe.open()
            refused(probe, "config-invalid")
        with scene.authenticated() as probe:
            scene.send_in(probe, FABRIKAM)


def scenario_host_deactivated_and_back(lab):
    with Scene(lab, GOOD, hosts=[HOST, "second.test"]) as scene:
        scene.authenticated(to="second.test").close()
        activate(scene, "second.test", "deactivate")
        with scene.probe(to="second.test") as probe:
            probe.open()
            probe.read_close("host-unknown")
        activate(scene, "second.test")
        with scene.probe("evil.test", to="second.test") as evil:
            evil.open()
            refused(evil, "unlisted-domain")
        scene.authenticated(to="second.test").close()


def scenario_host_deactivated_leaves_nothing(lab):
    """Not its handlers, nor with them the host itself and all it holds (the rosters of users who are not online)."""
    note = ('> (function () local seen = prosody.lab_hosts or setmetatable({}, { __mode = "k" }); prosody.lab_hosts = seen; '
            'seen[prosody.hosts["second.test"]] = true; return 1 end)()')
    left = ('> (function () collectgarbage() collectgarbage() local n = 0; for _ in pairs(prosody.lab_hosts) do n = n + 1 end '
            'return n end)()')
    with Scene(lab, GOOD, hosts=[HOST, "second.test"]) as scene:
        for _ in range(4):
            scene.edge.shell(note)
            activate(scene, "second.test", "deactivate")
            activate(scene, "second.test")
        scene.authenticated(to="second.test").close()
        answer = scene.edge.shell(left)
        number = int(re.findall(r"(?:Result:|\|) *(\d+)", answer)[-1])
        assert number <= 1, f"{number} of 4 hosts that were deactivated are still there"


def scenario_host_activated_while_unloaded(lab):
    """The latch guards what comes later, too (with the module in its list of modules, a new host would load it again)."""
    with Scene(lab, GOOD) as scene:
        module_command(scene, "unload")
        scene.edge.hosts["late.test"] = 'modules_disabled = { "s2s_partners" }'
        scene.edge.reload()
        activate(scene, "late.test")
        with scene.probe(to="late.test") as probe:
            probe.open()
            refused(probe, "internal-error")


def scenario_component_activated(lab):
    with Scene(lab, GOOD) as scene:
        scene.edge.components["rooms.late.test"] = ("muc", "")
        scene.edge.reload()
        activate(scene, "rooms.late.test")
        with scene.probe("evil.test", to="rooms.late.test") as evil:
            evil.open()
            refused(evil, "unlisted-domain")
        scene.authenticated(to="rooms.late.test").close()


def scenarios():
    for name in BROKEN_FILES:
        yield f"file_broken_{name}", broken_file(name)
