/* What is kept: how much of it, and who has to go. */
#include "learned_pool.h"

#include <openssl/crypto.h>
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
struct learned_entry learned_entries[LEARNED_KEPT_MAX];
size_t learned_entry_count;
/* How many each authority has. */
static struct {
	struct s2sp_learned_digest authority;
	size_t count;
} shares[LEARNED_KEPT_MAX];
static size_t share_count;
struct s2sp_learned_counts learned_numbers;

uint64_t learned_tick(void) {
	static uint64_t tick;
	return ++tick;
}

void learned_lock(void) {
	pthread_mutex_lock(&lock);
}

void learned_unlock(void) {
	pthread_mutex_unlock(&lock);
}

struct learned_entry *learned_find(const struct s2sp_learned_digest *digest) {
	for (size_t i = 0; i < learned_entry_count; i++) {
		if (learned_same(&learned_entries[i].digest, digest))
			return &learned_entries[i];
	}
	return NULL;
}

static size_t share_at(const struct s2sp_learned_digest *authority) {
	size_t at = 0;
	while (at < share_count && !learned_same(&shares[at].authority, authority))
		at++;
	return at;
}

static void forget(struct learned_entry *entry) {
	size_t at = share_at(&entry->authority);
	if (at < share_count && --shares[at].count == 0)
		shares[at] = shares[--share_count];
	learned_numbers.bytes -= (size_t)entry->size;
	X509_free(entry->certificate);
	OPENSSL_free(entry->der);
	*entry = learned_entries[--learned_entry_count];
}

/*
 * Each entry is in the share of one anchor, so only those of the anchors that go are looked at. A list of many partners is exchanged in one
 * reload, one store after the other, by whichever thread collects garbage; handshakes wait for the lock.
 */
void learned_purge(const struct s2sp_learned_anchors *gone) {
	for (size_t i = 0; i < gone->count; i++) {
		const struct s2sp_learned_digest *authority = &gone->list[i].digest;
		if (share_at(authority) == share_count || learned_is_anchor(authority))
			continue;
		for (size_t j = learned_entry_count; j > 0; j--) {
			if (learned_same(&learned_entries[j - 1].authority, authority))
				forget(&learned_entries[j - 1]);
		}
	}
}

/* Whether `one` goes before `other`: what is past its time first, then what never helped anybody, then by age. */
static bool goes_before(const struct learned_entry *one, const struct learned_entry *other) {
	if (one->past != other->past)
		return one->past;
	return one->used != other->used ? one->used < other->used : one->admitted < other->admitted;
}

static void evict_from(const struct s2sp_learned_digest *authority) {
	struct learned_entry *oldest = NULL;
	for (size_t i = 0; i < learned_entry_count; i++) {
		if (learned_same(&learned_entries[i].authority, authority) &&
			(oldest == NULL || goes_before(&learned_entries[i], oldest)))
			oldest = &learned_entries[i];
	}
	if (oldest == NULL)
		return;
	learned_numbers.evicted++;
	forget(oldest);
}

/* Room for one more of that authority: out of its own share when that is full, else out of the largest one. */
static void make_room(const struct s2sp_learned_digest *authority) {
	size_t at = share_at(authority), largest = 0;
	if (at < share_count && shares[at].count >= LEARNED_SHARE_MAX)
		evict_from(authority);
	if (learned_entry_count < LEARNED_KEPT_MAX)
		return;
	for (size_t i = 0; i < learned_entry_count; i++) {
		if (learned_entries[i].past) {
			learned_numbers.evicted++;
			forget(&learned_entries[i]);
			return;
		}
	}
	for (size_t i = 1; i < share_count; i++)
		largest = shares[i].count > shares[largest].count ? i : largest;
	const struct s2sp_learned_digest from = shares[largest].authority;
	evict_from(&from);
}

/* What is past its time takes nobody's room. */
static bool is_room_for_past(const struct s2sp_learned_digest *authority) {
	size_t at = share_at(authority);
	return learned_entry_count < LEARNED_KEPT_MAX && (at == share_count || shares[at].count < LEARNED_SHARE_MAX);
}

static void count_in(const struct s2sp_learned_digest *authority) {
	size_t at = share_at(authority);
	if (at == share_count) {
		shares[share_count].authority = *authority;
		shares[share_count++].count = 0;
	}
	shares[at].count++;
}

void learned_admit(struct learned_entry *entry) {
	if (entry->past && !is_room_for_past(&entry->authority))
		return;
	entry->der = NULL;
	entry->size = i2d_X509(entry->certificate, &entry->der);
	if (entry->size <= 0 || !X509_up_ref(entry->certificate)) {
		OPENSSL_free(entry->der);
		return;
	}
	make_room(&entry->authority);
	entry->admitted = learned_tick();
	learned_entries[learned_entry_count++] = *entry;
	count_in(&entry->authority);
	learned_numbers.bytes += (size_t)entry->size;
	learned_numbers.admitted++;
}

struct s2sp_learned_counts s2sp_learned_counts(void) {
	learned_lock();
	struct s2sp_learned_counts now = learned_numbers;
	now.kept = learned_entry_count;
	learned_unlock();
	return now;
}
