"""The clock is set forwards and backwards under a running edge: certificates are judged by it, times that pass are not measured by it."""

import concurrent.futures
import re
import time

from lab.client import Client
from lab.clock import Clock
from lab.probe import Probe
from lab.remote import Remote

from scenarios._edge import ALICE, HOST, any_method, outbound_error, partner, refusal_logged, refused, tls_dialback
from scenarios._faults import impatient_edge, nothing_left, patient, send_each, streams

FABRIKAM, NORTHWIND, KEYS, UNV = "fabrikam.test", "northwind.test", "keys.test", "unv.test"
JUMPS = (0, 60, -60, 4000, -4000, 0)      # days; certificates are good from a day ago for 30


def setup(lab):
    lab.clock = Clock(lab)
    limits = {"establishment_timeout": 2, "inactivity_timeout": 4, "keepalive_interval": 300}
    entries = (partner(FABRIKAM), partner(NORTHWIND), tls_dialback(KEYS), any_method(UNV, partner_type="public_unverified"))
    lab.edge = impatient_edge(lab, *entries, limits=limits, env=lab.clock.env).start()
    lab.alice = Client(ALICE, lab.edge.address)
    lab.cleanup(lab.alice.close)
    lab.partners = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain)) for domain in (FABRIKAM, NORTHWIND, KEYS)}
    return lab


def probe(lab, domain=FABRIKAM):
    return Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf(domain))


def verdict_on(days):
    return "certificate-expired" if days > 0 else "certificate-not-yet-valid"


def seen_by_the_edge(lab, days):
    """What the edge takes for today; the scenario would prove nothing if the clock had not moved."""
    lab.clock.set(days)
    wanted = time.time() + days * 86400
    found = int(re.search(r"Result: (-?\d+)", lab.edge.shell("> os.time()"))[1])
    assert abs(found - wanted) < 100, (found, wanted)


def scenario_certificates(lab):
    """Expired and not yet valid when the clock says so, in both directions; good again when it does not."""
    with patient(lab.edge):
        for number, days in enumerate(JUMPS):
            seen_by_the_edge(lab, days)
            mark = lab.edge.mark()
            with probe(lab) as one:
                if days == 0:
                    one.authenticate()
                    one.message(f"bob@{FABRIKAM}", ALICE, f"in {number}")
                    lab.alice.wait_message(f"in {number}")
                    send_each(lab.alice, [NORTHWIND], f"out {number}")
                    lab.partners[NORTHWIND].wait_element(
                        lambda element, number=number: element.name == "message" and element.find("body").text == f"out {number} {NORTHWIND}")
                else:
                    one.features()
                    one.starttls()
                    one.open()
                    refused(one, verdict_on(days), "not-authorized")
                    refusal_logged(lab.edge, "from", FABRIKAM, verdict_on(days), mark)
                    condition, text, _ = outbound_error(lab.alice, f"bob@{NORTHWIND}")
                    assert condition == "not-allowed" and "certificate" in text, (condition, text)
                    refusal_logged(lab.edge, "to", NORTHWIND, verdict_on(days), mark)
            lab.partners[NORTHWIND].hang_up()
            nothing_left(lab.edge)


def scenario_live_streams(lab):
    """A stream was judged when it was opened. It goes on, and is not idle because the clock says so."""
    seen_by_the_edge(lab, 0)
    with patient(lab.edge), probe(lab) as one:      # the clock is read with the shell, which takes its time
        one.authenticate()
        send_each(lab.alice, [NORTHWIND], "live")
        for number, days in enumerate(JUMPS):
            seen_by_the_edge(lab, days)
            one.message(f"bob@{FABRIKAM}", ALICE, f"live {number}")
            lab.alice.wait_message(f"live {number}")
            send_each(lab.alice, [NORTHWIND], f"live {number}")
            lab.partners[NORTHWIND].wait_element(
                lambda element, number=number: element.name == "message" and element.find("body").text == f"live {number} {NORTHWIND}")
        found = streams(lab.edge)
        assert (found["s2sin"], found["s2sout"]) == (1, 1), found
    lab.partners[NORTHWIND].hang_up()
    nothing_left(lab.edge)


def scenario_time_outs(lab):
    """They take what they take, whatever the clock does meanwhile."""
    seen_by_the_edge(lab, 0)
    for days in (4000, -4000):
        start = time.monotonic()
        with probe(lab) as silent, probe(lab, KEYS) as half:
            half.features()
            lab.clock.set(days)
            assert min(lives(start, (silent, half), "establishment-timeout")) > 1.5, "closed by the clock"
        lab.clock.set(0)
    with probe(lab) as back, probe(lab, NORTHWIND) as forth:
        start = time.monotonic()
        for days, idle in ((-4000, back), (4000, forth)):
            lab.clock.set(0)
            idle.authenticate()
            lab.clock.set(days)
        assert min(lives(start, (back, forth), "inactivity-timeout")) > 3.5, "closed by the clock"
    lab.clock.set(0)
    nothing_left(lab.edge)


def lives(start, probes, reason):
    """Seconds from the start until each has been closed, for that reason."""
    def end(one):
        one.read_close("connection-timeout", reason)
        return time.monotonic() - start
    with concurrent.futures.ThreadPoolExecutor(len(probes)) as readers:
        return list(readers.map(end, probes))


def scenario_answers_and_keys(lab):
    """Dialback has no dates where no certificate is asked for; answers to what was asked a moment ago come back."""
    with patient(lab.edge):
        for days in JUMPS:
            seen_by_the_edge(lab, days)
            with probe(lab, KEYS) as one:
                one.secure()
                assert one.dialback() == "valid"
        lab.clock.set(0)
        remote = Remote(lab, [UNV], leaf=lab.certificates.leaf(UNV))
        for number, days in enumerate((0, -60, 0)):
            lab.clock.set(days)
            id_ = f"asked{number}"
            lab.alice.send_raw(f"<iq to='{UNV}' type='get' id='{id_}'><ping xmlns='urn:xmpp:ping'/></iq>")
            remote.wait_element(lambda element, id_=id_: element.get("id") == id_)
            with probe(lab, UNV) as one:
                one.secure()
                assert one.dialback() == "valid"
                one.send(f"<iq from='{UNV}' to='{lab.alice.full_jid}' type='result' id='{id_}'/>")
                lab.alice.wait_stanza(lambda stanza, id_=id_: stanza.get("id") == id_ and stanza.get("type") == "result")
                mark = lab.alice.mark()
                one.send(f"<iq from='{UNV}' to='{lab.alice.full_jid}' type='result' id='{id_}'/>")     # once is enough
                lab.alice.assert_nothing(lambda stanza, id_=id_: stanza.get("id") == id_, 0.5, mark)
    nothing_left(lab.edge)


def scenario_lines_in_the_log(lab):
    """The cap on lines about refused streams is by the time that passes; the clock opens it to nobody and closes it to nobody for ever."""
    lab.clock.set(0)
    lab.edge.restart()      # a minute begins, in which all of them come
    mark = lab.edge.mark()
    for number in range(260):
        if number % 20 == 0:
            lab.clock.set(4000 if number % 40 else -4000)
        with Probe(lab.edge.address, from_=f"s{number}.evil.test", to=HOST, source="127.7.7.7") as stranger:
            stranger.open()
            refused(stranger, "unlisted-domain")
    lab.clock.set(0)
    lines = len(re.findall(r"Refused stream from s\d+\.evil\.test", lab.edge.log_since(mark)))
    assert lines == 200, lines
