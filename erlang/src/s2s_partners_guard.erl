%%% The life of the guard on this node: which virtual hosts there are, when the configuration is read and comes into force, and what
%%% follows. One process, so that commits come one after the other. It stays when the module is stopped, and then refuses.
%%%
%%% What is in force is exchanged as a whole, and only when all of it is right; whatever fails leaves what runs. Reading and compiling are
%%% done by a process of their own, whose memory is gone afterwards.
-module(s2s_partners_guard).

-behaviour(gen_server).

-export([start_link/0, started/2, stopped/1, rejected/1, last_reload/0, reloads/0]).
%% Global hooks.
-export([reload_begins/0, reload_ends/0, host_up/1, host_down/1, all_started/0, stopping/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_continue/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-define(TICK, 60000).
%% Between two looks at the files of revocation lists.
-define(LOOK, 2000).
%% For all streams to have judged themselves.
-define(JUDGED, 5000).
%% Longer than ejabberd takes from judging a file to the end of the reload.
-define(RELOAD_MS, 120000).
-define(LINES_MAX, 1100).

-record(guard, {
    outcome = none :: none | s2s_partners_config:outcome(),     % of the last attempt
    told = none :: none | map(),                                % last_reload/0
    stopped = #{} :: #{binary() => []},                         % hosts whose module was stopped while ejabberd runs
    databases = #{} :: #{binary() => atom()},
    watch = none :: none | {pid(), reference()},                % looks at files
    crls_told = #{} :: s2s_partners_crl_watch:told(),
    looked = 0 :: integer(),                                    % system time in seconds
    reloading = none :: none | reference(),                     % timer
    keepers :: s2s_partners_keepers:keepers(),
    stopping = false :: boolean()
}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% mod_s2s_partners has been started or reloaded on a host. Returns when its policy is in force, or has been found to have errors.
-spec started(binary(), DbType :: atom()) -> ok | {error, term()}.
started(Host, DbType) ->
    call({started, Host, DbType}).

%% The module has been stopped there: nothing crosses the border until it is started again.
-spec stopped(binary()) -> ok | {error, term()}.
stopped(Host) ->
    call({stopped, Host}).

%% A reload is ending before it has changed anything, for these errors; ejabberd logs them.
-spec rejected([binary()]) -> ok.
rejected(Errors) ->
    gen_server:cast(?MODULE, {rejected, Errors}).

%% The outcome of the last attempt to read the configuration: what is on disk may not be what is in force. time: system time in seconds.
%% applied, rejected: how many attempts came out so.
-spec last_reload() -> none | #{result := applied | rejected, time := integer(), partners := non_neg_integer(), errors := [binary()],
                                applied := non_neg_integer(), rejected := non_neg_integer()}.
last_reload() ->
    case call(last_reload) of
        {error, _} -> none;
        Reload -> Reload
    end.

%% How many attempts there have been, by what became of them.
-spec reloads() -> [{applied | rejected, non_neg_integer()}].
reloads() ->
    case last_reload() of
        #{applied := Applied, rejected := Rejected} -> [{applied, Applied}, {rejected, Rejected}];
        none -> [{applied, 0}, {rejected, 0}]
    end.

%% Before ejabberd's modules hear of a reload, and after.
-spec reload_begins() -> ok.
reload_begins() ->
    _ = call(reload_begins),
    ok.

-spec reload_ends() -> ok.
reload_ends() ->
    _ = call(reload_ends),
    ok.

%% A host comes with a reload: guarded before it serves anybody, in the process that makes it, whatever becomes of this one.
-spec host_up(binary()) -> ok.
host_up(Host) ->
    s2s_partners_latch:host(Host),
    _ = call({host_up, Host}),
    ok.

-spec host_down(binary()) -> ok.
host_down(Host) ->
    _ = call({host_down, Host}),
    ok.

%% All modules have been started: rooms and components have their routes.
-spec all_started() -> ok.
all_started() ->
    gen_server:cast(?MODULE, all_started).

-spec stopping() -> ok.
stopping() ->
    _ = call(stopping),
    ok.

%% Hooks fail open, so nothing is raised; a guard that is not there leaves what is in force, and the latch.
call(Request) ->
    try gen_server:call(?MODULE, Request, infinity)
    catch exit:Reason -> {error, Reason}
    end.

%%% The process

-spec init([]) -> {ok, #guard{}, {continue, start}}.
init([]) ->
    process_flag(trap_exit, true),
    ok = s2s_partners_in_force:init(),
    ok = s2s_partners_route:init(),
    hooks(),
    erlang:send_after(?TICK, self(), tick),
    erlang:send_after(?LOOK, self(), look),
    {ok, #guard{looked = os:system_time(second), keepers = s2s_partners_keepers:watch()}, {continue, start}}.

hooks() ->
    lists:foreach(fun({Hook, Function, Sequence}) -> ejabberd_hooks:add(Hook, ?MODULE, Function, Sequence) end,
                  [{config_reloaded, reload_begins, 1},     % gen_mod has 60
                   {config_reloaded, reload_ends, 90},
                   {host_up, host_up, 1},                   % gen_mod has 40
                   {host_down, host_down, 90},              % gen_mod has 70
                   {ejabberd_started, all_started, 50},
                   {ejabberd_stopping, stopping, 1}]),
    s2s_partners_expiry:hooks().

%% The module that started us waits in started/2; and one that has been restarted reads anew what is in force anyway.
-spec handle_continue(start, #guard{}) -> {noreply, #guard{}}.
handle_continue(start, Guard) ->
    latch(),
    case s2s_partners_in_force:current() of
        none -> {noreply, Guard};
        _ -> {noreply, commit(restarted(Guard))}
    end.

%% What the process before knew: where the module runs, with which database, and where it has been stopped.
restarted(Guard) ->
    Hosts = ejabberd_option:hosts(),
    {Running, Stopped} = lists:partition(fun(Host) -> gen_mod:is_loaded(Host, mod_s2s_partners) end, Hosts),
    lists:foldl(fun(Host, Sofar) -> database(Host, gen_mod:get_module_opt(Host, mod_s2s_partners, db_type), Sofar) end,
                Guard#guard{stopped = maps:from_list([{Host, []} || Host <- Stopped])}, Running).

-spec handle_call(term(), {pid(), term()}, #guard{}) -> {reply, term(), #guard{}}.
handle_call({started, Host, DbType}, _From, #guard{stopped = Stopped, reloading = Reloading} = Guard) ->
    Known = database(Host, DbType, Guard),
    Now = Known#guard{stopped = maps:remove(Host, Stopped)},
    case Reloading =:= none andalso not (covers(Host, Now) andalso not is_map_key(Host, Stopped)) of
        true -> {reply, ok, commit(Now)};
        false -> {reply, ok, Now}
    end;
handle_call({stopped, Host}, _From, #guard{stopped = Stopped, stopping = Stopping} = Guard) ->
    Now = (unwatched(Guard))#guard{stopped = Stopped#{Host => []}},
    case {Stopping, s2s_partners_observe:is_on()} of
        {true, _} ->
            ok;
        {false, true} ->
            ?LOG_ERROR("mod_s2s_partners has been stopped on ~ts: nothing is judged there until it is started again or the configuration is "
                       "reloaded; nothing is refused either while observing", [Host]);
        {false, false} ->
            ?LOG_ERROR("mod_s2s_partners has been stopped on ~ts: every stream with another server is refused there until it is "
                       "started again or the configuration is reloaded (config-invalid)", [Host])
    end,
    withdraw(Now),
    Stopping orelse rejudge(),
    {reply, ok, Now};
handle_call(reload_begins, _From, #guard{reloading = Reloading} = Guard) ->
    Reloading =:= none orelse erlang:cancel_timer(Reloading),
    {reply, ok, Guard#guard{reloading = erlang:start_timer(?RELOAD_MS, self(), reload)}};
handle_call(reload_ends, _From, Guard) ->
    {reply, ok, commit(reload_over(Guard))};
handle_call({host_up, Host}, _From, #guard{reloading = Reloading} = Guard) ->
    Now = unwatched(Guard),
    add_host(Host),
    Reloading =:= none orelse erlang:cancel_timer(Reloading),
    {reply, ok, Now#guard{reloading = erlang:start_timer(?RELOAD_MS, self(), reload)}};
handle_call({host_down, Host}, _From, #guard{stopped = Stopped, databases = Databases} = Guard) ->
    Now = (unwatched(Guard))#guard{stopped = Stopped#{Host => []}, databases = maps:remove(Host, Databases)},
    withdraw(Now),
    remove_host(Host),
    {reply, ok, Now#guard{stopped = maps:remove(Host, Stopped)}};
handle_call(stopping, _From, Guard) ->
    {reply, ok, Guard#guard{stopping = true}};
handle_call(last_reload, _From, #guard{told = Told} = Guard) ->
    {reply, Told, Guard}.

-spec handle_cast(term(), #guard{}) -> {noreply, #guard{}}.
handle_cast(all_started, #guard{outcome = Outcome} = Guard) ->
    %% Domains that only now have a route may stand in the list, or have been taken for another server's.
    case Outcome of
        #{term := #{locals := Locals}} ->
            case s2s_partners_config:routes() -- Locals of
                [] -> {noreply, Guard};
                _ -> {noreply, commit(Guard)}
            end;
        _ ->
            {noreply, Guard}
    end;
handle_cast({rejected, Errors}, #guard{told = Told} = Guard) ->
    Outcome = #{partners => 0, issues => [#{severity => error, message => Error} || Error <- Errors]},
    told(rejected, s2s_partners_latch:why_closed(), Outcome, s2s_partners_in_force:current(), {[], 0}),
    {noreply, Guard#guard{told = count(rejected, Outcome, Told)}};
handle_cast(_, Guard) ->
    {noreply, Guard}.

-spec handle_info(term(), #guard{}) -> {noreply, #guard{}}.
handle_info(tick, #guard{stopping = Stopping} = Guard) ->
    erlang:send_after(?TICK, self(), tick),
    %% They are there already, unless somebody has restarted the process that keeps them.
    Stopping orelse latch(),
    Stopping orelse protect(expiry, fun() -> s2s_partners_expiry:tick() end),
    {noreply, Guard};
handle_info(look, #guard{watch = none, stopping = false, crls_told = Told, looked = Before} = Guard) ->
    case s2s_partners_in_force:current() of
        #{patterns := Patterns} = Term when map_size(Patterns) > 0 ->
            Now = os:system_time(second),
            Watch = spawn_monitor(fun() -> exit({looked, s2s_partners_crl_watch:look(Term, Told, Before)}) end),
            {noreply, Guard#guard{watch = Watch, looked = Now}};
        _ ->
            erlang:send_after(?LOOK, self(), look),
            {noreply, Guard}
    end;
handle_info({'DOWN', Monitor, process, Pid, Result}, #guard{watch = {Pid, Monitor}} = Guard) ->
    erlang:send_after(?LOOK, self(), look),
    Now = Guard#guard{watch = none},
    case Result of
        {looked, {same, Term, Told}} ->
            protect(expiry, fun() -> s2s_partners_expiry:lists() end),
            s2s_partners_in_force:current() =:= Term orelse s2s_partners_in_force:put(Term),
            {noreply, Now#guard{crls_told = Told}};
        {looked, {changed, Term, Told}} ->
            s2s_partners_in_force:put(Term),
            judged(rejudge(), fun(_, 0, _) -> ok;
                                 (_, Closed, _) -> ?LOG_INFO("~ts closed for what the new revocation lists say",
                                                             [number(Closed, "live stream is", "live streams are")])
                              end),
            protect(expiry, fun() -> s2s_partners_expiry:lists() end),
            {noreply, Now#guard{crls_told = Told}};
        _ ->
            {noreply, Now}
    end;
handle_info({'DOWN', Monitor, process, _, _}, #guard{keepers = Keepers} = Guard) ->
    case s2s_partners_keepers:down(Monitor, Keepers) of
        {ok, Others} -> {noreply, Guard#guard{keepers = Others}};
        not_ours -> {noreply, Guard}
    end;
handle_info({returned, Keeper}, #guard{keepers = Keepers, stopping = false} = Guard) ->
    case s2s_partners_keepers:returned(Keeper, Keepers) of
        {back, Watched} ->
            %% Without hooks nobody was guarded: streams that came about meanwhile are closed.
            protect(Keeper, fun() -> back(Keeper) end),
            _ = rejudge(),
            ?LOG_WARNING("~ts has been restarted: ~ts~ts", [Keeper, s2s_partners_keepers:forgotten(Keeper),
                                                            [", and all live streams are judged again" || not s2s_partners_observe:is_on()]]),
            {noreply, Guard#guard{keepers = Watched}};
        later ->
            {noreply, Guard}
    end;
handle_info({timeout, Timer, reload}, #guard{reloading = Timer} = Guard) ->
    %% The reload that was announced never ended.
    {noreply, commit(Guard#guard{reloading = none})};
handle_info(_, Guard) ->
    {noreply, Guard}.

reload_over(#guard{reloading = none} = Guard) ->
    Guard;
reload_over(#guard{reloading = Timer} = Guard) ->
    erlang:cancel_timer(Timer),
    Guard#guard{reloading = none}.

%% Returns when that process has what it keeps it in.
back(ejabberd_hooks) ->
    latch(),
    hooks();
back(s2s_partners_places) ->
    s2s_partners_places:counts();
back(s2s_partners_live) ->
    s2s_partners_live:ready().

latch() ->
    protect(latch, fun() ->
                           s2s_partners_latch:close(ejabberd_option:hosts())
                   end).

database(Host, DbType, #guard{databases = Databases} = Guard) ->
    case Databases of
        #{Host := DbType} ->
            Guard;
        #{} ->
            protect(database, fun() -> s2s_partners_cancellations:init(Host, DbType) end),
            Guard#guard{databases = Databases#{Host => DbType}}
    end.

%% Whether the last attempt to read the configuration knew this host with its module.
covers(Host, #guard{outcome = #{hosts := Hosts, unguarded := Unguarded}}) ->
    lists:member(Host, Hosts) andalso not lists:member(Host, Unguarded);
covers(_Host, _) ->
    false.

%%% Commit

commit(Guard0) ->
    #guard{told = Told, stopped = Stopped} = Guard = unwatched(Guard0),
    Before = s2s_partners_in_force:current(),
    Outcome = read(),
    #{issues := Issues, hosts := Hosts} = Outcome,
    tell(Issues),
    Closed = s2s_partners_latch:compare(),
    s2s_partners_observe:take(maps:get(mode, Outcome, enforce)),
    Result = case {Closed, Outcome} of
                 {none, #{term := #{} = Term}} ->
                     s2s_partners_in_force:put(without(Stopped, Term)),
                     applied;
                 _ ->
                     s2s_partners_in_force:put(remaining(Closed, Before, Hosts)),
                     rejected
             end,
    Judged = rejudge(),
    told(Result, Closed, Outcome, Before, Judged),
    Result =:= applied andalso protect(expiry, fun() -> s2s_partners_expiry:committed() end),
    Guard#guard{outcome = Outcome#{issues := lists:sublist(Issues, ?LINES_MAX)}, told = count(Result, Outcome, Told)}.

count(Result, #{partners := Partners, issues := Issues}, Told) ->
    Counts = case Told of
                 none -> #{applied => 0, rejected => 0};
                 _ -> Told
             end,
    Counts#{Result := maps:get(Result, Counts) + 1, result => Result, time => erlang:system_time(second), partners => Partners,
            errors => lists:sublist([Message || #{severity := error, message := Message} <- Issues], ?LINES_MAX)}.

%% What it finds is of a configuration that is being replaced.
unwatched(#guard{watch = none} = Guard) ->
    Guard;
unwatched(#guard{watch = {Pid, Monitor}} = Guard) ->
    erlang:demonitor(Monitor, [flush]),
    exit(Pid, kill),
    erlang:send_after(?LOOK, self(), look),
    Guard#guard{watch = none}.

%% In a process of its own. One that does not come back with anything has found out nothing.
read() ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({read, s2s_partners_config:compile()}) end),
    receive
        {'DOWN', Monitor, process, Pid, {read, Outcome}} -> Outcome;
        {'DOWN', Monitor, process, Pid, Reason} -> s2s_partners_config:unread(Reason)
    end.

%% What was in force goes on, for hosts that are still there; those that have come have no policy. Where the seam is not as it has to be,
%% nobody has one.
remaining(none, #{policies := Policies} = Before, Hosts) ->
    Before#{policies := maps:with(Hosts, Policies), vhosts := maps:from_list([{Host, []} || Host <- Hosts])};
remaining(_, _, Hosts) ->
    #{policies => #{}, vhosts => maps:from_list([{Host, []} || Host <- Hosts]), limits => #{}, stores => #{}, crls => #{}, crl_signatures => #{},
      patterns => #{}, host_crls => #{}, intermediates => #{}, issues => #{}, locals => Hosts,
      applied => erlang:system_time(second)}.

without(Stopped, #{policies := Policies} = Term) ->
    Term#{policies := maps:without(maps:keys(Stopped), Policies)}.

withdraw(#guard{stopped = Stopped}) ->
    case s2s_partners_in_force:current() of
        none -> ok;
        Term -> s2s_partners_in_force:put(without(Stopped, Term))
    end.

add_host(Host) ->
    case s2s_partners_in_force:current() of
        #{vhosts := VHosts} = Term -> s2s_partners_in_force:put(Term#{vhosts := VHosts#{Host => []}});
        none -> ok
    end.

remove_host(Host) ->
    case s2s_partners_in_force:current() of
        #{vhosts := VHosts} = Term -> s2s_partners_in_force:put(Term#{vhosts := maps:remove(Host, VHosts)});
        none -> ok
    end.

%% Each stream judges itself, in its own process and time: those that were there, and when it began.
rejudge() ->
    Begin = erlang:monotonic_time(millisecond),
    case s2s_partners_observe:is_on() of
        true -> {[], Begin};               % nobody has to leave
        false -> rejudge(Begin)
    end.

rejudge(Begin) ->
    Streams = protect(rejudge, fun() -> [{Pid, Direction} || #{pid := Pid, direction := Direction} <- s2s_partners_live:streams()] end),
    _ = protect(rejudge, fun() -> s2s_partners_live:rejudge() end),
    {case is_list(Streams) of true -> Streams; false -> [] end, Begin}.

%% Calls Tell(Streams, Closed, Milliseconds) when they have. What a stream is asked now comes after its judgement.
judged({Streams, Begin}, Tell) ->
    _ = spawn(fun() ->
                      Self = self(),
                      Reply = fun(State) ->
                                      Self ! {judged, self(), s2s_partners_stream:is_over(State)},
                                      State
                              end,
                      Waiting = maps:from_list([{erlang:monitor(process, Pid), Pid} || {Pid, _} <- Streams]),
                      lists:foreach(fun({Pid, incoming}) -> ejabberd_s2s_in:update_state(Pid, Reply);
                                       ({Pid, outgoing}) -> ejabberd_s2s_out:update_state(Pid, Reply)
                                    end, Streams),
                      Timer = erlang:start_timer(?JUDGED, Self, over),
                      Closed = closed(maps:fold(fun(Monitor, Pid, Sofar) -> Sofar#{Pid => Monitor} end, #{}, Waiting), Timer, 0),
                      Tell(length(Streams), Closed, erlang:monotonic_time(millisecond) - Begin)
              end),
    ok.

closed(Waiting, _Timer, Closed) when map_size(Waiting) =:= 0 ->
    Closed;
closed(Waiting, Timer, Closed) ->
    receive
        {judged, Pid, true} when is_map_key(Pid, Waiting) -> closed(maps:remove(Pid, Waiting), Timer, Closed + 1);
        {judged, Pid, false} -> closed(maps:remove(Pid, Waiting), Timer, Closed);
        {'DOWN', _, process, Pid, _} when is_map_key(Pid, Waiting) -> closed(maps:remove(Pid, Waiting), Timer, Closed + 1);
        {timeout, Timer, over} -> Closed
    after 2 * ?JUDGED -> Closed
    end.

%% Nothing that goes wrong here may keep a policy from coming into force, or take it back.
protect(Where, Function) ->
    try Function()
    catch Class:Reason:Stack ->
            s2s_partners_report:internal_error(Where, Class, Reason, Stack),
            0
    end.

%%% The log

tell(Issues) ->
    lists:foreach(fun(#{severity := error, message := Message}) -> ?LOG_ERROR("~ts", [Message]);
                     (#{message := Message}) -> ?LOG_WARNING("~ts", [Message])
                  end, lists:sublist(Issues, ?LINES_MAX)).

told(applied, _, #{partners := Partners}, _, Judged) ->
    judged(Judged, fun(Count, Closed, Milliseconds) ->
                           Live = case Count of
                                      0 -> <<>>;
                                      _ -> io_lib:format("; ~ts judged again in ~b ms, ~b of them closed",
                                                         [number(Count, "live stream", "live streams"), Milliseconds, Closed])
                                  end,
                           ?LOG_INFO("Partner configuration applied: ~ts~ts", [number(Partners, "partner", "partners"), Live])
                   end);
told(rejected, Closed, Outcome, Before, Judged) ->
    case s2s_partners_observe:is_on() of
        true -> ?LOG_ERROR("Nothing is judged by what is on disk~ts; nothing is refused either while observing",
                           [case Closed of {error, Why} -> [": ", Why]; none -> ", which has errors" end]);
        false -> refusing(Closed, Outcome, Before, Judged)
    end.

refusing({error, Why}, _, _, _) ->
    ?LOG_CRITICAL("mod_s2s_partners cannot guard this server, so every stream with another server is refused (config-invalid): ~ts; "
                  "reinstall mod_s2s_partners in a version for this ejabberd, and restart", [Why]);
refusing(none, _, #{policies := Policies}, _) when map_size(Policies) > 0 ->
    ?LOG_ERROR("The partner configuration has errors and was not applied; the one before stays in force until they are corrected", []);
refusing(none, _, _, _) ->
    ?LOG_ERROR("The partner configuration has errors and none was in force before: every stream with another server is refused until "
               "they are corrected (config-invalid)", []).

number(1, One, _) -> ["1 ", One];
number(Count, _, Several) -> [integer_to_list(Count), " ", Several].
