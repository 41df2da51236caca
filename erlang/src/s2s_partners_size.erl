%%% The largest element that a peer may send, where ejabberd has no bound of its own: it has none for outgoing connections, and for
%%% incoming ones what the listener's max_stanza_size says. Without one a stranger could fill the memory with an element that never ends.
-module(s2s_partners_size).

-export([bound/1, at_accept/1, bytes/0]).

%% Bytes, as Prosody takes them from other servers.
-define(MAX, 524288).
%% In the library's record, which it does not publish: {socket_state, Module, Socket, MaxStanzaSize, XmlStream, ...}.
-define(MAX_STANZA_SIZE, 4).
-define(XML_STREAM, 5).

-spec bytes() -> pos_integer().
bytes() ->
    ?MAX.

%% When a connection has been accepted (hook s2s_in_init). On a port for direct TLS the library goes on with the socket that it had before
%% the hook: the bound comes with the process's first message then, {s2s_partners, bound}, before which nothing can have been read.
-spec at_accept(State :: map()) -> map().
at_accept(#{stream_encrypted := true} = State) ->
    self() ! {s2s_partners, bound},
    State;
at_accept(State) ->
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
