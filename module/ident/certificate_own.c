#include "certificate_own.h"

#include <string.h>

#include <openssl/evp.h>

#include "certificate_openssl.h"

static void read_key(const X509 *certificate, struct s2sp_own_certificate *own) {
	const EVP_PKEY *key = X509_get0_pubkey(certificate);
	own->key_type = "other";
	if (key == NULL)
		return;
	int bits = EVP_PKEY_get_bits(key);
	own->key_bits = bits > 0 ? (unsigned)bits : 0;
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
	case EVP_PKEY_RSA_PSS:
		own->key_type = "RSA";
		own->key_strong = bits >= S2SP_OWN_RSA_BITS_MIN;
		break;
	case EVP_PKEY_EC:
		own->key_type = "EC";
		own->key_strong = bits >= S2SP_OWN_EC_BITS_MIN;
		break;
	case EVP_PKEY_ED25519:
	case EVP_PKEY_ED448:
		own->key_type = "EdDSA";
		own->key_strong = true;
		break;
	default: /* OpenSSL's int: other kinds of key */ break;
	}
}

static void write_names(const struct s2sp_certificate_report *report, struct s2sp_own_certificate *own) {
	for (size_t i = 0; i < report->names_kept; i++) {
		size_t used = strlen(own->names);
		const char *type = s2sp_identifier_type_token(report->names[i].type);
		if (used + strlen(type) + strlen(report->names[i].text) + 4 >= sizeof(own->names))
			return;
		if (used > 0)
			strcat(own->names, ", ");
		strcat(own->names, type);
		strcat(own->names, ":");
		strcat(own->names, report->names[i].text);
	}
}

/* Working memory of s2sp_openssl_identify. It is too large for the stack, and nothing in it is read afterwards. */
static enum s2sp_status read_names(const X509 *certificate, struct s2sp_text domain, s2sp_domain_to_ascii *to_ascii,
								   struct s2sp_own_certificate *own) {
	GENERAL_NAMES *names = NULL;
	enum s2sp_status status = s2sp_openssl_subject_names(certificate, &names);
	if (status != S2SP_STATUS_OK)
		return status;
	struct s2sp_certificate_report *report = OPENSSL_zalloc(sizeof(*report));
	if (report == NULL) {
		status = S2SP_STATUS_NO_MEMORY;
	} else {
		const struct s2sp_certificate_question question = { .domain = domain, .to_ascii = to_ascii };
		own->names_domain = s2sp_openssl_identify(names, &question, report);
		write_names(report, own);
	}
	OPENSSL_free(report);
	GENERAL_NAMES_free(names);
	return status;
}

enum s2sp_status s2sp_own_certificate_read(struct s2sp_text der, struct s2sp_text domain, s2sp_domain_to_ascii *to_ascii,
										   struct s2sp_own_certificate *own) {
	memset(own, 0, sizeof(*own));
	own->key_type = "other";
	s2sp_openssl_drain();
	const unsigned char *bytes = (const unsigned char *)der.bytes;
	X509 *certificate = NULL;
	if (der.length > 0 && der.length <= S2SP_CERTIFICATE_SIZE_MAX)
		certificate = d2i_X509(NULL, &bytes, (long)der.length);
	if (certificate == NULL)
		return s2sp_openssl_drain() ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
	read_key(certificate, own);
	own->not_before = s2sp_openssl_time(X509_get0_notBefore(certificate));
	own->not_after = s2sp_openssl_time(X509_get0_notAfter(certificate));
	s2sp_openssl_name(X509_get_subject_name(certificate), own->subject, sizeof(own->subject));
	s2sp_openssl_name(X509_get_issuer_name(certificate), own->issuer, sizeof(own->issuer));
	own->self_signed = X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
	enum s2sp_status status = read_names(certificate, domain, to_ascii, own);
	X509_free(certificate);
	s2sp_openssl_drain();
	return status;
}
