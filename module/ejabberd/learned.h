/*
 * Intermediate certificates that were learned from other handshakes. ejabberd's TLS library gives out the leaf of a peer alone, so a
 * partner whose certificate hangs on an intermediate would be untrusted. But the handshake was verified in this process, with all that the
 * peer has sent: what of it can be of use is kept here.
 *
 * Hints only: they are handed to the judge behind the leaf, and make nothing valid that does not lead to an anchor of the store asked
 * for. Kept is what is a CA certificate and is signed by an anchor of a store in use, or by what is kept already. So nobody gets in
 * without an authority that is trusted here, and nobody under one authority takes the room of another.
 */
#ifndef S2SP_LEARNED_H
#define S2SP_LEARNED_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

/* Starts listening to verifications in this process. Once, at load. False: nothing will be learned. */
bool s2sp_learned_start(void);

/* Until it is called with false, nothing is learned from verifications on the calling thread: judging is no handshake. */
void s2sp_learned_pause(bool pause);

/* The anchors of one store: what is kept must lead to one of them. */
struct s2sp_learned_anchors;

/* Reads the certificates of a PEM file; `path` ends in NUL. NULL when there is none, or memory is short: nothing is learned for it. */
struct s2sp_learned_anchors *s2sp_learned_anchors_new(const char *path);
/* What was kept for their sake alone is forgotten. NULL is allowed. */
void s2sp_learned_anchors_free(struct s2sp_learned_anchors *anchors);

/*
 * Appends to the `count` certificates (DER) of `chain`, which has room for `capacity`, those that lead from its first one to one of
 * `anchors`; *added says how many. The result owns their bytes and is to be given back when they are no longer used; NULL: there are none.
 */
void *s2sp_learned_take(const struct s2sp_learned_anchors *anchors, struct s2sp_text *chain, size_t count, size_t capacity,
						size_t *added);
/* The judge has found the chain valid with them: they are the last to be forgotten. NULL is allowed. */
void s2sp_learned_used(const struct s2sp_text *certificates, size_t count);
void s2sp_learned_give_back(void *hints);

struct s2sp_learned_counts {
	bool listening;
	size_t kept, bytes;
	size_t seen;     /* verifications that had certificates to offer */
	size_t admitted; /* certificates */
	size_t refused;  /* whose signature was not that of the authority they name */
	size_t evicted;
};
struct s2sp_learned_counts s2sp_learned_counts(void);

struct s2sp_learned_digest {
	unsigned char sha256[32];
};

/* SHA-256 of texts one after the other, each with its length before it. False when OpenSSL fails. */
bool s2sp_learned_digest(const struct s2sp_text *parts, size_t count, struct s2sp_learned_digest *digest);

#endif
