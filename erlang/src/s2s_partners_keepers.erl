%%% Processes that keep something for the streams of this node, and forget all of it when they die; their supervisors start them again at
%%% once. Plain data for the guard's process, which monitors them and then has all live streams judged again.
-module(s2s_partners_keepers).

-export([watch/0, down/2, returned/2, forgotten/1]).

-export_type([keepers/0]).

%% Milliseconds between two looks whether one is there again. Nobody is guarded without hooks.
-define(AGAIN, 1).

-opaque keepers() :: #{reference() => module()}.

-spec watch() -> keepers().
watch() ->
    lists:foldl(fun watch/2, #{}, [ejabberd_hooks, s2s_partners_places, s2s_partners_live]).

watch(Keeper, Keepers) ->
    Keepers#{erlang:monitor(process, Keeper) => Keeper}.

%% A monitor has fired. The calling process is sent {returned, Keeper}, which it hands to returned/2.
-spec down(reference(), keepers()) -> {ok, keepers()} | not_ours.
down(Monitor, Keepers) ->
    case maps:take(Monitor, Keepers) of
        {Keeper, Others} ->
            self() ! {returned, Keeper},
            {ok, Others};
        error ->
            not_ours
    end.

%% later: it is not there yet, and the message comes once more. A call of it waits until it has made its tables.
-spec returned(module(), keepers()) -> {back, keepers()} | later.
returned(Keeper, Keepers) ->
    case whereis(Keeper) of
        undefined ->
            erlang:send_after(?AGAIN, self(), {returned, Keeper}),
            later;
        _ ->
            {back, watch(Keeper, Keepers)}
    end.

%% What is done about it, for the log.
-spec forgotten(module()) -> string().
forgotten(ejabberd_hooks) -> "the hooks of mod_s2s_partners are registered again";
forgotten(s2s_partners_places) -> "each stream takes its place again";
forgotten(s2s_partners_live) -> "the streams are listed again".
