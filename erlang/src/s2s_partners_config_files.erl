%%% The files that the configuration names: lists of partners, names of users, revocation lists, authorities. A relative path starts at
%%% the folder of ejabberd.yml. What cannot be read is an issue, and says why; nothing here waits for a writer at a pipe.
-module(s2s_partners_config_files).

-export([join/1, shown/1, expand/1, has_wildcard/1, read/2, partner_lists/2, kind/1]).
-export([watch/0, watched/0, have_changed/1]).

-export_type([watched/0]).

-include_lib("kernel/include/file.hrl").

-type issue() :: s2s_partners_nif:issue_parts().

%% Far more than 10 000 partners take, and far less than anybody would wait for.
-define(FILE_SIZE_MAX, (64 bsl 20)).
%% Entries that the parser gets at once: it holds a scheduler for as long as it works.
-define(ENTRIES_AT_ONCE, 25).
-define(FILES_MAX, 10000).
%% In the dictionary of a process that reads a configuration.
-define(WATCHED, {?MODULE, watched}).

%% Files that were read, by path, and what patterns meant.
-type watched() :: #{{file, binary()} => {s2s_partners_crl_watch:signature(), Digest :: binary() | none},
                     {pattern, binary()} => {[binary()], [binary()]}}.

%% The folder of ejabberd.yml.
base() ->
    filename:dirname(filename:absname(ejabberd_config:path())).

-spec join(binary()) -> binary().
join(Path) ->
    filename:join(base(), Path).

%% A path as people know it: what lies in that folder by its name there.
-spec shown(Path :: binary()) -> binary().
shown(Path) ->
    Base = base(),
    Size = byte_size(Base),
    case Path of
        <<Base:Size/binary, "/", Name/binary>> -> Name;
        _ -> Path
    end.

-spec has_wildcard(binary()) -> boolean().
has_wildcard(Pattern) ->
    binary:match(Pattern, [<<"*">>, <<"?">>]) =/= nomatch.

%% What stands at a path, links followed: file, folder, other (a pipe, a device), none, or why it cannot be looked at.
-spec kind(binary()) -> file | folder | other | none | {error, binary()}.
kind(Path) ->
    case valid_name(Path) andalso file:read_file_info(Path, [raw]) of
        {ok, #file_info{type = regular}} -> file;
        {ok, #file_info{type = directory}} -> folder;
        {ok, #file_info{}} -> other;
        {error, Reason} when Reason =:= enoent; Reason =:= enotdir -> none;
        {error, Reason} -> {error, reason(Reason)};
        false -> none
    end.

valid_name(Path) ->
    Path =/= <<>> andalso binary:match(Path, <<0>>) =:= nomatch.

reason(Reason) ->
    unicode:characters_to_binary(file:format_error(Reason)).

%% The files that a path or pattern means, as written (relative unless absolute), sorted; and what has such a name but is neither file
%% nor folder: a link whose target is gone must not take its partners along in silence.
-spec expand(binary()) -> {Files :: [binary()], Bad :: [binary()]}.
expand(Pattern) ->
    case valid_name(Pattern) of
        true ->
            Absolute = binary:first(Pattern) =:= $/,
            Parts = [Part || Part <- binary:split(Pattern, <<"/">>, [global]), Part =/= <<>>],
            expand([case Absolute of true -> <<"/">>; false -> <<>> end], Parts, []);
        false ->
            {[], []}
    end.

expand(Found, [], Bad) ->
    {Found, lists:reverse(Bad)};
expand(Folders, [Part | Rest], Bad) ->
    Wild = has_wildcard(Part),
    Paths = [append(Folder, Name) || Folder <- Folders, Name <- names(Folder, Part, Wild)],
    {Found, MoreBad} = lists:foldl(fun(Path, {Good, Ill}) ->
                                           case {kind(join(Path)), Rest} of
                                               {folder, [_ | _]} -> {[Path | Good], Ill};
                                               {file, []} -> {[Path | Good], Ill};
                                               {Kind, _} when Kind =/= file, Kind =/= folder, Wild -> {Good, [Path | Ill]};
                                               _ -> {Good, Ill}
                                           end
                                   end, {[], Bad}, Paths),
    expand(lists:sublist(lists:reverse(Found), ?FILES_MAX), Rest, MoreBad).

append(<<>>, Name) -> Name;
append(<<"/">>, Name) -> <<"/", Name/binary>>;
append(Folder, Name) -> <<Folder/binary, "/", Name/binary>>.

names(_Folder, Part, false) ->
    [Part];
names(Folder, Part, true) ->
    Path = case Folder of <<>> -> base(); _ -> join(Folder) end,
    {ok, Expression} = re:compile(expression(Part), [dollar_endonly, dotall]),
    case file:list_dir_all(Path) of
        {ok, Names} ->
            lists:sort([Name || Name <- [bytes(N) || N <- Names],
                                binary:first(Name) =/= $. orelse binary:first(Part) =:= $.,
                                re:run(Name, Expression, [{capture, none}]) =:= match]);
        {error, _} ->
            []
    end.

%% Names that are no UTF-8 come as bytes.
bytes(Name) when is_binary(Name) -> Name;
bytes(Name) -> unicode:characters_to_binary(Name).

expression(Part) ->
    iolist_to_binary([$^, [case Byte of
                               $* -> ".*";
                               $? -> ".";
                               _ when Byte >= $a, Byte =< $z; Byte >= $A, Byte =< $Z; Byte >= $0, Byte =< $9; Byte >= 128 -> Byte;
                               _ -> [$\\, Byte]
                           end || <<Byte>> <= Part], $$]).

%%% What has been read, so that somebody can be told when it is another on disk

%% From now on the calling process remembers what it reads, ejabberd's own files first.
-spec watch() -> ok.
watch() ->
    put(?WATCHED, #{}),
    lists:foreach(fun(Path) -> read(Path, ?FILE_SIZE_MAX) end, ejabberd_files()).

-spec watched() -> watched().
watched() ->
    case erase(?WATCHED) of
        undefined -> #{};
        Watched -> Watched
    end.

%% Whether one of the files has other content by now, or a pattern means others.
-spec have_changed(watched()) -> boolean().
have_changed(Watched) ->
    lists:any(fun({{file, Path}, {Signature, Digest}}) ->
                      s2s_partners_crl_watch:signature(Path) =/= Signature andalso digest(read_kind(Path, ?FILE_SIZE_MAX)) =/= Digest;
                 ({{pattern, Pattern}, Meant}) ->
                      expand(Pattern) =/= Meant
              end, maps:to_list(Watched)).

%% ejabberd.yml, what it includes, and the files of contributed modules.
ejabberd_files() ->
    Path = unicode:characters_to_binary(filename:absname(ejabberd_config:path())),
    [Path | included(Path) ++ [unicode:characters_to_binary(File) || File <- ext_mod:modules_configs()]].

included(Path) ->
    try
        {ok, Bytes} = read_kind(Path, ?FILE_SIZE_MAX),
        {ok, [Options]} = fast_yaml:decode(Bytes),
        [join(File) || {<<"include_config_file">>, Value} <- Options, File <- file_names(Value)]
    catch
        error:_ -> []
    end.

file_names(Name) when is_binary(Name) -> [Name];
file_names(Names) when is_list(Names) -> lists:append([file_names(case Each of {Name, _} -> Name; _ -> Each end) || Each <- Names]);
file_names(_) -> [].

noted(Key, Value) ->
    case get(?WATCHED) of
        undefined -> ok;
        Watched -> put(?WATCHED, Watched#{Key => Value})
    end.

digest({ok, Bytes}) -> erlang:md5(Bytes);
digest({error, _}) -> none.

%% The bytes of a file. `Max` in bytes.
-spec read(Path :: binary(), Max :: pos_integer()) -> {ok, binary()} | {error, Why :: binary()}.
read(Path, Max) ->
    case get(?WATCHED) of
        undefined ->
            read_kind(Path, Max);
        _ ->
            Signature = s2s_partners_crl_watch:signature(Path),
            Read = read_kind(Path, Max),
            noted({file, Path}, {Signature, digest(Read)}),
            Read
    end.

read_kind(Path, Max) ->
    case kind(Path) of
        file ->
            case file:read_file_info(Path, [raw]) of
                {ok, #file_info{size = Size}} when Size > Max ->
                    {error, iolist_to_binary(["is larger than ", integer_to_list(Max bsr 20), " MiB"])};
                _ ->
                    read_bounded(Path, Max)
            end;
        folder -> {error, <<"is a folder; name a file">>};
        other -> {error, <<"is no ordinary file; name a file">>};
        none -> {error, <<"there is no such file; create it, or name another">>};
        {error, Why} -> {error, <<"cannot be read: ", Why/binary>>}
    end.

%% It may grow while it is read.
read_bounded(Path, Max) ->
    case file:open(Path, [read, raw, binary]) of
        {ok, Device} ->
            try file:read(Device, Max + 1) of
                {ok, Bytes} when byte_size(Bytes) > Max ->
                    {error, iolist_to_binary(["is larger than ", integer_to_list(Max bsr 20), " MiB"])};
                {ok, Bytes} -> {ok, Bytes};
                eof -> {ok, <<>>};
                {error, Reason} -> {error, <<"cannot be read: ", (reason(Reason))/binary>>}
            after
                file:close(Device)
            end;
        {error, Reason} ->
            {error, <<"cannot be read: ", (reason(Reason))/binary>>}
    end.

%%% Lists of partners

%% The lists that `files` names, with the name of the file as their place; and what is wrong. A file that two patterns match is read once.
-spec partner_lists(Option :: binary(), s2s_partners_config_values:yaml() | absent) ->
          {[{Place :: binary(), s2s_partners_config_values:yaml()}], [issue()]}.
partner_lists(_Option, absent) ->
    {[], []};
partner_lists(Option, Patterns) when is_binary(Patterns); is_atom(Patterns), not is_boolean(Patterns) ->
    partner_lists(Option, [Patterns]);
partner_lists(Option, [{_, _} | _] = Mapping) ->
    {[], [not_a_list(Option, Mapping)]};
partner_lists(Option, Patterns) when is_list(Patterns) ->
    {Lists, Issues, _} =
        lists:foldl(
          fun({Index, Value}, {Lists, Issues, Seen}) ->
                  Place = iolist_to_binary([Option, $[, integer_to_list(Index), $]]),
                  {Names, MoreIssues} = pattern(Place, Value),
                  New = [Name || Name <- Names, not maps:is_key(join(Name), Seen)],
                  {MoreLists, Faults} = lists:unzip([load(Name) || Name <- New]),
                  {lists:reverse(lists:append(MoreLists)) ++ Lists,
                   lists:reverse(MoreIssues ++ lists:append(Faults)) ++ Issues,
                   maps:merge(Seen, maps:from_list([{join(Name), []} || Name <- New]))}
          end, {[], [], #{}}, lists:zip(lists:seq(1, length(Patterns)), Patterns)),
    {lists:reverse(Lists), lists:reverse(Issues)};
partner_lists(Option, Value) ->
    {[], [not_a_list(Option, Value)]}.

not_a_list(Option, Value) ->
    {error, <<"wrong-type">>, Option, s2s_partners_config_values:show(Value),
     <<"must be a list of files or patterns: [\"partners.d/*.yml\"]">>}.

pattern(Place, Value) ->
    Written = s2s_partners_config_values:value(Value),
    case is_binary(Written) andalso valid_name(Written) of
        true ->
            Got = s2s_partners_config_values:show(Written),
            Meant = expand(Written),
            noted({pattern, Written}, Meant),
            case {Meant, has_wildcard(Written)} of
                {{[], []}, true} ->
                    {[], [{warning, <<"no-match">>, Place, Got, <<"no file matches">>}]};
                {{[], []}, false} ->
                    {[], [{error, <<"no-file">>, Place, Got, why_none(Written)}]};
                {{Names, Bad}, _} ->
                    {Names, [{error, <<"bad-file">>, Name, <<>>,
                              <<"is not a file, or a link that leads to none; correct or remove it">>} || Name <- Bad]}
            end;
        false ->
            {[], [{error, <<"wrong-type">>, Place, s2s_partners_config_values:show(Value),
                   <<"must be the name of a file or a pattern such as \"partners.d/*.yml\"">>}]}
    end.

why_none(Name) ->
    case kind(join(Name)) of
        none ->
            case file:read_link_info(join(Name), [raw]) of
                {ok, _} -> <<"is not a file, or a link that leads to none; name a file">>;
                {error, _} -> <<"there is no such file; create it or remove its name">>
            end;
        {error, Why} -> <<"cannot be read: ", Why/binary>>;
        _ -> <<"is not a file, or a link that leads to none; name a file">>
    end.

load(Name) ->
    case read(join(Name), ?FILE_SIZE_MAX) of
        {ok, Bytes} ->
            case parse(without_mark(Bytes)) of
                {ok, []} -> {[], [fault(Name, <<"holds nothing; must be a list of partners: - {domain: ..., partner_type: ...}">>)]};
                {ok, [List]} -> {[{Name, List}], []};
                {ok, [_ | _]} -> {[], [fault(Name, <<"holds several documents; must be one list of partners">>)]};
                {error, Line, Why} ->
                    Place = case Line of none -> Name; _ -> <<Name/binary, $:, (integer_to_binary(Line))/binary>> end,
                    {[], [fault(Place, <<Why/binary, "; correct the file">>)]}
            end;
        {error, Why} ->
            {[], [fault(Name, Why)]}
    end.

fault(Place, Why) ->
    {error, <<"bad-file">>, Place, <<>>, Why}.

without_mark(<<16#EF, 16#BB, 16#BF, Bytes/binary>>) -> Bytes;
without_mark(Bytes) -> Bytes.

%% The documents of a text. A long list in block style is parsed some entries at a time, so that nobody waits for it.
parse(Bytes) ->
    case entries(Bytes) of
        {ok, Chunks} -> parse_chunks(Chunks, []);
        whole -> decode(Bytes, 0)
    end.

parse_chunks([], Lists) ->
    {ok, [lists:append(lists:reverse(Lists))]};
parse_chunks([{Before, Bytes} | Chunks], Lists) ->
    case decode(Bytes, Before) of
        {ok, [List]} when is_list(List) ->
            erlang:yield(),
            parse_chunks(Chunks, [List | Lists]);
        {ok, _} ->
            {error, Before + 1, <<"must be a list of partners">>};
        {error, _, _} = Error ->
            Error
    end.

decode(Bytes, Before) ->
    try fast_yaml:decode(Bytes, [sane_scalars]) of
        {ok, Documents} -> {ok, Documents};
        {error, {_, Why, Line, _Column}} when is_binary(Why), is_integer(Line) -> {error, Before + Line + 1, Why};
        {error, _} -> {error, none, <<"is not YAML (or not UTF-8)">>}
    catch
        error:_ -> {error, none, <<"is not YAML (or not UTF-8)">>}
    end.

%% Pieces of a text that is one list in block style and nothing else, with the number of lines before each. An entry begins with a dash
%% in the first column; whatever else begins there (a mapping, a document mark, a flow list) is for the parser to judge as a whole.
entries(Bytes) ->
    Lines = binary:split(Bytes, <<"\n">>, [global]),
    case lists:all(fun is_of_list/1, Lines) andalso length(Lines) > ?ENTRIES_AT_ONCE of
        true -> {ok, chunks(Lines, 0, 0, 0, [], [])};
        false -> whole
    end.

is_of_list(<<"- ", _/binary>>) -> true;
is_of_list(<<" ", _/binary>>) -> true;
is_of_list(<<"#", _/binary>>) -> true;
is_of_list(<<"-">>) -> true;
is_of_list(<<"-\r">>) -> true;
is_of_list(<<"\r">>) -> true;
is_of_list(<<>>) -> true;
is_of_list(_) -> false.

chunks([], _Entries, _Line, _Start, [], Chunks) ->
    lists:reverse(Chunks);
chunks([], Entries, _Line, Start, Lines, Chunks) ->
    lists:reverse(chunk(Entries, Start, Lines, Chunks));
chunks([<<"-", _/binary>> = First | Rest], ?ENTRIES_AT_ONCE, Line, Start, Lines, Chunks) ->
    chunks(Rest, 1, Line + 1, Line, [First], chunk(?ENTRIES_AT_ONCE, Start, Lines, Chunks));
chunks([<<"-", _/binary>> = First | Rest], Entries, Line, Start, Lines, Chunks) ->
    chunks(Rest, Entries + 1, Line + 1, Start, [First | Lines], Chunks);
chunks([Next | Rest], Entries, Line, Start, Lines, Chunks) ->
    chunks(Rest, Entries, Line + 1, Start, [Next | Lines], Chunks).

chunk(0, Start, Lines, []) ->
    %% Nothing but comments, if anything: the parser says so, unless lines that belong to no entry follow.
    [{Start, join_lines(Lines)}];
chunk(_Entries, Start, Lines, Chunks) ->
    [{Start, join_lines(Lines)} | Chunks].

join_lines(Lines) ->
    iolist_to_binary(lists:join($\n, lists:reverse([<<>> | Lines]))).
