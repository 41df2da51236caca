%%% What the administrator wrote, as YAML's parser hands it over, in the form that the NIF takes. Nothing is judged here; what the NIF
%%% could not tell apart is named.
%%%
%%% ejabberd reads its own file with plain scalars as atoms, one character for each byte of the UTF-8; partner files are read without.
%%% Lists and mappings look the same where they are empty. A mapping keeps keys that come twice: they are errors.
-module(s2s_partners_config_values).

-export([value/1, key/1, show/1, find/2]).

-export_type([yaml/0]).

-type yaml() :: boolean() | number() | binary() | atom() | [yaml()] | [{yaml(), yaml()}].

%% Deeper than anything that is allowed anywhere.
-define(DEPTH_MAX, 8).

%% Whatever a parser may give. What no configuration can hold is named, so that the issue says it.
-spec value(yaml() | absent) -> s2s_partners_nif:value().
value(Term) ->
    value(Term, ?DEPTH_MAX).

value(Term, _Depth) when is_boolean(Term); is_binary(Term); is_float(Term) -> Term;
value(absent, _Depth) -> absent;
value(undefined, _Depth) -> {other, <<"nothing">>};
value(Term, _Depth) when is_integer(Term) ->
    case abs(Term) =< 16#20000000000000 of
        true -> Term;
        false -> {other, <<"a number that is too large">>}
    end;
value(Term, _Depth) when is_atom(Term) ->
    scalar(Term);
value(Term, 0) when is_list(Term) ->
    {other, <<"a list in too many others">>};
value([{_, _} | _] = Term, Depth) ->
    case is_mapping(Term) of
        true -> {mapping, [{key(Key), value(Value, Depth - 1)} || {Key, Value} <- Term]};
        false -> {other, <<"a list that is a mapping as well">>}
    end;
value(Term, Depth) when is_list(Term) ->
    {list, [value(Item, Depth - 1) || Item <- Term]};
value(_Term, _Depth) ->
    {other, <<"something that is no value">>}.

is_mapping([{_, _} | Rest]) -> is_mapping(Rest);
is_mapping([]) -> true;
is_mapping(_) -> false.

scalar('~') -> {other, <<"nothing">>};
scalar(null) -> {other, <<"nothing">>};
scalar(Atom) -> text_of(Atom).

%% Atoms of ejabberd's parser are bytes. Any other one has been made by somebody else.
text_of(Atom) ->
    try atom_to_binary(Atom, latin1)
    catch error:_ -> atom_to_binary(Atom, utf8)
    end.

%% The key of a mapping as it prints.
-spec key(yaml()) -> binary().
key(Key) when is_binary(Key) -> Key;
key(Key) when is_atom(Key) -> text_of(Key);
key(Key) when is_integer(Key) -> integer_to_binary(Key);
key(Key) when is_float(Key) -> float_to_binary(Key, [short]);
key(_) -> <<"(a list)">>.

%% A value as an issue shows it, cut as the NIF cuts its own.
-spec show(yaml()) -> binary().
show(Value) when is_integer(Value) -> <<(integer_to_binary(Value))/binary, " (a number)">>;
show(Value) when is_float(Value) -> <<(float_to_binary(Value, [short]))/binary, " (a number)">>;
show(Value) when is_boolean(Value) -> <<(atom_to_binary(Value, latin1))/binary, " (a boolean)">>;
show(Value) ->
    case value(Value) of
        Text when is_binary(Text), byte_size(Text) > 60 -> <<$", (binary:part(Text, 0, 57))/binary, "...\"">>;
        Text when is_binary(Text) -> <<$", Text/binary, $">>;
        {list, _} -> <<"a list">>;
        {mapping, _} -> <<"a mapping">>;
        {other, Words} -> Words;
        _ -> <<"nothing">>
    end.

%% The first value of a key in a mapping as the parser gave it.
-spec find(binary(), yaml()) -> {ok, yaml()} | error.
find(Name, [{Key, Value} | Rest]) ->
    case key(Key) of
        Name -> {ok, Value};
        _ -> find(Name, Rest)
    end;
find(_Name, _) ->
    error.
