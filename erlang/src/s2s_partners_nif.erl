%%% The border between Erlang and C. Every verdict, reply, change and text for administrators comes from here;
%%% Erlang finds out what the host is doing, asks, and acts on the answer.
%%%
%%% * No function fails because of what a stranger sent: what is no domain is simply not listed. badarg is an
%%%   error in our own code. Where the library is not there, or memory runs out, a function raises: the caller
%%%   refuses with internal-error.
%%% * Domains and addresses are taken as they come, in any spelling: C makes each of them canonical before it
%%%   compares.
%%% * A reason is an atom, spelled as in docs/reasons.md: 'unlisted-domain'. Its texts: reason/1. A rule is a
%%%   text for the log, ready to be shown.
%%% * The record of a stream belongs to the process that made it: in any other one every stream_… function is
%%%   badarg. Policies, tables, stores and lists may be used by all processes at the same time.
%%% * Times: Ms is erlang:monotonic_time(millisecond), as it is (it may be negative); Seconds are since the
%%%   epoch.
-module(s2s_partners_nif).

-on_load(load/0).

-export([loaded/0, version/0, counts/0]).
%% Names
-export([domain/1, has_spellings/1, same_domain/2]).
%% Configuration and policies
-export([compile/1, compile_policy/2, table_partners/1]).
-export([policy_find/2, policy_partner/2, policy_partners/1, policy_default/1, policy_limits/1, policy_facts/1]).
-export([external_access/3, route/3]).
%% Certificates
-export([trust_store/1, trust_store_facts/1, crl_read/1, crl_facts/1, crl_follows/3, crl_same/2, crl_mentions/2, crl_begins/2]).
-export([judge/1, judged/1, own_certificate/2, own_chain/1, certificate_pins/1, learned/0]).
%% Streams
-export([stream_new/4, stream_bind/2, stream_identify/2, stream_domain/1, stream_partner/1, stream_observe/3, stream_certificate/1]).
-export([stream_offer/1, stream_starttls/1, stream_auth/1, stream_dialback/1, stream_verify/1, stream_wrong_key/1]).
-export([stream_premature/1, stream_handshake/3, stream_plan/2, stream_sasl_failed/1, stream_dialback_answer/3]).
-export([stream_authenticated/3, stream_established/1, stream_stanza/3, stream_stanza/4, stream_rejudge/2, stream_refuse/3]).
-export([stream_used/1, stream_view/1]).
%% Places and times
-export([stream_place/1, stream_counted/2, stream_queue/1, stream_queue_emptied/1]).
-export([stream_active/2, stream_keepalive_sent/3, stream_keepalive_answered/1, stream_due/3]).
-export([place/4, limits_suffice/3, key_question/2, waiting_room/1, waiting_crowded/2, waiting_due/2]).
%% Stanzas
-export([stanza_kind/2, question/4, fact/3, authorise/4, passes/4, stream_passes/5, is_service/2, is_personal_event/1]).
-export([reply_to/2, reply_to_malformed/3, refused_route/4, dialback_error/1, own_way/4]).
-export([own_words/3, is_published/2, is_echo/1, answer_is_replaced/2]).
%% Texts, tables and suppositions
-export([reason/1, reasons/0, words/1, vocabulary/0, rows/0, explain_stream/2]).

-ifdef(S2SP_NIF_FAULTS).
-export([fail_after/1, has_failed/0]).
-endif.

-export_type([decision/0, refusal/0, reason/0, rule/0, value/0, issue/0, issue_parts/0, domain/0, ms/0, seconds/0]).
-export_type([table/0, policy/0, store/0, crl/0, stream/0, partner/0, limits/0, report/0, method/0, match/0]).
-export_type([direction/0, kind/0, local_kind/0, fact/0, fact_value/0, question/0, change/0, reply/0]).
-export_type([verdict/0, offered/0, peer_feature/0, constraint/0, xmlel/0]).

%% The opaque things are NIF resources: a reference to Erlang. They are freed when no process refers to them
%% any more.
-type table() :: reference().
-type policy() :: reference().
-type store() :: reference().
-type crl() :: reference().
-type stream() :: reference().

-type domain() :: binary().
-type ms() :: integer().
-type seconds() :: integer().

-type reason() :: atom().
-type rule() :: binary().
-type refusal() :: {refuse, reason(), rule()}.
%% wait: this step is not taken (the element is ignored, or answered with an error of its own protocol); the
%% stream goes on.
-type decision() :: allow | {wait, reason(), rule()} | refusal().

%% What the administrator wrote. A list or mapping may hold anything; keys of a mapping may come twice.
%% `absent` and `other` name what stands there in the administrator's words ("nothing", "a date").
-type value() :: boolean() | number() | binary() | {list, [value()]} | {mapping, [{binary(), value()}]}
               | absent | {absent, binary()} | {other, binary()}.

%% An issue as it is told, and one that Erlang has found: severity, code, path, what was written, what is
%% allowed and the remedy.
-type issue() :: #{severity := error | warning, code := binary(), path := binary(), got := binary(), expected := binary(),
                   nearest := binary(), message := binary()}.
-type issue_parts() :: {error | warning, Code :: binary(), Path :: binary(), Got :: binary(), Expected :: binary()}.

-type method() :: sasl | tls_dialback | tcp_dialback.
-type match() :: primary | additional | wildcard | default.
-type partner() :: #{name := domain(), description := binary(), place := binary(),
                     type := federated | public_verified | public_unverified,
                     tls := required | optional | not_supported, sasl := required | optional | not_supported,
                     dialback := boolean(), methods := [method()], row_methods := [method()], match => match(),
                     additional_domains := [domain()], trust_anchors := binary() | none, pins := [binary()],
                     crls := [binary()], revocation := off | if_known | required, host_crls := boolean(),
                     connection_limit := pos_integer(), keepalive := boolean(),
                     proxy := none | {Host :: binary(), inet:port_number()},
                     presence_authorization := automatic | user, group_chat := allow | refuse,
                     personal_events := allow | refuse,
                     external_access := none | {allow | deny, Users :: non_neg_integer()}, given := [atom()]}.
-type limits() :: #{connections := pos_integer(), partner_connections := pos_integer(), establishment_timeout := pos_integer(),
                    inactivity_timeout := pos_integer(), keepalive_interval := pos_integer()}.

%% An option of ejabberd's that is stricter than an entry (module/core/host.h). forbids: methods it rules out.
-type constraint() :: #{forbids => [method()], demands_certificate => boolean(), fact => binary(), remedy => binary(),
                        remedy_all => binary(), path := binary(), got => binary(), lost := binary()}.

-type verdict() :: valid | 'no-certificate' | untrusted | expired | 'not-yet-valid' | revoked | 'revocation-unknown'
                 | 'identity-mismatch' | 'pin-mismatch' | malformed | unknown.
-type report() :: #{verdict := verdict(), cause := binary(), presented := non_neg_integer(), learned := non_neg_integer(),
                    depth => pos_integer(), subject => binary(), issuer => binary(), serial => binary(),
                    not_before => seconds(), not_after => seconds(), chain_not_after => seconds(),
                    revocation_until => seconds(), uncovered => binary(), uncovered_depth => pos_integer(),
                    uncovered_issuer => binary(), links := binary(), name_count := non_neg_integer(),
                    names := [{Type :: atom(), Name :: binary(), Finding :: atom()}], pins := [binary()]}.

-type direction() :: incoming | outgoing.
-type offered() :: starttls | starttls_required | sasl | dialback | bidi.
-type peer_feature() :: starttls | starttls_required | sasl_external | dialback.

-type kind() :: unknown | message | groupchat | 'message-error' | presence | join | unavailable | 'presence-error' | probe
              | subscribe | subscribed | unsubscribe | unsubscribed | 'iq-get' | 'iq-set' | 'iq-result' | 'iq-error' | service.
-type local_kind() :: user | host | component | room.
-type fact() :: access | account | listed | directed | requested | standing | blocked | contacts | waiting.
-type fact_value() :: atom().
%% A stanza's facts in one small integer: no garbage when they are asked about again. Only question/4 and
%% fact/3 make one.
-type question() :: non_neg_integer().
-type change() :: none | 'status-note-removed' | 'subscription-authorised'.
%% unavailable: what the host itself says for a user whose answer is outstanding.
-type reply() :: none | error | error_if_directed | unavailable.

-type xmlel() :: tuple(). % #xmlel{} of fast_xml

-ifndef(S2SP_VERSION).
-define(S2SP_VERSION, "unknown").
-endif.
-define(NOT_LOADED, {?MODULE, not_loaded, loaded()}).

%% A library that does not load leaves the module with functions that raise, and says why in loaded/0; were
%% on_load to fail, every call would look for the module again. One that must not take the place of a running
%% one is refused: the running one stays.
load() ->
    File = filename:join(directory(), "s2s_partners"),
    try erlang:load_nif(File, list_to_binary(?S2SP_VERSION)) of
        ok ->
            persistent_term:erase({?MODULE, failure}),
            ok;
        {error, {upgrade, Text}} ->
            {error, {upgrade, Text}};
        {error, {_, Text}} ->
            persistent_term:put({?MODULE, failure}, unicode:characters_to_binary(Text)),
            ok
    catch
        Class:Reason ->
            persistent_term:put({?MODULE, failure}, iolist_to_binary(io_lib:format("~p: ~p", [Class, Reason]))),
            ok
    end.

directory() ->
    case os:getenv("S2S_PARTNERS_PRIV") of
        false ->
            case code:priv_dir(s2s_partners) of
                {error, bad_name} ->
                    filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
                Directory ->
                    Directory
            end;
        Directory ->
            Directory
    end.

%% ok, or why the library is not there. The stub answers where it is not.
-spec loaded() -> ok | {error, binary()}.
loaded() ->
    case persistent_term:get({?MODULE, failure}, <<"the library has not been loaded">>) of
        ok -> ok;       % never here
        Why -> {error, Why}
    end.

%% The version of the library, which is that of the beams, or it would not have loaded.
-spec version() -> binary().
version() ->
    erlang:nif_error(?NOT_LOADED).

%% Live objects and the bytes that C has allocated for them: for the console and the soak.
-spec counts() -> #{atom() => non_neg_integer()}.
counts() ->
    erlang:nif_error(?NOT_LOADED).

%%% Names

%% The canonical form: A-labels in small letters. The error is a clause: "is an IP address, not a domain".
-spec domain(binary()) -> {ok, domain()} | {error, binary()}.
domain(_Name) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether the name may be one of several that mean the same domain although ejabberd takes them for different
%% ones.
-spec has_spellings(binary()) -> boolean().
has_spellings(_Name) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether both are domains, and the same one.
-spec same_domain(binary(), binary()) -> boolean().
same_domain(_One, _Other) ->
    erlang:nif_error(?NOT_LOADED).

%%% Configuration and policies

%% A table of partners. locals: the domains of this server. lists: place as the administrator knows it
%% (<<"modules.mod_s2s_partners.partners">>, a file) and the value there. issues: what Erlang has found
%% itself, told first. Dirty CPU.
-spec compile(#{locals => [binary()], lists => [{Place :: binary(), value()}], issues => [issue_parts()]}) ->
          {ok, table(), [issue()]} | {error, [issue()]}.
compile(Spec) ->
    compile_nif(Spec, crypto:strong_rand_bytes(16)).

compile_nif(_Spec, _Seed) ->
    erlang:nif_error(?NOT_LOADED).

%% The policy of one host over a table. default, limits, external_access: the values, absent where nothing was
%% written. constraints: all that the host can have, at most 32, in the order in which they are told; holding:
%% which of them (by their number, from 1) hold, for all domains or for those named; <<>> among them stands
%% for wildcards and unlisted domains. crls: the host has revocation lists for the authorities it trusts.
%% out_of_reach: it takes part in no stream. Table none: no table could be made; only the issues are of
%% interest then ({error, Issues}, perhaps none). Dirty CPU.
-spec compile_policy(table() | none, #{default => value(), limits => value(), external_access => value(),
                                       constraints => [constraint()], holding => [{pos_integer(), all | [binary()]}],
                                       issues => [issue_parts()], crls => boolean(), out_of_reach => boolean()}) ->
          {ok, policy(), [issue()]} | {error, [issue()]}.
compile_policy(Table, Spec) ->
    compile_policy_nif(Table, Spec, crypto:strong_rand_bytes(16)).

compile_policy_nif(_Table, _Spec, _Seed) ->
    erlang:nif_error(?NOT_LOADED).

%% All partners of a table, in its order: to find out which constraints hold for their domains. Dirty CPU.
-spec table_partners(table()) -> [#{name := domain(), additional_domains := [domain()], dialback := boolean(),
                                    row_methods := [method()], trust_anchors := binary() | none, crls := [binary()],
                                    connection_limit := non_neg_integer(), place := binary()}].
table_partners(_Table) ->
    erlang:nif_error(?NOT_LOADED).

%% The partner that the domain belongs to, the default policy included; none: refuse.
-spec policy_find(policy(), binary()) -> none | partner().
policy_find(_Policy, _Domain) ->
    erlang:nif_error(?NOT_LOADED).

%% Its name alone, <<"unlisted">> under the default policy: the label of counters and logs. Cheap.
-spec policy_partner(policy(), binary()) -> none | domain().
policy_partner(_Policy, _Domain) ->
    erlang:nif_error(?NOT_LOADED).

%% All of them in the order of the table, without the default policy. Dirty CPU.
-spec policy_partners(policy()) -> [partner()].
policy_partners(_Policy) ->
    erlang:nif_error(?NOT_LOADED).

%% The policy for unlisted domains, none when they are refused.
-spec policy_default(policy()) -> none | partner().
policy_default(_Policy) ->
    erlang:nif_error(?NOT_LOADED).

-spec policy_limits(policy()) -> limits().
policy_limits(_Policy) ->
    erlang:nif_error(?NOT_LOADED).

-spec policy_facts(policy()) -> #{partners := non_neg_integer(), default := boolean(), out_of_reach := boolean(),
                                  least_connections := pos_integer(), unlisted_rule := rule()}.
policy_facts(_Policy) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether the local user (its prepared localpart) may exchange stanzas with the domain's partner; domain
%% none: with any at all.
-spec external_access(policy(), binary() | none, User :: binary()) -> allowed | denied.
external_access(_Policy, _Domain, _User) ->
    erlang:nif_error(?NOT_LOADED).

%% A domain that nobody has opened a stream with yet: may we route to it, or (DialbackVerify) ask it about a
%% key? Policy none: the host has none.
-spec route(policy() | none, binary(), DialbackVerify :: boolean()) -> decision().
route(_Policy, _Domain, _DialbackVerify) ->
    erlang:nif_error(?NOT_LOADED).

%%% Certificates

%% anchors: a partner's file, nothing else is trusted; or file and path, the host's own bundle and directory
%% of hashed names. Warnings and the message name the file, one line each. Dirty I/O.
-spec trust_store(#{anchors => binary(), file => binary(), path => binary(), now := seconds()}) ->
          {ok, store(), Warnings :: [binary()]} | {error, Message :: binary()}.
trust_store(_Source) ->
    erlang:nif_error(?NOT_LOADED).

%% not_after: when the last of the anchors expires; 0: not known (the host's own store).
-spec trust_store_facts(store()) -> #{count := non_neg_integer(), not_after := seconds()}.
trust_store_facts(_Store) ->
    erlang:nif_error(?NOT_LOADED).

%% A file of revocation lists. Dirty I/O.
-spec crl_read(Path :: binary()) -> {ok, crl(), Warnings :: [binary()]} | {error, Message :: binary()}.
crl_read(_Path) ->
    erlang:nif_error(?NOT_LOADED).

%% next_update, this_update: absent when no list says when there will be another.
-spec crl_facts(crl()) -> #{lists := non_neg_integer(), entries := non_neg_integer(), size := non_neg_integer(),
                            this_update => seconds(), next_update => seconds()}.
crl_facts(_Crl) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether Next may take the place of Before; Again: when the answer may be another, 0: never. Dirty CPU.
-spec crl_follows(Next :: crl(), Before :: crl(), seconds()) -> ok | {error, Message :: binary(), Again :: seconds()}.
crl_follows(_Next, _Before, _Now) ->
    erlang:nif_error(?NOT_LOADED).

%% Dirty CPU: lists may be large.
-spec crl_same(crl(), crl()) -> boolean().
crl_same(_One, _Other) ->
    erlang:nif_error(?NOT_LOADED).

%% Links: of a report.
-spec crl_mentions(crl(), Links :: binary()) -> boolean().
crl_mentions(_Crl, _Links) ->
    erlang:nif_error(?NOT_LOADED).

%% When the next of its lists begins that is not valid yet; 0: none.
-spec crl_begins(crl(), seconds()) -> seconds().
crl_begins(_Crl, _Now) ->
    erlang:nif_error(?NOT_LOADED).

%% The peer's certificate: chain is what it showed, DER, the leaf first; [] when it showed none. Intermediates
%% that were learned from other handshakes are added behind it as hints. policy: of the stream's host; pins
%% and the weight of revocation are those of the domain's partner, and a domain that is nobody's is `unknown`,
%% never valid. policy none: no pins, no revocation. Dirty CPU.
-spec judge(#{chain := [binary()], store := store() | none, domain := binary(), policy := policy() | none, crls => [crl()],
              now := seconds()}) -> {verdict(), Cause :: binary(), report()}.
judge(_Question) ->
    erlang:nif_error(?NOT_LOADED).

%% What judge/1 has said to the same question within the last ten minutes, if that was `valid` and no date of
%% the chain or of a revocation list has passed since; none: ask it. The store remembers, and forgets when it ends.
-spec judged(map()) -> {valid, Cause :: binary(), report()} | none.
judged(_Question) ->
    erlang:nif_error(?NOT_LOADED).

%% A certificate of our own, DER: would a partner that checks as we do accept it for the domain?
-spec own_certificate(binary(), binary()) ->
          {ok, #{names_domain := boolean(), key_strong := boolean(), self_signed := boolean(), key_type := binary(),
                 key_bits := non_neg_integer(), not_before := seconds(), not_after := seconds(), subject := binary(),
                 issuer := binary(), names := binary()}} | error.
own_certificate(_Der, _Domain) ->
    erlang:nif_error(?NOT_LOADED).

%% The chain of a file of ours, DER, and what partners could object to. Dirty CPU.
-spec own_chain(#{chain := [binary()], store := store(), domain := binary(), now := seconds()}) ->
          {ok, #{verdict := verdict(), cause := binary(),
                 findings := [#{fault := atom(), certificate := non_neg_integer(), subject := binary(), issuer := binary(),
                                not_before := seconds(), not_after := seconds(), source := binary()}]}} | error.
own_chain(_Question) ->
    erlang:nif_error(?NOT_LOADED).

%% The certificates in a text, PEM or DER, and the pins of their keys. Dirty CPU.
-spec certificate_pins(binary()) ->
          {ok, [#{pin := binary(), authority := boolean(), not_after := seconds(), subject := binary(), issuer := binary()}]}
        | error.
certificate_pins(_Text) ->
    erlang:nif_error(?NOT_LOADED).

%% The pool of learned intermediates. status: ok, or why nothing is learned.
-spec learned() -> #{status := ok | binary(), kept := non_neg_integer(), bytes := non_neg_integer(),
                     seen := non_neg_integer(), admitted := non_neg_integer(), refused := non_neg_integer(),
                     evicted := non_neg_integer()}.
learned() ->
    erlang:nif_error(?NOT_LOADED).

%%% Streams

%% A record: one for each stream, made in its process before anything else. Policy none: everything is
%% refused. VerifyOnly: an outgoing stream that is opened only to have a dialback key verified.
-spec stream_new(direction(), policy() | none, ms(), VerifyOnly :: boolean()) -> stream().
stream_new(_Direction, _Policy, _Now, _VerifyOnly) ->
    erlang:nif_error(?NOT_LOADED).

%% The host that an incoming stream is for has become known, and with it the policy. Once: a record made with
%% a policy, or bound, keeps its own until it is judged anew; another one then is wrong-domain.
-spec stream_bind(stream(), policy() | none) -> allow | refusal().
stream_bind(_Stream, _Policy) ->
    erlang:nif_error(?NOT_LOADED).

%% The peer's domain has become known (the `from` of its header, or whom we connect to), or is repeated.
%% Another one is wrong-domain. <<>>: a header without from; nothing changes.
-spec stream_identify(stream(), binary()) -> decision().
stream_identify(_Stream, _Domain) ->
    erlang:nif_error(?NOT_LOADED).

%% The canonical domain, <<>> while it is not known.
-spec stream_domain(stream()) -> domain().
stream_domain(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% The name of its partner, <<"unlisted">> under the default policy, none while there is none.
-spec stream_partner(stream()) -> domain() | none.
stream_partner(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% Facts as the connection reports them now: TLS, and the verdict of judge/1 (unknown when it was not judged).
-spec stream_observe(stream(), Tls :: boolean(), verdict()) -> ok.
stream_observe(_Stream, _Tls, _Verdict) ->
    erlang:nif_error(?NOT_LOADED).

%% TLS is up and the certificate judged: refused when no method could succeed any more.
-spec stream_certificate(stream()) -> decision().
stream_certificate(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% What an incoming stream is offered now.
-spec stream_offer(stream()) -> {decision(), [offered()]}.
stream_offer(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% The peer of an incoming stream sends <starttls/>, <auth/>, a db:result with a key, a db:verify.
-spec stream_starttls(stream()) -> decision().
stream_starttls(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_auth(stream()) -> decision().
stream_auth(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_dialback(stream()) -> decision().
stream_dialback(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_verify(stream()) -> decision().
stream_verify(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% We were asked about a key (stream_verify said allow) that is not ours. wait: answer without another word in
%% the log.
-spec stream_wrong_key(stream()) -> decision().
stream_wrong_key(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% A stanza before authentication: always a refusal. Its stream error is not-authorized whatever the reason.
-spec stream_premature(stream()) -> refusal().
stream_premature(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% An element as it was parsed, before anything looks into it. Local: the host of ours that the stream is for,
%% <<>> while that is not known. stanza: a message, presence or iq, for stream_premature/1 or stream_stanza/3.
%% allow: an element of a handshake, in its place and shape. idle: meant well and without effect; goes no
%% further. {wait, …}: goes no further, and is answered with the dialback error of the reason
%% (dialback_error/1) where it can be.
-spec stream_handshake(stream(), Local :: binary(), xmlel()) -> stanza | idle | decision().
stream_handshake(_Stream, _Local, _Element) ->
    erlang:nif_error(?NOT_LOADED).

%% What the peer of an outgoing stream advertises, none for one before XMPP 1.0; and what we make of it.
-spec stream_plan(stream(), [peer_feature()] | none) -> {decision(), [starttls | sasl | dialback]}.
stream_plan(_Stream, _Features) ->
    erlang:nif_error(?NOT_LOADED).

%% <failure/> to our <auth/>: allow means that dialback may be tried.
-spec stream_sasl_failed(stream()) -> decision().
stream_sasl_failed(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% The peer of an outgoing stream says that our key is valid.
-spec stream_dialback_answer(stream(), KeySent :: boolean(), SaslPending :: boolean()) -> decision().
stream_dialback_answer(_Stream, _KeySent, _SaslPending) ->
    erlang:nif_error(?NOT_LOADED).

%% The host is about to take the stream for authenticated, as Domain: another one than the stream's is
%% wrong-domain.
-spec stream_authenticated(stream(), sasl | dialback, binary()) -> decision().
stream_authenticated(_Stream, _By, _Domain) ->
    erlang:nif_error(?NOT_LOADED).

%% The audit before stanzas move.
-spec stream_established(stream()) -> decision().
stream_established(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% A stanza in or out over an established stream. Policy: of the stream's own host, as it is in force; Domain:
%% of the remote address; another one than the stream's is wrong-domain and ends the record.
-spec stream_stanza(stream(), policy() | none, binary()) -> decision().
stream_stanza(_Stream, _Policy, _Domain) ->
    erlang:nif_error(?NOT_LOADED).

%% The same for a stanza for or from another host of ours than the stream's: Policy is that host's, and
%% Verdict what the peer's certificate is worth there (judge/1 with that host's policy and store), unknown
%% when that has not been found out.
-spec stream_stanza(stream(), policy() | none, binary(), verdict()) -> decision().
stream_stanza(_Stream, _Policy, _Domain, _Verdict) ->
    erlang:nif_error(?NOT_LOADED).

%% The record moves over to a new policy.
-spec stream_rejudge(stream(), policy() | none) -> decision().
stream_rejudge(_Stream, _Policy) ->
    erlang:nif_error(?NOT_LOADED).

%% A final refusal from outside: no place, an error in a callback. Says what it refused for: the first reason
%% stays.
-spec stream_refuse(stream(), reason(), rule()) -> refusal().
stream_refuse(_Stream, _Reason, _Rule) ->
    erlang:nif_error(?NOT_LOADED).

%% A stanza wants to use a stream that was opened to verify a key only: from here on it takes a place like any
%% other.
-spec stream_used(stream()) -> ok.
stream_used(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_view(stream()) ->
          #{direction := direction(), stage := refused | open | identified | authenticated | established,
            method := method() | none, certificate := verdict(), tls := boolean(), domain := domain(),
            partner := domain() | none, reason := reason() | none, counted := boolean(), verify_only := boolean(),
            queued := non_neg_integer()}.
stream_view(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%%% Places and times

%% Whether the stream takes one of its partner's places now, will have to (and is refused where there is
%% none), or is not in the way.
-spec stream_place(stream()) -> none | asks | takes.
stream_place(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% Who counts notes that the stream has a place.
-spec stream_counted(stream(), boolean()) -> ok.
stream_counted(_Stream, _Counted) ->
    erlang:nif_error(?NOT_LOADED).

%% One more stanza is to wait for an outgoing stream to be established. A refusal is for the stanza; the
%% stream goes on.
-spec stream_queue(stream()) -> decision().
stream_queue(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_queue_emptied(stream()) -> ok.
stream_queue_emptied(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% A stanza that is no keepalive has gone either way, or the stream has just been established.
-spec stream_active(stream(), ms()) -> ok.
stream_active(_Stream, _Now) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_keepalive_sent(stream(), ms(), Answer :: boolean()) -> ok.
stream_keepalive_sent(_Stream, _Now, _Answer) ->
    erlang:nif_error(?NOT_LOADED).

-spec stream_keepalive_answered(stream()) -> ok.
stream_keepalive_answered(_Stream) ->
    erlang:nif_error(?NOT_LOADED).

%% What time demands: a refusal, or a keepalive. Policy: of the stream's host, or for one that has not named
%% its host the one with the least patience; none: the limits that hold without a policy.
-spec stream_due(stream(), policy() | none, ms()) -> {decision(), Keepalive :: boolean()}.
stream_due(_Stream, _Policy, _Now) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether one more stream with the domain can have a place, beside so many of its partner's and so many in
%% all.
-spec place(policy(), binary(), OfPartner :: non_neg_integer(), InAll :: non_neg_integer()) -> decision().
place(_Policy, _Domain, _OfPartner, _InAll) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether so many streams can all keep their places; OfPartner: the largest number that any partner has.
-spec limits_suffice(policy(), OfPartner :: non_neg_integer(), InAll :: non_neg_integer()) -> boolean().
limits_suffice(_Policy, _OfPartner, _InAll) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether one more key may be asked about, beside so many that wait: for this pair of domains, and for our
%% domain and all of the partner's. A refusal is for the element; the stream goes on.
-spec key_question(OfRoute :: non_neg_integer(), OfPartner :: non_neg_integer()) -> decision().
key_question(_OfRoute, _OfPartner) ->
    erlang:nif_error(?NOT_LOADED).

%% How many connections may wait to be authenticated: in all, and from one IPv4 address or IPv6 /64.
-spec waiting_room(policy() | none) -> {InAll :: pos_integer(), OfAddress :: pos_integer()}.
waiting_room(_Policy) ->
    erlang:nif_error(?NOT_LOADED).

%% Who has to make room for the connection that came last, which is counted in: the oldest of its address, or
%% of all.
-spec waiting_crowded(Room :: {non_neg_integer(), non_neg_integer()}, Waiting :: {non_neg_integer(), non_neg_integer()}) ->
          no | address | everybody.
waiting_crowded(_Room, _Waiting) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether a connection without a stream has had all the time there is.
-spec waiting_due(policy() | none, Waited :: non_neg_integer()) -> boolean().
waiting_due(_Policy, _Waited) ->
    erlang:nif_error(?NOT_LOADED).

%%% Stanzas

%% By name and type as ejabberd has them, atoms or binaries; no type is <<>>, undefined or ejabberd's own word
%% for it (available, normal). join and service are for the caller to tell, who has the payload: is_service/2;
%% any <x/> of MUC in available presence.
-spec stanza_kind(atom() | binary(), atom() | binary()) -> kind().
stanza_kind(_Name, _Type) ->
    erlang:nif_error(?NOT_LOADED).

%% What is always known of a stanza. Spellings: has_spellings/1 of the contact's domain, where the local
%% address is a user's.
-spec question(direction(), kind(), local_kind(), Spellings :: boolean()) -> question().
question(_Direction, _Kind, _Local, _Spellings) ->
    erlang:nif_error(?NOT_LOADED).

%% The same with a fact looked up: access: denied, allowed; account: missing, exists; listed: unavailable, no,
%% yes; directed, requested, blocked: no, yes; standing: unavailable, blocked, cancelled, none, authorised;
%% contacts: few, many; waiting: room, full. Another word is badarg.
-spec fact(question(), fact(), fact_value()) -> question().
fact(_Question, _Fact, _Value) ->
    erlang:nif_error(?NOT_LOADED).

%% The decision. Domain: the partner's; User: the prepared localpart of the local user, <<>> where the address
%% is none. Access by configuration is found here, unless the question says it. allow: it passes as it is.
%% allow_without_events: it passes; personal events are to be taken out of it (a message that is nothing else
%% is not sent, an answer about such a node becomes item-not-found). {allow, Change, PersonalEvents}: it
%% passes changed. A fact: look that up and ask again. {refuse, Reason, Rule, Reply}: it does not pass, Reply
%% is what its sender gets.
-spec authorise(policy() | none, binary(), User :: binary(), question()) ->
          allow | allow_without_events | {allow, change(), PersonalEvents :: boolean()} | fact()
        | {refuse, reason(), rule(), reply()}.
authorise(_Policy, _Domain, _User, _Question) ->
    erlang:nif_error(?NOT_LOADED).

%% What authorise/4 says of a message or available presence (its type as ejabberd has it) of a local user's to that domain, where it
%% allows it at once, personal events included: allow, or the change. ask: anything else, authorise/4 finds it out. Presence with
%% which a room is joined is none that this may be asked about.
-spec passes(policy() | none, Domain :: binary(), User :: binary(), Type :: atom()) -> allow | change() | ask.
passes(_Policy, _Domain, _User, _Type) ->
    erlang:nif_error(?NOT_LOADED).

%% The same for a user who exists and the stream's own domain, incoming: what stream_stanza/3 and authorise/4 say.
-spec stream_passes(stream(), policy() | none, Domain :: binary(), User :: binary(), Type :: atom()) -> allow | change() | ask.
stream_passes(_Stream, _Policy, _Domain, _User, _Type) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether a payload so named is one of the services that any partner may ask a bare domain for.
-spec is_service(Xmlns :: binary(), Name :: binary()) -> boolean().
is_service(_Xmlns, _Name) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether what a user publishes at that node (XEP-0163) is a personal event.
-spec is_personal_event(Node :: binary()) -> boolean().
is_personal_event(_Node) ->
    erlang:nif_error(?NOT_LOADED).

%% What the sender of a stanza hears that is refused before authorise/4 was asked.
-spec reply_to(direction(), kind()) -> reply().
reply_to(_Direction, _Kind) ->
    erlang:nif_error(?NOT_LOADED).

%% The same of an incoming stanza that no standard knows or RFC 6120 8.2.3 does not allow.
-spec reply_to_malformed(Name :: binary(), Type :: binary(), HasId :: boolean()) -> none | error.
reply_to_malformed(_Name, _Type, _HasId) ->
    erlang:nif_error(?NOT_LOADED).

%% Of a stanza that may not go out. noted, passed: look that up ("the session is noted to have sent presence
%% to just this address", "such presence of the session's has gone to the contact and has not been taken
%% back") and ask again. Else what its sender gets, and whether the host is to strike out its note of directed
%% presence.
-spec refused_route(kind(), reason(), Noted :: unknown | no | yes, Passed :: unknown | no | yes) ->
          noted | passed | {none | error, Forget :: boolean()}.
refused_route(_Kind, _Reason, _Noted, _Passed) ->
    erlang:nif_error(?NOT_LOADED).

%% The dialback error (XEP-0220 2.4) for an element that is refused while its stream goes on.
-spec dialback_error(reason()) -> {Type :: binary(), Condition :: binary()}.
dialback_error(_Reason) ->
    erlang:nif_error(?NOT_LOADED).

%% A stanza whose own addresses are not those it is routed by. allow: it has to take its own way; else it goes
%% nowhere.
-spec own_way(Known :: boolean(), FromOurs :: boolean(), ToOurs :: boolean(), Same :: boolean()) -> decision().
own_way(_Known, _FromOurs, _ToOurs, _Same) ->
    erlang:nif_error(?NOT_LOADED).

%% An answer that the host gives in a user's name: what of its payload (kind, and namespace and name of the
%% first element) counts as the user's own.
-spec own_words(kind(), Xmlns :: binary(), Name :: binary()) -> none | published | any.
own_words(_Kind, _Xmlns, _Name) ->
    erlang:nif_error(?NOT_LOADED).

-spec is_published(Name :: binary(), HasChildren :: boolean()) -> boolean().
is_published(_Name, _HasChildren) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether an attribute only repeats the question.
-spec is_echo(Attribute :: binary()) -> boolean().
is_echo(_Attribute) ->
    erlang:nif_error(?NOT_LOADED).

%% Whether service-unavailable takes the answer's place; not_known: find out whether the contact sees the
%% user's presence.
-spec answer_is_replaced(SaysSomething :: boolean(), Sees :: unknown | no | yes) -> yes | no | not_known.
answer_is_replaced(_SaysSomething, _Sees) ->
    erlang:nif_error(?NOT_LOADED).

%%% Texts, tables and suppositions

%% What stands behind a reason. An atom that is not a reason gets the texts of internal-error. Keep it: it
%% never changes.
-spec reason(reason()) -> #{token := binary(), grade := refusal | change | none, stream_condition := binary(),
                            stanza_type := binary(), stanza_condition := binary(), operator := binary(), peer := binary(),
                            user := binary()}.
reason(_Reason) ->
    erlang:nif_error(?NOT_LOADED).

%% All of them, in their order of precedence.
-spec reasons() -> [reason()].
reasons() ->
    erlang:nif_error(?NOT_LOADED).

%% A text of ours with the slots of the vocabulary filled: words(<<"Run \"{check}\"">>).
-spec words(binary()) -> binary().
words(_Text) ->
    erlang:nif_error(?NOT_LOADED).

%% The slot of the first word that the vocabulary lacks; complete when there is none. For the tests.
-spec vocabulary() -> complete | binary().
vocabulary() ->
    erlang:nif_error(?NOT_LOADED).

%% The 18 combinations.
-spec rows() -> [#{tls := atom(), sasl := atom(), dialback := boolean(), methods := [method()],
                   verdict := ok | warning | error, text := binary()}].
rows() ->
    erlang:nif_error(?NOT_LOADED).

%% The functions above that judge real streams, in the order in which they are asked, with facts that the
%% caller supposes: anonymous (a header without from), starttls, sasl, dialback (what the peer can do),
%% starttls_required, certificate.
-spec explain_stream(policy() | none, #{direction := direction(), domain := binary(), anonymous => boolean(),
                                        starttls => boolean(), starttls_required => boolean(), sasl => boolean(),
                                        dialback => boolean(), certificate => verdict()}) ->
          #{verdict := allow | wait | refuse, reason := reason(), method := method() | none, tls := boolean(),
            steps := [#{step := binary(), verdict := allow | wait | refuse, reason := reason(), rule := rule(),
                        certificate => verdict(), offered => [offered()]}]}.
explain_stream(_Policy, _Facts) ->
    erlang:nif_error(?NOT_LOADED).

-ifdef(S2SP_NIF_FAULTS).
%% In the tests' own library alone: the allocation after so many fails (-1: none does), and whether one has.
fail_after(_Count) ->
    erlang:nif_error(?NOT_LOADED).

has_failed() ->
    erlang:nif_error(?NOT_LOADED).
-endif.
