#include "host_objects.h"

bool s2sp_lua_observing(lua_State *L, int guard) {
	bool observing = s2sp_lua_field(L, guard, "observing") == LUA_TBOOLEAN && lua_toboolean(L, -1);
	lua_pop(L, 1);
	return observing;
}

void s2sp_push_actions(lua_State *L, int guard, bool observing) {
	if (observing)
		s2sp_lua_field(L, guard, "would");
	else
		s2sp_lua_field(L, guard, "act");
}

void s2sp_host_set(lua_State *L, int guard, int object, const char *name) {
	object = lua_absindex(L, object);
	if (s2sp_lua_observing(L, guard))
		lua_pop(L, 1);
	else
		lua_setfield(L, object, name);
}

void s2sp_host_raw_set(lua_State *L, int guard, int table, enum s2sp_key key) {
	if (s2sp_observing(L, guard))
		lua_pop(L, 1);
	else
		s2sp_raw_set(L, table, key);
}
