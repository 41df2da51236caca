%%% Nanoseconds that a stanza takes in ejabberd's callbacks and hooks, of the module or without it: in a stream's own process, the lowest of many
%%% rounds, so that a busy machine tells the same. See ejabberd_calls.py.
-module(ejabberd_calls).

-export([incoming/0, outgoing/0]).

-define(TIMES, 500).
-define(ROUNDS, 60).

stanza(Text, Ns) ->
    Element = fxml_stream:parse_element(Text),
    {Element, xmpp:decode(Element, Ns, [ignore_els])}.

%% A headline for a user without a session: it goes all the way, and no further.
incoming() ->
    {Element, Packet} = stanza(<<"<message from='bob@fabrikam.test/home' to='alice@contoso.test' type='headline' id='m1'>"
                                 "<body>The quick brown fox jumps over the lazy dog</body></message>">>, <<"jabber:server">>),
    in_stream(ejabberd_s2s_in, ejabberd_s2s_in_sup, fun(#{mod := Module} = State) ->
        [{handle_recv, lowest(fun(S) -> Module:handle_recv(Element, Packet, S) end, State)},
         {handle_authenticated_packet, lowest(fun(S) -> Module:handle_authenticated_packet(Packet, S) end, State)},
         {filter_packet, lowest(fun(S) -> ejabberd_hooks:run_fold(filter_packet, Packet, []), S end, State)}]
    end).

outgoing() ->
    {_, Message} = stanza(<<"<message from='alice@contoso.test/a' to='bob@fabrikam.test/home' type='chat' id='m1'>"
                            "<body>The quick brown fox jumps over the lazy dog</body></message>">>, <<"jabber:client">>),
    {_, Presence} = stanza(<<"<presence from='alice@contoso.test/a' to='contact1@fabrikam.test'><show>away</show>"
                             "<status>At lunch, back at two</status></presence>">>, <<"jabber:client">>),
    [{filter_packet, lowest(fun(S) -> ejabberd_hooks:run_fold(filter_packet, Message, []), S end, none)},
     {filter_packet_presence, lowest(fun(S) -> ejabberd_hooks:run_fold(filter_packet, Presence, []), S end, none)}
     | in_stream(ejabberd_s2s_out, ejabberd_s2s_out_sup, fun(#{mod := Module} = State) ->
           Judged = case Module of
                        s2s_partners_out -> lowest(fun(S) -> s2s_partners_stanza:outgoing(Message, S), S end, State);
                        _ -> 0
                    end,
           [{judged_by_the_stream, Judged}, {handle_send, lowest(fun(S) -> Module:handle_send(Message, ok, S) end, State)}]
       end)].

in_stream(Module, Supervisor, Measure) ->
    Self = self(),
    [Pid | _] = [P || {_, P, _, _} <- supervisor:which_children(Supervisor), is_pid(P)],
    Module:update_state(Pid, fun(State) -> Self ! {measured, Measure(State)}, State end),
    receive {measured, Result} -> Result after 100000 -> timeout end.

lowest(Fun, State) ->
    loop(?TIMES, Fun, State),
    Rounds = [begin
                  erlang:garbage_collect(),
                  Begin = erlang:monotonic_time(nanosecond),
                  loop(?TIMES, Fun, State),
                  erlang:monotonic_time(nanosecond) - Begin
              end || _ <- lists:seq(1, ?ROUNDS)],
    lists:min(Rounds) div ?TIMES.

loop(0, _, State) -> State;
loop(Times, Fun, State) -> loop(Times - 1, Fun, Fun(State)).
