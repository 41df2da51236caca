%%% The border itself: names, streams, elements, texts, and that nothing that comes over it can harm.
-module(s2s_partners_nif_tests).

-include_lib("eunit/include/eunit.hrl").

-define(NIF, s2s_partners_nif).
-define(DOMAIN, <<"fabrikam.test">>).

policy(Entry) ->
    policy(Entry, #{}).

policy(Entry, More) ->
    Type = [{<<"partner_type">>, <<"federated">>} || not lists:keymember(<<"partner_type">>, 1, Entry)],
    Partner = {mapping, [{<<"domain">>, ?DOMAIN}, {<<"additional_domains">>, {list, [<<"*.fabrikam.test">>]}} | Type ++ Entry]},
    {ok, Table, _} = ?NIF:compile(#{lists => [{<<"partners">>, {list, [Partner]}}]}),
    {ok, Policy, _} = ?NIF:compile_policy(Table, More),
    Policy.

now_ms() ->
    erlang:monotonic_time(millisecond).

incoming(Policy) ->
    Stream = ?NIF:stream_new(incoming, Policy, now_ms(), false),
    allow = ?NIF:stream_identify(Stream, ?DOMAIN),
    Stream.

established(Policy) ->
    Stream = incoming(Policy),
    ok = ?NIF:stream_observe(Stream, true, valid),
    allow = ?NIF:stream_authenticated(Stream, sasl, ?DOMAIN),
    allow = ?NIF:stream_established(Stream),
    Stream.

loaded_test() ->
    ?assertEqual(ok, ?NIF:loaded()),
    ?assert(is_binary(?NIF:version())).

names_test() ->
    ?assertEqual({ok, <<"xn--bcher-kva.example">>}, ?NIF:domain(<<"B\x{c3}\x{bc}cher.Example.">>)),
    [?assertMatch({error, Why} when is_binary(Why), ?NIF:domain(Name))
     || Name <- [<<>>, <<"192.0.2.1">>, <<"a..b">>, <<0>>, <<255, 254>>, binary:copy(<<"a.">>, 200), binary:copy(<<"x">>, 1000000)]],
    ?assertError(badarg, ?NIF:domain("fabrikam.test")),
    ?assert(?NIF:same_domain(<<"FABRIKAM.test.">>, ?DOMAIN)),
    ?assertNot(?NIF:same_domain(<<>>, <<>>)),
    ?assertNot(?NIF:same_domain(<<0>>, <<0>>)),
    ?assert(?NIF:has_spellings(<<"xn--bcher-kva.example">>)),
    ?assertNot(?NIF:has_spellings(?DOMAIN)).

%% The 11 valid rows: what is offered and what authenticates follows from the row, and nothing else does.
rows_test_() ->
    Valid = [Row || #{verdict := Verdict} = Row <- ?NIF:rows(), Verdict =/= error],
    [?_assertEqual(18, length(?NIF:rows())), ?_assertEqual(11, length(Valid))
     | [{lists:flatten(io_lib:format("tls ~s, sasl ~s, dialback ~s", [maps:get(Key, Row) || Key <- [tls, sasl, dialback]])),
         fun() -> row(Row) end} || Row <- Valid]].

row(#{tls := Tls, sasl := Sasl, dialback := Dialback, methods := Methods}) ->
    Policy = policy([{<<"tls">>, atom_to_binary(Tls)}, {<<"sasl">>, atom_to_binary(Sasl)}, {<<"dialback">>, Dialback},
                     {<<"partner_type">>, <<"public_unverified">>}]),
    ?assertMatch(#{methods := Methods}, ?NIF:policy_find(Policy, ?DOMAIN)),
    Tcp = lists:member(tcp_dialback, Methods),
    {allow, Clear} = ?NIF:stream_offer(incoming(Policy)),
    ?assertEqual({Tls =/= not_supported, Tcp}, {lists:member(starttls, Clear), lists:member(dialback, Clear)}),
    ?assertNot(lists:member(sasl, Clear)),
    [begin
         Stream = incoming(Policy),
         ok = ?NIF:stream_observe(Stream, Secure, valid),
         May = lists:member(Method, Methods),
         ?assertEqual({Method, May}, {Method, ?NIF:stream_authenticated(Stream, By, ?DOMAIN) =:= allow}),
         ?assertEqual({Method, May}, {Method, ?NIF:stream_established(Stream) =:= allow}),
         #{stage := Stage} = ?NIF:stream_view(Stream),
         ?assertEqual({Method, case May of true -> established; false -> refused end}, {Method, Stage})
     end || {Method, By, Secure} <- [{sasl, sasl, true}, {tls_dialback, dialback, true}, {tcp_dialback, dialback, false}, {none, sasl, false}]],
    Outgoing = ?NIF:stream_new(outgoing, Policy, now_ms(), false),
    allow = ?NIF:stream_identify(Outgoing, ?DOMAIN),
    {Decision, Plan} = ?NIF:stream_plan(Outgoing, none),
    ?assertEqual(Tcp, Decision =:= allow andalso lists:member(dialback, Plan)).

one_pair_test() ->
    Policy = policy([]),
    Stream = incoming(Policy),
    ?assertEqual(allow, ?NIF:stream_identify(Stream, <<"FABRIKAM.test">>)),
    ?assertEqual(?DOMAIN, ?NIF:stream_domain(Stream)),
    %% Another domain of the same partner is another pair.
    ?assertMatch({refuse, 'wrong-domain', _}, ?NIF:stream_identify(Stream, <<"a.fabrikam.test">>)),
    ?assertMatch({refuse, 'wrong-domain', _}, ?NIF:stream_identify(Stream, ?DOMAIN)),
    Other = established(Policy),
    ?assertEqual(allow, ?NIF:stream_stanza(Other, Policy, <<"Fabrikam.test.">>)),
    ?assertMatch({refuse, 'wrong-domain', _}, ?NIF:stream_stanza(Other, Policy, <<"a.fabrikam.test">>)),
    ?assertMatch({refuse, 'wrong-domain', _}, ?NIF:stream_stanza(Other, Policy, ?DOMAIN)),
    Third = incoming(Policy),
    ok = ?NIF:stream_observe(Third, true, valid),
    ?assertMatch({refuse, 'wrong-domain', _}, ?NIF:stream_authenticated(Third, sasl, <<"a.fabrikam.test">>)),
    Nameless = ?NIF:stream_new(incoming, Policy, now_ms(), false),
    ?assertEqual(allow, ?NIF:stream_identify(Nameless, <<>>)),
    ?assertMatch({refuse, 'unlisted-domain', _}, ?NIF:stream_identify(Nameless, <<"192.0.2.1">>)).

without_a_policy_test() ->
    Stream = ?NIF:stream_new(incoming, none, now_ms(), false),
    ?assertEqual(allow, ?NIF:stream_bind(Stream, policy([]))),
    ?assertEqual(allow, ?NIF:stream_identify(Stream, ?DOMAIN)),
    Bare = ?NIF:stream_new(incoming, none, now_ms(), false),
    ?assertEqual(allow, ?NIF:stream_bind(Bare, none)),
    ?assertMatch({refuse, 'config-invalid', _}, ?NIF:stream_identify(Bare, ?DOMAIN)),
    ?assertMatch({{refuse, 'config-invalid', _}, []}, ?NIF:stream_offer(?NIF:stream_new(incoming, none, now_ms(), false))),
    ?assertMatch({refuse, 'config-invalid', _}, ?NIF:route(none, ?DOMAIN, false)),
    Policy = policy([]),
    Twice = ?NIF:stream_new(incoming, Policy, now_ms(), false),
    ?assertEqual(allow, ?NIF:stream_bind(Twice, Policy)),
    ?assertMatch({refuse, 'wrong-domain', _}, ?NIF:stream_bind(Twice, policy([]))).

a_new_policy_test() ->
    Stream = established(policy([])),
    Free = policy([{<<"sasl">>, <<"optional">>}]),
    ?assertEqual(allow, ?NIF:stream_stanza(Stream, Free, ?DOMAIN)),
    ?assertEqual(allow, ?NIF:stream_rejudge(Stream, Free)),
    erlang:garbage_collect(),
    ?assertEqual(?DOMAIN, ?NIF:stream_partner(Stream)),
    Without = policy([{<<"sasl">>, <<"not_supported">>}, {<<"dialback">>, true}]),
    ?assertMatch({refuse, _, _}, ?NIF:stream_stanza(Stream, Without, ?DOMAIN)),
    ?assertMatch({refuse, 'policy-changed', _}, ?NIF:stream_rejudge(Stream, Without)),
    ?assertMatch({refuse, 'policy-changed', _}, ?NIF:stream_rejudge(Stream, Free)),
    Gone = established(policy([])),
    ?assertMatch({refuse, 'config-invalid', _}, ?NIF:stream_rejudge(Gone, none)),
    %% Another host of ours: what the certificate is worth there counts.
    Elsewhere = established(policy([])),
    ?assertEqual(allow, ?NIF:stream_stanza(Elsewhere, Free, ?DOMAIN, valid)),
    ?assertMatch({refuse, _, _}, ?NIF:stream_stanza(Elsewhere, Free, ?DOMAIN, untrusted)),
    ?assertMatch({refuse, _, _}, ?NIF:stream_stanza(Elsewhere, Free, ?DOMAIN, unknown)),
    ?assertMatch({refuse, 'config-invalid', _}, ?NIF:stream_stanza(Elsewhere, none, ?DOMAIN, valid)).

a_record_is_its_process_s_test() ->
    Stream = established(policy([])),
    {Pid, Monitor} = spawn_monitor(fun() -> ?NIF:stream_view(Stream) end),
    ?assertMatch({badarg, _}, receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end),
    ?assertMatch(#{stage := established, domain := ?DOMAIN, method := sasl, tls := true}, ?NIF:stream_view(Stream)).

refused_for_good_test() ->
    Stream = incoming(policy([])),
    ?assertEqual({refuse, 'connection-limit', <<"no place">>}, ?NIF:stream_refuse(Stream, 'connection-limit', <<"no place">>)),
    ?assertMatch({refuse, 'connection-limit', _}, ?NIF:stream_refuse(Stream, 'internal-error', <<"later">>)),
    [?assertMatch({refuse, 'connection-limit', _}, Answer) || Answer <- [?NIF:stream_identify(Stream, ?DOMAIN), ?NIF:stream_auth(Stream),
                                                                        ?NIF:stream_established(Stream), element(1, ?NIF:stream_offer(Stream))]],
    ?assertError(badarg, ?NIF:stream_refuse(Stream, none, <<>>)),
    ?assertError(badarg, ?NIF:stream_refuse(Stream, 'no-such-reason', <<>>)).

places_and_times_test() ->
    Policy = policy([{<<"connection_limit">>, 2}], #{limits => {mapping, [{<<"establishment_timeout">>, 60}, {<<"inactivity_timeout">>, 60}]}}),
    ?assertEqual(allow, ?NIF:place(Policy, ?DOMAIN, 1, 1)),
    ?assertMatch({refuse, 'connection-limit', _}, ?NIF:place(Policy, ?DOMAIN, 2, 2)),
    ?assertMatch({refuse, 'unlisted-domain', _}, ?NIF:place(Policy, <<"other.test">>, 0, 0)),
    Start = -576460751000, % as the emulator's clock has it: below zero
    Stream = ?NIF:stream_new(incoming, Policy, Start, false),
    ?assertEqual({allow, false}, ?NIF:stream_due(Stream, Policy, Start + 59999)),
    ?assertMatch({{refuse, 'establishment-timeout', _}, false}, ?NIF:stream_due(Stream, Policy, Start + 60000)),
    ?assertMatch({{refuse, 'establishment-timeout', _}, false}, ?NIF:stream_due(Stream, none, Start + 60000)),
    Idle = established(Policy),
    Now = now_ms(),
    ok = ?NIF:stream_active(Idle, Now),
    ?assertEqual({allow, false}, ?NIF:stream_due(Idle, Policy, Now + 59999)),
    ?assertMatch({{refuse, 'inactivity-timeout', _}, false}, ?NIF:stream_due(Idle, Policy, Now + 60000)),
    ?assertEqual(takes, ?NIF:stream_place(Idle)),
    ?assertMatch({A, B} when A >= B, ?NIF:waiting_room(Policy)),
    ?assertEqual([no, address, everybody], [?NIF:waiting_crowded({2, 1}, Waiting) || Waiting <- [{2, 1}, {2, 2}, {3, 1}]]),
    ?assertEqual(allow, ?NIF:key_question(0, 0)),
    ?assertMatch({refuse, 'connection-limit', _}, ?NIF:key_question(100000, 0)).

keepalive_test() ->
    Policy = policy([{<<"keepalive">>, true}], #{limits => {mapping, [{<<"keepalive_interval">>, 60}, {<<"inactivity_timeout">>, 6000}]}}),
    Stream = established(Policy),
    Now = now_ms(),
    ok = ?NIF:stream_active(Stream, Now),
    ?assertEqual({allow, true}, ?NIF:stream_due(Stream, Policy, Now + 61000)),
    ok = ?NIF:stream_keepalive_sent(Stream, Now + 61000, true),
    ?assertEqual({allow, false}, ?NIF:stream_due(Stream, Policy, Now + 62000)),
    ?assertMatch({{refuse, 'inactivity-timeout', _}, false}, ?NIF:stream_due(Stream, Policy, Now + 122000)),
    ok = ?NIF:stream_keepalive_answered(Stream),
    ?assertEqual({allow, true}, ?NIF:stream_due(Stream, Policy, Now + 122000)).

el(Name, Attributes, Children) ->
    {xmlel, Name, Attributes, Children}.

handshake(Element) ->
    ?NIF:stream_handshake(incoming(policy([{<<"sasl">>, <<"optional">>}, {<<"dialback">>, true}])), <<"contoso.test">>, Element).

elements_test() ->
    Pair = [{<<"from">>, ?DOMAIN}, {<<"to">>, <<"contoso.test">>}],
    Starttls = [{<<"xmlns">>, <<"urn:ietf:params:xml:ns:xmpp-tls">>}],
    [?assertEqual({Name, stanza}, {Name, handshake(el(Name, [{<<"xmlns">>, <<"jabber:server">>}], []))}) || Name <- [<<"message">>, <<"iq">>, <<"presence">>]],
    ?assertEqual(allow, handshake(el(<<"db:result">>, Pair, [{xmlcdata, <<"abc">>}]))),
    ?assertEqual(allow, handshake(el(<<"starttls">>, Starttls, []))),
    ?assertMatch({refuse, 'wrong-domain', _}, handshake(el(<<"db:result">>, [{<<"from">>, ?DOMAIN}, {<<"to">>, <<"other.test">>}], []))),
    ?assertEqual(allow, handshake(el(<<"db:result">>, [{<<"from">>, ?DOMAIN}, {<<"to">>, <<"Contoso.TEST">>}], [{xmlcdata, <<"abc">>}]))),
    [?assertMatch({refuse, _, _}, handshake(Element))
     || Element <- [el(<<"starttls">>, [], []), el(<<"letter">>, [], []), el(<<>>, [], []), el(<<"message">>, [{<<"xmlns">>, <<"urn:x">>}], []),
                    el(<<"proceed">>, Starttls, []), el(<<"stream:features">>, [], []), el(<<":">>, [], [])]],
    %% Of the stream's own namespace and no stanza: the end before authentication, of no effect after it. A client's is a stanza as
    %% long as nobody is authenticated.
    Client = el(<<"message">>, [{<<"xmlns">>, <<"jabber:client">>}], []),
    ?assertEqual(stanza, handshake(Client)),
    Stream = established(policy([])),
    [?assertEqual({Element, idle}, {Element, ?NIF:stream_handshake(Stream, <<"contoso.test">>, Element)})
     || Element <- [Client, el(<<"letter">>, [], []), el(<<"pre-message">>, [{<<"xmlns">>, <<"jabber:server">>}], [])]],
    ?assertEqual(stanza, ?NIF:stream_handshake(Stream, <<"contoso.test">>, el(<<"iq">>, [{<<"xmlns">>, <<"jabber:server">>}], []))),
    %% Out of shape: an answer of its own protocol, or the end.
    Deep = lists:foldl(fun(_, Inside) -> [el(<<"a">>, [], Inside)] end, [], lists:seq(1, 5000)),
    [?assertMatch({Verdict, _, _} when Verdict =:= wait; Verdict =:= refuse, handshake(el(<<"db:result">>, Attributes, Children)))
     || {Attributes, Children} <- [{Pair, [{xmlcdata, binary:copy(<<"x">>, 10000)}]}, {Pair, [el(<<"a">>, [], [])]}, {Pair, Deep},
                                   {Pair, [el(<<"a">>, [], []) || _ <- lists:seq(1, 3000)]}, {[{<<"x">>, binary:copy(<<"x">>, 5000)} | Pair], []},
                                   {[], []}]],
    %% Another spelling of the prefix is what it says it is.
    ?assertEqual(allow, handshake(el(<<"dialback:result">>, [{<<"xmlns:dialback">>, <<"jabber:server:dialback">>} | Pair], [{xmlcdata, <<"abc">>}]))),
    [?assertError(badarg, handshake(Element)) || Element <- [x, {xmlel, x, [], []}, {xmlcdata, <<"abc">>}, {}]],
    ?assertMatch({_, _, _}, handshake({xmlel, <<"db:result">>, x, y})),
    ?assertMatch({_, _, _}, handshake(el(<<"db:result">>, [x, {1, 2} | Pair], [x | y]))).

texts_test() ->
    ?assertEqual(complete, ?NIF:vocabulary()),
    Reasons = ?NIF:reasons(),
    ?assert(length(Reasons) > 25),
    [begin
         Row = ?NIF:reason(Reason),
         ?assertEqual(atom_to_binary(Reason), maps:get(token, Row)),
         [?assertEqual({Key, nomatch}, {Key, re:run(maps:get(Key, Row), <<"[{}]|prosody|Prosody|lua">>)}) || Key <- [operator, peer, user]]
     end || Reason <- Reasons],
    ?assertMatch(#{token := <<"internal-error">>}, ?NIF:reason('no such reason')),
    ?assertEqual(<<"set tls: required, or ask ejabberdctl s2s_partners_check">>, ?NIF:words(<<"set {tls = required}, or ask {check}">>)).

%% No decision in any state shows a slot: every rule that a stream can be refused by.
rules_have_no_slots_test() ->
    Policies = [none, policy([]), policy([{<<"tls">>, <<"not_supported">>}, {<<"sasl">>, <<"not_supported">>}, {<<"dialback">>, true},
                                          {<<"partner_type">>, <<"public_unverified">>}])],
    [[no_slot(Rule) || #{rule := Rule} <- maps:get(steps, ?NIF:explain_stream(Policy, #{
        direction => Direction, domain => Domain, anonymous => Anonymous, starttls => Tls, sasl => Sasl, dialback => Dialback,
        certificate => Certificate}))]
     || Policy <- Policies, Direction <- [incoming, outgoing], Domain <- [?DOMAIN, <<"other.test">>, <<>>], Anonymous <- [true, false],
        Tls <- [true, false], Sasl <- [true, false], Dialback <- [true, false], Certificate <- [valid, untrusted, expired, unknown]],
    [no_slot(Rule) || {refuse, _, Rule} <- [?NIF:route(Policy, <<"other.test">>, Verify) || Policy <- Policies, Verify <- [true, false]]].

no_slot(Rule) ->
    ?assertEqual({Rule, nomatch}, {Rule, re:run(Rule, <<"[{}]">>)}).

explained_test() ->
    ?assertMatch(#{verdict := allow, method := sasl, tls := true, steps := [#{step := <<"domain">>} | _]},
                 ?NIF:explain_stream(policy([]), #{direction => incoming, domain => ?DOMAIN})),
    ?assertMatch(#{verdict := refuse, reason := 'certificate-expired'},
                 ?NIF:explain_stream(policy([]), #{direction => outgoing, domain => ?DOMAIN, certificate => expired})),
    ?assertError(badarg, ?NIF:explain_stream(policy([]), #{})).

refusals_test() ->
    ?assertEqual(error, ?NIF:reply_to(incoming, message)),
    ?assertEqual(none, ?NIF:reply_to(incoming, 'message-error')),
    ?assertEqual(noted, ?NIF:refused_route(presence, 'not-listed', unknown, unknown)),
    ?assertMatch({_, Forget} when is_boolean(Forget), ?NIF:refused_route(message, 'not-listed', unknown, unknown)),
    ?assertMatch({<<_/binary>>, <<_/binary>>}, ?NIF:dialback_error('unlisted-domain')),
    ?assertEqual(allow, ?NIF:own_way(true, true, false, false)),
    ?assertMatch({refuse, _, _}, ?NIF:own_way(false, true, false, false)),
    ?assert(?NIF:is_service(<<"urn:xmpp:ping">>, <<"ping">>)),
    ?assert(?NIF:is_personal_event(<<"http://jabber.org/protocol/mood">>)),
    ?assertEqual(not_known, ?NIF:answer_is_replaced(false, unknown)),
    ?assertEqual(error, ?NIF:reply_to_malformed(<<"iq">>, <<"moon">>, true)).

%% Every function with every kind of term in every place: an answer or badarg.
any_term_test_() ->
    {timeout, 60, fun() ->
                          Policy = policy([]),
                          Terms = [x, 'wrong-domain', -1, 0, 1 bsl 70, 1.5, <<>>, <<0>>, ?DOMAIN, <<1:1>>, [], [x], [x | y], {}, {1, 2}, #{}, #{chain => x},
                                   self(), make_ref(), fun() -> ok end, Policy, incoming(Policy), none, true],
                          Functions = [F || {Name, _} = F <- ?NIF:module_info(exports),
                                            not lists:member(Name, [module_info, fail_after, has_failed, loaded, load])],
                          ?assert(length(Functions) > 85),
                          rand:seed(exsss, {4, 5, 6}),
                          [ask(Name, [lists:nth(rand:uniform(length(Terms)), Terms) || _ <- lists:seq(1, Arity)])
                           || {Name, Arity} <- Functions, _ <- lists:seq(1, 300)]
                  end}.

ask(Name, Arguments) ->
    try apply(?NIF, Name, Arguments) of
        _ -> ok
    catch
        error:badarg -> ok
    end.

%% Atoms are made at load and by nothing that comes in. Other processes may load code meanwhile: not each time.
atoms_test() ->
    Policy = policy([]),
    ?assertNotEqual([], [Round || Round <- [1, 2, 3], atoms_of_names(Policy, Round) < 10]).

atoms_of_names(Policy, Round) ->
    Before = erlang:system_info(atom_count),
    [begin
         Name = <<"n", (integer_to_binary(Round * 10000 + N))/binary, ".example">>,
         ?NIF:domain(Name), ?NIF:route(Policy, Name, false), ?NIF:stanza_kind(message, Name), ?NIF:is_service(Name, Name),
         ?NIF:stream_identify(?NIF:stream_new(incoming, Policy, 0, false), Name),
         handshake(el(Name, [{<<"xmlns">>, Name}], []))
     end || N <- lists:seq(1, 1000)],
    erlang:system_info(atom_count) - Before.

%% What is no longer referred to is freed.
nothing_is_left_test_() ->
    {timeout, 60, fun nothing_is_left/0}.

nothing_is_left() ->
    #{policies := Policies, streams := Streams, tables := Tables} = ?NIF:counts(),
    Self = self(),
    [begin
         spawn(fun() -> [established(policy([])) || _ <- lists:seq(1, 10)], Self ! done end),
         receive done -> ok end
     end || _ <- lists:seq(1, 10)],
    freed({Policies, Streams, Tables}, 400).

%% The processes may still be at their end, and what a dirty scheduler has seen last is given back when that comes to it.
freed({Policies, Streams, Tables} = Before, Tries) ->
    timer:sleep(50),
    case ?NIF:counts() of
        #{policies := P, streams := S, tables := T} when P =< Policies, S =< Streams, T =< Tables -> ok;
        Counts when Tries =:= 0 -> error({left, Before, Counts});
        _ -> freed(Before, Tries - 1)
    end.

%% A library of another version does not load, and one that is loaded stays.
versions_test() ->
    File = filename:join(os:getenv("S2S_PARTNERS_PRIV"), "s2s_partners"),
    ?assertMatch({error, {_, _}}, erlang:load_nif(File, <<"0.0.0">>)),
    {module, ?NIF} = code:ensure_loaded(?NIF),
    ?assertEqual(ok, ?NIF:loaded()),
    Beam = code:which(?NIF),
    _ = code:load_file(?NIF),
    ?assertEqual({Beam, ok}, {code:which(?NIF), ?NIF:loaded()}).
