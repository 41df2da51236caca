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

%% What could not be stored: {{LUser, LServer, Contact}, cancelled | added}. It counts, and is stored at the next occasion. Of one user
%% no more than are stored.
-define(UNSAVED, s2s_partners_cancellations_unsaved).
-define(UNSAVED_MAX, 100000).
%% {Host, Backend} of those that can be used; {{repairing, Host}, Pid} of the process that tries; {{said, What}, Second}; {late, Second}
%% when one has not answered in time.
-define(BACKENDS, s2s_partners_cancellations_backends).
%% A database that does not answer holds up the start of ejabberd no longer than this; where many hosts share it, the next of them no
%% longer than that. It is tried again so often.
-define(START_MS, 3000).
-define(NEXT_MS, 50).
-define(AGAIN_MS, 10000).
%% Seconds between two lines about the same.
-define(QUIET, 60).

%% Makes the tables. Called once a node, by a process that lives as long as the node serves.
-spec init() -> ok.
init() ->
    lists:foreach(fun({Name, Type}) ->
                          ets:whereis(Name) =/= undefined orelse
                              ets:new(Name, [Type, named_table, public, {read_concurrency, true}])
                  end, [{?UNSAVED, ordered_set}, {?BACKENDS, set}]),
    ok.

%% The database of a virtual host, by its type (gen_mod's db_type). One that fails is tried again until it can be used; nobody is
%% authorised automatically meanwhile.
-spec init(Host :: binary(), DbType :: atom()) -> ok.
init(Host, DbType) ->
    Backend = gen_mod:db_mod(DbType, ?MODULE),
    ets:delete(?BACKENDS, Host),
    Ref = make_ref(),
    Pid = repair(Host, Backend, {self(), Ref}),
    receive {Ref, Pid} -> ok
    after patience() ->
        ets:insert(?BACKENDS, {late, erlang:monotonic_time(second)}),
        unusable(Host, "no answer")
    end.

patience() ->
    Now = erlang:monotonic_time(second),
    case ets:lookup(?BACKENDS, late) of
        [{_, At}] when Now - At < ?QUIET -> ?NEXT_MS;
        _ -> ?START_MS
    end.

unusable(Host, Reason) ->
    say({unusable, Host}, "The table of cancelled contacts of ~ts cannot be used; nobody is authorised automatically there until it can, "
        "which is tried every ~b seconds: ~p", [Host, ?AGAIN_MS div 1000, Reason]).

%% In a process of its own, one a host; the last one that was started goes on. Tell: who is told of the first attempt.
repair(Host, Backend, Tell) ->
    Pid = spawn(fun() ->
                        receive go -> ok end,
                        try try_to_use(Host, Backend, Tell)
                        catch error:badarg -> ok    % the tables have gone
                        end
                end),
    ets:insert(?BACKENDS, {{repairing, Host}, Pid}),
    Pid ! go,
    Pid.

try_to_use(Host, Backend, Tell) ->
    Usable = ets:member(?BACKENDS, Host) orelse is_usable(Host, Backend),
    case ets:lookup(?BACKENDS, {repairing, Host}) =:= [{{repairing, Host}, self()}] of
        true ->
            Usable andalso ets:insert(?BACKENDS, {Host, Backend}),
            told(Tell),
            case Usable andalso save_cancelled(Host, Backend) of
                true ->
                    Tell =:= nobody andalso ?LOG_INFO("The table of cancelled contacts of ~ts can be used, and nothing waits for it", [Host]),
                    ets:delete_object(?BACKENDS, {{repairing, Host}, self()}),
                    ok;
                false ->
                    receive again -> ok     % the tests do not wait
                    after ?AGAIN_MS -> ok
                    end,
                    try_to_use(Host, Backend, nobody)
            end;
        false ->
            told(Tell)
    end.

told(nobody) -> ok;
told({Pid, Ref}) -> Pid ! {Ref, self()}, ok.

is_usable(Host, Backend) ->
    try Backend:init(Host) of
        ok ->
            true;
        {error, Reason} ->
            unusable(Host, Reason),
            false
    catch
        _:Reason ->
            unusable(Host, Reason),
            false
    end.

%% What users of the host have cancelled while it could not be stored; true: nothing is left. What they have added waits for their own
%% next change: were it stored while they cancel the contact again, the cancellation would be lost.
save_cancelled(Host, Backend) ->
    lists:all(fun({{LUser, LServer, Contact}, cancelled} = Row) ->
                      try Backend:write(LUser, LServer, Contact, erlang:system_time(second)) of
                          ok -> ets:delete_object(?UNSAVED, Row);
                          {error, _} -> false
                      catch
                          _:_ -> false
                      end
              end, ets:match_object(?UNSAVED, {{'_', Host, '_'}, cancelled})).

%% A line, unless the same has been said a moment ago: strangers' stanzas ask.
say(What, Format, Arguments) ->
    Now = erlang:monotonic_time(second),
    case ets:lookup(?BACKENDS, {said, What}) of
        [{_, At}] when Now - At < ?QUIET ->
            ok;
        _ ->
            ets:insert(?BACKENDS, {{said, What}, Now}),
            ?LOG_ERROR(Format, Arguments)
    end.

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
                    say({read, LServer}, "Cannot read which contacts ~ts@~ts has cancelled, nobody is authorised automatically until "
                        "it can be (said once a minute at most): ~p", [LUser, LServer, Reason]),
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
            say({forget, LServer}, "Cannot forget which contacts ~ts@~ts has cancelled (said once a minute at most): ~p",
                [LUser, LServer, Reason])
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
    say({store, LServer}, "Cannot store that ~ts@~ts has ~ts a contact; it holds until the next restart, or longer when it can be stored "
        "by then (said once a minute at most): ~p", [LUser, LServer, What, Reason]),
    Key = {LUser, LServer, binary:copy(Contact)},
    case ets:member(?UNSAVED, Key) orelse has_room(LUser, LServer) of
        true -> ets:insert(?UNSAVED, {Key, What});
        %% To forget that somebody was added is to go on without them.
        false when What =:= added -> true;
        false -> ets:insert(?UNSAVED, {{LUser, LServer, ?EVERYBODY}, What})
    end,
    What =:= cancelled andalso repair(LServer),
    ok.

has_room(LUser, LServer) ->
    ets:info(?UNSAVED, size) < ?UNSAVED_MAX
        andalso ets:select_count(?UNSAVED, [{{{LUser, LServer, '_'}, '_'}, [], [true]}]) < ?CONTACTS_MAX.

%% Unless somebody does so already, or the host has never had a database.
repair(Host) ->
    case ets:lookup(?BACKENDS, Host) of
        [{_, Backend}] -> ets:member(?BACKENDS, {repairing, Host}) orelse repair(Host, Backend, nobody);
        [] -> ok
    end.

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
