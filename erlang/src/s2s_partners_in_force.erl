%%% What is in force at this moment: the policy of each virtual host, the trust stores and revocation lists that they name, and the
%%% domains that this server serves itself. Everybody reads here, and nobody else reads or writes the persistent term.
%%%
%%% Reading copies nothing and takes no lock. Writing makes every process look for what it holds of the old term, so it is done
%%% once for a commit, as a whole.
-module(s2s_partners_in_force).

-export([policy/1, store/2, crls/2, intermediates/1, limits/1]).
-export([vhost_of/1, is_vhost/1, is_local/1, vhosts/0]).
-export([current/0, generation/0]).
%% For s2s_partners_guard alone.
-export([init/0, put/1, route_changed/1]).

-export_type([term_in_force/0, policy/0, store/0, crl/0, partner/0]).

-type policy() :: term().            % resources of the NIF
-type store() :: term().
-type crl() :: term().
-type partner() :: map().            % as s2s_partners_nif:policy_find/2 gives it

-type term_in_force() :: #{
    policies := #{binary() => policy()},
    vhosts := #{binary() => []},              % all that this server has, with or without a policy
    limits := #{binary() => map()},
    stores := #{{anchors, Written :: binary()} | {host, VHost :: binary()} => store()},
    crls := #{binary() => crl()},             % by path
    crl_signatures := #{binary() => s2s_partners_crl_watch:signature()},
    patterns := #{binary() => [binary()]},    % as written -> the paths of `crls` that it means
    host_crls := #{binary() => [binary()]},   % patterns, by virtual host
    intermediates := #{binary() => [binary()]},     % DER, by virtual host
    locals := [binary()],                     % all routes of this server when it was compiled
    issues := #{binary() => [map()]},         % what was told at the commit, by virtual host
    applied := integer(),                     % system time in seconds
    files => s2s_partners_config_files:watched()    % what it was read from
}.

-define(KEY, ?MODULE).
-define(GENERATION, s2s_partners_generation).
%% Domains that were no route of this server a moment ago, so that a stanza to a partner does not ask ejabberd each time.
-define(FOREIGN, s2s_partners_foreign).
-define(FOREIGN_MAX, 20000).
-define(FOREIGN_MS, 1000).

%% The policy of a virtual host. `none`: nothing may cross the border there (config-invalid).
-spec policy(VHost :: binary()) -> {ok, policy()} | none.
policy(VHost) ->
    case persistent_term:get(?KEY, none) of
        #{policies := #{VHost := Policy}} -> {ok, Policy};
        _ -> none
    end.

%% The trust store that counts for a partner on a virtual host: of its own anchors, else that of the host.
-spec store(VHost :: binary(), partner() | none) -> {ok, store()} | none.
store(VHost, Partner) ->
    Key = case Partner of
              #{trust_anchors := Path} when is_binary(Path) -> {anchors, Path};
              _ -> {host, VHost}
          end,
    case persistent_term:get(?KEY, none) of
        #{stores := #{Key := Store}} -> {ok, Store};
        _ -> none
    end.

%% The revocation lists that count for a partner on a virtual host: its own; those of the host too, unless it has anchors of its own.
-spec crls(VHost :: binary(), partner() | none) -> [crl()].
crls(VHost, Partner) ->
    #{crls := Files, patterns := Patterns, host_crls := ByHost} = persistent_term:get(?KEY),
    Own = case Partner of
              #{crls := Written} -> Written;
              _ -> []
          end,
    Hosts = case Partner of
                #{trust_anchors := Path} when is_binary(Path) -> [];
                _ -> maps:get(VHost, ByHost, [])
            end,
    case Own ++ Hosts of
        [] -> [];
        Wanted ->
            Paths = lists:usort(lists:append([maps:get(Pattern, Patterns) || Pattern <- Wanted])),
            [maps:get(Path, Files) || Path <- Paths]
    end.

%% Certificates that the administrator has collected (option `intermediates`), to be handed to the judge behind what the peer has shown.
%% They make nothing valid that is not.
-spec intermediates(VHost :: binary()) -> [binary()].
intermediates(VHost) ->
    case persistent_term:get(?KEY, none) of
        #{intermediates := #{VHost := Ders}} -> Ders;
        _ -> []
    end.

%% The limits of a virtual host, as s2s_partners_nif:policy_limits/1 gives them.
-spec limits(VHost :: binary()) -> {ok, map()} | none.
limits(VHost) ->
    case persistent_term:get(?KEY, none) of
        #{limits := #{VHost := Limits}} -> {ok, Limits};
        _ -> none
    end.

%% The virtual host that a domain of this server belongs to: itself, or the host whose room service or component it is. `Domain` is as
%% ejabberd writes it (lserver of a JID).
-spec vhost_of(LocalDomain :: binary()) -> {ok, binary()} | none.
vhost_of(Domain) ->
    case persistent_term:get(?KEY, none) of
        #{vhosts := #{Domain := _}} ->
            {ok, Domain};
        _ ->
            try {ok, ejabberd_router:host_of_route(Domain)}
            catch error:_ -> none
            end
    end.

%% A virtual host is a domain of this server for as long as it is in the term: it leaves with ejabberd's hook host_down.
-spec is_vhost(Domain :: binary()) -> boolean().
is_vhost(Domain) ->
    case persistent_term:get(?KEY, none) of
        #{vhosts := #{Domain := _}} -> true;
        _ -> false
    end.

%% Whether this server serves the domain: a virtual host, or any other route. Throws where that cannot be found out.
-spec is_local(Domain :: binary()) -> boolean().
is_local(Domain) ->
    case persistent_term:get(?KEY, none) of
        #{vhosts := #{Domain := _}} -> true;
        _ -> is_route(Domain)
    end.

%% Routes of rooms and components come and go, on other nodes as well. That a domain is none is believed for a second, or until a route
%% comes (route_changed/1); that it is one, never.
is_route(Domain) ->
    Now = erlang:monotonic_time(millisecond),
    try ets:lookup_element(?FOREIGN, Domain, 2) of
        Until when Until > Now -> false;
        _ -> ask_router(Domain, Now)
    catch
        error:badarg -> ask_router(Domain, Now)
    end.

ask_router(Domain, Now) ->
    case ejabberd_router:is_my_route(Domain) of
        true ->
            true;
        false ->
            remember_foreign(Domain, Now),
            false
    end.

remember_foreign(Domain, Now) ->
    case ets:info(?FOREIGN, size) of
        Size when is_integer(Size) ->
            Size >= ?FOREIGN_MAX andalso ets:delete_all_objects(?FOREIGN),
            ets:insert(?FOREIGN, {binary:copy(Domain), Now + ?FOREIGN_MS}),
            ok;
        undefined ->
            ok
    end.

-spec vhosts() -> [binary()].
vhosts() ->
    case persistent_term:get(?KEY, none) of
        #{vhosts := VHosts} -> maps:keys(VHosts);
        none -> []
    end.

%% All of it, for the console and for the next commit.
-spec current() -> term_in_force() | none.
current() ->
    persistent_term:get(?KEY, none).

%% A number that is another one after each change of the term, and of this server's routes. Of routes on other nodes nothing is said here:
%% what goes by it is to be found out anew after a second as well.
-spec generation() -> integer().
generation() ->
    atomics:get(persistent_term:get(?GENERATION), 1).

next_generation() ->
    case persistent_term:get(?GENERATION, none) of
        none -> ok;
        Generation -> atomics:add(Generation, 1, 1)
    end.

%% Makes the tables; the caller owns them.
-spec init() -> ok.
init() ->
    persistent_term:get(?GENERATION, none) =:= none andalso persistent_term:put(?GENERATION, atomics:new(1, [])),
    ok = s2s_partners_tally:init(),
    case ets:whereis(?FOREIGN) of
        undefined ->
            ?FOREIGN = ets:new(?FOREIGN, [named_table, public, {read_concurrency, true}, {write_concurrency, true}]),
            ok;
        _ ->
            ok
    end.

-spec put(term_in_force()) -> ok.
put(#{policies := _, vhosts := _, limits := _, stores := _, crls := _, crl_signatures := _, patterns := _, host_crls := _, intermediates := _,
      issues := _, locals := _, applied := _} = Term) ->
    ok = persistent_term:put(?KEY, Term),
    next_generation().

%% Hooks route_registered and route_unregistered.
-spec route_changed(Domain :: binary()) -> ok.
route_changed(Domain) ->
    next_generation(),
    case ets:whereis(?FOREIGN) of
        undefined -> ok;
        _ ->
            ets:delete(?FOREIGN, Domain),
            ok
    end.
