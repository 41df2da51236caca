/* What is wrong with single values, and how it is told: one row each, the code and some words of the message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "allocator.h"
#include "authorisation.h"
#include "feed.h"
#include "stream.h"

struct fixture {
	struct counting counting;
	struct s2sp_config *config;
};

static void begin(struct fixture *fixture) {
	*fixture = (struct fixture){ .counting = { 0 } };
	struct s2sp_allocator allocator = COUNTING_ALLOCATOR(&fixture->counting);
	fixture->config = s2sp_config_new(&allocator, test_to_ascii, &test_vocabulary, test_seed);
	assert_non_null(fixture->config);
	assert_int_equal(begin_list(fixture->config), S2SP_STATUS_OK);
}

/* Some issue has that code and those words. */
static void end(struct fixture *fixture, const char *code, const char *words) {
	bool found = false;
	for (size_t i = 0; i < s2sp_config_issue_count(fixture->config); i++) {
		const struct s2sp_issue *issue = s2sp_config_issue_at(fixture->config, i);
		found = found || (strcmp(issue->code, code) == 0 && strstr(issue->message, words) != NULL);
	}
	for (size_t i = 0; !found && i < s2sp_config_issue_count(fixture->config); i++) {
		const struct s2sp_issue *issue = s2sp_config_issue_at(fixture->config, i);
		print_error("%s: %s\n", issue->code, issue->message);
	}
	if (!found)
		fail_msg("no issue %s with \"%s\"", code, words);
	s2sp_config_free(fixture->config);
	assert_int_equal(fixture->counting.blocks, 0);
}

static void value_of_key(const char *key, struct s2sp_value value, const char *code, const char *words) {
	struct fixture fixture;
	begin(&fixture);
	assert_int_equal(partner(fixture.config, 1, "fabrikam.com"), S2SP_STATUS_OK);
	assert_int_equal(set(fixture.config, key, value), S2SP_STATUS_OK);
	end(&fixture, code, words);
}

static void test_proxies(void **state) {
	(void)state;
	static const char *const wrong[] = {
		"",
		":5269",
		"edge.fabrikam.com:",
		"edge.fabrikam.com:0",
		"edge.fabrikam.com:65536",
		"edge.fabrikam.com:x",
		"2001:db8::1",
		"[2001:db8::1",
		"[]",
		"[2001:db8::1]x",
		"[2001:db8::1]:",
		"[1::2::3]",
		"[12345::1]",
		"[1:2:3:4:5:6:7]",
		"[1:2:3:4:5:6:7:8:9]",
		"[::ffff:192.0.2.999]",
		"[fabrikam.com]",
		"-x.test",
		"a b.test",
		"[:1]",
		"[1:2:3:4:5:6:7:8::]",
		"[1::2:]",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		value_of_key("proxy", string_value(wrong[i]), "bad-proxy", "proxy");
	static const char *const right[] = { "edge.fabrikam.com",  "edge.fabrikam.com:5270", "192.0.2.1",
										 "192.0.2.1:1",        "[2001:db8::1]:5269",     "[::]",
										 "[::ffff:192.0.2.1]", "[1:2:3:4:5:6:7:8]",      "[1::]" };
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
		struct fixture fixture;
		begin(&fixture);
		assert_int_equal(partner(fixture.config, 1, "fabrikam.com"), S2SP_STATUS_OK);
		assert_int_equal(set_word(fixture.config, "proxy", right[i]), S2SP_STATUS_OK);
		if (has_error(fixture.config))
			fail_msg("%s: %s", right[i], s2sp_config_issue_at(fixture.config, 0)->message);
		s2sp_config_free(fixture.config);
	}
}

static void test_types(void **state) {
	(void)state;
	static const char *const keys[] = { "domain",
										"description",
										"partner_type",
										"tls",
										"sasl",
										"dialback",
										"trust_anchors",
										"pinned_keys",
										"revocation",
										"additional_domains",
										"connection_limit",
										"keepalive",
										"proxy",
										"presence_authorization",
										"group_chat" };
	struct s2sp_value function = { .kind = S2SP_VALUE_OTHER, .string = S2SP_TEXT("a function") };
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		value_of_key(keys[i], function, "wrong-type", "a function");
		value_of_key(keys[i], (struct s2sp_value){ .kind = S2SP_VALUE_ABSENT, .string = S2SP_TEXT("nothing") }, "wrong-type",
					 "got nothing;");
		if (strcmp(keys[i], "pinned_keys") != 0 && strcmp(keys[i], "additional_domains") != 0)
			value_of_key(keys[i], table_value(), "wrong-type", "got a mapping;");
		if (strcmp(keys[i], "dialback") != 0 && strcmp(keys[i], "keepalive") != 0)
			value_of_key(keys[i], boolean_value(true), "wrong-type", "true");
		if (strcmp(keys[i], "connection_limit") != 0)
			value_of_key(keys[i], number_value(NAN), "wrong-type", "nan");
	}
	value_of_key("dialback", string_value("true"), "wrong-type", "without quotes");
	value_of_key("crls", function, "wrong-type", "a function");
	value_of_key("crls", number_value(1), "wrong-type", "a list of files or patterns");
	value_of_key("crls", string_value(""), "bad-path", "crls/*.crl");
	value_of_key("revocation", string_value("always"), "unknown-value", "if_known");
	value_of_key("connection_limit", string_value("20"), "wrong-type", "without quotes");
	value_of_key("connection_limit", number_value(0.5), "out-of-range", "0.5");
	value_of_key("connection_limit", number_value(-1), "out-of-range", "-1");
	value_of_key("connection_limit", number_value(INFINITY), "out-of-range", "inf");
}

static void test_texts(void **state) {
	(void)state;
	static const struct {
		const char *bytes, *shown;
	} texts[] = {
		{ "a\rb", "a\\x0db" },       { "a\xff", "a\\xff" },           { "a\x1b[0m", "\\x1b" },
		{ "\xe2\x80\xae", "\\xe2" }, { "\xe2\x81\xa6", "\\xe2" },     { "\xef\xbb\xbf", "\\xef" },
		{ "\xc2\x85", "\\xc2" },     { "\xe0\x80\x80", "\\xe0" },     { "\xf0\x80\x80\x80", "\\xf0" },
		{ "\xed\xa0\x80", "\\xed" }, { "\xf4\x90\x80\x80", "\\xf4" }, { "\xc3", "\\xc3" },
		{ "\xe2\x28", "\\xe2" },     { "\xc2\xad", "\\xc2" },
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		value_of_key("description", string_value(texts[i].bytes), "bad-text", texts[i].shown);
	value_of_key("trust_anchors", string_value(""), "bad-path", "PEM");
	/* What is no harm is shown as it is. */
	value_of_key("partner_type",
				 string_value("gr\xc3\xb6\xc3\x9f"
							  "e \xe2\x82\xac \xf0\x9f\x98\x80 \"x\\"),
				 "unknown-value",
				 "gr\xc3\xb6\xc3\x9f"
				 "e \xe2\x82\xac \xf0\x9f\x98\x80 \\\"x\\\\");
}

static void test_domains(void **state) {
	(void)state;
	value_of_key("domain", string_value("*.fabrikam.com"), "wildcard-not-here", "*.fabrikam.com");
	value_of_key("domain", string_value("192.0.2.1"), "bad-domain", "IP address");
	value_of_key("domain", string_value("a..b"), "bad-domain", "a..b");
	static const struct {
		const char *item, *code;
	} items[] = {
		{ "*.com", "bad-wildcard" }, { "*.a..b", "bad-domain" },
		{ "a.*.com", "bad-domain" }, { "fabrikam.com", "duplicate-domain" },
		{ "", "bad-domain" },
	};
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		struct fixture fixture;
		begin(&fixture);
		assert_int_equal(partner(fixture.config, 1, "fabrikam.com"), S2SP_STATUS_OK);
		assert_int_equal(set(fixture.config, "additional_domains", table_value()), S2SP_STATUS_OK);
		assert_int_equal(add(fixture.config, 1, items[i].item), S2SP_STATUS_OK);
		/* Duplicates are found when all is there. */
		struct s2sp_partner_table *table;
		assert_int_equal(s2sp_config_seal_table(fixture.config, &table), S2SP_STATUS_INVALID);
		end(&fixture, items[i].code, "fabrikam.com");
	}
}

static void test_lists(void **state) {
	(void)state;
	struct fixture fixture;
	static const char *const lists[] = { "additional_domains", "pinned_keys", "crls" };
	for (size_t list = 0; list < 3; list++) {
		begin(&fixture);
		assert_int_equal(partner(fixture.config, 1, "fabrikam.com"), S2SP_STATUS_OK);
		assert_int_equal(set(fixture.config, lists[list], table_value()), S2SP_STATUS_OK);
		assert_int_equal(s2sp_config_end(fixture.config), S2SP_STATUS_OK);
		assert_int_equal(s2sp_config_end(fixture.config), S2SP_STATUS_OK);
		end(&fixture, "empty-list", "the list is empty");
	}
	begin(&fixture);
	assert_int_equal(partner(fixture.config, 1, "fabrikam.com"), S2SP_STATUS_OK);
	assert_int_equal(set(fixture.config, "pinned_keys", table_value()), S2SP_STATUS_OK);
	assert_int_equal(add(fixture.config, 1, "sha256//nonsense"), S2SP_STATUS_OK);
	struct s2sp_value word = string_value("x");
	assert_int_equal(s2sp_config_stray(fixture.config, TEXT("key"), &word), S2SP_STATUS_OK);
	assert_int_equal(s2sp_config_gap(fixture.config, 2, 3), S2SP_STATUS_OK);
	end(&fixture, "stray-key", "key");
	begin(&fixture);
	assert_int_equal(s2sp_config_stray(fixture.config, TEXT("nonsense"), &word), S2SP_STATUS_OK);
	end(&fixture, "stray-key", "a list of partners has no keys");
}

static void test_sections(void **state) {
	(void)state;
	struct fixture fixture;
	struct s2sp_value table = table_value(), word = string_value("allow"), number = number_value(5);
	begin(&fixture);
	assert_int_equal(s2sp_config_begin_default(fixture.config, &word), S2SP_STATUS_OK);
	assert_int_equal(s2sp_config_begin_default(fixture.config, &number), S2SP_STATUS_OK);
	end(&fixture, "unknown-value", "allow");
	begin(&fixture);
	assert_int_equal(s2sp_config_begin_default(fixture.config, &table), S2SP_STATUS_OK);
	assert_int_equal(set_word(fixture.config, "domain", "fabrikam.com"), S2SP_STATUS_OK);
	end(&fixture, "domain-in-default", "domain");
	begin(&fixture);
	assert_int_equal(s2sp_config_begin_limits(fixture.config, &number), S2SP_STATUS_OK);
	assert_int_equal(s2sp_config_begin_limits(fixture.config, &table), S2SP_STATUS_OK);
	assert_int_equal(set(fixture.config, "conections", number), S2SP_STATUS_OK);
	end(&fixture, "unknown-key", "did you mean \"connections\"");
	begin(&fixture);
	assert_int_equal(s2sp_config_begin_external_access(fixture.config, &table), S2SP_STATUS_OK);
	assert_int_equal(set_word(fixture.config, "defualt", "allow"), S2SP_STATUS_OK);
	assert_int_equal(set(fixture.config, "users", table), S2SP_STATUS_OK);
	assert_int_equal(add_user(fixture.config, "a@b", "deny"), S2SP_STATUS_OK);
	assert_int_equal(add_user(fixture.config, "c", "perhaps"), S2SP_STATUS_OK);
	assert_int_equal(add_user(fixture.config, "d", "deny"), S2SP_STATUS_OK);
	end(&fixture, "bad-user", "a@b");
}

static void test_tokens(void **state) {
	(void)state;
	for (int kind = 1; kind < S2SP_STANZA_COUNT; kind++)
		assert_int_equal(s2sp_stanza_kind_from_token(s2sp_text_from(s2sp_stanza_kind_token((enum s2sp_stanza_kind)kind))), kind);
	for (int local = 1; local < S2SP_LOCAL_COUNT; local++)
		assert_int_equal(s2sp_local_kind_from_token(s2sp_text_from(s2sp_local_kind_token((enum s2sp_local_kind)local))), local);
	for (int need = 0; need < S2SP_NEED_COUNT; need++) {
		assert_string_not_equal(s2sp_need_token((enum s2sp_need)need), "");
		assert_int_equal(s2sp_fact_from_token((enum s2sp_need)need, TEXT("nonsense")), 0);
	}
	assert_int_equal(s2sp_stanza_kind_from_token(TEXT("nonsense")), S2SP_STANZA_UNKNOWN);
	assert_int_equal(s2sp_local_kind_from_token(TEXT("nonsense")), S2SP_LOCAL_UNKNOWN);
	assert_string_equal(s2sp_match_token(S2SP_MATCH_NONE), "none");
	assert_string_equal(s2sp_match_token(S2SP_MATCH_PRIMARY), "primary");
	assert_string_equal(s2sp_match_token(S2SP_MATCH_ADDITIONAL), "additional");
	assert_string_equal(s2sp_match_token(S2SP_MATCH_WILDCARD), "wildcard");
	assert_string_equal(s2sp_partner_type_token(S2SP_PUBLIC_UNVERIFIED), "public_unverified");
	for (int verdict = 0; verdict <= S2SP_CERTIFICATE_MALFORMED; verdict++)
		assert_string_not_equal(s2sp_certificate_verdict_token((enum s2sp_certificate_verdict)verdict), "");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxies), cmocka_unit_test(test_types), cmocka_unit_test(test_texts),
		cmocka_unit_test(test_domains), cmocka_unit_test(test_lists), cmocka_unit_test(test_sections),
		cmocka_unit_test(test_tokens),
	};
	return cmocka_run_group_tests_name("config_faults", tests, NULL, NULL);
}
