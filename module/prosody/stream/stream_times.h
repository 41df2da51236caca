/* Times and keepalives of streams: who reads the clock. */
#ifndef S2SP_PROSODY_STREAM_TIMES_H
#define S2SP_PROSODY_STREAM_TIMES_H

#include "record.h"

/* A clock that never goes back (CLOCK_MONOTONIC, the coarse one where there is one: it is read for each stanza). */
s2sp_milliseconds s2sp_now(void);

/*
 * What time demands of the stream (s2sp_stream_due), whose limits are those of `policy` (or NULL) as long as it has not named its host.
 * May throw.
 */
struct s2sp_decision s2sp_lua_stream_due(lua_State *L, int guard, int record, const struct s2sp_policy *policy, bool *keepalive);

/* A stanza of an authenticated stream: activity, unless it is a keepalive. `attr` is its attributes' table. */
void s2sp_lua_stanza_counts(lua_State *L, struct s2sp_stream *stream, int stanza, int attr);

/* Handlers of every host; a table of functions for Lua: stream_accepted, keepalive_sent. */
void s2sp_keepalive_handlers_install(lua_State *L, int guard, int context, int host);
int s2sp_lua_open_times(lua_State *L);

#endif
