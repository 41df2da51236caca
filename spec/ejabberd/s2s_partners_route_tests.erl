%%% What a stanza is before the rules are asked: for whom it is, and what its sender makes others remember.
-module(s2s_partners_route_tests).

-include_lib("eunit/include/eunit.hrl").
-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

-define(HOST, <<"contoso.test">>).
-define(DOMAIN, <<"fabrikam.test">>).
-define(TABLES, [s2s_partners_foreign, s2s_partners_tally, s2s_partners_counters, s2s_partners_minute, s2s_partners_uncovered,
                 s2s_partners_recent, s2s_partners_expiry_said]).

route_test_() ->
    {foreach,
     fun() ->
             ok = s2s_partners_in_force:init(),
             ok = s2s_partners_report:init(),
             Entry = {mapping, [{<<"domain">>, ?DOMAIN}, {<<"partner_type">>, <<"federated">>}]},
             {ok, Table, _} = s2s_partners_nif:compile(#{lists => [{<<"partners">>, {list, [Entry]}}]}),
             {ok, Policy, _} = s2s_partners_nif:compile_policy(Table, #{}),
             s2s_partners_in_force:put(#{policies => #{?HOST => Policy}, vhosts => #{?HOST => []}, limits => #{}, stores => #{}, crls => #{},
                                         crl_signatures => #{}, patterns => #{}, host_crls => #{}, intermediates => #{}, issues => #{},
                                         locals => [], applied => 0})
     end,
     fun(_) ->
             _ = persistent_term:erase(s2s_partners_in_force),
             [ets:delete(Table) || Table <- ?TABLES]
     end,
     [{"a stanza for a domain of nobody's here", fun not_served/0},
      {"a user's last session is over", fun last_session/0},
      {"a domain in many spellings", fun spellings/0}]}.

address(User, Domain, Resource) ->
    #jid{user = User, luser = User, server = Domain, lserver = Domain, resource = Resource, lresource = Resource}.

%% Nothing is wrong with the configuration. A partner can name any number of them, and none is remembered.
not_served() ->
    instead(ejabberd_router, "-export([host_of_route/1]). host_of_route(Domain) -> error({unregistered_route, Domain}).", fun() ->
        From = address(<<"bob">>, ?DOMAIN, <<"desk">>),
        [?assertEqual(drop, s2s_partners_route:incoming(#message{from = From, to = address(<<"alice">>, <<N, ".test">>, <<>>)}, ?HOST))
         || N <- lists:seq($a, $z)],
        ?assertEqual([{{?HOST, ?DOMAIN, in, refuse, 'wrong-domain'}, 26}], s2s_partners_report:counters())
    end).

%% Its streams may be on any node, and with them what is noted of the user.
last_session() ->
    instead(ejabberd_sm, "-export([get_user_resources/2]). get_user_resources(_, _) -> [].", fun() ->
        instead(s2s_partners_everywhere, "-export([apply/3]). apply(Module, Function, Arguments) -> self() ! {Module, Function, Arguments}.", fun() ->
            ok = s2s_partners_route:session_ended(sid, address(<<"alice">>, ?HOST, <<"phone">>), []),
            [receive {Module, Function, [{<<"alice">>, ?HOST}]} -> ok after 0 -> error({not_told, Module}) end
             || {Module, Function} <- [{s2s_partners_directed, user_removed}, {s2s_partners_interests, session_ended}]]
        end)
    end).

%% ejabberd is told of each for its one stanza.
spellings() ->
    instead(ejabberd_s2s_in, "-export([handle_authenticated_packet/2]).
                              handle_authenticated_packet(_, #{auth_domains := Domains} = State) -> State#{seen => lists:sort(sets:to_list(Domains))}.",
            fun() ->
                    State = #{ip => {{127, 0, 0, 1}, 1}, auth_domains => sets:from_list([?DOMAIN]), s2s_partners => #guarded{remote = ?DOMAIN}},
                    To = address(<<"room">>, <<"rooms.contoso.test">>, <<>>),
                    [?assertEqual(State#{seen => lists:usort([?DOMAIN, From])},
                                  s2s_partners_stanza:deliver(#message{from = address(<<"bob">>, From, <<>>), to = To}, To, State))
                     || From <- [?DOMAIN, <<"Fabrikam.test">>]]
            end).

%% Calls Fun with another module in the place of one.
instead(Module, Source, Fun) ->
    {ok, Tokens, _} = erl_scan:string("-module(" ++ atom_to_list(Module) ++ "). " ++ Source),
    {ok, Module, Code} = compile:forms(forms(Tokens, [])),
    {module, Module} = code:load_binary(Module, "instead.erl", Code),
    try
        Fun()
    after
        code:purge(Module),
        {module, Module} = code:load_file(Module),
        code:purge(Module)
    end.

forms([], []) -> [];
forms([{dot, _} = Dot | Rest], Form) -> {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])), [Parsed | forms(Rest, [])];
forms([Token | Rest], Form) -> forms(Rest, [Token | Form]).
