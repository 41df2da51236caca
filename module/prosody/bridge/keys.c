#include "keys.h"

#include "record.h"

void s2sp_push_keys(lua_State *L) {
	static const char *const names[S2SP_KEY_COUNT + 1] = {
		[S2SP_KEY_ORIGIN] = "origin",
		[S2SP_KEY_STANZA] = "stanza",
		[S2SP_KEY_FROM_HOST] = "from_host",
		[S2SP_KEY_TO_HOST] = "to_host",
		[S2SP_KEY_NAME] = "name",
		[S2SP_KEY_ATTR] = "attr",
		[S2SP_KEY_TAGS] = "tags",
		[S2SP_KEY_XMLNS] = "xmlns",
		[S2SP_KEY_FROM] = "from",
		[S2SP_KEY_TO] = "to",
		[S2SP_KEY_ID] = "id",
		[S2SP_KEY_LANGUAGE] = "xml:lang",
		[S2SP_KEY_NODE] = "node",
		[S2SP_KEY_TYPE] = "type",
		[S2SP_KEY_RECORD] = S2SP_LUA_STREAM_FIELD,
		[S2SP_KEY_S2SOUT] = "s2sout",
		[S2SP_KEY_ROSTER] = "roster",
		[S2SP_KEY_BROKEN] = "broken",
		[S2SP_KEY_RELAY] = "s2s_partners_relay",
		[S2SP_KEY_POLICIES] = "policies",
		[S2SP_KEY_HOSTS] = "hosts",
		[S2SP_KEY_BARE_SESSIONS] = "bare_sessions",
		[S2SP_KEY_ROLES_SCANNED] = "roles_scanned",
		[S2SP_KEY_ANSWERS] = "answers",
		[S2SP_KEY_NOTES] = "notes",
		[S2SP_KEY_DIRECTED] = "directed",
		[S2SP_KEY_OBSERVING] = "observing",
	};
	luaL_checkstack(L, S2SP_KEY_COUNT + 8, NULL);
	for (int key = S2SP_KEY_NONE + 1; key <= S2SP_KEY_COUNT; key++)
		lua_pushstring(L, names[key]);
}

int s2sp_raw(lua_State *L, int table, enum s2sp_key key) {
	if (lua_type(L, table) != LUA_TTABLE) {
		lua_pushnil(L);
		return LUA_TNIL;
	}
	return s2sp_push(L, table, key);
}

void s2sp_raw_set(lua_State *L, int table, enum s2sp_key key) {
	lua_pushvalue(L, lua_upvalueindex((int)key));
	lua_insert(L, -2);
	lua_rawset(L, table);
}

struct s2sp_text s2sp_raw_text(lua_State *L, int table, enum s2sp_key key) {
	struct s2sp_text text = { NULL, 0 };
	if (lua_type(L, table) == LUA_TTABLE) {
		text = s2sp_push_text(L, table, key);
		lua_pop(L, 1);
	}
	return text;
}
