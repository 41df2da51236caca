%%% The hooks. ejabberd's hooks fail open: an exception in one of them is logged, and the stanza or stream goes on as if nobody had
%%% been asked. So each function here calls what decides under `try`, and refuses where that fails: an error, a module that is not
%%% there, a NIF that has not been loaded. Nothing here needs the NIF for refusing.
%%%
%%% The hooks are registered once and stay for as long as the node runs, whatever becomes of mod_s2s_partners.
-module(s2s_partners_latch).

-export([close/1, host/1, why_closed/0, compare/0]).
%% Global hooks.
-export([s2s_in_init/2, filter_packet/1, route_changed/1]).
%% Hooks of each virtual host.
-export([s2s_out_init/2, s2s_allow_host/3, s2s_in_auth_result/3, s2s_out_auth_result/2, s2s_receive_packet/1]).
-export([s2s_in_handle_info/2, s2s_out_handle_info/2]).
-export([user_send_packet/1, roster_out_subscription/1, roster_process_item/2, session_ended/3, remove_user/2]).

-include_lib("xmpp/include/xmpp.hrl").

%% Before everybody else's: a handler that comes first can stop the others.
-define(FIRST, 1).
-define(CLOSED, ?MODULE).
%% Whose callbacks we take over: ejabberd's module, the library's behaviour, ours.
-define(SEAMS, [{ejabberd_s2s_in, xmpp_stream_in, s2s_partners_in}, {ejabberd_s2s_out, xmpp_stream_out, s2s_partners_out}]).
%% Nothing is refused while somebody has asked for that, in so many words (s2s_partners_observe). Read without that module: where it is missing,
%% everything is refused as ever.
-define(OBSERVING, (persistent_term:get(s2s_partners_mode, enforce) =:= observe)).
-define(LAST_TEXT, <<"The server cannot judge this stream; it is refused">>).

-type acc() :: {ok, map()} | ignore | {error, term()}.

%% Registers the hooks: the global ones and those of `Hosts`. Again and again without harm.
-spec close(Hosts :: [binary()]) -> ok.
close(Hosts) ->
    lists:foreach(fun({Hook, Function}) -> ejabberd_hooks:add(Hook, ?MODULE, Function, ?FIRST) end,
                  [{s2s_in_init, s2s_in_init}, {filter_packet, filter_packet}, {route_registered, route_changed},
                   {route_unregistered, route_changed}]),
    persistent_term:get({?MODULE, complained}, undefined) =:= undefined andalso
        persistent_term:put({?MODULE, complained}, atomics:new(1, [{signed, true}])),
    _ = compare(),
    lists:foreach(fun host/1, Hosts).

%% The same for one virtual host.
-spec host(binary()) -> ok.
host(Host) ->
    lists:foreach(fun({Hook, Function}) -> ejabberd_hooks:add(Hook, Host, ?MODULE, Function, ?FIRST) end,
                  [{s2s_out_init, s2s_out_init},
                   {s2s_allow_host, s2s_allow_host},
                   {s2s_in_auth_result, s2s_in_auth_result},
                   {s2s_out_auth_result, s2s_out_auth_result},
                   {s2s_receive_packet, s2s_receive_packet},
                   {s2s_in_handle_info, s2s_in_handle_info},
                   {s2s_out_handle_info, s2s_out_handle_info},
                   {user_send_packet, user_send_packet},
                   {roster_out_subscription, roster_out_subscription},
                   {roster_process_item, roster_process_item},
                   {sm_remove_connection_hook, session_ended},
                   {remove_user, remove_user}]).

%%% Whether the seam is as it has to be

%% Why no stream can be guarded on this node; none when they can.
-spec why_closed() -> none | {error, binary()}.
why_closed() ->
    persistent_term:get(?CLOSED, {error, <<"mod_s2s_partners has not been started">>}).

%% A callback module that is not loaded is silently replaced by the library's own defaults, and so is a single callback that ejabberd's
%% module has and ours does not. Loads them, and compares; asks for the NIF too, without which nothing can be judged.
-spec compare() -> none | {error, binary()}.
compare() ->
    Result = case library() ++ lists:append([lacking(Seam) || Seam <- ?SEAMS]) of
                 [] -> none;
                 Faults -> {error, iolist_to_binary(lists:join("; ", Faults))}
             end,
    case persistent_term:get(?CLOSED, undefined) of
        Result -> ok;
        _ -> persistent_term:put(?CLOSED, Result)
    end,
    Result.

library() ->
    try s2s_partners_nif:loaded() of
        ok -> [];
        {error, Why} -> [["the library of mod_s2s_partners is not loaded: ", Why]]
    catch
        _:_ -> ["the library of mod_s2s_partners is not loaded"]
    end.

lacking({Theirs, Behaviour, Ours}) ->
    case [Module || Module <- [Theirs, Behaviour, Ours], code:ensure_loaded(Module) =/= {module, Module}] of
        [] ->
            Callbacks = Behaviour:behaviour_info(callbacks),
            case [Callback || Callback <- Theirs:module_info(exports), lists:member(Callback, Callbacks)]
                -- Ours:module_info(exports) of
                [] -> [];
                Missing -> [["this version of ejabberd asks ", atom_to_list(Theirs), " for ",
                             lists:join(", ", [[atom_to_list(Name), $/, integer_to_list(Arity)] || {Name, Arity} <- Missing]),
                             ", which mod_s2s_partners does not know"]]
            end;
        Unknown ->
            [["the module ", atom_to_list(Module), " cannot be loaded"] || Module <- Unknown]
    end.

%%% Streams

%% A connection has been accepted; not a byte has been read.
-spec s2s_in_init(acc(), list()) -> acc() | {stop, acc()}.
s2s_in_init({ok, State} = Acc, Opts) ->
    case ?OBSERVING of
        true -> Acc;
        false -> guarded_in(State, Opts)
    end;
s2s_in_init(Acc, _Opts) ->
    Acc.    % nobody serves this connection

guarded_in(State, Opts) ->
    try
        none = why_closed(),
        true = erlang:function_exported(s2s_partners_in, handle_recv, 3),
        {ok, #{mod := s2s_partners_in, s2s_partners := _}} = s2s_partners_in:init({ok, State}, Opts)
    of
        Guarded -> Guarded
    catch
        Class:Reason:Stack ->
            complain(s2s_in_init, Class, Reason, Stack),
            {stop, shut(State)}
    end.

%% The peer is told why, by a module that needs nothing of the others.
shut(State) ->
    case code:ensure_loaded(s2s_partners_shut) of
        {module, _} -> {ok, bounded(State#{mod => s2s_partners_shut})};
        {error, _} -> ignore
    end.

%% On a port for direct TLS it could not come before the handshake (s2s_partners_size:at_accept/1); such a stream ends with its header.
bounded(#{stream_encrypted := true} = State) ->
    State;
bounded(State) ->
    try s2s_partners_size:bound(State)
    catch _:_ -> State
    end.

%% Before look-up and dial.
-spec s2s_out_init(acc(), list()) -> acc() | {stop, acc()}.
s2s_out_init({ok, State} = Acc, Opts) ->
    case ?OBSERVING of
        true -> Acc;
        false -> guarded_out(State, Opts)
    end;
s2s_out_init(Acc, _Opts) ->
    Acc.

guarded_out(State, Opts) ->
    try
        none = why_closed(),
        true = erlang:function_exported(s2s_partners_out, handle_recv, 3),
        {ok, #{mod := s2s_partners_out, s2s_partners := _}} = s2s_partners_out:init({ok, State}, Opts)
    of
        Guarded -> Guarded
    catch
        Class:Reason:Stack ->
            complain(s2s_out_init, Class, Reason, Stack),
            {stop, {ok, dead_end(State)}}
    end.

%% An outgoing stream that connects to nobody, returns what it is handed, and ends soon: {ok, _} is all that may be said here.
dead_end(State) ->
    Bounded = xmpp_stream_out:set_timeout(State, 100),
    Bounded#{stream_state => s2s_partners_refused, on_route => bounce, stop_reason => internal_failure}.

%% After s2s_access: for each stream that is opened, and each key that comes in.
-spec s2s_allow_host(allow | deny, binary(), binary()) -> allow | {stop, deny}.
s2s_allow_host(allow, Host, Remote) ->
    case ?OBSERVING of
        true -> allow;
        false -> allowed(Host, Remote)
    end;
s2s_allow_host(Acc, _, _) ->
    case ?OBSERVING of
        true -> Acc;
        false -> {stop, deny}
    end.

allowed(Host, Remote) ->
    try
        none = why_closed(),
        {ok, Policy} = s2s_partners_in_force:policy(Host),
        s2s_partners_nif:route(Policy, Remote, false)
    of
        allow -> allow;
        _ -> {stop, deny}
    catch
        _:_ -> {stop, deny}
    end.

%% mod_s2s_dialback says that a stream is authenticated, as which domain; or ejabberd_s2s_in does.
-spec s2s_in_auth_result(map(), boolean(), binary()) -> map() | {stop, map()}.
s2s_in_auth_result(#{mod := s2s_partners_in, s2s_partners := _} = State, Result, Remote) ->
    try s2s_partners_in:auth_result(State, Result, Remote)
    catch Class:Reason:Stack ->
            complain(s2s_in_auth_result, Class, Reason, Stack),
            cut(State)
    end;
s2s_in_auth_result(State, Result, Remote) ->
    unguarded(incoming, Result, Remote, State).

%% Nobody guards it.
unguarded(Direction, Result, Remote, State) ->
    case {?OBSERVING, Result} of
        {true, true} ->
            told(Direction, fun() -> s2s_partners_observe:authenticated(Direction, State, Remote) end),
            State;
        {true, _} ->
            seen(Direction, State, fun() -> s2s_partners_observe:sasl_failed(State) end);
        {false, true} ->
            cut(State);
        {false, _} ->
            State
    end.

%% What was found out while nothing is enforced; where that fails, what there was.
seen(Where, Otherwise, Look) ->
    try Look()
    catch Class:Reason:Stack ->
            complain(Where, Class, Reason, Stack),
            Otherwise
    end.

-spec s2s_out_auth_result(map(), true | {false, term()}) -> map() | {stop, map()}.
s2s_out_auth_result(#{mod := s2s_partners_out, s2s_partners := _} = State, Result) ->
    try s2s_partners_out:auth_result(State, Result)
    catch Class:Reason:Stack ->
            complain(s2s_out_auth_result, Class, Reason, Stack),
            cut(State)
    end;
s2s_out_auth_result(State, Result) ->
    unguarded(outgoing, Result, maps:get(remote_server, State, <<>>), State).

%% A stanza is about to be delivered. Only a guarded stream has had it judged. Another one ends: with `supervisor: false` nobody else finds one
%% that has come about while nothing was enforced.
-spec s2s_receive_packet({stanza() | drop, map()}) -> {stanza() | drop, map()}.
s2s_receive_packet({_, #{mod := Module, s2s_partners := _}} = Acc) when Module =:= s2s_partners_in; Module =:= s2s_partners_out ->
    Acc;
s2s_receive_packet({Packet, State} = Acc) ->
    case ?OBSERVING of
        true ->
            told(s2s_receive_packet, fun() -> s2s_partners_observe:incoming(Packet, State) end),
            Acc;
        false ->
            cut(State)
    end.

%% A message of ours that was on its way to a stream when nothing was enforced any more.
-spec s2s_in_handle_info(map(), term()) -> map() | {stop, map()}.
s2s_in_handle_info(State, Message) when element(1, Message) =:= s2s_partners ->
    {stop, State};
s2s_in_handle_info(#{mod := s2s_partners_in, s2s_partners := _} = State, _) ->
    State;
%% XEP-0288 sends over it.
s2s_in_handle_info(State, {route, Packet}) ->
    case ?OBSERVING of
        true ->
            State;
        false ->
            bounce(Packet),
            cut(State)
    end;
s2s_in_handle_info(State, _) ->
    State.

-spec s2s_out_handle_info(map(), term()) -> map() | {stop, map()}.
s2s_out_handle_info(State, Message) when element(1, Message) =:= s2s_partners -> {stop, State};
s2s_out_handle_info(State, _) -> State.

%% Ends the process of a stream that nobody guards: with a stream error where that can be sent, and in any case. A hook lets this exit
%% through, and no other.
-spec cut(map()) -> no_return().
cut(State) ->
    try
        Module = case State of
                     #{remote_server := _, on_route := _} -> xmpp_stream_out;
                     _ -> xmpp_stream_in
                 end,
        Module:send(State, #stream_error{reason = 'internal-server-error', text = xmpp:mk_text(?LAST_TEXT)})
    catch _:_ -> ok
    end,
    exit(normal).

%%% Stanzas

%% Every stanza that is routed anywhere. What stays on this server is served whatever happens here.
-spec filter_packet(stanza() | drop) -> stanza() | drop | {stop, drop}.
filter_packet(drop) ->
    drop;
filter_packet(Packet) ->
    case ?OBSERVING of
        true ->
            told(filter_packet, fun() -> s2s_partners_observe:outgoing(Packet) end),
            Packet;
        false ->
            filtered(Packet)
    end.

filtered(Packet) ->
    try s2s_partners_route:filter_packet(Packet)
    catch Class:Reason:Stack -> unjudged(Packet, Class, Reason, Stack)
    end.

unjudged(Packet, Class, Reason, Stack) ->
    case is_local(Packet) of
        true ->
            Packet;
        false ->
            complain(filter_packet, Class, Reason, Stack),
            bounce(Packet),
            {stop, drop}
    end.

is_local(Packet) ->
    try s2s_partners_in_force:is_local((xmpp:get_to(Packet))#jid.lserver)
    catch _:_ ->
            try ejabberd_router:is_my_route((xmpp:get_to(Packet))#jid.lserver)
            catch _:_ -> false
            end
    end.

%% What nobody waits for is dropped without a word.
bounce(#presence{type = Type}) when Type =/= subscribe -> ok;
bounce(#message{type = error}) -> ok;
bounce(Packet) ->
    try ejabberd_router:route_error(Packet, #stanza_error{type = wait, reason = 'internal-server-error'})
    catch _:_ -> ok
    end.

%% The rest refuses nothing: it tells what a user does, to those who judge stanzas later.

-spec user_send_packet({stanza() | drop, term()}) -> {stanza() | drop, term()}.
user_send_packet(Acc) ->
    try case ?OBSERVING of
            true -> s2s_partners_observe:user_send(Acc);
            false -> s2s_partners_route:user_send_packet(Acc)
        end
    catch Class:Reason:Stack ->
            complain(user_send_packet, Class, Reason, Stack),
            Acc
    end.

-spec roster_out_subscription(presence()) -> ok.
roster_out_subscription(Presence) ->
    told(roster_out_subscription, fun() -> s2s_partners_route:roster_out_subscription(Presence) end).

-spec roster_process_item(tuple(), binary()) -> tuple().
roster_process_item(Item, Host) ->
    try s2s_partners_route:roster_process_item(Item, Host)
    catch Class:Reason:Stack ->
            complain(roster_process_item, Class, Reason, Stack),
            Item
    end.

-spec session_ended(term(), jid(), term()) -> ok.
session_ended(SID, JID, Info) ->
    told(session_ended, fun() -> s2s_partners_route:session_ended(SID, JID, Info) end).

-spec remove_user(binary(), binary()) -> ok.
remove_user(User, Server) ->
    told(remove_user, fun() -> s2s_partners_route:remove_user(User, Server) end).

-spec route_changed(binary()) -> ok.
route_changed(Domain) ->
    told(route_changed, fun() -> s2s_partners_in_force:route_changed(Domain) end).

told(Where, Tell) ->
    try
        _ = Tell(),
        ok
    catch
        Class:Reason:Stack -> complain(Where, Class, Reason, Stack)
    end.

%% At most one line a second, for all causes together.
complain(Where, Class, Reason, Stack) ->
    try
        Now = erlang:monotonic_time(second),
        case persistent_term:get({?MODULE, complained}, undefined) of
            undefined -> ok;
            Last ->
                Before = atomics:get(Last, 1),
                case Before =/= Now andalso atomics:compare_exchange(Last, 1, Before, Now) of
                    ok -> s2s_partners_report:internal_error(Where, Class, Reason, Stack);
                    _ -> ok
                end
        end
    catch _:_ -> ok
    end.
