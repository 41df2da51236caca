"""A host whose S2S is switched off is out of reach for partners over any stream, as if nobody were there.

inside.test stands beside contoso.test on the same edge; fed.test is a federated partner of both, as far as the list says."""

import itertools

from lab.client import Client
from lab.probe import Probe
from lab.xmlstream import BIDI

from scenarios._edge import ALICE, HOST, PING, any_method, configuration, edge_server


FED, INSIDE, ROOMS = "fed.test", "inside.test", "rooms.inside.test"
IVAN, NOBODY = f"ivan@{INSIDE}", f"nobody@{INSIDE}"
_numbers = itertools.count()


def setup(lab):
    off = 'modules_disabled = { "s2s" }\n'
    lab.edge = edge_server(lab, configuration(any_method(FED)), hosts={HOST: "", INSIDE: off}, users=[ALICE, IVAN],
                           components={ROOMS: ("muc", off + "muc_room_locking = false\n")}, modules=["s2s_bidi"]).start()
    lab.dns.server(FED, "127.0.200.1")
    lab.ivan = Client(IVAN, lab.edge.address)
    lab.cleanup(lab.ivan.close)
    return lab


def stream(lab):
    probe = Probe(lab.edge.address, from_=FED, to=HOST, leaf=lab.certificates.leaf(FED))
    probe.secure()
    probe.send(f"<bidi xmlns='{BIDI}'/>")
    assert probe.external().name == "success"
    probe.features()
    return probe


def ask(probe, text):
    """All that comes back."""
    end = f"end{next(_numbers)}"
    probe.send(text)
    probe.send(f"<iq from='{FED}' to='{HOST}' id='{end}' type='get'>{PING}</iq>")
    heard = []
    while True:
        element = probe.read(10)
        if element.get("id") == end:
            return heard
        heard.append(str(element))


STANZAS = {
    "message": "<message from='eve@fed.test/x' to='{to}' id='m' type='chat'><body>hello</body></message>",
    "subscribe": "<presence from='eve@fed.test' to='{to}' id='s' type='subscribe'/>",
    "presence": "<presence from='eve@fed.test/x' to='{to}' id='p'/>",
    "probe": "<presence from='eve@fed.test' to='{to}' id='p' type='probe'/>",
    "iq": "<iq from='eve@fed.test/x' to='{to}' id='i' type='get'>" + PING + "</iq>",
    "vcard": "<iq from='eve@fed.test/x' to='{to}' id='v' type='get'><vCard xmlns='vcard-temp'/></iq>",
    "join": "<presence from='eve@fed.test/x' to='{to}' id='j'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
}


def scenario_nobody_is_there(lab):
    mark, log = lab.ivan.mark(), lab.edge.mark()
    with stream(lab) as probe:
        for name, text in STANZAS.items():
            for to in (IVAN, lab.ivan.full_jid, NOBODY, INSIDE, ROOMS, f"room@{ROOMS}/eve", f"room@{ROOMS}"):
                assert ask(probe, text.format(to=to)) == [], (name, to)
        assert ask(probe, STANZAS["iq"].format(to=HOST)), "the stream goes on, and its own host answers"
    lab.edge.wait_log(r"Refused a stanza from fed\.test \(host inside\.test\): unlisted-domain: the host takes part in no stream", mark=log)
    assert [stanza for stanza in lab.ivan.stanzas[mark:] if FED in (stanza.get("from") or "")] == []
    assert FED not in lab.edge.roster(IVAN)
    assert NOBODY not in lab.edge.log_since(log) or "load_roster: asked for: nobody@inside.test" not in lab.edge.log_since(log)


def scenario_no_stream_of_its_own(lab):
    with Probe(lab.edge.address, from_=FED, to=INSIDE, leaf=lab.certificates.leaf(FED)) as probe:
        probe.open()
        probe.read_close()


def scenario_nothing_goes_out(lab):
    mark = lab.dns.mark()
    condition, _, kind = lab.ivan.wait_error(lab.ivan.send_message(f"bob@{FED}"))
    assert (condition, kind) == ("not-allowed", "cancel"), (condition, kind)
    assert not lab.dns.asked(FED, mark)


def scenario_is_told(lab):
    text = lab.edge.shell("partners:check()")
    assert 'modules_disabled of "inside.test"' in text and 'modules_disabled of "rooms.inside.test"' in text, text
    assert 'modules_disabled of "contoso.test"' not in text
    assert 'modules_disabled of "inside.test"' in lab.edge.log_since()
    for from_, to in ((f"bob@{FED}", IVAN), (IVAN, f"bob@{FED}")):
        for kind in ("message", "subscribe", "stream"):
            text = lab.edge.shell(f'partners:explain("{from_}", "{to}", "{kind}")')
            assert "out of reach" in text and "verdict: refuse unlisted-domain" in text, text
    text = lab.edge.shell(f'partners:explain("bob@{FED}", "{ALICE}")')
    assert "verdict: allow" in text, text


def scenario_comes_back(lab):
    """The configuration decides, at the next commit."""
    lab.edge.hosts[INSIDE] = ""
    lab.edge.write_config()
    lab.edge.restart()
    with Client(IVAN, lab.edge.address) as ivan, stream(lab) as probe:
        probe.send(STANZAS["message"].format(to=IVAN))
        ivan.wait_message("hello")
