%%% Files of revocation lists while the server runs: what has changed is read anew, without a reload. A file that cannot be read, is no list,
%%% or takes back what was revoked leaves what was read from it before; one that is gone counts until the next reload.
-module(s2s_partners_crl_watch).

-export([signature/1, look/3]).

-export_type([signature/0, told/0]).

-include_lib("kernel/include/file.hrl").
-include_lib("kernel/include/logger.hrl").

%% What tells one content of a file from the next without reading it.
-type signature() :: none | {Inode :: term(), Size :: term(), Changed :: integer(), Status :: integer()}.
%% By path: what has been complained of, and when it may be taken after all (0: never).
-type told() :: #{binary() => {signature(), Again :: integer()}}.

%% Seconds without a change, after which nobody is still writing a file.
-define(SETTLED, 1).

-spec signature(binary()) -> signature().
signature(Path) ->
    case file:read_file_info(Path, [raw, {time, posix}]) of
        {ok, #file_info{type = regular, inode = Inode, size = Size, mtime = Changed, ctime = Status}} -> {Inode, Size, Changed, Status};
        _ -> none
    end.

%% Looks at all files of what is in force. Before: when that was done last. changed: the streams are to be judged again.
-spec look(s2s_partners_in_force:term_in_force(), told(), Before :: integer()) ->
          {changed | same, s2s_partners_in_force:term_in_force(), told()}.
look(#{patterns := Patterns, crl_signatures := Signatures} = Term, Told, Before) ->
    Now = os:system_time(second),
    New = lists:append([pattern(Pattern, Paths) || {Pattern, Paths} <- maps:to_list(Patterns)]),
    Changed = [Path || {Path, Known} <- maps:to_list(Signatures), signature(Path) =/= Known],
    {Result, Next, NowTold} = lists:foldl(fun(Path, Sofar) -> file(Path, New, Now, Sofar) end, {same, Term, Told},
                                          lists:usort([Path || {_, Path} <- New] ++ Changed)),
    {case has_begun(Next, Before, Now) of true -> changed; false -> Result end, Next, NowTold}.

%% Files that a pattern means since. They count once they have been read.
pattern(Pattern, Paths) ->
    case s2s_partners_config_files:has_wildcard(Pattern) of
        true ->
            {Names, _} = s2s_partners_config_files:expand(Pattern),
            [{Pattern, Path} || Path <- [s2s_partners_config_files:join(Name) || Name <- Names] -- Paths];
        false ->
            []
    end.

file(Path, New, Now, {Result, #{crls := Crls, crl_signatures := Signatures, patterns := Patterns} = Term, Told}) ->
    case {signature(Path), Told} of
        {none, _} ->
            {Result, Term, complain(Path, none, 0, <<"is gone or no file any more; put a revocation list there">>, Told)};
        {{_, _, Changed, Status}, _} when Now - Changed =< ?SETTLED; Now - Status =< ?SETTLED ->
            {Result, Term, Told};
        {Signature, #{Path := {Signature, Again}}} when Again =:= 0; Again > Now ->
            {Result, Term, Told};
        {Signature, _} ->
            case take(Path, Crls, Now) of
                {ok, Crl} ->
                    #{lists := Lists, entries := Entries} = s2s_partners_nif:crl_facts(Crl),
                    ?LOG_INFO("Revocation lists in ~ts have changed and are in force: ~b ~ts, ~b revoked",
                              [Path, Lists, case Lists of 1 -> "list"; _ -> "lists" end, Entries]),
                    Means = lists:foldl(fun({Pattern, Of}, Sofar) when Of =:= Path ->
                                                maps:update_with(Pattern, fun(Paths) -> Paths ++ [Path] end, Sofar);
                                           (_, Sofar) ->
                                                Sofar
                                        end, Patterns, New),
                    {changed, Term#{crls := Crls#{Path => Crl}, crl_signatures := Signatures#{Path => Signature}, patterns := Means},
                     maps:remove(Path, Told)};
                same ->
                    is_map_key(Path, Told) andalso ?LOG_INFO("~ts holds again what is in force", [s2s_partners_config_files:shown(Path)]),
                    {Result, Term#{crl_signatures := Signatures#{Path => Signature}}, maps:remove(Path, Told)};
                {error, Message, Again} ->
                    {Result, Term, complain(Path, Signature, Again, Message, Told)}
            end
    end.

take(Path, Crls, Now) ->
    case {s2s_partners_nif:crl_read(Path), Crls} of
        {{ok, Crl, _}, #{Path := Before}} ->
            case s2s_partners_nif:crl_same(Crl, Before) orelse s2s_partners_nif:crl_follows(Crl, Before, Now) of
                true -> same;
                ok -> {ok, Crl};
                {error, Message, Again} ->
                    {error, <<Message/binary, "; fetch it from its authority, or reload if this is known to be right">>, Again}
            end;
        {{ok, Crl, _}, _} ->
            {ok, Crl};
        {{error, Message}, _} ->
            {error, Message, 0}
    end.

complain(Path, Signature, Again, Message, Told) ->
    case Told of
        #{Path := {Signature, _}} -> ok;
        #{} -> ?LOG_ERROR("~ts: ~ts; the revocation lists that were read from it before stay in force", [Path, Message])
    end,
    Told#{Path => {Signature, Again}}.

%% A list that was not valid yet has become so.
has_begun(#{crls := Crls}, Before, Now) ->
    Begun = [Path || {Path, Crl} <- maps:to_list(Crls), Begins <- [s2s_partners_nif:crl_begins(Crl, Before)], Begins > Before, Begins =< Now],
    lists:foreach(fun(Path) -> ?LOG_INFO("A revocation list in ~ts is valid from now on", [s2s_partners_config_files:shown(Path)]) end, Begun),
    Begun =/= [].
