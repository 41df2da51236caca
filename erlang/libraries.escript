%% -*- erlang -*-
%% Finds the libraries that the beams are compiled against, and links them under the names that include_lib uses into a directory
%% that ERL_LIBS can name: distributions have them under other names (p1_xmpp-1.6.1) and in other places.
%%   escript libraries.escript LINKS [ROOT...]
%% Prints the version of ejabberd; fails with what is missing.

main([Links | Given]) ->
    Roots = case Given of
                [] -> [code:lib_dir(), "/usr/lib/*", "/usr/lib/ejabberd/lib", "/opt/ejabberd-*/lib"];
                _ -> Given
            end,
    Wanted = [{"ejabberd", ["ejabberd"], "ebin/ejabberd.app"},
              {"xmpp", ["xmpp", "p1_xmpp"], "include/xmpp.hrl"},
              {"fast_xml", ["fast_xml", "p1_xml"], "include/fxml.hrl"},
              {"p1_xml", ["p1_xml", "fast_xml"], "include/fxml.hrl"},
              {"p1_utils", ["p1_utils"], "ebin/p1_server.beam"}],
    Found = [{Name, find(Roots, Names, Mark)} || {Name, Names, Mark} <- Wanted],
    case [Name || {Name, none} <- Found] of
        [] ->
            ok = filelib:ensure_dir(filename:join(Links, "x")),
            lists:foreach(fun({Name, Directory}) -> link(Directory, filename:join(Links, Name)) end, Found),
            io:format("~s~n", [version(proplists:get_value("ejabberd", Found))]);
        Missing ->
            io:format("~s~n", [lists:join(", ", Missing)]),
            halt(1)
    end.

find(Roots, Names, Mark) ->
    Candidates = [Directory || Root <- Roots, Name <- Names, Directory <- filelib:wildcard(filename:join(Root, Name ++ "{,-*}")),
                               filelib:is_file(filename:join(Directory, Mark))],
    case Candidates of
        [First | _] -> First;
        [] -> none
    end.

link(Directory, Link) ->
    _ = file:delete(Link),
    ok = file:make_symlink(Directory, Link).

version(Directory) ->
    {ok, [{application, ejabberd, Keys}]} = file:consult(filename:join([Directory, "ebin", "ejabberd.app"])),
    proplists:get_value(vsn, Keys).
