"""A commit with an answer: partners:commit() in the shell, prosodyctl mod_s2s_partners commit, and the check before a reload."""

import contextlib
import re
import subprocess

from lab.paths import ROOT
from lab.probe import Probe
from lab.prosody import Prosody

from scenarios._edge import HOST, any_method, configuration, edge_server, established, partner, tls_dialback

TIMEOUT = 90
FABRIKAM, ANY, WINGTIP = "fabrikam.test", "any.test", "wingtip.test"
BEFORE = configuration(partner(FABRIKAM), any_method(ANY), partner("gone.test"))
AFTER = configuration(partner(FABRIKAM, "corp.fabrikam.test", description="contract 2231"), tls_dialback(ANY), tls_dialback(WINGTIP))
BAD = AFTER + 's2s_partners_default = "refuse all"\n'


def setup(lab):
    lab.edge = edge_server(lab, BEFORE, users=(), s2s_timeout=60).start()      # a stream in clear stays while the shell is asked several times


def words(text):
    return re.sub(r"\s+", " ", text.replace("\n| ", "\n"))


def on_disk(lab, partners):
    lab.edge.partners = partners
    lab.edge.write_config()


def fresh(lab):
    on_disk(lab, BEFORE)
    lab.edge.reload()


def in_force(lab):
    return set(re.findall(r"^(?:\| )?(\w+\.test) +(?:federated|public)", lab.edge.shell(f'partners:list("{HOST}")'), re.MULTILINE))


def commit(lab, *options, reply=None):
    """prosodyctl mod_s2s_partners commit: its exit status and its words."""
    ran = subprocess.run(list(map(str, lab.edge._command("prosodyctl", "mod_s2s_partners", "commit", *options))), env=lab.edge.env, input=reply,
                         stdin=None if reply is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=30)
    assert "traceback" not in ran.stdout, ran.stdout
    return ran.returncode, words(ran.stdout)


def asking(lab, name, socket=None):
    """Only a configuration, with the socket of the edge's shell, or another."""
    server = edge_server(lab, BEFORE, name=name, users=(), register=False,
                         options=f'admin_socket = "{socket or lab.edge.directory / "prosody.sock"}"\n')
    server.write_config()
    return server


def says_what_changes(output):
    for told in ("added wingtip.test: federated, required/not_supported/yes: TLS dialback", "removed gone.test: federated",
                 "changed fabrikam.test: additional_domains: corp.fabrikam.test, was none; description: contract 2231, was none",
                 "changed any.test: sasl: not_supported, was optional; tls: required, was optional; methods lost: SASL, TCP dialback"):
        assert told in output, f"{told}: {output}"


def scenario_shell(lab):
    fresh(lab)
    mark = lab.edge.mark()
    with Probe(lab.edge.address, from_=ANY, to=HOST) as plain, \
         Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as sasl, \
         Probe(lab.edge.address, from_="gone.test", to=HOST, leaf=lab.certificates.leaf("gone.test")) as gone:
        for probe, domain in ((sasl, FABRIKAM), (gone, "gone.test")):
            probe.authenticate()
            established(lab.edge, "from", domain, mark)
        plain.features()
        on_disk(lab, AFTER)
        for command in ("partners:check()", 'partners:commit("preview")'):
            output = words(lab.edge.shell(command))
            says_what_changes(output)
            assert "Live streams that it closes: 1 of 3" in output or "Live streams that it closes: 2 of 3" in output, output
            assert "in gone.test, host contoso.test: the domain is no longer listed" in output, output
        assert in_force(lab) == {FABRIKAM, ANY, "gone.test"}
        assert "Refused stream" not in lab.edge.log_since(mark)
        assert re.search(r"in +gone\.test +contoso\.test +SASL", lab.edge.shell("partners:streams()"))     # nothing has happened to it
        output = words(lab.edge.shell("partners:commit()"))
        says_what_changes(output)
        assert re.search(r"applied: 1 partner added, 1 removed, 2 changed; [12] live streams? closed", output), output
        gone.read_close("policy-violation", "policy-changed")
        assert re.search(rf"in +{FABRIKAM} +contoso\.test +SASL", lab.edge.shell("partners:streams()"))
    assert in_force(lab) == {FABRIKAM, ANY, WINGTIP}
    assert "NOT in force" not in lab.edge.shell("partners:list()")


def scenario_shell_refuses(lab):
    """Errors, one after the other, and nothing of it in force; a state of the disk that has not been shown is not applied."""
    fresh(lab)
    mark = lab.edge.mark()
    on_disk(lab, BAD)
    output = words(lab.edge.shell("partners:commit()"))
    assert "error: s2s_partners_default: got" in output, output
    assert "Error: 1 error; nothing has been applied, the configuration before stays in force" in output, output
    lab.edge.config_file.write_text(lab.edge.config() + "\n}")
    # prosodyctl cannot read that file either.
    output = words(asking(lab, "asking").shell("partners:commit()"))
    assert "the file cannot be parsed" in output and "Error: 1 error; nothing has been applied" in output, output
    assert "Reloading configuration" not in lab.edge.log_since(mark)
    on_disk(lab, AFTER)
    token = re.search(r'partners:commit\("(\w+)"\) applies exactly this', words(lab.edge.shell('partners:commit("preview")')))[1]
    on_disk(lab, BEFORE + "-- more\n")
    output = words(lab.edge.shell(f'partners:commit("{token}")'))
    assert "not the one that was shown; nothing has been applied" in output, output
    for wrong in ('"now"', "1", "{}", "true", f'"{"x" * 5000}"'):
        output = lab.edge.shell(f"partners:commit({wrong})")
        assert "is nothing that can be committed" in output and len(output) < 400, output
    assert in_force(lab) == {FABRIKAM, ANY, "gone.test"}
    assert "Reloading configuration" not in lab.edge.log_since(mark)


def scenario_limits_count(lab):
    """A stream that is one too many under the new limits is closed, and told of before."""
    fresh(lab)
    leaf = lab.certificates.leaf(FABRIKAM)
    with contextlib.ExitStack() as streams:
        for _ in range(2):
            mark = lab.edge.mark()
            second = streams.enter_context(Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf))
            second.authenticate()
            established(lab.edge, "from", FABRIKAM, mark)
        on_disk(lab, configuration({**partner(FABRIKAM), "connection_limit": 1}, s2s_partners_limits={"connections": 7}))
        output = words(lab.edge.shell("partners:check()"))
        assert "Live streams that it closes: 1 of 2" in output and "connection_limit: 1, was 200" in output, output
        assert "changed limits: connections: 7, was 1000" in output, output
        output = words(lab.edge.shell("partners:commit()"))
        assert "Live streams that it closes: 1 of 2" in output and "1 live stream closed" in output, output
        second.read_close("policy-violation", "policy-changed")     # the younger one
    fresh(lab)


def scenario_command(lab):
    fresh(lab)
    on_disk(lab, AFTER)
    status, output = commit(lab)
    says_what_changes(output)
    assert status == 1 and "Apply this? [y/N]" in output and "not confirmed; nothing has been applied" in output, output
    for reply in ("n\n", "\n", "yesterday\n"):
        status, output = commit(lab, reply=reply)
        assert status == 1 and "not confirmed; nothing has been applied" in output, output
    assert in_force(lab) == {FABRIKAM, ANY, "gone.test"}
    status, output = commit(lab, reply="y\n")
    assert status == 0 and output.count("added wingtip.test") == 1, output
    assert "applied: 1 partner added, 1 removed, 2 changed; 0 live streams closed" in output, output
    assert in_force(lab) == {FABRIKAM, ANY, WINGTIP}
    on_disk(lab, BAD)
    for options in ([], ["--yes"]):
        status, output = commit(lab, *options, reply="y\n")
        assert status == 1 and "error: s2s_partners_default: got" in output and "nothing has been applied" in output, output
        assert "Apply this?" not in output, output
    on_disk(lab, BEFORE)
    status, output = commit(lab, "--yes")
    assert status == 0 and "added gone.test" in output and "applied: 1 partner added, 1 removed, 2 changed" in output, output
    assert in_force(lab) == {FABRIKAM, ANY, "gone.test"}
    status, output = commit(lab, "--yes")
    assert status == 0 and "no partner, no setting of one and no limit" in output and "applied: 0 partners added" in output, output


def scenario_command_used_wrongly(lab):
    for options in (["now"], ["--no"], ["--yes", "more"]):
        status, output = commit(lab, *options)
        assert status == 2 and "Error: " in output, output


def scenario_command_without_a_server(lab):
    """A server that does not run, one without the module, and one without the shell."""
    stopped = asking(lab, "stopped", "nothing.sock")
    bare = Prosody(lab, "bare", ["bare.test"], users=(), preset="any", register=False).start()
    ran = stopped.ctl("mod_s2s_partners", "commit", "--yes")
    assert ran.returncode == 1 and "the server cannot be asked at " in ran.stdout and "admin_shell" in ran.stdout, ran.stdout
    (stopped.directory / "data").mkdir(exist_ok=True)
    stopped.options = f'admin_socket = "{bare.directory / "prosody.sock"}"\n'
    stopped.write_config()
    ran = stopped.ctl("mod_s2s_partners", "commit", "--yes")
    assert ran.returncode == 1 and "has not loaded mod_s2s_partners, or an older version of it; nothing has been applied" in ran.stdout, ran.stdout
    bare.stop()


def scenario_check_before_reload(lab):
    """The lines of the systemd drop-in, run one after the other until one fails, as systemd does."""
    text = (ROOT / "docs" / "examples" / "prosody-check-before-reload.conf").read_text()
    lines = re.findall(r"^ExecReload=(.*)$", text, re.MULTILINE)
    assert lines[0] == "" and len(lines) == 3, lines

    def reload():
        for line in lines[1:]:
            if line.startswith("/usr/bin/prosodyctl "):
                command = list(map(str, lab.edge._command("prosodyctl", *line.split()[1:])))
            else:
                command = line.replace("$MAINPID", str(lab.edge.process.popen.pid)).split()
            if subprocess.run(command, env=lab.edge.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=20).returncode != 0:
                return False
        return True

    fresh(lab)
    mark = lab.edge.mark()
    on_disk(lab, BAD)
    assert not reload()
    assert "SIGHUP" not in lab.edge.log_since(mark)
    on_disk(lab, AFTER)
    assert reload()
    lab.edge.wait_log("Partner configuration applied", 40, mark)       # COMPAT 0.12: a signal can lose a timer, see reload.lib.lua
    assert in_force(lab) == {FABRIKAM, ANY, WINGTIP}
