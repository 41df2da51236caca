%%% What is read of YAML before the NIF sees it, and what is kept of this server's own domains.
-module(s2s_partners_config_tests).

-include_lib("eunit/include/eunit.hrl").

%% ejabberd's parser gives plain scalars as atoms of bytes.
values_test_() ->
    [{lists:flatten(io_lib:format("~0tp", [Term])), ?_assertEqual(Value, s2s_partners_config_values:value(Term))}
     || {Term, Value} <- [{true, true}, {<<"true">>, <<"true">>}, {yes, <<"yes">>}, {12, 12}, {1.5, 1.5},
                          {list_to_atom([16#C3, 16#A9]), <<16#C3, 16#A9>>}, {'~', {other, <<"nothing">>}}, {undefined, {other, <<"nothing">>}},
                          {absent, absent}, {[], {list, []}}, {[a, 1], {list, [<<"a">>, 1]}},
                          {[{a, 1}, {a, 2}, {<<"b">>, c}], {mapping, [{<<"a">>, 1}, {<<"a">>, 2}, {<<"b">>, <<"c">>}]}},
                          {[{a, 1}, b], {other, <<"a list that is a mapping as well">>}},
                          {[{1, x}, {true, y}], {mapping, [{<<"1">>, <<"x">>}, {<<"true">>, <<"y">>}]}},
                          {1 bsl 70, {other, <<"a number that is too large">>}}, {{1, 2}, {other, <<"something that is no value">>}}]].

%% Nobody's stack, and no more of it than any option can use.
depth_test() ->
    Deep = lists:foldl(fun(_, Inside) -> [Inside] end, [], lists:seq(1, 100000)),
    ?assert(erts_debug:flat_size(s2s_partners_config_values:value(Deep)) < 100).

find_test() ->
    Entry = [{<<"domain">>, a}, {domain, b}, {tls, c}],
    ?assertEqual({ok, a}, s2s_partners_config_values:find(<<"domain">>, Entry)),
    ?assertEqual({ok, c}, s2s_partners_config_values:find(<<"tls">>, Entry)),
    ?assertEqual(error, s2s_partners_config_values:find(<<"sasl">>, Entry)),
    ?assertEqual(error, s2s_partners_config_values:find(<<"sasl">>, not_even_a_list)).

%% A virtual host is local without a question to the router; what is none is asked about, and believed for a second.
local_test() ->
    Hosts = #{<<"a.test">> => [], <<"b.test">> => []},
    ok = s2s_partners_in_force:init(),
    ok = s2s_partners_in_force:put(#{policies => #{<<"a.test">> => make_ref()}, vhosts => Hosts, limits => #{}, stores => #{}, crls => #{},
                                     crl_signatures => #{}, patterns => #{}, host_crls => #{}, intermediates => #{}, issues => #{},
                                     locals => maps:keys(Hosts), applied => 0}),
    ?assert(s2s_partners_in_force:is_local(<<"a.test">>)),
    ?assertEqual({ok, <<"b.test">>}, s2s_partners_in_force:vhost_of(<<"b.test">>)),
    ?assertMatch({ok, _}, s2s_partners_in_force:policy(<<"a.test">>)),
    ?assertEqual(none, s2s_partners_in_force:policy(<<"b.test">>)),
    ?assertEqual(none, s2s_partners_in_force:policy(<<"c.test">>)),
    %% No router runs here: that it cannot be found out is an error, and no "foreign".
    ?assertError(_, s2s_partners_in_force:is_local(<<"c.test">>)),
    ?assertEqual(none, s2s_partners_in_force:vhost_of(<<"c.test">>)),
    ets:insert(s2s_partners_foreign, {<<"c.test">>, erlang:monotonic_time(millisecond) + 60000}),
    ?assertNot(s2s_partners_in_force:is_local(<<"c.test">>)),
    ok = s2s_partners_in_force:route_changed(<<"c.test">>),
    ?assertError(_, s2s_partners_in_force:is_local(<<"c.test">>)),
    ets:insert(s2s_partners_foreign, {<<"c.test">>, erlang:monotonic_time(millisecond) - 1}),
    ?assertError(_, s2s_partners_in_force:is_local(<<"c.test">>)).

%% Access rules are evaluated with the options that are being judged. None of these needs a table of ejabberd's.
constraints_test_() ->
    Partners = [#{name => <<"a.test">>, additional_domains => [<<"*.b.test">>], connection_limit => 2}],
    Options = #{s2s_access => all, s2s_use_starttls => false, modules => [{mod_s2s_dialback, []}], access_rules => [], acl => [], shaper_rules => []},
    Holding = fun(More) ->
                      Given = maps:merge(Options, More),
                      #{holding := Found} = s2s_partners_config_constraints:collect(<<"h.test">>, fun(Name, _) -> maps:get(Name, Given) end, Partners),
                      Found
              end,
    [?_assertEqual([], Holding(#{})),
     ?_assertEqual([{1, all}], Holding(#{s2s_access => none})),
     ?_assertEqual([{2, all}], Holding(#{s2s_use_starttls => required})),
     ?_assertEqual([], Holding(#{s2s_use_starttls => optional})),
     ?_assertEqual([{3, all}], Holding(#{modules => []})),
     ?_assertEqual([], Holding(#{s2s_access => few, access_rules => [{few, [{allow, [{acl, all}]}]}]})),
     ?_assertEqual([{1, [<<>>, <<"a.test">>, <<"*.b.test">>]}], Holding(#{s2s_access => nowhere})),
     ?_assertEqual([{1, [<<>>, <<"a.test">>, <<"*.b.test">>]}], Holding(#{s2s_access => few, access_rules => [{few, [{deny, [{acl, all}]}]}]})),
     ?_assertMatch([_], maps:get(issues, s2s_partners_config_constraints:collect(
                                           <<"h.test">>, fun(shaper_rules, _) -> [{max_s2s_connections, [{3, [{acl, all}]}]}];
                                                            (Name, _) -> maps:get(Name, Options) end, Partners)))].
