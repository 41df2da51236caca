#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "idna.h"

/* The way every name takes: through the core, which calls idna only for what needs it. */
static enum s2sp_domain_fault parse(const char *bytes, size_t length, struct s2sp_domain *out) {
	enum s2sp_domain_fault fault = s2sp_domain_parse((struct s2sp_text){ bytes, length }, s2sp_idna_to_ascii, out);
	assert_int_equal(fault == S2SP_DOMAIN_OK, out->length > 0);
	return fault;
}

#define assert_domain(name, canonical)                                                                                           \
	do {                                                                                                                         \
		struct s2sp_domain domain_;                                                                                              \
		assert_int_equal(parse((name), sizeof(name) - 1, &domain_), S2SP_DOMAIN_OK);                                             \
		assert_string_equal(domain_.bytes, (canonical));                                                                         \
		assert_int_equal(domain_.length, strlen(canonical));                                                                     \
	} while (0)

#define assert_fault(name, fault)                                                                                                \
	do {                                                                                                                         \
		struct s2sp_domain domain_;                                                                                              \
		assert_int_equal(parse((name), sizeof(name) - 1, &domain_), (fault));                                                    \
	} while (0)

static void test_u_label_and_a_label_are_one(void **state) {
	(void)state;
	assert_domain("bücher.example", "xn--bcher-kva.example");
	assert_domain("xn--bcher-kva.example", "xn--bcher-kva.example");
	assert_domain("bücher.example.", "xn--bcher-kva.example");
	assert_domain("日本語.example", "xn--wgv71a119e.example");
	assert_domain("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f");
	assert_domain("אב.example", "xn--4dbc.example");
}

static void test_case_and_width_are_folded(void **state) {
	(void)state;
	assert_domain("BÜCHER.Example", "xn--bcher-kva.example");
	assert_domain("XN--BCHER-KVA.EXAMPLE", "xn--bcher-kva.example");
	assert_domain("Xn--Bcher-Kva.example", "xn--bcher-kva.example");
	assert_domain("ｆａｂｒｉｋａｍ.com", "fabrikam.com");
}

static void test_composition(void **state) {
	(void)state;
	assert_domain("bu\xcc\x88"
				  "cher.example",
				  "xn--bcher-kva.example");                   /* u, combining diaeresis */
	assert_domain("\xe2\x84\xab.example", "xn--5ca.example"); /* the Angstrom sign is å */
}

/* IDNA2008, RFC 5894 7.2: the deviation characters are letters of their own. */
static void test_non_transitional(void **state) {
	(void)state;
	assert_domain("faß.de", "xn--fa-hia.de");
	assert_domain("xn--fa-hia.de", "xn--fa-hia.de");
	assert_domain("fass.de", "fass.de");
	assert_domain("βόλος.com", "xn--nxasmm1c.com");
	assert_domain("βόλοσ.com", "xn--nxasmq6b.com");
}

static void test_homographs_stay_apart(void **state) {
	(void)state;
	assert_domain("аpple.com", "xn--pple-43d.com"); /* Cyrillic a */
	assert_domain("apple.com", "apple.com");
	assert_domain("fabrіkam.com", "xn--fabrkam-uog.com");        /* Ukrainian i */
	assert_domain("fabr\xc4\xb1kam.com", "xn--fabrkam-ufb.com"); /* dotless i */
}

static void test_dropped_code_points_are_refused(void **state) {
	(void)state;
	assert_fault("fabri\xc2\xadkam.com", S2SP_DOMAIN_IDNA);     /* soft hyphen */
	assert_fault("fabri\xe2\x80\x8bkam.com", S2SP_DOMAIN_IDNA); /* zero-width space */
	assert_fault("fabri\xe2\x80\x8ckam.com", S2SP_DOMAIN_IDNA); /* zero-width non-joiner out of context */
	assert_fault("fabri\xe2\x80\x8dkam.com", S2SP_DOMAIN_IDNA); /* zero-width joiner out of context */
	assert_fault("fabri\xe2\x81\xa0kam.com", S2SP_DOMAIN_IDNA); /* word joiner */
	assert_fault("fabri\xef\xb8\x8fkam.com", S2SP_DOMAIN_IDNA); /* variation selector 16 */
	assert_fault("\xef\xbb\xbf"
				 "fabrikam.com",
				 S2SP_DOMAIN_IDNA);                                 /* byte order mark */
	assert_fault("fabri\xcd\x8fkam.com", S2SP_DOMAIN_IDNA);         /* combining grapheme joiner */
	assert_fault("fabri\xf3\xa0\x84\x80kam.com", S2SP_DOMAIN_IDNA); /* variation selector 17 */
	assert_fault("b\xc2\xad\xc3\xbc"
				 "cher.example",
				 S2SP_DOMAIN_IDNA);
	assert_fault("\xe2\x80\x8b", S2SP_DOMAIN_IDNA);
	assert_fault("\xe2\x80\x8b.example", S2SP_DOMAIN_IDNA);
}

/* RFC 5892 A.2: after a virama the joiner is part of the word. */
static void test_joiner_in_context(void **state) {
	(void)state;
	assert_domain("क्\xe2\x80\x8dष.example", "xn--11b2ezcw70k.example");
	assert_domain("क्ष.example", "xn--11b2ezc.example");
}

static size_t encode(uint32_t c, char *to) {
	size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	for (size_t i = size; i-- > 1; c >>= 6)
		to[i] = (char)(0x80 | (c & 0x3f));
	to[0] = (char)(lead[size] | c);
	return size;
}

/*
 * Whatever the tables of the libidn2 at hand say: no code point may vanish between two letters, make a dot, or leave
 * anything in the result but letters, digits, hyphens and dots.
 */
static void test_every_code_point(void **state) {
	(void)state;
	/* Where each step is slow (Valgrind), only some of them: a prime stride. */
	const char *given = getenv("S2SP_STRIDE");
	uint32_t stride = given != NULL && atoi(given) > 0 ? (uint32_t)atoi(given) : 1;
	unsigned accepted = 0;
	for (uint32_t c = 0x80; c <= 0x10ffff; c += stride) {
		char name[] = "x????y.example";
		size_t size = encode(c, name + 1);
		memcpy(name + 1 + size, "y.example", sizeof("y.example"));
		struct s2sp_domain out;
		if (parse(name, strlen(name), &out) != S2SP_DOMAIN_OK)
			continue;
		accepted++;
		if (strcmp(out.bytes, "xy.example") == 0)
			fail_msg("U+%04X was dropped", (unsigned)c);
		if (s2sp_domain_labels(&out) != 2 || strspn(out.bytes, "abcdefghijklmnopqrstuvwxyz0123456789-.") != out.length)
			fail_msg("U+%04X became %s", (unsigned)c, out.bytes);
		struct s2sp_domain again;
		if (parse(out.bytes, out.length, &again) != S2SP_DOMAIN_OK || strcmp(out.bytes, again.bytes) != 0)
			fail_msg("U+%04X: %s is not its own canonical form", (unsigned)c, out.bytes);
	}
	assert_true(accepted > 10000 / stride); /* the loop does test something */
}

static void test_bad_a_labels(void **state) {
	(void)state;
	assert_fault("xn--.example", S2SP_DOMAIN_CHARACTER); /* ends in a hyphen before punycode is asked */
	assert_fault("xn--a.example", S2SP_DOMAIN_IDNA);
	assert_fault("xn--abc.example", S2SP_DOMAIN_IDNA);
	assert_fault("xn--a-.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("xn--99999999.example", S2SP_DOMAIN_IDNA);
	assert_fault("xn--ls8h.example", S2SP_DOMAIN_IDNA); /* an emoji is no letter */
	assert_fault("xn--bcher-kva.xn--a.example", S2SP_DOMAIN_IDNA);
}

/* Labels that decode to what the mapping would have changed: fake A-labels (RFC 5890 2.3.2.1). */
static void test_a_labels_that_do_not_round_trip(void **state) {
	(void)state;
	assert_fault("xn--bcher-2pa.example", S2SP_DOMAIN_IDNA);     /* b U+00DC cher: upper case */
	assert_fault("xn--abrikam-5693b.example", S2SP_DOMAIN_IDNA); /* U+FF46 abrikam: full width */
	assert_fault("xn--bucher-xyd.example", S2SP_DOMAIN_IDNA);    /* u U+0308: not composed */
	assert_fault("xn--bcher-0ha76c.example", S2SP_DOMAIN_IDNA);  /* a soft hyphen inside */
	assert_fault("xn--tda610n.example", S2SP_DOMAIN_IDNA);       /* a zero-width space inside */
	assert_fault("xn--xn--bcher-u9a.example", S2SP_DOMAIN_IDNA); /* an A-label of an A-label */
}

static void test_symbols_and_hyphens(void **state) {
	(void)state;
	assert_fault("☃.example", S2SP_DOMAIN_IDNA);
	assert_fault("💩.example", S2SP_DOMAIN_IDNA);
	assert_fault("½ü.example", S2SP_DOMAIN_IDNA);
	assert_fault("ab--ü.example", S2SP_DOMAIN_IDNA);
	assert_fault("\xcc\x81"
				 "a.example",
				 S2SP_DOMAIN_IDNA); /* begins with a combining mark */
	assert_fault("-ü.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("ü-.example", S2SP_DOMAIN_CHARACTER);
}

static void test_mapping_to_forbidden_ascii(void **state) {
	(void)state;
	struct s2sp_domain out;
	static const char *const names[] = {
		"℀.example",    /* a/c */
		"a＿b.example", /* full-width low line */
		"a　b.example", /* ideographic space */
		"a\xc2\xa0"
		"b.example", /* no-break space */
		"a＠b.example",
		"a／b.example",
		"a：b.example",
		"＊.example",
		"⒈example",
		"a…b.example",
		"a\xe2\x80\xa4"
		"b.example",
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (parse(names[i], strlen(names[i]), &out) == S2SP_DOMAIN_OK)
			fail_msg("%s became %s", names[i], out.bytes);
	}
}

static void test_underscore_is_refused_not_dropped(void **state) {
	(void)state;
	assert_fault("a_b.bücher.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("a_b.xn--bcher-kva.example", S2SP_DOMAIN_CHARACTER);
}

static void test_ip_addresses_in_disguise(void **state) {
	(void)state;
	assert_fault("1.2.3.４", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("１２", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("1.2.3.④", S2SP_DOMAIN_IP_LITERAL);
}

static void test_foreign_dots(void **state) {
	(void)state;
	assert_fault("fabrikam。com", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam．com", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam｡com", S2SP_DOMAIN_CHARACTER);
	/* Also when asked directly. */
	struct s2sp_domain out;
	assert_int_equal(s2sp_idna_to_ascii(S2SP_TEXT("bücher。example"), &out), S2SP_DOMAIN_CHARACTER);
	assert_int_equal(out.length, 0);
}

static void test_malformed_utf8(void **state) {
	(void)state;
	assert_fault("\xff.example", S2SP_DOMAIN_IDNA);
	assert_fault("b\xc3.example", S2SP_DOMAIN_IDNA);
	assert_fault("b\xc3", S2SP_DOMAIN_IDNA);
	assert_fault("b\xe2\x80", S2SP_DOMAIN_IDNA);
	assert_fault("b\xf0\x9f\x92", S2SP_DOMAIN_IDNA);
	assert_fault("\x80.example", S2SP_DOMAIN_IDNA);
	assert_fault("\xc0\xae"
				 "example",
				 S2SP_DOMAIN_IDNA);                         /* overlong dot */
	assert_fault("\xc1\xa1.example", S2SP_DOMAIN_IDNA);     /* overlong a */
	assert_fault("\xed\xa0\x80.example", S2SP_DOMAIN_IDNA); /* surrogate */
	assert_fault("\xf4\x90\x80\x80.example", S2SP_DOMAIN_IDNA);
	assert_fault("\xfc\x80\x80\x80\x80\xa1.example", S2SP_DOMAIN_IDNA);
}

static void test_nul(void **state) {
	(void)state;
	assert_fault("bücher\0.example", S2SP_DOMAIN_CHARACTER);
	struct s2sp_domain out;
	assert_int_equal(s2sp_idna_to_ascii(S2SP_TEXT("bücher\0.example"), &out), S2SP_DOMAIN_IDNA);
	assert_int_equal(s2sp_idna_to_ascii((struct s2sp_text){ NULL, 0 }, &out), S2SP_DOMAIN_IDNA);
}

/* "ü" and n times "a": the A-label is xn-- + a... + -xxx, whose length decides. */
static void test_label_length(void **state) {
	(void)state;
	struct s2sp_domain out;
	size_t longest = 0;
	for (size_t n = 40; n <= 80; n++) {
		char name[100] = "ü";
		memset(name + 2, 'a', n);
		enum s2sp_domain_fault fault = parse(name, n + 2, &out);
		if (fault == S2SP_DOMAIN_OK) {
			assert_true(out.length <= 63);
			longest = out.length;
		} else {
			assert_int_equal(fault, S2SP_DOMAIN_LABEL_TOO_LONG);
		}
	}
	assert_int_equal(longest, 63);
}

static void test_name_length(void **state) {
	(void)state;
	/* "xn--tda." is 8 bytes: 31 of them and 5 more letters make 253. */
	char name[1100];
	size_t length = 0;
	for (int i = 0; i < 31; i++, length += 3)
		memcpy(name + length, "ü.", 3);
	memcpy(name + length, "abcdef", 6);
	struct s2sp_domain out;
	assert_int_equal(parse(name, length + 5, &out), S2SP_DOMAIN_OK);
	assert_int_equal(out.length, 253);
	assert_int_equal(parse(name, length + 6, &out), S2SP_DOMAIN_TOO_LONG);

	memset(name, 'a', sizeof(name));
	memcpy(name, "ü", 2);
	assert_int_equal(s2sp_idna_to_ascii((struct s2sp_text){ name, 1025 }, &out), S2SP_DOMAIN_TOO_LONG);
	assert_int_not_equal(s2sp_idna_to_ascii((struct s2sp_text){ name, 1024 }, &out), S2SP_DOMAIN_OK);
}

/* RFC 5893: a label that begins right-to-left may not end left-to-right. */
static void test_bidi(void **state) {
	(void)state;
	assert_fault("אa.example", S2SP_DOMAIN_IDNA);
	assert_domain("א1.example", "xn--1-zhc.example");
}

static void test_not_terminated_input(void **state) {
	(void)state;
	struct s2sp_domain out;
	assert_int_equal(parse("bücherXYZ", 7, &out), S2SP_DOMAIN_OK);
	assert_string_equal(out.bytes, "xn--bcher-kva");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u_label_and_a_label_are_one),
		cmocka_unit_test(test_case_and_width_are_folded),
		cmocka_unit_test(test_composition),
		cmocka_unit_test(test_non_transitional),
		cmocka_unit_test(test_homographs_stay_apart),
		cmocka_unit_test(test_dropped_code_points_are_refused),
		cmocka_unit_test(test_joiner_in_context),
		cmocka_unit_test(test_every_code_point),
		cmocka_unit_test(test_bad_a_labels),
		cmocka_unit_test(test_a_labels_that_do_not_round_trip),
		cmocka_unit_test(test_symbols_and_hyphens),
		cmocka_unit_test(test_mapping_to_forbidden_ascii),
		cmocka_unit_test(test_underscore_is_refused_not_dropped),
		cmocka_unit_test(test_ip_addresses_in_disguise),
		cmocka_unit_test(test_foreign_dots),
		cmocka_unit_test(test_malformed_utf8),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_label_length),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_bidi),
		cmocka_unit_test(test_not_terminated_input),
	};
	return cmocka_run_group_tests_name("idna", tests, NULL, NULL);
}
