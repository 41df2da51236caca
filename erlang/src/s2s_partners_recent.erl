%%% The last stream of each partner that came about, and the last that was refused, of each direction: what an administrator asks for
%%% first. One of each is kept, and only for partners of the list, so strangers cannot make it grow; a reload forgets those that have
%%% left the list.
-module(s2s_partners_recent).

-export([init/0, established/1, refused/3, of_partner/1, expiries/0, keep_only/1]).

-define(TABLE, s2s_partners_recent).

-type direction() :: in | out.
-type kind() :: established | refused.

%% Makes the table; the caller owns it.
-spec init() -> ok.
init() ->
    case ets:whereis(?TABLE) of
        undefined -> ?TABLE = ets:new(?TABLE, [named_table, public, {write_concurrency, true}]), ok;
        _ -> ok
    end.

-spec established(s2s_partners_report:about()) -> ok.
established(About) ->
    keep(established, About, #{}).

-spec refused(s2s_partners_report:about(), s2s_partners_nif:reason(), s2s_partners_nif:rule()) -> ok.
refused(About, Reason, Rule) ->
    keep(refused, About, #{reason => Reason, rule => Rule}).

keep(Kind, #{partner := Partner} = About, More) when is_binary(Partner), Partner =/= <<"unlisted">> ->
    Kept = maps:with([remote, host, address, method, tls, protocol, certificate, report], About),
    try ets:insert(?TABLE, {{Partner, direction(About), Kind}, maps:merge(Kept#{time => erlang:system_time(second)}, More)}) of
        true -> ok
    catch
        error:badarg -> ok                 % no table: what is only shown stops nothing
    end;
keep(_, _, _) ->
    ok.

direction(#{direction := incoming}) -> in;
direction(#{direction := outgoing}) -> out.

-spec of_partner(binary()) -> [{direction(), kind(), map() | none}].
of_partner(Partner) ->
    [{Direction, Kind, case ets:lookup(?TABLE, {Partner, Direction, Kind}) of
                           [{_, Kept}] -> Kept;
                           [] -> none
                       end} || Direction <- [in, out], Kind <- [established, refused]].

%% When the first certificate expires of the chain that each partner presented last, in seconds since the epoch.
-spec expiries() -> [{binary(), integer()}].
expiries() ->
    Seen = [{Partner, Time, NotAfter}
            || {{Partner, _, established}, #{time := Time, report := #{chain_not_after := NotAfter}}} <- ets:tab2list(?TABLE)],
    Last = lists:foldl(fun({Partner, Time, NotAfter}, Sofar) ->
                           case Sofar of
                               #{Partner := {Later, _}} when Later >= Time -> Sofar;
                               _ -> Sofar#{Partner => {Time, NotAfter}}
                           end
                       end, #{}, Seen),
    lists:sort([{Partner, NotAfter} || {Partner, {_, NotAfter}} <- maps:to_list(Last)]).

%% After a commit: partners that are no longer listed are forgotten.
-spec keep_only(fun((binary()) -> boolean())) -> ok.
keep_only(IsListed) ->
    lists:foreach(fun({{Partner, _, _} = Key, _}) ->
                      IsListed(Partner) orelse ets:delete(?TABLE, Key)
                  end, ets:tab2list(?TABLE)).
