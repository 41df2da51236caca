%%% Every stanza that crosses the border between this server and others, in either direction, by any author. This module
%%% finds out what a stanza is and what is known about the two sides, asks the NIF, and does what the answer says. It
%%% decides nothing. What fails refuses; s2s_partners_latch refuses where this module fails altogether.
-module(s2s_partners_route).

-export([init/0, init/2, filter_packet/1, incoming/2, incoming_passed/0, remember/4]).
-export([user_send_packet/1, roster_out_subscription/1, roster_process_item/2, session_ended/3, remove_user/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

%% A mark in the metadata of a stanza, as ?DIRECTED: an error that a client has written.
-define(BY_CLIENT, s2s_partners_by_client).
%% The same of what a partner has sent to a service: {domain of the sender, whom it has been judged for}.
-define(FOR_SERVICE, s2s_partners_for_service).
%% In the dictionary of a stream's process: whose `unsubscribe` is being delivered to whom.
-define(WITHDRAWN, s2s_partners_withdrawn).
%% The same of any process: when it has written of an error.
-define(COMPLAINED, s2s_partners_complained).

%% Makes the tables. Called once a node, by a process that lives as long as the node serves (s2s_partners_guard).
-spec init() -> ok.
init() ->
    ok = s2s_partners_directed:init(),
    ok = s2s_partners_requests:init(),
    ok = s2s_partners_facts:init(),
    ok = s2s_partners_interests:init(),
    ok = s2s_partners_cancellations:init().

%% A virtual host with the module, and the type of database that its option names.
-spec init(Host :: binary(), DbType :: atom()) -> ok.
init(Host, DbType) ->
    s2s_partners_cancellations:init(Host, DbType).

%%% What goes out

%% Global hook filter_packet: every stanza that is routed anywhere. Those for local addresses pass after one look-up: what others have
%% sent has been judged by the time it is routed (incoming/2), for the address that it was sent to.
-spec filter_packet(stanza() | drop) -> stanza() | drop.
filter_packet(drop) ->
    drop;
filter_packet(Packet) ->
    #jid{lserver = Domain} = To = xmpp:get_to(Packet),
    case s2s_partners_in_force:is_vhost(Domain) of
        true ->
            passed_on(xmpp:get_meta(Packet, ?FOR_SERVICE, none), Packet, To);
        false ->
            case s2s_partners_fast_path:outgoing(Packet) of
                {pass, Packet1} -> Packet1;
                ask -> filter_packet(Packet, To)
            end
    end.

filter_packet(Packet, #jid{lserver = Domain} = To) ->
    case s2s_partners_in_force:is_local(Domain) of
        true -> passed_on(xmpp:get_meta(Packet, ?FOR_SERVICE, none), Packet, To);
        false -> outgoing(Packet, xmpp:get_from(Packet), To)
    end.

%% A service (XEP-0033) sends on what it was sent, in the sender's name, and each recipient has rules of its own.
passed_on(none, Packet, _) ->
    Packet;
passed_on({Sender, LUser, LServer}, Packet, #jid{luser = ToUser, lserver = ToServer}) ->
    case xmpp:get_from(Packet) of
        #jid{lserver = Sender} when ToServer =/= LServer; ToUser =/= LUser ->
            case incoming(Packet, ToServer) of
                {pass, Judged} -> Judged;
                drop -> drop
            end;
        _ ->
            %% What the service says in its own name, or itself gets.
            Packet
    end.

outgoing(Packet, From, To) ->
    try s2s_partners_answers:is_own(Packet) orelse is_ours(From) of
        true -> Packet;
        ours -> judge_outgoing(Packet, From, To);
        {refuse, Reason, Rule} ->
            s2s_partners_report:stanza_refused(out, <<"unlisted">>, To#jid.lserver, From#jid.lserver, Reason, Rule),
            drop
    catch
        Class:Error:Stack ->
            complain(?FUNCTION_NAME, Class, Error, Stack),
            refuse_outgoing(s2s_partners_question:kind(Packet, To), 'internal-error', <<"an error in the handler">>, Packet, From, To),
            drop
    end.

%% What is from nobody here would be another server's, sent on.
is_ours(#jid{lserver = LServer}) ->
    case s2s_partners_in_force:vhost_of(LServer) of
        {ok, _} -> ours;
        none -> s2s_partners_nif:own_way(true, false, false, true)
    end.

judge_outgoing(Packet, #jid{lserver = LServer} = From, #jid{lserver = Domain} = To) ->
    {VHost, Policy} = s2s_partners_question:policy_of(LServer),
    Local = s2s_partners_question:local_kind(VHost, From),
    Kind = s2s_partners_question:kind(Packet, To),
    case Kind =/= unknown andalso s2s_partners_question:is_well_formed(Kind, Packet) of
        false ->
            Local =:= user andalso not s2s_partners_question:has_readable_names(Packet) andalso s2s_partners_answers:unreadable(Packet),
            drop;   % no stanza at all: it goes nowhere
        true ->
            About = #{direction => outgoing, own => From, contact => To, packet => Packet, policy => Policy},
            case s2s_partners_question:decide(outgoing, Kind, Local, Domain, About) of
                allow ->
                    passes(Packet, Kind, Local, none, true, About, VHost);
                allow_without_events ->
                    passes(Packet, Kind, Local, none, false, About, VHost);
                {allow, Change, Events} ->
                    passes(Packet, Kind, Local, Change, Events, About, VHost);
                {refuse, Reason, Rule, _Reply} ->
                    refuse_outgoing(Kind, Reason, Rule, Packet, From, To),
                    drop
            end
    end.

%% Change: of the notes; Events: personal events may be in it.
passes(Packet, Kind, Local, Change, Events, About, VHost) ->
    Bare = s2s_partners_question:is_bare(maps:get(own, About)),
    case Events orelse s2s_partners_notes:without_events(Packet, Bare) of
        true -> answers(Packet, false, Kind, Local, Change, About, VHost);
        none -> answers(Packet, false, Kind, Local, Change, About, VHost);
        {some, Rest} -> answers(Rest, true, Kind, Local, Change, About, VHost);
        all when Kind =:= 'iq-result' -> alike(Packet, unless_seen('item-not-found', About), true, About, VHost);
        %% A message that is nothing but personal events is not sent; for who sent it, it has been.
        all -> done(drop, true, About, VHost)
    end.

%% What ejabberd says in a user's name must not tell whether there is such a user.
answers(Packet, Changed, Kind, Local, Change, About, VHost) ->
    case Local =:= user andalso speaks_for_user(Packet, Kind, maps:get(own, About)) of
        false ->
            notes(Packet, Changed, Kind, Local, Change, About, VHost);
        true when Kind =:= 'presence-error'; Kind =:= unsubscribed ->
            drop;
        true ->
            case is_replaced(Packet, Kind, About) of
                true -> alike(Packet, 'service-unavailable', Changed, About, VHost);
                false -> notes(s2s_partners_answers:bare_error(Packet), Changed, Kind, Local, Change, About, VHost)
            end
    end.

notes(Packet, Changed, Kind, Local, 'status-note-removed', About, VHost) ->
    case s2s_partners_notes:without_notes(Packet) of
        unchanged -> sent(Packet, Changed, Kind, Local, About, VHost);
        {changed, Other} -> sent(Other, true, Kind, Local, About, VHost)
    end;
notes(Packet, Changed, Kind, Local, none, About, VHost) ->
    sent(Packet, Changed, Kind, Local, About, VHost).

sent(Packet, Changed, Kind, Local, About, VHost) ->
    remember(Kind, Local, Packet, About),
    simple(out, Kind, Local, About, VHost),
    done(Packet, Changed, About, VHost).

%% The next stanza of its kind has a shorter way.
simple(Way, Kind, user, #{contact := #jid{lserver = Domain}, policy := Policy}, VHost) when Kind =:= message; Kind =:= presence, Way =:= out ->
    s2s_partners_fast_path:found(Way, VHost, Domain, s2s_partners_question:label(Policy, Domain));
simple(_, _, _, _, _) ->
    ok.

alike(Packet, Condition, Changed, About, VHost) ->
    done(s2s_partners_answers:alike(Packet, Condition), Changed, About, VHost).

unless_seen(Condition, About) ->
    case sees(About) of
        yes -> Condition;
        no -> 'service-unavailable'
    end.

done(Packet, Changed, #{contact := #jid{lserver = Domain}, policy := Policy}, VHost) ->
    {Decision, Reason} = case Changed of
                             true -> {change, 'status-note-removed'};
                             false -> {allow, none}
                         end,
    Changed andalso s2s_partners_report:stanza_changed(out, Domain, VHost, Reason),
    s2s_partners_report:count(VHost, s2s_partners_question:label(Policy, Domain), out, Decision, Reason),
    Packet.

%%% Answers in a user's name

%% From the bare address it is ejabberd that answers requests; errors it writes from full addresses as well, where there is no such
%% session. What a client has written is the user's own.
speaks_for_user(Packet, Kind, Own) ->
    case Kind of
        'iq-result' -> s2s_partners_question:is_bare(Own);
        'iq-error' -> not is_by_client(Packet);
        'message-error' -> not is_by_client(Packet);
        'presence-error' -> s2s_partners_question:is_bare(Own);
        %% What mod_roster answers to the `unsubscribe` of a contact whose request waits: only a user who exists has one waiting.
        unsubscribed -> is_withdrawal(Packet);
        _ -> false
    end.

is_by_client(Packet) ->
    xmpp:get_meta(Packet, ?BY_CLIENT, false).

is_withdrawal(#presence{from = From, to = To}) ->
    get(?WITHDRAWN) =:= {jid:tolower(jid:remove_resource(From)), jid:tolower(jid:remove_resource(To))}.

is_replaced(Packet, Kind, About) ->
    Own = has_own_words(Packet, Kind),
    case s2s_partners_nif:answer_is_replaced(Own, unknown) of
        yes -> true;
        no -> false;
        not_known -> s2s_partners_nif:answer_is_replaced(Own, sees(About)) =:= yes
    end.

has_own_words(Packet, Kind) ->
    case xmpp:get_els(Packet) of
        [] ->
            false;
        [Payload | _] ->
            case s2s_partners_nif:own_words(Kind, xmpp:get_ns(Payload), xmpp:get_name(Payload)) of
                none -> false;
                published -> s2s_partners_notes:has_published(Payload);
                any -> s2s_partners_notes:says_something(Payload)
            end
    end.

sees(#{own := #jid{luser = LUser, lserver = LServer}, contact := Contact, policy := Policy}) ->
    s2s_partners_facts:sees({LUser, LServer}, Contact, Policy).

%%% What is kept for later

%% What has gone out, for what comes back.
-spec remember(s2s_partners_nif:kind(), s2s_partners_nif:local_kind(), stanza(), s2s_partners_facts:about()) -> ok.
remember(service, _, Packet, #{own := Own, contact := #jid{lserver = Domain} = Contact, policy := Policy}) ->
    case s2s_partners_nif:policy_find(Policy, Domain) of
        #{type := Type, group_chat := GroupChat} when Type =:= public_unverified; GroupChat =:= refuse ->
            s2s_partners_facts:asked(Own, Contact, xmpp:get_id(Packet));
        _ ->
            ok
    end;
remember(unavailable, user, _, #{own := Own, contact := Contact}) ->
    %% Whatever the partner is by now: what was sent before its type has changed is taken back as well.
    everywhere(s2s_partners_directed, taken_back, [bare(Own), Own#jid.lresource, s2s_partners_facts:canonical(Contact)]);
remember(Kind, user, Packet, #{own := Own, contact := #jid{lserver = Domain} = Contact, policy := Policy})
  when Kind =:= presence; Kind =:= join ->
    case is_directed(Packet) andalso s2s_partners_nif:policy_find(Policy, Domain) of
        #{type := public_unverified} ->
            everywhere(s2s_partners_directed, sent, [bare(Own), Own#jid.lresource, s2s_partners_facts:canonical(Contact)]);
        _ ->
            ok
    end;
remember(_, _, _, _) ->
    ok.

everywhere(Module, Function, Arguments) ->
    _ = s2s_partners_everywhere:apply(Module, Function, Arguments),
    ok.

is_directed(Packet) ->
    xmpp:get_meta(Packet, ?DIRECTED, false).

bare(#jid{luser = LUser, lserver = LServer}) ->
    {LUser, LServer}.

%%% Refusals of what goes out

refuse_outgoing(Kind, Reason, Rule, Packet, From, To) ->
    case refused_outgoing(Kind, Reason, Rule, Packet, From, To) of
        error -> ejabberd_router:route(s2s_partners_answers:refusal(Reason, Packet));
        none -> ok
    end.

%% What its sender gets.
refused_outgoing(Kind, Reason, Rule, Packet, #jid{lserver = LServer} = From, #jid{lserver = Domain} = To) ->
    {VHost, Policy} = s2s_partners_question:policy_of(LServer),
    s2s_partners_report:stanza_refused(out, s2s_partners_question:label(Policy, Domain), Domain, VHost, Reason, Rule),
    {Reply, _Forget} = what_follows(Kind, Reason, Packet, From, To),
    Reply.

%% ejabberd's own note of directed presence is made behind this, and not at all where the client's presence goes no further
%% (user_send_packet/1), so that there is nothing to strike out.
what_follows(Kind, Reason, Packet, From, To) ->
    Noted = yes_or_no(is_directed(Packet)),
    case s2s_partners_nif:refused_route(Kind, Reason, Noted, unknown) of
        passed ->
            Passed = s2s_partners_directed:passed(bare(From), From#jid.lresource, s2s_partners_facts:canonical(To)),
            s2s_partners_nif:refused_route(Kind, Reason, Noted, yes_or_no(Passed));
        Follows ->
            Follows
    end.

yes_or_no(true) -> yes;
yes_or_no(false) -> no.

%%% What comes in

%% What a stream has brought, after the stream's own judgement. `VHost` is the virtual host of the stream (server_host); the
%% stanza is judged by the policy of the host its `to` belongs to.
-spec incoming(stanza(), binary()) -> {pass, stanza()} | drop.
incoming(Packet, VHost) ->
    try
        judge_incoming(Packet, xmpp:get_from(Packet), xmpp:get_to(Packet), VHost)
    catch
        Class:Reason:Stack ->
            complain(?FUNCTION_NAME, Class, Reason, Stack),
            #jid{lserver = Domain} = xmpp:get_from(Packet),
            s2s_partners_report:stanza_refused(in, <<"unlisted">>, Domain, VHost, 'internal-error', <<"an error in the handler">>),
            drop
    end.

judge_incoming(Packet, From, #jid{lserver = LServer} = To, Stream) ->
    erase(?WITHDRAWN),
    {VHost, Policy} = s2s_partners_question:policy_of(LServer),
    case Policy =:= none andalso s2s_partners_in_force:vhost_of(LServer) =:= none of
        true -> not_served(From, Stream);
        false -> judge_incoming(Packet, From, To, VHost, Policy)
    end.

%% Nothing is wrong with the configuration: it cannot name another server's domain. Nobody can answer in that name.
not_served(#jid{lserver = Domain}, Stream) ->
    {VHost, Policy} = s2s_partners_question:policy_of(Stream),
    s2s_partners_report:stanza_refused(in, s2s_partners_question:label(Policy, Domain), Domain, VHost, 'wrong-domain',
                                       <<"a stanza for a domain that this server does not serve">>),
    drop.

judge_incoming(Packet, #jid{lserver = Domain} = From, To, VHost, Policy) ->
    Local = s2s_partners_question:local_kind(VHost, To),
    Kind = s2s_partners_question:kind(Packet, To),
    case Kind =/= unknown andalso s2s_partners_question:is_well_formed(Kind, Packet) of
        false ->
            malformed(Packet);
        true ->
            About = #{direction => incoming, own => To, contact => From, packet => Packet, policy => Policy},
            case s2s_partners_question:decide(incoming, Kind, Local, Domain, About) of
                {allow, 'subscription-authorised', _} ->
                    authorise_subscription(Packet, Policy, VHost, Domain);
                {refuse, Reason, Rule, Reply} ->
                    refuse_incoming(Reason, Rule, Reply, Local, About, VHost);
                _ ->
                    s2s_partners_report:count(VHost, s2s_partners_question:label(Policy, Domain), in, allow, none),
                    simple(in, Kind, Local, About, VHost),
                    {pass, passed_in(Packet, Kind, Local, About)}
            end
    end.

%% A message that s2s_partners_fast_path has let in is next.
-spec incoming_passed() -> ok.
incoming_passed() ->
    erase(?WITHDRAWN),
    ok.

refuse_incoming(Reason, Rule, Reply, Local, #{contact := #jid{lserver = Domain}, policy := Policy, packet := Packet} = About, VHost) ->
    Local =:= user andalso take_as_long(Reason, About),
    s2s_partners_report:stanza_refused(in, s2s_partners_question:label(Policy, Domain), Domain, VHost, Reason, Rule),
    s2s_partners_answers:give(Reply, Packet),
    drop.

%% For a user who exists and may federate, account and roster have been looked at by now. What is found does not matter.
take_as_long('no-such-user', #{contact := #jid{lserver = Domain}, policy := Policy} = About) ->
    case s2s_partners_nif:policy_find(Policy, Domain) of
        #{type := public_unverified} -> s2s_partners_facts:look_up(listed, About);
        _ -> sees(About)
    end;
take_as_long('external-access-denied', About) ->
    _ = s2s_partners_facts:look_up(account, About),
    take_as_long('no-such-user', About);
take_as_long(_, _) ->
    none.

%% What ejabberd makes of it depends on the user.
malformed(Packet) ->
    Type = atom_to_binary(xmpp:get_type(Packet)),
    Reply = s2s_partners_nif:reply_to_malformed(xmpp:get_name(Packet), Type, xmpp:get_id(Packet) =/= <<>>),
    s2s_partners_answers:give(Reply, Packet),
    drop.

authorise_subscription(Packet, Policy, VHost, Domain) ->
    Label = s2s_partners_question:label(Policy, Domain),
    case s2s_partners_subscriptions:authorise(Packet) of
        true ->
            s2s_partners_report:subscription_authorised(Domain, VHost),
            s2s_partners_report:count(VHost, Label, in, change, 'subscription-authorised');
        false ->
            s2s_partners_report:stanza_refused(in, Label, Domain, VHost, 'roster-unavailable', <<"the roster cannot be written">>)
    end,
    drop.

passed_in(#presence{} = Presence, Kind, user, About) ->
    Kind =:= unsubscribe andalso withdraws(About),
    s2s_partners_interests:received(Presence, fun() -> sees(About) =:= yes end);
passed_in(Packet, _, user, _) ->
    Packet;
passed_in(Packet, _, _, #{own := #jid{luser = LUser, lserver = LServer}, contact := #jid{lserver = Sender}}) ->
    xmpp:put_meta(Packet, ?FOR_SERVICE, {Sender, LUser, LServer}).

%% A contact takes a request back that waits for the user, or may: what mod_roster answers stays here.
withdraws(#{own := Own, contact := Contact} = About) ->
    case sees(About) of
        yes -> ok;
        no -> put(?WITHDRAWN, {jid:tolower(jid:remove_resource(Own)), jid:tolower(jid:remove_resource(Contact))})
    end.

%% A line a second of one process, however often somebody can provoke it.
complain(Where, Class, Reason, Stack) ->
    Now = erlang:monotonic_time(second),
    case put(?COMPLAINED, Now) of
        Now -> ok;
        _ -> s2s_partners_report:internal_error(Where, Class, Reason, Stack)
    end.

%%% Hooks of virtual hosts

%% Hook user_send_packet: what a client sends. Presence that is addressed to a contact or room is judged here as well: what is refused
%% must not be noted by the session, which would say good-bye there.
-spec user_send_packet({stanza() | drop, term()}) -> {stanza() | drop, term()}.
user_send_packet({#presence{type = available, to = #jid{lserver = Domain} = To, from = From} = Packet, C2S} = Acc) ->
    case s2s_partners_in_force:is_local(Domain) of
        true ->
            Acc;
        false ->
            directed(xmpp:put_meta(Packet, ?DIRECTED, true), From, To, C2S)
    end;
user_send_packet({#iq{type = error} = Packet, C2S}) ->
    {xmpp:put_meta(Packet, ?BY_CLIENT, true), C2S};
user_send_packet({#message{type = error} = Packet, C2S}) ->
    {xmpp:put_meta(Packet, ?BY_CLIENT, true), C2S};
user_send_packet(Acc) ->
    Acc.

%% Where it may not go, the client is told here and now: an error that is routed to a session makes it forget whom it has sent presence
%% to before, and that contact would see the user come and never go.
directed(Packet, #jid{lserver = LServer} = From, #jid{lserver = Domain} = To, C2S) ->
    {VHost, Policy} = s2s_partners_question:policy_of(LServer),
    Kind = s2s_partners_question:kind(Packet, To),
    Local = s2s_partners_question:local_kind(VHost, From),
    About = #{direction => outgoing, own => From, contact => To, packet => Packet, policy => Policy},
    case s2s_partners_question:decide(outgoing, Kind, Local, Domain, About) of
        {refuse, Reason, Rule, _} ->
            case refused_outgoing(Kind, Reason, Rule, Packet, From, To) of
                error -> {drop, ejabberd_c2s:send(C2S, s2s_partners_answers:refusal(Reason, Packet))};
                none -> {drop, C2S}
            end;
        _ ->
            {Packet, C2S}
    end.

%% Hook roster_out_subscription: what the user says to a contact.
-spec roster_out_subscription(presence()) -> ok.
roster_out_subscription(Presence) ->
    s2s_partners_subscriptions:roster_out(Presence).

%% Hook roster_process_item (fold): a roster set of the user's.
-spec roster_process_item(tuple(), binary()) -> tuple().
roster_process_item(Item, Host) ->
    s2s_partners_subscriptions:roster_item(Item, Host),
    Item.

%% Hook sm_remove_connection_hook: a session's directed presence ends with it; one that goes on over another connection (XEP-0198)
%% is there already.
-spec session_ended(term(), jid(), term()) -> ok.
session_ended(_SID, #jid{luser = LUser, lserver = LServer, lresource = LResource}, _Info) ->
    case ejabberd_sm:get_user_resources(LUser, LServer) of
        [] ->
            %% All of it, on all nodes: of a node that has died, nobody has said which sessions ended with it; and what contacts can do is
            %% noted where their streams come to.
            everywhere(s2s_partners_directed, user_removed, [{LUser, LServer}]),
            everywhere(s2s_partners_interests, session_ended, [{LUser, LServer}]);
        Resources ->
            lists:member(LResource, Resources) orelse everywhere(s2s_partners_directed, session_ended, [{{LUser, LServer}, LResource}]),
            ok
    end.

%% Hook remove_user: a name that is given to somebody else later has nobody's lists.
-spec remove_user(binary(), binary()) -> ok.
remove_user(User, Server) ->
    {LUser, LServer} = {jid:nodeprep(User), jid:nameprep(Server)},
    everywhere(s2s_partners_directed, user_removed, [{LUser, LServer}]),
    s2s_partners_cancellations:user_removed(LUser, LServer).
