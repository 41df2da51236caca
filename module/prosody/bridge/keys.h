/*
 * Prosody's tables as they are read with every stanza: by names that are strings already, which spares Lua looking for them, and
 * without metamethods, so that nothing is run and nothing can throw. The names are upvalues of every handler and of the filter.
 */
#ifndef S2SP_PROSODY_KEYS_H
#define S2SP_PROSODY_KEYS_H

#include "values.h"

/* Upvalues 1 to S2SP_KEY_COUNT of each closure that reads by them. */
enum s2sp_key {
	S2SP_KEY_NONE = 0,
	/* of an event */
	S2SP_KEY_ORIGIN,
	S2SP_KEY_STANZA,
	S2SP_KEY_FROM_HOST,
	S2SP_KEY_TO_HOST,
	/* of a stanza or an element in it */
	S2SP_KEY_NAME,
	S2SP_KEY_ATTR,
	S2SP_KEY_TAGS,
	S2SP_KEY_XMLNS,
	S2SP_KEY_FROM,
	S2SP_KEY_TO,
	S2SP_KEY_ID,
	S2SP_KEY_LANGUAGE,
	S2SP_KEY_NODE,
	S2SP_KEY_TYPE, /* of a session and of a host as well */
	/* of a session, a host, a user */
	S2SP_KEY_RECORD,
	S2SP_KEY_S2SOUT,
	S2SP_KEY_ROSTER,
	S2SP_KEY_BROKEN,
	S2SP_KEY_RELAY,
	/* of the guard */
	S2SP_KEY_POLICIES,
	S2SP_KEY_HOSTS,
	S2SP_KEY_BARE_SESSIONS,
	S2SP_KEY_ROLES_SCANNED,
	S2SP_KEY_ANSWERS,
	S2SP_KEY_NOTES,
	S2SP_KEY_DIRECTED,
	S2SP_KEY_OBSERVING,
	S2SP_KEY_COUNT = S2SP_KEY_OBSERVING
};

/* Pushes the names, in their order, for lua_pushcclosure. May throw when memory runs out. */
void s2sp_push_keys(lua_State *L);

/* Pushes table[key] of a value that is known to be a table, and returns its type. */
static inline int s2sp_push(lua_State *L, int table, enum s2sp_key key) {
	lua_pushvalue(L, lua_upvalueindex((int)key));
	return lua_rawget(L, table);
}

/* The same, and its text: empty when it is no string. */
static inline struct s2sp_text s2sp_push_text(lua_State *L, int table, enum s2sp_key key) {
	struct s2sp_text text = { NULL, 0 };
	if (s2sp_push(L, table, key) == LUA_TSTRING)
		text.bytes = lua_tolstring(L, -1, &text.length);
	return text;
}

/*
 * Pushes table[key], nil when there is no table at the (absolute) index, and returns its type. Needs a free slot of the stack for
 * the result and one more.
 */
int s2sp_raw(lua_State *L, int table, enum s2sp_key key);

/* Pops a value into table[key], which has to be there already: that takes no memory. */
void s2sp_raw_set(lua_State *L, int table, enum s2sp_key key);

/* The string at table[key], empty when it is none. As s2sp_lua_text_field. */
struct s2sp_text s2sp_raw_text(lua_State *L, int table, enum s2sp_key key);

#endif
