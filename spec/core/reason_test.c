#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "reason.h"

/* Typed in a second time: the spelling is a promise to logs, metrics and scripts. */
static const struct {
	enum s2sp_reason reason;
	const char *token, *stream, *type, *stanza;
} expected[] = {
	{ S2SP_REASON_CONFIG_INVALID, "config-invalid", "policy-violation", "wait", "internal-server-error" },
	{ S2SP_REASON_INTERNAL_ERROR, "internal-error", "policy-violation", "wait", "internal-server-error" },
	{ S2SP_REASON_UNLISTED_DOMAIN, "unlisted-domain", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_WRONG_DOMAIN, "wrong-domain", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_POLICY_CHANGED, "policy-changed", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_CONNECTION_LIMIT, "connection-limit", "resource-constraint", "cancel", "not-allowed" },
	{ S2SP_REASON_ESTABLISHMENT_TIMEOUT, "establishment-timeout", "connection-timeout", "wait", "remote-server-timeout" },
	{ S2SP_REASON_INACTIVITY_TIMEOUT, "inactivity-timeout", "connection-timeout", "wait", "remote-server-timeout" },
	{ S2SP_REASON_TLS_REQUIRED, "tls-required", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_TLS_NOT_SUPPORTED, "tls-not-supported", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_NO_CERTIFICATE, "certificate-no-certificate", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_UNTRUSTED, "certificate-untrusted", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_EXPIRED, "certificate-expired", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_NOT_YET_VALID, "certificate-not-yet-valid", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_REVOKED, "certificate-revoked", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_REVOCATION_UNKNOWN, "certificate-revocation-unknown", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_IDENTITY_MISMATCH, "certificate-identity-mismatch", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_PIN_MISMATCH, "certificate-pin-mismatch", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_CERTIFICATE_MALFORMED, "certificate-malformed", "not-authorized", "cancel", "not-allowed" },
	{ S2SP_REASON_SASL_REQUIRED, "sasl-required", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_SASL_NOT_SUPPORTED, "sasl-not-supported", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_DIALBACK_NOT_ALLOWED, "dialback-not-allowed", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_NO_METHOD_LEFT, "no-method-left", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_EXTERNAL_ACCESS_DENIED, "external-access-denied", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_NO_SUCH_USER, "no-such-user", "policy-violation", "cancel", "service-unavailable" },
	{ S2SP_REASON_BLOCKED_BY_USER, "blocked-by-user", "policy-violation", "cancel", "not-acceptable" },
	{ S2SP_REASON_CANCELLED_BY_USER, "cancelled-by-user", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_ROSTER_UNAVAILABLE, "roster-unavailable", "policy-violation", "wait", "internal-server-error" },
	{ S2SP_REASON_NOT_LISTED, "not-listed", "policy-violation", "auth", "subscription-required" },
	{ S2SP_REASON_GROUP_CHAT_REFUSED, "group-chat-refused", "policy-violation", "cancel", "not-allowed" },
	{ S2SP_REASON_INSIDE_UNREACHABLE, "inside-unreachable", "connection-timeout", "wait", "remote-server-timeout" },
	{ S2SP_REASON_STATUS_NOTE_REMOVED, "status-note-removed", NULL, NULL, NULL },
	{ S2SP_REASON_SUBSCRIPTION_AUTHORISED, "subscription-authorised", NULL, NULL, NULL },
};

static void test_rows(void **state) {
	(void)state;
	assert_int_equal(sizeof(expected) / sizeof(expected[0]), S2SP_REASON_COUNT - 1);
	for (unsigned i = 0; i < S2SP_REASON_COUNT - 1; i++) {
		const struct s2sp_reason_row *row = s2sp_reason_row(expected[i].reason);
		assert_int_equal(expected[i].reason, i + 1); /* the enum's order is the precedence */
		assert_string_equal(row->token, expected[i].token);
		if (expected[i].stream == NULL) {
			assert_int_equal(row->grade, S2SP_REASON_GRADE_CHANGE);
			continue;
		}
		assert_int_equal(row->grade, S2SP_REASON_GRADE_REFUSAL);
		assert_string_equal(row->stream_condition, expected[i].stream);
		assert_string_equal(row->stanza_type, expected[i].type);
		assert_string_equal(row->stanza_condition, expected[i].stanza);
	}
}

static void test_none(void **state) {
	(void)state;
	const struct s2sp_reason_row *row = s2sp_reason_row(S2SP_REASON_NONE);
	assert_string_equal(row->token, "none"); /* the metrics' label of an allow */
	assert_int_equal(row->grade, S2SP_REASON_GRADE_NONE);
	assert_int_equal(S2SP_REASON_NONE, 0);
}

static void test_out_of_range(void **state) {
	(void)state;
	const struct s2sp_reason_row *row = s2sp_reason_row(S2SP_REASON_INTERNAL_ERROR);
	assert_ptr_equal(s2sp_reason_row(S2SP_REASON_COUNT), row);
	assert_ptr_equal(s2sp_reason_row((enum s2sp_reason)255), row);
	assert_ptr_equal(s2sp_reason_row((enum s2sp_reason) - 1), row);
}

static void test_tokens_round_trip(void **state) {
	(void)state;
	for (unsigned i = 0; i < S2SP_REASON_COUNT; i++) {
		const char *token = s2sp_reason_row((enum s2sp_reason)i)->token;
		assert_int_equal(s2sp_reason_from_token(s2sp_text_from(token)), i); /* so no two are alike */
		for (const char *c = token; *c != '\0'; c++)
			assert_true(islower((unsigned char)*c) || *c == '-');
	}
}

static void test_unknown_tokens(void **state) {
	(void)state;
	assert_int_equal(s2sp_reason_from_token(S2SP_TEXT("")), S2SP_REASON_COUNT);
	assert_int_equal(s2sp_reason_from_token(s2sp_text_from(NULL)), S2SP_REASON_COUNT);
	assert_int_equal(s2sp_reason_from_token(S2SP_TEXT("not-liste")), S2SP_REASON_COUNT);
	assert_int_equal(s2sp_reason_from_token(S2SP_TEXT("not-listed ")), S2SP_REASON_COUNT);
	assert_int_equal(s2sp_reason_from_token(S2SP_TEXT("not-listed\0")), S2SP_REASON_COUNT);
	assert_int_equal(s2sp_reason_from_token(S2SP_TEXT("Not-Listed")), S2SP_REASON_COUNT);
	/* The length counts, not a terminator. */
	assert_int_equal(s2sp_reason_from_token((struct s2sp_text){ "not-listed-at-all", 10 }), S2SP_REASON_NOT_LISTED);
}

static bool is_one_of(const char *word, const char *const *list) {
	for (; *list != NULL; list++) {
		if (strcmp(word, *list) == 0)
			return true;
	}
	return false;
}

static void test_conditions_are_defined_ones(void **state) {
	(void)state;
	static const char *const stream[] = { "not-authorized", "resource-constraint", "connection-timeout", "policy-violation",
										  NULL };
	static const char *const type[] = { "cancel", "auth", "wait", NULL };
	/* RFC 6120 8.3.3 */
	static const char *const stanza[] = { "not-allowed",
										  "internal-server-error",
										  "remote-server-timeout",
										  "subscription-required",
										  "service-unavailable",
										  "not-acceptable",
										  NULL };
	for (unsigned i = 0; i < S2SP_REASON_COUNT; i++) {
		const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)i);
		assert_true(is_one_of(row->stream_condition, stream));
		assert_true(is_one_of(row->stanza_type, type));
		assert_true(is_one_of(row->stanza_condition, stanza));
	}
}

static void test_texts(void **state) {
	(void)state;
	for (unsigned i = 1; i < S2SP_REASON_COUNT; i++) {
		const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)i);
		size_t length = strlen(row->operator_text);
		assert_true(length > 60); /* says the remedy, not only the name */
		assert_int_equal(row->operator_text[length - 1], '.');
		assert_non_null(row->peer_text);
		assert_non_null(row->user_text);
		assert_int_equal(row->grade == S2SP_REASON_GRADE_CHANGE, row->peer_text[0] == '\0');
		assert_int_equal(row->grade == S2SP_REASON_GRADE_CHANGE, row->user_text[0] == '\0');
		assert_true(strlen(row->peer_text) < 80);
		assert_true(strlen(row->user_text) < 100);
		/* Neither stranger nor user is told a setting's name. */
		assert_null(strchr(row->peer_text, '_'));
		assert_null(strchr(row->user_text, '_'));
		assert_null(strstr(row->peer_text, "user"));
		assert_null(strstr(row->peer_text, "partner"));
	}
}

/* A remote sender must not be able to tell these apart. */
static void test_stanza_refusals_look_alike_to_the_peer(void **state) {
	(void)state;
	const char *text = s2sp_reason_row(S2SP_REASON_NO_SUCH_USER)->peer_text;
	for (unsigned i = S2SP_REASON_EXTERNAL_ACCESS_DENIED; i <= S2SP_REASON_GROUP_CHAT_REFUSED; i++)
		assert_string_equal(s2sp_reason_row((enum s2sp_reason)i)->peer_text, text);
}

static void test_certificate_verdict_is_in_the_stream_error(void **state) {
	(void)state;
	for (unsigned i = S2SP_REASON_CERTIFICATE_NO_CERTIFICATE; i <= S2SP_REASON_CERTIFICATE_MALFORMED; i++) {
		const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)i);
		assert_non_null(strstr(row->peer_text, row->token + strlen("certificate-")));
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_out_of_range),
		cmocka_unit_test(test_tokens_round_trip),
		cmocka_unit_test(test_unknown_tokens),
		cmocka_unit_test(test_conditions_are_defined_ones),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_stanza_refusals_look_alike_to_the_peer),
		cmocka_unit_test(test_certificate_verdict_is_in_the_stream_error),
	};
	return cmocka_run_group_tests_name("reason", tests, NULL, NULL);
}
