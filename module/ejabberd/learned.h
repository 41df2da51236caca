/*
 * Intermediate certificates that were learned from other handshakes. ejabberd's TLS library gives out the leaf of a peer alone, so a
 * partner whose certificate hangs on an intermediate would be untrusted. The handshake itself was verified in this process, with all that
 * the peer has sent; what of it can be of use is kept here.
 *
 * Hints only: they are handed to the judge behind the leaf and make nothing valid that does not lead to an anchor. Kept is
 * what has been found to be a CA certificate whose signature leads up to an anchor of a store in use; so nobody gets in who has not been
 * certified by an authority that is trusted here.
 */
#ifndef S2SP_LEARNED_H
#define S2SP_LEARNED_H

#include "certificate.h"
#include "s2sp.h"

/* Starts listening to verifications in this process. NULL, or why nothing can be learned; static. */
const char *s2sp_learned_start(void);

/* What keeps hints alive while they are used. */
struct s2sp_learned_hints;

/*
 * Appends to the `count` certificates of `chain`, which has room for `capacity`, those that may lead from its first one to an anchor
 * of `store`; *added says how many. They are good until they are given back; NULL: there are none.
 */
struct s2sp_learned_hints *s2sp_learned_take(const struct s2sp_trust_store *store, struct s2sp_text *chain, size_t count,
											 size_t capacity, size_t *added, int64_t now);
/* NULL is allowed. */
void s2sp_learned_give_back(struct s2sp_learned_hints *hints);

#endif
