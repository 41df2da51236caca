%%% Whom a session has sent directed presence to, of partners for whom that counts (public_unverified with group chat): a room is
%%% nobody's contact. An entry ends with that session's unavailable to the contact, and with the session. Each node of a cluster has
%%% all entries (s2s_partners_everywhere), since the contact's stream may be another's.
-module(s2s_partners_directed).

-export([init/0, sent/3, passed/3, directed/2, taken_back/3, session_ended/1, user_removed/1, count/0]).
-export_type([user/0]).

%% No more of one session, and of all together. Beyond that presence goes out, but the contact does not count as listed.
-define(SESSION_MAX, 1000).
-define(TOTAL_MAX, 1000000).

-define(TABLE, ?MODULE).
-define(COUNTS, s2s_partners_directed_counts).

-type user() :: {LUser :: binary(), LServer :: binary()}.
%% Each entry stands there twice, as {contact, User, Contact, Resource} and as {session, User, Resource, Contact}: both questions are
%% answered by the next key of an ordered table.

-spec init() -> ok.
init() ->
    ok = table(?TABLE, ordered_set),
    table(?COUNTS, set).

table(Name, Type) ->
    case ets:whereis(Name) of
        undefined ->
            Name = ets:new(Name, [Type, named_table, public, {read_concurrency, true}, {write_concurrency, true}]),
            ok;
        _ ->
            ok
    end.

%% The session's presence goes to the contact (canonical bare address).
-spec sent(user(), Resource :: binary(), Contact :: binary()) -> ok | full.
sent(User, Resource, Contact) ->
    case passed(User, Resource, Contact) of
        true ->
            ok;
        false ->
            case reserve({User, Resource}) of
                true ->
                    ets:insert(?TABLE, [{{contact, User, Contact, Resource}}, {{session, User, Resource, Contact}}]),
                    ok;
                false ->
                    full
            end
    end.

reserve(Session) ->
    Max = ?SESSION_MAX,
    case ets:info(?TABLE, size) < 2 * ?TOTAL_MAX andalso
         ets:update_counter(?COUNTS, Session, {2, 1, Max + 1, Max + 1}, {Session, 0}) of
        false ->
            false;
        Count when Count > Max ->
            _ = ets:update_counter(?COUNTS, Session, {2, -1}, {Session, 1}),
            false;
        _ ->
            true
    end.

%% Whether that session's presence has gone to the contact and has not been taken back.
-spec passed(user(), Resource :: binary(), Contact :: binary()) -> boolean().
passed(User, Resource, Contact) ->
    ets:member(?TABLE, {contact, User, Contact, Resource}).

%% Whether any session's has.
-spec directed(user(), Contact :: binary()) -> boolean().
directed(User, Contact) ->
    %% A resource is never less than the empty one.
    case ets:next(?TABLE, {contact, User, Contact, 0}) of
        {contact, User, Contact, _} -> true;
        _ -> false
    end.

%% The session's unavailable has gone to the contact. Whether there was anything to take back.
-spec taken_back(user(), Resource :: binary(), Contact :: binary()) -> boolean().
taken_back(User, Resource, Contact) ->
    case ets:take(?TABLE, {contact, User, Contact, Resource}) of
        [] ->
            false;
        [_] ->
            ets:delete(?TABLE, {session, User, Resource, Contact}),
            release({User, Resource}),
            true
    end.

release(Session) ->
    case ets:update_counter(?COUNTS, Session, {2, -1}, {Session, 1}) of
        Count when Count =< 0 ->
            ets:delete_object(?COUNTS, {Session, Count}),
            ok;
        _ ->
            ok
    end.

%% Whether there was anything to forget.
-spec session_ended({user(), Resource :: binary()}) -> boolean().
session_ended(Session) ->
    session_ended(Session, false).

session_ended({User, Resource} = Session, Found) ->
    case ets:next(?TABLE, {session, User, Resource, 0}) of
        {session, User, Resource, Contact} ->
            _ = taken_back(User, Resource, Contact),
            session_ended(Session, true);
        _ ->
            Found
    end.

%% The account is gone: the user who gets its name later has sent nothing.
-spec user_removed(user()) -> ok.
user_removed(User) ->
    case ets:next(?TABLE, {session, User, 0, 0}) of
        {session, User, Resource, _} ->
            _ = session_ended({User, Resource}),
            user_removed(User);
        _ ->
            ok
    end.

%% Entries in all.
-spec count() -> non_neg_integer().
count() ->
    ets:info(?TABLE, size) div 2.
