"""The module cannot be loaded, or fails at work: in every case nothing passes.

The servers' logs have tracebacks here, on purpose."""

import ctypes.util
import shutil
import subprocess

from lab.client import Client
from lab.probe import Probe
from lab.prosody import plugins_under_test
from lab.remote import Remote

from scenarios._edge import (ALICE, HOST, assert_not_established, closed_somehow, configuration, edge_server, heard,
                             outbound_error, partner, refused)

TRACEBACKS = True
FABRIKAM = "fabrikam.test"
GOOD = configuration(partner(FABRIKAM, "*.fabrikam.test"))


# Damaged installations

def copy_of_module(lab, name):
    """A directory with a copy of the module under test, to be damaged."""
    copy = lab.directory / f"{name}-modules"
    shutil.copytree(plugins_under_test(), copy)
    return copy


def shared_object(copy):
    return next((copy / "mod_s2s_partners").glob("*.so"))


def truncate(copy):
    """So short that the loader notices; a longer piece may kill the process within the loader, which is closed as well."""
    path = shared_object(copy)
    path.write_bytes(path.read_bytes()[:40])


def garbage(copy):
    shared_object(copy).write_bytes(b"not a shared object")


def without_object(copy):
    shared_object(copy).unlink()


def another_object(copy):
    """A library, but not this one."""
    found = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True, timeout=10).stdout
    name = ctypes.util.find_library("expat")
    path = next(line.split("=> ")[1] for line in found.splitlines() if name in line)
    shutil.copy(path, shared_object(copy))


def without(file):
    return lambda copy: (copy / "mod_s2s_partners" / file).unlink()


def broken(file):
    return lambda copy: (copy / "mod_s2s_partners" / file).write_text("this is = not Lua =\n")


DAMAGES = {
    "object_missing": without_object, "object_truncated": truncate, "object_garbage": garbage,
    "object_another": another_object, "guard_missing": without("guard.lib.lua"), "guard_broken": broken("guard.lib.lua"),
    "commit_missing": without("commit.lib.lua"), "options_broken": broken("options.lib.lua"),
    "report_missing": without("report.lib.lua"), "console_broken": broken("console/shell.lib.lua"),
}


def damaged(name):
    def scenario(lab):
        copy = copy_of_module(lab, name)
        DAMAGES[name](copy)
        edge = edge_server(lab, GOOD, name=name, register=False, under_test=copy).start()
        with Client(ALICE, edge.address) as alice:
            edge.wait_log(r"error.*Federation is refused in both directions")
            assert_all_refused(lab, edge, alice, "internal-error")
        edge.stop()
    return scenario


def assert_all_refused(lab, edge, alice, reason, domain=FABRIKAM):
    for version in ("1.0", None):
        with Probe(edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain)) as probe:
            probe.open(version=version)
            probe.send_result()
            refused(probe, reason)
    mark = lab.dns.mark()
    condition, text, kind = outbound_error(alice, f"bob@{domain}")
    assert (condition, kind) == ("internal-server-error", "wait") and text, (condition, kind, text)
    assert not lab.dns.asked(domain, mark)


def scenario_damaged_while_running(lab):
    """The live server goes on; a reload of the module then finds it damaged and refuses everything."""
    copy = copy_of_module(lab, "later")
    edge = edge_server(lab, GOOD, name="later", register=False, under_test=copy).start()
    with Client(ALICE, edge.address) as alice, \
         Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.authenticate()
        whole = (copy / "mod_s2s_partners" / "guard.lib.lua").read_text()
        broken("guard.lib.lua")(copy)
        mark = edge.mark()
        edge.shell('module:reload("s2s_partners")')
        edge.wait_log(r"error.*Federation is refused in both directions", 5, mark)
        probe.read_close("policy-violation", r"\(internal-error\)")
        assert_all_refused(lab, edge, alice, "internal-error")
        (copy / "mod_s2s_partners" / "guard.lib.lua").write_text(whole)
        edge.shell('module:reload("s2s_partners")')
        with Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as again:
            again.authenticate()
    edge.stop()


# Errors in the handlers

# A plugin that makes a value the module reads raise, once the file "armed" is there.  The stream is asked for its local
# host at every step, by the module first, so that is where it hurts.
TRAP = """
local lfs = require "lfs";
local armed = "%(armed)s";

local function trap(session)
    if not session or not session.conn or session.trapped or not lfs.attributes(armed) then return; end
    session.trapped = true;
    local field = session.direction == "outgoing" and "from_host" or "to_host";
    local real = session[field];
    session[field] = nil;
    setmetatable(session, { __index = function (_, name)
        if name ~= field then return nil; end
        setmetatable(session, nil);
        session[field] = real;
        error("a trap");
    end });
end

for _, name in ipairs({ %(events)s }) do
    module:hook(name, function (event) trap(event.origin or event.session); end, 100000);
    module:hook_global(name, function (event) trap(event.origin or event.session); end, 100000);
end
"""
EVENTS = {
    "features": "s2s-stream-features",
    "starttls": "stanza/urn:ietf:params:xml:ns:xmpp-tls:starttls",
    "certificate": "s2s-check-certificate",
    "auth": "stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth",
    "authenticated": "s2s-authenticated",
    "established": "s2sin-established",
    "key": "stanza/jabber:server:dialback:result",
    "remote_features": "stanza/http://etherx.jabber.org/streams:features",
}


def trapped_edge(lab, name, event):
    """An edge whose handlers raise at the event; and the file that arms the trap."""
    folder = lab.directory / f"trap-{name}"
    folder.mkdir()
    armed = folder / "armed"
    (folder / "mod_trap.lua").write_text(TRAP % {"armed": armed, "events": f'"{event}"'})
    edge = edge_server(lab, GOOD, name=f"trap{name}", register=False, plugins=[folder], modules=["trap"]).start()
    return edge, armed


def handler_raises(name):
    def scenario(lab):
        edge, armed = trapped_edge(lab, name, EVENTS[name])
        with Client(ALICE, edge.address) as alice:
            works(lab, edge, alice, "before")
            armed.touch()
            if name == "remote_features":
                outbound_fails(lab, edge, alice)
            else:
                inbound_fails(lab, edge, alice, name)
            armed.unlink()
            works(lab, edge, alice, "after")
        edge.stop()
    return scenario


def works(lab, edge, alice, body):
    with Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.authenticate()
        probe.message(f"eve@{FABRIKAM}", ALICE, f"{body} {edge.name}")
        alice.wait_message(f"{body} {edge.name}")


def inbound_fails(lab, edge, alice, name):
    mark, seen = edge.mark(), alice.mark()
    with Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        try:
            if name == "key":
                probe.features()
                probe.send_result()
            else:
                probe.authenticate()
            probe.message(f"eve@{FABRIKAM}", ALICE, "trapped")
        except Exception as problem:        # at whatever step it ends
            assert not isinstance(problem, TimeoutError), problem
        closed_somehow(probe)
    edge.wait_log(r"error.*Error while handling .*refused", 5, mark)
    assert_not_established(edge, FABRIKAM, mark)
    assert heard(alice, seen) == []


def outbound_fails(lab, edge, alice):
    domain = "out.fabrikam.test"
    remote = Remote(lab, [domain], leaf=lab.certificates.leaf(domain))
    mark = edge.mark()
    condition, text, kind = outbound_error(alice, f"bob@{domain}")
    assert (condition, kind) == ("internal-server-error", "wait") and text, (condition, kind)
    assert not remote.elements("message") and not remote.elements("auth")
    edge.wait_log(r"error.*Error while handling .*refused", 5, mark)


# A handler of a stanza: there is an error where its attributes were, or some of them. A route is judged by what it has of its own;
# where that is from another host, what is then done about it reads on.
BAD_ADDRESS = """
local trap = { __index = function () error("a trap"); end };
local broken = {
    ["message/bare"] = setmetatable({}, trap);
    ["route/remote"] = { name = "message"; attr = setmetatable({ from = "eve@elsewhere.test" }, trap) };
};
module:hook("%s", function (event)
    if event.stanza.attr.id == "trapped" then
        event.stanza = broken["%s"];
    end
end, 100000);
"""


def stanza_edge(lab, name, event):
    folder = lab.directory / f"trap-{name}"
    folder.mkdir()
    (folder / "mod_trap.lua").write_text(BAD_ADDRESS % (event, event))
    return edge_server(lab, GOOD, name=f"trap{name}", register=False, plugins=[folder], modules=["trap"]).start()


def scenario_stanza_handler_raises(lab):
    edge = stanza_edge(lab, "stanza", "message/bare")
    with Client(ALICE, edge.address) as alice, \
         Probe(edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
        probe.authenticate()
        seen, mark = alice.mark(), edge.mark()
        probe.message(f"eve@{FABRIKAM}", ALICE, "trapped", id_="trapped")
        refused(probe, "internal-error")
        edge.wait_log(r"error.*Error while handling message/bare, refused", 5, mark)
        assert heard(alice, seen) == []
    edge.stop()


def scenario_route_handler_raises(lab):
    """The stanza goes nowhere: no query, no connection."""
    edge = stanza_edge(lab, "route", "route/remote")
    with Client(ALICE, edge.address) as alice:
        mark, dns, seen = edge.mark(), lab.dns.mark(), alice.mark()
        alice.send_message("bob@route.fabrikam.test", "trapped", id_="trapped")
        edge.wait_log(r"error.*Error while handling route/remote, refused", 5, mark)
        told = heard(alice, seen)
        assert not lab.dns.asked("route.fabrikam.test", dns)
        assert not any(stanza.name == "message" and stanza.get("type") != "error" for stanza in told)
    edge.stop()


def scenarios():
    for name in DAMAGES:
        yield name, damaged(name)
    for name in EVENTS:
        yield f"error_in_{name}", handler_raises(name)
