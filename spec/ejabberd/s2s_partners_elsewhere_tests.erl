%%% Places over several nodes, each an emulator of its own: limits over all of them, nodes that end, that lose one another, and that
%%% run something else.
-module(s2s_partners_elsewhere_tests).

-include_lib("eunit/include/eunit.hrl").

-export([begin_node/0, restart/0, take/2, renew/2, release/1, others/0, counts/0, told_while_stuck/1]).

-define(PLACES, s2s_partners_places).
-define(FABRIKAM, <<"fabrikam.test">>).
-define(LIMIT, 2).

nodes_test_() ->
    {setup, fun start/0, fun stop/1,
     fun(Cluster) ->
             {inorder, [{Words, {timeout, 120, fun() -> Test(Cluster) end}}
                        || {Words, Test} <- [{"they meet", fun meet/1}, {"one limit for all", fun one_limit/1},
                                             {"the process starts anew", fun starts_anew/1},
                                             {"a connection that is stuck", fun stuck/1}, {"they lose one another", fun apart/1},
                                             {"a smaller limit", fun fewer_places/1}, {"another version", fun another_version/1},
                                             {"a node is killed", fun killed/1}]]}
     end}.

%% A port mapper of our own, so that nobody else's nodes are met.
start() ->
    os:putenv("ERL_EPMD_ADDRESS", "127.0.0.1"),
    Pid = port_mapper(10),
    try {Pid, [node_named(Name) || Name <- ["a", "b", "c"]]}
    catch Class:Reason:Stack ->
            %% It would outlive the test, and keep what waits for its output.
            os:cmd("kill " ++ integer_to_list(Pid)),
            erlang:raise(Class, Reason, Stack)
    end.

%% Its port is free when it is chosen. It may be somebody else's a moment later: then the mapper ends, and the next one has another.
port_mapper(Tries) when Tries > 0 ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Number} = inet:port(Socket),
    gen_tcp:close(Socket),
    os:putenv("ERL_EPMD_PORT", integer_to_list(Number)),
    Mapper = open_port({spawn_executable, os:find_executable("epmd")}, [exit_status]),
    {os_pid, Pid} = erlang:port_info(Mapper, os_pid),
    case answers(Mapper, Number, erlang:monotonic_time(millisecond) + 20000) of
        true ->
            Pid;
        ended ->
            port_mapper(Tries - 1);
        Other ->
            os:cmd("kill " ++ integer_to_list(Pid)),
            error({no_port_mapper, Other})
    end.

%% It says of itself which port it has. Who has taken the port answers otherwise, or not at all.
answers(Mapper, Number, Until) ->
    receive
        {Mapper, {exit_status, _}} -> ended
    after 20 ->
        Asked = case gen_tcp:connect({127, 0, 0, 1}, Number, [binary, {active, false}], 5000) of
                    {ok, Socket} ->
                        _ = gen_tcp:send(Socket, <<1:16, $n>>),
                        Answer = gen_tcp:recv(Socket, 4, 5000),
                        gen_tcp:close(Socket),
                        Answer;
                    Error ->
                        Error
                end,
        case Asked of
            {ok, <<Number:32>>} -> true;
            Other ->
                case erlang:monotonic_time(millisecond) < Until of
                    true -> answers(Mapper, Number, Until);
                    false -> Other
                end
        end
    end.

node_named(Name) ->
    %% All that are not Erlang's own.
    Paths = lists:append([["-pa", Path] || Path <- lists:reverse(code:get_path()), Path =/= ".", not lists:prefix(code:root_dir(), Path)]),
    {ok, Peer, Node} = peer:start_link(#{name => Name, host => "127.0.0.1", longnames => true, connection => standard_io,
                                         wait_boot => 60000,
                                         %% Connected and cut off one by one, by the test alone: the emulator would take a part of
                                         %% the cluster further apart, or put it together again.
                                         args => ["-setcookie", "s2sp", "-connect_all", "false", "-start_epmd", "false",
                                                  "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "dist_auto_connect", "never",
                                                  "prevent_overlapping_partitions", "false" | Paths]}),
    at(Peer, ?MODULE, begin_node, []),
    {Peer, Node}.

stop({Mapper, Peers}) ->
    [catch peer:stop(Peer) || {Peer, _} <- Peers],
    os:cmd("kill " ++ integer_to_list(Mapper)).

call({Peer, _}, Function, Arguments) ->
    at(Peer, ?MODULE, Function, Arguments).

at(Peer, Module, Function, Arguments) ->
    peer:call(Peer, Module, Function, Arguments, 30000).

%% A node that still clears away the connection that was cut off refuses the next one.
connect({Peer, _}, {_, Node}) ->
    soon(fun() -> at(Peer, net_kernel, connect_node, [Node]) end).

%% Within a second, the documentation says; a machine that is busy with other things may take longer.
soon(Check) ->
    soon(Check, erlang:monotonic_time(millisecond) + 20000).

soon(Check, Until) ->
    case Check() of
        true -> ok;
        Other ->
            ?assertMatch({true, _}, {erlang:monotonic_time(millisecond) < Until, Other}),
            timer:sleep(20),
            soon(Check, Until)
    end.

%% Whether nobody gets a place there any more; who got one gives it back.
is_full(Node, Limit) ->
    case call(Node, take, [probe, Limit]) of
        'connection-limit' -> true;
        allow -> call(Node, release, [probe]), timer:sleep(50), false;
        _ -> false
    end.

%%% On a node

begin_node() ->
    Self = self(),
    spawn(fun() ->
                  {ok, _} = ?PLACES:start_link(),
                  register(keeper, self()),
                  Self ! ready,
                  receive stop -> ok end
          end),
    receive ready -> ok end.

restart() ->
    Gone = [{Pid, monitor(process, Pid)} || Name <- [keeper, ?PLACES], Pid <- [whereis(Name)]],
    keeper ! stop,
    exit(whereis(?PLACES), kill),
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Gone],
    begin_node().

policy(Limit) ->
    Entry = {mapping, [{<<"domain">>, ?FABRIKAM}, {<<"partner_type">>, <<"federated">>}, {<<"connection_limit">>, Limit}]},
    {ok, Table, _} = s2s_partners_nif:compile(#{lists => [{<<"partners">>, {list, [Entry]}}]}),
    {ok, Policy, _} = s2s_partners_nif:compile_policy(Table, #{}),
    Policy.

%% A process of that name takes a place; allow, or the reason.
take(Name, Limit) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
                                           Answer = ?PLACES:ask(policy(Limit), ?FABRIKAM, ?FABRIKAM, takes, erlang:unique_integer([monotonic])),
                                           %% Who hears of the place may tell the process to give it back.
                                           Answer =:= allow andalso register(Name, self()),
                                           Self ! {self(), Answer},
                                           Answer =:= allow andalso holding()
                                   end),
    receive
        {Pid, allow} -> allow;
        {Pid, {refuse, Reason, _}} -> Reason;
        {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after 20000 -> late
    end.

holding() ->
    receive
        {renew, From, Limit} ->
            From ! {self(), ?PLACES:renew(policy(Limit), ?FABRIKAM, ?FABRIKAM, true, true, 1)},
            holding();
        stop -> ok
    end.

renew(Name, Limit) ->
    Pid = whereis(Name),
    Pid ! {renew, self(), Limit},
    receive
        {Pid, allow} -> allow;
        {Pid, {refuse, Reason, _}} -> Reason
    after 20000 -> late
    end.

%% The place is given back, and the name free, when this returns. Other nodes may not have heard of it.
release(Name) ->
    s2s_partners_places_tests:stop(whereis(Name)).

others() ->
    ?PLACES:others().

counts() ->
    maps:get(total, ?PLACES:counts()).

%% How often the node is looked at again: after a hundred changes, after that once more, after it has asked for all, and after it has come up.
told_while_stuck(Pid) ->
    {ok, Elsewhere} = s2s_partners_elsewhere:received({s2s_partners_elsewhere, 1, counts, Pid, #{}}, fun() -> #{} end,
                                                      s2s_partners_elsewhere:new(?PLACES)),
    fill(Pid, 1000),
    Tell = fun() -> [ok = s2s_partners_elsewhere:tell(?FABRIKAM, N, Elsewhere) || N <- lists:seq(1, 100)] end,
    Receive = fun(Message) -> fun() -> {ok, _} = s2s_partners_elsewhere:received(Message, fun() -> #{} end, Elsewhere) end end,
    [begin
         Change(),
         Looks = looks(To),
         erase({s2s_partners_elsewhere, again, To}),
         Looks
     end || {Change, To} <- [{Tell, Pid}, {Receive({s2s_partners_elsewhere, again, Pid}), Pid},
                             {Receive({s2s_partners_elsewhere, 1, meet, Pid, #{}}), Pid}, {Receive({nodeup, node(Pid)}), node(Pid)}]].

%% Until nothing more is taken at 20 looks in a row: the emulator calls a connection busy as well while it has only not come to hand over to the
%% system what it has, which still takes it.
fill(Pid, Left) ->
    fill(Pid, Left, 20).

fill(_, _, 0) ->
    ok;
fill(Pid, Left, Looks) when Left > 0 ->
    case erlang:send(Pid, binary:copy(<<"x">>, 100000), [nosuspend, noconnect]) of
        ok -> fill(Pid, Left - 1, 20);
        nosuspend -> timer:sleep(50), fill(Pid, Left, Looks - 1)
    end.

looks(To) ->
    receive {s2s_partners_elsewhere, again, To} -> 1 + more_looks(To)
    after 20000 -> 0
    end.

more_looks(To) ->
    receive {s2s_partners_elsewhere, again, To} -> 1 + more_looks(To)
    after 200 -> 0
    end.

%%% The tests

meet({_, [{_, NodeA} = A, {_, NodeB} = B, {_, NodeC} = C]}) ->
    connect(A, B),
    connect(A, C),
    connect(B, C),
    soon(fun() -> call(A, others, []) =:= [NodeB, NodeC] andalso call(B, others, []) =:= [NodeA, NodeC]
                      andalso call(C, others, []) =:= [NodeA, NodeB] end).

one_limit({_, [A, B, C]}) ->
    soon(fun() -> call(A, take, [one, ?LIMIT]) =:= allow end),
    soon(fun() -> call(B, take, [two, ?LIMIT]) =:= allow end),
    soon(fun() -> is_full(C, ?LIMIT) end),
    soon(fun() -> is_full(A, ?LIMIT) end),
    call(A, release, [one]),
    soon(fun() -> call(C, take, [three, ?LIMIT]) =:= allow end),
    soon(fun() -> is_full(A, ?LIMIT) end).

%% What it held is held by processes that live on, but not known any more: the node holds nothing.
starts_anew({_, [{_, NodeA} = A, {_, NodeB} = B, {_, NodeC} = C]}) ->
    call(B, restart, []),
    soon(fun() -> call(B, others, []) =:= [NodeA, NodeC] andalso call(A, others, []) =:= [NodeB, NodeC] end),
    soon(fun() -> call(A, take, [four, ?LIMIT]) =:= allow end),
    soon(fun() -> is_full(B, ?LIMIT) end),
    call(A, release, [four]),
    call(B, release, [two]),
    soon(fun() -> call(A, counts, []) =:= 0 end),
    call(C, release, [three]),
    soon(fun() -> call(C, counts, []) =:= 0 end).

%% The node falls silent: what it is told stays here, and each change of a count would have all of them sent once more.
stuck({_, [A, {PeerB, _}, _]}) ->
    Places = peer:call(PeerB, erlang, whereis, [?PLACES]),
    Process = peer:call(PeerB, os, getpid, []),
    os:cmd("kill -STOP " ++ Process),
    try
        ?assertEqual([1, 1, 1, 1], call(A, told_while_stuck, [Places]))
    after
        os:cmd("kill -CONT " ++ Process)
    end.

apart({_, [{PeerA, NodeA} = A, {_, NodeB} = B, {PeerC, NodeC} = C]}) ->
    soon(fun() -> call(B, take, [one, ?LIMIT]) =:= allow end),
    soon(fun() -> call(C, take, [two, ?LIMIT]) =:= allow end),
    soon(fun() -> is_full(A, ?LIMIT) end),
    %% C on one side, A and B on the other.
    [begin
         at(Peer, erlang, set_cookie, [Node, other]),
         at(Peer, erlang, disconnect_node, [Node])
     end || {Peer, Node} <- [{PeerC, NodeA}, {PeerC, NodeB}, {PeerA, NodeC}]],
    soon(fun() -> call(C, others, []) =:= [] andalso call(A, others, []) =:= [NodeB] end),
    soon(fun() -> call(A, take, [three, ?LIMIT]) =:= allow end),
    soon(fun() -> call(C, take, [four, ?LIMIT]) =:= allow end),
    soon(fun() -> is_full(B, ?LIMIT) end),
    [at(Peer, erlang, set_cookie, [Node, s2sp]) || {Peer, Node} <- [{PeerC, NodeA}, {PeerC, NodeB}, {PeerA, NodeC}]],
    connect(C, A),
    connect(C, B),
    soon(fun() -> [call(Node, others, []) || Node <- [A, B, C]] =:= [[NodeB, NodeC], [NodeA, NodeC], [NodeA, NodeB]] end),
    ?assertEqual(['connection-limit', 'connection-limit'], [call(Node, take, [five, 4]) || Node <- [A, C]]),
    soon(fun() -> call(B, take, [five, 5]) =:= allow end),
    call(B, release, [five]).

%% A holds one, B one, C two. The node that comes first by its name keeps its own, and nobody gives way to all.
fewer_places({_, [A, B, C]}) ->
    soon(fun() -> call(B, counts, []) =:= 1 end),
    ?assertEqual([allow, allow, 'connection-limit'],
                 [call(A, renew, [three, 2]), call(B, renew, [one, 2]), call(C, renew, [two, 2])]),
    ?assertEqual(allow, call(A, renew, [three, 2])).

another_version({_, [{PeerA, NodeA} = A, {_, NodeB}, {_, NodeC}]}) ->
    [at(PeerA, erlang, send, [?PLACES, Message])
     || Message <- [{s2s_partners_elsewhere, 2, meet, self(), #{}}, {s2s_partners_elsewhere, x}, {s2s_partners_elsewhere, 1, count, self(), x, 1},
                    {nodeup, 'nobody@127.0.0.1'}, {nodedown, NodeA}, something]],
    ?assertEqual([NodeB, NodeC], call(A, others, [])).

killed({_, [A, {_, NodeB} = B, {PeerC, _}]}) ->
    Before = call(B, counts, []),
    peer:cast(PeerC, erlang, halt, [137, [{flush, false}]]),
    soon(fun() -> call(A, others, []) =:= [NodeB] end),
    soon(fun() -> call(A, take, [last, 2 + Before]) =:= allow end).
