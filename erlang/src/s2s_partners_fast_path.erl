%%% Whether a stanza passes with nothing to be done but to count it, as nearly every stanza does. s2s_partners_stream and s2s_partners_route
%%% find out the same at several times the price; what is not this simple is theirs. Asked are the same decisions of the NIF's, with what
%%% the process has found out about the two domains, or the user, within the last second.
-module(s2s_partners_fast_path).

-export([incoming/2, outgoing/1, found/4]).

-include_lib("xmpp/include/xmpp.hrl").
-include("s2s_partners_stream.hrl").

%% Pairs of domains that a process remembers, by the remote one: a user has contacts at several.
-define(PAIRS, 8).
-define(PAIR_MS, 1000).

%% A message to a user of the stream's own virtual host. pass: it has been counted.
-spec incoming(stanza(), #guarded{}) -> pass | ask.
incoming(#message{type = Type, from = #jid{lserver = Remote}, to = #jid{luser = LUser, lserver = VHost}} = Packet,
         #guarded{established = true, vhost = VHost, stream = Stream}) ->
    Now = erlang:monotonic_time(millisecond),
    case pair(in, VHost, Remote, Now) of
        {ok, Number} ->
            case s2s_partners_facts:is_known_user(LUser, VHost, Now) andalso s2s_partners_in_force:policy(VHost) of
                {ok, Policy} ->
                    case s2s_partners_nif:stream_passes(Stream, Policy, Remote, LUser, Type) =:= allow
                        andalso s2s_partners_question:is_well_formed(message, Packet) of
                        true ->
                            s2s_partners_tally:add(Number),
                            pass;
                        false ->
                            ask
                    end;
                _ ->
                    ask
            end;
        none ->
            ask
    end;
incoming(_, _) ->
    ask.

%% A message or a user's presence to another server.
-spec outgoing(stanza()) -> {pass, stanza()} | ask.
outgoing(#message{type = Type, from = #jid{luser = LUser, lserver = LServer}, to = #jid{lserver = Domain}} = Packet) ->
    outgoing(Packet, message, Type, LUser, LServer, Domain);
outgoing(#presence{type = available, from = #jid{luser = LUser, lserver = LServer}, to = #jid{lserver = Domain} = To, meta = Meta} = Packet)
  when not is_map_key(?DIRECTED, Meta) ->
    case s2s_partners_question:kind(Packet, To) of
        presence -> outgoing(Packet, presence, available, LUser, LServer, Domain);
        _ -> ask
    end;
outgoing(_) ->
    ask.

outgoing(Packet, Kind, Type, LUser, LServer, Domain) ->
    case pair(out, LServer, Domain, erlang:monotonic_time(millisecond)) of
        {ok, Number} ->
            case s2s_partners_in_force:policy(LServer) of
                {ok, Policy} ->
                    case s2s_partners_nif:passes(Policy, Domain, LUser, Type) =:= allow
                        andalso s2s_partners_question:is_well_formed(Kind, Packet) of
                        true ->
                            s2s_partners_tally:add(Number),
                            {pass, Packet};
                        false ->
                            ask
                    end;
                none ->
                    ask
            end;
        none ->
            ask
    end.

%% Of a stanza that has passed: the local domain is a virtual host, the remote one no domain of this server, and the partner so called.
-spec found(in | out, VHost :: binary(), Remote :: binary(), Partner :: binary()) -> ok.
found(Way, VHost, Remote, Partner) ->
    Until = erlang:monotonic_time(millisecond) + ?PAIR_MS,
    _ = put(slot(Way, Remote), {binary:copy(VHost), binary:copy(Remote), s2s_partners_in_force:generation(), Until,
                                s2s_partners_tally:number(VHost, Partner, Way)}),
    ok.

pair(Way, VHost, Remote, Now) ->
    case get(slot(Way, Remote)) of
        {VHost, Remote, Generation, Until, Number} when Now < Until ->
            case s2s_partners_in_force:generation() of
                Generation -> {ok, Number};
                _ -> none
            end;
        _ ->
            none
    end.

%% Atoms, which the dictionary finds faster than anything else.
slot(in, Remote) ->
    element(1 + erlang:phash2(Remote, ?PAIRS), {s2s_partners_in_1, s2s_partners_in_2, s2s_partners_in_3, s2s_partners_in_4,
                                                s2s_partners_in_5, s2s_partners_in_6, s2s_partners_in_7, s2s_partners_in_8});
slot(out, Remote) ->
    element(1 + erlang:phash2(Remote, ?PAIRS), {s2s_partners_out_1, s2s_partners_out_2, s2s_partners_out_3, s2s_partners_out_4,
                                                s2s_partners_out_5, s2s_partners_out_6, s2s_partners_out_7, s2s_partners_out_8}).
