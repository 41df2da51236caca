/* Our own certificate, as partners will see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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
		assert_int_equal(s2sp_own_certificate_read(texts[i], S2SP_TEXT("contoso.com"), s2sp_idna_to_ascii, &own),
						 S2SP_STATUS_INVALID);
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

/* --- the chain --- */

static const struct made *root, *intermediate, *other_root;
static struct s2sp_trust_store *store;
static struct s2sp_own_chain chain;

#define LEAF(...) maker_make((struct recipe){ .issuer = intermediate, .names = NAME, __VA_ARGS__ })
#define JUDGE(...)                                                                                                               \
	judge_chain((const struct made *const[]){ __VA_ARGS__ },                                                                     \
				sizeof((const struct made *const[]){ __VA_ARGS__ }) / sizeof(struct made *))

static void judge_chain(const struct made *const *made, size_t count) {
	struct s2sp_text der[S2SP_CHAIN_LENGTH_MAX];
	for (size_t i = 0; i < count; i++)
		der[i] = made[i]->der;
	ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
	assert_int_equal(s2sp_own_chain_judge(der, count, store, S2SP_TEXT("contoso.com"), s2sp_idna_to_ascii, MAKER_NOW, &chain),
					 S2SP_STATUS_OK);
	assert_int_equal(ERR_peek_error(), 0);
}

/* The faults found, with the number of the certificate: "missing-issuer 1, servers-only 1". */
static void finds(const char *wanted) {
	char found[512] = "";
	for (size_t i = 0; i < chain.finding_count; i++) {
		size_t used = strlen(found);
		snprintf(found + used, sizeof(found) - used, "%s%s %zu", i > 0 ? ", " : "", s2sp_own_fault_token(chain.findings[i].fault),
				 chain.findings[i].certificate);
	}
	if (strcmp(found, wanted) != 0)
		fail_msg("found \"%s\" instead of \"%s\" (%s: %s)", found, wanted, s2sp_certificate_verdict_token(chain.verdict),
				 chain.cause);
}

static void chains(void **state) {
	(void)state;
	char message[256], *pem;
	root = maker_ca("Test root", NULL);
	other_root = maker_ca("Other root", NULL);
	intermediate = maker_ca("Test intermediate", root);
	pem = maker_pem(&root, 1);
	struct s2sp_trust_source source = { .anchors = maker_file(pem, strlen(pem)), .now = MAKER_NOW };
	assert_int_equal(s2sp_trust_store_new(&source, &store, message, sizeof(message)), S2SP_STATUS_OK);
	free(pem);
	const struct made *good = LEAF(0), *second = maker_ca("Second", intermediate),
					  *below = maker_make((struct recipe){ .issuer = second, .names = NAME });
	const struct made *old =
		maker_make((struct recipe){ .subject = "Old", .issuer = root, .basic = "critical,CA:TRUE", .from = -9, .to = -1 });
	const struct made *of_old = maker_make((struct recipe){ .issuer = old, .names = NAME });
	const struct made *no_ca = maker_make((struct recipe){ .subject = "None", .issuer = root });

	JUDGE(good, intermediate);
	finds("");
	assert_int_equal(chain.verdict, S2SP_CERTIFICATE_VALID);
	JUDGE(good, intermediate, root);
	finds("");
	JUDGE(maker_make((struct recipe){ .issuer = root, .names = NAME }));
	finds("");
	JUDGE(good);
	finds("missing-issuer 1");
	assert_string_equal(chain.findings[0].issuer, "CN=Test intermediate");
	JUDGE(below, second);
	finds("missing-issuer 2");
	assert_string_equal(chain.findings[0].subject, "CN=Second");
	JUDGE(maker_make((struct recipe){ .issuer = other_root, .names = NAME }));
	finds("missing-issuer 1");
	JUDGE(maker_make((struct recipe){ .issuer = other_root, .names = NAME }), other_root);
	finds("unknown-authority 2");
	JUDGE(maker_make((struct recipe){ .names = NAME }));
	finds("self-signed 1");
	JUDGE(maker_make((struct recipe){ .names = NAME, .usage = "critical,digitalSignature" }));
	finds("self-signed 1");
	JUDGE(below, intermediate, second);
	finds("wrong-order 2, wrong-order 3");
	JUDGE(good, other_root, intermediate);
	finds("stranger 2, wrong-order 3");
	JUDGE(good, good, intermediate);
	finds("");
	JUDGE(LEAF(.usage = "critical,keyEncipherment"), intermediate);
	finds("key-usage 1");
	JUDGE(LEAF(.extended_usage = "serverAuth"), intermediate);
	finds("servers-only 1");
	JUDGE(LEAF(.extended_usage = "clientAuth"), intermediate);
	finds("not-for-servers 1");
	JUDGE(LEAF(.extended_usage = "serverAuth,clientAuth"), intermediate);
	finds("");
	JUDGE(of_old, old);
	finds("expired 2");
	JUDGE(maker_make((struct recipe){ .issuer = no_ca, .names = NAME }), no_ca);
	finds("other 2");
	JUDGE(LEAF(.unknown_critical = "x"), intermediate);
	finds("other 1");
	JUDGE(LEAF(.key = MAKER_RSA_1024), intermediate);
	finds("other 1");
	/* What is told of the first certificate by itself is not told again. */
	JUDGE(LEAF(.from = -9, .to = -1), intermediate);
	finds("");
	JUDGE(maker_make((struct recipe){ .issuer = intermediate, .names = "DNS:other.example" }), intermediate);
	finds("");

	struct s2sp_text damaged[2] = { good->der, { "x", 1 } };
	assert_int_equal(s2sp_own_chain_judge(damaged, 2, store, S2SP_TEXT("contoso.com"), NULL, MAKER_NOW, &chain),
					 S2SP_STATUS_INVALID);
	assert_int_equal(s2sp_own_chain_judge(damaged, 0, store, S2SP_TEXT("contoso.com"), NULL, MAKER_NOW, &chain),
					 S2SP_STATUS_INVALID);
	s2sp_trust_store_free(store);
}

static void pins(void **state) {
	(void)state;
	struct s2sp_pinned pinned[3];
	struct s2sp_certificate_report report;
	size_t count = 9;
	const struct made *leaf = LEAF(0), *all[] = { leaf, intermediate, root, leaf };
	char *pem = maker_pem(all, 4);
	assert_int_equal(s2sp_certificate_pins(s2sp_text_from(pem), pinned, 3, &count), S2SP_STATUS_OK);
	assert_int_equal(count, 3);
	free(pem);
	pem = maker_pem(all, 2);
	assert_int_equal(s2sp_certificate_pins(s2sp_text_from(pem), pinned, 3, &count), S2SP_STATUS_OK);
	assert_int_equal(count, 2);
	assert_false(pinned[0].authority);
	assert_true(pinned[1].authority);
	assert_string_equal(pinned[0].subject, "CN=leaf");
	assert_string_equal(pinned[0].issuer, "CN=Test intermediate");
	assert_int_equal(pinned[0].not_after, MAKER_NOW + 10 * MAKER_DAY);
	/* The same that the judgement of a stream shows. */
	const struct s2sp_text der[] = { leaf->der, intermediate->der };
	s2sp_certificate_judge(&(struct s2sp_certificate_question){ .chain = der, .chain_length = 2 }, &report);
	assert_memory_equal(report.pins[0].sha256, pinned[0].pin.sha256, 32);
	assert_memory_equal(report.pins[1].sha256, pinned[1].pin.sha256, 32);
	assert_int_equal(s2sp_certificate_pins(leaf->der, pinned + 2, 1, &count), S2SP_STATUS_OK);
	assert_memory_equal(pinned[2].pin.sha256, pinned[0].pin.sha256, 32);
	pem[strlen(pem) - 60] = '!';
	assert_int_equal(s2sp_certificate_pins(s2sp_text_from(pem), pinned, 3, &count), S2SP_STATUS_INVALID);
	assert_int_equal(count, 0);
	free(pem);
	static const char *const none[] = { "", "rubbish", "0", "-----BEGIN CERTIFICATE-----",
										"-----BEGIN X-----\nMAA=\n-----END X-----\n" };
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(s2sp_certificate_pins(s2sp_text_from(none[i]), pinned, 3, &count), S2SP_STATUS_INVALID);
	assert_int_equal(s2sp_certificate_pins((struct s2sp_text){ leaf->der.bytes, leaf->der.length - 1 }, pinned, 3, &count),
					 S2SP_STATUS_INVALID);
	assert_int_equal(ERR_peek_error(), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains),     cmocka_unit_test(pins), cmocka_unit_test(good),    cmocka_unit_test(names),
		cmocka_unit_test(many_names), cmocka_unit_test(keys), cmocka_unit_test(rubbish),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("own certificate", tests, NULL, tear_down);
}
