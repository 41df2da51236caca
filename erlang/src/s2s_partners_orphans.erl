%%% Outgoing streams that nobody finds any more. ejabberd finds them by a table that all nodes of a cluster share (s2s), and
%%% `ejabberdctl stop_s2s_connections`, which closes the streams of one node, empties it, the rows of the other nodes' streams included
%%% (23.01, 24.12). Those streams live on and keep their places, with a keepalive for ever, while others are opened in their stead. So
%%% they are put back; where another one has been opened meanwhile, they end.
-module(s2s_partners_orphans).

-export([watch/0, emptied/1, find/2, find_behind/1]).

%% The calling process gets a message whenever a row changes; emptied/1 knows which of them is meant. Without Mnesia there is nothing to
%% be told: find/2 is called now and then as well.
-spec watch() -> ok.
watch() ->
    _ = mnesia:subscribe({table, s2s, simple}),
    ok.

%% Whether the message says that the table has been emptied.
-spec emptied(term()) -> boolean().
emptied({mnesia_table_event, {delete, {schema, s2s}, _}}) -> true;
emptied(_) -> false.

%% As find/2, of all streams, once the table is empty on all nodes. Each node empties it for itself and tells of that just before: what was
%% looked at or put back sooner could be gone the next moment, here or on another node, for as long as the stream lives. The lock is free
%% when the last node has done it. It is waited for in a process of its own, since a node may be stuck.
-spec find_behind(ets:table()) -> ok.
find_behind(Table) ->
    _ = spawn(fun() ->
                      _ = mnesia:transaction(fun() -> mnesia:write_lock_table(s2s) end),
                      try find(Table, 0)
                      catch
                          error:badarg -> ok         % the list has ended meanwhile, with the process that owns it
                      end
              end),
    ok.

%% Goes through the established outgoing streams in the list, a table of {pid(), View}, that are at least so many seconds old: one that
%% the console has opened to test a partner never has a row.
-spec find(ets:table(), Seconds :: non_neg_integer()) -> ok.
find(Table, Seconds) ->
    Latest = os:system_time(second) - Seconds,
    Streams = ets:select(Table, [{{'$1', #{direction => outgoing, stage => established, local => '$2', remote => '$3', since => '$4'}},
                                  [{'=<', '$4', Latest}], [{{{{'$2', '$3'}}, '$1'}}]}]),
    try
        maps:foreach(fun(Pair, Pids) -> pair(Pair, Pids, [Pid || {_, _, Pid} <- mnesia:dirty_read(s2s, Pair)]) end,
                     maps:groups_from_list(fun({Pair, _}) -> Pair end, fun({_, Pid}) -> Pid end, Streams))
    catch
        exit:{aborted, _} -> ok            % no such table now
    end.

pair(Pair, Pids, []) ->
    lists:foreach(fun(Pid) -> ejabberd_s2s_out:update_state(Pid, fun(State) -> put_back(Pair, State) end) end, Pids);
pair(_, Pids, Known) ->
    lists:foreach(fun ejabberd_s2s_out:stop_async/1, Pids -- Known).

%% In the stream's own process: ejabberd monitors it, and takes the row out again when it has ended.
put_back(Pair, State) ->
    s2s_partners_stream:is_over(State) orelse mnesia:dirty_write({s2s, Pair, self()}),
    State.
