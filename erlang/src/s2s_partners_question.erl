%%% What the NIF is asked about a stanza: what it is, whose the local address is, whose policy counts; and the asking, fact by fact.
-module(s2s_partners_question).

-export([policy_of/1, label/2, kind/2, is_well_formed/2, has_readable_names/1, local_kind/2, is_bare/1, decide/5]).

-include_lib("xmpp/include/xmpp.hrl").

%% The virtual host that a local domain belongs to, and its policy.
-spec policy_of(binary()) -> {binary(), s2s_partners_nif:policy() | none}.
policy_of(LServer) ->
    case s2s_partners_in_force:vhost_of(LServer) of
        {ok, VHost} ->
            case s2s_partners_in_force:policy(VHost) of
                {ok, Policy} -> {VHost, Policy};
                none -> {VHost, none}
            end;
        none ->
            {LServer, none}
    end.

%% What counters and logs call the partner.
-spec label(s2s_partners_nif:policy() | none, binary()) -> binary().
label(none, _) ->
    <<"unlisted">>;
label(Policy, Domain) ->
    case s2s_partners_nif:policy_partner(Policy, Domain) of
        none -> <<"unlisted">>;
        Name -> Name
    end.

%% The address is the one that it is for: the five services are asked of bare domains.
-spec kind(stanza(), jid()) -> s2s_partners_nif:kind().
kind(#message{type = Type}, _) ->
    s2s_partners_nif:stanza_kind(message, Type);
kind(#presence{type = available, sub_els = Els}, _) ->
    case Els =/= [] andalso lists:any(fun joins/1, Els) of
        true -> join;
        false -> presence
    end;
kind(#presence{type = Type}, _) ->
    s2s_partners_nif:stanza_kind(presence, Type);
kind(#iq{type = get, sub_els = [El]}, #jid{luser = <<>>, lresource = <<>>}) ->
    case s2s_partners_nif:is_service(xmpp:get_ns(El), xmpp:get_name(El)) of
        true -> service;
        false -> 'iq-get'
    end;
kind(#iq{type = Type}, _) ->
    s2s_partners_nif:stanza_kind(iq, Type).

%% XEP-0045 7.2
joins(#muc{}) -> true;
joins(#xmlel{name = <<"x">>} = El) -> xmpp:get_ns(El) =:= ?NS_MUC;
joins(_) -> false.

%% A host with accounts is its own virtual host. All else (rooms, components) has none.
-spec local_kind(VHost :: binary(), jid()) -> s2s_partners_nif:local_kind().
local_kind(LServer, #jid{luser = <<>>, lserver = LServer}) -> host;
local_kind(LServer, #jid{lserver = LServer}) -> user;
local_kind(_, #jid{luser = <<>>, lresource = <<>>}) -> component;
local_kind(_, #jid{}) -> room.

user_of(user, LUser) -> LUser;
user_of(_, _) -> <<>>.

-spec is_bare(jid()) -> boolean().
is_bare(#jid{lresource = Resource}) -> Resource =:= <<>>.

question(Direction, Kind, user, Domain) ->
    s2s_partners_nif:question(Direction, Kind, user, s2s_partners_nif:has_spellings(Domain));
question(Direction, Kind, Local, _) ->
    s2s_partners_nif:question(Direction, Kind, Local, false).

%% Asks until it is decided. Each answer that names a fact is one look-up.
-spec decide(s2s_partners_nif:direction(), s2s_partners_nif:kind(), s2s_partners_nif:local_kind(), binary(),
             s2s_partners_facts:about()) ->
          allow | allow_without_events | {allow, s2s_partners_nif:change(), boolean()}
        | {refuse, s2s_partners_nif:reason(), s2s_partners_nif:rule(), s2s_partners_nif:reply()}.
decide(Direction, Kind, Local, Domain, #{policy := Policy, own := #jid{luser = LUser}} = About) ->
    authorise(Policy, Domain, user_of(Local, LUser), question(Direction, Kind, Local, Domain), About).

authorise(Policy, Domain, User, Question, About) ->
    case s2s_partners_nif:authorise(Policy, Domain, User, Question) of
        Fact when is_atom(Fact), Fact =/= allow, Fact =/= allow_without_events ->
            Value = s2s_partners_facts:look_up(Fact, About),
            authorise(Policy, Domain, User, s2s_partners_nif:fact(Question, Fact, Value), About);
        Decision ->
            Decision
    end.

%% RFC 6120 8.2.3: an iq has an id, and a request exactly one payload. The recipient has to be able to read its names.
-spec is_well_formed(s2s_partners_nif:kind(), stanza()) -> boolean().
is_well_formed(Kind, Packet) ->
    is_complete(Kind, Packet) andalso has_readable_names(Packet).

-spec has_readable_names(stanza()) -> boolean().
has_readable_names(Packet) ->
    s2s_partners_prefixes:are_bound(xmpp:get_els(Packet)).

is_complete(Kind, #iq{id = Id, sub_els = Els}) when Kind =:= 'iq-get'; Kind =:= 'iq-set'; Kind =:= service ->
    Id =/= <<>> andalso length(Els) =:= 1;
is_complete(_, #iq{id = Id}) ->
    Id =/= <<>>;
is_complete(_, _) ->
    true.
