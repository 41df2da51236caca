/*
 * What is read of a stanza that is routed out, by the fast path and by the way that it stands for alike. Inline, because each call counts on the
 * fast path; nothing in here can throw.
 */
#ifndef S2SP_PROSODY_ROUTED_H
#define S2SP_PROSODY_ROUTED_H

#include "handler.h"

/*
 * Pushes host.s2sout, the session in it for the domain whose name is at `to_host`, and its record, and returns that; NULL when there is none of
 * them, and what would come next is not pushed. `host` is the (pseudo-)index of a table.
 */
static inline struct s2sp_stream *s2sp_push_route(lua_State *L, int host, int to_host) {
	if (s2sp_push(L, host, S2SP_KEY_S2SOUT) != LUA_TTABLE)
		return NULL;
	lua_pushvalue(L, to_host);
	if (lua_rawget(L, -2) != LUA_TTABLE)
		return NULL;
	s2sp_push(L, -2, S2SP_KEY_RECORD); /* below the key */
	return s2sp_lua_stream_test(L, -1);
}

/* Whether the stanza is an answer of the module's own, which has been decided about already: a key of the table `answers`. Pushes a value. */
static inline bool s2sp_is_own_answer(lua_State *L, int answers, int stanza) {
	lua_pushvalue(L, stanza);
	return lua_rawget(L, answers) != LUA_TNIL;
}

#endif
