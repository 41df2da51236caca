#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "negotiation.h"

#define SASL S2SP_METHOD_SASL
#define TLS S2SP_METHOD_TLS_DIALBACK
#define TCP S2SP_METHOD_TCP_DIALBACK

static void test_zero_is_strictest(void **state) {
	(void)state;
	assert_int_equal(S2SP_REQUIRED, 0);
	assert_int_equal(S2SP_METHOD_NONE, 0);
	assert_int_equal(S2SP_ROW_ERROR, 0);
}

/* Typed in a second time, from what the rows mean (docs/negotiation.md#the-18-combinations), not copied from the table. */
static void test_the_18_rows(void **state) {
	(void)state;
	static const char fallback[] = "SASL needs TLS; with TLS optional a stream without TLS falls back to dialback";
	static const char will_fail[] = "SASL needs TLS; streams without TLS will fail";
	static const char no_tls[] = "SASL requires TLS";
	static const char nothing[] = "SASL or dialback must be enabled";
	static const struct s2sp_negotiation_row expected[] = {
		{ S2SP_REQUIRED, S2SP_REQUIRED, true, SASL, S2SP_ROW_WARNING,
		  "dialback will not operate when TLS and SASL are both required" },
		{ S2SP_REQUIRED, S2SP_REQUIRED, false, SASL, S2SP_ROW_OK, "" },
		{ S2SP_OPTIONAL, S2SP_REQUIRED, true, SASL | TLS | TCP, S2SP_ROW_WARNING, fallback },
		{ S2SP_OPTIONAL, S2SP_REQUIRED, false, SASL, S2SP_ROW_WARNING, will_fail },
		{ S2SP_NOT_SUPPORTED, S2SP_REQUIRED, true, 0, S2SP_ROW_ERROR, no_tls },
		{ S2SP_NOT_SUPPORTED, S2SP_REQUIRED, false, 0, S2SP_ROW_ERROR, no_tls },
		{ S2SP_REQUIRED, S2SP_OPTIONAL, true, SASL | TLS, S2SP_ROW_OK, "" },
		{ S2SP_REQUIRED, S2SP_OPTIONAL, false, SASL, S2SP_ROW_OK, "" },
		{ S2SP_OPTIONAL, S2SP_OPTIONAL, true, SASL | TLS | TCP, S2SP_ROW_WARNING, fallback },
		{ S2SP_OPTIONAL, S2SP_OPTIONAL, false, SASL, S2SP_ROW_WARNING, will_fail },
		{ S2SP_NOT_SUPPORTED, S2SP_OPTIONAL, true, 0, S2SP_ROW_ERROR, no_tls },
		{ S2SP_NOT_SUPPORTED, S2SP_OPTIONAL, false, 0, S2SP_ROW_ERROR, no_tls },
		{ S2SP_REQUIRED, S2SP_NOT_SUPPORTED, true, TLS, S2SP_ROW_OK, "" },
		{ S2SP_REQUIRED, S2SP_NOT_SUPPORTED, false, 0, S2SP_ROW_ERROR, nothing },
		{ S2SP_OPTIONAL, S2SP_NOT_SUPPORTED, true, TLS | TCP, S2SP_ROW_OK, "" },
		{ S2SP_OPTIONAL, S2SP_NOT_SUPPORTED, false, 0, S2SP_ROW_ERROR, nothing },
		{ S2SP_NOT_SUPPORTED, S2SP_NOT_SUPPORTED, true, TCP, S2SP_ROW_OK, "unencrypted" },
		{ S2SP_NOT_SUPPORTED, S2SP_NOT_SUPPORTED, false, 0, S2SP_ROW_ERROR, nothing },
	};
	assert_int_equal(sizeof(expected) / sizeof(expected[0]), S2SP_NEGOTIATION_ROWS);
	for (size_t i = 0; i < S2SP_NEGOTIATION_ROWS; i++) {
		const struct s2sp_negotiation_row *row = s2sp_negotiation_row_at(i);
		assert_non_null(row);
		assert_int_equal(row->tls, expected[i].tls);
		assert_int_equal(row->sasl, expected[i].sasl);
		assert_int_equal(row->dialback, expected[i].dialback);
		assert_int_equal(row->methods, expected[i].methods);
		assert_int_equal(row->verdict, expected[i].verdict);
		assert_string_equal(row->text, expected[i].text);
	}
}

static void test_each_combination_finds_its_own_row(void **state) {
	(void)state;
	for (int tls = S2SP_REQUIRED; tls <= S2SP_NOT_SUPPORTED; tls++) {
		for (int sasl = S2SP_REQUIRED; sasl <= S2SP_NOT_SUPPORTED; sasl++) {
			for (int dialback = 0; dialback <= 1; dialback++) {
				const struct s2sp_negotiation_row *row =
					s2sp_negotiation_row((enum s2sp_requirement)tls, (enum s2sp_requirement)sasl, dialback);
				assert_non_null(row);
				assert_int_equal(row->tls, tls);
				assert_int_equal(row->sasl, sasl);
				assert_int_equal(row->dialback, dialback);
			}
		}
	}
}

static void test_past_the_end(void **state) {
	(void)state;
	assert_null(s2sp_negotiation_row_at(S2SP_NEGOTIATION_ROWS));
	assert_null(s2sp_negotiation_row_at((size_t)-1));
}

static void test_values_out_of_range(void **state) {
	(void)state;
	assert_null(s2sp_negotiation_row((enum s2sp_requirement)3, S2SP_REQUIRED, true));
	assert_null(s2sp_negotiation_row(S2SP_REQUIRED, (enum s2sp_requirement)3, true));
	assert_null(s2sp_negotiation_row((enum s2sp_requirement)255, (enum s2sp_requirement)255, false));
}

/* What must hold whatever the rows say. */
static void test_invariants(void **state) {
	(void)state;
	const struct s2sp_negotiation_row *row;
	for (size_t i = 0; (row = s2sp_negotiation_row_at(i)) != NULL; i++) {
		assert_int_equal(row->methods & ~(unsigned)(SASL | TLS | TCP), 0);
		assert_int_equal(row->verdict == S2SP_ROW_ERROR, row->methods == 0);
		if (row->verdict != S2SP_ROW_OK)
			assert_true(row->text[0] != '\0');
		if (row->tls == S2SP_REQUIRED)
			assert_int_equal(row->methods & TCP, 0);
		if (row->tls == S2SP_NOT_SUPPORTED)
			assert_int_equal(row->methods & S2SP_METHODS_OVER_TLS, 0);
		if (row->sasl == S2SP_NOT_SUPPORTED)
			assert_int_equal(row->methods & SASL, 0);
		if (!row->dialback)
			assert_int_equal(row->methods & S2SP_METHODS_DIALBACK, 0);
	}
}

/* Taking dialback away, or asking for more TLS, never adds a method. */
static void test_stricter_is_never_more(void **state) {
	(void)state;
	for (int tls = S2SP_REQUIRED; tls <= S2SP_NOT_SUPPORTED; tls++) {
		for (int sasl = S2SP_REQUIRED; sasl <= S2SP_NOT_SUPPORTED; sasl++) {
			const struct s2sp_negotiation_row *with =
				s2sp_negotiation_row((enum s2sp_requirement)tls, (enum s2sp_requirement)sasl, true);
			const struct s2sp_negotiation_row *without =
				s2sp_negotiation_row((enum s2sp_requirement)tls, (enum s2sp_requirement)sasl, false);
			assert_int_equal(without->methods & ~with->methods, 0);
		}
		const struct s2sp_negotiation_row *strict = s2sp_negotiation_row(S2SP_REQUIRED, (enum s2sp_requirement)tls, true);
		const struct s2sp_negotiation_row *lax = s2sp_negotiation_row(S2SP_OPTIONAL, (enum s2sp_requirement)tls, true);
		assert_int_equal(strict->methods & ~lax->methods, 0);
	}
}

static void test_tokens(void **state) {
	(void)state;
	assert_string_equal(s2sp_requirement_token(S2SP_REQUIRED), "required");
	assert_string_equal(s2sp_requirement_token(S2SP_OPTIONAL), "optional");
	assert_string_equal(s2sp_requirement_token(S2SP_NOT_SUPPORTED), "not_supported");
	assert_string_equal(s2sp_requirement_token((enum s2sp_requirement)9), "unknown");
	assert_string_equal(s2sp_method_token(S2SP_METHOD_NONE), "none");
	assert_string_equal(s2sp_method_token(SASL), "sasl");
	assert_string_equal(s2sp_method_token(TLS), "tls_dialback");
	assert_string_equal(s2sp_method_token(TCP), "tcp_dialback");
	assert_string_equal(s2sp_method_token((enum s2sp_method)3), "none");
	assert_string_equal(s2sp_method_text(S2SP_METHOD_NONE), "none");
	assert_string_equal(s2sp_method_text(SASL), "SASL over TLS");
	assert_string_equal(s2sp_method_text(TLS), "TLS dialback");
	assert_string_equal(s2sp_method_text(TCP), "TCP dialback");
	assert_string_equal(s2sp_method_text((enum s2sp_method)8), "none");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zero_is_strictest),
		cmocka_unit_test(test_the_18_rows),
		cmocka_unit_test(test_each_combination_finds_its_own_row),
		cmocka_unit_test(test_past_the_end),
		cmocka_unit_test(test_values_out_of_range),
		cmocka_unit_test(test_invariants),
		cmocka_unit_test(test_stricter_is_never_more),
		cmocka_unit_test(test_tokens),
	};
	return cmocka_run_group_tests_name("negotiation", tests, NULL, NULL);
}
