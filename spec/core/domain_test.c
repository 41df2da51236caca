#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "domain.h"

/* A stand-in for ident/idna: knows one name, counts its calls, and can be told to misbehave. */
static struct {
	unsigned calls;
	enum s2sp_domain_fault fault;
	const char *answer;
	char seen[1100];
} converter;

static enum s2sp_domain_fault fake_to_ascii(struct s2sp_text name, struct s2sp_domain *out) {
	converter.calls++;
	assert_true(name.length < sizeof(converter.seen));
	memcpy(converter.seen, name.bytes, name.length);
	converter.seen[name.length] = '\0';
	out->length = (unsigned char)strlen(converter.answer);
	memcpy(out->bytes, converter.answer, (size_t)out->length + 1);
	return converter.fault;
}

static int reset(void **state) {
	(void)state;
	memset(&converter, 0, sizeof(converter));
	converter.fault = S2SP_DOMAIN_OK;
	converter.answer = "xn--bcher-kva.example";
	return 0;
}

static enum s2sp_domain_fault parse_bytes(const char *bytes, size_t length, struct s2sp_domain *out) {
	memset(out, 0x5a, sizeof(*out)); /* what was there must not shine through */
	enum s2sp_domain_fault fault = s2sp_domain_parse((struct s2sp_text){ bytes, length }, fake_to_ascii, out);
	if (fault != S2SP_DOMAIN_OK) {
		assert_int_equal(out->length, 0);
		assert_int_equal(out->bytes[0], 0);
	} else {
		assert_true(out->length > 0);
		assert_int_equal(strlen(out->bytes), out->length);
	}
	return fault;
}

#define assert_domain(name, canonical)                                                                                           \
	do {                                                                                                                         \
		struct s2sp_domain domain_;                                                                                              \
		assert_int_equal(parse_bytes((name), sizeof(name) - 1, &domain_), S2SP_DOMAIN_OK);                                       \
		assert_string_equal(domain_.bytes, (canonical));                                                                         \
	} while (0)

#define assert_fault(name, fault)                                                                                                \
	do {                                                                                                                         \
		struct s2sp_domain domain_;                                                                                              \
		assert_int_equal(parse_bytes((name), sizeof(name) - 1, &domain_), (fault));                                              \
	} while (0)

/* `count` labels of `length` letters; returns the length of the whole. */
static size_t fill(char *to, size_t count, size_t length) {
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			to[at++] = '.';
		memset(to + at, 'a', length);
		at += length;
	}
	return at;
}

static void test_plain_names(void **state) {
	(void)state;
	assert_domain("fabrikam.com", "fabrikam.com");
	assert_domain("a", "a");
	assert_domain("localhost", "localhost");
	assert_domain("a-b.c--d.example", "a-b.c--d.example");
	assert_domain("3com.com", "3com.com");
	assert_domain("0.example", "0.example");
	assert_domain("1.2.3.4.example", "1.2.3.4.example");
	assert_int_equal(converter.calls, 0);
}

static void test_case_is_folded(void **state) {
	(void)state;
	assert_domain("FABRIKAM.Com", "fabrikam.com");
	assert_domain("AZaz09-X.EXAMPLE", "azaz09-x.example");
	assert_int_equal(converter.calls, 0);
}

static void test_one_trailing_dot_is_dropped(void **state) {
	(void)state;
	assert_domain("fabrikam.com.", "fabrikam.com");
	assert_fault("fabrikam.com..", S2SP_DOMAIN_LABEL_EMPTY);
}

static void test_empty(void **state) {
	(void)state;
	assert_fault("", S2SP_DOMAIN_EMPTY);
	assert_fault(".", S2SP_DOMAIN_EMPTY);
	struct s2sp_domain out;
	assert_int_equal(parse_bytes(NULL, 0, &out), S2SP_DOMAIN_EMPTY);
}

static void test_empty_labels(void **state) {
	(void)state;
	assert_fault("..", S2SP_DOMAIN_LABEL_EMPTY);
	assert_fault(".com", S2SP_DOMAIN_LABEL_EMPTY);
	assert_fault("a..b", S2SP_DOMAIN_LABEL_EMPTY);
	assert_fault("b\xc3\xbc..example", S2SP_DOMAIN_LABEL_EMPTY);
	assert_fault(".b\xc3\xbc.example", S2SP_DOMAIN_LABEL_EMPTY);
	assert_int_equal(converter.calls, 0);
}

static void test_label_length_boundary(void **state) {
	(void)state;
	char name[80];
	struct s2sp_domain out;
	size_t length = fill(name, 1, 63);
	assert_int_equal(parse_bytes(name, length, &out), S2SP_DOMAIN_OK);
	assert_int_equal(out.length, 63);
	length = fill(name, 1, 64);
	assert_int_equal(parse_bytes(name, length, &out), S2SP_DOMAIN_LABEL_TOO_LONG);
	memcpy(name + length, ".b", 2);
	assert_int_equal(parse_bytes(name, length + 2, &out), S2SP_DOMAIN_LABEL_TOO_LONG);
	memmove(name + 2, name, length);
	memcpy(name, "b.", 2);
	assert_int_equal(parse_bytes(name, length + 2, &out), S2SP_DOMAIN_LABEL_TOO_LONG);
}

static void test_name_length_boundary(void **state) {
	(void)state;
	char name[300];
	struct s2sp_domain out;
	/* 3 * 63 + 61 and three dots: 253 */
	size_t length = fill(name, 3, 63);
	name[length++] = '.';
	length += fill(name + length, 1, 61);
	assert_int_equal(length, 253);
	assert_int_equal(parse_bytes(name, length, &out), S2SP_DOMAIN_OK);
	assert_int_equal(out.length, 253);
	name[length] = '.'; /* the trailing dot does not count */
	assert_int_equal(parse_bytes(name, length + 1, &out), S2SP_DOMAIN_OK);
	assert_int_equal(out.length, 253);
	name[length] = 'a';
	assert_int_equal(parse_bytes(name, length + 1, &out), S2SP_DOMAIN_TOO_LONG);
}

static void test_huge_names_are_not_scanned(void **state) {
	(void)state;
	static char name[4096];
	struct s2sp_domain out;
	memset(name, '\xc3', sizeof(name));
	assert_int_equal(parse_bytes(name, 1025, &out), S2SP_DOMAIN_TOO_LONG);
	assert_int_equal(parse_bytes(name, sizeof(name), &out), S2SP_DOMAIN_TOO_LONG);
	assert_int_equal(converter.calls, 0);
	assert_int_equal(parse_bytes(name, 1024, &out), S2SP_DOMAIN_OK);
	assert_int_equal(converter.calls, 1);
}

static void test_every_ascii_character(void **state) {
	(void)state;
	for (int c = 0; c < 128; c++) {
		if (c == '.' || c == ':')
			continue;
		char name[] = "a?b.example", mixed[] = "a?b.\xc3\xbc.example";
		name[1] = mixed[1] = (char)c;
		struct s2sp_domain out;
		bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
		enum s2sp_domain_fault expected = allowed ? S2SP_DOMAIN_OK : S2SP_DOMAIN_CHARACTER;
		assert_int_equal(parse_bytes(name, sizeof(name) - 1, &out), expected);
		assert_int_equal(parse_bytes(mixed, sizeof(mixed) - 1, &out), expected);
	}
}

static void test_characters(void **state) {
	(void)state;
	assert_fault("a\0b.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam.com\0", S2SP_DOMAIN_CHARACTER);
	assert_fault("\0", S2SP_DOMAIN_CHARACTER);
	assert_fault("_xmpp-server._tcp.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("a_b.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("*.example", S2SP_DOMAIN_CHARACTER);
	assert_fault(" fabrikam.com", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam.com ", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam.com\n", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam\\2ecom", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam%2ecom", S2SP_DOMAIN_CHARACTER);
	assert_fault("user@fabrikam.com", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam.com/res", S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam.com:5269", S2SP_DOMAIN_CHARACTER);
	assert_fault("\x7f.example", S2SP_DOMAIN_CHARACTER);
}

static void test_hyphens_at_the_edge(void **state) {
	(void)state;
	assert_fault("-", S2SP_DOMAIN_CHARACTER);
	assert_fault("-a.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("a-.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("a.-example", S2SP_DOMAIN_CHARACTER);
	assert_fault("a.example-", S2SP_DOMAIN_CHARACTER);
	assert_fault("a.example-.", S2SP_DOMAIN_CHARACTER);
	assert_fault("-\xc3\xbc.example", S2SP_DOMAIN_CHARACTER);
	assert_fault("\xc3\xbc-.example", S2SP_DOMAIN_CHARACTER);
	assert_int_equal(converter.calls, 0);
}

static void test_ipv4_literals(void **state) {
	(void)state;
	assert_fault("192.0.2.1", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("192.0.2.1.", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("127.1", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("2130706433", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("999.999.999.999", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("example.1", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("0x7f000001", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("0X7F.0x1", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("a.0x", S2SP_DOMAIN_IP_LITERAL);
	assert_domain("0xample", "0xample");
	assert_domain("a.1b", "a.1b");
}

static void test_ipv6_literals(void **state) {
	(void)state;
	assert_fault("2001:db8::1", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("::1", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("::", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("[2001:DB8::1]", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("[::ffff:192.0.2.1]", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("fe80::1%eth0", S2SP_DOMAIN_IP_LITERAL);
	assert_fault("[fabrikam.com]", S2SP_DOMAIN_CHARACTER);
	assert_fault("[", S2SP_DOMAIN_CHARACTER);
	assert_fault(":", S2SP_DOMAIN_CHARACTER);
}

static void test_other_dots_are_no_dots(void **state) {
	(void)state;
	assert_fault("fabrikam\xe3\x80\x82"
				 "com",
				 S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam\xef\xbc\x8e"
				 "com",
				 S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam\xef\xbd\xa1"
				 "com",
				 S2SP_DOMAIN_CHARACTER);
	assert_fault("fabrikam.com\xe3\x80\x82", S2SP_DOMAIN_CHARACTER);
	assert_fault("\xef\xbd\xa1", S2SP_DOMAIN_CHARACTER);
	assert_int_equal(converter.calls, 0);
	assert_domain("a\xe3\x80", "xn--bcher-kva.example"); /* cut off: the converter's to judge */
}

static void test_what_goes_to_the_converter(void **state) {
	(void)state;
	assert_domain("b\xc3\xbc"
				  "cher.example.",
				  "xn--bcher-kva.example");
	assert_int_equal(converter.calls, 1);
	assert_string_equal(converter.seen, "b\xc3\xbc"
										"cher.example"); /* without the trailing dot */
	assert_domain("xn--bcher-kva.example", "xn--bcher-kva.example");
	assert_int_equal(converter.calls, 2);
	assert_domain("a.XN--bcher-kva", "xn--bcher-kva.example");
	assert_int_equal(converter.calls, 3);
	assert_fault("xn--", S2SP_DOMAIN_CHARACTER); /* ends in a hyphen: no need to ask */
	assert_int_equal(converter.calls, 3);
}

static void test_what_only_looks_like_an_a_label(void **state) {
	(void)state;
	assert_domain("axn--b.example", "axn--b.example");
	assert_domain("xn-b.example", "xn-b.example");
	assert_domain("xn.example", "xn.example");
	assert_int_equal(converter.calls, 0);
}

static void test_converter_refuses(void **state) {
	(void)state;
	static const enum s2sp_domain_fault faults[] = { S2SP_DOMAIN_FAULT_UNKNOWN, S2SP_DOMAIN_IDNA, S2SP_DOMAIN_TOO_LONG,
													 S2SP_DOMAIN_CHARACTER };
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		converter.fault = faults[i];
		assert_fault("b\xc3\xbc"
					 "cher.example",
					 faults[i]);
	}
}

static void test_converter_is_not_trusted(void **state) {
	(void)state;
	static const struct {
		const char *answer;
		enum s2sp_domain_fault fault;
	} cases[] = {
		{ "", S2SP_DOMAIN_LABEL_EMPTY },
		{ "1.2.3.4", S2SP_DOMAIN_IP_LITERAL },
		{ "a_b.example", S2SP_DOMAIN_CHARACTER },
		{ "a b.example", S2SP_DOMAIN_CHARACTER },
		{ "a/c.example", S2SP_DOMAIN_CHARACTER },
		{ "a..example", S2SP_DOMAIN_LABEL_EMPTY },
		{ "-a.example", S2SP_DOMAIN_CHARACTER },
		{ "example.", S2SP_DOMAIN_LABEL_EMPTY },
		{ "b\xc3\xbc.example", S2SP_DOMAIN_CHARACTER },
		{ "XN--bcher-kva.example", S2SP_DOMAIN_IDNA },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", S2SP_DOMAIN_LABEL_TOO_LONG },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		converter.answer = cases[i].answer;
		assert_fault("b\xc3\xbc"
					 "cher.example",
					 cases[i].fault);
	}
}

static void test_without_converter(void **state) {
	(void)state;
	struct s2sp_domain out;
	assert_int_equal(s2sp_domain_parse(S2SP_TEXT("b\xc3\xbc"
												 "cher.example"),
									   NULL, &out),
					 S2SP_DOMAIN_IDNA);
	assert_int_equal(out.length, 0);
	assert_int_equal(s2sp_domain_parse(S2SP_TEXT("xn--bcher-kva.example"), NULL, &out), S2SP_DOMAIN_IDNA);
	assert_int_equal(s2sp_domain_parse(S2SP_TEXT("fabrikam.com"), NULL, &out), S2SP_DOMAIN_OK);
}

static struct s2sp_domain domain(const char *name) {
	struct s2sp_domain out;
	s2sp_domain_parse(s2sp_text_from(name), NULL, &out);
	return out;
}

static void test_labels(void **state) {
	(void)state;
	struct s2sp_domain none = domain(""), one = domain("localhost"), three = domain("a.b.example.");
	assert_int_equal(s2sp_domain_labels(&none), 0);
	assert_int_equal(s2sp_domain_labels(&one), 1);
	assert_int_equal(s2sp_domain_labels(&three), 3);
}

static void test_parent(void **state) {
	(void)state;
	struct s2sp_text text = S2SP_TEXT("a.b.example");
	text = s2sp_domain_parent(text);
	assert_true(s2sp_text_equal(text, S2SP_TEXT("b.example")));
	text = s2sp_domain_parent(text);
	assert_true(s2sp_text_equal(text, S2SP_TEXT("example")));
	text = s2sp_domain_parent(text);
	assert_int_equal(text.length, 0);
	text = s2sp_domain_parent(text);
	assert_int_equal(text.length, 0);
	assert_int_equal(s2sp_domain_parent((struct s2sp_text){ NULL, 0 }).length, 0);
	/* It points into what was given, and reads no further than its length. */
	struct s2sp_text cut = { "ab.cd", 2 };
	assert_int_equal(s2sp_domain_parent(cut).length, 0);
}

static void test_fault_texts(void **state) {
	(void)state;
	for (int fault = S2SP_DOMAIN_FAULT_UNKNOWN; fault <= S2SP_DOMAIN_IDNA; fault++) {
		const char *text = s2sp_domain_fault_text((enum s2sp_domain_fault)fault);
		assert_non_null(text);
		assert_true(strncmp(text, "is ", 3) == 0 || strncmp(text, "has ", 4) == 0);
		for (int other = S2SP_DOMAIN_FAULT_UNKNOWN; other < fault; other++)
			assert_string_not_equal(text, s2sp_domain_fault_text((enum s2sp_domain_fault)other));
	}
	assert_string_equal(s2sp_domain_fault_text(S2SP_DOMAIN_IP_LITERAL), "is an IP address, not a domain");
	assert_string_equal(s2sp_domain_fault_text((enum s2sp_domain_fault)99), "is not a domain");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_plain_names, reset),
		cmocka_unit_test_setup(test_case_is_folded, reset),
		cmocka_unit_test_setup(test_one_trailing_dot_is_dropped, reset),
		cmocka_unit_test_setup(test_empty, reset),
		cmocka_unit_test_setup(test_empty_labels, reset),
		cmocka_unit_test_setup(test_label_length_boundary, reset),
		cmocka_unit_test_setup(test_name_length_boundary, reset),
		cmocka_unit_test_setup(test_huge_names_are_not_scanned, reset),
		cmocka_unit_test_setup(test_every_ascii_character, reset),
		cmocka_unit_test_setup(test_characters, reset),
		cmocka_unit_test_setup(test_hyphens_at_the_edge, reset),
		cmocka_unit_test_setup(test_ipv4_literals, reset),
		cmocka_unit_test_setup(test_ipv6_literals, reset),
		cmocka_unit_test_setup(test_other_dots_are_no_dots, reset),
		cmocka_unit_test_setup(test_what_goes_to_the_converter, reset),
		cmocka_unit_test_setup(test_what_only_looks_like_an_a_label, reset),
		cmocka_unit_test_setup(test_converter_refuses, reset),
		cmocka_unit_test_setup(test_converter_is_not_trusted, reset),
		cmocka_unit_test_setup(test_without_converter, reset),
		cmocka_unit_test_setup(test_labels, reset),
		cmocka_unit_test_setup(test_parent, reset),
		cmocka_unit_test_setup(test_fault_texts, reset),
	};
	return cmocka_run_group_tests_name("domain", tests, NULL, NULL);
}
