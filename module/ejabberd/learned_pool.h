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

struct learned_digest {
	unsigned char sha256[32];
};

struct learned_anchor {
	X509 *certificate;
	uint32_t name; /* hash of its subject */
	struct learned_digest digest;
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
	struct learned_digest digest;
	struct learned_digest authority; /* the anchor that it was first found to lead to: whose share it takes */
	size_t parent_count;
	struct learned_digest parents[LEARNED_PARENTS_MAX]; /* those whose signature it was found to have */
	uint64_t anchors;                                   /* the generation of anchors that it was compared with */
	uint64_t used;                                      /* when it last helped to a valid verdict; 0: never */
	uint64_t admitted;
	uint64_t asked; /* the take that has last found out whether it leads to that one's anchors, and what that was */
	bool leads;
};

uint32_t learned_name_hash(const X509_NAME *name);
bool learned_digest_of(const X509 *certificate, struct learned_digest *digest);
static inline bool learned_same(const struct learned_digest *one, const struct learned_digest *other) {
	return memcmp(one->sha256, other->sha256, sizeof(one->sha256)) == 0;
}

/* learned_anchors.c, under the lock. */
extern struct s2sp_learned_anchors *learned_all_anchors;
extern uint64_t learned_generation;
const struct learned_anchor *learned_find_anchor(const struct s2sp_learned_anchors *anchors, const struct learned_digest *digest);
bool learned_is_anchor(const struct learned_digest *digest);

/* learned_pool.c */
void learned_lock(void);
void learned_unlock(void);
/* Forgets what no anchor stands above any more, now that `gone` is no set in use. Under the lock. */
void learned_purge(const struct s2sp_learned_anchors *gone);

#endif
