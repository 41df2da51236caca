%%% Contacts' subscriptions to the user's presence: what the user does about them, and the authorisation of a request on the user's
%%% behalf. Whether a request is authorised is decided in C.
-module(s2s_partners_subscriptions).

-export([authorise/1, roster_out/1, roster_item/2]).

-include_lib("xmpp/include/xmpp.hrl").
-include_lib("ejabberd/include/mod_roster.hrl").

%% What ejabberd does when a user approves a waiting request (RFC 6121 3.1.5): first the request goes into the roster as it would for
%% the question, then the answer. The clients get a roster push and no question, the contact the presence of each session. False:
%% the roster cannot be written, or somebody else has refused.
-spec authorise(presence()) -> boolean().
authorise(#presence{from = From, to = To} = Subscribe) ->
    Own = jid:remove_resource(To),
    Contact = jid:remove_resource(From),
    Host = Own#jid.lserver,
    _ = ejabberd_hooks:run_fold(roster_in_subscription, Host, false,
                                [Subscribe#presence{from = Contact, to = Own, status = [], sub_els = []}]),
    Subscribed = #presence{type = subscribed, from = Own, to = Contact},
    ejabberd_hooks:run(roster_out_subscription, Host, [Subscribed]),
    case s2s_partners_facts:sees({Own#jid.luser, Host}, Contact, none) of
        yes ->
            ejabberd_router:route(Subscribed),
            %% Its sessions have been told to send theirs.
            case ejabberd_sm:get_user_resources(Own#jid.luser, Host) of
                [] -> ejabberd_router:route(#presence{type = unavailable, from = Own, to = Contact});
                [_ | _] -> ok
            end,
            true;
        no ->
            false
    end.

%% What the user says to a contact.
-spec roster_out(presence()) -> ok.
roster_out(#presence{type = unsubscribed, from = From, to = To}) ->
    change(cancel, From#jid.luser, From#jid.lserver, To);
roster_out(#presence{type = Type, from = From, to = To}) when Type =:= subscribe; Type =:= subscribed ->
    change(add, From#jid.luser, From#jid.lserver, To);
roster_out(#presence{}) ->
    ok.

%% What the user does to an item of the roster, inside the roster's transaction, which may run twice.
-spec roster_item(#roster{}, Host :: binary()) -> ok.
roster_item(#roster{us = {LUser, LServer}, jid = {U, S, <<>>}, subscription = Subscription}, _Host) ->
    What = case Subscription of
               remove -> cancel;
               _ -> add
           end,
    change(What, LUser, LServer, jid:make(U, S));
roster_item(#roster{}, _Host) ->
    ok.     % of one resource: no contact's item

change(What, LUser, LServer, #jid{lserver = Domain} = Contact) ->
    case LUser =:= <<>> orelse s2s_partners_in_force:is_local(Domain) of
        true -> ok;
        false -> s2s_partners_cancellations:What(LUser, LServer, s2s_partners_facts:canonical(Contact))
    end.
