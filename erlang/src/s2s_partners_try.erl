%%% s2s_partners_test: a real stream to a partner through ejabberd's own S2S code, guarded as any other, and a ping (XEP-0199). Says stage by
%%% stage how far it came and how long each took. The stream is opened beside those that carry traffic, and closed afterwards.
-module(s2s_partners_try).

-export([test/2]).

-import(s2s_partners_layout, [paragraph/2, plain/2, methods/1, method/1, join/2, duration/1]).

-include_lib("xmpp/include/xmpp.hrl").

-define(SECONDS_MAX, 60).
-define(PING_MS, 10000).
-define(DNS_MS, 5000).
-define(POLL_MS, 20).
-define(STAGES, [dns, tcp, tls, certificate, method, ping]).

-type line() :: s2s_partners_layout:line().

-spec test(Local :: binary(), Remote :: binary()) -> {ok | error, [line()]}.
test(Local, Remote) ->
    case question(Local, Remote) of
        {error, Text} -> {error, paragraph(<<>>, Text)};
        {ok, Question} -> run(Question)
    end.

question(Local, Remote) ->
    case {lists:member(Local, s2s_partners_in_force:vhosts()), s2s_partners_nif:domain(Remote)} of
        {false, _} ->
            {error, ["\"", plain(Local, 80), "\" is not a virtual host of this server"]};
        {true, {error, Why}} ->
            {error, ["\"", plain(Remote, 80), "\" ", Why, "; give the partner's domain: s2s_partners_test contoso.com fabrikam.com"]};
        {true, {ok, Domain}} ->
            case s2s_partners_in_force:is_local(Domain) of
                true -> {error, [Domain, " is a domain of this server, too: there is no stream to test"]};
                false -> permitted(Local, Domain)
            end
    end.

%% The gate of every route; before it is passed nothing is looked up.
permitted(Local, Domain) ->
    Policy = case s2s_partners_in_force:policy(Local) of {ok, Found} -> Found; none -> none end,
    case s2s_partners_nif:route(Policy, Domain, false) of
        allow ->
            {ok, #{local => Local, domain => Domain, policy => Policy, partner => s2s_partners_nif:policy_find(Policy, Domain)}};
        {_, Reason, Rule} ->
            #{operator := Text} = s2s_partners_nif:reason(Reason),
            {error, [Domain, " may not be connected to: ", Rule, " (", atom_to_binary(Reason), "). ", Text]}
    end.

run(#{local := Local, domain := Domain, policy := Policy, partner := #{name := Name, methods := Methods}} = Question) ->
    #{establishment_timeout := Seconds} = s2s_partners_nif:policy_limits(Policy),
    Limit = min(?SECONDS_MAX, Seconds),
    Head = paragraph(<<>>, ["Testing ", Local, " -> ", Domain, " (", Name, ", ", methods(Methods), "), for at most ",
                            integer_to_binary(Limit + (?DNS_MS + ?PING_MS) div 1000), " s"]),
    Started = now_us(),
    case dns(Question) of
        {error, Text} ->
            failed(Question, Head, dns, Text, none);
        {ok, Text} ->
            Lines = Head ++ stage(dns, Text, now_us() - Started),
            stream(Question, Lines, Started, now_us() + Limit * 1000000)
    end.

%%% DNS: what ejabberd will find. It asks again itself.

dns(#{partner := #{proxy := {Host, Port}}}) ->
    {ok, ["not asked, the entry has proxy: ", Host, ":", integer_to_binary(Port)]};
dns(#{domain := Domain, partner := #{tls := Tls}}) ->
    Direct = case Tls of not_supported -> []; _ -> srv("_xmpps-server._tcp.", Domain) end,
    Plain = srv("_xmpp-server._tcp.", Domain),
    Targets = [{"direct TLS ", Target} || Target <- Direct] ++ [{"", Target} || Target <- Plain],
    Found = [{Words, Target, addresses(Target)} || {Words, Target} <- lists:sublist(Targets, 4)],
    case Targets of
        [] ->
            case addresses({0, 0, 5269, binary_to_list(Domain)}) of
                [] -> {error, "no SRV record, and the domain has no address"};
                Addresses -> {ok, ["no SRV record; ", Domain, ":5269 (", join(<<", ">>, Addresses), ")"]}
            end;
        _ ->
            Text = ["SRV ", lists:join("; then ", [[Words, plain(Host, 100), ":", integer_to_binary(Port), " (",
                                                    case Addresses of [] -> "no address"; _ -> join(<<", ">>, Addresses) end, ")"]
                                                   || {Words, {_, _, Port, Host}, Addresses} <- Found])],
            case [Each || {_, _, [_ | _]} = Each <- Found] of
                [] -> {error, Text};
                _ -> {ok, Text}
            end
    end.

srv(Service, Domain) ->
    Records = inet_res:lookup(Service ++ binary_to_list(Domain), in, srv, [], ?DNS_MS),
    lists:sort([Record || {_, _, _, Host} = Record <- Records, Host =/= "."]).

addresses({_, _, _, Host}) ->
    lists:append([case inet:getaddrs(Host, Family) of
                      {ok, Addresses} -> [list_to_binary(inet:ntoa(Address)) || Address <- lists:sublist(lists:usort(Addresses), 4)];
                      {error, _} -> []
                  end || Family <- [inet, inet6]]).

%%% The stream

stream(#{local := Local, domain := Domain} = Question, Lines, Started, Until) ->
    Since = erlang:system_time(second),
    case ejabberd_s2s_out:start(Local, Domain, []) of
        {ok, Pid} ->
            Monitor = monitor(process, Pid),
            ejabberd_s2s_out:connect(Pid),
            Result = watch(Pid, Monitor, now_us(), Until, [], #{}),
            demonitor(Monitor, [flush]),
            ejabberd_s2s_out:stop_async(Pid),
            case Result of
                {established, Reached, View} ->
                    Good = Lines ++ lists:append([stage(Stage, words(Stage, View), Time) || {Stage, Time} <- Reached]),
                    ping(Question, Good, Started);
                {Why, Reached, View} ->
                    Sofar = Lines ++ lists:append([stage(Stage, words(Stage, View), Time) || {Stage, Time} <- Reached]),
                    {Text, Reason} = why(Question, Why, View, Since),
                    failed(Question, Sofar, next(Reached), Text, Reason)
            end;
        Other ->
            failed(Question, Lines, tcp, ["ejabberd did not start the stream: ", plain(io_lib:format("~p", [Other]), 200)], none)
    end.

%% Stages as they are reached, each with the time since the one before.
watch(Pid, Monitor, Last, Until, Reached, Seen) ->
    View = case s2s_partners_live:view(Pid) of none -> Seen; Found -> Found end,
    Now = now_us(),
    New = [Stage || Stage <- [tcp, tls, certificate, method], is_reached(Stage, View), not lists:keymember(Stage, 1, Reached)],
    Times = case New of [] -> []; [First | Rest] -> [{First, Now - Last} | [{Stage, 0} || Stage <- Rest]] end,
    All = Reached ++ Times,
    Next = case New of [] -> Last; _ -> Now end,
    case View of
        #{stage := established} -> {established, All, View};
        #{stage := refused} -> {refused, All, View};
        #{ended := _} -> {ended, All, View};
        _ when Now > Until -> {late, All, View};
        _ ->
            receive {'DOWN', Monitor, process, Pid, _} ->
                {ended, All, case s2s_partners_live:view(Pid) of none -> View; LastView -> LastView end}
            after ?POLL_MS ->
                watch(Pid, Monitor, Next, Until, All, View)
            end
    end.

is_reached(tcp, #{address := _}) -> true;
is_reached(tls, #{tls := Tls}) -> Tls;
is_reached(certificate, #{tls := true, certificate := Verdict}) -> Verdict =/= unknown;
is_reached(method, #{stage := established}) -> true;
is_reached(_, _) -> false.

words(tcp, #{address := Address}) -> ["connected to ", Address];
words(tls, #{protocol := Version, cipher := Cipher}) -> <<Version/binary, ", ", Cipher/binary>>;
words(tls, View) -> maps:get(protocol, View, <<"TLS">>);
words(certificate, #{certificate := valid, report := #{not_after := Time}}) ->
    ["valid, expires ", s2s_partners_layout:expiry(Time, erlang:system_time(second))];
words(certificate, #{certificate := Verdict, report := #{cause := Cause}}) when Verdict =/= valid ->
    [atom_to_binary(Verdict), ": ", Cause];
words(certificate, #{certificate := Verdict}) -> atom_to_binary(Verdict);
words(method, #{method := Method}) -> method(Method).

next(Reached) ->
    hd([Stage || Stage <- ?STAGES, Stage =/= dns, not lists:keymember(Stage, 1, Reached)]).

%% The guard's reason where it refused; else what the other side or the network said.
why(#{partner := #{name := Name}, domain := Domain}, Why, View, Since) ->
    Refused = [Kept || {out, refused, #{time := Time} = Kept} <- s2s_partners_recent:of_partner(Name), Time >= Since],
    case {Refused, Why, View} of
        {[#{reason := Reason, rule := Rule} | _], _, _} -> {Rule, Reason};
        {[], _, #{ended := Text}} -> {plain(Text, 300), none};
        {[], late, _} -> {"no answer within the time", none};
        {[], _, _} -> {["the stream with ", Domain, " ended; the log of this server may say why"], none}
    end.

%%% The ping, by the way that stanzas take

ping(#{local := Local, domain := Domain} = Question, Lines, Started) ->
    Asked = now_us(),
    Request = #iq{type = get, from = jid:make(Local), to = jid:make(Domain), sub_els = [#ping{}]},
    Tag = make_ref(),
    ok = ejabberd_router:route_iq(Request, Tag, self(), ?PING_MS),
    case answer(Tag) of
        #iq{type = result} ->
            {ok, Lines ++ stage(ping, ["pong from ", Domain], now_us() - Asked) ++ works(Question, "", Started)};
        #iq{type = error} = Answer ->
            #stanza_error{reason = Reason, text = Texts} = Error = xmpp:get_error(Answer),
            Said = [condition(Reason), case xmpp:get_text(Texts) of <<>> -> ""; Text -> [": ", plain(Text, 200)] end],
            case is_from_there(Error) of
                true ->
                    {ok, Lines ++ stage(ping, ["the other server answers the ping with ", Said], now_us() - Asked)
                     ++ works(Question, " (it refuses pings)", Started)};
                false ->
                    failed(Question, Lines, ping, Said, none)
            end;
        timeout ->
            failed(Question, Lines, ping, "no answer", none)
    end.

answer(Tag) ->
    receive {iq_reply, Answer, Tag} -> Answer
    after ?PING_MS + 5000 -> timeout
    end.

%% An answer is an answer: the peer is there and says that it does not do pings. What ejabberd says by itself is about the way there.
is_from_there(#stanza_error{reason = Reason}) ->
    not lists:member(condition(Reason), [<<"remote-server-not-found">>, <<"remote-server-timeout">>, <<"internal-server-error">>]).

condition(#gone{}) -> <<"gone">>;
condition(#redirect{}) -> <<"redirect">>;
condition(Reason) when is_atom(Reason) -> atom_to_binary(Reason).

works(#{local := Local, domain := Domain}, More, Started) ->
    [<<>> | paragraph(<<>>, [Local, " -> ", Domain, " works", More, "; ", duration(now_us() - Started), " in all"])].

%%% Words

stage(Stage, Text, Time) ->
    paragraph(io_lib:format("  ~-12ts ~9ts  ", [name(Stage), duration(Time)]), Text).

failed(#{local := Local, domain := Domain}, Lines, Stage, Text, Reason) ->
    Remedy = case Reason of
                 none -> remedy(Stage);
                 _ -> #{operator := Words} = s2s_partners_nif:reason(Reason), Words
             end,
    {error, Lines ++ paragraph(io_lib:format("  ~-12ts ~9ts  ", [name(Stage), "failed"]), Text)
     ++ paragraph("  Likely remedy: ", Remedy)
     ++ [<<>> | paragraph(<<>>, [Local, " -> ", Domain, " failed at ", name(Stage), ": ", Text,
                                 case Reason of none -> ""; _ -> [" [", atom_to_binary(Reason), "]"] end])]}.

name(dns) -> "DNS";
name(tcp) -> "TCP";
name(tls) -> "TLS";
name(certificate) -> "certificate";
name(method) -> "method";
name(ping) -> "round trip".

remedy(dns) ->
    "Ask the partner for its SRV record, or set proxy: \"host:5269\" in its entry.";
remedy(tcp) ->
    "Nothing answers there as an XMPP server, or a firewall is between: compare address and port with the partner, and look whether this "
    "machine may open connections to it.";
remedy(tls) ->
    "The other server does not offer TLS, or the handshake failed: have the partner look at its certificate and TLS versions, and look at our "
    "own with s2s_partners_check.";
remedy(certificate) ->
    "Have the partner correct its certificate, or name its authority in trust_anchors.";
remedy(method) ->
    "The two sides expect different methods: compare the entry (s2s_partners_show) with what the partner has configured for us, and whether it "
    "trusts our certificate.";
remedy(ping) ->
    "The stream stands, but the ping is not answered: the partner may not answer pings, or refuses stanzas from this domain.".

now_us() ->
    erlang:monotonic_time(microsecond).
