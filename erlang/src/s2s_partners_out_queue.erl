%%% What waits for an outgoing stream, and what becomes of it when the stream is judged again or is over.
-module(s2s_partners_out_queue).

-export([again/1, refused/2, closed/1, too_late/2, unlist/1]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%% What waits was let pass by rules that may have changed: it is routed once more.
-spec again(state()) -> state().
again(State) ->
    {Packets, State1} = taken(State),
    lists:foreach(fun ejabberd_router:route/1, Packets),
    State1.

taken(#{queue := Queue} = State) ->
    case p1_queue:out(Queue) of
        {{value, Packet}, Queue1} ->
            {Packets, State1} = taken(State#{queue => Queue1}),
            {[Packet | Packets], State1};
        {empty, Queue1} ->
            #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
            Stream =:= none orelse s2s_partners_nif:stream_queue_emptied(Stream),
            {[], State#{queue => Queue1}}
    end.

%% One that is over before it has begun, or ends by itself: it gets its line in the log.
-spec refused(s2s_partners_nif:refusal(), state()) -> state().
refused({refuse, Reason, Rule}, State) ->
    #guarded{local = Local, remote = Remote} = Guarded = s2s_partners_stream:guarded(State),
    s2s_partners_report:stream_refused(#{direction => outgoing, remote => Remote, host => Local}, Reason, Rule),
    s2s_partners_stream:keep(Guarded#guarded{refused = {Reason, Rule}}, State).

%% A refused stream is over: its queue goes back, and nobody finds it any more.
-spec closed(state()) -> state().
closed(State) ->
    unlist(State),
    s2s_partners_places:give_back(),
    {Packets, State1} = taken(State),
    lists:foreach(fun(Packet) -> too_late(Packet, State1) end, Packets),
    ejabberd_s2s_out:stop_async(self()),
    State1.

%% What waited for a stream that is refused, or has come to it since. Where it is over because the configuration has changed, or has changed in the
%% middle of its handshake, another one may be allowed: the stanza is routed, and with that judged, once more. It must not find this stream again,
%% or it would come back without end.
-spec too_late(term(), state()) -> ok.
too_late(Packet, State) ->
    unlist(State),
    case s2s_partners_stream:guarded(State) of
        #guarded{refused = {Reason, _}, moved = Moved} when ?is_stanza(Packet), Moved orelse Reason =:= 'policy-changed' ->
            s2s_partners_places:give_back(),
            ejabberd_router:route(Packet);
        #guarded{refused = {Reason, _}} ->
            s2s_partners_stanza:bounce(Packet, Reason)
    end.

%% Nobody finds the stream any more. Who has found it before may still send it something.
-spec unlist(state()) -> ok.
unlist(State) ->
    #guarded{local = Local, remote = Remote} = s2s_partners_stream:guarded(State),
    mnesia:dirty_delete_object(s2s, {s2s, {Local, Remote}, self()}).
