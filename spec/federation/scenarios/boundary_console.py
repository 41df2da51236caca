"""What the console shows of the inner leg: partners:check and partners:test of it, explain through both legs, streams of both sides, metrics.
TRANSCRIPT_OUT=FILE keeps what the pages show (two versions append to it)."""

import os
import re
import urllib.request

from lab.client import Client
from lab.prosody import Prosody
from lab.waiting import wait_until

from ._boundary import ALICE, BOB, CAROL, HOST, ROOMS, Boundary, words
from ._edge import any_method, configuration

LISTED = any_method("fabrikam.test", partner_type="public_unverified")
PARTNERS = configuration(LISTED)
METRICS = """
statistics = "internal"
statistics_interval = "manual"
http_ports = { 5280 }
http_interfaces = { "127.0.0.1" }
openmetrics_allow_ips = { "127.0.0.1" }
"""
PAUSE = 20  # seconds: what a change may take to show


def unwrapped(shown):
    """A path may be cut where a mark ends a line."""
    return re.sub(r"(?<=[/.@-]) ", "", shown)


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test"], modules=["http_openmetrics"], options=METRICS)
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody(s2s_timeout=6)
    lab.inside.components["town.contoso.test"] = ("muc", "")
    lab.inside.start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


def shell(lab, command):
    shown = lab.edge.shell(command, timeout=60)
    if "TRANSCRIPT_OUT" in os.environ:
        with open(os.environ["TRANSCRIPT_OUT"], "a", encoding="utf-8") as out:
            out.write(f"prosody> {command}\n{shown}\n")
    return words(shown)


def check(lab):
    return shell(lab, "partners:check()")


def test(lab, domain="fabrikam.test", host=HOST):
    return shell(lab, f'partners:test("{domain}", "{host}")')


def restart(lab, preset="any", certificate="good"):
    """The inside, that federates in another way. Its users are there."""
    lab.inside.stop()
    lab.inside.preset, lab.inside.certificates = preset, {HOST: certificate, ROOMS: certificate}
    lab.inside.start()


def scenario_test(lab):
    place = f"{lab.boundary.inside_address}:5269"
    shown = test(lab)
    for text in (f"Testing fabrikam.test -> contoso.test, the server inside ({place}, TLS dialback)",
                 f'not asked, s2s_inside has server = "{place}"', f"connected to {lab.boundary.inside_address} port 5269",
                 "the server inside answers, and offers STARTTLS, dialback", "TLSv1.3", "over TLS it offers dialback",
                 "the server inside asks here whether the key is fabrikam.test's", "method", "pong from contoso.test",
                 ": fabrikam.test -> contoso.test works;"):
        assert text in shown, f"{text!r} is not in {shown}"
    order = [shown.index(stage) for stage in (" DNS ", " TCP ", " stream ", " TLSv1.3, ", " features ", " key ", " method ", " round trip ")]
    assert order == sorted(order), shown
    shown = test(lab, host=ROOMS)
    assert "works (it refuses pings)" in shown or "works;" in shown, shown
    wait_until(lambda: " out " not in words(lab.edge.shell('partners:streams("inner")')), PAUSE, "the tested streams are closed")


def scenario_test_of_whom_it_may_be(lab):
    """Only of partners, in that order only; the other order tests the outer leg as ever."""
    mark = lab.inside.mark()
    assert "evil.test is no partner of contoso.test (unlisted-domain)" in test(lab, "evil.test")
    assert "not a host of this server" in test(lab, host="edge.test")
    assert "is a host of this server, too" in test(lab, ROOMS)
    assert "evil.test" not in lab.inside.log_since(mark)
    shown = test(lab, HOST, "fabrikam.test")
    assert "Testing contoso.test -> fabrikam.test" in shown and "contoso.test -> fabrikam.test works" in shown, shown


def scenario_check(lab):
    place = f"{lab.boundary.inside_address}:5269"
    shown = check(lab)
    for text in ("Looking at the servers inside of 2 relay hosts",
                 f"ok contoso.test: the server inside, {place}, takes this one for fabrikam.test: TLS dialback, TLSv1.3, its certificate does not count "
                 "for that; it asks here about keys",
                 f"ok conference.contoso.test: the server inside, {place}, takes this one for fabrikam.test",
                 "ok contoso.test: services of the server inside that have a relay host: conference.contoso.test",
                 "warning contoso.test: town.contoso.test is a service of the server inside and no relay host: partners do not reach it; write Component "
                 '"town.contoso.test" "s2s_inside"'):
        assert text in shown, f"{text!r} is not in {shown}"


def scenario_key_is_asked_elsewhere(lab):
    """The inner server's view of DNS leads the partner somewhere else, where nobody knows of the key."""
    lab.boundary.view.server("northwind.test", "127.0.66.66")
    lab.edge.partners = lab.edge.partners.replace(PARTNERS, configuration(any_method("northwind.test", partner_type="public_unverified")))
    lab.edge.reload()
    try:
        shown = test(lab, "northwind.test")
        assert "key failed" in shown and "nobody has asked here about the key" in shown, shown
        assert f"in its view of DNS northwind.test has to lead to {lab.boundary.inner_address} port 5269" in shown, shown
        assert "northwind.test -> contoso.test failed at key" in shown, shown
        shown = check(lab)
        assert "warning contoso.test: the server inside" in shown and "has not asked here about the key of northwind.test" in shown, shown
    finally:
        lab.edge.partners = lab.edge.partners.replace("northwind.test", "fabrikam.test")
        lab.edge.reload()


def scenario_explain(lab):
    def explain(from_, to):
        return shell(lab, f'partners:explain("{from_}", "{to}")')
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        shown = explain(BOB, ALICE)
        assert f"contoso.test is a relay host: alice is at the server inside, {lab.boundary.inside_address}:5269, which is reached by TLS dialback." in shown, shown
        assert "the contact is not in the local user's roster (as far as it shows here; rosters are inside)" in shown, shown
        assert "verdict: refuse not-listed" in shown, shown
        alice.subscribe(BOB)
        bob.wait_presence(ALICE, "subscribe")
        shown = explain(BOB, ALICE)
        assert re.search(r"the contact is in the local user's roster \(known since \S+ \S+ UTC, by a request of the user's; confirmed ", shown), shown
        assert "The stream to it for fabrikam.test stands: TLS dialback, TLSv1.3." in shown or "There is no stream to it for fabrikam.test" in shown, shown
        assert "verdict: allow" in shown, shown
        bob.send_message(ALICE, "to alice")
        alice.wait_message("to alice")
        assert "The stream to it for fabrikam.test stands: TLS dialback, TLSv1.3." in explain(BOB, ALICE)
        shown = explain(ALICE, BOB)
        assert "The stream from it for fabrikam.test stands: TLS dialback, TLSv1.3." in shown, shown
    shown = explain(f"town@{ROOMS}", BOB)
    assert "conference.contoso.test is a relay host: town (a room or a user of a service) is at the server inside" in shown, shown
    assert "relay host" not in explain("local@edge.test", BOB)


def scenario_streams_of_both_sides(lab):
    with Client(CAROL, lab.inside.address) as carol, Client(BOB, lab.partner.address) as bob:
        carol.subscribe(BOB)
        bob.wait_presence(CAROL, "subscribe")
        both = shell(lab, "partners:streams()")
        assert "Streams with other servers" in both and "Streams with the servers inside" in both and "; inside " in both, both
        inner = lab.edge.shell('partners:streams("inner")')
        assert re.search(r"in +contoso\.test +fabrikam\.(test)? +TLS dialback +TLSv1\.3", inner), inner
        assert "Relay host" in inner and "Host  " not in inner, inner
        outer = lab.edge.shell('partners:streams("outer")')
        assert re.search(r"out +fabrikam\.(test)? +contoso\.test", outer) and "Relay host" not in outer, outer
        assert "is no side" in lab.edge.shell('partners:streams("both")')


def metrics():
    with urllib.request.urlopen("http://127.0.0.1:5280/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return {match[1]: float(match[2]) for match in re.finditer(r"^prosody_mod_s2s_partners__(inside_\S*) ([\d.]+)$", text, re.M)}


def scenario_metrics(lab):
    with Client(ALICE, lab.inside.address) as alice, Client(BOB, lab.partner.address) as bob:
        alice.subscribe(BOB)
        alice.send_message(BOB, "behind the request")
        bob.wait_message("behind the request")
        bob.send_message(ALICE, "for the count")
        alice.wait_message("for the count")
        found = metrics()
        for direction in ("in", "out"):
            key = f'inside_streams{{host="contoso.test",direction="{direction}",method="tls_dialback"}}'
            assert found.get(key, 0) >= 1, found
        assert found['inside_queue{host="contoso.test"}'] == 0 and found['inside_queue{host="conference.contoso.test"}'] == 0, found
        before = found['inside_bounces_total{host="contoso.test"}']
        lab.inside.stop()
        bob.wait_error(bob.send_message(ALICE, "to nobody at home"))
        found = metrics()
        assert found['inside_bounces_total{host="contoso.test"}'] == before + 1, found
        assert not any(name.startswith('inside_streams{host="contoso.test"') and value for name, value in found.items()), found
        kinds = {name.partition("{")[0] for name in found} - {"inside_bounces_created"}
        assert kinds <= {"inside_streams", "inside_queue", "inside_bounces_total"}, found
    lab.inside.start()


def scenario_server_down(lab):
    lab.inside.stop()
    try:
        shown = test(lab)
        assert "TCP failed" in shown and "Likely remedy: start the server inside" in shown and "failed at TCP" in shown, shown
        shown = check(lab)
        for host in (HOST, ROOMS):
            assert f"warning {host}: the server inside, {lab.boundary.inside_address}:5269, cannot be reached: " in shown, shown
        shown = words(lab.edge.shell(f'partners:explain("{BOB}", "{ALICE}", "stream")'))
        assert "There is no stream to it for fabrikam.test at the moment" in shown, shown
    finally:
        lab.inside.start()


def scenario_server_by_its_name(lab):
    lab.dns.record(f"xmpp.corp.test. 0 IN A {lab.boundary.inside_address}")
    before, relay = dict(lab.edge.hosts), lab.boundary.relay
    try:
        lab.edge.hosts[HOST] = before[HOST].replace(lab.boundary.inside_address, "xmpp.corp.test")
        lab.edge.components["late.contoso.test"] = ("s2s_inside", relay)
        lab.edge.write_config()
        shown = check(lab)
        assert "note contoso.test: on disk its server is xmpp.corp.test:5269; here the one in force is looked at" in shown, shown
        assert "note late.contoso.test: the server inside is to be" in shown and "it is looked at after partners:commit()" in shown, shown
        del lab.edge.components["late.contoso.test"]
        lab.edge.reload()
        shown = test(lab)
        assert f"xmpp.corp.test:5269 ({lab.boundary.inside_address})" in shown and "works" in shown, shown
        lab.edge.hosts[HOST] = before[HOST].replace(lab.boundary.inside_address, "nobody.corp.test")
        lab.edge.reload()
        shown = test(lab)
        assert "DNS failed nobody.corp.test has no address" in shown and "correct server in s2s_inside" in shown, shown
        assert "warning contoso.test: the server inside, nobody.corp.test:5269, cannot be reached" in check(lab)
    finally:
        lab.edge.hosts = before
        lab.edge.components.pop("late.contoso.test", None)
        lab.edge.reload()


def scenario_no_tls(lab):
    restart(lab, preset="tcp-dialback")
    try:
        shown = test(lab)
        assert "TLS failed" in shown and "TLS is required (tls-required)" in shown and "have the server inside offer TLS" in shown, shown
        assert "offers no TLS, or its handshake failed" in check(lab)
    finally:
        restart(lab)


def scenario_certificates(lab):
    """SASL EXTERNAL inside: a certificate of another authority, one that ends soon, and a partner that the edge's own does not name. The last one,
    since it leaves the servers so."""
    authority = lab.certificates.trust
    inner = lab.certificates.leaf("edge-inner.test", "expiring", also=["fabrikam.test"])
    lab.edge.hosts[HOST] = ('modules_disabled = {{ "c2s" }}\ns2s_inside = {{ server = "{}:5269"; sasl = "required"; dialback = false; '
                            'trust_anchors = "{}"; certificate = {{ certificate = "{}"; key = "{}" }} }}'
                            .format(lab.boundary.inside_address, authority, inner.certificate, inner.key))
    lab.edge.partners = lab.edge.partners.replace(PARTNERS, configuration({**LISTED, "additional_domains": ["corp.fabrikam.test"]}))
    restart(lab, preset="external", certificate="self-signed")
    mark = lab.edge.mark()
    lab.edge.reload()
    lab.edge.wait_log(r"which is shown inside \(for contoso\.test\), expires in [45] days", PAUSE, mark)
    shown = test(lab)
    assert "TLSv1.3" in shown and "certificate failed Certificate not accepted: untrusted (certificate-untrusted): " in shown, shown
    assert "of the authority in trust_anchors of s2s_inside" in shown, shown
    shown = check(lab)
    assert "shows a certificate that does not do: Certificate not accepted: untrusted (certificate-untrusted): " in shown, shown
    assert f"{inner.certificate} does not name corp.fabrikam.test: the server inside refuses this one there" in unwrapped(shown), shown
    assert f"{inner.certificate}, which is shown inside, expires soon" in unwrapped(shown), shown
    restart(lab, preset="external", certificate="expiring")
    shown = test(lab)
    assert "valid, expires" in shown and "SASL EXTERNAL" in shown and " key " not in shown and "works" in shown, shown
    shown = check(lab)
    assert "takes this one for fabrikam.test: SASL, TLSv1.3, certificate valid" in shown, shown
    assert "warning contoso.test: the certificate of the server inside expires soon" in shown, shown
    lab.edge.wait_log(r"The certificate that the server inside shows for contoso\.test expires in [45] days", PAUSE, mark)
