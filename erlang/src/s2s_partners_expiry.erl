%%% Certificates and revocation lists that come to their end: our own certificates, the authorities of partners, and lists that nobody has
%%% renewed. Each is warned about once a day. In the guard's process, whose dictionary remembers what was said.
-module(s2s_partners_expiry).

-export([committed/0, tick/0, lists/0]).

-include_lib("kernel/include/logger.hrl").

-define(DAY, 86400).
-define(AHEAD, (14 * ?DAY)).
%% Not after the day's check, or that would come too early every time.
-define(REPEAT, (?DAY - 600)).
%% A list is due when less than this part of its time is left.
-define(LIST_SHARE, 4).
-define(CHECKED, {?MODULE, checked}).
-define(SAID, {?MODULE, said}).

%% A configuration has come into force.
-spec committed() -> ok.
committed() ->
    check(os:system_time(second)).

%% Called every minute: looks once a day, and when the clock has been set back.
-spec tick() -> ok.
tick() ->
    Now = os:system_time(second),
    case get(?CHECKED) of
        Last when is_integer(Last), Now >= Last, Now - Last < ?DAY -> ok;
        _ -> check(Now)
    end.

check(Now) ->
    put(?CHECKED, Now),
    case s2s_partners_in_force:current() of
        none -> ok;
        #{stores := Stores, vhosts := VHosts} ->
            lists:foreach(fun(Found) -> say(Found, Now) end, own(maps:keys(VHosts), Now) ++ anchors(Stores, Now)),
            lists()
    end.

own(Hosts, Now) ->
    Files = lists:foldl(fun({Host, File, NotAfter}, Sofar) ->
                                maps:update_with(File, fun({Of, End}) -> {[Host | Of], End} end, {[Host], NotAfter}, Sofar)
                        end, #{}, [{Host, File, NotAfter} || Host <- Hosts,
                                                             {File, #{not_after := NotAfter}} <- s2s_partners_readiness:own_certificates(Host)]),
    [{{own, File, End}, io_lib:format("The certificate of this server in ~ts (for ~ts) ~ts; renew it and reload, or partners will refuse it",
                                      [File, lists:join(", ", lists:sort(Hosts1)), describe(End, Now)])}
     || {File, {Hosts1, End}} <- maps:to_list(Files), End - Now < ?AHEAD].

anchors(Stores, Now) ->
    [{{anchors, Path, End}, io_lib:format("The last certificate of the trust_anchors ~ts ~ts; from then on every certificate of these "
                                          "partners is refused (certificate-expired)", [Path, describe(End, Now)])}
     || {{anchors, Path}, Store} <- maps:to_list(Stores),
        #{not_after := End} <- [s2s_partners_nif:trust_store_facts(Store)], End > 0, End - Now < ?AHEAD].

%% Revocation lists alone: their ends come at any time of the day.
-spec lists() -> ok.
lists() ->
    Now = os:system_time(second),
    case s2s_partners_in_force:current() of
        #{crls := Crls} when map_size(Crls) > 0 ->
            lists:foreach(fun({Path, Crl}) -> list(Path, s2s_partners_nif:crl_facts(Crl), Now) end, maps:to_list(Crls));
        _ ->
            ok
    end.

%% That it has ended is another thing to say than that it will.
list(Path, #{next_update := End}, Now) when Now >= End ->
    say({{ended, Path, End}, io_lib:format("A revocation list in ~ts ~ts; it counts for nothing any more. Fetch a new one; until then "
                                           "certificates of its issuer are refused where revocation is \"required\", and go on elsewhere",
                                           [s2s_partners_config_files:shown(Path), describe(End, Now)])}, Now);
list(Path, #{next_update := End} = Facts, Now) ->
    Span = End - maps:get(this_update, Facts, End),
    case End - Now =< min(?AHEAD, max(0, Span div ?LIST_SHARE)) of
        true -> say({{list, Path, End}, io_lib:format("A revocation list in ~ts ~ts; fetch a new one, or it counts for nothing from then on",
                                                      [s2s_partners_config_files:shown(Path), describe(End, Now)])}, Now);
        false -> ok
    end;
list(_Path, _Facts, _Now) ->
    ok.

say({Subject, Text}, Now) ->
    Said = case get(?SAID) of
               undefined -> #{};
               Known -> maps:filter(fun(_, At) -> Now >= At andalso Now - At < ?REPEAT end, Known)
           end,
    case Said of
        #{Subject := _} -> ok;
        #{} -> ?LOG_WARNING("~ts", [Text])
    end,
    put(?SAID, maps:merge(#{Subject => Now}, Said)),
    ok.

describe(End, Now) when End =< Now ->
    ["has expired on ", s2s_partners_layout:date(End)];
describe(End, Now) ->
    {Number, Unit} = case (End - Now) div ?DAY of
                         0 -> {(End - Now) div 3600, "hour"};
                         Days -> {Days, "day"}
                     end,
    ["expires in ", integer_to_list(Number), " ", Unit, [$s || Number =/= 1], ", on ", s2s_partners_layout:date(End)].
