/* What Prosody's tables say of users who are online, so that nobody else has to be asked. */
#include "question.h"

/* Pushes table[text], nil when there is no table at the index. May throw when memory runs out. */
static int push_at(lua_State *L, int table, struct s2sp_text key) {
	if (lua_type(L, table) != LUA_TTABLE || key.length == 0) {
		lua_pushnil(L);
		return LUA_TNIL;
	}
	lua_pushlstring(L, key.bytes, key.length);
	return lua_rawget(L, table);
}

/*
 * The roster that core has with the session of a user, and gives to everything that loads that roster (0.12.3, 13.0.1: load_roster looks
 * here first). YES only: a contact may be there under another spelling of its domain, and a roster may be broken.
 */
static int listed(lua_State *L, int user, struct s2sp_text contact) {
	int roster = user + 1, item = user + 2;
	if (s2sp_raw(L, user, S2SP_KEY_ROSTER) != LUA_TTABLE)
		return S2SP_LISTING_UNKNOWN;
	lua_pushboolean(L, 0);
	lua_rawget(L, roster); /* its metadata */
	if (s2sp_raw(L, item, S2SP_KEY_BROKEN) != LUA_TNIL)
		return S2SP_LISTING_UNKNOWN;
	lua_settop(L, roster);
	return push_at(L, roster, s2sp_jid_split(contact).bare) == LUA_TTABLE ? S2SP_LISTING_YES : S2SP_LISTING_UNKNOWN;
}

int s2sp_lua_look_up_user(lua_State *L, const struct s2sp_lua_question *question, enum s2sp_need need) {
	int top = lua_gettop(L), tables = top + 1, user = top + 2, value = 0;
	if (need == S2SP_NEED_DIRECTED) {
		/* guard.directed: who has sent directed presence to anybody at all. */
		if (s2sp_raw(L, question->guard, S2SP_KEY_DIRECTED) == LUA_TTABLE && push_at(L, tables, question->parts.bare) == LUA_TNIL)
			value = S2SP_FACT_NO;
	} else if (need == S2SP_NEED_ACCOUNT || need == S2SP_NEED_LISTING) {
		s2sp_raw(L, question->guard, S2SP_KEY_BARE_SESSIONS);
		if (push_at(L, tables, question->parts.bare) == LUA_TTABLE)
			value = need == S2SP_NEED_ACCOUNT ? (int)S2SP_ACCOUNT_EXISTS : listed(L, user, question->contact);
	}
	lua_settop(L, top);
	return value;
}

int s2sp_lua_look_up_protected(lua_State *L) {
	const struct s2sp_lua_question *asked = lua_touserdata(L, 1);
	struct s2sp_lua_question question = *asked;
	question.guard = 2;
	lua_pushinteger(L, s2sp_lua_look_up_user(L, &question, (enum s2sp_need)lua_tointeger(L, 3)));
	return 1;
}
