#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "public_suffix.h"

static bool is_suffix(const char *name) {
	return s2sp_public_suffix(s2sp_text_from(name));
}

static void test_suffixes(void **state) {
	(void)state;
#ifndef S2SP_WITH_LIBPSL
	assert_false(is_suffix("com"));
	skip();
#endif
	assert_true(is_suffix("co.uk"));
	assert_true(is_suffix("com"));
	assert_true(is_suffix("github.io"));
	assert_true(is_suffix("xn--55qx5d.cn")); /* as A-labels */
	assert_true(is_suffix("anything.ck"));
}

static void test_what_has_an_owner(void **state) {
	(void)state;
	static const char *const names[] = {
		"fabrikam.co.uk", "fabrikam.com", "corp.internal", "fabrikam.test", "test", "www.ck", "", "xn--bcher-kva.example"
	};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(is_suffix(names[i]));
	char longest[S2SP_DOMAIN_LENGTH_MAX + 40];
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '.' : 'a';
	assert_false(s2sp_public_suffix((struct s2sp_text){ longest, sizeof(longest) }));
	assert_false(s2sp_public_suffix((struct s2sp_text){ NULL, 0 }));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suffixes),
		cmocka_unit_test(test_what_has_an_owner),
	};
	return cmocka_run_group_tests_name("public_suffix", tests, NULL, NULL);
}
