/*
 * Event handlers as C closures. A handler decides, in protected mode; what it returns is acted on afterwards, in one place,
 * by a function of the guard's `act` table. Actions must not yield: those that could (closing a stream bounces what is queued,
 * and a bounce is a stanza like any other) run in a runner of their own.
 */
#ifndef S2SP_PROSODY_HANDLER_H
#define S2SP_PROSODY_HANDLER_H

#include "values.h"
#include "authorisation.h"
#include "keys.h"
#include "record.h"

/* Stack of a deciding function: the event, the guard, the host the handler is installed on (false for global events). Its upvalues are the keys. */
enum { ARG_EVENT = 1, ARG_GUARD, ARG_HOST, ARG_COUNT = ARG_HOST };

/*
 * Returns nothing (the event goes on), one value (given back to the event), or that value, an action and its arguments,
 * as pushed by s2sp_act.
 */
typedef lua_CFunction s2sp_decide;

/*
 * What the fast path was told last, so that a broadcast, and a conversation, is told once: both answers follow from what is beside them and
 * from nothing else, so they are right whenever that is the same.
 */
struct s2sp_told {
	struct s2sp_stanza_facts facts;
	struct s2sp_authorisation decision; /* on those facts */
	bool decided;                       /* whether there are any yet */
	bool spellings;                     /* of that domain */
	size_t length;                      /* 0: no domain yet */
	char domain[64];
};

/* What a handler knows of its host without asking Lua. Only the last two fields change. */
struct s2sp_here {
	const struct s2sp_handler *handler;
	struct s2sp_text host;     /* what S2SP_UP_HOST keeps alive; empty for a global event */
	bool accounts;             /* whether the host has users */
	bool roles;                /* whether there are any: S2SP_UP_ROLES_SCANNED is a table */
	lua_Integer roles_scanned; /* what was last read there for the host */
	struct s2sp_told told;
};

/*
 * The fast path, tried before the deciding function. It is not protected, so it may use nothing that can throw. Its stack has the event alone;
 * all else is in its upvalues (the keys, and those below) and in `here`. True: the event goes on; the deciding function would have said the
 * same. False: the deciding function is asked. The caller removes what is left on the stack.
 */
typedef bool s2sp_fast_path(lua_State *L, struct s2sp_here *here);

/* Upvalues of a handler, behind the keys. */
enum {
	S2SP_UP_GUARD = S2SP_KEY_COUNT + 1,
	S2SP_UP_HOST,
	S2SP_UP_HERE, /* a struct s2sp_here */
	S2SP_UP_DECIDE,
	S2SP_UP_LOOK_UP, /* s2sp_lua_look_up_protected */
	/* Tables that are the same for as long as the handler is there; an empty one where there is none. */
	S2SP_UP_HOST_OBJECT, /* prosody.hosts[host], which is as old as its events */
	S2SP_UP_FULL_SESSIONS,
	S2SP_UP_BARE_SESSIONS,
	S2SP_UP_ANSWERS,
	S2SP_UP_ROLES_SCANNED, /* or nil */
	S2SP_UP_COUNT = S2SP_UP_ROLES_SCANNED
};

struct s2sp_handler {
	const char *event;
	s2sp_decide decide;
	int priority;
	bool stop; /* what is given back to the event when the handler fails: whichever of true and false means handled */
	s2sp_fast_path *fast_path; /* may be NULL */
};

/* Pushes guard.act[action]; while nothing is enforced guard.would[action], which only tells. */
void s2sp_push_action(lua_State *L, const char *action);

/* Pushes what the event gets back and guard.act[action]; arguments follow. Returns the number of values pushed (2). */
int s2sp_act(lua_State *L, bool result, const char *action);

/*
 * Every refusal is pushed here: what the event gets back, the action, its subject (the value at a stack index: a session, the origin of a
 * stanza, the event of a route) and the reason. What else the action takes follows. Returns the number of values pushed (4).
 */
int s2sp_act_refusal(lua_State *L, bool result, const char *action, int subject, enum s2sp_reason reason);

/*
 * Pushes the refusal of a stream: result, act.close and its arguments (session, reason, condition, rule). `condition` NULL:
 * the one of the reason's row. Returns the number of values pushed; the deciding function returns it.
 */
int s2sp_act_refuse(lua_State *L, bool result, int session, struct s2sp_decision decision, const char *condition);

/* The same by another action, which does something before it closes: "close_offering", "close_starttls", "close_sasl". */
int s2sp_act_close(lua_State *L, bool result, const char *action, int session, struct s2sp_decision decision,
				   const char *condition);

/*
 * Pushes the refusal of a dialback element over a stream that goes on: result, act.dialback_error and its arguments (session, reason, element, and the
 * error's type and condition); of one that is an answer itself, act.drop_element.
 * As above.
 */
int s2sp_act_dialback_error(lua_State *L, bool result, int session, int element, enum s2sp_reason reason);

/* The refusal of a stream that has no record. */
extern const struct s2sp_decision s2sp_no_record;

/* Installs `count` static handlers through context:hook(event, closure, priority). May throw. */
void s2sp_handlers_install(lua_State *L, const struct s2sp_handler *handlers, size_t count, int guard, int context, int host);

/* The handlers of this room. Each pushes nothing and may throw. */
void s2sp_stream_handlers_install(lua_State *L, int guard, int context, int host);
void s2sp_stanza_handlers_install(lua_State *L, int guard, int context, int host);
void s2sp_global_handlers_install(lua_State *L, int guard, int context);

/* filter(guard) -> function (stanza, session): for "stanzas/in" of every stream. */
int s2sp_lua_stanza_filter(lua_State *L);

#endif
