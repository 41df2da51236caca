%%% The module's own answers to stanzas. They are marked, and not judged a second time.
-module(s2s_partners_answers).

-export([is_own/1, give/2, refusal/2, unreadable/1, alike/2, plain_error/2, bare_error/1, send/1]).

-include_lib("xmpp/include/xmpp.hrl").

-define(MARK, s2s_partners_answer).

%% Whether the stanza is an answer of this module's. The mark is no part of what goes over a wire.
-spec is_own(stanza()) -> boolean().
is_own(Packet) ->
    xmpp:get_meta(Packet, ?MARK, false).

-spec send(stanza()) -> ok.
send(Packet) ->
    ejabberd_router:route(xmpp:put_meta(Packet, ?MARK, true)).

%% What the remote sender of a refused stanza gets. unavailable: what the host says itself for a user who has not answered yet, which
%% on ejabberd is nothing.
-spec give(s2s_partners_nif:reply(), stanza()) -> ok.
give(error, Packet) ->
    #jid{lserver = LServer} = To = xmpp:get_to(Packet),
    case s2s_partners_in_force:vhost_of(LServer) of
        {ok, _} -> send(plain_error(xmpp:set_from_to(Packet, To, xmpp:get_from(Packet)), 'service-unavailable'));
        %% Nobody here has that address, and ejabberd has no stream to answer from: it would write the whole stanza into its log.
        none -> ok
    end;
give(_, _) ->
    ok.

%% The error for a local sender, by the row of the reason. Errors and results get none.
-spec refusal(s2s_partners_nif:reason(), stanza()) -> stanza().
refusal(Reason, Packet) ->
    #{stanza_type := Type, stanza_condition := Condition, user := Text} = s2s_partners_nif:reason(Reason),
    xmpp:make_error(Packet, #stanza_error{type = binary_to_existing_atom(Type), reason = binary_to_existing_atom(Condition),
                                          text = xmpp:mk_text(Text, <<"en">>)}).

%% A local sender hears what is wrong with the names in the stanza, and not the stanza again: its client could not read it either.
%% Presence, errors and results get no answer.
-spec unreadable(stanza()) -> ok.
unreadable(#presence{}) ->
    ok;
unreadable(Packet) ->
    case xmpp:get_type(Packet) of
        Type when Type =:= error; Type =:= result ->
            ok;
        _ ->
            Text = <<"The stanza has an element with a prefix, or an attribute whose prefix is not declared in it; other servers could "
                     "not read it">>,
            send(xmpp:make_error(xmpp:set_els(Packet, []),
                                 #stanza_error{type = modify, reason = 'bad-request', text = xmpp:mk_text(Text, <<"en">>)}))
    end.

%% In the place of what ejabberd says in a user's name.
-spec alike(stanza(), 'service-unavailable' | 'item-not-found') -> stanza().
alike(Packet, Condition) ->
    plain_error(Packet, Condition).

%% An error with nothing in it but itself, from and to as they are. What ejabberd itself puts into one (the request, a text in the
%% sender's language) would tell a user who exists from one who does not.
-spec plain_error(stanza(), atom()) -> stanza().
plain_error(Packet, Condition) ->
    Error = #stanza_error{type = cancel, reason = Condition},
    Id = xmpp:get_id(Packet),
    From = xmpp:get_from(Packet),
    To = xmpp:get_to(Packet),
    Meta = meta(Packet),
    case Packet of
        #message{} -> #message{id = Id, type = error, from = From, to = To, sub_els = [Error], meta = Meta};
        #presence{} -> #presence{id = Id, type = error, from = From, to = To, sub_els = [Error], meta = Meta};
        #iq{} -> #iq{id = Id, type = error, from = From, to = To, sub_els = [Error], meta = Meta}
    end.

%% An error that ejabberd has written in a user's name, without the request and without words: it says the same as one of ours by the
%% same condition, so that what is kept back looks as what is not there. What is no error stays as it is.
-spec bare_error(stanza()) -> stanza().
bare_error(Packet) ->
    case xmpp:get_type(Packet) =:= error andalso xmpp:get_error(Packet) of
        #stanza_error{reason = Condition} = Error ->
            Plain = plain_error(Packet, Condition),
            xmpp:set_els(Plain, [Error#stanza_error{text = [], by = undefined}]);
        _ ->
            Packet
    end.

meta(#message{meta = Meta}) -> Meta;
meta(#presence{meta = Meta}) -> Meta;
meta(#iq{meta = Meta}) -> Meta.
