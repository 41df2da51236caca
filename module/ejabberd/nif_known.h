/* What the judge has found valid, remembered by the store that it was judged by. */
#ifndef S2SP_NIF_KNOWN_H
#define S2SP_NIF_KNOWN_H

#include "nif.h"

/* Revocation lists that one question may name; with more nothing is remembered. */
enum { S2SP_NIF_KNOWN_CRLS_MAX = 64 };

/* Of one store. Any number of threads may use it. */
struct s2sp_nif_known;

/* With room for so many. NULL when out of memory. */
struct s2sp_nif_known *s2sp_nif_known_new(size_t places);
/* NULL is allowed. */
void s2sp_nif_known_free(struct s2sp_nif_known *known);

/* What a verdict depends on besides the store and the time; all of it borrowed. */
struct s2sp_nif_judged {
	const struct s2sp_text *chain; /* as it was presented, without what has been learned */
	size_t chain_length;
	struct s2sp_text domain; /* canonical */
	const struct s2sp_pin *pins;
	size_t pin_count;
	enum s2sp_revocation revocation;
	const struct s2sp_nif_crl *const *crls;
	size_t crl_count;
};

/* False: there is no key for it (it is too large, or OpenSSL fails), and nothing is known of it. */
bool s2sp_nif_known_key(const struct s2sp_nif_judged *judged, struct s2sp_learned_digest *key);

/* The answer that was kept by that key, if it holds at `now`, as a term of `env`'s. */
bool s2sp_nif_known_find(struct s2sp_nif_known *known, const struct s2sp_learned_digest *key, int64_t now, ErlNifEnv *env,
						 ERL_NIF_TERM *answer);

/*
 * Keeps a copy of `answer`, that of a valid chain with this report, judged at `now`. Nothing is kept when the report names no date on
 * which the chain ends.
 */
void s2sp_nif_known_keep(struct s2sp_nif_known *known, const struct s2sp_learned_digest *key, int64_t now,
						 const struct s2sp_certificate_report *report, ERL_NIF_TERM answer);

#endif
