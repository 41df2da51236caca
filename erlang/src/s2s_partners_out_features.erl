%%% The features that the peer of an outgoing stream offers, and what is taken up of them.
-module(s2s_partners_out_features).

-export([advertised/1, planned/2, may_ask/1, without_bidi/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

-spec advertised(#stream_features{}) -> [s2s_partners_nif:peer_feature()].
advertised(Features) ->
    Starttls = case sub(Features, #starttls{}) of
                   #starttls{required = true} -> [starttls, starttls_required];
                   #starttls{} -> [starttls];
                   false -> []
               end,
    Sasl = case sub(Features, #sasl_mechanisms{}) of
               #sasl_mechanisms{list = Mechanisms} -> [sasl_external || lists:member(<<"EXTERNAL">>, Mechanisms)];
               false -> []
           end,
    Dialback = case sub(Features, #db_feature{}) of
                   #db_feature{} -> [dialback];
                   false -> []
               end,
    Starttls ++ Sasl ++ Dialback.

%% What cannot be read is not offered.
sub(Features, Element) ->
    try xmpp:try_subtag(Features, Element)
    catch _:{xmpp_codec, _} -> false
    end.

%% mod_s2s_dialback sends a key where `db_enabled` says so, whatever the features were. So the plan says it
%% each time.
-spec planned([s2s_partners_nif:peer_feature()] | none, state()) -> {allow | s2s_partners_nif:refusal(), state()}.
planned(Advertised, State) ->
    #guarded{stream = Stream, vhost = VHost, verify_only = VerifyOnly} = Guarded = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_plan(Stream, Advertised) of
        {allow, Plan} ->
            State1 = s2s_partners_stream:keep(Guarded#guarded{plan = Plan}, maps:remove(db_enabled, State)),
            Starttls = lists:member(starttls, Plan),
            Dialback = lists:member(dialback, Plan),
            if
                Starttls -> {allow, State1};
                VerifyOnly -> {may_ask(Stream), State1};
                true ->
                    case Dialback andalso gen_mod:is_loaded(VHost, mod_s2s_dialback) of
                        true ->
                            {allow, State1#{db_enabled => true}};
                        false when Dialback, Plan =:= [dialback] ->
                            {s2s_partners_nif:stream_refuse(Stream, 'dialback-not-allowed',
                                                            <<"mod_s2s_dialback is not loaded on the host">>), State1};
                        false ->
                            {allow, State1}
                    end
            end;
        {Refusal, _} ->
            {Refusal, State}
    end.

%% Whether the stream may be used to ask about a key.
-spec may_ask(s2s_partners_nif:stream()) -> allow | s2s_partners_nif:refusal().
may_ask(Stream) ->
    case s2s_partners_nif:stream_verify(Stream) of
        {wait, Reason, Rule} -> s2s_partners_nif:stream_refuse(Stream, Reason, Rule);
        Decision -> Decision
    end.

%% Before TLS nothing is said of XEP-0288.
-spec without_bidi(#stream_features{}, state()) -> #stream_features{}.
without_bidi(#stream_features{sub_els = Elements} = Features, State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{plan = Plan, verify_only = VerifyOnly} ->
            case VerifyOnly orelse lists:member(starttls, Plan) of
                true -> Features#stream_features{sub_els = [Element || Element <- Elements, not is_bidi(Element)]};
                false -> Features
            end
    end.

is_bidi(#xmlel{name = <<"bidi">>}) -> true;
is_bidi(Element) when is_tuple(Element), element(1, Element) =:= s2s_bidi -> true;
is_bidi(_) -> false.
