/* Every row of fixtures/identities.tsv, and what a table cannot say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "identity.h"

#ifndef S2SP_FIXTURES
#define S2SP_FIXTURES "fixtures"
#endif

#define ROWS_MIN 140 /* fewer than the file had when it was written: somebody lost some */

/* Stands in for ident/idna, which this room may not know. */
static enum s2sp_domain_fault to_ascii(struct s2sp_text name, struct s2sp_domain *out) {
	static const struct {
		const char *name, *ascii;
	} known[] = {
		{ "bücher.com", "xn--bcher-kva.com" },
		{ "BÜCHER.com", "xn--bcher-kva.com" },
		{ "xn--bcher-kva.com", "xn--bcher-kva.com" },
		{ "fabrіkam.com", "xn--fabrkam-cuf.com" },
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (s2sp_text_equal(name, s2sp_text_from(known[i].name))) {
			out->length = (unsigned char)strlen(known[i].ascii);
			memcpy(out->bytes, known[i].ascii, out->length + 1u);
			return S2SP_DOMAIN_OK;
		}
	}
	return S2SP_DOMAIN_IDNA;
}

static enum s2sp_identifier_type type_of(const char *token) {
	for (int type = 0; type < S2SP_IDENTIFIER_TYPES; type++) {
		if (strcmp(token, s2sp_identifier_type_token((enum s2sp_identifier_type)type)) == 0)
			return (enum s2sp_identifier_type)type;
	}
	fail_msg("unknown type %s", token);
	return S2SP_IDENTIFIER_OTHER;
}

static size_t unescape(char *text) {
	char *to = text;
	for (const char *from = text; *from != '\0'; from++) {
		if (*from != '\\') {
			*to++ = *from;
			continue;
		}
		switch (*++from) {
		case '0': *to++ = '\0'; break;
		case 'n': *to++ = '\n'; break;
		case 'x': {
			char digits[3] = { from[1], from[2], '\0' };
			*to++ = (char)strtoul(digits, NULL, 16);
			from += 2;
			break;
		}
		default: *to++ = *from;
		}
	}
	return (size_t)(to - text);
}

/* On the heap in its exact size, so that a sanitizer sees a read past the end. */
static struct s2sp_text exact(const char *bytes, size_t length) {
	char *copy = malloc(length == 0 ? 1 : length);
	assert_non_null(copy);
	memcpy(copy, bytes, length);
	return (struct s2sp_text){ copy, length };
}

static void every_row_of_the_fixture(void **state) {
	(void)state;
	FILE *file = fopen(S2SP_FIXTURES "/identities.tsv", "r");
	if (file == NULL)
		fail_msg("cannot open " S2SP_FIXTURES "/identities.tsv");
	char line[4096];
	int rows = 0, wrong = 0, number = 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		number++;
		if (line[0] == '#')
			continue;
		line[strcspn(line, "\n")] = '\0';
		char *field[5], *next = line;
		for (size_t i = 0; i < 5; i++) {
			field[i] = next == NULL ? NULL : next;
			next = next == NULL ? NULL : strchr(next, '\t');
			if (next != NULL)
				*next++ = '\0';
		}
		if (field[4] == NULL || field[4][0] == '\0' || next != NULL)
			fail_msg("line %d: want 5 columns, the last not empty", number);
		struct s2sp_text reference = exact(field[2], strlen(field[2]));
		struct s2sp_text presented = exact(field[1], unescape(field[1]));
		enum s2sp_identity_finding finding =
			s2sp_identity_match((struct s2sp_identifier){ type_of(field[0]), presented }, reference, to_ascii);
		if (strcmp(s2sp_identity_finding_token(finding), field[3]) != 0) {
			print_error("line %d: %s \"%s\" against \"%s\" is %s, not %s\n", number, field[0], field[1], field[2],
						s2sp_identity_finding_token(finding), field[3]);
			wrong++;
		}
		free((char *)presented.bytes);
		free((char *)reference.bytes);
		rows++;
	}
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(rows >= ROWS_MIN);
}

static void without_a_converter_u_labels_match_nothing(void **state) {
	(void)state;
	struct s2sp_identifier u_label = { S2SP_IDENTIFIER_XMPP_ADDR, S2SP_TEXT("bücher.com") };
	assert_int_equal(s2sp_identity_match(u_label, S2SP_TEXT("xn--bcher-kva.com"), NULL), S2SP_IDENTITY_NOT_DOMAIN);
	struct s2sp_identifier ascii = { S2SP_IDENTIFIER_XMPP_ADDR, S2SP_TEXT("fabrikam.com") };
	assert_int_equal(s2sp_identity_match(ascii, S2SP_TEXT("fabrikam.com"), NULL), S2SP_IDENTITY_MATCH);
}

static void a_value_need_not_end_in_nul(void **state) {
	(void)state;
	const char *longer = "fabrikam.community";
	struct s2sp_identifier name = { S2SP_IDENTIFIER_DNS, { longer, 12 } };
	assert_int_equal(s2sp_identity_match(name, (struct s2sp_text){ "fabrikam.com.evil", 12 }, NULL), S2SP_IDENTITY_MATCH);
	name.value.length = 13;
	assert_int_equal(s2sp_identity_match(name, S2SP_TEXT("fabrikam.com"), NULL), S2SP_IDENTITY_DIFFERENT);
}

static void nothing_presented_is_no_crash(void **state) {
	(void)state;
	for (int type = 0; type < S2SP_IDENTIFIER_TYPES; type++) {
		struct s2sp_identifier nothing = { (enum s2sp_identifier_type)type, { NULL, 0 } };
		assert_int_not_equal(s2sp_identity_match(nothing, S2SP_TEXT("fabrikam.com"), to_ascii), S2SP_IDENTITY_MATCH);
		assert_int_not_equal(s2sp_identity_match(nothing, (struct s2sp_text){ NULL, 0 }, to_ascii), S2SP_IDENTITY_MATCH);
	}
}

static void an_enormous_value_is_too_long(void **state) {
	(void)state;
	size_t size = 60 * 1024;
	char *huge = malloc(size);
	assert_non_null(huge);
	memset(huge, 'a', size);
	for (int type = S2SP_IDENTIFIER_DNS; type < S2SP_IDENTIFIER_TYPES; type++) {
		struct s2sp_identifier name = { (enum s2sp_identifier_type)type, { huge, size } };
		assert_int_equal(s2sp_identity_match(name, S2SP_TEXT("fabrikam.com"), to_ascii), S2SP_IDENTITY_TOO_LONG);
	}
	free(huge);
}

static void zero_is_no_match(void **state) {
	(void)state;
	assert_int_not_equal(S2SP_IDENTITY_MATCH, 0);
	assert_string_equal(s2sp_identity_finding_token((enum s2sp_identity_finding)0), "unknown");
	assert_string_equal(s2sp_identity_finding_token((enum s2sp_identity_finding)99), "unknown");
	assert_string_equal(s2sp_identifier_type_token((enum s2sp_identifier_type)99), "other");
	struct s2sp_identifier odd = { (enum s2sp_identifier_type)99, S2SP_TEXT("fabrikam.com") };
	assert_int_equal(s2sp_identity_match(odd, S2SP_TEXT("fabrikam.com"), to_ascii), S2SP_IDENTITY_TYPE);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_fixture),      cmocka_unit_test(without_a_converter_u_labels_match_nothing),
		cmocka_unit_test(a_value_need_not_end_in_nul),   cmocka_unit_test(nothing_presented_is_no_crash),
		cmocka_unit_test(an_enormous_value_is_too_long), cmocka_unit_test(zero_is_no_match),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
