/* The life of a stream up to its audit. */
#include "stream_methods.h"

void s2sp_stream_begin(struct s2sp_stream *stream, enum s2sp_direction direction, const struct s2sp_policy *policy) {
	*stream = (struct s2sp_stream){
		.policy = policy, .direction = (uint8_t)direction, .stage = S2SP_STAGE_OPEN, .method = S2SP_METHOD_NONE
	};
}

struct s2sp_decision s2sp_stream_refuse(struct s2sp_stream *stream, enum s2sp_reason reason, const char *rule) {
	return end(stream, reason, rule);
}

struct s2sp_decision s2sp_stream_identify(struct s2sp_stream *stream, struct s2sp_text domain) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	const struct s2sp_partner *partner = domain.length == 0 ? NULL : s2sp_policy_find(stream->policy, domain, NULL);
	if (partner == NULL)
		return end(stream, S2SP_REASON_UNLISTED_DOMAIN, s2sp_policy_unlisted_rule(stream->policy));
	if (stream->partner != NULL && stream->partner != partner)
		return end(stream, S2SP_REASON_WRONG_DOMAIN, "one stream carries one domain pair");
	stream->partner = partner;
	if (stream->stage == S2SP_STAGE_OPEN)
		stream->stage = S2SP_STAGE_IDENTIFIED;
	return check_tls_allowed(stream);
}

void s2sp_stream_observe(struct s2sp_stream *stream, bool tls, enum s2sp_certificate_verdict certificate) {
	if (tls && !stream->tls) {
		stream->tls = true;
		stream->key_asked = false; /* another stream, with another id */
	}
	stream->certificate = (uint8_t)(stream->tls ? certificate : S2SP_CERTIFICATE_UNKNOWN);
}

struct s2sp_decision s2sp_stream_certificate(struct s2sp_stream *stream) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (!stream->tls)
		return end(stream, S2SP_REASON_TLS_REQUIRED, "the host took the stream for encrypted, the connection reports no TLS");
	if (stream->stage != S2SP_STAGE_IDENTIFIED || methods_now(stream) != 0)
		return allow("a method is left, or the stream has not named its domain yet");
	decision = s2sp_stream_nothing_now(stream);
	return end(stream, decision.reason, decision.rule);
}

struct s2sp_decision s2sp_stream_offer(struct s2sp_stream *stream, struct s2sp_offer *offer) {
	*offer = (struct s2sp_offer){ 0 };
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage == S2SP_STAGE_OPEN) {
		if (stream->tls)
			return end(stream, S2SP_REASON_NO_METHOD_LEFT,
					   "nothing can be offered to a stream that does not say which domain it is from");
		offer->starttls = offer->starttls_required = true;
		return allow("a stream without a domain is offered STARTTLS only");
	}
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return allow("the stream is authenticated");
	decision = check_tls_allowed(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	unsigned now = methods_now(stream);
	if (!stream->tls) {
		offer->starttls = (methods_of(stream) & S2SP_METHODS_OVER_TLS) != 0;
		offer->starttls_required = offer->starttls && now == 0;
	}
	if (now == 0 && !offer->starttls) {
		decision = s2sp_stream_nothing_now(stream);
		return end(stream, decision.reason, decision.rule);
	}
	offer->sasl = (now & S2SP_METHOD_SASL) != 0;
	offer->dialback = (now & S2SP_METHODS_DIALBACK) != 0;
	offer->bidi = now != 0;
	stream->sasl_offered = offer->sasl;
	stream->dialback_offered = offer->dialback;
	return allow("the methods of the partner's entry that fit the stream are offered");
}

struct s2sp_decision s2sp_stream_starttls(struct s2sp_stream *stream) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->direction != S2SP_INCOMING)
		return end(stream, S2SP_REASON_TLS_NOT_SUPPORTED, "STARTTLS is asked for by the side that opened the stream");
	if (stream->tls || stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return end(stream, S2SP_REASON_TLS_NOT_SUPPORTED, "STARTTLS comes once, before authentication");
	if (stream->stage == S2SP_STAGE_IDENTIFIED && !(methods_of(stream) & S2SP_METHODS_OVER_TLS))
		return end(stream, S2SP_REASON_TLS_NOT_SUPPORTED, "the partner's entry says {tls = not_supported}");
	return allow("TLS may be started");
}

struct s2sp_decision s2sp_stream_auth(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->direction != S2SP_INCOMING || stream->stage != S2SP_STAGE_IDENTIFIED)
		return end(stream, S2SP_REASON_SASL_NOT_SUPPORTED, "SASL comes once, from the side that opened the stream");
	if (methods_now(stream) & S2SP_METHOD_SASL) {
		stream->asked = true;
		return allow("SASL EXTERNAL is among the partner's methods and the certificate is valid");
	}
	bool sasl = (methods_of(stream) & S2SP_METHOD_SASL) != 0;
	if (!stream->tls && (sasl || stream->partner->row->tls == S2SP_REQUIRED))
		return end(stream, S2SP_REASON_TLS_REQUIRED, "SASL EXTERNAL works over TLS only");
	if (sasl)
		return end(stream, s2sp_certificate_verdict_reason(stream->certificate), "SASL EXTERNAL needs a valid certificate");
	return end(stream, S2SP_REASON_SASL_NOT_SUPPORTED, "SASL is not among the partner's methods");
}

static struct s2sp_decision plan_before_tls(struct s2sp_stream *stream, const struct s2sp_peer_features *features,
											struct s2sp_plan *plan) {
	unsigned methods = methods_of(stream);
	if ((methods & S2SP_METHODS_OVER_TLS) && features != NULL && features->starttls) {
		plan->starttls = true;
		return allow("the peer offers STARTTLS");
	}
	if (!(methods & S2SP_METHOD_TCP_DIALBACK)) {
		struct s2sp_decision decision = s2sp_stream_nothing_now(stream);
		return end(stream, decision.reason, "the peer does not offer STARTTLS and no method of this partner works without TLS");
	}
	if (features != NULL && features->starttls_required)
		return end(stream, S2SP_REASON_TLS_NOT_SUPPORTED, "the peer insists on TLS, which the partner's entry excludes");
	plan->dialback = true;
	return allow("TCP dialback is among the partner's methods");
}

struct s2sp_decision s2sp_stream_plan(struct s2sp_stream *stream, const struct s2sp_peer_features *features,
									  struct s2sp_plan *plan) {
	*plan = (struct s2sp_plan){ 0 };
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->direction != S2SP_OUTGOING)
		return end(stream, S2SP_REASON_NO_METHOD_LEFT, "features are sent by the side that accepted the stream");
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return allow("the stream is authenticated");
	decision = check_tls_allowed(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (!stream->tls) {
		decision = plan_before_tls(stream, features, plan);
	} else {
		unsigned now = methods_now(stream);
		plan->sasl = (now & S2SP_METHOD_SASL) && features != NULL && features->sasl_external;
		plan->dialback = (now & S2SP_METHOD_TLS_DIALBACK) != 0;
		if (!plan->sasl && !plan->dialback) {
			if (now & S2SP_METHOD_SASL)
				return end(stream, S2SP_REASON_SASL_REQUIRED,
						   "the peer does not offer SASL EXTERNAL and no other method is left");
			decision = s2sp_stream_nothing_now(stream);
			return end(stream, decision.reason, decision.rule);
		}
	}
	stream->sasl_offered = plan->sasl;
	stream->dialback_offered = plan->dialback;
	return decision;
}

struct s2sp_decision s2sp_stream_sasl_failed(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage == S2SP_STAGE_IDENTIFIED && stream->dialback_offered && (methods_now(stream) & S2SP_METHODS_DIALBACK))
		return allow("dialback is left after the failure of SASL EXTERNAL");
	return end(stream, S2SP_REASON_SASL_REQUIRED, "the peer refused SASL EXTERNAL and no other method is left");
}

struct s2sp_decision s2sp_stream_authenticated(struct s2sp_stream *stream, bool by_sasl) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (by_sasl && !stream->tls)
		return end(stream, S2SP_REASON_TLS_REQUIRED, "SASL EXTERNAL without TLS proves nothing");
	enum s2sp_method method = by_sasl ? S2SP_METHOD_SASL : stream->tls ? S2SP_METHOD_TLS_DIALBACK : S2SP_METHOD_TCP_DIALBACK;
	if (!(methods_now(stream) & (unsigned)method)) {
		decision = s2sp_stream_nothing_now(stream);
		if (decision.reason == S2SP_REASON_NO_METHOD_LEFT)
			decision = refuse(by_sasl ? S2SP_REASON_SASL_NOT_SUPPORTED : S2SP_REASON_DIALBACK_NOT_ALLOWED,
							  "the stream was authenticated by a method that is not the partner's");
		return end(stream, decision.reason, decision.rule);
	}
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return wait(S2SP_REASON_NONE, "the stream is authenticated already");
	stream->stage = S2SP_STAGE_AUTHENTICATED;
	stream->method = (uint8_t)method;
	return allow("authenticated by one of the partner's methods");
}

struct s2sp_decision s2sp_stream_premature(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	decision = s2sp_stream_nothing_now(stream);
	if (decision.reason == S2SP_REASON_NO_METHOD_LEFT && (methods_of(stream) & S2SP_METHOD_SASL) &&
		!(methods_of(stream) & S2SP_METHODS_DIALBACK))
		decision.reason = S2SP_REASON_SASL_REQUIRED;
	return end(stream, decision.reason, "a stanza before the stream is authenticated");
}

struct s2sp_decision s2sp_stream_misplaced(struct s2sp_stream *stream, const struct s2sp_handshake_row *row) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (row != NULL)
		return end(stream, row->reason, "a handshake element from the wrong side, or at the wrong time");
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return end(stream, S2SP_REASON_NO_METHOD_LEFT,
				   "an element that is neither a stanza nor part of a handshake between servers");
	return s2sp_stream_premature(stream);
}

struct s2sp_decision s2sp_stream_established(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage < S2SP_STAGE_AUTHENTICATED || stream->method == S2SP_METHOD_NONE)
		return end(stream, S2SP_REASON_NO_METHOD_LEFT,
				   "the host took the stream for established, but nothing has authenticated it");
	stream->stage = S2SP_STAGE_ESTABLISHED;
	return allow("authenticated and audited");
}
