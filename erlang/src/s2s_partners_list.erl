%%% s2s_partners_list, _show and _streams: what is in force, and what is going on under it. Nothing is decided or changed here.
-module(s2s_partners_list).

-export([list/1, show/1, streams/0, streams_of_node/0, not_applied/0]).
%% For WebAdmin.
-export([partners/1, host/1, short/1, settings/1, warnings/2, found/2, stream_row/1, stream_titles/0, certificate/2, recent/1, totals/2]).

-type answer() :: {ok | error, [s2s_partners_layout:line()]}.
-type partner() :: s2s_partners_nif:partner().

-import(s2s_partners_layout, [paragraph/2, table/3, count/2, plain/2, method/1, methods/1, negotiation/1, join/2]).

-define(CALL_MS, 5000).

%%% list

%% All partners of a virtual host, or with <<>> of every one.
-spec list(Host :: binary()) -> answer().
list(Host) ->
    case hosts(Host) of
        {error, Lines} ->
            {error, Lines};
        {ok, Hosts} ->
            Groups = groups(Hosts),
            Live = all_streams(),
            Lines = lists:append([group(Group, Live) || Group <- Groups]),
            Number = lists:sum([length(s2s_partners_nif:policy_partners(Policy)) || {Policy, _} <- Groups, Policy =/= none]),
            {ok, not_applied() ++ Lines ++ [count(Number, <<"partner">>)]}
    end.

%% Hosts that run the same policy are shown together.
groups(Hosts) ->
    lists:foldl(fun(Host, Groups) ->
                    Policy = policy(Host),
                    case lists:keyfind(Policy, 1, Groups) of
                        {Policy, Others} -> lists:keyreplace(Policy, 1, Groups, {Policy, Others ++ [Host]});
                        false -> Groups ++ [{Policy, [Host]}]
                    end
                end, [], Hosts).

group({none, Hosts}, _) ->
    paragraph(<<"">>, [join(<<", ">>, Hosts), <<": no valid configuration is in force; everything is refused there.">>]) ++ [<<>>];
group({Policy, [Host | _] = Hosts}, Live) ->
    Partners = s2s_partners_nif:policy_partners(Policy),
    Rows = [[Name, atom_to_binary(Type), negotiation(Partner), methods(Methods)]
            || #{name := Name, type := Type, methods := Methods} = Partner <- Partners],
    Notes = [below(Host, Partner, [View || View <- Live, lists:member(host(View), Hosts)]) || Partner <- Partners],
    paragraph(<<"Partners of ">>, join(<<", ">>, Hosts)) ++ [<<>>]
        ++ case Rows of
               [] -> [];
               _ -> table([#{title => <<"Partner">>, min => 20}, #{title => <<"Type">>, min => 17},
                           #{title => <<"tls/sasl/dialback">>, min => 17}, #{title => <<"Methods">>, min => 13}], Rows, Notes)
           end
        ++ [<<"Domains not listed: ", (unlisted(Policy))/binary>>, <<>>].

unlisted(Policy) ->
    case s2s_partners_nif:policy_default(Policy) of
        none -> <<"refused">>;
        #{type := Type} = Partner ->
            join(<<>>, [atom_to_binary(Type), <<", ">>, negotiation(Partner), <<" (">>, s2s_partners_nif:words(<<"{option.default}">>),
                        <<")">>])
    end.

below(Host, #{name := Name} = Partner, Live) ->
    description(Partner)
        ++ also(Partner)
        ++ case [View || #{partner := Of} = View <- Live, Of =:= Name] of
               [] -> [];
               Views -> [{<<"  ">>, join(<<>>, [<<"streams in: ">>, by_method(incoming, Views), <<"; out: ">>, by_method(outgoing, Views)])}]
           end
        ++ [{<<"  warning: ">>, Warning} || Warning <- warnings(Host, Partner)].

description(#{description := <<>>}) -> [];
description(#{description := Text}) -> [{<<"  ">>, plain(Text, 200)}].

also(#{additional_domains := []}) -> [];
also(#{additional_domains := Domains}) -> [{<<"  also ">>, join(<<", ">>, Domains)}].

by_method(Direction, Views) ->
    Methods = [Method || #{direction := Of, stage := established, method := Method} <- Views, Of =:= Direction],
    case lists:usort(Methods) of
        [] -> <<"none">>;
        Kinds -> join(<<", ">>, [[integer_to_binary(length([true || Each <- Methods, Each =:= Kind])), " ", method(Kind)]
                                 || Kind <- Kinds])
    end.

%%% show

-spec show(Domain :: binary()) -> answer().
show(Domain) ->
    case s2s_partners_nif:domain(Domain) of
        {error, Why} ->
            {error, paragraph(<<>>, [quoted(Domain), " ", Why, "; give the partner's domain: s2s_partners_show fabrikam.com"])};
        {ok, Name} ->
            Found = [{Group, Partner} || {Policy, _} = Group <- groups(s2s_partners_in_force:vhosts()), Policy =/= none,
                                         Partner <- [s2s_partners_nif:policy_find(Policy, Name)], Partner =/= none],
            case Found of
                [] ->
                    {error, not_applied()
                     ++ paragraph(<<>>, [Name, " is not a partner: no entry covers it, and domains not listed are refused. Look at "
                                         "s2s_partners_list, or add it to ", s2s_partners_nif:words(<<"{option.partners}">>),
                                         " and reload"])};
                _ ->
                    {ok, not_applied() ++ lists:append([shown(Name, Group, Partner) || {Group, Partner} <- Found])
                     ++ [<<>>, join(<<>>, [s2s_partners_layout:count(length(Found), <<"policy">>, <<"policies">>), " with ", Name])]}
            end
    end.

shown(Name, {_, [Host | _] = Hosts}, Partner) ->
    paragraph(<<>>, found(Name, Partner))
        ++ lists:append([paragraph(First, Text) || {First, Text} <- description(Partner) ++ also(Partner)])
        ++ paragraph(<<"  hosts ">>, join(<<", ">>, Hosts)) ++ [<<>>]
        ++ table([#{title => <<"Setting">>, min => 16}, #{title => <<"Value">>, min => 24}, #{title => <<"From">>, min => 16}],
                 [[Setting, Value, short(From)] || {Setting, Value, From} <- settings(Partner)], [])
        ++ lists:append([paragraph(<<"warning: ">>, Warning) || Warning <- warnings(Host, Partner)])
        ++ live(Partner, Hosts)
        ++ last_streams(Partner)
        ++ decisions(Partner, Hosts).

%% A place without what is the same of all: the title has said where the entry stands.
-spec short(binary()) -> binary().
short(<<"modules.mod_s2s_partners.", Place/binary>>) -> Place;
short(From) -> From.

%% Where the domain was found, in words.
-spec found(binary(), partner()) -> binary().
found(Domain, #{match := default}) ->
    join(<<>>, [Domain, " is not listed; ", s2s_partners_nif:words(<<"{option.default}">>), " applies"]);
found(_, #{match := primary, name := Name, place := Place}) ->
    join(<<", ">>, [Name, Place]);
found(Domain, #{match := Match, name := Name, place := Place}) ->
    join(<<>>, [Name, ", ", Place, ": ", Domain, " is covered by its additional_domains",
                case Match of wildcard -> " (a wildcard)"; _ -> "" end]).

%% {Setting, Value, From}
-spec settings(partner()) -> [{binary(), binary(), binary()}].
settings(#{type := Type, place := Place, methods := Methods, row_methods := RowMethods} = Partner) ->
    Given = maps:get(given, Partner),
    From = fun(Key, Otherwise) -> case lists:member(Key, Given) of true -> Place; false -> Otherwise end end,
    ByType = join(<<>>, ["default of ", atom_to_binary(Type)]),
    Written = fun(none) -> <<"default">>; ([]) -> <<"default">>; (_) -> Place end,
    #{tls := Tls, sasl := Sasl, dialback := Dialback, trust_anchors := Anchors, pins := Pins, crls := Crls, host_crls := HostCrls,
      revocation := Revocation, connection_limit := Limit, keepalive := Keepalive, proxy := Proxy,
      presence_authorization := Presence, group_chat := GroupChat, personal_events := Events, external_access := Access} = Partner,
    [{<<"partner_type">>, join(<<>>, [atom_to_binary(Type), " (", meaning(Type), ")"]), Place},
     {<<"tls">>, atom_to_binary(Tls), From(tls, <<"default">>)},
     {<<"sasl">>, atom_to_binary(Sasl), From(sasl, <<"default">>)},
     {<<"dialback">>, atom_to_binary(Dialback), From(dialback, <<"default">>)},
     {<<"methods">>, methods(Methods), case length(Methods) < length(RowMethods) of
                                           true -> <<"tls, sasl, dialback and ejabberd's own options">>;
                                           false -> <<"tls, sasl, dialback">>
                                       end},
     {<<"trust_anchors">>, case Anchors of none -> <<"what the host trusts">>; _ -> Anchors end, Written(Anchors)}]
        ++ [{<<"pinned_keys">>, Pin, Place} || Pin <- Pins]
        ++ [{<<"pinned_keys">>, <<"none">>, <<"default">>} || Pins =:= []]
        ++ [{<<"crls">>, Crl, Place} || Crl <- Crls]
        ++ [{<<"crls">>, <<"those of the host">>, <<"modules.mod_s2s_partners.crls">>} || HostCrls]
        ++ [{<<"crls">>, <<"none">>, <<"default">>} || not HostCrls, Crls =:= []]
        ++ [{<<"revocation">>, atom_to_binary(Revocation), From(revocation, <<"default">>)},
            {<<"connection_limit">>, integer_to_binary(Limit),
             From(connection_limit, join(<<>>, [s2s_partners_nif:words(<<"{option.limits}">>), " or its default"]))},
            {<<"keepalive">>, atom_to_binary(Keepalive), From(keepalive, <<"default">>)},
            {<<"proxy">>, proxy(Proxy), Written(Proxy)},
            {<<"presence_authorization">>, atom_to_binary(Presence), From(presence_authorization, ByType)},
            {<<"group_chat">>, atom_to_binary(GroupChat), From(group_chat, ByType)},
            {<<"personal_events">>, atom_to_binary(Events), From(personal_events, ByType)},
            {<<"external_access">>, access(Access), From(external_access, <<"default">>)}].

meaning(federated) -> <<"high trust: their users are trusted to be who they are">>;
meaning(public_verified) -> <<"a public provider that verifies its users">>;
meaning(public_unverified) -> <<"a public provider that does not: only listed contacts get through">>.

proxy(none) -> <<"none, DNS is asked">>;
proxy({Host, Port}) ->
    join(<<>>, case binary:match(Host, <<":">>) of
                   nomatch -> [Host, ":", integer_to_binary(Port)];
                   _ -> ["[", Host, "]:", integer_to_binary(Port)]
               end).

access(none) -> <<"as the host">>;
access({Default, Users}) -> join(<<>>, ["default ", atom_to_binary(Default), ", ", count(Users, <<"user">>), " named"]).

live(#{name := Name}, Hosts) ->
    Views = [View || #{partner := Of} = View <- all_streams(), Of =:= Name, lists:member(host(View), Hosts)],
    case Views of
        [] ->
            [<<>>, <<"No live streams.">>];
        _ ->
            [<<>>, <<"Live streams">> | stream_table(Views)] ++ certificates(Views)
    end.

%% The virtual host of a stream; the domain it was opened for may be that of a room service.
-spec host(map()) -> binary().
host(View) ->
    maps:get(vhost, View, maps:get(local, View, <<>>)).

certificates(Views) ->
    Now = erlang:system_time(second),
    Seen = lists:foldl(fun(#{report := #{} = Report} = View, Sofar) -> Sofar#{maps:get(pins, Report, []) => {View, Report}};
                          (_, Sofar) -> Sofar
                       end, #{}, Views),
    lists:append([[<<>>, join(<<>>, ["Certificate that ", plain(maps:get(remote, View, <<"the peer">>), 255), " presented"])]
                  ++ lists:append([paragraph(io_lib:format("  ~-10ts", [Title]), Text) || {Title, Text} <- certificate(Report, Now),
                                                                                          Title =/= <<"pin">>])
                  ++ [join(<<>>, ["  pin       ", Pin]) || {<<"pin">>, Pin} <- certificate(Report, Now)]
                  || {View, Report} <- maps:values(Seen)]).

%% What a partner presented, as titles and texts.
-spec certificate(s2s_partners_nif:report(), integer()) -> [{binary(), binary()}].
certificate(#{verdict := Verdict, cause := Cause} = Report, Now) ->
    Names = [join(<<>>, [atom_to_binary(Type), ":", Name, case Finding of match -> " (matches)"; _ -> "" end])
             || {Type, Name, Finding} <- maps:get(names, Report, [])],
    [{<<"verdict">>, case Verdict of valid -> <<"valid">>; _ -> join(<<": ">>, [atom_to_binary(Verdict), Cause]) end}]
        ++ [{atom_to_binary(Key), plain(Text, 300)} || Key <- [subject, issuer, serial], {ok, Text} <- [maps:find(Key, Report)]]
        ++ [{<<"names">>, case Names of [] -> <<"none (subjectAltName is empty)">>; _ -> join(<<", ">>, Names) end}]
        ++ [{<<"expires">>, s2s_partners_layout:expiry(Time, Now)} || {ok, Time} <- [maps:find(not_after, Report)]]
        ++ [{<<"chain">>, s2s_partners_layout:expiry(Time, Now)} || {ok, Time} <- [maps:find(chain_not_after, Report)],
                                                                    {ok, Time} =/= maps:find(not_after, Report)]
        ++ [{<<"revocation">>, join(<<>>, ["not known: ", Why])} || {ok, Why} <- [maps:find(uncovered, Report)]]
        ++ [{<<"pin">>, Pin} || Pin <- lists:sublist(maps:get(pins, Report, []), 1)].

last_streams(#{match := default}) ->
    [];
last_streams(#{name := Name}) ->
    [<<>>, <<"Last streams">>
     | lists:append([paragraph(io_lib:format("  ~-3ts ~-11ts  ", [Direction, Kind]), case Kept of none -> <<"none">>; _ -> recent(Kept) end)
                     || {Direction, Kind, Kept} <- s2s_partners_recent:of_partner(Name)])].

%% One that came about, or was refused, in words.
-spec recent(map()) -> binary().
recent(#{time := Time} = Kept) ->
    Known = [plain(maps:get(Key, Kept), 300) || Key <- [address, host, remote], is_map_key(Key, Kept)],
    What = case Kept of
               #{reason := Reason, rule := Rule} -> join(<<": ">>, [atom_to_binary(Reason), Rule]);
               #{method := Method} -> method(Method)
           end,
    Over = case Kept of
               #{tls := true, certificate := Verdict} -> ["; ", maps:get(protocol, Kept, <<"TLS">>), ", certificate ", atom_to_binary(Verdict)];
               _ -> "; no TLS"
           end,
    join(<<>>, [s2s_partners_layout:date(Time), ", ", join(<<", ">>, Known), ": ", What, Over]).

decisions(#{name := Name}, Hosts) ->
    case totals(Name, Hosts) of
        [] ->
            [<<>>, <<"Nothing has been decided about it since this node started.">>];
        Rows ->
            [<<>>, <<"Decisions since this node started">>
             | table([#{title => <<"Host">>, min => 12}, #{title => <<"Dir">>}, #{title => <<"Decision">>},
                      #{title => <<"Reason">>, min => 20}, #{title => <<"Times">>, right => true}], Rows, [])]
    end.

-spec totals(binary(), [binary()]) -> [[binary()]].
totals(Name, Hosts) ->
    lists:sort([[Host, atom_to_binary(Direction), atom_to_binary(Decision), atom_to_binary(Reason), integer_to_binary(Times)]
                || {{Host, Partner, Direction, Decision, Reason}, Times} <- s2s_partners_report:counters(),
                   Partner =:= Name, lists:member(Host, Hosts)]).

%%% streams

%% Of all nodes, with the node.
-spec streams() -> answer().
streams() ->
    {Views, Silent} = every_node(),
    Established = length([true || #{stage := established} <- Views]),
    {ok, s2s_partners_observe:first_line()
     ++ case Views of [] -> []; _ -> stream_table(Views) ++ [<<>>] end
     ++ [join(<<>>, ["node ", atom_to_binary(Node), " does not answer: its streams are not shown"]) || Node <- Silent]
     ++ [join(<<>>, [count(length(Views), <<"stream">>), ", ", integer_to_binary(Established), " established"])]}.

all_streams() ->
    {Views, _} = every_node(),
    Views.

every_node() ->
    Nodes = ejabberd_cluster:get_nodes(),
    Answers = erpc:multicall(Nodes, ?MODULE, streams_of_node, [], ?CALL_MS),
    {in_order(lists:append([Views || {ok, Views} <- Answers])), [Node || {Node, Answer} <- lists:zip(Nodes, Answers), element(1, Answer) =/= ok]}.

%% By partner's domain, then by ours; those that come in first.
in_order(Views) ->
    [View || {_, View} <- lists:keysort(1, [{{maps:get(remote, View, <<>>), maps:get(local, View, <<>>), maps:get(direction, View)}, View}
                                            || View <- Views])].

%% Called from other nodes.
-spec streams_of_node() -> [map()].
streams_of_node() ->
    [View#{node => node()} || View <- s2s_partners_live:streams()].

%% The node is of interest only where there are several.
stream_table(Views) ->
    Number = case ejabberd_cluster:get_nodes() of [_, _ | _] -> length(stream_titles()); _ -> length(stream_titles()) - 1 end,
    Columns = [#{title => Title, min => Min} || {Title, Min} <- lists:zip(stream_titles(), [3, 16, 12, 9, 7, 11, 9, 12])],
    table(lists:sublist(Columns, Number), [lists:sublist(stream_row(View), Number) || View <- lists:sort(fun before/2, Views)], []).

before(#{node := NodeA} = A, #{node := NodeB} = B) ->
    {NodeA, maps:get(remote, A, <<>>)} =< {NodeB, maps:get(remote, B, <<>>)}.

-spec stream_titles() -> [binary()].
stream_titles() ->
    [<<"Dir">>, <<"Remote">>, <<"Host">>, <<"Method">>, <<"TLS">>, <<"Certificate">>, <<"Address">>, <<"Node">>].

-spec stream_row(map()) -> [binary()].
stream_row(#{direction := Direction, node := Node} = View) ->
    Tls = maps:get(tls, View, false),
    [case {View, Direction} of
         {#{bidi := true}, _} -> <<"in+out">>;
         {_, incoming} -> <<"in">>;
         {_, outgoing} -> <<"out">>
     end,
     known(maps:get(remote, View, <<>>)), known(maps:get(local, View, <<>>)),
     case View of
         #{stage := established, method := Method} -> method(Method);
         #{stage := Stage} -> <<"(", (atom_to_binary(Stage))/binary, ")">>;
         _ -> <<"(open)">>
     end,
     case View of
         #{protocol := Version} when is_binary(Version), Tls -> Version;
         _ when Tls -> <<"yes">>;
         _ -> <<"no">>
     end,
     case Tls of true -> atom_to_binary(maps:get(certificate, View)); false -> <<"-">> end,
     plain(maps:get(address, View, <<"-">>), 60),
     node_label(Node)].

%% What tells it from the others: packages call every node ejabberd@ its machine.
node_label(Node) ->
    [Name, Machine] = binary:split(atom_to_binary(Node), <<"@">>),
    case [Other || Other <- [node() | nodes()], Other =/= Node, hd(binary:split(atom_to_binary(Other), <<"@">>)) =:= Name] of
        [] -> Name;
        _ -> Machine
    end.

known(Domain) when is_binary(Domain), Domain =/= <<>> -> plain(Domain, 255);
known(_) -> <<"(not known yet)">>.

%%% Shared

%% The partners of a virtual host in the order of the list.
-spec partners(binary()) -> [partner()] | none.
partners(Host) ->
    case policy(Host) of
        none -> none;
        Policy -> s2s_partners_nif:policy_partners(Policy)
    end.

%% Warnings in force about the entry of a partner.
-spec warnings(binary(), partner()) -> [binary()].
warnings(Host, #{place := Place}) ->
    Size = byte_size(Place),
    case s2s_partners_in_force:current() of
        #{issues := #{Host := Issues}} ->
            [Message || #{severity := warning, path := Path, message := Message} <- Issues,
                        byte_size(Path) >= Size, binary:part(Path, 0, Size) =:= Place, at_end(Path, Size)];
        _ ->
            []
    end.

%% partners[1] is no beginning of partners[10].
at_end(Path, Size) ->
    case Path of
        <<_:Size/binary>> -> true;
        <<_:Size/binary, Next, _/binary>> -> Next =:= $\s orelse Next =:= $.;
        _ -> false
    end.

hosts(<<>>) ->
    {ok, lists:sort(s2s_partners_in_force:vhosts())};
hosts(Host) ->
    case lists:member(Host, s2s_partners_in_force:vhosts()) of
        true -> {ok, [Host]};
        false -> {error, paragraph(<<>>, [quoted(Host), " is not a virtual host of this server; give one of them, or an empty string for "
                                          "all"])}
    end.

policy(Host) ->
    case s2s_partners_in_force:policy(Host) of
        {ok, Policy} -> Policy;
        none -> none
    end.

%% Said first: that the last attempt to read the configuration failed, so what is on disk is not what is shown.
not_applied() ->
    s2s_partners_observe:first_line() ++ on_disk().

on_disk() ->
    case s2s_partners_guard:last_reload() of
        #{result := rejected, time := Time, errors := Errors} ->
            paragraph(<<>>, ["The configuration on disk is NOT in force: ", count(length(Errors), <<"error">>), ", rejected at ",
                             s2s_partners_layout:date(Time), "; what was in force before stays. ",
                             s2s_partners_nif:words(<<"Run \"{check}\".">>)]) ++ [<<>>];
        _ ->
            case s2s_partners_in_force:current() of
                #{files := Files} ->
                    case s2s_partners_config_files:have_changed(Files) of
                        true ->
                            paragraph(<<>>, "The configuration on disk is NOT in force: it has changed since it was read; s2s_partners_check looks at "
                                            "it, a reload applies it") ++ [<<>>];
                        false ->
                            []
                    end;
                _ ->
                    []
            end
    end.

quoted(Text) ->
    join(<<>>, ["\"", plain(Text, 80), "\""]).
