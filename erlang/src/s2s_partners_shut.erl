%%% The callback module of an incoming stream that nobody can judge: the library is missing, or an error has occurred before there was a
%%% record. The peer is told so as soon as it has sent its header, and nothing it does leads anywhere. Needs nothing of ours.
-module(s2s_partners_shut).

-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).
-export([tls_options/1, tls_required/1, tls_enabled/1, compress_methods/1, sasl_mechanisms/2]).
-export([unauthenticated_stream_features/1, authenticated_stream_features/1, check_password_fun/2]).
-export([handle_stream_start/2, handle_stream_end/2, handle_stream_established/1, handle_auth_success/4, handle_auth_failure/4]).
-export([handle_send/3, handle_recv/3, handle_cdata/2, handle_unauthenticated_packet/2, handle_authenticated_packet/2, handle_timeout/1]).

-include_lib("xmpp/include/xmpp.hrl").

-define(TEXT, <<"This server has no valid partner configuration (config-invalid)">>).

-type state() :: map().

-spec init(list()) -> no_return().
init(_) ->
    exit(normal).

-spec handle_stream_start(stream_start(), state()) -> state().
handle_stream_start(_Header, State) ->
    close(State).

close(#{stream_state := disconnected} = State) ->
    State;
close(State) ->
    ejabberd_s2s_in:send(State, #stream_error{reason = 'policy-violation', text = xmpp:mk_text(?TEXT)}).

%% Whatever else comes, from the peer or from this server.
-spec handle_recv(term(), term(), state()) -> state().
handle_recv(_Element, _Packet, State) -> close(State).

-spec handle_unauthenticated_packet(term(), state()) -> state().
handle_unauthenticated_packet(_Packet, State) -> close(State).

-spec handle_authenticated_packet(term(), state()) -> no_return().
handle_authenticated_packet(_Packet, _State) -> exit(normal).

-spec handle_auth_success(term(), term(), term(), state()) -> no_return().
handle_auth_success(_Domain, _Mechanism, _Module, _State) -> exit(normal).

-spec handle_auth_failure(term(), term(), term(), state()) -> state().
handle_auth_failure(_Domain, _Mechanism, _Reason, State) -> close(State).

-spec handle_stream_established(state()) -> no_return().
handle_stream_established(_State) -> exit(normal).

-spec handle_info(term(), state()) -> state().
handle_info(_Message, State) -> close(State).

-spec handle_cast(term(), state()) -> state().
handle_cast(_Message, State) -> close(State).

-spec handle_call(term(), term(), state()) -> state().
handle_call(_Request, _From, State) -> close(State).

-spec handle_timeout(state()) -> no_return().
handle_timeout(_State) -> exit(normal).

-spec handle_cdata(term(), state()) -> state().
handle_cdata(_Text, State) -> State.

-spec handle_send(term(), term(), state()) -> state().
handle_send(_Packet, _Result, State) -> State.

-spec handle_stream_end(term(), state()) -> state().
handle_stream_end(_Reason, State) ->
    ejabberd_s2s_in:stop_async(self()),
    State.

-spec tls_options(state()) -> list().
tls_options(State) -> ejabberd_s2s_in:tls_options(State).

-spec tls_required(state()) -> boolean().
tls_required(_State) -> false.

-spec tls_enabled(state()) -> boolean().
tls_enabled(_State) -> false.

-spec compress_methods(state()) -> [].
compress_methods(_State) -> [].

-spec sasl_mechanisms(list(), state()) -> [].
sasl_mechanisms(_Mechanisms, _State) -> [].

-spec check_password_fun(binary(), state()) -> fun((binary(), binary(), binary()) -> {false, undefined}).
check_password_fun(_Mechanism, _State) ->
    fun(_, _, _) -> {false, undefined} end.

-spec unauthenticated_stream_features(state()) -> [].
unauthenticated_stream_features(_State) -> [].

-spec authenticated_stream_features(state()) -> [].
authenticated_stream_features(_State) -> [].

-spec terminate(term(), state()) -> ok.
terminate(_Reason, _State) -> ok.

-spec code_change(term(), state(), term()) -> {ok, state()}.
code_change(_Before, State, _Extra) -> {ok, State}.
