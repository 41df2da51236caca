%%% Whether this server is ready for partners: its certificates, its listeners, and what DNS says of it and of them. Nothing here is
%%% refused or changed; it is told.
-module(s2s_partners_readiness).

-export([own_certificates/1, certificates/2, listeners/1, names/2]).

-export_type([finding/0]).

-type finding() :: {ok | note | warning, binary()}.

-define(FILE_SIZE_MAX, (1 bsl 20)).
-define(DAY, 86400).
-define(LOOKUP_MS, 5000).
-define(TOTAL_MS, 30000).
-define(PARALLEL, 16).
-define(SHOWN, 200).

%%% Certificates

%% The file that ejabberd shows for each virtual host, with what there is to say of its first certificate. Hosts that have none are left out.
-spec own_certificates([binary()]) -> [{Host :: binary(), File :: binary(), map()}].
own_certificates(Hosts) ->
    Written = written(),
    [{Host, File, Facts} || Host <- Hosts, {ok, File, [Leaf | _]} <- [own_chain(Host, Written)],
                            {ok, Facts} <- [s2s_partners_nif:own_certificate(Leaf, Host)]].

%% ejabberd shows files that it has put together itself. Certificate -> the file of the option `certfiles` that it is from, which is the one to renew.
written() ->
    Patterns = case ejabberd_option:certfiles() of
                   undefined -> [];
                   Configured -> Configured
               end,
    Files = [unicode:characters_to_binary(File) || Pattern <- Patterns, File <- filelib:wildcard(unicode:characters_to_list(Pattern))],
    maps:from_list([{Der, File} || File <- lists:reverse(Files), {ok, Text} <- [s2s_partners_config_files:read(File, ?FILE_SIZE_MAX)],
                                   Der <- certificates_in(Text)]).

certificates_in(Text) ->
    try [Der || {'Certificate', Der, not_encrypted} <- public_key:pem_decode(Text)]
    catch _:_ -> []
    end.

own_chain(Host, Written) ->
    case own_chain(Host) of
        {ok, File, [Leaf | _] = Chain} -> {ok, maps:get(Leaf, Written, File), Chain};
        Error -> Error
    end.

own_chain(Host) ->
    try ejabberd_pkix:get_certfile(Host) of
        {ok, Path} ->
            File = unicode:characters_to_binary(Path),
            case s2s_partners_config_files:read(File, ?FILE_SIZE_MAX) of
                {ok, Text} ->
                    case certificates_in(Text) of
                        [] -> {error, <<File/binary, " holds no certificate">>};
                        Chain -> {ok, File, Chain}
                    end;
                {error, Why} ->
                    {error, <<File/binary, " ", Why/binary>>}
            end;
        error ->
            {error, <<"no certificate is configured (certfiles)">>}
    catch
        _:_ -> {error, <<"the certificate cannot be looked at">>}
    end.

-spec certificates([binary()], Now :: integer()) -> [finding()].
certificates(Hosts, Now) ->
    Written = written(),
    lists:append([certificate(Host, Written, Now) || Host <- Hosts]).

certificate(Host, Written, Now) ->
    case own_chain(Host, Written) of
        {ok, File, [Leaf | _] = Chain} ->
            case s2s_partners_nif:own_certificate(Leaf, Host) of
                {ok, Facts} ->
                    Faults = faults(Host, File, Facts, Now) ++ chain(Host, File, Chain, Now),
                    case [Text || {warning, Text} <- Faults] of
                        [] -> [{ok, in_order(Host, Facts, Now)} | Faults];
                        _ -> Faults
                    end;
                error ->
                    [{warning, iolist_to_binary([Host, ": ", File, " cannot be read as a certificate"])}]
            end;
        {error, Why} ->
            [{warning, iolist_to_binary([Host, ": ", Why, "; partners that require TLS or SASL cannot be reached"])}]
    end.

in_order(Host, #{key_type := Type, key_bits := Bits, not_after := End}, Now) ->
    iolist_to_binary(["names ", Host, ", ", Type, $\s, integer_to_list(Bits), ", expires ", s2s_partners_layout:expiry(End, Now)]).

faults(Host, File, #{names_domain := Named, key_strong := Strong, names := Names, key_type := Type, key_bits := Bits,
                     not_before := Begin, not_after := End}, Now) ->
    [{warning, iolist_to_binary([Host, ": ", File, " ", Text])}
     || Text <- [["does not name ", Host, " (it names ", case Names of <<>> -> "nothing: a common name does not count"; _ -> Names end,
                  "); get one whose subjectAltName has the domain"] || not Named]
            ++ [["has a ", Type, " key of ", integer_to_list(Bits), " bits; at least RSA 2048 or EC 256 is needed"] || not Strong]
            ++ [["has expired: ", s2s_partners_layout:expiry(End, Now), "; renew it"] || End =< Now]
            ++ [["expires soon: ", s2s_partners_layout:expiry(End, Now), "; renew it"] || End > Now, End - Now < 14 * ?DAY]
            ++ [["is valid only from ", s2s_partners_layout:date(Begin)] || Begin > Now]].

%% As a partner would see it that trusts what this host does.
chain(Host, File, Chain, Now) ->
    case s2s_partners_in_force:store(Host, none) of
        {ok, Store} ->
            case s2s_partners_nif:own_chain(#{chain => Chain, store => Store, domain => Host, now => Now}) of
                {ok, #{findings := Found} = Whole} ->
                    [{grade(Fault), iolist_to_binary([Host, ": ", File, ": ", words(Finding, Whole)])}
                     || #{fault := Fault} = Finding <- Found];
                error ->
                    []
            end;
        none ->
            []
    end.

grade('servers-only') -> note;
grade(_) -> warning.

words(#{fault := 'missing-issuer', certificate := Number, subject := Subject, issuer := Issuer, source := Source}, _) ->
    ["certificate ", integer_to_list(Number), " (", Subject, ") is the last, and its issuer ", Issuer,
     " is neither in the file nor an authority that this server trusts: partners cannot follow the chain; put the certificate of that "
     "issuer behind it", case Source of <<>> -> " (full chain)"; _ -> [", it is to be had from ", Source] end];
words(#{fault := 'unknown-authority', subject := Subject}, _) ->
    ["the chain ends at ", Subject, ", an authority that this server does not trust; only partners that have it among their own anchors "
     "will accept it"];
words(#{fault := 'self-signed'}, _) ->
    "is self-signed; only partners that have it among their own anchors will accept it";
words(#{fault := 'wrong-order', certificate := Number, subject := Subject}, _) ->
    ["certificate ", integer_to_list(Number), " (", Subject, ") has not issued the one before it; some partners cannot follow such a "
     "chain: put each certificate behind the one that it has issued"];
words(#{fault := stranger, certificate := Number, subject := Subject}, _) ->
    ["certificate ", integer_to_list(Number), " (", Subject, ") is in no chain from the first one; remove it"];
words(#{fault := 'key-usage'}, _) ->
    "may not be used for signatures (key usage); partners refuse it: get one whose key usage has digitalSignature, or none";
words(#{fault := 'not-for-servers'}, _) ->
    "is not for servers (extended key usage); many partners refuse it: get one that has serverAuth";
words(#{fault := 'servers-only'}, _) ->
    "is for servers only (extended key usage serverAuth), as public authorities issue them now; a partner that asks for clientAuth on the "
    "streams that this server opens will not take it for SASL EXTERNAL";
words(#{fault := expired, certificate := 0}, _) ->
    "the authority that the chain ends at has expired; get a certificate of a newer one";
words(#{fault := expired, certificate := Number, subject := Subject, not_after := End}, _) ->
    ["certificate ", integer_to_list(Number), " (", Subject, ") has expired on ", s2s_partners_layout:date(End),
     "; put the issuer's new one in its place"];
words(#{fault := 'not-yet-valid', certificate := Number, subject := Subject, not_before := Begin}, _) ->
    ["certificate ", integer_to_list(Number), " (", Subject, ") is valid only from ", s2s_partners_layout:date(Begin)];
words(_, #{cause := Cause}) ->
    ["partners refuse it: ", Cause].

%%% Listeners. `Listen`: ejabberd's option.

-spec listeners([{{inet:port_number(), term(), term()}, module(), term()}]) -> {[inet:port_number()], [finding()]}.
listeners(Listen) ->
    case lists:usort([Port || {{Port, _, _}, ejabberd_s2s_in, _} <- Listen, is_integer(Port)]) of
        [] -> {[], [{warning, <<"listen: there is no listener with module: ejabberd_s2s_in, so no partner can connect to this server">>}]};
        Ports -> {Ports, lists:append([unbounded(Port, Opts) || {{Port, _, _}, ejabberd_s2s_in, Opts} <- Listen, is_integer(Port), is_map(Opts)])}
    end.

%% What a listener lets its peers do.
unbounded(Port, Opts) ->
    [{note, iolist_to_binary(["listen: port ", integer_to_list(Port), " (ejabberd_s2s_in) has no ", Text])}
     || Text <- [["max_stanza_size; an element of more than ", integer_to_list(s2s_partners_size:bytes()), " bytes ends the stream"]
                 || maps:get(max_stanza_size, Opts, infinity) =:= infinity]
            ++ ["shaper; a peer may send as fast as the line lets it"
                || maps:get(shaper, Opts, none) =:= none]].

%%% DNS

%% How partners find this server's hosts, and this server its partners. Bounded in time.
-spec names([binary()] | {partners, [map()]}, [inet:port_number()]) -> [finding()].
names({partners, Partners}, _Ports) ->
    Findings = each(fun partner/1, Partners),
    {Fine, Other} = lists:partition(fun({Grade, _}) -> Grade =:= ok end, Findings),
    More = length(Fine) - ?SHOWN,
    lists:sort(lists:sublist(Fine, ?SHOWN) ++ Other)
        ++ [{ok, iolist_to_binary(["and ", integer_to_list(More), " more that are in order"])} || More > 0];
names(Hosts, Ports) ->
    lists:sort(each(fun(Host) -> host(Host, Ports) end, Hosts)).

each(Judge, Items) ->
    Until = erlang:monotonic_time(millisecond) + ?TOTAL_MS,
    {Findings, Left} = run(Judge, Items, #{}, Until, []),
    Findings ++ [{warning, iolist_to_binary([integer_to_list(Left), " domains not looked up in time"])} || Left > 0].

run(_Judge, [], Running, _Until, Findings) when map_size(Running) =:= 0 ->
    {Findings, 0};
run(Judge, [Item | Items], Running, Until, Findings) when map_size(Running) < ?PARALLEL ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({found, Judge(Item)}) end),
    run(Judge, Items, Running#{Monitor => Pid}, Until, Findings);
run(Judge, Items, Running, Until, Findings) ->
    receive
        {'DOWN', Monitor, process, _, Result} when is_map_key(Monitor, Running) ->
            Found = case Result of
                        {found, Finding} -> [Finding];
                        _ -> []
                    end,
            run(Judge, Items, maps:remove(Monitor, Running), Until, Found ++ Findings)
    after max(0, Until - erlang:monotonic_time(millisecond)) ->
            maps:foreach(fun(Monitor, Pid) ->
                                 erlang:demonitor(Monitor, [flush]),
                                 exit(Pid, kill)
                         end, Running),
            {Findings, length(Items) + map_size(Running)}
    end.

partner(#{name := Name, proxy := {Proxy, Port}}) ->
    reached(Name, ["proxy ", Proxy, $:, integer_to_list(Port)], addresses(Proxy));
partner(#{name := Name}) ->
    case targets(Name) of
        {error, Why} -> {warning, iolist_to_binary([Name, ": ", Why])};
        {Words, Targets} -> reached(Name, Words, lists:append([addresses(Target) || {Target, _} <- Targets]))
    end.

reached(Name, Words, []) -> {warning, iolist_to_binary([Name, ": ", Words, ", which has no address: it cannot be reached"])};
reached(Name, Words, _) -> {ok, iolist_to_binary([Name, ": ", Words])}.

host(Host, Ports) ->
    case targets(Host) of
        {error, Why} ->
            {warning, iolist_to_binary([Host, ": ", Why])};
        {Words, Targets} ->
            Reached = [Port || {Target, Port} <- Targets, addresses(Target) =/= []],
            case {Reached, [Port || Port <- Reached, lists:member(Port, Ports)]} of
                {[], _} ->
                    {warning, iolist_to_binary([Host, ": ", Words, ", which has no address; partners cannot find this server"])};
                {_, []} ->
                    {warning, iolist_to_binary([Host, ": ", Words, ", but this server listens on ",
                                                case Ports of
                                                    [] -> "no port for server-to-server streams";
                                                    _ -> ["port ", lists:join(", ", [integer_to_list(Port) || Port <- Ports])]
                                                end])};
                _ ->
                    {ok, iolist_to_binary([Host, ": ", Words])}
            end
    end.

targets(Domain) ->
    Name = "_xmpp-server._tcp." ++ binary_to_list(Domain),
    case inet_res:resolve(Name, in, srv, [{timeout, ?LOOKUP_MS div 2}, {retry, 1}]) of
        {ok, Message} ->
            Records = lists:sort([inet_dns:rr(Record, data) || Record <- inet_dns:msg(Message, anlist),
                                                               inet_dns:rr(Record, type) =:= srv]),
            case [{Target, Port} || {_, _, Port, Target} <- Records, Target =/= "", Target =/= "."] of
                [] when Records =/= [] -> {error, "its SRV record says that there is no such service"};
                [] -> without_record(Domain);
                Targets ->
                    {["SRV ", lists:join(", ", [[s2s_partners_layout:plain(Target, 100), $:, integer_to_list(Port)]
                                                || {Target, Port} <- Targets])], Targets}
            end;
        {error, Reason} when Reason =:= timeout; element(1, Reason) =:= timeout ->
            {error, "no answer from DNS"};
        {error, _} ->
            without_record(Domain)
    end.

without_record(Domain) ->
    {["no SRV record, so ", Domain, ":5269"], [{binary_to_list(Domain), 5269}]}.

addresses(Name) ->
    Text = unicode:characters_to_list(Name),
    lists:append([case inet:getaddrs(Text, Family, ?LOOKUP_MS div 2) of
                      {ok, Found} -> Found;
                      {error, _} -> []
                  end || Family <- [inet, inet6]]).
