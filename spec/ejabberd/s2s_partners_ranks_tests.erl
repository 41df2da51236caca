%%% The ordered set that counts what comes before: held against a sorted list.
-module(s2s_partners_ranks_tests).

-include_lib("eunit/include/eunit.hrl").

-define(RANKS, s2s_partners_ranks).

like_a_list_test_() ->
    {timeout, 60, fun like_a_list/0}.

like_a_list() ->
    rand:seed(exsss, {1, 2, 3}),
    lists:foldl(fun(_, {Ranks, List}) ->
                        Member = {rand:uniform(2), rand:uniform(200)},
                        {Ranks1, List1} = case lists:member(Member, List) of
                                              true -> {?RANKS:delete(Member, Ranks), lists:delete(Member, List)};
                                              false -> {?RANKS:insert(Member, ?RANKS:delete(Member, Ranks)), lists:sort([Member | List])}
                                          end,
                        ?assertEqual(length(List1), ?RANKS:size(Ranks1)),
                        Asked = {rand:uniform(2), rand:uniform(200)},
                        ?assertEqual(length([Less || Less <- List1, Less < Asked]), ?RANKS:before(Asked, Ranks1)),
                        {Ranks1, List1}
                end, {?RANKS:new(), []}, lists:seq(1, 5000)).

%% Also where all come in order.
flat_test() ->
    Number = 10000,
    Ranks = lists:foldl(fun ?RANKS:insert/2, ?RANKS:new(), lists:seq(1, Number)),
    ?assertEqual(Number, ?RANKS:size(Ranks)),
    Before = element(2, process_info(self(), reductions)),
    ?assertEqual(lists:seq(0, Number - 1), [?RANKS:before(Member, Ranks) || Member <- lists:seq(1, Number)]),
    ?assert(element(2, process_info(self(), reductions)) - Before < Number * 200).
