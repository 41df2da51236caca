%%% The mode "observe": everything is judged, counted and told as what would be done, and nothing is done. Streams and stanzas pass by ejabberd's own
%%% rules, with ejabberd's own callbacks; what is here looks at them from its hooks, and gives everything on as it came. Nothing here decides or refuses.
-module(s2s_partners_observe).

-export([is_on/0, take/1, remind/0, first_line/0]).
%% From the hooks, while it is on.
-export([authenticated/3, sasl_failed/1, incoming/2, outgoing/1, user_send/1]).
%% To be called in a stream's process, by update_state/2.
-export([release/1]).

-include_lib("kernel/include/logger.hrl").
-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

%% s2s_partners_latch reads it too: it must not need this module to know that it has to refuse.
-define(MODE, s2s_partners_mode).
%% In the state of a stream that nobody guards.
-define(NO_SASL, s2s_partners_no_sasl).

-spec is_on() -> boolean().
is_on() ->
    persistent_term:get(?MODE, enforce) =:= observe.

%% A configuration has been read, whatever has become of it. Before the live streams are judged again: those that came about while nothing was
%% enforced have no record, and are closed then.
-spec take(enforce | observe | term()) -> ok.
take(observe) ->
    case is_on() of
        true ->
            ok;
        false ->
            persistent_term:put(?MODE, observe),
            ?LOG_NOTICE("From now on nothing is enforced", []),
            lists:foreach(fun(#{pid := Pid, direction := incoming}) -> ejabberd_s2s_in:update_state(Pid, {?MODULE, release, []});
                             (#{pid := Pid}) -> ejabberd_s2s_out:update_state(Pid, {?MODULE, release, []})
                          end, s2s_partners_live:streams())
    end,
    remind();
take(_) ->
    case is_on() of
        true ->
            persistent_term:put(?MODE, enforce),
            ?LOG_NOTICE("From now on the list of partners is enforced", []);
        false ->
            ok
    end.

%% At each commit, and once a day.
-spec remind() -> ok.
remind() ->
    is_on() andalso
        ?LOG_WARNING("OBSERVING: nothing is enforced (modules.mod_s2s_partners.mode is \"observe\"): every stream and stanza passes by ejabberd's own rules, "
                     "and the log says what would be refused. To enforce: mode: enforce, and reload", []),
    ok.

%% What the console says before everything else.
-spec first_line() -> [binary()].
first_line() ->
    [<<"OBSERVING: nothing is enforced">> || is_on()].

%% A stream that was guarded goes on as ejabberd's own.
-spec release(map()) -> map().
release(#{s2s_partners := #guarded{direction = Direction, refused = none, waiting = Waiting}} = State) ->
    ok = s2s_partners_live:leave(),
    s2s_partners_places:leave(),
    s2s_partners_places:give_back(),
    lists:foreach(fun ejabberd_router:route/1, lists:reverse(Waiting)),
    maps:remove(s2s_partners, State#{mod => case Direction of incoming -> ejabberd_s2s_in; outgoing -> ejabberd_s2s_out end});
release(State) ->
    State.

%%% Streams

%% ejabberd takes the stream for authenticated. It is judged by what it has shown; places and times are not counted.
-spec authenticated(incoming | outgoing, map(), Remote :: binary()) -> ok.
authenticated(Direction, #{server_host := VHost, socket := Socket} = State, Remote) ->
    Policy = s2s_partners_stream:policy(VHost),
    Tls = xmpp_socket:get_transport(Socket) =/= tcp,
    Sasl = Tls andalso not is_map_key(?NO_SASL, State) andalso (Direction =:= outgoing orelse is_map_key(sasl_mech, State)),
    {Verdict, Report} = case Tls andalso Policy =/= none of
                            true -> s2s_partners_certificate:judge(s2s_partners_certificate:shown(Socket), VHost, Policy, Remote);
                            false -> {unknown, none}
                        end,
    Found = s2s_partners_nif:explain_stream(Policy, #{direction => Direction, domain => Remote, starttls => Tls, sasl => Sasl, dialback => not Sasl,
                                                      certificate => Verdict}),
    Method = case {Sasl, Tls} of
                 {true, _} -> sasl;
                 {false, true} -> tls_dialback;
                 {false, false} -> tcp_dialback
             end,
    Label = s2s_partners_question:label(Policy, Remote),
    Local = maps:get(case Direction of incoming -> lserver; outgoing -> server end, State, VHost),
    About0 = #{direction => Direction, remote => Remote, host => Local, local => Local, vhost => VHost, partner => Label, method => Method, tls => Tls,
               certificate => Verdict},
    About1 = case Report of none -> About0; _ -> About0#{report => Report} end,
    About2 = case State of
                 #{ip := {Address, _}} when is_tuple(Address) -> About1#{address => misc:ip_to_list(Address)};
                 _ -> About1
             end,
    About = case Tls of true -> maps:merge(About2, s2s_partners_certificate:session(Socket)); false -> About2 end,
    Way = case Direction of incoming -> in; outgoing -> out end,
    case Found of
        #{verdict := allow} ->
            s2s_partners_report:count(VHost, Label, Way, allow, none),
            s2s_partners_report:stream_established(About);
        #{reason := Reason, steps := Steps} ->
            s2s_partners_report:count(VHost, Label, Way, refuse, Reason),
            Told = Direction =:= outgoing orelse s2s_partners_report:may_log(maps:get(address, About, <<"?">>), Reason),
            Told andalso s2s_partners_report:stream_refused(About, Reason, maps:get(rule, lists:last(Steps))),
            ok
    end.

%% What authenticates after that is dialback.
-spec sasl_failed(map()) -> map().
sasl_failed(State) ->
    State#{?NO_SASL => true}.

%%% Stanzas

%% One that a stream has brought.
-spec incoming(stanza() | drop, map()) -> ok.
incoming(drop, _) ->
    ok;
incoming(Packet, _State) ->
    #jid{lserver = Domain} = From = xmpp:get_from(Packet),
    To = xmpp:get_to(Packet),
    judge(incoming, Packet, To, From, Domain).

%% Any that is routed.
-spec outgoing(stanza()) -> ok.
outgoing(Packet) ->
    #jid{lserver = Domain} = To = xmpp:get_to(Packet),
    case s2s_partners_in_force:is_local(Domain) of
        true -> ok;
        false -> judge(outgoing, Packet, xmpp:get_from(Packet), To, Domain)
    end.

judge(Direction, Packet, #jid{lserver = LServer} = Own, Contact, Domain) ->
    {VHost, Policy} = s2s_partners_question:policy_of(LServer),
    Local = s2s_partners_question:local_kind(VHost, Own),
    Kind = s2s_partners_question:kind(Packet, case Direction of incoming -> Own; outgoing -> Contact end),
    Label = s2s_partners_question:label(Policy, Domain),
    Way = case Direction of incoming -> in; outgoing -> out end,
    About = #{direction => Direction, own => Own, contact => Contact, packet => Packet, policy => Policy},
    case s2s_partners_question:decide(Direction, Kind, Local, Domain, About) of
        {refuse, Reason, Rule, _} ->
            s2s_partners_report:stanza_refused(Way, Label, Domain, VHost, Reason, Rule);
        {allow, Change, _} when Change =/= none ->
            Direction =:= outgoing andalso s2s_partners_route:remember(Kind, Local, Packet, About),
            %% What goes out loses its note, if it has one; what comes in is answered.
            case Direction =:= incoming orelse s2s_partners_notes:without_notes(Packet) =/= unchanged of
                true ->
                    s2s_partners_report:stanza_changed(Way, Domain, VHost, Change),
                    s2s_partners_report:count(VHost, Label, Way, change, Change);
                false ->
                    s2s_partners_report:count(VHost, Label, Way, allow, none)
            end;
        _ ->
            Direction =:= outgoing andalso s2s_partners_route:remember(Kind, Local, Packet, About),
            s2s_partners_report:count(VHost, Label, Way, allow, none)
    end.

%% What a client sends: whether it is addressed to somebody is known only here.
-spec user_send({stanza() | drop, term()}) -> {stanza() | drop, term()}.
user_send({#presence{type = available, to = #jid{lserver = Domain}} = Packet, C2S}) ->
    case s2s_partners_in_force:is_local(Domain) of
        true -> {Packet, C2S};
        false -> {xmpp:put_meta(Packet, ?DIRECTED, true), C2S}
    end;
user_send(Acc) ->
    Acc.
