"""A configuration is read in several turns of the loop: whatever happens between two of them, what is in force is one that was whole."""

import re

from lab.waiting import wait_until

from scenarios._edge import HOST, configuration, lua, partner, refused
from scenarios._lifecycle import BAD, FABRIKAM, GOOD, NORTHWIND, NOT_APPLIED, WITHOUT_FABRIKAM, Scene, first_line, remote_for

SECOND = "second.test"
TURNS = range(1, 8)     # the last ones when all is over
MODULES = 'require "core.modulemanager"'
HOSTS = 'require "core.hostmanager"'


def begin(scene, partners, turn, event, more=""):
    """Reloads to `partners`; after so many turns of the loop comes `event`, in Lua. The mark of the log before it."""
    scene.edge.partners = partners
    scene.edge.write_config()
    mark = scene.edge.mark()
    answer = scene.edge.shell(
        "> (function () local timer = require 'util.timer'; prosody.lab_done = nil; local turns = %d; prosody.reload_config(); %s "
        "timer.add_task(0, function () turns = turns - 1; if turns > 0 then return 0 end; "
        "local ok, err = pcall(function () %s end); prosody.lab_done = ok and 'done' or err end) return 1 end)()" % (turn, more, event))
    assert "Result: 1" in answer, answer

    # Not after so many questions: what the shell asks may all be answered in one turn, when the server is late and the shell is not.
    def told():
        answer = scene.edge.shell("> prosody.lab_done")
        return None if "Result: nil" in answer else answer
    answer = wait_until(told, 10, "turn of the loop")
    assert "Result: done" in answer, answer
    return mark


def put(scene, name, partners):
    """A configuration for later: the Lua that puts it in place."""
    file = scene.edge.directory / name
    now, scene.edge.partners = scene.edge.partners, partners
    file.write_text(scene.edge.config())
    scene.edge.partners = now
    return f'assert(os.rename("{file}", "{scene.edge.config_file}"))'


def settle(scene, mark):
    """No reading is under way any more."""
    wait_until(lambda: scene.edge.has_committed(mark), 10, "end of the reading")


def assert_in(scene, domain, to=HOST):
    scene.authenticated(domain, to=to).close()


def assert_out(scene, domain, reason="unlisted-domain", to=HOST):
    with scene.probe(domain, to=to) as probe:
        probe.open()
        refused(probe, reason)


def scenario_errors_and_then_none(lab):
    with Scene(lab, GOOD) as scene:
        for turn in TURNS:
            scene.reload(GOOD)
            with scene.authenticated() as probe:
                then = put(scene, "next.cfg.lua", WITHOUT_FABRIKAM)
                mark = begin(scene, BAD, turn, then + " prosody.reload_config()")
                scene.edge.wait_log("Partner configuration applied", 5, mark)
                refused(probe, "policy-changed")
            assert_out(scene, FABRIKAM)
            assert_in(scene, NORTHWIND)
            assert "NOT in force" not in scene.edge.shell("partners:list()")


def scenario_none_and_then_errors(lab):
    """What is in force is one of the two that were good, and the log and the console tell of the errors."""
    with Scene(lab, GOOD) as scene:
        for turn in TURNS:
            scene.reload(GOOD)
            then = put(scene, "next.cfg.lua", BAD)
            mark = begin(scene, WITHOUT_FABRIKAM, turn, then + " prosody.reload_config()")
            scene.edge.wait_log(NOT_APPLIED, 5, mark)
            applied = "Partner configuration applied" in scene.edge.log_since(mark)
            (assert_out if applied else assert_in)(scene, FABRIKAM)
            assert_in(scene, NORTHWIND)
            assert "NOT in force" in first_line(scene.edge)


def scenario_module_reloaded(lab):
    with Scene(lab, GOOD) as scene:
        for turn in TURNS:
            scene.reload(GOOD)
            with scene.authenticated() as probe:
                mark = begin(scene, WITHOUT_FABRIKAM, turn, f'assert({MODULES}.reload("*", "s2s_partners"))')
                scene.edge.wait_log("Partner configuration applied", 5, mark)
                refused(probe, "policy-changed")
            settle(scene, mark)
            assert_out(scene, FABRIKAM)
            assert_in(scene, NORTHWIND)
            assert "\terror\t" not in scene.edge.log_since(mark), scene.edge.log_since(mark)


def scenario_module_unloaded_and_loaded(lab):
    with Scene(lab, GOOD) as scene:
        for turn in TURNS:
            scene.reload(GOOD)
            begin(scene, WITHOUT_FABRIKAM, turn, f'assert({MODULES}.unload("*", "s2s_partners"))')
            scene.edge.shell("> 1")
            assert_out(scene, NORTHWIND, "internal-error")
            mark = scene.edge.mark()
            scene.edge.shell('module:load("s2s_partners", "*")')
            scene.edge.wait_log("guards again", 5, mark)
            assert_out(scene, FABRIKAM)
            assert_in(scene, NORTHWIND)


def scenario_host_deactivated_and_activated(lab):
    with Scene(lab, GOOD, hosts=[HOST, SECOND]) as scene:
        for turn in TURNS:
            for event in ("deactivate", "activate"):
                scene.reload(GOOD)
                mark = begin(scene, WITHOUT_FABRIKAM, turn, f'assert({HOSTS}.{event}("{SECOND}"))')
                scene.edge.wait_log("Partner configuration applied", 5, mark)
                assert_out(scene, FABRIKAM)
                assert_in(scene, NORTHWIND)
            assert_out(scene, FABRIKAM, to=SECOND)
            assert_in(scene, NORTHWIND, to=SECOND)


def scenario_console_meanwhile(lab):
    with Scene(lab, GOOD) as scene:
        for turn in TURNS:
            scene.reload(GOOD)
            mark = begin(scene, WITHOUT_FABRIKAM, turn, "")
            for command in ("partners:list()", "partners:check()", f'partners:explain("{FABRIKAM}")', f'partners:test("{NORTHWIND}")'):
                answer = scene.edge.shell(command)
                assert "attempt to" not in answer, answer
            assert "attempt to" not in scene.edge.log_since(mark)


def scenario_file_changed_and_gone(lab):
    """Lists and anchors are read whole; what is gone when it is to be read is an error, and nothing is applied."""
    with Scene(lab, GOOD) as scene:
        anchors = scene.edge.directory / "anchors.pem"
        entries = configuration(partner(FABRIKAM, trust_anchors=str(anchors)), partner(NORTHWIND))
        for turn in TURNS:
            scene.reload(GOOD)
            anchors.write_bytes(open(lab.certificates.trust, "rb").read())
            mark = begin(scene, entries, turn, f'assert(os.remove("{anchors}"))')
            settle(scene, mark)
            log = scene.edge.log_since(mark)
            assert ("Partner configuration applied" in log) != bool(re.search(NOT_APPLIED, log)), log
            assert_in(scene, FABRIKAM)
            assert_in(scene, NORTHWIND)


def scenario_reloaded_without_end(lab):
    """Each reload has the one before read again, but not forever."""
    again = "timer.add_task(0.001, function () if prosody.lab_again then prosody.reload_config(); return 0.001 end end);"
    with Scene(lab, GOOD) as scene, scene.authenticated() as probe:
        mark = begin(scene, WITHOUT_FABRIKAM, 1, "", more="prosody.lab_again = true; " + again)
        try:
            refused(probe, "policy-changed")
            assert_out(scene, FABRIKAM)
        finally:
            scene.edge.shell("> (function () prosody.lab_again = nil end)()")
        settle(scene, mark)


# From the first pause of a reading on (before that comes the turn in which it begins), until prosody.lab_held is nil.
HOLD = ("> (function () local timer = require 'util.timer'; local add_task, times = timer.add_task, 0; function timer.add_task(delay, go_on, ...) "
        "if not prosody.lab_held or not debug.getinfo(2, 'S').source:find('reload.lib', 1, true) then return add_task(delay, go_on, ...) end; "
        "times = times + 1; if times == 1 then return add_task(delay, go_on, ...) end; "
        "return add_task(0.05, function (...) if prosody.lab_held then return 0.05 end; return go_on(...) end, ...) end; "
        "prosody.lab_held = true; return 1 end)()")


def scenario_streams_meanwhile(lab):
    """Streams that are opened, and stanzas that are queued, while the list is read: by what was in force, and judged again by what is."""
    with Scene(lab, GOOD, s2s_timeout=60) as scene:
        remote = remote_for(lab, [FABRIKAM], external="ignore")
        scene.edge.shell(HOLD)
        scene.edge.partners = configuration(partner(NORTHWIND, connection_limit=1))
        scene.edge.write_config()
        mark = scene.edge.mark()
        scene.edge.shell("config:reload()")
        scene.edge.wait_log("Reading the partner configuration", mark=mark)
        with scene.probe() as early, scene.probe() as late, scene.authenticated() as done, scene.authenticated(NORTHWIND) as first:
            early.features()
            late.secure()
            id_ = scene.alice.send_message(f"bob@{FABRIKAM}", "queued")
            remote.wait_element("auth")
            scene.send_in(done, FABRIKAM)
            with scene.authenticated(NORTHWIND) as second:
                assert "Partner configuration applied" not in scene.edge.log_since(mark), "too late to prove anything"
                scene.edge.shell("> (function () prosody.lab_held = nil end)()")
                for probe in (early, late, done, second):
                    refused(probe, "policy-changed")
            condition, text, kind = scene.alice.wait_error(id_)
            assert (condition, kind) == ("not-allowed", "cancel") and text, (condition, kind, text)
            assert not remote.elements("message")
            scene.send_in(first, NORTHWIND)
            assert_out(scene, FABRIKAM)
            with scene.probe(NORTHWIND) as third:
                third.open()
                refused(third, "connection-limit", "resource-constraint")
