%%% The certificate that a peer has shown, as the connection gives it out, and what the NIF says of it.
%%% ejabberd's own verification is not asked: it takes the common name, knows no SRVName, and keeps the last
%%% fault instead of the worst.
-module(s2s_partners_certificate).

-export([shown/1, judge/4, session/1]).

%% What the peer has shown, the leaf alone: the TLS library gives out no more. The NIF adds the intermediates
%% that it has learned.
-spec shown(xmpp_socket:socket_state()) -> binary() | none.
shown(Socket) ->
    case xmpp_socket:get_peer_certificate(Socket, der) of
        {ok, Der} when is_binary(Der) -> Der;
        error -> none
    end.

%% The verdict of a virtual host on it. A partner shows the same certificate each time: what was found valid is remembered for some
%% minutes. Else dirty CPU: the caller waits, the scheduler does not.
-spec judge(binary() | none, VHost :: binary(), s2s_partners_nif:policy(), Domain :: binary()) ->
          {s2s_partners_nif:verdict(), s2s_partners_nif:report()}.
judge(Der, VHost, Policy, Domain) ->
    Partner = s2s_partners_nif:policy_find(Policy, Domain),
    Store = case s2s_partners_in_force:store(VHost, Partner) of
                {ok, Found} -> Found;
                none -> none
            end,
    Question = #{chain => chain(Der, VHost), store => Store, domain => Domain, policy => Policy,
                 crls => s2s_partners_in_force:crls(VHost, Partner), now => os:system_time(second)},
    {Verdict, _Cause, Report} = case s2s_partners_nif:judged(Question) of
                                    none -> s2s_partners_nif:judge(Question);
                                    Known -> Known
                                end,
    {Verdict, Report}.

%% Behind it what the administrator has collected. It makes nothing valid that is not.
chain(none, _VHost) -> [];
chain(Der, VHost) -> [Der | s2s_partners_in_force:intermediates(VHost)].

%% Of the TLS session, for log and console. The TLS library tells the cipher alone, some versions of it with the version that the cipher is from
%% before it; the names of TLS 1.3's are its own.
-spec session(xmpp_socket:socket_state()) -> #{protocol := binary(), cipher => binary()}.
session(Socket) ->
    case xmpp_socket:get_negotiated_cipher(Socket) of
        {ok, Told} ->
            Cipher = lists:last(binary:split(iolist_to_binary(Told), <<" ">>, [global])),
            Protocol = case Cipher of
                           <<"TLS_", _/binary>> -> <<"TLSv1.3">>;
                           _ -> <<"TLSv1.2">>
                       end,
            #{protocol => Protocol, cipher => Cipher};
        error ->
            #{protocol => <<"TLS">>}
    end.
