"""How long a reload keeps everybody waiting: a client pings without pause while the configuration is read again."""

import signal
import time

from fedlab.lab import Lab
from loads import Raw, User
from servers import Counted

VARIANTS = ["bare", "partners-10", "partners-10000"]
PING = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"


def once(lab, server, user):
    """Milliseconds: the longest wait for an answer, and the CPU time that the server spent meanwhile."""
    raw = Raw(user.socket, "<iq ")
    longest = spent = 0
    begin = time.monotonic()
    mark, signalled = server.mark(), False
    while time.monotonic() < begin + 1.5:
        if not signalled and time.monotonic() > begin + 0.3:
            server.process.signal(signal.SIGHUP)
            signalled = True
        start, before = time.monotonic(), server.spent()
        user.send(PING)
        user.sent.clear()
        raw.wait(1)
        waited = (time.monotonic() - start) * 1000
        if waited > longest:
            longest, spent = waited, (server.spent() - before) / 1000
        time.sleep(0.001)
    assert "SIGHUP" in server.log_since(mark)
    return longest, spent


def measure(version, options):
    result = {}
    with Lab(version=version) as lab:
        for variant in VARIANTS:
            server = Counted(lab, variant, False, version, options.build).start()
            user = User(server)
            rounds = [once(lab, server, user) for _ in range(7)]
            wait, cpu = (sorted(r[i] for r in rounds) for i in (0, 1))
            result[variant] = {"wait": wait[3], "wait_worst": wait[-1], "cpu": cpu[3], "resident": server.resident()}
            print(f"reload     {version:5} {variant:20} longest wait {wait[3]:.1f} ms (worst {wait[-1]:.1f}), of it CPU {cpu[3]:.1f} ms", flush=True)
            user.close()
            server.stop()
    return result
