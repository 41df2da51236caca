/* The table of handshake elements, typed in a second time, and the shapes at the edge of each bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "stream_fixture.h"

#define IN S2SP_SIDE_INITIATING
#define ACC S2SP_SIDE_ACCEPTING
#define NOBODY S2SP_SIDE_NONE
#define BOTH S2SP_SIDE_BOTH

static const struct s2sp_handshake_row *find(const char *xmlns, const char *name, bool type) {
	return s2sp_handshake_find(s2sp_text_from(xmlns), s2sp_text_from(name), type);
}

static unsigned allowed(const struct s2sp_handshake_row *row, bool authenticated) {
	return (s2sp_handshake_allowed(row, IN, authenticated) ? IN : 0u) |
		   (s2sp_handshake_allowed(row, ACC, authenticated) ? ACC : 0u);
}

/* RFC 6120 4 to 6, XEP-0178, XEP-0198, XEP-0220, XEP-0288. */
static const struct {
	const char *xmlns, *name;
	bool type;
	unsigned before, after;
} expected[] = {
	{ "http://etherx.jabber.org/streams", "features", false, ACC, ACC },
	{ "urn:ietf:params:xml:ns:xmpp-tls", "starttls", false, IN, IN },
	{ "urn:ietf:params:xml:ns:xmpp-tls", "proceed", false, ACC, NOBODY },
	{ "urn:ietf:params:xml:ns:xmpp-tls", "failure", false, ACC, NOBODY },
	{ "urn:ietf:params:xml:ns:xmpp-sasl", "auth", false, IN, IN },
	{ "urn:ietf:params:xml:ns:xmpp-sasl", "success", false, ACC, NOBODY },
	{ "urn:ietf:params:xml:ns:xmpp-sasl", "failure", false, ACC, NOBODY },
	{ "jabber:server:dialback", "result", false, IN, IN },
	{ "jabber:server:dialback", "result", true, ACC, ACC },
	{ "jabber:server:dialback", "verify", false, IN, BOTH },
	{ "jabber:server:dialback", "verify", true, ACC, BOTH },
	{ "urn:xmpp:bidi", "bidi", false, IN, NOBODY },
	{ "urn:xmpp:sm:2", "enable", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:2", "enabled", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:2", "r", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:2", "a", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:2", "resume", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:2", "resumed", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:2", "failed", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "enable", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "enabled", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "r", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "a", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "resume", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "resumed", false, NOBODY, BOTH },
	{ "urn:xmpp:sm:3", "failed", false, NOBODY, BOTH },
};
#define EXPECTED (sizeof(expected) / sizeof(expected[0]))

static void test_who_may_send_what_when(void **state) {
	(void)state;
	for (size_t i = 0; i < EXPECTED; i++) {
		const struct s2sp_handshake_row *row = find(expected[i].xmlns, expected[i].name, expected[i].type);
		assert_ptr_equal(row, s2sp_handshake_row_at(i));
		assert_int_equal(allowed(row, false), expected[i].before);
		assert_int_equal(allowed(row, true), expected[i].after);
		assert_false(s2sp_handshake_allowed(row, S2SP_SIDE_NONE, false));
		assert_false(s2sp_handshake_allowed(row, S2SP_SIDE_NONE, true));
		assert_int_not_equal(row->reason, S2SP_REASON_NONE);
	}
	assert_null(s2sp_handshake_row_at(EXPECTED));
	assert_null(s2sp_handshake_row_at(SIZE_MAX));
}

/* What a bidirectional stream may bring from the other side without anything coming of it. */
static void test_idle(void **state) {
	(void)state;
	const struct s2sp_handshake_row *question = find("jabber:server:dialback", "verify", false);
	const struct s2sp_handshake_row *answer = find("jabber:server:dialback", "verify", true);
	for (size_t i = 0; i < EXPECTED; i++) {
		const struct s2sp_handshake_row *row = s2sp_handshake_row_at(i);
		assert_int_equal(s2sp_handshake_idle(row, ACC, true), row == question);
		assert_int_equal(s2sp_handshake_idle(row, IN, true), row == answer);
		assert_false(s2sp_handshake_idle(row, ACC, false));
		assert_false(s2sp_handshake_idle(row, IN, false));
	}
}

static void test_unknown(void **state) {
	(void)state;
	assert_null(find("urn:ietf:params:xml:ns:xmpp-sasl", "challenge", false));
	assert_null(find("urn:ietf:params:xml:ns:xmpp-sasl", "starttls", false));
	assert_null(find("jabber:server", "features", false));
	assert_null(find("", "", false));
	assert_null(find("urn:xmpp:bidi", "", false));
	assert_null(find("urn:xmpp:bidi", "bid", false));
	assert_null(s2sp_handshake_find(S2SP_TEXT("urn:xmpp:bidi"), S2SP_TEXT("bidi\0"), false));
	assert_non_null(find("urn:xmpp:bidi", "bidi", true)); /* an attribute more */
}

static const struct s2sp_handshake_shape good = {
	.from = { "fabrikam.test", 13 },
	.to = { "contoso.test", 12 },
	.id = { "1", 1 },
	.attributes = 60,
	.text = 64,
};

static enum s2sp_handshake_fault check(const struct s2sp_handshake_row *row, struct s2sp_handshake_shape shape) {
	return s2sp_handshake_check(row, &shape);
}

static struct s2sp_handshake_shape with(void (*change)(struct s2sp_handshake_shape *)) {
	struct s2sp_handshake_shape shape = good;
	change(&shape);
	return shape;
}

static void no_from(struct s2sp_handshake_shape *shape) {
	shape->from = (struct s2sp_text){ NULL, 0 };
}
static void no_to(struct s2sp_handshake_shape *shape) {
	shape->to = (struct s2sp_text){ NULL, 0 };
}
static void no_id(struct s2sp_handshake_shape *shape) {
	shape->id = (struct s2sp_text){ NULL, 0 };
}
static void no_text(struct s2sp_handshake_shape *shape) {
	shape->text = 0;
}
static void longest_key(struct s2sp_handshake_shape *shape) {
	shape->text = S2SP_HANDSHAKE_KEY_MAX;
}
static void long_key(struct s2sp_handshake_shape *shape) {
	shape->text = S2SP_HANDSHAKE_KEY_MAX + 1;
}
static void child(struct s2sp_handshake_shape *shape) {
	shape->children = shape->elements = 1;
}
static void long_from(struct s2sp_handshake_shape *shape) {
	shape->from.length = S2SP_HANDSHAKE_DOMAIN_MAX + 1;
}
static void long_to(struct s2sp_handshake_shape *shape) {
	shape->to.length = S2SP_HANDSHAKE_DOMAIN_MAX + 1;
}
static void long_id(struct s2sp_handshake_shape *shape) {
	shape->id.length = S2SP_HANDSHAKE_ID_MAX + 1;
}
static void long_attributes(struct s2sp_handshake_shape *shape) {
	shape->attributes = S2SP_HANDSHAKE_ATTRIBUTES_MAX + 1;
}
static void hundred(struct s2sp_handshake_shape *shape) {
	shape->children = shape->elements = 100;
}
static void hundred_and_one(struct s2sp_handshake_shape *shape) {
	shape->children = shape->elements = 101;
}
static void deep(struct s2sp_handshake_shape *shape) {
	shape->children = 1;
	shape->elements = SIZE_MAX;
}
static void much_text(struct s2sp_handshake_shape *shape) {
	shape->text = 400000;
}

static void test_a_key_is_one_short_text(void **state) {
	(void)state;
	static const char *const names[] = { "result", "verify" };
	for (size_t i = 0; i < 2; i++) {
		const struct s2sp_handshake_row *row = find("jabber:server:dialback", names[i], false);
		assert_int_equal(check(row, good), S2SP_HANDSHAKE_FITS);
		assert_int_equal(check(row, with(longest_key)), S2SP_HANDSHAKE_FITS);
		assert_int_equal(check(row, with(long_key)), S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(check(row, with(no_text)), S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(check(row, with(child)), S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(check(row, with(deep)), S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(check(row, with(long_id)), S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(check(row, with(no_id)), i == 0 ? S2SP_HANDSHAKE_FITS : S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(check(row, with(no_from)), S2SP_HANDSHAKE_FAULT_ADDRESS);
		assert_int_equal(check(row, with(no_to)), S2SP_HANDSHAKE_FAULT_ADDRESS);
		assert_int_equal(check(row, with(long_from)), S2SP_HANDSHAKE_FAULT_ADDRESS);
		assert_int_equal(check(row, with(long_to)), S2SP_HANDSHAKE_FAULT_ADDRESS);
		assert_int_equal(check(row, with(long_attributes)), S2SP_HANDSHAKE_FAULT_ADDRESS);
	}
}

static void test_features(void **state) {
	(void)state;
	const struct s2sp_handshake_row *row = find("http://etherx.jabber.org/streams", "features", false);
	assert_int_equal(check(row, with(no_from)), S2SP_HANDSHAKE_FITS);
	assert_int_equal(check(row, with(hundred)), S2SP_HANDSHAKE_FITS);
	assert_int_equal(check(row, with(hundred_and_one)), S2SP_HANDSHAKE_FAULT_CONTENT);
	assert_int_equal(check(row, with(deep)), S2SP_HANDSHAKE_FAULT_CONTENT);
	assert_int_equal(check(row, with(much_text)), S2SP_HANDSHAKE_FAULT_CONTENT);
}

/* Nothing of a size to fill a log with, whatever it is. */
static void test_every_row_has_bounds(void **state) {
	(void)state;
	for (size_t i = 0; s2sp_handshake_row_at(i) != NULL; i++) {
		const struct s2sp_handshake_row *row = s2sp_handshake_row_at(i);
		assert_int_not_equal(check(row, with(much_text)), S2SP_HANDSHAKE_FITS);
		assert_int_not_equal(check(row, with(deep)), S2SP_HANDSHAKE_FITS);
		assert_int_not_equal(check(row, with(hundred_and_one)), S2SP_HANDSHAKE_FITS);
		assert_int_not_equal(check(row, with(long_attributes)), S2SP_HANDSHAKE_FITS);
		assert_int_not_equal(check(row, with(long_from)), S2SP_HANDSHAKE_FITS);
		assert_int_not_equal(check(row, with(long_id)), S2SP_HANDSHAKE_FITS);
		assert_int_equal(row->idle & ~row->after, 0);
		assert_true(row->children_max <= row->elements_max);
	}
}

/* --- what a stream makes of it --- */

static struct s2sp_stream stream_of(const struct fixture *fixture, enum s2sp_direction direction, bool tls) {
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, direction, fixture->policy);
	s2sp_stream_observe(&stream, tls, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_identify(&stream, fabrikam).verdict, S2SP_VERDICT_ALLOW);
	return stream;
}

static void test_misplaced(void **state) {
	(void)state;
	struct fixture fixture;
	const struct s2sp_handshake_row *success = find("urn:ietf:params:xml:ns:xmpp-sasl", "success", false);
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = stream_of(&fixture, S2SP_INCOMING, true);
	struct s2sp_decision decision = s2sp_stream_misplaced(&stream, success);
	assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(decision.reason, S2SP_REASON_SASL_NOT_SUPPORTED);
	assert_int_equal(stream.stage, S2SP_STAGE_REFUSED);
	stream = stream_of(&fixture, S2SP_INCOMING, false);
	assert_int_equal(s2sp_stream_misplaced(&stream, NULL).reason, S2SP_REASON_TLS_REQUIRED);
	stream = stream_of(&fixture, S2SP_INCOMING, true);
	assert_int_equal(s2sp_stream_authenticated(&stream, true).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_misplaced(&stream, NULL).verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(stream.reason, S2SP_REASON_NO_METHOD_LEFT);
	s2sp_stream_begin(&stream, S2SP_INCOMING, NULL);
	assert_int_equal(s2sp_stream_misplaced(&stream, success).reason, S2SP_REASON_CONFIG_INVALID);
	drop(&fixture);
}

static void test_misshapen(void **state) {
	(void)state;
	struct fixture fixture;
	const struct s2sp_handshake_row *key = find("jabber:server:dialback", "result", false);
	const struct s2sp_handshake_row *answer = find("jabber:server:dialback", "verify", true);
	const struct s2sp_handshake_row *auth = find("urn:ietf:params:xml:ns:xmpp-sasl", "auth", false);
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = stream_of(&fixture, S2SP_INCOMING, true);
	for (int i = 1; i < S2SP_STREAM_FAULTS_MAX; i++) {
		struct s2sp_decision decision = s2sp_stream_misshapen(&stream, key, S2SP_HANDSHAKE_FAULT_CONTENT);
		assert_int_equal(decision.verdict, S2SP_VERDICT_WAIT);
		assert_int_equal(decision.reason, S2SP_REASON_DIALBACK_NOT_ALLOWED);
	}
	assert_int_equal(s2sp_stream_misshapen(&stream, key, S2SP_HANDSHAKE_FAULT_CONTENT).verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(stream.stage, S2SP_STAGE_REFUSED);

	/* No address, no answer; nothing but a question is answered; in clear nothing is before TLS. */
	stream = stream_of(&fixture, S2SP_INCOMING, true);
	assert_int_equal(s2sp_stream_misshapen(&stream, key, S2SP_HANDSHAKE_FAULT_ADDRESS).verdict, S2SP_VERDICT_REFUSE);
	stream = stream_of(&fixture, S2SP_INCOMING, true);
	assert_int_equal(s2sp_stream_misshapen(&stream, auth, S2SP_HANDSHAKE_FAULT_CONTENT).reason, S2SP_REASON_SASL_NOT_SUPPORTED);
	stream = stream_of(&fixture, S2SP_OUTGOING, true);
	assert_int_equal(s2sp_stream_misshapen(&stream, answer, S2SP_HANDSHAKE_FAULT_CONTENT).verdict, S2SP_VERDICT_REFUSE);
	stream = stream_of(&fixture, S2SP_INCOMING, false);
	assert_int_equal(s2sp_stream_misshapen(&stream, key, S2SP_HANDSHAKE_FAULT_CONTENT).reason, S2SP_REASON_TLS_REQUIRED);

	/* A stranger whom the partner passes on cannot close the partner's stream. */
	stream = stream_of(&fixture, S2SP_INCOMING, true);
	assert_int_equal(s2sp_stream_authenticated(&stream, true).verdict, S2SP_VERDICT_ALLOW);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(s2sp_stream_misshapen(&stream, key, S2SP_HANDSHAKE_FAULT_CONTENT).verdict, S2SP_VERDICT_WAIT);
	drop(&fixture);
}

static void test_wrong_keys(void **state) {
	(void)state;
	struct fixture fixture;
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = stream_of(&fixture, S2SP_INCOMING, true);
	for (int i = 1; i <= S2SP_STREAM_FAULTS_MAX; i++) {
		enum s2sp_verdict verdict = i <= S2SP_STREAM_WRONG_KEYS_TOLD ? S2SP_VERDICT_ALLOW
									: i < S2SP_STREAM_FAULTS_MAX     ? S2SP_VERDICT_WAIT
																	 : S2SP_VERDICT_REFUSE;
		assert_int_equal(s2sp_stream_wrong_key(&stream).verdict, verdict);
	}
	stream = stream_of(&fixture, S2SP_INCOMING, true);
	assert_int_equal(s2sp_stream_authenticated(&stream, true).verdict, S2SP_VERDICT_ALLOW);
	for (int i = 1; i < 1000; i++)
		assert_int_equal(s2sp_stream_wrong_key(&stream).verdict,
						 i <= S2SP_STREAM_WRONG_KEYS_TOLD ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_WAIT);
	drop(&fixture);
}

/* Core by itself: without a policy nothing passes, also where the stream has none either. */
static void test_no_policy_on_either_side(void **state) {
	(void)state;
	struct fixture fixture;
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_OPTIONAL, true, false, NULL));
	struct s2sp_stream stream = stream_of(&fixture, S2SP_INCOMING, true);
	assert_int_equal(s2sp_stream_authenticated(&stream, true).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_established(&stream).verdict, S2SP_VERDICT_ALLOW);
	stream.policy = NULL;
	struct s2sp_decision decision = s2sp_stream_stanza(&stream, NULL, fabrikam);
	assert_int_equal(decision.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(decision.reason, S2SP_REASON_CONFIG_INVALID);
	drop(&fixture);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_may_send_what_when),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_a_key_is_one_short_text),
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_every_row_has_bounds),
		cmocka_unit_test(test_misplaced),
		cmocka_unit_test(test_misshapen),
		cmocka_unit_test(test_wrong_keys),
		cmocka_unit_test(test_no_policy_on_either_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
