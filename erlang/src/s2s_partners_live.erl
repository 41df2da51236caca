%%% The streams that live on this node. Each stream's process publishes what there is to see of it, since its
%%% record belongs to it alone; the console reads it here. A reload goes through all of them.
-module(s2s_partners_live).

-behaviour(gen_server).

-export([start_link/0]).
-export([enter/1, publish/1, streams/0, view/1, rejudge/0, end_if_unguarded/2]).
-export([keepalive/2, keepalive_answered/3, answered_here/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("xmpp/include/xmpp.hrl").

-define(STREAMS, s2s_partners_streams).
-define(KEEPALIVES, s2s_partners_keepalives).
-define(MINUTE, 60000).
-define(PREFIX, "keepalive-").

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

%% What there is to see of the calling process's stream: stream_view/1 of the NIF, with vhost, local, remote,
%% address, report, protocol, since (system time in seconds, 0 until it is established), ended (why, of one
%% that is over).
-spec publish(map()) -> ok.
publish(View) ->
    true = ets:insert(?STREAMS, {self(), View#{pid => self()}}),
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

%% Every live stream is judged again under what is in force now, in its own process. Those that were opened
%% while nobody was guarding have no record and are closed.
-spec rejudge() -> non_neg_integer().
rejudge() ->
    Policies = case s2s_partners_in_force:current() of
                   #{policies := ByHost} -> maps:values(ByHost);
                   none -> []
               end,
    ok = s2s_partners_places:rooms(Policies),
    Streams = [{Pid, maps:get(direction, View)} || {Pid, View} <- ets:tab2list(?STREAMS)],
    lists:foreach(fun({Pid, incoming}) -> ejabberd_s2s_in:update_state(Pid, {s2s_partners_in, rejudge, []});
                     ({Pid, outgoing}) -> ejabberd_s2s_out:update_state(Pid, {s2s_partners_out, rejudge, []})
                  end, Streams),
    Known = maps:from_list(Streams),
    lists:foreach(fun(Module) -> close_unguarded(Module, Known) end, [ejabberd_s2s_in, ejabberd_s2s_out]),
    length(Streams).

close_unguarded(Module, Known) ->
    Supervisor = case Module of
                     ejabberd_s2s_in -> ejabberd_s2s_in_sup;
                     ejabberd_s2s_out -> ejabberd_s2s_out_sup
                 end,
    Pids = [Pid || whereis(Supervisor) =/= undefined, {_, Pid, _, _} <- supervisor:which_children(Supervisor), is_pid(Pid)],
    lists:foreach(fun(Pid) when not is_map_key(Pid, Known) ->
                          %% One that has just come enters before it does anything else: the cast finds it
                          %% guarded.
                          Module:update_state(Pid, fun(State) -> end_if_unguarded(Module, State) end);
                     (_) ->
                          ok
                  end, Pids).

%% To be called in the stream's process, which Module:update_state/2 does.
-spec end_if_unguarded(ejabberd_s2s_in | ejabberd_s2s_out, s2s_partners_stream:state()) -> s2s_partners_stream:state().
end_if_unguarded(_, #{s2s_partners := _} = State) ->
    State;
end_if_unguarded(Module, State) ->
    Module:stop_async(self()),
    Module:send(State, xmpp:serr_policy_violation()).

%%% Keepalives

%% The id of a ping that the calling process's stream is to send. Nobody can guess it.
-spec keepalive(Local :: binary(), Domain :: binary()) -> binary().
keepalive(Local, Domain) ->
    Id = <<?PREFIX, (base64:encode(crypto:strong_rand_bytes(15)))/binary>>,
    true = ets:insert(?KEEPALIVES, {Id, self(), Local, Domain}),
    Id.

%% An answer has come, over any stream of that pair. Whether it is one to a ping of ours: it goes no further
%% then, also where another node has sent the ping.
-spec keepalive_answered(Id :: binary(), Local :: binary(), Domain :: binary()) -> boolean().
keepalive_answered(<<?PREFIX, _/binary>> = Id, Local, Domain) ->
    case answered_here(Id, Local, Domain) of
        true ->
            true;
        false ->
            lists:foreach(fun(Node) -> erpc:cast(Node, ?MODULE, answered_here, [Id, Local, Domain]) end,
                          ejabberd_cluster:get_nodes() -- [node()]),
            true
    end;
keepalive_answered(_, _, _) ->
    false.

%% Called from other nodes.
-spec answered_here(binary(), binary(), binary()) -> boolean().
answered_here(Id, Local, Domain) ->
    case ets:lookup(?KEEPALIVES, Id) of
        [{Id, Pid, Local, Domain}] ->
            ets:delete(?KEEPALIVES, Id),
            Pid ! {s2s_partners, keepalive_answered},
            true;
        _ ->
            false
    end.

%%% The process

-spec init([]) -> {ok, state()}.
init([]) ->
    ?STREAMS = ets:new(?STREAMS, [named_table, public, {write_concurrency, true}]),
    ?KEEPALIVES = ets:new(?KEEPALIVES, [named_table, public, {write_concurrency, true}]),
    s2s_partners_report:init(),
    erlang:send_after(?MINUTE, self(), minute),
    {ok, #{}}.

-spec handle_call(term(), {pid(), term()}, state()) -> {reply, ok, state()}.
handle_call({watch, Pid}, _From, Watched) ->
    {reply, ok, Watched#{Pid => erlang:monitor(process, Pid)}}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, Watched) ->
    {noreply, Watched}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({'DOWN', _, process, Pid, _}, Watched) ->
    ets:delete(?STREAMS, Pid),
    ets:match_delete(?KEEPALIVES, {'_', Pid, '_', '_'}),
    {noreply, maps:remove(Pid, Watched)};
handle_info(minute, Watched) ->
    erlang:send_after(?MINUTE, self(), minute),
    s2s_partners_report:minute(),
    {noreply, Watched};
handle_info(_, Watched) ->
    {noreply, Watched}.
