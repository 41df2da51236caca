"""Upgrades: what a running server does when the module's files change beneath it, and what a restart does to streams.

docs/upgrading.md is about this."""

import os
import pathlib
import re
import shutil

from lab.prosody import plugins_under_test
from lab.probe import Probe
from lab.xmlstream import Closed

from scenarios._edge import refused
from scenarios._lifecycle import BAD, FABRIKAM, GOOD, NORTHWIND, WITHOUT_FABRIKAM, Scene, module_command, still_guarded

TRACEBACKS = True       # the log says where a start failed
MODULE = "mod_s2s_partners"
# What a package manager may have put there in the meantime: files of a version that does not fit at all.
FOREIGN = {".lua": b"error(\"this is another version\");\n", ".so": b"not for this machine"}


def replace(path, content):
    """As dpkg and `meson install` do it: another file takes the name."""
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    os.replace(beside, path)


class Copy:
    """The module in a folder of its own, to be changed."""

    def __init__(self, lab, name):
        self.plugins = lab.directory / name
        shutil.copytree(pathlib.Path(plugins_under_test()) / MODULE, self.plugins / MODULE)
        self.files = {path: path.read_bytes() for path in (self.plugins / MODULE).rglob("*") if path.is_file()}

    def make_foreign(self, *suffixes):
        for path in self.files:
            if path.suffix in suffixes:
                replace(path, FOREIGN[path.suffix])

    def make_lua_newer(self):
        """As after an upgrade that has reached the Lua files and not the shared object."""
        for path, content in self.files.items():
            if path.name == MODULE + ".lua":
                newer, count = re.subn(rb'(?m)^(local VERSION = "[^"]*)"', rb'\1.1"', content)
                assert count == 1
                replace(path, newer)

    def restore(self):
        for path, content in self.files.items():
            replace(path, content)


def scenario_files_replaced_beneath_a_running_server(lab):
    """Nothing of the new version is used before it is asked for: streams, new streams and reloads of the list go on."""
    copy = Copy(lab, "plugins-replaced")
    with Scene(lab, GOOD, under_test=copy.plugins) as scene, scene.authenticated() as live:
        remote = scene.connected(NORTHWIND)
        copy.make_foreign(".lua", ".so")
        scene.send_in(live, FABRIKAM)
        scene.send_out(remote, NORTHWIND)
        scene.authenticated(NORTHWIND).close()
        scene.reload(WITHOUT_FABRIKAM)
        refused(live, "policy-changed")
        scene.send_out(remote, NORTHWIND)
        still_guarded(scene)


def scenario_module_reload_with_the_shared_object_replaced(lab):
    """The process keeps the shared object that it has loaded; streams and policy survive."""
    copy = Copy(lab, "plugins-object")
    with Scene(lab, GOOD, under_test=copy.plugins) as scene, scene.authenticated() as live:
        copy.make_foreign(".so")
        module_command(scene, "reload")
        scene.send_in(live, FABRIKAM)
        still_guarded(scene)


def scenario_module_reload_into_files_that_do_not_fit(lab):
    """Refused and not open, until fitting files are there and the module is reloaded, or the server restarted."""
    copy = Copy(lab, "plugins-foreign")
    with Scene(lab, GOOD, under_test=copy.plugins) as scene:
        for path in copy.files:
            if path.name == "guard.lib.lua":
                replace(path, FOREIGN[".lua"])
        scene.edge.shell('module:reload("s2s_partners")')
        scene.assert_all_refused("internal-error")
        copy.restore()
        scene.edge.shell('module:reload("s2s_partners")')
        scene.authenticated().close()
        still_guarded(scene)


BOTH_VERSIONS = r"error\s+Federation is refused .*the Lua files in \S+ are of version (\d\S*)\.1 and the shared object is of version \1; .*restart"


def scenario_module_reload_instead_of_a_restart(lab):
    """New Lua files do not go to work with the shared object that the process has loaded; the restart takes up both."""
    copy = Copy(lab, "plugins-mixed")
    with Scene(lab, GOOD, under_test=copy.plugins) as scene:
        live, mark = scene.authenticated(), scene.edge.mark()
        copy.make_lua_newer()
        scene.edge.shell('module:reload("s2s_partners")')
        scene.edge.wait_log(BOTH_VERSIONS, 5, mark)
        refused(live, "internal-error")
        scene.assert_all_refused("internal-error")
        copy.restore()
        scene.edge.restart()
        scene.authenticated().close()
        still_guarded(scene)


def scenario_start_with_an_upgrade_half_done(lab):
    """Clients are served, federation is refused, prosodyctl says why, and the other half and a restart repair it."""
    copy = Copy(lab, "plugins-half")
    copy.make_lua_newer()
    with Scene(lab, GOOD, under_test=copy.plugins) as scene:
        scene.edge.wait_log(BOTH_VERSIONS)
        scene.assert_all_refused("internal-error")
        ran = scene.edge.ctl("mod_s2s_partners", "check")
        assert ran.returncode == 1 and "Error: the Lua files in " in ran.stdout and "traceback" not in ran.stdout, ran.stdout
        copy.restore()
        assert scene.edge.ctl("mod_s2s_partners", "check").returncode == 0
        scene.edge.restart()
        scene.authenticated().close()
        still_guarded(scene)


def scenario_restart(lab):
    """Streams end with the server and come again with it, under the list that is on disk then."""
    with Scene(lab, GOOD) as scene:
        remote = scene.connected(NORTHWIND)
        live = scene.authenticated()
        scene.alice.close()
        scene.edge.stop()
        try:
            live.read_close("system-shutdown")
        except (Closed, OSError):
            pass        # some versions just close
        scene.edge.partners = WITHOUT_FABRIKAM
        scene.edge.start()
        scene.alice = type(scene.alice)(scene.alice.jid, scene.edge.address)
        with scene.probe() as probe:
            probe.open()
            refused(probe, "unlisted-domain")
        scene.send_out(remote, NORTHWIND)


def scenario_restart_with_errors(lab):
    """At start there is no policy to go on with: nothing federates, until the list is corrected and reloaded."""
    with Scene(lab, GOOD) as scene:
        scene.authenticated().close()
        scene.alice.close()
        scene.edge.stop()
        scene.edge.partners = BAD
        scene.edge.start()
        scene.alice = type(scene.alice)(scene.alice.jid, scene.edge.address)
        scene.assert_all_refused("config-invalid")
        scene.reload(GOOD)
        scene.authenticated().close()


def scenario_restart_without_the_module_files(lab):
    """A module that is missing guards nothing: this is why the package warns before it is removed."""
    copy = Copy(lab, "plugins-missing")
    with Scene(lab, GOOD, under_test=copy.plugins) as scene:
        shutil.rmtree(copy.plugins / MODULE)
        still_guarded(scene)        # by what it has loaded
        mark = scene.edge.mark()
        scene.edge.restart()
        scene.edge.wait_log(r"error\s+.*(s2s_partners|Unable to load)", 5, mark)
        with Probe(scene.edge.address, from_="evil.test", to="contoso.test") as evil:
            evil.features()
