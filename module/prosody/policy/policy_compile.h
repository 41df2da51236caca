/* What compiling a policy and drafting a table have in common. */
#ifndef S2SP_PROSODY_POLICY_COMPILE_H
#define S2SP_PROSODY_POLICY_COMPILE_H

#include <lua.h>

#include "s2sp.h"

/* Pushes a userdata with a new config, which is freed with it unless it is taken out. May throw. */
struct s2sp_config **s2sp_lua_new_config(lua_State *L);

/* spec.local_domains and spec.issues (what the caller has found itself) of the table at stack index `spec`. May throw. */
void s2sp_lua_feed_local_domains(lua_State *L, struct s2sp_config *config, int spec);
void s2sp_lua_feed_issues(lua_State *L, struct s2sp_config *config, int spec);

/*
 * Pushes the result that is at stack index `result` (nil instead unless OK) and the issues of the config, which has nothing more to say: it is freed.
 * Returns the number of values.
 */
int s2sp_lua_give_back(lua_State *L, struct s2sp_config **config, enum s2sp_status status, int result);

#endif
