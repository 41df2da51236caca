/* Small things every file of this room needs to speak with Lua and with Prosody's tables. */
#ifndef S2SP_PROSODY_AUX_H
#define S2SP_PROSODY_AUX_H

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "../core/s2sp.h"

/*
 * Pushes table[name] (nil when `index` is no table) and returns its type. Metamethods are honoured: a destroyed session
 * answers through its metatable.
 */
int s2sp_lua_field(lua_State *L, int index, const char *name);

/* The string at table[name], empty when it is none. The text lives as long as the table holds the string; pushes nothing. */
struct s2sp_text s2sp_lua_text_field(lua_State *L, int index, const char *name);

/* The string at `index` (no conversion of numbers), empty when it is none. */
struct s2sp_text s2sp_lua_text(lua_State *L, int index);

/* Whether table[name] is the string `literal`. */
bool s2sp_lua_field_is(lua_State *L, int index, const char *name, const char *literal);

/*
 * Whether the value at `index` is a full userdata of at least `least` bytes, which ends with a pointer to `mark` (an object of ours
 * that nobody else can name): the test for what is looked at with every stanza, at a sixth of the price of luaL_testudata.
 * Returns its block, or NULL.
 */
void *s2sp_lua_marked(lua_State *L, int index, size_t least, const void *mark);

/* Whether the session at `index` is a server-to-server stream, live or destroyed. */
bool s2sp_lua_is_s2s(lua_State *L, int index);

/* The domain part of a JID (RFC 7622 3.1): after the first '@' that comes before any '/', up to the first '/'. */
struct s2sp_text s2sp_jid_domain(struct s2sp_text jid);

/*
 * Whether elements so named are stanzas. Core fires events by the name of what it takes for one: <pre-message/> would reach the
 * handlers that are for what local users send.
 */
bool s2sp_is_stanza_name(struct s2sp_text name);

/* s2sp_domain_parse with libidn2 for what is not ASCII. `domain->length` is 0 when the name is no domain. */
void s2sp_lua_domain(struct s2sp_text name, struct s2sp_domain *domain);

/* Whether the domain of a JID is the canonical domain `remote`. */
bool s2sp_jid_is_of(struct s2sp_text jid, struct s2sp_text remote);

static inline struct s2sp_text s2sp_domain_text(const struct s2sp_domain *domain) {
	return (struct s2sp_text){ domain->bytes, domain->length };
}

#endif
