%%% The module as ejabberd knows it: options, start, stop and reload on each virtual host. What it starts outlives it: hooks that are
%%% registered once and refuse wherever there is no policy. So start/2 and reload/3 never fail; at boot ejabberd would halt, and later it
%%% would swallow the error and leave the host unguarded.
-module(mod_s2s_partners).

-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_options/1, mod_opt_type/1, mod_doc/0]).

-include_lib("kernel/include/logger.hrl").

-define(CHECKED, {?MODULE, checked}).
-define(LINES_MAX, 1100).

-spec start(binary(), gen_mod:opts()) -> ok.
start(Host, Opts) ->
    guard(Host, Opts).

-spec reload(binary(), gen_mod:opts(), gen_mod:opts()) -> ok.
reload(Host, NewOpts, _OldOpts) ->
    guard(Host, NewOpts).

%% The latch comes first: it needs nothing but ejabberd's hooks.
guard(Host, Opts) ->
    _ = attempt("register the hooks", fun() -> s2s_partners_latch:close(lists:usort([Host | ejabberd_option:hosts()])) end),
    _ = attempt("start the guard", fun() -> ok = s2s_partners_sup:ensure() end),
    _ = attempt("register commands and pages", fun() -> commands(Host) end),
    _ = attempt("read the configuration", fun() -> ok = s2s_partners_guard:started(Host, maps:get(db_type, Opts, mnesia)) end),
    ok.

%% Registering twice is registering once.
commands(Host) ->
    s2s_partners_console:start(),
    s2s_partners_webadmin:start(Host).

-spec stop(binary()) -> ok.
stop(Host) ->
    _ = attempt("withdraw the policy", fun() -> ok = s2s_partners_guard:stopped(Host) end),
    ok.

attempt(What, Function) ->
    try Function()
    catch Class:Reason:Stack ->
            ?LOG_CRITICAL("mod_s2s_partners cannot ~s, so every stream with another server is refused: ~p:~P in ~P",
                          [What, Class, Reason, 9, Stack, 12])
    end.

-spec depends(binary(), gen_mod:opts()) -> [{module(), hard | soft}].
depends(_Host, _Opts) ->
    [].

-spec mod_options(binary()) -> [{atom(), term()}].
mod_options(Host) ->
    [{Option, s2s_partners_config:absent()} || Option <- s2s_partners_config:options()]
        ++ [{db_type, ejabberd_config:default_db(Host, s2s_partners_cancellations)}].

%% One option that is judged has all of them judged, over all hosts, so that everything is reported at once. Where that finds errors,
%% ejabberd's validation ends here, and a reload with it, before anything has changed.
-spec mod_opt_type(atom()) -> econf:validator().
mod_opt_type(db_type) ->
    econf:db_type(s2s_partners_cancellations);
mod_opt_type(Option) ->
    true = lists:member(Option, s2s_partners_config:options()),
    econf:and_then(econf:any(), fun judged/1).

%% At the start a configuration with errors does not stop ejabberd: the server serves its own users. The guard tells the errors then.
judged(Value) ->
    case is_running() andalso errors_of_candidate() of
        false -> Value;
        [] -> Value;
        Lines ->
            Number = length(Lines),
            econf:fail({invalid_syntax, lists:flatten([[[$\n, unicode:characters_to_list(Line)] || Line <- lists:sublist(Lines, ?LINES_MAX)],
                                                      $\n, summary(Number)])})
    end.

summary(1) -> "1 error; nothing has been changed";
summary(Number) -> [integer_to_list(Number), " errors; nothing has been changed"].

is_running() ->
    try lists:keymember(ejabberd, 1, application:which_applications(15000))
    catch exit:_ -> false
    end.

%% ejabberd keeps the configuration that it judges in a table of the process that does it; each has another one. Outside of that there is
%% no configuration to judge.
errors_of_candidate() ->
    case get(ejabberd_options) of
        undefined ->
            [];
        Table ->
            case get(?CHECKED) of
                {Table, Lines} -> Lines;
                _ ->
                    #{issues := Issues} = s2s_partners_config:compile(),
                    Lines = [Message || #{severity := error, message := Message} <- Issues],
                    put(?CHECKED, {Table, Lines}),
                    Lines =/= [] andalso s2s_partners_guard:rejected(Lines),
                    Lines
            end
    end.

-spec mod_doc() -> #{desc := binary(), opts := [{atom(), #{value := string(), desc := binary()}}], example := [string()]}.
mod_doc() ->
    #{desc =>
          <<"Says which other servers may federate with this one, how each must authenticate (TLS, SASL EXTERNAL, dialback), and what "
            "its users may do. A server that is not listed is refused. See docs/ejabberd.md of mod_s2s_partners.">>,
      opts =>
          [{partners, #{value => "[Partner, ...]",
                        desc => <<"The partners, each a mapping: domain, partner_type, additional_domains, tls, sasl, dialback, "
                                  "trust_anchors, pinned_keys, connection_limit, keepalive, proxy and more.">>}},
           {files, #{value => "[Pattern, ...]",
                     desc => <<"Files with more partners, each a YAML list, relative to the folder of ejabberd.yml.">>}},
           {default, #{value => "refuse | Partner",
                       desc => <<"What holds for domains that are not listed: refuse, or the keys of a partner without domains.">>}},
           {limits, #{value => "{connections: 1000, ...}",
                      desc => <<"Numbers of streams, and times in seconds.">>}},
           {external_access, #{value => "{default: allow | deny, users: {Name: allow | deny}}",
                               desc => <<"Which local users may federate.">>}},
           {crls, #{value => "[Pattern, ...]",
                    desc => <<"Files of revocation lists for the authorities that this host trusts.">>}},
           {intermediates, #{value => "[Path, ...]",
                             desc => <<"PEM files of intermediate certificates that partners do not show. They make nothing valid "
                                       "by themselves.">>}},
           {mode, #{value => "enforce | observe",
                    desc => <<"observe: everything is judged, counted and told, and nothing is done. For the whole server.">>}},
           {db_type, #{value => "mnesia | sql",
                       desc => <<"Where it is kept whom a user has cancelled.">>}}],
      example =>
          ["modules:",
           "  mod_s2s_partners:",
           "    partners:",
           "      - domain: fabrikam.com",
           "        partner_type: federated",
           "    files: [\"partners.d/*.yml\"]"]}.
