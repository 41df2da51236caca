%%% Certificates and revocation lists that come to their end: our own certificates, and the authorities of partners. Each is warned about
%%% once a day, from two weeks before. In the guard's process; what takes long is done in one of its own.
-module(s2s_partners_expiry).

-export([committed/0, tick/0, findings/1]).

-include_lib("kernel/include/logger.hrl").

-define(DAY, 86400).
-define(AHEAD, (14 * ?DAY)).
-define(KEY, {?MODULE, checked}).

%% A configuration has come into force.
-spec committed() -> ok.
committed() ->
    check(os:system_time(second)).

%% Called every minute: looks once a day, and when the clock has been set back.
-spec tick() -> ok.
tick() ->
    Now = os:system_time(second),
    case get(?KEY) of
        Last when is_integer(Last), Now >= Last, Now - Last < ?DAY -> ok;
        _ -> check(Now)
    end.

check(Now) ->
    put(?KEY, Now),
    _ = spawn(fun() ->
                      lists:foreach(fun(Line) -> ?LOG_WARNING("~ts", [Line]) end,
                                    lists:usort([Line || {_, Line} <- findings(Now)]))
              end),
    ok.

%% What there is to say, with the seconds that are left.
-spec findings(Now :: integer()) -> [{integer(), binary()}].
findings(Now) ->
    case s2s_partners_in_force:current() of
        none -> [];
        #{stores := Stores, crls := Crls, vhosts := VHosts} ->
            Anchors = [{NotAfter - Now, ["the trust anchors in ", Path]}
                       || {{anchors, Path}, Store} <- maps:to_list(Stores),
                          #{not_after := NotAfter} <- [s2s_partners_nif:trust_store_facts(Store)], NotAfter > 0],
            Lists = [{Next - Now, ["the revocation list in ", Path]}
                     || {Path, Crl} <- maps:to_list(Crls), #{next_update := Next} <- [s2s_partners_nif:crl_facts(Crl)]],
            Own = [{NotAfter - Now, ["the certificate of ", Host, " (", File, ")"]}
                   || Host <- maps:keys(VHosts), {File, #{not_after := NotAfter}} <- s2s_partners_readiness:own_certificates(Host)],
            [{Left, line(Left, Now, What)} || {Left, What} <- Anchors ++ Lists ++ Own, Left < ?AHEAD]
    end.

line(Left, Now, What) ->
    Day = binary:part(list_to_binary(calendar:system_time_to_rfc3339(Now + Left, [{offset, "Z"}])), 0, 10),
    Verb = case Left =< 0 of true -> " is out of date since "; false -> " ends on " end,
    iolist_to_binary([What, Verb, Day, "; renew it, and reload"]).
