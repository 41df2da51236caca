%%% Every function that the module calls is there, with as many arguments: in its own modules, in ejabberd and in what ejabberd stands on.
%%% Nothing else would tell before the call is made.
-module(s2s_partners_calls_tests).

-include_lib("eunit/include/eunit.hrl").

%% Of later versions of ejabberd than the oldest that is supported; each call asks first.
-define(LATER, [{ejabberd_s2s_out, handle_unauthenticated_features, 2}]).

calls_test_() ->
    {timeout, 120, fun() ->
        Folder = filename:dirname(code:which(s2s_partners_live)),
        {ok, _} = xref:start(calls),
        try
            ok = xref:set_default(calls, [{warnings, false}, {verbose, false}]),
            ok = xref:set_library_path(calls, code:get_path() -- [Folder]),
            {ok, Modules} = xref:add_directory(calls, Folder),
            ?assert(length(Modules) > 40),
            {ok, Undefined} = xref:analyze(calls, undefined_function_calls),
            ?assertEqual([], [Call || {_, Called} = Call <- Undefined, not lists:member(Called, ?LATER)])
        after
            xref:stop(calls)
        end
    end}.
