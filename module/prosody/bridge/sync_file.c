/* sync_file: Lua can write and rename, but cannot ask whether a file would outlive a power failure (POSIX fsync). */
#define _POSIX_C_SOURCE 200809L /* O_CLOEXEC */
#include "sync_file.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

int s2sp_lua_sync_file(lua_State *L) {
	size_t length = 0;
	const char *path = luaL_checklstring(L, 1, &length);
	luaL_argcheck(L, strlen(path) == length, 1, "a path has no NUL");
	int file = open(path, O_RDONLY | O_CLOEXEC);
	int failure = file < 0 ? errno : 0;
	if (failure == 0 && fsync(file) != 0)
		failure = errno;
	if (file >= 0)
		close(file);
	if (failure == 0) {
		lua_pushboolean(L, 1);
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, strerror(failure));
	return 2;
}
