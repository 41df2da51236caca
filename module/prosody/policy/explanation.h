/* What a stream would come to: the core's own steps, run without a stream. */
#ifndef S2SP_PROSODY_EXPLAIN_H
#define S2SP_PROSODY_EXPLAIN_H

#include <lauxlib.h>
#include <lua.h>

/* Pushes a table of functions for Lua: simulate_stream, negotiation_rows. */
int s2sp_lua_open_explain(lua_State *L);

#endif
