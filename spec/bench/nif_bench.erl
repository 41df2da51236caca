%%% What the border costs: microseconds and words of heap a call, and how long schedulers are held while 10 000 partners compile.
%%%   ERL_LIBS=STAGE/usr/lib/erlang/lib escript -c spec/bench/nif_bench.erl
%%% A figure a line: NAME TAB VALUE.
-module(nif_bench).

-export([main/1]).

-define(NIF, s2s_partners_nif).
-define(CALLS, 1000000).

%% All in one process, whose heap is large enough that nothing is collected in between, and which owns the stream.
main(_) ->
    {Pid, Monitor} = spawn_opt(fun measure/0, [monitor, {min_heap_size, 20000000}]),
    receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end.

measure() ->
    Policy = policy(10000),
    Stream = established(Policy),
    Question = lists:foldl(fun({Fact, Value}, Before) -> ?NIF:fact(Before, Fact, Value) end, ?NIF:question(incoming, message, user, false),
                           [{account, exists}, {listed, yes}]),
    Name = <<"p5000.example">>,
    Now = erlang:monotonic_time(millisecond),
    [figure(What, Call) || {What, Call} <- [
        {"an empty call", fun() -> ?NIF:loaded() end},
        {"stream_stanza", fun() -> ?NIF:stream_stanza(Stream, Policy, Name) end},
        {"stream_active", fun() -> ?NIF:stream_active(Stream, Now) end},
        {"question", fun() -> ?NIF:question(incoming, message, user, false) end},
        {"authorise, passes", fun() -> ?NIF:authorise(Policy, Name, <<"alice">>, Question) end},
        {"authorise, asks for a fact", fun() -> ?NIF:authorise(Policy, Name, <<"alice">>, 66) end},
        {"route, passes", fun() -> ?NIF:route(Policy, Name, false) end},
        {"route, refused", fun() -> ?NIF:route(Policy, <<"stranger.example">>, false) end}]],
    compile().

entry(N) ->
    {mapping, [{<<"domain">>, <<"p", (integer_to_binary(N))/binary, ".example">>}, {<<"partner_type">>, <<"federated">>},
               {<<"additional_domains">>, {list, [<<"*.p", (integer_to_binary(N))/binary, ".example">>]}}]}.

spec(Count) ->
    #{lists => [{<<"partners">>, {list, [entry(N) || N <- lists:seq(1, Count)]}}]}.

policy(Count) ->
    {ok, Table, []} = ?NIF:compile(spec(Count)),
    {ok, Policy, []} = ?NIF:compile_policy(Table, #{}),
    Policy.

established(Policy) ->
    Stream = ?NIF:stream_new(incoming, Policy, 0, false),
    allow = ?NIF:stream_identify(Stream, <<"p5000.example">>),
    ok = ?NIF:stream_observe(Stream, true, valid),
    allow = ?NIF:stream_authenticated(Stream, sasl, <<"p5000.example">>),
    allow = ?NIF:stream_established(Stream),
    Stream.

%% Time of the processor, the best of some rounds, since others use the machine too; less what the loop itself takes.
figure(What, Call) ->
    Nanoseconds = lists:min([processor(Call) || _ <- lists:seq(1, 3)]) - lists:min([processor(fun() -> ok end) || _ <- lists:seq(1, 3)]),
    io:format("~s, ns\t~.1f~n", [What, Nanoseconds]),
    io:format("~s, words\t~b~n", [What, words(Call) - words(fun() -> ok end)]).

processor(Call) ->
    _ = erlang:statistics(runtime),
    loop(?CALLS, Call),
    {_, Milliseconds} = erlang:statistics(runtime),
    Milliseconds * 1.0e6 / ?CALLS.

loop(0, _) -> ok;
loop(N, Call) -> Call(), loop(N - 1, Call).

words(Call) ->
    Call(),
    First = heap_used(),
    loop(1000, Call),
    (heap_used() - First) div 1000.

heap_used() ->
    {garbage_collection_info, Info} = erlang:process_info(self(), garbage_collection_info),
    proplists:get_value(heap_size, Info).

%% The longest that a process which does nothing but wake up had to wait on each scheduler, while others compile.
compile() ->
    Spec = spec(10000),
    Quiet = waits(fun() -> timer:sleep(1500) end),
    Self = self(),
    Busy = waits(fun() ->
                         {Time, {ok, _, []}} = timer:tc(fun() -> ?NIF:compile(Spec) end),
                         Self ! {took, Time},
                         timer:sleep(200)
                 end),
    receive {took, Time} -> io:format("compile 10000, ms\t~.1f~n", [Time / 1000]) end,
    io:format("longest wait of a scheduler without, ms\t~.2f~n", [Quiet / 1000]),
    io:format("longest wait of a scheduler while compiling, ms\t~.2f~n", [Busy / 1000]).

waits(Work) ->
    Self = self(),
    Watchers = [spawn_opt(fun() -> watch(Self, 0) end, [{scheduler, N}]) || N <- lists:seq(1, erlang:system_info(schedulers_online))],
    Work(),
    [Watcher ! stop || Watcher <- Watchers],
    lists:max([receive {waited, Watcher, Longest} -> Longest end || Watcher <- Watchers]).

watch(Asker, Longest) ->
    Before = erlang:monotonic_time(microsecond),
    receive stop -> Asker ! {waited, self(), Longest}
    after 0 ->
        erlang:yield(),
        watch(Asker, max(Longest, erlang:monotonic_time(microsecond) - Before))
    end.
