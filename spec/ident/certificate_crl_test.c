/* Revocation lists made here, good and bad: what each says of a chain, how files of them are read, and what huge ones cost. */
#define _POSIX_C_SOURCE 200809L

#include <unistd.h>

#include "crl_judging.h"

/* --- the table of cases --- */

enum { OF_LEAF = 1, OF_INTERMEDIATE = 2, OF_BOTH = 3 };

struct row {
	const char *name;
	struct crl_recipe crl; /* beside it there is a good, empty list of the root, unless `alone` */
	bool alone;
	enum s2sp_certificate_verdict if_known, required;
	const char *cause; /* what the report says, with `required`; NULL: not asked */
};

static void check_row(const struct row *row, const struct made *const *chain) {
	struct s2sp_crl_file *files[2] = { read_bytes(maker_crl(row->crl), NULL),
									   read_bytes(maker_crl((struct crl_recipe){ .issuer = root }), NULL) };
	assert_non_null(files[0]);
	const struct s2sp_crl_file *const *list = (const struct s2sp_crl_file *const *)files;
	size_t count = row->alone ? 1 : 2;
	for (int again = 0; again < 2; again++) { /* the second time by what is remembered of signatures */
		enum s2sp_certificate_verdict off = judge_files(chain, 2, OFF, list, count);
		enum s2sp_certificate_verdict if_known = judge_files(chain, 2, IF_KNOWN, list, count);
		bool told = report.uncovered != NULL;
		enum s2sp_certificate_verdict required = judge_files(chain, 2, REQUIRED, list, count);
		if (off != VALID || if_known != row->if_known || required != row->required)
			fail_msg("%s: off %s, if_known %s, required %s (%s)", row->name, s2sp_certificate_verdict_token(off),
					 s2sp_certificate_verdict_token(if_known), s2sp_certificate_verdict_token(required), report.cause);
		if (row->cause != NULL && strstr(report.cause, row->cause) == NULL)
			fail_msg("%s: \"%s\" does not say \"%s\"", row->name, report.cause, row->cause);
		assert_true(told == (required == UNKNOWN) || if_known == REVOKED);
	}
	s2sp_crl_file_free(files[0]);
	s2sp_crl_file_free(files[1]);
}

static void test_cases(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	const struct row rows[] = {
		{ "the leaf is revoked",
		  { .issuer = intermediate, .revoked = { leaf } },
		  false,
		  REVOKED,
		  REVOKED,
		  "its issuer has revoked it" },
		{ "with a reason",
		  { .issuer = intermediate, .revoked = { leaf }, .reason = CRL_REASON_KEY_COMPROMISE },
		  false,
		  REVOKED,
		  REVOKED,
		  NULL },
		{ "on hold",
		  { .issuer = intermediate, .revoked = { leaf }, .reason = CRL_REASON_CERTIFICATE_HOLD },
		  false,
		  REVOKED,
		  REVOKED,
		  NULL },
		{ "the intermediate is revoked", { .issuer = root, .revoked = { intermediate } }, false, REVOKED, REVOKED, NULL },
		{ "nobody is revoked", { .issuer = intermediate }, false, VALID, VALID, NULL },
		{ "another one is revoked", { .issuer = intermediate, .revoked = { intermediate, root } }, false, VALID, VALID, NULL },
		{ "among many", { .issuer = intermediate, .revoked = { leaf }, .more = 25000 }, false, REVOKED, REVOKED, NULL },
		{ "not among many", { .issuer = intermediate, .more = 25000 }, false, VALID, VALID, NULL },
		{ "no list of the leaf's issuer", { .issuer = root }, false, VALID, UNKNOWN, "there is no revocation list" },
		{ "no list of the intermediate's issuer",
		  { .issuer = intermediate },
		  true,
		  VALID,
		  UNKNOWN,
		  "there is no revocation list" },
		{ "revoked, and no list for the one above",
		  { .issuer = intermediate, .revoked = { leaf } },
		  true,
		  REVOKED,
		  REVOKED,
		  NULL },
		{ "of another issuer",
		  { .issuer = other_root, .revoked = { leaf } },
		  false,
		  VALID,
		  UNKNOWN,
		  "there is no revocation list" },
		{ "signed by somebody else",
		  { .issuer = intermediate, .signer = other_root, .revoked = { leaf } },
		  false,
		  VALID,
		  UNKNOWN,
		  "not signed by" },
		{ "of one of the same name", { .issuer = same_name, .revoked = { leaf } }, false, VALID, UNKNOWN, "not signed by" },
		{ "expired",
		  { .issuer = intermediate, .revoked = { leaf }, .from = -9, .to = -1 },
		  false,
		  VALID,
		  UNKNOWN,
		  "has expired" },
		{ "not valid yet",
		  { .issuer = intermediate, .revoked = { leaf }, .from = 1, .to = 9 },
		  false,
		  VALID,
		  UNKNOWN,
		  "not valid yet" },
		{ "without an end",
		  { .issuer = intermediate, .no_next_update = true },
		  false,
		  VALID,
		  UNKNOWN,
		  "when there will be another" },
		{ "without an end, revoked",
		  { .issuer = intermediate, .revoked = { leaf }, .no_next_update = true },
		  false,
		  REVOKED,
		  REVOKED,
		  NULL },
		{ "a delta", { .issuer = intermediate, .delta = true }, false, VALID, UNKNOWN, "only a delta" },
		{ "a delta that revokes", { .issuer = intermediate, .revoked = { leaf }, .delta = true }, false, REVOKED, REVOKED, NULL },
		{ "a delta that takes back",
		  { .issuer = intermediate, .revoked = { leaf }, .delta = true, .reason = CRL_REASON_REMOVE_FROM_CRL },
		  false,
		  VALID,
		  UNKNOWN,
		  "only a delta" },
		{ "indirect",
		  { .issuer = intermediate, .revoked = { leaf }, .scope = "critical,indirectCRL:TRUE" },
		  false,
		  VALID,
		  UNKNOWN,
		  "indirect" },
		{ "an entry of another authority",
		  { .issuer = intermediate, .revoked = { leaf }, .certificate_issuer = true },
		  false,
		  VALID,
		  UNKNOWN,
		  "indirect" },
		{ "users only", { .issuer = intermediate, .scope = "critical,onlyuser:TRUE" }, false, VALID, VALID, NULL },
		{ "authorities only", { .issuer = intermediate, .scope = "critical,onlyCA:TRUE" }, false, VALID, UNKNOWN, "partial" },
		{ "authorities only, revoked",
		  { .issuer = intermediate, .revoked = { leaf }, .scope = "critical,onlyCA:TRUE" },
		  false,
		  REVOKED,
		  REVOKED,
		  NULL },
		{ "attributes only", { .issuer = intermediate, .scope = "critical,onlyAA:TRUE" }, false, VALID, UNKNOWN, "attribute" },
		{ "some reasons",
		  { .issuer = intermediate, .scope = "critical,onlysomereasons:keyCompromise" },
		  false,
		  VALID,
		  UNKNOWN,
		  "partial" },
		{ "some reasons, revoked",
		  { .issuer = intermediate, .revoked = { leaf }, .scope = "critical,onlysomereasons:keyCompromise" },
		  false,
		  REVOKED,
		  REVOKED,
		  NULL },
		{ "its distribution point", { .issuer = intermediate, .scope = "critical,fullname:" POINT }, false, VALID, VALID, NULL },
		{ "another distribution point",
		  { .issuer = intermediate, .scope = "critical,fullname:URI:http://crl.test/2.crl" },
		  false,
		  VALID,
		  UNKNOWN,
		  "partial" },
		{ "a critical extension nobody knows",
		  { .issuer = intermediate, .revoked = { leaf }, .unknown_critical = true },
		  false,
		  VALID,
		  UNKNOWN,
		  "critical extension" },
		{ "one in an entry",
		  { .issuer = intermediate, .revoked = { leaf }, .unknown_critical_entry = true },
		  false,
		  VALID,
		  UNKNOWN,
		  "critical extension" },
		{ "of version 1", { .issuer = intermediate, .revoked = { leaf }, .version_1 = true }, false, REVOKED, REVOKED, NULL },
		{ "signed with SHA-1",
		  { .issuer = intermediate, .revoked = { leaf }, .digest = "SHA1" },
		  false,
		  VALID,
		  UNKNOWN,
		  "too weak" },
		{ "signed with SHA-512",
		  { .issuer = intermediate, .revoked = { leaf }, .digest = "SHA512" },
		  false,
		  REVOKED,
		  REVOKED,
		  NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i], chain);
}

static void test_key_usage(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf_without, no_crl_sign };
	check_row(&(struct row){ "the issuer may not sign lists",
							 { .issuer = no_crl_sign, .revoked = { leaf_without } },
							 false,
							 VALID,
							 UNKNOWN,
							 "key usage of its issuer" },
			  chain);
}

static void test_pss(void **state) {
	(void)state;
	const struct made *const chain[] = { rsa_leaf, rsa_root };
	check_row(&(struct row){ "RSA", { .issuer = rsa_root, .revoked = { rsa_leaf } }, true, REVOKED, REVOKED, NULL }, chain);
	check_row(
		&(struct row){ "RSA-PSS", { .issuer = rsa_root, .revoked = { rsa_leaf }, .pss = true }, true, REVOKED, REVOKED, NULL },
		chain);
	check_row(&(struct row){ "RSA-PSS of SHA-1",
							 { .issuer = rsa_root, .revoked = { rsa_leaf }, .pss = true, .digest = "SHA1" },
							 true,
							 VALID,
							 UNKNOWN,
							 "too weak" },
			  chain);
}

/* What is wrong with the path comes before, what is wrong with the name after. */
static void test_precedence(void **state) {
	(void)state;
	const struct made *expired = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .from = -9, .to = -1 });
	const struct made *other_name = maker_make((struct recipe){ .issuer = intermediate, .names = "DNS:contoso.com" });
	const struct made *stranger = maker_make((struct recipe){ .issuer = other_root, .names = NAME });
	struct s2sp_crl_file *file =
		read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { expired, other_name } }), NULL);
	const struct s2sp_crl_file *const files[] = { file };
	const struct {
		const struct made *certificate;
		size_t files;
		enum s2sp_certificate_verdict verdict;
	} rows[] = {
		{ stranger, 1, S2SP_CERTIFICATE_UNTRUSTED },
		{ expired, 1, S2SP_CERTIFICATE_EXPIRED },
		{ other_name, 1, REVOKED },
		{ other_name, 0, UNKNOWN },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct made *const chain[] = { rows[i].certificate, intermediate };
		assert_int_equal(judge_files(chain, 2, REQUIRED, files, rows[i].files), rows[i].verdict);
	}
	s2sp_crl_file_free(file);
}

/* The anchor itself is nobody's to revoke; a chain of nothing else needs no list. */
static void test_anchor(void **state) {
	(void)state;
	const struct made *only = maker_make((struct recipe){ .subject = "only", .basic = "critical,CA:TRUE", .names = NAME });
	struct s2sp_trust_store *own = NULL;
	char *pem = maker_pem(&only, 1);
	struct s2sp_trust_source source = { .anchors = maker_file(pem, strlen(pem)), .now = MAKER_NOW };
	assert_int_equal(s2sp_trust_store_new(&source, &own, message, sizeof(message)), S2SP_STATUS_OK);
	free(pem);
	struct s2sp_crl_file *file = read_bytes(maker_crl((struct crl_recipe){ .issuer = only, .revoked = { only } }), NULL);
	const struct s2sp_crl_file *const files[] = { file };
	struct s2sp_certificate_question question = { .chain = &only->der,
												  .chain_length = 1,
												  .store = own,
												  .domain = DOMAIN,
												  .now = MAKER_NOW,
												  .revocation = S2SP_REVOCATION_REQUIRED,
												  .crls = files,
												  .crl_count = 1 };
	assert_int_equal(s2sp_certificate_judge(&question, NULL), VALID);
	s2sp_crl_file_free(file);
	s2sp_trust_store_free(own);
}

/* Any good list that revokes counts, whatever stands beside it; a bad one hides no good one. */
static void test_several(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	struct s2sp_crl_file *good = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate }), NULL);
	struct s2sp_crl_file *revoking =
		read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .from = -5, .to = 1 }), NULL);
	struct s2sp_crl_file *forged =
		read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .signer = other_root, .revoked = { leaf } }), NULL);
	struct s2sp_crl_file *above = read_bytes(maker_crl((struct crl_recipe){ .issuer = root }), NULL);
	const struct s2sp_crl_file *const with_forged[] = { forged, good, above, forged };
	const struct s2sp_crl_file *const with_revoking[] = { good, revoking, above };
	assert_int_equal(judge_files(chain, 2, REQUIRED, with_forged, 4), VALID);
	assert_int_equal(judge_files(chain, 2, REQUIRED, with_revoking, 3), REVOKED);
	s2sp_crl_file_free(good);
	s2sp_crl_file_free(revoking);
	s2sp_crl_file_free(forged);
	s2sp_crl_file_free(above);
}

/* A verdict holds until a list that was asked ends, or one begins. */
static void test_until(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	struct s2sp_crl_file *now = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .from = -1, .to = 5 }), NULL);
	struct s2sp_crl_file *later = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .from = 3, .to = 9 }), NULL);
	struct s2sp_crl_file *above = read_bytes(maker_crl((struct crl_recipe){ .issuer = root, .from = -1, .to = 4 }), NULL);
	const struct s2sp_crl_file *const files[] = { now, above, later };
	judge_files(chain, 2, IF_KNOWN, files, 0);
	assert_int_equal(report.revocation_until, 0);
	judge_files(chain, 2, IF_KNOWN, files, 1);
	assert_int_equal(report.revocation_until, MAKER_NOW + 5 * MAKER_DAY);
	judge_files(chain, 2, IF_KNOWN, files, 2);
	assert_int_equal(report.revocation_until, MAKER_NOW + 4 * MAKER_DAY);
	judge_files(chain, 2, IF_KNOWN, files, 3);
	assert_int_equal(report.revocation_until, MAKER_NOW + 3 * MAKER_DAY);
	s2sp_crl_file_free(now);
	s2sp_crl_file_free(later);
	s2sp_crl_file_free(above);
}

static void test_serial_numbers(void **state) {
	(void)state;
	static const char *const serials[] = { "00",
										   "7F",
										   "80",
										   "FF",
										   "0100",
										   "8000000000000000",
										   "-01",
										   "-80",
										   "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
										   "7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF" };
	enum { COUNT = sizeof(serials) / sizeof(serials[0]) };
	const struct made *made[COUNT];
	for (size_t i = 0; i < COUNT; i++)
		made[i] = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .serial = serials[i] });
	for (size_t i = 0; i < COUNT; i++) {
		struct s2sp_crl_file *file =
			read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { made[i] }, .more = 10 }), NULL);
		const struct s2sp_crl_file *const files[] = { file };
		for (size_t j = 0; j < COUNT; j++) {
			const struct made *const chain[] = { made[j], intermediate };
			assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 1), i == j ? REVOKED : VALID);
			judge_files(chain, 2, OFF, NULL, 0);
			bool mentioned = s2sp_crl_file_mentions(file, (struct s2sp_text){ (const char *)report.links, report.link_bytes });
			assert_true(mentioned || i != j);
			assert_true(!mentioned || i == j || j == COUNT - 1); /* one that is too long may be any */
		}
		s2sp_crl_file_free(file);
	}
}

/* --- files --- */

static void test_forms(void **state) {
	(void)state;
	struct s2sp_text one = maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf } });
	struct s2sp_text two = maker_crl((struct crl_recipe){ .issuer = root, .more = 3 });
	char *pem_one = maker_crl_pem(one), *pem_two = maker_crl_pem(two), *certificates = maker_pem(&root, 1);
	char text[8192], der[4096];
	snprintf(text, sizeof(text), "Issued by us\n%s%s\n%s", pem_one, certificates, pem_two);
	struct s2sp_crl_file *file = read_bytes(s2sp_text_from(text), NULL);
	assert_int_equal(s2sp_crl_file_lists(file), 2);
	assert_int_equal(s2sp_crl_file_entries(file), 4);
	assert_true(s2sp_crl_file_size(file) > one.length + two.length);
	assert_string_equal(message, "");
	s2sp_crl_file_free(file);
	memcpy(der, one.bytes, one.length);
	memcpy(der + one.length, two.bytes, two.length);
	file = read_bytes((struct s2sp_text){ der, one.length + two.length }, NULL);
	assert_int_equal(s2sp_crl_file_lists(file), 2);
	s2sp_crl_file_free(file);

	refuses(s2sp_text_from(""), "holds no revocation list");
	refuses(s2sp_text_from(certificates), "holds no revocation list");
	refuses(root->der, "list 1 is damaged");
	refuses((struct s2sp_text){ der, one.length + two.length - 1 }, "list 2 is damaged");
	der[one.length + two.length] = '\n';
	refuses((struct s2sp_text){ der, one.length + two.length + 1 }, "list 3 is damaged");
	refuses(S2SP_TEXT("-----BEGIN X509 CRL----------END X509 CRL-----"), "list 1 is damaged");
	refuses(S2SP_TEXT("-----BEGIN X509 CRL-----\n-----END X509 CRL-----"), "list 1 is damaged");
	refuses(S2SP_TEXT("-----BEGIN X509 CRL-----\nMIIB\n"), "list 1 is damaged");
	refuses(S2SP_TEXT("-----BEGIN X509 CRL-----\n!!!!\n-----END X509 CRL-----\n"), "list 1 is damaged");
	for (size_t length = 1; length < one.length; length += 3)
		refuses((struct s2sp_text){ one.bytes, length }, "list 1 is damaged");
	free(pem_one);
	free(pem_two);
	free(certificates);
}

/* Each byte changed in turn: it is refused, or says nothing. */
static void test_changed_bytes(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	struct s2sp_text good = maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .reason = 1 });
	char *copy = malloc(good.length);
	assert_non_null(copy);
	size_t read = 0;
	for (size_t i = 0; i < good.length; i++) {
		memcpy(copy, good.bytes, good.length);
		copy[i] = (char)(copy[i] ^ 0x01);
		struct s2sp_crl_file *file = read_bytes((struct s2sp_text){ copy, good.length }, NULL);
		const struct s2sp_crl_file *const files[] = { file };
		if (file == NULL)
			continue;
		read++;
		if (judge_files(chain, 2, IF_KNOWN, files, 1) != VALID)
			fail_msg("byte %zu of %zu", i, good.length);
		s2sp_crl_file_free(file);
	}
	assert_true(read > 50);
	free(copy);
}

static void test_messages(void **state) {
	(void)state;
	struct s2sp_crl_reader *reader = NULL;
	assert_int_equal(s2sp_crl_reader_new("/nonexistent/x.crl", &reader, message, sizeof(message)), S2SP_STATUS_INVALID);
	assert_null(reader);
	assert_non_null(strstr(message, "/nonexistent/x.crl: cannot be read (No such file"));
	assert_int_equal(s2sp_crl_reader_new("/tmp", &reader, message, sizeof(message)), S2SP_STATUS_INVALID);
	assert_non_null(strstr(message, "is not a file; name a file of revocation lists"));
	const char *path = maker_file("", 0);
	assert_int_equal(truncate(path, (off_t)S2SP_CRL_FILE_SIZE_MAX + 1), 0);
	assert_int_equal(s2sp_crl_reader_new(path, &reader, message, sizeof(message)), S2SP_STATUS_INVALID);
	assert_non_null(strstr(message, "is larger than 64 MiB"));
	struct s2sp_crl_file *file =
		read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .scope = "critical,indirectCRL:TRUE" }), NULL);
	assert_non_null(strstr(message, "x.crl: revocation list 1 (of CN=Test intermediate) counts for nothing:"));
	int64_t this_update = 0, next_update = 0;
	assert_true(s2sp_crl_file_next_update(file, &this_update, &next_update));
	assert_int_equal(this_update, MAKER_NOW - MAKER_DAY);
	assert_int_equal(next_update, MAKER_NOW + 7 * MAKER_DAY);
	s2sp_crl_file_free(file);
	file = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .no_next_update = true }), NULL);
	assert_false(s2sp_crl_file_next_update(file, &this_update, &next_update));
	s2sp_crl_file_free(file);
	s2sp_crl_file_free(NULL);
	s2sp_crl_reader_free(NULL);
}

static void test_too_many(void **state) {
	(void)state;
	char *pem = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate }));
	size_t length = strlen(pem);
	char *text = malloc(length * (S2SP_CRL_LISTS_MAX + 1));
	assert_non_null(text);
	for (size_t i = 0; i <= S2SP_CRL_LISTS_MAX; i++)
		memcpy(text + i * length, pem, length);
	refuses((struct s2sp_text){ text, length * (S2SP_CRL_LISTS_MAX + 1) }, "the last of 1000");
	struct s2sp_crl_file *file = read_bytes((struct s2sp_text){ text, length * S2SP_CRL_LISTS_MAX }, NULL);
	assert_int_equal(s2sp_crl_file_lists(file), S2SP_CRL_LISTS_MAX);
	s2sp_crl_file_free(file);
	free(text);
	free(pem);
}

/* A hundred thousand entries: read in steps, in bounded memory, and looked up without a pass over them. */
static void test_huge(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	struct s2sp_text der =
		maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .more = 100000, .reason = 1 });
	char *pem = maker_crl_pem(der);
	size_t steps = 0;
	struct s2sp_crl_file *file = read_bytes(s2sp_text_from(pem), &steps);
	assert_int_equal(s2sp_crl_file_entries(file), 100001);
	assert_true(steps > 15);
	assert_true(s2sp_crl_file_size(file) < 12 * 1024 * 1024);
	const struct s2sp_crl_file *const files[] = { file };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 1), REVOKED);
	s2sp_crl_file_free(file);
	free(pem);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),         cmocka_unit_test(test_key_usage),      cmocka_unit_test(test_pss),
		cmocka_unit_test(test_precedence),    cmocka_unit_test(test_anchor),         cmocka_unit_test(test_several),
		cmocka_unit_test(test_until),         cmocka_unit_test(test_serial_numbers), cmocka_unit_test(test_forms),
		cmocka_unit_test(test_changed_bytes), cmocka_unit_test(test_messages),       cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_huge),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
