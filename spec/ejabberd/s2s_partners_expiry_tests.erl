%%% What partners show that comes to its end, over days that pass as told: what is warned about, how often, and that nothing grows.
-module(s2s_partners_expiry_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-define(EXPIRY, s2s_partners_expiry).
-define(TABLE, s2s_partners_expiry_said).
-define(DAY, 86400).
-define(NOW, 1800000000).

expiry_test_() ->
    {foreach,
     fun() ->
             ok = ?EXPIRY:init(),
             ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
             ok = logger:update_handler_config(default, level, none),
             ok = logger:add_handler(?MODULE, ?MODULE, #{level => debug})
     end,
     fun(_) ->
             ok = logger:remove_handler(?MODULE),
             ok = logger:update_handler_config(default, level, all),
             [ets:delete(Table) || Table <- [?MODULE, ?TABLE]]
     end,
     [fun words/0, fun once_a_day/0, fun what_is_not_told/0, fun above_its_own/0, fun bounded/0, fun pins/0]}.

log(#{level := Level, msg := {Format, Arguments}}, _) when is_list(Arguments) ->
    ets:insert(?MODULE, {erlang:unique_integer([monotonic]), {Level, unicode:characters_to_binary(io_lib:format(Format, Arguments))}});
log(_, _) ->
    ok.

said() ->
    Lines = [Line || {_, Line} <- ets:tab2list(?MODULE)],
    ets:delete_all_objects(?MODULE),
    Lines.

%% A stream whose certificate ends in so many days, and what stands above it later, or as told.
view(Days, More) ->
    Report = maps:merge(#{not_after => ?NOW + Days * ?DAY, chain_not_after => ?NOW + Days * ?DAY, serial => <<"0A">>, issuer => <<"CN=CA">>,
                          pins => [<<"sha256//own">>, <<"sha256//above">>]}, maps:get(report, More, #{})),
    maps:merge(#{stage => established, certificate => valid, partner => <<"fabrikam.test">>, remote => <<"corp.fabrikam.test">>},
               More#{report => Report}).

words() ->
    ok = ?EXPIRY:seen(view(5, #{}), ?NOW),
    ?assertEqual([{warning, <<"The certificate of corp.fabrikam.test (partner fabrikam.test) expires in 5 days, on 2027-01-20 08:00 UTC; from then "
                              "on it is refused (certificate-expired). Issued by CN=CA, serial 0A">>}], said()).

once_a_day() ->
    [?EXPIRY:seen(view(5, #{}), ?NOW + Second) || Second <- [0, 1, 3600, 80000]],
    ?assertMatch([_], said()),
    ?EXPIRY:seen(view(5, #{}), ?NOW + ?DAY),
    ?assertMatch([_], said()),
    %% A clock that was set back, or another certificate.
    ?EXPIRY:seen(view(5, #{}), ?NOW - ?DAY),
    ?EXPIRY:seen(view(5, #{report => #{serial => <<"0B">>}}), ?NOW - ?DAY),
    ?assertMatch([_, _], said()).

what_is_not_told() ->
    [?EXPIRY:seen(View, ?NOW) || View <- [view(15, #{}), view(5, #{certificate => expired}), #{stage => established, certificate => valid}, #{},
                                          (view(5, #{}))#{report := #{}}]],
    ?assertEqual([], said()),
    ?EXPIRY:seen(view(14, #{}), ?NOW),
    ?assertMatch([_], said()).

above_its_own() ->
    ok = ?EXPIRY:seen(view(300, #{report => #{chain_not_after => ?NOW + 7200}}), ?NOW),
    [{warning, Text}] = said(),
    ?assertNotEqual(nomatch, string:find(Text, "expires in 2 hours, on ")),
    ?assertNotEqual(nomatch, string:find(Text, " (a certificate above its own); from then on")).

%% A partner with any number of certificates, and issuers of any length.
bounded() ->
    [?EXPIRY:seen(view(5, #{report => #{serial => integer_to_binary(N), issuer => binary:copy(<<"x">>, 10000)}}), ?NOW) || N <- lists:seq(1, 50)],
    Lines = said(),
    ?assertEqual(8, length(Lines)),
    ?assert(lists:all(fun({_, Text}) -> byte_size(Text) < 500 end, Lines)),
    ?assertEqual(8, ets:info(?TABLE, size)).

pins() ->
    Own = [<<"sha256//own">>],
    ets:insert(?TABLE, {{pinned, <<"fabrikam.test">>, Own}, ?NOW - 40 * ?DAY}),
    ok = ?EXPIRY:seen(view(20, #{}), ?NOW),
    [{warning, Text}] = said(),
    ?assertNotEqual(nomatch, string:find(Text, "Only one key is pinned for partner fabrikam.test, and it is that of the certificate of "
                                         "corp.fabrikam.test itself, which expires in 20 days")),
    ?assertEqual([{{pinned, <<"fabrikam.test">>, Own}, ?NOW}], ets:lookup(?TABLE, {pinned, <<"fabrikam.test">>, Own})),
    ets:delete(?TABLE, {pinned, <<"fabrikam.test">>, Own}),
    ets:insert(?TABLE, [{{pinned, <<"fabrikam.test">>, Own ++ [<<"sha256//next">>]}, ?NOW}]),
    ok = ?EXPIRY:seen(view(20, #{report => #{serial => <<"0C">>}}), ?NOW),
    ?assertEqual([], said()).
