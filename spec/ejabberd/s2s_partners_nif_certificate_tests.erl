%%% Certificates through the NIF: verdicts, and intermediates that are learned from handshakes of ejabberd's own TLS library.
-module(s2s_partners_nif_certificate_tests).

-include_lib("eunit/include/eunit.hrl").

-define(NIF, s2s_partners_nif).
-define(DOMAIN, <<"fabrikam.test">>).

%% What each kind gets when all of its chain is handed in.
kinds() ->
    [{"good", valid}, {"expired", expired}, {"not-yet-valid", 'not-yet-valid'}, {"wrong-name", 'identity-mismatch'},
     {"self-signed", untrusted}, {"untrusted-ca", untrusted}, {"namesake-ca", untrusted}, {"intermediate", valid},
     {"sub-intermediate", valid}, {"missing-intermediate", untrusted}, {"reversed-chain", valid}, {"doubled-chain", valid},
     {"strangers-in-chain", valid}, {"expired-issuer", expired}, {"expired-untrusted", untrusted}, {"sibling", valid}].

verdicts_test_() ->
    {setup, fun make/0, fun clean/1,
     fun(Directory) ->
             Store = store(Directory),
             [{Kind, fun() -> judged(Directory, Kind, Verdict, Store) end} || {Kind, Verdict} <- kinds()]
                 ++ [{"what is no certificate", fun() -> malformed(Store) end},
                     {"policy and pins", fun() -> pins(Directory, Store) end},
                     {"reports", fun() -> report(Directory, Store) end},
                     {"stores", fun() -> stores(Directory) end},
                     {"our own", fun() -> own(Directory, Store) end},
                     {"revocation", fun() -> revocation(Directory, Store) end},
                     {"what was valid is remembered, for this question alone", fun() -> remembered(Directory) end},
                     {"and forgotten in time", fun() -> forgotten_in_time(Directory) end},
                     {"and with a revocation list", fun() -> remembered_with_lists(Directory) end},
                     {"never more of it than has room", {timeout, 60, fun() -> remembered_many(Directory) end}}]
     end}.

learned_test_() ->
    {setup, fun make/0, fun clean/1,
     fun(Directory) ->
             {inorder, [{Words, {timeout, 120, fun() -> Test(Directory) end}}
                        || {Words, Test} <- [{"a leaf alone, after its handshake", fun learned/1},
                                             {"what has expired is called so", fun past/1},
                                             {"nobody else gets in", fun strangers/1},
                                             {"forgotten with its anchors", fun forgotten/1},
                                             {"nobody takes the room of another", fun flooded/1}]]}
     end}.

judged(Directory, Kind, Verdict, Store) ->
    ?assertEqual({Kind, Verdict}, {Kind, verdict(chain(Directory, Kind), Store)}).

make() ->
    Directory = string:trim(os:cmd("mktemp -d")),
    Names = lists:usort([Kind || {Kind, _} <- kinds()] ++ ["third-ca", "p-384"]),
    Command = [os:getenv("S2S_PARTNERS_SOURCE"), "/spec/lab/make-certificates ", Directory,
               [[" fabrikam.test:", Kind] || Kind <- Names], " contoso.test:good crl:good:good:fabrikam.test:good"],
    Output = os:cmd("env -u LD_PRELOAD " ++ lists:flatten(Command) ++ " >/dev/null || echo failed"),
    ?assertEqual("", Output),
    Directory.

clean(Directory) ->
    os:cmd("rm -r '" ++ Directory ++ "'").

file(Directory, Kind) ->
    filename:join(Directory, "fabrikam.test." ++ Kind ++ ".crt").

chain(Directory, Kind) ->
    {ok, Pem} = file:read_file(file(Directory, Kind)),
    [Der || {'Certificate', Der, _} <- public_key:pem_decode(Pem)].

store(Directory) ->
    {ok, Store, []} = ?NIF:trust_store(#{anchors => anchors(Directory, "ca"), now => now_seconds()}),
    Store.

anchors(Directory, Name) ->
    list_to_binary(filename:join([Directory, "issuers", Name ++ ".pem"])).

now_seconds() ->
    erlang:system_time(second).

verdict(Chain, Store) ->
    verdict(Chain, Store, none).

verdict(Chain, Store, Policy) ->
    {Verdict, Cause, #{verdict := Verdict}} = ?NIF:judge(#{chain => Chain, store => Store, domain => ?DOMAIN, policy => Policy,
                                                           now => now_seconds()}),
    ?assert(is_binary(Cause) andalso Cause =/= <<>>),
    Verdict.

malformed(Store) ->
    ?assertEqual('no-certificate', verdict([], Store)),
    [?assertEqual(malformed, verdict(Chain, Store)) || Chain <- [[<<>>], [<<"rubbish">>], [binary:copy(<<0>>, 300000)],
                                                                  lists:duplicate(21, <<"x">>), lists:duplicate(5000, <<"x">>)]],
    [?assertError(badarg, ?NIF:judge(Question)) || Question <- [x, #{}, #{chain => x, store => Store, domain => <<>>, policy => none, now => 0},
                                                               #{chain => [1], store => Store, domain => <<>>, policy => none, now => 0}]],
    ?assertEqual(unknown, verdict([<<"x">>], none)).

policy(Entry) ->
    {ok, Table, _} = ?NIF:compile(#{lists => [{<<"p">>, {list, [{mapping, [{<<"domain">>, ?DOMAIN}, {<<"partner_type">>, <<"federated">>} | Entry]}]}}]}),
    {ok, Policy, _} = ?NIF:compile_policy(Table, #{}),
    Policy.

pins(Directory, Store) ->
    [Leaf] = Good = chain(Directory, "good"),
    {ok, [#{pin := Pin, authority := false}]} = ?NIF:certificate_pins(Leaf),
    [Other] = chain(Directory, "expired"),
    {ok, [#{pin := Wrong}]} = ?NIF:certificate_pins(Other),
    Pinned = fun(Pins) -> policy([{<<"pinned_keys">>, {list, Pins}}]) end,
    ?assertEqual(valid, verdict(Good, Store, Pinned([Wrong, Pin]))),
    ?assertEqual('pin-mismatch', verdict(Good, Store, Pinned([Wrong]))),
    {unknown, _, _} = ?NIF:judge(#{chain => Good, store => Store, domain => <<"contoso.test">>, policy => policy([]), now => now_seconds()}),
    ?assertEqual(error, ?NIF:certificate_pins(<<"rubbish">>)).

report(Directory, Store) ->
    {'identity-mismatch', _, Report} = ?NIF:judge(#{chain => chain(Directory, "wrong-name"), store => Store, domain => ?DOMAIN, policy => none,
                                                    now => now_seconds()}),
    ?assertMatch(#{presented := 1, learned := 0, name_count := 1, names := [{dns, <<"somebody-else.test">>, different}], pins := [_ | _],
                   subject := _, issuer := _, not_after := _, chain_not_after := _, links := <<_, _/binary>>}, Report).

stores(Directory) ->
    {error, Missing} = ?NIF:trust_store(#{anchors => <<"/nowhere/ca.pem">>, now => 0}),
    ?assertNotEqual(nomatch, string:find(Missing, <<"/nowhere/ca.pem">>)),
    ?assertError(badarg, ?NIF:trust_store(#{anchors => <<"a\0b">>, now => 0})),
    ?assertError(badarg, ?NIF:trust_store(#{anchors => <<"a">>})),
    ?assertMatch(#{count := 1, not_after := _}, ?NIF:trust_store_facts(store(Directory))),
    ?assertError(badarg, ?NIF:trust_store_facts(make_ref())).

own(Directory, Store) ->
    [Leaf | _] = chain(Directory, "good"),
    ?assertMatch({ok, #{names_domain := true, key_strong := true, self_signed := false}}, ?NIF:own_certificate(Leaf, ?DOMAIN)),
    ?assertEqual(error, ?NIF:own_certificate(<<"rubbish">>, ?DOMAIN)),
    Own = fun(Kind) -> ?NIF:own_chain(#{chain => chain(Directory, Kind), store => Store, domain => ?DOMAIN, now => now_seconds()}) end,
    ?assertMatch({ok, #{verdict := valid, findings := []}}, Own("intermediate")),
    ?assertMatch({ok, #{verdict := untrusted, findings := [#{fault := 'missing-issuer'}]}}, Own("missing-intermediate")).

revocation(Directory, Store) ->
    Path = list_to_binary(filename:join(Directory, "good.crl")),
    {ok, Crl, []} = ?NIF:crl_read(Path),
    ?assertMatch(#{lists := 1, entries := 1, next_update := _}, ?NIF:crl_facts(Crl)),
    Policy = policy([{<<"revocation">>, <<"required">>}]),
    Judge = fun(Chain, Crls) -> ?NIF:judge(#{chain => Chain, store => Store, domain => ?DOMAIN, policy => Policy, crls => Crls, now => now_seconds()}) end,
    ?assertMatch({'revocation-unknown', _, _}, Judge(chain(Directory, "good"), [])),
    {revoked, _, #{links := Links}} = Judge(chain(Directory, "good"), [Crl]),
    ?assert(?NIF:crl_mentions(Crl, Links)),
    ?assert(?NIF:crl_same(Crl, Crl)),
    ?assertEqual(ok, ?NIF:crl_follows(Crl, Crl, now_seconds())),
    ?assertEqual(0, ?NIF:crl_begins(Crl, now_seconds())),
    ?assertError(badarg, Judge(chain(Directory, "good"), [x])),
    {error, Message} = ?NIF:crl_read(<<"/nowhere/x.crl">>),
    ?assertNotEqual(nomatch, string:find(Message, <<"/nowhere/x.crl">>)).

%%% What is remembered

question(Chain, Store) ->
    #{chain => Chain, store => Store, domain => ?DOMAIN, policy => none, now => now_seconds()}.

remembered(Directory) ->
    Store = store(Directory),
    [Leaf] = Good = chain(Directory, "good"),
    Question = question(Good, Store),
    ?assertEqual(none, ?NIF:judged(Question)),
    Answer = {valid, _, _} = ?NIF:judge(Question),
    ?assertEqual(Answer, ?NIF:judged(Question)),
    {ok, [#{pin := Pin}]} = ?NIF:certificate_pins(Leaf),
    Pinned = policy([{<<"pinned_keys">>, {list, [Pin]}}]),
    Others = [Question#{store := store(Directory)}, Question#{store := none}, Question#{domain := <<"contoso.test">>}, Question#{domain := <<>>},
              Question#{chain := []}, Question#{chain := Good ++ Good}, Question#{chain := [<<Leaf/binary, 0>>]},
              Question#{chain := [binary:part(Leaf, 0, byte_size(Leaf) - 1)]}, Question#{chain := lists:duplicate(21, Leaf)},
              Question#{chain := [binary:copy(<<0>>, 70000)]}, Question#{policy := Pinned},
              Question#{policy := policy([{<<"revocation">>, <<"required">>}])}],
    [?assertEqual({N, none}, {N, ?NIF:judged(Other)}) || {N, Other} <- lists:enumerate(Others)],
    %% A policy with the same pins, which a reload makes, asks the same.
    {valid, _, _} = ?NIF:judge(Question#{policy := Pinned}),
    ?assertMatch({valid, _, _}, ?NIF:judged(Question#{policy := policy([{<<"pinned_keys">>, {list, [Pin]}}, {<<"description">>, <<"x">>}])})),
    ?assertEqual(none, ?NIF:judged(Question#{domain := <<"contoso.test">>, policy := Pinned})),
    [?assertError(badarg, ?NIF:judged(Wrong)) || Wrong <- [x, #{}, Question#{chain := x}, Question#{chain := [1]}]],
    %% What is not valid is judged each time.
    [begin
         Bad = question(chain(Directory, Kind), Store),
         {Verdict, _, _} = ?NIF:judge(Bad),
         ?assertEqual({Kind, none}, {Kind, ?NIF:judged(Bad)})
     end || {Kind, Verdict} <- kinds(), Verdict =/= valid].

forgotten_in_time(Directory) ->
    Question = #{now := Now} = question(chain(Directory, "good"), store(Directory)),
    {valid, _, #{chain_not_after := End}} = ?NIF:judge(Question),
    ?assertMatch({valid, _, _}, ?NIF:judged(Question#{now := Now + 599})),
    [?assertEqual({Later, none}, {Later, ?NIF:judged(Question#{now := Now + Later})}) || Later <- [600, -1, 100000]],
    %% Judged shortly before its end, it is valid no longer than that.
    Late = Question#{now := End - 10},
    {valid, _, _} = ?NIF:judge(Late),
    ?assertMatch({valid, _, _}, ?NIF:judged(Late#{now := End - 1})),
    ?assertEqual(none, ?NIF:judged(Late#{now := End})),
    ?assertMatch({expired, _, _}, ?NIF:judge(Late#{now := End + 1})).

%% The list of the lab names the certificate "good" as revoked and covers all others of that authority.
remembered_with_lists(Directory) ->
    Path = list_to_binary(filename:join(Directory, "good.crl")),
    {ok, Crl, []} = ?NIF:crl_read(Path),
    {ok, Again, []} = ?NIF:crl_read(Path),
    #{next_update := Next} = ?NIF:crl_facts(Crl),
    Policy = policy([{<<"revocation">>, <<"if_known">>}]),
    Without = (question(chain(Directory, "good"), store(Directory)))#{policy := Policy},
    {valid, _, _} = ?NIF:judge(Without),
    ?assertEqual(none, ?NIF:judged(Without#{crls => [Crl]})),
    ?assertMatch({revoked, _, _}, ?NIF:judge(Without#{crls => [Crl]})),
    Other = Without#{chain := chain(Directory, "p-384"), crls => [Crl]},
    {valid, _, #{revocation_until := Next}} = ?NIF:judge(Other),
    ?assertMatch({valid, _, _}, ?NIF:judged(Other)),
    %% The same file read anew is another list, and so is none.
    [?assertEqual({N, none}, {N, ?NIF:judged(Other#{crls := Crls})}) || {N, Crls} <- lists:enumerate([[Again], [], [Crl, Again]])],
    ?assertEqual(none, ?NIF:judged(Other#{crls := lists:duplicate(65, Crl)})),
    %% With the list's time ends what it covers.
    Late = Other#{now := Next - 10},
    {valid, _, _} = ?NIF:judge(Late),
    ?assertMatch({valid, _, _}, ?NIF:judged(Late#{now := Next - 1})),
    ?assertEqual(none, ?NIF:judged(Late#{now := Next})),
    ?assertError(badarg, ?NIF:judged(Other#{crls := [x]})).

%% The domain is part of what is asked: many wildcards, one certificate each. Nothing grows, and what is known is right.
remembered_many(Directory) ->
    Store = store(Directory),
    Question = question(chain(Directory, "good"), Store),
    #{bytes := Before} = ?NIF:counts(),
    [begin
         Pin = base64:encode(crypto:hash(sha256, <<N:32>>)),
         {ok, [#{pin := Own}]} = ?NIF:certificate_pins(hd(chain(Directory, "good"))),
         Asked = Question#{policy := policy([{<<"pinned_keys">>, {list, [Own, <<"sha256//", Pin/binary>>]}}])},
         {valid, _, _} = ?NIF:judge(Asked),
         ?assertMatch({valid, _, _}, ?NIF:judged(Asked))
     end || N <- lists:seq(1, 60)],
    collected(fun() -> #{bytes := After} = ?NIF:counts(), After - Before end, fun(More) -> More < 4096 end),
    true = is_reference(Store).

%% What a dirty scheduler has seen last is given back when that comes to it.
collected(Look, Wanted) ->
    collected(Look, Wanted, 400).

collected(Look, Wanted, Tries) ->
    erlang:garbage_collect(),
    timer:sleep(50),
    Seen = Look(),
    case Wanted(Seen) of
        true -> ok;
        false when Tries =:= 0 -> error({left, Seen});
        false -> collected(Look, Wanted, Tries - 1)
    end.

%%% What is learned

%% The leaf alone is what the TLS library gives out.
learned(Directory) ->
    Store = store(Directory),
    [?assertEqual({Kind, untrusted}, {Kind, verdict([hd(chain(Directory, Kind))], Store)}) || Kind <- ["intermediate", "sub-intermediate"]],
    #{status := ok, kept := 0, admitted := Before} = ?NIF:learned(),
    ?assertEqual({ok, valid}, shown(Directory, "intermediate", client, Store)),
    ?assertEqual({1, Before + 1}, kept()),
    ?assertEqual({ok, valid}, shown(Directory, "sub-intermediate", server, Store)),
    ?assertEqual({2, Before + 2}, kept()),
    %% Learned once, for everybody that it has certified; and no longer chain than there may be.
    ?assertEqual(valid, verdict([hd(chain(Directory, "intermediate"))], Store)),
    ?assertEqual(valid, verdict(chain(Directory, "intermediate") ++ lists:duplicate(18, hd(chain(Directory, "good"))), Store)),
    ?assertEqual(untrusted, verdict([hd(chain(Directory, "sibling"))], Store)),
    %% Hints make nothing valid.
    {ok, Other, []} = ?NIF:trust_store(#{anchors => anchors(Directory, "other"), now => now_seconds()}),
    {untrusted, _, #{learned := 0}} = ?NIF:judge(#{chain => [hd(chain(Directory, "intermediate"))], store => Other, domain => ?DOMAIN,
                                                   policy => none, now => now_seconds()}),
    true = is_reference(Store).

kept() ->
    #{kept := Kept, admitted := Admitted} = ?NIF:learned(),
    {Kept, Admitted}.

%% An intermediate that has expired is learned for the verdict's word.
past(Directory) ->
    Store = store(Directory),
    Leaf = hd(chain(Directory, "expired-issuer")),
    ?assertEqual(untrusted, verdict([Leaf], Store)),
    [?assertEqual({ok, expired}, shown(Directory, "expired-issuer", Side, Store)) || Side <- [client, server]],
    ?assertEqual(expired, verdict([Leaf], Store)),
    true = is_reference(Store).

strangers(Directory) ->
    Store = store(Directory),
    {ok, valid} = shown(Directory, "intermediate", client, Store),
    #{kept := Kept, admitted := Admitted} = ?NIF:learned(),
    Kinds = ["untrusted-ca", "third-ca", "namesake-ca", "self-signed", "strangers-in-chain", "doubled-chain"],
    [shown(Directory, Kind, Side, Store) || Kind <- Kinds, Side <- [client, server]],
    ?assertMatch(#{kept := Kept, admitted := Admitted}, ?NIF:learned()),
    %% Junk of the same name, over and over.
    [shown(Directory, "namesake-ca", client, Store) || _ <- lists:seq(1, 30)],
    ?assertEqual(valid, verdict([hd(chain(Directory, "intermediate"))], Store)),
    true = is_reference(Store).

forgotten(_Directory) ->
    collected(fun() -> {?NIF:learned(), ?NIF:counts()} end,
              fun({#{kept := Kept, bytes := Bytes}, #{stores := Stores}}) -> {Kept, Bytes, Stores} =:= {0, 0, 0} end).

%% An authority that issues without end takes its own share and no more. Three certificates a handshake.
flooded(Directory) ->
    Store = store(Directory),
    {ok, valid} = shown(Directory, "intermediate", client, Store),
    Root = public_key:pkix_test_root_cert("An authority that issues without end", [{key, {namedCurve, secp256r1}}, {digest, sha256}]),
    Path = filename:join(Directory, "endless.pem"),
    ok = file:write_file(Path, public_key:pem_encode([{'Certificate', maps:get(cert, Root), not_encrypted}])),
    {ok, Endless, _} = ?NIF:trust_store(#{anchors => list_to_binary(Path), now => now_seconds()}),
    %% Those that have expired leave first, and do not come back where there is no room.
    Times = {validity, {{1500, 0, 0}, {1600, 0, 0}}},
    [endless(Directory, Root, N, [[Times]], Store) || N <- [101, 102]],
    ?assertMatch(#{kept := 3}, ?NIF:learned()),
    [endless(Directory, Root, N, [[], [], []], Store) || N <- lists:seq(1, 30)],
    #{kept := Kept, evicted := Evicted, bytes := Bytes, admitted := Admitted} = ?NIF:learned(),
    [endless(Directory, Root, N, [[Times]], Store) || N <- [103, 104]],
    ?assertMatch(#{kept := Kept, evicted := Evicted, admitted := Admitted}, ?NIF:learned()),
    ?assertEqual(65, Kept),
    ?assert(Evicted >= 20),
    ?assert(Bytes < 65 * 2048),
    ?assertEqual(valid, verdict([hd(chain(Directory, "intermediate"))], Store)),
    true = is_reference(Endless).

endless(Directory, Root, N, Intermediates, Store) ->
    Key = [{key, {namedCurve, secp256r1}}, {digest, sha256}],
    Data = public_key:pkix_test_data(#{root => Root, intermediates => [Key ++ More || More <- Intermediates], peer => Key}),
    {KeyType, KeyDer} = proplists:get_value(key, Data),
    Chain = [proplists:get_value(cert, Data) | proplists:get_value(cacerts, Data)],
    Name = "fabrikam.test.endless-" ++ integer_to_list(N),
    Pem = public_key:pem_encode([{'Certificate', Der, not_encrypted} || Der <- Chain]),
    ok = file:write_file(filename:join(Directory, Name ++ ".crt"), Pem),
    ok = file:write_file(filename:join(Directory, Name ++ ".key"), public_key:pem_encode([{KeyType, KeyDer, not_encrypted}])),
    shown(Directory, "endless-" ++ integer_to_list(N), client, Store).

%% A handshake of fast_tls with itself over a socket, in which `Side` shows the certificate; what becomes of its leaf.
shown(Directory, Kind, Side, Store) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Bundle = bundle(Directory, "fabrikam.test." ++ Kind),
    Plain = bundle(Directory, "contoso.test.good"),
    {ClientFile, ServerFile} = case Side of client -> {Bundle, Plain}; server -> {Plain, Bundle} end,
    Self = self(),
    Server = spawn_link(fun() ->
                                {ok, Socket} = gen_tcp:accept(Listener),
                                Self ! {self(), handshake(Socket, ServerFile, [])}
                        end),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    Client = handshake(Socket, ClientFile, [connect]),
    Peer = receive {Server, Result} -> Result after 30000 -> timeout end,
    gen_tcp:close(Listener),
    case {Side, Peer, Client} of
        {client, {ok, Der}, _} -> {ok, verdict([Der], Store)};
        {server, _, {ok, Der}} -> {ok, verdict([Der], Store)};
        Other -> Other
    end.

bundle(Directory, Name) ->
    Path = filename:join(Directory, Name ++ ".bundle.pem"),
    {ok, Certificate} = file:read_file(filename:join(Directory, Name ++ ".crt")),
    {ok, Key} = file:read_file(filename:join(Directory, Name ++ ".key")),
    ok = file:write_file(Path, [Certificate, Key]),
    Path.

handshake(Socket, File, More) ->
    {ok, Tls} = fast_tls:tcp_to_tls(Socket, [{certfile, list_to_binary(File)} | More]),
    {ok, <<"hello">>} = case More of
                            [connect] -> ok = fast_tls:send(Tls, <<"hello">>), fast_tls:recv(Tls, 5, 20000);
                            [] -> {ok, Hello} = fast_tls:recv(Tls, 5, 20000), ok = fast_tls:send(Tls, Hello), {ok, Hello}
                        end,
    fast_tls:get_peer_certificate(Tls, der).
