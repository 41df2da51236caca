/* Streams that are up, under the policy of the moment: their stanzas, their judgement anew; and routes without a stream. */
#include "stream_methods.h"

/* Whether a method that has been used is (still) good under a policy and what it allows the partner; REFUSE names the rule. */
static struct s2sp_decision check_method(const struct s2sp_stream *stream, const struct s2sp_policy *policy,
										 const struct s2sp_partner *partner, unsigned methods) {
	struct s2sp_stream view = *stream;
	view.policy = policy;
	view.partner = partner;
	if (methods_fitting(&view, methods) & stream->method)
		return allow("the stream's method is among the partner's");
	struct s2sp_decision decision = s2sp_stream_nothing_now(&view);
	if (decision.reason == S2SP_REASON_NO_METHOD_LEFT && (methods & stream->method & S2SP_METHOD_SASL) &&
		stream->certificate == S2SP_CERTIFICATE_REVOKED)
		return refuse(S2SP_REASON_CERTIFICATE_REVOKED,
					  "SASL EXTERNAL has authenticated the stream and needs a valid certificate");
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
		return refuse(S2SP_REASON_UNLISTED_DOMAIN, s2sp_policy_out_of_reach(policy) ? s2sp_policy_unlisted_rule(policy)
																					: "the domain is not a partner of this host");
	return check_method(stream, policy, partner, methods);
}

struct s2sp_decision s2sp_stream_rejudge(struct s2sp_stream *stream, const struct s2sp_policy *policy, struct s2sp_text domain) {
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
			decision = s2sp_stream_nothing_now(stream);
	}
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return decision;
	bool revoked = decision.reason == S2SP_REASON_CERTIFICATE_REVOKED;
	return end(stream, revoked ? decision.reason : S2SP_REASON_POLICY_CHANGED, decision.rule);
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
