%%% Directed presence: whom it makes a contact, for how long, and how much is kept.
-module(s2s_partners_directed_tests).

-include_lib("eunit/include/eunit.hrl").

-define(ALICE, {<<"alice">>, <<"contoso.test">>}).
-define(BOB, <<"bob@fabrikam.test">>).

directed_test_() ->
    {foreach, fun s2s_partners_directed:init/0,
     fun(_) -> [ets:delete(Table) || Table <- [s2s_partners_directed, s2s_partners_directed_counts]] end,
     [fun one_contact/0, fun two_sessions/0, fun ends_with_the_session/0, fun bounded/0, fun removed/0, fun neighbours/0]}.

one_contact() ->
    ?assertNot(s2s_partners_directed:directed(?ALICE, ?BOB)),
    ok = s2s_partners_directed:sent(?ALICE, <<"phone">>, ?BOB),
    ok = s2s_partners_directed:sent(?ALICE, <<"phone">>, ?BOB),
    ?assert(s2s_partners_directed:directed(?ALICE, ?BOB)),
    ?assert(s2s_partners_directed:passed(?ALICE, <<"phone">>, ?BOB)),
    ?assertNot(s2s_partners_directed:passed(?ALICE, <<"desk">>, ?BOB)),
    ?assertEqual(1, s2s_partners_directed:count()),
    true = s2s_partners_directed:taken_back(?ALICE, <<"phone">>, ?BOB),
    ?assertNot(s2s_partners_directed:directed(?ALICE, ?BOB)),
    ?assertEqual(0, s2s_partners_directed:count()).

two_sessions() ->
    [s2s_partners_directed:sent(?ALICE, Resource, ?BOB) || Resource <- [<<"phone">>, <<"desk">>]],
    true = s2s_partners_directed:taken_back(?ALICE, <<"phone">>, ?BOB),
    ?assert(s2s_partners_directed:directed(?ALICE, ?BOB)),
    true = s2s_partners_directed:session_ended({?ALICE, <<"desk">>}),
    ?assertNot(s2s_partners_directed:directed(?ALICE, ?BOB)).

ends_with_the_session() ->
    [s2s_partners_directed:sent(?ALICE, <<"phone">>, integer_to_binary(N)) || N <- lists:seq(1, 50)],
    s2s_partners_directed:sent(?ALICE, <<"desk">>, ?BOB),
    true = s2s_partners_directed:session_ended({?ALICE, <<"phone">>}),
    ?assertEqual(1, s2s_partners_directed:count()),
    true = s2s_partners_directed:session_ended({?ALICE, <<"desk">>}),
    ?assertEqual([], ets:tab2list(s2s_partners_directed_counts)).

bounded() ->
    Results = [s2s_partners_directed:sent(?ALICE, <<"phone">>, integer_to_binary(N)) || N <- lists:seq(1, 1002)],
    ?assertEqual(1000, length([ok || ok <- Results])),
    ?assertEqual([full, full], lists:nthtail(1000, Results)),
    ?assertEqual(ok, s2s_partners_directed:sent(?ALICE, <<"desk">>, <<"another@fabrikam.test">>)),
    true = s2s_partners_directed:taken_back(?ALICE, <<"phone">>, <<"1">>),
    false = s2s_partners_directed:taken_back(?ALICE, <<"phone">>, <<"1">>),
    ?assertEqual(ok, s2s_partners_directed:sent(?ALICE, <<"phone">>, <<"1001">>)).

removed() ->
    [s2s_partners_directed:sent(?ALICE, Resource, ?BOB) || Resource <- [<<"a">>, <<"b">>]],
    s2s_partners_directed:sent({<<"carol">>, <<"contoso.test">>}, <<"a">>, ?BOB),
    ok = s2s_partners_directed:user_removed(?ALICE),
    ?assertEqual(1, s2s_partners_directed:count()).

neighbours() ->
    s2s_partners_directed:sent(?ALICE, <<"phone">>, <<"bob@fabrikam.testx">>),
    ?assertNot(s2s_partners_directed:directed(?ALICE, ?BOB)),
    s2s_partners_directed:sent({<<"alicf">>, <<"contoso.test">>}, <<"phone">>, ?BOB),
    ?assertNot(s2s_partners_directed:directed(?ALICE, ?BOB)).
