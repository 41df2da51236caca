%%% s2s_partners_explain: what would become of a stream or a stanza, step by step. The functions that judge traffic judge it; here it is
%%% only put into words.
-module(s2s_partners_explain).

-export([explain/3]).

-import(s2s_partners_layout, [paragraph/2, count/2, plain/2, method/1, methods/1, negotiation/1, join/2]).

-include_lib("xmpp/include/xmpp.hrl").

-define(KINDS, [<<"stream">>, <<"message">>, <<"groupchat">>, <<"presence">>, <<"subscribe">>, <<"probe">>,
                <<"iq-get">>, <<"iq-set">>, <<"iq-result">>, <<"iq-error">>]).
%% More facts than there are: the rules ask for each once.
-define(FACTS_MAX, 16).

%% The last line is the verdict: "verdict: allow", "verdict: allow, changed: REASON" or "verdict: refuse REASON". error: it is a refusal, or there
%% is nothing to judge.
-spec explain(From :: binary(), To :: binary(), Kind :: binary()) -> {ok | error, [s2s_partners_layout:line()]}.
explain(From, To, Kind) ->
    case question(From, To, Kind) of
        {error, Text} -> {error, paragraph(<<>>, Text)};
        {ok, Question} -> told(Question)
    end.

%%% The question

question(From, To, <<>>) ->
    question(From, To, <<"message">>);
question(From, To, Kind) ->
    case {lists:member(Kind, ?KINDS), address(From), address(To)} of
        {false, _, _} ->
            {error, ["\"", plain(Kind, 40), "\" is no kind; the kinds are ", join(<<", ">>, ?KINDS)]};
        {_, error, _} ->
            {error, no_address(From)};
        {_, _, error} ->
            {error, no_address(To)};
        {true, Sender, Recipient} ->
            sides(Kind, Sender, is_ours(Sender), Recipient, is_ours(Recipient))
    end.

no_address(Text) ->
    ["\"", plain(Text, 80), "\" is no address; write user@domain, or a domain"].

address(Text) ->
    try jid:decode(Text)
    catch _:_ -> error
    end.

is_ours(#jid{lserver = Domain}) ->
    s2s_partners_in_force:is_local(Domain).

sides(_, _, true, _, true) ->
    {error, "both addresses are of this server: between them nothing is refused by this module"};
sides(_, #jid{lserver = One}, false, #jid{lserver = Other}, false) ->
    {error, ["neither ", plain(One, 255), " nor ", plain(Other, 255), " is a domain of this server"]};
sides(Kind, From, true, To, false) ->
    {ok, asked(#{kind => Kind, direction => outgoing, from => From, to => To, own => From, other => To})};
sides(Kind, From, false, To, true) ->
    {ok, asked(#{kind => Kind, direction => incoming, from => From, to => To, own => To, other => From})}.

asked(#{own := #jid{lserver = Own}, other := #jid{lserver = Domain}} = Question) ->
    {Host, Policy} = case s2s_partners_in_force:vhost_of(Own) of
                         {ok, Of} ->
                             {Of, case s2s_partners_in_force:policy(Of) of {ok, Found} -> Found; none -> none end};
                         none ->
                             {Own, none}
                     end,
    Partner = case Policy of none -> none; _ -> s2s_partners_nif:policy_find(Policy, Domain) end,
    Question#{host => Host, domain => Domain, policy => Policy, partner => Partner}.

%%% The answer

told(#{kind := Kind, from := From, to := To, direction := Direction} = Question) ->
    Title = join(<<>>, [Kind, ": ", plain(jid:encode(From), 300), " -> ", plain(jid:encode(To), 300),
                        case Direction of incoming -> " (coming in)"; outgoing -> " (going out)" end]),
    {Stream, StreamLines} = stream(Question),
    Before = [{line, Text} || Text <- policy_words(Question)] ++ [{lines, StreamLines}],
    {Verdict, After} = stanza(Question, Stream),
    {case Verdict of {refuse, _} -> error; _ -> ok end,
     [Title, <<>> | numbered(Before ++ [{line, Text} || Text <- After], 1)] ++ ending(Question, Verdict)}.

numbered([], _) ->
    [];
numbered([{line, Text} | Rest], Number) ->
    paragraph(io_lib:format("~2b. ", [Number]), Text) ++ numbered(Rest, Number + 1);
numbered([{lines, [First | Lines]} | Rest], Number) ->
    paragraph(io_lib:format("~2b. ", [Number]), First) ++ Lines ++ numbered(Rest, Number + 1).

policy_words(#{policy := none, host := Host}) ->
    [["No valid configuration is in force for ", Host, ": everything is refused there."]];
policy_words(#{policy := Policy, host := Host, partner := Partner, domain := Domain}) ->
    #{partners := Number} = s2s_partners_nif:policy_facts(Policy),
    Unlisted = case s2s_partners_nif:policy_default(Policy) of
                   none -> <<"refused">>;
                   #{type := Type} = Default -> join(<<", ">>, [atom_to_binary(Type), negotiation(Default)])
               end,
    [["The policy of ", Host, " has ", count(Number, <<"partner">>), "; domains not listed: ", Unlisted, "."]
     | partner_words(Partner, Domain)].

partner_words(none, Domain) ->
    [["No entry covers ", Domain, "."]];
partner_words(#{type := Type, methods := Methods, row_methods := RowMethods} = Partner, Domain) ->
    [found(Partner, Domain),
     ["It is ", atom_to_binary(Type), ": ", type_words(Type), "."],
     ["Negotiation: ", row_words(Partner)]]
        ++ [["ejabberd's own options and modules (s2s_use_starttls, s2s_access, mod_s2s_dialback) leave of these: ", methods(Methods), "."]
            || length(Methods) < length(RowMethods)]
        ++ [demand_words(Partner, Domain)]
        ++ [["The certificate: ", certificate_words(Partner)] || lists:member(sasl, Methods) orelse demands_certificate(Partner)].

found(#{match := default}, Domain) ->
    [Domain, " is not listed, so ", s2s_partners_nif:words(<<"{option.default}">>), " applies."];
found(#{match := Match, name := Name, place := Place, description := Text}, Domain) ->
    Described = case Text of <<>> -> ""; _ -> [" (", plain(Text, 60), ")"] end,
    case Match of
        primary -> [Domain, " is the domain of the partner at ", Place, Described, "."];
        additional -> [Domain, " is an additional domain of the partner ", Name, " at ", Place, Described, "."];
        wildcard -> [Domain, " is covered by a wildcard among the additional domains of the partner ", Name, " at ", Place, Described, "."]
    end.

type_words(federated) -> "trusted like a part of the own enterprise";
type_words(public_verified) -> "a public provider that is trusted to verify its users";
type_words(public_unverified) -> "a public provider that is not trusted to verify its users".

row_words(#{match := default} = Partner) ->
    [negotiation(Partner), "."];
row_words(#{tls := Tls, sasl := Sasl, dialback := Dialback}) ->
    Rows = lists:enumerate(s2s_partners_nif:rows()),
    [{Number, Methods, Text}] = [{Index, Each, Words} || {Index, #{tls := T, sasl := S, dialback := D, methods := Each, text := Words}} <- Rows,
                                                         T =:= Tls, S =:= Sasl, D =:= Dialback],
    ["tls ", atom_to_binary(Tls), ", sasl ", atom_to_binary(Sasl), ", dialback ", if Dialback -> "yes"; true -> "no" end,
     ": row ", integer_to_binary(Number), " of the 18, ", methods(Methods), case Text of <<>> -> ""; _ -> [" (", Text, ")"] end, "."].

demands_certificate(#{trust_anchors := Anchors, pins := Pins}) ->
    Anchors =/= none orelse Pins =/= [].

demand_words(#{methods := Methods} = Partner, Domain) ->
    Certificate = ["a certificate valid for ", Domain],
    Ways = [["start TLS with ", Certificate, " and use SASL EXTERNAL"] || lists:member(sasl, Methods)]
        ++ [case demands_certificate(Partner) of
                true -> ["start TLS with ", Certificate, " and prove itself by dialback"];
                false -> "start TLS and prove itself by dialback"
            end || lists:member(tls_dialback, Methods)]
        ++ ["prove itself by dialback without TLS" || lists:member(tcp_dialback, Methods)],
    case Ways of
        [] -> "No method is left: ejabberd's own options take away what the entry allows.";
        _ -> ["The other server has to ", join(<<", or ">>, Ways), "."]
    end.

certificate_words(#{trust_anchors := Anchors, pins := Pins, revocation := Revocation}) ->
    join(<<" ">>,
         [case Anchors of
              none -> "It must lead to an authority that this host trusts.";
              _ -> ["It must lead to the authorities in ", Anchors, " and to no other."]
          end]
         ++ case Revocation of
                required -> ["Current revocation lists must cover each certificate of its chain, and none may revoke it."];
                if_known -> ["No current revocation list may revoke a certificate of its chain."];
                off -> []
            end
         ++ ["It must name the domain as SRVName, dNSName or XmppAddr; the common name does not count."]
         ++ [["A key of its chain must be one of ", count(length(Pins), <<"pinned key">>), "."] || Pins =/= []]).

%%% The stream

stream(#{partner := Partner} = Question) ->
    #{steps := Steps} = Result = supposed(Question, #{}),
    Others = [[Words, ": ", result(supposed(Question, Facts))] || Partner =/= none, {Words, Facts} <- suppositions(Question)],
    {Result, ["The stream, if the other server does all it may be asked for:"]
     ++ lists:append([step(Step, Question) || Step <- Steps])
     ++ paragraph(<<"    ">>, ["Result: ", result(Result), "."])
     ++ case Others of [] -> []; _ -> paragraph(<<"    ">>, [lists:join("; ", Others), "."]) end}.

supposed(#{direction := Direction, policy := Policy, domain := Domain}, Facts) ->
    s2s_partners_nif:explain_stream(Policy, Facts#{direction => Direction, domain => Domain}).

suppositions(#{direction := Direction}) ->
    [{"without TLS", #{starttls => false}}, {"with a certificate that is not valid", #{certificate => untrusted}},
     {"without SASL EXTERNAL", #{sasl => false}}, {"without dialback", #{dialback => false}}]
        ++ [{"without 'from'", #{anonymous => true}} || Direction =:= incoming].

step(#{step := Name, verdict := Verdict, reason := Reason, rule := Rule} = Step, #{direction := Direction}) ->
    paragraph(io_lib:format("    ~-17ts ", [Name]),
              [atom_to_binary(Verdict), ": ", case Rule of <<>> -> "nothing against it"; _ -> Rule end,
               case Reason of none -> ""; _ -> [" (", atom_to_binary(Reason), ")"] end,
               case Step of
                   #{offered := [_ | _] = Offered} ->
                       [case Direction of incoming -> "; we offer "; outgoing -> "; we take up " end, offer_words(Offered)];
                   #{certificate := Certificate} -> ["; certificate ", atom_to_binary(Certificate)];
                   _ -> ""
               end]).

offer_words(Offered) ->
    join(<<", ">>, [case Each of
                        starttls -> case lists:member(starttls_required, Offered) of
                                        true -> <<"STARTTLS (required)">>;
                                        false -> <<"STARTTLS">>
                                    end;
                        sasl -> <<"SASL EXTERNAL">>;
                        dialback -> <<"dialback">>;
                        bidi -> <<"both directions (XEP-0288)">>
                    end || Each <- Offered, Each =/= starttls_required]).

result(#{verdict := allow, method := Method}) -> ["established by ", method(Method)];
result(#{reason := Reason}) -> ["refused, ", atom_to_binary(Reason)].

%%% The stanza

stanza(#{kind := <<"stream">>}, #{verdict := Verdict, reason := Reason}) ->
    {verdict(Verdict, Reason), []};
stanza(_, #{verdict := Verdict, reason := Reason}) when Verdict =/= allow ->
    {verdict(Verdict, Reason), []};
stanza(#{kind := Kind, direction := Direction, own := Own, other := Other} = Question, _) ->
    Spellings = s2s_partners_nif:has_spellings(Other#jid.lserver),
    Asked = s2s_partners_nif:question(Direction, kind(Kind), local_kind(Own), Spellings),
    {Decision, Facts} = judged(Question, Asked, [], ?FACTS_MAX),
    LookedUp = [["Looked up: ", join(<<"; ">>, [fact_words(Fact, Value) || {Fact, Value} <- lists:reverse(Facts)]), "."] || Facts =/= []],
    {Verdict, Words} = decided(Question, Decision),
    {Verdict, LookedUp ++ Words}.

verdict(allow, _) -> allow;
verdict(_, Reason) -> {refuse, Reason}.

judged(_, _, Facts, 0) ->
    {{refuse, 'internal-error', <<"the rules did not come to an end">>, none}, Facts};
judged(#{policy := Policy, domain := Domain, own := #jid{luser = User}} = Question, Asked, Facts, Left) ->
    case s2s_partners_nif:authorise(Policy, Domain, User, Asked) of
        Fact when is_atom(Fact), Fact =/= allow, Fact =/= allow_without_events ->
            try s2s_partners_facts:look_up(Fact, supposed_stanza(Question)) of
                Value -> judged(Question, s2s_partners_nif:fact(Asked, Fact, Value), [{Fact, Value} | Facts], Left - 1)
            catch _:_ ->
                Text = join(<<>>, ["a fact about the local user could not be looked up (", atom_to_binary(Fact), ")"]),
                {{refuse, 'internal-error', Text, none}, Facts}
            end;
        Decision ->
            {Decision, Facts}
    end.

supposed_stanza(#{kind := Kind, own := Own, other := Contact, direction := Direction, policy := Policy, from := From, to := To}) ->
    #{own => Own, contact => Contact, direction => Direction, policy => Policy, packet => packet(Kind, From, To)}.

packet(<<"message">>, From, To) -> #message{from = From, to = To};
packet(<<"groupchat">>, From, To) -> #message{type = groupchat, from = From, to = To};
packet(<<"presence">>, From, To) -> #presence{from = From, to = To};
packet(<<"subscribe">>, From, To) -> #presence{type = subscribe, from = From, to = To};
packet(<<"probe">>, From, To) -> #presence{type = probe, from = From, to = To};
packet(<<"iq-get">>, From, To) -> #iq{type = get, from = From, to = To};
packet(<<"iq-set">>, From, To) -> #iq{type = set, from = From, to = To};
packet(<<"iq-result">>, From, To) -> #iq{type = result, from = From, to = To};
packet(<<"iq-error">>, From, To) -> #iq{type = error, from = From, to = To}.

kind(<<"message">>) -> message;
kind(<<"groupchat">>) -> groupchat;
kind(<<"presence">>) -> presence;
kind(<<"subscribe">>) -> subscribe;
kind(<<"probe">>) -> probe;
kind(<<"iq-get">>) -> 'iq-get';
kind(<<"iq-set">>) -> 'iq-set';
kind(<<"iq-result">>) -> 'iq-result';
kind(<<"iq-error">>) -> 'iq-error'.

local_kind(#jid{luser = User, lserver = Server, lresource = Resource}) ->
    case {lists:member(Server, s2s_partners_in_force:vhosts()), User, Resource} of
        {true, <<>>, _} -> host;
        {true, _, _} -> user;
        {false, <<>>, <<>>} -> component;
        {false, _, _} -> room
    end.

fact_words(access, denied) -> <<"the local user is denied external access">>;
fact_words(access, allowed) -> <<"the local user may federate">>;
fact_words(account, missing) -> <<"there is no such local user">>;
fact_words(account, exists) -> <<"the local user exists">>;
fact_words(listed, unavailable) -> <<"the local user's roster cannot be read">>;
fact_words(listed, no) -> <<"the contact is not in the local user's roster">>;
fact_words(listed, yes) -> <<"the contact is in the local user's roster">>;
fact_words(directed, no) -> <<"the user has sent the contact no directed presence">>;
fact_words(directed, yes) -> <<"the user has sent the contact directed presence">>;
fact_words(requested, no) -> <<"nothing was asked that this would answer">>;
fact_words(requested, yes) -> <<"it answers a request of ours">>;
fact_words(standing, unavailable) -> <<"the user's roster or block list cannot be read">>;
fact_words(standing, blocked) -> <<"the user has blocked the contact">>;
fact_words(standing, cancelled) -> <<"the user has cancelled the contact's subscription">>;
fact_words(standing, none) -> <<"the user has not decided about the contact yet">>;
fact_words(standing, authorised) -> <<"the contact may see the user's presence already">>;
fact_words(blocked, no) -> <<"the user has not blocked the contact, in no spelling of the address">>;
fact_words(blocked, yes) -> <<"the user has blocked the contact, in some spelling of the address">>;
fact_words(contacts, few) -> <<"the user has few contacts of this partner">>;
fact_words(contacts, many) -> <<"the user has as many contacts of this partner as are authorised automatically">>;
fact_words(waiting, room) -> <<"the request can wait for the user">>;
fact_words(waiting, full) -> <<"no more of the partner's requests can wait for the user">>.

decided(Question, {refuse, Reason, Rule, _}) ->
    {{refuse, Reason}, [["The stanza: refuse (", atom_to_binary(Reason), "): ", Rule, "."] | any_request(Question)]};
decided(Question, allow) ->
    {allow, ["The stanza: allow." | any_request(Question)]};
decided(Question, allow_without_events) ->
    {allow, ["The stanza: allow.", events_words() | any_request(Question)]};
decided(#{kind := Kind} = Question, {allow, Change, Events}) ->
    Words = [["The stanza: allow", case Change of none -> ""; _ -> [" (", atom_to_binary(Change), ")"] end, "."]]
        ++ case Change of
               'status-note-removed' when Kind =:= <<"presence">> ->
                   ["Its status note is taken out: only federated partners see notes."];
               'status-note-removed' ->
                   ["Should it hold a status note, that is taken out: only federated partners see notes."];
               'subscription-authorised' ->
                   ["The subscription is authorised on the user's behalf: presence_authorization is automatic."];
               none ->
                   []
           end
        ++ [events_words() || not Events]
        ++ any_request(Question),
    %% Only presence is supposed to have a note here.
    {case Change of
         none -> allow;
         'status-note-removed' when Kind =/= <<"presence">> -> allow;
         _ -> {allow, Change}
     end, Words}.

events_words() ->
    "Personal events (mood, activity, tune, location; not avatars and nicknames) are taken out: personal_events is refuse.".

any_request(#{kind := <<"iq-get">>, to := #jid{luser = <<>>}}) ->
    ["This is for any request but disco, ping, version and time, which every partner may ask a bare domain."];
any_request(_) ->
    [].

%%% The end

ending(_, {refuse, Reason}) ->
    #{operator := Text} = s2s_partners_nif:reason(Reason),
    [<<>>, <<"Why, and what to change to have it allowed:">>] ++ paragraph(<<"    ">>, Text)
        ++ [<<>>, join(<<>>, ["verdict: refuse ", atom_to_binary(Reason)])];
ending(Question, Verdict) ->
    [<<>>, <<"What to change to have it refused:">>] ++ paragraph(<<"    ">>, refuse_words(Question))
        ++ [<<>>, case Verdict of
                      allow -> <<"verdict: allow">>;
                      {allow, Change} -> join(<<>>, ["verdict: allow, changed: ", atom_to_binary(Change)])
                  end].

refuse_words(#{partner := #{match := default}}) ->
    ["Set ", s2s_partners_nif:words(<<"{option.default}">>), ": refuse, so that only listed domains federate."];
refuse_words(#{kind := Kind, domain := Domain, partner := #{place := Place, type := Type}}) ->
    ["Remove ", Domain, " from the entry at ", Place, " (and see that no wildcard covers it)",
     if
         Kind =:= <<"stream">> ->
             ", or demand more: tls, sasl, trust_anchors, pinned_keys.";
         Type =:= public_unverified ->
             access_words();
         true ->
             [", or make it partner_type: public_unverified: then only contacts in the user's roster get through", access_words()]
     end].

access_words() ->
    [", or deny the local user with ", s2s_partners_nif:words(<<"{option.external_access}">>), ", or external_access of the entry."].
