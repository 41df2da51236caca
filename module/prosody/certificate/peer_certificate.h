/* Peer certificates and trust stores as Lua values. */
#ifndef S2SP_PROSODY_CERTIFICATE_H
#define S2SP_PROSODY_CERTIFICATE_H

#include <time.h>

#include <lauxlib.h>
#include <lua.h>

#include "s2sp.h"
#include "certificate.h"
#include "crl_sets.h"

#define S2SP_LUA_TRUST_STORE "s2s_partners.trust_store"

/*
 * The trust store at `index`, which lives as long as its userdata. `check` raises an error when there is none there, `test`
 * returns NULL.
 */
struct s2sp_trust_store *s2sp_lua_check_trust_store(lua_State *L, int index);
struct s2sp_trust_store *s2sp_lua_test_trust_store(lua_State *L, int index);

/*
 * Pushes what the peer of the session at `session` presented, as the connection holds it now: a list of PEM texts, the
 * certificate of its key first; empty when it presented none; nil when the connection has no finished TLS handshake or is
 * gone. `finished`: the connection is known to have finished its handshake, so that it is not asked again. No more than
 * S2SP_CHAIN_LENGTH_MAX + 1 are fetched. May throw (the methods of the connection are called).
 */
void s2sp_lua_push_peer_chain(lua_State *L, int session, bool finished);

/* What a chain is judged for; all of it borrowed. */
struct s2sp_lua_peer {
	struct s2sp_text domain; /* canonical */
	const struct s2sp_pin *pins;
	size_t pin_count;
	enum s2sp_revocation revocation;
	const struct s2sp_lua_crls *crls; /* NULL: none */
	time_t now;
};

/* own_certificate, own_chain: see own_certificate.c. */
int s2sp_lua_own_certificate(lua_State *L);
int s2sp_lua_own_chain(lua_State *L);

/* Pushes a table of functions for Lua: trust_store, judge_certificate, peer_chain. */
int s2sp_lua_open_certificate(lua_State *L);

/*
 * The verdict on the chain at index `chain`, by the store (userdata) at index `store`: a list of PEM or DER texts; an empty one and
 * nil mean that nothing was presented. `domain` is canonical. UNKNOWN for a value that is no list, and when memory runs out. Pushes a
 * table for the operator, see push_report. May throw only when memory runs out, and holds nothing when it does. A chain that this store has found valid before, for
 * the same domain and pins, is not verified again while none of its dates has passed: verifying costs a quarter of a
 * handshake. The store forgets when it is collected, and so with every commit. The report may be shared: do not change it.
 */
enum s2sp_certificate_verdict s2sp_lua_judge_peer_known(lua_State *L, int store, int chain, const struct s2sp_lua_peer *peer);

/* Pushes the report of a chain that is known to be valid; false, and nothing pushed, when it is not. */
bool s2sp_lua_recall_report(lua_State *L, int store, int chain, const struct s2sp_lua_peer *peer);
/* Remembers the report on top of the stack, which is of a valid chain judged at `now`; it stays on the stack. */
void s2sp_lua_remember_report(lua_State *L, int store, int chain, const struct s2sp_lua_peer *peer);

#endif
