%%% What the other nodes of the cluster hold: their counts of places, as s2s_partners_places adds them to its own. Each node tells
%%% the others its count of a partner whenever it changes, and all of its counts when they meet. A message between two nodes that
%%% see one another arrives; when they lose one another, or the process there ends, what it held is forgotten. So in a cluster
%%% that has come apart each part counts for itself.
%%%
%%% Plain data for one process, which hands in what it receives. Messages have a version: a node that runs another one of this
%%% module is one that holds nothing.
-module(s2s_partners_elsewhere).

-export([new/1, meet/2, tell/3, received/3, count/2, count_before/2, nodes_known/1]).

-export_type([elsewhere/0]).

-define(VERSION, 1).

-type key() :: term().
-type counts() :: #{key() => pos_integer()}.
-opaque elsewhere() :: #{name := atom(), others := #{pid() => {reference(), counts(), non_neg_integer()}}}.

%% The counts of nobody. Name: the registered name of the process that counts, the same on all nodes.
-spec new(atom()) -> elsewhere().
new(Name) ->
    ok = net_kernel:monitor_nodes(true),
    #{name => Name, others => #{}}.

%% Says to all nodes what this one holds, and asks for the same.
-spec meet(counts(), elsewhere()) -> ok.
meet(Counts, Elsewhere) ->
    lists:foreach(fun(Node) -> tell_all(Node, Counts, Elsewhere) end, nodes()).

%% This node's count of a key is another one now. A node whose connection is stuck is told all of it when that is over.
-spec tell(key(), non_neg_integer(), elsewhere()) -> ok.
tell(Key, Count, #{others := Others}) ->
    maps:foreach(fun(Pid, _) ->
                         case send(Pid, {?MODULE, ?VERSION, count, self(), Key, Count}) of
                             ok -> ok;
                             stuck -> later(Pid)
                         end
                 end, Others).

%% All counts: to a node that is to answer with its own, or to the process that has asked for them.
tell_all(To, Counts, #{name := Name}) ->
    Said = case is_pid(To) of
               true -> send(To, {?MODULE, ?VERSION, counts, self(), Counts});
               false -> send({Name, To}, {?MODULE, ?VERSION, meet, self(), Counts})
           end,
    case Said of
        ok -> ok;
        stuck -> later(To)
    end.

%% One look at a time, however many changes there are meanwhile.
later(To) ->
    case put({?MODULE, again, To}, true) of
        true ->
            ok;
        undefined ->
            _ = erlang:send_after(500, self(), {?MODULE, again, To}),
            ok
    end.

%% What the process has received; not_ours: it is for somebody else. Counts: what this node holds, asked for when it is to be told.
-spec received(term(), fun(() -> counts()), elsewhere()) -> {ok, elsewhere()} | not_ours.
received({?MODULE, ?VERSION, meet, Pid, Theirs}, Counts, Elsewhere) when Pid =/= self() ->
    tell_all(Pid, Counts(), Elsewhere),
    {ok, put_counts(Pid, Theirs, Elsewhere)};
received({?MODULE, ?VERSION, counts, Pid, Theirs}, _, Elsewhere) when Pid =/= self() ->
    {ok, put_counts(Pid, Theirs, Elsewhere)};
received({?MODULE, ?VERSION, count, Pid, Key, Count}, _, #{others := Others} = Elsewhere) ->
    case Others of
        #{Pid := {Monitor, Theirs, _}} ->
            Now = case Count of
                      0 -> maps:remove(Key, Theirs);
                      _ -> Theirs#{Key => Count}
                  end,
            {ok, Elsewhere#{others := Others#{Pid := {Monitor, Now, total(Now)}}}};
        _ ->
            {ok, Elsewhere}
    end;
received({?MODULE, again, To}, Counts, Elsewhere) ->
    erase({?MODULE, again, To}),
    tell_all(To, Counts(), Elsewhere),
    {ok, Elsewhere};
received({nodeup, Node}, Counts, Elsewhere) ->
    tell_all(Node, Counts(), Elsewhere),
    {ok, Elsewhere};
received({nodedown, _}, _, Elsewhere) ->
    {ok, Elsewhere};
received({'DOWN', Monitor, process, Pid, _}, _, #{others := Others} = Elsewhere) ->
    case Others of
        #{Pid := {Monitor, _, _}} -> {ok, Elsewhere#{others := maps:remove(Pid, Others)}};
        _ -> not_ours
    end;
received(Message, _, Elsewhere) when element(1, Message) =:= ?MODULE ->
    {ok, Elsewhere};
received(_, _, _) ->
    not_ours.

%% How many places the other nodes hold: of that key, and in all.
-spec count(key(), elsewhere()) -> {non_neg_integer(), non_neg_integer()}.
count(Key, #{others := Others}) ->
    maps:fold(fun(_, Other, Sum) -> add(Key, Other, Sum) end, {0, 0}, Others).

%% The same of the nodes that come before this one by name. After a reload that leaves fewer places than there are streams, each
%% node lets those before it keep theirs: otherwise each would give way to all the others, and none would have any.
-spec count_before(key(), elsewhere()) -> {non_neg_integer(), non_neg_integer()}.
count_before(Key, #{others := Others}) ->
    maps:fold(fun(Pid, Other, Sum) when node(Pid) < node() -> add(Key, Other, Sum);
                 (_, _, Sum) -> Sum
              end, {0, 0}, Others).

-spec nodes_known(elsewhere()) -> [node()].
nodes_known(#{others := Others}) ->
    lists:sort([node(Pid) || Pid <- maps:keys(Others)]).

add(Key, {_, Counts, Total}, {OfKey, InAll}) ->
    {OfKey + maps:get(Key, Counts, 0), InAll + Total}.

put_counts(Pid, Counts, #{others := Others} = Elsewhere) ->
    Monitor = case Others of
                  #{Pid := {Known, _, _}} -> Known;
                  _ -> erlang:monitor(process, Pid)
              end,
    Elsewhere#{others := Others#{Pid => {Monitor, Counts, total(Counts)}}}.

total(Counts) ->
    lists:sum(maps:values(Counts)).

%% Never waits, and opens no connection: who cannot be reached is told when the nodes meet.
send(To, Message) ->
    case erlang:send(To, Message, [nosuspend, noconnect]) of
        nosuspend -> stuck;
        _ -> ok
    end.
