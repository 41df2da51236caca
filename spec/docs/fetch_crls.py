#!/usr/bin/python3
"""docs/examples/fetch-crls, run as it stands against a web server of this process on 127.0.0.1."""

import functools
import http.server
import pathlib
import subprocess
import sys
import tempfile
import threading

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "spec")]

from lab.certificates import Certificates  # noqa: E402 (needs the path above)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make, web, into = Certificates(folder / "certificates"), folder / "web", folder / "crls"
        web.mkdir()
        into.mkdir()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=web))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        authority, lines = make.issuer("ca").certificate, folder / "crls.list"
        leaf = make.leaf("fabrikam.test")

        def fetch(content, authority=authority, name="x.crl"):
            """(exit status, what was said, what is in place) after the content (None: nothing) was published."""
            (web / "x.crl").unlink(missing_ok=True)
            if content is not None:
                (web / "x.crl").write_bytes(content)
            lines.write_text(f"# name, place, authority\n\n{name} http://127.0.0.1:{server.server_port}/x.crl {authority or ''}\n")
            run = subprocess.run(["sh", ROOT / "docs/examples/fetch-crls", into, lines], capture_output=True, text=True, timeout=60, check=False)
            place = into / "x.crl"
            assert not list(into.glob(".*")), list(into.glob(".*"))
            return run.returncode, run.stderr, place.read_bytes() if place.exists() else None

        first = make.crl("good", [leaf], **{"from": -3})
        second = make.crl("der", [leaf], **{"from": -2})
        third = make.crl("good", **{"from": -1})
        rows = [
            ("a page of a web server", b"<html>", authority, 1, "is no revocation list", None),
            ("a list", first, authority, 0, "", first),
            ("the same again", first, authority, 0, "", first),
            ("half of one", third[:100], authority, 1, "is no revocation list", first),
            ("nothing there", None, authority, 1, "could not be fetched", first),
            ("a newer one, in DER", second, authority, 0, "", second),
            ("an older one", first, authority, 1, "is older than the one before", second),
            ("one that another has signed", make.crl("forged", **{"from": -1}), authority, 1, "is not signed by the authority in", second),
            ("one of another", make.crl("of-other", **{"from": -1}), authority, 1, "is not signed by the authority in", second),
            ("a newer one", third, authority, 0, "", third),
            ("one that another has signed, and nobody asks", make.crl("forged", **{"from": 0}), None, 0, "", ...),
        ]
        print(f"1..{len(rows) + 2}")
        failed = False

        def tell(number, title, right, seen):
            nonlocal failed
            failed = failed or not right
            print(f"{'ok' if right else 'not ok'} {number} - {title}" + ("" if right else f"\n# {seen}"))
        for number, (title, content, signer, status, said, left) in enumerate(rows, 1):
            seen = fetch(content, signer)
            wanted = content if left is ... else left
            tell(number, title, seen[0] == status and said in seen[1] and (not said) == (not seen[1]) and seen[2] == wanted, seen[:2])
        seen = fetch(third, name="../x.crl")
        tell(len(rows) + 1, "a name that leads elsewhere", seen[0] == 1 and "must be the name of a file" in seen[1], seen[:2])
        usage = subprocess.run(["sh", ROOT / "docs/examples/fetch-crls"], capture_output=True, text=True, timeout=60, check=False)
        tell(len(rows) + 2, "wrong usage", usage.returncode == 2 and usage.stderr.startswith("usage:"), usage.stderr)
        server.shutdown()
    return failed


if __name__ == "__main__":
    sys.exit(main())
