%%% Who has which place: the places of partners' streams, the waiting room of connections that have not
%%% authenticated, and the keys that partners are being asked about. One process, so that two streams that ask
%%% at the same moment cannot get one place. It counts; the NIF decides. What a process holds it gives back by
%%% ending, however it ends. When the process has been restarted, the guard has each stream take its place again
%%% (s2s_partners_live:rejudge/0). Places are counted over all nodes of a cluster, which tell one another; the waiting
%%% room and the questions are each node's own.
-module(s2s_partners_places).

-behaviour(gen_server).

-export([start_link/0]).
-export([enter/1, leave/0, settled/0, waiting/0, rooms/1, network/1]).
-export([ask/5, renew/6, give_back/0, counts/0, others/0]).
-export([question/3, question_moved/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-export_type([key/0]).

%% Whose place it is: a partner's, by name; under the default policy each domain's own.
-type key() :: binary() | {domain, binary()}.

-record(holder, {
    monitor :: reference(),
    waiting = none :: none | {Turn :: pos_integer(), Address :: term()},
    place = none :: none | {key(), Rank :: {0 | 1, integer()}},
    question = none :: none | {Route :: term(), Partner :: term()}
}).

-record(state, {
    holders = #{} :: #{pid() => #holder{}},
    room = {1000, 100} :: {pos_integer(), pos_integer()},
    turn = 1 :: pos_integer(),
    everybody = gb_trees:empty(),          % turn => pid
    addresses = #{} :: #{term() => gb_trees:tree()},
    partners = #{} :: #{key() => s2s_partners_ranks:ranks()},    % who has a place: {Rank, pid}
    all = s2s_partners_ranks:new() :: s2s_partners_ranks:ranks(),
    elsewhere :: s2s_partners_elsewhere:elsewhere(), % what other nodes hold
    questions = #{} :: #{term() => pos_integer()}
}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%%% The waiting room

%% The calling process serves a connection that has been accepted and has not authenticated. Where that is one
%% too many, the oldest is told {s2s_partners, crowded}: it has had the most time, and the one that comes may
%% be a partner.
-spec enter(inet:ip_address() | term()) -> ok.
enter(Address) ->
    ok = gen_server:call(?MODULE, {enter, self(), network(Address)}).

%% It is gone.
-spec leave() -> ok.
leave() ->
    gen_server:cast(?MODULE, {leave, self()}).

%% It is established, and its place comes before those of streams that are not.
-spec settled() -> ok.
settled() ->
    gen_server:cast(?MODULE, {settled, self()}).

%% How many wait, and from how many addresses.
-spec waiting() -> {non_neg_integer(), non_neg_integer()}.
waiting() ->
    gen_server:call(?MODULE, waiting).

%% As many may wait as the most generous of these policies says.
-spec rooms([s2s_partners_nif:policy()]) -> ok.
rooms(Policies) ->
    Rooms = case Policies of
                [] -> [s2s_partners_nif:waiting_room(none)];
                _ -> [s2s_partners_nif:waiting_room(Policy) || Policy <- Policies]
            end,
    {Totals, Addresses} = lists:unzip(Rooms),
    gen_server:cast(?MODULE, {rooms, {lists:max(Totals), lists:max(Addresses)}}).

%% An IPv4 address; the /64 of an IPv6 one, which is what one customer has.
-spec network(inet:ip_address() | term()) -> term().
network({0, 0, 0, 0, 0, 16#ffff, High, Low}) -> {High, Low};
network({A, B, C, D, _, _, _, _}) -> {A, B, C, D, '/64'};
network({A, B, C, D}) -> {A * 256 + B, C * 256 + D};
network(Other) -> Other.

%%% Places of partners

%% The calling process wants a place, or only to know that there is one (asks: it will take it once it is
%% proven).
-spec ask(s2s_partners_nif:policy(), Domain :: binary(), key(), asks | takes, Created :: integer()) -> s2s_partners_nif:decision().
ask(Policy, Domain, Key, Takes, Created) ->
    gen_server:call(?MODULE, {ask, self(), Policy, Domain, Key, Takes, {1, Created}}).

%% After a reload: whether the calling process keeps its place, under another name perhaps. Established
%% streams come before others, older ones before younger.
-spec renew(s2s_partners_nif:policy(), Domain :: binary(), key(), Has :: boolean(), Established :: boolean(), Created :: integer()) ->
          s2s_partners_nif:decision().
renew(Policy, Domain, Key, Has, Established, Created) ->
    Rank = {if Established -> 0; true -> 1 end, Created},
    gen_server:call(?MODULE, {renew, self(), Policy, Domain, Key, Has, Rank}).

%% The calling process has no stream any more, though it may live on.
-spec give_back() -> ok.
give_back() ->
    gen_server:cast(?MODULE, {give_back, self()}).

%% Of this node.
-spec counts() -> #{total := non_neg_integer(), partners := #{key() => pos_integer()}}.
counts() ->
    gen_server:call(?MODULE, counts).

%% The other nodes whose counts are added.
-spec others() -> [node()].
others() ->
    gen_server:call(?MODULE, others).

%%% Keys that partners are being asked about

%% The calling process has been sent a key, and wants the partner's server to be asked about it.
-spec question(Local :: binary(), Domain :: binary(), key()) -> s2s_partners_nif:decision().
question(Local, Domain, Key) ->
    %% Those whom only a default policy covers share one count: a stranger may be any number of them.
    Partner = case Key of {domain, _} -> unlisted; _ -> Key end,
    gen_server:call(?MODULE, {question, self(), {route, Local, Domain}, {partner, Local, Partner}}).

%% The calling process is the one that asks, on behalf of `For`: the question is over when it ends.
-spec question_moved(For :: pid()) -> ok.
question_moved(For) ->
    gen_server:call(?MODULE, {question_moved, For, self()}).

%%% The process

-spec init([]) -> {ok, #state{}}.
init([]) ->
    Elsewhere = s2s_partners_elsewhere:new(?MODULE),
    s2s_partners_elsewhere:meet(#{}, Elsewhere),
    {ok, #state{elsewhere = Elsewhere}}.

%% What fails refuses the one who asked. The process goes on: with it, all would lose what they hold.
-spec handle_call(term(), {pid(), term()}, #state{}) -> {reply, term(), #state{}}.
handle_call(Request, _From, State) ->
    try
        answer(Request, State)
    catch
        Class:Reason:Stack ->
            s2s_partners_report:internal_error(?MODULE, Class, Reason, Stack),
            {reply, {refuse, 'internal-error', <<"an error where places are counted">>}, State}
    end.

answer({enter, Pid, Address}, #state{turn = Turn} = State) ->
    {Holder, State1} = holder(Pid, State),
    case Holder of
        #holder{waiting = none} ->
            State2 = put_holder(Pid, Holder#holder{waiting = {Turn, Address}}, State1),
            Line = gb_trees:insert(Turn, Pid, maps:get(Address, State2#state.addresses, gb_trees:empty())),
            State3 = State2#state{turn = Turn + 1,
                                  everybody = gb_trees:insert(Turn, Pid, State2#state.everybody),
                                  addresses = (State2#state.addresses)#{Address => Line}},
            {reply, ok, make_room(Address, State3)};
        _ ->
            {reply, ok, State1}
    end;
answer(waiting, #state{everybody = Everybody, addresses = Addresses} = State) ->
    {reply, {gb_trees:size(Everybody), map_size(Addresses)}, State};
answer({ask, Pid, Policy, Domain, Key, Takes, Rank}, State) ->
    {Holder, State1} = holder(Pid, State),
    case Holder of
        #holder{place = none} ->
            {OfPartner, InAll} = beside(Key, s2s_partners_elsewhere:count(Key, State1#state.elsewhere), State1),
            case s2s_partners_nif:place(Policy, Domain, OfPartner, InAll) of
                allow when Takes =:= takes -> {reply, allow, take(Pid, Key, Rank, State1)};
                Decision -> {reply, Decision, State1}
            end;
        _ ->
            {reply, allow, State1}
    end;
answer({renew, Pid, Policy, Domain, Key, Has, Rank}, State) ->
    {_, State1} = holder(Pid, State),
    {Before, State2} = stand_up(Pid, State1),
    {OfAll, All} = beside(Key, s2s_partners_elsewhere:count(Key, State2#state.elsewhere), State2),
    Decision = case s2s_partners_nif:place(Policy, Domain, OfAll, All) of
                   {refuse, _, _} when Has ->
                       %% Not beside all of them, but perhaps beside those that come before it.
                       {OfPartner, InAll} = before(Pid, Key, Rank, State2),
                       {OfOthers, Others} = s2s_partners_elsewhere:count_before(Key, State2#state.elsewhere),
                       s2s_partners_nif:place(Policy, Domain, OfPartner + OfOthers, InAll + Others);
                   Other ->
                       Other
               end,
    State3 = case Decision of
                 allow -> seat(Pid, Key, Rank, State2);
                 _ -> State2
             end,
    %% Other nodes hear of what it comes to. A place that stays is never one less in between: somebody there would take it.
    {reply, Decision, lists:foldl(fun(Changed, Told) -> told(Changed, Told) end, State3,
                                  [Of || Of <- [Key | lists:delete(Key, Before)], size_of(Of, State1) =/= size_of(Of, State3)])};
answer(counts, #state{all = All} = State) ->
    {reply, #{total => s2s_partners_ranks:size(All), partners => held(State)}, State};
answer(others, #state{elsewhere = Elsewhere} = State) ->
    {reply, s2s_partners_elsewhere:nodes_known(Elsewhere), State};
answer({question, Pid, Route, Partner}, #state{questions = Questions} = State) ->
    case s2s_partners_nif:key_question(maps:get(Route, Questions, 0), maps:get(Partner, Questions, 0)) of
        allow ->
            {Holder, State1} = holder(Pid, unask(Pid, State)),
            State2 = put_holder(Pid, Holder#holder{question = {Route, Partner}}, State1),
            {reply, allow, State2#state{questions = more(Route, more(Partner, State2#state.questions))}};
        Decision ->
            {reply, Decision, State}
    end;
answer({question_moved, From, To}, #state{holders = Holders} = State) ->
    case Holders of
        #{From := #holder{question = {_, _} = Question} = Holder} ->
            State1 = put_holder(From, Holder#holder{question = none}, State),
            {Other, State2} = holder(To, State1),
            {reply, ok, put_holder(To, Other#holder{question = Question}, State2)};
        _ ->
            {reply, ok, State}
    end.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({leave, Pid}, State) ->
    {noreply, leave_room(Pid, State)};
handle_cast({settled, Pid}, State) ->
    {noreply, rank(Pid, leave_room(Pid, State))};
handle_cast({give_back, Pid}, State) ->
    {noreply, untake(Pid, State)};
handle_cast({rooms, Room}, State) ->
    {noreply, State#state{room = Room}}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', Monitor, process, Pid, _} = Message, #state{holders = Holders} = State) ->
    case Holders of
        #{Pid := #holder{monitor = Monitor}} ->
            State1 = unask(Pid, untake(Pid, leave_room(Pid, State))),
            {noreply, State1#state{holders = maps:remove(Pid, State1#state.holders)}};
        _ ->
            {noreply, from_elsewhere(Message, State)}
    end;
handle_info(Message, State) ->
    {noreply, from_elsewhere(Message, State)}.

from_elsewhere(Message, #state{elsewhere = Elsewhere} = State) ->
    case s2s_partners_elsewhere:received(Message, fun() -> held(State) end, Elsewhere) of
        {ok, Elsewhere1} -> State#state{elsewhere = Elsewhere1};
        not_ours -> State
    end.

holder(Pid, #state{holders = Holders} = State) ->
    case Holders of
        #{Pid := Holder} ->
            {Holder, State};
        _ ->
            Holder = #holder{monitor = erlang:monitor(process, Pid)},
            {Holder, put_holder(Pid, Holder, State)}
    end.

put_holder(Pid, Holder, #state{holders = Holders} = State) ->
    State#state{holders = Holders#{Pid => Holder}}.

%% The room

make_room(Address, #state{room = Room, everybody = Everybody, addresses = Addresses} = State) ->
    Line = maps:get(Address, Addresses),
    case s2s_partners_nif:waiting_crowded(Room, {gb_trees:size(Everybody), gb_trees:size(Line)}) of
        no -> State;
        address -> send_away(Line, State);
        everybody -> send_away(Everybody, State)
    end.

send_away(Line, State) ->
    {_, Oldest} = gb_trees:smallest(Line),
    Oldest ! {s2s_partners, crowded},
    leave_room(Oldest, State).

leave_room(Pid, #state{holders = Holders, everybody = Everybody, addresses = Addresses} = State) ->
    case Holders of
        #{Pid := #holder{waiting = {Turn, Address}} = Holder} ->
            Line = gb_trees:delete(Turn, maps:get(Address, Addresses)),
            State#state{holders = Holders#{Pid => Holder#holder{waiting = none}},
                        everybody = gb_trees:delete(Turn, Everybody),
                        addresses = case gb_trees:is_empty(Line) of
                                        true -> maps:remove(Address, Addresses);
                                        false -> Addresses#{Address => Line}
                                    end};
        _ ->
            State
    end.

%% Places

held(#state{partners = Partners}) ->
    maps:map(fun(_, Ranks) -> s2s_partners_ranks:size(Ranks) end, Partners).

ranks(Key, #state{partners = Partners}) ->
    maps:get(Key, Partners, s2s_partners_ranks:new()).

%% This node's counts, and those of other nodes.
beside(Key, {OfOthers, Others}, #state{all = All} = State) ->
    {size_of(Key, State) + OfOthers, s2s_partners_ranks:size(All) + Others}.

size_of(Key, State) ->
    s2s_partners_ranks:size(ranks(Key, State)).

told(Key, #state{elsewhere = Elsewhere} = State) ->
    s2s_partners_elsewhere:tell(Key, size_of(Key, State), Elsewhere),
    State.

take(Pid, Key, Rank, State) ->
    told(Key, seat(Pid, Key, Rank, State)).

untake(Pid, State) ->
    case stand_up(Pid, State) of
        {[Key], State1} -> told(Key, State1);
        {[], _} -> State
    end.

%% The process has no place any more; whose it was, which nobody has been told yet.
stand_up(Pid, #state{holders = Holders} = State) ->
    case Holders of
        #{Pid := #holder{place = {Key, Rank}}} -> {[Key], unseat(Pid, Key, Rank, State)};
        _ -> {[], State}
    end.

rank(Pid, #state{holders = Holders} = State) ->
    case Holders of
        #{Pid := #holder{place = {Key, {_, Created} = Rank}}} -> seat(Pid, Key, {0, Created}, unseat(Pid, Key, Rank, State));
        _ -> State
    end.

seat(Pid, Key, Rank, #state{holders = Holders, partners = Partners, all = All} = State) ->
    Holder = maps:get(Pid, Holders),
    State#state{holders = Holders#{Pid => Holder#holder{place = {Key, Rank}}},
                partners = Partners#{Key => s2s_partners_ranks:insert({Rank, Pid}, ranks(Key, State))},
                all = s2s_partners_ranks:insert({Rank, Pid}, All)}.

unseat(Pid, Key, Rank, #state{holders = Holders, partners = Partners, all = All} = State) ->
    Holder = maps:get(Pid, Holders),
    Left = s2s_partners_ranks:delete({Rank, Pid}, ranks(Key, State)),
    State#state{holders = Holders#{Pid => Holder#holder{place = none}},
                partners = case s2s_partners_ranks:size(Left) of
                               0 -> maps:remove(Key, Partners);
                               _ -> Partners#{Key => Left}
                           end,
                all = s2s_partners_ranks:delete({Rank, Pid}, All)}.

%% Only where there are fewer places than streams, which a reload can bring about.
before(Pid, Key, Rank, #state{all = All} = State) ->
    {s2s_partners_ranks:before({Rank, Pid}, ranks(Key, State)), s2s_partners_ranks:before({Rank, Pid}, All)}.

%% Questions

unask(Pid, #state{holders = Holders, questions = Questions} = State) ->
    case Holders of
        #{Pid := #holder{question = {Route, Partner}} = Holder} ->
            State#state{holders = Holders#{Pid => Holder#holder{question = none}},
                        questions = fewer(Route, fewer(Partner, Questions))};
        _ ->
            State
    end.

more(Key, Counts) ->
    maps:update_with(Key, fun(Count) -> Count + 1 end, 1, Counts).

fewer(Key, Counts) ->
    case Counts of
        #{Key := 1} -> maps:remove(Key, Counts);
        #{Key := Count} -> Counts#{Key => Count - 1}
    end.
