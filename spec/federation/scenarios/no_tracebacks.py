"""What a stranger can send before anything is known of him: no error of core's may come of it, or he fills the log."""

from lab.probe import Probe
from lab.xmlstream import BIDI, SASL, TLS

from scenarios._edge import HOST, closed_somehow, configuration, edge_server, partner, tls_dialback

DOMAINS = (None, "evil.test", "fabrikam.test", "wingtip.test")
SM, CSI = "urn:xmpp:sm:3", "urn:xmpp:csi:0"
ELEMENTS = [
    f"<response xmlns='{SASL}'/>", f"<response xmlns='{SASL}'>=</response>", f"<abort xmlns='{SASL}'/>", f"<challenge xmlns='{SASL}'/>",
    f"<success xmlns='{SASL}'/>", f"<failure xmlns='{SASL}'/>", f"<proceed xmlns='{TLS}'/>", f"<failure xmlns='{TLS}'/>",
    f"<enable xmlns='{SM}' resume='true'/>", f"<resume xmlns='{SM}' previd='x' h='1'/>", f"<resume xmlns='{SM}'/>", f"<r xmlns='{SM}'/>",
    f"<a xmlns='{SM}' h='7'/>", f"<enabled xmlns='{SM}' id='x'/>", f"<resumed xmlns='{SM}' previd='x' h='0'/>", f"<failed xmlns='{SM}'/>",
    f"<active xmlns='{CSI}'/>", f"<inactive xmlns='{CSI}'/>", f"<bidi xmlns='{BIDI}'/>",
    "<handshake xmlns='jabber:component:accept'>x</handshake>", "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>",
    "<stream:error><x xmlns='urn:x'/></stream:error>", "<compress xmlns='http://jabber.org/protocol/compress'/>",
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'/>", "<x xmlns='urn:example'/>",
]


def setup(lab):
    lab.edge = edge_server(lab, configuration(partner("fabrikam.test"), tls_dialback("wingtip.test")),
                           modules=["s2s_bidi", "smacks", "csi", "websocket"],
                           components={f"gateway.{HOST}": ("component", 'component_secret = "secret"')}).start()


def clean(lab, open_):
    for domain in DOMAINS:
        for element in ELEMENTS:
            mark = lab.edge.mark()
            with Probe(lab.edge.address, from_=domain, to=HOST, leaf=lab.certificates.leaf("fabrikam.test")) as probe:
                open_(probe)
                probe.send(element * 3 + "</stream:stream>")
                closed_somehow(probe)
            log = lab.edge.log_since(mark)
            assert "Traceback" not in log and "Error while handling" not in log, (domain, element)


def scenario_in_clear(lab):
    clean(lab, lambda probe: probe.open())


def scenario_in_clear_before_1_0(lab):
    clean(lab, lambda probe: probe.open(version=None))


def scenario_after_tls(lab):
    def secure(probe):
        if probe.from_ in ("fabrikam.test", "wingtip.test"):
            probe.secure()
        else:
            probe.open()
    clean(lab, secure)


def scenario_without_any_address(lab):
    clean(lab, lambda probe: probe.open(to=None, from_=None))
