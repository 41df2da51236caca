%%% Status notes and personal events in what leaves for a partner that may not have them. One stanza goes to one recipient here and
%%% records are copies, so what is taken out of it is taken from nobody else. Everything is looked at once, in one pass.
-module(s2s_partners_notes).

-export([without_notes/1, without_events/2, has_published/1, says_something/1]).

-include_lib("xmpp/include/xmpp.hrl").

%% Deeper than this nothing is looked at and nothing is sent.
-define(DEPTH_MAX, 64).
-define(IS_STREAM_NS(Xmlns),
        (Xmlns =:= <<>> orelse Xmlns =:= <<"jabber:client">> orelse Xmlns =:= <<"jabber:server">> orelse
         Xmlns =:= <<"jabber:component:accept">>)).

%%% Status notes

%% Presence without the text beside it, wherever it stands (RFC 6121 4.7.2.2; XEP-0256), a result of last activity without its text
%% (XEP-0012). `unchanged` when there is none. Nobody asks about subscription requests, whose text is for the contact.
-spec without_notes(stanza()) -> unchanged | {changed, stanza()}.
without_notes(#presence{status = Status, sub_els = Els} = Presence) ->
    case clean_all(Els, <<>>, 1) of
        unchanged when Status =:= [] -> unchanged;
        unchanged -> {changed, Presence#presence{status = []}};
        Cleaned -> {changed, Presence#presence{status = [], sub_els = Cleaned}}
    end;
without_notes(#iq{sub_els = Els} = IQ) ->
    case clean_activity(Els) of
        unchanged -> unchanged;
        Cleaned -> {changed, IQ#iq{sub_els = Cleaned}}
    end;
without_notes(#message{}) ->
    unchanged.

%% The children without what is to go, or `unchanged`.
clean_all(Els, Xmlns, Depth) ->
    case clean_list(Els, Xmlns, Depth, false, []) of
        {false, _} -> unchanged;
        {true, Cleaned} -> Cleaned
    end.

clean_list([], _, _, Changed, Done) ->
    {Changed, case Changed of true -> lists:reverse(Done); false -> [] end};
clean_list([El | Rest], Xmlns, Depth, Changed, Done) ->
    case clean(El, Xmlns, Depth) of
        keep -> clean_list(Rest, Xmlns, Depth, Changed, [El | Done]);
        remove -> clean_list(Rest, Xmlns, Depth, true, Done);
        {changed, Other} -> clean_list(Rest, Xmlns, Depth, true, [Other | Done])
    end.

clean({xmlcdata, _}, _, _) ->
    keep;
clean(_, _, Depth) when Depth > ?DEPTH_MAX ->
    remove;
clean(#xmlel{name = Name, attrs = Attrs, children = Children} = El, Inherited, Depth) ->
    Xmlns = namespace(Attrs, Inherited),
    case Name of
        <<"status">> when ?IS_STREAM_NS(Xmlns) ->
            remove;
        <<"query">> when Xmlns =:= ?NS_LAST ->
            clean_children(El, [Child || #xmlel{} = Child <- Children], Xmlns, Depth, has_text(Children));
        _ ->
            clean_children(El, Children, Xmlns, Depth, false)
    end;
clean(Decoded, Inherited, Depth) ->
    %% Of ejabberd's own making: a room's word on an occupant, a delay, a hash, last activity.
    case holds_no_note(element(1, Decoded)) of
        true ->
            keep;
        false ->
            clean(encoded(Decoded), Inherited, Depth)
    end.

clean_children(_, [], _, _, false) ->
    keep;
clean_children(El, Children, Xmlns, Depth, WithoutText) ->
    case clean_all(Children, Xmlns, Depth + 1) of
        unchanged when WithoutText -> {changed, El#xmlel{children = Children}};
        unchanged -> keep;
        Cleaned -> {changed, El#xmlel{children = Cleaned}}
    end.

%% Elements that ejabberd and its modules put into presence, whose definitions have no place for a note: not worth encoding.
holds_no_note(muc_user) -> true;
holds_no_note(delay) -> true;
holds_no_note(vcard_xupdate) -> true;
holds_no_note(caps) -> true;
holds_no_note(stanza_error) -> true;
holds_no_note(_) -> false.

%% Only what an iq itself says of last activity is looked at: what else it carries is no presence.
clean_activity(Els) ->
    {Changed, Cleaned} = lists:mapfoldl(fun clean_activity/2, false, Els),
    case Cleaned of
        true -> Changed;
        false -> unchanged
    end.

clean_activity(#last{status = Status} = Last, Changed) ->
    {Last#last{status = <<>>}, Changed orelse Status =/= <<>>};
clean_activity(#xmlel{name = <<"query">>, attrs = Attrs} = El, Changed) ->
    case namespace(Attrs, <<>>) of
        ?NS_LAST ->
            case clean(El, <<>>, 1) of
                {changed, Other} -> {Other, true};
                keep -> {El, Changed}
            end;
        _ ->
            {El, Changed}
    end;
clean_activity(El, Changed) ->
    {El, Changed}.

%%% Personal events

%% What is personal in a message, or in a result, taken out. Bare: it is sent by the user's bare address, so by ejabberd in the user's
%% name. none: nothing personal in it. {some, Stanza}: without it. all: nothing else is in it, or an answer of which a part would
%% say that there is more.
-spec without_events(message() | iq(), Bare :: boolean()) -> none | {some, stanza()} | all.
without_events(#message{sub_els = Els} = Message, Bare) ->
    %% Nearly every message has no event at all.
    case lists:any(fun is_event/1, Els) of
        false ->
            none;
        true ->
            case walk(Els, event_place(Bare), Bare) of
                {false, _, _} -> none;
                {true, Others, Kept} ->
                    case Others orelse has_words(Message, Bare) of
                        true -> {some, Message#message{sub_els = Kept}};
                        false -> all
                    end
            end
    end;
without_events(#iq{sub_els = Els} = IQ, Bare) ->
    case walk(Els, answer_place(Bare), Bare) of
        {false, _, _} -> none;
        {true, true, Kept} when Bare -> {some, IQ#iq{sub_els = Kept}};
        {true, _, _} -> all
    end.

is_event(#ps_event{}) -> true;
is_event(#xmlel{name = <<"event">>, attrs = Attrs}) -> namespace(Attrs, <<>>) =:= ?NS_PUBSUB_EVENT;
is_event(_) -> false.

%% What the user has written beside the event. What stands beside the events of a service goes with them: headers of delivery.
has_words(#message{body = Body}, true) -> Body =/= [];
has_words(#message{body = [], subject = [], thread = undefined}, false) -> false;
has_words(#message{}, false) -> true.

%% Where nodes are named: XEP-0060 7.1.2 (event), 6.5 (pubsub), XEP-0030 4 (nodes) and 3 (node).
event_place(_) ->
    fun(<<"event">>, ?NS_PUBSUB_EVENT) -> event;
       (_, _) -> none
    end.

%% Of its own nodes a client says what it likes (XEP-0115); those of an account are what its user has published at.
answer_place(Bare) ->
    fun(<<"pubsub">>, ?NS_PUBSUB) -> pubsub;
       (<<"query">>, ?NS_DISCO_ITEMS) when Bare -> nodes;
       (<<"query">>, ?NS_DISCO_INFO) when Bare -> node;
       (_, _) -> none
    end.

%% Whether anything personal is in these elements, whether anything else is, and what is left.
walk(Els, PlaceOf, Bare) ->
    {Personal, Others, Kept} =
        lists:foldl(fun(El, {Personal, Others, Kept}) ->
                            case events_in(El, PlaceOf) of
                                none -> {Personal, Others orelse counts(El, PlaceOf, Bare), [El | Kept]};
                                all -> {true, Others, Kept};
                                {some, Rest} -> {true, true, [Rest | Kept]}
                            end
                    end, {false, false, []}, Els),
    {Personal, Others, lists:reverse(Kept)}.

%% Whether an element without personal events is a reason to send the rest.
counts({xmlcdata, _}, _, _) ->
    false;
counts(El, PlaceOf, Bare) ->
    PlaceOf(name(El), xmpp:get_ns(El)) =/= none orelse not Bare.

events_in({xmlcdata, _}, _) ->
    none;
events_in(El, PlaceOf) ->
    case PlaceOf(name(El), xmpp:get_ns(El)) of
        none -> none;
        Place -> held(encoded(El), Place)
    end.

%% What one such element holds.
held(#xmlel{attrs = Attrs, children = Children} = El, Place) ->
    Named = Place =:= nodes orelse Place =:= node,
    case Named andalso is_personal_node(Attrs) of
        true ->
            all;
        false ->
            {Personal, Others} = lists:partition(fun(Child) -> is_personal(Child, Place) end, Children),
            %% A list without anything in it is an answer as well.
            Rest = Named orelse [Child || #xmlel{} = Child <- Others] =/= [],
            case Personal of
                [] -> none;
                %% An answer of which something is kept back would say that there is something.
                _ when Rest, Place =/= pubsub -> {some, El#xmlel{children = Others}};
                _ -> all
            end
    end.

is_personal(#xmlel{attrs = Attrs}, event) ->
    s2s_partners_nif:is_personal_event(attribute(<<"node">>, Attrs));
is_personal(#xmlel{name = <<"items">>, attrs = Attrs}, pubsub) ->
    s2s_partners_nif:is_personal_event(attribute(<<"node">>, Attrs));
is_personal(#xmlel{attrs = Attrs}, nodes) ->
    is_personal_node(Attrs);
is_personal(_, _) ->
    false.

is_personal_node(Attrs) ->
    Node = attribute(<<"node">>, Attrs),
    Node =/= <<>> andalso s2s_partners_nif:is_personal_event(Node).

%%% The user's own words in an answer that ejabberd gives

%% Whether a payload of XEP-0060 holds anything published.
-spec has_published(xmpp_element() | xmlel()) -> boolean().
has_published(Payload) ->
    #xmlel{children = Children} = encoded(Payload),
    lists:any(fun(#xmlel{name = Name, children = Inside}) ->
                      s2s_partners_nif:is_published(Name, [El || #xmlel{} = El <- Inside] =/= []);
                 (_) ->
                      false
              end, Children).

%% Whether anything is said inside the payload: a text, or an attribute that does more than to repeat the question.
-spec says_something(xmpp_element() | xmlel()) -> boolean().
says_something(Payload) ->
    says_something(encoded(Payload), 1).

says_something(#xmlel{children = Children}, Depth) ->
    lists:any(fun(#xmlel{} = Child) ->
                      Depth > ?DEPTH_MAX orelse says_something(Child, Depth + 1) orelse has_own_attribute(Child);
                 ({xmlcdata, Text}) ->
                      not is_blank(Text)
              end, Children).

has_own_attribute(#xmlel{attrs = Attrs}) ->
    lists:any(fun({Name, _}) -> not s2s_partners_nif:is_echo(Name) end, Attrs).

is_blank(Text) ->
    string:trim(Text, both, " \t\n\v\f\r") =:= <<>>.

%%% Elements

name(#xmlel{name = Name}) -> Name;
name(Decoded) -> xmpp:get_name(Decoded).

encoded(#xmlel{} = El) -> El;
encoded(Decoded) -> xmpp:encode(Decoded, ?NS_CLIENT).

%% The element's own namespace, or the one it inherits; <<>> is that of the stream.
namespace(Attrs, Inherited) ->
    case lists:keyfind(<<"xmlns">>, 1, Attrs) of
        {_, Xmlns} -> Xmlns;
        false -> Inherited
    end.

attribute(Name, Attrs) ->
    case lists:keyfind(Name, 1, Attrs) of
        {_, Value} -> Value;
        false -> <<>>
    end.

has_text(Children) ->
    lists:any(fun({xmlcdata, _}) -> true;
                 (_) -> false
              end, Children).
