/* The text of what goes out to another server, as Prosody's own function writes it, at a tenth of the price. */
#ifndef S2SP_PROSODY_STANZA_TEXT_H
#define S2SP_PROSODY_STANZA_TEXT_H

#include <lua.h>

/*
 * stanza_writer(guard, metatable of stanzas) -> function (stanza, session): for "stanzas/out" of every stream, behind all other filters. It gives back the text
 * that __tostring of that metatable would give, or the stanza itself: of whatever is not plain (another metatable, namespaced attributes, more than
 * 4 KB or ten levels, anything but strings and elements in it), when that __tostring has been replaced since, and while nothing is enforced.
 * Allocates nothing but the text.
 */
int s2sp_lua_stanza_writer(lua_State *L);

#endif
