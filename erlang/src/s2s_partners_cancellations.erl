%%% Whom a user has cancelled: those contacts are not authorised automatically, over restarts, until the user adds them again. Kept
%%% in the database that the module's db_type names, a row for each; a row for nobody (<<>>) stands for everybody who is not in
%%% the roster, from when a user has cancelled more than is kept.
-module(s2s_partners_cancellations).

-export([init/0, init/2, is_cancelled/4, cancel/3, add/3, user_removed/2]).

-include_lib("kernel/include/logger.hrl").

-callback init(Host :: binary()) -> ok | {error, term()}.
-callback find(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> {ok, boolean()} | {error, term()}.
-callback contacts(LUser :: binary(), LServer :: binary()) -> {ok, [Contact :: binary()]} | {error, term()}.
-callback write(LUser :: binary(), LServer :: binary(), Contact :: binary(), Seconds :: integer()) -> ok | {error, term()}.
-callback delete(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> ok | {error, term()}.
-callback remove_user(LUser :: binary(), LServer :: binary()) -> ok | {error, term()}.

%% Kept for one user. To forget the oldest would undo what the user has decided.
-define(CONTACTS_MAX, 1000).
-define(BYTES_MAX, 100000).
-define(EVERYBODY, <<>>).

%% What could not be stored: {{LUser, LServer, Contact}, cancelled | added}. It counts, and is stored at the next occasion.
-define(UNSAVED, s2s_partners_cancellations_unsaved).
-define(UNSAVED_MAX, 100000).
%% {Host, Backend}
-define(BACKENDS, s2s_partners_cancellations_backends).

%% Makes the tables. Called once a node, by a process that lives as long as the node serves.
-spec init() -> ok.
init() ->
    lists:foreach(fun({Name, Type}) ->
                          ets:whereis(Name) =/= undefined orelse
                              ets:new(Name, [Type, named_table, public, {read_concurrency, true}])
                  end, [{?UNSAVED, ordered_set}, {?BACKENDS, set}]),
    ok.

%% The database of a virtual host, by its type (gen_mod's db_type). What fails is logged: nobody is authorised automatically then.
-spec init(Host :: binary(), DbType :: atom()) -> ok.
init(Host, DbType) ->
    Backend = gen_mod:db_mod(DbType, ?MODULE),
    try Backend:init(Host) of
        ok ->
            ets:insert(?BACKENDS, {Host, Backend}),
            ok;
        {error, Reason} ->
            unusable(Host, Reason)
    catch
        _:Reason -> unusable(Host, Reason)
    end.

unusable(Host, Reason) ->
    ets:delete(?BACKENDS, Host),
    ?LOG_ERROR("The table of cancelled contacts of ~ts cannot be used, nobody is authorised automatically there: ~p", [Host, Reason]),
    ok.

%% Contact: a canonical bare address. Error: it cannot be found out.
-spec is_cancelled(LUser :: binary(), LServer :: binary(), Contact :: binary(), Listed :: boolean()) -> boolean() | error.
is_cancelled(LUser, LServer, Contact, Listed) ->
    case find(LUser, LServer, Contact) of
        {ok, true} -> true;
        {ok, false} when Listed -> false;
        {ok, false} ->
            case find(LUser, LServer, ?EVERYBODY) of
                {ok, Everybody} -> Everybody;
                error -> error
            end;
        error -> error
    end.

find(LUser, LServer, Contact) ->
    case ets:lookup(?UNSAVED, {LUser, LServer, Contact}) of
        [{_, What}] ->
            {ok, What =:= cancelled};
        [] ->
            try
                {ok, _} = (backend(LServer)):find(LUser, LServer, Contact)
            catch
                _:Reason ->
                    ?LOG_ERROR("Cannot read which contacts ~ts@~ts has cancelled: ~p", [LUser, LServer, Reason]),
                    error
            end
    end.

%% The user has cancelled the contact (unsubscribed, removed from the roster).
-spec cancel(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> ok.
cancel(LUser, LServer, Contact) ->
    save_the_rest(LUser, LServer),
    try
        find(LUser, LServer, Contact) =:= {ok, true} orelse store(LUser, LServer, room_for(LUser, LServer, Contact), cancelled)
    of
        _ -> ok
    catch
        _:Reason -> keep(LUser, LServer, Contact, cancelled, Reason)
    end.

%% The contact, or everybody who is not in the roster when no more contacts are kept.
room_for(LUser, LServer, Contact) ->
    {ok, Contacts} = (backend(LServer)):contacts(LUser, LServer),
    Bytes = lists:sum([byte_size(Other) || Other <- Contacts]) + byte_size(Contact),
    case length(Contacts) >= ?CONTACTS_MAX orelse Bytes > ?BYTES_MAX of
        true ->
            lists:member(?EVERYBODY, Contacts) orelse
                ?LOG_WARNING("~ts@~ts has cancelled ~b contacts; from now on only contacts in the roster are authorised automatically",
                             [LUser, LServer, length(Contacts)]),
            ?EVERYBODY;
        false ->
            Contact
    end.

%% The user has added the contact (subscribe, subscribed, any roster set for it).
-spec add(LUser :: binary(), LServer :: binary(), Contact :: binary()) -> ok.
add(LUser, LServer, Contact) ->
    save_the_rest(LUser, LServer),
    case find(LUser, LServer, Contact) of
        {ok, false} -> ok;
        _ -> store(LUser, LServer, Contact, added)
    end.

%% A name that is given to somebody else later has nobody's list.
-spec user_removed(LUser :: binary(), LServer :: binary()) -> ok.
user_removed(LUser, LServer) ->
    _ = ets:match_delete(?UNSAVED, {{LUser, LServer, '_'}, '_'}),
    try
        ok = (backend(LServer)):remove_user(LUser, LServer)
    catch
        _:Reason ->
            ?LOG_ERROR("Cannot forget which contacts ~ts@~ts has cancelled: ~p", [LUser, LServer, Reason]),
            ok
    end.

%% Raises where the host has no database that can be used.
backend(Host) ->
    case ets:lookup(?BACKENDS, Host) of
        [{_, Backend}] -> Backend;
        [] -> error({no_database, Host})
    end.

store(LUser, LServer, Contact, What) ->
    try
        ok = put_down(LUser, LServer, Contact, What),
        ets:delete(?UNSAVED, {LUser, LServer, Contact}),
        ok
    catch
        _:Reason -> keep(LUser, LServer, Contact, What, Reason)
    end.

put_down(LUser, LServer, Contact, cancelled) ->
    (backend(LServer)):write(LUser, LServer, Contact, erlang:system_time(second));
put_down(LUser, LServer, Contact, added) ->
    (backend(LServer)):delete(LUser, LServer, Contact).

keep(LUser, LServer, Contact, What, Reason) ->
    ?LOG_ERROR("Cannot store that ~ts@~ts has ~ts a contact; it holds until the next restart, or longer when it can be stored by then: "
               "~p", [LUser, LServer, What, Reason]),
    Kept = case ets:info(?UNSAVED, size) >= ?UNSAVED_MAX of
               true when What =:= cancelled -> ?EVERYBODY;
               _ -> Contact
           end,
    ets:insert(?UNSAVED, {{LUser, LServer, binary:copy(Kept)}, What}),
    ok.

%% Another try for what this user has decided while it could not be stored.
save_the_rest(LUser, LServer) ->
    case ets:next(?UNSAVED, {LUser, LServer, 0}) of
        {LUser, LServer, Contact} = Key ->
            case ets:lookup(?UNSAVED, Key) of
                [{_, What}] ->
                    try put_down(LUser, LServer, Contact, What) of
                        ok ->
                            ets:delete(?UNSAVED, Key),
                            save_the_rest(LUser, LServer);
                        {error, _} ->
                            ok
                    catch
                        _:_ -> ok
                    end;
                [] ->
                    ok
            end;
        _ ->
            ok
    end.
