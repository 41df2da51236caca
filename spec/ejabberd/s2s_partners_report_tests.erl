%%% What is written to the log, how many lines strangers can cause, and what never gets there.
-module(s2s_partners_report_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

-define(REPORT, s2s_partners_report).
%% A call: newer compilers warn of changing a map that is written out.
-define(ABOUT, (about())).

report_test_() ->
    {foreach,
     fun() ->
             ok = ?REPORT:init(),
             ok = s2s_partners_tally:init(),
             Before = logger:get_primary_config(),
             ok = logger:set_primary_config(level, debug),
             ok = logger:update_handler_config(default, level, none),
             ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
             ok = logger:add_handler(?MODULE, ?MODULE, #{level => debug}),
             Before
     end,
     fun(#{level := Level}) ->
             ok = logger:remove_handler(?MODULE),
             ok = logger:update_handler_config(default, level, all),
             ok = logger:set_primary_config(level, Level),
             [ets:delete(Table) || Table <- [?MODULE, s2s_partners_tally, s2s_partners_counters, s2s_partners_minute, s2s_partners_uncovered]]
     end,
     [fun established/0, fun refused/0, fun names_of_strangers/0, fun certificate_causes/0, fun lines_of_an_address/0, fun not_covered/0,
      fun lines_in_all/0, fun lines_of_a_network/0, fun addresses_are_bounded/0, fun refused_stanzas/0, fun nothing_to_sum_up/0, fun an_error_without_its_values/0,
      fun counts/0, fun hosts_that_strangers_name/0]}.

log(#{level := Level, msg := {Format, Arguments}}, _) when is_list(Arguments) ->
    ets:insert(?MODULE, {erlang:unique_integer([monotonic]), {Level, unicode:characters_to_binary(io_lib:format(Format, Arguments))}});
log(_, _) ->
    ok.

about() ->
    #{direction => incoming, remote => <<"fabrikam.test">>, host => <<"contoso.test">>, address => <<"192.0.2.1">>}.

logged() ->
    Lines = [Line || {_, Line} <- ets:tab2list(?MODULE)],
    ets:delete_all_objects(?MODULE),
    Lines.

established() ->
    ?REPORT:stream_established(?ABOUT#{partner => <<"fabrikam.test">>, method => sasl, tls => true, protocol => <<"TLSv1.3">>,
                                       certificate => valid}),
    ?REPORT:stream_established(?ABOUT#{direction => outgoing, partner => <<"fabrikam.test">>, method => tcp_dialback, tls => false,
                                       certificate => unknown}),
    ?assertEqual([{info, <<"Established stream from fabrikam.test (host contoso.test, partner fabrikam.test): SASL EXTERNAL, TLSv1.3, "
                           "certificate valid">>},
                  {info, <<"Established stream to fabrikam.test (host contoso.test, partner fabrikam.test): TCP dialback, no TLS, "
                           "certificate not asked for">>}], logged()).

refused() ->
    ?REPORT:stream_refused(?ABOUT#{certificate => unknown}, 'unlisted-domain', <<"the domain is not listed">>),
    ?assertEqual([{info, <<"Refused stream from fabrikam.test (host contoso.test, address 192.0.2.1): unlisted-domain: the domain is not "
                           "listed">>}], logged()).

names_of_strangers() ->
    Long = binary:copy(<<"x">>, 1000),
    ?REPORT:stream_refused(?ABOUT#{remote => <<"a\r\nb c", 127>>}, 'unlisted-domain', <<"r">>),
    ?REPORT:stream_refused(?ABOUT#{remote => Long}, 'unlisted-domain', <<"r">>),
    ?REPORT:stream_refused(?ABOUT#{remote => <<>>, host => <<>>}, 'unlisted-domain', <<"r">>),
    [{info, One}, {info, Two}, {info, Three}] = logged(),
    ?assertMatch(<<"Refused stream from a??b?c? (host", _/binary>>, One),
    ?assert(byte_size(Two) < 400),
    ?assertMatch(<<"Refused stream from (unknown domain) (host (unknown host), address 192.0.2.1)", _/binary>>, Three).

certificate_causes() ->
    Names = [{dns, <<"one.test">>, other}, {srv, binary:copy(<<"y">>, 200), other}],
    [?REPORT:stream_refused(?ABOUT#{certificate => Verdict, report => Report#{verdict => Verdict, cause => <<"why">>}},
                            binary_to_atom(<<"certificate-", (atom_to_binary(Verdict))/binary>>), <<"rule">>)
     || {Verdict, Report} <- [{'identity-mismatch', #{names => Names, name_count => 7}}, {'identity-mismatch', #{names => [], name_count => 0}},
                              {untrusted, #{issuer => <<"CN=Somebody">>, depth => 1}}, {expired, #{chain_not_after => 0}},
                              {'pin-mismatch', #{pins => [<<"sha256//a">>]}}, {malformed, #{}}]],
    Ends = [lists:last(binary:split(Line, <<"rule: ">>)) || {info, Line} <- logged()],
    ?assertEqual([<<"why; its names: dns one.test, srv ", (binary:copy(<<"y">>, 80))/binary, "... and 5 more">>,
                  <<"why; it has no names (the common name does not count)">>,
                  <<"why (certificate 1 of the chain); issued by CN=Somebody">>, <<"why; on 1970-01-01">>,
                  <<"why; its own is sha256//a">>, <<"why">>], Ends).

%% Once a day for each issuer.
not_covered() ->
    Say = fun(Issuer) ->
              ?REPORT:uncovered(?ABOUT#{partner => <<"fabrikam.test">>, certificate => valid,
                                        report => #{uncovered => <<"there is no list">>, uncovered_issuer => Issuer, uncovered_depth => 2}})
          end,
    [Say(Issuer) || Issuer <- [<<"CN=One">>, <<"CN=One">>, <<"CN=Two">>]],
    ?REPORT:uncovered(?ABOUT#{certificate => valid, report => #{}}),
    ?assertEqual([{warning, <<"The certificate of fabrikam.test (partner fabrikam.test) goes on without an answer about its revocation: "
                              "there is no list (certificate 2 of the chain, issued by ", Issuer/binary, ")">>}
                  || Issuer <- [<<"CN=One">>, <<"CN=Two">>]], logged()).

may_log(Address, Times) ->
    length([yes || _ <- lists:seq(1, Times), ?REPORT:may_log(Address, 'unlisted-domain')]).

lines_of_an_address() ->
    ?assertEqual(200, may_log(<<"192.0.2.1">>, 250)),
    ?assertEqual(10, may_log(<<"192.0.2.2">>, 10)),
    ?REPORT:muted(<<"192.0.2.3">>, 'connection-limit'),
    ?REPORT:minute(),
    ?assertEqual([{info, <<"Refused 51 more connections in the last minute: connection-limit 1, unlisted-domain 50; most of them from "
                           "192.0.2.1 (50)">>}], logged()),
    ?assertEqual(200, may_log(<<"192.0.2.1">>, 201)).

lines_in_all() ->
    ?assertEqual(1000, lists:sum([may_log(integer_to_binary(N), 100) || N <- lists:seq(1, 20)])).

%% A /64 is one customer's.
lines_of_a_network() ->
    Addresses = [iolist_to_binary(inet:ntoa({16#2001, 16#db8, 0, 7, 0, 0, 0, N})) || N <- lists:seq(1, 250)],
    ?assertEqual(200, lists:sum([may_log(Address, 1) || Address <- Addresses])),
    ?assertEqual(1, may_log(<<"2001:db8:0:8::1">>, 1)),
    ?REPORT:muted(<<"192.0.2.3">>, 'connection-limit'),
    ?REPORT:minute(),
    ?assertEqual([{info, <<"Refused 51 more connections in the last minute: connection-limit 1, unlisted-domain 50; most of them from "
                           "2001:db8:0:7::/64 (50)">>}], logged()),
    [?REPORT:muted(<<"::ffff:192.0.2.3">>, 'connection-limit') || _ <- [1, 2]],
    ?REPORT:minute(),
    ?assertEqual([{info, <<"Refused 2 more connections in the last minute: connection-limit 2; most of them from 192.0.2.3 (2)">>}], logged()).

addresses_are_bounded() ->
    [?REPORT:muted(integer_to_binary(N), 'connection-limit') || N <- lists:seq(1, 20000)],
    ?assert(ets:info(s2s_partners_minute, size) =< 4001).

refused_stanzas() ->
    [?REPORT:stanza_refused(in, <<"fabrikam.test">>, <<"corp.fabrikam.test">>, <<"contoso.test">>, Reason, <<"rule">>)
     || Reason <- ['not-listed', 'no-such-user', 'not-listed']],
    ?assertEqual([debug], lists:usort([Level || {Level, _} <- logged()])),
    ?REPORT:minute(),
    ?assertEqual([{info, <<"Refused stanzas from fabrikam.test in the last minute: no-such-user 1, not-listed 2">>}], logged()).

nothing_to_sum_up() ->
    ?REPORT:minute(),
    ?assertEqual([], logged()).

an_error_without_its_values() ->
    Secret = <<"what a user wrote">>,
    [try Fault(Secret)
     catch Class:Reason:Stack -> ?REPORT:internal_error(here, Class, Reason, Stack)
     end || Fault <- [fun(Text) -> binary_to_integer(Text) end, fun(Text) -> error({badmatch, Text}) end,
                      fun(Text) -> throw(Text) end, fun(Text) -> exit({Text, Text}) end,
                      fun(Text) -> erlang:apply(lists, nth, [Text, []]) end]],
    Lines = logged(),
    ?assertEqual(5, length(Lines)),
    [begin
         ?assertMatch({error, <<"Error while handling here, refused: ", _/binary>>}, {Level, Line}),
         ?assertEqual(nomatch, binary:match(Line, Secret))
     end || {Level, Line} <- Lines].

counts() ->
    [?REPORT:count(<<"contoso.test">>, <<"fabrikam.test">>, in, allow, none) || _ <- [1, 2, 3]],
    ?assertEqual([{{<<"contoso.test">>, <<"fabrikam.test">>, in, allow, none}, 3}], ?REPORT:counters()).

%% A stanza can name any domain; the numbers are of this server's hosts.
hosts_that_strangers_name() ->
    s2s_partners_in_force:put(#{policies => #{}, vhosts => #{<<"contoso.test">> => []}, limits => #{}, stores => #{}, crls => #{},
                                crl_signatures => #{}, patterns => #{}, host_crls => #{}, intermediates => #{}, issues => #{}, locals => [],
                                applied => 0}),
    try
        [?REPORT:stanza_refused(in, <<"unlisted">>, <<"fabrikam.test">>, Host, 'wrong-domain', <<"rule">>)
         || Host <- [<<"contoso.test">> | [integer_to_binary(N) || N <- lists:seq(1, 100)]]],
        ?assertEqual([{{<<"contoso.test">>, <<"unlisted">>, in, refuse, 'wrong-domain'}, 1},
                      {{<<"unknown">>, <<"unlisted">>, in, refuse, 'wrong-domain'}, 100}], lists:sort(?REPORT:counters()))
    after
        persistent_term:erase(s2s_partners_in_force)
    end.
