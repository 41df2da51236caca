%%% WebAdmin: the page "Federation partners" of each virtual host, and one for each partner. They show what s2s_partners_list and _show
%%% say, and change nothing. WebAdmin has asked for the rights before it calls a hook.
-module(s2s_partners_webadmin).

-export([start/1, stop/1]).
-export([menu/3, page/3]).

-include_lib("xmpp/include/xmpp.hrl").
-include_lib("ejabberd/include/ejabberd_http.hrl").
-include_lib("ejabberd/include/ejabberd_web_admin.hrl").

-define(PATH, <<"s2s-partners">>).
-define(TITLE, <<"Federation partners">>).

%% For a virtual host; adding a hook twice adds it once.
-spec start(binary()) -> ok.
start(Host) ->
    ejabberd_hooks:add(webadmin_menu_host, Host, ?MODULE, menu, 60),
    ejabberd_hooks:add(webadmin_page_host, Host, ?MODULE, page, 60).

-spec stop(binary()) -> ok.
stop(Host) ->
    ejabberd_hooks:delete(webadmin_menu_host, Host, ?MODULE, menu, 60),
    ejabberd_hooks:delete(webadmin_page_host, Host, ?MODULE, page, 60).

-spec menu([{binary(), binary()}], binary(), binary()) -> [{binary(), binary()}].
menu(Items, _Host, _Lang) ->
    [{?PATH, ?TITLE} | Items].

-spec page([xmlel()], binary(), #request{}) -> [xmlel()] | {stop, [xmlel()]}.
page(_, Host, #request{path = [?PATH]}) ->
    {stop, guarded(fun() -> list(Host) end)};
page(_, Host, #request{path = [?PATH, Domain]}) ->
    {stop, guarded(fun() -> partner(Host, Domain) end)};
page(Page, _, _) ->
    Page.

%% ejabberd logs the arguments of a hook that fails, and the request has the administrator's password in it.
guarded(Make) ->
    case s2s_partners_nif:loaded() of
        ok ->
            try [?XC(<<"p">>, Line) || Line <- s2s_partners_observe:first_line()] ++ Make()
            catch Class:Reason:Stack ->
                s2s_partners_report:internal_error(?MODULE, Class, Reason, Stack),
                [?XC(<<"h1">>, ?TITLE), ?XC(<<"p">>, <<"An error in the module itself; the log has it. Nothing was changed.">>)]
            end;
        {error, Why} -> [?XC(<<"h1">>, ?TITLE), ?XC(<<"p">>, s2s_partners_layout:join(<<>>,
                            [<<"Federation is refused in both directions: the library of mod_s2s_partners is not there: ">>, Why]))]
    end.

no_policy() ->
    [?XC(<<"h1">>, ?TITLE), rejected(), ?XC(<<"p">>, <<"No valid configuration is in force for this host: everything is refused.">>)].

list(Host) ->
    case s2s_partners_list:partners(Host) of
        none ->
            no_policy();
        Partners ->
            {_, Live} = live(Host),
            [?XC(<<"h1">>, ?TITLE), rejected(),
             table([<<"Partner">>, <<"Description">>, <<"Type">>, <<"tls / sasl / dialback">>, <<"Methods">>, <<"Streams in / out">>],
                   [[?AC(<<Name/binary, "/">>, Name), ?C(s2s_partners_layout:plain(Text, 200)), ?C(atom_to_binary(Type)),
                     ?C(binary:replace(s2s_partners_layout:negotiation(Partner), <<"/">>, <<" / ">>, [global])),
                     ?C(s2s_partners_layout:methods(Methods)),
                     ?C(<<(number(Name, incoming, Live))/binary, " / ", (number(Name, outgoing, Live))/binary>>)]
                    || #{name := Name, description := Text, type := Type, methods := Methods} = Partner <- Partners])]
                ++ warnings(lists:append([s2s_partners_list:warnings(Host, Partner) || Partner <- Partners]))
    end.

warnings([]) -> [];
warnings(Warnings) -> [?XC(<<"h3">>, <<"Warnings">>), ?XE(<<"ul">>, [?LI([?C(Warning)]) || Warning <- Warnings])].

number(Name, Direction, Live) ->
    integer_to_binary(length([true || #{partner := Of, direction := Way, stage := established} <- Live, Of =:= Name, Way =:= Direction])).

partner(Host, Domain) ->
    case s2s_partners_in_force:policy(Host) of
        none -> no_policy();
        {ok, Policy} -> partner(Host, Domain, Policy)
    end.

partner(Host, Domain, Policy) ->
    case s2s_partners_nif:policy_find(Policy, Domain) of
        none ->
            [?XC(<<"h1">>, ?TITLE), ?XC(<<"p">>, s2s_partners_layout:join(<<>>,
                [s2s_partners_layout:plain(Domain, 255), <<" is not a partner: no entry covers it, and domains not listed are refused.">>]))];
        #{name := Name} = Partner ->
            {_, Live} = live(Host),
            Views = [View || #{partner := Of} = View <- Live, Of =:= Name],
            [?XC(<<"h1">>, Name), rejected(), ?XC(<<"p">>, s2s_partners_list:found(Domain, Partner)),
             table([<<"Setting">>, <<"Value">>, <<"From">>],
                   [[?C(Setting), ?C(Value), ?C(s2s_partners_list:short(From))]
                    || {Setting, Value, From} <- s2s_partners_list:settings(Partner)])]
                ++ warnings(s2s_partners_list:warnings(Host, Partner))
                ++ [?XC(<<"h3">>, <<"Live streams">>),
             table(s2s_partners_list:stream_titles(), [[?C(Cell) || Cell <- s2s_partners_list:stream_row(View)] || View <- Views])]
                ++ certificate(Views) ++ last(Partner)
                ++ [?XC(<<"h3">>, <<"Decisions since this node started">>),
                    table([<<"Host">>, <<"Dir">>, <<"Decision">>, <<"Reason">>, <<"Times">>],
                          [[?C(Cell) || Cell <- Row] || Row <- s2s_partners_list:totals(Name, [Host])])]
    end.

certificate(Views) ->
    case [{maps:get(remote, View, <<>>), Report} || #{report := #{} = Report} = View <- Views] of
        [] -> [];
        [{Remote, Report} | _] ->
            [?XC(<<"h3">>, s2s_partners_layout:join(<<>>, [<<"Certificate that ">>, s2s_partners_layout:plain(Remote, 255), <<" presented">>])),
             table([<<"What">>, <<"Value">>], [[?C(What), ?C(Value)] || {What, Value} <-
                                               s2s_partners_list:certificate(Report, erlang:system_time(second))])]
    end.

last(#{match := default}) ->
    [];
last(#{name := Name}) ->
    [?XC(<<"h3">>, <<"Last streams">>),
     table([<<"Dir">>, <<"What">>, <<"When, with whom, and how it ended">>],
           [[?C(s2s_partners_layout:join(<<>>, [Direction])), ?C(s2s_partners_layout:join(<<>>, [Kind])),
             ?C(case Kept of none -> <<"none">>; _ -> s2s_partners_list:recent(Kept) end)]
            || {Direction, Kind, Kept} <- [{atom_to_binary(D), atom_to_binary(K), Each} || {D, K, Each} <- s2s_partners_recent:of_partner(Name)]])].

live(Host) ->
    {ok, lists:append([[View || View <- Views, s2s_partners_list:host(View) =:= Host]
                       || {ok, Views} <- erpc:multicall(ejabberd_cluster:get_nodes(), s2s_partners_list, streams_of_node, [], 5000)])}.

rejected() ->
    case s2s_partners_guard:last_reload() of
        #{result := rejected, errors := Errors} ->
            ?XE(<<"div">>, [?XC(<<"p">>, <<"The configuration on disk has errors and is not in force:">>),
                            ?XE(<<"ul">>, [?LI([?C(Error)]) || Error <- Errors])]);
        _ ->
            ?C(<<>>)
    end.

table(Titles, Rows) ->
    ?XE(<<"table">>, [?XE(<<"thead">>, [?XE(<<"tr">>, [?XC(<<"td">>, Title) || Title <- Titles])]),
                      ?XE(<<"tbody">>, [?XE(<<"tr">>, [?XE(<<"td">>, [Cell]) || Cell <- Row]) || Row <- Rows])]).
