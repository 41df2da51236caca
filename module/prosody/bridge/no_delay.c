/* no_delay, quick_ack: LuaSec's sockets know no options, and those of direct TLS are LuaSec's before anybody hears of them. */
#include "no_delay.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

static int switch_on(lua_State *L, int option) {
	lua_Integer fd = luaL_checkinteger(L, 1);
	luaL_argcheck(L, fd >= 0 && fd <= INT_MAX, 1, "no descriptor");
	const int on = 1;
	if (setsockopt((int)fd, IPPROTO_TCP, option, &on, sizeof on) == 0) {
		lua_pushboolean(L, 1);
		return 1;
	}
	int failure = errno;
	lua_pushnil(L);
	lua_pushstring(L, strerror(failure));
	return 2;
}

int s2sp_lua_no_delay(lua_State *L) {
	return switch_on(L, TCP_NODELAY);
}

int s2sp_lua_quick_ack(lua_State *L) {
#ifdef TCP_QUICKACK
	return switch_on(L, TCP_QUICKACK);
#else
	lua_pushboolean(L, 1);
	return 1;
#endif
}
