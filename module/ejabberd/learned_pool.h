/* The private parts of learned.h: what is kept, under one lock. Only learned_*.c include this file; they alone know OpenSSL in this room. */
#ifndef S2SP_LEARNED_POOL_H
#define S2SP_LEARNED_POOL_H

#include <openssl/x509.h>
#include <stdint.h>
#include <string.h>

#include "learned.h"

/* A certificate of a public authority has 1 to 2 KiB; with these bounds the pool takes 8 MiB at the very most. */
enum {
	LEARNED_SIZE_MAX = 8 * 1024, /* of one certificate */
	LEARNED_KEPT_MAX = 1024,     /* of all authorities */
	LEARNED_SHARE_MAX = 64,      /* of one */
	LEARNED_PARENTS_MAX = 4,
	LEARNED_PATH_MAX = 20,
	LEARNED_LOOKED_AT = 20,     /* certificates of one handshake */
	LEARNED_SIGNATURES_MAX = 6, /* verified for one handshake: as many as a handshake itself may cost */
};

struct learned_anchor {
	X509 *certificate;
	uint32_t name; /* hash of its subject */
	struct s2sp_learned_digest digest;
};

struct s2sp_learned_anchors {
	struct s2sp_learned_anchors *next;
	size_t count;
	struct learned_anchor list[];
};

/* One that is kept. */
struct learned_entry {
	X509 *certificate;
	unsigned char *der;
	int size;
	uint32_t subject, issuer; /* hashes of the names */
	bool past;                /* it had expired when it got in: it is kept for the verdict's word alone, and nobody's parent */
	struct s2sp_learned_digest digest;
	struct s2sp_learned_digest authority; /* the anchor that it was first found to lead to: whose share it takes */
	size_t parent_count;
	struct s2sp_learned_digest parents[LEARNED_PARENTS_MAX]; /* those whose signature it was found to have */
	uint64_t anchors;                                        /* the generation of anchors that it was compared with */
	uint64_t used;                                           /* when it last helped to a valid verdict; 0: never */
	uint64_t admitted;
	uint64_t asked; /* the take that has last found out whether it leads to that one's anchors, and what that was */
	bool leads;
};

uint32_t learned_name_hash(const X509_NAME *name);
bool learned_digest_of(const X509 *certificate, struct s2sp_learned_digest *digest);
static inline bool learned_same(const struct s2sp_learned_digest *one, const struct s2sp_learned_digest *other) {
	return memcmp(one->sha256, other->sha256, sizeof(one->sha256)) == 0;
}

/* learned_anchors.c, under the lock. */
extern struct s2sp_learned_anchors *learned_all_anchors;
extern uint64_t learned_generation;
const struct learned_anchor *learned_find_anchor(const struct s2sp_learned_anchors *anchors,
												 const struct s2sp_learned_digest *digest);
bool learned_is_anchor(const struct s2sp_learned_digest *digest);

/* learned_pool.c. All but the first two under the lock. */
void learned_lock(void);
void learned_unlock(void);
extern struct learned_entry learned_entries[LEARNED_KEPT_MAX];
extern size_t learned_entry_count;
extern struct s2sp_learned_counts learned_numbers;
/* Later than all before it. */
uint64_t learned_tick(void);
/* NULL: it is not kept. */
struct learned_entry *learned_find(const struct s2sp_learned_digest *digest);
/* Keeps a copy of `entry`, whose parents have been found. */
void learned_admit(struct learned_entry *entry);
/* Forgets what no anchor stands above any more, now that `gone` is no set in use. */
void learned_purge(const struct s2sp_learned_anchors *gone);

/* What one handshake has shown, and how many signatures may still be verified for it. */
struct learned_handshake {
	int budget;
	bool past; /* those are considered that have expired; last, with what is left of the budget */
	size_t count;
	X509 *shown[LEARNED_LOOKED_AT];
	struct s2sp_learned_digest digests[LEARNED_LOOKED_AT];
};

/* learned_handshake.c, under the lock. One that is kept already: there may be anchors that it has not been compared with. */
void learned_find_again(struct learned_entry *entry, struct learned_handshake *handshake);

#endif
