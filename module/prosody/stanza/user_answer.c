/* Answers that core gives in a user's name: whether there is anything of the user's own in them. */
#include "question.h"

#include "spoken_answer.h"

static bool is_blank(lua_State *L, int index) {
	struct s2sp_text text = s2sp_lua_text(L, index);
	for (size_t i = 0; i < text.length; i++) {
		if (memchr(" \t\n\v\f\r", text.bytes[i], 6) == NULL)
			return false;
	}
	return true;
}

/* Whether the element has an attribute that does more than to repeat the question. */
static bool has_own_attribute(lua_State *L, int element) {
	int top = lua_gettop(L);
	bool own = false;
	if (s2sp_raw(L, element, S2SP_KEY_ATTR) == LUA_TTABLE) {
		for (lua_pushnil(L); !own && lua_next(L, top + 1) != 0; lua_pop(L, 1))
			own = !s2sp_is_echo(s2sp_lua_text(L, top + 2));
	}
	lua_settop(L, top);
	return own;
}

/* Whether anything is said inside the element at `element`, which is so deep. Ends at the first. */
static bool says_something(lua_State *L, int element, int depth) {
	int child = lua_gettop(L) + 1;
	luaL_checkstack(L, 8, NULL);
	lua_Integer count = (lua_Integer)lua_rawlen(L, element);
	bool found = false;
	for (lua_Integer i = 1; !found && i <= count; i++) {
		if (lua_rawgeti(L, element, i) == LUA_TTABLE)
			found = depth > S2SP_SPOKEN_DEPTH_MAX || says_something(L, child, depth + 1) || has_own_attribute(L, child);
		else
			found = !is_blank(L, child);
		lua_settop(L, child - 1);
	}
	return found;
}

static bool has_published(lua_State *L, int payload) {
	int tags = lua_gettop(L) + 1, child = tags + 1;
	bool found = false;
	if (s2sp_raw(L, payload, S2SP_KEY_TAGS) == LUA_TTABLE) {
		lua_Integer count = (lua_Integer)lua_rawlen(L, tags);
		for (lua_Integer i = 1; !found && i <= count; i++) {
			lua_rawgeti(L, tags, i);
			bool children = s2sp_raw(L, child, S2SP_KEY_TAGS) == LUA_TTABLE && lua_rawlen(L, -1) > 0;
			found = s2sp_is_published(s2sp_raw_text(L, child, S2SP_KEY_NAME), children);
			lua_settop(L, tags);
		}
	}
	lua_settop(L, tags - 1);
	return found;
}

static bool is_the_users(lua_State *L, const struct s2sp_lua_question *question) {
	int top = lua_gettop(L), payload = top + 2, attr = top + 3;
	bool own = false;
	if (s2sp_raw(L, question->stanza, S2SP_KEY_TAGS) == LUA_TTABLE)
		lua_rawgeti(L, top + 1, 1);
	lua_settop(L, payload);
	s2sp_raw(L, payload, S2SP_KEY_ATTR);
	switch (
		s2sp_own_words(question->facts.kind, s2sp_raw_text(L, attr, S2SP_KEY_XMLNS), s2sp_raw_text(L, payload, S2SP_KEY_NAME))) {
	case S2SP_OWN_WORDS_NONE: break;
	case S2SP_OWN_WORDS_PUBLISHED: own = has_published(L, payload); break;
	case S2SP_OWN_WORDS_ANY: own = says_something(L, payload, 1); break;
	}
	lua_settop(L, top);
	return own;
}

bool s2sp_lua_answer_is_replaced(lua_State *L, const struct s2sp_lua_question *question) {
	bool own = is_the_users(L, question);
	enum s2sp_replaced replaced = s2sp_answer_is_replaced(own, S2SP_FACT_UNKNOWN);
	if (replaced == S2SP_REPLACED_NOT_KNOWN)
		replaced = s2sp_answer_is_replaced(own, s2sp_lua_fact_is(L, question, "sees", "yes") ? S2SP_FACT_YES : S2SP_FACT_NO);
	return replaced == S2SP_REPLACED_YES;
}
