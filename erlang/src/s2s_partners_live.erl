%%% The streams that live on this node. Each stream's process publishes what there is to see of it, since its
%%% record belongs to it alone; the console reads it here. A reload goes through all of them.
-module(s2s_partners_live).

-behaviour(gen_server).

-export([start_link/0]).
-export([enter/1, leave/0, publish/1, streams/0, view/1, ready/0, rejudge/0, end_if_unguarded/2]).
-export([keepalive/2, keepalive_answered/3, answered_here/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-define(STREAMS, s2s_partners_streams).
-define(KEEPALIVES, s2s_partners_keepalives).
-define(MINUTE, 60000).
-define(OLD, 120).                         % seconds; longer than the console's test of a partner takes
-define(PREFIX, "keepalive-").
%% Of an id, before it is written in base64: bytes.
-define(NONCE, 12).
-define(SEAL, 8).
-define(WRITTEN, 32).                      % the three together, in base64

-type state() :: #{pid() => reference()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The calling process is a stream's, and guarded. Fails where nobody keeps the list: the stream is refused
%% then.
-spec enter(incoming | outgoing) -> ok.
enter(Direction) ->
    true = ets:insert(?STREAMS, {self(), #{pid => self(), direction => Direction}}),
    gen_server:call(?MODULE, {watch, self()}).

%% The calling process's stream is guarded no more.
-spec leave() -> ok.
leave() ->
    true = ets:delete(?STREAMS, self()),
    ok.

%% What there is to see of the calling process's stream: stream_view/1 of the NIF, with vhost, local, remote,
%% address, report, protocol, since (system time in seconds, 0 until it is established), ended (why, of one
%% that is over).
-spec publish(map()) -> ok.
publish(View) ->
    %% Only where it has entered: after a restart of the process that keeps the list it does so again, see rejudge/0.
    _ = ets:update_element(?STREAMS, self(), {2, View#{pid => self()}}),
    ok.

-spec streams() -> [map()].
streams() ->
    [View || {_, View} <- ets:tab2list(?STREAMS)].

%% What a process has published; none: it is no stream of this node.
-spec view(pid()) -> map() | none.
view(Pid) ->
    case ets:lookup(?STREAMS, Pid) of
        [{_, View}] -> View;
        [] -> none
    end.

%% Returns when the list can be entered.
-spec ready() -> ok.
ready() ->
    gen_server:call(?MODULE, ready).

%% Every live stream is judged again under what is in force now, in its own process. Those that were opened
%% while nobody was guarding have no record and are closed. ejabberd is asked which streams there are, and not the
%% list alone: that begins empty when the process that keeps it has been restarted, and so do the places. Each
%% stream enters again what has forgotten it.
-spec rejudge() -> ok.
rejudge() ->
    Policies = case s2s_partners_in_force:current() of
                   #{policies := ByHost} -> maps:values(ByHost);
                   none -> []
               end,
    ok = s2s_partners_places:rooms(Policies),
    Listed = streams(),
    lists:foreach(fun({Module, Supervisor, Direction}) ->
                          %% One that has just come enters before it does anything else: the cast finds it guarded.
                          lists:foreach(fun(Pid) -> Module:update_state(Pid, fun(State) -> judge_again(Module, State) end) end,
                                        lists:usort(children(Supervisor) ++ [Pid || #{pid := Pid, direction := Its} <- Listed, Its =:= Direction]))
                  end, [{ejabberd_s2s_in, ejabberd_s2s_in_sup, incoming}, {ejabberd_s2s_out, ejabberd_s2s_out_sup, outgoing}]).

%% Streams of a listener with `supervisor: false` are none of them.
children(Supervisor) ->
    [Pid || whereis(Supervisor) =/= undefined, {_, Pid, _, _} <- supervisor:which_children(Supervisor), is_pid(Pid)].

%% In the stream's process. An error in it closes the stream.
judge_again(ejabberd_s2s_in, #{mod := s2s_partners_in, s2s_partners := #guarded{established = Established}} = State) ->
    _ = enter_again(incoming, State),
    Established orelse s2s_partners_stream:is_over(State) orelse s2s_partners_places:enter(address(State)),
    s2s_partners_in:rejudge(State);
judge_again(ejabberd_s2s_out, #{mod := s2s_partners_out, s2s_partners := #guarded{}} = State) ->
    %% The ping that it has sent has been forgotten as well, and its answer would not be known.
    s2s_partners_out:rejudge(case enter_again(outgoing, State) of
                                 #{s2s_partners := #guarded{stream = Stream}} = State1 when Stream =/= none ->
                                     s2s_partners_clock:keepalive_answered(State1);
                                 _ ->
                                     State
                             end);
judge_again(Module, State) ->
    end_if_unguarded(Module, maps:remove(s2s_partners, State)).

%% To be called in the stream's process, which Module:update_state/2 does.
-spec end_if_unguarded(ejabberd_s2s_in | ejabberd_s2s_out, s2s_partners_stream:state()) -> s2s_partners_stream:state().
end_if_unguarded(_, #{s2s_partners := _} = State) ->
    State;
%% A connection that has been accepted, and no more: hook s2s_in_init is still to come, and guards it. ejabberd cannot send anything before (23.01, 24.12).
end_if_unguarded(_, #{stream_state := accepting} = State) ->
    State;
end_if_unguarded(Module, State) ->
    Module:stop_async(self()),
    Module:send(State, xmpp:serr_policy_violation()).

enter_again(Direction, State) ->
    case view(self()) of
        none ->
            enter(Direction),
            s2s_partners_stream:publish(State),
            State;
        _ ->
            known
    end.

address(#{ip := {Address, _}}) -> Address;
address(_) -> unknown.

%%% Keepalives

%% The id of a ping that the calling process's stream is to send. It waits for one answer at a time.
%%
%% The answer may come to another node, which has to know it for ours and whom to tell: the id names the node
%% that has sent it, by a hash, and is sealed with the key that the nodes of a cluster share (they verify one
%% another's dialback keys with it). Whatever else a partner sends as an id is told to nobody.
-spec keepalive(Local :: binary(), Domain :: binary()) -> binary().
keepalive(Local, Domain) ->
    forget(self()),
    Id = new_id(Local, Domain),
    true = ets:insert(?KEEPALIVES, [{Id, self(), Local, Domain}, {self(), Id}]),
    Id.

new_id(Local, Domain) ->
    Head = <<(erlang:phash2(node())):32, (crypto:strong_rand_bytes(?NONCE))/binary>>,
    <<?PREFIX, (base64:encode(<<Head/binary, (seal(Head, Local, Domain))/binary>>))/binary>>.

seal(Head, Local, Domain) ->
    binary:part(crypto:mac(hmac, sha256, ejabberd_config:get_shared_key(), [?PREFIX, Head, Local, 0, Domain]), 0, ?SEAL).

%% The hash of the node that has sent it; none: it is no id of this cluster's for that pair.
sender(Written, Local, Domain) ->
    try base64:decode(Written) of
        <<Hash:32, _:?NONCE/binary, Seal:?SEAL/binary>> = Id ->
            case seal(binary:part(Id, 0, 4 + ?NONCE), Local, Domain) of
                Seal -> Hash;
                _ -> none
            end;
        _ -> none
    catch
        _:_ -> none
    end.

%% An answer has come, over any stream of that pair. Whether it is one to a ping of this cluster's: it goes no
%% further then, and the node that has sent the ping is told.
-spec keepalive_answered(Id :: binary(), Local :: binary(), Domain :: binary()) -> boolean().
keepalive_answered(<<?PREFIX, Written:?WRITTEN/binary>> = Id, Local, Domain) ->
    Here = erlang:phash2(node()),
    case answered_here(Id, Local, Domain) orelse sender(Written, Local, Domain) of
        true -> true;
        none -> false;
        Here -> true;
        Hash ->
            lists:foreach(fun(Node) -> erpc:cast(Node, ?MODULE, answered_here, [Id, Local, Domain]) end,
                          [Node || Node <- nodes(), erlang:phash2(Node) =:= Hash]),
            true
    end;
keepalive_answered(_, _, _) ->
    false.

%% Called from other nodes.
-spec answered_here(binary(), binary(), binary()) -> boolean().
answered_here(Id, Local, Domain) ->
    case ets:lookup(?KEEPALIVES, Id) of
        [{Id, Pid, Local, Domain}] ->
            forget(Pid),
            Pid ! {s2s_partners, keepalive_answered},
            true;
        _ ->
            false
    end.

%% What that process waits for.
forget(Pid) ->
    case ets:take(?KEEPALIVES, Pid) of
        [{_, Id}] -> ets:delete(?KEEPALIVES, Id);
        [] -> true
    end.

%%% The process

-spec init([]) -> {ok, state()}.
init([]) ->
    ?STREAMS = ets:new(?STREAMS, [named_table, public, {write_concurrency, true}]),
    ?KEEPALIVES = ets:new(?KEEPALIVES, [named_table, public, {write_concurrency, true}]),
    s2s_partners_report:init(),
    s2s_partners_orphans:watch(),
    erlang:send_after(?MINUTE, self(), minute),
    {ok, #{}}.

-spec handle_call(term(), {pid(), term()}, state()) -> {reply, ok, state()}.
handle_call(ready, _From, Watched) ->
    {reply, ok, Watched};
handle_call({watch, Pid}, _From, Watched) when is_map_key(Pid, Watched) ->
    {reply, ok, Watched};
handle_call({watch, Pid}, _From, Watched) ->
    {reply, ok, Watched#{Pid => erlang:monitor(process, Pid)}}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, Watched) ->
    {noreply, Watched}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', _, process, Pid, _}, Watched) ->
    ets:delete(?STREAMS, Pid),
    forget(Pid),
    {noreply, maps:remove(Pid, Watched)};
handle_info(minute, Watched) ->
    erlang:send_after(?MINUTE, self(), minute),
    s2s_partners_report:minute(),
    s2s_partners_orphans:find(?STREAMS, ?OLD),
    {noreply, Watched};
handle_info(Message, Watched) ->
    s2s_partners_orphans:emptied(Message) andalso s2s_partners_orphans:find_behind(?STREAMS),
    {noreply, Watched}.
