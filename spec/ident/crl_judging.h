/* What the tests of revocation lists have in common: chains, and lists read and asked about them. */
#ifndef S2SP_CRL_JUDGING_H
#define S2SP_CRL_JUDGING_H

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

/* The file is refused; the message names it and has these words. */
static void refuses(struct s2sp_text bytes, const char *words) {
	assert_null(read_bytes(bytes, NULL));
	if (strstr(message, words) == NULL || strncmp(message, "x.crl", 5) != 0)
		fail_msg("\"%s\" does not say \"%s\"", message, words);
}

#endif
