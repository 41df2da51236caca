%%% Questions to partners' bare domains: whose answer comes back, and how much is kept.
-module(s2s_partners_requests_tests).

-include_lib("eunit/include/eunit.hrl").

-define(ALICE, {<<"alice">>, <<"contoso.test">>}).
-define(MS, 600000).

key(Id) ->
    {<<"alice@contoso.test/phone">>, <<"fabrikam.test">>, Id}.

requests_test_() ->
    {foreach, fun s2s_partners_requests:init/0,
     fun(_) -> [ets:delete(Table) || Table <- [s2s_partners_requests, s2s_partners_requests_counters, s2s_partners_requests_lengths],
                ets:whereis(Table) =/= undefined] end,
     [fun once/0, fun in_time/0, fun share/0, fun long_ids/0, {timeout, 60, fun total/0}, {timeout, 60, fun full/0}, fun at_once/0]}.

once() ->
    ok = s2s_partners_requests:remember(?ALICE, key(<<"1">>)),
    ?assertNot(s2s_partners_requests:answered(?ALICE, key(<<"2">>))),
    ?assertNot(s2s_partners_requests:answered({<<"bob">>, <<"contoso.test">>}, key(<<"1">>))),
    ?assert(s2s_partners_requests:answered(?ALICE, key(<<"1">>))),
    ?assertNot(s2s_partners_requests:answered(?ALICE, key(<<"1">>))),
    ?assertEqual(0, s2s_partners_requests:count()),
    ?assertEqual([], ets:tab2list(s2s_partners_requests)).

in_time() ->
    ok = s2s_partners_requests:remember(?ALICE, key(<<"1">>), 0),
    ok = s2s_partners_requests:remember(?ALICE, key(<<"2">>), 0),
    ?assert(s2s_partners_requests:answered(?ALICE, key(<<"1">>), ?MS)),
    ?assertNot(s2s_partners_requests:answered(?ALICE, key(<<"2">>), ?MS + 1)).

share() ->
    [s2s_partners_requests:remember(?ALICE, key(integer_to_binary(N))) || N <- lists:seq(1, 101)],
    ok = s2s_partners_requests:remember(<<"echo.contoso.test">>, key(<<"1">>)),
    ?assertEqual(101, s2s_partners_requests:count()),
    ?assertNot(s2s_partners_requests:answered(?ALICE, key(<<"1">>))),
    ?assert(s2s_partners_requests:answered(?ALICE, key(<<"2">>))),
    ?assert(s2s_partners_requests:answered(?ALICE, key(<<"101">>))),
    ?assert(s2s_partners_requests:answered(<<"echo.contoso.test">>, key(<<"1">>))).

long_ids() ->
    Long = binary:copy(<<"x">>, 100000),
    ok = s2s_partners_requests:remember(?ALICE, key(Long)),
    ?assert(erts_debug:flat_size(ets:tab2list(s2s_partners_requests)) < 100),
    ?assertNot(s2s_partners_requests:answered(?ALICE, key(<<Long/binary, "y">>))),
    ?assert(s2s_partners_requests:answered(?ALICE, key(Long))).

%% Where there is no room, one more costs no more than before, whatever is there.
full() ->
    Start = erlang:monotonic_time(millisecond),
    Asker = fun(N) -> {integer_to_binary(N), <<"contoso.test">>} end,
    [s2s_partners_requests:remember(Asker(N), key(<<"1">>), Start) || N <- lists:seq(1, 10000)],
    Reductions = fun() -> element(2, process_info(self(), reductions)) end,
    Before = Reductions(),
    [s2s_partners_requests:remember(Asker(N), key(<<"1">>), Start) || N <- lists:seq(10001, 10200)],
    ?assert(Reductions() - Before < 200 * 500),
    ?assertEqual(10000, s2s_partners_requests:count()),
    %% What the index says is found out by what is there.
    ets:insert(s2s_partners_requests_lengths, {{1000, ?ALICE}}),
    ets:insert(s2s_partners_requests_lengths, {{999, Asker(10200)}}),
    ok = s2s_partners_requests:remember(?ALICE, key(<<"1">>), Start),
    ?assertEqual(10000, s2s_partners_requests:count()),
    ?assertEqual(10000, ets:info(s2s_partners_requests_lengths, size)),
    ?assert(s2s_partners_requests:answered(?ALICE, key(<<"1">>), Start)).

%% The asker with the most loses the oldest; what is too old goes first.
total() ->
    Start = erlang:monotonic_time(millisecond),
    Asker = fun(N) -> {integer_to_binary(N), <<"contoso.test">>} end,
    [s2s_partners_requests:remember(Asker(N), key(integer_to_binary(I)), Start) || N <- lists:seq(1, 100), I <- lists:seq(1, 99)],
    [s2s_partners_requests:remember(?ALICE, key(integer_to_binary(I)), Start) || I <- lists:seq(1, 100)],
    ?assertEqual(10000, s2s_partners_requests:count()),
    ok = s2s_partners_requests:remember(<<"echo.contoso.test">>, key(<<"1">>), Start + 1),
    ?assertEqual(10000, s2s_partners_requests:count()),
    ?assertNot(s2s_partners_requests:answered(?ALICE, key(<<"1">>), Start + 1)),
    ?assert(s2s_partners_requests:answered(?ALICE, key(<<"2">>), Start + 1)),
    ok = s2s_partners_requests:remember(?ALICE, key(<<"2">>), Start + 1),
    Later = Start + 10 * ?MS,
    ok = s2s_partners_requests:remember(<<"echo.contoso.test">>, key(<<"2">>), Later),
    ?assertEqual(1, s2s_partners_requests:count()).

%% Several processes of one asker: nothing is lost, and the count stays right.
at_once() ->
    Self = self(),
    Pids = [spawn_link(fun() ->
                               [s2s_partners_requests:remember(?ALICE, key(integer_to_binary(P * 100 + I))) || I <- lists:seq(1, 10)],
                               Self ! {self(), done}
                       end) || P <- lists:seq(1, 8)],
    [receive {Pid, done} -> ok after 20000 -> error(late) end || Pid <- Pids],
    ?assertEqual(80, s2s_partners_requests:count()),
    ?assertEqual(80, length([ok || P <- lists:seq(1, 8), I <- lists:seq(1, 10),
                                   s2s_partners_requests:answered(?ALICE, key(integer_to_binary(P * 100 + I)))])).

%% Also where many processes change one row, nothing is left of it in the index.
index_test_() ->
    {setup, fun s2s_partners_requests:init/0,
     fun(_) -> [ets:delete(Table) || Table <- [s2s_partners_requests, s2s_partners_requests_counters, s2s_partners_requests_lengths]] end,
     {timeout, 60, fun index/0}}.

index() ->
    Ids = [integer_to_binary(N) || N <- lists:seq(1, 20)],
    Workers = [spawn_monitor(fun() ->
                                     [begin
                                          ok = s2s_partners_requests:remember(?ALICE, key(<<Worker/binary, "-", Id/binary>>)),
                                          s2s_partners_requests:answered(?ALICE, key(<<Worker/binary, "-", Id/binary>>))
                                      end || _ <- lists:seq(1, 20), Id <- Ids]
                             end) || Worker <- [<<"a">>, <<"b">>, <<"c">>, <<"d">>]],
    [receive {'DOWN', Monitor, process, Pid, normal} -> ok end || {Pid, Monitor} <- Workers],
    Rows = ets:tab2list(s2s_partners_requests),
    ?assertEqual([{{length(Asked), Asker}} || {Asker, Asked} <- Rows], ets:tab2list(s2s_partners_requests_lengths)).
