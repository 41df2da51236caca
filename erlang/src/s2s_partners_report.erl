%%% What the administrator reads in the log, and what the metrics count. One line for each refused and each
%%% established stream; refused stanzas at debug, summed up once a minute. Never a body, never a status text,
%%% and never more lines than strangers may cause.
-module(s2s_partners_report).

-export([init/0, minute/0]).
-export([uncovered/1, printable/1, cut/1]).
-export([may_log/2, muted/2, stream_refused/3, stream_established/1, element_refused/4]).
-export([stanza_refused/6, stanza_changed/4, subscription_authorised/2, internal_error/4]).
-export([count/5, counters/0]).

-export_type([about/0]).

-include_lib("kernel/include/logger.hrl").

-define(COUNTERS, s2s_partners_counters).
-define(MINUTE, s2s_partners_minute).      % what has happened since the last summary
-define(UNCOVERED, s2s_partners_uncovered).
-define(UNCOVERED_MAX, 10000).
-define(DAY, 86400).

-define(LINES_PER_ADDRESS, 200).           % refused connections that get a line of their own in a minute
-define(LINES, 1000).
-define(NAME_MAX, 253).                    % bytes, as many as a domain can have
-define(NAME_SHOWN, 80).
-define(NAMES_SHOWN, 4).

%% A stream as its line names it.
-type about() :: #{direction := incoming | outgoing, remote := binary(), host := binary(), vhost => binary(),
                   partner => binary() | none, address => binary(), certificate => atom(), report => map(), method => atom(),
                   tls => boolean(), protocol => binary(), atom() => term()}.

%% Makes the tables; the caller owns them.
-spec init() -> ok.
init() ->
    lists:foreach(fun(Table) ->
                      case ets:whereis(Table) of
                          undefined -> ets:new(Table, [named_table, public, {write_concurrency, true}]);
                          _ -> Table
                      end
                  end, [?COUNTERS, ?MINUTE, ?UNCOVERED]),
    s2s_partners_recent:init(),
    s2s_partners_expiry:init().

%%% Streams

%% Whether a refused connection that has not authenticated gets a line of its own; if not, it is counted and
%% summed up.
-spec may_log(Address :: binary(), s2s_partners_nif:reason()) -> boolean().
may_log(Address, Reason) ->
    %% No more addresses than that: a stranger with a network of them must not fill the table.
    Room = ets:info(?MINUTE, size) < 4 * ?LINES,
    case Room andalso add({address, network(Address)}) =< ?LINES_PER_ADDRESS andalso add(lines) =< ?LINES of
        true ->
            true;
        false ->
            muted(Address, Reason),
            false
    end.

%% One that has no line of its own.
-spec muted(Address :: binary(), s2s_partners_nif:reason()) -> ok.
muted(Address, Reason) ->
    _ = add({muted_for, Reason}),
    %% No more addresses than lines, or strangers would fill the table.
    _ = ets:info(?MINUTE, size) < 4 * ?LINES andalso add({muted, network(Address)}),
    ok.

%% As the waiting room counts them: an IPv4 address, or the /64 of an IPv6 one, which is what one customer has.
network(Address) ->
    case inet:parse_ipv6strict_address(binary_to_list(Address)) of
        {ok, Parsed} -> s2s_partners_places:network(Parsed);
        {error, _} -> Address
    end.

shown({A, B, C, D, '/64'}) -> [inet:ntoa({A, B, C, D, 0, 0, 0, 0}), "/64"];
shown({High, Low}) -> inet:ntoa({High bsr 8, High band 255, Low bsr 8, Low band 255});
shown(Address) -> Address.

-spec stream_refused(about(), s2s_partners_nif:reason(), s2s_partners_nif:rule()) -> ok.
stream_refused(About, Reason, Rule) ->
    s2s_partners_recent:refused(About, Reason, Rule),
    {Word, Remote, Host} = names(About),
    ?LOG_INFO("~ts stream ~ts ~ts (host ~ts~ts~ts): ~ts: ~ts~ts",
              [verb(<<"Refused">>, <<"refuse">>), Word, Remote, Host, address(About), certificate(About), Reason, Rule, cause(Reason, About)]).

-spec stream_established(about()) -> ok.
stream_established(#{method := Method, tls := Tls} = About) ->
    s2s_partners_recent:established(About),
    s2s_partners_expiry:seen(About),
    {Word, Remote, Host} = names(About),
    ?LOG_INFO("Established stream ~ts ~ts (host ~ts, partner ~ts): ~ts, ~ts, certificate ~ts",
              [Word, Remote, Host, maps:get(partner, About, <<"?">>), method(Method),
               case Tls of true -> maps:get(protocol, About, <<"TLS">>); false -> <<"no TLS">> end,
               case Tls of true -> maps:get(certificate, About, unknown); false -> <<"not asked for">> end]).

%% A valid certificate that no current revocation list covers goes on where revocation is "if_known". That is
%% said, once a day for each issuer of a partner's.
-spec uncovered(about()) -> ok.
uncovered(#{certificate := valid, remote := Remote, report := #{uncovered := Why} = Report} = About) ->
    Partner = maps:get(partner, About, <<"?">>),
    Issuer = maps:get(uncovered_issuer, Report, <<"?">>),
    Key = {Partner, Issuer},
    Now = erlang:monotonic_time(second),
    case ets:lookup(?UNCOVERED, Key) of
        [{_, Said}] when Now - Said < ?DAY ->
            ok;
        Before ->
            case Before =/= [] orelse ets:info(?UNCOVERED, size) < ?UNCOVERED_MAX of
                true ->
                    ets:insert(?UNCOVERED, {Key, Now}),
                    ?LOG_WARNING("The certificate of ~ts (partner ~ts) goes on without an answer about its revocation: ~ts "
                                 "(certificate ~b of the chain, issued by ~ts)",
                                 [printable(Remote), Partner, Why, maps:get(uncovered_depth, Report, 1), cut(Issuer)]);
                false ->
                    ok
            end
    end;
uncovered(_) ->
    ok.

-spec element_refused(incoming | outgoing, Remote :: binary(), Host :: binary(), s2s_partners_nif:reason()) -> ok.
element_refused(Direction, Remote, Host, Reason) ->
    ?LOG_DEBUG("Refused a handshake element on the stream ~ts ~ts (host ~ts): ~ts",
               [word(Direction), printable(Remote), printable(Host), Reason]).

names(#{direction := Direction, remote := Remote, host := Host}) ->
    {word(Direction), known(printable(Remote), <<"(unknown domain)">>), known(printable(Host), <<"(unknown host)">>)}.

known(<<>>, Otherwise) -> Otherwise;
known(Name, _) -> Name.

word(incoming) -> <<"from">>;
word(outgoing) -> <<"to">>.

method(sasl) -> <<"SASL EXTERNAL">>;
method(tls_dialback) -> <<"TLS dialback">>;
method(tcp_dialback) -> <<"TCP dialback">>;
method(Other) -> Other.

address(#{address := Address}) -> [<<", address ">>, Address];
address(_) -> <<>>.

certificate(#{certificate := Verdict}) when Verdict =/= unknown -> [<<", certificate ">>, atom_to_binary(Verdict)];
certificate(_) -> <<>>.

%% What helps against this verdict, and no more.
cause(Reason, #{report := #{cause := Cause, verdict := Verdict} = Report}) when Cause =/= <<>> ->
    case atom_to_binary(Reason) of
        <<"certificate-", _/binary>> ->
            Depth = case Report of
                        #{depth := Number} -> io_lib:format(" (certificate ~b of the chain)", [Number]);
                        _ -> ""
                    end,
            [<<": ">>, Cause, Depth, detail(Verdict, Report)];
        _ ->
            <<>>
    end;
cause(_, _) ->
    <<>>.

detail('identity-mismatch', #{names := []}) ->
    <<"; it has no names (the common name does not count)">>;
detail('identity-mismatch', #{names := Names, name_count := Count}) ->
    Shown = lists:sublist(Names, ?NAMES_SHOWN),
    More = case Count - length(Shown) of
               0 -> "";
               Number -> io_lib:format(" and ~b more", [Number])
           end,
    [<<"; its names: ">>, lists:join(<<", ">>, [[atom_to_binary(Type), " ", cut(Name)] || {Type, Name, _} <- Shown]), More];
detail(untrusted, #{issuer := Issuer}) ->
    [<<"; issued by ">>, cut(Issuer)];
detail(expired, #{chain_not_after := Seconds}) ->
    [<<"; on ">>, day(Seconds)];
detail('not-yet-valid', #{not_before := Seconds}) ->
    [<<"; its own first day is ">>, day(Seconds)];
detail(revoked, #{issuer := Issuer} = Report) ->
    [<<"; issued by ">>, cut(Issuer), <<", serial ">>, maps:get(serial, Report, <<"?">>)];
detail('revocation-unknown', #{uncovered_issuer := Issuer}) ->
    [<<"; the issuer is ">>, cut(Issuer)];
detail('pin-mismatch', #{pins := [Pin | _]}) ->
    [<<"; its own is ">>, Pin];
detail(_, _) ->
    <<>>.

day(Seconds) ->
    binary:part(list_to_binary(calendar:system_time_to_rfc3339(Seconds, [{offset, "Z"}])), 0, 10).

%% A name of a certificate, which its owner may have made as long as it likes.
-spec cut(binary()) -> iodata().
cut(<<Text:?NAME_SHOWN/binary, _, _/binary>>) -> [Text, "..."];
cut(Text) -> Text.

%% A name as a peer gives it may hold line breaks and be as long as the peer likes.
-spec printable(binary()) -> binary().
printable(Name) ->
    {Head, More} = case Name of
                       <<First:?NAME_MAX/binary, _, _/binary>> -> {First, <<"...">>};
                       _ -> {Name, <<>>}
                   end,
    %% Whole characters alone: half of one would have the log take all of it for Latin-1, control characters included.
    Whole = case unicode:characters_to_binary(Head) of
                Good when is_binary(Good) -> Good;
                {_, Good, _} -> Good
            end,
    Plain = << <<(case C =< $\s orelse (C >= 127 andalso C < 160) of true -> $?; false -> C end)/utf8>> || <<C/utf8>> <= Whole >>,
    <<Plain/binary, More/binary>>.

%%% Stanzas

%% `Label`: the partner's name, <<"unlisted">> for domains that are nobody's.
-spec stanza_refused(in | out, Label :: binary(), Remote :: binary(), Host :: binary(), s2s_partners_nif:reason(),
                     s2s_partners_nif:rule()) -> ok.
stanza_refused(Direction, Label, Remote, Host, Reason, Rule) ->
    ?LOG_DEBUG("~ts a stanza ~ts ~ts (host ~ts): ~ts: ~ts", [verb(<<"Refused">>, <<"refuse">>), way(Direction), printable(Remote), printable(Host), Reason, Rule]),
    _ = add({refused, Label, Direction, Reason}),
    count(label_of(Host), Label, Direction, refuse, Reason).

%% What counters call the host: a stanza can name any domain, and each would have numbers of its own for ever.
label_of(Host) ->
    try s2s_partners_in_force:vhost_of(Host) of
        {ok, VHost} -> VHost;
        none -> <<"unknown">>
    catch
        _:_ -> <<"unknown">>
    end.

-spec stanza_changed(in | out, Remote :: binary(), Host :: binary(), s2s_partners_nif:reason()) -> ok.
stanza_changed(Direction, Remote, Host, Reason) ->
    ?LOG_DEBUG("~ts a stanza ~ts ~ts (host ~ts): ~ts", [verb(<<"Changed">>, <<"change">>), way(Direction), printable(Remote), printable(Host), Reason]).

-spec subscription_authorised(Remote :: binary(), Host :: binary()) -> ok.
subscription_authorised(Remote, Host) ->
    stanza_changed(in, Remote, Host, 'subscription-authorised').

way(in) -> <<"from">>;
way(out) -> <<"to">>.

%%% Errors of our own

%% Says where it happened and what kind of error it was. Arguments and values stay out of it: they may hold
%% what a user wrote.
-spec internal_error(Where :: atom(), Class :: atom(), Reason :: term(), Stack :: list()) -> ok.
internal_error(Where, Class, Reason, Stack) ->
    ?LOG_ERROR("Error while handling ~ts, refused: ~ts:~ts in ~ts", [Where, Class, kind(Reason), places(Stack)]).

kind({s2s_partners_nif, not_loaded, _}) -> <<"the library is not loaded">>;
kind(Reason) when is_atom(Reason) -> atom_to_binary(Reason);
kind({Reason, _}) when is_atom(Reason) -> atom_to_binary(Reason);
kind({Reason, _, _}) when is_atom(Reason) -> atom_to_binary(Reason);
kind(_) -> <<"an error">>.

places(Stack) ->
    lists:join(", ", [place(Entry) || Entry <- lists:sublist(Stack, 4)]).

place({Module, Function, Arity, Where}) ->
    Number = if is_list(Arity) -> length(Arity); true -> Arity end,
    io_lib:format("~ts:~ts/~b~ts", [Module, Function, Number,
                                    case lists:keyfind(line, 1, Where) of {_, Line} -> [":", integer_to_list(Line)]; false -> "" end]);
place(_) ->
    "?".

%%% Numbers

%% One more decision. `Decision`: allow, refuse or change; `Reason` none for an allow.
-spec count(Host :: binary(), Partner :: binary(), in | out, allow | refuse | change, atom()) -> ok.
count(Host, Partner, Direction, allow, none) ->
    s2s_partners_tally:add(s2s_partners_tally:number(Host, Partner, Direction));
count(Host, Partner, Direction, Decision, Reason) ->
    Key = {Host, Partner, Direction, done(Decision), Reason},
    try ets:update_counter(?COUNTERS, Key, 1, {Key, 0}) of
        _ -> ok
    catch
        error:badarg -> ok                 % no tables: a number that cannot be counted stops nothing
    end.

%% While nothing is enforced, what would be done.
done(allow) -> allow;
done(Decision) ->
    case {s2s_partners_observe:is_on(), Decision} of
        {true, refuse} -> 'would-refuse';
        {true, change} -> 'would-change';
        {false, _} -> Decision
    end.

verb(Done, Plain) ->
    case s2s_partners_observe:is_on() of
        true -> [<<"Would ">>, Plain];
        false -> Done
    end.

-spec counters() -> [{{Host :: binary(), Partner :: binary(), in | out, allow | refuse | change | 'would-refuse' | 'would-change', atom()},
                      pos_integer()}].
counters() ->
    [{{Host, Partner, Direction, allow, none}, Number} || {{Host, Partner, Direction}, Number} <- s2s_partners_tally:counts()]
        ++ ets:tab2list(?COUNTERS).

add(Key) ->
    try ets:update_counter(?MINUTE, Key, 1, {Key, 0})
    catch error:badarg -> 1
    end.

%%% Summaries

%% Says what has been left out, and begins anew. Called once a minute.
-spec minute() -> ok.
minute() ->
    Entries = ets:tab2list(?MINUTE),
    ets:delete_all_objects(?MINUTE),
    case [{Reason, Number} || {{muted_for, Reason}, Number} <- Entries] of
        [] ->
            ok;
        Muted ->
            {Most, Address} = lists:max([{0, <<"?">>} | [{Number, Name} || {{muted, Name}, Number} <- Entries]]),
            ?LOG_INFO("Refused ~b more connections in the last minute: ~ts; most of them from ~ts (~b)",
                      [lists:sum([Number || {_, Number} <- Muted]), numbers(Muted), shown(Address), Most])
    end,
    Groups = lists:foldl(fun({{refused, Label, Direction, Reason}, Number}, Acc) ->
                                 maps:update_with({Label, Direction}, fun(Rest) -> [{Reason, Number} | Rest] end,
                                                  [{Reason, Number}], Acc);
                            (_, Acc) ->
                                 Acc
                         end, #{}, Entries),
    maps:foreach(fun({Label, Direction}, Reasons) ->
                         ?LOG_INFO("~ts stanzas ~ts ~ts in the last minute: ~ts",
                                   [verb(<<"Refused">>, <<"refuse">>), way(Direction), Label, numbers(Reasons)])
                 end, Groups).

numbers(Reasons) ->
    lists:join(", ", [io_lib:format("~ts ~b", [Reason, Number]) || {Reason, Number} <- lists:sort(Reasons)]).
