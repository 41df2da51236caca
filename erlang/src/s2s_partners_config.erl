%%% The configuration of all virtual hosts, compiled in one step: all of it, or nothing. Used three times: by the validators of
%%% mod_s2s_partners while ejabberd judges a file that is to be reloaded, at the commit, and by the check of what is on disk. They
%%% differ in where options come from.
%%%
%%% What is right and wrong is said by the NIF. Here are hosts, files and ejabberd's own options; and what hosts share is compiled once
%%% and told once.
-module(s2s_partners_config).

-export([compile/0, options/0, absent/0, unread/1, routes/0]).

-export_type([outcome/0, issue/0]).

-type issue() :: #{severity := error | warning, message := binary(), _ => _}.
%% mode: read by itself, whatever else is wrong. partners: how many there are in all tables. unguarded: virtual hosts whose `modules` lacks the module.
-type outcome() :: #{term := s2s_partners_in_force:term_in_force() | none, issues := [issue()], partners := non_neg_integer(),
                     unguarded := [binary()], hosts := [binary()], mode => enforce | observe}.
-type get_option() :: s2s_partners_config_constraints:get_option().

-define(MODULE_PATH, "modules.mod_s2s_partners.").
%% Certificates in a file of the option intermediates.
-define(INTERMEDIATES_MAX, 100).

%% The options of the module, besides what the keys of a partner are.
-spec options() -> [atom()].
options() ->
    [partners, files, default, limits, external_access, crls, intermediates, mode].

%% The value of an option that was not written. No file can hold it, so a word such as "undefined" stays an error.
-spec absent() -> {absent}.
absent() ->
    {absent}.

%% What ejabberd's options say now. Inside of ejabberd's own validation that is the configuration which is being judged.
-spec compile() -> outcome().
compile() ->
    compile(fun(Option, Host) -> ejabberd_config:get_option({Option, Host}) end, ejabberd_option:hosts()).

%% Never raises: whatever goes wrong is an error among the issues.
compile(Get, Hosts) ->
    (compiled(Get, Hosts))#{mode => mode(Get, Hosts)}.

%% Observing is what every host with the module says, in that one word.
mode(Get, Hosts) ->
    try lists:usort([mode_of(Options) || Host <- Hosts, #{} = Options <- [options_of(Get, Host)]]) of
        [observe] -> observe;
        _ -> enforce
    catch
        _:_ -> enforce
    end.

mode_of(Options) ->
    case s2s_partners_config_values:value(maps:get(mode, Options, enforce)) of
        <<"observe">> -> observe;
        <<"enforce">> -> enforce;
        _ -> invalid
    end.

compiled(Get, Hosts) ->
    try
        case s2s_partners_nif:loaded() of
            ok -> compile_all(Get, Hosts);
            {error, Why} -> failure(Hosts, <<"the library of mod_s2s_partners is not loaded: ", Why/binary>>)
        end
    catch
        Class:Reason:Stack ->
            failure(Hosts, iolist_to_binary(io_lib:format("the configuration could not be read: ~p: ~P in ~p",
                                                          [Class, Reason, 9, where(Stack)])))
    end.

%% Who was to read it has died.
-spec unread(term()) -> outcome().
unread(Reason) ->
    failure(ejabberd_option:hosts(), iolist_to_binary(io_lib:format("the configuration could not be read: ~P", [Reason, 9]))).

where([{Module, Function, Arity, _} | _]) when is_integer(Arity) -> {Module, Function, Arity};
where([{Module, Function, Arguments, _} | _]) -> {Module, Function, length(Arguments)};
where(_) -> unknown.

failure(Hosts, Message) ->
    #{term => none, partners => 0, unguarded => [], hosts => Hosts,
      issues => [#{severity => error, code => <<"internal-error">>, path => <<>>, got => <<>>, expected => <<>>, nearest => <<>>,
                   message => Message}]}.

%% What the configuration says of one host: none when its `modules` lacks the module.
options_of(Get, Host) ->
    case lists:keyfind(mod_s2s_partners, 1, Get(modules, Host)) of
        false -> none;
        Entry -> own_options(element(2, Entry))
    end.

%% As validated (a map with every option), or as written (a list with those that are there).
own_options(Opts) when is_map(Opts) ->
    maps:filter(fun(Option, Value) -> lists:member(Option, options()) andalso Value =/= absent() end, Opts);
own_options(Opts) when is_list(Opts) ->
    maps:from_list([{Option, Value} || Option <- options(),
                                       {ok, Value} <- [s2s_partners_config_values:find(atom_to_binary(Option, latin1), Opts)]]);
own_options(_) ->
    #{}.

%%% Compiling. What is found on the way is collected in a state.

-record(run, {get :: get_option(),
              locals :: [binary()],
              tables = [] :: [{Key :: term(), Table :: term(), Partners :: [map()], [issue()]}],
              policies = [] :: [{Key :: term(), Policy :: term(), [issue()]}],
              issues = [] :: [issue()],                  % reversed
              seen = #{} :: #{binary() => []},
              host :: binary() | undefined,              % whose options are being read
              by_host = #{} :: #{binary() => [issue()]},
              failed = false :: boolean(),
              stores = #{} :: map(),
              crls = #{} :: map(),                       % by path
              signatures = #{} :: map(),                 % of those files, from before they were read
              patterns = #{} :: map(),                   % pattern -> paths
              ders = #{} :: map()}).                     % intermediates by path as written

compile_all(Get, Hosts) ->
    Own = [{Host, options_of(Get, Host)} || Host <- Hosts],
    Run0 = #run{get = Get, locals = lists:usort(Hosts ++ routes())},
    Guarded = [{Host, Options} || {Host, #{} = Options} <- Own],
    s2s_partners_config_files:watch(),
    {Policies, Run1} = lists:mapfoldl(fun host/2, Run0, Guarded),
    Unguarded = [Host || {Host, none} <- Own],
    Run2 = modes(Guarded, lists:foldl(fun unguarded/2, Run1, Unguarded)),
    #run{issues = Issues, failed = Failed, tables = Tables} = Run2,
    Watched = s2s_partners_config_files:watched(),
    Term = case Failed of
               true -> none;
               false -> (term_of(Policies, Hosts, Run2))#{files => Watched}
           end,
    #{term => Term, issues => lists:reverse(Issues), unguarded => Unguarded, hosts => Hosts,
      partners => lists:sum([length(Partners) || {_, _, Partners, _} <- Tables])}.

term_of(Policies, Hosts, #run{locals = Locals, stores = Stores, crls = Crls, signatures = Signatures, patterns = Patterns, ders = Ders,
                               by_host = ByHost}) ->
    #{policies => maps:from_list([{Host, Policy} || {Host, Policy, _, _} <- Policies]),
      vhosts => maps:from_list([{Host, []} || Host <- Hosts]),
      limits => maps:from_list([{Host, s2s_partners_nif:policy_limits(Policy)} || {Host, Policy, _, _} <- Policies]),
      stores => maps:filter(fun({Kind, _}, _) -> Kind =/= read end, Stores),
      issues => maps:map(fun(_, Issues) -> lists:reverse(Issues) end, ByHost),
      crls => Crls,
      crl_signatures => Signatures,
      patterns => Patterns,
      host_crls => maps:from_list([{Host, Names} || {Host, _, Names, _} <- Policies]),
      intermediates => maps:from_list([{Host, lists:append([maps:get(Name, Ders, []) || Name <- Names])}
                                       || {Host, _, _, Names} <- Policies, Names =/= []]),
      locals => Locals,
      applied => erlang:system_time(second)}.

%% All that this server serves: hosts, rooms, components. While ejabberd reads its configuration for the first time there are none.
-spec routes() -> [binary()].
routes() ->
    try ejabberd_router:get_all_routes()
    catch _:_ -> []
    end.

host({Host, Options}, Before) ->
    Run0 = Before#run{host = Host},
    Prefix = prefix(Host, Options, Run0),
    {Table, Partners, Run1} = table(Prefix, Options, Run0),
    {Crls, CrlIssues} = paths_of(crls, Options, "a file of revocation lists, or a pattern such as \"crls/*.crl\""),
    {Chains, ChainIssues} = paths_of(intermediates, Options, "a PEM file of certificates"),
    {Policy, Run2} = policy(Prefix, Host, Options, Table, Partners, Crls =/= [], CrlIssues ++ ChainIssues, Run1),
    Run3 = host_store(Prefix, Host, Run2),
    Run4 = anchors(Prefix, Partners, Run3),
    Run5 = revocation(Prefix, Crls, Partners, Run4),
    Run6 = lists:foldl(fun(Name, Run) -> intermediates(Prefix, Name, Run) end, Run5, Chains),
    {{Host, Policy, Crls, Chains}, Run6}.

%% Issues of a host that says something of its own need its name to be found.
prefix(Host, Options, #run{get = Get}) ->
    Differs = [options_of(Get, global) =/= none andalso Options =/= options_of(Get, global)
               | [Get(Option, Host) =/= Get(Option, global) || Option <- [s2s_access, s2s_use_starttls, shaper_rules]]],
    case lists:member(true, Differs) of
        true -> <<"host_config.\"", Host/binary, "\": ">>;
        false -> <<>>
    end.

unguarded(Host, Run) ->
    tell(<<>>, [issue(warning, <<"no-module">>, <<"host_config.\"", Host/binary, "\".modules">>, <<>>,
                      <<"lacks mod_s2s_partners, so every stream with another server is refused there (config-invalid); add it">>)],
         Run).

%% It counts for the whole node.
modes(Guarded, Run) ->
    Modes = [mode_of(Options) || {_, Options} <- Guarded],
    Wrong = lists:usort([s2s_partners_config_values:show(maps:get(mode, Options)) || {_, Options} <- Guarded, mode_of(Options) =:= invalid]),
    Differ = length(lists:usort(Modes)) > 1 andalso Wrong =:= [],
    tell(<<>>, [issue(error, <<"mode">>, <<?MODULE_PATH "mode">>, Got, <<"must be \"enforce\" or \"observe\"; everything is enforced until then">>)
                || Got <- Wrong]
         ++ [issue(error, <<"mode">>, <<?MODULE_PATH "mode">>, <<>>,
                   <<"is not the same for all hosts, and counts for the whole server: write it once, in the global list of modules; everything is "
                     "enforced until then">>) || Differ], Run).

%%% The table

table(Prefix, Options, #run{tables = Tables, locals = Locals} = Run) ->
    Key = {maps:get(partners, Options, absent), maps:get(files, Options, absent)},
    case lists:keyfind(Key, 1, Tables) of
        {_, Table, Partners, Known} ->
            {Table, Partners, tell(Prefix, Known, Run)};
        false ->
            {Written, Files} = Key,
            {Lists, FileIssues} = s2s_partners_config_files:partner_lists(<<?MODULE_PATH "files">>, Files),
            All = [{<<?MODULE_PATH "partners">>, Written} || Written =/= absent] ++ Lists,
            {Values, UserIssues} = lists:unzip([list_of_partners(Place, List) || {Place, List} <- All]),
            Spec = #{locals => Locals, lists => Values, issues => FileIssues ++ lists:append(UserIssues)},
            {Table, Partners, Issues} =
                case s2s_partners_nif:compile(Spec) of
                    {ok, Sealed, Warnings} -> {Sealed, s2s_partners_nif:table_partners(Sealed), Warnings};
                    {error, Errors} -> {none, [], Errors}
                end,
            {Table, Partners, tell(Prefix, Issues, Run#run{tables = [{Key, Table, Partners, Issues} | Tables]})}
    end.

list_of_partners(Place, List) ->
    {Prepared, Issues} = s2s_partners_config_users:prepare_entries(Place, List),
    {{Place, s2s_partners_config_values:value(Prepared)}, Issues}.

%%% The policy of a host

policy(Prefix, Host, Options, Table, Partners, HasCrls, Found, #run{get = Get, policies = Policies} = Run) ->
    {Access, AccessIssues} = s2s_partners_config_users:prepare(<<?MODULE_PATH "external_access">>,
                                                               maps:get(external_access, Options, absent)),
    #{constraints := Constraints, holding := Holding, issues := HostIssues} =
        s2s_partners_config_constraints:collect(Host, Get, Partners),
    Spec = #{default => s2s_partners_config_values:value(maps:get(default, Options, absent)),
             limits => s2s_partners_config_values:value(maps:get(limits, Options, absent)),
             external_access => s2s_partners_config_values:value(Access),
             constraints => Constraints,
             holding => Holding,
             issues => Found ++ AccessIssues ++ HostIssues,
             crls => HasCrls,
             out_of_reach => false},
    Key = {Table, Spec},
    case lists:keyfind(Key, 1, Policies) of
        {_, Policy, Known} ->
            {Policy, tell(Prefix, Known, Run)};
        false ->
            {Policy, Issues} = case s2s_partners_nif:compile_policy(Table, Spec) of
                                   {ok, Sealed, Warnings} -> {Sealed, Warnings ++ without_lists(Sealed, HasCrls)};
                                   {error, Errors} -> {none, Errors}
                               end,
            Failed = Run#run.failed orelse Policy =:= none,
            {Policy, tell(Prefix, Issues, Run#run{policies = [{Key, Policy, Issues} | Policies], failed = Failed})}
    end.

%% The paths that an option names: one, or a list. What is none is an issue.
paths_of(Option, Options, What) ->
    Written = case maps:get(Option, Options, []) of
                  List when is_list(List) -> List;
                  One -> [One]
              end,
    Path = <<?MODULE_PATH, (atom_to_binary(Option, latin1))/binary>>,
    {Good, Issues} = lists:foldl(
                       fun({Index, Item}, {Good, Issues}) ->
                               case is_tuple(Item) orelse s2s_partners_config_values:value(Item) of
                                   Name when is_binary(Name), Name =/= <<>> ->
                                       {[Name | Good], Issues};
                                   _ ->
                                       {Good, [{error, <<"wrong-type">>, iolist_to_binary([Path, $[, integer_to_list(Index), $]]),
                                                show_item(Item), iolist_to_binary(["must be the path of ", What])} | Issues]}
                               end
                       end, {[], []}, lists:zip(lists:seq(1, length(Written)), Written)),
    {lists:reverse(Good), lists:reverse(Issues)}.

show_item(Item) when is_tuple(Item) -> <<"a mapping">>;
show_item(Item) -> s2s_partners_config_values:show(Item).

%%% Files that count for certificates. A store that has been read for one host serves all.

host_store(Prefix, Host, #run{get = Get, stores = Stores} = Run) ->
    File = case Get(s2s_cafile, Host) of
               undefined -> iolist_to_binary(Get(ca_file, global));
               Path -> iolist_to_binary(Path)
           end,
    {Outcome, Known} = read_store({file, File}, #{file => s2s_partners_config_files:join(File)}, Stores),
    case Outcome of
        {ok, Store, Warnings} ->
            tell(Prefix, [issue(warning, <<"trust-store">>, Host, <<>>, <<"the trust store of this host lacks something: ", Line/binary>>)
                          || Line <- Warnings],
                 Run#run{stores = Known#{{host, Host} => Store}});
        {error, Message} ->
            tell(Prefix, [issue(error, <<"trust-store">>, Host, <<>>,
                                <<"the trust store of this host cannot be read: ", Message/binary,
                                  "; see s2s_cafile and ca_file">>)], Run)
    end.

anchors(Prefix, Partners, Run) ->
    lists:foldl(fun(#{trust_anchors := Path} = Partner, Sofar) when is_binary(Path) -> anchor(Prefix, Partner, Sofar);
                   (_, Sofar) -> Sofar
                end, Run, Partners).

anchor(Prefix, #{trust_anchors := Path} = Partner, #run{stores = Stores} = Run) ->
    Place = <<(place(Partner))/binary, ".trust_anchors">>,
    {Outcome, Known} = read_store({anchors, Path}, #{anchors => s2s_partners_config_files:join(Path)}, Stores),
    case Outcome of
        {ok, Store, Warnings} ->
            tell(Prefix, [issue(warning, <<"trust-anchors">>, Place, quote(Path), Line) || Line <- Warnings],
                 Run#run{stores = Known#{{anchors, Path} => Store}});
        {error, Message} ->
            tell(Prefix, [issue(error, <<"trust-anchors">>, Place, quote(Path), Line) || Line <- lines(Message)], Run)
    end.

read_store(Key, Source, Stores) ->
    case Stores of
        #{{read, Key} := Outcome} ->
            {Outcome, Stores};
        #{} ->
            Outcome = s2s_partners_nif:trust_store(Source#{now => erlang:system_time(second)}),
            {Outcome, Stores#{{read, Key} => Outcome}}
    end.

place(#{place := Place, name := Name}) ->
    <<Place/binary, " (\"", Name/binary, "\")">>.

quote(Text) ->
    <<$", Text/binary, $">>.

lines(Text) ->
    [Line || Line <- binary:split(Text, <<"\n">>, [global]), Line =/= <<>>].

%%% Revocation lists

%% Partners whose certificates are all refused, as nothing says that one of them has not been revoked.
without_lists(Policy, HasCrls) ->
    Remedy = case HasCrls of
                 true -> <<" (those of the host do not count beside trust_anchors)">>;
                 false -> <<" or " ?MODULE_PATH "crls">>
             end,
    [issue(warning, <<"no-crls">>, <<(place(Partner))/binary, ".revocation">>, quote(<<"required">>),
           <<"no revocation list counts for this partner, so every certificate is refused; name its lists in crls", Remedy/binary>>)
     || #{revocation := required, crls := [], host_crls := false} = Partner <- s2s_partners_nif:policy_partners(Policy)].

revocation(Prefix, HostPatterns, Partners, Run0) ->
    Run1 = lists:foldl(fun({Index, Pattern}, Run) ->
                               Place = iolist_to_binary([?MODULE_PATH "crls[", integer_to_list(Index), "]"]),
                               crl_pattern(Prefix, Place, Pattern, Run)
                       end, Run0, lists:zip(lists:seq(1, length(HostPatterns)), HostPatterns)),
    lists:foldl(fun(#{crls := Patterns} = Partner, Run) ->
                        lists:foldl(fun({Index, Pattern}, Sofar) ->
                                            Place = iolist_to_binary([place(Partner), ".crls[", integer_to_list(Index), "]"]),
                                            crl_pattern(Prefix, Place, Pattern, Sofar)
                                    end, Run, lists:zip(lists:seq(1, length(Patterns)), Patterns))
                end, Run1, Partners).

crl_pattern(Prefix, Place, Pattern, #run{patterns = Known} = Run0) when not is_map_key(Pattern, Known) ->
    {Names, Bad} = s2s_partners_config_files:expand(Pattern),
    Ill = [issue(error, <<"crls">>, Place, quote(Name), <<"is not a file, or a link that leads to none; correct or remove it">>)
           || Name <- Bad],
    None = case {Names, Bad, s2s_partners_config_files:has_wildcard(Pattern)} of
               {[], [], true} ->
                   [issue(warning, <<"no-match">>, Place, quote(Pattern), <<"no file matches">>)];
               {[], [], false} ->
                   [issue(error, <<"crls">>, Place, quote(Pattern), why_no_list(Pattern))];
               _ ->
                   []
           end,
    Paths = [s2s_partners_config_files:join(Name) || Name <- Names],
    Run1 = tell(Prefix, Ill ++ None, Run0#run{patterns = Known#{Pattern => Paths}}),
    lists:foldl(fun(Path, Run) -> crl_file(Prefix, Place, Pattern, Path, Run) end, Run1, Paths);
crl_pattern(_Prefix, _Place, _Pattern, Run) ->
    Run.

why_no_list(Pattern) ->
    case s2s_partners_config_files:kind(s2s_partners_config_files:join(Pattern)) of
        folder -> <<"is a folder; name the files in it, as \"crls/*.crl\" does">>;
        other -> <<"is no ordinary file; name a file of revocation lists">>;
        {error, Why} -> <<"cannot be read: ", Why/binary>>;
        _ -> <<"there is no such file; fetch the revocation list into it, or remove its name">>
    end.

crl_file(Prefix, Place, Pattern, Path, #run{crls = Crls, signatures = Signatures} = Run) when not is_map_key(Path, Crls) ->
    Signature = s2s_partners_crl_watch:signature(Path),
    case s2s_partners_nif:crl_read(Path) of
        {ok, Crl, Warnings} ->
            tell(Prefix, [issue(warning, <<"crls">>, Place, quote(Pattern), Line) || Line <- Warnings ++ gives_up(Path, Crl)],
                 Run#run{crls = Crls#{Path => Crl}, signatures = Signatures#{Path => Signature}});
        {error, Message} ->
            tell(Prefix, [issue(error, <<"crls">>, Place, quote(Pattern), Line) || Line <- lines(Message)], Run)
    end;
crl_file(_Prefix, _Place, _Pattern, _Path, Run) ->
    Run.

%% A reload takes what the watch does not: the administrator may know better.
gives_up(Path, Crl) ->
    case s2s_partners_in_force:current() of
        #{crls := #{Path := Before}} ->
            case s2s_partners_nif:crl_follows(Crl, Before, os:system_time(second)) of
                ok -> [];
                {error, Why, _} -> [<<Why/binary, "; what it has revoked may pass again. Fetch it from its authority, unless this is known to "
                                                  "be right">>]
            end;
        _ ->
            []
    end.

%%% Intermediates: certificates that partners do not show, or whose chain the TLS library does not give out. They make nothing valid.

intermediates(Prefix, Name, #run{ders = Known} = Run) when not is_map_key(Name, Known) ->
    Read = s2s_partners_config_files:read(s2s_partners_config_files:join(Name), 1 bsl 20),
    {Ders, Issues} = case Read of
                         {ok, Text} -> certificates(Text);
                         {error, Why} -> {[], [Why]}
                     end,
    tell(Prefix, [issue(error, <<"intermediates">>, <<?MODULE_PATH "intermediates">>, quote(Name), Line) || Line <- Issues],
         Run#run{ders = Known#{Name => Ders}});
intermediates(_Prefix, _Name, Run) ->
    Run.

certificates(Text) ->
    try [Der || {'Certificate', Der, not_encrypted} <- public_key:pem_decode(Text)] of
        [] -> {[], [<<"holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)">>]};
        Ders when length(Ders) > ?INTERMEDIATES_MAX -> {[], [<<"holds more than 100 certificates; keep those of your partners">>]};
        Ders -> {Ders, []}
    catch
        error:_ -> {[], [<<"is no PEM file">>]}
    end.

%%% Issues

issue(Severity, Code, Path, Got, Expected) ->
    #{severity => Severity, code => Code, path => Path, got => Got, expected => Expected, nearest => <<>>,
      message => iolist_to_binary([Path, ": ", [["got ", Got, "; "] || Got =/= <<>>], Expected])}.

%% Adds what has not been told yet, for another host.
tell(Prefix, Issues, Run) ->
    lists:foldl(fun(#{message := Message, severity := Severity} = Issue, #run{issues = Told, seen = Seen, failed = Failed} = Sofar) ->
                        Now = own(Issue, Sofar#run{failed = Failed orelse Severity =:= error}),
                        case Seen of
                            #{Message := _} -> Now;
                            #{} -> Now#run{issues = [Issue#{message := <<Prefix/binary, Message/binary>>} | Told],
                                           seen = Seen#{Message => []}}
                        end
                end, Run, Issues).

own(_Issue, #run{host = undefined} = Run) ->
    Run;
own(Issue, #run{host = Host, by_host = ByHost} = Run) ->
    Run#run{by_host = ByHost#{Host => [Issue | maps:get(Host, ByHost, [])]}}.
