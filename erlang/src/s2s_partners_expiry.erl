%%% Certificates and revocation lists that come to their end: our own certificates, the authorities of partners, what partners show on
%%% their streams, and lists that nobody has renewed; and pins that nobody shows any more. Each is warned about once a day. What was said is
%%% kept by partner of the list, so that strangers cannot make it grow.
-module(s2s_partners_expiry).

-export([init/0, hooks/0, committed/0, tick/0, lists/0, seen/1]).
%% Global hooks.
-export([certificates_read/0]).
%% For the tests.
-export([seen/2]).

-include_lib("kernel/include/logger.hrl").

-define(DAY, 86400).
-define(AHEAD, (14 * ?DAY)).
%% Not after the day's check, or that would come too early every time.
-define(REPEAT, (?DAY - 600)).
%% A list is due when less than this part of its time is left.
-define(LIST_SHARE, 4).
-define(CHECKED, {?MODULE, checked}).
%% {{Kind, Subject, What}, When it was said}, and {{pinned, Partner, Pins}, When one of them was seen last}
-define(SAID, s2s_partners_expiry_said).
%% Certificates of one partner that are warned about in a day.
-define(PER_SUBJECT, 8).
%% The only pin is that of a certificate which ends so soon; no pin has been seen for so long.
-define(PIN_AHEAD, (30 * ?DAY)).
-define(PIN_UNSEEN, (30 * ?DAY)).

%% Makes the table; the caller owns it.
-spec init() -> ok.
init() ->
    case ets:whereis(?SAID) of
        undefined -> ?SAID = ets:new(?SAID, [named_table, public, ordered_set]);
        _ -> ?SAID
    end,
    ok.

%% ejabberd has read the files of its own certificates only behind the hooks at which a configuration comes into force (ejabberd_pkix:
%% config_reloaded at 100, ejabberd_started at 30).
-spec hooks() -> ok.
hooks() ->
    ejabberd_hooks:add(config_reloaded, ?MODULE, certificates_read, 110),
    ejabberd_hooks:add(ejabberd_started, ?MODULE, certificates_read, 60).

%% A configuration has come into force. Of our own certificates ejabberd still has those from before (certificates_read/0).
-spec committed() -> ok.
committed() ->
    Now = os:system_time(second),
    listed(Now),
    check(Now).

%% ejabberd knows its own certificates.
-spec certificates_read() -> ok.
certificates_read() ->
    beside(fun() ->
                   Now = os:system_time(second),
                   [say(Found, Now) || Found <- own(s2s_partners_in_force:vhosts(), Now)]
           end).

%% Called every minute: looks once a day, and when the clock has been set back.
-spec tick() -> ok.
tick() ->
    Now = os:system_time(second),
    case get(?CHECKED) of
        Last when is_integer(Last), Now >= Last, Now - Last < ?DAY -> ok;
        Before ->
            put(?CHECKED, Now),
            Before =:= undefined orelse s2s_partners_observe:remind(),
            certificates_read(),
            check(Now)
    end.

check(Now) ->
    case s2s_partners_in_force:current() of
        none -> ok;
        #{stores := Stores} ->
            forget(Now),
            lists:foreach(fun(Found) -> say(Found, Now) end, anchors(Stores, Now)),
            lists(),
            beside(fun() ->
                           pins_unseen(Now),
                           lists:foreach(fun(#{stage := established} = View) -> seen(View, Now);
                                            (_) -> ok
                                         end, s2s_partners_live:streams())
                   end)
    end.

%% In a process of its own, whose memory is gone afterwards. A warning that cannot be given is no reason to hold anything up.
beside(Action) ->
    _ = spawn(fun() ->
                      try Action()
                      catch Class:Reason:Stack -> s2s_partners_report:internal_error(expiry, Class, Reason, Stack)
                      end
              end),
    ok.

own(Hosts, Now) ->
    Files = lists:foldl(fun({Host, File, NotAfter}, Sofar) ->
                                maps:update_with(File, fun({Of, End}) -> {[Host | Of], End} end, {[Host], NotAfter}, Sofar)
                        end, #{}, [{Host, File, NotAfter} || {Host, File, #{not_after := NotAfter}} <- s2s_partners_readiness:own_certificates(Hosts)]),
    [{{own, File, End}, io_lib:format("The certificate of this server in ~ts (for ~ts) ~ts; renew it and reload, or partners will refuse it",
                                      [File, lists:join(", ", lists:sort(Hosts1)), describe(End, Now)])}
     || {File, {Hosts1, End}} <- maps:to_list(Files), End - Now =< ?AHEAD].

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

%%% What partners show

%% A stream that has been established, as it is published. Called in its process.
-spec seen(map()) -> ok.
seen(View) ->
    seen(View, os:system_time(second)).

%% The same at a moment, in seconds since the epoch.
-spec seen(map(), integer()) -> ok.
seen(#{certificate := valid, report := Report} = View, Now) ->
    Label = maps:get(partner, View, <<"unlisted">>),
    pins_seen(Label, View, Report, Now),
    case ends(Report) of
        End when is_integer(End), End - Now =< ?AHEAD ->
            Issuer = maps:get(issuer, Report, <<"?">>),
            Serial = maps:get(serial, Report, <<"?">>),
            Which = case Report of
                        #{not_after := End} -> "";
                        _ -> " (a certificate above its own)"
                    end,
            say({{partner, Label, {Serial, Issuer}},
                 io_lib:format("The certificate of ~ts (partner ~ts) ~ts~ts; from then on it is refused (certificate-expired). Issued by ~ts, "
                               "serial ~ts", [s2s_partners_report:printable(maps:get(remote, View, <<"?">>)), Label, describe(End, Now), Which,
                                              s2s_partners_report:cut(Issuer), Serial])}, Now);
        _ ->
            ok
    end;
seen(_, _) ->
    ok.

%% The first of the chain to expire, the anchor included.
ends(#{chain_not_after := Chain, not_after := Own}) -> min(Chain, Own);
ends(#{chain_not_after := Chain}) -> Chain;
ends(#{not_after := Own}) -> Own;
ends(_) -> none.

%%% Pins

%% Partners that have left the list are forgotten. Pins that are new, or others than before, begin to count now. A restart begins anew: nothing of it is on disk.
listed(Now) ->
    Policies = case s2s_partners_in_force:current() of
                   #{policies := ByHost} -> lists:usort(maps:values(ByHost));
                   none -> []
               end,
    beside(fun() ->
                   Partners = lists:append([s2s_partners_nif:policy_partners(Policy) || Policy <- Policies]),
                   Names = maps:from_list([{Name, []} || #{name := Name} <- Partners]),
                   s2s_partners_recent:keep_only(fun(Name) -> is_map_key(Name, Names) end),
                   Pinned = lists:usort([{pinned, Name, Pins} || #{name := Name, pins := [_ | _] = Pins} <- Partners]),
                   Kept = ets:select(?SAID, [{{{pinned, '$1', '$2'}, '_'}, [], [{{pinned, '$1', '$2'}}]}]),
                   lists:foreach(fun(Key) -> ets:delete(?SAID, Key) end, Kept -- Pinned),
                   lists:foreach(fun(Key) -> ets:insert_new(?SAID, {Key, Now}) end, Pinned)
           end).

pins_seen(Label, View, Report, Now) ->
    lists:foreach(fun(Pins) ->
                          ets:insert(?SAID, {{pinned, Label, Pins}, Now}),
                          only_pin(Pins, Label, View, Report, Now)
                  end, ets:select(?SAID, [{{{pinned, Label, '$1'}, '_'}, [], ['$1']}])).

only_pin([Pin], Label, View, #{pins := [Pin | _], not_after := End}, Now) when End - Now =< ?PIN_AHEAD ->
    say({{pin, Label, Pin},
         io_lib:format("Only one key is pinned for partner ~ts, and it is that of the certificate of ~ts itself, which ~ts. If the partner changes "
                       "its key then, it is refused (certificate-pin-mismatch): pin its next key, or its authority's, as well",
                       [Label, s2s_partners_report:printable(maps:get(remote, View, <<"?">>)), describe(End, Now)])}, Now);
only_pin(_, _, _, _, _) ->
    ok.

pins_unseen(Now) ->
    [say({{pin, Label, unseen},
          io_lib:format("No key that is pinned for partner ~ts has been seen for ~b days: ask the partner whether it still has one of them, "
                        "before its next stream is refused (certificate-pin-mismatch)", [Label, (Now - At) div ?DAY])}, Now)
     || {Label, At} <- ets:select(?SAID, [{{{pinned, '$1', '_'}, '$2'}, [], [{{'$1', '$2'}}]}]), Now - At >= ?PIN_UNSEEN].

%%% Once a day

%% Kind, Subject and What: not more than so much of each subject.
say({{Kind, Subject, _} = Key, Text}, Now) ->
    case ets:lookup(?SAID, Key) of
        [{_, At}] when Now >= At, Now - At < ?REPEAT ->
            ok;
        Before ->
            Said = ets:select_count(?SAID, [{{{Kind, Subject, '_'}, '_'}, [], [true]}]),
            case Before =/= [] orelse Said < ?PER_SUBJECT of
                true ->
                    ets:insert(?SAID, {Key, Now}),
                    ?LOG_WARNING("~ts", [Text]);
                false ->
                    ok
            end
    end,
    ok.

%% What may be said again.
forget(Now) ->
    Old = ets:select(?SAID, [{{{'$1', '$2', '$3'}, '$4'}, [{'=/=', '$1', pinned}], [{{{{'$1', '$2', '$3'}}, '$4'}}]}]),
    lists:foreach(fun({Key, At}) -> (Now >= At andalso Now - At < ?REPEAT) orelse ets:delete(?SAID, Key) end, Old).

describe(End, Now) when End =< Now ->
    ["has expired on ", s2s_partners_layout:date(End)];
describe(End, Now) ->
    {Number, Unit} = case (End - Now) div ?DAY of
                         0 -> {(End - Now) div 3600, "hour"};
                         Days -> {Days, "day"}
                     end,
    ["expires in ", integer_to_list(Number), " ", Unit, [$s || Number =/= 1], ", on ", s2s_partners_layout:date(End)].
