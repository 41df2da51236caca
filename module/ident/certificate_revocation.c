/* What revocation lists say of a chain. Each list is one voice: any that counts can revoke, and one that covers is enough. */
#include <string.h>

#include <openssl/err.h>

#include "certificate_lists.h"
#include "certificate_openssl.h"

bool s2sp_openssl_name_hash(const X509_NAME *name, uint32_t *hash) {
	int made = 0;
	*hash = (uint32_t)X509_NAME_hash_ex(name, NULL, NULL, &made);
	return made == 1;
}

size_t s2sp_openssl_serial(const ASN1_INTEGER *serial, unsigned char *bytes, size_t capacity) {
	unsigned char *der = NULL;
	int size = i2d_ASN1_INTEGER(serial, &der);
	const unsigned char *at = der;
	long length = 0;
	int tag, class;
	size_t used = 0;
	if (size > 0 && !(ASN1_get_object(&at, &length, &tag, &class, size) & 0x80) && length > 0 && (size_t)length <= capacity) {
		used = (size_t)length;
		memcpy(bytes, at, used);
	}
	OPENSSL_free(der);
	return used;
}

static enum s2sp_status verify_once(struct s2sp_crl *list, EVP_PKEY *key, bool *good) {
	const ASN1_BIT_STRING *signature = NULL;
	const X509_ALGOR *algorithm = NULL;
	X509_CRL_get0_signature(list->head, &signature, &algorithm);
	/* As it stands: the head, encoded anew, would not be what was signed. */
	ASN1_TYPE *whole = ASN1_TYPE_new();
	ASN1_STRING *bytes = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
	if (whole == NULL || bytes == NULL || list->signed_size > INT32_MAX ||
		ASN1_STRING_set(bytes, list->der + list->signed_at, (int)list->signed_size) != 1) {
		ASN1_TYPE_free(whole);
		ASN1_STRING_free(bytes);
		s2sp_openssl_drain();
		return S2SP_STATUS_NO_MEMORY;
	}
	ASN1_TYPE_set(whole, V_ASN1_SEQUENCE, bytes);
	*good = ASN1_item_verify(ASN1_ITEM_rptr(ASN1_ANY), algorithm, signature, whole, key) == 1;
	ASN1_TYPE_free(whole);
	return s2sp_openssl_drain() && !*good ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_OK;
}

/* Whether there is memory for what verifying takes. */
static bool has_memory(const struct s2sp_crl *list) {
	void *block = OPENSSL_malloc(list->signed_size);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool has = block != NULL && context != NULL;
	OPENSSL_free(block);
	EVP_MD_CTX_free(context);
	s2sp_openssl_drain();
	return has;
}

/*
 * Whether `key` has signed the list, in *good. OpenSSL does not always say that it ran out of memory; a list that is taken for a forged one
 * then would revoke nobody. So what is not good is looked at twice.
 */
static enum s2sp_status verify(struct s2sp_crl *list, EVP_PKEY *key, bool *good) {
	enum s2sp_status status = verify_once(list, key, good);
	if (status != S2SP_STATUS_OK || *good)
		return status;
	status = verify_once(list, key, good);
	return status == S2SP_STATUS_OK && !*good && !has_memory(list) ? S2SP_STATUS_NO_MEMORY : status;
}

static bool recall(struct s2sp_crl *list, const struct s2sp_pin *pin, bool *good) {
	bool known = false;
	if (CRYPTO_THREAD_read_lock(list->lock) != 1)
		return false;
	size_t count = list->key_count < S2SP_CRL_KEYS ? list->key_count : S2SP_CRL_KEYS;
	for (size_t i = 0; i < count && !known; i++) {
		known = memcmp(list->keys[i].key.sha256, pin->sha256, sizeof(pin->sha256)) == 0;
		if (known)
			*good = list->keys[i].good;
	}
	CRYPTO_THREAD_unlock(list->lock);
	return known;
}

static void remember(struct s2sp_crl *list, const struct s2sp_pin *pin, bool good) {
	if (CRYPTO_THREAD_write_lock(list->lock) != 1)
		return;
	size_t at = list->key_count++ % S2SP_CRL_KEYS;
	list->keys[at].key = *pin;
	list->keys[at].good = good;
	CRYPTO_THREAD_unlock(list->lock);
}

/* Whether the key of `issuer` has signed the list; computed once for each key. */
static enum s2sp_status is_signed(struct s2sp_crl *list, X509 *issuer, bool *good) {
	struct s2sp_pin pin;
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	*good = false;
	if (key == NULL || !s2sp_openssl_pin(issuer, &pin))
		return S2SP_STATUS_NO_MEMORY; /* the chain has been verified with it */
	if (recall(list, &pin, good))
		return S2SP_STATUS_OK;
	enum s2sp_status status = verify(list, key, good);
	if (status == S2SP_STATUS_OK)
		remember(list, &pin, *good);
	return status;
}

static bool share_a_name(const DIST_POINT_NAME *one, const DIST_POINT_NAME *other) {
	if (one == NULL || other == NULL || one->type != 0 || other->type != 0) /* 0: full names; relative ones nobody uses */
		return false;
	for (int i = 0; i < sk_GENERAL_NAME_num(one->name.fullname); i++) {
		for (int j = 0; j < sk_GENERAL_NAME_num(other->name.fullname); j++) {
			if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(one->name.fullname, i), sk_GENERAL_NAME_value(other->name.fullname, j)) == 0)
				return true;
		}
	}
	return false;
}

/* RFC 5280 6.3.3 (b)(2): whether the part of an authority's certificates that the list is about has this one in it. */
static bool is_in_scope(const ISSUING_DIST_POINT *idp, X509 *certificate) {
	if (idp == NULL)
		return true;
	bool authority = X509_check_ca(certificate) > 0;
	if ((idp->onlyuser > 0 && authority) || (idp->onlyCA > 0 && !authority))
		return false;
	if (idp->distpoint == NULL)
		return true;
	CRL_DIST_POINTS *points = X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL, NULL);
	bool shared = false;
	for (int i = 0; points != NULL && i < sk_DIST_POINT_num(points) && !shared; i++)
		shared = share_a_name(idp->distpoint, sk_DIST_POINT_value(points, i)->distpoint);
	CRL_DIST_POINTS_free(points);
	return shared;
}

/* RFC 5280 4.1.2.2: 20 bytes. */
#define SERIAL_MAX 256

struct look {
	int64_t now;
	X509 *certificate, *issuer;
	uint32_t issuer_hash;
	size_t serial_length;
	unsigned char serial[SERIAL_MAX];
	/* what came of it */
	bool revoked, covered;
	const char *cause; /* why not covered */
	int64_t until;     /* 0: for ever */
};

static void note_time(struct look *look, int64_t time) {
	if (time > look->now && (look->until == 0 || time < look->until))
		look->until = time;
}

/* What one list of the certificate's issuer says. OK or NO_MEMORY. */
static enum s2sp_status ask(struct look *look, struct s2sp_crl *list) {
	bool good = false;
	look->cause = list->useless;
	if (list->useless != NULL)
		return S2SP_STATUS_OK;
	note_time(look, list->this_update);
	note_time(look, list->next_update);
	look->cause = "the revocation list of its issuer is not valid yet";
	if (list->this_update > look->now)
		return S2SP_STATUS_OK;
	look->cause = "the revocation list of its issuer has expired";
	if (list->next_update != 0 && list->next_update <= look->now)
		return S2SP_STATUS_OK;
	/* RFC 5280 6.3.3 (f); all ones where there is no such extension. */
	look->cause = "the key usage of its issuer does not allow the signing of revocation lists";
	if ((X509_get_key_usage(look->issuer) & KU_CRL_SIGN) == 0)
		return S2SP_STATUS_OK;
	look->cause = "the revocation list of its issuer is not signed by the issuer's key";
	enum s2sp_status status = is_signed(list, look->issuer, &good);
	if (status != S2SP_STATUS_OK || !good)
		return status;
	const struct s2sp_text serial = { (const char *)look->serial, look->serial_length };
	look->revoked = look->revoked || s2sp_index_find(&list->serials, 0, serial) != S2SP_INDEX_NONE;
	/* What follows can still revoke, but is not all that there is to know. */
	look->cause = "there is only a delta revocation list of its issuer";
	if (list->delta)
		return S2SP_STATUS_OK;
	look->cause = "the revocation list of its issuer does not say when there will be another";
	if (list->next_update == 0)
		return S2SP_STATUS_OK;
	look->cause = "the revocation list of its issuer is a partial one, about other certificates or reasons";
	if ((list->idp != NULL && list->idp->onlysomereasons != NULL) || !is_in_scope(list->idp, look->certificate))
		return S2SP_STATUS_OK;
	look->covered = true;
	return S2SP_STATUS_OK;
}

/* OK, NO_MEMORY, or INVALID for a serial number that is too long to be looked for. */
static enum s2sp_status look_up(struct look *look, const struct s2sp_certificate_question *question) {
	const X509_NAME *name = X509_get_issuer_name(look->certificate);
	if (!s2sp_openssl_name_hash(name, &look->issuer_hash))
		return S2SP_STATUS_NO_MEMORY;
	look->serial_length =
		s2sp_openssl_serial(X509_get0_serialNumber(look->certificate), look->serial, sizeof(look->serial));
	if (look->serial_length == 0)
		return s2sp_openssl_drain() ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
	look->cause = "there is no revocation list of its issuer";
	for (size_t i = 0; i < question->crl_count; i++) {
		const struct s2sp_crl_file *file = question->crls[i];
		for (size_t j = 0; j < file->count; j++) {
			struct s2sp_crl *list = file->lists[j];
			int order = list->issuer == look->issuer_hash ? X509_NAME_cmp(X509_CRL_get_issuer(list->head), name) : 1;
			if (order == -2)
				return S2SP_STATUS_NO_MEMORY;
			enum s2sp_status status = order == 0 ? ask(look, list) : S2SP_STATUS_OK;
			if (status != S2SP_STATUS_OK)
				return status;
		}
	}
	return S2SP_STATUS_OK;
}

static void report_uncovered(struct s2sp_certificate_report *report, const struct look *look, int depth) {
	if (report == NULL || report->uncovered != NULL)
		return;
	report->uncovered = look->cause;
	report->uncovered_depth = depth;
	s2sp_openssl_name(X509_get_issuer_name(look->certificate), report->uncovered_issuer, sizeof(report->uncovered_issuer));
}

static enum s2sp_certificate_verdict conclude_all(const struct s2sp_certificate_question *question, const char *uncovered,
												  const char **cause) {
	switch (question->revocation) {
	case S2SP_REVOCATION_UNSET:
	case S2SP_REVOCATION_OFF:
	case S2SP_REVOCATION_IF_KNOWN:
		return S2SP_CERTIFICATE_VALID;
	case S2SP_REVOCATION_REQUIRED:
		*cause = uncovered;
		return uncovered == NULL ? S2SP_CERTIFICATE_VALID : S2SP_CERTIFICATE_REVOCATION_UNKNOWN;
	}
	*cause = "an unknown kind of revocation";
	return S2SP_CERTIFICATE_UNKNOWN;
}

enum s2sp_certificate_verdict s2sp_revocation_judge(const struct s2sp_certificate_question *question, STACK_OF(X509) * chain,
													struct s2sp_certificate_report *report, const char **cause, int *depth) {
	const char *uncovered = NULL;
	int count = sk_X509_num(chain), uncovered_depth = -1;
	if (question->revocation == S2SP_REVOCATION_UNSET || question->revocation == S2SP_REVOCATION_OFF)
		return S2SP_CERTIFICATE_VALID;
	for (int i = 0; i + 1 < count; i++) {
		struct look look = { .now = question->now, .certificate = sk_X509_value(chain, i), .issuer = sk_X509_value(chain, i + 1) };
		enum s2sp_status status = look_up(&look, question);
		s2sp_openssl_drain();
		*depth = i;
		*cause = "its serial number is longer than 256 bytes";
		if (status == S2SP_STATUS_INVALID)
			return S2SP_CERTIFICATE_REVOCATION_UNKNOWN;
		*cause = "out of memory";
		if (status != S2SP_STATUS_OK)
			return S2SP_CERTIFICATE_UNKNOWN;
		if (report != NULL && look.until != 0 && (report->revocation_until == 0 || look.until < report->revocation_until))
			report->revocation_until = look.until;
		*cause = "its issuer has revoked it";
		if (look.revoked)
			return S2SP_CERTIFICATE_REVOKED;
		if (!look.covered) {
			report_uncovered(report, &look, i);
			uncovered_depth = uncovered == NULL ? i : uncovered_depth;
			uncovered = uncovered == NULL ? look.cause : uncovered;
		}
	}
	*depth = uncovered_depth;
	return conclude_all(question, uncovered, cause);
}

void s2sp_revocation_links(STACK_OF(X509) * chain, struct s2sp_certificate_report *report) {
	int count = sk_X509_num(chain);
	for (int i = 0; i + 1 < count; i++) {
		X509 *certificate = sk_X509_value(chain, i);
		unsigned char *link = report->links + report->link_bytes;
		if (sizeof(report->links) - report->link_bytes < 5 + S2SP_LINK_SERIAL_MAX)
			return;
		uint32_t issuer;
		if (!s2sp_openssl_name_hash(X509_get_issuer_name(certificate), &issuer)) {
			report->links[0] = 0; /* cannot be read, so it may be anything */
			report->link_bytes = 1;
			return;
		}
		memcpy(link, &issuer, sizeof(issuer));
		link[4] = (unsigned char)s2sp_openssl_serial(X509_get0_serialNumber(certificate), link + 5, S2SP_LINK_SERIAL_MAX);
		report->link_bytes += 5u + link[4];
	}
}

bool s2sp_revocation_each_link(struct s2sp_text links, bool (*visit)(const void *with, uint32_t issuer, struct s2sp_text serial),
							   const void *with) {
	while (links.length >= 5) {
		uint32_t issuer;
		size_t length = (unsigned char)links.bytes[4];
		memcpy(&issuer, links.bytes, sizeof(issuer));
		if (length > links.length - 5 || visit(with, issuer, (struct s2sp_text){ links.bytes + 5, length }))
			return true; /* what cannot be read may be anything */
		links.bytes += 5 + length;
		links.length -= 5 + length;
	}
	return links.length > 0;
}
