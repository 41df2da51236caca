%%% Names that another parser would not read as this server does.
-module(s2s_partners_prefixes_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("xmpp/include/xmpp.hrl").

el(Name, Attrs, Children) ->
    #xmlel{name = Name, attrs = Attrs, children = Children}.

el(Attrs) ->
    el(<<"x">>, Attrs, []).

%% As BOSH and WebSocket give it.
parsed(Text) ->
    #xmlel{} = fxml_stream:parse_element(iolist_to_binary(Text)).

bound_test_() ->
    [{Title, ?_assert(s2s_partners_prefixes:are_bound(Els))} ||
        {Title, Els} <-
            [{"nothing", []},
             {"no prefixes", [el(<<"body">>, [], [{xmlcdata, <<"a:b">>}]), el([{<<"xmlns">>, <<"urn:a">>}, {<<"id">>, <<"x:y">>}])]},
             {"xml:lang", [el([{<<"xml:lang">>, <<"de">>}])]},
             {"an attribute of the declaring element", [parsed("<x xmlns:a='urn:a' a:b='1'/>")]},
             {"of one inside", [parsed("<x xmlns:a='urn:a'><y><z a:b='1' a:c='2'/></y></x>")]},
             {"declared behind it", [el([{<<"a:b">>, <<"1">>}, {<<"xmlns:a">>, <<"urn:a">>}])]},
             {"a declaration that nothing uses", [parsed("<x xmlns:a='urn:a'/>")]},
             {"decoded", [#delay{stamp = {0, 0, 0}, from = #jid{server = <<"contoso.test">>}, desc = <<"a:b">>},
                          #muc_user{status_codes = [110], items = [#muc_item{role = participant}]}]}]].

unbound_test_() ->
    [{Title, ?_assertNot(s2s_partners_prefixes:are_bound(Els))} ||
        {Title, Els} <-
            [{"a join under a prefix", [parsed("<m:x xmlns:m='http://jabber.org/protocol/muc'/>")]},
             {"a note under a prefix", [parsed("<x xmlns='urn:a'><c:status xmlns:c='jabber:client'>gone</c:status></x>")]},
             {"an element whose prefix nothing declares", [el(<<"a:x">>, [], [])]},
             {"behind others", [el([]), el([]), el(<<"y">>, [], [el([]), el(<<"a:z">>, [], [])])]},
             {"an attribute whose prefix nothing declares", [el([{<<"a:b">>, <<"1">>}])]},
             {"declared by a sister", [el([{<<"xmlns:a">>, <<"urn:a">>}]), el([{<<"a:b">>, <<"1">>}])]},
             {"declared inside", [el(<<"x">>, [{<<"a:b">>, <<"1">>}], [el([{<<"xmlns:a">>, <<"urn:a">>}])])]},
             {"two prefixes", [el([{<<"xmlns:a">>, <<"urn:a">>}, {<<"a:b:c">>, <<"1">>}])]},
             {"an empty one", [el([{<<"xmlns:">>, <<"urn:a">>}, {<<":b">>, <<"1">>}])]},
             {"an empty name", [el([{<<"xmlns:a">>, <<"urn:a">>}, {<<"a:">>, <<"1">>}])]},
             {"a prefix taken back", [el([{<<"xmlns:a">>, <<>>}])]},
             {"xml bound anew", [el([{<<"xmlns:xml">>, <<"urn:a">>}])]},
             {"xmlns bound", [el([{<<"xmlns:xmlns">>, <<"urn:a">>}])]},
             {"a reserved namespace", [el([{<<"xmlns">>, <<"http://www.w3.org/2000/xmlns/">>}])]},
             {"the same for a prefix", [el([{<<"xmlns:a">>, <<"http://www.w3.org/XML/1998/namespace">>}])]},
             {"one attribute twice", [el([{<<"xmlns:a">>, <<"urn:a">>}, {<<"xmlns:b">>, <<"urn:a">>}, {<<"a:c">>, <<"1">>}, {<<"b:c">>, <<"2">>}])]},
             {"inside what ejabberd has made",
              [#ps_event{items = #ps_items{node = <<"urn:n">>, items = [#ps_item{id = <<"1">>, sub_els = [el(<<"a:x">>, [], [])]}]}}]},
             {"inside what is forwarded", [#forwarded{sub_els = [el(<<"message">>, [], [el([{<<"a:b">>, <<"1">>}])])]}]}]].

%% Ten times the size takes no more than about ten times the work; what collects the memory is in it.
in_proportion_test_() ->
    Declared = fun(N) -> [{<<"xmlns:p", (integer_to_binary(I))/binary>>, <<"urn:a">>} || I <- lists:seq(1, N)] end,
    Used = fun(N) -> [{<<"p", (integer_to_binary(I))/binary, ":a", (integer_to_binary(I))/binary>>, <<>>} || I <- lists:seq(1, N)] end,
    [{Title, {timeout, 60, ?_assert(work(Els(10000)) < 30 * work(Els(1000)))}} ||
        {Title, Els} <- [{"declarations and attributes", fun(N) -> [el(Declared(N) ++ Used(N))] end},
                         {"attributes of many", fun(N) -> [el(<<"x">>, Declared(64), [el(Used(16)) || _ <- lists:seq(1, N)])] end},
                         {"a deep tree", fun(N) -> lists:foldl(fun(_, Inside) -> [el(<<"x">>, [], Inside)] end, [], lists:seq(1, N)) end}]].

work(Els) ->
    {reductions, Before} = process_info(self(), reductions),
    _ = s2s_partners_prefixes:are_bound(Els),
    {reductions, After} = process_info(self(), reductions),
    After - Before.
