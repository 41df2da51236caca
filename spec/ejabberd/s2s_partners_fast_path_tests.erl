%%% The short way of a stanza never says anything but what the long one does, and ends when what it stands on is another.
-module(s2s_partners_fast_path_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-define(NIF, s2s_partners_nif).
-define(PATH, s2s_partners_fast_path).
-define(FORCE, s2s_partners_in_force).
-define(HOST, <<"contoso.test">>).
-define(DOMAIN, <<"fabrikam.test">>).

fast_path_test_() ->
    {foreach,
     fun() ->
             %% What a test finds is known for a second. To look for the modules first may take as long.
             ok = code:ensure_modules_loaded([?PATH, s2s_partners_tally, s2s_partners_facts, s2s_partners_question, s2s_partners_prefixes, xmpp]),
             ?FORCE:init()
     end,
     fun(_) ->
             _ = persistent_term:erase(?FORCE),
             [ets:delete(Table) || Table <- [s2s_partners_foreign, s2s_partners_tally]],
             [erase(Key) || {Key, _} <- get(), is_atom(Key), string:prefix(atom_to_list(Key), "s2s_partners_") =/= nomatch]
     end,
     [{"outgoing, as the rules say", fun passes/0},
      {"incoming, as the stream and the rules say", fun stream_passes/0},
      {"a stream that does not stand", fun streams/0},
      {"what goes out", fun outgoing/0},
      {"what it stands on", fun ends/0},
      {"who counts as there", fun users/0}]}.

put_term(Policies) ->
    ?FORCE:put(#{policies => Policies, vhosts => #{?HOST => []}, limits => #{}, stores => #{}, crls => #{}, crl_signatures => #{},
                 patterns => #{}, host_crls => #{}, intermediates => #{}, issues => #{}, locals => [], applied => 0}).

policy(Entry) ->
    policy(Entry, ?DOMAIN).

policy(Entry, Domain) ->
    {ok, Table, _} = ?NIF:compile(#{lists => [{<<"p">>, {list, [{mapping, [{<<"domain">>, Domain} | Entry]}]}}]}),
    {ok, Policy, _} = ?NIF:compile_policy(Table, #{external_access => {mapping, [{<<"users">>, {mapping, [{<<"intern">>, <<"deny">>}]}}]}}),
    Policy.

%% Of each type, with everything that a rule looks at.
policies() ->
    [policy([{<<"partner_type">>, Type}, {<<"group_chat">>, GroupChat}, {<<"personal_events">>, Events}], Domain)
     || Type <- [<<"federated">>, <<"public_verified">>, <<"public_unverified">>], GroupChat <- [<<"allow">>, <<"refuse">>],
        Events <- [<<"allow">>, <<"refuse">>], Domain <- [?DOMAIN, <<"xn--bcher-kva.test">>]].

types() ->
    [{message, chat}, {message, normal}, {message, headline}, {message, groupchat}, {message, error}, {presence, available},
     {presence, unavailable}, {presence, subscribe}, {presence, error}, {iq, get}, {iq, result}, {iq, whatever}].

simply({allow, Change, true}) -> Change;
simply(allow) -> allow;
simply(_) -> ask.

passes() ->
    Seen = [begin
                Kind = ?NIF:stanza_kind(Name, Type),
                Question = ?NIF:question(outgoing, Kind, user, ?NIF:has_spellings(Domain)),
                Wanted = simply(?NIF:authorise(Policy, Domain, User, Question)),
                Got = ?NIF:passes(Policy, Domain, User, Type),
                ?assert(lists:member({Got, Name, Type, User, Domain}, [{Answer, Name, Type, User, Domain} || Answer <- [ask, Wanted]])),
                %% All that is simple has the short way.
                {Name, Type} =:= {message, chat} andalso ?assertEqual({User, Wanted}, {User, Got}),
                {Name, Type} =:= {presence, available} andalso ?assertEqual({User, Wanted}, {User, Got}),
                Got
            end || Policy <- policies(), {Name, Type} <- types(), User <- [<<"alice">>, <<"intern">>],
                   Domain <- [?DOMAIN, <<"xn--bcher-kva.test">>, <<"Bücher.test"/utf8>>, <<"evil.test">>, <<>>, <<"a b">>]],
    ?assertEqual([allow, ask, 'status-note-removed'], lists:usort(Seen)),
    [?assertEqual(ask, ?NIF:passes(Policy, ?DOMAIN, <<>>, chat)) || Policy <- policies()],
    ?assertEqual(ask, ?NIF:passes(none, ?DOMAIN, <<"alice">>, chat)),
    [?assertError(badarg, apply(?NIF, passes, Arguments))
     || Arguments <- [[x, ?DOMAIN, <<"alice">>, chat], [none, x, <<"alice">>, chat], [none, ?DOMAIN, x, chat]]].

established(Policy, Domain) ->
    Stream = ?NIF:stream_new(incoming, Policy, 0, false),
    allow = ?NIF:stream_identify(Stream, Domain),
    ok = ?NIF:stream_observe(Stream, true, valid),
    allow = ?NIF:stream_authenticated(Stream, sasl, Domain),
    allow = ?NIF:stream_established(Stream),
    Stream.

stream_passes() ->
    Seen = [begin
                Stream = established(Policy, Domain),
                Kind = ?NIF:stanza_kind(Name, Type),
                Question = ?NIF:fact(?NIF:question(incoming, Kind, user, ?NIF:has_spellings(Domain)), account, exists),
                Wanted = simply(?NIF:authorise(Policy, Domain, User, Question)),
                Got = ?NIF:stream_passes(Stream, Policy, Domain, User, Type),
                ?assert(lists:member({Got, Name, Type, User, Domain}, [{Answer, Name, Type, User, Domain} || Answer <- [ask, Wanted]])),
                {Name, Type} =:= {message, chat} andalso ?assertEqual({User, Wanted}, {User, Got}),
                Got
            end || Policy <- policies(), {Name, Type} <- types(), User <- [<<"alice">>, <<"intern">>],
                   Domain <- [?DOMAIN, <<"xn--bcher-kva.test">>], ?NIF:policy_find(Policy, Domain) =/= none],
    ?assertEqual([allow, ask], lists:usort(Seen)).

streams() ->
    Policy = policy([{<<"partner_type">>, <<"federated">>}]),
    Stream = established(Policy, ?DOMAIN),
    Ask = fun(Its, Of, Domain) -> ?NIF:stream_passes(Its, Of, Domain, <<"alice">>, chat) end,
    ?assertEqual(allow, Ask(Stream, Policy, ?DOMAIN)),
    [?assertEqual({N, ask}, {N, Ask(Stream, Of, Domain)})
     || {N, {Of, Domain}} <- lists:enumerate([{none, ?DOMAIN}, {policy([{<<"partner_type">>, <<"federated">>}]), ?DOMAIN}, {Policy, <<"FABRIKAM.test">>},
                                              {Policy, <<"evil.test">>}, {Policy, <<>>}])],
    Opened = ?NIF:stream_new(incoming, Policy, 0, false),
    ?assertEqual(ask, Ask(Opened, Policy, ?DOMAIN)),
    allow = ?NIF:stream_identify(Opened, ?DOMAIN),
    ?assertEqual(ask, Ask(Opened, Policy, ?DOMAIN)),
    ok = ?NIF:stream_observe(Opened, true, valid),
    allow = ?NIF:stream_authenticated(Opened, sasl, ?DOMAIN),
    ?assertEqual(ask, Ask(Opened, Policy, ?DOMAIN)),
    {refuse, _, _} = ?NIF:stream_refuse(Stream, 'policy-changed', <<"x">>),
    ?assertEqual(ask, Ask(Stream, Policy, ?DOMAIN)),
    Self = self(),
    spawn(fun() -> Self ! {there, catch Ask(Opened, Policy, ?DOMAIN)} end),
    ?assertMatch({'EXIT', {badarg, _}}, receive {there, Result} -> Result end).

address(User, Domain) ->
    #jid{user = User, luser = User, server = Domain, lserver = Domain}.

message() ->
    #message{type = chat, from = address(<<"alice">>, ?HOST), to = address(<<"bob">>, ?DOMAIN)}.

outgoing() ->
    Policy = policy([{<<"partner_type">>, <<"federated">>}]),
    put_term(#{?HOST => Policy}),
    Message = message(),
    ?assertEqual(ask, ?PATH:outgoing(Message)),
    ok = ?PATH:found(out, ?HOST, ?DOMAIN, ?DOMAIN),
    ?assertEqual({pass, Message}, ?PATH:outgoing(Message)),
    Presence = #presence{from = Message#message.from, to = Message#message.to, meta = #{ip => {127, 0, 0, 1}}},
    ?assertEqual({pass, Presence}, ?PATH:outgoing(Presence)),
    ?assertEqual([{{?HOST, ?DOMAIN, out}, 2}], s2s_partners_tally:counts()),
    [?assertEqual({N, ask}, {N, ?PATH:outgoing(Other)})
     || {N, Other} <- lists:enumerate([Presence#presence{meta = #{?DIRECTED => true}}, Presence#presence{sub_els = [#muc{}]},
                                       Presence#presence{type = unavailable}, Presence#presence{type = subscribe}, Message#message{type = error},
                                       Message#message{from = address(<<>>, ?HOST)}, Message#message{from = address(<<"intern">>, ?HOST)},
                                       Message#message{from = address(<<"alice">>, <<"other.test">>)}, Message#message{to = address(<<>>, <<"evil.test">>)},
                                       #iq{type = get, from = Message#message.from, to = Message#message.to}])],
    ?assertEqual([{{?HOST, ?DOMAIN, out}, 2}], s2s_partners_tally:counts()).

ends() ->
    Policy = policy([{<<"partner_type">>, <<"federated">>}]),
    Message = message(),
    Again = fun() -> put_term(#{?HOST => Policy}), ok = ?PATH:found(out, ?HOST, ?DOMAIN, ?DOMAIN), {pass, _} = ?PATH:outgoing(Message) end,
    [begin
         Again(),
         _ = Change(),
         ?assertEqual({Words, ask}, {Words, ?PATH:outgoing(Message)})
     end || {Words, Change} <- [{"a commit", fun() -> put_term(#{?HOST => Policy}) end},
                                {"a host without a policy", fun() -> put_term(#{}) end},
                                {"a route that comes", fun() -> ?FORCE:route_changed(?DOMAIN) end},
                                {"a second", fun() -> timer:sleep(1001) end}]].

users() ->
    Now = erlang:monotonic_time(millisecond),
    ?assertNot(s2s_partners_facts:is_known_user(<<"alice">>, ?HOST, Now)),
    Policy = policy([{<<"partner_type">>, <<"federated">>}]),
    put_term(#{?HOST => Policy}),
    Guarded = #guarded{direction = incoming, established = true, vhost = ?HOST, stream = established(Policy, ?DOMAIN)},
    #message{from = Alice, to = Bob} = Out = message(),
    Message = Out#message{from = Bob, to = Alice},
    ok = ?PATH:found(in, ?HOST, ?DOMAIN, ?DOMAIN),
    ?assertEqual(ask, ?PATH:incoming(Message, Guarded)),
    Slot = {s2s_partners_facts, erlang:phash2(<<"alice">>, 16)},
    put(Slot, {<<"alice">>, ?HOST, Now + 60000}),
    ?assertEqual(pass, ?PATH:incoming(Message, Guarded)),
    ?assertEqual(ask, ?PATH:incoming(Message, Guarded#guarded{established = false})),
    ?assertEqual(ask, ?PATH:incoming(Message, Guarded#guarded{vhost = <<"other.test">>})),
    ?assertEqual(ask, ?PATH:incoming(Message#message{to = address(<<"carol">>, ?HOST)}, Guarded)),
    put(Slot, {<<"alice">>, ?HOST, Now}),
    ?assertEqual(ask, ?PATH:incoming(Message, Guarded)),
    erase(Slot).
