%%% The list of live streams: what the end of a stream costs, and what is left of it.
-module(s2s_partners_live_tests).

-include_lib("eunit/include/eunit.hrl").

-define(LIVE, s2s_partners_live).
-define(KEEPALIVES, s2s_partners_keepalives).

live_test_() ->
    {foreach,
     fun() ->
             {ok, Pid} = ?LIVE:start_link(),
             Pid
     end,
     fun(Pid) ->
             unlink(Pid),
             gen_server:stop(Pid)
     end,
     [fun listed_until_the_end/0, {timeout, 60, fun the_end_of_one_of_many/0}]}.

stream(Then) ->
    Self = self(),
    Pid = spawn(fun() ->
                        ?LIVE:enter(outgoing),
                        Then(),
                        Self ! {entered, self()},
                        receive stop -> ok end
                end),
    receive {entered, Pid} -> Pid after 5000 -> error(late) end.

stop(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    %% It has heard of it when it answers the second time.
    [ok, ok] = [?LIVE:ready(), ?LIVE:ready()],
    ok.

listed_until_the_end() ->
    Pid = stream(fun() -> ?LIVE:publish(#{stage => established}) end),
    ?assertEqual(#{pid => Pid, stage => established}, ?LIVE:view(Pid)),
    stop(Pid),
    ?assertEqual(none, ?LIVE:view(Pid)),
    %% Who has not entered is not listed: nobody would take it out again.
    ?LIVE:publish(#{stage => established}),
    ?assertEqual([], ?LIVE:streams()).

%% A stranger's connection costs no more where many streams wait for an answer to a ping.
the_end_of_one_of_many() ->
    ets:insert(?KEEPALIVES, [{integer_to_binary(N), self(), <<"contoso.test">>, <<"fabrikam.test">>} || N <- lists:seq(1, 50000)]),
    Streams = [stream(fun() -> ok end) || _ <- lists:seq(1, 50)],
    Reductions = fun() -> element(2, process_info(whereis(?LIVE), reductions)) end,
    Before = Reductions(),
    lists:foreach(fun stop/1, Streams),
    Each = (Reductions() - Before) div 50,
    ?assertEqual([], ?LIVE:streams()),
    ?assert(Each < 1000, Each).
