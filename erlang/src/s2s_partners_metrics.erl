%%% OpenMetrics text, as a request handler of ejabberd_http: request_handlers: {"/metrics": s2s_partners_metrics}. Of this node alone.
%%% Every label is of this server's own making, so no stranger makes a family grow. Who may read it is the listener's affair: it has
%%% partners' names in it.
-module(s2s_partners_metrics).

-export([process/2]).
%% For the tests.
-export([text/1]).

-include_lib("xmpp/include/xmpp.hrl").
-include_lib("ejabberd/include/ejabberd_http.hrl").

-define(CONTENT_TYPE, <<"application/openmetrics-text; version=1.0.0; charset=utf-8">>).

process([], #request{method = Method}) when Method =:= 'GET'; Method =:= 'HEAD' ->
    {200, [{<<"Content-Type">>, ?CONTENT_TYPE}, {<<"Cache-Control">>, <<"no-store">>}], text(erlang:system_time(second))};
process([], _) ->
    {405, [{<<"Allow">>, <<"GET, HEAD">>}], <<"405 Method Not Allowed: only GET\n">>};
process(_, _) ->
    {404, [], <<"404 Not Found\n">>}.

%% The page at a moment, in seconds since the epoch.
-spec text(integer()) -> binary().
text(Now) ->
    iolist_to_binary([
        family(<<"s2s_partners_decisions">>, <<"counter">>, <<"Decisions about streams and stanzas with other servers">>,
               [{<<"_total">>, [{<<"host">>, Host}, {<<"partner">>, Partner}, {<<"direction">>, Direction}, {<<"decision">>, Decision},
                                {<<"reason">>, Reason}], Times}
                || {{Host, Partner, Direction, Decision, Reason}, Times} <- s2s_partners_report:counters()]),
        family(<<"s2s_partners_streams">>, <<"gauge">>, <<"Established streams with partners">>,
               [{<<>>, Labels, Number} || {Labels, Number} <- streams()]),
        family(<<"s2s_partners_reloads">>, <<"counter">>, <<"Attempts to read the configuration">>,
               [{<<"_total">>, [{<<"result">>, Result}], Times} || {Result, Times} <- s2s_partners_guard:reloads()]),
        ["# TYPE s2s_partners_observing gauge\n# HELP s2s_partners_observing 1 while nothing is enforced\ns2s_partners_observing ",
         case s2s_partners_observe:is_on() of true -> "1"; false -> "0" end, $\n],
        family(<<"s2s_partners_certificate_expiry">>, <<"gauge">>,
               <<"Seconds until the first certificate of the chain that the partner presented last expires">>,
               [{<<>>, [{<<"partner">>, Partner}], Time - Now} || {Partner, Time} <- s2s_partners_recent:expiries()]),
        <<"# EOF\n">>]).

streams() ->
    Counted = lists:foldl(fun(#{stage := established, partner := Partner, direction := Direction, method := Method} = View, Sofar)
                                when is_binary(Partner) ->
                              Key = [{<<"host">>, s2s_partners_list:host(View)}, {<<"partner">>, Partner},
                                     {<<"direction">>, case Direction of incoming -> in; outgoing -> out end}, {<<"method">>, Method}],
                              maps:update_with(Key, fun(Number) -> Number + 1 end, 1, Sofar);
                             (_, Sofar) ->
                              Sofar
                          end, #{}, s2s_partners_live:streams()),
    lists:sort(maps:to_list(Counted)).

family(Name, Type, Help, Samples) ->
    ["# TYPE ", Name, " ", Type, "\n# HELP ", Name, " ", Help, "\n"
     | [[Name, Suffix, ${, lists:join($,, [[Label, "=\"", escaped(Word), "\""] || {Label, Word} <- Labels]), "} ",
         integer_to_binary(Value), "\n"] || {Suffix, Labels, Value} <- lists:sort(Samples)]].

escaped(Value) when is_atom(Value) ->
    atom_to_binary(Value);
escaped(Value) ->
    << <<(case Byte of
              $\\ -> <<"\\\\">>;
              $" -> <<"\\\"">>;
              $\n -> <<"\\n">>;
              _ -> <<Byte>>
          end)/binary>> || <<Byte>> <= Value >>.
