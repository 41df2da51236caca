/* Small things every file of this room needs to speak with Lua and with Prosody's tables. */
#ifndef S2SP_PROSODY_AUX_H
#define S2SP_PROSODY_AUX_H

#include <stdbool.h>

#include <lauxlib.h>
#include <lua.h>

#include "s2sp.h"

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
static inline void *s2sp_lua_marked(lua_State *L, int index, size_t least, const void *mark) {
	/* NULL for what is no userdata; of a light one the length is 0. */
	unsigned char *block = lua_touserdata(L, index);
	size_t size = block == NULL ? 0 : lua_rawlen(L, index);
	if (size < least || size < sizeof(mark))
		return NULL;
	const void *end;
	memcpy(&end, block + size - sizeof(end), sizeof(end));
	return end == mark ? block : NULL;
}

/* Fields of the table on top: table[key] = value. May throw when memory runs out. */
static inline void s2sp_lua_set_string(lua_State *L, const char *key, const char *value) {
	lua_pushstring(L, value);
	lua_setfield(L, -2, key);
}

static inline void s2sp_lua_set_boolean(lua_State *L, const char *key, bool value) {
	lua_pushboolean(L, value);
	lua_setfield(L, -2, key);
}

static inline void s2sp_lua_set_integer(lua_State *L, const char *key, lua_Integer value) {
	lua_pushinteger(L, value);
	lua_setfield(L, -2, key);
}

/* Pushes a text of the core (a rule, a reason's text for operators), its slots filled with what Prosody calls things. */
void s2sp_lua_push_words(lua_State *L, const char *text);

/* Whether the session at `index` is a server-to-server stream, live or destroyed. */
bool s2sp_lua_is_s2s(lua_State *L, int index);

/*
 * The parts of a JID (RFC 7622 3.1). The bare JID ends at the first '/'; the node is what comes before its first '@', its bytes are
 * NULL where there is none; the domain is the rest.
 */
struct s2sp_jid {
	struct s2sp_text bare, node, domain;
};

static inline struct s2sp_jid s2sp_jid_split(struct s2sp_text jid) {
	struct s2sp_jid parts = { jid, { NULL, 0 }, jid };
	if (jid.length == 0)
		return parts;
	const char *slash = memchr(jid.bytes, '/', jid.length);
	parts.bare.length = slash == NULL ? jid.length : (size_t)(slash - jid.bytes);
	const char *at = memchr(jid.bytes, '@', parts.bare.length);
	if (at != NULL) {
		parts.node = (struct s2sp_text){ jid.bytes, (size_t)(at - jid.bytes) };
		parts.domain.bytes = at + 1;
	}
	parts.domain.length = parts.bare.length - (size_t)(parts.domain.bytes - jid.bytes);
	return parts;
}

/* Its domain alone. */
struct s2sp_text s2sp_jid_domain(struct s2sp_text jid);

/*
 * Whether elements so named are stanzas. Core fires events by the name of what it takes for one: <pre-message/> would reach the
 * handlers that are for what local users send.
 */
bool s2sp_is_stanza_name(struct s2sp_text name);

/* s2sp_domain_parse with libidn2 for what is not ASCII. `domain->length` is 0 when the name is no domain. */
void s2sp_lua_domain(struct s2sp_text name, struct s2sp_domain *domain);

/* As s2sp_text_equal, of texts that are strings of Lua's as a rule: those are the same when they are equal. */
static inline bool s2sp_text_same(struct s2sp_text a, struct s2sp_text b) {
	return a.length == b.length && (a.bytes == b.bytes || s2sp_text_equal(a, b));
}

/* Whether the domain of a JID is the canonical domain `remote`. */
bool s2sp_jid_is_of(struct s2sp_text jid, struct s2sp_text remote);

static inline struct s2sp_text s2sp_domain_text(const struct s2sp_domain *domain) {
	return (struct s2sp_text){ domain->bytes, domain->length };
}

#endif
