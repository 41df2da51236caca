%%% Keeps the processes of the guard. It stands below the supervisor of ejabberd's modules, which runs before any of them is started, and
%%% stays when mod_s2s_partners is stopped.
-module(s2s_partners_sup).

-behaviour(supervisor).

-export([ensure/0, start_link/0, start_child/1]).
-export([init/1]).

-define(ENDS, 60000).

%% Starts it unless it runs.
-spec ensure() -> ok | {error, term()}.
ensure() ->
    Child = #{id => ?MODULE, start => {?MODULE, start_link, []}, restart => permanent, shutdown => infinity, type => supervisor,
              modules => [?MODULE]},
    try supervisor:start_child(ejabberd_gen_mod_sup, Child) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> ok;
        {error, already_present} ->
            case supervisor:restart_child(ejabberd_gen_mod_sup, ?MODULE) of
                {ok, _} -> ok;
                {error, Reason} -> {error, Reason}
            end;
        {error, Reason} -> {error, Reason}
    catch
        exit:Reason -> {error, Reason}
    end.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% The guard comes last: what it puts in force is used by the others. However often one of them dies, ejabberd's own supervisor is not to
%% give up for it, which would end the server: what they would have judged is refused meanwhile.
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    {ok, {#{strategy => one_for_one, intensity => 1000, period => 1},
          [#{id => Module, start => {?MODULE, start_child, [Module]}, shutdown => 5000}
           || Module <- [s2s_partners_places, s2s_partners_live, s2s_partners_guard]]}}.

%% When this supervisor itself has been killed, those that it had started end a little later. Were the new ones not to wait for that, it
%% would fail to start again and again, until ejabberd's own supervisor gives up.
-spec start_child(module()) -> {ok, pid()} | {error, term()}.
start_child(Module) ->
    case Module:start_link() of
        {error, {already_started, Pid}} ->
            Monitor = erlang:monitor(process, Pid),
            receive {'DOWN', Monitor, process, Pid, _} -> ok
            after ?ENDS -> erlang:demonitor(Monitor, [flush])
            end,
            Module:start_link();
        Result ->
            Result
    end.
