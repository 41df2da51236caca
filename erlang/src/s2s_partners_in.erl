%%% The callback module of every incoming stream, in the place of ejabberd_s2s_in. Each callback asks the
%%% record, then calls ejabberd's own. What a peer was offered binds nobody, so each rule stands where it
%%% takes effect: every element is looked at before the library acts on it (handle_recv/3), and no stanza
%%% moves before the audit (handle_stream_established/1).
-module(s2s_partners_in).

%% Hooks
-export([init/2, auth_result/3, rejudge/1]).
%% Callbacks of xmpp_stream_in: all that ejabberd_s2s_in exports.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3]).
-export([tls_options/1, tls_required/1, tls_enabled/1, compress_methods/1, sasl_mechanisms/2]).
-export([unauthenticated_stream_features/1, authenticated_stream_features/1]).
-export([handle_stream_start/2, handle_stream_end/2, handle_stream_established/1]).
-export([handle_auth_success/4, handle_auth_failure/4, handle_send/3, handle_recv/3, handle_cdata/2]).
-export([handle_unauthenticated_packet/2, handle_authenticated_packet/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%%% Hooks

%% Hook s2s_in_init: a connection has been accepted, and not a byte of it read.
-spec init({ok, state()}, Opts :: list()) -> {ok, state()}.
init({ok, #{server_host := VHost} = State}, _Opts) ->
    s2s_partners_live:enter(incoming),
    case State of
        #{ip := {Address, _}} -> s2s_partners_places:enter(Address);
        _ -> s2s_partners_places:enter(unknown)
    end,
    Guarded = #guarded{direction = incoming, vhost = VHost, created = s2s_partners_stream:now_ms()},
    {ok, s2s_partners_stream:start_clock(s2s_partners_size:at_accept(State#{mod => ?MODULE, s2s_partners => Guarded}))}.

%% Hook s2s_in_auth_result: ejabberd takes the stream for authenticated. Dialback comes this way only, after
%% its `valid` has gone out.
-spec auth_result(state(), boolean(), binary()) -> state() | {stop, state()}.
auth_result(#{s2s_partners := #guarded{refused = {_, _}}} = State, true, _) ->
    {stop, State};
auth_result(#{s2s_partners := #guarded{stream = Stream}} = State, true, Remote) when Stream =/= none ->
    case s2s_partners_nif:stream_view(Stream) of
        #{stage := Stage} when Stage =:= authenticated; Stage =:= established ->
            %% By EXTERNAL, of this domain: see authenticate/2. Another domain ends the stream.
            case s2s_partners_nif:same_domain(Remote, s2s_partners_nif:stream_domain(Stream)) of
                true -> State;
                false -> {stop, other_domain(State)}
            end;
        _ ->
            case authenticated(dialback, Remote, State) of
                {allow, State1} -> State1;
                {Refusal, State1} -> {stop, s2s_partners_stream:refuse(Refusal, State1)}
            end
    end;
auth_result(#{s2s_partners := _} = State, false, _) ->
    State;
auth_result(State, _, _) ->
    %% A stream that nobody guards.
    ejabberd_s2s_in:stop_async(self()),
    {stop, State#{stream_state => disconnected}}.

authenticated(By, Remote, State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_authenticated(Stream, By, Remote) of
        allow -> {s2s_partners_stream:hold_place(State), State};
        {wait, Reason, Rule} -> {s2s_partners_nif:stream_refuse(Stream, Reason, Rule), State};
        Refusal -> {Refusal, State}
    end.

other_domain(State) ->
    s2s_partners_stream:refuse_for('wrong-domain', <<"one stream carries one domain pair">>, State).

%% A reload. To be called in the stream's process, by ejabberd_s2s_in:update_state/2.
-spec rejudge(state()) -> state().
rejudge(State) when not is_map_key(s2s_partners, State) ->
    %% Listed, and guarded by nobody.
    s2s_partners_live:end_if_unguarded(ejabberd_s2s_in, State);
rejudge(State) ->
    case s2s_partners_stream:is_over(State) of
        true ->
            State;
        false ->
            case s2s_partners_stream:guarded(State) of
                #guarded{stream = none} ->
                    State;
                _ ->
                    case s2s_partners_stream:rejudge(State) of
                        {allow, State1} ->
                            s2s_partners_stream:publish(State1),
                            State1;
                        {Refusal, State1} ->
                            s2s_partners_stream:refuse(Refusal, State1)
                    end
            end
    end.

%%% The header

-spec handle_stream_start(#stream_start{}, state()) -> state().
handle_stream_start(Start, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        State2 = ejabberd_s2s_in:handle_stream_start(Start, State1),
        case s2s_partners_stream:is_over(State2) of
            true -> State2;
            false -> header(Start, State2)
        end
    end, State).

header(Start, #{server_host := VHost, lserver := Local} = State) ->
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
        allow -> s2s_partners_stream:hold_place(State);
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

%%% What is offered

-spec tls_options(state()) -> list().
tls_options(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        Options = ejabberd_s2s_in:tls_options(State1),
        case s2s_partners_stream:guarded(State1) of
            %% Also the names of the authorities that the peer is told.
            #guarded{partner = #{trust_anchors := Path}} when is_binary(Path) ->
                lists:keystore(cafile, 1, Options, {cafile, Path});
            _ ->
                Options
        end
    end, State).

-spec tls_enabled(state()) -> boolean().
tls_enabled(State) ->
    has(starttls, State).

-spec tls_required(state()) -> boolean().
tls_required(State) ->
    has(starttls_required, State).

has(Feature, #{s2s_partners := #guarded{offer = Offer}}) ->
    lists:member(Feature, Offer).

-spec sasl_mechanisms([binary()], state()) -> [binary()].
sasl_mechanisms(_, State) ->
    [<<"EXTERNAL">> || has(sasl, State)].

%% Compression is no part of a handshake that the core knows, and is not offered.
-spec compress_methods(state()) -> [].
compress_methods(_) ->
    [].

-spec unauthenticated_stream_features(state()) -> [term()].
unauthenticated_stream_features(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        [Feature || Feature <- ejabberd_s2s_in:unauthenticated_stream_features(State1), is_offered(Feature, State1)]
    end, State).

-spec authenticated_stream_features(state()) -> [term()].
authenticated_stream_features(State) ->
    s2s_partners_stream:value(?FUNCTION_NAME, fun(State1) ->
        [Feature || Feature <- ejabberd_s2s_in:authenticated_stream_features(State1), is_offered(Feature, State1)]
    end, State).

%% Of XEP-0288 by name: 23.01 does not know the records.
is_offered(#db_feature{}, State) -> has(dialback, State);
is_offered(Feature, State) when is_tuple(Feature), element(1, Feature) =:= s2s_bidi -> has(bidi, State);
is_offered(Feature, State) when is_tuple(Feature), element(1, Feature) =:= s2s_bidi_feature -> has(bidi, State);
is_offered(_, _) -> true.

%%% Elements

-spec handle_recv(#xmlel{}, term(), state()) -> state().
handle_recv(Element, Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true ->
                State1;
            false ->
                case s2s_partners_stream:element(Element, Packet, State1) of
                    {pass, stanza} -> ejabberd_s2s_in:handle_recv(Element, Packet, State1);
                    {pass, handshake} -> handshake(Element, Packet, State1);
                    {stop, State2} -> State2
                end
        end
    end, State).

handshake(Element, Packet, State) ->
    case step(Element, Packet, State) of
        {pass, State1} -> ejabberd_s2s_in:handle_recv(Element, Packet, in_turn(Packet, State1));
        {stop, State1} -> State1
    end.

%% What the record lets pass, the library must not refuse because it still waits for STARTTLS: a stream that
%% named no domain was offered nothing else, and its partner may have dialback without TLS.
in_turn(Packet, #{stream_state := wait_for_starttls} = State) when is_record(Packet, db_result); is_record(Packet, db_verify) ->
    State#{stream_state := wait_for_sasl_request};
in_turn(_, State) ->
    State.

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
    case has(bidi, State) of
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
            case s2s_partners_stream:hold_place(State) of
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
            case identified(From, From, State#{remote_server => From}) of
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
            case s2s_partners_stream:hold_place(State) of
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

%%% Packets

-spec handle_unauthenticated_packet(term(), state()) -> state().
handle_unauthenticated_packet(Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case ?is_stanza(Packet) of
            true ->
                #guarded{stream = Stream} = s2s_partners_stream:guarded(State1),
                s2s_partners_stream:refuse(s2s_partners_nif:stream_premature(Stream), <<"not-authorized">>, State1);
            false ->
                ejabberd_s2s_in:handle_unauthenticated_packet(Packet, State1)
        end
    end, State).

-spec handle_authenticated_packet(term(), state()) -> state().
handle_authenticated_packet(Packet, State) when ?is_stanza(Packet) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        case s2s_partners_stream:is_over(State1) of
            true ->
                State1;
            false ->
                case s2s_partners_stream:stanza_in(Packet, State1) of
                    {pass, Packet1, State2} ->
                        ejabberd_s2s_in:handle_authenticated_packet(Packet1, spelled(xmpp:get_from(Packet1), State2));
                    {stop, State2} ->
                        State2
                end
        end
    end, State);
handle_authenticated_packet(Packet, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_authenticated_packet(Packet, State1) end, State).

%% Two spellings of a domain are two domains to ejabberd. The record has said that it is the stream's.
spelled(#jid{lserver = Remote}, #{s2s_partners := #guarded{remote = Remote}} = State) ->
    State;
spelled(#jid{lserver = Remote}, #{auth_domains := Domains} = State) ->
    State#{auth_domains => sets:add_element(Remote, Domains)}.

-spec handle_send(term(), ok | {error, term()}, state()) -> state().
handle_send(Packet, Result, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        State2 = ejabberd_s2s_in:handle_send(Packet, Result, State1),
        case Packet of
            #db_verify{type = invalid} -> wrong_key(State2);
            _ -> State2
        end
    end, State).

%% Somebody has asked about a key that is not ours. Anybody may, a number of times.
wrong_key(State) ->
    case s2s_partners_stream:is_over(State) of
        true ->
            State;
        false ->
            #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
            case s2s_partners_nif:stream_wrong_key(Stream) of
                {refuse, _, _} = Refusal -> s2s_partners_stream:refuse(Refusal, State);
                _ -> State
            end
    end.

-spec handle_cdata(binary(), state()) -> state().
handle_cdata(Data, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_cdata(Data, State1) end, State).

%%% Established, and the end

-spec handle_auth_success(binary(), binary(), module(), state()) -> state().
handle_auth_success(Remote, Mechanism, Module, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        %% The library's own way of authenticating is never taken; what it says counts for nothing.
        case s2s_partners_stream:guarded(State1) of
            #guarded{refused = {_, _}} -> State1;
            _ -> ejabberd_s2s_in:handle_auth_success(Remote, Mechanism, Module, State1)
        end
    end, State).

-spec handle_auth_failure(binary(), binary(), binary(), state()) -> state().
handle_auth_failure(Remote, Mechanism, Reason, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        ejabberd_s2s_in:handle_auth_failure(Remote, Mechanism, Reason, State1)
    end, State).

-spec handle_stream_established(state()) -> state().
handle_stream_established(State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun established/1, State).

established(#{auth_domains := Domains} = State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    case s2s_partners_stream:is_over(State) of
        true ->
            State;
        false ->
            Domain = s2s_partners_nif:stream_domain(Stream),
            case [Other || Other <- sets:to_list(Domains), not s2s_partners_nif:same_domain(Other, Domain)] of
                [] ->
                    case s2s_partners_stream:established(State) of
                        {allow, State1} -> flush(ejabberd_s2s_in:handle_stream_established(State1));
                        {Refusal, State1} -> s2s_partners_stream:refuse(Refusal, State1)
                    end;
                _ ->
                    other_domain(State)
            end
    end.

-spec handle_stream_end(term(), state()) -> state().
handle_stream_end(Said, State) ->
    Reason = s2s_partners_stream:farewell(Said),
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) ->
        s2s_partners_places:leave(),
        s2s_partners_places:give_back(),
        s2s_partners_stream:publish_end(Reason, State1),
        case s2s_partners_stream:guarded(State1) of
            #guarded{quiet = true, established = false} ->
                %% ejabberd would write a line for each.
                ejabberd_s2s_in:stop_async(self()),
                State1#{stop_reason => Reason};
            _ ->
                ejabberd_s2s_in:handle_stream_end(Reason, State1)
        end
    end, State).

%%% The process

-spec init(list()) -> {ok, state()} | {error, term()} | ignore.
init(Arguments) ->
    ejabberd_s2s_in:init(Arguments).

-spec handle_call(term(), term(), state()) -> state().
handle_call(Request, From, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_call(Request, From, State1) end, State).

-spec handle_cast(term(), state()) -> state().
handle_cast(Message, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> ejabberd_s2s_in:handle_cast(Message, State1) end, State).

-spec handle_info(term(), state()) -> state().
handle_info(Message, State) ->
    s2s_partners_stream:run(?FUNCTION_NAME, fun(State1) -> info(Message, State1) end, State).

info({s2s_partners, tick}, State) ->
    case s2s_partners_stream:tick(State) of
        {none, State1} -> State1;
        {keepalive, State1} -> keep_alive(State1);
        {stop, State1} -> State1
    end;
info({s2s_partners, crowded}, State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{established = true} ->
            State;
        Guarded ->
            s2s_partners_stream:refuse_for('connection-limit', <<"too many connections wait to be authenticated">>,
                                           s2s_partners_stream:keep(Guarded#guarded{quiet = true}, State))
    end;
info({s2s_partners, keepalive_answered}, State) ->
    s2s_partners_stream:keepalive_answered(State);
info({s2s_partners, bound}, State) ->
    s2s_partners_size:bound(State);
%% XEP-0288: the stream is registered for sending as soon as it is authenticated.
info({route, Packet}, State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{refused = {Reason, _}} ->
            s2s_partners_stream:bounce(Packet, Reason),
            State;
        #guarded{established = true} ->
            sent(Packet, State);
        #guarded{stream = Stream, waiting = Waiting} = Guarded when Stream =/= none ->
            case s2s_partners_nif:stream_queue(Stream) of
                allow ->
                    s2s_partners_stream:keep(Guarded#guarded{waiting = [Packet | Waiting]}, State);
                Refusal ->
                    s2s_partners_stream:bounce_stanza(Packet, Refusal, State),
                    State
            end
    end;
info(Message, State) ->
    ejabberd_s2s_in:handle_info(Message, State).

sent(Packet, State) ->
    case s2s_partners_stream:stanza_out(Packet, State) of
        {pass, State1} -> ejabberd_s2s_in:handle_info({route, Packet}, State1);
        {stop, State1} -> State1
    end.

flush(State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{waiting = []} ->
            State;
        #guarded{waiting = Waiting, stream = Stream} = Guarded ->
            ok = s2s_partners_nif:stream_queue_emptied(Stream),
            lists:foldr(fun sent/2, s2s_partners_stream:keep(Guarded#guarded{waiting = []}, State), Waiting)
    end.

%% Only the partner may send stanzas over it: a blank keeps the path open.
keep_alive(State) ->
    #guarded{stream = Stream} = s2s_partners_stream:guarded(State),
    ok = s2s_partners_nif:stream_keepalive_sent(Stream, s2s_partners_stream:now_ms(), false),
    xmpp_stream_in:send_ws_ping(State).

-spec terminate(term(), state()) -> term().
terminate(Reason, State) ->
    try
        bounce_waiting(State),
        ejabberd_s2s_in:terminate(Reason, State)
    catch
        Class:Error:Stack -> s2s_partners_report:internal_error(?FUNCTION_NAME, Class, Error, Stack)
    end.

bounce_waiting(State) ->
    #guarded{waiting = Waiting, refused = Refused} = s2s_partners_stream:guarded(State),
    Reason = case Refused of {Known, _} -> Known; none -> 'establishment-timeout' end,
    lists:foreach(fun(Packet) -> s2s_partners_stream:bounce(Packet, Reason) end, lists:reverse(Waiting)),
    receive {route, Packet} ->
        s2s_partners_stream:bounce(Packet, Reason),
        bounce_waiting(s2s_partners_stream:keep((s2s_partners_stream:guarded(State))#guarded{waiting = []}, State))
    after 0 ->
        ok
    end.

-spec code_change(term(), state(), term()) -> {ok, state()} | {error, term()}.
code_change(Before, State, Extra) ->
    ejabberd_s2s_in:code_change(Before, State, Extra).
