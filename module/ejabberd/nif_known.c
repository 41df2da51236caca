/*
 * Chains that have been found valid before: a partner shows the same one each time it connects, and verifying it costs a dirty scheduler
 * a third of a millisecond. Valid ones alone, of one trust store: they end with it, and so with every commit. What an entry was judged by is in
 * its key, byte for byte: another chain, domain, pin or revocation list is another key.
 */
#include <pthread.h>
#include <string.h>

#include "nif_known.h"

/* An entry has one of so many places, that of its key and those behind it; the oldest of them makes room. */
enum { WAYS = 4 };
/* Not looked up, and not kept: what is larger than any chain that partners show. */
enum { KEY_BYTES_MAX = 64 * 1024 };
/* Seconds. A verdict ends when a date of the chain or of a revocation list passes, and after that time whatever they say. */
enum { KEPT_SECONDS = 600 };

struct entry {
	struct s2sp_learned_digest key;
	int64_t since, until; /* seconds since the epoch; it holds from `since` on, and before `until` */
	ErlNifEnv *env;       /* the answer is in here; NULL: the place is free */
	ERL_NIF_TERM answer;
};

struct s2sp_nif_known {
	pthread_mutex_t lock;
	size_t places;
	struct entry entries[];
};

struct s2sp_nif_known *s2sp_nif_known_new(size_t places) {
	struct s2sp_nif_known *known = s2sp_nif_allocate(sizeof(*known) + places * sizeof(known->entries[0]));
	if (known == NULL)
		return NULL;
	if (pthread_mutex_init(&known->lock, NULL) != 0) {
		s2sp_nif_free(known);
		return NULL;
	}
	known->places = places;
	for (size_t i = 0; i < places; i++)
		known->entries[i].env = NULL;
	return known;
}

static void empty(struct entry *entry) {
	if (entry->env != NULL)
		enif_free_env(entry->env);
	entry->env = NULL;
}

void s2sp_nif_known_free(struct s2sp_nif_known *known) {
	if (known == NULL)
		return;
	for (size_t i = 0; i < known->places; i++)
		empty(&known->entries[i]);
	pthread_mutex_destroy(&known->lock);
	s2sp_nif_free(known);
}

bool s2sp_nif_known_key(const struct s2sp_nif_judged *judged, struct s2sp_learned_digest *key) {
	struct s2sp_text parts[4 + S2SP_CHAIN_LENGTH_MAX + 1];
	uint64_t crls[S2SP_NIF_KNOWN_CRLS_MAX];
	size_t count = 0, bytes = 0;
	const char revocation = (char)judged->revocation;
	if (judged->crl_count > S2SP_NIF_KNOWN_CRLS_MAX || judged->chain_length == 0 || judged->chain_length > S2SP_CHAIN_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < judged->crl_count; i++)
		crls[i] = judged->crls[i]->number;
	parts[count++] = judged->domain;
	parts[count++] = (struct s2sp_text){ &revocation, 1 };
	parts[count++] = (struct s2sp_text){ (const char *)judged->pins, judged->pin_count * sizeof(judged->pins[0]) };
	parts[count++] = (struct s2sp_text){ (const char *)crls, judged->crl_count * sizeof(crls[0]) };
	for (size_t i = 0; i < judged->chain_length; i++)
		parts[count++] = judged->chain[i];
	for (size_t i = 0; i < count; i++) {
		if (parts[i].length > KEY_BYTES_MAX - bytes)
			return false;
		bytes += parts[i].length;
	}
	return s2sp_learned_digest(parts, count, key);
}

static struct entry *place(struct s2sp_nif_known *known, const struct s2sp_learned_digest *key, size_t way) {
	return &known->entries[(((size_t)key->sha256[0] << 8 | key->sha256[1]) + way) % known->places];
}

bool s2sp_nif_known_find(struct s2sp_nif_known *known, const struct s2sp_learned_digest *key, int64_t now, ErlNifEnv *env,
						 ERL_NIF_TERM *answer) {
	bool found = false;
	pthread_mutex_lock(&known->lock);
	for (size_t way = 0; way < WAYS && !found; way++) {
		const struct entry *entry = place(known, key, way);
		found = entry->env != NULL && entry->since <= now && now < entry->until &&
				memcmp(entry->key.sha256, key->sha256, sizeof(key->sha256)) == 0;
		if (found)
			*answer = enif_make_copy(env, entry->answer);
	}
	pthread_mutex_unlock(&known->lock);
	return found;
}

static int64_t end_of(const struct s2sp_certificate_report *report, int64_t now) {
	int64_t end = report->chain_not_after;
	/* A revocation list ends, and what was covered is no more; or another begins. */
	if (report->revocation_until != 0 && report->revocation_until < end)
		end = report->revocation_until;
	return end < now + KEPT_SECONDS ? end : now + KEPT_SECONDS;
}

/* The place of that key, else a free one, else that of the entry that ends first. */
static struct entry *place_for(struct s2sp_nif_known *known, const struct s2sp_learned_digest *key) {
	struct entry *best = place(known, key, 0);
	for (size_t way = 0; way < WAYS; way++) {
		struct entry *entry = place(known, key, way);
		if (entry->env != NULL && memcmp(entry->key.sha256, key->sha256, sizeof(key->sha256)) == 0)
			return entry;
		if (best->env != NULL && (entry->env == NULL || entry->until < best->until))
			best = entry;
	}
	return best;
}

void s2sp_nif_known_keep(struct s2sp_nif_known *known, const struct s2sp_learned_digest *key, int64_t now,
						 const struct s2sp_certificate_report *report, ERL_NIF_TERM answer) {
	int64_t until = end_of(report, now);
	if (report->verdict != S2SP_CERTIFICATE_VALID || until <= now)
		return;
	ErlNifEnv *env = s2sp_nif_out_of_memory() ? NULL : enif_alloc_env();
	if (env == NULL)
		return;
	const struct entry fresh = { .key = *key, .since = now, .until = until, .env = env, .answer = enif_make_copy(env, answer) };
	pthread_mutex_lock(&known->lock);
	struct entry *entry = place_for(known, key);
	ErlNifEnv *before = entry->env;
	*entry = fresh;
	pthread_mutex_unlock(&known->lock);
	if (before != NULL)
		enif_free_env(before);
}
