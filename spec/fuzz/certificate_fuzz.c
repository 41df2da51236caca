/*
 * The DER path. The first byte of the input says what the rest is:
 *   0  a chain: certificates, each after its length in two bytes; nobody trusted has signed them, so none may be valid
 *   1  changes to a good certificate: offset (two bytes) and new byte; valid only if nothing that is signed changes
 *   2  the subjectAltName extension of a certificate signed by the trusted CA: reaches the names
 *   3  the nameConstraints extension of an intermediate
 *   4  a PEM text
 * Keys are made at start: an input may take another path in another run, but none may break what is checked here.
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

#define DOMAIN S2SP_TEXT("corp.fabrikam.com")

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct made *root, *intermediate, *good;
static struct s2sp_trust_store *store;

#define CHECK(condition)                                                                                                         \
	do {                                                                                                                         \
		if (!(condition)) {                                                                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                      \
			abort();                                                                                                             \
		}                                                                                                                        \
	} while (0)

int LLVMFuzzerInitialize(int *count, char ***arguments) {
	(void)count;
	(void)arguments;
	char message[256];
	root = maker_ca("Root", NULL);
	intermediate = maker_ca("Intermediate", root);
	good = maker_make((struct recipe){ .issuer = intermediate, .names = "DNS:corp.fabrikam.com" });
	char *pem = maker_pem(&root, 1);
	const char *file = maker_file(pem, strlen(pem));
	struct s2sp_trust_source source = { .anchors = file, .now = MAKER_NOW };
	CHECK(s2sp_trust_store_new(&source, &store, message, sizeof(message)) == S2SP_STATUS_OK);
	free(pem);
	remove(file);
	return 0;
}

static void check_text(const char *text, size_t size) {
	CHECK(memchr(text, '\0', size) != NULL);
	for (; *text != '\0'; text++)
		CHECK((unsigned char)*text >= 0x20 && (unsigned char)*text < 0x7f);
}

static enum s2sp_certificate_verdict judge(const struct s2sp_text *chain, size_t count, struct s2sp_certificate_report *report) {
	struct s2sp_certificate_question question = {
		.chain = chain, .chain_length = count, .store = store, .domain = DOMAIN, .to_ascii = s2sp_idna_to_ascii, .now = MAKER_NOW
	};
	enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, report);
	CHECK(ERR_peek_error() == 0);
	CHECK(verdict != S2SP_CERTIFICATE_UNKNOWN);
	CHECK(verdict == report->verdict && report->cause[0] != '\0');
	check_text(report->subject, sizeof(report->subject));
	check_text(report->issuer, sizeof(report->issuer));
	check_text(report->serial, sizeof(report->serial));
	CHECK(report->bytes_used <= sizeof(report->bytes) && report->names_kept <= S2SP_REPORT_NAMES);
	bool match = false;
	for (size_t i = 0; i < report->names_kept; i++) {
		check_text(report->names[i].text, S2SP_REPORT_TEXT);
		match = match || report->names[i].finding == S2SP_IDENTITY_MATCH;
	}
	if (verdict == S2SP_CERTIFICATE_VALID)
		CHECK(match);
	return verdict;
}

static void fuzz_chain(const uint8_t *data, size_t size) {
	static struct s2sp_certificate_report report;
	struct s2sp_text chain[S2SP_CHAIN_LENGTH_MAX + 2];
	size_t count = 0;
	while (size >= 2 && count < sizeof(chain) / sizeof(chain[0])) {
		size_t length = (size_t)data[0] << 8 | data[1];
		data += 2;
		size -= 2;
		if (length > size)
			length = size;
		chain[count++] = (struct s2sp_text){ (const char *)data, length };
		data += length;
		size -= length;
	}
	CHECK(judge(chain, count, &report) != S2SP_CERTIFICATE_VALID);
}

static void fuzz_change(const uint8_t *data, size_t size) {
	static struct s2sp_certificate_report report;
	char *copy = malloc(good->der.length);
	CHECK(copy != NULL);
	memcpy(copy, good->der.bytes, good->der.length);
	for (; size >= 3; data += 3, size -= 3)
		copy[((size_t)data[0] << 8 | data[1]) % good->der.length] = (char)data[2];
	struct s2sp_text chain[] = { { copy, good->der.length }, intermediate->der };
	if (judge(chain, 2, &report) == S2SP_CERTIFICATE_VALID) {
		/* What is signed is as it was; the signature itself may be written in another way. */
		const unsigned char *bytes = (const unsigned char *)copy;
		X509 *changed = d2i_X509(NULL, &bytes, (long)good->der.length);
		unsigned char *was = NULL, *is = NULL;
		CHECK(changed != NULL);
		int length = i2d_re_X509_tbs(good->certificate, &was);
		CHECK(length > 0 && i2d_re_X509_tbs(changed, &is) == length && memcmp(was, is, (size_t)length) == 0);
		OPENSSL_free(was);
		OPENSSL_free(is);
		X509_free(changed);
	}
	free(copy);
}

/* A certificate with `extension` as it stands, signed by `issuer`; the caller frees *der. */
static struct s2sp_text sign(const struct made *template, const struct made *issuer, int nid, const uint8_t *data, size_t size) {
	X509 *certificate = X509_dup(template->certificate);
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	CHECK(certificate != NULL && octets != NULL && ASN1_OCTET_STRING_set(octets, data, (int)size));
	int place = X509_get_ext_by_NID(certificate, nid, -1);
	if (place >= 0)
		X509_EXTENSION_free(X509_delete_ext(certificate, place));
	X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, nid, 0, octets);
	CHECK(extension != NULL && X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(octets);
	CHECK(X509_sign(certificate, issuer->key, EVP_sha256()) > 0);
	unsigned char *der = NULL;
	int length = i2d_X509(certificate, &der);
	CHECK(length > 0);
	X509_free(certificate);
	ERR_clear_error();
	return (struct s2sp_text){ (const char *)der, (size_t)length };
}

/* The bytes `wanted` in any case somewhere in the data. */
static bool mentions(const uint8_t *data, size_t size, const char *wanted) {
	size_t length = strlen(wanted);
	for (size_t i = 0; i + length <= size; i++) {
		size_t same = 0;
		while (same < length && (data[i + same] | 0x20) == (wanted[same] | 0x20))
			same++;
		if (same == length)
			return true;
	}
	return false;
}

static void fuzz_names(const uint8_t *data, size_t size) {
	static struct s2sp_certificate_report report;
	struct s2sp_text chain[] = { sign(good, intermediate, NID_subject_alt_name, data, size), intermediate->der };
	/* UTS-46 could reach the domain from other letters, in an xmppAddr; the top-level domain has to be there in all forms. */
	if (judge(chain, 2, &report) == S2SP_CERTIFICATE_VALID && !mentions(data, size, "fabrikam.com")) {
		for (size_t i = 0; i < report.names_kept; i++)
			CHECK(report.names[i].finding != S2SP_IDENTITY_MATCH || report.names[i].type == S2SP_IDENTIFIER_XMPP_ADDR);
	}
	OPENSSL_free((void *)(uintptr_t)chain[0].bytes);
}

static void fuzz_constraints(const uint8_t *data, size_t size) {
	static struct s2sp_certificate_report report;
	struct s2sp_text chain[] = { good->der, sign(intermediate, root, NID_name_constraints, data, size) };
	judge(chain, 2, &report);
	OPENSSL_free((void *)(uintptr_t)chain[1].bytes);
}

static void fuzz_pem(const uint8_t *data, size_t size) {
	size_t length = 0;
	unsigned char *der = malloc(size + 1);
	CHECK(der != NULL);
	enum s2sp_status status = s2sp_certificate_from_pem((struct s2sp_text){ (const char *)data, size }, der, size, &length);
	CHECK(status == S2SP_STATUS_OK ? length > 0 && length <= size : length == 0);
	CHECK(ERR_peek_error() == 0);
	free(der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0)
		return 0;
	switch (*data % 5) {
	case 0: fuzz_chain(data + 1, size - 1); break;
	case 1: fuzz_change(data + 1, size - 1); break;
	case 2: fuzz_names(data + 1, size - 1); break;
	case 3: fuzz_constraints(data + 1, size - 1); break;
	default: fuzz_pem(data + 1, size - 1);
	}
	return 0;
}
