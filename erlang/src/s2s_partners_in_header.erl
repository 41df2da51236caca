%%% The header of an incoming stream, each time that one comes: whose policy counts, which domain the peer is from, and what is offered
%%% to it.
-module(s2s_partners_in_header).

-export([received/2, identified/3]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

-spec received(#stream_start{}, state()) -> state().
received(Start, #{server_host := VHost, lserver := Local} = State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{stream = none, created = Created} = Guarded ->
            Policy = s2s_partners_stream:policy(VHost),
            Stream = s2s_partners_nif:stream_new(incoming, Policy, Created, false),
            named(Start, s2s_partners_stream:keep(Guarded#guarded{stream = Stream, policy = Policy, vhost = VHost, local = Local}, State));
        #guarded{local = Local} ->
            case Start of
                #stream_start{to = #jid{lserver = Other}} when Other =/= Local ->
                    s2s_partners_stream:refuse_for('wrong-domain', <<"the stream's local host has changed">>, State);
                _ ->
                    named(Start, State)
            end
    end.

named(#stream_start{from = undefined}, #{stream_authenticated := true} = State) ->
    s2s_partners_stream:refuse_for('wrong-domain', <<"the stream does not say any more which domain it is from">>, State);
named(#stream_start{from = undefined}, State) ->
    offered(s2s_partners_stream:observe(State));
named(#stream_start{from = From}, State) ->
    case identified(written(From), From#jid.lserver, State) of
        {allow, State1} -> offered(State1);
        {Refusal, State1} -> s2s_partners_stream:refuse(Refusal, State1)
    end.

%% As the peer wrote it. An address with a user is no domain.
written(#jid{user = <<>>, resource = <<>>, server = Server}) -> Server;
written(From) -> jid:encode(From).

%% The peer's domain has become known, or is said again.
-spec identified(binary(), binary(), state()) -> {allow | s2s_partners_nif:decision(), state()}.
identified(Name, Remote, State) ->
    #guarded{stream = Stream, policy = Policy, remote = Before} = Guarded = s2s_partners_stream:guarded(State),
    State1 = case Before of
                 <<>> -> s2s_partners_stream:keep(Guarded#guarded{remote = Remote}, State);
                 _ -> State
             end,
    case s2s_partners_in_force:is_local(Remote) of
        true ->
            {s2s_partners_nif:stream_refuse(Stream, 'wrong-domain', <<"a domain that this server serves itself">>), State1};
        false ->
            %% TLS first, as the connection reports it: it may be what the partner's entry excludes.
            State2 = s2s_partners_stream:observe(State1),
            case s2s_partners_nif:stream_identify(Stream, Name) of
                allow ->
                    State3 = s2s_partners_stream:observe(State2),
                    Partner = s2s_partners_nif:policy_find(Policy, Name),
                    {proven(State3), s2s_partners_stream:keep((s2s_partners_stream:guarded(State3))#guarded{partner = Partner}, State3)};
                {refuse, _, _} = Refusal ->
                    {Refusal, State2}
            end
    end.

%% What TLS and the certificate have proven is enough, so far, and there is room.
proven(#{socket := Socket} = State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    Decision = case xmpp_socket:get_transport(Socket) of
                   tcp -> allow;
                   _ -> s2s_partners_nif:stream_certificate(Stream)
               end,
    case Decision of
        allow -> s2s_partners_standing:hold_place(State);
        Refusal -> Refusal
    end.

offered(State) ->
    #guarded{stream = Stream} = Guarded = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_offer(Stream) of
        {allow, Offer} ->
            State1 = s2s_partners_stream:keep(Guarded#guarded{offer = Offer}, State),
            s2s_partners_stream:publish(State1),
            State1;
        {Refusal, _} -> s2s_partners_stream:refuse(Refusal, State)
    end.
