/* How often something was decided: one block of numbers for each host, drained by Lua into the metrics. */
#ifndef S2SP_PROSODY_COUNTERS_H
#define S2SP_PROSODY_COUNTERS_H

#include "values.h"

/* How often each thing was decided about one partner, by direction and reason. */
struct s2sp_numbers {
	uint64_t times[2][S2SP_REASON_COUNT];
};

/*
 * Counts a decision for `host` (the value at that stack index) about `partner` (NULL: an unlisted domain) under `policy`, the
 * policy that host runs now (NULL: none, nothing is counted). Allocates at the first decision about a partner only. Leaves the
 * stack as it was. Throws when memory runs out; a decision has no way to be right that cannot be counted, so the handler fails closed.
 */
void s2sp_lua_count(lua_State *L, int guard, int host, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
					enum s2sp_direction direction, enum s2sp_reason reason);

/*
 * Lets the record at `record` keep the numbers of its stream's partner, with what owns them, until it gets another policy: ordinary
 * stanzas are then counted without looking for them. Nothing happens for another host than the stream's own. May throw.
 */
void s2sp_lua_keep_numbers(lua_State *L, int guard, int host, int record);

/* Pushes a table of functions for Lua: count, drain_counters. */
int s2sp_lua_open_counters(lua_State *L);

#endif
