%%% The callback module of every incoming stream, in the place of ejabberd_s2s_in. Each callback asks the
%%% record, then calls ejabberd's own. What a peer was offered binds nobody, so each rule stands where it
%%% takes effect: every element is looked at before the library acts on it (handle_recv/3), and no stanza
%%% moves before the audit (handle_stream_established/1).
-module(s2s_partners_in).

%% Hooks
-export([init/2, auth_result/3, rejudge/1]).
-export([has/2]).
%% Callbacks of xmpp_stream_in: all that ejabberd_s2s_in exports.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).
-export([tls_options/1, tls_required/1, tls_enabled/1, compress_methods/1, sasl_mechanisms/2]).
-export([unauthenticated_stream_features/1, authenticated_stream_features/1]).
-export([handle_stream_start/2, handle_stream_end/2, handle_stream_established/1]).
-export([handle_auth_success/4, handle_auth_failure/4, handle_send/3, handle_recv/3, handle_cdata/2]).
-export([handle_unauthenticated_packet/2, handle_authenticated_packet/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%%% Hooks

%% Hook s2s_in_init: a connection has been accepted, and not a byte of it read.
-spec init({ok, state()}, Opts :: list()) -> {ok, state()}.
init({ok, #{server_host := VHost} = State}, _Opts) ->
    s2s_partners_live:enter(incoming),
    case State of
        #{ip := {Address, _}} -> s2s_partners_places:enter(Address);
        _ -> s2s_partners_places:enter(unknown)
    end,
    Guarded = #guarded{direction = incoming, vhost = VHost, created = s2s_partners_stream:now_ms()},
    {ok, s2s_partners_clock:start(s2s_partners_size:at_accept(State#{mod => ?MODULE, s2s_partners => Guarded}))}.

%% Hook s2s_in_auth_result: ejabberd takes the stream for authenticated. Dialback comes this way only, after
%% its `valid` has gone out.
-spec auth_result(state(), boolean(), binary()) -> state() | {stop, state()}.
auth_result(#{s2s_partners := #guarded{refused = {_, _}}} = State, true, _) ->
    {stop, State};
auth_result(#{s2s_partners := #guarded{stream = Stream}} = State, true, Remote) when Stream =/= none ->
    case s2s_partners_nif:stream_view(Stream) of
        #{stage := Stage} when Stage =:= authenticated; Stage =:= established ->
            %% By EXTERNAL, of this domain: see authenticate/2. Another domain ends the stream.
            case s2s_partners_nif:same_domain(Remote, s2s_partners_nif:stream_domain(Stream)) of
                true -> State;
                false -> {stop, other_domain(State)}
            end;
        _ ->
            case s2s_partners_in_authentication:authenticated(dialback, Remote, State) of
                {allow, State1} -> State1;
                {Refusal, State1} -> {stop, s2s_partners_stream:refuse(Refusal, State1)}
            end
    end;
auth_result(#{s2s_partners := _} = State, false, _) ->
    State;
auth_result(State, _, _) ->
    %% A stream that nobody guards.
    ejabberd_s2s_in:stop_async(self()),
    {stop, State#{stream_state => disconnected}}.

other_domain(State) ->
    s2s_partners_stream:refuse_for('wrong-domain', <<"one stream carries one domain pair">>, State).

%% A reload. To be called in the stream's process, by ejabberd_s2s_in:update_state/2.
-spec rejudge(state()) -> state().
rejudge(State) when not is_map_key(s2s_partners, State) ->
    %% Listed, and guarded by nobody.
    s2s_partners_live:end_if_unguarded(ejabberd_s2s_in, State);
rejudge(State) ->
    case s2s_partners_stream:is_over(State) of
        true ->
            State;
        false ->
            case s2s_partners_stream:guarded(State) of
                #guarded{stream = none} ->
                    State;
                _ ->
                    case s2s_partners_standing:rejudge(State) of
                        {allow, State1} ->
                            s2s_partners_stream:publish(State1),
                            State1;
                        {Refusal, State1} ->
                            s2s_partners_stream:refuse(Refusal, State1)
                    end
            end
    end.

%%% The header

-spec handle_stream_start(#stream_start{}, state()) -> state().
handle_stream_start(Start, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        State2 = ejabberd_s2s_in:handle_stream_start(Start, State1),
        case s2s_partners_stream:is_over(State2) of
            true -> State2;
            false -> s2s_partners_in_header:received(Start, State2)
        end
    end, State).

%%% What is offered

-spec tls_options(state()) -> list().
tls_options(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        Options = ejabberd_s2s_in:tls_options(State1),
        case s2s_partners_stream:guarded(State1) of
            %% Also the names of the authorities that the peer is told.
            #guarded{partner = #{trust_anchors := Path}} when is_binary(Path) ->
                lists:keystore(cafile, 1, Options, {cafile, Path});
            _ ->
                Options
        end
    end, State).

-spec tls_enabled(state()) -> boolean().
tls_enabled(State) ->
    has(starttls, State).

-spec tls_required(state()) -> boolean().
tls_required(State) ->
    has(starttls_required, State).

%% Whether the peer has been offered that.
-spec has(s2s_partners_nif:offered(), state()) -> boolean().
has(Feature, #{s2s_partners := #guarded{offer = Offer}}) ->
    lists:member(Feature, Offer).

-spec sasl_mechanisms([binary()], state()) -> [binary()].
sasl_mechanisms(_, State) ->
    [<<"EXTERNAL">> || has(sasl, State)].

%% Compression is no part of a handshake that the core knows, and is not offered.
-spec compress_methods(state()) -> [].
compress_methods(_) ->
    [].

-spec unauthenticated_stream_features(state()) -> [term()].
unauthenticated_stream_features(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        [Feature || Feature <- ejabberd_s2s_in:unauthenticated_stream_features(State1), is_offered(Feature, State1)]
    end, State).

-spec authenticated_stream_features(state()) -> [term()].
authenticated_stream_features(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        [Feature || Feature <- ejabberd_s2s_in:authenticated_stream_features(State1), is_offered(Feature, State1)]
    end, State).

%% Of XEP-0288 by name: 23.01 does not know the records.
is_offered(#db_feature{}, State) -> has(dialback, State);
is_offered(Feature, State) when is_tuple(Feature), element(1, Feature) =:= s2s_bidi -> has(bidi, State);
is_offered(Feature, State) when is_tuple(Feature), element(1, Feature) =:= s2s_bidi_feature -> has(bidi, State);
is_offered(_, _) -> true.

%%% Elements

-spec handle_recv(#xmlel{}, term(), state()) -> state().
handle_recv(Element, Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true ->
                State1;
            false ->
                case s2s_partners_element:pass(Element, Packet, State1) of
                    {pass, stanza} -> ejabberd_s2s_in:handle_recv(Element, Packet, State1);
                    {pass, handshake} -> handshake(Element, Packet, State1);
                    {stop, State2} -> State2
                end
        end
    end, State).

handshake(Element, Packet, State) ->
    case s2s_partners_in_authentication:step(Element, Packet, State) of
        {pass, State1} -> ejabberd_s2s_in:handle_recv(Element, Packet, in_turn(Packet, State1));
        {stop, State1} -> State1
    end.

%% What the record lets pass, the library must not refuse because it still waits for STARTTLS: a stream that
%% named no domain was offered nothing else, and its partner may have dialback without TLS.
in_turn(Packet, #{stream_state := wait_for_starttls} = State) when is_record(Packet, db_result); is_record(Packet, db_verify) ->
    State#{stream_state := wait_for_sasl_request};
in_turn(_, State) ->
    State.

%%% Packets

-spec handle_unauthenticated_packet(term(), state()) -> state().
handle_unauthenticated_packet(Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case ?is_stanza(Packet) of
            true ->
                #guarded{stream = Stream} = s2s_partners_stream:guarded(State1),
                s2s_partners_stream:refuse(s2s_partners_nif:stream_premature(Stream), <<"not-authorized">>, State1);
            false ->
                ejabberd_s2s_in:handle_unauthenticated_packet(Packet, State1)
        end
    end, State).

-spec handle_authenticated_packet(term(), state()) -> state().
handle_authenticated_packet(Packet, State) when ?is_stanza(Packet) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true ->
                State1;
            false ->
                case s2s_partners_stanza:incoming(Packet, State1) of
                    {pass, Packet1, State2} ->
                        s2s_partners_stanza:deliver(Packet1, xmpp:get_to(Packet1), State2);
                    {stop, State2} ->
                        State2
                end
        end
    end, State);
handle_authenticated_packet(Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_authenticated_packet(Packet, State1) end, State).

-spec handle_send(term(), ok | {error, term()}, state()) -> state().
handle_send(Packet, Result, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        State2 = ejabberd_s2s_in:handle_send(Packet, Result, State1),
        case Packet of
            #db_verify{type = invalid} -> wrong_key(State2);
            _ -> State2
        end
    end, State).

%% Somebody has asked about a key that is not ours. Anybody may, a number of times.
wrong_key(State) ->
    case s2s_partners_stream:is_over(State) of
        true ->
            State;
        false ->
            #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
            case s2s_partners_nif:stream_wrong_key(Stream) of
                {refuse, _, _} = Refusal -> s2s_partners_stream:refuse(Refusal, State);
                _ -> State
            end
    end.

-spec handle_cdata(binary(), state()) -> state().
handle_cdata(Data, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_cdata(Data, State1) end, State).

%%% Established, and the end

-spec handle_auth_success(binary(), binary(), module(), state()) -> state().
handle_auth_success(Remote, Mechanism, Module, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        %% The library's own way of authenticating is never taken; what it says counts for nothing.
        case s2s_partners_stream:guarded(State1) of
            #guarded{refused = {_, _}} -> State1;
            _ -> ejabberd_s2s_in:handle_auth_success(Remote, Mechanism, Module, State1)
        end
    end, State).

-spec handle_auth_failure(binary(), binary(), binary(), state()) -> state().
handle_auth_failure(Remote, Mechanism, Reason, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        ejabberd_s2s_in:handle_auth_failure(Remote, Mechanism, Reason, State1)
    end, State).

-spec handle_stream_established(state()) -> state().
handle_stream_established(State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun established/1, State).

established(#{auth_domains := Domains} = State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    case s2s_partners_stream:is_over(State) of
        true ->
            State;
        false ->
            Domain = s2s_partners_nif:stream_domain(Stream),
            case [Other || Other <- sets:to_list(Domains), not s2s_partners_nif:same_domain(Other, Domain)] of
                [] ->
                    case s2s_partners_standing:established(State) of
                        {allow, State1} -> flush(ejabberd_s2s_in:handle_stream_established(State1));
                        {Refusal, State1} -> s2s_partners_stream:refuse(Refusal, State1)
                    end;
                _ ->
                    other_domain(State)
            end
    end.

-spec handle_stream_end(term(), state()) -> state().
handle_stream_end(Said, State) ->
    Reason = s2s_partners_stream:farewell(Said),
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        s2s_partners_places:leave(),
        s2s_partners_places:give_back(),
        s2s_partners_stream:publish_end(Reason, State1),
        case s2s_partners_stream:guarded(State1) of
            #guarded{quiet = true, established = false} ->
                %% ejabberd would write a line for each.
                ejabberd_s2s_in:stop_async(self()),
                State1#{stop_reason => Reason};
            _ ->
                ejabberd_s2s_in:handle_stream_end(Reason, State1)
        end
    end, State).

%%% The process

-spec init(list()) -> {ok, state()} | {error, term()} | ignore.
init(Arguments) ->
    ejabberd_s2s_in:init(Arguments).

-spec handle_call(term(), term(), state()) -> state().
handle_call(Request, From, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_call(Request, From, State1) end, State).

-spec handle_cast(term(), state()) -> state().
handle_cast(Message, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_cast(Message, State1) end, State).

-spec handle_info(term(), state()) -> state().
handle_info(Message, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> info(Message, State1) end, State).

info({s2s_partners, tick}, State) ->
    case s2s_partners_clock:tick(State) of
        {none, State1} -> State1;
        {keepalive, State1} -> keep_alive(State1);
        {stop, State1} -> State1
    end;
info({s2s_partners, crowded}, State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{established = true} ->
            State;
        Guarded ->
            s2s_partners_stream:refuse_for('connection-limit', <<"too many connections wait to be authenticated">>,
                                           s2s_partners_stream:keep(Guarded#guarded{quiet = true}, State))
    end;
info({s2s_partners, keepalive_answered}, State) ->
    s2s_partners_clock:keepalive_answered(State);
info({s2s_partners, bound}, State) ->
    s2s_partners_size:bound(State);
%% XEP-0288: the stream is registered for sending as soon as it is authenticated.
info({route, Packet}, State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{refused = {Reason, _}} ->
            s2s_partners_stanza:bounce(Packet, Reason),
            State;
        #guarded{established = true} ->
            sent(Packet, State);
        #guarded{stream = Stream, waiting = Waiting} = Guarded when Stream =/= none ->
            case s2s_partners_nif:stream_queue(Stream) of
                allow ->
                    s2s_partners_stream:keep(Guarded#guarded{waiting = [Packet | Waiting]}, State);
                Refusal ->
                    s2s_partners_stanza:return(Packet, Refusal, State),
                    State
            end
    end;
info(Message, State) ->
    ejabberd_s2s_in:handle_info(Message, State).

sent(Packet, State) ->
    case s2s_partners_stanza:outgoing(Packet, State) of
        {pass, State1} -> ejabberd_s2s_in:handle_info({route, Packet}, State1);
        {stop, State1} -> State1;
        changed -> judged_first(Packet, State)
    end.

judged_first(Packet, State) ->
    #guarded{policy = Before} = s2s_partners_stream:guarded(State),
    State1 = rejudge(State),
    case s2s_partners_stream:guarded(State1) of
        #guarded{policy = Before, refused = none} ->
            s2s_partners_stanza:bounce(Packet, 'policy-changed'),
            State1;
        _ ->
            info({route, Packet}, State1)
    end.

flush(State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{waiting = []} ->
            State;
        #guarded{waiting = Waiting, stream = Stream} = Guarded ->
            ok = s2s_partners_nif:stream_queue_emptied(Stream),
            lists:foldr(fun sent/2, s2s_partners_stream:keep(Guarded#guarded{waiting = []}, State), Waiting)
    end.

%% Only the partner may send stanzas over it: a blank keeps the path open.
keep_alive(State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    ok = s2s_partners_nif:stream_keepalive_sent(Stream, s2s_partners_stream:now_ms(), false),
    xmpp_stream_in:send_ws_ping(State).

-spec terminate(term(), state()) -> term().
terminate(Reason, State) ->
    try
        bounce_waiting(State),
        ejabberd_s2s_in:terminate(Reason, State)
    catch
        Class:Error:Stack -> s2s_partners_report:internal_error(?FUNCTION_NAME, Class, Error, Stack)
    end.

bounce_waiting(State) ->
    #guarded{waiting = Waiting, refused = Refused} = s2s_partners_stream:guarded(State),
    Reason = case Refused of {Known, _} -> Known; none -> 'establishment-timeout' end,
    lists:foreach(fun(Packet) -> s2s_partners_stanza:bounce(Packet, Reason) end, lists:reverse(Waiting)),
    receive {route, Packet} ->
        s2s_partners_stanza:bounce(Packet, Reason),
        bounce_waiting(s2s_partners_stream:keep((s2s_partners_stream:guarded(State))#guarded{waiting = []}, State))
    after 0 ->
        ok
    end.

-spec code_change(term(), state(), term()) -> {ok, state()} | {error, term()}.
code_change(Before, State, Extra) ->
    ejabberd_s2s_in:code_change(Before, State, Extra).
