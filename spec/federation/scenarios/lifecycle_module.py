"""The module and hosts that come and go: which policy is in force, and what becomes of live streams.

Each scenario has an edge of its own; partners are probes (in) and scripted remotes (out)."""

import re
import threading

from lab.probe import Probe, mechanisms
from lab.prosody import plugins_under_test

from scenarios._edge import (ALICE, HOST, assert_not_established, configuration, edge_server, lua, outbound_error,
                             partner, refused, tls_dialback, wrong_sender)
from scenarios._lifecycle import (BAD, FABRIKAM, GOOD, NAMES, NORTHWIND, NOT_APPLIED, WITHOUT_FABRIKAM, Scene,
                                  assert_listed, first_line, module_command, remote_error, remote_for)

TIMEOUT = 60

# The module itself

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
    with Scene(lab, GOOD, s2s_timeout=60) as scene, scene.probe() as clear, scene.probe() as secure:
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
    with Scene(lab, GOOD, s2s_timeout=60) as scene:
        remote = remote_for(lab, [FABRIKAM], fault=("auth", lambda _: released.wait(40)))
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
    with Scene(lab, GOOD, s2s_timeout=60) as scene, scene.probe() as clear, scene.probe() as secure:
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
