%%% What the library for ejabberd makes of the fixtures, in the lines of verdicts_prosody.lua.
%%%   erl -run s2s_partners_verdicts main CERTIFICATES DOMAIN KIND...
-module(s2s_partners_verdicts).

-export([main/1]).

-define(NIF, s2s_partners_nif).
-define(FACTS, [access, account, listed, directed, requested, standing, blocked, contacts, waiting]).

main([Directory, Domain | Kinds]) ->
    ok = ?NIF:loaded(),
    negotiation(),
    stanzas(),
    configurations(),
    certificates(Directory, Domain, Kinds),
    halt(0).

say(Group, Case, Words) ->
    io:format("~ts\t~ts\t~ts~n", [Group, Case, lists:join($\s, [word(Word) || Word <- Words])]).

word(Word) when is_atom(Word) -> atom_to_binary(Word);
word(Word) -> Word.

one(Entry) ->
    case ?NIF:compile(#{lists => [{<<"partners">>, {list, [{mapping, [{<<"domain">>, <<"fabrikam.com">>} | Entry]}]}}]}) of
        {ok, Table, _} ->
            case ?NIF:compile_policy(Table, #{}) of
                {ok, Policy, _} -> Policy;
                {error, _} -> none
            end;
        {error, _} ->
            none
    end.

negotiation() ->
    Levels = [<<"required">>, <<"optional">>, <<"not_supported">>],
    [say("negotiation", [Tls, $/, Sasl, $/, atom_to_binary(Dialback)],
         case one([{<<"partner_type">>, <<"federated">>}, {<<"tls">>, Tls}, {<<"sasl">>, Sasl}, {<<"dialback">>, Dialback}]) of
             none -> [error];
             Policy -> maps:get(methods, ?NIF:policy_find(Policy, <<"fabrikam.com">>))
         end)
     || Tls <- Levels, Sasl <- Levels, Dialback <- [true, false]].

stanzas() ->
    {ok, Bytes} = file:read_file(filename:join(os:getenv("S2S_PARTNERS_SOURCE"), "fixtures/authorisation.tsv")),
    [Head | Lines] = [binary:split(Line, <<"\t">>, [global]) || Line <- binary:split(Bytes, <<"\n">>, [global, trim])],
    Names = [binary_to_atom(Name) || Name <- Head],
    lists:foldl(fun(Line, Number) ->
                        Row = maps:from_list(lists:zip(Names, Line)),
                        say("stanza", integer_to_binary(Number), stanza(Row)),
                        Number + 1
                end, 2, Lines).

stanza(#{partner_type := Type, group_chat := Chat, presence_authorization := Presence, direction := Direction, stanza := Stanza, local := Local,
         blocked := Blocked} = Row) ->
    Automatic = case {Type, Presence} of
                    {<<"public_unverified">>, _} -> <<"user">>;
                    {_, <<"-">>} -> <<"automatic">>;
                    _ -> Presence
                end,
    Key = {Type, Chat, Automatic},
    Policy = case get(Key) of
                 undefined ->
                     Made = one([{<<"partner_type">>, Type}, {<<"group_chat">>, Chat}, {<<"presence_authorization">>, Automatic}]),
                     put(Key, Made),
                     Made;
                 Known ->
                     Known
             end,
    Question = ?NIF:question(case Direction of <<"in">> -> incoming; <<"out">> -> outgoing end, binary_to_atom(Stanza), binary_to_atom(Local),
                             Blocked =/= <<"-">>),
    Facts = [{Fact, binary_to_atom(Value)} || Fact <- ?FACTS, Value <- [maps:get(Fact, Row)], Value =/= <<"-">>],
    Asked = lists:foldl(fun({Fact, Value}, Sofar) -> ?NIF:fact(Sofar, Fact, Value) end, Question, Facts),
    case ?NIF:authorise(Policy, <<"fabrikam.com">>, <<"alice">>, Asked) of
        allow -> [allow, none, none];
        allow_without_events -> [allow, none, none];
        {allow, Change, Events} when is_boolean(Events) -> [allow, none, Change];
        {refuse, Reason, _, _} -> [refuse, Reason, none];
        %% The library knows who has access by itself where the row does not say.
        Missing -> [wait, Missing, none]
    end.

configurations() ->
    {ok, Terms} = file:consult(os:getenv("S2S_PARTNERS_CONFIG_TERMS")),
    [say("configuration", Name, [configuration(Options)]) || {_, Name, Options, _, _} <- Terms].

configuration(Options) ->
    case ?NIF:compile(#{lists => [{<<"modules.mod_s2s_partners.partners">>, Value} || {partners, Value} <- Options, Value =/= absent]}) of
        {ok, Table, _} ->
            case ?NIF:compile_policy(Table, maps:from_list(proplists:delete(partners, Options))) of
                {ok, _, _} -> accepted;
                {error, _} -> refused
            end;
        {error, _} ->
            refused
    end.

certificates(Directory, Domain, Kinds) ->
    Now = erlang:system_time(second),
    {ok, Store, _} = ?NIF:trust_store(#{anchors => list_to_binary(filename:join([Directory, "issuers", "ca.pem"])), now => Now}),
    [begin
         {ok, Pem} = file:read_file(filename:join(Directory, [Domain, $., Kind, ".crt"])),
         Chain = [Der || {'Certificate', Der, _} <- public_key:pem_decode(Pem)],
         {Verdict, _, _} = ?NIF:judge(#{chain => Chain, store => Store, domain => list_to_binary(Domain), policy => none, now => Now}),
         say("certificate", Kind, [Verdict])
     end || Kind <- Kinds].
