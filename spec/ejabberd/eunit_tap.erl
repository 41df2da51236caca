%%% Runs the eunit tests of one module and prints TAP, so that each of them is counted.
%%%   erl -noshell -run eunit_tap main MODULE
-module(eunit_tap).

-behaviour(eunit_listener).

%% Seconds.
-define(PATIENCE, 60).

-export([main/1]).
-export([start/1, init/1, handle_begin/3, handle_end/3, handle_cancel/3, terminate/2]).

main([Name]) ->
    Module = list_to_atom(Name),
    case code:ensure_loaded(Module) of
        {module, Module} ->
            eunit:test({timeout, 280, tests(Module)}, [{report, {?MODULE, [self()]}}, no_tty]),
            receive
                {?MODULE, done, 0} -> halt(0);
                {?MODULE, done, _} -> halt(1)
            after 1000 ->
                io:format("Bail out! the run ended without a result~n"),
                halt(1)
            end;
        {error, Reason} ->
            io:format("Bail out! ~s: ~p~n", [Name, Reason]),
            halt(1)
    end.

%% All tests of the module, each with a time of its own where it names none: eunit's five seconds are time on the wall, and a busy machine may take
%% them for a test that takes a fifth of one. (Its option scale_timeouts came with Erlang 26.2.)
tests(Module) ->
    lists:append([case lists:reverse(atom_to_list(Function)) of
                      "tset_" ++ _ -> [patient({Module, Function}, ?PATIENCE)];
                      "_tset_" ++ _ -> [{generator, fun() -> patient(Module:Function(), ?PATIENCE) end}];
                      _ -> []
                  end || {Function, 0} <- Module:module_info(exports)]).

patient(Tests, Seconds) when is_list(Tests) -> [patient(Test, Seconds) || Test <- Tests];
patient({timeout, Seconds, Test}, _) -> patient(Test, Seconds);
patient({inorder, Tests}, Seconds) -> {inorder, patient(Tests, Seconds)};
patient({setup, Setup, Cleanup, Tests}, Seconds) when is_function(Tests, 1) ->
    {setup, Setup, Cleanup, fun(Context) -> patient(Tests(Context), Seconds) end};
patient({setup, Setup, Cleanup, Tests}, Seconds) -> {setup, Setup, Cleanup, patient(Tests, Seconds)};
patient({foreach, Setup, Cleanup, Tests}, Seconds) -> {foreach, Setup, Cleanup, patient(Tests, Seconds)};
patient({[_ | _] = Words, Test}, Seconds) -> {Words, patient(Test, Seconds)};
patient({Line, Test}, Seconds) when is_integer(Line), is_function(Test, 0) -> {timeout, Seconds, {Line, Test}};
patient({Module, Function}, Seconds) when is_atom(Module), is_atom(Function) -> {timeout, Seconds, {Module, Function}};
patient(Test, Seconds) when is_function(Test, 0) -> {timeout, Seconds, Test}.

start([Runner]) ->
    eunit_listener:start(?MODULE, [{runner, Runner}]).

init(Options) ->
    #{runner => proplists:get_value(runner, Options), count => 0, bad => 0}.

handle_begin(_, _, State) ->
    State.

handle_end(group, _, State) ->
    State;
handle_end(test, Data, State) ->
    case proplists:get_value(status, Data) of
        ok -> told("ok", Data, [], State);
        {skipped, Reason} -> told("not ok", Data, io_lib:format("skipped: ~p", [Reason]), failed(State));
        {error, {Class, Reason, Trace}} -> told("not ok", Data, io_lib:format("~p:~p~n~p", [Class, Reason, Trace]), failed(State))
    end.

handle_cancel(_, Data, State) ->
    case proplists:get_value(reason, Data) of
        undefined -> State;
        Reason -> told("not ok", Data, io_lib:format("cancelled: ~p", [Reason]), failed(State))
    end.

terminate(_, #{runner := Runner, count := Count, bad := Bad}) ->
    io:format("1..~b~n", [Count]),
    Runner ! {?MODULE, done, case Count of 0 -> 1; _ -> Bad end},
    ok.

failed(#{bad := Bad} = State) ->
    State#{bad := Bad + 1}.

told(Verdict, Data, Why, #{count := Count} = State) ->
    io:format("~s ~b - ~ts~n", [Verdict, Count + 1, name(Data)]),
    [io:format("# ~ts~n", [Line]) || Line <- string:split(lists:flatten(Why), "\n", all), Line =/= ""],
    State#{count := Count + 1}.

name(Data) ->
    Source = case proplists:get_value(source, Data) of
                 {_, Function, _} -> atom_to_list(Function);
                 _ -> ""
             end,
    Words = case proplists:get_value(desc, Data) of
                undefined -> Source;
                Description -> [Source, ": ", Description]
            end,
    [case Character of $# -> $.; $\n -> $ ; _ -> Character end || Character <- lists:flatten(Words)].
