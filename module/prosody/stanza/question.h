/* Who may say what: facts about one stanza gathered from Prosody's tables, decided in core, acted on by the guard. */
#ifndef S2SP_PROSODY_AUTHORISE_H
#define S2SP_PROSODY_AUTHORISE_H

#include "handler.h"

/* One stanza under judgement. Texts live as long as the stanza's attributes. */
struct s2sp_lua_question {
	struct s2sp_stanza_facts facts;
	const struct s2sp_policy *policy; /* of the local host */
	const struct s2sp_partner *partner;
	struct s2sp_text local;   /* the address on our side, as the stanza has it */
	struct s2sp_jid parts;    /* of that */
	struct s2sp_text contact; /* the partner's */
	struct s2sp_text name, type, id;
	int host_value; /* stack index of the local host's name */
	int guard;
	int stanza;
};

/*
 * Fills in what the stanza at stack index `stanza` says of itself. False when it is no message, presence or iq, of a type no
 * standard knows, or an iq that RFC 6120 8.2.3 does not allow.
 */
bool s2sp_lua_question_begin(lua_State *L, struct s2sp_lua_question *question, enum s2sp_direction direction,
							 const struct s2sp_policy *policy, const struct s2sp_partner *partner, int guard, int host,
							 int stanza);

/*
 * The decision; facts are looked up as the rules ask for them, in Prosody's own tables where that is enough and through
 * guard.facts otherwise. A lookup that fails refuses with internal-error. Leaves the stack as it was.
 */
struct s2sp_authorisation s2sp_lua_authorise(lua_State *L, struct s2sp_lua_question *question);

/*
 * The second half of it, for who has filled in all but the facts; `accounts`: whether the local host has users. Addresses, names and
 * the id are as the stanza has them. `told`: what is kept of the last contact's domain, or NULL. Neither half can throw.
 */
bool s2sp_lua_question_facts(lua_State *L, struct s2sp_lua_question *question, enum s2sp_direction direction,
							 const struct s2sp_partner *partner, bool accounts, struct s2sp_told *told);

/* The kind by name and type as the stanza has them; JOIN and SERVICE are not told apart. And whether it has what makes it a JOIN. */
enum s2sp_stanza_kind s2sp_lua_stanza_kind(struct s2sp_text name, struct s2sp_text type);
bool s2sp_lua_joins(lua_State *L, int stanza);

/*
 * Whether guard.facts[name] says `word` of the question's user and contact (its host, addresses and id are all that counts); false too when
 * it fails. Leaves the stack as it was.
 */
bool s2sp_lua_fact_is(lua_State *L, const struct s2sp_lua_question *question, const char *name, const char *word);

/* Whether service-unavailable is to take the place of an answer that core gives for a user (spoken_answer.h). The same. */
bool s2sp_lua_answer_is_replaced(lua_State *L, const struct s2sp_lua_question *question);

/*
 * Roles exist since Prosody 13. scanned[host]: when none was found that denies anybody, 0 if that has not been found out. It holds
 * for a second, then it is found out again. Neither can throw.
 */
lua_Integer s2sp_lua_roles_scanned(lua_State *L, int scanned, int host);
bool s2sp_roles_scan_holds(lua_Integer scanned);

/* A fact about the local user from the tables core has of who is online; 0 when they do not tell. Leaves the stack as it was. */
int s2sp_lua_look_up_user(lua_State *L, const struct s2sp_lua_question *question, enum s2sp_need need);

/* The same as a function of Lua's, for lua_pcall: (question as light userdata, guard, need) -> value. Its upvalues are the keys. */
int s2sp_lua_look_up_protected(lua_State *L);

/* What comes in: the deciding function's results, see handler.h. `origin` and `stanza` are stack indexes. */
int s2sp_lua_authorise_in(lua_State *L, int origin, int stanza, const struct s2sp_policy *policy,
						  const struct s2sp_partner *partner);

/* What goes out, on the event of route/remote; the same. */
int s2sp_lua_authorise_out(lua_State *L, int stanza, const struct s2sp_policy *policy, const struct s2sp_partner *partner);

/* What is to be remembered of a stanza that may go out, a name in the table of facts.lib.lua; NULL: nothing. */
const char *s2sp_to_remember(const struct s2sp_stanza_facts *facts);

/* Whether core says this for a user, in one way if there is such a user and in another if not. */
bool s2sp_speaks_for_user(const struct s2sp_lua_question *question);

/* Whether it may be core's bounce of what was sent to an address that nobody can have: an error from somebody's full JID. */
bool s2sp_may_bounce(const struct s2sp_lua_question *question);

/*
 * If the stanza at `stanza` holds a status note, pushes a copy without it and returns true; else pushes nothing. Of presence: every
 * <status/> of the stream's namespace wherever it stands, and the text of XEP-0256; of iq: the text of jabber:iq:last (XEP-0012). The
 * copy shares what it can with the original, its attributes among it, and is kept (guard.notes) for the next recipient of the same
 * stanza: one copy serves a whole broadcast. Costs one pass over the stanza, with a kept copy one over its top level. May throw for
 * want of memory.
 */
bool s2sp_lua_without_notes(lua_State *L, int stanza, int guard);

/* What there is to do about notes. KEPT: a copy from before is as good as a new one, and has been pushed. Cannot throw. */
enum s2sp_notes { S2SP_NOTES_NONE, S2SP_NOTES_FOUND, S2SP_NOTES_KEPT };
enum s2sp_notes s2sp_lua_notes_kept(lua_State *L, int stanza, int guard);

/*
 * What there is to do about personal events (XEP-0163) in the stanza of `question`, which may not have them. SOME: a copy without them
 * goes; ALL: nothing else is in it, or it is an answer that must not show that there is something. Allocates nothing, cannot throw.
 */
enum s2sp_events { S2SP_EVENTS_NONE, S2SP_EVENTS_SOME, S2SP_EVENTS_ALL };
enum s2sp_events s2sp_lua_events(lua_State *L, const struct s2sp_lua_question *question);
/* Pushes that copy, which shares what it can with the original. May throw when memory runs out. */
void s2sp_lua_push_without_events(lua_State *L, const struct s2sp_lua_question *question);

/* Pushes a table of functions for Lua: authorise, without_notes. */
int s2sp_lua_open_authorise(lua_State *L);

#endif
