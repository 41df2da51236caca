#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "allocator.h"
#include "feed.h"
#include "sealed.h"

static struct counting counting;
static struct s2sp_allocator allocator = { counting_reallocate, &counting };

static struct s2sp_partner_table *seal(struct s2sp_config *config) {
	struct s2sp_partner_table *table;
	assert_int_equal(s2sp_config_seal_table(config, &table), S2SP_STATUS_OK);
	s2sp_config_free(config);
	return table;
}

static struct s2sp_config *new_config(void) {
	struct s2sp_config *config = s2sp_config_new(&allocator, test_to_ascii, &test_vocabulary, test_seed);
	assert_non_null(config);
	return config;
}

static void assert_found(const struct s2sp_partner_table *table, const char *domain, const char *name, enum s2sp_match match) {
	enum s2sp_match how = S2SP_MATCH_WILDCARD;
	const struct s2sp_partner *partner = s2sp_partner_table_find(table, TEXT(domain), &how);
	assert_int_equal(how, match);
	if (name == NULL)
		assert_null(partner);
	else
		assert_string_equal(partner->name.bytes, name);
	assert_ptr_equal(s2sp_partner_table_find(table, TEXT(domain), NULL), partner);
}

static struct s2sp_partner_table *wildcard_table(void) {
	struct s2sp_config *config = new_config();
	s2sp_config_local_domain(config, TEXT("Own.fabrikam.com"));
	begin_list(config);
	partner(config, 1, "fabrikam.com");
	set(config, "additional_domains", table_value());
	add(config, 1, "*.fabrikam.com");
	add(config, 2, "contoso.org");
	s2sp_config_end(config);
	partner(config, 2, "deep.example");
	set(config, "additional_domains", table_value());
	add(config, 1, "*.eu.fabrikam.com");
	s2sp_config_end(config);
	partner(config, 3, "x.eu.fabrikam.com");
	return seal(config);
}

static void test_exact_and_wildcards(void **state) {
	(void)state;
	struct s2sp_partner_table *table = wildcard_table();
	assert_int_equal(s2sp_partner_table_count(table), 3);
	assert_found(table, "fabrikam.com", "fabrikam.com", S2SP_MATCH_PRIMARY);
	assert_found(table, "contoso.org", "fabrikam.com", S2SP_MATCH_ADDITIONAL);
	assert_found(table, "a.fabrikam.com", "fabrikam.com", S2SP_MATCH_WILDCARD);
	assert_found(table, "a.b.c.fabrikam.com", "fabrikam.com", S2SP_MATCH_WILDCARD);
	/* An exact entry wins over a wildcard, a longer wildcard over a shorter. */
	assert_found(table, "x.eu.fabrikam.com", "x.eu.fabrikam.com", S2SP_MATCH_PRIMARY);
	assert_found(table, "y.eu.fabrikam.com", "deep.example", S2SP_MATCH_WILDCARD);
	assert_found(table, "z.x.eu.fabrikam.com", "deep.example", S2SP_MATCH_WILDCARD);
	/* A wildcard does not cover its own parent. */
	assert_found(table, "eu.fabrikam.com", "fabrikam.com", S2SP_MATCH_WILDCARD);
	assert_found(table, "a.contoso.org", NULL, S2SP_MATCH_NONE);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

static void test_what_only_looks_alike(void **state) {
	static const char *const strangers[] = { "",
											 ".",
											 "com",
											 "afabrikam.com",
											 "fabrikam.com.evil.example",
											 "*.fabrikam.com",
											 "fabrikam",
											 "fabrikam.co",
											 "Fabrikam.com",
											 "fabrikam.com.",
											 ".fabrikam.co" };
	(void)state;
	struct s2sp_partner_table *table = wildcard_table();
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		if (strcmp(strangers[i], "*.fabrikam.com") == 0)
			continue; /* no canonical domain; the caller parses names */
		assert_found(table, strangers[i], NULL, S2SP_MATCH_NONE);
	}
	struct s2sp_text with_nul = { "fabrikam.com\0.example", 21 };
	assert_null(s2sp_partner_table_find(table, with_nul, NULL));
	s2sp_partner_table_free(table);
}

/* "*.fabrikam.com" must not hand our own domain to a partner. */
static void test_own_domains_are_nobodys(void **state) {
	(void)state;
	struct s2sp_partner_table *table = wildcard_table();
	assert_found(table, "own.fabrikam.com", NULL, S2SP_MATCH_NONE);
	assert_true(s2sp_partner_table_look_up(table, TEXT("own.fabrikam.com"), NULL).local);
	assert_false(s2sp_partner_table_look_up(table, TEXT("fabrikam.com"), NULL).local);
	assert_found(table, "below.own.fabrikam.com", "fabrikam.com", S2SP_MATCH_WILDCARD);
	s2sp_partner_table_free(table);
}

static void test_an_empty_table_finds_nothing(void **state) {
	(void)state;
	struct s2sp_partner_table *table = seal(new_config());
	assert_found(table, "fabrikam.com", NULL, S2SP_MATCH_NONE);
	assert_null(s2sp_partner_table_at(table, 0));
	s2sp_partner_table_free(table);
	s2sp_partner_table_free(NULL);
}

static double seconds(void) {
	struct timespec now;
	timespec_get(&now, TIME_UTC);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#define MANY 100000

static void test_many_domains(void **state) {
	char domain[64];
	size_t strings = 0;
	(void)state;
	double start = seconds();
	struct s2sp_config *config = new_config();
	begin_list(config);
	for (size_t i = 0; i < MANY; i++) {
		snprintf(domain, sizeof(domain), "partner%zu.region%zu.example", i, i % 97);
		assert_int_equal(partner(config, i + 1, domain), S2SP_STATUS_OK);
		strings += strlen(domain) + 1;
		strings += (size_t)snprintf(domain, sizeof(domain), "partner_list[%zu]", i + 1) + 1;
	}
	struct s2sp_partner_table *table = seal(config);
	double built = seconds() - start;
	start = seconds();
	for (size_t i = 0; i < MANY; i++) {
		snprintf(domain, sizeof(domain), "partner%zu.region%zu.example", i, i % 97);
		const struct s2sp_partner *found = s2sp_partner_table_find(table, TEXT(domain), NULL);
		assert_non_null(found);
		assert_int_equal(found->index, i);
		domain[0] = 'q';
		assert_null(s2sp_partner_table_find(table, TEXT(domain), NULL));
	}
	printf("# %d partners: built in %.0f ms, %.0f ns a look-up, %zu bytes a partner beyond its strings\n", MANY, built * 1e3,
		   (seconds() - start) * 1e9 / (2.0 * MANY), (counting.bytes - strings) / MANY);
	/* The promise: 200 bytes a domain; the arena's last block and rounding are allowed for. */
	assert_true(counting.bytes <= strings + 200u * MANY + 65536);
	s2sp_partner_table_free(table);
	assert_int_equal(counting.blocks, 0);
}

static void test_the_longest_name_under_wildcards(void **state) {
	char domain[S2SP_DOMAIN_LENGTH_MAX + 1];
	(void)state;
	struct s2sp_partner_table *table = wildcard_table();
	for (size_t i = 0; i < S2SP_DOMAIN_LENGTH_MAX; i++)
		domain[i] = i % 2 == 0 ? 'a' : '.';
	memcpy(domain + S2SP_DOMAIN_LENGTH_MAX - 13, ".fabrikam.com", 13);
	domain[S2SP_DOMAIN_LENGTH_MAX] = '\0';
	double start = seconds();
	for (size_t i = 0; i < 10000; i++)
		assert_non_null(s2sp_partner_table_find(table, TEXT(domain), NULL));
	printf("# the longest name, 120 labels above a wildcard: %.0f ns a look-up\n", (seconds() - start) * 1e5);
	s2sp_partner_table_free(table);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_and_wildcards),
		cmocka_unit_test(test_what_only_looks_alike),
		cmocka_unit_test(test_own_domains_are_nobodys),
		cmocka_unit_test(test_an_empty_table_finds_nothing),
		cmocka_unit_test(test_many_domains),
		cmocka_unit_test(test_the_longest_name_under_wildcards),
	};
	return cmocka_run_group_tests_name("partner", tests, NULL, NULL);
}
