"""Trust anchors and pins as they are configured, changed and reloaded; what other modules and options may not change about
the verdict; and the warnings before something expires."""

import re
import ssl
import time

from lab.probe import Probe, mechanisms
from lab.waiting import wait_until

from scenarios._edge import (HOST, any_method, configuration, established, partner,
                             refusal_logged, refused)
from scenarios._scene import Scene

TIMEOUT = 60
FABRIKAM, NORTHWIND, WINGTIP = "fabrikam.test", "northwind.test", "wingtip.test"
OTHER_PIN = "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
NOT_APPLIED = r"partner configuration has errors and was not applied|Configuration reload aborted"


def closed_by_reload(remote):
    connection = remote.connections[-1]
    wait_until(lambda: connection.error is not None, 20, "stream error at the remote")
    assert connection.error.condition == "policy-violation" and "(policy-changed)" in connection.error.error_text


def own(domain=FABRIKAM, file="ca.pem", **more):
    return partner(domain, trust_anchors=file, **more)


# What others conclude

def scenario_another_module_says_valid(lab):
    """DANE, POSH and secure SRV records conclude something before; none of it counts."""
    entries = [partner(FABRIKAM), own(NORTHWIND), any_method(WINGTIP), any_method("adatum.test", trust_anchors="ca.pem"),
               partner("litware.test", pinned_keys=[OTHER_PIN])]
    with Scene(lab, configuration(*entries), {"ca.pem": ["other"]}, modules=["lab_all_valid"]) as scene:
        for domain, kind, verdict in ((FABRIKAM, "untrusted-ca", "untrusted"), (FABRIKAM, "wrong-name", "identity-mismatch"),
                                      (FABRIKAM, "expired", "expired"), (NORTHWIND, "good", "untrusted"),
                                      ("adatum.test", "good", "untrusted"), ("litware.test", "good", "pin-mismatch")):
            scene.assert_refused_in(verdict, domain, kind)
            scene.assert_refused_out(verdict, domain, kind)
        # Without anchors the certificate may be bad, but then it is for nothing.
        with scene.probe(WINGTIP, "untrusted-ca") as probe:
            features = probe.secure()
            assert mechanisms(features) == [], features
            assert probe.external().name == "failure"
        # And what is valid stays that.
        with scene.authenticated(NORTHWIND, "untrusted-ca") as probe:
            scene.send_in(probe, NORTHWIND)
        scene.connected(NORTHWIND, "untrusted-ca")


def scenario_secure_auth_and_own_anchors(lab):
    """Core's own check sees our verdict, in both senses."""
    entries = [own(FABRIKAM), partner(NORTHWIND), own(WINGTIP, sasl="optional", dialback=True)]
    with Scene(lab, configuration(*entries), {"ca.pem": ["other"]},
               options="s2s_secure_auth = true\ns2s_require_encryption = true") as scene:
        with scene.authenticated(FABRIKAM, "untrusted-ca") as probe:
            scene.send_in(probe)
        scene.connected(FABRIKAM, "untrusted-ca")
        scene.assert_refused_in("untrusted", FABRIKAM, "third-ca")
        scene.assert_refused_in("untrusted", NORTHWIND, "untrusted-ca")
        scene.assert_refused_out("untrusted", NORTHWIND, "untrusted-ca")
        scene.authenticated(NORTHWIND).close()
        scene.assert_refused_in("untrusted", WINGTIP)
        scene.authenticated(WINGTIP, "untrusted-ca").close()


def scenario_anchors_bind_dialback_too(lab):
    """TLS dialback needs the certificate as well, in both directions."""
    entry = partner(FABRIKAM, sasl="not_supported", dialback=True, trust_anchors="ca.pem")
    with Scene(lab, configuration(entry), {"ca.pem": ["other"]}) as scene:
        scene.assert_refused_in("untrusted")
        scene.assert_refused_out("untrusted")
        remote = scene.remote(FABRIKAM, "untrusted-ca", offer=["dialback"])
        with scene.probe(FABRIKAM, "untrusted-ca") as probe:
            probe.secure()
            assert probe.dialback() == "valid"
            scene.send_in(probe)
        scene.send_out(remote)


def scenario_direct_tls_and_old_tls(lab):
    """Whichever way TLS has begun, and in its older version: one verdict (XEP-0368)."""
    with Scene(lab, configuration(partner(FABRIKAM)), direct_tls=True) as scene:
        for more in ({"port": 5270, "direct_tls": True}, {"tls_maximum": ssl.TLSVersion.TLSv1_2},
                     {"port": 5270, "direct_tls": True, "tls_maximum": ssl.TLSVersion.TLSv1_2}):
            for kind in ("good", "intermediate"):
                with Probe(scene.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM, kind), **more) as probe:
                    probe.authenticate()
                    scene.send_in(probe)
            for kind, verdict in (("untrusted-ca", "untrusted"), ("expired", "expired"), (None, "no-certificate")):
                leaf = lab.certificates.leaf(FABRIKAM, kind) if kind else None
                with Probe(scene.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf, **more) as probe:
                    if not probe.tls:
                        probe.features()
                        assert probe.starttls() is None
                    probe.open()
                    refused(probe, f"certificate-{verdict}", "not-authorized")


# Anchors at commit

def leaf_pem(lab):
    return lab.certificates.leaf(FABRIKAM).certificate.read_bytes()


def bad_anchors(lab):
    """name -> (content of ca.pem, what the error says); None: no file, "": a directory"""
    ca = lab.certificates.only(lab.certificates.issuer("other"))
    return {
        "missing": (None, r"cannot be read"),
        "directory": ("", r"is not a file"),
        "empty": (b"", r"holds no certificate"),
        "der": (b"\x30\x82\x01\x01" + bytes(257), r"holds no certificate"),
        "damaged": (ca + ca[:200] + ca[240:], r"certificate 2 is damaged"),
        "cut": (ca[:-60], r"certificate 1 is damaged|holds no certificate"),
        "leaf": (leaf_pem(lab), rf"certificate 1 \(CN={FABRIKAM}\) is not a CA certificate"),
        "second_leaf": (ca + leaf_pem(lab), rf"certificate 2 \(CN={FABRIKAM}\) is not a CA certificate"),
        "expired": (lab.certificates.only(lab.certificates.issuer("expired-ca")), r"none of its certificates is valid now"),
        "weak": (lab.certificates.only(lab.certificates.issuer("weak-ca")), r"certificate 1 \(CN=CA with a weak key\) has a key"),
    }


def scenario_bad_anchors(lab):
    """An error that names file and certificate; the policy before stays in force, and so do its streams."""
    with Scene(lab, configuration(own(), partner(NORTHWIND)), {"ca.pem": ["other"]}) as scene, \
         scene.authenticated(FABRIKAM, "untrusted-ca") as probe:
        path = scene.edge.directory / "ca.pem"
        for name, (content, message) in bad_anchors(lab).items():
            path.unlink()
            if content == "":
                path.mkdir()
            elif content is not None:
                path.write_bytes(content)
            mark = scene.reload()
            scene.edge.wait_log(NOT_APPLIED, 5, mark)
            scene.edge.wait_log(rf"error\ts2s_partners\[1\] \(\"{FABRIKAM}\"\)\.trust_anchors: got \"ca\.pem\"; \S*ca\.pem[: ].*(?:{message})",
                                3, mark)
            scene.send_in(probe)
            if path.is_dir():
                path.rmdir()
            if not path.exists():
                path.touch()
        scene.assert_refused_in("untrusted")        # by the anchors before
        scene.write("ca.pem", ["expired-ca", "other"])
        mark = scene.reload()
        scene.edge.wait_log(r"warn\t.*ca\.pem.*certificate 1 \(CN=Expired CA\)", 5, mark)
        scene.edge.wait_log("Partner configuration applied", 5, mark)
        scene.send_in(probe)


def scenario_bad_anchors_at_start(lab):
    with Scene(lab, configuration(own())) as scene:
        scene.edge.wait_log(r"error\t.*ca\.pem.*cannot be read")
        with scene.probe() as probe:
            probe.open()
            refused(probe, "config-invalid")
        scene.write("ca.pem", ["ca"])
        scene.reload()
        scene.authenticated().close()


# Reload

def scenario_replaced_anchors(lab):
    """Read again at a reload: live streams of this partner are judged by it, and nobody else's."""
    with Scene(lab, configuration(own(), partner(NORTHWIND)), {"ca.pem": ["other"]}) as scene, \
         scene.authenticated(FABRIKAM, "untrusted-ca") as gone, scene.authenticated(NORTHWIND) as stays:
        remote = scene.connected(FABRIKAM, "untrusted-ca")
        scene.write("ca.pem", ["third", "other"])
        scene.reload()
        scene.send_in(gone)
        scene.send_out(remote)
        assert len(remote.connections) == 1
        scene.write("ca.pem", ["third"])
        scene.send_in(gone)                 # not before the reload
        mark = scene.reload()
        refused(gone, "policy-changed")
        closed_by_reload(remote)
        for direction in ("from", "to"):
            refusal_logged(scene.edge, direction, FABRIKAM, "policy-changed", mark)
        scene.send_in(stays, NORTHWIND)
        scene.assert_refused_in("untrusted", FABRIKAM, "untrusted-ca")
        scene.authenticated(FABRIKAM, "third-ca").close()


def scenario_anchors_added_and_taken_away(lab):
    with Scene(lab, configuration(partner(FABRIKAM), partner(NORTHWIND)), {"ca.pem": ["other"]}) as scene, \
         scene.authenticated() as gone:
        scene.reload(configuration(own(), partner(NORTHWIND)))
        refused(gone, "policy-changed")
        with scene.authenticated(FABRIKAM, "untrusted-ca") as private:
            scene.reload(configuration(partner(FABRIKAM), partner(NORTHWIND)))
            refused(private, "policy-changed")
        scene.authenticated().close()


def scenario_changed_pins(lab):
    leaf = lab.certificates.leaf(FABRIKAM)
    with Scene(lab, configuration(partner(FABRIKAM), partner(NORTHWIND))) as scene, \
         scene.authenticated() as gone, scene.authenticated(NORTHWIND) as stays:
        remote = scene.connected()
        scene.reload(configuration(partner(FABRIKAM, pinned_keys=[OTHER_PIN, leaf.pin]), partner(NORTHWIND)))
        scene.send_in(gone)
        scene.send_out(remote)
        assert len(remote.connections) == 1
        scene.reload(configuration(partner(FABRIKAM, pinned_keys=[OTHER_PIN]), partner(NORTHWIND)))
        refused(gone, "policy-changed")
        closed_by_reload(remote)
        scene.send_in(stays, NORTHWIND)
        scene.assert_refused_in("pin-mismatch")


def scenario_reload_in_mid_handshake(lab):
    """The verdict that a stream got before the reload does not carry it past the new anchors."""
    with Scene(lab, configuration(own()), {"ca.pem": ["other"]}) as scene, \
         scene.probe(FABRIKAM, "untrusted-ca") as early, scene.probe(FABRIKAM, "untrusted-ca") as late:
        early.features()
        late.secure()
        scene.write("ca.pem", ["third"])
        scene.reload()
        refused(late, "policy-changed")
        assert early.starttls() is None
        early.open()
        refused(early, "certificate-untrusted", "not-authorized")


# What the operator reads

def scenario_refusals_say_why(lab):
    entries = [partner(FABRIKAM), partner(NORTHWIND, pinned_keys=[OTHER_PIN])]
    leaf = lab.certificates.leaf(NORTHWIND)
    with Scene(lab, configuration(*entries)) as scene:
        for domain, kind, words in (
                (FABRIKAM, "untrusted-ca", r"unable to get local issuer certificate .*; issued by CN=Other CA\\?, trusted by nobody"),
                (FABRIKAM, "wrong-name", r"no name of the certificate is the domain .*; its names: dns somebody-else\.test$"),
                (FABRIKAM, "cn-only", r"it has no names \(the common name does not count\)$"),
                (FABRIKAM, "expired-issuer", r"has expired \(certificate 2 of the chain\); on \d{4}-\d\d-\d\d$"),
                (FABRIKAM, "not-yet-valid", r"not valid yet .*; its own first day is \d{4}-\d\d-\d\d$"),
                (FABRIKAM, "names-2500", r"damaged or has more than 2000 names"),
                (NORTHWIND, "good", rf"no key of the verified chain is a pinned one; its own is {re.escape(leaf.pin)}$")):
            mark = scene.edge.mark()
            with scene.probe(domain, kind) as probe:
                probe.features()
                assert probe.starttls() is None
                probe.open()
                probe.read_close("not-authorized")
            scene.edge.wait_log(rf"info\tRefused stream from {domain} .*: certificate-[a-z-]+: .*{words}", 3, mark)


def warnings(edge, what, mark=0):
    return re.findall(rf"warn\tThe (?:last )?certificate of {what}.*", edge.log_since(mark))


def scenario_expiry_of_partners(lab):
    """Once for each certificate, not for each stream, nor after a reload."""
    with Scene(lab, configuration(partner(FABRIKAM), own(NORTHWIND)), {"ca.pem": ["expiring-ca"]}) as scene:
        for _ in range(2):
            scene.authenticated(FABRIKAM, "expiring").close()
        scene.connected(FABRIKAM, "expiring")
        found = warnings(scene.edge, FABRIKAM)
        assert len(found) == 1 and re.search(rf"\(partner {FABRIKAM}\) expires in [45] days, on .*CN=Test CA", found[0]), found
        scene.reload()
        scene.edge.shell('module:reload("s2s_partners")')
        scene.authenticated(FABRIKAM, "expiring").close()
        assert len(warnings(scene.edge, FABRIKAM)) == 1
        # The anchor is what ends first: told at commit, and with the stream.
        assert len(warnings(scene.edge, r"the trust_anchors ca\.pem expires in (?:4|5) days")) == 1
        scene.authenticated(NORTHWIND, "expiring-ca").close()
        found = warnings(scene.edge, NORTHWIND)
        assert len(found) == 1 and "(a certificate above its own)" in found[0], found
        # What is good is not mentioned, and a second certificate is another.
        scene.authenticated(FABRIKAM).close()
        assert len(warnings(scene.edge, FABRIKAM)) == 1


def scenario_expiry_of_our_own(lab):
    hosts = {HOST: "", "late.test": "", "gone.test": ""}
    with Scene(lab, configuration(partner(FABRIKAM)), hosts=hosts,
               certificates={"late.test": "expiring", "gone.test": "expired"}) as scene:
        found = warnings(scene.edge, "this server")
        assert len(found) == 2 and not any(f"(for {HOST})" in line for line in found), found
        assert any(re.search(r"\(for late\.test\) expires in [45] days", line) for line in found), found
        assert any("(for gone.test) has expired on" in line for line in found), found
        scene.reload()
        assert len(warnings(scene.edge, "this server")) == 2


def scenario_our_own_chains_are_checked(lab):
    """As a partner would see them, for each host and component: what is wrong is named, what is in order is not."""
    kinds = {"missing.test": "missing-intermediate", "order.test": "reversed-chain", "private.test": "untrusted-ca", "alone.test": "self-signed",
             "usage.test": "no-sign-key-usage", "servers.test": "server-only", "old.test": "expired-issuer", "full.test": "intermediate"}
    words = {"missing.test": r"certificate 1 \(CN=missing\.test\) is the last, and its issuer CN=Test intermediate CA is neither in the file nor",
             "order.test": r"has not issued the one before it", "private.test": r"its issuer CN=Other CA.* is neither in the file nor",
             "alone.test": r"is self-signed", "usage.test": r"may not be used for signatures",
             "old.test": r"certificate 2 \(CN=Expired intermediate CA\) has expired on "}
    with Scene(lab, configuration(partner(FABRIKAM)), hosts={HOST: "", **dict.fromkeys(kinds, "")}, certificates=kinds) as scene:
        online = re.sub(r"\s+", " ", scene.edge.shell("partners:check()", timeout=60))
        output = scene.edge.ctl("mod_s2s_partners", "check", timeout=60).stdout
        offline = re.sub(r"\s+", " ", output)
        for text in (online, offline):
            for host, pattern in words.items():
                assert re.search(rf"{re.escape(host)}: .{{0,160}}?{pattern}", text), (host, text)
            for host in ("full.test", HOST):
                assert not re.search(rf"warning:? +{re.escape(host)}: \S*\.crt", text), (host, text)
        assert re.search(r"note +servers\.test: \S+ is for servers only", online), online
        assert re.search(r"note: servers\.test: \S+ is for servers only", offline), offline


# What is remembered of chains that were valid once

def scenario_valid_once_is_not_valid_for_ever(lab):
    """The same certificate, presented again after its last second."""
    with Scene(lab, configuration(partner(FABRIKAM))) as scene:
        leaf = lab.certificates.leaf(FABRIKAM, label="short", to=9 / 86400)     # for two streams, on a busy machine too
        end = time.monotonic() + 10
        for _ in range(2):
            mark = scene.edge.mark()
            with Probe(scene.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
                probe.authenticate()
                established(scene.edge, "from", FABRIKAM, mark)
        time.sleep(max(0, end - time.monotonic()))
        with Probe(scene.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
            probe.features()
            probe.starttls()
            probe.open()
            refused(probe, "certificate-expired", "not-authorized")


def scenario_valid_for_one_is_not_valid_for_another(lab):
    """The same certificate, presented for a domain that it does not name, and by a partner with a pin it does not have."""
    pinned = partner(NORTHWIND, pinned_keys=[lab.certificates.leaf(FABRIKAM, label="other").pin])
    with Scene(lab, configuration(partner(FABRIKAM), pinned, partner("litware.test"))) as scene:
        leaf = lab.certificates.leaf(FABRIKAM, also=(NORTHWIND,), label="both")
        with Probe(scene.edge.address, from_=FABRIKAM, to=HOST, leaf=leaf) as probe:
            probe.authenticate()
        for domain, reason in ((NORTHWIND, "certificate-pin-mismatch"), ("litware.test", "certificate-identity-mismatch")):
            with Probe(scene.edge.address, from_=domain, to=HOST, leaf=leaf) as probe:
                probe.features()
                probe.starttls()
                probe.open()
                refused(probe, reason, "not-authorized")
