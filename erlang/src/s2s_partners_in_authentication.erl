%%% How the peer of an incoming stream authenticates: STARTTLS, SASL EXTERNAL, dialback.
-module(s2s_partners_in_authentication).

-export([step/3, authenticated/3]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%% An element of the handshake. pass: the library goes on with it.
-spec step(#xmlel{}, term(), state()) -> {pass | stop, state()}.
step(_, #starttls{}, State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_starttls(Stream) of
        allow ->
            {pass, State};
        Refusal ->
            {stop, s2s_partners_stream:refuse(Refusal, ejabberd_s2s_in:send(State, #starttls_failure{}))}
    end;
step(Element, #sasl_auth{mechanism = Mechanism}, State) ->
    {stop, authenticate(Mechanism, identity(fxml:get_tag_cdata(Element)), State)};
step(_, #db_result{type = undefined, from = From} = Key, State) ->
    case pair(From, State) of
        {allow, State1} -> asked(Key, State1);
        Other -> no_pair(Other, Key)
    end;
step(_, #db_verify{type = undefined, from = From} = Question, State) ->
    case pair(From, State) of
        {allow, State1} ->
            #guarded{stream = Stream} = s2s_partners_stream:guarded(State1),
            conclude(s2s_partners_nif:stream_verify(Stream), State1);
        Other ->
            no_pair(Other, Question)
    end;
step(_, Packet, State) when is_tuple(Packet), element(1, Packet) =:= s2s_bidi ->
    case s2s_partners_in:has(bidi, State) of
        true -> {pass, State};
        false -> s2s_partners_stream:swallow(State)
    end;
step(_, _, State) ->
    {pass, State}.

%% ALLOW goes on, WAIT is passed over.
conclude(allow, State) -> {pass, State};
conclude({wait, _, _}, State) -> s2s_partners_stream:swallow(State);
conclude(Refusal, State) -> {stop, s2s_partners_stream:refuse(Refusal, State)}.

%%% SASL EXTERNAL, all of it: ejabberd's own check takes the common name, knows no SRVName, and looks at the
%%% extended key usage.

authenticate(Mechanism, Identity, State) ->
    #guarded{stream = Stream, remote = Remote} = s2s_partners_stream:guarded(State),
    Decision = case s2s_partners_nif:stream_auth(Stream) of
                   allow when Mechanism =/= <<"EXTERNAL">> ->
                       s2s_partners_nif:stream_refuse(Stream, 'sasl-not-supported', <<"a mechanism other than SASL EXTERNAL">>);
                   allow ->
                       own_identity(Identity, Stream);
                   Refusal ->
                       Refusal
               end,
    case Decision of
        allow ->
            case s2s_partners_standing:hold_place(State) of
                allow ->
                    case authenticated(sasl, Remote, State) of
                        {allow, State1} -> s2s_partners_stream:swallow(success(Remote, State1));
                        {Refused, State1} -> fail(Refused, State1)
                    end;
                Refused ->
                    fail(Refused, State)
            end;
        Refused ->
            fail(Refused, State)
    end.

%% As the peer wrote it: the library reads past what is no base64. "=" is the empty one (RFC 6120 6.4.2).
identity(Written) ->
    case string:trim(Written, both, "=") of
        <<>> ->
            <<>>;
        _ ->
            try base64:decode(Written)
            catch error:_ -> none
            end
    end.

%% XEP-0178: empty, or the domain of the stream.
own_identity(<<>>, _) ->
    allow;
own_identity(Identity, Stream) ->
    case Identity =/= none andalso s2s_partners_nif:same_domain(Identity, s2s_partners_nif:stream_domain(Stream)) of
        true -> allow;
        false -> s2s_partners_nif:stream_refuse(Stream, 'wrong-domain', <<"authentication as a domain that is not the stream's">>)
    end.

fail(Refusal, State) ->
    s2s_partners_stream:refuse(Refusal, ejabberd_s2s_in:send(State, #sasl_failure{reason = 'not-authorized'})).

success(Remote, #{socket := Socket} = State) ->
    State1 = ejabberd_s2s_in:handle_auth_success(Remote, <<"EXTERNAL">>, ?MODULE, State#{socket => xmpp_socket:reset_stream(Socket)}),
    case s2s_partners_stream:is_over(State1) of
        true ->
            State1;
        false ->
            State2 = ejabberd_s2s_in:send(State1, #sasl_success{}),
            case s2s_partners_stream:is_over(State2) of
                true -> State2;
                false -> State2#{stream_id => xmpp_stream:new_id(), stream_authenticated => true, stream_header_sent => false,
                                 stream_restarted => true, stream_state => wait_for_stream, user => Remote}
            end
    end.

%%% Dialback (XEP-0220)

%% The domain that an element says it is from, against the stream's own. A stream that has not named one takes
%% it.
pair(From, State) ->
    #guarded{stream = Stream, policy = Policy} = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_domain(Stream) of
        <<>> ->
            case s2s_partners_in_header:identified(From, From, State#{remote_server => From}) of
                {allow, State1} -> {allow, State1};
                {Refusal, State1} -> {refuse, Refusal, State1}
            end;
        Domain ->
            case s2s_partners_nif:same_domain(From, Domain) of
                true ->
                    {allow, State};
                false ->
                    case s2s_partners_nif:route(Policy, From, false) of
                        allow ->
                            {error, 'wrong-domain', State};
                        {refuse, Reason, _} ->
                            {refuse, s2s_partners_nif:stream_refuse(
                                         Stream, Reason, <<"a dialback element for a domain that is not listed">>), State}
                    end
            end
    end.

no_pair({refuse, Refusal, State}, _) ->
    {stop, s2s_partners_stream:refuse(Refusal, State)};
no_pair({error, Reason, State}, Packet) ->
    s2s_partners_stream:swallow(dialback_error(Packet, Reason, State)).

%% A key: the partner's server may have to be asked about it.
asked(#db_result{from = From} = Key, State) ->
    #guarded{stream = Stream, local = Local, partner = Partner} = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_dialback(Stream) of
        allow ->
            case s2s_partners_standing:hold_place(State) of
                allow ->
                    Domain = s2s_partners_nif:stream_domain(Stream),
                    Of = case Partner of
                             #{match := default} -> {domain, Domain};
                             #{name := Name} -> Name
                         end,
                    case s2s_partners_places:question(Local, Domain, Of) of
                        allow -> {pass, State#{remote_server => From}};
                        {refuse, Reason, _} -> s2s_partners_stream:swallow(dialback_error(Key, Reason, State))
                    end;
                Refusal ->
                    {stop, s2s_partners_stream:refuse(Refusal, State)}
            end;
        Decision ->
            conclude(Decision, State)
    end.

dialback_error(Packet, Reason, State) ->
    #guarded{direction = Direction, remote = Remote, local = Local} = s2s_partners_stream:guarded(State),
    s2s_partners_report:element_refused(Direction, Remote, Local, Reason),
    {Type, Condition} = s2s_partners_nif:dialback_error(Reason),
    Error = #stanza_error{type = binary_to_atom(Type), reason = binary_to_atom(Condition)},
    ejabberd_s2s_in:send(State, case Packet of
                                    #db_result{from = From, to = To} ->
                                        #db_result{from = To, to = From, type = error, sub_els = [Error]};
                                    #db_verify{from = From, to = To, id = Id} ->
                                        #db_verify{from = To, to = From, id = Id, type = error, sub_els = [Error]}
                                end).

%% The record hears of it; whatever has authenticated the stream.
-spec authenticated(sasl | dialback, binary(), state()) -> {allow | s2s_partners_nif:refusal(), state()}.
authenticated(By, Remote, State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_authenticated(Stream, By, Remote) of
        allow -> {s2s_partners_standing:hold_place(State), State};
        {wait, Reason, Rule} -> {s2s_partners_nif:stream_refuse(Stream, Reason, Rule), State};
        Refusal -> {Refusal, State}
    end.
