%%% What was asked of a partner's bare domain, so that the answer comes back. Each asker has a share: one who asks without end loses
%%% the own answers and nobody else's. Processes of many sessions write here, so a row is only replaced as it was read. Each node of a
%%% cluster has all of them (s2s_partners_everywhere), since the answer may come to another.
-module(s2s_partners_requests).

-export([init/0, remember/2, remember/3, answered/2, answered/3, count/0]).
-export_type([asker/0, key/0]).

%% Remembered at once for one asker, and for all; the oldest is forgotten, its answer not delivered.
-define(SHARE, 100).
-define(TOTAL, 10000).
-define(MS, 600000).
%% Bytes: what is longer (ids may be) is remembered by its hash.
-define(KEY_MAX, 256).

-define(TABLE, ?MODULE).
-define(COUNTERS, s2s_partners_requests_counters).
%% {{Length, Asker}}: who has the most comes last. Written after the row, so it may be behind for a moment.
-define(LENGTHS, s2s_partners_requests_lengths).

%% A user has one share, whatever the resource; so has a component, which can invent addresses.
-type asker() :: {LUser :: binary(), LServer :: binary()} | LServer :: binary().
%% The address that has asked, the domain that was asked (canonical), the id.
-type key() :: {Own :: binary(), Domain :: binary(), Id :: binary()}.
%% {Asker, [{Key, At}]}, the newest first; a row is never empty.

-spec init() -> ok.
init() ->
    lists:foreach(fun({Name, Type}) ->
                          ets:whereis(Name) =/= undefined orelse
                              ets:new(Name, [Type, named_table, public, {write_concurrency, true}])
                  end, [{?TABLE, set}, {?COUNTERS, set}, {?LENGTHS, ordered_set}]),
    _ = ets:insert_new(?COUNTERS, [{total, 0}, {swept, now_ms()}]),
    ok.

-spec remember(asker(), key()) -> ok.
remember(Asker, Key) ->
    remember(Asker, Key, now_ms()).

%% The same at a given time, for the tests.
-spec remember(asker(), key(), integer()) -> ok.
remember(Asker, Key, Now) ->
    make_room(Now),
    Short = short(Key),
    change(Asker, fun(Asked) ->
                          Kept = lists:keydelete(Short, 1, Asked),
                          [{Short, Now} | lists:sublist(Kept, ?SHARE - 1)]
                  end).

%% Whether it was asked, and not too long ago. Each answer is delivered once.
-spec answered(asker(), key()) -> boolean().
answered(Asker, Key) ->
    answered(Asker, Key, now_ms()).

-spec answered(asker(), key(), integer()) -> boolean().
answered(Asker, Key, Now) ->
    Short = short(Key),
    case ets:lookup(?TABLE, Asker) of
        [{_, Asked} = Row] ->
            case lists:keyfind(Short, 1, Asked) of
                false ->
                    false;
                {_, At} ->
                    case replace(Row, lists:keydelete(Short, 1, Asked)) of
                        true -> Now - At =< ?MS;
                        false -> answered(Asker, Key, Now)
                    end
            end;
        [] ->
            false
    end.

-spec count() -> non_neg_integer().
count() ->
    ets:lookup_element(?COUNTERS, total, 2).

change(Asker, Fun) ->
    Done = case ets:lookup(?TABLE, Asker) of
               [{_, Asked} = Row] ->
                   replace(Row, Fun(Asked));
               [] ->
                   Asked = Fun([]),
                   ets:insert_new(?TABLE, {Asker, Asked}) andalso count(Asker, 0, length(Asked))
           end,
    case Done of
        true -> ok;
        false -> change(Asker, Fun)
    end.

%% Puts another list in the place of the one that was read, unless somebody has changed the row since.
replace({Asker, Asked} = Row, []) ->
    case ets:select_delete(?TABLE, [{Row, [], [true]}]) of
        1 -> count(Asker, length(Asked), 0);
        0 -> false
    end;
replace({Asker, Asked} = Row, New) ->
    case ets:select_replace(?TABLE, [{Row, [], [{const, {Asker, New}}]}]) of
        1 -> count(Asker, length(Asked), length(New));
        0 -> false
    end.

count(Asker, Before, Now) ->
    _ = ets:update_counter(?COUNTERS, total, Now - Before),
    Before =:= Now orelse relist(Asker, Before, Now),
    true.

%% The row may have been changed since, by a process that has written its length before this one: looked at again until it is as written.
relist(Asker, Before, Now) ->
    Before > 0 andalso ets:delete(?LENGTHS, {Before, Asker}),
    Now > 0 andalso ets:insert(?LENGTHS, {{Now, Asker}}),
    case lists:sum([length(Asked) || {_, Asked} <- ets:lookup(?TABLE, Asker)]) of
        Now -> ok;
        Other -> relist(Asker, Now, Other)
    end.

%% Room for one more of everybody's: what is too old goes, else the oldest of the asker with the most.
make_room(Now) ->
    case count() >= ?TOTAL of
        true ->
            sweep(Now),
            count() >= ?TOTAL andalso forget_oldest();
        false ->
            ok
    end.

%% At most once a minute, by the process that comes first.
sweep(Now) ->
    Swept = ets:lookup_element(?COUNTERS, swept, 2),
    case Now - Swept >= ?MS div 10 andalso
         ets:select_replace(?COUNTERS, [{{swept, Swept}, [], [{const, {swept, Now}}]}]) =:= 1 of
        true ->
            ets:foldl(fun({_, Asked} = Row, _) ->
                              case [One || {_, At} = One <- Asked, Now - At =< ?MS] of
                                  Asked -> ok;
                                  Kept -> _ = replace(Row, Kept), ok
                              end
                      end, ok, ?TABLE);
        false ->
            ok
    end.

forget_oldest() ->
    case ets:last(?LENGTHS) of
        {Length, Asker} ->
            case ets:lookup(?TABLE, Asker) of
                [{_, Asked} = Row] when length(Asked) =:= Length ->
                    _ = replace(Row, lists:droplast(Asked)),
                    ok;
                _ ->
                    relist(Asker, Length, 0),
                    forget_oldest()
            end;
        '$end_of_table' ->
            ok
    end.

short({Own, Domain, Id} = Key) ->
    case byte_size(Own) + byte_size(Domain) + byte_size(Id) of
        Size when Size > ?KEY_MAX -> crypto:hash(sha256, term_to_binary(Key));
        _ -> {binary:copy(Own), binary:copy(Domain), binary:copy(Id)}
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
