%%% The largest element that a peer may send, where ejabberd has no bound of its own: it has none for outgoing connections, and for
%%% incoming ones what the listener's max_stanza_size says. Without one a stranger could fill the memory with an element that never ends.
-module(s2s_partners_size).

-export([bound/1, accepted/1, bytes/0]).

%% Bytes, as Prosody takes them from other servers.
-define(MAX, 524288).
%% In the library's record, which it does not publish: {socket_state, Module, Socket, MaxStanzaSize, XmlStream, ...}.
-define(MAX_STANZA_SIZE, 4).
-define(XML_STREAM, 5).

-spec bytes() -> pos_integer().
bytes() ->
    ?MAX.

%% An incoming connection, before anything else. With direct TLS the library goes on with the socket from before: that one keeps its parser until
%% the message comes, which is before the first byte, as the socket hands out none yet.
-spec accepted(State :: map()) -> map().
accepted(#{stream_encrypted := true} = State) ->
    self() ! {s2s_partners, bound},
    State;
accepted(State) ->
    bound(State).

%% To be called before a byte has been read, in the stream's process: the parser is exchanged.
-spec bound(State :: map()) -> map().
bound(#{socket := Socket} = State) when element(1, Socket) =:= socket_state, element(?MAX_STANZA_SIZE, Socket) =:= infinity,
                                        element(?XML_STREAM, Socket) =/= undefined ->
    Parser = fxml_stream:new(self(), ?MAX),
    _ = fxml_stream:close(element(?XML_STREAM, Socket)),
    State#{socket := setelement(?XML_STREAM, setelement(?MAX_STANZA_SIZE, Socket, ?MAX), Parser)};
bound(State) ->
    State.
