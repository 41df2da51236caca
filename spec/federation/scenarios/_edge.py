"""What the modules of scenarios share: the partner list as Lua text, and how the edge shows what it has decided.

Nothing is read from the module under test: what is expected is what docs/configuration.md and docs/negotiation.md say, written down once more."""

import re
import time

from lab.edge_boundary import EdgeBoundary
from lab.edge_ejabberd import EdgeEjabberd
from lab.prosody import Prosody
from lab.xmlstream import Closed

HOST = "contoso.test"
ALICE = f"alice@{HOST}"
_relaying = set()       # the kinds of servers inside, in this run
METHODS = ("SASL EXTERNAL", "TLS dialback", "TCP dialback")


def lua(value):
    """A Python value as a Lua expression."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + " ".join(f"[{lua(key)}] = {lua(inside)};" for key, inside in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(map(lua, value)) + " }"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return str(value)


def partner(domain, *additional, tls="required", sasl="required", dialback=False, **more):
    """One entry, with many streams allowed so that no limit comes between."""
    entry = {"domain": domain, "partner_type": "federated", "tls": tls, "sasl": sasl, "dialback": dialback,
             "connection_limit": 200, **more}
    if additional:
        entry["additional_domains"] = list(additional)
    return entry


def tls_dialback(domain, *additional, **more):
    return partner(domain, *additional, **{"tls": "required", "sasl": "not_supported", "dialback": True, **more})


def tcp_dialback(domain, *additional, **more):
    return partner(domain, *additional, **{"tls": "not_supported", "sasl": "not_supported", "dialback": True, **more})


def any_method(domain, *additional, **more):
    return partner(domain, *additional, **{"tls": "optional", "sasl": "optional", "dialback": True, **more})


def configuration(*entries, **options):
    """The module's options: the list, and more of them by name."""
    text = f"s2s_partners = {lua(entries)}\n"
    return text + "".join(f"{name} = {lua(value)}\n" for name, value in options.items())


def edge_server(lab, partners, name="edge", **more):
    """The gatekeeper of contoso.test with its user alice, not yet started."""
    more.setdefault("hosts", [HOST])
    more.setdefault("users", [ALICE])
    if lab.inside:
        _relaying.add(lab.inside)
    server = EdgeEjabberd if lab.host == "ejabberd" else EdgeBoundary if lab.inside else Prosody
    return server(lab, name, partners=partners, **more)


# What the edge shows

def refused(probe, reason, condition="policy-violation", timeout=None):
    """The edge closes the probe's stream for that reason."""
    return probe.read_close(condition, rf"\({reason}\)$", timeout)


def wrong_sender(probe):
    """Closed for a stanza that is not from the stream's domain; core itself may be the one that does it."""
    return probe.read_close("not-authorized")


def closed_somehow(probe, timeout=8):
    """The stream ends, be it by core or by the module, and not by s2s_timeout (10 seconds); returns the stream error or None."""
    return probe.read_close(timeout=timeout)


def established(edge, direction, domain, mark, timeout=20):
    """(partner, method, TLS version or "no TLS") of the stream "from" or "to" the domain."""
    line = edge.wait_log(rf"Established stream {direction} {re.escape(domain)} \(host \S+, partner (\S+)\): "
                         rf"({'|'.join(METHODS)}), ([^,]+),", timeout, mark)
    return line.groups()


def refusal_logged(edge, direction, domain, reason, mark, timeout=20):
    edge.wait_log(rf"Refused stream {direction} {re.escape(domain)} \(.*\): {reason}: ", timeout, mark)


def assert_not_established(edge, domain, mark):
    assert not re.search(rf"Established stream (from|to) {re.escape(domain)} ", edge.log_since(mark))


RELAYED = 0.3       # seconds: a relay host hands on in an instant what it lets in, but the answer of the server inside to its own user is no sign that it has come
PING = "<ping xmlns='urn:xmpp:ping'/>"


def heard(client, since):
    """What the client has got since the mark, now that the server has answered something sent just now."""
    if _relaying:
        time.sleep(RELAYED)
    answer = client.iq(HOST if client.jid == ALICE else client.jid.partition("@")[2], PING)
    return [stanza for stanza in client.stanzas[since:]
            if stanza is not answer and stanza.get("from") != client.full_jid]      # its own presence comes back


def outbound_error(client, to, timeout=20):
    """Sends a message that cannot go out; (condition, text, type) of what the sender is told."""
    return client.wait_error(client.send_message(to), timeout)


def ended(probe, seconds=1):
    """Whether the peer closes within the time (whatever else it says)."""
    try:
        probe.read_until(lambda _: False, seconds)
    except Closed:
        return True
    except TimeoutError:
        return False
