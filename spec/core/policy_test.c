#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "allocator.h"
#include "feed.h"

static struct counting counting;
static struct s2sp_allocator allocator = { counting_reallocate, &counting };

static struct s2sp_config *new_config(void) {
	struct s2sp_config *config = s2sp_config_new(&allocator, test_to_ascii, &test_vocabulary, test_seed);
	assert_non_null(config);
	return config;
}

/* A public_unverified partner without anything else: whatever its methods are, nobody is warned of its type. */
static void provider(struct s2sp_config *config, size_t index, const char *domain) {
	assert_int_equal(begin_partner(config, index, domain), S2SP_STATUS_OK);
	set_word(config, "domain", domain);
	set_word(config, "partner_type", "public_unverified");
}

static void negotiate(struct s2sp_config *config, const char *tls, const char *sasl, bool dialback) {
	set_word(config, "tls", tls);
	set_word(config, "sasl", sasl);
	set(config, "dialback", boolean_value(dialback));
	s2sp_config_end(config);
}

static struct s2sp_config *begin_table(void) {
	struct s2sp_config *config = new_config();
	s2sp_config_local_domain(config, TEXT("contoso.com"));
	begin_list(config);
	return config;
}

static struct s2sp_partner_table *seal_table(struct s2sp_config *config) {
	struct s2sp_partner_table *table;
	assert_int_equal(s2sp_config_seal_table(config, &table), S2SP_STATUS_OK);
	s2sp_config_free(config);
	return table;
}

static void add_domain(struct s2sp_config *config, const char *domain) {
	set(config, "additional_domains", table_value());
	add(config, 1, domain);
	s2sp_config_end(config);
}

/* 0: SASL only; 1: all three; 2: TCP dialback only; 3: both dialbacks, over two domains. */
static struct s2sp_partner_table *sample_table(void) {
	struct s2sp_config *config = begin_table();
	provider(config, 1, "sasl.example");
	negotiate(config, "required", "required", false);
	provider(config, 2, "all.example");
	negotiate(config, "optional", "optional", true);
	provider(config, 3, "tcp.example");
	negotiate(config, "not_supported", "not_supported", true);
	provider(config, 4, "dialback.example");
	add_domain(config, "exempt.example");
	negotiate(config, "optional", "not_supported", true);
	return seal_table(config);
}

static struct s2sp_policy *seal(struct s2sp_config *config, const struct s2sp_partner_table *table,
								const struct s2sp_host *host) {
	struct s2sp_policy *policy;
	enum s2sp_status status = s2sp_config_seal_policy(config, table, host, &policy);
	assert_true((status == S2SP_STATUS_OK) == (policy != NULL));
	return policy;
}

static unsigned methods_of(const struct s2sp_policy *policy, const char *domain) {
	unsigned found = ~0u;
	const struct s2sp_partner *partner = s2sp_policy_find_methods(policy, TEXT(domain), &found);
	assert_ptr_equal(partner, s2sp_policy_find(policy, TEXT(domain), NULL));
	if (partner == NULL)
		assert_int_equal(found, S2SP_METHOD_NONE);
	else
		assert_int_equal(found, s2sp_policy_methods(policy, partner));
	return found;
}

static void assert_message(const struct s2sp_config *config, size_t index, const char *message) {
	const struct s2sp_issue *issue = s2sp_config_issue_at(config, index);
	assert_non_null(issue);
	assert_string_equal(issue->message, message);
}

static void test_an_open_host_takes_nothing_away(void **state) {
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	struct s2sp_policy *policy = seal(config, table, NULL);
	assert_int_equal(methods_of(policy, "sasl.example"), S2SP_METHOD_SASL);
	assert_int_equal(methods_of(policy, "all.example"), 7);
	assert_int_equal(methods_of(policy, "tcp.example"), S2SP_METHOD_TCP_DIALBACK);
	assert_int_equal(methods_of(policy, "dialback.example"), S2SP_METHODS_DIALBACK);
	assert_int_equal(s2sp_config_issue_count(config), 0);
	assert_int_equal(s2sp_policy_limits(policy)->connections, 1000);
	assert_int_equal(s2sp_policy_limits(policy)->partner_connections, 20);
	assert_int_equal(s2sp_policy_limits(policy)->establishment_timeout, 60);
	assert_int_equal(s2sp_policy_limits(policy)->inactivity_timeout, 600);
	assert_int_equal(s2sp_policy_limits(policy)->keepalive_interval, 300);
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

static void test_what_the_host_refuses_is_no_method(void **state) {
	const struct test_host closed = { .starttls_required = true };
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	assert_null(seal(config, table, TEST_HOST(&closed)));
	assert_int_equal(s2sp_config_issue_count(config), 2);
	assert_message(config, 0,
				   "partner_list[3] (\"tcp.example\").tls: got \"not_supported\"; leaves only TCP dialback, which "
				   "s2s_use_starttls: required forbids; set s2s_use_starttls: optional, or tls: required here");
	assert_message(config, 1,
				   "s2s_use_starttls: got required; takes TCP dialback away from 2 partners (\"all.example\", "
				   "\"dialback.example\"); set it to optional");
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
}

/* However many rows there are, what is taken from all alike is one mask, for wildcards too. */
static void test_the_same_is_taken_from_all(void **state) {
	const struct test_host closed = { .starttls_required = true };
	(void)state;
	struct s2sp_config *config = begin_table();
	provider(config, 1, "sasl.example");
	negotiate(config, "required", "required", false);
	provider(config, 2, "all.example");
	add_domain(config, "*.deep.all.example");
	negotiate(config, "optional", "optional", true);
	struct s2sp_partner_table *table = seal_table(config);
	config = new_config();
	struct s2sp_policy *open = seal(config, table, NULL);
	s2sp_config_free(config);
	config = new_config();
	struct s2sp_policy *policy = seal(config, table, TEST_HOST(&closed));
	assert_int_equal(methods_of(open, "b.deep.all.example"), 7);
	assert_int_equal(methods_of(policy, "sasl.example"), S2SP_METHOD_SASL);
	assert_int_equal(methods_of(policy, "all.example"), S2SP_METHODS_OVER_TLS);
	assert_int_equal(methods_of(policy, "a.b.deep.all.example"), S2SP_METHODS_OVER_TLS);
	assert_int_equal(methods_of(policy, "deep.all.example"), S2SP_METHOD_NONE);
	assert_int_equal(methods_of(policy, "contoso.com"), S2SP_METHOD_NONE);
	s2sp_policy_free(open);
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

/* The domains of one partner may fare differently; what one of them may do stays a method of the partner. */
static void test_constraints_of_one_domain(void **state) {
	const struct test_host denies = { .denied = "exempt.example" };
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	struct s2sp_policy *policy = seal(config, table, TEST_HOST(&denies));
	assert_int_equal(methods_of(policy, "all.example"), 7);
	assert_int_equal(methods_of(policy, "tcp.example"), S2SP_METHOD_TCP_DIALBACK);
	assert_int_equal(methods_of(policy, "dialback.example"), S2SP_METHODS_DIALBACK);
	assert_int_equal(s2sp_config_issue_count(config), 1);
	assert_message(config, 0, "s2s_access: takes TCP dialback away from 1 partner (\"dialback.example\"); allow their domains");
	s2sp_policy_free(policy);
	s2sp_config_free(config);

	/* Methods that differ from partner to partner are kept for each. */
	const struct test_host other = { .denied = "all.example" };
	config = new_config();
	policy = seal(config, table, TEST_HOST(&other));
	assert_int_equal(methods_of(policy, "all.example"), S2SP_METHODS_OVER_TLS);
	assert_int_equal(methods_of(policy, "tcp.example"), S2SP_METHOD_TCP_DIALBACK);
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

/* One partner at a time, and what is said of it. */
static void assert_told(const char *tls, const char *sasl, bool dialback, struct test_host host, const char *message) {
	struct s2sp_config *config = begin_table();
	provider(config, 1, "a.example");
	negotiate(config, tls, sasl, dialback);
	struct s2sp_partner_table *table = seal_table(config);
	config = new_config();
	s2sp_policy_free(seal(config, table, TEST_HOST(&host)));
	assert_int_equal(s2sp_config_issue_count(config), message == NULL ? 0 : 1);
	if (message != NULL)
		assert_message(config, 0, message);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
}

static void test_every_constraint_to_blame_is_named(void **state) {
	(void)state;
	assert_told("required", "required", false, (struct test_host){ .starttls_required = true, .no_dialback = true }, NULL);
	assert_told(
		"not_supported", "not_supported", true,
		(struct test_host){ .starttls_required = true, .no_dialback = true, .denied = "a.example" },
		"partner_list[1] (\"a.example\").tls: got \"not_supported\"; leaves only TCP dialback, which s2s_use_starttls: required, "
		"s2s_access and the lack of mod_s2s_dialback forbid; set s2s_use_starttls: optional, allow \"a.example\" in "
		"s2s_access and add mod_s2s_dialback to modules");
	assert_told(
		"required", "not_supported", true, (struct test_host){ .no_dialback = true },
		"partner_list[1] (\"a.example\").tls: got \"required\"; leaves only TLS dialback, which the lack of mod_s2s_dialback "
		"forbids; add mod_s2s_dialback to modules");
	assert_told(
		"optional", "not_supported", true, (struct test_host){ .no_dialback = true },
		"partner_list[1] (\"a.example\").tls: got \"optional\"; leaves only TLS dialback and TCP dialback, which the lack of "
		"mod_s2s_dialback forbids; add mod_s2s_dialback to modules");
	assert_told("optional", "optional", true, (struct test_host){ .no_tls = true, .starttls_required = true },
				"partner_list[1] (\"a.example\").tls: got \"optional\"; needs TLS, which s2s_use_starttls: false switches off; "
				"set s2s_use_starttls: optional");
	/* Nothing over TLS is to be had: no use to advise it. */
	assert_told("not_supported", "not_supported", true, (struct test_host){ .no_tls = true, .denied = "a.example" },
				"partner_list[1] (\"a.example\").tls: got \"not_supported\"; leaves only TCP dialback, which s2s_access forbids; "
				"allow \"a.example\" in s2s_access");
}

static void test_a_loss_is_told_of_the_first_that_takes_it(void **state) {
	(void)state;
	assert_told("optional", "optional", true, (struct test_host){ .starttls_required = true, .denied = "a.example" },
				"s2s_use_starttls: got required; takes TCP dialback away from 1 partner (\"a.example\"); set it to optional");
	assert_told("required", "optional", true, (struct test_host){ .certified = "a.example" },
				"s2s_verify: got true; demands a certificate of 1 partner (\"a.example\")");
	assert_told("required", "optional", true, (struct test_host){ .certified = "a.example", .no_dialback = true },
				"modules: has no mod_s2s_dialback, so dialback is gone for 1 partner (\"a.example\")");
	assert_told("required", "required", false, (struct test_host){ .certified = "a.example" }, NULL);
}

/* No domain can be named for a wildcard or for unlisted domains. */
static void test_constraints_without_a_domain(void **state) {
	struct s2sp_value defaults = table_value();
	const struct test_host denies = { .denied = "all" };
	(void)state;
	struct s2sp_partner_table *table = seal_table(begin_table());
	struct s2sp_config *config = new_config();
	s2sp_config_begin_default(config, &defaults);
	set_word(config, "partner_type", "public_unverified");
	set_word(config, "tls", "not_supported");
	set_word(config, "sasl", "not_supported");
	set(config, "dialback", boolean_value(true));
	assert_null(seal(config, table, TEST_HOST(&denies)));
	assert_message(
		config, 0,
		"modules.mod_s2s_partners.default.tls: got \"not_supported\"; leaves only TCP dialback, which s2s_access forbids; "
		"allow all in s2s_access, or tls: required here");
	s2sp_config_free(config);

	config = new_config();
	s2sp_config_begin_default(config, &defaults);
	set_word(config, "partner_type", "public_unverified");
	set_word(config, "tls", "optional");
	set_word(config, "sasl", "not_supported");
	set(config, "dialback", boolean_value(true));
	struct s2sp_policy *policy = seal(config, table, TEST_HOST(&denies));
	assert_int_equal(s2sp_policy_methods(policy, s2sp_policy_default(policy)), S2SP_METHOD_TLS_DIALBACK);
	assert_message(
		config, 0,
		"s2s_access: takes TCP dialback away from 1 partner (\"modules.mod_s2s_partners.default\"); allow their domains");
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
}

static void test_too_many_constraints_seal_nothing(void **state) {
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	const struct s2sp_host many = { test_constraints, S2SP_CONSTRAINTS_MAX + 1, test_holding, NULL, false, false };
	struct s2sp_policy *policy;
	assert_int_equal(s2sp_config_seal_policy(config, table, &many, &policy), S2SP_STATUS_FAILED);
	assert_null(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

/* A host that takes part in no stream has no partner, not even by a default, and nothing is said of what its options take away. */
static void test_a_host_out_of_reach_finds_nobody(void **state) {
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	const struct test_host stricter = { .no_tls = true };
	const struct s2sp_host away = { test_constraints, TEST_CONSTRAINTS, test_holding, &stricter, true, false };
	struct s2sp_policy *policy = seal(config, table, &away);
	unsigned methods;
	assert_true(s2sp_policy_out_of_reach(policy));
	assert_null(s2sp_policy_find(policy, TEXT("all.example"), NULL));
	assert_null(s2sp_policy_find_methods(policy, TEXT("all.example"), &methods));
	assert_int_equal(methods, S2SP_METHOD_NONE);
	assert_int_equal(s2sp_config_issue_count(config), 0);
	assert_string_equal(s2sp_policy_unlisted_rule(policy),
						"the host takes part in no stream: it is out of reach for every partner");
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
}

/* What an adapter compares with the host's own limits, before anything is sealed. */
static void test_limits_told_so_far(void **state) {
	struct s2sp_value limits = table_value();
	(void)state;
	struct s2sp_config *config = new_config();
	assert_int_equal(s2sp_config_limits(config)->establishment_timeout, 60);
	s2sp_config_begin_limits(config, &limits);
	set(config, "establishment_timeout", number_value(90));
	assert_int_equal(s2sp_config_limits(config)->establishment_timeout, 90);
	s2sp_config_free(config);
}

static void test_unlisted_domains(void **state) {
	struct s2sp_value defaults = table_value();
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	enum s2sp_match match;
	struct s2sp_policy *policy = seal(config, table, NULL);
	assert_null(s2sp_policy_default(policy));
	assert_null(s2sp_policy_find(policy, TEXT("stranger.example"), &match));
	s2sp_policy_free(policy);
	s2sp_config_free(config);

	config = new_config();
	s2sp_config_begin_default(config, &defaults);
	set_word(config, "partner_type", "public_unverified");
	policy = seal(config, table, NULL);
	const struct s2sp_partner *unlisted = s2sp_policy_default(policy);
	assert_string_equal(unlisted->name.bytes, "unlisted");
	assert_false(unlisted->group_chat);
	assert_ptr_equal(s2sp_policy_find(policy, TEXT("stranger.example"), &match), unlisted);
	assert_int_equal(match, S2SP_MATCH_NONE);
	assert_int_equal(s2sp_policy_methods(policy, unlisted), S2SP_METHOD_SASL);
	assert_int_equal(methods_of(policy, "stranger.example"), S2SP_METHOD_SASL);
	/* Neither is no name at all, nor is our own. */
	assert_null(s2sp_policy_find(policy, TEXT(""), NULL));
	assert_null(s2sp_policy_find(policy, TEXT("contoso.com"), NULL));
	assert_ptr_equal(s2sp_policy_find(policy, TEXT("sasl.example"), NULL), s2sp_partner_table_at(table, 0));
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
}

static void test_a_partner_of_another_policy_gets_nothing(void **state) {
	(void)state;
	struct s2sp_partner_table *table = sample_table(), *other = sample_table();
	struct s2sp_config *config = new_config();
	struct s2sp_policy *policy = seal(config, table, NULL);
	assert_int_equal(s2sp_policy_methods(policy, s2sp_partner_table_at(other, 0)), S2SP_METHOD_NONE);
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(other);
	s2sp_partner_table_free(table);
}

static void test_external_access(void **state) {
	struct s2sp_value access = table_value();
	(void)state;
	struct s2sp_partner_table *table = sample_table();
	struct s2sp_config *config = new_config();
	s2sp_config_begin_external_access(config, &access);
	set_word(config, "default", "deny");
	set(config, "users", table_value());
	assert_int_equal(s2sp_config_follows(config), S2SP_CONTENTS_MAP);
	add_user(config, "Alice", "allow");
	add_user(config, "bob", "deny");
	struct s2sp_policy *policy = seal(config, table, NULL);
	assert_true(s2sp_policy_external_access(policy, NULL, TEXT("alice")));
	assert_false(s2sp_policy_external_access(policy, NULL, TEXT("bob")));
	assert_false(s2sp_policy_external_access(policy, NULL, TEXT("carol")));
	assert_false(s2sp_policy_external_access(policy, NULL, TEXT("")));
	s2sp_policy_free(policy);
	s2sp_config_free(config);

	config = new_config();
	policy = seal(config, table, NULL);
	assert_true(s2sp_policy_external_access(policy, NULL, TEXT("anybody")));
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
}

/* What an entry says of users narrows what the host says, and holds for that partner alone, the policy for unlisted domains included. */
static void test_a_partner_narrows_the_access_of_users(void **state) {
	struct s2sp_value keys = table_value();
	(void)state;
	struct s2sp_config *config = begin_table();
	partner(config, 1, "sales.example");
	set(config, "external_access", table_value());
	assert_int_equal(s2sp_config_follows(config), S2SP_CONTENTS_KEYS);
	set_word(config, "default", "deny");
	set(config, "users", table_value());
	assert_int_equal(s2sp_config_follows(config), S2SP_CONTENTS_MAP);
	add_user(config, "Alice", "allow");
	add_user(config, "intern", "allow");
	s2sp_config_end(config);
	s2sp_config_end(config);
	add_domain(config, "*.sales.example");
	s2sp_config_end(config);
	partner(config, 2, "all.example");
	s2sp_config_end(config);
	struct s2sp_partner_table *table = seal_table(config);

	config = new_config();
	s2sp_config_begin_default(config, &keys);
	set_word(config, "partner_type", "public_unverified");
	set(config, "external_access", table_value());
	set(config, "users", table_value());
	add_user(config, "bob", "deny");
	s2sp_config_end(config);
	s2sp_config_end(config);
	set_word(config, "sasl", "optional");
	s2sp_config_begin_external_access(config, &keys);
	set(config, "users", table_value());
	add_user(config, "intern", "deny");
	struct s2sp_policy *policy = seal(config, table, NULL);
	assert_non_null(policy);
	static const struct {
		const char *domain, *user;
		bool may;
	} cases[] = {
		{ "sales.example", "alice", true },   { "eu.sales.example", "alice", true }, { "sales.example", "bob", false },
		{ "sales.example", "intern", false }, { "all.example", "bob", true },        { "all.example", "intern", false },
		{ "other.example", "bob", false },    { "other.example", "alice", true },    { "other.example", "intern", false },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct s2sp_partner *found = s2sp_policy_find(policy, TEXT(cases[i].domain), NULL);
		assert_int_equal(s2sp_policy_external_access(policy, found, TEXT(cases[i].user)), cases[i].may);
	}
	const struct s2sp_partner *sales = s2sp_policy_find(policy, TEXT("sales.example"), NULL);
	assert_false(s2sp_partner_access_default(sales));
	assert_int_equal(s2sp_partner_access_users(sales), 2);
	assert_true(s2sp_partner_access_default(s2sp_policy_find(policy, TEXT("all.example"), NULL)));
	assert_int_equal(s2sp_partner_access_users(s2sp_policy_find(policy, TEXT("all.example"), NULL)), 0);
	s2sp_policy_free(policy);
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

/* One global option, 10 000 partners: errors up to a cap, one warning for all. */
static void test_conflicts_are_summed_up(void **state) {
	const struct test_host closed = { .starttls_required = true };
	struct s2sp_partner_table *table;
	char domain[32];
	(void)state;
	struct s2sp_config *config = new_config();
	begin_list(config);
	for (size_t i = 1; i <= 10000; i++) {
		snprintf(domain, sizeof(domain), "p%zu.example", i);
		provider(config, i, domain);
		if (i % 2 == 0)
			negotiate(config, "not_supported", "not_supported", true);
		else
			negotiate(config, "optional", "not_supported", true);
	}
	assert_int_equal(s2sp_config_seal_table(config, &table), S2SP_STATUS_OK);
	s2sp_config_free(config);
	config = new_config();
	assert_null(seal(config, table, TEST_HOST(&closed)));
	assert_int_equal(s2sp_config_issue_count(config), 52);
	assert_message(config, 50, "modules.mod_s2s_partners.partners: and 4950 more without a method for reasons like these");
	assert_message(config, 51,
				   "s2s_use_starttls: got required; takes TCP dialback away from 5000 partners (\"p1.example\", "
				   "\"p3.example\", \"p5.example\", ...); set it to optional");
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

/* Whose users are trusted should not be believed on the word of the network; what the host takes away is no cause to say so. */
static void test_trust_without_tls_is_a_warning(void **state) {
	const struct test_host closed = { .starttls_required = true };
	(void)state;
	struct s2sp_config *config = begin_table();
	partner(config, 1, "all.example");
	negotiate(config, "optional", "optional", true);
	partner(config, 2, "tls.example");
	negotiate(config, "required", "optional", true);
	provider(config, 3, "tcp.example");
	negotiate(config, "not_supported", "not_supported", true);
	struct s2sp_partner_table *table = seal_table(config);
	config = new_config();
	s2sp_policy_free(seal(config, table, NULL));
	assert_int_equal(s2sp_config_issue_count(config), 1);
	assert_string_equal(s2sp_config_issue_at(config, 0)->code, "trusted-without-tls");
	assert_int_equal(s2sp_config_issue_at(config, 0)->severity, S2SP_SEVERITY_WARNING);
	assert_message(
		config, 0,
		"partner_list[1] (\"all.example\").partner_type: got \"federated\"; is trusted, and TCP dialback is among its methods: "
		"anybody who can change its DNS or the network between can pass for it; set tls: required, or partner_type: "
		"public_unverified");
	s2sp_config_free(config);
	config = new_config();
	assert_null(seal(config, table, TEST_HOST(&closed)));
	for (size_t i = 0; i < s2sp_config_issue_count(config); i++)
		assert_string_not_equal(s2sp_config_issue_at(config, i)->code, "trusted-without-tls");
	s2sp_config_free(config);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_open_host_takes_nothing_away),
		cmocka_unit_test(test_what_the_host_refuses_is_no_method),
		cmocka_unit_test(test_the_same_is_taken_from_all),
		cmocka_unit_test(test_constraints_of_one_domain),
		cmocka_unit_test(test_every_constraint_to_blame_is_named),
		cmocka_unit_test(test_a_loss_is_told_of_the_first_that_takes_it),
		cmocka_unit_test(test_constraints_without_a_domain),
		cmocka_unit_test(test_too_many_constraints_seal_nothing),
		cmocka_unit_test(test_a_host_out_of_reach_finds_nobody),
		cmocka_unit_test(test_limits_told_so_far),
		cmocka_unit_test(test_unlisted_domains),
		cmocka_unit_test(test_a_partner_of_another_policy_gets_nothing),
		cmocka_unit_test(test_external_access),
		cmocka_unit_test(test_a_partner_narrows_the_access_of_users),
		cmocka_unit_test(test_conflicts_are_summed_up),
		cmocka_unit_test(test_trust_without_tls_is_a_warning),
	};
	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
