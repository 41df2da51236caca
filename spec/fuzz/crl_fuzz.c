/*
 * Files of revocation lists. The first byte of the input says what the rest is:
 *   0  a file, PEM or DER; nobody trusted has signed what is in it, so it revokes nobody
 *   1  changes to a good list that revokes the leaf: offset (two bytes) and new byte; it revokes, or it is refused or passed over, but never lets
 *      the leaf pass as covered when what is signed has changed; and only what revokes as well may take the place of the good one
 *   2  the entries of a list, in DER: whom OpenSSL finds in there, is found
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "../ident/certificate_maker.h"
#include "certificate.h"
#include "idna.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct made *root, *leaf;
static struct s2sp_trust_store *store;
static struct s2sp_text revoking;
static struct s2sp_crl_file *verified; /* the same, and its signature is known to be good */
static struct s2sp_certificate_report report;

#define CHECK(condition)                                                                                                         \
	do {                                                                                                                         \
		if (!(condition)) {                                                                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                      \
			abort();                                                                                                             \
		}                                                                                                                        \
	} while (0)

static struct s2sp_crl_file *read_file(const uint8_t *data, size_t size);

static enum s2sp_certificate_verdict judge(const struct s2sp_crl_file *file, enum s2sp_revocation revocation) {
	const struct s2sp_certificate_question question = {
		.chain = &leaf->der,
		.chain_length = 1,
		.store = store,
		.domain = S2SP_TEXT("fabrikam.com"),
		.to_ascii = s2sp_idna_to_ascii,
		.now = MAKER_NOW,
		.revocation = revocation,
		.crls = &file,
		.crl_count = file == NULL ? 0 : 1,
	};
	enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &report);
	CHECK(ERR_peek_error() == 0 && verdict == report.verdict && verdict != S2SP_CERTIFICATE_UNKNOWN);
	return verdict;
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
	(void)count;
	(void)arguments;
	char message[256];
	root = maker_ca("Root", NULL);
	leaf = maker_make((struct recipe){ .issuer = root, .names = "DNS:fabrikam.com" });
	revoking = maker_crl((struct crl_recipe){ .issuer = root, .revoked = { root, leaf }, .reason = 1 });
	char *pem = maker_pem(&root, 1);
	const char *file = maker_file(pem, strlen(pem));
	struct s2sp_trust_source source = { .anchors = file, .now = MAKER_NOW };
	CHECK(s2sp_trust_store_new(&source, &store, message, sizeof(message)) == S2SP_STATUS_OK);
	free(pem);
	remove(file);
	CHECK(judge(NULL, S2SP_REVOCATION_OFF) == S2SP_CERTIFICATE_VALID);
	verified = read_file((const uint8_t *)revoking.bytes, revoking.length);
	CHECK(judge(verified, S2SP_REVOCATION_IF_KNOWN) == S2SP_CERTIFICATE_REVOKED);
	return 0;
}

/* The file that is in the bytes; NULL when it is refused. */
static struct s2sp_crl_file *read_file(const uint8_t *data, size_t size) {
	struct s2sp_crl_reader *reader = NULL;
	struct s2sp_crl_file *file = NULL;
	char message[300];
	CHECK(s2sp_crl_reader_from("fuzz", (struct s2sp_text){ (const char *)data, size }, &reader, message, sizeof(message)) ==
		  S2SP_STATUS_OK);
	enum s2sp_status status = S2SP_STATUS_OK;
	size_t steps = 0;
	while (status == S2SP_STATUS_OK && file == NULL) {
		status = s2sp_crl_reader_step(reader, &file, message, sizeof(message));
		CHECK(ERR_peek_error() == 0);
		CHECK(++steps <= 10 + 3 * (size / 20 + 1));
	}
	CHECK(status == S2SP_STATUS_OK ? s2sp_crl_file_lists(file) > 0 : status == S2SP_STATUS_INVALID && message[0] != '\0');
	for (const char *at = message; *at != '\0'; at++)
		CHECK(*at == '\n' || ((unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f));
	s2sp_crl_reader_free(reader);
	return file;
}

static void fuzz_file(const uint8_t *data, size_t size) {
	struct s2sp_crl_file *file = read_file(data, size);
	if (file == NULL)
		return;
	CHECK(judge(file, S2SP_REVOCATION_IF_KNOWN) == S2SP_CERTIFICATE_VALID);
	CHECK(judge(file, S2SP_REVOCATION_REQUIRED) == S2SP_CERTIFICATE_REVOCATION_UNKNOWN);
	s2sp_crl_file_free(file);
}

static void fuzz_change(const uint8_t *data, size_t size) {
	uint8_t *copy = malloc(revoking.length);
	CHECK(copy != NULL);
	memcpy(copy, revoking.bytes, revoking.length);
	for (; size >= 3; data += 3, size -= 3)
		copy[((size_t)data[0] << 8 | data[1]) % revoking.length] = data[2];
	struct s2sp_crl_file *file = read_file(copy, revoking.length);
	if (file != NULL) {
		enum s2sp_certificate_verdict verdict = judge(file, S2SP_REVOCATION_REQUIRED);
		CHECK(verdict == S2SP_CERTIFICATE_REVOKED || verdict == S2SP_CERTIFICATE_REVOCATION_UNKNOWN);
		bool same = memcmp(copy, revoking.bytes, revoking.length) == 0;
		CHECK(!same || verdict == S2SP_CERTIFICATE_REVOKED);
		CHECK(s2sp_crl_file_same(file, verified) == same);
		char message[300];
		int64_t again;
		enum s2sp_status status = s2sp_crl_file_follows(file, verified, MAKER_NOW, message, sizeof(message), &again);
		CHECK(verdict == S2SP_CERTIFICATE_REVOKED ? status == S2SP_STATUS_OK
												  : status == S2SP_STATUS_INVALID && message[0] != '\0');
		CHECK(s2sp_crl_file_begins(file, MAKER_NOW) == 0 || s2sp_crl_file_begins(file, MAKER_NOW) > MAKER_NOW);
	}
	s2sp_crl_file_free(file);
	free(copy);
}

static size_t put(uint8_t *to, int constructed, int tag, const void *content, size_t length) {
	unsigned char *at = to;
	ASN1_put_object(&at, constructed, (int)length, tag, V_ASN1_UNIVERSAL);
	if (length > 0)
		memcpy(at, content, length);
	return (size_t)(at - to) + length;
}

/* A list of the root with these entries; what it is signed with is nobody's key. */
static void fuzz_entries(const uint8_t *data, size_t size) {
	static const uint8_t algorithm[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };
	static const uint8_t version[] = { 2, 1, 1 }, signature[] = { 3, 2, 0, 0 };
	uint8_t *inner = malloc(size + 512), *outer = malloc(size + 640), *whole = malloc(size + 700);
	unsigned char *name = NULL;
	int name_length = i2d_X509_NAME(X509_get_subject_name(root->certificate), &name);
	CHECK(inner != NULL && outer != NULL && whole != NULL && name_length > 0 && name_length < 200);
	size_t at = 0, length;
	memcpy(inner + at, version, sizeof(version));
	at += sizeof(version);
	memcpy(inner + at, algorithm, sizeof(algorithm));
	at += sizeof(algorithm);
	memcpy(inner + at, name, (size_t)name_length);
	at += (size_t)name_length;
	at += put(inner + at, 0, V_ASN1_UTCTIME, "250101000000Z", 13);
	at += put(inner + at, 0, V_ASN1_UTCTIME, "260101000000Z", 13);
	at += put(inner + at, 1, V_ASN1_SEQUENCE, data, size);
	length = put(outer, 1, V_ASN1_SEQUENCE, inner, at);
	memcpy(outer + length, algorithm, sizeof(algorithm));
	length += sizeof(algorithm);
	memcpy(outer + length, signature, sizeof(signature));
	length += sizeof(signature);
	length = put(whole, 1, V_ASN1_SEQUENCE, outer, length);

	struct s2sp_crl_file *file = read_file(whole, length);
	const unsigned char *from = whole;
	X509_CRL *crl = d2i_X509_CRL(NULL, &from, (long)length);
	X509_REVOKED *entry = NULL;
	judge(NULL, S2SP_REVOCATION_OFF);
	if (file != NULL && crl != NULL && X509_CRL_get0_by_cert(crl, &entry, leaf->certificate) == 1)
		CHECK(s2sp_crl_file_mentions(file, (struct s2sp_text){ (const char *)report.links, report.link_bytes }));
	if (file != NULL)
		CHECK(judge(file, S2SP_REVOCATION_IF_KNOWN) == S2SP_CERTIFICATE_VALID);
	X509_CRL_free(crl);
	ERR_clear_error();
	s2sp_crl_file_free(file);
	OPENSSL_free(name);
	free(inner);
	free(outer);
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0 || size > 100000)
		return 0;
	switch (*data % 3) {
	case 0: fuzz_file(data + 1, size - 1); break;
	case 1: fuzz_change(data + 1, size - 1); break;
	default: /* 2 */ fuzz_entries(data + 1, size - 1); break;
	}
	return 0;
}
