/* How often something was decided: one block of numbers for each host, drained by Lua into the metrics. */
#ifndef S2SP_PROSODY_COUNTERS_H
#define S2SP_PROSODY_COUNTERS_H

#include "aux.h"

/*
 * Counts a decision for `host` (the value at that stack index) about `partner` (NULL: an unlisted domain) under `policy`, the
 * policy that host runs now (NULL: none, nothing is counted). Allocates at the first decision about a partner only. Leaves the
 * stack as it was. Throws for want of memory; a decision has no way to be right that cannot be counted, so the handler fails closed.
 */
void s2sp_lua_count(lua_State *L, int guard, int host, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
					enum s2sp_direction direction, enum s2sp_reason reason);

/*
 * The same for a partner about whom something has been counted before; false: nothing has been, and is not now. `guard` and `host`
 * are absolute. Cannot throw.
 */
bool s2sp_lua_count_again(lua_State *L, int guard, int host, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
						  enum s2sp_direction direction, enum s2sp_reason reason);

/* Pushes a table of functions for Lua: count, drain_counters. */
int s2sp_lua_open_counters(lua_State *L);

#endif
