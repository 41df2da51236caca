%%% The callback module of every outgoing stream, in the place of ejabberd_s2s_out. Each callback asks the
%%% record, then calls ejabberd's own. A peer's answer counts for nothing unless we have asked; nothing goes
%%% out before the audit, and what waits for a stream that is refused goes back to its senders with the
%%% reason. A refusal leaves nothing behind: the next stanza is judged anew.
-module(s2s_partners_out).

%% Hooks
-export([init/2, auth_result/2, rejudge/1]).
%% Callbacks of xmpp_stream_out: all that ejabberd_s2s_out exports, and those through which it can be told
%% where to connect.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).
-export([tls_options/1, tls_required/1, tls_verify/1, tls_enabled/1, sasl_mechanisms/1]).
-export([resolve/2, connect_options/3, connect_timeout/1, address_families/1, default_port/1, dns_retries/1, dns_timeout/1]).
-export([handle_connect/1, handle_stream_start/2, handle_unauthenticated_features/2, handle_stream_downgraded/2]).
-export([handle_auth_success/2, handle_auth_failure/3, handle_stream_established/1, handle_stream_end/2]).
-export([handle_recv/3, handle_send/3, handle_cdata/2, handle_packet/2, handle_timeout/1]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

%% Came with ejabberd 24.10, and is asked for before it is called.
-dialyzer({no_missing_calls, handle_unauthenticated_features/2}).
-ignore_xref([{ejabberd_s2s_out, handle_unauthenticated_features, 2}]).

-type state() :: s2s_partners_stream:state().

%% How long a stream that is refused still takes, and returns or routes once more, what is on its way to it: ejabberd looks for the process first, and
%% sends it the stanza after the hook s2s_send_packet. Nobody hears of what comes to a process that is no more.
-define(LINGER, 1000).

%%% Hooks

%% Hook s2s_out_init: before any look-up. Refused here, the stream never begins.
-spec init({ok, state()}, Opts :: list()) -> {ok, state()}.
init({ok, #{server := Local, remote_server := Remote, server_host := VHost} = State}, Opts) ->
    Verify = proplists:get_value(db_verify, Opts),
    Guarded = #guarded{direction = outgoing, vhost = VHost, local = Local, remote = Remote,
                       created = s2s_partners_stream:now_ms(), verify_only = Verify =/= undefined},
    State1 = State#{mod => ?MODULE, s2s_partners => Guarded},
    {ok, try
             begun(Verify, State1)
         catch
             Class:Reason:Stack ->
                 s2s_partners_report:internal_error(?FUNCTION_NAME, Class, Reason, Stack),
                 stillborn({refuse, 'internal-error', <<"an error in the handler">>}, State1)
         end}.

begun(Verify, #{remote_server := Remote, server_host := VHost} = State) ->
    s2s_partners_live:enter(outgoing),
    case Verify of
        {_, _, Asking} when is_pid(Asking) -> s2s_partners_places:question_moved(Asking);
        _ -> ok
    end,
    #guarded{created = Created, verify_only = VerifyOnly} = Guarded = s2s_partners_stream:guarded(State),
    Policy = s2s_partners_stream:policy(VHost),
    Stream = s2s_partners_nif:stream_new(outgoing, Policy, Created, VerifyOnly),
    State1 = s2s_partners_stream:keep(Guarded#guarded{stream = Stream, policy = Policy}, State),
    case s2s_partners_out_answers:first([fun() -> s2s_partners_nif:route(Policy, Remote, VerifyOnly) end,
                fun() -> s2s_partners_nif:stream_identify(Stream, Remote) end,
                fun() -> s2s_partners_standing:hold_place(State1) end]) of
        allow ->
            Partner = s2s_partners_nif:policy_find(Policy, Remote),
            s2s_partners_clock:start(
              s2s_partners_stream:keep((s2s_partners_stream:guarded(State1))#guarded{partner = Partner}, State1));
        {refuse, Reason, Rule} ->
            stillborn(s2s_partners_nif:stream_refuse(Stream, Reason, Rule), State1)
    end.

%% The library ignores the command to connect in a state that it does not know.
stillborn({refuse, Reason, Rule}, State) ->
    #guarded{verify_only = VerifyOnly, local = Local, remote = Remote} = Guarded = s2s_partners_stream:guarded(State),
    s2s_partners_report:stream_refused(#{direction => outgoing, remote => Remote, host => Local}, Reason, Rule),
    erlang:send_after(if VerifyOnly -> 0; true -> ?LINGER end, self(), {s2s_partners, over}),
    State#{stream_state => s2s_partners_refused, on_route => bounce, s2s_partners := Guarded#guarded{refused = {Reason, Rule}}}.

%% Hook s2s_out_auth_result: nothing is decided here, the audit comes with handle_stream_established/1. A
%% stream that nobody guards ends.
-spec auth_result(state(), true | {false, term()}) -> state() | {stop, state()}.
auth_result(#{s2s_partners := #guarded{refused = {_, _}}} = State, true) ->
    {stop, State};
auth_result(#{s2s_partners := _} = State, _) ->
    State;
auth_result(State, _) ->
    ejabberd_s2s_out:stop_async(self()),
    {stop, State#{stream_state => disconnected}}.

%% A reload. To be called in the stream's process, by ejabberd_s2s_out:update_state/2.
-spec rejudge(state()) -> state().
rejudge(State) when not is_map_key(s2s_partners, State) ->
    %% Listed, and guarded by nobody.
    s2s_partners_live:end_if_unguarded(ejabberd_s2s_out, State);
rejudge(#{s2s_partners := #guarded{refused = {_, _}}} = State) ->
    State;
rejudge(#{on_route := bounce} = State) ->
    %% It could not connect, and would return stanzas for as long as ejabberd says. What holds now is for a
    %% new one to find out.
    ejabberd_s2s_out:stop_async(self()),
    State;
rejudge(State) ->
    case s2s_partners_standing:rejudge(State) of
        {allow, #{s2s_partners := #guarded{established = true}} = State1} ->
            s2s_partners_stream:publish(State1),
            State1;
        {allow, State1} ->
            s2s_partners_out_queue:again(s2s_partners_stream:keep((s2s_partners_stream:guarded(State1))#guarded{moved = true}, State1));
        {Refusal, #{stream_state := connecting} = State1} ->
            %% The command to connect is on its way, and ignored then, see stillborn/2.
            s2s_partners_out_queue:closed(s2s_partners_out_queue:refused(Refusal, State1#{stream_state := s2s_partners_refused}));
        {Refusal, State1} ->
            s2s_partners_stream:refuse(Refusal, State1)
    end.

%%% Connecting

-spec resolve(string(), state()) -> [{string(), inet:port_number(), boolean()}].
resolve(_Host, #{s2s_partners := #guarded{partner = #{proxy := {Host, Port}}}}) ->
    [{binary_to_list(Host), Port, false}];
resolve(_Host, _State) ->
    [].                                    % DNS

-spec connect_options(inet:ip_address(), list(), state()) -> list().
connect_options(Address, Options, State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_out:connect_options(Address, Options, State1) end, State).

-spec connect_timeout(state()) -> timeout().
connect_timeout(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) -> in_time(ejabberd_s2s_out:connect_timeout(State1), State1) end, State).

%% The process hears nothing while it connects, so that it must not take longer than it may.
in_time(Timeout, State) ->
    min(Timeout, s2s_partners_clock:time_left(State)).

-spec address_families(state()) -> [inet | inet6].
address_families(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun ejabberd_s2s_out:address_families/1, State).

-spec default_port(state()) -> inet:port_number().
default_port(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun ejabberd_s2s_out:default_port/1, State).

-spec dns_retries(state()) -> non_neg_integer().
dns_retries(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun ejabberd_s2s_out:dns_retries/1, State).

-spec dns_timeout(state()) -> timeout().
dns_timeout(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) -> in_time(ejabberd_s2s_out:dns_timeout(State1), State1) end, State).

%%% TLS

-spec tls_options(state()) -> list().
tls_options(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        Options = ejabberd_s2s_out:tls_options(State1),
        case s2s_partners_stream:guarded(State1) of
            #guarded{partner = #{trust_anchors := Path}} when is_binary(Path) ->
                lists:keystore(cafile, 1, Options, {cafile, Path});
            _ ->
                Options
        end
    end, State).

%% Whether STARTTLS is to be taken up; before anything is known of the peer, whether direct TLS is looked for.
-spec tls_enabled(state()) -> boolean().
tls_enabled(#{s2s_partners := #guarded{plan = undefined, partner = #{methods := Methods}}}) ->
    lists:member(sasl, Methods) orelse lists:member(tls_dialback, Methods);
tls_enabled(#{s2s_partners := #guarded{plan = Plan}}) when is_list(Plan) ->
    lists:member(starttls, Plan);
tls_enabled(_) ->
    false.

%% The plan says it, in each case with a reason of its own; the library would close without one.
-spec tls_required(state()) -> boolean().
tls_required(_) ->
    false.

%% The judge is ours.
-spec tls_verify(state()) -> boolean().
tls_verify(_) ->
    false.

-spec sasl_mechanisms(state()) -> [binary()].
sasl_mechanisms(#{s2s_partners := #guarded{plan = Plan, verify_only = false}}) when is_list(Plan) ->
    [<<"EXTERNAL">> || lists:member(sasl, Plan)];
sasl_mechanisms(_) ->
    [].

%%% What the peer says of itself

%% The peer has taken the connection, and nothing has been read or written.
-spec handle_connect(state()) -> state().
handle_connect(State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun s2s_partners_size:bound/1, State).

-spec handle_stream_start(#stream_start{}, state()) -> state().
handle_stream_start(_Start, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        Guarded = s2s_partners_stream:guarded(State1),
        State2 = s2s_partners_stream:observe(s2s_partners_stream:keep(Guarded#guarded{awaits_features = true}, State1)),
        s2s_partners_stream:publish(State2),
        case s2s_partners_stream:guarded(State2) of
            #guarded{stream = Stream, certificate = {_, _, _}} ->
                case s2s_partners_nif:stream_certificate(Stream) of
                    allow -> State2;
                    Refusal -> s2s_partners_stream:refuse(Refusal, State2)
                end;
            _ ->
                State2
        end
    end, State).

-spec handle_unauthenticated_features(#stream_features{}, state()) -> state().
handle_unauthenticated_features(Features, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_out_features:planned(s2s_partners_out_features:advertised(Features), State1) of
            {allow, State2} ->
                case erlang:function_exported(ejabberd_s2s_out, handle_unauthenticated_features, 2) of
                    true -> ejabberd_s2s_out:handle_unauthenticated_features(s2s_partners_out_features:without_bidi(Features, State2), State2);
                    false -> State2
                end;
            {Refusal, State2} ->
                s2s_partners_stream:refuse(Refusal, State2)
        end
    end, State).

%% A peer from before XMPP 1.0 sends no features.
-spec handle_stream_downgraded(#stream_start{}, state()) -> state().
handle_stream_downgraded(Start, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_out_features:planned(none, State1) of
            {allow, State2} -> ejabberd_s2s_out:handle_stream_downgraded(Start, State2);
            {Refusal, State2} -> s2s_partners_stream:refuse(Refusal, State2)
        end
    end, State).

%%% Elements

-spec handle_recv(#xmlel{}, term(), state()) -> state().
handle_recv(Element, Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true ->
                State1;
            false ->
                case s2s_partners_element:pass(Element, Packet, State1) of
                    {pass, stanza} -> ejabberd_s2s_out:handle_recv(Element, Packet, State1);
                    {pass, handshake} -> s2s_partners_out_answers:received(Element, Packet, State1);
                    {stop, State2} -> State2
                end
        end
    end, State).

-spec handle_send(term(), term(), state()) -> state().
handle_send(Packet, Result, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        State2 = case Packet of
                     #db_result{type = undefined} ->
                         s2s_partners_stream:keep((s2s_partners_stream:guarded(State1))#guarded{key_sent = true}, State1);
                     _ ->
                         State1
                 end,
        ejabberd_s2s_out:handle_send(Packet, Result, State2)
    end, State).

-spec handle_cdata(binary(), state()) -> state().
handle_cdata(Data, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_out:handle_cdata(Data, State1) end, State).

-spec handle_packet(term(), state()) -> state().
handle_packet(Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true -> State1;
            false -> s2s_partners_out_answers:packet(Packet, State1)
        end
    end, State).

%%% Authenticated, established, and the end

-spec handle_auth_success(binary(), state()) -> state().
handle_auth_success(Mechanism, #{remote_server := Remote} = State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        #guarded{stream = Stream} = s2s_partners_stream:guarded(State1),
        case s2s_partners_out_answers:first([fun() -> s2s_partners_nif:stream_authenticated(Stream, sasl, Remote) end,
                    fun() -> s2s_partners_standing:hold_place(State1) end]) of
            allow -> ejabberd_s2s_out:handle_auth_success(Mechanism, State1);
            Decision -> s2s_partners_out_answers:ended(Decision, Stream, State1)
        end
    end, State).

%% Comes also where EXTERNAL was not tried: that is how dialback begins.
-spec handle_auth_failure(binary(), term(), state()) -> state().
handle_auth_failure(Mechanism, Reason, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        #guarded{stream = Stream, plan = Plan, verify_only = VerifyOnly} = s2s_partners_stream:guarded(State1),
        Tried = not VerifyOnly andalso is_list(Plan) andalso lists:member(sasl, Plan),
        Decision = if
                       VerifyOnly -> s2s_partners_out_features:may_ask(Stream);
                       Tried -> s2s_partners_nif:stream_sasl_failed(Stream);
                       true -> allow
                   end,
        case Decision of
            allow -> ejabberd_s2s_out:handle_auth_failure(Mechanism, Reason, without_sasl(State1));
            Refusal when Tried -> s2s_partners_stream:refuse(Refusal, <<"not-authorized">>, State1);
            Refusal -> s2s_partners_stream:refuse(Refusal, State1)
        end
    end, State).

without_sasl(State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{plan = Plan} = Guarded when is_list(Plan) ->
            s2s_partners_stream:keep(Guarded#guarded{plan = lists:delete(sasl, Plan)}, State);
        _ ->
            State
    end.

-spec handle_stream_established(state()) -> state().
handle_stream_established(State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true ->
                State1;
            false ->
                case s2s_partners_standing:established(State1) of
                    {allow, State2} ->
                        #guarded{stream = Stream} = s2s_partners_stream:guarded(State2),
                        ok = s2s_partners_nif:stream_queue_emptied(Stream),
                        ejabberd_s2s_out:handle_stream_established(State2);
                    {Refusal, State2} ->
                        s2s_partners_stream:refuse(Refusal, State2)
                end
        end
    end, State).

%% ejabberd would return the queue with an error of its own, and everything else for up to five minutes.
-spec handle_stream_end(term(), state()) -> state().
handle_stream_end(Said, State) ->
    Reason = s2s_partners_stream:farewell(Said),
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        s2s_partners_places:give_back(),
        s2s_partners_stream:publish_end(Reason, State1),
        case s2s_partners_stream:guarded(State1) of
            #guarded{refused = none} ->
                case s2s_partners_clock:overdue(State1) of
                    none -> ejabberd_s2s_out:handle_stream_end(Reason, State1);
                    Refusal -> finished(Reason, s2s_partners_out_queue:refused(Refusal, State1))
                end;
            #guarded{} ->
                finished(Reason, State1)
        end
    end, State).

finished(Reason, State) ->
    ejabberd_s2s_out:handle_stream_end(Reason, (s2s_partners_out_queue:closed(State))#{on_route => send}).

-spec handle_timeout(state()) -> state().
handle_timeout(State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun ejabberd_s2s_out:handle_timeout/1, State).

%%% The process

-spec init(list()) -> {ok, state()} | {error, term()} | ignore.
init(Arguments) ->
    ejabberd_s2s_out:init(Arguments).

-spec handle_call(term(), term(), state()) -> state().
handle_call(Request, From, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_out:handle_call(Request, From, State1) end, State).

-spec handle_cast(term(), state()) -> state().
handle_cast(Message, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_out:handle_cast(Message, State1) end, State).

-spec handle_info(term(), state()) -> state().
handle_info(Message, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> info(Message, State1) end, State).

info({route, Packet}, State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{refused = {_, _}} ->
            s2s_partners_out_queue:too_late(Packet, State),
            State;
        #guarded{established = true} ->
            case s2s_partners_stanza:outgoing(Packet, State) of
                {pass, State1} -> ejabberd_s2s_out:handle_info({route, Packet}, State1);
                {stop, State1} -> State1;
                changed -> judged_first(Packet, State)
            end;
        #guarded{stream = Stream} ->
            case s2s_partners_nif:stream_queue(Stream) of
                allow ->
                    ejabberd_s2s_out:handle_info({route, Packet}, State);
                Refusal ->
                    s2s_partners_stanza:return(Packet, Refusal, State),
                    State
            end
    end;
info({s2s_partners, tick}, State) ->
    case s2s_partners_clock:tick(State) of
        {keepalive, State1} -> keep_alive(State1);
        {_, State1} -> State1
    end;
info({s2s_partners, keepalive_answered}, State) ->
    s2s_partners_clock:keepalive_answered(State);
info({s2s_partners, over}, #{s2s_partners := #guarded{refused = {Reason, _}, verify_only = true}} = State) ->
    %% mod_s2s_dialback tells the stream for which the key was to be verified.
    ejabberd_s2s_out:stop_async(self()),
    ejabberd_s2s_out:handle_stream_end({auth, atom_to_binary(Reason)}, State#{on_route => send});
info({s2s_partners, over}, State) ->
    ejabberd_s2s_out:stop_async(self()),
    State;
info(Message, State) ->
    ejabberd_s2s_out:handle_info(Message, State).

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

%% XEP-0199. The answer comes over a stream of the partner's, and goes no further.
keep_alive(#{server := Local, remote_server := Remote} = State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    Id = s2s_partners_live:keepalive(Local, s2s_partners_nif:stream_domain(Stream)),
    ok = s2s_partners_nif:stream_keepalive_sent(Stream, s2s_partners_stream:now_ms(), true),
    ejabberd_s2s_out:send(State, #iq{type = get, id = Id, from = jid:make(Local), to = jid:make(Remote), sub_els = [#ping{}]}).

-spec terminate(term(), state()) -> term().
terminate(Reason, State) ->
    try
        case s2s_partners_stream:guarded(State) of
            #guarded{refused = {_, _}, verify_only = false} ->
                s2s_partners_out_queue:unlist(State),
                mailbox_too_late(linger(Reason), State);
            _ ->
                ok
        end,
        ejabberd_s2s_out:terminate(Reason, State)
    catch
        Class:Error:Stack -> s2s_partners_report:internal_error(?FUNCTION_NAME, Class, Error, Stack)
    end.

%% Nobody waits for a stream that ends by itself: it is on no list any more, and has given back its place. A supervisor does.
linger(normal) -> s2s_partners_stream:now_ms() + ?LINGER;
linger(_) -> s2s_partners_stream:now_ms().

mailbox_too_late(Until, State) ->
    receive {route, Packet} ->
        s2s_partners_out_queue:too_late(Packet, State),
        mailbox_too_late(Until, State)
    after max(0, Until - s2s_partners_stream:now_ms()) ->
        ok
    end.

-spec code_change(term(), state(), term()) -> {ok, state()} | {error, term()}.
code_change(Before, State, Extra) ->
    ejabberd_s2s_out:code_change(Before, State, Extra).
