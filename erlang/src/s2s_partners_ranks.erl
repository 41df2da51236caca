%%% An ordered set that knows how many of its members come before a given one, in the time that looking one up takes: a treap with the
%%% size of each part. After a reload that leaves fewer places than there are streams, each stream asks that.
-module(s2s_partners_ranks).

-export([new/0, insert/2, delete/2, before/2, size/1]).

-compile({no_auto_import, [size/1]}).

-export_type([ranks/0]).

-define(PRIORITIES, (1 bsl 27)).

-type tree() :: nil | {Size :: pos_integer(), Priority :: pos_integer(), Member :: term(), tree(), tree()}.
-opaque ranks() :: tree().

-spec new() -> ranks().
new() ->
    nil.

%% A member that is not in it yet.
-spec insert(term(), ranks()) -> ranks().
insert(Member, Tree) ->
    {Less, More} = split(Member, Tree),
    join(join(Less, {1, rand:uniform(?PRIORITIES), Member, nil, nil}), More).

%% Takes it out, if it is in.
-spec delete(term(), ranks()) -> ranks().
delete(_, nil) ->
    nil;
delete(Member, {_, _, Member, Less, More}) ->
    join(Less, More);
delete(Member, {_, Priority, Other, Less, More}) when Member < Other ->
    node(Priority, Other, delete(Member, Less), More);
delete(Member, {_, Priority, Other, Less, More}) ->
    node(Priority, Other, Less, delete(Member, More)).

%% How many members are less.
-spec before(term(), ranks()) -> non_neg_integer().
before(_, nil) -> 0;
before(Member, {_, _, Other, Less, More}) when Other < Member -> size(Less) + 1 + before(Member, More);
before(Member, {_, _, _, Less, _}) -> before(Member, Less).

-spec size(ranks()) -> non_neg_integer().
size(nil) -> 0;
size({Size, _, _, _, _}) -> Size.

node(Priority, Member, Less, More) ->
    {size(Less) + 1 + size(More), Priority, Member, Less, More}.

%% What is less, and the rest.
split(_, nil) ->
    {nil, nil};
split(Member, {_, Priority, Other, Less, More}) when Other < Member ->
    {First, Last} = split(Member, More),
    {node(Priority, Other, Less, First), Last};
split(Member, {_, Priority, Other, Less, More}) ->
    {First, Last} = split(Member, Less),
    {First, node(Priority, Other, Last, More)}.

%% All of the one are less than all of the other.
join(nil, Tree) -> Tree;
join(Tree, nil) -> Tree;
join({_, High, Member, Less, More}, {_, Low, _, _, _} = Other) when High >= Low -> node(High, Member, Less, join(More, Other));
join(Tree, {_, High, Member, Less, More}) -> node(High, Member, join(Tree, Less), More).
