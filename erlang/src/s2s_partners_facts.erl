%%% What the rules ask for about a local user and a contact, as ejabberd knows it at the moment of the stanza. Each fact is a word;
%%% what it means for the stanza is decided in C. Of what can change nothing is kept here but how many contacts of a partner a user has,
%%% for a minute.
-module(s2s_partners_facts).

-export([init/0, look_up/2, is_known_user/3, sees/3, asked/3, canonical/1, canonical_domain/1]).
-export_type([about/0]).

-include_lib("kernel/include/logger.hrl").
-include_lib("xmpp/include/xmpp.hrl").
-include_lib("ejabberd/include/mod_privacy.hrl").
-include_lib("ejabberd/include/mod_roster.hrl").

%% From so many contacts of one partner in the user's roster on nobody is authorised automatically; so many of its requests may
%% wait for the user (module/core/authorisation.h).
-define(CONTACTS_MAX, 500).
-define(WAITING_MAX, 200).
%% {{What, LUser, LServer, Partner}, Count, Second}: what was found in a roster, with one more for each request since. A partner that changes
%% a roster with each request would have all of it read again for the next. Seconds and rows; beyond that they begin anew.
-define(COUNTED, s2s_partners_facts_counted).
-define(COUNTED_S, 60).
-define(COUNTED_MAX, 10000).
%% Users whom a process believes to be there, and for how long.
-define(USERS, 16).
-define(USER_MS, 1000).
%% What a request may weigh that waits for the user: ejabberd keeps all of it. An element counts for more than its text.
-define(WEIGHT_MAX, 4096).
-define(ELEMENT_WEIGHT, 64).
-define(WEIGHT_DEPTH_MAX, 8).

%% A stanza between a local address and a contact.
-type about() :: #{direction := incoming | outgoing, own := jid(), contact := jid(), packet := stanza(),
                   policy := s2s_partners_nif:policy() | none}.

%% A user, and the contact's address in lower case; that the other way round is not mixed up.
-type roster_of() :: {LUser :: binary(), LServer :: binary()}.

%% Makes the table; the caller owns it.
-spec init() -> ok.
init() ->
    _ = ets:whereis(?COUNTED) =/= undefined orelse ets:new(?COUNTED, [named_table, public, {write_concurrency, true}]),
    ok.

%% Raises where a fact cannot be found out and has no word for that.
-spec look_up(s2s_partners_nif:fact(), about()) -> s2s_partners_nif:fact_value().
look_up(account, #{own := #jid{luser = LUser, lserver = LServer}}) ->
    word(user_exists(LUser, LServer), exists, missing);
look_up(listed, #{own := Own, contact := Contact}) ->
    listed(user(Own), Contact);
look_up(directed, #{own := Own, contact := Contact}) ->
    word(s2s_partners_directed:directed(user(Own), canonical(Contact)), yes, no);
look_up(requested, #{own := Own, contact := Contact, packet := Packet}) ->
    Asked = [asker(Own), request(Own, Contact, xmpp:get_id(Packet))],
    word(s2s_partners_everywhere:apply(s2s_partners_requests, answered, Asked), yes, no);
look_up(standing, #{own := Own, contact := Contact, packet := Packet}) ->
    standing(user(Own), Own, Contact, Packet);
look_up(blocked, #{direction := Direction, own := Own, contact := Contact, packet := Packet}) ->
    word(is_blocked(Direction, Own, Contact, Packet), yes, no);
look_up(contacts, #{own := Own, contact := Contact, policy := Policy}) ->
    contacts(user(Own), Contact, Policy);
look_up(waiting, #{own := Own, contact := Contact, policy := Policy, packet := Packet}) ->
    waiting(user(Own), Contact, Policy, Packet).

%% Backends are slow, so a stream's process believes for a second that a user is there: few users, whose account it has seen. Of one
%% who is removed meanwhile, ejabberd itself says what it says of those who are not there.
user_exists(LUser, LServer) ->
    Slot = {?MODULE, erlang:phash2(LUser, ?USERS)},
    Now = erlang:monotonic_time(millisecond),
    case get(Slot) of
        {LUser, LServer, Until} when Now < Until ->
            true;
        _ ->
            Exists = ejabberd_auth:user_exists(LUser, LServer),
            Exists andalso put(Slot, {binary:copy(LUser), binary:copy(LServer), Now + ?USER_MS}),
            Exists
    end.

%% Whether the process believes it at this time (monotonic milliseconds); nobody is asked.
-spec is_known_user(binary(), binary(), integer()) -> boolean().
is_known_user(LUser, LServer, Now) ->
    case get({?MODULE, erlang:phash2(LUser, ?USERS)}) of
        {LUser, LServer, Until} when Now < Until -> true;
        _ -> false
    end.

word(true, Yes, _) -> Yes;
word(false, _, No) -> No.

user(#jid{luser = LUser, lserver = LServer}) -> {LUser, LServer}.

%% A user has one share, whatever the resource; so has a component, which can invent addresses.
asker(#jid{luser = LUser, lserver = LServer}) ->
    case s2s_partners_in_force:vhost_of(LServer) of
        {ok, LServer} when LUser =/= <<>> -> {LUser, LServer};
        _ -> LServer
    end.

request(Own, Contact, Id) ->
    {jid:encode(Own), canonical_domain(Contact#jid.lserver), Id}.

%% Something was asked of a partner's bare domain; the answer may come back.
-spec asked(jid(), jid(), binary()) -> ok.
asked(Own, Contact, Id) ->
    _ = s2s_partners_everywhere:apply(s2s_partners_requests, remember, [asker(Own), request(Own, Contact, Id)]),
    ok.

%% The contact's bare address as everything of ours is keyed by it.
-spec canonical(jid()) -> binary().
canonical(#jid{luser = LUser, lserver = LServer}) ->
    jid:encode({LUser, canonical_domain(LServer), <<>>}).

%% What is no domain is nobody's, and stays as it is.
-spec canonical_domain(binary()) -> binary().
canonical_domain(Domain) ->
    case s2s_partners_nif:domain(Domain) of
        {ok, Canonical} -> Canonical;
        {error, _} -> Domain
    end.

%%% The roster

%% Whether the contact may see the user's presence, and so knows that there is such a user.
-spec sees(roster_of(), jid(), s2s_partners_nif:policy() | none) -> yes | no.
sees(User, Contact, _Policy) ->
    try
        word(is_authorised(User, Contact), yes, no)
    catch
        _:_ -> no
    end.

is_authorised({LUser, LServer}, #jid{lserver = Domain} = Contact) ->
    case subscription(LUser, LServer, Contact) of
        {Subscription, _, _} when Subscription =:= both; Subscription =:= from ->
            true;
        _ ->
            s2s_partners_nif:has_spellings(Domain) andalso
                lists:any(fun(#roster{subscription = Subscription}) -> Subscription =:= both orelse Subscription =:= from end,
                          items_of(Contact, readable(roster(LUser, LServer))))
    end.

%% What mod_roster and shared rosters know, as a rule from a cache.
subscription(LUser, LServer, Contact) ->
    Bare = jid:remove_resource(Contact),
    case is_on_disk(LServer) of
        true -> on_disk({LUser, LServer, jid:tolower(Bare)});
        false -> ejabberd_hooks:run_fold(roster_get_jid_info, LServer, {none, none, []}, [LUser, LServer, Bare])
    end.

%% Of each address that is not known yet, mod_roster would read the whole roster, and keep what it has found of it, also that there is
%% nothing: with invented addresses a stranger makes it read all that a user has, and forget what it keeps for others.
on_disk(Key) ->
    case ets_cache:lookup(roster_item_cache, Key) of
        {ok, Known} ->
            Known;
        _ ->
            try mnesia:dirty_read(roster, Key) of
                [#roster{subscription = Subscription, ask = Ask, groups = Groups}] -> {Subscription, Ask, Groups};
                [] -> {none, none, []}
            catch
                exit:_ -> {none, none, []}      % as ejabberd's hook
            end
    end.

%% Whether that is so: in a table of Mnesia's that is not in memory, and nobody but mod_roster knows of contacts. Believed for a second.
is_on_disk(LServer) ->
    Now = erlang:monotonic_time(second),
    case get({?MODULE, on_disk}) of
        {LServer, Now, Answer} ->
            Answer;
        _ ->
            Answer = try
                         [{_, mod_roster, _}] = ets:lookup_element(hooks, {roster_get_jid_info, LServer}, 2),
                         mod_roster_mnesia = gen_mod:db_mod(LServer, mod_roster),
                         mod_roster_mnesia:use_cache(LServer, roster)
                     catch
                         _:_ -> false
                     end,
            put({?MODULE, on_disk}, {binary:copy(LServer), Now, Answer}),
            Answer
    end.

%% "Nothing" may be an item without anything, no item, or a roster that could not be read: only the backend can tell.
listed({LUser, LServer}, Contact) ->
    case is_item(subscription(LUser, LServer, Contact)) of
        true ->
            yes;
        false ->
            case items(LUser, LServer, Contact) of
                {ok, Items} -> word(lists:any(fun is_in_roster/1, Items), yes, no);
                error -> unavailable
            end
    end.

%% The contact's items in every spelling of its domain.
items(LUser, LServer, #jid{lserver = Domain} = Contact) ->
    case s2s_partners_nif:has_spellings(Domain) of
        false ->
            item_of(LUser, LServer, Contact);
        true ->
            case roster(LUser, LServer) of
                {ok, Items} -> {ok, items_of(Contact, Items)};
                error -> error
            end
    end.

%% The item of that very spelling. A stranger's stanza must not cost more the more contacts a user has, nor show by its time that there is
%% such a user: Mnesia is asked for the one.
item_of(LUser, LServer, #jid{luser = U, lserver = S}) ->
    case gen_mod:is_loaded(LServer, mod_roster) of
        false ->
            {ok, []};
        true ->
            case gen_mod:db_mod(LServer, mod_roster) of
                mod_roster_mnesia ->
                    try {ok, mnesia:dirty_read(roster, {LUser, LServer, {U, S, <<>>}})}
                    catch exit:_ -> unreadable(LUser, LServer, exit)
                    end;
                _ ->
                    case roster(LUser, LServer) of
                        {ok, Items} -> {ok, [Item || #roster{jid = {U1, S1, <<>>}} = Item <- Items, U1 =:= U, S1 =:= S]};
                        error -> error
                    end
            end
    end.

%% Requests that wait for the user's answer are kept as items of this kind; ejabberd shows them to nobody as items. A group is the
%% user's own doing; the name can be the contact's (24.12).
is_item({none, none, Groups}) -> Groups =/= [];
is_item({none, in, Groups}) -> Groups =/= [];
is_item({_, _, _}) -> true.

is_in_roster(#roster{subscription = none, ask = in, groups = Groups}) -> Groups =/= [];
is_in_roster(#roster{}) -> true.

%% All items as they are stored, waiting requests among them.
roster(LUser, LServer) ->
    case gen_mod:is_loaded(LServer, mod_roster) of
        false ->
            {ok, []};
        true ->
            try kept_or_stored(LUser, LServer, gen_mod:db_mod(LServer, mod_roster)) of
                {ok, Items} -> {ok, Items};
                error -> unreadable(LUser, LServer, "the database has failed")
            catch
                Class:_ -> unreadable(LUser, LServer, Class)
            end
    end.

%% What ejabberd keeps of rosters that are not in memory is good until they change. It does not tell an empty one from one that it could
%% not read, which Mnesia does not either.
kept_or_stored(LUser, LServer, mod_roster_mnesia) ->
    {ok, mod_roster:get_roster(LUser, LServer)};
kept_or_stored(LUser, LServer, Backend) ->
    case mod_roster:get_roster(LUser, LServer) of
        [] -> Backend:get_roster(LUser, LServer);
        Items -> {ok, Items}
    end.

unreadable(LUser, LServer, Why) ->
    %% Once a minute: with each stanza a stranger could write a line.
    Now = erlang:monotonic_time(second),
    case get({?MODULE, complained}) of
        At when is_integer(At), Now - At < 60 ->
            ok;
        _ ->
            put({?MODULE, complained}, Now),
            ?LOG_ERROR("The roster of ~ts@~ts cannot be read, its public_unverified contacts are refused until it can "
                       "(roster-unavailable): ~ts", [LUser, LServer, Why])
    end,
    error.

readable({ok, Items}) -> Items.

%% In whatever spelling the user has written the domain.
items_of(#jid{luser = LUser, lserver = LServer}, Items) ->
    [Item || #roster{jid = {U, S, <<>>}} = Item <- Items, U =:= LUser, s2s_partners_nif:same_domain(S, LServer)].

%%% The contact's standing with the user

standing({LUser, LServer} = User, Own, Contact, Packet) ->
    case is_readable_block_list(LUser, LServer) andalso items(LUser, LServer, Contact) of
        false ->
            unavailable;
        error ->
            unavailable;
        {ok, Items} ->
            case is_denied(in, Own, Packet) orelse is_blocked(incoming, Own, Contact, Packet) of
                true ->
                    blocked;
                false ->
                    case is_authorised(User, Contact) of
                        true -> authorised;
                        false -> cancelled(User, Contact, lists:any(fun is_in_roster/1, Items))
                    end
            end
    end.

cancelled({LUser, LServer}, Contact, Listed) ->
    case s2s_partners_cancellations:is_cancelled(LUser, LServer, canonical(Contact), Listed) of
        true -> cancelled;
        false -> none;
        error -> unavailable
    end.

%% The hook says "allow" for a list that it cannot read.
is_readable_block_list(LUser, LServer) ->
    case gen_mod:is_loaded(LServer, mod_privacy) of
        false ->
            true;
        true ->
            case (gen_mod:db_mod(LServer, mod_privacy)):get_list(LUser, LServer, default) of
                {ok, _} -> true;
                error -> true;
                {error, _} -> false
            end
    end.

is_denied(Way, Own, Packet) ->
    deny =:= ejabberd_hooks:run_fold(privacy_check_packet, Own#jid.lserver, allow, [Own, Packet, Way]).

%% ejabberd compares what the user wrote with what the contact's server writes. Asked where there are more spellings: whether the
%% contact is blocked in any other that is in the user's list.
is_blocked(Direction, #jid{luser = LUser, lserver = LServer} = Own, #jid{lserver = Domain} = Contact, Packet) ->
    case gen_mod:is_loaded(LServer, mod_privacy) andalso s2s_partners_nif:has_spellings(Domain) of
        false ->
            false;
        true ->
            case mod_privacy:get_user_list(LUser, LServer, default) of
                {ok, {_, List}} ->
                    Others = lists:usort([S || #listitem{type = jid, value = {_, S, _}} <- List, S =/= Domain,
                                               s2s_partners_nif:same_domain(S, Domain)]),
                    lists:any(fun(S) -> is_blocked_as(Direction, Own, Contact#jid{server = S, lserver = S}, Packet) end, Others);
                error ->
                    false
            end
    end.

is_blocked_as(incoming, Own, Contact, Packet) ->
    is_denied(in, Own, xmpp:set_from(Packet, Contact));
is_blocked_as(outgoing, Own, Contact, Packet) ->
    is_denied(out, Own, xmpp:set_to(Packet, Contact)).

%%% Bounds

contacts(User, Contact, Policy) ->
    word(reaches(contacts, fun is_in_roster/1, ?CONTACTS_MAX, User, Contact, Policy), many, few).

%% A request that waits already is replaced, and a contact in the roster may always ask: their number is the user's own doing.
waiting({LUser, LServer}, Contact, Policy, Packet) ->
    case is_too_heavy(Packet) orelse items(LUser, LServer, Contact) of
        true ->
            full;
        error ->
            full;
        {ok, [_ | _]} ->
            room;
        {ok, []} ->
            Waits = fun(Item) -> not is_in_roster(Item) end,
            word(reaches(waiting, Waits, ?WAITING_MAX, {LUser, LServer}, Contact, Policy), full, room)
    end.

%% Whether so many items of that kind, or more, are of the contact's partner, its additional domains included; also where that cannot be
%% found out.
reaches(What, Counts, Limit, {LUser, LServer}, #jid{lserver = Domain}, Policy) ->
    Label = s2s_partners_nif:policy_partner(Policy, Domain),
    Key = {What, LUser, LServer, Label},
    Now = erlang:monotonic_time(second),
    case ets:lookup(?COUNTED, Key) of
        [{_, _, At}] when Now - At < ?COUNTED_S ->
            ets:update_counter(?COUNTED, Key, 1, {Key, Limit, At}) > Limit;
        _ ->
            case roster(LUser, LServer) of
                {ok, Items} ->
                    Count = count([Item || Item <- Items, Counts(Item)], Label, Policy),
                    _ = ets:info(?COUNTED, size) >= ?COUNTED_MAX andalso ets:delete_all_objects(?COUNTED),
                    ets:insert(?COUNTED, {{What, binary:copy(LUser), binary:copy(LServer), Label}, Count + 1, Now}),
                    Count >= Limit;
                error ->
                    true
            end
    end.

count(Items, Label, Policy) ->
    {Count, _} = lists:foldl(fun(#roster{jid = {_, S, _}}, {Count, Known}) ->
                                     case Known of
                                         #{S := Same} ->
                                             {Count + Same, Known};
                                         _ ->
                                             Same = is_of_partner(S, Label, Policy),
                                             {Count + Same, Known#{S => Same}}
                                     end
                             end, {0, #{}}, Items),
    Count.

is_of_partner(Domain, Label, Policy) ->
    case not s2s_partners_in_force:is_local(Domain) andalso s2s_partners_nif:policy_partner(Policy, Domain) of
        Label -> 1;
        _ -> 0
    end.

is_too_heavy(Packet) ->
    weigh(xmpp:encode(Packet), 0, ?WEIGHT_MAX) =< 0.

%% What is left of the allowance; no more is looked at once it is used up.
weigh(_, Depth, Left) when Left =< 0; Depth > ?WEIGHT_DEPTH_MAX ->
    0;
weigh(#xmlel{attrs = Attrs, children = Children}, Depth, Left) ->
    Rest = lists:foldl(fun({Name, Value}, Acc) -> Acc - byte_size(Name) - byte_size(Value) end, Left - ?ELEMENT_WEIGHT, Attrs),
    lists:foldl(fun(Child, Acc) -> weigh(Child, Depth + 1, Acc) end, Rest, Children);
weigh({xmlcdata, Text}, _, Left) ->
    Left - iolist_size(Text).
