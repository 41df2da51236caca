"""Settings of relay hosts: each error is told with its remedy, and nothing of such a configuration comes into force."""

from lab.client import Client
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import HOST, ROOMS
from ._edge import any_method, configuration

GOOD = 's2s_inside = { server = "127.0.9.9:5269"; sasl = "not_supported"; dialback = true }'
NO_C2S = 'modules_disabled = { "c2s" }\n'
PARTNERS = configuration(any_method("fabrikam.test", presence_authorization="user"))
INTERFACES = 's2s_inside_interfaces = { "127.0.9.1" }\n'


def setup(lab):
    lab.edge = Prosody(lab, "edge", {"edge.test": "", HOST: NO_C2S}, partners=PARTNERS + INTERFACES).start()


def _apply(lab, host=NO_C2S + GOOD, partners=PARTNERS, interfaces=INTERFACES, rooms=None, options=""):
    lab.edge.hosts[HOST] = host
    lab.edge.components = {} if rooms is None else {ROOMS: rooms}
    lab.edge.partners, lab.edge.options = partners + interfaces, options
    mark = lab.edge.mark()
    lab.edge.reload()
    return lab.edge.log_since(mark)


def _refused(lab, *words, **settings):
    log = _apply(lab, **settings)
    for text in words:
        assert text in log, f"{text!r} is not in the log:\n" + "\n".join(line for line in log.splitlines() if "mod_s2s_partners" in line)
    assert "was not applied" in log
    good = _apply(lab)
    assert "Partner configuration applied" in good, good


def scenario_good_settings(lab):
    assert "Partner configuration applied" in _apply(lab)
    wait_until(lambda: "s2s_inside" in lab.edge.log_since(), 20, "the inner port")


def scenario_no_server(lab):
    _refused(lab, 's2s_inside.server: must name the users\' server', host=NO_C2S + 's2s_inside = { dialback = true; sasl = "not_supported" }')
    _refused(lab, "must be a table", host=NO_C2S + 's2s_inside = "xmpp.corp.example"')


def scenario_unknown_key_and_value(lab):
    _refused(lab, "s2s_inside.proxy: unknown key", host=NO_C2S + GOOD.replace("server =", 'proxy = "x:1"; server ='))
    _refused(lab, "s2s_inside.tls: got \"requird\"", host=NO_C2S + GOOD.replace("server =", 'tls = "requird"; server ='))
    _refused(lab, "s2s_inside.server: got \"a b:99999\"", host=NO_C2S + GOOD.replace("127.0.9.9:5269", "a b:99999"))
    _refused(lab, "s2s_inside_interface: unknown option", interfaces=INTERFACES + 's2s_inside_interface = "127.0.9.1"\n')


def scenario_no_relay_host(lab):
    """What is written about relay hosts where there is none is told of."""
    log = _apply(lab, host=NO_C2S + GOOD.replace("s2s_inside", "s2s_insid"))
    assert "s2s_insid: unknown option" in log and "was not applied" in log, log
    log = _apply(lab, host=NO_C2S)
    assert "s2s_inside_interfaces: has no effect" in log and "Partner configuration applied" in log, log
    _apply(lab)


def scenario_impossible_row(lab):
    _refused(lab, "SASL requires TLS", host=NO_C2S + 's2s_inside = { server = "127.0.9.9:5269"; tls = "not_supported"; sasl = "optional"; dialback = true }')
    _refused(lab, "s2s_inside.trust_anchors: is needed where sasl is required", host=NO_C2S + 's2s_inside = { server = "127.0.9.9:5269" }')


def scenario_server_is_this_one(lab):
    for server in ("127.0.9.1:5269", f"{lab.edge.address}:5269"):
        _refused(lab, "is where this server listens", host=NO_C2S + GOOD.replace("127.0.9.9:5269", server))
    for server in (HOST, "edge.test"):
        _refused(lab, "is a domain of this server", host=NO_C2S + GOOD.replace("127.0.9.9:5269", server))


def scenario_clients_and_accounts(lab):
    _refused(lab, 'modules_disabled = { "c2s" }', host=GOOD)
    _refused(lab, "authentication", "a relay host has no accounts", host=NO_C2S + GOOD + '\nauthentication = "internal_hashed"')
    lab.edge.add_user(f"mallory@{HOST}")
    try:
        log = _apply(lab)
        assert "this host has accounts (\"mallory\", for one)" in log, log
    finally:
        lab.edge._store_path(f"mallory@{HOST}", "accounts").unlink()
        _apply(lab)


def scenario_host_with_clients(lab):
    """A host at which clients log in becomes no relay host by a reload: a restart does it."""
    lab.edge.hosts[HOST], lab.edge.components = "", {}
    lab.edge.restart()
    lab.edge.add_user(f"mallory@{HOST}")
    with Client(f"mallory@{HOST}", lab.edge.address):
        lab.edge._store_path(f"mallory@{HOST}", "accounts").unlink()
        log = _apply(lab)
        assert "clients are logged in at this host" in log and "the module is still loaded" in log and "was not applied" in log, log
    lab.edge.restart()
    assert "Partner configuration applied" in _apply(lab)


def scenario_automatic_authorisation(lab):
    _refused(lab, "presence_authorization", "fabrikam.test", 'write presence_authorization = "user"', partners=configuration(any_method("fabrikam.test")))
    log = _apply(lab, host=NO_C2S, partners=configuration(any_method("fabrikam.test")), rooms=("s2s_inside", GOOD))
    assert "Partner configuration applied" in log, "rooms have no rosters: nothing is authorised there"
    _apply(lab)


def scenario_interfaces(lab):
    _refused(lab, "s2s_inside_interfaces: is needed", interfaces="")
    _refused(lab, "must be addresses of the inner side alone", interfaces='s2s_inside_interfaces = { "*" }\n')
    _refused(lab, "overlaps with another service", interfaces=f's2s_inside_interfaces = {{ "{lab.edge.address}" }}\n')
    _refused(lab, "s2s_inside_ports", interfaces=INTERFACES + "s2s_inside_ports = { 99999 }\n")


def scenario_components(lab):
    assert "Partner configuration applied" in _apply(lab, rooms=("s2s_inside", GOOD))
    _refused(lab, "must be a table that says where", rooms=("s2s_inside", ""))
    _refused(lab, "a relay host has no rooms or services of its own", rooms=("muc", GOOD))


def scenario_certificate(lab):
    _refused(lab, "must be two files",
             host=NO_C2S + GOOD.replace("server =", 'certificate = "inner.crt"; server ='))
    _refused(lab, "the certificate for the inner side cannot be used",
             host=NO_C2S + GOOD.replace("server =", 'certificate = { certificate = "none.crt"; key = "none.key" }; server ='))


def scenario_observe_mode(lab):
    """Without a policy a relay host would be an open relay: nothing passes one while nothing is enforced."""
    log = _apply(lab, options='s2s_partners_mode = "observe"\n')
    assert "nothing passes one while nothing" in log, log
    _apply(lab)


def scenario_observe_mode_offline(lab):
    """prosodyctl and the console refuse before a reload what a reload would refuse."""
    lab.edge.options = 's2s_partners_mode = "observe"\n'
    lab.edge.write_config()
    try:
        ran = lab.edge.ctl("mod_s2s_partners", "check")
        shown = lab.edge.shell("partners:check()")
    finally:
        lab.edge.options = ""
        lab.edge.write_config()
    assert ran.returncode == 1 and "nothing passes one while nothing" in " ".join(ran.stdout.split()), ran.stdout
    assert "nothing passes one while nothing" in " ".join(shown.split()), shown


def scenario_console_looks_at_the_disk(lab):
    """partners:check judges relay hosts as they are written now, not as they were when the server read them."""
    lab.edge.hosts[HOST] = NO_C2S + GOOD.replace("127.0.9.9:5269", HOST)
    lab.edge.write_config()
    try:
        shown = lab.edge.shell("partners:check()")
    finally:
        lab.edge.hosts[HOST] = NO_C2S + GOOD
        lab.edge.write_config()
    assert "is a domain of this server" in " ".join(shown.split()), shown


def scenario_offline_check(lab):
    """prosodyctl looks at the settings of relay hosts too, without a running server."""
    lab.edge.write_config()
    ran = lab.edge.ctl("mod_s2s_partners", "check")
    assert ran.returncode == 0, ran.stdout
    lab.edge.hosts[HOST] = NO_C2S + GOOD.replace("127.0.9.9:5269", HOST)
    lab.edge.write_config()
    ran = lab.edge.ctl("mod_s2s_partners", "check")
    lab.edge.hosts[HOST] = NO_C2S + GOOD
    lab.edge.write_config()
    assert ran.returncode == 1 and "is a domain of this server" in " ".join(ran.stdout.split()), ran.stdout
