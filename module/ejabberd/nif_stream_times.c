/* Places and times of a stream. Who counts, and who reads the clock, is Erlang. */
#include "nif.h"
#include "nif_functions.h"

NIF(s2sp_nif_stream_place) {
	const struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	if (stream == NULL)
		return enif_make_badarg(env);
	switch (s2sp_stream_place(&stream->record)) {
	case S2SP_PLACE_NONE: return s2sp_atoms.none;
	case S2SP_PLACE_ASKS: return s2sp_atoms.asks;
	case S2SP_PLACE_TAKES: break;
	}
	return s2sp_atoms.takes;
}

NIF(s2sp_nif_stream_counted) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	bool counted;
	(void)argc;
	if (stream == NULL || !s2sp_nif_boolean(argv[1], &counted))
		return enif_make_badarg(env);
	stream->record.counted = counted;
	return s2sp_atoms.ok;
}

NIF(s2sp_nif_stream_queue_emptied) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	if (stream == NULL)
		return enif_make_badarg(env);
	stream->record.queued = 0;
	return s2sp_atoms.ok;
}

NIF(s2sp_nif_stream_active) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	s2sp_milliseconds now;
	(void)argc;
	if (stream == NULL || !s2sp_nif_milliseconds(env, argv[1], &now))
		return enif_make_badarg(env);
	s2sp_stream_active(&stream->record, now);
	return s2sp_atoms.ok;
}

NIF(s2sp_nif_stream_keepalive_sent) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	s2sp_milliseconds now;
	bool answer;
	(void)argc;
	if (stream == NULL || !s2sp_nif_milliseconds(env, argv[1], &now) || !s2sp_nif_boolean(argv[2], &answer))
		return enif_make_badarg(env);
	s2sp_stream_keepalive_sent(&stream->record, now, answer);
	return s2sp_atoms.ok;
}

NIF(s2sp_nif_stream_keepalive_answered) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	if (stream == NULL)
		return enif_make_badarg(env);
	s2sp_stream_keepalive_answered(&stream->record);
	return s2sp_atoms.ok;
}

/* A host without a policy has its streams refused by what they do; until then they have as long as a connection without a stream. */
static const struct s2sp_limits without_policy = {
	.connections = 1,
	.partner_connections = 1,
	.establishment_timeout = S2SP_WAITING_SECONDS,
	.inactivity_timeout = S2SP_WAITING_SECONDS,
	.keepalive_interval = S2SP_WAITING_SECONDS,
};

NIF(s2sp_nif_stream_due) {
	const struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	const struct s2sp_policy *policy;
	s2sp_milliseconds now;
	bool keepalive;
	(void)argc;
	if (stream == NULL || !s2sp_nif_get_policy(env, argv[1], &policy) || !s2sp_nif_milliseconds(env, argv[2], &now))
		return enif_make_badarg(env);
	struct s2sp_decision decision =
		s2sp_stream_due(&stream->record, policy == NULL ? &without_policy : s2sp_policy_limits(policy), now, &keepalive);
	return enif_make_tuple2(env, s2sp_nif_make_decision(env, decision), s2sp_nif_make_boolean(keepalive));
}
