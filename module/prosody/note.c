/* Status notes, taken out of copies: the stanza itself also goes to those who may see them. */
#include "authorise.h"

/* Deeper than this nothing is looked at and nothing is sent. */
enum { DEPTH_MAX = 64 };

enum found {
	FOUND_NOTHING = 0,
	FOUND_INSIDE, /* the element stays, without something in it */
	FOUND_NOTE,   /* the element goes */
};

static bool is_stream_namespace(struct s2sp_text xmlns) {
	return xmlns.length == 0 || s2sp_text_equal(xmlns, S2SP_TEXT("jabber:client")) ||
	       s2sp_text_equal(xmlns, S2SP_TEXT("jabber:server")) || s2sp_text_equal(xmlns, S2SP_TEXT("jabber:component:accept"));
}

/* The element's own namespace, or the one it inherits. Children of a namespace hold no attribute when core built them. */
static struct s2sp_text namespace_of(lua_State *L, int element, struct s2sp_text inherited) {
	s2sp_raw(L, element, S2SP_KEY_ATTR);
	struct s2sp_text own = s2sp_raw_text(L, lua_gettop(L), S2SP_KEY_XMLNS);
	lua_pop(L, 1);
	return own.bytes == NULL ? inherited : own;
}

static bool is_named(lua_State *L, int element, struct s2sp_text name) {
	return s2sp_text_equal(s2sp_raw_text(L, element, S2SP_KEY_NAME), name);
}

/* Whether one of its children is a string (text) or a table (an element). */
static bool has_child(lua_State *L, int element, int type) {
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	for (lua_Integer i = 1; i <= count; i++) {
		int child = lua_rawgeti(L, element, i);
		lua_pop(L, 1);
		if (child == type)
			return true;
	}
	return false;
}

static bool has_text(lua_State *L, int element) {
	return has_child(L, element, LUA_TSTRING);
}

static bool is_last_activity(lua_State *L, int element, struct s2sp_text xmlns) {
	return s2sp_text_equal(xmlns, S2SP_TEXT("jabber:iq:last")) && is_named(L, element, S2SP_TEXT("query"));
}

static enum found look(lua_State *L, int element, struct s2sp_text inherited, int depth);

static bool look_inside(lua_State *L, int element, struct s2sp_text xmlns, int depth) {
	int top = lua_gettop(L);
	bool found = false;
	/* The list of all children and not `tags`: it is what goes onto the wire. */
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	for (lua_Integer i = 1; !found && i <= count; i++) {
		lua_rawgeti(L, element, i);
		found = look(L, top + 1, xmlns, depth) != FOUND_NOTHING;
		lua_settop(L, top);
	}
	return found;
}

static enum found look(lua_State *L, int element, struct s2sp_text inherited, int depth) {
	if (!lua_istable(L, element))
		return FOUND_NOTHING;
	if (depth > DEPTH_MAX || !lua_checkstack(L, 8))
		return FOUND_NOTE;
	struct s2sp_text name = s2sp_raw_text(L, element, S2SP_KEY_NAME);
	bool status = s2sp_text_equal(name, S2SP_TEXT("status"));
	/* Most are neither, and have nothing but text in them: their namespace does not matter. */
	if (!status && !s2sp_text_equal(name, S2SP_TEXT("query")) && !has_child(L, element, LUA_TTABLE))
		return FOUND_NOTHING;
	struct s2sp_text xmlns = namespace_of(L, element, inherited);
	if (status && is_stream_namespace(xmlns))
		return FOUND_NOTE;
	if (is_last_activity(L, element, xmlns) && has_text(L, element))
		return FOUND_INSIDE;
	return look_inside(L, element, xmlns, depth + 1) ? FOUND_INSIDE : FOUND_NOTHING;
}

/* Pushes a copy of the element's own fields with empty `tags`. */
static void push_shell(lua_State *L, int element) {
	lua_createtable(L, (int)lua_rawlen(L, element) & 0xff, 4);
	static const char *const fields[] = { "name", "attr", "namespaces" };
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		lua_pushstring(L, fields[i]);
		lua_pushvalue(L, -1);
		lua_rawget(L, element);
		lua_rawset(L, -3);
	}
	lua_newtable(L);
	lua_setfield(L, -2, "tags");
	if (lua_getmetatable(L, element))
		lua_setmetatable(L, -2);
}

/* Pushes a copy without what `look` finds in it. Text and elements without notes are shared. */
static void push_cleaned(lua_State *L, int element, struct s2sp_text inherited, int depth) {
	luaL_checkstack(L, 12, NULL);
	/* Of a stanza itself, `inherited` is what look_inside was told: the two must find the same. */
	struct s2sp_text xmlns = depth == 0 ? inherited : namespace_of(L, element, inherited);
	bool without_text = is_last_activity(L, element, xmlns);
	push_shell(L, element);
	int copy = lua_gettop(L);
	lua_getfield(L, copy, "tags");
	int tags = copy + 1;
	lua_Integer count = (lua_Integer)lua_rawlen(L, element), children = 0, elements = 0;
	for (lua_Integer i = 1; i <= count; i++) {
		int type = lua_rawgeti(L, element, i);
		int child = tags + 1;
		enum found found = type == LUA_TTABLE ? look(L, child, xmlns, depth + 1) : without_text ? FOUND_NOTE : FOUND_NOTHING;
		if (found == FOUND_INSIDE)
			push_cleaned(L, child, xmlns, depth + 1);
		if (found != FOUND_NOTE) {
			if (type == LUA_TTABLE) {
				lua_pushvalue(L, -1);
				lua_rawseti(L, tags, ++elements);
			}
			lua_rawseti(L, copy, ++children);
		}
		lua_settop(L, tags);
	}
	lua_settop(L, copy);
}

/*
 * Whether the copy at `copy` is still what a new one would be: the same attributes, the same children in the same order, but for
 * notes. The attributes are those of the stanza itself, in which core puts one recipient after the other.
 */
static bool is_current(lua_State *L, int stanza, int copy) {
	int top = lua_gettop(L);
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza), at = 0;
	s2sp_raw(L, stanza, S2SP_KEY_ATTR);
	s2sp_raw(L, copy, S2SP_KEY_ATTR);
	bool current = lua_rawequal(L, top + 1, top + 2);
	lua_settop(L, top);
	for (lua_Integer i = 1; current && i <= count; i++) {
		enum found found = lua_rawgeti(L, stanza, i) == LUA_TTABLE ? look(L, top + 1, (struct s2sp_text){ NULL, 0 }, 1) : FOUND_NOTHING;
		if (found == FOUND_NOTHING) {
			lua_rawgeti(L, copy, ++at);
			current = lua_rawequal(L, -1, -2);
		} else {
			current = found == FOUND_NOTE;
		}
		lua_settop(L, top);
	}
	return current && at == (lua_Integer)lua_rawlen(L, copy);
}

/* Only what an iq itself says of last activity is looked at: what else it carries is no presence. */
static bool iq_has_note(lua_State *L, int stanza) {
	int top = lua_gettop(L);
	bool found = false;
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza);
	for (lua_Integer i = 1; !found && i <= count; i++) {
		found = lua_rawgeti(L, stanza, i) == LUA_TTABLE &&
		        is_last_activity(L, top + 1, namespace_of(L, top + 1, (struct s2sp_text){ NULL, 0 })) && has_text(L, top + 1);
		lua_settop(L, top);
	}
	return found;
}

static void push_iq_cleaned(lua_State *L, int stanza) {
	push_shell(L, stanza);
	int copy = lua_gettop(L);
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza), elements = 0;
	lua_getfield(L, copy, "tags");
	for (lua_Integer i = 1; i <= count; i++) {
		int child = copy + 2;
		if (lua_rawgeti(L, stanza, i) == LUA_TTABLE) {
			if (is_last_activity(L, child, namespace_of(L, child, (struct s2sp_text){ NULL, 0 })))
				push_cleaned(L, child, (struct s2sp_text){ NULL, 0 }, 1);
			lua_pushvalue(L, -1);
			lua_rawseti(L, copy + 1, ++elements);
		}
		lua_rawseti(L, copy, i);
		lua_settop(L, copy + 1);
	}
	lua_settop(L, copy);
}

enum s2sp_notes s2sp_lua_notes_kept(lua_State *L, int stanza, int guard) {
	struct s2sp_text none = { NULL, 0 };
	if (is_named(L, stanza, S2SP_TEXT("iq")))
		return iq_has_note(L, stanza) ? S2SP_NOTES_FOUND : S2SP_NOTES_NONE;
	int top = lua_gettop(L);
	if (s2sp_raw(L, guard, S2SP_KEY_NOTES) == LUA_TTABLE) {
		lua_pushvalue(L, stanza);
		if (lua_rawget(L, top + 1) == LUA_TTABLE && is_current(L, stanza, top + 2)) {
			lua_replace(L, top + 1);
			return S2SP_NOTES_KEPT;
		}
	}
	lua_settop(L, top);
	return look_inside(L, stanza, none, 1) ? S2SP_NOTES_FOUND : S2SP_NOTES_NONE;
}

bool s2sp_lua_without_notes(lua_State *L, int stanza, int guard) {
	int top = lua_gettop(L);
	stanza = lua_absindex(L, stanza);
	guard = lua_absindex(L, guard);
	switch (s2sp_lua_notes_kept(L, stanza, guard)) {
	case S2SP_NOTES_NONE: return false;
	case S2SP_NOTES_KEPT: return true;
	case S2SP_NOTES_FOUND: break;
	}
	if (is_named(L, stanza, S2SP_TEXT("iq"))) {
		push_iq_cleaned(L, stanza);
		return true;
	}
	push_cleaned(L, stanza, (struct s2sp_text){ NULL, 0 }, 0);
	if (s2sp_raw(L, guard, S2SP_KEY_NOTES) == LUA_TTABLE) {
		lua_pushvalue(L, stanza);
		lua_pushvalue(L, top + 1);
		lua_rawset(L, top + 2);
	}
	lua_settop(L, top + 1);
	return true;
}
