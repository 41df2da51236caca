%%% Every element of a stream before the library looks into it, in both directions: stanzas of an established stream pass, all else is
%%% held against the table of the handshake.
-module(s2s_partners_element).

-export([pass/3, attribute/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%% Every element before the library looks into it. pass: it goes on.
-spec pass(#xmlel{}, term(), state()) -> {pass, stanza | handshake} | {stop, state()}.
pass(#xmlel{name = Name, attrs = Attrs} = Element, Packet, State) ->
    #guarded{stream = Stream, local = Local, established = Established} = Guarded = s2s_partners_stream:guarded(State),
    case Established andalso is_tuple(Packet) andalso element(1, Packet) =/= error andalso is_stanza_name(Name)
        andalso not lists:keymember(<<"xmlns">>, 1, Attrs) of
        true ->
            {pass, stanza};
        false when is_record(Packet, stream_error) ->
            {pass, handshake};
        false when Stream =:= none ->
            {stop, State};
        false ->
            case s2s_partners_nif:stream_handshake(Stream, Local, Element) of
                stanza when Established ->
                    foreign_shape(Element, Packet, Guarded, State);
                stanza ->
                    %% Whatever the reason (RFC 6120 4.9.3.12).
                    {stop, s2s_partners_stream:refuse(s2s_partners_nif:stream_premature(Stream), <<"not-authorized">>, State)};
                allow ->
                    {pass, handshake};
                idle ->
                    s2s_partners_stream:swallow(State);
                {wait, Reason, _} ->
                    #guarded{direction = Direction, remote = Remote} = Guarded,
                    s2s_partners_report:element_refused(Direction, Remote, Local, Reason),
                    s2s_partners_stream:swallow(dialback_error(Element, Reason, State));
                {refuse, _, _} = Refusal ->
                    {stop, s2s_partners_stream:refuse(Refusal, State)}
            end
    end.

is_stanza_name(<<"message">>) -> true;
is_stanza_name(<<"presence">>) -> true;
is_stanza_name(<<"iq">>) -> true;
is_stanza_name(_) -> false.

%% A stanza that ejabberd cannot read, of the stream's own domain, goes no further: ejabberd would answer it
%% over a stream that only the peer may send on. Nor does one in another namespace than the stream's.
foreign_shape(#xmlel{attrs = Attrs}, {error, _}, Guarded, State) ->
    #guarded{stream = Stream, policy = Policy, direction = Direction, remote = Remote, local = Local} = Guarded,
    Domain = try jid:decode(attribute(<<"from">>, Attrs)) of
                 #jid{lserver = Name} -> Name
             catch
                 _:_ -> <<>>
             end,
    case s2s_partners_nif:stream_stanza(Stream, Policy, Domain) of
        {refuse, 'wrong-domain', Rule} ->
            {stop, s2s_partners_stanza:wrong_sender(Rule, State)};
        _ ->
            s2s_partners_report:element_refused(Direction, Remote, Local, 'wrong-domain'),
            s2s_partners_stream:swallow(State)
    end;
foreign_shape(#xmlel{attrs = Attrs}, _, _, State) ->
    case lists:keyfind(<<"xmlns">>, 1, Attrs) of
        false -> {pass, stanza};
        {_, ?NS_SERVER} -> {pass, stanza};
        _ -> s2s_partners_stream:swallow(State)
    end.

%% XEP-0220 2.4: the request is refused, the stream goes on. Nothing of it comes back but what is short.
dialback_error(#xmlel{name = Name, attrs = Attrs}, Reason, State) ->
    {Type, Condition} = s2s_partners_nif:dialback_error(Reason),
    Error = #xmlel{name = <<"error">>, attrs = [{<<"type">>, Type}],
                   children = [#xmlel{name = Condition, attrs = [{<<"xmlns">>, ?NS_STANZAS}]}]},
    Swapped = [{Key, Value} || {Key, Value} <- [{<<"from">>, attribute(<<"to">>, Attrs)}, {<<"to">>, attribute(<<"from">>, Attrs)},
                                                {<<"id">>, attribute(<<"id">>, Attrs)}],
                               Value =/= <<>>, byte_size(Value) =< 1023],
    Kept = [Pair || {Key, _} = Pair <- Attrs, Key =:= <<"xmlns">>],
    s2s_partners_stream:send(State, #xmlel{name = Name, attrs = Kept ++ [{<<"type">>, <<"error">>} | Swapped], children = [Error]}).

%% <<>>: there is none.
-spec attribute(binary(), [{binary(), binary()}]) -> binary().
attribute(Key, Attrs) ->
    case lists:keyfind(Key, 1, Attrs) of
        {_, Value} -> Value;
        false -> <<>>
    end.
