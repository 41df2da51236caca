/* Trust stores: which anchors can be read, and what is said of the others. */
#include "certificate_judging.h"

/* --- trust stores --- */

static char message[1024];
static struct s2sp_trust_store *loaded;

static enum s2sp_status load(struct s2sp_trust_source source) {
	source.now = MAKER_NOW;
	ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
	s2sp_trust_store_free(loaded);
	enum s2sp_status status = s2sp_trust_store_new(&source, &loaded, message, sizeof(message));
	assert_int_equal(ERR_peek_error(), 0);
	assert_true((status == S2SP_STATUS_OK) == (loaded != NULL));
	return status;
}

static enum s2sp_status load_text(const char *text) {
	return load((struct s2sp_trust_source){ .anchors = maker_file(text, strlen(text)) });
}

static enum s2sp_status load_made(const struct made *const *list, size_t count) {
	char *pem = maker_pem(list, count);
	enum s2sp_status status = load_text(pem);
	free(pem);
	return status;
}

#define assert_says(text)                                                                                                        \
	do {                                                                                                                         \
		if (strstr(message, (text)) == NULL)                                                                                     \
			fail_msg("message is: %s", message);                                                                                 \
	} while (0)

static void anchors_that_cannot_be_read(void **state) {
	(void)state;
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = "/nonexistent/ca.pem" }), S2SP_STATUS_INVALID);
	assert_says("/nonexistent/ca.pem: cannot be read (No such file");
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = "/tmp" }), S2SP_STATUS_INVALID);
	assert_says("/tmp: is not a file");
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = "/dev/zero" }), S2SP_STATUS_INVALID);
	assert_int_equal(load_text(""), S2SP_STATUS_INVALID);
	assert_says("holds no certificate");
	assert_int_equal(load_text("hello\n"), S2SP_STATUS_INVALID);
	assert_says("holds no certificate");
	assert_int_equal(load_text("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
					 S2SP_STATUS_INVALID);
	assert_says("only something else");
	const char *der = maker_file(root->der.bytes, root->der.length);
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = der }), S2SP_STATUS_INVALID);
	assert_says("PEM format");
}

static void anchors_that_are_damaged(void **state) {
	(void)state;
	char *pem = maker_pem((const struct made *const[]){ root, intermediate }, 2);
	char *second = strstr(pem + 10, "-----BEGIN");
	assert_non_null(second);
	second[50] = '!';
	assert_int_equal(load_text(pem), S2SP_STATUS_INVALID);
	assert_says("certificate 2 is damaged");
	second[100] = '\0';
	assert_int_equal(load_text(pem), S2SP_STATUS_INVALID);
	free(pem);
	assert_int_equal(load_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), S2SP_STATUS_INVALID);
	assert_says("certificate 1 is damaged");
}

static void anchors_that_are_no_good(void **state) {
	(void)state;
	assert_int_equal(load_made(&good, 1), S2SP_STATUS_INVALID);
	assert_says("certificate 1 (CN=leaf) is not a CA certificate");
	assert_int_equal(load_made((const struct made *const[]){ root, good }, 2), S2SP_STATUS_INVALID);
	assert_says("certificate 2 (CN=leaf) is not a CA certificate");
	const struct made *old =
		maker_make((struct recipe){ .subject = "Old root", .basic = "critical,CA:TRUE", .from = -50, .to = -1 });
	assert_int_equal(load_made(&old, 1), S2SP_STATUS_INVALID);
	assert_says("certificate 1 (CN=Old root) has expired");
	const struct made *early =
		maker_make((struct recipe){ .subject = "Early root", .basic = "critical,CA:TRUE", .from = 1, .to = 50 });
	assert_int_equal(load_made((const struct made *const[]){ early, old }, 2), S2SP_STATUS_INVALID);
	assert_says("(CN=Early root) is not valid yet");
	assert_says("none of its certificates is valid now");
	const struct made *weak =
		maker_make((struct recipe){ .subject = "Weak root", .basic = "critical,CA:TRUE", .key = MAKER_RSA_1024 });
	assert_int_equal(load_made(&weak, 1), S2SP_STATUS_INVALID);
	assert_says("certificate 1 (CN=Weak root) has a key that cannot be used or is too weak");
}

static void anchors_that_will_do(void **state) {
	(void)state;
	assert_int_equal(load_made(&root, 1), S2SP_STATUS_OK);
	assert_string_equal(message, "");
	assert_int_equal(s2sp_trust_store_count(loaded), 1);
	assert_int_equal(s2sp_trust_store_not_after(loaded), MAKER_NOW + 100 * MAKER_DAY);
	const struct made *old =
		maker_make((struct recipe){ .subject = "Old root", .basic = "critical,CA:TRUE", .from = -50, .to = -1 });
	assert_int_equal(load_made((const struct made *const[]){ old, root, other_root }, 3), S2SP_STATUS_OK);
	assert_says("certificate 1 (CN=Old root) has expired");
	assert_int_equal(s2sp_trust_store_count(loaded), 3);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	const struct made *version_1 = maker_make((struct recipe){ .subject = "Version 1 root", .version_1 = 1 });
	assert_int_equal(load_made(&version_1, 1), S2SP_STATUS_OK);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(maker_make((struct recipe){ .issuer = version_1, .names = NAME }))));
}

static void an_intermediate_as_the_anchor(void **state) {
	(void)state;
	assert_int_equal(load_made(&intermediate, 1), S2SP_STATUS_OK);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good)));
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate, root)));
	const struct made *sibling = maker_make((struct recipe){ .issuer = root, .names = NAME });
	assert_verdict(UNTRUSTED, judge_with(loaded, DOMAIN, CHAIN(sibling, root)));
}

static void a_self_signed_ca_as_its_own_anchor(void **state) {
	(void)state;
	const struct made *both =
		maker_make((struct recipe){ .subject = "fabrikam.com", .basic = "critical,CA:TRUE", .names = NAME });
	assert_int_equal(load_made(&both, 1), S2SP_STATUS_OK);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(both)));
	assert_verdict(UNTRUSTED, judge_with(loaded, DOMAIN, CHAIN(good, intermediate, root)));
}

static void the_hosts_own_store(void **state) {
	(void)state;
	char *pem = maker_pem(&root, 1);
	const char *file = maker_file(pem, strlen(pem));
	const char *empty = maker_file("", 0);
	free(pem);
	assert_int_equal(load((struct s2sp_trust_source){ .file = file }), S2SP_STATUS_OK);
	assert_int_equal(s2sp_trust_store_count(loaded), 1);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	assert_int_equal(load((struct s2sp_trust_source){ .file = file, .path = "/nonexistent" }), S2SP_STATUS_OK);
	assert_says("/nonexistent: is not a directory");
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	assert_int_equal(load((struct s2sp_trust_source){ .file = empty, .path = "/tmp" }), S2SP_STATUS_OK);
	assert_says("cannot be read as a bundle");
	assert_verdict(UNTRUSTED, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	assert_int_equal(load((struct s2sp_trust_source){ .file = empty, .path = "/nonexistent" }), S2SP_STATUS_INVALID);
	assert_int_equal(load((struct s2sp_trust_source){ .file = NULL }), S2SP_STATUS_OK); /* OpenSSL's default */
	s2sp_trust_store_free(loaded);
	loaded = NULL;
}

static void messages_are_cut(void **state) {
	(void)state;
	struct s2sp_trust_source source = { .anchors = "/nonexistent/ca.pem", .now = MAKER_NOW };
	struct s2sp_trust_store *none = NULL;
	for (size_t size = 1; size < 40; size++) {
		char *exact = malloc(size);
		assert_non_null(exact);
		assert_int_equal(s2sp_trust_store_new(&source, &none, exact, size), S2SP_STATUS_INVALID);
		assert_true(strlen(exact) < size);
		free(exact);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(anchors_that_cannot_be_read),   cmocka_unit_test(anchors_that_are_damaged),
		cmocka_unit_test(anchors_that_are_no_good),      cmocka_unit_test(anchors_that_will_do),
		cmocka_unit_test(an_intermediate_as_the_anchor), cmocka_unit_test(a_self_signed_ca_as_its_own_anchor),
		cmocka_unit_test(the_hosts_own_store),           cmocka_unit_test(messages_are_cut),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
