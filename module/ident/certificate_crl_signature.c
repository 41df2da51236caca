/* Who has signed a revocation list, and whether what takes its place comes from the same authority. */
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "certificate_lists.h"
#include "certificate_openssl.h"

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

/* Whether it is known, and then what, in *good; *full: no more can be. */
static bool recall(struct s2sp_crl *list, const struct s2sp_pin *pin, bool *good, bool *full) {
	bool known = false;
	if (CRYPTO_THREAD_read_lock(list->lock) != 1)
		return false;
	*full = list->key_count >= S2SP_CRL_KEYS;
	for (size_t i = 0; i < list->key_count && !known; i++) {
		known = memcmp(list->keys[i].key.sha256, pin->sha256, sizeof(pin->sha256)) == 0;
		if (known)
			*good = list->keys[i].good;
	}
	CRYPTO_THREAD_unlock(list->lock);
	return known;
}

static void remember(struct s2sp_crl *list, const struct s2sp_pin *pin, EVP_PKEY *key, bool good) {
	if (CRYPTO_THREAD_write_lock(list->lock) != 1)
		return;
	if (list->key_count < S2SP_CRL_KEYS) {
		struct s2sp_crl_key *kept = &list->keys[list->key_count++];
		kept->key = *pin;
		kept->good = good;
		kept->public = good && EVP_PKEY_up_ref(key) == 1 ? key : NULL;
	}
	CRYPTO_THREAD_unlock(list->lock);
}

static enum s2sp_status is_signed_by(struct s2sp_crl *list, EVP_PKEY *key, const struct s2sp_pin *pin, size_t *budget,
									 bool *good) {
	bool full = false;
	*good = false;
	if (recall(list, pin, good, &full))
		return S2SP_STATUS_OK;
	if (full || *budget == 0)
		return S2SP_STATUS_FAILED;
	--*budget;
	enum s2sp_status status = verify(list, key, good);
	if (status == S2SP_STATUS_OK)
		remember(list, pin, key, *good);
	return status;
}

enum s2sp_status s2sp_crl_is_signed(struct s2sp_crl *list, X509 *issuer, size_t *budget, bool *good) {
	struct s2sp_pin pin;
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	*good = false;
	if (key == NULL || !s2sp_openssl_pin(issuer, &pin))
		return S2SP_STATUS_NO_MEMORY; /* the chain has been verified with it */
	return is_signed_by(list, key, &pin, budget, good);
}

/* --- what takes the place of a list --- */

static const ASN1_OCTET_STRING *scope_of(const struct s2sp_crl *list) {
	int at = X509_CRL_get_ext_by_NID(list->head, NID_issuing_distribution_point, -1);
	return at < 0 ? NULL : X509_EXTENSION_get_data(X509_CRL_get_ext(list->head, at));
}

/* Whether both are about the same certificates. A complete list is all that a delta was. */
static bool same_subject(const struct s2sp_crl *before, const struct s2sp_crl *next) {
	const ASN1_OCTET_STRING *one = scope_of(before), *other = scope_of(next);
	return before->issuer == next->issuer && (before->delta || !next->delta) &&
		   X509_NAME_cmp(X509_CRL_get_issuer(before->head), X509_CRL_get_issuer(next->head)) == 0 &&
		   (one == NULL ? other == NULL : other != NULL && ASN1_OCTET_STRING_cmp(one, other) == 0);
}

/* Of a file that takes another's place: it is compared in one go. More is not found in files that somebody has use for. */
#define SUCCESSION_SIGNATURES 64
#define SUCCESSION_COMPARISONS 1000000

struct succession {
	const struct s2sp_crl_file *next;
	int64_t now;
	size_t signatures, comparisons; /* that are left */
	const char *fault;              /* static; NULL: none */
	int64_t begins;                 /* when the first of those that are not valid yet becomes valid; 0: all are valid */
};

/* Looks for the list that follows `before`, which `key` has signed. OK, NO_MEMORY, or FAILED when there is too much to be compared. */
static enum s2sp_status find_successor(const struct s2sp_crl *before, const struct s2sp_crl_key *key,
									   struct succession *succession) {
	succession->fault = "is not there any more";
	succession->begins = 0;
	for (size_t i = 0; i < succession->next->count; i++) {
		struct s2sp_crl *next = succession->next->lists[i];
		bool good = false;
		if (succession->comparisons == 0)
			return S2SP_STATUS_FAILED;
		--succession->comparisons;
		if (!same_subject(before, next))
			continue;
		succession->fault = "counts for nothing now";
		if (next->useless != NULL)
			continue;
		succession->fault = "is older than it was";
		if (next->this_update < before->this_update)
			continue;
		succession->fault = "is not valid yet";
		succession->begins = next->this_update;
		if (next->this_update > succession->now)
			continue;
		succession->begins = 0;
		succession->fault = "is not signed any more by the key that has signed it before";
		enum s2sp_status status = is_signed_by(next, key->public, &key->key, &succession->signatures, &good);
		if (status == S2SP_STATUS_OK && !good)
			continue;
		if (status == S2SP_STATUS_OK)
			succession->fault = NULL;
		return status;
	}
	return S2SP_STATUS_OK;
}

static void say_fault(const struct s2sp_crl *list, const char *fault, char *message, size_t size) {
	char issuer[S2SP_REPORT_TEXT];
	s2sp_openssl_name(X509_CRL_get_issuer(list->head), issuer, sizeof(issuer));
	s2sp_append_printable(message, size, S2SP_TEXT("the revocation list of "));
	s2sp_append_printable(message, size, s2sp_text_from(issuer));
	s2sp_append_printable(message, size, S2SP_TEXT(" "));
	s2sp_append_printable(message, size, s2sp_text_from(fault));
}

enum s2sp_status s2sp_crl_file_follows(const struct s2sp_crl_file *next, const struct s2sp_crl_file *before, int64_t now,
									   char *message, size_t size, int64_t *again) {
	struct succession succession = { next, now, SUCCESSION_SIGNATURES, SUCCESSION_COMPARISONS, NULL, 0 };
	message[0] = '\0';
	*again = 0;
	s2sp_openssl_drain();
	for (size_t i = 0; i < before->count; i++) {
		const struct s2sp_crl *list = before->lists[i];
		if (list->useless != NULL || list->this_update > now || (list->next_update != 0 && list->next_update <= now))
			continue;
		for (size_t k = 0; k < list->key_count; k++) {
			if (list->keys[k].public == NULL)
				continue;
			enum s2sp_status status = find_successor(list, &list->keys[k], &succession);
			s2sp_openssl_drain();
			if (status == S2SP_STATUS_NO_MEMORY)
				return status;
			if (status == S2SP_STATUS_FAILED)
				succession.fault = "has too many others beside it";
			if (succession.fault == NULL)
				continue;
			say_fault(list, succession.fault, message, size);
			*again = succession.begins != 0 && (list->next_update == 0 || succession.begins < list->next_update)
						 ? succession.begins
						 : list->next_update;
			return S2SP_STATUS_INVALID;
		}
	}
	return S2SP_STATUS_OK;
}
