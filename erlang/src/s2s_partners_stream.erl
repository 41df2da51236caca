%%% What streams of both directions have in common: their record, what is observed of the connection, how they are
%%% refused, named and shown. `State` is the state of the stream's process, ejabberd's own map; what we keep of the
%%% stream is in it as #guarded{}. Nothing is decided here: the NIF is asked, and its answer carried out.
-module(s2s_partners_stream).

-export([guarded/1, keep/2, policy/1, now_ms/0]).
-export([run/3, value/3]).
-export([farewell/1, refuse/2, refuse/3, refuse_for/3, send/2, swallow/1, is_over/1]).
-export([about/2, with_protocol/2, label/1, count/3, publish/1, publish_end/2]).
-export([observe/1]).

-export_type([state/0]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-type state() :: map().

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

%% Of a stream that is over nothing more comes that would end its process.
give_up(#{stream_state := disconnected}) ->
    exit(shutdown);
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

-spec send(state(), xmpp_element()) -> state().
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

-spec about(#guarded{}, state()) -> s2s_partners_report:about().
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

-spec count(#guarded{}, allow | refuse, s2s_partners_nif:reason() | none) -> ok.
count(#guarded{vhost = VHost, direction = Direction} = Guarded, Decision, Reason) ->
    Way = case Direction of incoming -> in; outgoing -> out end,
    s2s_partners_report:count(VHost, label(Guarded), Way, Decision, Reason).

%% What counters call the partner.
-spec label(#guarded{}) -> binary().
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

-spec with_protocol(map(), state()) -> map().
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
