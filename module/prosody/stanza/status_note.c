/* Status notes, taken out of copies: the stanza itself also goes to those who may see them. */
#include "element_copy.h"
#include "question.h"

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

static bool is_last_activity(lua_State *L, int element, struct s2sp_text xmlns) {
	return s2sp_text_equal(xmlns, S2SP_TEXT("jabber:iq:last")) && is_named(L, element, S2SP_TEXT("query"));
}

/*
 * Whether `clean` would take anything out of the element at `element`, or the element itself. Looks at each element once, and
 * allocates nothing but stack.
 */
static bool has_note(lua_State *L, int element, struct s2sp_text inherited, int depth) {
	if (depth > DEPTH_MAX || !lua_checkstack(L, 8))
		return true;
	int top = lua_gettop(L);
	struct s2sp_text name = s2sp_raw_text(L, element, S2SP_KEY_NAME), xmlns = inherited;
	bool status = s2sp_text_equal(name, S2SP_TEXT("status")), query = s2sp_text_equal(name, S2SP_TEXT("query")), known = false;
	if (status && depth > 0 && is_stream_namespace(namespace_of(L, element, inherited)))
		return true;
	bool last = query && depth > 0 && is_last_activity(L, element, namespace_of(L, element, inherited));
	/* The list of all children and not `tags`: it is what goes onto the wire. */
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	bool found = false;
	for (lua_Integer i = 1; !found && i <= count; i++) {
		int type = lua_rawgeti(L, element, i);
		if (type == LUA_TTABLE) {
			/* Most have nothing but text in them: their namespace does not matter. */
			if (!known && depth > 0)
				xmlns = namespace_of(L, element, inherited);
			known = true;
			found = has_note(L, top + 1, xmlns, depth + 1);
		} else {
			found = last;
		}
		lua_settop(L, top);
	}
	return found;
}

/*
 * What `has_note` would find is left out. INSIDE: a copy has been pushed; else nothing. A copy is begun where the first thing is found in
 * an element, so that each child is looked at once and copied at most once; text and elements without notes are shared.
 */
static enum found clean(lua_State *L, int element, struct s2sp_text inherited, int depth) {
	if (depth > DEPTH_MAX)
		return FOUND_NOTE;
	luaL_checkstack(L, 16, NULL);
	/* Of a stanza itself, no namespace counts, as in `has_note`: the two must find the same. */
	struct s2sp_text xmlns = depth == 0 ? inherited : namespace_of(L, element, inherited);
	if (depth > 0 && is_named(L, element, S2SP_TEXT("status")) && is_stream_namespace(xmlns))
		return FOUND_NOTE;
	bool without_text = depth > 0 && is_last_activity(L, element, xmlns);
	int top = lua_gettop(L), child = top + 3;
	struct s2sp_copy copy = { .at = top + 1, .tags = top + 2 };
	lua_settop(L, copy.tags);
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	for (lua_Integer i = 1; i <= count; i++) {
		int type = lua_rawgeti(L, element, i);
		enum found found = FOUND_NOTHING;
		if (type == LUA_TTABLE)
			found = clean(L, child, xmlns, depth + 1);
		else if (without_text)
			found = FOUND_NOTE;
		if (found != FOUND_NOTHING && !copy.begun)
			s2sp_copy_begin(L, &copy, element, i - 1);
		if (found != FOUND_NOTE && copy.begun)
			s2sp_copy_append(L, &copy);
		lua_settop(L, copy.tags);
	}
	lua_settop(L, copy.begun ? copy.at : top);
	return copy.begun ? FOUND_INSIDE : FOUND_NOTHING;
}

/*
 * guard.notes[stanza] lists the children that the copy was made of, and has the copy itself at 0. The copy can be used again while the
 * stanza has the same table of attributes (in which core puts one recipient after the other) and the same children in the same order.
 * Core and modules exchange, add and remove children; none of them changes a child in place that has been sent to others already
 * (0.12.3, 13.0.1). So the inside of a child is not looked at again for each recipient, which would cost a pass each time.
 */
static bool is_current(lua_State *L, int stanza, int made_of) {
	int top = lua_gettop(L);
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza);
	lua_rawgeti(L, made_of, 0);
	s2sp_raw(L, stanza, S2SP_KEY_ATTR);
	s2sp_raw(L, top + 1, S2SP_KEY_ATTR);
	bool current = lua_rawequal(L, top + 2, top + 3) && count == (lua_Integer)lua_rawlen(L, made_of);
	lua_settop(L, top);
	for (lua_Integer i = 1; current && i <= count; i++) {
		lua_rawgeti(L, stanza, i);
		lua_rawgeti(L, made_of, i);
		current = lua_rawequal(L, top + 1, top + 2);
		lua_settop(L, top);
	}
	return current;
}

/* Keeps the copy at `copy` for the stanza's next recipient. */
static void keep(lua_State *L, int stanza, int copy, int guard) {
	int top = lua_gettop(L);
	if (s2sp_raw(L, guard, S2SP_KEY_NOTES) == LUA_TTABLE) {
		lua_Integer count = (lua_Integer)lua_rawlen(L, stanza);
		lua_pushvalue(L, stanza);
		lua_createtable(L, (int)count & 0xff, 1);
		for (lua_Integer i = 1; i <= count; i++) {
			lua_rawgeti(L, stanza, i);
			lua_rawseti(L, top + 3, i);
		}
		lua_pushvalue(L, copy);
		lua_rawseti(L, top + 3, 0);
		lua_rawset(L, top + 1);
	}
	lua_settop(L, top);
}

/* Of an iq only its own last activity is looked at, all of what is in that: nothing else in it is presence. Finds what `clean_iq` takes out. */
static bool iq_has_note(lua_State *L, int stanza) {
	struct s2sp_text none = { NULL, 0 };
	int top = lua_gettop(L);
	bool found = false;
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza);
	for (lua_Integer i = 1; !found && i <= count; i++) {
		found = lua_rawgeti(L, stanza, i) == LUA_TTABLE && is_last_activity(L, top + 1, namespace_of(L, top + 1, none)) &&
				has_note(L, top + 1, none, 1);
		lua_settop(L, top);
	}
	return found;
}

/* The same for what is to go out: pushes the copy, or nothing. */
static bool clean_iq(lua_State *L, int stanza) {
	struct s2sp_text none = { NULL, 0 };
	int top = lua_gettop(L), child = top + 3;
	struct s2sp_copy copy = { .at = top + 1, .tags = top + 2 };
	lua_settop(L, copy.tags);
	lua_Integer count = (lua_Integer)lua_rawlen(L, stanza);
	for (lua_Integer i = 1; i <= count; i++) {
		enum found found = FOUND_NOTHING;
		if (lua_rawgeti(L, stanza, i) == LUA_TTABLE && is_last_activity(L, child, namespace_of(L, child, none)))
			found = clean(L, child, none, 1);
		if (found != FOUND_NOTHING && !copy.begun)
			s2sp_copy_begin(L, &copy, stanza, i - 1);
		if (copy.begun)
			s2sp_copy_append(L, &copy);
		lua_settop(L, copy.tags);
	}
	lua_settop(L, copy.begun ? copy.at : top);
	return copy.begun;
}

/* Pushes the copy from before if it will do. Cannot throw. */
static bool push_kept(lua_State *L, int stanza, int guard) {
	int top = lua_gettop(L);
	if (s2sp_raw(L, guard, S2SP_KEY_NOTES) == LUA_TTABLE) {
		lua_pushvalue(L, stanza);
		if (lua_rawget(L, top + 1) == LUA_TTABLE && is_current(L, stanza, top + 2)) {
			lua_rawgeti(L, top + 2, 0);
			lua_replace(L, top + 1);
			lua_settop(L, top + 1);
			return true;
		}
	}
	lua_settop(L, top);
	return false;
}

enum s2sp_notes s2sp_lua_notes_kept(lua_State *L, int stanza, int guard) {
	if (is_named(L, stanza, S2SP_TEXT("iq")))
		return iq_has_note(L, stanza) ? S2SP_NOTES_FOUND : S2SP_NOTES_NONE;
	if (push_kept(L, stanza, guard))
		return S2SP_NOTES_KEPT;
	return has_note(L, stanza, (struct s2sp_text){ NULL, 0 }, 0) ? S2SP_NOTES_FOUND : S2SP_NOTES_NONE;
}

bool s2sp_lua_without_notes(lua_State *L, int stanza, int guard) {
	stanza = lua_absindex(L, stanza);
	guard = lua_absindex(L, guard);
	luaL_checkstack(L, 16, NULL);
	if (is_named(L, stanza, S2SP_TEXT("iq")))
		return clean_iq(L, stanza);
	if (push_kept(L, stanza, guard))
		return true;
	if (clean(L, stanza, (struct s2sp_text){ NULL, 0 }, 0) != FOUND_INSIDE)
		return false;
	keep(L, stanza, lua_gettop(L), guard);
	return true;
}
