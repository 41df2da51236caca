%%% The configuration on disk, read as ejabberd reads it, and nothing of it applied. ejabberd keeps what it is judging in a table of the
%%% process that does it; so here a process of its own does, and whatever reads options there reads those on disk.
-module(s2s_partners_disk).

-export([read/1]).

-define(TIME, 120000).

%% Runs `Judge` where ejabberd's options are those on disk. ejabberd's own errors, one text each: those that keep the file from being
%% read (unreadable), or those of options and other modules, after which `Judge` has said what it has to say.
-spec read(fun(() -> Result)) -> {ok, Result, Warnings :: [binary()]} | {unreadable, binary()}.
read(Judge) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({read, on_disk(Judge)}) end),
    receive
        {'DOWN', Monitor, process, Pid, {read, Result}} ->
            Result;
        {'DOWN', Monitor, process, Pid, Reason} ->
            {unreadable, iolist_to_binary(io_lib:format("ejabberd's configuration could not be read: ~P", [Reason, 12]))}
    after ?TIME ->
            exit(Pid, kill),
            erlang:demonitor(Monitor, [flush]),
            {unreadable, <<"ejabberd's configuration could not be read in time">>}
    end.

on_disk(Judge) ->
    case steps([fun parse/1, fun hosts/1, fun transform/1, fun validate/1, fun merge/1], ejabberd_config:path()) of
        {ok, Hosts} ->
            Errors = lists:usort(lists:append([modules(Host) || Host <- Hosts])),
            put({mod_s2s_partners, checked}, undefined),
            {ok, Judge(), Errors};
        Error ->
            {unreadable, text(Error)}
    end.

steps([], Result) -> {ok, Result};
steps([Step | Steps], Result) ->
    case Step(Result) of
        {ok, Next} -> steps(Steps, Next);
        Error -> Error
    end.

text(Error) ->
    unicode:characters_to_binary(ejabberd_config:format_error(Error)).

parse(Path) ->
    Options = [plain_as_atom, {additional_macros, macros()}, replace_macros, include_files],
    lists:foldl(fun(File, {ok, Sofar}) ->
                        case econf:parse(File, #{'_' => econf:any()}, Options) of
                            {ok, More} -> {ok, Sofar ++ More};
                            Error -> Error
                        end;
                   (_, Error) -> Error
                end, {ok, []}, [Path | ext_mod:modules_configs()]).

%% ejabberd 24.x takes macros from its environment; others do not look at this.
macros() ->
    lists:append([case string:split(Setting, "=") of
                      ["EJABBERD_MACRO_" ++ Name, Text] ->
                          case fast_yaml:decode(unicode:characters_to_binary(Text), [plain_as_atom]) of
                              {ok, [Value]} -> [{list_to_atom(Name), Value}];
                              _ -> []
                          end;
                      _ -> []
                  end || Setting <- os:getenv()]).

hosts(Written) ->
    econf:validate(econf:and_then(econf:options(#{hosts => ejabberd_options:opt_type(hosts),
                                                  loglevel => ejabberd_options:opt_type(loglevel),
                                                  version => ejabberd_options:opt_type(version),
                                                  '_' => econf:any()}, [{required, [hosts]}]),
                                  fun econf:group_dups/1), Written).

transform(Written) ->
    ejabberd_config_transformer:map_reduce(Written).

validate(Written) ->
    Hosts = proplists:get_value(hosts, Written),
    Table = ets:new(options, [private]),
    Mark = make_ref(),
    put(ejabberd_options, Table),
    ets:insert(Table, [{{hosts, global}, Hosts}, {{host, global}, hd(Hosts)}, {{yaml_config, global}, Written},
                       {{version, global}, proplists:get_value(version, Written, ejabberd_config:version())},
                       {{s2s_partners_mark, global}, Mark}]),
    %% Were they looked for elsewhere, the running configuration would be taken for the one on disk.
    case ejabberd_config:get_option({s2s_partners_mark, global}) of
        Mark ->
            {Validators, Required} = ejabberd_config:validators([]),
            econf:validate(econf:options(Validators, [{required, Required}, unique]), Written);
        _ ->
            {error, {exception, error, unknown_version, []}}
    end.

%% Options of hosts, and what holds where nothing is written: each option as the host has it, as all hosts have it, or its default.
merge(Options) ->
    Table = get(ejabberd_options),
    Global = maps:from_list([{{Option, global}, Value} || {Option, Value} <- Options, Option =/= host_config,
                                                          Option =/= append_host_config]),
    Own = maps:from_list([{{Option, Host}, Value} || {Host, Options1} <- proplists:get_value(host_config, Options, []),
                                                     {Option, Value} <- Options1]),
    case append([{Host, Option, Value} || {Host, Options1} <- proplists:get_value(append_host_config, Options, []),
                                          {Option, Value} <- Options1], maps:merge(Global, Own)) of
        {ok, Merged} ->
            Hosts = proplists:get_value(hosts, Options),
            Defaults = ejabberd_options:options(),
            lists:foreach(fun(Default) -> fill(Table, global, Default, Merged) end, Defaults),
            Globals = ejabberd_config:globals(),
            lists:foreach(fun(Host) ->
                                  ets:insert(Table, {{host, global}, Host}),
                                  lists:foreach(fun(Default) -> fill(Table, Host, Default, Merged) end,
                                                [Default || Default <- Defaults, not lists:member(name(Default), Globals)])
                          end, Hosts),
            ets:insert(Table, {{host, global}, hd(Hosts)}),
            {ok, Hosts};
        Error ->
            Error
    end.

name({Option, _}) -> Option;
name(Option) -> Option.

append([], Merged) ->
    {ok, Merged};
append([{Host, Option, Value} | Rest], Merged) when is_list(Value) ->
    Before = maps:get({Option, Host}, Merged, maps:get({Option, global}, Merged, [])),
    append(Rest, Merged#{{Option, Host} => Before ++ Value});
append([{Host, Option, _} | _], _) ->
    {error, {merge_conflict, Option, Host}}.

fill(Table, Host, Default, Merged) ->
    Option = name(Default),
    case {Merged, Default} of
        {#{{Option, Host} := Value}, _} -> ets:insert(Table, {{Option, Host}, Value});
        {#{{Option, global} := Value}, _} -> ets:insert(Table, {{Option, Host}, Value});
        {_, {_, Make}} when is_function(Make, 1) -> ets:insert(Table, {{Option, Host}, Make(Host)});
        {_, {_, Value}} -> ets:insert(Table, {{Option, Host}, Value});
        {_, _} -> true
    end.

%% What ejabberd says of the modules of a host. What mod_s2s_partners has to say of itself is asked separately.
modules(Host) ->
    Table = get(ejabberd_options),
    ets:insert(Table, {{host, global}, Host}),
    put({mod_s2s_partners, checked}, {Table, []}),
    case gen_mod:validate(Host, ejabberd_config:get_option({modules, Host})) of
        {ok, _} -> [];
        Error -> [text(Error)]
    end.
