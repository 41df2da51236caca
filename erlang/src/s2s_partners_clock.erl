%%% What time demands of a stream: its process looks at its own times every few seconds.
-module(s2s_partners_clock).

-export([start/1, tick/1, keepalive_answered/1, overdue/1, time_left/1]).

-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

-define(TICK_MIN, 500).
-define(TICK_MAX, 5000).

%% Its process looks at its own times every few seconds.
-spec start(state()) -> state().
start(State) ->
    #guarded{vhost = VHost} = s2s_partners_stream:guarded(State),
    erlang:send_after(interval(VHost), self(), {s2s_partners, tick}),
    State.

interval(VHost) ->
    case s2s_partners_in_force:limits(VHost) of
        {ok, #{establishment_timeout := Establishment, inactivity_timeout := Inactivity, keepalive_interval := Keepalive}} ->
            max(?TICK_MIN, min(?TICK_MAX, 100 * min(Establishment, min(Inactivity, Keepalive))));
        none ->
            ?TICK_MAX
    end.

%% What time demands now. keepalive: one is due, which the caller sends.
-spec tick(state()) -> {none | keepalive, state()} | {stop, state()}.
tick(#{stream_state := disconnected} = State) ->
    {stop, State};
tick(State) ->
    _ = start(State),
    tick(s2s_partners_stream:guarded(State), State).

tick(#guarded{active = true, stream = Stream} = Guarded, State) when Stream =/= none ->
    ok = s2s_partners_nif:stream_active(Stream, s2s_partners_stream:now_ms()),
    Quiet = Guarded#guarded{active = false},
    tick(Quiet, s2s_partners_stream:keep(Quiet, State));
tick(Guarded, State) ->
    case Guarded of
        #guarded{refused = {_, _}} ->
            {stop, State};
        #guarded{stream = none, created = Created} ->
            case s2s_partners_nif:waiting_due(least_patient(), s2s_partners_stream:now_ms() - Created) of
                true -> {stop, s2s_partners_stream:refuse_for('establishment-timeout', <<"nothing was said in time">>, State)};
                false -> {none, State}
            end;
        #guarded{stream = Stream, vhost = VHost} ->
            case s2s_partners_nif:stream_due(Stream, s2s_partners_stream:policy(VHost), s2s_partners_stream:now_ms()) of
                {allow, Keepalive} ->
                    %% One that was opened to verify a key may have got stanzas meanwhile.
                    case s2s_partners_standing:hold_place(State) of
                        allow when Keepalive -> {keepalive, State};
                        allow -> {none, State};
                        {refuse, _, _} = Refusal -> {stop, s2s_partners_stream:refuse(Refusal, State)}
                    end;
                {{refuse, Reason, Rule}, _} ->
                    {stop, s2s_partners_stream:refuse_for(Reason, Rule, State)}
            end
    end.

%% Whether a stream that has ended by itself had no time left; its end is then ours.
-spec overdue(state()) -> none | s2s_partners_nif:refusal().
overdue(State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{stream = Stream, vhost = VHost, established = false} when Stream =/= none ->
            case s2s_partners_nif:stream_due(Stream, s2s_partners_stream:policy(VHost), s2s_partners_stream:now_ms()) of
                {{refuse, Reason, Rule}, _} -> s2s_partners_nif:stream_refuse(Stream, Reason, Rule);
                _ -> none
            end;
        _ ->
            none
    end.

%% Milliseconds that are left to establish the stream.
-spec time_left(state()) -> non_neg_integer().
time_left(State) ->
    #guarded{vhost = VHost, created = Created} = s2s_partners_stream:guarded(State),
    case s2s_partners_in_force:limits(VHost) of
        {ok, #{establishment_timeout := Seconds}} -> max(0, Created + Seconds * 1000 - s2s_partners_stream:now_ms());
        none -> 0
    end.

%% The policy whose establishment_timeout is the shortest.
least_patient() ->
    case s2s_partners_in_force:current() of
        #{policies := Policies, limits := Limits} ->
            case lists:sort([{maps:get(establishment_timeout, Its), Host} || {Host, Its} <- maps:to_list(Limits)]) of
                [{_, Host} | _] -> maps:get(Host, Policies, none);
                [] -> none
            end;
        none ->
            none
    end.

-spec keepalive_answered(state()) -> state().
keepalive_answered(State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    ok = s2s_partners_nif:stream_keepalive_answered(Stream),
    State.
