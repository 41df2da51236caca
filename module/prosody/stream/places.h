/* Places of streams: who counts. */
#ifndef S2SP_PROSODY_PLACES_H
#define S2SP_PROSODY_PLACES_H

#include "record.h"

/*
 * Gives the stream a place if it is to have one now (s2sp_stream_place), and counts it in guard.places. REFUSE ends the record.
 * A stream that has its place keeps it. May throw.
 */
struct s2sp_decision s2sp_lua_place_hold(lua_State *L, int guard, int record);

/*
 * Whether there would be a place in next.places for a record as s2sp_lua_stream_foresee has given it in `view`; if so it is taken there. The
 * record itself, at `record`, stays as it is.
 */
struct s2sp_decision s2sp_lua_place_foresee(lua_State *L, int next, int record, const struct s2sp_stream *view);

/*
 * A stanza for a stream that may have been opened to have a dialback key verified: from now on it is a stream like any other, if
 * there is room for it. Otherwise it goes on verifying, and the stanza is to be refused. May throw.
 */
struct s2sp_decision s2sp_lua_place_for_stanza(lua_State *L, int guard, int record);

/* Whether the stream has the place that is its due, under the name under which it is its due; or has none, and none is. */
bool s2sp_lua_place_stays(lua_State *L, int record);

/* Counts the place of a stream that has one into a guard.places that begins anew. May throw. */
void s2sp_lua_place_count(lua_State *L, int guard, int record);

/*
 * Whether guard.places counts as many places as `held`. *counts: of all, and the largest number that any partner has. May throw.
 */
bool s2sp_lua_places_agree(lua_State *L, int guard, size_t held, struct s2sp_counts *counts);

/* Handlers of every host; a table of functions for Lua: place_release, waiting_room, waiting_crowded, waiting_due. */
void s2sp_limit_handlers_install(lua_State *L, int guard, int context, int host);
int s2sp_lua_open_limits(lua_State *L);

#endif
