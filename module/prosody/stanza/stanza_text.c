/*
 * Prosody writes a stanza in Lua: a piece of text for each name, attribute and text, and a pattern over each of them. That is an eighth of what a
 * message to a partner costs, and a fifth of a presence. Nothing is decided here. What is written has to be, byte for byte, what Prosody would write;
 * so all that is not as plain as nearly every stanza is left to it.
 */
#include "stanza_text.h"

#include "handler.h"
#include "host_objects.h"

/* Levels: all that is on the stack at once, with that many, is within LUA_MINSTACK. */
enum { TEXT_MAX = 4096, LEVELS_MAX = 10 };

struct written {
	size_t length;
	char bytes[TEXT_MAX];
};

/* Upvalues of the writer, behind the keys. */
enum { UP_GUARD = S2SP_KEY_COUNT + 1, UP_METATABLE, UP_NAME_TOSTRING, UP_TOSTRING, UP_COUNT = UP_TOSTRING };

static bool put(struct written *out, const char *bytes, size_t length) {
	if (length > TEXT_MAX - out->length)
		return false;
	memcpy(out->bytes + out->length, bytes, length);
	out->length += length;
	return true;
}

#define PUT(out, literal) put(out, literal, sizeof(literal) - 1)

/* What stands for a byte in text and values; empty where it stands for itself. */
static const char escapes[256][8] = {
	['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['\''] = "&apos;", ['"'] = "&quot;",
};

static bool put_escaped(struct written *out, struct s2sp_text text) {
	size_t from = 0;
	for (size_t i = 0; i < text.length; i++) {
		const char *escape = escapes[(unsigned char)text.bytes[i]];
		if (escape[0] == '\0')
			continue;
		if (!put(out, text.bytes + from, i - from) || !put(out, escape, strlen(escape)))
			return false;
		from = i + 1;
	}
	return put(out, text.bytes + from, text.length - from);
}

static bool has_metatable(lua_State *L, int index) {
	if (!lua_getmetatable(L, index))
		return false;
	lua_pop(L, 1);
	return true;
}

static bool is_stanza(lua_State *L, int index) {
	if (!lua_getmetatable(L, index))
		return false;
	bool same = lua_rawequal(L, -1, lua_upvalueindex(UP_METATABLE));
	lua_pop(L, 1);
	return same;
}

/* The namespace that is the parent's is not written again; `parent` has no bytes where there is no parent, or none of its own. */
static bool put_attribute(struct written *out, struct s2sp_text name, struct s2sp_text value, struct s2sp_text parent) {
	if (name.bytes == NULL || value.bytes == NULL || memchr(name.bytes, '\1', name.length) != NULL)
		return false;
	if (parent.bytes != NULL && s2sp_text_equal(name, S2SP_TEXT("xmlns")) && s2sp_text_equal(value, parent))
		return true;
	return PUT(out, " ") && put(out, name.bytes, name.length) && PUT(out, "='") && put_escaped(out, value) && PUT(out, "'");
}

/* In the order in which pairs() has them. The table of attributes is on top. */
static bool put_attributes(lua_State *L, struct written *out, struct s2sp_text parent) {
	int attr = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, attr) != 0; lua_pop(L, 1)) {
		if (!put_attribute(out, s2sp_lua_text(L, -2), s2sp_lua_text(L, -1), parent))
			return false;
	}
	return true;
}

/* The element on top of the stack, which stays; what else is there when it fails, the caller takes away. Cannot throw. */
static bool put_element(lua_State *L, struct written *out, struct s2sp_text parent, int levels) {
	int element = lua_gettop(L);
	struct s2sp_text name = s2sp_push_text(L, element, S2SP_KEY_NAME);
	lua_pop(L, 1); /* the element keeps it */
	if (name.bytes == NULL || levels == 0 || !PUT(out, "<") || !put(out, name.bytes, name.length))
		return false;
	if (s2sp_push(L, element, S2SP_KEY_ATTR) != LUA_TTABLE || has_metatable(L, -1) || !put_attributes(L, out, parent))
		return false;
	struct s2sp_text own = s2sp_push_text(L, element + 1, S2SP_KEY_XMLNS);
	lua_settop(L, element); /* the attributes keep it */
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	if (count == 0)
		return PUT(out, "/>");
	bool done = PUT(out, ">");
	for (lua_Integer i = 1; done && i <= count; i++) {
		int type = lua_rawgeti(L, element, i);
		if (type == LUA_TSTRING)
			done = put_escaped(out, s2sp_lua_text(L, -1));
		else
			done = type == LUA_TTABLE && (is_stanza(L, -1) || !has_metatable(L, -1)) && put_element(L, out, own, levels - 1);
		lua_settop(L, element);
	}
	return done && PUT(out, "</") && put(out, name.bytes, name.length) && PUT(out, ">");
}

/* Whether it is what Prosody's own function would write now. */
static bool is_prosodys(lua_State *L) {
	if (s2sp_observing(L, lua_upvalueindex(UP_GUARD)) || !lua_istable(L, 1) || !is_stanza(L, 1))
		return false;
	lua_pushvalue(L, lua_upvalueindex(UP_NAME_TOSTRING));
	lua_rawget(L, lua_upvalueindex(UP_METATABLE));
	bool same = lua_rawequal(L, -1, lua_upvalueindex(UP_TOSTRING));
	lua_pop(L, 1);
	return same;
}

/* Called by util.filters with (stanza, session); what it gives back is what core goes on with. */
static int write(lua_State *L) {
	struct written out;
	lua_settop(L, 1);
	out.length = 0;
	if (is_prosodys(L) && put_element(L, &out, (struct s2sp_text){ NULL, 0 }, LEVELS_MAX))
		lua_pushlstring(L, out.bytes, out.length);
	else
		lua_settop(L, 1);
	return 1;
}

int s2sp_lua_stanza_writer(lua_State *L) {
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TTABLE);
	lua_settop(L, 2);
	s2sp_push_keys(L);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, 2);
	lua_pushliteral(L, "__tostring");
	lua_pushvalue(L, -1);
	lua_rawget(L, 2);
	lua_pushcclosure(L, write, UP_COUNT);
	return 1;
}
