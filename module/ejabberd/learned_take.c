/* What leads from a leaf to the anchors of a store. */
#include "learned_pool.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <limits.h>
#include <stdlib.h>

/* The take that goes on: each is about one set of anchors. */
static uint64_t taking;

/*
 * Whether it leads to one of `anchors` over signatures that were verified. An authority can issue many certificates of one name, level upon level:
 * each entry is looked at once in a take, however many paths lead there.
 */
static bool leads_to(const struct s2sp_learned_anchors *anchors, struct learned_entry *entry) {
	if (entry->asked == taking)
		return entry->leads;
	entry->asked = taking;
	entry->leads = false;
	for (size_t i = 0; i < entry->parent_count && !entry->leads; i++) {
		struct learned_entry *parent = learned_find(&entry->parents[i]);
		entry->leads = learned_find_anchor(anchors, &entry->parents[i]) != NULL || (parent != NULL && leads_to(anchors, parent));
	}
	return entry->leads;
}

/* What is being gathered: places in `entries`, each once, in the order of their distance from the leaf. */
struct path {
	size_t count, room;
	size_t at[LEARNED_PATH_MAX];
	size_t bytes;
};

static bool is_on(const struct path *path, size_t at) {
	for (size_t i = 0; i < path->count; i++) {
		if (path->at[i] == at)
			return true;
	}
	return false;
}

enum { ALL_SIGNATURES = 64 };

static void add_to(const struct s2sp_learned_anchors *anchors, struct learned_entry *entry, struct path *path) {
	size_t at = (size_t)(entry - learned_entries);
	if (path->count == path->room || is_on(path, at) || !leads_to(anchors, entry))
		return;
	path->at[path->count++] = at;
	path->bytes += (size_t)entry->size;
}

/*
 * Those that have signed the leaf, not all of the name that it says: there may be many of that name. none->past: those that have expired,
 * which say no more than that.
 */
static void gather_issuers(const struct s2sp_learned_anchors *anchors, X509 *leaf, struct path *path,
						   struct learned_handshake *none) {
	const X509_NAME *issuer = X509_get_issuer_name(leaf);
	uint32_t name = learned_name_hash(issuer);
	for (size_t i = 0; i < learned_entry_count && none->budget > 0; i++) {
		struct learned_entry *entry = &learned_entries[i];
		if (entry->past != none->past || entry->subject != name ||
			X509_NAME_cmp(X509_get_subject_name(entry->certificate), issuer) != 0)
			continue;
		none->budget--;
		EVP_PKEY *key = X509_get0_pubkey(entry->certificate);
		if (key == NULL || X509_verify(leaf, key) != 1)
			continue;
		learned_find_again(entry, none);
		add_to(anchors, entry, path);
	}
}

/* And those above them, whose signatures were verified when they got in. */
static void gather_parents(const struct s2sp_learned_anchors *anchors, size_t at, struct path *path,
						   struct learned_handshake *none) {
	for (size_t i = 0; i < learned_entries[at].parent_count; i++) {
		struct learned_entry *parent = learned_find(&learned_entries[at].parents[i]);
		if (parent == NULL)
			continue;
		learned_find_again(parent, none);
		add_to(anchors, parent, path);
	}
}

/* Copies what was gathered behind the chain. */
static void *copy_out(const struct path *path, struct s2sp_text *chain, size_t count) {
	unsigned char *bytes = malloc(path->bytes), *at = bytes;
	for (size_t i = 0; bytes != NULL && i < path->count; i++) {
		const struct learned_entry *entry = &learned_entries[path->at[i]];
		memcpy(at, entry->der, (size_t)entry->size);
		chain[count + i] = (struct s2sp_text){ (const char *)at, (size_t)entry->size };
		at += entry->size;
	}
	return bytes;
}

void *s2sp_learned_take(const struct s2sp_learned_anchors *anchors, struct s2sp_text *chain, size_t count, size_t capacity,
						size_t *added) {
	struct path path = { .room = capacity > count ? capacity - count : 0 };
	void *hints = NULL;
	struct learned_handshake none = { .budget = ALL_SIGNATURES, .count = 0 };
	*added = 0;
	if (path.room > LEARNED_PATH_MAX)
		path.room = LEARNED_PATH_MAX;
	if (anchors == NULL || count == 0 || chain[0].length > LONG_MAX)
		return NULL;
	ERR_set_mark();
	const unsigned char *at = (const unsigned char *)chain[0].bytes;
	X509 *leaf = d2i_X509(NULL, &at, (long)chain[0].length);
	if (leaf != NULL) {
		learned_lock();
		taking++;
		gather_issuers(anchors, leaf, &path, &none);
		none.past = path.count == 0;
		if (none.past)
			gather_issuers(anchors, leaf, &path, &none);
		for (size_t i = 0; i < path.count; i++)
			gather_parents(anchors, path.at[i], &path, &none);
		if (path.count > 0)
			hints = copy_out(&path, chain, count);
		learned_unlock();
	}
	X509_free(leaf);
	ERR_pop_to_mark();
	*added = hints == NULL ? 0 : path.count;
	return hints;
}

void s2sp_learned_used(const struct s2sp_text *certificates, size_t count) {
	learned_lock();
	uint64_t tick = learned_tick();
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < learned_entry_count; j++) {
			if ((size_t)learned_entries[j].size == certificates[i].length &&
				memcmp(learned_entries[j].der, certificates[i].bytes, certificates[i].length) == 0)
				learned_entries[j].used = tick;
		}
	}
	learned_unlock();
}

void s2sp_learned_give_back(void *hints) {
	free(hints);
}
