/* What a revocation list is apart from its entries: read by OpenSSL out of the list with the entries left out. */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "certificate_lists.h"
#include "certificate_openssl.h"

/* As security level 2 has it for certificates: half the digest's bits; MD5 and SHA-1 are broken below that. */
#define DIGEST_BYTES_MIN 28

static int digest_of_pss(const X509_ALGOR *algorithm) {
	const void *parameter = NULL;
	int type = V_ASN1_UNDEF, nid = NID_undef;
	X509_ALGOR_get0(NULL, &type, &parameter, algorithm);
	if (type != V_ASN1_SEQUENCE)
		return NID_undef;
	RSA_PSS_PARAMS *pss = ASN1_item_unpack(parameter, ASN1_ITEM_rptr(RSA_PSS_PARAMS));
	if (pss != NULL && pss->hashAlgorithm != NULL) /* absent: SHA-1 */
		nid = OBJ_obj2nid(pss->hashAlgorithm->algorithm);
	RSA_PSS_PARAMS_free(pss);
	return nid;
}

static bool is_strong(const X509_CRL *head) {
	const X509_ALGOR *algorithm = NULL;
	int digest = NID_undef, key = NID_undef;
	X509_CRL_get0_signature(head, NULL, &algorithm);
	int nid = X509_CRL_get_signature_nid(head);
	if (nid == NID_rsassaPss)
		digest = digest_of_pss(algorithm);
	else if (nid == NID_ED25519 || nid == NID_ED448)
		return true;
	else if (!OBJ_find_sigid_algs(nid, &digest, &key))
		return false;
	const EVP_MD *method = digest == NID_undef ? NULL : EVP_get_digestbynid(digest);
	return method != NULL && EVP_MD_get_size(method) >= DIGEST_BYTES_MIN;
}

/* Critical or not, these are understood, or, as the number, of no account. */
static bool is_known(int nid) {
	return nid == NID_authority_key_identifier || nid == NID_crl_number || nid == NID_delta_crl ||
		   nid == NID_issuing_distribution_point || nid == NID_issuer_alt_name || nid == NID_freshest_crl;
}

/* RFC 5280 5.2: a list with a critical extension that is not known says nothing of any certificate. */
static const char *object_to_extensions(const X509_CRL *head) {
	for (int i = 0; i < X509_CRL_get_ext_count(head); i++) {
		X509_EXTENSION *extension = X509_CRL_get_ext(head, i);
		int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
		if (X509_EXTENSION_get_critical(extension) && !is_known(nid))
			return "the revocation list of its issuer has a critical extension that is not known";
	}
	return NULL;
}

/* RFC 5280 5.2.5. Indirect lists, of one authority about the certificates of others, are not supported. */
static const char *object_to_scope(struct s2sp_crl *list) {
	int state = -1;
	list->idp = X509_CRL_get_ext_d2i(list->head, NID_issuing_distribution_point, &state, NULL);
	if (list->idp == NULL)
		return state == -1 ? NULL : "the revocation list of its issuer has a damaged issuing distribution point";
	if (list->idp->indirectCRL > 0)
		return "the revocation list of its issuer is an indirect one, which is not supported";
	if (list->idp->onlyattr > 0)
		return "the revocation list of its issuer is about attribute certificates only";
	if (list->idp->onlyuser > 0 && list->idp->onlyCA > 0)
		return "the revocation list of its issuer has a scope that contradicts itself";
	return NULL;
}

enum s2sp_status s2sp_crl_read_head(struct s2sp_crl *list) {
	const char *useless = object_to_extensions(list->head);
	const char *scope = object_to_scope(list);
	bool strong = is_strong(list->head);
	if (list->useless == NULL)
		list->useless = useless != NULL ? useless
						: scope != NULL ? scope
						: strong        ? NULL
										: "the signature of the revocation list of its issuer is too weak (SHA-224 at least)";
	list->delta = X509_CRL_get_ext_by_NID(list->head, NID_delta_crl, -1) >= 0;
	list->this_update = s2sp_openssl_time(X509_CRL_get0_lastUpdate(list->head));
	const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list->head);
	list->next_update = next == NULL ? 0 : s2sp_openssl_time(next);
	bool hashed = s2sp_openssl_name_hash(X509_CRL_get_issuer(list->head), &list->issuer);
	bool memory = s2sp_openssl_drain() || !hashed;
	if (list->useless == NULL && (list->this_update == 0 || (next != NULL && list->next_update == 0)))
		list->useless = "the revocation list of its issuer has dates that cannot be read";
	return memory ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_OK;
}

void s2sp_crl_free(struct s2sp_crl *list) {
	if (list == NULL)
		return;
	X509_CRL_free(list->head);
	ISSUING_DIST_POINT_free(list->idp);
	for (size_t i = 0; i < list->key_count; i++)
		EVP_PKEY_free(list->keys[i].public);
	s2sp_index_end(&list->serials);
	OPENSSL_free(list->der);
	CRYPTO_THREAD_lock_free(list->lock);
	OPENSSL_free(list);
}

/* --- files of lists --- */

void s2sp_crl_file_free(struct s2sp_crl_file *file) {
	if (file == NULL)
		return;
	for (size_t i = 0; i < file->count; i++)
		s2sp_crl_free(file->lists[i]);
	free(file->lists);
	free(file);
}

size_t s2sp_crl_file_lists(const struct s2sp_crl_file *file) {
	return file->count;
}

size_t s2sp_crl_file_entries(const struct s2sp_crl_file *file) {
	size_t count = 0;
	for (size_t i = 0; i < file->count; i++)
		count += file->lists[i]->serials.count;
	return count;
}

size_t s2sp_crl_file_size(const struct s2sp_crl_file *file) {
	size_t size = sizeof(*file);
	for (size_t i = 0; i < file->count; i++) {
		const struct s2sp_crl *list = file->lists[i];
		size += sizeof(*list) + list->der_size + list->serials.slot_count * (sizeof(*list->serials.slots) + 1);
	}
	return size;
}

bool s2sp_crl_file_next_update(const struct s2sp_crl_file *file, int64_t *this_update, int64_t *next_update) {
	bool found = false;
	for (size_t i = 0; i < file->count; i++) {
		const struct s2sp_crl *list = file->lists[i];
		if (list->next_update == 0 || (found && list->next_update >= *next_update))
			continue;
		found = true;
		*this_update = list->this_update;
		*next_update = list->next_update;
	}
	return found;
}

int64_t s2sp_crl_file_begins(const struct s2sp_crl_file *file, int64_t now) {
	int64_t begins = 0;
	for (size_t i = 0; i < file->count; i++) {
		int64_t time = file->lists[i]->this_update;
		if (time > now && (begins == 0 || time < begins))
			begins = time;
	}
	return begins;
}

bool s2sp_crl_file_same(const struct s2sp_crl_file *one, const struct s2sp_crl_file *other) {
	bool same = one->count == other->count;
	for (size_t i = 0; i < one->count && same; i++)
		same = one->lists[i]->der_size == other->lists[i]->der_size &&
			   memcmp(one->lists[i]->der, other->lists[i]->der, one->lists[i]->der_size) == 0;
	return same;
}

static bool mentions(const void *with, uint32_t issuer, struct s2sp_text serial) {
	const struct s2sp_crl_file *file = with;
	for (size_t i = 0; i < file->count; i++) {
		const struct s2sp_crl *list = file->lists[i];
		if (list->issuer == issuer && (serial.length == 0 || s2sp_index_find(&list->serials, 0, serial) != S2SP_INDEX_NONE))
			return true;
	}
	return false;
}

bool s2sp_crl_file_mentions(const struct s2sp_crl_file *file, struct s2sp_text links) {
	return s2sp_revocation_each_link(links, mentions, file);
}
