#include "count_table.h"

uint32_t s2sp_lua_count_at(lua_State *L, int table, struct s2sp_text key) {
	lua_pushlstring(L, key.bytes, key.length);
	lua_rawget(L, table);
	lua_Integer count = lua_tointeger(L, -1);
	lua_pop(L, 1);
	return count < 0 ? 0 : count > (lua_Integer)UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

struct s2sp_reserved_count s2sp_lua_reserve_count(lua_State *L, int table, struct s2sp_text key) {
	lua_pushlstring(L, key.bytes, key.length);
	struct s2sp_reserved_count reserved = { lua_gettop(L), 0 };
	lua_pushvalue(L, reserved.key);
	if (lua_rawget(L, table) == LUA_TNUMBER) {
		reserved.count = lua_tointeger(L, -1);
	} else {
		lua_pushvalue(L, reserved.key);
		lua_pushinteger(L, 0);
		lua_rawset(L, table);
	}
	lua_settop(L, reserved.key);
	return reserved;
}

void s2sp_lua_change_count(lua_State *L, int table, struct s2sp_reserved_count reserved, int change) {
	lua_pushvalue(L, reserved.key);
	if (reserved.count + change > 0)
		lua_pushinteger(L, reserved.count + change);
	else
		lua_pushnil(L);
	lua_rawset(L, table);
}
