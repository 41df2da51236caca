/*
 * What the steps of a stream are decided by: which of its partner's methods fit it, and what refuses it whatever the step. For the files of
 * the stream alone; inline, because every step and every judgement anew asks.
 */
#ifndef S2SP_STREAM_METHODS_H
#define S2SP_STREAM_METHODS_H

#include "stream.h"

static inline struct s2sp_decision allow(const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, rule };
}

static inline struct s2sp_decision wait(enum s2sp_reason reason, const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_WAIT, reason, rule };
}

static inline struct s2sp_decision refuse(enum s2sp_reason reason, const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_REFUSE, reason, rule };
}

/* A refusal of the stream itself: nothing that comes later can be allowed any more. */
static inline struct s2sp_decision end(struct s2sp_stream *stream, enum s2sp_reason reason, const char *rule) {
	stream->stage = S2SP_STAGE_REFUSED;
	stream->reason = (uint8_t)reason;
	return refuse(reason, rule);
}

static inline unsigned methods_of(const struct s2sp_stream *stream) {
	return s2sp_policy_methods(stream->policy, stream->partner);
}

/* With anchors or pins every TLS stream needs a valid certificate, dialback included. */
static inline bool demands_certificate(const struct s2sp_partner *partner) {
	return partner->pin_count > 0 || partner->trust_anchors.length > 0;
}

/* Those of the partner's methods that could authenticate the stream as it stands, without a further STARTTLS. */
static inline unsigned methods_fitting(const struct s2sp_stream *stream, unsigned methods) {
	if (!stream->tls)
		return methods & S2SP_METHOD_TCP_DIALBACK;
	methods &= S2SP_METHODS_OVER_TLS;
	if (stream->certificate == S2SP_CERTIFICATE_VALID)
		return methods;
	return demands_certificate(stream->partner) ? 0 : methods & ~(unsigned)S2SP_METHOD_SASL;
}

static inline unsigned methods_now(const struct s2sp_stream *stream) {
	return methods_fitting(stream, methods_of(stream));
}

/* Why methods_now is empty (or why a stream is not authenticated), first reason that applies. */
struct s2sp_decision s2sp_stream_nothing_now(const struct s2sp_stream *stream);

/* What refuses every step of a stream, whatever the step. REFUSE or ALLOW. */
static inline struct s2sp_decision standing(struct s2sp_stream *stream) {
	if (stream->stage == S2SP_STAGE_REFUSED)
		return refuse(stream->reason == S2SP_REASON_NONE ? S2SP_REASON_INTERNAL_ERROR : (enum s2sp_reason)stream->reason,
					  "the stream has been refused already");
	if (stream->policy == NULL)
		return end(stream, S2SP_REASON_CONFIG_INVALID, "no valid partner configuration is running for this host");
	return allow("");
}

/* The same for steps that need the domain. */
static inline struct s2sp_decision identified(struct s2sp_stream *stream) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->partner == NULL || stream->stage == S2SP_STAGE_OPEN)
		return end(stream, S2SP_REASON_UNLISTED_DOMAIN, "the stream does not say which domain it is from");
	return decision;
}

/* A stream that runs over TLS although its partner must not. */
static inline struct s2sp_decision check_tls_allowed(struct s2sp_stream *stream) {
	if (stream->tls && !(methods_of(stream) & S2SP_METHODS_OVER_TLS))
		return end(stream, S2SP_REASON_TLS_NOT_SUPPORTED, "the partner's entry leaves no method over TLS");
	return allow("the domain is listed");
}

#endif
