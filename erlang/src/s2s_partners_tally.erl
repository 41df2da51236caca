%%% How many stanzas have passed unchanged: nearly all of them, so that counting one must cost next to nothing. One number for a virtual
%%% host, partner and direction, which a process that counts often keeps at hand for a moment.
-module(s2s_partners_tally).

-export([init/0, number/3, add/1, counts/0]).

-define(TABLE, ?MODULE).

%% Makes the table; the caller owns it.
-spec init() -> ok.
init() ->
    _ = ets:whereis(?TABLE) =/= undefined orelse ets:new(?TABLE, [named_table, public, {read_concurrency, true}]),
    ok.

%% To be kept for a second or so: where the table is made anew, its numbers are others.
-spec number(Host :: binary(), Partner :: binary(), in | out) -> counters:counters_ref() | none.
number(Host, Partner, Way) ->
    Key = {Host, Partner, Way},
    try ets:lookup_element(?TABLE, Key, 2)
    catch
        error:badarg -> new(Key)
    end.

%% The process that comes first makes it.
new(Key) ->
    try ets:insert_new(?TABLE, {Key, counters:new(1, [])}) of
        _ -> ets:lookup_element(?TABLE, Key, 2)
    catch
        error:badarg -> none               % no table: a number that cannot be counted stops nothing
    end.

-spec add(counters:counters_ref() | none) -> ok.
add(none) -> ok;
add(Number) -> counters:add(Number, 1, 1).

-spec counts() -> [{{Host :: binary(), Partner :: binary(), in | out}, pos_integer()}].
counts() ->
    [{Key, Count} || {Key, Number} <- ets:tab2list(?TABLE), (Count = counters:get(Number, 1)) > 0].
