/* Streams that were refused while nothing was enforced, and let through: who may return, and to what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "stream_fixture.h"

static const struct s2sp_text stranger = S2SP_TEXT("stranger.test");

/* A stream that a policy without its domain has refused, and the host has authenticated. */
static struct s2sp_stream let_through(const struct s2sp_policy *policy, enum s2sp_direction direction, bool tls, bool by_sasl) {
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, direction, policy);
	s2sp_stream_observe(&stream, false, S2SP_CERTIFICATE_UNKNOWN);
	assert_int_equal(s2sp_stream_identify(&stream, stranger).reason, S2SP_REASON_UNLISTED_DOMAIN);
	s2sp_stream_observe(&stream, tls, S2SP_CERTIFICATE_UNKNOWN);
	s2sp_stream_let_through(&stream, by_sasl);
	return stream;
}

/* What becomes of it under a list that has the domain is what becomes of one whose handshake is now. */
static void test_returns_as_it_would_have_begun(void **state) {
	(void)state;
	size_t established = 0, refused = 0;
	for (size_t i = 0; i < S2SP_NEGOTIATION_ROWS; i++) {
		const struct s2sp_negotiation_row *row = s2sp_negotiation_row_at(i);
		struct fixture fixture = { 0 };
		if (!build(&fixture, row->tls, row->sasl, row->dialback, true, NULL))
			continue;
		for (int facts = 0; facts < 16; facts++) {
			bool tls = facts & 1, by_sasl = facts & 2;
			enum s2sp_direction direction = facts & 4 ? S2SP_OUTGOING : S2SP_INCOMING;
			enum s2sp_certificate_verdict verdict = !tls        ? S2SP_CERTIFICATE_UNKNOWN
													: facts & 8 ? S2SP_CERTIFICATE_VALID
																: S2SP_CERTIFICATE_UNTRUSTED;
			struct s2sp_stream stream = let_through(fixture.policy, direction, tls, by_sasl);
			assert_int_equal(s2sp_stream_may_return(&stream), tls || !by_sasl);
			if (!s2sp_stream_may_return(&stream))
				continue;
			struct s2sp_stream fresh;
			s2sp_stream_begin(&fresh, direction, fixture.policy);
			s2sp_stream_observe(&fresh, tls, verdict);
			struct s2sp_decision expected = s2sp_stream_identify(&fresh, fabrikam);
			if (expected.verdict == S2SP_VERDICT_ALLOW)
				expected = s2sp_stream_authenticated(&fresh, by_sasl);
			if (expected.verdict == S2SP_VERDICT_ALLOW)
				expected = s2sp_stream_established(&fresh);
			s2sp_stream_observe(&stream, tls, verdict);
			struct s2sp_decision found = s2sp_stream_replay(&stream, fixture.policy, fabrikam);
			assert_int_equal(found.verdict, expected.verdict);
			assert_int_equal(found.reason, expected.reason);
			assert_int_equal(stream.stage, fresh.stage);
			assert_int_equal(stream.method, fresh.method);
			assert_ptr_equal(stream.partner, fresh.partner);
			established += stream.stage == S2SP_STAGE_ESTABLISHED;
			refused += stream.stage == S2SP_STAGE_REFUSED;
			/* Still of no list: the reason stays what it was, and it may return another time. */
			struct s2sp_stream again = let_through(fixture.policy, direction, tls, by_sasl);
			assert_int_equal(s2sp_stream_replay(&again, fixture.policy, stranger).reason, S2SP_REASON_UNLISTED_DOMAIN);
			assert_true(s2sp_stream_may_return(&again));
			/* Without a policy at all. */
			assert_int_equal(s2sp_stream_replay(&again, NULL, fabrikam).reason, S2SP_REASON_CONFIG_INVALID);
			assert_int_equal(again.stage, S2SP_STAGE_REFUSED);
		}
		drop(&fixture);
	}
	assert_true(established > 10 && refused > 10);
}

static void test_who_does_not_return(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(build(&fixture, S2SP_OPTIONAL, S2SP_OPTIONAL, true, true, NULL));
	/* Nobody has let it through: REFUSED is final. */
	struct s2sp_stream stream = let_through(fixture.policy, S2SP_INCOMING, true, false);
	s2sp_stream_keep_method(&stream, false);
	assert_false(s2sp_stream_may_return(&stream));
	assert_int_equal(s2sp_stream_replay(&stream, fixture.policy, fabrikam).verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(stream.stage, S2SP_STAGE_REFUSED);
	/* What the peer itself has done is no matter of a list. */
	static const enum s2sp_reason final[] = { S2SP_REASON_WRONG_DOMAIN, S2SP_REASON_INTERNAL_ERROR, S2SP_REASON_NO_METHOD_LEFT };
	for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++) {
		stream = let_through(fixture.policy, S2SP_INCOMING, true, false);
		s2sp_stream_refuse(&stream, final[i], "of the peer's own making");
		assert_false(s2sp_stream_may_return(&stream));
		assert_int_equal(s2sp_stream_replay(&stream, fixture.policy, fabrikam).reason, final[i]);
	}
	/* TLS that came after the dialback proves nothing about it. */
	stream = let_through(fixture.policy, S2SP_INCOMING, false, false);
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_replay(&stream, fixture.policy, fabrikam).reason, S2SP_REASON_NO_METHOD_LEFT);
	assert_false(s2sp_stream_may_return(&stream));
	/* A stream that stands is not touched, and SASL without TLS is no method. */
	stream = start(&fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	s2sp_stream_let_through(&stream, true);
	assert_int_equal(stream.observed, S2SP_METHOD_NONE);
	stream = let_through(fixture.policy, S2SP_INCOMING, false, true);
	assert_int_equal(stream.observed, S2SP_METHOD_NONE);
	/* The first authentication counts. */
	stream = let_through(fixture.policy, S2SP_INCOMING, true, false);
	s2sp_stream_let_through(&stream, true);
	assert_int_equal(stream.observed, S2SP_METHOD_TLS_DIALBACK);
	drop(&fixture);
}

/* A partner that is taken out of the list and put back, while nothing is enforced. */
static void test_established_and_refused_later(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_REQUIRED, false, true, NULL));
	struct s2sp_stream stream = start(&fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_authenticated(&stream, true).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_established(&stream).verdict, S2SP_VERDICT_ALLOW);
	struct s2sp_stream enforced = stream;
	s2sp_stream_keep_method(&stream, true);
	s2sp_stream_keep_method(&enforced, false);
	assert_int_equal(s2sp_stream_rejudge(&stream, fixture.policy, stranger).reason, S2SP_REASON_POLICY_CHANGED);
	assert_int_equal(s2sp_stream_rejudge(&enforced, fixture.policy, stranger).reason, S2SP_REASON_POLICY_CHANGED);
	assert_int_equal(s2sp_stream_replay(&stream, fixture.policy, fabrikam).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(stream.stage, S2SP_STAGE_ESTABLISHED);
	assert_int_equal(s2sp_stream_replay(&enforced, fixture.policy, fabrikam).verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(enforced.stage, S2SP_STAGE_REFUSED);
	drop(&fixture);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_returns_as_it_would_have_begun),
		cmocka_unit_test(test_who_does_not_return),
		cmocka_unit_test(test_established_and_refused_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
