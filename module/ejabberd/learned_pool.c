/* What is kept: who gets in, who has to go, and what leads from a leaf to the anchors of a store. */
#include "learned_pool.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct learned_entry entries[LEARNED_KEPT_MAX];
static size_t entry_count;
/* How many each authority has. */
static struct {
	struct learned_digest authority;
	size_t count;
} shares[LEARNED_KEPT_MAX];
static size_t share_count;
static uint64_t tick;
static struct s2sp_learned_counts counts;
static _Thread_local bool paused;

void learned_lock(void) {
	pthread_mutex_lock(&lock);
}

void learned_unlock(void) {
	pthread_mutex_unlock(&lock);
}

static struct learned_entry *find(const struct learned_digest *digest) {
	for (size_t i = 0; i < entry_count; i++) {
		if (learned_same(&entries[i].digest, digest))
			return &entries[i];
	}
	return NULL;
}

static size_t share_at(const struct learned_digest *authority) {
	size_t at = 0;
	while (at < share_count && !learned_same(&shares[at].authority, authority))
		at++;
	return at;
}

static void forget(struct learned_entry *entry) {
	size_t at = share_at(&entry->authority);
	if (at < share_count && --shares[at].count == 0)
		shares[at] = shares[--share_count];
	counts.bytes -= (size_t)entry->size;
	X509_free(entry->certificate);
	OPENSSL_free(entry->der);
	*entry = entries[--entry_count];
}

/*
 * Each entry is in the share of one anchor, so only those of the anchors that go are looked at. A list of many partners is exchanged in one
 * reload, one store after the other, by whichever thread collects garbage; handshakes wait for the lock.
 */
void learned_purge(const struct s2sp_learned_anchors *gone) {
	for (size_t i = 0; i < gone->count; i++) {
		const struct learned_digest *authority = &gone->list[i].digest;
		if (share_at(authority) == share_count || learned_is_anchor(authority))
			continue;
		for (size_t j = entry_count; j > 0; j--) {
			if (learned_same(&entries[j - 1].authority, authority))
				forget(&entries[j - 1]);
		}
	}
}

/* Whether `one` goes before `other`: what is past its time first, then what never helped anybody, then by age. */
static bool goes_before(const struct learned_entry *one, const struct learned_entry *other) {
	if (one->past != other->past)
		return one->past;
	return one->used != other->used ? one->used < other->used : one->admitted < other->admitted;
}

static void evict_from(const struct learned_digest *authority) {
	struct learned_entry *oldest = NULL;
	for (size_t i = 0; i < entry_count; i++) {
		if (learned_same(&entries[i].authority, authority) && (oldest == NULL || goes_before(&entries[i], oldest)))
			oldest = &entries[i];
	}
	if (oldest == NULL)
		return;
	counts.evicted++;
	forget(oldest);
}

/* Room for one more of that authority: out of its own share when that is full, else out of the largest one. */
static void make_room(const struct learned_digest *authority) {
	size_t at = share_at(authority), largest = 0;
	if (at < share_count && shares[at].count >= LEARNED_SHARE_MAX)
		evict_from(authority);
	if (entry_count < LEARNED_KEPT_MAX)
		return;
	for (size_t i = 0; i < entry_count; i++) {
		if (entries[i].past) {
			counts.evicted++;
			forget(&entries[i]);
			return;
		}
	}
	for (size_t i = 1; i < share_count; i++)
		largest = shares[i].count > shares[largest].count ? i : largest;
	const struct learned_digest from = shares[largest].authority;
	evict_from(&from);
}

/* What is past its time takes nobody's room. */
static bool is_room_for_past(const struct learned_digest *authority) {
	size_t at = share_at(authority);
	return entry_count < LEARNED_KEPT_MAX && (at == share_count || shares[at].count < LEARNED_SHARE_MAX);
}

static void count_in(const struct learned_digest *authority) {
	size_t at = share_at(authority);
	if (at == share_count) {
		shares[share_count].authority = *authority;
		shares[share_count++].count = 0;
	}
	shares[at].count++;
}

/* Whether `issuer` has signed it; one signature off the budget. */
static bool is_signed_by(struct learned_entry *entry, X509 *issuer, int *budget) {
	if (*budget <= 0 || X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(entry->certificate)) != 0)
		return false;
	--*budget;
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	bool is = key != NULL && X509_verify(entry->certificate, key) == 1;
	counts.refused += !is;
	return is;
}

static bool has_parent(const struct learned_entry *entry, const struct learned_digest *digest) {
	for (size_t i = 0; i < entry->parent_count; i++) {
		if (learned_same(&entry->parents[i], digest))
			return true;
	}
	return false;
}

static void try_parent(struct learned_entry *entry, X509 *issuer, uint32_t name, const struct learned_digest *digest,
					   const struct learned_digest *authority, int *budget) {
	if (name != entry->issuer || entry->parent_count == LEARNED_PARENTS_MAX || learned_same(digest, &entry->digest) ||
		has_parent(entry, digest) || !is_signed_by(entry, issuer, budget))
		return;
	if (entry->parent_count == 0)
		entry->authority = *authority;
	entry->parents[entry->parent_count++] = *digest;
}

/* What one handshake has shown, and how many signatures may still be verified for it. */
struct handshake {
	int budget;
	bool past; /* those are considered that have expired; last, with what is left of the budget */
	size_t count;
	X509 *shown[LEARNED_LOOKED_AT];
	struct learned_digest digests[LEARNED_LOOKED_AT];
};

static bool was_shown(const struct handshake *handshake, const struct learned_digest *digest) {
	for (size_t i = 0; i < handshake->count; i++) {
		if (learned_same(&handshake->digests[i], digest))
			return true;
	}
	return false;
}

/*
 * Where those who have signed it are looked for, one after the other. An authority may issue any number of certificates in the name of
 * another one; they come last, when the budget may be used up.
 */
enum place { ANCHORS, SHOWN, KEPT, PLACES };

static void find_parents(struct learned_entry *entry, struct handshake *handshake, enum place place) {
	const struct s2sp_learned_anchors *anchors = place == ANCHORS ? learned_all_anchors : NULL;
	for (; anchors != NULL; anchors = anchors->next) {
		for (size_t i = 0; i < anchors->count; i++) {
			const struct learned_anchor *anchor = &anchors->list[i];
			try_parent(entry, anchor->certificate, anchor->name, &anchor->digest, &anchor->digest, &handshake->budget);
		}
	}
	for (size_t i = 0; place != ANCHORS && i < entry_count; i++) {
		const struct learned_entry *other = &entries[i];
		if (!other->past && other->subject == entry->issuer && was_shown(handshake, &other->digest) == (place == SHOWN))
			try_parent(entry, other->certificate, other->subject, &other->digest, &other->authority, &handshake->budget);
	}
	entry->anchors = learned_generation;
}

/* One that is kept already: there may be anchors that it has not been compared with. */
static void find_again(struct learned_entry *entry, struct handshake *handshake) {
	if (entry->anchors == learned_generation)
		return;
	for (unsigned place = ANCHORS; place < PLACES; place++)
		find_parents(entry, handshake, (enum place)place);
}

/* Whether it could be of use: an authority between others. */
static bool is_intermediate(X509 *certificate) {
	return X509_check_ca(certificate) == 1 && (X509_get_extension_flags(certificate) & EXFLAG_SI) == 0;
}

static bool is_past(const X509 *certificate) {
	return X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
}

/* Keeps a copy of `entry`, whose parents have been found. */
static void admit(struct learned_entry *entry) {
	if (entry->past && !is_room_for_past(&entry->authority))
		return;
	entry->der = NULL;
	entry->size = i2d_X509(entry->certificate, &entry->der);
	if (entry->size <= 0 || !X509_up_ref(entry->certificate)) {
		OPENSSL_free(entry->der);
		return;
	}
	make_room(&entry->authority);
	entry->admitted = ++tick;
	entries[entry_count++] = *entry;
	count_in(&entry->authority);
	counts.bytes += (size_t)entry->size;
	counts.admitted++;
}

/* One certificate of a handshake; true when it has got in. */
static bool consider(struct handshake *handshake, size_t at, enum place place) {
	struct learned_entry entry = { .certificate = handshake->shown[at], .digest = handshake->digests[at] };
	struct learned_entry *known = find(&entry.digest);
	if (known != NULL) {
		find_again(known, handshake);
		return false;
	}
	entry.past = is_past(entry.certificate);
	if (entry.past != handshake->past)
		return false;
	entry.subject = learned_name_hash(X509_get_subject_name(entry.certificate));
	entry.issuer = learned_name_hash(X509_get_issuer_name(entry.certificate));
	find_parents(&entry, handshake, place);
	if (entry.parent_count == 0)
		return false;
	admit(&entry);
	return true;
}

static bool consider_all(struct handshake *handshake, enum place place) {
	bool more = false;
	for (size_t i = 0; i < handshake->count && handshake->budget > 0; i++)
		more = consider(handshake, i, place) || more;
	return more;
}

/* Certificates come in any order: those are gone over anew as long as one more gets in. */
static void consider_handshake(struct handshake *handshake) {
	consider_all(handshake, ANCHORS);
	while (consider_all(handshake, SHOWN))
		continue;
	consider_all(handshake, KEPT);
	while (consider_all(handshake, SHOWN))
		continue;
	handshake->past = true;
	for (unsigned place = ANCHORS; place < PLACES; place++)
		consider_all(handshake, (enum place)place);
}

/* Those that could get in. */
static void read_shown(STACK_OF(X509) * shown, struct handshake *handshake) {
	int count = sk_X509_num(shown) < LEARNED_LOOKED_AT ? sk_X509_num(shown) : LEARNED_LOOKED_AT;
	for (int i = 0; i < count; i++) {
		X509 *certificate = sk_X509_value(shown, i);
		int size = i2d_X509(certificate, NULL);
		if (size <= 0 || size > LEARNED_SIZE_MAX || !is_intermediate(certificate) ||
			!learned_digest_of(certificate, &handshake->digests[handshake->count]))
			continue;
		handshake->shown[handshake->count++] = certificate;
	}
}

/*
 * The end of any verification in this process, on the thread that did it: what it costs has a bound that no peer can move. Certificates
 * come in any order, so they are gone over as long as one more gets in.
 */
static void on_end(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long number, void *pointer) {
	X509_STORE_CTX *context = parent;
	STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(context);
	struct handshake handshake = { .budget = LEARNED_SIGNATURES_MAX, .count = 0 };
	(void)data;
	(void)all;
	(void)index;
	(void)number;
	(void)pointer;
	if (shown == NULL || paused)
		return;
	ERR_set_mark(); /* the handshake that this is part of reads the queue of errors */
	read_shown(shown, &handshake);
	if (handshake.count > 0) {
		learned_lock();
		counts.seen++;
		if (learned_all_anchors != NULL)
			consider_handshake(&handshake);
		learned_unlock();
	}
	ERR_pop_to_mark();
}

void s2sp_learned_pause(bool pause) {
	paused = pause;
}

bool s2sp_learned_start(void) {
	if (!counts.listening)
		counts.listening = X509_STORE_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_end) >= 0;
	return counts.listening;
}

struct s2sp_learned_counts s2sp_learned_counts(void) {
	learned_lock();
	struct s2sp_learned_counts now = counts;
	now.kept = entry_count;
	learned_unlock();
	return now;
}

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
		struct learned_entry *parent = find(&entry->parents[i]);
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
	size_t at = (size_t)(entry - entries);
	if (path->count == path->room || is_on(path, at) || !leads_to(anchors, entry))
		return;
	path->at[path->count++] = at;
	path->bytes += (size_t)entry->size;
}

/*
 * Those that have signed the leaf, not all of the name that it says: there may be many of that name. none->past: those that have expired,
 * which say no more than that.
 */
static void gather_issuers(const struct s2sp_learned_anchors *anchors, X509 *leaf, struct path *path, struct handshake *none) {
	const X509_NAME *issuer = X509_get_issuer_name(leaf);
	uint32_t name = learned_name_hash(issuer);
	for (size_t i = 0; i < entry_count && none->budget > 0; i++) {
		struct learned_entry *entry = &entries[i];
		if (entry->past != none->past || entry->subject != name ||
			X509_NAME_cmp(X509_get_subject_name(entry->certificate), issuer) != 0)
			continue;
		none->budget--;
		EVP_PKEY *key = X509_get0_pubkey(entry->certificate);
		if (key == NULL || X509_verify(leaf, key) != 1)
			continue;
		find_again(entry, none);
		add_to(anchors, entry, path);
	}
}

/* And those above them, whose signatures were verified when they got in. */
static void gather_parents(const struct s2sp_learned_anchors *anchors, size_t at, struct path *path, struct handshake *none) {
	for (size_t i = 0; i < entries[at].parent_count; i++) {
		struct learned_entry *parent = find(&entries[at].parents[i]);
		if (parent == NULL)
			continue;
		find_again(parent, none);
		add_to(anchors, parent, path);
	}
}

/* Copies what was gathered behind the chain. */
static void *copy_out(const struct path *path, struct s2sp_text *chain, size_t count) {
	unsigned char *bytes = malloc(path->bytes), *at = bytes;
	for (size_t i = 0; bytes != NULL && i < path->count; i++) {
		const struct learned_entry *entry = &entries[path->at[i]];
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
	struct handshake none = { .budget = ALL_SIGNATURES, .count = 0 };
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
	tick++;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < entry_count; j++) {
			if ((size_t)entries[j].size == certificates[i].length &&
				memcmp(entries[j].der, certificates[i].bytes, certificates[i].length) == 0)
				entries[j].used = tick;
		}
	}
	learned_unlock();
}

void s2sp_learned_give_back(void *hints) {
	free(hints);
}
