#!/usr/bin/python3
"""What a stanza takes in ejabberd's callbacks and hooks, in nanoseconds, without the module and with it; on a busy machine too.

    S2S_PARTNERS_ERLANG=DIR spec/bench/ejabberd_calls.py [VERSION]"""

import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from lab import machine  # noqa: E402 (needs the path above)
from lab.lab import Lab, ensure_namespace  # noqa: E402
from loads import Inbound, Outbound, Peer  # noqa: E402
from servers import GuardedEjabberd  # noqa: E402


def main():
    ensure_namespace()
    version = sys.argv[1] if len(sys.argv) > 1 else machine.ejabberds()[0].number
    with tempfile.TemporaryDirectory() as beams:
        subprocess.run(["erlc", "-o", beams, HERE / "ejabberd_calls.erl"], check=True)
        for variant in ("ejabberd-bare", "ejabberd-10"):
            for way, load in (("incoming", Inbound), ("outgoing", Outbound)):
                with Lab(version="0.12") as lab:
                    peer = Peer(lab)
                    server = GuardedEjabberd(lab, variant, version).start(timeout=300)
                    stream = load(lab, peer, server, 1)     # until it has been measured
                    stream.run(3)
                    print(version, variant, server.evaluate(f'code:add_patha("{beams}"), ejabberd_calls:{way}()', 200), flush=True)


if __name__ == "__main__":
    main()
