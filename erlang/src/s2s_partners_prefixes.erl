%%% Whether the names of elements and attributes in a stanza mean to the next parser what they mean to this server. ejabberd keeps
%%% prefixes as they were written in two cases: where the stream's header has declared them, which goes no further than that stream,
%%% and in all that comes over BOSH and WebSocket. Under a prefix an element hides what it is; under one that nothing declares the
%%% recipient's parser ends the stream, and with it the stanzas of everybody else.
-module(s2s_partners_prefixes).

-export([are_bound/1]).

-include_lib("xmpp/include/xmpp.hrl").

%% Declarations that count at one place, and attributes with prefixes of one element: each is looked for among the others.
-define(DECLARED_MAX, 64).
-define(ATTRIBUTES_MAX, 16).
%% Names that nothing else may be bound to (Namespaces in XML 1.0, 3).
-define(IS_RESERVED(Xmlns), (Xmlns =:= <<"http://www.w3.org/XML/1998/namespace">> orelse Xmlns =:= <<"http://www.w3.org/2000/xmlns/">>)).

%% What a stanza holds, decoded or not. An element has no prefix; an attribute has none, or one that is declared inside.
-spec are_bound([xmpp_element() | xmlel() | {xmlcdata, binary()}]) -> boolean().
are_bound(Els) ->
    are_bound(Els, []).

are_bound([], _) ->
    true;
are_bound([#xmlel{name = Name, attrs = Attrs, children = Children} | Rest], Declared) ->
    has_no_colon(Name) andalso
        case attributes(Attrs, Declared, []) of
            false -> false;
            Inside -> (Children =:= [] orelse are_bound(Children, Inside)) andalso are_bound(Rest, Declared)
        end;
are_bound([{xmlcdata, _} | Rest], Declared) ->
    are_bound(Rest, Declared);
are_bound([Decoded | Rest], Declared) when is_tuple(Decoded) ->
    %% Of ejabberd's own making. What a user has published stands in it as it was written.
    are_bound(tl(tuple_to_list(Decoded)), Declared) andalso are_bound(Rest, Declared);
are_bound([Inner | Rest], Declared) when is_list(Inner) ->
    are_bound(Inner, Declared) andalso are_bound(Rest, Declared);
are_bound([_ | Rest], Declared) when is_list(Rest) ->
    are_bound(Rest, Declared);
are_bound(_, _) ->
    true.

%% The prefixes that are declared inside; false: an attribute stands for nothing, or for more than one.
attributes([], Declared, []) ->
    Declared;
attributes([], Declared, Prefixed) ->
    length(Prefixed) =< ?ATTRIBUTES_MAX andalso length(Declared) =< ?DECLARED_MAX andalso are_declared(Prefixed, Declared, []) andalso Declared;
attributes([{<<"xmlns">>, Xmlns} | Rest], Declared, Prefixed) when not ?IS_RESERVED(Xmlns) ->
    attributes(Rest, Declared, Prefixed);
attributes([{<<"xmlns:", Prefix/binary>>, Xmlns} | Rest], Declared, Prefixed)
  when Prefix =/= <<>>, Prefix =/= <<"xml">>, Prefix =/= <<"xmlns">>, Xmlns =/= <<>>, not ?IS_RESERVED(Xmlns) ->
    has_no_colon(Prefix) andalso attributes(Rest, [Prefix | Declared], Prefixed);
attributes([{<<"xml:", Name/binary>>, _} | Rest], Declared, Prefixed) when Name =/= <<>> ->
    has_no_colon(Name) andalso attributes(Rest, Declared, Prefixed);
attributes([{<<"xmlns", More/binary>>, _} | _], _, _) when More =:= <<>>; binary_part(More, 0, 1) =:= <<":">> ->
    false;
attributes([{Name, _} | Rest], Declared, Prefixed) ->
    case has_no_colon(Name) of
        true -> attributes(Rest, Declared, Prefixed);
        false -> attributes(Rest, Declared, [Name | Prefixed])
    end.

%% Two prefixes may be bound to the same namespace, and then two attributes are one.
are_declared([], _, _) ->
    true;
are_declared([Name | Rest], Declared, Seen) ->
    [Prefix, Local] = binary:split(Name, <<":">>),
    Local =/= <<>> andalso has_no_colon(Local) andalso lists:member(Prefix, Declared) andalso not lists:member(Local, Seen)
        andalso are_declared(Rest, Declared, [Local | Seen]).

has_no_colon(<<$:, _/binary>>) -> false;
has_no_colon(<<_, Rest/binary>>) -> has_no_colon(Rest);
has_no_colon(<<>>) -> true.
