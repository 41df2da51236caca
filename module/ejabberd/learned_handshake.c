/* Who gets in: the end of each verification in this process is looked at. */
#include "learned_pool.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

static _Thread_local bool paused;

/* Whether `issuer` has signed it; one signature off the budget. */
static bool is_signed_by(struct learned_entry *entry, X509 *issuer, int *budget) {
	if (*budget <= 0 || X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(entry->certificate)) != 0)
		return false;
	--*budget;
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	bool is = key != NULL && X509_verify(entry->certificate, key) == 1;
	learned_numbers.refused += !is;
	return is;
}

static bool has_parent(const struct learned_entry *entry, const struct s2sp_learned_digest *digest) {
	for (size_t i = 0; i < entry->parent_count; i++) {
		if (learned_same(&entry->parents[i], digest))
			return true;
	}
	return false;
}

static void try_parent(struct learned_entry *entry, X509 *issuer, uint32_t name, const struct s2sp_learned_digest *digest,
					   const struct s2sp_learned_digest *authority, int *budget) {
	if (name != entry->issuer || entry->parent_count == LEARNED_PARENTS_MAX || learned_same(digest, &entry->digest) ||
		has_parent(entry, digest) || !is_signed_by(entry, issuer, budget))
		return;
	if (entry->parent_count == 0)
		entry->authority = *authority;
	entry->parents[entry->parent_count++] = *digest;
}

static bool was_shown(const struct learned_handshake *handshake, const struct s2sp_learned_digest *digest) {
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

static void find_parents(struct learned_entry *entry, struct learned_handshake *handshake, enum place place) {
	const struct s2sp_learned_anchors *anchors = place == ANCHORS ? learned_all_anchors : NULL;
	for (; anchors != NULL; anchors = anchors->next) {
		for (size_t i = 0; i < anchors->count; i++) {
			const struct learned_anchor *anchor = &anchors->list[i];
			try_parent(entry, anchor->certificate, anchor->name, &anchor->digest, &anchor->digest, &handshake->budget);
		}
	}
	for (size_t i = 0; place != ANCHORS && i < learned_entry_count; i++) {
		const struct learned_entry *other = &learned_entries[i];
		if (!other->past && other->subject == entry->issuer && was_shown(handshake, &other->digest) == (place == SHOWN))
			try_parent(entry, other->certificate, other->subject, &other->digest, &other->authority, &handshake->budget);
	}
	entry->anchors = learned_generation;
}

void learned_find_again(struct learned_entry *entry, struct learned_handshake *handshake) {
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

/* One certificate of a handshake; true when it has got in. */
static bool consider(struct learned_handshake *handshake, size_t at, enum place place) {
	struct learned_entry entry = { .certificate = handshake->shown[at], .digest = handshake->digests[at] };
	struct learned_entry *known = learned_find(&entry.digest);
	if (known != NULL) {
		learned_find_again(known, handshake);
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
	learned_admit(&entry);
	return true;
}

static bool consider_all(struct learned_handshake *handshake, enum place place) {
	bool more = false;
	for (size_t i = 0; i < handshake->count && handshake->budget > 0; i++)
		more = consider(handshake, i, place) || more;
	return more;
}

/* Certificates come in any order: those are gone over anew as long as one more gets in. */
static void consider_handshake(struct learned_handshake *handshake) {
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
static void read_shown(STACK_OF(X509) * shown, struct learned_handshake *handshake) {
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
	struct learned_handshake handshake = { .budget = LEARNED_SIGNATURES_MAX, .count = 0 };
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
		learned_numbers.seen++;
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
	if (!learned_numbers.listening)
		learned_numbers.listening = X509_STORE_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_end) >= 0;
	return learned_numbers.listening;
}
