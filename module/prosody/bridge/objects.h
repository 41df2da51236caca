/* Objects of the rooms below as Lua values: classes of userdata, each with a slot for one pointer. */
#ifndef S2SP_PROSODY_OBJECTS_H
#define S2SP_PROSODY_OBJECTS_H

#include <lauxlib.h>
#include <lua.h>

#include "status.h"

/* Makes the metatable `name`: `methods` behind __index, `release` (NULL: none) as __gc. Lua cannot get hold of it. */
void s2sp_lua_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction release);

/*
 * Pushes a userdata of the class, which owns what is put into its slot; NULL until then. To be called before the object is made, so that nothing
 * is lost when it throws.
 */
void *s2sp_lua_new_slot(lua_State *L, const char *name, int user_values);

/* The object in the slot at `index`; an error, which names `what`, if there is another value or the slot is empty. */
void *s2sp_lua_check_slot(lua_State *L, int index, const char *name, const char *what);

/*
 * What a function returns to Lua whose result is on top of the stack, after a status: OK: the result and, when `message` is not empty, that
 * (warnings); INVALID: nil and `message`. Otherwise it throws.
 */
int s2sp_lua_outcome(lua_State *L, enum s2sp_status status, const char *message);

#endif
