/* What a connection says of itself. */
#include "record_fields.h"

/* Calls object:method() and leaves its first result on the stack; pushes nil when there is no such method. */
static void call_method(lua_State *L, int object, const char *method) {
	object = lua_absindex(L, object);
	int kind = lua_type(L, object);
	if (kind != LUA_TTABLE && kind != LUA_TUSERDATA) {
		lua_pushnil(L);
		return;
	}
	if (lua_getfield(L, object, method) != LUA_TFUNCTION) {
		lua_pop(L, 1);
		lua_pushnil(L);
		return;
	}
	lua_pushvalue(L, object);
	lua_call(L, 1, 1);
}

/* Whether the value on top names the protocol of a finished handshake, or is LuaSec's description of one: the name takes its place. */
static bool describes_tls(lua_State *L) {
	if (lua_istable(L, -1)) {
		s2sp_lua_field(L, -1, "protocol");
		lua_replace(L, -2);
	}
	return lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) > 0;
}

/* Pushes what LuaSec says of the connection on top of the stack, for describes_tls. */
static void ask_socket(lua_State *L, int guard) {
	int socket = lua_gettop(L);
	if (luaL_testudata(L, socket, "SSL:Connection") != NULL && s2sp_lua_field(L, guard, "tls_info") == LUA_TFUNCTION) {
		lua_pushvalue(L, socket);
		lua_call(L, 1, 4); /* cipher, bits, bits, protocol */
		if (lua_type(L, socket + 1) != LUA_TSTRING)
			lua_pushnil(L);
		return;
	}
	lua_settop(L, socket);
	call_method(L, socket, "info");
}

bool s2sp_lua_connection_tls(lua_State *L, int session, int record, int guard) {
	int top = lua_gettop(L);
	bool tls = false;
	s2sp_lua_field(L, session, "conn");
	if (!lua_isnil(L, -1)) {
		/* The LuaSec object once TLS has begun, in 0.12 and 13; a plain socket has no such method. */
		call_method(L, top + 1, "socket");
		if (lua_type(L, -1) == LUA_TUSERDATA)
			ask_socket(L, guard);
		else
			call_method(L, top + 1, "ssl_info"); /* whatever else a connection is made of, in 13 */
		tls = describes_tls(L);
		if (tls)
			lua_setiuservalue(L, record, S2SP_RECORD_PROTOCOL);
	}
	lua_settop(L, top);
	return tls;
}
