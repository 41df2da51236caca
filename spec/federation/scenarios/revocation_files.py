"""Files of revocation lists that somebody tampers with, or that change in ways of which their size and time say little; and every way in."""

import os
import re
import shutil
import ssl
import time

from lab.probe import Probe
from lab.xmlstream import client_context

from scenarios._edge import HOST, configuration, partner, refused
from scenarios.revocation_live import FABRIKAM, NORTHWIND, TAKEN_UP, Scene

TIMEOUT = 120
SECOND = 1 / 86400      # in days


def scenario_what_may_take_its_place(lab):
    """A list that was verified gives way to one of the same authority and key that is not older, and to nothing else. Errors are told once."""
    make = lab.certificates
    revoking = make.crl("good", [make.leaf(FABRIKAM)], **{"from": -2})
    with Scene(lab, configuration(partner(FABRIKAM, crls="x.crl"), partner(NORTHWIND, crls="x.crl")), {"x.crl": revoking}) as scene:
        scene.assert_refused_in("revoked")
        for kind, changes, words in (("forged", {"from": -1}, "is not signed any more by the key that has signed it before"),
                                     ("good", {"from": -3}, "is older than it was"), ("of-other", {}, "is not there any more"),
                                     ("delta", {}, "is not there any more"), ("sha1", {}, "counts for nothing now")):
            mark = scene.edge.mark()
            scene.write("x.crl", make.crl(kind, **changes))
            line = rf"error\t.*x\.crl: the revocation list of CN=Test CA {words}; fetch it .*; the revocation lists that were read from it before stay in force"
            scene.edge.wait_log(line, TAKEN_UP, mark)
            scene.assert_refused_in("revoked")
            scene.authenticated(NORTHWIND).close()
        mark = scene.edge.mark()
        time.sleep(5)
        assert "x.crl" not in re.sub(r".*debug\t.*", "", scene.edge.log_since(mark)), scene.edge.log_since(mark)
        scene.write("x.crl", revoking)
        scene.edge.wait_log(r"info\t.*x\.crl holds again what is in force", TAKEN_UP, mark)
        # Its own authority sets it free.
        mark = scene.edge.mark()
        scene.write("x.crl", make.crl("good"))
        scene.taken_up(mark)
        scene.authenticated().close()
        # And who reloads is told what that does.
        scene.write("x.crl", make.crl("forged"))
        mark = scene.edge.mark()
        scene.edge.reload()
        scene.edge.wait_log(r"warn\t.*x\.crl.*is not signed any more by the key .*; what it has revoked may pass again", 5, mark)


def scenario_its_time_comes(lab):
    """A list of a clock that is ahead says nothing yet; when it does, it closes the streams that have come about meanwhile."""
    make = lab.certificates
    # The one that is to be gone waits for a look at the file before it goes on: an ejabberd's own time for it begins when it connects.
    with Scene(lab, configuration(partner(FABRIKAM, crls="x.crl"), partner(NORTHWIND, crls="x.crl")), {"x.crl": make.crl()}, s2s_timeout=60) as scene, \
         scene.probe() as gone, scene.authenticated(NORTHWIND) as stays:
        mark = scene.edge.mark()
        scene.write("x.crl", make.crl("good", [scene.leaf()], **{"from": 18 * SECOND}))
        start = time.monotonic()
        # Where the list before had been verified it stays until then.
        scene.edge.wait_log(r"error\t.*x\.crl: the revocation list of CN=Test CA is not valid yet", TAKEN_UP, mark)
        gone.authenticate()
        refused(gone, "certificate-revoked", "not-authorized", 2 * TAKEN_UP)
        assert time.monotonic() - start > 5
        scene.taken_up(mark, "x.crl")
        scene.send_in(stays, NORTHWIND)
    with Scene(lab, configuration(partner(FABRIKAM), partner(NORTHWIND))) as scene, \
         scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays:
        scene.write("x.crl", make.crl("good", [make.leaf(FABRIKAM)], **{"from": 15 * SECOND}))
        scene.edge.partners = configuration(partner(FABRIKAM, crls="x.crl"), partner(NORTHWIND, crls="x.crl"))
        scene.edge.reload()
        scene.send_in(gone)
        mark = scene.edge.mark()
        refused(gone, "certificate-revoked", "not-authorized", 2 * TAKEN_UP)
        scene.edge.wait_log(r"info\tA revocation list in x\.crl is valid from now on", 1)
        scene.edge.wait_log(r"1 live stream is closed for what the new revocation lists say", 1)
        scene.send_in(stays, NORTHWIND)
        assert "Revocation lists in" not in scene.edge.log_since(mark)


def scenario_files_that_hide_their_change(lab):
    """A link that leads elsewhere, an old time of writing, the same size: what counts is what is there."""
    make = lab.certificates
    leaves = [make.leaf(domain) for domain in (FABRIKAM, NORTHWIND)]
    with Scene(lab, configuration(*(partner(domain, crls="x.crl") for domain in (FABRIKAM, NORTHWIND)))) as scene:
        folder = scene.edge.directory
        lists = [make.crl("good", [leaf], **{"from": -3 + number}) for number, leaf in enumerate((leaves[0], leaves[1], leaves[0]))]
        size = max(map(len, lists))
        for name, text in zip(("one", "two"), lists):
            (folder / name).write_bytes(text.ljust(size, b"\n"))
            os.utime(folder / name, (1700000000, 1700000000))
        (folder / "x.crl").symlink_to("one")
        scene.edge.reload()
        scene.edge.wait_log("Partner configuration applied", 5)
        scene.assert_refused_in("revoked", FABRIKAM)
        with scene.authenticated(NORTHWIND) as gone:
            (folder / "new").symlink_to("two")
            (folder / "new").rename(folder / "x.crl")
            refused(gone, "certificate-revoked", "not-authorized", TAKEN_UP)
        with scene.authenticated(FABRIKAM) as gone:
            (folder / "two").write_bytes(lists[2].ljust(size, b"\n"))      # in its place: the same file, size and time
            os.utime(folder / "two", (1700000000, 1700000000))
            refused(gone, "certificate-revoked", "not-authorized", TAKEN_UP)


def scenario_what_is_no_file(lab):
    """A pipe, a folder, a link to nothing, a device: nobody waits for them, and what was read before stays."""
    make = lab.certificates
    with Scene(lab, configuration(partner(FABRIKAM, crls="x.crl")), {"x.crl": make.crl("good", [make.leaf(FABRIKAM)])}) as scene:
        path = scene.edge.directory / "x.crl"

        def put(action):
            path.rmdir() if path.is_dir() else path.unlink()
            action()
        for action, words in ((lambda: os.mkfifo(path), "is no ordinary file"), (path.mkdir, "is a folder"),
                              (lambda: path.symlink_to("/dev/zero"), "is no ordinary file"), (lambda: path.symlink_to("nowhere"), "no such file")):
            put(action)
            mark = scene.edge.mark()
            scene.edge.reload()
            scene.edge.wait_log(rf'error\t.*\.crls\[1\]: got "x\.crl"; .*{words}', 5, mark)
            scene.assert_refused_in("revoked")
            time.sleep(3)
            scene.assert_refused_in("revoked")
        assert len(re.findall(r"error\t.*x\.crl: is gone or no file any more", scene.edge.log_since())) <= 4
        shutil.rmtree(path, ignore_errors=True)


def scenario_every_way_in(lab):
    """STARTTLS, direct TLS, a session of TLS that is taken up again, TLS dialback with a pin."""
    make = lab.certificates
    leaf = make.leaf(FABRIKAM)
    entries = [partner(FABRIKAM, crls="x.crl"),
               partner(NORTHWIND, sasl="not_supported", dialback=True, pinned_keys=[make.leaf(NORTHWIND).pin], crls="x.crl")]
    with Scene(lab, configuration(*entries), {"x.crl": make.crl()}, direct_tls=True) as scene:
        context = client_context(leaf, maximum=ssl.TLSVersion.TLSv1_2)
        sessions = []

        def again(session=None):
            """A stream whose TLS resumes `session`, if the server lets it; the session it has in the end."""
            probe = Probe(scene.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf)
            probe.features()
            probe.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            assert probe.read().name == "proceed"
            probe.start_tls(context, name=HOST, session=session)
            return probe
        with again() as first:
            first.features()
            first.external()
            sessions.append(first.socket.session)
        mark = scene.edge.mark()
        scene.write("x.crl", make.crl("good", [leaf, make.leaf(NORTHWIND)]))
        scene.taken_up(mark)
        scene.assert_refused_in("revoked")
        with again(sessions[0]) as resumed:
            resumed.open()
            refused(resumed, "certificate-revoked", "not-authorized")
        with Probe(scene.edge.address, 5270, from_=FABRIKAM, to=HOST, leaf=leaf, direct_tls=True) as probe:
            probe.open()
            refused(probe, "certificate-revoked", "not-authorized")
        scene.assert_refused_in("revoked", NORTHWIND)
