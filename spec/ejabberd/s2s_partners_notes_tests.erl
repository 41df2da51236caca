%%% What is taken out of stanzas for partners that may not have it, and what stays.
-module(s2s_partners_notes_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("xmpp/include/xmpp.hrl").

%%% Status notes

%% As they are made without the library that prepares names.
alice(Resource) ->
    #jid{user = <<"alice">>, server = <<"contoso.test">>, resource = Resource,
         luser = <<"alice">>, lserver = <<"contoso.test">>, lresource = Resource}.

bob() ->
    #jid{user = <<"bob">>, server = <<"fabrikam.test">>, luser = <<"bob">>, lserver = <<"fabrikam.test">>}.

presence(Els) ->
    #presence{from = alice(<<"phone">>), to = bob(), sub_els = Els}.

el(Name, Attrs, Children) ->
    #xmlel{name = Name, attrs = Attrs, children = Children}.

text(Text) ->
    {xmlcdata, Text}.

status(Attrs) ->
    el(<<"status">>, Attrs, [text(<<"on the train">>)]).

nested(0, El) -> El;
nested(Depth, El) -> el(<<"x">>, [{<<"xmlns">>, <<"jabber:client">>}], [nested(Depth - 1, El)]).

without_a_note_nothing_changes_test() ->
    ?assertEqual(unchanged, s2s_partners_notes:without_notes(presence([]))),
    ?assertEqual(unchanged, s2s_partners_notes:without_notes(presence([el(<<"c">>, [{<<"xmlns">>, ?NS_CAPS}], [])]))).

each_language_is_removed_and_the_rest_stays_test() ->
    Els = [el(<<"c">>, [{<<"xmlns">>, ?NS_CAPS}], [])],
    Presence = (presence(Els))#presence{status = [#text{data = <<"on the train">>}, #text{lang = <<"de">>, data = <<"im Zug">>}],
                                        show = away, priority = 5},
    {changed, Changed} = s2s_partners_notes:without_notes(Presence),
    ?assertEqual(Presence#presence{status = []}, Changed).

a_note_is_found_where_it_stands_test_() ->
    [{Title, ?_assertEqual({changed, presence(Left)}, s2s_partners_notes:without_notes(presence(Given)))} ||
        {Title, Given, Left} <-
            [{"explicit namespace of clients", [status([{<<"xmlns">>, <<"jabber:client">>}])], []},
             {"of servers", [status([{<<"xmlns">>, <<"jabber:server">>}])], []},
             {"of components", [status([{<<"xmlns">>, <<"jabber:component:accept">>}])], []},
             {"no namespace", [status([])], []},
             {"inside another element", [nested(3, status([]))], [el(<<"x">>, [{<<"xmlns">>, <<"jabber:client">>}],
                [el(<<"x">>, [{<<"xmlns">>, <<"jabber:client">>}], [el(<<"x">>, [{<<"xmlns">>, <<"jabber:client">>}], [])])])]},
             {"back in the namespace of the stream", [el(<<"x">>, [{<<"xmlns">>, <<"y">>}], [status([{<<"xmlns">>, <<"jabber:client">>}])])],
              [el(<<"x">>, [{<<"xmlns">>, <<"y">>}], [])]},
             {"last activity", [el(<<"query">>, [{<<"xmlns">>, ?NS_LAST}, {<<"seconds">>, <<"9">>}], [text(<<"gone">>)])],
              [el(<<"query">>, [{<<"xmlns">>, ?NS_LAST}, {<<"seconds">>, <<"9">>}], [])]},
             {"last activity as a record", [#last{seconds = 9, status = <<"gone">>}], [xmpp:encode(#last{seconds = 9})]}]].

what_is_no_note_stays_test_() ->
    [{Title, ?_assertEqual(unchanged, s2s_partners_notes:without_notes(presence(Els)))} ||
        {Title, Els} <-
            [{"status codes of rooms", [el(<<"x">>, [{<<"xmlns">>, ?NS_MUC_USER}], [el(<<"status">>, [{<<"code">>, <<"110">>}], [])])]},
             {"the same as a record", [#muc_user{status_codes = [110]}]},
             {"a status of another namespace", [status([{<<"xmlns">>, <<"urn:example">>}])]},
             {"one that inherits it", [el(<<"x">>, [{<<"xmlns">>, <<"urn:example">>}], [status([])])]},
             {"last activity without text", [el(<<"query">>, [{<<"xmlns">>, ?NS_LAST}, {<<"seconds">>, <<"9">>}], [])]},
             {"text elsewhere", [el(<<"nick">>, [{<<"xmlns">>, ?NS_NICK}], [text(<<"on the train">>)])]}]].

deeper_than_is_looked_at_goes_unread_test() ->
    Deep = nested(200, el(<<"innocent">>, [], [])),
    {changed, #presence{sub_els = [Left]}} = s2s_partners_notes:without_notes(presence([Deep])),
    ?assertEqual(64, depth(Left)).

depth(#xmlel{children = []}) -> 1;
depth(#xmlel{children = [Child]}) -> 1 + depth(Child).

wide_and_deep_costs_one_pass_test() ->
    Wide = [nested(10, el(<<"y">>, [], [])) || _ <- lists:seq(1, 5000)],
    Double = Wide ++ Wide,
    Reductions = fun(Els) ->
                         {_, Before} = process_info(self(), reductions),
                         unchanged = s2s_partners_notes:without_notes(presence(Els)),
                         {_, After} = process_info(self(), reductions),
                         After - Before
                 end,
    ?assert(Reductions(Double) < 3 * Reductions(Wide)).

iq(Els) ->
    #iq{type = result, id = <<"1">>, from = alice(<<>>), to = bob(), sub_els = Els}.

a_result_of_last_activity_loses_its_text_test() ->
    ?assertEqual({changed, iq([#last{seconds = 5}])}, s2s_partners_notes:without_notes(iq([#last{seconds = 5, status = <<"gone">>}]))),
    Raw = el(<<"query">>, [{<<"xmlns">>, ?NS_LAST}, {<<"seconds">>, <<"5">>}], []),
    ?assertEqual({changed, iq([Raw])}, s2s_partners_notes:without_notes(iq([Raw#xmlel{children = [text(<<"gone">>)]}]))),
    ?assertEqual(unchanged, s2s_partners_notes:without_notes(iq([Raw]))),
    ?assertEqual(unchanged, s2s_partners_notes:without_notes(iq([#last{seconds = 5}]))),
    ?assertEqual(unchanged, s2s_partners_notes:without_notes(iq([el(<<"query">>, [{<<"xmlns">>, ?NS_DISCO_INFO}], [status([])])]))),
    ?assertEqual(unchanged, s2s_partners_notes:without_notes(iq([]))).

%%% Personal events

message(Els) ->
    #message{type = headline, from = alice(<<>>), to = bob(), sub_els = Els}.

event(Nodes) ->
    el(<<"event">>, [{<<"xmlns">>, ?NS_PUBSUB_EVENT}], [el(<<"items">>, [{<<"node">>, Node}], []) || Node <- Nodes]).

-define(MOOD, <<"http://jabber.org/protocol/mood">>).
-define(AVATAR, <<"urn:xmpp:avatar:metadata">>).

pushes_test_() ->
    Words = (message([event([?MOOD])]))#message{body = [#text{data = <<"hello">>}]},
    [?_assertEqual(none, s2s_partners_notes:without_events(message([]), true)),
     ?_assertEqual(none, s2s_partners_notes:without_events(message([event([?AVATAR])]), true)),
     ?_assertEqual(all, s2s_partners_notes:without_events(message([event([?MOOD])]), true)),
     ?_assertEqual(all, s2s_partners_notes:without_events(message([#ps_event{items = #ps_items{node = ?MOOD}}]), true)),
     ?_assertEqual({some, message([event([?AVATAR])])}, s2s_partners_notes:without_events(message([event([?MOOD, ?AVATAR])]), true)),
     ?_assertEqual({some, Words#message{sub_els = []}}, s2s_partners_notes:without_events(Words, false)),
     {"headers of delivery go with the event",
      ?_assertEqual(all, s2s_partners_notes:without_events(message([event([?MOOD]), el(<<"headers">>, [{<<"xmlns">>, <<"shim">>}], [])]), true))},
     {"what a client adds is its own",
      ?_assertMatch({some, _}, s2s_partners_notes:without_events(message([event([?MOOD]), el(<<"active">>, [{<<"xmlns">>, <<"c">>}], [])]), false))},
     {"a quotation is written to the contact",
      ?_assertEqual(none, s2s_partners_notes:without_events(message([el(<<"forwarded">>, [{<<"xmlns">>, <<"f">>}], [event([?MOOD])])]), false))}].

answers_test_() ->
    Items = fun(Node) -> el(<<"pubsub">>, [{<<"xmlns">>, ?NS_PUBSUB}], [el(<<"items">>, [{<<"node">>, Node}], [])]) end,
    Disco = fun(Attrs, Nodes) -> el(<<"query">>, [{<<"xmlns">>, ?NS_DISCO_ITEMS} | Attrs],
                                    [el(<<"item">>, [{<<"node">>, Node}], []) || Node <- Nodes]) end,
    Info = el(<<"query">>, [{<<"xmlns">>, ?NS_DISCO_INFO}, {<<"node">>, ?MOOD}], []),
    [?_assertEqual(all, s2s_partners_notes:without_events(iq([Items(?MOOD)]), true)),
     ?_assertEqual(none, s2s_partners_notes:without_events(iq([Items(?AVATAR)]), true)),
     ?_assertEqual(all, s2s_partners_notes:without_events(iq([#pubsub{items = #ps_items{node = ?MOOD}}]), true)),
     ?_assertEqual({some, iq([Disco([], [?AVATAR])])}, s2s_partners_notes:without_events(iq([Disco([], [?MOOD, ?AVATAR])]), true)),
     ?_assertEqual({some, iq([Disco([], [])])}, s2s_partners_notes:without_events(iq([Disco([], [?MOOD])]), true)),
     ?_assertEqual(all, s2s_partners_notes:without_events(iq([Disco([{<<"node">>, ?MOOD}], [])]), true)),
     ?_assertEqual(all, s2s_partners_notes:without_events(iq([Info]), true)),
     {"a client's own nodes", ?_assertEqual(none, s2s_partners_notes:without_events(iq([Info]), false))}].

%%% The user's own words

own_words_test_() ->
    Empty = el(<<"vCard">>, [{<<"xmlns">>, ?NS_VCARD}], []),
    [?_assertNot(s2s_partners_notes:says_something(Empty)),
     ?_assertNot(s2s_partners_notes:says_something(Empty#xmlel{children = [el(<<"FN">>, [], [text(<<" \n">>)])]})),
     ?_assert(s2s_partners_notes:says_something(Empty#xmlel{children = [el(<<"FN">>, [], [text(<<"Alice">>)])]})),
     ?_assert(s2s_partners_notes:says_something(Empty#xmlel{children = [el(<<"FN">>, [{<<"a">>, <<"b">>}], [])]})),
     ?_assertNot(s2s_partners_notes:says_something(Empty#xmlel{children = [el(<<"FN">>, [{<<"node">>, <<"b">>}], [])]})),
     ?_assert(s2s_partners_notes:has_published(#pubsub{items = #ps_items{node = <<"n">>, items = [#ps_item{id = <<"1">>}]}})),
     ?_assertNot(s2s_partners_notes:has_published(#pubsub{items = #ps_items{node = <<"n">>}}))].
