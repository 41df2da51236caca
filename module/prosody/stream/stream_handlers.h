/* What the handlers of stream events share. */
#ifndef S2SP_PROSODY_HOOKS_H
#define S2SP_PROSODY_HOOKS_H

#include "handler.h"

/* Whether the element came over a server-to-server stream: clients and components send to the same events. */
bool s2sp_hook_concerns_stream(lua_State *L);

bool s2sp_hook_is_incoming(lua_State *L, int session);

/* Where on the stack the session is that an event is about, and its record (or nil). */
struct s2sp_hooked {
	int session, record;
};

/* Pushes both; the record is brought up to date. NULL: the event is to be refused with *decision. */
struct s2sp_stream *s2sp_hook_begin(lua_State *L, const char *field, struct s2sp_hooked *at, struct s2sp_decision *decision);

/* db:result: a key on an incoming stream, the answer to ours on an outgoing one (XEP-0220 2.1). */
int s2sp_hook_dialback_result(lua_State *L);
/* db:verify: a request on an incoming stream, the answer to ours on an outgoing one (XEP-0220 2.1). */
int s2sp_hook_dialback_verify(lua_State *L);

#endif
