"""Streams on ejabberd, where they go other ways than on Prosody: XEP-0288 as its own module does it, answers that its library would
believe or wait for, a guard that fails, streams that nobody guards, and what is left of a stream that was refused."""

import time
from dataclasses import dataclass

from lab.client import Client
from lab.lab import Skipped
from lab.probe import Probe
from lab.remote import Remote, dialback_answer
from lab.waiting import wait_until
from lab.xmlstream import BIDI, SASL, TLS

from scenarios import _scene
from scenarios._edge import (ALICE, HOST, any_method, assert_not_established, closed_somehow, configuration, edge_server, established,
                             heard, outbound_error, partner, refusal_logged, refused, tls_dialback)

FABRIKAM, NORTHWIND, EVIL = "fabrikam.test", "northwind.test", "evil.test"
ENTRIES = [partner("sasl.test", "*.sasl.test"), tls_dialback("tlsdb.test", "*.tlsdb.test"), any_method("any.test", "*.any.test"),
           partner(FABRIKAM, keepalive=True), partner(NORTHWIND)]
LIMITS = {"s2s_partners_limits": {"keepalive_interval": 4, "connections": 1000}}        # also as long as a ping is waited for


@dataclass
class Streams:
    lab: object
    edge: object
    alice: Client

    def remote(self, domain, **more):
        more.setdefault("leaf", self.lab.certificates.leaf(domain))
        return BidiRemote(self.lab, [domain], **more)

    def probe(self, domain, **more):
        return Probe(self.edge.address, from_=domain, to=HOST, leaf=self.lab.certificates.leaf(domain), **more)

    def sends(self, remote, domain, body):
        mark = self.edge.mark()
        self.alice.send_message(f"eve@{domain}", body)
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == body)
        return mark


class BidiRemote(Remote):
    """Offers XEP-0288 under the namespace that ejabberd 24.12 looks for."""

    def features(self, connection):
        yield from super().features(connection)
        if "own-bidi" in self.offer and not connection.authenticated:
            yield f"<bidi xmlns='{BIDI}'/>"


def setup(lab):
    if lab.host != "ejabberd":
        raise Skipped("it is about ejabberd")
    edge = edge_server(lab, configuration(*ENTRIES, **LIMITS), modules=["s2s_bidi"]).start()
    return Streams(lab, edge, Client(ALICE, edge.address))


def teardown(streams):
    streams.alice.close()


def forged(domain, body="forged"):
    return f"<message from='eve@{domain}' to='{ALICE}' id='f1'><body>{body}</body></message>"


def needs_bidi(streams):
    if not streams.edge.bidi:
        raise Skipped("XEP-0288 came with 24.10")


# XEP-0288

def scenario_bidi_outgoing(streams):
    needs_bidi(streams)
    remote = streams.remote("bidi.sasl.test", offer=["external", "own-bidi"])
    streams.sends(remote, "bidi.sasl.test", "out first")
    assert remote.elements("bidi")
    remote.connections[-1].send(forged("bidi.sasl.test", "in over bidi"))
    streams.alice.wait_message("in over bidi")


def scenario_bidi_is_asked_for_over_tls_only(streams):
    needs_bidi(streams)
    remote = streams.remote("late.sasl.test", offer=["external", "own-bidi"])
    streams.sends(remote, "late.sasl.test", "once")
    names = [element.name for element in remote.elements()]
    assert names.count("bidi") == 1 and names.index("bidi") > names.index("starttls"), names


def scenario_bidi_before_the_record_is_established(streams):
    """ejabberd itself delivers what comes over a stream of its own as soon as it has sent <bidi/>, authenticated or not."""
    needs_bidi(streams)
    for name, more in (("sasl", {"external": "ignore"}), ("tlsdb", {"result": "ignore"})):
        domain = f"early.{name}.test"
        seen, mark = streams.alice.mark(), streams.edge.mark()
        remote = streams.remote(domain, offer=["external", "dialback", "own-bidi"], **more)
        react = remote.react

        def hasty(connection, element, react=react, domain=domain):
            react(connection, element)
            if element.name == "bidi":
                connection.send(forged(domain))
        remote.react = hasty
        condition, text, kind = outbound_error(streams.alice, f"eve@{domain}")
        assert remote.elements("bidi") and (condition, kind) == ("not-allowed", "cancel") and text
        assert_not_established(streams.edge, domain, mark)
        assert all(stanza.get("type") == "error" for stanza in heard(streams.alice, seen))


def scenario_bidi_of_another_domain(streams):
    needs_bidi(streams)
    for sender in ("sasl.test", NORTHWIND, EVIL, HOST):
        domain = f"as-{sender.partition('.')[0]}.sasl.test"
        remote = streams.remote(domain, offer=["external", "own-bidi"])
        streams.sends(remote, domain, f"to {domain}")
        seen = streams.alice.mark()
        remote.connections[-1].send(forged(sender))
        wait_until(lambda remote=remote: remote.connections[-1].error is not None, 20, "stream error")
        assert remote.connections[-1].error.condition == "not-authorized"
        assert heard(streams.alice, seen) == []


def scenario_bidi_incoming(streams):
    """What goes out over the partner's stream: only to it, and nothing before the stream is established."""
    needs_bidi(streams)
    with streams.probe(NORTHWIND) as probe:
        probe.secure()
        probe.send(f"<bidi xmlns='{BIDI}'/>")
        assert probe.external().name == "success"
        probe.features()
        streams.alice.send_message(f"bob@{NORTHWIND}", "over their stream")
        message = probe.read_until("message")
        assert message.find("body").text == "over their stream"
        probe.message(f"bob@{NORTHWIND}", ALICE, "and back")
        streams.alice.wait_message("and back")


def scenario_no_stanzas_without_bidi(streams):
    """Over a stream that we have opened nothing comes in, automatic authorisation included."""
    remote = streams.remote("backwards.sasl.test")
    streams.sends(remote, "backwards.sasl.test", "out")
    seen = streams.alice.mark()
    remote.connections[-1].send(f"<presence type='subscribe' from='eve@backwards.sasl.test' to='{ALICE}'/>")
    wait_until(lambda: remote.connections[-1].error is not None, 20, "stream error")
    assert heard(streams.alice, seen) == [] and "eve@" not in streams.edge.roster(ALICE)


# Answers that nobody has asked for

def scenario_unasked(streams):
    """Each sent straight behind the features of a stream that could go on."""
    for number, (text, reason) in enumerate([
            (f"<proceed xmlns='{TLS}'/>", "tls-not-supported"), (f"<failure xmlns='{TLS}'/>", "tls-not-supported"),
            (f"<success xmlns='{SASL}'/>", "sasl-not-supported"),
            (f"<failure xmlns='{SASL}'><not-authorized/></failure>", "sasl-not-supported"),
            ("<stream:features/>", "no-method-left")]):
        domain, mark = f"unasked{number}.tlsdb.test", streams.edge.mark()
        remote = streams.remote(domain, result="ignore", after_features=text)
        condition, said, _ = outbound_error(streams.alice, f"eve@{domain}")
        assert condition == "not-allowed", (text, condition, said)
        refusal_logged(streams.edge, "to", domain, reason, mark)
        assert not remote.elements("message")


def scenario_success_after_failure(streams):
    """EXTERNAL was refused, dialback goes on: a late <success/> is nobody's."""
    domain, mark = "twice.any.test", streams.edge.mark()
    remote = streams.remote(domain, external="failure", result="ignore")
    react = remote.react

    def late(connection, element):
        react(connection, element)
        if element.name == "result":
            connection.send(f"<success xmlns='{SASL}'/>")
    remote.react = late
    outbound_error(streams.alice, f"eve@{domain}")
    refusal_logged(streams.edge, "to", domain, "sasl-not-supported", mark)
    assert_not_established(streams.edge, domain, mark)


def scenario_starttls_fails(streams):
    """The library would wait for its time-out."""
    for name in ("sasl", "any"):
        domain, mark, start = f"unable.{name}.test", streams.edge.mark(), time.monotonic()
        remote = streams.remote(domain)

        def unable(connection, element, react=remote.react):
            if element.name == "starttls":
                connection.send(f"<failure xmlns='{TLS}'/>")
            else:
                react(connection, element)
        remote.react = unable
        outbound_error(streams.alice, f"eve@{domain}")
        refusal_logged(streams.edge, "to", domain, "tls-required", mark)
        assert time.monotonic() - start < 9         # the library's time-out is 10


# What is left of a refused stream

def scenario_judged_anew_at_once(streams):
    """No back-off: the next stanza finds the partner as it is now."""
    domain = "corrected.sasl.test"
    remote = streams.remote(domain, offer=["dialback"])
    condition, _, _ = outbound_error(streams.alice, f"eve@{domain}")
    assert condition == "not-allowed"
    remote.offer = ["external"]
    streams.sends(remote, domain, "now it works")


def scenario_whole_queue_comes_back(streams):
    domain = "queue.sasl.test"
    streams.remote(domain, external="failure")
    ids = [streams.alice.send_message(f"eve@{domain}", f"number {number}") for number in range(30)]
    for id_ in ids:
        condition, text, kind = streams.alice.wait_error(id_, 15)
        assert (condition, kind) == ("not-allowed", "cancel") and text


# The guard fails

def scenario_error_in_a_callback(streams):
    """Refused, and the log has no body in it."""
    remote = streams.remote("fault.sasl.test")
    streams.sends(remote, "fault.sasl.test", "before")
    # A stream of before that ends meanwhile would end who keeps the table.
    wait_until(lambda: streams.edge.evaluate("""
        supervisor:which_children(ejabberd_s2s_in_sup) ++ [Pid || {_, Pid, _, _} <- supervisor:which_children(ejabberd_s2s_out_sup),
            mnesia:dirty_match_object(s2s, {s2s, '_', Pid}) =:= []]""") == "[]", 20, "the end of what other scenarios have left")
    mark = streams.edge.mark()
    # Who keeps the table must not look into it meanwhile, as it does when a stream ends (a remote hangs up after 20 s of silence) and once a minute.
    # What has ended before is taken out of it first.
    streams.edge.evaluate("s2s_partners_live:ready(), sys:suspend(s2s_partners_live), ets:rename(s2s_partners_streams, away)")
    try:
        with streams.probe(NORTHWIND) as probe:
            probe.open()
            closed_somehow(probe)
        streams.remote("newer.sasl.test")
        condition, _, kind = streams.alice.wait_error(streams.alice.send_message("eve@newer.sasl.test", "secret words"), 15)
        assert kind in ("cancel", "wait"), condition
    finally:
        streams.edge.evaluate("ets:rename(away, s2s_partners_streams), sys:resume(s2s_partners_live)")
    assert_not_established(streams.edge, NORTHWIND, mark)
    assert_not_established(streams.edge, "newer.sasl.test", mark)
    streams.sends(remote, "fault.sasl.test", "after")


def scenario_nobody_counts(streams):
    """Without the process that counts, no stream comes about; it is started again."""
    mark = streams.edge.mark()
    streams.edge.evaluate("supervisor:terminate_child(s2s_partners_sup, s2s_partners_places)")
    try:
        with streams.probe(NORTHWIND) as probe:
            probe.open()
            closed_somehow(probe)
        assert_not_established(streams.edge, NORTHWIND, mark)
    finally:
        streams.edge.evaluate("supervisor:restart_child(s2s_partners_sup, s2s_partners_places)")
    with streams.probe(NORTHWIND) as probe:
        probe.authenticate()
        probe.message(f"bob@{NORTHWIND}", ALICE, "counted again")
        streams.alice.wait_message("counted again")


def unguarded(streams, domain, library, listed):
    """The established stream of the domain is as one that was there before the module: its state has nothing of ours. In its own process, and done
    when this returns: nothing that it was about to publish about itself comes later."""
    count = f"length([Pid || #{{pid := Pid, remote := <<\"{domain}\">>, stage := established}} <- s2s_partners_live:streams()])"
    wait_until(lambda: streams.edge.evaluate(count) == "1", 20, f"one stream of {domain}")
    done = streams.edge.evaluate(f"""
        Self = self(),
        [begin
             {library}:update_state(Pid, fun(State) ->
                 {str(listed).lower()} orelse ets:delete(s2s_partners_streams, self()),
                 Self ! {{unguarded, Pid}},
                 maps:remove(s2s_partners, State#{{mod => {library}}})
             end),
             receive {{unguarded, Pid}} -> ok after 20000 -> late end
         end || #{{pid := Pid, remote := <<"{domain}">>, stage := established}} <- s2s_partners_live:streams()]""")
    assert done == "[ok]", done


def scenario_on_its_way_to_a_stream_that_a_reload_ends(streams):
    """ejabberd has found the stream for a stanza, and runs its hook for what is sent; by then a reload has ended the stream."""
    edge, domain = streams.edge, "onway.any.test"
    remote = streams.remote(domain)
    streams.sends(remote, domain, "before")
    before = edge.partners
    edge.evaluate(f"""
        Row = {{<<"{HOST}">>, <<"{domain}">>}},
        [{{s2s, _, Stream}}] = mnesia:dirty_read(s2s, Row),
        Wait = fun Wait(Is, N) -> N =:= 0 orelse Is() orelse begin timer:sleep(10), Wait(Is, N - 1) end end,
        persistent_term:put(lab_way, none),
        ejabberd_hooks:add(s2s_send_packet, <<"{HOST}">>, fun(Packet) ->
            case persistent_term:get(lab_way) of
                none ->
                    persistent_term:put(lab_way, found),
                    Wait(fun() -> not lists:keymember(Stream, 3, mnesia:dirty_read(s2s, Row)) end, 2000),
                    Wait(fun() -> not is_process_alive(Stream) end, 5),
                    persistent_term:put(lab_way, sent);
                _ -> ok
            end,
            Packet
        end, 99)""")
    streams.alice.send_message(f"eve@{domain}", "on its way")
    wait_until(lambda: edge.evaluate("persistent_term:get(lab_way)") == "found", 20, "a stream for the message")
    try:
        edge.partners = configuration(tls_dialback(domain), *ENTRIES, **LIMITS)
        edge.reload()
        assert edge.answer == "ok", edge.answer
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == "on its way")
        assert edge.evaluate("persistent_term:get(lab_way)") == "sent"
    finally:
        edge.partners = before
        edge.reload()


def scenario_a_stanza_overtakes_the_judgement_after_a_reload(streams):
    """It is there before the stream has been judged again, by a configuration that has another method for the partner."""
    edge, domain = streams.edge, "overtakes.any.test"
    remote = streams.remote(domain)
    streams.sends(remote, domain, "before")
    before = edge.partners
    edge.evaluate(f"""
        [{{s2s, _, Stream}}] = mnesia:dirty_read(s2s, {{<<"{HOST}">>, <<"{domain}">>}}),
        persistent_term:put(lab_stream, Stream),
        Self = self(),
        register(lab_holder, spawn(fun() -> erlang:suspend_process(Stream), Self ! held, receive go -> ok after 60000 -> late end end)),
        receive held -> ok end""")
    try:
        streams.alice.send_message(f"eve@{domain}", "overtakes")
        # Its clock ticks as well.
        wait_until(lambda: edge.evaluate("[route || {route, _} <- element(2, process_info(persistent_term:get(lab_stream), messages))]") == "[route]", 20,
                   "the message")
        edge.partners = configuration(tls_dialback(domain), *ENTRIES, **LIMITS)
        edge.reload()
        edge.evaluate("lab_holder ! go")
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == "overtakes")
        assert remote.elements("result") and len(remote.connections) == 2
    finally:
        edge.partners = before
        edge.reload()


def scenario_a_reload_takes_away_the_method_in_the_middle_of_it(streams):
    """Another one is left, so the stream goes on, until the answer comes. What waits for it is nobody's fault, and goes over a new one."""
    edge, domain = streams.edge, "midway.any.test"
    remote = streams.remote(domain, result="ignore")
    before = edge.partners
    try:
        edge.partners = configuration(tls_dialback(domain), *ENTRIES, **LIMITS)
        edge.reload()
        streams.alice.send_message(f"eve@{domain}", "waits")
        key = remote.wait_element("result")
        edge.partners = configuration(partner(domain), *ENTRIES, **LIMITS)
        edge.reload()
        remote.connections[-1].send(dialback_answer(key, "valid"))
        remote.wait_element(lambda element: element.name == "message" and element.find("body").text == "waits")
        assert remote.elements("auth") and len(remote.connections) == 2
    finally:
        edge.partners = before
        edge.reload()


def scenario_unguarded_streams_end_at_a_reload(streams):
    """Streams that were there before the module, whether they are listed or not."""
    for listed in (False, True):
        with streams.probe(NORTHWIND) as probe:
            probe.authenticate()
            unguarded(streams, NORTHWIND, "ejabberd_s2s_in", listed)
            streams.edge.evaluate("s2s_partners_live:rejudge()")
            probe.read_close("policy-violation", timeout=20)
        domain = f"listed-{str(listed).lower()}.sasl.test"
        remote = streams.remote(domain)
        streams.sends(remote, domain, "guarded")
        unguarded(streams, domain, "ejabberd_s2s_out", listed)
        streams.edge.evaluate("s2s_partners_live:rejudge()")
        error = wait_until(lambda remote=remote: remote.connections[-1].error, 20, f"end of the stream to {domain}")
        assert error.condition == "policy-violation", error
        _scene.no_way_to(streams.edge, domain)      # or ejabberd finds the stream that is ending, which nobody guards
        streams.sends(remote, domain, "guarded again")


# Keepalives, and what there is to see

def scenario_keepalive(streams):
    """A ping goes out, its answer goes no further and keeps the stream."""
    remote = streams.remote(FABRIKAM)
    with streams.probe(FABRIKAM) as probe:
        probe.authenticate()    # before the ping, which does not wait long for its answer
        streams.sends(remote, FABRIKAM, "open")
        ping = remote.wait_element(lambda element: element.name == "iq" and element.find("ping"))
        assert ping.get("from") == HOST and ping.get("to") == FABRIKAM
        seen = streams.alice.mark()
        probe.send(f"<iq type='result' id='{ping.get('id')}' from='{FABRIKAM}' to='{HOST}'/>")
        remote.wait_element(lambda element: element.name == "iq" and element.get("id") != ping.get("id"))
    assert heard(streams.alice, seen) == []
    assert not remote.connections[-1].closed


def scenario_listed_for_the_console(streams):
    mark = streams.edge.mark()
    with streams.probe(NORTHWIND) as probe:
        probe.authenticate()
        established(streams.edge, "from", NORTHWIND, mark)
        # Shown behind its line in the log.
        wait_until(lambda: '{established,sasl,valid,<<"northwind.test">>,incoming}' in streams.edge.evaluate("""
            [{maps:get(stage, V), maps:get(method, V), maps:get(certificate, V), maps:get(partner, V), maps:get(direction, V)}
             || #{remote := <<"northwind.test">>, method := _} = V <- s2s_partners_live:streams()]"""), 20, "the stream in the list")
    wait_until(lambda: streams.edge.evaluate("""
        [V || #{remote := <<"northwind.test">>, direction := incoming} = V <- s2s_partners_live:streams()]""") == "[]", 20, "an empty list")


def scenario_own_domain(streams):
    with Probe(streams.edge.address, from_=HOST, to=HOST, leaf=streams.lab.certificates.leaf(HOST)) as probe:
        probe.open()
        refused(probe, "wrong-domain")
