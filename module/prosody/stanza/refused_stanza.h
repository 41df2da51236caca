/* Refusals of stanzas, with what their senders hear. */
#ifndef S2SP_PROSODY_REFUSED_STANZA_H
#define S2SP_PROSODY_REFUSED_STANZA_H

#include "handler.h"
#include "refusal.h"

/*
 * The refusal of a stanza that came in: what the deciding function returns. `origin` and `stanza` are stack indexes. Of one that nobody has asked
 * s2sp_authorise about, `reply` is s2sp_lua_reply_to.
 */
int s2sp_lua_refuse_stanza(lua_State *L, int origin, int stanza, struct s2sp_decision decision, enum s2sp_reply reply);
enum s2sp_reply s2sp_lua_reply_to(lua_State *L, int stanza);

/*
 * The refusal of what is routed out, on the event of route/remote. `stream`: stack index of the session that is to be closed as well,
 * or 0. The closure has the keys as upvalues.
 */
int s2sp_lua_refuse_route(lua_State *L, struct s2sp_decision decision, int stream);

/* "error", "unavailable" or "none": what an action is told. */
const char *s2sp_reply_token(enum s2sp_reply reply);

/* Pushes a table of functions: refused_route. */
int s2sp_lua_open_refusals(lua_State *L);

#endif
