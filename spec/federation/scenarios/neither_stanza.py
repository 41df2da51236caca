"""What is neither message, presence nor iq goes to nobody. Core routes any element of a client's that has an address."""

from lab.remote import Remote

from scenarios._edge import ALICE, HOST
from scenarios._types import DORA, FED, UNV, start

NEAR, FAR = f"near.{UNV}", f"near.{FED}"


def setup(lab):
    fixture = start(lab)
    fixture.remotes = {domain: Remote(lab, [domain], leaf=lab.certificates.leaf(domain)) for domain in (NEAR, FAR)}
    return fixture


def teardown(fixture):
    fixture.close()


def behind(fixture, user, domain):
    """Something that may pass has come in, over the same stream."""
    user.presence(f"eve@{domain}", "subscribe")
    fixture.remotes[domain].wait_element(lambda element: element.get("type") == "subscribe" and
                                         (element.get("from") or "").startswith(user.jid.partition("/")[0]))


def scenario_from_those_who_may_not(fixture):
    alice, dora = fixture.client(ALICE), fixture.client(DORA)
    for name in ("letter", "verify", "result", "Message", "status"):
        for domain in (NEAR, FAR):
            for user in (dora, alice):
                user.send_raw(f"<{name} to='eve@{domain}' id='x'><body>a secret</body></{name}>")
    for domain in (NEAR, FAR):
        behind(fixture, alice, domain)
        dora.roster()
        behind(fixture, alice, domain)
        elements = [element for connection in fixture.remotes[domain].connections for element in connection.elements]
        assert "secret" not in str(elements), (domain, [element for element in elements if "secret" in str(element)])
    assert HOST in ALICE
