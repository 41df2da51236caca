/* Places, times and keepalives of streams: who counts, and who reads the clock. */
#ifndef S2SP_PROSODY_STREAM_LIMITS_H
#define S2SP_PROSODY_STREAM_LIMITS_H

#include "aux.h"

/* A clock that never goes back (CLOCK_MONOTONIC, the coarse one where there is one: it is read for each stanza). */
s2sp_milliseconds s2sp_now(void);

/*
 * Gives the stream a place if it is to have one now (s2sp_stream_place), and counts it in guard.places. REFUSE ends the record.
 * A stream that has its place keeps it. May throw.
 */
struct s2sp_decision s2sp_lua_place_hold(lua_State *L, int guard, int record);

/* Whether a stream to `remote`, of `partner`, could have a place now. Counts nothing. May throw. */
struct s2sp_decision s2sp_lua_place_ask(lua_State *L, int guard, const struct s2sp_policy *policy,
                                        const struct s2sp_partner *partner, struct s2sp_text remote);

/*
 * A stanza for a stream that may have been opened to have a dialback key verified: from now on it is a stream like any other, if
 * there is room for it. Otherwise it goes on verifying, and the stanza is to be refused. May throw.
 */
struct s2sp_decision s2sp_lua_place_for_stanza(lua_State *L, int guard, int record);

/* A stanza of an authenticated stream: activity, unless it is a keepalive. `attr` is its attributes' table. */
void s2sp_lua_stanza_counts(lua_State *L, struct s2sp_stream *stream, int stanza, int attr);

/* Handlers of every host; a table of functions for Lua: see stream_limits.c. */
void s2sp_limit_handlers_install(lua_State *L, int guard, int context, int host);
int s2sp_lua_open_limits(lua_State *L);

#endif
