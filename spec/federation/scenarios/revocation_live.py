"""Files of revocation lists that change while the server runs: taken up without a reload, and what they revoke is closed."""

import re
import time
import urllib.request

from lab.waiting import wait_until

from scenarios import _scene
from scenarios._edge import (HOST, PING, configuration, outbound_error, partner, refusal_logged,
                             refused, tls_dialback)

TIMEOUT = 120
FABRIKAM, NORTHWIND, WINGTIP = "fabrikam.test", "northwind.test", "wingtip.test"
TAKEN_UP = 15       # seconds, at most: two looks of five seconds each, and a busy machine


class Scene(_scene.Scene):
    @property
    def make(self):
        return self.lab.certificates

    def leaf(self, domain=FABRIKAM, kind="good", **more):
        return self.make.leaf(domain, kind, **more)

    def taken_up(self, mark, what=""):
        return self.edge.wait_log(rf"info\tRevocation lists in \S*{what} have changed and are in force", TAKEN_UP, mark)


def closed_as_revoked(remote):
    connection = remote.connections[-1]
    wait_until(lambda: connection.error is not None, 20, "stream error at the remote")
    assert connection.error.condition == "not-authorized" and "(certificate-revoked)" in connection.error.error_text, connection.error


def scenario_revoked_while_it_lives(lab):
    """Both directions close at once, nobody else's; what was valid once is refused when it comes back."""
    options = configuration(partner(FABRIKAM, crls=["fabrikam.crl"]), partner(NORTHWIND, crls=["northwind.crl"]), partner(WINGTIP))
    make = lab.certificates
    with Scene(lab, options, {"fabrikam.crl": make.crl(), "northwind.crl": make.crl()}) as scene, \
         scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays, scene.authenticated(WINGTIP) as other:
        remote = scene.connected()
        scene.send_in(gone)
        mark, start = scene.edge.mark(), time.monotonic()
        scene.write("fabrikam.crl", make.crl("good", [scene.leaf()]))
        refused(gone, "certificate-revoked", "not-authorized", TAKEN_UP)
        elapsed = time.monotonic() - start
        closed_as_revoked(remote)
        print(f"# closed {elapsed:.1f} s after the file was written")
        for direction in ("from", "to"):
            refusal_logged(scene.edge, direction, FABRIKAM, "certificate-revoked", mark)
        scene.edge.wait_log(r"2 live streams are closed for what the new revocation lists say", 1, mark)
        assert "Partner configuration applied" not in scene.edge.log_since(mark)
        scene.send_in(stays, NORTHWIND)
        scene.send_in(other, WINGTIP)
        scene.assert_refused_in("revoked")
        condition, text, _ = outbound_error(scene.alice, f"eve@{FABRIKAM}")
        assert condition == "not-allowed" and "revoked" in text, (condition, text)
        # And back.
        mark = scene.edge.mark()
        scene.write("fabrikam.crl", make.crl())
        scene.taken_up(mark, "fabrikam.crl")
        scene.authenticated().close()


def scenario_an_intermediate_is_revoked(lab):
    make = lab.certificates
    with Scene(lab, configuration(partner(FABRIKAM), s2s_partners_crls=["root.crl"]), {"root.crl": make.crl()}) as scene, \
         scene.authenticated(kind="intermediate") as gone:
        scene.write("root.crl", make.crl("good", [make.issuer("intermediate")]))
        refused(gone, "certificate-revoked", "not-authorized", TAKEN_UP)
        scene.assert_refused_in("revoked", kind="intermediate")
        scene.authenticated().close()


def scenario_dialback_needs_no_certificate(lab):
    """As with every other verdict: where dialback authenticates, a certificate that is not asked for takes nothing away."""
    make = lab.certificates
    entry = tls_dialback(FABRIKAM, crls=["x.crl"])
    with Scene(lab, configuration(entry), {"x.crl": make.crl("good", [make.leaf(FABRIKAM)])}) as scene:
        remote = scene.connected()
        mark = scene.edge.mark()
        scene.write("x.crl", make.crl("good", [make.leaf(FABRIKAM), make.leaf(NORTHWIND)]))
        scene.taken_up(mark)
        scene.send_out(remote)
        assert len(remote.connections) <= 2, remote.connections


def scenario_in_mid_handshake(lab):
    """The verdict that a stream got before does not carry it past the new list."""
    make = lab.certificates
    # The file may be looked at as late as core itself would give up what is not yet authenticated.
    with Scene(lab, configuration(partner(FABRIKAM, crls="x.crl")), {"x.crl": make.crl()}, s2s_timeout=60) as scene, scene.probe() as late:
        late.secure()
        scene.write("x.crl", make.crl("good", [scene.leaf()]))
        refused(late, "certificate-revoked", "not-authorized", TAKEN_UP)


def scenario_the_last_good_one_stays(lab):
    """Damaged, empty, gone: an error each, once, and what was read before goes on."""
    make = lab.certificates
    revoking = make.crl("good", [make.leaf(FABRIKAM)])
    with Scene(lab, configuration(partner(FABRIKAM, crls=["x.crl"]), partner(NORTHWIND, crls=["x.crl"])), {"x.crl": revoking}) as scene, \
         scene.authenticated(NORTHWIND) as stays:
        path = scene.edge.directory / "x.crl"
        for content, words in ((b"", "holds no revocation list"), (revoking[:200], "revocation list 1 is damaged"), (None, "is gone")):
            mark = scene.edge.mark()
            path.unlink() if content is None else path.write_bytes(content)
            line = rf"error\t.*x\.crl: {words}.*; the revocation lists that were read from it before stay in force"
            scene.edge.wait_log(line, TAKEN_UP, mark)
            scene.assert_refused_in("revoked")
            scene.send_in(stays, NORTHWIND)
            time.sleep(4)
            assert len(re.findall(line, scene.edge.log_since(mark))) == 1
        mark = scene.edge.mark()
        scene.edge.reload()
        scene.edge.wait_log(r"error\t.*\.crls\[1\]: got \"x\.crl\"; there is no such file; fetch the revocation list", 5, mark)
        scene.edge.wait_log("has errors and was not applied", 5, mark)
        scene.assert_refused_in("revoked")
        mark = scene.edge.mark()
        path.write_bytes(make.crl())
        scene.taken_up(mark)
        scene.authenticated().close()


def scenario_bad_at_start(lab):
    make = lab.certificates
    with Scene(lab, configuration(partner(FABRIKAM, crls=["x.crl"]))) as scene:
        scene.edge.wait_log(rf"error\ts2s_partners\[1\] \(\"{FABRIKAM}\"\)\.crls\[1\]: got \"x\.crl\"; there is no such file")
        with scene.probe() as probe:
            probe.open()
            refused(probe, "config-invalid")
        for content, words in ((b"rubbish", "holds no revocation list"), (make.crl()[:100], "is damaged; fetch it anew")):
            scene.write("x.crl", content)
            mark = scene.edge.mark()
            scene.edge.reload()
            scene.edge.wait_log(rf"error\t.*\.crls\[1\]: got \"x\.crl\"; .*x\.crl: .*{words}", 5, mark)
        scene.write("x.crl", make.crl("indirect"))
        mark = scene.edge.mark()
        scene.edge.reload()
        scene.edge.wait_log(r"warn\t.*x\.crl: revocation list 1 \(of CN=Test CA\) counts for nothing: .*indirect", 5, mark)
        scene.authenticated().close()


def scenario_a_new_file_of_a_pattern(lab):
    make = lab.certificates
    options = configuration(partner(FABRIKAM), partner(NORTHWIND), s2s_partners_crls=["crls/*.crl"])
    with Scene(lab, options, {"crls/README": b""}) as scene, scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays:
        scene.edge.wait_log(r"warn\ts2s_partners_crls\[1\]: got \"crls/\*\.crl\"; no file matches", 5)
        mark = scene.edge.mark()
        scene.write("crls/one.crl", make.crl("good", [scene.leaf()]))
        refused(gone, "certificate-revoked", "not-authorized", TAKEN_UP)
        scene.send_in(stays, NORTHWIND)
        scene.write("crls/two.crl", make.crl("good", [scene.leaf(NORTHWIND)]))
        refused(stays, "certificate-revoked", "not-authorized", TAKEN_UP)
        scene.taken_up(mark, "one.crl")
        scene.taken_up(mark, "two.crl")


def scenario_lists_of_the_host(lab):
    """They count beside a partner's own, not where it has anchors of its own; and revocation = "off" is off."""
    make = lab.certificates
    entries = [partner(FABRIKAM, crls=["empty.crl"]), partner(NORTHWIND, trust_anchors="ca.pem"),
               partner(WINGTIP, revocation="off"), partner("litware.test", trust_anchors="ca.pem", crls=["empty.crl"], revocation="required"),
               partner("adatum.test")]
    everybody = [make.leaf(entry["domain"]) for entry in entries]
    files = {"host.crl": make.crl("good", everybody), "empty.crl": make.crl(), "ca.pem": make.only(make.issuer("ca"))}
    with Scene(lab, configuration(*entries, s2s_partners_crls="host.crl"), files) as scene:
        scene.assert_refused_in("revoked", FABRIKAM)
        scene.assert_refused_in("revoked", "adatum.test")
        for domain in (NORTHWIND, WINGTIP, "litware.test"):
            scene.authenticated(domain).close()


def scenario_required_without_a_list(lab):
    with Scene(lab, configuration(partner(FABRIKAM, revocation="required"))) as scene:
        scene.edge.wait_log(rf"warn\ts2s_partners\[1\] \(\"{FABRIKAM}\"\)\.revocation: got \"required\"; no revocation list counts for this partner", 5)
        scene.assert_refused_in("revocation-unknown")


def scenario_a_reload_that_demands_more(lab):
    """Live streams are judged by the new configuration: what a list revokes is revoked, what is not covered is the policy's doing."""
    make = lab.certificates
    with Scene(lab, configuration(partner(FABRIKAM), partner(NORTHWIND), partner(WINGTIP)),
               {"x.crl": make.crl("good", [make.leaf(FABRIKAM)])}) as scene, \
         scene.authenticated() as revoked, scene.authenticated(NORTHWIND) as uncovered, scene.authenticated(WINGTIP) as stays:
        scene.edge.partners = configuration(partner(FABRIKAM, crls=["x.crl"]), partner(NORTHWIND, revocation="required"),
                                            partner(WINGTIP, crls=["x.crl"], revocation="required"))
        scene.edge.reload()
        refused(revoked, "certificate-revoked", "not-authorized")
        refused(uncovered, "policy-changed")
        scene.send_in(stays, WINGTIP)


def scenario_after_its_last_second(lab):
    """A chain that was valid while the list was current is not known to be valid after."""
    make = lab.certificates
    with Scene(lab, configuration(partner(FABRIKAM, crls=["x.crl"], revocation="required")), {"x.crl": make.crl()}) as scene:
        # Its time begins when the edge has started.
        scene.write("x.crl", make.crl("good", to=12 / 86400))
        end = time.monotonic() + 13
        scene.edge.reload()
        for _ in range(2):
            scene.authenticated().close()
        time.sleep(max(0, end - time.monotonic()))
        scene.assert_refused_in("revocation-unknown")
        scene.edge.wait_log(r"warn\tA revocation list in x\.crl has expired on .*Fetch a new one", TAKEN_UP)


def scenario_warnings_and_metric(lab):
    make = lab.certificates
    options = configuration(partner(FABRIKAM, crls=["ending.crl", "good.crl"]))
    with Scene(lab, options, {"ending.crl": make.crl("ending"), "good.crl": make.crl("of-other")}, modules=["http_openmetrics"], options="""
statistics = "internal"
statistics_interval = "manual"
http_ports = { 5280 }
http_interfaces = { "127.0.0.1" }
openmetrics_allow_ips = { "127.0.0.1" }
""") as scene:
        for _ in range(3):
            scene.authenticated().close()
        lines = re.findall(r"warn\tA revocation list in .*", scene.edge.log_since())
        assert len(lines) == 1 and re.search(r"ending\.crl expires in (23 hours|1 day), on .*; fetch a new one", lines[0]), lines
        with urllib.request.urlopen("http://127.0.0.1:5280/metrics", timeout=10) as answer:
            text = answer.read().decode()
        left = dict(re.findall(r'crl_expiry\{file="([^"]*)"\} (\S+)', text))
        assert set(left) == {"ending.crl", "good.crl"} and 80000 < float(left["ending.crl"]) <= 86400, left


def scenario_a_huge_list(lab):
    """A hundred thousand entries are read without anybody waiting for them."""
    make = lab.certificates
    with Scene(lab, configuration(partner(FABRIKAM, crls=["x.crl"])), {"x.crl": make.crl()}) as scene, scene.authenticated() as gone:
        huge = make.crl("good", [scene.leaf()], extra=100000)
        mark = scene.edge.mark()
        scene.write("x.crl", huge)
        longest, end = 0, time.monotonic() + 3 * TAKEN_UP
        while "are in force" not in scene.edge.log_since(mark):
            assert time.monotonic() < end
            start = time.monotonic()
            scene.alice.iq(HOST, PING)
            longest = max(longest, time.monotonic() - start)
        print(f"# longest wait of a client: {longest * 1000:.0f} ms")
        refused(gone, "certificate-revoked", "not-authorized")
        scene.edge.wait_log(r"x\.crl have changed and are in force: 1 list, 100001 revoked", 1, mark)
        assert longest < 1, longest     # whatever else the machine does meanwhile
