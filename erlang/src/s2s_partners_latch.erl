%%% The hooks. ejabberd's hooks fail open: an exception in one of them is logged, and the stanza or stream goes on as if nobody had
%%% been asked. So each function here calls what decides under `try`, and refuses where that fails: an error, a module that is not
%%% there, a NIF that has not been loaded. Nothing here needs the NIF for refusing.
%%%
%%% The hooks are registered once and stay for as long as the node runs, whatever becomes of mod_s2s_partners.
-module(s2s_partners_latch).

-export([close/1, host/1, is_closed/0]).
%% Global hooks.
-export([s2s_in_init/2, filter_packet/1, route_changed/1]).
%% Hooks of each virtual host.
-export([s2s_out_init/2, s2s_allow_host/3, s2s_in_auth_result/3, s2s_out_auth_result/2, s2s_receive_packet/1]).
-export([user_send_packet/1, roster_out_subscription/1, roster_process_item/2, session_ended/3, remove_user/2]).

-include_lib("xmpp/include/xmpp.hrl").

%% Before everybody else's: a handler that comes first can stop the others.
-define(FIRST, 1).
-define(CALLBACKS, [{ejabberd_s2s_in, xmpp_stream_in, s2s_partners_in}, {ejabberd_s2s_out, xmpp_stream_out, s2s_partners_out}]).

%% Registers the hooks: the global ones and those of `Hosts`. Again and again without harm.
-spec close(Hosts :: [binary()]) -> ok.
close(Hosts) ->
    ejabberd_hooks:add(s2s_in_init, ?MODULE, s2s_in_init, ?FIRST),
    ejabberd_hooks:add(filter_packet, ?MODULE, filter_packet, ?FIRST),
    ejabberd_hooks:add(route_registered, ?MODULE, route_changed, ?FIRST),
    ejabberd_hooks:add(route_unregistered, ?MODULE, route_changed, ?FIRST),
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
                   {user_send_packet, user_send_packet},
                   {roster_out_subscription, roster_out_subscription},
                   {roster_process_item, roster_process_item},
                   {sm_remove_connection_hook, session_ended},
                   {remove_user, remove_user}]).

%% Whether everything is refused, whatever the configuration says, and why.
-spec is_closed() -> false | {true, Why :: binary()}.
is_closed() ->
    false.

s2s_in_init({ok, State}, Opts) ->
    try s2s_partners_in:init({ok, State}, Opts) of
        {ok, #{mod := s2s_partners_in}} = Guarded -> Guarded;
        _ -> {stop, ignore}
    catch
        _:_ -> {stop, ignore}
    end;
s2s_in_init(_, _) ->
    {stop, ignore}.

s2s_out_init(Acc, Opts) ->
    s2s_partners_out:init(Acc, Opts).

filter_packet(Packet) ->
    try s2s_partners_route:filter_packet(Packet)
    catch _:_ -> {stop, drop}
    end.

s2s_allow_host(_, _, _) -> {stop, deny}.
s2s_in_auth_result(State, Result, Remote) -> s2s_partners_in:auth_result(State, Result, Remote).
s2s_out_auth_result(State, Result) -> s2s_partners_out:auth_result(State, Result).
s2s_receive_packet(Acc) -> Acc.
user_send_packet(Acc) -> s2s_partners_route:user_send_packet(Acc).
roster_out_subscription(Presence) -> s2s_partners_route:roster_out_subscription(Presence).
roster_process_item(Item, Host) -> s2s_partners_route:roster_process_item(Item, Host).
session_ended(SID, JID, Info) -> s2s_partners_route:session_ended(SID, JID, Info).
remove_user(User, Server) -> s2s_partners_route:remove_user(User, Server).
route_changed(Domain) -> s2s_partners_in_force:route_changed(Domain).
