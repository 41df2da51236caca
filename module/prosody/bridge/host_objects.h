/*
 * Writing to what is Prosody's: sessions, events, stanzas. All of it is done by these few functions, which do nothing while nothing is
 * enforced (the mode "observe").
 *
 * That is so when guard.observing is exactly true. Anything else, also a guard that cannot be asked, is enforcement.
 */
#ifndef S2SP_PROSODY_HOST_OBJECTS_H
#define S2SP_PROSODY_HOST_OBJECTS_H

#include "keys.h"

/* Whether nothing is enforced. In a closure that has the keys; cannot throw. `guard` may be a pseudo-index. */
static inline bool s2sp_observing(lua_State *L, int guard) {
	if (!lua_istable(L, guard))
		return false;
	bool observing = s2sp_push(L, guard, S2SP_KEY_OBSERVING) == LUA_TBOOLEAN && lua_toboolean(L, -1);
	lua_pop(L, 1);
	return observing;
}

/* The same anywhere else. May throw when memory runs out. */
bool s2sp_lua_observing(lua_State *L, int guard);

/* Pushes the table of actions: guard.act, or while `observing` guard.would, whose functions only tell. */
void s2sp_push_actions(lua_State *L, int guard, bool observing);

/* Pops a value into object[name]. */
void s2sp_host_set(lua_State *L, int guard, int object, const char *name);

/* Pops a value into table[key], which has to be there already. In a closure that has the keys; cannot throw. */
void s2sp_host_raw_set(lua_State *L, int guard, int table, enum s2sp_key key);

#endif
