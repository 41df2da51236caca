%%% Names of local users under external access: from the mapping that was written, or from a file, one a line; prepared as ejabberd
%%% prepares them. What a name must not be is the NIF's to say.
-module(s2s_partners_config_users).

-export([prepare/2, prepare_entries/2]).

-type yaml() :: s2s_partners_config_values:yaml().
-type issue() :: s2s_partners_nif:issue_parts().

%% Names of a million users.
-define(FILE_SIZE_MAX, (16 bsl 20)).
-define(LINES_TOLD, 20).

%% One external access: what was written, or a copy with other users. What is none is left to the NIF.
-spec prepare(Path :: binary(), yaml() | absent) -> {yaml() | absent, [issue()]}.
prepare(Path, [{_, _} | _] = Access) ->
    case s2s_partners_config_values:find(<<"users">>, Access) of
        {ok, Written} ->
            {Users, Issues} = users(Path, s2s_partners_config_values:find(<<"default">>, Access), Written),
            {[case s2s_partners_config_values:key(Key) of
                  <<"users">> when Value =:= Written -> {Key, Users};
                  _ -> {Key, Value}
              end || {Key, Value} <- Access], Issues};
        error ->
            {Access, []}
    end;
prepare(_Path, Access) ->
    {Access, []}.

%% The same of the entries of a list; most have none.
-spec prepare_entries(Place :: binary(), yaml()) -> {yaml(), [issue()]}.
prepare_entries(Place, [Entry | _] = List) when not is_tuple(Entry) ->
    {Entries, Issues} = lists:unzip([prepare_entry(Place, Index, Item)
                                     || {Index, Item} <- lists:zip(lists:seq(1, length(List)), List)]),
    {Entries, lists:append(Issues)};
prepare_entries(_Place, List) ->
    {List, []}.

prepare_entry(Place, Index, [{_, _} | _] = Entry) ->
    case s2s_partners_config_values:find(<<"external_access">>, Entry) of
        {ok, Access} ->
            Name = case s2s_partners_config_values:find(<<"domain">>, Entry) of
                       {ok, Domain} -> [" (", s2s_partners_config_values:show(Domain), ")"];
                       error -> []
                   end,
            Path = iolist_to_binary([Place, $[, integer_to_list(Index), $], Name, ".external_access"]),
            {Prepared, Issues} = prepare(Path, Access),
            {[case s2s_partners_config_values:key(Key) of
                  <<"external_access">> when Value =:= Access -> {Key, Prepared};
                  _ -> {Key, Value}
              end || {Key, Value} <- Entry], Issues};
        error ->
            {Entry, []}
    end;
prepare_entry(_Place, _Index, Entry) ->
    {Entry, []}.

users(Path, _Default, [{_, _} | _] = Mapping) ->
    {Users, Issues, _} =
        lists:foldl(fun({Key, Value}, {Users, Issues, Seen}) ->
                            Written = s2s_partners_config_values:key(Key),
                            Name = prepared(Written),
                            case Seen of
                                %% The same spelling twice is a key twice, which the NIF tells.
                                #{Name := Other} when Other =/= Written ->
                                    {Users, [{error, <<"duplicate-user">>, iolist_to_binary([Path, ".users[\"", Name, "\"]"]), <<>>,
                                              <<"this user is named twice, in different spellings; remove one of the two">>}
                                             | Issues], Seen};
                                #{} ->
                                    {[{Name, Value} | Users], Issues, Seen#{Name => Written}}
                            end
                    end, {[], [], #{}}, Mapping),
    {lists:reverse(Users), lists:reverse(Issues)};
users(_Path, _Default, []) ->
    {[], []};
users(Path, Default, Written) ->
    case s2s_partners_config_values:value(Written) of
        Name when is_binary(Name), Name =/= <<>> -> from_file(Path, Default, Name);
        _ -> {Written, []}
    end.

%% The mapping that a file stands for: each user that it names has the opposite of the default.
from_file(Path, Default, Name) ->
    case s2s_partners_config_files:read(s2s_partners_config_files:join(Name), ?FILE_SIZE_MAX) of
        {ok, Text} ->
            {Names, Issues} = names(Name, Text),
            Word = case Default of
                       {ok, Value} when Value =:= deny; Value =:= <<"deny">> -> <<"allow">>;
                       _ -> <<"deny">>
                   end,
            Empty = [{warning, <<"no-users">>, <<Path/binary, ".users">>, s2s_partners_config_values:show(Name),
                      <<"names nobody, so the default holds for all users">>} || map_size(Names) =:= 0, Issues =:= []],
            {[{User, Word} || User <- maps:keys(Names)], Issues ++ Empty};
        {error, Why} ->
            {[], [{error, <<"bad-file">>, <<Path/binary, ".users">>, s2s_partners_config_values:show(Name), Why}]}
    end.

names(File, Text) ->
    Lines = binary:split(without_mark(Text), <<"\n">>, [global]),
    {Names, Issues, Bad, _} =
        lists:foldl(fun(Line, {Names, Issues, Bad, Number}) ->
                            case name(Line) of
                                none -> {Names, Issues, Bad, Number + 1};
                                {ok, Name} when is_map_key(Name, Names) ->
                                    {Names, [at(warning, <<"duplicate-user">>, File, Number, Name,
                                                ["is named in line ", integer_to_list(maps:get(Name, Names)),
                                                 " already; remove one of the two"]) | Issues], Bad, Number + 1};
                                {ok, Name} ->
                                    {Names#{Name => Number}, Issues, Bad, Number + 1};
                                {error, Name, Why} when Bad < ?LINES_TOLD ->
                                    {Names, [at(error, <<"bad-user">>, File, Number, Name, Why) | Issues], Bad + 1, Number + 1};
                                {error, _, _} ->
                                    {Names, Issues, Bad + 1, Number + 1}
                            end
                    end, {#{}, [], 0, 1}, Lines),
    More = [{error, <<"bad-user">>, File, <<>>,
             iolist_to_binary(["and ", integer_to_list(Bad - ?LINES_TOLD), " more lines that are no names"])} || Bad > ?LINES_TOLD],
    {Names, lists:reverse(Issues) ++ More}.

at(Severity, Code, File, Number, Name, Text) ->
    {Severity, Code, iolist_to_binary([File, $:, integer_to_list(Number)]), s2s_partners_config_values:show(Name),
     iolist_to_binary(Text)}.

without_mark(<<16#EF, 16#BB, 16#BF, Text/binary>>) -> Text;
without_mark(Text) -> Text.

%% A comment begins with a "#" at the start of a line or behind a space: a name may hold one.
name(Line) ->
    Plain = re:replace(<<" ", Line/binary>>, "\\s#.*$", "", [{return, binary}, dotall]),
    case string:trim(Plain, both, " \t\r\n\v\f") of
        <<>> ->
            none;
        Name ->
            Allowed = re:run(Name, "[\\x00-\\x20\"&'/:<>@\\x7f]", [{capture, none}]) =:= nomatch,
            case Allowed andalso nodeprep(Name) of
                Prepared when is_binary(Prepared), Prepared =/= <<>> -> {ok, Prepared};
                _ ->
                    {error, Name, case binary:match(Name, <<"@">>) of
                                      nomatch -> <<"must be the name of a local user, one a line">>;
                                      _ -> <<"must be the name of a local user, without \"@\" and domain">>
                                  end}
            end
    end.

prepared(Name) ->
    case nodeprep(Name) of
        Prepared when is_binary(Prepared), Prepared =/= <<>> -> Prepared;
        _ -> Name
    end.

nodeprep(Name) ->
    try jid:nodeprep(Name)
    catch _:_ -> error
    end.
