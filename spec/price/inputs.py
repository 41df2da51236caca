"""What is priced: who sends what.  A row is an input at the largest size that Prosody's limits let through, or for what has no limit, such as
how many stanzas may come one after the other, at a size that is said here."""

from dataclasses import dataclass
from typing import Callable

import shapes
from senders import (Answerer, AnswererAlive, AnswererInside, AnswererOfKey, AtDirectTls, Certified, Guest, InnerServer, InnerServerUnverified, InnerStranger,
                     LocalUser, Partner, Pretender, PretenderBesideStream, Resolver, Stranger, ToInside, Trusted, UnverifiedToInside)
from shapes import flood, header, header_attributes, one
from priced import ABSENT, FEDERATED, INSIDE, LOCAL, ROOMS, UNVERIFIED, VERIFIED

KIB = 1024
# Of one element: s2s_stanza_size_limit once the stream has authenticated, c2s_stanza_size_limit. Before that 13 has the same limit; 0.12 has
# s2s_unauthed_stanza_size_limit for streams that it opens, and for those that come in what util.xmppstream has by itself.
STANZA, CLIENT = 512 * KIB, 256 * KIB
UNAUTHENTICATED = {"0.12": 1024 * KIB, "13": STANZA}
ANSWERED = {"0.12": 10000, "13": STANZA}
INNER_EARLY = 10000     # at the inner port, before authentication
MARGIN = 2 * KIB        # for what is around it, and for what the parser counts late
FLOOD = 96 * KIB        # of stanzas one after the other


@dataclass(frozen=True)
class Row:
    name: str
    party: str
    what: str
    sender: type
    shape: Callable
    size: object            # bytes (or a number of things), of all versions or {version: ...}
    user: str = ""          # of ours that takes part
    unit: str = "bytes"

    def full(self, version):
        size = self.size[version] if isinstance(self.size, dict) else self.size
        return size - (MARGIN if self.unit == "bytes" and size > 64 * KIB else 500 if self.unit == "bytes" else 0)


def stanza(name, rest, fill, to=f"alice@{LOCAL}", from_=f"bob@{FEDERATED}/b"):
    return one(f"<{name} from='{from_}' to='{to}' id='q{{r}}'>{rest}", fill, f"</{name}>")


# Who: the sender, the words for it, the size of one element, and the user that takes part.
STRANGER = (Stranger, "stranger", UNAUTHENTICATED, "")
PRETENDER = (Pretender, "stranger in a partner's name", UNAUTHENTICATED, "")
BESIDE = (PretenderBesideStream, "the same, beside a live stream", UNAUTHENTICATED, "idle")
PARTNER = (Partner, "partner", STANZA, "alice")
TRUSTED = (Trusted, "partner, public_verified", STANZA, "alice")
GUEST = (Guest, "guest in a room", STANZA, "")
USER = (LocalUser, "local user", CLIENT, "alice")
ANSWER = (Answerer, "who answers", ANSWERED, "idle")
ANSWER_KEY = (AnswererOfKey, "who answers our key", ANSWERED, "idle")
ANSWER_ALIVE = (AnswererAlive, "who answers, live", STANZA, "idle")

INNER_STRANGER = (InnerStranger, "stranger at the inner port", INNER_EARLY, "")
INNER = (InnerServer, "server inside", STANZA, "")
INNER_UNVERIFIED = (InnerServerUnverified, "server inside, to public_unverified", STANZA, "")
INNER_ANSWER = (AnswererInside, "server inside that answers", INNER_EARLY, "idle")
TO_INSIDE = (ToInside, "partner, to a relay host", STANZA, "")
UNVERIFIED_TO_INSIDE = (UnverifiedToInside, "partner, public_unverified, to a relay host", STANZA, "")


def of(who, name, what, shape, size=None, user=None, unit="bytes"):
    sender, party, largest, default = who
    return Row(f"{sender.__name__.lower()}-{name}", party, what, sender, shape, largest if size is None else size,
               default if user is None else user, unit)


RESULT = f"<db:result from='{FEDERATED}' to='{LOCAL}'>"
ABSENT_RESULT = f"<db:result from='{ABSENT}' to='{LOCAL}'>"
VERIFY = f"<db:verify from='{FEDERATED}' to='{LOCAL}'"
SASL = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"
TLS = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'"
ERROR = "xmlns='urn:ietf:params:xml:ns:xmpp-streams'"
MUC = "http://jabber.org/protocol/muc"
PUBSUB = "http://jabber.org/protocol/pubsub"


def strangers():
    yield of(STRANGER, "header-from", "header with a long from", header("from", shapes.TEXT))
    yield of(STRANGER, "header-to", "header with a long to", header("to", shapes.TEXT))
    yield of(STRANGER, "header-labels", "header with a from of many labels", header("from", shapes.many("a.")))
    yield of(STRANGER, "header-lang", "header with a long xml:lang", header("lang", shapes.TEXT))
    yield of(STRANGER, "header-attributes", "header with many attributes", header_attributes(shapes.ATTRIBUTES))
    yield of(STRANGER, "header-namespaces", "header that declares many namespaces", header_attributes(shapes.numbered(" xmlns:n{n}='u{n}'")))
    yield of(STRANGER, "garbage", "no XML", shapes.bytes_only(shapes.many("\\x00rubbish")), FLOOD)
    yield of(STRANGER, "no-header", "an element without a stream", shapes.bytes_only(shapes.CHILDREN))
    yield of(STRANGER, "stanza", "a message with many children", stanza("message", "", shapes.CHILDREN))
    yield of(AT_TLS, "clear", "no TLS at the port of direct TLS", shapes.bytes_only(shapes.TEXT), FLOOD)
    yield of(PRETENDER, "whitespace", "white space", lambda room, _: shapes.Text(" " * room), FLOOD)
    yield of(PRETENDER, "headers", "stream headers in the stream", flood("<stream:stream xmlns='jabber:server' to='{n}'/>"), FLOOD)
    for name in ("success", "failure", "challenge", "abort", "response"):
        yield of(PRETENDER, name, f"<{name}/> with a long text", one(f"<{name} {SASL}>", shapes.TEXT, f"</{name}>"))
    yield of(PRETENDER, "proceed", "<proceed/> with a long text", one(f"<proceed {TLS}>", shapes.TEXT, "</proceed>"))
    yield of(PRETENDER, "starttls", "<starttls/> with many children", one(f"<starttls {TLS}>", shapes.CHILDREN, "</starttls>"))
    yield of(PRETENDER, "auth", "<auth/> with a long response", one(f"<auth {SASL} mechanism='EXTERNAL'>", shapes.many("QUJD"), "</auth>"))
    yield of(PRETENDER, "auth-deep", "<auth/> with a deep tree", one(f"<auth {SASL} mechanism='EXTERNAL'>", shapes.DEEP, "</auth>"))
    yield of(PRETENDER, "features", "features for us, many children", one("<stream:features>", shapes.CHILDREN, "</stream:features>"))
    yield of(PRETENDER, "unknown", "an unknown element, deep", one("<what xmlns='urn:what'>", shapes.DEEP, "</what>"))
    yield of(PRETENDER, "error", "a stream error with a long text", one(f"<stream:error><text {ERROR}>", shapes.TEXT, "</text></stream:error>"))
    yield of(PRETENDER, "errors", "stream errors, one after the other", flood("<stream:error/>"), FLOOD)
    yield of(PRETENDER, "bidi", "<bidi/> with many attributes", one("<bidi xmlns='urn:xmpp:bidi'", shapes.ATTRIBUTES, "/>"))
    yield of(PRETENDER, "result-text", "key of apostrophes", one(RESULT, shapes.APOSTROPHES, "</db:result>"))
    yield of(BESIDE, "result-text", "key of apostrophes", one(RESULT, shapes.APOSTROPHES, "</db:result>"))
    yield of(BESIDE, "result-children", "key of many children", one(RESULT, shapes.CHILDREN, "</db:result>"))
    yield of(PRETENDER, "result-deep", "key that is a deep tree, partner cannot be reached",
             one(ABSENT_RESULT, shapes.DEEP, "</db:result>"))
    yield of(PRETENDER, "results", "keys, one after the other", flood(RESULT + "0123456789abcdef{r}{n}</db:result>"), FLOOD // 2)
    yield of(PRETENDER, "results-absent", "keys of a partner that cannot be reached", flood(ABSENT_RESULT + "0123456789abcdef{r}{n}</db:result>"), FLOOD // 2)
    yield of(PRETENDER, "results-others", "keys for other domains", flood(f"<db:result from='evil{{r}}{{n}}.test' to='{LOCAL}'>k</db:result>"), FLOOD // 2)
    yield of(PRETENDER, "verify-bare", "db:verify without id and text", flood(f"{VERIFY}/>"), FLOOD // 2)
    yield of(PRETENDER, "verify-child", "db:verify with a child", flood(f"{VERIFY} id='{{r}}{{n}}'><a/></db:verify>"), FLOOD // 2)
    yield of(PRETENDER, "verify-wrong", "db:verify with wrong keys", flood(f"{VERIFY} id='{{r}}{{n}}'>0123</db:verify>"), FLOOD // 2)
    yield of(PRETENDER, "verify-text", "db:verify with a long key", one(f"{VERIFY} id='{{r}}'>", shapes.APOSTROPHES, "</db:verify>"))
    yield of(PRETENDER, "verify-id", "db:verify with a long id", one(f"{VERIFY} id='", shapes.TEXT, "'>0123</db:verify>"))
    yield of(PRETENDER, "stanzas", "messages before authentication", flood(f"<message from='bob@{FEDERATED}' to='alice@{LOCAL}' id='{{n}}'/>"), FLOOD // 2)


AT_TLS = (AtDirectTls, "stranger before TLS", UNAUTHENTICATED, "")
CERTIFIED = (Certified, "stranger with a certificate", 0, "")


def certificates():
    # As many as the module reads; more of either are refused unread.
    yield of(CERTIFIED, "idn", "self-signed, IDN xmppAddr names", shapes.certificate("idn", issuer="self", names_of=[["xmpp:utf8", "b\u00fccher{n}.test"]]),
             2000, unit="names")
    yield of(CERTIFIED, "dns", "self-signed, DNS names", shapes.certificate("dns", issuer="self", names_of=[["dns", "host{n}.evil.test"]]), 2000, unit="names")
    yield of(CERTIFIED, "srv", "self-signed, SRV names", shapes.certificate("srv", issuer="self", names_of=[["srv:ia5", "_xmpp-server.host{n}.evil.test"]]),
             2000, unit="names")
    yield of(CERTIFIED, "wildcards", "self-signed, wildcards", shapes.certificate("wild", issuer="self", names_of=[["dns", "*.host{n}.evil.test"]]),
             2000, unit="names")
    yield of(CERTIFIED, "chain", "a chain of certificates that lead nowhere", shapes.certificate("chain", chain_of="other"), 19, unit="certificates")


def partners():
    body = "<body>b</body>"
    for name, what, fill in (("deep", "a deep tree", shapes.DEEP), ("children", "many children", shapes.CHILDREN), ("text", "a long text", shapes.TEXT),
                             ("entities", "many entities", shapes.ENTITIES), ("namespaces", "many namespaces", shapes.NAMESPACES),
                             ("languages", "bodies in many languages", shapes.LANGUAGES)):
        yield of(PARTNER, f"message-{name}", f"message with {what}", stanza("message", body, fill))
    yield of(PARTNER, "message-attributes", "message with many attributes", one(f"<message from='bob@{FEDERATED}/b' to='alice@{LOCAL}' id='{{r}}'",
             shapes.ATTRIBUTES, "/>"))
    yield of(PARTNER, "message-missing", "message with many children to nobody", stanza("message", body, shapes.CHILDREN, to=f"nobody@{LOCAL}"))
    yield of(PARTNER, "message-resource", "message to a long resource", one(f"<message from='bob@{FEDERATED}/b' id='q{{r}}' to='alice@{LOCAL}/",
             shapes.TEXT, "'><body>b</body></message>"))
    yield of(PARTNER, "message-labels", "message from a name of many labels", one(f"<message to='alice@{LOCAL}' from='", shapes.many("a."),
             f"{FEDERATED}'><body>b</body></message>"))
    yield of(TRUSTED, "presence-tree", "presence, a status 60 deep below many children",
             stanza("presence", "", shapes.STATUS_DEEP, from_=f"carol@{VERIFIED}/c"))
    yield of(TRUSTED, "presence-statuses", "presence with many statuses", stanza("presence", "", shapes.STATUSES, from_=f"carol@{VERIFIED}/c"))
    yield of(TRUSTED, "iq-deep", "request to a bare JID, a deep tree",
             one(f"<iq from='carol@{VERIFIED}/c' to='alice@{LOCAL}' type='get' id='q{{r}}'><query xmlns='urn:what'>", shapes.DEEP, "</query></iq>"))
    yield of(TRUSTED, "iq-pubsub", "request of pubsub, many children",
             one(f"<iq from='carol@{VERIFIED}/c' to='alice@{LOCAL}' type='get' id='q{{r}}'><pubsub xmlns='{PUBSUB}'>", shapes.many("<subscriptions/>"),
                 "</pubsub></iq>"))
    yield of(TRUSTED, "iq-last", "request for the last activity with many children",
             one(f"<iq from='carol@{VERIFIED}/c' to='alice@{LOCAL}' type='get' id='q{{r}}'><query xmlns='jabber:iq:last'>", shapes.CHILDREN, "</query></iq>"))
    yield of(TRUSTED, "message-children", "message with many children", stanza("message", body, shapes.CHILDREN, from_=f"carol@{VERIFIED}/c"))
    yield of(PARTNER, "whitespace", "white space", lambda room, _: shapes.Text(" " * room), FLOOD)
    yield of(PARTNER, "messages", "messages", flood(f"<message from='bob@{FEDERATED}/b' to='alice@{LOCAL}' id='{{n}}'><body>b</body></message>"), FLOOD)
    yield of(PARTNER, "messages-missing", "messages to nobody",
             flood(f"<message from='bob@{FEDERATED}/b' to='no{{n}}@{LOCAL}' id='{{n}}'><body>b</body></message>"), FLOOD)
    yield of(TRUSTED, "messages-resource", "messages to resources that cannot be", flood(
        f"<message from='carol@{VERIFIED}/c' to='alice@{LOCAL}/&#x200;&#x221;{{n}}' id='{{n}}'><body>b</body></message>"), FLOOD)
    yield of(TRUSTED, "subscribes", "subscriptions of invented senders", flood(
        f"<presence from='c{{r}}x{{n}}@{VERIFIED}' to='courted@{LOCAL}' type='subscribe'/>"), FLOOD // 16, user="courted")
    yield of(PARTNER, "subscribes", "subscriptions of invented senders", flood(
        f"<presence from='c{{r}}x{{n}}@{FEDERATED}' to='alice@{LOCAL}' type='subscribe'/>"), FLOOD // 16)
    # Others than those that have subscribed: core stores the roster for each of them.
    yield of(PARTNER, "unsubscribes", "cancellations of invented senders", flood(
        f"<presence from='u{{r}}x{{n}}@{FEDERATED}' to='alice@{LOCAL}' type='unsubscribe'/>"), FLOOD // 2)
    yield of(PARTNER, "subscribes-missing", "subscriptions to nobody", flood(
        f"<presence from='bob@{FEDERATED}' to='no{{r}}x{{n}}@{LOCAL}' type='subscribe'/>"), FLOOD // 2)
    yield of(TRUSTED, "probes", "presence probes", flood(f"<presence from='c{{n}}@{VERIFIED}' to='alice@{LOCAL}' type='probe'/>"), FLOOD // 2)
    yield of(TRUSTED, "requests", "requests of all kinds", flood(f"<iq from='c{{n}}@{VERIFIED}/c' to='alice@{LOCAL}' type='get' id='{{n}}'>"
             "<query xmlns='jabber:iq:version'/></iq>"), FLOOD // 2)
    yield of(TRUSTED, "answers", "answers to nothing", flood(f"<iq from='c{{n}}@{VERIFIED}/c' to='alice@{LOCAL}/x' type='result' id='{{n}}'/>"), FLOOD // 2)
    yield of(PARTNER, "results", "keys on an established stream", flood(RESULT + "0123456789abcdef{n}</db:result>"), FLOOD // 4)
    yield of(PARTNER, "verifies", "wrong keys to be verified on an established stream", flood(f"{VERIFY} id='{{n}}'>0123</db:verify>"), FLOOD // 4)
    yield of(PARTNER, "unlisted-room", "messages to a room of ours that is not there", flood(
        f"<message from='bob@{FEDERATED}/b' to='no{{n}}@{ROOMS}' type='groupchat'><body>b</body></message>"), FLOOD // 4)
    yield of(GUEST, "presence-tree", "presence, a status 60 deep below many children", one(
        f"<presence from='guest0@{VERIFIED}/a' to='hall@{ROOMS}/guest0'>", shapes.STATUS_DEEP, "</presence>"))
    yield of(GUEST, "message-children", "message with many children to the room", one(
        f"<message from='guest0@{VERIFIED}/a' to='hall@{ROOMS}' type='groupchat'><body>b</body>", shapes.CHILDREN, "</message>"))
    yield of(GUEST, "presence", "presence, again and again", flood(
        f"<presence from='guest0@{VERIFIED}/a' to='hall@{ROOMS}/guest0'><status>{{n}}</status></presence>"), FLOOD // 4)


def users():
    yield of(USER, "presence-tree", "presence to contacts, a status 60 deep below many children",
             one("<presence>", shapes.STATUS_DEEP, "</presence>"), user="popular")
    yield of(USER, "presence-statuses", "presence to contacts, many statuses", one("<presence>", shapes.LANGUAGE_STATUSES, "</presence>"), user="popular")
    yield of(USER, "presence-deep", "presence to contacts, a deep tree", one("<presence>", shapes.DEEP, "</presence>"), user="popular")
    yield of(USER, "presences", "presence to contacts, again and again", flood("<presence><status>{n}</status></presence>"), FLOOD // 16, user="popular")
    yield of(USER, "directed", "directed presence to many", flood(f"<presence to='d{{r}}x{{n}}@{VERIFIED}'><status>s</status></presence>"), FLOOD // 2)
    yield of(USER, "directed-unlisted", "directed presence to unlisted domains", flood("<presence to='d@u{r}x{n}.test'/>"), FLOOD // 4)
    yield of(USER, "message-children", "message with many children", one(f"<message to='carol@{VERIFIED}' id='m'>", shapes.CHILDREN, "</message>"))
    yield of(USER, "message-deep", "message with a deep tree", one(f"<message to='carol@{VERIFIED}' id='m'>", shapes.DEEP, "</message>"))
    yield of(USER, "message-events", "message with many events, every other personal", one(
        f"<message to='carol@{VERIFIED}' id='m'><event xmlns='http://jabber.org/protocol/pubsub#event'>",
        shapes.many("<items node='x'/><items node='urn:xmpp:avatar:data'/>"), "</event></message>"))
    yield of(USER, "message-all-events", "message with words and many times personal events", one(
        f"<message to='carol@{VERIFIED}' id='m'><body>b</body>",
        shapes.many("<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='x'/><items/></event>"), "</message>"))
    yield of(USER, "message-unlisted", "message with many children to a domain that is not listed",
             one("<message to='carol@unlisted.test' id='m'>", shapes.CHILDREN, "</message>"))
    yield of(USER, "message-text", "message of apostrophes", one(f"<message to='carol@{VERIFIED}' id='m'><body>", shapes.APOSTROPHES, "</body></message>"))
    yield of(USER, "iq-children", "request with many children", one(f"<iq to='carol@{VERIFIED}/c' type='get' id='m'><query xmlns='urn:what'>",
             shapes.CHILDREN, "</query></iq>"))
    yield of(USER, "messages", "messages to a partner", flood(f"<message to='carol@{VERIFIED}' id='{{n}}'><body>b</body></message>"), FLOOD // 2)
    yield of(USER, "messages-unlisted", "messages to unlisted domains", flood("<message to='carol@u{r}x{n}.test'><body>b</body></message>"), FLOOD // 4)
    yield of(USER, "messages-unverified", "messages to contacts that are not listed", flood(
        f"<message to='c{{r}}x{{n}}@{UNVERIFIED}'><body>b</body></message>"), FLOOD // 2)
    yield of(USER, "requests", "requests to a partner", flood(f"<iq to='c{{n}}@{VERIFIED}/c' type='get' id='{{r}}x{{n}}'><ping xmlns='urn:xmpp:ping'/></iq>"), FLOOD // 2)
    yield of(USER, "roster-set", "one roster set with many items, 1000 contacts cancelled", one(
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'>", shapes.numbered(f"<item jid='i{{n}}@{VERIFIED}'/>"), "</query></iq>"),
             user="cancelling")
    yield of(USER, "roster-sets", "roster sets, 1000 contacts cancelled", flood(
        f"<iq type='set' id='{{n}}'><query xmlns='jabber:iq:roster'><item jid='i{{r}}x{{n}}@{VERIFIED}'/></query></iq>"), FLOOD // 32, user="cancelling")
    yield of(USER, "subscribes", "subscriptions to a partner's users", flood(f"<presence to='c{{r}}x{{n}}@{VERIFIED}' type='subscribe'/>"), FLOOD // 16)
    yield of(USER, "authorises", "authorisations that nobody has asked for", flood(f"<presence to='c{{r}}x{{n}}@{VERIFIED}' type='subscribed'/>"), FLOOD // 16)
    yield of(USER, "cancels", "cancellations, 1000 contacts cancelled", flood(
        f"<presence to='c{{r}}x{{n}}@{VERIFIED}' type='unsubscribed'/>"), FLOOD // 32, user="cancelling")
    yield of(USER, "blocklist", "a block list of many", one("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>",
             shapes.numbered(f"<item jid='i{{n}}@{VERIFIED}'/>"), "</block></iq>"), FLOOD // 2, user="blocking")


def answers():
    features = "<stream:features>"
    yield of(ANSWER, "bidi", "features: STARTTLS and <bidi/> many times", one(
        f"<stream:features xmlns:b='urn:xmpp:features:bidi'><starttls {TLS}/>", shapes.many("<b:bidi/>"), "</stream:features>"))
    yield of(ANSWER, "mechanisms", "features: many mechanisms", one(f"{features}<mechanisms {SASL}>", shapes.numbered("<mechanism>M{n}</mechanism>"),
             "</mechanisms></stream:features>"))
    yield of(ANSWER, "dialback", "features: <dialback/> many times", one(features, shapes.many("<dialback xmlns='urn:xmpp:features:dialback'/>"),
             "</stream:features>"))
    yield of(ANSWER, "starttls", "features: <starttls/> many times", one(features, shapes.many(f"<starttls {TLS}/>"), "</stream:features>"))
    yield of(ANSWER, "deep", "features: a deep tree", one(features, shapes.DEEP, "</stream:features>"))
    yield of(ANSWER, "unknown", "features: many unknown", one(features, shapes.numbered("<f xmlns='u{n}'/>"), "</stream:features>"))
    yield of(ANSWER, "many", "features, again and again", flood(f"{features}<n/></stream:features>"), FLOOD // 2)
    yield of(ANSWER, "header", "header with many attributes", header_attributes(shapes.ATTRIBUTES))
    yield of(ANSWER, "header-from", "header with a long from", header("from", shapes.TEXT))
    yield of(ANSWER, "proceed", "<proceed/> with a long text", one(f"<proceed {TLS}>", shapes.TEXT, "</proceed>"))
    yield of(ANSWER, "failure", "<failure/> of SASL with a long text", one(f"<failure {SASL}><not-authorized/><text>", shapes.TEXT, "</text></failure>"))
    yield of(ANSWER, "error", "a stream error with many children", one("<stream:error>", shapes.CHILDREN, "</stream:error>"))
    yield of(ANSWER, "error-text", "a stream error with a long text", one(f"<stream:error><text {ERROR}>", shapes.TEXT, "</text></stream:error>"))
    answer = f"<db:result from='answers.test' to='{LOCAL}' type='%s'"
    yield of(ANSWER_KEY, "invalid", "our key is invalid, with a long text", one(answer % "invalid" + ">", shapes.TEXT, "</db:result>"))
    yield of(ANSWER_KEY, "error", "our key cannot be verified, many children", one(answer % "error" + ">", shapes.CHILDREN, "</db:result>"))
    yield of(ANSWER_KEY, "type", "a long type of answer", one(f"<db:result from='answers.test' to='{LOCAL}' type='", shapes.TEXT, "'/>"))
    yield of(ANSWER_KEY, "verifies", "answers to db:verify that was not asked", flood(
        f"<db:verify from='answers.test' to='{LOCAL}' id='{{n}}' type='valid'/>"), FLOOD // 2)
    yield of(ANSWER_ALIVE, "stanzas", "stanzas on a stream of ours", flood(f"<message from='eve@answers.test' to='idle@{LOCAL}'><body>{{n}}</body></message>"),
             FLOOD // 2)
    yield of(ANSWER_ALIVE, "results", "answers to our key, again and again", flood(answer % "valid" + "/>"), FLOOD // 2)
    yield of(ANSWER_ALIVE, "unknown", "an unknown element, many children", one("<what xmlns='urn:what'>", shapes.CHILDREN, "</what>"))


def boundary():
    result = f"<db:result from='{INSIDE}' to='{FEDERATED}'>"
    verify = f"<db:verify from='{INSIDE}' to='{FEDERATED}'"
    yield of(INNER_STRANGER, "header-from", "header with a from of many labels", header("from", shapes.many("a.")))
    yield of(INNER_STRANGER, "header-to", "header with a long to", header("to", shapes.TEXT))
    yield of(INNER_STRANGER, "header-attributes", "header of no relay host, many attributes", lambda room, turn: shapes.Text(
        "", header={"from": f"x{turn}.evil.test", "raw": shapes.ATTRIBUTES(room - 300)}))
    yield of(INNER_STRANGER, "garbage", "no XML", shapes.bytes_only(shapes.many("\\x00rubbish")), FLOOD)
    yield of(INNER_STRANGER, "whitespace", "white space", lambda room, _: shapes.Text(" " * room), FLOOD)
    yield of(INNER_STRANGER, "stanza", "a message with many children", one(f"<message from='alice@{INSIDE}' to='bob@{FEDERATED}'>", shapes.CHILDREN,
             "</message>"))
    yield of(INNER_STRANGER, "unknown", "an unknown element, deep", one("<what xmlns='urn:what'>", shapes.DEEP, "</what>"))
    yield of(INNER_STRANGER, "result-text", "key of apostrophes", one(result, shapes.APOSTROPHES, "</db:result>"))
    yield of(INNER_STRANGER, "results", "keys, one after the other", flood(result + "0123456789abcdef{r}{n}</db:result>"), FLOOD // 2)
    yield of(INNER_STRANGER, "verify-wrong", "db:verify with wrong keys", flood(f"{verify} id='{{r}}{{n}}'>0123</db:verify>"), FLOOD // 2)
    yield of(INNER, "message-children", "message with many children", one(f"<message from='alice@{INSIDE}' to='bob@{FEDERATED}' id='m{{r}}'><body>b</body>",
             shapes.CHILDREN, "</message>"))
    yield of(INNER, "messages", "messages", flood(f"<message from='alice@{INSIDE}' to='bob@{FEDERATED}' id='{{n}}'><body>b</body></message>"), FLOOD // 2)
    yield of(INNER, "verifies", "wrong keys to be verified", flood(f"{verify} id='{{n}}'>0123</db:verify>"), FLOOD // 4)
    yield of(INNER_UNVERIFIED, "messages", "messages to contacts that are not listed", flood(
        f"<message from='alice@{INSIDE}' to='c{{r}}x{{n}}@{UNVERIFIED}'><body>b</body></message>"), FLOOD // 2)
    contact = f"<presence from='alice@{INSIDE}' to='c{{r}}x{{n}}@{UNVERIFIED}' type="
    yield of(INNER_UNVERIFIED, "subscribes", "contacts of one user that come and go", flood(f"{contact}'subscribe'/>{contact}'unsubscribe'/>"), FLOOD // 4)
    yield of(INNER_ANSWER, "unknown", "features: many unknown", one("<stream:features>", shapes.numbered("<f xmlns='u{n}'/>"), "</stream:features>"))
    yield of(INNER_ANSWER, "deep", "features: a deep tree", one("<stream:features>", shapes.DEEP, "</stream:features>"))
    yield of(INNER_ANSWER, "error-text", "a stream error with a long text", one(f"<stream:error><text {ERROR}>", shapes.TEXT, "</text></stream:error>"))
    yield of(TO_INSIDE, "message-children", "message with many children", one(f"<message from='bob@{FEDERATED}/b' to='alice@{INSIDE}' id='m{{r}}'>"
             "<body>b</body>", shapes.CHILDREN, "</message>"))
    yield of(TO_INSIDE, "messages", "messages", flood(f"<message from='bob@{FEDERATED}/b' to='alice@{INSIDE}' id='{{n}}'><body>b</body></message>"), FLOOD // 2)
    yield of(TO_INSIDE, "subscribes", "subscriptions to users who may not be", flood(
        f"<presence from='bob@{FEDERATED}' to='no{{r}}x{{n}}@{INSIDE}' type='subscribe'/>"), FLOOD // 4)
    yield of(UNVERIFIED_TO_INSIDE, "messages", "messages of who is in no roster", flood(
        f"<message from='mallory@{UNVERIFIED}/m' to='no{{n}}@{INSIDE}'><body>b</body></message>"), FLOOD // 2)


def dns():
    who = (Resolver, "DNS", 0, "idle")
    yield of(who, "srv", "many SRV records that lead nowhere", shapes.zone("_xmpp-server._tcp.dns.test. 0 IN SRV {n} 0 5269 t{n}.nowhere.test."), 200, unit="records")
    yield of(who, "addresses", "many addresses where nobody listens", shapes.zone("dns.test. 0 IN A 127.9.9.{n}"), 100, unit="records")


def rows():
    return [*strangers(), *certificates(), *partners(), *users(), *answers(), *boundary(), *dns()]


# Users of ours: {name: roster}, and what else is stored for them. The contacts of a broadcast are few: each costs the same, and core's part is dear.
CONTACTS = 10
USERS = {
    "alice": {},
    "idle": {},
    "popular": {f"contact{number}@{VERIFIED}": "both" for number in range(CONTACTS)},
    # Another than that, since whom the module has authorised hears of every later broadcast.
    "courted": {f"contact{number}@{VERIFIED}": "both" for number in range(CONTACTS)},
    "cancelling": {},
    "blocking": {},
}
STORES = {
    "cancelling": {"s2s_partners_cancelled": "return { contacts = {\n" + "".join(
        f'\t["gone{number}@{VERIFIED}"] = 1700000000;\n' for number in range(1000)) + "} };\n"},
}
