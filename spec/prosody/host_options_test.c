/* Prosody's own options as constraints: which hold for which domain, and what failing memory does. The words: policy_spec.lua. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "allocator.h"
#include "host_options.h"
#include "prosody_vocabulary.h"

static const struct s2sp_allocator plain = PLAIN_ALLOCATOR;

/* The paths of the constraints that hold for a domain, one after the other. */
static const char *held(const struct s2sp_host_options *options, const char *domain) {
	static struct s2sp_line line;
	struct s2sp_host_rules rules;
	assert_int_equal(s2sp_host_rules_begin(&rules, &plain, options), S2SP_STATUS_OK);
	uint32_t bits = rules.host.holding(rules.host.of, s2sp_text_from(domain));
	assert_true(bits >> rules.host.constraint_count == 0);
	s2sp_line_begin(&line);
	for (size_t i = 0; i < rules.host.constraint_count; i++) {
		const struct s2sp_constraint *constraint = &rules.host.constraints[i];
		if (!(bits >> i & 1))
			continue;
		s2sp_line_add(&line, line.length == 0 ? "" : " ");
		s2sp_line_add(&line, constraint->path);
		s2sp_line_add(&line, constraint->demands_certificate ? " (certificate)" : "");
	}
	s2sp_host_rules_end(&rules);
	return line.bytes;
}

static void test_which_options_hold(void **state) {
	static const struct s2sp_text secure[] = { S2SP_TEXT("Secure.example."), S2SP_TEXT("no domain"), S2SP_TEXT("both.example") };
	static const struct s2sp_text insecure[] = { S2SP_TEXT("LAX.example"), S2SP_TEXT("lax.example"), S2SP_TEXT("both.example") };
	struct s2sp_host_options options = { .allow_encryption = true };
	(void)state;
	assert_string_equal(held(&options, "a.example"), "");
	options.require_encryption = true;
	assert_string_equal(held(&options, "a.example"), "s2s_require_encryption");
	assert_string_equal(held(&options, ""), "s2s_require_encryption");
	options = (struct s2sp_host_options){ .allow_encryption = false };
	assert_string_equal(held(&options, "a.example"), "s2s_allow_encryption");
	options = (struct s2sp_host_options){ .allow_encryption = true, .without_tls = true };
	assert_string_equal(held(&options, "a.example"), "modules_enabled");
	options = (struct s2sp_host_options){ .allow_encryption = true, .without_saslauth = true, .without_dialback = true };
	assert_string_equal(held(&options, ""), "modules_enabled modules_enabled");
	options = (struct s2sp_host_options){ .allow_encryption = true,
										  .secure_domains = secure,
										  .secure_domain_count = 3,
										  .insecure_domains = insecure,
										  .insecure_domain_count = 3 };
	assert_string_equal(held(&options, "a.example"), "");
	assert_string_equal(held(&options, ""), "");
	assert_string_equal(held(&options, "secure.example"), "s2s_secure_domains s2s_secure_domains (certificate)");
	assert_string_equal(held(&options, "both.example"), "s2s_secure_domains s2s_secure_domains (certificate)");
	assert_string_equal(held(&options, "lax.example"), "");
	options.secure_auth = true;
	assert_string_equal(held(&options, "a.example"), "s2s_secure_auth s2s_secure_auth (certificate)");
	assert_string_equal(held(&options, ""), "s2s_secure_auth s2s_secure_auth (certificate)");
	assert_string_equal(held(&options, "secure.example"), "s2s_secure_auth s2s_secure_domains s2s_secure_auth (certificate)");
	assert_string_equal(held(&options, "lax.example"), "");
	/* Exempt from s2s_secure_auth; s2s_secure_domains still refuses it without TLS. */
	assert_string_equal(held(&options, "both.example"), "s2s_secure_domains");
}

/* What a constraint needs to be told of, and nothing that would be shown as it stands. */
static void test_every_constraint_is_worded(void **state) {
	const struct s2sp_host_options options = { .allow_encryption = true };
	struct s2sp_host_rules rules;
	(void)state;
	assert_int_equal(s2sp_host_rules_begin(&rules, &plain, &options), S2SP_STATUS_OK);
	assert_true(rules.host.constraint_count > 0 && rules.host.constraint_count <= S2SP_CONSTRAINTS_MAX);
	for (size_t i = 0; i < rules.host.constraint_count; i++) {
		const struct s2sp_constraint *constraint = &rules.host.constraints[i];
		assert_true(constraint->forbids != 0 || constraint->demands_certificate);
		assert_true(constraint->forbids == 0 || (constraint->fact != NULL && constraint->remedy != NULL));
		assert_non_null(constraint->path);
		assert_non_null(strstr(constraint->lost, "{partners}"));
		assert_true(constraint->remedy_all == NULL || strchr(constraint->remedy_all, '{') == NULL);
	}
	s2sp_host_rules_end(&rules);
	assert_null(s2sp_vocabulary_lacks(&s2sp_prosody_vocabulary));
}

static void test_memory_may_fail(void **state) {
	static const struct s2sp_text secure[] = { S2SP_TEXT("a-name-that-is-longer-than-a-slot-of-the-index.example"),
											   S2SP_TEXT("a.example") };
	const struct s2sp_host_options options = {
		.secure_domains = secure, .secure_domain_count = 2, .insecure_domains = secure, .insecure_domain_count = 2
	};
	enum s2sp_status status = S2SP_STATUS_NO_MEMORY;
	size_t failed = 0;
	(void)state;
	for (size_t n = 1; status != S2SP_STATUS_OK; n++) {
		struct counting counting = { .fail_only = n };
		const struct s2sp_allocator allocator = COUNTING_ALLOCATOR(&counting);
		struct s2sp_host_rules rules;
		status = s2sp_host_rules_begin(&rules, &allocator, &options);
		assert_true(status == S2SP_STATUS_OK || status == S2SP_STATUS_NO_MEMORY);
		failed += status == S2SP_STATUS_NO_MEMORY;
		s2sp_host_rules_end(&rules);
		assert_int_equal(counting.blocks, 0);
		assert_true(n < 100);
	}
	assert_true(failed >= 3);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_options_hold),
		cmocka_unit_test(test_every_constraint_is_worded),
		cmocka_unit_test(test_memory_may_fail),
	};
	return cmocka_run_group_tests_name("host_options", tests, NULL, NULL);
}
