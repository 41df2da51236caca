%%% What a stanza on one node of a cluster leaves behind for stanzas on another: the partner's stream may be there. Told and not asked:
%%% a stranger's stanza makes no node wait for another, and a node that does not answer holds up nobody.
-module(s2s_partners_everywhere).

-export([apply/3]).

%% Calls the function here, and has it called on the other nodes unless it said `false` (nothing has changed) here.
-spec apply(module(), atom(), [term()]) -> term().
apply(Module, Function, Arguments) ->
    Result = erlang:apply(Module, Function, Arguments),
    case nodes() of
        [_ | _] = Seen when Result =/= false ->
            %% Nobody is told that is not seen: that would open a connection first.
            Cluster = ejabberd_cluster:get_nodes(),
            lists:foreach(fun(Node) -> erpc:cast(Node, Module, Function, Arguments) end, [Node || Node <- Seen, lists:member(Node, Cluster)]);
        _ ->
            ok
    end,
    Result.
