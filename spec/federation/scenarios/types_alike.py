"""What a stranger hears does not depend on whether there is such a user, who is online, or why nothing is delivered.

One peer per partner type, over a stream that carries both directions (XEP-0288), asks the same of several users; what
comes back is compared byte for byte, but for the user's own address."""


from lab.client import Client

from scenarios import _scene
from scenarios._edge import ALICE, HOST
from scenarios._types import DORA, FED, MANUAL, UNV, VER, start

OFFLINE, BROKEN, MISSING = (f"{name}@{HOST}" for name in ("olaf", "bruno", "nobody"))
ERIN = f"erin@{HOST}"
TIMEOUT = 180    # a question at a time, to many addresses

PUBSUB = "http://jabber.org/protocol/pubsub"
PAYLOADS = {
    "ping": "<ping xmlns='urn:xmpp:ping'/>",
    "time": "<time xmlns='urn:xmpp:time'/>",
    "last": "<query xmlns='jabber:iq:last'/>",
    "version": "<query xmlns='jabber:iq:version'/>",
    "info": "<query xmlns='http://jabber.org/protocol/disco#info'/>",
    "info-node": "<query xmlns='http://jabber.org/protocol/disco#info' node='urn:lab'/>",
    "items": "<query xmlns='http://jabber.org/protocol/disco#items'/>",
    "vcard": "<vCard xmlns='vcard-temp'/>",
    "pubsub-items": "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:lab'/></pubsub>",
    "pubsub-tune": "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='http://jabber.org/protocol/tune'/></pubsub>",
    "pubsub-subscribe": "<pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='urn:lab' jid='eve@x.test'/></pubsub>",
    "pubsub-owner": "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='urn:lab'/></pubsub>",
    **{f"pubsub-{name}": f"<pubsub xmlns='{PUBSUB}'><{name}{node}/></pubsub>"
       for name in ("subscriptions", "affiliations", "options", "default", "create", "retract", "unsubscribe", "publish", "items")
       for node in ("",)},
    **{f"pubsub-{name}-node": f"<pubsub xmlns='{PUBSUB}'><{name} node='urn:lab'/></pubsub>"
       for name in ("subscriptions", "affiliations", "default", "create")},
    "pubsub-options-jid": f"<pubsub xmlns='{PUBSUB}'><options node='urn:lab' jid='eve@x.test'/></pubsub>",
    "pubsub-create-configure": f"<pubsub xmlns='{PUBSUB}'><create node='urn:lab'/><configure/></pubsub>",
    "pubsub-publish-item": f"<pubsub xmlns='{PUBSUB}'><publish node='urn:lab'><item id='1'><x xmlns='urn:lab'/></item></publish></pubsub>",
    "pubsub-retract-item": f"<pubsub xmlns='{PUBSUB}'><retract node='urn:lab'><item id='1'/></retract></pubsub>",
    "pubsub-item": f"<pubsub xmlns='{PUBSUB}'><items node='urn:lab'><item id='1'/></items></pubsub>",
    "pubsub-empty": f"<pubsub xmlns='{PUBSUB}'/>",
    "pubsub-two": f"<pubsub xmlns='{PUBSUB}'><subscriptions/><affiliations/></pubsub>",
    **{f"pubsub-owner-{name}{node[:5]}": f"<pubsub xmlns='{PUBSUB}#owner'><{name}{node}/></pubsub>"
       for name in ("subscriptions", "affiliations", "default", "configure", "delete", "purge") for node in ("", " node='urn:lab'")},
    "pubsub-owner-deep": f"<pubsub xmlns='{PUBSUB}#owner'><configure node='urn:lab'><x xmlns='jabber:x:data' type='submit'/></configure></pubsub>",
    "info-pep": "<query xmlns='http://jabber.org/protocol/disco#info' node='http://jabber.org/protocol/tune'/>",
    "items-node": "<query xmlns='http://jabber.org/protocol/disco#items' node='urn:lab'/>",
    "items-pep": "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/tune'/>",
    "vcard4": "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'/>",
    "vcard-full": "<vCard xmlns='vcard-temp'><FN>eve</FN></vCard>",
    "avatar": f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:avatar:metadata' max_items='1'/></pubsub>",
    "keys": f"<pubsub xmlns='{PUBSUB}'><items node='eu.siacs.conversations.axolotl.devicelist'/></pubsub>",
    "archive": "<query xmlns='urn:xmpp:mam:2'/>",
    "archive-preferences": "<prefs xmlns='urn:xmpp:mam:2'/>",
    "carbons": "<enable xmlns='urn:xmpp:carbons:2'/>",
    "block": "<block xmlns='urn:xmpp:blocking'><item jid='eve@x.test'/></block>",
    "privacy": "<query xmlns='jabber:iq:privacy'/>",
    "old-time": "<query xmlns='jabber:iq:time'/>",
    "uptime": "<query xmlns='jabber:iq:last'><x xmlns='urn:lab'/></query>",
    "bytestreams": "<query xmlns='http://jabber.org/protocol/bytestreams'/>",
    "muc-admin": "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='owner'/></query>",
    "no-namespace": "<query/>",
    "private": "<query xmlns='jabber:iq:private'><x xmlns='urn:lab'/></query>",
    "roster": "<query xmlns='jabber:iq:roster'/>",
    "roster-push": "<query xmlns='jabber:iq:roster'><item jid='eve@x.test'/></query>",
    "register": "<query xmlns='jabber:iq:register'/>",
    "blocking": "<blocklist xmlns='urn:xmpp:blocking'/>",
    "command": "<command xmlns='http://jabber.org/protocol/commands' node='x' action='execute'/>",
    "slot": "<request xmlns='urn:xmpp:http:upload:0' filename='x' size='1'/>",
    "unknown": "<query xmlns='urn:lab:unknown'/>",
}
# No resource (RFC 7622 3.4): core bounces it, before it has looked for the user.
INVALID = ("/\ue000", "/" + "x" * 1100)
ERROR = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
INVITE = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='{to}'/></x>"


def stanzas():
    """{name: text with {from_}, {to}}"""
    found = {}
    for type_ in ("chat", "normal", "headline", "groupchat", "nonsense", None):
        for inside in ("<body>hello</body>", "", "<received xmlns='urn:xmpp:receipts' id='x'/>", INVITE):
            words = f" type='{type_}'" if type_ else ""
            found[f"message {type_} {inside[:9]}"] = f"<message from='{{from_}}' to='{{to}}' id='same'{words}>{inside}</message>"
    found["message error"] = f"<message from='{{from_}}' to='{{to}}' id='same' type='error'>{ERROR}</message>"
    for type_ in (None, "unavailable", "probe", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "nonsense", ""):
        words = f" type='{type_}'" if type_ is not None else ""
        found[f"presence {type_!r}"] = f"<presence from='{{from_}}' to='{{to}}' id='same'{words}/>"
    found["presence error"] = f"<presence from='{{from_}}' to='{{to}}' id='same' type='error'>{ERROR}</presence>"
    for type_ in ("get", "set"):
        for name, payload in PAYLOADS.items():
            found[f"iq {type_} {name}"] = f"<iq from='{{from_}}' to='{{to}}' id='same' type='{type_}'>{payload}</iq>"
    found["iq result"] = "<iq from='{from_}' to='{to}' id='same' type='result'/>"
    found["iq error"] = f"<iq from='{{from_}}' to='{{to}}' id='same' type='error'>{ERROR}</iq>"
    for type_ in ("get", "set"):
        found[f"iq-empty {type_}"] = f"<iq from='{{from_}}' to='{{to}}' id='same' type='{type_}'/>"
        found[f"iq-double {type_}"] = f"<iq from='{{from_}}' to='{{to}}' id='same' type='{type_}'>{PAYLOADS['ping'] * 2}</iq>"
        found[f"iq-anonymous {type_}"] = f"<iq from='{{from_}}' to='{{to}}' type='{type_}'>{PAYLOADS['ping']}</iq>"
    found["iq-anonymous result"] = "<iq from='{from_}' to='{to}' type='result'/>"
    found["iq-typeless"] = "<iq from='{from_}' to='{to}' id='same'><query xmlns='urn:lab'/></iq>"
    found["iq nonsense"] = "<iq from='{from_}' to='{to}' id='same' type='nonsense'><query xmlns='urn:lab'/></iq>"
    return found


STANZAS = stanzas()


def is_delivered_message(name):
    return name.startswith("message") and "groupchat" not in name and "error" not in name


def setup(lab):
    fixture = start(lab, users=[OFFLINE, BROKEN, ERIN], rosters={ERIN: {f"eve@{UNV}": "none"}})
    fixture.edge._store(BROKEN, "roster", "return { this is no roster\n")
    for domain in (FED, VER, UNV, MANUAL):      # found, should the edge ever look
        lab.dns.server(domain, "127.0.200.1")
    for jid in (ALICE, DORA):
        fixture.client(jid)
    if lab.host == "ejabberd":      # which writes every stanza into its log, several times
        fixture.edge.evaluate("ejabberd_logger:set(info)")
    return fixture


def teardown(fixture):
    fixture.close()


class Stranger(_scene.Stream):
    def __init__(self, fixture, domain):
        super().__init__(fixture.lab, fixture.edge, domain)

    def ask_user(self, text, to, from_="eve"):
        """All that comes back, with the user's name taken out."""
        heard = self.ask(text.format(from_=f"{from_}@{self.domain}/x", to=to))
        user = to.partition("@")[0]
        return "".join(map(str, heard)).replace(f"{user}@{HOST}", f"USER@{HOST}")


def from_strangers(client, since):
    return [stanza for stanza in client.stanzas[since:] if HOST not in stanza.get("from", HOST)]


def compare(stranger, name, targets, from_="eve"):
    heard = {to: stranger.ask_user(STANZAS[name], to, from_) for to in targets}
    assert len(set(heard.values())) == 1, (stranger.domain, name, heard)
    return next(iter(heard.values()))


def addresses(users, resource):
    return [f"{user}{resource}" for user in users]


def scenario_unverified(fixture):
    """Not listed, online or not; missing; denied; roster unreadable."""
    mark = {jid: fixture.clients[jid].mark() for jid in (ALICE, DORA)}
    with Stranger(fixture, UNV) as stranger:
        for name in STANZAS:
            for resource in INVALID:
                compare(stranger, name, addresses((ALICE, OFFLINE, MISSING, DORA, BROKEN), resource))
            for resource in ("", "/home"):
                heard = compare(stranger, name, addresses((ALICE, OFFLINE, MISSING, DORA, BROKEN), resource))
                request = name.startswith("message") and "error" not in name or name.startswith("iq get") or name.startswith("iq set")
                assert not request or "service-unavailable" in heard, (name, heard)
                assert not name.startswith("presence") or heard == "", (name, heard)
            resource = fixture.clients[ALICE].full_jid.partition("/")[2]
            compare(stranger, name, addresses((ALICE, OFFLINE, MISSING), f"/{resource}"))
    for jid, seen in mark.items():
        assert from_strangers(fixture.clients[jid], seen) == []
    if fixture.edge.host == "prosody":      # Mnesia has no damaged roster of one user
        fixture.edge.wait_log("roster of bruno@contoso.test cannot be read", 1)


def trusted(domain, subscribe):
    """Delivered is delivered; but whatever is answered on a user's behalf is the same for all."""
    def scenario(fixture):
        seen = fixture.clients[DORA].mark()
        with Stranger(fixture, domain) as stranger:
            for name in STANZAS:
                users = (MISSING, DORA)
                if not is_delivered_message(name) and (subscribe or name != "presence 'subscribe'"):
                    users += (OFFLINE,)
                    if not name.startswith("iq"):       # a client that is there may answer for itself
                        users += (ALICE,)
                for resource in ("", "/home"):
                    compare(stranger, name, addresses(users, resource))
                for resource in INVALID:
                    compare(stranger, name, addresses((MISSING, DORA, OFFLINE, ALICE), resource))
        assert from_strangers(fixture.clients[DORA], seen) == []
    return scenario


scenario_federated = trusted(MANUAL, True)
scenario_federated_automatic = trusted(FED, False)
scenario_verified_automatic = trusted(VER, False)


def scenario_blocked(fixture):
    """A request from somebody the user has blocked, or cancelled, is answered like one to nobody."""
    erin = Client(ERIN, fixture.edge.address)
    try:
        for domain in (FED, VER, MANUAL):
            for name, act in (("blocked", lambda jid: erin.iq(
                    None, f"<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>", "set")),
                              ("cancelled", lambda jid: erin.presence(jid, "unsubscribed"))):
                if (domain, name) == (MANUAL, "cancelled"):
                    continue        # left to the user, who is asked again
                act(f"{name}@{domain}")
                erin.roster()
                with Stranger(fixture, domain) as stranger:
                    compare(stranger, "presence 'subscribe'", [ERIN, MISSING, DORA], name)
    finally:
        erin.close()


def scenario_listed_is_let_in(fixture):
    """The comparison is of something that would pass."""
    with Client(ERIN, fixture.edge.address) as erin, Stranger(fixture, UNV) as stranger:
        assert stranger.ask_user(STANZAS["message chat <body>hel"], ERIN) == ""
        erin.wait_message("hello")


def scenario_nothing_is_kept_for_nobody(fixture):
    """No roster, and none in core's cache, for a name somebody made up."""
    with Stranger(fixture, UNV) as stranger:
        for name in STANZAS:
            stranger.ask_user(STANZAS[name], f"made-up@{HOST}")
    assert fixture.edge.roster(f"made-up@{HOST}") == ""
    assert "load_roster: asked for: made-up@" not in fixture.edge.log_since()


def scenario_what_is_published_is_seen(fixture):
    """An answer with something in it is no harvest: it is what the user shows to everybody."""
    publish = ("<pubsub xmlns='{0}'><publish node='urn:lab:open'><item id='one'><happy xmlns='urn:lab:open'/></item></publish>"
               "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{0}#publish-options</value>"
               "</field><field var='pubsub#access_model'><value>open</value></field></x></publish-options></pubsub>").format(PUBSUB)
    with Client(ERIN, fixture.edge.address) as erin, Stranger(fixture, MANUAL) as stranger:
        answer = erin.iq(None, publish, "set")
        assert answer.get("type") == "result", answer
        ask = f"<iq from='{{from_}}' to='{{to}}' id='same' type='get'><pubsub xmlns='{PUBSUB}'><items node='urn:lab:open'/></pubsub></iq>"
        assert "urn:lab:open" in stranger.ask_user(ask, ERIN) and "happy" in stranger.ask_user(ask, ERIN)
