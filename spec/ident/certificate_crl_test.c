/* Revocation lists made here, good and bad: what each says of a chain, how files of them are read, and what huge ones cost. */
#define _POSIX_C_SOURCE 200809L

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "certificate.h"
#include "certificate_maker.h"
#include "idna.h"

#define DOMAIN S2SP_TEXT("fabrikam.com")
#define NAME "DNS:fabrikam.com"
#define POINT "URI:http://crl.test/1.crl"

enum { OFF = S2SP_REVOCATION_OFF, IF_KNOWN = S2SP_REVOCATION_IF_KNOWN, REQUIRED = S2SP_REVOCATION_REQUIRED };
#define VALID S2SP_CERTIFICATE_VALID
#define REVOKED S2SP_CERTIFICATE_REVOKED
#define UNKNOWN S2SP_CERTIFICATE_REVOCATION_UNKNOWN

static const struct made *root, *other_root, *intermediate, *no_crl_sign, *leaf, *leaf_without, *rsa_root, *rsa_leaf;
static const struct made *same_name;
static struct s2sp_trust_store *store;
static struct s2sp_certificate_report report;

static int set_up(void **state) {
	(void)state;
	root = maker_ca("Test root", NULL);
	other_root = maker_ca("Other root", NULL);
	rsa_root = maker_make((struct recipe){
		.subject = "RSA root", .key = MAKER_RSA_2048, .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign" });
	intermediate = maker_ca("Test intermediate", root);
	same_name = maker_ca("Test intermediate", root);
	no_crl_sign =
		maker_make((struct recipe){ .subject = "No lists", .issuer = root, .basic = "critical,CA:TRUE", .usage = "keyCertSign" });
	leaf = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .points = POINT });
	leaf_without = maker_make((struct recipe){ .issuer = no_crl_sign, .names = NAME });
	rsa_leaf = maker_make((struct recipe){ .issuer = rsa_root, .names = NAME });
	const struct made *anchors[] = { root, rsa_root };
	char message[512], *pem = maker_pem(anchors, 2);
	struct s2sp_trust_source source = { .anchors = maker_file(pem, strlen(pem)), .now = MAKER_NOW };
	assert_int_equal(s2sp_trust_store_new(&source, &store, message, sizeof(message)), S2SP_STATUS_OK);
	free(pem);
	return 0;
}

static int tear_down(void **state) {
	(void)state;
	s2sp_trust_store_free(store);
	maker_clean();
	return 0;
}

static char message[1024];

/* NULL when it is refused: the message says why. */
static struct s2sp_crl_file *read_bytes(struct s2sp_text bytes, size_t *steps) {
	struct s2sp_crl_reader *reader = NULL;
	struct s2sp_crl_file *file = NULL;
	/* In an exact block, so that a sanitizer sees a read past the end. */
	char *copy = malloc(bytes.length > 0 ? bytes.length : 1);
	assert_non_null(copy);
	if (bytes.length > 0)
		memcpy(copy, bytes.bytes, bytes.length);
	assert_int_equal(s2sp_crl_reader_from("x.crl", (struct s2sp_text){ copy, bytes.length }, &reader, message, sizeof(message)),
					 S2SP_STATUS_OK);
	free(copy);
	enum s2sp_status status = S2SP_STATUS_OK;
	while (status == S2SP_STATUS_OK && file == NULL) {
		ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE); /* what the host left in the queue must not count */
		status = s2sp_crl_reader_step(reader, &file, message, sizeof(message));
		assert_int_equal(ERR_peek_error(), 0);
		if (steps != NULL)
			++*steps;
	}
	assert_int_equal(status, file == NULL ? S2SP_STATUS_INVALID : S2SP_STATUS_OK);
	assert_true(file != NULL || message[0] != '\0');
	s2sp_crl_reader_free(reader);
	return file;
}

static enum s2sp_certificate_verdict judge_files(const struct made *const *chain, size_t count, int revocation,
												 const struct s2sp_crl_file *const *files, size_t file_count) {
	struct s2sp_text blobs[4];
	for (size_t i = 0; i < count; i++)
		blobs[i] = chain[i]->der;
	struct s2sp_certificate_question question = { .chain = blobs,
												  .chain_length = count,
												  .store = store,
												  .domain = DOMAIN,
												  .to_ascii = s2sp_idna_to_ascii,
												  .now = MAKER_NOW,
												  .revocation = (enum s2sp_revocation)revocation,
												  .crls = files,
												  .crl_count = file_count };
	enum s2sp_certificate_verdict silent = s2sp_certificate_judge(&question, NULL);
	enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &report);
	assert_int_equal(silent, verdict);
	assert_int_equal(ERR_peek_error(), 0);
	return verdict;
}

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
		{ "the leaf is revoked", { .issuer = intermediate, .revoked = { leaf } }, false, REVOKED, REVOKED, "its issuer has revoked it" },
		{ "with a reason", { .issuer = intermediate, .revoked = { leaf }, .reason = CRL_REASON_KEY_COMPROMISE }, false, REVOKED, REVOKED, NULL },
		{ "on hold", { .issuer = intermediate, .revoked = { leaf }, .reason = CRL_REASON_CERTIFICATE_HOLD }, false, REVOKED, REVOKED, NULL },
		{ "the intermediate is revoked", { .issuer = root, .revoked = { intermediate } }, false, REVOKED, REVOKED, NULL },
		{ "nobody is revoked", { .issuer = intermediate }, false, VALID, VALID, NULL },
		{ "another one is revoked", { .issuer = intermediate, .revoked = { intermediate, root } }, false, VALID, VALID, NULL },
		{ "among many", { .issuer = intermediate, .revoked = { leaf }, .more = 25000 }, false, REVOKED, REVOKED, NULL },
		{ "not among many", { .issuer = intermediate, .more = 25000 }, false, VALID, VALID, NULL },
		{ "no list of the leaf's issuer", { .issuer = root }, false, VALID, UNKNOWN, "there is no revocation list" },
		{ "no list of the intermediate's issuer", { .issuer = intermediate }, true, VALID, UNKNOWN, "there is no revocation list" },
		{ "revoked, and no list for the one above", { .issuer = intermediate, .revoked = { leaf } }, true, REVOKED, REVOKED, NULL },
		{ "of another issuer", { .issuer = other_root, .revoked = { leaf } }, false, VALID, UNKNOWN, "there is no revocation list" },
		{ "signed by somebody else", { .issuer = intermediate, .signer = other_root, .revoked = { leaf } }, false, VALID, UNKNOWN, "not signed by" },
		{ "of one of the same name", { .issuer = same_name, .revoked = { leaf } }, false, VALID, UNKNOWN, "not signed by" },
		{ "expired", { .issuer = intermediate, .revoked = { leaf }, .from = -9, .to = -1 }, false, VALID, UNKNOWN, "has expired" },
		{ "not valid yet", { .issuer = intermediate, .revoked = { leaf }, .from = 1, .to = 9 }, false, VALID, UNKNOWN, "not valid yet" },
		{ "without an end", { .issuer = intermediate, .no_next_update = true }, false, VALID, UNKNOWN, "when there will be another" },
		{ "without an end, revoked", { .issuer = intermediate, .revoked = { leaf }, .no_next_update = true }, false, REVOKED, REVOKED, NULL },
		{ "a delta", { .issuer = intermediate, .delta = true }, false, VALID, UNKNOWN, "only a delta" },
		{ "a delta that revokes", { .issuer = intermediate, .revoked = { leaf }, .delta = true }, false, REVOKED, REVOKED, NULL },
		{ "a delta that takes back", { .issuer = intermediate, .revoked = { leaf }, .delta = true, .reason = CRL_REASON_REMOVE_FROM_CRL }, false, VALID, UNKNOWN, "only a delta" },
		{ "indirect", { .issuer = intermediate, .revoked = { leaf }, .scope = "critical,indirectCRL:TRUE" }, false, VALID, UNKNOWN, "indirect" },
		{ "an entry of another authority", { .issuer = intermediate, .revoked = { leaf }, .certificate_issuer = true }, false, VALID, UNKNOWN, "indirect" },
		{ "users only", { .issuer = intermediate, .scope = "critical,onlyuser:TRUE" }, false, VALID, VALID, NULL },
		{ "authorities only", { .issuer = intermediate, .scope = "critical,onlyCA:TRUE" }, false, VALID, UNKNOWN, "partial" },
		{ "authorities only, revoked", { .issuer = intermediate, .revoked = { leaf }, .scope = "critical,onlyCA:TRUE" }, false, REVOKED, REVOKED, NULL },
		{ "attributes only", { .issuer = intermediate, .scope = "critical,onlyAA:TRUE" }, false, VALID, UNKNOWN, "attribute" },
		{ "some reasons", { .issuer = intermediate, .scope = "critical,onlysomereasons:keyCompromise" }, false, VALID, UNKNOWN, "partial" },
		{ "some reasons, revoked", { .issuer = intermediate, .revoked = { leaf }, .scope = "critical,onlysomereasons:keyCompromise" }, false, REVOKED, REVOKED, NULL },
		{ "its distribution point", { .issuer = intermediate, .scope = "critical,fullname:" POINT }, false, VALID, VALID, NULL },
		{ "another distribution point", { .issuer = intermediate, .scope = "critical,fullname:URI:http://crl.test/2.crl" }, false, VALID, UNKNOWN, "partial" },
		{ "a critical extension nobody knows", { .issuer = intermediate, .revoked = { leaf }, .unknown_critical = true }, false, VALID, UNKNOWN, "critical extension" },
		{ "one in an entry", { .issuer = intermediate, .revoked = { leaf }, .unknown_critical_entry = true }, false, VALID, UNKNOWN, "critical extension" },
		{ "of version 1", { .issuer = intermediate, .revoked = { leaf }, .version_1 = true }, false, REVOKED, REVOKED, NULL },
		{ "signed with SHA-1", { .issuer = intermediate, .revoked = { leaf }, .digest = "SHA1" }, false, VALID, UNKNOWN, "too weak" },
		{ "signed with SHA-512", { .issuer = intermediate, .revoked = { leaf }, .digest = "SHA512" }, false, REVOKED, REVOKED, NULL },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i], chain);
}

static void test_key_usage(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf_without, no_crl_sign };
	check_row(&(struct row){ "the issuer may not sign lists", { .issuer = no_crl_sign, .revoked = { leaf_without } }, false, VALID, UNKNOWN,
							 "key usage of its issuer" },
			  chain);
}

static void test_pss(void **state) {
	(void)state;
	const struct made *const chain[] = { rsa_leaf, rsa_root };
	check_row(&(struct row){ "RSA", { .issuer = rsa_root, .revoked = { rsa_leaf } }, true, REVOKED, REVOKED, NULL }, chain);
	check_row(&(struct row){ "RSA-PSS", { .issuer = rsa_root, .revoked = { rsa_leaf }, .pss = true }, true, REVOKED, REVOKED, NULL }, chain);
	check_row(&(struct row){ "RSA-PSS of SHA-1", { .issuer = rsa_root, .revoked = { rsa_leaf }, .pss = true, .digest = "SHA1" }, true, VALID,
							 UNKNOWN, "too weak" },
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
	struct s2sp_certificate_question question = { .chain = &only->der, .chain_length = 1, .store = own, .domain = DOMAIN,
												  .now = MAKER_NOW, .revocation = S2SP_REVOCATION_REQUIRED, .crls = files,
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
	static const char *const serials[] = { "00", "7F", "80", "FF", "0100", "8000000000000000", "-01", "-80",
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

static void refuses(struct s2sp_text bytes, const char *words) {
	assert_null(read_bytes(bytes, NULL));
	if (strstr(message, words) == NULL || strncmp(message, "x.crl", 5) != 0)
		fail_msg("\"%s\" does not say \"%s\"", message, words);
}

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

/* --- what an authority that wishes us ill can publish --- */

struct builder {
	unsigned char *bytes;
	size_t length;
};

/* Puts a header in front of what is there from `from` on. */
static void wrap(struct builder *builder, size_t from, int tag, int class) {
	unsigned char header[16], *end = header;
	ASN1_put_object(&end, 1, (int)(builder->length - from), tag, class);
	size_t size = (size_t)(end - header);
	memmove(builder->bytes + from + size, builder->bytes + from, builder->length - from);
	memcpy(builder->bytes + from, header, size);
	builder->length += size;
}

static void put(struct builder *builder, const void *bytes, size_t length) {
	memcpy(builder->bytes + builder->length, bytes, length);
	builder->length += length;
}

/* The list `der` with `more` behind its entries, `entry_more` bytes of extensions in its only entry, or another algorithm outside, not signed anew. */
static struct s2sp_text rewritten(struct s2sp_text der, struct s2sp_text more, size_t entry_more, bool other_algorithm) {
	struct builder made = { calloc(1, der.length + more.length + entry_more + 100), 0 };
	struct builder entries = { calloc(1, der.length + entry_more + 100), 0 };
	assert_true(made.bytes != NULL && entries.bytes != NULL);
	const unsigned char *from = (const unsigned char *)der.bytes;
	X509_CRL *crl = d2i_X509_CRL(NULL, &from, (long)der.length);
	assert_non_null(crl);
	unsigned char *part = NULL;
	const ASN1_BIT_STRING *signature = NULL;
	const X509_ALGOR *algorithm = NULL;
	X509_CRL_get0_signature(crl, &signature, &algorithm);
	static const unsigned char version[] = { 2, 1, 1 }, extension[] = { 0x30, 4, 6, 0, 4, 0 };
	put(&made, version, sizeof(version));
	int length = i2d_X509_ALGOR(algorithm, &part);
	put(&made, part, (size_t)length);
	OPENSSL_free(part);
	part = NULL;
	length = i2d_X509_NAME(X509_CRL_get_issuer(crl), &part);
	put(&made, part, (size_t)length);
	OPENSSL_free(part);
	const ASN1_TIME *times[] = { X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_nextUpdate(crl) };
	for (size_t i = 0; i < 2; i++) {
		part = NULL;
		length = i2d_ASN1_TIME(times[i], &part);
		put(&made, part, (size_t)length);
		OPENSSL_free(part);
	}
	X509_REVOKED *revoked = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0);
	part = NULL;
	length = i2d_ASN1_INTEGER(X509_REVOKED_get0_serialNumber(revoked), &part);
	put(&entries, part, (size_t)length);
	OPENSSL_free(part);
	part = NULL;
	length = i2d_ASN1_TIME(X509_REVOKED_get0_revocationDate(revoked), &part);
	put(&entries, part, (size_t)length);
	OPENSSL_free(part);
	size_t extensions = entries.length;
	while (entries.length - extensions < entry_more)
		put(&entries, extension, sizeof(extension));
	if (entry_more > 0)
		wrap(&entries, extensions, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	wrap(&entries, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	wrap(&entries, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	put(&made, entries.bytes, entries.length);
	if (more.length > 0)
		put(&made, more.bytes, more.length);
	wrap(&made, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	part = NULL;
	static const unsigned char ed25519[] = { 0x30, 5, 6, 3, 0x2b, 0x65, 0x70 };
	length = i2d_X509_ALGOR(algorithm, &part);
	put(&made, other_algorithm ? ed25519 : part, other_algorithm ? sizeof(ed25519) : (size_t)length);
	OPENSSL_free(part);
	part = NULL;
	length = i2d_ASN1_BIT_STRING(signature, &part);
	put(&made, part, (size_t)length);
	OPENSSL_free(part);
	wrap(&made, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	X509_CRL_free(crl);
	free(entries.bytes);
	return (struct s2sp_text){ (const char *)made.bytes, made.length };
}

/* Entries that stand in a second place would be read by nobody, whoever has signed them. */
static void test_entries_twice(void **state) {
	(void)state;
	struct s2sp_text der = maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .version_1 = true });
	static const char empty[] = { 0x30, 0 };
	struct s2sp_text same = rewritten(der, (struct s2sp_text){ NULL, 0 }, 0, false);
	struct s2sp_crl_file *file = read_bytes(same, NULL);
	assert_int_equal(s2sp_crl_file_entries(file), 1);
	assert_string_equal(message, "");
	s2sp_crl_file_free(file);
	struct s2sp_text twice = rewritten(der, (struct s2sp_text){ empty, sizeof(empty) }, 0, false);
	refuses(twice, "list 1 is damaged");
	struct s2sp_text other = rewritten(der, (struct s2sp_text){ NULL, 0 }, 0, true);
	file = read_bytes(other, NULL);
	assert_non_null(file);
	assert_non_null(strstr(message, "names two algorithms of its signature"));
	s2sp_crl_file_free(file);
	free((char *)(uintptr_t)same.bytes);
	free((char *)(uintptr_t)twice.bytes);
	free((char *)(uintptr_t)other.bytes);
}

/* A step takes so many bytes, whatever they are: neither a huge head nor entries with thousands of extensions make it long. */
static void test_steps_are_bounded(void **state) {
	(void)state;
	struct s2sp_text der = maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf } });
	struct s2sp_text large = rewritten(der, (struct s2sp_text){ NULL, 0 }, 60000, false);
	struct s2sp_crl_file *file = read_bytes(large, NULL);
	assert_int_equal(s2sp_crl_file_entries(file), 1);
	s2sp_crl_file_free(file);
	free((char *)(uintptr_t)large.bytes);
	large = rewritten(der, (struct s2sp_text){ NULL, 0 }, 70000, false);
	refuses(large, "list 1 has an entry of more than 64 KiB");
	free((char *)(uintptr_t)large.bytes);

	/* [0] { SEQUENCE OF extension } */
	struct builder head = { calloc(1, 80000), 0 };
	assert_non_null(head.bytes);
	static const unsigned char extension[] = { 0x30, 7, 6, 3, 0x2a, 3, 4, 4, 0 };
	while (head.length < 70000)
		put(&head, extension, sizeof(extension));
	wrap(&head, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	wrap(&head, 0, 0, V_ASN1_CONTEXT_SPECIFIC);
	large = rewritten(der, (struct s2sp_text){ (const char *)head.bytes, head.length }, 0, false);
	refuses(large, "list 1 is larger than 64 KiB without its entries");
	free((char *)(uintptr_t)large.bytes);
	free(head.bytes);
}

/* Each key has the whole list hashed: only so many are tried, and whoever comes with one more is not let through. */
static void test_many_keys(void **state) {
	(void)state;
	enum { KEYS = 18 };
	struct s2sp_crl_file *file = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate }), NULL);
	const struct s2sp_crl_file *const files[] = { file };
	const struct made *issuers[KEYS], *leaves[KEYS];
	for (size_t i = 0; i < KEYS; i++) {
		issuers[i] = i == 0 ? intermediate : maker_ca("Test intermediate", root);
		leaves[i] = maker_make((struct recipe){ .issuer = issuers[i], .names = NAME });
	}
	for (size_t i = 0; i < KEYS; i++) {
		const struct made *const chain[] = { leaves[i], issuers[i] };
		assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 1), i < 16 ? VALID : UNKNOWN);
		if (i >= 16)
			assert_non_null(strstr(report.cause, "too many signatures"));
	}
	const struct made *const chain[] = { leaves[0], issuers[0] };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 1), VALID);
	s2sp_crl_file_free(file);
}

/* A file of a thousand lists that nobody has signed: so many signatures a chain, and none of those that decide nothing. */
static void test_many_signatures(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	char *forged = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .signer = other_root, .revoked = { leaf } }));
	char *point = maker_crl_pem(maker_crl((struct crl_recipe){
		.issuer = intermediate, .signer = other_root, .scope = "critical,fullname:URI:http://crl.test/2.crl" }));
	char *text = calloc(1, (strlen(forged) + strlen(point)) * 40 + 1), *at = text;
	assert_non_null(text);
	for (size_t i = 0; i < 40; i++) {
		memcpy(at, point, strlen(point));
		at += strlen(point);
	}
	struct s2sp_crl_file *points = read_bytes(s2sp_text_from(text), NULL);
	memset(text, 0, (size_t)(at - text));
	at = text;
	for (size_t i = 0; i < 40; i++) {
		memcpy(at, forged, strlen(forged));
		at += strlen(forged);
	}
	struct s2sp_crl_file *file = read_bytes(s2sp_text_from(text), NULL);
	const struct s2sp_crl_file *const files[] = { file }, *const others[] = { points };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, others, 1), VALID);
	const struct s2sp_text blobs[] = { leaf->der, intermediate->der };
	const struct s2sp_certificate_question question = { .chain = blobs, .chain_length = 2, .store = store, .domain = DOMAIN,
		.to_ascii = s2sp_idna_to_ascii, .now = MAKER_NOW, .revocation = S2SP_REVOCATION_IF_KNOWN, .crls = files, .crl_count = 1 };
	assert_int_equal(s2sp_certificate_judge(&question, NULL), UNKNOWN);
	/* What has been verified stays so, and the next one gets further. */
	assert_int_equal(s2sp_certificate_judge(&question, NULL), VALID);
	s2sp_crl_file_free(file);
	s2sp_crl_file_free(points);
	free(text);
	free(forged);
	free(point);
}

/* The names of a list and those of a certificate, both of one authority's making, are not multiplied without end. */
static void test_many_points(void **state) {
	(void)state;
	char points[2000];
	size_t used = (size_t)snprintf(points, sizeof(points), "URI:a0");
	for (int i = 1; i < 110; i++)
		used += (size_t)snprintf(points + used, sizeof(points) - used, ",URI:a%d", i);
	const struct made *many = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .points = points });
	const struct made *const chain[] = { many, intermediate };
	struct s2sp_crl_file *above = read_bytes(maker_crl((struct crl_recipe){ .issuer = root }), NULL);
	/* fullname: of this form takes one name, so there are as many lists as it takes. */
	char *other = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .scope = "critical,fullname:URI:b" }));
	char *good = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .scope = "critical,fullname:URI:a109" }));
	char *text = calloc(1, strlen(other) * 100 + strlen(good) + 1);
	assert_non_null(text);
	for (int more = 0; more < 2; more++) {
		size_t others = more ? 100 : 80;
		for (size_t i = 0; i < others; i++)
			memcpy(text + i * strlen(other), other, strlen(other));
		memcpy(text + others * strlen(other), good, strlen(good) + 1);
		struct s2sp_crl_file *file = read_bytes(s2sp_text_from(text), NULL);
		const struct s2sp_crl_file *const files[] = { file, above };
		assert_int_equal(judge_files(chain, 2, REQUIRED, files, 2), more ? UNKNOWN : VALID);
		s2sp_crl_file_free(file);
	}
	s2sp_crl_file_free(above);
	free(text);
	free(other);
	free(good);
}

/* --- what takes the place of what --- */

struct step {
	const char *name;
	struct crl_recipe crl;
	const char *refused; /* why it may not follow; NULL: it may */
	int again;           /* days from now */
};

static void test_succession(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	const struct step steps[] = {
		{ "newer", { .issuer = intermediate, .from = 0, .to = 5 }, NULL, 0 },
		{ "the same", { .issuer = intermediate, .from = -1, .to = 5 }, NULL, 0 },
		{ "older", { .issuer = intermediate, .from = -2, .to = 5 }, "is older than it was", 4 },
		{ "forged", { .issuer = intermediate, .signer = other_root, .from = 0, .to = 5 }, "is not signed any more by the key", 4 },
		{ "of another", { .issuer = root, .from = 0, .to = 5 }, "the revocation list of CN=Test intermediate is not there any more", 4 },
		{ "weak", { .issuer = intermediate, .digest = "SHA1", .from = 0, .to = 5 }, "counts for nothing now", 4 },
		{ "only a delta", { .issuer = intermediate, .delta = true, .from = 0, .to = 5 }, "is not there any more", 4 },
		{ "partial", { .issuer = intermediate, .scope = "critical,onlyuser:TRUE", .from = 0, .to = 5 }, "is not there any more", 4 },
		{ "too early", { .issuer = intermediate, .from = 2, .to = 5 }, "is not valid yet", 2 },
	};
	int64_t again;
	struct s2sp_crl_file *before =
		read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .from = -1, .to = 4 }), NULL);
	struct s2sp_crl_file *forged = read_bytes(maker_crl(steps[3].crl), NULL);
	/* Nobody has come with its key yet, so nobody knows whose it is. */
	assert_int_equal(s2sp_crl_file_follows(forged, before, MAKER_NOW, message, sizeof(message), &again), S2SP_STATUS_OK);
	const struct s2sp_crl_file *const files[] = { before, forged };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 2), REVOKED);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct s2sp_crl_file *next = read_bytes(maker_crl(steps[i].crl), NULL);
		enum s2sp_status status = s2sp_crl_file_follows(next, before, MAKER_NOW, message, sizeof(message), &again);
		if (status != (steps[i].refused == NULL ? S2SP_STATUS_OK : S2SP_STATUS_INVALID) ||
			(steps[i].refused != NULL && strstr(message, steps[i].refused) == NULL))
			fail_msg("%s: \"%s\"", steps[i].name, message);
		assert_int_equal(again, steps[i].again == 0 ? 0 : MAKER_NOW + steps[i].again * MAKER_DAY);
		assert_false(s2sp_crl_file_same(next, before));
		/* When it is over, whatever is there is better. */
		assert_int_equal(s2sp_crl_file_follows(next, before, MAKER_NOW + 4 * MAKER_DAY, message, sizeof(message), &again), S2SP_STATUS_OK);
		s2sp_crl_file_free(next);
	}
	assert_true(s2sp_crl_file_same(before, before));
	s2sp_crl_file_free(before);
	s2sp_crl_file_free(forged);

	before = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .delta = true, .revoked = { leaf } }), NULL);
	const struct s2sp_crl_file *const delta[] = { before };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, delta, 1), REVOKED);
	struct s2sp_crl_file *next = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .from = 0, .to = 5 }), NULL);
	assert_int_equal(s2sp_crl_file_follows(next, before, MAKER_NOW, message, sizeof(message), &again), S2SP_STATUS_OK);
	assert_int_equal(s2sp_crl_file_begins(next, MAKER_NOW), 0);
	assert_int_equal(s2sp_crl_file_begins(next, MAKER_NOW - 1), MAKER_NOW);
	s2sp_crl_file_free(before);
	s2sp_crl_file_free(next);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),          cmocka_unit_test(test_key_usage),      cmocka_unit_test(test_pss),
		cmocka_unit_test(test_precedence),     cmocka_unit_test(test_anchor),         cmocka_unit_test(test_several),
		cmocka_unit_test(test_until),          cmocka_unit_test(test_serial_numbers), cmocka_unit_test(test_forms),
		cmocka_unit_test(test_changed_bytes),  cmocka_unit_test(test_messages),       cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_huge),           cmocka_unit_test(test_entries_twice),  cmocka_unit_test(test_steps_are_bounded),
		cmocka_unit_test(test_many_keys),      cmocka_unit_test(test_many_signatures), cmocka_unit_test(test_many_points),
		cmocka_unit_test(test_succession),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
