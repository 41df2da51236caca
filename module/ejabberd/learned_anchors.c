/* The anchors of the stores in use. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "learned_pool.h"

struct s2sp_learned_anchors *learned_all_anchors;
uint64_t learned_generation = 1;

uint32_t learned_name_hash(const X509_NAME *name) {
	int fine = 0;
	unsigned long hash = X509_NAME_hash_ex(name, NULL, NULL, &fine);
	return fine ? (uint32_t)hash : 0;
}

bool learned_digest_of(const X509 *certificate, struct s2sp_learned_digest *digest) {
	unsigned length = 0;
	return X509_digest(certificate, EVP_sha256(), digest->sha256, &length) == 1 && length == sizeof(digest->sha256);
}

bool s2sp_learned_digest(const struct s2sp_text *parts, size_t count, struct s2sp_learned_digest *digest) {
	unsigned length = 0;
	ERR_set_mark();
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool fine = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
	for (size_t i = 0; i < count && fine; i++)
		fine = EVP_DigestUpdate(hash, &parts[i].length, sizeof(parts[i].length)) == 1 &&
			   EVP_DigestUpdate(hash, parts[i].bytes, parts[i].length) == 1;
	fine = fine && EVP_DigestFinal_ex(hash, digest->sha256, &length) == 1 && length == sizeof(digest->sha256);
	EVP_MD_CTX_free(hash);
	ERR_pop_to_mark();
	return fine;
}

const struct learned_anchor *learned_find_anchor(const struct s2sp_learned_anchors *anchors,
												 const struct s2sp_learned_digest *digest) {
	for (size_t i = 0; anchors != NULL && i < anchors->count; i++) {
		if (learned_same(&anchors->list[i].digest, digest))
			return &anchors->list[i];
	}
	return NULL;
}

bool learned_is_anchor(const struct s2sp_learned_digest *digest) {
	for (const struct s2sp_learned_anchors *anchors = learned_all_anchors; anchors != NULL; anchors = anchors->next) {
		if (learned_find_anchor(anchors, digest) != NULL)
			return true;
	}
	return false;
}

static void end_anchors(struct s2sp_learned_anchors *anchors) {
	for (size_t i = 0; i < anchors->count; i++)
		X509_free(anchors->list[i].certificate);
	free(anchors);
}

/* Takes over what it can of the certificates read. NULL when out of memory. */
static struct s2sp_learned_anchors *take_over(STACK_OF(X509_INFO) * infos) {
	int count = sk_X509_INFO_num(infos);
	size_t room = count > 0 ? (size_t)count : 0;
	struct s2sp_learned_anchors *anchors = calloc(1, sizeof(*anchors) + room * sizeof(anchors->list[0]));
	for (int i = 0; anchors != NULL && i < count; i++) {
		X509 *certificate = sk_X509_INFO_value(infos, i)->x509;
		struct learned_anchor *anchor = &anchors->list[anchors->count];
		if (certificate == NULL || !learned_digest_of(certificate, &anchor->digest) || !X509_up_ref(certificate))
			continue;
		anchor->certificate = certificate;
		anchor->name = learned_name_hash(X509_get_subject_name(certificate));
		anchors->count++;
	}
	return anchors;
}

struct s2sp_learned_anchors *s2sp_learned_anchors_new(const char *path) {
	struct s2sp_learned_anchors *anchors = NULL;
	ERR_set_mark();
	BIO *file = BIO_new_file(path, "r");
	STACK_OF(X509_INFO) *infos = file == NULL ? NULL : PEM_X509_INFO_read_bio(file, NULL, NULL, NULL);
	if (infos != NULL)
		anchors = take_over(infos);
	sk_X509_INFO_pop_free(infos, X509_INFO_free);
	BIO_free(file);
	ERR_pop_to_mark();
	if (anchors == NULL || anchors->count == 0) {
		free(anchors);
		return NULL;
	}
	learned_lock();
	anchors->next = learned_all_anchors;
	learned_all_anchors = anchors;
	learned_generation++;
	learned_unlock();
	return anchors;
}

void s2sp_learned_anchors_free(struct s2sp_learned_anchors *anchors) {
	if (anchors == NULL)
		return;
	learned_lock();
	struct s2sp_learned_anchors **at = &learned_all_anchors;
	while (*at != NULL && *at != anchors)
		at = &(*at)->next;
	if (*at == anchors)
		*at = anchors->next;
	learned_purge(anchors);
	learned_unlock();
	end_anchors(anchors);
}
