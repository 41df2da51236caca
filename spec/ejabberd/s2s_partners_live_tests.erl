%%% The list of live streams: what the end of a stream costs, and what is left of it.
-module(s2s_partners_live_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-define(LIVE, s2s_partners_live).
-define(KEEPALIVES, s2s_partners_keepalives).

live_test_() ->
    {foreach,
     fun() ->
             {ok, Pid} = ?LIVE:start_link(),
             Pid
     end,
     fun(Pid) ->
             unlink(Pid),
             gen_server:stop(Pid)
     end,
     [{timeout, 60, fun listed_until_the_end/0}, {timeout, 60, fun judged_again_without_supervisor/0}, {timeout, 60, fun the_end_of_one_of_many/0}]}.

stream(Then) ->
    Self = self(),
    Pid = spawn(fun() ->
                        ?LIVE:enter(outgoing),
                        Then(),
                        Self ! {entered, self()},
                        receive stop -> ok end
                end),
    receive {entered, Pid} -> Pid after 20000 -> error(late) end.

stop(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    %% The process that keeps the list may hear of it after this one.
    until_gone(Pid, 5000),
    ok = ?LIVE:ready().

%% It is not asked meanwhile: what it does is counted.
until_gone(Pid, Tries) ->
    case ?LIVE:view(Pid) of
        none -> ok;
        View when Tries =:= 0 -> error({still_listed, View});
        _ -> timer:sleep(1), until_gone(Pid, Tries - 1)
    end.

listed_until_the_end() ->
    Pid = stream(fun() -> ?LIVE:publish(#{stage => established}) end),
    ?assertEqual(#{pid => Pid, stage => established}, ?LIVE:view(Pid)),
    stop(Pid),
    ?assertEqual(none, ?LIVE:view(Pid)),
    %% Who has not entered is not listed: nobody would take it out again.
    ?LIVE:publish(#{stage => established}),
    ?assertEqual([], ?LIVE:streams()).

%% Streams of a listener with `supervisor: false` are nobody's children; a reload has to reach them.
judged_again_without_supervisor() ->
    %% Stands for the process that counts places: it is only told of the waiting room.
    true = register(s2s_partners_places, self()),
    try
        Pid = stream(fun() -> ?LIVE:publish(#{direction => outgoing, stage => established}) end),
        1 = erlang:trace(Pid, true, ['receive']),
        ok = ?LIVE:rejudge(),
        receive {trace, Pid, 'receive', {'$gen_cast', {update_state, Judge}}} -> ?assert(is_function(Judge, 1))
        after 20000 -> error(not_judged)
        end,
        stop(Pid)
    after
        unregister(s2s_partners_places)
    end.

%% A stranger's connection costs no more where many streams wait for an answer to a ping.
the_end_of_one_of_many() ->
    ets:insert(?KEEPALIVES, [{integer_to_binary(N), self(), <<"contoso.test">>, <<"fabrikam.test">>} || N <- lists:seq(1, 50000)]),
    Streams = [stream(fun() -> ok end) || _ <- lists:seq(1, 50)],
    Reductions = fun() -> element(2, process_info(whereis(?LIVE), reductions)) end,
    Before = Reductions(),
    lists:foreach(fun stop/1, Streams),
    Each = (Reductions() - Before) div 50,
    ?assertEqual([], ?LIVE:streams()),
    ?assert(Each < 1000, Each).

%% A stream that came about while nothing was enforced, where nobody finds it: it ends with what it brings, or is to send.
unguarded_test_() ->
    Result = fun(Function, Arguments) ->
                     {_, Monitor} = spawn_monitor(fun() -> exit({returned, apply(s2s_partners_latch, Function, Arguments)}) end),
                     receive {'DOWN', Monitor, process, _, Reason} -> Reason after 20000 -> error(late) end
             end,
    Presence = {presence, <<>>, available, <<>>, undefined, undefined, [], [], undefined, [], #{}},
    Stream = #{mod => ejabberd_s2s_in},
    Guarded = #{mod => s2s_partners_in, s2s_partners => guarded},
    Mode = fun(Mode) -> persistent_term:put(s2s_partners_mode, Mode) end,
    {setup, fun() -> Mode(enforce) end, fun(_) -> persistent_term:erase(s2s_partners_mode) end,
     [?_assertEqual(normal, Result(s2s_receive_packet, [{Presence, Stream}])),
      ?_assertEqual(normal, Result(s2s_in_handle_info, [Stream, {route, Presence}])),
      ?_assertEqual({returned, Stream}, Result(s2s_in_handle_info, [Stream, other])),
      ?_assertEqual({returned, {stop, Stream}}, Result(s2s_in_handle_info, [Stream, {s2s_partners, tick}])),
      ?_assertEqual({returned, Guarded}, Result(s2s_in_handle_info, [Guarded, {route, Presence}])),
      ?_assertEqual({returned, {Presence, Guarded}}, Result(s2s_receive_packet, [{Presence, Guarded}])),
      fun() ->
              Mode(observe),
              ?assertEqual({returned, Stream}, Result(s2s_in_handle_info, [Stream, {route, Presence}]))
      end]}.

%% A reload finds a connection that ejabberd has accepted and not begun with. The hook that guards it is still to come, and ejabberd cannot send
%% anything yet: it would crash.
just_accepted_test() ->
    State = #{mod => ejabberd_s2s_in, owner => self(), stream_state => accepting, socket => none, socket_mod => gen_tcp, socket_opts => []},
    ?assertEqual(State, ?LIVE:end_if_unguarded(ejabberd_s2s_in, State)),
    ?assertEqual(State, s2s_partners_in:rejudge(State)),
    receive {'$gen_cast', Message} -> error({told, Message}) after 0 -> ok end.

%% What fails where a stream ends (the list of streams is just being made anew) must not leave its process behind: nothing comes any more that
%% would end it.
an_error_at_the_end_test() ->
    State = #{stream_state => disconnected, stream_timeout => infinity, s2s_partners => #guarded{direction = incoming}},
    ?assertExit(shutdown, s2s_partners_stream:run(handle_stream_end, fun(_) -> error(badarg) end, State)).

%% A reload refuses a stream that has been told to connect and has not begun with it: it connects to nobody.
called_off_test_() ->
    {setup,
     fun() ->
             ok = application:start(mnesia),
             {atomic, ok} = mnesia:create_table(s2s, [{type, bag}, {attributes, [fromto, pid]}])
     end,
     fun(_) -> application:stop(mnesia) end,
     fun() ->
             Entry = {mapping, [{<<"domain">>, <<"fabrikam.test">>}, {<<"partner_type">>, <<"federated">>}]},
             {ok, Table, _} = s2s_partners_nif:compile(#{lists => [{<<"p">>, {list, [Entry]}}]}),
             {ok, Policy, _} = s2s_partners_nif:compile_policy(Table, #{}),
             Stream = s2s_partners_nif:stream_new(outgoing, Policy, 0, false),
             allow = s2s_partners_nif:stream_identify(Stream, <<"fabrikam.test">>),
             Guarded = #guarded{direction = outgoing, stream = Stream, policy = Policy, vhost = <<"contoso.test">>, local = <<"contoso.test">>,
                                remote = <<"fabrikam.test">>},
             State = s2s_partners_out:rejudge(#{owner => self(), mod => s2s_partners_out, stream_state => connecting, stream_timeout => infinity,
                                                server => <<"contoso.test">>, remote_server => <<"fabrikam.test">>, on_route => queue,
                                                queue => p1_queue:new(), s2s_partners => Guarded}),
             ?assertMatch(#{s2s_partners := #guarded{refused = {'config-invalid', _}}}, State),
             ?assertNotMatch(#{stream_state := connecting}, State),
             ?assertEqual({noreply, State, infinity}, xmpp_stream_out:handle_cast(connect, State)),
             receive {'$gen_cast', stop} -> ok after 0 -> error(goes_on) end
     end}.
