%%% What `ejabberdctl s2s_partners_check` says: the configuration on disk, judged as a reload would judge it, and whether this server is
%%% ready. Nothing is applied.
-module(s2s_partners_check).

-export([run/0]).

-import(s2s_partners_layout, [paragraph/2, count/2]).

%% ok: a reload would succeed. Warnings change nothing in that.
-spec run() -> {ok | error, [s2s_partners_layout:line()]}.
run() ->
    Now = os:system_time(second),
    {Told, Readable} = case s2s_partners_disk:read(fun judge/0) of
                           {ok, Judged, Foreign} -> {Judged, Foreign};
                           {unreadable, Why} -> {none, [Why]}
                       end,
    {Issues, Summary, Partners, Listen, Hosts} = outcome(Told),
    Errors = [[<<"ejabberd says: ">>, Text] || Text <- Readable]
        ++ [Message || #{severity := error, message := Message} <- Issues],
    Warnings = [Message || #{severity := warning, message := Message} <- Issues],
    {Ports, NoListener} = s2s_partners_readiness:listeners(Listen),
    Server = server() ++ NoListener,
    Certificates = s2s_partners_readiness:certificates(Hosts, Now),
    Own = s2s_partners_readiness:names(Hosts, Ports),
    Theirs = s2s_partners_readiness:names({partners, Partners}, Ports),
    AllWarnings = length(Warnings) + length([1 || {warning, _} <- Server ++ Certificates ++ Own ++ Theirs]),
    Lines = s2s_partners_list:not_applied()
        ++ lists:append([paragraph(<<"error: ">>, Text) || Text <- Errors])
        ++ lists:append([paragraph(<<"warning: ">>, Text) || Text <- Warnings])
        ++ [<<"The configuration on disk has no errors and no warnings.">> || Errors =:= [], Warnings =:= []]
        ++ Summary
        ++ section(<<"This server">>, Server)
        ++ section(<<"Certificates of this server">>, Certificates)
        ++ section(<<"How partners find this server">>, Own)
        ++ section(<<"How this server finds partners">>, Theirs)
        ++ [<<>>, iolist_to_binary([count(length(Errors), <<"error">>), ", ", count(AllWarnings, <<"warning">>)])],
    {case Errors of [] -> ok; _ -> error end, Lines}.

%% Where ejabberd's options are those on disk.
judge() ->
    #{term := Term} = Outcome = s2s_partners_config:compile(),
    Partners = case Term of
                   none -> [];
                   #{policies := Policies} -> partners(maps:values(Policies))
               end,
    {maps:remove(term, Outcome), Partners, ejabberd_config:get_option({listen, global})}.

outcome({#{issues := Issues, partners := Count, hosts := Hosts}, Partners, Listen}) ->
    {Issues, [iolist_to_binary([count(Count, <<"partner">>), " on disk; checked, not applied."])], Partners, Listen, Hosts};
outcome(none) ->
    %% Then those in force are looked for.
    Policies = case s2s_partners_in_force:current() of
                   none -> [];
                   #{policies := InForce} -> maps:values(InForce)
               end,
    {[], [], partners(Policies), ejabberd_option:listen(), ejabberd_option:hosts()}.

partners(Policies) ->
    All = lists:append([s2s_partners_nif:policy_partners(Policy) || Policy <- lists:usort(Policies)]),
    maps:values(maps:from_list([{Name, Partner} || #{name := Name} = Partner <- All])).

server() ->
    Seam = case s2s_partners_latch:why_closed() of
               none -> [{ok, <<"streams are guarded">>}];
               {error, Why} -> [{warning, <<"everything is refused: ", Why/binary>>}]
           end,
    Learning = case s2s_partners_nif:learned() of
                   #{status := ok, kept := Kept} ->
                       [{ok, iolist_to_binary(["intermediate certificates are learned: ", integer_to_list(Kept), " kept"])}];
                   #{status := Text} ->
                       [{warning, iolist_to_binary(["no intermediate certificates are learned (", Text, "): name those of your partners in "
                                                    "modules.mod_s2s_partners.intermediates"])}]
               end,
    [{ok, iolist_to_binary(["mod_s2s_partners ", s2s_partners_nif:version(), ", ejabberd ", ejabberd_option:version(), ", ",
                            case crypto:info_lib() of [{_, _, OpenSSL} | _] -> OpenSSL; _ -> "OpenSSL" end])} | Seam ++ Learning].

section(_Title, []) ->
    [];
section(Title, Findings) ->
    [<<>>, Title | lists:append([paragraph(grade(Grade), Text) || {Grade, Text} <- Findings])].

grade(ok) -> <<"  ok       ">>;
grade(note) -> <<"  note     ">>;
grade(warning) -> <<"  warning  ">>.
