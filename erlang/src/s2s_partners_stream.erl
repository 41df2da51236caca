%%% What streams of both directions have in common: their record, what is observed of the connection, how an
%%% element, a stanza, a refusal, time and a reload are dealt with. `State` is the state of the stream's
%%% process, ejabberd's own map; what we keep of the stream is in it as #guarded{}. Nothing is decided here:
%%% the NIF is asked, and its answer carried out.
-module(s2s_partners_stream).

-export([guarded/1, keep/2, policy/1, now_ms/0]).
-export([run/3, value/3]).
-export([farewell/1, refuse/2, refuse/3, refuse_for/3, swallow/1, is_over/1]).
-export([observe/1, element/3, stanza_in/2, stanza_out/2, bounce/2, bounce_stanza/3]).
-export([overdue/1, time_left/1]).
-export([hold_place/1, established/1, publish/1, publish_end/2, start_clock/1, tick/1, keepalive_answered/1, rejudge/1]).

-export_type([state/0]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: map().

-define(TICK_MIN, 500).
-define(TICK_MAX, 5000).
-define(FAREWELL_MAX, 200).            % bytes

-spec guarded(state()) -> #guarded{}.
guarded(#{s2s_partners := Guarded}) ->
    Guarded.

-spec keep(#guarded{}, state()) -> state().
keep(Guarded, State) ->
    State#{s2s_partners := Guarded}.

%% The policy that counts for a virtual host now, none: it has none and refuses.
-spec policy(binary()) -> s2s_partners_nif:policy() | none.
policy(VHost) ->
    case s2s_partners_in_force:policy(VHost) of
        {ok, Policy} -> Policy;
        none -> none
    end.

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).

%%% Callbacks

%% A step of a stream. What fails refuses the stream. The library takes what is thrown for what the step
%% returns, see swallow/1. The error must not get any further: the process would be logged with its state, and
%% queued stanzas in it.
-spec run(atom(), fun((state()) -> state()), state()) -> state().
run(Where, Step, State) ->
    try Step(State)
    catch
        throw:{noreply, _, _} = Next ->
            throw(Next);
        Class:Reason:Stack ->
            s2s_partners_report:internal_error(Where, Class, Reason, Stack),
            give_up(State)
    end.

%% A question that a stream's library asks. There is nothing to answer where it fails: the stream ends.
-spec value(atom(), fun((state()) -> Value), state()) -> Value.
value(Where, Question, State) ->
    try Question(State)
    catch
        Class:Reason:Stack ->
            s2s_partners_report:internal_error(Where, Class, Reason, Stack),
            exit(shutdown)
    end.

give_up(State) ->
    try refuse({refuse, 'internal-error', <<"an error in the handler">>}, State)
    catch _:_ -> exit(shutdown)
    end.

%% Whether nothing more is to be done with the stream.
-spec is_over(state()) -> boolean().
is_over(#{stream_state := disconnected}) -> true;
is_over(#{s2s_partners := #guarded{refused = none}}) -> false;
is_over(_) -> true.

%% The element goes no further: the library goes on as if its own step had returned.
-spec swallow(state()) -> no_return().
swallow(#{stream_timeout := infinity} = State) ->
    throw({noreply, State, infinity});
swallow(#{stream_timeout := {Milliseconds, Since}} = State) ->
    throw({noreply, State, max(0, Since + Milliseconds - now_ms())});
swallow(#{stream_timeout := Until} = State) when is_integer(Until) ->
    throw({noreply, State, max(0, Until - now_ms())}).

%%% Refusals

%% Closes the stream with the stream error of the reason, and one line in the log.
-spec refuse(s2s_partners_nif:refusal(), state()) -> state().
refuse({refuse, Reason, _} = Refusal, State) ->
    #{stream_condition := Condition} = s2s_partners_nif:reason(Reason),
    refuse(Refusal, Condition, State).

-spec refuse(s2s_partners_nif:refusal(), Condition :: binary(), state()) -> state().
refuse(_, _, #{stream_state := disconnected} = State) ->
    State;
refuse({refuse, Reason, Rule}, Condition, State) ->
    #{peer := Peer} = s2s_partners_nif:reason(Reason),
    Guarded = guarded(State),
    Told = log_refusal(Reason, Rule, State),
    count(Guarded, refuse, Reason),
    State1 = keep(Guarded#guarded{refused = {Reason, Rule}, quiet = not Told}, State),
    Text = <<Peer/binary, " (", (atom_to_binary(Reason))/binary, ")">>,
    send(State1, #stream_error{reason = binary_to_atom(Condition), text = xmpp:mk_text(Text, <<"en">>)}).

%% The same for a reason that the host has found; the record remembers it.
-spec refuse_for(s2s_partners_nif:reason(), s2s_partners_nif:rule(), state()) -> state().
refuse_for(Reason, Rule, State) ->
    case guarded(State) of
        #guarded{stream = none} -> refuse({refuse, Reason, Rule}, State);
        #guarded{stream = Stream} -> refuse(s2s_partners_nif:stream_refuse(Stream, Reason, Rule), State)
    end.

send(#{s2s_partners := #guarded{direction = incoming}, stream_header_sent := false, socket := Socket} = State, Packet) ->
    %% A peer that has not said anything is told why all the same, unless that would be in the middle of a TLS
    %% handshake.
    State1 = case {State, xmpp_socket:get_transport(Socket)} of
                 {_, tcp} -> with_header(State);
                 {#{stream_authenticated := true}, _} -> with_header(State);
                 _ -> State
             end,
    ejabberd_s2s_in:send(State1, Packet);
send(#{s2s_partners := #guarded{direction = incoming}} = State, Packet) ->
    ejabberd_s2s_in:send(State, Packet);
send(State, Packet) ->
    ejabberd_s2s_out:send(State, Packet).

with_header(#{socket := Socket, stream_id := Id, server := Server} = State) ->
    Header = #stream_start{version = {1, 0}, id = Id, from = jid:make(Server), xmlns = ?NS_SERVER, stream_xmlns = ?NS_STREAM,
                           db_xmlns = ?NS_SERVER_DIALBACK},
    case xmpp_socket:send_header(Socket, xmpp:encode(Header)) of
        ok -> State#{stream_header_sent => true};
        _ -> State
    end.

%% Whether it has got a line of its own.
log_refusal(Reason, Rule, State) ->
    #guarded{direction = Direction, quiet = Quiet} = Guarded = guarded(State),
    About = about(Guarded, State),
    Address = maps:get(address, About, <<"?">>),
    if
        Quiet ->
            s2s_partners_report:muted(Address, Reason),
            false;
        true ->
            Told = Direction =:= outgoing orelse is_authenticated(Guarded) orelse s2s_partners_report:may_log(Address, Reason),
            Told andalso s2s_partners_report:stream_refused(About, Reason, Rule),
            Told
    end.

is_authenticated(#guarded{stream = none}) ->
    false;
is_authenticated(#guarded{stream = Stream}) ->
    #{method := Method} = s2s_partners_nif:stream_view(Stream),
    Method =/= none.

about(#guarded{direction = Direction, vhost = VHost, local = Local, remote = Remote, stream = Stream} = Guarded, State) ->
    About = #{direction => Direction, remote => Remote, host => Local, local => Local, vhost => VHost},
    About1 = case State of
                 #{ip := {Address, _}} when is_tuple(Address) -> About#{address => misc:ip_to_list(Address)};
                 _ -> About
             end,
    About2 = case Guarded of
                 #guarded{certificate = {_, _, Report}} -> About1#{report => Report};
                 _ -> About1
             end,
    case Stream of
        none ->
            About2;
        _ ->
            View = s2s_partners_nif:stream_view(Stream),
            maps:merge(About2, maps:with([certificate, method, tls, partner, stage, domain, verify_only], View))
    end.

count(#guarded{vhost = VHost, direction = Direction} = Guarded, Decision, Reason) ->
    Way = case Direction of incoming -> in; outgoing -> out end,
    s2s_partners_report:count(VHost, label(Guarded), Way, Decision, Reason).

label(#guarded{partner = #{name := Name, match := Match}}) when Match =/= default -> Name;
label(_) -> <<"unlisted">>.

%% ejabberd writes into its log, and into the errors that local senders get, what a peer says for a farewell.
-spec farewell(term()) -> term().
farewell({stream, {in, #stream_error{text = Texts} = Error}}) ->
    {stream, {in, Error#stream_error{text = [Text#text{data = cut(Data)} || #text{data = Data} = Text <- lists:sublist(Texts, 1)]}}};
farewell(Reason) ->
    Reason.

%% Not in the middle of a character.
cut(Data) when byte_size(Data) > ?FAREWELL_MAX ->
    case unicode:characters_to_binary(binary:part(Data, 0, ?FAREWELL_MAX)) of
        Whole when is_binary(Whole) -> <<Whole/binary, "...">>;
        {_, Whole, _} -> <<Whole/binary, "...">>
    end;
cut(Data) ->
    Data.

%%% The connection

%% What the connection reports now. The certificate is judged as soon as the domain is known, and once; the
%% caller then asks for the decision (stream_certificate/1).
-spec observe(state()) -> state().
observe(#{socket := Socket} = State) ->
    #guarded{stream = Stream, vhost = VHost, policy = Policy, certificate = Certificate} = Guarded = guarded(State),
    case xmpp_socket:get_transport(Socket) of
        tcp ->
            ok = s2s_partners_nif:stream_observe(Stream, false, unknown),
            State;
        tls ->
            Domain = s2s_partners_nif:stream_domain(Stream),
            case Certificate of
                none when Domain =/= <<>>, Policy =/= none ->
                    Der = s2s_partners_certificate:shown(Socket),
                    {Verdict, Report} = s2s_partners_certificate:judge(Der, VHost, Policy, Domain),
                    ok = s2s_partners_nif:stream_observe(Stream, true, Verdict),
                    keep(Guarded#guarded{certificate = {Der, Verdict, Report}}, State);
                none ->
                    ok = s2s_partners_nif:stream_observe(Stream, true, unknown),
                    State;
                {_, Verdict, _} ->
                    ok = s2s_partners_nif:stream_observe(Stream, true, Verdict),
                    State
            end
    end.

%%% Elements

%% Every element before the library looks into it. pass: it goes on.
-spec element(#xmlel{}, term(), state()) -> {pass, stanza | handshake} | {stop, state()}.
element(#xmlel{name = Name, attrs = Attrs} = Element, Packet, State) ->
    #guarded{stream = Stream, local = Local, established = Established} = Guarded = guarded(State),
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
                    {stop, refuse(s2s_partners_nif:stream_premature(Stream), <<"not-authorized">>, State)};
                allow ->
                    {pass, handshake};
                idle ->
                    swallow(State);
                {wait, Reason, _} ->
                    #guarded{direction = Direction, remote = Remote} = Guarded,
                    s2s_partners_report:element_refused(Direction, Remote, Local, Reason),
                    swallow(dialback_error(Element, Reason, State));
                {refuse, _, _} = Refusal ->
                    {stop, refuse(Refusal, State)}
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
            {stop, wrong_sender(Rule, State)};
        _ ->
            s2s_partners_report:element_refused(Direction, Remote, Local, 'wrong-domain'),
            swallow(State)
    end;
foreign_shape(#xmlel{attrs = Attrs}, _, _, State) ->
    case lists:keyfind(<<"xmlns">>, 1, Attrs) of
        false -> {pass, stanza};
        {_, ?NS_SERVER} -> {pass, stanza};
        _ -> swallow(State)
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
    send(State, #xmlel{name = Name, attrs = Kept ++ [{<<"type">>, <<"error">>} | Swapped], children = [Error]}).

attribute(Key, Attrs) ->
    case lists:keyfind(Key, 1, Attrs) of
        {_, Value} -> Value;
        false -> <<>>
    end.

%%% Stanzas

%% A stanza that the peer has sent. {pass, …}: for ejabberd to deliver.
-spec stanza_in(stanza(), state()) -> {pass, stanza(), state()} | {stop, state()}.
stanza_in(Packet, State) ->
    #guarded{stream = Stream, established = Established} = Guarded = guarded(State),
    case {Established, xmpp:get_from(Packet), xmpp:get_to(Packet)} of
        {true, #jid{lserver = Remote} = From, #jid{lserver = Local} = To} ->
            case judged(Local, Remote, Guarded, State) of
                {allow, State1} ->
                    judged_in(Packet, From, To, guarded(State1), State1);
                {{refuse, 'wrong-domain', Rule}, State1} ->
                    {stop, wrong_sender(Rule, State1)};
                {{refuse, Reason, Rule}, State1} ->
                    s2s_partners_report:stanza_refused(in, label(Guarded), Remote, Local, Reason, Rule),
                    Kind = s2s_partners_nif:stanza_kind(element(1, Packet), xmpp:get_type(Packet)),
                    s2s_partners_answers:give(s2s_partners_nif:reply_to(incoming, Kind), Packet),
                    {stop, State1}
            end;
        {false, _, _} ->
            {stop, refuse(s2s_partners_nif:stream_premature(Stream), <<"not-authorized">>, State)};
        _ ->
            {stop, refuse_for('wrong-domain', <<"a stanza without addresses">>, State)}
    end.

%% By the policy of the host that it is for. That may have other anchors and pins than the stream's own: what
%% the certificate is worth there is found out once.
judged(Local, Remote, #guarded{stream = Stream, vhost = VHost} = Guarded, State) ->
    case s2s_partners_in_force:vhost_of(Local) of
        {ok, Other} when Other =/= VHost ->
            Policy = policy(Other),
            {Verdict, State1} = verdict(Other, Policy, Guarded, State),
            {s2s_partners_nif:stream_stanza(Stream, Policy, Remote, Verdict), State1};
        _ ->                               % its own host; or none of ours, for which ejabberd closes the stream
            {s2s_partners_nif:stream_stanza(Stream, policy(VHost), Remote), State}
    end.

verdict(Host, Policy, #guarded{certificate = {Der, _, _}, stream = Stream, verdicts = Verdicts} = Guarded, State) when Policy =/= none ->
    case Verdicts of
        #{Host := {Policy, Known}} ->
            {Known, State};
        _ ->
            {Verdict, _} = s2s_partners_certificate:judge(Der, Host, Policy, s2s_partners_nif:stream_domain(Stream)),
            {Verdict, keep(Guarded#guarded{verdicts = Verdicts#{Host => {Policy, Verdict}}}, State)}
    end;
verdict(_, _, _, State) ->
    {unknown, State}.

%% The condition is that of RFC 6120 4.9.3.12 for both.
wrong_sender(Rule, State) ->
    refuse({refuse, 'wrong-domain', Rule}, <<"not-authorized">>, State).

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
            case attribute(<<"xmlns">>, Attrs) of
                ?NS_PING -> ping;
                _ -> no
            end;
        _ -> no
    end;
is_keepalive(_, _, _) ->
    no.

%% The record is told once a second at most.
active(#guarded{stream = Stream, active = Active} = Guarded, State) ->
    case erlang:monotonic_time(second) of
        Active ->
            State;
        Now ->
            ok = s2s_partners_nif:stream_active(Stream, now_ms()),
            keep(Guarded#guarded{active = Now}, State)
    end.

%% A stanza that is to go out over an established stream, perhaps from another node.
-spec stanza_out(stanza(), state()) -> {pass, state()} | {stop, state()}.
stanza_out(Packet, State) ->
    #guarded{stream = Stream, vhost = VHost} = Guarded = guarded(State),
    #jid{lserver = Remote} = To = xmpp:get_to(Packet),
    From = xmpp:get_from(Packet),
    case s2s_partners_nif:stream_stanza(Stream, policy(VHost), Remote) of
        allow ->
            case is_keepalive(Packet, From, To) of
                no -> {pass, active(Guarded, State)};
                _ -> {pass, State}
            end;
        {refuse, Reason, Rule} ->
            bounce_stanza(Packet, Reason, Rule, Guarded),
            {stop, State}
    end.

%% The sender of a stanza that cannot go out is told, where one is told.
-spec bounce_stanza(stanza(), s2s_partners_nif:refusal(), state()) -> ok.
bounce_stanza(Packet, {refuse, Reason, Rule}, State) ->
    bounce_stanza(Packet, Reason, Rule, guarded(State)).

bounce_stanza(Packet, Reason, Rule, #guarded{remote = Remote, local = Local} = Guarded) ->
    s2s_partners_report:stanza_refused(out, label(Guarded), Remote, Local, Reason, Rule),
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

%%% Places

%% Takes one of the partner's places when the record says so; refused when there is none.
-spec hold_place(state()) -> allow | s2s_partners_nif:decision().
hold_place(State) ->
    case guarded(State) of
        #guarded{stream = none} ->
            allow;
        #guarded{stream = Stream, policy = Policy, created = Created} ->
            case s2s_partners_nif:stream_place(Stream) of
                none ->
                    allow;
                Place ->
                    Domain = s2s_partners_nif:stream_domain(Stream),
                    case s2s_partners_places:ask(Policy, Domain, place_key(Stream, Domain), Place, Created) of
                        allow ->
                            Place =:= takes andalso s2s_partners_nif:stream_counted(Stream, true),
                            allow;
                        {refuse, Reason, Rule} ->
                            s2s_partners_nif:stream_refuse(Stream, Reason, Rule)
                    end
            end
    end.

place_key(Stream, Domain) ->
    case s2s_partners_nif:stream_partner(Stream) of
        <<"unlisted">> -> {domain, Domain};
        Name -> Name
    end.

%%% Established

%% The audit before stanzas move, in both directions, whatever has authenticated the stream.
-spec established(state()) -> {allow | s2s_partners_nif:refusal(), state()}.
established(State) ->
    #guarded{stream = Stream, established = Before} = Guarded = guarded(State),
    case s2s_partners_nif:stream_established(Stream) of
        allow ->
            ok = s2s_partners_nif:stream_active(Stream, now_ms()),
            s2s_partners_places:settled(),
            State1 = keep(Guarded#guarded{established = true, active = erlang:monotonic_time(second),
                                          since = os:system_time(second)}, State),
            Before orelse announce(State1),
            {allow, State1};
        Decision ->
            {refusal(Decision, Stream), State}
    end.

refusal({refuse, _, _} = Refusal, _) -> Refusal;
refusal({wait, Reason, Rule}, Stream) -> s2s_partners_nif:stream_refuse(Stream, Reason, Rule).

announce(State) ->
    Guarded = guarded(State),
    count(Guarded, allow, none),
    About = with_protocol(about(Guarded, State), State),
    s2s_partners_report:stream_established(About),
    s2s_partners_report:uncovered(About),
    publish(State).

with_protocol(#{tls := true} = About, #{socket := Socket}) ->
    maps:merge(About, s2s_partners_certificate:session(Socket));
with_protocol(About, _) ->
    About.

%% For the console, after each step that changes what there is to see.
-spec publish(state()) -> ok.
publish(State) ->
    #guarded{since = Since} = Guarded = guarded(State),
    s2s_partners_live:publish((with_protocol(about(Guarded, State), State))#{since => Since,
                                                                             bidi => is_map_key(bidi_enabled, State)}).

%% The last words of a stream.
-spec publish_end(term(), state()) -> ok.
publish_end(Reason, State) ->
    #guarded{direction = Direction} = Guarded = guarded(State),
    Text = case Direction of
               incoming -> xmpp_stream_in:format_error(Reason);
               outgoing -> xmpp_stream_out:format_error(Reason)
           end,
    s2s_partners_live:publish((about(Guarded, State))#{ended => Text}).

%%% Time

%% Its process looks at its own times every few seconds.
-spec start_clock(state()) -> state().
start_clock(State) ->
    #guarded{vhost = VHost} = guarded(State),
    erlang:send_after(interval(VHost), self(), {s2s_partners, tick}),
    State.

interval(VHost) ->
    case s2s_partners_in_force:limits(VHost) of
        {ok, #{establishment_timeout := Establishment, inactivity_timeout := Inactivity, keepalive_interval := Keepalive}} ->
            max(?TICK_MIN, min(?TICK_MAX, 100 * min(Establishment, min(Inactivity, Keepalive))));
        none ->
            ?TICK_MAX
    end.

%% What time demands now. keepalive: one is due, which the caller sends.
-spec tick(state()) -> {none | keepalive, state()} | {stop, state()}.
tick(#{stream_state := disconnected} = State) ->
    {stop, State};
tick(State) ->
    _ = start_clock(State),
    case guarded(State) of
        #guarded{refused = {_, _}} ->
            {stop, State};
        #guarded{stream = none, created = Created} ->
            case s2s_partners_nif:waiting_due(least_patient(), now_ms() - Created) of
                true -> {stop, refuse_for('establishment-timeout', <<"nothing was said in time">>, State)};
                false -> {none, State}
            end;
        #guarded{stream = Stream, vhost = VHost} ->
            case s2s_partners_nif:stream_due(Stream, policy(VHost), now_ms()) of
                {allow, Keepalive} ->
                    %% One that was opened to verify a key may have got stanzas meanwhile.
                    case hold_place(State) of
                        allow when Keepalive -> {keepalive, State};
                        allow -> {none, State};
                        {refuse, _, _} = Refusal -> {stop, refuse(Refusal, State)}
                    end;
                {{refuse, Reason, Rule}, _} ->
                    {stop, refuse_for(Reason, Rule, State)}
            end
    end.

%% Whether a stream that has ended by itself had no time left; its end is then ours.
-spec overdue(state()) -> none | s2s_partners_nif:refusal().
overdue(State) ->
    case guarded(State) of
        #guarded{stream = Stream, vhost = VHost, established = false} when Stream =/= none ->
            case s2s_partners_nif:stream_due(Stream, policy(VHost), now_ms()) of
                {{refuse, Reason, Rule}, _} -> s2s_partners_nif:stream_refuse(Stream, Reason, Rule);
                _ -> none
            end;
        _ ->
            none
    end.

%% Milliseconds that are left to establish the stream.
-spec time_left(state()) -> non_neg_integer().
time_left(State) ->
    #guarded{vhost = VHost, created = Created} = guarded(State),
    case s2s_partners_in_force:limits(VHost) of
        {ok, #{establishment_timeout := Seconds}} -> max(0, Created + Seconds * 1000 - now_ms());
        none -> 0
    end.

%% The policy whose establishment_timeout is the shortest.
least_patient() ->
    case s2s_partners_in_force:current() of
        #{policies := Policies, limits := Limits} ->
            case lists:sort([{maps:get(establishment_timeout, Its), Host} || {Host, Its} <- maps:to_list(Limits)]) of
                [{_, Host} | _] -> maps:get(Host, Policies, none);
                [] -> none
            end;
        none ->
            none
    end.

-spec keepalive_answered(state()) -> state().
keepalive_answered(State) ->
    #guarded{stream = Stream} = guarded(State),
    ok = s2s_partners_nif:stream_keepalive_answered(Stream),
    State.

%%% Reload

%% The record moves over to what is in force now, its certificate included, which may have become invalid. The
%% caller closes what is refused.
-spec rejudge(state()) -> {allow | s2s_partners_nif:refusal(), state()}.
rejudge(State) ->
    #guarded{stream = Stream, vhost = VHost, certificate = Certificate, created = Created, established = Established} = Guarded =
        guarded(State),
    Policy = policy(VHost),
    Domain = s2s_partners_nif:stream_domain(Stream),
    Certificate1 = case Certificate of
                       {Der, _, _} when Policy =/= none ->
                           {Verdict, Report} = s2s_partners_certificate:judge(Der, VHost, Policy, Domain),
                           ok = s2s_partners_nif:stream_observe(Stream, true, Verdict),
                           {Der, Verdict, Report};
                       _ ->
                           Certificate
                   end,
    Partner = case Policy of
                  none -> none;
                  _ -> s2s_partners_nif:policy_find(Policy, Domain)
              end,
    #{counted := Counted} = s2s_partners_nif:stream_view(Stream),
    State1 = keep(Guarded#guarded{policy = Policy, certificate = Certificate1, partner = Partner, verdicts = #{}}, State),
    case s2s_partners_nif:stream_rejudge(Stream, Policy) of
        allow ->
            case s2s_partners_nif:stream_place(Stream) of
                none when not Counted ->
                    {allow, State1};
                _ when Counted ->
                    Key = place_key(Stream, Domain),
                    case s2s_partners_places:renew(Policy, Domain, Key, true, Established, Created) of
                        allow -> {allow, State1};
                        %% Not for what the stream is, but for what has become of its place.
                        {refuse, _, Rule} -> {s2s_partners_nif:stream_refuse(Stream, 'policy-changed', Rule), State1}
                    end;
                _ ->
                    {hold_place(State1), State1}
            end;
        Decision ->
            {refusal(Decision, Stream), State1}
    end.
