"""One stream, several hosts of ours: what one host is content with is not enough for another that asks for more.

contoso.test takes any valid certificate of the partner's; tailspin.test pins a key, litware.test trusts another CA for
the partner only, wingtip-host.test has another trust store of its own under the very same list."""

from lab.client import Client
from lab.probe import Probe
from lab.remote import Remote

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server, heard, lua, partner

FABRIKAM, NORTHWIND = "fabrikam.test", "northwind.test"
PINNED, ANCHORED, STORE = "tailspin.test", "litware.test", "store.test"
USERS = {HOST: ALICE, PINNED: f"dave@{PINNED}", ANCHORED: f"carol@{ANCHORED}", STORE: f"erin@{STORE}"}


def setup(lab):
    lab.key = lab.certificates.leaf(FABRIKAM, label="pinned")
    other = lab.certificates.issuer("other").certificate
    hosts = {
        HOST: "",
        PINNED: f"s2s_partners = {lua([partner(FABRIKAM, pinned_keys=[lab.key.pin]), any_method(NORTHWIND)])}",
        ANCHORED: f"s2s_partners = {lua([partner(FABRIKAM, trust_anchors=str(other))])}",
        STORE: f's2s_ssl = {{ cafile = "{other}" }}',
    }
    lab.edge = edge_server(lab, configuration(partner(FABRIKAM), any_method(NORTHWIND)), hosts=hosts, modules=["s2s_bidi"],
                           users=list(USERS.values())).start()
    lab.remotes_of = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain), offer=("external", "dialback", "bidi"))
                      for domain in (FABRIKAM, NORTHWIND)}


def deliver(lab, probe, domain, to, body):
    """Whether a message over the stream reaches the user; what is behind it always reaches alice."""
    with Client(to, lab.edge.address) as user, Client(ALICE, lab.edge.address) as alice:
        seen = user.mark()
        probe.message(f"eve@{domain}", to, body)
        probe.message(f"eve@{domain}", ALICE, f"behind {body}")
        alice.wait_message(f"behind {body}")
        return any(stanza.name == "message" for stanza in heard(user, seen))


def to_stricter_host(host):
    def scenario(lab):
        with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.certificates.leaf(FABRIKAM)) as probe:
            probe.authenticate()
            assert not deliver(lab, probe, FABRIKAM, USERS[host], f"past the door of {host}")
    return scenario


scenario_pinned_host = to_stricter_host(PINNED)
scenario_anchored_host = to_stricter_host(ANCHORED)
scenario_host_with_its_own_trust_store = to_stricter_host(STORE)


def scenario_right_key(lab):
    """The pinned key is good for both."""
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.key) as probe:
        probe.authenticate()
        assert deliver(lab, probe, FABRIKAM, USERS[PINNED], "with the pinned key")


def scenario_stream_of_the_stricter_host(lab):
    """The other way round nothing is missing: what the pinned host takes, contoso.test takes."""
    with Probe(lab.edge.address, from_=FABRIKAM, to=PINNED, leaf=lab.key) as probe:
        probe.authenticate()
        assert deliver(lab, probe, FABRIKAM, ALICE, "with the pinned key to the other")


def scenario_after_a_reload(lab):
    """What has been found out about a certificate is found out again when the list changes."""
    with Probe(lab.edge.address, from_=FABRIKAM, to=HOST, leaf=lab.key) as probe:
        probe.authenticate()
        assert deliver(lab, probe, FABRIKAM, USERS[PINNED], "before the reload")
        before = lab.edge.hosts[PINNED]
        try:
            other = lab.certificates.leaf(FABRIKAM).pin
            lab.edge.hosts[PINNED] = f"s2s_partners = {lua([partner(FABRIKAM, pinned_keys=[other])])}"
            lab.edge.reload()
            assert not deliver(lab, probe, FABRIKAM, USERS[PINNED], "after the reload")
        finally:
            lab.edge.hosts[PINNED] = before
            lab.edge.reload()


def scenario_dialback_is_judged_by_its_method(lab):
    """Nothing of certificates in either entry: a stream in clear is as good for one host as for the other."""
    with Probe(lab.edge.address, from_=NORTHWIND, to=HOST) as probe:
        probe.features()
        assert probe.dialback() == "valid"
        assert deliver(lab, probe, NORTHWIND, USERS[PINNED], "by dialback")


def scenario_bidi_answer(lab):
    """The same over a stream that we have opened."""
    remote = lab.remotes_of[FABRIKAM]
    with Client(ALICE, lab.edge.address) as alice, Client(USERS[PINNED], lab.edge.address) as dave:
        alice.send_message(f"eve@{FABRIKAM}", "open the stream")
        remote.wait_element(lambda element: element.find("body") and element.find("body").text == "open the stream")
        connection = next(one for one in remote.connections if any("open the stream" in str(e) for e in one.elements))
        seen = dave.mark()
        text = "<message from='eve@%s' to='%s' type='chat' id='b1'><body>%s</body></message>"
        connection.send(text % (FABRIKAM, USERS[PINNED], "over bidi"))
        connection.send(text % (FABRIKAM, ALICE, "behind bidi"))
        alice.wait_message("behind bidi")
        assert not any(stanza.name == "message" for stanza in heard(dave, seen))
