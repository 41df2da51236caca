%%% Every configuration of fixtures/config through the NIF: the same verdicts as on the other host, in the words of this one.
-module(s2s_partners_nif_config_tests).

-include_lib("eunit/include/eunit.hrl").

-define(NIF, s2s_partners_nif).
-define(PARTNERS, <<"modules.mod_s2s_partners.partners">>).

%% Made by config_terms.lua.
fixtures_test_() ->
    {ok, Terms} = file:consult(os:getenv("S2S_PARTNERS_CONFIG_TERMS")),
    [{atom_to_list(Kind) ++ " " ++ binary_to_list(Name),
      fun() -> check(Kind, Options, [like(Line) || Line <- Expected, not is_unlike(Line, Unlike)], Unlike) end}
     || {Kind, Name, Options, Expected, Unlike} <- Terms].

fixtures_are_many_test() ->
    {ok, Terms} = file:consult(os:getenv("S2S_PARTNERS_CONFIG_TERMS")),
    ?assert(lists:sum([length(Expected) || {bad, _, _, Expected, _} <- Terms]) > 200).

check(Kind, Options, Expected, Unlike) ->
    Lists = [{?PARTNERS, Value} || {partners, Value} <- Options, Value =/= absent],
    {Table, First} = compiled(?NIF:compile(#{lists => Lists})),
    {Policy, Second} = compiled(?NIF:compile_policy(Table, maps:from_list(proplists:delete(partners, Options)))),
    Found = [line(Issue) || Issue <- First ++ Second],
    ?assertEqual(Expected, [like(Line) || Line <- Found, not is_unlike(Line, Unlike)]),
    ?assertEqual(Kind =:= bad, Policy =:= none),
    [?assertEqual(nomatch, re:run(Line, <<"[\\x00-\\x1f\\x7f]|\\{[a-z_]+[.}]|prosody|\\.lua">>)) || Line <- Found].

compiled({ok, Object, Issues}) -> {Object, Issues};
compiled({error, Issues}) -> {none, Issues}.

line(#{severity := Severity, message := Message}) ->
    <<(atom_to_binary(Severity))/binary, ": ", Message/binary>>.

%% Lua has one word for both.
like(Line) ->
    re:replace(Line, <<"got a (list|mapping|table)">>, <<"got a compound">>, [global, {return, binary}]).

is_unlike(Line, Paths) ->
    Bare = re:replace(Line, <<" \\(\"[^\"]*\"\\)">>, <<>>, [{return, binary}]),
    lists:any(fun(Path) -> string:find(Bare, Path) =/= nomatch end, Paths).

entry(Pairs) ->
    {mapping, Pairs}.

partner(Domain, More) ->
    entry([{<<"domain">>, Domain}, {<<"partner_type">>, <<"federated">>} | More]).

messages(Value) ->
    case ?NIF:compile(#{locals => [<<"contoso.com">>], lists => [{?PARTNERS, Value}]}) of
        {ok, _, Issues} -> [Message || #{message := Message} <- Issues];
        {error, Issues} -> [Message || #{message := Message} <- Issues]
    end.

a_key_twice_is_an_error_test() ->
    [Message] = messages({list, [partner(<<"fabrikam.com">>, [{<<"tls">>, <<"required">>}, {<<"tls">>, <<"optional">>}])]}),
    ?assertEqual(<<"modules.mod_s2s_partners.partners[1] (\"fabrikam.com\").tls: got the key a second time (a mapping has each key "
                   "once); must be \"required\", \"optional\" or \"not_supported\"">>, Message),
    ?assertMatch([_], messages({list, [partner(<<"fabrikam.com">>, [{<<"domain">>, <<"fabrikam.com">>}])]})),
    ?assertMatch([_], messages({list, [partner(<<"fabrikam.com">>, [{<<"crls">>, {list, [<<"a.crl">>]}}, {<<"crls">>, {list, []}}])]})).

the_domain_comes_first_test() ->
    {ok, _, []} = ?NIF:compile(#{lists => [{?PARTNERS, {list, [entry([{<<"additional_domains">>, {list, [<<"b.fabrikam.com">>]}},
                                                                      {<<"partner_type">>, <<"federated">>},
                                                                      {<<"domain">>, <<"fabrikam.com">>}])]}}]}).

two_spellings_are_one_partner_test() ->
    [Message] = messages({list, [partner(<<"b\x{c3}\x{bc}cher.example">>, []), partner(<<"xn--bcher-kva.example">>, [])]}),
    ?assertNotEqual(nomatch, string:find(Message, <<"partners[1]">>)).

our_own_domain_is_nobody_s_test() ->
    ?assertMatch([_], messages({list, [partner(<<"contoso.com">>, [])]})).

%% The same, whatever Erlang's terms are: nothing but values is believed.
what_is_no_value_is_an_issue_test() ->
    [?assertMatch([_ | _], messages(Value)) || Value <- [undefined, {}, {list}, {list, x}, {list, [x | y]}, {mapping, [x]}, {other, 7}, #{},
                                                         fun() -> ok end, self(), make_ref(), 1 bsl 80, <<1:3>>, [], "text"]],
    [?assertMatch([_ | _], messages({list, [partner(<<"fabrikam.com">>, [{<<"tls">>, Value}])]}))
     || Value <- [undefined, {}, {list, []}, {mapping, []}, {mapping, [{1, 2}]}, 1 bsl 80, 1.0e300, <<1:3>>, #{}, nil]].

depth_is_bounded_test() ->
    Deep = lists:foldl(fun(_, Value) -> {list, [Value]} end, {list, []}, lists:seq(1, 100000)),
    ?assertMatch([_ | _], messages(Deep)),
    ?assertMatch([_ | _], messages({list, [partner(<<"fabrikam.com">>, [{<<"external_access">>, Deep}])]})).

what_is_not_ours_is_badarg_test() ->
    {ok, Table, []} = ?NIF:compile(#{}),
    [?assertError(badarg, ?NIF:compile(Spec)) || Spec <- [#{locals => x}, #{locals => [1]}, #{lists => [{1, 2}]}, #{lists => [x | y]},
                                                          #{issues => [{error, <<"c">>, <<"p">>, <<"g">>}]}]],
    [?assertError(badarg, ?NIF:compile_policy(Table, Spec))
     || Spec <- [x, #{constraints => [#{}]}, #{constraints => [x]}, #{constraints => lists:duplicate(33, constraint())}, #{crls => x},
                 #{constraints => [maps:remove(fact, constraint())]}, #{constraints => [constraint()], holding => [{2, all}]},
                 #{constraints => [constraint()], holding => [{0, all}]}, #{constraints => [constraint()], holding => [{1, x}]}]],
    ?assertError(badarg, ?NIF:compile_policy(make_ref(), #{})).

constraint() ->
    #{forbids => [tls_dialback, tcp_dialback], fact => <<"the lack of mod_s2s_dialback">>,
      remedy => <<"add mod_s2s_dialback to modules for {domain}">>, remedy_all => <<"add mod_s2s_dialback to modules">>,
      path => <<"modules">>, lost => <<"has no mod_s2s_dialback, so dialback is gone for {partners}">>}.

constraints_take_methods_away_test() ->
    {ok, Table, []} = ?NIF:compile(#{lists => [{?PARTNERS, {list, [
        partner(<<"fabrikam.com">>, [{<<"sasl">>, <<"optional">>}, {<<"dialback">>, true}]),
        partner(<<"litware.com">>, [{<<"sasl">>, <<"not_supported">>}, {<<"dialback">>, true}])]}}]}),
    Spec = fun(Held) -> #{constraints => [constraint()], holding => [{1, Held}]} end,
    {ok, Free, []} = ?NIF:compile_policy(Table, Spec([<<"other.example">>])),
    ?assertMatch(#{methods := [sasl, tls_dialback]}, ?NIF:policy_find(Free, <<"fabrikam.com">>)),
    {ok, Held, [Warning]} = ?NIF:compile_policy(Table, Spec([<<"FABRIKAM.com.">>])),
    ?assertMatch(#{message := <<"modules: has no mod_s2s_dialback, so dialback is gone for 1 partner (\"fabrikam.com\")">>}, Warning),
    ?assertMatch(#{methods := [sasl], row_methods := [sasl, tls_dialback]}, ?NIF:policy_find(Held, <<"fabrikam.com">>)),
    {error, Issues} = ?NIF:compile_policy(Table, Spec(all)),
    [Error] = [Message || #{severity := error, message := Message} <- Issues],
    ?assertNotEqual(nomatch, string:find(Error, <<"partners[2] (\"litware.com\")">>)),
    ?assertNotEqual(nomatch, string:find(Error, <<"add mod_s2s_dialback to modules for \"litware.com\"">>)),
    {ok, _, []} = ?NIF:compile_policy(Table, Spec([<<>>])).

issues_of_ours_come_first_test() ->
    {error, [One, Two]} = ?NIF:compile(#{issues => [{error, <<"encoding">>, <<"modules.mod_s2s_partners.files[1]">>, <<"\"a\eb\"">>,
                                                     <<"no file matches">>}], lists => [{?PARTNERS, 1}]}),
    ?assertMatch(#{code := <<"encoding">>, message := <<"modules.mod_s2s_partners.files[1]: got \"a\\x1bb\"; no file matches">>}, One),
    ?assertMatch(#{message := <<"modules.mod_s2s_partners.partners: got 1 (a number); must be a list of partners: [{domain: ..., ...}]">>}, Two).

a_policy_without_a_table_runs_nowhere_test() ->
    ?assertEqual({error, []}, ?NIF:compile_policy(none, #{})),
    ?assertMatch({error, [_]}, ?NIF:compile_policy(none, #{default => <<"allow">>})).

issues_are_capped_test() ->
    {error, Issues} = ?NIF:compile(#{lists => [{?PARTNERS, {list, lists:duplicate(2000, partner(<<"a.example">>, []))}}]}),
    ?assertEqual(501, length(Issues)),
    ?assertMatch(#{message := <<"and 1499 more errors">>}, lists:last(Issues)).

a_policy_keeps_its_table_test() ->
    Self = self(),
    spawn_link(fun() ->
                       {ok, Table, []} = ?NIF:compile(#{lists => [{?PARTNERS, {list, [partner(<<"fabrikam.com">>, [])]}}]}),
                       {ok, Policy, []} = ?NIF:compile_policy(Table, #{}),
                       Self ! Policy
               end),
    Policy = receive Any -> Any end,
    erlang:garbage_collect(),
    timer:sleep(20),
    ?assertMatch(#{name := <<"fabrikam.com">>}, ?NIF:policy_find(Policy, <<"fabrikam.com">>)),
    ?assertMatch([#{name := <<"fabrikam.com">>}], ?NIF:policy_partners(Policy)),
    ?assertEqual(none, ?NIF:policy_default(Policy)).
