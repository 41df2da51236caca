%%% Cancelled contacts in Mnesia: a table like the roster's, on disk and in memory. Written in a transaction, which becomes part of
%%% the roster's where that is in Mnesia too: what the roster takes back is taken back here.
-module(s2s_partners_cancellations_mnesia).

-export([init/1, find/3, contacts/2, write/4, delete/3, remove_user/2]).

-define(TABLE, s2s_partners_cancelled).

-record(?TABLE, {key = {<<>>, <<>>, <<>>} :: {LUser :: binary(), LServer :: binary(), Contact :: binary()},
                 us = {<<>>, <<>>} :: {LUser :: binary(), LServer :: binary()} | '_',
                 seconds = 0 :: integer()}).

-spec init(binary()) -> ok | {error, term()}.
init(_Host) ->
    case ejabberd_mnesia:create(?MODULE, ?TABLE, [{disc_copies, [node()]}, {attributes, record_info(fields, ?TABLE)}, {index, [us]}]) of
        {atomic, ok} -> ok;
        {atomic, _} -> ok;
        Error -> {error, Error}
    end.

-spec find(binary(), binary(), binary()) -> {ok, boolean()} | {error, term()}.
find(LUser, LServer, Contact) ->
    done(mnesia:is_transaction() orelse dirty, fun() -> mnesia:read(?TABLE, {LUser, LServer, Contact}) =/= [] end).

-spec contacts(binary(), binary()) -> {ok, [binary()]} | {error, term()}.
contacts(LUser, LServer) ->
    done(mnesia:is_transaction() orelse dirty,
         fun() ->
                 [Contact || #?TABLE{key = {_, _, Contact}} <- mnesia:index_read(?TABLE, {LUser, LServer}, #?TABLE.us)]
         end).

-spec write(binary(), binary(), binary(), integer()) -> ok | {error, term()}.
write(LUser, LServer, Contact, Seconds) ->
    Row = #?TABLE{key = {LUser, LServer, Contact}, us = {LUser, LServer}, seconds = Seconds},
    changed(fun() -> mnesia:write(Row) end).

-spec delete(binary(), binary(), binary()) -> ok | {error, term()}.
delete(LUser, LServer, Contact) ->
    changed(fun() -> mnesia:delete({?TABLE, {LUser, LServer, Contact}}) end).

-spec remove_user(binary(), binary()) -> ok | {error, term()}.
remove_user(LUser, LServer) ->
    changed(fun() ->
                    lists:foreach(fun mnesia:delete_object/1, mnesia:index_read(?TABLE, {LUser, LServer}, #?TABLE.us))
            end).

changed(Fun) ->
    case mnesia:transaction(Fun) of
        {atomic, ok} -> ok;
        {aborted, Reason} -> {error, Reason}
    end.

%% Within a transaction its own writes are seen; outside none is made for a look.
done(true, Fun) ->
    {ok, Fun()};
done(dirty, Fun) ->
    try {ok, mnesia:async_dirty(Fun)}
    catch exit:{aborted, Reason} -> {error, Reason}
    end.
