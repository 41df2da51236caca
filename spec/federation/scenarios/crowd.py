"""A crowd of hostile connections while a partner goes on: silent ones, half-open ones, keys for made-up domains.

S2SP_CROWD says how many (400; 5000 is the full figure). Each scenario prints what the edge's memory and the partner's round trip
were before and in the middle of it."""

import os
import pathlib
import resource
import socket
import statistics
import time

from lab.client import Client
from lab.probe import Probe
from lab.waiting import wait_until
from lab.xmlstream import DIALBACK, SERVER, STREAMS, TLS

from scenarios._edge import ALICE, HOST, configuration, edge_server, partner, tcp_dialback

CROWD = int(os.environ.get("S2SP_CROWD", "400"))
TIMEOUT = 120 + CROWD // 20
FABRIKAM, KEYS = "fabrikam.test", "keys.test"
ROUND_TRIPS = 50
HEADER = (f"<?xml version='1.0'?><stream:stream xmlns='{SERVER}' xmlns:stream='{STREAMS}' xmlns:db='{DIALBACK}' "
          "from='{domain}' to='contoso.test' version='1.0'>")
RESULT = "<db:result from='{domain}' to='contoso.test'>0123456789abcdef</db:result>"


def setup(lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * CROWD + 2000)), hard))
    # Everything as by default but the establishment time-out: a crowd is to stay. A busy ejabberd may take a minute to accept it.
    limits = {"establishment_timeout": 300}
    lab.edge = edge_server(lab, configuration(partner(FABRIKAM), tcp_dialback(KEYS), s2s_partners_limits=limits),
                           s2s_timeout=300, log_level="info", direct_tls=True,
                           options='statistics = "internal"').start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.partner = Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM), source="127.0.250.1")
    lab.partner.authenticate()
    round_trip(lab)
    measure(lab)        # what grows once
    lab.cleanup(lab.alice.close)
    return lab


def teardown(lab):
    lab.partner.close()


def round_trip(lab):
    """Seconds from the partner's server to alice."""
    body, mark = lab.alice.new_id(), lab.alice.mark()
    start = time.perf_counter()
    lab.partner.message(f"bob@{FABRIKAM}", ALICE, body)
    lab.alice.wait_message(body, since=mark)
    return time.perf_counter() - start


def rss(lab):
    """Of the edge, in kB."""
    with open(f"/proc/{lab.edge.process.popen.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def open_files(lab):
    return len(os.listdir(f"/proc/{lab.edge.process.popen.pid}/fd"))


def spent(lab):
    """CPU seconds of the edge, in user mode and in the kernel."""
    fields = pathlib.Path(f"/proc/{lab.edge.process.popen.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_idle(lab):
    """Whether it does next to nothing for a moment."""
    start = spent(lab)
    time.sleep(0.5)
    return spent(lab) - start <= 0.02


def measure(lab):
    """(kB, median ms, worst ms of ninety-five in a hundred, CPU ms of the edge for each round trip)"""
    start = spent(lab)
    times = sorted(round_trip(lab) * 1000 for _ in range(ROUND_TRIPS))
    return rss(lab), statistics.median(times), times[int(ROUND_TRIPS * 0.95)], (spent(lab) - start) * 1000 / ROUND_TRIPS


class Crowd:
    """Sockets from forty addresses of their own, opened as fast as it goes and then left alone."""

    def __init__(self, lab, say=None, port=5269, sources=40, network=1):
        self.sockets = []
        for number in range(CROWD):
            sock = socket.socket()
            sock.bind((f"127.{100 + network}.0.{number % sources + 1}", 0))
            sock.settimeout(10)
            sock.connect((lab.edge.address, port))
            if say:
                try:
                    sock.sendall(say(number))
                except OSError:
                    pass
            self.sockets.append(sock)

    def still_open(self):
        count = 0
        for sock in self.sockets:
            sock.setblocking(False)
            try:
                while sock.recv(65536):
                    pass
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        return count

    def close(self):
        for sock in self.sockets:
            sock.close()


def siege(lab, name, say=None, port=5269, network=1, others=0, lines=60):
    """The partner before and in the middle; at most `others` of the crowd may stay."""
    before, mark, files, start = measure(lab), lab.edge.mark(), open_files(lab), time.monotonic()
    crowd = Crowd(lab, say, port, network=network)
    taken = time.monotonic() - start
    try:
        wait_until(lambda: is_idle(lab), 60, "the edge to be through with what the crowd has said")
        middle = measure(lab)
        stay = crowd.still_open()
        # A stream that is new comes in all the same.
        with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as late:
            late.authenticate()
        held = open_files(lab) - files
    finally:
        crowd.close()
    wait_until(lambda: open_files(lab) <= files + 5, 40, "end of the crowd's connections")
    after = measure(lab)
    # ejabberd has lines of its own for each connection.
    log = lab.edge.module_log(mark) if lab.edge.host == "ejabberd" else lab.edge.log_since(mark)
    written = len(log.splitlines())
    print(f"# {CROWD} {name} in {taken:.1f} s: {stay} stay, {held} files; RSS {before[0]} -> {middle[0]} -> {after[0]} kB; round "
          f"trip median {before[1]:.1f} -> {middle[1]:.1f} -> {after[1]:.1f} ms, 95 % {before[2]:.1f} -> {middle[2]:.1f} -> "
          f"{after[2]:.1f} ms, CPU {before[3]:.1f} -> {middle[3]:.1f} -> {after[3]:.1f} ms; {written} log lines", flush=True)
    assert stay <= others, f"{stay} connections of the crowd are open, {others} were to be at most"
    assert middle[0] - before[0] < 40000 + 8 * CROWD, "memory grows with the crowd"
    # What the edge does, and not how long that takes: other programs may want the processors as well.
    assert middle[3] < before[3] * 5 + 10, "a message of the partner's costs more while the crowd is there"
    assert written < lines, f"{written} log lines"


def scenario_silent(lab):
    siege(lab, "silent connections", others=1000)


def scenario_silent_from_one_address(lab):
    """A tenth of all, and the partner's new stream comes from that address as well (127.0.0.1 in the lab)."""
    before = open_files(lab)
    crowd = [socket.create_connection((lab.edge.address, 5269), 10) for _ in range(CROWD)]
    try:
        time.sleep(0.5)
        wait_until(lambda: is_idle(lab), 60, "the edge to be through with the crowd")
        held = open_files(lab) - before
        assert held <= 105, held
        with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as late:
            late.authenticate()
        round_trip(lab)
    finally:
        for sock in crowd:
            sock.close()
    wait_until(lambda: open_files(lab) <= before + 5, 40, "end of the crowd's connections")


def scenario_half_open(lab):
    """STARTTLS asked for, no handshake."""
    say = HEADER.format(domain=FABRIKAM) + f"<starttls xmlns='{TLS}'/>"
    siege(lab, "half-open TLS handshakes", lambda _: say.encode(), network=2, others=1000)


def scenario_half_open_direct_tls(lab):
    """The port for direct TLS, on which core knows nothing until the handshake is done."""
    siege(lab, "half-open direct TLS handshakes", port=5270, network=3, others=1000)


def scenario_keys_for_made_up_domains(lab):
    """No look-up, no connection, no metric and no memory for any of them."""
    def say(number):
        domain = f"made-up-{number}.evil.test"
        return (HEADER.format(domain=domain) + RESULT.format(domain=domain) * 3).encode()
    mark = lab.dns.mark()
    siege(lab, "keys for made-up domains", say, network=4, lines=7500)
    assert not lab.dns.asked("evil.test", mark)


def scenario_keys_without_from(lab):
    def say(number):
        header = HEADER.replace("from='{domain}' ", "")
        return (header + RESULT.format(domain=f"made-up-{number}.evil.test") * 3).encode()
    mark = lab.dns.mark()
    siege(lab, "keys on streams without a name", say, network=5, lines=7500)
    assert not lab.dns.asked("evil.test", mark)


def scenario_keys_for_a_partner(lab):
    """A partner that may use dialback, and that cannot be reached: one key a stream, and one connection of ours for all."""
    lab.dns.remove(KEYS)
    say = HEADER.format(domain=KEYS) + RESULT.format(domain=KEYS) * 20
    siege(lab, "keys of a partner", lambda _: say.encode(), network=6, others=1000, lines=10000)
    assert len([query for query in lab.dns.queries() if query == (f"_xmpp-server._tcp.{KEYS}", "SRV")]) <= CROWD


def scenario_metrics_stay_bounded(lab):
    """Whatever strangers have said, no name of theirs is in any metric."""
    code = ("> local n, bad = 0, 0; for _, family in pairs(require 'core.statsmanager'.get_metric_registry():get_metric_families()) do "
            "for labels in family:iter_metrics() do n = n + 1; for _, v in pairs(labels) do "
            "if tostring(v):find('evil') or tostring(v):find('made') then bad = bad + 1 end end end end "
            "return ('metrics %d, of strangers %d'):format(n, bad)")
    said = lab.edge.shell(code)
    assert "of strangers 0" in said, said
    print("# " + next(line for line in said.splitlines() if "metrics" in line).strip(), flush=True)
