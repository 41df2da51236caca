%%% The commands of ejabberdctl and mod_http_api, tag s2s_partners. Each answers with plain text and an exit status: 0, or 1 with what is
%%% wrong. They need the rights that other administrative commands need; nothing here changes anything.
-module(s2s_partners_console).

-export([start/0, stop/0, commands/0]).
-export([list/1, show/1, explain/3, check/0, test/2, streams/0]).

-include_lib("ejabberd/include/ejabberd_commands.hrl").

%% Once a node, with the guard.
-spec start() -> ok.
start() ->
    ejabberd_commands:register_commands(commands()).

-spec stop() -> ok.
stop() ->
    ejabberd_commands:unregister_commands(commands()).

-spec commands() -> [#ejabberd_commands{}].
commands() ->
    [command(s2s_partners_list, list, "The partners that may federate: type, negotiation, methods, live streams, warnings",
             "Of one virtual host, or with an empty string of all.", [{host, binary, "A virtual host, or an empty string", <<"contoso.com">>}]),
     command(s2s_partners_show, show, "All about one partner: settings and where they come from, streams, certificate, decisions",
             "Any domain of the partner does, also one that a wildcard covers.", [{domain, binary, "A partner's domain", <<"fabrikam.com">>}]),
     command(s2s_partners_explain, explain, "What would become of a stanza or a stream between two addresses, step by step",
             "One address is of this server, the other of another one. The last line is the verdict. Nothing is sent.",
             [{from, binary, "Who sends", <<"bob@fabrikam.com">>}, {to, binary, "Who is to receive", <<"alice@contoso.com">>},
              {kind, binary, "stream, message, groupchat, presence, subscribe, probe, iq-get, iq-set, iq-result or iq-error; "
                             "an empty string is message", <<"message">>}]),
     command(s2s_partners_check, check, "Judges the configuration on disk and whether this server is ready; applies nothing",
             "Fails when there is an error: then a reload would fail, too.", []),
     command(s2s_partners_test, test, "Opens a real stream to a partner and pings it; names the stage that fails", "",
             [{local, binary, "A virtual host", <<"contoso.com">>}, {remote, binary, "The partner's domain", <<"fabrikam.com">>}]),
     command(s2s_partners_streams, streams, "Live streams with partners on all nodes: method, TLS, certificate", "", [])].

command(Name, Function, Description, Long, Arguments) ->
    #ejabberd_commands{name = Name, tags = [s2s, s2s_partners], desc = Description, longdesc = Long, module = ?MODULE, function = Function,
                       args = [{Argument, Type} || {Argument, Type, _, _} <- Arguments],
                       args_desc = [Words || {_, _, Words, _} <- Arguments],
                       args_example = [Example || {_, _, _, Example} <- Arguments],
                       result = {text, restuple}, result_desc = "Plain text", result_example = {ok, <<"2 streams, 2 established">>}}.

%% A number is an exit status to ejabberdctl, which prints the text as it is; of an atom it would make a line of its own.
-type result() :: {ok | 1, binary()}.

-spec list(binary()) -> result().
list(Host) -> answer(fun() -> s2s_partners_list:list(Host) end).

-spec show(binary()) -> result().
show(Domain) -> answer(fun() -> s2s_partners_list:show(Domain) end).

-spec explain(binary(), binary(), binary()) -> result().
explain(From, To, Kind) -> answer(fun() -> s2s_partners_explain:explain(From, To, Kind) end).

-spec check() -> result().
check() -> answer(fun() -> s2s_partners_check:run() end).

-spec test(binary(), binary()) -> result().
test(Local, Remote) -> answer(fun() -> s2s_partners_try:test(Local, Remote) end).

-spec streams() -> result().
streams() -> answer(fun() -> s2s_partners_list:streams() end).

%% Without the library nothing can be said but that.
answer(Ask) ->
    case s2s_partners_nif:loaded() of
        ok ->
            try Ask() of
                {ok, Lines} -> {ok, s2s_partners_layout:text(Lines)};
                {error, Lines} -> {1, s2s_partners_layout:text(Lines)}
            catch Class:Reason:Stack ->
                logger:error("s2s_partners: a command failed: ~p: ~p at ~p", [Class, Reason, Stack]),
                {1, <<"An error in the module itself; the log has it. Nothing was changed.">>}
            end;
        {error, Why} ->
            {1, s2s_partners_layout:text(s2s_partners_layout:paragraph(<<>>,
                ["Federation is refused in both directions: the library of mod_s2s_partners is not there: ", Why,
                 ". Install the package again, in the version of this ejabberd, and restart ejabberd."]))}
    end.
