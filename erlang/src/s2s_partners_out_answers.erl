%%% What the peer of an outgoing stream answers. It counts for nothing unless it was asked for.
-module(s2s_partners_out_answers).

-export([received/3, packet/2, ended/3, first/1]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%% An answer for which nobody has asked. The library would pass it over, or wait for ever.
-spec received(#xmlel{}, term(), state()) -> state().
received(Element, Packet, #{stream_state := Stage} = State) ->
    #guarded{plan = Plan, awaits_features = Features} = Guarded = s2s_partners_stream:guarded(State),
    %% The library still says that it waits after a failure of SASL, and for features while dialback goes on.
    Waits = case Stage of
                wait_for_sasl_response when is_list(Plan) ->
                    case lists:member(sasl, Plan) of true -> Stage; false -> wait_for_dialback end;
                wait_for_features when not Features ->
                    wait_for_dialback;
                _ ->
                    Stage
            end,
    case expected(Packet, Waits) of
        true when is_record(Packet, stream_features) ->
            ejabberd_s2s_out:handle_recv(Element, Packet,
                                         s2s_partners_stream:keep(Guarded#guarded{awaits_features = false}, State));
        true ->
            ejabberd_s2s_out:handle_recv(Element, Packet, State);
        {false, Reason, Rule} ->
            s2s_partners_stream:refuse_for(Reason, Rule, State)
    end.

expected(#stream_features{}, Stage) when Stage =/= wait_for_features ->
    {false, 'no-method-left', <<"features that nobody waits for">>};
expected(#starttls_proceed{}, Stage) when Stage =/= wait_for_starttls_response ->
    {false, 'tls-not-supported', <<"an answer to STARTTLS that nobody asked for">>};
expected(#starttls_failure{}, wait_for_starttls_response) ->
    {false, 'tls-required', <<"the peer offers STARTTLS and fails to start it">>};
expected(#starttls_failure{}, _) ->
    {false, 'tls-not-supported', <<"an answer to STARTTLS that nobody asked for">>};
expected(#sasl_success{}, Stage) when Stage =/= wait_for_sasl_response ->
    {false, 'sasl-not-supported', <<"an answer to SASL that nobody asked for">>};
expected(#sasl_failure{}, Stage) when Stage =/= wait_for_sasl_response ->
    {false, 'sasl-not-supported', <<"an answer to SASL that nobody asked for">>};
expected(#stream_error{}, _) ->
    true;
expected(_, wait_for_stream) ->
    {false, 'no-method-left', <<"an element before the header of the stream">>};
expected(_, _) ->
    true.

%% An answer of dialback's, or a stanza over a stream that goes both ways.
-spec packet(term(), state()) -> state().
packet(#db_result{type = Type, from = From} = Result, #{stream_state := Stage} = State) when Type =/= undefined ->
    #guarded{stream = Stream, key_sent = KeySent, plan = Plan} = s2s_partners_stream:guarded(State),
    SaslPending = Stage =:= wait_for_sasl_response andalso is_list(Plan) andalso lists:member(sasl, Plan),
    case first([fun() -> own_pair(From, State) end,
                fun() -> s2s_partners_nif:stream_dialback_answer(Stream, KeySent, SaslPending) end]) of
        allow when Type =:= valid ->
            case first([fun() -> s2s_partners_nif:stream_authenticated(Stream, dialback, From) end,
                        fun() -> s2s_partners_standing:hold_place(State) end]) of
                allow -> ejabberd_s2s_out:handle_packet(Result, State);
                Decision -> ended(Decision, Stream, State)
            end;
        allow ->
            ejabberd_s2s_out:handle_packet(Result, State);
        Decision ->
            ended(Decision, Stream, State)
    end;
%% The answer to the one question that this stream was opened for. Any other one is passed over.
packet(#db_verify{type = Type, from = From, id = Id} = Answer, #{db_verify := {Id, _, _}} = State) when Type =/= undefined ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    case first([fun() -> own_pair(From, State) end, fun() -> s2s_partners_out_features:may_ask(Stream) end]) of
        allow -> ejabberd_s2s_out:handle_packet(Answer, State);
        Decision -> ended(Decision, Stream, State)
    end;
%% XEP-0288: nothing else in the server asks whether the stream is established.
packet(Packet, State) when ?is_stanza(Packet), not is_map_key(bidi_enabled, State) ->
    Refusal = case s2s_partners_stream:guarded(State) of
                  #guarded{stream = Stream, established = true} ->
                      s2s_partners_nif:stream_refuse(Stream, 'wrong-domain', <<"a stanza over a stream that only we may send on">>);
                  #guarded{stream = Stream} ->
                      s2s_partners_nif:stream_premature(Stream)
              end,
    s2s_partners_stream:refuse(Refusal, <<"not-authorized">>, State);
packet(Packet, State) when ?is_stanza(Packet) ->
    case s2s_partners_stanza:incoming(Packet, State) of
        {pass, Packet1, State1} -> ejabberd_s2s_out:handle_packet(Packet1, State1);
        {stop, State1} -> State1
    end;
packet(_, State) ->
    State.

own_pair(From, State) ->
    #guarded{stream = Stream, policy = Policy} = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:same_domain(From, s2s_partners_nif:stream_domain(Stream)) of
        true ->
            allow;
        false ->
            case s2s_partners_nif:route(Policy, From, false) of
                allow ->
                    foreign;
                {_, Reason, _} ->
                    s2s_partners_nif:stream_refuse(Stream, Reason, <<"a dialback element for a domain that is not listed">>)
            end
    end.

%% An answer for another partner: one stream carries one domain pair.
-spec ended(foreign | s2s_partners_nif:decision(), s2s_partners_nif:stream(), state()) -> state().
ended(foreign, _, State) ->
    #guarded{remote = Remote, local = Local} = s2s_partners_stream:guarded(State),
    s2s_partners_report:element_refused(outgoing, Remote, Local, 'wrong-domain'),
    State;
ended({refuse, _, _} = Refusal, _, State) ->
    s2s_partners_stream:refuse(Refusal, State);
ended({wait, Reason, Rule}, Stream, State) ->
    s2s_partners_stream:refuse(s2s_partners_nif:stream_refuse(Stream, Reason, Rule), State).

%% The questions in their order, up to the first whose answer is not allow.
-spec first([fun(() -> allow | foreign | s2s_partners_nif:decision())]) -> allow | foreign | s2s_partners_nif:decision().
first([]) ->
    allow;
first([Question | Questions]) ->
    case Question() of
        allow -> first(Questions);
        Refusal -> Refusal
    end.
