/* What senders of refused stanzas hear, typed in a second time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "refusal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 6120 8.3.1: no error for an error or a result; RFC 6121 8.1: nor for presence that nobody waits for. */
static const enum s2sp_stanza_kind answered_in[] = {
	S2SP_STANZA_MESSAGE, S2SP_STANZA_GROUPCHAT, S2SP_STANZA_IQ_GET, S2SP_STANZA_IQ_SET, S2SP_STANZA_SERVICE,
};

static bool is_among(enum s2sp_stanza_kind kind, const enum s2sp_stanza_kind *kinds, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (kinds[i] == kind)
			return true;
	}
	return false;
}

static void test_strangers_hear_errors_for_requests_only(void **state) {
	(void)state;
	for (int kind = 0; kind < S2SP_STANZA_COUNT; kind++)
		assert_int_equal(s2sp_reply_to(S2SP_INCOMING, (enum s2sp_stanza_kind)kind),
						 is_among((enum s2sp_stanza_kind)kind, answered_in, COUNT(answered_in)) ? S2SP_REPLY_ERROR
																								: S2SP_REPLY_NONE);
}

static void test_local_senders_hear_of_what_they_wait_for(void **state) {
	(void)state;
	for (int i = 0; i < S2SP_STANZA_COUNT; i++) {
		enum s2sp_stanza_kind kind = (enum s2sp_stanza_kind)i;
		enum s2sp_reply expected = S2SP_REPLY_NONE;
		if (is_among(kind, answered_in, COUNT(answered_in)) || kind == S2SP_STANZA_SUBSCRIBE || kind == S2SP_STANZA_JOIN)
			expected = S2SP_REPLY_ERROR;
		else if (kind == S2SP_STANZA_PRESENCE)
			expected = S2SP_REPLY_ERROR_IF_DIRECTED;
		assert_int_equal(s2sp_reply_to(S2SP_OUTGOING, kind), expected);
	}
}

static void test_nothing_is_said_out_of_range(void **state) {
	(void)state;
	assert_int_equal(s2sp_reply_to(S2SP_OUTGOING, S2SP_STANZA_COUNT), S2SP_REPLY_NONE);
	assert_int_equal(s2sp_reply_to((enum s2sp_direction)2, S2SP_STANZA_MESSAGE), S2SP_REPLY_NONE);
}

static enum s2sp_reply malformed(const char *name, const char *type, bool has_id) {
	return s2sp_reply_to_malformed(s2sp_text_from(name), s2sp_text_from(type), has_id);
}

static void test_malformed(void **state) {
	(void)state;
	assert_int_equal(malformed("iq", "get", true), S2SP_REPLY_ERROR);
	assert_int_equal(malformed("iq", "nonsense", true), S2SP_REPLY_ERROR);
	assert_int_equal(malformed("iq", NULL, true), S2SP_REPLY_ERROR);
	assert_int_equal(malformed("iq", "get", false), S2SP_REPLY_NONE);
	assert_int_equal(malformed("iq", "result", true), S2SP_REPLY_NONE);
	assert_int_equal(malformed("iq", "error", true), S2SP_REPLY_NONE);
	assert_int_equal(malformed("presence", "nonsense", true), S2SP_REPLY_NONE);
	assert_int_equal(malformed("message", "get", true), S2SP_REPLY_NONE);
}

/* --- what goes out --- */

static bool is_lasting(enum s2sp_reason reason) {
	return reason == S2SP_REASON_UNLISTED_DOMAIN || reason == S2SP_REASON_NOT_LISTED ||
		   reason == S2SP_REASON_ROSTER_UNAVAILABLE || reason == S2SP_REASON_EXTERNAL_ACCESS_DENIED;
}

/* Over every kind, reason and pair of facts: what is asked for, and what comes of it. */
static void test_every_route(void **state) {
	(void)state;
	int forgotten = 0;
	for (int kind = 0; kind < S2SP_STANZA_COUNT; kind++) {
		for (int reason = 0; reason < S2SP_REASON_COUNT; reason++) {
			bool available = kind == S2SP_STANZA_PRESENCE || kind == S2SP_STANZA_JOIN;
			bool may_forget = available && is_lasting((enum s2sp_reason)reason);
			struct s2sp_refused_stanza stanza = { .kind = (enum s2sp_stanza_kind)kind, .reason = (enum s2sp_reason)reason };
			struct s2sp_refused_route route = s2sp_refused_route(&stanza);
			bool asks = kind == S2SP_STANZA_PRESENCE || may_forget;
			assert_int_equal(route.need, asks ? S2SP_REFUSED_NEED_NOTED : S2SP_REFUSED_NEED_NOTHING);
			if (!asks) {
				assert_int_equal(route.reply, s2sp_reply_to(S2SP_OUTGOING, stanza.kind));
				assert_false(route.forget);
				continue;
			}
			stanza.noted = S2SP_FACT_NO;
			route = s2sp_refused_route(&stanza);
			assert_int_equal(route.need, S2SP_REFUSED_NEED_NOTHING);
			assert_int_equal(route.reply, kind == S2SP_STANZA_JOIN ? S2SP_REPLY_ERROR : S2SP_REPLY_NONE);
			assert_false(route.forget);
			stanza.noted = S2SP_FACT_YES;
			route = s2sp_refused_route(&stanza);
			assert_int_equal(route.need, may_forget ? S2SP_REFUSED_NEED_PASSED : S2SP_REFUSED_NEED_NOTHING);
			for (int passed = S2SP_FACT_NO; passed <= S2SP_FACT_YES; passed++) {
				stanza.passed = (enum s2sp_answered)passed;
				route = s2sp_refused_route(&stanza);
				assert_int_equal(route.need, S2SP_REFUSED_NEED_NOTHING);
				assert_int_equal(route.reply, S2SP_REPLY_ERROR);
				assert_int_equal(route.forget, may_forget && passed == S2SP_FACT_NO);
				forgotten += route.forget;
			}
		}
	}
	assert_int_equal(forgotten, 2 * 4);
}

static void test_dialback_errors(void **state) {
	(void)state;
	for (int reason = 0; reason < S2SP_REASON_COUNT; reason++) {
		struct s2sp_stanza_error error = s2sp_dialback_error((enum s2sp_reason)reason);
		bool full = reason == S2SP_REASON_CONNECTION_LIMIT;
		assert_string_equal(error.type, full ? "wait" : "cancel");
		assert_string_equal(error.condition, full ? "resource-constraint" : "not-acceptable");
	}
}

static void test_own_way(void **state) {
	(void)state;
	for (unsigned bits = 0; bits < 16; bits++) {
		struct s2sp_own_addresses own = { bits & 1, bits & 2, bits & 4, bits & 8 };
		struct s2sp_decision decision = s2sp_decide_own_way(own);
		bool goes = own.known && own.from_ours && !own.to_ours && !own.same;
		assert_int_equal(decision.verdict, goes ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, goes ? S2SP_REASON_NONE : S2SP_REASON_WRONG_DOMAIN);
		assert_non_null(decision.rule);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strangers_hear_errors_for_requests_only),
		cmocka_unit_test(test_local_senders_hear_of_what_they_wait_for),
		cmocka_unit_test(test_nothing_is_said_out_of_range),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_every_route),
		cmocka_unit_test(test_dialback_errors),
		cmocka_unit_test(test_own_way),
	};
	return cmocka_run_group_tests_name("refusal", tests, NULL, NULL);
}
