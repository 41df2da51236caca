/* Values and tables of Lua for the configuration builder. */
#ifndef S2SP_PROSODY_POLICY_FEED_H
#define S2SP_PROSODY_POLICY_FEED_H

#include <lauxlib.h>
#include <lua.h>

#include "s2sp.h"

/* Raises an error for NO_MEMORY; to be called only where every C resource is owned by a userdata. */
void s2sp_lua_check_status(lua_State *L, enum s2sp_status status);

/* The value at `index`; a string stays the property of Lua. Never throws. */
struct s2sp_value s2sp_lua_value(lua_State *L, int index);

/* Feeds the table at `index` to what was begun last, if s2sp_config_follows asks for anything. May throw. */
void s2sp_lua_feed(lua_State *L, struct s2sp_config *config, int index);

#endif
