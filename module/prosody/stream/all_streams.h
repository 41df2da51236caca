/* What concerns all live streams at a time: a commit, the count of their places, their times. */
#ifndef S2SP_PROSODY_STREAMS_H
#define S2SP_PROSODY_STREAMS_H

#include "values.h"

/* Pushes a table of functions for Lua: see streams.c. */
int s2sp_lua_open_streams(lua_State *L);

#endif
