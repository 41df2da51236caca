/* Our own certificate, as partners will see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "certificate_maker.h"
#include "certificate_own.h"
#include "idna.h"

#define NAME "DNS:contoso.com"

static struct s2sp_own_certificate own;

static enum s2sp_status see(struct recipe recipe) {
	ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
	enum s2sp_status status =
		s2sp_own_certificate_read(maker_make(recipe)->der, S2SP_TEXT("contoso.com"), s2sp_idna_to_ascii, &own);
	assert_int_equal(ERR_peek_error(), 0);
	return status;
}

static void good(void **state) {
	(void)state;
	const struct made *ca = maker_ca("Test root", NULL);
	assert_int_equal(see((struct recipe){ .issuer = ca, .names = NAME ",DNS:*.contoso.com" }), S2SP_STATUS_OK);
	assert_true(own.names_domain);
	assert_true(own.key_strong);
	assert_false(own.self_signed);
	assert_string_equal(own.key_type, "EC");
	assert_int_equal(own.key_bits, 256);
	assert_int_equal(own.not_before, MAKER_NOW - 10 * MAKER_DAY);
	assert_int_equal(own.not_after, MAKER_NOW + 10 * MAKER_DAY);
	assert_string_equal(own.subject, "CN=leaf");
	assert_string_equal(own.issuer, "CN=Test root");
	assert_string_equal(own.names, "dns:contoso.com, dns:*.contoso.com");
}

static void names(void **state) {
	(void)state;
	assert_int_equal(see((struct recipe){ .names = "DNS:www.contoso.com" }), S2SP_STATUS_OK);
	assert_false(own.names_domain);
	assert_true(own.self_signed);
	/* The common name never counts. */
	assert_int_equal(see((struct recipe){ .subject = "contoso.com" }), S2SP_STATUS_OK);
	assert_false(own.names_domain);
	assert_string_equal(own.names, "");
	assert_int_equal(see((struct recipe){ .names = NAME, .names_twice = 1 }), S2SP_STATUS_INVALID);
}

static void many_names(void **state) {
	(void)state;
	GENERAL_NAMES *list = sk_GENERAL_NAME_new_null();
	for (int i = 0; i < 100; i++)
		maker_add_name(list, GEN_DNS, S2SP_TEXT("a.name.that.is.long.enough.to.fill.the.room.sooner.than.later.example"));
	maker_add_name(list, GEN_DNS, S2SP_TEXT("contoso.com"));
	assert_int_equal(see((struct recipe){ .name_list = list }), S2SP_STATUS_OK);
	assert_true(own.names_domain);
	assert_true(strlen(own.names) < sizeof(own.names));
	GENERAL_NAMES_free(list);
}

static void keys(void **state) {
	(void)state;
	assert_int_equal(see((struct recipe){ .names = NAME, .key = MAKER_RSA_2048 }), S2SP_STATUS_OK);
	assert_string_equal(own.key_type, "RSA");
	assert_int_equal(own.key_bits, 2048);
	assert_true(own.key_strong);
	assert_int_equal(see((struct recipe){ .names = NAME, .key = MAKER_RSA_1024 }), S2SP_STATUS_OK);
	assert_int_equal(own.key_bits, 1024);
	assert_false(own.key_strong);
}

static void rubbish(void **state) {
	(void)state;
	static const struct s2sp_text texts[] = { { NULL, 0 }, S2SP_TEXT("x"), S2SP_TEXT("\x30\x82\xff\xff") };
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(s2sp_own_certificate_read(texts[i], S2SP_TEXT("contoso.com"), s2sp_idna_to_ascii, &own), S2SP_STATUS_INVALID);
		assert_false(own.names_domain);
		assert_false(own.key_strong);
		assert_int_equal(ERR_peek_error(), 0);
	}
}

static int tear_down(void **state) {
	(void)state;
	maker_clean();
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good), cmocka_unit_test(names), cmocka_unit_test(many_names),
		cmocka_unit_test(keys), cmocka_unit_test(rubbish),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("own certificate", tests, NULL, tear_down);
}
