/* The pins of what is in a file. */
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "certificate_openssl.h"
#include "certificate_own.h"

static enum s2sp_status take(const unsigned char *der, long length, struct s2sp_pinned *pinned) {
	const unsigned char *end = der;
	X509 *certificate = length <= S2SP_CERTIFICATE_SIZE_MAX ? d2i_X509(NULL, &end, length) : NULL;
	if (certificate == NULL || end != der + length) {
		X509_free(certificate);
		return s2sp_openssl_drain() ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
	}
	memset(pinned, 0, sizeof(*pinned));
	bool made = s2sp_openssl_pin(certificate, &pinned->pin);
	pinned->authority = X509_check_ca(certificate) > 0;
	pinned->not_after = s2sp_openssl_time(X509_get0_notAfter(certificate));
	s2sp_openssl_name(X509_get_subject_name(certificate), pinned->subject, sizeof(pinned->subject));
	s2sp_openssl_name(X509_get_issuer_name(certificate), pinned->issuer, sizeof(pinned->issuer));
	X509_free(certificate);
	s2sp_openssl_drain();
	return made ? S2SP_STATUS_OK : S2SP_STATUS_NO_MEMORY;
}

static enum s2sp_status take_blocks(BIO *bio, struct s2sp_pinned *pinned, size_t capacity, size_t *count) {
	enum s2sp_status status = S2SP_STATUS_OK;
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long length = 0;
	while (status == S2SP_STATUS_OK && *count < capacity && PEM_read_bio(bio, &name, &header, &der, &length) == 1) {
		if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0) {
			status = take(der, length, &pinned[*count]);
			*count += status == S2SP_STATUS_OK;
		}
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	unsigned long error = ERR_peek_last_error();
	if (status != S2SP_STATUS_OK || *count == capacity)
		return status;
	if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
		return S2SP_STATUS_NO_MEMORY;
	/* How the end of the text is told. */
	return ERR_GET_REASON(error) == PEM_R_NO_START_LINE && *count > 0 ? S2SP_STATUS_OK : S2SP_STATUS_INVALID;
}

enum s2sp_status s2sp_certificate_pins(struct s2sp_text text, struct s2sp_pinned *pinned, size_t capacity, size_t *count) {
	*count = 0;
	s2sp_openssl_drain();
	if (text.length == 0 || capacity == 0 || text.length > S2SP_CHAIN_SIZE_MAX * 16)
		return S2SP_STATUS_INVALID;
	enum s2sp_status status;
	if (text.bytes[0] == 0x30) {
		status = take((const unsigned char *)text.bytes, (long)text.length, pinned);
		*count = status == S2SP_STATUS_OK;
	} else {
		BIO *bio = BIO_new_mem_buf(text.bytes, (int)text.length);
		status = bio == NULL ? S2SP_STATUS_NO_MEMORY : take_blocks(bio, pinned, capacity, count);
		BIO_free(bio);
	}
	s2sp_openssl_drain();
	if (status != S2SP_STATUS_OK)
		*count = 0;
	return status;
}
