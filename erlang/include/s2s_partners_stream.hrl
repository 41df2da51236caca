%% What we keep of one stream, in the state of its process under the key s2s_partners. The record of the core (`stream`) decides; all
%% else here is what ejabberd does not keep, or does not say again.
-record(guarded, {
    direction :: incoming | outgoing,
    %% none: an incoming connection that has not sent its header, so that nobody knows whose policy counts.
    stream = none :: none | s2s_partners_nif:stream(),
    policy = none :: none | s2s_partners_nif:policy(),
    vhost = <<>> :: binary(),              % the virtual host that the local domain belongs to
    local = <<>> :: binary(),              % as ejabberd writes it
    remote = <<>> :: binary(),             % the same; <<>> while it is not known
    created = 0 :: integer(),              % monotonic milliseconds
    active = false :: boolean(),           % there was a stanza that the record has not been told of
    partner = none :: none | map(),        % s2s_partners_nif:policy_find/2
    offer = [] :: [s2s_partners_nif:offered()],
    plan = undefined :: undefined | [starttls | sasl | dialback],
    certificate = none :: none | {Der :: binary() | none, s2s_partners_nif:verdict(), s2s_partners_nif:report()},
    %% What the certificate is worth to other virtual hosts, with the policy that it was judged for.
    verdicts = #{} :: #{binary() => {s2s_partners_nif:policy(), s2s_partners_nif:verdict()}},
    verify_only = false :: boolean(),
    awaits_features = false :: boolean(),  % outgoing: once for each header of the peer
    key_sent = false :: boolean(),         % outgoing: a dialback key of ours has gone out
    established = false :: boolean(),
    moved = false :: boolean(),            % outgoing: the configuration has changed in the middle of the handshake
    since = 0 :: integer(),                % system time in seconds, once it is established
    refused = none :: none | {s2s_partners_nif:reason(), s2s_partners_nif:rule()},
    quiet = false :: boolean(),            % refused without a line of its own: summed up with others
    %% XEP-0288: what is to go out over an incoming stream that is authenticated and not established yet. The last comes first.
    waiting = [] :: [tuple()]
}).

%% A mark of ours in the metadata of a presence, which no wire carries and which copies keep: a client has addressed it to somebody else
%% than its own account.
-define(DIRECTED, s2s_partners_directed).
