%%% Cancelled contacts: in Mnesia, over a restart of it, with its bounds, and while it cannot be written.
-module(s2s_partners_cancellations_tests).

-include_lib("eunit/include/eunit.hrl").

-define(HOST, <<"contoso.test">>).
-define(BOB, <<"bob@fabrikam.test">>).
-define(TABLES, [s2s_partners_cancellations_unsaved, s2s_partners_cancellations_backends]).

cancelled(User, Contact) ->
    s2s_partners_cancellations:is_cancelled(User, ?HOST, Contact, false).

mnesia_test_() ->
    {setup, fun start/0, fun stop/1,
     fun(Directory) ->
             [{timeout, 60, Test} || Test <-
                 [{"kept and taken back", fun kept/0}, {"of one user alone", fun alone/0},
                  {"over a restart", fun() -> restart(Directory) end}, {"of a removed user", fun removed/0},
                  {"more than are kept", fun too_many/0}, {"longer than is kept", fun too_long/0},
                  {"as the roster's transaction goes", fun in_a_transaction/0}, {"kept while it cannot be written", fun unwritable/0}]]
     end}.

start() ->
    Directory = string:trim(os:cmd("mktemp -d")),
    application:load(mnesia),
    application:set_env(mnesia, dir, Directory),
    {ok, _} = start_mnesia(),
    use(),
    Directory.

%% ejabberd's own server for tables, which makes the schema on disk.
start_mnesia() ->
    Before = process_flag(trap_exit, true),
    Started = ejabberd_mnesia:start(),
    process_flag(trap_exit, Before),
    case Started of
        {ok, Pid} -> unlink(Pid), {ok, Pid};
        Error -> Error
    end.

%% On a busy machine Mnesia may take longer to make its table than the start of ejabberd waits for it.
use() ->
    ok = s2s_partners_cancellations:init(),
    ok = s2s_partners_cancellations:init(?HOST, mnesia),
    until(fun() -> backends(?HOST) =/= [] end).

stop(Directory) ->
    stop_mnesia(),
    [ets:delete(Table) || Table <- ?TABLES, ets:whereis(Table) =/= undefined],
    file:del_dir_r(Directory).

stop_mnesia() ->
    Pid = whereis(ejabberd_mnesia),
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    application:stop(mnesia).

kept() ->
    ?assertNot(cancelled(<<"alice">>, ?BOB)),
    ok = s2s_partners_cancellations:cancel(<<"alice">>, ?HOST, ?BOB),
    ok = s2s_partners_cancellations:cancel(<<"alice">>, ?HOST, ?BOB),
    ?assert(cancelled(<<"alice">>, ?BOB)),
    ok = s2s_partners_cancellations:add(<<"alice">>, ?HOST, ?BOB),
    ?assertNot(cancelled(<<"alice">>, ?BOB)).

alone() ->
    ok = s2s_partners_cancellations:cancel(<<"alice">>, ?HOST, ?BOB),
    ?assertNot(cancelled(<<"carol">>, ?BOB)),
    ?assertNot(cancelled(<<"alice">>, <<"dave@fabrikam.test">>)).

restart(_) ->
    ok = s2s_partners_cancellations:cancel(<<"alice">>, ?HOST, ?BOB),
    stop_mnesia(),
    {ok, _} = start_mnesia(),
    use(),
    ?assert(cancelled(<<"alice">>, ?BOB)).

removed() ->
    ok = s2s_partners_cancellations:cancel(<<"alice">>, ?HOST, ?BOB),
    ok = s2s_partners_cancellations:cancel(<<"carol">>, ?HOST, ?BOB),
    ok = s2s_partners_cancellations:user_removed(<<"alice">>, ?HOST),
    ?assertNot(cancelled(<<"alice">>, ?BOB)),
    ?assert(cancelled(<<"carol">>, ?BOB)).

too_many() ->
    Contact = fun(N) -> <<(integer_to_binary(N))/binary, "@fabrikam.test">> end,
    [s2s_partners_cancellations:cancel(<<"many">>, ?HOST, Contact(N)) || N <- lists:seq(1, 1000)],
    ?assertNot(cancelled(<<"many">>, Contact(1001))),
    [s2s_partners_cancellations:cancel(<<"many">>, ?HOST, Contact(N)) || N <- lists:seq(1001, 1010)],
    ?assert(cancelled(<<"many">>, Contact(1))),
    ?assert(cancelled(<<"many">>, <<"stranger@fabrikam.test">>)),
    ?assertNot(s2s_partners_cancellations:is_cancelled(<<"many">>, ?HOST, <<"listed@fabrikam.test">>, true)),
    {ok, Kept} = s2s_partners_cancellations_mnesia:contacts(<<"many">>, ?HOST),
    ?assertEqual(1001, length(Kept)).

too_long() ->
    Contact = fun(N) -> <<(binary:copy(<<"x">>, 1000))/binary, (integer_to_binary(N))/binary, "@fabrikam.test">> end,
    [s2s_partners_cancellations:cancel(<<"long">>, ?HOST, Contact(N)) || N <- lists:seq(1, 200)],
    {ok, Kept} = s2s_partners_cancellations_mnesia:contacts(<<"long">>, ?HOST),
    ?assert(iolist_size(Kept) =< 100000),
    ?assert(cancelled(<<"long">>, <<"stranger@fabrikam.test">>)).

%% What the roster takes back is taken back here.
in_a_transaction() ->
    {aborted, full} = mnesia:transaction(fun() ->
                                                 s2s_partners_cancellations:cancel(<<"erin">>, ?HOST, ?BOB),
                                                 true = cancelled(<<"erin">>, ?BOB),
                                                 mnesia:abort(full)
                                         end),
    ?assertNot(cancelled(<<"erin">>, ?BOB)),
    {atomic, ok} = mnesia:transaction(fun() -> s2s_partners_cancellations:cancel(<<"erin">>, ?HOST, ?BOB) end),
    ?assert(cancelled(<<"erin">>, ?BOB)).

unwritable() ->
    ok = s2s_partners_cancellations:cancel(<<"frank">>, ?HOST, <<"before@fabrikam.test">>),
    {atomic, ok} = mnesia:change_table_access_mode(s2s_partners_cancelled, read_only),
    ok = s2s_partners_cancellations:cancel(<<"frank">>, ?HOST, ?BOB),
    ok = s2s_partners_cancellations:add(<<"frank">>, ?HOST, <<"before@fabrikam.test">>),
    ?assert(cancelled(<<"frank">>, ?BOB)),
    ?assertNot(cancelled(<<"frank">>, <<"before@fabrikam.test">>)),
    {ok, Stored} = s2s_partners_cancellations_mnesia:contacts(<<"frank">>, ?HOST),
    ?assertEqual([<<"before@fabrikam.test">>], Stored),
    {atomic, ok} = mnesia:change_table_access_mode(s2s_partners_cancelled, read_write),
    ok = s2s_partners_cancellations:cancel(<<"frank">>, ?HOST, <<"third@fabrikam.test">>),
    ?assertEqual([], ets:tab2list(s2s_partners_cancellations_unsaved)),
    {ok, Now} = s2s_partners_cancellations_mnesia:contacts(<<"frank">>, ?HOST),
    ?assertEqual([?BOB, <<"third@fabrikam.test">>], lists:sort(Now)).

%% A database that is not there at first, then is, then goes again. The rows are those of a table of the test's.
absent_test_() ->
    {setup, fun absent/0, fun(_) -> [ets:delete(Table) || Table <- [absent | ?TABLES]] end,
     [{timeout, 60, fun not_there_at_start/0}, {timeout, 60, fun gone_later/0}, {timeout, 60, fun a_share_of_what_waits/0}]}.

absent() ->
    Source = "-module(s2s_partners_cancellations_absent).
        -export([init/1, find/3, contacts/2, write/4, delete/3]).
        there(Fun) -> case ets:lookup(absent, there) of [{_, yes}] -> Fun(); [{_, no}] -> {error, down}; [{_, late}] -> timer:sleep(infinity) end.
        init(_) -> ets:update_counter(absent, tried, 1), there(fun() -> ok end).
        find(U, S, C) -> there(fun() -> {ok, ets:member(absent, {U, S, C})} end).
        contacts(U, S) -> there(fun() -> {ok, [C || [C] <- ets:match(absent, {{U, S, '$1'}, '_'})]} end).
        write(U, S, C, At) -> there(fun() -> ets:insert(absent, {{U, S, C}, At}), ok end).
        delete(U, S, C) -> there(fun() -> ets:delete(absent, {U, S, C}), ok end).
        ",
    {ok, Tokens, _} = erl_scan:string(Source),
    {ok, Module, Code} = compile:forms(forms(Tokens, [])),
    {module, Module} = code:load_binary(Module, "absent.erl", Code),
    absent = ets:new(absent, [named_table, public]),
    ets:insert(absent, [{there, no}, {tried, 0}]),
    ok = s2s_partners_cancellations:init().

forms([], []) -> [];
forms([{dot, _} = Dot | Rest], Form) -> {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])), [Parsed | forms(Rest, [])];
forms([Token | Rest], Form) -> forms(Rest, [Token | Form]).

there(What) -> ets:insert(absent, {there, What}).

backends(Key) -> ets:lookup(s2s_partners_cancellations_backends, Key).

until(Fun) -> until(Fun, 400).

until(Fun, Times) when Times > 0 ->
    Fun() orelse begin timer:sleep(50), until(Fun, Times - 1) end.

%% The next attempt is now, unless the one under way has succeeded meanwhile.
again() ->
    [Pid ! again || {_, Pid} <- backends({repairing, ?HOST})].

tried() -> ets:lookup_element(absent, tried, 2).

not_there_at_start() ->
    there(late),
    %% Three seconds. What waits for the database itself would wait without end.
    ok = s2s_partners_cancellations:init(?HOST, absent),
    %% Nine more hosts have the same database: their waiting does not add up.
    {More, _} = timer:tc(fun() -> [ok = s2s_partners_cancellations:init(<<N, ".test">>, absent) || N <- lists:seq($a, $i)] end),
    ?assert(More < 15000000, More),
    until(fun() -> tried() =:= 10 end),
    there(no),
    ok = s2s_partners_cancellations:init(?HOST, absent),
    ?assertEqual(error, cancelled(<<"alice">>, ?BOB)),
    %% What is waited for shortly may come later.
    until(fun() -> tried() > 10 end),
    Tried = tried(),
    again(),
    until(fun() -> tried() > Tried end),
    ?assertEqual(error, cancelled(<<"alice">>, ?BOB)),
    there(yes),
    again(),
    until(fun() -> cancelled(<<"alice">>, ?BOB) =:= false end),
    until(fun() -> backends({repairing, ?HOST}) =:= [] end).

%% What is cancelled meanwhile is stored without another word of the user's.
gone_later() ->
    there(no),
    ok = s2s_partners_cancellations:cancel(<<"alice">>, ?HOST, ?BOB),
    ?assert(cancelled(<<"alice">>, ?BOB)),
    ?assertEqual(error, cancelled(<<"alice">>, <<"other@fabrikam.test">>)),
    ?assertNot(ets:member(absent, {<<"alice">>, ?HOST, ?BOB})),
    there(yes),
    again(),
    until(fun() -> ets:member(absent, {<<"alice">>, ?HOST, ?BOB}) end),
    until(fun() -> ets:tab2list(s2s_partners_cancellations_unsaved) =:= [] end),
    until(fun() -> backends({repairing, ?HOST}) =:= [] end).

a_share_of_what_waits() ->
    there(no),
    Contact = fun(N) -> <<(integer_to_binary(N))/binary, "@fabrikam.test">> end,
    [s2s_partners_cancellations:add(<<"erin">>, ?HOST, Contact(N)) || N <- lists:seq(1, 1100)],
    ?assertEqual(1000, ets:info(s2s_partners_cancellations_unsaved, size)),
    ok = s2s_partners_cancellations:cancel(<<"erin">>, ?HOST, Contact(1)),
    ok = s2s_partners_cancellations:cancel(<<"erin">>, ?HOST, Contact(2000)),
    ?assert(cancelled(<<"erin">>, Contact(1))),
    ?assertEqual(1001, ets:info(s2s_partners_cancellations_unsaved, size)),
    ok = s2s_partners_cancellations:cancel(<<"frank">>, ?HOST, ?BOB),
    ?assert(cancelled(<<"frank">>, ?BOB)),
    there(yes),
    ?assert(cancelled(<<"erin">>, Contact(3000))),
    ?assert(cancelled(<<"frank">>, ?BOB)).

no_database_test() ->
    ok = s2s_partners_cancellations:init(),
    ?assertEqual(error, s2s_partners_cancellations:is_cancelled(<<"alice">>, <<"nowhere.test">>, ?BOB, false)),
    ok = s2s_partners_cancellations:cancel(<<"alice">>, <<"nowhere.test">>, ?BOB),
    ?assert(s2s_partners_cancellations:is_cancelled(<<"alice">>, <<"nowhere.test">>, ?BOB, false)),
    [ets:delete(Table) || Table <- ?TABLES].
