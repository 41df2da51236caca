/* What is no certificate or far too large a one, and what comes of it when memory runs out. */
#include "certificate_judging.h"

/* --- malformed --- */

static enum s2sp_certificate_verdict judge_bytes(const char *bytes, size_t length, size_t count) {
	struct s2sp_text chain[64];
	for (size_t i = 0; i < count; i++)
		chain[i] = i == 0 ? (struct s2sp_text){ bytes, length } : intermediate->der;
	return ask((struct s2sp_certificate_question){ .chain = chain, .chain_length = count, .store = store });
}

static void what_is_no_certificate(void **state) {
	(void)state;
	assert_verdict(MALFORMED, judge_bytes("", 0, 1));
	assert_verdict(MALFORMED, judge_bytes(NULL, 0, 1));
	assert_verdict(MALFORMED, judge_bytes("-----BEGIN CERTIFICATE-----", 27, 1));
	assert_verdict(MALFORMED, judge_bytes("\x30\x80", 2, 1));
	assert_verdict(MALFORMED, judge_bytes("\x30\x84\xff\xff\xff\xff", 6, 2));
	char *copy = malloc(good->der.length + 1);
	assert_non_null(copy);
	memcpy(copy, good->der.bytes, good->der.length);
	copy[good->der.length] = 0;
	assert_verdict(VALID, judge_bytes(copy, good->der.length, 2));
	assert_verdict(MALFORMED, judge_bytes(copy, good->der.length + 1, 2));
	assert_verdict(MALFORMED, judge_bytes(copy, good->der.length - 1, 2));
	free(copy);
	/* Not only the leaf. */
	struct s2sp_text chain[] = { good->der, intermediate->der, S2SP_TEXT("garbage") };
	assert_verdict(MALFORMED, ask((struct s2sp_certificate_question){ .chain = chain, .chain_length = 3, .store = store }));
	assert_int_equal(report.fault_depth, 2);
	assert_string_equal(report.subject, "CN=leaf");
}

static void deep_nesting(void **state) {
	(void)state;
	size_t size = 60000;
	char *nest = malloc(size);
	assert_non_null(nest);
	for (size_t i = 0; i < size; i += 2) {
		nest[i] = 0x30;
		nest[i + 1] = (char)0x80;
	}
	assert_verdict(MALFORMED, judge_bytes(nest, size, 1));
	const struct made *leaf = maker_make((struct recipe){ .issuer = root, .names_der = { nest, size } });
	assert_verdict(MALFORMED, JUDGE(leaf));
	free(nest);
}

static void too_much_of_everything(void **state) {
	(void)state;
	const struct made *chain[64];
	for (size_t i = 0; i < 64; i++)
		chain[i] = i == 0 ? good : intermediate;
	assert_verdict(VALID, judge_with(store, DOMAIN, chain, S2SP_CHAIN_LENGTH_MAX));
	assert_verdict(MALFORMED, judge_with(store, DOMAIN, chain, S2SP_CHAIN_LENGTH_MAX + 1));
	assert_verdict(MALFORMED, judge_with(store, DOMAIN, chain, 64));
	size_t size = S2SP_CERTIFICATE_SIZE_MAX + 1;
	char *huge = calloc(1, size);
	assert_non_null(huge);
	assert_verdict(MALFORMED, judge_bytes(huge, size, 1));
	struct s2sp_text blobs[] = { good->der, { huge, size - 1 }, { huge, size - 1 }, { huge, size - 1 } };
	assert_verdict(MALFORMED, ask((struct s2sp_certificate_question){ .chain = blobs, .chain_length = 4, .store = store }));
	assert_string_equal(report.cause, "the certificates are larger than 256 KiB"); /* found before they are read */
	blobs[0].length = SIZE_MAX;                                                    /* is not read */
	assert_verdict(MALFORMED, ask((struct s2sp_certificate_question){ .chain = blobs, .chain_length = 4, .store = store }));
	free(huge);
}

static void damaged_extensions(void **state) {
	(void)state;
	assert_verdict(MALFORMED, JUDGE(LEAF(.names_twice = 1), intermediate));
	assert_verdict(MALFORMED, JUDGE(LEAF(.names_der = S2SP_TEXT("garbage")), intermediate));
	assert_verdict(MALFORMED, JUDGE(LEAF(.names_der = S2SP_TEXT("\x30\x03\x82\x09x")), intermediate));
	/* Malformed outranks untrusted. */
	assert_verdict(MALFORMED, JUDGE(maker_make((struct recipe){ .names_der = S2SP_TEXT("garbage") })));
	/* Not only in the names, and not only in the leaf. */
	assert_verdict(MALFORMED, JUDGE(LEAF(.usage = "DER:30:00"), intermediate));
	const struct made *issuer = maker_make((struct recipe){ .subject = "Damaged", .issuer = root, .basic = "DER:01:01:FF" });
	assert_verdict(MALFORMED, JUDGE(maker_make((struct recipe){ .issuer = issuer, .names = NAME }), issuer));
	assert_int_equal(report.fault_depth, 1);
	/* An empty list is not allowed (SIZE (1..MAX)), but says nothing. */
	assert_verdict(IDENTITY_MISMATCH, JUDGE(LEAF(.names_der = S2SP_TEXT("\x30\x00")), intermediate));
}

static GENERAL_NAMES *many_names(size_t count) {
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	for (size_t i = 0; i + 1 < count; i++) {
		char name[32];
		int length = snprintf(name, sizeof(name), "n%zu.t", i);
		maker_add_name(names, GEN_DNS, (struct s2sp_text){ name, (size_t)length });
	}
	maker_add_name(names, GEN_DNS, DOMAIN);
	return names;
}

static void many_subject_names(void **state) {
	(void)state;
	assert_verdict(VALID, judge_list(many_names(S2SP_SUBJECT_NAMES_MAX), DOMAIN));
	assert_int_equal(report.name_count, S2SP_SUBJECT_NAMES_MAX);
	assert_int_equal(report.names_kept, S2SP_REPORT_NAMES);
	assert_string_equal(report.names[S2SP_REPORT_NAMES - 1].text, "fabrikam.com");
	assert_int_equal(report.names[S2SP_REPORT_NAMES - 1].finding, S2SP_IDENTITY_MATCH);
	assert_verdict(MALFORMED, judge_list(many_names(S2SP_SUBJECT_NAMES_MAX + 1), DOMAIN));
	clock_t before = clock();
	assert_verdict(MALFORMED, judge_list(many_names(10000), DOMAIN));
	/* Made, signed and judged twice; a second would be far too long even under a sanitizer. */
	assert_true(clock() - before < 2 * CLOCKS_PER_SEC);
}

static size_t conversions;

static enum s2sp_domain_fault counting_to_ascii(struct s2sp_text name, struct s2sp_domain *domain) {
	conversions++;
	return s2sp_idna_to_ascii(name, domain);
}

/* b\u00fccherN.test, and one that is xn--bcher-kva.test. */
static const struct made *many_foreign_names(const struct made *issuer, size_t before, size_t after) {
	static const char own[] = "b\xc3\xbc"
							  "cher.test";
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	for (size_t i = 0; i < before + after + 1; i++) {
		char name[48];
		int length = i == before ? snprintf(name, sizeof(name), "%s", own)
								 : snprintf(name, sizeof(name),
											"b\xc3\xbc"
											"cher%zu.test",
											i);
		maker_add_other(names, NID_XmppAddr, V_ASN1_UTF8STRING, (struct s2sp_text){ name, (size_t)length });
	}
	const struct made *leaf = maker_make((struct recipe){ .issuer = issuer, .name_list = names });
	GENERAL_NAMES_free(names);
	return leaf;
}

static enum s2sp_certificate_verdict judge_counting(const struct made *leaf) {
	struct s2sp_text chain[2] = { leaf->der, intermediate->der };
	struct s2sp_certificate_question question = { .chain = chain,
												  .chain_length = 2,
												  .store = store,
												  .now = MAKER_NOW,
												  .domain = S2SP_TEXT("xn--bcher-kva.test"),
												  .to_ascii = counting_to_ascii };
	conversions = 0;
	return s2sp_certificate_judge(&question, &report);
}

/* To convert a name costs far more than to read it, and anybody can make a certificate. */
static void names_are_converted_only_for_a_chain(void **state) {
	(void)state;
	assert_verdict(UNTRUSTED, judge_counting(many_foreign_names(NULL, 1000, 900)));
	assert_int_equal(conversions, 0);
	assert_int_equal(report.name_count, 1901);
	assert_int_equal(report.names[0].finding, S2SP_IDENTITY_UNKNOWN);
	assert_verdict(VALID, judge_counting(many_foreign_names(intermediate, S2SP_CONVERTED_NAMES_MAX - 1, 900)));
	assert_int_equal(conversions, S2SP_CONVERTED_NAMES_MAX);
	assert_verdict(IDENTITY_MISMATCH, judge_counting(many_foreign_names(intermediate, S2SP_CONVERTED_NAMES_MAX, 900)));
	assert_int_equal(conversions, S2SP_CONVERTED_NAMES_MAX);
}

static void long_names_in_the_report(void **state) {
	(void)state;
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	char name[1200];
	memset(name, 0xff, sizeof(name));
	for (int i = 0; i < 50; i++)
		maker_add_name(names, GEN_DNS, (struct s2sp_text){ name, sizeof(name) });
	maker_add_name(names, GEN_DNS, DOMAIN);
	assert_verdict(VALID, judge_list(names, DOMAIN));
	assert_int_equal(report.name_count, 51);
	assert_true(report.bytes_used <= sizeof(report.bytes));
	assert_string_equal(report.names[report.names_kept - 1].text, "fabrikam.com");
}

/* --- memory --- */

/* OpenSSL's allocations pass through here: the one numbered `fail_at` fails, and with `fail_on` all after it. */
static long allocations, fail_at = -1;
static bool fail_on;

static bool fails(void) {
	long number = allocations++;
	return fail_at >= 0 && (number == fail_at || (fail_on && number > fail_at));
}

static void *failing_malloc(size_t size, const char *file, int line) {
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(size);
}

static void *failing_realloc(void *block, size_t size, const char *file, int line) {
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(block, size);
}

static void plain_free(void *block, const char *file, int line) {
	(void)file;
	(void)line;
	free(block);
}

/*
 * With allocations failing in turn, a bad certificate stays bad and nothing leaks. One in seven, from another start in each
 * call; all of them with S2SP_EVERY_ALLOCATION in the environment (a minute under a sanitizer).
 */
static void starve(const struct made *leaf, const struct made *issuer, struct s2sp_text domain, const struct s2sp_pin *pin,
				   bool good_one) {
	struct s2sp_text chain[] = { leaf->der, issuer->der };
	struct s2sp_certificate_question question = { .chain = chain,
												  .chain_length = 2,
												  .store = store,
												  .domain = domain,
												  .pins = pin,
												  .pin_count = pin != NULL,
												  .now = MAKER_NOW,
												  .to_ascii = s2sp_idna_to_ascii };
	static long start;
	long stride = getenv("S2SP_EVERY_ALLOCATION") != NULL ? 1 : 7;
	bool reached = true;
	for (long n = start++ % stride; reached; n += stride) {
		for (int on = 0; on < (n % 16 == 0 ? 2 : 1); on++) {
			allocations = 0;
			fail_on = on;
			fail_at = n;
			enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &report);
			fail_at = -1;
			reached = allocations > n;
			if (good_one ? !reached && verdict != VALID : verdict == VALID)
				fail_msg("allocation %ld of %ld failed, and the verdict is %s", n, allocations,
						 s2sp_certificate_verdict_token(verdict));
			assert_int_equal(ERR_peek_error(), 0);
		}
	}
}

static void without_memory_nothing_bad_is_valid(void **state) {
	(void)state;
	struct s2sp_pin pin = { { 1 } };
	starve(good, intermediate, DOMAIN, NULL, true);
	starve(good, intermediate, DOMAIN, &pin, false);
	starve(LEAF(.key = MAKER_EC_EXPLICIT), intermediate, DOMAIN, NULL, false);
	const struct made *issuer = constrained("critical,permitted;DNS:contoso.com");
	starve(maker_make((struct recipe){ .issuer = issuer, .names = SRV("fabrikam.com") }), issuer, DOMAIN, NULL, false);
}

static void without_memory_no_store(void **state) {
	(void)state;
	char text[512];
	char *pem = maker_pem(&root, 1);
	const char *file = maker_file(pem, strlen(pem));
	free(pem);
	for (int host = 0; host < 2; host++) {
		struct s2sp_trust_source source = { .anchors = host ? NULL : file, .file = host ? file : NULL, .now = MAKER_NOW };
		bool reached = true;
		for (long n = 0; reached; n++) {
			struct s2sp_trust_store *made = NULL;
			allocations = 0;
			fail_on = true;
			fail_at = n;
			enum s2sp_status status = s2sp_trust_store_new(&source, &made, text, sizeof(text));
			fail_at = -1;
			reached = allocations > n;
			assert_true((status == S2SP_STATUS_OK) == (made != NULL));
			if (!reached)
				assert_int_equal(status, S2SP_STATUS_OK);
			s2sp_trust_store_free(made);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_certificate),   cmocka_unit_test(deep_nesting),
		cmocka_unit_test(too_much_of_everything),   cmocka_unit_test(damaged_extensions),
		cmocka_unit_test(many_subject_names),       cmocka_unit_test(names_are_converted_only_for_a_chain),
		cmocka_unit_test(long_names_in_the_report), cmocka_unit_test(without_memory_nothing_bad_is_valid),
		cmocka_unit_test(without_memory_no_store),
	};
	if (CRYPTO_set_mem_functions(failing_malloc, failing_realloc, plain_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
