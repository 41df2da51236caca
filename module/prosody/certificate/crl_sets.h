/* Revocation lists as Lua values: files of them, read in steps, and the sets that count for a partner. */
#ifndef S2SP_PROSODY_CRLS_H
#define S2SP_PROSODY_CRLS_H

#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#include "s2sp.h"
#include "certificate.h"

/* How many files one set can have. A pattern may match many files, and every judgement asks each of them. */
#define S2SP_LUA_CRL_FILES_MAX 10000

/* The files that count for a partner. The userdata keeps them; two sets never have the same mark, whatever is in them. */
struct s2sp_lua_crls {
	unsigned char mark[16];
	size_t count;
	const struct s2sp_crl_file *files[];
};

/* The set at `index`; NULL when there is none there. */
const struct s2sp_lua_crls *s2sp_lua_test_crls(lua_State *L, int index);

/*
 * Pushes the set that counts for `partner` of `policy`, the policy of `host` (nil: none), and gives it in *crls (NULL). False when there should
 * be one and is not: nothing is to be taken for valid then. See lua/crls for guard.trust.crls.
 */
bool s2sp_lua_push_crls(lua_State *L, int guard, struct s2sp_text host, const struct s2sp_policy *policy,
						const struct s2sp_partner *partner, const struct s2sp_lua_crls **crls);

/* Whether a file of the set mentions a certificate of the chain that the report at `report` is about. NULL: none does. */
bool s2sp_lua_crls_mention(lua_State *L, int report, const struct s2sp_lua_crls *crls);

/* Pushes a table of functions for Lua: crl_reader, crl_set, partner_crls; and crl_files_max. */
int s2sp_lua_open_crls(lua_State *L);

#endif
