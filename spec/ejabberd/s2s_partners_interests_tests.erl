%%% How many resources of remote contacts a user's sessions may keep capabilities of.
-module(s2s_partners_interests_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("xmpp/include/xmpp.hrl").

-define(CAPS, #xmlel{name = <<"c">>, attrs = [{<<"xmlns">>, ?NS_CAPS}], children = []}).
-define(NICK, #xmlel{name = <<"nick">>, attrs = [{<<"xmlns">>, ?NS_NICK}], children = []}).

interests_test_() ->
    {foreach, fun s2s_partners_interests:init/0,
     fun(_) -> [ets:delete(Table) || Table <- [s2s_partners_interests, s2s_partners_interests_counts]] end,
     [fun bounded/0, fun room_again/0, fun strangers_take_no_place/0, fun ends_with_the_last_session/0, fun without_capabilities/0]}.

%% As it is made without the library that prepares names.
address(User, Server, Resource) ->
    #jid{user = User, server = Server, resource = Resource, luser = User, lserver = Server, lresource = Resource}.

presence(N, Type, Els) ->
    #presence{type = Type, sub_els = Els, from = address(<<"bob">>, <<"fabrikam.test">>, integer_to_binary(N)),
              to = address(<<"alice">>, <<"contoso.test">>, <<>>)}.

received(Presence) ->
    s2s_partners_interests:received(Presence, fun() -> true end).

fill(Number) ->
    [Presence = received(Presence) || N <- lists:seq(1, Number), Presence <- [presence(N, available, [?NICK, ?CAPS])]].

bounded() ->
    fill(1000),
    ?assertEqual(presence(1001, available, [?NICK]), received(presence(1001, available, [?NICK, ?CAPS]))),
    ?assertEqual(presence(7, available, [?CAPS]), received(presence(7, available, [?CAPS]))),
    ?assertEqual(1000, s2s_partners_interests:count()).

room_again() ->
    fill(1000),
    received(presence(5, unavailable, [])),
    received(presence(5, unavailable, [])),
    ?assertEqual(presence(1001, available, [?CAPS]), received(presence(1001, available, [?CAPS]))),
    ?assertEqual(presence(1002, available, []), received(presence(1002, available, [?CAPS]))).

strangers_take_no_place() ->
    [s2s_partners_interests:received(presence(N, available, [?CAPS]), fun() -> false end) || N <- lists:seq(1, 2000)],
    ?assertEqual(0, s2s_partners_interests:count()).

ends_with_the_last_session() ->
    fill(50),
    s2s_partners_interests:session_ended({<<"alice">>, <<"contoso.test">>}),
    ?assertEqual(0, s2s_partners_interests:count()),
    ?assertEqual([], ets:tab2list(s2s_partners_interests_counts)).

without_capabilities() ->
    ?assertEqual(presence(1, available, [?NICK]), s2s_partners_interests:received(presence(1, available, [?NICK]), fun() -> error(asked) end)),
    ?assertEqual(0, s2s_partners_interests:count()).
