#include "stream.h"

static struct s2sp_decision allow(const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, rule };
}

static struct s2sp_decision wait(enum s2sp_reason reason, const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_WAIT, reason, rule };
}

static struct s2sp_decision refuse(enum s2sp_reason reason, const char *rule) {
	return (struct s2sp_decision){ S2SP_VERDICT_REFUSE, reason, rule };
}

/* A refusal of the stream itself: nothing that comes later can be allowed any more. */
static struct s2sp_decision end(struct s2sp_stream *stream, enum s2sp_reason reason, const char *rule) {
	stream->stage = S2SP_STAGE_REFUSED;
	stream->reason = (uint8_t)reason;
	return refuse(reason, rule);
}

static const struct {
	const char *token;
	enum s2sp_reason reason;
} certificate_verdicts[] = {
	[S2SP_CERTIFICATE_UNKNOWN] = { "unknown", S2SP_REASON_INTERNAL_ERROR },
	[S2SP_CERTIFICATE_VALID] = { "valid", S2SP_REASON_NONE },
	[S2SP_CERTIFICATE_NO_CERTIFICATE] = { "no-certificate", S2SP_REASON_CERTIFICATE_NO_CERTIFICATE },
	[S2SP_CERTIFICATE_UNTRUSTED] = { "untrusted", S2SP_REASON_CERTIFICATE_UNTRUSTED },
	[S2SP_CERTIFICATE_EXPIRED] = { "expired", S2SP_REASON_CERTIFICATE_EXPIRED },
	[S2SP_CERTIFICATE_NOT_YET_VALID] = { "not-yet-valid", S2SP_REASON_CERTIFICATE_NOT_YET_VALID },
	[S2SP_CERTIFICATE_REVOKED] = { "revoked", S2SP_REASON_CERTIFICATE_REVOKED },
	[S2SP_CERTIFICATE_REVOCATION_UNKNOWN] = { "revocation-unknown", S2SP_REASON_CERTIFICATE_REVOCATION_UNKNOWN },
	[S2SP_CERTIFICATE_IDENTITY_MISMATCH] = { "identity-mismatch", S2SP_REASON_CERTIFICATE_IDENTITY_MISMATCH },
	[S2SP_CERTIFICATE_PIN_MISMATCH] = { "pin-mismatch", S2SP_REASON_CERTIFICATE_PIN_MISMATCH },
	[S2SP_CERTIFICATE_MALFORMED] = { "malformed", S2SP_REASON_CERTIFICATE_MALFORMED },
};

static size_t certificate_index(enum s2sp_certificate_verdict verdict) {
	size_t count = sizeof certificate_verdicts / sizeof certificate_verdicts[0];
	return (size_t)verdict < count ? (size_t)verdict : S2SP_CERTIFICATE_UNKNOWN;
}

const char *s2sp_certificate_verdict_token(enum s2sp_certificate_verdict verdict) {
	return certificate_verdicts[certificate_index(verdict)].token;
}

enum s2sp_reason s2sp_certificate_verdict_reason(enum s2sp_certificate_verdict verdict) {
	return certificate_verdicts[certificate_index(verdict)].reason;
}

static unsigned methods_of(const struct s2sp_stream *stream) {
	return s2sp_policy_methods(stream->policy, stream->partner);
}

/* With anchors or pins every TLS stream needs a valid certificate, dialback included. */
static bool demands_certificate(const struct s2sp_partner *partner) {
	return partner->pin_count > 0 || partner->trust_anchors.length > 0;
}

/* Those of the partner's methods that could authenticate the stream as it stands, without a further STARTTLS. */
static unsigned methods_fitting(const struct s2sp_stream *stream, unsigned methods) {
	if (!stream->tls)
		return methods & S2SP_METHOD_TCP_DIALBACK;
	methods &= S2SP_METHODS_OVER_TLS;
	if (stream->certificate == S2SP_CERTIFICATE_VALID)
		return methods;
	return demands_certificate(stream->partner) ? 0 : methods & ~(unsigned)S2SP_METHOD_SASL;
}

static unsigned methods_now(const struct s2sp_stream *stream) {
	return methods_fitting(stream, methods_of(stream));
}

/* Why methods_now is empty (or why a stream is not authenticated), first reason that applies. */
static struct s2sp_decision nothing_now(const struct s2sp_stream *stream) {
	unsigned methods = methods_of(stream);
	if (!stream->tls) {
		if (stream->partner->row->tls == S2SP_REQUIRED)
			return refuse(S2SP_REASON_TLS_REQUIRED, "the partner's entry says {tls = required}");
		if (!(methods & S2SP_METHOD_TCP_DIALBACK))
			return refuse(S2SP_REASON_TLS_REQUIRED, "no method of this partner works without TLS");
	} else {
		if (!(methods & S2SP_METHODS_OVER_TLS))
			return refuse(S2SP_REASON_TLS_NOT_SUPPORTED, "no method of this partner works over TLS");
		if (stream->certificate != S2SP_CERTIFICATE_VALID) {
			if (demands_certificate(stream->partner))
				return refuse(s2sp_certificate_verdict_reason(stream->certificate),
				              "trust_anchors and pinned_keys demand a valid certificate on every TLS stream");
			if (!(methods & S2SP_METHOD_TLS_DIALBACK))
				return refuse(s2sp_certificate_verdict_reason(stream->certificate),
				              "SASL EXTERNAL is the only method and needs a valid certificate");
		}
	}
	return refuse(S2SP_REASON_NO_METHOD_LEFT, "no method of this partner can succeed on this stream");
}

/* What refuses every step of a stream, whatever the step. REFUSE or ALLOW. */
static struct s2sp_decision standing(struct s2sp_stream *stream) {
	if (stream->stage == S2SP_STAGE_REFUSED)
		return refuse(stream->reason == S2SP_REASON_NONE ? S2SP_REASON_INTERNAL_ERROR : (enum s2sp_reason)stream->reason,
		              "the stream has been refused already");
	if (stream->policy == NULL)
		return end(stream, S2SP_REASON_CONFIG_INVALID, "no valid partner configuration is running for this host");
	return allow("");
}

/* The same for steps that need the domain. */
static struct s2sp_decision identified(struct s2sp_stream *stream) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->partner == NULL || stream->stage == S2SP_STAGE_OPEN)
		return end(stream, S2SP_REASON_UNLISTED_DOMAIN, "the stream does not say which domain it is from");
	return decision;
}

void s2sp_stream_begin(struct s2sp_stream *stream, enum s2sp_direction direction, const struct s2sp_policy *policy) {
	*stream = (struct s2sp_stream){
		.policy = policy, .direction = (uint8_t)direction, .stage = S2SP_STAGE_OPEN, .method = S2SP_METHOD_NONE
	};
}

struct s2sp_decision s2sp_stream_refuse(struct s2sp_stream *stream, enum s2sp_reason reason, const char *rule) {
	return end(stream, reason, rule);
}

/* A stream that runs over TLS although its partner must not. */
static struct s2sp_decision check_tls_allowed(struct s2sp_stream *stream) {
	if (stream->tls && !(methods_of(stream) & S2SP_METHODS_OVER_TLS))
		return end(stream, S2SP_REASON_TLS_NOT_SUPPORTED, "the partner's entry leaves no method over TLS");
	return allow("the domain is listed");
}

struct s2sp_decision s2sp_stream_identify(struct s2sp_stream *stream, struct s2sp_text domain) {
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	const struct s2sp_partner *partner =
		domain.length == 0 ? NULL : s2sp_policy_find(stream->policy, domain, NULL);
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
	decision = nothing_now(stream);
	return end(stream, decision.reason, decision.rule);
}

struct s2sp_decision s2sp_stream_offer(struct s2sp_stream *stream, struct s2sp_offer *offer) {
	*offer = (struct s2sp_offer){ 0 };
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage == S2SP_STAGE_OPEN) {
		if (stream->tls)
			return end(stream, S2SP_REASON_NO_METHOD_LEFT, "nothing can be offered to a stream that does not say which domain it is from");
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
		decision = nothing_now(stream);
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

/*
 * A dialback element that is not to be processed: the stream is closed where nothing could succeed any more (or where
 * nothing at all is accepted before TLS), else the element is ignored and the stream goes on.
 */
static struct s2sp_decision no_dialback(struct s2sp_stream *stream) {
	struct s2sp_decision decision;
	bool tls_to_come = !stream->tls && (methods_of(stream) & S2SP_METHODS_OVER_TLS) != 0;
	if (stream->tls ? methods_now(stream) != 0 : tls_to_come && stream->partner->row->tls != S2SP_REQUIRED)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the methods that fit this stream");
	decision = nothing_now(stream);
	if (decision.reason == S2SP_REASON_NO_METHOD_LEFT)
		decision = refuse(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the partner's methods");
	return end(stream, decision.reason, decision.rule);
}

struct s2sp_decision s2sp_stream_dialback(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "the stream is authenticated already");
	if (!(methods_now(stream) & S2SP_METHODS_DIALBACK))
		return no_dialback(stream);
	if (stream->key_asked)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "a key of this stream is being verified already");
	stream->key_asked = stream->asked = true;
	return allow("dialback is among the methods that fit this stream");
}

struct s2sp_decision s2sp_stream_verify(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (methods_now(stream) & S2SP_METHODS_DIALBACK)
		return allow("keys are verified for partners whose methods have dialback");
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the methods that fit this stream");
	return no_dialback(stream);
}

static struct s2sp_decision plan_before_tls(struct s2sp_stream *stream, const struct s2sp_peer_features *features,
                                            struct s2sp_plan *plan) {
	unsigned methods = methods_of(stream);
	if ((methods & S2SP_METHODS_OVER_TLS) && features != NULL && features->starttls) {
		plan->starttls = true;
		return allow("the peer offers STARTTLS");
	}
	if (!(methods & S2SP_METHOD_TCP_DIALBACK)) {
		struct s2sp_decision decision = nothing_now(stream);
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
				return end(stream, S2SP_REASON_SASL_REQUIRED, "the peer does not offer SASL EXTERNAL and no other method is left");
			decision = nothing_now(stream);
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

struct s2sp_decision s2sp_stream_dialback_answer(struct s2sp_stream *stream, bool key_sent, bool sasl_pending) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->direction != S2SP_OUTGOING || !key_sent || sasl_pending || stream->stage != S2SP_STAGE_IDENTIFIED)
		return end(stream, S2SP_REASON_DIALBACK_NOT_ALLOWED, "a dialback result that nobody asked for");
	if (!(methods_now(stream) & S2SP_METHODS_DIALBACK)) {
		decision = nothing_now(stream);
		if (decision.reason == S2SP_REASON_NO_METHOD_LEFT)
			decision.reason = S2SP_REASON_DIALBACK_NOT_ALLOWED;
		return end(stream, decision.reason, "dialback is not among the methods that fit this stream");
	}
	return allow("the key that was sent is valid");
}

struct s2sp_decision s2sp_stream_authenticated(struct s2sp_stream *stream, bool by_sasl) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (by_sasl && !stream->tls)
		return end(stream, S2SP_REASON_TLS_REQUIRED, "SASL EXTERNAL without TLS proves nothing");
	enum s2sp_method method = by_sasl      ? S2SP_METHOD_SASL
	                          : stream->tls ? S2SP_METHOD_TLS_DIALBACK
	                                        : S2SP_METHOD_TCP_DIALBACK;
	if (!(methods_now(stream) & (unsigned)method)) {
		decision = nothing_now(stream);
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
	decision = nothing_now(stream);
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
		return end(stream, S2SP_REASON_NO_METHOD_LEFT, "an element that is neither a stanza nor part of a handshake between servers");
	return s2sp_stream_premature(stream);
}

/* Whether an unauthenticated stream has sent too much that is wrong. */
static bool tried_too_often(struct s2sp_stream *stream) {
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return false;
	if (stream->faults < S2SP_STREAM_FAULTS_MAX)
		stream->faults++;
	return stream->faults >= S2SP_STREAM_FAULTS_MAX;
}

struct s2sp_decision s2sp_stream_misshapen(struct s2sp_stream *stream, const struct s2sp_handshake_row *row,
                                           enum s2sp_handshake_fault fault) {
	static const char rule[] = "a handshake element that is too large or has not the shape it must have";
	struct s2sp_decision decision = standing(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (fault != S2SP_HANDSHAKE_FAULT_CONTENT || stream->direction != S2SP_INCOMING || row->kind != S2SP_HANDSHAKE_REQUEST)
		return end(stream, row->reason, rule);
	if (tried_too_often(stream))
		return end(stream, row->reason, "too many dialback elements out of shape on one stream");
	if (stream->partner != NULL && stream->stage < S2SP_STAGE_AUTHENTICATED && !(methods_now(stream) & S2SP_METHODS_DIALBACK))
		return no_dialback(stream);
	return wait(row->reason, rule);
}

struct s2sp_decision s2sp_stream_wrong_key(struct s2sp_stream *stream) {
	if (tried_too_often(stream))
		return end(stream, S2SP_REASON_DIALBACK_NOT_ALLOWED, "too many wrong dialback keys on one stream");
	if (stream->wrong_keys >= S2SP_STREAM_WRONG_KEYS_TOLD)
		return wait(S2SP_REASON_DIALBACK_NOT_ALLOWED, "another key that is not ours");
	stream->wrong_keys++;
	return allow("a key that is not ours");
}

struct s2sp_decision s2sp_stream_established(struct s2sp_stream *stream) {
	struct s2sp_decision decision = identified(stream);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	if (stream->stage < S2SP_STAGE_AUTHENTICATED || stream->method == S2SP_METHOD_NONE)
		return end(stream, S2SP_REASON_NO_METHOD_LEFT, "the host took the stream for established, but nothing has authenticated it");
	stream->stage = S2SP_STAGE_ESTABLISHED;
	return allow("authenticated and audited");
}

/* Whether a method that has been used is (still) good under a policy and what it allows the partner; REFUSE names the rule. */
static struct s2sp_decision check_method(const struct s2sp_stream *stream, const struct s2sp_policy *policy,
                                         const struct s2sp_partner *partner, unsigned methods) {
	struct s2sp_stream view = *stream;
	view.policy = policy;
	view.partner = partner;
	if (methods_fitting(&view, methods) & stream->method)
		return allow("the stream's method is among the partner's");
	struct s2sp_decision decision = nothing_now(&view);
	if (decision.reason == S2SP_REASON_NO_METHOD_LEFT && (methods & stream->method & S2SP_METHOD_SASL) &&
	    stream->certificate == S2SP_CERTIFICATE_REVOKED)
		return refuse(S2SP_REASON_CERTIFICATE_REVOKED, "SASL EXTERNAL has authenticated the stream and needs a valid certificate");
	if (decision.reason == S2SP_REASON_NO_METHOD_LEFT)
		return refuse(stream->method == S2SP_METHOD_SASL ? S2SP_REASON_SASL_NOT_SUPPORTED : S2SP_REASON_DIALBACK_NOT_ALLOWED,
		              "the stream was authenticated by a method that is not the partner's");
	return decision;
}

struct s2sp_decision s2sp_stream_stanza(const struct s2sp_stream *stream, const struct s2sp_policy *policy,
                                        struct s2sp_text domain) {
	if (stream->stage != S2SP_STAGE_ESTABLISHED || stream->partner == NULL)
		return refuse(stream->reason != S2SP_REASON_NONE ? (enum s2sp_reason)stream->reason : S2SP_REASON_NO_METHOD_LEFT,
		              "the stream is not established");
	if (policy == NULL)
		return refuse(S2SP_REASON_CONFIG_INVALID, "no valid partner configuration is running for this host");
	if (policy == stream->policy)
		return allow("the stream is established");
	unsigned methods = S2SP_METHOD_NONE;
	const struct s2sp_partner *partner = domain.length == 0 ? NULL : s2sp_policy_find_methods(policy, domain, &methods);
	if (partner == NULL)
		return refuse(S2SP_REASON_UNLISTED_DOMAIN,
		              s2sp_policy_out_of_reach(policy) ? s2sp_policy_unlisted_rule(policy) : "the domain is not a partner of this host");
	return check_method(stream, policy, partner, methods);
}

struct s2sp_decision s2sp_stream_rejudge(struct s2sp_stream *stream, const struct s2sp_policy *policy,
                                         struct s2sp_text domain) {
	if (stream->stage == S2SP_STAGE_REFUSED)
		return standing(stream);
	stream->policy = policy;
	stream->partner = NULL;
	if (policy == NULL)
		return end(stream, S2SP_REASON_CONFIG_INVALID, "no valid partner configuration is running for this host");
	if (stream->stage == S2SP_STAGE_OPEN)
		return allow("the stream has not named its domain yet");
	unsigned methods = S2SP_METHOD_NONE;
	stream->partner = domain.length == 0 ? NULL : s2sp_policy_find_methods(policy, domain, &methods);
	if (stream->partner == NULL)
		return end(stream, S2SP_REASON_POLICY_CHANGED,
		           s2sp_policy_out_of_reach(policy) ? s2sp_policy_unlisted_rule(policy) : "the domain is no longer listed");
	struct s2sp_decision decision;
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED) {
		decision = check_method(stream, policy, stream->partner, methods);
	} else {
		decision = check_tls_allowed(stream);
		if (decision.verdict == S2SP_VERDICT_ALLOW && stream->tls && methods_now(stream) == 0)
			decision = nothing_now(stream);
	}
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return decision;
	bool revoked = decision.reason == S2SP_REASON_CERTIFICATE_REVOKED;
	return end(stream, revoked ? decision.reason : S2SP_REASON_POLICY_CHANGED, decision.rule);
}

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

struct s2sp_decision s2sp_decide_route(const struct s2sp_policy *policy, struct s2sp_text domain, bool dialback_verify,
                                       const struct s2sp_partner **partner) {
	*partner = NULL;
	if (policy == NULL)
		return refuse(S2SP_REASON_CONFIG_INVALID, "no valid partner configuration is running for this host");
	const struct s2sp_partner *found = domain.length == 0 ? NULL : s2sp_policy_find(policy, domain, NULL);
	if (found == NULL)
		return refuse(S2SP_REASON_UNLISTED_DOMAIN, s2sp_policy_unlisted_rule(policy));
	if (dialback_verify && !(s2sp_policy_methods(policy, found) & S2SP_METHODS_DIALBACK))
		return refuse(S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback is not among the partner's methods");
	*partner = found;
	return allow("the domain is listed");
}
