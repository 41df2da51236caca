%%% Every stanza that crosses the border between this server and others, in either direction, whoever its author is. This module
%%% finds out what a stanza is and what is known about the two sides, asks the NIF, and does what the answer says. It
%%% decides nothing. What cannot be found out refuses; s2s_partners_latch refuses where this fails altogether.
-module(s2s_partners_route).

-export([init/0, filter_packet/1, incoming/2]).
-export([user_send_packet/1, roster_out_subscription/1, roster_process_item/2, session_ended/3, remove_user/2]).

-include_lib("xmpp/include/xmpp.hrl").

%% Makes the tables. Called once a node, by a process that lives as long as the node serves (s2s_partners_guard).
-spec init() -> ok.
init() ->
    ok.

%% Global hook filter_packet: every stanza that is routed anywhere. Those between local addresses pass after one look-up.
-spec filter_packet(stanza() | drop) -> stanza() | drop.
filter_packet(_Packet) ->
    drop.

%% What a stream has brought, after the stream's own judgement. `VHost` is the virtual host of the stream (server_host); the
%% stanza is judged by the policy of the host its `to` belongs to.
-spec incoming(stanza(), binary()) -> {pass, stanza()} | drop.
incoming(_Packet, _VHost) ->
    drop.

%% Hook user_send_packet of each virtual host: marks directed presence.
-spec user_send_packet({stanza() | drop, term()}) -> {stanza() | drop, term()}.
user_send_packet(Acc) ->
    Acc.

%% Hook roster_out_subscription of each virtual host: what the user has cancelled or added.
-spec roster_out_subscription(presence()) -> ok.
roster_out_subscription(_Presence) ->
    ok.

%% Hook roster_process_item of each virtual host (fold): a roster set by the user.
-spec roster_process_item(tuple(), binary()) -> tuple().
roster_process_item(Item, _Host) ->
    Item.

%% Hook sm_remove_connection_hook of each virtual host: a session's directed presence ends with it.
-spec session_ended(term(), jid(), term()) -> ok.
session_ended(_SID, _JID, _Info) ->
    ok.

%% Hook remove_user of each virtual host: a name that is given to somebody else later has nobody's lists.
-spec remove_user(binary(), binary()) -> ok.
remove_user(_User, _Server) ->
    ok.
