"""An ejabberd as the edge where the module cannot judge: everything is refused in both directions, whatever is the cause, and the
server's own users are served."""

import contextlib
import itertools
import os
import pathlib
import shutil
import subprocess

from lab import edge_ejabberd
from lab.client import Client
from lab.lab import Skipped
from lab.probe import Probe
from lab.waiting import wait_until

from scenarios._edge import outbound_error, refused

HOST, ALICE, CAROL = "contoso.test", "alice@contoso.test", "carol@contoso.test"
PARTNER, STRANGER = "fabrikam.test", "evil.test"
GOOD = {"partners": [{"domain": PARTNER, "partner_type": "federated"}]}
TIMEOUT = 90
_NUMBERS = itertools.count()
TRACEBACKS = True       # of what is broken on purpose


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("it is about the module on ejabberd")
    return lab


@contextlib.contextmanager
def running(lab, name, beams=None, **options):
    """An edge with its two users."""
    before = os.environ["S2S_PARTNERS_ERLANG"]
    os.environ["S2S_PARTNERS_ERLANG"] = str(beams or before)
    try:
        # A connection that says nothing has to be there as long as a scenario takes.
        edge = edge_ejabberd.EdgeEjabberd(lab, name, [HOST], users=[ALICE, CAROL], partners="", s2s_timeout=60)
        edge.yaml = options
        edge.start()
    finally:
        os.environ["S2S_PARTNERS_ERLANG"] = before
    with Client(ALICE, edge.address) as alice, Client(CAROL, edge.address) as carol:
        yield edge, alice, carol
    edge.stop()


def copy_of_beams(lab, name):
    source, = pathlib.Path(edge_ejabberd.beams_under_test()).glob("s2s_partners-*")
    copy = lab.directory / name / source.name
    shutil.copytree(source, copy)
    return copy


def logged(edge, words):
    wait_until(lambda: words in edge.log_file.read_text(), 20, f"log line with {words}")


def served(alice, carol):
    """What stays on the server goes its way."""
    for sender, receiver in ((alice, carol), (carol, alice)):
        body = f"here I am, says {sender.jid}: {next(_NUMBERS)}"
        sender.send_message(receiver.jid, body)
        receiver.wait_message(body)


def shut(edge, alice, carol):
    served(alice, carol)
    assert outbound_error(alice, f"bob@{PARTNER}")[0] == "internal-server-error"
    assert outbound_error(alice, f"bob@{STRANGER}")[0] == "internal-server-error"
    for domain in (PARTNER, STRANGER):
        with Probe(edge.address, from_=domain, to=HOST) as probe:
            probe.open()
            refused(probe, "config-invalid")
    served(alice, carol)


def open_again(edge, alice):
    """As it has to be: a stranger is refused for what it is."""
    assert outbound_error(alice, f"bob@{STRANGER}")[0] == "not-allowed"
    with Probe(edge.address, from_=STRANGER, to=HOST) as probe:
        probe.open()
        refused(probe, "unlisted-domain")


def scenario_good_start(lab):
    with running(lab, "good", **GOOD) as (edge, alice, carol):
        served(alice, carol)
        open_again(edge, alice)
        logged(edge, "Partner configuration applied: 1 partner")


def scenario_bad_start(lab):
    """The server starts, says every error, and federates with nobody until a reload succeeds."""
    with running(lab, "bad", partners=[{"domain": PARTNER, "partner_type": "federatd"}, {"domain": "*.test", "partner_type": "federated"}],
                 limits={"conections": 1}) as (edge, alice, carol):
        shut(edge, alice, carol)
        for words in ('partners[1] ("fabrikam.test").partner_type: got "federatd"', "partners[2]", "limits.conections: got 1; unknown key",
                      "none was in force before: every stream with another server is refused until they are corrected (config-invalid)"):
            logged(edge, words)
        edge.reload()
        assert edge.answer != "ok"
        shut(edge, alice, carol)
        edge.yaml = GOOD
        edge.reload()
        assert edge.answer == "ok", edge.answer
        open_again(edge, alice)


def scenario_library_missing(lab):
    copy = copy_of_beams(lab, "without-library")
    for library in (copy / "priv").glob("*.so"):
        library.unlink()
    with running(lab, "missing", copy.parent, **GOOD) as (edge, alice, carol):
        shut(edge, alice, carol)
        logged(edge, "mod_s2s_partners cannot guard this server, so every stream with another server is refused (config-invalid): "
                     "the library of mod_s2s_partners is not loaded")
        said = edge.command("s2s_partners_check")
        assert edge.status == 1 and "the library of mod_s2s_partners is not there" in " ".join(said.split()), said
        edge.reload()
        shut(edge, alice, carol)


def scenario_library_of_another_version(lab):
    """Beams of one version beside the library of another."""
    copy = copy_of_beams(lab, "other-version")
    source = pathlib.Path(__file__).resolve().parents[3] / "erlang/src/s2s_partners_nif.erl"
    subprocess.run(["erlc", "-DS2SP_VERSION=\"0.0.1\"", "-o", copy / "ebin", source], check=True, capture_output=True, timeout=60)
    with running(lab, "version", copy.parent, **GOOD) as (edge, alice, carol):
        shut(edge, alice, carol)
        logged(edge, "the library of mod_s2s_partners is not loaded")


# Takes an export out of a module of ours that runs, as if this version of ejabberd had one more callback than we know.
WITHOUT = """
    {{ok, {{_, [{{abstract_code, {{_, Forms}}}}]}}}} = beam_lib:chunks(code:which({module}), [abstract_code]),
    Fewer = [case Form of
                 {{attribute, Line, export, Names}} -> {{attribute, Line, export, Names -- [{{{function}, {arity}}}]}};
                 _ -> Form
             end || Form <- Forms],
    {{ok, {module}, Beam}} = compile:forms(Fewer, [debug_info, nowarn_unused_function]),
    {{module, _}} = code:load_binary({module}, "{module}.erl", Beam)"""


def scenario_ejabberd_asks_for_more(lab):
    """A callback that ejabberd's module has and ours does not would be the library's default, which lets everything pass."""
    with running(lab, "more", **GOOD) as (edge, alice, carol):
        open_again(edge, alice)
        edge.evaluate(WITHOUT.format(module="s2s_partners_in", function="handle_recv", arity=3))
        edge.reload()
        logged(edge, "this version of ejabberd asks ejabberd_s2s_in for handle_recv/3, which mod_s2s_partners does not know")
        shut(edge, alice, carol)


def scenario_code_that_is_gone(lab):
    """Modules that cannot be called: each of them refuses what it would have judged, and what is local passes."""
    copy = copy_of_beams(lab, "beams-that-go")      # those under test are other labs' as well, at the same time
    with running(lab, "gone", copy.parent, **GOOD) as (edge, alice, carol):
        open_again(edge, alice)
        for module in ("s2s_partners_route", "s2s_partners_in", "s2s_partners_stream", "s2s_partners_facts", "s2s_partners_nif"):
            edge.evaluate(f"""
                Path = code:which({module}), ok = file:rename(Path, Path ++ ".gone"),
                code:purge({module}), code:delete({module}), code:purge({module})""")
            try:
                served(alice, carol)
                assert outbound_error(alice, f"bob@{STRANGER}")[0] in ("internal-server-error", "not-allowed"), module
                with Probe(edge.address, from_=STRANGER, to=HOST) as probe:
                    probe.open()
                    error = probe.read_close()
                    assert error is None or error.condition in ("policy-violation", "internal-server-error"), (module, error)
            finally:
                edge.evaluate(f"""
                    [Directory | _] = [D || D <- code:get_path(), filelib:is_file(filename:join(D, "{module}.beam.gone"))],
                    Path = filename:join(Directory, "{module}.beam"), ok = file:rename(Path ++ ".gone", Path), code:load_file({module})""")


def scenario_killed_guard(lab):
    """The process that keeps it all dies: what was in force still is, and the process is back at once."""
    with running(lab, "killed", **GOOD) as (edge, alice, carol):
        open_again(edge, alice)
        for name in ("s2s_partners_guard", "s2s_partners_places", "s2s_partners_live", "s2s_partners_sup"):
            before = edge.evaluate(f"whereis({name})")
            edge.evaluate(f"exit(whereis({name}), kill)")
            wait_until(lambda name=name, before=before: edge.evaluate(f"whereis({name})") not in (before, "undefined"), 20, f"another {name}")
            # Answered when all that had to be started has been.
            wait_until(lambda: edge.evaluate("catch length([P || {_, P, _, _} <- supervisor:which_children(s2s_partners_sup), is_pid(P)])") == "3", 20,
                       "all processes of the guard")
            wait_until(lambda: "1 partner" in edge.command("s2s_partners_list", ""), 20, "the list")
            served(alice, carol)
            open_again(edge, alice)
        assert edge.evaluate("is_pid(whereis(ejabberd_gen_mod_sup))") == "true"
        # The new one knows where the module has been stopped.
        edge._module("unload", HOST)
        before = edge.evaluate("whereis(s2s_partners_guard)")
        edge.evaluate("exit(whereis(s2s_partners_guard), kill)")
        wait_until(lambda: edge.evaluate("whereis(s2s_partners_guard)") not in (before, "undefined"), 20, "another guard")
        assert edge.evaluate("is_tuple(s2s_partners_guard:reloads())") == "false"
        assert outbound_error(alice, f"bob@{PARTNER}")[0] == "internal-server-error"
        edge._module("load", HOST)
        open_again(edge, alice)


LIMITED = {"partners": [{"domain": PARTNER, "partner_type": "federated", "connection_limit": 1}]}


def stream(lab, edge):
    probe = Probe(edge.address, from_=PARTNER, to=HOST, leaf=lab.certificates.leaf(PARTNER))
    probe.authenticate()
    return probe


def kill(edge, name):
    before = edge.evaluate(f"whereis({name})")
    edge.evaluate(f"exit(whereis({name}), kill)")
    wait_until(lambda: edge.evaluate(f"whereis({name})") not in (before, "undefined"), 20, f"another {name}")


def scenario_killed_counter(lab):
    """Who counts the places has died: each stream takes its place again, and each connection that waits waits again."""
    with running(lab, "counter", **LIMITED) as (edge, alice, _), stream(lab, edge) as one, Probe(edge.address, from_=PARTNER, to=HOST) as waits:
        wait_until(lambda: edge.evaluate("s2s_partners_places:waiting()") == "{1,1}", 10, "the connection in the waiting room")
        for number in range(2):
            kill(edge, "s2s_partners_places")
            wait_until(lambda: edge.evaluate("s2s_partners_places:waiting()") == "{1,1}", 10, "the waiting room as it was")
            wait_until(lambda: edge.evaluate("maps:get(total, s2s_partners_places:counts())") == "1", 20, "the place of the stream")
            with Probe(edge.address, from_=PARTNER, to=HOST) as late:
                late.open()
                refused(late, "connection-limit", "resource-constraint")
            one.message(f"bob@{PARTNER}", ALICE, f"still here {number}")
            alice.wait_message(f"still here {number}")
        logged(edge, "s2s_partners_places has been restarted: each stream takes its place again")
        waits.close()
        wait_until(lambda: edge.evaluate("s2s_partners_places:waiting()") == "{0,0}", 20, "an empty waiting room")
        one.close()
        wait_until(lambda: edge.evaluate("#{partners := Partners, total := Total} = s2s_partners_places:counts(), {map_size(Partners), Total}") == "{0,0}", 20,
                   "the place given back")


def scenario_killed_list(lab):
    """Who keeps the list of live streams has died: they are listed again, and a reload judges them."""
    with running(lab, "list", **LIMITED) as (edge, alice, _), stream(lab, edge) as one:
        kill(edge, "s2s_partners_live")
        wait_until(lambda: PARTNER in edge.command("s2s_partners_streams"), 20, "the stream in the list")
        one.message(f"bob@{PARTNER}", ALICE, "still here")
        alice.wait_message("still here")
        kill(edge, "s2s_partners_live")
        edge.yaml = {"partners": [{"domain": "northwind.test", "partner_type": "federated"}]}
        edge.reload()
        assert edge.answer == "ok", edge.answer
        refused(one, "policy-changed")
        wait_until(lambda: PARTNER not in edge.command("s2s_partners_streams"), 20, "the end of the stream in the list")


def shuts_out(edge):
    """A stranger is refused for what it is, and nothing leaves for one. (ejabberd's own hooks are gone for good, so users get no answers.)"""
    with Probe(edge.address, from_=STRANGER, to=HOST) as probe:
        probe.open()
        refused(probe, "unlisted-domain")
    assert edge.evaluate(f"""ejabberd_hooks:run_fold(filter_packet, xmpp:decode({{xmlel, <<"message">>,
        [{{<<"from">>, <<"{ALICE}">>}}, {{<<"to">>, <<"bob@{STRANGER}">>}}], []}}, <<"jabber:client">>, []), [])""") == "drop"


def scenario_killed_hooks(lab):
    """Who keeps ejabberd's hooks has died, and all hooks with it: ours are back at once, and who came meanwhile is closed."""
    with running(lab, "hooks", **GOOD) as (edge, _, _), stream(lab, edge):
        kill(edge, "ejabberd_hooks")
        wait_until(lambda: edge.evaluate("catch length(ets:lookup(hooks, {filter_packet, global}))") == "1", 20, "the hook")
        logged(edge, "ejabberd_hooks has been restarted: the hooks of mod_s2s_partners are registered again")
        shuts_out(edge)
        # A guard that takes its time, so that there is a meanwhile.
        edge.evaluate("sys:suspend(s2s_partners_guard)")
        kill(edge, "ejabberd_hooks")
        with Probe(edge.address, from_=STRANGER, to=HOST) as probe:
            probe.features()
            edge.evaluate("sys:resume(s2s_partners_guard)")
            assert probe.read_close().condition == "policy-violation"
        shuts_out(edge)
        assert f"in   {PARTNER}" in edge.command("s2s_partners_streams")
        edge.reload()
        assert edge.answer == "ok" and edge.evaluate("maps:get(applied, s2s_partners_guard:last_reload())") == "2", edge.answer
