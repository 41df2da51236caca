#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "allocator.h"
#include "feed.h"
#include "line.h"
#include "nearest.h"

#define PIN "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define OTHER_PIN "sha256//LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564="

struct fixture {
	struct counting counting;
	struct s2sp_allocator allocator;
	struct s2sp_config *config;
};

static int setup(void **state) {
	static struct fixture fixture;
	memset(&fixture, 0, sizeof(fixture));
	fixture.allocator = COUNTING_ALLOCATOR(&fixture.counting);
	fixture.config = s2sp_config_new(&fixture.allocator, test_to_ascii, &test_vocabulary, test_seed);
	*state = &fixture;
	return fixture.config == NULL;
}

static int teardown(void **state) {
	struct fixture *fixture = *state;
	s2sp_config_free(fixture->config);
	return fixture->counting.blocks != 0 || fixture->counting.bytes != 0;
}

static const char *message_at(const struct fixture *fixture, size_t index) {
	const struct s2sp_issue *issue = s2sp_config_issue_at(fixture->config, index);
	return issue == NULL ? "" : issue->message;
}

static void assert_invalid(struct fixture *fixture) {
	struct s2sp_partner_table *table = (struct s2sp_partner_table *)fixture;
	assert_int_equal(s2sp_config_seal_table(fixture->config, &table), S2SP_STATUS_INVALID);
	assert_null(table);
	assert_true(has_error(fixture->config));
}

static void test_nothing_is_valid(void **state) {
	struct fixture *fixture = *state;
	struct s2sp_partner_table *table;
	assert_int_equal(s2sp_config_seal_table(fixture->config, &table), S2SP_STATUS_OK);
	assert_int_equal(s2sp_partner_table_count(table), 0);
	assert_int_equal(s2sp_config_issue_count(fixture->config), 0);
	assert_null(s2sp_config_issue_at(fixture->config, 0));
	s2sp_partner_table_free(table);
}

static void test_defaults(void **state) {
	struct fixture *fixture = *state;
	struct s2sp_partner_table *table;
	begin_list(fixture->config);
	partner(fixture->config, 1, "Fabrikam.com.");
	assert_int_equal(s2sp_config_seal_table(fixture->config, &table), S2SP_STATUS_OK);
	const struct s2sp_partner *fabrikam = s2sp_partner_table_at(table, 0);
	assert_string_equal(fabrikam->name.bytes, "fabrikam.com");
	assert_string_equal(fabrikam->place.bytes, "partner_list");
	assert_int_equal(fabrikam->entry, 1);
	assert_int_equal(fabrikam->row->tls, S2SP_REQUIRED);
	assert_int_equal(fabrikam->row->sasl, S2SP_REQUIRED);
	assert_false(fabrikam->row->dialback);
	assert_int_equal(fabrikam->given, 0);
	assert_int_equal(fabrikam->connection_limit, 0);
	assert_true(fabrikam->presence_automatic);
	assert_true(fabrikam->group_chat);
	assert_int_equal(fabrikam->addenda->proxy_host.length, 0);
	s2sp_partner_table_free(table);
}

static bool is_public(struct s2sp_text domain) {
	return s2sp_text_equal(domain, TEXT("co.uk"));
}

/* A warning, of wildcards alone: who else has a domain there is none of the partner's business. */
static void test_wildcard_over_a_public_suffix(void **state) {
	struct fixture *fixture = *state;
	struct s2sp_partner_table *table;
	s2sp_config_public_suffixes(fixture->config, is_public);
	begin_list(fixture->config);
	begin_partner(fixture->config, 1, "fabrikam.co.uk");
	set_word(fixture->config, "domain", "fabrikam.co.uk");
	set_word(fixture->config, "partner_type", "federated");
	set(fixture->config, "additional_domains", table_value());
	add(fixture->config, 1, "*.fabrikam.co.uk");
	add(fixture->config, 2, "*.CO.uk.");
	s2sp_config_end(fixture->config);
	assert_int_equal(s2sp_config_seal_table(fixture->config, &table), S2SP_STATUS_OK);
	assert_int_equal(s2sp_config_issue_count(fixture->config), 1);
	assert_string_equal(s2sp_config_issue_at(fixture->config, 0)->code, "public-suffix");
	assert_string_equal(
		message_at(fixture, 0),
		"partner_list[1] (\"fabrikam.co.uk\").additional_domains[2]: got \"*.CO.uk.\"; is over a public suffix, so anybody "
		"who gets a domain there is this partner; name the partner's own domains");
	s2sp_partner_table_free(table);
}

static void test_every_setting(void **state) {
	struct fixture *fixture = *state;
	struct s2sp_config *config = fixture->config;
	struct s2sp_partner_table *table;
	begin_list(config);
	begin_partner(config, 1, "fabrikam.com");
	set(config, "additional_domains", table_value());
	assert_int_equal(s2sp_config_follows(config), S2SP_CONTENTS_LIST);
	add(config, 1, "*.Fabrikam.com");
	add(config, 2,
		"b\xc3\xbc"
		"cher.example");
	s2sp_config_end(config);
	set_word(config, "domain", "fabrikam.com");
	set_word(config, "partner_type", "public_unverified");
	set_word(config, "description", "Contract 2231");
	set_word(config, "sasl", "optional");
	set(config, "dialback", boolean_value(true));
	set_word(config, "trust_anchors", "certs/ca.pem");
	set(config, "pinned_keys", table_value());
	add(config, 1, PIN);
	add(config, 2, OTHER_PIN);
	s2sp_config_end(config);
	set(config, "crls", table_value());
	add(config, 1, "crls/a.crl");
	add(config, 2, "crls/b-*.crl");
	s2sp_config_end(config);
	set_word(config, "revocation", "required");
	set(config, "connection_limit", number_value(7));
	set(config, "keepalive", boolean_value(true));
	set_word(config, "proxy", "[2001:DB8::1]:443");
	set_word(config, "presence_authorization", "user");
	set_word(config, "group_chat", "allow");
	assert_int_equal(s2sp_config_seal_table(config, &table), S2SP_STATUS_OK);
	assert_int_equal(s2sp_config_issue_count(config), 0);
	const struct s2sp_partner *fabrikam = s2sp_partner_table_at(table, 0);
	assert_int_equal(fabrikam->additional_count, 2);
	assert_string_equal(fabrikam->additional[0].bytes, "*.fabrikam.com");
	assert_string_equal(fabrikam->additional[1].bytes, "xn--bcher-kva.example");
	assert_string_equal(fabrikam->description.bytes, "Contract 2231");
	assert_string_equal(fabrikam->trust_anchors.bytes, "certs/ca.pem");
	assert_string_equal(fabrikam->addenda->proxy_host.bytes, "2001:db8::1");
	assert_int_equal(fabrikam->proxy_port, 443);
	assert_int_equal(fabrikam->pin_count, 2);
	assert_int_equal(fabrikam->pins[0].sha256[0], 0xe3); /* the hash of nothing: e3b0c442...b855 */
	assert_int_equal(fabrikam->pins[0].sha256[31], 0x55);
	assert_int_equal(fabrikam->connection_limit, 7);
	assert_int_equal(fabrikam->type, S2SP_PUBLIC_UNVERIFIED);
	assert_int_equal(fabrikam->row->methods, S2SP_METHOD_SASL | S2SP_METHOD_TLS_DIALBACK);
	assert_int_equal(fabrikam->addenda->crl_count, 2);
	assert_string_equal(fabrikam->addenda->crls[1].bytes, "crls/b-*.crl");
	assert_int_equal(fabrikam->revocation, S2SP_REVOCATION_REQUIRED);
	assert_int_equal(fabrikam->given, 255 & ~S2SP_GIVEN_TLS);
	assert_true(fabrikam->keepalive);
	assert_false(fabrikam->presence_automatic);
	assert_true(fabrikam->group_chat);
	s2sp_partner_table_free(table);
}

static void test_near_miss(void **state) {
	struct fixture *fixture = *state;
	begin_list(fixture->config);
	begin_partner(fixture->config, 2, "fabrikam.com");
	set_word(fixture->config, "domain", "fabrikam.com");
	set_word(fixture->config, "partner_type", "public-verified");
	assert_invalid(fixture);
	assert_int_equal(s2sp_config_issue_count(fixture->config), 1);
	const struct s2sp_issue *issue = s2sp_config_issue_at(fixture->config, 0);
	assert_int_equal(issue->severity, S2SP_SEVERITY_ERROR);
	assert_string_equal(issue->code, "unknown-value");
	assert_string_equal(issue->path, "partner_list[2] (\"fabrikam.com\").partner_type");
	assert_string_equal(issue->got, "\"public-verified\"");
	assert_string_equal(issue->expected, "must be \"federated\", \"public_verified\" or \"public_unverified\"");
	assert_string_equal(issue->nearest, "public_verified");
	assert_string_equal(issue->message,
						"partner_list[2] (\"fabrikam.com\").partner_type: got \"public-verified\"; must be \"federated\", "
						"\"public_verified\" or \"public_unverified\"; did you mean \"public_verified\"?");
}

static void test_nearest_words(void **state) {
	static const char *const words[] = { "tls", "sasl", "dialback", "connection_limit", NULL };
	static const struct {
		const char *written;
		const char *meant;
	} cases[] = {
		{ "tls", "tls" },
		{ "TLS", "tls" },
		{ "tsl", "tls" },
		{ "xyz", NULL },
		{ "sals", "sasl" },
		{ "dial-back", "dialback" },
		{ "dialbakc", "dialback" },
		{ "diallbac", "dialback" },
		{ "dlbc", NULL },
		{ "ConnectionLimit", "connection_limit" },
		{ "connecton_limti", "connection_limit" },
		{ "", NULL },
		{ "t", NULL },
		{ "a_word_that_is_longer_than_any_of_those_we_know", NULL },
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *nearest = s2sp_nearest(TEXT(cases[i].written), words);
		if (cases[i].meant == NULL)
			assert_null(nearest);
		else
			assert_string_equal(nearest, cases[i].meant);
	}
}

static void test_numbers_as_written(void **state) {
	static const struct {
		double number;
		const char *shown;
	} cases[] = {
		{ 0, "0" },
		{ 20, "20" },
		{ -1, "-1" },
		{ 2.5, "2.5" },
		{ 0.1, "0.1" },
		{ 1e6, "1000000" },
		{ 0.0001, "0.0001" },
		{ 1.9999999, "2" },
		{ 1e20, "1e+20" },
		{ 1.5e-7, "1.5e-7" },
		{ 999999999999999, "999999999999999" },
	};
	struct s2sp_line line;
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s2sp_line_begin(&line);
		s2sp_line_add_double(&line, cases[i].number);
		assert_string_equal(line.bytes, cases[i].shown);
	}
}

static void test_a_line_is_cut_between_characters(void **state) {
	struct s2sp_line line;
	(void)state;
	s2sp_line_begin(&line);
	for (size_t i = 0; i < S2SP_LINE_MAX; i++)
		s2sp_line_add(&line, "\xc3\xbc");
	assert_true(line.cut);
	assert_true(line.length <= S2SP_LINE_MAX);
	assert_string_equal(line.bytes + line.length - 5, "\xc3\xbc...");
}

/* What grows without bound in the configuration does not in the list of issues. */
static void test_issues_are_capped(void **state) {
	struct fixture *fixture = *state;
	char domain[32];
	begin_list(fixture->config);
	for (size_t i = 1; i <= 3000; i++) {
		snprintf(domain, sizeof(domain), "p%zu.example", i);
		partner(fixture->config, i, domain);
		set(fixture->config, "dialback", boolean_value(true)); /* a warning */
		if (i > 2000)
			set_word(fixture->config, "colour", "blue");
	}
	assert_invalid(fixture);
	assert_int_equal(s2sp_config_issue_count(fixture->config), 2 * S2SP_ISSUES_KEPT + 2);
	assert_string_equal(message_at(fixture, 2 * S2SP_ISSUES_KEPT), "and 500 more errors");
	assert_string_equal(message_at(fixture, 2 * S2SP_ISSUES_KEPT + 1), "and 2500 more warnings");
	assert_null(s2sp_config_issue_at(fixture->config, 2 * S2SP_ISSUES_KEPT + 2));
}

static void test_contents_of_a_refused_list_are_not_asked_for(void **state) {
	struct fixture *fixture = *state;
	struct s2sp_value word = string_value("fabrikam.com");
	s2sp_config_begin_list(fixture->config, TEXT("partner_list"), &word);
	assert_int_equal(s2sp_config_follows(fixture->config), S2SP_CONTENTS_NONE);
	begin_list(fixture->config);
	begin_partner(fixture->config, 1, "fabrikam.com");
	set_word(fixture->config, "additional_domains", "corp.fabrikam.com");
	assert_int_equal(s2sp_config_follows(fixture->config), S2SP_CONTENTS_NONE);
	assert_invalid(fixture);
}

static void test_a_consumed_config_seals_nothing(void **state) {
	struct fixture *fixture = *state;
	struct s2sp_partner_table *table, *again;
	assert_int_equal(s2sp_config_seal_table(fixture->config, &table), S2SP_STATUS_OK);
	assert_int_equal(s2sp_config_seal_table(fixture->config, &again), S2SP_STATUS_FAILED);
	assert_null(again);
	assert_int_equal(begin_list(fixture->config), S2SP_STATUS_FAILED);
	assert_int_equal(begin_partner(fixture->config, 1, "fabrikam.com"), S2SP_STATUS_FAILED);
	assert_int_equal(s2sp_config_local_domain(fixture->config, TEXT("contoso.com")), S2SP_STATUS_FAILED);
	/* The same config may still give a policy. */
	struct s2sp_policy *policy;
	assert_int_equal(s2sp_config_seal_policy(fixture->config, table, NULL, &policy), S2SP_STATUS_OK);
	assert_null(s2sp_config_limits(fixture->config));
	struct s2sp_value nothing = { .kind = S2SP_VALUE_ABSENT };
	assert_int_equal(s2sp_config_begin_limits(fixture->config, &nothing), S2SP_STATUS_FAILED);
	s2sp_policy_free(policy);
	s2sp_partner_table_free(table);
}

/* Everything at once, good and bad; the first failure is handed on. */
#define TRY(call)                                                                                                                \
	do {                                                                                                                         \
		if ((call) == S2SP_STATUS_NO_MEMORY)                                                                                     \
			return S2SP_STATUS_NO_MEMORY;                                                                                        \
	} while (0)

static enum s2sp_status feed_table(struct s2sp_config *config, bool faulty) {
	char domain[32];
	TRY(s2sp_config_local_domain(config, TEXT("contoso.com")));
	TRY(begin_list(config));
	for (size_t i = 1; i <= 40; i++) {
		snprintf(domain, sizeof(domain), "p%zu.example", i);
		TRY(partner(config, i, domain));
		TRY(set(config, "additional_domains", table_value()));
		for (size_t j = 1; j <= 6; j++) {
			snprintf(domain, sizeof(domain), "%sa%zu.p%zu.example", j == 1 ? "*." : "", j, i);
			TRY(add(config, j, domain));
		}
		TRY(s2sp_config_end(config));
		TRY(set(config, "pinned_keys", table_value()));
		TRY(add(config, 1, PIN));
		TRY(add(config, 2, PIN));
		TRY(s2sp_config_end(config));
		TRY(set(config, "crls", table_value()));
		for (size_t j = 1; j <= 6; j++)
			TRY(add(config, j, "crls/a.crl"));
		TRY(s2sp_config_end(config));
		TRY(set_word(config, "proxy", "edge.example"));
		TRY(set(config, "external_access", table_value()));
		TRY(set_word(config, "default", "deny"));
		TRY(set(config, "users", table_value()));
		TRY(add_user(config, "carol", "allow"));
		TRY(s2sp_config_end(config));
		TRY(s2sp_config_end(config));
		TRY(set_word(config, "tls", "optional"));
		TRY(set_word(config, "sasl", "optional"));
		TRY(set(config, "dialback", boolean_value(true)));
		TRY(set_word(config, "description", "some text that takes room in the arena of the table"));
		TRY(set_word(config, "trust_anchors", "certs/ca.pem"));
		if (faulty) {
			TRY(set_word(config, "tsl", "required"));
			TRY(set_word(config, "tls", "not_supported"));
		}
		TRY(s2sp_config_end(config));
	}
	if (faulty) {
		TRY(partner(config, 41, "contoso.com"));
		TRY(partner(config, 42, "p1.example"));
		TRY(s2sp_config_end(config));
		TRY(s2sp_config_gap(config, 43, 44));
		struct s2sp_value value = string_value("x");
		TRY(s2sp_config_stray(config, TEXT("domain"), &value));
		TRY(s2sp_config_issue(config, S2SP_SEVERITY_ERROR, "bad-file", TEXT("a"), TEXT("b"), TEXT("c")));
	}
	return S2SP_STATUS_OK;
}

static enum s2sp_status feed_policy(struct s2sp_config *config) {
	char user[32];
	struct s2sp_value table = table_value();
	TRY(s2sp_config_begin_default(config, &table));
	TRY(set_word(config, "partner_type", "public_unverified"));
	TRY(set(config, "pinned_keys", table_value()));
	TRY(add(config, 1, PIN));
	TRY(s2sp_config_end(config));
	TRY(set_word(config, "crls", "crls/a.crl"));
	TRY(set(config, "external_access", table_value()));
	TRY(set(config, "users", table_value()));
	TRY(add_user(config, "carol", "deny"));
	TRY(s2sp_config_end(config));
	TRY(s2sp_config_end(config));
	TRY(s2sp_config_begin_limits(config, &table));
	TRY(set(config, "partner_connections", number_value(2000)));
	TRY(s2sp_config_begin_external_access(config, &table));
	TRY(set_word(config, "default", "deny"));
	TRY(set(config, "users", table));
	for (size_t i = 0; i < 40; i++) {
		snprintf(user, sizeof(user), "user%zu", i);
		TRY(add_user(config, user, "allow"));
	}
	return s2sp_config_end(config);
}

/* One whole commit; everything it made is freed again. */
static enum s2sp_status commit(const struct s2sp_allocator *allocator, bool faulty) {
	const struct test_host constrained = { .starttls_required = true, .denied = "p1.example" };
	struct s2sp_partner_table *table = NULL;
	struct s2sp_policy *policy = NULL;
	struct s2sp_config *config = s2sp_config_new(allocator, test_to_ascii, &test_vocabulary, test_seed);
	if (config == NULL)
		return S2SP_STATUS_NO_MEMORY;
	enum s2sp_status status = feed_table(config, faulty);
	if (status == S2SP_STATUS_OK)
		status = s2sp_config_seal_table(config, &table);
	s2sp_config_free(config);
	if (status == S2SP_STATUS_OK) {
		config = s2sp_config_new(allocator, test_to_ascii, &test_vocabulary, test_seed);
		status = config == NULL ? S2SP_STATUS_NO_MEMORY : feed_policy(config);
		if (status == S2SP_STATUS_OK)
			status = s2sp_config_seal_policy(config, table, TEST_HOST(&constrained), &policy);
		s2sp_config_free(config);
	}
	assert_true((policy != NULL) == (status == S2SP_STATUS_OK));
	s2sp_policy_free(policy);
	s2sp_partner_table_free(table);
	return status;
}

static void sweep(bool faulty, bool lasting) {
	enum s2sp_status wanted = faulty ? S2SP_STATUS_INVALID : S2SP_STATUS_OK, status;
	size_t failed = 0;
	for (size_t n = 1;; n++) {
		struct counting counting = { 0 };
		struct s2sp_allocator allocator = COUNTING_ALLOCATOR(&counting);
		*(lasting ? &counting.fail_from : &counting.fail_only) = n;
		status = commit(&allocator, faulty);
		assert_int_equal(counting.blocks, 0);
		assert_int_equal(counting.bytes, 0);
		if (counting.calls < n)
			break; /* nothing was left to fail */
		/* Giving memory back is the one thing that may fail without harm. */
		assert_true(status == S2SP_STATUS_NO_MEMORY || status == wanted);
		failed += status == S2SP_STATUS_NO_MEMORY;
	}
	assert_int_equal(status, wanted);
	assert_true(failed > 20);
}

static void test_every_allocation_may_fail(void **state) {
	(void)state;
	sweep(false, false);
	sweep(false, true);
	sweep(true, false);
	sweep(true, true);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing_is_valid, setup, teardown),
		cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_setting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wildcard_over_a_public_suffix, setup, teardown),
		cmocka_unit_test_setup_teardown(test_near_miss, setup, teardown),
		cmocka_unit_test(test_nearest_words),
		cmocka_unit_test(test_numbers_as_written),
		cmocka_unit_test(test_a_line_is_cut_between_characters),
		cmocka_unit_test_setup_teardown(test_issues_are_capped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_contents_of_a_refused_list_are_not_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_consumed_config_seals_nothing, setup, teardown),
		cmocka_unit_test(test_every_allocation_may_fail),
	};
	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
