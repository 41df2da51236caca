"""Whatever ends a stream whose TLS handshake has begun: nothing more is said in clear, and the connection goes.

What would be said stands in the buffer behind <proceed/>, which goes out in clear.  So each end comes in the same turn of the server's loop."""

import contextlib

from lab.probe import Probe
from lab.xmlstream import TLS

from scenarios._edge import HOST, any_method, configuration, edge_server
from scenarios.sizes_streams import in_clear

TIMEOUT = 90
SHARED = "shared.test"


def setup(lab):
    lab.edge = edge_server(lab, configuration(any_method(SHARED)), s2s_timeout=60).start()


BEGIN = """> (function ()
    local st = require "util.stanza";
    local found;
    for session in pairs(prosody.incoming_s2s) do
        if session.type == "s2sin_unauthed" then found = session; end
    end
    local started = st.stanza("starttls", { xmlns = "%s" });
    prosody.hosts["%s"].events.fire_event("stanza/%s:starttls", { origin = found; stanza = started });
    if found.secure ~= false then return "no handshake"; end
    %%s
    return "ended as told";
end)()""" % (TLS, HOST, TLS)
PROCEED = f"<proceed xmlns='{TLS}'/>".encode()


def ends(lab, edge, how):
    with Probe(edge.address, from_=SHARED, to=HOST) as probe:
        probe.features()
        said = edge.shell(" ".join((BEGIN % how).split()))
        assert "ended as told" in said, said
        heard = in_clear(probe.socket, 5)
        assert heard == PROCEED, heard
        # at its end, or gone by force
        with contextlib.suppress(ConnectionResetError):
            assert probe.socket.recv(1) == b"", "the connection is still there"


def scenario_core_closes(lab):
    """Core's time-out, a reason of somebody else's, none at all."""
    for how in ('found:close("connection-timeout");', 'found:close({ condition = "policy-violation", text = "go" });', "found:close();"):
        ends(lab, lab.edge, how)


def scenario_the_module_goes(lab):
    edge = edge_server(lab, configuration(any_method(SHARED)), name="going", register=False, s2s_timeout=60).start()
    ends(lab, edge, 'require "core.modulemanager".unload("*", "s2s_partners");')

