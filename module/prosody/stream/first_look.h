/* The header of a connection that has no session yet. */
#ifndef S2SP_PROSODY_FIRST_LOOK_H
#define S2SP_PROSODY_FIRST_LOOK_H

#include <lua.h>

/*
 * first_look(guard, data) -> remote, host, reason, condition, rule when `data` begins with a plain header (s2sp_stream_header_read) from a domain
 * that is not listed for a host that has a policy: what s2s-stream-features would have been refused with. Nothing in any other case: then
 * core reads it, and every rule stands where it always does. May throw.
 */
int s2sp_lua_first_look(lua_State *L);

#endif
