#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "stream_fixture.h"

/* Calls `check` with a policy for every valid row. */
static void each_row(void (*check)(const struct s2sp_negotiation_row *, struct fixture *)) {
	size_t valid = 0;
	for (size_t i = 0; i < S2SP_NEGOTIATION_ROWS; i++) {
		const struct s2sp_negotiation_row *row = s2sp_negotiation_row_at(i);
		struct fixture fixture = { 0 };
		bool built = build(&fixture, row->tls, row->sasl, row->dialback, true, NULL);
		assert_int_equal(built, row->verdict != S2SP_ROW_ERROR);
		if (built) {
			valid++;
			check(row, &fixture);
			drop(&fixture);
		}
	}
	assert_int_equal(valid, 11);
}

static void offers_follow_the_row(const struct s2sp_negotiation_row *row, struct fixture *fixture) {
	bool tls_methods = row->tls != S2SP_NOT_SUPPORTED;
	bool tcp = row->dialback && row->tls != S2SP_REQUIRED;
	bool sasl = row->sasl != S2SP_NOT_SUPPORTED && row->tls != S2SP_NOT_SUPPORTED;
	bool tls_dialback = row->dialback && tls_methods && !(row->tls == S2SP_REQUIRED && row->sasl == S2SP_REQUIRED);
	struct s2sp_offer offer;

	struct s2sp_stream clear = start(fixture, S2SP_INCOMING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_offer(&clear, &offer).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(offer.starttls, tls_methods);
	assert_int_equal(offer.starttls_required, tls_methods && !tcp);
	assert_int_equal(offer.dialback, tcp);
	assert_false(offer.sasl);

	struct s2sp_stream valid = start(fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	struct s2sp_decision decision = s2sp_stream_offer(&valid, &offer);
	if (!tls_methods) {
		assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, S2SP_REASON_TLS_NOT_SUPPORTED);
	} else {
		assert_int_equal(decision.verdict, S2SP_VERDICT_ALLOW);
		assert_false(offer.starttls);
		assert_int_equal(offer.sasl, sasl);
		assert_int_equal(offer.dialback, tls_dialback);
	}

	struct s2sp_stream expired = start(fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_EXPIRED);
	decision = s2sp_stream_offer(&expired, &offer);
	if (tls_methods && tls_dialback) {
		assert_int_equal(decision.verdict, S2SP_VERDICT_ALLOW);
		assert_false(offer.sasl);
		assert_true(offer.dialback);
	} else {
		assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, tls_methods ? S2SP_REASON_CERTIFICATE_EXPIRED : S2SP_REASON_TLS_NOT_SUPPORTED);
	}
}

static void test_offers(void **state) {
	(void)state;
	each_row(offers_follow_the_row);
}

/* What may authenticate does so, whatever was offered, and nothing else does; in both directions. */
static void authentication_follows_the_row(const struct s2sp_negotiation_row *row, struct fixture *fixture) {
	static const struct {
		bool by_sasl, tls;
		enum s2sp_method method;
	} ways[] = { { true, true, S2SP_METHOD_SASL },
				 { false, true, S2SP_METHOD_TLS_DIALBACK },
				 { false, false, S2SP_METHOD_TCP_DIALBACK },
				 { true, false, S2SP_METHOD_NONE } };
	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		for (int direction = S2SP_INCOMING; direction <= S2SP_OUTGOING; direction++) {
			struct s2sp_stream stream = start(fixture, (enum s2sp_direction)direction, ways[i].tls, S2SP_CERTIFICATE_VALID);
			bool may = (row->methods & ways[i].method) != 0;
			assert_int_equal(s2sp_stream_authenticated(&stream, ways[i].by_sasl).verdict,
							 may ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
			assert_int_equal(s2sp_stream_established(&stream).verdict, may ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
			assert_int_equal(stream.method, may ? ways[i].method : S2SP_METHOD_NONE);
		}
	}
	struct s2sp_stream bare = start(fixture, S2SP_INCOMING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_established(&bare).verdict, S2SP_VERDICT_REFUSE);
}

static void test_authentication(void **state) {
	(void)state;
	each_row(authentication_follows_the_row);
}

static void plans_follow_the_row(const struct s2sp_negotiation_row *row, struct fixture *fixture) {
	struct s2sp_peer_features all = { .starttls = true, .sasl_external = true, .dialback = true };
	struct s2sp_peer_features none = { 0 };
	struct s2sp_plan plan;
	bool tcp = (row->methods & S2SP_METHOD_TCP_DIALBACK) != 0;

	struct s2sp_stream stream = start(fixture, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_plan(&stream, &all, &plan).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(plan.starttls, row->tls != S2SP_NOT_SUPPORTED);
	assert_int_equal(plan.dialback, row->tls == S2SP_NOT_SUPPORTED);
	assert_false(plan.sasl);

	stream = start(fixture, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
	struct s2sp_decision decision = s2sp_stream_plan(&stream, &none, &plan);
	assert_int_equal(decision.verdict, tcp ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
	if (!tcp)
		assert_int_equal(decision.reason, S2SP_REASON_TLS_REQUIRED);
	assert_int_equal(plan.dialback, tcp);

	stream = start(fixture, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_plan(&stream, NULL, &plan).verdict, tcp ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);

	if (row->tls == S2SP_NOT_SUPPORTED) {
		struct s2sp_peer_features insists = { .starttls = true, .starttls_required = true };
		stream = start(fixture, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
		decision = s2sp_stream_plan(&stream, &insists, &plan);
		assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, S2SP_REASON_TLS_NOT_SUPPORTED);
		return;
	}
	stream = start(fixture, S2SP_OUTGOING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_plan(&stream, &all, &plan).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(plan.sasl, (row->methods & S2SP_METHOD_SASL) != 0);
	assert_int_equal(plan.dialback, (row->methods & S2SP_METHOD_TLS_DIALBACK) != 0);
	assert_int_equal(s2sp_stream_sasl_failed(&stream).verdict,
					 (row->methods & S2SP_METHOD_TLS_DIALBACK) ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);

	/* The peer proves itself by its certificate as well. */
	stream = start(fixture, S2SP_OUTGOING, true, S2SP_CERTIFICATE_UNTRUSTED);
	decision = s2sp_stream_plan(&stream, &all, &plan);
	assert_false(plan.sasl);
	assert_int_equal(decision.verdict, (row->methods & S2SP_METHOD_TLS_DIALBACK) ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
	if (decision.verdict == S2SP_VERDICT_REFUSE)
		assert_int_equal(decision.reason, S2SP_REASON_CERTIFICATE_UNTRUSTED);
}

static void test_plans(void **state) {
	(void)state;
	each_row(plans_follow_the_row);
}

/* A db:result where dialback has no place: before TLS under tls = required it closes, else it is ignored while there is hope. */
static void dialback_follows_the_row(const struct s2sp_negotiation_row *row, struct fixture *fixture) {
	struct s2sp_stream stream = start(fixture, S2SP_INCOMING, false, S2SP_CERTIFICATE_UNKNOWN);
	struct s2sp_decision decision = s2sp_stream_dialback(&stream);
	if (row->methods & S2SP_METHOD_TCP_DIALBACK) {
		assert_int_equal(decision.verdict, S2SP_VERDICT_ALLOW);
	} else if (row->tls == S2SP_REQUIRED) {
		assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, S2SP_REASON_TLS_REQUIRED);
	} else {
		assert_int_equal(decision.verdict, S2SP_VERDICT_WAIT);
		assert_int_equal(decision.reason, S2SP_REASON_DIALBACK_NOT_ALLOWED);
	}
	if (row->tls == S2SP_NOT_SUPPORTED)
		return;
	stream = start(fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	decision = s2sp_stream_dialback(&stream);
	assert_int_equal(decision.verdict, (row->methods & S2SP_METHOD_TLS_DIALBACK) ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_WAIT);
	stream = start(fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_NO_CERTIFICATE);
	decision = s2sp_stream_dialback(&stream);
	assert_int_equal(decision.verdict, (row->methods & S2SP_METHOD_TLS_DIALBACK) ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
}

static void test_dialback(void **state) {
	(void)state;
	each_row(dialback_follows_the_row);
}

/* Each key makes us ask somebody: of one stream one is asked about, and another one once TLS has made it another stream. */
static void test_one_key_a_stream(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(build(&fixture, S2SP_OPTIONAL, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = start(&fixture, S2SP_INCOMING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_ALLOW);
	for (int i = 0; i < 3; i++)
		assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_WAIT);
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_ALLOW);
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_WAIT);
	assert_int_equal(s2sp_stream_authenticated(&stream, false).verdict, S2SP_VERDICT_ALLOW);
	drop(&fixture);
}

/* The answer to our own db:verify, on a stream of ours: nothing that is said before TLS where TLS must be. */
static void test_verify_on_outgoing_streams(void **state) {
	(void)state;
	struct fixture required = { 0 }, any = { 0 };
	assert_true(build(&required, S2SP_REQUIRED, S2SP_NOT_SUPPORTED, true, false, NULL));
	assert_true(build(&any, S2SP_OPTIONAL, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = start(&required, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
	struct s2sp_decision decision = s2sp_stream_verify(&stream);
	assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(decision.reason, S2SP_REASON_TLS_REQUIRED);
	stream = start(&required, S2SP_OUTGOING, true, S2SP_CERTIFICATE_UNTRUSTED);
	assert_int_equal(s2sp_stream_verify(&stream).verdict, S2SP_VERDICT_ALLOW);
	stream = start(&any, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_verify(&stream).verdict, S2SP_VERDICT_ALLOW);
	drop(&required);
	drop(&any);
}

static void test_answers_nobody_asked_for(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(build(&fixture, S2SP_OPTIONAL, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = start(&fixture, S2SP_OUTGOING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback_answer(&stream, false, false).verdict, S2SP_VERDICT_REFUSE);
	stream = start(&fixture, S2SP_OUTGOING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback_answer(&stream, true, true).verdict, S2SP_VERDICT_REFUSE);
	stream = start(&fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback_answer(&stream, true, false).verdict, S2SP_VERDICT_REFUSE);
	stream = start(&fixture, S2SP_OUTGOING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback_answer(&stream, true, false).verdict, S2SP_VERDICT_ALLOW);
	drop(&fixture);
}

static void test_starttls(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(build(&fixture, S2SP_OPTIONAL, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, S2SP_INCOMING, fixture.policy);
	assert_int_equal(s2sp_stream_starttls(&stream).verdict, S2SP_VERDICT_ALLOW); /* before the domain is known */
	stream = start(&fixture, S2SP_INCOMING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_starttls(&stream).verdict, S2SP_VERDICT_ALLOW);
	stream = start(&fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_starttls(&stream).verdict, S2SP_VERDICT_REFUSE);
	stream = start(&fixture, S2SP_OUTGOING, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_starttls(&stream).verdict, S2SP_VERDICT_REFUSE);
	drop(&fixture);
}

/* Refused as soon as the certificate is seen, when nothing but SASL was left or anchors demand it; not earlier. */
static void test_certificate(void **state) {
	(void)state;
	for (int direction = S2SP_INCOMING; direction <= S2SP_OUTGOING; direction++) {
		struct fixture fixture = { 0 };
		assert_true(build(&fixture, S2SP_REQUIRED, S2SP_REQUIRED, false, false, NULL));
		struct s2sp_stream stream = start(&fixture, (enum s2sp_direction)direction, true, S2SP_CERTIFICATE_VALID);
		assert_int_equal(s2sp_stream_certificate(&stream).verdict, S2SP_VERDICT_ALLOW);
		stream = start(&fixture, (enum s2sp_direction)direction, true, S2SP_CERTIFICATE_EXPIRED);
		assert_int_equal(s2sp_stream_certificate(&stream).reason, S2SP_REASON_CERTIFICATE_EXPIRED);
		assert_int_equal(stream.stage, S2SP_STAGE_REFUSED);
		stream = start(&fixture, (enum s2sp_direction)direction, false, S2SP_CERTIFICATE_UNKNOWN);
		assert_int_equal(s2sp_stream_certificate(&stream).reason, S2SP_REASON_TLS_REQUIRED);
		s2sp_stream_begin(&stream, (enum s2sp_direction)direction, fixture.policy); /* no domain yet */
		s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_UNKNOWN);
		assert_int_equal(s2sp_stream_certificate(&stream).verdict, S2SP_VERDICT_ALLOW);
		drop(&fixture);

		fixture = (struct fixture){ 0 };
		assert_true(build(&fixture, S2SP_REQUIRED, S2SP_OPTIONAL, true, false, NULL));
		stream = start(&fixture, (enum s2sp_direction)direction, true, S2SP_CERTIFICATE_EXPIRED);
		assert_int_equal(s2sp_stream_certificate(&stream).verdict, S2SP_VERDICT_ALLOW);
		drop(&fixture);
	}
}

static void test_names(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	struct s2sp_stream stream;
	struct s2sp_decision decision;
	struct s2sp_offer offer;
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_REQUIRED, false, true, NULL));

	s2sp_stream_begin(&stream, S2SP_INCOMING, fixture.policy);
	assert_int_equal(s2sp_stream_offer(&stream, &offer).verdict, S2SP_VERDICT_ALLOW);
	assert_true(offer.starttls && offer.starttls_required && !offer.sasl && !offer.dialback && !offer.bidi);
	decision = s2sp_stream_dialback(&stream);
	assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);

	static const char *const unlisted[] = { "", "evil.test", "sub.fabrikam.test", "evilfabrikam.test",
											"fabrikam.test.evil.test" };
	for (size_t i = 0; i < sizeof unlisted / sizeof unlisted[0]; i++) {
		s2sp_stream_begin(&stream, S2SP_INCOMING, fixture.policy);
		decision = s2sp_stream_identify(&stream, s2sp_text_from(unlisted[i]));
		assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, S2SP_REASON_UNLISTED_DOMAIN);
		assert_int_equal(s2sp_stream_identify(&stream, fabrikam).verdict, S2SP_VERDICT_REFUSE); /* refused is final */
	}
	stream = start(&fixture, S2SP_INCOMING, false, S2SP_CERTIFICATE_UNKNOWN);
	decision = s2sp_stream_identify(&stream, litware);
	assert_int_equal(decision.reason, S2SP_REASON_WRONG_DOMAIN);

	s2sp_stream_begin(&stream, S2SP_INCOMING, NULL);
	decision = s2sp_stream_identify(&stream, fabrikam);
	assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(decision.reason, S2SP_REASON_CONFIG_INVALID);
	drop(&fixture);
}

/* Anchors and pins demand a valid certificate on every TLS stream, dialback included. */
static void test_pins(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(
		build(&fixture, S2SP_REQUIRED, S2SP_NOT_SUPPORTED, true, false, "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="));
	struct s2sp_stream stream = start(&fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_PIN_MISMATCH);
	struct s2sp_decision decision = s2sp_stream_dialback(&stream);
	assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(decision.reason, S2SP_REASON_CERTIFICATE_PIN_MISMATCH);
	stream = start(&fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_ALLOW);
	drop(&fixture);
}

static struct s2sp_stream established(const struct fixture *fixture, bool tls, bool by_sasl) {
	struct s2sp_stream stream = start(fixture, S2SP_INCOMING, tls, tls ? S2SP_CERTIFICATE_VALID : S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_authenticated(&stream, by_sasl).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_established(&stream).verdict, S2SP_VERDICT_ALLOW);
	return stream;
}

static void test_rejudge(void **state) {
	(void)state;
	struct fixture any = { 0 }, sasl_only = { 0 }, without = { 0 }, dialback_only = { 0 };
	assert_true(build(&any, S2SP_OPTIONAL, S2SP_OPTIONAL, true, false, NULL));
	assert_true(build(&sasl_only, S2SP_REQUIRED, S2SP_REQUIRED, false, false, NULL));
	assert_true(build(&dialback_only, S2SP_REQUIRED, S2SP_NOT_SUPPORTED, true, false, NULL));
	assert_true(build(&without, S2SP_OPTIONAL, S2SP_OPTIONAL, true, true, NULL));

	struct s2sp_stream by_sasl = established(&any, true, true), by_dialback = established(&any, true, false);
	struct s2sp_stream by_tcp = established(&any, false, false), copy;
	copy = by_sasl;
	assert_int_equal(s2sp_stream_rejudge(&copy, sasl_only.policy, fabrikam).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_stanza(&copy, sasl_only.policy, fabrikam).verdict, S2SP_VERDICT_ALLOW);
	copy = by_dialback;
	assert_int_equal(s2sp_stream_rejudge(&copy, sasl_only.policy, fabrikam).reason, S2SP_REASON_POLICY_CHANGED);
	assert_int_equal(s2sp_stream_stanza(&copy, sasl_only.policy, fabrikam).verdict, S2SP_VERDICT_REFUSE);
	copy = by_tcp;
	assert_int_equal(s2sp_stream_rejudge(&copy, dialback_only.policy, fabrikam).reason, S2SP_REASON_POLICY_CHANGED);
	copy = by_sasl;
	assert_int_equal(s2sp_stream_rejudge(&copy, dialback_only.policy, fabrikam).reason, S2SP_REASON_POLICY_CHANGED);
	copy = by_sasl;
	assert_int_equal(s2sp_stream_rejudge(&copy, sasl_only.policy, litware).reason, S2SP_REASON_POLICY_CHANGED);
	copy = by_sasl;
	assert_int_equal(s2sp_stream_rejudge(&copy, NULL, fabrikam).reason, S2SP_REASON_CONFIG_INVALID);

	/* A certificate that has been revoked meanwhile is said to be that, whether or not another method were left; a change of policy is not. */
	const struct {
		enum s2sp_certificate_verdict verdict;
		const struct s2sp_policy *policy;
		enum s2sp_reason reason;
	} revocations[] = {
		{ S2SP_CERTIFICATE_REVOKED, sasl_only.policy, S2SP_REASON_CERTIFICATE_REVOKED },
		{ S2SP_CERTIFICATE_REVOKED, any.policy, S2SP_REASON_CERTIFICATE_REVOKED },
		{ S2SP_CERTIFICATE_REVOKED, dialback_only.policy, S2SP_REASON_POLICY_CHANGED },
		{ S2SP_CERTIFICATE_REVOCATION_UNKNOWN, sasl_only.policy, S2SP_REASON_POLICY_CHANGED },
		{ S2SP_CERTIFICATE_REVOCATION_UNKNOWN, any.policy, S2SP_REASON_POLICY_CHANGED },
	};
	for (size_t i = 0; i < sizeof(revocations) / sizeof(revocations[0]); i++) {
		copy = by_sasl;
		s2sp_stream_observe(&copy, true, revocations[i].verdict);
		assert_int_equal(s2sp_stream_rejudge(&copy, revocations[i].policy, fabrikam).reason, revocations[i].reason);
		assert_int_equal(copy.stage, S2SP_STAGE_REFUSED);
	}
	copy = by_dialback;
	s2sp_stream_observe(&copy, true, S2SP_CERTIFICATE_REVOKED);
	assert_int_equal(s2sp_stream_rejudge(&copy, any.policy, fabrikam).verdict, S2SP_VERDICT_ALLOW);

	/* A stanza for another local host is judged by that host's policy. */
	assert_int_equal(s2sp_stream_stanza(&by_sasl, without.policy, fabrikam).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_stanza(&by_dialback, sasl_only.policy, fabrikam).verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(s2sp_stream_stanza(&by_sasl, sasl_only.policy, litware).reason, S2SP_REASON_UNLISTED_DOMAIN);
	assert_int_equal(s2sp_stream_stanza(&by_sasl, NULL, fabrikam).reason, S2SP_REASON_CONFIG_INVALID);
	drop(&any);
	drop(&sasl_only);
	drop(&dialback_only);
	drop(&without);
}

static void test_routes(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	const struct s2sp_partner *partner;
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_REQUIRED, false, false, NULL));
	assert_int_equal(s2sp_decide_route(fixture.policy, fabrikam, false, &partner).verdict, S2SP_VERDICT_ALLOW);
	assert_non_null(partner);
	assert_int_equal(s2sp_decide_route(fixture.policy, fabrikam, true, &partner).reason, S2SP_REASON_DIALBACK_NOT_ALLOWED);
	assert_null(partner);
	assert_int_equal(s2sp_decide_route(fixture.policy, litware, false, &partner).reason, S2SP_REASON_UNLISTED_DOMAIN);
	assert_int_equal(s2sp_decide_route(fixture.policy, S2SP_TEXT(""), false, &partner).reason, S2SP_REASON_UNLISTED_DOMAIN);
	assert_int_equal(s2sp_decide_route(NULL, fabrikam, false, &partner).reason, S2SP_REASON_CONFIG_INVALID);
	drop(&fixture);
}

static uint32_t random_state = 1;
static uint32_t pick(uint32_t limit) {
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % limit;
}

/* Whatever happens in whatever order: a stream that carries stanzas was authenticated by one of the row's methods. */
static void check_invariants(const struct s2sp_stream *stream, const struct s2sp_negotiation_row *row, bool was_refused) {
	if (was_refused)
		assert_int_equal(stream->stage, S2SP_STAGE_REFUSED);
	if (stream->stage < S2SP_STAGE_AUTHENTICATED)
		return;
	assert_non_null(stream->partner);
	assert_true((row->methods & stream->method) != 0);
	assert_true(stream->tls || stream->method == S2SP_METHOD_TCP_DIALBACK);
	assert_true(stream->method != S2SP_METHOD_TCP_DIALBACK || row->tls != S2SP_REQUIRED);
}

static void random_step(struct s2sp_stream *stream) {
	static const char *const names[] = { "fabrikam.test", "litware.test", "evil.test", "" };
	struct s2sp_offer offer;
	struct s2sp_plan plan;
	struct s2sp_peer_features features = { pick(2), pick(2), pick(2), pick(2) };
	switch (pick(13)) {
	case 0: s2sp_stream_identify(stream, s2sp_text_from(names[pick(2) ? 0 : pick(4)])); break;
	case 1: s2sp_stream_observe(stream, pick(2), (enum s2sp_certificate_verdict)pick(9)); break;
	case 2: s2sp_stream_offer(stream, &offer); break;
	case 3: s2sp_stream_starttls(stream); break;
	case 4: s2sp_stream_auth(stream); break;
	case 5: s2sp_stream_dialback(stream); break;
	case 6: s2sp_stream_verify(stream); break;
	case 7: s2sp_stream_plan(stream, pick(4) ? &features : NULL, &plan); break;
	case 8: s2sp_stream_sasl_failed(stream); break;
	case 9: s2sp_stream_dialback_answer(stream, pick(2), pick(2)); break;
	case 10: s2sp_stream_authenticated(stream, pick(2)); break;
	case 11: s2sp_stream_established(stream); break;
	case 12: s2sp_stream_certificate(stream); break;
	}
}

/* Every other step leads on, or hardly any sequence would get anywhere. */
static void likely_step(struct s2sp_stream *stream) {
	switch ((enum s2sp_stage)stream->stage) {
	case S2SP_STAGE_OPEN: s2sp_stream_identify(stream, fabrikam); break;
	case S2SP_STAGE_IDENTIFIED:
		if (!stream->tls && pick(2))
			s2sp_stream_observe(stream, true, pick(3) ? S2SP_CERTIFICATE_VALID : S2SP_CERTIFICATE_UNTRUSTED);
		else
			s2sp_stream_authenticated(stream, stream->tls && pick(2));
		break;
	case S2SP_STAGE_AUTHENTICATED:
	case S2SP_STAGE_ESTABLISHED:
	case S2SP_STAGE_REFUSED: s2sp_stream_established(stream); break;
	}
}

static void random_sequences(const struct s2sp_negotiation_row *row, struct fixture *fixture) {
	unsigned reached = 0;
	for (int sequence = 0; sequence < 20000; sequence++) {
		struct s2sp_stream stream;
		s2sp_stream_begin(&stream, pick(2) ? S2SP_INCOMING : S2SP_OUTGOING, fixture->policy);
		for (int step = 0; step < 12; step++) {
			bool was_refused = stream.stage == S2SP_STAGE_REFUSED;
			if (pick(2))
				likely_step(&stream);
			else
				random_step(&stream);
			if (stream.partner != NULL && s2sp_text_equal(stream.partner->name, fabrikam))
				check_invariants(&stream, row, was_refused);
		}
		reached += stream.stage == S2SP_STAGE_ESTABLISHED;
	}
	assert_true(reached > 0); /* or nothing was tested */
}

static void test_random_sequences(void **state) {
	(void)state;
	each_row(random_sequences);
}

static void test_record_is_small(void **state) {
	(void)state;
	assert_true(sizeof(struct s2sp_stream) <= 256);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_offers),
		cmocka_unit_test(test_authentication),
		cmocka_unit_test(test_plans),
		cmocka_unit_test(test_dialback),
		cmocka_unit_test(test_one_key_a_stream),
		cmocka_unit_test(test_verify_on_outgoing_streams),
		cmocka_unit_test(test_answers_nobody_asked_for),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_certificate),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_pins),
		cmocka_unit_test(test_rejudge),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_random_sequences),
		cmocka_unit_test(test_record_is_small),
	};
	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
