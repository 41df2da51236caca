%%% Places, the waiting room and questions about keys: what is counted, for whom, and that a process gives back what it held by ending.
-module(s2s_partners_places_tests).

-include_lib("eunit/include/eunit.hrl").

-export([stop/1]).

-define(PLACES, s2s_partners_places).
-define(FABRIKAM, <<"fabrikam.test">>).

places_test_() ->
    {foreach,
     fun() ->
             {ok, Pid} = ?PLACES:start_link(),
             Pid
     end,
     fun(Pid) ->
             unlink(Pid),
             gen_server:stop(Pid)
     end,
     [fun as_many_as_the_limit_says/0, fun given_back_at_the_end/0, fun given_back/0, fun asked_only/0, fun of_all_partners/0,
      fun each_domain_of_its_own/0, fun kept_by_the_older/0, fun kept_by_the_established/0, fun same_age/0,
      {timeout, 60, fun many_with_fewer_places/0}, fun under_another_name/0, fun an_error/0,
      fun others_are_told_what_it_comes_to/0,
      fun the_oldest_of_an_address_goes/0, fun the_oldest_of_all_goes/0, fun networks_count_as_one/0, fun settled_waits_no_more/0,
      fun questions/0, fun questions_move/0]}.

policy(Limit, Limits, Default) ->
    Entries = [{mapping, [{<<"domain">>, Domain}, {<<"partner_type">>, <<"federated">>}, {<<"connection_limit">>, Limit}]}
               || Domain <- [?FABRIKAM, <<"litware.test">>]],
    {ok, Table, _} = s2s_partners_nif:compile(#{lists => [{<<"partners">>, {list, Entries}}]}),
    {ok, Policy, _} = s2s_partners_nif:compile_policy(Table, #{limits => {mapping, Limits}, default => Default}),
    Policy.

policy(Limit) ->
    policy(Limit, [], <<"refuse">>).

%% A process that does what it is told, and can be told to end.
holder() ->
    spawn_link(fun Loop() ->
                       receive
                           {do, From, Fun} -> From ! {self(), Fun()}, Loop();
                           {s2s_partners, crowded} -> put(crowded, true), Loop();
                           stop -> ok
                       end
               end).

in(Pid, Fun) ->
    Pid ! {do, self(), Fun},
    receive {Pid, Answer} -> Answer
    after 20000 -> error(late)
    end.

%% The process gives back what it held, which has happened when this returns.
stop(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    unwatched(Pid),
    %% The process that counts has been told, and answers after that.
    _ = ?PLACES:counts(),
    ok.

unwatched(Pid) ->
    {monitors, Watched} = process_info(whereis(?PLACES), monitors),
    case lists:member({process, Pid}, Watched) of
        true -> timer:sleep(1), unwatched(Pid);
        false -> ok
    end.

takes(Pid, Policy, Domain, Key, Created) ->
    in(Pid, fun() -> ?PLACES:ask(Policy, Domain, Key, takes, Created) end).

as_many_as_the_limit_says() ->
    Policy = policy(2),
    [One, Two, Three] = [holder() || _ <- [1, 2, 3]],
    ?assertEqual([allow, allow], [takes(Pid, Policy, ?FABRIKAM, ?FABRIKAM, 0) || Pid <- [One, Two]]),
    ?assertMatch({refuse, 'connection-limit', _}, takes(Three, Policy, ?FABRIKAM, ?FABRIKAM, 0)),
    %% Who has one keeps it, and other partners have theirs.
    ?assertEqual(allow, takes(One, Policy, ?FABRIKAM, ?FABRIKAM, 0)),
    ?assertEqual(allow, takes(Three, Policy, <<"litware.test">>, <<"litware.test">>, 0)),
    ?assertEqual(#{total => 3, partners => #{?FABRIKAM => 2, <<"litware.test">> => 1}}, ?PLACES:counts()).

given_back_at_the_end() ->
    Policy = policy(1),
    [One, Two] = [holder(), holder()],
    allow = takes(One, Policy, ?FABRIKAM, ?FABRIKAM, 0),
    {refuse, _, _} = takes(Two, Policy, ?FABRIKAM, ?FABRIKAM, 0),
    stop(One),
    ?assertEqual(#{total => 0, partners => #{}}, ?PLACES:counts()),
    ?assertEqual(allow, takes(Two, Policy, ?FABRIKAM, ?FABRIKAM, 0)).

given_back() ->
    Policy = policy(1),
    One = holder(),
    allow = takes(One, Policy, ?FABRIKAM, ?FABRIKAM, 0),
    [ok, ok] = [in(One, fun() -> ?PLACES:give_back() end) || _ <- [1, 2]],
    ?assertEqual(#{total => 0, partners => #{}}, ?PLACES:counts()),
    stop(One),
    ?assertEqual(#{total => 0, partners => #{}}, ?PLACES:counts()).

asked_only() ->
    Policy = policy(1),
    One = holder(),
    ?assertEqual(allow, in(One, fun() -> ?PLACES:ask(Policy, ?FABRIKAM, ?FABRIKAM, asks, 0) end)),
    ?assertEqual(#{total => 0, partners => #{}}, ?PLACES:counts()).

of_all_partners() ->
    Policy = policy(10, [{<<"connections">>, 2}], <<"refuse">>),
    [allow, allow] = [takes(holder(), Policy, ?FABRIKAM, ?FABRIKAM, 0) || _ <- [1, 2]],
    ?assertMatch({refuse, 'connection-limit', _}, takes(holder(), Policy, <<"litware.test">>, <<"litware.test">>, 0)).

each_domain_of_its_own() ->
    Default = {mapping, [{<<"partner_type">>, <<"public_unverified">>}]},
    Policy = policy(10, [{<<"partner_connections">>, 1}], Default),
    Take = fun(Domain) -> takes(holder(), Policy, Domain, {domain, Domain}, 0) end,
    ?assertEqual(allow, Take(<<"one.test">>)),
    ?assertMatch({refuse, 'connection-limit', _}, Take(<<"one.test">>)),
    ?assertEqual(allow, Take(<<"two.test">>)).

renew(Pid, Policy, Key, Established, Created) ->
    in(Pid, fun() -> ?PLACES:renew(Policy, ?FABRIKAM, Key, true, Established, Created) end).

%% Whatever the order in which they are asked.
kept_by_the_older() ->
    Old = [holder() || _ <- [1, 2, 3]],
    [allow, allow, allow] = [takes(Pid, policy(3), ?FABRIKAM, ?FABRIKAM, Created) || {Pid, Created} <- lists:zip(Old, [1, 2, 3])],
    Fewer = policy(1),
    [One, Two, Three] = Old,
    ?assertMatch({refuse, 'connection-limit', _}, renew(Three, Fewer, ?FABRIKAM, false, 3)),
    ?assertMatch({refuse, 'connection-limit', _}, renew(Two, Fewer, ?FABRIKAM, false, 2)),
    ?assertEqual(allow, renew(One, Fewer, ?FABRIKAM, false, 1)),
    ?assertEqual(#{total => 1, partners => #{?FABRIKAM => 1}}, ?PLACES:counts()).

kept_by_the_established() ->
    [Young, Old] = [holder(), holder()],
    allow = takes(Old, policy(2), ?FABRIKAM, ?FABRIKAM, 1),
    allow = takes(Young, policy(2), ?FABRIKAM, ?FABRIKAM, 2),
    ok = in(Young, fun() -> ?PLACES:settled() end),
    ?assertMatch({refuse, 'connection-limit', _}, renew(Old, policy(1), ?FABRIKAM, false, 1)),
    ?assertEqual(allow, renew(Young, policy(1), ?FABRIKAM, true, 2)).

%% Of two that were made in the same moment one keeps the only place.
same_age() ->
    Both = [holder(), holder()],
    [allow, allow] = [takes(Pid, policy(2), ?FABRIKAM, ?FABRIKAM, 1) || Pid <- Both],
    ?assertMatch([allow, {refuse, 'connection-limit', _}], lists:sort([renew(Pid, policy(1), ?FABRIKAM, false, 1) || Pid <- Both])).

%% What each costs does not grow with how many there are.
many_with_fewer_places() ->
    Number = 4000,
    Holders = [holder() || _ <- lists:seq(1, Number)],
    Many = policy(Number, [{<<"connections">>, Number}], <<"refuse">>),
    [allow = takes(Pid, Many, ?FABRIKAM, ?FABRIKAM, Created) || {Pid, Created} <- lists:zip(Holders, lists:seq(1, Number))],
    Half = policy(Number div 2, [{<<"connections">>, Number}], <<"refuse">>),
    Reductions = fun() -> element(2, process_info(whereis(?PLACES), reductions)) end,
    Before = Reductions(),
    Answers = [renew(Pid, Half, ?FABRIKAM, true, Created) || {Pid, Created} <- lists:zip(Holders, lists:seq(1, Number))],
    Each = (Reductions() - Before) div Number,
    ?assertEqual(Number div 2, length([allow || allow <- Answers])),
    ?assertEqual(lists:duplicate(Number div 2, allow), lists:sublist(Answers, Number div 2)),
    ?assert(Each < 1000, Each),
    [unlink(Pid) || Pid <- Holders],
    [exit(Pid, kill) || Pid <- Holders].

under_another_name() ->
    One = holder(),
    allow = takes(One, policy(1), ?FABRIKAM, <<"before.test">>, 1),
    ?assertEqual(allow, renew(One, policy(1), ?FABRIKAM, true, 1)),
    ?assertEqual(#{total => 1, partners => #{?FABRIKAM => 1}}, ?PLACES:counts()).

%% Refuses the process that asked; the others keep what they hold.
an_error() ->
    s2s_partners_report:init(),
    allow = takes(holder(), policy(1), ?FABRIKAM, ?FABRIKAM, 0),
    ?assertMatch({refuse, 'internal-error', _}, takes(holder(), no_policy, ?FABRIKAM, ?FABRIKAM, 0)),
    ?assertEqual(#{total => 1, partners => #{?FABRIKAM => 1}}, ?PLACES:counts()).

%% A place that is renewed is not one less for a moment: another node would give it to somebody.
others_are_told_what_it_comes_to() ->
    [One, Two] = [holder(), holder()],
    [allow, allow] = [takes(Pid, policy(2), ?FABRIKAM, ?FABRIKAM, Created) || {Pid, Created} <- [{One, 1}, {Two, 2}]],
    ?PLACES ! {s2s_partners_elsewhere, 1, meet, self(), #{}},
    [allow, allow] = [renew(Pid, policy(2), ?FABRIKAM, true, Created) || {Pid, Created} <- [{One, 1}, {Two, 2}]],
    {refuse, 'connection-limit', _} = renew(Two, policy(1), ?FABRIKAM, true, 2),
    allow = renew(One, policy(1), <<"after.test">>, true, 1),
    Places = whereis(?PLACES),
    Told = fun Next() -> receive {s2s_partners_elsewhere, 1, What, Places, Key, Count} -> [{What, Key, Count} | Next()] after 0 -> [] end end,
    ?assertEqual(#{?FABRIKAM => 2}, receive {s2s_partners_elsewhere, 1, counts, Places, Counts} -> Counts after 20000 -> late end),
    ?assertEqual([{count, ?FABRIKAM, 1}, {count, <<"after.test">>, 1}, {count, ?FABRIKAM, 0}], Told()).

%%% The waiting room: 100 in all and 32 of an address are the least there is

rooms() ->
    ok = ?PLACES:rooms([policy(1, [{<<"connections">>, 1}], <<"refuse">>)]).

enter(Address) ->
    Pid = holder(),
    ok = in(Pid, fun() -> ?PLACES:enter(Address) end),
    Pid.

is_crowded(Pid) ->
    in(Pid, fun() -> get(crowded) =:= true end).

the_oldest_of_an_address_goes() ->
    rooms(),
    Other = enter({10, 0, 0, 2}),
    Pids = [enter({10, 0, 0, 1}) || _ <- lists:seq(1, 34)],
    ?assertEqual({33, 2}, ?PLACES:waiting()),
    ?assertEqual([true, true] ++ lists:duplicate(32, false), [is_crowded(Pid) || Pid <- Pids]),
    ?assertNot(is_crowded(Other)).

the_oldest_of_all_goes() ->
    rooms(),
    Pids = [enter({10, 0, N, 1}) || N <- lists:seq(1, 102)],
    ?assertEqual({100, 100}, ?PLACES:waiting()),
    ?assertEqual([true, true] ++ lists:duplicate(100, false), [is_crowded(Pid) || Pid <- Pids]).

networks_count_as_one() ->
    _ = [enter(Address) || Address <- [{16#2001, 16#db8, 0, 1, 0, 0, 0, N} || N <- lists:seq(1, 5)]],
    ?assertEqual({5, 1}, ?PLACES:waiting()),
    _ = [enter({0, 0, 0, 0, 0, 16#ffff, 16#0a00, 1}), enter({10, 0, 0, 1})],
    ?assertEqual({7, 2}, ?PLACES:waiting()).

settled_waits_no_more() ->
    One = enter({10, 0, 0, 1}),
    Two = enter({10, 0, 0, 1}),
    ok = in(One, fun() -> ?PLACES:settled() end),
    ?assertEqual({1, 1}, ?PLACES:waiting()),
    stop(Two),
    ?assertEqual({0, 0}, ?PLACES:waiting()),
    stop(One).

%%% Questions about keys

question(Domain) ->
    Pid = holder(),
    {Pid, in(Pid, fun() -> ?PLACES:question(<<"contoso.test">>, Domain, ?FABRIKAM) end)}.

questions() ->
    Asked = [question(?FABRIKAM) || _ <- lists:seq(1, 33)],
    {Good, [{_, Last}]} = lists:split(32, Asked),
    ?assertEqual([allow], lists:usort([Answer || {_, Answer} <- Good])),
    ?assertMatch({refuse, 'connection-limit', _}, Last),
    ?assertMatch({_, allow}, question(<<"other.fabrikam.test">>)),
    {First, allow} = hd(Good),
    stop(First),
    ?assertMatch({_, allow}, question(?FABRIKAM)).

%% The question is over when the process that asks ends, not the one it asks for.
questions_move() ->
    Asked = [question(?FABRIKAM) || _ <- lists:seq(1, 32)],
    {First, allow} = hd(Asked),
    Asking = holder(),
    ok = in(Asking, fun() -> ?PLACES:question_moved(First) end),
    stop(First),
    ?assertMatch({_, {refuse, _, _}}, question(?FABRIKAM)),
    stop(Asking),
    ?assertMatch({_, allow}, question(?FABRIKAM)).
