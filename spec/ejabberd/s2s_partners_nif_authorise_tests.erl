%%% Every row of fixtures/authorisation.tsv through the NIF, facts handed in as they are asked for.
-module(s2s_partners_nif_authorise_tests).

-include_lib("eunit/include/eunit.hrl").

-define(NIF, s2s_partners_nif).
-define(FACTS, [access, account, listed, directed, requested, standing, blocked, contacts, waiting]).

fixture_test_() ->
    {timeout, 120, fun() ->
                           {Rows, Policies} = {rows(), ets:new(policies, [])},
                           ?assert(length(Rows) > 2000),
                           lists:foreach(fun(Row) -> check(Row, Policies) end, Rows)
                   end}.

rows() ->
    {ok, Bytes} = file:read_file(filename:join(os:getenv("S2S_PARTNERS_SOURCE"), "fixtures/authorisation.tsv")),
    [Head | Lines] = [binary:split(Line, <<"\t">>, [global]) || Line <- binary:split(Bytes, <<"\n">>, [global, trim])],
    Names = [binary_to_atom(Name) || Name <- Head],
    [maps:from_list(lists:zip(Names, Line)) || Line <- Lines].

%% What does not apply has "-": either value of a setting must then do.
check(#{presence_authorization := <<"-">>} = Row, Policies) ->
    [check(Row#{presence_authorization := Word}, Policies) || Word <- [<<"automatic">>, <<"user">>]];
check(Row, Policies) ->
    Found = answer(Row, policy(Row, Policies), question(Row)),
    ?assertEqual({expected(Row), Row}, {Found, Row}).

expected(#{verdict := <<"allow">>, change := <<"none">>}) -> allow;
expected(#{verdict := <<"allow">>, change := Change}) -> {allow, binary_to_atom(Change)};
expected(#{verdict := <<"refuse">>, reason := Reason, reply := Reply}) ->
    {refuse, binary_to_atom(Reason), binary_to_atom(binary:replace(Reply, <<"-">>, <<"_">>, [global]))}.

policy(#{partner_type := Type, group_chat := Chat, presence_authorization := Presence}, Policies) ->
    Key = {Type, Chat, Presence},
    case ets:lookup(Policies, Key) of
        [{_, Policy}] -> Policy;
        [] ->
            Automatic = case {Type, Presence} of
                            {<<"public_unverified">>, _} -> [];
                            _ -> [{<<"presence_authorization">>, Presence}]
                        end,
            Entry = {mapping, [{<<"domain">>, <<"fabrikam.com">>}, {<<"partner_type">>, Type}, {<<"group_chat">>, Chat} | Automatic]},
            {ok, Table, _} = ?NIF:compile(#{lists => [{<<"partners">>, {list, [Entry]}}]}),
            {ok, Policy, _} = ?NIF:compile_policy(Table, #{}),
            ets:insert(Policies, {Key, Policy}),
            Policy
    end.

question(#{direction := Direction, stanza := Stanza, local := Local, blocked := Blocked}) ->
    ?NIF:question(case Direction of <<"in">> -> incoming; <<"out">> -> outgoing end, binary_to_atom(Stanza), binary_to_atom(Local),
                  Blocked =/= <<"-">>).

%% Access that the row names is handed in; otherwise the policy allows it.
answer(#{access := Access} = Row, Policy, Question) when Access =/= <<"-">> ->
    ask(Row, Policy, ?NIF:fact(Question, access, binary_to_atom(Access)));
answer(Row, Policy, Question) ->
    ask(Row, Policy, Question).

ask(Row, Policy, Question) ->
    case ?NIF:authorise(Policy, <<"Fabrikam.COM.">>, <<"alice">>, Question) of
        allow -> allow;
        allow_without_events -> allow;
        {allow, Change, Events} when is_boolean(Events) -> {allow, Change};
        {refuse, Reason, Rule, Reply} ->
            ?assert(is_binary(Rule) andalso Rule =/= <<>>),
            {refuse, Reason, Reply};
        Fact ->
            ?assert(lists:member(Fact, ?FACTS)),
            Value = maps:get(Fact, Row),
            ?assertNotEqual({<<"-">>, Fact}, {Value, Fact}), % what does not apply is never asked for
            ask(Row, Policy, ?NIF:fact(Question, Fact, binary_to_atom(Value)))
    end.

access_is_the_policy_s_test() ->
    Entry = {mapping, [{<<"domain">>, <<"fabrikam.com">>}, {<<"partner_type">>, <<"federated">>}]},
    {ok, Table, []} = ?NIF:compile(#{lists => [{<<"partners">>, {list, [Entry]}}]}),
    {ok, Policy, []} = ?NIF:compile_policy(Table, #{external_access => {mapping, [{<<"users">>, {mapping, [{<<"intern">>, <<"deny">>}]}}]}}),
    Question = ?NIF:question(outgoing, message, user, false),
    ?assertMatch({refuse, 'external-access-denied', _, error}, ?NIF:authorise(Policy, <<"fabrikam.com">>, <<"intern">>, Question)),
    ?assertMatch({refuse, 'external-access-denied', _, error}, ?NIF:authorise(Policy, <<"fabrikam.com">>, <<>>, Question)),
    ?assertEqual(allow, ?NIF:authorise(Policy, <<"fabrikam.com">>, <<"alice">>, Question)),
    ?assertEqual(denied, ?NIF:external_access(Policy, <<"fabrikam.com">>, <<"intern">>)),
    ?assertEqual(denied, ?NIF:external_access(Policy, none, <<"intern">>)),
    ?assertEqual(allowed, ?NIF:external_access(Policy, none, <<"alice">>)),
    ?assertEqual(denied, ?NIF:external_access(Policy, <<"unlisted.example">>, <<"alice">>)),
    ?assertMatch({refuse, 'unlisted-domain', _, error}, ?NIF:authorise(Policy, <<"unlisted.example">>, <<"alice">>, Question)),
    ?assertMatch({refuse, 'unlisted-domain', _, error}, ?NIF:authorise(Policy, <<0, 255>>, <<"alice">>, Question)),
    ?assertMatch({refuse, 'config-invalid', _, error}, ?NIF:authorise(none, <<"fabrikam.com">>, <<"alice">>, Question)),
    ?assertError(badarg, ?NIF:authorise(make_ref(), <<"fabrikam.com">>, <<"alice">>, Question)).

%% Any integer that somebody might make: nothing but an answer, and nothing that question/4 does not make is allowed.
any_question_is_answered_test() ->
    Entry = {mapping, [{<<"domain">>, <<"fabrikam.com">>}, {<<"partner_type">>, <<"federated">>}]},
    {ok, Table, []} = ?NIF:compile(#{lists => [{<<"partners">>, {list, [Entry]}}]}),
    {ok, Policy, []} = ?NIF:compile_policy(Table, #{}),
    rand:seed(exsss, {1, 2, 3}),
    [begin
         Question = rand:uniform(1 bsl 60) - 1,
         Answer = ?NIF:authorise(Policy, <<"fabrikam.com">>, <<"alice">>, Question),
         Kind = (Question bsr 1) band 31,
         Kind =:= 0 orelse Kind > 18 andalso ?assertMatch({refuse, _, _, _}, Answer)
     end || _ <- lists:seq(1, 20000)],
    ?assertError(badarg, ?NIF:authorise(Policy, <<"fabrikam.com">>, <<"alice">>, -1)).

words_test() ->
    ?assertError(badarg, ?NIF:question(incoming, letter, user, false)),
    ?assertError(badarg, ?NIF:question(sideways, message, user, false)),
    ?assertError(badarg, ?NIF:fact(0, listed, exists)),
    ?assertError(badarg, ?NIF:fact(0, nothing, yes)),
    ?assertEqual([message, message, groupchat, presence, subscribe, 'iq-get', unknown, unknown, unknown],
                 [?NIF:stanza_kind(Name, Type) || {Name, Type} <- [{message, normal}, {<<"message">>, <<>>}, {message, groupchat},
                                                                   {presence, available}, {presence, subscribe}, {iq, get},
                                                                   {iq, undefined}, {letter, get}, {presence, <<"moon">>}]]).
