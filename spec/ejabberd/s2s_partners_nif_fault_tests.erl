%%% Every allocation of every call, made to fail in turn: nothing is half done, nothing is lost, and nothing is allowed by it.
-module(s2s_partners_nif_fault_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("public_key/include/public_key.hrl").

-define(NIF, s2s_partners_nif).

%% The calls that allocate, each with what it must never say when memory is short.
faults_test_() ->
    [{Words, {timeout, 120, fun() -> each_allocation(Call) end}}
     || {Words, Call} <- [{"a table", fun table/0}, {"a policy", fun policy/0}, {"constraints", fun constraints/0}, {"a stream", fun stream/0},
                          {"issues", fun issues/0}, {"a store", fun store/0}, {"a judgement", fun judge/0},
                          {"what was valid", fun judged/0}]].

each_allocation(Call) ->
    ?NIF:fail_after(-1),
    Whole = Call(),
    collect(),
    Before = ?NIF:counts(),
    Failures = each_allocation(Call, Whole, 0),
    ?assert(Failures > 0),
    ?assertEqual([], settled(Before, 2000)),
    ?assertEqual(Whole, Call()).

each_allocation(Call, Whole, Count) when Count < 2000 ->
    ?NIF:fail_after(Count),
    Result = try Call() catch error:Reason -> {raised, Reason} end,
    Failed = ?NIF:has_failed(),
    ?NIF:fail_after(-1),
    case Failed of
        false ->
            ?assertEqual(Whole, Result),
            Count;
        true ->
            %% It may do without what failed (memory given back, a smaller block), but never say anything else.
            ?assert(lists:member(Result, [Whole, no_memory, {raised, no_memory}, {unknown, refused}])),
            each_allocation(Call, Whole, Count + 1)
    end.

%% What there is more of than before. A resource that was last seen on a dirty scheduler is given back when that comes to it, one that was there
%% before as well: fewer are no loss.
settled(Before, Tries) ->
    collect(),
    case [{What, Number, Now} || {What, Number} <- maps:to_list(Before), Now <- [maps:get(What, ?NIF:counts())], Now > Number] of
        [] -> [];
        More when Tries =:= 0 -> More;
        _ -> settled(Before, Tries - 1)
    end.

collect() ->
    erlang:garbage_collect(),
    timer:sleep(10).

values(Count) ->
    {list, [{mapping, [{<<"domain">>, <<"p", (integer_to_binary(N))/binary, ".example">>}, {<<"partner_type">>, <<"federated">>},
                       {<<"description">>, <<"a partner">>}, {<<"proxy">>, <<"192.0.2.1:5269">>},
                       {<<"additional_domains">>, {list, [<<"*.p", (integer_to_binary(N))/binary, ".example">>]}},
                       {<<"external_access">>, {mapping, [{<<"users">>, {mapping, [{<<"intern">>, <<"deny">>}]}}]}},
                       {<<"pinned_keys">>, {list, [<<"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=">>]}}]} || N <- lists:seq(1, Count)]}.

outcome({ok, Object, Issues}, Then) ->
    case Then(Object) of
        no_memory -> no_memory;
        Result -> {ok, Result, length(Issues)}
    end;
outcome({error, [#{code := <<"no-memory">>}]}, _) -> no_memory;
outcome({error, <<"not enough memory">>}, _) -> no_memory;
outcome({error, Issues}, _) -> {error, Issues}.

compiled() ->
    ?NIF:compile(#{locals => [<<"contoso.test">>], lists => [{<<"partners">>, values(5)}]}).

table() ->
    outcome(compiled(), fun(Table) -> length(?NIF:table_partners(Table)) end).

policy() ->
    outcome(compiled(),
            fun(Table) ->
                    outcome(?NIF:compile_policy(Table, #{limits => {mapping, [{<<"connections">>, 50}]},
                                                         default => {mapping, [{<<"partner_type">>, <<"public_unverified">>}]},
                                                         external_access => {mapping, [{<<"users">>, {mapping, [{<<"eve">>, <<"deny">>}]}}]}}),
                            fun(Policy) -> maps:get(name, ?NIF:policy_find(Policy, <<"a.p3.example">>)) end)
            end).

constraints() ->
    outcome(compiled(),
            fun(Table) ->
                    Constraint = #{forbids => [tls_dialback], fact => <<"a fact">>, remedy => <<"do it for {domain}">>, path => <<"modules">>,
                                   lost => <<"gone for {partners}">>},
                    outcome(?NIF:compile_policy(Table, #{constraints => [Constraint],
                                                         holding => [{1, [<<"p1.example">>, <<"p2.example">>, <<>>]}]}),
                            fun(Policy) -> length(?NIF:policy_partners(Policy)) end)
            end).

issues() ->
    outcome(?NIF:compile(#{issues => [{error, <<"option">>, <<"p">>, <<"g">>, <<"e">>}],
                           lists => [{<<"partners">>, {list, [{mapping, [{<<"domain">>, <<"x">>}, {<<"tsl">>, 1}]}]}}]}), fun(_) -> ok end).

stream() ->
    Stream = ?NIF:stream_new(incoming, none, 0, false),
    maps:get(stage, ?NIF:stream_view(Stream)).

anchors() ->
    <<"/etc/ssl/certs/ca-certificates.crt">>.

store() ->
    outcome(?NIF:trust_store(#{anchors => own_anchor(), now => erlang:system_time(second)}), fun(_) -> ok end).

%% One authority of the system's bundle, so that there is something valid to read.
own_anchor() ->
    Path = filename:join(os:getenv("S2S_PARTNERS_PRIV"), "one-anchor-" ++ os:getpid() ++ ".pem"),
    {ok, Bundle} = file:read_file(anchors()),
    [First | _] = public_key:pem_decode(Bundle),
    ok = file:write_file(Path, public_key:pem_encode([First])),
    list_to_binary(Path).

judge() ->
    {Verdict, _, _} = ?NIF:judge(#{chain => [], store => kept_store(), domain => <<"x.example">>, policy => none, now => 1}),
    case Verdict of
        unknown -> {unknown, refused};
        Other -> Other
    end.

%% A valid chain by a store of its own, with the memory that it is kept in. What cannot be kept is judged anew.
judged() ->
    {Path, Chain, Domain} = valid_chain(),
    Now = erlang:system_time(second),
    outcome(?NIF:trust_store(#{anchors => Path, now => Now}),
            fun(Store) ->
                    Question = #{chain => Chain, store => Store, domain => Domain, policy => none, now => Now},
                    case ?NIF:judge(Question) of
                        {unknown, _, _} -> no_memory;
                        {Verdict, _, _} = Answer ->
                            %% It is remembered as it was, or not at all.
                            ?assert(lists:member(?NIF:judged(Question), [none, Answer])),
                            Verdict
                    end
            end).

valid_chain() ->
    case get(valid_chain) of
        undefined ->
            Domain = "x.example",
            Key = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
            Names = #'Extension'{extnID = ?'id-ce-subjectAltName', extnValue = [{dNSName, Domain}], critical = false},
            Data = public_key:pkix_test_data(#{root => Key, intermediates => [], peer => [{extensions, [Names]} | Key]}),
            Path = filename:join(os:getenv("S2S_PARTNERS_PRIV"), "test-anchor-" ++ os:getpid() ++ ".pem"),
            ok = file:write_file(Path, public_key:pem_encode([{'Certificate', Der, not_encrypted} || Der <- proplists:get_value(cacerts, Data)])),
            put(valid_chain, {list_to_binary(Path), [proplists:get_value(cert, Data)], list_to_binary(Domain)}),
            get(valid_chain);
        Known ->
            Known
    end.

kept_store() ->
    case get(store) of
        undefined ->
            {ok, Store, _} = ?NIF:trust_store(#{anchors => own_anchor(), now => erlang:system_time(second)}),
            put(store, Store),
            Store;
        Store ->
            Store
    end.
