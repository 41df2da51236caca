/* Streams that a host lets through while it enforces nothing: what becomes of them under another list. */
#include "stream_methods.h"

/* Those that follow from what the list says of the domain and of the method that was used. Zero: the peer has done what nobody may. */
static const bool list_can_say[S2SP_REASON_COUNT] = {
	[S2SP_REASON_CONFIG_INVALID] = true,
	[S2SP_REASON_UNLISTED_DOMAIN] = true,
	[S2SP_REASON_POLICY_CHANGED] = true,
	[S2SP_REASON_CONNECTION_LIMIT] = true,
	[S2SP_REASON_TLS_REQUIRED] = true,
	[S2SP_REASON_TLS_NOT_SUPPORTED] = true,
	[S2SP_REASON_CERTIFICATE_NO_CERTIFICATE] = true,
	[S2SP_REASON_CERTIFICATE_UNTRUSTED] = true,
	[S2SP_REASON_CERTIFICATE_EXPIRED] = true,
	[S2SP_REASON_CERTIFICATE_NOT_YET_VALID] = true,
	[S2SP_REASON_CERTIFICATE_REVOKED] = true,
	[S2SP_REASON_CERTIFICATE_REVOCATION_UNKNOWN] = true,
	[S2SP_REASON_CERTIFICATE_IDENTITY_MISMATCH] = true,
	[S2SP_REASON_CERTIFICATE_PIN_MISMATCH] = true,
	[S2SP_REASON_CERTIFICATE_MALFORMED] = true,
	[S2SP_REASON_SASL_REQUIRED] = true,
	[S2SP_REASON_SASL_NOT_SUPPORTED] = true,
	[S2SP_REASON_DIALBACK_NOT_ALLOWED] = true,
};

static enum s2sp_method method_used(const struct s2sp_stream *stream, bool by_sasl) {
	if (!stream->tls)
		return by_sasl ? S2SP_METHOD_NONE : S2SP_METHOD_TCP_DIALBACK;
	return by_sasl ? S2SP_METHOD_SASL : S2SP_METHOD_TLS_DIALBACK;
}

void s2sp_stream_let_through(struct s2sp_stream *stream, bool by_sasl) {
	if (stream->stage == S2SP_STAGE_REFUSED && stream->observed == S2SP_METHOD_NONE)
		stream->observed = (uint8_t)method_used(stream, by_sasl);
}

void s2sp_stream_keep_method(struct s2sp_stream *stream, bool observing) {
	if (!observing)
		stream->observed = S2SP_METHOD_NONE;
	else if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		stream->observed = stream->method;
}

bool s2sp_stream_may_return(const struct s2sp_stream *stream) {
	return stream->stage == S2SP_STAGE_REFUSED && stream->observed != S2SP_METHOD_NONE && stream->reason < S2SP_REASON_COUNT &&
		   list_can_say[stream->reason];
}

struct s2sp_decision s2sp_stream_replay(struct s2sp_stream *stream, const struct s2sp_policy *policy, struct s2sp_text domain) {
	if (!s2sp_stream_may_return(stream))
		return s2sp_stream_rejudge(stream, policy, domain);
	bool by_sasl = stream->observed == S2SP_METHOD_SASL;
	stream->stage = S2SP_STAGE_OPEN;
	stream->method = S2SP_METHOD_NONE;
	stream->reason = S2SP_REASON_NONE;
	stream->policy = policy;
	stream->partner = NULL;
	if ((uint8_t)method_used(stream, by_sasl) != stream->observed)
		return end(stream, S2SP_REASON_NO_METHOD_LEFT, "TLS has begun after the stream was authenticated");
	struct s2sp_decision decision = s2sp_stream_identify(stream, domain);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_stream_authenticated(stream, by_sasl);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_stream_established(stream);
	return decision;
}
