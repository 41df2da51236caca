%% -*- erlang -*-
%% Prints where erl_nif.h is.
main([]) ->
    io:format("~s~n", [filename:join([code:root_dir(), "usr", "include"])]).
