#include "stream_limits.h"

static struct s2sp_decision allow(const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, rule };
}

static struct s2sp_decision refuse(enum s2sp_reason reason, const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_REFUSE, reason, rule };
}

enum s2sp_place s2sp_stream_place(const struct s2sp_stream *stream) {
	if (stream->stage < S2SP_STAGE_IDENTIFIED || stream->policy == NULL || stream->partner == NULL)
		return S2SP_PLACE_NONE;
	if (stream->direction == S2SP_OUTGOING)
		return stream->verify_only ? S2SP_PLACE_NONE : S2SP_PLACE_TAKES;
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return S2SP_PLACE_TAKES;
	if (!stream->asked && (s2sp_policy_methods(stream->policy, stream->partner) & S2SP_METHODS_DIALBACK))
		return S2SP_PLACE_NONE;
	return stream->tls && stream->certificate == S2SP_CERTIFICATE_VALID ? S2SP_PLACE_TAKES : S2SP_PLACE_ASKS;
}

/* Anybody can be one of many strangers, but not take the places that listed partners need. */
static uint32_t for_strangers(const struct s2sp_limits *limits) {
	return limits->connections - limits->connections / S2SP_RESERVED_SHARE;
}

bool s2sp_limits_suffice(const struct s2sp_policy *policy, struct s2sp_counts counts) {
	return counts.total <= for_strangers(s2sp_policy_limits(policy)) && counts.partner <= s2sp_policy_least_connections(policy);
}

struct s2sp_decision s2sp_decide_place(const struct s2sp_policy *policy, const struct s2sp_partner *partner,
									   struct s2sp_counts counts) {
	const struct s2sp_limits *limits = s2sp_policy_limits(policy);
	if (partner->connection_limit > 0 && counts.partner >= partner->connection_limit)
		return refuse(S2SP_REASON_CONNECTION_LIMIT, "the partner has as many streams as its connection_limit says");
	if (partner->connection_limit == 0 && counts.partner >= limits->partner_connections)
		return refuse(S2SP_REASON_CONNECTION_LIMIT,
					  "the partner has as many streams as partner_connections of {option.limits} says");
	if (partner == s2sp_policy_default(policy) && counts.total >= for_strangers(limits))
		return refuse(S2SP_REASON_CONNECTION_LIMIT, "the last quarter of connections of {option.limits} is for listed partners");
	if (counts.total >= limits->connections)
		return refuse(S2SP_REASON_CONNECTION_LIMIT, "there are as many streams as connections of {option.limits} says");
	return allow("there is room for the stream");
}

struct s2sp_decision s2sp_decide_question(struct s2sp_questions questions) {
	if (questions.route >= S2SP_QUESTIONS_ROUTE_MAX)
		return refuse(S2SP_REASON_CONNECTION_LIMIT,
					  "the partner's server has been asked about as many keys as may wait for an answer");
	if (questions.partner >= S2SP_QUESTIONS_PARTNER_MAX)
		return refuse(S2SP_REASON_CONNECTION_LIMIT,
					  "the partner's servers have been asked about as many keys as may wait for an answer");
	return allow("the partner's server may be asked about the key");
}

struct s2sp_decision s2sp_stream_queue(struct s2sp_stream *stream) {
	if (stream->queued >= S2SP_QUEUE_MAX)
		return refuse(S2SP_REASON_CONNECTION_LIMIT, "as many stanzas wait for the stream to the partner as may");
	stream->queued++;
	return allow("the stanza may wait for the stream");
}

struct s2sp_waiting_room s2sp_limits_waiting_room(const struct s2sp_limits *limits) {
	struct s2sp_waiting_room room = { limits->connections, limits->connections / 10 };
	if (room.total < S2SP_WAITING_MIN)
		room.total = S2SP_WAITING_MIN;
	if (room.address < S2SP_WAITING_ADDRESS_MIN)
		room.address = S2SP_WAITING_ADDRESS_MIN;
	return room;
}

enum s2sp_crowded s2sp_waiting_crowded(struct s2sp_waiting_room room, struct s2sp_waiting_room waiting) {
	if (waiting.address > room.address)
		return S2SP_CROWDED_ADDRESS;
	return waiting.total > room.total ? S2SP_CROWDED_EVERYBODY : S2SP_CROWDED_NOT;
}

bool s2sp_waiting_due(const struct s2sp_limits *limits, s2sp_milliseconds waited) {
	return waited >= (s2sp_milliseconds)(limits == NULL ? S2SP_WAITING_SECONDS : limits->establishment_timeout) * 1000;
}

void s2sp_stream_clock_start(struct s2sp_stream *stream, s2sp_milliseconds now) {
	stream->created = now;
	stream->active = now;
	stream->keepalive = now;
}

void s2sp_stream_active(struct s2sp_stream *stream, s2sp_milliseconds now) {
	stream->active = now;
}

void s2sp_stream_keepalive_sent(struct s2sp_stream *stream, s2sp_milliseconds now, bool answer) {
	stream->keepalive = now;
	stream->awaits_answer = answer;
}

void s2sp_stream_keepalive_answered(struct s2sp_stream *stream) {
	stream->awaits_answer = false;
}

/* Whether `seconds` have passed since. A clock that has gone back has not passed anything. */
static bool passed(s2sp_milliseconds since, uint32_t seconds, s2sp_milliseconds now) {
	return now >= since && now - since >= (s2sp_milliseconds)seconds * 1000;
}

struct s2sp_decision s2sp_stream_due(const struct s2sp_stream *stream, const struct s2sp_limits *limits, s2sp_milliseconds now,
									 bool *keepalive) {
	*keepalive = false;
	if (stream->stage < S2SP_STAGE_ESTABLISHED) {
		if (passed(stream->created, limits->establishment_timeout, now))
			return refuse(S2SP_REASON_ESTABLISHMENT_TIMEOUT, "not established within establishment_timeout of {option.limits}");
		return allow("there is time left to establish the stream");
	}
	if (passed(stream->active, limits->inactivity_timeout, now))
		return refuse(S2SP_REASON_INACTIVITY_TIMEOUT, "no stanza within inactivity_timeout of {option.limits}");
	if (stream->partner == NULL || !stream->partner->keepalive)
		return allow("the stream is in use");
	uint32_t answer =
		limits->establishment_timeout < limits->keepalive_interval ? limits->establishment_timeout : limits->keepalive_interval;
	if (stream->awaits_answer && passed(stream->keepalive, answer, now))
		return refuse(S2SP_REASON_INACTIVITY_TIMEOUT, "the partner did not answer a keepalive");
	*keepalive = !stream->awaits_answer && passed(stream->keepalive, limits->keepalive_interval, now);
	return allow("the stream is in use");
}
