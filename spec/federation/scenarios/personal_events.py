"""Personal events (PEP): mood and the like go where status notes go, whichever way they travel; avatars and nicknames go everywhere.

fed.test is federated, ver.test public_verified, unv.test public_unverified; shows.test is public_verified and may have events, shut.test
federated and may not. Everybody sees everybody's presence, and asks for everything with +notify."""

import re
import threading

from lab.client import Client
from lab.prosody import Prosody

from scenarios._edge import ALICE, HOST, any_method, configuration, edge_server

FED, VER, UNV, SHOWS, SHUT = "fed.test", "ver.test", "unv.test", "shows.test", "shut.test"
DOMAINS = (FED, VER, UNV, SHOWS, SHUT)
MAY = (FED, SHOWS)
CAROL = f"carol@{HOST}"
PUBSUB = "http://jabber.org/protocol/pubsub"
MOOD, LOCATION = "http://jabber.org/protocol/mood", "http://jabber.org/protocol/geoloc"
NICK, AVATAR = "http://jabber.org/protocol/nick", "urn:xmpp:avatar:metadata"
OTHER, NOWHERE = "urn:lab:other", "urn:lab:nowhere"
NODES = (MOOD, LOCATION, NICK, AVATAR, OTHER)
CAPS = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:lab' ver='{}'/>"
TIMEOUT = 120


def bob(domain):
    return f"bob@{domain}"


def eve(domain):
    return f"eve@{domain}"


def setup(lab):
    contacts = [*map(bob, DOMAINS)]
    lab.edge = edge_server(lab, configuration(
        any_method(FED), any_method(VER, partner_type="public_verified"), any_method(UNV, partner_type="public_unverified"),
        any_method(SHOWS, partner_type="public_verified", personal_events="allow"), any_method(SHUT, personal_events="refuse")),
        users=[ALICE, CAROL], modules=["s2s_bidi"])
    lab.edge.set_roster(ALICE, {contact: "both" for contact in [*contacts, CAROL]})
    lab.edge.set_roster(CAROL, {ALICE: "both"})
    lab.edge.start()
    lab.partner = Prosody(lab, "partner", list(DOMAINS), users=[*contacts, *map(eve, DOMAINS)], preset="any")
    for contact in contacts:
        lab.partner.set_roster(contact, {ALICE: "both"})
    lab.partner.start()
    lab.clients = {}
    log_in(lab, ALICE)
    for jid in (CAROL, *contacts):
        log_in(lab, jid)
    return lab


def log_in(lab, jid):
    """A client that asks for all events, by what it says when it is asked what it can do (XEP-0115, XEP-0163 4.3.2)."""
    client = lab.clients[jid] = Client(jid, (lab.edge if jid.endswith(f"@{HOST}") else lab.partner).address, presence=False)
    lab.cleanup(client.close)
    ready = threading.Event()

    def able():
        client._xmpp.register_plugin("xep_0030")
        for node in NODES:
            client._xmpp["xep_0030"].add_feature(f"{node}+notify", node=f"urn:lab#{jid.partition('@')[2]}")
        ready.set()

    client._loop.call_soon_threadsafe(able)
    assert ready.wait(10)
    client.roster()
    mark = client.mark()
    caps = CAPS if lab.home == "prosody" else CAPS.replace(" hash='sha-1'", "")     # a hash is compared by ejabberd
    client.presence(inside=caps.format(jid.partition("@")[2]))
    if jid != ALICE:
        client.wait_presence(ALICE, since=mark)
    return client


def publish(lab, node, payload, id_="current"):
    answer = lab.clients[ALICE].iq(None, f"<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{id_}'>{payload}</item></publish></pubsub>", "set")
    assert answer.get("type") == "result", answer


def has(word):
    return lambda stanza: stanza.name == "message" and word in str(stanza)


def comes(lab, since, word, domains):
    """Those partners have heard that word when what may go everywhere, and was sent after it, has come; the others have not."""
    publish(lab, NICK, f"<nick xmlns='{NICK}'>after {word}</nick>")
    for domain in DOMAINS:
        client = lab.clients[bob(domain)]
        client.wait_stanza(has(f"after {word}"), since=since[domain])
        heard = [stanza for stanza in client.stanzas[since[domain]:] if has(word)(stanza) and not has(f"after {word}")(stanza)]
        assert bool(heard) == (domain in domains), (domain, heard)


def marks(lab):
    return {domain: lab.clients[bob(domain)].mark() for domain in DOMAINS}


def ready(lab):
    """Until every contact gets events: the edge has to ask each of them first what it can do."""
    for attempt in range(20):
        since = marks(lab)
        publish(lab, NICK, f"<nick xmlns='{NICK}'>ready {attempt}</nick>")
        try:
            for domain in DOMAINS:
                lab.clients[bob(domain)].wait_stanza(has(f"ready {attempt}"), timeout=1, since=since[domain])
            return
        except TimeoutError:
            continue
    raise AssertionError([domain for domain in DOMAINS if not any(map(has("ready "), lab.clients[bob(domain)].stanzas))])


def scenario_pushes(lab):
    ready(lab)
    log, since, carols = lab.edge.mark(), marks(lab), lab.clients[CAROL].mark()
    publish(lab, MOOD, f"<mood xmlns='{MOOD}'><happy/><text>secretmood</text></mood>")
    lab.clients[CAROL].wait_stanza(has("secretmood"), since=carols)
    comes(lab, since, "secretmood", MAY)
    lab.edge.wait_log("status-note-removed", mark=log)
    # Whatever nobody has heard of is a personal event as well; and so is that one is gone.
    since = marks(lab)
    publish(lab, OTHER, "<x xmlns='urn:lab:other'>secretother</x>")
    comes(lab, since, "secretother", MAY)
    if lab.home == "prosody":     # ejabberd tells nobody that an item is gone
        since = marks(lab)
        answer = lab.clients[ALICE].iq(None, f"<pubsub xmlns='{PUBSUB}'><retract node='{OTHER}' notify='true'><item id='current'/></retract></pubsub>", "set")
        assert answer.get("type") == "result", answer
        comes(lab, since, OTHER, MAY)
    # Avatars go everywhere.
    since = marks(lab)
    publish(lab, AVATAR, f"<metadata xmlns='{AVATAR}'><info id='avatarone' bytes='1' type='image/png'/></metadata>")
    comes(lab, since, "avatarone", DOMAINS)


def scenario_last_items_on_presence(lab):
    ready(lab)
    publish(lab, LOCATION, f"<geoloc xmlns='{LOCATION}'><text>secretplace</text></geoloc>")
    publish(lab, AVATAR, f"<metadata xmlns='{AVATAR}'><info id='avatartwo' bytes='1' type='image/png'/></metadata>")
    for domain in DOMAINS:
        lab.clients.pop(bob(domain)).close()
        client = log_in(lab, bob(domain))
        client.wait_stanza(has("avatartwo"))
        if domain in MAY:
            client.wait_stanza(has("secretplace"))
    ready(lab)
    for domain in DOMAINS:
        seen = [stanza for stanza in lab.clients[bob(domain)].stanzas if has("secretplace")(stanza)]
        assert bool(seen) == (domain in MAY), (domain, seen)


def ask(client, node, to=ALICE):
    return client.iq(to, f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>")


def scenario_retrievals(lab):
    publish(lab, MOOD, f"<mood xmlns='{MOOD}'><text>secretmood</text></mood>")
    publish(lab, NICK, f"<nick xmlns='{NICK}'>ally</nick>")
    for domain in DOMAINS:
        client = lab.clients[bob(domain)]
        assert "ally" in str(ask(client, NICK)), domain
        answer, none = ask(client, MOOD), ask(client, NOWHERE)
        if domain in MAY:
            assert "secretmood" in str(answer), (domain, answer)
            continue
        # As if there were no such node.
        assert answer.condition == none.condition == "item-not-found", (domain, answer, none)
        assert answer.attributes.keys() == none.attributes.keys() and len(answer.children) == len(none.children), (answer, none)
        # One item, the latest ones, several nodes: however it is asked.
        for inside in (f"<items node='{MOOD}'><item id='current'/></items>", f"<items node='{MOOD}' max_items='1'/>",
                       f"<items node='{MOOD}'/><items node='{NICK}'/>"):
            answer = client.iq(ALICE, f"<pubsub xmlns='{PUBSUB}'>{inside}</pubsub>")
            assert "secretmood" not in str(answer), answer
            # Of several nodes ejabberd answers one.
            assert answer.condition == "item-not-found" or (lab.home == "ejabberd" and NICK in inside), answer
        # A subscription to the node brings nothing either.
        since = client.mark()
        client.iq(ALICE, f"<pubsub xmlns='{PUBSUB}'><subscribe node='{MOOD}' jid='{bob(domain)}'/></pubsub>", "set")
        ask(client, NICK)
        assert not [stanza for stanza in client.stanzas[since:] if "secretmood" in str(stanza)]


def scenario_an_open_node(lab):
    """Who may not see the user's presence learns nothing of it, or of the user."""
    options = ("<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>"
               f"{PUBSUB}#publish-options</value></field><field var='pubsub#access_model'><value>open</value></field></x></publish-options>")
    answer = lab.clients[ALICE].iq(None, f"<pubsub xmlns='{PUBSUB}'><publish node='urn:lab:open'><item id='current'><x xmlns='urn:lab:open'>"
                                   f"secretopen</x></item></publish>{options}</pubsub>", "set")
    assert answer.get("type") == "result", answer
    for domain in (FED, VER, SHOWS, SHUT):
        with Client(eve(domain), lab.partner.address) as stranger:
            answer, nobody = ask(stranger, "urn:lab:open"), ask(stranger, "urn:lab:open", f"nobody@{HOST}")
            if domain in MAY:
                assert "secretopen" in str(answer), (domain, answer)
            else:
                assert answer.condition == nobody.condition == "service-unavailable", (domain, answer, nobody)


def scenario_lists_of_nodes(lab):
    publish(lab, MOOD, f"<mood xmlns='{MOOD}'><text>secretmood</text></mood>")
    publish(lab, NICK, f"<nick xmlns='{NICK}'>ally</nick>")
    for domain in DOMAINS:
        client = lab.clients[bob(domain)]
        answer = client.iq(ALICE, "<query xmlns='http://jabber.org/protocol/disco#items'/>")
        nodes = {item.get("node") for item in answer.find("query").children}
        assert NICK in nodes and (MOOD in nodes) == (domain in MAY), (domain, nodes)
        for what in ("items", "info"):
            query = f"<query xmlns='http://jabber.org/protocol/disco#{what}' node='{{}}'/>"
            answer, none = client.iq(ALICE, query.format(MOOD)), client.iq(ALICE, query.format(NOWHERE))
            if domain in MAY:
                assert answer.get("type") == "result", (domain, what, answer)
            else:
                assert answer.condition == none.condition == "item-not-found", (domain, what, answer, none)


def scenario_words_beside_an_event(lab):
    """A user's own message keeps what else is in it."""
    event = f"<event xmlns='{PUBSUB}#event'><items node='{MOOD}'><item><x xmlns='urn:lab'>smuggled</x></item></items></event>"
    for domain in DOMAINS:
        client, alice = lab.clients[bob(domain)], lab.clients[ALICE]
        since, mine = client.mark(), alice.mark()
        alice.send_message(bob(domain), f"words for {domain}", inside=event)
        stanza = client.wait_message(f"words for {domain}", since=since)
        assert ("smuggled" in str(stanza)) == (domain in MAY), (domain, stanza)
        # One that is nothing else is gone, without an error: as it is with those that the server sends.
        alice.send_message(bob(domain), None, type_="headline", inside=event)
        alice.send_message(bob(domain), f"end of {domain}")
        client.wait_message(f"end of {domain}", since=since)
        assert len([stanza for stanza in client.stanzas[since:] if "smuggled" in str(stanza)]) == (2 if domain in MAY else 0)
        assert [stanza for stanza in alice.stanzas[mine:] if stanza.get("type") == "error"] == []


def scenario_is_shown(lab):
    text = " ".join(lab.edge.shell(f'partners:show("{VER}")').split())
    assert "personal_events refuse default of public_verified" in text, text
    text = " ".join(lab.edge.shell(f'partners:show("{SHUT}")').split())
    assert re.search(r"personal_events refuse (s2s_)?partners\[5\]", text), text
    explained = {domain: lab.edge.shell(f'partners:explain("{ALICE}", "{bob(domain)}")') for domain in DOMAINS}
    for domain, text in explained.items():
        assert ("Personal events" in text) == (domain not in MAY) and "verdict: allow" in text, (domain, text)
    assert "Personal events" not in lab.edge.shell(f'partners:explain("{bob(VER)}", "{ALICE}")')
