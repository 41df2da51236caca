%%% ejabberd's own options that are stricter than a partner's entry: which methods they rule out, for whom, and in which words that is
%%% told. What follows from it (a partner without any method, a fallback that is lost) is decided in the NIF.
%%%
%%% Access rules are read from the options that are being judged, not from the tables that are in force.
-module(s2s_partners_config_constraints).

-export([collect/3]).

-export_type([get_option/0]).

%% The value of an option of ejabberd's for a virtual host, or global.
-type get_option() :: fun((Option :: atom(), binary() | global) -> term()).

-define(S2S_ACCESS, 1).
-define(STARTTLS_REQUIRED, 2).
-define(NO_DIALBACK, 3).
-define(DIALBACK_ACCESS, 4).

%% Domains that are tried for a rule in which no partner's name can be.
-define(NOBODY, <<"s2s-partners.invalid">>).
-define(NAMES_SHOWN, 3).

%% For compile_policy/2: constraints, holding, and what is to be told besides.
-spec collect(binary(), get_option(), [map()]) ->
          #{constraints := [s2s_partners_nif:constraint()], holding := [{pos_integer(), all | [binary()]}],
            issues := [s2s_partners_nif:issue_parts()]}.
collect(Host, Get, Partners) ->
    Domains = lists:append([[Name | Additional] || #{name := Name, additional_domains := Additional} <- Partners]),
    Holding = [{?S2S_ACCESS, denied(Get(s2s_access, Host), Host, Get, Domains)},
               {?STARTTLS_REQUIRED, case Get(s2s_use_starttls, Host) of required -> all; _ -> [] end}
               | dialback(Host, Get, Domains)],
    #{constraints => constraints(),
      holding => [Held || {_, Whom} = Held <- Holding, Whom =/= []],
      issues => connections(Host, Get, Partners)}.

%% In the order in which they are told; s2s_partners_nif counts from 1.
constraints() ->
    [#{forbids => [sasl, tls_dialback, tcp_dialback],
       fact => <<"s2s_access">>,
       remedy => <<"allow {domain} in s2s_access">>,
       remedy_all => <<"allow every server in s2s_access, since this module says who may federate">>,
       path => <<"s2s_access">>,
       lost => <<"denies {partners}; allow their domains">>},
     #{forbids => [tcp_dialback],
       fact => <<"s2s_use_starttls: required">>,
       remedy => <<"set s2s_use_starttls: optional">>,
       path => <<"s2s_use_starttls">>,
       got => <<"required">>,
       lost => <<"takes TCP dialback away from {partners}; set it to optional, or tls: required for them">>},
     #{forbids => [tls_dialback, tcp_dialback],
       fact => <<"the missing mod_s2s_dialback">>,
       remedy => <<"add mod_s2s_dialback to modules">>,
       path => <<"modules">>,
       lost => <<"without mod_s2s_dialback, only SASL is left to {partners}; add it, or set dialback: false for them">>},
     #{forbids => [tls_dialback, tcp_dialback],
       fact => <<"modules.mod_s2s_dialback.access">>,
       remedy => <<"allow {domain} in modules.mod_s2s_dialback.access">>,
       remedy_all => <<"remove modules.mod_s2s_dialback.access, since this module says who may use dialback">>,
       path => <<"modules.mod_s2s_dialback.access">>,
       lost => <<"leaves only SASL to {partners}; allow their domains, or set dialback: false for them">>}].

dialback(Host, Get, Domains) ->
    case lists:keyfind(mod_s2s_dialback, 1, Get(modules, Host)) of
        false -> [{?NO_DIALBACK, all}];
        Module -> [{?DIALBACK_ACCESS, denied(dialback_access(element(2, Module)), Host, Get, Domains)}]
    end.

dialback_access(#{access := Access}) ->
    Access;
dialback_access(Raw) when is_list(Raw) ->
    case s2s_partners_config_values:find(<<"access">>, Raw) of
        {ok, Written} ->
            case econf:validate(econf:acl(), Written) of
                {ok, Access} -> Access;
                {error, _, _} -> all    % ejabberd will say so itself
            end;
        error ->
            all
    end;
dialback_access(_) ->
    all.

%% The domains that an access rule denies, <<>> for those that have no name; all without asking where it is plain.
denied(all, _Host, _Get, _Domains) -> [];
denied(none, _Host, _Get, _Domains) -> all;
denied(Access, Host, Get, Domains) ->
    Rules = rules(Access, access_rules, Host, Get),
    [<<>> || match(Rules, Host, Get, ?NOBODY, deny) =/= allow]
        ++ [Domain || Domain <- Domains, match(Rules, Host, Get, probe(Domain), deny) =/= allow].

%% Of a wildcard any name will do.
probe(<<"*.", Parent/binary>>) -> <<"s2s-partners.", Parent/binary>>;
probe(Domain) -> Domain.

rules(Access, _Option, _Host, _Get) when is_list(Access) -> Access;
rules(Name, Option, Host, Get) -> proplists:get_value(Name, Get(Option, Host), []).

match([{Result, Rules} | Rest], Host, Get, Domain, Default) ->
    case Rules =/= [] andalso lists:all(fun(Rule) -> holds(Rule, Host, Get, Domain) end, Rules) of
        true -> Result;
        false -> match(Rest, Host, Get, Domain, Default)
    end;
match(_, _Host, _Get, _Domain, Default) ->
    Default.

holds({acl, all}, _Host, _Get, _Domain) -> true;
holds({acl, none}, _Host, _Get, _Domain) -> false;
holds({acl, Name}, Host, Get, Domain) ->
    lists:any(fun({acl, _}) -> false;
                 (Rule) -> holds(Rule, Host, Get, Domain)
              end, proplists:get_value(Name, Get(acl, Host), []));
holds(Rule, Host, _Get, Domain) ->
    try acl:match_acl(Host, Rule, #{usr => {<<>>, Domain, <<>>}})
    catch _:_ -> false
    end.

%% ejabberd spreads its users over a pool of streams to a server. Of streams above the partner's limit every one is refused, so
%% that some users can send and others cannot.
connections(Host, Get, Partners) ->
    case proplists:get_value(max_s2s_connections, Get(shaper_rules, Host)) of
        undefined -> [];
        Rules ->
            Few = [{Name, Limit, Max}
                   || #{name := Name, connection_limit := Limit} <- Partners,
                      Limit > 0,
                      Max <- [match(Rules, Host, Get, Name, 1)],
                      is_integer(Max), Max > Limit],
            [too_many(Few) || Few =/= []]
    end.

too_many([{_, Limit, Max} | _] = Few) ->
    Names = [Name || {Name, _, _} <- lists:sublist(Few, ?NAMES_SHOWN)],
    More = length(Few) - length(Names),
    {warning, <<"too-many-connections">>, <<"shaper_rules.max_s2s_connections">>, integer_to_binary(Max),
     iolist_to_binary(["opens more streams than the limit of ", integer_to_list(Limit), " allows to ", lists:join(", ", Names),
                       [[" and ", integer_to_list(More), " more"] || More > 0],
                       "; those users whose stream is refused cannot send: lower it, or raise connection_limit"])}.
