%%% Stanzas over a stream, in both directions: judged by the record and the policy of their host, then by the rules (s2s_partners_route);
%%% and those that go back.
-module(s2s_partners_stanza).

-export([incoming/2, deliver/3, outgoing/2, wrong_sender/2, bounce/2, return/3]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%% A stanza that the peer has sent. {pass, …}: for ejabberd to deliver.
-spec incoming(stanza(), state()) -> {pass, stanza(), state()} | {stop, state()}.
incoming(Packet, State) ->
    Guarded = s2s_partners_stream:guarded(State),
    case s2s_partners_fast_path:incoming(Packet, Guarded) of
        pass ->
            s2s_partners_route:incoming_passed(),
            {pass, Packet, active(Guarded, State)};
        ask ->
            incoming(Packet, Guarded, State)
    end.

incoming(Packet, #guarded{stream = Stream, established = Established} = Guarded, State) ->
    case {Established, xmpp:get_from(Packet), xmpp:get_to(Packet)} of
        {true, #jid{lserver = Remote} = From, #jid{lserver = Local} = To} ->
            case judged(Local, Remote, Guarded, State) of
                {allow, State1} ->
                    judged_in(Packet, From, To, s2s_partners_stream:guarded(State1), State1);
                {{refuse, 'wrong-domain', Rule}, State1} ->
                    {stop, wrong_sender(Rule, State1)};
                {{refuse, Reason, Rule}, State1} ->
                    s2s_partners_report:stanza_refused(in, s2s_partners_stream:label(Guarded), Remote, Local, Reason, Rule),
                    Kind = s2s_partners_nif:stanza_kind(element(1, Packet), xmpp:get_type(Packet)),
                    s2s_partners_answers:give(s2s_partners_nif:reply_to(incoming, Kind), Packet),
                    {stop, State1}
            end;
        {false, _, _} ->
            {stop, s2s_partners_stream:refuse(s2s_partners_nif:stream_premature(Stream), <<"not-authorized">>, State)};
        _ ->
            {stop, s2s_partners_stream:refuse_for('wrong-domain', <<"a stanza without addresses">>, State)}
    end.

%% By the policy of the host that it is for. That may have other anchors and pins than the stream's own: what
%% the certificate is worth there is found out once.
judged(Local, Remote, #guarded{stream = Stream, vhost = VHost} = Guarded, State) ->
    case s2s_partners_in_force:vhost_of(Local) of
        {ok, Other} when Other =/= VHost ->
            Policy = s2s_partners_stream:policy(Other),
            {Verdict, State1} = verdict(Other, Policy, Guarded, State),
            {s2s_partners_nif:stream_stanza(Stream, Policy, Remote, Verdict), State1};
        _ ->                               % its own host; or none of ours, for which ejabberd closes the stream
            {s2s_partners_nif:stream_stanza(Stream, s2s_partners_stream:policy(VHost), Remote), State}
    end.

verdict(Host, Policy, #guarded{certificate = {Der, _, _}, stream = Stream, verdicts = Verdicts} = Guarded, State) when Policy =/= none ->
    case Verdicts of
        #{Host := {Policy, Known}} ->
            {Known, State};
        _ ->
            {Verdict, _} = s2s_partners_certificate:judge(Der, Host, Policy, s2s_partners_nif:stream_domain(Stream)),
            {Verdict, s2s_partners_stream:keep(Guarded#guarded{verdicts = Verdicts#{Host => {Policy, Verdict}}}, State)}
    end;
verdict(_, _, _, State) ->
    {unknown, State}.

%% The condition is that of RFC 6120 4.9.3.12 for both.
-spec wrong_sender(s2s_partners_nif:rule(), state()) -> state().
wrong_sender(Rule, State) ->
    s2s_partners_stream:refuse({refuse, 'wrong-domain', Rule}, <<"not-authorized">>, State).

judged_in(Packet, From, To, #guarded{vhost = VHost} = Guarded, State) ->
    case is_keepalive(Packet, From, To) of
        no ->
            pass_in(Packet, VHost, active(Guarded, State));
        ping ->
            pass_in(Packet, VHost, State);
        {answer, Id} ->
            #guarded{local = Local, stream = Stream} = Guarded,
            case s2s_partners_live:keepalive_answered(Id, Local, s2s_partners_nif:stream_domain(Stream)) of
                true -> {stop, State};
                false -> pass_in(Packet, VHost, State)
            end
    end.

pass_in(Packet, VHost, State) ->
    case s2s_partners_route:incoming(Packet, VHost) of
        {pass, Packet1} -> {pass, Packet1, State};
        drop -> {stop, State}
    end.

%% A ping from server to server (XEP-0199 4.2), or what can be the answer to one. Nobody is behind either, so
%% neither counts as activity.
is_keepalive(#iq{id = Id, type = Type, sub_els = Elements}, #jid{luser = <<>>, lresource = <<>>}, #jid{luser = <<>>, lresource = <<>>}) ->
    case {Type, Elements} of
        {error, _} -> {answer, Id};
        {result, []} -> {answer, Id};
        {_, [#xmlel{attrs = Attrs} | _]} ->
            case s2s_partners_element:attribute(<<"xmlns">>, Attrs) of
                ?NS_PING -> ping;
                _ -> no
            end;
        _ -> no
    end;
is_keepalive(_, _, _) ->
    no.

%% The record is told by the next tick (tick/1), so that no stanza has to look at the clock.
active(#guarded{active = true}, State) -> State;
active(Guarded, State) -> s2s_partners_stream:keep(Guarded#guarded{active = true}, State).

%% What ejabberd_s2s_in does with a stanza that has been judged (23.01 to 26.07), without looking the local domain up twice: the record has said that
%% the sender is of the stream's domain, and a virtual host is its own. All others have rooms or a component behind them, and go
%% ejabberd's way.
-spec deliver(stanza(), jid(), state()) -> state().
deliver(Packet, #jid{lserver = LServer}, #{ip := {IP, _}} = State) ->
    case s2s_partners_in_force:is_vhost(LServer) of
        true ->
            Packet1 = xmpp:put_meta(Packet, ip, IP),
            State1 = ejabberd_hooks:run_fold(s2s_in_authenticated_packet, LServer, State, [Packet1]),
            {Packet2, State2} = ejabberd_hooks:run_fold(s2s_receive_packet, LServer, {Packet1, State1}, []),
            Packet2 =:= drop orelse ejabberd_router:route(Packet2),
            State2;
        false ->
            case spelled(xmpp:get_from(Packet), State) of
                State ->
                    ejabberd_s2s_in:handle_authenticated_packet(Packet, State);
                Spelled ->
                    Delivered = ejabberd_s2s_in:handle_authenticated_packet(Packet, Spelled),
                    Delivered#{auth_domains => maps:get(auth_domains, State)}
            end
    end.

%% Two spellings of a domain are two domains to ejabberd. The record has said that it is the stream's. It is told so for this stanza alone: a
%% name of many labels has more spellings than there is memory.
spelled(#jid{lserver = Remote}, #{s2s_partners := #guarded{remote = Remote}} = State) ->
    State;
spelled(#jid{lserver = Remote}, #{auth_domains := Domains} = State) ->
    State#{auth_domains => sets:add_element(Remote, Domains)}.

%% A stanza that is to go out over an established stream, perhaps from another node. `changed`: it may not by a policy that the stream has not been
%% judged by yet. The stream is to be judged first; then it may have to go over another one.
-spec outgoing(stanza(), state()) -> {pass, state()} | {stop, state()} | changed.
outgoing(Packet, State) ->
    #guarded{stream = Stream, vhost = VHost, policy = Before} = Guarded = s2s_partners_stream:guarded(State),
    #jid{lserver = Remote} = To = xmpp:get_to(Packet),
    From = xmpp:get_from(Packet),
    Policy = s2s_partners_stream:policy(VHost),
    case s2s_partners_nif:stream_stanza(Stream, Policy, Remote) of
        allow ->
            case is_keepalive(Packet, From, To) of
                no -> {pass, active(Guarded, State)};
                _ -> {pass, State}
            end;
        {refuse, _, _} when Policy =/= Before ->
            changed;
        {refuse, Reason, Rule} ->
            return(Packet, Reason, Rule, Guarded),
            {stop, State}
    end.

%% The sender of a stanza that cannot go out is told, where one is told.
-spec return(stanza(), s2s_partners_nif:refusal(), state()) -> ok.
return(Packet, {refuse, Reason, Rule}, State) ->
    return(Packet, Reason, Rule, s2s_partners_stream:guarded(State)).

return(Packet, Reason, Rule, #guarded{remote = Remote, local = Local} = Guarded) ->
    s2s_partners_report:stanza_refused(out, s2s_partners_stream:label(Guarded), Remote, Local, Reason, Rule),
    Kind = s2s_partners_nif:stanza_kind(element(1, Packet), xmpp:get_type(Packet)),
    case s2s_partners_nif:reply_to(outgoing, Kind) of
        error -> bounce(Packet, Reason);
        _ -> ok
    end.

%% Sends the stanza back with the stanza error of the reason.
-spec bounce(term(), s2s_partners_nif:reason()) -> ok.
bounce(Packet, Reason) when ?is_stanza(Packet) ->
    case xmpp:get_type(Packet) of
        error -> ok;
        result -> ok;
        _ -> ejabberd_router:route(s2s_partners_answers:refusal(Reason, Packet))
    end;
bounce(_, _) ->
    ok.
