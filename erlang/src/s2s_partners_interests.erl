%%% What mod_caps remembers of remote contacts: what each of their resources can do, and so which events it wants (XEP-0163, section
%%% 4.3.2). A session keeps an entry for every resource that says so until that resource is unavailable, and a contact can invent resources
%%% without end. So many remote resources of one user's contacts are let through with their capabilities; further ones come without.
-module(s2s_partners_interests).

-export([init/0, received/2, session_ended/1, count/0]).

-include_lib("xmpp/include/xmpp.hrl").

-define(USER_MAX, 1000).
-define(TOTAL_MAX, 1000000).

%% {{User, Contact}}, and {User, Number}.
-define(TABLE, ?MODULE).
-define(COUNTS, s2s_partners_interests_counts).

-type user() :: {LUser :: binary(), LServer :: binary()}.

-spec init() -> ok.
init() ->
    lists:foreach(fun({Name, Type}) ->
                          ets:whereis(Name) =/= undefined orelse
                              ets:new(Name, [Type, named_table, public, {read_concurrency, true}, {write_concurrency, true}])
                  end, [{?TABLE, ordered_set}, {?COUNTS, set}]),
    ok.

%% Presence of a contact's to a user. Sees: whether the contact may see the user's presence; mod_caps keeps nothing of others.
-spec received(presence(), Sees :: fun(() -> boolean())) -> presence().
received(#presence{type = available, sub_els = Els} = Presence, Sees) ->
    case lists:any(fun is_caps/1, Els) of
        true ->
            Key = {User, _} = key(Presence),
            case ets:member(?TABLE, Key) orelse not Sees() orelse admit(User, Key) of
                true -> Presence;
                false -> Presence#presence{sub_els = [El || El <- Els, not is_caps(El)]}
            end;
        false ->
            Presence
    end;
received(#presence{type = Type} = Presence, _) when Type =:= unavailable; Type =:= error ->
    forget(key(Presence)),
    Presence;
received(Presence, _) ->
    Presence.

is_caps(#caps{}) -> true;
is_caps(#xmlel{name = <<"c">>} = El) -> xmpp:get_ns(El) =:= ?NS_CAPS;
is_caps(_) -> false.

key(#presence{from = From, to = #jid{luser = LUser, lserver = LServer}}) ->
    {{LUser, LServer}, jid:tolower(From)}.

admit(User, Key) ->
    case ets:update_counter(?COUNTS, User, {2, 1}, {User, 0}) of
        Count when Count =< ?USER_MAX ->
            ets:info(?TABLE, size) < ?TOTAL_MAX andalso ets:insert_new(?TABLE, {copy(Key)}) orelse not release(User);
        _ ->
            not release(User)
    end.

%% What is kept must not keep the element that it came in.
copy({{LUser, LServer}, {U, S, R}}) ->
    {{binary:copy(LUser), binary:copy(LServer)}, {binary:copy(U), binary:copy(S), binary:copy(R)}}.

release(User) ->
    case ets:update_counter(?COUNTS, User, {2, -1}, {User, 1}) of
        Count when Count =< 0 -> ets:delete_object(?COUNTS, {User, Count});
        _ -> true
    end.

forget({User, _} = Key) ->
    case ets:take(?TABLE, Key) of
        [] -> ok;
        [_] -> release(User), ok
    end.

%% The user's last session has ended, and with it what ejabberd has kept.
-spec session_ended(user()) -> ok.
session_ended(User) ->
    case ets:next(?TABLE, {User, 0}) of
        {User, _} = Key ->
            forget(Key),
            session_ended(User);
        _ ->
            ok
    end.

-spec count() -> non_neg_integer().
count() ->
    ets:info(?TABLE, size).
