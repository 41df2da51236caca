%%% How a stream comes to stand, and whether it still does: its place, the audit before stanzas move, and its judgement after a reload.
-module(s2s_partners_standing).

-export([hold_place/1, established/1, rejudge/1]).

-include("s2s_partners_stream.hrl").

-type state() :: s2s_partners_stream:state().

%% Takes one of the partner's places when the record says so; refused when there is none.
-spec hold_place(state()) -> allow | s2s_partners_nif:decision().
hold_place(State) ->
    case s2s_partners_stream:guarded(State) of
        #guarded{stream = none} ->
            allow;
        #guarded{stream = Stream, policy = Policy, created = Created} ->
            case s2s_partners_nif:stream_place(Stream) of
                none ->
                    allow;
                Place ->
                    Domain = s2s_partners_nif:stream_domain(Stream),
                    case s2s_partners_places:ask(Policy, Domain, place_key(Stream, Domain), Place, Created) of
                        allow ->
                            Place =:= takes andalso s2s_partners_nif:stream_counted(Stream, true),
                            allow;
                        {refuse, Reason, Rule} ->
                            s2s_partners_nif:stream_refuse(Stream, Reason, Rule)
                    end
            end
    end.

place_key(Stream, Domain) ->
    case s2s_partners_nif:stream_partner(Stream) of
        <<"unlisted">> -> {domain, Domain};
        Name -> Name
    end.

%% The audit before stanzas move, in both directions, whatever has authenticated the stream.
-spec established(state()) -> {allow | s2s_partners_nif:refusal(), state()}.
established(State) ->
    #guarded{stream = Stream, established = Before} = Guarded = s2s_partners_stream:guarded(State),
    case s2s_partners_nif:stream_established(Stream) of
        allow ->
            ok = s2s_partners_nif:stream_active(Stream, s2s_partners_stream:now_ms()),
            s2s_partners_places:settled(),
            State1 = s2s_partners_stream:keep(Guarded#guarded{established = true, moved = false,
                                          since = os:system_time(second)}, State),
            Before orelse announce(State1),
            {allow, State1};
        Decision ->
            {refusal(Decision, Stream), State}
    end.

refusal({refuse, _, _} = Refusal, _) -> Refusal;
refusal({wait, Reason, Rule}, Stream) -> s2s_partners_nif:stream_refuse(Stream, Reason, Rule).

announce(State) ->
    Guarded = s2s_partners_stream:guarded(State),
    s2s_partners_stream:count(Guarded, allow, none),
    About = s2s_partners_stream:with_protocol(s2s_partners_stream:about(Guarded, State), State),
    s2s_partners_report:stream_established(About),
    s2s_partners_report:uncovered(About),
    s2s_partners_stream:publish(State).

%% The record moves over to what is in force now, its certificate included, which may have become invalid. The
%% caller closes what is refused.
-spec rejudge(state()) -> {allow | s2s_partners_nif:refusal(), state()}.
rejudge(State) ->
    #guarded{stream = Stream, vhost = VHost, certificate = Certificate, created = Created, established = Established} = Guarded =
        s2s_partners_stream:guarded(State),
    Policy = s2s_partners_stream:policy(VHost),
    Domain = s2s_partners_nif:stream_domain(Stream),
    Certificate1 = case Certificate of
                       {Der, _, _} when Policy =/= none ->
                           {Verdict, Report} = s2s_partners_certificate:judge(Der, VHost, Policy, Domain),
                           ok = s2s_partners_nif:stream_observe(Stream, true, Verdict),
                           {Der, Verdict, Report};
                       _ ->
                           Certificate
                   end,
    Partner = case Policy of
                  none -> none;
                  _ -> s2s_partners_nif:policy_find(Policy, Domain)
              end,
    #{counted := Counted} = s2s_partners_nif:stream_view(Stream),
    State1 = s2s_partners_stream:keep(Guarded#guarded{policy = Policy, certificate = Certificate1, partner = Partner, verdicts = #{}}, State),
    case s2s_partners_nif:stream_rejudge(Stream, Policy) of
        allow ->
            case s2s_partners_nif:stream_place(Stream) of
                none when not Counted ->
                    {allow, State1};
                _ when Counted ->
                    Key = place_key(Stream, Domain),
                    case s2s_partners_places:renew(Policy, Domain, Key, true, Established, Created) of
                        allow -> {allow, State1};
                        %% Not for what the stream is, but for what has become of its place.
                        {refuse, _, Rule} -> {s2s_partners_nif:stream_refuse(Stream, 'policy-changed', Rule), State1}
                    end;
                _ ->
                    {hold_place(State1), State1}
            end;
        Decision ->
            {refusal(Decision, Stream), State1}
    end.
