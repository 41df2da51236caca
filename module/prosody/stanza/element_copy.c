#include "element_copy.h"

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

void s2sp_copy_append(lua_State *L, struct s2sp_copy *copy) {
	if (lua_istable(L, -1)) {
		lua_pushvalue(L, -1);
		lua_rawseti(L, copy->tags, ++copy->elements);
	}
	lua_rawseti(L, copy->at, ++copy->children);
}

void s2sp_copy_begin(lua_State *L, struct s2sp_copy *copy, int element, lua_Integer before) {
	push_shell(L, element);
	lua_getfield(L, -1, "tags");
	lua_replace(L, copy->tags);
	lua_replace(L, copy->at);
	copy->begun = true;
	for (lua_Integer i = 1; i <= before; i++) {
		lua_rawgeti(L, element, i);
		s2sp_copy_append(L, copy);
	}
}
