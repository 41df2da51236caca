#include "objects.h"

#include <string.h>

void s2sp_lua_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction release) {
	luaL_newmetatable(L, name);
	if (release != NULL) {
		lua_pushcfunction(L, release);
		lua_setfield(L, -2, "__gc");
	}
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

void *s2sp_lua_new_slot(lua_State *L, const char *name, int user_values) {
	void *slot = lua_newuserdatauv(L, sizeof(void *), user_values);
	memset(slot, 0, sizeof(void *));
	luaL_setmetatable(L, name);
	return slot;
}

void *s2sp_lua_check_slot(lua_State *L, int index, const char *name, const char *what) {
	void *object;
	memcpy(&object, luaL_checkudata(L, index, name), sizeof(object));
	if (object == NULL)
		luaL_argerror(L, index, lua_pushfstring(L, "%s without content", what));
	return object;
}

int s2sp_lua_outcome(lua_State *L, enum s2sp_status status, const char *message) {
	switch (status) {
	case S2SP_STATUS_OK:
		if (message[0] == '\0')
			return 1;
		lua_pushstring(L, message);
		return 2;
	case S2SP_STATUS_INVALID:
		lua_pushnil(L);
		lua_pushstring(L, message);
		return 2;
	case S2SP_STATUS_FAILED:
	case S2SP_STATUS_NO_MEMORY: break;
	}
	return luaL_error(L, "not enough memory");
}
